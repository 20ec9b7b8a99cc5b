//! Sessions, and one token per session and host. A revoked session is never written back to life: nothing here inserts a
//! session that exists, and every update asks that it has not ended.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx, provider_sessions, users};
use crate::domain::ids::Id as _;
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::{Change, Level, SessionId, TenantId, Timestamp, UserId};

statements! {
    ADD = "
        INSERT INTO sessions (id, user_id, tenant_id, first_factor, first_at, second_factor, second_at, created_at, seen_at,
                              idle_until, absolute_until, address, agent, data)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, '{}')";
    ADD_TOKEN = "
        INSERT INTO session_tokens (digest, session_id, host, first_at, second_factor, second_at, issued_at)
        SELECT $1, s.id, $3, s.first_at, s.second_factor, s.second_at, $4
          FROM sessions s WHERE s.id = $2 AND s.ended_at IS NULL",
        postgres = "
        INSERT INTO session_tokens (digest, session_id, host, first_at, second_factor, second_at, issued_at)
        SELECT CAST($1 AS BYTEA), s.id, CAST($3 AS TEXT), s.first_at, s.second_factor, s.second_at, CAST($4 AS BIGINT)
          FROM sessions s WHERE s.id = $2 AND s.ended_at IS NULL";
    DROP_TOKENS = "DELETE FROM session_tokens WHERE session_id = $1 AND host = $2";
    DROP_OTHER_LEVELS = "
        DELETE FROM session_tokens
         WHERE session_id = $1 AND host = $2
           AND EXISTS (SELECT 1 FROM sessions s WHERE s.id = session_tokens.session_id
                          AND (s.first_at <> session_tokens.first_at
                               OR s.second_at IS DISTINCT FROM session_tokens.second_at))";
    BY_TOKEN = "
        SELECT s.id AS id, s.user_id AS user_id, s.tenant_id AS tenant_id, s.first_factor AS first_factor,
               t.first_at AS first_at, t.second_factor AS second_factor, t.second_at AS second_at,
               s.created_at AS created_at, s.seen_at AS seen_at, s.idle_until AS idle_until,
               s.absolute_until AS absolute_until, s.ended_at AS ended_at, s.ended_why AS ended_why, s.address AS address,
               s.agent AS agent
          FROM session_tokens t JOIN sessions s ON s.id = t.session_id
         WHERE t.digest = $1 AND t.host = $2";
    BY_ID = "
        SELECT id, user_id, tenant_id, first_factor, first_at, second_factor, second_at, created_at, seen_at, idle_until,
               absolute_until, ended_at, ended_why, address, agent
          FROM sessions WHERE id = $1";
    LIVE_OF = "
        SELECT id, user_id, tenant_id, first_factor, first_at, second_factor, second_at, created_at, seen_at, idle_until,
               absolute_until, ended_at, ended_why, address, agent
          FROM sessions
         WHERE user_id = $1 AND ended_at IS NULL AND idle_until > $2 AND absolute_until > $2
         ORDER BY created_at DESC, id DESC";
    LIVE = "
        SELECT id, user_id, tenant_id, first_factor, first_at, second_factor, second_at, created_at, seen_at, idle_until,
               absolute_until, ended_at, ended_why, address, agent
          FROM sessions
         WHERE ended_at IS NULL AND idle_until > $1 AND absolute_until > $1
         ORDER BY seen_at DESC, id DESC LIMIT $2";
    COUNT_LIVE = "SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL AND idle_until > $1 AND absolute_until > $1";
    HOSTS = "SELECT host FROM session_tokens WHERE session_id = $1 ORDER BY host";
    END = "UPDATE sessions SET ended_at = $2, ended_why = $3 WHERE id = $1 AND ended_at IS NULL";
    END_OF = "
        UPDATE sessions SET ended_at = $2, ended_why = $3
         WHERE user_id = $1 AND ended_at IS NULL AND (id <> $4 OR $4 IS NULL) RETURNING id";
    BEGUN_WITH = "SELECT id FROM sessions WHERE first_factor = $1 AND ended_at IS NULL AND absolute_until > $2 ORDER BY id";
    SEEN = "
        UPDATE sessions SET seen_at = $2, idle_until = $3 WHERE id = $1 AND ended_at IS NULL AND seen_at < $2";
    RAISE = "
        UPDATE sessions SET first_factor = $2, first_at = $3, second_factor = $4, second_at = $5
         WHERE id = $1 AND ended_at IS NULL";
    DATA = "SELECT data FROM sessions WHERE id = $1 AND ended_at IS NULL";
    SAVE_DATA = "UPDATE sessions SET data = $2 WHERE id = $1 AND ended_at IS NULL";
    FORGET_TOKENS = "
        DELETE FROM session_tokens WHERE session_id IN (SELECT id FROM sessions WHERE absolute_until < $1)";
    FORGET = "DELETE FROM sessions WHERE absolute_until < $1";
}

/// A session; from [`by_token`], its level is the token's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// The tenant chosen for what has none of its own.
    pub tenant: Option<TenantId>,
    /// What was proven.
    pub level: Level,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, give or take a minute.
    pub seen_at: Timestamp,
    /// When it ends if it is not used.
    pub idle_until: Timestamp,
    /// When it ends whatever happens.
    pub absolute_until: Timestamp,
    /// When it was ended, and why.
    pub ended: Option<(Timestamp, String)>,
    /// From where it was started.
    pub address: String,
    /// With what program.
    pub agent: String,
}

impl Session {
    /// Whether it opens anything.
    #[must_use]
    pub fn live_at(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.idle_until && now < self.absolute_until
    }
}

fn session(row: &Row) -> Result<Session, DbError> {
    let second = match (row.get::<Option<String>>("second_factor")?, row.maybe_time("second_at")?) {
        (Some(word), Some(at)) => {
            Some((SecondFactor::parse(&word).map_err(|why| row.corrupt("second_factor", &why))?, at))
        }
        _ => None,
    };
    let why: Option<String> = row.get("ended_why")?;
    Ok(Session {
        id: row.id("id")?,
        user: row.id("user_id")?,
        tenant: row.maybe_id("tenant_id")?,
        level: Level { first: row.parsed("first_factor")?, first_at: row.time("first_at")?, second },
        created_at: row.time("created_at")?,
        seen_at: row.time("seen_at")?,
        idle_until: row.time("idle_until")?,
        absolute_until: row.time("absolute_until")?,
        ended: row.maybe_time("ended_at")?.map(|at| (at, why.unwrap_or_default())),
        address: row.get("address")?,
        agent: row.get("agent")?,
    })
}

/// Adds a session.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, session: &Session) -> Result<(), DbError> {
    tx.query(ADD)
        .bind(session.id.uuid())
        .bind(session.user.uuid())
        .bind(session.tenant.map(TenantId::uuid))
        .bind(session.level.first.to_string())
        .bind(session.level.first_at.millis())
        .bind(session.level.second.map(|(factor, _)| factor.as_str()))
        .bind(session.level.second.map(|(_, at)| at.millis()))
        .bind(session.created_at.millis())
        .bind(session.idle_until.millis())
        .bind(session.absolute_until.millis())
        .bind(&session.address)
        .bind(&session.agent)
        .run()
        .await
        .map(drop)
}

/// Gives a session a token for a host, carrying the level that the session has now. False when the session has ended.
///
/// # Errors
/// When the database fails.
pub async fn add_token(
    tx: &mut Tx,
    id: SessionId,
    host: &str,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<bool, DbError> {
    tx.query(ADD_TOKEN)
        .bind(digest.as_slice())
        .bind(id.uuid())
        .bind(host)
        .bind(now.millis())
        .run()
        .await
        .map(|n| n == 1)
}

/// Takes a session's tokens for a host away.
///
/// # Errors
/// When the database fails.
pub async fn drop_tokens(tx: &mut Tx, id: SessionId, host: &str) -> Result<(), DbError> {
    tx.query(DROP_TOKENS).bind(id.uuid()).bind(host).run().await?;
    tx.changed(Change::Session(id));
    Ok(())
}

/// Takes the session's tokens for a host away that carry another level than the session has now. Those of the same level
/// stay: another tab may have just been given one.
///
/// # Errors
/// When the database fails.
pub async fn drop_other_levels(tx: &mut Tx, id: SessionId, host: &str) -> Result<(), DbError> {
    if tx.query(DROP_OTHER_LEVELS).bind(id.uuid()).bind(host).run().await? > 0 {
        tx.changed(Change::Session(id));
    }
    Ok(())
}

/// The session that a token opens at a host, whether live or not.
///
/// # Errors
/// When the database fails.
pub async fn by_token(conn: &mut Conn, digest: &[u8; 32], host: &str) -> Result<Option<Session>, DbError> {
    conn.query(BY_TOKEN).bind(digest.as_slice()).bind(host).optional(session).await
}

/// A session by its public id.
///
/// # Errors
/// When the database fails.
pub async fn by_id(conn: &mut Conn, id: SessionId) -> Result<Option<Session>, DbError> {
    conn.query(BY_ID).bind(id.uuid()).optional(session).await
}

/// The live sessions of somebody, newest first.
///
/// # Errors
/// When the database fails.
pub async fn live_of(conn: &mut Conn, user: UserId, now: Timestamp) -> Result<Vec<Session>, DbError> {
    conn.query(LIVE_OF).bind(user.uuid()).bind(now.millis()).all(session).await
}

/// Live sessions, last used first.
///
/// # Errors
/// When the database fails.
pub async fn live(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Session>, DbError> {
    conn.query(LIVE).bind(now.millis()).bind(limit).all(session).await
}

/// How many sessions are live.
///
/// # Errors
/// When the database fails.
pub async fn count_live(conn: &mut Conn, now: Timestamp) -> Result<i64, DbError> {
    conn.query(COUNT_LIVE).bind(now.millis()).one(|row| row.get("n")).await
}

/// The hosts for which a session has tokens.
///
/// # Errors
/// When the database fails.
pub async fn hosts(conn: &mut Conn, id: SessionId) -> Result<Vec<String>, DbError> {
    conn.query(HOSTS).bind(id.uuid()).all(|row| row.get("host")).await
}

/// Ends a session; false when it had ended.
///
/// # Errors
/// When the database fails.
pub async fn end(tx: &mut Tx, id: SessionId, why: &str, now: Timestamp) -> Result<bool, DbError> {
    let ended = tx.query(END).bind(id.uuid()).bind(now.millis()).bind(why).run().await? > 0;
    provider_sessions::drop_of(tx, id).await?;
    tx.changed(Change::Session(id));
    Ok(ended)
}

/// Ends somebody's sessions, all but one if it is named; how many.
///
/// # Errors
/// When the database fails.
pub async fn end_of(
    tx: &mut Tx,
    user: UserId,
    except: Option<SessionId>,
    why: &str,
    now: Timestamp,
) -> Result<usize, DbError> {
    let ended: Vec<SessionId> = tx
        .query(END_OF)
        .bind(user.uuid())
        .bind(now.millis())
        .bind(why)
        .bind(except.map(SessionId::uuid))
        .all(|row| row.id("id"))
        .await?;
    for id in &ended {
        provider_sessions::drop_of(tx, *id).await?;
    }
    // A sign-in that is under way must not outlive the sessions.
    users::next_epoch(tx, user).await?;
    match except {
        None => tx.changed(Change::SessionsOf(user)),
        Some(_) => ended.iter().for_each(|id| tx.changed(Change::Session(*id))),
    }
    Ok(ended.len())
}

/// Those that began with a first factor and have not ended.
///
/// # Errors
/// When the database fails.
pub async fn begun_with(
    conn: &mut Conn,
    first: &FirstFactor,
    now: Timestamp,
) -> Result<Vec<SessionId>, DbError> {
    conn.query(BEGUN_WITH).bind(first.to_string()).bind(now.millis()).all(|row| row.id("id")).await
}

/// Notes that a session was used. At most once a minute a session; tells nobody.
///
/// # Errors
/// When the database fails.
pub async fn seen(
    tx: &mut Tx,
    id: SessionId,
    now: Timestamp,
    idle_until: Timestamp,
) -> Result<bool, DbError> {
    tx.query(SEEN).bind(id.uuid()).bind(now.millis()).bind(idle_until.millis()).run().await.map(|n| n == 1)
}

/// Writes what a session has now proven; false when it has ended. Tokens given out keep the level they carry.
///
/// # Errors
/// When the database fails.
pub async fn raise(tx: &mut Tx, id: SessionId, level: &Level) -> Result<bool, DbError> {
    tx.query(RAISE)
        .bind(id.uuid())
        .bind(level.first.to_string())
        .bind(level.first_at.millis())
        .bind(level.second.map(|(factor, _)| factor.as_str()))
        .bind(level.second.map(|(_, at)| at.millis()))
        .run()
        .await
        .map(|n| n == 1)
}

/// What pages keep in a session, as JSON; `None` when it has ended.
///
/// # Errors
/// When the database fails.
pub async fn data(conn: &mut Conn, id: SessionId) -> Result<Option<String>, DbError> {
    conn.query(DATA).bind(id.uuid()).optional(|row| row.get("data")).await
}

/// Keeps what pages keep; false when the session has ended.
///
/// # Errors
/// When the database fails.
pub async fn save_data(tx: &mut Tx, id: SessionId, data: &str) -> Result<bool, DbError> {
    tx.query(SAVE_DATA).bind(id.uuid()).bind(data).run().await.map(|n| n == 1)
}

/// Forgets sessions that ended by themselves before a moment.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query(FORGET_TOKENS).bind(before.millis()).run().await?;
    tx.query(FORGET).bind(before.millis()).run().await
}
