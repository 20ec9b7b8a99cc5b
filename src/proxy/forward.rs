//! Passing on: to an upstream with the head that was made for it, and back again.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;

use super::inflow::values;
use super::policy::{Head, Passage};
use super::pool::Choice;
use super::rewrite::returned;
use super::serve::Thread;
use super::upstream::Link;
use super::view::{Field, Length};
use super::wire::{self, Malformed};
use super::{hygiene, multiplex};
use crate::domain::Timestamp;
use crate::domain::route::{Protocol, Upstream, fold_name};
use crate::net::{blames_tls, is_forbidden};

/// Why there is no answer of the upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The address cannot be said in the version of HTTP that the upstream speaks.
    #[error("the address cannot be written in HTTP/2")]
    Address,
    /// It answered something that cannot be passed on.
    #[error("the upstream broke off: {0}")]
    Broken(String),
    /// The client's own body cannot be read.
    #[error("the client's body cannot be read: {0}")]
    Client(Malformed),
    /// It would lead where requests must not go.
    #[error("no connection to the upstream was opened: {0}")]
    Forbidden(io::Error),
    /// It would not be let through any more.
    #[error("the right to it has ended")]
    Cut,
    /// It closed the connection before it answered.
    #[error("the upstream closed the connection")]
    Closed,
    /// The client went away.
    #[error("the client went away")]
    Gone,
    /// The head that was made for it cannot be written. Our fault.
    #[error("the request for the upstream cannot be written")]
    Head,
    /// The connection failed.
    #[error("the connection to the upstream failed: {0}")]
    Lost(io::Error),
    /// The client sends nothing more of its body.
    #[error("the client took too long to send its body")]
    Quiet,
    /// It took too long.
    #[error("the upstream took too long to {0}")]
    Slow(&'static str),
    /// It could not prove who it is, or would not have us.
    #[error("there is no trusted connection to the upstream: {0}")]
    Tls(String),
    /// Nobody answers there.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(io::Error),
}

impl Failure {
    /// A word for the metrics; `None` when it is not the upstream's doing.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            // An alert may come when our side of the handshake is long done.
            Failure::Lost(error) if blames_tls(error) => Some("tls"),
            Failure::Broken(_) | Failure::Closed | Failure::Lost(_) => Some("broken"),
            Failure::Forbidden(_) => Some("forbidden"),
            Failure::Address | Failure::Client(_) | Failure::Cut | Failure::Gone | Failure::Quiet => None,
            Failure::Head => Some("head"),
            Failure::Slow(_) => Some("slow"),
            Failure::Tls(_) => Some("tls"),
            Failure::Unreachable(_) => Some("unreachable"),
        }
    }

    /// Whether the upstream said itself that it has read nothing of the request (RFC 9113 §8.7): a stream that it refused, or
    /// one behind the last that it took before it said goodbye.
    pub(super) fn unread(&self) -> bool {
        let Failure::Lost(error) = self else { return false };
        let said = error.get_ref().and_then(|inner| inner.downcast_ref::<h2::Error>());
        said.is_some_and(|said| {
            let refused = said.is_reset() && said.reason() == Some(h2::Reason::REFUSED_STREAM);
            said.is_remote() && (refused || said.is_go_away())
        })
    }

    /// Whether a connection that was kept open may simply have been closed in the meantime.
    pub(super) const fn stale(&self) -> bool {
        matches!(self, Failure::Closed | Failure::Lost(_))
    }
}

impl From<Malformed> for Failure {
    fn from(why: Malformed) -> Self {
        Failure::Broken(why.to_string())
    }
}

/// A connection: an idle one, or a new one to the next address that takes it. Nothing was sent to those that did not.
pub(super) async fn open<'a>(
    thread: &Rc<Thread>,
    passage: &Passage<'a>,
    choice: &mut Choice,
    idle: bool,
) -> Result<(&'a Upstream, Link), Failure> {
    let spec = &passage.route().spec;
    let mut failure = Failure::Broken("the route has no upstream".to_owned());
    while let Some((at, to)) = choice.next(&*thread.gate.clock).and_then(|at| Some((at, spec.to.get(at)?))) {
        passage.goes_to(at);
        // Where connections are shared, one that is there is as good as a new one.
        if (idle || to.protocol == Protocol::Http2)
            && let Some(link) = choice.idle(&thread.gate)
        {
            return Ok((to, link));
        }
        let within = spec.connect_timeout.std();
        // In a box, for it is rare.
        let error = match Box::pin(choice.connect(&thread.gate, to, spec.pool.author, within)).await {
            Ok(link) => return Ok((to, link)),
            Err(error) => error,
        };
        choice.failed(spec, thread.gate.clock.now());
        failure = match error {
            error if error.kind() == io::ErrorKind::TimedOut => Failure::Slow("connect"),
            error if is_forbidden(&error) => Failure::Forbidden(error),
            error if blames_tls(&error) => Failure::Tls(error.to_string()),
            error => Failure::Unreachable(error),
        };
        if choice.more() {
            tracing::debug!(%failure, route.id = %spec.name, address = %to, "the next address is tried");
        }
    }
    Err(failure)
}

/// Whether a request can be said to whom it is for.
///
/// # Errors
/// When HTTP/2 has no way to write its address. Nothing is sent then.
pub(super) fn sayable(head: &Head<'_>, passage: &Passage<'_>) -> Result<(), Failure> {
    let spoken = passage.route().spec.to.iter().any(|to| to.protocol == Protocol::Http2);
    if spoken && !multiplex::speakable(&head.target) { Err(Failure::Address) } else { Ok(()) }
}

/// Whether a request without an answer goes to another connection: nothing can have come of it there ([`repeatable`]), and the
/// connection had been kept and was closed in the meantime, or the upstream refused to read it, or there is another address.
pub(super) fn once_more(
    choice: &mut Choice,
    passage: &Passage<'_>,
    (link, failure): (&Link, &Failure),
    repeatable: bool,
    now: Timestamp,
) -> bool {
    if link.reused || failure.unread() {
        choice.once_more();
    } else {
        choice.failed(&passage.route().spec, now);
    }
    repeatable && choice.more()
}

/// Whether a request may be sent a second time when a connection that was kept open turns out to be closed: nothing can
/// have come of the first, for there is no body, and the method changes nothing (RFC 9110 §9.2.2) or nothing was read.
pub(super) fn repeatable(head: &Head<'_>, length: Length, failure: &Failure) -> bool {
    length.nothing() && (matches!(head.method, "GET" | "HEAD" | "OPTIONS") || failure.unread())
}

/// The request's head as bytes. Framing is written anew from how the body was understood.
///
/// # Errors
/// When something in it cannot stand in a head. Then nothing may be sent.
pub(super) fn write(head: &Head<'_>, to: &Upstream, length: Length) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(2048);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    if !head.target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Head);
    }
    put(&[head.method.as_bytes(), b" ", head.target.as_bytes(), b" HTTP/1.1\r\nhost: "]);
    match head.host {
        Some((host, None)) => put(&[host.as_bytes()]),
        Some((host, Some(port))) => {
            put(&[host.as_bytes(), b":", itoa::Buffer::new().format(port).as_bytes()]);
        }
        None if to.port == to.usual_port() => put(&[to.host.as_bytes()]),
        None => put(&[to.host.as_bytes(), b":", itoa::Buffer::new().format(to.port).as_bytes()]),
    }
    put(&[b"\r\n"]);
    match length {
        Length::Chunked => put(&[b"transfer-encoding: chunked\r\n"]),
        length if length.nothing() && matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "DELETE") => {}
        Length::Nothing => put(&[b"content-length: 0\r\n"]),
        Length::Exact(length) => {
            put(&[b"content-length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
        }
    }
    for (name, value) in head.fields() {
        if !wire::is_value(value) {
            return Err(Failure::Head);
        }
        put(&[name, b": ", value, b"\r\n"]);
    }
    put(&[head.identity(), b"\r\n"]);
    Ok(out)
}

/// Whether an answer may have nothing to say for a long time, and yet go on: events, calls that stream, moving pictures.
pub(super) fn lasting(fields: &[Field<'_>]) -> bool {
    const KINDS: [&[u8]; 3] = [b"text/event-stream", b"application/grpc", b"multipart/x-mixed-replace"];
    let begins = |value: &[u8], kind: &[u8]| {
        value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    values(fields, "content-type").any(|value| KINDS.iter().any(|kind| begins(value, kind)))
}

/// The fields of an answer that pass to the client, in order. Framing is written anew.
pub(super) fn passing<'p>(fields: &[Field<'p>], passage: &Passage<'p>) -> Vec<(&'p [u8], Cow<'p, [u8]>)> {
    let (route, private) = (passage.route(), passage.private_answers());
    let mut listed = hygiene::listed(values(fields, "connection"));
    // What keeps an answer out of shared caches is no matter of the hop, whatever the upstream says (`PROXY-19`).
    listed.retain(|name| name != "cache-control");
    let mut passing: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let known = if is("location") || is("content-location") { returned(route, value) } else { None };
        let value = known.map_or(Cow::Borrowed(*value), |known| Cow::Owned(known.into_bytes()));
        passing.push((*name, value));
    }
    route.spec.answer_headers.apply(&mut passing);
    // Judged after all changes: whatever a route sets, an answer for somebody stays private.
    let said = passing.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"cache-control"));
    let closed = private.then(|| hygiene::private(said.map(|(_, value)| value.as_ref()))).flatten();
    let mut memory = Vec::with_capacity(64);
    passing.retain(|(name, value)| {
        let folded = fold_name(name, &mut memory);
        let ours = name.eq_ignore_ascii_case(b"content-length")
            || (private && hygiene::targets_caches(folded))
            || (closed.is_some() && name.eq_ignore_ascii_case(b"cache-control"));
        !ours && hygiene::answer_passes(folded, value, &listed)
    });
    passing.extend(closed.map(|value| (&b"cache-control"[..], value)));
    passing
}
