//! Bringing the database into line with what the configuration file declares, and with the built-in roles.
//!
//! Objects of the file carry the origin `file` and are read-only elsewhere. One that vanishes from the file goes out of
//! force and is not forgotten: when it comes back, so do its members and holders. What was made by hand is never taken
//! over. When nothing differs, nothing is written and nobody is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::access::Authority;
use crate::domain::role::BUILT_IN;
use crate::domain::{
    DepartmentId, GroupId, Hostname, OrgId, Origin, Outcome, PermissionPattern, Role, RoleId, Slug, TenantId,
};
use crate::store::groups::{self, Group};
use crate::store::tenants::{self, Department, Org, Tenant};
use crate::store::{grants, roles};

use super::roles::{RoleDraft, made};
use super::work::{self, Work};
use super::{Admin, Error};

/// Everything that the file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Tenants.
    pub tenants: Vec<DeclaredTenant>,
    /// Roles.
    pub roles: Vec<DeclaredRole>,
    /// Groups: the tenant and the name.
    pub groups: Vec<(Slug, Slug)>,
}

/// A tenant that the file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTenant {
    /// Where it is written.
    pub at: String,
    /// Its name in rules.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// The domains it has verified.
    pub domains: Vec<Hostname>,
    /// Its plan.
    pub plan: String,
    /// Whether its members must use a second factor.
    pub mfa_required: bool,
    /// Its organisations.
    pub orgs: Vec<DeclaredOrg>,
}

/// An organisation that the file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredOrg {
    /// Its name in rules.
    pub slug: Slug,
    /// Its name for people.
    pub name: String,
    /// Its departments: name in rules, name for people.
    pub departments: Vec<(Slug, String)>,
}

/// A role that the file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRole {
    /// Where it is written.
    pub at: String,
    /// The tenant it belongs to, if it belongs to one.
    pub tenant: Option<Slug>,
    /// Its name in rules.
    pub slug: Slug,
    /// What it is.
    pub draft: RoleDraft,
}

/// What was brought into line, in words: `tenant acme`, `role analyst retired`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One entry for each object that was written.
    pub changes: Vec<String>,
}

impl Admin {
    /// Brings the database into line with the file, wholly or not at all.
    pub async fn apply_objects(&self, declared: &Declared) -> Result<Applied, Error> {
        let mut work = self.begin(&Authority::system(), "config.apply").await?;
        let done = apply(&mut work, declared).await;
        match done {
            // Dropped without a commit: not even the lock leaves a trace.
            Ok(applied) if applied.changes.is_empty() => Ok(applied),
            other => work.end(other).await,
        }
    }
}

/// What is being brought into line.
struct Sync<'w, 'a> {
    work: &'w mut Work<'a>,
    tenants: HashMap<Slug, TenantId>,
    changes: Vec<String>,
}

async fn apply(work: &mut Work<'_>, declared: &Declared) -> Result<Applied, Error> {
    let mut sync = Sync { work, tenants: HashMap::new(), changes: Vec::new() };
    sync.built_in_roles().await?;
    for tenant in &declared.tenants {
        sync.tenant(tenant).await?;
    }
    let touched = sync.domains(&declared.tenants).await?;
    for tenant in &declared.tenants {
        sync.orgs(tenant).await?;
    }
    sync.roles(&declared.roles).await?;
    sync.groups(&declared.groups).await?;
    sync.retire_places(&declared.tenants).await?;
    let Sync { work, changes, .. } = sync;
    if !touched.is_empty() {
        (work.tree, work.groups) = work::read_tree(&mut work.tx).await?;
        work.judge_domains(&touched).await?;
    }
    for change in &changes {
        let event = work.event_named("config.apply", Outcome::Done).with("what", change);
        work.record(event).await?;
    }
    Ok(Applied { changes })
}

fn clash(kind: &'static str, name: &Slug, at: &str) -> Error {
    Error::NameClash { kind, name: name.to_string(), at: at.to_owned() }
}

impl Sync<'_, '_> {
    fn note(&mut self, kind: &str, name: impl std::fmt::Display) {
        self.changes.push(format!("{kind} {name}"));
    }

    async fn built_in_roles(&mut self) -> Result<(), Error> {
        for (slug, name, scope, permissions, description) in BUILT_IN {
            let permissions: Result<Vec<_>, _> =
                permissions.iter().map(|text| PermissionPattern::parse(text)).collect();
            let draft = RoleDraft {
                name: name.to_owned(),
                description: description.to_owned(),
                scope,
                permissions: permissions?,
                exclusive: false,
                auto_assigned: false,
                mfa: false,
                landing: None,
            };
            self.role(None, &Slug::parse(slug)?, draft, Origin::System, "built in").await?;
        }
        Ok(())
    }

    async fn tenant(&mut self, declared: &DeclaredTenant) -> Result<(), Error> {
        let tx = &mut self.work.tx;
        let known = tenants::by_slug(tx, &declared.slug).await?;
        if known.as_ref().is_some_and(|known| known.origin != Origin::File) {
            return Err(clash("tenant", &declared.slug, &declared.at));
        }
        let tenant = Tenant {
            id: known
                .as_ref()
                .map_or_else(|| TenantId::mint(self.work.now, &*self.work.admin.chance), |it| it.id),
            slug: declared.slug.clone(),
            name: declared.name.clone(),
            plan: declared.plan.clone(),
            status: "active".to_owned(),
            suspension: None,
            owner: None,
            mfa_required: declared.mfa_required,
            origin: Origin::File,
            created_at: self.work.now,
        };
        self.tenants.insert(declared.slug.clone(), tenant.id);
        match known {
            None => tenants::add(tx, &tenant).await?,
            Some(known)
                if known.status == "retired"
                    || (&known.name, &known.plan, known.mfa_required)
                        != (&tenant.name, &tenant.plan, tenant.mfa_required) =>
            {
                tenants::edit(tx, &tenant).await?;
            }
            Some(_) => return Ok(()),
        }
        self.note("tenant", &declared.slug);
        Ok(())
    }

    /// Domains move between tenants of the file in one go: all are taken first, then given. Says which moved.
    async fn domains(&mut self, declared: &[DeclaredTenant]) -> Result<Vec<Hostname>, Error> {
        let known = tenants::domains(&mut self.work.tx).await?;
        let mut wanted: BTreeMap<TenantId, BTreeSet<&Hostname>> = BTreeMap::new();
        for tenant in declared {
            if let Some(id) = self.tenants.get(&tenant.slug) {
                wanted.insert(*id, tenant.domains.iter().collect());
            }
        }
        let file_owned = |id: TenantId| {
            wanted.contains_key(&id) || self.work.tree.tenant(id).is_some_and(|it| it.origin == Origin::File)
        };
        let mut held: BTreeMap<TenantId, BTreeSet<&Hostname>> = BTreeMap::new();
        for (domain, id) in known.iter().filter(|(_, id)| file_owned(*id)) {
            held.entry(*id).or_default().insert(domain);
        }
        for (domain, _) in known.iter().filter(|(_, id)| !file_owned(*id)) {
            if let Some(tenant) = declared.iter().find(|tenant| tenant.domains.contains(domain)) {
                return Err(Error::NameClash {
                    kind: "domain",
                    name: domain.to_string(),
                    at: tenant.at.clone(),
                });
            }
        }
        let none = BTreeSet::new();
        let ids: BTreeSet<TenantId> = wanted.keys().chain(held.keys()).copied().collect();
        let differ: Vec<TenantId> = ids
            .into_iter()
            .filter(|id| wanted.get(id).unwrap_or(&none) != held.get(id).unwrap_or(&none))
            .collect();
        let mut touched = BTreeSet::new();
        for id in &differ {
            let (old, new) = (held.get(id).unwrap_or(&none), wanted.get(id).unwrap_or(&none));
            touched.extend(old.symmetric_difference(new).map(|domain| (*domain).clone()));
            tenants::set_domains(&mut self.work.tx, *id, &[]).await?;
        }
        for id in &differ {
            let new: Vec<Hostname> =
                wanted.get(id).unwrap_or(&none).iter().map(|domain| (*domain).clone()).collect();
            tenants::set_domains(&mut self.work.tx, *id, &new).await?;
            let name = self.tenants.iter().find(|(_, it)| *it == id).map(|(slug, _)| slug.to_string());
            self.changes.push(format!("domains of {}", name.unwrap_or_else(|| id.to_string())));
        }
        Ok(touched.into_iter().collect())
    }

    async fn orgs(&mut self, declared: &DeclaredTenant) -> Result<(), Error> {
        let Some(tenant) = self.tenants.get(&declared.slug).copied() else { return Ok(()) };
        let (now, chance) = (self.work.now, &*self.work.admin.chance);
        for wanted in &declared.orgs {
            let known =
                self.work.tree.orgs().find(|it| it.tenant == tenant && it.slug == wanted.slug).cloned();
            let id = match known {
                Some(known) if known.origin != Origin::File => {
                    return Err(clash("organisation", &wanted.slug, &declared.at));
                }
                Some(known) if known.name == wanted.name => known.id,
                _ => {
                    let org = Org {
                        id: OrgId::mint(now, chance),
                        tenant,
                        slug: wanted.slug.clone(),
                        name: wanted.name.clone(),
                        origin: Origin::File,
                    };
                    self.changes.push(format!("organisation {}/{}", declared.slug, wanted.slug));
                    tenants::put_org(&mut self.work.tx, &org, now).await?
                }
            };
            for (slug, name) in &wanted.departments {
                let known = self.work.tree.departments().find(|it| it.org == id && it.slug == *slug);
                match known {
                    Some(known) if known.origin != Origin::File => {
                        return Err(clash("department", slug, &declared.at));
                    }
                    Some(known) if known.name == *name => {}
                    _ => {
                        let department = Department {
                            id: DepartmentId::mint(now, chance),
                            tenant,
                            org: id,
                            slug: slug.clone(),
                            name: name.clone(),
                            origin: Origin::File,
                        };
                        tenants::put_department(&mut self.work.tx, &department, now).await?;
                        self.changes.push(format!("department {}/{}/{slug}", declared.slug, wanted.slug));
                    }
                }
            }
        }
        Ok(())
    }

    async fn roles(&mut self, declared: &[DeclaredRole]) -> Result<(), Error> {
        let mut kept = BTreeSet::new();
        let vanished = |kept: &BTreeSet<RoleId>, work: &Work<'_>| {
            let mut gone: Vec<(Slug, RoleId)> = work
                .tree
                .roles()
                .filter(|role| role.origin == Origin::File && !kept.contains(&role.id))
                .map(|role| (role.slug.clone(), role.id))
                .collect();
            gone.sort();
            gone
        };
        for wanted in declared {
            let tenant = match &wanted.tenant {
                Some(slug) => Some(*self.tenants.get(slug).ok_or_else(|| Error::unknown("tenant", slug))?),
                None => None,
            };
            super::roles::sound(tenant, &wanted.slug, &wanted.draft)?;
            let id = self.role(tenant, &wanted.slug, wanted.draft.clone(), Origin::File, &wanted.at).await?;
            kept.insert(id);
        }
        for (slug, id) in vanished(&kept, self.work) {
            roles::retire(&mut self.work.tx, id).await?;
            for held in grants::holders_of(&mut self.work.tx, id).await? {
                crate::store::users::touch(&mut self.work.tx, held.user).await?;
            }
            self.note("role", format!("{slug} retired"));
        }
        Ok(())
    }

    async fn role(
        &mut self,
        tenant: Option<TenantId>,
        slug: &Slug,
        draft: RoleDraft,
        origin: Origin,
        at: &str,
    ) -> Result<RoleId, Error> {
        let near = |role: &&std::sync::Arc<Role>| {
            role.slug == *slug && (tenant.is_none() || role.tenant.is_none() || role.tenant == tenant)
        };
        let other = |role: &&std::sync::Arc<Role>| role.origin != origin;
        if self.work.tree.roles().filter(near).any(|role| other(&role)) {
            return Err(clash("role", slug, at));
        }
        let known = self.work.tree.roles().find(|role| role.tenant == tenant && role.slug == *slug).cloned();
        let id =
            known.as_ref().map_or_else(|| RoleId::mint(self.work.now, &*self.work.admin.chance), |it| it.id);
        let mut role = made(id, tenant, slug.clone(), draft, origin);
        if known.is_some_and(|known| *known == role) {
            return Ok(id);
        }
        role.id = roles::put(&mut self.work.tx, &role, self.work.now).await?;
        self.work.still_fits(&role).await?;
        self.note("role", slug);
        Ok(role.id)
    }

    async fn groups(&mut self, declared: &[(Slug, Slug)]) -> Result<(), Error> {
        let mut kept = BTreeSet::new();
        for (tenant, slug) in declared {
            let tenant = *self.tenants.get(tenant).ok_or_else(|| Error::unknown("tenant", tenant))?;
            let known = self.work.groups.iter().find(|it| it.tenant == tenant && it.slug == *slug);
            match known {
                Some(known) if known.origin != Origin::File => {
                    return Err(clash("group", slug, "the configuration file"));
                }
                Some(known) => {
                    kept.insert(known.id);
                }
                None => {
                    let id = GroupId::mint(self.work.now, &*self.work.admin.chance);
                    let group = Group { id, tenant, slug: slug.clone(), origin: Origin::File };
                    let id = groups::put(&mut self.work.tx, &group, self.work.now).await?;
                    for (user, _) in groups::members(&mut self.work.tx, id).await? {
                        crate::store::users::touch(&mut self.work.tx, user).await?;
                    }
                    kept.insert(id);
                    self.note("group", slug);
                }
            }
        }
        let gone: Vec<Group> = self
            .work
            .groups
            .iter()
            .filter(|group| group.origin == Origin::File && !kept.contains(&group.id))
            .cloned()
            .collect();
        for group in gone {
            groups::retire(&mut self.work.tx, group.id).await?;
            self.note("group", format!("{} retired", group.slug));
        }
        Ok(())
    }

    async fn retire_places(&mut self, declared: &[DeclaredTenant]) -> Result<(), Error> {
        let slug_of =
            |id: TenantId| self.tenants.iter().find(|(_, it)| **it == id).map(|(slug, _)| slug.clone());
        let declared_org = |tenant: TenantId, org: &Slug| {
            let slug = slug_of(tenant)?;
            declared.iter().find(|it| it.slug == slug)?.orgs.iter().find(|it| it.slug == *org)
        };
        let mut departments = Vec::new();
        for it in self.work.tree.departments().filter(|it| it.origin == Origin::File) {
            let org = self.work.tree.org(it.org).and_then(|org| declared_org(it.tenant, &org.slug));
            if !org.is_some_and(|org| org.departments.iter().any(|(slug, _)| *slug == it.slug)) {
                departments.push((it.slug.clone(), it.id));
            }
        }
        let mut orgs = Vec::new();
        for it in self.work.tree.orgs().filter(|it| it.origin == Origin::File) {
            if declared_org(it.tenant, &it.slug).is_none() {
                orgs.push((it.slug.clone(), it.id));
            }
        }
        let mut gone = Vec::new();
        for it in self.work.tree.tenants().filter(|it| it.origin == Origin::File) {
            if !self.tenants.contains_key(&it.slug) {
                gone.push((it.slug.clone(), it.id));
            }
        }
        for (slug, id) in departments {
            tenants::retire_department(&mut self.work.tx, id).await?;
            self.note("department", format!("{slug} retired"));
        }
        for (slug, id) in orgs {
            tenants::retire_org(&mut self.work.tx, id).await?;
            self.note("organisation", format!("{slug} retired"));
        }
        for (slug, id) in gone {
            tenants::retire(&mut self.work.tx, id).await?;
            self.note("tenant", format!("{slug} retired"));
        }
        Ok(())
    }
}
