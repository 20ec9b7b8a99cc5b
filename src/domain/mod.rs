//! The ground floor: the nouns of a gateway and the rules about them.
//!
//! No I/O, no async, no clock, no randomness, no framework. Whatever comes from outside becomes one of
//! these types first; what holds a type of this room has been checked.

pub mod address;
pub mod audit;
pub mod chance;
pub mod change;
pub mod header;
pub mod ids;
pub mod login;
pub mod permission;
pub mod place;
pub mod policy;
pub mod pool;
pub mod provider;
pub mod role;
pub mod route;
pub mod saml;
pub mod secret;
pub mod session;
pub mod target;
pub mod text;
pub mod time;
pub mod user;

pub use audit::{Actor, AuditEvent, Outcome};
pub use chance::Chance;
pub use change::Change;
pub use ids::{
    AssignmentId, AuditId, DepartmentId, FactorId, GroupId, KeyId, OrgId, RoleId, SessionId, TenantId, UserId,
};
pub use permission::{Permission, PermissionPattern};
pub use place::{Place, PlacePath};
pub use role::{Origin, Role, Scope};
pub use secret::Secret;
pub use session::Level;
pub use text::{EmailAddress, Hostname, LoginName, Password, PersonName, Slug, Username};
pub use time::{Span, Timestamp};
pub use user::{AccountKind, Status, User};
