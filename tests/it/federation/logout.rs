//! Signing out at the provider as well, and the provider signing people out.

use std::time::{Duration, Instant};

use cardea::domain::{SessionId, Span};
use cardea::store::{audit, sessions};
use serde_json::{Value, json};

use super::World;
use super::provider::{Idp, Raw};
use crate::flows::open::{Socket, lead_to, upstream};
use crate::support::stage::{Answer, ENGINES, Engine, Stage, Visitor};

/// What a logout ends, ends within this.
const BOUND: Duration = Duration::from_secs(1);

/// Sends a logout token as the provider does.
async fn tell(stage: &Stage, token: &str) -> Answer {
    tell_with(stage, &[("logout_token", token)]).await
}

async fn tell_with(stage: &Stage, form: &[(&str, &str)]) -> Answer {
    let visitor = Visitor::forgetful();
    let request = visitor.client.post(stage.portal("/auth/oidc/corp/backchannel-logout")).form(form);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.cookies().is_empty(), "the provider is given a cookie");
    answer
}

impl World {
    /// Somebody who has come from a session of the provider's with this name.
    async fn sent_from(&self, sid: &Value) -> Visitor {
        self.idp.says(|script| script.claims = json!({ "sid": sid }));
        let visitor = self.welcome().await;
        self.idp.says(|script| script.claims = json!({}));
        visitor
    }
}

async fn live(stage: &Stage, name: &str) -> Vec<SessionId> {
    let user = stage.user(name).await;
    let mut conn = stage.house().db.read().await.unwrap();
    sessions::live_of(&mut conn, user, stage.now()).await.unwrap().iter().map(|it| it.id).collect()
}

async fn signed_in(world: &World, visitor: &Visitor) -> bool {
    visitor.fetch(&world.stage.portal("/apps")).await.0 == 200
}

#[tokio::test]
async fn oidc_31_a_logout_ends_the_sessions_that_it_names_and_no_other() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let (stage, idp) = (&world.stage, &world.idp);
        let one = world.sent_from(&json!("s-1")).await;
        let two = world.sent_from(&json!("s-2")).await;
        let nameless = world.sent_from(&Value::Null).await;
        let other = stage.signed_in("grace").await;
        // Nobody has that one.
        assert_eq!(tell(stage, &idp.logout_token(&json!({ "sid": "s-9" }), &json!({}))).await.status, 200);
        // The session of somebody else.
        let foreign = idp.logout_token(&json!({ "sid": "s-1", "sub": "somebody else" }), &json!({}));
        assert_eq!(tell(stage, &foreign).await.status, 200);
        assert!(signed_in(&world, &one).await && signed_in(&world, &two).await);
        let answer = tell(stage, &idp.logout_token(&json!({ "sid": "s-1" }), &json!({}))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert!(!signed_in(&world, &one).await, "{engine:?}");
        assert!(signed_in(&world, &two).await && signed_in(&world, &nameless).await);
        // A session that the provider has given no name is meant by whatever names its person.
        let person = json!({ "sid": "s-7", "sub": "248289761001" });
        assert_eq!(tell(stage, &idp.logout_token(&person, &json!({}))).await.status, 200);
        assert!(signed_in(&world, &two).await && !signed_in(&world, &nameless).await);
        // Everything of somebody.
        let three = world.sent_from(&json!("s-3")).await;
        let person = idp.logout_token(&json!({ "sub": "248289761001" }), &json!({ "typ": "JWT" }));
        assert_eq!(tell(stage, &person).await.status, 200);
        assert!(!signed_in(&world, &two).await && !signed_in(&world, &three).await);
        assert!(signed_in(&world, &other).await, "somebody who did not come from there");
        assert_eq!(live(stage, "jane.corp").await.len(), 0);
        // On record, also why the session ended.
        let mut conn = stage.house().db.read().await.unwrap();
        let rows = audit::latest(&mut conn, 40).await.unwrap();
        let count = |action: &str| rows.iter().filter(|row| row.action == action).count();
        assert_eq!(count("session.end-by-provider"), 5);
        assert_eq!(count("session.end"), 4);
    }
}

#[tokio::test]
async fn oidc_31_a_logout_token_that_is_not_right_ends_nothing() {
    type Token = Box<dyn Fn(&Idp) -> String>;
    let patched = |claims: Value, header: Value| -> Token {
        Box::new(move |idp| {
            let mut said = json!({ "sid": "s-1" });
            // Not merged: what is to be missing is for the provider to leave out.
            for (name, value) in claims.as_object().unwrap() {
                said[name] = value.clone();
            }
            idp.logout_token(&said, &header)
        })
    };
    let claims = |claims: Value| patched(claims, json!({}));
    let none = json!({});
    // So many seconds from when it is sent.
    let timed = |name: &'static str, seconds: i64| -> Token {
        Box::new(move |idp| idp.logout_token(&json!({ "sid": "s-1", name: idp.now() + seconds }), &json!({})))
    };
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let (stage, idp) = (&world.stage, &world.idp);
        let visitor = world.sent_from(&json!("s-1")).await;
        // As a sign-in gives one.
        let id_token = json!({ "events": null, "jti": null, "nonce": "n", "sub": "248289761001" });
        let event = "http://schemas.openid.net/event/backchannel-logout";
        let wrong: Vec<(&str, Token)> = vec![
            ("algorithm", patched(none.clone(), json!({ "alg": "none" }))),
            ("algorithm", patched(none.clone(), json!({ "alg": "HS256" }))),
            ("header", patched(none.clone(), json!({ "crit": ["x"], "x": 1 }))),
            ("type", patched(none.clone(), json!({ "typ": "at+jwt" }))),
            ("key", patched(none.clone(), json!({ "kid": "another" }))),
            ("iss", claims(json!({ "iss": "https://evil.example" }))),
            ("iss", claims(json!({ "iss": null }))),
            ("aud", claims(json!({ "aud": "another" }))),
            ("aud", claims(json!({ "aud": ["cardea", "another"] }))),
            ("aud", claims(json!({ "aud": null }))),
            ("events", claims(json!({ "events": null }))),
            ("events", claims(json!({ "events": { event: null, "urn:another": {} } }))),
            ("events", claims(json!({ "events": { event: "yes" } }))),
            ("nonce", claims(json!({ "nonce": "n" }))),
            ("claims", claims(json!({ "sid": null }))),
            ("claims", claims(json!({ "sid": 7 }))),
            ("claims", claims(json!({ "sub": "" }))),
            ("claims", claims(json!({ "jti": null }))),
            ("claims", claims(json!({ "iat": null }))),
            ("claims", claims(json!({ "exp": null }))),
            ("claims", claims(json!({ "exp": "soon" }))),
            ("iat", timed("iat", -700)),
            ("iat", timed("iat", 300)),
            ("exp", timed("exp", -70)),
            ("events", patched(id_token, json!({ "typ": "JWT" }))),
            ("form", Box::new(|_| "no token".to_owned())),
            ("form", Box::new(|_| "a.b.c.d.e".to_owned())),
            ("size", Box::new(|_| format!("a.{}.b", "x".repeat(20_000)))),
            (
                "signature",
                Box::new(|idp| {
                    let token = idp.logout_token(&json!({ "sid": "s-1" }), &json!({}));
                    let (text, _) = token.rsplit_once('.').unwrap();
                    format!("{text}.{}", "A".repeat(86))
                }),
            ),
        ];
        for (at, (check, token)) in wrong.iter().enumerate() {
            let answer = tell(stage, &token(idp)).await;
            assert_eq!(answer.status, 400, "{check}");
            let said: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(said["error"], "invalid_request");
            assert_eq!(last_check(&world, at + 1).await, format!("logout token {check}"));
            // Those who send many of them wait.
            stage.advance(Span::seconds(70)).await;
        }
        // Not even a token, or two of them.
        let good = idp.logout_token(&json!({ "sid": "s-1" }), &json!({}));
        for form in [vec![], vec![("logout_token", good.as_str()), ("logout_token", good.as_str())]] {
            assert_eq!(tell_with(stage, &form).await.status, 400);
        }
        assert!(signed_in(&world, &visitor).await, "{engine:?}");
        assert_eq!(tell(stage, &good).await.status, 200);
        assert!(!signed_in(&world, &visitor).await);
    }
}

/// The check that the newest of so many refusals has failed.
async fn last_check(world: &World, count: usize) -> String {
    for _ in 0..250 {
        let mut conn = world.stage.house().db.read().await.unwrap();
        let rows = audit::latest(&mut conn, 200).await.unwrap();
        drop(conn);
        let mut refused: Vec<_> = rows.iter().filter(|row| row.action == "session.end-by-provider").collect();
        refused.sort_by_key(|row| row.at);
        if refused.len() >= count {
            let detail: Value = serde_json::from_str(&refused.last().unwrap().detail).unwrap();
            return detail["check"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {count} refusals on record");
}

#[tokio::test]
async fn oidc_31_who_sends_many_wrong_tokens_waits() {
    let world = World::open(Engine::Sqlite, "").await;
    let wrong = world.idp.logout_token(&json!({ "sid": "s-1", "aud": "another" }), &json!({}));
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(tell(&world.stage, &wrong).await.status);
    }
    assert_eq!(statuses, [vec![400; 20], vec![429; 5]].concat());
    world.stage.advance(Span::seconds(61)).await;
    assert_eq!(tell(&world.stage, &wrong).await.status, 400);
}

#[tokio::test]
async fn oidc_31_somebody_signed_out_there_while_signing_in_here_does_not_come_in() {
    for (about, sid) in [
        (json!({ "sid": "s-1" }), json!("s-1")),
        (json!({ "sub": "248289761001" }), json!("s-1")),
        (json!({ "sid": "s-1", "sub": "248289761001" }), Value::Null),
    ] {
        let world = World::open(Engine::Sqlite, "").await;
        // Ada's second factor is owed: the session is not there yet.
        world.stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
        world.idp.says(|script| script.claims = json!({ "sid": sid }));
        let mut visitor = world.pressed().await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
        let token = world.idp.logout_token(&about, &json!({}));
        assert_eq!(tell(&world.stage, &token).await.status, 200);
        let key = visitor.attribute("#key", "data-value").unwrap();
        let seed = cardea::protocol::totp::Seed::from_bytes(cardea::domain::Secret::new(
            data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap(),
        ));
        let code = seed.unwrap().code(world.stage.now());
        visitor.submit(&[("code", &code)]).await;
        assert!(!signed_in(&world, &visitor).await, "{about}: {}", visitor.text());
        // Coming anew is another matter.
        world.stage.reconfigured("require = \"everyone\"", "require = \"off\"").await;
        world.stage.advance(Span::seconds(1)).await;
        assert!(signed_in(&world, &world.welcome().await).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_31_node_01_a_logout_is_known_everywhere_within_a_second_and_tokens_work_once() {
    let (one, two) = Stage::pair().await;
    let idp = Idp::open("idp.localhost", std::sync::Arc::clone(&one.clock)).await;
    let world = World { stage: one, idp };
    let far = World { stage: two, idp: world.idp.clone() };
    let upstream = upstream().await;
    for it in [&world, &far] {
        let section = it.section("corp", "tenant = \"acme\"\n", "");
        it.append(&section.replace("  at = \"acme/europe/finance\"\n", "")).await;
        lead_to(&it.stage, upstream).await;
    }
    for round in 0..5 {
        let sid = format!("s-{round}");
        let mut visitor = world.sent_from(&json!(sid)).await;
        visitor.get(&world.stage.url("lantern.cardea", "/")).await;
        assert_eq!(visitor.body, "here");
        assert_eq!(visitor.fetch(&far.stage.portal("/apps")).await.0, 200);
        let mut near = Socket::open(&world.stage, &visitor).await;
        let mut away = Socket::open(&far.stage, &visitor).await;
        let token = world.idp.logout_token(&json!({ "sid": sid }), &json!({}));
        let begun = Instant::now();
        assert_eq!(tell(&world.stage, &token).await.status, 200);
        assert_eq!(visitor.fetch(&world.stage.portal("/apps")).await.0, 401, "at once on the node itself");
        assert!(near.ends().await.1 <= BOUND && away.ends().await.1 <= BOUND);
        assert_eq!(visitor.fetch(&far.stage.portal("/apps")).await.0, 401);
        assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
        // Once, on whatever node.
        assert_eq!(tell(&far.stage, &token).await.status, 400);
    }
    world.stage.demo.stop().await;
    far.stage.demo.stop().await;
}

#[tokio::test]
async fn oidc_31_a_logout_is_heard_though_the_provider_is_switched_off() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.sent_from(&json!("s-1")).await;
    let admin = &world.stage.house().admin;
    let by = cardea::access::Authority::system();
    let corp = cardea::domain::Slug::parse("corp").unwrap();
    admin.stop_provider(&by, (&corp, None), "a test", None).await.unwrap();
    // Its sessions ended with that (`SESS-07`). It goes on to be told that it was understood.
    assert!(!signed_in(&world, &visitor).await);
    let token = world.idp.logout_token(&json!({ "sid": "s-1" }), &json!({}));
    assert_eq!(tell(&world.stage, &token).await.status, 200);
    let forged = token.replace('.', ".e30");
    assert_eq!(tell(&world.stage, &forged).await.status, 400, "not everything is understood");
}

#[tokio::test]
async fn oidc_30_signing_out_goes_on_at_the_provider_and_comes_back() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let mut visitor = world.sent_from(&json!("s-1")).await;
        visitor.get(&world.stage.portal("/sign-out")).await;
        let answer = visitor.ready(&[]).with("there", "1").send().await;
        assert_eq!(answer.status, 200, "a page of ours, since forms may lead to no other site");
        assert!(live(&world.stage, "jane.corp").await.is_empty(), "over here before anything is asked there");
        let mut tab = visitor.tab();
        tab.take(&world.stage.portal("/sign-out"), answer).await;
        let href = tab.attribute(".card a, a.button", "href").unwrap();
        tab.get(&href).await;
        assert_eq!(tab.title(), "You are signed out");
        assert!(tab.text().contains("here and at Corp"), "{}", tab.text());
        let seen = world.idp.seen.lock().unwrap().sign_outs.pop().unwrap();
        assert_eq!(seen["post_logout_redirect_uri"], world.stage.portal("/signed-out"));
        assert_eq!(seen["client_id"], "cardea");
        assert_eq!(seen["id_token_hint"].split('.').count(), 3);
        assert!(!seen["state"].is_empty());
        // Its tokens are gone with it.
        let mut conn = world.stage.house().db.read().await.unwrap();
        assert!(cardea::store::provider_sessions::sealed(&mut conn).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn oidc_30_whatever_comes_back_the_session_is_over_and_nobody_is_led_elsewhere() {
    let world = World::open(Engine::Sqlite, "").await;
    for state in [json!("another"), Value::Null, json!("x".repeat(5000))] {
        let mut visitor = world.welcome().await;
        world
            .idp
            .says(|script| script.answer = json!({ "state": state, "return_to": "https://evil.example" }));
        visitor.get(&world.stage.portal("/sign-out")).await;
        visitor.submit(&[("there", "1")]).await;
        assert_eq!(visitor.title(), "You are signed out");
        assert_eq!(visitor.attribute("a.button", "href").unwrap(), "/sign-in");
        assert!(!visitor.text().contains("Corp"), "{}", visitor.text());
        world.idp.says(|script| script.answer = json!({}));
    }
    // What another browser was given says nothing here.
    let mut visitor = world.welcome().await;
    visitor.get(&world.stage.portal("/sign-out")).await;
    visitor.submit(&[("there", "1")]).await;
    assert!(visitor.text().contains("here and at Corp"), "{} {:?}", visitor.text(), visitor.way);
    let mut stranger = world.stage.visitor();
    stranger.get(&world.stage.portal("/sign-in")).await;
    stranger.get(&visitor.url).await;
    assert!(stranger.title() == "You are signed out" && !stranger.text().contains("Corp"));
}

#[tokio::test]
async fn oidc_30_a_provider_that_is_down_or_knows_no_sign_out_keeps_nobody_in() {
    let garbage = Raw { status: 200, media_type: "text/html", location: None, body: Vec::new() };
    for (settings, offered) in [("", 2), ("sign_out = false\n", 0)] {
        let world = World::open(Engine::Sqlite, settings).await;
        let mut visitor = world.welcome().await;
        world.later().await;
        world.idp.says(|script| {
            script.raw.insert("/discovery", garbage.clone());
        });
        visitor.get(&world.stage.portal("/sign-out")).await;
        assert_eq!(visitor.all("button[name=there]").len(), offered);
        visitor.press("/sign-out").await;
        assert_eq!(visitor.title(), "You are signed out", "{}", visitor.text());
        assert!(visitor.text().contains("still signed in at Corp"), "{}", visitor.text());
        assert!(!signed_in(&world, &visitor).await);
        assert!(world.idp.seen.lock().unwrap().sign_outs.is_empty());
    }
}

#[tokio::test]
async fn oidc_30_only_here_is_a_choice_and_apps_lead_to_it() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    let mut visitor = world.welcome().await;
    visitor.get(&world.stage.url("lantern.cardea", "/")).await;
    visitor.get(&world.stage.url("lantern.cardea", "/.cardea/sign-out")).await;
    assert_eq!(visitor.url, world.stage.portal("/sign-out"));
    assert_eq!(visitor.all("button[name=there]"), ["Sign out here and at Corp", "Sign out here only"]);
    visitor.submit(&[("there", "0")]).await;
    assert_eq!(visitor.title(), "You are signed out");
    assert!(visitor.text().contains("Lantern: signed out"), "{}", visitor.text());
    assert!(visitor.text().contains("still signed in at Corp"));
    assert!(world.idp.seen.lock().unwrap().sign_outs.is_empty());
    assert_eq!(visitor.fetch(&world.stage.url("lantern.cardea", "/")).await.0, 401);
}
