//! Sessions in memory, by the digest of their token. What the change feed names is dropped and read anew.
//!
//! A reader notes the generation before it asks the database, and what it read is kept only if no change was applied
//! meanwhile: a record read before a revocation cannot be kept after it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use foldhash::fast::RandomState;

use super::Record;
use crate::access::Principal;
use crate::domain::{Change, SessionId, UserId};

type Digest = [u8; 32];
type Shard = HashMap<Digest, Arc<Record>, RandomState>;

/// Shards, so that cores do not wait for one another.
const SHARDS: usize = 64;
/// The most records kept; beyond, a shard drops what it meets first.
const MOST: usize = 1 << 20;

pub(super) struct Cache {
    // Keys are digests of tokens that we issued: nobody can choose ones that collide, so a quick hash does.
    shards: Vec<RwLock<Shard>>,
    index: RwLock<Index>,
    generation: AtomicU64,
}

#[derive(Default)]
struct Index {
    // Nearly every session has one or two.
    sessions: HashMap<SessionId, Vec<Digest>>,
    users: HashMap<UserId, HashSet<SessionId>>,
    /// Whom the records of each are about: one for all that were read alike.
    people: HashMap<UserId, Weak<Principal>>,
}

impl Index {
    fn forget(&mut self, digest: &Digest, session: SessionId, user: UserId) {
        let Some(digests) = self.sessions.get_mut(&session) else { return };
        digests.retain(|known| known != digest);
        if digests.is_empty() {
            self.sessions.remove(&session);
            if let Some(sessions) = self.users.get_mut(&user) {
                sessions.remove(&session);
                if sessions.is_empty() {
                    self.users.remove(&user);
                    self.people.remove(&user);
                }
            }
        }
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            index: RwLock::default(),
            generation: AtomicU64::new(0),
        }
    }

    fn shard(&self, digest: &Digest) -> Option<&RwLock<Shard>> {
        // The digest is uniform: any byte of it chooses a shard.
        self.shards.get(usize::from(digest[0]) % SHARDS)
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Record>> {
        self.shard(digest)?.read().ok()?.get(digest).map(Arc::clone)
    }

    /// A person who was just read, or the same as another record has them: what is alike is in memory once.
    pub(super) fn person(&self, read: Principal) -> Arc<Principal> {
        let Ok(mut index) = self.index.write() else { return Arc::new(read) };
        if let Some(known) = index.people.get(&read.user).and_then(Weak::upgrade)
            && *known == read
        {
            return known;
        }
        let read = Arc::new(read);
        index.people.insert(read.user, Arc::downgrade(&read));
        read
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps a record read at `generation`; false when something changed since and it must be read again.
    pub(super) fn keep(&self, digest: Digest, record: &Arc<Record>, generation: u64) -> bool {
        let (Some(shard), Ok(mut index)) = (self.shard(&digest), self.index.write()) else { return false };
        let Ok(mut map) = shard.write() else { return false };
        // Under both locks: a change that comes after this line finds the record and drops it.
        if self.generation() != generation {
            return false;
        }
        if map.len() >= MOST / SHARDS
            && let Some(victim) = map.keys().next().copied()
            && let Some(dropped) = map.remove(&victim)
        {
            index.forget(&victim, dropped.id, dropped.principal.user);
        }
        let digests = index.sessions.entry(record.id).or_insert_with(|| Vec::with_capacity(1));
        if !digests.contains(&digest) {
            digests.push(digest);
        }
        index.users.entry(record.principal.user).or_default().insert(record.id);
        map.insert(digest, Arc::clone(record));
        true
    }

    /// Drops what a batch of changes names; `None` means everything.
    pub(super) fn apply(&self, changes: Option<&[Change]>) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        // A lock whose holder panicked is taken all the same: not to drop a revoked session would be a wrong yes.
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let everything = changes.is_none_or(|changes| changes.contains(&Change::Tree));
        if everything {
            *index = Index::default();
            for shard in &self.shards {
                shard.write().unwrap_or_else(PoisonError::into_inner).clear();
            }
            return;
        }
        for change in changes.unwrap_or_default() {
            let sessions: Vec<SessionId> = match change {
                Change::Session(session) => vec![*session],
                Change::Principal(user) | Change::SessionsOf(user) => {
                    index.people.remove(user);
                    index.users.remove(user).unwrap_or_default().into_iter().collect()
                }
                Change::Keys | Change::Tree => Vec::new(),
            };
            for session in sessions {
                for digest in index.sessions.remove(&session).unwrap_or_default() {
                    let Some(shard) = self.shard(&digest) else { continue };
                    let dropped = shard.write().unwrap_or_else(PoisonError::into_inner).remove(&digest);
                    if let Some(sessions) =
                        dropped.and_then(|record| index.users.get_mut(&record.principal.user))
                    {
                        sessions.remove(&session);
                    }
                }
            }
        }
    }

    /// Drops records that have come to their end.
    pub(super) fn sweep(&self, now: crate::domain::Timestamp) {
        // The index first, as everywhere: what was kept anew in between would lose its entry here, and then no change
        // would find it.
        let Ok(mut index) = self.index.write() else { return };
        for shard in &self.shards {
            if let Ok(mut map) = shard.write() {
                map.retain(|digest, record| {
                    let live = record.live_at(now);
                    if !live {
                        index.forget(digest, record.id, record.principal.user);
                    }
                    live
                });
            }
        }
        // Who was read and never kept.
        index.people.retain(|_, person| person.strong_count() > 0);
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().filter_map(|shard| shard.read().ok().map(|map| map.len())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Seeded;
    use crate::domain::{AccountKind, Status, Timestamp};

    fn person(user: UserId, version: i64) -> Principal {
        Principal {
            user,
            username: "grace".parse().unwrap(),
            name: "Grace".parse().unwrap(),
            email: None,
            contact: None,
            kind: AccountKind::User,
            status: Status::Active,
            must_change_password: false,
            enrolled: false,
            version,
            memberships: Vec::new(),
            groups: Vec::new(),
            roles: Vec::new(),
            permissions: Vec::new(),
            role_demands_mfa: false,
        }
    }

    #[test]
    fn who_is_read_alike_is_in_memory_once_and_whoever_differs_is_somebody_else() {
        let (cache, now) = (Cache::new(), Timestamp::from_millis(1_800_000_000_000));
        let grace = UserId::mint(now, &Seeded::new(1));
        let first = cache.person(person(grace, 1));
        assert!(Arc::ptr_eq(&first, &cache.person(person(grace, 1))));
        let changed = cache.person(person(grace, 2));
        assert_eq!((first.version, changed.version), (1, 2));
        assert!(Arc::ptr_eq(&changed, &cache.person(person(grace, 2))));
        cache.apply(Some(&[Change::Principal(grace)]));
        assert!(!Arc::ptr_eq(&changed, &cache.person(person(grace, 2))));
        drop((first, changed));
        cache.sweep(now);
        assert!(cache.index.read().unwrap().people.is_empty(), "nobody has them any more");
    }
}
