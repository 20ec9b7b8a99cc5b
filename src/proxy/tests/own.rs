//! Our own paths on the hosts of apps, and the way to the portal.

use super::house::{Answer, House, Plan, pause, route, rule, usual};
use crate::domain::{SessionId, Span};
use crate::session::return_to;
use crate::sys::Clock as _;

const HTML: (&str, &str) = ("accept", "text/html");
const PAGE: &str = "text/html; charset=utf-8";

/// A browser: keeps cookies.
struct Browser<'a> {
    house: &'a House,
    host: &'static str,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    fn new(house: &'a House, host: &'static str) -> Self {
        Self { house, host, cookies: Vec::new() }
    }

    fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let cookies =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut fields = fields.to_vec();
        if !cookies.is_empty() {
            fields.push(("cookie", &cookies));
        }
        let answer = self.house.ask(method, self.host, target, &fields);
        for set in answer.all("set-cookie") {
            assert!(
                set.contains("; Path=/") && set.contains("; HttpOnly") && set.contains("; SameSite=Lax"),
                "{set}"
            );
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    fn go(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &[HTML])
    }

    /// Signs in as the portal would, and gives the address of the callback.
    fn hand_off(&mut self, target: &str, session: SessionId) -> String {
        let answer = self.go(target);
        assert_eq!(answer.status, 302);
        let sealed = answer.field("location").unwrap().split_once("return_to=").unwrap().1.to_owned();
        let to = return_to::open(&self.house.keys, &sealed, self.house.clock.now()).unwrap();
        let visit = self.house.visit();
        let handing = self.house.gate.sessions.hand_off(session, to.host(), &to.browser, to.path(), &visit);
        let code = self.house.runtime.block_on(handing).unwrap();
        format!("/.cardea/callback?code={}", code.expose())
    }
}

#[test]
fn sess_16_a_hand_off_signs_a_browser_in_once() {
    let house = House::new();
    let (session, _) = house.signed_in(house.ada, "access.example");
    let mut browser = Browser::new(&house, "app.example");
    let callback = browser.hand_off("/reports/x?y=1", session);

    // Another browser, with a cookie of its own or with none.
    let mut other = Browser::new(&house, "app.example");
    let stolen = browser.hand_off("/reports/x", session);
    assert_eq!(other.go("/reports/x").status, 302);
    let answer = other.go(&stolen);
    assert!(
        answer.status == 400
            && answer.text().contains("Start again")
            && answer.text().contains("/.cardea/start?to=/"),
        "{}",
        answer.text()
    );
    assert_eq!(browser.go(&stolen).status, 400, "spent, although it was refused");
    let carried = browser.hand_off("/reports/x", session);
    let answer = Browser::new(&house, "app.example").go(&carried);
    assert!(
        answer.status == 400
            && answer.text().contains("did not keep our cookie")
            && answer.text().contains("app.example"),
        "{}",
        answer.text()
    );

    // HEAD spends nothing.
    assert_eq!(browser.ask("HEAD", &callback, &[HTML]).status, 405);
    let answer = browser.go(&callback);
    assert_eq!((answer.status, answer.field("location")), (303, Some("http://app.example/reports/x?y=1")));
    assert_eq!(
        (answer.field("cache-control"), answer.field("referrer-policy")),
        (Some("no-store"), Some("no-referrer"))
    );
    assert_eq!(browser.go("/reports/x?y=1").status, 200);
    let assertion = house.upstream.last().one("cardea-assertion").to_owned();
    assert_eq!(house.verified(&assertion)["sid"], session.to_string());
    assert_eq!(browser.go(&callback).status, 400, "a second time it is nothing");

    // Too late.
    let late = browser.hand_off("/.cardea/start?to=/reports/y", session);
    house.advance(Span::seconds(31));
    assert_eq!(browser.go(&late).status, 400);
    for nothing in [
        "/.cardea/callback",
        "/.cardea/callback?code=",
        "/.cardea/callback?code=x&code=y",
        "/.cardea/callback?code=%00",
    ] {
        assert_eq!(browser.go(nothing).status, 400, "{nothing}");
    }
}

#[test]
fn sess_16_a_code_for_another_host_is_nothing() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            vec![usual(upstream), route("b", "b.example", &[upstream], vec![rule("/*", "signed-in")])]
        }),
        ..Plan::default()
    });
    let (session, _) = house.signed_in(house.ada, "access.example");
    let mut browser = Browser::new(&house, "app.example");
    let callback = browser.hand_off("/reports/x", session);
    browser.host = "b.example";
    let answer = browser.go(&callback);
    assert_eq!((answer.status, answer.all("set-cookie").len()), (400, 0));
}

#[test]
fn f9_nobody_is_sent_to_another_host() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let mut loose = route("loose", "loose.example", &[upstream], vec![rule("/*", "signed-in")]);
            loose.unusual = crate::domain::target::Unusual::DOUBLE_SLASH;
            vec![loose]
        }),
        ..Plan::default()
    });
    let (session, _) = house.signed_in(house.ada, "access.example");
    let mut browser = Browser::new(&house, "loose.example");
    let callback = browser.hand_off("//evil.example/x", session);
    assert_eq!(browser.go(&callback).field("location"), Some("http://loose.example//evil.example/x"));
    for (to, url) in [
        ("/a?b%3Dc", "http://loose.example/a?b=c"),
        ("https://evil.example/", "http://loose.example/"),
        ("/%5cevil", "http://loose.example/"),
        ("%2F..%2Fx", "http://loose.example/"),
        ("/.cardea/start", "http://loose.example/"),
        ("", "http://loose.example/"),
    ] {
        let answer = Browser::new(&house, "loose.example").go(&format!("/.cardea/start?to={to}"));
        let sealed = answer.field("location").unwrap().split_once("return_to=").unwrap().1;
        assert_eq!(return_to::open(&house.keys, sealed, house.clock.now()).unwrap().url, url, "{to}");
    }
}

#[test]
fn whoami_tells_people_about_themselves() {
    let house = House::new();
    let answer = house.ask("GET", "app.example", "/.cardea/whoami", &[]);
    assert_eq!((answer.status, answer.field("cache-control")), (401, Some("no-store")));
    assert_eq!(answer.json()["signed_in"], false);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let answer = house.get("/.cardea/whoami", &token);
    let me = answer.json();
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    assert_eq!(
        (me["username"].as_str(), me["email"].as_str(), me["tenant"].as_str()),
        (Some("ada"), Some("ada@acme.example"), Some("acme"))
    );
    assert_eq!((me["roles"][0].as_str(), me["groups"][0].as_str()), (Some("analyst@acme"), Some("staff")));
    let (_, bob) = house.signed_in(house.bob, "app.example");
    let me = house.get("/.cardea/whoami", &bob).json();
    assert!(me["email"].is_null() && me["tenant"].is_null(), "an unverified address is no fact: {me}");
    assert_eq!(house.ask("POST", "app.example", "/.cardea/whoami", &[("content-length", "0")]).status, 405);
    assert!(house.upstream.seen().is_empty());
}

#[test]
fn sess_06_signing_out_asks_and_ends_the_whole_session() {
    let house = House::new();
    let (session, _) = house.signed_in(house.ada, "access.example");
    let mut browser = Browser::new(&house, "app.example");
    let callback = browser.hand_off("/reports/x", session);
    assert_eq!(browser.go(&callback).status, 303);
    let answer = browser.go("/.cardea/sign-out");
    assert!(
        answer.status == 200 && answer.text().contains("action=\"/.cardea/sign-out\""),
        "{}",
        answer.text()
    );
    assert_eq!(browser.go("/reports/x").status, 200, "a link signs nobody out");
    for foreign in [
        vec![],
        vec![("origin", "http://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "http://app.example.evil")],
        vec![("origin", "https://app.example")],
        vec![("origin", "http://app.example"), ("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("origin", "http://app.example"), ("origin", "http://app.example")],
    ] {
        let mut fields = vec![HTML, ("content-length", "0")];
        fields.extend(foreign.iter().copied());
        assert_eq!(browser.ask("POST", "/.cardea/sign-out", &fields).status, 403, "{foreign:?}");
    }
    assert_eq!(browser.go("/reports/x").status, 200);
    let mine =
        [HTML, ("content-length", "5"), ("origin", "http://app.example"), ("sec-fetch-site", "same-origin")];
    let mut client = house.connect();
    let cookies =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let head: String = mine.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    client.send(
        format!(
            "POST /.cardea/sign-out HTTP/1.1\r\nhost: app.example\r\n{head}cookie: {cookies}\r\n\r\ncsrf="
        )
        .as_bytes(),
    );
    let answer = client.answer(false);
    assert_eq!(
        (answer.status, answer.field("location")),
        (303, Some("http://app.example/.cardea/sign-out?done=1"))
    );
    assert_eq!(answer.field("set-cookie"), Some("cardea=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
    assert_eq!(browser.go("/reports/x").status, 302, "the old cookie opens nothing");
    let answer = browser.go("/.cardea/sign-out?done=1");
    assert!(answer.text().contains("You are signed out"), "{}", answer.text());
    // Whoever makes room for another account is led on to the page it was about, and to nothing but a page of this host.
    let answer = browser.go("/.cardea/sign-out?to=%2Freports%2Fx%3Fy%3D1");
    assert!(answer.text().contains("url=/.cardea/start?to=%2Freports%2Fx%3Fy%3D1\""), "{}", answer.text());
    for foreign in ["https://evil.example/", "/.cardea/callback?code=x", "x"] {
        let to: String = form_urlencoded::byte_serialize(foreign.as_bytes()).collect();
        let answer = browser.go(&format!("/.cardea/sign-out?to={to}"));
        // To the portal and nowhere else: it knows whether anybody is still signed in.
        assert!(
            answer.text().contains("url=http://access.example/signed-out\""),
            "{foreign}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("evil"), "{foreign}");
    }
    assert_eq!(house.upstream.count(), 2);
}

#[test]
fn sess_14_our_pages_carry_every_field() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    for (target, status) in [
        ("/admin/x", 403),
        ("/.cardea/nothing", 404),
        ("/.cardea", 404),
        ("/.cardea/sign-out", 200),
        ("/a;b", 400),
    ] {
        let answer = house.ask("GET", "app.example", target, &[HTML, ("cookie", &cookie)]);
        assert_eq!((answer.status, answer.field("content-type")), (status, Some(PAGE)), "{target}");
        for (name, value) in crate::ui::headers::PAGE {
            assert_eq!(answer.all(name), [value], "{target} {name}");
        }
        assert!(answer.field("strict-transport-security").is_none(), "there is no TLS here");
        for asset in answer.text().split('"').filter(|part| part.starts_with("/.cardea/assets/")) {
            let file = house.ask("GET", "app.example", asset, &[]);
            assert_eq!(
                (file.status, file.field("x-content-type-options")),
                (200, Some("nosniff")),
                "{asset}"
            );
            assert!(file.field("cache-control").unwrap().contains("immutable"));
        }
    }
    assert_eq!(house.ask("GET", "nothing.example", "/", &[HTML]).status, 404);
    assert_eq!(house.ask("GET", "app.example", "/.cardea/assets/nothing.css", &[]).status, 404);
    let secure = House::with(Plan { secure: true, ..Plan::default() });
    let answer = secure.ask("GET", "app.example", "/reports/x", &[HTML]);
    assert!(answer.field("set-cookie").unwrap().starts_with("__Host-cardea-browser="));
    assert!(answer.field("set-cookie").unwrap().contains("; Secure;"));
    assert_eq!(
        secure.ask("GET", "app.example", "/nothing", &[HTML]).field("strict-transport-security"),
        Some("max-age=31536000")
    );
}

#[test]
fn proxy_08_keys_are_on_every_host() {
    let house = House::new();
    for (host, status) in [("app.example", 200), ("access.example", 200), ("nothing.example", 404)] {
        let answer = house.ask("GET", host, "/.well-known/cardea/jwks.json", &[]);
        assert_eq!(answer.status, status, "{host}");
        if status == 200 {
            assert_eq!(answer.json(), house.keys.assertion().jwks());
        }
    }
    assert!(house.upstream.seen().is_empty());
}

#[test]
fn the_portal_answers_for_its_host() {
    let house = House::new();
    let mut client = house.connect();
    let forged = [
        ("x-forwarded-host", "evil.example"),
        ("cardea-user", "forged"),
        ("x-real-ip", "6.6.6.6"),
        ("cookie", "cardea=t; a=b"),
        ("x-mine", "1"),
    ];
    let text = client.ask("GET", "Access.Example:80", "/sign-in?x=%2F", &forged).text();
    assert!(text.starts_with("portal GET /sign-in?x=%2F 127.0.0.1 "), "{text}");
    assert!(text.contains("cookie=cardea=t; a=b") && text.contains("x-mine=1"), "{text}");
    assert!(!text.contains("evil") && !text.contains("forged") && !text.contains("6.6.6.6"), "{text}");
    client.send(b"POST /sign-in HTTP/1.1\r\nHost: access.example\r\nContent-Length: 65536\r\n\r\n");
    client.send("x".repeat(65536).as_bytes());
    assert!(client.answer(false).text().ends_with("body=65536"));
    client.send(b"POST /sign-in HTTP/1.1\r\nHost: access.example\r\nTransfer-Encoding: chunked\r\nAccept: text/html\r\n\r\n");
    for _ in 0..3 {
        client.send(format!("8000\r\n{}\r\n", "x".repeat(0x8000)).as_bytes());
        pause(10);
    }
    assert_eq!(client.answer(false).status, 413);
    assert!(house.ask("GET", "access.example", "/a//b", &[HTML]).status == 400);
    assert!(house.upstream.seen().is_empty());
}
