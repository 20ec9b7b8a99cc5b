//! Tenants: made, edited, suspended, passed on, deleted; and the domains they have verified.

use crate::access::Authority;
use crate::domain::user::Suspension;
use crate::domain::{
    AccountKind, Hostname, Origin, PermissionPattern, Place, Slug, Status, TenantId, Timestamp, UserId,
};
use crate::store::tenants::{self, Tenant};
use crate::store::{grants, groups, memberships, roles, users};

use super::places::name_for_people;
use super::work::{self, Work};
use super::{Admin, Error, Regained};

/// A tenant as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantDraft {
    /// Its name for people.
    pub name: String,
    /// Its plan.
    pub plan: String,
    /// Whether its members must use a second factor.
    pub mfa_required: bool,
}

/// What is to be different about a tenant. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantChange {
    /// Its name for people.
    pub name: Option<String>,
    /// Its plan.
    pub plan: Option<String>,
    /// Whether its members must use a second factor.
    pub mfa_required: Option<bool>,
    /// The domains it has verified, all of them.
    pub domains: Option<Vec<Hostname>>,
}

/// A tenant with what is in it.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// The record.
    pub tenant: Tenant,
    /// The domains it has verified.
    pub domains: Vec<Hostname>,
    /// How many belong to it.
    pub members: i64,
    /// How many organisations it has.
    pub orgs: usize,
    /// How many departments it has.
    pub departments: usize,
    /// Who owns it, by username.
    pub owner: Option<String>,
}

impl Admin {
    /// Makes a tenant. It belongs to whoever is named, else to the person who made it; the operator owns nothing.
    pub async fn create_tenant(
        &self,
        by: &Authority,
        slug: &Slug,
        draft: &TenantDraft,
        domains: &[Hostname],
        owner: Option<UserId>,
    ) -> Result<TenantId, Error> {
        let mut work = self.begin(by, "tenant.create").await?;
        let done = create(&mut work, slug, draft, domains, owner).await;
        work.end(done).await
    }

    /// Changes name, plan and second-factor rule.
    pub async fn edit_tenant(&self, by: &Authority, id: TenantId, draft: &TenantDraft) -> Result<(), Error> {
        let mut work = self.begin(by, "tenant.edit").await?;
        let done = edit(&mut work, id, draft).await;
        work.end(done).await
    }

    /// Replaces the domains that a tenant has verified. Says whose addresses sign in now, and whose no more.
    pub async fn set_domains(
        &self,
        by: &Authority,
        id: TenantId,
        domains: &[Hostname],
    ) -> Result<Vec<Regained>, Error> {
        let mut work = self.begin(by, "tenant.domains").await?;
        let done = set_domains(&mut work, id, domains).await;
        work.end(done).await
    }

    /// Changes what is said of a tenant and leaves the rest, all of it or nothing. Says whose addresses sign in now, and whose
    /// no more.
    pub async fn change_tenant(
        &self,
        by: &Authority,
        id: TenantId,
        change: &TenantChange,
    ) -> Result<Vec<Regained>, Error> {
        let mut work = self.begin(by, "tenant.edit").await?;
        let done = change_all(&mut work, id, change).await;
        work.end(done).await
    }

    /// Stops a tenant: none of its apps opens for anybody, perhaps until a moment.
    pub async fn suspend_tenant(
        &self,
        by: &Authority,
        id: TenantId,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut work = self.begin(by, "tenant.suspend").await?;
        let why = Suspension { by: work.who.words(), at: work.now, reason: reason.to_owned(), until };
        let done = set_status(&mut work, id, "suspended", Some(&why)).await;
        work.end(done).await
    }

    /// Lets a tenant go on.
    pub async fn activate_tenant(&self, by: &Authority, id: TenantId) -> Result<(), Error> {
        let mut work = self.begin(by, "tenant.activate").await?;
        let done = set_status(&mut work, id, "active", None).await;
        work.end(done).await
    }

    /// Takes a tenant out of force for good. One that people belong to only with `force`; they then belong to it no more.
    pub async fn delete_tenant(&self, by: &Authority, id: TenantId, force: bool) -> Result<(), Error> {
        let mut work = self.begin(by, "tenant.delete").await?;
        let done = delete(&mut work, id, force).await;
        work.end(done).await
    }

    /// Passes a tenant to another owner: an active administrator who belongs to it.
    pub async fn transfer_tenant(&self, by: &Authority, id: TenantId, to: UserId) -> Result<(), Error> {
        let mut work = self.begin(by, "tenant.transfer").await?;
        let done = transfer(&mut work, id, to).await;
        work.end(done).await
    }

    /// The tenants that they know of.
    pub async fn list_tenants(&self, by: &Authority) -> Result<Vec<TenantView>, Error> {
        let look = self.look(by).await?;
        let mut ids: Vec<(Slug, TenantId)> = look
            .tree
            .tenants()
            .filter(|tenant| look.who.knows(tenant.id))
            .map(|tenant| (tenant.slug.clone(), tenant.id))
            .collect();
        drop(look);
        ids.sort();
        let mut views = Vec::new();
        for (_, id) in ids {
            views.push(self.show_tenant(by, id).await?);
        }
        Ok(views)
    }

    /// A tenant with what is in it.
    pub async fn show_tenant(&self, by: &Authority, id: TenantId) -> Result<TenantView, Error> {
        let mut look = self.look(by).await?;
        let tenant = work::tenant(&look.tree, &look.who, id)?;
        let conn = &mut look.conn;
        let domains = tenants::domains(conn).await?;
        let owner = match tenant.owner {
            Some(owner) => users::by_id(conn, owner).await?.map(|user| user.username.to_string()),
            None => None,
        };
        Ok(TenantView {
            domains: domains.into_iter().filter(|(_, of)| *of == id).map(|(domain, _)| domain).collect(),
            members: memberships::count(conn, id).await?,
            orgs: look.tree.orgs().filter(|org| org.tenant == id).count(),
            departments: look.tree.departments().filter(|it| it.tenant == id).count(),
            owner,
            tenant,
        })
    }

    /// A tenant by slug or id.
    pub async fn tenant_named(&self, by: &Authority, text: &str) -> Result<TenantId, Error> {
        let look = self.look(by).await?;
        work::tenant_named(&look.tree, &look.who, text)
    }
}

async fn create(
    work: &mut Work<'_>,
    slug: &Slug,
    draft: &TenantDraft,
    domains: &[Hostname],
    owner: Option<UserId>,
) -> Result<TenantId, Error> {
    work.who.demand("tenants:write", Place::Global)?;
    // Also one that was deleted: its records would be the new one's.
    if tenants::by_slug(&mut work.tx, slug).await?.is_some() {
        return Err(Error::SlugTaken { kind: "tenant", name: slug.to_string() });
    }
    let tenant = Tenant {
        id: TenantId::mint(work.now, &*work.admin.chance),
        slug: slug.clone(),
        name: name_for_people(&draft.name)?,
        plan: plan(&draft.plan)?,
        status: "active".to_owned(),
        suspension: None,
        owner: None,
        mfa_required: draft.mfa_required,
        origin: Origin::Manual,
        created_at: work.now,
    };
    let id = tenant.id;
    work.about("tenant", id, Some(id));
    tenants::add(&mut work.tx, &tenant).await?;
    put_domains(work, id, domains).await?;
    // What follows is judged on a tree that has the new tenant in it.
    (work.tree, work.groups) = work::read_tree(&mut work.tx).await?;
    let owner = owner.or(work.who.person());
    if let Some(owner) = owner {
        let mut person = work.person(owner).await?;
        if !person.memberships.iter().any(|it| it.tenant == id) {
            work.enter(&mut person, Place::Tenant(id), &Origin::Manual).await?;
        }
        may_own(work, id, owner).await?;
        tenants::set_owner(&mut work.tx, id, Some(owner)).await?;
        users::touch(&mut work.tx, owner).await?;
        work.judge_again(owner).await?;
    }
    work.judge_domains(domains).await?;
    let event =
        work.event().with("name", slug).with("owner", owner.map_or_else(String::new, |it| it.to_string()));
    work.record(event).await?;
    Ok(id)
}

fn plan(text: &str) -> Result<String, Error> {
    let fine = text.len() <= 64 && !text.chars().any(char::is_control);
    if fine {
        Ok(text.to_owned())
    } else {
        Err(Error::BadField { what: "plan", why: "use at most 64 letters".into() })
    }
}

async fn put_domains(work: &mut Work<'_>, id: TenantId, domains: &[Hostname]) -> Result<(), Error> {
    let taken = tenants::domains(&mut work.tx).await?;
    if let Some((domain, _)) = taken.iter().find(|(domain, of)| *of != id && domains.contains(domain)) {
        return Err(Error::DomainTaken(domain.to_string()));
    }
    let mut domains = domains.to_vec();
    domains.sort();
    domains.dedup();
    tenants::set_domains(&mut work.tx, id, &domains).await.map_err(Error::from)
}

async fn change_all(
    work: &mut Work<'_>,
    id: TenantId,
    change: &TenantChange,
) -> Result<Vec<Regained>, Error> {
    let old = work.tenant(id)?;
    let draft = TenantDraft {
        name: change.name.clone().unwrap_or(old.name),
        plan: change.plan.clone().unwrap_or(old.plan),
        mfa_required: change.mfa_required.unwrap_or(old.mfa_required),
    };
    edit(work, id, &draft).await?;
    match &change.domains {
        Some(domains) => {
            work.acts("tenant.domains");
            set_domains(work, id, domains).await
        }
        None => Ok(Vec::new()),
    }
}

async fn edit(work: &mut Work<'_>, id: TenantId, draft: &TenantDraft) -> Result<(), Error> {
    let old = work.tenant(id)?;
    work.about("tenant", id, Some(id));
    work.who.demand("settings:write", Place::Tenant(id))?;
    if draft.plan != old.plan {
        // What a tenant may use is not for the tenant to say.
        work.who.demand("tenants:write", Place::Global)?;
    }
    by_hand(&old)?;
    let new = Tenant {
        name: name_for_people(&draft.name)?,
        plan: plan(&draft.plan)?,
        mfa_required: draft.mfa_required,
        ..old.clone()
    };
    if new == old {
        return Ok(());
    }
    tenants::edit(&mut work.tx, &new).await?;
    let event = work
        .event()
        .with("name_before", &old.name)
        .with("name", &new.name)
        .with("plan", &new.plan)
        .with("mfa_required", new.mfa_required);
    work.record(event).await
}

fn by_hand(tenant: &Tenant) -> Result<(), Error> {
    match tenant.origin {
        Origin::File => Err(Error::ManagedByFile { kind: "tenant", name: tenant.slug.to_string() }),
        Origin::Manual | Origin::Provider(_) | Origin::System => Ok(()),
    }
}

async fn set_domains(
    work: &mut Work<'_>,
    id: TenantId,
    domains: &[Hostname],
) -> Result<Vec<Regained>, Error> {
    let tenant = work.tenant(id)?;
    work.about("tenant", id, Some(id));
    // Whose a domain is decides who signs in with an address: a tenant does not say that of itself.
    work.who.demand("tenants:write", Place::Global)?;
    by_hand(&tenant)?;
    let before: Vec<Hostname> = tenants::domains(&mut work.tx)
        .await?
        .into_iter()
        .filter(|(_, of)| *of == id)
        .map(|(domain, _)| domain)
        .collect();
    put_domains(work, id, domains).await?;
    (work.tree, work.groups) = work::read_tree(&mut work.tx).await?;
    let mut touched = before.clone();
    touched.extend(domains.iter().filter(|domain| !before.contains(domain)).cloned());
    let regained = work.judge_domains(&touched).await?;
    let words = |list: &[Hostname]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let event = work.event().with("domains_before", words(&before)).with("domains", words(domains));
    work.record(event).await?;
    Ok(regained)
}

async fn set_status(
    work: &mut Work<'_>,
    id: TenantId,
    status: &str,
    why: Option<&Suspension>,
) -> Result<(), Error> {
    // One that the file owns can be stopped as well; that does not change what the file says of it.
    work.tenant(id)?;
    work.about("tenant", id, Some(id));
    work.who.demand("tenants:write", Place::Global)?;
    tenants::set_status(&mut work.tx, id, status, why).await?;
    let event = work.event().with("reason", why.map_or("", |why| why.reason.as_str()));
    work.record(event).await
}

async fn delete(work: &mut Work<'_>, id: TenantId, force: bool) -> Result<(), Error> {
    let tenant = work.tenant(id)?;
    work.about("tenant", id, Some(id));
    work.who.demand("tenants:write", Place::Global)?;
    by_hand(&tenant)?;
    let members = memberships::in_tenant(&mut work.tx, id).await?;
    if !members.is_empty() && !force {
        let by = format!("{} people belong to it", members.len());
        return Err(Error::InUse { kind: "tenant", name: tenant.slug.to_string(), by });
    }
    let before: Vec<Hostname> = tenants::domains(&mut work.tx)
        .await?
        .into_iter()
        .filter(|(_, of)| *of == id)
        .map(|(domain, _)| domain)
        .collect();
    tenants::set_domains(&mut work.tx, id, &[]).await?;
    tenants::set_owner(&mut work.tx, id, None).await?;
    grants::clear_at(&mut work.tx, Place::Tenant(id)).await?;
    for member in &members {
        groups::leave_all(&mut work.tx, member.user, Some(id)).await?;
        memberships::drop(&mut work.tx, member.user, Some(id)).await?;
    }
    let own: Vec<_> = work.tree.roles().filter(|role| role.tenant == Some(id)).map(|role| role.id).collect();
    for role in own {
        roles::retire(&mut work.tx, role).await?;
    }
    tenants::set_status(&mut work.tx, id, "retired", None).await?;
    (work.tree, work.groups) = work::read_tree(&mut work.tx).await?;
    work.judge_domains(&before).await?;
    let event = work.event().with("name", &tenant.slug).with("members", members.len());
    work.record(event).await
}

async fn transfer(work: &mut Work<'_>, id: TenantId, to: UserId) -> Result<(), Error> {
    let tenant = work.tenant(id)?;
    work.about("tenant", id, Some(id));
    work.who.demand("tenants:write", Place::Tenant(id))?;
    work.who.covers([(&PermissionPattern::Everything, Place::Tenant(id))])?;
    work.person(to).await?;
    may_own(work, id, to).await?;
    tenants::set_owner(&mut work.tx, id, Some(to)).await?;
    for user in tenant.owner.into_iter().chain([to]) {
        users::touch(&mut work.tx, user).await?;
    }
    let before = tenant.owner.map_or_else(String::new, |owner| owner.to_string());
    let event = work.event().with("owner_before", before).with("owner", to);
    work.record(event).await
}

/// Whether somebody can own a tenant: a member, in force, of kind admin, and bound to no exclusive role there.
async fn may_own(work: &mut Work<'_>, id: TenantId, to: UserId) -> Result<(), Error> {
    let person = work.person(to).await?;
    work.belongs(&person, Place::Tenant(id))?;
    let status = person.user.status_at(work.now);
    if status != Status::Active {
        let help = "only an active account can own a tenant";
        return Err(Error::WrongStatus { who: person.name(), status: status.as_str(), help });
    }
    if person.user.kind != AccountKind::Admin {
        let help = "only an admin can own a tenant: cardea user edit NAME --kind admin";
        return Err(Error::WrongStatus { who: person.name(), status: "of kind user", help });
    }
    match work.exclusive_held(&person, Place::Tenant(id)).await? {
        Some(role) => Err(Error::RoleExclusive {
            who: person.name(),
            one: role,
            other: "the ownership".to_owned(),
            one_is: true,
        }),
        None => Ok(()),
    }
}
