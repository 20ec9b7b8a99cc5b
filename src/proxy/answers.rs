//! Answers of our own: pages for people, problem documents for programs (RFC 9457), and the one body type of them all.
//!
//! An answer says what happened, never more about a route than the person may know.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::{Value, json};

use crate::access::{Lost, Route};
use crate::domain::Timestamp;
use crate::session::Record;
use crate::session::cookie::{self, Kind};
use crate::ui::headers;
use crate::ui::{ErrorKind, ErrorPage, Frame as PageFrame, Moment};

use super::control::BoxError;
use super::exchange::Receiving;
use super::meters::{Entry, Outcome};
use super::navigation::Wish;
use super::open::Guard;
use super::view::Unreadable;
use super::{Gate, own};

/// An answer.
pub(super) type Answer = Response<Body>;

/// The body of any answer, with the note of its request, which is finished when the body is.
pub(super) struct Body {
    kind: Kinds,
    entry: Option<Box<Entry>>,
    /// What came before anybody asked.
    first: Option<Box<Frame<Bytes>>>,
    guard: Option<Guard>,
}

/// An answer that was let through once, and would not be any more. It ends without its end.
#[derive(Debug, thiserror::Error)]
#[error("the right to this answer has ended")]
pub(super) struct Cut;

enum Kinds {
    /// It broke off before anybody asked, or was cut.
    Broken(Option<BoxError>),
    Sent(UnsyncBoxBody<Bytes, BoxError>),
    Upstream(Box<Receiving>),
    Whole(Option<Bytes>),
}

impl Body {
    const fn of(kind: Kinds) -> Self {
        Self { kind, entry: None, first: None, guard: None }
    }

    /// Text or bytes that are there.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        Self::of(Kinds::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// What an upstream sends.
    pub(super) fn upstream(body: Receiving) -> Self {
        Self::of(Kinds::Upstream(Box::new(body)))
    }

    /// What somebody else sends: the portal, or an upstream on a connection that carries nothing more.
    pub(super) fn sent(body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        Self::of(Kinds::Sent(body))
    }

    /// Notes the request that it answers.
    pub(super) fn noted(mut self, entry: Box<Entry>) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Whether all of it is there already. May take its first piece.
    pub(super) fn is_complete(&mut self) -> bool {
        if self.first.is_none() && !self.is_end_stream() {
            // Whoever sends it asks again, and is woken then.
            let mut nobody = Context::from_waker(Waker::noop());
            match self.poll_kind(&mut nobody) {
                Poll::Ready(Some(Ok(frame))) => self.first = Some(Box::new(frame)),
                Poll::Ready(Some(Err(error))) => self.kind = Kinds::Broken(Some(error)),
                Poll::Ready(None) => self.kind = Kinds::Whole(None),
                Poll::Pending => {}
            }
        }
        self.kind_ended()
    }

    /// Ends it when the guard is cut.
    pub(super) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Ready when it was cut and this is the first to hear of it.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(guard) = &self.guard else { return Poll::Pending };
        ready!(guard.poll_cut(cx));
        let why = guard.why();
        // The connection to the upstream goes with it.
        (self.kind, self.first, self.guard) = (Kinds::Broken(None), None, None);
        if let Some(entry) = &mut self.entry {
            entry.outcome = Outcome::Cut;
            entry.because(why);
        }
        Poll::Ready(())
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kinds::Broken(error) => Poll::Ready(error.take().map(Err)),
            Kinds::Sent(body) => Pin::new(body).poll_frame(cx),
            Kinds::Upstream(body) => Pin::new(body.as_mut())
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Kinds::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn kind_ended(&self) -> bool {
        match &self.kind {
            Kinds::Broken(_) => false,
            Kinds::Sent(body) => body.is_end_stream(),
            Kinds::Upstream(body) => body.is_end_stream(),
            Kinds::Whole(bytes) => bytes.is_none(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.poll_cut(cx).is_ready() {
            return Poll::Ready(Some(Err(Cut.into())));
        }
        let frame = match self.first.take() {
            Some(first) => Some(Ok(*first)),
            None => ready!(self.poll_kind(cx)),
        };
        if let (Some(Err(_)), Some(entry)) = (&frame, &mut self.entry) {
            entry.broke_off();
        }
        if let (Some(Ok(frame)), Some(entry)) = (&frame, &mut self.entry) {
            entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        match &self.guard {
            Some(guard) if frame.is_some() && !self.kind_ended() => guard.moved(),
            _ => self.guard = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.kind_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.kind {
            Kinds::Broken(_) => SizeHint::default(),
            Kinds::Sent(body) => body.size_hint(),
            Kinds::Upstream(body) => body.size_hint(),
            Kinds::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        };
        let first =
            self.first.as_ref().and_then(|first| first.data_ref()).map_or(0, |data| data.len() as u64);
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + first))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Nobody wanted the rest.
        if matches!(&self.kind, Kinds::Upstream(body) if !body.is_end_stream())
            && let Some(entry) = &mut self.entry
        {
            entry.broke_off();
        }
    }
}

/// For whom and about which request an answer is made.
#[derive(Clone, Copy)]
pub(super) struct Reply<'a> {
    pub(super) gate: &'a Gate,
    pub(super) wish: Wish,
    pub(super) request_id: &'a str,
    pub(super) now: Timestamp,
    /// Whether it stands on the portal's host.
    pub(super) portal: bool,
    /// The path and query to try again with, where trying again is the same request.
    pub(super) again: Option<&'a str>,
}

/// What went wrong, for programs.
pub(super) struct Problem<'a> {
    pub(super) status: u16,
    /// A stable word.
    pub(super) code: &'a str,
    pub(super) title: &'a str,
    pub(super) detail: &'a str,
    /// More members of the document.
    pub(super) more: &'a [(&'a str, Value)],
}

impl Reply<'_> {
    /// The frame of pages on this host.
    pub(super) fn frame(&self) -> PageFrame {
        let portal = &self.gate.portal;
        let frame = if self.portal {
            PageFrame::on_portal(&portal.product_name, "")
        } else {
            PageFrame::on_route(&portal.product_name, &portal.origin)
        };
        PageFrame { demo: portal.demo, ..frame }
    }

    /// A page.
    pub(super) fn page(&self, status: u16, html: String) -> Answer {
        let mut answer = answer(status, html, &headers::PAGE);
        self.only_over_tls(&mut answer);
        answer
    }

    /// A document for programs, which nobody keeps.
    pub(super) fn data(&self, status: u16, kind: &'static str, document: &Value) -> Answer {
        let mut answer = answer(status, document.to_string(), &headers::DATA);
        set(&mut answer, CONTENT_TYPE.as_str(), kind);
        set(&mut answer, headers::NO_STORE.0, headers::NO_STORE.1);
        self.only_over_tls(&mut answer);
        answer
    }

    /// Has browsers come over TLS alone from now on, where there is TLS (RFC 6797).
    pub(super) fn only_over_tls(&self, answer: &mut Answer) {
        if self.gate.sessions.secure() {
            set(answer, headers::STRICT_TRANSPORT.0, headers::STRICT_TRANSPORT.1);
        }
    }

    /// A problem document.
    pub(super) fn problem(&self, problem: &Problem<'_>) -> Answer {
        if self.wish == Wish::Call {
            return self.call(problem);
        }
        let mut document = json!({
            "type": format!("urn:cardea:problem:{}", problem.code),
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "request_id": self.request_id,
        });
        if let Value::Object(members) = &mut document {
            members.extend(problem.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        self.data(problem.status, "application/problem+json", &document)
    }

    /// A problem as the end of a call of gRPC: status and message in the head, and no body.
    fn call(&self, problem: &Problem<'_>) -> Answer {
        let mut answer = answer(problem.status, "", &headers::DATA);
        // Writing to memory does not fail.
        let mut message = problem.title.to_owned();
        if problem.detail != problem.title {
            let _ = write!(message, ". {}", problem.detail);
        }
        for (name, value) in problem.more.iter().filter_map(|(name, value)| Some((name, value.as_str()?))) {
            let _ = write!(message, " {name}: {value}");
        }
        set(&mut answer, CONTENT_TYPE.as_str(), "application/grpc");
        set(&mut answer, headers::NO_STORE.0, headers::NO_STORE.1);
        set(&mut answer, "grpc-status", grpc_status(problem.status));
        set(
            &mut answer,
            "grpc-message",
            &percent_encoding::utf8_percent_encode(&message, MESSAGE).to_string(),
        );
        set(&mut answer, "cardea-request-id", self.request_id);
        self.only_over_tls(&mut answer);
        answer
    }

    /// A redirect that is good for this once. `to` is ours: built from configuration.
    pub(super) fn redirect(&self, status: StatusCode, to: &str) -> Answer {
        let mut answer = answer(status.as_u16(), "", &headers::DATA);
        set(&mut answer, headers::NO_STORE.0, headers::NO_STORE.1);
        set(&mut answer, LOCATION.as_str(), to);
        self.only_over_tls(&mut answer);
        answer
    }

    /// An error, as a page or as a document.
    pub(super) fn error(&self, error: &ErrorText<'_>) -> Answer {
        if !self.wish.page() {
            let title = error.title;
            let detail = error.detail.unwrap_or(title);
            let status = error.kind.status();
            return self.problem(&Problem { status, code: error.code, title, detail, more: &[] });
        }
        let page = ErrorPage {
            frame: self.frame(),
            kind: error.kind,
            app: error.app.map(str::to_owned),
            detail: error.detail.map(str::to_owned),
            retry_href: self.again.map(str::to_owned),
            apps_href: Some(format!("{}/apps", self.gate.portal.origin)),
            reference: Some(self.request_id.to_owned()),
            at: Some(moment(self.now)),
            ..ErrorPage::default()
        };
        self.page(error.kind.status(), page.render())
    }

    /// A request that is not even looked at. The connection ends with it: what follows on it may be part of the same
    /// attempt.
    pub(super) fn unreadable(&self, why: Unreadable) -> Answer {
        let (detail, title) = (why.to_string(), "The request cannot be read");
        let (status, kind) = match why {
            Unreadable::Method => (405, ErrorKind::MethodNotAllowed),
            Unreadable::Misdirected => (421, ErrorKind::BadRequest),
            Unreadable::Expectation => (417, ErrorKind::BadRequest),
            _ => (400, ErrorKind::BadRequest),
        };
        let code = "bad-request";
        let mut answer = if self.wish.page() {
            self.error(&ErrorText { kind, code, title, detail: Some(&detail), app: None })
        } else {
            self.problem(&Problem { status, code, title, detail: &detail, more: &[] })
        };
        if let Ok(status) = StatusCode::from_u16(status) {
            *answer.status_mut() = status;
        }
        if why == Unreadable::Method {
            set(&mut answer, "allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
        close(&mut answer);
        answer
    }

    /// What is no request at all. The connection ends with it.
    pub(super) fn malformed(&self, status: u16, detail: &str) -> Answer {
        let title = "The request cannot be read";
        self.problem(&Problem { status, code: "bad-request", title, detail, more: &[] })
    }

    /// A request that leads to no route, or to more than one.
    pub(super) fn lost(&self, lost: Lost) -> Answer {
        let ambiguous = |detail: &str| {
            let title = "The address can be read in two ways";
            self.error(&ErrorText {
                kind: ErrorKind::BadRequest,
                code: "bad-request",
                title,
                detail: Some(detail),
                app: None,
            })
        };
        let mut answer = match lost {
            Lost::Host | Lost::Path => {
                let (kind, title) = (ErrorKind::NoSuchApp, "No app has this address");
                return self.error(&ErrorText { kind, code: "no-app", title, detail: None, app: None });
            }
            Lost::Ambiguous => ambiguous(&lost.to_string()),
            Lost::Unusual(name) => ambiguous(&format!(
                "The address has a spelling that programs read differently: {name}. If the app reads it in one way only, \
                 its route can allow it with unusual_paths = [\"{name}\"]."
            )),
        };
        close(&mut answer);
        answer
    }

    /// Nobody can be recognised now.
    pub(super) fn unavailable(&self) -> Answer {
        let (kind, title) = (ErrorKind::Unavailable, "Nobody can be recognised at the moment");
        let mut answer = self.error(&ErrorText { kind, code: "unavailable", title, detail: None, app: None });
        set(&mut answer, "retry-after", "5");
        answer
    }

    /// Sign-in is needed, and the client cannot be sent there. Never a redirect, never a cookie.
    pub(super) fn unauthorized(&self, origin: &str, code: &str, app: Option<&str>) -> Answer {
        let sign_in = format!("{origin}{}/start?to=/", own::BASE);
        let mut answer = if self.wish.page() {
            let page = crate::ui::Unauthorized {
                frame: self.frame(),
                app: app.map(str::to_owned),
                sign_in_href: sign_in,
            };
            self.page(401, page.render())
        } else {
            self.problem(&Problem {
                status: 401,
                code,
                title: "Sign in to continue",
                detail: "Open sign_in_url in a browser, then repeat the request.",
                more: &[("sign_in_url", json!(sign_in))],
            })
        };
        set(&mut answer, "www-authenticate", "Cardea");
        answer
    }
}

/// What a message in a field of gRPC may not have as it is.
const MESSAGE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// The status of gRPC for one of HTTP (`UNAVAILABLE` is 14, and worth another try; `DEADLINE_EXCEEDED` is 4).
pub(super) const fn grpc_status(status: u16) -> &'static str {
    match status {
        400 | 405 | 417 | 421 => "3",
        401 => "16",
        403 => "7",
        404 => "12",
        408 => "4",
        413 | 431 => "8",
        429 | 502..=504 => "14",
        _ => "2",
    }
}

/// An error in words.
pub(super) struct ErrorText<'a> {
    pub(super) kind: ErrorKind,
    /// A stable word.
    pub(super) code: &'a str,
    /// For programs; pages have their own words.
    pub(super) title: &'a str,
    /// A sentence more.
    pub(super) detail: Option<&'a str>,
    /// The app's title, if it may be told.
    pub(super) app: Option<&'a str>,
}

/// The app's title, for members of its tenant; without a tenant, for everybody who is signed in.
pub(super) fn title<'a>(route: &'a Route, record: Option<&Record>) -> Option<&'a str> {
    let person = &record?.principal;
    let member = match (&route.spec.tenant, route.tenant) {
        (None, _) => true,
        (Some(_), Some(tenant)) => person.belonging(tenant).is_some(),
        (Some(_), None) => false,
    };
    member.then_some(route.spec.title.as_str())
}

/// A moment for a page.
pub(super) fn moment(at: Timestamp) -> Moment {
    Moment::new(at.to_string(), at.words())
}

/// An answer with a body that is there.
pub(super) fn answer(status: u16, body: impl Into<Bytes>, fields: &[headers::Field]) -> Answer {
    let mut answer = Response::new(Body::whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in fields {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

/// Sets a field; one that cannot be written is left out.
pub(super) fn set(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// Sets one of our cookies; takes it away without a value.
pub(super) fn set_cookie(gate: &Gate, answer: &mut Answer, kind: Kind, value: Option<&str>) {
    let secure = gate.sessions.secure();
    let text = value.map_or_else(|| cookie::clear(kind, secure), |value| cookie::set(kind, value, secure));
    if let Ok(mut value) = HeaderValue::try_from(text) {
        value.set_sensitive(true);
        answer.headers_mut().append(SET_COOKIE, value);
    }
}

/// Ends the connection after this answer.
pub(super) fn close(answer: &mut Answer) {
    set(answer, "connection", "close");
}
