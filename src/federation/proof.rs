//! The request that redeems a code, and how it proves who we are.

use std::sync::{Mutex, PoisonError};

use openidconnect::core::{CoreClient, CoreJsonWebKeySet};
use openidconnect::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse, IssuerUrl,
    PkceCodeVerifier, RedirectUrl, TokenUrl,
};
use serde_json::{Value, json};

use super::{Redemption, Trouble};
use crate::crypto::client_key::ClientKey;
use crate::domain::provider::{Audience, ClientProof, KeyProof, Provider};
use crate::domain::{Span, Timestamp};
use crate::protocol::oidc::{self, Metadata, Refused};

/// How long a proof of ours is good for.
const LIFE: Span = Span::seconds(60);
/// RFC 7523 §2.2.
pub(super) const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The request that redeems a code. The library writes it; it is sent by our own client, and the answer is read by our own,
/// stricter reader (`OIDC-19`).
pub(super) fn token_request(
    provider: &Provider,
    metadata: &Metadata,
    with: &Redemption<'_>,
) -> Result<HttpRequest, Trouble> {
    let bad = |_| Trouble::Refused(Refused::by("configuration", "an address of this provider is none"));
    let client = CoreClient::new(
        ClientId::new(provider.client_id.clone()),
        IssuerUrl::new(provider.issuer.clone()).map_err(bad)?,
        CoreJsonWebKeySet::new(Vec::new()),
    )
    .set_token_uri(TokenUrl::new(metadata.token_endpoint.clone()).map_err(bad)?)
    .set_redirect_uri(RedirectUrl::new(with.redirect_uri.to_owned()).map_err(bad)?);
    let (secret, how) = match &provider.client {
        ClientProof::Basic(secret) => (Some(secret), AuthType::BasicAuth),
        ClientProof::Post(secret) => (Some(secret), AuthType::RequestBody),
        ClientProof::Key(_) | ClientProof::Public => (None, AuthType::RequestBody),
    };
    let client = match secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().clone())),
        None => client,
    }
    .set_auth_type(how);
    let written: Mutex<Option<HttpRequest>> = Mutex::new(None);
    let take = |request: HttpRequest| {
        *written.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        Err::<HttpResponse, Taken>(Taken)
    };
    let mut request = client
        .exchange_code(AuthorizationCode::new(with.code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(with.verifier.to_owned()));
    if let ClientProof::Key(proof) = &provider.client {
        // One code is redeemed once, so its challenge names this proof and no other.
        let id = oidc::challenge(with.verifier);
        request = request
            .add_extra_param("client_assertion_type", ASSERTION)
            .add_extra_param("client_assertion", assertion(provider, proof, metadata, &id, with.now)?);
    }
    // Always an error here: the request is what matters.
    let _ = request.request(&take);
    let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
    written.ok_or_else(|| Trouble::Refused(Refused::by("configuration", "no request can be made of it")))
}

/// Says that a request was taken and not sent.
#[derive(Debug, thiserror::Error)]
#[error("the request was taken")]
struct Taken;

/// A proof that is good once and for a minute (RFC 7523 §3). `id` is never used twice.
///
/// # Errors
/// Never in practice: the key was judged when it was read.
pub(super) fn assertion(
    provider: &Provider,
    proof: &KeyProof,
    metadata: &Metadata,
    id: &str,
    now: Timestamp,
) -> Result<String, Trouble> {
    let audience = match proof.audience {
        Audience::Issuer => &provider.issuer,
        Audience::TokenEndpoint => &metadata.token_endpoint,
    };
    let claims = json!({
        "iss": provider.client_id, "sub": provider.client_id, "aud": audience, "jti": id,
        "iat": now.seconds(), "exp": (now + LIFE).seconds(),
    });
    key(proof).and_then(|key| key.sign(&claims).ok()).ok_or_else(|| {
        Trouble::Refused(Refused::by("configuration", "nothing can be signed with client_key"))
    })
}

/// Our keys as a provider finds them: what may sign a proof to it.
pub(super) fn published(provider: &Provider) -> Option<Value> {
    let ClientProof::Key(proof) = &provider.client else { return None };
    Some(json!({ "keys": [key(proof)?.public()] }))
}

fn key(proof: &KeyProof) -> Option<ClientKey> {
    ClientKey::parse(proof.pem.expose().as_bytes(), proof.algorithm).ok()
}
