//! Accounts and identities that their owner ties together, and cuts apart.

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{Slug, Span, UserId};
use cardea::store::identities;
use serde_json::json;

use super::World;
use crate::support::stage::{ENGINES, Engine, Visitor};

/// Who the provider's subject is here.
async fn owner(world: &World, subject: &str) -> Option<UserId> {
    let mut conn = world.stage.house().db.read().await.unwrap();
    let name = Slug::parse("corp").unwrap();
    identities::find(&mut conn, &name, subject).await.unwrap().map(|known| known.user)
}

const SUBJECT: &str = "248289761001";

/// Goes from the page of the account to the provider and back.
async fn links(visitor: &mut Visitor, world: &World) {
    visitor.get(&world.stage.portal("/me")).await;
    let href = visitor.attribute("a[href*='/auth/link/corp']", "href").expect("no link on the page");
    visitor.get(url::Url::parse(&visitor.url).unwrap().join(&href).unwrap().as_str()).await;
    assert_eq!(visitor.title(), "Link your account with Corp?", "{}", visitor.text());
    visitor.press("/auth/link/corp").await;
}

#[tokio::test]
async fn f53_an_account_is_linked_from_its_own_session_and_signs_in_there_from_then_on() {
    for engine in ENGINES {
        let world = World::open(engine, "provision = \"link-only\"\n").await;
        let grace = world.stage.user("grace").await;
        world.refused("provision").await;
        let mut visitor = world.stage.signed_in("grace").await;
        links(&mut visitor, &world).await;
        assert_eq!(visitor.title(), "My account", "{engine:?}: {}", visitor.text());
        assert!(visitor.text().contains("Your account is linked."), "{}", visitor.text());
        assert!(visitor.attribute("a[href*='/auth/unlink/corp']", "href").is_some());
        assert_eq!(owner(&world, SUBJECT).await, Some(grace));
        // Whoever sits there said who they are there and then.
        let asked = world.idp.seen.lock().unwrap().authorizations.last().unwrap().clone();
        assert_eq!(asked["prompt"], "login");
        // No form of ours ended on another site.
        assert!(visitor.way.iter().any(|(url, status)| url.ends_with("/auth/link/corp") && *status == 200));
        let mut other = world.welcome().await;
        other.get(&world.stage.portal("/me")).await;
        assert!(other.text().contains("Grace Hopper"), "{}", other.text());
        // Unlinked, it opens nothing, what it gave is gone, and so are the other sessions.
        let mut admin = world.stage.house().admin.show_user(&Authority::system(), grace).await.unwrap();
        assert!(admin.principal.roles.iter().any(|held| held.origin.to_string().contains("corp")));
        visitor.get(&world.stage.portal("/auth/unlink/corp")).await;
        visitor.press("/auth/unlink/corp").await;
        assert!(visitor.text().contains("Corp is unlinked"), "{}", visitor.text());
        other.get(&world.stage.portal("/me")).await;
        assert_eq!(other.title(), "Sign in");
        admin = world.stage.house().admin.show_user(&Authority::system(), grace).await.unwrap();
        assert!(!admin.principal.roles.iter().any(|held| held.origin.to_string().contains("corp")));
        assert_eq!(admin.memberships.len(), 1, "what was given by hand has gone as well");
        world.refused("provision").await;
        // Cut within a session that began with it, that one ends as well.
        links(&mut visitor, &world).await;
        let mut there = world.welcome().await;
        there.get(&world.stage.portal("/auth/unlink/corp")).await;
        there.press("/auth/unlink/corp").await;
        assert_eq!(there.title(), "Sign in", "{}", there.text());
        assert!(there.text().contains("The provider is unlinked."), "{}", there.text());
        assert_eq!(owner(&world, SUBJECT).await, None);
    }
}

#[tokio::test]
async fn f53_linking_asks_for_a_fresh_proof_and_for_the_form_of_this_browser() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut visitor = world.stage.signed_in("grace").await;
    visitor.get(&world.stage.portal("/auth/link/corp")).await;
    assert_eq!(visitor.title(), "Link your account with Corp?");
    let ready = visitor.ready(&[("csrf", "")]);
    // Without the tag of this browser, or from another site, nothing begins.
    assert_eq!(ready.send().await.status, 403);
    let mut tagged = visitor.form(&[("csrf", "")]).1;
    let tag = tagged.pop().unwrap().1;
    let foreign = ready
        .clone()
        .with("csrf", &tag)
        .header("origin", "https://evil.example")
        .header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.status, 403);
    // Too long after the password: it is asked for again, from the page and from the form.
    world.stage.advance(Span::minutes(6)).await;
    let late = ready.with("csrf", &tag).send().await;
    assert_eq!(late.location().as_deref(), Some("/auth/link/corp"));
    assert!(world.idp.seen.lock().unwrap().authorizations.is_empty());
    visitor.get(&world.stage.portal("/auth/link/corp")).await;
    assert_eq!(visitor.title(), "Enter your password", "{}", visitor.text());
    visitor.submit(&[("password", PASSWORD)]).await;
    assert_eq!(visitor.title(), "Link your account with Corp?", "{}", visitor.text());
    visitor.press("/auth/link/corp").await;
    assert!(visitor.text().contains("Your account is linked."), "{}", visitor.text());
}

#[tokio::test]
async fn f53_nobody_ties_an_identity_that_another_account_has_nor_for_a_session_that_has_ended() {
    for engine in ENGINES {
        let world = World::open(engine, "").await;
        world.welcome().await;
        let jane = owner(&world, SUBJECT).await.unwrap();
        let mut grace = world.stage.signed_in("grace").await;
        links(&mut grace, &world).await;
        assert_eq!(grace.title(), "Your account was not linked with Corp", "{}", grace.text());
        let (check, why) = world.cause(&grace).await;
        assert!(check == "link" && why.contains("already"), "{why}");
        assert!(!grace.text().contains("jane"), "{}", grace.text());
        assert_eq!(owner(&world, SUBJECT).await, Some(jane));
        // Another one there: but the session that asked is over when the answer comes.
        world.idp.says(|script| script.person["sub"] = json!("another"));
        grace.get(&world.stage.portal("/auth/link/corp")).await;
        let to = departed(&grace).await;
        let back = grace.look(&to).await.location().unwrap();
        let id = world.stage.user("grace").await;
        world.stage.house().admin.revoke_sessions(&Authority::system(), id).await.unwrap();
        let mut stranger = world.stage.visitor();
        stranger.get(&back).await;
        assert_eq!(stranger.title(), "Start again", "{engine:?}");
        grace.get(&back).await;
        assert_eq!(world.cause(&grace).await.0, "link");
        assert_eq!(owner(&world, "another").await, None, "{engine:?}");
        // Nobody has two there.
        world.idp.says(|script| script.person["sub"] = json!(SUBJECT));
        let mut jane = world.welcome().await;
        world.idp.says(|script| script.person["sub"] = json!("another"));
        jane.get(&world.stage.portal("/auth/link/corp")).await;
        assert_eq!(jane.title(), "My account", "{}", jane.text());
    }
}

/// Sends the form of the page and reads where the page that answers leads.
async fn departed(visitor: &Visitor) -> String {
    let ready = visitor.ready(&[("csrf", "")]);
    let csrf = visitor.form(&[("csrf", "")]).1.pop().unwrap().1;
    let answer = ready.with("csrf", &csrf).send().await;
    let (_, rest) = answer.body.split_once("url=").expect("no way on");
    rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")
}

#[tokio::test]
async fn f53_an_answer_by_a_form_ties_nothing_until_the_browser_that_asked_is_there() {
    for engine in ENGINES {
        let world = World::open(engine, "response_mode = \"form_post\"\n").await;
        let mut grace = world.stage.signed_in("grace").await;
        grace.get(&world.stage.portal("/auth/link/corp")).await;
        let to = departed(&grace).await;
        grace.get(&to).await;
        let ready = grace.ready(&[("state", "")]);
        let form: Vec<_> = grace.form(&[("code", "")]).1;
        let sent = Visitor::forgetful().client.post(&ready.url).form(&form).send().await.unwrap();
        assert!(sent.status().is_success());
        let state = &form.iter().find(|(name, _)| name == "state").unwrap().1;
        let finish = world.stage.portal(&format!("/auth/finish?flow={state}"));
        let mut other = world.stage.signed_in("linus").await;
        other.get(&finish).await;
        assert_eq!(other.title(), "Start again", "{engine:?}");
        assert_eq!(owner(&world, SUBJECT).await, None, "{engine:?}");
        grace.get(&finish).await;
        assert!(grace.text().contains("Your account is linked."), "{}", grace.text());
        assert_eq!(owner(&world, SUBJECT).await, Some(world.stage.user("grace").await));
    }
}

#[tokio::test]
async fn who_is_suspended_while_linking_is_linked_with_nothing() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut grace = world.stage.signed_in("grace").await;
    grace.get(&world.stage.portal("/auth/link/corp")).await;
    let to = departed(&grace).await;
    let back = grace.look(&to).await.location().unwrap();
    let id = world.stage.user("grace").await;
    world.stage.house().admin.suspend_user(&Authority::system(), id, "left", None).await.unwrap();
    grace.get(&back).await;
    assert_eq!(world.cause(&grace).await.0, "link");
    assert_eq!(owner(&world, SUBJECT).await, None);
}

#[tokio::test]
async fn who_is_offered_what() {
    let world = World::open(Engine::Sqlite, "").await;
    // Not of the provider's tenant; an administrator of more than it; and where nobody new is taken.
    for name in ["yana", "ada"] {
        let mut visitor = world.stage.signed_in(name).await;
        visitor.get(&world.stage.portal("/me")).await;
        assert!(visitor.attribute("a[href*='/auth/link/']", "href").is_none(), "{name}");
        visitor.get(&world.stage.portal("/auth/link/corp")).await;
        assert_eq!(visitor.title(), "My account", "{name}: {}", visitor.text());
    }
    let off = World::open(Engine::Sqlite, "provision = \"off\"\n").await;
    let mut visitor = off.stage.signed_in("grace").await;
    visitor.get(&off.stage.portal("/me")).await;
    assert!(visitor.attribute("a[href*='/auth/link/']", "href").is_none());
}

#[tokio::test]
async fn nobody_cuts_their_only_way_in() {
    let world = World::open(Engine::Sqlite, "").await;
    let mut visitor = world.welcome().await;
    visitor.get(&world.stage.portal("/auth/unlink/corp")).await;
    assert!(visitor.text().contains("your only way in"), "{}", visitor.text());
    // Nor by a form that was not on the page.
    visitor.get(&world.stage.portal("/me/sessions")).await;
    let mut form =
        visitor.ready(&[("csrf", "")]).with("csrf", &visitor.attribute("input[name=csrf]", "value").unwrap());
    form.url = world.stage.portal("/auth/unlink/corp");
    assert_eq!(form.send().await.location().as_deref(), Some("/auth/unlink/corp"));
    assert!(owner(&world, SUBJECT).await.is_some());
}
