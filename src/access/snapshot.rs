//! What decisions are made on: routes compiled against the tenant tree. Immutable; swapped as a whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::domain::policy::{Access, How, Needs, PathPattern, Who};
use crate::domain::target::{Case, Target, fold};
use crate::domain::{
    DepartmentId, OrgId, Permission, Place, PlacePath, Role, RoleId, Slug, Span, TenantId, Timestamp,
    Username, route,
};
use crate::store::tenants::{Department, Org, Tenant};
use crate::store::tree::Tree;

/// Who must use a second factor, whatever tenants, roles and routes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MfaRule {
    /// Administrators.
    Admins,
    /// Everybody.
    Everyone,
    /// Nobody, also not whoever has one.
    Off,
    /// Whoever wants to.
    #[default]
    Optional,
}

/// What the configuration says besides routes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Named networks.
    pub networks: HashMap<Slug, Vec<IpNet>>,
    /// Who must use a second factor.
    pub mfa: MfaRule,
    /// `http` or `https`, as browsers see it.
    pub scheme: String,
    /// The port in addresses, if it is not the scheme's own.
    pub port: Option<u16>,
    /// The identity provider that the people of a tenant sign in with, by the names of both.
    pub required: HashMap<Slug, Slug>,
}

/// Everything decisions are made on.
pub struct Snapshot {
    /// Grows with every change of the tree and every reload.
    pub version: u64,
    /// Who must use a second factor.
    pub mfa: MfaRule,
    tenants: HashMap<TenantId, Tenant, RandomState>,
    tenant_ids: HashMap<Slug, TenantId>,
    orgs: HashMap<OrgId, Org>,
    departments: HashMap<DepartmentId, Department>,
    roles: HashMap<RoleId, Arc<Role>>,
    domains: HashMap<String, TenantId>,
    required: HashMap<TenantId, Slug>,
    // Filled from the configuration alone: nobody can choose names that collide, so a quick hash does.
    hosts: HashMap<Box<str>, Vec<Arc<Route>>, RandomState>,
    routes: Vec<Arc<Route>>,
    managed: HashSet<String, RandomState>,
    carriers: Vec<String>,
    unresolved: Vec<String>,
}

/// A route, ready to be decided on.
pub struct Route {
    /// As written.
    pub spec: route::Route,
    /// Scheme, host and port, as browsers see it; the audience of its assertions.
    pub origin: String,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// Where permissions must hold.
    pub place: Option<Place>,
    /// The identity provider that its tenant demands.
    pub provider: Option<Slug>,
    pub(super) rules: Vec<Rule>,
    pub(super) deny: Vec<WhoIs>,
    pub(super) require: Vec<HowIs>,
    folded_prefix: String,
}

pub(super) struct Rule {
    pub(super) source: String,
    pub(super) methods: Vec<String>,
    pub(super) path: PathPattern,
    pub(super) folded: PathPattern,
    pub(super) public: bool,
    pub(super) allow: Vec<WhoIs>,
    pub(super) needs: Option<NeedIs>,
    pub(super) deny: Vec<WhoIs>,
    pub(super) require: Vec<HowIs>,
}

/// A "who" with its names looked up, beside its text for explanations.
pub(super) struct WhoIs {
    pub(super) text: String,
    pub(super) test: Test,
}

pub(super) enum Test {
    Department(Place),
    Domain(String),
    Group(TenantId, Slug),
    /// The name is of nothing that exists. It lets nobody in, and keeps everybody out.
    Nothing,
    Org(Place),
    Provider(Slug),
    Role(Vec<RoleId>, Place),
    SignedIn,
    Tenant(TenantId),
    User(Username),
}

impl Test {
    /// The place that it is about, if it is about one.
    pub(super) const fn place(&self) -> Option<Place> {
        match self {
            Test::Department(place) | Test::Org(place) | Test::Role(_, place) => Some(*place),
            Test::Group(tenant, _) | Test::Tenant(tenant) => Some(Place::Tenant(*tenant)),
            Test::Domain(_) | Test::Nothing | Test::Provider(_) | Test::SignedIn | Test::User(_) => None,
        }
    }
}

pub(super) struct NeedIs {
    pub(super) permission: Permission,
    pub(super) at: Option<Place>,
}

pub(super) struct HowIs {
    pub(super) text: String,
    pub(super) test: HowTest,
}

pub(super) enum HowTest {
    Method(Vec<String>),
    Mfa(Option<Span>),
    /// `None`: no such network; nobody is in it.
    Net(Option<Vec<IpNet>>),
    Session(Span),
}

/// Why no route was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Two readings of the path lead to different routes or rules.
    #[error("the address could be read in two ways; write it as the app's own links do")]
    Ambiguous,
    /// No route has this host.
    #[error("no app has this address")]
    Host,
    /// The host has routes, but none for this path.
    #[error("no app has this address")]
    Path,
    /// A spelling that the route has not opted in to.
    #[error("the address has a spelling that this app does not take ({0})")]
    Unusual(&'static str),
}

impl Snapshot {
    /// Compiles routes against the tree. Names that nothing has are listed in [`Snapshot::unresolved`]: where they were to
    /// let somebody in they let in nobody, and where they were to keep somebody out they keep out everybody.
    #[must_use]
    pub fn compile(version: u64, tree: Tree, routes: &[route::Route], rules: &Rules) -> Self {
        let groups: HashSet<(TenantId, Slug)> =
            tree.groups.into_iter().map(|group| (group.tenant, group.slug)).collect();
        let mut snapshot = Self {
            version,
            mfa: rules.mfa,
            tenant_ids: tree.tenants.iter().map(|t| (t.slug.clone(), t.id)).collect(),
            tenants: tree.tenants.into_iter().map(|t| (t.id, t)).collect(),
            orgs: tree.orgs.into_iter().map(|o| (o.id, o)).collect(),
            departments: tree.departments.into_iter().map(|d| (d.id, d)).collect(),
            roles: tree.roles.into_iter().map(|r| (r.id, Arc::new(r))).collect(),
            domains: tree.domains.into_iter().map(|(domain, id)| (domain.to_string(), id)).collect(),
            required: HashMap::new(),
            hosts: HashMap::default(),
            routes: Vec::new(),
            managed: HashSet::default(),
            carriers: Vec::new(),
            unresolved: Vec::new(),
        };
        let required = rules.required.iter();
        let of = |slug: &Slug| snapshot.tenant_ids.get(slug).copied();
        snapshot.required =
            required.filter_map(|(tenant, provider)| Some((of(tenant)?, provider.clone()))).collect();
        for spec in routes {
            let mut compiler =
                Compiler { snapshot: &snapshot, groups: &groups, rules, spec, unresolved: Vec::new() };
            let route = Arc::new(compiler.route());
            let unresolved = compiler.unresolved;
            snapshot.unresolved.extend(unresolved);
            snapshot.hosts.entry(spec.host.as_str().into()).or_default().push(Arc::clone(&route));
            snapshot.routes.push(route);
        }
        // The names of every preset, used here or not: what no upstream of ours trusts today it may trust tomorrow.
        let presets = route::PRESETS.iter().flat_map(|(_, headers)| headers.iter().map(|(name, _)| *name));
        let custom =
            routes.iter().flat_map(|spec| spec.headers.headers.iter().map(|(name, _)| name.as_str()));
        snapshot.managed = presets
            .chain(custom)
            .chain(route::BESIDES)
            .map(|name| route::folded_name(name.as_bytes()))
            .collect();
        let own = route::HeaderPreset::named("cardea");
        let used = routes.iter().map(|spec| &spec.headers).chain(&own);
        let used = used.flat_map(|preset| preset.headers.iter().map(|(name, _)| name.as_str()));
        let carriers: BTreeSet<&str> = used.chain(route::BESIDES).collect();
        snapshot.carriers = carriers.into_iter().map(str::to_owned).collect();
        for routes in snapshot.hosts.values_mut() {
            routes.sort_by_key(|route| std::cmp::Reverse(route.spec.prefix.len()));
        }
        snapshot
    }

    /// Names in policies that nothing has, each with its place and what comes of it.
    #[must_use]
    pub fn unresolved(&self) -> &[String] {
        &self.unresolved
    }

    /// Every route.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Whether the policy of any route names somebody.
    #[must_use]
    pub fn names_user(&self, user: &Username) -> bool {
        let mut whos = self.routes.iter().flat_map(|route| route.whos());
        whos.any(|who| matches!(&who.test, Test::User(name) if name == user))
    }

    /// Whether any route has this host.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The routes of a host, longest prefix first. They share origin and tenant.
    #[must_use]
    pub fn on_host(&self, host: &str) -> &[Arc<Route>] {
        self.hosts.get(host).map_or(&[], Vec::as_slice)
    }

    /// Whether a header carries identity on some route. Takes a [folded](route::folded_name) name.
    #[must_use]
    pub fn manages(&self, folded: &str) -> bool {
        self.managed.contains(folded)
    }

    /// The names of all header fields that carry identity on any route, and of those that are ours on every route.
    pub fn carries_identity(&self) -> impl Iterator<Item = &str> {
        self.carriers.iter().map(String::as_str)
    }

    /// A route by name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.spec.name.as_str() == name)
    }

    /// The route of a request: by host, then by the longest path prefix. Every reading of the path must agree.
    ///
    /// # Errors
    /// When there is none, or the path is ambiguous for it.
    pub fn locate(&self, host: &str, target: &Target<'_>) -> Result<&Arc<Route>, Lost> {
        let routes = self.hosts.get(host).ok_or(Lost::Host)?;
        let under = |prefix: &str, path: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let exact = routes.iter().find(|route| under(&route.spec.prefix, target.path()));
        let folded = target.folded(Case::Unknown);
        let lenient = routes.iter().find(|route| under(&route.folded_prefix, &folded));
        let route = match (exact, lenient) {
            (Some(exact), Some(lenient)) if Arc::ptr_eq(exact, lenient) => exact,
            (None, None) => return Err(Lost::Path),
            _ => return Err(Lost::Ambiguous),
        };
        match target.unusual().beyond(route.spec.unusual) {
            Some(name) => Err(Lost::Unusual(name)),
            None => Ok(route),
        }
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.get(&id)
    }

    /// Every tenant.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// A tenant by name.
    #[must_use]
    pub fn tenant_named(&self, slug: &Slug) -> Option<&Tenant> {
        self.tenant_ids.get(slug).and_then(|id| self.tenants.get(id))
    }

    /// The tenant that has verified a domain.
    #[must_use]
    pub fn tenant_of_domain(&self, domain: &str) -> Option<TenantId> {
        self.domains.get(domain).copied()
    }

    /// The identity provider that the people of a tenant sign in with, if it demands one.
    #[must_use]
    pub fn provider_of(&self, tenant: TenantId) -> Option<&Slug> {
        self.required.get(&tenant)
    }

    /// Whether any tenant demands a provider.
    #[must_use]
    pub fn demands_providers(&self) -> bool {
        !self.required.is_empty()
    }

    /// Every organisation.
    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        self.orgs.values()
    }

    /// Every department.
    pub fn departments(&self) -> impl Iterator<Item = &Department> {
        self.departments.values()
    }

    /// An organisation.
    #[must_use]
    pub fn org(&self, id: OrgId) -> Option<&Org> {
        self.orgs.get(&id)
    }

    /// A department.
    #[must_use]
    pub fn department(&self, id: DepartmentId) -> Option<&Department> {
        self.departments.get(&id)
    }

    /// A role.
    #[must_use]
    pub fn role(&self, id: RoleId) -> Option<&Arc<Role>> {
        self.roles.get(&id)
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// A role by name: the tenant's own, or else the system's.
    #[must_use]
    pub fn role_named(&self, tenant: Option<TenantId>, slug: &str) -> Option<&Arc<Role>> {
        let of = |owner: Option<TenantId>| {
            self.roles.values().find(|role| role.tenant == owner && role.slug.as_str() == slug)
        };
        tenant.and_then(|tenant| of(Some(tenant))).or_else(|| of(None))
    }

    /// A place by name.
    #[must_use]
    pub fn place(&self, path: &PlacePath) -> Option<Place> {
        let tenant = *self.tenant_ids.get(&path.tenant)?;
        let Some(org) = &path.org else { return Some(Place::Tenant(tenant)) };
        let org = self.orgs.values().find(|o| o.tenant == tenant && o.slug == *org)?.id;
        let Some(department) = &path.department else { return Some(Place::Org(tenant, org)) };
        let department = self.departments.values().find(|d| d.org == org && d.slug == *department)?.id;
        Some(Place::Department(tenant, org, department))
    }

    /// A place in words: `acme/europe/finance`, or `everywhere`.
    #[must_use]
    pub fn place_words(&self, place: Place) -> String {
        let Some(tenant) = place.tenant() else { return "everywhere".to_owned() };
        let mut words = self.tenants.get(&tenant).map_or_else(|| "?".to_owned(), |t| t.slug.to_string());
        if let Some(org) = place.org() {
            words.push('/');
            words.push_str(self.orgs.get(&org).map_or("?", |o| o.slug.as_str()));
        }
        if let Some(department) = place.department() {
            words.push('/');
            words.push_str(self.departments.get(&department).map_or("?", |d| d.slug.as_str()));
        }
        words
    }

    /// Whether a tenant is in force.
    #[must_use]
    pub fn tenant_active(&self, id: TenantId, now: Timestamp) -> bool {
        self.tenants.get(&id).is_some_and(|tenant| tenant.active_at(now))
    }
}

impl Route {
    /// The rule for a request, if every reading of its path gives the same one. `Ok(None)`: no rule covers it.
    pub(super) fn rule(&self, target: &Target<'_>, method: &str) -> Result<Option<(usize, &Rule)>, Lost> {
        let find = |covers: &dyn Fn(&Rule) -> bool| {
            self.rules.iter().position(|rule| {
                (rule.methods.is_empty() || rule.methods.iter().any(|m| m == method)) && covers(rule)
            })
        };
        let folded = target.folded(self.spec.case);
        let lenient = find(&|rule| rule.folded.covers_leniently(&folded));
        let chosen = match self.spec.case {
            Case::Insensitive => lenient,
            Case::Sensitive | Case::Unknown => {
                let exact = find(&|rule| rule.path.covers(target.path()));
                if exact != lenient {
                    return Err(Lost::Ambiguous);
                }
                exact
            }
        };
        Ok(chosen.and_then(|index| self.rules.get(index).map(|rule| (index, rule))))
    }

    /// Everybody whom its policy names.
    fn whos(&self) -> impl Iterator<Item = &WhoIs> {
        self.rules.iter().flat_map(|rule| rule.allow.iter().chain(&rule.deny)).chain(&self.deny)
    }

    /// Whether its policy names a group.
    #[must_use]
    pub fn names_group(&self, tenant: TenantId, group: &Slug) -> bool {
        self.whos().any(|who| matches!(&who.test, Test::Group(of, name) if *of == tenant && name == group))
    }

    /// The one identity provider without which nobody passes here: what the tenant demands, or what the rule names alone.
    #[must_use]
    pub fn only_provider(&self, target: &Target<'_>, method: &str) -> Option<&Slug> {
        let (_, rule) = self.rule(target, method).ok()??;
        match (&self.provider, rule.allow.as_slice()) {
            _ if rule.public => None,
            (Some(provider), _) | (None, [WhoIs { test: Test::Provider(provider), .. }]) => Some(provider),
            (None, _) => None,
        }
    }

    /// Whether anybody may pass somewhere on it without signing in.
    #[must_use]
    pub fn has_public_rule(&self) -> bool {
        self.rules.iter().any(|rule| rule.public)
    }
}

/// What comes of a name that nothing has.
const KEEPS_OUT: &str = "it keeps everybody out";
const LETS_IN: &str = "it lets nobody in";

struct Compiler<'a> {
    snapshot: &'a Snapshot,
    groups: &'a HashSet<(TenantId, Slug)>,
    rules: &'a Rules,
    spec: &'a route::Route,
    unresolved: Vec<String>,
}

impl Compiler<'_> {
    fn route(&mut self) -> Route {
        let spec = self.spec;
        let tenant = spec.tenant.as_ref().and_then(|slug| self.snapshot.tenant_ids.get(slug).copied());
        if let (Some(slug), None) = (&spec.tenant, tenant) {
            self.missing(&spec.source.0, &format!("tenant {slug}"));
        }
        let place = match &spec.at {
            Some(path) => self.place(path, &spec.source.0),
            None => tenant.map(Place::Tenant),
        };
        let port = self.rules.port.map(|port| format!(":{port}")).unwrap_or_default();
        Route {
            origin: format!("{}://{}{port}", self.rules.scheme, spec.host),
            tenant,
            place,
            provider: tenant.and_then(|tenant| self.snapshot.required.get(&tenant).cloned()),
            rules: spec.rules.iter().map(|rule| self.rule(rule, tenant, place)).collect(),
            deny: self.whos(&spec.deny, tenant, place, &spec.source.0, KEEPS_OUT),
            require: self.hows(&spec.require, &spec.source.0),
            folded_prefix: fold_prefix(&spec.prefix, Case::Unknown),
            spec: spec.clone(),
        }
    }

    fn rule(
        &mut self,
        rule: &crate::domain::policy::Rule,
        tenant: Option<TenantId>,
        place: Option<Place>,
    ) -> Rule {
        let source = rule.source.to_string();
        let (public, allow, needs) = match &rule.access {
            Access::Public => (true, Vec::new(), None),
            Access::Members { allow, needs } => (
                false,
                self.whos(allow, tenant, place, &source, LETS_IN),
                needs.as_ref().map(|needs| self.needs(needs, place, &source)),
            ),
        };
        let folded = PathPattern { text: fold_prefix(&rule.path.text, self.spec.case), open: rule.path.open };
        Rule {
            methods: rule.methods.clone(),
            path: rule.path.clone(),
            folded,
            public,
            allow,
            needs,
            deny: self.whos(&rule.deny, tenant, place, &source, KEEPS_OUT),
            require: self.hows(&rule.require, &source),
            source,
        }
    }

    fn needs(&mut self, needs: &Needs, place: Option<Place>, source: &str) -> NeedIs {
        let at = match &needs.at {
            Some(path) => self.place(path, source),
            None => place,
        };
        NeedIs { permission: needs.permission.clone(), at }
    }

    fn whos(
        &mut self,
        list: &[Who],
        tenant: Option<TenantId>,
        place: Option<Place>,
        source: &str,
        effect: &str,
    ) -> Vec<WhoIs> {
        let mut known = Vec::new();
        for who in list {
            let text = who.to_string();
            let test = self.who(who, tenant, place).unwrap_or_else(|| {
                self.unresolved.push(format!("{source}: {text} does not exist; {effect}"));
                Test::Nothing
            });
            // A group is compared by name: it may come later, and keeps nobody out until then.
            if let Test::Group(tenant, name) = &test
                && !self.groups.contains(&(*tenant, name.clone()))
            {
                let effect = if effect == LETS_IN { LETS_IN } else { "it keeps nobody out" };
                self.unresolved.push(format!("{source}: {text} does not exist; {effect}"));
            }
            known.push(WhoIs { text, test });
        }
        known
    }

    fn who(&self, who: &Who, tenant: Option<TenantId>, place: Option<Place>) -> Option<Test> {
        match who {
            Who::Department(path) => self.snapshot.place(path).map(Test::Department),
            Who::Domain(domain) => Some(Test::Domain(domain.to_string())),
            Who::Group { tenant: named, name } => match named {
                Some(slug) => self.snapshot.tenant_ids.get(slug).copied(),
                None => tenant,
            }
            .map(|tenant| Test::Group(tenant, name.clone())),
            Who::Org(path) => self.snapshot.place(path).map(Test::Org),
            Who::Provider(name) => Some(Test::Provider(name.clone())),
            Who::Role { slug, at } => {
                let at = match at {
                    Some(path) => self.snapshot.place(path),
                    None => place,
                };
                at.and_then(|at| {
                    let roles: Vec<RoleId> = self
                        .snapshot
                        .roles
                        .values()
                        .filter(|role| {
                            role.slug == *slug && (role.tenant.is_none() || role.tenant == at.tenant())
                        })
                        .map(|role| role.id)
                        .collect();
                    (!roles.is_empty()).then_some(Test::Role(roles, at))
                })
            }
            Who::SignedIn => Some(Test::SignedIn),
            Who::Tenant(slug) => self.snapshot.tenant_ids.get(slug).copied().map(Test::Tenant),
            Who::User(name) => Some(Test::User(name.clone())),
        }
    }

    fn hows(&mut self, list: &[How], source: &str) -> Vec<HowIs> {
        list.iter()
            .map(|how| {
                let test = match how {
                    How::Method(methods) => HowTest::Method(methods.clone()),
                    How::Mfa(fresh) => HowTest::Mfa(*fresh),
                    How::Net(name) => {
                        let net = self.rules.networks.get(name).cloned();
                        if net.is_none() {
                            self.missing(source, &format!("net:{name}"));
                        }
                        HowTest::Net(net)
                    }
                    How::Session(fresh) => HowTest::Session(*fresh),
                };
                HowIs { text: how.to_string(), test }
            })
            .collect()
    }

    fn place(&mut self, path: &PlacePath, source: &str) -> Option<Place> {
        let place = self.snapshot.place(path);
        if place.is_none() {
            self.missing(source, &format!("place {path}"));
        }
        place
    }

    fn missing(&mut self, source: &str, what: &str) {
        self.unresolved.push(format!("{source}: {what} does not exist; {LETS_IN}"));
    }
}

/// A prefix folded for comparison with folded paths: no slash at the end.
fn fold_prefix(prefix: &str, case: Case) -> String {
    if prefix.is_empty() { String::new() } else { fold(prefix, case).trim_end_matches('/').to_owned() }
}

/// Whether an address lies in one of the networks. IPv4 in IPv6 form counts as IPv4.
pub(super) fn within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|net| net.contains(&address.to_canonical()))
}
