//! Our own keys, sealed.

use super::statement::statements;
use super::{Conn, DbError, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{Change, KeyId, Timestamp};

statements! {
    ALL_KEYS = "SELECT id, purpose, sealed, public, created_at, retired_at FROM sealed_keys ORDER BY created_at, id";
    ADD = "INSERT INTO sealed_keys (id, purpose, sealed, public, created_at) VALUES ($1, $2, $3, $4, $5)";
    RESEAL = "UPDATE sealed_keys SET sealed = $2 WHERE id = $1";
    RETIRE = "UPDATE sealed_keys SET retired_at = $2 WHERE id = $1 AND retired_at IS NULL";
    DROP = "DELETE FROM sealed_keys WHERE id = $1";
}

/// A key as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// Which.
    pub id: KeyId,
    /// What for.
    pub purpose: String,
    /// The secret part, sealed.
    pub sealed: Vec<u8>,
    /// The public part, if it has one.
    pub public: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when it is used no more for new things.
    pub retired_at: Option<Timestamp>,
}

/// What a key's seal is bound to: table, column and row.
#[must_use]
pub fn seal_place(id: KeyId) -> String {
    format!("sealed_keys/sealed/{id}")
}

/// Every key.
///
/// # Errors
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<SealedKey>, DbError> {
    conn.query(ALL_KEYS)
        .all(|row| {
            Ok(SealedKey {
                id: row.id("id")?,
                purpose: row.get("purpose")?,
                sealed: row.get("sealed")?,
                public: row.get("public")?,
                created_at: row.time("created_at")?,
                retired_at: row.maybe_time("retired_at")?,
            })
        })
        .await
}

/// Keeps a key.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, key: &SealedKey) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(key.id.uuid())
        .bind(&key.purpose)
        .bind(key.sealed.as_slice())
        .bind(&key.public)
        .bind(key.created_at.millis())
        .run()
        .await?;
    tx.changed(Change::Keys);
    Ok(())
}

/// Replaces what is sealed.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &mut Tx, id: KeyId, sealed: &[u8]) -> Result<(), DbError> {
    tx.query(RESEAL).bind(id.uuid()).bind(sealed).run().await.map(drop)
}

/// Uses a key no more for new things.
///
/// # Errors
/// When the database fails.
pub async fn retire(tx: &mut Tx, id: KeyId, now: Timestamp) -> Result<(), DbError> {
    tx.query(RETIRE).bind(id.uuid()).bind(now.millis()).run().await?;
    tx.changed(Change::Keys);
    Ok(())
}

/// Forgets a key.
///
/// # Errors
/// When the database fails.
pub async fn delete(tx: &mut Tx, id: KeyId) -> Result<(), DbError> {
    tx.query(DROP).bind(id.uuid()).run().await?;
    tx.changed(Change::Keys);
    Ok(())
}
