//! Responses and assertions that have come, remembered by every node until no check would let them through again.

use super::statement::statements;
use super::{Conn, DbError, Tx};
use crate::domain::{Slug, Timestamp};

statements! {
    REMEMBER = "INSERT INTO assertions (provider, id, forget_at) VALUES ($1, $2, $3)";
    COUNT = "SELECT count(*) AS n FROM assertions";
    FORGET = "DELETE FROM assertions WHERE forget_at < $1";
}

/// Remembers one.
///
/// # Errors
/// [`DbError::Conflict`] when it has come before.
pub async fn remember(tx: &mut Tx, provider: &Slug, id: &str, until: Timestamp) -> Result<(), DbError> {
    tx.query(REMEMBER).bind(provider.as_str()).bind(id).bind(until.millis()).run().await.map(drop)
}

/// Forgets what no check would let through any more.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET).bind(before.millis()).run().await
}

/// How many are remembered.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn) -> Result<i64, DbError> {
    conn.query(COUNT).one(|row| row.get("n")).await
}
