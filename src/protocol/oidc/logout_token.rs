//! Every check of a logout token (`OpenID` Connect Back-Channel Logout §2.6).

use serde_json::Value;

use super::id_token::{OLDEST, SKEW, for_us_alone, moment};
use super::jws::{self, Checks};
use super::{Keys, Refused, quoted};
use crate::domain::Timestamp;
use crate::domain::provider::{Claims, Provider};

const CHECKS: Checks = Checks {
    algorithm: "logout token algorithm",
    claims: "logout token claims",
    form: "logout token form",
    header: "logout token header",
    key: "logout token key",
    signature: "logout token signature",
    size: "logout token size",
    typ: "logout token type",
};
/// The most bytes of a logout token. It says little, and strangers may send it.
const MOST: usize = 16 * 1024;
/// What it is about.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token that passed, but for whether it was used before. Only [`logout_token`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    about: About,
    jti: String,
}

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// One session at the provider; whose, if it says.
    Session {
        /// The session's name there.
        sid: String,
        /// Whose it is.
        subject: Option<String>,
    },
    /// Every session of somebody.
    Subject(String),
}

impl LogoutToken {
    /// Whose sessions end.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The token's own name, by which a second use shows.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }
}

/// Verifies a token.
///
/// # Errors
/// With the first check that it does not pass.
pub fn logout_token(
    raw: &str,
    keys: &Keys,
    provider: &Provider,
    now: Timestamp,
) -> Result<LogoutToken, Refused> {
    if raw.len() > MOST {
        return Err(Refused::by(CHECKS.size, format!("it has more than {MOST} bytes")));
    }
    let signed = jws::verified(raw, &CHECKS, &["JWT", "logout+jwt"], &provider.algorithms, keys)?;
    judge(&signed.claims, provider, now)
}

fn judge(claims: &Claims, provider: &Provider, now: Timestamp) -> Result<LogoutToken, Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(provider.issuer.as_str()) {
        let detail = format!("it is {}, not {}", quoted(text("iss").unwrap_or("")), quoted(&provider.issuer));
        return Err(Refused::by("logout token iss", detail));
    }
    if !for_us_alone(claims, &provider.client_id) {
        return Err(Refused::by("logout token aud", "it is not for us, or not for us alone"));
    }
    let moment = |name| match moment(claims, name) {
        Ok(at) => at.ok_or_else(|| missing(name)),
        Err(refused) => Err(Refused { check: CHECKS.claims, ..refused }),
    };
    let (expires, issued) = (moment("exp")?, moment("iat")?);
    if now >= expires + SKEW {
        return Err(Refused::by("logout token exp", format!("it ran out at {expires}")));
    }
    if issued > now + SKEW || now.since(issued) > OLDEST {
        return Err(Refused::by("logout token iat", format!("it is from {issued}; check both clocks")));
    }
    // What tells it from every other token of the provider's.
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(Refused::by("logout token events", "it is about no logout"));
    }
    if claims.contains_key("nonce") {
        return Err(Refused::by("logout token nonce", "it has one, as ID tokens have"));
    }
    let name = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if sound(text) => Ok(Some(text.clone())),
        Some(_) => {
            Err(Refused::by("logout token claims", format!("its {name} is no text of 1 to 255 characters")))
        }
    };
    let jti = name("jti")?.ok_or_else(|| missing("jti"))?;
    let about = match (name("sid")?, name("sub")?) {
        (Some(sid), subject) => About::Session { sid, subject },
        (None, Some(subject)) => About::Subject(subject),
        (None, None) => {
            return Err(Refused::by("logout token claims", "it says neither whom nor which session"));
        }
    };
    Ok(LogoutToken { about, jti })
}

fn missing(name: &str) -> Refused {
    Refused::by("logout token claims", format!("it has no {name}"))
}

/// Whether a text can be the name of a session or of somebody.
fn sound(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
}
