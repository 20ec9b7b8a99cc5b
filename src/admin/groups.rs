//! Groups of a tenant and who is in them by hand.

use crate::access::Authority;
use crate::domain::{GroupId, Origin, Place, Slug, TenantId, UserId};
use crate::store::groups::{self, Group};
use crate::store::memberships;

use super::work::{self, Person, Work};
use super::{Admin, Error};

impl Admin {
    /// Makes a group, or finds the one of that name.
    pub async fn put_group(&self, by: &Authority, tenant: TenantId, slug: &Slug) -> Result<GroupId, Error> {
        let mut work = self.begin(by, "group.put").await?;
        let done = put(&mut work, tenant, slug).await;
        work.end(done).await
    }

    /// Deletes a group; whoever was in it is not any more.
    pub async fn delete_group(&self, by: &Authority, id: GroupId) -> Result<(), Error> {
        let mut work = self.begin(by, "group.delete").await?;
        let done = delete(&mut work, id).await;
        work.end(done).await
    }

    /// Puts somebody into a group.
    pub async fn join_group(&self, by: &Authority, user: UserId, id: GroupId) -> Result<(), Error> {
        let mut work = self.begin(by, "group.join").await?;
        let done = join(&mut work, user, id).await;
        work.end(done).await
    }

    /// Takes somebody out of a group.
    pub async fn leave_group(&self, by: &Authority, user: UserId, id: GroupId) -> Result<(), Error> {
        let mut work = self.begin(by, "group.leave").await?;
        let done = leave(&mut work, user, id).await;
        work.end(done).await
    }

    /// The groups of the tenants that they know of.
    pub async fn list_groups(&self, by: &Authority, tenant: Option<TenantId>) -> Result<Vec<Group>, Error> {
        let look = self.look(by).await?;
        if let Some(tenant) = tenant {
            work::tenant(&look.tree, &look.who, tenant)?;
        }
        let mine = |group: &Group| {
            tenant.is_none_or(|tenant| group.tenant == tenant)
                && look.who.demand("users:read", Place::Tenant(group.tenant)).is_ok()
        };
        Ok(look.groups.into_iter().filter(mine).collect())
    }

    /// Who is in a group, and from where.
    pub async fn group_members(&self, by: &Authority, id: GroupId) -> Result<Vec<(UserId, Origin)>, Error> {
        let mut look = self.look(by).await?;
        let group = find(&look.groups, id)?;
        look.who
            .demand("users:read", Place::Tenant(group.tenant))
            .map_err(|_| Error::unknown("group", id))?;
        Ok(groups::members(&mut look.conn, id).await?)
    }

    /// A group by id or as `tenant/name`; without the tenant, if one alone has it.
    pub async fn group_named(&self, by: &Authority, text: &str) -> Result<GroupId, Error> {
        let look = self.look(by).await?;
        let unknown = || Error::unknown("group", text);
        let (tenant, name) = match text.split_once('/') {
            Some((tenant, name)) => (Some(work::tenant_named(&look.tree, &look.who, tenant)?), name),
            None => (None, text),
        };
        let mut found = look.groups.iter().filter(|group| {
            (group.slug.as_str() == name || group.id.to_string() == name)
                && tenant.is_none_or(|tenant| group.tenant == tenant)
                && look.who.knows(group.tenant)
        });
        match (found.next(), found.next()) {
            (Some(group), None) => Ok(group.id),
            (Some(_), Some(_)) => Err(Error::BadField {
                what: "group",
                why: format!("several tenants have {name}; write TENANT/{name}"),
            }),
            (None, _) => Err(unknown()),
        }
    }
}

fn find(groups: &[Group], id: GroupId) -> Result<Group, Error> {
    groups.iter().find(|group| group.id == id).cloned().ok_or_else(|| Error::unknown("group", id))
}

async fn put(work: &mut Work<'_>, tenant: TenantId, slug: &Slug) -> Result<GroupId, Error> {
    work.tenant(tenant)?;
    work.about("group", slug, Some(tenant));
    work.who.demand("users:write", Place::Tenant(tenant))?;
    if let Some(group) = work.groups.iter().find(|it| it.tenant == tenant && it.slug == *slug) {
        return Ok(group.id);
    }
    let id = GroupId::mint(work.now, &*work.admin.chance);
    let group = Group { id, tenant, slug: slug.clone(), origin: Origin::Manual };
    let kept = groups::put(&mut work.tx, &group, work.now).await?;
    if kept != id {
        // A retired one of the file had that name: whoever was in it is not in the new one.
        groups::empty(&mut work.tx, kept).await?;
    }
    work.about("group", kept, Some(tenant));
    let event = work.event().with("name", slug);
    work.record(event).await?;
    Ok(kept)
}

async fn delete(work: &mut Work<'_>, id: GroupId) -> Result<(), Error> {
    let group = find(&work.groups, id)?;
    work.tenant(group.tenant).map_err(|_| Error::unknown("group", id))?;
    work.about("group", id, Some(group.tenant));
    work.who.demand("users:write", Place::Tenant(group.tenant))?;
    if group.origin == Origin::File {
        return Err(Error::ManagedByFile { kind: "group", name: group.slug.to_string() });
    }
    groups::delete(&mut work.tx, id).await?;
    let event = work.event().with("name", &group.slug);
    work.record(event).await
}

async fn join(work: &mut Work<'_>, user: UserId, id: GroupId) -> Result<(), Error> {
    let person = work.person(user).await?;
    let group = work.put_into(&person, id).await?;
    work.about("user", user, Some(group.tenant));
    let event = work.event().with("group", &group.slug);
    work.record(event).await
}

async fn leave(work: &mut Work<'_>, user: UserId, id: GroupId) -> Result<(), Error> {
    let person = work.person(user).await?;
    let group = find(&work.groups, id)?;
    work.tenant(group.tenant).map_err(|_| Error::unknown("group", id))?;
    work.about("user", user, Some(group.tenant));
    work.who.demand("users:write", Place::Tenant(group.tenant))?;
    if !groups::leave(&mut work.tx, id, user, &Origin::Manual).await? {
        return Err(Error::unknown("membership", format!("of {} in {} by hand", person.name(), group.slug)));
    }
    let event = work.event().with("group", &group.slug);
    work.record(event).await
}

impl Work<'_> {
    /// Puts somebody into a group of a tenant that they belong to.
    pub(super) async fn put_into(&mut self, person: &Person, id: GroupId) -> Result<Group, Error> {
        let group = find(&self.groups, id)?;
        self.tenant(group.tenant).map_err(|_| Error::unknown("group", id))?;
        self.who.demand("users:write", Place::Tenant(group.tenant))?;
        let memberships = memberships::of(&mut self.tx, person.user.id).await?;
        if !memberships.iter().any(|membership| membership.tenant == group.tenant) {
            let tenant = self.tree.place_words(Place::Tenant(group.tenant));
            return Err(Error::NotMember { who: person.name(), tenant });
        }
        groups::join(&mut self.tx, &group, person.user.id, &Origin::Manual, self.now).await?;
        Ok(group)
    }
}
