//! HTTP/1.1 towards clients: a strict reader of our own (RFC 9112), one task a connection.
//!
//! At each boundary between requests, before a byte is forwarded, a head is taken, refused, or found to be of another kind:
//! HTTP/2 and requests to change the protocol go, with their connection and for good, to the library ([`Left::Other`]).
//! Everything else is read here, bodies included, so that no byte can be read in two ways (`PROXY-13`).
//!
//! The buffer that is read into belongs to the thread. A connection that waits holds no more than what it has not used.

mod relay;
mod reply;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::watch;

use super::answers::Reply;
use super::forward::Failure;
use super::handler::{self, Carrier, Ending, Unfit};
use super::http2::PREFACE;
use super::meters::{Entry, Outcome};
use super::navigation::Wish;
use super::open::{Entrance, Guard};
use super::pipe::Pipe;
use super::policy::{Head, Passage};
use super::serve::{Door, MOST_HEAD, Thread, stopped};
use super::stream::Peer;
use super::timer::Timer;
use super::view::{Length, MOST_FIELDS, View};
use super::wire::{Body, Ends, Head as _, Malformed, Request};
use relay::Relay;

/// How many bytes a client may send ahead of the answer to its last request.
const MOST_AHEAD: usize = 16 * 1024;

/// How a connection left this reader.
pub(super) enum Left {
    /// An answer on it broke off, and the client must not take what it has for the whole.
    Broken(Pipe),
    /// It is over. The stream, for a decent end.
    Over(Pipe),
    /// What comes next is for the library: the stream, and what was read of it already.
    Other(Pipe, Vec<u8>),
}

/// The client's side of a connection.
struct Client {
    door: Door,
    stream: Pipe,
    peer: Peer,
    /// Read, and not used yet.
    input: Vec<u8>,
    timer: Timer,
}

/// What comes next on a connection.
enum Next {
    /// A whole head of so many bytes.
    Head(usize),
    /// The beginning of HTTP/2.
    Http2,
    /// Nothing more, and nothing to say about it.
    Nothing,
    /// Something that is no head.
    Refused(Malformed),
    /// The beginning of a head, and then nothing for too long.
    Slow,
}

/// What became of a request.
enum After {
    /// Its answer was cut.
    Break,
    Close,
    Keep,
    /// It asks for another protocol; nothing was done about it.
    Other,
}

/// Serves a connection until it ends or is for somebody else.
pub(super) async fn serve(
    thread: Rc<Thread>,
    door: Door,
    stream: Pipe,
    peer: Peer,
    stop: watch::Receiver<bool>,
) -> Left {
    let within = thread.gate.settings.head_timeout.std();
    let mut client = Client { door, stream, peer, input: Vec::new(), timer: Timer::new(within) };
    let mut stopping = std::pin::pin!(stopped(stop));
    loop {
        match client.next(&thread, stopping.as_mut()).await {
            Next::Head(length) => {
                let rest = client.input.split_off(length);
                let head = std::mem::replace(&mut client.input, rest);
                // In a box, so that a connection that waits for its next request is small.
                match Box::pin(client.request(&thread, &head)).await {
                    After::Break => return Left::Broken(client.stream),
                    After::Close => return Left::Over(client.stream),
                    After::Keep => {}
                    After::Other => {
                        let bytes = [head, client.input].concat();
                        return Left::Other(client.stream, bytes);
                    }
                }
            }
            Next::Http2 => return Left::Other(client.stream, client.input),
            Next::Nothing => return Left::Over(client.stream),
            Next::Refused(why) => {
                client.refuse(&thread, status(why), &why.to_string()).await;
                return Left::Over(client.stream);
            }
            Next::Slow => {
                client.refuse(&thread, 408, "the header took too long").await;
                return Left::Over(client.stream);
            }
        }
    }
}

/// The status of an answer to what is no head.
const fn status(why: Malformed) -> u16 {
    match why {
        Malformed::Large => 431,
        Malformed::Version => 505,
        _ => 400,
    }
}

impl Client {
    /// Waits for the next head.
    async fn next(&mut self, thread: &Thread, mut stopping: Pin<&mut impl Future<Output = ()>>) -> Next {
        let within = thread.gate.settings.head_timeout.std();
        let mut ends = Ends::default();
        self.timer.set(within);
        // An empty line before a request is passed over, once (RFC 9112 §2.2).
        let mut passed = false;
        // Once a head has begun it has its own time; most are there as a whole and need none.
        let mut timed = false;
        std::future::poll_fn(|cx| {
            loop {
                if !passed && self.input.starts_with(b"\r\n") {
                    self.input.drain(..2);
                    passed = true;
                }
                match self.input.first() {
                    Some(b'\r') if self.input.len() == 1 && !passed => {}
                    Some(first) if !first.is_ascii_graphic() => {
                        return Poll::Ready(Next::Refused(Malformed::Line));
                    }
                    Some(_) if self.input.starts_with(PREFACE) => return Poll::Ready(Next::Http2),
                    Some(_) => match ends.find(&self.input, MOST_HEAD) {
                        Ok(Some(length)) => return Poll::Ready(Next::Head(length)),
                        Ok(None) => {}
                        Err(why) => return Poll::Ready(Next::Refused(why)),
                    },
                    None => {}
                }
                let begun = !self.input.is_empty();
                if begun && !timed {
                    self.timer.set(within);
                    timed = true;
                }
                match self.poll_more(cx, thread) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Pending if !begun && stopping.as_mut().poll(cx).is_ready() => {
                        return Poll::Ready(Next::Nothing);
                    }
                    Poll::Pending if self.timer.poll(cx).is_pending() => return Poll::Pending,
                    Poll::Pending if begun => return Poll::Ready(Next::Slow),
                    Poll::Pending | Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(Next::Nothing),
                }
            }
        })
        .await
    }

    /// Reads what is there; false when the client has closed.
    fn poll_more(&mut self, cx: &mut Context<'_>, thread: &Thread) -> Poll<io::Result<bool>> {
        let mut buffer = thread.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(buffer.get_mut(..MOST_HEAD).unwrap_or_default());
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map_ok(|()| {
            self.input.extend_from_slice(buffer.filled());
            !buffer.filled().is_empty()
        })
    }

    /// Answers a request, from its head on.
    async fn request(&mut self, thread: &Rc<Thread>, head: &[u8]) -> After {
        let read = match Request::read(head, MOST_FIELDS) {
            Ok(read) => read,
            Err(why) => {
                self.refuse(thread, status(why), &why.to_string()).await;
                return After::Close;
            }
        };
        let certificate = self.peer.certificate.clone();
        let view = View {
            method: read.method,
            target: read.target,
            fields: &read.fields,
            peer: self.peer.address,
            certificate: certificate.as_deref(),
        };
        let length = match view.framing() {
            // HTTP/1.0 has no chunks: whoever sends some through a program that speaks it wants two readings.
            Ok(Length::Chunked) if read.old => {
                self.refuse(thread, 400, "the version of HTTP has no such body").await;
                return After::Close;
            }
            Ok(length) => length,
            // Said again, in its place, by the judgement.
            Err(_) => Length::Nothing,
        };
        // A handshake has no body: what follows it would be read by the library.
        if !read.old && matches!(view.framing(), Ok(Length::Nothing)) && view.wants_websocket() {
            return After::Other;
        }
        let (spoken, from) = (if read.old { "HTTP/1.0" } else { "HTTP/1.1" }, self.peer.address.ip());
        let mut entry = Entry::begin(&thread.meters, read.method, spoken, from, thread.request_id());
        let door = self.door;
        let mut carrying = Carrying {
            thread,
            body: match length {
                Length::Nothing => Body::NOTHING,
                Length::Exact(length) => Body::Exact(length),
                Length::Chunked => Body::chunked(),
            },
            length,
            old: read.old,
            keep: !read.old && !view.lists("connection", "close"),
            invite: view.values("expect").next().is_some() && length != Length::Nothing,
            client: self,
        };
        match handler::judged(thread, door, &mut entry, view, &mut carrying).await {
            Ending::Answer(answer) => {
                entry.status = answer.status().as_u16();
                carrying.reply(answer, read.method, &mut entry).await
            }
            Ending::Carried(after) => after,
        }
    }

    /// Answers what is no request, as far as it goes. The connection ends with it: what follows may be part of the same
    /// attempt.
    async fn refuse(&mut self, thread: &Thread, status: u16, detail: &str) {
        let from = self.peer.address.ip();
        let mut entry = Entry::begin(&thread.meters, "-", "HTTP/1.1", from, thread.request_id());
        entry.because(detail.to_owned());
        (entry.outcome, entry.status) = (Outcome::BadRequest, status);
        let gate = &*thread.gate;
        let id = entry.request_id;
        let reply = Reply {
            gate,
            wish: Wish::Data,
            request_id: &id,
            now: gate.clock.now(),
            portal: false,
            again: None,
        };
        let bytes = reply::whole(thread, reply.malformed(status, detail)).await;
        // Whether it arrives is the client's affair.
        let _ = self.write_all(thread, &bytes).await;
    }

    /// Writes all of it, unless the client takes none of it for too long.
    async fn write_all(&mut self, thread: &Thread, mut bytes: &[u8]) -> io::Result<()> {
        let within = thread.gate.settings.write_timeout.std();
        self.timer.set(within);
        std::future::poll_fn(|cx| {
            while !bytes.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => {
                        bytes = bytes.get(written..).unwrap_or_default();
                        self.timer.set(within);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending if self.timer.poll(cx).is_pending() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                }
            }
            // TLS keeps what it has not written yet.
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending if self.timer.poll(cx).is_ready() => {
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                flushed => flushed,
            }
        })
        .await
    }
}

/// One request of this connection, for the judgement: what it needs to carry it on, or to answer it.
struct Carrying<'c> {
    client: &'c mut Client,
    thread: &'c Rc<Thread>,
    /// What is left of the request's body on the connection.
    body: Body,
    length: Length,
    old: bool,
    keep: bool,
    /// Whether the client waits to be asked for the body (RFC 9110 §10.1.1).
    invite: bool,
}

/// What a client that waits for it is told before its body is read.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Carrier for Carrying<'_> {
    type Carried = After;

    async fn whole(&mut self, most: usize) -> Result<Bytes, Unfit> {
        if self.length.beyond(most) {
            return Err(Unfit::Large);
        }
        if self.invite && self.client.input.is_empty() {
            self.client.write_all(self.thread, CONTINUE).await.map_err(|_| Unfit::Missing)?;
        }
        let mut whole = Vec::new();
        while !self.body.ended() {
            let piece = self.body.take(&self.client.input).map_err(|_| Unfit::Missing)?;
            whole.extend_from_slice(piece.data);
            let used = piece.used;
            self.client.input.drain(..used);
            if whole.len() > most {
                return Err(Unfit::Large);
            }
            if used == 0 && !self.body.ended() {
                let more = std::future::poll_fn(|cx| self.client.poll_more(cx, self.thread)).await;
                if !more.is_ok_and(|more| more) {
                    return Err(Unfit::Missing);
                }
            }
        }
        Ok(whole.into())
    }

    async fn carry(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
        entry: &mut Entry,
    ) -> Result<After, Failure> {
        let mut relay = Relay::begin(self, passage, head).await?;
        let ended = relay.run(passage, head, entrance).await;
        (entry.status, entry.bytes) = (relay.status, relay.bytes);
        match ended {
            Ok(keep) => {
                relay.give_back();
                Ok(if keep { After::Keep } else { After::Close })
            }
            Err(Failure::Cut) if relay.status != 0 => {
                entry.outcome = Outcome::Cut;
                entry.because(relay.guard.as_ref().map_or("", Guard::why));
                Ok(After::Break)
            }
            // Whoever takes nothing is not waited for a second time.
            Err(failure @ Failure::Gone) if relay.status != 0 => {
                tracing::debug!(%failure, route.id = %passage.route().spec.name, "an answer broke off");
                entry.broke_off();
                Ok(After::Break)
            }
            // Something of the answer is out: all that can be said is that it breaks off.
            Err(failure) if relay.status != 0 => {
                tracing::debug!(%failure, route.id = %passage.route().spec.name, "an answer broke off");
                entry.broke_off();
                // To a client without chunks the end of the connection is the end of the answer.
                Ok(if self.old { After::Break } else { After::Close })
            }
            Err(failure) => {
                self.keep &= !matches!(failure, Failure::Client(_) | Failure::Gone | Failure::Quiet);
                Err(failure)
            }
        }
    }
}
