//! Connections to upstreams: opened, kept for the next request, thrown away when anything was odd.
//!
//! A thread keeps its own, last in first out, so that the few that are needed stay warm and the rest go. A connection comes
//! back only after request and answer have both ended in order: bytes of one person must never be found by the next (F25).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::domain::route::{Transport, Upstream};
use crate::domain::{Span, Timestamp};
use crate::net::Connectors;

use super::pipe::Pipe;

/// The most idle connections to one address that a thread keeps.
const MOST_IDLE: usize = 128;

/// A connection. Dropping it closes it.
pub(super) struct Link {
    stream: Pipe,
    /// Whether it has carried a request before: then it may have been closed in the meantime.
    pub(super) reused: bool,
    since: Timestamp,
}

impl Link {
    /// Whether nothing has happened on it since its last answer. One that was closed, or on which the upstream said
    /// something unasked, is good for nothing. Asks the reactor; the kernel only if that has heard something, or not heard
    /// that all was read.
    fn quiet(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        match &mut self.stream {
            Pipe::Plain(stream) => {
                stream.poll_read_ready(cx).is_pending()
                    || stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // What TLS says for itself, such as a new ticket, is read here and is nothing.
            Pipe::Tls(stream) => Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending(),
        }
    }

    /// Reads what is there; 0 when the upstream has closed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match &mut self.stream {
            Pipe::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Pipe::Tls(stream) => {
                // What was written may wait in there, and what is read may be the answer to it.
                if let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                Pin::new(stream).poll_read(cx, &mut buffer)
            }
        }
        .map_ok(|()| buffer.filled().len())
    }

    /// Writes what can be written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Pipe::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Pipe::Tls(stream) => {
                // Takes no more while something waits: so it holds one piece at most.
                std::task::ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                let written = Pin::new(&mut *stream).poll_write(cx, bytes);
                if let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                written
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = std::task::ready!(Link::poll_read(&mut self, cx, into.initialize_unfilled()))?;
        into.advance(filled);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Link::poll_write(&mut self, cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
    pub(super) fn idle(&self, to: &Upstream) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(to)?;
        loop {
            let mut link = links.pop()?;
            if link.quiet() {
                return Some(Link { reused: true, ..link });
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, to: &Upstream, link: Link, now: Timestamp) {
        let link = Link { since: now, ..link };
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
            links.retain_mut(|link| link.quiet() && now.since(link.since) < life);
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
/// When nobody answers there, or not in time, or somebody else does.
pub(super) async fn connect(
    connectors: &Connectors,
    to: &Upstream,
    within: Duration,
    now: Timestamp,
) -> io::Result<Link> {
    let connecting = async {
        // The name is looked up here and used at once: what was connected to is what answers.
        let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
        stream.set_nodelay(true)?;
        let stream = match &to.transport {
            Transport::Plain => Pipe::Plain(stream),
            Transport::Tls(tls) => {
                let secured = Box::pin(connectors.secure(stream, &to.host, tls, now)).await;
                Pipe::Tls(Box::new(secured.map_err(io::Error::other)?.into()))
            }
        };
        Ok(Link { stream, reused: false, since: now })
    };
    tokio::time::timeout(within, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
