//! Organisations and departments.

use crate::access::Authority;
use crate::domain::{DepartmentId, OrgId, Origin, Place, Slug, TenantId};
use crate::store::tenants::{self, Department, Org};
use crate::store::{grants, memberships};

use super::work::{self, Work};
use super::{Admin, Error};

/// A place that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlace {
    /// Its name in rules and on the command line.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
}

impl Admin {
    /// Makes an organisation in a tenant.
    pub async fn create_org(&self, by: &Authority, tenant: TenantId, new: &NewPlace) -> Result<OrgId, Error> {
        let mut work = self.begin(by, "org.create").await?;
        let done = create_org(&mut work, tenant, new).await;
        work.end(done).await
    }

    /// Gives an organisation another name for people.
    pub async fn rename_org(&self, by: &Authority, id: OrgId, name: &str) -> Result<(), Error> {
        let mut work = self.begin(by, "org.edit").await?;
        let done = rename_org(&mut work, id, name).await;
        work.end(done).await
    }

    /// Takes an organisation out of force, with its departments. One that people belong to only with `force`.
    pub async fn delete_org(&self, by: &Authority, id: OrgId, force: bool) -> Result<(), Error> {
        let mut work = self.begin(by, "org.delete").await?;
        let done = delete_org(&mut work, id, force).await;
        work.end(done).await
    }

    /// Makes a department in an organisation.
    pub async fn create_department(
        &self,
        by: &Authority,
        org: OrgId,
        new: &NewPlace,
    ) -> Result<DepartmentId, Error> {
        let mut work = self.begin(by, "department.create").await?;
        let done = create_department(&mut work, org, new).await;
        work.end(done).await
    }

    /// Gives a department another name for people.
    pub async fn rename_department(&self, by: &Authority, id: DepartmentId, name: &str) -> Result<(), Error> {
        let mut work = self.begin(by, "department.edit").await?;
        let done = rename_department(&mut work, id, name).await;
        work.end(done).await
    }

    /// Takes a department out of force. One that people belong to only with `force`.
    pub async fn delete_department(
        &self,
        by: &Authority,
        id: DepartmentId,
        force: bool,
    ) -> Result<(), Error> {
        let mut work = self.begin(by, "department.delete").await?;
        let done = delete_department(&mut work, id, force).await;
        work.end(done).await
    }

    /// The organisations that they know of.
    pub async fn list_orgs(&self, by: &Authority, tenant: Option<TenantId>) -> Result<Vec<Org>, Error> {
        let look = self.look(by).await?;
        if let Some(tenant) = tenant {
            work::tenant(&look.tree, &look.who, tenant)?;
        }
        let wanted = |org: &&Org| tenant.is_none_or(|id| org.tenant == id) && look.who.knows(org.tenant);
        let mut orgs: Vec<Org> = look.tree.orgs().filter(wanted).cloned().collect();
        orgs.sort_by(|a, b| (a.tenant, &a.slug).cmp(&(b.tenant, &b.slug)));
        Ok(orgs)
    }

    /// The departments that they know of.
    pub async fn list_departments(
        &self,
        by: &Authority,
        tenant: Option<TenantId>,
    ) -> Result<Vec<Department>, Error> {
        let look = self.look(by).await?;
        if let Some(tenant) = tenant {
            work::tenant(&look.tree, &look.who, tenant)?;
        }
        let wanted = |it: &&Department| tenant.is_none_or(|id| it.tenant == id) && look.who.knows(it.tenant);
        let mut departments: Vec<Department> = look.tree.departments().filter(wanted).cloned().collect();
        departments.sort_by(|a, b| (a.tenant, a.org, &a.slug).cmp(&(b.tenant, b.org, &b.slug)));
        Ok(departments)
    }

    /// The tree as the records have it now, without routes: names for places and roles.
    pub async fn tree(&self) -> Result<crate::access::Snapshot, Error> {
        Ok(work::read_tree(&mut self.db.read().await?).await?.0)
    }

    /// A place by name, `acme`, `acme/europe` or `acme/europe/finance`; `everywhere` is the whole system.
    pub async fn place_named(&self, by: &Authority, text: &str) -> Result<Place, Error> {
        if text == "everywhere" {
            return Ok(Place::Global);
        }
        let look = self.look(by).await?;
        let unknown = || Error::unknown("place", text);
        if let Ok(tenant) = work::tenant_named(&look.tree, &look.who, text) {
            return Ok(Place::Tenant(tenant));
        }
        let path = crate::domain::PlacePath::parse(text).map_err(|_| unknown())?;
        let place = look.tree.place(&path).ok_or_else(unknown)?;
        work::check_place(&look.tree, &look.who, place).map_err(|_| unknown())?;
        Ok(place)
    }
}

/// What a name for people must be.
pub(super) fn name_for_people(name: &str) -> Result<String, Error> {
    crate::domain::PersonName::parse(name).map(|name| name.to_string()).map_err(Error::from)
}

fn org(work: &Work<'_>, id: OrgId) -> Result<Org, Error> {
    let unknown = || Error::unknown("organisation", id);
    let org = work.tree.org(id).cloned().ok_or_else(unknown)?;
    work.tenant(org.tenant).map_err(|_| unknown())?;
    Ok(org)
}

fn department(work: &Work<'_>, id: DepartmentId) -> Result<Department, Error> {
    let unknown = || Error::unknown("department", id);
    let department = work.tree.department(id).cloned().ok_or_else(unknown)?;
    work.tenant(department.tenant).map_err(|_| unknown())?;
    Ok(department)
}

async fn create_org(work: &mut Work<'_>, tenant: TenantId, new: &NewPlace) -> Result<OrgId, Error> {
    work.tenant(tenant)?;
    work.about("org", &new.slug, Some(tenant));
    work.who.demand("settings:write", Place::Tenant(tenant))?;
    if work.tree.orgs().any(|it| it.tenant == tenant && it.slug == new.slug) {
        return Err(Error::SlugTaken { kind: "organisation", name: new.slug.to_string() });
    }
    let org = Org {
        id: OrgId::mint(work.now, &*work.admin.chance),
        tenant,
        slug: new.slug.clone(),
        name: name_for_people(&new.name)?,
        origin: Origin::Manual,
    };
    let id = tenants::put_org(&mut work.tx, &org, work.now).await?;
    if id != org.id {
        // A retired one had that name: what was given in it is not given in the new one.
        grants::clear_at(&mut work.tx, Place::Org(tenant, id)).await?;
        memberships::leave_org(&mut work.tx, id).await?;
    }
    work.about("org", id, Some(tenant));
    let event = work.event().with("name", &new.slug);
    work.record(event).await?;
    Ok(id)
}

async fn rename_org(work: &mut Work<'_>, id: OrgId, name: &str) -> Result<(), Error> {
    let mut org = org(work, id)?;
    work.about("org", id, Some(org.tenant));
    work.who.demand("settings:write", Place::Org(org.tenant, id))?;
    if org.origin == Origin::File {
        return Err(Error::ManagedByFile { kind: "organisation", name: org.slug.to_string() });
    }
    let before = std::mem::replace(&mut org.name, name_for_people(name)?);
    tenants::put_org(&mut work.tx, &org, work.now).await?;
    let event = work.event().with("name_before", before).with("name", &org.name);
    work.record(event).await
}

async fn delete_org(work: &mut Work<'_>, id: OrgId, force: bool) -> Result<(), Error> {
    let org = org(work, id)?;
    work.about("org", id, Some(org.tenant));
    work.who.demand("settings:write", Place::Tenant(org.tenant))?;
    if org.origin == Origin::File {
        return Err(Error::ManagedByFile { kind: "organisation", name: org.slug.to_string() });
    }
    let members = work.members_within(org.tenant, id, None).await?;
    if members > 0 && !force {
        let by = format!("{members} people belong to it");
        return Err(Error::InUse { kind: "organisation", name: org.slug.to_string(), by });
    }
    grants::clear_at(&mut work.tx, Place::Org(org.tenant, id)).await?;
    memberships::leave_org(&mut work.tx, id).await?;
    let departments: Vec<DepartmentId> =
        work.tree.departments().filter(|it| it.org == id).map(|it| it.id).collect();
    for department in departments {
        tenants::retire_department(&mut work.tx, department).await?;
    }
    tenants::retire_org(&mut work.tx, id).await?;
    let event = work.event().with("name", &org.slug).with("members", members);
    work.record(event).await
}

async fn create_department(
    work: &mut Work<'_>,
    in_org: OrgId,
    new: &NewPlace,
) -> Result<DepartmentId, Error> {
    let org = org(work, in_org)?;
    work.about("department", &new.slug, Some(org.tenant));
    work.who.demand("settings:write", Place::Org(org.tenant, org.id))?;
    if work.tree.departments().any(|it| it.org == org.id && it.slug == new.slug) {
        return Err(Error::SlugTaken { kind: "department", name: new.slug.to_string() });
    }
    let department = Department {
        id: DepartmentId::mint(work.now, &*work.admin.chance),
        tenant: org.tenant,
        org: org.id,
        slug: new.slug.clone(),
        name: name_for_people(&new.name)?,
        origin: Origin::Manual,
    };
    let id = tenants::put_department(&mut work.tx, &department, work.now).await?;
    if id != department.id {
        grants::clear_at(&mut work.tx, Place::Department(org.tenant, org.id, id)).await?;
        memberships::leave_department(&mut work.tx, id).await?;
    }
    work.about("department", id, Some(org.tenant));
    let event = work.event().with("name", &new.slug).with("org", &org.slug);
    work.record(event).await?;
    Ok(id)
}

async fn rename_department(work: &mut Work<'_>, id: DepartmentId, name: &str) -> Result<(), Error> {
    let mut department = department(work, id)?;
    work.about("department", id, Some(department.tenant));
    work.who.demand("settings:write", Place::Department(department.tenant, department.org, id))?;
    if department.origin == Origin::File {
        return Err(Error::ManagedByFile { kind: "department", name: department.slug.to_string() });
    }
    let before = std::mem::replace(&mut department.name, name_for_people(name)?);
    tenants::put_department(&mut work.tx, &department, work.now).await?;
    let event = work.event().with("name_before", before).with("name", &department.name);
    work.record(event).await
}

async fn delete_department(work: &mut Work<'_>, id: DepartmentId, force: bool) -> Result<(), Error> {
    let department = department(work, id)?;
    work.about("department", id, Some(department.tenant));
    work.who.demand("settings:write", Place::Org(department.tenant, department.org))?;
    if department.origin == Origin::File {
        return Err(Error::ManagedByFile { kind: "department", name: department.slug.to_string() });
    }
    let members = work.members_within(department.tenant, department.org, Some(id)).await?;
    if members > 0 && !force {
        let by = format!("{members} people belong to it");
        return Err(Error::InUse { kind: "department", name: department.slug.to_string(), by });
    }
    grants::clear_at(&mut work.tx, Place::Department(department.tenant, department.org, id)).await?;
    memberships::leave_department(&mut work.tx, id).await?;
    tenants::retire_department(&mut work.tx, id).await?;
    let event = work.event().with("name", &department.slug).with("members", members);
    work.record(event).await
}
