//! The control plane over HTTP: the portal's pages.
//!
//! Handlers are short: read, call one story of `signin` or `session`, render. Who is there is found once, before any
//! handler; a form is read in one place, which also checks that it is ours.

mod form;
mod here;
mod portal;
mod reply;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::access::{Ledger, Snapshot};
use crate::crypto::Keyring;
use crate::domain::Chance;
use crate::session::{PortalStore, Sessions};
use crate::signin::SignIn;
use crate::sys::Clock;

/// The address a request came from, after trusted proxies. Whoever calls the router puts it into the extensions.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Everything the portal needs.
#[derive(Clone)]
pub struct Web {
    /// The stories of coming in.
    pub signin: Arc<SignIn>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// What pages keep between two requests.
    pub store: Arc<PortalStore>,
    /// Routes, roles, the tree.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Our keys.
    pub keys: Arc<Keyring>,
    /// Refusals on their way to the audit log.
    pub ledger: Ledger,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// What we are told.
    pub settings: Arc<Settings>,
}

/// What this room is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The portal's origin.
    pub origin: String,
    /// The portal's host.
    pub host: String,
    /// What the installation calls itself.
    pub product_name: String,
    /// Whether this is the demo.
    pub demo: bool,
    /// The configuration file, for the page after set-up.
    pub config_file: String,
    /// The route to land on, if not the launcher.
    pub landing: Option<String>,
}

/// The portal as a service.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(portal::home))
        .route("/sign-in", get(portal::sign_in::identifier).post(portal::sign_in::identify))
        .route("/sign-in/password", get(portal::sign_in::password_page).post(portal::sign_in::password))
        .route("/sign-in/verify", get(portal::sign_in::verify_page).post(portal::sign_in::verify))
        .route("/sign-in/recovery", get(portal::sign_in::recovery_page).post(portal::sign_in::recovery))
        .route("/auth/continue", get(portal::onward::continue_page))
        .route("/auth/start/{provider}", get(portal::federation::start))
        .route(
            "/auth/sso-callback/{provider}",
            get(portal::federation::answered).post(portal::federation::posted),
        )
        .route(
            "/auth/sso-callback",
            get(portal::federation::answered_bare).post(portal::federation::posted_bare),
        )
        .route("/auth/oidc/{provider}/backchannel-logout", post(portal::logout::backchannel))
        .route("/auth/saml/{provider}/metadata", get(portal::saml::metadata))
        .route("/auth/finish", get(portal::federation::finish))
        .route("/auth/oidc/{provider}/jwks.json", get(portal::federation::client_keys))
        .route("/auth/link/{provider}", get(portal::ties::link_page).post(portal::ties::link))
        .route("/auth/unlink/{provider}", get(portal::ties::unlink_page).post(portal::ties::unlink))
        .route("/apps", get(portal::apps::launcher))
        .route("/me", get(portal::account::overview))
        .route("/me/security", get(portal::account::overview))
        .route("/me/security/totp", get(portal::factors::enrol_page).post(portal::factors::enrol))
        .route("/me/security/totp/remove", get(portal::factors::remove_page).post(portal::factors::remove))
        .route("/me/security/recovery", post(portal::factors::recovery_codes))
        .route("/me/sessions", get(portal::account::sessions))
        .route("/me/sessions/revoke-others", post(portal::account::revoke_others))
        .route("/me/sessions/{id}/revoke", post(portal::account::revoke))
        .route("/password/change", get(portal::password::change_page).post(portal::password::change))
        .route("/password/set/{token}", get(portal::password::set_page).post(portal::password::set))
        .route("/setup/{token}", get(portal::setup::page).post(portal::setup::complete))
        .route("/sign-out", get(portal::sign_out::ask).post(portal::sign_out::sign_out))
        .route("/signed-out", get(portal::sign_out::signed_out))
        .route("/denied", get(portal::denied))
        .route("/assets/{name}", get(portal::asset))
        .route("/.well-known/cardea/jwks.json", get(portal::jwks))
        .fallback(portal::not_found)
        .method_not_allowed_fallback(portal::method_not_allowed)
        .layer(from_fn_with_state(web.clone(), here::find))
        .with_state(web)
}
