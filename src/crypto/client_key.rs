//! Keys that prove to others who we are (`private_key_jwt`: `OpenID` Connect Core §9, RFC 7523 §3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::CryptoError;
use super::digest::sha256;
use super::signing::random;
use crate::domain::provider::Algorithm;

/// Why a key was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The key is of another kind than the algorithm.
    #[error("the key is not one for {}", .0.as_str())]
    Algorithm(Algorithm),
    /// There is none, or one that is not understood.
    #[error("there is no private key in it that can be used")]
    Unusable,
}

impl BadKey {
    /// The remedy.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            BadKey::Algorithm(_) => "leave the algorithm out, or make a key of its kind",
            BadKey::Unusable => {
                "write it as PEM without a passphrase, PKCS #8: RSA of 2048 bits or more, P-256, P-384 or Ed25519; one is made with \
                 `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and one of another form is turned into it with \
                 `openssl pkcs8 -topk8 -nocrypt`"
            }
        }
    }
}

/// A key with which we sign who we are.
pub struct ClientKey {
    algorithm: Algorithm,
    id: String,
    public: Value,
    certificate: Option<String>,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl ClientKey {
    /// Reads a key from PEM. RSA signs with `RS256` unless another algorithm is named; every other key has one of its own. A
    /// certificate beside the key is named in what is signed, as Microsoft Entra wants it.
    ///
    /// # Errors
    /// See [`BadKey`].
    pub fn parse(pem: &[u8], wanted: Option<Algorithm>) -> Result<Self, BadKey> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| BadKey::Unusable)?;
        let pair = Pair::read(&der).ok_or(BadKey::Unusable)?;
        let usual = pair.algorithm();
        let algorithm = match (wanted, &pair) {
            (None, _) => usual,
            (Some(wanted), Pair::Rsa(_)) if padding(wanted).is_some() => wanted,
            (Some(wanted), _) if wanted == usual => wanted,
            (Some(wanted), _) => return Err(BadKey::Algorithm(wanted)),
        };
        // RFC 7638: the required members, sorted, without a space.
        let text = pair.public().ok_or(BadKey::Unusable)?;
        let id = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
        let mut public: Value = serde_json::from_str(&text).map_err(|_| BadKey::Unusable)?;
        if let Value::Object(map) = &mut public {
            map.insert("kid".into(), id.clone().into());
            map.insert("use".into(), "sig".into());
            map.insert("alg".into(), algorithm.as_str().into());
        }
        let certificate = CertificateDer::from_pem_slice(pem).ok();
        let certificate = certificate.map(|der| URL_SAFE_NO_PAD.encode(sha256(&der)));
        Ok(Self { algorithm, id, public, certificate, pair })
    }

    /// The public half, as JWK.
    #[must_use]
    pub const fn public(&self) -> &Value {
        &self.public
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs claims: a compact JWS.
    ///
    /// # Errors
    /// Never in practice.
    pub fn sign(&self, claims: &Value) -> Result<String, CryptoError> {
        let mut header = json!({ "alg": self.algorithm.as_str(), "kid": self.id, "typ": "JWT" });
        if let (Value::Object(map), Some(print)) = (&mut header, &self.certificate) {
            map.insert("x5t#S256".into(), print.clone().into());
        }
        let (header, claims) = (header.to_string(), claims.to_string());
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(self.algorithm, token.as_bytes()).ok_or(CryptoError::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Pair {
    fn read(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let bytes = match der {
            PrivateKeyDer::Pkcs1(key) => {
                return RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(Pair::Rsa);
            }
            PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der(),
            _ => return None,
        };
        let ec = |kind| EcdsaKeyPair::from_pkcs8(kind, bytes, &random()).ok().map(Pair::Ec);
        let rsa = RsaKeyPair::from_pkcs8(bytes).ok().map(Pair::Rsa);
        rsa.or_else(|| ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING))
            .or_else(|| ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok().map(Pair::Ed))
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Pair::Ec(pair) if pair.public_key().as_ref().len() == 65 => Algorithm::Es256,
            Pair::Ec(_) => Algorithm::Es384,
            Pair::Ed(_) => Algorithm::EdDsa,
            Pair::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// The members of a JWK that RFC 7638 counts.
    fn public(&self) -> Option<String> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Some(match self {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref().strip_prefix(&[4])?;
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
            Pair::Ed(pair) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(pair.public_key().as_ref()))
            }
            Pair::Rsa(pair) => {
                let parts: PublicKeyComponents<Vec<u8>> = pair.public().into();
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&parts.e), text(&parts.n))
            }
        })
    }

    fn sign(&self, algorithm: Algorithm, text: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Pair::Ec(pair) => pair.sign(&random(), text).ok()?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(text).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding(algorithm)?, &random(), text, &mut signature).ok()?;
                signature
            }
        })
    }
}

/// How an algorithm of RSA pads; none for any other.
fn padding(algorithm: Algorithm) -> Option<&'static dyn signature::RsaEncoding> {
    Some(match algorithm {
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Es384 => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn each_kind_of_key_signs_with_its_own_algorithm() {
        for (kind, algorithm) in [
            (&PKCS_ECDSA_P256_SHA256, Algorithm::Es256),
            (&PKCS_ECDSA_P384_SHA384, Algorithm::Es384),
            (&PKCS_ED25519, Algorithm::EdDsa),
        ] {
            let pem = KeyPair::generate_for(kind).unwrap().serialize_pem();
            let key = ClientKey::parse(pem.as_bytes(), None).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.public()["alg"], algorithm.as_str());
            assert!(key.public().get("d").is_none());
            assert_eq!(key.sign(&json!({})).unwrap().split('.').count(), 3);
            let wrong = ClientKey::parse(pem.as_bytes(), Some(Algorithm::Ps256)).err();
            assert_eq!(wrong, Some(BadKey::Algorithm(Algorithm::Ps256)));
        }
        for text in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(ClientKey::parse(text.as_bytes(), None).err(), Some(BadKey::Unusable), "{text}");
        }
    }

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_8037() {
        // RFC 8037, appendix A.3.
        let text = r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let pair = Pair::Ed(Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap());
        assert_eq!(pair.public().unwrap(), text);
        let id = URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()));
        assert_eq!(id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
