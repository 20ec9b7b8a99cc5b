//! Signing out: here, and with it on every app; and, if that is wanted, at the provider.

use axum::extract::RawQuery;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::logout::Farewell;
use super::query;
use super::sign_in::with_target;
use crate::domain::SessionId;
use crate::session::cookie::{self, Kind};
use crate::signin::Elsewhere;
use crate::store::sessions;
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
            let elsewhere = elsewhere(&here, record.id).await.filter(Elsewhere::can_be_ended);
            let page = ui::SignOut {
                frame: here.frame_of(&record),
                action: "/sign-out".into(),
                identity: record.principal.username.to_string(),
                cancel_href: "/apps".into(),
                return_to,
                provider: elsewhere.map(|at| at.label().to_owned()),
            };
            reply::ok(page.render())
        }
    }
}

/// POST does. Here first, whatever the provider does (`OIDC-30`). A form that does not ask about the provider means it as
/// well.
pub(in crate::web) async fn sign_out(form: Posted) -> Response {
    let here = &form.here;
    let mut farewell = Farewell { return_to: form.field("return_to").to_owned(), ..Farewell::default() };
    let mut at = None;
    if let Some(record) = &here.record {
        at = elsewhere(here, record.id).await;
        farewell.provider = at.as_ref().map(|at| at.label().to_owned());
        farewell.apps = apps(here, record.id).await;
        let ended = here.web.sessions.end(record.id, here.actor(), "signed out", &here.visit()).await;
        if let Err(error) = ended {
            return Failure::Db(error).reply(here);
        }
    }
    let address = match at.filter(|_| form.field("there") != "0") {
        Some(at) => {
            let back = Farewell { there: true, ..farewell.clone() };
            here.web.signin.end_session(&at, &back.sealed(here), &here.visit()).await
        }
        None => None,
    };
    let mut response = match address {
        // A page and no redirect: browsers do not let a form's answer lead to another host.
        Some(href) => {
            let to = farewell.provider.unwrap_or_default();
            reply::ok(ui::Continue { frame: here.frame(), to, href }.render())
        }
        None if farewell.return_to.is_empty() || farewell.provider.is_some() => {
            reply::see(&farewell.href(here))
        }
        None => reply::see(&with_target("/sign-in", &farewell.return_to)),
    };
    response = reply::with_cookie(response, &cookie::clear(Kind::Session, here.web.sessions.secure()));
    response.headers_mut().insert(
        HeaderName::from_static("clear-site-data"),
        HeaderValue::from_static("\"cache\", \"storage\""),
    );
    response
}

/// Done. An app that knew of no session leads here too: whoever is still signed in at the portal is asked, not told that it
/// is over. Nothing in the address leads anywhere else than to our own pages.
pub(in crate::web) async fn signed_out(here: Here, raw: RawQuery) -> Response {
    if here.record.is_some() {
        return reply::see("/sign-out");
    }
    let Farewell { provider, there, apps, return_to } =
        Farewell::open(query(&raw, "state").as_deref(), &here);
    let (also_at, still_at) = if there { (provider, None) } else { (None, provider) };
    let sign_in_href = with_target("/sign-in", &return_to);
    reply::ok(ui::SignedOut { frame: here.frame(), sign_in_href, still_at, also_at, apps }.render())
}

/// The provider that a session came from. What cannot be found out keeps nobody from signing out.
async fn elsewhere(here: &Here, session: SessionId) -> Option<Elsewhere> {
    here.web.signin.elsewhere(session).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the provider of a session could not be read");
        None
    })
}

/// The titles of the apps that a session has opened.
async fn apps(here: &Here, session: SessionId) -> Vec<String> {
    let hosts = match here.web.sessions.db().read().await {
        Ok(mut conn) => sessions::hosts(&mut conn, session).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let snapshot = here.web.snapshot.load();
    let opened = |route: &crate::access::Route| hosts.iter().any(|host| *host == route.spec.host.to_string());
    let mut titles: Vec<String> = snapshot
        .routes()
        .iter()
        .filter(|route| opened(route))
        .map(|route| route.spec.title.clone())
        .collect();
    titles.sort();
    titles.dedup();
    titles
}
