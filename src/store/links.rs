//! One-time links and codes: the first administrator's set-up, setting a password, enrolling a factor anew.

use super::statement::statements;
use super::{Conn, DbError, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{Timestamp, UserId};

statements! {
    ADD = "
        INSERT INTO links (digest, purpose, user_id, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    PEEK = "SELECT user_id, created_by, expires_at, used_at FROM links WHERE digest = $1 AND purpose = $2";
    TAKE = "
        UPDATE links SET used_at = $3 WHERE digest = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3
        RETURNING user_id, created_by, expires_at, used_at";
    VOID = "
        UPDATE links SET used_at = $3
         WHERE purpose = $1 AND used_at IS NULL AND (user_id = $2 OR $2 IS NULL)";
    WAITING = "
        SELECT EXISTS (SELECT 1 FROM links WHERE purpose = $1 AND user_id = $2 AND used_at IS NULL) AS waiting";
    FORGET = "DELETE FROM links WHERE expires_at < $1 AND (purpose <> 'enrolment' OR used_at IS NOT NULL)";
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A code that the next enrolment of a second factor must show.
    Enrolment,
    /// Setting a password.
    Password,
    /// Making the first administrator.
    Setup,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Purpose::Enrolment => "enrolment",
            Purpose::Password => "password",
            Purpose::Setup => "setup",
        }
    }
}

/// A link that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// For whom.
    pub user: Option<UserId>,
    /// Who issued it, in words.
    pub by: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

fn link(row: &super::Row) -> Result<Link, DbError> {
    Ok(Link {
        user: row.maybe_id("user_id")?,
        by: row.get("created_by")?,
        expires_at: row.time("expires_at")?,
        used_at: row.maybe_time("used_at")?,
    })
}

/// Issues a link, given as digest.
///
/// # Errors
/// When the database fails.
pub async fn add(
    tx: &mut Tx,
    digest: &[u8; 32],
    purpose: Purpose,
    link: &Link,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(digest.as_slice())
        .bind(purpose.as_str())
        .bind(link.user.map(UserId::uuid))
        .bind(&link.by)
        .bind(now.millis())
        .bind(link.expires_at.millis())
        .run()
        .await
        .map(drop)
}

/// Looks at a link without using it.
///
/// # Errors
/// When the database fails.
pub async fn peek(conn: &mut Conn, digest: &[u8; 32], purpose: Purpose) -> Result<Option<Link>, DbError> {
    conn.query(PEEK).bind(digest.as_slice()).bind(purpose.as_str()).optional(link).await
}

/// Uses a link; `None` when it is unknown, was used or has run out.
///
/// # Errors
/// When the database fails.
pub async fn take(
    tx: &mut Tx,
    digest: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Option<Link>, DbError> {
    tx.query(TAKE).bind(digest.as_slice()).bind(purpose.as_str()).bind(now.millis()).optional(link).await
}

/// Makes every open link of a kind worthless, for one person or for all.
///
/// # Errors
/// When the database fails.
pub async fn void(
    tx: &mut Tx,
    purpose: Purpose,
    user: Option<UserId>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(VOID)
        .bind(purpose.as_str())
        .bind(user.map(UserId::uuid))
        .bind(now.millis())
        .run()
        .await
        .map(drop)
}

/// Whether somebody was issued a link of a kind and has not used it, also when it has run out: what a reset asked for is
/// asked for until it is shown or another one is issued.
///
/// # Errors
/// When the database fails.
pub async fn waiting(conn: &mut Conn, purpose: Purpose, user: UserId) -> Result<bool, DbError> {
    conn.query(WAITING).bind(purpose.as_str()).bind(user.uuid()).one(|row| row.get("waiting")).await
}

/// Forgets what has run out.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET).bind(before.millis()).run().await
}
