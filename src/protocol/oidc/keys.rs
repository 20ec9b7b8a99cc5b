//! A provider's keys (RFC 7517): which of them may verify what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use openidconnect::core::CoreJsonWebKey;
use serde_json::{Map, Value};

use super::{Refused, json};
use crate::domain::provider::Algorithm;

const CHECK: &str = "keys";
/// The most keys that are looked at.
const MOST: usize = 64;
/// Bytes of the shortest and the longest RSA modulus.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys of a provider that can verify a signature. Others are passed over: they may be for something else.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    family: Family,
    alg: Option<String>,
    jwk: CoreJsonWebKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ed25519,
    P256,
    P384,
    Rsa,
}

impl Family {
    const fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => Self::Ed25519,
            Algorithm::Es256 => Self::P256,
            Algorithm::Es384 => Self::P384,
            Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512
            | Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512 => Self::Rsa,
        }
    }
}

impl Keys {
    /// Reads a key set.
    ///
    /// # Errors
    /// When it is no key set, or nothing in it can verify a signature (`OIDC-13`).
    pub fn parse(body: &[u8]) -> Result<Self, Refused> {
        let document = json::object(body, CHECK)?;
        let list = document.get("keys").and_then(Value::as_array);
        let list = list.ok_or_else(|| Refused::by(CHECK, "it has no list of keys"))?;
        if list.len() > MOST {
            return Err(Refused::by(CHECK, format!("it has more than {MOST} keys")));
        }
        let keys: Vec<Key> = list.iter().filter_map(Value::as_object).filter_map(usable).collect();
        if keys.is_empty() {
            let detail = format!(
                "of {} keys none can verify a signature: RSA of 2048 bits, P-256, P-384 or Ed25519",
                list.len()
            );
            return Err(Refused::by(CHECK, detail));
        }
        Ok(Self(keys))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none; [`Keys::parse`] gives no such.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let name = |key: &Key| format!("{} ({:?})", key.id.as_deref().unwrap_or("no kid"), key.family);
        self.0.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Whether any can verify a signature of this algorithm.
    #[must_use]
    pub fn any_for(&self, algorithm: Algorithm) -> bool {
        self.for_token(None, algorithm).next().is_some()
    }

    /// The keys that a token with this header may have been signed with, each alone: with a key id those of that id,
    /// without one every key that fits. The token says which, never what (`OIDC-10`, `OIDC-16`).
    pub(super) fn for_token(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &CoreJsonWebKey> {
        self.0
            .iter()
            .filter(move |key| key.family == Family::of(algorithm))
            .filter(move |key| key.alg.as_deref().is_none_or(|alg| alg == algorithm.as_str()))
            .filter(move |key| kid.is_none_or(|kid| key.id.as_deref() == Some(kid)))
            .map(|key| &key.jwk)
    }
}

fn usable(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(ops) = jwk.get("key_ops").and_then(Value::as_array)
        && !ops.iter().any(|op| op.as_str() == Some("verify"))
    {
        return None;
    }
    let (family, members): (Family, &[&str]) = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let significant = |name: &str| {
                let bytes = bytes(name)?;
                Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>())
            };
            let (modulus, exponent) = (significant("n")?, significant("e")?);
            let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
            // With an exponent of one anything is signed; a huge one takes long.
            let sound = odd(&exponent) && exponent != [1] && exponent.len() <= 4;
            if !sound || !odd(&modulus) || !MODULUS.contains(&modulus.len()) {
                return None;
            }
            (Family::Rsa, &["n", "e"])
        }
        ("EC", Some("P-256")) if bytes("x")?.len() == 32 && bytes("y")?.len() == 32 => {
            (Family::P256, &["x", "y", "crv"])
        }
        ("EC", Some("P-384")) if bytes("x")?.len() == 48 && bytes("y")?.len() == 48 => {
            (Family::P384, &["x", "y", "crv"])
        }
        ("OKP", Some("Ed25519")) => {
            // With one of the few points of small order, anybody signs for one in eight messages.
            let point = <[u8; 32]>::try_from(bytes("x")?).ok()?;
            if VerifyingKey::from_bytes(&point).ok()?.is_weak() {
                return None;
            }
            (Family::Ed25519, &["x", "crv"])
        }
        _ => return None,
    };
    // Only what verifying needs reaches the library: other members may be anything.
    let kept = members.iter().chain(&["kty", "kid"]);
    let bare: Map<String, Value> =
        kept.filter_map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect();
    let (id, alg) = (text("kid").map(str::to_owned), text("alg").map(str::to_owned));
    Some(Key { id, family, alg, jwk: serde_json::from_value(Value::Object(bare)).ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(key: &Value) -> bool {
        Keys::parse(json!({ "keys": [key] }).to_string().as_bytes()).is_ok()
    }

    #[test]
    fn oidc_13_numbers_with_which_anybody_could_sign_are_no_keys() {
        let n = URL_SAFE_NO_PAD.encode([0xc5; 256]);
        for (exponent, fine) in [
            (&[1, 0, 1][..], true),
            (&[0, 1, 0, 1], true),
            (&[3], true),
            (&[1], false),
            (&[0, 0, 1], false),
            (&[2], false),
            (&[1, 0, 0], false),
            (&[0], false),
            (&[], false),
            (&[1, 0, 0, 0, 1], false),
        ] {
            let key = json!({ "kty": "RSA", "n": n, "e": URL_SAFE_NO_PAD.encode(exponent) });
            assert_eq!(taken(&key), fine, "{exponent:?}");
        }
        for (modulus, fine) in [([0xc5; 256], true), ([0xc4; 256], false)] {
            let key = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" });
            assert_eq!(taken(&key), fine);
        }
        let padded = [vec![0; 200], vec![0xc5; 128]].concat();
        assert!(!taken(&json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AQAB" })));
        // A point of small order.
        for first in [0, 1] {
            let mut point = [0; 32];
            point[0] = first;
            assert!(!taken(&json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point) })));
        }
    }
}
