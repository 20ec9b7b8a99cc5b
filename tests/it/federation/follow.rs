//! Sessions that follow their provider.

use std::time::Duration;

use cardea::domain::Span;
use serde_json::json;

use super::World;
use super::provider::{Idp, Raw};
use crate::support::stage::{ENGINES, Engine, Stage, Visitor};

const SETTINGS: &str = "follow_session = true\nfollow_every = \"5m\"\nfollow_grace = \"1h\"\n";

async fn world(engine: Engine) -> World {
    let world = World::open(engine, SETTINGS).await;
    world.idp.says(|script| script.token = json!({ "refresh_token": "r-0" }));
    world
}

impl World {
    /// Lets a session become due, and waits until the provider was asked so often.
    async fn due(&self, asked: usize) {
        self.stage.advance(Span::seconds(301)).await;
        self.asked(asked).await;
    }

    async fn asked(&self, times: usize) {
        for _ in 0..500 {
            if self.idp.refreshes() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("asked {} times and not {times}", self.idp.refreshes());
    }
}

impl Idp {
    /// How often it was asked about a session.
    fn refreshes(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let refreshed = seen.tokens.iter().filter(|(_, form)| form["grant_type"] == "refresh_token").count();
        refreshed + seen.count("/introspect")
    }
}

async fn stays(world: &World, visitor: &Visitor) {
    // What was answered must have been noted before anything is looked at.
    for _ in 0..25 {
        assert_eq!(visitor.fetch(&world.stage.portal("/apps")).await.0, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ends(world: &World, visitor: &Visitor) {
    for _ in 0..250 {
        if visitor.fetch(&world.stage.portal("/apps")).await.0 == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session goes on");
}

#[tokio::test]
async fn oidc_36_a_session_goes_on_while_the_provider_stands_by_it_and_ends_when_it_refuses() {
    for engine in ENGINES {
        let world = world(engine).await;
        let visitor = world.welcome().await;
        for round in 1..=3 {
            world.due(round).await;
            stays(&world, &visitor).await;
        }
        // Each token was shown once, and none twice.
        let seen: Vec<String> = {
            let seen = world.idp.seen.lock().unwrap();
            let forms = seen.tokens.iter().filter_map(|(_, form)| form.get("refresh_token").cloned());
            forms.collect()
        };
        assert_eq!(seen, ["r-0", "r-1", "r-2"], "{engine:?}");
        world.idp.says(|script| script.refresh = json!({ "error": "invalid_grant" }));
        world.due(4).await;
        ends(&world, &visitor).await;
        let mut conn = world.stage.house().db.read().await.unwrap();
        assert!(cardea::store::provider_sessions::sealed(&mut conn).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn oidc_36_new_tokens_about_somebody_or_something_else_end_the_session() {
    for (wrong, right) in [
        (json!({ "sub": "somebody else" }), false),
        (json!({ "iss": "https://evil.example" }), false),
        (json!({ "aud": "another" }), false),
        (json!({ "azp": "another" }), false),
        (json!({ "nonce": "another" }), false),
        (json!({ "sid": "s-2" }), false),
        (json!({ "auth_time": 1 }), false),
        (json!({ "exp": 1 }), false),
        // What a refreshed token may leave out (OpenID Connect Core §12.2).
        (json!({ "nonce": null, "sid": null, "auth_time": null }), true),
    ] {
        let world = world(Engine::Sqlite).await;
        world.idp.says(|script| script.claims = json!({ "sid": "s-1" }));
        let visitor = world.welcome().await;
        world.idp.says(|script| {
            for (name, value) in wrong.as_object().unwrap() {
                script.claims[name] = value.clone();
            }
        });
        world.due(1).await;
        if right {
            stays(&world, &visitor).await;
        } else {
            ends(&world, &visitor).await;
        }
    }
}

#[tokio::test]
async fn oidc_36_a_provider_that_is_away_ends_nothing_for_a_while() {
    let away = |status| Raw { status, media_type: "application/json", location: None, body: Vec::new() };
    for raw in [away(503), away(500), Raw::json(json!({ "error": "invalid_client" }).to_string())] {
        let world = world(Engine::Sqlite).await;
        let visitor = world.welcome().await;
        let answer = raw.clone();
        world.idp.says(|script| {
            script.raw.insert("/token", answer);
        });
        world.stage.advance(Span::seconds(301)).await;
        for _ in 0..200 {
            if world.idp.seen.lock().unwrap().count("/token") >= 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stays(&world, &visitor).await;
        // It comes back in time.
        world.idp.says(|script| script.raw.clear());
        world.due(1).await;
        stays(&world, &visitor).await;
        // Or it does not.
        world.idp.says(|script| {
            script.raw.insert("/token", raw.clone());
        });
        world.stage.advance(Span::minutes(61)).await;
        ends(&world, &visitor).await;
    }
}

#[tokio::test]
async fn oidc_36_without_a_refresh_token_introspection_tells() {
    let world = World::open(Engine::Sqlite, SETTINGS).await;
    // Nothing to ask with: nobody would notice the end.
    let why = world.refused("follow session").await;
    assert!(why.contains("offline_access"), "{why}");
    let issuer = world.idp.issuer.clone();
    world.idp.says(|script| {
        script.discovery = json!({ "introspection_endpoint": format!("{issuer}/introspect") })
    });
    world.later().await;
    let visitor = world.welcome().await;
    world.due(1).await;
    stays(&world, &visitor).await;
    world.idp.says(|script| script.introspection = json!({ "active": "no" }));
    world.due(2).await;
    stays(&world, &visitor).await;
    world.idp.says(|script| script.introspection = json!({ "active": false }));
    world.due(3).await;
    ends(&world, &visitor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_36_node_02_of_two_nodes_one_asks_and_both_know() {
    let (one, two) = Stage::pair().await;
    let idp = Idp::open("idp.localhost", std::sync::Arc::clone(&one.clock)).await;
    let world = World { stage: one, idp };
    let far = World { stage: two, idp: world.idp.clone() };
    for it in [&world, &far] {
        it.append(&it.section("corp", "tenant = \"acme\"\n", SETTINGS)).await;
    }
    world.idp.says(|script| script.token = json!({ "refresh_token": "r-0" }));
    let mut visitors = Vec::new();
    for _ in 0..5 {
        visitors.push(world.welcome().await);
    }
    for round in 1..=3 {
        world.due(5 * round).await;
        for visitor in &visitors {
            stays(&far, visitor).await;
        }
        assert_eq!(world.idp.refreshes(), 5 * round, "somebody was asked about twice");
    }
    world.idp.says(|script| script.refresh = json!({ "error": "invalid_grant" }));
    world.due(20).await;
    for visitor in &visitors {
        ends(&world, visitor).await;
        ends(&far, visitor).await;
    }
    world.stage.demo.stop().await;
    far.stage.demo.stop().await;
}

#[tokio::test]
async fn oidc_35_tokens_that_are_kept_are_sealed_and_go_with_the_session() {
    let world = world(Engine::Sqlite).await;
    let mut visitor = world.welcome().await;
    let mut conn = world.stage.house().db.read().await.unwrap();
    let sealed = cardea::store::provider_sessions::sealed(&mut conn).await.unwrap();
    assert_eq!(sealed.len(), 1);
    assert!(!sealed[0].2.windows(3).any(|bytes| bytes == b"r-0"));
    drop(conn);
    let files = std::fs::read_dir(world.stage.folder.path()).unwrap();
    let texts: Vec<Vec<u8>> = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok()).collect();
    assert!(texts.iter().any(|text| text.windows(4).any(|bytes| bytes == b"corp")), "nothing was looked at");
    for secret in ["opaque-token", "eyJhbGciOi"] {
        let found =
            texts.iter().any(|text| text.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
        assert!(!found, "{secret} is in a file");
    }
    visitor.get(&world.stage.portal("/sign-out")).await;
    visitor.press("/sign-out").await;
    let mut conn = world.stage.house().db.read().await.unwrap();
    assert!(cardea::store::provider_sessions::sealed(&mut conn).await.unwrap().is_empty());
    drop(conn);
}
