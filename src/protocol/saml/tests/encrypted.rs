//! Encrypted assertions, made with OpenSSL as providers make them.

use std::sync::Arc;

use openssl::encrypt::Encrypter;
use openssl::rsa::Padding;
use openssl::symm::{Cipher, encrypt_aead};
use openssl::x509::X509;

use super::*;
use crate::crypto::rsa::RsaKey;

const GCM: &str = "http://www.w3.org/2009/xmlenc11#aes";

/// Our key, and the certificate that a provider encrypts for.
fn ours() -> &'static (Vec<u8>, Vec<u8>) {
    static KEY: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    KEY.get_or_init(|| {
        let (secret, certificate) = RsaKey::generate("access.example", 1, NOW).unwrap();
        (secret.expose().clone(), certificate)
    })
}

fn expecting() -> Expected {
    Expected { keys: Arc::new(vec![RsaKey::from_pkcs8(&ours().0).unwrap()]), ..expected() }
}

/// How a provider encrypts.
struct Way {
    bits: usize,
    oaep: &'static str,
    digest: MessageDigest,
    /// What stands in the method of the key.
    inside: &'static str,
    padding: Padding,
}

const PLAIN_OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";

fn usual() -> Way {
    Way {
        bits: 256,
        oaep: PLAIN_OAEP,
        digest: MessageDigest::sha1(),
        inside: "",
        padding: Padding::PKCS1_OAEP,
    }
}

fn sealed_for(certificate: &[u8], text: &str, way: &Way) -> String {
    let (key, nonce) = (vec![7_u8; way.bits / 8], [9_u8; 12]);
    let cipher = if way.bits == 256 { Cipher::aes_256_gcm() } else { Cipher::aes_128_gcm() };
    let mut tag = [0; 16];
    let body = encrypt_aead(cipher, &key, Some(&nonce), &[], text.as_bytes(), &mut tag).unwrap();
    let content = [&nonce[..], &body, &tag].concat();
    let public = X509::from_der(certificate).unwrap().public_key().unwrap();
    let mut with = Encrypter::new(&public).unwrap();
    with.set_rsa_padding(way.padding).unwrap();
    if way.padding == Padding::PKCS1_OAEP {
        with.set_rsa_oaep_md(way.digest).unwrap();
        with.set_rsa_mgf1_md(way.digest).unwrap();
    }
    let mut sealed = vec![0; with.encrypt_len(&key).unwrap()];
    let length = with.encrypt(&key, &mut sealed).unwrap();
    sealed.truncate(length);
    format!(
        "<saml:EncryptedAssertion><xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" Id=\"_e1\" \
         Type=\"http://www.w3.org/2001/04/xmlenc#Element\"><xenc:EncryptionMethod Algorithm=\"{GCM}{}-gcm\"/>\
         <ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><xenc:EncryptedKey Id=\"_k1\">\
         <xenc:EncryptionMethod Algorithm=\"{}\">{}</xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>{}\
         </xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData><xenc:CipherValue>{}\
         </xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>",
        way.bits,
        way.oaep,
        way.inside,
        STANDARD.encode(sealed),
        STANDARD.encode(content)
    )
}

/// The assertion, perhaps signed; encrypted; and the response around it, perhaps signed.
fn response(inner: Option<&Signer>, outer: bool, way: &Way) -> String {
    let assertion = match inner {
        Some(signer) => sign(&assertion().replace("[SIGA]", &template("_a1", RSA_SHA256)), signer),
        None => assertion().replace("[SIGA]", ""),
    };
    let whole = around(&sealed_for(&ours().1, &assertion, way));
    if outer {
        sign(&whole.replace("[SIGR]", &template("_r1", RSA_SHA256)), idp())
    } else {
        whole.replace("[SIGR]", "")
    }
}

fn opened(xml: &str) -> Result<Verified, Refused> {
    verify(&encoded(xml), &expecting())
}

#[test]
fn saml_21_saml_22_what_is_encrypted_must_be_signed_inside_or_around() {
    for (inner, outer) in [(true, false), (false, true), (true, true)] {
        let xml = response(inner.then(idp), outer, &usual());
        let verified = opened(&xml).unwrap_or_else(|refused| panic!("{refused} {inner} {outer}"));
        assert_eq!((verified.name.value.as_str(), verified.ids.len()), ("jane", 2));
    }
    // Anybody may encrypt for us.
    assert_eq!(opened(&response(None, false, &usual())).unwrap_err().check, "saml signature");
    assert_eq!(opened(&response(Some(stranger()), false, &usual())).unwrap_err().check, "saml signature");
    assert_eq!(opened(&response(Some(stranger()), true, &usual())).unwrap_err().check, "saml signature");
    // Beside a signed one it is one too many.
    let good = made(How::Assertion, &[]);
    let evil = sealed_for(&ours().1, &assertion().replace("[SIGA]", "").replace("jane", "admin"), &usual());
    assert_eq!(
        opened(&good.replace("</samlp:Response>", &format!("{evil}</samlp:Response>"))).unwrap_err().check,
        "saml shape"
    );
    // Inside of it stands one assertion, and nothing that may not stand in a document.
    for inside in ["<!DOCTYPE a><a/>", "<a/>", "", "text", &around("")] {
        let xml = around(&sealed_for(&ours().1, inside, &usual()));
        let xml = sign(&xml.replace("[SIGR]", &template("_r1", RSA_SHA256)), idp());
        assert!(opened(&xml).is_err(), "{inside}");
    }
    let wanted = Want { encrypted_assertion: true, ..Want::default() };
    let only = Expected { want: wanted, ..expecting() };
    assert_eq!(verify(&encoded(&good), &only).unwrap_err().check, "saml encryption");
    assert!(verify(&encoded(&response(Some(idp()), false, &usual())), &only).is_ok());
    let signed = Expected { want: Want { signed_assertion: true, ..Want::default() }, ..expecting() };
    assert_eq!(
        verify(&encoded(&response(None, true, &usual())), &signed).unwrap_err().check,
        "saml signature"
    );
}

#[test]
fn saml_22_oaep_and_gcm_and_nothing_older() {
    let sha256 = "<ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><xenc11:MGF xmlns:xenc11=\"http://www.w3.org/2009/xmlenc11#\" Algorithm=\"http://www.w3.org/2009/xmlenc11#mgf1sha256\"/>";
    let newer = Way {
        bits: 128,
        oaep: "http://www.w3.org/2009/xmlenc11#rsa-oaep",
        digest: MessageDigest::sha256(),
        inside: sha256,
        ..usual()
    };
    assert_eq!(opened(&response(Some(idp()), false, &newer)).unwrap().name.value, "jane");
    let old = Way { oaep: "http://www.w3.org/2001/04/xmlenc#rsa-1_5", padding: Padding::PKCS1, ..usual() };
    assert_eq!(opened(&response(Some(idp()), false, &old)).unwrap_err().check, "saml encryption");
    // The older padding under the newer name is opened by nothing.
    let lying = Way { padding: Padding::PKCS1, ..usual() };
    assert_eq!(opened(&response(Some(idp()), false, &lying)).unwrap_err().check, "saml encryption");
    let good = response(Some(idp()), false, &usual());
    for method in [
        "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
        "http://www.w3.org/2001/04/xmlenc#tripledes-cbc",
        "urn:x",
    ] {
        let xml = good.replace(&format!("{GCM}256-gcm"), method);
        assert_eq!(opened(&xml).unwrap_err().check, "saml encryption");
    }
}

#[test]
fn saml_23_every_failure_to_open_is_the_same_and_none_is_a_panic() {
    let good = response(Some(idp()), false, &usual());
    let values: Vec<&str> =
        good.split("<xenc:CipherValue>").skip(1).map(|it| it.split('<').next().unwrap()).collect();
    let mut words = std::collections::HashSet::new();
    for value in values {
        let bytes = STANDARD.decode(value).unwrap();
        let mut flipped = bytes.clone();
        flipped[20] ^= 1;
        for other in
            [&[][..], &[1], &bytes[..11], &bytes[..12], &bytes[..27], &bytes[..bytes.len() - 1], &flipped]
        {
            let refused = opened(&good.replace(value, &STANDARD.encode(other))).unwrap_err();
            assert_eq!(refused.check, "saml encryption");
            words.insert(refused.detail);
        }
    }
    // Encrypted for somebody else.
    let other = RsaKey::generate("other.example", 1, NOW).unwrap().1;
    let xml = around(&sealed_for(&other, &assertion(), &usual())).replace("[SIGR]", "");
    words.insert(opened(&xml).unwrap_err().detail);
    assert_eq!(words.len(), 1, "{words:?}");
    // Several keys while ours change.
    let new = RsaKey::generate("access.example", 2, NOW).unwrap().0;
    let keys = [new.expose(), &ours().0].map(|key| RsaKey::from_pkcs8(key).unwrap());
    let rolled = Expected { keys: Arc::new(keys.into()), ..expected() };
    assert!(verify(&encoded(&good), &rolled).is_ok());
}
