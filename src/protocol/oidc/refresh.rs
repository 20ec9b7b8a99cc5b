//! What a provider answers when it is asked whether it still stands by a session: to a refresh token (RFC 6749 §6, `OpenID`
//! Connect Core §12.2), or by introspection (RFC 7662 §2.2).

use serde_json::Value;

use super::id_token::{Expected, judge, moment};
use super::jws;
use super::token::{CHECK as TOKEN_ANSWER, Tokens, refresh_token, tokens};
use super::{Keys, Refused, id_token, json, quoted};
use crate::domain::{Secret, Timestamp};

const INTROSPECTION: &str = "introspection";

/// What came back for a refresh token.
pub enum Refreshed {
    /// It is worth nothing any more.
    Over(Refused),
    /// New tokens.
    Tokens {
        /// A new ID token, if there is one; not looked at yet.
        id_token: Option<Secret<String>>,
        /// The new access token.
        access_token: Secret<String>,
        /// What takes the place of the refresh token, if something does.
        refresh_token: Option<Secret<String>>,
    },
}

/// Reads the answer to a refresh token. Only `invalid_grant` says that the session is over: everything else may be our own
/// fault, or pass.
///
/// # Errors
/// When it is another error, or anything is missing or of another kind.
pub fn refreshed(status: u16, media_type: &str, body: &[u8]) -> Result<Refreshed, Refused> {
    if media_type != "application/json" {
        let detail = format!("status {status}, and it is {} instead of application/json", quoted(media_type));
        return Err(Refused::by(TOKEN_ANSWER, detail));
    }
    let answer = json::object(body, TOKEN_ANSWER)?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if matches!(status, 400 | 401) && text("error") == Some("invalid_grant") {
        let more = text("error_description").map(|more| format!(": {}", quoted(more))).unwrap_or_default();
        return Ok(Refreshed::Over(Refused::by(
            "refresh",
            format!("the refresh token is not taken any more{more}"),
        )));
    }
    if status == 200 && !answer.contains_key("error") && !answer.contains_key("id_token") {
        let bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access_token = text("access_token").filter(|token| bearer && !token.is_empty());
        let access_token = access_token
            .ok_or_else(|| Refused::by(TOKEN_ANSWER, "it has no access_token of the type Bearer"))?;
        return Ok(Refreshed::Tokens {
            id_token: None,
            access_token: Secret::new(access_token.to_owned()),
            refresh_token: refresh_token(&answer),
        });
    }
    let Tokens { id_token, access_token, refresh_token } = tokens(status, media_type, body)?;
    Ok(Refreshed::Tokens { id_token: Some(id_token), access_token, refresh_token })
}

/// The sign-in that a refreshed ID token must still be about.
pub struct Original<'a> {
    /// Who.
    pub subject: &'a str,
    /// In which session of the provider's, if it said.
    pub sid: Option<&'a str>,
    /// When they signed in there, if it said.
    pub auth_time: Option<Timestamp>,
}

/// Verifies the ID token that came with new tokens: the same issuer, the same client, the same person, the same sign-in
/// (`OIDC-36`). `expected.nonce` is the one of the sign-in, which may be missing now.
///
/// # Errors
/// With the first check that it does not pass.
pub fn verify_refreshed(
    raw: &str,
    keys: &Keys,
    expected: &Expected<'_>,
    original: &Original<'_>,
) -> Result<(), Refused> {
    let signed = jws::verified(raw, &id_token::CHECKS, &["JWT"], expected.algorithms, keys)?;
    judge(&signed.claims, expected)?;
    id_token::hashed(&signed, "at_hash", "id token at_hash", Some(expected.access_token))?;
    let claims = &signed.claims;
    let same = |name: &str, before: Option<&str>| match (claims.get(name), before) {
        (Some(now), Some(before)) => now.as_str() == Some(before),
        _ => true,
    };
    if !same("nonce", Some(expected.nonce)) {
        return Err(Refused::by("id token nonce", "it belongs to another sign-in"));
    }
    if claims.get("sub").and_then(Value::as_str) != Some(original.subject) {
        return Err(Refused::by("id token sub", "it is about somebody else than the one who signed in"));
    }
    if !same("sid", original.sid) {
        return Err(Refused::by("id token sid", "it is of another session of the provider's"));
    }
    match (moment(claims, "auth_time")?, original.auth_time) {
        (Some(now), Some(before)) if now != before => {
            Err(Refused::by("id token auth_time", format!("it is {now}, and was {before}")))
        }
        _ => Ok(()),
    }
}

/// Whether a token is still good, as introspection says.
///
/// # Errors
/// When the answer is none.
pub fn introspected(status: u16, media_type: &str, body: &[u8], subject: &str) -> Result<bool, Refused> {
    if status != 200 || media_type != "application/json" {
        let detail = format!("it answers with status {status} and {}", quoted(media_type));
        return Err(Refused::by(INTROSPECTION, detail));
    }
    let answer = json::object(body, INTROSPECTION)?;
    let about_them = answer.get("sub").is_none_or(|sub| sub.as_str() == Some(subject));
    match answer.get("active") {
        Some(Value::Bool(active)) => Ok(*active && about_them),
        _ => Err(Refused::by(INTROSPECTION, "it does not say whether the token is active")),
    }
}
