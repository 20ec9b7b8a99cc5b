//! On from a sign-in to where it was to lead.

use std::sync::Arc;

use axum::extract::RawQuery;
use axum::response::Response;

use super::federation::{Again, start_path};
use super::query;
use crate::access::engine::Request;
use crate::access::{Decision, decide};
use crate::domain::login::Purpose;
use crate::domain::provider::Provider;
use crate::domain::target::Target;
use crate::domain::{Slug, Span};
use crate::session::{Record, return_to};
use crate::store::DbError;
use crate::ui::Continue;
use crate::web::here::{Here, SignedIn};
use crate::web::reply;

/// Where to go from here.
pub(super) enum Onward {
    /// A page of the portal.
    Here(String),
    /// A route's host, with a one-time code, and the app's title.
    There(String, String),
    /// Something to prove first, on a page of the portal.
    Prove(String),
    /// Something to prove first at a provider of that name: the page of ours that leads there.
    ProveAt(String, String),
}

/// Whether a text is a path of our own: nothing that a browser would take for another site.
pub(super) fn own_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && Target::parse(text).is_ok()
}

/// Where a session goes on to. Asks the policy for the level of the target: the sealed address only says where.
pub(super) async fn onward(here: &Here, record: &Record, to: &str) -> Result<Onward, reply::Failure> {
    if own_path(to) {
        return Ok(Onward::Here(to.to_owned()));
    }
    let Some(opened) = return_to::open(&here.web.keys, to, here.now) else {
        return Ok(landing(here, record));
    };
    let Some(target) = here.web.signin.target(to, &here.visit()) else { return Ok(landing(here, record)) };
    let snapshot = here.web.snapshot.load_full();
    let Ok(path) = Target::parse(&target.path) else { return Ok(landing(here, record)) };
    let Ok(route) = snapshot.locate(&target.host, &path) else { return Ok(Onward::Here("/apps".into())) };
    let request = Request { target: &path, method: "GET", address: here.address, now: here.now };
    let who = &record.principal;
    match decide(&snapshot, route, Some(record.caller()), &request) {
        Decision::SignIn { .. } => return prove_again(here, record, to).await,
        Decision::StepUp(_) if !who.enrolled && !record.level.first_within(Span::minutes(5), here.now) => {
            return prove_again(here, record, to).await;
        }
        Decision::StepUp(_) => {
            let begun = here
                .web
                .signin
                .begin_raise(
                    record.id,
                    (who.user, &record.level, false),
                    to,
                    &here.browser_digest(),
                    &here.visit(),
                )
                .await?;
            let page = if who.enrolled { "/sign-in/verify" } else { "/me/security/totp" };
            return Ok(Onward::Prove(format!("{page}?flow={}", begun.handle.expose())));
        }
        // A refusal is told on the app's own host, where the person wanted to go.
        Decision::Ambiguous(_) | Decision::Deny(_) | Decision::Permit(_) => {}
    }
    let code = here
        .web
        .sessions
        .hand_off(record.id, &target.host, &opened.browser, &target.path, &here.visit())
        .await
        .map_err(|error| match error {
            DbError::Missing => reply::Failure::Stale,
            other => reply::Failure::Db(other),
        })?;
    let title = super::sign_in::title(route, record);
    Ok(Onward::There(format!("{}/.cardea/callback?code={}", route.origin, code.expose()), title))
}

/// Asks for the first factor again, from the same person.
pub(super) async fn prove_again(here: &Here, record: &Record, to: &str) -> Result<Onward, reply::Failure> {
    // Where an app or a tenant asks for a provider, it is the one; otherwise, whoever came from a provider proves it there.
    let at = |name: &Slug, again| {
        let label = here.web.signin.federation.named(name.as_str()).map(|it| it.label.clone());
        let label = label.unwrap_or_else(|| name.to_string());
        Ok(Onward::ProveAt(start_path(name.as_str(), to, None, again), label))
    };
    match here.web.signin.demanded(to, &here.visit()) {
        Some(name) if record.level.first.provider() != Some(name.as_str()) => return at(&name, Again::There),
        _ => {}
    }
    if let Some(name) = here.web.signin.must_use(&record.principal, &record.level) {
        return at(&name, Again::Anew);
    }
    if let Some(provider) =
        record.level.first.provider().and_then(|name| here.web.signin.federation.named(name))
    {
        return Ok(anew_at(&provider, to));
    }
    let (session, username) = (record.id, record.principal.username.as_str());
    let begun = here
        .web
        .signin
        .begin(username, Purpose::StepUp { session }, to, &here.browser_digest(), &here.visit())
        .await?;
    Ok(Onward::Prove(format!("/sign-in/password?flow={}", begun.handle.expose())))
}

/// The way to a provider at which the first factor is given anew.
pub(super) fn anew_at(provider: &Provider, to: &str) -> Onward {
    Onward::ProveAt(start_path(provider.name.as_str(), to, None, Again::Anew), provider.label.clone())
}

/// Where somebody lands who was not on the way anywhere: the role's page, the installation's, or the launcher.
fn landing(here: &Here, record: &Record) -> Onward {
    let snapshot = here.web.snapshot.load();
    let by_role = record.principal.roles.iter().find_map(|held| held.landing.as_ref().map(Slug::as_str));
    let name = by_role.or(here.web.settings.landing.as_deref());
    match name.and_then(|name| snapshot.route(name)) {
        Some(route) => Onward::There(
            format!("{}{}/", route.origin, route.spec.prefix),
            super::sign_in::title(route, record),
        ),
        None => Onward::Here("/apps".into()),
    }
}

/// The end of a chain of forms: a page that takes the browser on, since a redirect to another site would be stopped by the
/// form's own policy.
pub(in crate::web) async fn continue_page(SignedIn(here, record): SignedIn, raw: RawQuery) -> Response {
    let to = match query(&raw, "flow") {
        Some(flow) => match here.web.signin.flow(&flow, &here.browser_digest(), &here.visit()).await {
            Ok(flow) => flow.return_to,
            Err(_) => String::new(),
        },
        None => query(&raw, "return_to").unwrap_or_default(),
    };
    follow_as_page(&here, &record, &to).await
}

async fn follow_as_page(here: &Here, record: &Arc<Record>, to: &str) -> Response {
    match onward(here, record, to).await {
        Err(failure) => failure.reply(here),
        Ok(onward) => lead(here, onward),
    }
}

/// Leads on, by a page of ours where the way goes to another site: it may be the end of a chain that a form began.
pub(super) fn lead(here: &Here, onward: Onward) -> Response {
    match onward {
        Onward::Here(path) | Onward::Prove(path) => reply::see(&path),
        Onward::There(href, to) | Onward::ProveAt(href, to) => {
            reply::ok(Continue { frame: here.frame(), to, href }.render())
        }
    }
}

/// From a GET, a plain redirect does.
pub(super) async fn follow(here: &Here, record: &Record, to: &str) -> Response {
    match onward(here, record, to).await {
        Err(failure) => failure.reply(here),
        Ok(Onward::Here(path) | Onward::Prove(path) | Onward::ProveAt(path, _) | Onward::There(path, _)) => {
            reply::see(&path)
        }
    }
}
