//! What people and administrators experience.

use cardea::access::Authority;
use cardea::domain::{AccountKind, Origin, Place, Slug, Span};
use cardea::store::identities;
use serde_json::json;

use super::World;
use crate::support::stage::{ENGINES, Engine, Stage};

async fn roles(world: &World, name: &str) -> Vec<(String, Origin)> {
    let admin = &world.stage.house().admin;
    let id = world.stage.user(name).await;
    let view = admin.show_user(&Authority::system(), id).await.unwrap();
    view.principal.roles.iter().map(|held| (held.slug.to_string(), held.origin.clone())).collect()
}

fn corp() -> Origin {
    Origin::Provider("corp".into())
}

#[tokio::test]
async fn somebody_who_did_not_exist_arrives_at_the_app_with_the_roles_of_the_rules() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let mut visitor = world.stage.visitor();
        visitor.get(&world.stage.url("lantern.cardea", "/")).await;
        let href = visitor.attribute(".providers a", "href").unwrap();
        visitor.get(&world.stage.portal(&href)).await;
        assert!(
            visitor.url.starts_with(&world.stage.url("lantern.cardea", "/")),
            "{} {}",
            visitor.url,
            visitor.text()
        );
        assert!(visitor.text().contains("oidc:corp"), "{}", visitor.text());
        assert_eq!(roles(&world, "jane").await, [("analyst".to_owned(), corp())]);
        let view = world
            .stage
            .house()
            .admin
            .show_user(&Authority::system(), world.stage.user("jane").await)
            .await
            .unwrap();
        assert_eq!(view.user.kind, AccountKind::User);
        assert_eq!((view.user.name.as_str(), view.user.email_verified), ("Jane Doe", true));
        assert_eq!(view.groups.len(), 1, "{engine:?}");
        assert!(
            view.principal.permissions[0].from.contains("rule 1 of corp"),
            "{:?}",
            view.principal.permissions
        );
    }
}

#[tokio::test]
async fn at_the_next_sign_in_the_roles_are_those_of_now_and_what_was_given_by_hand_stays() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.welcome().await;
        let admin = &world.stage.house().admin;
        let by = Authority::system();
        let jane = world.stage.user("jane").await;
        let partner = admin.role_named(&by, "reports-owner", None).await.unwrap();
        let tenant = world.stage.house().board.snapshot.load();
        let acme = tenant.tenant_named(&Slug::parse("acme").unwrap()).unwrap().id;
        let given = cardea::admin::Given { role: partner.id, place: Place::Tenant(acme) };
        admin.grant_role(&by, jane, given).await.unwrap();
        world.idp.says(|script| script.person["groups"] = json!(["fin-leads"]));
        world.welcome().await;
        let mut now = roles(&world, "jane").await;
        now.sort();
        let expected = [("reports-owner".to_owned(), Origin::Manual), ("reports-owner".to_owned(), corp())];
        assert_eq!(now, expected, "{engine:?}");
        world.idp.says(|script| script.person["groups"] = json!([]));
        world.welcome().await;
        assert_eq!(roles(&world, "jane").await, [("reports-owner".to_owned(), Origin::Manual)]);
    }
}

#[tokio::test]
async fn oidc_24_an_account_is_its_provider_and_subject_whatever_names_say() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.welcome().await;
        let jane = world.stage.user("jane").await;
        // The same subject under another name and address is the same account.
        world.idp.says(|script| {
            script.person["email"] = json!("married@acme.example");
            script.person["preferred_username"] = json!("grace");
        });
        world.welcome().await;
        let name = Slug::parse("corp").unwrap();
        let mut conn = world.stage.house().db.read().await.unwrap();
        let found = identities::find(&mut conn, &name, "248289761001").await.unwrap().unwrap();
        assert_eq!(found.user, jane);
        assert_eq!(identities::count(&mut conn, &name).await.unwrap(), 1);
        drop(conn);
        // Another subject under the same name is another account.
        world.idp.says(|script| {
            script.person["sub"] = json!("another");
            script.person["email"] = json!("other@acme.example");
            script.person["preferred_username"] = json!("jane");
        });
        world.welcome().await;
        assert_ne!(world.stage.user("jane-2").await, jane, "{engine:?}");
        // Whoever is given the address of somebody whom the provider knows does not get the account with it.
        world.idp.says(|script| {
            script.person["sub"] = json!("heir");
            script.person["email"] = json!("jane@acme.example");
            script.person["preferred_username"] = json!("heir");
        });
        world.refused("link").await;
    }
}

#[tokio::test]
async fn oidc_23_an_address_links_only_where_the_provider_speaks_for_it() {
    for (settings, verified, linked) in [
        ("authoritative = true\n", json!(true), true),
        ("authoritative = true\nprovision = \"link-only\"\n", json!(true), true),
        ("authoritative = true\n", json!(false), false),
        ("authoritative = true\n", json!(null), false),
        ("", json!(true), false),
    ] {
        let world = World::open(Engine::Sqlite, settings).await;
        let grace = world.stage.user("grace").await;
        world.idp.says(|script| {
            script.person["email"] = json!("Grace@ACME.example");
            script.claims = json!({ "email_verified": verified });
        });
        world.welcome().await;
        let name = Slug::parse("corp").unwrap();
        let mut conn = world.stage.house().db.read().await.unwrap();
        let found = identities::find(&mut conn, &name, "248289761001").await.unwrap().unwrap();
        assert_eq!(found.user == grace, linked, "{settings} {verified}");
        if !linked {
            let made = cardea::store::users::by_id(&mut conn, found.user).await.unwrap().unwrap();
            assert!(!made.email_verified, "an address that is not vouched for goes to no app");
        }
    }
    // The flag says nothing about another claim; the file can, and then the provider can say no.
    for (flag, own, linked) in [(true, false, false), (true, true, true), (false, true, false)] {
        let claim = if own { "upn" } else { "other" };
        let settings =
            "authoritative = true\nattributes = { email = \"upn\" }\nverified_claims = [\"upn\"]\n";
        let world = World::open(Engine::Sqlite, settings).await;
        if !own {
            world
                .stage
                .reconfigured("attributes = { email = \"upn\" }\n", "attributes = { email = \"email\" }\n")
                .await;
        }
        world.idp.says(|script| {
            script.person[claim] = json!("grace@acme.example");
            script.person["email"] = json!(if flag { "x@acme.example" } else { "grace@acme.example" });
            script.person["email_verified"] = json!(flag);
        });
        world.welcome().await;
        let grace = world.stage.user("grace").await;
        let mut conn = world.stage.house().db.read().await.unwrap();
        let name = Slug::parse("corp").unwrap();
        let found = identities::find(&mut conn, &name, "248289761001").await.unwrap().unwrap();
        assert_eq!(found.user == grace, linked, "{flag} {own}");
    }
    // Whoever holds something in another tenant is more than this one's provider can speak for.
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world.idp.says(|script| {
        script.person["email"] = json!("grace@acme.example");
        script.claims = json!({ "email_verified": true });
    });
    let (grace, by) = (world.stage.user("grace").await, Authority::system());
    let snapshot = world.stage.house().board.snapshot.load_full();
    let globex = snapshot.tenant_named(&Slug::parse("globex").unwrap()).unwrap().id;
    world.stage.house().admin.join(&by, grace, Place::Tenant(globex)).await.unwrap();
    world.refused("link").await;
    // Also when the provider brought them before.
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world.welcome().await;
    let (jane, snapshot) = (world.stage.user("jane").await, world.stage.house().board.snapshot.load_full());
    let globex = snapshot.tenant_named(&Slug::parse("globex").unwrap()).unwrap().id;
    world.stage.house().admin.join(&by, jane, Place::Tenant(globex)).await.unwrap();
    world.refused("other tenants").await;
    // Text is no flag.
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world
        .idp
        .says(|script| script.claims = json!({ "email": "grace@acme.example", "email_verified": "true" }));
    world.refused("id token claims").await;
    // Never into an administrator's account.
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world.idp.says(|script| script.person["email"] = json!("ada@acme.example"));
    world.refused("link").await;
}

#[tokio::test]
async fn a_provider_that_does_not_speak_for_people_chooses_no_name_that_means_something() {
    let world = World::open(Engine::Sqlite, "").await;
    world.idp.says(|script| script.person["preferred_username"] = json!("root"));
    world.welcome().await;
    world.stage.user("root.corp").await;
}

#[tokio::test]
async fn provisioning_off_and_link_only_make_nobody() {
    for provision in ["off", "link-only"] {
        let world =
            World::open(Engine::Sqlite, &format!("authoritative = true\nprovision = \"{provision}\"\n"))
                .await;
        world.refused("provision").await;
    }
    let world = World::open(Engine::Sqlite, "authoritative = true\nprovision = \"off\"\n").await;
    world.idp.says(|script| script.person["email"] = json!("grace@acme.example"));
    world.refused("provision").await;
}

#[tokio::test]
async fn name_and_address_follow_the_provider_only_with_update() {
    for (provision, name) in [("create", "Jane Doe"), ("update", "Jane Roe")] {
        let world =
            World::open(Engine::Sqlite, &format!("authoritative = true\nprovision = \"{provision}\"\n"))
                .await;
        world.welcome().await;
        world.idp.says(|script| script.person["name"] = json!("Jane Roe"));
        world.welcome().await;
        let id = world.stage.user("jane").await;
        let view = world.stage.house().admin.show_user(&Authority::system(), id).await.unwrap();
        assert_eq!(view.user.name.as_str(), name);
    }
}

#[tokio::test]
async fn f47_whoever_is_suspended_comes_in_through_no_provider() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.welcome().await;
        let jane = world.stage.user("jane").await;
        world.stage.house().admin.suspend_user(&Authority::system(), jane, "left", None).await.unwrap();
        world.refused("account").await;
    }
}

#[tokio::test]
async fn an_address_of_the_domain_leads_to_the_provider_whether_or_not_anybody_has_it() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    for address in ["grace@acme.example", "nobody@acme.example"] {
        let mut visitor = world.at_door().await;
        world.idp.says(|script| script.answer = json!({ "error": "access_denied", "code": null }));
        visitor.submit(&[("identifier", address)]).await;
        assert_eq!(visitor.title(), "You did not sign in", "{}", visitor.text());
        let seen = world.idp.seen.lock().unwrap();
        assert_eq!(seen.authorizations.last().unwrap()["login_hint"], address);
    }
    let visitor = world.stage.named("grace").await;
    assert_eq!(visitor.title(), "Enter your password");
    assert_eq!(world.stage.named("x@globex.example").await.title(), "Enter your password");
}

#[tokio::test]
async fn a_factor_of_the_provider_counts_by_the_words_that_are_listed() {
    let world = World::open(Engine::Sqlite, "authoritative = true\ntrust_mfa = [\"mfa\"]\n").await;
    let reports = world.stage.url("reports.cardea", "/");
    world.idp.says(|script| script.person["groups"] = json!(["fin-leads"]));
    let mut visitor = world.welcome().await;
    visitor.get(&reports).await;
    assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
    world.idp.says(|script| script.claims = json!({ "amr": ["pwd", "mfa"] }));
    let mut visitor = world.welcome().await;
    visitor.get(&reports).await;
    assert!(
        visitor.url.starts_with(&reports) && visitor.text().contains("oidc:corp+mfa"),
        "{}",
        visitor.text()
    );
}

#[tokio::test]
async fn oidc_29_whoever_must_prove_anew_is_asked_anew_at_the_provider() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    let mut visitor = world.welcome().await;
    world.stage.advance(Span::minutes(10)).await;
    visitor.get(&world.stage.portal("/me/security/totp")).await;
    assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
    let asked = world.idp.seen.lock().unwrap().authorizations.last().unwrap().clone();
    assert_eq!((asked["prompt"].as_str(), asked["max_age"].as_str()), ("login", "0"));
    // A provider that does not ask is found out.
    for auth_time in [json!(world.idp.now() - 3600), json!(null)] {
        world.stage.advance(Span::minutes(10)).await;
        world.idp.says(|script| script.claims = json!({ "auth_time": auth_time }));
        visitor.get(&world.stage.portal("/me/security/totp")).await;
        assert_eq!(world.cause(&visitor).await.0, "id token auth_time");
    }
    // Somebody else there is nobody here.
    world.idp.says(|script| {
        script.claims = json!({});
        script.person["sub"] = json!("somebody else");
        script.person["email"] = json!("else@acme.example");
    });
    visitor.get(&world.stage.portal("/me/security/totp")).await;
    assert_eq!(world.cause(&visitor).await.0, "another person");
}

#[tokio::test]
async fn a_provider_of_a_tenant_is_offered_where_that_tenant_is() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut visitor = world.stage.visitor();
    visitor.get(&world.stage.url("lantern.partner", "/")).await;
    assert!(visitor.all(".providers a").is_empty(), "a stranger's tenant's provider is offered");
    visitor.get(&world.stage.url("lantern.cardea", "/")).await;
    assert_eq!(visitor.all(".providers a"), ["Continue with Corp"]);
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_nobody_from_another_way_in() {
    let stage = Stage::open(Engine::Sqlite).await;
    let port = crate::support::free_port();
    let file = stage.folder.path().join("cardea.toml");
    let old = std::fs::read_to_string(&file).unwrap();
    let section = format!(
        "[outbound]\nallow = [\"idp.localhost:{port}\"]\n[[idp]]\nname = \"corp\"\nlabel = \"Corp\"\ntenant = \"acme\"\n\
         issuer = \"http://idp.localhost:{port}\"\nclient_id = \"x\"\nclient_auth = \"none\"\n"
    );
    std::fs::write(&file, format!("{old}\n{section}")).unwrap();
    stage.demo.running.reloader().reload("a test").await.unwrap();
    let mut visitor = stage.visitor();
    visitor.get(&stage.url("lantern.cardea", "/")).await;
    let href = visitor.attribute(".providers a", "href").unwrap();
    visitor.get(&stage.portal(&href)).await;
    assert_eq!(visitor.title(), "Corp does not answer", "{}", visitor.text());
    stage.signed_in("grace").await;
}

#[tokio::test]
async fn f46_a_provider_that_is_switched_off_refuses_at_every_entry_also_sign_ins_already_begun() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let admin = &world.stage.house().admin;
        let (by, name) = (Authority::system(), Slug::parse("corp").unwrap());
        let mut inside = world.welcome().await;
        let mut visitor = world.at_door().await;
        world.idp.seen.lock().unwrap().tokens.clear();
        let to = visitor.look(&world.stage.portal("/auth/start/corp")).await.location().unwrap();
        let back = visitor.look(&to).await.location().unwrap();
        // What began with it ends (`SESS-07`).
        assert_eq!(admin.stop_provider(&by, (&name, None), "an incident", None).await.unwrap(), 1);
        inside.get(&world.stage.portal("/apps")).await;
        assert_ne!(inside.title(), "My apps", "{engine:?}: the session goes on");
        visitor.get(&back).await;
        assert_eq!(visitor.title(), "Corp can’t be used right now", "{}", visitor.text());
        assert_eq!(world.cause(&visitor).await.0, "provider off");
        assert!(world.idp.seen.lock().unwrap().tokens.is_empty(), "a code was redeemed");
        visitor.get(&world.stage.portal("/auth/start/corp")).await;
        assert_eq!(world.cause(&visitor).await.0, "provider off");
        let mut at_app = world.stage.visitor();
        at_app.get(&world.stage.url("lantern.cardea", "/")).await;
        assert!(at_app.all(".providers a").is_empty(), "{engine:?}: the button is there");
        assert_eq!(world.stage.named("x@acme.example").await.title(), "Enter your password");
        assert!(admin.resume_provider(&by, (&name, None)).await.unwrap());
        world.welcome().await;
    }
}

#[tokio::test]
async fn f46_who_owes_one_more_step_when_the_provider_is_switched_off_does_not_come_in() {
    let world = World::open(Engine::Sqlite, "").await;
    world.stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
    let mut visitor = world.pressed().await;
    assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
    let (owed, name) = (visitor.url.clone(), Slug::parse("corp").unwrap());
    world
        .stage
        .house()
        .admin
        .stop_provider(&Authority::system(), (&name, None), "an incident", None)
        .await
        .unwrap();
    visitor.get(&owed).await;
    assert_ne!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
    assert!(!visitor.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned()), "there is a session");
}

#[tokio::test]
async fn a_suspended_tenant_s_provider_brings_nobody_in() {
    let world = World::open(Engine::Sqlite, "").await;
    let admin = &world.stage.house().admin;
    let tree = world.stage.house().board.snapshot.load_full();
    let acme = tree.tenant_named(&Slug::parse("acme").unwrap()).unwrap().id;
    let mut visitor = world.at_door().await;
    admin.suspend_tenant(&Authority::system(), acme, "unpaid", None).await.unwrap();
    visitor.get(&world.stage.portal("/auth/start/corp")).await;
    assert_eq!(world.cause(&visitor).await.0, "tenant");
}

/// The command line beside the running program: exit code, and what it says.
pub(super) async fn cli(world: &World, words: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cardea"));
    command.args(words).arg("--config").arg(world.stage.folder.path().join("cardea.toml"));
    command.env_remove("CARDEA_CONFIG");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn the_command_line_shows_tries_and_switches_providers_and_explains_their_grants() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    let (code, said) = cli(&world, &["idp", "list"]).await;
    assert!(code == Some(0) && said.contains("corp") && said.contains(&world.idp.issuer), "{said}");
    let (code, said) = cli(&world, &["idp", "show", "corp"]).await;
    assert!(code == Some(0) && said.contains(&world.stage.portal("/auth/sso-callback/corp")), "{said}");
    assert!(said.contains("groups has fin-analysts: role analyst at acme/europe/finance"), "{said}");
    assert!(!said.contains(super::SECRET), "{said}");
    let (code, said) = cli(&world, &["idp", "test", "corp", "--no-sign-in"]).await;
    assert!(code == Some(0) && said.contains("first"), "{said}");
    for (patch, word) in [
        (json!({ "issuer": "https://other.example" }), "other.example"),
        (json!({ "jwks_uri": format!("http://127.0.0.1:{}/jwks", world.idp.port) }), "outbound.allow"),
        (json!({ "token_endpoint": null }), "token_endpoint"),
    ] {
        world.later().await;
        world.idp.says(|script| script.discovery = patch);
        let (code, said) = cli(&world, &["idp", "test", "corp"]).await;
        assert!(code == Some(1) && said.contains(word), "{said}");
    }
    world.idp.says(|script| script.discovery = json!({}));
    world.later().await;
    assert_eq!(cli(&world, &["idp", "disable", "corp", "--reason", "an incident", "--yes"]).await.0, Some(0));
    world.refused("provider off").await;
    assert!(cli(&world, &["idp", "list"]).await.1.contains("an incident"));
    assert_eq!(cli(&world, &["idp", "enable", "corp"]).await.0, Some(0));
    world.idp.says(|script| script.person["groups"] = json!(["fin-leads"]));
    world.welcome().await;
    let reports = world.stage.url("reports.cardea", "/");
    let (_, said) = cli(&world, &["explain", "jane", &reports, "--mfa"]).await;
    assert!(said.contains("rule 2 of corp"), "{said}");
    assert_eq!(cli(&world, &["idp", "show", "nobody"]).await.0, Some(3));
}
