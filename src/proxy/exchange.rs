//! One request and its answer, between the HTTP library in front and an upstream behind. Both bodies move at the same time:
//! an upstream may answer before it has read everything.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

use super::arriving::Arriving;
use super::forward::{Failure, lasting, once_more, open, passing, repeatable, sayable, write};
use super::inflow::{Found, Inflow, values};
use super::outflow::Outflow;
use super::policy::{Head, Passage};
use super::pool;
use super::serve::Thread;
use super::timer::Timer;
use super::upstream::Link;
use super::view::{Field, Length};
use super::{answers, hygiene, wire};
use crate::sys::Stopwatch;

/// How much of an answer's body is read at a time: a frame for the library.
const FRAME: usize = 32 * 1024;
/// The most fields of a trailer section.
const MOST_TRAILERS: usize = 100;

/// Forwards a request that was let through, and gives back the answer with its body still to come.
///
/// # Errors
/// When there is no answer that could be passed on.
pub(super) async fn forward(
    thread: &Rc<Thread>,
    passage: &Passage<'_>,
    head: &Head<'_>,
    body: Arriving,
) -> Result<Response<answers::Body>, Failure> {
    let spec = &passage.route().spec;
    let length = match body.size_hint().exact() {
        _ if body.is_end_stream() => Length::Nothing,
        Some(length) => Length::Exact(length),
        None => Length::Chunked,
    };
    let started = Stopwatch::start();
    sayable(head, passage)?;
    let mut choice = thread.upstreams.choose(&thread.gate, passage);
    let (to, link) = open(thread, passage, &mut choice, true).await?;
    let mut exchange = Exchange::new(thread, link, write(head, to, length)?, body);
    let within = spec.request_timeout.std();
    let answered = match exchange.answered(head, passage, within).await {
        Err(failure)
            if failure.stale()
                && !exchange.down.begun
                && once_more(
                    &mut choice,
                    passage,
                    (&exchange.link, &failure),
                    repeatable(head, length, &failure),
                    thread.gate.clock.now(),
                ) =>
        {
            let (to, link) = open(thread, passage, &mut choice, false).await?;
            exchange.again(link, write(head, to, length)?);
            exchange.answered(head, passage, within).await?
        }
        answered => answered?,
    };
    thread.meters.answered(spec.name.as_str(), started.elapsed());
    let mut receiving = Receiving { exchange: None };
    if exchange.down.body.ended() {
        exchange.end();
    } else {
        receiving.exchange = Some(exchange);
    }
    Ok(answered.map(|()| answers::Body::upstream(receiving)))
}

/// What came of a request to change the protocol.
pub(super) enum Changed {
    /// It is changed: the head of the answer, the connection, and what came behind the head.
    Yes { head: Vec<u8>, link: Box<Link>, early: Bytes },
    /// A plain answer.
    No(Response<answers::Body>),
}

/// Asks for a change of protocol, on a connection of its own that carries nothing after it (F25).
///
/// # Errors
/// When there is no answer that could be passed on.
pub(super) async fn change(
    thread: &Rc<Thread>,
    passage: &Passage<'_>,
    head: &Head<'_>,
    body: Arriving,
) -> Result<Changed, Failure> {
    let mut choice = thread.upstreams.choose(&thread.gate, passage);
    let (to, link) = open(thread, passage, &mut choice, false).await?;
    let mut exchange = Exchange::new(thread, link, write(head, to, Length::Nothing)?, body);
    exchange.down = Inflow::changing();
    let answered = exchange.answered(head, passage, passage.route().spec.request_timeout.std()).await?;
    if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Exchange { head, link, early, .. } = exchange;
        return Ok(Changed::Yes { head, link: Box::new(link), early: early.into() });
    }
    exchange.down.reusable = false;
    let ended = exchange.down.body.ended();
    let receiving = Receiving { exchange: Some(exchange).filter(|_| !ended) };
    Ok(Changed::No(answered.map(|()| answers::Body::upstream(receiving))))
}

/// A request on its way out, its answer on the way in.
struct Exchange {
    thread: Rc<Thread>,
    link: Link,
    source: Option<Arriving>,
    up: Outflow,
    down: Inflow,
    /// What came of the body together with the head.
    early: Vec<u8>,
    /// The head of the answer, where it changes the protocol.
    head: Vec<u8>,
    /// How long nothing may pass in the middle of the answer; for ever, when it is of the kind that may be silent.
    idle: Option<Duration>,
    /// Set when nothing passes.
    timer: Option<Timer>,
    /// Whether something has passed since.
    passed: bool,
}

impl Exchange {
    fn new(thread: &Rc<Thread>, link: Link, head: Vec<u8>, body: Arriving) -> Self {
        let chunked = !body.is_end_stream() && body.size_hint().exact().is_none();
        let source = Some(body).filter(|body| !body.is_end_stream());
        let mut up = Outflow::new(head, chunked);
        if source.is_none() {
            up.finish();
        }
        Self {
            thread: Rc::clone(thread),
            link,
            source,
            up,
            down: Inflow::new(),
            early: Vec::new(),
            head: Vec::new(),
            idle: None,
            timer: None,
            passed: false,
        }
    }

    /// Begins once more, on another connection, a request without body.
    fn again(&mut self, link: Link, head: Vec<u8>) {
        self.link = link;
        (self.up, self.down) = (Outflow::new(head, false), Inflow::new());
        self.up.finish();
    }

    /// Waits for the head of the answer. While the request's body is moving there is nothing to answer yet, so the time
    /// counts from its last piece.
    async fn answered(
        &mut self,
        head: &Head<'_>,
        passage: &Passage<'_>,
        within: Duration,
    ) -> Result<Response<()>, Failure> {
        let (mut timer, mut seen) = (Timer::new(within), self.up.moved);
        std::future::poll_fn(|cx| {
            let answered = self.poll_answered(cx, head.method, passage);
            if answered.is_ready() {
                return answered;
            }
            if self.up.moved != seen {
                seen = self.up.moved;
                timer.set(within);
            }
            ready!(timer.poll(cx));
            Poll::Ready(Err(if self.up.hungry() { Failure::Quiet } else { Failure::Slow("answer") }))
        })
        .await
    }

    fn poll_answered(
        &mut self,
        cx: &mut Context<'_>,
        method: &str,
        passage: &Passage<'_>,
    ) -> Poll<Result<Response<()>, Failure>> {
        self.poll_send(cx)?;
        let thread = Rc::clone(&self.thread);
        let mut buffer = thread.scratch.borrow_mut();
        let buffer = buffer.get_mut(..FRAME).unwrap_or_default();
        let found = ready!(self.down.poll_head(cx, &mut self.link, buffer))?;
        let (head, bytes) = match found {
            Found::Buffer { head, filled } => (head, buffer.get(..filled).unwrap_or_default().to_vec()),
            Found::Early { head } => (head, self.down.take_early()),
        };
        self.link.answered();
        let read = self.down.settle(bytes.get(..head).unwrap_or_default(), method)?;
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(read.status)
            .map_err(|_| Failure::Broken("its status is none".to_owned()))?;
        self.idle = Some(passage.route().spec.idle_timeout.std()).filter(|_| !lasting(&read.fields));
        *answer.headers_mut() = fields(passing(&read.fields, passage).into_iter());
        if (method == "HEAD" || read.status == 304)
            && let Some(length) = values(&read.fields, "content-length").next()
            && let Ok(length) = HeaderValue::from_bytes(length)
        {
            answer.headers_mut().insert(CONTENT_LENGTH, length);
        }
        self.early = bytes.get(head..).unwrap_or_default().to_vec();
        if read.status == 101 {
            self.head = bytes.get(..head).unwrap_or_default().to_vec();
        }
        Poll::Ready(Ok(answer))
    }

    /// Moves the request's body on, as far as both sides let it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.up.poll_flush(cx, &mut self.link).is_ready() && self.up.open() {
            let Some(source) = &mut self.source else { return Ok(()) };
            match Pin::new(source).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => self.up.push(frame.data_ref().map_or(&[], |data| &data[..])),
                Poll::Ready(Some(Err(_))) => return Err(Failure::Client(wire::Malformed::CutOff)),
                Poll::Ready(None) => {
                    self.source = None;
                    self.up.finish();
                }
            }
        }
        Ok(())
    }

    /// The next frame of the answer's body; `None` at its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let moved = self.up.moved;
        let received = self.poll_frame(cx);
        self.passed |= received.is_ready() || self.up.moved != moved;
        match self.idle {
            Some(idle) if received.is_pending() => {
                let timer = self.timer.get_or_insert_with(|| Timer::new(idle));
                if std::mem::take(&mut self.passed) {
                    timer.set(idle);
                }
                timer.poll(cx).map(|()| Err(Failure::Slow("go on with its answer")))
            }
            _ => received,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        self.poll_send(cx)?;
        let thread = Rc::clone(&self.thread);
        loop {
            let mut frame = BytesMut::new();
            let mut used = 0;
            if !self.early.is_empty() {
                let early = std::mem::take(&mut self.early);
                while let Some(data) = self.down.next(&early, &mut used)? {
                    frame.extend_from_slice(data);
                }
            } else if !self.down.body.ended() {
                let mut buffer = thread.scratch.borrow_mut();
                let buffer = buffer.get_mut(..FRAME).unwrap_or_default();
                match ready!(self.link.poll_read(cx, buffer)) {
                    Ok(0) => self.down.body.close()?,
                    Ok(filled) => {
                        let read = buffer.get(..filled).unwrap_or_default();
                        while let Some(data) = self.down.next(read, &mut used)? {
                            frame.extend_from_slice(data);
                        }
                    }
                    Err(error) => return Poll::Ready(Err(Failure::Lost(error))),
                }
            }
            if !frame.is_empty() {
                return Poll::Ready(Ok(Some(frame.freeze())));
            }
            if self.down.body.ended() {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// The answer has ended in order. If the request has too, the connection is kept; an answer that came early leaves
    /// bytes of this request on the connection, and nobody else may use it.
    fn end(self) {
        if self.up.sent() && self.down.reusable && self.early.is_empty() {
            let gate = &self.thread.gate;
            pool::keep(self.link, gate.clock.now(), gate.settings.upstream_age);
        }
    }
}

/// Fields in the library's form; one that it cannot hold is left out.
pub(super) fn fields<'b>(fields: impl Iterator<Item = (&'b [u8], impl AsRef<[u8]>)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.as_ref()))
        {
            map.append(name, value);
        }
    }
    map
}

/// The body of an answer, passed on as it comes.
pub(super) struct Receiving {
    /// Gone when it has ended.
    exchange: Option<Exchange>,
}

impl http_body::Body for Receiving {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        let received = ready!(exchange.poll_receive(cx));
        let Some(exchange) = self.exchange.take() else { return Poll::Ready(None) };
        match received {
            Ok(Some(data)) => {
                if exchange.down.body.ended() && exchange.down.body.trailers().len() <= 2 {
                    exchange.end();
                } else {
                    self.exchange = Some(exchange);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(None) => {
                let trailers = trailers(exchange.down.body.trailers());
                exchange.end();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(failure) => Poll::Ready(Some(Err(failure))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.exchange.as_ref().map(|exchange| &exchange.down.body) {
            None => SizeHint::with_exact(0),
            Some(wire::Body::Exact(left)) => SizeHint::with_exact(*left),
            Some(_) => SizeHint::default(),
        }
    }
}

/// The trailer fields that pass to a client.
fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let read: Vec<Field<'_>> = wire::fields(section, MOST_TRAILERS).ok()?;
    let kept = read.into_iter().filter(|(name, _)| hygiene::trailer_passes(name));
    Some(fields(kept)).filter(|map| !map.is_empty())
}
