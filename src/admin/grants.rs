//! Giving and taking roles and single permissions.
//!
//! Nobody gives or takes what they lack (`TENANT-05`), nor at a place above their own (`TENANT-06`). An exclusive role
//! stands alone in its tenant (`TENANT-10`).

use crate::access::Authority;
use crate::domain::{AssignmentId, Origin, PermissionPattern, Place, Role, RoleId, Scope, UserId};
use crate::store::grants::{self, Assignment, DirectGrant};

use super::work::{Person, Work};
use super::{Admin, Error};

/// A role at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which role.
    pub role: RoleId,
    /// Where.
    pub place: Place,
}

/// What a grant or a revocation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantChange {
    /// Whether anything is different now.
    pub changed: bool,
    /// The roles and permissions that made room for an exclusive one, in words.
    pub cleared: Vec<String>,
}

/// Whether a role may be given at a place: nowhere wider than its scope, in no tenant but its own.
pub(super) fn fits(role: &Role, place: Place) -> Result<(), Error> {
    let words = match role.scope {
        Scope::Global => "anywhere",
        Scope::Tenant => "in a tenant or below",
        Scope::Organization => "in an organisation or below",
        Scope::Department => "in a department",
        Scope::Own => "to members of a tenant, for themselves",
    };
    if !role.scope.reaches(place) {
        return Err(Error::RoleScope(format!(
            "the role {} is given {words}, not at a wider place",
            role.slug
        )));
    }
    if !role.fits(place) {
        // As if the role did not exist there: it does not.
        return Err(Error::unknown("role", &role.slug));
    }
    Ok(())
}

/// Whether two places share people: one of them is everything, or both lie in one tenant.
fn near(a: Place, b: Place) -> bool {
    a.tenant().is_none() || b.tenant().is_none() || a.tenant() == b.tenant()
}

impl Admin {
    /// Gives somebody a role at a place.
    pub async fn grant_role(&self, by: &Authority, user: UserId, given: Given) -> Result<GrantChange, Error> {
        let mut work = self.begin(by, "role.grant").await?;
        let done = grant_role(&mut work, user, given).await;
        work.end(done).await
    }

    /// Takes a role back that was given by hand or came with a membership.
    pub async fn revoke_role(&self, by: &Authority, user: UserId, given: Given) -> Result<(), Error> {
        let mut work = self.begin(by, "role.revoke").await?;
        let done = revoke_role(&mut work, user, given).await;
        work.end(done).await
    }

    /// Gives somebody a single permission at a place.
    pub async fn grant_permission(
        &self,
        by: &Authority,
        user: UserId,
        permission: &PermissionPattern,
        place: Place,
    ) -> Result<GrantChange, Error> {
        let mut work = self.begin(by, "permission.grant").await?;
        let done = grant_permission(&mut work, user, permission, place).await;
        work.end(done).await
    }

    /// Takes a single permission back that was given by hand.
    pub async fn revoke_permission(
        &self,
        by: &Authority,
        user: UserId,
        permission: &PermissionPattern,
        place: Place,
    ) -> Result<(), Error> {
        let mut work = self.begin(by, "permission.revoke").await?;
        let done = revoke_permission(&mut work, user, permission, place).await;
        work.end(done).await
    }
}

async fn grant_role(work: &mut Work<'_>, user: UserId, given: Given) -> Result<GrantChange, Error> {
    let person = work.person(user).await?;
    work.about("user", user, given.place.tenant());
    let role = work.role(given.role)?;
    work.check_place(given.place)?;
    work.who.demand("users:write", given.place)?;
    let change = work.give(&person, &role, given.place, &Origin::Manual).await?;
    if change.changed {
        let event = work
            .event()
            .with("role", &role.slug)
            .with("at", work.tree.place_words(given.place))
            .with("cleared", change.cleared.join(", "));
        work.record(event).await?;
    }
    Ok(change)
}

async fn revoke_role(work: &mut Work<'_>, user: UserId, given: Given) -> Result<(), Error> {
    let person = work.person(user).await?;
    work.about("user", user, given.place.tenant());
    let role = work.role(given.role)?;
    work.check_place(given.place)?;
    work.who.demand("users:write", given.place)?;
    if is_owner(&role) {
        return Err(Error::OwnerRole);
    }
    work.who.covers(role.permissions.iter().map(|pattern| (pattern, given.place)))?;
    let held = grants::assignments_of(&mut work.tx, user).await?;
    let mut origins: Vec<Origin> = held
        .into_iter()
        .filter(|it| it.role == given.role && it.place == given.place)
        .map(|it| it.origin)
        .collect();
    if origins.is_empty() {
        return Err(Error::unknown("grant", format!("of {} to {}", role.slug, person.name())));
    }
    origins.retain(|origin| !matches!(origin, Origin::Provider(_)));
    let Some(origin) = origins.pop() else {
        return Err(Error::NotYours("a rule of an identity provider gives this role. Change the rule"));
    };
    grants::revoke(&mut work.tx, user, given.role, given.place, &origin).await?;
    let event = work.event().with("role", &role.slug).with("at", work.tree.place_words(given.place));
    work.record(event).await
}

async fn grant_permission(
    work: &mut Work<'_>,
    user: UserId,
    permission: &PermissionPattern,
    place: Place,
) -> Result<GrantChange, Error> {
    let person = work.person(user).await?;
    work.about("user", user, place.tenant());
    work.check_place(place)?;
    work.who.demand("users:write", place)?;
    work.who.covers([(permission, place)])?;
    super::roles::known(permission)?;
    work.belongs(&person, place)?;
    if let Some(role) = work.exclusive_held(&person, place).await? {
        return Err(Error::RoleExclusive {
            who: person.name(),
            one: role,
            other: permission.to_string(),
            one_is: true,
        });
    }
    let grant = DirectGrant {
        id: AssignmentId::mint(work.now, &*work.admin.chance),
        user,
        permission: permission.clone(),
        place,
        origin: Origin::Manual,
        by: work.who.words(),
        at: work.now,
    };
    let changed = grants::grant(&mut work.tx, &grant).await?;
    if changed {
        let event = work.event().with("permission", permission).with("at", work.tree.place_words(place));
        work.record(event).await?;
    }
    Ok(GrantChange { changed, cleared: Vec::new() })
}

async fn revoke_permission(
    work: &mut Work<'_>,
    user: UserId,
    permission: &PermissionPattern,
    place: Place,
) -> Result<(), Error> {
    let person = work.person(user).await?;
    work.about("user", user, place.tenant());
    work.check_place(place)?;
    work.who.demand("users:write", place)?;
    work.who.covers([(permission, place)])?;
    if !grants::withdraw(&mut work.tx, user, permission, place, &Origin::Manual).await? {
        return Err(Error::unknown("grant", format!("of {permission} to {}", person.name())));
    }
    let event = work.event().with("permission", permission).with("at", work.tree.place_words(place));
    work.record(event).await
}

/// Whether it is the role that only ownership gives.
pub(super) fn is_owner(role: &Role) -> bool {
    role.tenant.is_none() && role.slug.as_str() == "owner"
}

impl Work<'_> {
    /// Whether somebody belongs to the tenant of a place; everybody belongs to everything.
    pub(super) fn belongs(&self, person: &Person, place: Place) -> Result<(), Error> {
        let Some(tenant) = place.tenant() else { return Ok(()) };
        if person.memberships.iter().any(|membership| membership.tenant == tenant) {
            return Ok(());
        }
        let tenant = self.tree.place_words(Place::Tenant(tenant));
        Err(Error::NotMember { who: person.name(), tenant })
    }

    /// Gives a role, whoever it is that gives it. The caller has asked whether they may write at the place.
    pub(super) async fn give(
        &mut self,
        person: &Person,
        role: &Role,
        place: Place,
        origin: &Origin,
    ) -> Result<GrantChange, Error> {
        if is_owner(role) {
            return Err(Error::OwnerRole);
        }
        fits(role, place)?;
        // What comes with a membership is the rule's gift, not this person's.
        if *origin == Origin::Manual {
            self.who.covers(role.permissions.iter().map(|pattern| (pattern, place)))?;
        }
        self.belongs(person, place)?;
        let cleared = if role.exclusive {
            self.make_room(person, role, place).await?
        } else {
            if let Some(other) = self.exclusive_held(person, place).await? {
                let (who, one) = (person.name(), role.slug.to_string());
                return Err(Error::RoleExclusive { who, one, other, one_is: false });
            }
            Vec::new()
        };
        let given = Assignment {
            id: AssignmentId::mint(self.now, &*self.admin.chance),
            user: person.user.id,
            role: role.id,
            place,
            origin: origin.clone(),
            by: self.who.words(),
            at: self.now,
        };
        let changed = grants::assign(&mut self.tx, &given).await?;
        Ok(GrantChange { changed: changed || !cleared.is_empty(), cleared })
    }

    /// The exclusive role that somebody holds near a place, if they do.
    pub(super) async fn exclusive_held(
        &mut self,
        person: &Person,
        place: Place,
    ) -> Result<Option<String>, Error> {
        let held = grants::assignments_of(&mut self.tx, person.user.id).await?;
        let mut roles =
            held.iter().filter(|it| near(it.place, place)).filter_map(|it| self.tree.role(it.role));
        Ok(roles.find(|role| role.exclusive).map(|role| role.slug.to_string()))
    }

    /// Takes away what an exclusive role replaces: what was given by hand or came with the membership. What cannot be
    /// taken away here (another exclusive role, a provider's, the whole system's, ownership) refuses it.
    async fn make_room(&mut self, person: &Person, role: &Role, place: Place) -> Result<Vec<String>, Error> {
        let beside = |other: String| Error::RoleExclusive {
            who: person.name(),
            one: role.slug.to_string(),
            other,
            one_is: true,
        };
        let id = person.user.id;
        let owned = self.tree.tenants().find(|it| it.owner == Some(id) && near(Place::Tenant(it.id), place));
        if let Some(tenant) = owned {
            return Err(beside(format!("the ownership of {}", tenant.slug)));
        }
        let mut leaving = Vec::new();
        for held in grants::assignments_of(&mut self.tx, id).await? {
            let Some(other) = self.tree.role(held.role).filter(|other| other.id != role.id).cloned() else {
                continue;
            };
            if !near(held.place, place) {
                continue;
            }
            let fixed = other.exclusive
                || matches!(held.origin, Origin::Provider(_))
                || held.place.tenant() != place.tenant();
            if fixed {
                return Err(beside(other.slug.to_string()));
            }
            self.who.covers(other.permissions.iter().map(|pattern| (pattern, held.place)))?;
            leaving.push((held, other));
        }
        let mut cleared = Vec::new();
        for (held, other) in leaving {
            grants::revoke(&mut self.tx, id, held.role, held.place, &held.origin).await?;
            cleared.push(format!("{} at {}", other.slug, self.tree.place_words(held.place)));
        }
        cleared.sort();
        for held in grants::direct_of(&mut self.tx, id).await? {
            if !near(held.place, place) {
                continue;
            }
            if held.place.tenant() != place.tenant() || held.origin != Origin::Manual {
                return Err(beside(held.permission.to_string()));
            }
            self.who.covers([(&held.permission, held.place)])?;
            grants::withdraw(&mut self.tx, id, &held.permission, held.place, &held.origin).await?;
            cleared.push(format!("{} at {}", held.permission, self.tree.place_words(held.place)));
        }
        Ok(cleared)
    }
}
