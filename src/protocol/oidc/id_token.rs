//! Every check of an ID token (`OpenID` Connect Core §3.1.3.7, RFC 8725).

use serde_json::Value;

use super::jws::{self, Checks, Signed};
use super::{Keys, Refused, quoted};
use crate::domain::provider::{Algorithm, Claims};
use crate::domain::{Span, Timestamp};

pub(super) const CHECKS: Checks = Checks {
    algorithm: "id token algorithm",
    claims: "id token claims",
    form: "id token form",
    header: "id token header",
    key: "id token key",
    signature: "id token signature",
    size: "id token size",
    typ: "id token type",
};
/// How far clocks may differ.
pub(super) const SKEW: Span = Span::seconds(60);
/// How old a token may be that comes straight from the provider.
pub(super) const OLDEST: Span = Span::minutes(10);

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
    /// The code that it was given for, if it was given for one.
    pub code: Option<&'a str>,
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
    let signed = jws::verified(raw, &CHECKS, &["JWT"], expected.algorithms, keys)?;
    judge(&signed.claims, expected)?;
    if signed.claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
        return Err(Refused::by("id token nonce", "it belongs to another sign-in"));
    }
    hashed(&signed, "at_hash", "id token at_hash", Some(expected.access_token))?;
    hashed(&signed, "c_hash", "id token c_hash", expected.code)?;
    let claims = signed.claims;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
    let auth_time = moment(&claims, "auth_time")?;
    Ok(Verified { subject, claims, auth_time })
}

/// The hash of what came along, where there is one (`OIDC-15`).
pub(super) fn hashed(
    signed: &Signed<'_>,
    claim: &str,
    check: &'static str,
    of: Option<&str>,
) -> Result<(), Refused> {
    let Some(said) = signed.claims.get(claim) else { return Ok(()) };
    let right = of.and_then(|text| signed.half_hash(text));
    if right.is_some() && said.as_str() == right.as_deref() {
        return Ok(());
    }
    Err(Refused::by(check, "it is of something else than what came with the token"))
}

/// Every claim.
pub(super) fn judge(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        let detail = format!("it is {}, not {}", quoted(text("iss").unwrap_or("")), quoted(expected.issuer));
        return Err(Refused::by("id token iss", detail));
    }
    if !for_us_alone(claims, expected.client_id) {
        return Err(Refused::by("id token aud", "it is not for us, or not for us alone"));
    }
    if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(expected.client_id)) {
        return Err(Refused::by("id token azp", "it was issued to another client"));
    }
    let sound = |sub: &str| !sub.is_empty() && sub.len() <= 255 && !sub.chars().any(char::is_control);
    if !text("sub").is_some_and(sound) {
        let detail = "it is missing, no text, not of 1 to 255 characters, or has control characters";
        return Err(Refused::by("id token sub", detail));
    }
    if claims.get("email_verified").is_some_and(|flag| !flag.is_boolean()) {
        return Err(Refused::by("id token claims", "its email_verified is neither true nor false"));
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

/// Whether a token is for one client and nobody else: whoever else it is for could show it here, too (`OIDC-06`).
pub(super) fn for_us_alone(claims: &Claims, client_id: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(list)) => {
            !list.is_empty() && list.iter().all(|one| one.as_str() == Some(client_id))
        }
        _ => false,
    }
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
pub(super) fn moment(claims: &Claims, name: &'static str) -> Result<Option<Timestamp>, Refused> {
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let bad = || Refused::by("id token times", format!("its {name} is no time"));
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds)).ok_or_else(bad)?;
    #[expect(clippy::cast_possible_truncation, reason = "the range was looked at")]
    let millis = (seconds * 1000.0) as i64;
    Ok(Some(Timestamp::from_millis(millis)))
}
