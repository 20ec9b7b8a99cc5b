//! What the tests stand on: a real database server, a real browser, the real program.

pub(crate) mod browser;
pub(crate) mod guard;
pub(crate) mod kill;
pub(crate) mod postgres;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports below those that systems give to outgoing connections and to whoever binds port 0, which would take a free one away
/// before its listener comes.
const PORTS: std::ops::Range<u16> = 10_240..30_000;

/// A loopback port that nobody has, and that no other test is given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several runs on one machine begin at different places.
    let start = u16::try_from(std::process::id() * 197 % u32::from(PORTS.end - PORTS.start)).unwrap();
    for _ in PORTS {
        let step = start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let port = PORTS.start + step % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {} and {} is free", PORTS.start, PORTS.end)
}

/// What ends in a name nobody else uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("{stem}_{}", uuid::Uuid::now_v7().simple())
}
pub(crate) mod stage;
