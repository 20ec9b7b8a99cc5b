//! Tenants, organisations, departments, groups.

use serde_json::json;

use crate::admin::{NewPlace, Regained, TenantChange, TenantDraft, TenantView};
use crate::domain::{GroupId, Hostname, Place, Slug, Span, TenantId, Timestamp};

use super::Desk;
use super::answer::{Answer, Trouble, typed};

/// A tenant as typed.
pub(super) struct NewTenant {
    pub(super) slug: String,
    pub(super) name: Option<String>,
    pub(super) plan: Option<String>,
    pub(super) mfa: bool,
    pub(super) domains: Vec<String>,
    pub(super) owner: Option<String>,
}

/// What is to be different about a tenant.
pub(super) struct TenantEdit {
    pub(super) name: Option<String>,
    pub(super) plan: Option<String>,
    pub(super) mfa: Option<bool>,
    pub(super) domains: Option<Vec<String>>,
}

fn domains(texts: &[String]) -> Result<Vec<Hostname>, Trouble> {
    texts.iter().map(|text| typed("domain", text, Hostname::parse)).collect()
}

/// The word for a tenant's status, with a suspension that has run out.
fn status(view: &TenantView, now: Timestamp) -> String {
    if view.tenant.active_at(now) { "active".to_owned() } else { view.tenant.status.clone() }
}

fn regained(answer: Answer, regained: &[Regained]) -> Answer {
    regained.iter().fold(answer, |answer, it| {
        let words = if it.signs_in {
            "now signs in with the e-mail address"
        } else {
            "signs in with the username only"
        };
        answer.note(format!("{} {words}", it.username))
    })
}

impl Desk<'_> {
    pub(super) async fn tenant(&self, text: &str) -> Result<TenantId, Trouble> {
        Ok(self.admin.tenant_named(self.by, text).await?)
    }

    pub(super) async fn maybe_tenant(&self, text: Option<String>) -> Result<Option<TenantId>, Trouble> {
        match text {
            Some(text) => self.tenant(&text).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn place(&self, text: &str) -> Result<Place, Trouble> {
        Ok(self.admin.place_named(self.by, text).await?)
    }

    pub(super) async fn tenant_create(&self, new: NewTenant) -> Result<Answer, Trouble> {
        let slug = typed("tenant", &new.slug, Slug::parse)?;
        let draft = TenantDraft {
            name: new.name.unwrap_or_else(|| slug.to_string()),
            plan: new.plan.unwrap_or_default(),
            mfa_required: new.mfa,
        };
        let owner = match &new.owner {
            Some(owner) => Some(self.user(owner).await?),
            None => None,
        };
        let id = self.admin.create_tenant(self.by, &slug, &draft, &domains(&new.domains)?, owner).await?;
        Ok(Answer::about(format!("tenant {slug} created"), json!({ "id": id, "slug": slug })))
    }

    pub(super) async fn tenant_edit(&self, tenant: &str, edit: TenantEdit) -> Result<Answer, Trouble> {
        let id = self.tenant(tenant).await?;
        let change = TenantChange {
            name: edit.name,
            plan: edit.plan,
            mfa_required: edit.mfa,
            domains: edit.domains.as_deref().map(domains).transpose()?,
        };
        if change == TenantChange::default() {
            return Err(Trouble::Usage(format!(
                "say what is to be different about {tenant}: --name, --plan, --require-mfa, --domain or --no-domains"
            )));
        }
        let moved = self.admin.change_tenant(self.by, id, &change).await?;
        Ok(regained(Answer::about(format!("tenant {tenant} changed"), json!({ "id": id })), &moved))
    }

    pub(super) async fn tenant_list(&self) -> Result<Answer, Trouble> {
        let now = self.admin.clock.now();
        let rows = self.admin.list_tenants(self.by).await?;
        let rows = rows
            .iter()
            .map(|view| {
                [
                    view.tenant.slug.to_string(),
                    view.tenant.name.clone(),
                    status(view, now),
                    view.members.to_string(),
                    view.orgs.to_string(),
                    view.departments.to_string(),
                    view.owner.clone().unwrap_or_default(),
                    view.tenant.origin.to_string(),
                ]
            })
            .collect();
        Ok(Answer::rows(["tenant", "name", "status", "members", "orgs", "depts", "owner", "origin"], rows))
    }

    pub(super) async fn tenant_show(&self, tenant: &str) -> Result<Answer, Trouble> {
        let view = self.admin.show_tenant(self.by, self.tenant(tenant).await?).await?;
        let now = self.admin.clock.now();
        let suspended = view.tenant.suspension.as_ref().map_or_else(String::new, |why| {
            let until = why.until.map_or_else(String::new, |until| format!(", until {until}"));
            format!("{} by {}, {}{until}", why.at, why.by, why.reason)
        });
        Ok(Answer::facts(&[
            ("id", view.tenant.id.to_string()),
            ("slug", view.tenant.slug.to_string()),
            ("name", view.tenant.name.clone()),
            ("status", status(&view, now)),
            ("suspended", suspended),
            ("plan", view.tenant.plan.clone()),
            ("owner", view.owner.clone().unwrap_or_default()),
            ("domains", view.domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            ("second_factor", if view.tenant.mfa_required { "required" } else { "" }.to_owned()),
            ("members", view.members.to_string()),
            ("organisations", view.orgs.to_string()),
            ("departments", view.departments.to_string()),
            ("origin", view.tenant.origin.to_string()),
            ("created_at", view.tenant.created_at.to_string()),
        ]))
    }

    pub(super) async fn tenant_suspend(
        &self,
        tenant: &str,
        reason: &str,
        lasts: Option<Span>,
    ) -> Result<Answer, Trouble> {
        let id = self.tenant(tenant).await?;
        let until = lasts.map(|lasts| self.admin.clock.now() + lasts);
        self.admin.suspend_tenant(self.by, id, reason, until).await?;
        Ok(Answer::said(format!("tenant {tenant} suspended; none of its apps opens now")))
    }

    pub(super) async fn tenant_activate(&self, tenant: &str) -> Result<Answer, Trouble> {
        self.admin.activate_tenant(self.by, self.tenant(tenant).await?).await?;
        Ok(Answer::said(format!("tenant {tenant} is active")))
    }

    pub(super) async fn tenant_delete(&self, tenant: &str, force: bool) -> Result<Answer, Trouble> {
        self.admin.delete_tenant(self.by, self.tenant(tenant).await?, force).await?;
        Ok(Answer::said(format!("tenant {tenant} deleted")))
    }

    pub(super) async fn tenant_transfer(&self, tenant: &str, to: &str) -> Result<Answer, Trouble> {
        let (id, owner) = (self.tenant(tenant).await?, self.user(to).await?);
        self.admin.transfer_tenant(self.by, id, owner).await?;
        Ok(Answer::said(format!("{to} owns {tenant} now")))
    }

    pub(super) async fn org_create(
        &self,
        tenant: &str,
        slug: &str,
        name: Option<String>,
    ) -> Result<Answer, Trouble> {
        let id = self.tenant(tenant).await?;
        let slug = typed("organisation", slug, Slug::parse)?;
        let new = NewPlace { name: name.unwrap_or_else(|| slug.to_string()), slug };
        let id = self.admin.create_org(self.by, id, &new).await?;
        let text = format!("organisation {tenant}/{} created", new.slug);
        Ok(Answer::about(text, json!({ "id": id })))
    }

    pub(super) async fn org_edit(&self, place: &str, name: &str) -> Result<Answer, Trouble> {
        let Place::Org(_, id) = self.place(place).await? else { return Err(not_a("organisation", place)) };
        self.admin.rename_org(self.by, id, name).await?;
        Ok(Answer::said(format!("organisation {place} changed")))
    }

    pub(super) async fn org_delete(&self, place: &str, force: bool) -> Result<Answer, Trouble> {
        let Place::Org(_, id) = self.place(place).await? else { return Err(not_a("organisation", place)) };
        self.admin.delete_org(self.by, id, force).await?;
        Ok(Answer::said(format!("organisation {place} deleted")))
    }

    pub(super) async fn org_list(&self, tenant: Option<String>) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(tenant).await?;
        let orgs = self.admin.list_orgs(self.by, tenant).await?;
        let words = self.words().await?;
        let rows = orgs
            .into_iter()
            .map(|org| {
                let place = words.place_words(Place::Org(org.tenant, org.id));
                [place, org.name, org.origin.to_string(), org.id.to_string()]
            })
            .collect();
        Ok(Answer::rows(["organisation", "name", "origin", "id"], rows))
    }

    pub(super) async fn dept_create(
        &self,
        org: &str,
        slug: &str,
        name: Option<String>,
    ) -> Result<Answer, Trouble> {
        let Place::Org(_, id) = self.place(org).await? else { return Err(not_a("organisation", org)) };
        let slug = typed("department", slug, Slug::parse)?;
        let new = NewPlace { name: name.unwrap_or_else(|| slug.to_string()), slug };
        let id = self.admin.create_department(self.by, id, &new).await?;
        Ok(Answer::about(format!("department {org}/{} created", new.slug), json!({ "id": id })))
    }

    pub(super) async fn dept_edit(&self, place: &str, name: &str) -> Result<Answer, Trouble> {
        let Place::Department(_, _, id) = self.place(place).await? else {
            return Err(not_a("department", place));
        };
        self.admin.rename_department(self.by, id, name).await?;
        Ok(Answer::said(format!("department {place} changed")))
    }

    pub(super) async fn dept_delete(&self, place: &str, force: bool) -> Result<Answer, Trouble> {
        let Place::Department(_, _, id) = self.place(place).await? else {
            return Err(not_a("department", place));
        };
        self.admin.delete_department(self.by, id, force).await?;
        Ok(Answer::said(format!("department {place} deleted")))
    }

    pub(super) async fn dept_list(&self, tenant: Option<String>) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(tenant).await?;
        let departments = self.admin.list_departments(self.by, tenant).await?;
        let words = self.words().await?;
        let rows = departments
            .into_iter()
            .map(|it| {
                let place = words.place_words(Place::Department(it.tenant, it.org, it.id));
                [place, it.name, it.origin.to_string(), it.id.to_string()]
            })
            .collect();
        Ok(Answer::rows(["department", "name", "origin", "id"], rows))
    }

    pub(super) async fn group(&self, text: &str) -> Result<GroupId, Trouble> {
        Ok(self.admin.group_named(self.by, text).await?)
    }

    pub(super) async fn group_create(&self, tenant: &str, slug: &str) -> Result<Answer, Trouble> {
        let id = self.tenant(tenant).await?;
        let slug = typed("group", slug, Slug::parse)?;
        let id = self.admin.put_group(self.by, id, &slug).await?;
        Ok(Answer::about(format!("group {tenant}/{slug} is there"), json!({ "id": id })))
    }

    pub(super) async fn group_delete(&self, group: &str) -> Result<Answer, Trouble> {
        let id = self.group(group).await?;
        let found = self.admin.list_groups(self.by, None).await?.into_iter().find(|it| it.id == id);
        self.admin.delete_group(self.by, id).await?;
        let snapshot = self.admin.snapshot.load();
        let naming = found
            .iter()
            .flat_map(|it| snapshot.routes().iter().filter(|route| route.names_group(it.tenant, &it.slug)));
        let answer = Answer::said(format!("group {group} deleted"));
        Ok(naming.fold(answer, |answer, route| {
            answer.note(format!(
                "the route {} names it in its policy ({}); nobody is in it any more",
                route.spec.name, route.spec.source.0
            ))
        }))
    }

    pub(super) async fn group_join(&self, group: &str, user: &str) -> Result<Answer, Trouble> {
        let (id, who) = (self.group(group).await?, self.user(user).await?);
        self.admin.join_group(self.by, who, id).await?;
        Ok(Answer::said(format!("{user} is in {group}")))
    }

    pub(super) async fn group_leave(&self, group: &str, user: &str) -> Result<Answer, Trouble> {
        let (id, who) = (self.group(group).await?, self.user(user).await?);
        self.admin.leave_group(self.by, who, id).await?;
        Ok(Answer::said(format!("{user} is no more in {group} by hand")))
    }

    pub(super) async fn group_list(&self, tenant: Option<String>) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(tenant).await?;
        let groups = self.admin.list_groups(self.by, tenant).await?;
        let words = self.words().await?;
        let mut rows: Vec<_> = groups
            .into_iter()
            .map(|it| {
                let name = format!("{}/{}", words.place_words(Place::Tenant(it.tenant)), it.slug);
                [name, it.origin.to_string(), it.id.to_string()]
            })
            .collect();
        rows.sort();
        Ok(Answer::rows(["group", "origin", "id"], rows))
    }

    pub(super) async fn group_show(&self, group: &str) -> Result<Answer, Trouble> {
        let members = self.admin.group_members(self.by, self.group(group).await?).await?;
        let mut rows = Vec::new();
        for (user, origin) in members {
            rows.push([self.username(user).await?, origin.to_string(), user.to_string()]);
        }
        rows.sort();
        Ok(Answer::rows(["user", "origin", "id"], rows))
    }
}

fn not_a(kind: &str, place: &str) -> Trouble {
    let (a, form) = if kind == "department" {
        ("a", "TENANT/ORGANISATION/DEPARTMENT")
    } else {
        ("an", "TENANT/ORGANISATION")
    };
    Trouble::Usage(format!("{place} is not {a} {kind}; write {form}"))
}
