//! Answers: pages with every security header, problems for programs, and the meaning of errors.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::here::Here;
use crate::signin::{Declined, SignInError, Why};
use crate::ui::headers;
use crate::ui::{
    CookiesRefused, DeclinedKind, ErrorKind, ErrorPage, Frame, Moment, ProviderDeclined, StartAgain,
};

/// A page.
pub(super) fn page(status: StatusCode, html: String) -> Response {
    let mut response = (status, html).into_response();
    dress(response.headers_mut(), &headers::PAGE);
    response
}

/// A page that is fine.
pub(super) fn ok(html: String) -> Response {
    page(StatusCode::OK, html)
}

/// On to another page of ours, with GET.
pub(super) fn see(path: &str) -> Response {
    let to = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    dress(response.headers_mut(), &headers::DATA);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn dress(headers: &mut HeaderMap, fields: &'static [headers::Field]) {
    for (name, value) in fields {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// An answer for programs: its own type, our headers, kept by nobody.
fn data(status: StatusCode, body: &serde_json::Value) -> Response {
    let typed = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (status, typed, body.to_string()).into_response();
    dress(response.headers_mut(), &headers::DATA);
    response
}

/// The same answer with one more cookie.
pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Whether whoever asks shows pages.
fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// A refusal or failure, as a page or as a problem (RFC 9457).
pub(super) fn problem(here: &Here, headers: &HeaderMap, kind: ErrorKind) -> Response {
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if wants_page(headers) {
        return page(status, error_page(here, kind).render());
    }
    let body = json!({ "type": "about:blank", "title": status.canonical_reason().unwrap_or_default(), "status": status.as_u16() });
    data(status, &body)
}

/// The page about an error: a way on for whoever is there, and what to quote when asking for help.
fn error_page(here: &Here, kind: ErrorKind) -> ErrorPage {
    let known = here.record.is_some();
    ErrorPage {
        frame: here.frame(),
        kind,
        apps_href: known.then(|| "/apps".into()),
        sign_in_href: (!known).then(|| "/sign-in".into()),
        reference: here.request_id.as_deref().map(str::to_owned),
        at: Some(Moment::new(here.now.to_string(), here.now.words())),
        ..ErrorPage::default()
    }
}

/// The database does not answer.
pub(super) fn unavailable(frame: &Frame) -> Response {
    let html =
        ErrorPage { frame: frame.clone(), kind: ErrorKind::Unavailable, ..ErrorPage::default() }.render();
    let mut response = page(StatusCode::SERVICE_UNAVAILABLE, html);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// The flow is gone; the way is to begin again.
pub(super) fn start_again(here: &Here) -> Response {
    page(StatusCode::BAD_REQUEST, StartAgain { frame: here.frame(), href: "/sign-in".into() }.render())
}

/// The browser keeps no cookies.
pub(super) fn cookies_refused(here: &Here) -> Response {
    let host = here.web.settings.host.clone();
    page(
        StatusCode::BAD_REQUEST,
        CookiesRefused { frame: here.frame(), host, retry_href: "/sign-in".into() }.render(),
    )
}

/// Nobody is signed in: pages lead to the sign-in, programs get 401.
pub(super) fn sign_in_first(here: &Here, parts: &Parts) -> Response {
    if matches!(parts.method, Method::GET | Method::HEAD) && wants_page(&parts.headers) {
        let path = parts.uri.path_and_query().map_or("/apps", |path| path.as_str());
        let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
        return see(&format!("/sign-in?return_to={next}"));
    }
    if wants_page(&parts.headers) {
        return see("/sign-in");
    }
    let origin = &here.web.settings.origin;
    let body = json!({
        "type": "about:blank", "title": "Not signed in", "status": 401, "sign_in_url": format!("{origin}/sign-in"),
    });
    data(StatusCode::UNAUTHORIZED, &body)
}

/// What an error of a story means, where the page has nothing better to say.
pub(super) fn failed(here: &Here, error: &SignInError) -> Response {
    match error {
        SignInError::Busy(_) => unavailable(&here.frame()),
        SignInError::Db(db) => {
            tracing::error!(error = %db, "a sign-in failed for the database's sake");
            unavailable(&here.frame())
        }
        SignInError::Crypto(crypto) => {
            tracing::error!(error = %crypto, "a sign-in failed for a key's sake");
            let html = error_page(here, ErrorKind::Internal).render();
            page(StatusCode::INTERNAL_SERVER_ERROR, html)
        }
        SignInError::Federated(declined) => self::declined(here, declined),
        SignInError::Throttled(wait) => {
            let retry = Some(format!("Try again in {}.", wait.words()));
            let html = ErrorPage { retry, ..error_page(here, ErrorKind::TooManyRequests) }.render();
            wait_for(page(StatusCode::TOO_MANY_REQUESTS, html), wait.as_seconds())
        }
        SignInError::Anew(_)
        | SignInError::Same
        | SignInError::Stale
        | SignInError::Wrong
        | SignInError::Used => start_again(here),
    }
}

/// A provider did not bring somebody in. The page says no more than what the person can do.
fn declined(here: &Here, declined: &Declined) -> Response {
    let (kind, status) = match declined.why {
        Why::Another => (DeclinedKind::Another, StatusCode::FORBIDDEN),
        Why::Away => (DeclinedKind::Away, StatusCode::BAD_GATEWAY),
        Why::Cancelled => (DeclinedKind::Cancelled, StatusCode::OK),
        Why::Crowded => (DeclinedKind::Crowded, StatusCode::SERVICE_UNAVAILABLE),
        Why::Refused => (DeclinedKind::Refused, StatusCode::FORBIDDEN),
        Why::Stopped => (DeclinedKind::Stopped, StatusCode::FORBIDDEN),
        Why::Untied => (DeclinedKind::Untied, StatusCode::FORBIDDEN),
    };
    let html = ProviderDeclined {
        frame: here.frame(),
        provider: declined.provider.clone(),
        kind,
        back_href: if here.record.is_some() { "/apps".into() } else { "/sign-in".into() },
        reference: declined.reference.clone(),
        at: Moment::new(here.now.to_string(), here.now.words()),
    };
    page(status, html.render())
}

/// Says when to come again.
pub(super) fn wait_for(mut response: Response, seconds: i64) -> Response {
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// Why a page could not be shown.
pub(super) enum Failure {
    /// The database failed.
    Db(crate::store::DbError),
    /// A story failed.
    SignIn(SignInError),
    /// What it was about has ended.
    Stale,
}

impl Failure {
    /// As an answer.
    pub(super) fn reply(self, here: &Here) -> Response {
        match self {
            Failure::Db(error) => failed(here, &SignInError::Db(error)),
            Failure::SignIn(error) => failed(here, &error),
            Failure::Stale => start_again(here),
        }
    }
}

impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        Failure::SignIn(error)
    }
}

impl From<crate::store::DbError> for Failure {
    fn from(error: crate::store::DbError) -> Self {
        Failure::Db(error)
    }
}
