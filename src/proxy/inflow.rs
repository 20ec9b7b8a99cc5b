//! The answer of an upstream, as it comes in: its head read strictly, its body found in what follows.
//!
//! An upstream is not trusted (`PROXY-22`): an answer that could be read in two ways is none, and a connection on which more
//! came than was asked for carries nothing else.

use std::io;
use std::task::{Context, Poll, ready};

use super::forward::Failure;
use super::upstream::Link;
use super::view::{Field, elements};
use super::wire::{Body, Ends, Head as _, Malformed, Response};

/// The most bytes of the head of an answer.
const MOST_HEAD: usize = 64 * 1024;
/// The most fields of one.
pub(super) const MOST_FIELDS: usize = 200;
/// The most interim answers (`100`, `103`) before the real one. None is passed on.
const MOST_INTERIM: u8 = 16;

/// An answer that is being read.
pub(super) struct Inflow {
    /// Bytes that came before the head was whole, or behind an interim answer.
    early: Vec<u8>,
    ends: Ends,
    interim: u8,
    /// Whether the protocol was asked to be changed.
    changing: bool,
    /// Whether anything has come at all.
    pub(super) begun: bool,
    /// What is left of the body, once the head is read.
    pub(super) body: Body,
    /// Whether the connection can carry another request when the body has ended.
    pub(super) reusable: bool,
}

/// Where a whole head lies.
pub(super) enum Found {
    /// At the beginning of the buffer that was read into; so much of it is filled.
    Buffer { head: usize, filled: usize },
    /// In [`Inflow::early`], which holds what follows it, too.
    Early { head: usize },
}

impl Inflow {
    pub(super) fn new() -> Self {
        Self {
            early: Vec::new(),
            ends: Ends::default(),
            interim: 0,
            changing: false,
            begun: false,
            body: Body::NOTHING,
            reusable: true,
        }
    }

    /// The answer to a request to change the protocol: 101 is one.
    pub(super) fn changing() -> Self {
        Self { changing: true, ..Self::new() }
    }

    /// Whether a whole head is that of an interim answer; a status line that cannot be read is settled later.
    fn interim(&self, head: &[u8]) -> bool {
        head.get(8..10) == Some(b" 1") && !(self.changing && head.get(8..12) == Some(b" 101"))
    }

    /// Reads until the head is whole. `buffer` may be another one each time.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        buffer: &mut [u8],
    ) -> Poll<Result<Found, Failure>> {
        loop {
            if self.early.is_empty() {
                let filled = ready!(self.poll_fill(cx, link, buffer))?;
                let bytes = buffer.get(..filled).unwrap_or_default();
                match self.ends.find(bytes, MOST_HEAD)? {
                    Some(head) if !self.interim(bytes) => {
                        return Poll::Ready(Ok(Found::Buffer { head, filled }));
                    }
                    Some(_) | None => self.early = bytes.to_vec(),
                }
                self.ends = Ends::default();
                continue;
            }
            match self.ends.find(&self.early, MOST_HEAD)? {
                Some(head) if self.interim(&self.early) => self.skip(head)?,
                Some(head) => return Poll::Ready(Ok(Found::Early { head })),
                None => {
                    let filled = ready!(self.poll_fill(cx, link, buffer))?;
                    self.early.extend_from_slice(buffer.get(..filled).unwrap_or_default());
                }
            }
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, Failure>> {
        match ready!(link.poll_read(cx, buffer)) {
            Ok(0) => Poll::Ready(Err(Failure::Closed)),
            Ok(filled) => {
                if !self.begun
                    && let Some(words) = foreign(buffer.get(..filled).unwrap_or_default())
                {
                    return Poll::Ready(Err(Failure::Broken(words.to_owned())));
                }
                self.begun = true;
                Poll::Ready(Ok(filled))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                Poll::Ready(Err(Failure::Broken(error.to_string())))
            }
            Err(error) => Poll::Ready(Err(Failure::Lost(error))),
        }
    }

    /// Passes over an interim answer.
    fn skip(&mut self, head: usize) -> Result<(), Failure> {
        let read = Response::read(self.early.get(..head).unwrap_or_default(), MOST_FIELDS)?;
        if read.status == 101 {
            return Err(Failure::Broken("it changed the protocol unasked".to_owned()));
        }
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            return Err(Failure::Broken("it sent interim answers without end".to_owned()));
        }
        self.early.drain(..head);
        self.ends = Ends::default();
        Ok(())
    }

    /// Takes what came before the head was whole.
    pub(super) fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Reads a whole head and settles how its body is framed (RFC 9112 §6.3). `method` is that of the request.
    ///
    /// # Errors
    /// When the answer can be read in more than one way.
    pub(super) fn settle<'b>(&mut self, head: &'b [u8], method: &str) -> Result<Response<'b>, Failure> {
        let read = Response::read(head, MOST_FIELDS)?;
        let without = method == "HEAD" || matches!(read.status, 204 | 304);
        let ambiguous = || Failure::Broken("the length of its answer can be read in two ways".to_owned());
        let framing = {
            let (mut lengths, mut codings) =
                (values(&read.fields, "content-length"), values(&read.fields, "transfer-encoding"));
            (lengths.next(), lengths.next(), codings.next(), codings.next())
        };
        let framed = match framing {
            (None, None, None, None) => Body::UntilClose { closed: false },
            (Some(length), None, None, None) => Body::Exact(decimal(length).ok_or_else(ambiguous)?),
            (None, None, Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") && !read.old => {
                Body::chunked()
            }
            _ => return Err(ambiguous()),
        };
        // A body that is announced and may not come may come all the same, later: the next answer on the connection would
        // begin with it (F25).
        let announced = without && !framed.ended() && !matches!(framed, Body::UntilClose { .. });
        self.body = if without { Body::NOTHING } else { framed };
        self.reusable = !read.old
            && !announced
            && !matches!(self.body, Body::UntilClose { .. })
            && !values(&read.fields, "connection")
                .flat_map(elements)
                .any(|option| option.eq_ignore_ascii_case(b"close"));
        Ok(read)
    }

    /// Bytes of the body that follow in `input`, one run at a time; `used` is moved past them. `None` when all is used, or
    /// when the body has ended: then nothing may be left.
    pub(super) fn next<'b>(
        &mut self,
        input: &'b [u8],
        used: &mut usize,
    ) -> Result<Option<&'b [u8]>, Malformed> {
        while !self.body.ended() {
            let rest = input.get(*used..).unwrap_or_default();
            let piece = self.body.take(rest)?;
            *used += piece.used;
            if !piece.data.is_empty() {
                return Ok(Some(piece.data));
            }
            if piece.used == 0 {
                return Ok(None);
            }
        }
        if *used < input.len() {
            // Nobody asked for what follows; whoever comes next on this connection must not get it.
            self.reusable = false;
        }
        Ok(None)
    }
}

/// What an upstream speaks instead of HTTP/1.1, by its first bytes, and what to do. Said at once: whoever greets first would wait
/// for us until our time is up.
fn foreign(first: &[u8]) -> Option<&'static str> {
    let known = first.len().min(HTTP.len());
    if first.get(..known) == HTTP.get(..known) {
        return None;
    }
    Some(match first {
        [b'S', b'S', b'H', b'-', ..] => "it speaks SSH; write the port of its web server in `to`",
        // A record of TLS: an alert, most likely (RFC 8446 §5.1).
        [20..=23, 3, 0..=4, ..] => "it speaks TLS; write https:// in `to`",
        // A frame of settings (RFC 9113 §6.5).
        [0, 0, _, 4, ..] => "it speaks HTTP/2 alone; write upstream_protocol = \"http2\"",
        _ => "it does not speak HTTP/1.1; see whether `to` names the right port",
    })
}

/// How every answer begins.
const HTTP: &[u8] = b"HTTP/";

/// The values of a field. `name` in lower case.
pub(super) fn values<'f, 'b: 'f>(
    fields: &'f [Field<'b>],
    name: &'static str,
) -> impl Iterator<Item = &'b [u8]> + use<'f, 'b> {
    fields
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| *value)
}

/// A length: digits and nothing else, and no more than can be counted.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    (!value.is_empty() && value.iter().all(u8::is_ascii_digit))
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
        .filter(|length| *length <= u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_22_what_speaks_something_else_is_called_by_its_name() {
        for (first, word) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Some("SSH")),
            (&[21, 3, 3, 0, 2, 2, 70], Some("TLS")),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], Some("HTTP/2")),
            (b"220 mail.example ESMTP\r\n", Some("right port")),
            (b"H", None),
            (b"HTTP/1.1 200 OK\r\n", None),
        ] {
            let said = foreign(first);
            assert_eq!(said.is_some(), word.is_some(), "{first:?}");
            assert!(word.is_none_or(|word| said.unwrap().contains(word)), "{said:?}");
        }
    }
}
