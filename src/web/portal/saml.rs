//! What SAML providers have browsers post, and what they read of us.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::signin::Returned;
use crate::ui::{Continue, ErrorKind, headers};
use crate::web::here::Here;
use crate::web::reply;

/// Whether a form is a SAML message rather than an answer of OpenID Connect.
pub(super) fn is_response(body: &[u8]) -> bool {
    form_urlencoded::parse(body).any(|(name, _)| name == "SAMLResponse" || name == "SAMLRequest")
}

/// Takes a response (Bindings §3.5): exactly one, with the `RelayState` that it was asked with.
pub(super) async fn posted(here: &Here, provider: Option<&str>, body: &[u8]) -> Response {
    let Some((response, relay_state)) = read(body) else { return reply::start_again(here) };
    match here.web.signin.returned_saml(provider, response, &relay_state, &here.visit()).await {
        Ok(Returned::Arrived) => {
            // No cookie comes with a form of another site. The page leads to one of ours, where it does.
            let href = format!("/auth/finish?flow={relay_state}");
            reply::ok(Continue { frame: here.frame(), to: "your sign-in".into(), href }.render())
        }
        Ok(Returned::Rehearsed | Returned::Stepped(_)) => reply::start_again(here),
        Err(error) => reply::failed(here, &error),
    }
}

/// `SAMLResponse` and `RelayState`. `None` when one is there twice, or none: two programs would read two things (`SAML-42`).
fn read(body: &[u8]) -> Option<(String, String)> {
    let (mut response, mut relay_state) = (None, None);
    for (name, value) in form_urlencoded::parse(body) {
        let place = match &*name {
            "SAMLResponse" => &mut response,
            "RelayState" => &mut relay_state,
            "SAMLRequest" => return None,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    Some((response?, relay_state?))
}

/// Our metadata for a provider.
pub(in crate::web) async fn metadata(
    here: Here,
    Path(provider): Path<String>,
    headers: HeaderMap,
) -> Response {
    let metadata = match here.web.signin.saml_metadata(&provider, &here.visit()).await {
        Ok(Some(metadata)) => metadata,
        Ok(None) => return reply::problem(&here, &headers, ErrorKind::NotFound),
        Err(error) => return reply::failed(&here, &error),
    };
    let mut response = metadata.into_response();
    reply::dress(response.headers_mut(), &headers::DATA);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/samlmetadata+xml; charset=utf-8"),
    );
    response
}
