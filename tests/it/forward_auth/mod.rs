//! The real nginx and the real Caddy, with the configurations that the documentation gives, guarding an app.

mod front;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use cardea::access::Authority;
use cardea::app::Machine;
use cardea::config;
use cardea::crypto::password_hash;
use cardea::domain::Password;
use cardea::domain::route::folded_name;
use cardea::sys::{OsChance, SystemClock};
use reqwest::Method;
use serde_json::json;

use crate::support::free_port;
use crate::support::stage::{Answer, Visitor};
use front::{Front, Kind, Recorder, raw};

const PASSWORD: &str = "harbour-lamp-47";

/// Cardea, the proxy in front of it, and an app behind that proxy.
struct Site {
    front: Front,
    app: Recorder,
    running: Option<cardea::app::Running>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn open(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = Recorder::start();
        let (port, asked) = (free_port(), free_port());
        let front = Front::start(kind, folder.path(), port, asked, app.port());
        let running = start(folder.path(), front.port, port, asked).await;
        let salt = OsChance;
        let hash = password_hash::hash(&Password::parse(PASSWORD).unwrap(), &salt).unwrap();
        for (name, groups, roles) in [("grace", vec!["staff"], vec!["analyst"]), ("linus", vec![], vec![])] {
            let line = json!({ "username": name, "email": format!("{name}@acme.example"), "password_hash": hash.as_str(),
                "places": ["acme"], "groups": groups, "roles": roles });
            let line = serde_json::from_value(line).unwrap();
            running.house.admin.import_user(&Authority::system(), &line).await.unwrap();
        }
        Self { front, app, running: Some(running), _folder: folder }
    }

    /// Cardea ends; the proxy and the app go on.
    async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    fn host(&self) -> String {
        format!("wiki.cardea.localhost:{}", self.front.port)
    }

    /// Somebody who opened a page of the app and signed in on the way.
    async fn signed_in(&self, name: &str, path: &str) -> Visitor {
        let mut visitor = Visitor::new(self.front.port);
        visitor.get(&self.url(path)).await;
        assert_eq!(visitor.title(), "Sign in", "{:?}: {}", visitor.way, visitor.text());
        visitor.submit(&[("identifier", name)]).await;
        visitor.submit(&[("password", PASSWORD)]).await;
        visitor
    }

    /// A request byte by byte, as the holder of a token; its status.
    fn ask(&self, line: &str, fields: &[&str], token: &str) -> u16 {
        let mut text = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host());
        if !token.is_empty() {
            text.extend(["Cookie: theme=dark; cardea=", token, "; lang=de\r\n"]);
        }
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        raw(self.front.port, format!("{text}\r\n").as_bytes())
    }
}

async fn start(folder: &Path, front: u16, port: u16, asked: u16) -> cardea::app::Running {
    use std::os::unix::fs::PermissionsExt as _;
    let key = folder.join("master.key");
    std::fs::write(&key, base64::engine::general_purpose::STANDARD.encode([9; 32])).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
[server]
public_url          = "http://access.cardea.localhost:{front}"
listen              = ["127.0.0.1:{port}"]
forward_auth_listen = "127.0.0.1:{asked}"
ops_listen          = "127.0.0.1:{ops}"
control_socket      = "cardea.sock"
trusted_proxies     = ["127.0.0.1"]
shutdown_grace      = "1s"

[storage]
url = "sqlite:cardea.db"

[secrets]
master_key = {{ file = "master.key" }}

[mfa]
require = "optional"

[[tenant]]
slug    = "acme"
domains = ["acme.example"]

[[role]]
slug        = "analyst"
permissions = ["reports:read"]

[[role]]
slug        = "keeper"
permissions = ["reports:admin"]

[[group]]
slug = "staff"

[[route]]
host         = "wiki.cardea.localhost"
forward_auth = true

  [[route.rule]]
  path   = "/public/*"
  public = true

  [[route.rule]]
  path  = "/admin/*"
  needs = "reports:admin"

  [[route.rule]]
  path  = "/*"
  needs = "reports:read"
"#,
        ops = free_port()
    );
    let file = folder.join("cardea.toml");
    std::fs::write(&file, text).unwrap();
    let options = config::Options { file: Some(file), ..config::Options::default() };
    let loaded = config::load(&options, cardea::sys::Clock::now(&SystemClock::default()))
        .unwrap_or_else(|report| panic!("{report}"));
    let clock = Arc::new(SystemClock::default());
    cardea::app::start(loaded, options, Machine { clock, chance: Arc::new(OsChance), demo: false })
        .await
        .unwrap()
}

/// The claims of an assertion, unverified: the app's own business.
fn claims(assertion: &str) -> serde_json::Value {
    let part = assertion.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn sign_in_is_asked_for_and_identity_arrives_once(kind: Kind) {
    let mut site = Site::open(kind).await;
    let nobody = Visitor::forgetful();
    // A page leads to the sign-in by the app's own host; data and forms are told.
    let answer = nobody.look(&site.url("/reports/x?y=1&z=%2F")).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(answer.location().unwrap(), site.url("/.cardea/start?to=%2Freports%2Fx%3Fy%3D1%26z%3D%252F"));
    let (status, told) = nobody.fetch(&site.url("/reports/x")).await;
    assert_eq!((status.as_u16(), told["code"].as_str()), (401, Some("sign-in")), "{told}");
    assert_eq!(told["sign_in_url"].as_str(), Some(site.url("/.cardea/start?to=/").as_str()));
    let form = [("a".to_owned(), "b".to_owned())];
    let answer = Answer::of(nobody.once(Method::POST, &site.url("/reports/x"), Some(&form)).await).await;
    assert_eq!((answer.status, answer.location()), (401, None));
    assert!(answer.title().contains("Sign in"), "{}", answer.text());
    assert_eq!(site.app.count(), 0);

    let mut grace = site.signed_in("grace", "/reports/x?y=1&z=%2F").await;
    assert_eq!((grace.url.as_str(), grace.body.as_str()), (site.url("/reports/x?y=1&z=%2F").as_str(), "app"));
    let seen = site.app.last();
    assert_eq!(seen.line, "GET /reports/x?y=1&z=%2F HTTP/1.1");
    assert_eq!(seen.one("cardea-username"), "grace");
    assert_eq!((seen.one("cardea-groups"), seen.one("cardea-roles")), ("staff", "analyst@acme"));
    let claims = claims(seen.one("cardea-assertion"));
    assert_eq!((claims["username"].as_str(), claims["aud"].as_str()), (Some("grace"), Some(&*site.url(""))));
    assert_eq!(seen.one("cardea-user"), claims["sub"].as_str().unwrap());
    assert!(seen.all("cookie").iter().all(|cookie| cookie.trim().is_empty()), "{seen:?}");
    assert_eq!(seen.one("x-forwarded-for"), "127.0.0.1");

    // Bodies pass, also of requests whose question has none.
    let response = grace.client.post(site.url("/reports/x")).body("0123456789").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, "app"));
    let seen = site.app.last();
    assert_eq!((seen.line.as_str(), seen.body.as_slice()), ("POST /reports/x HTTP/1.1", &b"0123456789"[..]));
    assert_eq!(seen.one("cardea-username"), "grace");

    // The keys with which the app verifies are on its host.
    let (status, keys) = nobody.fetch(&site.url("/.well-known/cardea/jwks.json")).await;
    assert!(status.as_u16() == 200 && keys["keys"].is_array(), "{keys}");

    // Signed out: the next request is refused.
    let before = site.app.count();
    grace.get(&site.url("/.cardea/sign-out")).await;
    grace.press("/.cardea/sign-out").await;
    assert_eq!(grace.title(), "You are signed out", "{}", grace.text());
    assert_eq!(grace.fetch(&site.url("/reports/x")).await.0.as_u16(), 401);
    assert_eq!(grace.look(&site.url("/reports/x")).await.status, 302);
    assert_eq!(site.app.count(), before);
    site.stop().await;
    // Without anybody to ask, nobody passes.
    let status = site.ask("GET /public/x", &[], "");
    assert!(status >= 500, "{status}");
    assert_eq!(site.app.count(), before);
}

async fn whoever_lacks_something_is_refused_in_words(kind: Kind) {
    let mut site = Site::open(kind).await;
    let linus = site.signed_in("linus", "/reports/x").await;
    assert_eq!(linus.status.as_u16(), 403, "{}", linus.text());
    assert!(linus.text().contains("reports:read") || linus.text().contains("Reference"), "{}", linus.text());
    let (status, told) = linus.fetch(&site.url("/reports/x")).await;
    assert_eq!((status.as_u16(), told["code"].as_str()), (403, Some("needs")), "{told}");
    assert!(told["decision"].as_str().is_some_and(|reference| !reference.is_empty()));
    let grace = site.signed_in("grace", "/").await;
    let before = site.app.count();
    let answer = grace.look(&site.url("/admin/x")).await;
    assert_eq!((answer.status, site.app.count()), (403, before), "{}", answer.text());
    site.stop().await;
}

async fn forged_names_do_not_arrive(kind: Kind) {
    let mut site = Site::open(kind).await;
    let grace = site.signed_in("grace", "/").await;
    let token = grace.cookie(&site.url("/"), "cardea").unwrap();
    let names = [
        "user",
        "username",
        "email",
        "name",
        "groups",
        "roles",
        "tenant",
        "org",
        "dept",
        "auth",
        "assertion",
        "impersonator",
        "request-id",
        "groups-truncated",
        "roles-truncated",
    ];
    let mut arrived = 0;
    for name in names {
        let name = format!("cardea-{name}");
        let title: Vec<String> = name.split('-').map(|w| w[..1].to_uppercase() + &w[1..]).collect();
        for spelling in [
            name.clone(),
            name.to_uppercase(),
            title.join("-"),
            title.join("_"),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.replace('-', "--"),
            name.replace('-', "_-"),
            name.replace('-', "~"),
            format!("-{name}"),
            format!("{name}-"),
            format!("_{name}"),
        ] {
            let forged = format!("{spelling}: forged");
            for (target, token, fields) in [
                ("/reports/x", &*token, vec![&*forged]),
                ("/reports/x", &token, vec![&*forged, &forged]),
                ("/public/x", &token, vec![&*forged]),
                ("/public/x", "", vec![&*forged]),
            ] {
                let before = site.app.count();
                let status = site.ask(&format!("GET {target}"), &fields, token);
                if site.app.count() == before {
                    assert!(matches!(status, 400..=403), "{forged} {target}: {status}");
                    continue;
                }
                arrived += 1;
                let seen = site.app.last();
                assert!(!format!("{seen:?}").contains("forged"), "{forged}: {seen:?}");
                for name in names {
                    let folded = format!("cardea-{name}");
                    let all = seen.fields.iter().filter(|(field, _)| folded_name(field.as_bytes()) == folded);
                    assert!(all.count() <= 1, "{folded}: {seen:?}");
                }
                match target {
                    "/public/x" => assert!(seen.all("cardea-user").iter().all(|user| user.trim().is_empty())),
                    _ => assert_eq!(seen.one("cardea-username"), "grace"),
                }
                let cookies = seen.all("cookie").join("; ");
                assert!(!cookies.contains("cardea"), "{cookies}");
                assert_eq!(cookies, if token.is_empty() { "" } else { "theme=dark; lang=de" });
            }
        }
    }
    assert!(arrived > 100, "{arrived} of these arrived at all");
    // Nor can a client have ours taken away on the last hop.
    for line in ["Connection: close, Cardea-User, Cardea-Assertion", "Connection: cardea-username"] {
        let status = site.ask("GET /reports/x", &[line], &token);
        let seen = site.app.last();
        assert!(status == 200 && seen.one("cardea-username") == "grace", "{line}: {status} {seen:?}");
    }
    // Or its cookie of ours kept from being seen: then nobody is signed in, or the app does not get it.
    let before = site.app.count();
    let status = site.ask("GET /reports/x", &["Connection: Cookie"], &token);
    assert!(status == 401 || site.app.count() == before + 1, "{status}");
    assert!(!format!("{:?}", site.app.last()).contains(&token));
    site.stop().await;
}

async fn only_what_is_judged_is_forwarded(kind: Kind) {
    let mut site = Site::open(kind).await;
    let grace = site.signed_in("grace", "/").await;
    let token = grace.cookie(&site.url("/"), "cardea").unwrap();
    for target in ["/reports/x", "/reports/a%20b?q=%2F..;//", "/%C3%A9", "/a/?x=/admin/", "/public/x"] {
        assert_eq!(site.ask(&format!("GET {target}"), &[], &token), 200, "{target}");
        assert_eq!(site.app.last().line, format!("GET {target} HTTP/1.1"));
    }
    let before = site.app.count();
    for target in [
        "/admin/x",
        "/ADMIN/x",
        "/Admin",
        "//admin/x",
        "/./admin/x",
        "/x/../admin/x",
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/%2E./admin/x",
        "/public/..%2fadmin/x",
        "/public/..;/admin/x",
        "/public%2f..%2fadmin/x",
        "/public/%252e%252e/admin/x",
        "/public/..%5cadmin/x",
        "/public\\..\\admin\\x",
        "/%61dmin/x",
        "/admin%2fx",
        "/admin;x=1/x",
        "/admin./x",
        "/admin%20/x",
        "/admin%00/x",
        "/reports/%78",
        "/reports/%c3%a9",
        "/reports//x",
        "/reports/x;y",
        "/reports/x#/../../admin/x",
        "/%2e%63ardea/whoami/../../admin/x",
        "/.cardea/../admin/x",
        "/.cardea/%2e%2e/admin/x",
        "/.cardea/..%2fadmin/x",
        "/.cardea/..;/admin/x",
        "/.cardea//../admin/x",
    ] {
        let status = site.ask(&format!("GET {target}"), &[], &token);
        assert_eq!(site.app.count(), before, "{target} ({status}): {:?}", site.app.last());
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    // What the request says about itself otherwise changes neither the decision nor what is forwarded.
    for fields in [
        &["X-Forwarded-Uri: /public/x", "X-Forwarded-Method: OPTIONS", "X-Forwarded-Host: elsewhere.example"]
            [..],
        &["X-Original-URL: /public/x", "X-Rewrite-URL: /public/x", "X-Original-Method: OPTIONS"],
        &["X_Forwarded_Uri: /public/x", "X-Forwarded-Prefix: /public"],
        &["X-Http-Method-Override: OPTIONS", "Forwarded: for=127.0.0.1;host=elsewhere.example"],
    ] {
        assert_eq!(site.ask("GET /admin/x", fields, &token), 403, "{fields:?}");
    }
    assert_eq!(site.app.count(), before);
    // Two hosts: the one that is decided on is the one that the app hears.
    let line = format!("GET http://{}/reports/x", site.host());
    let request = format!(
        "{line} HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\nCookie: cardea={token}\r\n\r\n"
    );
    let status = raw(site.front.port, request.as_bytes());
    if site.app.count() > before {
        let host = site.app.last().one("host").to_owned();
        assert!(status == 200 && host.starts_with("wiki.cardea.localhost"), "{status} {host}");
    }
    for host in ["WIKI.cardea.localhost", "wiki.cardea.localhost.", "Wiki.Cardea.LocalHost:80"] {
        let before = site.app.count();
        let request = format!(
            "GET /admin/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: cardea={token}\r\n\r\n"
        );
        let status = raw(site.front.port, request.as_bytes());
        assert_eq!(site.app.count(), before, "{host}: {status}");
    }
    site.stop().await;
}

async fn odd_cookies_are_not_signed_in(kind: Kind) {
    let mut site = Site::open(kind).await;
    let grace = site.signed_in("grace", "/").await;
    let token = grace.cookie(&site.url("/"), "cardea").unwrap();
    let before = site.app.count();
    for cookie in [
        "cardea".to_owned(),
        "cardea=".into(),
        "cardea=x".into(),
        format!("cardea={}", "A".repeat(3000)),
        format!("cardea={}", &token[..63]),
        format!("cardea={token}A"),
        format!("cardea=\"{token}\""),
        format!("cardea={token}%00"),
        format!("cardea={token}; cardea={token}"),
        format!("Cardea={token}"),
        format!("__Host-cardea={token}"),
        ";;;=;=;cardea[]=1".into(),
        "\u{a0}cardea=x".into(),
    ] {
        let status = site.ask("GET /reports/x", &[&format!("Cookie: {cookie}")], "");
        assert_eq!((status, site.app.count()), (401, before), "{cookie}");
    }
    site.stop().await;
}

/// The same tests for each of the two.
macro_rules! guarded_by {
    ($($name:ident = $kind:expr;)+) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn proxy_02_sign_in_is_asked_for_and_identity_arrives_once() {
                sign_in_is_asked_for_and_identity_arrives_once($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn proxy_02_whoever_lacks_something_is_refused_in_words() {
                whoever_lacks_something_is_refused_in_words($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn f3_proxy_05_proxy_12_forged_names_do_not_arrive() {
                forged_names_do_not_arrive($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn f5_f13_f17_proxy_09_only_what_is_judged_is_forwarded() {
                only_what_is_judged_is_forwarded($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn f66_odd_cookies_are_not_signed_in() {
                odd_cookies_are_not_signed_in($kind).await;
            }
        }
    )+};
}

guarded_by! {
    nginx = Kind::Nginx;
    caddy = Kind::Caddy;
}

fn documentation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/forward-auth.md")
}
