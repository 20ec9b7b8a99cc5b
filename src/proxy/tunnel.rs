//! A tunnel: bytes both ways, as they come, until a side ends, nobody says anything, or the right to it ends.
//!
//! Neither side is read faster than the other takes it, and while nothing moves a tunnel holds no buffer: what is read is
//! written at once from a buffer of the thread, and only what the other side does not take is kept.
//!
//! Where the right ends, the client hears it in its own protocol: a close frame with code 1008, if the last frame that it
//! received is whole; 1012 where the app is being worked on, for then it may come back. In the middle of a frame nothing of ours could be told from the frame, so the connection is reset.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::frames::{self, Frames};
use super::meters::{Entry, Outcome};
use super::open::{Guard, WORKED_ON};
use super::serve::Thread;
use super::upstream::Link;

/// How much is read at a time, into the buffer of the thread.
const PIECE: usize = 64 * 1024;
/// Once one side has ended, the other may stay silent for so long.
const AFTER_END: Duration = Duration::from_secs(10);
/// How long a side may take to take our last frame.
const LAST_FRAME: Duration = Duration::from_millis(250);
/// Close codes (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;
/// Registered with IANA after the RFC: come back, as after a restart.
const SERVICE_RESTART: u16 = 1012;

/// A tunnel that may be opened once the client has its 101.
pub(super) struct Tunnel {
    pub(super) thread: Rc<Thread>,
    pub(super) upstream: Link,
    /// What the upstream sent behind its 101.
    pub(super) early: Bytes,
    pub(super) guard: Guard,
    pub(super) idle: Duration,
    pub(super) entry: Option<Box<Entry>>,
}

/// Why a tunnel ends.
enum End {
    /// Both sides have said all.
    Both,
    /// A side broke off.
    Broken(io::Error),
    /// It would not be let through any more.
    Cut,
    /// Nothing was said for too long, or the program stops.
    Over(&'static str),
}

impl Tunnel {
    /// Runs it. `early` is what the client sent before it had its answer. Whether it ended in order; if not, the client's
    /// connection is to be reset.
    pub(super) async fn run<C>(
        mut self,
        client: &mut C,
        early: Bytes,
        stopped: impl Future<Output = ()>,
    ) -> bool
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let moved = Cell::new(0_u64);
        let (mut up, mut down) = (Way::new(early), Way::new(std::mem::take(&mut self.early)));
        let end = {
            let scratch = &self.thread.scratch;
            let (guard, idle) = (&self.guard, self.idle);
            let count = |bytes: usize| {
                moved.set(moved.get().wrapping_add(bytes as u64));
                guard.moved();
            };
            let mut stopped = pin!(stopped);
            let mut within = idle;
            loop {
                let one_ended = up.over || down.over;
                let copying = poll_fn(|cx| {
                    let sides = (&mut *client, &mut self.upstream);
                    let there = up.poll(sides.0, sides.1, &mut scratch.borrow_mut(), &count, cx)?;
                    let back = down.poll(sides.1, sides.0, &mut scratch.borrow_mut(), &count, cx)?;
                    match (there, back) {
                        (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(true)),
                        (Poll::Pending, Poll::Pending) => Poll::Pending,
                        _ if one_ended => Poll::Pending,
                        _ => Poll::Ready(Ok(false)),
                    }
                });
                break tokio::select! {
                    biased;
                    () = guard.cut() => End::Cut,
                    () = stopped.as_mut() => End::Over("the gateway stops"),
                    () = silence(&moved, within) => End::Over("nothing was said for too long"),
                    copied = copying => match copied {
                        Ok(true) => End::Both,
                        // The other side may finish what it was about to say.
                        Ok(false) => {
                            within = idle.min(AFTER_END);
                            continue;
                        }
                        Err(error) => End::Broken(error),
                    },
                };
            }
        };
        if let Some(entry) = &mut self.entry {
            entry.bytes += down.passed;
        }
        match end {
            End::Both => true,
            End::Broken(error) => {
                tracing::debug!(%error, "a tunnel broke");
                false
            }
            End::Cut => {
                if let Some(entry) = &mut self.entry {
                    entry.outcome = Outcome::Cut;
                    entry.because(self.guard.why());
                }
                let (code, words) = match self.guard.why() {
                    WORKED_ON => (SERVICE_RESTART, "the app is being worked on"),
                    _ => (POLICY, "not allowed any more"),
                };
                self.close(client, (&up, &down), code, words).await
            }
            End::Over(why) => {
                if let Some(entry) = &mut self.entry {
                    entry.because(why);
                }
                self.close(client, (&up, &down), GOING_AWAY, why).await
            }
        }
    }

    /// Says the last word to both sides, and whether the client's connection can end decently. The upstream is told that its client goes away, whatever the reason.
    async fn close<C>(mut self, client: &mut C, (up, down): (&Way, &Way), code: u16, why: &str) -> bool
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        if up.frames.may_add() {
            let mut mask = [0; 4];
            self.thread.gate.chance.fill(&mut mask);
            let frame = frames::close(GOING_AWAY, "", Some(mask));
            let _ = tokio::time::timeout(LAST_FRAME, self.upstream.write_all(&frame)).await;
        }
        drop(self.upstream);
        if !down.frames.may_add() {
            return false;
        }
        let frame = frames::close(code, why, None);
        let last = async {
            client.write_all(&frame).await?;
            client.flush().await
        };
        matches!(tokio::time::timeout(LAST_FRAME, last).await, Ok(Ok(())))
    }
}

/// Waits until nothing has moved for so long. Looks four times in that time, so that traffic need not set a timer.
async fn silence(moved: &Cell<u64>, within: Duration) {
    let (mut seen, mut looks) = (moved.get(), 0);
    while looks < 4 {
        tokio::time::sleep(within / 4).await;
        looks = if moved.get() == seen { looks + 1 } else { 0 };
        seen = moved.get();
    }
}

/// One direction.
struct Way {
    /// What was read and could not be written yet.
    kept: Bytes,
    frames: Frames,
    passed: u64,
    /// The reading side has ended.
    ended: bool,
    /// And the writing side knows.
    over: bool,
}

impl Way {
    fn new(early: Bytes) -> Self {
        Self { kept: early, frames: Frames::default(), passed: 0, ended: false, over: false }
    }

    /// Moves what there is to move. Ready when this direction is over.
    fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
        count: &impl Fn(usize),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !self.kept.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept))?;
                let gone = self.kept.split_to(written);
                self.wrote(&gone, count)?;
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.over = true;
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(scratch.get_mut(..PIECE).unwrap_or_default());
            if Pin::new(&mut *from).poll_read(cx, &mut buffer)?.is_pending() {
                // A side that collects what it is given must send it now.
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                return Poll::Pending;
            }
            let read = buffer.filled();
            if read.is_empty() {
                self.ended = true;
                continue;
            }
            let written = match Pin::new(&mut *to).poll_write(cx, read)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            let (gone, rest) = read.split_at_checked(written).unwrap_or((read, &[]));
            self.kept = Bytes::copy_from_slice(rest);
            if !gone.is_empty() {
                self.wrote(gone, count)?;
            }
        }
    }

    /// Notes what the other side has taken.
    fn wrote(&mut self, bytes: &[u8], count: &impl Fn(usize)) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.frames.follow(bytes);
        self.passed += bytes.len() as u64;
        count(bytes.len());
        Ok(())
    }
}
