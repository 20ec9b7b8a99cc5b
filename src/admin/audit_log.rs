//! What was done, for those who may know.

use serde_json::{Value, json};

use crate::access::Authority;
use crate::domain::{AuditId, Place, TenantId, Timestamp};
use crate::store::audit::{self, Record, Search};

use super::work::{self, Asker};
use super::{Admin, Error};

/// Which records to look for.
#[derive(Clone, Debug, Default)]
pub struct AuditSearch {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// By this id or name.
    pub actor: Option<String>,
    /// Done to this id or name.
    pub target: Option<String>,
    /// What begins so: `user.`, `signin`.
    pub action: Option<String>,
    /// Ended so: `done`, `refused`, `failed`.
    pub outcome: Option<String>,
    /// Older than this one.
    pub before: Option<(Timestamp, AuditId)>,
    /// At most so many.
    pub limit: i64,
}

impl Admin {
    /// Records, newest first. Whoever may read those of one tenant only names it, or is shown that one.
    pub async fn search_audit(&self, by: &Authority, wanted: &AuditSearch) -> Result<Vec<Record>, Error> {
        let mut look = self.look(by).await?;
        let place = wanted.tenant.map_or(Place::Global, Place::Tenant);
        work::check_place(&look.tree, &look.who, place)?;
        look.who.demand("audit:read", place)?;
        let search = Search {
            tenant: wanted.tenant,
            actor: wanted.actor.clone(),
            target: wanted.target.clone(),
            action: wanted.action.clone(),
            outcome: wanted.outcome.clone(),
            before: wanted.before,
        };
        Ok(audit::find(&mut look.conn, &search, wanted.limit).await?)
    }

    /// Records after one, oldest first, of the whole system.
    pub async fn follow_audit(
        &self,
        by: &Authority,
        after: (Timestamp, AuditId),
        limit: i64,
    ) -> Result<Vec<Record>, Error> {
        let mut look = self.look(by).await?;
        look.who.demand("audit:read", Place::Global)?;
        Ok(audit::after(&mut look.conn, after, limit).await?)
    }

    /// The record that a reference names.
    pub async fn audit_by_reference(&self, by: &Authority, reference: &str) -> Result<Record, Error> {
        let mut look = self.look(by).await?;
        let unknown = || Error::unknown("record", reference);
        let record = audit::by_reference(&mut look.conn, reference).await?.ok_or_else(unknown)?;
        if may_read(&look.who, &record) { Ok(record) } else { Err(unknown()) }
    }
}

fn may_read(who: &Asker, record: &Record) -> bool {
    who.demand("audit:read", record.tenant.map_or(Place::Global, Place::Tenant)).is_ok()
}

/// A record as an object.
#[must_use]
pub fn record_json(record: &Record) -> Value {
    json!({
        "id": record.id,
        "at": record.at.to_string(),
        "at_millis": record.at,
        "tenant": record.tenant,
        "actor_kind": record.actor.0,
        "actor": record.actor.1,
        "action": record.action,
        "outcome": record.outcome,
        "target_kind": record.target.as_ref().map(|(kind, _)| kind),
        "target": record.target.as_ref().map(|(_, id)| id),
        "session": record.session,
        "address": record.address,
        "reference": record.reference,
        "detail": serde_json::from_str::<Value>(&record.detail).unwrap_or(Value::Null),
    })
}
