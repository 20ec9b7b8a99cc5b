//! The house itself: the first administrator, throttles, keys, the audit log, how the server does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::admin::{AuditSearch, LINK_LIFE, record_json};
use crate::app::{certificates, keys};
use crate::domain::ids::Id as _;
use crate::domain::{AuditId, Outcome, Span, Timestamp, UserId};
use crate::proxy::{Condition, Sighting};
use crate::store::audit::Record;
use crate::store::sessions;

use super::Desk;
use super::answer::{Answer, Exit, Trouble};

/// Which records to show, as typed.
pub(super) struct Search {
    pub(super) limit: i64,
    pub(super) tenant: Option<String>,
    pub(super) action: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) target: Option<String>,
    pub(super) outcome: Option<String>,
}

impl Desk<'_> {
    pub(super) async fn invite(&self, life: Option<Span>) -> Result<Answer, Trouble> {
        let issued = self.admin.setup_link(self.by, life.unwrap_or(LINK_LIFE)).await?;
        let answer = Answer::about("set-up link issued; older ones are worth nothing now", json!({}));
        Ok(answer.once("link", "The first administrator is made with this link, once", &issued))
    }

    pub(super) async fn unlock(&self, who: &str) -> Result<Answer, Trouble> {
        let cleared = match who.parse::<IpAddr>() {
            Ok(address) => self.admin.unlock_address(self.by, address).await?,
            Err(_) => self.admin.unlock_user(self.by, self.user(who).await?).await?,
        };
        Ok(match cleared {
            0 => Answer::about(format!("{who} was not held back"), json!({ "cleared": 0 })),
            cleared => Answer::about(format!("{who} can try again"), json!({ "cleared": cleared })),
        })
    }

    pub(super) async fn backup(&self, to: std::path::PathBuf) -> Result<Answer, Trouble> {
        self.admin.backup(self.by, &to).await?;
        let answer = Answer::about(format!("records copied to {}", to.display()), json!({ "file": to }));
        Ok(answer.note("keep the master key apart from it: without the key, it opens nothing that is sealed"))
    }

    pub(super) async fn check_records(&self) -> Result<Answer, Trouble> {
        let faults = self.admin.db.check().await?;
        let sealed = keys::check(&self.admin.db, &self.admin.keys.sealer).await;
        let mut faults: Vec<String> = faults;
        let count = match sealed {
            Ok(count) => count,
            Err(error) => {
                faults.push(format!("{error:#}"));
                0
            }
        };
        if faults.is_empty() {
            let text = format!("the records are whole, and all {count} seals open");
            return Ok(Answer::about(text, json!({ "faults": faults, "seals": count })));
        }
        let json = json!({ "faults": faults });
        Ok(Answer { exit: Exit::Refused, text: faults, json, ..Answer::default() })
    }

    pub(super) async fn reseal(&self) -> Result<Answer, Trouble> {
        let count = self.admin.reseal(self.by).await?;
        let text = match count {
            0 => "everything is sealed under the current master key".to_owned(),
            count => format!("{count} records sealed anew; the previous master keys can go"),
        };
        Ok(Answer::about(text, json!({ "resealed": count })))
    }

    pub(super) async fn rotate_keys(&self) -> Result<Answer, Trouble> {
        let id = self.admin.rotate_keys(self.by).await?;
        let text = format!(
            "assertions are signed by {id} from now on; the key before it is published for another hour"
        );
        Ok(Answer::about(text, json!({ "kid": id })))
    }

    pub(super) async fn reload(&self) -> Result<Answer, Trouble> {
        match &self.controls.reload {
            None => Ok(Answer {
                exit: Exit::Unreachable,
                code: Some("no_server".to_owned()),
                ..Answer::said("no server runs here that could take the configuration over")
            }),
            Some(reload) => match reload().await {
                Ok(text) => Ok(Answer::said(text)),
                Err(why) => Err(Trouble::Other(why)),
            },
        }
    }

    pub(super) async fn status(&self) -> Result<Answer, Trouble> {
        let (controls, admin) = (self.controls, self.admin);
        let now = admin.clock.now();
        let live = sessions::count_live(&mut admin.db.read().await?, now).await?;
        let set_up = admin.is_set_up().await?;
        let snapshot = admin.snapshot.load();
        let upstreams = (controls.upstreams)();
        let unwell = || upstreams.iter().filter(|seen| seen.condition != Condition::Well);
        let words = match unwell().count() {
            _ if controls.started.is_none() => String::new(),
            0 => upstreams.len().to_string(),
            count => format!("{}, {count} of them not well", upstreams.len()),
        };
        let (certificates, aging) = certificates::words(&(controls.certificates)(), now);
        let mut answer = Answer::facts(&[
            ("server", if controls.started.is_some() { "running" } else { "not running" }.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("node", controls.node.clone()),
            ("uptime", controls.started.map_or_else(String::new, |since| now.since(since).words())),
            ("storage", controls.storage.clone()),
            ("configuration", (controls.config_state)()),
            ("routes", snapshot.routes().len().to_string()),
            ("upstreams", words),
            ("certificates", certificates),
            ("sessions", live.to_string()),
            ("administrator", if set_up { "yes" } else { "none yet" }.to_owned()),
            ("audit_records_lost", admin.ledger.dropped().to_string()),
        ]);
        for name in snapshot.unresolved() {
            answer = answer.note(name.clone());
        }
        for note in aging {
            answer = answer.note(note);
        }
        for Sighting { route, address, condition } in unwell() {
            answer = answer.note(format!("route {route}: {address} is {}", condition.as_str()));
        }
        if !set_up {
            answer = answer.note("there is no administrator yet: cardea admin invite");
        }
        if controls.started.is_none() {
            answer.exit = Exit::Unreachable;
        }
        Ok(answer)
    }

    pub(super) async fn audit_tail(&self, search: Search) -> Result<Answer, Trouble> {
        const OUTCOMES: [Outcome; 3] = [Outcome::Done, Outcome::Refused, Outcome::Failed];
        if let Some(text) = &search.outcome
            && !OUTCOMES.iter().any(|outcome| outcome.as_str() == text)
        {
            return Err(Trouble::Usage(format!("\"{text}\" is no outcome; one is done, refused or failed")));
        }
        let wanted = AuditSearch {
            tenant: self.maybe_tenant(search.tenant).await?,
            actor: self.recorded(search.actor).await,
            target: self.recorded(search.target).await,
            action: search.action,
            outcome: search.outcome,
            before: None,
            limit: search.limit,
        };
        let mut records = self.admin.search_audit(self.by, &wanted).await?;
        records.reverse();
        self.records(&records).await
    }

    /// People are recorded by id: a name is looked up, and taken as it stands when nobody has it.
    async fn recorded(&self, text: Option<String>) -> Option<String> {
        let text = text?;
        Some(match self.admin.user_named(self.by, &text).await {
            Ok(id) => id.to_string(),
            Err(_) => text,
        })
    }

    pub(super) async fn audit_after(
        &self,
        at: Timestamp,
        id: Option<AuditId>,
        limit: i64,
    ) -> Result<Answer, Trouble> {
        let id = id.unwrap_or_else(|| AuditId::from_uuid(uuid::Uuid::max()));
        let records = self.admin.follow_audit(self.by, (at, id), limit).await?;
        self.records(&records).await
    }

    pub(super) async fn audit_show(&self, reference: &str) -> Result<Answer, Trouble> {
        let record = self.admin.audit_by_reference(self.by, reference).await?;
        self.one_record(&record).await
    }

    /// A record, fact by fact.
    pub(super) async fn one_record(&self, record: &Record) -> Result<Answer, Trouble> {
        let mut facts = vec![
            ("at", record.at.to_string()),
            ("action", record.action.clone()),
            ("outcome", record.outcome.clone()),
            ("actor", self.party(&record.actor.0, &record.actor.1).await?),
        ];
        if let Some((kind, id)) = &record.target {
            facts.push(("target", format!("{kind} {}", self.party(kind, id).await?)));
        }
        facts.push(("session", record.session.map_or_else(String::new, |it| it.to_string())));
        facts.push(("address", record.address.clone().unwrap_or_default()));
        facts.push(("reference", record.reference.clone().unwrap_or_default()));
        let details = details(&record.detail);
        facts.extend(details.iter().map(|(name, value)| (name.as_str(), value.clone())));
        Ok(Answer { json: record_json(record), ..Answer::facts(&facts) })
    }

    async fn party(&self, kind: &str, id: &str) -> Result<String, Trouble> {
        match (kind, id.parse::<UserId>()) {
            ("user", Ok(user)) => self.username(user).await,
            ("operator", _) => Ok(format!("{id} on the host")),
            (_, _) if id.is_empty() => Ok(kind.to_owned()),
            _ => Ok(id.to_owned()),
        }
    }

    async fn records(&self, records: &[Record]) -> Result<Answer, Trouble> {
        let mut names = HashMap::new();
        let mut rows = Vec::new();
        for record in records {
            let (kind, id) = record.target.clone().unwrap_or_default();
            for (kind, id) in [(&record.actor.0, &record.actor.1), (&kind, &id)] {
                if let Entry::Vacant(unknown) = names.entry((kind.clone(), id.clone())) {
                    unknown.insert(self.party(kind, id).await?);
                }
            }
            let name = |kind: &String, id: &String| {
                names.get(&(kind.clone(), id.clone())).cloned().unwrap_or_default()
            };
            rows.push([
                record.at.to_string(),
                name(&record.actor.0, &record.actor.1),
                record.action.clone(),
                record.outcome.clone(),
                name(&kind, &id),
                record.address.clone().unwrap_or_default(),
                record.reference.clone().unwrap_or_default(),
                detail(&record.detail),
            ]);
        }
        let columns = ["at", "actor", "action", "outcome", "target", "address", "reference", "detail"];
        let json: Value = records.iter().map(record_json).collect();
        Ok(Answer { json, ..Answer::rows(columns, rows) })
    }
}

/// The facts of a record in one line.
fn detail(json: &str) -> String {
    details(json).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The facts of a record that say something.
fn details(json: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(json) else { return Vec::new() };
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .filter(|(_, value)| !value.is_empty())
        .collect()
}
