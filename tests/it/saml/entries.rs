//! Entries of the catalogue that need the whole house: who brings an answer, when, how often, and to which node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardea::access::Authority;
use cardea::admin::UserList;
use cardea::domain::Span;

use super::{World, visitor_value};
use crate::support::stage::{ENGINES, Engine, Stage, Visitor};

fn to(from: &str, to: &str) -> Vec<(String, String)> {
    vec![(from.to_owned(), to.to_owned())]
}

#[tokio::test]
async fn saml_01_saml_02_saml_24_saml_33_a_refusal_is_neutral_and_the_audit_log_knows_why() {
    let world = World::open(Engine::Sqlite, "").await;
    world.idp.says(|script| script.signs_assertion = false);
    world.refused("saml signature").await;
    world.idp.says(|script| {
        script.signs_assertion = true;
        script.after = to("p-4711", "p-1");
    });
    world.refused("saml signature").await;
    world.idp.says(|script| {
        script.after = Vec::new();
        script.before = to("/auth/saml/corp/metadata", "/auth/saml/other/metadata");
    });
    let why = world.refused("saml audience").await;
    assert!(why.contains("the assertion is for audience"), "{why}");
    world.idp.says(|script| script.before = to("<saml:Issuer>", "<saml:Issuer>https://evil.example/"));
    world.refused("saml issuer").await;
    world.idp.says(|script| {
        script.before = Vec::new();
        script.signer = 1;
    });
    world.refused("saml signature").await;
    world.idp.says(|script| script.signer = 0);
    world.welcome().await;
}

#[tokio::test]
async fn saml_29_an_answer_is_for_the_browser_that_began_and_counts_once() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let mut visitor = world.away().await;
        let ready = visitor.ready(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]);
        let relay_state = visitor_value(&visitor, "RelayState");
        let posted = ready.send().await;
        let finish = format!("/auth/finish?flow={relay_state}");
        assert!(posted.body.contains(&finish), "{}", posted.body);
        assert!(posted.token().is_none());
        let mut stranger = world.stage.visitor();
        stranger.get(&world.stage.portal("/sign-in")).await;
        stranger.get(&world.stage.portal(&finish)).await;
        assert_eq!(stranger.title(), "Start again", "{engine:?}");
        // The same once more: the request has been answered.
        assert!(!ready.send().await.body.contains(&finish));
        visitor.get(&world.stage.portal(&finish)).await;
        assert_eq!(visitor.title(), "My apps", "{}", visitor.text());
        assert!(visitor.look(&world.stage.portal(&finish)).await.token().is_none());
    }
}

#[tokio::test]
async fn saml_38_saml_39_of_many_at_once_on_two_nodes_one_counts() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.away().await;
    let ready = visitor.ready(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]);
    let answers = ready.at_once(8).await;
    assert_eq!(answers.iter().filter(|it| it.body.contains("/auth/finish")).count(), 1);
    // Two nodes share what has come: the database's key is what refuses.
    let (one, two) = Stage::pair().await;
    let provider = cardea::domain::Slug::parse("corp").unwrap();
    let until = one.now() + Span::hours(1);
    let remember = async |stage: &Stage| {
        let mut tx = stage.house().db.begin().await.unwrap();
        let done = cardea::store::assertions::remember(&mut tx, &provider, "_a1", until).await;
        if done.is_ok() {
            tx.commit(stage.now()).await.unwrap();
        }
        done.is_ok()
    };
    assert!(remember(&one).await);
    assert!(!remember(&two).await && !remember(&one).await);
}

#[tokio::test]
async fn saml_38_what_has_come_before_is_not_taken_for_another_request() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        for (taken, round) in [("Assertion", 1), ("Response", 2)] {
            let mut visitor = world.away().await;
            let response = STANDARD.decode(visitor_value(&visitor, "SAMLResponse")).unwrap();
            let response = String::from_utf8(response).unwrap();
            let tree = roxmltree::Document::parse(&response).unwrap();
            let node = tree.descendants().find(|it| it.tag_name().name() == taken).unwrap();
            // As if another node had taken it a moment ago.
            let provider = cardea::domain::Slug::parse("corp").unwrap();
            let until = world.stage.now() + Span::hours(1);
            let mut tx = world.stage.house().db.begin().await.unwrap();
            cardea::store::assertions::remember(&mut tx, &provider, node.attribute("ID").unwrap(), until)
                .await
                .unwrap();
            tx.commit(world.stage.now()).await.unwrap();
            visitor.submit(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]).await;
            assert_eq!(world.cause(&visitor).await.0, "saml replay", "{engine:?} {round}");
            assert!(!world.has_session(&visitor));
        }
        // What was taken is remembered, both ids of it.
        let visitor = world.welcome().await;
        let mut conn = world.stage.house().db.read().await.unwrap();
        let known = cardea::store::assertions::count(&mut conn).await.unwrap();
        assert_eq!(known, 4, "{}", visitor.title());
    }
}

#[tokio::test]
async fn saml_27_saml_41_a_relay_state_is_an_opaque_handle_of_ours() {
    let world = World::open(Engine::Sqlite, "").await;
    for bad in ["https://evil.example/", "//evil.example", "/apps", "javascript:alert(1)", "", "AAAA"] {
        world.idp.says(|script| script.relay_state = Some(bad.to_owned()));
        let mut visitor = world.away().await;
        visitor.submit(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]).await;
        assert_eq!(visitor.title(), "Start again", "{bad}");
        assert!(visitor.url.starts_with(&world.stage.portal("/")), "{}", visitor.url);
        assert!(!world.has_session(&visitor));
    }
    // Another sign-in's: the request that the answer names was not made there.
    world.idp.says(|script| script.relay_state = None);
    let other = world.away().await;
    let handle = visitor_value(&other, "RelayState");
    assert!(handle.len() <= 80);
    world.idp.says(|script| script.relay_state = Some(handle));
    world.refused("saml request").await;
}

#[tokio::test]
async fn saml_46_every_request_has_an_id_of_its_own_and_says_who_asks() {
    let world = World::open(
        Engine::Sqlite,
        "name_id = \"persistent\"\nacr_values = [\"urn:oasis:names:tc:SAML:2.0:ac:classes:Password\"]\n",
    )
    .await;
    world.welcome().await;
    world.welcome().await;
    let requests = world.idp.requests.lock().unwrap().clone();
    let ids: std::collections::HashSet<String> = requests
        .iter()
        .map(|text| {
            roxmltree::Document::parse(text).unwrap().root_element().attribute("ID").unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        assert!(id.len() >= 44 && id.starts_with('_'), "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')), "{id}");
    }
    assert!(
        requests[0].contains("nameid-format:persistent") && requests[0].contains("RequestedAuthnContext")
    );
}

#[tokio::test]
async fn saml_42_saml_43_one_response_by_post_and_whatever_else_comes_is_no_error_of_ours() {
    let world = World::open(Engine::Sqlite, "").await;
    let visitor = world.away().await;
    let (response, relay_state) =
        (visitor_value(&visitor, "SAMLResponse"), visitor_value(&visitor, "RelayState"));
    let acs = world.stage.portal("/auth/sso-callback/corp");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("SAMLResponse", &response)
        .append_pair("RelayState", &relay_state)
        .finish();
    assert!(visitor.look(&format!("{acs}?{query}")).await.token().is_none());
    let twice = [
        ("SAMLResponse", response.as_str()),
        ("SAMLResponse", response.as_str()),
        ("RelayState", relay_state.as_str()),
    ];
    let request = [
        ("SAMLRequest", response.as_str()),
        ("SAMLResponse", response.as_str()),
        ("RelayState", relay_state.as_str()),
    ];
    let alone = [("SAMLResponse", response.as_str())];
    let huge = "A".repeat(500 * 1024);
    let huge = [("SAMLResponse", huge.as_str()), ("RelayState", relay_state.as_str())];
    for form in [
        &twice[..],
        &request[..],
        &alone[..],
        &huge[..],
        &[("SAMLResponse", "")],
        &[("SAMLResponse", "\u{0}"), ("RelayState", "x")],
    ] {
        let answer = visitor.client.post(&acs).form(form).send().await.unwrap();
        assert!(answer.status().as_u16() < 500, "{}", answer.status());
        assert!(!answer.text().await.unwrap().contains("/auth/finish"));
    }
    // None of that has spent the sign-in, nor kept anybody from the next.
    let ready = visitor.ready(&[("SAMLResponse", &response)]);
    assert!(ready.send().await.body.contains("/auth/finish"));
    let large = world.away().await;
    world.idp.says(|script| {
        script.attributes.push((
            "memberOf".into(),
            (0..1_000).map(|n| format!("cn=group {n},ou=groups,dc=example,dc=org")).collect(),
        ));
    });
    drop(large);
    world.welcome().await;
}

#[tokio::test]
async fn saml_31_our_session_ends_when_the_provider_s_does() {
    let world = World::open(Engine::Sqlite, "").await;
    let soon = world.stage.now() + Span::minutes(10);
    let soon = chrono::DateTime::from_timestamp_millis(soon.millis())
        .unwrap()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    world.idp.says(|script| {
        script.before = to("SessionIndex", &format!("SessionNotOnOrAfter=\"{soon}\" SessionIndex"))
    });
    let mut visitor = world.welcome().await;
    world.stage.advance(Span::minutes(9)).await;
    visitor.get(&world.stage.portal("/apps")).await;
    assert_eq!(visitor.title(), "My apps");
    world.stage.advance(Span::minutes(2)).await;
    visitor.get(&world.stage.portal("/apps")).await;
    assert_ne!(visitor.title(), "My apps");
}

#[tokio::test]
async fn saml_47_saml_48_certificates_change_and_nobody_else_takes_the_provider_s_place() {
    let world = World::open(Engine::Sqlite, "").await;
    world.welcome().await;
    assert_eq!(*world.idp.fetched.lock().unwrap(), 1);
    // A new key, published: looked at again at once.
    world.idp.says(|script| {
        script.published = vec![0, 1];
        script.signer = 1;
    });
    world.stage.advance(Span::minutes(1)).await;
    world.welcome().await;
    assert_eq!(*world.idp.fetched.lock().unwrap(), 2);
    // Away for a while: what was known serves.
    world.idp.says(|script| script.away = true);
    world.later().await;
    let visitor = world.away().await;
    assert_eq!(world.cause(&visitor).await.0, "saml metadata");
    world.idp.says(|script| {
        script.away = false;
        script.metadata = to("entityID=\"http", "entityID=\"https");
    });
    world.later().await;
    let visitor = world.away().await;
    assert_eq!(world.cause(&visitor).await.0, "saml metadata");
    world.idp.says(|script| {
        script.metadata = Vec::new();
        script.published = Vec::new();
    });
    world.later().await;
    let visitor = world.away().await;
    let (check, why) = world.cause(&visitor).await;
    assert!(check == "saml metadata" && why.contains("SAML-49"), "{check} {why}");
}

#[tokio::test]
async fn saml_50_saml_51_who_somebody_is_follows_from_the_provider_s_own_name_for_them() {
    let world = World::open(Engine::Sqlite, "authoritative = false\n").await;
    world.welcome().await;
    let admin = &world.stage.house().admin;
    let by = Authority::system();
    let (jane, everybody) = (
        world.stage.user("jane.corp").await,
        admin.list_users(&by, &UserList::default()).await.unwrap().len(),
    );
    // Another name with the same address is somebody else, and takes nobody's account.
    world.idp.says(|script| script.name_id = script.name_id.replace("p-4711", "p-4712"));
    world.welcome().await;
    assert_eq!(admin.list_users(&by, &UserList::default()).await.unwrap().len(), everybody + 1);
    // The same letters as another kind of name, too.
    world.idp.says(|script| {
        script.name_id = script
            .name_id
            .replace("p-4712", "p-4711")
            .replace("2.0:nameid-format:persistent", "1.1:nameid-format:unspecified");
    });
    world.welcome().await;
    assert_eq!(admin.list_users(&by, &UserList::default()).await.unwrap().len(), everybody + 2);
    let view = admin.show_user(&by, jane).await.unwrap();
    assert!(!view.user.email_verified);
    // A name that passes is nobody.
    world.idp.says(|script| {
        script.name_id =
            script.name_id.replace("1.1:nameid-format:unspecified", "2.0:nameid-format:transient")
    });
    world.refused("saml subject").await;
}

#[tokio::test]
async fn saml_53_it_still_serves_after_a_flood_of_bad_answers() {
    let world = World::open(Engine::Sqlite, "").await;
    world.idp.says(|script| script.after = to("p-4711", "p-1"));
    for _ in 0..30 {
        let mut visitor = Visitor::new(0);
        visitor.get(&world.stage.portal("/sign-in")).await;
        visitor.get(&world.stage.portal("/auth/start/corp")).await;
        visitor.submit(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]).await;
        assert!(!world.has_session(&visitor));
    }
    world.idp.says(|script| script.after = Vec::new());
    world.welcome().await;
}

#[tokio::test]
async fn saml_25_saml_33_the_address_of_all_takes_an_answer_that_is_meant_for_it() {
    let world = World::open(Engine::Sqlite, "").await;
    let (own, all) =
        (world.stage.portal("/auth/sso-callback/corp"), world.stage.portal("/auth/sso-callback"));
    // Meant for the provider's own address, brought to the other, and the other way round.
    for (meant, brought, check) in
        [(&own, &all, Some("saml destination")), (&all, &own, Some("saml destination")), (&all, &all, None)]
    {
        world.idp.says(|script| {
            script.before = to(&format!("Recipient=\"{own}\""), &format!("Recipient=\"{meant}\""));
            script.after = to(&format!("Destination=\"{own}\""), &format!("Destination=\"{meant}\""));
        });
        let mut visitor = world.away().await;
        visitor.body = visitor.body.replace(&format!("action=\"{own}\""), &format!("action=\"{brought}\""));
        visitor.submit(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]).await;
        match check {
            Some(check) => assert_eq!(world.cause(&visitor).await.0, check),
            None => assert_eq!(visitor.title(), "My apps", "{}", visitor.text()),
        }
    }
}
