//! Sign-ins under way: where each stands, bound to the browser that began it.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::Timestamp;
use crate::domain::login::{Purpose, Stage};

statements! {
    ADD = "
        INSERT INTO flows (digest, browser, stage, purpose, return_to, pending, created_at, expires_at, version)
        VALUES ($1, $2, $3, $4, $5, NULL, $6, $7, 1)";
    BY_DIGEST = "
        SELECT stage, purpose, return_to, pending, expires_at, version FROM flows
         WHERE digest = $1 AND browser = $2 AND expires_at > $3";
    BY_DIGEST_ALONE = "
        SELECT stage, purpose, return_to, pending, expires_at, version FROM flows WHERE digest = $1 AND expires_at > $2";
    ADVANCE = "UPDATE flows SET stage = $2, pending = $3, version = version + 1 WHERE digest = $1 AND version = $4";
    BIND = "UPDATE flows SET browser = $2, stage = $3, version = version + 1 WHERE digest = $1 AND version = $4";
    KEEP_VOUCHED = "UPDATE flows SET vouched = $2 WHERE digest = $1";
    VOUCHED = "SELECT vouched FROM flows WHERE digest = $1";
    FORGET = "DELETE FROM flows WHERE expires_at < $1";
}

/// A sign-in under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// SHA-256 of its handle.
    pub digest: [u8; 32],
    /// Where it stands.
    pub stage: Stage,
    /// Why it was begun.
    pub purpose: Purpose,
    /// Where it leads.
    pub return_to: String,
    /// A seed that waits for its first code, or what a provider vouched for, sealed.
    pub pending: Option<Vec<u8>>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Counts its steps; a step from an older one is refused.
    pub version: i64,
}

/// Begins one.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, flow: &Flow, browser: &[u8; 32], now: Timestamp) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(flow.digest.as_slice())
        .bind(browser.as_slice())
        .bind(json(&flow.stage)?)
        .bind(json(&flow.purpose)?)
        .bind(&flow.return_to)
        .bind(now.millis())
        .bind(flow.expires_at.millis())
        .run()
        .await
        .map(drop)
}

/// The flow with this handle, if this browser began it and it has not run out.
///
/// # Errors
/// When the database fails.
pub async fn find(
    conn: &mut Conn,
    digest: &[u8; 32],
    browser: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Flow>, DbError> {
    conn.query(BY_DIGEST)
        .bind(digest.as_slice())
        .bind(browser.as_slice())
        .bind(now.millis())
        .optional(|row| flow(row, digest))
        .await
}

/// The flow with this handle, whichever browser began it: for an answer that a provider has a browser post from another
/// site, which brings no cookie. Nothing may be given to whoever brings it.
///
/// # Errors
/// When the database fails.
pub async fn find_unbound(
    conn: &mut Conn,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Flow>, DbError> {
    conn.query(BY_DIGEST_ALONE)
        .bind(digest.as_slice())
        .bind(now.millis())
        .optional(|row| flow(row, digest))
        .await
}

fn flow(row: &Row, digest: &[u8; 32]) -> Result<Flow, DbError> {
    let stage: String = row.get("stage")?;
    let purpose: String = row.get("purpose")?;
    Ok(Flow {
        digest: *digest,
        stage: serde_json::from_str(&stage).map_err(|error| row.corrupt("stage", &error))?,
        purpose: serde_json::from_str(&purpose).map_err(|error| row.corrupt("purpose", &error))?,
        return_to: row.get("return_to")?,
        pending: row.get("pending")?,
        expires_at: row.time("expires_at")?,
        version: row.get("version")?,
    })
}

/// Takes one step. False when another request has taken one meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn advance(
    tx: &mut Tx,
    flow: &Flow,
    stage: &Stage,
    pending: Option<&[u8]>,
) -> Result<bool, DbError> {
    tx.query(ADVANCE)
        .bind(flow.digest.as_slice())
        .bind(json(stage)?)
        .bind(pending)
        .bind(flow.version)
        .run()
        .await
        .map(|n| n == 1)
}

/// Gives a flow that no browser has yet to one. False when another was faster.
///
/// # Errors
/// When the database fails.
pub async fn bind(tx: &mut Tx, flow: &Flow, browser: &[u8; 32], stage: &Stage) -> Result<bool, DbError> {
    tx.query(BIND)
        .bind(flow.digest.as_slice())
        .bind(browser.as_slice())
        .bind(json(stage)?)
        .bind(flow.version)
        .run()
        .await
        .map(|n| n == 1)
}

/// Keeps what a provider vouched for, sealed, until a session has come of the sign-in; `None` when it has.
///
/// # Errors
/// When the database fails.
pub async fn keep_vouched(tx: &mut Tx, digest: &[u8; 32], sealed: Option<&[u8]>) -> Result<(), DbError> {
    tx.query(KEEP_VOUCHED).bind(digest.as_slice()).bind(sealed).run().await.map(drop)
}

/// What a provider vouched for in this sign-in, if it did.
///
/// # Errors
/// When the database fails.
pub async fn vouched(conn: &mut Conn, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, DbError> {
    conn.query(VOUCHED).bind(digest.as_slice()).optional(|row| row.get("vouched")).await.map(Option::flatten)
}

/// Forgets what has run out.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET).bind(before.millis()).run().await
}

fn json(value: &impl serde::Serialize) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::other(error.to_string()))
}
