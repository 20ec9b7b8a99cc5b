//! Text from outside, made into types. Each has one `parse` and no way around it.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::Secret;

/// Why a text was not taken. The sentence is fit to be shown to the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadText(pub &'static str);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadText;
            fn from_str(text: &str) -> Result<Self, BadText> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadText;
            fn try_from(text: String) -> Result<Self, BadText> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0.into()
            }
        }
    };
}

/// A name in addresses and files: `a-z 0-9 -`, 1 to 63 characters, begins and ends with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Box<str>);
text!(Slug);

impl Slug {
    /// # Errors
    /// When the text is anything but a slug.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let fine = !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(BadText("use 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"))
        }
    }
}

/// What somebody signs in with and what upstreams see: 3 to 50 of `a-z 0-9 - _ .`.
///
/// Upper case is folded, spaces around it are dropped. ASCII only, so no two names look alike by script.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(Box<str>);
text!(Username);

impl Username {
    /// # Errors
    /// When the text is too short, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let text = text.trim().to_ascii_lowercase();
        if text.len() < 3 || text.len() > 50 {
            return Err(BadText("a username has 3 to 50 characters"));
        }
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        if !text.bytes().all(fine) {
            return Err(BadText(
                "a username has only letters a to z, digits, hyphen, underscore and full stop",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// A mail address, folded so that equal ones are equal: lower case, NFC, the domain in IDNA form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(Box<str>);
text!(EmailAddress);

impl EmailAddress {
    /// # Errors
    /// When there is not exactly one `@` with something plausible on both sides.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        const BAD: BadText = BadText("that is not an e-mail address; one looks like grace@example.com");
        let text: String = text.trim().nfc().collect();
        let (local, domain) = text.split_once('@').ok_or(BAD)?;
        // Exactly one `@`: whatever comes after the first must be a domain, and a domain has none.
        let domain = Hostname::parse(domain).map_err(|_| BAD)?;
        let odd = |c: char| c.is_control() || c.is_whitespace() || "\"(),:;<>[\\]".contains(c);
        if local.is_empty()
            || text.len() > 254
            || local.len() > 64
            || local.chars().any(odd)
            || !domain.as_str().contains('.')
        {
            return Err(BAD);
        }
        Ok(Self(format!("{}@{domain}", local.to_lowercase()).into()))
    }

    /// What comes after the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

/// A host name as matched and stored: lower case, IDNA ASCII form, no port, no trailing dot. Or an IP literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(Box<str>);
text!(Hostname);

impl Hostname {
    /// # Errors
    /// When the text is no host name: empty labels, other characters, too long, with a port or user part.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        const BAD: BadText = BadText("that is not a host name; one looks like wiki.example.com");
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(text).map_err(|_| BAD)?
        };
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        if ascii.len() <= 253 && ascii.split('.').all(label) { Ok(Self(ascii.into())) } else { Err(BAD) }
    }
}

/// How a person is called: 1 to 100 characters of any script, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonName(Box<str>);
text!(PersonName);

impl PersonName {
    /// # Errors
    /// When it is empty, too long, or has control or text-direction characters.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        let text: String = text.trim().nfc().collect();
        let hidden = |c: char| {
            c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
        };
        if text.is_empty() || text.chars().count() > 100 || text.chars().any(hidden) {
            return Err(BadText("a name has 1 to 100 characters and no control characters"));
        }
        Ok(Self(text.into()))
    }
}

/// What somebody typed to say who they are: a username or an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginName {
    /// It had an `@`.
    Email(EmailAddress),
    /// It had none.
    Username(Username),
}

impl LoginName {
    /// `None` when nobody can be called that. The caller goes on as with an unknown person.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('@') {
            EmailAddress::parse(text).ok().map(Self::Email)
        } else {
            Username::parse(text).ok().map(Self::Username)
        }
    }
}

/// A password as typed: NFC, 1 to 1,024 bytes, every character significant, also spaces at the ends.
#[derive(Clone)]
pub struct Password(Secret<String>);

impl Password {
    /// The most bytes that are looked at; more is refused before any hashing.
    pub const MOST: usize = 1024;

    /// # Errors
    /// When it is empty, longer than [`Password::MOST`] bytes, or has a NUL.
    pub fn parse(text: &str) -> Result<Self, BadText> {
        if text.is_empty() {
            return Err(BadText("type a password"));
        }
        if text.len() > Self::MOST || text.contains('\0') {
            return Err(BadText("a password has at most 1,024 bytes"));
        }
        let text: String = text.nfc().collect();
        if text.len() > Self::MOST {
            return Err(BadText("a password has at most 1,024 bytes"));
        }
        Ok(Self(Secret::new(text)))
    }

    /// The characters, for hashing and for the policy.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        assert_eq!(Username::parse("  Ada.L ").unwrap().as_str(), "ada.l");
        for wrong in ["", "ab", "a b c", "ädä", "a@b", &"x".repeat(51), "nul\0l"] {
            assert!(Username::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Username::parse(&"x".repeat(50)).is_ok());
    }

    #[test]
    fn f56_an_address_has_exactly_one_at() {
        assert_eq!(EmailAddress::parse(" Grace@ACME.Example ").unwrap().as_str(), "grace@acme.example");
        assert_eq!(EmailAddress::parse("g@bücher.example").unwrap().domain(), "xn--bcher-kva.example");
        for wrong in [
            "a@evil@corp.com",
            "@corp.com",
            "a@",
            "a",
            "a@b c.com",
            "a@corp.com\r\nx",
            "\"a b\"@corp.com",
            "a@corp",
        ] {
            assert!(EmailAddress::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn hosts_fold() {
        for same in ["Wiki.Example.COM", "wiki.example.com.", "wiki.example.com"] {
            assert_eq!(Hostname::parse(same).unwrap().as_str(), "wiki.example.com");
        }
        for wrong in ["", ".", "a..b", "a:80", "user@a", "a b", "a/b", "-a.b", "wiki.example.com.."] {
            assert!(Hostname::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn passwords_keep_every_character() {
        assert_eq!(Password::parse(" a b ").unwrap().expose(), " a b ");
        assert_eq!(Password::parse("e\u{301}").unwrap().expose(), "\u{e9}");
        assert!(Password::parse("").is_err());
        assert!(Password::parse(&"x".repeat(1025)).is_err());
        assert!(Password::parse("a\0b").is_err());
    }
}
