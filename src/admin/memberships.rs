//! Where people belong.

use crate::access::Authority;
use crate::domain::{DepartmentId, OrgId, Origin, Place, Scope, TenantId, UserId};
use crate::store::memberships::{self, Membership};
use crate::store::{grants, groups};

use super::work::{Person, Work, place_of};
use super::{Admin, Error};

impl Admin {
    /// Makes somebody a member of a tenant, or moves them to another place of it.
    pub async fn join(&self, by: &Authority, user: UserId, place: Place) -> Result<(), Error> {
        let mut work = self.begin(by, "membership.put").await?;
        let done = join(&mut work, user, place).await;
        work.end(done).await
    }

    /// Takes somebody out of a tenant, with everything they were given there.
    pub async fn leave(&self, by: &Authority, user: UserId, tenant: TenantId) -> Result<(), Error> {
        let mut work = self.begin(by, "membership.drop").await?;
        let done = leave(&mut work, user, tenant).await;
        work.end(done).await
    }
}

pub(super) async fn join(work: &mut Work<'_>, user: UserId, place: Place) -> Result<(), Error> {
    let mut person = work.person(user).await?;
    work.about("user", user, place.tenant());
    work.check_place(place)?;
    work.who.demand("users:write", place)?;
    // Moving somebody away needs a say where they are now.
    let old = person.memberships.iter().find(|it| Some(it.tenant) == place.tenant()).map(place_of);
    if let Some(old) = old {
        work.who.demand("users:write", old)?;
    }
    work.enter(&mut person, place, &Origin::Manual).await?;
    work.judge_again(user).await?;
    let event = work.event().with("at", work.tree.place_words(place));
    work.record(event).await
}

pub(super) async fn leave(work: &mut Work<'_>, user: UserId, tenant: TenantId) -> Result<(), Error> {
    let person = work.person(user).await?;
    work.about("user", user, Some(tenant));
    let slug = work.tenant(tenant)?.slug;
    let Some(membership) = person.memberships.iter().find(|it| it.tenant == tenant) else {
        return Err(Error::unknown("membership", format!("of {} in {slug}", person.name())));
    };
    work.who.demand("users:write", place_of(membership))?;
    let holds = work.principal(user).await?;
    let here = holds.permissions.iter().filter(|it| it.place.tenant() == Some(tenant));
    work.who.covers(here.map(|it| (&it.pattern, it.place)))?;
    if work.tree.tenant(tenant).is_some_and(|it| it.owner == Some(user)) {
        return Err(Error::OwnerImmutable { who: person.name(), tenant: slug.to_string() });
    }
    work.send_away(user, tenant).await?;
    work.judge_again(user).await?;
    let event = work.event().with("tenant", slug);
    work.record(event).await
}

impl Work<'_> {
    /// Makes somebody a member at a place, with the roles that every member gets. The caller has asked whether they may.
    pub(super) async fn enter(
        &mut self,
        person: &mut Person,
        place: Place,
        origin: &Origin,
    ) -> Result<(), Error> {
        let Some(tenant) = place.tenant() else {
            return Err(Error::unknown("tenant", "everywhere"));
        };
        let membership = Membership {
            user: person.user.id,
            tenant,
            org: place.org(),
            department: place.department(),
            origin: origin.clone(),
        };
        memberships::put(&mut self.tx, &membership, self.now).await?;
        let known = person.memberships.iter().position(|it| it.tenant == tenant);
        if let Some(known) = known {
            person.memberships.remove(known);
        }
        person.memberships.push(membership);
        person.places = person.memberships.iter().map(place_of).collect();
        if known.is_some() {
            return Ok(());
        }
        let mut roles: Vec<_> = self
            .tree
            .roles()
            .filter(|role| role.auto_assigned && (role.tenant.is_none() || role.tenant == Some(tenant)))
            .cloned()
            .collect();
        roles.sort_by(|a, b| a.slug.cmp(&b.slug));
        for role in roles {
            let at = match role.scope {
                Scope::Global | Scope::Tenant | Scope::Own => Some(Place::Tenant(tenant)),
                Scope::Organization => place.org().map(|org| Place::Org(tenant, org)),
                Scope::Department => Some(place).filter(|place| place.department().is_some()),
            };
            // An exclusive role stays alone; a narrower one waits until the person has such a place.
            if let Some(at) = at
                && self.exclusive_held(person, at).await?.is_none()
            {
                self.give(person, &role, at, &Origin::System).await?;
            }
        }
        Ok(())
    }

    /// Takes somebody out of a tenant with everything given there, whatever it came from.
    pub(super) async fn send_away(&mut self, user: UserId, tenant: TenantId) -> Result<(), Error> {
        let tx = &mut self.tx;
        for held in grants::assignments_of(tx, user).await? {
            if held.place.tenant() == Some(tenant) {
                grants::revoke(tx, user, held.role, held.place, &held.origin).await?;
            }
        }
        for held in grants::direct_of(tx, user).await? {
            if held.place.tenant() == Some(tenant) {
                grants::withdraw(tx, user, &held.permission, held.place, &held.origin).await?;
            }
        }
        groups::leave_all(tx, user, Some(tenant)).await?;
        memberships::drop(tx, user, Some(tenant)).await?;
        Ok(())
    }

    /// How many belong to an organisation or a department.
    pub(super) async fn members_within(
        &mut self,
        tenant: TenantId,
        org: OrgId,
        department: Option<DepartmentId>,
    ) -> Result<usize, Error> {
        let all = memberships::in_tenant(&mut self.tx, tenant).await?;
        let within =
            |it: &&Membership| it.org == Some(org) && (department.is_none() || it.department == department);
        Ok(all.iter().filter(within).count())
    }
}
