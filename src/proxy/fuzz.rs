//! What fuzzing starts from: each function takes any bytes and fails where the data plane breaks a promise. Built for tests and
//! with the feature `fuzzing` only; `tests/fuzz` has a program for each, and the tests here try them a little every time.
//!
//! What is expected is said anew here, in the plainest way there is, and not by the code that is tried.

use crate::access::Snapshot;
use crate::access::snapshot::Rules;
use crate::domain::target::{self, Target};
use crate::store::tree::Tree;

use super::outflow::chunk;
use super::view::{Field, View};
use super::wire::{self, Body, Ends, Head as _, Request, Response};
use super::{hygiene, inflow};

/// The most bytes of a head here.
const MOST_HEAD: usize = 32 * 1024;
/// The most fields.
const MOST_FIELDS: usize = 100;

/// Heads of requests and answers: found at the same place however they arrive, read into parts that stand in them, and
/// written again they are read alike (`PROXY-13`, `PROXY-22`).
pub fn head(bytes: &[u8]) {
    let whole = Ends::default().find(bytes, MOST_HEAD);
    let mut dripping = Ends::default();
    let dripped = (0..=bytes.len())
        .map(|upto| dripping.find(bytes.get(..upto).unwrap_or_default(), MOST_HEAD))
        .find(|found| !matches!(found, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, dripped, "a head ends elsewhere when it drips");
    let Ok(Some(length)) = whole else { return };
    let head = bytes.get(..length).unwrap_or_default();
    assert!(head.ends_with(b"\r\n\r\n"));
    if let Ok(read) = Request::read(head, MOST_FIELDS) {
        let version = if read.old { "HTTP/1.0" } else { "HTTP/1.1" };
        let line = format!("{} {} {version}", read.method, read.target);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        assert_eq!(line.bytes().filter(|byte| *byte == b' ').count(), 2, "{line:?}");
        assert!(head.starts_with(line.as_bytes()));
        let again = written(&line, &read.fields);
        let same = Request::read(&again, MOST_FIELDS);
        assert!(same.is_ok_and(|same| same.fields == read.fields && same.target == read.target));
    }
    if let Ok(read) = Response::read(head, MOST_FIELDS) {
        assert!((100..=999).contains(&read.status));
        let version = if read.old { "HTTP/1.0" } else { "HTTP/1.1" };
        let again = written(&format!("{version} {}", read.status), &read.fields);
        let same = Response::read(&again, MOST_FIELDS);
        assert!(same.is_ok_and(|same| same.fields == read.fields && same.status == read.status));
        for method in ["GET", "HEAD"] {
            let _ = inflow::Inflow::new().settle(head, method);
        }
    }
}

fn written(line: &str, fields: &[Field<'_>]) -> Vec<u8> {
    let mut text = format!("{line}\r\n").into_bytes();
    for (name, value) in fields {
        assert!(!name.is_empty() && !name.iter().any(|byte| b" \t\r\n\0:".contains(byte)));
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
        assert!(*value == value.trim_ascii());
        for part in [*name, b": ", *value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// What a body in chunks is read as: its data, how much of the input was used, whether it ended.
type Decoded = Result<(Vec<u8>, usize, bool), wire::Malformed>;

/// Bodies in chunks: the first byte says in pieces of which size the rest arrives, and it makes no difference. What is
/// taken is what the grammar makes of it, and cut into chunks again it is the same (`PROXY-13`).
pub fn chunks(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = decoded(bytes, usize::MAX);
    let pieces = decoded(bytes, usize::from(*size % 16) + 1);
    assert_eq!(whole, pieces, "pieces are read otherwise");
    assert_eq!(whole.is_ok_and(|(_, _, ended)| ended), grammar(bytes).is_some(), "only one of two takes it");
    if let (Ok((data, used, true)), Some((meant, end))) = (decoded(bytes, usize::MAX), grammar(bytes)) {
        assert_eq!((&data, used), (&meant, end));
        let mut again = Vec::new();
        data.chunks(7).for_each(|piece| chunk(&mut again, piece));
        again.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(decoded(&again, usize::MAX), Ok((data, again.len(), true)));
    }
}

fn decoded(bytes: &[u8], size: usize) -> Decoded {
    let (mut body, mut data, mut used) = (Body::chunked(), Vec::new(), 0);
    // More comes when nothing more can be made of what is there.
    let mut upto = 0;
    while !body.ended() {
        let piece = body.take(bytes.get(used..upto).unwrap_or_default())?;
        data.extend_from_slice(piece.data);
        used += piece.used;
        if piece.used == 0 && upto == bytes.len() {
            break;
        }
        if piece.used == 0 {
            upto = upto.saturating_add(size).min(bytes.len());
        }
    }
    Ok((data, used, body.ended()))
}

/// RFC 9112 §7.1 read line by line, with the limits and the one narrowing that stand in `wire::body`. `None` also for what
/// has not ended.
fn grammar(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (all, mut data) = (bytes.len(), Vec::new());
    loop {
        let (line, rest) = line(bytes)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at_checked(digits)?;
        let marks = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~;=\"".contains(byte);
        let short = extension.len() <= 257 && extension.iter().all(marks);
        if !(1..=15).contains(&digits) || !short || extension.first().is_some_and(|byte| *byte != b';') {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        let (piece, rest) = bytes.split_at_checked(size)?;
        data.extend_from_slice(piece);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
    let begun = bytes.len();
    loop {
        let (line, rest) = line(bytes)?;
        bytes = rest;
        if begun - bytes.len() > 8 * 1024 {
            return None;
        }
        if line.is_empty() {
            return Some((data, all - bytes.len()));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if name.is_empty() || !name.iter().all(token) || !value.iter().all(text) {
            return None;
        }
    }
}

/// The first line that ends in CR LF, without any other CR or LF.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte))?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// Targets: what the matcher sees is what an upstream makes of what it receives, also one that decodes again, ignores case
/// or resolves dots itself; and asked again in the form that was forwarded nothing changes (`PROXY-09`, F12, F13, F18).
pub fn path(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = Target::parse(raw) else { return };
    let sent = read.forwarded();
    assert!(sent.starts_with('/') && sent.bytes().all(|byte| byte.is_ascii_graphic()), "{sent:?}");
    assert!(!sent.contains('#'), "{sent}");
    let again = Target::parse(&sent);
    assert!(again.is_ok(), "{sent} is not taken again");
    if let Ok(again) = again {
        assert_eq!((again.path(), again.query(), &again.forwarded()), (read.path(), read.query(), &sent));
    }
    // The query is never changed, and never looked at.
    assert_eq!(sent.split_once('?').map(|(_, query)| query), raw.split_once('?').map(|(_, query)| query));
    let path = sent.split('?').next().unwrap_or_default();
    for part in path.split('/') {
        let decoded = decode(part);
        assert!(decoded != b"." && decoded != b"..", "{path}: a dot segment reaches the upstream");
        assert!(!decoded.contains(&0), "{path}: a NUL reaches the upstream");
    }
    if read.unusual().none() {
        // Whoever decodes once sees neither another separator, nor something that would be decoded again.
        let decoded = decode(path);
        assert!(!decoded.contains(&b'\\') && !path.contains("//") && !path.contains(';'), "{path}");
        assert_eq!(decoded.split(|byte| *byte == b'/').count(), path.split('/').count(), "{path}");
        assert_eq!(decode_bytes(&decoded), decoded, "{path} can be decoded twice");
    }
}

fn decode(text: &str) -> Vec<u8> {
    decode_bytes(text.as_bytes())
}

fn decode_bytes(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        let pair = rest.split_at_checked(2).filter(|_| *first == b'%');
        let byte = pair.and_then(|(pair, rest)| Some((hex(pair)?, rest)));
        decoded.push(byte.map_or(*first, |(byte, _)| byte));
        text = byte.map_or(text, |(_, rest)| rest);
    }
    decoded
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digits = pair.iter().all(u8::is_ascii_hexdigit).then_some(pair)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Hosts: one spelling for each, and what is understood is what was written (`PROXY-10`, `PROXY-16`, F17).
pub fn host(bytes: &[u8]) {
    let Ok((host, port)) = target::host(bytes) else { return };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    assert!(!host.is_empty() && host.bytes().all(plain) && !host.ends_with('.'), "{host:?}");
    assert!(bytes.to_ascii_lowercase().starts_with(host.as_bytes()), "{host:?}");
    let again = port.map_or(host.to_string(), |port| format!("{host}:{port}"));
    for spelling in [again.clone(), again.to_ascii_uppercase()] {
        assert_eq!(target::host(spelling.as_bytes()), Ok((host.clone(), port)), "{spelling}");
    }
}

/// Fields of a request, a line each: whatever their spelling, none that is ours, of the hop, or named by `Connection` gets
/// past, and those that do are as they were (`PROXY-04`, `PROXY-05`, `PROXY-07`; F1, F2, F4).
pub fn fields(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').take(MOST_FIELDS);
    let fields: Vec<Field<'_>> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((name, value.get(1..)?.trim_ascii()))
        })
        .collect();
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let view = View { method: "GET", target: "/", fields: &fields, peer, certificate: None };
    let snapshot = Snapshot::compile(1, Tree::default(), &[], &Rules::default());
    let listed: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(words)
        .collect();
    for (name, value) in hygiene::kept(&view, &snapshot) {
        let folded = words(name);
        let ours = [
            "cardea",
            "connection",
            "content-length",
            "forwarded",
            "host",
            "keep-alive",
            "proxy",
            "te",
            "trailer",
        ];
        let more = [
            "transfer-encoding",
            "upgrade",
            "x-forwarded-for",
            "x-forwarded-user",
            "remote-user",
            "x-real-ip",
        ];
        assert!(!ours.iter().chain(&more).any(|name| *name == folded), "{folded} gets past");
        assert!(!folded.starts_with("cardea-") && !folded.starts_with("x-forwarded-"), "{folded} gets past");
        let option = matches!(folded.as_str(), "" | "close" | "upgrade" | "keep-alive");
        assert!(option || !listed.contains(&folded), "{folded} is of the hop");
        let same = |(known, before): &Field<'_>| {
            *known == name && (**before == *value || (folded == "cookie" && value.len() < before.len()))
        };
        assert!(fields.iter().any(same), "{folded} was not sent so");
    }
}

/// A name as an upstream may understand it: words of letters and digits, in lower case.
fn words(name: &[u8]) -> String {
    let words = name.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    words.join("-")
}

/// `Cookie` fields: none of our cookies is left, and every other is where it was (`PROXY-12`).
pub fn cookie(bytes: &[u8]) {
    let fields: [Field<'_>; 1] = [(b"cookie", bytes)];
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let view = View { method: "GET", target: "/", fields: &fields, peer, certificate: None };
    let kept = hygiene::cookies(&view);
    let of_ours = |pair: &&[u8]| {
        let name = words(pair.split(|byte| *byte == b'=').next().unwrap_or_default());
        let name = name.strip_prefix("host-").or(name.strip_prefix("secure-")).unwrap_or(&name);
        matches!(name, "cardea" | "cardea-browser" | "cardea-theme")
    };
    assert!(!kept.split(|byte| *byte == b';').any(|pair| of_ours(&pair)), "one of ours is left");
    let others = |field: &[u8]| -> Vec<Vec<u8>> {
        let pairs = field.split(|byte| *byte == b';').filter(|pair| !of_ours(pair));
        pairs.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect()
    };
    assert_eq!(others(&kept), others(bytes), "another was changed");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Bytes that are nearly what is wanted: pieces of it, and anything between.
    fn nearly(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
            1 => "[ -~]{0,6}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn proxy_13_heads_are_read_in_one_way(bytes in nearly(&["GET ", "/x", " HTTP/1.1", "HTTP/1.1 200 OK", "\r\n", "\r\n\r\n", "\n", "\r", "a: b", ":", " ", "\t", "Content-Length: 5", "Transfer-Encoding: chunked", "\0"])) {
            super::head(&bytes);
        }

        #[test]
        fn proxy_13_chunks_are_what_the_grammar_says(bytes in nearly(&["5\r\nhello\r\n", "0\r\n", "\r\n", "0\r\n\r\n", "a", "5", ";x=y", ";", "hello", "x: y\r\n", "\n", "\r", " ", "\0", "A\r\n0123456789\r\n"]), size in any::<u8>()) {
            super::chunks(&[&[size], bytes.as_slice()].concat());
        }

        #[test]
        fn proxy_13_right_chunks_are_taken(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5), size in any::<u8>(), trailer in "([a-z-]{1,5}: [ -~]{0,9}\r\n){0,2}") {
            let mut bytes = vec![size];
            for part in &parts {
                super::chunk(&mut bytes, part);
            }
            bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            prop_assert!(super::grammar(&bytes[1..]).is_some());
            super::chunks(&bytes);
        }

        #[test]
        fn proxy_09_f13_f18_the_matcher_sees_what_the_upstream_makes_of_it(bytes in nearly(&["/", "//", "/.", "/..", ".", "a", "B", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%25", "%252e", "%00", "%41", "%c3%a9", ";", ";x=1", "?", "#", "%", "%g1", "~", " "])) {
            super::path(&bytes);
            super::path(&[b"/", bytes.as_slice()].concat());
        }

        #[test]
        fn proxy_10_f17_hosts_have_one_spelling(bytes in nearly(&["a", "App", ".", "example", ":", "80", ":443", "-", "_", "xn--", "[::1]", "127.0.0.1", "@", "\0", ",", " "])) {
            super::host(&bytes);
        }

        #[test]
        fn proxy_05_f2_no_field_of_ours_gets_past(bytes in nearly(&["Cardea", "User", "-", "_", ".", "cardea-user: x\n", "Connection: x-hop, Accept\n", "X-Hop: 1\n", "accept: */*\n", "Cookie: cardea=t; a=b\n", ": ", "\n", "x-forwarded", "Remote", "Host", "for", "TE"])) {
            super::fields(&bytes);
        }

        #[test]
        fn proxy_12_no_cookie_of_ours_is_left(bytes in nearly(&["cardea", "__Host-", "__Secure-", "=", ";", "; ", "a=b", "-browser", "-theme", " ", "\"", "$Version=1", "CARDEA=t", "x"])) {
            super::cookie(&bytes);
        }
    }
}
