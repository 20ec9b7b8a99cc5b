//! What people do with the portal, from a link to an app to signing out.

use cardea::demo::PASSWORD;
use cardea::domain::Span;
use fantoccini::Locator;

use super::{Hands, Walk};
use crate::support::browser::{Look, Script};

const REFUSED: &str = "You can’t open “Lantern” yet";

/// A deep link, a password, a code, and the app knows her; on another site too, without being asked again.
async fn ada_opens_lantern(walk: &Walk) {
    let stage = &walk.stage;
    let deep = stage.url("lantern.cardea", "/reports/2025?quarter=3&x=%20y");
    walk.go(&deep).await;
    walk.sees("Sign in").await;
    assert!(walk.words().await.contains("lantern.cardea.localhost"));
    // Strangers learn the host they came from, once, and no more.
    assert_eq!(walk.words().await.matches("lantern.cardea.localhost").count(), 1);
    walk.look_at("sign-in").await;
    if walk.look.script == Script::On {
        let icon = walk
            .page
            .find(Locator::Css("link[rel=icon]"))
            .await
            .unwrap()
            .attr("href")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(walk.fetch(&icon).await.0, 200);
    }
    walk.fill("#identifier", "ada").await;
    walk.press("button.primary").await;
    walk.sees("Enter your password").await;
    walk.look_at("password").await;
    walk.fill("#password", "not the password").await;
    walk.press("button.primary").await;
    walk.sees("Enter your password").await;
    walk.alerted().await;
    walk.look_at("password-wrong").await;
    walk.fill("#password", PASSWORD).await;
    walk.press("button.primary").await;
    walk.sees("Enter your code").await;
    walk.look_at("code").await;
    walk.give_adas_code().await;
    walk.sees_at("Hello, Ada Lovelace", &deep).await;
    assert_eq!(walk.all_green().await, 6);
    walk.look_at("lantern").await;

    // The page between: browsers leave it at once, and people whose browsers do not have a button.
    walk.go(&stage.portal("/apps")).await;
    walk.sees("My apps").await;
    if walk.look.script == Script::On && walk.hands == Hands::Mouse {
        walk.look_at("launcher").await;
        walk.go(&stage.url("lantern.partner", "/")).await;
        walk.sees_at("Hello, Ada Lovelace", &stage.url("lantern.partner", "/")).await;
        assert_eq!(walk.all_green().await, 6);
    }
    walk.nothing_refused("the end").await;
}

/// Reports asks for a second factor that she has not got.
async fn grace_opens_reports(walk: &Walk) {
    let stage = &walk.stage;
    let target = stage.url("reports.cardea", "/q3?x=1");
    walk.go(&target).await;
    walk.come_in("grace", PASSWORD).await;
    walk.sees("Set up an authenticator app").await;
    walk.look_at("enrolment").await;
    walk.fill("#code", "000000").await;
    walk.press("button.primary").await;
    walk.alerted().await;
    walk.look_at("enrolment-wrong").await;
    walk.enrol().await;
    assert_eq!(walk.count("#codes li").await, 10);
    walk.look_at("recovery-codes").await;
    walk.press("#stored").await;
    walk.press("button.primary").await;
    walk.sees_at("Hello, Grace Hopper", &target).await;
    assert_eq!(walk.all_green().await, 6);

    walk.go(&stage.url("reports.cardea", "/admin/x")).await;
    walk.sees("You can’t open “Reports” yet").await;
    let words = walk.words().await;
    assert!(words.contains("reports:admin") && words.contains("Reference D-"), "{words}");
    assert!(words.contains("finance service desk"), "{words}");
    walk.look_at("refusal-reports").await;
}

/// A contractor is turned away and learns why, and somebody else can use the same browser.
async fn linus_is_turned_away(walk: &Walk) {
    let stage = &walk.stage;
    let target = stage.url("lantern.cardea", "/somewhere?x=1");
    walk.go(&target).await;
    walk.come_in("linus", PASSWORD).await;
    walk.sees_at(REFUSED, &target).await;
    let words = walk.words().await;
    assert!(words.contains("staff") && words.contains("Signed in as linus"), "{words}");
    walk.look_at("refusal").await;
    // Another account: out, and in again on the way to the same page.
    walk.press("form button").await;
    walk.ada_comes_in().await;
    walk.sees_at("Hello, Ada Lovelace", &target).await;
}

/// Lent for a moment: the authenticator goes and comes back, with new codes, each after a fresh proof.
async fn grace_changes_her_factor(walk: &Walk) {
    let stage = &walk.stage;
    walk.go(&stage.portal("/me")).await;
    walk.come_in("grace", PASSWORD).await;
    walk.sees("My account").await;
    walk.press("a.primary").await;
    let seed = walk.enrol().await;
    walk.press("#stored").await;
    walk.press("button.primary").await;
    walk.sees("My account").await;
    assert!(walk.words().await.contains("10 left."));
    // A proof that is too old is asked for again, and leads back.
    stage.advance(Span::minutes(10)).await;
    walk.press("form[action='/me/security/recovery'] button").await;
    walk.sees("Enter your code").await;
    walk.fill("#code", &seed.code(stage.now())).await;
    walk.press("button.primary").await;
    walk.sees("My account").await;
    walk.told("New recovery codes can be made").await;
    walk.press("form[action='/me/security/recovery'] button").await;
    walk.sees("Keep your recovery codes").await;
    walk.told("no longer work").await;
    walk.look_at("codes-renewed").await;
    walk.press("#stored").await;
    walk.press("button.primary").await;
    walk.sees("My account").await;
    walk.go(&stage.portal("/me/security/totp/remove")).await;
    walk.sees("Remove your authenticator app?").await;
    walk.look_at("factor-remove").await;
    walk.press("button.danger").await;
    walk.sees("My account").await;
    walk.told("Your authenticator app is removed.").await;
    walk.look_at("account-without-factor").await;
    // In her next session Reports wants it back, and says so by its title to a member.
    walk.forget().await;
    walk.go(&stage.portal("/")).await;
    walk.come_in("grace", PASSWORD).await;
    walk.sees("My apps").await;
    stage.advance(Span::minutes(10)).await;
    walk.go(&stage.url("reports.cardea", "/")).await;
    walk.sees("Enter your password").await;
    walk.look_at("password-again").await;
    walk.fill("#password", PASSWORD).await;
    walk.press("button.primary").await;
    walk.sees("Set up an authenticator app").await;
    assert!(walk.words().await.contains("Reports asks for a second factor."));
    walk.follow("Cancel").await;
    walk.sees("My apps").await;
    assert!(walk.words().await.contains("Asks for a code"));
}

/// Launcher, account, sessions, password, and out.
async fn ada_looks_after_her_account(walk: &Walk) {
    let stage = &walk.stage;
    walk.go(&stage.portal("/")).await;
    walk.ada_comes_in().await;
    walk.sees_at("My apps", &stage.portal("/apps")).await;
    assert_eq!(walk.count(".tile").await, 5);
    walk.press(".tile[href*='lantern.cardea']").await;
    walk.sees("Hello, Ada Lovelace").await;
    walk.follow("My apps").await;
    walk.sees("My apps").await;

    walk.follow("Account").await;
    walk.sees_at("My account", &stage.portal("/me")).await;
    walk.look_at("account").await;

    // A second browser of hers, which this one ends.
    let mut other = stage.visitor();
    stage.advance(Span::seconds(90)).await;
    other.get(&stage.portal("/apps")).await;
    other.submit(&[("identifier", "ada")]).await;
    other.submit(&[("password", PASSWORD)]).await;
    other.submit(&[("code", &stage.ada_code())]).await;
    assert_eq!(other.title(), "My apps");
    walk.follow("Sessions").await;
    walk.sees("My sessions").await;
    assert!(walk.count(".sessions li").await >= 2);
    assert!(walk.words().await.contains("Lantern"));
    walk.look_at("sessions").await;
    // Hers is the newest of the others.
    walk.press(".sessions form[action*='/revoke'] button").await;
    walk.told("That session is signed out.").await;
    walk.look_at("sessions-revoked").await;
    other.get(&stage.portal("/apps")).await;
    assert_eq!(other.title(), "Sign in");

    walk.go(&stage.portal("/password/change")).await;
    walk.sees("Change your password").await;
    walk.look_at("password-change").await;
    walk.fill("#current", PASSWORD).await;
    walk.fill("#password", "ada").await;
    walk.press("button.primary").await;
    walk.alerted().await;
    walk.look_at("password-change-wrong").await;
    walk.fill("#current", PASSWORD).await;
    walk.fill("#password", "a walk by the river at dusk").await;
    walk.press("button.primary").await;
    walk.sees("My account").await;
    walk.told("Your password is changed.").await;

    // Asking does nothing.
    walk.go(&stage.portal("/sign-out")).await;
    walk.sees("Sign out?").await;
    walk.look_at("sign-out").await;
    walk.follow("Stay signed in").await;
    walk.sees("My apps").await;
    walk.go(&stage.portal("/sign-out")).await;
    walk.sees("Sign out?").await;
    walk.press("button.primary").await;
    walk.sees("You are signed out").await;
    walk.look_at("signed-out").await;
    walk.go(&stage.url("lantern.cardea", "/")).await;
    walk.sees("Sign in").await;

    // From an app the same.
    stage.advance(Span::seconds(90)).await;
    walk.come_in("ada", "a walk by the river at dusk").await;
    walk.give_adas_code().await;
    walk.sees("Hello, Ada Lovelace").await;
    walk.follow("Sign out").await;
    walk.sees("Sign out?").await;
    walk.press("button.primary").await;
    walk.sees("You are signed out").await;
    walk.look_at("signed-out-app").await;
    walk.go(&stage.portal("/apps")).await;
    walk.sees("Sign in").await;
}

/// Long after the last code, a page that wants a fresh one.
async fn ada_is_asked_again(walk: &Walk) {
    let stage = &walk.stage;
    let admin = stage.url("reports.cardea", "/admin/users?page=2");
    walk.go(&admin).await;
    // Another name, and a second thought: neither loses the way.
    walk.sees("Sign in").await;
    walk.fill("#identifier", "grace").await;
    walk.press("button.primary").await;
    walk.sees("Enter your password").await;
    walk.press(".fixed a").await;
    walk.come_in("ada", PASSWORD).await;
    walk.sees("Enter your code").await;
    walk.follow("Use a recovery code").await;
    walk.sees("Use a recovery code").await;
    walk.look_at("recovery").await;
    walk.fill("#code", "0000-0000-0000-0000").await;
    walk.press("button.primary").await;
    walk.alerted().await;
    walk.follow("Cancel").await;
    walk.sees("Sign in").await;
    assert!(walk.words().await.contains("reports.cardea.localhost"));
    walk.ada_comes_in().await;
    walk.sees_at("Hello, Ada Lovelace", &admin).await;
    stage.advance(Span::minutes(20)).await;
    walk.go(&admin).await;
    walk.sees("Enter your code").await;
    assert!(walk.words().await.contains("Reports asks for a fresh code."));
    walk.look_at("step-up").await;
    walk.give_adas_code().await;
    walk.sees_at("Hello, Ada Lovelace", &admin).await;
    stage.advance(Span::minutes(20)).await;
    walk.go(&admin).await;
    walk.sees("Enter your code").await;
    walk.follow("Cancel").await;
    walk.sees("My apps").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go() {
    let walk = Walk::begin("with", Look::DESK, Hands::Mouse).await;
    ada_opens_lantern(&walk).await;
    walk.forget().await;
    grace_opens_reports(&walk).await;
    walk.forget().await;
    linus_is_turned_away(&walk).await;
    walk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_look_after_themselves() {
    let walk = Walk::begin("own", Look::DESK, Hands::Mouse).await;
    ada_is_asked_again(&walk).await;
    walk.forget().await;
    grace_changes_her_factor(&walk).await;
    walk.forget().await;
    ada_looks_after_her_account(&walk).await;
    walk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go_without_script() {
    let walk = Walk::begin("without", Look::DESK.without_script(), Hands::Mouse).await;
    ada_opens_lantern(&walk).await;
    walk.forget().await;
    grace_opens_reports(&walk).await;
    walk.forget().await;
    linus_is_turned_away(&walk).await;
    walk.forget().await;
    ada_looks_after_her_account(&walk).await;
    walk.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_opens_an_app() {
    let walk = Walk::begin("keyboard", Look::DESK, Hands::Keyboard).await;
    ada_opens_lantern(&walk).await;
    walk.end().await;
}

/// What is between a form and another site: a page, since a redirect would be stopped by the form's own policy.
#[tokio::test(flavor = "multi_thread")]
async fn forms_arrive_on_another_site() {
    let walk = Walk::begin("across", Look::DESK, Hands::Mouse).await;
    let partner = walk.stage.url("lantern.partner", "/from/far?x=1");
    walk.go(&partner).await;
    walk.come_in("yana", PASSWORD).await;
    walk.sees_at("Hello, Яна Новак", &partner).await;
    assert_eq!(walk.all_green().await, 6);
    walk.look_at("lantern").await;
    walk.forget().await;

    // The page itself, held still.
    walk.go(&partner).await;
    walk.sees("Sign in").await;
    let query = walk.page.current_url().await.unwrap().query().unwrap().to_owned();
    walk.come_in("yana", PASSWORD).await;
    walk.sees("Hello, Яна Новак").await;
    walk.go(&walk.stage.portal("/me")).await;
    let (status, html) = walk.fetch(&format!("/auth/continue?{query}")).await;
    assert_eq!(status, 200);
    walk.hold(&html).await;
    walk.sees("Taking you to Lantern for partners…").await;
    walk.look_at("taking-you").await;
    assert_eq!(
        walk.page.find(Locator::Css("a.primary")).await.unwrap().text().await.unwrap(),
        "Go to Lantern for partners now"
    );

    // Somebody who is no member of that company learns the host and not the title.
    walk.forget().await;
    walk.go(&partner).await;
    walk.sees("Sign in").await;
    let query = walk.page.current_url().await.unwrap().query().unwrap().to_owned();
    walk.come_in("linus", PASSWORD).await;
    walk.sees("You can’t open this page").await;
    walk.look_at("refusal-stranger").await;
    walk.go(&walk.stage.portal("/me")).await;
    let (_, html) = walk.fetch(&format!("/auth/continue?{query}")).await;
    assert!(
        html.contains("Taking you to lantern.partner.localhost…") && !html.contains("Lantern for partners"),
        "{html}"
    );
    walk.end().await;
}
