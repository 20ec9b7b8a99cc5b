//! Traffic with identity providers, as this node sees it: how many of their answers are looked at at once, and which of them
//! did not answer a moment ago.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{Slug, Span, Timestamp};

/// How many answers of one provider are looked at at once. Each may hold a connection to it, and waits for it.
const MOST: usize = 64;
/// How long a provider that did not answer is said not to.
const REMEMBERED: Span = Span::minutes(1);

/// What goes on with each provider.
#[derive(Default)]
pub struct Traffic {
    lanes: Mutex<HashMap<Slug, Arc<Lane>>>,
}

struct Lane {
    room: Arc<Semaphore>,
    /// When it did not answer; zero after it has.
    away: AtomicI64,
}

impl Traffic {
    /// Names come from the configuration, so there are few.
    fn lane(&self, provider: &Slug) -> Arc<Lane> {
        let new = || Arc::new(Lane { room: Arc::new(Semaphore::new(MOST)), away: AtomicI64::new(0) });
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(provider.clone()).or_insert_with(new))
    }

    /// A place for one answer, until it is dropped; `None` when all are taken.
    pub(super) fn enter(&self, provider: &Slug) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lane(provider).room).try_acquire_owned().ok()
    }

    /// Notes whether a provider has answered.
    pub(super) fn note(&self, provider: &Slug, answered: bool, now: Timestamp) {
        let at = if answered { 0 } else { now.millis() };
        self.lane(provider).away.store(at, Ordering::Relaxed);
    }

    /// Whether a provider did not answer a moment ago.
    pub(super) fn is_away(&self, provider: &Slug, now: Timestamp) -> bool {
        let at = Timestamp::from_millis(self.lane(provider).away.load(Ordering::Relaxed));
        now.since(at) < REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn so_many_answers_of_one_provider_at_once_and_others_do_not_wait_for_it() {
        let (traffic, one, other) =
            (Traffic::default(), Slug::parse("one").unwrap(), Slug::parse("other").unwrap());
        let mut held: Vec<_> = (0..MOST).map(|_| traffic.enter(&one).unwrap()).collect();
        assert!(traffic.enter(&one).is_none());
        assert!(traffic.enter(&other).is_some());
        held.pop();
        assert!(traffic.enter(&one).is_some());
    }

    #[test]
    fn a_provider_that_did_not_answer_is_said_not_to_for_a_while() {
        let (traffic, one) = (Traffic::default(), Slug::parse("one").unwrap());
        assert!(!traffic.is_away(&one, NOW));
        traffic.note(&one, false, NOW);
        assert!(traffic.is_away(&one, NOW + Span::seconds(59)));
        assert!(!traffic.is_away(&one, NOW + REMEMBERED));
        traffic.note(&one, false, NOW);
        traffic.note(&one, true, NOW);
        assert!(!traffic.is_away(&one, NOW));
    }
}
