//! One case or more for each entry of the catalogue that a response by itself can show.

use super::*;

const EXC: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const EITHER: [How; 2] = [How::Assertion, How::Response];

/// A change after the signatures were made.
fn after(how: How, changes: &[(&str, &str)]) -> String {
    replaced(&made(how, &[]), changes)
}

#[test]
fn saml_01_what_a_configured_certificate_signed_is_taken_and_nothing_unsigned() {
    for how in [How::Assertion, How::Response, How::Both] {
        let verified = welcome(&made(how, &[]));
        assert_eq!(verified.name.value, "jane", "{how:?}");
        assert_eq!(verified.session_index.as_deref(), Some("s1"));
        assert_eq!(verified.ids, ["_r1", "_a1"]);
    }
    refused(&made(How::Nothing, &[]), "saml signature");
    let empty = "</saml:Issuer><ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>";
    refused(&made(How::Nothing, &[]).replacen("</saml:Issuer>", empty, 1), "saml signature");
    for (method, signer) in [
        (RSA_SHA256.replace("256", "512"), Signer::rsa(3072)),
        (RSA_SHA256.replace("rsa-", "ecdsa-"), Signer::ec()),
    ] {
        let xml = sealed(&assertion(), &around, How::Assertion, &signer, &method);
        let expected = Expected { certificates: vec![signer.pinned()], ..expected() };
        assert_eq!(verify(&encoded(&xml), &expected).unwrap().name.value, "jane", "{method}");
    }
    // Without a certificate in it, with other prefixes, with a list of prefixes.
    let (inside, outside) = (assertion(), around("[INSIDE]"));
    let other = |text: &str| {
        let text = text.replace("xmlns:samlp", "xmlns:b").replace("samlp:", "b:");
        text.replace("xmlns:saml", "xmlns:a").replace("saml:", "a:")
    };
    let xml = sealed(
        &other(&inside),
        &|it| other(&outside).replace("[INSIDE]", it),
        How::Assertion,
        idp(),
        RSA_SHA256,
    );
    assert_eq!(welcome(&xml).name.value, "jane");
    let wanted = |want: Want, how| {
        let expected = Expected { want, ..expected() };
        verify(&encoded(&made(how, &[])), &expected).map_err(|refused| refused.check)
    };
    let response = Want { signed_response: true, ..Want::default() };
    let assertion = Want { signed_assertion: true, ..Want::default() };
    assert_eq!(wanted(response, How::Assertion).unwrap_err(), "saml signature");
    assert_eq!(wanted(assertion, How::Response).unwrap_err(), "saml signature");
    assert!(wanted(response, How::Response).is_ok() && wanted(assertion, How::Both).is_ok());
}

#[test]
fn saml_02_a_change_of_what_was_signed_is_noticed() {
    for how in EITHER {
        for change in [
            (">jane<", ">admin<"),
            (">staff<", ">root<"),
            ("jane@acme.example", "boss@acme.example"),
            ("SessionIndex=\"s1\"", "SessionIndex=\"s2\""),
            ("Name=\"groups\"", "Name=\"roles\""),
        ] {
            refused(&after(how, &[change]), "saml signature");
        }
        let good = made(how, &[]);
        let value = good.split_once("<ds:SignatureValue>").unwrap().1.split_once('<').unwrap().0;
        let other = value.replacen(&value[..4], if value.starts_with("AAAA") { "BBBB" } else { "AAAA" }, 1);
        refused(&good.replace(value, &other), "saml signature");
    }
}

#[test]
fn saml_03_keys_come_from_the_configuration_alone() {
    let by_stranger = sealed(&assertion(), &around, How::Assertion, stranger(), RSA_SHA256);
    refused(&by_stranger, "saml signature");
    for certificate in [&stranger().certificate, &idp().certificate] {
        let info = format!(
            "</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>",
            STANDARD.encode(certificate)
        );
        refused(&by_stranger.replace("</ds:SignatureValue>", &info), "saml signature");
        // On a good one it is a hint, and no more.
        let good = made(How::Assertion, &[]).replace("</ds:SignatureValue>", &info);
        assert_eq!(welcome(&good).name.value, "jane");
    }
    let value = "</ds:SignatureValue><ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue></ds:KeyInfo>";
    refused(&by_stranger.replace("</ds:SignatureValue>", value), "saml signature");
}

#[test]
fn saml_05_saml_06_no_mac_no_weak_digest_no_weak_key() {
    for weak in [
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
        "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
        "urn:unknown",
        "",
    ] {
        refused(&after(How::Assertion, &[(RSA_SHA256, weak)]), "saml algorithm");
    }
    for weak in ["http://www.w3.org/2000/09/xmldsig#sha1", "http://www.w3.org/2001/04/xmldsig-more#md5"] {
        refused(&after(How::Assertion, &[(SHA256, weak)]), "saml algorithm");
    }
    // Truly made with SHA-1, and right in itself.
    let old = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
    refused(&sealed(&assertion(), &around, How::Assertion, idp(), old), "saml algorithm");
    let cut = (
        RSA_SHA256,
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256\"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod><ds:SignatureMethod Algorithm=\"x",
    );
    refused(&after(How::Assertion, &[cut]), "saml signature");
    let short = signer::judged(Signer::rsa(1024).certificate);
    assert_eq!(short.unwrap_err(), signer::BadSigner::Weak(1024));
}

#[test]
fn saml_07_saml_08_the_two_transforms_and_no_other() {
    let enveloped = "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>";
    let exclusive = format!("<ds:Transform Algorithm=\"{EXC}\"/>");
    let with = |list: &str| after(How::Assertion, &[(&format!("{enveloped}{exclusive}"), list)]);
    let transform = |algorithm: &str, inside: &str| {
        format!("<ds:Transform Algorithm=\"{algorithm}\">{inside}</ds:Transform>")
    };
    let xpath = transform(
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "<ds:XPath>not(ancestor-or-self::*[local-name()='Subject'])</ds:XPath>",
    );
    let xslt = transform(
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "<xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" version=\"1.0\"><xsl:template match=\"/\"><xsl:copy-of select=\"document('http://127.0.0.1:9/')\"/></xsl:template></xsl:stylesheet>",
    );
    let base64 = transform("http://www.w3.org/2000/09/xmldsig#base64", "");
    let inclusive = transform("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "");
    for list in [
        String::new(),
        enveloped.to_owned(),
        exclusive.clone(),
        format!("{exclusive}{enveloped}"),
        format!("{enveloped}{exclusive}{exclusive}"),
        format!("{enveloped}{}", exclusive.repeat(2_000)),
        format!("{enveloped}{xpath}"),
        format!("{xslt}{exclusive}"),
        format!("{enveloped}{exclusive}{xslt}"),
        format!("{enveloped}{base64}"),
        format!("{enveloped}{inclusive}"),
    ] {
        refused(&with(&list), "saml signature");
    }
    let canonical = format!("<ds:CanonicalizationMethod Algorithm=\"{EXC}\"/>");
    let comments = canonical.replace("#\"", "#WithComments\"");
    refused(&after(How::Assertion, &[(&canonical, &comments)]), "saml signature");
}

#[test]
fn saml_09_saml_10_one_reference_to_the_parent_and_nothing_to_fetch() {
    for target in [
        "",
        "#_r1",
        "#",
        "#_a2",
        "#xpointer(/)",
        "#xpointer(id('_a1'))",
        "http://127.0.0.1:9/a",
        "file:///etc/passwd",
        "/etc/passwd",
    ] {
        refused(&after(How::Assertion, &[("URI=\"#_a1\"", &format!("URI=\"{target}\""))]), "saml signature");
    }
    refused(&after(How::Assertion, &[(" URI=\"#_a1\"", "")]), "saml signature");
    refused(
        &after(
            How::Assertion,
            &[(" URI=\"#_a1\"", " URI=\"#_a1\" Type=\"http://www.w3.org/2000/09/xmldsig#Manifest\"")],
        ),
        "saml signature",
    );
    let good = made(How::Assertion, &[]);
    let (_, rest) = good.split_once("<ds:Reference").unwrap();
    let reference = format!("<ds:Reference{}</ds:Reference>", rest.split_once("</ds:Reference>").unwrap().0);
    refused(&good.replace(&reference, &reference.repeat(2)), "saml signature");
    refused(&good.replace(&reference, ""), "saml signature");
    for away in [
        "<ds:RetrievalMethod URI=\"http://127.0.0.1:9/key\"/>",
        "<ds:X509Data/><ds:RetrievalMethod URI=\"file:///etc/passwd\"/>",
        "<dsig11:KeyInfoReference xmlns:dsig11=\"http://www.w3.org/2009/xmldsig11#\" URI=\"http://127.0.0.1:9/\"/>",
    ] {
        let info = format!("</ds:SignatureValue><ds:KeyInfo>{away}</ds:KeyInfo>");
        refused(&good.replace("</ds:SignatureValue>", &info), "saml signature");
    }
}

#[test]
fn saml_11_saml_14_ids_are_unique_and_written_in_one_way() {
    for how in EITHER {
        refused(&after(how, &[("<samlp:Status>", "<samlp:Status ID=\"_a1\">")]), "saml shape");
        for odd in
            ["xml:id=\"_a1\"", "Id=\"_x\"", "id=\"_x\"", "saml:ID=\"_x\"", "xml:id=\"_x\"", "iD=\"_x\""]
        {
            refused(&after(how, &[("<samlp:Status>", &format!("<samlp:Status {odd}>"))]), "saml shape");
        }
        refused(&after(how, &[("<samlp:Status>", "<samlp:Status ID=\"not a name\">")]), "saml shape");
        // The same element with the id twice is no XML at all.
        refused(&after(how, &[("ID=\"_r1\"", "ID=\"_r1\" ID=\"_r2\"")]), "saml xml");
    }
    let look_alike =
        made(How::Assertion, &[]).replace("names:tc:SAML:2.0:protocol", "names:tc:SAML:2.0:protocoI");
    refused(&look_alike, "saml shape");
}

#[test]
fn saml_12_the_parts_of_a_signature_are_there_once() {
    let good = made(How::Assertion, &[]);
    let part = |name: &str| {
        let rest = good.split_once(&format!("<ds:{name}>")).unwrap().1;
        format!("<ds:{name}>{}</ds:{name}>", rest.split_once(&format!("</ds:{name}>")).unwrap().0)
    };
    for name in ["SignedInfo", "DigestValue", "SignatureValue"] {
        let once = part(name);
        refused(&good.replace(&once, &once.repeat(2)), "saml signature");
    }
    refused(&good.replace("<ds:DigestValue>", "<ds:DigestValue><!-- x -->"), "saml xml");
    refused(&good.replace("<ds:DigestValue>", "<ds:DigestValue><a xmlns=\"urn:x\"/>"), "saml signature");
    refused(&good.replace("</ds:Signature>", "<ds:Object>x</ds:Object></ds:Signature>"), "saml signature");
    refused(&good.replace("<ds:SignedInfo>", "<ds:SignedInfo Id=\"_s\">"), "saml signature");
    let whole = format!(
        "<ds:Signature xmlns{}</ds:Signature>",
        good.split_once("<ds:Signature xmlns").unwrap().1.split_once("</ds:Signature>").unwrap().0
    );
    refused(&good.replace(&whole, &whole.repeat(2)), "saml shape");
}

#[test]
fn saml_13_a_namespace_that_breaks_canonicalisation_is_refused() {
    for how in EITHER {
        refused(&after(how, &[("<samlp:Status>", "<samlp:Status xmlns:v=\"1\">")]), "saml xml");
        refused(&after(how, &[("<ds:SignedInfo>", "<ds:SignedInfo xmlns:v=\"relative/uri\">")]), "saml xml");
    }
}

#[test]
fn saml_15_saml_16_saml_18_saml_19_nothing_but_plain_utf_8_elements_and_text() {
    let good = made(How::Assertion, &[]);
    for doctype in [
        "<!DOCTYPE a>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE a SYSTEM \"http://127.0.0.1:9/\">",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM \"http://127.0.0.1:9/\"> %p;]>",
        "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;\">]>",
        "<?xml-stylesheet href=\"http://127.0.0.1:9/\"?>",
        "<!-- before -->",
    ] {
        refused(&format!("{doctype}{good}"), "saml xml");
        refused(&format!("{good}{doctype}"), "saml xml");
    }
    for inside in ["jane<!-- -->.evil", "<![CDATA[admin]]>", "jane<?x?>", "&unknown;", "&#0;"] {
        refused(&good.replace(">jane<", &format!(">{inside}<")), "saml xml");
    }
    // An element in a name, truly signed: the whole or nothing.
    refused(&made(How::Assertion, &[(">jane<", ">jane<x xmlns=\"urn:x\"/>.evil<")]), "saml subject");
    for declared in [
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-7\"?>",
        "<?xml version=\"1.1\"?>",
    ] {
        refused(&format!("{declared}{good}"), "saml xml");
    }
    assert_eq!(welcome(&format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{good}")).name.value, "jane");
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(verify(&STANDARD.encode(wide), &expected()).unwrap_err().check, "saml xml");
    refused(&format!("{good}<a/>"), "saml xml");
    refused(&format!("{good} text"), "saml xml");
    refused(&good[..good.len() - 3], "saml xml");
}

#[test]
fn saml_17_what_the_c_library_signed_over_is_what_is_read() {
    // Spaces and entities in what is signed: the value is what the canonical bytes say, trimmed and whole.
    let odd = made(How::Assertion, &[(">jane<", ">\n jane &amp; john &lt;x&gt; \u{e9}\n<")]);
    assert_eq!(welcome(&odd).name.value, "jane & john <x> \u{e9}");
}

#[test]
fn saml_20_large_deep_and_many_are_refused_at_once() {
    let good = made(How::Assertion, &[]);
    let fill = |what: String| {
        good.replace("<samlp:Status>", &format!("<samlp:Extensions>{what}</samlp:Extensions><samlp:Status>"))
    };
    refused(&fill("a".repeat(200 * 1024)), "saml encoding");
    assert_eq!(welcome(&fill("a".repeat(180 * 1024))).name.value, "jane");
    refused(&fill(format!("{}{}", "<a>".repeat(60), "</a>".repeat(60))), "saml xml");
    refused(&fill("<a/>".repeat(6_000)), "saml xml");
    let attributes: Vec<String> = (0..40).map(|n| format!(" a{n}=\"\"")).collect();
    let attributes = attributes.concat();
    refused(&fill(format!("<a{attributes}/>")), "saml xml");
    let enormous = "A".repeat(6 * 1024 * 1024);
    assert_eq!(verify(&enormous, &expected()).unwrap_err().check, "saml encoding");
    // Packed as requests in addresses are: here it is no XML.
    assert!(verify("7VxZk6JIEH7vX0G4jx", &expected()).is_err());
    let signature = format!(
        "<ds:Signature xmlns{}</ds:Signature>",
        good.split_once("<ds:Signature xmlns").unwrap().1.split_once("</ds:Signature>").unwrap().0
    );
    assert!(taken(&fill(signature.repeat(100))).is_err());
}

#[test]
fn saml_24_saml_44_for_us_in_every_restriction_and_no_condition_that_is_not_understood() {
    let audience = format!("<saml:Audience>{SP}</saml:Audience>");
    let restriction = format!("<saml:AudienceRestriction>{audience}</saml:AudienceRestriction>");
    for how in EITHER {
        let with = |to: &str| made(how, &[(&restriction, to)]);
        refused(&with(""), "saml audience");
        refused(&with("<saml:AudienceRestriction></saml:AudienceRestriction>"), "saml audience");
        for other in [
            "https://other.example".to_owned(),
            format!("{SP}/"),
            SP.to_uppercase(),
            SP[..SP.len() - 1].to_owned(),
        ] {
            refused(&with(&restriction.replace(SP, &other)), "saml audience");
            // All restrictions must hold, not one of them.
            refused(&with(&format!("{restriction}{}", restriction.replace(SP, &other))), "saml audience");
        }
        // Of the audiences in one, any.
        let two = restriction
            .replace(&audience, &format!("<saml:Audience>https://other.example</saml:Audience>{audience}"));
        assert_eq!(welcome(&with(&two)).name.value, "jane");
        assert_eq!(welcome(&with(&format!("{restriction}<saml:OneTimeUse/>"))).name.value, "jane");
        refused(&with(&format!("{restriction}<saml:Condition/>")), "saml conditions");
        refused(&with(&format!("{restriction}<x:Odd xmlns:x=\"urn:x\"/>")), "saml conditions");
    }
    let all = assertion();
    let conditions = format!(
        "<saml:Conditions{}</saml:Conditions>",
        all.split_once("<saml:Conditions").unwrap().1.split_once("</saml:Conditions>").unwrap().0
    );
    refused(&made(How::Assertion, &[(&conditions, "")]), "saml conditions");
}

#[test]
fn saml_25_saml_26_for_this_address_exactly() {
    for how in EITHER {
        for other in ["https://evil.example/acs", &format!("{ACS}/"), &format!("{ACS}2")] {
            let to = format!("Recipient=\"{other}\"");
            refused(&made(how, &[(&format!("Recipient=\"{ACS}\""), &to)]), "saml confirmation");
            refused(
                &made(how, &[(&format!("Destination=\"{ACS}\""), &format!("Destination=\"{other}\""))]),
                "saml destination",
            );
        }
        refused(&made(how, &[(&format!(" Recipient=\"{ACS}\""), "")]), "saml confirmation");
    }
    let gone = (&*format!(" Destination=\"{ACS}\""), "");
    refused(&made(How::Response, &[gone]), "saml destination");
    assert_eq!(welcome(&made(How::Assertion, &[gone])).name.value, "jane");
}

#[test]
fn saml_27_saml_28_it_answers_the_request_that_was_made() {
    let answers = format!("InResponseTo=\"{REQUEST}\"");
    for how in EITHER {
        for other in ["InResponseTo=\"_other\"", ""] {
            let inside = assertion().replace(&answers, other);
            let xml = sealed(&inside, &around, how, idp(), RSA_SHA256);
            refused(&xml, "saml request");
            let outside = |it: &str| around(it).replacen(&answers, other, 1);
            refused(&sealed(&assertion(), &outside, how, idp(), RSA_SHA256), "saml request");
        }
    }
}

#[test]
fn saml_30_neither_late_nor_early() {
    let (now, later) = (at(0), at(300));
    let instants = [("IssueInstant", &now), ("NotBefore", &now), ("AuthnInstant", &now)];
    for how in EITHER {
        for (name, was) in instants {
            let xml = made(how, &[(&format!("{name}=\"{was}\""), &format!("{name}=\"{}\"", at(120)))]);
            assert!(taken(&xml).is_err(), "{name}");
            let fine = made(how, &[(&format!("{name}=\"{was}\""), &format!("{name}=\"{}\"", at(30)))]);
            assert_eq!(welcome(&fine).name.value, "jane", "{name}");
        }
        let old = format!("IssueInstant=\"{}\"", at(-600));
        let was = format!("IssueInstant=\"{now}\"");
        refused(&made(how, &[(&was, &old)]), "saml time");
        let outside = |it: &str| around(it).replacen(&was, &old, 1);
        refused(&sealed(&assertion(), &outside, how, idp(), RSA_SHA256), "saml time");
        refused(&made(how, &[(&format!(" {was}"), "")]), "saml time");
        for (span, fine) in [(-30, true), (-61, false), (3650 * 86_400, false)] {
            for place in
                ["SubjectConfirmationData NotOnOrAfter", &format!("NotBefore=\"{now}\" NotOnOrAfter")]
            {
                let xml =
                    made(how, &[(&format!("{place}=\"{later}\""), &format!("{place}=\"{}\"", at(span)))]);
                assert_eq!(taken(&xml).is_ok(), fine, "{place} {span}");
            }
        }
        refused(
            &made(how, &[(&format!(" NotOnOrAfter=\"{later}\" Recipient"), " Recipient")]),
            "saml confirmation",
        );
        refused(&made(how, &[(&format!("NotBefore=\"{now}\""), "NotBefore=\"yesterday\"")]), "saml time");
    }
}

#[test]
fn saml_31_saml_36_saml_52_how_and_when_somebody_signed_in_there() {
    let index = "SessionIndex=\"s1\"";
    let ending = |span: i64| format!("{index} SessionNotOnOrAfter=\"{}\"", at(span));
    refused(&made(How::Assertion, &[(index, &ending(-86400))]), "saml authentication");
    let verified = welcome(&made(How::Assertion, &[(index, &ending(3600))]));
    assert_eq!(verified.session_ends, Some(NOW + Span::hours(1)));
    let all = assertion();
    let statement = format!(
        "<saml:AuthnStatement{}</saml:AuthnStatement>",
        all.split_once("<saml:AuthnStatement").unwrap().1.split_once("</saml:AuthnStatement>").unwrap().0
    );
    refused(&made(How::Assertion, &[(&statement, "")]), "saml authentication");
    refused(&made(How::Assertion, &[(&format!(" AuthnInstant=\"{}\"", at(0)), "")]), "saml authentication");
    let password = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
    let strong = |class: &str| Expected { contexts: vec![class.to_owned()], ..expected() };
    let good = encoded(&made(How::Assertion, &[]));
    assert!(verify(&good, &strong(password)).is_ok());
    assert_eq!(verify(&good, &strong("urn:strong")).unwrap_err().check, "saml authentication");
    let old = made(How::Assertion, &[("AuthnInstant=\"", &format!("AuthnInstant=\"{}\" x=\"", at(-10800)))]);
    assert!(taken(&old).is_ok());
    let fresh = Expected { max_age: Some(Span::ZERO), ..expected() };
    assert_eq!(verify(&encoded(&old), &fresh).unwrap_err().check, "saml authentication");
}

#[test]
fn saml_32_success_and_nothing_else() {
    let success = "urn:oasis:names:tc:SAML:2.0:status:Success";
    for how in EITHER {
        for other in [
            "urn:oasis:names:tc:SAML:2.0:status:Responder",
            "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed",
            "",
        ] {
            refused(&made(how, &[(success, other)]), "saml status");
        }
        refused(
            &made(
                how,
                &[(&format!("<samlp:Status><samlp:StatusCode Value=\"{success}\"/></samlp:Status>"), "")],
            ),
            "saml status",
        );
    }
    // As a provider says no: without any assertion.
    let no =
        around("").replace("[SIGR]", "").replace(success, "urn:oasis:names:tc:SAML:2.0:status:Requester");
    refused(&no, "saml status");
}

#[test]
fn saml_33_saml_34_from_this_provider_in_this_version() {
    for how in EITHER {
        for other in ["https://evil.example", &format!("{IDP}/"), ""] {
            refused(
                &made(how, &[(&format!("<saml:Issuer>{IDP}"), &format!("<saml:Issuer>{other}"))]),
                "saml issuer",
            );
            let outside = |it: &str| {
                around(it).replacen(&format!("<saml:Issuer>{IDP}"), &format!("<saml:Issuer>{other}"), 1)
            };
            refused(&sealed(&assertion(), &outside, how, idp(), RSA_SHA256), "saml issuer");
        }
        refused(&made(how, &[(&format!("<saml:Issuer>{IDP}</saml:Issuer>"), "")]), "saml issuer");
        refused(&made(how, &[("Version=\"2.0\"", "Version=\"1.1\"")]), "saml version");
        let outside = |it: &str| around(it).replacen("Version=\"2.0\"", "Version=\"1.1\"", 1);
        refused(&sealed(&assertion(), &outside, how, idp(), RSA_SHA256), "saml version");
    }
    let elsewhere = Expected { certificates: vec![stranger().pinned()], ..expected() };
    assert_eq!(verify(&encoded(&made(How::Both, &[])), &elsewhere).unwrap_err().check, "saml signature");
}

#[test]
fn saml_35_one_good_bearer_confirmation() {
    let bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
    for other in
        ["urn:oasis:names:tc:SAML:2.0:cm:holder-of-key", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches", ""]
    {
        refused(&made(How::Assertion, &[(bearer, other)]), "saml confirmation");
    }
    let all = assertion();
    let one = format!(
        "<saml:SubjectConfirmation {}</saml:SubjectConfirmation>",
        all.split_once("<saml:SubjectConfirmation ")
            .unwrap()
            .1
            .split_once("</saml:SubjectConfirmation>")
            .unwrap()
            .0
    );
    refused(&made(How::Assertion, &[(&one, "")]), "saml confirmation");
    let expired = one.replace(ACS, "https://other.example/acs");
    assert_eq!(welcome(&made(How::Assertion, &[(&one, &format!("{expired}{one}"))])).name.value, "jane");
}

#[test]
fn saml_37_somebody_with_one_name() {
    let name =
        "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">jane</saml:NameID>";
    for other in [
        "",
        "<saml:NameID/>",
        "<saml:NameID>  </saml:NameID>",
        &name.repeat(2),
        &name.replace("jane", &"x".repeat(2_000)),
    ] {
        refused(&made(How::Assertion, &[(name, other)]), "saml subject");
    }
}

#[test]
fn saml_40_saml_42_exactly_one_assertion_in_a_response() {
    let good = made(How::Assertion, &[]);
    let one = format!(
        "<saml:Assertion{}</saml:Assertion>",
        good.split_once("<saml:Assertion").unwrap().1.split_once("</saml:Assertion>").unwrap().0
    );
    let second = one.replace("_a1", "_a2");
    refused(&good.replace(&one, &format!("{one}{second}")), "saml shape");
    let encrypted = "<saml:EncryptedAssertion/>";
    refused(&good.replace(&one, &format!("{one}{encrypted}")), "saml shape");
    refused(&good.replace(&one, ""), "saml shape");
    // By itself, and other messages.
    refused(&one, "saml shape");
    refused(&good.replace("samlp:Response", "samlp:LogoutResponse"), "saml shape");
    refused(&good.replace("samlp:Response", "samlp:AuthnRequest"), "saml shape");
    // Attributes from elsewhere.
    let statement = "<saml:AttributeStatement><saml:Attribute Name=\"groups\"><saml:AttributeValue>root</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>";
    refused(&good.replace("</samlp:Response>", &format!("{statement}</samlp:Response>")), "saml shape");
}

#[test]
fn saml_21_an_encrypted_assertion_is_no_substitute_for_a_signature() {
    let encrypted = around("<saml:EncryptedAssertion/>").replace("[SIGR]", "");
    refused(&encrypted, "saml encryption");
}

#[test]
fn saml_43_what_is_malformed_is_refused_and_wrapped_lines_are_not() {
    for text in ["", "garbage", "%%%%", "AAAA", "PHg+", "\u{0}", "PD94bWw="] {
        assert!(verify(text, &expected()).is_err(), "{text}");
    }
    let whole = encoded(&made(How::Assertion, &[]));
    let lines: Vec<&str> =
        whole.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let wrapped = lines.join("\r\n");
    assert_eq!(verify(&wrapped, &expected()).unwrap().name.value, "jane");
}

#[test]
fn saml_48_saml_49_several_certificates_and_never_none() {
    let rolled = Expected { certificates: vec![stranger().pinned(), idp().pinned()], ..expected() };
    assert_eq!(verify(&encoded(&made(How::Both, &[])), &rolled).unwrap().name.value, "jane");
    for how in [How::Both, How::Nothing] {
        let none = Expected { certificates: Vec::new(), ..expected() };
        assert_eq!(verify(&encoded(&made(how, &[])), &none).unwrap_err().check, "saml signature");
    }
}

#[test]
fn saml_53_the_whole_run_leaves_nothing_behind() {
    let good = encoded(&made(How::Both, &[]));
    let bad = encoded(&after(How::Both, &[(">jane<", ">admin<")]));
    for _ in 0..100 {
        assert!(verify(&bad, &expected()).is_err());
    }
    assert!(verify(&good, &expected()).is_ok());
}
