//! Connections to upstreams, as a request has them: one of its own, or a place on one that it shares.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::domain::Timestamp;
use crate::domain::address::Author;
use crate::domain::route::{Transport, Upstream};

use super::Gate;
use super::multiplex::Stream;
use super::pipe::Pipe;
use super::pool::Hold;

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
    /// When it was opened.
    pub(super) born: Timestamp,
    /// Since when it waits.
    pub(super) since: Timestamp,
    /// The request that it carries; nothing while it waits.
    pub(super) hold: Option<Hold>,
}

impl Link {
    /// A connection that was just opened.
    pub(super) const fn own(pipe: Pipe, now: Timestamp) -> Self {
        Self { way: Way::Own(pipe), reused: false, born: now, since: now, hold: None }
    }

    /// A place on one that is shared, and may have carried others before.
    pub(super) fn shared(stream: Stream, reused: bool, now: Timestamp) -> Self {
        Self { way: Way::Shared(Box::new(stream)), reused, born: now, since: now, hold: None }
    }

    /// Whether others use it at the same time.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self.way, Way::Shared(_))
    }

    /// The upstream has answered on it.
    pub(super) fn answered(&self) {
        if let Some(hold) = &self.hold {
            hold.answered();
        }
    }

    /// Whether nothing has happened on it since its last answer. One that was closed, or on which the upstream said
    /// something unasked, is good for nothing. Asks the reactor; the kernel only if that has heard something, or not heard
    /// that all was read.
    pub(super) fn quiet(&mut self) -> bool {
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

/// Opens a connection. The caller limits the time as a whole; each address of a name has its share of it.
///
/// # Errors
/// When nobody answers there, or somebody else does, or requests must not go there.
pub(super) async fn connect(
    gate: &Gate,
    to: &Upstream,
    author: Author,
    within: Duration,
    now: Timestamp,
) -> io::Result<Pipe> {
    // The name is looked up here, and what it leads to is judged and used at once: that is what answers.
    let stream = gate.dialer.dial(&to.host, to.port, author, within, now).await?;
    stream.set_nodelay(true)?;
    match &to.transport {
        Transport::Plain => Ok(Pipe::Plain(stream)),
        Transport::Tls(tls) => {
            let secured = Box::pin(gate.connectors.secure(stream, &to.host, tls, to.protocol, now)).await;
            Ok(Pipe::Tls(Box::new(secured.map_err(io::Error::other)?.into())))
        }
    }
}
