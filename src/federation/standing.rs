//! Asking a provider whether it still stands by a session.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::kept::{Proof, Text, Token};
use super::{Federation, Kept, Trouble, proof};
use crate::domain::provider::{ClientProof, Provider};
use crate::domain::{Chance, Timestamp};
use crate::outbound::Answer;
use crate::protocol::oidc::{self, Expected, Metadata, Original, Refreshed, Refused};

/// What a provider says of a session.
#[derive(Debug)]
pub enum Standing {
    /// It does not say now.
    Unknown(Trouble),
    /// It is over.
    Over(Refused),
    /// It stands; to be asked about with these tokens from now on.
    Stands(Kept),
    /// It does not say now, and is to be asked with these tokens from now on.
    Later(Kept, Trouble),
}

/// A session that a provider is asked about.
pub struct Asked<'a> {
    /// Whose it is there.
    pub subject: &'a str,
    /// Which it is there, if the provider said.
    pub sid: Option<&'a str>,
    /// The tokens that are kept.
    pub kept: &'a Kept,
    /// The time.
    pub now: Timestamp,
    /// Chance, for proofs of who we are.
    pub chance: &'a dyn Chance,
}

impl Federation {
    /// Asks a provider about a session: by refreshing, or by introspection. A refresh token that is spent by it comes back as
    /// a new one, so two must never ask about a session at once.
    pub async fn standing(&self, provider: &Provider, about: &Asked<'_>) -> Standing {
        let within = tokio::time::timeout(super::DEADLINE, self.standing_inner(provider, about)).await;
        let asked = within.unwrap_or_else(|_| {
            Err(Trouble::Away(format!("the provider took more than {} seconds", super::DEADLINE.as_secs())))
        });
        asked.unwrap_or_else(Standing::Unknown)
    }

    async fn standing_inner(&self, provider: &Provider, about: &Asked<'_>) -> Result<Standing, Trouble> {
        let Some(proof) = &about.kept.proof else {
            return Err(Refused::by("follow session", "there is no token to ask with").into());
        };
        let metadata = self.metadata(provider, about.now).await?;
        match &proof.token {
            Token::Refresh(token) => self.refresh(provider, &metadata, (proof, token), about).await,
            Token::Access(token) => {
                let endpoint = metadata
                    .introspection_endpoint
                    .as_deref()
                    .ok_or_else(|| Refused::by("introspection", "the provider does not offer it any more"))?;
                let fields = [("token", token.0.expose().as_str()), ("token_type_hint", "access_token")];
                let answer = self.post(provider, &metadata, endpoint, &fields, about).await?;
                let status = answer.status.as_u16();
                let active = oidc::introspected(status, &answer.media_type, &answer.body, about.subject)?;
                Ok(if active {
                    Standing::Stands(about.kept.clone())
                } else {
                    Standing::Over(Refused::by("introspection", "the token is not active"))
                })
            }
        }
    }

    async fn refresh(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        (proof, token): (&Proof, &Text),
        about: &Asked<'_>,
    ) -> Result<Standing, Trouble> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.0.expose().as_str())];
        let answer = self.post(provider, metadata, &metadata.token_endpoint, &fields, about).await?;
        let status = answer.status.as_u16();
        let (id_token, access_token, refresh_token) =
            match oidc::refreshed(status, &answer.media_type, &answer.body)? {
                Refreshed::Over(why) => return Ok(Standing::Over(why)),
                Refreshed::Tokens { id_token, access_token, refresh_token } => {
                    (id_token, access_token, refresh_token)
                }
            };
        if let Some(id_token) = &id_token {
            let expected = Expected {
                issuer: &provider.issuer,
                client_id: &provider.client_id,
                nonce: &proof.nonce,
                algorithms: &provider.algorithms,
                access_token: access_token.expose(),
                code: None,
                max_age: None,
                acr: &[],
                now: about.now,
            };
            let original = Original { subject: about.subject, sid: about.sid, auth_time: proof.auth_time };
            let judged = self.judged(provider, about.now, |keys| {
                oidc::verify_refreshed(id_token.expose(), keys, &expected, &original)
            });
            match judged.await {
                Ok(()) => {}
                // What it says now is not about this session (`OIDC-36`).
                Err(Trouble::Refused(why)) if why.check.starts_with("id token") => {
                    return Ok(Standing::Over(why));
                }
                // The refresh token is spent; its successor must not be lost because the keys could not be had.
                Err(trouble) => {
                    return Ok(Standing::Later(about.kept.renewed(None, refresh_token), trouble));
                }
            }
        }
        Ok(Standing::Stands(about.kept.renewed(id_token, refresh_token)))
    }

    /// Sends a form to a provider, with a proof of who we are.
    async fn post(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        endpoint: &str,
        fields: &[(&str, &str)],
        about: &Asked<'_>,
    ) -> Result<Answer, Trouble> {
        let request = request(provider, metadata, endpoint, fields, about)?;
        Ok(self.outbound.send(request, &provider.tls, about.now).await?)
    }
}

fn request(
    provider: &Provider,
    metadata: &Metadata,
    endpoint: &str,
    fields: &[(&str, &str)],
    about: &Asked<'_>,
) -> Result<Request<Vec<u8>>, Trouble> {
    let bad = || Trouble::Refused(Refused::by("configuration", "no request can be made of it"));
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let mut basic = None;
    match &provider.client {
        ClientProof::Basic(secret) => {
            // RFC 6749 §2.3.1: encoded as in a form, then joined.
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&provider.client_id), encoded(secret.expose()));
            let text = format!("Basic {}", STANDARD.encode(pair));
            let mut value = HeaderValue::from_str(&text).map_err(|_| bad())?;
            value.set_sensitive(true);
            basic = Some(value);
        }
        ClientProof::Post(secret) => {
            form.append_pair("client_id", &provider.client_id).append_pair("client_secret", secret.expose());
        }
        ClientProof::Key(key) => {
            let id = URL_SAFE_NO_PAD.encode(about.chance.bytes::<32>());
            let assertion = proof::assertion(provider, key, metadata, &id, about.now)?;
            form.append_pair("client_id", &provider.client_id)
                .append_pair("client_assertion_type", proof::ASSERTION)
                .append_pair("client_assertion", &assertion);
        }
        ClientProof::Public => {
            form.append_pair("client_id", &provider.client_id);
        }
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(basic) = basic {
        request = request.header(AUTHORIZATION, basic);
    }
    request.body(form.finish().into_bytes()).map_err(|_| bad())
}
