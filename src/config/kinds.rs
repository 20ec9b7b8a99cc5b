//! The values that keys take: how each is written, read and described.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::Code;
use super::desk::{Desk, nearest, row};
use super::read::{Bad, Kind, Read, Scalar, Written, refuse, schema};
use super::settings::{self, DataPlane, LogFormat, MfaRequire, PublicUrl, Scheme};
use super::tree::{Key, Node, Spot, Value};
use crate::domain::policy::{self, How, Needs, PathPattern, Who};
use crate::domain::pool::Balance;
use crate::domain::provider::{Algorithm, Audience, Provision, ResponseMode};
use crate::domain::role::Scope;
use crate::domain::route::{Fact, Protocol, Transport, Upstream};
use crate::domain::target::{self, Target, Unusual};
use crate::domain::{Hostname, PermissionPattern, PlacePath, Slug, Span};

/// What a domain type reads itself.
macro_rules! domain_text {
    ($($type:ty, $shape:tt;)+) => {$(
        impl Scalar for $type {
            fn parse(text: &str) -> Result<Self, Bad> {
                Ok(<$type>::parse(text)?)
            }
            fn shape() -> Json {
                json!($shape)
            }
        }
    )+};
}

domain_text! {
    Hostname, { "type": "string", "examples": ["wiki.example.com"] };
    How, { "type": "string", "examples": ["mfa", "mfa<15m", "session<8h", "net:office"] };
    Needs, { "type": "string", "examples": ["reports:read", "reports:read@acme/europe"] };
    PathPattern, { "type": "string", "pattern": "^/", "examples": ["/admin/*"] };
    PermissionPattern, { "type": "string", "pattern": "^[a-z0-9._*-]+:[a-z0-9._*-]+$" };
    PlacePath, { "type": "string", "examples": ["acme", "acme/europe", "acme/europe/finance"] };
    Slug, { "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" };
}

/// One of a few words.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),+ $(,)? } later { $($later:literal),* })+) => {$(
        impl Scalar for $type {
            fn parse(text: &str) -> Result<Self, Bad> {
                match text {
                    $($word => Ok($value),)+
                    $($later => Err(Bad::not_built(concat!("`", $later, "` is still to come"))),)*
                    _ => Err(no_such_word(text, &[$($word),+])),
                }
            }
            fn shape() -> Json {
                json!({ "type": "string", "enum": [$($word),+] })
            }
        }
    )+};
}

words! {
    Balance { "round-robin" => Balance::RoundRobin, "least-busy" => Balance::LeastBusy } later {}
    Algorithm {
        "EdDSA" => Algorithm::EdDsa,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
    } later {}
    ClientAuth {
        "client_secret_basic" => ClientAuth::Basic,
        "client_secret_post" => ClientAuth::Post,
        "private_key_jwt" => ClientAuth::Key,
        "none" => ClientAuth::None,
    } later {}
    Audience { "issuer" => Audience::Issuer, "token_endpoint" => Audience::TokenEndpoint } later {}
    GroupsOverage { "refuse" => GroupsOverage::Refuse, "graph" => GroupsOverage::Graph } later {}
    IdpType { "oidc" => IdpType::Oidc, "saml" => IdpType::Saml } later {}
    NameIdKind {
        "email" => NameIdKind("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"),
        "persistent" => NameIdKind("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
        "transient" => NameIdKind("urn:oasis:names:tc:SAML:2.0:nameid-format:transient"),
        "unspecified" => NameIdKind("urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"),
    } later {}
    WantPart {
        "signed-assertion" => WantPart::SignedAssertion,
        "signed-response" => WantPart::SignedResponse,
        "encrypted-assertion" => WantPart::EncryptedAssertion,
    } later {}
    Provision {
        "off" => Provision::Off,
        "link-only" => Provision::LinkOnly,
        "create" => Provision::Create,
        "update" => Provision::Update,
    } later {}
    ResponseMode { "query" => ResponseMode::Query, "form_post" => ResponseMode::FormPost } later {}
    Protocol { "http1" => Protocol::Http1, "http2" => Protocol::Http2 } later {}
    DataPlane { "hyper" => DataPlane::Hyper, "strict" => DataPlane::Strict } later {}
    FactorMethod { "totp" => FactorMethod::Totp, "recovery" => FactorMethod::Recovery } later { "passkey" }
    HostCase {
        "sensitive" => HostCase(target::Case::Sensitive),
        "insensitive" => HostCase(target::Case::Insensitive),
    } later {}
    LogFormat { "json" => LogFormat::Json, "text" => LogFormat::Text } later {}
    MfaRequire {
        "off" => MfaRequire::Off,
        "optional" => MfaRequire::Optional,
        "admins" => MfaRequire::Admins,
        "everyone" => MfaRequire::Everyone,
    } later {}
    Scope {
        "global" => Scope::Global,
        "tenant" => Scope::Tenant,
        "organization" => Scope::Organization,
        "department" => Scope::Department,
        "self" => Scope::Own,
    } later {}
    TlsMode { "files" => TlsMode::Files, "off" => TlsMode::Off } later { "acme", "internal" }
    UnusualName {
        "double-encoding" => UnusualName(Unusual::DOUBLE_ENCODING),
        "double-slash" => UnusualName(Unusual::DOUBLE_SLASH),
        "encoded-slash" => UnusualName(Unusual::ENCODED_SLASH),
        "lookalike" => UnusualName(Unusual::LOOKALIKE),
        "semicolon" => UnusualName(Unusual::SEMICOLON),
    } later {}
}

fn no_such_word(text: &str, words: &[&str]) -> Bad {
    let help = match nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write one of {}", row(words.iter().copied())),
    };
    Bad::value("there is no such word here", help)
}

/// A second factor that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FactorMethod {
    Recovery,
    Totp,
}

/// How a provider is shown who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    Basic,
    Key,
    None,
    Post,
}

/// What is done about more groups than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupsOverage {
    Graph,
    Refuse,
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdpType {
    Oidc,
    Saml,
}

/// A format of names in SAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameIdKind(pub(super) &'static str);

/// What a SAML response must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantPart {
    EncryptedAssertion,
    SignedAssertion,
    SignedResponse,
}

/// Where people are sent to sign in: an address, perhaps with a query.
#[derive(Clone, Debug)]
pub(super) struct SsoUrl(pub(super) String);

impl Scalar for SsoUrl {
    fn parse(text: &str) -> Result<Self, Bad> {
        if crate::protocol::saml::address(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Bad::value(
                "this is no https address to send people to",
                "copy the address for sign-in from the provider",
            ))
        }
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["https://idp.example.com/sso"] })
    }
}

/// Where metadata is.
#[derive(Clone, Debug)]
pub(super) enum MetadataPlace {
    Address(String),
    File(PathBuf),
}

impl Scalar for MetadataPlace {
    fn parse(text: &str) -> Result<Self, Bad> {
        if text.starts_with("https://") || text.starts_with("http://") {
            return match url::Url::parse(text) {
                Ok(url)
                    if url.username().is_empty() && url.password().is_none() && url.fragment().is_none() =>
                {
                    Ok(Self::Address(text.to_owned()))
                }
                _ => Err(Bad::value("this is no address of metadata", "copy it from the provider")),
            };
        }
        <FilePath as Scalar>::parse(text).map(|path| Self::File(path.0))
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["https://idp.example.com/metadata", "partners.xml"] })
    }
}

/// An issuer: an absolute address without query and fragment, kept exactly as written.
#[derive(Clone, Debug)]
pub(super) struct Issuer(pub(super) String);

impl Scalar for Issuer {
    fn parse(text: &str) -> Result<Self, Bad> {
        const HELP: &str =
            "copy it from the provider's discovery document: https://idp.example.com/realms/acme";
        let bad = |why: &'static str| Bad::value(why, HELP);
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| bad("an issuer is an address"))?;
        if text.contains(['?', '#', '@']) || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("an issuer has no query, fragment, user or space"));
        }
        let host = rest.split('/').next().unwrap_or_default();
        if authority(host).is_none()
            || text.ends_with("/.well-known/openid-configuration")
            || text.len() > 512
        {
            return Err(bad("this is no issuer"));
        }
        Ok(Self(text.to_owned()))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^https?://", "examples": ["https://idp.example.com/realms/acme"] })
    }
}

/// What may be reached from here besides the open internet.
#[derive(Clone, Debug)]
pub(super) enum Allow {
    Host(String, u16),
    Net(IpNet),
}

impl Scalar for Allow {
    fn parse(text: &str) -> Result<Self, Bad> {
        if let Ok(net) = <IpNet as Scalar>::parse(text) {
            return Ok(Self::Net(net));
        }
        let bad =
            || Bad::value("", "write a network, 10.20.0.0/16, or a host with its port, idp.corp.example:443");
        let (host, port) = authority(text).ok_or_else(bad)?;
        let port = port.ok_or_else(bad)?;
        let host = Hostname::parse(host).map_err(|_| bad())?;
        Ok(Self::Host(host.to_string(), port))
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["10.20.0.0/16", "idp.corp.example:443"] })
    }
}

/// How an upstream treats case.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostCase(pub(super) target::Case);

/// How TLS is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    Files,
    Off,
}

/// A site as browsers name it in `Origin`: `https://host`, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SiteOrigin(pub(super) String);

impl Scalar for SiteOrigin {
    fn parse(text: &str) -> Result<Self, Bad> {
        const HELP: &str =
            "write scheme and host, and the port if it is an unusual one: https://chat.example.com";
        let (scheme, rest) = scheme(text).ok_or_else(|| Bad::value("this is no site", HELP))?;
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(Bad::value("pages come over http or https", HELP)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(Bad::value(
                "a site has scheme, host and port only",
                "leave out path, query and user",
            ));
        }
        let (host, port) = authority(rest).ok_or_else(|| Bad::value("this is no host", HELP))?;
        let host = Hostname::parse(host).map_err(|_| Bad::value("this is no host name", HELP))?;
        let port = port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("{scheme}://{host}{port}")))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^https?://", "examples": ["https://chat.example.com"] })
    }
}

/// A spelling of paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnusualName(pub(super) Unusual);

impl Scalar for bool {
    const KIND: Kind = Kind::Flag;
    fn parse(text: &str) -> Result<Self, Bad> {
        text.trim().parse().map_err(|_| Bad::value("", "write true or false"))
    }
    fn shape() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Scalar for u32 {
    const KIND: Kind = Kind::Whole;
    fn parse(text: &str) -> Result<Self, Bad> {
        let text = text.trim();
        text.parse().map_err(|_| {
            if text.trim_start_matches('-').chars().all(|c| c.is_ascii_digit()) {
                Bad::value(
                    "",
                    "write a positive whole number; docs/configuration.md says from where to where",
                )
                .with(Code::OutOfRange)
            } else {
                Bad::value("this is no number", "write a whole number, in digits")
            }
        })
    }
    fn shape() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Scalar for String {
    fn parse(text: &str) -> Result<Self, Bad> {
        Ok(text.to_owned())
    }
}

impl Scalar for Span {
    fn parse(text: &str) -> Result<Self, Bad> {
        text.trim().parse().map_err(|error: crate::domain::time::NotASpan| Bad::value("", error.to_string()))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": ["15m"] })
    }
}

impl Scalar for IpNet {
    fn parse(text: &str) -> Result<Self, Bad> {
        let text = text.trim();
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(|net| net.trunc())
            .map_err(|_| {
                Bad::value(
                    "this is no network",
                    "write a network such as 10.0.0.0/8 or 2001:db8::/32, or one address",
                )
            })
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["10.0.0.0/8"] })
    }
}

impl Scalar for SocketAddr {
    fn parse(text: &str) -> Result<Self, Bad> {
        text.trim().parse().map_err(|_| {
            Bad::value(
                "this is no address to listen on",
                "write an IP address and a port: 127.0.0.1:8600 or [::1]:8600",
            )
        })
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["127.0.0.1:8600"] })
    }
}

impl Scalar for Who {
    fn parse(text: &str) -> Result<Self, Bad> {
        Ok(Who::parse(text)?)
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["signed-in", "group:staff", "role:analyst@acme/europe"] })
    }
}

/// Text for people: 1 to 300 characters without control characters.
#[derive(Clone, Debug)]
pub(super) struct Label(pub(super) String);

impl Scalar for Label {
    fn parse(text: &str) -> Result<Self, Bad> {
        let text = text.trim();
        let hidden =
            |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if text.is_empty() || text.chars().count() > 300 || text.chars().any(hidden) {
            return Err(Bad::value("", "write 1 to 300 characters on one line, without control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A path of the file system.
#[derive(Clone, Debug)]
pub(super) struct FilePath(pub(super) PathBuf);

impl Scalar for FilePath {
    fn parse(text: &str) -> Result<Self, Bad> {
        if text.is_empty() || text.contains('\0') {
            return Err(Bad::value("", "write the path of a file"));
        }
        Ok(Self(PathBuf::from(text)))
    }
}

/// A tenant, or `""` for none.
#[derive(Clone, Debug)]
pub(super) struct TenantRef(pub(super) Option<Slug>);

impl Scalar for TenantRef {
    fn parse(text: &str) -> Result<Self, Bad> {
        if text.is_empty() { Ok(Self(None)) } else { Ok(Self(Some(Slug::parse(text)?))) }
    }
}

/// What is logged.
#[derive(Clone, Debug)]
pub(super) struct LogLevel(pub(super) String);

impl Scalar for LogLevel {
    fn parse(text: &str) -> Result<Self, Bad> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        for part in text.split(',').map(str::trim) {
            let (target, level) = part.split_once('=').unwrap_or(("cardea", part));
            let named = !target.is_empty()
                && target.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
            if !LEVELS.contains(&level) {
                return Err(no_such_word(level, &LEVELS));
            }
            if !named {
                return Err(Bad::value("", "before the = stands a part of the program: cardea::proxy=debug"));
            }
        }
        Ok(Self(text.split(',').map(str::trim).collect::<Vec<_>>().join(",")))
    }
    fn shape() -> Json {
        json!({ "type": "string", "examples": ["info", "info,cardea::proxy=debug"] })
    }
}

/// Where a sign-in without a target ends.
pub(super) type Landing = settings::Landing;

impl Scalar for Landing {
    fn parse(text: &str) -> Result<Self, Bad> {
        match text {
            "apps" => Ok(Landing::Apps),
            "console" => Err(Bad::not_built("landing in the console")),
            name => Ok(Landing::Route(Slug::parse(name)?)),
        }
    }
}

/// A request method.
#[derive(Clone, Debug)]
pub(super) struct Method(pub(super) String);

impl Scalar for Method {
    fn parse(text: &str) -> Result<Self, Bad> {
        if policy::method(text) {
            return Ok(Self(text.to_owned()));
        }
        let why = match text {
            "CONNECT" | "TRACE" => "this method is never passed on",
            _ => "",
        };
        Err(Bad::value(why, "a method is written in capital letters: GET, HEAD, POST"))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^[A-Z-]+$", "examples": ["GET"] })
    }
}

/// The part of a host that a route answers on; empty for all of it.
#[derive(Clone, Debug)]
pub(super) struct Prefix(pub(super) String);

/// Paths on every host that never reach an upstream.
pub(super) const RESERVED: [&str; 2] = ["/.cardea", "/.well-known/cardea"];

impl Scalar for Prefix {
    fn parse(text: &str) -> Result<Self, Bad> {
        const HELP: &str = "write the beginning of the path as it is after decoding: /wiki";
        if text.contains('*') {
            return Err(Bad::value(
                "everything below is included",
                format!("write \"{}\"", text.trim_end_matches(['*', '/'])),
            ));
        }
        let bare = text.strip_suffix('/').unwrap_or(text);
        if !text.starts_with('/') || text.contains(['?', '#']) {
            return Err(Bad::value("", HELP));
        }
        if bare.is_empty() {
            return Ok(Self(String::new()));
        }
        match Target::parse(bare) {
            Ok(target) if target.path() == bare && target.unusual().none() => {}
            _ => return Err(Bad::value("this path can be read in more than one way", HELP)),
        }
        if RESERVED.iter().any(|reserved| bare == *reserved || bare.starts_with(&format!("{reserved}/"))) {
            return Err(Bad::value("Cardea answers these itself, on every host", "choose another path")
                .with(Code::ReservedPath));
        }
        Ok(Self(bare.to_owned()))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^/", "examples": ["/wiki"] })
    }
}

/// Splits `name:port`; an address of version 6 stands in brackets and keeps them.
fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, Some(port.parse().ok().filter(|port| *port != 0)?))
        }
        _ => (text, None),
    };
    if host.is_empty() { None } else { Some((host, port)) }
}

/// Takes the scheme off, whatever its case.
fn scheme(text: &str) -> Option<(String, &str)> {
    text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
}

impl Scalar for Upstream {
    fn parse(text: &str) -> Result<Self, Bad> {
        const HELP: &str = "write scheme, host and port: http://10.0.4.12:8080";
        let bad = |why: &'static str, help: &'static str| Bad::value(why, help).with(Code::Upstream);
        let (scheme, rest) = scheme(text).ok_or_else(|| bad("this is no address", HELP))?;
        let transport = match scheme.as_str() {
            "http" => Transport::Plain,
            // What the route says about it is put in its place when the route is read.
            "https" => Transport::Tls(Arc::default()),
            "h2c" | "grpc" | "grpcs" => {
                const HELP: &str =
                    "write http:// or https://, and upstream_protocol = \"http2\" in the route";
                return Err(bad("an address does not say which HTTP is spoken", HELP));
            }
            _ => return Err(bad("an upstream is reached over http or https", HELP)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(bad(
                "the path of a request is passed on as it is",
                "leave the path out of the address",
            ));
        }
        if rest.contains('@') {
            return Err(bad(
                "an address with a user would be logged and shown",
                "leave user and password out",
            ));
        }
        let (host, port) = authority(rest).ok_or_else(|| bad("this is no host and port", HELP))?;
        let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner
                .parse::<Ipv6Addr>()
                .map(|ip| format!("[{ip}]"))
                .map_err(|_| bad("this is no IP address", HELP))?,
            None => Hostname::parse(host)
                .map(|host| host.to_string())
                .map_err(|_| bad("this is no host name", HELP))?,
        };
        let mut upstream = Self { transport, protocol: Protocol::Http1, host, port: 0 };
        upstream.port = port.unwrap_or(upstream.usual_port());
        Ok(upstream)
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^https?://", "examples": ["http://10.0.4.12:8080", "https://10.0.4.12:8443"] })
    }
}

/// An address of `to`: as text, or in a table that says more.
#[derive(Clone, Debug)]
pub(super) struct To {
    pub(super) upstream: Written<Upstream>,
    pub(super) drain: bool,
}

impl Read for To {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Table(_)) {
            return Some(Self { upstream: Written::read(node, desk)?, drain: false });
        }
        desk.table(node, &["url", "drain"])?;
        let upstream = desk.field(node, "url", None);
        let drain = desk.field::<Written<bool>>(node, "drain", Some(json!(false)))?.value;
        Some(Self { upstream: upstream?, drain })
    }
}

impl JsonSchema for To {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "To".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties =
            json!({ "url": Upstream::shape(), "drain": { "type": "boolean", "default": false } });
        let table = json!({ "type": "object", "properties": properties, "required": ["url"], "additionalProperties": false });
        schema(json!({ "anyOf": [Upstream::shape(), table] }))
    }
}

/// What a health check asks for.
#[derive(Clone, Debug)]
pub(super) struct ProbePath(pub(super) String);

impl Scalar for ProbePath {
    fn parse(text: &str) -> Result<Self, Bad> {
        let fine = text.starts_with('/')
            && text.len() <= 1024
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !fine {
            return Err(Bad::value("", "write it as in a request: /healthz"));
        }
        Ok(Self(text.to_owned()))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^/", "examples": ["/healthz"] })
    }
}

impl Scalar for PublicUrl {
    fn parse(text: &str) -> Result<Self, Bad> {
        const HELP: &str =
            "write scheme and host, and the port if it is an unusual one: https://access.example.com";
        let bad = |why: &'static str, help: &'static str| Bad::value(why, help).with(Code::PublicUrl);
        let (scheme, rest) = scheme(text.trim()).ok_or_else(|| bad("this is no address", HELP))?;
        let scheme = match scheme.as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad("browsers come over https, or over http on this machine", HELP)),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(bad(
                "an address of a site has scheme, host and port only",
                "leave out path, query and user",
            ));
        }
        let (host, port) = authority(rest).ok_or_else(|| bad("this is no host", HELP))?;
        let host = Hostname::parse(host).map_err(|_| bad("this is no host name", HELP))?;
        let mut url = Self { scheme, host, port: None };
        url.port = port.filter(|port| *port != url.port_or_default());
        if url.scheme == Scheme::Http && !local(&url.host) {
            let help = "write https://, with certificates in [tls] or a proxy in front that ends TLS; http is for localhost and \
                        *.localhost";
            return Err(bad("passwords and sessions could be read on the way", help));
        }
        Ok(url)
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^https?://", "examples": ["https://access.example.com"] })
    }
}

/// Whether browsers take the host for this very machine (RFC 6761 §6.3).
pub(super) fn local(host: &Hostname) -> bool {
    let host = host.as_str();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Permissions of a role, in either spelling.
#[derive(Clone, Debug)]
pub(super) struct Permissions(pub(super) Vec<Written<PermissionPattern>>);

impl Read for Permissions {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        let Value::Table(table) = &node.value else { return Vec::read(node, desk).map(Self) };
        let mut all = Vec::new();
        for (resource, actions) in table {
            desk.path.push(resource.text.clone());
            for action in Vec::<Written<String>>::read(actions, desk).unwrap_or_default() {
                match PermissionPattern::parse(&format!("{}:{}", resource.text, action.value)) {
                    Ok(value) => all.push(Written { value, spot: action.spot }),
                    Err(bad) => refuse(desk, action.spot, bad.into()),
                }
            }
            desk.path.pop();
        }
        Some(Self(all))
    }
}

impl JsonSchema for Permissions {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Permissions".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let list = json!({ "type": "array", "items": PermissionPattern::shape() });
        let actions = json!({ "type": "array", "items": { "type": "string" } });
        schema(json!({ "anyOf": [list, { "type": "object", "additionalProperties": actions }] }))
    }
}

/// Networks by name.
#[derive(Clone, Debug)]
pub(super) struct NamedNetworks(pub(super) Vec<(Written<Slug>, Vec<Written<IpNet>>)>);

/// Reads a table whose keys are names of the operator's choice.
fn named<K: Scalar, V: Read>(node: &Node, desk: &mut Desk<'_>) -> Option<Vec<(Written<K>, V)>> {
    let Value::Table(table) = &node.value else {
        // Says so in the same words as for any other section.
        desk.table(node, &["NAME"])?;
        return None;
    };
    let mut all = Vec::new();
    for (key, value) in table {
        desk.path.push(key.text.clone());
        let value = V::read(value, desk);
        match (K::parse(&key.text), value) {
            (Ok(name), Some(value)) => all.push((Written { value: name, spot: key.spot }, value)),
            (Err(bad), _) => refuse(desk, key.spot, bad),
            (Ok(_), None) => {}
        }
        desk.path.pop();
    }
    Some(all)
}

impl Read for NamedNetworks {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        named(node, desk).map(Self)
    }
}

impl JsonSchema for NamedNetworks {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Networks".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let list = json!({ "type": "array", "items": IpNet::shape() });
        schema(json!({ "type": "object", "additionalProperties": list }))
    }
}

/// Which headers carry which facts.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) what: HeaderChoice,
}

/// A preset by name, or a table.
#[derive(Clone, Debug)]
pub(super) enum HeaderChoice {
    Custom(Vec<(Key, Written<Fact>)>),
    Preset(String),
}

impl Scalar for Fact {
    fn parse(text: &str) -> Result<Self, Bad> {
        Fact::named(text).ok_or_else(|| no_such_word(text, &Fact::NAMES.map(|(name, _)| name)))
    }
    fn shape() -> Json {
        json!({ "type": "string", "enum": Fact::NAMES.map(|(name, _)| name) })
    }
}

/// The name of a preset.
struct PresetName(String);

impl Scalar for PresetName {
    fn parse(text: &str) -> Result<Self, Bad> {
        let names = crate::domain::route::PRESETS.map(|(name, _)| name);
        if names.contains(&text) { Ok(Self(text.to_owned())) } else { Err(no_such_word(text, &names)) }
    }
    fn shape() -> Json {
        json!({ "type": "string", "enum": crate::domain::route::PRESETS.map(|(name, _)| name) })
    }
}

impl Read for Headers {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        let what = match &node.value {
            Value::Table(table) => {
                let mut all = Vec::new();
                for (key, value) in table {
                    desk.path.push(key.text.clone());
                    if let Some(fact) = Written::<Fact>::read(value, desk) {
                        all.push((key.clone(), fact));
                    }
                    desk.path.pop();
                }
                HeaderChoice::Custom(all)
            }
            _ => HeaderChoice::Preset(Written::<PresetName>::read(node, desk)?.value.0),
        };
        Some(Self { what })
    }
}

impl JsonSchema for Headers {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Headers".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let custom = json!({ "type": "object", "additionalProperties": Fact::shape() });
        schema(json!({ "anyOf": [PresetName::shape(), custom] }))
    }
}

/// The name of a header that a route changes.
#[derive(Clone, Debug)]
pub(super) struct HeaderName(pub(super) String);

impl Scalar for HeaderName {
    fn parse(text: &str) -> Result<Self, Bad> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if text.len() > 64 || !plain || !text.bytes().any(|b| b.is_ascii_alphanumeric()) {
            let why = "this cannot be the name of a header";
            return Err(Bad::value(why, "use letters, digits and hyphens: X-Site").with(Code::HeaderEdit));
        }
        Ok(Self(text.to_owned()))
    }
    fn shape() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9-]+$", "examples": ["Accept-Encoding"] })
    }
}

/// The value of a header that a route sets.
#[derive(Clone, Debug)]
pub(super) struct HeaderText(pub(super) String);

impl Scalar for HeaderText {
    fn parse(text: &str) -> Result<Self, Bad> {
        const MOST: usize = 2048;
        let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if text.is_empty() || text.len() > MOST || !visible || text.trim() != text {
            let help = "write visible ASCII characters, at most 2048, and no blank at either end";
            return Err(Bad::value("this cannot be the value of a header", help).with(Code::HeaderEdit));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Headers that a route sets.
#[derive(Clone, Debug)]
pub(super) struct HeaderLines(pub(super) Vec<(Written<HeaderName>, Written<HeaderText>)>);

impl Read for HeaderLines {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        named(node, desk).map(Self)
    }
}

impl JsonSchema for HeaderLines {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderLines".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(json!({ "type": "object", "additionalProperties": HeaderText::shape() }))
    }
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub(super) struct SecretRef {
    pub(super) spot: Spot,
    pub(super) place: SecretPlace,
}

/// See [`SecretRef`].
#[derive(Clone)]
pub(super) enum SecretPlace {
    /// By the name systemd knows it by.
    Credential(String),
    /// In a file.
    File(PathBuf),
    /// Right there.
    Literal(Zeroizing<String>),
    /// In a variable, by name.
    Variable(String),
}

impl fmt::Debug for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Read for SecretRef {
    fn read(node: &Node, desk: &mut Desk<'_>) -> Option<Self> {
        const HELP: &str = "write { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";
        let place = match &node.value {
            Value::Text(text) | Value::Loose(text) => SecretPlace::Literal(Zeroizing::new(text.clone())),
            Value::Table(table) => {
                let table_of =
                    |desk: &mut Desk<'_>| desk.table(node, &["file", "env", "credential"]).map(|_| ());
                table_of(desk)?;
                let mut known = table
                    .iter()
                    .filter(|(key, _)| ["file", "env", "credential"].contains(&key.text.as_str()));
                let (Some((key, value)), None) = (known.next(), known.next()) else {
                    let message = format!("`{}` must say one place for the secret", desk.key());
                    desk.fault(Code::WrongKind, node.spot, message).help(HELP);
                    return None;
                };
                let text = Written::<FilePath>::read(value, desk)?.value.0;
                let word = text.to_string_lossy().into_owned();
                match key.text.as_str() {
                    "file" => SecretPlace::File(desk.folder(value.spot).join(text)),
                    "env" => SecretPlace::Variable(word),
                    _ if word.contains('/') || word.starts_with('.') => {
                        refuse(
                            desk,
                            value.spot,
                            Bad::value(
                                "a credential is a name, not a path",
                                "write the name that LoadCredential= gives it",
                            ),
                        );
                        return None;
                    }
                    _ => SecretPlace::Credential(word),
                }
            }
            found => {
                let (key, found) = (desk.key(), found.words());
                desk.fault(Code::WrongKind, node.spot, format!("`{key}` takes a secret"))
                    .label(format!("this is {found}"))
                    .help(HELP);
                return None;
            }
        };
        Some(Self { spot: node.spot, place })
    }
}

impl JsonSchema for SecretRef {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |key: &str| json!({ "type": "object", "properties": { key: { "type": "string" } }, "required": [key], "additionalProperties": false });
        schema(json!({ "anyOf": [{ "type": "string" }, one("file"), one("env"), one("credential")] }))
    }
}
