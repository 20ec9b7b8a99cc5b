//! A response (Core §3.3.3, Profiles §4.1.4): decoded, let through the gate, verified, and every condition checked on what was
//! signed.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use roxmltree::{Document, Node};

use super::attributes::{self, Attributes};
use super::gate::{self, Gated};
use super::{encryption, ns, oracle, xml};
use crate::crypto::rsa::RsaKey;
use crate::domain::saml::{Certificate, Want};
use crate::domain::{Span, Timestamp};
use crate::protocol::oidc::{Refused, quoted};

/// The largest form field.
const ENCODED: usize = 256 * 1024;
/// How old an answer may be.
const FRESH: Span = Span::minutes(5);
/// How long an answer may call itself good: so long, at most, it is remembered.
const LONGEST: Span = Span::hours(2);
/// The longest name of somebody.
const NAME: usize = 1024;

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const ENTITY: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity";

/// What an answer must be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The provider it must be from.
    pub issuer: String,
    /// Who we are to it.
    pub audience: String,
    /// The address it must be meant for.
    pub address: String,
    /// The request it must answer.
    pub request: String,
    /// What verifies the provider's signatures.
    pub certificates: Vec<Certificate>,
    /// Our keys, with which assertions may be encrypted.
    pub keys: Arc<Vec<RsaKey>>,
    /// What it must bring besides.
    pub want: Want,
    /// Contexts, one of which must have been met; none if it is all the same.
    pub contexts: Vec<String>,
    /// How long ago the person may have signed in there.
    pub max_age: Option<Span>,
    /// How far clocks may be apart.
    pub skew: Span,
    /// The time.
    pub now: Timestamp,
}

/// A name of somebody (Core §2.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameId {
    /// The name.
    pub value: String,
    /// Of which kind, as a URI.
    pub format: String,
    /// Whose name it is, where that is not the provider.
    pub qualifier: Option<String>,
    /// For whom, where that is not us.
    pub sp_qualifier: Option<String>,
}

/// What a provider has vouched for. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who.
    pub name: NameId,
    /// What it says about them.
    pub attributes: Attributes,
    /// When they signed in there.
    pub auth_time: Timestamp,
    /// In which way.
    pub context: Option<String>,
    /// When the session there ends, if it says so.
    pub session_ends: Option<Timestamp>,
    /// The session there, for logout.
    pub session_index: Option<String>,
    /// The ids of response and assertion, none of which may ever come again.
    pub ids: Vec<String>,
    /// Until when they must be remembered.
    pub remember_until: Timestamp,
}

/// Verifies a response as a form brought it. Takes some milliseconds of a processor: not for a thread that serves others.
///
/// # Errors
/// With the first check that it does not pass.
pub fn verify(encoded: &str, expected: &Expected) -> Result<Verified, Refused> {
    let bytes = decode(encoded)?;
    let text = xml::plain(&bytes)?;
    let gated = gate::response(text);
    // A provider that has refused sends no assertion: its reason comes before the complaint about that.
    if let Err(refused) = &gated
        && let Ok(tree) = xml::tree(text)
        && xml::is(tree.root_element(), ns::PROTOCOL, "Response")
        && refused.check == "saml shape"
    {
        status(tree.root_element())?;
    }
    let gated = gated?;
    let root = gated.tree().root_element();
    status(root)?;
    let says = |node: Node<'_, '_>| {
        node.attribute("ID").is_some_and(|id| gated.signed().iter().any(|signed| signed == id))
    };
    if expected.want.signed_response && !says(root) {
        return Err(Refused::by(
            "saml signature",
            "`want` asks for a signed response, and it is not (SAML-01)",
        ));
    }
    if gated.signed().is_empty() {
        // Nothing of it is signed in the open: what was encrypted must be.
        return encrypted(root, false, expected);
    }
    let signed = oracle::signed(&gated, &expected.certificates)?;
    // From here on whatever was signed is read from the bytes that were signed.
    let tree = xml::tree(xml::plain(signed.text().as_bytes())?)?;
    signed_parts(&tree, &gated, says(root), expected)
}

/// What was signed is a response, or the assertion of one.
fn signed_parts(
    tree: &Document<'_>,
    gated: &Gated<'_>,
    whole: bool,
    expected: &Expected,
) -> Result<Verified, Refused> {
    let changed = || Refused::by("saml signature", "what was signed is not what was looked at (SAML-04)");
    let (root, top) = (gated.tree().root_element(), tree.root_element());
    if whole {
        if !xml::is(top, ns::PROTOCOL, "Response") || top.attribute("ID") != root.attribute("ID") {
            return Err(changed());
        }
        let Some(inner) = xml::only(top, ns::ASSERTION, "Assertion") else {
            return encrypted(top, true, expected);
        };
        let own = inner.attribute("ID").is_some_and(|id| gated.signed().iter().any(|signed| signed == id));
        open_enough(own, expected)?;
        envelope(top, true, expected)?;
        return assertion(inner, top, expected);
    }
    let original = xml::only(root, ns::ASSERTION, "Assertion").ok_or_else(changed)?;
    if !xml::is(top, ns::ASSERTION, "Assertion") || top.attribute("ID") != original.attribute("ID") {
        return Err(changed());
    }
    open_enough(true, expected)?;
    envelope(root, false, expected)?;
    assertion(top, root, expected)
}

/// An assertion that came in the open: signed itself, if that is asked for, and not asked to be encrypted.
fn open_enough(own_signature: bool, expected: &Expected) -> Result<(), Refused> {
    if expected.want.encrypted_assertion {
        return Err(Refused::by("saml encryption", "`want` asks for an encrypted assertion, and it is not"));
    }
    if expected.want.signed_assertion && !own_signature {
        return Err(Refused::by(
            "saml signature",
            "`want` asks for a signed assertion, and it is not (SAML-01)",
        ));
    }
    Ok(())
}

/// An assertion that was encrypted: opened, let through the gate again, and believed only if it was signed itself or its ciphertext
/// by the response around it (`SAML-21`).
fn encrypted(response: Node<'_, '_>, sealed: bool, expected: &Expected) -> Result<Verified, Refused> {
    let Some(node) = xml::only(response, ns::ASSERTION, "EncryptedAssertion") else {
        if xml::named(response, ns::ASSERTION, "Assertion").next().is_some() {
            return Err(Refused::by("saml signature", "nothing in it is signed (SAML-01)"));
        }
        return Err(Refused::by("saml shape", "there is no assertion in it (SAML-40)"));
    };
    envelope(response, sealed, expected)?;
    let opened = encryption::opened(node, &expected.keys)?;
    let text = xml::plain(opened.as_bytes())?;
    let gated = gate::assertion(text)?;
    if gated.signed().is_empty() {
        if !sealed || expected.want.signed_assertion {
            return Err(Refused::by("saml signature", "the encrypted assertion is not signed (SAML-21)"));
        }
        return assertion(gated.tree().root_element(), response, expected);
    }
    let signed = oracle::signed(&gated, &expected.certificates)?;
    let tree = xml::tree(xml::plain(signed.text().as_bytes())?)?;
    let (top, root) = (tree.root_element(), gated.tree().root_element());
    if !xml::is(top, ns::ASSERTION, "Assertion") || top.attribute("ID") != root.attribute("ID") {
        return Err(Refused::by("saml signature", "what was signed is not what was looked at (SAML-04)"));
    }
    assertion(top, response, expected)
}

/// Base64 as forms bring it, in lines perhaps (`SAML-43`).
fn decode(encoded: &str) -> Result<Vec<u8>, Refused> {
    let wrong = |why: &str| Refused::by("saml encoding", why);
    if encoded.len() > ENCODED {
        return Err(wrong("it is too large (SAML-20)"));
    }
    let dense: String = encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(dense).map_err(|_| wrong("it is no base64"))
}

/// Success, and nothing else (`SAML-32`). It counts also unsigned: it can only refuse.
fn status(response: Node<'_, '_>) -> Result<(), Refused> {
    let code = xml::only(response, ns::PROTOCOL, "Status")
        .and_then(|status| xml::only(status, ns::PROTOCOL, "StatusCode").map(|code| (status, code)));
    let Some((status, code)) = code else {
        return Err(Refused::by("saml status", "the response has no status (SAML-32)"));
    };
    let value = code.attribute("Value").unwrap_or_default();
    if value == SUCCESS {
        return Ok(());
    }
    let last = |value: &str| value.rsplit(':').next().unwrap_or_default().to_owned();
    let inner = xml::only(code, ns::PROTOCOL, "StatusCode").and_then(|it| it.attribute("Value"));
    let words =
        xml::only(status, ns::PROTOCOL, "StatusMessage").and_then(|it| xml::text(it)).unwrap_or_default();
    let detail = format!(
        "the provider says {} {} {} (SAML-32)",
        quoted(&last(value)),
        quoted(&last(inner.unwrap_or_default())),
        quoted(words)
    );
    Err(Refused::by("saml status", detail))
}

/// Who it is from, for whom, about what. `sealed`: it was signed as well.
fn envelope(response: Node<'_, '_>, sealed: bool, expected: &Expected) -> Result<(), Refused> {
    version(response)?;
    status(response)?;
    issued(response, expected)?;
    match xml::named(response, ns::ASSERTION, "Issuer").next() {
        Some(issuer) => from(issuer, expected)?,
        None if sealed => {
            return Err(Refused::by("saml issuer", "the response does not say who it is from (SAML-33)"));
        }
        // Optional where only the assertion is signed, which says it (Profiles §4.1.4.2).
        None => {}
    }
    match response.attribute("Destination") {
        Some(to) if to == expected.address => {}
        Some(to) => {
            let detail =
                format!("the response is meant for {}, this is {} (SAML-26)", quoted(to), expected.address);
            return Err(Refused::by("saml destination", detail));
        }
        None if sealed => {
            return Err(Refused::by(
                "saml destination",
                "a signed response must name its Destination (SAML-26)",
            ));
        }
        None => {}
    }
    answers(response, expected)
}

fn answers(node: Node<'_, '_>, expected: &Expected) -> Result<(), Refused> {
    match node.attribute("InResponseTo") {
        Some(request) if request == expected.request => Ok(()),
        Some(_) => Err(Refused::by("saml request", "it answers a request that was not this one (SAML-27)")),
        None => Err(Refused::by(
            "saml request",
            "it answers no request; sign-ins that begin at the provider are not taken (SAML-28)",
        )),
    }
}

fn version(node: Node<'_, '_>) -> Result<(), Refused> {
    match node.attribute("Version") {
        Some("2.0") => Ok(()),
        other => {
            let found = quoted(other.unwrap_or_default());
            Err(Refused::by("saml version", format!("its version is {found} and not 2.0 (SAML-34)")))
        }
    }
}

/// An issuer is the provider that was asked (`SAML-33`).
fn from(issuer: Node<'_, '_>, expected: &Expected) -> Result<(), Refused> {
    let found = xml::text(issuer).unwrap_or_default();
    if issuer.attribute("Format").is_some_and(|format| format != ENTITY) || found != expected.issuer {
        let detail =
            format!("it is from {}, the provider is {} (SAML-33)", quoted(found), quoted(&expected.issuer));
        return Err(Refused::by("saml issuer", detail));
    }
    Ok(())
}

/// A moment (Core §1.3.3).
fn moment(node: Node<'_, '_>, name: &str) -> Result<Option<Timestamp>, Refused> {
    let Some(text) = node.attribute(name) else { return Ok(None) };
    let parsed = xml_moment(text);
    parsed
        .map(Some)
        .ok_or_else(|| Refused::by("saml time", format!("{name} is no moment: {} (SAML-30)", quoted(text))))
}

/// A moment as XML writes it, in universal time.
pub(super) fn xml_moment(text: &str) -> Option<Timestamp> {
    let at = chrono::DateTime::parse_from_rfc3339(text.trim()).ok()?;
    Some(Timestamp::from_millis(at.timestamp_millis()))
}

/// Made a moment ago and not in the future (`SAML-30`).
fn issued(node: Node<'_, '_>, expected: &Expected) -> Result<(), Refused> {
    let late = |detail: String| Err(Refused::by("saml time", detail));
    let Some(at) = moment(node, "IssueInstant")? else {
        return late("it does not say when it was issued (SAML-30)".to_owned());
    };
    if at > expected.now + expected.skew {
        return late(format!(
            "it was issued {} from now; see whether both clocks are right (SAML-30)",
            expected.now.until(at).words()
        ));
    }
    if at + FRESH + expected.skew < expected.now {
        return late(format!(
            "it was issued {} ago, and {} are accepted (SAML-30)",
            expected.now.since(at).words(),
            FRESH.words()
        ));
    }
    Ok(())
}

/// Everything the assertion must be (Profiles §4.1.4.2, §4.1.4.3).
fn assertion(node: Node<'_, '_>, envelope: Node<'_, '_>, expected: &Expected) -> Result<Verified, Refused> {
    version(node)?;
    issued(node, expected)?;
    let issuer = xml::only(node, ns::ASSERTION, "Issuer")
        .ok_or_else(|| Refused::by("saml issuer", "the assertion does not say who it is from (SAML-33)"))?;
    from(issuer, expected)?;
    let mut until = conditions(node, expected)?;
    let subject = xml::only(node, ns::ASSERTION, "Subject")
        .ok_or_else(|| Refused::by("saml subject", "the assertion is about nobody (SAML-37)"))?;
    until = until.max(confirmed(subject, expected)?);
    let session = authenticated(node, expected)?;
    let id = |node: Node<'_, '_>| {
        let id = node.attribute("ID").filter(|id| !id.is_empty()).map(str::to_owned);
        id.ok_or_else(|| {
            Refused::by("saml replay", "it has no ID by which it could be known again (SAML-38)")
        })
    };
    Ok(Verified {
        name: name_id(subject, expected)?,
        attributes: attributes::read(node)?,
        auth_time: session.at,
        context: session.context,
        session_ends: session.ends,
        session_index: session.index,
        ids: vec![id(envelope)?, id(node)?],
        // Longer than any check lets it through.
        remember_until: until.max(expected.now + FRESH) + expected.skew + expected.skew,
    })
}

/// The window, and for whom it is. What is not understood makes it worthless (`SAML-24`, `SAML-44`).
fn conditions(assertion: Node<'_, '_>, expected: &Expected) -> Result<Timestamp, Refused> {
    let wrong = |detail: &str| Refused::by("saml conditions", detail);
    let node = xml::only(assertion, ns::ASSERTION, "Conditions")
        .ok_or_else(|| wrong("the assertion has no conditions, or more than one set of them (SAML-24)"))?;
    let until = window(node, expected)?;
    let mut restricted = false;
    for condition in xml::children(node) {
        let known = condition.tag_name().namespace() == Some(ns::ASSERTION);
        match condition.tag_name().name() {
            "AudienceRestriction" if known => {
                restricted = true;
                let named: Vec<&str> =
                    xml::named(condition, ns::ASSERTION, "Audience").filter_map(|it| xml::text(it)).collect();
                if !named.iter().any(|audience| *audience == expected.audience) {
                    let found = quoted(named.first().unwrap_or(&""));
                    let detail = format!(
                        "the assertion is for audience {found}, we are {} (SAML-24)",
                        quoted(&expected.audience)
                    );
                    return Err(Refused::by("saml audience", detail));
                }
            }
            "OneTimeUse" | "ProxyRestriction" if known => {}
            other => {
                let detail = format!("the condition {} is not understood (SAML-44)", quoted(other));
                return Err(Refused::by("saml conditions", detail));
            }
        }
    }
    if !restricted {
        return Err(Refused::by("saml audience", "the assertion does not say for whom it is (SAML-24)"));
    }
    Ok(until.unwrap_or(expected.now))
}

/// `NotBefore` and `NotOnOrAfter` (`SAML-30`).
fn window(node: Node<'_, '_>, expected: &Expected) -> Result<Option<Timestamp>, Refused> {
    let off = |detail: String| Err(Refused::by("saml time", detail));
    if let Some(from) = moment(node, "NotBefore")?
        && from > expected.now + expected.skew
    {
        return off(format!(
            "it counts only in {}; see whether both clocks are right (SAML-30)",
            expected.now.until(from).words()
        ));
    }
    let until = moment(node, "NotOnOrAfter")?;
    if let Some(until) = until {
        if until + expected.skew <= expected.now {
            return off(format!("it counted until {} ago (SAML-30)", expected.now.since(until).words()));
        }
        if until > expected.now + LONGEST + expected.skew {
            return off(format!(
                "it would count for {}, and {} are accepted (SAML-30)",
                expected.now.until(until).words(),
                LONGEST.words()
            ));
        }
    }
    Ok(until)
}

/// Confirmed as one that whoever bears it may use, here, now, for this request (`SAML-25`, `SAML-27`, `SAML-35`). Gives until when.
fn confirmed(subject: Node<'_, '_>, expected: &Expected) -> Result<Timestamp, Refused> {
    let mut last = Refused::by("saml confirmation", "no bearer confirmation is in it (SAML-35)");
    for confirmation in xml::named(subject, ns::ASSERTION, "SubjectConfirmation") {
        if confirmation.attribute("Method") != Some(BEARER) {
            continue;
        }
        match bearer(confirmation, expected) {
            Ok(until) => return Ok(until),
            Err(refused) => last = refused,
        }
    }
    Err(last)
}

fn bearer(confirmation: Node<'_, '_>, expected: &Expected) -> Result<Timestamp, Refused> {
    let wrong = |detail: String| Refused::by("saml confirmation", detail);
    let data = xml::only(confirmation, ns::ASSERTION, "SubjectConfirmationData")
        .ok_or_else(|| wrong("the confirmation has no data (SAML-35)".to_owned()))?;
    match data.attribute("Recipient") {
        Some(to) if to == expected.address => {}
        other => {
            let found = quoted(other.unwrap_or_default());
            return Err(wrong(format!(
                "the assertion is for the address {found}, this is {} (SAML-25)",
                expected.address
            )));
        }
    }
    answers(data, expected)?;
    window(data, expected)?
        .ok_or_else(|| wrong("the confirmation does not say until when it counts (SAML-30)".to_owned()))
}

/// The session at the provider.
struct Authenticated {
    at: Timestamp,
    context: Option<String>,
    ends: Option<Timestamp>,
    index: Option<String>,
}

/// How and when somebody signed in there (`SAML-31`, `SAML-36`, `SAML-52`).
fn authenticated(assertion: Node<'_, '_>, expected: &Expected) -> Result<Authenticated, Refused> {
    let wrong = |detail: String| Err(Refused::by("saml authentication", detail));
    let Some(statement) = xml::only(assertion, ns::ASSERTION, "AuthnStatement") else {
        return wrong(
            "the assertion does not say how somebody signed in, or says it twice (SAML-36)".to_owned(),
        );
    };
    let Some(at) = moment(statement, "AuthnInstant")? else {
        return wrong("the assertion does not say when somebody signed in (SAML-36)".to_owned());
    };
    if at > expected.now + expected.skew {
        return wrong(
            "somebody signed in there in the future; see whether both clocks are right (SAML-30)".to_owned(),
        );
    }
    if let Some(age) = expected.max_age
        && at + age + FRESH + expected.skew < expected.now
    {
        return wrong(format!(
            "the sign-in there was {} ago, and a fresh one was asked for (SAML-52)",
            expected.now.since(at).words()
        ));
    }
    let ends = moment(statement, "SessionNotOnOrAfter")?;
    if let Some(ends) = ends
        && ends + expected.skew <= expected.now
    {
        return wrong("the session there has ended (SAML-31)".to_owned());
    }
    let context = xml::only(statement, ns::ASSERTION, "AuthnContext")
        .and_then(|context| xml::only(context, ns::ASSERTION, "AuthnContextClassRef"))
        .and_then(|class| xml::text(class))
        .map(str::to_owned);
    if !expected.contexts.is_empty() && !context.as_ref().is_some_and(|it| expected.contexts.contains(it)) {
        let found = quoted(context.as_deref().unwrap_or_default());
        return wrong(format!(
            "somebody signed in there by {found}, which is not what is asked for (SAML-36)"
        ));
    }
    let index = statement.attribute("SessionIndex").filter(|index| index.len() <= NAME).map(str::to_owned);
    Ok(Authenticated { at, context, ends, index })
}

/// The name of the subject (`SAML-18`, `SAML-37`).
fn name_id(subject: Node<'_, '_>, expected: &Expected) -> Result<NameId, Refused> {
    let wrong = |detail: &str| Refused::by("saml subject", detail);
    let node = xml::only(subject, ns::ASSERTION, "NameID")
        .ok_or_else(|| wrong("the subject has no NameID, or more than one (SAML-37)"))?;
    let value = xml::text(node).ok_or_else(|| wrong("the NameID is more than text (SAML-18)"))?;
    if value.is_empty() || value.len() > NAME || value.chars().any(char::is_control) {
        return Err(wrong("the NameID is empty, too long, or has control characters (SAML-37)"));
    }
    let said = |name: &str| node.attribute(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(NameId {
        value: value.to_owned(),
        format: said("Format").unwrap_or_else(|| attributes::UNSPECIFIED.to_owned()),
        // Left out, it means the provider and us (Core §8.3.7): written out, it is the same name.
        qualifier: said("NameQualifier").filter(|it| *it != expected.issuer),
        sp_qualifier: said("SPNameQualifier").filter(|it| *it != expected.audience),
    })
}
