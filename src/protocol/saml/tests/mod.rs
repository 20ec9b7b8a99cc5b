//! A provider of the tests' own, which signs whatever it is told to.

mod encrypted;
mod entries;
mod metadata;
mod moves;

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use samael::crypto::{Crypto, CryptoProvider as _};

use super::response::{Expected, Verified, verify};
use crate::crypto::signer;
use crate::domain::saml::{Certificate, Want};
use crate::domain::{Span, Timestamp};
use crate::protocol::oidc::Refused;

pub(super) const IDP: &str = "https://idp.example/metadata";
pub(super) const SP: &str = "https://access.example/auth/saml/corp/metadata";
pub(super) const ACS: &str = "https://access.example/auth/sso-callback/corp";
pub(super) const REQUEST: &str = "_0123456789abcdef";
pub(super) const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub(super) const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Assertion,
    Response,
    Both,
    Nothing,
}

pub(super) struct Signer {
    pub(super) der: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

impl Signer {
    pub(super) fn of(key: &PKey<Private>) -> Self {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "idp.example").unwrap();
        let name = name.build();
        let mut built = X509::builder().unwrap();
        built.set_version(2).unwrap();
        built.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        built.set_subject_name(&name).unwrap();
        built.set_issuer_name(&name).unwrap();
        built.set_pubkey(key).unwrap();
        built.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        built.set_not_after(&Asn1Time::days_from_now(3650).unwrap()).unwrap();
        built.sign(key, MessageDigest::sha256()).unwrap();
        Self { der: key.private_key_to_der().unwrap(), certificate: built.build().to_der().unwrap() }
    }

    pub(super) fn rsa(bits: u32) -> Self {
        Self::of(&PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap())
    }

    pub(super) fn ec() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        Self::of(&PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
    }

    pub(super) fn pinned(&self) -> Certificate {
        signer::judged(self.certificate.clone()).unwrap()
    }
}

/// The provider's key; making one takes a while.
pub(super) fn idp() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::rsa(2048))
}

pub(super) fn stranger() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::rsa(2048))
}

pub(super) fn expected() -> Expected {
    Expected {
        issuer: IDP.into(),
        audience: SP.into(),
        address: ACS.into(),
        request: REQUEST.into(),
        certificates: vec![idp().pinned()],
        keys: std::sync::Arc::default(),
        want: Want::default(),
        contexts: Vec::new(),
        max_age: None,
        skew: Span::seconds(60),
        now: NOW,
    }
}

/// So many seconds from now, as XML writes it.
pub(super) fn at(seconds: i64) -> String {
    super::request::written(Timestamp::from_millis(NOW.millis() + seconds * 1000))
}

fn template(id: &str, method: &str) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>\
         <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/>\
         <ds:SignatureMethod Algorithm=\"{method}\"/><ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
         <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{SHA256}\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>\
         <ds:SignatureValue/></ds:Signature>"
    )
}

/// The assertion before anything is signed; `[SIGA]` is where its signature goes.
pub(super) fn assertion() -> String {
    let (now, later) = (at(0), at(300));
    format!(
        "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_a1\" Version=\"2.0\" IssueInstant=\"{now}\">\
         <saml:Issuer>{IDP}</saml:Issuer>[SIGA]<saml:Subject>\
         <saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">jane</saml:NameID>\
         <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
         <saml:SubjectConfirmationData NotOnOrAfter=\"{later}\" Recipient=\"{ACS}\" InResponseTo=\"{REQUEST}\"/>\
         </saml:SubjectConfirmation></saml:Subject>\
         <saml:Conditions NotBefore=\"{now}\" NotOnOrAfter=\"{later}\"><saml:AudienceRestriction>\
         <saml:Audience>{SP}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
         <saml:AuthnStatement AuthnInstant=\"{now}\" SessionIndex=\"s1\"><saml:AuthnContext><saml:AuthnContextClassRef>\
         urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext>\
         </saml:AuthnStatement><saml:AttributeStatement>\
         <saml:Attribute Name=\"urn:oid:0.9.2342.19200300.100.1.3\" FriendlyName=\"mail\">\
         <saml:AttributeValue>jane@acme.example</saml:AttributeValue></saml:Attribute>\
         <saml:Attribute Name=\"groups\"><saml:AttributeValue>staff</saml:AttributeValue>\
         <saml:AttributeValue>fin-analysts</saml:AttributeValue></saml:Attribute>\
         </saml:AttributeStatement></saml:Assertion>"
    )
}

/// The response around it.
pub(super) fn around(assertion: &str) -> String {
    let now = at(0);
    format!(
        "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
         xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_r1\" Version=\"2.0\" IssueInstant=\"{now}\" \
         Destination=\"{ACS}\" InResponseTo=\"{REQUEST}\"><saml:Issuer>{IDP}</saml:Issuer>[SIGR]\
         <samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>\
         {assertion}</samlp:Response>"
    )
}

fn sign(xml: &str, signer: &Signer) -> String {
    let signed = Crypto::sign_xml(xml, &signer.der).unwrap();
    let body = signed.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap_or(&signed);
    body.trim().to_owned()
}

pub(super) fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1)
    })
}

/// Signs assertion and envelope as they are.
pub(super) fn sealed(
    assertion: &str,
    around: &dyn Fn(&str) -> String,
    how: How,
    signer: &Signer,
    method: &str,
) -> String {
    let own = matches!(how, How::Assertion | How::Both);
    let assertion = if own {
        sign(&assertion.replace("[SIGA]", &template("_a1", method)), signer)
    } else {
        assertion.replace("[SIGA]", "")
    };
    let whole = around(&assertion);
    match how {
        // The first signature in the document is the one that is made, and the response's stands first.
        How::Response | How::Both => sign(&whole.replace("[SIGR]", &template("_r1", method)), signer),
        How::Assertion | How::Nothing => whole.replace("[SIGR]", ""),
    }
}

/// A response in which these things were different before it was signed.
pub(super) fn made(how: How, changes: &[(&str, &str)]) -> String {
    let (mut inside, mut outside) = (assertion(), around("[INSIDE]"));
    for (from, to) in changes {
        let place = if inside.contains(from) { &mut inside } else { &mut outside };
        *place = replaced(place, &[(from, to)]);
    }
    sealed(&inside, &|assertion| outside.replace("[INSIDE]", assertion), how, idp(), RSA_SHA256)
}

pub(super) fn encoded(xml: &str) -> String {
    STANDARD.encode(xml)
}

pub(super) fn taken(xml: &str) -> Result<Verified, Refused> {
    verify(&encoded(xml), &expected())
}

#[track_caller]
pub(super) fn refused(xml: &str, check: &str) {
    match taken(xml) {
        Ok(verified) => panic!("taken as {:?}: {xml}", verified.name),
        Err(refused) => assert_eq!(refused.check, check, "{} in {xml}", refused.detail),
    }
}

#[track_caller]
pub(super) fn welcome(xml: &str) -> Verified {
    taken(xml).unwrap_or_else(|refused| panic!("{refused}: {xml}"))
}
