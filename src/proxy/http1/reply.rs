//! Our own answers as bytes.

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Collected};

use super::{After, Carrying};
use crate::proxy::answers::Answer;
use crate::proxy::meters::Entry;
use crate::proxy::outflow::chunk;
use crate::proxy::serve::Thread;
use crate::proxy::wire::Body;

impl Carrying<'_> {
    /// Writes an answer of ours.
    pub(super) async fn reply(&mut self, answer: Answer, method: &str, entry: &mut Entry) -> After {
        let (parts, mut body) = answer.into_parts();
        let closing = parts.headers.get(CONNECTION).is_some_and(|option| option == "close");
        let keep = self.keep && !closing && self.drained();
        let bodiless = method == "HEAD" || matches!(parts.status.as_u16(), 204 | 304);
        let length = body.size_hint().exact();
        let mut bytes = Vec::with_capacity(1024);
        status_line(&mut bytes, parts.status.as_u16());
        for (name, value) in &parts.headers {
            if *name != CONNECTION && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
                field(&mut bytes, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        if !parts.headers.contains_key(DATE) {
            field(&mut bytes, b"date", &self.thread.date());
        }
        let chunked = length.is_none() && !self.old;
        match length {
            _ if matches!(parts.status.as_u16(), 204 | 304) => {}
            Some(length) => {
                field(&mut bytes, b"content-length", itoa::Buffer::new().format(length).as_bytes());
            }
            None if chunked => field(&mut bytes, b"transfer-encoding", b"chunked"),
            None => {}
        }
        let keep = keep && (chunked || length.is_some() || bodiless);
        if !keep {
            field(&mut bytes, b"connection", b"close");
        }
        bytes.extend_from_slice(b"\r\n");
        while !bodiless && let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return After::Close };
            let data = frame.data_ref().map_or(&[][..], |data| data);
            entry.bytes += data.len() as u64;
            match chunked {
                _ if data.is_empty() => {}
                true => chunk(&mut bytes, data),
                false => bytes.extend_from_slice(data),
            }
            if !body.is_end_stream() && self.client.write_all(self.thread, &bytes).await.is_err() {
                return After::Close;
            }
            if !body.is_end_stream() {
                bytes.clear();
            }
        }
        if chunked && !bodiless {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        match self.client.write_all(self.thread, &bytes).await {
            Ok(()) if keep => After::Keep,
            Ok(()) => After::Close,
            Err(_) => After::Break,
        }
    }

    /// Passes over what is left of the request's body, as far as it is here already. Whether nothing is left.
    fn drained(&mut self) -> bool {
        while !self.body.ended() {
            match self.body.take(&self.client.input) {
                Ok(piece) if piece.used > 0 => drop(self.client.input.drain(..piece.used)),
                Ok(_) | Err(_) => return false,
            }
        }
        matches!(self.body, Body::Exact(_) | Body::Chunked(_))
    }
}

/// An answer of ours that is there as a whole, and ends the connection.
pub(super) async fn whole(thread: &Thread, answer: Answer) -> Vec<u8> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let mut bytes = Vec::with_capacity(1024);
    status_line(&mut bytes, parts.status.as_u16());
    for (name, value) in &parts.headers {
        field(&mut bytes, name.as_str().as_bytes(), value.as_bytes());
    }
    field(&mut bytes, b"date", &thread.date());
    field(&mut bytes, b"content-length", itoa::Buffer::new().format(body.len()).as_bytes());
    field(&mut bytes, b"connection", b"close");
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

/// Writes a status line.
pub(super) fn status_line(into: &mut Vec<u8>, status: u16) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    for part in ["HTTP/1.1 ", itoa::Buffer::new().format(status), " ", reason.unwrap_or_default(), "\r\n"] {
        into.extend_from_slice(part.as_bytes());
    }
}

/// Writes a field.
pub(super) fn field(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        into.extend_from_slice(part);
    }
}
