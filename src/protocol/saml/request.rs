//! A request for a sign-in (Core §3.4.1), and how a browser carries it in an address (Bindings §3.4).

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::xml::escaped;
use super::{binding, ns};
use crate::crypto::CryptoError;
use crate::crypto::rsa::RsaKey;
use crate::domain::Timestamp;

/// What is asked of a provider.
pub struct AuthnRequest<'a> {
    /// Its id: chance enough that nobody guesses it, and a name in XML (`SAML-46`).
    pub id: &'a str,
    /// Who asks.
    pub issuer: &'a str,
    /// Where the answer is to be posted.
    pub address: &'a str,
    /// Where the request goes.
    pub destination: &'a str,
    /// The format of name that is asked for.
    pub name_id: Option<&'a str>,
    /// Whether the person must sign in there anew (`SAML-52`).
    pub anew: bool,
    /// Contexts, one of which must be met.
    pub contexts: &'a [String],
    /// The time.
    pub now: Timestamp,
}

impl AuthnRequest<'_> {
    /// As XML.
    #[must_use]
    pub fn xml(&self) -> String {
        let anew = if self.anew { " ForceAuthn=\"true\"" } else { "" };
        let policy = self.name_id.map(|format| {
            format!("<samlp:NameIDPolicy AllowCreate=\"true\" Format=\"{}\"/>", escaped(format))
        });
        let mut classes = String::new();
        for class in self.contexts {
            let _ =
                write!(classes, "<saml:AuthnContextClassRef>{}</saml:AuthnContextClassRef>", escaped(class));
        }
        let contexts = if classes.is_empty() {
            String::new()
        } else {
            format!(
                "<samlp:RequestedAuthnContext Comparison=\"exact\">{classes}</samlp:RequestedAuthnContext>"
            )
        };
        format!(
            "<samlp:AuthnRequest xmlns:samlp=\"{}\" xmlns:saml=\"{}\" ID=\"{}\" Version=\"2.0\" IssueInstant=\"{}\" \
             Destination=\"{}\" ProtocolBinding=\"{}\" AssertionConsumerServiceURL=\"{}\"{anew}><saml:Issuer>{}</saml:Issuer>\
             {}{contexts}</samlp:AuthnRequest>",
            ns::PROTOCOL,
            ns::ASSERTION,
            escaped(self.id),
            written(self.now),
            escaped(self.destination),
            binding::POST,
            escaped(self.address),
            escaped(self.issuer),
            policy.unwrap_or_default(),
        )
    }
}

/// A moment as XML writes it.
pub(super) fn written(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at.millis()).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// RSA with SHA-256, as requests are signed.
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";

/// The address that carries a request to a provider, also where that has a query already. A signature is over our own parameters
/// as they are written, and over nothing of the address (Bindings §3.4.4.1).
///
/// # Errors
/// When it cannot be signed; never in practice.
pub fn redirect(
    destination: &str,
    request: &str,
    relay_state: &str,
    signer: Option<&RsaKey>,
) -> Result<String, CryptoError> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
    // Into memory: that does not fail.
    let _ = packed.write_all(request.as_bytes());
    let packed = STANDARD.encode(packed.finish().unwrap_or_default());
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("SAMLRequest", &packed).append_pair("RelayState", relay_state);
    if signer.is_some() {
        pairs.append_pair("SigAlg", RSA_SHA256);
    }
    let mut query = pairs.finish();
    if let Some(signer) = signer {
        let signature = STANDARD.encode(signer.sign(query.as_bytes())?);
        let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        query.push_str("&Signature=");
        query.push_str(&signature);
    }
    let mark = match destination.rsplit_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    Ok(format!("{destination}{mark}{query}"))
}
