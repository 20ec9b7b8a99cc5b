//! `OpenID` Connect as a relying party: what a provider says about itself, the request, and every check of the answer.
//!
//! Nothing here reads the network. The library verifies signatures; which key and algorithm may, and everything that a token
//! says, is judged here, on one strict reading of it.

mod authorization;
mod end_session;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod id_token;
pub mod json;
mod jws;
mod keys;
mod logout_token;
mod metadata;
mod refresh;
mod token;
mod userinfo;

pub use authorization::{Authorization, challenge};
pub use end_session::EndSession;
pub use id_token::{Expected, Verified, verify};
pub use keys::Keys;
pub use logout_token::{About, LogoutToken, logout_token};
pub use metadata::Metadata;
pub use refresh::{Original, Refreshed, introspected, refreshed, verify_refreshed};
pub use token::{Tokens, tokens};
pub use userinfo::{joined, left_out, plain, signed};

/// The check that an answer of a provider did not pass. What it says is for administrators; the person reads none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {detail}")]
pub struct Refused {
    /// Which check, as audit records name it.
    pub check: &'static str,
    /// What was found, in words. Never a token or a secret.
    pub detail: String,
    /// Whether other keys could make a difference.
    pub keys_may_be_old: bool,
}

impl Refused {
    /// By a check.
    #[must_use]
    pub fn by(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, detail: detail.into(), keys_may_be_old: false }
    }
}

/// A text of a provider's, short enough for a message and without control characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let plain: String = text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("\"{plain}\"")
}
