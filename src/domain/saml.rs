//! SAML providers as the configuration and their metadata describe them.

use super::{Span, Timestamp};

/// A certificate whose key verifies a provider's signatures. Pinned: who has issued it plays no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As it is.
    pub der: Vec<u8>,
    /// When its time is over. A provider's old certificate goes on counting, since it was pinned; it is warned about.
    pub not_after: Timestamp,
    /// What kind of key: `RSA 2048`, `P-256`.
    pub key: String,
}

/// What is known of a provider: from its metadata, or from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Who it is, exactly as it writes it.
    pub entity_id: String,
    /// Where browsers are sent with a request in the address.
    pub sso_redirect: Option<String>,
    /// Where browsers post a request.
    pub sso_post: Option<String>,
    /// What verifies its signatures; never empty.
    pub certificates: Vec<Certificate>,
    /// Whether it wants requests to be signed.
    pub wants_signed_requests: bool,
    /// Until when this counts, if it says so.
    pub valid_until: Option<Timestamp>,
}

/// Where what is known of a provider comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From this address, fetched when it is needed.
    Address(String),
    /// It stands in the configuration, or in a file that the configuration names.
    Given(Description),
}

/// What a response must bring besides a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The assertion itself must be signed.
    pub signed_assertion: bool,
    /// The whole response must be signed.
    pub signed_response: bool,
    /// The assertion must be encrypted.
    pub encrypted_assertion: bool,
}

/// Which attribute is which; the first that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The address.
    pub email: String,
    /// How the person is called.
    pub name: String,
    /// What the username is made of.
    pub username: String,
    /// Who somebody is, in place of the `NameID`.
    pub subject: Option<String>,
}

/// What makes a provider one that speaks SAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saml {
    /// Where what is known of it comes from.
    pub source: Source,
    /// What a response must bring.
    pub want: Want,
    /// The format of `NameID` that is asked for.
    pub name_id: Option<String>,
    /// Which attribute is which.
    pub names: Names,
    /// Whether requests are signed also where the provider does not ask for it.
    pub sign_requests: bool,
    /// How far clocks may be apart.
    pub skew: Span,
}
