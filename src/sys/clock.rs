//! What time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::{Span, Timestamp};

/// Tells the time. Tests turn it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, plus an offset that only tests and the demo set.
#[derive(Debug, Default)]
pub struct SystemClock {
    offset: AtomicI64,
}

impl SystemClock {
    /// Goes ahead by so much.
    pub fn advance(&self, by: Span) {
        self.offset.fetch_add(by.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Timestamp::from_millis(
            i64::try_from(millis).unwrap_or(i64::MAX).saturating_add(self.offset.load(Ordering::Relaxed)),
        )
    }
}

/// Measures how long something takes, whatever the clock on the wall does.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago it began.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
