//! How long a node may answer from memory: only while it has lately read the change feed.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::{Span, Timestamp};

/// Says whether what is in memory may still be believed.
#[derive(Debug)]
pub struct Lease {
    read_at: AtomicI64,
    life: Span,
}

impl Lease {
    /// Not yet taken: nothing is believed.
    #[must_use]
    pub const fn new(life: Span) -> Self {
        Self { read_at: AtomicI64::new(i64::MIN), life }
    }

    /// The feed was read, and everything it said applied.
    pub fn renew(&self, now: Timestamp) {
        self.read_at.store(now.millis(), Ordering::Release);
    }

    /// Whether memory may be believed.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let read_at = self.read_at.load(Ordering::Acquire);
        read_at != i64::MIN && now.millis().saturating_sub(read_at) < self.life.as_millis()
    }
}
