//! What was done. Rows are only ever added.

use super::statement::statements;
use super::{Conn, DbError, Row, Tx};
use crate::domain::ids::Id as _;
use crate::domain::{AuditEvent, AuditId, Chance, SessionId, TenantId, Timestamp};

statements! {
    WRITE = "
        INSERT INTO audit (id, at, tenant_id, actor_kind, actor, action, outcome, target_kind, target, session_id, address,
                           reference, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    AFTER = "
        SELECT id, at, tenant_id, actor_kind, actor, action, outcome, target_kind, target, session_id, address, reference,
               detail
          FROM audit WHERE (at, id) > ($1, $2) ORDER BY at, id LIMIT $3";
    LATEST = "
        SELECT id, at, tenant_id, actor_kind, actor, action, outcome, target_kind, target, session_id, address, reference,
               detail
          FROM audit ORDER BY at DESC, id DESC LIMIT $1";
    FOUND = "
        SELECT id, at, tenant_id, actor_kind, actor, action, outcome, target_kind, target, session_id, address, reference,
               detail
          FROM audit
         WHERE (at, id) < ($1, $2)
           AND (tenant_id = $3 OR $3 IS NULL)
           AND (actor = $4 OR $4 IS NULL)
           AND (target = $5 OR $5 IS NULL)
           AND (action LIKE $6 ESCAPE '!' OR $6 IS NULL)
           AND (outcome = $7 OR $7 IS NULL)
         ORDER BY at DESC, id DESC LIMIT $8";
    BY_REFERENCE = "
        SELECT id, at, tenant_id, actor_kind, actor, action, outcome, target_kind, target, session_id, address, reference,
               detail
          FROM audit WHERE reference = $1 ORDER BY at DESC, id DESC LIMIT 1";
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant: Option<TenantId>,
    /// Who: kind and id or name.
    pub actor: (String, String),
    /// What.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// To what: kind and id or name.
    pub target: Option<(String, String)>,
    /// In which session.
    pub session: Option<SessionId>,
    /// From where.
    pub address: Option<String>,
    /// The reference a person may quote.
    pub reference: Option<String>,
    /// Everything else, as JSON.
    pub detail: String,
}

fn record(row: &Row) -> Result<Record, DbError> {
    let target: Option<String> = row.get("target")?;
    let kind: Option<String> = row.get("target_kind")?;
    Ok(Record {
        id: row.id("id")?,
        at: row.time("at")?,
        tenant: row.maybe_id("tenant_id")?,
        actor: (row.get("actor_kind")?, row.get("actor")?),
        action: row.get("action")?,
        outcome: row.get("outcome")?,
        target: kind.zip(target),
        session: row.maybe_id("session_id")?,
        address: row.get("address")?,
        reference: row.get("reference")?,
        detail: row.get("detail")?,
    })
}

/// Adds a record; part of the transaction of what it records.
///
/// # Errors
/// When the database fails.
pub async fn write(
    tx: &mut Tx,
    event: &AuditEvent,
    now: Timestamp,
    chance: &dyn Chance,
) -> Result<(), DbError> {
    let (actor_kind, actor) = event.actor.columns();
    tx.query(WRITE)
        .bind(AuditId::mint(now, chance).uuid())
        .bind(now.millis())
        .bind(event.tenant.map(TenantId::uuid))
        .bind(actor_kind)
        .bind(actor)
        .bind(event.action)
        .bind(event.outcome.as_str())
        .bind(event.target.as_ref().map(|(kind, _)| *kind))
        .bind(event.target.as_ref().map(|(_, id)| id.as_str()))
        .bind(event.session.map(SessionId::uuid))
        .bind(event.address.map(|address| address.to_string()))
        .bind(event.reference.as_deref())
        .bind(event.detail.to_string())
        .run()
        .await
        .map(drop)
}

/// Records after one, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn after(conn: &mut Conn, after: (Timestamp, AuditId), limit: i64) -> Result<Vec<Record>, DbError> {
    conn.query(AFTER).bind(after.0.millis()).bind(after.1.uuid()).bind(limit).all(record).await
}

/// The latest records, newest first.
///
/// # Errors
/// When the database fails.
pub async fn latest(conn: &mut Conn, limit: i64) -> Result<Vec<Record>, DbError> {
    conn.query(LATEST).bind(limit).all(record).await
}

/// Which records to look for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// By this id or name.
    pub actor: Option<String>,
    /// Done to this id or name.
    pub target: Option<String>,
    /// What begins so: `user.`, `signin`.
    pub action: Option<String>,
    /// Ended so.
    pub outcome: Option<String>,
    /// Older than this one.
    pub before: Option<(Timestamp, AuditId)>,
}

/// Records that answer a search, newest first.
///
/// # Errors
/// When the database fails.
pub async fn find(conn: &mut Conn, search: &Search, limit: i64) -> Result<Vec<Record>, DbError> {
    let (at, id) = search.before.map_or((i64::MAX, uuid::Uuid::max()), |(at, id)| (at.millis(), id.uuid()));
    let action = search.action.as_ref().map(|text| {
        format!("{}%", text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_"))
    });
    conn.query(FOUND)
        .bind(at)
        .bind(id)
        .bind(search.tenant.map(TenantId::uuid))
        .bind(search.actor.as_deref())
        .bind(search.target.as_deref())
        .bind(action)
        .bind(search.outcome.as_deref())
        .bind(limit)
        .all(record)
        .await
}

/// The record that a reference names.
///
/// # Errors
/// When the database fails.
pub async fn by_reference(conn: &mut Conn, reference: &str) -> Result<Option<Record>, DbError> {
    conn.query(BY_REFERENCE).bind(reference).optional(record).await
}
