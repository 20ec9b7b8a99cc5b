//! What holds of every provider, held to it with SAML: waits, what a tenant demands, who is refused, and ties.

use cardea::access::Authority;
use cardea::admin::{Edit, Given};
use cardea::domain::{AccountKind, Place, Span};

use super::{World, visitor_value};
use crate::support::stage::{ENGINES, Engine, Visitor};

/// The answer that waits on the provider's page is brought here.
async fn back(visitor: &mut Visitor) {
    assert_eq!(visitor.title(), "Back", "{} {}", visitor.url, visitor.text());
    visitor.submit(&[("SAMLResponse", &visitor_value(visitor, "SAMLResponse"))]).await;
}

#[tokio::test]
async fn saml_sign_ins_that_fail_too_often_have_an_address_wait_and_no_other() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    let mut began = world.away().await;
    world.idp.says(|script| script.signs_assertion = false);
    // As many as `sign_in.lockout.federated` has.
    for _ in 0..100 {
        world.refused("saml signature").await;
    }
    world.idp.says(|script| script.signs_assertion = true);
    assert_eq!(world.away().await.title(), "Too many tries");
    // What had begun before waits as well, and is not spent by that.
    let (url, form) = began.form(&[("SAMLResponse", &visitor_value(&began, "SAMLResponse"))]);
    let brought = Visitor::forgetful().client.post(&url).form(&form).send().await.unwrap();
    assert_eq!(brought.status(), 429);
    let mut other = Visitor::from(Some("127.0.0.2".parse().unwrap()));
    other.get(&world.stage.portal("/auth/start/corp")).await;
    back(&mut other).await;
    assert_eq!(other.title(), "My apps", "{}", other.text());
    world.stage.advance(Span::minutes(2)).await;
    back(&mut began).await;
    assert_eq!(began.title(), "My apps", "{}", began.text());
}

#[tokio::test]
async fn a_saml_provider_that_a_tenant_demands_is_asked_before_any_app_opens() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let mail = "urn:oid:0.9.2342.19200300.100.1.3";
        world.idp.says(|script| {
            script.attributes.retain(|(name, _)| name != mail);
            script.attributes.push((mail.to_owned(), vec!["grace@acme.example".to_owned()]));
        });
        let lantern = world.stage.url("lantern.cardea", "/");
        let mut visitor = world.stage.signed_in("grace").await;
        visitor.get(&lantern).await;
        assert!(visitor.text().contains("pwd"), "{}", visitor.text());
        let own = "domains = [\"acme.example\"]\n";
        world.stage.reconfigured(own, &format!("{own}require_idp = \"corp\"\n")).await;
        assert_eq!(visitor.fetch(&lantern).await.0, 401, "{engine:?}");
        visitor.get(&lantern).await;
        back(&mut visitor).await;
        assert!(
            visitor.url.starts_with(&lantern) && visitor.text().contains("saml:corp"),
            "{} {}",
            visitor.url,
            visitor.text()
        );
        // A new browser is led there at once.
        let mut other = world.stage.visitor();
        other.get(&lantern).await;
        back(&mut other).await;
        assert!(other.url.starts_with(&lantern), "{} {}", other.url, other.text());
    }
}

#[tokio::test]
async fn who_comes_to_administer_more_than_the_tenant_is_not_brought_in_by_its_saml_provider() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let (by, admin) = (Authority::system(), &world.stage.house().admin);
        world.welcome().await;
        let jane = world.stage.user("jane").await;
        let held = async || {
            let view = admin.show_user(&by, jane).await.unwrap();
            view.principal.roles.iter().map(|held| held.slug.to_string()).collect::<Vec<_>>()
        };
        admin.edit_user(&by, jane, Edit { kind: Some(AccountKind::Admin), ..Edit::default() }).await.unwrap();
        let all = admin.role_named(&by, "super-admin", None).await.unwrap();
        admin.grant_role(&by, jane, Given { role: all.id, place: Place::Global }).await.unwrap();
        assert!(held().await.contains(&"analyst".to_owned()), "{engine:?}");
        world.refused("administrator").await;
        // What its rules had given is gone.
        assert_eq!(held().await, ["super-admin"]);
    }
}

#[tokio::test]
async fn f53_an_account_is_tied_to_a_saml_subject_from_its_own_session() {
    let world = World::open(Engine::Sqlite, "provision = \"link-only\"\n").await;
    world.refused("provision").await;
    let mut visitor = world.stage.signed_in("grace").await;
    visitor.get(&world.stage.portal("/auth/link/corp")).await;
    visitor.press("/auth/link/corp").await;
    let asked = world.idp.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.contains("ForceAuthn=\"true\""), "{asked}");
    back(&mut visitor).await;
    assert!(visitor.text().contains("Your account is linked."), "{}", visitor.text());
    let mut there = world.welcome().await;
    there.get(&world.stage.portal("/me")).await;
    assert!(there.text().contains("Grace Hopper"), "{}", there.text());
    // Cut within a session that began with it, that one ends as well.
    there.get(&world.stage.portal("/auth/unlink/corp")).await;
    there.press("/auth/unlink/corp").await;
    assert_eq!(there.title(), "Sign in", "{}", there.text());
}

#[tokio::test]
async fn what_only_openid_connect_has_is_not_there_for_a_saml_provider() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.stage.visitor();
    assert_eq!(visitor.look(&world.stage.portal("/auth/oidc/corp/jwks.json")).await.status, 404);
    let logout = world.stage.portal("/auth/oidc/corp/backchannel-logout");
    let form = [("logout_token", "e30.e30.")];
    assert_eq!(visitor.client.post(&logout).form(&form).send().await.unwrap().status(), 404);
    assert_eq!(*world.idp.fetched.lock().unwrap(), 0, "the provider was asked");
}
