//! HTTP/2 towards clients (RFC 9113), its frames read by the library: by ALPN over TLS, and to whoever knows it beforehand on
//! this machine. No upgrade from HTTP/1.1, and no CONNECT of any kind.
//!
//! Its limits stand here. What a client may make us keep is bounded for each connection: streams, header lists, windows,
//! frames that wait to be sent, and streams that it takes back faster than they can be dropped (`PROXY-20`). A stream whose
//! client takes nothing ends alone, and so does one whose right has ended (`PROXY-17`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Ping, Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::answers::{Answer, Body, Cut};
use super::arriving::Arriving;
use super::handler;
use super::rewound::Rewound;
use super::serve::{Door, MOST_HEAD, Thread, stopped};
use super::stream::Peer;
use super::timer::Timer;

/// The name of the protocol in a TLS greeting.
pub(super) const ALPN: &[u8] = b"h2";
/// How HTTP/2 begins.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// Requests at a time.
const MOST_STREAMS: u32 = 100;
/// Streams that the client took back before we looked at them (CVE-2023-44487).
const MOST_RESETS: usize = 20;
/// Streams that we took back because of errors of the client.
const MOST_ERRORS: usize = 64;
/// Bytes of a body that the client may send before we have taken them: of one, and of all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that wait to be sent.
const MOST_WAITING: usize = 64 * 1024;
/// How often a silent client is asked whether it is there, and how long it may think about it.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);
/// How long the rest of a request is passed over whose answer was sent, and how long it may be silent meanwhile.
const LONGEST: Duration = Duration::from_secs(15);
const SILENT: Duration = Duration::from_secs(2);
/// How long a connection has to end when it was told to and nothing is in flight.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Default)]
struct Activity {
    in_flight: Cell<usize>,
    seen: Cell<u64>,
}

impl Activity {
    fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.seen.set(self.seen.get().wrapping_add(1));
        InFlight(Rc::clone(self))
    }
}

/// A request whose answer has not ended.
struct InFlight(Rc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
        self.0.seen.set(self.0.seen.get().wrapping_add(1));
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    thread: Rc<Thread>,
    door: Door,
    stream: Rewound,
    peer: Peer,
    stop: watch::Receiver<bool>,
) {
    let address = peer.address;
    let idle = thread.gate.settings.head_timeout.std();
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(Some(MOST_ERRORS))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MOST_WAITING);
    let mut connection = match timeout(idle, builder.handshake(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "a connection ended"),
        Err(_) => return tracing::debug!(peer = %address, "a connection ended: its beginning took too long"),
    };
    let mut pings = connection.ping_pong();
    let (mut asked, mut ask) = (false, Timer::new(PING));
    let activity = Rc::new(Activity::default());
    let mut stopping = pin!(stopped(stop));
    let (mut told, mut seen, mut look) = (false, activity.seen.get(), Timer::new(idle));
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let peer = peer.clone();
                    spawn_local(answer(Rc::clone(&thread), door, request, respond, peer, activity.begin()));
                }
                Some(Err(error)) => return tracing::debug!(peer = %address, %error, "a connection ended"),
                None => return,
            },
            () = &mut stopping, if !told => {
                told = true;
                connection.graceful_shutdown();
                look.set(GOODBYE);
            }
            // An error is seen by whoever accepts.
            _ = poll_fn(|cx| pings.as_mut().map_or(Poll::Pending, |pings| pings.poll_pong(cx))), if asked => {
                asked = false;
                ask.set(PING);
            }
            () = poll_fn(|cx| ask.poll(cx)) => {
                let sent = pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok());
                if asked || !sent {
                    return tracing::debug!(peer = %address, "a connection ended: nobody is there");
                }
                asked = true;
                ask.set(PONG);
            }
            () = poll_fn(|cx| look.poll(cx)) => {
                let quiet = activity.in_flight.get() == 0 && activity.seen.get() == seen;
                seen = activity.seen.get();
                // Whoever was told and still stays with nothing to do never means to go.
                if quiet && told {
                    return;
                }
                if quiet {
                    told = true;
                    connection.graceful_shutdown();
                }
                look.set(if told { GOODBYE } else { idle });
            }
        }
    }
}

/// Answers a request on its stream.
async fn answer(
    thread: Rc<Thread>,
    door: Door,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Peer,
    _in_flight: InFlight,
) {
    let within = thread.gate.settings.write_timeout.std();
    let date = thread.date();
    let (parts, body) = request.into_parts();
    let to_head = parts.method == Method::HEAD;
    let arriving = Rc::new(RefCell::new(body));
    let body = Arriving::http2(Rc::clone(&arriving), &parts.headers);
    let request = Request::from_parts(parts, body);
    let answer = tokio::select! {
        biased;
        // The client took it back: nobody waits for the answer, and the work for it ends here.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
        answer = handler::answer(thread, door, Rc::default(), request, peer) => answer,
    };
    let (head, body) = headed(answer, &date, to_head);
    match respond.send_response(head, body.is_none()) {
        Ok(stream) => {
            if let Some(body) = body {
                send(stream, body, within).await;
            }
        }
        Err(error) => tracing::debug!(%error, "an answer could not be sent"),
    }
    // What still comes of the request is for nobody. Taking the stream back at once would be right (RFC 9113 §8.1), but
    // common clients then throw the answer away.
    let _ = timeout(LONGEST, drained(&arriving)).await;
}

/// Passes over what is left of a request's body, as long as it comes.
async fn drained(body: &RefCell<RecvStream>) {
    while !body.borrow().is_end_stream() {
        let next = poll_fn(|cx| body.borrow_mut().poll_data(cx));
        match timeout(SILENT, next).await {
            Ok(Some(Ok(data))) => {
                if body.borrow_mut().flow_control().release_capacity(data.len()).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// The head of an answer as HTTP/2 has it, and what comes behind it.
fn headed(answer: Answer, date: &[u8], to_head: bool) -> (Response<()>, Option<Body>) {
    let (mut parts, body) = answer.into_parts();
    // Of the connection, which others use as well (RFC 9113 §8.2.2).
    parts.headers.remove(CONNECTION);
    if !parts.headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_bytes(date)
    {
        parts.headers.insert(DATE, date);
    }
    let bare = matches!(parts.status.as_u16(), 204 | 304);
    if !to_head
        && !bare
        && let Some(length) = body.size_hint().exact()
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    let body = Some(body).filter(|body| !to_head && !bare && !body.is_end_stream());
    (Response::from_parts(parts, ()), body)
}

/// Sends a body as fast as the client takes it. One that breaks off, or that nobody takes, ends so that it cannot be taken
/// for whole.
async fn send(mut stream: SendStream<Bytes>, mut body: Body, within: Duration) {
    loop {
        let frame = poll_fn(|cx| {
            if stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(None));
            }
            Pin::new(&mut body).poll_frame(cx).map(|frame| frame.transpose().map_err(Some))
        });
        let frame = match frame.await {
            Ok(Some(frame)) => frame,
            Ok(None) => return drop(stream.send_data(Bytes::new(), true)),
            // The client took it back.
            Err(None) => return,
            Err(Some(error)) => {
                return stream.send_reset(if error.is::<Cut>() {
                    Reason::CANCEL
                } else {
                    Reason::INTERNAL_ERROR
                });
            }
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return drop(stream.send_trailers(trailers));
                }
                continue;
            }
        };
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let room = poll_fn(|cx| {
                if body.poll_cut(cx).is_ready() {
                    return Poll::Ready(Err(Reason::CANCEL));
                }
                match stream.capacity() {
                    0 => stream.poll_capacity(cx).map(|room| room.and_then(Result::ok).ok_or(Reason::CANCEL)),
                    room => Poll::Ready(Ok(room)),
                }
            });
            match timeout(within, room).await.unwrap_or(Err(Reason::CANCEL)) {
                Ok(room) => {
                    let piece = data.split_to(room.min(data.len()));
                    let last = data.is_empty() && body.is_end_stream();
                    if stream.send_data(piece, last).is_err() || last {
                        return;
                    }
                }
                Err(reason) => return stream.send_reset(reason),
            }
        }
    }
}
