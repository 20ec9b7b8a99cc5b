//! The decision alone, without a byte of HTTP: which route, which rule, and whether this person may. At most 1 µs in the
//! middle, and the same however many routes, roles and people there are.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement says what is wrong by panicking"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use cardea::access::principal::{Belongs, Granted, Held};
use cardea::access::{Caller, Decision, MfaRule, Principal, Request, Rules, Snapshot, decide};
use cardea::domain::ids::Id;
use cardea::domain::policy::{Access, How, Needs, PathPattern, Rule, Source, Who};
use cardea::domain::route::{HeaderPreset, Protocol, Route, Transport, Upstream};
use cardea::domain::session::{FirstFactor, SecondFactor};
use cardea::domain::target::{Case, Target, Unusual};
use cardea::domain::{
    AccountKind, Hostname, Level, Origin, PermissionPattern, PersonName, Place, Role, Scope, SessionId, Slug,
    Span, Status, TenantId, Timestamp, Username,
};
use cardea::store::tenants::Tenant;
use cardea::store::tree::Tree;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);
/// How many roles a person holds.
const HELD: usize = 5;

fn id<T: Id>(number: usize) -> T {
    T::from_uuid(uuid::Uuid::from_u128(number as u128 + 1))
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn permissions(role: usize) -> Vec<PermissionPattern> {
    ["read", "export"]
        .iter()
        .map(|action| PermissionPattern::parse(&format!("reports-{role}:{action}")).unwrap())
        .collect()
}

fn tree(roles: usize) -> Tree {
    let tenant = Tenant {
        id: id(0),
        slug: slug("acme"),
        name: "Acme".into(),
        plan: String::new(),
        status: "active".into(),
        suspension: None,
        owner: None,
        mfa_required: false,
        origin: Origin::Manual,
        created_at: NOW,
    };
    let role = |number: usize| Role {
        id: id(number),
        tenant: None,
        slug: slug(&format!("role-{number}")),
        name: format!("Role {number}"),
        description: String::new(),
        scope: Scope::Tenant,
        permissions: permissions(number),
        exclusive: false,
        auto_assigned: false,
        mfa: false,
        landing: None,
        origin: Origin::Manual,
    };
    Tree { tenants: vec![tenant], roles: (0..roles).map(role).collect(), ..Tree::default() }
}

/// Three rules: administration with a fresh second factor, reading, and everything else for a role.
fn route(number: usize, roles: usize) -> Route {
    let role = number % roles;
    let rule = |path: &str, methods: &[&str], needs: Option<&str>, require: Vec<How>| Rule {
        source: Source(String::new()),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        path: PathPattern::parse(path).unwrap(),
        access: Access::Members {
            allow: match needs {
                Some(_) => Vec::new(),
                None => vec![Who::Role { slug: slug(&format!("role-{role}")), at: None }],
            },
            needs: needs.map(|action| Needs::parse(&format!("reports-{role}:{action}")).unwrap()),
        },
        deny: vec![Who::User(Username::parse("contractor7").unwrap())],
        require,
    };
    Route {
        source: Source::default(),
        name: slug(&format!("route-{number}")),
        title: String::new(),
        about: String::new(),
        host: Hostname::parse(&format!("app-{number}.example.com")).unwrap(),
        prefix: String::new(),
        to: vec![Upstream {
            transport: Transport::Plain,
            protocol: Protocol::Http1,
            host: "127.0.0.1".into(),
            port: 1,
        }],
        forward_auth: false,
        pool: cardea::domain::pool::Pool::default(),
        rewrite: None,
        websocket: None,
        maintenance: None,
        tenant: Some(slug("acme")),
        at: None,
        rules: vec![
            rule("/admin/*", &[], Some("admin"), vec![How::Mfa(Some(Span::minutes(15)))]),
            rule("/*", &["GET", "HEAD"], Some("read"), vec![How::Mfa(None)]),
            rule("/*", &[], None, Vec::new()),
        ],
        deny: Vec::new(),
        require: Vec::new(),
        headers: HeaderPreset::named("cardea").unwrap(),
        help: None,
        listed: true,
        explain_refusals: true,
        unusual: Unusual::default(),
        case: Case::Sensitive,
        pass_host: true,
        private_answers: true,
        connect_timeout: Span::seconds(1),
        request_timeout: Span::seconds(1),
        idle_timeout: Span::minutes(10),
        assertion_life: Span::seconds(60),
        request_headers: cardea::domain::header::Edits::default(),
        answer_headers: cardea::domain::header::Edits::default(),
    }
}

/// Somebody who may read on the route of this number.
fn person(number: usize, roles: usize) -> Principal {
    let place = Place::Tenant(id::<TenantId>(0));
    let held: Vec<usize> = (0..HELD).map(|n| (number + n) % roles).collect();
    Principal {
        user: id(number),
        username: Username::parse(&format!("grace{number}")).unwrap(),
        name: PersonName::parse("Grace Hopper").unwrap(),
        email: None,
        contact: None,
        kind: AccountKind::User,
        status: Status::Active,
        must_change_password: false,
        enrolled: true,
        version: 1,
        memberships: vec![Belongs { tenant: id(0), org: None, department: None }],
        groups: vec![(id(0), slug("staff"))],
        roles: held
            .iter()
            .map(|role| Held {
                role: id(*role),
                slug: slug(&format!("role-{role}")),
                place,
                origin: Origin::Manual,
                landing: None,
            })
            .collect(),
        permissions: held
            .iter()
            .flat_map(|role| permissions(*role))
            .map(|pattern| Granted { pattern, place, from: "a role".into() })
            .collect(),
        role_demands_mfa: false,
    }
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for (routes, roles, people) in
        [(1, 1, 1), (1, 1_000, 1), (10_000, 1_000, 1), (10_000, 1_000, 1_000), (10_000, 1_000, 100_000)]
    {
        let specs: Vec<Route> = (0..routes).map(|number| route(number, roles)).collect();
        let rules = Rules { mfa: MfaRule::Optional, scheme: "https".into(), ..Rules::default() };
        let snapshot = Snapshot::compile(1, tree(roles), &specs, &rules);
        assert!(snapshot.unresolved().is_empty(), "{:?}", snapshot.unresolved());
        let people: Vec<Principal> = (0..people).map(|number| person(number, roles)).collect();
        let level = Level {
            first: FirstFactor::Password,
            first_at: NOW - Span::minutes(5),
            second: Some((SecondFactor::Totp, NOW - Span::minutes(5))),
        };
        let target = Target::parse("/reports/2026/november?page=2").unwrap();
        let request =
            Request { target: &target, method: "GET", address: IpAddr::V4(Ipv4Addr::LOCALHOST), now: NOW };
        // Who asks where, in an order that no cache foresees; each may read there.
        let count = people.len().max(routes);
        let asked: Vec<(usize, String)> = (0..count)
            .map(|n| n * 7919 % count)
            .map(|n| {
                let who = n % people.len();
                (who, format!("app-{}.example.com", (who % roles + n * roles) % routes))
            })
            .collect();
        let mut next = asked.iter().cycle();
        let name = format!("{routes} routes, {roles} roles, {} people", people.len());
        let mut once = || {
            let (who, host) = next.next().unwrap();
            let caller = Caller { principal: &people[*who], level: &level, session: id::<SessionId>(*who) };
            let route = snapshot.locate(black_box(host), &target).unwrap();
            match decide(&snapshot, route, Some(caller), &request) {
                Decision::Permit(permit) => permit.rule(),
                other => panic!("{host}, {who}: {other:?}"),
            }
        };
        assert_eq!(once(), 2, "the second rule decides");
        group.bench_with_input(BenchmarkId::from_parameter(name), &(), |bencher, ()| bencher.iter(&mut once));
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
