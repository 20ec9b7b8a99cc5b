//! HTTP/2 towards upstreams (RFC 9113): many requests on one connection, gRPC among them.
//!
//! To the rest of the data plane each request has a link of its own, on which HTTP/1.1 is spoken: what we write for an upstream
//! is translated here, and so is what it answers. So there is one way to frame a body, one way to judge an answer, and
//! one to cut it off. Nobody else's bytes are translated: the head that comes in is one that we wrote.

use std::cell::Cell;
use std::future::Future as _;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::task::spawn_local;

use super::outflow::chunk;
use super::pipe::Pipe;
use super::view::MOST_FIELDS;
use super::wire::{self, Body, Ends, Head as _};
use crate::domain::route::{Transport, Upstream};
use crate::domain::{Span, Timestamp};
use crate::sys::Stopwatch;

/// Requests at a time on a connection, even if the upstream takes more.
const MOST_STREAMS: usize = 64;
/// Bytes of an answer that the upstream may send before its client has taken them.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all on a connection: clients that take nothing must not use up what others need.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// What small frames that wait may cost in memory, on a connection: of events and calls that nobody takes there are many.
const FRAMES: usize = 32 * 1024 * 1024;
/// After so long without an answer a connection may be dead without knowing.
const SUSPICIOUS: Duration = Duration::from_secs(5);
/// Bytes of the header fields of an answer.
const MOST_HEAD: u32 = 64 * 1024;
/// Bytes of a request's body that wait here for the upstream.
const MOST_WAITING: usize = 64 * 1024;
/// Fields that we add to those of a client, at most.
const OURS: usize = 200;

/// A connection that requests share.
pub(super) struct Shared {
    send: SendRequest<Bytes>,
    state: Rc<State>,
    tls: bool,
    begun: Timestamp,
    used: Timestamp,
}

/// How a connection is doing.
#[derive(Default)]
struct State {
    in_flight: Cell<usize>,
    /// Requests whose body the upstream has no room for. It may have none for others' either.
    stalled: Cell<usize>,
    /// It takes no new requests.
    over: Cell<bool>,
}

impl Shared {
    /// Begins on a connection that was just opened.
    ///
    /// # Errors
    /// When the other side does not speak it.
    pub(super) async fn begin(pipe: Pipe, to: &Upstream, now: Timestamp) -> io::Result<Self> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MOST_HEAD)
            .data_frame_budget(FRAMES)
            .max_send_buffer_size(MOST_WAITING);
        let (send, connection) = builder.handshake(pipe).await.map_err(lost)?;
        let state = Rc::new(State::default());
        let ending = Rc::clone(&state);
        spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream ended");
            }
            ending.over.set(true);
        });
        Ok(Self { send, state, tls: matches!(to.transport, Transport::Tls(_)), begun: now, used: now })
    }

    /// A link for one request; `None` when there is no place for another, or it is older than `age`: what the upstream's name
    /// leads to may have changed.
    pub(super) fn link(&mut self, now: Timestamp, age: Span) -> Option<Stream> {
        let most = MOST_STREAMS.min(self.send.current_max_send_streams());
        let full = self.state.in_flight.get() >= most || self.state.stalled.get() > 0;
        if self.is_over() || full || now.since(self.begun) >= age {
            return None;
        }
        self.used = now;
        self.state.in_flight.set(self.state.in_flight.get() + 1);
        Some(Stream {
            up: Up::Head { send: self.send.clone(), head: Vec::new(), ends: Ends::default() },
            down: Down::Nothing,
            tls: self.tls,
            bodiless: false,
            out: Vec::new(),
            taken: 0,
            stalled: false,
            waiting: None,
            state: Rc::clone(&self.state),
        })
    }

    /// Whether it takes no new requests, ever.
    pub(super) fn is_over(&self) -> bool {
        self.state.over.get()
    }

    /// Whether it is of use to anybody. Requests that are on it go on, whoever forgets it.
    pub(super) fn lives(&self, now: Timestamp, idle: Span, age: Span) -> bool {
        !self.state.over.get()
            && now.since(self.begun) < age
            && (self.state.in_flight.get() > 0 || now.since(self.used) < idle)
    }
}

/// One request and its answer.
pub(super) struct Stream {
    up: Up,
    down: Down,
    tls: bool,
    /// Whether the answer has no body, whatever its fields say: that to HEAD.
    bodiless: bool,
    /// Of the answer, written as HTTP/1.1 and not read yet.
    out: Vec<u8>,
    taken: usize,
    /// Whether it counts among the stalled.
    stalled: bool,
    /// Since the head was sent.
    waiting: Option<Stopwatch>,
    state: Rc<State>,
}

/// The request.
enum Up {
    /// Its head is not whole yet.
    Head { send: SendRequest<Bytes>, head: Vec<u8>, ends: Ends },
    /// Its body is on the way. `waiting` has no room at the upstream yet.
    Body { stream: SendStream<Bytes>, body: Body, waiting: Bytes },
    /// All was handed over, or the upstream takes no more.
    Done,
}

/// The answer.
enum Down {
    /// The request has not been sent.
    Nothing,
    Waiting(ResponseFuture),
    Body {
        stream: RecvStream,
        chunked: bool,
    },
    End,
    /// The request could not be sent, for this reason.
    Refused(Option<io::Error>),
}

impl Stream {
    /// Takes bytes of the request as HTTP/1.1 has them.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.up {
            Up::Head { send, head, ends } => {
                if let Err(error) = ready!(send.poll_ready(cx)) {
                    self.state.over.set(true);
                    (self.up, self.down) = (Up::Done, Down::Refused(Some(lost(error))));
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                head.extend_from_slice(bytes);
                let Some(length) = ends.find(head, usize::MAX).map_err(io::Error::other)? else {
                    return Poll::Ready(Ok(bytes.len()));
                };
                let behind = head.len() - length;
                head.truncate(length);
                let (head, mut send) = (std::mem::take(head), send.clone());
                self.up = Up::Done;
                if let Err(error) = self.send(&head, &mut send) {
                    self.down = Down::Refused(Some(error));
                }
                Poll::Ready(Ok(bytes.len() - behind))
            }
            Up::Body { .. } => {
                ready!(self.poll_flush(cx))?;
                let Up::Body { body, waiting, .. } = &mut self.up else { return Poll::Ready(Ok(0)) };
                let piece =
                    body.take(bytes.get(..MOST_WAITING).unwrap_or(bytes)).map_err(io::Error::other)?;
                *waiting = Bytes::copy_from_slice(piece.data);
                let used = piece.used;
                if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(used))
            }
            Up::Done => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Sends the head.
    fn send(&mut self, head: &[u8], send: &mut SendRequest<Bytes>) -> io::Result<()> {
        let (request, body) = translated(head, self.tls)?;
        self.bodiless = request.method() == Method::HEAD;
        let (answer, stream) = send.send_request(request, body.ended()).map_err(lost)?;
        self.down = Down::Waiting(answer);
        self.waiting = Some(Stopwatch::start());
        if !body.ended() {
            self.up = Up::Body { stream, body, waiting: Bytes::new() };
        }
        Ok(())
    }

    /// Hands over what the upstream has room for. Ready when nothing waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_hand_over(cx);
        if self.stalled != flushed.is_pending() {
            self.stalled = flushed.is_pending();
            let stalled = &self.state.stalled;
            stalled.set(if self.stalled { stalled.get() + 1 } else { stalled.get().saturating_sub(1) });
        }
        flushed
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Up::Body { stream, body, waiting } = &mut self.up else { return Poll::Ready(Ok(())) };
        while !waiting.is_empty() {
            if stream.capacity() == 0 {
                stream.reserve_capacity(waiting.len());
                if stream.capacity() == 0 {
                    ready!(stream.poll_capacity(cx)).ok_or(io::ErrorKind::BrokenPipe)?.map_err(lost)?;
                    continue;
                }
            }
            let piece = waiting.split_to(waiting.len().min(stream.capacity()));
            stream.send_data(piece, waiting.is_empty() && body.ended()).map_err(lost)?;
            if waiting.is_empty() && body.ended() {
                self.up = Up::Done;
                return Poll::Ready(Ok(()));
            }
        }
        if body.ended() {
            stream.send_data(Bytes::new(), true).map_err(lost)?;
            self.up = Up::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the answer as HTTP/1.1 has it; 0 behind its end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        // What was taken may wait in here, and the answer for it. If it cannot be sent, there may be an answer that says why.
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            self.up = Up::Done;
        }
        while self.taken == self.out.len() {
            self.out.clear();
            self.taken = 0;
            match &mut self.down {
                // Whoever reads has written, and is woken from there.
                Down::Nothing => return Poll::Pending,
                Down::Waiting(answer) => {
                    let answered = ready!(Pin::new(answer).poll(cx));
                    // Whoever says goodbye takes nothing new, also while others are still answered.
                    if answered.as_ref().is_err_and(h2::Error::is_go_away) {
                        self.state.over.set(true);
                    }
                    let (parts, stream) = answered.map_err(lost)?.into_parts();
                    let bare = self.bodiless || matches!(parts.status.as_u16(), 204 | 304);
                    let counted = parts.headers.contains_key(CONTENT_LENGTH);
                    // Writing to memory does not fail.
                    let _ = write!(self.out, "HTTP/1.1 {}\r\n", parts.status.as_u16());
                    put(&mut self.out, &parts.headers);
                    let chunked = !bare && !counted && !stream.is_end_stream();
                    if chunked {
                        self.out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                    } else if !bare && !counted {
                        self.out.extend_from_slice(b"content-length: 0\r\n");
                    }
                    self.out.extend_from_slice(b"\r\n");
                    self.down = Down::Body { stream, chunked };
                }
                Down::Body { stream, chunked } => {
                    let chunked = *chunked;
                    if let Some(data) = ready!(stream.poll_data(cx)) {
                        let data = data.map_err(lost)?;
                        stream.flow_control().release_capacity(data.len()).map_err(lost)?;
                        match chunked {
                            _ if data.is_empty() => {}
                            true => chunk(&mut self.out, &data),
                            false => self.out.extend_from_slice(&data),
                        }
                        continue;
                    }
                    let trailers = ready!(stream.poll_trailers(cx)).map_err(lost)?;
                    if chunked {
                        self.out.extend_from_slice(b"0\r\n");
                        put(&mut self.out, &trailers.unwrap_or_default());
                        self.out.extend_from_slice(b"\r\n");
                    }
                    self.down = Down::End;
                }
                Down::End => return Poll::Ready(Ok(0)),
                Down::Refused(why) => {
                    let why = why.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                    return Poll::Ready(Err(why));
                }
            }
        }
        let rest = self.out.get(self.taken..).unwrap_or_default();
        let most = rest.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(rest) {
            *place = *byte;
        }
        self.taken += most;
        Poll::Ready(Ok(most))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.in_flight.set(self.state.in_flight.get().saturating_sub(1));
        if self.stalled {
            self.state.stalled.set(self.state.stalled.get().saturating_sub(1));
        }
        // A client that goes away soon says nothing about the connection.
        let long = self.waiting.is_some_and(|waiting| waiting.elapsed() >= SUSPICIOUS);
        if matches!(self.down, Down::Waiting(_)) && long {
            self.state.over.set(true);
        }
    }
}

/// The request of a head that we wrote, and how its body is framed.
fn translated(head: &[u8], tls: bool) -> io::Result<(Request<()>, Body)> {
    let read = wire::Request::read(head, MOST_FIELDS + OURS).map_err(io::Error::other)?;
    let mut headers = HeaderMap::with_capacity(read.fields.len() + 1);
    let (mut host, mut body) = (None, Body::NOTHING);
    for (name, value) in read.fields {
        let name = HeaderName::from_bytes(name).map_err(io::Error::other)?;
        let value = HeaderValue::from_bytes(value).map_err(io::Error::other)?;
        match name {
            HOST => host = Some(value),
            TRANSFER_ENCODING => body = Body::chunked(),
            _ => {
                if name == CONTENT_LENGTH {
                    let length = value.to_str().ok().and_then(|length| length.parse().ok());
                    body = Body::Exact(length.ok_or(io::ErrorKind::InvalidInput)?);
                }
                headers.append(name, value);
            }
        }
    }
    // We pass trailers on (RFC 9110 §10.1.4), and servers of gRPC want to hear it.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let uri = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(host.as_ref().map_or(&b""[..], HeaderValue::as_bytes))
        .path_and_query(read.target)
        .build()
        .map_err(io::Error::other)?;
    // What was judged is what is sent, or nothing is.
    if uri.path_and_query().is_none_or(|target| target.as_str() != read.target) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(read.method.as_bytes()).map_err(io::Error::other)?;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok((request, body))
}

/// Writes fields as HTTP/1.1 has them.
fn put(into: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            into.extend_from_slice(part);
        }
    }
}

/// Whether HTTP/2 can say a target. The library has names of its own for what an address may hold.
pub(super) fn speakable(target: &str) -> bool {
    target.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == target)
}

/// A stream that the upstream ended is not a connection that was lost: the request may have been read (RFC 9113 §8.7).
fn lost(error: h2::Error) -> io::Error {
    if error.is_reset() && error.reason() != Some(Reason::REFUSED_STREAM) {
        return io::Error::new(io::ErrorKind::ConnectionAborted, error);
    }
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into())
    } else {
        io::Error::other(error)
    }
}
