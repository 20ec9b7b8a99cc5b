//! The address that the browser is sent to (`OpenID` Connect Core §3.1.2.1, RFC 7636, RFC 9700).

use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};

use super::Metadata;
use crate::domain::Span;
use crate::domain::provider::{Provider, ResponseMode};

/// A request for authorization.
pub struct Authorization<'a> {
    /// Of whom.
    pub provider: &'a Provider,
    /// What it says about itself.
    pub metadata: &'a Metadata,
    /// Where it answers.
    pub redirect_uri: &'a str,
    /// Ties the answer to this request.
    pub state: &'a str,
    /// Ties the ID token to this request.
    pub nonce: &'a str,
    /// The secret behind the challenge.
    pub verifier: &'a str,
    /// Who is probably coming.
    pub login_hint: Option<&'a str>,
    /// How long ago the person may have signed in there.
    pub max_age: Option<Span>,
    /// Whether the person must be asked anew.
    pub anew: bool,
}

/// The challenge of a verifier, `S256` (RFC 7636 §4.2).
#[must_use]
pub fn challenge(verifier: &str) -> String {
    PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()))
        .as_str()
        .to_owned()
}

impl Authorization<'_> {
    /// As an address. No secret is in it (`OIDC-01`).
    #[must_use]
    pub fn address(&self) -> String {
        let challenge = challenge(self.verifier);
        let scopes = self.provider.scopes.join(" ");
        let mut pairs = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.provider.client_id.clone()),
            ("redirect_uri", self.redirect_uri.to_owned()),
            ("scope", scopes),
            ("state", self.state.to_owned()),
            ("nonce", self.nonce.to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ];
        if self.provider.response_mode == ResponseMode::FormPost {
            pairs.push(("response_mode", "form_post".to_owned()));
        }
        if !self.provider.acr_values.is_empty() {
            pairs.push(("acr_values", self.provider.acr_values.join(" ")));
        }
        if let Some(age) = self.max_age {
            pairs.push(("max_age", age.as_seconds().to_string()));
        }
        if self.anew {
            pairs.push(("prompt", "login".to_owned()));
        }
        if let Some(hint) = self.login_hint {
            pairs.push(("login_hint", hint.to_owned()));
        }
        let endpoint = &self.metadata.authorization_endpoint;
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        // A provider's endpoint may have a query of its own (RFC 6749 §3.1).
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{query}")
    }
}
