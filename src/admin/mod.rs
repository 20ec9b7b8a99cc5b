//! The stories of changing things: tenants, people, roles, groups, grants, links, sessions.
//!
//! Every function asks the [`Authority`] first, does its work in one transaction with its audit record in it, and answers
//! with a stable code when it refuses. Whoever may see nothing of a thing is told that there is no such thing; rules that
//! hold for everybody (the last administrator, oneself, owners, exclusive roles) hold for the operator too.
//!
//! [`Authority`]: crate::access::Authority

mod administrators;
mod audit_log;
mod backup;
mod emails;
mod error;
mod first;
mod grants;
mod groups;
mod import;
pub mod keys;
mod links;
mod memberships;
mod objects;
mod places;
mod providers;
mod roles;
mod sessions;
mod tenants;
mod users;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::{Ledger, Snapshot};
use crate::crypto::Keyring;
use crate::domain::{Chance, Secret, Span, Timestamp};
use crate::protocol::password::Policy;
use crate::store::Db;
use crate::sys::{Clock, Pool};

pub use audit_log::{AuditSearch, record_json};
pub use emails::Regained;
pub use error::Error;
pub use grants::{Given, GrantChange};
pub use import::{ImportLine, Imported};
pub use links::Sessions;
pub use objects::{Applied, Declared, DeclaredOrg, DeclaredRole, DeclaredTenant};
pub use places::NewPlace;
pub use roles::{RoleDiff, RoleDraft, diff};
pub use tenants::{TenantChange, TenantDraft, TenantView};
pub use users::{Created, Edit, NewUser, UserList, UserView, usual_place};

/// What this room is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a new password must be.
    pub policy: Policy,
    /// The portal's origin, under which links lead.
    pub portal_origin: String,
    /// What the installation calls itself; not to be part of a password.
    pub brand: String,
}

/// Everything these stories need.
pub struct Admin {
    /// The records.
    pub db: Db,
    /// Our keys.
    pub keys: Arc<Keyring>,
    /// What decisions are made on; read for names of routes, never for rights.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where refusals are left for the audit log.
    pub ledger: Ledger,
    /// Where passwords are hashed.
    pub hashing: Pool,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives chance.
    pub chance: Arc<dyn Chance>,
    /// What we are told.
    pub settings: Settings,
}

/// A one-time link, or a code, that was issued. Its text is shown to whoever asked for it, once.
pub struct Issued {
    /// The whole address, or the code.
    pub text: Secret<String>,
    /// Until when it is worth something.
    pub expires_at: Timestamp,
}

/// How long a link lives that nobody gave another life: as long as a reset may live at all (`PWD-07`).
pub const LINK_LIFE: Span = Span::minutes(30);
/// How long a link may live that invites somebody who has no password yet.
pub const INVITATION_LIFE: Span = Span::hours(7 * 24);
/// How long a code for the next enrolment lives.
pub const ENROLMENT_LIFE: Span = Span::hours(24);
