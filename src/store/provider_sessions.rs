//! What is known of a session at the provider that it came from: whose and which it is there, and tokens, sealed. It goes
//! when the session ends.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{SessionId, Slug, Timestamp};

statements! {
    PUT = "
        INSERT INTO provider_sessions (session_id, provider, subject, sid, tokens, confirmed_at, due_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (session_id, provider) DO UPDATE
           SET subject = excluded.subject, sid = excluded.sid, tokens = excluded.tokens,
               confirmed_at = excluded.confirmed_at, due_at = excluded.due_at";
    OF = "
        SELECT session_id, provider, subject, sid, tokens, confirmed_at, due_at FROM provider_sessions
         WHERE session_id = $1 ORDER BY provider";
    DUE = "
        SELECT session_id, provider, subject, sid, tokens, confirmed_at, due_at FROM provider_sessions
         WHERE due_at <= $1 ORDER BY due_at, session_id LIMIT $2";
    CLAIM = "UPDATE provider_sessions SET due_at = $4 WHERE session_id = $1 AND provider = $2 AND due_at = $3";
    CONFIRM = "
        UPDATE provider_sessions SET tokens = $4, confirmed_at = $5, due_at = $6
         WHERE session_id = $1 AND provider = $2 AND due_at = $3";
    NAMED_BY_SID = "
        SELECT session_id FROM provider_sessions
         WHERE provider = $1 AND (sid = $2 OR (sid IS NULL AND subject = $3)) AND (subject = $3 OR $3 IS NULL)
         ORDER BY session_id";
    NAMED_BY_SUBJECT = "
        SELECT session_id FROM provider_sessions WHERE provider = $1 AND subject = $2 ORDER BY session_id";
    DROP_OF = "DELETE FROM provider_sessions WHERE session_id = $1";
    SEALED = "
        SELECT session_id, provider, tokens FROM provider_sessions WHERE tokens IS NOT NULL
         ORDER BY session_id, provider";
    RESEAL = "UPDATE provider_sessions SET tokens = $3 WHERE session_id = $1 AND provider = $2";
    FORGET = "
        DELETE FROM provider_sessions
         WHERE session_id IN (SELECT id FROM sessions
                               WHERE ended_at IS NOT NULL OR idle_until < $1 OR absolute_until < $1)";
    HOLD = "
        INSERT INTO provider_logouts (digest, at, expires_at) VALUES ($1, 0, $2)
        ON CONFLICT (digest) DO UPDATE SET expires_at = excluded.expires_at RETURNING at";
    MARK = "
        INSERT INTO provider_logouts (digest, at, expires_at) VALUES ($1, $2, $3)
        ON CONFLICT (digest) DO UPDATE SET at = excluded.at, expires_at = excluded.expires_at";
    SPEND = "
        INSERT INTO provider_logouts (digest, at, expires_at) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING";
    FORGET_LOGOUTS = "DELETE FROM provider_logouts WHERE expires_at < $1";
}

/// A session, as the provider knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSession {
    /// Which.
    pub session: SessionId,
    /// At which provider.
    pub provider: Slug,
    /// Who it is there.
    pub subject: String,
    /// Which session it is there, if the provider says.
    pub sid: Option<String>,
    /// Tokens that something needs, sealed.
    pub tokens: Option<Vec<u8>>,
    /// When the provider has last said that it stands.
    pub confirmed_at: Timestamp,
    /// When it is asked again, if it is.
    pub due_at: Option<Timestamp>,
}

/// Where the tokens of a session are sealed.
#[must_use]
pub fn seal_place(session: SessionId, provider: &Slug) -> String {
    format!("provider_sessions/tokens/{session}/{provider}")
}

fn provider_session(row: &Row) -> Result<ProviderSession, DbError> {
    Ok(ProviderSession {
        session: row.id("session_id")?,
        provider: row.parsed("provider")?,
        subject: row.get("subject")?,
        sid: row.get("sid")?,
        tokens: row.get("tokens")?,
        confirmed_at: row.time("confirmed_at")?,
        due_at: row.maybe_time("due_at")?,
    })
}

/// Notes where a session came from; a later sign-in at the same provider takes the place of the earlier one.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, at: &ProviderSession) -> Result<(), DbError> {
    tx.query(PUT)
        .bind(at.session.uuid())
        .bind(at.provider.as_str())
        .bind(&at.subject)
        .bind(&at.sid)
        .bind(&at.tokens)
        .bind(at.confirmed_at.millis())
        .bind(at.due_at.map(Timestamp::millis))
        .run()
        .await
        .map(drop)
}

/// Where a session came from.
///
/// # Errors
/// When the database fails.
pub async fn of(conn: &mut Conn, session: SessionId) -> Result<Vec<ProviderSession>, DbError> {
    conn.query(OF).bind(session.uuid()).all(provider_session).await
}

/// Those about which the provider is to be asked again, the longest due first.
///
/// # Errors
/// When the database fails.
pub async fn due(conn: &mut Conn, now: Timestamp, most: i64) -> Result<Vec<ProviderSession>, DbError> {
    conn.query(DUE).bind(now.millis()).bind(most).all(provider_session).await
}

/// Takes it on oneself to ask, until a moment; false when another node has.
///
/// # Errors
/// When the database fails.
pub async fn claim(tx: &mut Tx, at: &ProviderSession, until: Timestamp) -> Result<bool, DbError> {
    tx.query(CLAIM)
        .bind(at.session.uuid())
        .bind(at.provider.as_str())
        .bind(at.due_at.map(Timestamp::millis))
        .bind(until.millis())
        .run()
        .await
        .map(|n| n == 1)
}

/// Notes what came of asking; false when the session has ended, or has come from the provider anew. `claimed` is until when
/// the asking was taken on.
///
/// # Errors
/// When the database fails.
pub async fn confirm(tx: &mut Tx, claimed: Timestamp, now: &ProviderSession) -> Result<bool, DbError> {
    tx.query(CONFIRM)
        .bind(now.session.uuid())
        .bind(now.provider.as_str())
        .bind(claimed.millis())
        .bind(&now.tokens)
        .bind(now.confirmed_at.millis())
        .bind(now.due_at.map(Timestamp::millis))
        .run()
        .await
        .map(|n| n == 1)
}

/// The sessions that a provider means by a session of its own. Of a person whose sessions it has given no name, all such.
///
/// # Errors
/// When the database fails.
pub async fn of_sid(
    conn: &mut Conn,
    provider: &Slug,
    sid: &str,
    subject: Option<&str>,
) -> Result<Vec<SessionId>, DbError> {
    conn.query(NAMED_BY_SID)
        .bind(provider.as_str())
        .bind(sid)
        .bind(subject)
        .all(|row| row.id("session_id"))
        .await
}

/// The sessions of somebody at a provider.
///
/// # Errors
/// When the database fails.
pub async fn of_subject(conn: &mut Conn, provider: &Slug, subject: &str) -> Result<Vec<SessionId>, DbError> {
    conn.query(NAMED_BY_SUBJECT).bind(provider.as_str()).bind(subject).all(|row| row.id("session_id")).await
}

/// Forgets it with a session that ends.
///
/// # Errors
/// When the database fails.
pub async fn drop_of(tx: &mut Tx, session: SessionId) -> Result<(), DbError> {
    tx.query(DROP_OF).bind(session.uuid()).run().await.map(drop)
}

/// Everything that is sealed.
///
/// # Errors
/// When the database fails.
pub async fn sealed(conn: &mut Conn) -> Result<Vec<(SessionId, Slug, Vec<u8>)>, DbError> {
    conn.query(SEALED)
        .all(|row| Ok((row.id("session_id")?, row.parsed("provider")?, row.get("tokens")?)))
        .await
}

/// Seals anew.
///
/// # Errors
/// When the database fails.
pub async fn reseal(tx: &mut Tx, session: SessionId, provider: &Slug, sealed: &[u8]) -> Result<(), DbError> {
    tx.query(RESEAL).bind(session.uuid()).bind(provider.as_str()).bind(sealed).run().await.map(drop)
}

/// When what a digest stands for was last signed out; long ago when it never was. Holds it until the end of the
/// transaction, so that a sign-out at the same moment comes before or after.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, digest: &[u8; 32], until: Timestamp) -> Result<Timestamp, DbError> {
    tx.query(HOLD).bind(digest.as_slice()).bind(until.millis()).one(|row| row.time("at")).await
}

/// Notes a sign-out, and keeps that in mind until a moment.
///
/// # Errors
/// When the database fails.
pub async fn mark(tx: &mut Tx, digest: &[u8; 32], at: Timestamp, until: Timestamp) -> Result<(), DbError> {
    tx.query(MARK).bind(digest.as_slice()).bind(at.millis()).bind(until.millis()).run().await.map(drop)
}

/// Notes that something was used, once over all nodes; false when it had been.
///
/// # Errors
/// When the database fails.
pub async fn spend(tx: &mut Tx, digest: &[u8; 32], at: Timestamp, until: Timestamp) -> Result<bool, DbError> {
    let spent = tx.query(SPEND).bind(digest.as_slice()).bind(at.millis()).bind(until.millis()).run();
    spent.await.map(|n| n == 1)
}

/// Forgets what is over.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
    tx.query(FORGET).bind(now.millis()).run().await?;
    tx.query(FORGET_LOGOUTS).bind(now.millis()).run().await.map(drop)
}
