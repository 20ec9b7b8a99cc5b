//! ES256 signatures for the assertion that upstreams verify (RFC 7515, RFC 7518 §3.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::CryptoError;
use super::digest::sha256;
use crate::domain::Secret;

/// A key that signs.
pub struct SigningKey {
    id: String,
    pair: EcdsaKeyPair,
    random: SystemRandom,
    header: String,
}

impl SigningKey {
    /// A new key, as PKCS #8.
    ///
    /// # Errors
    /// Never in practice.
    pub fn generate() -> Result<Secret<Vec<u8>>, CryptoError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random())
            .map(|document| Secret::new(document.as_ref().to_vec()))
            .map_err(|_| CryptoError::Failed)
    }

    /// Reads a key; `typ` is fixed for everything it signs, so that nothing else can pass for it (RFC 8725 §3.11).
    ///
    /// # Errors
    /// When it is no P-256 key.
    pub fn from_pkcs8(pkcs8: &[u8], typ: &str) -> Result<Self, CryptoError> {
        let random = random();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| CryptoError::Failed)?;
        let public = jwk(pair.public_key().as_ref()).ok_or(CryptoError::Failed)?;
        let id = thumbprint(&public);
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": id, "typ": typ }).to_string());
        Ok(Self { id, pair, random, header })
    }

    /// The key id: its JWK thumbprint (RFC 7638).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key as JWK.
    #[must_use]
    pub fn public(&self) -> Value {
        let mut key = jwk(self.pair.public_key().as_ref()).unwrap_or_default();
        if let Value::Object(map) = &mut key {
            map.insert("kid".into(), self.id.clone().into());
            map.insert("use".into(), "sig".into());
            map.insert("alg".into(), "ES256".into());
        }
        key
    }

    /// Signs claims: a compact JWS.
    ///
    /// # Errors
    /// Never in practice.
    pub fn sign(&self, claims: &Value) -> Result<String, CryptoError> {
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| CryptoError::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

#[expect(clippy::disallowed_methods, reason = "the library signs with no other source than its own")]
pub(super) fn random() -> SystemRandom {
    SystemRandom::new()
}

fn jwk(point: &[u8]) -> Option<Value> {
    let (tag, coordinates) = point.split_first()?;
    if *tag != 4 || coordinates.len() != 64 {
        return None;
    }
    let (x, y) = coordinates.split_at(32);
    Some(
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }),
    )
}

/// RFC 7638: SHA-256 over the required members in alphabetical order.
fn thumbprint(key: &Value) -> String {
    let member = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, member("x"), member("y"));
    URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
}

/// Why a JWS was not taken. For the party that verifies; Cardea itself only signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// Not three parts of base64url with JSON in the first two.
    #[error("it is not a signed token")]
    Malformed,
    /// Another algorithm than ES256, or another type.
    #[error("its header names another algorithm or type")]
    Header,
    /// No published key has its key id.
    #[error("no published key has its key id")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    Signature,
}

/// Verifies a compact JWS of ours against a JWKS: the claims, and the header.
///
/// # Errors
/// With the first thing that is wrong.
pub fn verify(token: &str, jwks: &Value, typ: &str) -> Result<(Value, Value), NotVerified> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NotVerified::Malformed);
    };
    let read =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(head), Some(body)) = (read(header), read(claims)) else { return Err(NotVerified::Malformed) };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NotVerified::Malformed)?;
    if head.get("alg").and_then(Value::as_str) != Some("ES256")
        || head.get("typ").and_then(Value::as_str) != Some(typ)
    {
        return Err(NotVerified::Header);
    }
    let key = jwks
        .get("keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|key| key.get("kid").is_some() && key.get("kid") == head.get("kid"))
        .ok_or(NotVerified::UnknownKey)?;
    let coordinate =
        |name: &str| key.get(name).and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else { return Err(NotVerified::UnknownKey) };
    let point = [[4].as_slice(), &x, &y].concat();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(format!("{header}.{claims}").as_bytes(), &signature)
        .map_err(|_| NotVerified::Signature)?;
    Ok((body, head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies() {
        let key = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), "cardea+jwt").unwrap();
        let token = key.sign(&json!({ "sub": "ada" })).unwrap();
        let jwks = json!({ "keys": [key.public()] });
        let (claims, head) = verify(&token, &jwks, "cardea+jwt").unwrap();
        assert_eq!(claims["sub"], "ada");
        assert_eq!(head["kid"], key.id());
        assert_eq!(verify(&token, &jwks, "other").unwrap_err(), NotVerified::Header);
        assert_eq!(
            verify(&token, &json!({ "keys": [] }), "cardea+jwt").unwrap_err(),
            NotVerified::UnknownKey
        );
        let other = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), "cardea+jwt").unwrap();
        let mut forged = other.public();
        forged["kid"] = key.id().into();
        assert_eq!(
            verify(&token, &json!({ "keys": [forged] }), "cardea+jwt").unwrap_err(),
            NotVerified::Signature
        );
        for wrong in ["", "a.b", "a.b.c", "a.b.c.d"] {
            assert_eq!(verify(wrong, &jwks, "cardea+jwt").unwrap_err(), NotVerified::Malformed);
        }
    }
}
