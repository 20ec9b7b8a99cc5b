//! The answer to a code (RFC 6749 §5, `OpenID` Connect Core §3.1.3.3).

use serde_json::{Map, Value};

use super::{Refused, json, quoted};
use crate::domain::Secret;

pub(super) const CHECK: &str = "token answer";
/// The most bytes of a token that is kept.
const MOST: usize = 64 * 1024;

/// What a code was good for.
pub struct Tokens {
    /// The ID token, not looked at yet.
    pub id_token: Secret<String>,
    /// The access token, for `UserInfo`.
    pub access_token: Secret<String>,
    /// What gets new tokens, if the provider gives one.
    pub refresh_token: Option<Secret<String>>,
}

/// Reads the answer strictly (`OIDC-19`).
///
/// # Errors
/// When it is an error, or anything is missing or of another kind.
pub fn tokens(status: u16, media_type: &str, body: &[u8]) -> Result<Tokens, Refused> {
    if media_type != "application/json" {
        let detail = format!("status {status}, and it is {} instead of application/json", quoted(media_type));
        return Err(Refused::by(CHECK, detail));
    }
    let answer = json::object(body, CHECK)?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if status != 200 || answer.contains_key("error") {
        let error = text("error").map_or_else(|| "no error code".to_owned(), quoted);
        let more = text("error_description").map(|more| format!(", {}", quoted(more))).unwrap_or_default();
        let help = match text("error") {
            Some("invalid_client") => "; check client_id, client_secret and client_auth",
            _ => "",
        };
        return Err(Refused::by(CHECK, format!("status {status}, {error}{more}{help}")));
    }
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(Refused::by(CHECK, "its token_type is not Bearer"));
    }
    let access_token = text("access_token").filter(|token| !token.is_empty());
    let access_token = access_token.ok_or_else(|| Refused::by(CHECK, "it has no access_token"))?;
    let id_token = text("id_token").ok_or_else(|| {
        Refused::by(
            CHECK,
            "it has no id_token; the scope openid must be asked for, and the client be one of OpenID Connect",
        )
    })?;
    Ok(Tokens {
        id_token: Secret::new(id_token.to_owned()),
        access_token: Secret::new(access_token.to_owned()),
        refresh_token: refresh_token(&answer),
    })
}

pub(super) fn refresh_token(answer: &Map<String, Value>) -> Option<Secret<String>> {
    let text = answer.get("refresh_token").and_then(Value::as_str);
    text.filter(|text| !text.is_empty() && text.len() <= MOST).map(|text| Secret::new(text.to_owned()))
}
