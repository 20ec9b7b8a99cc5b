//! The way there and back: state, binding, codes, mix-up.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea::crypto::signing::verify;
use rcgen::KeyPair;
use serde_json::json;

use super::World;
use super::provider::{Idp, Raw};
use crate::support::stage::{Answer, ENGINES, Engine, Visitor};

/// Presses the button and stops at the provider's door: its address, with what is asked.
async fn departed(world: &World) -> (Visitor, String) {
    let mut visitor = world.at_door().await;
    let answer = visitor.look(&world.stage.portal("/auth/start/corp")).await;
    let to = answer.location().unwrap_or_else(|| panic!("{}", answer.text()));
    visitor.url = to.clone();
    (visitor, to)
}

/// Where the provider sends the browser back to.
async fn callback(visitor: &Visitor, to: &str) -> String {
    visitor.look(to).await.location().unwrap()
}

fn signed_in(world: &World, visitor: &Visitor) -> bool {
    visitor.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned())
}

#[tokio::test]
async fn oidc_01_every_request_has_its_own_state_nonce_and_challenge_and_no_secret() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let (_, to) = departed(&world).await;
        let url = url::Url::parse(&to).unwrap();
        let asked: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["scope"], "openid email profile");
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["redirect_uri"], world.stage.portal("/auth/sso-callback/corp"));
        for name in ["state", "nonce", "code_challenge"] {
            assert_eq!(asked[name].len(), 43, "{name}");
            assert!(seen.insert(asked[name].clone()), "{name} repeats");
        }
        assert!(!asked.contains_key("client_secret") && !asked.contains_key("code_verifier"));
        assert!(asked.keys().all(|name| name != "prompt" && name != "max_age"));
    }
    world.welcome().await;
    let seen = world.idp.seen.lock().unwrap();
    let verifier = &seen.tokens.last().unwrap().1["code_verifier"];
    assert!((43..=128).contains(&verifier.len()));
}

#[tokio::test]
async fn oidc_02_an_answer_is_taken_once_and_only_from_the_browser_that_asked() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let (mut visitor, to) = departed(&world).await;
        let back = callback(&visitor, &to).await;
        // Without a state, with another one, in a browser that began nothing, in one that began something else.
        let bare = back.split("&state=").next().unwrap().to_owned();
        for wrong in [bare, back.replace("state=", "state=x"), world.stage.portal("/auth/sso-callback/corp")]
        {
            let mut tab = visitor.tab();
            tab.get(&wrong).await;
            assert_eq!((tab.title().as_str(), tab.status.as_u16()), ("Start again", 400));
        }
        let mut stranger = world.stage.visitor();
        stranger.get(&back).await;
        assert_eq!(stranger.title(), "Start again");
        let (mut victim, _) = departed(&world).await;
        victim.get(&back).await;
        assert!(!signed_in(&world, &victim), "{engine:?}: somebody else's sign-in was taken over");
        assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 0, "a code was redeemed for somebody else");
        // Six at once: one comes in, and the code was sent once.
        let six = (0..6).map(|_| visitor.look(&back));
        let answers = futures(six).await;
        assert_eq!(answers.iter().filter(|answer| answer.token().is_some()).count(), 1);
        assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 1);
        // And once more.
        visitor.get(&back).await;
        assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 1);
    }
}

async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (at, one) in all.iter_mut().enumerate() {
            if done[at].is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                done[at] = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn oidc_20_a_code_of_another_sign_in_is_stopped_by_pkce_and_by_nonce() {
    for enforces in [true, false] {
        let world = World::open(Engine::Sqlite, "").await;
        world.idp.says(|script| script.enforces_pkce = enforces);
        let (thief, to) = departed(&world).await;
        let stolen = callback(&thief, &to).await;
        let code = url::Url::parse(&stolen)
            .unwrap()
            .query_pairs()
            .find(|(name, _)| name == "code")
            .unwrap()
            .1
            .into_owned();
        world.idp.says(|script| script.answer = json!({ "code": code }));
        let why = world.refused(if enforces { "token answer" } else { "id token nonce" }).await;
        assert!(!why.is_empty());
    }
    let world = World::open(Engine::Sqlite, "").await;
    world.idp.says(|script| script.answer = json!({ "id_token": "a.b.c" }));
    world.refused("callback").await;
}

#[tokio::test]
async fn oidc_21_the_code_of_one_provider_goes_to_no_other() {
    let world = World::open(Engine::Sqlite, "").await;
    for iss in ["https://evil.example", &format!("{}/", world.idp.issuer), ""] {
        world.idp.says(|script| script.answer = json!({ "iss": iss }));
        world.refused("callback iss").await;
    }
    world.idp.says(|script| {
        script.answer = json!({});
        script.discovery = json!({ "authorization_response_iss_parameter_supported": true });
    });
    world.later().await;
    world.refused("callback iss").await;
    assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 0, "a code left before the check");
    let issuer = world.idp.issuer.clone();
    world.idp.says(|script| script.answer = json!({ "iss": issuer }));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_21_an_answer_at_the_address_of_another_provider_is_refused() {
    let world = World::open(Engine::Sqlite, "").await;
    let other = Idp::open("other.localhost", std::sync::Arc::clone(&world.stage.clock)).await;
    world.second("other", &other).await;
    let (mut visitor, to) = departed(&world).await;
    let back = callback(&visitor, &to).await.replace("/corp?", "/other?");
    visitor.get(&back).await;
    assert_eq!(world.cause(&visitor).await.0, "callback address");
    assert!(other.seen.lock().unwrap().tokens.is_empty() && world.idp.seen.lock().unwrap().tokens.is_empty());
}

#[tokio::test]
async fn the_shared_address_takes_an_answer_that_says_whom_it_is_from() {
    let world = World::open(Engine::Sqlite, "").await;
    for (iss, taken) in [(None, false), (Some(world.idp.issuer.clone()), true)] {
        world.idp.says(|script| script.answer = json!({ "iss": iss }));
        let (mut visitor, to) = departed(&world).await;
        let back = callback(&visitor, &to).await.replace("/sso-callback/corp?", "/sso-callback?");
        visitor.get(&back).await;
        assert_eq!(signed_in(&world, &visitor), taken, "{}", visitor.text());
    }
}

#[tokio::test]
async fn an_answer_by_a_form_ends_on_a_page_of_ours_that_looks_for_the_browser() {
    for engine in ENGINES {
        let world = World::open(engine, "response_mode = \"form_post\"\n").await;
        let (mut visitor, to) = departed(&world).await;
        visitor.get(&to).await;
        assert_eq!(visitor.title(), "Back");
        // The form comes from another site: no cookie with it, and no way to tell which browser it is.
        let ready = visitor.ready(&[("state", "")]);
        let form: Vec<_> = visitor.form(&[("code", "")]).1;
        let posted = Visitor::forgetful();
        let answer = posted
            .client
            .post(&ready.url)
            .form(&form)
            .header("origin", &world.idp.issuer)
            .header("sec-fetch-site", "cross-site")
            .send()
            .await
            .unwrap();
        let body = answer.text().await.unwrap();
        let finish =
            format!("/auth/finish?flow={}", form.iter().find(|(name, _)| name == "state").unwrap().1);
        assert!(body.contains(&finish), "{body}");
        // Another browser gets nothing for it, the right one comes in, once.
        let mut stranger = world.at_door().await;
        stranger.get(&world.stage.portal(&finish)).await;
        assert_eq!(stranger.title(), "Start again", "{engine:?}");
        visitor.get(&world.stage.portal(&finish)).await;
        assert_eq!(visitor.title(), "My apps", "{}", visitor.text());
        let again = visitor.look(&world.stage.portal(&finish)).await;
        assert!(again.token().is_none());
    }
}

#[tokio::test]
async fn oidc_21_an_answer_that_comes_in_another_way_than_was_asked_for_is_refused() {
    for (mode, other) in [("query", "form_post"), ("form_post", "query")] {
        let world = World::open(Engine::Sqlite, &format!("response_mode = \"{mode}\"\n")).await;
        let (mut visitor, to) = departed(&world).await;
        let to = to.replace("&response_mode=form_post", "");
        let code = callback(&visitor, &to).await;
        if other == "query" {
            visitor.get(&code).await;
        } else {
            let (address, query) = code.split_once('?').unwrap();
            let form: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let posted = Visitor::forgetful().client.post(address).form(&form).send().await.unwrap();
            visitor.take(address, Answer::of(posted).await).await;
        }
        assert_eq!(world.cause(&visitor).await.0, "callback mode", "{mode}");
        assert!(!signed_in(&world, &visitor));
        assert!(world.idp.seen.lock().unwrap().tokens.is_empty(), "the code was redeemed");
    }
}

#[tokio::test]
async fn oidc_34_a_provider_s_words_are_data() {
    let world = World::open(Engine::Sqlite, "").await;
    let markup = "<script>alert(1)</script>\r\nset-cookie: a=b";
    world.idp.says(|script| {
        script.answer = json!({ "error": "server_error", "error_description": markup, "code": null });
    });
    let visitor = world.pressed().await;
    assert_eq!(world.cause(&visitor).await.0, "provider error");
    assert!(!visitor.body.contains("alert(1)"), "{}", visitor.body);
}

#[tokio::test]
async fn oidc_37_a_sign_in_leads_to_no_other_site() {
    let world = World::open(Engine::Sqlite, "").await;
    for to in [
        "//evil.example/",
        "/\\evil.example",
        "https://evil.example/",
        "data:text/html,x",
        "/\t/evil.example",
    ] {
        let mut visitor = world.at_door().await;
        let to: String = form_urlencoded::byte_serialize(to.as_bytes()).collect();
        visitor.get(&world.stage.portal(&format!("/auth/start/corp?return_to={to}"))).await;
        assert!(visitor.url.starts_with(&world.stage.portal("/")), "{to}: {}", visitor.url);
        assert_eq!(visitor.title(), "My apps");
    }
}

#[tokio::test]
async fn nothing_is_written_for_a_browser_that_shows_no_cookie() {
    let world = World::open(Engine::Sqlite, "").await;
    let start = world.stage.portal("/auth/start/corp");
    let forgetful = Visitor::forgetful();
    let first = forgetful.look(&start).await;
    assert!(first.location().is_none() && first.body.contains("cookie=1"), "{}", first.text());
    let second = forgetful.look(&format!("{start}?cookie=1")).await;
    assert_eq!(second.status, 400);
    assert!(world.idp.seen.lock().unwrap().paths.is_empty());
    // With cookies the page leads on.
    let mut visitor = world.stage.visitor();
    visitor.get(&start).await;
    assert_eq!(visitor.title(), "My apps");
}

#[tokio::test]
async fn oidc_35_no_token_of_the_provider_is_kept_or_shown() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.welcome().await;
    assert!(!visitor.body.contains("opaque-token"));
    world.stage.house().db.ping().await.unwrap();
    let mut found = Vec::new();
    for file in std::fs::read_dir(world.stage.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if bytes.windows(12).any(|part| part == b"opaque-token") {
            found.push(path);
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn a_provider_that_is_removed_or_stopped_refuses_sign_ins_already_begun() {
    let world = World::open(Engine::Sqlite, "").await;
    let (mut visitor, to) = departed(&world).await;
    let back = callback(&visitor, &to).await;
    world.stage.reconfigured("name = \"corp\"", "name = \"corp2\"").await;
    visitor.get(&back).await;
    assert_eq!(visitor.title(), "Start again");
    assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 0);
}

/// Part of a token, as JSON.
fn part(token: &str, at: usize) -> serde_json::Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

#[tokio::test]
async fn a_key_of_ours_proves_who_we_are_once_and_to_one_provider() {
    let world = World::open(Engine::Sqlite, "").await;
    let key = KeyPair::generate().unwrap();
    world.keep("corp.key", &key.serialize_pem());
    let secret = format!("client_secret = \"{}\"\n", super::SECRET);
    let with_key = "client_auth = \"private_key_jwt\"\nclient_key = { file = \"corp.key\" }\n";
    world.stage.reconfigured(&secret, with_key).await;
    let endpoint = format!("{}/token", world.idp.issuer);
    for audience in [world.idp.issuer.clone(), endpoint] {
        world.welcome().await;
        world.welcome().await;
        let sent = world.idp.seen.lock().unwrap().tokens.clone();
        let assertions: Vec<String> =
            sent.iter().rev().take(2).map(|(_, form)| form["client_assertion"].clone()).collect();
        let (basic, form) = sent.last().unwrap();
        assert!(basic.is_none() && !form.contains_key("client_secret"));
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert_eq!(form["client_id"], "cardea");
        let (published, kind) = {
            let answer = world.stage.visitor().look(&world.stage.portal("/auth/oidc/corp/jwks.json")).await;
            let kind = answer.headers["content-type"].to_str().unwrap().to_owned();
            (serde_json::from_str::<serde_json::Value>(&answer.body).unwrap(), kind)
        };
        assert_eq!(kind, "application/json");
        assert!(published["keys"][0].get("d").is_none());
        for token in &assertions {
            let (claims, head) = verify(token, &published, "JWT").unwrap();
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("cardea"), &json!("cardea")));
            assert_eq!(claims["aud"], json!(audience));
            let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert!((1..=60).contains(&life), "{life}");
            assert_eq!(head["kid"], published["keys"][0]["kid"]);
        }
        assert_ne!(part(&assertions[0], 1)["jti"], part(&assertions[1], 1)["jti"]);
        if claims_issuer(&assertions[0], &world.idp.issuer) {
            world
                .stage
                .reconfigured(with_key, &format!("{with_key}client_audience = \"token_endpoint\"\n"))
                .await;
        }
    }
    // Whoever has no key has nothing to publish.
    let bare = World::open(Engine::Sqlite, "").await;
    for name in ["corp", "nobody"] {
        let answer =
            bare.stage.visitor().look(&bare.stage.portal(&format!("/auth/oidc/{name}/jwks.json"))).await;
        assert_eq!(answer.status, 404);
    }
}

fn claims_issuer(token: &str, issuer: &str) -> bool {
    part(token, 1)["aud"] == json!(issuer)
}

#[tokio::test]
async fn a_secret_is_shown_in_a_header_or_in_the_form_as_configured() {
    let world = World::open(Engine::Sqlite, "").await;
    world.welcome().await;
    assert!(world.idp.seen.lock().unwrap().tokens[0].0.is_some());
    let world = World::open(Engine::Sqlite, "client_auth = \"client_secret_post\"\n").await;
    world.welcome().await;
    let (basic, form) = world.idp.seen.lock().unwrap().tokens[0].clone();
    assert_eq!((basic, form["client_secret"].as_str()), (None, super::SECRET));
    world.idp.says(|script| {
        script.raw.insert("/token", Raw { status: 401, ..Raw::json(r#"{"error":"invalid_client"}"#) });
    });
    let why = world.refused("token answer").await;
    assert!(why.contains("client_secret"), "{why}");
}
