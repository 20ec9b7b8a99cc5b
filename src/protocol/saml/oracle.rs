//! The one place that speaks to samael, and through it to xmlsec and libxml2. Asked one thing: the bytes that pinned certificates
//! have signed. It sees only what the gate has let through.

use samael::crypto::{AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider as _, ReduceMode};

use super::gate::Gated;
use crate::domain::saml::Certificate;
use crate::protocol::oidc::Refused;

const ALGORITHMS: [AllowedSignatureAlgorithm; 6] = [
    AllowedSignatureAlgorithm::RsaSha256,
    AllowedSignatureAlgorithm::RsaSha384,
    AllowedSignatureAlgorithm::RsaSha512,
    AllowedSignatureAlgorithm::EcdsaSha256,
    AllowedSignatureAlgorithm::EcdsaSha384,
    AllowedSignatureAlgorithm::EcdsaSha512,
];

/// The canonical bytes of the outermost signed element, after every signature in the document was verified.
pub(super) struct Signed(String);

impl Signed {
    /// The text that was signed.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Verifies every signature of a document.
///
/// # Errors
/// When there is none, or one is not by any of the certificates. Without certificates nothing is ever verified (`SAML-49`).
pub(super) fn signed(document: &Gated<'_>, certificates: &[Certificate]) -> Result<Signed, Refused> {
    let wrong = |why: &str| Refused { keys_may_be_old: true, ..Refused::by("saml signature", why) };
    if certificates.is_empty() {
        return Err(wrong("no certificate of the provider is known (SAML-49)"));
    }
    if document.signed().is_empty() {
        return Err(Refused::by("saml signature", "nothing in it is signed (SAML-01)"));
    }
    let certificates: Vec<CertificateDer> =
        certificates.iter().map(|it| CertificateDer::from(it.der.clone())).collect();
    // Never the library's words: they repeat parts of the document.
    Crypto::reduce_xml_to_signed_with_allowed_algorithms(
        document.text(),
        &certificates,
        ReduceMode::PreDigest,
        Some(&ALGORITHMS),
    )
    .map(Signed)
    .map_err(|_| {
        wrong("a signature is not by a certificate of the provider, or what it covers was changed (SAML-02)")
    })
}
