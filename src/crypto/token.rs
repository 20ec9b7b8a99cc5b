//! Opaque tokens: chance, and a MAC bound to a purpose and a host, so that a forged one never reaches the database.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::digest::{mac, sha256};
use crate::domain::{Chance, Secret};

/// Bytes of chance.
const CHANCE: usize = 32;
/// Bytes of the MAC.
const MAC: usize = 16;
/// Characters of the whole: 48 bytes in base64url.
pub const LENGTH: usize = 64;

/// A token that was made or checked by us. Its text opens things; its digest is what is kept.
pub struct Token {
    text: Secret<String>,
    digest: [u8; 32],
}

impl Token {
    /// The text that goes to the browser and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// SHA-256 of the text: what is stored and looked up.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Makes and checks tokens.
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A new token.
    #[must_use]
    pub fn issue(&self, purpose: &str, host: &str, chance: &dyn Chance) -> Token {
        let random = chance.bytes::<CHANCE>();
        let tag = mac(&self.0, &[purpose.as_bytes(), host.as_bytes(), &random]);
        let mut bytes = [0; CHANCE + MAC];
        for (to, from) in bytes.iter_mut().zip(random.iter().chain(&tag)) {
            *to = *from;
        }
        let text = URL_SAFE_NO_PAD.encode(bytes);
        Token { digest: sha256(text.as_bytes()), text: Secret::new(text) }
    }

    /// The digest of a token that we issued for this purpose and host; `None` for anything else.
    #[must_use]
    pub fn check(&self, text: &[u8], purpose: &str, host: &str) -> Option<[u8; 32]> {
        if text.len() != LENGTH {
            return None;
        }
        let mut bytes = [0; CHANCE + MAC];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(CHANCE + MAC) {
            return None;
        }
        let (random, given) = bytes.split_at(CHANCE);
        let tag = mac(&self.0, &[purpose.as_bytes(), host.as_bytes(), random]);
        let right: bool = tag.get(..MAC)?.ct_eq(given).into();
        right.then(|| sha256(text))
    }

    /// A tag over text, for values that a form carries back to us.
    #[must_use]
    pub fn tag(&self, purpose: &str, parts: &[&[u8]]) -> String {
        let inner = mac(&self.0, parts);
        URL_SAFE_NO_PAD.encode(mac(&self.0, &[purpose.as_bytes(), &inner]))
    }

    /// Whether a tag is ours.
    #[must_use]
    pub fn tagged(&self, purpose: &str, parts: &[&[u8]], given: &str) -> bool {
        self.tag(purpose, parts).as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// A handle of 256 bits of chance without MAC, for flows, links and one-time codes.
#[must_use]
pub fn handle(chance: &dyn Chance) -> Token {
    let text = URL_SAFE_NO_PAD.encode(chance.bytes::<CHANCE>());
    Token { digest: sha256(text.as_bytes()), text: Secret::new(text) }
}

/// The digest of a handle as it came back, if it can be one at all.
#[must_use]
pub fn handle_digest(text: &str) -> Option<[u8; 32]> {
    let fine =
        text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    fine.then(|| sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Seeded;

    #[test]
    fn sess_01_a_token_is_64_characters_with_256_bits_of_chance() {
        let chance = Seeded::new(7);
        let key = TokenKey::new(&[7; 32]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let token = key.issue("session", "a.example", &chance);
            assert_eq!(token.expose().len(), LENGTH);
            assert!(seen.insert(token.expose().to_owned()));
            assert_eq!(key.check(token.expose().as_bytes(), "session", "a.example"), Some(token.digest()));
        }
    }

    #[test]
    fn f67_forged_truncated_and_foreign_tokens_are_nothing() {
        let chance = Seeded::new(7);
        let key = TokenKey::new(&[7; 32]);
        let token = key.issue("session", "a.example", &chance);
        let text = token.expose().as_bytes();
        assert_eq!(key.check(text, "session", "b.example"), None);
        assert_eq!(key.check(text, "other", "a.example"), None);
        assert_eq!(TokenKey::new(&[8; 32]).check(text, "session", "a.example"), None);
        for end in 0..text.len() {
            assert_eq!(key.check(&text[..end], "session", "a.example"), None);
        }
        for at in 0..text.len() {
            let mut forged = text.to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.check(&forged, "session", "a.example"), None, "{at}");
        }
        assert_eq!(key.check(&[0xa0; 64], "session", "a.example"), None);
    }
}
