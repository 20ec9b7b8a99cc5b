//! Connections to upstreams: opened, kept for the next request, thrown away when anything was odd.
//!
//! A thread keeps its own, last in first out, so that the few that are needed stay warm and the rest go. A connection comes
//! back only after request and answer have both ended in order: bytes of one person must never be found by the next (F25).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::domain::route::Upstream;
use crate::domain::{Span, Timestamp};

/// The most idle connections to one address that a thread keeps.
const MOST_IDLE: usize = 128;
/// The most bytes of the head of an answer.
const MOST_HEAD: usize = 64 * 1024;

/// A connection. Dropping it closes it.
pub(super) struct Link {
    pub(super) sender: SendRequest<Sending>,
    /// Whether it has carried a request before: then it may have been closed in the meantime.
    pub(super) reused: bool,
    task: AbortHandle,
    since: Timestamp,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The idle connections of a thread.
#[derive(Default)]
pub(super) struct Upstreams {
    idle: RefCell<HashMap<Upstream, Vec<Link>>>,
    turn: Cell<usize>,
}

impl Upstreams {
    /// An idle connection that is still open, if there is one.
    pub(super) async fn idle(&self, to: &Upstream) -> Option<Link> {
        loop {
            let mut link = self.idle.borrow_mut().get_mut(to)?.pop()?;
            // One that was just put back may need a turn of its task until it can take the next request.
            for _ in 0..2 {
                if link.sender.is_ready() {
                    link.reused = true;
                    return Some(link);
                }
                if link.sender.is_closed() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&self, to: &Upstream, mut link: Link, now: Timestamp) {
        if link.sender.is_closed() {
            return;
        }
        link.since = now;
        let mut idle = self.idle.borrow_mut();
        match idle.get_mut(to) {
            Some(links) if links.len() >= MOST_IDLE => {}
            Some(links) => links.push(link),
            None => {
                idle.insert(to.clone(), vec![link]);
            }
        }
    }

    /// Closes what has been idle for so long, and forgets what the other side closed.
    pub(super) fn sweep(&self, now: Timestamp, life: Span) {
        self.idle.borrow_mut().retain(|_, links| {
            links.retain(|link| !link.sender.is_closed() && now.since(link.since) < life);
            !links.is_empty()
        });
    }

    /// The addresses of a route, each once, beginning with the next in turn.
    pub(super) fn in_turn<'a>(&self, to: &'a [Upstream]) -> impl Iterator<Item = &'a Upstream> + use<'a> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let first = turn.checked_rem(to.len()).unwrap_or_default();
        let (before, from) = to.split_at_checked(first).unwrap_or((&[], to));
        from.iter().chain(before)
    }
}

/// Opens a connection.
///
/// # Errors
/// When nobody answers there, or not in time.
pub(super) async fn connect(to: &Upstream, within: Duration, now: Timestamp) -> std::io::Result<Link> {
    // The name is looked up here and used at once: what was connected to is what answers.
    let stream = tokio::time::timeout(within, TcpStream::connect((to.host.as_str(), to.port)))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEAD);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(Link { sender, reused: false, task: task.abort_handle(), since: now })
}

/// How far the body of a request has come. Shared between the request on its way out and whoever waits for the answer.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) ended: Cell<bool>,
    pub(super) frames: Cell<u64>,
}

/// The body of a request, passed on as it comes. Trailers end here (`PROXY-06`).
pub(super) struct Sending {
    inner: Option<Incoming>,
    progress: Rc<Progress>,
}

impl Sending {
    pub(super) fn new(body: Incoming) -> (Self, Rc<Progress>) {
        let progress = Rc::new(Progress::default());
        progress.ended.set(body.is_end_stream());
        (
            Self { inner: Some(body).filter(|body| !body.is_end_stream()), progress: Rc::clone(&progress) },
            progress,
        )
    }

    /// Nothing, for a request without body that is sent again.
    pub(super) fn nothing(progress: &Rc<Progress>) -> Self {
        Self { inner: None, progress: Rc::clone(progress) }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_nothing(&self) -> bool {
        self.inner.is_none()
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
            let frame = std::task::ready!(Pin::new(&mut *inner).poll_frame(cx));
            let last = inner.is_end_stream();
            self.progress.frames.set(self.progress.frames.get().wrapping_add(1));
            match frame {
                Some(Ok(frame)) if frame.is_data() => {
                    self.progress.ended.set(last);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.progress.ended.set(true);
                    self.inner = None;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// The body of an answer, passed on as it comes. Holds the connection until both bodies have ended.
pub(super) struct Receiving {
    inner: Incoming,
    held: Option<Held>,
}

/// A connection on which an answer is still coming.
pub(super) struct Held {
    pub(super) link: Link,
    pub(super) to: Upstream,
    pub(super) upstreams: Rc<Upstreams>,
    pub(super) progress: Rc<Progress>,
    pub(super) now: Timestamp,
}

impl Receiving {
    pub(super) fn new(inner: Incoming, held: Held) -> Self {
        let mut body = Self { inner, held: Some(held) };
        if body.inner.is_end_stream() {
            body.ended();
        }
        body
    }

    /// The answer has ended in order. If the request has too, the connection is kept; an answer that came early leaves
    /// bytes of this request on the connection, and nobody else may use it.
    fn ended(&mut self) {
        if let Some(held) = self.held.take()
            && held.progress.ended.get()
        {
            let Held { link, to, upstreams, now, .. } = held;
            upstreams.keep(&to, link, now);
        }
    }
}

impl http_body::Body for Receiving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if self.inner.is_end_stream() => self.ended(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.held = None,
            None => self.ended(),
        }
        let fold = |frame: Frame<Bytes>| match frame.into_trailers() {
            Ok(mut trailers) => {
                let names: Vec<_> = trailers
                    .keys()
                    .filter(|name| !super::hygiene::trailer_passes(name.as_str()))
                    .cloned()
                    .collect();
                for name in names {
                    trailers.remove(name);
                }
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        };
        Poll::Ready(frame.map(|frame| frame.map(fold)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
