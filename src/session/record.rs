//! A session as the data plane sees it: compact, immutable but for when it was used.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::access::{Caller, Principal};
use crate::domain::{Level, SessionId, Span, TenantId, Timestamp};
use crate::store::sessions::Session;

/// A live session at one host.
pub struct Record {
    /// Which.
    pub id: SessionId,
    /// At which host.
    host: Box<str>,
    /// Who.
    pub principal: Arc<Principal>,
    /// What was proven, as this host's token carries it.
    pub level: Level,
    /// The tenant chosen for what has none of its own.
    pub tenant: Option<TenantId>,
    /// Since when.
    pub created_at: Timestamp,
    absolute_until: Timestamp,
    idle_until: AtomicI64,
    seen_at: AtomicI64,
    blocks: Mutex<Vec<Block>>,
}

/// Header bytes for a route, made once and used until half their life is gone.
#[derive(Clone)]
struct Block {
    key: (usize, u64),
    use_until: Timestamp,
    bytes: Arc<[u8]>,
}

/// How many routes' blocks a session keeps.
const MOST_BLOCKS: usize = 8;
/// Uses within so long are one use to the records.
const SEEN_EVERY: Span = Span::minutes(1);

impl Record {
    pub(super) fn new(session: &Session, host: &str, principal: Arc<Principal>) -> Self {
        Self {
            id: session.id,
            host: host.into(),
            principal,
            level: session.level.clone(),
            tenant: session.tenant,
            created_at: session.created_at,
            absolute_until: session.absolute_until,
            idle_until: AtomicI64::new(session.idle_until.millis()),
            seen_at: AtomicI64::new(session.seen_at.millis()),
            blocks: Mutex::new(Vec::new()),
        }
    }

    /// Whether its token was made for this host.
    pub(super) fn is_at(&self, host: &str) -> bool {
        *self.host == *host
    }

    /// Whether it has neither idled out nor come to its end.
    #[must_use]
    pub fn live_at(&self, now: Timestamp) -> bool {
        now < self.absolute_until && now.millis() < self.idle_until.load(Ordering::Relaxed)
    }

    /// When it ends if it is not used.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.absolute_until.min(Timestamp::from_millis(self.idle_until.load(Ordering::Relaxed)))
    }

    /// Notes a use. True when the records should learn of it: once a minute.
    pub(super) fn used(&self, now: Timestamp, idle: Span) -> bool {
        let seen = self.seen_at.load(Ordering::Relaxed);
        if now.millis().saturating_sub(seen) < SEEN_EVERY.as_millis() {
            return false;
        }
        self.idle_until.store((now + idle).millis(), Ordering::Relaxed);
        self.seen_at.compare_exchange(seen, now.millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// As the caller of a decision.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller { principal: &self.principal, level: &self.level, session: self.id }
    }

    /// The header bytes kept for a route (by address) under a policy version, while they may be used.
    #[must_use]
    pub fn block(&self, key: (usize, u64), now: Timestamp) -> Option<Arc<[u8]>> {
        let blocks = self.blocks.lock().ok()?;
        blocks
            .iter()
            .find(|block| block.key == key && now < block.use_until)
            .map(|block| Arc::clone(&block.bytes))
    }

    /// Keeps header bytes for a route.
    pub fn keep_block(&self, key: (usize, u64), bytes: Arc<[u8]>, use_until: Timestamp, now: Timestamp) {
        if let Ok(mut blocks) = self.blocks.lock() {
            blocks.retain(|block| block.key != key && now < block.use_until);
            if blocks.len() >= MOST_BLOCKS {
                blocks.remove(0);
            }
            blocks.push(Block { key, use_until, bytes });
        }
    }
}
