//! What an assertion says about somebody, and what our rules read of it.

use std::fmt::Write as _;

use roxmltree::Node;
use serde_json::Value;

use super::response::Verified;
use super::{ns, xml};
use crate::domain::provider::{Claims, Provider};
use crate::domain::saml::Saml;
use crate::protocol::oidc::Refused;

/// The usual format of a name, which says nothing about it (Core §8.3.1).
pub(super) const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";
const EMAIL: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

/// The most text of one value.
const LONGEST: usize = 8 * 1024;

/// Names under which providers send an address, a name and a username, where the configuration names none.
const EMAILS: [&str; 5] = [
    "email",
    "mail",
    "emailAddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
];
const NAMES: [&str; 5] = [
    "name",
    "displayName",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "http://schemas.microsoft.com/identity/claims/displayname",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
];
const USERNAMES: [&str; 4] = ["preferred_username", "uid", "username", "urn:oid:0.9.2342.19200300.100.1.1"];

/// An attribute with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    name: String,
    friendly: Option<String>,
    values: Vec<String>,
}

/// All of an assertion.
pub type Attributes = Vec<Attribute>;

/// Reads them. A value that is more than text is left out, whole.
///
/// # Errors
/// When one has no name, or a value is huge (`SAML-50`).
pub(super) fn read(assertion: Node<'_, '_>) -> Result<Attributes, Refused> {
    let wrong = |why: &str| Refused::by("saml attributes", why);
    let mut all: Attributes = Vec::new();
    let statements = xml::named(assertion, ns::ASSERTION, "AttributeStatement");
    for node in statements.flat_map(|it| xml::named(it, ns::ASSERTION, "Attribute")) {
        let name = node.attribute("Name").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong("an attribute has no name (SAML-50)"))?;
        let friendly = node.attribute("FriendlyName").filter(|it| !it.is_empty()).map(str::to_owned);
        let mut values = Vec::new();
        for value in xml::named(node, ns::ASSERTION, "AttributeValue") {
            let Some(text) = xml::text(value) else { continue };
            if text.len() > LONGEST {
                return Err(wrong("a value is huge (SAML-50)"));
            }
            values.push(text.to_owned());
        }
        match all.iter_mut().find(|it| it.name == name) {
            Some(known) => known.values.extend(values),
            None => all.push(Attribute { name: name.to_owned(), friendly, values }),
        }
    }
    Ok(all)
}

/// Who somebody is to us, and the claims that rules look at: attributes by their names, and by their friendly names where only
/// one has it. What we say ourselves stands in their way (`SAML-50`).
///
/// # Errors
/// When there is nothing by which somebody could be known again (`SAML-37`, `SAML-51`).
pub fn claims(provider: &Provider, saml: &Saml, verified: &Verified) -> Result<(String, Claims), Refused> {
    let mut claims = Claims::new();
    for attribute in &verified.attributes {
        if let Some(friendly) = &attribute.friendly
            && verified.attributes.iter().filter(|it| it.friendly.as_ref() == Some(friendly)).count() == 1
        {
            claims.insert(friendly.clone(), value(&attribute.values));
        }
    }
    for attribute in &verified.attributes {
        claims.insert(attribute.name.clone(), value(&attribute.values));
    }
    let subject = subject(saml, verified, &claims)?;
    let first = |chosen: &str, usual: &[&str]| {
        let names = if usual.first() == Some(&chosen) { usual } else { &[] };
        let mut all = std::iter::once(chosen).chain(names.iter().copied());
        all.find_map(|name| one(claims.get(name)?)).map(str::to_owned)
    };
    let email = first(&saml.names.email, &EMAILS)
        .or_else(|| (verified.name.format == EMAIL).then(|| verified.name.value.clone()));
    let name = first(&saml.names.name, &NAMES);
    let username = first(&saml.names.username, &USERNAMES);
    // An assertion has no word for a verified address: where the provider was declared to speak for a domain, it does.
    let vouched = provider.authoritative
        && email.as_ref().and_then(|it| it.rsplit_once('@')).is_some_and(|(_, domain)| {
            provider.domains.iter().any(|own| own.as_str().eq_ignore_ascii_case(domain))
        });
    for ours in ["amr", "acr", "sub", "iss", "aud", "auth_time"] {
        claims.remove(ours);
    }
    let mut set = |name: &str, value: Option<String>| match value {
        Some(value) => drop(claims.insert(name.to_owned(), Value::String(value))),
        None => drop(claims.remove(name)),
    };
    set("email", email);
    set("name", name);
    set("preferred_username", username);
    set("acr", verified.context.clone());
    claims.insert("email_verified".to_owned(), Value::Bool(vouched));
    Ok((subject, claims))
}

fn value(values: &[String]) -> Value {
    match values {
        [only] => Value::String(only.clone()),
        many => Value::Array(many.iter().cloned().map(Value::String).collect()),
    }
}

/// A claim with one value.
fn one(value: &Value) -> Option<&str> {
    let text = match value {
        Value::Array(list) => match list.as_slice() {
            [only] => only.as_str(),
            _ => None,
        },
        other => other.as_str(),
    };
    text.filter(|text| !text.is_empty())
}

/// Who somebody is: the name with its kind and whose it is, so that no two people are one (`SAML-51`).
fn subject(saml: &Saml, verified: &Verified, claims: &Claims) -> Result<String, Refused> {
    if let Some(name) = &saml.names.subject {
        let found = claims.get(name).and_then(one).ok_or_else(|| {
            let detail = format!(
                "the attribute {name}, by which people are known, is missing or has not one value (SAML-37)"
            );
            Refused::by("saml subject", detail)
        })?;
        return Ok(format!("attribute:{found}"));
    }
    let id = &verified.name;
    let kind = match id.format.as_str() {
        UNSPECIFIED => "unspecified".to_owned(),
        EMAIL => "email".to_owned(),
        PERSISTENT => "persistent".to_owned(),
        TRANSIENT => {
            return Err(Refused::by(
                "saml subject",
                "the NameID is transient: the same person has another one next time. Have the provider send a persistent one, or \
                 name an attribute that stays as attributes.subject",
            ));
        }
        other => plain(other),
    };
    let mut subject = kind;
    if id.qualifier.is_some() || id.sp_qualifier.is_some() {
        let part = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
        let _ = write!(subject, "[{},{}]", part(&id.qualifier), part(&id.sp_qualifier));
    }
    Ok(format!("{subject}:{}", id.value))
}

/// Text without any of the marks that a subject is put together with.
fn plain(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
