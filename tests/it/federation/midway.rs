//! What changes while somebody is on the way: providers, people and tenants that are stopped, answers that fail too often.

use cardea::access::Authority;
use cardea::domain::{Slug, Span, TenantId};
use serde_json::json;

use super::World;
use crate::support::stage::{ENGINES, Engine, Visitor};

fn inside(world: &World, visitor: &Visitor) -> bool {
    visitor.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned())
}

fn acme(world: &World) -> TenantId {
    world.stage.house().board.snapshot.load().tenant_named(&Slug::parse("acme").unwrap()).unwrap().id
}

/// What is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Person,
    Provider,
    Tenant,
}

async fn stop(world: &World, what: Stop) {
    let (admin, by) = (&world.stage.house().admin, Authority::system());
    match what {
        Stop::Person => {
            let jane = world.stage.user("jane").await;
            admin.suspend_user(&by, jane, "left", None).await.unwrap();
        }
        Stop::Provider => {
            let name = Slug::parse("corp").unwrap();
            admin.stop_provider(&by, (&name, None), "an incident", None).await.unwrap();
        }
        Stop::Tenant => {
            admin.suspend_tenant(&by, acme(world), "unpaid", None).await.unwrap();
        }
    }
}

const EACH: [(Stop, &str); 3] =
    [(Stop::Person, "account"), (Stop::Provider, "provider off"), (Stop::Tenant, "tenant")];

#[tokio::test]
async fn f40_f46_f47_whatever_is_stopped_before_the_answer_comes_lets_nobody_in() {
    for (what, check) in EACH {
        let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
        world.welcome().await;
        let mut visitor = world.at_door().await;
        let to = visitor.look(&world.stage.portal("/auth/start/corp")).await.location().unwrap();
        let back = visitor.look(&to).await.location().unwrap();
        stop(&world, what).await;
        visitor.get(&back).await;
        assert_eq!(world.cause(&visitor).await.0, check, "{what:?}");
        assert!(!inside(&world, &visitor), "{what:?}");
    }
}

#[tokio::test]
async fn f40_f46_f47_whatever_is_stopped_while_a_posted_answer_waits_for_its_browser_lets_nobody_in() {
    for engine in ENGINES {
        for (what, check) in EACH {
            let world = World::open(engine, "authoritative = true\nresponse_mode = \"form_post\"\n").await;
            for last in [false, true] {
                let mut visitor = world.at_door().await;
                visitor.get(&world.stage.portal("/auth/start/corp")).await;
                let ready = visitor.ready(&[("state", "")]);
                let form: Vec<_> = visitor.form(&[("code", "")]).1;
                let sent = Visitor::forgetful().client.post(&ready.url).form(&form).send().await.unwrap();
                assert!(sent.status().is_success());
                if last {
                    stop(&world, what).await;
                }
                let state = &form.iter().find(|(name, _)| name == "state").unwrap().1;
                visitor.get(&world.stage.portal(&format!("/auth/finish?flow={state}"))).await;
                assert_eq!(inside(&world, &visitor), !last, "{engine:?} {what:?}");
                if last {
                    assert_eq!(world.cause(&visitor).await.0, check, "{what:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn f52_an_answer_that_was_refused_is_not_looked_at_again() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let mut visitor = world.at_door().await;
        let to = visitor.look(&world.stage.portal("/auth/start/corp")).await.location().unwrap();
        let back = visitor.look(&to).await.location().unwrap();
        world.idp.says(|script| script.claims = json!({ "nonce": "other" }));
        visitor.get(&back).await;
        assert_eq!(world.cause(&visitor).await.0, "id token nonce");
        world.idp.says(|script| script.claims = json!({}));
        for _ in 0..2 {
            visitor.get(&back).await;
            assert_eq!(visitor.title(), "Start again", "{engine:?}: {}", visitor.text());
        }
        assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), 1, "the code went out again");
        assert!(!inside(&world, &visitor));
    }
}

#[tokio::test]
async fn f47_who_is_suspended_while_a_factor_is_owed_does_not_come_in() {
    for what in [Stop::Person, Stop::Provider, Stop::Tenant] {
        let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
        world.stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
        let mut visitor = world.pressed().await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
        stop(&world, what).await;
        visitor.submit(&[("code", "000000")]).await;
        assert_ne!(visitor.title(), "Set up an authenticator app", "{what:?}: {}", visitor.text());
        assert!(!inside(&world, &visitor), "{what:?}");
    }
}

#[tokio::test]
async fn answers_that_a_page_has_other_people_s_browsers_post_count_against_whoever_began() {
    let world = World::open(Engine::Sqlite, "authoritative = true\nresponse_mode = \"form_post\"\n").await;
    world.idp.says(|script| script.claims = json!({ "nonce": "other" }));
    let elsewhere = || Visitor::from(Some("127.0.0.3".parse().unwrap()));
    for _ in 0..100 {
        let mut began = elsewhere();
        began.get(&world.stage.portal("/auth/start/corp")).await;
        let (ready, form) = (began.ready(&[("state", "")]), began.form(&[("code", "")]).1);
        let brought = Visitor::forgetful().client.post(&ready.url).form(&form).send().await.unwrap();
        assert_eq!(brought.status(), 403);
    }
    let mut began = elsewhere();
    began.get(&world.stage.portal("/auth/start/corp")).await;
    assert_eq!(began.title(), "Too many tries", "{}", began.text());
    let mut visitor = world.at_door().await;
    visitor.get(&world.stage.portal("/auth/start/corp")).await;
    assert_eq!(visitor.title(), "Back", "who brought the answers must wait for them: {}", visitor.text());
}

#[tokio::test]
async fn sign_ins_that_fail_too_often_have_an_address_wait_and_no_other() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        // Whoever goes back at the provider, or finds it silent, has failed at nothing.
        world.idp.says(|script| script.answer = json!({ "error": "access_denied", "code": null }));
        for _ in 0..4 {
            assert_eq!(world.pressed().await.title(), "You did not sign in");
        }
        world.idp.says(|script| {
            script.answer = json!({});
            script.claims = json!({ "nonce": "other" });
        });
        // As many as `sign_in.lockout.federated` has.
        for _ in 0..100 {
            world.refused("id token nonce").await;
        }
        let tokens = world.idp.seen.lock().unwrap().tokens.len();
        let visitor = world.pressed().await;
        assert_eq!(
            (visitor.title().as_str(), visitor.status.as_u16()),
            ("Too many tries", 429),
            "{engine:?}"
        );
        assert_eq!(world.idp.seen.lock().unwrap().tokens.len(), tokens, "a code went out all the same");
        // Another address does not wait, and people with passwords do not either.
        world.idp.says(|script| script.claims = json!({}));
        let mut other = Visitor::from(Some("127.0.0.2".parse().unwrap()));
        other.get(&world.stage.portal("/auth/start/corp")).await;
        assert_eq!(other.title(), "My apps", "{}", other.text());
        world.stage.signed_in("grace").await;
        // What was answered in the meantime can be shown again.
        let mut waiting = world.pressed().await;
        assert_eq!(waiting.title(), "Too many tries");
        world.stage.advance(Span::minutes(2)).await;
        let url = waiting.url.clone();
        waiting.get(&url).await;
        assert_eq!(waiting.title(), "My apps", "{}", waiting.text());
    }
}
