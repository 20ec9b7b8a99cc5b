//! Time limits that cost nothing per request.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::sys::Stopwatch;

/// A limit that is set anew for every step of a connection. The runtime's timer behind it is moved only when the limit
/// comes nearer, or when it rings too early.
pub(super) struct Timer {
    started: Instant,
    watch: Stopwatch,
    due: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// Rings after so long.
    pub(super) fn new(after: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(after));
        let started = sleep.deadline().checked_sub(after).unwrap_or_else(|| sleep.deadline());
        Self { started, watch: Stopwatch::start(), due: after, sleep }
    }

    /// Rings after so long from now, and not before.
    pub(super) fn set(&mut self, after: Duration) {
        self.due = self.watch.elapsed() + after;
        let due = self.started + self.due;
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
    }

    /// Whether it rings.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.watch.elapsed() >= self.due {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.started + self.due);
        }
    }
}
