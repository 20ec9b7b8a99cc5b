//! Who is there: found once, before any handler.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::crypto::token::{handle, handle_digest};
use crate::domain::{Actor, Chance, Timestamp};
use crate::session::cookie::{self, Kind};
use crate::session::{Record, Visit};
use crate::ui::{Frame, PersonMenu, Theme};

use super::{ClientAddress, Web, reply};

/// What is known of a request before it is handled.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) web: Web,
    /// The live session, if there is one.
    pub(super) record: Option<Arc<Record>>,
    /// The browser's binding cookie, or the one that it is about to get.
    pub(super) browser: Arc<str>,
    pub(super) address: IpAddr,
    pub(super) agent: Arc<str>,
    pub(super) now: Timestamp,
    pub(super) theme: Theme,
    /// The gateway's number of the request, as its log has it.
    pub(super) request_id: Option<Arc<str>>,
    /// Whether the browser showed its binding cookie, and so keeps cookies.
    pub(super) returning: bool,
}

impl Here {
    /// The circumstances, for stories that change something.
    pub(super) fn visit(&self) -> Visit<'_> {
        Visit { address: self.address, agent: &self.agent, now: self.now, chance: self.chance() }
    }

    pub(super) fn chance(&self) -> &dyn Chance {
        &*self.web.chance
    }

    /// SHA-256 of the binding cookie; flows are tied to it.
    pub(super) fn browser_digest(&self) -> [u8; 32] {
        handle_digest(&self.browser).unwrap_or_default()
    }

    /// The tag that every form of this browser carries.
    pub(super) fn csrf(&self) -> String {
        self.web.keys.web.form.tag("form", &[self.browser.as_bytes()])
    }

    /// The frame of a page.
    pub(super) fn frame(&self) -> Frame {
        let mut frame = Frame::on_portal(&self.web.settings.product_name, self.csrf());
        frame.demo = self.web.settings.demo;
        frame.theme = self.theme;
        frame
    }

    /// The frame of a page for somebody who is signed in, with their menu.
    pub(super) fn frame_of(&self, record: &Record) -> Frame {
        let who = &record.principal;
        self.frame().for_person(PersonMenu::new(who.name.as_str(), who.username.as_str()))
    }

    /// Who acts, for the audit log.
    pub(super) fn actor(&self) -> Actor {
        self.record.as_ref().map_or(Actor::Anonymous, |record| Actor::User(record.principal.user))
    }
}

/// Finds the session and the browser, runs the handler, and gives the browser its binding cookie with the first page.
pub(super) async fn find(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let now = web.clock.now();
    let headers = request.headers();
    let secure = web.sessions.secure();
    let fields = || headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let shown = cookie::read(fields(), Kind::Browser, secure)
        .and_then(|value| std::str::from_utf8(value).ok())
        .filter(|value| handle_digest(value).is_some());
    let browser: Arc<str> = shown.map_or_else(|| handle(&*web.chance).expose().into(), Into::into);
    let returning = shown.is_some();
    let record = match web.sessions.presented(fields(), &web.settings.host) {
        None => None,
        Some(digest) => match session(&web, &digest, now).await {
            Ok(record) => record,
            Err(response) => return *response,
        },
    };
    let here = Here {
        record,
        address: request
            .extensions()
            .get::<ClientAddress>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0),
        agent: headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default().into(),
        request_id: headers.get("cardea-request-id").and_then(|id| id.to_str().ok()).map(Into::into),
        theme: theme(headers),
        browser: Arc::clone(&browser),
        now,
        returning,
        web,
    };
    let page = matches!(*request.method(), Method::GET | Method::HEAD);
    request.extensions_mut().insert(here);
    let mut response = next.run(request).await;
    // Only with a page: background requests get no cookies.
    let html =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/html"));
    if page
        && html
        && !returning
        && response.status() != StatusCode::NOT_FOUND
        && let Ok(value) = HeaderValue::from_str(&cookie::set(Kind::Browser, &browser, secure))
    {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

async fn session(web: &Web, digest: &[u8; 32], now: Timestamp) -> Result<Option<Arc<Record>>, Box<Response>> {
    if !web.sessions.lease().holds(now) {
        // What is in memory may have been revoked elsewhere; the data plane serves nobody from it either.
        return Err(Box::new(reply::unavailable(&Frame::on_portal(&web.settings.product_name, ""))));
    }
    web.sessions.resolve(digest, &web.settings.host, &web.snapshot, now).await.map_err(|error| {
        tracing::error!(%error, "a session could not be read");
        Box::new(reply::unavailable(&Frame::on_portal(&web.settings.product_name, "")))
    })
}

fn theme(headers: &HeaderMap) -> Theme {
    let fields = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let value = fields.flat_map(cookie::pairs).find(|(name, _)| *name == Theme::COOKIE.as_bytes());
    value.and_then(|(_, value)| std::str::from_utf8(value).ok()).map(Theme::parse).unwrap_or_default()
}

impl<S: Sync> FromRequestParts<S> for Here {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts
            .extensions
            .get::<Here>()
            .cloned()
            .ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// Somebody who is signed in; everybody else is sent to sign in first.
pub(super) struct SignedIn(pub(super) Here, pub(super) Arc<Record>);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let here = Here::from_request_parts(parts, state).await?;
        match here.record.clone() {
            Some(record) => Ok(SignedIn(here, record)),
            None => Err(reply::sign_in_first(&here, parts)),
        }
    }
}
