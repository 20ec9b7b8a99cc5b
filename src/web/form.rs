//! Forms: read in one place, which checks that they were posted from one of our pages by this browser.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};

use super::here::Here;
use super::reply;
use crate::ui::ErrorKind;

/// The most bytes of a form.
const MOST: usize = 64 * 1024;

/// A form's fields. Each name once.
pub(super) struct Posted {
    pub(super) here: Here,
    fields: HashMap<String, String>,
}

impl Posted {
    /// A field; empty when it is absent.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Whether a box is ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.field(name) == "1"
    }
}

/// The form of the very first page, where somebody says who they are. Tabs that a browser opens at once before it has a
/// binding cookie are each given one, and the last one stays: the tags of the others are of cookies that are gone. So
/// here the browser's own word that the form is from this origin does as well. Nothing is proven by this form; the
/// sign-in that it begins is bound to the cookie that comes with it.
pub(super) struct Opening(pub(super) Posted);

/// What shows that a form is ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The tag of this browser.
    Tag,
    /// That, or `Sec-Fetch-Site: same-origin`, which no page of another site can make a browser send.
    TagOrOrigin,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        Self::read(request, state, Shown::Tag).await
    }
}

impl<S: Send + Sync> FromRequest<S> for Opening {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        Posted::read(request, state, Shown::TagOrOrigin).await.map(Self)
    }
}

impl Posted {
    async fn read<S: Send + Sync>(request: Request, state: &S, by: Shown) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let here = Here::from_request_parts(&mut parts, state).await?;
        let refuse = |kind| reply::problem(&here, &parts.headers, kind);
        if !same_origin(&parts.headers, &here.web.settings.origin) {
            return Err(refuse(ErrorKind::ForeignForm));
        }
        let typed = parts.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
        if typed.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(refuse(ErrorKind::BadRequest));
        }
        let body: Bytes = match Limited::new(body, MOST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(refuse(ErrorKind::TooLarge)),
        };
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(&body) {
            // Two values for one name: two programs would read two things.
            if value.contains('\0') || fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(refuse(ErrorKind::BadRequest));
            }
        }
        let tag = fields.get("csrf").map_or("", String::as_str);
        if !here.returning {
            return Err(reply::cookies_refused(&here));
        }
        let from_here = || parts.headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
        let ours = here.web.keys.web.form.tagged("form", &[here.browser.as_bytes()], tag)
            || (by == Shown::TagOrOrigin && from_here());
        if !ours {
            return Err(refuse(ErrorKind::ForeignForm));
        }
        Ok(Self { here, fields })
    }
}

/// Whether a request comes from one of our own pages, as far as the browser says. One that says nothing is left to the
/// form's tag.
pub(super) fn same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (said("sec-fetch-site"), said("origin")) {
        (Some(site), _) if !matches!(site, "same-origin" | "none") => false,
        (_, Some(from)) => from == origin,
        (_, None) => true,
    }
}
