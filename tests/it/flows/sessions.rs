//! Sessions: their cookies, their ends, and who may see them.

use std::collections::HashSet;
use std::time::Duration;

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{SessionId, Span};
use cardea::store::sessions;
use reqwest::Method;

use super::{after_password, opens, sign_out, with_cookies};
use crate::support::stage::{Answer, ENGINES, Engine, Stage, Visitor, all_at_once};

/// The sessions of somebody that are live.
async fn live(stage: &Stage, name: &str) -> Vec<sessions::Session> {
    let user = stage.user(name).await;
    sessions::live_of(&mut stage.house().db.read().await.unwrap(), user, stage.now()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_03_sess_13_every_cookie_on_the_way_has_every_attribute_and_no_other() {
    let stage = Stage::open(Engine::Sqlite).await;
    let visitor = stage.visitor();
    let mut set = Vec::new();
    let mut url = stage.url("lantern.cardea", "/");
    // To the sign-in page by hand, to see every answer.
    for _ in 0..2 {
        let answer = visitor.look(&url).await;
        set.extend(answer.cookies());
        url = answer.location().unwrap_or(url);
    }
    let mut page = visitor.tab();
    page.get(&url).await;
    for field in [("identifier", "grace"), ("password", PASSWORD)] {
        let form = page.ready(&[field]);
        let answer = form.send().await;
        set.extend(answer.cookies());
        page.take(&form.url, answer).await;
    }
    for (to, _) in page.way.clone() {
        set.extend(visitor.look(&to).await.cookies());
    }
    let callback = super::handoff::code(&visitor, &stage.url("lantern.cardea", "/")).await;
    set.extend(visitor.look(&callback).await.cookies());
    assert!(set.len() >= 4, "{set:?}");
    let mut kinds = HashSet::new();
    for cookie in &set {
        let (name, rest) = cookie.split_once('=').unwrap();
        let (value, attributes) = rest.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax", "{cookie}");
        assert!(value.len() <= 64, "{cookie}");
        assert!(matches!((name, value.len()), ("cardea", 64) | ("cardea-browser", 43)), "{cookie}");
        kinds.insert(name);
    }
    assert_eq!(kinds.len(), 2, "the one that ties a sign-in to the browser is another than the session's");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_02_f65_a_planted_cookie_never_becomes_a_session() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (portal, lantern) = (stage.portal("/apps"), stage.url("lantern.cardea", "/"));
        // Made up; of a session that has ended; of the very browser whose session it will not be.
        let mut ended = stage.signed_in("linus").await;
        let dead = ended.cookie(&portal, "cardea").unwrap();
        sign_out(&stage, &mut ended).await;
        for planted in ["A".repeat(64), dead] {
            let mut visitor = stage.visitor();
            for url in [&portal, &lantern] {
                visitor
                    .jar
                    .add_cookie_str(&format!("cardea={planted}; Path=/"), &url::Url::parse(url).unwrap());
            }
            visitor.get(&lantern).await;
            assert_eq!(visitor.title(), "Sign in");
            visitor.submit(&[("identifier", "grace")]).await;
            visitor.submit(&[("password", PASSWORD)]).await;
            assert_eq!(visitor.title(), "Hello, Grace Hopper");
            for url in [&portal, &lantern] {
                assert_ne!(visitor.cookie(url, "cardea").unwrap(), planted);
                assert!(!opens(url, &planted).await, "{url}");
            }
            // A token is for one host.
            let own =
                [visitor.cookie(&portal, "cardea").unwrap(), visitor.cookie(&lantern, "cardea").unwrap()];
            assert!(opens(&portal, &own[0]).await && opens(&lantern, &own[1]).await);
            assert!(!opens(&portal, &own[1]).await && !opens(&lantern, &own[0]).await);
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_05_a_session_ends_when_it_is_not_used_and_in_the_end_also_when_it_is() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (portal, lantern) = (stage.portal("/apps"), stage.url("lantern.cardea", "/"));
        // Not used.
        let mut visitor = stage.signed_in("grace").await;
        visitor.get(&lantern).await;
        stage.advance(Span::seconds(8 * 3600 - 30)).await;
        assert_eq!(visitor.fetch(&lantern).await.0, 200);
        stage.advance(Span::seconds(8 * 3600 + 1)).await;
        assert_eq!(visitor.fetch(&lantern).await.0, 401, "{engine:?}");
        assert_eq!(visitor.fetch(&portal).await.0, 401, "{engine:?}");

        // Used all the time, in the app only.
        let mut visitor = stage.signed_in("grace").await;
        let begun = stage.now();
        visitor.get(&lantern).await;
        for hours in [7, 14, 21, 23] {
            stage.advance((begun + Span::hours(hours)).since(stage.now())).await;
            assert_eq!(visitor.fetch(&lantern).await.0, 200, "{engine:?}: busy after {hours} hours");
            // Notes of use are written a moment later.
            let mut status = 0;
            for _ in 0..30 {
                status = visitor.fetch(&portal).await.0.as_u16();
                if status == 200 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(status, 200, "{engine:?}: use of an app counts at the portal");
        }
        stage.advance((begun + Span::seconds(24 * 3600 + 1)).since(stage.now())).await;
        assert_eq!(visitor.fetch(&lantern).await.0, 401, "{engine:?}");
        assert_eq!(visitor.fetch(&portal).await.0, 401, "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_12_f66_f67_odd_cookies_are_no_session_and_no_error() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (lantern, portal) = (stage.url("lantern.cardea", "/"), stage.portal("/apps"));
    let mut visitor = stage.signed_in("grace").await;
    visitor.get(&lantern).await;
    for url in [&lantern, &portal] {
        let token = visitor.cookie(url, "cardea").unwrap();
        let good = format!("cardea={token}");
        for fine in [
            good.clone(),
            format!("a=b; {good}; $Version=1"),
            format!("theme=dark;{good}"),
            format!("cardea-browser=x; {good}"),
        ] {
            assert_eq!(with_cookies(url, &[fine.as_bytes()]).await.0, 200, "{fine}");
        }
        let mut odd: Vec<Vec<u8>> = [
            "cardea=",
            "cardea",
            "cardea=a b",
            "Cardea=x",
            "CARDEA=x",
            "__Host-cardea=x",
            "__Secure-cardea=x",
            "__HOST-CARDEA=x",
            "$cardea=x",
        ]
        .iter()
        .map(|shape| shape.replace('x', &token).into_bytes())
        .collect();
        odd.push(format!("cardea=\"{token}\"").into_bytes());
        odd.push([b"\xa0", good.as_bytes()].concat());
        odd.push([b"cardea\xa0=", token.as_bytes()].concat());
        odd.push(format!("cardea={}", "x".repeat(65)).into_bytes());
        odd.push(format!("cardea={}", "A".repeat(8_000)).into_bytes());
        odd.push(format!("cardea={token}%20").into_bytes());
        odd.push(format!("cardea={token}\u{e9}").into_bytes());
        for shape in &odd {
            let words = String::from_utf8_lossy(shape);
            for field in [
                shape.clone(),
                [shape, b"; ".as_slice(), good.as_bytes()].concat(),
                [good.as_bytes(), b"; ", shape].concat(),
            ] {
                // Beside a good one, an odd one may be another name altogether; alone it is never a session.
                let alone = field == *shape;
                let (status, body) = with_cookies(url, &[&field]).await;
                assert!(status == 401 || (!alone && status == 200), "{words}: {status} {body}");
                if words.starts_with("cardea") || words.to_lowercase().starts_with("__") {
                    assert_eq!(status, 401, "{words} in {}", String::from_utf8_lossy(&field));
                }
            }
            assert_eq!(with_cookies(url, &[shape]).await.0, 401);
        }
        assert_eq!(with_cookies(url, &[good.as_bytes(), good.as_bytes()]).await.0, 401, "twice");
        assert_eq!(with_cookies(url, &[format!("{good}; {good}").as_bytes()]).await.0, 401, "twice in one");
        // Every prefix, every changed letter (F67).
        for length in [0, 1, 31, 32, 43, 48, 62, 63] {
            assert!(!opens(url, &token[..length]).await, "{length}");
        }
        for at in (0..64).step_by(9) {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(!opens(url, std::str::from_utf8(&forged).unwrap()).await, "{at}");
        }
        assert!(!opens(url, &format!("{token}A")).await && !opens(url, &token.to_lowercase()).await);
        assert!(opens(url, &token).await, "none of it did any harm");
    }
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g12_a_session_revoked_under_a_hundred_requests_stays_dead() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        for round in 0..3 {
            let visitor = stage.signed_in("grace").await;
            let mut page = visitor.tab();
            page.get(&stage.portal("/password/change")).await;
            // Each leaves a message in the session, which is written after it was looked up.
            let mut form = page
                .ready(&[("current", "")])
                .without("current")
                .without("password")
                .without("sign_out_others");
            form.url = stage.portal("/me/sessions/revoke-others");
            let id = live(&stage, "grace").await[0].id;
            let mut requests = Vec::new();
            for n in 0..100 {
                let (form, tab, url) = (form.clone(), visitor.tab(), stage.portal("/me/sessions"));
                requests.push(tokio::spawn(async move {
                    if n % 2 == 0 { form.send().await } else { tab.look(&url).await }
                }));
            }
            tokio::time::sleep(Duration::from_millis(20 * round)).await;
            stage.house().admin.revoke_session(&Authority::system(), id).await.unwrap();
            assert_eq!(visitor.fetch(&stage.portal("/apps")).await.0, 401, "{engine:?}: at once");
            let mut before = 0;
            for request in requests {
                let answer = request.await.unwrap();
                before +=
                    usize::from(answer.status == 200 || answer.location().as_deref() == Some("/me/sessions"));
                assert!(answer.token().is_none());
            }
            assert_eq!(
                visitor.fetch(&stage.portal("/apps")).await.0,
                401,
                "{engine:?}, round {round}: {before} were before it"
            );
            let record =
                sessions::by_id(&mut stage.house().db.read().await.unwrap(), id).await.unwrap().unwrap();
            assert!(record.ended.is_some(), "{engine:?}, round {round}");
            assert_eq!(sessions::data(&mut stage.house().db.read().await.unwrap(), id).await.unwrap(), None);
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_06_signing_out_anywhere_signs_out_everywhere() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let hosts = ["lantern.cardea", "lantern.partner", "reports.cardea"];
        for from in ["access.cardea", "lantern.cardea", "lantern.partner"] {
            stage.advance(Span::minutes(1)).await;
            let mut ada = stage.signed_in("ada").await;
            let mut tokens = vec![(stage.portal("/apps"), ada.cookie(&stage.portal("/"), "cardea").unwrap())];
            for host in hosts {
                let url = stage.url(host, "/");
                ada.get(&url).await;
                assert_eq!(ada.title(), "Hello, Ada Lovelace", "{host}");
                tokens.push((url.clone(), ada.cookie(&url, "cardea").unwrap()));
            }
            let path = if from == "access.cardea" { "/sign-out" } else { "/.cardea/sign-out" };
            ada.get(&stage.url(from, path)).await;
            assert_eq!(ada.title(), "Sign out?");
            // Looking signs nobody out.
            for (url, token) in &tokens {
                assert!(opens(url, token).await);
            }
            let form = ada.ready(&[]);
            assert!(form.url.ends_with(path), "{}", form.url);
            let answer = form.send().await;
            let cleared = answer.cookies();
            assert_eq!(cleared, ["cardea=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"], "{from}");
            let clear = answer.headers.get("clear-site-data").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(clear, (from == "access.cardea").then(|| "\"cache\", \"storage\"".to_owned()));
            for (url, token) in &tokens {
                assert!(!opens(url, token).await, "{engine:?}: {url} after signing out at {from}");
            }
            ada.take(&form.url, answer).await;
            assert_eq!(ada.title(), "You are signed out", "{from}: {}", ada.text());
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_06_nobody_is_told_that_they_are_signed_out_while_they_are_not() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = stage.signed_in("grace").await;
    // Lantern has never seen her and has nothing to end; the portal still knows her.
    grace.get(&stage.url("lantern.cardea", "/.cardea/sign-out")).await;
    assert_eq!(grace.title(), "Sign out?", "{:?}", grace.way);
    assert_eq!(grace.fetch(&stage.portal("/apps")).await.0, 200);
    grace.press("/sign-out").await;
    assert_eq!(grace.title(), "You are signed out");
    assert_eq!(grace.fetch(&stage.portal("/apps")).await.0, 401);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_11_the_eleventh_session_ends_the_oldest() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut visitors = Vec::new();
    for _ in 0..11 {
        visitors.push(stage.signed_in("grace").await);
    }
    for (at, visitor) in visitors.iter().enumerate() {
        let status = visitor.fetch(&stage.portal("/apps")).await.0;
        assert_eq!(status, if at == 0 { 401 } else { 200 }, "{at}");
    }
    assert_eq!(live(&stage, "grace").await.len(), 10);
    // Several at once count each other as well.
    let mut forms = Vec::new();
    for _ in 0..6 {
        forms.push(stage.named("grace").await.ready(&[("password", PASSWORD)]));
    }
    let answers = all_at_once(&forms).await;
    assert!(answers.iter().all(|answer| answer.token().is_some()));
    assert_eq!(live(&stage, "grace").await.len(), 10);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_10_people_see_and_end_their_own_sessions_and_nobody_elses() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (mut own, other) = (stage.signed_in("grace").await, stage.signed_in("grace").await);
        let linus = stage.signed_in("linus").await;
        own.get(&stage.portal("/me/sessions")).await;
        assert_eq!(own.all(".sessions > li").len(), 2);
        let ids: Vec<SessionId> = live(&stage, "grace").await.iter().map(|session| session.id).collect();
        let foreign = live(&stage, "linus").await[0].id;
        assert!(!own.body.contains(&foreign.to_string()));
        let form = own.ready(&[]);
        let to = |id: &str| {
            let mut form = form.clone();
            form.url = stage.portal(&format!("/me/sessions/{id}/revoke"));
            form
        };
        let bare = |answer: Answer| (answer.status, answer.location(), answer.cookies(), answer.body);
        let unknown = bare(to("01890a5d-ac96-774b-bcce-b302099a8057").send().await);
        assert_eq!(bare(to(&foreign.to_string()).send().await), unknown, "somebody else's is as unknown");
        assert_eq!(bare(to("nonsense").send().await), unknown);
        assert_eq!(linus.fetch(&stage.portal("/apps")).await.0, 200);
        own.get(&stage.portal("/me/sessions")).await;
        assert!(!own.text().contains("That session is signed out."));

        own.press("/revoke").await;
        assert!(own.text().contains("That session is signed out."), "{}", own.text());
        assert_eq!(own.all(".sessions > li").len(), 1);
        assert_eq!(other.fetch(&stage.portal("/apps")).await.0, 401);
        assert_eq!(own.fetch(&stage.portal("/apps")).await.0, 200);

        let (more, again) = (stage.signed_in("grace").await, stage.signed_in("grace").await);
        own.get(&stage.portal("/me/sessions")).await;
        own.press("/me/sessions/revoke-others").await;
        for visitor in [&more, &again] {
            assert_eq!(visitor.fetch(&stage.portal("/apps")).await.0, 401);
        }
        assert_eq!(
            (own.fetch(&stage.portal("/apps")).await.0, linus.fetch(&stage.portal("/apps")).await.0),
            (200.try_into().unwrap(), 200.try_into().unwrap())
        );
        // It is written down.
        let wanted = cardea::admin::AuditSearch {
            tenant: None,
            actor: None,
            target: None,
            action: Some("session.end".into()),
            outcome: None,
            before: None,
            limit: 50,
        };
        let written = stage.house().admin.search_audit(&Authority::system(), &wanted).await.unwrap();
        assert!(written.iter().any(|record| ids.iter().any(|id| record.session == Some(*id))), "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_two_people_one_after_another_in_one_browser() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (lantern, partner) = (stage.url("lantern.cardea", "/"), stage.url("lantern.partner", "/"));
    let mut browser = stage.signed_in("grace").await;
    browser.get(&lantern).await;
    let (_, seen) = browser.fetch(&lantern).await;
    let first = seen["claims"]["sid"].clone();
    let old = [
        (stage.portal("/apps"), browser.cookie(&stage.portal("/"), "cardea").unwrap()),
        (lantern.clone(), browser.cookie(&lantern, "cardea").unwrap()),
    ];
    // Requests go on all the time, as a page that polls makes them.
    let (tab, url) = (browser.tab(), lantern.clone());
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let polling = tokio::spawn(async move {
        let mut names = Vec::new();
        while !*stopped.borrow_and_update() {
            let (status, seen) = tab.fetch(&url).await;
            names.push((status.as_u16(), seen["claims"]["username"].as_str().map(str::to_owned)));
        }
        names
    });
    sign_out(&stage, &mut browser).await;
    browser.get(&partner).await;
    browser.submit(&[("identifier", "yana")]).await;
    browser.submit(&[("password", PASSWORD)]).await;
    assert_eq!(browser.title(), "Hello, Яна Новак");
    browser.get(&lantern).await;
    assert_eq!(browser.status, 403, "yana, and not who was here before");
    let (status, _) = browser.fetch(&lantern).await;
    assert_eq!(status, 403);
    stop.send(true).unwrap();
    let names = polling.await.unwrap();
    let last_of_grace = names.iter().rposition(|(_, name)| name.as_deref() == Some("grace"));
    let first_refused = names.iter().position(|(status, _)| *status != 200);
    assert!(last_of_grace < first_refused || first_refused.is_none(), "{names:?}");
    assert!(names.iter().all(|(_, name)| matches!(name.as_deref(), None | Some("grace"))));
    let (_, seen) = browser.fetch(&partner).await;
    assert_ne!(seen["claims"]["sid"], first, "ids are never used again");
    for (url, token) in &old {
        assert!(!opens(url, token).await, "{url}");
    }
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tabs_that_sign_in_at_once_all_arrive() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let browser = stage.visitor();
        let mut tabs = Vec::new();
        for n in 0..5 {
            let mut tab = browser.tab();
            tab.get(&stage.url(
                if n % 2 == 0 { "lantern.cardea" } else { "reports.cardea" },
                &format!("/page/{n}?x={n}"),
            ))
            .await;
            assert_eq!(tab.title(), "Sign in");
            tabs.push(tab);
        }
        // Each step in all tabs at once. Reports asks for a code; the first tab gives it.
        for fields in [("identifier", "ada"), ("password", PASSWORD)] {
            let forms: Vec<_> = tabs.iter().map(|tab| tab.ready(&[fields])).collect();
            for ((tab, form), answer) in tabs.iter_mut().zip(&forms).zip(all_at_once(&forms).await) {
                tab.take(&form.url, answer).await;
            }
        }
        assert!(tabs.iter().all(|tab| tab.title() == "Enter your code"));
        let code = stage.ada_code();
        tabs[0].submit(&[("code", &code)]).await;
        // The others notice that somebody is signed in, whatever they send.
        for tab in &mut tabs[1..] {
            tab.submit(&[("code", &code)]).await;
        }
        for (n, tab) in tabs.iter().enumerate() {
            assert_eq!(tab.title(), "Hello, Ada Lovelace", "{engine:?}, tab {n}: {}", tab.text());
            assert!(tab.url.ends_with(&format!("/page/{n}?x={n}")), "{}", tab.url);
        }
        // Without a second factor, the last step in all of them at the same moment.
        let browser = stage.visitor();
        let mut tabs = Vec::new();
        for n in 0..5 {
            let mut tab = browser.tab();
            tab.get(&stage.url("lantern.cardea", &format!("/page/{n}"))).await;
            tab.submit(&[("identifier", "grace")]).await;
            tabs.push(tab);
        }
        let forms: Vec<_> = tabs.iter().map(|tab| tab.ready(&[("password", PASSWORD)])).collect();
        for (n, ((tab, form), answer)) in
            tabs.iter_mut().zip(&forms).zip(all_at_once(&forms).await).enumerate()
        {
            tab.take(&form.url, answer).await;
            assert_eq!(tab.title(), "Hello, Grace Hopper", "{engine:?}, tab {n}: {}", tab.text());
            assert!(tab.url.ends_with(&format!("/page/{n}")), "{}", tab.url);
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_keeps_no_cookies_is_told_so_and_goes_in_no_circle() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut visitor = Visitor::forgetful();
    visitor.get(&stage.url("lantern.cardea", "/")).await;
    assert_eq!(visitor.title(), "Sign in");
    visitor.submit(&[("identifier", "grace")]).await;
    assert_eq!(
        (visitor.title().as_str(), visitor.status.as_u16()),
        ("Your browser did not keep our cookie", 400)
    );
    assert_eq!(visitor.way.len(), 1);
    // At the portal it keeps them, at the app it does not.
    let keeping = stage.signed_in("grace").await;
    let callback = super::handoff::code(&keeping, &stage.url("lantern.cardea", "/")).await;
    let mut visitor = Visitor::forgetful();
    visitor.get(&callback).await;
    assert_eq!(
        (visitor.title().as_str(), visitor.status.as_u16(), visitor.way.len()),
        ("Your browser did not keep our cookie", 400, 1)
    );
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_requests_get_401_and_never_a_redirect_or_a_cookie() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut gone = stage.signed_in("grace").await;
    gone.get(&stage.url("lantern.cardea", "/")).await;
    let stale = kept_tokens(&gone, &stage);
    sign_out(&stage, &mut gone).await;
    let cases: [&[(&str, &str)]; 6] = [
        &[("accept", "application/json")],
        &[("accept", "*/*")],
        &[
            ("accept", "*/*"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-site", "same-origin"),
        ],
        &[
            ("accept", "image/avif,image/webp,*/*;q=0.8"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
        ],
        &[("accept", "text/event-stream"), ("sec-fetch-mode", "cors")],
        &[],
    ];
    let client = Visitor::forgetful().client;
    for host in ["lantern.cardea", "reports.cardea", "access.cardea"] {
        let url = stage.url(host, if host == "access.cardea" { "/apps" } else { "/api/x" });
        for fields in cases {
            for cookie in [None, Some(&stale[usize::from(host != "access.cardea")])] {
                for method in [Method::GET, Method::POST] {
                    if host == "access.cardea" && method == Method::POST {
                        continue;
                    }
                    let mut request = client.request(method.clone(), &url);
                    for (name, value) in fields {
                        request = request.header(*name, *value);
                    }
                    if let Some(cookie) = cookie {
                        request = request.header("cookie", format!("cardea={cookie}"));
                    }
                    let answer = Answer::of(request.send().await.unwrap()).await;
                    let what = format!("{method} {url} {fields:?}");
                    assert_eq!(answer.status, 401, "{what}: {}", answer.body);
                    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
                    assert_eq!((answer.cookies().len(), answer.location()), (0, None), "{what}");
                    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                    assert!(
                        problem["sign_in_url"].as_str().unwrap().starts_with(&stage.url(host, "/")),
                        "{what}: {problem}"
                    );
                }
            }
        }
    }
    stage.demo.stop().await;
}

fn kept_tokens(visitor: &Visitor, stage: &Stage) -> [String; 2] {
    [stage.portal("/"), stage.url("lantern.cardea", "/")].map(|url| visitor.cookie(&url, "cardea").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn node_01_without_a_lease_nobody_is_served_from_memory() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (portal, lantern) = (stage.portal("/apps"), stage.url("lantern.cardea", "/"));
    let mut visitor = after_password(&stage, "grace").await;
    visitor.get(&lantern).await;
    let mut met = HashSet::new();
    for _ in 0..40 {
        // As if the feed had not been read for longer than the lease; it is read again in less than half a second.
        stage.clock.advance(Span::seconds(20));
        for url in [&lantern, &portal] {
            let lost = !stage.house().sessions.lease().holds(stage.now());
            let (status, _) = visitor.fetch(url).await;
            if lost && !stage.house().sessions.lease().holds(stage.now()) {
                assert_eq!(status, 503, "{url}");
                met.insert(url.clone());
            }
        }
        if met.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(met.len(), 2, "the lease was never seen lost");
    stage.advance(Span::ZERO).await;
    assert_eq!(visitor.fetch(&portal).await.0, 200);
    stage.demo.stop().await;
}
