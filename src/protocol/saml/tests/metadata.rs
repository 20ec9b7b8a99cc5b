//! Metadata of both sides, the request, and what becomes of attributes.

use std::io::Read as _;

use super::*;
use crate::crypto::rsa::RsaKey;
use crate::domain::policy::Source as Written;
use crate::domain::provider::{
    Attributes, ClaimPath, ClientProof, Overage, Provider, Provision, ResponseMode,
};
use crate::domain::saml::{Description, Names, Saml, Source};
use crate::domain::{Hostname, Slug};
use crate::protocol::saml::{AuthnRequest, Ours, claims, description, redirect};

fn theirs(changes: &[(&str, &str)]) -> String {
    let key = |use_: &str, signer: &Signer| {
        format!(
            "<md:KeyDescriptor{use_}><ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data><ds:X509Certificate>\n{}\n\
             </ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
            STANDARD.encode(&signer.certificate)
        )
    };
    let text = format!(
        "<?xml version=\"1.0\"?><!-- of a provider --><md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         entityID=\"{IDP}\"><md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{}{}{}\
         <md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:SOAP\" Location=\"https://idp.example/soap\"/>\
         <md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example/sso\"/>\
         </md:IDPSSODescriptor></md:EntityDescriptor>",
        key(" use=\"signing\"", idp()),
        key("", stranger()),
        key(" use=\"encryption\"", stranger()),
    );
    replaced(&text, changes)
}

fn read(changes: &[(&str, &str)]) -> Result<Description, Refused> {
    description(theirs(changes).as_bytes(), None, NOW)
}

#[test]
fn saml_47_saml_48_saml_49_metadata_that_can_be_used_and_nothing_else() {
    let found = read(&[]).unwrap();
    assert_eq!((found.entity_id.as_str(), found.certificates.len()), (IDP, 2));
    assert_eq!(found.sso_redirect.as_deref(), Some("https://idp.example/sso"));
    assert!(found.wants_signed_requests);
    let mine = " entityID=";
    for bad in [
        ("<md:EntityDescriptor", "<!DOCTYPE x><md:EntityDescriptor"),
        ("https://idp.example/sso", "http://idp.example/sso"),
        ("https://idp.example/sso", "javascript:alert(1)"),
        ("https://idp.example/sso", "https://user@idp.example/sso"),
        (mine, &*format!(" validUntil=\"{}\" entityID=", at(-60))),
        (mine, " validUntil=\"soon\" entityID="),
        ("bindings:HTTP-Redirect", "bindings:Other"),
        ("IDPSSODescriptor", "SPSSODescriptor"),
    ] {
        let mut changes = vec![bad];
        if bad.0 == "IDPSSODescriptor" {
            changes.push(("</md:IDPSSODescriptor", "</md:SPSSODescriptor"));
        }
        assert!(read(&changes).is_err(), "{bad:?}");
    }
    let text = theirs(&[]);
    assert!(description(text.as_bytes(), Some(IDP), NOW).is_ok());
    assert!(description(text.as_bytes(), Some("https://other.example"), NOW).is_err());
    let large = text.replace("<!-- of", &format!("<!-- {} of", "x".repeat(1024 * 1024)));
    assert!(description(large.as_bytes(), None, NOW).is_err());
    let none = text
        .replace("use=\"signing\"", "use=\"encryption\"")
        .replace("<md:KeyDescriptor>", "<md:KeyDescriptor use=\"encryption\">");
    assert!(description(none.as_bytes(), None, NOW).unwrap_err().detail.contains("SAML-49"));
    let weak = STANDARD.encode(&Signer::rsa(1024).certificate);
    let weak = text
        .replace(&STANDARD.encode(&idp().certificate), &weak)
        .replace(&STANDARD.encode(&stranger().certificate), &weak);
    assert!(description(weak.as_bytes(), None, NOW).unwrap_err().detail.contains("1024"));
    let soon = read(&[(mine, &format!(" validUntil=\"{}\" entityID=", at(18000)))]).unwrap();
    assert_eq!(soon.valid_until, Some(NOW + Span::hours(5)));
}

#[test]
fn saml_47_our_metadata_names_one_address_for_posts() {
    let certificates = [idp().certificate.clone(), stranger().certificate.clone()];
    let ours = Ours {
        entity_id: SP,
        address: ACS,
        name_id: Some("urn:x"),
        signs: true,
        signing: &certificates,
        opening: &certificates[..1],
    };
    let text = ours.xml();
    let tree = roxmltree::Document::parse(&text).unwrap();
    let of = |name: &str| tree.descendants().filter(|it| it.tag_name().name() == name).collect::<Vec<_>>();
    assert_eq!(tree.root_element().attribute("entityID"), Some(SP));
    assert_eq!(of("SPSSODescriptor")[0].attribute("WantAssertionsSigned"), Some("true"));
    let [service] = of("AssertionConsumerService")[..] else { panic!("{text}") };
    let uses: Vec<_> = of("KeyDescriptor").iter().map(|it| it.attribute("use").unwrap()).collect();
    assert_eq!(uses, ["signing", "signing", "encryption"]);
    assert_eq!(service.attribute("Location"), Some(ACS));
    assert_eq!(service.attribute("Binding"), Some("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"));
}

#[test]
fn saml_46_saml_52_a_request_says_who_asks_for_what() {
    let contexts = ["urn:strong".to_owned()];
    let request = AuthnRequest {
        id: "_abc",
        issuer: SP,
        address: ACS,
        destination: "https://idp.example/sso?a=1&b=\"<",
        name_id: Some("urn:format"),
        anew: true,
        contexts: &contexts,
        now: NOW,
    };
    let xml = request.xml();
    let tree = roxmltree::Document::parse(&xml).unwrap();
    let root = tree.root_element();
    assert_eq!(root.attribute("ForceAuthn"), Some("true"));
    assert_eq!(root.attribute("Destination"), Some(request.destination));
    assert!(xml.contains("urn:strong") && xml.contains("urn:format"));
    for (to, starts) in [
        ("https://idp.example/sso", "https://idp.example/sso?SAMLRequest="),
        ("https://idp.example/sso?a=1", "https://idp.example/sso?a=1&SAMLRequest="),
        ("https://idp.example/sso?", "https://idp.example/sso?SAMLRequest="),
    ] {
        let address = redirect(to, &xml, "state+&=", None).unwrap();
        assert!(address.starts_with(starts), "{address}");
        let url = url::Url::parse(&address).unwrap();
        let pairs: std::collections::HashMap<_, _> = url.query_pairs().collect();
        assert_eq!(pairs["RelayState"], "state+&=");
        let packed = STANDARD.decode(&*pairs["SAMLRequest"]).unwrap();
        let mut read = String::new();
        flate2::read::DeflateDecoder::new(&packed[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, xml);
    }
}

fn by(subject: Option<&str>) -> (Provider, Saml) {
    let path = |text: &str| ClaimPath(text.into());
    let saml = Saml {
        source: Source::Address("https://idp.example/metadata".into()),
        want: Want::default(),
        name_id: None,
        names: Names {
            email: "email".into(),
            name: "name".into(),
            username: "preferred_username".into(),
            subject: subject.map(str::to_owned),
        },
        sign_requests: false,
        skew: Span::seconds(60),
    };
    let provider = Provider {
        source: Written("cardea.toml:1".into()),
        name: Slug::parse("corp").unwrap(),
        label: "Corp".into(),
        tenant: None,
        default_tenant: None,
        issuer: IDP.into(),
        client_id: SP.into(),
        client: ClientProof::Public,
        tls: std::sync::Arc::default(),
        scopes: Vec::new(),
        algorithms: Vec::new(),
        response_mode: ResponseMode::FormPost,
        domains: vec![Hostname::parse("acme.example").unwrap()],
        authoritative: true,
        provision: Provision::Create,
        attributes: Attributes {
            email: path("email"),
            name: path("name"),
            username: path("preferred_username"),
        },
        verified_claims: Vec::new(),
        rules: Vec::new(),
        trust_amr: vec!["mfa".into()],
        trust_acr: vec!["urn:strong".into()],
        acr_values: Vec::new(),
        max_age: None,
        overage: Overage::Refuse,
        sign_out: true,
        follow: None,
        saml: Some(saml.clone()),
    };
    (provider, saml)
}

fn attribute(name: &str, friendly: &str, values: &[&str]) -> String {
    let values: Vec<String> =
        values.iter().map(|it| format!("<saml:AttributeValue>{it}</saml:AttributeValue>")).collect();
    let values = values.concat();
    format!("<saml:Attribute Name=\"{name}\" FriendlyName=\"{friendly}\">{values}</saml:Attribute>")
}

#[test]
fn saml_50_attributes_are_literal_and_speak_for_nothing_of_ours() {
    let more: String = [
        attribute("amr", "a", &["mfa"]),
        attribute("acr", "b", &["urn:strong"]),
        attribute("email_verified", "c", &["true"]),
        attribute("sub", "d", &["root"]),
        attribute("urn:d", "displayName", &["J\u{e4}ne \u{1f600} O\u{2019}Neil"]),
        attribute("one", "twin", &["1"]),
        attribute("two", "twin", &["2"]),
    ]
    .concat();
    let groups: Vec<String> = (0..1_000).map(|n| format!("group {n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let more = format!("{more}{}", attribute("memberOf", "e", &groups));
    let xml =
        made(How::Assertion, &[("<saml:AttributeStatement>", &format!("<saml:AttributeStatement>{more}"))]);
    let (provider, saml) = by(None);
    let (subject, found) = claims(&provider, &saml, &welcome(&xml)).unwrap();
    assert_eq!(subject, "persistent:jane");
    assert!(!provider.trusts_second(&found), "{found:?}");
    assert_eq!(found["email"], "jane@acme.example");
    assert_eq!(found["email_verified"], true);
    assert_eq!(found["mail"], "jane@acme.example");
    assert_eq!(found["name"], "J\u{e4}ne \u{1f600} O\u{2019}Neil");
    assert_eq!(found["groups"], serde_json::json!(["staff", "fin-analysts"]));
    assert_eq!(found["memberOf"].as_array().unwrap().len(), 1_000);
    assert!(!found.contains_key("sub") && !found.contains_key("amr") && !found.contains_key("twin"));
    // An address elsewhere is nobody's word.
    let other = made(How::Assertion, &[("jane@acme.example", "jane@other.example")]);
    let (_, found) = claims(&provider, &saml, &welcome(&other)).unwrap();
    assert_eq!(found["email_verified"], false);
}

#[test]
fn saml_51_nobody_is_somebody_else_by_another_kind_of_name() {
    let (provider, saml) = by(None);
    let format = "Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\"";
    let mut seen = std::collections::HashSet::new();
    let subject = |to: &str| {
        let verified = welcome(&made(How::Assertion, &[(format, to)]));
        claims(&provider, &saml, &verified).map(|(subject, _)| subject)
    };
    for to in [
        format.to_owned(),
        String::new(),
        "Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress\"".to_owned(),
        "Format=\"urn:other\"".to_owned(),
        "Format=\"persistent:\"".to_owned(),
        format!("{format} NameQualifier=\"https://other.example\""),
        format!("{format} SPNameQualifier=\"https://other.example\""),
        format!("{format} NameQualifier=\"a,b\""),
        format!("{format} NameQualifier=\"a\" SPNameQualifier=\"b\""),
    ] {
        assert!(seen.insert(subject(&to).unwrap()), "{to}");
    }
    // Written out it is the same name.
    let same = subject(&format!("{format} NameQualifier=\"{IDP}\" SPNameQualifier=\"{SP}\"")).unwrap();
    assert_eq!(same, "persistent:jane");
    let transient = subject("Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:transient\"").unwrap_err();
    assert!(transient.detail.contains("transient"), "{transient}");
}

#[test]
fn saml_37_saml_51_people_may_be_known_by_an_attribute() {
    let (provider, saml) = by(Some("mail"));
    let (subject, _) = claims(&provider, &saml, &welcome(&made(How::Assertion, &[]))).unwrap();
    assert_eq!(subject, "attribute:jane@acme.example");
    let (provider, saml) = by(Some("groups"));
    assert!(claims(&provider, &saml, &welcome(&made(How::Assertion, &[]))).is_err());
    let (provider, saml) = by(Some("missing"));
    assert!(claims(&provider, &saml, &welcome(&made(How::Assertion, &[]))).is_err());
}

#[test]
fn saml_46_a_signature_is_over_our_own_parameters_also_where_the_address_has_a_query() {
    let (secret, certificate) = RsaKey::generate("access.example", 1, NOW).unwrap();
    let key = RsaKey::from_pkcs8(secret.expose()).unwrap();
    let public = X509::from_der(&certificate).unwrap().public_key().unwrap();
    for to in ["https://idp.example/sso", "https://idp.example/sso?tenant=a"] {
        let address = redirect(to, "<a/>", "state+&=", Some(&key)).unwrap();
        let (signed, signature) = address.split_once("&Signature=").unwrap();
        let signed = &signed[signed.find("SAMLRequest=").unwrap()..];
        let signature =
            form_urlencoded::parse(format!("s={signature}").as_bytes()).next().unwrap().1.into_owned();
        let signature = STANDARD.decode(signature).unwrap();
        let mut verifier = openssl::sign::Verifier::new(MessageDigest::sha256(), &public).unwrap();
        assert!(verifier.verify_oneshot(&signature, signed.as_bytes()).unwrap(), "{address}");
        assert!(signed.contains("&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256"));
    }
}
