//! Signing in: a name, a password, a second factor. What is asked next is the flow's to say, never the address'.

use axum::extract::RawQuery;
use axum::response::Response;

use super::federation::{Again, start_path};
use super::{onward, query};
use crate::access::Route;
use crate::domain::Password;
use crate::domain::login::{Owed, Purpose, Stage};
use crate::session::Record;
use crate::session::cookie::{self, Kind};
use crate::signin::{SignInError, Step};
use crate::store::flows::Flow;
use crate::ui;
use crate::web::form::{Opening, Posted};
use crate::web::here::Here;
use crate::web::reply::{self, Failure};

/// Said for every reason that a name and a password do not open the door.
const WRONG: &str =
    "That username and password don't match. Check Caps Lock, or ask for a link to set a new password.";
/// Said besides where some company signs in with a provider, to everybody alike.
const ELSEWHERE: &str = " If your company signs in with a provider, use its button on the first page.";
/// Said for every reason that a code does not.
const WRONG_CODE: &str =
    "That code is not right. Codes change every 30 seconds: wait for the next one and try again.";

/// The first page: who are you?
pub(in crate::web) async fn identifier(here: Here, raw: RawQuery) -> Response {
    let return_to = query(&raw, "return_to").unwrap_or_default();
    if let Some(record) = here.record.clone() {
        return onward::follow(&here, &record, &return_to).await;
    }
    // Where one way in is the only one, nobody is asked.
    match here.web.signin.only_way(&return_to, &here.visit()).await {
        Err(error) => return reply::failed(&here, &error),
        Ok(Some(provider)) => {
            let href = start_path(provider.name.as_str(), &bounded(&return_to), None, Again::No);
            return onward::lead(&here, onward::Onward::ProveAt(href, provider.label.clone()));
        }
        Ok(None) => {}
    }
    let notice = query(&raw, "notice").and_then(|word| match word.as_str() {
        "password-set" => Some("Your password is set. Sign in with it now.".to_owned()),
        "unlinked" => Some("The provider is unlinked. Sign in another way to go on.".to_owned()),
        "set-up" => Some("The first administrator is ready. Sign in to go on.".to_owned()),
        _ => None,
    });
    name_page(&here, return_to, String::new(), None, notice).await
}

async fn name_page(
    here: &Here,
    return_to: String,
    identifier: String,
    error: Option<String>,
    notice: Option<String>,
) -> Response {
    let destination = destination(here, &return_to);
    let providers = match here.web.signin.offered(&return_to, &here.visit()).await {
        Ok(offered) => offered,
        Err(error) => return reply::failed(here, &error),
    };
    let button = |provider: &std::sync::Arc<crate::domain::provider::Provider>| ui::Provider {
        name: provider.label.clone(),
        href: start_path(provider.name.as_str(), &return_to, None, Again::No),
        away: here.web.signin.is_away(provider, &here.visit()),
    };
    let providers = providers.iter().map(button).collect();
    reply::ok(
        ui::SignIn { frame: here.frame(), identifier, return_to, destination, providers, error, notice }
            .render(),
    )
}

/// "to open Reports": only where the app is open about itself; strangers learn the host they came from and no more.
pub(super) fn destination(here: &Here, return_to: &str) -> Option<ui::Destination> {
    let target = here.web.signin.target(return_to, &here.visit())?;
    let snapshot = here.web.snapshot.load();
    let title = match &here.record {
        Some(record) => {
            let path = crate::domain::target::Target::parse(&target.path).ok()?;
            title(snapshot.locate(&target.host, &path).ok()?, record)
        }
        None => target.host.clone(),
    };
    Some(ui::Destination { title, host: target.host })
}

/// What an app is called for somebody: its title for members of its tenant, for everybody else its host.
pub(super) fn title(route: &Route, record: &Record) -> String {
    let member = match (&route.spec.tenant, route.tenant) {
        (None, _) => true,
        (Some(_), Some(tenant)) => record.principal.belonging(tenant).is_some(),
        (Some(_), None) => false,
    };
    if member { route.spec.title.clone() } else { route.spec.host.to_string() }
}

/// Somebody said a name: a flow begins. Whether anybody has the name makes no difference.
pub(in crate::web) async fn identify(Opening(form): Opening) -> Response {
    let here = &form.here;
    let return_to = form.field("return_to").to_owned();
    if let Some(record) = here.record.clone() {
        // Signed in meanwhile, in another tab.
        return reply::see(&continue_path(None, &return_to, &record.id.to_string()));
    }
    let name = form.field("identifier").trim();
    if name.is_empty() {
        let error = Some("Type your username or e-mail address.".to_owned());
        return name_page(here, return_to, String::new(), error, None).await;
    }
    match here.web.signin.leads(name, &here.visit()).await {
        Err(error) => return reply::failed(here, &error),
        // The provider of the address' domain, whether or not anybody has the address. A page leads on, since a form may not
        // end on another site.
        Ok(Some(provider)) => {
            let href = start_path(provider.name.as_str(), &bounded(&return_to), Some(name), Again::No);
            let to = provider.label.clone();
            return reply::ok(ui::Continue { frame: here.frame(), to, href }.render());
        }
        Ok(None) => {}
    }
    let purpose = Purpose::SignIn;
    match here
        .web
        .signin
        .begin(name, purpose, &bounded(&return_to), &here.browser_digest(), &here.visit())
        .await
    {
        Ok(begun) => reply::see(&format!("/sign-in/password?flow={}", begun.handle.expose())),
        Err(error) => reply::failed(here, &error),
    }
}

/// A return address that we could have written; anything longer is dropped.
pub(super) fn bounded(return_to: &str) -> String {
    if return_to.len() <= 4096 { return_to.to_owned() } else { String::new() }
}

fn continue_path(flow: Option<&str>, return_to: &str, _session: &str) -> String {
    if let Some(flow) = flow {
        format!("/auth/continue?flow={flow}")
    } else {
        let to: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        format!("/auth/continue?return_to={to}")
    }
}

/// A flow and its handle, for the page or form that names it.
struct At {
    handle: String,
    flow: Flow,
}

/// Finds the flow; a finished one, or one that another tab has overtaken, goes straight on.
async fn at(here: &Here, handle: Option<String>) -> Result<At, Box<Response>> {
    let Some(handle) = handle else { return Err(Box::new(reply::see("/sign-in"))) };
    let flow = match here.web.signin.flow(&handle, &here.browser_digest(), &here.visit()).await {
        Ok(flow) => flow,
        // The page was open longer than the flow lives, but somebody is signed in.
        Err(SignInError::Stale) if here.record.is_some() => return Err(Box::new(reply::see("/apps"))),
        Err(error) => return Err(Box::new(reply::failed(here, &error))),
    };
    let overtaken = here.record.is_some() && flow.purpose == Purpose::SignIn;
    if overtaken || (matches!(flow.stage, Stage::Finished { .. }) && here.record.is_some()) {
        return Err(Box::new(reply::see(&continue_path(Some(&handle), "", ""))));
    }
    if matches!(flow.stage, Stage::Finished { .. }) {
        return Err(Box::new(reply::start_again(here)));
    }
    Ok(At { handle, flow })
}

/// The page for what the flow owes.
fn owed_path(owed: Owed, handle: &str) -> String {
    let page = match owed {
        Owed::Enrolment => "/me/security/totp",
        Owed::NewPassword => "/password/change",
        Owed::SecondFactor => "/sign-in/verify",
    };
    format!("{page}?flow={handle}")
}

/// After a step that was right.
pub(super) fn stepped(here: &Here, handle: &str, step: &Step) -> Response {
    match step {
        Step::Owes(owed) => reply::see(&owed_path(*owed, handle)),
        Step::Tied => reply::see("/me/security"),
        Step::Done { token, .. } => {
            let cookie = cookie::set(Kind::Session, token.expose(), here.web.sessions.secure());
            reply::with_cookie(reply::see(&continue_path(Some(handle), "", "")), &cookie)
        }
    }
}

/// The page for the password.
pub(in crate::web) async fn password_page(here: Here, raw: RawQuery) -> Response {
    match at(&here, query(&raw, "flow")).await {
        Err(response) => *response,
        Ok(at) => match &at.flow.stage {
            Stage::Named { identifier } => reply::ok(password_html(&here, &at, identifier, None)),
            _ => next_page(&here, &at).await,
        },
    }
}

fn wrong(here: &Here) -> String {
    let elsewhere = if here.web.snapshot.load().demands_providers() { ELSEWHERE } else { "" };
    format!("{WRONG}{elsewhere}")
}

fn password_html(here: &Here, at: &At, identifier: &str, error: Option<String>) -> String {
    ui::Password {
        frame: here.frame(),
        flow: at.handle.clone(),
        identifier: identifier.to_owned(),
        change_href: match at.flow.purpose {
            Purpose::Link { .. } | Purpose::SignIn => with_target("/sign-in", &at.flow.return_to),
            // Somebody else's name would not raise this session: it ends first.
            Purpose::StepUp { .. } => with_target("/sign-out", &at.flow.return_to),
        },
        destination: destination(here, &at.flow.return_to),
        error,
    }
    .render()
}

/// A page of ours that leads on to where a flow was to lead.
pub(super) fn with_target(page: &str, return_to: &str) -> String {
    if return_to.is_empty() {
        return page.to_owned();
    }
    let to: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    format!("{page}?return_to={to}")
}

/// Where "Cancel" leads: to the beginning, or for somebody who is signed in back to what they can do as it is.
pub(super) fn cancel_href(flow: &Flow) -> String {
    match flow.purpose {
        Purpose::Link { .. } => "/me/security".to_owned(),
        Purpose::SignIn => with_target("/sign-in", &flow.return_to),
        Purpose::StepUp { .. } if flow.return_to.starts_with("/me") => "/me".to_owned(),
        Purpose::StepUp { .. } => "/apps".to_owned(),
    }
}

/// Sends a flow to the page of what it owes.
async fn next_page(here: &Here, at: &At) -> Response {
    match here.web.signin.owes(&at.flow, &here.visit()).await {
        Ok(Some(owed)) => reply::see(&owed_path(owed, &at.handle)),
        Ok(None) => match at.flow.stage {
            Stage::Named { .. } => reply::see(&format!("/sign-in/password?flow={}", at.handle)),
            _ => reply::start_again(here),
        },
        Err(error) => reply::failed(here, &error),
    }
}

/// The password.
pub(in crate::web) async fn password(form: Posted) -> Response {
    let here = &form.here;
    let at = match at(here, Some(form.field("flow").to_owned())).await {
        Ok(at) => at,
        Err(response) => return *response,
    };
    let Stage::Named { identifier } = at.flow.stage.clone() else { return next_page(here, &at).await };
    let Ok(password) = Password::parse(form.field("password")) else {
        return reply::ok(password_html(here, &at, &identifier, Some(wrong(here))));
    };
    match here.web.signin.password(&at.flow, &password, &here.visit()).await {
        Ok(step) => stepped(here, &at.handle, &step),
        Err(SignInError::Wrong) => reply::ok(password_html(here, &at, &identifier, Some(wrong(here)))),
        Err(SignInError::Throttled(wait)) => {
            let error = format!(
                "Too many tries. Wait {} and try again, or ask your administrator for help.",
                wait.words()
            );
            reply::wait_for(reply::ok(password_html(here, &at, &identifier, Some(error))), wait.as_seconds())
        }
        Err(error) => reply::failed(here, &error),
    }
}

/// Whose second factor is asked for, for the page.
async fn name_of(here: &Here, flow: &Flow) -> Result<String, Failure> {
    let Stage::Proven(proven) = &flow.stage else { return Err(Failure::Stale) };
    let who = here.web.signin.person(proven.user(), &here.visit()).await?;
    Ok(who.map(|who| who.username.to_string()).unwrap_or_default())
}

async fn second_page(here: &Here, at: &At, recovery: bool, error: Option<String>) -> Response {
    let identifier = match name_of(here, &at.flow).await {
        Ok(name) => name,
        Err(failure) => return failure.reply(here),
    };
    let (frame, flow, cancel_href) = (here.frame(), at.handle.clone(), cancel_href(&at.flow));
    if recovery {
        let verify_href = format!("/sign-in/verify?flow={}", at.handle);
        return reply::ok(ui::Recovery { frame, flow, identifier, verify_href, cancel_href, error }.render());
    }
    let reason = match at.flow.purpose {
        Purpose::Link { .. } | Purpose::SignIn => None,
        Purpose::StepUp { .. } => Some(match destination(here, &at.flow.return_to) {
            Some(to) => format!("{} asks for a fresh code.", to.title),
            None => "This page asks for a fresh code.".to_owned(),
        }),
    };
    let recovery_href =
        here.web.signin.settings.recovery.then(|| format!("/sign-in/recovery?flow={}", at.handle));
    reply::ok(ui::Verify { frame, flow, identifier, reason, recovery_href, cancel_href, error }.render())
}

async fn second_step_page(here: Here, raw: RawQuery, recovery: bool) -> Response {
    let at = match at(&here, query(&raw, "flow")).await {
        Ok(at) => at,
        Err(response) => return *response,
    };
    match here.web.signin.owes(&at.flow, &here.visit()).await {
        Ok(Some(Owed::SecondFactor)) => second_page(&here, &at, recovery, None).await,
        _ => next_page(&here, &at).await,
    }
}

/// The page for the code.
pub(in crate::web) async fn verify_page(here: Here, raw: RawQuery) -> Response {
    second_step_page(here, raw, false).await
}

/// The page for a recovery code.
pub(in crate::web) async fn recovery_page(here: Here, raw: RawQuery) -> Response {
    let recovery = here.web.signin.settings.recovery;
    second_step_page(here, raw, recovery).await
}

async fn second_step(form: Posted, recovery: bool) -> Response {
    let here = &form.here;
    let at = match at(here, Some(form.field("flow").to_owned())).await {
        Ok(at) => at,
        Err(response) => return *response,
    };
    let tried = if recovery {
        here.web.signin.recovery(&at.flow, form.field("code"), &here.visit()).await
    } else {
        here.web.signin.totp(&at.flow, form.field("code"), &here.visit()).await
    };
    match tried {
        Ok(step) => stepped(here, &at.handle, &step),
        Err(SignInError::Wrong) if recovery => {
            second_page(
                here,
                &at,
                recovery,
                Some("That recovery code is not right, or was used already.".into()),
            )
            .await
        }
        Err(SignInError::Wrong) => second_page(here, &at, recovery, Some(WRONG_CODE.into())).await,
        Err(SignInError::Used) => {
            second_page(
                here,
                &at,
                recovery,
                Some("That code was used already. Wait for the next one.".into()),
            )
            .await
        }
        Err(SignInError::Throttled(wait)) => {
            let error = format!("Too many tries. Wait {} and try again.", wait.words());
            reply::wait_for(second_page(here, &at, recovery, Some(error)).await, wait.as_seconds())
        }
        Err(SignInError::Stale) => next_page(here, &at).await,
        Err(error) => reply::failed(here, &error),
    }
}

/// The code.
pub(in crate::web) async fn verify(form: Posted) -> Response {
    second_step(form, false).await
}

/// A recovery code.
pub(in crate::web) async fn recovery(form: Posted) -> Response {
    second_step(form, true).await
}
