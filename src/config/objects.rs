//! What the file owns: tenants, roles, groups, identity providers and routes.

use crate::domain::policy::Source;
use crate::domain::provider::Provider;
use crate::domain::role::Scope;
use crate::domain::route::Route;
use crate::domain::{Hostname, PermissionPattern, Slug};

/// Everything the file owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// In the order of the file; `default` alone when the file has none.
    pub tenants: Vec<FileTenant>,
    /// In the order of the file.
    pub roles: Vec<FileRole>,
    /// The tenant and the group.
    pub groups: Vec<(Slug, Slug)>,
    /// Identity providers, in the order of the file.
    pub providers: Vec<Provider>,
    /// In the order of the file.
    pub routes: Vec<Route>,
}

/// `[[tenant]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTenant {
    /// Where it is written.
    pub source: Source,
    /// Its name in rules and on the command line.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// The domains it has verified.
    pub domains: Vec<Hostname>,
    /// A word of the operator's.
    pub plan: Option<String>,
    /// Whether every member must use a second factor.
    pub mfa_required: bool,
    /// The identity provider that its people sign in with.
    pub require_idp: Option<Slug>,
    /// Its organisations.
    pub orgs: Vec<FileOrg>,
}

/// `[[tenant.org]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrg {
    /// Its name in rules.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Its departments: name in rules, name for people.
    pub departments: Vec<(Slug, String)>,
}

/// `[[role]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRole {
    /// Where it is written.
    pub source: Source,
    /// The tenant it belongs to; none for a role that every tenant may give.
    pub tenant: Option<Slug>,
    /// Its name in rules.
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
}
