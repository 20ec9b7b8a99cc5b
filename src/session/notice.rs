//! What those hear who keep something open for a session: that a change was applied, and whom it is about.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::domain::Change;

/// So many notices wait for a listener; one that falls further behind looks at everything.
const WAITING: usize = 256;

/// A change was applied: what was let through may have to end.
#[derive(Clone, Debug)]
pub enum Notice {
    /// It may be about anybody: the tree, the policy, or something that was missed.
    Everybody,
    /// It is about those who are named, and nobody else.
    These(Arc<[Change]>),
}

impl Notice {
    /// What a batch of changes says; `None` when it touches nobody's rights.
    fn of(changes: Option<&[Change]>) -> Option<Self> {
        let Some(changes) = changes else { return Some(Notice::Everybody) };
        if changes.contains(&Change::Tree) {
            return Some(Notice::Everybody);
        }
        let about: Arc<[Change]> =
            changes.iter().copied().filter(|change| !matches!(change, Change::Keys)).collect();
        (!about.is_empty()).then_some(Notice::These(about))
    }
}

/// Tells every listener.
pub(super) struct Notices(broadcast::Sender<Notice>);

impl Notices {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }

    /// Says what a batch of changes was about, `None` being everything. Comes after all of it was applied, so that
    /// whoever asks again is answered by what is in force now.
    pub(super) fn tell(&self, changes: Option<&[Change]>) {
        if let Some(notice) = Notice::of(changes) {
            // Nobody listens: nothing is open.
            let _ = self.0.send(notice);
        }
    }

    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears every notice from the moment it was made.
pub struct Listener(broadcast::Receiver<Notice>);

impl Listener {
    /// The next notice; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Everybody),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SessionId, Timestamp};
    use crate::sys::OsChance;

    #[tokio::test]
    async fn a_listener_hears_what_it_is_about_and_everything_when_it_missed_something() {
        let notices = Notices::new();
        let mut listener = notices.listen();
        let session = Change::Session(SessionId::mint(Timestamp::from_millis(0), &OsChance));
        notices.tell(Some(&[]));
        notices.tell(Some(&[Change::Keys]));
        notices.tell(Some(&[Change::Keys, session]));
        assert!(matches!(listener.next().await, Some(Notice::These(about)) if *about == [session]));
        notices.tell(Some(&[session, Change::Tree]));
        assert!(matches!(listener.next().await, Some(Notice::Everybody)));
        for _ in 0..=WAITING {
            notices.tell(Some(&[session]));
        }
        assert!(matches!(listener.next().await, Some(Notice::Everybody)));
        drop(notices);
        while listener.next().await.is_some() {}
    }
}
