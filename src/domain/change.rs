//! What changed, as the change feed carries it from node to node.

use super::text::BadText;
use super::{SessionId, UserId};

/// One change. Names what to look at again; carries no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The keys were rotated.
    Keys,
    /// Whatever is known of this person: profile, status, memberships, roles, grants.
    Principal(UserId),
    /// This session ended or changed its level.
    Session(SessionId),
    /// Every session of this person ended.
    SessionsOf(UserId),
    /// Tenants, organisations, departments, groups or roles.
    Tree,
}

impl Change {
    /// As two columns.
    #[must_use]
    pub fn columns(self) -> (&'static str, String) {
        match self {
            Change::Keys => ("keys", String::new()),
            Change::Principal(user) => ("principal", user.to_string()),
            Change::Session(session) => ("session", session.to_string()),
            Change::SessionsOf(user) => ("sessions-of", user.to_string()),
            Change::Tree => ("tree", String::new()),
        }
    }

    /// # Errors
    /// When a newer node wrote a kind that this one does not know; the reader then looks at everything again.
    pub fn parse(kind: &str, subject: &str) -> Result<Self, BadText> {
        const BAD: BadText = BadText("unknown kind of change");
        Ok(match kind {
            "keys" => Change::Keys,
            "principal" => Change::Principal(subject.parse().map_err(|_| BAD)?),
            "session" => Change::Session(subject.parse().map_err(|_| BAD)?),
            "sessions-of" => Change::SessionsOf(subject.parse().map_err(|_| BAD)?),
            "tree" => Change::Tree,
            _ => return Err(BAD),
        })
    }
}
