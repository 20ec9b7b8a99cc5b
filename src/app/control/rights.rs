//! Roles and single permissions.

use serde_json::json;

use crate::admin::{Given, GrantChange, RoleDraft, diff};
use crate::domain::role::Scope;
use crate::domain::{PermissionPattern, Place, Role, Slug, TenantId};

use super::answer::{Answer, Trouble, typed};
use super::{Desk, RoleWish};

fn patterns(texts: &[String]) -> Result<Vec<PermissionPattern>, Trouble> {
    let split = texts.iter().flat_map(|text| text.split([',', ' '])).filter(|text| !text.is_empty());
    split.map(|text| typed("permission", text, PermissionPattern::parse)).collect()
}

fn words(patterns: &[PermissionPattern]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// A draft with what is wished put into it.
fn drafted(mut draft: RoleDraft, wish: RoleWish) -> Result<RoleDraft, Trouble> {
    if let Some(name) = wish.name {
        draft.name = name;
    }
    if let Some(description) = wish.description {
        draft.description = description;
    }
    if let Some(scope) = &wish.scope {
        draft.scope = typed("scope", scope, Scope::parse)?;
    }
    if let Some(permissions) = &wish.permissions {
        draft.permissions = patterns(permissions)?;
    }
    draft.permissions.extend(patterns(&wish.add)?);
    let remove = patterns(&wish.remove)?;
    draft.permissions.retain(|pattern| !remove.contains(pattern));
    draft.exclusive = wish.exclusive.unwrap_or(draft.exclusive);
    draft.auto_assigned = wish.auto_assigned.unwrap_or(draft.auto_assigned);
    draft.mfa = wish.mfa.unwrap_or(draft.mfa);
    if let Some(landing) = &wish.landing {
        draft.landing = if landing.is_empty() { None } else { Some(typed("route", landing, Slug::parse)?) };
    }
    Ok(draft)
}

fn draft_of(role: &Role) -> RoleDraft {
    RoleDraft {
        name: role.name.clone(),
        description: role.description.clone(),
        scope: role.scope,
        permissions: role.permissions.clone(),
        exclusive: role.exclusive,
        auto_assigned: role.auto_assigned,
        mfa: role.mfa,
        landing: role.landing.clone(),
    }
}

fn flags(role: &Role) -> String {
    let flags =
        [(role.exclusive, "exclusive"), (role.auto_assigned, "automatic"), (role.mfa, "second factor")];
    flags.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

impl Desk<'_> {
    async fn role(&self, text: &str, tenant: Option<TenantId>) -> Result<std::sync::Arc<Role>, Trouble> {
        Ok(self.admin.role_named(self.by, text, tenant).await?)
    }

    pub(super) async fn role_create(
        &self,
        slug: &str,
        tenant: Option<String>,
        wish: RoleWish,
    ) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(tenant).await?;
        let slug = typed("role", slug, Slug::parse)?;
        let draft = RoleDraft {
            name: slug.to_string(),
            description: String::new(),
            scope: Scope::Tenant,
            permissions: Vec::new(),
            exclusive: false,
            auto_assigned: false,
            mfa: false,
            landing: None,
        };
        let id = self.admin.create_role(self.by, tenant, &slug, drafted(draft, wish)?).await?;
        Ok(Answer::about(format!("role {slug} created"), json!({ "id": id, "slug": slug })))
    }

    pub(super) async fn role_edit(&self, role: &str, wish: RoleWish) -> Result<Answer, Trouble> {
        let old = self.role(role, None).await?;
        self.admin.edit_role(self.by, old.id, drafted(draft_of(&old), wish)?).await?;
        Ok(Answer::said(format!("role {role} changed")))
    }

    pub(super) async fn role_delete(&self, role: &str, force: bool) -> Result<Answer, Trouble> {
        let id = self.role(role, None).await?.id;
        self.admin.delete_role(self.by, id, force).await?;
        Ok(Answer::said(format!("role {role} deleted")))
    }

    pub(super) async fn role_list(&self, tenant: Option<String>) -> Result<Answer, Trouble> {
        let tenant = self.maybe_tenant(tenant).await?;
        let names = self.words().await?;
        let rows = self
            .admin
            .list_roles(self.by, tenant)
            .await?
            .iter()
            .map(|role| {
                let of =
                    role.tenant.map_or_else(String::new, |tenant| names.place_words(Place::Tenant(tenant)));
                [
                    role.slug.to_string(),
                    of,
                    role.scope.as_str().to_owned(),
                    words(&role.permissions),
                    flags(role),
                    role.origin.to_string(),
                ]
            })
            .collect();
        Ok(Answer::rows(["role", "tenant", "scope", "permissions", "flags", "origin"], rows))
    }

    pub(super) async fn role_show(&self, role: &str) -> Result<Answer, Trouble> {
        let role = self.role(role, None).await?;
        let names = self.words().await?;
        let mut holders = Vec::new();
        for (user, held) in self.admin.role_holders(self.by, role.id).await? {
            holders.push(format!("{} at {}", self.username(user).await?, names.place_words(held.place)));
        }
        Ok(Answer::facts(&[
            ("id", role.id.to_string()),
            ("slug", role.slug.to_string()),
            ("tenant", role.tenant.map_or_else(String::new, |id| names.place_words(Place::Tenant(id)))),
            ("name", role.name.clone()),
            ("description", role.description.clone()),
            ("scope", role.scope.as_str().to_owned()),
            ("permissions", words(&role.permissions)),
            ("flags", flags(&role)),
            ("landing", role.landing.as_ref().map_or_else(String::new, ToString::to_string)),
            ("origin", role.origin.to_string()),
            ("held_by", holders.join(", ")),
        ]))
    }

    pub(super) async fn role_diff(&self, first: &str, second: &str) -> Result<Answer, Trouble> {
        let (one, two) = (self.role(first, None).await?, self.role(second, None).await?);
        let found = diff(&one, &two);
        let row = |mark: &str, pattern: &PermissionPattern| [mark.to_owned(), pattern.to_string()];
        let rows = found
            .only_first
            .iter()
            .map(|pattern| row(first, pattern))
            .chain(found.only_second.iter().map(|pattern| row(second, pattern)))
            .chain(found.both.iter().map(|pattern| row("both", pattern)))
            .collect();
        Ok(Answer::rows(["in", "permission"], rows))
    }

    /// Where something is given when nobody says where: in the tenant, if the person belongs to one alone.
    async fn place_for(&self, user: crate::domain::UserId, at: Option<&str>) -> Result<Place, Trouble> {
        if let Some(at) = at {
            return self.place(at).await;
        }
        let view = self.admin.show_user(self.by, user).await?;
        match view.memberships.as_slice() {
            [] => Ok(Place::Global),
            [one] => Ok(Place::Tenant(one.tenant)),
            _ => Err(Trouble::Usage("the person belongs to several tenants; say --at PLACE".to_owned())),
        }
    }

    pub(super) async fn role_grant(
        &self,
        what: &str,
        user: &str,
        at: Option<String>,
    ) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let (change, place) = if what.contains(':') {
            let place = self.place_for(id, at.as_deref()).await?;
            let pattern = typed("permission", what, PermissionPattern::parse)?;
            (self.admin.grant_permission(self.by, id, &pattern, place).await?, place)
        } else {
            let (role, place) = self.role_at(what, id, at.as_deref()).await?;
            (self.admin.grant_role(self.by, id, Given { role: role.id, place }).await?, place)
        };
        let place = self.words().await?.place_words(place);
        let GrantChange { changed, cleared } = change;
        let text = if changed {
            format!("{user} has {what} at {place}")
        } else {
            format!("{user} had {what} at {place} already")
        };
        let answer = Answer::about(text, json!({ "changed": changed, "cleared": cleared }));
        let answer = cleared.iter().fold(answer, |answer, it| answer.note(format!("{it} made room for it")));
        let view = self.admin.show_user(self.by, id).await?;
        let idle = view.user.kind == crate::domain::AccountKind::User
            && view.principal.permissions.iter().any(|held| held.pattern.administrative());
        Ok(if idle {
            answer.note(format!(
                "{user} is of kind user and administers nothing, whatever the roles say: cardea user edit {user} --kind admin"
            ))
        } else {
            answer
        })
    }

    pub(super) async fn role_revoke(
        &self,
        what: &str,
        user: &str,
        at: Option<String>,
    ) -> Result<Answer, Trouble> {
        let id = self.user(user).await?;
        let place = if what.contains(':') {
            let place = self.place_for(id, at.as_deref()).await?;
            let pattern = typed("permission", what, PermissionPattern::parse)?;
            self.admin.revoke_permission(self.by, id, &pattern, place).await?;
            place
        } else {
            let (role, place) = self.role_at(what, id, at.as_deref()).await?;
            self.admin.revoke_role(self.by, id, Given { role: role.id, place }).await?;
            place
        };
        let place = self.words().await?.place_words(place);
        Ok(Answer::said(format!("{user} has {what} at {place} no more")))
    }

    /// A role and where it is meant; one of the whole system is given everywhere unless somebody says otherwise.
    async fn role_at(
        &self,
        what: &str,
        user: crate::domain::UserId,
        at: Option<&str>,
    ) -> Result<(std::sync::Arc<Role>, Place), Trouble> {
        if at.is_none()
            && let Ok(role) = self.role(what, None).await
            && role.scope == Scope::Global
        {
            return Ok((role, Place::Global));
        }
        let place = self.place_for(user, at).await?;
        Ok((self.role(what, place.tenant()).await?, place))
    }
}
