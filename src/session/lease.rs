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

    /// Whether memory may be believed. Not when the clock was set back by more than the lease: how long ago the feed was
    /// read cannot be told then.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let read_at = self.read_at.load(Ordering::Acquire);
        i64::try_from(now.millis().abs_diff(read_at)).is_ok_and(|since| since < self.life.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_03_memory_is_believed_for_the_lease_and_not_when_the_clock_was_set_back() {
        let at = |seconds: i64| Timestamp::from_millis(1_800_000_000_000 + seconds * 1000);
        let lease = Lease::new(Span::seconds(15));
        assert!(!lease.holds(at(0)), "nothing was read yet");
        lease.renew(at(100));
        for (seconds, holds) in
            [(100, true), (114, true), (115, false), (99, true), (85, false), (-3600, false)]
        {
            assert_eq!(lease.holds(at(seconds)), holds, "{seconds}");
        }
    }
}
