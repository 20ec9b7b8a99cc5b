//! Refusals and failures on their way to the audit log: a bounded queue, and a count of what did not fit.
//!
//! Changes never go this way: their record is written in their own transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::domain::{AuditEvent, Chance};

/// Where the data plane leaves what must be remembered.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<AuditEvent>,
    dropped: Arc<AtomicU64>,
}

impl Ledger {
    /// A queue for so many events, and its other end.
    #[must_use]
    pub fn new(most: usize) -> (Self, mpsc::Receiver<AuditEvent>) {
        let (queue, end) = mpsc::channel(most);
        (Self { queue, dropped: Arc::default() }, end)
    }

    /// Leaves an event. When the queue is full it is counted and lost: a flood of refusals must not stop service.
    pub fn leave(&self, event: AuditEvent) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A reference that a person can read out: `D-7K3M-Q2XR`, 40 bits of chance without letters that look alike.
#[must_use]
pub fn reference(chance: &dyn Chance) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut text = String::from("D-");
    for (at, byte) in chance.bytes::<8>().iter().enumerate() {
        if at == 4 {
            text.push('-');
        }
        text.push(LETTERS.get(usize::from(byte & 31)).copied().map_or('0', char::from));
    }
    text
}
