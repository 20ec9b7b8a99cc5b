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

use crate::domain::route::Upstream;
use crate::domain::{Span, Timestamp};

/// The most idle connections to one address that a thread keeps.
const MOST_IDLE: usize = 128;

/// A connection. Dropping it closes it.
pub(super) struct Link {
    stream: TcpStream,
    /// Whether it has carried a request before: then it may have been closed in the meantime.
    pub(super) reused: bool,
    since: Timestamp,
}

impl Link {
    /// Whether nothing has happened on it since its last answer. One that was closed, or on which the upstream said
    /// something unasked, is good for nothing. Asks the reactor; the kernel only if that has heard something, or not heard
    /// that all was read.
    fn quiet(&self) -> bool {
        let waker = &mut Context::from_waker(Waker::noop());
        self.stream.poll_read_ready(waker).is_pending()
            || self.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads what is there; 0 when the upstream has closed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Writes what can be written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
            let link = links.pop()?;
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
            links.retain(|link| link.quiet() && now.since(link.since) < life);
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
pub(super) async fn connect(to: &Upstream, within: Duration, now: Timestamp) -> io::Result<Link> {
    // The name is looked up here and used at once: what was connected to is what answers.
    let stream = tokio::time::timeout(within, TcpStream::connect((to.host.as_str(), to.port)))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(Link { stream, reused: false, since: now })
}
