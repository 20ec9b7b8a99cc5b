//! Signed tokens of a provider (RFC 7515): read in one way, verified with its own keys and by pinned algorithms alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use serde_json::{Map, Value};

use super::{Keys, Refused, json, quoted};
use crate::domain::provider::{Algorithm, Claims};

/// The most bytes of a token.
const MOST: usize = 256 * 1024;

/// What a kind of token is called in audit records when a part of it does not pass.
pub(super) struct Checks {
    pub(super) algorithm: &'static str,
    pub(super) claims: &'static str,
    pub(super) form: &'static str,
    pub(super) header: &'static str,
    pub(super) key: &'static str,
    pub(super) signature: &'static str,
    pub(super) size: &'static str,
    pub(super) typ: &'static str,
}

/// A token that the provider has signed. Only [`verified`] makes one. What it says is not judged yet.
pub(super) struct Signed<'k> {
    pub(super) claims: Claims,
    algorithm: Algorithm,
    key: &'k CoreJsonWebKey,
}

impl Signed<'_> {
    /// The left half of the hash of a text, by the hash of the signature (`OpenID` Connect Core §3.1.3.6, `at_hash`).
    pub(super) fn half_hash(&self, text: &str) -> Option<String> {
        let hash = self.key.hash_bytes(text.as_bytes(), &library(self.algorithm)).ok()?;
        Some(URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2)?))
    }
}

/// Reads a token and verifies its signature. A `typ` must be one of `types`; none is taken as well.
///
/// # Errors
/// With the first thing that is not right.
pub(super) fn verified<'k>(
    raw: &str,
    checks: &Checks,
    types: &[&str],
    algorithms: &[Algorithm],
    keys: &'k Keys,
) -> Result<Signed<'k>, Refused> {
    if raw.len() > MOST {
        return Err(Refused::by(checks.size, format!("it has more than {MOST} bytes")));
    }
    let decoded = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part);
        bytes.map_err(|_| Refused::by(checks.form, "a part of it is not base64url"))
    };
    let parts: Vec<&str> = raw.splitn(6, '.').collect();
    let (header, payload, signature) = match parts.as_slice() {
        [header, payload, signature] => (decoded(header)?, decoded(payload)?, decoded(signature)?),
        [_, _, _, _, _] => {
            return Err(Refused::by(
                checks.form,
                "it is encrypted, which is not supported; have the provider only sign it",
            ));
        }
        _ => return Err(Refused::by(checks.form, "it is no signed token")),
    };
    let header = json::object(&header, checks.header)?;
    let algorithm = algorithm(&header, checks, types, algorithms)?;
    let kid = kid(&header, checks)?;
    let claims = json::object(&payload, checks.claims)?;
    let text = raw.rsplit_once('.').map_or("", |(text, _)| text);
    // Signed first: nothing that a stranger wrote is worth a word about.
    let key = signer(keys, kid, algorithm, text.as_bytes(), &signature, checks)?;
    Ok(Signed { claims, algorithm, key })
}

fn algorithm(
    header: &Map<String, Value>,
    checks: &Checks,
    types: &[&str],
    algorithms: &[Algorithm],
) -> Result<Algorithm, Refused> {
    let named = header.get("alg").and_then(Value::as_str);
    let found = algorithms.iter().find(|one| Some(one.as_str()) == named);
    let algorithm = *found.ok_or_else(|| {
        let taken: Vec<&str> = algorithms.iter().map(|one| one.as_str()).collect();
        let detail =
            format!("it is signed with {}; taken are {}", quoted(named.unwrap_or("")), taken.join(", "));
        Refused::by(checks.algorithm, detail)
    })?;
    if header.contains_key("crit") {
        return Err(Refused::by(checks.header, "it has critical extensions, and none is known"));
    }
    // Access tokens, logout tokens and others are signed with the same key (RFC 8725 §3.11).
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if types.iter().any(|it| kind.eq_ignore_ascii_case(it)) => {}
        Some(kind) => {
            let detail = format!("its typ is {}", quoted(kind.as_str().unwrap_or("no text")));
            return Err(Refused::by(checks.typ, detail));
        }
    }
    if header.contains_key("cty") || header.contains_key("enc") || header.contains_key("b64") {
        return Err(Refused::by(checks.header, "it says that something else is inside"));
    }
    Ok(algorithm)
}

fn kid<'h>(header: &'h Map<String, Value>, checks: &Checks) -> Result<Option<&'h str>, Refused> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if kid.len() <= 512 => Ok(Some(kid)),
        Some(_) => Err(Refused::by(checks.header, "its kid is no text, or too long")),
    }
}

/// The key of the provider's that made the signature. Each that may have is tried: one that cannot be used at all says nothing
/// about the next. A set has a bounded number of them.
fn signer<'k>(
    keys: &'k Keys,
    kid: Option<&str>,
    algorithm: Algorithm,
    text: &[u8],
    signature: &[u8],
    checks: &Checks,
) -> Result<&'k CoreJsonWebKey, Refused> {
    let mut tried = false;
    for key in keys.for_token(kid, algorithm) {
        tried = true;
        if key.verify_signature(&library(algorithm), text, signature).is_ok() {
            return Ok(key);
        }
    }
    let (check, detail) = if tried {
        (checks.signature, "it is not signed with the provider's key".to_owned())
    } else {
        let kid = kid.map_or_else(|| "(none)".to_owned(), quoted);
        (checks.key, format!("no key of the provider's fits {} with kid {kid}", algorithm.as_str()))
    };
    Err(Refused { check, detail, keys_may_be_old: true })
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
