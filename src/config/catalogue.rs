//! Tenants, roles and groups of the file, and whether a name is among them.

use super::Code;
use super::desk::{Desk, nearest};
use super::kinds::Label;
use super::objects::{FileOrg, FileRole, FileTenant};
use super::raw;
use super::read::{Maybe, Written};
use super::tree::Spot;
use crate::domain::policy::Source;
use crate::domain::role::{BUILT_IN, Scope};
use crate::domain::{Hostname, Permission, PermissionPattern, PlacePath, Slug};

/// What policies can name.
pub(super) struct Catalogue {
    pub(super) tenants: Vec<FileTenant>,
    pub(super) roles: Vec<FileRole>,
    /// Where each role says where to land.
    pub(super) landings: Vec<Written<Slug>>,
    pub(super) groups: Vec<(Slug, Slug)>,
    pub(super) providers: Vec<Slug>,
}

/// Notes a name that was used before. Returns whether it is new.
pub(super) fn once<K: PartialEq>(
    seen: &mut Vec<(K, Spot)>,
    key: K,
    spot: Spot,
    what: &str,
    desk: &mut Desk<'_>,
) -> bool {
    let first = seen.iter().find(|(known, _)| *known == key).map(|(_, first)| *first);
    match first {
        Some(first) => {
            desk.fault(Code::DuplicateName, spot, format!("there is a second {what}"))
                .label("again here")
                .help("rename or remove one of the two")
                .also(first, "first here");
        }
        None => seen.push((key, spot)),
    }
    first.is_none()
}

fn named(name: &Maybe<Written<Label>>, slug: &Slug) -> String {
    name.0.as_ref().map_or_else(|| slug.to_string(), |name| name.value.0.clone())
}

impl Catalogue {
    pub(super) fn compile(root: &raw::Root, desk: &mut Desk<'_>) -> Self {
        let mut tenants = tenants(root, desk);
        if tenants.is_empty() {
            tenants.extend(implicit());
        }
        let providers = root.idp.iter().map(|idp| idp.name.value.clone()).collect();
        let mut catalogue =
            Self { tenants, roles: Vec::new(), landings: Vec::new(), groups: Vec::new(), providers };
        catalogue.add_roles(root, desk);
        catalogue.add_groups(root, desk);
        catalogue
    }

    /// The tenant that is meant when none is named.
    pub(super) fn only_tenant(&self) -> Option<&Slug> {
        match self.tenants.as_slice() {
            [only] => Some(&only.slug),
            _ => None,
        }
    }

    fn add_roles(&mut self, root: &raw::Root, desk: &mut Desk<'_>) {
        let mut seen: Vec<(&Slug, Option<&Slug>, Spot)> = Vec::new();
        for raw in &root.role {
            let (slug, tenant) = (&raw.slug.value, raw.tenant.0.as_ref());
            if BUILT_IN.iter().any(|(name, ..)| *name == slug.as_str()) {
                desk.fault(Code::BuiltInRole, raw.slug.spot, format!("\"{slug}\" is a built-in role"))
                    .help("choose another slug: built-in roles cannot be changed");
            }
            let owner = tenant.map(|tenant| &tenant.value);
            // A role of every tenant and one of a single tenant meet in that tenant.
            let clash = |(known, other, _): &&(&Slug, Option<&Slug>, Spot)| {
                *known == slug && (*other == owner || other.is_none() || owner.is_none())
            };
            if let Some((_, _, first)) = seen.iter().find(clash) {
                desk.fault(Code::DuplicateName, raw.slug.spot, format!("there is a second role \"{slug}\""))
                    .label("again here")
                    .help("rename or remove one of the two, or give each to a tenant of its own")
                    .also(*first, "first here");
            }
            seen.push((slug, owner, raw.slug.spot));
            if let Some(tenant) = tenant {
                self.check_tenant(&tenant.value, tenant.spot, desk);
                if raw.scope.value == Scope::Global {
                    desk.fault(
                        Code::RoleScope,
                        raw.scope.spot,
                        format!("the role \"{slug}\" belongs to a tenant"),
                    )
                    .label("so it cannot be given everywhere")
                    .help("leave the tenant out, or write scope = \"tenant\"");
                }
            }
            self.landings.extend(raw.landing.0.clone());
            self.roles.push(FileRole {
                source: desk.written(raw),
                tenant: owner.cloned(),
                slug: slug.clone(),
                name: named(&raw.name, slug),
                description: raw
                    .description
                    .0
                    .as_ref()
                    .map(|words| words.value.0.clone())
                    .unwrap_or_default(),
                scope: raw.scope.value,
                permissions: raw.permissions.0.iter().map(|pattern| pattern.value.clone()).collect(),
                exclusive: raw.exclusive.value,
                auto_assigned: raw.auto_assigned.value,
                mfa: raw.mfa.value,
                landing: raw.landing.0.as_ref().map(|landing| landing.value.clone()),
            });
        }
    }

    fn add_groups(&mut self, root: &raw::Root, desk: &mut Desk<'_>) {
        let mut seen = Vec::new();
        for raw in &root.group {
            let owner = raw.tenant.0.as_ref();
            if let Some(written) = owner {
                self.check_tenant(&written.value, written.spot, desk);
            }
            let Some(tenant) = owner.map(|owner| &owner.value).or(self.only_tenant()).cloned() else {
                desk.fault(
                    Code::Missing,
                    raw.spot,
                    format!("the group \"{}\" needs a tenant", raw.slug.value),
                )
                .help("write tenant = \"…\": there are several");
                continue;
            };
            let key = (tenant, raw.slug.value.clone());
            if once(&mut seen, key.clone(), raw.slug.spot, &format!("group \"{}\" in {}", key.1, key.0), desk)
            {
                self.groups.push(key);
            }
        }
    }

    /// Notes a name that the file lacks. It may be in the records: a warning.
    fn unknown(desk: &mut Desk<'_>, spot: Spot, what: &str, name: &str, known: &[&str]) {
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "add it to the file, or see to it that it is in the records".to_owned(),
        };
        desk.fault(Code::UnknownName, spot, format!("unknown {what} \"{name}\""))
            .label(format!("the file has no such {what}"))
            .help(help);
    }

    /// Whether the file has the tenant; notes it if not.
    pub(super) fn check_tenant(&self, slug: &Slug, spot: Spot, desk: &mut Desk<'_>) -> bool {
        let known: Vec<_> = self.tenants.iter().map(|tenant| tenant.slug.as_str()).collect();
        let found = known.contains(&slug.as_str());
        if !found && !desk.torn.contains("tenant") {
            Self::unknown(desk, spot, "tenant", slug.as_str(), &known);
        }
        found
    }

    /// Looks a place up.
    pub(super) fn check_place(&self, place: &PlacePath, spot: Spot, desk: &mut Desk<'_>) {
        if !self.check_tenant(&place.tenant, spot, desk) || desk.torn.contains("tenant") {
            return;
        }
        let Some(tenant) = self.tenants.iter().find(|tenant| tenant.slug == place.tenant) else { return };
        let Some(slug) = &place.org else { return };
        let Some(org) = tenant.orgs.iter().find(|org| org.slug == *slug) else {
            let known: Vec<_> = tenant.orgs.iter().map(|org| org.slug.as_str()).collect();
            Self::unknown(desk, spot, "organisation", slug.as_str(), &known);
            return;
        };
        let Some(slug) = &place.department else { return };
        if !org.departments.iter().any(|(known, _)| known == slug) {
            let known: Vec<_> = org.departments.iter().map(|(slug, _)| slug.as_str()).collect();
            Self::unknown(desk, spot, "department", slug.as_str(), &known);
        }
    }

    /// Looks a group up. It may be in the records, as anything else.
    pub(super) fn check_group(&self, tenant: &Slug, name: &Slug, spot: Spot, desk: &mut Desk<'_>) {
        let found = self.groups.iter().any(|(owner, group)| owner == tenant && group == name);
        if !found && !desk.torn.contains("group") {
            let known: Vec<_> = self
                .groups
                .iter()
                .filter(|(owner, _)| owner == tenant)
                .map(|(_, group)| group.as_str())
                .collect();
            Self::unknown(desk, spot, "group", name.as_str(), &known);
        }
    }

    /// Looks an identity provider up.
    pub(super) fn check_provider(&self, name: &Slug, spot: Spot, desk: &mut Desk<'_>) {
        if !self.providers.contains(name) && !desk.torn.contains("idp") {
            let known: Vec<_> = self.providers.iter().map(Slug::as_str).collect();
            Self::unknown(desk, spot, "identity provider", name.as_str(), &known);
        }
    }

    fn roles_of<'s>(&'s self, tenant: &'s Slug) -> impl Iterator<Item = &'s FileRole> {
        self.roles.iter().filter(move |role| role.tenant.as_ref().is_none_or(|owner| owner == tenant))
    }

    /// Looks a role up.
    pub(super) fn check_role(&self, tenant: &Slug, slug: &Slug, spot: Spot, desk: &mut Desk<'_>) {
        let built_in = BUILT_IN.iter().map(|(name, ..)| *name);
        let known: Vec<_> = self.roles_of(tenant).map(|role| role.slug.as_str()).chain(built_in).collect();
        if !known.contains(&slug.as_str()) && !desk.torn.contains("role") {
            Self::unknown(desk, spot, "role", slug.as_str(), &known);
        }
    }

    /// Looks for a role that grants a permission. Roles that hold everything do not count: with them no word is wrong.
    pub(super) fn check_permission(
        &self,
        tenant: &Slug,
        needed: &Permission,
        spot: Spot,
        desk: &mut Desk<'_>,
    ) {
        let built_in = BUILT_IN.iter().flat_map(|(name, _, _, patterns, _)| {
            patterns
                .iter()
                .filter_map(|text| PermissionPattern::parse(text).ok())
                .map(|pattern| (*name, pattern))
        });
        let own = self.roles_of(tenant);
        let own =
            own.flat_map(|role| role.permissions.iter().map(|pattern| (role.slug.as_str(), pattern.clone())));
        let grants: Vec<(&str, PermissionPattern)> =
            own.chain(built_in).filter(|(_, pattern)| *pattern != PermissionPattern::Everything).collect();
        if grants.iter().any(|(_, pattern)| pattern.allows(needed)) || desk.torn.contains("role") {
            return;
        }
        let texts: Vec<String> = grants.iter().map(|(_, pattern)| pattern.to_string()).collect();
        let help = match nearest(needed.as_str(), texts.iter().map(String::as_str)) {
            Some(near) => {
                let mut by: Vec<_> = grants
                    .iter()
                    .filter(|(_, pattern)| pattern.to_string() == near)
                    .map(|(role, _)| *role)
                    .collect();
                by.dedup();
                format!("did you mean \"{near}\"? (granted by: {})", by.join(", "))
            }
            None => "give it to a role: permissions = { resource = [\"action\"] }".to_owned(),
        };
        desk.fault(Code::UnknownName, spot, format!("unknown permission \"{needed}\""))
            .label("no role of the file grants this permission")
            .help(help);
    }
}

fn implicit() -> Option<FileTenant> {
    let slug = Slug::parse("default").ok()?;
    Some(FileTenant {
        source: Source("built in".to_owned()),
        name: "Default".to_owned(),
        slug,
        domains: Vec::new(),
        plan: None,
        mfa_required: false,
        require_idp: None,
        orgs: Vec::new(),
    })
}

fn tenants(root: &raw::Root, desk: &mut Desk<'_>) -> Vec<FileTenant> {
    let mut slugs: Vec<(&Slug, Spot)> = Vec::new();
    let mut domains: Vec<(&Hostname, Spot)> = Vec::new();
    let mut all = Vec::new();
    for raw in &root.tenant {
        let slug = &raw.slug.value;
        once(&mut slugs, slug, raw.slug.spot, &format!("tenant \"{slug}\""), desk);
        for domain in &raw.domains {
            once(
                &mut domains,
                &domain.value,
                domain.spot,
                &format!("claim to the domain {}", domain.value),
                desk,
            );
        }
        all.push(FileTenant {
            source: desk.written(raw),
            slug: slug.clone(),
            name: named(&raw.name, slug),
            domains: raw.domains.iter().map(|domain| domain.value.clone()).collect(),
            plan: raw.plan.0.as_ref().map(|plan| plan.value.0.clone()),
            mfa_required: raw.mfa_required.value,
            require_idp: required(raw, root, desk),
            orgs: orgs(raw, desk),
        });
    }
    all
}

/// The provider that a tenant demands: one that there is, and that can bring its people in.
fn required(tenant: &raw::Tenant, root: &raw::Root, desk: &mut Desk<'_>) -> Option<Slug> {
    let written = tenant.require_idp.0.as_ref()?;
    let found = root.idp.iter().find(|idp| idp.name.value == written.value);
    let foreign = |idp: &raw::Idp| idp.tenant.0.as_ref().is_some_and(|it| it.value != tenant.slug.value);
    match found {
        Some(idp) if foreign(idp) => {
            desk.fault(
                Code::OutsideTenant,
                written.spot,
                format!("the provider \"{}\" belongs to another tenant", written.value),
            )
            .help("nobody of this tenant would come in; name one of its own, or one of everybody");
        }
        Some(_) => {}
        None if desk.torn.contains("idp") => {}
        None => {
            desk.fault(
                Code::Contradiction,
                written.spot,
                format!("there is no identity provider \"{}\"", written.value),
            )
            .label("nobody of the tenant would come in")
            .help("add [[idp]] with that name, or leave require_idp out");
        }
    }
    Some(written.value.clone())
}

fn orgs(tenant: &raw::Tenant, desk: &mut Desk<'_>) -> Vec<FileOrg> {
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for raw in &tenant.org {
        let slug = &raw.slug.value;
        let place = format!("{}/{slug}", tenant.slug.value);
        once(&mut seen, slug, raw.slug.spot, &format!("organisation \"{place}\""), desk);
        let mut inner = Vec::new();
        for department in &raw.departments {
            let what = format!("department \"{place}/{}\"", department.slug.value);
            once(&mut inner, &department.slug.value, department.slug.spot, &what, desk);
        }
        all.push(FileOrg {
            slug: slug.clone(),
            name: named(&raw.name, slug),
            departments: raw
                .departments
                .iter()
                .map(|department| {
                    (department.slug.value.clone(), named(&department.name, &department.slug.value))
                })
                .collect(),
        });
    }
    all
}
