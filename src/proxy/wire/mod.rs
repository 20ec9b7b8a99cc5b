//! HTTP/1.1 messages as bytes (RFC 9112), read in one way or not at all.
//!
//! Nothing here decides anything, and nothing here repairs anything: whatever another program could read differently is
//! malformed (`PROXY-13`, `PROXY-22`). Lines end in CR LF, names are tokens, values hold no control characters, lengths are
//! decimal digits, and the only coding is `chunked`.

mod body;
mod head;

pub(super) use body::Body;
pub(super) use head::{Ends, Head, Request, Response, fields, is_value};

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The framing of a chunk.
    #[error("a chunk of the body is not written as it must be")]
    Chunk,
    /// It ended before its end.
    #[error("the message broke off")]
    CutOff,
    /// A header or trailer field.
    #[error("a header field is not written as it must be")]
    Field,
    /// More bytes or fields than are taken.
    #[error("the header is too large")]
    Large,
    /// The request line or the status line.
    #[error("the first line is not written as it must be")]
    Line,
    /// A line that does not end in CR LF.
    #[error("a line does not end as it must")]
    LineEnd,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the version of HTTP is not one that is spoken here")]
    Version,
}
