//! Roles: named sets of permissions that hold at a place.

use serde::{Deserialize, Serialize};

use super::text::BadText;
use super::{PermissionPattern, Place, RoleId, Slug, TenantId};

/// The widest kind of place at which a role may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The whole system.
    Global,
    /// A tenant.
    Tenant,
    /// An organisation.
    Organization,
    /// A department.
    Department,
    /// The person alone; such a role gives nothing over others.
    #[serde(rename = "self")]
    Own,
}

impl Scope {
    /// The word in files, tables and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Global => "global",
            Scope::Tenant => "tenant",
            Scope::Organization => "organization",
            Scope::Department => "department",
            Scope::Own => "self",
        }
    }

    /// Whether a role of this scope may be given at a place.
    #[must_use]
    pub const fn reaches(self, place: Place) -> bool {
        let width = match place {
            Place::Global => 0,
            Place::Tenant(_) => 1,
            Place::Org(..) => 2,
            Place::Department(..) => 3,
        };
        width
            >= match self {
                Scope::Global => 0,
                Scope::Tenant | Scope::Own => 1,
                Scope::Organization => 2,
                Scope::Department => 3,
            }
    }

    /// # Errors
    /// When the word is none of the five.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        [Scope::Global, Scope::Tenant, Scope::Organization, Scope::Department, Scope::Own]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(BadText("a scope is global, tenant, organization, department or self"))
    }
}

/// Where an object or a grant comes from, and so who may change it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Origin {
    /// The configuration file; read-only elsewhere.
    File,
    /// An administrator, by hand.
    Manual,
    /// A rule of an identity provider; replaced at each sign-in through it.
    Provider(Box<str>),
    /// Cardea itself.
    System,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File => f.write_str("file"),
            Origin::Manual => f.write_str("manual"),
            Origin::Provider(name) => write!(f, "provider:{name}"),
            Origin::System => f.write_str("system"),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = BadText;
    fn try_from(text: String) -> Result<Self, BadText> {
        match text.as_str() {
            "file" => Ok(Origin::File),
            "manual" => Ok(Origin::Manual),
            "system" => Ok(Origin::System),
            other => match other.strip_prefix("provider:") {
                Some(name) => Ok(Origin::Provider(name.into())),
                None => Err(BadText("an origin is file, manual, system or provider:NAME")),
            },
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.to_string()
    }
}

/// A role as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its identifier.
    pub id: RoleId,
    /// The tenant it belongs to; none for built-in and system-wide roles.
    pub tenant: Option<TenantId>,
    /// Its name in rules and on the command line, unique in its tenant.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it may be given.
    pub scope: Scope,
    /// What it allows.
    pub permissions: Vec<PermissionPattern>,
    /// Choosing it clears every other role of the person in the tenant.
    pub exclusive: bool,
    /// Given to every new member.
    pub auto_assigned: bool,
    /// Whoever holds it must use a second factor.
    pub mfa: bool,
    /// The route to land on after sign-in.
    pub landing: Option<Slug>,
    /// Where it comes from. System roles cannot be changed.
    pub origin: Origin,
}

impl Role {
    /// Whether it may be given at a place: nowhere wider than its scope, in no tenant but its own.
    #[must_use]
    pub fn fits(&self, place: Place) -> bool {
        self.scope.reaches(place) && (self.tenant.is_none() || self.tenant == place.tenant())
    }
}

/// A built-in role: slug, name, scope, permissions, description.
pub type BuiltIn = (&'static str, &'static str, Scope, &'static [&'static str], &'static str);

/// The roles every installation has. They cannot be changed or deleted.
pub const BUILT_IN: [BuiltIn; 7] = [
    (
        "super-admin",
        "Super administrator",
        Scope::Global,
        &["*:*"],
        "Everything, everywhere. Only a super administrator can give it.",
    ),
    (
        "tenant-admin",
        "Tenant administrator",
        Scope::Tenant,
        &[
            "api_keys:*",
            "audit:read",
            "budgets:*",
            "console:access",
            "explain:read",
            "idps:*",
            "roles:*",
            "routes:*",
            "sessions:*",
            "settings:*",
            "upstreams:*",
            "usage:read",
            "users:*",
        ],
        "Providers, routes, roles, budgets and people of one tenant.",
    ),
    (
        "org-admin",
        "Organisation administrator",
        Scope::Organization,
        &["budgets:*", "console:access", "roles:read", "usage:read", "users:*"],
        "People and budgets of one organisation.",
    ),
    (
        "dept-admin",
        "Department administrator",
        Scope::Department,
        &["budgets:*", "console:access", "roles:read", "usage:read", "users:*"],
        "People and budgets of one department.",
    ),
    (
        "manager",
        "Manager",
        Scope::Department,
        &["usage:read", "users:read"],
        "Sees the people and the usage of one department.",
    ),
    ("owner", "Owner", Scope::Tenant, &["*:*"], "Owns a tenant. Passed on only by transferring the tenant."),
    ("user", "User", Scope::Own, &[], "Signs in, uses what is open to every member, edits the own profile."),
];
