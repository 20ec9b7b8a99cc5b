//! Routes: which requests go to which upstream, and under which policy.

use std::sync::Arc;

use super::header::Edits;
use super::policy::{How, Rule, Source, Who};
use super::pool::Pool;
use super::target::{Case, Unusual};
use super::{Hostname, PlacePath, Secret, Slug, Span};

/// A route as the file has it.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it is written.
    pub source: Source,
    /// Its name, unique.
    pub name: Slug,
    /// The app's name for people.
    pub title: String,
    /// One line about the app, on its tile.
    pub about: String,
    /// The host it answers on.
    pub host: Hostname,
    /// The path prefix it answers on, without trailing slash; empty for the whole host.
    pub prefix: String,
    /// The prefix that takes the place of `prefix` on the way to the upstream.
    pub rewrite: Option<String>,
    /// What people read while nothing is passed on.
    pub maintenance: Option<String>,
    /// Where requests go; nowhere when another proxy forwards them.
    pub to: Vec<Upstream>,
    /// What is said about them besides.
    pub pool: Pool,
    /// Whether another proxy forwards its requests and asks here about each.
    pub forward_auth: bool,
    /// The tenant whose app it is.
    pub tenant: Option<Slug>,
    /// The place at which permissions must hold; by default the tenant.
    pub at: Option<PlacePath>,
    /// First match decides; nothing matches, nobody passes.
    pub rules: Vec<Rule>,
    /// Who not, whatever a rule says.
    pub deny: Vec<Who>,
    /// What besides, for every rule.
    pub require: Vec<How>,
    /// Which headers the upstream receives.
    pub headers: HeaderPreset,
    /// What changes about the header fields of requests, before identity is written.
    pub request_headers: Edits,
    /// What changes about those of answers, before it is judged what passes.
    pub answer_headers: Edits,
    /// What a refused person reads about getting access.
    pub help: Option<String>,
    /// Whether members see a tile.
    pub listed: bool,
    /// Whether a refusal says why, or only that.
    pub explain_refusals: bool,
    /// Spellings of paths that the upstream reads in one way.
    pub unusual: Unusual,
    /// How the upstream treats case.
    pub case: Case,
    /// Whether the upstream receives the client's `Host`; otherwise its own name.
    pub pass_host: bool,
    /// Whether answers to signed-in people are made `private`.
    pub private_answers: bool,
    /// Whether WebSockets are passed on, and how.
    pub websocket: Option<WebSocket>,
    /// How long connecting may take.
    pub connect_timeout: Span,
    /// How long the upstream may take until its response headers.
    pub request_timeout: Span,
    /// How long nothing may pass in the middle of an answer.
    pub idle_timeout: Span,
    /// How long an assertion is valid.
    pub assertion_life: Span,
}

/// How a route passes WebSockets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// The origins of pages that may open one, besides the route's own: `https://host` in lower case, perhaps with a port.
    pub origins: Vec<String>,
    /// One that is silent for so long, in both directions, ends.
    pub idle: Span,
}

/// An upstream's address, and how it is spoken to. Two that differ in anything share no connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// Plain or over TLS.
    pub transport: Transport,
    /// What is spoken.
    pub protocol: Protocol,
    /// Name or IP address; one of version 6 in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Upstream {
    /// Host and port as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.usual_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The port that an address of its scheme leaves out.
    #[must_use]
    pub const fn usual_port(&self) -> u16 {
        match self.transport {
            Transport::Plain => 80,
            Transport::Tls(_) => 443,
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.transport {
            Transport::Plain => "http",
            Transport::Tls(_) => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// A version of HTTP that an upstream speaks. Known beforehand on a plain connection; over TLS it must be agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    #[default]
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

/// How an upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Readable on the way.
    Plain,
    /// Over TLS, the other side verified.
    Tls(Arc<UpstreamTls>),
}

/// How the other side is verified, and who we are to it.
#[derive(Clone, Default)]
pub struct UpstreamTls {
    /// A digest of all the rest, by which two are told apart: they hold whole files.
    pub id: [u8; 32],
    /// The authorities that may vouch for it, as PEM; those of the machine when absent.
    pub ca: Option<Vec<u8>>,
    /// The certificate that we show, with its chain, and its key, as PEM.
    pub identity: Option<(Vec<u8>, Secret<Vec<u8>>)>,
    /// The name that it must prove, when it is not the host.
    pub server_name: Option<Hostname>,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for UpstreamTls {}

impl std::hash::Hash for UpstreamTls {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// One fact about the caller that a header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The signed assertion.
    Assertion,
    /// How the person signed in.
    Auth,
    /// The department's slug.
    Department,
    /// The verified address.
    Email,
    /// The groups, comma-separated.
    Groups,
    /// The groups, separated by `|`.
    GroupsPiped,
    /// The display name, percent-encoded.
    Name,
    /// The organisation's slug.
    Org,
    /// The roles as `slug@place`, comma-separated.
    Roles,
    /// The tenant's slug.
    Tenant,
    /// The immutable id.
    User,
    /// The sign-in name.
    Username,
    /// The verified address after `accounts.google.com:`.
    GoogleEmail,
    /// The immutable id after `accounts.google.com:`.
    GoogleUser,
}

impl Fact {
    /// Name in configuration, for each.
    pub const NAMES: [(&'static str, Fact); 12] = [
        ("assertion", Fact::Assertion),
        ("auth", Fact::Auth),
        ("dept", Fact::Department),
        ("email", Fact::Email),
        ("groups", Fact::Groups),
        ("groups-piped", Fact::GroupsPiped),
        ("name", Fact::Name),
        ("org", Fact::Org),
        ("roles", Fact::Roles),
        ("tenant", Fact::Tenant),
        ("user", Fact::User),
        ("username", Fact::Username),
    ];

    /// By its name in configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Fact> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, fact)| *fact)
    }
}

/// Which headers carry which facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderPreset {
    /// The preset's name, or `custom`.
    pub name: String,
    /// Header name in lower case, and what it carries.
    pub headers: Vec<(String, Fact)>,
}

/// A preset's name with the headers it sends.
pub type Preset = (&'static str, &'static [(&'static str, Fact)]);

/// The presets: our own, and those of products that people come from.
pub const PRESETS: [Preset; 8] = [
    (
        "cardea",
        &[
            ("cardea-user", Fact::User),
            ("cardea-username", Fact::Username),
            ("cardea-email", Fact::Email),
            ("cardea-name", Fact::Name),
            ("cardea-groups", Fact::Groups),
            ("cardea-roles", Fact::Roles),
            ("cardea-tenant", Fact::Tenant),
            ("cardea-org", Fact::Org),
            ("cardea-dept", Fact::Department),
            ("cardea-auth", Fact::Auth),
            ("cardea-assertion", Fact::Assertion),
        ],
    ),
    (
        "oauth2-proxy",
        &[
            ("x-forwarded-user", Fact::User),
            ("x-forwarded-preferred-username", Fact::Username),
            ("x-forwarded-email", Fact::Email),
            ("x-forwarded-groups", Fact::Groups),
        ],
    ),
    (
        "authelia",
        &[
            ("remote-user", Fact::Username),
            ("remote-email", Fact::Email),
            ("remote-name", Fact::Name),
            ("remote-groups", Fact::Groups),
        ],
    ),
    (
        "authentik",
        &[
            ("x-authentik-uid", Fact::User),
            ("x-authentik-username", Fact::Username),
            ("x-authentik-email", Fact::Email),
            ("x-authentik-name", Fact::Name),
            ("x-authentik-groups", Fact::GroupsPiped),
            ("x-authentik-jwt", Fact::Assertion),
        ],
    ),
    ("pomerium", &[("x-pomerium-jwt-assertion", Fact::Assertion)]),
    (
        "iap",
        &[
            ("x-goog-authenticated-user-email", Fact::GoogleEmail),
            ("x-goog-authenticated-user-id", Fact::GoogleUser),
            ("x-goog-iap-jwt-assertion", Fact::Assertion),
        ],
    ),
    (
        "cloudflare",
        &[("cf-access-authenticated-user-email", Fact::Email), ("cf-access-jwt-assertion", Fact::Assertion)],
    ),
    ("none", &[]),
];

/// What an upstream may be told besides, whatever the preset.
pub const BESIDES: [&str; 4] =
    ["cardea-groups-truncated", "cardea-impersonator", "cardea-request-id", "cardea-roles-truncated"];

impl HeaderPreset {
    /// A preset by name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.iter().find(|(known, _)| *known == name).map(|(name, headers)| Self {
            name: (*name).to_owned(),
            headers: headers.iter().map(|(header, fact)| ((*header).to_owned(), *fact)).collect(),
        })
    }
}

/// A name folded so that every spelling that some program takes for the same is the same: lower case, every run of
/// bytes outside `[a-z0-9]` one hyphen, none at the ends (`PROXY-05`).
#[must_use]
pub fn folded_name(name: &[u8]) -> String {
    fold_name(name, &mut Vec::with_capacity(name.len())).to_owned()
}

/// The same, into memory that is used again: a request has many names.
pub fn fold_name<'m>(name: &[u8], memory: &'m mut Vec<u8>) -> &'m str {
    memory.resize(name.len(), 0);
    // Folding makes nothing longer.
    let folded = fold_into(name, memory).unwrap_or_default();
    // Nothing but letters, digits and hyphens was put there.
    std::str::from_utf8(folded).unwrap_or_default()
}

/// The same, into memory of a fixed size; `None` when there is not enough of it.
#[must_use]
pub fn fold_into<'m>(name: &[u8], memory: &'m mut [u8]) -> Option<&'m [u8]> {
    let (mut length, mut gap) = (0, false);
    for byte in name {
        if !byte.is_ascii_alphanumeric() {
            gap = length > 0;
            continue;
        }
        if gap {
            *memory.get_mut(length)? = b'-';
            length += 1;
            gap = false;
        }
        *memory.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    memory.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_05_every_spelling_folds_to_one() {
        for name in [
            "Cardea-User",
            "cardea_user",
            "CARDEA.USER",
            "cardea--user",
            "-cardea-user-",
            "cardea-_.user",
            "cardea\u{0}user",
            " cardea user ",
        ] {
            assert_eq!(folded_name(name.as_bytes()), "cardea-user", "{name:?}");
        }
        assert_ne!(folded_name(b"cardeauser"), "cardea-user");
    }
}
