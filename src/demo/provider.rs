//! The demo's OpenID Connect provider. It asks nobody for a password: whoever comes chooses who they are. For loopback and for
//! show alone; `serve` cannot reach it.
//!
//! It stands behind the gateway as an open route, so that everything is on one port. It signs in with the authorization code
//! and PKCE, refreshes, signs out, and tells the gateway when somebody signs out at it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{RawForm, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::Full;
use serde_json::{Value, json};

use super::guests::{GUESTS, Guest};
use crate::crypto::CryptoError;
use crate::crypto::signing::SigningKey;
use crate::crypto::token::handle;
use crate::domain::{Chance, Span, Timestamp};
use crate::protocol::oidc;
use crate::sys::Clock;
use crate::ui::{self, GuestLink, ProviderChooser, ProviderHome};

/// The client that it knows.
pub(super) const CLIENT: &str = "cardea-demo";
/// The cookie of its sessions.
const COOKIE: &str = "demo-provider";
/// The most codes, and the most sessions, that it keeps.
const MOST: usize = 1000;
/// How long a code is good.
const CODE: Span = Span::minutes(1);

/// The provider.
pub(super) struct Provider {
    issuer: String,
    portal: String,
    gateway: SocketAddr,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    id_tokens: SigningKey,
    logout_tokens: SigningKey,
    state: Mutex<Known>,
}

/// What it remembers.
#[derive(Default)]
struct Known {
    codes: HashMap<String, Code>,
    /// By refresh token.
    grants: HashMap<String, Grant>,
    /// By name.
    sessions: HashMap<String, Visit>,
}

/// Somebody who has signed in here in one browser.
#[derive(Clone)]
struct Visit {
    guest: &'static Guest,
    since: Timestamp,
}

/// What tokens are made of.
#[derive(Clone)]
struct Grant {
    sid: String,
    visit: Visit,
    nonce: String,
}

struct Code {
    grant: Grant,
    challenge: String,
    redirect_uri: String,
    offline: bool,
    until: Timestamp,
}

impl Provider {
    /// At an issuer, for the gateway that listens there and has this portal.
    ///
    /// # Errors
    /// Never in practice.
    pub(super) fn new(
        (issuer, portal): (String, String),
        gateway: SocketAddr,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Result<Self, CryptoError> {
        let key = SigningKey::generate()?;
        let signing = |typ| SigningKey::from_pkcs8(key.expose(), typ);
        let (id_tokens, logout_tokens) = (signing("JWT")?, signing("logout+jwt")?);
        let state = Mutex::default();
        Ok(Self { issuer, portal, gateway, clock, chance, id_tokens, logout_tokens, state })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn callback(&self) -> String {
        format!("{}/auth/sso-callback/demo", self.portal)
    }

    /// The session of a browser.
    fn session(&self, headers: &HeaderMap) -> Option<(String, Visit)> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|text| text.split("; ")).filter_map(|pair| pair.split_once('='));
        let sid = pairs.find(|(name, _)| *name == COOKIE)?.1;
        self.known().sessions.get_key_value(sid).map(|(sid, visit)| (sid.clone(), visit.clone()))
    }

    fn frame(&self) -> ui::Frame {
        let mut frame = ui::Frame::on_route("Demo provider", self.portal.clone());
        frame.demo = true;
        frame
    }

    fn tokens(&self, grant: &Grant, refresh_token: Option<&str>) -> Result<Value, CryptoError> {
        let now = self.clock.now().seconds();
        let mut claims = grant.visit.guest.claims();
        if let Value::Object(claims) = &mut claims {
            for (name, value) in [
                ("iss", json!(self.issuer)),
                ("aud", json!(CLIENT)),
                ("iat", json!(now)),
                ("exp", json!(now + 300)),
                ("auth_time", json!(grant.visit.since.seconds())),
                ("nonce", json!(grant.nonce)),
                ("sid", json!(grant.sid)),
            ] {
                claims.insert(name.to_owned(), value);
            }
        }
        let access_token = handle(&*self.chance);
        Ok(json!({
            "access_token": access_token.expose(), "token_type": "Bearer", "expires_in": 300,
            "id_token": self.id_tokens.sign(&claims)?, "refresh_token": refresh_token,
        }))
    }

    /// Ends a session here, and tells the gateway.
    async fn end(&self, sid: &str) {
        let ended = {
            let mut known = self.known();
            known.grants.retain(|_, grant| grant.sid != sid);
            known.codes.retain(|_, code| code.grant.sid != sid);
            known.sessions.remove(sid)
        };
        let Some(visit) = ended else { return };
        let now = self.clock.now().seconds();
        let claims = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": handle(&*self.chance).expose(),
            "sub": visit.guest.subject, "sid": sid,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        match self.logout_tokens.sign(&claims) {
            Ok(token) => {
                if let Err(error) = tell(self.gateway, &self.portal, &token).await {
                    tracing::warn!(%error, "the demo provider could not tell the gateway of a logout");
                }
            }
            Err(error) => tracing::warn!(%error, "the demo provider could not sign"),
        }
    }
}

/// The provider as a service.
pub(super) fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/choose", get(choose))
        .route("/token", post(token))
        .route("/end", get(end_session))
        .route("/sign-out", post(sign_out))
        .with_state(provider)
}

type Shared = State<Arc<Provider>>;

async fn discovery(State(provider): Shared) -> Response {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "end_session_endpoint": at("/end"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"], "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
    }))
    .into_response()
}

async fn jwks(State(provider): Shared) -> Response {
    Json(json!({ "keys": [provider.id_tokens.public()] })).into_response()
}

/// Who is signed in here in this browser, and the way out.
async fn home(State(provider): Shared, headers: HeaderMap) -> Response {
    let page = ProviderHome {
        frame: provider.frame(),
        who: provider.session(&headers).map(|(_, visit)| visit.guest.name.to_owned()),
        apps_href: format!("{}/apps", provider.portal),
    };
    (ui::headers::PAGE, page.render()).into_response()
}

/// A request for a sign-in that the client was registered for.
struct Asked {
    fields: HashMap<String, String>,
}

impl Asked {
    /// `Err` says what is wrong with it: nobody is sent anywhere then.
    fn read(provider: &Provider, query: &str) -> Result<Self, &'static str> {
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err("a parameter is there twice");
            }
        }
        let asked = Self { fields };
        if asked.text("client_id") != CLIENT {
            return Err("the client is not known here");
        }
        if asked.text("redirect_uri") != provider.callback() {
            return Err("the address to come back to is not registered");
        }
        if asked.text("response_type") != "code" || asked.text("code_challenge_method") != "S256" {
            return Err("only the code flow with PKCE is offered");
        }
        if asked.text("code_challenge").len() != 43 || asked.text("state").is_empty() {
            return Err("it lacks a challenge or a state");
        }
        Ok(asked)
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn offline(&self) -> bool {
        self.text("scope").split(' ').any(|scope| scope == "offline_access")
    }
}

/// The page on which people say who they are. It is always shown: to change is what it is for.
async fn authorize(State(provider): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    if let Err(why) = Asked::read(&provider, &query) {
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let here = provider.session(&headers).map(|(_, visit)| visit.guest.subject);
    let link = |guest: &Guest| GuestLink {
        name: guest.name.to_owned(),
        about: guest.about.to_owned(),
        href: format!("/choose?guest={}&{query}", guest.subject),
        present: here == Some(guest.subject),
    };
    let page = ProviderChooser { frame: provider.frame(), guests: GUESTS.iter().map(link).collect() };
    (ui::headers::PAGE, page.render()).into_response()
}

async fn choose(State(provider): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read(&provider, &query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let Some(guest) = Guest::find(asked.text("guest")) else {
        return (StatusCode::BAD_REQUEST, "nobody here is called so").into_response();
    };
    let now = provider.clock.now();
    let (sid, visit) = match provider.session(&headers) {
        // Asked anew is signed in anew.
        Some((sid, visit)) if visit.guest.subject == guest.subject && asked.text("prompt") != "login" => {
            (sid, visit)
        }
        before => {
            if let Some((sid, _)) = before {
                provider.end(&sid).await;
            }
            (handle(&*provider.chance).expose().to_owned(), Visit { guest, since: now })
        }
    };
    let code = handle(&*provider.chance).expose().to_owned();
    {
        let mut known = provider.known();
        known.codes.retain(|_, code| now < code.until);
        if known.codes.len() >= MOST || known.sessions.len() >= MOST {
            return (StatusCode::SERVICE_UNAVAILABLE, "too many people are signed in here").into_response();
        }
        known.sessions.insert(sid.clone(), visit.clone());
        let grant = Grant { sid: sid.clone(), visit, nonce: asked.text("nonce").to_owned() };
        let (challenge, redirect_uri) =
            (asked.text("code_challenge").to_owned(), asked.text("redirect_uri").to_owned());
        let code_of = Code { grant, challenge, redirect_uri, offline: asked.offline(), until: now + CODE };
        known.codes.insert(code.clone(), code_of);
    }
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", asked.text("state"))
        .append_pair("iss", &provider.issuer)
        .finish();
    let mut response = Redirect::to(&format!("{}?{query}", provider.callback())).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&format!("{COOKIE}={sid}; Path=/; HttpOnly; SameSite=Lax")) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn token(State(provider): Shared, RawForm(form): RawForm) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(&form).into_owned().collect();
    let text = |name: &str| form.get(name).map_or("", String::as_str);
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    if text("client_id") != CLIENT {
        return refuse("invalid_client");
    }
    let now = provider.clock.now();
    let (grant, offline) = {
        let mut known = provider.known();
        match text("grant_type") {
            "authorization_code" => {
                let Some(code) = known.codes.remove(text("code")) else { return refuse("invalid_grant") };
                let proven = oidc::challenge(text("code_verifier")) == code.challenge;
                if now >= code.until || !proven || text("redirect_uri") != code.redirect_uri {
                    return refuse("invalid_grant");
                }
                (code.grant, code.offline)
            }
            // Each works once, and only while the session is there.
            "refresh_token" => {
                let grant = known.grants.remove(text("refresh_token"));
                match grant.filter(|grant| known.sessions.contains_key(&grant.sid)) {
                    Some(grant) => (grant, true),
                    None => return refuse("invalid_grant"),
                }
            }
            _ => return refuse("unsupported_grant_type"),
        }
    };
    let refresh = offline.then(|| handle(&*provider.chance).expose().to_owned());
    let Ok(mut answer) = provider.tokens(&grant, refresh.as_deref()) else { return refuse("server_error") };
    if let Some(refresh) = refresh {
        provider.known().grants.insert(refresh, grant);
    } else if let Value::Object(answer) = &mut answer {
        answer.remove("refresh_token");
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

/// The client signs somebody out, and gets the browser back (RP-Initiated Logout §2).
async fn end_session(State(provider): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let fields: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let text = |name: &str| fields.get(name).map_or("", String::as_str);
    let back = format!("{}/signed-out", provider.portal);
    if text("client_id") != CLIENT || text("post_logout_redirect_uri") != back {
        return (StatusCode::BAD_REQUEST, "the address to come back to is not registered").into_response();
    }
    if let Some((sid, _)) = provider.session(&headers) {
        provider.end(&sid).await;
    }
    let state = form_urlencoded::Serializer::new(String::new()).append_pair("state", text("state")).finish();
    Redirect::to(&format!("{back}?{state}")).into_response()
}

/// Somebody signs out at the provider itself: the gateway is told.
async fn sign_out(State(provider): Shared, headers: HeaderMap) -> Response {
    let from_here =
        headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() == provider.issuer.as_bytes());
    if !from_here {
        return (StatusCode::FORBIDDEN, "this must be sent from the provider's own page").into_response();
    }
    if let Some((sid, _)) = provider.session(&headers) {
        provider.end(&sid).await;
    }
    Redirect::to("/").into_response()
}

/// Sends a logout token to the gateway, as any provider would (Back-Channel Logout §2.5).
async fn tell(gateway: SocketAddr, portal: &str, token: &str) -> anyhow::Result<()> {
    let stream = tokio::net::TcpStream::connect(gateway).await?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    tokio::spawn(connection);
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish();
    let request = hyper::Request::post("/auth/oidc/demo/backchannel-logout")
        .header(header::HOST, portal.trim_start_matches("http://"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(bytes::Bytes::from(body)))?;
    let status = sender.send_request(request).await?.status();
    anyhow::ensure!(status == StatusCode::OK, "it is answered with status {status}");
    Ok(())
}
