//! Lantern: an upstream that shows what it received, verifies the assertion step by step, and refuses whatever carries
//! none. It trusts the assertion and nothing else, as an upstream should.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::crypto::keyring::ASSERTION_TYPE;
use crate::crypto::signing::{NotVerified, verify};
use crate::domain::target;
use crate::sys::Clock;
use crate::ui::{self, Check, Lantern, LanternPerson};

/// What Lantern knows of the gateway in front of it.
pub struct Knows {
    /// The gateway's listener; keys are fetched from there.
    pub gateway: SocketAddr,
    /// The issuer: the portal's origin.
    pub issuer: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    keys: Mutex<Option<Value>>,
}

impl Knows {
    /// Keys are fetched when the first assertion comes.
    #[must_use]
    pub fn new(gateway: SocketAddr, issuer: String, clock: Arc<dyn Clock>) -> Self {
        Self { gateway, issuer, clock, keys: Mutex::new(None) }
    }

    /// The published keys; fetched again when `fresh` is asked for.
    async fn keys(&self, host: &str, fresh: bool) -> Value {
        let mut kept = self.keys.lock().await;
        if fresh || kept.is_none() {
            *kept = fetch(self.gateway, host).await;
        }
        kept.clone().unwrap_or_else(|| json!({ "keys": [] }))
    }
}

/// The upstream as a service.
pub fn router(knows: Arc<Knows>) -> Router {
    Router::new().fallback(show).with_state(knows)
}

async fn show(State(knows): State<Arc<Knows>>, request: Request) -> Response {
    let headers = request.headers();
    let line =
        format!("{} {}", request.method(), request.uri().path_and_query().map_or("/", |path| path.as_str()));
    let seen = examine(&knows, headers).await;
    let listed: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = if seen.refused.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    if headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|text| text.contains("application/json")))
    {
        let body = json!({
            "request": line, "refused": seen.refused, "claims": seen.claims,
            "headers": listed.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        });
        return (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    let portal = knows.issuer.clone();
    let mut frame = ui::Frame::on_route("Lantern", portal.clone());
    frame.demo = true;
    // Nobody but the gateway can send these: it takes them away from whatever clients send.
    let (identity, others) =
        listed.into_iter().partition(|(name, _)| name.starts_with("cardea-") && name != "cardea-request-id");
    let page = Lantern {
        frame,
        request: line,
        person: seen.person(),
        refused: seen.refused,
        headers: identity,
        others,
        checks: seen.checks,
        // Who is not known here has nothing to sign out of.
        sign_out_href: (!seen.claims.is_null()).then(|| "/.cardea/sign-out".into()),
        jwt_header: (!seen.head.is_null()).then(|| seen.head.to_string()),
        jwt_claims: (!seen.claims.is_null()).then(|| seen.claims.to_string()),
        apps_href: Some(format!("{portal}/apps")),
    };
    (status, ui::headers::PAGE, page.render()).into_response()
}

/// Hosts that begin so are open: Lantern then asks for nothing and shows that nothing came.
const OPEN: &str = "welcome.";

/// What an examination found.
struct Seen {
    checks: Vec<Check>,
    refused: Option<String>,
    claims: Value,
    head: Value,
}

impl Seen {
    fn person(&self) -> Option<LanternPerson> {
        if self.refused.is_some() || self.claims.is_null() {
            return None;
        }
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |name: &str| {
            let items = self.claims.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        Some(LanternPerson {
            name: text("name"),
            username: text("username"),
            email: self.claims.get("email").and_then(Value::as_str).map(str::to_owned),
            tenant: self.claims.get("tenant").and_then(Value::as_str).map(str::to_owned),
            roles: list("roles"),
            groups: list("groups"),
        })
    }
}

async fn examine(knows: &Knows, headers: &HeaderMap) -> Seen {
    let mut seen = Seen { checks: Vec::new(), refused: None, claims: Value::Null, head: Value::Null };
    let host = headers
        .get(header::HOST)
        .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        .unwrap_or_default();
    let bare = target::host(host.as_bytes()).map(|(name, _)| name.into_owned()).unwrap_or_default();
    let mut tokens = headers.get_all("cardea-assertion").iter();
    if bare.starts_with(OPEN) {
        return seen;
    }
    let (Some(token), None) = (tokens.next(), tokens.next()) else {
        seen.checks.push(Check::failed("An assertion came", "There is no Cardea-Assertion header."));
        for name in ["Signature", "Issuer", "Audience", "Time", "Headers agree"] {
            seen.checks.push(Check::skipped(name));
        }
        seen.refused = Some("This request carries no assertion, so nobody vouches for it.".into());
        return seen;
    };
    seen.checks.push(Check::passed("An assertion came", "Exactly one Cardea-Assertion header."));
    let token = String::from_utf8_lossy(token.as_bytes()).into_owned();
    let mut verified = verify(&token, &knows.keys(&bare, false).await, ASSERTION_TYPE);
    if verified == Err(NotVerified::UnknownKey) {
        verified = verify(&token, &knows.keys(&bare, true).await, ASSERTION_TYPE);
    }
    match verified {
        Err(why) => {
            seen.checks.push(Check::failed("Signature", why.to_string()));
            seen.refused = Some("The assertion is not signed by the gateway.".into());
            return seen;
        }
        Ok((claims, head)) => {
            let key = head.get("kid").and_then(Value::as_str).unwrap_or_default();
            seen.checks.push(Check::passed("Signature", format!("ES256, by the published key {key}.")));
            (seen.claims, seen.head) = (claims, head);
        }
    }
    let claim = |name: &str| seen.claims.get(name).cloned().unwrap_or_default();
    let port = knows
        .issuer
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok())
        .map(|port| format!(":{port}"));
    let origin = format!("http://{bare}{}", port.unwrap_or_default());
    let now = knows.clock.now().seconds();
    let (from, until) = (claim("nbf").as_i64().unwrap_or(i64::MAX), claim("exp").as_i64().unwrap_or(0));
    let header_text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let agree = header_text("cardea-user") == claim("sub").as_str().unwrap_or("?")
        && header_text("cardea-username") == claim("username").as_str().unwrap_or("?");
    // Equal ones need be shown only once.
    let compared = |name: &str, ours: &str, expected: &str| match claim(name).as_str() {
        Some(said) if said == expected => format!("{ours} {expected}, and so says the assertion."),
        said => format!("{ours} {expected}, but the assertion says {}.", said.unwrap_or("nothing")),
    };
    let results = [
        (
            "Issuer",
            claim("iss").as_str() == Some(&knows.issuer),
            compared("iss", "The portal is", &knows.issuer),
        ),
        ("Audience", claim("aud").as_str() == Some(&origin), compared("aud", "This app is", &origin)),
        ("Time", from <= now && now < until, format!("Good for {} more seconds.", (until - now).max(0))),
        ("Headers agree", agree, "Cardea-User and Cardea-Username say what the assertion says.".into()),
    ];
    for (name, fine, detail) in results {
        if fine {
            seen.checks.push(Check::passed(name, detail));
        } else {
            seen.checks.push(Check::failed(name, detail));
            seen.refused = Some("The assertion is not for this app, or not for now.".into());
        }
    }
    seen
}

/// Fetches the published keys from the gateway, as any upstream would.
async fn fetch(gateway: SocketAddr, host: &str) -> Option<Value> {
    let stream = tokio::net::TcpStream::connect(gateway).await.ok()?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/.well-known/cardea/jwks.json")
        .header(header::HOST, host)
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let body = Limited::new(response.into_body(), 64 * 1024).collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}
