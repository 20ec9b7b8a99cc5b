//! A look at a provider for whoever sets it up: what can be seen without a person, step by step, each with its remedy.

use http::Request;
use http::header::ACCEPT;
use serde_json::{Map, Value};

use super::{Federation, Trouble, judged};
use crate::crypto::certificate::Shown;
use crate::domain::provider::{ClientProof, Provider};
use crate::domain::{Span, Timestamp};
use crate::outbound::Answer;
use crate::protocol::oidc::{self, Keys, Metadata};

/// How far the clocks may be apart: what tokens are given.
const SKEW: Span = Span::seconds(60);
/// How long before its end a certificate is worth a word.
const SOON: Span = Span::hours(21 * 24);

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// It works, and something should be seen to.
    Noticed,
    /// Nobody could sign in.
    Failed,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Noticed => "look",
            Verdict::Failed => "failed",
        }
    }
}

/// What was found at one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// At which.
    pub step: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; nothing where all is well.
    pub remedy: String,
}

impl Finding {
    fn new(step: &'static str, verdict: Verdict, found: impl Into<String>, remedy: &str) -> Self {
        Self { step, verdict, found: found.into(), remedy: remedy.to_owned() }
    }

    fn passed(step: &'static str, found: impl Into<String>) -> Self {
        Self::new(step, Verdict::Passed, found, "")
    }
}

impl Federation {
    /// Asks a provider anew, whatever is known of it, and judges what it says. Ends at the first thing without which the rest
    /// cannot be looked at.
    pub async fn inspect(&self, provider: &Provider, now: Timestamp) -> Vec<Finding> {
        let mut all = Vec::new();
        let address = Metadata::address(&provider.issuer);
        let answer = match self.asked(provider, &address, now).await {
            Ok(answer) => answer,
            Err(trouble) => {
                all.push(failed("connection", &trouble));
                return all;
            }
        };
        all.push(Finding::passed("connection", format!("{address} answers")));
        all.push(certificate(&answer, now));
        all.push(clock(&answer, now));
        let document = judged(&answer, "discovery");
        let metadata = document.and_then(|()| Ok(Metadata::parse(&answer.body, &provider.issuer)?));
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(trouble) => {
                all.push(failed("discovery", &trouble));
                return all;
            }
        };
        all.push(Finding::passed("discovery", format!("it is {}", metadata.issuer)));
        let document = oidc::json::object(&answer.body, "discovery").unwrap_or_default();
        all.push(self.keys_of(provider, &metadata, now).await);
        all.extend(offered(provider, &document));
        all
    }

    async fn asked(&self, provider: &Provider, address: &str, now: Timestamp) -> Result<Answer, Trouble> {
        let request = Request::builder().uri(address).header(ACCEPT, "application/json").body(Vec::new());
        let request = request.map_err(|_| oidc::Refused::by("discovery", "its address is none"))?;
        Ok(self.outbound.send(request, &provider.tls, now).await?)
    }

    async fn keys_of(&self, provider: &Provider, metadata: &Metadata, now: Timestamp) -> Finding {
        let read = async {
            let answer = self.asked(provider, &metadata.jwks_uri, now).await?;
            judged(&answer, "keys")?;
            Ok::<_, Trouble>(Keys::parse(&answer.body)?)
        };
        let keys = match read.await {
            Ok(keys) => keys,
            Err(trouble) => return failed("keys", &trouble),
        };
        let found = format!("{} can verify signatures: {}", keys.len(), keys.words());
        if provider.algorithms.iter().any(|algorithm| keys.any_for(*algorithm)) {
            return Finding::passed("keys", found);
        }
        let taken: Vec<&str> = provider.algorithms.iter().map(|it| it.as_str()).collect();
        let found = format!("{found}; none is for {}", taken.join(", "));
        let remedy = "write into `algorithms` what the provider signs with, if it is listed in the manual; or change that there";
        Finding::new("keys", Verdict::Failed, found, remedy)
    }
}

/// A step that did not work out.
fn failed(step: &'static str, trouble: &Trouble) -> Finding {
    let remedy = match (trouble.check(), trouble) {
        ("discovery", _) => {
            "compare `issuer` with the member \"issuer\" of the provider's document; both are the same, letter by letter"
        }
        ("keys", _) => "see the provider's jwks_uri: it gives its public keys as JSON",
        (_, Trouble::Away(_)) => {
            "see whether the provider runs, `issuer` is right, and no firewall stands between"
        }
        // What is said about these says what to do.
        _ => "",
    };
    Finding::new(step, Verdict::Failed, trouble.detail(), remedy)
}

fn certificate(answer: &Answer, now: Timestamp) -> Finding {
    const STEP: &str = "certificate";
    let Some(der) = &answer.certificate else {
        let remedy = "use it for tests only: whoever is on the way could sign in as anybody";
        return Finding::new(STEP, Verdict::Noticed, "there is none: it is asked without TLS", remedy);
    };
    let Some(Shown { names, not_after }) = Shown::read(der) else {
        return Finding::new(STEP, Verdict::Noticed, "it was taken, and its end cannot be read", "");
    };
    let found = format!("for {}, until {}", names.join(" "), not_after.words());
    if now.until(not_after) < SOON {
        return Finding::new(STEP, Verdict::Noticed, found, "have the provider renew it soon");
    }
    Finding::passed(STEP, found)
}

/// Its clock against ours, as far as the field `Date` can tell: to a second, less the time that the answer took.
fn clock(answer: &Answer, now: Timestamp) -> Finding {
    const STEP: &str = "clock";
    let Some(theirs) = answer.date else {
        return Finding::passed(STEP, "the provider does not say what time it is");
    };
    let (apart, how) =
        if theirs > now { (theirs.since(now), "ahead of") } else { (now.since(theirs), "behind") };
    if apart <= Span::seconds(5) {
        return Finding::passed(STEP, "the same as ours, within five seconds");
    }
    let found = format!("the provider's is {} {how} ours", apart.words());
    if apart <= SKEW {
        return Finding::new(
            STEP,
            Verdict::Noticed,
            found,
            "tokens are given a minute; have both keep time by NTP",
        );
    }
    let remedy = "tokens would be refused as too old or not yet valid: have both keep time by NTP";
    Finding::new(STEP, Verdict::Failed, found, remedy)
}

/// What we want, against the lists of what the provider offers. What it does not list may work all the same.
fn offered(provider: &Provider, document: &Map<String, Value>) -> Vec<Finding> {
    let list = |name: &str| {
        let list = document.get(name).and_then(Value::as_array)?;
        Some(list.iter().filter_map(Value::as_str).collect::<Vec<&str>>())
    };
    let words = |list: &[&str]| oidc::quoted(&list.join(" "));
    let mut all = Vec::new();
    if let Some(signs) = list("id_token_signing_alg_values_supported") {
        let taken: Vec<&str> = provider.algorithms.iter().map(|it| it.as_str()).collect();
        all.push(if signs.iter().any(|one| taken.contains(one)) {
            Finding::passed("algorithms", format!("the provider can sign with {}", words(&signs)))
        } else {
            let found = format!("the provider signs with {}; taken are {}", words(&signs), taken.join(" "));
            let remedy = "write one that it has into `algorithms`; none, HS256 and ES512 are never taken";
            Finding::new("algorithms", Verdict::Failed, found, remedy)
        });
    }
    let wanted = match provider.client {
        ClientProof::Basic(_) => "client_secret_basic",
        ClientProof::Key(_) => "private_key_jwt",
        ClientProof::Post(_) => "client_secret_post",
        ClientProof::Public => "none",
    };
    if let Some(methods) = list("token_endpoint_auth_methods_supported") {
        all.push(if methods.contains(&wanted) {
            Finding::passed("client", format!("{wanted} is offered"))
        } else {
            let found = format!("{wanted} is not among {}", words(&methods));
            Finding::new("client", Verdict::Noticed, found, "write one of those into `client_auth`")
        });
    }
    if let Some(scopes) = list("scopes_supported") {
        let lacking: Vec<&str> =
            provider.scopes.iter().map(String::as_str).filter(|it| !scopes.contains(it)).collect();
        if !lacking.is_empty() {
            let found = format!("{} is not among {}", lacking.join(" "), words(&scopes));
            all.push(Finding::new(
                "scopes",
                Verdict::Noticed,
                found,
                "see `scopes`, or allow them to the client there",
            ));
        }
    }
    all
}
