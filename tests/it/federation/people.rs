//! What a provider can bring about for people and their accounts, and what it cannot.

use cardea::access::Authority;
use cardea::admin::{Edit, Given};
use cardea::crypto::token::handle_digest;
use cardea::domain::login::Stage;
use cardea::domain::{AccountKind, EmailAddress, Place, Slug, Span, TenantId};
use cardea::store::flows;
use serde_json::json;

use super::World;
use crate::support::stage::{ENGINES, Engine, Visitor};

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn tenant(world: &World, name: &str) -> TenantId {
    world.stage.house().board.snapshot.load().tenant_named(&slug(name)).unwrap().id
}

fn inside(world: &World, visitor: &Visitor) -> bool {
    visitor.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned())
}

/// How often, and how, the browser was sent to sign in: each time `prompt` and `max_age`.
fn asked(world: &World) -> Vec<(Option<String>, Option<String>)> {
    let seen = world.idp.seen.lock().unwrap();
    let of = |asked: &std::collections::HashMap<String, String>| {
        (asked.get("prompt").cloned(), asked.get("max_age").cloned())
    };
    seen.authorizations.iter().map(of).collect()
}

/// Asked for a sign-in of this moment.
fn anew() -> (Option<String>, Option<String>) {
    (Some("login".to_owned()), Some("0".to_owned()))
}

#[tokio::test]
async fn mfa_05_oidc_29_no_first_factor_is_set_up_after_a_silent_sign_in() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        world.stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
        // A provider that goes on silently even when it is asked not to, or does not say when it asked: no enrolment.
        for when in [json!(null), json!(world.idp.now() - 3600)] {
            world.idp.says(|script| script.claims = json!({ "auth_time": when }));
            let visitor = world.pressed().await;
            assert_eq!(world.cause(&visitor).await.0, "id token auth_time", "{engine:?} {when}");
            assert_eq!(asked(&world).pop().unwrap(), anew());
            assert!(!inside(&world, &visitor));
        }
        // One that says it when it is asked: one hop more, where the person signs in there and then.
        world.idp.says(|script| (script.claims, script.silent) = (json!({}), true));
        let before = asked(&world).len();
        let mut visitor = world.pressed().await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
        assert_eq!(asked(&world)[before..], [(None, None), anew()]);
        // The page was open too long: the way leads to the provider once more, from the page and from its form.
        world.stage.advance(Span::minutes(10)).await;
        let (url, count) = (visitor.url.clone(), asked(&world).len());
        let mut late = visitor.tab();
        late.get(&url).await;
        assert_eq!(late.title(), "Set up an authenticator app", "{}", late.text());
        assert_eq!(asked(&world)[count..], [anew()]);
        visitor.submit(&[("code", "000000")]).await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{}", visitor.text());
        assert_eq!(asked(&world)[count..], [anew(), anew()]);
        // No form of ours ends on another site.
        let leads = |(url, status): &(String, u16)| url.ends_with("/me/security/totp") && *status == 200;
        assert!(visitor.way.iter().any(leads), "{:?}", visitor.way);
        assert!(!inside(&world, &visitor));
    }
}

#[tokio::test]
async fn oidc_29_a_sign_in_of_nobody_knows_when_is_not_fresh_for_an_app_that_asks() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world
        .stage
        .reconfigured("allow  = [\"group:staff\"]", "allow  = [\"group:staff\"]\nrequire = [\"session<8h\"]")
        .await;
    world.idp.says(|script| script.silent = true);
    let mut visitor = world.stage.visitor();
    visitor.get(&world.stage.url("lantern.cardea", "/")).await;
    let href = visitor.attribute(".providers a", "href").unwrap();
    visitor.get(&world.stage.portal(&href)).await;
    assert!(visitor.url.starts_with(&world.stage.url("lantern.cardea", "/")), "{}", visitor.text());
    assert_eq!(asked(&world), [(None, None), anew()]);
}

/// A provider of everybody, whose rules alone say where people belong.
async fn everybody(engine: Engine) -> World {
    let world = World::placed(
        engine,
        "domains = [\"acme.example\", \"globex.example\"]\n",
        "authoritative = true\nprovision = \"update\"\n\
         [[idp.rule]]\nclaim = \"groups\"\nhas = \"acme\"\njoins = \"acme\"\nroles = [\"analyst\"]\nat = \"acme\"\n\
         [[idp.rule]]\nclaim = \"groups\"\nhas = \"globex\"\njoins = \"globex\"\nroles = [\"partner\"]\nat = \"globex\"\n",
    )
    .await;
    world.idp.says(|script| script.person["groups"] = json!(["acme"]));
    world
}

async fn held(world: &World, name: &str) -> (Vec<String>, usize, usize) {
    let id = world.stage.user(name).await;
    let view = world.stage.house().admin.show_user(&Authority::system(), id).await.unwrap();
    let roles = view.principal.roles.iter().map(|held| held.slug.to_string()).collect();
    (roles, view.groups.len(), view.memberships.len())
}

#[tokio::test]
async fn what_a_provider_gave_goes_when_it_says_that_nothing_holds_any_more() {
    for engine in ENGINES {
        let world = everybody(engine).await;
        let mut visitor = world.welcome().await;
        assert_eq!(held(&world, "jane").await, (vec!["analyst".to_owned()], 0, 1), "{engine:?}");
        let by = Authority::system();
        let (jane, acme) = (world.stage.user("jane").await, tenant(&world, "acme"));
        // Nobody can be brought into line by an answer that was not verified.
        world.idp.says(|script| {
            script.person["groups"] = json!([]);
            script.claims = json!({ "nonce": "other" });
        });
        world.refused("id token nonce").await;
        assert_eq!(held(&world, "jane").await.0, ["analyst"]);
        world.idp.says(|script| script.claims = json!({}));
        world.refused("mapping").await;
        assert_eq!(held(&world, "jane").await, (vec![], 0, 0), "{engine:?}");
        // The session that is open has lost it with the next request.
        visitor.get(&world.stage.portal("/me")).await;
        assert!(!visitor.text().contains("Reports analyst"), "{}", visitor.text());
        // What was given by hand stays, with the place it is given at.
        world.idp.says(|script| script.person["groups"] = json!(["acme"]));
        world.welcome().await;
        let owner = world.stage.house().admin.role_named(&by, "reports-owner", None).await.unwrap();
        let given = Given { role: owner.id, place: Place::Tenant(acme) };
        world.stage.house().admin.grant_role(&by, jane, given).await.unwrap();
        world.idp.says(|script| script.person["groups"] = json!([]));
        world.refused("mapping").await;
        assert_eq!(held(&world, "jane").await, (vec!["reports-owner".to_owned()], 0, 1));
    }
}

#[tokio::test]
async fn who_leaves_a_tenant_by_a_rule_loses_the_addresses_that_sign_in_there() {
    for engine in ENGINES {
        let world = everybody(engine).await;
        world.welcome().await;
        let by = Authority::system();
        let jane = world.stage.user("jane@acme.example").await;
        world.idp.says(|script| script.person["groups"] = json!(["globex"]));
        world.welcome().await;
        let view = world.stage.house().admin.show_user(&by, jane).await.unwrap();
        assert_eq!((view.memberships[0].tenant, view.memberships.len()), (tenant(&world, "globex"), 1));
        assert!(!view.user.email_verified, "{engine:?}: the address still signs in");
        assert!(world.stage.house().admin.user_named(&by, "jane@acme.example").await.is_err());
        world.idp.says(|script| script.person["groups"] = json!(["acme"]));
        world.welcome().await;
        assert_eq!(world.stage.user("jane@acme.example").await, jane);
    }
}

#[tokio::test]
async fn a_provider_chooses_no_username_that_a_policy_names() {
    let world = World::open(Engine::Sqlite, "authoritative = true\n").await;
    world
        .stage
        .reconfigured(
            "allow  = [\"group:staff\"]",
            "allow  = [\"group:staff\", \"user:boss\"]\ndeny = [\"user:boss.corp\"]",
        )
        .await;
    world.idp.says(|script| script.person["preferred_username"] = json!("Boss@acme.example"));
    world.welcome().await;
    let by = Authority::system();
    for name in ["boss", "boss.corp"] {
        assert!(world.stage.house().admin.user_named(&by, name).await.is_err(), "{name} is taken");
    }
    world.stage.user("boss.corp-2").await;
}

/// An answer that was posted and waits for its browser: the browser, and the handle of its flow.
async fn posted(world: &World) -> (Visitor, String) {
    let mut visitor = world.at_door().await;
    visitor.get(&world.stage.portal("/auth/start/corp")).await;
    let ready = visitor.ready(&[("state", "")]);
    let form: Vec<_> = visitor.form(&[("code", "")]).1;
    let sent = Visitor::forgetful().client.post(&ready.url).form(&form).send().await.unwrap();
    assert!(sent.status().is_success());
    (visitor, form.into_iter().find(|(name, _)| name == "state").unwrap().1)
}

#[tokio::test]
async fn oidc_02_what_was_kept_of_an_answer_opens_in_no_other_sign_in() {
    for engine in ENGINES {
        let world = World::open(engine, "response_mode = \"form_post\"\n").await;
        let (_, theirs) = posted(&world).await;
        world.idp.says(|script| script.person["sub"] = json!("somebody else"));
        let (mut visitor, own) = posted(&world).await;
        let db = &world.stage.house().db;
        let find = async |handle: &str| {
            let digest = handle_digest(handle).unwrap();
            let mut conn = db.read().await.unwrap();
            flows::find_unbound(&mut conn, &digest, world.stage.now()).await.unwrap().unwrap()
        };
        let (from, to) = (find(&theirs).await, find(&own).await);
        assert!(matches!(to.stage, Stage::Arrived { .. }));
        let mut tx = db.begin().await.unwrap();
        assert!(flows::advance(&mut tx, &to, &to.stage, from.pending.as_deref()).await.unwrap());
        tx.commit(world.stage.now()).await.unwrap();
        visitor.get(&world.stage.portal(&format!("/auth/finish?flow={own}"))).await;
        assert_eq!(world.cause(&visitor).await.0, "kept answer", "{engine:?}");
        assert!(!inside(&world, &visitor));
    }
}

#[tokio::test]
async fn no_address_of_ours_carries_what_is_no_name_of_a_provider() {
    let world = World::open(Engine::Sqlite, "").await;
    for name in ["%22%3E%3Cscript%3E", "Corp", "corp%3Fx=1", "javascript:alert(1)"] {
        let visitor = Visitor::forgetful();
        let answer = visitor.look(&world.stage.portal(&format!("/auth/start/{name}"))).await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
        assert!(
            !answer.body.contains("<script>") && !answer.body.contains("/auth/start/"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn oidc_23_who_comes_to_administer_more_than_the_tenant_is_not_brought_in_by_its_provider() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let by = Authority::system();
        let admin = &world.stage.house().admin;
        let mut before = world.welcome().await;
        let jane = world.stage.user("jane").await;
        let kind = |kind| Edit { kind: Some(kind), ..Edit::default() };
        admin.edit_user(&by, jane, kind(AccountKind::Admin)).await.unwrap();
        // What a session was begun with by another's word is no administrator's.
        before.get(&world.stage.portal("/me")).await;
        assert_eq!(before.title(), "Sign in", "{engine:?}: {}", before.text());
        // Of the provider's own tenant: as before.
        world.welcome().await;
        let all = admin.role_named(&by, "super-admin", None).await.unwrap();
        admin.grant_role(&by, jane, Given { role: all.id, place: Place::Global }).await.unwrap();
        assert!(held(&world, "jane").await.0.contains(&"analyst".to_owned()));
        let why = world.refused("administrator").await;
        assert!(why.contains("jane"), "{why}");
        assert_eq!(held(&world, "jane").await.0, ["super-admin"]);
    }
}

/// What the file has besides, for the rules of a test.
const EXCLUSIVE: &str = "[[role]]\nslug = \"viewer-only\"\ntenant = \"acme\"\nexclusive = true\npermissions = { reports = [\"read\"] }\n\
    [[role]]\nslug = \"newcomer\"\ntenant = \"acme\"\nauto_assigned = true\npermissions = { wiki = [\"read\"] }\n";

#[tokio::test]
async fn tenant_10_an_exclusive_role_of_a_rule_stands_alone_and_gives_way_to_what_was_given_by_hand() {
    for engine in ENGINES {
        let rules = "[[idp.rule]]\nclaim = \"groups\"\nhas = \"viewers\"\nroles = [\"viewer-only\"]\n\
                     [[idp.rule]]\nclaim = \"groups\"\nhas = \"fin\"\nroles = [\"analyst\"]\n";
        let world = World::open(engine, "authoritative = true\n").await;
        world.append(EXCLUSIVE).await;
        world.with_rules(rules).await;
        world.idp.says(|script| script.person["groups"] = json!(["fin"]));
        world.welcome().await;
        let mut first = held(&world, "jane").await.0;
        first.sort();
        assert_eq!(first, ["analyst", "newcomer"], "{engine:?}");
        // Both rules match: the exclusive one alone counts, and what came with the membership makes room.
        world.idp.says(|script| script.person["groups"] = json!(["fin", "viewers"]));
        world.welcome().await;
        assert_eq!(held(&world, "jane").await.0, ["viewer-only"]);
        world.idp.says(|script| script.person["groups"] = json!(["fin"]));
        world.welcome().await;
        assert_eq!(held(&world, "jane").await.0, ["analyst"]);
        // Beside what an administrator has given it does not come.
        let by = Authority::system();
        let owner = world.stage.house().admin.role_named(&by, "reports-owner", None).await.unwrap();
        let place = Place::Tenant(tenant(&world, "acme"));
        let jane = world.stage.user("jane").await;
        world.stage.house().admin.grant_role(&by, jane, Given { role: owner.id, place }).await.unwrap();
        world.idp.says(|script| script.person["groups"] = json!(["viewers"]));
        world.welcome().await;
        assert_eq!(held(&world, "jane").await.0, ["reports-owner"], "{engine:?}");
    }
}

#[tokio::test]
async fn a_provider_of_everybody_puts_people_where_its_rules_say_and_is_offered_everywhere() {
    for engine in ENGINES {
        let world = everybody(engine).await;
        for host in ["lantern.cardea", "lantern.partner"] {
            let mut visitor = world.stage.visitor();
            visitor.get(&world.stage.url(host, "/")).await;
            assert_eq!(visitor.all(".providers a"), ["Continue with Corp"], "{engine:?} {host}");
        }
        // Nobody whom no rule places: there is no account then either.
        world.idp.says(|script| script.person["groups"] = json!(["others"]));
        world.refused("mapping").await;
        assert!(world.stage.house().admin.user_named(&Authority::system(), "jane").await.is_err());
        world.idp.says(|script| script.person["groups"] = json!(["acme", "globex"]));
        world.welcome().await;
        let (mut roles, _, places) = held(&world, "jane").await;
        roles.sort();
        assert_eq!((roles, places), (vec!["analyst".to_owned(), "partner".to_owned()], 2));
    }
    let world = World::placed(
        Engine::Sqlite,
        "default_tenant = \"globex\"\n",
        "[[idp.rule]]\nclaim = \"groups\"\nhas = \"x\"\nroles = [\"partner\"]\n",
    )
    .await;
    world.welcome().await;
    let jane = world.stage.user("jane.corp").await;
    let view = world.stage.house().admin.show_user(&Authority::system(), jane).await.unwrap();
    assert_eq!(view.memberships.iter().map(|it| it.tenant).collect::<Vec<_>>(), [tenant(&world, "globex")]);
}

#[tokio::test]
async fn f45_an_address_in_another_claim_matches_no_rule_unless_the_file_answers_for_it() {
    let rule = "[[idp.rule]]\nclaim = \"upn\"\nends_with = \"@acme.example\"\nroles = [\"analyst\"]\n";
    for (settings, gives) in [("", false), ("verified_claims = [\"upn\"]\n", true)] {
        let world = World::open(Engine::Sqlite, &format!("authoritative = true\n{settings}{rule}")).await;
        world.idp.says(|script| script.person["upn"] = json!("boss@acme.example"));
        world.welcome().await;
        assert_eq!(held(&world, "jane").await.0.contains(&"analyst".to_owned()), gives, "{settings}");
    }
}

#[tokio::test]
async fn f45_what_only_a_provider_says_of_an_address_becomes_no_sign_in_name_by_the_way() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        let by = Authority::system();
        let admin = &world.stage.house().admin;
        for (sub, email) in [("one", "boss@acme.example"), ("two", "boss@new.example")] {
            world.idp.says(|script| {
                script.person["sub"] = json!(sub);
                script.person["preferred_username"] = json!(sub);
                script.person["email"] = json!(email);
            });
            world.welcome().await;
        }
        let (one, two) = (world.stage.user("one.corp").await, world.stage.user("two.corp").await);
        let verified = async |id| admin.show_user(&by, id).await.unwrap().user.email_verified;
        // Somebody moves them within the tenant; the tenant gets a domain.
        let place = admin.place_named(&by, "acme/europe/it").await.unwrap();
        admin.join(&by, one, place).await.unwrap();
        let domains = "domains = [\"acme.example\"]\n\n";
        world.stage.reconfigured(domains, "domains = [\"acme.example\", \"new.example\"]\n\n").await;
        assert_eq!((verified(one).await, verified(two).await), (false, false), "{engine:?}");
        // An administrator who writes it down vouches for it.
        let email = Some(Some(EmailAddress::parse("boss@acme.example").unwrap()));
        admin.edit_user(&by, one, Edit { email, ..Edit::default() }).await.unwrap();
        assert!(verified(one).await);
        world.idp.says(|script| script.person["sub"] = json!("one"));
        world.welcome().await;
        assert!(verified(one).await, "{engine:?}");
    }
}
