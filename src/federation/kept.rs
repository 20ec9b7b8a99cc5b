//! What is kept of a provider's tokens after a sign-in: no more than something still needs (`OIDC-35`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Trouble;
use crate::domain::provider::Provider;
use crate::domain::{Secret, Timestamp};
use crate::protocol::oidc::{Metadata, Refused, Tokens, Verified};

/// The longest ID token that is kept: a longer one fits into no address.
const MOST_HINT: usize = 6000;

/// Tokens of a session at a provider. Written out to be sealed, and for nothing else.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Kept {
    id_token: Option<Text>,
    /// Whether the provider has a page for signing out.
    ends: bool,
    pub(super) proof: Option<Proof>,
}

/// What shows that the provider still stands by a session.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Proof {
    /// The token that the provider is asked with.
    pub(super) token: Token,
    /// The nonce of the sign-in.
    pub(super) nonce: String,
    /// When the person signed in there, if it says so.
    pub(super) auth_time: Option<Timestamp>,
}

/// A token that a provider is asked with.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Token {
    /// By introspection.
    Access(Text),
    /// By refreshing.
    Refresh(Text),
}

/// A secret that can be written out, here alone.
#[derive(Clone)]
pub(super) struct Text(pub(super) Secret<String>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl Kept {
    /// What is needed later of a code's answer.
    ///
    /// # Errors
    /// When the session is to follow the provider, and it gives nothing to ask it with: nobody would notice its end.
    pub(super) fn of(
        provider: &Provider,
        metadata: &Metadata,
        tokens: &Tokens,
        nonce: &str,
        verified: &Verified,
    ) -> Result<Self, Trouble> {
        let hint = provider.sign_out && metadata.end_session_endpoint.is_some();
        let short = hint && tokens.id_token.expose().len() <= MOST_HINT;
        let id_token = short.then(|| Text(tokens.id_token.clone()));
        let token = match (provider.follow, &tokens.refresh_token, &metadata.introspection_endpoint) {
            (None, ..) => None,
            (Some(_), Some(refresh), _) => Some(Token::Refresh(Text(refresh.clone()))),
            (Some(_), None, Some(_)) => Some(Token::Access(Text(tokens.access_token.clone()))),
            (Some(_), None, None) => {
                let detail = "follow_session is on, and the provider gives no refresh token and has no introspection; add \
                              \"offline_access\" to scopes, allow it there, or switch follow_session off";
                return Err(Refused::by("follow session", detail).into());
            }
        };
        let proof =
            token.map(|token| Proof { token, nonce: nonce.to_owned(), auth_time: verified.auth_time() });
        Ok(Self { id_token, ends: hint, proof })
    }

    /// The ID token, to say at the provider whose session is over.
    #[must_use]
    pub fn id_token_hint(&self) -> Option<&str> {
        self.id_token.as_ref().map(|token| token.0.expose().as_str())
    }

    /// Whether the provider can be asked about the session.
    #[must_use]
    pub const fn can_be_followed(&self) -> bool {
        self.proof.is_some()
    }

    /// Whether signing out can go on at the provider.
    #[must_use]
    pub const fn can_be_ended(&self) -> bool {
        self.ends
    }

    /// With what a refresh has given. What it has not given stays.
    pub(super) fn renewed(&self, id_token: Option<Secret<String>>, refresh: Option<Secret<String>>) -> Self {
        let mut kept = self.clone();
        if let Some(id_token) = id_token.filter(|token| kept.ends && token.expose().len() <= MOST_HINT) {
            kept.id_token = Some(Text(id_token));
        }
        if let (Some(proof), Some(refresh)) = (&mut kept.proof, refresh) {
            proof.token = Token::Refresh(Text(refresh));
        }
        kept
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.ends && self.proof.is_none()
    }
}
