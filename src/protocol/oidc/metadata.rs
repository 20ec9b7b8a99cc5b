//! What a provider says about itself (`OpenID` Connect Discovery §3).

use serde_json::{Map, Value};

use super::{Refused, json, quoted};

const CHECK: &str = "discovery";

/// The parts of a discovery document that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The issuer, which is the configured one.
    pub issuer: String,
    /// Where the browser is sent.
    pub authorization_endpoint: String,
    /// Where the code is redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where more claims are.
    pub userinfo_endpoint: Option<String>,
    /// Where a browser is sent to sign out there (RP-Initiated Logout §2.1).
    pub end_session_endpoint: Option<String>,
    /// Where it says whether a token is still good (RFC 7662).
    pub introspection_endpoint: Option<String>,
    /// Whether its answers say who gives them (RFC 9207).
    pub says_issuer: bool,
}

impl Metadata {
    /// Where a provider's document is.
    #[must_use]
    pub fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
    }

    /// Reads the document of a configured issuer.
    ///
    /// # Errors
    /// When it is another issuer's (`OIDC-04`), lacks an endpoint, or sends us to plain HTTP below an issuer with TLS.
    pub fn parse(body: &[u8], issuer: &str) -> Result<Self, Refused> {
        let document = json::object(body, CHECK)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        match text("issuer") {
            Some(said) if said == issuer => {}
            Some(said) if said.trim_end_matches('/') == issuer.trim_end_matches('/') => {
                let detail = format!(
                    "the provider calls itself {}, the configuration says {}: they differ by a slash at the end; write it as \
                     the provider does",
                    quoted(said),
                    quoted(issuer)
                );
                return Err(Refused::by(CHECK, detail));
            }
            Some(said) => {
                let detail = format!("it is of the issuer {}, not of {}", quoted(said), quoted(issuer));
                return Err(Refused::by(CHECK, detail));
            }
            None => return Err(Refused::by(CHECK, "it names no issuer")),
        }
        let endpoint = |name: &'static str| endpoint(&document, name, issuer);
        let needed = |name: &'static str| {
            endpoint(name)?.ok_or_else(|| Refused::by(CHECK, format!("it has no {name}")))
        };
        offers(&document, "response_types_supported", "code")?;
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: needed("authorization_endpoint")?,
            token_endpoint: needed("token_endpoint")?,
            jwks_uri: needed("jwks_uri")?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?,
            end_session_endpoint: endpoint("end_session_endpoint")?,
            introspection_endpoint: endpoint("introspection_endpoint")?,
            says_issuer: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

/// An endpoint, if it is there: an absolute address, over TLS wherever the issuer is.
fn endpoint(document: &Map<String, Value>, name: &str, issuer: &str) -> Result<Option<String>, Refused> {
    let Some(value) = document.get(name) else { return Ok(None) };
    let bad = |why: &str| Refused::by(CHECK, format!("its {name} {why}"));
    let text = value.as_str().ok_or_else(|| bad("is no text"))?;
    let parsed = url::Url::parse(text).map_err(|_| bad("is no address"))?;
    let plain = match parsed.scheme() {
        "https" => false,
        "http" => true,
        _ => return Err(bad("is neither https nor http")),
    };
    if plain && !issuer.starts_with("http://") {
        return Err(bad("is without TLS"));
    }
    if parsed.host_str().is_none_or(str::is_empty) || parsed.fragment().is_some() {
        return Err(bad("is no address that can be asked"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || text.len() > 2048 {
        return Err(bad("has a user in it, or is too long"));
    }
    // As the library wrote it: numbers that stand for an address are an address now.
    Ok(Some(parsed.into()))
}

/// What a list offers, if there is a list.
fn offers(document: &Map<String, Value>, name: &str, wanted: &str) -> Result<(), Refused> {
    let Some(list) = document.get(name).and_then(Value::as_array) else { return Ok(()) };
    if list.iter().any(|one| one.as_str() == Some(wanted)) {
        return Ok(());
    }
    Err(Refused::by(CHECK, format!("its {name} lack {wanted}")))
}
