//! What the tests stand on: a real database server, a real browser, the real program.

pub(crate) mod browser;
pub(crate) mod guard;
pub(crate) mod kill;
pub(crate) mod postgres;

use std::net::TcpListener;

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What ends in a name nobody else uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("{stem}_{}", uuid::Uuid::now_v7().simple())
}
pub(crate) mod stage;
