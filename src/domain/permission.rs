//! Permissions: `resource:action`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::BadText;

const BAD: BadText = BadText(
    "a permission is written resource:action, each of lower-case letters, digits, hyphen, underscore or full stop",
);

fn word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}

/// One exact permission, as a rule needs it: `reports:read`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Permission(Box<str>);

impl Permission {
    /// # Errors
    /// When it is not `resource:action`; a `*` is none either.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        match text.split_once(':') {
            Some((resource, action)) if word(resource) && word(action) => Ok(Self(text.into())),
            _ => Err(BAD),
        }
    }

    /// Whether it gives power over Cardea itself, rather than over an app.
    #[must_use]
    pub fn administrative(&self) -> bool {
        ADMINISTRATIVE.contains(&self.resource())
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is about.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.0.split_once(':').map_or("", |(resource, _)| resource)
    }

    /// What may be done with it.
    #[must_use]
    pub fn action(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, action)| action)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl TryFrom<String> for Permission {
    type Error = BadText;
    fn try_from(text: String) -> Result<Self, BadText> {
        Self::parse(&text)
    }
}
impl From<Permission> for String {
    fn from(permission: Permission) -> String {
        permission.0.into()
    }
}

/// What a role holds: a permission, every action on a resource (`reports:*`), or everything (`*:*`).
///
/// No other wildcard exists: `*:read` and `rep*:read` are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PermissionPattern {
    /// `resource:*`
    Actions(Box<str>),
    /// `*:*`
    Everything,
    /// `resource:action`
    Exactly(Permission),
}

impl PermissionPattern {
    /// # Errors
    /// When it is none of the three forms.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        match text.split_once(':') {
            Some(("*", "*")) => Ok(Self::Everything),
            Some((resource, "*")) if word(resource) => Ok(Self::Actions(resource.into())),
            _ => Permission::parse(text).map(Self::Exactly),
        }
    }

    /// Whether holding this is holding that.
    #[must_use]
    pub fn allows(&self, needed: &Permission) -> bool {
        match self {
            Self::Everything => true,
            Self::Actions(resource) => needed.resource() == &**resource,
            Self::Exactly(held) => held == needed,
        }
    }

    /// Whether everything that `other` allows is allowed by this one.
    #[must_use]
    pub fn includes(&self, other: &PermissionPattern) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Actions(mine), Self::Actions(theirs)) => mine == theirs,
            (_, Self::Everything) | (Self::Exactly(_), Self::Actions(_)) => false,
            (mine, Self::Exactly(theirs)) => mine.allows(theirs),
        }
    }

    /// Whether it gives power over Cardea itself, rather than over an app.
    #[must_use]
    pub fn administrative(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::Actions(resource) => ADMINISTRATIVE.contains(&&**resource),
            Self::Exactly(permission) => permission.administrative(),
        }
    }
}

/// The resources that are Cardea's own. Accounts of kind `user` hold none of them, whatever their roles say.
pub const ADMINISTRATIVE: [&str; 15] = [
    "api_keys",
    "audit",
    "budgets",
    "certificates",
    "console",
    "explain",
    "idps",
    "roles",
    "routes",
    "sessions",
    "settings",
    "tenants",
    "upstreams",
    "usage",
    "users",
];

impl fmt::Display for PermissionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*:*"),
            Self::Actions(resource) => write!(f, "{resource}:*"),
            Self::Exactly(permission) => permission.fmt(f),
        }
    }
}
impl TryFrom<String> for PermissionPattern {
    type Error = BadText;
    fn try_from(text: String) -> Result<Self, BadText> {
        Self::parse(&text)
    }
}
impl From<PermissionPattern> for String {
    fn from(pattern: PermissionPattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_11_wildcards_are_explicit() {
        for wrong in [
            "*",
            "users:*x",
            "*:read",
            "us*:read",
            "users",
            "users:",
            ":read",
            "Users:read",
            "a:b:c",
            "a b:c",
        ] {
            assert!(PermissionPattern::parse(wrong).is_err(), "{wrong}");
        }
        let read = Permission::parse("users:read").unwrap();
        for (pattern, allows) in [
            ("*:*", true),
            ("users:*", true),
            ("users:read", true),
            ("users:write", false),
            ("roles:*", false),
        ] {
            assert_eq!(PermissionPattern::parse(pattern).unwrap().allows(&read), allows, "{pattern}");
        }
    }

    #[test]
    fn inclusion() {
        let pattern = |text| PermissionPattern::parse(text).unwrap();
        assert!(pattern("*:*").includes(&pattern("users:*")));
        assert!(pattern("users:*").includes(&pattern("users:read")));
        assert!(!pattern("users:read").includes(&pattern("users:*")));
        assert!(!pattern("users:*").includes(&pattern("*:*")));
    }
}
