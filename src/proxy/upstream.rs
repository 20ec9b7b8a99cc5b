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

use crate::domain::route::{Protocol, Transport, Upstream};
use crate::domain::{Span, Timestamp};
use crate::net::Connectors;

use super::multiplex::{Shared, Stream};
use super::pipe::Pipe;

/// The most idle connections to one address that a thread keeps.
const MOST_IDLE: usize = 128;

/// What a request goes over.
enum Way {
    /// A connection that it has for itself.
    Own(Pipe),
    /// A place on one that it shares.
    Shared(Box<Stream>),
}

/// A connection, for one request at a time. Dropping it closes it.
pub(super) struct Link {
    way: Way,
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
        match &mut self.way {
            Way::Own(Pipe::Plain(stream)) => {
                stream.poll_read_ready(cx).is_pending()
                    || stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // What TLS says for itself, such as a new ticket, is read here and is nothing.
            Way::Own(pipe) => Pin::new(pipe).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_pending(),
            Way::Shared(_) => false,
        }
    }

    /// Reads what is there; 0 when the upstream has closed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        match &mut self.way {
            Way::Own(Pipe::Plain(stream)) => Pin::new(stream).poll_read(cx, &mut buffer),
            Way::Own(pipe) => {
                // What was written may wait in there, and what is read may be the answer to it.
                if let Poll::Ready(Err(error)) = Pin::new(&mut *pipe).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                Pin::new(pipe).poll_read(cx, &mut buffer)
            }
            Way::Shared(stream) => return stream.poll_read(cx, into),
        }
        .map_ok(|()| buffer.filled().len())
    }

    /// Writes what can be written.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.way {
            Way::Own(Pipe::Plain(stream)) => Pin::new(stream).poll_write(cx, bytes),
            Way::Own(pipe) => {
                // Takes no more while something waits: so it holds one piece at most.
                std::task::ready!(Pin::new(&mut *pipe).poll_flush(cx))?;
                let written = Pin::new(&mut *pipe).poll_write(cx, bytes);
                if let Poll::Ready(Err(error)) = Pin::new(pipe).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                written
            }
            Way::Shared(stream) => stream.poll_write(cx, bytes),
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
        match &mut self.way {
            Way::Own(pipe) => Pin::new(pipe).poll_flush(cx),
            Way::Shared(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Own(pipe) => Pin::new(pipe).poll_shutdown(cx),
            // Only tunnels end so, and there are none in HTTP/2.
            Way::Shared(_) => Poll::Ready(Ok(())),
        }
    }
}

/// The connections of a thread that wait for a request, or can take one more.
#[derive(Default)]
pub(super) struct Upstreams {
    idle: RefCell<HashMap<Upstream, Vec<Link>>>,
    shared: RefCell<HashMap<Upstream, Vec<Shared>>>,
    turn: Cell<usize>,
}

impl Upstreams {
    /// A connection that is still open and can take a request, if there is one.
    pub(super) fn idle(&self, to: &Upstream, now: Timestamp) -> Option<Link> {
        if to.protocol == Protocol::Http2 {
            let mut shared = self.shared.borrow_mut();
            let stream = shared.get_mut(to)?.iter_mut().find_map(|shared| shared.link(now))?;
            return Some(Link { way: Way::Shared(Box::new(stream)), reused: true, since: now });
        }
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
        if matches!(link.way, Way::Shared(_)) {
            return;
        }
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
        self.shared.borrow_mut().retain(|_, all| {
            all.retain(|shared| shared.lives(now, life));
            !all.is_empty()
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

    /// Opens a connection. One that can be shared is kept for others, too.
    ///
    /// # Errors
    /// When nobody answers there, or not in time, or somebody else does.
    pub(super) async fn connect(
        &self,
        connectors: &Connectors,
        to: &Upstream,
        within: Duration,
        now: Timestamp,
    ) -> io::Result<Link> {
        let connecting = async {
            let pipe = open(connectors, to, now).await?;
            if to.protocol == Protocol::Http1 {
                return Ok::<_, io::Error>(Way::Own(pipe));
            }
            let mut shared = Shared::begin(pipe, to, now).await?;
            let stream = shared.link(now).ok_or(io::ErrorKind::ConnectionReset)?;
            self.shared.borrow_mut().entry(to.clone()).or_default().push(shared);
            Ok(Way::Shared(Box::new(stream)))
        };
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        let way = tokio::time::timeout(within, connecting).await.map_err(timed_out)??;
        Ok(Link { way, reused: false, since: now })
    }
}

async fn open(connectors: &Connectors, to: &Upstream, now: Timestamp) -> io::Result<Pipe> {
    // The name is looked up here and used at once: what was connected to is what answers.
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
    stream.set_nodelay(true)?;
    match &to.transport {
        Transport::Plain => Ok(Pipe::Plain(stream)),
        Transport::Tls(tls) => {
            let secured = Box::pin(connectors.secure(stream, &to.host, tls, to.protocol, now)).await;
            Ok(Pipe::Tls(Box::new(secured.map_err(io::Error::other)?.into())))
        }
    }
}
