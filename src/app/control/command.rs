//! The commands, as they travel. Names are as people typed them; whoever carries a command out looks them up.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{AuditId, Span, Timestamp};

/// A secret as somebody typed it, on its way through a socket that only its owner can open.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Typed(#[serde(serialize_with = "written")] Zeroizing<String>);

fn written<S: serde::Serializer>(text: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

impl From<String> for Typed {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl Typed {
    /// Takes it in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Looks at it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[typed]")
    }
}

/// Under which circumstances a decision is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The method of the request; GET when not said.
    pub method: Option<String>,
    /// A second factor is given now.
    pub mfa: bool,
    /// From where.
    pub ip: Option<IpAddr>,
    /// The first factor: `pwd`, `oidc:NAME`, `saml:NAME`; the password when not said.
    pub via: Option<String>,
}

/// What somebody is to be. What is not said stays, or is the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserWish {
    /// How they are called.
    pub name: Option<String>,
    /// Where to write to; empty takes the address away.
    pub email: Option<String>,
    /// `admin` or `user`.
    pub kind: Option<String>,
    /// Where they are to belong.
    pub join: Vec<String>,
    /// What they are to hold: `analyst`, `analyst@acme/europe`.
    pub roles: Vec<String>,
    /// In which groups they are to be.
    pub groups: Vec<String>,
}

/// What a role is to be. What is not said stays, or is the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleWish {
    /// Its name for people.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Where it may be given.
    pub scope: Option<String>,
    /// What it allows; all of it.
    pub permissions: Option<Vec<String>>,
    /// What it allows besides.
    pub add: Vec<String>,
    /// What it allows no more.
    pub remove: Vec<String>,
    /// Whether it stands alone.
    pub exclusive: Option<bool>,
    /// Whether every new member gets it.
    pub auto_assigned: Option<bool>,
    /// Whether holders must use a second factor.
    pub mfa: Option<bool>,
    /// The route to land on; empty takes it away.
    pub landing: Option<String>,
}

/// One verb of the command line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the arguments that `cardea --help` explains")]
pub enum Command {
    /// A set-up link for the first administrator.
    AdminInvite { life: Option<Span> },
    /// Lets a person or an address try again.
    AdminUnlock { who: String },
    /// The records after one, for following.
    AuditAfter { at: Timestamp, id: Option<AuditId>, limit: i64 },
    /// The record behind a reference.
    AuditShow { reference: String },
    /// The latest records.
    AuditTail {
        limit: i64,
        tenant: Option<String>,
        action: Option<String>,
        actor: Option<String>,
        target: Option<String>,
        outcome: Option<String>,
    },
    /// Everything that somebody reaches.
    Can { user: String, given: Circumstances },
    /// Copies the records into a new file.
    DbBackup { to: std::path::PathBuf },
    /// Looks whether the records are whole and every seal opens.
    DbCheck,
    /// Seals everything under the current master key.
    DbReseal,
    /// Makes a department.
    DeptCreate { org: String, slug: String, name: Option<String> },
    /// Takes a department out of force.
    DeptDelete { place: String, force: bool },
    /// Renames a department.
    DeptEdit { place: String, name: String },
    /// Departments.
    DeptList { tenant: Option<String> },
    /// Why somebody may, or may not, open an address.
    Explain { user: String, url: String, given: Circumstances },
    /// Why a request that was made was let in or kept out.
    ExplainRequest { id: String },
    /// Makes a group.
    GroupCreate { tenant: String, slug: String },
    /// Deletes a group.
    GroupDelete { group: String },
    /// Puts somebody into a group.
    GroupJoin { group: String, user: String },
    /// Takes somebody out of a group.
    GroupLeave { group: String, user: String },
    /// Groups.
    GroupList { tenant: Option<String> },
    /// Who is in a group.
    GroupShow { group: String },
    /// Switches an identity provider off.
    IdpDisable { name: String, reason: String, lasts: Option<Span> },
    /// Switches it on again.
    IdpEnable { name: String },
    /// Every identity provider.
    IdpList,
    /// One of them.
    IdpShow { name: String },
    /// Asks one what it says about itself, and begins a rehearsal of a sign-in.
    IdpTest { name: String, sign_in: bool },
    /// What came of that.
    IdpTestOutcome { handle: Typed },
    /// Makes a new key for assertions.
    KeysRotate,
    /// Makes an organisation.
    OrgCreate { tenant: String, slug: String, name: Option<String> },
    /// Takes an organisation out of force.
    OrgDelete { place: String, force: bool },
    /// Renames an organisation.
    OrgEdit { place: String, name: String },
    /// Organisations.
    OrgList { tenant: Option<String> },
    /// Reads the configuration again.
    Reload,
    /// Makes a role.
    RoleCreate { slug: String, tenant: Option<String>, wish: RoleWish },
    /// Deletes a role.
    RoleDelete { role: String, force: bool },
    /// How two roles differ.
    RoleDiff { first: String, second: String },
    /// Changes a role.
    RoleEdit { role: String, wish: RoleWish },
    /// Gives a role, or a single permission.
    RoleGrant { what: String, user: String, at: Option<String> },
    /// Roles.
    RoleList { tenant: Option<String> },
    /// Takes a role back, or a single permission.
    RoleRevoke { what: String, user: String, at: Option<String> },
    /// A role and who holds it.
    RoleShow { role: String },
    /// Live sessions.
    SessionList { user: Option<String>, limit: usize },
    /// Ends a session.
    SessionRevoke { session: String },
    /// Ends every session of somebody.
    SessionRevokeAll { user: String },
    /// A session.
    SessionShow { session: String },
    /// How the server does.
    Status,
    /// Lets a tenant go on.
    TenantActivate { tenant: String },
    /// Makes a tenant.
    TenantCreate {
        slug: String,
        name: Option<String>,
        plan: Option<String>,
        mfa: bool,
        domains: Vec<String>,
        owner: Option<String>,
    },
    /// Takes a tenant out of force.
    TenantDelete { tenant: String, force: bool },
    /// Changes a tenant.
    TenantEdit {
        tenant: String,
        name: Option<String>,
        plan: Option<String>,
        mfa: Option<bool>,
        domains: Option<Vec<String>>,
    },
    /// Tenants.
    TenantList,
    /// A tenant.
    TenantShow { tenant: String },
    /// Stops a tenant.
    TenantSuspend { tenant: String, reason: String, lasts: Option<Span> },
    /// Passes a tenant on.
    TenantTransfer { tenant: String, to: String },
    /// Lets somebody in again.
    UserActivate { user: String },
    /// Adds somebody.
    UserCreate { username: String, wish: UserWish, password: Option<Typed>, life: Option<Span> },
    /// Switches somebody off.
    UserDeactivate { user: String },
    /// Deletes somebody.
    UserDelete { user: String },
    /// Changes somebody.
    UserEdit { user: String, wish: UserWish, leave: Vec<String> },
    /// Everything that is known of somebody.
    UserExport { user: String },
    /// Takes people over; each line with its number.
    UserImport { lines: Vec<(usize, String)> },
    /// A link to set a password.
    UserLink { user: String, life: Option<Span> },
    /// People.
    UserList {
        status: Option<String>,
        tenant: Option<String>,
        role: Option<String>,
        like: Option<String>,
        limit: usize,
    },
    /// Takes somebody's second factor away.
    UserResetMfa { user: String },
    /// Sets somebody's password.
    UserSetPassword { user: String, password: Typed, keep_sessions: bool },
    /// Somebody.
    UserShow { user: String },
    /// Stops somebody.
    UserSuspend { user: String, reason: String, lasts: Option<Span> },
    /// Where the records are: whoever connects makes sure that it is the server they mean.
    Where,
    /// Who may open an address, or holds a permission.
    WhoCan { what: String, at: Option<String>, given: Circumstances },
}

impl Command {
    /// Whether it changes nothing: then it makes no database either.
    #[must_use]
    pub const fn reads(&self) -> bool {
        matches!(
            self,
            Command::AuditAfter { .. }
                | Command::AuditShow { .. }
                | Command::AuditTail { .. }
                | Command::Can { .. }
                | Command::DbBackup { .. }
                | Command::DbCheck
                | Command::DeptList { .. }
                | Command::Explain { .. }
                | Command::ExplainRequest { .. }
                | Command::GroupList { .. }
                | Command::GroupShow { .. }
                | Command::OrgList { .. }
                | Command::Reload
                | Command::RoleDiff { .. }
                | Command::RoleList { .. }
                | Command::RoleShow { .. }
                | Command::SessionList { .. }
                | Command::SessionShow { .. }
                | Command::Status
                | Command::TenantList
                | Command::TenantShow { .. }
                | Command::UserExport { .. }
                | Command::UserList { .. }
                | Command::UserShow { .. }
                | Command::Where
                | Command::WhoCan { .. }
        )
    }
}
