//! What was done, by whom, to whom, and how it ended.

use std::net::IpAddr;

use super::{SessionId, TenantId, UserId};

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody known: somebody at the door.
    Anonymous,
    /// Whoever runs commands on the host, by user name of the operating system.
    Operator(String),
    /// Cardea itself.
    System,
    /// A person.
    User(UserId),
}

impl Actor {
    /// As two columns.
    #[must_use]
    pub fn columns(&self) -> (&'static str, String) {
        match self {
            Actor::Anonymous => ("anonymous", String::new()),
            Actor::Operator(name) => ("operator", name.clone()),
            Actor::System => ("system", String::new()),
            Actor::User(user) => ("user", user.to_string()),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Tried and failed: a wrong password, a wrong code.
    Failed,
    /// Not allowed.
    Refused,
}

impl Outcome {
    /// The word in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
        }
    }
}

/// A record for the audit log. Never holds a secret: `detail` is made of names, ids and reasons.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// Who.
    pub actor: Actor,
    /// What: `user.suspend`, `signin.password`, `access.denied`.
    pub action: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The tenant it concerns.
    pub tenant: Option<TenantId>,
    /// To what: kind and identifier or name.
    pub target: Option<(&'static str, String)>,
    /// In which session.
    pub session: Option<SessionId>,
    /// From where.
    pub address: Option<IpAddr>,
    /// The reference a person may quote.
    pub reference: Option<String>,
    /// Everything else, as a JSON object. Text in it is bounded.
    pub detail: serde_json::Value,
}

impl AuditEvent {
    /// An event with nothing but the three things every event has.
    #[must_use]
    pub fn new(actor: Actor, action: &'static str, outcome: Outcome) -> Self {
        Self {
            actor,
            action,
            outcome,
            tenant: None,
            target: None,
            session: None,
            address: None,
            reference: None,
            detail: serde_json::Value::Object(serde_json::Map::new()),
        }
    }

    /// To what it was done.
    #[must_use]
    pub fn on(mut self, kind: &'static str, id: impl std::fmt::Display) -> Self {
        self.target = Some((kind, clip(&id.to_string())));
        self
    }

    /// In which tenant.
    #[must_use]
    pub fn within(mut self, tenant: Option<TenantId>) -> Self {
        self.tenant = tenant;
        self
    }

    /// In which session.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// From where.
    #[must_use]
    pub fn from(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// One more fact. Control characters are escaped by JSON; the text is cut at 512 bytes.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        if let serde_json::Value::Object(map) = &mut self.detail {
            map.insert(key.to_owned(), serde_json::Value::String(clip(&value.to_string())));
        }
        self
    }
}

/// The most bytes of a text that an audit record keeps.
const MOST: usize = 512;

fn clip(text: &str) -> String {
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
