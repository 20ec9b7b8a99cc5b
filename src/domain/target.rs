//! Which resource a request means: one reading of host and path, or none.
//!
//! A path is canonicalised once, before any rule is looked at, and exactly the canonical form is forwarded. Where two
//! programs could read a path differently it is refused, or the route says that its upstream reads it in the one way
//! (RFC 9110 §7.6, RFC 3986 §6.2.2; `PROXY-09`).

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

/// The most bytes of a request target.
pub const MOST_TARGET: usize = 16 * 1024;

/// Spellings that programs read differently. A route may opt in to each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unusual(u8);

impl Unusual {
    /// `%25` followed by two hexadecimal digits: a second decoding would see something else.
    pub const DOUBLE_ENCODING: Unusual = Unusual(1);
    /// An empty segment: `//`.
    pub const DOUBLE_SLASH: Unusual = Unusual(2);
    /// `%2F`.
    pub const ENCODED_SLASH: Unusual = Unusual(4);
    /// A letter that some programs turn into a slash, backslash or full stop.
    pub const LOOKALIKE: Unusual = Unusual(8);
    /// `;`, plain or encoded: some programs cut a segment there.
    pub const SEMICOLON: Unusual = Unusual(16);

    /// Name in configuration, for each.
    pub const NAMES: [(&'static str, Unusual); 5] = [
        ("double-encoding", Self::DOUBLE_ENCODING),
        ("double-slash", Self::DOUBLE_SLASH),
        ("encoded-slash", Self::ENCODED_SLASH),
        ("lookalike", Self::LOOKALIKE),
        ("semicolon", Self::SEMICOLON),
    ];

    /// By its name in configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Unusual> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, unusual)| *unusual)
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Unusual) -> Unusual {
        Unusual(self.0 | other.0)
    }

    /// The name of the first spelling in here that is not among those allowed.
    #[must_use]
    pub fn beyond(self, allowed: Unusual) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, one)| self.0 & one.0 & !allowed.0 != 0).map(|(name, _)| *name)
    }

    /// Nothing unusual.
    #[must_use]
    pub const fn none(self) -> bool {
        self.0 == 0
    }
}

/// A target that was read in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, str>,
    query: Option<&'a str>,
    unusual: Unusual,
    plain: bool,
}

/// Why a target or a host cannot be read in one way. Public: says nothing about routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// `\`, plain or encoded.
    #[error("the address has a backslash")]
    Backslash,
    /// A percent sign without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("the address has a percent sign that encodes no character")]
    BadPercent,
    /// A control character, encoded.
    #[error("the address has an encoded control character")]
    Control,
    /// `.` or `..` as a segment, in any spelling.
    #[error("the address has a dot segment")]
    DotSegment,
    /// `#`.
    #[error("the address has a fragment")]
    Fragment,
    /// No valid host.
    #[error("the request names no valid host")]
    Host,
    /// Longer than [`MOST_TARGET`].
    #[error("the address is too long")]
    Long,
    /// Not of the form `/path?query`.
    #[error("the address does not begin with a slash")]
    NotOriginForm,
    /// White space, a control character or a byte beyond ASCII.
    #[error("the address has a character that must be percent-encoded")]
    RawByte,
}

impl<'a> Target<'a> {
    /// Reads a request target in origin form, as it stood on the request line.
    ///
    /// # Errors
    /// When it can be read in more than one way.
    pub fn parse(raw: &'a str) -> Result<Self, Ambiguous> {
        if raw.len() > MOST_TARGET {
            return Err(Ambiguous::Long);
        }
        if !raw.starts_with('/') {
            return Err(Ambiguous::NotOriginForm);
        }
        for byte in raw.bytes() {
            match byte {
                0..=0x20 | 0x7f.. => return Err(Ambiguous::RawByte),
                b'#' => return Err(Ambiguous::Fragment),
                _ => {}
            }
        }
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        let even = |byte: u8| plain_byte(byte) || byte.is_ascii_uppercase();
        let next_to = |first: u8, second: u8| {
            path.bytes().zip(path.bytes().skip(1)).any(|(one, next)| one == first && next == second)
        };
        if path.bytes().all(even) && !next_to(b'/', b'/') && !next_to(b'/', b'.') {
            let dotted = next_to(b'.', b'/') || path.ends_with('.');
            return Ok(Self {
                path: Cow::Borrowed(path),
                query,
                unusual: Unusual::default(),
                plain: !dotted && path.bytes().all(plain_byte),
            });
        }
        let (path, mut unusual) = decode(path)?;
        unusual = unusual.and(inspect_segments(&path)?);
        let plain = false;
        Ok(Self {
            path: if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) },
            query,
            unusual,
            plain,
        })
    }

    /// The canonical path: what is matched and what is forwarded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, byte for byte.
    #[must_use]
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// Spellings that the route must have opted in to.
    #[must_use]
    pub const fn unusual(&self) -> Unusual {
        self.unusual
    }

    /// Path and query as forwarded.
    #[must_use]
    pub fn forwarded(&self) -> Cow<'_, str> {
        match self.query {
            None => Cow::Borrowed(&self.path),
            Some(query) => Cow::Owned(format!("{}?{query}", self.path)),
        }
    }

    /// The path as the most lenient upstream would read it: lower case, slashes decoded and collapsed, parameters cut,
    /// full stops and spaces at the end of a segment dropped. Compared with [`fold`]ed patterns.
    #[must_use]
    pub fn folded(&self, case: Case) -> Cow<'_, str> {
        if self.plain { Cow::Borrowed(&self.path) } else { Cow::Owned(fold(&self.path, case)) }
    }
}

/// How an upstream treats upper and lower case in paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// `/Admin` and `/admin` are the same to it.
    Insensitive,
    /// `/Admin` and `/admin` differ, and the operator said so.
    Sensitive,
    /// Nobody said. Where it would matter the request is refused.
    #[default]
    Unknown,
}

/// Folds a path or a pattern for comparison; see [`Target::folded`].
#[must_use]
pub fn fold(path: &str, case: Case) -> String {
    let mut text = path.to_owned();
    // Twice: once for what is encoded, once for what was encoded twice.
    for _ in 0..2 {
        text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    let text = compatible(&text);
    // A hop that decodes before it splits ends the path here.
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let mut folded = String::with_capacity(text.len());
    for segment in text.split(['/', '\\']) {
        let segment = segment.split(';').next().unwrap_or_default();
        let segment = segment.trim_end_matches(['.', ' ']);
        if !segment.is_empty() {
            folded.push('/');
            match case {
                Case::Sensitive => folded.push_str(segment),
                Case::Insensitive | Case::Unknown => {
                    folded.extend(segment.chars().flat_map(char::to_lowercase));
                }
            }
        }
    }
    // A slash at the end means something to patterns: `/x/` is under `/x/*`, and so is `/x`; keep what was there.
    if folded.is_empty() || text.ends_with('/') {
        folded.push('/');
    }
    folded
}

/// Bytes that are themselves in every reading, and that folding leaves alone.
const fn plain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'~' | b'.' | b'@' | b'+' | b',' | b'=' | b':')
}

const fn unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'.')
}

/// Decodes what may be decoded, writes the rest in upper-case hexadecimal, and finds what is odd.
fn decode(path: &str) -> Result<(String, Unusual), Ambiguous> {
    let (mut out, mut seen) = (String::with_capacity(path.len()), Unusual::default());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => return Err(Ambiguous::Backslash),
            b'%' => {
                let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
                let (Some(high), Some(low)) = digits else { return Err(Ambiguous::BadPercent) };
                match high * 16 + low {
                    0..=0x1f | 0x7f => return Err(Ambiguous::Control),
                    b'\\' => return Err(Ambiguous::Backslash),
                    plain if unreserved(plain) => out.push(char::from(plain)),
                    other => {
                        seen = seen.and(match other {
                            b'/' => Unusual::ENCODED_SLASH,
                            b';' => Unusual::SEMICOLON,
                            _ => Unusual::default(),
                        });
                        out.push('%');
                        for digit in [other >> 4, other & 15] {
                            out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
                        }
                    }
                }
            }
            other => {
                if other == b';' {
                    seen = seen.and(Unusual::SEMICOLON);
                }
                out.push(char::from(other));
            }
        }
    }
    // Only now: `%25%32%66` has become `%252f`.
    for (at, _) in out.match_indices("%25") {
        let mut next = out.bytes().skip(at + 3);
        if next.next().and_then(hex).is_some() && next.next().and_then(hex).is_some() {
            seen = seen.and(Unusual::DOUBLE_ENCODING);
        }
    }
    let text = percent_encoding::percent_decode_str(&out).decode_utf8().map_err(|_| Ambiguous::BadPercent)?;
    if text.chars().any(lookalike) {
        seen = seen.and(Unusual::LOOKALIKE);
    }
    Ok((out, seen))
}

/// Refuses dot segments in every reading; finds empty segments.
fn inspect_segments(path: &str) -> Result<Unusual, Ambiguous> {
    // Dots and blanks and nothing else: what trims its segments reads `.. ` as `..`.
    let dots =
        |segment: &str| segment.contains('.') && segment.chars().all(|c| c == '.' || c.is_whitespace());
    let cut = |segment: &str| dots(segment.split(';').next().unwrap_or_default());
    let mut text = path.to_owned();
    for _ in 0..3 {
        let seen = compatible(&text);
        if seen.split(['/', '\\']).any(cut) {
            return Err(Ambiguous::DotSegment);
        }
        text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
    }
    Ok(if path.contains("//") { Unusual::DOUBLE_SLASH } else { Unusual::default() })
}

/// What some programs make of a text before they look at it: compatibility forms (NFKC) resolved, letters without width
/// dropped.
fn compatible(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let unseen =
        |c: &char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    let slashes = |c: char| match c {
        '\u{2215}' | '\u{2044}' => '/',
        '\u{2216}' => '\\',
        '\u{131}' => 'i',
        other => other,
    };
    text.chars().filter(|c| !unseen(c)).map(slashes).nfkc().collect()
}

/// Whether a letter is a separator or a full stop to programs that resolve compatibility forms.
fn lookalike(c: char) -> bool {
    !c.is_ascii() && compatible(c.encode_utf8(&mut [0; 4])).contains(['/', '\\', '.', ';', '?', '#', '%'])
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Reads a `Host` field or an authority (RFC 9110 §7.2): the name in lower case without trailing dot, and the port.
///
/// # Errors
/// When it names no valid host, or more than one.
pub fn host(raw: &[u8]) -> Result<(Cow<'_, str>, Option<u16>), Ambiguous> {
    let raw = std::str::from_utf8(raw).map_err(|_| Ambiguous::Host)?;
    let (name, port) = match raw.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) =>
        {
            (name, Some(port.parse().map_err(|_| Ambiguous::Host)?))
        }
        Some(_) => return Err(Ambiguous::Host),
        None => (raw, None),
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > 253 {
        return Err(Ambiguous::Host);
    }
    let (mut label, mut upper) = (0, false);
    for byte in bare.bytes() {
        label = match byte {
            b'.' if (1..=63).contains(&label) => 0,
            b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => label + 1,
            _ => return Err(Ambiguous::Host),
        };
        upper |= byte.is_ascii_uppercase();
    }
    if !(1..=63).contains(&label) {
        return Err(Ambiguous::Host);
    }
    let name = if upper { Cow::Owned(bare.to_ascii_lowercase()) } else { Cow::Borrowed(bare) };
    Ok((name, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn proxy_09_one_reading_or_none() {
        let same = [
            "/",
            "/a",
            "/a/b?x=%2F..//;",
            "/a/b/",
            "/%C3%A9t%C3%A9",
            "/a%20b",
            "/file.tar.gz",
            "/100%25",
            "/a:b@c,d=e+f",
        ];
        for raw in same {
            assert_eq!(Target::parse(raw).unwrap().forwarded(), raw);
        }
        assert_eq!(Target::parse("/%61dmin/%7euser").unwrap().path(), "/admin/~user");
        assert_eq!(Target::parse("/%c3%a9").unwrap().path(), "/%C3%A9");
        let refused = [
            ("/a/../b", Ambiguous::DotSegment),
            ("/a/./b", Ambiguous::DotSegment),
            ("/..", Ambiguous::DotSegment),
            ("/a/%2e%2E/b", Ambiguous::DotSegment),
            ("/a/.%2e", Ambiguous::DotSegment),
            ("/a/..;/b", Ambiguous::DotSegment),
            ("/a/..;x=1/b", Ambiguous::DotSegment),
            ("/a/..%3bx/b", Ambiguous::DotSegment),
            ("/a%2f..%2fb", Ambiguous::DotSegment),
            ("/a/%252e%252e/b", Ambiguous::DotSegment),
            ("/a/%25%32%65%25%32%65/b", Ambiguous::DotSegment),
            ("/a/%ef%bc%8e%ef%bc%8e/b", Ambiguous::DotSegment),
            ("/x/..%20/admin", Ambiguous::DotSegment),
            ("/x/.%20./admin", Ambiguous::DotSegment),
            ("/x/%20../admin", Ambiguous::DotSegment),
            ("/x/...", Ambiguous::DotSegment),
            ("/x/%E2%80%A5/admin", Ambiguous::DotSegment),
            ("/x/%E2%80%A6/admin", Ambiguous::DotSegment),
            ("/a\\b", Ambiguous::Backslash),
            ("/a%5cb", Ambiguous::Backslash),
            ("/a%00b", Ambiguous::Control),
            ("/a%0d%0ab", Ambiguous::Control),
            ("/a%7f", Ambiguous::Control),
            ("/a%", Ambiguous::BadPercent),
            ("/a%2", Ambiguous::BadPercent),
            ("/a%zz", Ambiguous::BadPercent),
            ("/a%u002f", Ambiguous::BadPercent),
            ("/a%c0%ae", Ambiguous::BadPercent),
            ("/a%ff", Ambiguous::BadPercent),
            ("/a#b", Ambiguous::Fragment),
            ("/a?b#c", Ambiguous::Fragment),
            ("/\u{e9}", Ambiguous::RawByte),
            ("/a b", Ambiguous::RawByte),
            ("/a\tb", Ambiguous::RawByte),
            ("a", Ambiguous::NotOriginForm),
            ("*", Ambiguous::NotOriginForm),
            ("", Ambiguous::NotOriginForm),
            ("http://a/b", Ambiguous::NotOriginForm),
        ];
        for (raw, why) in refused {
            assert_eq!(Target::parse(raw), Err(why), "{raw}");
        }
        assert_eq!(Target::parse(&format!("/{}", "a".repeat(MOST_TARGET))), Err(Ambiguous::Long));
    }

    #[test]
    fn what_a_route_may_opt_in_to() {
        for (raw, name) in [
            ("/a%2fb", "encoded-slash"),
            ("/a//b", "double-slash"),
            ("//a", "double-slash"),
            ("/a;b", "semicolon"),
            ("/a%3Bb", "semicolon"),
            ("/a%252fb", "double-encoding"),
            ("/a%25%32%66b", "double-encoding"),
            ("/a%ef%bc%8fb", "lookalike"),
            ("/a%EF%B9%A8x", "lookalike"),
            ("/a%EF%B8%94", "lookalike"),
            ("/a%EF%BC%9F", "lookalike"),
            ("/a%EF%BC%83", "lookalike"),
        ] {
            let unusual = Target::parse(raw).unwrap().unusual();
            assert_eq!(unusual.beyond(Unusual::default()), Some(name), "{raw}");
            let mut allowed = Unusual::default();
            while let Some(next) = unusual.beyond(allowed) {
                allowed = allowed.and(Unusual::named(next).unwrap());
            }
            assert!(allowed.0 != 0);
        }
    }

    #[test]
    fn folding_is_what_the_most_lenient_upstream_sees() {
        for raw in [
            "/admin/x",
            "/ADMIN/x",
            "//admin/x",
            "/admin%2fx",
            "/admin;v=1/x",
            "/admin./x",
            "/admin%20/x",
            "/admin%252fx",
            "/Admin%EF%BC%8Fx",
        ] {
            assert_eq!(Target::parse(raw).unwrap().folded(Case::Unknown), "/admin/x", "{raw}");
        }
        assert_eq!(Target::parse("/ADMIN/x").unwrap().folded(Case::Sensitive), "/ADMIN/x");
    }

    #[test]
    fn proxy_10_hosts() {
        assert_eq!(host(b"A.B.Example.com").unwrap(), (Cow::Borrowed("a.b.example.com"), None));
        assert_eq!(host(b"a.example.com.:8600").unwrap(), (Cow::Borrowed("a.example.com"), Some(8600)));
        for wrong in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:99999",
            "a@b",
            "a b",
            "a,b",
            "a/b",
            "a..b",
            "[::1]",
            "a\0",
            "a%2eb",
            "b\u{fc}cher",
        ] {
            assert_eq!(host(wrong.as_bytes()), Err(Ambiguous::Host), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_twice_changes_nothing(raw in "/[ -~]{0,40}") {
            if let Ok(target) = Target::parse(&raw) {
                let once = target.forwarded().into_owned();
                let again = Target::parse(&once).unwrap();
                prop_assert_eq!(again.forwarded(), &*once);
                prop_assert_eq!(again.unusual(), target.unusual());
                prop_assert!(!target.path().split('/').any(|s| s == "." || s == ".."));
            }
        }

        #[test]
        fn folding_is_idempotent(raw in "/[a-zA-Z0-9%/;. \\-]{0,30}") {
            let once = fold(&raw.replace('%', ""), Case::Unknown);
            prop_assert_eq!(fold(&once, Case::Unknown), once);
        }

        #[test]
        fn plain_paths_fold_to_themselves(raw in "(/[a-z0-9][a-z0-9_-]{0,5}){1,5}") {
            let target = Target::parse(&raw).unwrap();
            prop_assert!(target.plain);
            prop_assert_eq!(fold(&raw, Case::Unknown), raw);
        }
    }
}
