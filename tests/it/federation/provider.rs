//! An OpenID Connect provider that lies when it is told to: one switch for each thing that can be wrong.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cardea::sys::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};

use super::keys::Key;

/// An answer in place of the real one.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) media_type: &'static str,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, media_type: "application/json", location: None, body: body.into() }
    }
}

/// What is said, and what of it is wrong. Patches are merged (RFC 7396): `null` takes a member away.
pub(crate) struct Script {
    /// Who signs in there.
    pub(crate) person: Value,
    pub(crate) claims: Value,
    pub(crate) header: Value,
    pub(crate) token: Value,
    pub(crate) discovery: Value,
    /// What the answer to a refresh token has instead; with `error` it is none.
    pub(crate) refresh: Value,
    pub(crate) introspection: Value,
    pub(crate) answer: Value,
    pub(crate) userinfo: Option<Value>,
    pub(crate) keys: Vec<Arc<Key>>,
    pub(crate) jwks: Option<Value>,
    pub(crate) signer: Arc<Key>,
    /// The whole ID token, made of header and payload.
    pub(crate) forge: Option<fn(&Key, Value, Value) -> String>,
    /// Whole answers, by path.
    pub(crate) raw: HashMap<&'static str, Raw>,
    /// How long it takes to answer, by path.
    pub(crate) slow: HashMap<&'static str, Duration>,
    /// Whether the verifier is asked for.
    pub(crate) enforces_pkce: bool,
    /// Whether it says when somebody signed in only if that was asked.
    pub(crate) silent: bool,
}

/// What was asked.
#[derive(Default)]
pub(crate) struct Seen {
    codes: HashMap<String, HashMap<String, String>>,
    pub(crate) authorizations: Vec<HashMap<String, String>>,
    pub(crate) tokens: Vec<(Option<String>, HashMap<String, String>)>,
    pub(crate) paths: Vec<String>,
    pub(crate) sign_outs: Vec<HashMap<String, String>>,
}

impl Seen {
    pub(crate) fn count(&self, path: &str) -> usize {
        self.paths.iter().filter(|seen| *seen == path).count()
    }
}

/// The provider, running.
#[derive(Clone)]
pub(crate) struct Idp {
    pub(crate) port: u16,
    pub(crate) issuer: String,
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) clock: Arc<SystemClock>,
}

pub(crate) const CLIENT: &str = "cardea";
pub(crate) const SECRET: &str = "a secret: with % and ü";

impl Idp {
    pub(crate) async fn open(host: &str, clock: Arc<SystemClock>) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = Key::new("first");
        let script = Script {
            person: json!({
                "sub": "248289761001", "email": "jane@acme.example", "email_verified": true, "name": "Jane Doe",
                "preferred_username": "jane", "groups": ["fin-analysts"],
            }),
            claims: json!({}),
            header: json!({}),
            token: json!({}),
            discovery: json!({}),
            refresh: json!({}),
            introspection: json!({ "active": true }),
            answer: json!({}),
            userinfo: None,
            keys: vec![Arc::clone(&key)],
            jwks: None,
            signer: key,
            forge: None,
            raw: HashMap::new(),
            slow: HashMap::new(),
            enforces_pkce: true,
            silent: false,
        };
        let idp = Self {
            port,
            issuer: format!("http://{host}:{port}"),
            script: Arc::new(Mutex::new(script)),
            seen: Arc::default(),
            clock,
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/jwks", get(jwks))
            .route("/userinfo", get(userinfo))
            .route("/v1.0/me/getMemberGroups", post(graph))
            .route("/end", get(end_session))
            .route("/introspect", post(introspect))
            .fallback(canary)
            .with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        idp
    }

    /// Changes what is said.
    pub(crate) fn says(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// A logout token, with what is wrong of it.
    pub(crate) fn logout_token(&self, claims: &Value, header: &Value) -> String {
        let now = self.now();
        let mut said = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": uuid::Uuid::now_v7().to_string(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        merge(&mut said, claims);
        let signer = Arc::clone(&self.script.lock().unwrap().signer);
        let mut head = json!({ "alg": "ES256", "kid": signer.kid, "typ": "logout+jwt" });
        merge(&mut head, header);
        signer.sign(head.to_string().as_bytes(), said.to_string().as_bytes())
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().seconds()
    }

    async fn raw(&self, path: &'static str) -> Option<Response> {
        self.seen.lock().unwrap().paths.push(path.to_owned());
        let slow = self.script.lock().unwrap().slow.get(path).copied();
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        let raw = self.script.lock().unwrap().raw.get(path).cloned()?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, raw.media_type.parse().unwrap());
        if let Some(to) = raw.location {
            headers.insert(header::LOCATION, to.parse().unwrap());
        }
        Some((StatusCode::from_u16(raw.status).unwrap(), headers, raw.body).into_response())
    }
}

pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let map = into.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn said(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}

async fn discovery(State(idp): State<Idp>) -> Response {
    if let Some(raw) = idp.raw("/discovery").await {
        return raw;
    }
    let at = |path: &str| format!("{}{path}", idp.issuer);
    let mut document = json!({
        "issuer": idp.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
        "end_session_endpoint": at("/end"), "backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"], "subject_types_supported": ["public"],
    });
    merge(&mut document, &idp.script.lock().unwrap().discovery);
    said(&document)
}

async fn authorize(State(idp): State<Idp>, Query(asked): Query<HashMap<String, String>>) -> Response {
    if let Some(raw) = idp.raw("/authorize").await {
        return raw;
    }
    let code = format!("code-{}", idp.seen.lock().unwrap().authorizations.len());
    let mut answer = json!({ "code": code, "state": asked["state"] });
    merge(&mut answer, &idp.script.lock().unwrap().answer);
    let mut seen = idp.seen.lock().unwrap();
    seen.codes.insert(code, asked.clone());
    seen.authorizations.push(asked.clone());
    let pairs: Vec<(String, String)> = answer
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
        .collect();
    let to = &asked["redirect_uri"];
    if asked.get("response_mode").is_some_and(|mode| mode == "form_post") {
        let mut inputs = String::new();
        for (name, value) in &pairs {
            write!(inputs, "<input type=hidden name=\"{name}\" value=\"{value}\">").unwrap();
        }
        return Html(format!("<h1>Back</h1><form method=post action=\"{to}\">{inputs}</form>"))
            .into_response();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Redirect::to(&format!("{to}?{query}")).into_response()
}

async fn token(State(idp): State<Idp>, headers: HeaderMap, body: String) -> Response {
    if let Some(raw) = idp.raw("/token").await {
        return raw;
    }
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let basic = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    idp.seen.lock().unwrap().tokens.push((basic.clone(), form.clone()));
    let refuse = |error: &str| {
        (
            StatusCode::BAD_REQUEST,
            [(header::CONTENT_TYPE, "application/json")],
            json!({ "error": error }).to_string(),
        )
            .into_response()
    };
    if form["grant_type"] == "refresh_token" {
        return refreshed(&idp, &form["refresh_token"]);
    }
    // A code works once.
    let Some(asked) = idp.seen.lock().unwrap().codes.remove(&form["code"]) else {
        return refuse("invalid_grant");
    };
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let right = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(SECRET))));
    let known = match &basic {
        Some(basic) => *basic == right,
        None => {
            form.get("client_id").is_some_and(|id| id == CLIENT)
                && form.get("client_secret").is_none_or(|secret| secret == SECRET)
        }
    };
    if !known {
        return refuse("invalid_client");
    }
    let script = idp.script.lock().unwrap();
    let challenge = form.get("code_verifier").map(|verifier| {
        URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
    });
    if script.enforces_pkce && challenge.as_ref() != asked.get("code_challenge") {
        return refuse("invalid_grant");
    }
    let now = idp.clock.now().seconds();
    let mut claims = json!({
        "iss": idp.issuer, "aud": CLIENT, "nonce": asked["nonce"], "iat": now, "exp": now + 300, "auth_time": now,
    });
    if script.silent && !asked.contains_key("max_age") {
        merge(&mut claims, &json!({ "auth_time": null }));
    }
    merge(&mut claims, &script.person);
    merge(&mut claims, &script.claims);
    let mut head = json!({ "alg": script.signer.alg, "kid": script.signer.kid, "typ": "JWT" });
    merge(&mut head, &script.header);
    let id_token = match script.forge {
        Some(forge) => forge(&script.signer, head, claims),
        None => script.signer.sign(head.to_string().as_bytes(), claims.to_string().as_bytes()),
    };
    let mut answer = json!({ "access_token": "opaque-token", "token_type": "Bearer", "expires_in": 60, "id_token": id_token });
    merge(&mut answer, &script.token);
    said(&answer)
}

/// What a refresh token is good for: `r-0` for `r-1`, and so on. Who signed in when is not said again.
fn refreshed(idp: &Idp, token: &str) -> Response {
    let script = idp.script.lock().unwrap();
    if script.refresh.get("error").is_some() {
        let refused = script.refresh.to_string();
        return (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], refused)
            .into_response();
    }
    let now = idp.clock.now().seconds();
    let mut claims = json!({ "iss": idp.issuer, "aud": CLIENT, "iat": now, "exp": now + 300 });
    merge(&mut claims, &script.person);
    merge(&mut claims, &script.claims);
    let head = json!({ "alg": script.signer.alg, "kid": script.signer.kid, "typ": "JWT" });
    let id_token = script.signer.sign(head.to_string().as_bytes(), claims.to_string().as_bytes());
    let next = token.trim_start_matches("r-").parse::<u32>().unwrap() + 1;
    let mut answer = json!({
        "access_token": "opaque-token", "token_type": "Bearer", "id_token": id_token, "refresh_token": format!("r-{next}"),
    });
    merge(&mut answer, &script.refresh);
    said(&answer)
}

async fn introspect(State(idp): State<Idp>) -> Response {
    match idp.raw("/introspect").await {
        Some(raw) => raw,
        None => said(&idp.script.lock().unwrap().introspection),
    }
}

async fn jwks(State(idp): State<Idp>) -> Response {
    if let Some(raw) = idp.raw("/jwks").await {
        return raw;
    }
    let script = idp.script.lock().unwrap();
    let keys: Vec<Value> = script.keys.iter().map(|key| key.public()).collect();
    said(&script.jwks.clone().unwrap_or_else(|| json!({ "keys": keys })))
}

async fn userinfo(State(idp): State<Idp>, headers: HeaderMap) -> Response {
    if let Some(raw) = idp.raw("/userinfo").await {
        return raw;
    }
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer opaque-token") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let script = idp.script.lock().unwrap();
    said(script.userinfo.as_ref().unwrap_or(&script.person))
}

/// What Microsoft Graph answers.
async fn graph(State(idp): State<Idp>, headers: HeaderMap, body: String) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer opaque-token");
    let asked: Value = serde_json::from_str(&body).unwrap();
    match idp.raw("/graph").await {
        Some(raw) if bearer && asked["securityEnabledOnly"] == false => raw,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Signs out and sends the browser back, as the specification has it.
async fn end_session(State(idp): State<Idp>, Query(asked): Query<HashMap<String, String>>) -> Response {
    if let Some(raw) = idp.raw("/end").await {
        return raw;
    }
    let mut answer = json!({ "state": asked["state"] });
    merge(&mut answer, &idp.script.lock().unwrap().answer);
    let to = format!(
        "{}?{}",
        asked["post_logout_redirect_uri"],
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(
                answer.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
            )
            .finish()
    );
    idp.seen.lock().unwrap().sign_outs.push(asked);
    Redirect::to(&to).into_response()
}

async fn canary(State(idp): State<Idp>, uri: http::Uri) -> StatusCode {
    idp.seen.lock().unwrap().paths.push(uri.path().to_owned());
    StatusCode::NOT_FOUND
}
