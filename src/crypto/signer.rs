//! Certificates whose keys verify what a provider signs: pinned by the operator, so nothing is asked but whether the key is
//! strong enough (`SAML-06`).

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::domain::Timestamp;
use crate::domain::saml::Certificate;

/// Why a certificate was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigner {
    /// Another kind of key.
    #[error("the certificate's key is neither RSA nor on the curves P-256, P-384 and P-521")]
    Kind,
    /// Nothing is in it.
    #[error("there is no certificate in it")]
    Missing,
    /// It is no certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Too short a key.
    #[error("the certificate's key has {0} bits, and 2048 are the least")]
    Weak(usize),
}

/// Judges a certificate.
///
/// # Errors
/// See [`BadSigner`].
pub fn judged(der: Vec<u8>) -> Result<Certificate, BadSigner> {
    let (rest, read) = X509Certificate::from_der(&der).map_err(|_| BadSigner::Unreadable)?;
    if !rest.is_empty() {
        return Err(BadSigner::Unreadable);
    }
    let key = match read.public_key().parsed().map_err(|_| BadSigner::Kind)? {
        PublicKey::RSA(key) => {
            let bits = key.key_size();
            if !(2048..=8192).contains(&bits) {
                return Err(BadSigner::Weak(bits));
            }
            format!("RSA {bits}")
        }
        PublicKey::EC(point) => match point.key_size() {
            256 => "P-256".to_owned(),
            384 => "P-384".to_owned(),
            // The library counts whole bytes.
            521 | 528 => "P-521".to_owned(),
            _ => return Err(BadSigner::Kind),
        },
        _ => return Err(BadSigner::Kind),
    };
    let not_after =
        Timestamp::from_millis(read.validity().not_after.timestamp().saturating_add(1).saturating_mul(1000));
    Ok(Certificate { der, not_after, key })
}

/// Every certificate of a PEM text. One that will not do refuses all.
///
/// # Errors
/// See [`BadSigner`].
pub fn parse(pem: &[u8]) -> Result<Vec<Certificate>, BadSigner> {
    let all: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| BadSigner::Unreadable)?;
    if all.is_empty() {
        return Err(BadSigner::Missing);
    }
    all.into_iter().map(|it| judged(it.as_ref().to_vec())).collect()
}
