//! Setting up, replacing and removing an authenticator; recovery codes.

use axum::extract::RawQuery;
use axum::response::Response;

use super::account::tell;
use super::onward::{anew_at, lead, prove_again};
use super::query;
use super::sign_in::{cancel_href, destination};
use crate::access::MfaRule;
use crate::domain::Span;
use crate::domain::login::Purpose;
use crate::session::Record;
use crate::session::cookie::{self, Kind};
use crate::signin::{SignInError, Step};
use crate::store::flows::Flow;
use crate::ui;
use crate::web::form::Posted;
use crate::web::here::{Here, SignedIn};
use crate::web::reply::{self, Failure};

/// How fresh a proof must be before factors are touched.
const FRESH: Span = Span::minutes(5);

/// Whether somebody has just shown the strongest that they have.
pub(super) fn is_fresh(here: &Here, record: &Record) -> bool {
    if record.principal.enrolled {
        record.level.has_second(Some(FRESH), here.now)
    } else {
        record.level.first_within(FRESH, here.now)
    }
}

/// Asks for a fresh proof first, the strongest the person has; `None` when there is one.
pub(super) async fn freshly_proven(
    here: &Here,
    record: &Record,
    back: &str,
) -> Result<Option<Response>, Failure> {
    let who = &record.principal;
    if is_fresh(here, record) {
        return Ok(None);
    }
    if who.enrolled {
        let raise = (who.user, &record.level, false);
        let begun = here
            .web
            .signin
            .begin_raise(record.id, raise, back, &here.browser_digest(), &here.visit())
            .await?;
        return Ok(Some(reply::see(&format!("/sign-in/verify?flow={}", begun.handle.expose()))));
    }
    Ok(Some(lead(here, prove_again(here, record, back).await?)))
}

/// The page with the code to scan. Within a sign-in that owes it, or for somebody signed in who has just proven enough.
pub(in crate::web) async fn enrol_page(here: Here, raw: RawQuery) -> Response {
    match enrol_page_inner(&here, query(&raw, "flow")).await {
        Ok(response) => response,
        Err(failure) => finished(&here, failure).await,
    }
}

/// A page of an enrolment that is over, loaded again: if it has just succeeded, the person hears so. The recovery codes were
/// shown once and are gone with the page, so new ones are offered.
async fn finished(here: &Here, failure: Failure) -> Response {
    let over = matches!(failure, Failure::Stale | Failure::SignIn(SignInError::Stale));
    let Some(record) = here.record.as_ref().filter(|_| over) else { return failure.reply(here) };
    match here.web.signin.enrolled_within(record.principal.user, FRESH, &here.visit()).await {
        Ok(true) => {
            let more = if here.web.signin.settings.recovery {
                " If you have not stored the recovery codes, make new ones here."
            } else {
                ""
            };
            tell(here, record, &format!("Your authenticator app is set up.{more}")).await;
            reply::see("/me/security")
        }
        Ok(false) => failure.reply(here),
        Err(error) => reply::failed(here, &error),
    }
}

async fn enrol_page_inner(here: &Here, handle: Option<String>) -> Result<Response, Failure> {
    if let Some(handle) = handle {
        let flow = here.web.signin.flow(&handle, &here.browser_digest(), &here.visit()).await?;
        return match enrol_html(here, &handle, &flow, Vec::new()).await {
            Err(failure) => anew(here, &flow, failure),
            shown => shown,
        };
    }
    let Some(record) = here.record.clone() else {
        return Ok(reply::see("/sign-in?return_to=%2Fme%2Fsecurity%2Ftotp"));
    };
    if !record.principal.enrolled && !offered(here) {
        return Ok(reply::see("/me/security"));
    }
    if let Some(response) = freshly_proven(here, &record, "/me/security/totp").await? {
        return Ok(response);
    }
    let raise = (record.principal.user, &record.level, true);
    let begun = here
        .web
        .signin
        .begin_raise(record.id, raise, "/me/security", &here.browser_digest(), &here.visit())
        .await?;
    Ok(reply::see(&format!("/me/security/totp?flow={}", begun.handle.expose())))
}

/// Where the first factor is of a provider and too old, the way leads there once more, and then to where the flow was to lead.
fn anew(here: &Here, flow: &Flow, failure: Failure) -> Result<Response, Failure> {
    let provider = match &failure {
        Failure::SignIn(SignInError::Anew(name)) => here.web.signin.federation.named(name.as_str()),
        _ => None,
    };
    provider.map_or(Err(failure), |provider| Ok(lead(here, anew_at(&provider, &flow.return_to))))
}

async fn enrol_html(
    here: &Here,
    handle: &str,
    flow: &Flow,
    problems: Vec<ui::Problem>,
) -> Result<Response, Failure> {
    let offered = here.web.signin.enrolment(flow, &here.visit()).await?;
    let forced = match (flow.purpose, destination(here, &flow.return_to)) {
        (Purpose::SignIn, None) => Some("Your account asks for a second factor.".to_owned()),
        (Purpose::SignIn, Some(_)) => {
            Some("Your account or the app you are opening asks for a second factor.".to_owned())
        }
        (Purpose::Link { .. }, _) => None,
        (Purpose::StepUp { .. }, to) => to.map(|to| format!("{} asks for a second factor.", to.title)),
    };
    let page = ui::TotpEnrol {
        frame: here.frame(),
        flow: Some(handle.to_owned()),
        cancel_href: Some(cancel_href(flow)),
        forced,
        replacing: offered.replacing,
        qr: ui::QrCode::new(offered.address.expose()),
        key: offered.key.expose().clone(),
        account: format!("{} · {}", offered.username, here.web.settings.product_name),
        ask_enrol_code: offered.asks_code,
        problems,
    };
    Ok(reply::ok(page.render()))
}

/// The first code of a new authenticator. The recovery codes are in the answer, and nowhere else.
pub(in crate::web) async fn enrol(form: Posted) -> Response {
    match enrol_inner(&form).await {
        Ok(response) => response,
        Err(failure) => finished(&form.here, failure).await,
    }
}

async fn enrol_inner(form: &Posted) -> Result<Response, Failure> {
    let (here, handle) = (&form.here, form.field("flow"));
    let flow = here.web.signin.flow(handle, &here.browser_digest(), &here.visit()).await?;
    let confirmed = here
        .web
        .signin
        .confirm_enrolment(&flow, form.field("code"), form.field("enrol_code"), &here.visit())
        .await;
    let enrolled = match confirmed {
        Ok(enrolled) => enrolled,
        Err(SignInError::Wrong) => {
            let words = "That code is not right. Check that the app shows the newest code, and that its clock is right.";
            return enrol_html(here, handle, &flow, vec![ui::Problem::field("code", words)]).await;
        }
        Err(SignInError::Throttled(wait)) => {
            let words = format!("Too many tries. Wait {} and try again.", wait.words());
            let page = enrol_html(here, handle, &flow, vec![ui::Problem::field("code", words)]).await?;
            return Ok(reply::wait_for(page, wait.as_seconds()));
        }
        Err(error) => return anew(here, &flow, error.into()),
    };
    let page = if enrolled.codes.is_empty() {
        reply::see(&format!("/auth/continue?flow={handle}"))
    } else {
        let username = name_of(here, &flow).await?;
        let codes = enrolled.codes.iter().map(|code| code.expose().clone()).collect();
        codes_page(here, username, codes, Some(handle.to_owned()), false)
    };
    Ok(match enrolled.step {
        Step::Done { token, .. } => {
            reply::with_cookie(page, &cookie::set(Kind::Session, token.expose(), here.web.sessions.secure()))
        }
        Step::Owes(_) | Step::Tied => page,
    })
}

async fn name_of(here: &Here, flow: &Flow) -> Result<String, Failure> {
    let crate::domain::login::Stage::Proven(proven) = &flow.stage else { return Ok(String::new()) };
    let who = here.web.signin.person(proven.user(), &here.visit()).await?;
    Ok(who.map(|who| who.username.to_string()).unwrap_or_default())
}

fn codes_page(
    here: &Here,
    username: String,
    codes: Vec<String>,
    flow: Option<String>,
    replaced: bool,
) -> Response {
    let action = "/me/security/recovery".to_owned();
    reply::ok(
        ui::RecoveryCodes { frame: here.frame(), action, flow, username, codes, replaced, error: None }
            .render(),
    )
}

/// "I have stored them", or "make new ones".
pub(in crate::web) async fn recovery_codes(form: Posted) -> Response {
    let here = &form.here;
    if form.ticked("stored") {
        let flow = form.field("flow");
        return if flow.is_empty() {
            reply::see("/me/security")
        } else {
            reply::see(&format!("/auth/continue?flow={flow}"))
        };
    }
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    if !record.principal.enrolled || !here.web.signin.settings.recovery || !form.ticked("renew") {
        return reply::see("/me/security");
    }
    match renew(here, &record).await {
        Ok(response) => response,
        Err(failure) => failure.reply(here),
    }
}

async fn renew(here: &Here, record: &Record) -> Result<Response, Failure> {
    if let Some(response) = freshly_proven(here, record, "/me/security").await? {
        tell(here, record, "New recovery codes can be made within five minutes of entering a code.").await;
        return Ok(response);
    }
    let codes = here.web.signin.renew_codes((record.principal.user, record.id), &here.visit()).await?;
    let codes = codes.iter().map(|code| code.expose().clone()).collect();
    Ok(codes_page(here, record.principal.username.to_string(), codes, None, true))
}

/// Whether people may set one up of their own accord.
pub(super) fn offered(here: &Here) -> bool {
    here.web.snapshot.load().mfa != MfaRule::Off
}

/// Whether somebody may do without a second factor.
pub(super) fn removable(here: &Here, record: &Record) -> bool {
    !record.principal.owes_second(&here.web.snapshot.load())
}

/// Asks before an authenticator is removed.
pub(in crate::web) async fn remove_page(SignedIn(here, record): SignedIn) -> Response {
    if !record.principal.enrolled || !removable(&here, &record) {
        return reply::see("/me/security");
    }
    match freshly_proven(&here, &record, "/me/security/totp/remove").await {
        Err(failure) => failure.reply(&here),
        Ok(Some(response)) => response,
        Ok(None) => {
            let consequence =
                Some("Apps that ask for a second factor will ask you to set one up again.".to_owned());
            reply::ok(
                ui::TotpRemove {
                    frame: here.frame_of(&record),
                    consequence,
                    cancel_href: "/me/security".into(),
                }
                .render(),
            )
        }
    }
}

/// Removes the authenticator.
pub(in crate::web) async fn remove(form: Posted) -> Response {
    let here = &form.here;
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    if !record.principal.enrolled
        || !removable(here, &record)
        || !record.level.has_second(Some(FRESH), here.now)
    {
        return reply::see("/me/security");
    }
    match here.web.signin.remove_factor((record.principal.user, record.id), &here.visit()).await {
        Ok(token) => {
            tell(here, &record, "Your authenticator app is removed.").await;
            let cookie = cookie::set(Kind::Session, token.expose(), here.web.sessions.secure());
            reply::with_cookie(reply::see("/me/security"), &cookie)
        }
        Err(error) => reply::failed(here, &error),
    }
}
