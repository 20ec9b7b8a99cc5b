//! Who is who at an identity provider. The key is the provider and its subject; addresses and names are attributes only.

use super::statement::statements;
use super::{Conn, DbError, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{EmailAddress, Slug, Timestamp, UserId};

statements! {
    FIND = "SELECT user_id, issuer FROM identities WHERE provider = $1 AND subject = $2";
    OF = "SELECT provider, subject FROM identities WHERE user_id = $1 ORDER BY provider, subject";
    TIES_OF = "SELECT provider, created_at FROM identities WHERE user_id = $1 ORDER BY provider, subject";
    CUT = "DELETE FROM identities WHERE provider = $1 AND user_id = $2";
    ADD = "
        INSERT INTO identities (provider, subject, issuer, user_id, created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $5)";
    SEEN = "UPDATE identities SET seen_at = $3 WHERE provider = $1 AND subject = $2";
    DROP_OF = "DELETE FROM identities WHERE user_id = $1";
    CLAIM = "
        INSERT INTO claimed_emails (user_id, email) VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET email = excluded.email";
    CLAIMED = "SELECT email FROM claimed_emails WHERE user_id = $1";
    UNCLAIM = "DELETE FROM claimed_emails WHERE user_id = $1";
    COUNT = "SELECT count(*) AS n FROM identities WHERE provider = $1";
}

/// An account as a provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose.
    pub user: UserId,
    /// The issuer that the provider was when they were tied.
    pub issuer: String,
}

/// The account of a subject.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut Conn, provider: &Slug, subject: &str) -> Result<Option<Identity>, DbError> {
    conn.query(FIND)
        .bind(provider.as_str())
        .bind(subject)
        .optional(|row| Ok(Identity { user: row.id("user_id")?, issuer: row.get("issuer")? }))
        .await
}

/// The providers that know somebody, and as whom.
///
/// # Errors
/// When the database fails.
pub async fn of(conn: &mut Conn, user: UserId) -> Result<Vec<(String, String)>, DbError> {
    conn.query(OF).bind(user.uuid()).all(|row| Ok((row.get("provider")?, row.get("subject")?))).await
}

/// The providers that know somebody, and since when.
///
/// # Errors
/// When the database fails.
pub async fn ties_of(conn: &mut Conn, user: UserId) -> Result<Vec<(String, Timestamp)>, DbError> {
    conn.query(TIES_OF).bind(user.uuid()).all(|row| Ok((row.get("provider")?, row.time("created_at")?))).await
}

/// How many a provider has.
///
/// # Errors
/// When the database fails.
pub async fn count(conn: &mut Conn, provider: &Slug) -> Result<i64, DbError> {
    conn.query(COUNT).bind(provider.as_str()).one(|row| row.get("n")).await
}

/// Ties a subject to an account.
///
/// # Errors
/// [`DbError::Conflict`] when it is tied already.
pub async fn add(
    tx: &mut Tx,
    (provider, subject): (&Slug, &str),
    identity: &Identity,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(provider.as_str())
        .bind(subject)
        .bind(&identity.issuer)
        .bind(identity.user.uuid())
        .bind(now.millis())
        .run()
        .await
        .map(drop)
}

/// Notes a sign-in.
///
/// # Errors
/// When the database fails.
pub async fn seen(tx: &mut Tx, provider: &Slug, subject: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(SEEN).bind(provider.as_str()).bind(subject).bind(now.millis()).run().await.map(drop)
}

/// Unties a provider from an account; false when it was not tied.
///
/// # Errors
/// When the database fails.
pub async fn cut(tx: &mut Tx, provider: &Slug, user: UserId) -> Result<bool, DbError> {
    tx.query(CUT).bind(provider.as_str()).bind(user.uuid()).run().await.map(|n| n > 0)
}

/// Notes that somebody has an address by a provider's word alone.
///
/// # Errors
/// When the database fails.
pub async fn claim(tx: &mut Tx, user: UserId, email: &EmailAddress) -> Result<(), DbError> {
    tx.query(CLAIM).bind(user.uuid()).bind(email.as_str()).run().await.map(drop)
}

/// The address that somebody has by a provider's word alone.
///
/// # Errors
/// When the database fails.
pub async fn claimed(conn: &mut Conn, user: UserId) -> Result<Option<EmailAddress>, DbError> {
    conn.query(CLAIMED).bind(user.uuid()).optional(|row| row.parsed("email")).await
}

/// Notes that somebody has vouched for the address, or that there is another.
///
/// # Errors
/// When the database fails.
pub async fn unclaim(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    tx.query(UNCLAIM).bind(user.uuid()).run().await.map(drop)
}

/// Unties everything from an account.
///
/// # Errors
/// When the database fails.
pub async fn drop_of(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    tx.query(DROP_OF).bind(user.uuid()).run().await.map(drop)
}
