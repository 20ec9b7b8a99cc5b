//! Logout at a provider and from it.

use axum::extract::{Path, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::{Span, Timestamp};
use crate::signin::NotEnded;
use crate::web::here::Here;

/// The most bytes of a provider's request.
const MOST: usize = 64 * 1024;
/// Where what the last page shows is sealed.
const SEALED_AT: &str = "signed-out";
/// How long it is shown.
const LIFE: Span = Span::hours(1);
/// The most apps that it names.
const MOST_APPS: usize = 12;

/// What the page after a sign-out shows. Sealed in its address, or in the `state` that comes back from a provider: the
/// session that knew it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Farewell {
    /// The provider that the person came from.
    pub(super) provider: Option<String>,
    /// Whether they come back from signing out there.
    pub(super) there: bool,
    /// Apps that they had open.
    pub(super) apps: Vec<String>,
    /// Where signing in again leads.
    pub(super) return_to: String,
}

impl Farewell {
    /// Sealed for this browser; empty when that cannot be done, and then the page says less.
    pub(super) fn sealed(&self, here: &Here) -> String {
        let mut said = self.clone();
        said.apps.truncate(MOST_APPS);
        let plain = serde_json::to_vec(&(said, here.browser_digest(), here.now)).unwrap_or_default();
        let sealed = here.web.keys.web.address.seal(SEALED_AT, &plain, here.chance());
        sealed.map(|sealed| URL_SAFE_NO_PAD.encode(sealed)).unwrap_or_default()
    }

    /// The page that shows it.
    pub(super) fn href(&self, here: &Here) -> String {
        if *self == Self::default() {
            return "/signed-out".to_owned();
        }
        format!("/signed-out?state={}", self.sealed(here))
    }

    /// Opens it. Anything else is nothing to worry about (`OIDC-30`): the page then says less.
    pub(super) fn open(text: Option<&str>, here: &Here) -> Self {
        let opened = || {
            let sealed = URL_SAFE_NO_PAD.decode(text?).ok()?;
            let plain = here.web.keys.web.address.open(SEALED_AT, &sealed).ok()?;
            let (said, browser, at): (Self, [u8; 32], Timestamp) =
                serde_json::from_slice(plain.expose()).ok()?;
            let fits = browser == here.browser_digest() && at <= here.now && here.now < at + LIFE;
            fits.then_some(said)
        };
        opened().unwrap_or_default()
    }
}

/// A provider says that sessions are over (Back-Channel Logout §2.5). It brings no cookie and gets none.
pub(in crate::web) async fn backchannel(
    here: Here,
    Path(provider): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let typed = parts.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    if typed.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return refused("a logout token comes as application/x-www-form-urlencoded");
    }
    let Ok(body) = Limited::new(body, MOST).collect().await else { return refused("that is too much") };
    let body = body.to_bytes();
    let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
    let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
        return refused("there must be one logout_token");
    };
    match here.web.signin.logged_out(&provider, &token, &here.visit()).await {
        Ok(_) => answer(StatusCode::OK, None),
        Err(NotEnded::Unknown) => answer(StatusCode::NOT_FOUND, None),
        Err(NotEnded::Throttled(wait)) => {
            let mut response = answer(StatusCode::TOO_MANY_REQUESTS, None);
            let seconds = HeaderValue::from(wait.as_seconds().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            response
        }
        // To whoever sent it no more than that: the audit log has the cause.
        Err(NotEnded::Refused) => refused("the logout token was not taken; the audit log says why"),
        Err(NotEnded::Failed) => {
            let body =
                json!({ "error": "server_error", "error_description": "the logout failed; send it again" });
            answer(StatusCode::BAD_REQUEST, Some(&body))
        }
    }
}

fn refused(why: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, Some(&json!({ "error": "invalid_request", "error_description": why })))
}

/// Back-Channel Logout §2.8: kept by nobody.
fn answer(status: StatusCode, body: Option<&serde_json::Value>) -> Response {
    let mut response = match body {
        Some(body) => {
            (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        None => status.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
