//! Passwords, second factors and recovery codes: only hashes, digests and sealed seeds.

use super::statement::statements;
use super::{Conn, DbError, Tx, users};
use crate::domain::ids::Id as _;
use crate::domain::{FactorId, Timestamp, UserId};

statements! {
    PASSWORD = "SELECT hash, set_at FROM passwords WHERE user_id = $1";
    SET_PASSWORD = "
        INSERT INTO passwords (user_id, hash, set_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, set_at = excluded.set_at";
    REHASH = "UPDATE passwords SET hash = $3 WHERE user_id = $1 AND hash = $2";
    DROP_PASSWORD = "DELETE FROM passwords WHERE user_id = $1";
    FACTOR = "SELECT id, sealed, last_step, created_at FROM factors WHERE user_id = $1 AND kind = 'totp'";
    ADD_FACTOR = "
        INSERT INTO factors (id, user_id, kind, sealed, last_step, created_at) VALUES ($1, $2, 'totp', $3, $4, $5)";
    ADVANCE = "UPDATE factors SET last_step = $2 WHERE id = $1 AND last_step < $2";
    DROP_FACTORS = "DELETE FROM factors WHERE user_id = $1";
    RESEAL = "UPDATE factors SET sealed = $2 WHERE id = $1";
    ALL_FACTORS = "SELECT id, user_id, sealed FROM factors ORDER BY id";
    ADD_CODE = "INSERT INTO recovery_codes (digest, user_id, created_at) VALUES ($1, $2, $3)";
    USE_CODE = "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND digest = $2 AND used_at IS NULL";
    CODES_LEFT = "SELECT count(*) AS n FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL";
    DROP_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";
}

/// An authenticator app.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Which.
    pub id: FactorId,
    /// The seed, sealed.
    pub sealed: Vec<u8>,
    /// The last time step whose code was used; none at or before it is taken again.
    pub last_step: i64,
    /// Since when.
    pub created_at: Timestamp,
}

/// The password's hash and when it was set.
///
/// # Errors
/// When the database fails.
pub async fn password(conn: &mut Conn, user: UserId) -> Result<Option<(String, Timestamp)>, DbError> {
    conn.query(PASSWORD).bind(user.uuid()).optional(|row| Ok((row.get("hash")?, row.time("set_at")?))).await
}

/// Sets the password's hash.
///
/// # Errors
/// When the database fails.
pub async fn set_password(tx: &mut Tx, user: UserId, hash: &str, now: Timestamp) -> Result<(), DbError> {
    users::next_epoch(tx, user).await?;
    tx.query(SET_PASSWORD).bind(user.uuid()).bind(hash).bind(now.millis()).run().await.map(drop)
}

/// Replaces a hash by a better one of the same password, if it is still the one that was checked.
///
/// # Errors
/// When the database fails.
pub async fn rehash(tx: &mut Tx, user: UserId, old: &str, new: &str) -> Result<bool, DbError> {
    tx.query(REHASH).bind(user.uuid()).bind(old).bind(new).run().await.map(|n| n > 0)
}

/// Takes the password away.
///
/// # Errors
/// When the database fails.
pub async fn drop_password(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    tx.query(DROP_PASSWORD).bind(user.uuid()).run().await.map(drop)
}

/// The authenticator app, if one is set up.
///
/// # Errors
/// When the database fails.
pub async fn factor(conn: &mut Conn, user: UserId) -> Result<Option<Factor>, DbError> {
    conn.query(FACTOR)
        .bind(user.uuid())
        .optional(|row| {
            Ok(Factor {
                id: row.id("id")?,
                sealed: row.get("sealed")?,
                last_step: row.get("last_step")?,
                created_at: row.time("created_at")?,
            })
        })
        .await
}

/// Sets up an authenticator app.
///
/// # Errors
/// [`DbError::Conflict`] when there is one already.
pub async fn add_factor(tx: &mut Tx, user: UserId, factor: &Factor) -> Result<(), DbError> {
    tx.query(ADD_FACTOR)
        .bind(factor.id.uuid())
        .bind(user.uuid())
        .bind(factor.sealed.as_slice())
        .bind(factor.last_step)
        .bind(factor.created_at.millis())
        .run()
        .await
        .map(drop)
}

/// Marks a time step as used. False when it, or a later one, was used before: somebody else was first.
///
/// # Errors
/// When the database fails.
pub async fn advance_step(tx: &mut Tx, factor: FactorId, step: i64) -> Result<bool, DbError> {
    tx.query(ADVANCE).bind(factor.uuid()).bind(step).run().await.map(|n| n == 1)
}

/// Takes every second factor and every recovery code away.
///
/// # Errors
/// When the database fails.
pub async fn drop_factors(tx: &mut Tx, user: UserId) -> Result<bool, DbError> {
    users::next_epoch(tx, user).await?;
    tx.query(DROP_CODES).bind(user.uuid()).run().await?;
    tx.query(DROP_FACTORS).bind(user.uuid()).run().await.map(|n| n > 0)
}

/// What a seed's seal is bound to: table, column and person.
#[must_use]
pub fn seal_place(user: UserId) -> String {
    format!("factors/sealed/{user}")
}

/// Every sealed seed and whose it is, for sealing anew under another master key.
///
/// # Errors
/// When the database fails.
pub async fn sealed_factors(conn: &mut Conn) -> Result<Vec<(FactorId, UserId, Vec<u8>)>, DbError> {
    conn.query(ALL_FACTORS).all(|row| Ok((row.id("id")?, row.id("user_id")?, row.get("sealed")?))).await
}

/// Replaces a sealed seed.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &mut Tx, factor: FactorId, sealed: &[u8]) -> Result<(), DbError> {
    tx.query(RESEAL).bind(factor.uuid()).bind(sealed).run().await.map(drop)
}

/// Replaces the recovery codes, given as digests.
///
/// # Errors
/// When the database fails.
pub async fn replace_codes(
    tx: &mut Tx,
    user: UserId,
    digests: &[[u8; 32]],
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(DROP_CODES).bind(user.uuid()).run().await?;
    for digest in digests {
        tx.query(ADD_CODE).bind(digest.as_slice()).bind(user.uuid()).bind(now.millis()).run().await?;
    }
    Ok(())
}

/// Spends a recovery code. False when the person has none such, or has used it.
///
/// # Errors
/// When the database fails.
pub async fn use_code(tx: &mut Tx, user: UserId, digest: &[u8; 32], now: Timestamp) -> Result<bool, DbError> {
    tx.query(USE_CODE)
        .bind(user.uuid())
        .bind(digest.as_slice())
        .bind(now.millis())
        .run()
        .await
        .map(|n| n == 1)
}

/// How many recovery codes are left.
///
/// # Errors
/// When the database fails.
pub async fn codes_left(conn: &mut Conn, user: UserId) -> Result<i64, DbError> {
    conn.query(CODES_LEFT).bind(user.uuid()).one(|row| row.get("n")).await
}
