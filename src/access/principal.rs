//! A person as decisions see them: who, where, holding what, from where. Built when a session is loaded.

use crate::domain::{
    AccountKind, DepartmentId, EmailAddress, OrgId, Origin, Permission, PermissionPattern, PersonName, Place,
    RoleId, Slug, Status, TenantId, Timestamp, UserId, Username,
};
use crate::store::{Conn, DbError, credentials, grants, groups, memberships, users};

use super::snapshot::{MfaRule, Snapshot};

/// A person with everything they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Immutable id.
    pub user: UserId,
    /// Sign-in name.
    pub username: Username,
    /// How they are called.
    pub name: PersonName,
    /// The verified address.
    pub email: Option<EmailAddress>,
    /// The address, verified or not. Never proves anything.
    pub contact: Option<EmailAddress>,
    /// Admin or user.
    pub kind: AccountKind,
    /// Status in force when this was built.
    pub status: Status,
    /// Must choose a new password before anything else.
    pub must_change_password: bool,
    /// Has a second factor.
    pub enrolled: bool,
    /// Version of the record it was built from.
    pub version: i64,
    /// Where they belong.
    pub memberships: Vec<Belongs>,
    /// Groups.
    pub groups: Vec<(TenantId, Slug)>,
    /// Roles.
    pub roles: Vec<Held>,
    /// Permissions, from roles and given directly.
    pub permissions: Vec<Granted>,
    /// A role of theirs demands a second factor.
    pub role_demands_mfa: bool,
}

/// A place in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongs {
    /// The tenant.
    pub tenant: TenantId,
    /// The organisation.
    pub org: Option<OrgId>,
    /// The department.
    pub department: Option<DepartmentId>,
}

/// A role held at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub role: RoleId,
    /// Its name.
    pub slug: Slug,
    /// Where.
    pub place: Place,
    /// From where.
    pub origin: Origin,
    /// Where to land after sign-in.
    pub landing: Option<Slug>,
}

/// A permission held at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What.
    pub pattern: PermissionPattern,
    /// Where.
    pub place: Place,
    /// From what, in words: "role analyst", "granted directly".
    pub from: String,
}

/// Reads a person with everything they hold.
///
/// # Errors
/// When the database fails.
pub async fn load(
    conn: &mut Conn,
    id: UserId,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Option<Principal>, DbError> {
    let Some(user) = users::by_id(conn, id).await? else { return Ok(None) };
    let belongs = memberships::of(conn, id).await?;
    let in_groups = groups::of(conn, id).await?;
    let assigned = grants::assignments_of(conn, id).await?;
    let direct = grants::direct_of(conn, id).await?;
    let enrolled = credentials::factor(conn, id).await?.is_some();

    let mut roles = Vec::new();
    let mut permissions = Vec::new();
    let mut role_demands_mfa = false;
    let mut hold = |role: &crate::domain::Role, place: Place, origin: Origin, by: &str| {
        // What a provider gives, a rule gives: explanations name it.
        let from = match &origin {
            Origin::Provider(_) => format!("role {}, by {by}", role.slug),
            Origin::File | Origin::Manual | Origin::System => format!("role {}", role.slug),
        };
        for pattern in &role.permissions {
            permissions.push(Granted { pattern: pattern.clone(), place, from: from.clone() });
        }
        role_demands_mfa |= role.mfa;
        roles.push(Held {
            role: role.id,
            slug: role.slug.clone(),
            place,
            origin,
            landing: role.landing.clone(),
        });
    };
    for given in assigned {
        // A role that was retired gives nothing.
        if let Some(role) = snapshot.role(given.role) {
            hold(role, given.place, given.origin, &given.by);
        }
    }
    for tenant in snapshot.tenants().filter(|tenant| tenant.owner == Some(id)) {
        if let Some(role) = snapshot.role_named(None, "owner") {
            hold(role, Place::Tenant(tenant.id), Origin::System, "");
        }
    }
    for given in direct {
        permissions.push(Granted {
            pattern: given.permission,
            place: given.place,
            from: "granted directly".to_owned(),
        });
    }
    let mut in_groups: Vec<(TenantId, Slug)> =
        in_groups.into_iter().map(|group| (group.tenant, group.slug)).collect();
    in_groups.dedup();
    Ok(Some(Principal {
        user: id,
        status: user.status_at(now),
        contact: user.email.clone(),
        email: user.email.filter(|_| user.email_verified),
        username: user.username,
        name: user.name,
        kind: user.kind,
        must_change_password: user.must_change_password,
        enrolled,
        version: user.version,
        memberships: belongs
            .into_iter()
            .map(|m| Belongs { tenant: m.tenant, org: m.org, department: m.department })
            .collect(),
        groups: in_groups,
        roles,
        permissions,
        role_demands_mfa,
    }))
}

impl Principal {
    /// Whether they hold a permission at a place.
    #[must_use]
    pub fn holds(&self, permission: &Permission, at: Place) -> bool {
        self.permissions.iter().any(|granted| granted.place.covers(at) && self.gives(granted, permission))
    }

    /// Whether a grant gives a permission: `*:*` of an account of kind `user` gives apps, never administration.
    fn gives(&self, granted: &Granted, permission: &Permission) -> bool {
        granted.pattern.allows(permission)
            && (self.kind == AccountKind::Admin || !permission.administrative())
    }

    /// Whether an upstream that was told of the other knows all that it would be told of this one.
    #[must_use]
    pub fn told_like(&self, other: &Self) -> bool {
        let person = |of: &Self| (of.user, of.kind);
        let roles =
            |of: &Self| of.roles.iter().map(|held| (held.role, held.slug.clone(), held.place)).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = (roles(self), roles(other));
        person(self) == person(other)
            && (&self.username, &self.name, &self.email) == (&other.username, &other.name, &other.email)
            && (&self.memberships, &self.groups) == (&other.memberships, &other.groups)
            && ours == theirs
            && self.permissions == other.permissions
    }

    /// Their place in a tenant.
    #[must_use]
    pub fn belonging(&self, tenant: TenantId) -> Option<&Belongs> {
        self.memberships.iter().find(|belongs| belongs.tenant == tenant)
    }

    /// Whether they must use a second factor wherever they go; routes may ask for more.
    #[must_use]
    pub fn owes_second(&self, snapshot: &Snapshot) -> bool {
        self.role_demands_mfa
            || match snapshot.mfa {
                MfaRule::Everyone => true,
                MfaRule::Admins => self.kind == AccountKind::Admin,
                MfaRule::Off | MfaRule::Optional => false,
            }
            || self
                .memberships
                .iter()
                .any(|belongs| snapshot.tenant(belongs.tenant).is_some_and(|tenant| tenant.mfa_required))
    }

    /// Whether they may come in at all.
    #[must_use]
    pub fn active(&self) -> bool {
        self.status == Status::Active
    }
}
