//! HTTP/2 towards clients, read by the library (RFC 9113): by ALPN over TLS, and to whoever knows it beforehand on this
//! machine. No upgrade from HTTP/1.1, and no CONNECT of any kind.
//!
//! Its limits stand here. What a client may make us keep is bounded for each connection: streams, header lists, windows,
//! frames that wait to be sent, and streams that it takes back faster than they can be dropped (`PROXY-20`).

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::rewound::Rewound;
use super::serve::{Door, MOST_HEAD, Thread, stopped};
use super::stream::Peer;
use super::{answers, handler};

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
/// How long a connection has to end when it was told to and nothing is in flight.
const GOODBYE: Duration = Duration::from_secs(5);

/// Tasks of a connection stay on its thread.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread
where
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

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

/// A body of an answer. With its end the request is over.
struct Counted {
    body: answers::Body,
    _request: InFlight,
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
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_ERRORS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MOST_WAITING)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    let activity = Rc::new(Activity::default());
    let counting = Rc::clone(&activity);
    let service = service_fn(move |request| {
        let request_in_flight = counting.begin();
        let answer = handler::answering(Rc::clone(&thread), door, Rc::default(), request, peer.clone());
        async move {
            let answer = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| Counted { body, _request: request_in_flight }))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = pin!(stopped(stop));
    let (mut told, mut seen) = (false, activity.seen.get());
    loop {
        let wait = if told { GOODBYE } else { idle };
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %address, %error, "a connection ended");
                }
                return;
            }
            () = &mut stopping, if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(wait) => {
                let quiet = activity.in_flight.get() == 0 && activity.seen.get() == seen;
                seen = activity.seen.get();
                // Whoever was told and still stays with nothing to do never means to go.
                if quiet && told {
                    return;
                }
                if quiet {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

impl Body for Counted {
    type Data = <answers::Body as Body>::Data;
    type Error = <answers::Body as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
