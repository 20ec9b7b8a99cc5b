//! A request that was let through, between its client and its upstream. Both bodies move at the same time: an upstream may
//! answer before it has read everything.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::reply::{field, status_line};
use super::{CONTINUE, Carrying, MOST_AHEAD};
use crate::proxy::forward::{Failure, lasting, once_more, open, passing, repeatable, sayable, write};
use crate::proxy::hygiene;
use crate::proxy::inflow::{Found, Inflow, values};
use crate::proxy::open::{Entrance, Guard, LONG};
use crate::proxy::outflow::{Outflow, chunk};
use crate::proxy::policy::{Head, Passage};
use crate::proxy::pool::{self, Choice};
use crate::proxy::serve::{HEADROOM, SCRATCH};
use crate::proxy::upstream::Link;
use crate::proxy::view::{Field, Length};
use crate::proxy::wire::{self, Body, Response};
use crate::sys::Stopwatch;

/// How much of an answer is read at a time, at first. Grows while the client takes everything at once, up to what the
/// thread's buffer holds, and shrinks when it does not: what a slow client has not taken is kept for it.
const WINDOW: usize = 128 * 1024;
/// The least of it.
const LEAST_WINDOW: usize = 16 * 1024;
/// So much of an answer is copied rather than written at once.
const SHORT: usize = 8 * 1024;
/// How much of a request's body is read at a time.
const UPLOAD: usize = 64 * 1024;
/// What is set aside for the head of an answer and a short body.
const ROOM: usize = 2 * 1024;
/// The most fields of a trailer section.
const MOST_TRAILERS: usize = 100;

#[expect(clippy::struct_excessive_bools, reason = "no two of them say something about each other")]
pub(super) struct Relay<'r, 'c> {
    carrying: &'r mut Carrying<'c>,
    choice: Choice,
    link: Link,
    up: Outflow,
    down: Inflow,
    /// What the client has not taken yet.
    out: Vec<u8>,
    taken: usize,
    window: usize,
    stage: Stage,
    /// Since when the upstream has it.
    started: Stopwatch,
    keep: bool,
    /// Whether the answer may be silent for as long as it likes.
    lasting: bool,
    /// Whether what is to be sent lets the other connections that have something to read go first. What they send then goes out
    /// right behind it, while whoever receives it is awake: waking a program up costs more than sending to it.
    queued: bool,
    /// Bytes that the client has taken.
    delivered: u64,
    /// Whether the stream holds back what it was given.
    unflushed: bool,
    /// What was waited for when the limit was set, and how much had moved then.
    timed: Option<(Turn, u64)>,
    /// Its place among what is open, once it is there: when the answer does not come in one go, or not at once.
    pub(super) guard: Option<Guard>,
    /// The status that the client was told; 0 before.
    pub(super) status: u16,
    /// Bytes of the answer's body.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the head of the answer.
    Waiting,
    /// Passing its body on, in chunks of ours or as it is.
    Passing { chunked: bool },
    /// All that is left is what the client has not taken.
    Ending,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Anything, at first.
    First,
    /// More of the request's body.
    Sending,
    /// The upstream, to take the request or to begin its answer.
    Answering,
    /// More of the answer, or of the request beside it.
    Passing,
    /// The client, to take what there is of the answer.
    Taking,
    /// The next of an answer that may be silent.
    Event,
}

impl<'r, 'c> Relay<'r, 'c> {
    /// Finds a connection, and has the request ready for it.
    pub(super) async fn begin(
        carrying: &'r mut Carrying<'c>,
        passage: &Passage<'_>,
        head: &Head<'_>,
    ) -> Result<Self, Failure> {
        let started = Stopwatch::start();
        sayable(head, passage)?;
        let mut choice = carrying.thread.upstreams.choose(&carrying.thread.gate, passage);
        let (to, link) = open(carrying.thread, passage, &mut choice, true).await?;
        let mut up = Outflow::new(write(head, to, carrying.length)?, carrying.length == Length::Chunked);
        if carrying.body.ended() {
            up.finish();
        }
        let out = if carrying.invite && carrying.client.input.is_empty() && !carrying.body.ended() {
            CONTINUE.to_vec()
        } else {
            Vec::new()
        };
        Ok(Self {
            choice,
            link,
            up,
            down: Inflow::new(),
            out,
            taken: 0,
            window: WINDOW,
            stage: Stage::Waiting,
            started,
            keep: carrying.keep,
            lasting: false,
            queued: true,
            delivered: 0,
            unflushed: false,
            timed: None,
            guard: None,
            status: 0,
            bytes: 0,
            carrying,
        })
    }

    /// Carries request and answer. Whether the client's connection can go on.
    pub(super) async fn run(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
    ) -> Result<bool, Failure> {
        match self.drive(passage, head, entrance).await {
            Err(failure)
                if failure.stale()
                    && !self.down.begun
                    && once_more(
                        &mut self.choice,
                        passage,
                        (&self.link, &failure),
                        repeatable(head, self.carrying.length, &failure),
                        self.carrying.thread.gate.clock.now(),
                    ) =>
            {
                let (to, link) = open(self.carrying.thread, passage, &mut self.choice, false).await?;
                self.up = Outflow::new(write(head, to, Length::Nothing)?, false);
                self.up.finish();
                (self.link, self.down) = (link, Inflow::new());
                self.drive(passage, head, entrance).await?;
            }
            driven => driven?,
        }
        Ok(self.keep)
    }

    async fn drive(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
    ) -> Result<(), Failure> {
        let spec = &passage.route().spec;
        let (wait, idle) = (spec.request_timeout.std(), spec.idle_timeout.std());
        let stall = self.carrying.thread.gate.settings.write_timeout.std();
        self.timed = None;
        std::future::poll_fn(|cx| {
            loop {
                if std::mem::take(&mut self.queued) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if self.guard.as_ref().is_some_and(|guard| guard.poll_cut(cx).is_ready()) {
                    return Poll::Ready(Err(Failure::Cut));
                }
                let moved = self.up.moved;
                self.poll_upload(cx)?;
                let polled = match self.stage {
                    Stage::Waiting => self.poll_begin(cx, head.method, passage),
                    Stage::Passing { chunked } => self.poll_pass(cx, chunked),
                    Stage::Ending => self.poll_deliver(cx),
                };
                match polled {
                    Poll::Ready(Ok(())) if self.stage == Stage::Ending && self.out.is_empty() => {
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(())) => self.moved(),
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending => {
                        if self.up.moved != moved {
                            self.moved();
                        }
                        // It takes longer than one go: from now on it is open. Once more round, to be woken when it is cut.
                        if self.guard.is_none() && (self.stage != Stage::Waiting || self.up.open()) {
                            self.guard = Some(entrance.enter());
                            continue;
                        }
                        let turn = self.turn();
                        let within = match turn {
                            Turn::First => LONG.min(wait),
                            Turn::Sending | Turn::Answering => wait,
                            Turn::Passing => idle,
                            Turn::Taking => stall,
                            Turn::Event => return Poll::Pending,
                        };
                        // Time counts from the last byte that moved while the same was waited for.
                        let mark = Some((turn, self.progress(turn)));
                        let timer = &mut self.carrying.client.timer;
                        if self.timed != mark {
                            timer.set(within);
                            self.timed = mark;
                        }
                        ready!(timer.poll(cx));
                        return Poll::Ready(Err(match turn {
                            Turn::First => {
                                self.guard = Some(entrance.enter());
                                let turn = self.turn();
                                self.timed = Some((turn, self.progress(turn)));
                                self.carrying.client.timer.set(wait.saturating_sub(LONG));
                                continue;
                            }
                            Turn::Sending => Failure::Quiet,
                            Turn::Answering => Failure::Slow("answer"),
                            Turn::Passing | Turn::Event => Failure::Slow("go on with its answer"),
                            Turn::Taking => Failure::Gone,
                        }));
                    }
                }
            }
        })
        .await
    }

    /// Whose turn it is, when nothing moves.
    fn turn(&self) -> Turn {
        match self.stage {
            Stage::Waiting if self.guard.is_none() => Turn::First,
            Stage::Waiting if self.up.hungry() => Turn::Sending,
            Stage::Waiting => Turn::Answering,
            Stage::Passing { .. } | Stage::Ending if !self.out.is_empty() || self.unflushed => Turn::Taking,
            Stage::Passing { .. } if self.lasting && (self.up.hungry() || !self.up.open()) => Turn::Event,
            Stage::Passing { .. } | Stage::Ending => Turn::Passing,
        }
    }

    /// How much has moved of what counts in this turn.
    const fn progress(&self, turn: Turn) -> u64 {
        match turn {
            Turn::Taking => self.delivered,
            _ => self.up.moved.wrapping_add(self.bytes),
        }
    }

    /// Bytes have passed: the session is in use.
    fn moved(&self) {
        if let Some(guard) = &self.guard {
            guard.moved();
        }
    }

    /// Gives the upstream's connection back, if nothing of anybody is left on it (F25).
    pub(super) fn give_back(self) {
        if self.up.sent() && self.down.reusable && self.down.body.ended() {
            let gate = &self.carrying.thread.gate;
            pool::keep(self.link, gate.clock.now(), gate.settings.upstream_age);
        }
    }

    /// Moves the request's body on, as far as both sides let it; then watches the client.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.up.poll_flush(cx, &mut self.link).is_ready() {
            if !self.up.open() {
                return self.watch(cx);
            }
            let thread = self.carrying.thread;
            let client = &mut *self.carrying.client;
            if client.input.is_empty() {
                let mut buffer = thread.scratch.borrow_mut();
                let mut buffer = ReadBuf::new(buffer.get_mut(..UPLOAD).unwrap_or_default());
                match Pin::new(&mut client.stream).poll_read(cx, &mut buffer) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        let used = upload(&mut self.carrying.body, buffer.filled(), &mut self.up)?;
                        client.input.extend_from_slice(buffer.filled().get(used..).unwrap_or_default());
                    }
                    Poll::Ready(_) => return Err(Failure::Gone),
                }
            } else {
                let used = upload(&mut self.carrying.body, &client.input, &mut self.up)?;
                client.input.drain(..used);
            }
        }
        Ok(())
    }

    /// Notices that the client goes away, and keeps what it sends ahead, within bounds.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.carrying.client.input.len() < MOST_AHEAD {
            match self.carrying.client.poll_more(cx, self.carrying.thread) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Err(Failure::Gone),
            }
        }
        Ok(())
    }

    /// Reads the head of the answer, and writes ours with as much of the body as came with it.
    fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        method: &str,
        passage: &Passage<'_>,
    ) -> Poll<Result<(), Failure>> {
        // An invitation to send the body, if there is one.
        if self.poll_deliver(cx)?.is_pending() && self.out.is_empty() {
            return Poll::Pending;
        }
        let thread = self.carrying.thread;
        let mut buffer = thread.scratch.borrow_mut();
        let (room, area) = buffer.split_at_mut_checked(HEADROOM).unwrap_or_default();
        match ready!(self.down.poll_head(
            cx,
            &mut self.link,
            area.get_mut(..self.window).unwrap_or_default()
        ))? {
            Found::Buffer { head, filled } => {
                self.link.answered();
                let read = self.down.settle(area.get(..head).unwrap_or_default(), method)?;
                let chunked = self.answer_head(&read, method, passage);
                let start = HEADROOM + head;
                let plain = !chunked && !matches!(self.down.body, Body::Chunked(_));
                self.queued = filled <= SHORT;
                if !plain || self.queued || !self.inlined(room, area, head) {
                    let rest = area.get(head..filled).unwrap_or_default();
                    self.take_first(rest, chunked)?;
                } else {
                    // Our head now lies right before the body: one write, and nothing is copied.
                    let (from, ours) = (start - self.out.len(), self.out.len());
                    let mut used = 0;
                    let body = area.get(head..filled).unwrap_or_default();
                    let data = self.down.next(body, &mut used)?.map_or(0, <[u8]>::len);
                    self.down.next(body, &mut used)?;
                    self.bytes += data as u64;
                    self.out.clear();
                    drop(buffer);
                    let buffer = thread.scratch.borrow();
                    let bytes = buffer.get(from..from + ours + data).unwrap_or_default();
                    self.offer(cx, bytes)?;
                }
                self.stage = Stage::Passing { chunked };
            }
            Found::Early { head } => {
                let early = self.down.take_early();
                self.link.answered();
                let read = self.down.settle(early.get(..head).unwrap_or_default(), method)?;
                let chunked = self.answer_head(&read, method, passage);
                self.take_first(early.get(head..).unwrap_or_default(), chunked)?;
                self.stage = Stage::Passing { chunked };
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes over what came together with the head. Nothing of the answer was written yet: if it cannot be read, the client
    /// is told so, and hears nothing of it.
    fn take_first(&mut self, input: &[u8], chunked: bool) -> Result<(), Failure> {
        let taken = self.take_over(input, chunked);
        if taken.is_err() {
            (self.status, self.bytes) = (0, 0);
        }
        taken
    }

    /// Copies our head right before the body that lies in the buffer behind the upstream's head. False when it does not
    /// fit, or when something else must be written first.
    fn inlined(&self, room: &mut [u8], area: &mut [u8], head: usize) -> bool {
        let ours = self.out.get(self.taken..).unwrap_or_default();
        if self.taken != 0 {
            return false;
        }
        let (before, within) = ours.split_at(ours.len().saturating_sub(head));
        let Some(tail) = room.len().checked_sub(before.len()).and_then(|at| room.get_mut(at..)) else {
            return false;
        };
        tail.copy_from_slice(before);
        match head.checked_sub(within.len()).and_then(|at| area.get_mut(at..head)) {
            Some(place) => {
                place.copy_from_slice(within);
                true
            }
            None => false,
        }
    }

    /// Writes the head of the answer for the client. Whether its body is cut into chunks.
    fn answer_head(&mut self, read: &Response<'_>, method: &str, passage: &Passage<'_>) -> bool {
        let status = read.status;
        let old = self.carrying.old;
        let route = passage.route().spec.name.as_str();
        self.carrying.thread.meters.answered(route, self.started.elapsed());
        self.status = status;
        self.lasting = lasting(&read.fields);
        self.out.reserve(ROOM);
        status_line(&mut self.out, status);
        let mut dated = false;
        for (name, value) in passing(&read.fields, passage) {
            dated |= name.eq_ignore_ascii_case(b"date");
            field(&mut self.out, name, &value);
        }
        if !dated {
            field(&mut self.out, b"date", &self.carrying.thread.date());
        }
        let chunked = match &self.down.body {
            Body::Exact(_) if method == "HEAD" || status == 304 => {
                if let Some(length) = values(&read.fields, "content-length").next() {
                    field(&mut self.out, b"content-length", length);
                }
                false
            }
            Body::Exact(_) if status == 204 => false,
            Body::Exact(length) => {
                field(&mut self.out, b"content-length", itoa::Buffer::new().format(*length).as_bytes());
                false
            }
            Body::Chunked(_) | Body::UntilClose { .. } if old => {
                self.keep = false;
                false
            }
            Body::Chunked(_) | Body::UntilClose { .. } => {
                field(&mut self.out, b"transfer-encoding", b"chunked");
                true
            }
        };
        // An answer that comes before the request has ended: what is left of that may not be taken for the next.
        self.keep &= self.carrying.body.ended();
        if !self.keep {
            field(&mut self.out, b"connection", b"close");
        }
        self.out.extend_from_slice(b"\r\n");
        chunked
    }

    /// Takes bytes of the answer over into what is to be written.
    fn take_over(&mut self, input: &[u8], chunked: bool) -> Result<(), Failure> {
        let mut used = 0;
        while let Some(data) = self.down.next(input, &mut used)? {
            self.bytes += data.len() as u64;
            if chunked {
                chunk(&mut self.out, data);
            } else {
                self.out.extend_from_slice(data);
            }
        }
        Ok(())
    }

    /// Passes the answer's body on. Reads only when the client has taken everything.
    fn poll_pass(&mut self, cx: &mut Context<'_>, chunked: bool) -> Poll<Result<(), Failure>> {
        ready!(self.poll_deliver(cx))?;
        if self.down.body.ended() {
            if chunked {
                self.last_chunk();
            }
            self.stage = Stage::Ending;
            return Poll::Ready(Ok(()));
        }
        let thread = self.carrying.thread;
        let mut buffer = thread.scratch.borrow_mut();
        let buffer = buffer.get_mut(..self.window).unwrap_or_default();
        let filled = match ready!(self.link.poll_read(cx, buffer)) {
            Ok(0) => {
                self.down.body.close()?;
                return Poll::Ready(Ok(()));
            }
            Ok(filled) => filled,
            Err(error) => return Poll::Ready(Err(Failure::Lost(error))),
        };
        let read = buffer.get(..filled).unwrap_or_default();
        if chunked || matches!(self.down.body, Body::Chunked(_)) {
            self.take_over(read, chunked)?;
        } else {
            let mut used = 0;
            let data = self.down.next(read, &mut used)?.unwrap_or_default();
            self.down.next(read, &mut used)?;
            self.bytes += data.len() as u64;
            let data = data.len();
            self.offer(cx, read.get(..data).unwrap_or_default())?;
        }
        self.window = if self.out.is_empty() {
            if filled == self.window { (self.window * 2).min(SCRATCH) } else { self.window }
        } else {
            LEAST_WINDOW
        };
        Poll::Ready(Ok(()))
    }

    /// The end of a chunked body, with the trailers that pass.
    fn last_chunk(&mut self) {
        self.out.extend_from_slice(b"0\r\n");
        let read: Vec<Field<'_>> = wire::fields(self.down.body.trailers(), MOST_TRAILERS).unwrap_or_default();
        for (name, value) in read {
            if hygiene::trailer_passes(name) {
                field(&mut self.out, name, value);
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes bytes that lie in the thread's buffer; what the client does not take at once is kept.
    fn offer(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match Pin::new(&mut self.carrying.client.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.delivered += written as u64;
                }
                Poll::Ready(_) => return Err(Failure::Gone),
                Poll::Pending => break,
            }
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what the client has not taken yet.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let stream = &mut self.carrying.client.stream;
        while let Some(rest) = self.out.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest)) {
                Ok(written) if written > 0 => {
                    self.taken += written;
                    self.delivered += written as u64;
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(Failure::Gone)),
            }
        }
        self.out.clear();
        self.taken = 0;
        let flushed = Pin::new(stream).poll_flush(cx).map_err(|_: io::Error| Failure::Gone);
        self.unflushed = flushed.is_pending();
        flushed
    }
}

/// Takes what there is of a request's body over into what the upstream is sent. How many bytes of the input were used.
fn upload(body: &mut Body, input: &[u8], up: &mut Outflow) -> Result<usize, Failure> {
    let mut used = 0;
    while !body.ended() {
        let piece = body.take(input.get(used..).unwrap_or_default()).map_err(Failure::Client)?;
        up.push(piece.data);
        used += piece.used;
        if piece.used == 0 {
            break;
        }
    }
    if body.ended() {
        up.finish();
    }
    Ok(used)
}
