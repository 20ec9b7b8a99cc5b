//! Every key of an installation in one place, opened: what the running program holds.

use serde_json::{Value, json};

use super::CryptoError;
use super::digest::mac;
use super::seal::Sealer;
use super::signing::SigningKey;
use super::token::TokenKey;
use crate::domain::Secret;

/// The type of everything the assertion key signs.
pub const ASSERTION_TYPE: &str = "cardea-assertion+jwt";

/// Keys that are derived from one secret of 32 bytes, each for one purpose.
pub struct WebKeys {
    /// Session tokens.
    pub session: TokenKey,
    /// Tags in forms.
    pub form: TokenKey,
    /// What is sealed into addresses.
    pub address: Sealer,
    /// Names of counters for people who do not exist.
    pub names: TokenKey,
    /// Digests of recovery codes.
    pub recovery: TokenKey,
    /// What ties a sign-in at an identity provider to its answer.
    pub federation: TokenKey,
}

impl WebKeys {
    /// # Errors
    /// Never in practice.
    pub fn derive(secret: &Secret<Vec<u8>>) -> Result<Self, CryptoError> {
        let root = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.expose());
        let part = |purpose: &str| mac(&root, &[b"cardea", purpose.as_bytes()]);
        Ok(Self {
            session: TokenKey::new(&part("session")),
            form: TokenKey::new(&part("form")),
            address: Sealer::new(&part("address"), &[])?,
            names: TokenKey::new(&part("names")),
            recovery: TokenKey::new(&part("recovery")),
            federation: TokenKey::new(&part("federation")),
        })
    }

    /// What stands for a name that was typed, in the names of counters.
    #[must_use]
    pub fn name_tag(&self, typed: &str) -> String {
        self.names.tag("name", &[typed.trim().to_lowercase().as_bytes()])
    }
}

/// The keys that sign assertions: one signs, those before it are still published.
pub struct AssertionKeys {
    current: SigningKey,
    published: Vec<Value>,
}

impl AssertionKeys {
    /// `previous` are public keys that may still be needed to verify.
    #[must_use]
    pub fn new(current: SigningKey, previous: Vec<Value>) -> Self {
        let mut published = vec![current.public()];
        published.extend(previous);
        Self { current, published }
    }

    /// The key that signs.
    #[must_use]
    pub const fn current(&self) -> &SigningKey {
        &self.current
    }

    /// The document at `/.well-known/cardea/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.published })
    }
}

/// Everything the running program holds. Assertion keys can be rotated while it runs.
pub struct Keyring {
    /// Seals what the database keeps.
    pub sealer: Sealer,
    /// Tokens, tags and addresses.
    pub web: WebKeys,
    assertion: arc_swap::ArcSwap<AssertionKeys>,
}

impl Keyring {
    /// From its parts.
    #[must_use]
    pub fn new(sealer: Sealer, web: WebKeys, assertion: AssertionKeys) -> Self {
        Self { sealer, web, assertion: arc_swap::ArcSwap::from_pointee(assertion) }
    }

    /// The keys that sign assertions now.
    #[must_use]
    pub fn assertion(&self) -> std::sync::Arc<AssertionKeys> {
        self.assertion.load_full()
    }

    /// Takes other keys from now on.
    pub fn rotate(&self, assertion: AssertionKeys) {
        self.assertion.store(std::sync::Arc::new(assertion));
    }
}
