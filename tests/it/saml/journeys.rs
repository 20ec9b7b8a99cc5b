//! What people and administrators experience.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardea::access::Authority;
use cardea::domain::{AccountKind, Origin, Span};

use super::World;
use crate::support::stage::{ENGINES, Engine};

#[tokio::test]
async fn somebody_who_did_not_exist_arrives_at_the_app_with_the_roles_of_the_rules() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let mut visitor = world.stage.visitor();
        visitor.get(&world.stage.url("lantern.cardea", "/")).await;
        let href = visitor.attribute(".providers a", "href").unwrap();
        visitor.get(&world.stage.portal(&href)).await;
        assert_eq!(visitor.title(), "Back", "{} {}", visitor.url, visitor.text());
        visitor.submit(&[("RelayState", &super::visitor_value(&visitor, "RelayState"))]).await;
        assert!(
            visitor.url.starts_with(&world.stage.url("lantern.cardea", "/")),
            "{} {}",
            visitor.url,
            visitor.text()
        );
        assert!(visitor.text().contains("saml:corp"), "{}", visitor.text());
        let admin = &world.stage.house().admin;
        let view = admin.show_user(&Authority::system(), world.stage.user("jane").await).await.unwrap();
        assert_eq!(view.user.kind, AccountKind::User);
        assert_eq!((view.user.name.as_str(), view.user.email_verified), ("Jane Doe", true), "{engine:?}");
        let roles: Vec<(String, Origin)> =
            view.principal.roles.iter().map(|held| (held.slug.to_string(), held.origin.clone())).collect();
        assert_eq!(roles, [("analyst".to_owned(), Origin::Provider("corp".into()))]);
        assert_eq!(view.groups.len(), 1);
        // The same person comes again, and is the same.
        world.welcome().await;
        let again = admin.show_user(&Authority::system(), world.stage.user("jane").await).await.unwrap();
        assert_eq!(again.user.id, view.user.id);
    }
}

#[tokio::test]
async fn what_administrators_see_of_a_saml_provider() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.stage.visitor();
    let metadata = visitor.look(&world.stage.portal("/auth/saml/corp/metadata")).await;
    assert_eq!(metadata.status, 200);
    assert!(metadata.headers["content-type"].to_str().unwrap().starts_with("application/samlmetadata+xml"));
    let tree = roxmltree::Document::parse(&metadata.body).unwrap();
    let id = world.stage.portal("/auth/saml/corp/metadata");
    assert_eq!(tree.root_element().attribute("entityID"), Some(&*id));
    assert!(metadata.body.contains(&world.stage.portal("/auth/sso-callback/corp")));
    assert_eq!(visitor.look(&world.stage.portal("/auth/saml/nobody/metadata")).await.status, 404);
}

#[tokio::test]
async fn f46_a_provider_that_is_switched_off_refuses_also_sign_ins_already_begun() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut before = world.welcome().await;
    let mut visitor = world.away().await;
    let name = cardea::domain::Slug::parse("corp").unwrap();
    let admin = &world.stage.house().admin;
    admin.stop_provider(&Authority::system(), (&name, None), "a test", None).await.unwrap();
    before.get(&world.stage.portal("/me")).await;
    assert_eq!(before.title(), "Sign in", "a session that began with it goes on: {}", before.text());
    visitor.submit(&[("RelayState", &super::visitor_value(&visitor, "RelayState"))]).await;
    assert_eq!(world.cause(&visitor).await.0, "provider off");
    assert!(!world.has_session(&visitor));
}

#[tokio::test]
async fn saml_52_whoever_must_prove_anew_is_asked_anew_at_the_provider() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    let mut visitor = world.welcome().await;
    world.stage.advance(Span::minutes(10)).await;
    visitor.get(&world.stage.portal("/me/security/totp")).await;
    assert_eq!(visitor.title(), "Back", "{}", visitor.text());
    let asked = world.idp.requests.lock().unwrap().last().unwrap().clone();
    assert!(asked.contains("ForceAuthn=\"true\""), "{asked}");
    visitor.submit(&[("SAMLResponse", &super::visitor_value(&visitor, "SAMLResponse"))]).await;
    assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
    // A provider that does not ask is found out.
    let long_ago = chrono::DateTime::from_timestamp_millis(world.stage.now().millis()).unwrap().to_rfc3339();
    world.stage.advance(Span::minutes(20)).await;
    world.idp.says(|script| {
        script.before = vec![("AuthnInstant=".into(), format!("AuthnInstant=\"{long_ago}\" x="))];
    });
    visitor.get(&world.stage.portal("/me/security/totp")).await;
    visitor.submit(&[("SAMLResponse", &super::visitor_value(&visitor, "SAMLResponse"))]).await;
    assert_eq!(world.cause(&visitor).await.0, "saml authentication");
    // Somebody else there is nobody here.
    world.idp.says(|script| {
        script.before = Vec::new();
        script.name_id = script.name_id.replace("p-4711", "p-4712");
        script.attributes.retain(|(name, _)| !name.starts_with("urn:oid"));
    });
    visitor.get(&world.stage.portal("/me/security/totp")).await;
    visitor.submit(&[("SAMLResponse", &super::visitor_value(&visitor, "SAMLResponse"))]).await;
    assert_eq!(world.cause(&visitor).await.0, "another person");
}

#[tokio::test]
async fn saml_46_requests_are_signed_by_the_key_in_our_metadata_where_that_is_wanted() {
    let world = World::open(Engine::Sqlite, "sign_requests = true\n").await;
    let metadata = world.stage.visitor().look(&world.stage.portal("/auth/saml/corp/metadata")).await;
    let tree = roxmltree::Document::parse(&metadata.body).unwrap();
    let key = tree.descendants().find(|it| it.attribute("use") == Some("signing")).unwrap();
    let text =
        key.descendants().find(|it| it.tag_name().name() == "X509Certificate").unwrap().text().unwrap();
    let certificate = openssl::x509::X509::from_der(&STANDARD.decode(text).unwrap()).unwrap();
    world.welcome().await;
    let query = world.idp.queries.lock().unwrap().last().unwrap().clone();
    let (signed, signature) = query.split_once("&Signature=").unwrap();
    let signed = &signed[signed.find("SAMLRequest=").unwrap()..];
    let signature =
        form_urlencoded::parse(format!("s={signature}").as_bytes()).next().unwrap().1.into_owned();
    let public = certificate.public_key().unwrap();
    let mut verifier = openssl::sign::Verifier::new(openssl::hash::MessageDigest::sha256(), &public).unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    assert!(verifier.verify_oneshot(&signature, signed.as_bytes()).unwrap(), "{query}");
    // The key is kept: it is the same the next time.
    let again = world.stage.visitor().look(&world.stage.portal("/auth/saml/corp/metadata")).await;
    assert_eq!(again.body, metadata.body);
}
