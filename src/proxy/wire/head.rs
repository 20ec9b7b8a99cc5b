//! Heads: where one ends, its first line, its fields.

use memchr::memchr;

use super::Malformed;
use crate::proxy::view::Field;

/// Looks for the end of a head in bytes that come in pieces. Each byte is looked at once, however small the pieces.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Ends {
    seen: usize,
}

impl Ends {
    /// The length of the head at the beginning of `bytes`, with the empty line that ends it; `None` while it is not there.
    /// `bytes` must be what was given the last time, and more.
    ///
    /// # Errors
    /// When a line ends in a bare LF, or when the head is longer than `most`.
    pub(in crate::proxy) fn find(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
        while let Some(offset) = memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let before = bytes.get(..self.seen + offset).unwrap_or_default();
            self.seen += offset + 1;
            if before.last() != Some(&b'\r') {
                return Err(Malformed::LineEnd);
            }
            if before.ends_with(b"\r\n\r") {
                return if self.seen > most { Err(Malformed::Large) } else { Ok(Some(self.seen)) };
            }
        }
        self.seen = bytes.len();
        if bytes.len() > most { Err(Malformed::Large) } else { Ok(None) }
    }
}

/// What requests and answers have in common.
pub(in crate::proxy) trait Head<'b>: Sized {
    /// Reads a whole head, with the empty line at its end.
    ///
    /// # Errors
    /// When it is not exactly as RFC 9112 has it.
    fn read(head: &'b [u8], most_fields: usize) -> Result<Self, Malformed>;
}

/// The head of a request.
#[derive(Debug)]
pub(in crate::proxy) struct Request<'b> {
    /// The method: a token.
    pub(in crate::proxy) method: &'b str,
    /// The target: visible ASCII.
    pub(in crate::proxy) target: &'b str,
    /// Whether it is HTTP/1.0.
    pub(in crate::proxy) old: bool,
    /// The fields, in order.
    pub(in crate::proxy) fields: Vec<Field<'b>>,
}

impl<'b> Head<'b> for Request<'b> {
    fn read(head: &'b [u8], most_fields: usize) -> Result<Self, Malformed> {
        let (line, rest) = line(head)?;
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Line);
        };
        if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(Malformed::Line);
        }
        let old = version_of(version)?;
        Ok(Self { method: ascii(method)?, target: ascii(target)?, old, fields: fields(rest, most_fields)? })
    }
}

/// The head of an answer.
#[derive(Debug)]
pub(in crate::proxy) struct Response<'b> {
    /// The status: 100 to 999.
    pub(in crate::proxy) status: u16,
    /// Whether it is HTTP/1.0.
    pub(in crate::proxy) old: bool,
    /// The fields, in order.
    pub(in crate::proxy) fields: Vec<Field<'b>>,
}

impl<'b> Head<'b> for Response<'b> {
    fn read(head: &'b [u8], most_fields: usize) -> Result<Self, Malformed> {
        let (line, rest) = line(head)?;
        let (version, tail) = line.split_at_checked(8).ok_or(Malformed::Line)?;
        let old = version_of(version)?;
        let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = tail else {
            return Err(Malformed::Line);
        };
        if !reason.is_empty() && (reason.first() != Some(&b' ') || !is_value(reason)) {
            return Err(Malformed::Line);
        }
        let digit = |digit: u8| u16::from(digit - b'0');
        let status = digit(*a) * 100 + digit(*b) * 10 + digit(*c);
        Ok(Self { status, old, fields: fields(rest, most_fields)? })
    }
}

/// The fields up to and with the empty line that ends them; nothing may follow.
///
/// # Errors
/// When a name is no token, a value has a control character, a line is folded, or there are more than `most`.
pub(in crate::proxy) fn fields(mut rest: &[u8], most: usize) -> Result<Vec<Field<'_>>, Malformed> {
    let mut fields = Vec::with_capacity(16);
    while rest != b"\r\n" {
        let (line, after) = line(rest)?;
        let colon = memchr(b':', line).ok_or(Malformed::Field)?;
        let (name, value) = line.split_at_checked(colon).ok_or(Malformed::Field)?;
        let value = value.get(1..).unwrap_or_default();
        if !is_token(name) || !is_value(value) {
            return Err(Malformed::Field);
        }
        if fields.len() == most {
            return Err(Malformed::Large);
        }
        fields.push((name, trimmed(value)));
        rest = after;
    }
    Ok(fields)
}

/// The first line, without its end, and what follows.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = memchr(b'\r', bytes).ok_or(Malformed::LineEnd)?;
    let (line, rest) = bytes.split_at_checked(end).ok_or(Malformed::LineEnd)?;
    let rest = rest.strip_prefix(b"\r\n").ok_or(Malformed::LineEnd)?;
    Ok((line, rest))
}

/// Whether it is the older of the two versions that are spoken.
fn version_of(version: &[u8]) -> Result<bool, Malformed> {
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Malformed::Version),
        _ => Err(Malformed::Line),
    }
}

/// A token (RFC 9110 §5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_mark)
}

/// What a token is made of.
pub(super) fn is_mark(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// A field's value with the white space around it (RFC 9110 §5.5): no control characters but the tab.
pub(in crate::proxy) fn is_value(bytes: &[u8]) -> bool {
    // Summed up without a branch, so that many bytes are looked at in one step.
    let control = |byte: u8| u8::from(byte < b' ' && byte != b'\t') | u8::from(byte == 0x7f);
    bytes.iter().fold(0, |found, byte| found | control(*byte)) == 0
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn ascii(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Line)
}
