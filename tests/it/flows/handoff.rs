//! From the portal to an app: the one-time code, and where a sign-in may lead.

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::Span;
use reqwest::Method;

use super::sign_out;
use crate::support::stage::{Answer, ENGINES, Engine, Stage, Visitor};

/// The address with which a signed-in browser would be handed to an app; not followed.
pub(super) async fn code(visitor: &Visitor, url: &str) -> String {
    let (url, path) = (url::Url::parse(url).unwrap(), &url[url.match_indices('/').nth(2).unwrap().0..]);
    let start = url.join(&format!("/.cardea/start?to={}", encoded(path))).unwrap();
    let to_portal = visitor.look(start.as_str()).await.location().unwrap();
    let callback =
        visitor.look(&to_portal).await.location().unwrap_or_else(|| panic!("not handed on from {to_portal}"));
    assert!(callback.contains("/.cardea/callback?code="), "{callback}");
    callback
}

/// A refusal: no token, and a page that offers to begin again.
fn refused(answer: &Answer, what: &str) {
    assert_eq!(
        (answer.status, answer.token(), answer.location()),
        (400, None, None),
        "{what}: {}",
        answer.text()
    );
    assert!(
        matches!(answer.title().as_str(), "Start again" | "Your browser did not keep our cookie"),
        "{what}: {}",
        answer.title()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_16_a_code_works_once_here_and_now_in_this_browser() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let lantern = stage.url("lantern.cardea", "/deep?x=1");
        let grace = stage.signed_in("grace").await;

        let callback = code(&grace, &lantern).await;
        let first = grace.look(&callback).await;
        assert_eq!((first.status, first.location().as_deref()), (303, Some(lantern.as_str())));
        assert!(first.token().is_some());
        assert_eq!(first.headers["referrer-policy"], "no-referrer");
        refused(&grace.look(&callback).await, "again");
        assert_eq!(grace.fetch(&lantern).await.0, 200, "what it gave is not concerned");

        // Refused is spent: afterwards it does not work where it would have.
        let spent = async |callback: String, what: &str| {
            refused(&grace.look(&callback).await, &format!("{what}, afterwards"))
        };
        let callback = code(&grace, &lantern).await;
        let elsewhere = callback.replace("lantern.cardea", "reports.cardea");
        grace.look(&stage.url("reports.cardea", "/")).await;
        refused(&grace.look(&elsewhere).await, "another host");
        spent(callback, "another host").await;

        let callback = code(&grace, &lantern).await;
        let mut other = stage.visitor();
        other.get(&lantern).await;
        refused(&other.look(&callback).await, "another browser");
        spent(callback, "another browser").await;

        let callback = code(&grace, &lantern).await;
        refused(&Visitor::forgetful().look(&callback).await, "no browser's cookie");
        spent(callback, "no browser's cookie").await;

        let callback = code(&grace, &lantern).await;
        stage.advance(Span::seconds(31)).await;
        refused(&grace.look(&callback).await, "after half a minute");

        // Asking for the head would spend it and show nothing.
        let callback = code(&grace, &lantern).await;
        for method in [Method::HEAD, Method::POST] {
            let answer = Answer::of(grace.once(method, &callback, None).await).await;
            assert_eq!((answer.status, answer.token()), (405, None));
        }
        assert!(grace.look(&callback).await.token().is_some());

        let callback = code(&grace, &lantern).await;
        let (base, good) = callback.split_once("code=").unwrap();
        let changed = format!("{}{}", if good.starts_with('A') { 'B' } else { 'A' }, &good[1..]);
        for (forged, what) in [
            (String::new(), "empty"),
            ("A".repeat(43), "made up"),
            ("A".repeat(9_000), "long"),
            (good[..42].to_owned(), "cut"),
            (format!("{good}A"), "lengthened"),
            (changed, "changed"),
            (format!("{good}&code={good}"), "twice"),
            (format!("{good}%00"), "with a NUL"),
        ] {
            let answer = grace.look(&format!("{base}code={forged}")).await;
            assert!(answer.status == 400 && answer.token().is_none(), "{what}: {}", answer.status);
        }
        assert!(grace.look(&callback).await.token().is_some(), "none of those spent it");

        // At the same moment.
        let callback = code(&grace, &lantern).await;
        let mut asking = Vec::new();
        for _ in 0..8 {
            let (tab, callback) = (grace.tab(), callback.clone());
            asking.push(tokio::spawn(async move { tab.look(&callback).await.token().is_some() }));
        }
        let mut given = 0;
        for one in asking {
            given += usize::from(one.await.unwrap());
        }
        assert_eq!(given, 1, "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_16_a_code_of_a_session_or_person_that_has_ended_is_worth_nothing() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (admin, by) = (&stage.house().admin, Authority::system());
        let (lantern, grace) = (stage.url("lantern.cardea", "/"), stage.user("grace").await);
        let mut visitor = stage.signed_in("grace").await;
        let callback = code(&visitor, &lantern).await;
        sign_out(&stage, &mut visitor).await;
        refused(&visitor.look(&callback).await, "signed out");

        let visitor = stage.signed_in("grace").await;
        let callback = code(&visitor, &lantern).await;
        admin.revoke_sessions(&by, grace).await.unwrap();
        refused(&visitor.look(&callback).await, "revoked");

        let visitor = stage.signed_in("grace").await;
        let callback = code(&visitor, &lantern).await;
        admin.suspend_user(&by, grace, "a test", None).await.unwrap();
        refused(&visitor.look(&callback).await, "suspended");
        admin.activate_user(&by, grace).await.unwrap();
        refused(&visitor.look(&callback).await, "suspended and active again");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_code_page_offers_a_way_that_works() {
    let stage = Stage::open(Engine::Sqlite).await;
    let lantern = stage.url("lantern.cardea", "/");
    let mut grace = stage.signed_in("grace").await;
    let callback = code(&grace, &lantern).await;
    stage.advance(Span::minutes(2)).await;
    grace.get(&callback).await;
    assert_eq!((grace.title().as_str(), grace.status.as_u16()), ("Start again", 400));
    let again = grace.attribute("main a.button, a.button.primary", "href").unwrap();
    grace.get(url::Url::parse(&callback).unwrap().join(&again).unwrap().as_str()).await;
    assert_eq!(grace.title(), "Hello, Grace Hopper", "{}", grace.text());
    stage.demo.stop().await;
}

/// Addresses that lead away, in the spellings that have led browsers away before.
const HOSTILE: [&str; 42] = [
    "//evil.example",
    "//evil.example/%2f..",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/%09/evil.example",
    "/%5cevil.example",
    "/%2f%2fevil.example",
    "/%2fevil.example",
    "/./\\evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/;@evil.example",
    "https://evil.example/",
    "http://evil.example/",
    "HTTPS://EVIL.EXAMPLE/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "http://access.cardea.localhost@evil.example/",
    "http://access.cardea.localhost:pw@evil.example/",
    "http://access.cardea.localhost.evil.example/",
    "http://evil.example#access.cardea.localhost",
    "http://evil.example\\@access.cardea.localhost/",
    "http://lantern.cardea.localhost.evil.example/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "/apps\r\nSet-Cookie: evil=1",
    "/apps%0d%0aSet-Cookie:%20evil=1",
    "/apps\r\nLocation: https://evil.example/",
    "ｈttps://evil．example/",
];

/// Whether an address leads to a host of the stage.
fn at_home(stage: &Stage, url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let known = [
        "access.cardea",
        "lantern.cardea",
        "reports.cardea",
        "crm.cardea",
        "welcome.cardea",
        "lantern.partner",
    ];
    url.scheme() == "http"
        && url.port() == Some(stage.port)
        && url.username().is_empty()
        && url
            .host_str()
            .and_then(|host| host.strip_suffix(".localhost"))
            .is_some_and(|host| known.contains(&host))
}

/// Looks at one answer as a browser would.
fn stays(stage: &Stage, at: &str, answer: &Answer, value: &str) {
    assert!(answer.status < 500, "{value:?}: {}", answer.status);
    assert!(answer.cookies().iter().all(|cookie| !cookie.contains("evil")), "{value:?}");
    if let Some(to) = answer.location() {
        let to = url::Url::parse(at).unwrap().join(&to).unwrap();
        assert!(at_home(stage, to.as_str()), "{value:?} leads to {to}");
    }
    let page = answer.body.to_lowercase();
    for away in [
        "href=\"//evil",
        "href=\"http://evil",
        "href=\"https://evil",
        "href=\"javascript",
        "url=//evil",
        "url=http://evil",
        "url=https://evil",
    ] {
        assert!(!page.contains(away), "{value:?} writes {away}");
    }
}

fn encoded(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn f55_oidc_37_no_return_address_leads_away() {
    let stage = Stage::open(Engine::Sqlite).await;
    let linus = stage.signed_in("linus").await;
    let grace = stage.signed_in("grace").await;
    for value in HOSTILE {
        // Signed in: sent on at once.
        for path in ["/sign-in", "/auth/continue"] {
            for name in ["return_to", "next", "rd", "to"] {
                let url = stage.portal(&format!("{path}?{name}={}", encoded(value)));
                stays(&stage, &url, &linus.look(&url).await, value);
            }
        }
        // And the whole way, whatever it takes.
        let mut tab = linus.tab();
        tab.get(&stage.portal(&format!("/auth/continue?return_to={}", encoded(value)))).await;
        assert!(
            at_home(&stage, &tab.url) && tab.way.iter().all(|(url, _)| at_home(&stage, url)),
            "{value:?}: {:?}",
            tab.way
        );
        // From an app.
        for name in ["to", "rd"] {
            let mut tab = grace.tab();
            tab.get(&stage.url("lantern.cardea", &format!("/.cardea/start?{name}={}", encoded(value)))).await;
            assert!(
                at_home(&stage, &tab.url) && tab.way.iter().all(|(url, _)| at_home(&stage, url)),
                "{value:?}: {:?}",
                tab.way
            );
        }
    }
    // Through a whole sign-in; as the form carries it, and as somebody might change it there.
    for (n, value) in HOSTILE.into_iter().enumerate() {
        let mut visitor = stage.visitor();
        visitor.get(&stage.portal(&format!("/sign-in?return_to={}", encoded(value)))).await;
        stays(&stage, &visitor.url.clone(), &visitor.look(&visitor.url).await, value);
        let form = visitor.ready(&[("identifier", "linus"), ("return_to", value)]);
        let answer = form.send().await;
        stays(&stage, &form.url, &answer, value);
        if n % 3 > 0 {
            // The last step takes long; a third of them will do.
            continue;
        }
        visitor.take(&form.url, answer).await;
        visitor.submit(&[("password", PASSWORD)]).await;
        assert!(
            at_home(&stage, &visitor.url) && visitor.way.iter().all(|(url, _)| at_home(&stage, url)),
            "{value:?}: {:?}",
            visitor.way
        );
    }
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f55_what_was_sealed_is_followed_and_what_was_changed_is_not() {
    let stage = Stage::open(Engine::Sqlite).await;
    let grace = stage.signed_in("grace").await;
    let to = grace.look(&stage.url("lantern.cardea", "/deep//x?y=//evil.example")).await;
    // An unusual spelling is refused at the app already; an ordinary one is carried.
    assert!(to.location().is_none_or(|to| to.starts_with(&stage.portal("/sign-in?return_to="))));
    let to = grace.look(&stage.url("lantern.cardea", "/deep?y=//evil.example")).await.location().unwrap();
    let (base, sealed) = to.split_once("return_to=").unwrap();
    let callback = grace.look(&to).await.location().unwrap();
    assert!(callback.starts_with(&stage.url("lantern.cardea", "/.cardea/callback?code=")), "{callback}");
    assert_eq!(
        grace.look(&callback).await.location().unwrap(),
        stage.url("lantern.cardea", "/deep?y=//evil.example")
    );
    for at in [0, 10, sealed.len() / 2, sealed.len() - 2] {
        let mut changed = sealed.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(
            grace.look(&format!("{base}return_to={changed}")).await.location().as_deref(),
            Some("/apps")
        );
    }
    assert_eq!(
        grace.look(&format!("{base}return_to={sealed}&return_to={sealed}")).await.location().as_deref(),
        Some("/apps")
    );
    stage.advance(Span::minutes(61)).await;
    assert_eq!(grace.look(&to).await.location().as_deref(), Some("/apps"), "it is followed for an hour");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f9_pwd_07_links_and_redirects_name_the_configured_origin_whatever_host_is_asked() {
    let stage = Stage::open(Engine::Sqlite).await;
    let linus = stage.user("linus").await;
    let link =
        stage.house().admin.password_link(&Authority::system(), linus, Span::minutes(30)).await.unwrap();
    let link = link.text.expose().clone();
    assert!(link.starts_with(&stage.portal("/password/set/")), "{link}");
    let path = link.strip_prefix(&stage.portal("")).unwrap();
    let client = Visitor::forgetful().client;
    let get = async |host: &str, path: &str, fields: &[(&str, &str)]| {
        let mut request = client
            .get(stage.url(host, path))
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    };
    let clean = |answer: &Answer, what: &str| {
        let fields: String = answer
            .headers
            .values()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        assert!(
            !answer.body.contains("evil") && !fields.contains("evil"),
            "{what}: {fields} {}",
            answer.body
        );
        if let Some(to) = answer.location().filter(|to| to.contains("://")) {
            assert!(at_home(&stage, &to), "{what}: {to}");
        }
    };
    let pages = [
        ("access.cardea", path),
        ("access.cardea", "/setup/AAAA"),
        ("access.cardea", "/apps"),
        ("access.cardea", "/sign-in"),
        ("access.cardea", "/"),
        ("lantern.cardea", "/x"),
        ("lantern.cardea", "/.cardea/start?to=/"),
    ];
    for (host, path) in pages {
        let usual = get(host, path, &[]).await;
        for fields in [
            [("x-forwarded-host", "evil.example")].as_slice(),
            &[
                ("x-forwarded-host", "evil.example"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-port", "443"),
            ],
            &[("forwarded", "host=evil.example;proto=https")],
            &[
                ("x-host", "evil.example"),
                ("x-original-host", "evil.example"),
                ("x-forwarded-server", "evil.example"),
            ],
            &[("x-original-url", "//evil.example/"), ("x-rewrite-url", "//evil.example/")],
            &[("referer", "https://evil.example/")],
        ] {
            let answer = get(host, path, fields).await;
            clean(&answer, &format!("{host}{path} with {fields:?}"));
            assert_eq!(answer.status, usual.status, "{host}{path} with {fields:?}");
        }
        for said in [
            "evil.example".to_owned(),
            format!("evil.example:{}", stage.port),
            "access.cardea.localhost.evil.example".to_owned(),
            "access.cardea.localhost@evil.example".to_owned(),
            "evil.example/access.cardea.localhost".to_owned(),
            "access.cardea.localhost:1@evil.example".to_owned(),
            "access.cardea.localhost, evil.example".to_owned(),
        ] {
            let answer = get(host, path, &[("host", &said)]).await;
            clean(&answer, &format!("{host}{path} as {said}"));
            assert!(
                (400..500).contains(&answer.status) && answer.location().is_none(),
                "{host}{path} as {said}: {}",
                answer.status
            );
        }
        for said in [
            format!("{host}.localhost:1"),
            format!("{host}.localhost"),
            format!("{}.LOCALHOST.:{}", host.to_uppercase(), stage.port),
        ] {
            clean(&get(host, path, &[("host", &said)]).await, &format!("{host}{path} as {said}"));
        }
    }
    stage.demo.stop().await;
}
