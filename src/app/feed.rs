//! The one task that applies the change feed: snapshot, then sessions, then the watermark. In that order, so that a
//! session that is read anew is read against the new snapshot, and a writer is answered after its effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::keys;
use crate::access::{Rules, Snapshot};
use crate::crypto::Keyring;
use crate::domain::{Change, route};
use crate::session::Sessions;
use crate::store::feed::{self, Position};
use crate::store::{Db, DbError, tree};
use crate::sys::Clock;

/// What the configuration contributes to decisions. Swapped as a whole at a reload.
pub struct Policy {
    /// Routes as written.
    pub routes: Vec<route::Route>,
    /// Networks, second-factor rule, scheme and port.
    pub rules: Rules,
}

/// Builds snapshots and keeps the current one.
pub struct Board {
    db: Db,
    /// What decisions are made on.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    policy: ArcSwap<Policy>,
    version: AtomicU64,
    // One rebuilding at a time, so that an older tree cannot be swapped in after a newer one.
    rebuilding: tokio::sync::Mutex<()>,
}

impl Board {
    /// Reads the tree and compiles the first snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(db: Db, policy: Policy) -> Result<Self, DbError> {
        let tree = tree::load(&mut db.read().await?).await?;
        let snapshot = Snapshot::compile(1, tree, &policy.routes, &policy.rules);
        Ok(Self {
            db,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            policy: ArcSwap::from_pointee(policy),
            version: AtomicU64::new(1),
            rebuilding: tokio::sync::Mutex::new(()),
        })
    }

    /// Reads the tree again and swaps the snapshot; with another policy, if one is given.
    ///
    /// # Errors
    /// When the database fails; then everything stays as it was.
    pub async fn rebuild(&self, policy: Option<Policy>) -> Result<(), DbError> {
        let _turn = self.rebuilding.lock().await;
        let tree = tree::load(&mut self.db.read().await?).await?;
        let policy = policy.map_or_else(|| self.policy.load_full(), Arc::new);
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        let snapshot = Snapshot::compile(version, tree, &policy.routes, &policy.rules);
        for name in snapshot.unresolved() {
            tracing::warn!(what = %name, "a name in a policy is of nothing that exists");
        }
        self.policy.store(policy);
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }
}

/// Reads the feed for ever.
pub struct Reader {
    /// The database.
    pub db: Db,
    /// The snapshot.
    pub board: Arc<Board>,
    /// Our keys.
    pub keys: Arc<Keyring>,
    /// Sessions in memory.
    pub sessions: Arc<Sessions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How often the feed is looked at when nobody says that there is anything.
const LOOK_EVERY: Duration = Duration::from_millis(400);

impl Reader {
    /// Takes the lease for the first time: from where the feed ends now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Position, DbError> {
        let now = self.clock.now();
        let position = feed::end(&mut self.db.read().await?).await?;
        // Whatever came between the building of the snapshot and this reading is in the tree that is read now.
        self.board.rebuild(None).await?;
        self.sessions.apply(None);
        self.db.watermark().publish(position);
        self.sessions.lease().renew(now);
        Ok(position)
    }

    /// Applies what comes.
    pub async fn run(self, mut position: Position) {
        let mut stirred = self.db.stirred();
        let mut failing = false;
        loop {
            // Lagging or closed: look anyway.
            let _ = tokio::time::timeout(LOOK_EVERY, stirred.recv()).await;
            match self.step(position).await {
                Ok(reached) => {
                    if failing {
                        tracing::info!("the change feed is read again");
                    }
                    (position, failing) = (reached, false);
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "the change feed cannot be read; sessions in memory serve until the lease ends");
                    }
                    failing = true;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn step(&self, mut position: Position) -> Result<Position, DbError> {
        loop {
            // Before reading: what commits while we read is not covered by this lease.
            let now = self.clock.now();
            let batch = feed::since(&mut self.db.read().await?, position).await?;
            let quiet = batch.changes.as_ref().is_some_and(Vec::is_empty);
            let touches = |change| batch.changes.as_ref().is_none_or(|changes| changes.contains(&change));
            // A key that does not open must not keep revocations from being applied.
            if touches(Change::Keys)
                && let Err(error) = keys::reload_assertion(&self.db, &self.keys, now).await
            {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the keys for assertions have changed and cannot be read; the old ones stay in use"
                );
            }
            if touches(Change::Tree) {
                self.board.rebuild(None).await?;
            }
            if !quiet {
                self.sessions.apply(batch.changes.as_deref());
            }
            position = batch.position;
            self.db.watermark().publish(position);
            // A batch that was not cut short has brought us to where the feed ended when it was read.
            if batch.changes.as_ref().is_none_or(|changes| changes.len() < feed::MOST) {
                self.sessions.lease().renew(now);
            }
            if quiet {
                return Ok(position);
            }
        }
    }
}
