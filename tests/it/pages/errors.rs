//! What people see when something is not as it should be.

use cardea::demo::PASSWORD;
use cardea::domain::Span;
use serde_json::json;

use super::{Hands, Walk};
use crate::support::browser::Look;

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_what_went_wrong() {
    let walk = Walk::begin("error", Look::DESK, Hands::Mouse).await;
    let stage = &walk.stage;

    walk.go(&stage.url("nobody.cardea", "/somewhere")).await;
    walk.sees("There is no app at this address").await;
    walk.look_at("no-app").await;

    // A stranger on the portal: nothing to be found, and a way in.
    walk.go(&stage.portal("/no/such/page")).await;
    walk.sees("There is no page at this address").await;
    walk.look_at("not-found-stranger").await;
    walk.press("a.button").await;
    walk.sees("Sign in").await;

    a_stranger_to_cookies(&walk).await;
    a_form_of_another_browser(&walk).await;
    a_flow_that_is_too_old(&walk).await;

    walk.go(&stage.portal("/")).await;
    walk.come_in("grace", PASSWORD).await;
    walk.sees("My apps").await;
    walk.go(&stage.portal("/no/such/page")).await;
    walk.sees("There is no page at this address").await;
    walk.look_at("not-found").await;
    walk.go(&stage.url("lantern.cardea", "/.cardea/no-such-page")).await;
    walk.sees("There is no page at this address").await;
    walk.look_at("not-found-app").await;
    walk.go(&stage.url("crm.cardea", "/files")).await;
    walk.sees("Customer files did not answer").await;
    assert!(walk.words().await.contains("Your access is fine"));
    walk.look_at("upstream-down").await;
    walk.press("a.primary").await;
    walk.sees_at("Customer files did not answer", &stage.url("crm.cardea", "/files")).await;
    walk.go(&stage.url("lantern.cardea", "/.cardea/callback?code=none")).await;
    walk.sees("Start again").await;
    walk.look_at("hand-off-stale").await;

    // Open to everybody: the app learns nothing, whoever comes.
    walk.go(&stage.url("welcome.cardea", "/")).await;
    walk.sees("Lantern is open to everyone here").await;
    walk.look_at("welcome").await;
    walk.nothing_refused("the end").await;
    walk.end().await;
}

/// A browser that keeps no cookies is told so, on the first form that needs one.
async fn a_stranger_to_cookies(walk: &Walk) {
    walk.go(&walk.stage.portal("/sign-in")).await;
    walk.sees("Sign in").await;
    walk.forget().await;
    walk.fill("#identifier", "grace").await;
    walk.press("button.primary").await;
    walk.sees("Your browser did not keep our cookie").await;
    walk.look_at("cookies-refused").await;
    walk.press("a.primary").await;
    walk.sees("Sign in").await;
}

/// A form whose tag belongs to another browser. The first page of a sign-in takes the browser's own word as well; from
/// there on only the tag counts.
async fn a_form_of_another_browser(walk: &Walk) {
    walk.go(&walk.stage.portal("/sign-in")).await;
    walk.sees("Sign in").await;
    walk.fill("#identifier", "grace").await;
    walk.press("button.primary").await;
    walk.sees("Enter your password").await;
    let spoil = "document.querySelector('input[name=csrf]').value = 'x'.repeat(43)";
    walk.page.execute(spoil, vec![json!(null)]).await.unwrap();
    walk.fill("#password", PASSWORD).await;
    walk.press("button.primary").await;
    walk.sees("This form did not come from our page").await;
    walk.look_at("foreign-form").await;
}

/// A sign-in that was left open for an hour.
async fn a_flow_that_is_too_old(walk: &Walk) {
    walk.go(&walk.stage.portal("/")).await;
    walk.sees("Sign in").await;
    walk.fill("#identifier", "grace").await;
    walk.press("button.primary").await;
    walk.sees("Enter your password").await;
    walk.stage.advance(Span::hours(1)).await;
    walk.fill("#password", PASSWORD).await;
    walk.press("button.primary").await;
    walk.sees("Start again").await;
    walk.look_at("flow-stale").await;
    walk.press("a.primary").await;
    walk.sees("Sign in").await;
}
