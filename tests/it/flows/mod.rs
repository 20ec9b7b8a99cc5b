//! What people do, from outside, over HTTP.

mod forms;
mod grpc;
mod handoff;
mod links;
mod nodes;
pub(crate) mod open;
mod parked;
mod password;
mod second_factor;
mod secrets;
mod sessions;
mod sign_in;
mod walk;

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{Password, Secret, Timestamp, UserId};
use cardea::protocol::totp::Seed;
use cardea::store::credentials;

use crate::support::stage::{Stage, Visitor};

/// What grace's, linus' and yana's sign-ins go through before the code, if there is one.
async fn after_password(stage: &Stage, name: &str) -> Visitor {
    let mut visitor = stage.named(name).await;
    visitor.submit(&[("password", PASSWORD)]).await;
    visitor
}

/// Somebody of the demo with an authenticator, before the page for the code.
async fn at_code(stage: &Stage) -> Visitor {
    let visitor = after_password(stage, "ada").await;
    assert_eq!(visitor.title(), "Enter your code", "{}", visitor.text());
    visitor
}

/// The authenticator whose key a page shows.
fn authenticator(key: &str) -> Seed {
    Seed::from_bytes(Secret::new(data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap())).unwrap()
}

/// A time so many seconds from now, which may be in the past.
fn moved(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_millis(now.millis() + seconds * 1000)
}

/// Sets up the authenticator that the page offers, stores the codes and goes on. The key, and the codes.
async fn enrol(stage: &Stage, visitor: &mut Visitor) -> (String, Vec<String>) {
    let key = visitor.attribute("#key", "data-value").unwrap_or_else(|| panic!("no key: {}", visitor.text()));
    let code = authenticator(&key).code(stage.now());
    visitor.submit(&[("code", &code)]).await;
    assert_eq!(visitor.title(), "Keep your recovery codes", "{}", visitor.text());
    let codes = visitor.all("#codes li code");
    visitor.press("/me/security/recovery").await;
    (key, codes)
}

/// The hash of somebody's password.
async fn hash_of(stage: &Stage, user: UserId) -> String {
    let mut conn = stage.house().db.read().await.unwrap();
    credentials::password(&mut conn, user).await.unwrap().unwrap().0
}

/// Takes somebody over from another system into Acme, with the hash of a password or without.
async fn import(stage: &Stage, username: &str, hash: Option<&str>) -> UserId {
    let line = serde_json::json!({ "username": username, "password_hash": hash, "places": ["acme"] });
    let line = serde_json::from_value(line).unwrap();
    stage.house().admin.import_user(&Authority::system(), &line).await.unwrap().id
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

/// One request with exactly these cookies, as a program makes it.
async fn with_cookies(url: &str, cookies: &[&[u8]]) -> (u16, String) {
    let visitor = Visitor::forgetful();
    let mut request = visitor.client.get(url).header("accept", "application/json");
    for field in cookies {
        request = request.header("cookie", reqwest::header::HeaderValue::from_bytes(field).unwrap());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Whether a token opens an address.
async fn opens(url: &str, token: &str) -> bool {
    with_cookies(url, &[format!("cardea={token}").as_bytes()]).await.0 == 200
}

/// Signs out at the portal.
async fn sign_out(stage: &Stage, visitor: &mut Visitor) {
    visitor.get(&stage.portal("/sign-out")).await;
    visitor.press("/sign-out").await;
    assert_eq!(visitor.title(), "You are signed out");
}
