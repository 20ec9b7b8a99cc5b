//! The policy language, as written: names, not yet looked up. `access` compiles it against the tenant tree.

use std::fmt;

use super::text::BadText;
use super::{Hostname, Permission, PlacePath, Slug, Span, Username};

/// Where something was written, for messages: `conf.d/reports.toml:18`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source(pub String);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// `dept:acme/europe/finance`
    Department(PlacePath),
    /// `domain:example.com`: the verified address is in that domain.
    Domain(Hostname),
    /// `group:staff`, `group:acme/staff`
    Group {
        /// The tenant, if it is not the route's.
        tenant: Option<Slug>,
        /// The group.
        name: Slug,
    },
    /// `org:acme/europe`
    Org(PlacePath),
    /// `idp:entra`: signed in through that provider.
    Provider(Slug),
    /// `role:analyst`, `role:analyst@acme/europe`
    Role {
        /// The role.
        slug: Slug,
        /// Where it must have been given, or wider.
        at: Option<PlacePath>,
    },
    /// `signed-in`
    SignedIn,
    /// `tenant:acme`
    Tenant(Slug),
    /// `user:ada`
    User(Username),
}

impl Who {
    /// # Errors
    /// With a sentence that says what is wrong with the word.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let Some((kind, rest)) = text.split_once(':') else {
            return match text {
                "signed-in" => Ok(Who::SignedIn),
                "anyone" => {
                    Err(BadText("there is no word for everybody; write `public = true` in a rule of its own"))
                }
                _ => Err(BadText(
                    "who is written signed-in, user:NAME, group:NAME, role:NAME, tenant:NAME, org:PLACE, dept:PLACE, domain:NAME or idp:NAME",
                )),
            };
        };
        match kind {
            "dept" => match PlacePath::parse(rest)? {
                path @ PlacePath { department: Some(_), .. } => Ok(Who::Department(path)),
                _ => Err(BadText("a department is written dept:tenant/organisation/department")),
            },
            "domain" => Hostname::parse(rest).map(Who::Domain),
            "group" => match rest.split_once('/') {
                Some((tenant, name)) => {
                    Ok(Who::Group { tenant: Some(Slug::parse(tenant)?), name: Slug::parse(name)? })
                }
                None => Ok(Who::Group { tenant: None, name: Slug::parse(rest)? }),
            },
            "idp" => Slug::parse(rest).map(Who::Provider),
            "key" => Err(BadText("API keys are not built yet, so key: cannot be used in a policy")),
            "org" => match PlacePath::parse(rest)? {
                path @ PlacePath { org: Some(_), department: None, .. } => Ok(Who::Org(path)),
                _ => Err(BadText("an organisation is written org:tenant/organisation")),
            },
            "role" => match rest.split_once('@') {
                Some((slug, at)) => {
                    Ok(Who::Role { slug: Slug::parse(slug)?, at: Some(PlacePath::parse(at)?) })
                }
                None => Ok(Who::Role { slug: Slug::parse(rest)?, at: None }),
            },
            "tenant" => Slug::parse(rest).map(Who::Tenant),
            "user" => Username::parse(rest).map(Who::User),
            _ => Err(BadText(
                "who begins with user:, group:, role:, tenant:, org:, dept:, domain: or idp:, or is signed-in",
            )),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Department(path) => write!(f, "dept:{path}"),
            Who::Domain(domain) => write!(f, "domain:{domain}"),
            Who::Group { tenant: Some(tenant), name } => write!(f, "group:{tenant}/{name}"),
            Who::Group { tenant: None, name } => write!(f, "group:{name}"),
            Who::Org(path) => write!(f, "org:{path}"),
            Who::Provider(name) => write!(f, "idp:{name}"),
            Who::Role { slug, at: Some(at) } => write!(f, "role:{slug}@{at}"),
            Who::Role { slug, at: None } => write!(f, "role:{slug}"),
            Who::SignedIn => f.write_str("signed-in"),
            Who::Tenant(slug) => write!(f, "tenant:{slug}"),
            Who::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// How: what must hold besides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// `method:GET,HEAD`
    Method(Vec<String>),
    /// `mfa`, `mfa<15m`
    Mfa(Option<Span>),
    /// `net:office`: a name of `[networks]`.
    Net(Slug),
    /// `session<8h`: the first factor was given less than so long ago.
    Session(Span),
}

impl How {
    /// # Errors
    /// With a sentence that says what is wrong with the word.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        const SPAN: BadText = BadText("after `<` comes a duration such as 15m or 8h");
        let span = |text: &str| text.parse::<Span>().ok().filter(|span| *span > Span::ZERO).ok_or(SPAN);
        if text == "mfa" {
            return Ok(How::Mfa(None));
        }
        if let Some(rest) = text.strip_prefix("mfa<") {
            return span(rest).map(Some).map(How::Mfa);
        }
        if let Some(rest) = text.strip_prefix("session<") {
            return span(rest).map(How::Session);
        }
        if let Some(rest) = text.strip_prefix("net:") {
            return Slug::parse(rest).map(How::Net);
        }
        if let Some(rest) = text.strip_prefix("method:") {
            let methods: Vec<String> = rest.split(',').map(str::to_owned).collect();
            return if methods.iter().all(|m| method(m)) { Ok(How::Method(methods)) } else { Err(METHOD) };
        }
        if text == "passkey" {
            return Err(BadText("passkeys are not built yet, so passkey cannot be required; use mfa"));
        }
        if text.starts_with("hours:") {
            return Err(BadText("hours: is not built yet"));
        }
        Err(BadText("how is written mfa, mfa<15m, session<8h, net:NAME or method:GET,HEAD"))
    }
}

const METHOD: BadText = BadText("a method is written in capital letters: GET, HEAD, POST");

/// Whether the word is a method name (RFC 9110 §9.1) that may be forwarded at all.
#[must_use]
pub fn method(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        && text != "CONNECT"
        && text != "TRACE"
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            How::Method(methods) => write!(f, "method:{}", methods.join(",")),
            How::Mfa(None) => f.write_str("mfa"),
            How::Mfa(Some(fresh)) => write!(f, "mfa<{fresh}"),
            How::Net(name) => write!(f, "net:{name}"),
            How::Session(fresh) => write!(f, "session<{fresh}"),
        }
    }
}

/// A permission that a rule needs, perhaps at another place than the route's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Needs {
    /// `reports:read`
    pub permission: Permission,
    /// After an `@`.
    pub at: Option<PlacePath>,
}

impl Needs {
    /// # Errors
    /// When it is not `resource:action` or `resource:action@place`.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        match text.split_once('@') {
            Some((permission, at)) => {
                Ok(Self { permission: Permission::parse(permission)?, at: Some(PlacePath::parse(at)?) })
            }
            None => Ok(Self { permission: Permission::parse(text)?, at: None }),
        }
    }
}

/// A path of a rule: `/exact`, or `/prefix/*`, which covers `/prefix` as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// Without the `/*`; empty for `/*`.
    pub text: String,
    /// Whether it ended in `/*`.
    pub open: bool,
}

impl PathPattern {
    /// Every path.
    #[must_use]
    pub fn everything() -> Self {
        Self { text: String::new(), open: true }
    }

    /// # Errors
    /// When it does not begin with a slash, has a `*` elsewhere, or is not canonical.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        const BAD: BadText = BadText("a path begins with a slash and may end in /*; no other * is known");
        let (bare, open) = match text.strip_suffix("/*") {
            Some(bare) => (bare, true),
            None => (text, false),
        };
        if bare.contains(['*', '?', '#']) || (bare.is_empty() && !open) {
            return Err(BAD);
        }
        if !bare.is_empty() {
            let target = super::target::Target::parse(bare).map_err(|_| BAD)?;
            if target.path() != bare {
                return Err(BadText(
                    "write the path as it is after decoding: no percent-encoded letters, no dot segments",
                ));
            }
        }
        Ok(Self { text: bare.to_owned(), open })
    }

    /// Whether a path lies under it. Compares on segment boundaries.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match path.strip_prefix(self.text.as_str()) {
            Some("") => !self.text.is_empty(),
            Some(rest) => self.open && rest.starts_with('/'),
            None => false,
        }
    }
}

impl PathPattern {
    /// Whether a folded path lies under this folded pattern as the most lenient upstream sees it: a slash at the end
    /// makes no difference to it.
    #[must_use]
    pub fn covers_leniently(&self, path: &str) -> bool {
        let (text, path) = (self.text.trim_end_matches('/'), path.trim_end_matches('/'));
        match path.strip_prefix(text) {
            Some("") => true,
            Some(rest) => self.open && rest.starts_with('/'),
            None => false,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.open { f.write_str("/*") } else { Ok(()) }
    }
}

/// Who may pass a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Somebody who is on the list, if there is one, and holds the permission, if one is needed.
    /// One of the two is always there.
    Members {
        /// Any one of these.
        allow: Vec<Who>,
        /// A permission.
        needs: Option<Needs>,
    },
    /// Everybody, without sign-in. Upstreams learn nothing about who it is.
    Public,
}

/// One rule of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub source: Source,
    /// Methods; empty means any.
    pub methods: Vec<String>,
    /// Paths.
    pub path: PathPattern,
    /// Who.
    pub access: Access,
    /// Who not, whatever else.
    pub deny: Vec<Who>,
    /// What besides.
    pub require: Vec<How>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_on_segments() {
        let pattern = |text| PathPattern::parse(text).unwrap();
        for (text, path, covers) in [
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/x/*", "/x", true),
            ("/x/*", "/x/", true),
            ("/x/*", "/x/y", true),
            ("/x/*", "/xy", false),
            ("/x", "/x", true),
            ("/x", "/x/", false),
            ("/x", "/x/y", false),
        ] {
            assert_eq!(pattern(text).covers(path), covers, "{text} {path}");
        }
        for wrong in ["", "x", "/x/*/y", "/*x", "/a/../b", "/%61", "/a?b", "*"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_read_and_write_the_same() {
        for text in [
            "signed-in",
            "user:ada",
            "group:staff",
            "group:acme/staff",
            "role:analyst",
            "role:analyst@acme/europe",
            "tenant:acme",
            "org:acme/europe",
            "dept:acme/europe/finance",
            "domain:example.com",
            "idp:entra",
        ] {
            assert_eq!(Who::parse(text).unwrap().to_string(), text);
        }
        for text in ["mfa", "mfa<15m", "session<8h", "net:office", "method:GET,HEAD"] {
            assert_eq!(How::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["anyone", "key:ci", "org:acme", "dept:acme/europe", "nobody", "user:", ""] {
            assert!(Who::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["mfa<", "mfa<0s", "session", "hours:mon", "passkey", "method:get", "method:CONNECT", ""]
        {
            assert!(How::parse(wrong).is_err(), "{wrong}");
        }
    }
}
