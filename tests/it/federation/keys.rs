//! Keys of a provider, of every kind that one may sign with.

use std::process::Command;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// Every algorithm of an ID token.
pub(crate) const ALGORITHMS: [&str; 9] =
    ["EdDSA", "ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// A key with its name and what it signs with.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) alg: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// For `ES256`.
    pub(crate) fn new(kid: &str) -> Arc<Self> {
        Self::of(kid, "ES256")
    }

    pub(crate) fn of(kid: &str, alg: &'static str) -> Arc<Self> {
        let random = SystemRandom::new();
        let ec = |kind: &'static signature::EcdsaSigningAlgorithm| {
            let sealed = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(kind, sealed.as_ref(), &random).unwrap())
        };
        let pair = match alg {
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => {
                let sealed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed(Ed25519KeyPair::from_pkcs8(sealed.as_ref()).unwrap())
            }
            _ => Pair::Rsa(RsaKeyPair::from_pkcs8(rsa()).unwrap()),
        };
        Arc::new(Self { kid: kid.to_owned(), alg, pair })
    }

    pub(crate) fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let parts: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({ "kty": "RSA", "n": text(&parts.n), "e": text(&parts.e) })
            }
        };
        super::provider::merge(&mut key, &json!({ "use": "sig", "alg": self.alg, "kid": self.kid }));
        key
    }

    pub(crate) fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.alg {
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// As `at_hash` and `c_hash` write it.
    pub(crate) fn half_hash(&self, text: &str) -> String {
        let kind = match &self.alg[2..] {
            "256" => &digest::SHA256,
            "384" => &digest::SHA384,
            _ => &digest::SHA512,
        };
        let hash = digest::digest(kind, text.as_bytes());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
    }
}

/// A private key of a kind, as PEM.
pub(crate) fn generated(options: &[&str]) -> String {
    let made = Command::new("openssl").arg("genpkey").args(options).output();
    let made = made.expect("run `.ci/install build` first");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

pub(crate) const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

/// One RSA key for all tests: they take long to make.
fn rsa() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(generated(&RSA).as_bytes()).unwrap();
        der.secret_pkcs8_der().to_vec()
    })
}
