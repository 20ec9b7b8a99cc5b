//! Identity providers at run time: what they say about themselves and their keys, kept and renewed; and a code turned into a
//! verified identity.
//!
//! Nothing is asked of a provider before somebody signs in with it, so one that is down keeps nobody from anything else.
//! Whatever a provider answers is bounded by `outbound` and judged by `protocol::oidc`.

mod complete;
mod inspect;
mod kept;
mod known;
mod logout;
mod proof;
mod saml;
mod standing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::provider::{Claims, Provider};
use crate::domain::saml::Source;
use crate::domain::{Slug, Span, Timestamp};
use crate::outbound::{self, Allowed, Answer, Outbound};
use crate::protocol::oidc::{self, Expected, Keys, Metadata, Refused, Tokens};

pub use inspect::{Finding, Verdict};
pub use kept::Kept;
use known::Known;
pub use standing::{Asked, Standing};

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

/// Somebody whom a provider vouches for. Only [`Federation::redeem`] and the story of SAML make one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Who, for the provider.
    pub subject: String,
    /// What it says about them: the ID token, and where that lacks something `UserInfo`.
    pub claims: Claims,
    /// When they signed in there, if it says so.
    pub auth_time: Option<Timestamp>,
    /// When the provider was asked.
    pub at: Timestamp,
    /// Tokens that something needs later.
    pub kept: Kept,
    /// When the session there ends, if it says so: ours ends with it.
    #[serde(default)]
    pub ends: Option<Timestamp>,
}

impl Identity {
    /// Which session it is at the provider, if it says.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        let text = self.claims.get("sid").and_then(Value::as_str);
        text.filter(|sid| !sid.is_empty() && sid.len() <= 255)
    }
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
    outbound: Arc<Outbound>,
    providers: ArcSwap<Vec<Arc<Provider>>>,
    known: Mutex<HashMap<(Slug, String), Arc<Known>>>,
}

impl Federation {
    /// With the providers of the configuration.
    #[must_use]
    pub fn new(outbound: Outbound, providers: Vec<Provider>) -> Self {
        let providers = ArcSwap::from_pointee(shared(providers));
        Self { outbound: Arc::new(outbound), providers, known: Mutex::default() }
    }

    /// Takes another configuration. What was known of providers whose issuer stays is kept.
    pub fn reconfigure(&self, providers: Vec<Provider>, allow: Vec<Allowed>) {
        self.outbound.allow(allow);
        let providers = shared(providers);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|place, _| providers.iter().any(|it| self::place(it) == *place));
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
        Arc::clone(known.entry(place(provider)).or_default())
    }

    /// What a provider says about itself.
    ///
    /// # Errors
    /// When it does not answer, or says what cannot be.
    pub async fn metadata(&self, provider: &Provider, now: Timestamp) -> Result<Arc<Metadata>, Trouble> {
        self.known(provider).metadata(&self.outbound, provider, now).await
    }

    /// A provider's keys.
    ///
    /// # Errors
    /// When it does not answer, or none of them can verify anything.
    pub async fn keys(&self, provider: &Provider, now: Timestamp) -> Result<Arc<Keys>, Trouble> {
        let metadata = self.metadata(provider, now).await?;
        self.known(provider).keys(&self.outbound, provider, &metadata, now).await
    }

    /// Our public keys for a provider to which we prove with one who we are.
    #[must_use]
    pub fn client_keys(&self, name: &str) -> Option<Value> {
        proof::published(&*self.named(name)?)
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
            code: Some(with.code),
            max_age: with.max_age,
            acr: &provider.acr_values,
            now: with.now,
        };
        let known = self.known(provider);
        let keys = known.keys(&self.outbound, provider, &metadata, with.now).await?;
        let raw = tokens.id_token.expose();
        let verified = match oidc::verify(raw, &keys, &expected) {
            // New keys, perhaps under old names (`OIDC-14`): looked at once.
            Err(refused) if refused.keys_may_be_old => {
                match known.renewed(&self.outbound, provider, &metadata, &keys, with.now).await? {
                    Some(keys) => oidc::verify(raw, &keys, &expected)?,
                    None => return Err(refused.into()),
                }
            }
            other => other?,
        };
        let claims = self.complete(provider, &metadata, &verified, &tokens, &expected).await?;
        let kept = Kept::of(provider, &metadata, &tokens, with.nonce, &verified)?;
        let (subject, auth_time) = (verified.subject().to_owned(), verified.auth_time());
        Ok(Identity { subject, claims, auth_time, at: with.now, kept, ends: None })
    }

    /// Redeems the code, once. Never follows anything, never says the secret in an address.
    async fn exchange(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        with: &Redemption<'_>,
    ) -> Result<Tokens, Trouble> {
        let request = proof::token_request(provider, metadata, with)?;
        let answer = self.outbound.send(request, &provider.tls, with.now).await?;
        match oidc::tokens(answer.status.as_u16(), &answer.media_type, &answer.body) {
            // It is broken, and nobody has done anything wrong.
            Err(refused) if answer.status.is_server_error() => {
                Err(Trouble::Away(format!("the token endpoint: {}", refused.detail)))
            }
            tokens => Ok(tokens?),
        }
    }
}

/// What is known of a provider is known of it under this name, as this issuer, from this address.
fn place(provider: &Provider) -> (Slug, String) {
    let issuer = match provider.saml.as_ref().map(|saml| &saml.source) {
        Some(Source::Address(address)) => format!("{} {address}", provider.issuer),
        _ => provider.issuer.clone(),
    };
    (provider.name.clone(), issuer)
}

fn shared(providers: Vec<Provider>) -> Vec<Arc<Provider>> {
    providers.into_iter().map(Arc::new).collect()
}

/// A document that a provider publishes.
async fn document(
    outbound: &Outbound,
    provider: &Provider,
    address: &str,
    what: &'static str,
    now: Timestamp,
) -> Result<Answer, Trouble> {
    let request = Request::builder().uri(address).header(ACCEPT, "application/json").body(Vec::new());
    let request = request.map_err(|_| Refused::by(what, "its address is none"))?;
    let answer = outbound.send(request, &provider.tls, now).await?;
    judged(&answer, what)?;
    Ok(answer)
}

/// Whether an answer is a document at all.
fn judged(answer: &Answer, what: &'static str) -> Result<(), Trouble> {
    if answer.status.is_server_error() || answer.status == http::StatusCode::TOO_MANY_REQUESTS {
        return Err(Trouble::Away(format!("{what} is answered with status {}", answer.status.as_u16())));
    }
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
    Ok(())
}
