//! Metadata (Metadata §2): what a provider says about itself, and what we say.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;

use super::response::xml_moment;
use super::xml::escaped;
use super::{binding, encryption, ns, xml};
use crate::crypto::signer;
use crate::domain::Timestamp;
use crate::domain::saml::Description;
use crate::protocol::oidc::{Refused, quoted};

/// Reads a provider's metadata (`SAML-47` to `SAML-49`). `entity_id` is who it must be, if that is known.
///
/// # Errors
/// When it is none, of somebody else, out of date, leads over plain HTTP beyond this machine, or has no certificate that can be
/// used.
pub fn description(bytes: &[u8], entity_id: Option<&str>, now: Timestamp) -> Result<Description, Refused> {
    let wrong = |detail: String| Refused::by("saml metadata", detail);
    let text = xml::plain_metadata(bytes)?;
    let tree = xml::tree(text)?;
    let root = tree.root_element();
    let fits = |node: &Node<'_, '_>| {
        xml::is(*node, ns::METADATA, "EntityDescriptor")
            && xml::only(*node, ns::METADATA, "IDPSSODescriptor").is_some()
            && entity_id.is_none_or(|id| node.attribute("entityID") == Some(id))
    };
    let mut entities = tree.descendants().filter(fits);
    let entity = match (entities.next(), entities.next()) {
        (Some(entity), None) => entity,
        (None, _) => {
            let who = entity_id.map(|id| format!(" called {}", quoted(id))).unwrap_or_default();
            return Err(wrong(format!("it describes no identity provider{who}")));
        }
        (Some(_), Some(_)) => {
            return Err(wrong("it describes several identity providers: name one as entity_id".to_owned()));
        }
    };
    let idp = xml::only(entity, ns::METADATA, "IDPSSODescriptor")
        .ok_or_else(|| wrong("it describes no identity provider".to_owned()))?;
    let mut valid_until: Option<Timestamp> = None;
    for node in [root, entity, idp] {
        if let Some(text) = node.attribute("validUntil") {
            let until = xml_moment(text)
                .ok_or_else(|| wrong(format!("validUntil is no moment: {}", quoted(text))))?;
            if until <= now {
                return Err(wrong(format!("it counted until {} ago", now.since(until).words())));
            }
            valid_until = Some(valid_until.map_or(until, |known| known.min(until)));
        }
    }
    let services = |wanted: &str| -> Result<Option<String>, Refused> {
        let mut all = xml::named(idp, ns::METADATA, "SingleSignOnService");
        let found = all.find(|it| it.attribute("Binding") == Some(wanted));
        let Some(at) = found.and_then(|it| it.attribute("Location")) else { return Ok(None) };
        if !address(at) {
            return Err(wrong(format!("{} is no https address to send people to", quoted(at))));
        }
        Ok(Some(at.to_owned()))
    };
    let (sso_redirect, sso_post) = (services(binding::REDIRECT)?, services(binding::POST)?);
    if sso_redirect.is_none() && sso_post.is_none() {
        return Err(wrong("it names no address for sign-in by redirect or POST".to_owned()));
    }
    let mut certificates = Vec::new();
    let mut unfit = None;
    for key in xml::named(idp, ns::METADATA, "KeyDescriptor") {
        if key.attribute("use").is_some_and(|for_what| for_what != "signing") {
            continue;
        }
        let written = key.descendants().filter(|it| xml::is(*it, ns::SIGNATURE, "X509Certificate"));
        for text in written.filter_map(|it| xml::text(it)) {
            let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let judged = STANDARD.decode(dense).ok().map(signer::judged);
            match judged {
                Some(Ok(certificate)) => certificates.push(certificate),
                Some(Err(why)) => unfit = Some(why.to_string()),
                None => unfit = Some("a certificate is no base64".to_owned()),
            }
        }
    }
    if certificates.is_empty() {
        let why = unfit.unwrap_or_else(|| "it has none for signing".to_owned());
        return Err(wrong(format!("nothing would verify its signatures: {why} (SAML-49)")));
    }
    Ok(Description {
        entity_id: entity.attribute("entityID").unwrap_or_default().to_owned(),
        sso_redirect,
        sso_post,
        certificates,
        wants_signed_requests: matches!(idp.attribute("WantAuthnRequestsSigned"), Some("true" | "1")),
        valid_until,
    })
}

/// Whether people may be sent to an address: over TLS, or on this machine.
#[must_use]
pub fn address(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let here = url.host_str().is_some_and(|host| {
        host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1" || host == "[::1]"
    });
    let fine = url.scheme() == "https" || (url.scheme() == "http" && here);
    fine && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

/// What we say about ourselves to a provider (`SAML-47`).
pub struct Ours<'a> {
    /// Who we are to it.
    pub entity_id: &'a str,
    /// Where answers are posted.
    pub address: &'a str,
    /// The format of name that is asked for.
    pub name_id: Option<&'a str>,
    /// Whether requests are signed.
    pub signs: bool,
    /// Certificates of the keys that sign, the newest last.
    pub signing: &'a [Vec<u8>],
    /// Certificates of the keys that open what is encrypted, the newest last.
    pub opening: &'a [Vec<u8>],
}

impl Ours<'_> {
    /// As XML.
    #[must_use]
    pub fn xml(&self) -> String {
        let mut keys = String::new();
        let methods = encryption::METHODS
            .map(|method| format!("<md:EncryptionMethod Algorithm=\"{method}\"/>"))
            .concat();
        for (use_, methods, list) in [("signing", "", self.signing), ("encryption", &*methods, self.opening)]
        {
            for certificate in list {
                let _ = write!(
                    keys,
                    "<md:KeyDescriptor use=\"{use_}\"><ds:KeyInfo xmlns:ds=\"{}\"><ds:X509Data><ds:X509Certificate>{}\
                     </ds:X509Certificate></ds:X509Data></ds:KeyInfo>{methods}</md:KeyDescriptor>",
                    ns::SIGNATURE,
                    STANDARD.encode(certificate)
                );
            }
        }
        let format = self
            .name_id
            .map(|format| format!("<md:NameIDFormat>{}</md:NameIDFormat>", escaped(format)))
            .unwrap_or_default();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<md:EntityDescriptor xmlns:md=\"{}\" entityID=\"{}\"><md:SPSSODescriptor \
             AuthnRequestsSigned=\"{}\" WantAssertionsSigned=\"true\" protocolSupportEnumeration=\"{}\">{keys}{format}\
             <md:AssertionConsumerService Binding=\"{}\" Location=\"{}\" index=\"0\" isDefault=\"true\"/>\
             </md:SPSSODescriptor></md:EntityDescriptor>\n",
            ns::METADATA,
            escaped(self.entity_id),
            self.signs,
            ns::PROTOCOL,
            binding::POST,
            escaped(self.address),
        )
    }
}
