//! As much of an OpenID provider as Apache needs to let somebody in: discovery, an authorization endpoint that asks
//! nothing, a token endpoint that signs with ES256, and its key.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse as _, Json, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use cardea::sys::{Clock as _, SystemClock};
use http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const CLIENT: &str = "bench";

struct Provider {
    issuer: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// The code given out last, with the nonce it was asked with.
    given: Mutex<Option<(String, String)>>,
}

#[derive(Deserialize)]
struct Asked {
    redirect_uri: String,
    state: String,
    #[serde(default)]
    nonce: String,
}

#[derive(Deserialize)]
struct Redeemed {
    code: String,
}

/// Serves on a listener until the runtime ends.
pub(crate) fn start(listener: tokio::net::TcpListener) -> anyhow::Result<()> {
    let issuer = format!("http://{}", listener.local_addr()?);
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_| anyhow::anyhow!("no key could be made"))?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("the new key cannot be read: {error}"))?;
    let provider = Arc::new(Provider { issuer, key, random, given: Mutex::new(None) });
    let router = axum::Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/jwks", get(jwks))
        .with_state(provider);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

/// The address of what a provider says of itself.
pub(crate) fn metadata(address: SocketAddr) -> String {
    format!("http://{address}/.well-known/openid-configuration")
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn authorize(State(provider): State<Arc<Provider>>, Query(asked): Query<Asked>) -> Response {
    let code = BASE64.encode(super::chance::<16>());
    let Ok(mut to) = url::Url::parse(&asked.redirect_uri) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    to.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked.state);
    if let Ok(mut given) = provider.given.lock() {
        *given = Some((code, asked.nonce));
    }
    Redirect::to(to.as_str()).into_response()
}

async fn token(State(provider): State<Arc<Provider>>, Form(redeemed): Form<Redeemed>) -> Response {
    let given = provider.given.lock().ok().and_then(|mut given| given.take());
    let Some((_, nonce)) = given.filter(|(code, _)| *code == redeemed.code) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let now = SystemClock::default().now().seconds();
    let claims = json!({
        "iss": provider.issuer, "sub": "u1000", "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 3600,
        "name": "Grace Hopper", "email": "u1000@acme.example", "preferred_username": "u1000", "groups": ["staff"],
    });
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "ES256", "kid": "bench", "typ": "JWT"})), part(&claims));
    let Ok(signature) = provider.key.sign(&provider.random, text.as_bytes()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let id_token = format!("{text}.{}", BASE64.encode(signature.as_ref()));
    Json(json!({"access_token": "bench", "token_type": "Bearer", "expires_in": 3600, "id_token": id_token}))
        .into_response()
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    // An uncompressed point: a four, then both coordinates.
    let point = provider.key.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    Json(json!({"keys": [{
        "kty": "EC", "crv": "P-256", "kid": "bench", "use": "sig", "alg": "ES256",
        "x": BASE64.encode(x), "y": BASE64.encode(y),
    }]}))
}
