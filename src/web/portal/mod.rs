//! The pages people meet.

pub(super) mod account;
pub(super) mod apps;
pub(super) mod factors;
pub(super) mod federation;
pub(super) mod logout;
pub(super) mod onward;
pub(super) mod password;
pub(super) mod saml;
pub(super) mod setup;
pub(super) mod sign_in;
pub(super) mod sign_out;
pub(super) mod ties;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::here::{Here, SignedIn};
use super::{Web, reply};
use crate::store::audit;
use crate::ui::{self, ErrorKind, Moment};

/// Reads one parameter of the query; `None` when it is absent, empty or written twice.
fn query(raw: &RawQuery, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(raw.0.as_deref().unwrap_or_default().as_bytes())
        .filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) if !value.is_empty() => Some(value.into_owned()),
        _ => None,
    }
}

/// The start is the launcher.
pub(super) async fn home() -> Response {
    reply::see("/apps")
}

/// A file that pages load. Needs no session and gets no cookie.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ui::assets::find(&name) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.content_type),
                (header::CACHE_CONTROL, ui::assets::CACHE_CONTROL),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            asset.bytes,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The keys that verify assertions.
pub(super) async fn jwks(State(web): State<Web>) -> Response {
    let body = web.keys.assertion().jwks().to_string();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], body)
        .into_response()
}

/// No such page.
pub(super) async fn not_found(here: Here, headers: HeaderMap) -> Response {
    reply::problem(&here, &headers, ErrorKind::NotFound)
}

/// Not in that way.
pub(super) async fn method_not_allowed(here: Here, headers: HeaderMap) -> Response {
    reply::problem(&here, &headers, ErrorKind::MethodNotAllowed)
}

/// A refusal by its reference: only for the session that met it.
pub(super) async fn denied(SignedIn(here, record): SignedIn, raw: RawQuery, headers: HeaderMap) -> Response {
    let Some(reference) = query(&raw, "d") else {
        return reply::problem(&here, &headers, ErrorKind::NotFound);
    };
    let found = match here.web.sessions.db().read().await {
        Ok(mut conn) => audit::by_reference(&mut conn, &reference).await,
        Err(error) => Err(error),
    };
    match found {
        Err(error) => {
            tracing::error!(%error, "a decision could not be read");
            reply::unavailable(&here.frame())
        }
        Ok(Some(row)) if row.session == Some(record.id) => {
            let detail: serde_json::Value = serde_json::from_str(&row.detail).unwrap_or_default();
            let text = |name: &str| detail.get(name).and_then(|v| v.as_str()).map(str::to_owned);
            let clauses =
                text("plain").map(|plain| vec![ui::Clause::failed(plain, None)]).unwrap_or_default();
            reply::ok(
                ui::Denied {
                    frame: here.frame_of(&record),
                    app: text("app"),
                    identity: Some(record.principal.username.to_string()),
                    clauses,
                    apps_href: Some("/apps".into()),
                    reference,
                    at: moment(row.at),
                    ..ui::Denied::default()
                }
                .render(),
            )
        }
        Ok(_) => reply::problem(&here, &headers, ErrorKind::NotFound),
    }
}

/// A moment for a page.
fn moment(at: crate::domain::Timestamp) -> Moment {
    Moment::new(at.to_string(), at.words())
}
