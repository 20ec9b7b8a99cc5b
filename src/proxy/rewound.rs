//! A stream of which something was read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::Pipe;
use super::timer::Timer;

/// Gives back first what was read, then what comes. Fails when the other side takes nothing for too long: the library that
/// writes here waits for ever.
pub(super) struct Rewound {
    stream: Pipe,
    read: Vec<u8>,
    within: Duration,
    /// Since something waits to be taken.
    stalled: Option<Timer>,
}

impl Rewound {
    pub(super) const fn new(stream: Pipe, read: Vec<u8>, within: Duration) -> Self {
        Self { stream, read, within, stalled: None }
    }

    /// Waits so long from now on for the other side to take something.
    pub(super) const fn wait_for(&mut self, within: Duration) {
        self.within = within;
    }

    /// Watches over what is written.
    fn limited<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let within = self.within;
        ready!(self.stalled.get_or_insert_with(|| Timer::new(within)).poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The stream itself. What was read and not given back is gone.
    pub(super) fn into_inner(self) -> Pipe {
        self.stream
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let most = into.remaining().min(self.read.len());
        into.put_slice(self.read.get(..most).unwrap_or_default());
        self.read.drain(..most);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.limited(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
