//! The change feed: what changed, in the order in which it became so, told to every node.
//!
//! Numbers come from one row that each writing transaction updates last. Its lock is held until the commit, so a number
//! is never visible before a smaller one: a reader that has seen `n` has missed nothing below it. On PostgreSQL a
//! sequence would not give that, since a slower transaction may take the smaller number and commit later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Postgres, Transaction};
use tokio::sync::{broadcast, watch};

use super::db::{Conn, Db, Pools};
use super::statement::statements;
use super::{DbError, Tx};
use crate::domain::{Change, Timestamp};

statements! {
    NEXT = "UPDATE feed SET seq = seq + $1 WHERE id = 1 RETURNING seq";
    LAST = "SELECT seq FROM feed WHERE id = 1";
    ADD = "INSERT INTO changes (seq, at, kind, subject) VALUES ($1, $2, $3, $4)";
    SINCE = "SELECT seq, kind, subject FROM changes WHERE seq > $1 ORDER BY seq LIMIT 1000";
    OLDEST = "SELECT seq FROM changes ORDER BY seq LIMIT 1";
    FORGET = "DELETE FROM changes WHERE at < $1";
}

/// The most changes of one batch.
pub const MOST: usize = 1000;

/// How far a node has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(i64);

/// What a node reads from the feed.
#[derive(Debug)]
pub struct Batch {
    /// How far this brings it.
    pub position: Position,
    /// What to look at again, or `None`: everything, for something was missed or not understood.
    pub changes: Option<Vec<Change>>,
}

/// How far this node has applied the feed. A writer waits on it, so that its answer comes after the effect.
pub struct Watermark {
    applied: watch::Sender<i64>,
    applying: AtomicBool,
}

impl Default for Watermark {
    fn default() -> Self {
        Self { applied: watch::Sender::new(0), applying: AtomicBool::new(false) }
    }
}

impl Watermark {
    /// Says that this node has applied everything up to here. From the first call on, writers wait.
    pub fn publish(&self, position: Position) {
        self.applying.store(true, Ordering::Release);
        self.applied.send_replace(position.0);
    }

    /// Waits until this node has applied `seq`; two seconds at most, since the lease then speaks for itself.
    pub(super) async fn reached(&self, seq: i64) {
        if self.applying.load(Ordering::Acquire) {
            let mut applied = self.applied.subscribe();
            let _ = tokio::time::timeout(Duration::from_secs(2), applied.wait_for(|done| *done >= seq)).await;
        }
    }
}

/// Numbers and keeps the changes of a transaction; the last number, if there were any. Comes last before the commit.
pub(super) async fn record(
    conn: &mut Conn,
    changes: &[Change],
    now: Timestamp,
) -> Result<Option<i64>, DbError> {
    if changes.is_empty() {
        return Ok(None);
    }
    let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let last: i64 = conn.query(NEXT).bind(count).one(|row| row.get("seq")).await?;
    for (seq, change) in (last - count + 1..).zip(changes) {
        let (kind, subject) = change.columns();
        conn.query(ADD).bind(seq).bind(now.millis()).bind(kind).bind(subject).run().await?;
    }
    Ok(Some(last))
}

/// Wakes the other nodes; part of the transaction. Only a hint: they also look by themselves.
pub(super) async fn notify(tx: &mut Transaction<'static, Postgres>) -> Result<(), DbError> {
    sqlx::query("SELECT pg_notify('cardea', '')").execute(&mut **tx).await?;
    Ok(())
}

/// Where the feed ends now.
///
/// # Errors
/// When the database fails.
pub async fn end(conn: &mut Conn) -> Result<Position, DbError> {
    conn.query(LAST).one(|row| row.get("seq")).await.map(Position)
}

/// What came after `position`.
///
/// # Errors
/// When the database fails.
pub async fn since(conn: &mut Conn, position: Position) -> Result<Batch, DbError> {
    // The end first: what commits between the two readings is then merely read early.
    let end: i64 = conn.query(LAST).one(|row| row.get("seq")).await?;
    let rows = conn
        .query(SINCE)
        .bind(position.0)
        .all(|row| {
            Ok((
                row.get::<i64>("seq")?,
                Change::parse(&row.get::<String>("kind")?, &row.get::<String>("subject")?),
            ))
        })
        .await?;
    let Some((first, _)) = rows.first() else {
        // Nothing after us. If the feed ends elsewhere all the same, its rows were cleaned away, or it is another database.
        let changes = (end == position.0).then(Vec::new);
        return Ok(Batch { position: Position(end), changes });
    };
    let gap = *first != position.0 + 1;
    let reached = rows.last().map_or(position.0, |(seq, _)| *seq);
    let changes: Option<Vec<Change>> = rows.into_iter().map(|(_, change)| change.ok()).collect();
    Ok(Batch { position: Position(reached), changes: if gap { None } else { changes } })
}

/// Forgets what every node has long read.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET).bind(before.millis()).run().await
}

/// The number of the oldest change that is still kept.
///
/// # Errors
/// When the database fails.
pub async fn oldest(conn: &mut Conn) -> Result<Option<i64>, DbError> {
    conn.query(OLDEST).optional(|row| row.get("seq")).await
}

impl Db {
    /// Wakes whenever something may have changed.
    #[must_use]
    pub fn stirred(&self) -> broadcast::Receiver<()> {
        self.hub.subscribe()
    }

    /// How far this node has applied the feed.
    #[must_use]
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// Passes on what other nodes say. Never ends on PostgreSQL; ends at once on SQLite, which has one node.
    pub async fn relay(&self) {
        let Pools::Postgres(pool) = &self.pools else { return };
        loop {
            if let Err(error) = self.listen(pool).await {
                tracing::warn!(%error, "listening for changes failed; looking every half second instead");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn listen(&self, pool: &sqlx::Pool<Postgres>) -> Result<(), DbError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen("cardea").await?;
        loop {
            // `None` means that the connection was lost and is back: whatever was said meanwhile was missed.
            let _ = listener.try_recv().await?;
            let _ = self.hub.send(());
        }
    }
}
