//! Providers that a tenant or an app asks for.

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::Slug;
use cardea::store::audit;
use serde_json::json;

use super::World;
use crate::support::free_port;
use crate::support::stage::{ENGINES, Engine, Visitor};

/// Acme's people sign in at its provider.
async fn required(engine: Engine, settings: &str) -> World {
    let world = World::open(engine, settings).await;
    world
        .stage
        .reconfigured(
            "domains = [\"acme.example\"]\n",
            "domains = [\"acme.example\"]\nrequire_idp = \"corp\"\n",
        )
        .await;
    world
}

async fn password(world: &World, name: &str) -> Visitor {
    let mut visitor = world.stage.named(name).await;
    visitor.submit(&[("password", PASSWORD)]).await;
    visitor
}

async fn recorded(world: &World, action: &str) -> bool {
    for _ in 0..250 {
        let mut conn = world.stage.house().db.read().await.unwrap();
        let search = audit::Search { action: Some(action.to_owned()), ..audit::Search::default() };
        if !audit::find(&mut conn, &search, 1).await.unwrap().is_empty() {
            return true;
        }
        drop(conn);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_tenant_s_people_sign_in_where_it_says_and_nowhere_else() {
    for engine in ENGINES {
        let world = required(engine, "authoritative = true\n").await;
        // The way to its apps leads there at once.
        let mut visitor = world.stage.visitor();
        let lantern = world.stage.url("lantern.cardea", "/");
        visitor.get(&lantern).await;
        assert!(
            visitor.url.starts_with(&lantern) && visitor.text().contains("oidc:corp"),
            "{}",
            visitor.text()
        );
        // A right password and a wrong one are answered alike, and no session comes of either.
        let right = password(&world, "grace").await;
        let mut wrong = world.stage.named("grace").await;
        wrong.submit(&[("password", "not the password")]).await;
        assert_eq!(right.title(), "Enter your password", "{engine:?}: {}", right.text());
        assert_eq!(right.text(), wrong.text());
        assert!(right.text().contains("signs in with a provider"), "{}", right.text());
        assert!(!right.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned()));
        assert!(recorded(&world, "signin.provider").await);
        // An address of the tenant's leads there; other tenants' people sign in as ever.
        world.idp.says(|script| script.answer = json!({ "error": "access_denied", "code": null }));
        let mut typed = world.at_door().await;
        typed.submit(&[("identifier", "grace@acme.example")]).await;
        assert_eq!(typed.title(), "You did not sign in");
        world.stage.signed_in("yana").await;
    }
}

#[tokio::test]
async fn a_session_of_before_the_rule_opens_no_app_until_the_provider_has_been_asked() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.idp.says(|script| script.person["email"] = json!("grace@acme.example"));
        let mut visitor = world.stage.signed_in("grace").await;
        let lantern = world.stage.url("lantern.cardea", "/");
        visitor.get(&lantern).await;
        assert!(visitor.text().contains("pwd"), "{}", visitor.text());
        world
            .stage
            .reconfigured(
                "domains = [\"acme.example\"]\n",
                "domains = [\"acme.example\"]\nrequire_idp = \"corp\"\n",
            )
            .await;
        assert_eq!(visitor.fetch(&lantern).await.0, 401, "{engine:?}");
        visitor.get(&lantern).await;
        assert!(
            visitor.url.starts_with(&lantern) && visitor.text().contains("oidc:corp"),
            "{}",
            visitor.text()
        );
        // What must be proven anew is proven there as well, also by who has a password.
        let count = world.idp.seen.lock().unwrap().authorizations.len();
        world.stage.advance(cardea::domain::Span::minutes(10)).await;
        visitor.get(&world.stage.portal("/me/security/totp")).await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
        assert_eq!(world.idp.seen.lock().unwrap().authorizations[count]["prompt"], "login");
        // Nobody cuts what the tenant demands.
        visitor.get(&world.stage.portal("/auth/unlink/corp")).await;
        assert!(visitor.text().contains("your only way in"), "{}", visitor.text());
        // Somebody else there does not raise it.
        let mut visitor = world.welcome().await;
        world.idp.says(|script| {
            script.person["sub"] = json!("somebody else");
            script.person["email"] = json!("else@acme.example");
        });
        visitor.get(&world.stage.portal("/auth/start/corp?again=there")).await;
        assert_eq!(world.cause(&visitor).await.0, "another person");
        assert_eq!(visitor.title(), "Corp named another account");
    }
}

#[tokio::test]
async fn an_administrator_with_an_authenticator_comes_in_past_the_provider_and_it_is_written_down() {
    for engine in ENGINES {
        let world = required(engine, "").await;
        let name = Slug::parse("corp").unwrap();
        let admin = &world.stage.house().admin;
        admin.stop_provider(&Authority::system(), (&name, None), "an incident", None).await.unwrap();
        world.stage.align().await;
        let mut ada = password(&world, "ada").await;
        assert_eq!(ada.title(), "Enter your code", "{engine:?}: {}", ada.text());
        ada.submit(&[("code", &world.stage.ada_code())]).await;
        assert_eq!(ada.title(), "My apps", "{}", ada.text());
        assert!(recorded(&world, "signin.emergency").await);
        // The apps of the tenant ask for its provider all the same.
        ada.get(&world.stage.url("lantern.cardea", "/")).await;
        assert_eq!(ada.title(), "Corp can’t be used right now", "{}", ada.text());
        // Nobody else comes in, and the page goes on to be a page.
        assert_eq!(password(&world, "grace").await.title(), "Enter your password");
        let mut visitor = world.stage.visitor();
        visitor.get(&world.stage.url("lantern.cardea", "/")).await;
        assert_eq!(visitor.title(), "Sign in", "{}", visitor.text());
    }
}

#[tokio::test]
async fn an_administrator_without_an_authenticator_sets_none_up_on_the_way_past_the_provider() {
    let world = required(Engine::Sqlite, "").await;
    let by = Authority::system();
    let grace = world.stage.user("grace").await;
    let kind = Some(cardea::domain::AccountKind::Admin);
    world
        .stage
        .house()
        .admin
        .edit_user(&by, grace, cardea::admin::Edit { kind, ..Default::default() })
        .await
        .unwrap();
    assert_eq!(password(&world, "grace").await.title(), "Enter your password");
}

#[tokio::test]
async fn an_app_that_lets_in_a_provider_s_people_sends_there_at_once_and_lets_in_nobody_else() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.stage.reconfigured("allow  = [\"group:staff\"]", "allow  = [\"idp:corp\"]").await;
        let lantern = world.stage.url("lantern.cardea", "/");
        let mut grace = world.stage.signed_in("grace").await;
        grace.get(&lantern).await;
        assert_eq!(grace.status, 403, "{engine:?}");
        assert!(grace.text().contains("signed in with corp"), "{}", grace.text());
        let mut visitor = world.stage.visitor();
        visitor.get(&lantern).await;
        assert!(
            visitor.url.starts_with(&lantern) && visitor.text().contains("oidc:corp"),
            "{}",
            visitor.text()
        );
        // Somebody of another tenant, by whatever provider, is not let in.
        let mut yana = world.stage.signed_in("yana").await;
        yana.get(&lantern).await;
        assert_eq!(yana.status, 403);
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_shown_and_the_other_ways_in_go_on() {
    let world = required(Engine::Sqlite, "").await;
    let (alive, dead) =
        (format!("idp.localhost:{}", world.idp.port), format!("idp.localhost:{}", free_port()));
    world
        .stage
        .reconfigured(&format!("allow = [\"{alive}\"]"), &format!("allow = [\"{alive}\", \"{dead}\"]"))
        .await;
    world
        .stage
        .reconfigured(&format!("issuer = \"http://{alive}\""), &format!("issuer = \"http://{dead}\""))
        .await;
    let lantern = world.stage.url("lantern.cardea", "/");
    let mut visitor = world.stage.visitor();
    visitor.get(&lantern).await;
    assert_eq!(visitor.title(), "Corp does not answer", "{}", visitor.text());
    // From now on nobody is sent there unasked; the page says why, and the button is there all the same.
    visitor.get(&lantern).await;
    assert_eq!(visitor.title(), "Sign in", "{}", visitor.text());
    assert!(visitor.text().contains("It did not answer a moment ago."), "{}", visitor.text());
    let href = visitor.attribute(".providers a", "href").unwrap();
    world.stage.signed_in("yana").await;
    world
        .stage
        .reconfigured(&format!("issuer = \"http://{dead}\""), &format!("issuer = \"http://{alive}\""))
        .await;
    visitor.get(&world.stage.portal(&href)).await;
    assert!(visitor.url.starts_with(&lantern), "{}", visitor.text());
    let mut later = world.stage.visitor();
    later.get(&lantern).await;
    assert!(later.url.starts_with(&lantern), "{}", later.text());
}
