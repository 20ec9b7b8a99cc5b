//! A request on its way to an upstream: its head, then its body, framed anew.

use std::io::Write as _;
use std::task::{Context, Poll, ready};

use super::upstream::Link;

/// What is being sent.
pub(super) struct Outflow {
    bytes: Vec<u8>,
    sent: usize,
    chunked: bool,
    state: State,
    /// Grows with every byte that the upstream took.
    pub(super) moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// The upstream takes no more. Its answer may be there all the same.
    Refused,
    /// Everything was handed over.
    Whole,
}

impl Outflow {
    /// Begins with a head. What is pushed behind it is cut into chunks, or else was counted in the head.
    pub(super) fn new(head: Vec<u8>, chunked: bool) -> Self {
        Self { bytes: head, sent: 0, chunked, state: State::Open, moved: 0 }
    }

    /// Adds bytes of the body.
    pub(super) fn push(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.chunked {
            chunk(&mut self.bytes, data);
        } else {
            self.bytes.extend_from_slice(data);
        }
    }

    /// Ends the body. Trailers of a request end here, too (`PROXY-06`).
    pub(super) fn finish(&mut self) {
        if self.state == State::Open {
            self.state = State::Whole;
            if self.chunked {
                self.bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }

    /// Whether more of the body may be pushed.
    pub(super) fn open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it is the client's turn: more may come, and the upstream has what has come.
    pub(super) fn hungry(&self) -> bool {
        self.open() && self.bytes.is_empty()
    }

    /// Whether the upstream has been given everything: only then its connection can carry another request.
    pub(super) fn sent(&self) -> bool {
        self.state == State::Whole && self.bytes.is_empty()
    }

    /// Hands over what is there. Ready when nothing is left to hand over, now or for ever.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Poll<()> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(link.poll_write(cx, rest)) {
                Ok(written) if written > 0 => {
                    self.sent += written;
                    self.moved += written as u64;
                }
                Ok(_) | Err(_) => {
                    self.state = State::Refused;
                    break;
                }
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Poll::Ready(())
    }
}

/// Writes a chunk (RFC 9112 §7.1).
pub(super) fn chunk(into: &mut Vec<u8>, data: &[u8]) {
    // Writing to memory does not fail.
    let _ = write!(into, "{:x}\r\n", data.len());
    into.extend_from_slice(data);
    into.extend_from_slice(b"\r\n");
}
