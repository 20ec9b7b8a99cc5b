//! One-time codes that carry a sign-in from the portal to a route's host.

use super::statement::statements;
use super::{DbError, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{SessionId, Timestamp};

statements! {
    ADD = "
        INSERT INTO handoffs (digest, session_id, host, browser, return_to, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    TAKE = "DELETE FROM handoffs WHERE digest = $1 RETURNING session_id, host, browser, return_to, expires_at";
    FORGET = "DELETE FROM handoffs WHERE expires_at < $1";
}

/// A code that has been issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// For which session.
    pub session: SessionId,
    /// To which host.
    pub host: String,
    /// SHA-256 of what the browser must show there.
    pub browser: Vec<u8>,
    /// Where the browser goes on to, path and query.
    pub return_to: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Issues a code, given as digest.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, digest: &[u8; 32], handoff: &Handoff) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(digest.as_slice())
        .bind(handoff.session.uuid())
        .bind(&handoff.host)
        .bind(handoff.browser.as_slice())
        .bind(&handoff.return_to)
        .bind(handoff.expires_at.millis())
        .run()
        .await
        .map(drop)
}

/// Spends a code. It is gone whatever the caller finds wrong with it.
///
/// # Errors
/// When the database fails.
pub async fn take(tx: &mut Tx, digest: &[u8; 32]) -> Result<Option<Handoff>, DbError> {
    tx.query(TAKE)
        .bind(digest.as_slice())
        .optional(|row| {
            Ok(Handoff {
                session: row.id("session_id")?,
                host: row.get("host")?,
                browser: row.get("browser")?,
                return_to: row.get("return_to")?,
                expires_at: row.time("expires_at")?,
            })
        })
        .await
}

/// Forgets what has run out.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET).bind(before.millis()).run().await
}
