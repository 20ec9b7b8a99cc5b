//! The way to an identity provider and back.

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};

use super::query;
use super::sign_in::{bounded, stepped};
use super::ties::tied;
use crate::domain::Slug;
use crate::domain::login::Purpose;
use crate::signin::{Departure, Response as Answer, Returned, Step};
use crate::ui::{Continue, ErrorKind, Rehearsed};
use crate::web::here::Here;
use crate::web::{Web, reply};

/// The most bytes of an answer that a browser posts: SAML's are large.
const MOST: usize = 400 * 1024;
/// The most of one of OpenID Connect.
const MOST_PLAIN: usize = 64 * 1024;

/// What is asked of a provider about somebody who is signed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Nothing: nobody is.
    No,
    /// That they sign in there, too.
    There,
    /// That they prove anew who they are.
    Anew,
}

/// The address of a sign-in at a provider.
pub(super) fn start_path(provider: &str, return_to: &str, hint: Option<&str>, again: Again) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    if !return_to.is_empty() {
        pairs.append_pair("return_to", return_to);
    }
    if let Some(hint) = hint {
        pairs.append_pair("login_hint", hint);
    }
    match again {
        Again::No => {}
        Again::There => drop(pairs.append_pair("again", "there")),
        Again::Anew => drop(pairs.append_pair("again", "1")),
    }
    let query = pairs.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/auth/start/{provider}{mark}{query}")
}

/// Begins a sign-in at a provider.
pub(in crate::web) async fn start(
    here: Here,
    Path(provider): Path<String>,
    raw: RawQuery,
    headers: HeaderMap,
) -> Response {
    // Nothing that is no name gets into an address of ours.
    let Ok(provider) = Slug::parse(&provider) else {
        return reply::problem(&here, &headers, ErrorKind::NotFound);
    };
    let provider = provider.as_str();
    let return_to = bounded(&query(&raw, "return_to").unwrap_or_default());
    let hint = query(&raw, "login_hint").filter(|hint| hint.len() <= 254);
    let again = match query(&raw, "again").as_deref() {
        None => Again::No,
        Some("there") => Again::There,
        Some(_) => Again::Anew,
    };
    if !here.returning {
        // Nothing is written for a browser that has not shown that it keeps the cookie which the sign-in is bound to.
        if query(&raw, "cookie").is_some() {
            return reply::cookies_refused(&here);
        }
        let mut href = match query(&raw, "rehearsal") {
            Some(handle) if handle.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
                format!("/auth/start/{provider}?rehearsal={handle}")
            }
            _ => start_path(provider, &return_to, hint.as_deref(), again),
        };
        href.push_str(if href.contains('?') { "&cookie=1" } else { "?cookie=1" });
        return reply::ok(Continue { frame: here.frame(), to: "your sign-in".into(), href }.render());
    }
    // An operator tries the provider; whoever is signed in here has nothing to do with it.
    if let Some(handle) = query(&raw, "rehearsal") {
        let browser = here.browser_digest();
        return match here.web.signin.depart_rehearsal(&handle, provider, &browser, &here.visit()).await {
            Ok(address) => reply::see(&address),
            Err(error) => reply::failed(&here, &error),
        };
    }
    let purpose = match &here.record {
        None => Purpose::SignIn,
        Some(record) if again != Again::No => Purpose::StepUp { session: record.id },
        Some(record) => return super::onward::follow(&here, record, &return_to).await,
    };
    let anew = again == Again::Anew;
    let to = Departure { provider, purpose, return_to: &return_to, login_hint: hint.as_deref(), anew };
    match here.web.signin.depart(&to, &here.browser_digest(), &here.visit()).await {
        Ok(address) => reply::see(&address),
        Err(error) => reply::failed(&here, &error),
    }
}

/// Our public keys for one provider, which it asks for where we prove with a key who we are.
pub(in crate::web) async fn client_keys(
    State(web): State<Web>,
    here: Here,
    Path(provider): Path<String>,
    headers: HeaderMap,
) -> Response {
    match web.signin.federation.client_keys(&provider) {
        Some(keys) => {
            let kind = (header::CONTENT_TYPE, "application/json");
            ([kind, (header::CACHE_CONTROL, "public, max-age=300")], keys.to_string()).into_response()
        }
        None => reply::problem(&here, &headers, ErrorKind::NotFound),
    }
}

/// A provider's answer, at its own address.
pub(in crate::web) async fn answered(here: Here, Path(provider): Path<String>, raw: RawQuery) -> Response {
    returned(&here, Some(&provider), &raw).await
}

/// A provider's answer at the address of all: taken only if it says whom it is from.
pub(in crate::web) async fn answered_bare(here: Here, raw: RawQuery) -> Response {
    returned(&here, None, &raw).await
}

async fn returned(here: &Here, provider: Option<&str>, raw: &RawQuery) -> Response {
    let Some(answer) = read(raw.0.as_deref().unwrap_or_default().as_bytes()) else {
        return reply::start_again(here);
    };
    let browser = here.browser_digest();
    match here.web.signin.returned(provider, &answer, Some(&browser), &here.visit()).await {
        Ok(Returned::Stepped(Step::Tied)) => tied(here).await,
        Ok(Returned::Stepped(step)) => stepped(here, answer.state.as_deref().unwrap_or_default(), &step),
        Ok(Returned::Arrived) => reply::start_again(here),
        Ok(Returned::Rehearsed) => reply::ok(Rehearsed { frame: here.frame() }.render()),
        Err(error) => reply::failed(here, &error),
    }
}

/// A provider's answer in a form that its page had the browser post here.
pub(in crate::web) async fn posted(here: Here, Path(provider): Path<String>, request: Request) -> Response {
    posted_inner(&here, Some(&provider), request).await
}

/// The same at the address of all.
pub(in crate::web) async fn posted_bare(here: Here, request: Request) -> Response {
    posted_inner(&here, None, request).await
}

async fn posted_inner(here: &Here, provider: Option<&str>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let typed = parts.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    if typed.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return reply::problem(here, &parts.headers, ErrorKind::BadRequest);
    }
    let Ok(body) = Limited::new(body, MOST).collect().await else {
        return reply::problem(here, &parts.headers, ErrorKind::TooLarge);
    };
    let body = body.to_bytes();
    if super::saml::is_response(&body) {
        return super::saml::posted(here, provider, &body).await;
    }
    if body.len() > MOST_PLAIN {
        return reply::problem(here, &parts.headers, ErrorKind::TooLarge);
    }
    let Some(answer) = read(&body) else { return reply::start_again(here) };
    // No cookie comes with a form of another site. The page leads to one of ours, where it does.
    match here.web.signin.returned(provider, &answer, None, &here.visit()).await {
        Ok(Returned::Arrived) => {
            let href = format!("/auth/finish?flow={}", answer.state.as_deref().unwrap_or_default());
            reply::ok(Continue { frame: here.frame(), to: "your sign-in".into(), href }.render())
        }
        Ok(Returned::Rehearsed) => reply::ok(Rehearsed { frame: here.frame() }.render()),
        Ok(Returned::Stepped(_)) => reply::start_again(here),
        Err(error) => reply::failed(here, &error),
    }
}

/// The end of an answer that was posted: the browser shows that it began the sign-in.
pub(in crate::web) async fn finish(here: Here, raw: RawQuery) -> Response {
    let Some(flow) = query(&raw, "flow") else { return reply::start_again(&here) };
    match here.web.signin.finish(&flow, &here.browser_digest(), &here.visit()).await {
        Ok(Step::Tied) => tied(&here).await,
        Ok(step) => stepped(&here, &flow, &step),
        Err(error) => reply::failed(&here, &error),
    }
}

/// The parts of an answer. `None` when one is there twice: two programs would read two things.
fn read(text: &[u8]) -> Option<Answer> {
    let mut answer = Answer::default();
    for (name, value) in form_urlencoded::parse(text) {
        let place = match &*name {
            "state" => &mut answer.state,
            "code" => &mut answer.code,
            "iss" => &mut answer.iss,
            "error" => &mut answer.error,
            "error_description" => &mut answer.error_description,
            "id_token" | "access_token" => {
                answer.tokens = true;
                continue;
            }
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    Some(answer)
}
