//! Signing out: here, and with it on every app.

use axum::extract::RawQuery;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::query;
use super::sign_in::with_target;
use crate::session::cookie::{self, Kind};
use crate::ui;
use crate::web::form::Posted;
use crate::web::here::Here;
use crate::web::reply::{self, Failure};

/// GET asks.
pub(in crate::web) async fn ask(here: Here, raw: RawQuery) -> Response {
    let return_to = query(&raw, "return_to");
    match here.record.clone() {
        None => reply::see(&with_target("/sign-in", &return_to.unwrap_or_default())),
        Some(record) => {
            let page = ui::SignOut {
                frame: here.frame_of(&record),
                action: "/sign-out".into(),
                identity: record.principal.username.to_string(),
                cancel_href: "/apps".into(),
                return_to,
            };
            reply::ok(page.render())
        }
    }
}

/// POST does.
pub(in crate::web) async fn sign_out(form: Posted) -> Response {
    let here = &form.here;
    if let Some(record) = &here.record
        && let Err(error) = here.web.sessions.end(record.id, here.actor(), "signed out", &here.visit()).await
    {
        return Failure::Db(error).reply(here);
    }
    let next = match form.field("return_to") {
        "" => "/signed-out".to_owned(),
        to => with_target("/sign-in", to),
    };
    let mut response =
        reply::with_cookie(reply::see(&next), &cookie::clear(Kind::Session, here.web.sessions.secure()));
    response.headers_mut().insert(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    );
    response
}

/// Done. An app that knew of no session leads here too: whoever is still signed in at the portal is asked, not told that it
/// is over.
pub(in crate::web) async fn signed_out(here: Here) -> Response {
    if here.record.is_some() {
        return reply::see("/sign-out");
    }
    reply::ok(ui::SignedOut { frame: here.frame(), sign_in_href: "/sign-in".into(), still_at: None }.render())
}
