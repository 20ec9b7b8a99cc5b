//! People.

use serde::{Deserialize, Serialize};

use super::text::BadText;
use super::{EmailAddress, PersonName, Timestamp, UserId, Username};

/// Whether somebody may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// May sign in.
    Active,
    /// Gone; the name stays reserved so that nobody inherits it.
    Deleted,
    /// Switched off.
    Inactive,
    /// Has not set a password yet.
    Invited,
    /// Stopped by an administrator, perhaps until a moment.
    Suspended,
}

impl Status {
    /// The word in tables and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Deleted => "deleted",
            Status::Inactive => "inactive",
            Status::Invited => "invited",
            Status::Suspended => "suspended",
        }
    }

    /// # Errors
    /// When the word is none of the five.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        [Status::Active, Status::Deleted, Status::Inactive, Status::Invited, Status::Suspended]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(BadText("a status is active, inactive, suspended, invited or deleted"))
    }
}

/// What kind of account it is. A `User` holds no administrative permission, whatever the roles say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// May administer as far as the roles go.
    Admin,
    /// Uses apps.
    User,
}

impl AccountKind {
    /// The word in tables and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AccountKind::Admin => "admin",
            AccountKind::User => "user",
        }
    }

    /// # Errors
    /// When the word is neither.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        match text {
            "admin" => Ok(AccountKind::Admin),
            "user" => Ok(AccountKind::User),
            _ => Err(BadText("an account is of kind admin or user")),
        }
    }
}

/// Why, when, by whom and until when somebody or something is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Who did it, in words.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A person as the records have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Immutable, never reused.
    pub id: UserId,
    /// What they sign in with.
    pub username: Username,
    /// How they are called.
    pub name: PersonName,
    /// Where to write to.
    pub email: Option<EmailAddress>,
    /// Whether a tenant of theirs owns the address' domain. Only then it signs in and goes to upstreams.
    pub email_verified: bool,
    /// Admin or user.
    pub kind: AccountKind,
    /// As recorded; see [`User::status_at`].
    pub status: Status,
    /// Set while suspended.
    pub suspension: Option<Suspension>,
    /// Must choose a new password before anything else.
    pub must_change_password: bool,
    /// The last complete sign-in.
    pub last_sign_in_at: Option<Timestamp>,
    /// When the record was made.
    pub created_at: Timestamp,
    /// Counts changes; a principal built from an older one is stale.
    pub version: i64,
}

impl User {
    /// The status in force: a suspension that has run out is none.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> Status {
        match (&self.status, &self.suspension) {
            (Status::Suspended, Some(Suspension { until: Some(until), .. })) if *until <= now => {
                Status::Active
            }
            (status, _) => *status,
        }
    }
}
