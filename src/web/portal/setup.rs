//! The first administrator, by the set-up link.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::password::{chosen, rules};
use crate::domain::{EmailAddress, PersonName, Username};
use crate::protocol::password::Broken;
use crate::signin::{LinkState, NewAdministrator, SignInError};
use crate::store::DbError;
use crate::store::links::Purpose;
use crate::ui::{self, Problem};
use crate::web::form::Posted;
use crate::web::here::Here;
use crate::web::reply::{self, Failure};

/// The page of the link. Looking does not use it.
pub(in crate::web) async fn page(here: Here, Path(token): Path<String>) -> Response {
    show(&here, &token, None, None, Vec::new()).await.unwrap_or_else(|failure| failure.reply(&here))
}

async fn show(
    here: &Here,
    token: &str,
    form: Option<&Posted>,
    broken: Option<&[Broken]>,
    problems: Vec<Problem>,
) -> Result<Response, Failure> {
    let state = here.web.signin.link(token, Purpose::Setup, &here.visit()).await?;
    if !matches!(state, LinkState::Open(..)) {
        let page = ui::SetupExpired { frame: here.frame(), command: "cardea admin invite".into() };
        return Ok(reply::page(StatusCode::GONE, page.render()));
    }
    let field = |name: &str| form.map(|form| form.field(name).to_owned()).unwrap_or_default();
    let page = ui::Setup {
        frame: here.frame(),
        action: format!("/setup/{token}"),
        name: field("name"),
        email: field("email"),
        username: field("username"),
        rules: rules(here, broken),
        problems,
    };
    Ok(reply::ok(page.render()))
}

/// The filled form.
pub(in crate::web) async fn complete(Path(token): Path<String>, form: Posted) -> Response {
    complete_inner(&token, &form).await.unwrap_or_else(|failure| failure.reply(&form.here))
}

async fn complete_inner(token: &str, form: &Posted) -> Result<Response, Failure> {
    let here = &form.here;
    let mut problems = Vec::new();
    let mut note = |field: &str, why: &dyn std::fmt::Display| {
        problems.push(Problem::field(field, sentence(&why.to_string())));
    };
    let name = PersonName::parse(form.field("name")).map_err(|why| note("name", &why)).ok();
    let email = match form.field("email").trim() {
        "" => None,
        text => EmailAddress::parse(text).map_err(|why| note("email", &why)).ok(),
    };
    let username = Username::parse(form.field("username")).map_err(|why| note("username", &why)).ok();
    let own = username.as_ref().map_or("", Username::as_str);
    let password = chosen(form, (own, form.field("name")), email.as_ref().map(EmailAddress::as_str));
    let broken = match &password {
        Ok(_) => Vec::new(),
        Err((broken, more)) => {
            problems.extend(more.clone());
            broken.clone()
        }
    };
    let (Some(name), Some(username), Ok(password), true) = (name, username, password, problems.is_empty())
    else {
        return show(here, token, Some(form), Some(&broken), problems).await;
    };
    let new = NewAdministrator { name, email, username: username.clone(), password };
    match here.web.signin.set_up(token, &new, &here.visit()).await {
        Ok(_) => {
            let snapshot = here.web.snapshot.load();
            let tenant = snapshot.tenants().map(|tenant| tenant.slug.as_str()).min().unwrap_or("default");
            let page = ui::SetupDone {
                frame: here.frame(),
                username: username.to_string(),
                sign_in_href: "/sign-in?notice=set-up".into(),
                steps: ui::SetupDone::usual_steps(&here.web.settings.config_file, tenant, username.as_str()),
            };
            Ok(reply::ok(page.render()))
        }
        Err(SignInError::Stale) => show(here, token, Some(form), None, Vec::new()).await,
        Err(SignInError::Db(DbError::Conflict(_))) => {
            let taken = vec![Problem::field("username", "That username is taken. Choose another.")];
            show(here, token, Some(form), None, taken).await
        }
        Err(error) => Err(error.into()),
    }
}

/// A cause as a sentence: "A username has …".
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}
