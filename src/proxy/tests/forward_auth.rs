//! Decisions for other proxies: the questions of nginx, Traefik, Caddy and Envoy, as they ask them.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::house::{Answer, Client, House, Plan, pause, route, rule};
use crate::domain::Span;
use crate::domain::route::{Fact, HeaderPreset};
use crate::domain::target::{Target, Unusual};
use crate::proxy::forward_auth::admitted;

const HTML: (&str, &str) = ("accept", "text/html");
const CLIENT: (&str, &str) = ("x-forwarded-for", "203.0.113.7");
/// Those that ask in fields.
const BY_FIELDS: [&str; 4] = ["nginx", "nginx/refused", "traefik", "caddy"];

/// `app.example` is guarded by another proxy, `ours.example` is not; a third route has a preset of its own.
fn guarded() -> House {
    House::with(Plan {
        routes: Box::new(|upstream| {
            let rules = vec![
                rule("/public/*", "public"),
                rule("/reports/*", "needs:reports:read"),
                rule("/admin/*", "needs:reports:admin"),
                rule("/mfa/*", "signed-in mfa"),
                rule("/old/*", "signed-in session<1h"),
                rule("/*", "signed-in"),
            ];
            let app = route("app", "app.example", &[], rules);
            let ours = route("ours", "ours.example", &[upstream], vec![rule("/*", "signed-in")]);
            let mut other = route("other", "other.example", &[], vec![rule("/*", "signed-in")]);
            let headers = vec![("x-who".to_owned(), Fact::Username), ("remote-user".to_owned(), Fact::User)];
            other.headers = HeaderPreset { name: "custom".to_owned(), headers };
            other.unusual = Unusual::DOUBLE_SLASH;
            let mut mute = route("mute", "mute.example", &[], vec![rule("/*", "signed-in")]);
            mute.headers = HeaderPreset {
                name: "custom".to_owned(),
                headers: vec![("x-dept".into(), Fact::Department)],
            };
            vec![app, ours, other, mute]
        }),
        ..Plan::default()
    })
}

/// Asks at an address, with just these fields.
fn put(house: &House, method: &str, at: &str, fields: &[(&str, &str)]) -> Answer {
    Client::connect(house.forward_auth).ask(method, "127.0.0.1:8601", at, fields)
}

/// Asks about a request in the way of a proxy.
fn asked(house: &House, by: &str, method: &str, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![CLIENT];
    if by == "envoy" {
        all.extend(fields);
        let at = format!("/forward-auth/envoy{target}");
        return Client::connect(house.forward_auth).ask(method, host, &at, &all);
    }
    all.extend([("x-forwarded-method", method), ("x-forwarded-host", host), ("x-forwarded-uri", target)]);
    all.extend(fields);
    put(house, "GET", &format!("/forward-auth/{by}"), &all)
}

fn with(token: &str) -> String {
    format!("cardea={token}")
}

#[test]
fn f3_a_yes_names_every_field_that_carries_identity_on_any_route() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    for by in ["nginx", "traefik", "caddy", "envoy"] {
        let answer = asked(&house, by, "GET", "app.example", "/reports/x?y=1", &[("cookie", &with(&token))]);
        assert_eq!(answer.status, 200, "{by}: {}", answer.text());
        assert_eq!(answer.all("cardea-user"), [house.ada.to_string()], "{by}");
        assert_eq!(answer.all("cardea-groups"), ["staff"]);
        let claims = house.verified(answer.field("cardea-assertion").unwrap());
        assert_eq!(
            (claims["aud"].as_str(), claims["route"].as_str()),
            (Some("http://app.example"), Some("app"))
        );
        for empty in [
            "cardea-dept",
            "cardea-groups-truncated",
            "cardea-impersonator",
            "cardea-org",
            "cardea-roles-truncated",
            "remote-user",
            "x-who",
            "x-dept",
        ] {
            assert_eq!(answer.all(empty), [""], "{by}: {empty}");
        }
        assert_eq!(answer.field("cardea-request-id").unwrap().len(), 36);
        assert_eq!((answer.field("cache-control"), answer.body.len()), (Some("no-store"), 0));
        assert!(answer.field("set-cookie").is_none() && answer.field("location").is_none());
    }
    let (_, token) = house.signed_in(house.ada, "other.example");
    let answer = asked(&house, "caddy", "POST", "other.example", "/x", &[("cookie", &with(&token))]);
    assert_eq!((answer.status, answer.all("x-who"), answer.all("cardea-user")), (200, vec!["ada"], vec![""]));
}

#[test]
fn f66_a_yes_as_nobody_is_for_public_rules_alone() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    // Also for somebody who is signed in: the app learns nothing there.
    for cookie in ["", &with(&token)] {
        let answer = asked(&house, "traefik", "GET", "app.example", "/public/x", &[("cookie", cookie)]);
        assert_eq!((answer.status, answer.all("cardea-user")), (200, vec![""]), "{cookie}");
        let filled: Vec<_> = answer
            .fields
            .iter()
            .filter(|(name, value)| name.starts_with("cardea-") && !value.is_empty())
            .collect();
        assert!(matches!(filled[..], [(name, _)] if name == "cardea-request-id"), "{filled:?}");
    }
    // Somebody about whom the route's fields have nothing to say would be nobody to the app.
    let (_, token) = house.signed_in(house.ada, "mute.example");
    let answer = asked(&house, "traefik", "GET", "mute.example", "/", &[("cookie", &with(&token))]);
    assert_eq!(answer.status, 503, "{:?}", answer.fields);
}

#[test]
fn f66_sess_12_odd_cookies_are_nobody() {
    let house = guarded();
    let (_, good) = house.signed_in(house.ada, "app.example");
    let (_, elsewhere) = house.signed_in(house.ada, "other.example");
    let changed = format!("{}{}", &good[..63], if good.ends_with('A') { 'B' } else { 'A' });
    let long = "A".repeat(9000);
    for cookie in [
        String::new(),
        "cardea".into(),
        "cardea=".into(),
        "cardea=x".into(),
        with(&elsewhere),
        with(&changed),
        with(&long),
        with(&good[..63]),
        with(&format!("{good}A")),
        with(&format!("\"{good}\"")),
        with(&format!("{good}%00")),
        format!("cardea={good}; cardea={good}"),
        format!("cardea={good}; CARDEA=x"),
        format!("Cardea={good}"),
        format!("\u{a0}cardea={good}"),
        format!("cardea=x, cardea={good}"),
        format!("__Host-cardea={good}"),
        "cardea={};;;=;cardea[]=1".into(),
    ] {
        for by in ["nginx", "traefik", "envoy"] {
            let answer = asked(&house, by, "GET", "app.example", "/reports/x", &[("cookie", &cookie)]);
            assert_eq!(answer.status, 401, "{by} {cookie}");
            assert!(answer.all("cardea-user").is_empty());
        }
    }
    assert_eq!(
        asked(&house, "envoy", "GET", "app.example", "/reports/x", &[("cookie", &with(&good))]).status,
        200
    );
}

#[test]
fn proxy_12_the_cookies_without_ours_are_answered() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    for (cookie, rest) in [
        (format!("a=b; cardea={token}; c=d"), "a=b; c=d"),
        (format!("cardea={token}"), ""),
        (format!("cardea-browser=x; cardea={token}; __Host-cardea=y; a=b"), "a=b"),
    ] {
        let answer = asked(&house, "nginx", "GET", "app.example", "/public/x", &[("cookie", &cookie)]);
        assert_eq!((answer.status, answer.all("cookie")), (200, vec![rest]), "{cookie}");
    }
    let own = with(&token);
    let answer = asked(
        &house,
        "nginx",
        "GET",
        "app.example",
        "/x",
        &[("cookie", "a=b"), ("cookie", &own), ("cookie", "c")],
    );
    assert_eq!((answer.status, answer.all("cookie")), (200, vec!["a=b; c"]));
}

#[test]
fn proxy_02_each_proxy_hears_what_it_understands() {
    let house = guarded();
    let (_, ada) = house.signed_in(house.ada, "app.example");
    let (_, bob) = house.signed_in(house.bob, "app.example");
    let (ada, bob) = (with(&ada), with(&bob));
    let start = |to: &str| format!("http://app.example/.cardea/start?to={to}");
    for by in ["traefik", "caddy", "envoy", "nginx/refused"] {
        // A navigation is sent to sign in, by way of the app's own host, and anything else is told.
        let answer = asked(&house, by, "GET", "app.example", "/reports/x?y=1&z", &[HTML]);
        assert_eq!(
            (answer.status, answer.field("location")),
            (302, Some(&*start("%2Freports%2Fx%3Fy%3D1%26z"))),
            "{by}"
        );
        let answer = asked(&house, by, "GET", "app.example", "/mfa/x", &[HTML, ("cookie", &ada)]);
        assert_eq!((answer.status, answer.field("location")), (302, Some(&*start("%2Fmfa%2Fx"))), "{by}");
        for method in ["GET", "POST", "DELETE"] {
            let fields = if method == "GET" { [("accept", "*/*")] } else { [HTML] };
            let answer = asked(&house, by, method, "app.example", "/reports/x", &fields);
            assert_eq!((answer.status, answer.field("location")), (401, None), "{by} {method}");
            assert_eq!(answer.field("www-authenticate"), Some("Cardea"));
            assert!(answer.text().contains("/.cardea/start"));
        }
        let answer = asked(&house, by, "GET", "app.example", "/admin/x", &[HTML, ("cookie", &ada)]);
        assert!(answer.status == 403 && answer.text().contains("<h1"), "{by}: {}", answer.text());
        let answer = asked(&house, by, "GET", "app.example", "/reports/x", &[("cookie", &bob)]);
        assert_eq!((answer.status, answer.json()["status"].as_u64()), (403, Some(403)));
        assert_eq!(asked(&house, by, "GET", "nowhere.example", "/x", &[("cookie", &ada)]).status, 404);
        assert_eq!(asked(&house, by, "GET", "app.example", "/a;b", &[("cookie", &ada)]).status, 400);
    }
    // nginx takes 401 and 403 and no body.
    for (target, fields, status) in [
        ("/reports/x", &[HTML][..], 401),
        ("/reports/x", &[("accept", "*/*")], 401),
        ("/mfa/x", &[HTML, ("cookie", &ada)], 401),
        ("/admin/x", &[HTML, ("cookie", &ada)], 403),
        ("/a;b", &[("cookie", &ada)], 403),
        ("/a//b", &[("cookie", &ada)], 403),
    ] {
        let answer = asked(&house, "nginx", "GET", "app.example", target, fields);
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{target}");
        assert!(answer.field("location").is_none() && answer.field("set-cookie").is_none());
    }
    assert_eq!(asked(&house, "nginx", "GET", "nowhere.example", "/x", &[]).status, 403);
    assert!(house.upstream.seen().is_empty());
}

#[test]
fn what_nginx_asks_twice_is_written_down_once() {
    let house = guarded();
    let (_, bob) = house.signed_in(house.bob, "app.example");
    let bob = with(&bob);
    let known = |reference: &str| {
        let mut count = 0;
        while let Some(event) = house.audited() {
            assert_eq!(event.address.unwrap().to_string(), "203.0.113.7");
            assert_eq!(event.reference.as_deref(), Some(reference));
            count += 1;
        }
        count
    };
    for fields in [&[("cookie", &*bob)][..], &[HTML, ("cookie", &*bob)]] {
        let first = asked(&house, "nginx", "GET", "app.example", "/reports/x", fields);
        let reference = first.field("cardea-decision").unwrap();
        assert_eq!((first.status, known(reference)), (403, 1));
        let again: Vec<_> = fields.iter().copied().chain([("cardea-decision", reference)]).collect();
        let shown = asked(&house, "nginx/refused", "GET", "app.example", "/reports/x", &again);
        assert!(shown.status == 403 && shown.text().contains(reference), "{}", shown.text());
        assert_eq!(known(reference), 0);
        // One that was not made for this session counts for nothing.
        let forged: Vec<_> = fields.iter().copied().chain([("cardea-decision", "D-FORGED")]).collect();
        let shown = asked(&house, "nginx/refused", "GET", "app.example", "/reports/x", &forged);
        assert!(!shown.text().contains("FORGED"));
        assert_eq!(known(shown.field("cardea-decision").unwrap()), 1);
    }
}

#[test]
fn a_yes_is_never_shown_to_the_client_of_nginx() {
    let house = guarded();
    let (_, ada) = house.signed_in(house.ada, "app.example");
    let answer =
        asked(&house, "nginx/refused", "GET", "app.example", "/reports/x", &[HTML, ("cookie", &with(&ada))]);
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert!(answer.fields.iter().all(|(name, _)| !name.starts_with("cardea-") && name != "cookie"));
}

#[test]
fn f5_what_is_asked_must_be_said_once_and_plainly() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    let whole = [
        CLIENT,
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "app.example"),
        ("x-forwarded-uri", "/reports/x"),
        ("cookie", &*cookie),
    ];
    for by in BY_FIELDS {
        let at = format!("/forward-auth/{by}");
        let no = if by == "nginx" { 403 } else { 400 };
        let yes = if by == "nginx/refused" { 503 } else { 200 };
        assert_eq!(put(&house, "GET", &at, &whole).status, yes);
        for missing in 0..4 {
            let mut fields = whole.to_vec();
            let (name, value) = fields.remove(missing);
            assert_eq!(put(&house, "GET", &at, &fields).status, no, "{by} without {name}");
            // What other products call them does not count.
            let others = [
                ("x-original-url", "http://app.example/reports/x"),
                ("x-original-method", "GET"),
                ("x-real-ip", "203.0.113.7"),
                ("forwarded", "for=203.0.113.7;host=app.example"),
                ("x_forwarded_uri", "/reports/x"),
                ("x-rewrite-url", "/reports/x"),
            ];
            fields.extend(others);
            assert_eq!(put(&house, "GET", &at, &fields).status, no, "{by} without {name}");
            if missing > 0 {
                let twice: Vec<_> = whole.iter().copied().chain([(name, value)]).collect();
                assert_eq!(put(&house, "GET", &at, &twice).status, no, "{by} with two {name}");
            }
        }
        for (name, value) in [
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", "203.0.113.7, "),
            ("x-forwarded-for", "203.0.113.7:80"),
            ("x-forwarded-method", "GET, POST"),
            ("x-forwarded-method", "get"),
            ("x-forwarded-method", "CONNECT"),
            ("x-forwarded-method", ""),
            ("x-forwarded-host", "app.example, other.example"),
            ("x-forwarded-host", "user@app.example"),
            ("x-forwarded-host", "app.example/public"),
            ("x-forwarded-host", ""),
            ("x-forwarded-host", "app.example\u{e9}"),
            ("x-forwarded-uri", ""),
            ("x-forwarded-uri", "reports/x"),
            ("x-forwarded-uri", "*"),
            ("x-forwarded-uri", "http://app.example/reports/x"),
            ("x-forwarded-uri", "/reports/x, /public/x"),
            ("x-forwarded-uri", "/reports/x#y"),
            ("x-forwarded-uri", "/reports/\u{e9}"),
        ] {
            let mut fields = whole.to_vec();
            fields.iter_mut().filter(|(known, _)| *known == name).for_each(|field| field.1 = value);
            assert_eq!(put(&house, "GET", &at, &fields).status, no, "{by} {name}: {value}");
        }
    }
    // What the client says of the same kind changes nothing for Envoy, whose path and host are the request's own.
    let fields = [
        ("x-forwarded-uri", "/public/x"),
        ("x-forwarded-host", "nowhere.example"),
        ("x-forwarded-method", "POST"),
        ("x-envoy-original-path", "/public/x"),
    ];
    assert_eq!(asked(&house, "envoy", "GET", "app.example", "/reports/x", &fields).status, 401);
    let without = [("cookie", &*cookie)];
    let answer = Client::connect(house.forward_auth).ask(
        "GET",
        "app.example",
        "/forward-auth/envoy/reports/x",
        &without,
    );
    assert_eq!(answer.status, 400, "no word of the client's address");
}

#[test]
fn f6_proxy_07_nothing_else_a_client_writes_matters() {
    let house = guarded();
    let (_, token) = house.signed_in(house.bob, "app.example");
    let cookie = with(&token);
    let usual = asked(&house, "traefik", "GET", "app.example", "/admin/x", &[HTML]);
    for field in [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/public"),
        ("x-original-url", "/public/x"),
        ("x-original-uri", "/public/x"),
        ("x-rewrite-url", "/public/x"),
        ("x-http-method-override", "OPTIONS"),
        ("forwarded", "for=127.0.0.1;proto=https;host=evil.example"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-server", "evil.example"),
        ("cardea-user", "ada"),
        ("cardea-assertion", "x"),
    ] {
        for by in ["traefik", "envoy"] {
            let answer = asked(&house, by, "GET", "app.example", "/admin/x", &[HTML, field]);
            assert_eq!(
                (answer.status, answer.field("location")),
                (302, usual.field("location")),
                "{field:?}"
            );
            let answer = asked(&house, by, "GET", "app.example", "/admin/x", &[("cookie", &cookie), field]);
            assert_eq!(answer.status, 403, "{field:?}");
            let address = house.audited().unwrap().address.unwrap();
            assert_eq!(address.to_string(), "203.0.113.7", "{field:?}");
        }
    }
}

#[test]
fn proxy_05_a_name_of_ours_in_another_spelling_is_refused() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    for (name, status) in [
        ("Cardea-User", 200),
        ("CARDEA-ASSERTION", 200),
        ("X-Who", 200),
        ("Cardeal", 200),
        ("Cardea_User", 400),
        ("cardea.user", 400),
        ("Cardea--User", 400),
        ("-cardea-user", 400),
        ("Cardea-User-", 400),
        ("cardea_impersonator", 400),
        ("cardea-groups_truncated", 400),
        ("X_Who", 400),
        ("Remote_User", 400),
        // Of a preset that no route uses: no app of ours believes it, and other gateways in front may send it.
        ("Cf-Access-Jwt_Assertion", 200),
    ] {
        for by in ["traefik", "envoy"] {
            let fields = [("cookie", &*cookie), (name, "forged")];
            let answer = asked(&house, by, "GET", "app.example", "/reports/x", &fields);
            assert_eq!(answer.status, status, "{by} {name}");
            assert!(!answer.fields.iter().any(|(_, value)| value.contains("forged")), "{name}");
        }
    }
}

#[test]
fn f8_the_client_is_who_the_asker_saw() {
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let plan = Plan { trusted, ..Plan::default() };
    let house = House::with(Plan {
        routes: Box::new(|_| vec![route("app", "app.example", &[], vec![rule("/*", "needs:reports:admin")])]),
        ..plan
    });
    let (_, token) = house.signed_in(house.ada, "app.example");
    for (said, address) in [
        ("203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("garbage, 203.0.113.7", "203.0.113.7"),
        ("garbage, 10.0.0.1", "10.0.0.1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        let fields = [
            ("x-forwarded-for", said),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "app.example"),
            ("x-forwarded-uri", "/x"),
            ("cookie", &with(&token)),
        ];
        assert_eq!(put(&house, "GET", "/forward-auth/caddy", &fields).status, 403);
        assert_eq!(house.audited().unwrap().address.unwrap().to_string(), address, "{said}");
    }
}

#[test]
fn f5_only_this_machine_and_trusted_proxies_may_ask() {
    let house = guarded();
    let may = |house: &House, peer: &str| admitted(&house.gate, peer.parse().unwrap());
    assert!(may(&house, "127.0.0.1") && may(&house, "::1") && may(&house, "::ffff:127.0.0.1"));
    assert!(!may(&house, "10.0.0.1") && !may(&house, "192.0.2.1") && !may(&house, "::ffff:10.0.0.1"));
    let house = House::with(Plan { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..Plan::default() });
    assert!(may(&house, "10.0.0.1") && may(&house, "::ffff:10.0.0.1") && !may(&house, "11.0.0.1"));
}

#[test]
fn proxy_10_f17_every_spelling_of_a_host_is_one_host() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    for host in ["app.example", "APP.Example", "app.example.", "app.example:8443", "App.EXAMPLE.:80"] {
        for by in ["nginx", "traefik", "envoy"] {
            assert_eq!(
                asked(&house, by, "GET", host, "/reports/x", &[("cookie", &with(&token))]).status,
                200,
                "{host}"
            );
            assert_eq!(
                asked(&house, by, "GET", host, "/admin/x", &[("cookie", &with(&token))]).status,
                403,
                "{host}"
            );
        }
    }
}

#[test]
fn proxy_09_f13_f18_only_what_is_forwarded_unchanged_is_allowed() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    for target in
        ["/reports/x", "/reports/a%20b", "/reports/%C3%A9", "/reports/x?a=%2f..;//&b=%61", "/", "/a/"]
    {
        for by in ["nginx", "caddy", "envoy"] {
            assert_eq!(
                asked(&house, by, "GET", "app.example", target, &[("cookie", &cookie)]).status,
                200,
                "{target}"
            );
        }
    }
    for target in [
        // Another spelling of what may be opened: we cannot put it right.
        "/reports/%78",
        "/%72eports/x",
        "/reports/%c3%a9",
        "/reports/a%7eb",
        "/reports/%41",
        // And what no reading may reach.
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/..%2fadmin/x",
        "/public/..;/admin/x",
        "/public%2f..%2fadmin",
        "/public/%252e%252e/admin",
        "/public\\..\\admin",
        "/public/%5c..%5cadmin",
        "//admin/x",
        "/public//x",
        "/public/x;y",
        "/PUBLIC/x",
        "/Admin/x",
        "/admin./x",
        "/public/%00",
        "/public/%",
        "/public/%zz",
        // Some programs stop reading here, and others do not.
        "/public/x#",
        "/public/x#/../../admin/x",
    ] {
        for by in ["nginx", "caddy", "envoy"] {
            let answer = asked(&house, by, "GET", "app.example", target, &[("cookie", &cookie)]);
            assert!(matches!(answer.status, 400 | 403), "{by} {target}: {}", answer.status);
        }
    }
    // What a route says its upstream reads in one way is not refused for that.
    let (_, token) = house.signed_in(house.ada, "other.example");
    assert_eq!(
        asked(&house, "caddy", "GET", "other.example", "/a//b", &[("cookie", &with(&token))]).status,
        200
    );
}

#[test]
fn proxy_09_f13_generated_targets() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2F"),
        Just("%5c"),
        Just(";"),
        Just("public"),
        Just("admin"),
        Just("Admin"),
        Just("reports"),
        Just("%61dmin"),
        Just("%25"),
        Just("?"),
        Just("a"),
        Just("%C3%A9"),
        Just("%c3%a9"),
        Just("x=1"),
        Just("\\"),
        Just("%00"),
        Just("~"),
        Just("'")
    ];
    let client = RefCell::new(Client::connect(house.forward_auth));
    let (yes, no) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let made = proptest::collection::vec(piece, 0..7).prop_map(|pieces| format!("/{}", pieces.concat()));
    runner
        .run(&made, |target| {
            let fields = [
                CLIENT,
                ("x-forwarded-method", "GET"),
                ("x-forwarded-host", "app.example"),
                ("x-forwarded-uri", &*target),
                ("cookie", &*cookie),
            ];
            let answer = client.borrow_mut().ask("GET", "127.0.0.1", "/forward-auth/caddy", &fields);
            if answer.field("connection") == Some("close") {
                client.replace(Client::connect(house.forward_auth));
            }
            if answer.status == 200 {
                // Allowed: then every byte is what was judged, and nobody's reading of it is below /admin.
                let parsed = Target::parse(&target).expect("readable");
                prop_assert_eq!(&*parsed.forwarded(), &*target);
                let folded = parsed.folded(crate::domain::target::Case::Unknown);
                prop_assert!(folded != "/admin" && !folded.starts_with("/admin/"), "{}", target);
                yes.set(yes.get() + 1);
            } else {
                prop_assert!(matches!(answer.status, 400 | 403 | 404), "{}: {}", target, answer.status);
                no.set(no.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(yes.get() > 50 && no.get() > 500, "{yes:?} allowed, {no:?} refused");
}

#[test]
fn c25_f21_one_check_of_the_session_in_every_mode() {
    let house = guarded();
    let (session, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    let ask = || asked(&house, "nginx", "GET", "app.example", "/reports/x", &[("cookie", &cookie)]).status;
    assert_eq!(ask(), 200);
    // A role that changes counts from the next question on.
    house.let_analysts_read(false);
    while ask() != 403 {
        pause(10);
    }
    house.let_analysts_read(true);
    while ask() != 200 {
        pause(10);
    }
    let visit = house.visit();
    let ending =
        house.gate.sessions.end(session, crate::domain::Actor::User(house.ada), "signed out", &visit);
    house.runtime.block_on(ending).unwrap();
    assert_eq!(ask(), 401);
    // One that ran out is none.
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    assert_eq!(
        asked(&house, "envoy", "GET", "app.example", "/reports/x", &[("cookie", &cookie)]).status,
        200
    );
    house.advance(Span::minutes(61));
    assert_eq!(
        asked(&house, "envoy", "GET", "app.example", "/reports/x", &[("cookie", &cookie)]).status,
        401
    );
}

#[test]
fn proxy_03_nobody_is_recognised_while_storage_is_away() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    house.lease.store(false, Ordering::Relaxed);
    house.clock.advance(Span::seconds(30));
    for by in ["nginx", "nginx/refused", "traefik", "envoy"] {
        let answer = asked(&house, by, "GET", "app.example", "/reports/x", &[("cookie", &cookie)]);
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")), "{by}");
    }
    assert_eq!(asked(&house, "nginx", "GET", "app.example", "/public/x", &[]).status, 200);
}

#[test]
fn what_is_not_decided_here_is_refused() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "ours.example");
    let cookie = with(&token);
    for (host, target) in [
        ("ours.example", "/x"),
        ("access.example", "/apps"),
        ("app.example", "/.cardea/whoami"),
        ("app.example", "/.cardea"),
        ("nowhere.example", "/"),
    ] {
        for by in ["traefik", "envoy"] {
            assert_eq!(
                asked(&house, by, "GET", host, target, &[("cookie", &cookie)]).status,
                404,
                "{host}{target}"
            );
        }
        assert_eq!(asked(&house, "nginx", "GET", host, target, &[("cookie", &cookie)]).status, 403);
    }
    // There are these addresses and no others, and none of them at the front.
    for at in [
        "/",
        "/forward-auth",
        "/forward-auth/",
        "/forward-auth/apache",
        "/forward-auth/nginx/",
        "/forward-auth/envoyx",
        "/forward-auth/envoy",
        "/.cardea/whoami",
        "/metrics",
        "/sign-in",
    ] {
        assert_eq!(put(&house, "GET", at, &[CLIENT]).status, 404, "{at}");
    }
    let fields = [
        CLIENT,
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "ours.example"),
        ("x-forwarded-uri", "/"),
        ("cookie", &*cookie),
    ];
    let answer = house.ask("GET", "ours.example", "/forward-auth/traefik", &fields);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "an app's own path like any other");
    assert!(answer.field("cardea-user").is_none());
}

#[test]
fn a_guarded_route_is_answered_at_the_front_below_our_own_path_only() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    for target in ["/reports/x", "/public/x", "/"] {
        let answer = house.get(target, &token);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (404, Some("guarded-elsewhere")),
            "{target}"
        );
    }
    let who = house.get("/.cardea/whoami", &token);
    assert_eq!((who.status, who.json()["username"].as_str()), (200, Some("ada")));
    let start = house.ask("GET", "app.example", "/.cardea/start?to=%2Freports%2Fx", &[HTML]);
    assert!(
        start.status == 302
            && start.field("location").unwrap().starts_with("http://access.example/sign-in?return_to=")
    );
    assert!(house.upstream.seen().is_empty());
}

#[test]
fn proxy_14_a_websocket_is_opened_by_the_apps_own_pages_whoever_forwards_it() {
    let house = guarded();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = with(&token);
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let ask = |by: &str, more: &[(&str, &str)]| {
        let fields = [&[("cookie", cookie.as_str()), key], more].concat();
        asked(&house, by, "GET", "app.example", "/chat", &fields).status
    };
    for by in ["nginx", "traefik", "caddy", "envoy"] {
        assert_eq!(ask(by, &[("origin", "http://app.example")]), 200, "{by}");
        assert_eq!(ask(by, &[]), 200, "{by}: a program");
        for foreign in ["http://evil.example", "https://app.example", "null", "http://app.example.evil"] {
            assert_eq!(ask(by, &[("origin", foreign)]), 403, "{by}: {foreign}");
        }
        assert_eq!(ask(by, &[("sec-fetch-mode", "websocket")]), 403, "{by}: a browser that hides where");
    }
    // What is no handshake is another matter: that is for the app.
    let fields = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    assert_eq!(asked(&house, "caddy", "GET", "app.example", "/chat", &fields).status, 200);
}
