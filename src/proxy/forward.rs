//! Passing on: to an upstream with the head that was made for it, and back again.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::domain::route::Upstream;

use super::policy::{Head, Passage};
use super::serve::Thread;
use super::upstream::{self, Held, Link, Progress, Receiving, Sending};
use super::{answers, hygiene};

/// Why there is no answer of the upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It answered something that cannot be passed on, or broke off.
    #[error("the upstream broke off: {0}")]
    Broken(String),
    /// The head that was made for it cannot be written. Our fault.
    #[error("a header of ours cannot be written: {0}")]
    Head(String),
    /// It took too long.
    #[error("the upstream took too long to {0}")]
    Slow(&'static str),
    /// Nobody answers there.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(std::io::Error),
}

impl Failure {
    /// A word for the metrics.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Failure::Broken(_) => "broken",
            Failure::Head(_) => "head",
            Failure::Slow(_) => "slow",
            Failure::Unreachable(_) => "unreachable",
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Failure::Broken(error.to_string())
    }
}

/// Forwards a request that was let through, and gives back the answer with its body still to come.
///
/// # Errors
/// When there is no answer that could be passed on.
pub(super) async fn forward(
    thread: &Rc<Thread>,
    passage: &Passage<'_>,
    head: &Head<'_>,
    body: Incoming,
) -> Result<Response<answers::Body>, Failure> {
    let spec = &passage.route().spec;
    let (sending, progress) = Sending::new(body);
    let (answer, to, link) = send(thread, passage, head, sending, &progress).await?;
    let (parts, body) = answer.into_parts();
    check(parts.status, &parts.headers)?;
    let keep_length = parts.status == StatusCode::NOT_MODIFIED || head.method == "HEAD";
    let private = spec.private_answers && passage.record().is_some();
    let mut clean = clean(&parts.headers, private);
    if let Some(length) = parts.headers.get(CONTENT_LENGTH)
        && keep_length
    {
        clean.insert(CONTENT_LENGTH, length.clone());
    }
    let held =
        Held { link, to, upstreams: Rc::clone(&thread.upstreams), progress, now: thread.gate.clock.now() };
    let mut answer = Response::new(answers::Body::upstream(Receiving::new(body, held)));
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = clean;
    Ok(answer)
}

/// Sends the request, on an idle connection if there is one. It is sent a second time only if the first connection was an
/// old one that closed before it answered, and nothing can have come of the first: either not a byte was sent, or the
/// method changes nothing and there is no body.
async fn send(
    thread: &Rc<Thread>,
    passage: &Passage<'_>,
    head: &Head<'_>,
    body: Sending,
    progress: &Rc<Progress>,
) -> Result<(Response<Incoming>, Upstream, Link), Failure> {
    let spec = &passage.route().spec;
    let again = body.is_nothing() && matches!(head.method, "GET" | "HEAD" | "OPTIONS");
    let (to, mut link) = open(thread, passage, true).await?;
    let mut request = write(head, to, body)?;
    for last in [false, true] {
        let sending = std::pin::pin!(link.sender.try_send_request(request));
        let mut failed = match waiting(sending, progress, spec.request_timeout.std()).await? {
            Ok(answer) => return Ok((answer, to.clone(), link)),
            Err(failed) => failed,
        };
        let unsent = failed.take_message();
        if last || !link.reused || !(unsent.is_some() || again) {
            return Err(failed.into_error().into());
        }
        let (next, fresh) = open(thread, passage, false).await?;
        link = fresh;
        let body = unsent.map_or_else(|| Sending::nothing(progress), Request::into_body);
        request = write(head, next, body)?;
    }
    Err(Failure::Broken("two connections closed before an answer".to_owned()))
}

/// A connection: an idle one, or a new one to the next address that takes it. Errors after that are final: the request may
/// have been read.
async fn open<'a>(
    thread: &Rc<Thread>,
    passage: &Passage<'a>,
    idle: bool,
) -> Result<(&'a Upstream, Link), Failure> {
    let spec = &passage.route().spec;
    let mut failure = Failure::Broken("the route has no upstream".to_owned());
    for to in thread.upstreams.in_turn(&spec.to) {
        if idle && let Some(link) = thread.upstreams.idle(to).await {
            return Ok((to, link));
        }
        match upstream::connect(to, spec.connect_timeout.std(), thread.gate.clock.now()).await {
            Ok(link) => return Ok((to, link)),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => failure = Failure::Slow("connect"),
            Err(error) => failure = Failure::Unreachable(error),
        }
    }
    Err(failure)
}

/// Waits for the head of the answer. While the request's body is moving there is nothing to answer yet, so the time counts
/// from its last piece.
async fn waiting<T>(
    mut sending: std::pin::Pin<&mut impl Future<Output = T>>,
    progress: &Progress,
    within: std::time::Duration,
) -> Result<T, Failure> {
    let mut seen = progress.frames.get();
    loop {
        match tokio::time::timeout(within, sending.as_mut()).await {
            Ok(answer) => return Ok(answer),
            Err(_) if progress.frames.get() != seen => seen = progress.frames.get(),
            Err(_) => return Err(Failure::Slow("answer")),
        }
    }
}

/// The request in the library's form. Framing is written anew from how the body was understood.
fn write(head: &Head<'_>, to: &Upstream, body: Sending) -> Result<Request<Sending>, Failure> {
    let ours = |error: http::Error| Failure::Head(error.to_string());
    let mut fields = HeaderMap::with_capacity(32);
    let host = match &head.host {
        Some(host) => HeaderValue::from_str(host),
        None if to.port == 80 => HeaderValue::from_str(&to.host),
        None => HeaderValue::try_from(format!("{}:{}", to.host, to.port)),
    };
    fields.insert(HOST, host.map_err(|error| ours(error.into()))?);
    for (name, value) in head.fields() {
        let name = HeaderName::from_bytes(name).map_err(|error| ours(error.into()))?;
        fields.append(name, HeaderValue::from_bytes(value).map_err(|error| ours(error.into()))?);
    }
    match body.size_hint().exact() {
        // Also for methods that seldom have a body: the library would leave it out.
        None => drop(fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        Some(0) if matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "DELETE") => {}
        Some(length) => drop(fields.insert(CONTENT_LENGTH, HeaderValue::from(length))),
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(|error| ours(error.into()))?;
    let target = Bytes::copy_from_slice(head.target.as_bytes());
    *request.uri_mut() = Uri::from_maybe_shared(target).map_err(|error| ours(error.into()))?;
    *request.headers_mut() = fields;
    Ok(request)
}

/// Refuses an answer that can be read in two ways, and a change of protocol that nobody asked for (`PROXY-22`).
fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let broken = |why: &str| Err(Failure::Broken(why.to_owned()));
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return broken("it changed the protocol unasked");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if length.is_some_and(|length| length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
        || lengths.next().is_some()
    {
        return broken("the length of its answer can be read in two ways");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if length.is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(())
        }
        _ => broken("the length of its answer can be read in two ways"),
    }
}

/// The fields of an answer that pass to the client. Framing is written anew.
fn clean(received: &HeaderMap, private: bool) -> HeaderMap {
    let listed = hygiene::listed(received.get_all(CONNECTION).iter().map(HeaderValue::as_bytes));
    let mut clean = HeaderMap::with_capacity(received.len() + 2);
    for (name, value) in received {
        let framing = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        if !framing
            && hygiene::answer_passes(name.as_str(), value.as_bytes(), &listed)
            && !(private && hygiene::targets_caches(name.as_str()))
        {
            clean.append(name.clone(), value.clone());
        }
    }
    if private
        && let Some(value) =
            hygiene::private(received.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes))
        && let Ok(value) = HeaderValue::from_bytes(&value)
    {
        clean.insert(CACHE_CONTROL, value);
    }
    clean
}
