//! The gate in front of the C libraries. What passes has one shape: one Response with exactly one assertion, signatures where
//! they may stand and nowhere else, each over the element it stands in, with the transforms and algorithms that are named here.
//!
//! The libraries would fetch addresses and files, run programs in transforms and take broken documents; of what passes here
//! there is nothing for them to fetch, run or mend.

use std::collections::HashSet;

use roxmltree::{Document, Node};

use super::{ns, xml};
use crate::protocol::oidc::{Refused, quoted};

/// Exclusive canonicalisation, without comments.
const C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// RSA with PKCS #1 and ECDSA, with SHA-256 and up. No MAC, no SHA-1 (`SAML-05`, `SAML-06`).
const SIGNATURES: [&str; 6] = [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];
const DIGESTS: [&str; 3] = [
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];

/// A document that may be shown to the C libraries.
pub(super) struct Gated<'t> {
    text: &'t str,
    tree: Document<'t>,
    /// The ids of the elements that say they are signed, outermost first.
    signed: Vec<String>,
}

impl<'t> Gated<'t> {
    /// The text that was looked at.
    pub(super) const fn text(&self) -> &'t str {
        self.text
    }

    /// The tree of it.
    pub(super) const fn tree(&self) -> &Document<'t> {
        &self.tree
    }

    /// The ids of the elements that say they are signed.
    pub(super) fn signed(&self) -> &[String] {
        &self.signed
    }
}

/// Looks at a response.
///
/// # Errors
/// With the first thing that may not be.
pub(super) fn response(text: &str) -> Result<Gated<'_>, Refused> {
    let shape = |why: &str| Refused::by("saml shape", why);
    let tree = xml::tree(text)?;
    let root = tree.root_element();
    if !xml::is(root, ns::PROTOCOL, "Response") {
        let found = quoted(root.tag_name().name());
        return Err(Refused::by("saml shape", format!("it is {found} and no Response (SAML-42)")));
    }
    let mut assertion = None;
    let mut seen = HashSet::new();
    for child in xml::children(root) {
        let (space, name) = (child.tag_name().namespace().unwrap_or_default(), child.tag_name().name());
        let known = match (space, name) {
            (ns::ASSERTION, "Assertion" | "EncryptedAssertion") => {
                if assertion.replace(child).is_some() {
                    return Err(shape("there is more than one assertion (SAML-40)"));
                }
                true
            }
            (ns::ASSERTION, "Issuer")
            | (ns::SIGNATURE, "Signature")
            | (ns::PROTOCOL, "Status" | "Extensions") => seen.insert(name),
            _ => false,
        };
        if !known {
            return Err(Refused::by(
                "saml shape",
                format!("{} stands in the Response twice, or has no place there", quoted(name)),
            ));
        }
    }
    let plain = assertion.filter(|it| it.tag_name().name() == "Assertion");
    let holders: Vec<Node<'_, '_>> = std::iter::once(root).chain(plain).collect();
    let signed = inspect(&tree, &holders)?;
    Ok(Gated { text, tree, signed })
}

/// Looks at an assertion by itself, as it was encrypted: a signature may stand at its top and nowhere else.
///
/// # Errors
/// With the first thing that may not be.
pub(super) fn assertion(text: &str) -> Result<Gated<'_>, Refused> {
    let tree = xml::tree(text)?;
    let root = tree.root_element();
    if !xml::is(root, ns::ASSERTION, "Assertion") {
        let found = quoted(root.tag_name().name());
        return Err(Refused::by("saml shape", format!("what was encrypted is {found} and no Assertion")));
    }
    let signed = inspect(&tree, &[root])?;
    Ok(Gated { text, tree, signed })
}

/// Ids, signatures and assertions, wherever they stand. `holders` are the elements that may be signed.
fn inspect(tree: &Document<'_>, holders: &[Node<'_, '_>]) -> Result<Vec<String>, Refused> {
    let shape = |why: &str| Refused::by("saml shape", why);
    let mut ids = HashSet::new();
    let mut signed = Vec::new();
    for node in tree.descendants().filter(Node::is_element) {
        identified(node, &mut ids)?;
        let assertion = node.tag_name().namespace() == Some(ns::ASSERTION)
            && matches!(node.tag_name().name(), "Assertion" | "EncryptedAssertion");
        let root = tree.root_element();
        // One inside of something else would be read by nobody here, and may be meant for somebody.
        if assertion && node != root && node.parent() != Some(root) {
            return Err(shape("an assertion stands where none may (SAML-40)"));
        }
        if node.tag_name().namespace() != Some(ns::SIGNATURE) {
            continue;
        }
        if xml::is(node, ns::SIGNATURE, "Signature") {
            let holder = holders.iter().find(|holder| node.parent() == Some(**holder));
            let holder = holder.ok_or_else(|| shape("a signature stands where none may (SAML-04)"))?;
            let id = signature(node, *holder)?;
            if signed.contains(&id) {
                return Err(shape("an element has two signatures (SAML-12)"));
            }
            signed.push(id);
        } else if !within_known(node, holders) {
            return Err(shape("a part of a signature stands outside of one (SAML-12)"));
        }
    }
    Ok(signed)
}

/// Whether a part of a signature belongs to one that is looked at, or names the key of something encrypted.
fn within_known(node: Node<'_, '_>, holders: &[Node<'_, '_>]) -> bool {
    node.ancestors().any(|up| {
        let of_signature =
            xml::is(up, ns::SIGNATURE, "Signature") && up.parent().is_some_and(|it| holders.contains(&it));
        let of_encryption = matches!(up.tag_name().name(), "EncryptedData" | "EncryptedKey")
            && up.tag_name().namespace() == Some(ns::ENCRYPTION);
        of_signature || of_encryption
    })
}

/// Every id in one spelling, each once (`SAML-11`, `SAML-14`).
fn identified(node: Node<'_, '_>, ids: &mut HashSet<String>) -> Result<(), Refused> {
    let shape = |why: &str| Refused::by("saml shape", why);
    for attribute in node.attributes().filter(|it| it.name().eq_ignore_ascii_case("id")) {
        // So do signatures, and what is encrypted, name themselves (XML Signature §4.1, XML Encryption §3.1); nothing points there.
        let other =
            xml::is(node, ns::SIGNATURE, "Signature") || node.tag_name().namespace() == Some(ns::ENCRYPTION);
        let known = attribute.name() == "ID" || (attribute.name() == "Id" && other);
        if attribute.namespace().is_some() || !known {
            return Err(shape("an id is written in another way than ID (SAML-14)"));
        }
        let value = attribute.value();
        let mut bytes = value.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if !first || !rest || value.len() > 256 {
            return Err(shape("an id is none"));
        }
        if !ids.insert(value.to_owned()) {
            return Err(shape("an id is there twice (SAML-11)"));
        }
    }
    Ok(())
}

/// One signature over the element it stands in (Core §5.4). Gives that element's id.
fn signature(node: Node<'_, '_>, holder: Node<'_, '_>) -> Result<String, Refused> {
    let wrong = |why: &str| Refused::by("saml signature", why);
    let id = holder.attribute("ID").ok_or_else(|| wrong("what is signed has no ID (SAML-09)"))?;
    let parts: Vec<Node<'_, '_>> = xml::children(node).collect();
    let (info, value, key) = match parts.as_slice() {
        [info, value] => (*info, *value, None),
        [info, value, key] => (*info, *value, Some(*key)),
        _ => return Err(wrong("it has other parts than it may (SAML-12)")),
    };
    let named = xml::is(info, ns::SIGNATURE, "SignedInfo") && xml::is(value, ns::SIGNATURE, "SignatureValue");
    if !named || node.attributes().any(|it| it.name() != "Id") || !base64(value) {
        return Err(wrong("it has other parts than it may (SAML-12)"));
    }
    if let Some(key) = key {
        // Looked at by nobody: keys come from the configuration (`SAML-03`). Nothing in it may lead anywhere.
        let plain = |it: Node<'_, '_>| {
            matches!(it.tag_name().name(), "X509Data" | "KeyName" | "KeyValue")
                && it.tag_name().namespace() == Some(ns::SIGNATURE)
        };
        if !xml::is(key, ns::SIGNATURE, "KeyInfo") || !xml::children(key).all(plain) {
            return Err(wrong(
                "its KeyInfo is of another kind than X509Data, KeyName and KeyValue (SAML-10)",
            ));
        }
    }
    let inside: Vec<Node<'_, '_>> = xml::children(info).collect();
    let [canonical, method, reference] = inside.as_slice() else {
        return Err(wrong("it signs other than one reference (SAML-09)"));
    };
    if info.attributes().next().is_some() || !algorithm(*canonical, "CanonicalizationMethod", &[C14N], true) {
        return Err(wrong("its canonicalisation is another than the exclusive one (SAML-07)"));
    }
    if !algorithm(*method, "SignatureMethod", &SIGNATURES, false) {
        let found = quoted(method.attribute("Algorithm").unwrap_or_default());
        return Err(Refused::by(
            "saml algorithm",
            format!("signed with {found}, which is not taken (SAML-06)"),
        ));
    }
    self::reference(*reference, id)?;
    Ok(id.to_owned())
}

/// The one reference: to the element itself, by the two transforms (`SAML-07` to `SAML-09`).
fn reference(node: Node<'_, '_>, id: &str) -> Result<(), Refused> {
    let wrong = |why: &str| Refused::by("saml signature", why);
    let points = node.attribute("URI").and_then(|uri| uri.strip_prefix('#')) == Some(id);
    if !xml::is(node, ns::SIGNATURE, "Reference") || !points || node.attributes().count() != 1 {
        return Err(wrong("its reference is not to the element it stands in (SAML-09)"));
    }
    let inside: Vec<Node<'_, '_>> = xml::children(node).collect();
    let [transforms, digest, value] = inside.as_slice() else {
        return Err(wrong("its reference has other parts than it may (SAML-12)"));
    };
    let steps: Vec<Node<'_, '_>> = xml::children(*transforms).collect();
    let [enveloped, canonical] = steps.as_slice() else {
        return Err(wrong("it has other transforms than the two it may have (SAML-07)"));
    };
    let fine = xml::is(*transforms, ns::SIGNATURE, "Transforms")
        && transforms.attributes().next().is_none()
        && algorithm(*enveloped, "Transform", &[ENVELOPED], false)
        && algorithm(*canonical, "Transform", &[C14N], true);
    if !fine {
        return Err(wrong("it has other transforms than the two it may have (SAML-07)"));
    }
    if !algorithm(*digest, "DigestMethod", &DIGESTS, false) {
        let found = quoted(digest.attribute("Algorithm").unwrap_or_default());
        return Err(Refused::by(
            "saml algorithm",
            format!("digested with {found}, which is not taken (SAML-06)"),
        ));
    }
    if !xml::is(*value, ns::SIGNATURE, "DigestValue") || !base64(*value) {
        return Err(wrong("its digest is none (SAML-12)"));
    }
    Ok(())
}

/// An element that names an algorithm of a list; with `prefixes`, perhaps with the list of prefixes that exclusive
/// canonicalisation knows, and with nothing else.
fn algorithm(node: Node<'_, '_>, name: &str, list: &[&str], prefixes: bool) -> bool {
    let listed = |it: Node<'_, '_>| {
        prefixes
            && xml::is(it, C14N, "InclusiveNamespaces")
            && it.attributes().all(|attribute| attribute.name() == "PrefixList")
            && !it.has_children()
    };
    xml::is(node, ns::SIGNATURE, name)
        && node.attributes().count() == 1
        && node.attribute("Algorithm").is_some_and(|found| list.contains(&found))
        && xml::children(node).count() <= 1
        && xml::children(node).all(listed)
}

/// Text of a binary value, in lines perhaps.
fn base64(node: Node<'_, '_>) -> bool {
    let fine =
        |b: u8| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || matches!(b, b'+' | b'/' | b'=');
    node.attributes().next().is_none()
        && xml::text(node).is_some_and(|text| !text.is_empty() && text.bytes().all(fine))
}
