//! How well somebody has proven who they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Span, Timestamp};

/// The first proof of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FirstFactor {
    /// A password checked by us.
    Password,
    /// An identity provider, by name: `oidc:entra`, `saml:partners`.
    Provider(Box<str>),
}

impl FirstFactor {
    /// The name of the provider that has vouched, if one has.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        match self {
            FirstFactor::Password => None,
            FirstFactor::Provider(name) => name.split_once(':').map(|(_, name)| name),
        }
    }
}

impl fmt::Display for FirstFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FirstFactor::Password => f.write_str("pwd"),
            FirstFactor::Provider(name) => f.write_str(name),
        }
    }
}

impl TryFrom<String> for FirstFactor {
    type Error = super::text::BadText;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "pwd" => Ok(FirstFactor::Password),
            other if other.starts_with("oidc:") || other.starts_with("saml:") => {
                Ok(FirstFactor::Provider(other.into()))
            }
            _ => Err(super::text::BadText("a first factor is pwd, oidc:NAME or saml:NAME")),
        }
    }
}

impl From<FirstFactor> for String {
    fn from(factor: FirstFactor) -> String {
        factor.to_string()
    }
}

/// The second proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// What the identity provider asked for, where its word for that is trusted.
    #[serde(rename = "mfa")]
    Provider,
    /// A recovery code.
    Recovery,
    /// An authenticator app (RFC 6238).
    Totp,
}

impl SecondFactor {
    /// The word in tables and in `Cardea-Auth`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SecondFactor::Provider => "mfa",
            SecondFactor::Recovery => "recovery",
            SecondFactor::Totp => "totp",
        }
    }

    /// # Errors
    /// When the word is none of them.
    pub fn parse(text: &str) -> Result<Self, super::text::BadText> {
        match text {
            "mfa" => Ok(SecondFactor::Provider),
            "recovery" => Ok(SecondFactor::Recovery),
            "totp" => Ok(SecondFactor::Totp),
            _ => Err(super::text::BadText("a second factor is totp, recovery or mfa")),
        }
    }
}

/// What was proven, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The first factor.
    pub first: FirstFactor,
    /// When it was given.
    pub first_at: Timestamp,
    /// The second factor and when it was given.
    pub second: Option<(SecondFactor, Timestamp)>,
}

impl Level {
    /// Whether a second factor was given, at most `fresh` ago if that is asked.
    #[must_use]
    pub fn has_second(&self, fresh: Option<Span>, now: Timestamp) -> bool {
        match (self.second, fresh) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((_, at)), Some(fresh)) => now.since(at) < fresh,
        }
    }

    /// Whether the first factor was given less than `fresh` ago.
    #[must_use]
    pub fn first_within(&self, fresh: Span, now: Timestamp) -> bool {
        now.since(self.first_at) < fresh
    }

    /// `pwd`, `pwd+totp`, `oidc:entra`.
    #[must_use]
    pub fn words(&self) -> String {
        match self.second {
            None => self.first.to_string(),
            Some((second, _)) => format!("{}+{}", self.first, second.as_str()),
        }
    }

    /// Authentication method references (RFC 8176).
    #[must_use]
    pub fn amr(&self) -> Vec<&'static str> {
        let mut amr = vec![match self.first {
            FirstFactor::Password => "pwd",
            FirstFactor::Provider(_) => "fed",
        }];
        match self.second {
            None => {}
            Some((SecondFactor::Provider, _)) => amr.push("mfa"),
            Some((SecondFactor::Recovery | SecondFactor::Totp, _)) => amr.extend(["otp", "mfa"]),
        }
        amr
    }

    /// When the person last proved something.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        self.second.map_or(self.first_at, |(_, at)| at.max(self.first_at))
    }
}
