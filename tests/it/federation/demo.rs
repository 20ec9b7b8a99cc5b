//! The demo's own provider: each of its people, and the ways out.

use crate::support::stage::{Stage, Visitor};

/// Somebody who has chosen to be this one.
async fn chosen(stage: &Stage, visitor: &mut Visitor, name: &str) {
    visitor.get(&stage.portal("/sign-in")).await;
    let href = visitor.attribute(".providers a", "href").unwrap();
    visitor.get(&stage.portal(&href)).await;
    assert_eq!(visitor.title(), "Who do you want to be?", "{} {:?}", visitor.text(), visitor.way);
    let names = visitor.all(".choices strong");
    let at = names.iter().position(|it| it == name).unwrap_or_else(|| panic!("no {name} among {names:?}"));
    let href = visitor.attribute(&format!(".choices li:nth-child({}) a", at + 1), "href").unwrap();
    visitor.get(&stage.url("oidc.idp", &href)).await;
}

#[tokio::test]
async fn each_person_of_the_demo_provider_comes_in_with_what_the_rules_give() {
    let stage = Stage::with_provider().await;
    for (name, apps) in [
        ("Hedy Lamarr", &["Customer files", "Lantern", "Reports", "Welcome"][..]),
        ("Katherine Johnson", &["Customer files", "Lantern", "Reports", "Welcome"]),
        ("Ivan Contractor", &["Welcome"]),
        ("Ὑπατία ἡ Ἀλεξανδρῖτις", &["Customer files", "Lantern", "Welcome"]),
    ] {
        let mut visitor = stage.visitor();
        chosen(&stage, &mut visitor, name).await;
        assert_eq!(visitor.title(), "My apps", "{name}: {}", visitor.text());
        assert_eq!(visitor.all(".tile h2, .tile strong"), apps, "{name}");
        visitor.get(&stage.url("reports.cardea", "/")).await;
        let expected = match name {
            "Hedy Lamarr" => "Hello, Hedy Lamarr",
            "Katherine Johnson" => "Set up an authenticator app",
            _ => "You can’t open “Reports” yet",
        };
        assert_eq!(visitor.title(), expected, "{name}: {}", visitor.text());
    }
}

#[tokio::test]
async fn oidc_30_oidc_31_the_demo_provider_signs_out_there_and_from_there() {
    let stage = Stage::with_provider().await;
    let mut visitor = stage.visitor();
    chosen(&stage, &mut visitor, "Katherine Johnson").await;
    visitor.get(&stage.portal("/sign-out")).await;
    visitor.submit(&[("there", "1")]).await;
    assert_eq!(visitor.title(), "You are signed out");
    assert!(visitor.text().contains("here and at Demo OIDC"), "{}", visitor.text());
    let at_provider = stage.url("oidc.idp", "/");
    visitor.get(&at_provider).await;
    assert!(visitor.text().contains("Nobody is signed in here"), "{}", visitor.text());

    // In two browsers; signing out at the provider in one.
    let (mut one, mut two) = (stage.visitor(), stage.visitor());
    chosen(&stage, &mut one, "Hedy Lamarr").await;
    chosen(&stage, &mut two, "Hedy Lamarr").await;
    one.get(&at_provider).await;
    assert!(one.text().contains("signed in here as Hedy Lamarr"), "{}", one.text());
    one.press("/sign-out").await;
    assert_eq!(one.fetch(&stage.portal("/apps")).await.0, 401);
    assert_eq!(two.fetch(&stage.portal("/apps")).await.0, 200);
}

#[tokio::test]
async fn the_demo_provider_sends_nobody_elsewhere() {
    let stage = Stage::with_provider().await;
    let mut visitor = stage.visitor();
    visitor.get(&stage.portal("/sign-in")).await;
    let asked = visitor.look(&stage.portal("/auth/start/demo")).await.location().unwrap();
    for (from, to) in [
        ("sso-callback", "sso-callback-of-others"),
        ("client_id=cardea-demo", "client_id=another"),
        ("code_challenge_method=S256", "code_challenge_method=plain"),
        ("response_type=code", "response_type=token"),
    ] {
        let wrong = asked.replacen(from, to, 1);
        assert_ne!(wrong, asked, "{from}");
        assert_eq!(visitor.look(&wrong).await.status, 400, "{from}");
        let wrong = wrong.replacen("/authorize?", "/choose?guest=guest-1&", 1);
        assert_eq!(visitor.look(&wrong).await.status, 400, "{from}");
    }
    for wrong in ["/end", "/end?client_id=cardea-demo&post_logout_redirect_uri=https://evil.example&state=s"]
    {
        assert_eq!(visitor.look(&stage.url("oidc.idp", wrong)).await.status, 400);
    }
}
