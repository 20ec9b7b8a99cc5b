//! Who gets in, who is sent where, and what is written down about it.

use std::sync::atomic::Ordering;

use super::house::{Answer, Client, House, Plan, log, pause, route, rule, usual};
use crate::domain::{Actor, Origin, Place, Span, Status};
use crate::session::return_to;
use crate::store::{grants, users};
use crate::sys::Clock as _;

const HTML: (&str, &str) = ("accept", "text/html");

fn sealed(answer: &Answer) -> String {
    let to = answer.field("location").unwrap();
    to.strip_prefix("http://access.example/sign-in?return_to=").unwrap().to_owned()
}

#[test]
fn proxy_02_default_is_no() {
    let house = House::new();
    let (_, bob) = house.signed_in(house.bob, "app.example");
    let (_, ada) = house.signed_in(house.ada, "app.example");
    let cookie = |token: &str| format!("cardea={token}");
    for (host, target, token, status) in [
        ("app.example", "/reports/x", "", 401),
        ("app.example", "/open/x", "", 401),
        ("app.example", "/", "", 403),
        ("app.example", "/reportsx", "", 403),
        ("other.example", "/", "", 404),
        ("app.example.evil", "/reports/x", "", 404),
        ("app.example", "/reports/x", &bob, 403),
        ("app.example", "/open/x", &bob, 403),
        ("app.example", "/admin/x", &ada, 403),
        ("app.example", "/", &ada, 403),
        ("app.example", "/mfa/x", &ada, 401),
    ] {
        let cookie = cookie(token);
        let fields: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("cookie", &cookie)] };
        assert_eq!(house.ask("GET", host, target, fields).status, status, "{host}{target}");
    }
    assert!(house.upstream.seen().is_empty());
    assert_eq!(house.get("/reports/x", &ada).status, 200);
    assert_eq!(house.get("/staff/x", &ada).status, 200);
}

#[test]
fn proxy_01_a_permit_is_forwarded_with_identity_once() {
    let house = House::new();
    let (session, token) = house.signed_in(house.ada, "app.example");
    let answer = house.get("/reports/a?b=%2F..;", &token);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let seen = house.upstream.last();
    assert_eq!(seen.line, "GET /reports/a?b=%2F..; HTTP/1.1");
    assert_eq!(seen.one("host"), "app.example");
    assert_eq!(seen.one("cardea-user"), house.ada.to_string());
    assert_eq!(seen.one("cardea-username"), "ada");
    assert_eq!(seen.one("cardea-email"), "ada@acme.example");
    assert_eq!(seen.one("cardea-name"), "Ada%20L%C3%B6velace");
    assert_eq!(seen.one("cardea-groups"), "staff");
    assert_eq!(seen.one("cardea-roles"), "analyst@acme");
    assert_eq!(seen.one("cardea-tenant"), "acme");
    assert_eq!(seen.one("cardea-auth"), "pwd");
    assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.one("x-forwarded-proto"), "http");
    assert_eq!(seen.one("x-forwarded-host"), "app.example");
    assert_eq!(seen.one("cardea-request-id").len(), 36);
    assert!(
        seen.all("cookie").is_empty()
            && seen.all("connection").is_empty()
            && seen.all("content-length").is_empty()
    );
    let assertion = seen.one("cardea-assertion");
    let claims = house.verified(assertion);
    assert_eq!(claims["sub"], house.ada.to_string());
    assert_eq!(claims["sid"], session.to_string());
}

#[test]
fn sess_12_proxy_02_forged_cookies_are_nobody() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (_, elsewhere) = house.signed_in(house.ada, "other.example");
    let mut changed = token.clone();
    changed.replace_range(5..6, if &token[5..6] == "A" { "B" } else { "A" });
    for cookie in [
        format!("cardea={changed}"),
        format!("cardea={elsewhere}"),
        format!("cardea={}", &token[1..]),
        format!("cardea={token}x"),
        format!("cardea=\"{token}\""),
        format!("Cardea={token}"),
        format!("__Host-cardea={token}"),
        format!("cardea={token}; cardea={token}"),
        format!("cardea={token}; cardea={elsewhere}"),
        format!("\u{a0}cardea={token}"),
        format!("cardea={}", "A".repeat(64)),
        format!("cardea={}", "A".repeat(20_000)),
        "cardea=".to_owned(),
    ] {
        let answer = house.ask("GET", "app.example", "/reports/x", &[("cookie", &cookie)]);
        assert_eq!(answer.status, 401, "{cookie}");
    }
    assert!(house.upstream.seen().is_empty());
    let beside = format!("a=b; cardea={token}; __Host-cardea-browser=x; c=d");
    assert_eq!(
        house.ask("GET", "app.example", "/reports/x", &[("cookie", &beside), ("cookie", "e=f")]).status,
        200
    );
    assert_eq!(house.upstream.last().all("cookie"), ["a=b; c=d", "e=f"]);
}

#[test]
fn proxy_05_forged_identity_never_arrives_also_on_public_rules() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    let forged = [
        ("cookie", cookie.as_str()),
        ("Cardea-User", "forged"),
        ("cardea_user", "forged"),
        ("CARDEA.USER", "forged"),
        ("Cardea--User", "forged"),
        ("X-Forwarded-User", "forged"),
        ("Remote-User", "forged"),
        ("X-Authentik-Uid", "forged"),
        ("Cardea-Assertion", "forged"),
        ("Cardea-Request-Id", "forged"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "forged"),
        ("X-Forwarded-Host", "forged"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Original-URL", "/forged"),
        ("Connection", "cardea-user, cardea-assertion, x-forwarded-for, cardea-request-id, Cardea_Email"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    for (target, identity) in [("/reports/x", 1), ("/public/x", 0)] {
        assert_eq!(house.ask("GET", "app.example", target, &forged).status, 200);
        let seen = house.upstream.last();
        assert!(
            !seen.fields.iter().any(|(_, value)| value.contains("forged") || value.contains("6.6.6.6")),
            "{seen:?}"
        );
        for name in ["cardea-user", "cardea-assertion", "cardea-email"] {
            assert_eq!(seen.all(name).len(), identity, "{name}");
        }
        assert_eq!((seen.one("x-forwarded-for"), seen.one("cardea-request-id").len()), ("127.0.0.1", 36));
        assert_eq!(seen.one("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(seen.all("cookie").is_empty());
    }
}

#[test]
fn proxy_07_forwarded_for_of_a_trusted_proxy() {
    let house = House::with(Plan { trusted: vec!["127.0.0.0/8".parse().unwrap()], ..Plan::default() });
    for (line, seen) in
        [("203.0.113.7", "203.0.113.7"), ("6.6.6.6, 203.0.113.7", "203.0.113.7"), ("garbage", "127.0.0.1")]
    {
        house.ask(
            "GET",
            "app.example",
            "/public/x",
            &[("x-forwarded-for", line), ("x-forwarded-proto", "https")],
        );
        let recorded = house.upstream.last();
        assert_eq!(recorded.one("x-forwarded-for"), seen);
        assert_eq!(recorded.one("x-forwarded-proto"), "http");
    }
}

#[test]
fn navigations_are_sent_to_sign_in_and_nothing_else_is() {
    let house = House::new();
    let answer = house.ask("GET", "app.example", "/reports/x?y=1", &[HTML]);
    assert_eq!((answer.status, answer.field("cache-control")), (302, Some("no-store")));
    let cookie = answer.field("set-cookie").unwrap().to_owned();
    assert!(
        cookie.starts_with("cardea-browser=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let handle = cookie.strip_prefix("cardea-browser=").unwrap().split(';').next().unwrap().to_owned();
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert_eq!(to.url, "http://app.example/reports/x?y=1");
    assert_eq!(Some(to.browser), crate::crypto::token::handle_digest(&handle));
    assert!(!to.again && !to.second);

    // A browser that has its cookie keeps it.
    let mine = format!("cardea-browser={handle}");
    let answer = house.ask("GET", "app.example", "/reports/x", &[HTML, ("cookie", &mine)]);
    assert_eq!((answer.status, answer.all("set-cookie").len()), (302, 0));
    let again = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert_eq!(again.browser, to.browser);

    for (method, fields) in [
        ("POST", vec![HTML, ("content-length", "0")]),
        ("GET", vec![("accept", "*/*")]),
        ("GET", vec![HTML, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]),
        ("GET", vec![HTML, ("purpose", "prefetch")]),
        ("PUT", vec![("content-length", "0")]),
        ("OPTIONS", vec![("origin", "http://evil.example"), ("access-control-request-method", "POST")]),
    ] {
        let answer = house.ask(method, "app.example", "/reports/x", &fields);
        assert_eq!(answer.status, 401, "{method} {fields:?}");
        assert!(answer.field("location").is_none() && answer.field("set-cookie").is_none());
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        if fields.contains(&HTML) {
            assert!(answer.text().contains("http://app.example/.cardea/start?to=/"), "{}", answer.text());
            assert!(!answer.text().contains("The app"), "the title is for members");
        } else {
            assert_eq!(answer.field("content-type"), Some("application/problem+json"));
            assert_eq!(answer.json()["sign_in_url"], "http://app.example/.cardea/start?to=/");
        }
    }
    assert!(house.audited().is_none(), "being asked to sign in is no refusal");
}

#[test]
fn proxy_16_redirects_are_built_from_configuration() {
    let house = House::new();
    let fields = [
        HTML,
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example"),
    ];
    let answer = house.ask("GET", "App.Example.:8443", "/reports/x", &fields);
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert_eq!(to.url, "http://app.example/reports/x");
    // Too long to carry: the app's front page instead.
    let answer = house.ask("GET", "app.example", &format!("/reports/{}", "x".repeat(3000)), &[HTML]);
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert_eq!(to.url, "http://app.example/");
}

#[test]
fn mfa_09_step_up_is_asked_for_and_satisfied_by_the_session() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    let answer = house.ask("GET", "app.example", "/mfa/x", &[HTML, ("cookie", &cookie)]);
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert!(to.second && !to.again && to.fresh.is_none());
    assert_eq!(house.get("/mfa/x", &token).json()["code"], "step-up");
    let (_, strong) = house.signed_in_with(house.ada, "app.example", true);
    assert_eq!(house.get("/mfa/x", &strong).status, 200);
    assert_eq!(house.upstream.last().one("cardea-auth"), "pwd+totp");
    assert_eq!(house.get("/old/x", &strong).status, 200);
    house.advance(Span::minutes(55));
    assert_eq!(house.get("/old/x", &strong).status, 200);
    house.advance(Span::minutes(6));
    let cookie = format!("cardea={strong}");
    let answer = house.ask("GET", "app.example", "/old/x", &[HTML, ("cookie", &cookie)]);
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    assert!(to.again && !to.second);
}

#[test]
fn a_refusal_says_what_is_lacking_and_is_written_down() {
    let house = House::new();
    let (session, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    let answer = house.get("/admin/x", &token);
    assert_eq!((answer.status, answer.field("content-type")), (403, Some("application/problem+json")));
    let problem = answer.json();
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some("needs"), Some(403)));
    assert_eq!(problem["detail"], "You need the permission reports:admin.");
    let event = house.audited().unwrap();
    assert_eq!(event.action, "access.denied");
    assert_eq!(event.reference.as_deref(), problem["decision"].as_str());
    assert_eq!((event.session, event.actor.clone()), (Some(session), Actor::User(house.ada)));
    assert_eq!(event.target, Some(("route", "app".to_owned())));
    assert!(
        event.detail["clauses"].as_str().unwrap().contains("reports:admin at acme"),
        "{:?}",
        event.detail
    );
    assert!(event.detail["rule"].as_str().unwrap().starts_with("3 "));

    let answer = house.ask("GET", "app.example", "/admin/x", &[HTML, ("cookie", &cookie)]);
    assert_eq!(answer.status, 403);
    let text = answer.text();
    assert!(
        text.contains("The app")
            && text.contains("You need the permission reports:admin.")
            && text.contains("Ask Lin."),
        "{text}"
    );
    let reference = house.audited().unwrap().reference.unwrap();
    assert!(text.contains(&reference));
    // Shown again to its own session, and to no other.
    let again = |token: &str| {
        house.ask(
            "GET",
            "app.example",
            &format!("/.cardea/denied?d={reference}"),
            &[HTML, ("cookie", &format!("cardea={token}"))],
        )
    };
    let answer = again(&token);
    assert!(answer.status == 403 && answer.text().contains(&reference));
    let (_, other) = house.signed_in(house.ada, "app.example");
    assert_eq!(again(&other).status, 404);
    assert_eq!(again("").status, 404);
}

#[test]
fn strangers_learn_nothing_of_a_route() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let mut quiet = usual(upstream);
            quiet.explain_refusals = false;
            vec![quiet]
        }),
        ..Plan::default()
    });
    let (_, bob) = house.signed_in(house.bob, "app.example");
    let answer = house.ask("GET", "app.example", "/staff/x", &[HTML, ("cookie", &format!("cardea={bob}"))]);
    assert_eq!(answer.status, 403);
    // The address is what bob asked for, and comes back to him for another try with another account.
    let text = answer.text().replace("?to=%2Fstaff%2Fx", "");
    for word in ["The app", "Ask Lin", "acme", "staff"] {
        assert!(!text.contains(word), "{word}");
    }
    let problem = house.get("/staff/x", &bob).json();
    assert_eq!(
        (problem["code"].as_str(), problem["detail"].as_str()),
        (Some("denied"), Some("You are not allowed to open it with this account."))
    );
    assert_eq!(house.audited().unwrap().detail["code"], "tenant");
}

#[test]
fn anonymous_refusals_do_not_flood_the_log() {
    let house = House::new();
    let mut client = house.connect();
    for _ in 0..200 {
        assert_eq!(client.ask("GET", "app.example", "/nothing", &[]).status, 403);
    }
    let recorded = std::iter::from_fn(|| house.audited()).count();
    assert!((1..=40).contains(&recorded), "{recorded}");
}

#[test]
fn proxy_26_f21_a_revocation_between_two_pipelined_requests() {
    let house = House::new();
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    let request = format!("GET /reports/x HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n");
    client.send(request.as_bytes());
    assert_eq!(client.answer(false).status, 200);
    house.runtime.block_on(house.gate.sessions.end(session, Actor::System, "test", &house.visit())).unwrap();
    client.send(request.as_bytes());
    assert_eq!(client.answer(false).status, 401);
    assert_eq!(house.upstream.count(), 1);

    // The same within one write: the first holds the second back until the session has ended.
    let (session, token) = house.signed_in(house.ada, "app.example");
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    house.upstream.behave(move |_, stream, _| {
        wait.lock().unwrap().recv().unwrap();
        super::house::reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let request = format!("GET /reports/x HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n");
    client.send(request.repeat(2).as_bytes());
    while house.upstream.count() < 2 {
        pause(5);
    }
    house.runtime.block_on(house.gate.sessions.end(session, Actor::System, "test", &house.visit())).unwrap();
    go.send(()).unwrap();
    assert_eq!((client.answer(false).status, client.answer(false).status), (200, 401));
    assert_eq!(house.upstream.count(), 2);
}

#[test]
fn proxy_26_f22_roles_and_accounts_count_from_the_next_request_on() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    let cookie = format!("cardea={token}");
    let mut status = |target| client.ask("GET", "app.example", target, &[("cookie", &cookie)]).status;
    assert_eq!((status("/reports/x"), status("/staff/x")), (200, 200));
    let now = house.clock.now();
    house.runtime.block_on(async {
        let mut tx = house.db.begin().await.unwrap();
        let given = grants::assignments_of(&mut tx, house.ada).await.unwrap();
        assert!(
            grants::revoke(&mut tx, house.ada, given[0].role, Place::Tenant(house.acme), &Origin::Manual)
                .await
                .unwrap()
        );
        tx.commit(now).await.unwrap();
    });
    assert_eq!((status("/reports/x"), status("/staff/x")), (403, 200));
    house.runtime.block_on(async {
        let mut tx = house.db.begin().await.unwrap();
        users::set_status(&mut tx, house.ada, Status::Inactive, None).await.unwrap();
        tx.commit(now).await.unwrap();
    });
    assert_eq!((status("/reports/x"), status("/staff/x")), (401, 401));
    assert_eq!(house.upstream.count(), 3);
}

#[test]
fn f21_f22_a_session_looked_up_while_roles_change_is_built_from_the_new_ones() {
    let house = House::new();
    let mut allowed = true;
    for round in 0..60 {
        // Cold on purpose: the look-up and the change race.
        let (_, token) = house.signed_in(house.ada, "app.example");
        let (address, cookie) = (house.address, format!("cardea={token}"));
        let racing = std::thread::spawn({
            let cookie = cookie.clone();
            move || {
                Client::connect(address)
                    .ask("GET", "app.example", "/reports/x", &[("cookie", &cookie)])
                    .status
            }
        });
        allowed = !allowed;
        house.let_analysts_read(allowed);
        let expected = if allowed { 200 } else { 403 };
        assert_eq!(house.get("/reports/x", &token).status, expected, "in round {round}");
        assert!(matches!(racing.join().unwrap(), 200 | 403));
        assert_eq!(house.get("/reports/x", &token).status, expected, "after round {round}");
    }
}

#[test]
fn nothing_that_opens_anything_is_logged() {
    let house = House::new();
    let (session, _) = house.signed_in(house.ada, "access.example");
    let answer = house.ask("GET", "app.example", "/reports/x?q=secret-query", &[HTML]);
    let cookie = answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let to = return_to::open(&house.keys, &sealed(&answer), house.clock.now()).unwrap();
    let visit = house.visit();
    let handing = house.gate.sessions.hand_off(session, to.host(), &to.browser, to.path(), &visit);
    let code = house.runtime.block_on(handing).unwrap();
    let callback = format!("/.cardea/callback?code={}", code.expose());
    let set = house.ask("GET", "app.example", &callback, &[HTML, ("cookie", &cookie)]);
    let token = set.field("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!(house.get("/reports/log-this-path?q=secret-query", &token).status, 200);
    let invitation = "i".repeat(43);
    house.ask("GET", "access.example", &format!("/invite/{invitation}"), &[]);
    let assertion = house.upstream.last().one("cardea-assertion").to_owned();
    let handle = cookie.split_once('=').unwrap().1.to_owned();
    drop(house);
    let log = log();
    assert!(
        log.contains("/reports/log-this-path")
            && log.contains(&session.to_string())
            && log.contains("/invite/*")
    );
    for secret in [&token, &handle, &assertion, &invitation, code.expose(), "secret-query", &sealed(&answer)]
    {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn proxy_03_without_storage_nobody_is_recognised() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (_, cold) = house.signed_in(house.ada, "app.example");
    assert_eq!(house.get("/reports/x", &token).status, 200);
    house.runtime.block_on(house.db.close());
    // Warm ones go on while the lease holds; whoever must be looked up is not let in.
    assert_eq!(house.get("/reports/x", &token).status, 200);
    assert_eq!(house.get("/reports/x", &cold).status, 503);
    assert_eq!(house.get("/public/x", &cold).status, 200);
    house.lease.store(false, Ordering::Relaxed);
    house.clock.advance(Span::seconds(30));
    for token in [&token, &cold, &String::new()] {
        let answer = house.get("/reports/x", token);
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")));
        assert_eq!(house.get("/nothing", token).status, 503);
        assert_eq!(house.get("/.cardea/whoami", token).status, 503);
    }
    assert_eq!(house.get("/public/x", &token).status, 200);
    assert_eq!(house.upstream.seen().iter().filter(|seen| seen.line.contains("reports")).count(), 2);
}

#[test]
fn proxy_09_proxy_11_ambiguous_addresses_reach_nothing() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let rules = vec![rule("/admin/*", "needs:reports:admin"), rule("/*", "public")];
            let mut lenient = route("lenient", "lenient.example", &[upstream], vec![rule("/*", "public")]);
            lenient.unusual = crate::domain::target::Unusual::SEMICOLON;
            vec![route("app", "app.example", &[upstream], rules), lenient]
        }),
        ..Plan::default()
    });
    let (_, token) = house.signed_in(house.ada, "app.example");
    for target in [
        "/ADMIN/x",
        "/Admin",
        "/admin./x",
        "//admin/x",
        "/x/../admin/x",
        "/./admin/x",
        "/%61dmin/../admin",
        "/admin%2fx",
        "/admin%2Fx",
        "/%2e%2e/admin",
        "/x/..%2fadmin",
        "/x%2f..%2fadmin",
        "/admin;x/y",
        "/admin%3bx",
        "/x/..;/admin",
        "/admin%00",
        "/admin%0a",
        "/admin%5cx",
        "/admin%252fx",
        "/%2561dmin/x",
        "/%ef%bc%8fadmin",
        "/admin%ff",
        "/admin%",
        "/admin%zz",
        "/admin%20/x",
        "/ admin",
        "/admin\u{e9}",
    ] {
        let answer = house.get(target, &token);
        assert!(matches!(answer.status, 400 | 403), "{target}: {}", answer.status);
    }
    assert!(house.upstream.seen().is_empty(), "{:?}", house.upstream.seen());
    assert_eq!(house.get("/%61dmin/x", &token).status, 403);
    let answer = house.ask("GET", "app.example", "/x;y", &[HTML]);
    assert!(
        answer.status == 400 && answer.text().contains("unusual_paths = [&#34;semicolon&#34;]"),
        "{}",
        answer.text()
    );
    assert_eq!(house.ask("GET", "lenient.example", "/x;y", &[]).status, 200);
    assert_eq!(house.upstream.last().line, "GET /x;y HTTP/1.1");
}

#[test]
fn proxy_10_f17_hosts_fold() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    for (host, seen) in [
        ("APP.Example", "app.example"),
        ("app.example.", "app.example"),
        ("App.Example.:8600", "app.example:8600"),
    ] {
        assert_eq!(house.ask("GET", host, "/reports/x", &[("cookie", &cookie)]).status, 200, "{host}");
        assert_eq!(house.upstream.last().one("host"), seen);
        assert_eq!(house.upstream.last().one("x-forwarded-host"), "app.example");
    }
}

#[test]
fn peers_that_are_no_trusted_proxies_are_turned_away() {
    // Loopback is this machine and always may; the rest is asked of the function that decides it.
    let house = House::with(Plan {
        settings: crate::proxy::Settings { trusted_peers_only: true, ..crate::proxy::Settings::default() },
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        ..Plan::default()
    });
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 200);
    for (peer, may) in [
        ("10.1.2.3", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("192.0.2.1", false),
        ("::ffff:10.0.0.1", true),
    ] {
        assert_eq!(crate::proxy::serve::admitted(&house.gate, peer.parse().unwrap()), may, "{peer}");
    }
}

#[test]
fn f13_an_app_under_another_path_hears_its_own() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let rules = || vec![rule("/wiki/admin/*", "needs:reports:admin"), rule("/wiki/*", "signed-in")];
            let mut wiki = route("wiki", "app.example", &[upstream], rules());
            (wiki.prefix, wiki.rewrite) = ("/wiki".to_owned(), Some("/docs".to_owned()));
            let mut shut = route("shut", "shut.example", &[upstream], vec![rule("/*", "signed-in")]);
            shut.maintenance = Some("Back at 14:00.".to_owned());
            vec![wiki, shut]
        }),
        ..Plan::default()
    });
    let (_, token) = house.signed_in(house.ada, "app.example");
    for (asked, heard) in [("/wiki/a?b=/wiki", "/docs/a?b=/wiki"), ("/wiki", "/docs")] {
        assert_eq!(house.get(asked, &token).status, 200, "{asked}");
        assert_eq!(house.upstream.last().line, format!("GET {heard} HTTP/1.1"));
    }
    let before = house.upstream.count();
    for (asked, status) in [("/wiki/admin/x", 403), ("/wiki/../docs", 400), ("/docs/a", 404), ("/wikix", 404)]
    {
        assert_eq!(house.get(asked, &token).status, status, "{asked}");
    }
    // And one that is being worked on answers everybody, and hears nothing.
    for fields in [&[][..], &[HTML]] {
        let answer = house.ask("GET", "shut.example", "/x", fields);
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("120")));
        assert!(answer.text().contains("Back at 14:00."), "{}", answer.text());
    }
    assert_eq!(house.upstream.count(), before);
}
