//! The way to a WebSocket (RFC 6455 §4): what is asked before anything goes upstream, and what must come back.
//!
//! Nothing is a tunnel before the upstream has said 101 on a connection that was opened for this request alone and never
//! carries another (`PROXY-14`, `PROXY-17`; F25, F26). What the client sends before that waits in the library's buffer.
//!
//! A browser says on whose behalf it opens a WebSocket, and sends cookies along whoever asks: so `Origin` must be the app's
//! own, or one that the route names. A program that is no browser says none, and has the cookie from nobody but its user
//! (RFC 6455 §10.2): without `Origin`, and without the other fields that only browsers send, it may.

use bytes::Bytes;
use http::StatusCode;

use crate::access::Route;
use crate::crypto::digest::websocket_accept;
use crate::ui::ErrorKind;

use super::answers::{self, Answer, Body, ErrorText, Problem, Reply};
use super::exchange::fields;
use super::forward::{Failure, passing};
use super::inflow::{MOST_FIELDS, values};
use super::policy::{Head, Passage};
use super::view::{Asked, Field, View, elements};
use super::wire::{Head as _, Response};

/// From where a WebSocket is opened; nowhere that a browser would name.
#[derive(Clone)]
pub(super) struct Origin(Option<Box<str>>);

/// Whether one may be opened from there.
pub(super) fn may(route: &Route, from: &Origin) -> bool {
    route.spec.websocket.is_some() && belongs(route, from)
}

/// Whether somebody's page there speaks for the app: it is the app's own, one that the route names, or no page at all.
fn belongs(route: &Route, from: &Origin) -> bool {
    let named = || route.spec.websocket.iter().flat_map(|allowed| &allowed.origins);
    from.0.as_ref().is_none_or(|origin| **origin == *route.origin || named().any(|known| **known == **origin))
}

/// Whether a page of another site asks for a WebSocket that another proxy forwards. That proxy drops what is about its own
/// connection, `Upgrade` too, but not the field without which there is no handshake, and which no page can write.
pub(super) fn from_elsewhere(view: &View<'_>, route: &Route) -> bool {
    view.values("sec-websocket-key").next().is_some()
        && origin(view).map_or(true, |from| !belongs(route, &from))
}

/// What a client asks for, read strictly.
pub(super) struct Handshake<'a> {
    pub(super) origin: Origin,
    key: &'a str,
    protocols: Vec<&'a [u8]>,
    extensions: Vec<&'a [u8]>,
}

/// Why none is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It is no handshake of a WebSocket.
    #[error("The request asks for a WebSocket in a way that WebSocket clients do not.")]
    Handshake,
    /// The route passes none on.
    #[error("The route of this app does not pass on WebSocket connections.")]
    NotHere,
    /// A page of another site asks.
    #[error("The page that asks for this WebSocket belongs to another site.")]
    Origin,
    /// Another version of the protocol.
    #[error("WebSocket connections are passed on in version 13 of the protocol.")]
    Version,
}

impl Refused {
    /// The answer that says so. The connection ends with it.
    pub(super) fn answer(self, reply: Reply<'_>) -> Answer {
        let detail = self.to_string();
        let mut answer = match self {
            Refused::Origin => reply.problem(&Problem {
                status: 403,
                code: "origin",
                title: "Not from that site",
                detail: &detail,
                more: &[],
            }),
            Refused::Version => reply.problem(&Problem {
                status: 426,
                code: "websocket-version",
                title: "Another version, please",
                detail: &detail,
                more: &[],
            }),
            Refused::Handshake | Refused::NotHere => reply.error(&ErrorText {
                kind: ErrorKind::BadRequest,
                code: "websocket",
                title: "No WebSocket here",
                detail: Some(&detail),
                app: None,
            }),
        };
        if self == Refused::Version {
            answers::set(&mut answer, "sec-websocket-version", "13");
            answers::set(&mut answer, "upgrade", "websocket");
        }
        answers::close(&mut answer);
        answer
    }
}

impl<'a> Handshake<'a> {
    /// Reads what a client asks for. `possible`: it came by a version of HTTP that can change its protocol, without a body.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn read(asked: &Asked<'a>, route: &Route, possible: bool) -> Result<Self, Refused> {
        if route.spec.websocket.is_none() {
            return Err(Refused::NotHere);
        }
        let view = asked.view;
        let upgrade = view.single("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let listed = view.lists("connection", "upgrade");
        if view.method != "GET" || !possible || !upgrade || !listed {
            return Err(Refused::Handshake);
        }
        if view.single("sec-websocket-version") != Some("13") {
            return Err(Refused::Version);
        }
        let key = view.single("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refused::Handshake)?;
        let protocols: Vec<&[u8]> = view.values("sec-websocket-protocol").flat_map(elements).collect();
        let extensions: Vec<&[u8]> = view.values("sec-websocket-extensions").flat_map(elements).collect();
        if !protocols.iter().all(|name| is_token(name)) || !extensions.iter().all(|one| is_token(named(one)))
        {
            return Err(Refused::Handshake);
        }
        let origin = origin(&view)?;
        if !may(route, &origin) {
            return Err(Refused::Origin);
        }
        Ok(Self { origin, key, protocols, extensions })
    }

    /// Writes it into the head that goes upstream, in place of everything that reads like a part of it.
    pub(super) fn write(&self, head: &mut Head<'_>) {
        let mut fields: Vec<(&'static [u8], Vec<u8>)> = vec![
            (b"connection", b"Upgrade".to_vec()),
            (b"upgrade", b"websocket".to_vec()),
            (b"sec-websocket-version", b"13".to_vec()),
            (b"sec-websocket-key", self.key.into()),
        ];
        let lists: [(&'static [u8], _); 2] =
            [(b"sec-websocket-protocol", &self.protocols), (b"sec-websocket-extensions", &self.extensions)];
        fields.extend(
            lists
                .iter()
                .filter(|(_, list)| !list.is_empty())
                .map(|(name, list)| (*name, list.join(&b", "[..]))),
        );
        head.replace("sec-websocket-", fields);
    }

    /// The answer for the client, if the head of a 101 is the answer to what was asked.
    ///
    /// # Errors
    /// When it answers anything else.
    pub(super) fn answered(&self, head: &[u8], passage: &Passage<'_>) -> Result<Answer, Failure> {
        let read = Response::read(head, MOST_FIELDS)?;
        if read.old || !self.is_answered_by(&read.fields) {
            return Err(Failure::Broken("it changed the protocol otherwise than asked".to_owned()));
        }
        let mut answer = http::Response::new(Body::whole(Bytes::new()));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = fields(passing(&read.fields, passage).into_iter());
        answers::set(&mut answer, "connection", "Upgrade");
        answers::set(&mut answer, "upgrade", "websocket");
        Ok(answer)
    }

    fn is_answered_by(&self, fields: &[Field<'_>]) -> bool {
        let one = |name: &'static str| {
            let mut values = values(fields, name);
            values.next().filter(|_| values.next().is_none())
        };
        let none = |name: &'static str| values(fields, name).next().is_none();
        let lists = |name: &'static str| values(fields, name).flat_map(elements);
        let upgrade = one("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        let listed = lists("connection").any(|name| name.eq_ignore_ascii_case(b"upgrade"));
        let accepted =
            one("sec-websocket-accept").is_some_and(|value| value == websocket_accept(self.key).as_bytes());
        let protocol = none("sec-websocket-protocol")
            || one("sec-websocket-protocol").is_some_and(|chosen| self.protocols.contains(&chosen));
        let offered =
            |one: &[u8]| self.extensions.iter().any(|known| named(known).eq_ignore_ascii_case(named(one)));
        let extensions = lists("sec-websocket-extensions").all(offered);
        let body = !none("transfer-encoding") || !none("content-length");
        upgrade && listed && accepted && protocol && extensions && !body
    }
}

/// Sixteen bytes in base64.
fn is_key(key: &str) -> bool {
    data_encoding::BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The name of an extension, without its parameters.
fn named(extension: &[u8]) -> &[u8] {
    extension.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// From where it is opened.
fn origin(view: &View<'_>) -> Result<Origin, Refused> {
    if view.values("origin").next().is_some() {
        let origin = view.single("origin").ok_or(Refused::Origin)?;
        return Ok(Origin(Some(origin.to_ascii_lowercase().into())));
    }
    let browser = view.fields.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with(b"sec-fetch-"));
    if browser { Err(Refused::Origin) } else { Ok(Origin(None)) }
}
