//! Identity providers at run time: what they say about themselves and their keys, kept and renewed; and a code turned into a
//! verified identity.
//!
//! Nothing is asked of a provider before somebody signs in with it, so one that is down keeps nobody from anything else.
//! Whatever a provider answers is bounded by `outbound` and judged by `protocol::oidc`.

mod known;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use openidconnect::core::{CoreClient, CoreJsonWebKeySet};
use openidconnect::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, HttpRequest, HttpResponse, IssuerUrl,
    PkceCodeVerifier, RedirectUrl, TokenUrl,
};

use crate::domain::provider::{Claims, ClientProof, Provider};
use crate::domain::{Secret, Slug, Span, Timestamp};
use crate::outbound::{self, Allowed, Answer, Outbound};
use crate::protocol::oidc::{self, Expected, Keys, Metadata, Refused, Tokens};

use known::Known;

/// How long a code may take to become an identity: every request to the provider together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no identity.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// The provider does not answer, or cannot be reached.
    #[error("{0}")]
    Away(String),
    /// It answers, and a check does not pass.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Trouble {
    /// The check that failed, as audit records name it.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        match self {
            Trouble::Away(_) => "provider away",
            Trouble::Refused(refused) => refused.check,
        }
    }

    /// What was found, in words for administrators.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Trouble::Away(detail) => detail,
            Trouble::Refused(refused) => &refused.detail,
        }
    }
}

impl From<outbound::Failed> for Trouble {
    fn from(failed: outbound::Failed) -> Self {
        use outbound::Failed;
        match &failed {
            Failed::Connect { .. } | Failed::Http { .. } | Failed::Resolve { .. } | Failed::Slow(_) => {
                Trouble::Away(failed.to_string())
            }
            // It answers, and leads where nothing of ours goes: what was known of it before does not stand in for that.
            Failed::Address(_)
            | Failed::Forbidden { .. }
            | Failed::Plain(_)
            | Failed::Redirect { .. }
            | Failed::Tls { .. }
            | Failed::TooLarge(_) => Trouble::Refused(Refused::by("outbound", failed.to_string())),
        }
    }
}

/// Somebody whom a provider vouches for. Only [`Federation::redeem`] makes one.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who, for the provider.
    pub subject: String,
    /// What it says about them: the ID token, and where that lacks something `UserInfo`.
    pub claims: Claims,
    /// When they signed in there, if it says so.
    pub auth_time: Option<Timestamp>,
}

/// What ties a code to a sign-in.
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// The secret behind the challenge.
    pub verifier: &'a str,
    /// What the ID token must carry.
    pub nonce: &'a str,
    /// The address that the code came to.
    pub redirect_uri: &'a str,
    /// How long ago the person may have signed in there.
    pub max_age: Option<Span>,
    /// The time.
    pub now: Timestamp,
}

/// Every provider of the configuration, and what is known of each.
pub struct Federation {
    outbound: Outbound,
    providers: ArcSwap<Vec<Arc<Provider>>>,
    known: Mutex<HashMap<(Slug, String), Arc<Known>>>,
}

impl Federation {
    /// With the providers of the configuration.
    #[must_use]
    pub fn new(outbound: Outbound, providers: Vec<Provider>) -> Self {
        let providers = ArcSwap::from_pointee(shared(providers));
        Self { outbound, providers, known: Mutex::default() }
    }

    /// Takes another configuration. What was known of providers whose issuer stays is kept.
    pub fn reconfigure(&self, providers: Vec<Provider>, allow: Vec<Allowed>) {
        self.outbound.allow(allow);
        let providers = shared(providers);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(name, issuer), _| providers.iter().any(|it| it.name == *name && it.issuer == *issuer));
        drop(known);
        self.providers.store(Arc::new(providers));
    }

    /// Every provider, in the order of the configuration.
    #[must_use]
    pub fn providers(&self) -> Arc<Vec<Arc<Provider>>> {
        self.providers.load_full()
    }

    /// A provider by name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Provider>> {
        self.providers.load().iter().find(|provider| provider.name.as_str() == name).map(Arc::clone)
    }

    /// The provider whose people have addresses in a domain.
    #[must_use]
    pub fn of_domain(&self, domain: &str) -> Option<Arc<Provider>> {
        let owns = |provider: &&Arc<Provider>| provider.domains.iter().any(|it| it.as_str() == domain);
        self.providers.load().iter().find(owns).map(Arc::clone)
    }

    fn known(&self, provider: &Provider) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry((provider.name.clone(), provider.issuer.clone())).or_default())
    }

    /// What a provider says about itself.
    ///
    /// # Errors
    /// When it does not answer, or says what cannot be.
    pub async fn metadata(&self, provider: &Provider, now: Timestamp) -> Result<Arc<Metadata>, Trouble> {
        self.known(provider).metadata(&self.outbound, &provider.issuer, now).await
    }

    /// A provider's keys.
    ///
    /// # Errors
    /// When it does not answer, or none of them can verify anything.
    pub async fn keys(&self, provider: &Provider, now: Timestamp) -> Result<Arc<Keys>, Trouble> {
        let metadata = self.metadata(provider, now).await?;
        self.known(provider).keys(&self.outbound, &metadata, now).await
    }

    /// Turns a code into an identity: the token endpoint, the ID token, and `UserInfo` where the token lacks something.
    ///
    /// # Errors
    /// With the first thing that is not right.
    pub async fn redeem(&self, provider: &Provider, with: &Redemption<'_>) -> Result<Identity, Trouble> {
        let within = tokio::time::timeout(DEADLINE, self.redeem_inner(provider, with)).await;
        within.unwrap_or_else(|_| {
            Err(Trouble::Away(format!("the provider took more than {} seconds in all", DEADLINE.as_secs())))
        })
    }

    async fn redeem_inner(&self, provider: &Provider, with: &Redemption<'_>) -> Result<Identity, Trouble> {
        let metadata = self.metadata(provider, with.now).await?;
        let tokens = self.exchange(provider, &metadata, with).await?;
        let expected = Expected {
            issuer: &provider.issuer,
            client_id: &provider.client_id,
            nonce: with.nonce,
            algorithms: &provider.algorithms,
            access_token: tokens.access_token.expose(),
            max_age: with.max_age,
            acr: &provider.acr_values,
            now: with.now,
        };
        let known = self.known(provider);
        let keys = known.keys(&self.outbound, &metadata, with.now).await?;
        let raw = tokens.id_token.expose();
        let verified = match oidc::verify(raw, &keys, &expected) {
            // New keys, perhaps under old names (`OIDC-14`): looked at once.
            Err(refused) if refused.keys_may_be_old => {
                match known.renewed(&self.outbound, &metadata, &keys, with.now).await? {
                    Some(keys) => oidc::verify(raw, &keys, &expected)?,
                    None => return Err(refused.into()),
                }
            }
            other => other?,
        };
        let claims = self.complete(provider, &metadata, verified.claims(), &tokens, with.now).await?;
        Ok(Identity { subject: verified.subject().to_owned(), claims, auth_time: verified.auth_time() })
    }

    /// Redeems the code, once. Never follows anything, never says the secret in an address.
    async fn exchange(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        with: &Redemption<'_>,
    ) -> Result<Tokens, Trouble> {
        let request = token_request(provider, metadata, with)?;
        let answer = self.outbound.send(request, with.now).await?;
        Ok(oidc::tokens(answer.status.as_u16(), &answer.media_type, &answer.body)?)
    }

    /// Asks `UserInfo` where the ID token lacks a claim that somebody looks at.
    async fn complete(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        claims: &Claims,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Result<Claims, Trouble> {
        let lacks = provider.wanted().any(|path| path.find(claims).is_none());
        let claims = match &metadata.userinfo_endpoint {
            Some(endpoint) if lacks => {
                let answer = self.userinfo(endpoint, &tokens.access_token, now).await?;
                oidc::joined(claims.clone(), answer.status.as_u16(), &answer.media_type, &answer.body)?
            }
            _ => claims.clone(),
        };
        oidc::left_out(provider, &claims)?;
        Ok(claims)
    }

    async fn userinfo(
        &self,
        endpoint: &str,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<Answer, Trouble> {
        let bad =
            || Trouble::Refused(Refused::by("userinfo", "the access token or the address cannot be sent"));
        // In a header, never in an address (RFC 6750 §2.1).
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| bad())?;
        bearer.set_sensitive(true);
        let request = Request::builder().method(Method::GET).uri(endpoint).header(AUTHORIZATION, bearer);
        let request = request.header(ACCEPT, "application/json").body(Vec::new()).map_err(|_| bad())?;
        Ok(self.outbound.send(request, now).await?)
    }
}

/// The request that redeems a code. The library writes it; it is sent by our own client, and the answer is read by our own,
/// stricter reader (`OIDC-19`).
fn token_request(
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
        ClientProof::Public => (None, AuthType::RequestBody),
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
    // Always an error here: the request is what matters.
    let _ = client
        .exchange_code(AuthorizationCode::new(with.code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(with.verifier.to_owned()))
        .request(&take);
    let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
    written.ok_or_else(|| Trouble::Refused(Refused::by("configuration", "no request can be made of it")))
}

/// Says that a request was taken and not sent.
#[derive(Debug, thiserror::Error)]
#[error("the request was taken")]
struct Taken;

fn shared(providers: Vec<Provider>) -> Vec<Arc<Provider>> {
    providers.into_iter().map(Arc::new).collect()
}

/// A document that a provider publishes.
async fn document(
    outbound: &Outbound,
    address: &str,
    what: &'static str,
    now: Timestamp,
) -> Result<Answer, Trouble> {
    let request = Request::builder().uri(address).header(ACCEPT, "application/json").body(Vec::new());
    let request = request.map_err(|_| Refused::by(what, "its address is none"))?;
    let answer = outbound.send(request, now).await?;
    if answer.status != http::StatusCode::OK {
        return Err(
            Refused::by(what, format!("it is answered with status {}", answer.status.as_u16())).into()
        );
    }
    let json = answer.media_type == "application/json"
        || answer.media_type.starts_with("application/") && answer.media_type.ends_with("+json");
    if !json {
        let found = oidc::quoted(&answer.media_type);
        return Err(
            Refused::by(what, format!("its {CONTENT_TYPE} is {found} instead of application/json")).into()
        );
    }
    Ok(answer)
}
