//! A SAML provider that lies when it is told to.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::extract::{Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardea::sys::{Clock as _, SystemClock};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use samael::crypto::{Crypto, CryptoProvider as _};

/// A key with its certificate.
pub(crate) struct Signer {
    der: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "saml.localhost").unwrap();
        let name = name.build();
        let mut built = X509::builder().unwrap();
        built.set_version(2).unwrap();
        built.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        built.set_subject_name(&name).unwrap();
        built.set_issuer_name(&name).unwrap();
        built.set_pubkey(&key).unwrap();
        built.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        built.set_not_after(&Asn1Time::days_from_now(3650).unwrap()).unwrap();
        built.sign(&key, MessageDigest::sha256()).unwrap();
        Self { der: key.private_key_to_der().unwrap(), certificate: built.build().to_der().unwrap() }
    }

    /// Key and certificate, as PEM.
    pub(crate) fn pem(&self) -> (Vec<u8>, Vec<u8>) {
        let key = PKey::private_key_from_der(&self.der).unwrap();
        let certificate = X509::from_der(&self.certificate).unwrap();
        (key.private_key_to_pem_pkcs8().unwrap(), certificate.to_pem().unwrap())
    }
}

/// Two keys for all tests: making one takes a while.
pub(crate) fn keys() -> &'static [Signer; 2] {
    static KEYS: OnceLock<[Signer; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [Signer::new(), Signer::new()])
}

/// What is said, and what of it is wrong.
#[derive(Clone)]
pub(crate) struct Script {
    /// The whole `NameID`.
    pub(crate) name_id: String,
    pub(crate) attributes: Vec<(String, Vec<String>)>,
    /// Replaced before it is signed.
    pub(crate) before: Vec<(String, String)>,
    /// Replaced after.
    pub(crate) after: Vec<(String, String)>,
    pub(crate) signs_response: bool,
    pub(crate) signs_assertion: bool,
    /// Which of the keys signs.
    pub(crate) signer: usize,
    /// Which are published.
    pub(crate) published: Vec<usize>,
    /// Fields of the form besides.
    pub(crate) relay_state: Option<String>,
    /// Replaced in the metadata.
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) away: bool,
}

/// The provider, running.
#[derive(Clone)]
pub(crate) struct Idp {
    pub(crate) port: u16,
    pub(crate) entity_id: String,
    pub(crate) script: Arc<Mutex<Script>>,
    /// Requests, as XML.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// The same as they came.
    pub(crate) queries: Arc<Mutex<Vec<String>>>,
    pub(crate) fetched: Arc<Mutex<usize>>,
    clock: Arc<SystemClock>,
}

impl Idp {
    pub(crate) async fn open(clock: Arc<SystemClock>) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let one = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let script = Script {
            name_id: "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">p-4711</saml:NameID>"
                .to_owned(),
            attributes: vec![
                one("urn:oid:0.9.2342.19200300.100.1.3", "jane@acme.example"),
                one("displayName", "Jane Doe"),
                one("uid", "jane"),
                one("groups", "fin-analysts"),
            ],
            before: Vec::new(),
            after: Vec::new(),
            signs_response: false,
            signs_assertion: true,
            signer: 0,
            published: vec![0],
            relay_state: None,
            metadata: Vec::new(),
            away: false,
        };
        let idp = Self {
            port,
            entity_id: format!("http://saml.localhost:{port}/metadata"),
            script: Arc::new(Mutex::new(script)),
            requests: Arc::default(),
            queries: Arc::default(),
            fetched: Arc::default(),
            clock,
        };
        let router =
            Router::new().route("/metadata", get(metadata)).route("/sso", get(sso)).with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        idp
    }

    pub(crate) fn says(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn moment(&self, minutes: i64) -> String {
        let at = self.clock.now().millis() + minutes * 60_000;
        chrono::DateTime::from_timestamp_millis(at)
            .unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    /// A response, signed as the script says.
    pub(crate) fn response(&self, acs: &str, audience: &str, request: &str) -> String {
        let script = self.script.lock().unwrap().clone();
        let (now, later, unique) = (self.moment(0), self.moment(5), uuid::Uuid::now_v7().simple());
        let Self { entity_id, .. } = self;
        let mut attributes = String::new();
        for (name, values) in &script.attributes {
            write!(attributes, "<saml:Attribute Name=\"{name}\">").unwrap();
            for value in values {
                write!(attributes, "<saml:AttributeValue>{value}</saml:AttributeValue>").unwrap();
            }
            attributes.push_str("</saml:Attribute>");
        }
        let change = |text: String, changes: &[(String, String)]| {
            changes.iter().fold(text, |text, (from, to)| text.replace(from, to))
        };
        let assertion = format!(
            "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_a{unique}\" Version=\"2.0\" \
             IssueInstant=\"{now}\"><saml:Issuer>{entity_id}</saml:Issuer>[SIGA]<saml:Subject>{}\
             <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><saml:SubjectConfirmationData \
             NotOnOrAfter=\"{later}\" Recipient=\"{acs}\" InResponseTo=\"{request}\"/></saml:SubjectConfirmation></saml:Subject>\
             <saml:Conditions NotBefore=\"{now}\" NotOnOrAfter=\"{later}\"><saml:AudienceRestriction><saml:Audience>{audience}\
             </saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant=\"{now}\" \
             SessionIndex=\"s1\"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password\
             </saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>{attributes}\
             </saml:AttributeStatement></saml:Assertion>",
            script.name_id
        );
        let mut assertion = change(assertion, &script.before);
        let signer = &keys()[script.signer];
        if script.signs_assertion {
            assertion = sign(&assertion.replace("[SIGA]", &template(&format!("_a{unique}"))), signer);
        }
        let response = format!(
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
             xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_r{unique}\" Version=\"2.0\" IssueInstant=\"{now}\" \
             Destination=\"{acs}\" InResponseTo=\"{request}\"><saml:Issuer>{entity_id}</saml:Issuer>[SIGR]<samlp:Status>\
             <samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>{}</samlp:Response>",
            assertion.replace("[SIGA]", "")
        );
        let mut response = response;
        if script.signs_response {
            response = sign(&response.replace("[SIGR]", &template(&format!("_r{unique}"))), signer);
        }
        change(response.replace("[SIGR]", ""), &script.after)
    }
}

fn template(id: &str) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>\
         <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/>\
         <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"/><ds:Reference URI=\"#{id}\">\
         <ds:Transforms><ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
         <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>\
         <ds:SignatureValue/></ds:Signature>"
    )
}

fn sign(xml: &str, signer: &Signer) -> String {
    let signed = Crypto::sign_xml(xml, &signer.der).unwrap();
    signed.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap_or(&signed).trim().to_owned()
}

/// A form as a page would post it by itself.
pub(crate) fn page(acs: &str, response: &str, relay_state: &str) -> String {
    format!(
        "<h1>Back</h1><form method=post action=\"{acs}\"><input type=hidden name=SAMLResponse value=\"{}\">\
         <input type=hidden name=RelayState value=\"{relay_state}\"></form>",
        STANDARD.encode(response)
    )
}

async fn metadata(State(idp): State<Idp>) -> Response {
    *idp.fetched.lock().unwrap() += 1;
    let script = idp.script.lock().unwrap().clone();
    if script.away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut certificates = String::new();
    for at in &script.published {
        write!(
            certificates,
            "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data>\
             </ds:KeyInfo></md:KeyDescriptor>",
            STANDARD.encode(&keys()[*at].certificate)
        )
        .unwrap();
    }
    let text = format!(
        "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" entityID=\"{}\"><md:IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{certificates}<md:SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"http://saml.localhost:{}/sso?tenant=a\"/>\
         </md:IDPSSODescriptor></md:EntityDescriptor>",
        idp.entity_id, idp.port
    );
    let text = script.metadata.iter().fold(text, |text, (from, to)| text.replace(from, to));
    ([(header::CONTENT_TYPE, "application/samlmetadata+xml")], text).into_response()
}

async fn sso(
    State(idp): State<Idp>,
    RawQuery(query): RawQuery,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    idp.queries.lock().unwrap().push(query.unwrap_or_default());
    let packed = STANDARD.decode(&asked["SAMLRequest"]).unwrap();
    let mut request = String::new();
    flate2::read::DeflateDecoder::new(&packed[..]).read_to_string(&mut request).unwrap();
    assert_eq!(asked["tenant"], "a");
    idp.requests.lock().unwrap().push(request.clone());
    let tree = roxmltree::Document::parse(&request).unwrap();
    let root = tree.root_element();
    let acs = root.attribute("AssertionConsumerServiceURL").unwrap();
    let issuer = root.children().find(|it| it.tag_name().name() == "Issuer").unwrap().text().unwrap();
    let response = idp.response(acs, issuer, root.attribute("ID").unwrap());
    let relay_state = idp.script.lock().unwrap().relay_state.clone();
    Html(page(acs, &response, &relay_state.unwrap_or_else(|| asked["RelayState"].clone()))).into_response()
}
