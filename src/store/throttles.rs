//! Counters of failed tries, shared by all nodes and kept over restarts.

use super::statement::statements;
use super::{Conn, DbError, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{Timestamp, UserId};

statements! {
    LOCK = "
        INSERT INTO throttles (subject, failures, window_at, blocked_until) VALUES ($1, 0, $2, 0)
        ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject
        RETURNING failures, window_at, blocked_until";
    WRITE = "UPDATE throttles SET failures = $2, window_at = $3, blocked_until = $4 WHERE subject = $1";
    READ = "SELECT failures, window_at, blocked_until FROM throttles WHERE subject = $1";
    CLEAR = "DELETE FROM throttles WHERE subject = $1";
    CLEAR_LIKE = "DELETE FROM throttles WHERE subject LIKE $1 ESCAPE '!'";
    FORGET = "DELETE FROM throttles WHERE window_at < $1 AND blocked_until < $1";
    KNOW = "
        INSERT INTO known_sources (user_id, source, seen_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, source) DO UPDATE SET seen_at = excluded.seen_at";
    KNOWN = "SELECT EXISTS (SELECT 1 FROM known_sources WHERE user_id = $1 AND source = $2) AS known";
    FORGET_SOURCES = "DELETE FROM known_sources WHERE seen_at < $1";
    FORGET_SOURCES_OF = "DELETE FROM known_sources WHERE user_id = $1";
}

/// A counter as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Tries counted since `since`.
    pub failures: i64,
    /// When counting began.
    pub since: Timestamp,
    /// Until when tries are refused unseen.
    pub blocked_until: Timestamp,
}

fn counter(row: &super::Row) -> Result<Counter, DbError> {
    Ok(Counter {
        failures: row.get("failures")?,
        since: row.time("window_at")?,
        blocked_until: row.time("blocked_until")?,
    })
}

/// Reads a counter and holds it until the end of the transaction, so that tries at the same moment queue.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, subject: &str, now: Timestamp) -> Result<Counter, DbError> {
    tx.query(LOCK).bind(subject).bind(now.millis()).one(counter).await
}

/// Writes a counter that is held.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &mut Tx, subject: &str, counter: Counter) -> Result<(), DbError> {
    tx.query(WRITE)
        .bind(subject)
        .bind(counter.failures)
        .bind(counter.since.millis())
        .bind(counter.blocked_until.millis())
        .run()
        .await
        .map(drop)
}

/// Reads a counter.
///
/// # Errors
/// When the database fails.
pub async fn read(conn: &mut Conn, subject: &str) -> Result<Option<Counter>, DbError> {
    conn.query(READ).bind(subject).optional(counter).await
}

/// Forgets a counter.
///
/// # Errors
/// When the database fails.
pub async fn clear(tx: &mut Tx, subject: &str) -> Result<(), DbError> {
    tx.query(CLEAR).bind(subject).run().await.map(drop)
}

/// Forgets every counter whose subject begins so.
///
/// # Errors
/// When the database fails.
pub async fn clear_under(tx: &mut Tx, prefix: &str) -> Result<u64, DbError> {
    let prefix = prefix.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    tx.query(CLEAR_LIKE).bind(format!("{prefix}%")).run().await
}

/// Forgets what has long been quiet.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp, sources_before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET_SOURCES).bind(sources_before.millis()).run().await?;
    tx.query(FORGET).bind(before.millis()).run().await
}

/// Notes that somebody has signed in from there.
///
/// # Errors
/// When the database fails.
pub async fn know(tx: &mut Tx, user: UserId, source: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(KNOW).bind(user.uuid()).bind(source).bind(now.millis()).run().await.map(drop)
}

/// Forgets from where somebody has signed in.
///
/// # Errors
/// When the database fails.
pub async fn forget_sources_of(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    tx.query(FORGET_SOURCES_OF).bind(user.uuid()).run().await.map(drop)
}

/// Whether somebody has signed in from there before.
///
/// # Errors
/// When the database fails.
pub async fn known(conn: &mut Conn, user: UserId, source: &str) -> Result<bool, DbError> {
    conn.query(KNOWN).bind(user.uuid()).bind(source).one(|row| row.get("known")).await
}
