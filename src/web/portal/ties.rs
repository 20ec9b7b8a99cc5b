//! Tying an account to an identity at a provider, and cutting the tie: from the account's own session, freshly proven.

use axum::extract::Path;
use axum::response::Response;

use super::account::tell;
use super::factors::{freshly_proven, is_fresh};
use crate::domain::Slug;
use crate::session::Record;
use crate::session::cookie::{self, Kind};
use crate::signin::Tie;
use crate::ui;
use crate::web::form::Posted;
use crate::web::here::{Here, SignedIn};
use crate::web::reply::{self, Failure};

/// Which way a page leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Link,
    Unlink,
}

/// What is to be done with which provider; `None` when it cannot be.
async fn found(here: &Here, record: &Record, name: &str, way: Way) -> Result<Option<Tie>, Failure> {
    let Ok(name) = Slug::parse(name) else { return Ok(None) };
    let ties = here.web.signin.ties(&record.principal, &here.visit()).await?;
    let fits = |tie: &Tie| tie.provider == name && tie.since.is_some() == (way == Way::Unlink);
    Ok(ties.into_iter().find(fits))
}

async fn ask(here: &Here, record: &Record, name: &str, way: Way) -> Result<Response, Failure> {
    let Some(tie) = found(here, record, name, way).await? else { return Ok(reply::see("/me/security")) };
    let word = if way == Way::Link { "link" } else { "unlink" };
    if let Some(response) = freshly_proven(here, record, &format!("/auth/{word}/{}", tie.provider)).await? {
        return Ok(response);
    }
    let only = way == Way::Unlink && here.web.signin.is_only_way_in(&record.principal, &tie.provider).await?;
    let page = ui::ProviderTie {
        frame: here.frame_of(record),
        provider: tie.label,
        name: tie.provider.to_string(),
        unlinks: way == Way::Unlink,
        only_way_in: only,
    };
    Ok(reply::ok(page.render()))
}

/// Asks before an account is tied.
pub(in crate::web) async fn link_page(
    SignedIn(here, record): SignedIn,
    Path(name): Path<String>,
) -> Response {
    ask(&here, &record, &name, Way::Link).await.unwrap_or_else(|failure| failure.reply(&here))
}

/// Asks before a tie is cut.
pub(in crate::web) async fn unlink_page(
    SignedIn(here, record): SignedIn,
    Path(name): Path<String>,
) -> Response {
    ask(&here, &record, &name, Way::Unlink).await.unwrap_or_else(|failure| failure.reply(&here))
}

/// On to the provider, by a page of ours: a form may not end on another site.
pub(in crate::web) async fn link(Path(name): Path<String>, form: Posted) -> Response {
    let here = &form.here;
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    link_inner(here, &record, &name).await.unwrap_or_else(|failure| failure.reply(here))
}

async fn link_inner(here: &Here, record: &Record, name: &str) -> Result<Response, Failure> {
    let Some(tie) = found(here, record, name, Way::Link).await? else {
        return Ok(reply::see("/me/security"));
    };
    if !is_fresh(here, record) {
        return Ok(reply::see(&format!("/auth/link/{}", tie.provider)));
    }
    let whose = (&*record.principal, record.id);
    let address =
        here.web.signin.depart_to_tie(&tie.provider, whose, &here.browser_digest(), &here.visit()).await?;
    Ok(reply::ok(ui::Continue { frame: here.frame(), to: tie.label, href: address }.render()))
}

/// After the provider has said who somebody is there.
pub(super) async fn tied(here: &Here) -> Response {
    if let Some(record) = &here.record {
        tell(here, record, "Your account is linked. You can sign in with that provider from now on.").await;
    }
    reply::see("/me/security")
}

/// Cuts a tie.
pub(in crate::web) async fn unlink(Path(name): Path<String>, form: Posted) -> Response {
    let here = &form.here;
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    unlink_inner(here, &record, &name).await.unwrap_or_else(|failure| failure.reply(here))
}

async fn unlink_inner(here: &Here, record: &Record, name: &str) -> Result<Response, Failure> {
    let Some(tie) = found(here, record, name, Way::Unlink).await? else {
        return Ok(reply::see("/me/security"));
    };
    let who = &record.principal;
    if !is_fresh(here, record) || here.web.signin.is_only_way_in(who, &tie.provider).await? {
        return Ok(reply::see(&format!("/auth/unlink/{}", tie.provider)));
    }
    let token = here.web.signin.untie((who.user, record.id), &tie.provider, &here.visit()).await?;
    let Some(token) = token else { return Ok(reply::see("/sign-in?notice=unlinked")) };
    tell(here, record, &format!("{} is unlinked. It does not open your account any more.", tie.label)).await;
    let cookie = cookie::set(Kind::Session, token.expose(), here.web.sessions.secure());
    Ok(reply::with_cookie(reply::see("/me/security"), &cookie))
}
