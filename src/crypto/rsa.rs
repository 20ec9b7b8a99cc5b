//! RSA for SAML: keys of our own with their certificates, signatures of requests, and keys that were encrypted for us. The one place
//! that speaks to OpenSSL, which the XML libraries bring along anyway.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::encrypt::Decrypter;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Signer;
use openssl::x509::{X509, X509NameBuilder};

use super::CryptoError;
use crate::domain::{Secret, Timestamp};

/// How long a certificate says that it counts. Providers pin it, so it is a reminder more than a limit.
const YEARS: i64 = 10;

/// A digest that OAEP may use (XML Encryption 1.1 §5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// The usual one there, and harmless in that place.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    fn of(self) -> MessageDigest {
        match self {
            Digest::Sha1 => MessageDigest::sha1(),
            Digest::Sha256 => MessageDigest::sha256(),
            Digest::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// A key of ours.
pub struct RsaKey(PKey<Private>);

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaKey")
    }
}

impl RsaKey {
    /// A new key with a certificate that it signs itself: PKCS #8 and DER. Takes some tenths of a second.
    ///
    /// # Errors
    /// Never in practice.
    pub fn generate(
        name: &str,
        serial: u32,
        now: Timestamp,
    ) -> Result<(Secret<Vec<u8>>, Vec<u8>), CryptoError> {
        let made = || -> Result<_, openssl::error::ErrorStack> {
            let key = PKey::from_rsa(Rsa::generate(3072)?)?;
            let mut subject = X509NameBuilder::new()?;
            // The field takes no more.
            let short: String = name.chars().take(64).collect();
            subject.append_entry_by_nid(Nid::COMMONNAME, &short)?;
            let subject = subject.build();
            let mut built = X509::builder()?;
            built.set_version(2)?;
            let serial = BigNum::from_u32(serial)?.to_asn1_integer()?;
            built.set_serial_number(&serial)?;
            built.set_subject_name(&subject)?;
            built.set_issuer_name(&subject)?;
            built.set_pubkey(&key)?;
            let (from, until) = (now.seconds() - 24 * 3600, now.seconds() + YEARS * 365 * 24 * 3600);
            let (from, until) = (Asn1Time::from_unix(from)?, Asn1Time::from_unix(until)?);
            built.set_not_before(&from)?;
            built.set_not_after(&until)?;
            built.sign(&key, MessageDigest::sha256())?;
            Ok((Secret::new(key.private_key_to_pkcs8()?), built.build().to_der()?))
        };
        made().map_err(|_| CryptoError::Failed)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        let key = PKey::private_key_from_pkcs8(pkcs8).map_err(|_| CryptoError::Failed)?;
        key.rsa().map_err(|_| CryptoError::Failed)?;
        Ok(Self(key))
    }

    /// Signs with RSA and SHA-256 (RFC 8017 §8.2).
    ///
    /// # Errors
    /// Never in practice.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.0).map_err(|_| CryptoError::Failed)?;
        signer.sign_oneshot_to_vec(bytes).map_err(|_| CryptoError::Failed)
    }

    /// Opens what was encrypted with OAEP (RFC 8017 §7.1). Never the older padding, which tells too much when it fails.
    ///
    /// # Errors
    /// One, whatever is wrong.
    pub fn open(&self, digest: Digest, mask: Digest, sealed: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
        let opened = || -> Result<_, openssl::error::ErrorStack> {
            let mut with = Decrypter::new(&self.0)?;
            with.set_rsa_padding(Padding::PKCS1_OAEP)?;
            with.set_rsa_oaep_md(digest.of())?;
            with.set_rsa_mgf1_md(mask.of())?;
            let mut out = vec![0; with.decrypt_len(sealed)?];
            let length = with.decrypt(sealed, &mut out)?;
            out.truncate(length);
            Ok(Secret::new(out))
        };
        opened().map_err(|_| CryptoError::Unsealable)
    }
}
