//! Our cookies: read strictly, written with every attribute, never forwarded.
//!
//! A cookie that is malformed, doubled or oddly written is no cookie: the answer is "not signed in", never an error that
//! might fail open (`SESS-12`).

use memchr::memchr;

use crate::domain::route::fold_into;

/// Our cookies, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ties sign-ins and hand-offs to a browser. Opens nothing.
    Browser,
    /// The session's token at this host.
    Session,
    /// Light or dark.
    Theme,
}

/// No name of ours is longer, in any spelling.
const MOST_NAME: usize = 24;

const KINDS: [Kind; 3] = [Kind::Browser, Kind::Session, Kind::Theme];

impl Kind {
    const fn bare(self) -> &'static str {
        match self {
            Kind::Browser => "cardea-browser",
            Kind::Session => "cardea",
            Kind::Theme => "cardea-theme",
        }
    }

    /// The full name: `__Host-` over TLS; without it on plain-HTTP loopback, where browsers would refuse it.
    #[must_use]
    pub const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Kind::Browser, true) => "__Host-cardea-browser",
            (Kind::Session, true) => "__Host-cardea",
            (Kind::Theme, true) => "__Host-cardea-theme",
            (kind, false) => kind.bare(),
        }
    }
}

/// Whether a cookie's name is one of ours in any spelling; such a cookie never reaches an upstream, nor comes from one.
#[must_use]
pub fn ours(name: &[u8]) -> bool {
    let mut memory = [0; MOST_NAME];
    folded(name, &mut memory).is_some_and(|name| KINDS.iter().any(|kind| name == kind.bare().as_bytes()))
}

/// The pairs of a `Cookie` field, as they stand: name without surrounding blanks, and value.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    parts(field).map(halves)
}

/// What stands between the semicolons of a `Cookie` field.
pub fn parts(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let field = rest?;
        let (part, after) = match memchr(b';', field) {
            Some(at) => (field.get(..at)?, field.get(at + 1..)),
            None => (field, None),
        };
        rest = after;
        Some(part)
    })
}

/// Name without surrounding blanks, and value.
#[must_use]
pub fn halves(part: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', part).and_then(|at| part.split_at_checked(at)) {
        Some((name, value)) => (name.trim_ascii(), value.get(1..).unwrap_or_default()),
        None => (part.trim_ascii(), &[]),
    }
}

/// The value of one of our cookies over all `Cookie` fields of a request. `None` when it is absent, written more than
/// once in any spelling, or has anything but a token's characters.
pub fn read<'a>(fields: impl Iterator<Item = &'a [u8]>, kind: Kind, secure: bool) -> Option<&'a [u8]> {
    let (wanted, bare) = (kind.name(secure).as_bytes(), kind.bare().as_bytes());
    let mut found: Option<Option<&[u8]>> = None;
    for (name, value) in fields.flat_map(pairs) {
        let exact = name == wanted;
        if !exact && folded(name, &mut [0; MOST_NAME]) != Some(bare) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fine = exact && !value.is_empty() && value.len() <= 64 && value.iter().all(plain);
        found = Some(fine.then_some(value));
    }
    found.flatten()
}

/// A name folded, without the beginnings that browsers know (RFC 6265bis §4.1.3); `None` when it is too long to be ours.
fn folded<'m>(name: &[u8], memory: &'m mut [u8; MOST_NAME]) -> Option<&'m [u8]> {
    let folded = fold_into(name, memory)?;
    Some(folded.strip_prefix(b"host-").or_else(|| folded.strip_prefix(b"secure-")).unwrap_or(folded))
}

/// A `Set-Cookie` that lasts until the browser closes.
#[must_use]
pub fn set(kind: Kind, value: &str, secure: bool) -> String {
    let flag = if secure { "; Secure" } else { "" };
    format!("{}={value}; Path=/{flag}; HttpOnly; SameSite=Lax", kind.name(secure))
}

/// A `Set-Cookie` that takes a cookie away.
#[must_use]
pub fn clear(kind: Kind, secure: bool) -> String {
    let flag = if secure { "; Secure" } else { "" };
    format!("{}=; Path=/{flag}; HttpOnly; SameSite=Lax; Max-Age=0", kind.name(secure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(field: &str) -> Option<String> {
        read(std::iter::once(field.as_bytes()), Kind::Session, true)
            .map(|v| String::from_utf8(v.to_vec()).unwrap())
    }

    #[test]
    fn sess_12_odd_cookies_are_no_session() {
        assert_eq!(one("a=b; __Host-cardea=tok; c=d").as_deref(), Some("tok"));
        assert_eq!(one("__Host-cardea=tok").as_deref(), Some("tok"));
        let odd = [
            "__Host-cardea=\"tok\"",
            "__Host-cardea=",
            "__Host-cardea",
            "__Host-cardea=a b",
            "__host-cardea=tok",
            "cardea=tok",
            "\u{a0}__Host-cardea=tok",
            "__Host-cardea\u{a0}=tok",
            "__Host_cardea=tok",
            "$__Host-cardea=tok",
        ];
        for shape in odd {
            assert_eq!(one(shape), None, "{shape:?} alone");
            assert_eq!(one(&format!("__Host-cardea=good; {shape}")), None, "{shape:?} beside a good one");
            assert_eq!(one(&format!("{shape}; __Host-cardea=good")), None, "{shape:?} before a good one");
        }
        assert_eq!(one(&format!("__Host-cardea={}", "x".repeat(65))), None);
        let two = ["__Host-cardea=a".as_bytes(), "__Host-cardea=b".as_bytes()];
        assert_eq!(read(two.into_iter(), Kind::Session, true), None);
    }

    #[test]
    fn other_cookies_do_not_disturb() {
        assert_eq!(
            one("$Version=1; __Host-cardea=tok; __Host-cardea-browser=x; theme=dark").as_deref(),
            Some("tok")
        );
    }

    #[test]
    fn proxy_12_ours_in_every_spelling() {
        for name in [
            "cardea",
            "__Host-cardea",
            "__HOST-CARDEA",
            "__Host-cardea-browser",
            "__Secure-cardea",
            "cardea_browser",
            "cardea-theme",
        ] {
            assert!(ours(name.as_bytes()), "{name}");
        }
        for name in ["session", "cardeax", "mycardea", "cardea-other", ""] {
            assert!(!ours(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn sess_03_every_attribute() {
        assert_eq!(set(Kind::Session, "t", true), "__Host-cardea=t; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(set(Kind::Session, "t", false), "cardea=t; Path=/; HttpOnly; SameSite=Lax");
    }
}
