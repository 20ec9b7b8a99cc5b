//! An encrypted assertion (Core §2.3.4, XML Encryption 1.1): RSA-OAEP for the key, AES-GCM for the content, and nothing older. Opened by
//! us, in safe memory, and never by the C libraries (`SAML-22`, `SAML-23`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;

use super::{ns, xml};
use crate::crypto::content;
use crate::crypto::rsa::{Digest, RsaKey};
use crate::protocol::oidc::Refused;

const OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";
const OAEP_11: &str = "http://www.w3.org/2009/xmlenc11#rsa-oaep";
const GCM_128: &str = "http://www.w3.org/2009/xmlenc11#aes128-gcm";
const GCM_256: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
const ENCRYPTION_11: &str = "http://www.w3.org/2009/xmlenc11#";

/// What metadata says that we open.
pub(super) const METHODS: [&str; 4] = [GCM_256, GCM_128, OAEP_11, OAEP];

/// The text inside of an `EncryptedAssertion`.
///
/// # Errors
/// By the name of the algorithm, if it is one that is not taken; else one for whatever is wrong.
pub(super) fn opened(node: Node<'_, '_>, keys: &[RsaKey]) -> Result<String, Refused> {
    let wrong = |detail: &str| Refused::by("saml encryption", detail);
    let failed = || {
        wrong(
            "the assertion cannot be decrypted: perhaps the provider has an old certificate of ours (SAML-23)",
        )
    };
    if keys.is_empty() {
        return Err(wrong("the assertion is encrypted, and there is no key for it"));
    }
    let data = xml::only(node, ns::ENCRYPTION, "EncryptedData").ok_or_else(failed)?;
    let bits = match method(data) {
        Some(GCM_128) => 128,
        Some(GCM_256) => 256,
        _ => return Err(wrong("the content is encrypted with another algorithm than AES-GCM (SAML-22)")),
    };
    let inside = node.descendants().filter(|it| xml::is(*it, ns::ENCRYPTION, "EncryptedKey"));
    let sealed: Vec<Node<'_, '_>> = inside.collect();
    let [key] = sealed.as_slice() else { return Err(wrong("it has other than one encrypted key")) };
    let (digest, mask) = match method(*key) {
        Some(OAEP) => (digest_of(*key)?, Digest::Sha1),
        Some(OAEP_11) => (digest_of(*key)?, mask_of(*key)?),
        _ => return Err(wrong("the key is encrypted with another algorithm than RSA-OAEP (SAML-22)")),
    };
    let sealed_key = cipher(*key).ok_or_else(failed)?;
    let content = cipher(data).ok_or_else(failed)?;
    // Every key is tried with everything, so that nobody learns which of them was the nearest.
    let mut found = None;
    for ours in keys {
        let opened = ours.open(digest, mask, &sealed_key);
        let opened = opened.and_then(|key| content::open(bits, key.expose(), &content));
        if let Ok(opened) = opened {
            found = Some(opened);
        }
    }
    found.and_then(|text| String::from_utf8(text).ok()).ok_or_else(failed)
}

fn method<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    xml::only(node, ns::ENCRYPTION, "EncryptionMethod")?.attribute("Algorithm")
}

fn cipher(node: Node<'_, '_>) -> Option<Vec<u8>> {
    let data = xml::only(node, ns::ENCRYPTION, "CipherData")?;
    let text = xml::text(xml::only(data, ns::ENCRYPTION, "CipherValue")?)?;
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(dense).ok()
}

fn digest_of(key: Node<'_, '_>) -> Result<Digest, Refused> {
    let method = xml::only(key, ns::ENCRYPTION, "EncryptionMethod");
    match method
        .and_then(|it| xml::only(it, ns::SIGNATURE, "DigestMethod"))
        .and_then(|it| it.attribute("Algorithm"))
    {
        None | Some("http://www.w3.org/2000/09/xmldsig#sha1") => Ok(Digest::Sha1),
        Some("http://www.w3.org/2001/04/xmlenc#sha256") => Ok(Digest::Sha256),
        Some("http://www.w3.org/2001/04/xmlenc#sha512") => Ok(Digest::Sha512),
        Some(_) => Err(Refused::by("saml encryption", "the key's digest is one that is not taken (SAML-22)")),
    }
}

fn mask_of(key: Node<'_, '_>) -> Result<Digest, Refused> {
    let method = xml::only(key, ns::ENCRYPTION, "EncryptionMethod");
    match method.and_then(|it| xml::only(it, ENCRYPTION_11, "MGF")).and_then(|it| it.attribute("Algorithm")) {
        None | Some("http://www.w3.org/2009/xmlenc11#mgf1sha1") => Ok(Digest::Sha1),
        Some("http://www.w3.org/2009/xmlenc11#mgf1sha256") => Ok(Digest::Sha256),
        Some("http://www.w3.org/2009/xmlenc11#mgf1sha512") => Ok(Digest::Sha512),
        Some(_) => Err(Refused::by("saml encryption", "the key's mask is one that is not taken (SAML-22)")),
    }
}
