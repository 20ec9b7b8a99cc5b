//! Roles: made, shown, edited, compared, deleted. The built-in ones stay as they are (`TENANT-11`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::Authority;
use crate::domain::permission::ADMINISTRATIVE;
use crate::domain::role::BUILT_IN;
use crate::domain::{Origin, PermissionPattern, Place, Role, RoleId, Scope, Slug, TenantId, UserId};
use crate::store::grants::{self, Assignment};
use crate::store::roles;

use super::work::{self, Work};
use super::{Admin, Error};

/// A role as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDraft {
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

/// How two roles differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDiff {
    /// Permissions that only the first has.
    pub only_first: Vec<PermissionPattern>,
    /// Permissions that only the second has.
    pub only_second: Vec<PermissionPattern>,
    /// Permissions that both have.
    pub both: Vec<PermissionPattern>,
}

/// What administrative permissions may be about doing.
const ACTIONS: [&str; 8] = ["access", "delete", "impersonate", "operate", "read", "revoke", "use", "write"];

/// Whether a permission exists: of an app any does, of Cardea itself only those that something asks for.
pub(super) fn known(pattern: &PermissionPattern) -> Result<(), Error> {
    match pattern {
        PermissionPattern::Exactly(permission)
            if ADMINISTRATIVE.contains(&permission.resource()) && !ACTIONS.contains(&permission.action()) =>
        {
            Err(Error::BadField {
                what: "permission",
                why: format!(
                    "{permission} does not exist; {} has {}",
                    permission.resource(),
                    ACTIONS.join(", ")
                ),
            })
        }
        _ => Ok(()),
    }
}

/// Whether a role can be as it is wanted.
pub(super) fn sound(tenant: Option<TenantId>, slug: &Slug, draft: &RoleDraft) -> Result<(), Error> {
    if tenant.is_some() && draft.scope == Scope::Global {
        return Err(Error::RoleScope(format!("{slug} belongs to a tenant and cannot be given everywhere")));
    }
    if draft.exclusive && draft.auto_assigned {
        return Err(Error::BadField {
            what: "role",
            why: format!("{slug} cannot be exclusive and be given to everybody"),
        });
    }
    if draft.name.is_empty() || draft.name.chars().count() > 100 || draft.description.len() > 1_000 {
        return Err(Error::BadField {
            what: "role",
            why: "a name has 1 to 100 characters, a description 1,000".into(),
        });
    }
    // Such a role is given in a tenant; what it holds there would hold over everybody in it.
    let own = draft.scope == Scope::Own;
    if let Some(pattern) = draft.permissions.iter().find(|pattern| own && pattern.administrative()) {
        return Err(Error::RoleScope(format!(
            "a role of scope self gives nothing over others, and {pattern} would"
        )));
    }
    draft.permissions.iter().try_for_each(known)
}

impl Admin {
    /// Makes a role of a tenant, or one that every tenant may give.
    pub async fn create_role(
        &self,
        by: &Authority,
        tenant: Option<TenantId>,
        slug: &Slug,
        draft: RoleDraft,
    ) -> Result<RoleId, Error> {
        let mut work = self.begin(by, "role.create").await?;
        let done = create(&mut work, tenant, slug, draft).await;
        work.end(done).await
    }

    /// Replaces what a role is and allows. Whoever holds it holds the new one from then on.
    pub async fn edit_role(&self, by: &Authority, id: RoleId, draft: RoleDraft) -> Result<(), Error> {
        let mut work = self.begin(by, "role.edit").await?;
        let done = edit(&mut work, id, draft).await;
        work.end(done).await
    }

    /// Deletes a role. One that somebody holds only with `force`, and then they hold it no more.
    pub async fn delete_role(&self, by: &Authority, id: RoleId, force: bool) -> Result<(), Error> {
        let mut work = self.begin(by, "role.delete").await?;
        let done = delete(&mut work, id, force).await;
        work.end(done).await
    }

    /// The roles that they may know of: the system's, and those of a tenant if one is named.
    pub async fn list_roles(
        &self,
        by: &Authority,
        tenant: Option<TenantId>,
    ) -> Result<Vec<Arc<Role>>, Error> {
        let look = self.look(by).await?;
        if let Some(tenant) = tenant {
            work::tenant(&look.tree, &look.who, tenant)?;
        }
        let mut roles: Vec<Arc<Role>> = look
            .tree
            .roles()
            .filter(|role| work::role(&look.tree, &look.who, role.id).is_ok())
            .filter(|role| tenant.is_none() || role.tenant.is_none() || role.tenant == tenant)
            .cloned()
            .collect();
        roles.sort_by(|a, b| (a.tenant, &a.slug).cmp(&(b.tenant, &b.slug)));
        Ok(roles)
    }

    /// A role by id, as `tenant/name`, or by name: of the tenant that is meant, or else the system's.
    pub async fn role_named(
        &self,
        by: &Authority,
        text: &str,
        tenant: Option<TenantId>,
    ) -> Result<Arc<Role>, Error> {
        let look = self.look(by).await?;
        let unknown = || Error::unknown("role", text);
        if let Ok(id) = text.parse::<RoleId>() {
            return work::role(&look.tree, &look.who, id).map_err(|_| unknown());
        }
        let (tenant, name) = match text.split_once('/') {
            Some((tenant, name)) => (Some(work::tenant_named(&look.tree, &look.who, tenant)?), name),
            None => (tenant, text),
        };
        if let Some(role) = look.tree.role_named(tenant, name) {
            return work::role(&look.tree, &look.who, role.id).map_err(|_| unknown());
        }
        // Without a tenant, a name that one tenant alone has is clear enough.
        let mut found = look.tree.roles().filter(|role| {
            tenant.is_none() && role.slug.as_str() == name && role.tenant.is_some_and(|it| look.who.knows(it))
        });
        match (found.next(), found.next()) {
            (Some(role), None) => Ok(Arc::clone(role)),
            (Some(_), Some(_)) => Err(Error::BadField {
                what: "role",
                why: format!("several tenants have {name}; write TENANT/{name}"),
            }),
            (None, _) => Err(unknown()),
        }
    }

    /// Who holds a role, as far as they may see those people.
    pub async fn role_holders(&self, by: &Authority, id: RoleId) -> Result<Vec<(UserId, Assignment)>, Error> {
        let mut look = self.look(by).await?;
        work::role(&look.tree, &look.who, id)?;
        let mut holders = Vec::new();
        for held in grants::holders_of(&mut look.conn, id).await? {
            match work::person(&mut look.conn, &look.who, held.user).await {
                Ok(person) => holders.push((person.user.id, held)),
                Err(Error::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(holders)
    }
}

/// How two roles differ in what they allow.
#[must_use]
pub fn diff(first: &Role, second: &Role) -> RoleDiff {
    let set = |role: &Role| role.permissions.iter().cloned().collect::<BTreeSet<_>>();
    let (one, two) = (set(first), set(second));
    RoleDiff {
        only_first: one.difference(&two).cloned().collect(),
        only_second: two.difference(&one).cloned().collect(),
        both: one.intersection(&two).cloned().collect(),
    }
}

/// Where a role is looked after: its tenant, or the whole system.
fn home(tenant: Option<TenantId>) -> Place {
    tenant.map_or(Place::Global, Place::Tenant)
}

/// Whether a name is free: in the tenant, and over the whole system, since rules say `role:NAME` and mean either.
pub(super) fn name_is_free(work: &Work<'_>, tenant: Option<TenantId>, slug: &Slug) -> Result<(), Error> {
    let built_in = BUILT_IN.iter().any(|(name, ..)| *name == slug.as_str());
    let near = |role: &Arc<Role>| tenant.is_none() || role.tenant.is_none() || role.tenant == tenant;
    if built_in || work.tree.roles().any(|role| role.slug == *slug && near(role)) {
        return Err(Error::SlugTaken { kind: "role", name: slug.to_string() });
    }
    Ok(())
}

async fn create(
    work: &mut Work<'_>,
    tenant: Option<TenantId>,
    slug: &Slug,
    draft: RoleDraft,
) -> Result<RoleId, Error> {
    let place = home(tenant);
    work.check_place(place)?;
    work.about("role", slug, tenant);
    work.who.demand("roles:write", place)?;
    sound(tenant, slug, &draft)?;
    work.who.covers(draft.permissions.iter().map(|pattern| (pattern, place)))?;
    name_is_free(work, tenant, slug)?;
    let id = RoleId::mint(work.now, &*work.admin.chance);
    let role = made(id, tenant, slug.clone(), draft, Origin::Manual);
    let kept = roles::put(&mut work.tx, &role, work.now).await?;
    if kept != id {
        // A retired one had that name: whoever held it does not hold the new one.
        grants::clear_role(&mut work.tx, kept).await?;
    }
    work.about("role", kept, tenant);
    let event = work.event().with("name", slug).with("permissions", list(&role.permissions));
    work.record(event).await?;
    Ok(kept)
}

async fn edit(work: &mut Work<'_>, id: RoleId, draft: RoleDraft) -> Result<(), Error> {
    let old = work.role(id)?;
    work.about("role", id, old.tenant);
    let place = home(old.tenant);
    work.who.demand("roles:write", place)?;
    changeable(&old)?;
    sound(old.tenant, &old.slug, &draft)?;
    // Neither what it gives now nor what it gave is taken or given by somebody who lacks it.
    let patterns = old.permissions.iter().chain(&draft.permissions);
    work.who.covers(patterns.map(|pattern| (pattern, place)))?;
    let role = made(id, old.tenant, old.slug.clone(), draft, old.origin.clone());
    if role == *old {
        return Ok(());
    }
    work.still_fits(&role).await?;
    roles::put(&mut work.tx, &role, work.now).await?;
    let event = work
        .event()
        .with("name", &old.slug)
        .with("permissions_before", list(&old.permissions))
        .with("permissions", list(&role.permissions));
    work.record(event).await
}

async fn delete(work: &mut Work<'_>, id: RoleId, force: bool) -> Result<(), Error> {
    let role = work.role(id)?;
    work.about("role", id, role.tenant);
    let place = home(role.tenant);
    work.who.demand("roles:delete", place)?;
    changeable(&role)?;
    work.who.covers(role.permissions.iter().map(|pattern| (pattern, place)))?;
    let holders = roles::holders(&mut work.tx, id).await?;
    if holders > 0 && !force {
        let by = format!("held {holders} {}", if holders == 1 { "time" } else { "times" });
        return Err(Error::InUse { kind: "role", name: role.slug.to_string(), by });
    }
    grants::clear_role(&mut work.tx, id).await?;
    roles::delete(&mut work.tx, id).await?;
    let event = work.event().with("name", &role.slug).with("holders", holders);
    work.record(event).await
}

fn changeable(role: &Role) -> Result<(), Error> {
    match role.origin {
        Origin::System => Err(Error::SystemRole(role.slug.to_string())),
        Origin::File => Err(Error::ManagedByFile { kind: "role", name: role.slug.to_string() }),
        Origin::Manual | Origin::Provider(_) => Ok(()),
    }
}

/// A role from its draft, with its permissions in order and once each.
pub(super) fn made(
    id: RoleId,
    tenant: Option<TenantId>,
    slug: Slug,
    draft: RoleDraft,
    origin: Origin,
) -> Role {
    let permissions: BTreeSet<(String, PermissionPattern)> =
        draft.permissions.into_iter().map(|pattern| (pattern.to_string(), pattern)).collect();
    Role {
        id,
        tenant,
        slug,
        name: draft.name,
        description: draft.description,
        scope: draft.scope,
        permissions: permissions.into_iter().map(|(_, pattern)| pattern).collect(),
        exclusive: draft.exclusive,
        auto_assigned: draft.auto_assigned,
        mfa: draft.mfa,
        landing: draft.landing,
        origin,
    }
}

pub(super) fn list(patterns: &[PermissionPattern]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl Work<'_> {
    /// Whether a role, as it is to be, fits where it has been given, and stands alone there if it is exclusive.
    pub(super) async fn still_fits(&mut self, role: &Role) -> Result<(), Error> {
        for held in grants::holders_of(&mut self.tx, role.id).await? {
            super::grants::fits(role, held.place)?;
            if !role.exclusive {
                continue;
            }
            let name = crate::store::users::by_id(&mut self.tx, held.user).await?;
            let who = name.map_or_else(|| held.user.to_string(), |user| user.username.to_string());
            let beside =
                |other: String| Error::RoleExclusive { who, one: role.slug.to_string(), other, one_is: true };
            let near = |place: Place| {
                place.tenant().is_none()
                    || held.place.tenant().is_none()
                    || place.tenant() == held.place.tenant()
            };
            let others = grants::assignments_of(&mut self.tx, held.user).await?;
            let mut others = others.iter().filter(|other| other.role != role.id && near(other.place));
            if let Some(other) = others.find_map(|other| self.tree.role(other.role)) {
                return Err(beside(other.slug.to_string()));
            }
            let direct = grants::direct_of(&mut self.tx, held.user).await?;
            if let Some(other) = direct.iter().find(|other| near(other.place)) {
                return Err(beside(other.permission.to_string()));
            }
            let owned =
                self.tree.tenants().find(|it| it.owner == Some(held.user) && near(Place::Tenant(it.id)));
            if let Some(tenant) = owned {
                return Err(beside(format!("the ownership of {}", tenant.slug)));
            }
        }
        Ok(())
    }
}
