//! Every check of an ID token (`OpenID` Connect Core §3.1.3.7, RFC 8725).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, Nonce,
    SignatureVerificationError,
};
use serde_json::{Map, Value};

use super::{Keys, Refused, json, quoted};
use crate::domain::provider::{Algorithm, Claims};
use crate::domain::{Span, Timestamp};

/// The most bytes of a token.
const MOST: usize = 256 * 1024;
/// How far clocks may differ.
const SKEW: Span = Span::seconds(60);
/// How old a token may be that comes straight from the provider.
const OLDEST: Span = Span::minutes(10);

/// What a token must say.
pub struct Expected<'a> {
    /// Who issued it, exactly.
    pub issuer: &'a str,
    /// For whom.
    pub client_id: &'a str,
    /// For which request.
    pub nonce: &'a str,
    /// The algorithms that are taken.
    pub algorithms: &'a [Algorithm],
    /// The token that came with it.
    pub access_token: &'a str,
    /// How long ago the person may have signed in.
    pub max_age: Option<Span>,
    /// Contexts one of which must have been met, if any are demanded.
    pub acr: &'a [String],
    /// The time.
    pub now: Timestamp,
}

/// A token that passed. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    subject: String,
    claims: Claims,
    auth_time: Option<Timestamp>,
}

impl Verified {
    /// Who it is, for this issuer. Never reused by it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Everything it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// When the person signed in there, if it says so.
    #[must_use]
    pub const fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }
}

/// Verifies a token.
///
/// # Errors
/// With the first check that it does not pass.
pub fn verify(raw: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Verified, Refused> {
    if raw.len() > MOST {
        return Err(Refused::by("id token size", format!("it has more than {MOST} bytes")));
    }
    let parts: Vec<&str> = raw.split('.').collect();
    let (header, payload) = match parts.as_slice() {
        [header, payload, _] => (decoded(header)?, decoded(payload)?),
        [_, _, _, _, _] => {
            return Err(Refused::by(
                "id token form",
                "it is encrypted, which is not supported; have the provider only sign it",
            ));
        }
        _ => return Err(Refused::by("id token form", "it is no signed token")),
    };
    let header = json::object(&header, "id token header")?;
    let algorithm = algorithm(&header, expected)?;
    let kid = kid(&header)?;
    let claims = json::object(&payload, "id token claims")?;
    // Signed first: nothing that a stranger wrote is worth a word about.
    signed(raw, kid, algorithm, keys, expected)?;
    judge(&claims, expected)?;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
    let auth_time = moment(&claims, "auth_time")?;
    Ok(Verified { subject, claims, auth_time })
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::by("id token form", "a part of it is not base64url"))
}

fn algorithm(header: &Map<String, Value>, expected: &Expected<'_>) -> Result<Algorithm, Refused> {
    let named = header.get("alg").and_then(Value::as_str);
    let found = expected.algorithms.iter().find(|one| Some(one.as_str()) == named);
    let algorithm = *found.ok_or_else(|| {
        let taken: Vec<&str> = expected.algorithms.iter().map(|one| one.as_str()).collect();
        let detail =
            format!("it is signed with {}; taken are {}", quoted(named.unwrap_or("")), taken.join(", "));
        Refused::by("id token algorithm", detail)
    })?;
    if header.contains_key("crit") {
        return Err(Refused::by("id token header", "it has critical extensions, and none is known"));
    }
    // An access token or a logout token is signed with the same key (RFC 8725 §3.11).
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("jwt") => {}
        Some(kind) => {
            let detail = format!("its typ is {}", quoted(kind.as_str().unwrap_or("no text")));
            return Err(Refused::by("id token type", detail));
        }
    }
    if header.contains_key("cty") || header.contains_key("enc") || header.contains_key("b64") {
        return Err(Refused::by("id token header", "it says that something else is inside"));
    }
    Ok(algorithm)
}

fn kid(header: &Map<String, Value>) -> Result<Option<&str>, Refused> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if kid.len() <= 512 => Ok(Some(kid)),
        Some(_) => Err(Refused::by("id token header", "its kid is no text, or too long")),
    }
}

/// The signature, by one of the provider's own keys, and all that the library checks.
fn signed(
    raw: &str,
    kid: Option<&str>,
    algorithm: Algorithm,
    keys: &Keys,
    expected: &Expected<'_>,
) -> Result<(), Refused> {
    let unreadable = || Refused::by("id token claims", "a claim is of the wrong kind");
    let token = CoreIdToken::from_str(raw).map_err(|_| unreadable())?;
    let issuer = IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| unreadable())?;
    let nonce = Nonce::new(expected.nonce.to_owned());
    let refused = Err(Refused {
        check: "id token key",
        detail: format!(
            "no key of the provider's fits {} with kid {}",
            algorithm.as_str(),
            kid.map_or_else(|| "(none)".to_owned(), quoted)
        ),
        keys_may_be_old: true,
    });
    let mut outcome = refused;
    for set in keys.for_token(kid, algorithm) {
        let verifier = verifier(set, &issuer, algorithm, expected);
        match token.claims(&verifier, &nonce) {
            Ok(claims) => return at_hash(&token, &verifier, claims.access_token_hash(), expected),
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::CryptoError(_) | SignatureVerificationError::NoMatchingKey,
            )) => {
                outcome = Err(Refused {
                    check: "id token signature",
                    detail: "it is not signed with the provider's key".to_owned(),
                    keys_may_be_old: true,
                });
            }
            Err(error) => return Err(Refused::by(named(&error), quoted(&error.to_string()))),
        }
    }
    outcome
}

fn verifier<'v>(
    set: &CoreJsonWebKeySet,
    issuer: &IssuerUrl,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> CoreIdTokenVerifier<'v> {
    let client = ClientId::new(expected.client_id.to_owned());
    let late = (expected.now.millis() - SKEW.as_millis()).max(0);
    let now = chrono::DateTime::from_timestamp_millis(late).unwrap_or_default();
    // A client without a secret: nothing can be verified with a shared one (`OIDC-12`).
    CoreIdTokenVerifier::new_public_client(client, issuer.clone(), set.clone())
        .set_allowed_algs([library(algorithm)])
        .set_time_fn(move || now)
}

const fn library(algorithm: Algorithm) -> CoreJwsSigningAlgorithm {
    match algorithm {
        Algorithm::EdDsa => CoreJwsSigningAlgorithm::EdDsa,
        Algorithm::Es256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::Es384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        Algorithm::Ps256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        Algorithm::Ps384 => CoreJwsSigningAlgorithm::RsaSsaPssSha384,
        Algorithm::Ps512 => CoreJwsSigningAlgorithm::RsaSsaPssSha512,
        Algorithm::Rs256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
        Algorithm::Rs384 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
        Algorithm::Rs512 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    }
}

fn named(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "id token exp",
        ClaimsVerificationError::InvalidAudience(_) => "id token aud",
        ClaimsVerificationError::InvalidIssuer(_) => "id token iss",
        ClaimsVerificationError::InvalidNonce(_) => "id token nonce",
        ClaimsVerificationError::SignatureVerification(_) => "id token signature",
        _ => "id token claims",
    }
}

/// The hash of the access token, where there is one (`OIDC-15`).
fn at_hash(
    token: &CoreIdToken,
    verifier: &CoreIdTokenVerifier<'_>,
    said: Option<&AccessTokenHash>,
    expected: &Expected<'_>,
) -> Result<(), Refused> {
    let Some(said) = said else { return Ok(()) };
    let unknown = || Refused::by("id token at_hash", "it cannot be computed for this key");
    let algorithm = token.signing_alg().map_err(|_| unknown())?;
    let key = token.signing_key(verifier).map_err(|_| unknown())?;
    let access_token = AccessToken::new(expected.access_token.to_owned());
    let right = AccessTokenHash::from_token(&access_token, algorithm, key).map_err(|_| unknown())?;
    if right == *said {
        return Ok(());
    }
    Err(Refused::by("id token at_hash", "it is of another access token"))
}

/// Every claim, on the text itself: the library compares some of them after it has read them, and does not look at others.
fn judge(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        let detail = format!("it is {}, not {}", quoted(text("iss").unwrap_or("")), quoted(expected.issuer));
        return Err(Refused::by("id token iss", detail));
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => one == expected.client_id,
        // Whoever else it is for could show it here, too (`OIDC-06`).
        Some(Value::Array(list)) => {
            !list.is_empty() && list.iter().all(|one| one.as_str() == Some(expected.client_id))
        }
        _ => false,
    };
    if !audience {
        return Err(Refused::by("id token aud", "it is not for us, or not for us alone"));
    }
    if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(expected.client_id)) {
        return Err(Refused::by("id token azp", "it was issued to another client"));
    }
    if !text("sub").is_some_and(|sub| !sub.is_empty() && sub.len() <= 255) {
        return Err(Refused::by("id token sub", "it is missing, no text, or not of 1 to 255 characters"));
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(Refused::by("id token nonce", "it belongs to another sign-in"));
    }
    times(claims, expected)?;
    if !expected.acr.is_empty() && !expected.acr.iter().any(|acr| text("acr") == Some(acr)) {
        let detail = format!(
            "{} was met, {} was asked for",
            quoted(text("acr").unwrap_or("")),
            expected.acr.join(" or ")
        );
        return Err(Refused::by("id token acr", detail));
    }
    Ok(())
}

fn times(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    let now = expected.now;
    let missing = |name: &str| Refused::by("id token times", format!("it has no {name}"));
    let expires = moment(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    let issued = moment(claims, "iat")?.ok_or_else(|| missing("iat"))?;
    if now >= expires + SKEW {
        return Err(Refused::by("id token exp", format!("it ran out at {expires}")));
    }
    if issued > now + SKEW {
        return Err(Refused::by(
            "id token iat",
            format!("it is from the future, {issued}; check both clocks"),
        ));
    }
    if now.since(issued) > OLDEST {
        return Err(Refused::by(
            "id token iat",
            format!("it is from {issued}, which is too long ago; check both clocks"),
        ));
    }
    if moment(claims, "nbf")?.is_some_and(|begins| begins > now + SKEW) {
        return Err(Refused::by("id token nbf", "it is not valid yet; check both clocks"));
    }
    if let Some(most) = expected.max_age {
        let at = moment(claims, "auth_time")?.ok_or_else(|| {
            Refused::by(
                "id token auth_time",
                "the provider does not say when the person signed in, as it was asked to",
            )
        })?;
        if now > at + most + SKEW || at > now + SKEW {
            return Err(Refused::by(
                "id token auth_time",
                format!("the person signed in at {at}, too long ago"),
            ));
        }
    }
    Ok(())
}

/// A time claim: a whole number of seconds, or one with a fraction, in a range that clocks have (`OIDC-08`).
fn moment(claims: &Claims, name: &'static str) -> Result<Option<Timestamp>, Refused> {
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let bad = || Refused::by("id token times", format!("its {name} is no time"));
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds)).ok_or_else(bad)?;
    #[expect(clippy::cast_possible_truncation, reason = "the range was looked at")]
    let millis = (seconds * 1000.0) as i64;
    Ok(Some(Timestamp::from_millis(millis)))
}
