//! The last refusals, so that a person can open theirs again by its reference. Each opens only for the session it was made
//! for.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::domain::{SessionId, Timestamp};
use crate::ui::Clause;

/// So many are kept.
const MOST: usize = 512;
/// So many refusals of people who are not signed in are recorded a second; a scanner makes thousands.
const ANONYMOUS: u32 = 10;

/// A refusal as it was shown.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) reference: String,
    /// For whom; a refusal of nobody in particular is not kept.
    pub(super) session: Option<SessionId>,
    /// The app's title, if it may be told.
    pub(super) app: Option<String>,
    /// What the person has and lacks, if it may be told.
    pub(super) clauses: Vec<Clause>,
    /// Which page it was, for trying again as somebody else.
    pub(super) path: String,
    /// Whom to ask.
    pub(super) help: Option<String>,
    pub(super) at: Timestamp,
}

/// The last refusals of this node.
#[derive(Default)]
pub struct Refusals {
    kept: Mutex<VecDeque<Refusal>>,
    second: AtomicI64,
    anonymous: AtomicU32,
}

impl Refusals {
    /// Keeps one; the oldest goes when there are too many.
    pub(super) fn keep(&self, refusal: Refusal) {
        if refusal.session.is_some()
            && let Ok(mut kept) = self.kept.lock()
        {
            if kept.len() >= MOST {
                kept.pop_front();
            }
            kept.push_back(refusal);
        }
    }

    /// One by its reference, for the session it was made for.
    pub(super) fn find(&self, reference: &str, session: SessionId) -> Option<Refusal> {
        let kept = self.kept.lock().ok()?;
        kept.iter()
            .find(|refusal| refusal.reference == reference && refusal.session == Some(session))
            .cloned()
    }

    /// Whether there is one by its reference, for a session.
    pub(super) fn has(&self, reference: &str, session: SessionId) -> bool {
        self.find(reference, session).is_some()
    }

    /// Whether one more refusal of nobody in particular is worth a record now.
    pub(super) fn record_anonymous(&self, now: Timestamp) -> bool {
        if self.second.swap(now.seconds(), Ordering::Relaxed) != now.seconds() {
            self.anonymous.store(0, Ordering::Relaxed);
        }
        self.anonymous.fetch_add(1, Ordering::Relaxed) < ANONYMOUS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Id as _;

    fn refusal(reference: &str, session: SessionId) -> Refusal {
        let at = Timestamp::from_millis(0);
        Refusal {
            reference: reference.into(),
            session: Some(session),
            app: None,
            clauses: Vec::new(),
            path: "/".into(),
            help: None,
            at,
        }
    }

    #[test]
    fn a_refusal_opens_for_its_own_session_only_and_memory_is_bounded() {
        let (mine, other) =
            (SessionId::from_uuid(uuid::Uuid::from_u128(1)), SessionId::from_uuid(uuid::Uuid::from_u128(2)));
        let refusals = Refusals::default();
        refusals.keep(refusal("D-1", mine));
        assert!(refusals.find("D-1", mine).is_some());
        assert!(refusals.find("D-1", other).is_none() && refusals.find("D-2", mine).is_none());
        for n in 0..MOST {
            refusals.keep(refusal(&format!("E-{n}"), mine));
        }
        assert!(refusals.find("D-1", mine).is_none());
        assert_eq!(refusals.kept.lock().unwrap().len(), MOST);
    }

    #[test]
    fn a_flood_of_anonymous_refusals_is_not_all_recorded() {
        let refusals = Refusals::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert_eq!((0..1000).filter(|_| refusals.record_anonymous(at(1))).count(), ANONYMOUS as usize);
        assert!(refusals.record_anonymous(at(2)));
    }
}
