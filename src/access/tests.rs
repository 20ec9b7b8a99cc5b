//! The engine against a second, naive reading of the same rules, over random worlds.

use std::net::IpAddr;

use proptest::prelude::*;
use uuid::Uuid;

use super::engine::{Caller, Decision, Request, decide};
use super::explain::explain;
use super::principal::{Belongs, Granted, Held, Principal};
use super::snapshot::{MfaRule, Rules, Snapshot};
use crate::domain::ids::Id;
use crate::domain::policy::{Access, How, Needs, PathPattern, Rule, Source, Who};
use crate::domain::route::{HeaderPreset, Route, Upstream};
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::target::{Case, Target, Unusual};
use crate::domain::{
    AccountKind, Hostname, Level, OrgId, Origin, PermissionPattern, PersonName, Place, PlacePath, Role,
    RoleId, Scope, SessionId, Slug, Span, Status, TenantId, Timestamp, Username,
};
use crate::store::tenants::{Org, Tenant};
use crate::store::tree::Tree;

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn id<T: Id>(n: u128) -> T {
    T::from_uuid(Uuid::from_u128(n))
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

const TENANTS: [&str; 2] = ["acme", "globex"];
const ROLES: [&str; 3] = ["reader", "writer", "chief"];
const ACTIONS: [&str; 3] = ["read", "write", "admin"];

/// Two tenants, each with one organisation, and three roles of the whole system.
fn tree(suspended: Option<usize>, mfa: Option<usize>) -> Tree {
    let mut tree = Tree::default();
    for (n, name) in TENANTS.iter().enumerate() {
        tree.tenants.push(Tenant {
            id: id(n as u128 + 1),
            slug: slug(name),
            name: (*name).to_owned(),
            plan: String::new(),
            status: if suspended == Some(n) { "suspended" } else { "active" }.into(),
            suspension: None,
            owner: None,
            mfa_required: mfa == Some(n),
            origin: Origin::Manual,
            created_at: NOW,
        });
        tree.orgs.push(Org {
            id: id(n as u128 + 11),
            tenant: id(n as u128 + 1),
            slug: slug("org"),
            name: "Org".into(),
            origin: Origin::Manual,
        });
    }
    for (n, name) in ROLES.iter().enumerate() {
        tree.roles.push(Role {
            id: id(n as u128 + 21),
            tenant: None,
            slug: slug(name),
            name: (*name).to_owned(),
            description: String::new(),
            scope: Scope::Tenant,
            permissions: ACTIONS[..=n]
                .iter()
                .map(|a| PermissionPattern::parse(&format!("reports:{a}")).unwrap())
                .collect(),
            exclusive: false,
            auto_assigned: false,
            mfa: false,
            landing: None,
            origin: Origin::System,
        });
    }
    tree
}

fn place(n: usize) -> Place {
    match n % 5 {
        0 => Place::Global,
        1 => Place::Tenant(id(1)),
        2 => Place::Tenant(id(2)),
        3 => Place::Org(id(1), id::<OrgId>(11)),
        _ => Place::Org(id(2), id::<OrgId>(12)),
    }
}

/// Method, path, who, what, who not, how.
type Line = (Option<usize>, usize, Option<Vec<usize>>, Option<usize>, Option<usize>, Vec<usize>);

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of a random world")]
struct World {
    tenant: Option<usize>,
    rules: Vec<Line>,
    deny: Option<usize>,
    suspended: Option<usize>,
    mfa: Option<usize>,
    member: Vec<usize>,
    groups: Vec<(usize, usize)>,
    held: Vec<(usize, usize)>,
    active: bool,
    kind: bool,
    first_ago: i64,
    second_ago: Option<i64>,
    signed_in: bool,
    path: usize,
    method: usize,
    inside: bool,
}

fn who(n: usize) -> Who {
    match n % 7 {
        0 => Who::SignedIn,
        1 => Who::User(Username::parse("grace").unwrap()),
        2 => Who::Group { tenant: Some(slug("acme")), name: slug("staff") },
        3 => Who::Tenant(slug("globex")),
        4 => Who::Role { slug: slug("writer"), at: Some(PlacePath::parse("acme").unwrap()) },
        5 => Who::Org(PlacePath::parse("acme/org").unwrap()),
        _ => Who::Group { tenant: Some(slug("nowhere")), name: slug("staff") },
    }
}

fn how(n: usize) -> How {
    match n % 5 {
        0 => How::Mfa(None),
        1 => How::Mfa(Some(Span::minutes(15))),
        2 => How::Net(slug("office")),
        3 => How::Session(Span::hours(1)),
        _ => How::Net(slug("missing")),
    }
}

const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];
const PATTERNS: [&str; 4] = ["/*", "/admin/*", "/admin", "/public/*"];
const PATHS: [&str; 5] = ["/", "/admin", "/admin/x", "/public/y", "/other"];

fn world() -> impl Strategy<Value = World> {
    let rule = (
        prop::option::of(0..3_usize),
        0..4_usize,
        prop::option::of(prop::collection::vec(0..7_usize, 1..3)),
        prop::option::of(0..3_usize),
        prop::option::weighted(0.2, 0..7_usize),
        prop::collection::vec(0..5_usize, 0..2),
    );
    let first = (
        prop::option::of(0..2_usize),
        prop::collection::vec(rule, 0..4),
        prop::option::weighted(0.1, 0..7_usize),
        prop::option::weighted(0.1, 0..2_usize),
        prop::option::weighted(0.2, 0..2_usize),
        prop::collection::vec(0..2_usize, 0..3),
        prop::collection::vec((0..2_usize, 0..2_usize), 0..2),
        prop::collection::vec((0..3_usize, 0..5_usize), 0..3),
    );
    let second = (
        prop::bool::weighted(0.95),
        any::<bool>(),
        0..7200_i64,
        prop::option::of(0..7200_i64),
        prop::bool::weighted(0.9),
        0..5_usize,
        0..3_usize,
        any::<bool>(),
    );
    (first, second).prop_map(
        |(
            (tenant, rules, deny, suspended, mfa, member, groups, held),
            (active, kind, first_ago, second_ago, signed_in, path, method, inside),
        )| {
            World {
                tenant,
                rules,
                deny,
                suspended,
                mfa,
                member,
                groups,
                held,
                active,
                kind,
                first_ago,
                second_ago,
                signed_in,
                path,
                method,
                inside,
            }
        },
    )
}

impl World {
    fn route(&self) -> Route {
        let rules = self
            .rules
            .iter()
            .map(|(method, path, allow, needs, deny, require)| Rule {
                source: Source("x:1".into()),
                methods: method.iter().map(|m| METHODS[*m].to_owned()).collect(),
                path: PathPattern::parse(PATTERNS[*path]).unwrap(),
                access: if allow.is_none() && needs.is_none() {
                    Access::Public
                } else {
                    Access::Members {
                        allow: allow.iter().flatten().map(|n| who(*n)).collect(),
                        needs: needs.map(|n| Needs::parse(&format!("reports:{}@acme", ACTIONS[n])).unwrap()),
                    }
                },
                deny: deny.iter().map(|n| who(*n)).collect(),
                require: require.iter().map(|n| how(*n)).collect(),
            })
            .collect();
        Route {
            source: Source::default(),
            name: slug("reports"),
            title: "Reports".into(),
            about: String::new(),
            host: Hostname::parse("reports.example.com").unwrap(),
            prefix: String::new(),
            to: vec![Upstream {
                transport: crate::domain::route::Transport::Plain,
                protocol: crate::domain::route::Protocol::Http1,
                host: "127.0.0.1".into(),
                port: 1,
            }],
            pool: crate::domain::pool::Pool::default(),
            rewrite: None,
            maintenance: None,
            forward_auth: false,
            tenant: self.tenant.map(|n| slug(TENANTS[n])),
            at: None,
            rules,
            deny: self.deny.iter().map(|n| who(*n)).collect(),
            require: Vec::new(),
            headers: HeaderPreset::named("cardea").unwrap(),
            help: None,
            listed: true,
            explain_refusals: true,
            unusual: Unusual::default(),
            case: Case::Sensitive,
            pass_host: true,
            private_answers: true,
            websocket: None,
            connect_timeout: Span::seconds(1),
            request_timeout: Span::seconds(1),
            idle_timeout: Span::minutes(10),
            assertion_life: Span::seconds(60),
            request_headers: crate::domain::header::Edits::default(),
            answer_headers: crate::domain::header::Edits::default(),
        }
    }

    fn principal(&self) -> Principal {
        let held: Vec<(usize, Place)> = self.held.iter().map(|(role, at)| (*role, place(*at))).collect();
        Principal {
            user: id(100),
            username: Username::parse("grace").unwrap(),
            name: PersonName::parse("Grace").unwrap(),
            email: None,
            contact: None,
            kind: if self.kind { AccountKind::Admin } else { AccountKind::User },
            status: if self.active { Status::Active } else { Status::Suspended },
            must_change_password: false,
            enrolled: true,
            version: 1,
            memberships: self
                .member
                .iter()
                .map(|n| Belongs {
                    tenant: id(*n as u128 + 1),
                    org: Some(id(*n as u128 + 11)),
                    department: None,
                })
                .collect(),
            groups: self
                .groups
                .iter()
                .map(|(t, g)| (id(*t as u128 + 1), slug(["staff", "other"][*g])))
                .collect(),
            roles: held
                .iter()
                .map(|(role, at)| Held {
                    role: id::<RoleId>(*role as u128 + 21),
                    slug: slug(ROLES[*role]),
                    place: *at,
                    origin: Origin::Manual,
                    landing: None,
                })
                .collect(),
            permissions: held
                .iter()
                .flat_map(|(role, at)| {
                    ACTIONS[..=*role].iter().map(|action| Granted {
                        pattern: PermissionPattern::parse(&format!("reports:{action}")).unwrap(),
                        place: *at,
                        from: "role".into(),
                    })
                })
                .collect(),
            role_demands_mfa: false,
        }
    }

    fn level(&self) -> Level {
        Level {
            first: FirstFactor::Password,
            first_at: NOW - Span::seconds(self.first_ago),
            second: self.second_ago.map(|ago| (SecondFactor::Totp, NOW - Span::seconds(ago))),
        }
    }

    /// The rules read out naively, straight from the words of the policy language: the expected verdict.
    fn expected(&self) -> &'static str {
        let (path, method) = (PATHS[self.path], METHODS[self.method]);
        let covers = |pattern: &str| match pattern.strip_suffix("/*") {
            Some(prefix) => path == prefix || path.starts_with(&format!("{prefix}/")),
            None => path == pattern,
        };
        let matching = self
            .rules
            .iter()
            .find(|(m, p, ..)| m.is_none_or(|m| METHODS[m] == method) && covers(PATTERNS[*p]));
        let Some((_, _, allow, needs, deny, require)) = matching else { return "deny" };
        if allow.is_none() && needs.is_none() {
            return "allow";
        }
        if !self.signed_in {
            return "sign-in";
        }
        let at_acme = |role: usize, at: usize| {
            let wide = matches!(place(at), Place::Global) || place(at) == Place::Tenant(id::<TenantId>(1));
            wide && role < 3
        };
        let is = |n: &usize| match n % 7 {
            0 | 1 => true,
            2 => self.suspended != Some(0) && self.groups.contains(&(0, 0)),
            3 => self.suspended != Some(1) && self.member.contains(&1),
            4 => {
                self.suspended != Some(0)
                    && self.held.iter().any(|(role, at)| *role == 1 && at_acme(*role, *at))
            }
            5 => self.suspended != Some(0) && self.member.contains(&0),
            _ => false,
        };
        let is_denied = |n: &usize| match n % 7 {
            2 => self.groups.contains(&(0, 0)),
            3 => self.member.contains(&1),
            // Also where the role holds only in a part of acme.
            4 => self.held.iter().any(|(role, at)| *role == 1 && matches!(at % 5, 0 | 1 | 3)),
            5 => self.member.contains(&0),
            // Everybody who is signed in, herself; and a name that nothing has keeps everybody out.
            _ => true,
        };
        let member = self.tenant.is_none_or(|t| self.member.contains(&t));
        let suspended = self.tenant.is_some() && self.suspended == self.tenant;
        let denied = self.deny.iter().any(is_denied) || deny.iter().any(is_denied);
        let allowed = allow.as_ref().is_none_or(|allow| allow.iter().any(is));
        let holds = needs.is_none_or(|needed| {
            self.suspended != Some(0)
                && self.held.iter().any(|(role, at)| *role >= needed && at_acme(*role, *at))
        });
        let network = require.iter().all(|n| match n % 5 {
            2 => self.inside,
            4 => false,
            _ => true,
        });
        if !self.active || !member || suspended || denied || !allowed || !holds || !network {
            return "deny";
        }
        if require.iter().any(|n| n % 5 == 3) && self.first_ago >= 3600 {
            return "sign-in";
        }
        let asked_by_tenant = self.mfa.is_some_and(|n| self.member.contains(&n) || self.tenant == Some(n));
        let second = require.iter().all(|n| match n % 5 {
            0 => self.second_ago.is_some(),
            1 => self.second_ago.is_some_and(|ago| ago < 900),
            _ => true,
        });
        if !second || (asked_by_tenant && self.second_ago.is_none()) { "step-up" } else { "allow" }
    }
}

fn rules() -> Rules {
    Rules {
        networks: [(slug("office"), vec!["10.0.0.0/8".parse().unwrap()])].into_iter().collect(),
        mfa: MfaRule::Optional,
        scheme: "https".into(),
        ..Rules::default()
    }
}

fn word(decision: &Decision<'_>) -> &'static str {
    match decision {
        Decision::Ambiguous(_) => "bad-request",
        Decision::Deny(_) => "deny",
        Decision::Permit(_) => "allow",
        Decision::SignIn { .. } => "sign-in",
        Decision::StepUp(_) => "step-up",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Enforcement, explanation and a naive model agree in every world, and a tenant that has nothing to do with it
    /// changes nothing.
    #[test]
    fn tenant_14_enforcement_is_explanation_is_the_model(world in world()) {
        let route = world.route();
        let snapshot = Snapshot::compile(1, tree(world.suspended, world.mfa), std::slice::from_ref(&route), &rules());
        let (principal, level) = (world.principal(), world.level());
        let caller = world.signed_in.then_some(Caller { principal: &principal, level: &level, session: id::<SessionId>(7) });
        let target = Target::parse(PATHS[world.path]).unwrap();
        let address: IpAddr = if world.inside { "10.1.2.3" } else { "192.0.2.1" }.parse().unwrap();
        let request = Request { target: &target, method: METHODS[world.method], address, now: NOW };
        let compiled = snapshot.locate("reports.example.com", &target).unwrap();

        let decision = decide(&snapshot, compiled, caller, &request);
        let explained = explain(&snapshot, compiled, caller, &request);
        prop_assert_eq!(word(&decision), world.expected());
        prop_assert_eq!(&explained.verdict, world.expected());
        if let Decision::Deny(denial) = &decision {
            prop_assert_eq!(explained.code.as_deref(), Some(denial.code));
            prop_assert_eq!(explained.plain.as_deref(), Some(denial.plain.as_str()));
            // What the person reads first of what they lack is the reason; whoever is shut out altogether reads no more.
            let told: Vec<_> = explained.told().collect();
            prop_assert_eq!(told.iter().find(|(holds, _)| !holds).map(|(_, told)| told.text.as_str()), Some(denial.plain.as_str()));
            if matches!(denial.code, "account" | "deny-list" | "tenant" | "tenant-suspended") {
                prop_assert_eq!(told.len(), 1);
            }
        }
        // Whoever passes a public rule passes as nobody.
        if let Decision::Permit(permit) = &decision {
            prop_assert_eq!(permit.caller().is_some(), explained.clauses.iter().all(|c| c.kind != "public"));
        }

        let mut larger = tree(world.suspended, world.mfa);
        larger.tenants.push(Tenant { id: id(900), slug: slug("unrelated"), ..larger.tenants[0].clone() });
        let larger = Snapshot::compile(2, larger, std::slice::from_ref(&route), &rules());
        let again = decide(&larger, larger.locate("reports.example.com", &target).unwrap(), caller, &request);
        prop_assert_eq!(word(&again), word(&decision));
    }
}

/// Somebody signed in who holds nothing, and one rule that lets everybody in who is.
fn nobody_in_particular() -> World {
    World {
        tenant: None,
        rules: vec![(None, 0, Some(vec![0]), None, None, Vec::new())],
        deny: None,
        suspended: None,
        mfa: None,
        member: Vec::new(),
        groups: Vec::new(),
        held: Vec::new(),
        active: true,
        kind: false,
        first_ago: 1,
        second_ago: None,
        signed_in: true,
        path: 0,
        method: 0,
        inside: true,
    }
}

#[test]
fn proxy_11_case_is_refused_where_it_would_matter() {
    let world = World {
        rules: vec![
            (None, 1, None, Some(2), None, Vec::new()),
            (None, 0, Some(vec![0]), None, None, Vec::new()),
        ],
        ..nobody_in_particular()
    };
    let (principal, level) = (world.principal(), world.level());
    let caller = Some(Caller { principal: &principal, level: &level, session: id::<SessionId>(7) });
    for (case, path, expected) in [
        (Case::Unknown, "/admin/x", "deny"),
        (Case::Unknown, "/other", "allow"),
        (Case::Unknown, "/ADMIN/x", "bad-request"),
        (Case::Unknown, "/admin./x", "bad-request"),
        (Case::Unknown, "/admin%20/x", "bad-request"),
        (Case::Unknown, "/admin%23", "bad-request"),
        (Case::Unknown, "/admin%3Fx", "bad-request"),
        (Case::Unknown, "/%EF%BD%81dmin/x", "bad-request"),
        (Case::Unknown, "/admin%C2%A0/x", "bad-request"),
        (Case::Unknown, "/adm%E2%80%8Cin/x", "bad-request"),
        (Case::Unknown, "/c%23/notes", "allow"),
        (Case::Unknown, "/%E6%97%A5%E6%9C%AC", "allow"),
        (Case::Sensitive, "/ADMIN/x", "allow"),
        (Case::Insensitive, "/ADMIN/x", "deny"),
        (Case::Insensitive, "/Other", "allow"),
    ] {
        let route = Route { case, ..world.route() };
        let snapshot = Snapshot::compile(1, tree(None, None), std::slice::from_ref(&route), &rules());
        let target = Target::parse(path).unwrap();
        let request =
            Request { target: &target, method: "GET", address: "10.0.0.1".parse().unwrap(), now: NOW };
        let compiled = snapshot.locate("reports.example.com", &target).unwrap();
        assert_eq!(word(&decide(&snapshot, compiled, caller, &request)), expected, "{case:?} {path}");
    }
}

#[test]
fn tenant_14_a_deny_that_names_nothing_keeps_everybody_out_and_says_so() {
    for (text, allow, deny) in [
        ("org:acme/nowhere", 0, Some(Who::Org(PlacePath::parse("acme/nowhere").unwrap()))),
        ("tenant:nowhere", 0, Some(Who::Tenant(slug("nowhere")))),
        (
            "role:retired@acme",
            0,
            Some(Who::Role { slug: slug("retired"), at: Some(PlacePath::parse("acme").unwrap()) }),
        ),
        ("group:nowhere/staff", 6, None),
    ] {
        let world = nobody_in_particular();
        let mut route = world.route();
        route.rules[0].access = Access::Members { allow: vec![who(allow), who(0)], needs: None };
        route.deny = deny.iter().cloned().collect();
        let snapshot = Snapshot::compile(1, tree(None, None), std::slice::from_ref(&route), &rules());
        let (principal, level) = (world.principal(), world.level());
        let caller = Some(Caller { principal: &principal, level: &level, session: id::<SessionId>(7) });
        let target = Target::parse("/").unwrap();
        let request =
            Request { target: &target, method: "GET", address: "10.0.0.1".parse().unwrap(), now: NOW };
        let compiled = snapshot.locate("reports.example.com", &target).unwrap();
        let explained = explain(&snapshot, compiled, caller, &request);
        let [said] = snapshot.unresolved() else { panic!("{:?}", snapshot.unresolved()) };
        if deny.is_some() {
            assert_eq!(explained.code.as_deref(), Some("deny-list"), "{text}");
            assert!(
                explained.to_string().contains(&format!("{text} names nothing that exists")),
                "{explained}"
            );
            assert!(said.contains(text) && said.ends_with("it keeps everybody out"), "{said}");
        } else {
            assert_eq!(explained.verdict, "allow", "what lets nobody in takes nothing from the others");
            assert!(said.contains(text) && said.ends_with("it lets nobody in"), "{said}");
        }
    }
}

#[test]
fn a_tenant_s_provider_is_demanded_on_its_routes_alone_and_the_explanation_says_so() {
    let rules = Rules { required: [(slug("acme"), slug("corp"))].into(), ..rules() };
    for (tenant, first, expected) in [
        (Some(0), "pwd", "sign-in"),
        (Some(0), "oidc:corp", "allow"),
        (Some(0), "oidc:corp2", "sign-in"),
        (Some(0), "saml:corp", "allow"),
        (Some(0), "saml:corp2", "sign-in"),
        (Some(1), "pwd", "allow"),
        (None, "pwd", "allow"),
    ] {
        let world = World { tenant, member: vec![0, 1], ..nobody_in_particular() };
        let route = world.route();
        let snapshot = Snapshot::compile(1, tree(None, None), std::slice::from_ref(&route), &rules);
        let level = Level { first: first.to_owned().try_into().unwrap(), ..world.level() };
        let principal = world.principal();
        let caller = Some(Caller { principal: &principal, level: &level, session: id::<SessionId>(7) });
        let target = Target::parse("/").unwrap();
        let request =
            Request { target: &target, method: "GET", address: "10.0.0.1".parse().unwrap(), now: NOW };
        let compiled = snapshot.locate("reports.example.com", &target).unwrap();
        assert_eq!(word(&decide(&snapshot, compiled, caller, &request)), expected, "{tenant:?} {first}");
        let explained = explain(&snapshot, compiled, caller, &request);
        assert_eq!(explained.verdict, expected, "{explained}");
        let said = explained.to_string().contains("asks for a sign-in with idp:corp");
        assert_eq!(said, expected == "sign-in", "{explained}");
        assert_eq!(compiled.only_provider(&target, "GET"), (tenant == Some(0)).then_some(&slug("corp")));
    }
}
