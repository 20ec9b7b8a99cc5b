//! Slow work on threads of its own, bounded: password hashes take tens of milliseconds and 19 MiB each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Too much of it is waiting already, or it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins are waiting; try again in a few seconds")]
pub struct Busy;

/// Runs so many at a time and lets so many wait.
#[derive(Clone)]
pub struct Pool {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    done: Arc<AtomicUsize>,
}

impl Pool {
    /// `running` at a time, `waiting` in the queue; the next one is turned away.
    #[must_use]
    pub fn new(running: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running)),
            waiting: Arc::default(),
            most_waiting: waiting,
            done: Arc::default(),
        }
    }

    /// Runs `work` on a thread of its own.
    ///
    /// # Errors
    /// When the queue is full.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = Place::take(&self.waiting, self.most_waiting)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        drop(place);
        let done = Arc::clone(&self.done);
        #[expect(clippy::disallowed_methods, reason = "bounded by the turn that the work holds")]
        let work = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the caller: one who goes away does not make room for more.
            let _turn = turn;
            let result = work();
            done.fetch_add(1, Ordering::Relaxed);
            result
        });
        work.await.map_err(|_| Busy)
    }

    /// How many pieces of work have been done, for tests that count hashes.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }
}

/// A place in the queue; given back also when the waiter goes away.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, most: usize) -> Result<Self, Busy> {
        let place = Self(Arc::clone(waiting));
        if waiting.fetch_add(1, Ordering::Relaxed) >= most { Err(Busy) } else { Ok(place) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
