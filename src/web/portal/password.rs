//! Changing a password, and setting one by a one-time link.

use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::Response;

use super::sign_in::stepped;
use super::{moment, query};
use crate::access::Principal;
use crate::domain::login::{Owed, Stage};
use crate::domain::{EmailAddress, Password};
use crate::protocol::password::Broken;
use crate::session::cookie::{self, Kind};
use crate::signin::{LinkState, SignInError};
use crate::store::flows::Flow;
use crate::store::links::Purpose;
use crate::ui::{self, PasswordRule, Problem};
use crate::web::form::Posted;
use crate::web::here::Here;
use crate::web::reply::{self, Failure};

/// The rules, as a list for the page; after a try, with what was kept.
pub(super) fn rules(here: &Here, broken: Option<&[Broken]>) -> Vec<PasswordRule> {
    let policy = here.web.signin.settings.policy;
    let rule = |text: String, which: Broken| PasswordRule {
        text,
        kept: broken.map(|broken| !broken.contains(&which)),
    };
    let mut rules = vec![
        rule(format!("At least {} characters", policy.min_length.max(8)), Broken::Short),
        rule("Not made of your own name or address".into(), Broken::Personal),
    ];
    if policy.check_common {
        rules.insert(1, rule("Not one that everybody tries first".into(), Broken::Common));
    }
    rules
}

/// What is wrong with a new password, for the page.
pub(super) fn problems(broken: &[Broken]) -> Vec<Problem> {
    let words = |broken: &Broken| match broken {
        Broken::Common => "Too many people use this password, or one like it. Choose another.",
        Broken::Personal => "This password is made of your own name. Choose another.",
        Broken::Short => "This password is too short.",
    };
    broken.iter().map(|broken| Problem::field("password", words(broken))).collect()
}

/// The new password of a form, if it will do for somebody of that username and name.
pub(super) fn chosen(
    form: &Posted,
    names: (&str, &str),
    email: Option<&str>,
) -> Result<Password, (Vec<Broken>, Vec<Problem>)> {
    let password = Password::parse(form.field("password"))
        .map_err(|why| (vec![Broken::Short], vec![Problem::field("password", format!("{why}."))]))?;
    let broken = form.here.web.signin.unfit(&password, names, email);
    if broken.is_empty() { Ok(password) } else { Err((broken.clone(), problems(&broken))) }
}

/// The same for somebody whose records were read. The address counts whether or not it is verified.
fn chosen_by(form: &Posted, who: &Principal) -> Result<Password, (Vec<Broken>, Vec<Problem>)> {
    let email = who.contact.as_ref().map(EmailAddress::as_str);
    chosen(form, (who.username.as_str(), who.name.as_str()), email)
}

/// The page for a new password: within a sign-in that owes one, or for somebody signed in.
pub(in crate::web) async fn change_page(here: Here, raw: RawQuery) -> Response {
    let page = match query(&raw, "flow") {
        Some(handle) => forced_page(&here, &handle, None, Vec::new()).await,
        None => match here.record.clone() {
            Some(record) => {
                Ok(reply::ok(voluntary(&here, record.principal.username.as_str(), None, Vec::new())))
            }
            None => Ok(reply::see("/sign-in?return_to=%2Fpassword%2Fchange")),
        },
    };
    page.unwrap_or_else(|failure: Failure| failure.reply(&here))
}

fn voluntary(here: &Here, username: &str, broken: Option<&[Broken]>, problems: Vec<Problem>) -> String {
    let mut frame = here.frame();
    if let Some(record) = &here.record {
        frame = here.frame_of(record);
    }
    ui::PasswordChange {
        frame,
        flow: None,
        username: username.to_owned(),
        forced: None,
        ask_current: true,
        sign_out_others: true,
        rules: rules(here, broken),
        problems,
    }
    .render()
}

async fn forced_page(
    here: &Here,
    handle: &str,
    broken: Option<&[Broken]>,
    problems: Vec<Problem>,
) -> Result<Response, Failure> {
    let (_, who) = owing(here, handle).await?;
    let page = ui::PasswordChange {
        frame: here.frame(),
        flow: Some(handle.to_owned()),
        username: who.username.to_string(),
        forced: Some("Your password was set by somebody else. Choose one that only you know.".into()),
        ask_current: false,
        sign_out_others: true,
        rules: rules(here, broken),
        problems,
    };
    Ok(reply::ok(page.render()))
}

/// A flow that owes a new password, with the person.
async fn owing(here: &Here, handle: &str) -> Result<(Flow, Principal), Failure> {
    let flow = here.web.signin.flow(handle, &here.browser_digest(), &here.visit()).await?;
    let Stage::Proven(proven) = &flow.stage else { return Err(Failure::Stale) };
    if here.web.signin.owes(&flow, &here.visit()).await? != Some(Owed::NewPassword) {
        return Err(Failure::Stale);
    }
    let who = here.web.signin.person(proven.user(), &here.visit()).await?.ok_or(Failure::Stale)?;
    Ok((flow, who))
}

/// A new password.
pub(in crate::web) async fn change(form: Posted) -> Response {
    let changed =
        if form.field("flow").is_empty() { change_own(&form).await } else { change_forced(&form).await };
    changed.unwrap_or_else(|failure| failure.reply(&form.here))
}

async fn change_forced(form: &Posted) -> Result<Response, Failure> {
    let (here, handle) = (&form.here, form.field("flow"));
    let (flow, who) = owing(here, handle).await?;
    let password = match chosen_by(form, &who) {
        Ok(password) => password,
        Err((broken, problems)) => return forced_page(here, handle, Some(&broken), problems).await,
    };
    match here.web.signin.forced_change(&flow, &password, &here.visit()).await {
        Ok(step) => Ok(stepped(here, handle, &step)),
        Err(SignInError::Same) => {
            let same =
                vec![Problem::field("password", "This is the password that you were given. Choose another.")];
            forced_page(here, handle, None, same).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn change_own(form: &Posted) -> Result<Response, Failure> {
    let here = &form.here;
    let Some(record) = here.record.clone() else {
        return Ok(reply::see("/sign-in?return_to=%2Fpassword%2Fchange"));
    };
    let who = &record.principal;
    let refuse = |broken: Option<&[Broken]>, problems| {
        Ok(reply::ok(voluntary(here, who.username.as_str(), broken, problems)))
    };
    let wrong = || vec![Problem::field("current", "That is not your present password.")];
    let Ok(current) = Password::parse(form.field("current")) else { return refuse(None, wrong()) };
    let new = match chosen_by(form, who) {
        Ok(new) => new,
        Err((broken, problems)) => return refuse(Some(&broken), problems),
    };
    let ids = (who.user, record.id);
    match here
        .web
        .signin
        .change_password(ids, &current, &new, form.ticked("sign_out_others"), &here.visit())
        .await
    {
        Ok(token) => {
            super::account::tell(here, &record, "Your password is changed.").await;
            let cookie = cookie::set(Kind::Session, token.expose(), here.web.sessions.secure());
            Ok(reply::with_cookie(reply::see("/me/security"), &cookie))
        }
        Err(SignInError::Wrong) => refuse(None, wrong()),
        Err(SignInError::Same) => {
            let same = "This is your present password. Choose another.";
            refuse(None, vec![Problem::field("password", same)])
        }
        Err(SignInError::Throttled(wait)) => {
            let words = format!("Too many tries. Wait {} and try again.", wait.words());
            let page = refuse(None, vec![Problem::field("current", words)])?;
            Ok(reply::wait_for(page, wait.as_seconds()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The page of a one-time link.
pub(in crate::web) async fn set_page(here: Here, Path(token): Path<String>) -> Response {
    set_html(&here, &token, None, Vec::new()).await.unwrap_or_else(|failure| failure.reply(&here))
}

async fn set_html(
    here: &Here,
    token: &str,
    broken: Option<&[Broken]>,
    problems: Vec<Problem>,
) -> Result<Response, Failure> {
    let dead = |problem, status| {
        let page = ui::PasswordLinkDead { frame: here.frame(), problem, sign_in_href: "/sign-in".into() };
        Ok(reply::page(status, page.render()))
    };
    match here.web.signin.link(token, Purpose::Password, &here.visit()).await? {
        LinkState::Open(until, Some(user)) => {
            let page = ui::PasswordSet {
                frame: here.frame(),
                action: format!("/password/set/{token}"),
                username: user.username.to_string(),
                expires: Some(moment(until)),
                rules: rules(here, broken),
                problems,
            };
            Ok(reply::ok(page.render()))
        }
        LinkState::Expired => dead(ui::LinkProblem::Expired, StatusCode::GONE),
        LinkState::Used => dead(ui::LinkProblem::Used, StatusCode::GONE),
        LinkState::Open(_, None) | LinkState::Unknown => {
            dead(ui::LinkProblem::Unknown, StatusCode::NOT_FOUND)
        }
    }
}

/// The password of a one-time link. The person then signs in with it.
pub(in crate::web) async fn set(Path(token): Path<String>, form: Posted) -> Response {
    set_inner(&token, &form).await.unwrap_or_else(|failure| failure.reply(&form.here))
}

async fn set_inner(token: &str, form: &Posted) -> Result<Response, Failure> {
    let here = &form.here;
    let LinkState::Open(_, Some(user)) =
        here.web.signin.link(token, Purpose::Password, &here.visit()).await?
    else {
        return set_html(here, token, None, Vec::new()).await;
    };
    let email = user.email.as_ref().map(EmailAddress::as_str);
    let password = match chosen(form, (user.username.as_str(), user.name.as_str()), email) {
        Ok(password) => password,
        Err((broken, problems)) => return set_html(here, token, Some(&broken), problems).await,
    };
    match here.web.signin.set_password_by_link(token, &password, &here.visit()).await {
        Ok(_) => Ok(reply::see("/sign-in?notice=password-set")),
        Err(SignInError::Same) => {
            let same = "This is the present password. Choose another.";
            set_html(here, token, None, vec![Problem::field("password", same)]).await
        }
        Err(error) => Err(error.into()),
    }
}
