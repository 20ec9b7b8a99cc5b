//! The steps of signing in: who, password, second factor, recovery code, tenant, and on to the app.

use super::frame::{Frame, pages, safe_href};
use askama::Template;

/// Where the person was heading when they were asked to sign in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// Title of the app.
    pub title: String,
    /// Its host.
    pub host: String,
}

/// A button that begins a sign-in at an identity provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// Name on the button.
    pub name: String,
    /// Where it leads.
    pub href: String,
    /// Whether it did not answer a moment ago.
    pub away: bool,
}

impl Provider {
    fn href(&self) -> &str {
        safe_href(&self.href)
    }
}

/// Step one: who is it? Posts `identifier`, `return_to` and `csrf` to `/sign-in`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "sign_in.html", config = "src/ui/askama.toml")]
pub struct SignIn {
    /// The frame.
    pub frame: Frame,
    /// What was typed before, kept after an error.
    pub identifier: String,
    /// Sealed token that says where to go afterwards.
    pub return_to: String,
    /// The app that is waiting, if one is.
    pub destination: Option<Destination>,
    /// Identity providers on offer.
    pub providers: Vec<Provider>,
    /// Why the last try did not work.
    pub error: Option<String>,
    /// Something to know that is no error, such as "You were signed out after 8 hours".
    pub notice: Option<String>,
}

impl SignIn {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Sign in"
    }
}

/// Step two: the password. Posts `password`, `flow` and `csrf` to `/sign-in/password`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "password.html", config = "src/ui/askama.toml")]
pub struct Password {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that is under way.
    pub flow: String,
    /// What the person typed in step one; shown, not asked again.
    pub identifier: String,
    /// Where "Change" leads.
    pub change_href: String,
    /// The app that is waiting, if one is.
    pub destination: Option<Destination>,
    /// Why the last try did not work.
    pub error: Option<String>,
}

impl Password {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Enter your password"
    }
}

/// Step three: a code of the authenticator app. Posts `code`, `flow` and `csrf` to `/sign-in/verify`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "verify.html", config = "src/ui/askama.toml")]
pub struct Verify {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that is under way.
    pub flow: String,
    /// Whose code is asked for.
    pub identifier: String,
    /// Why a code is asked for now, such as "Reports asks for a fresh code."
    pub reason: Option<String>,
    /// Where "Use a recovery code" leads; absent when there are no recovery codes to use.
    pub recovery_href: Option<String>,
    /// Where "Cancel" leads.
    pub cancel_href: String,
    /// Why the last try did not work.
    pub error: Option<String>,
}

impl Verify {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Enter your code"
    }
}

/// Instead of step three: a recovery code. Posts `code`, `flow` and `csrf` to `/sign-in/recovery`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "recovery.html", config = "src/ui/askama.toml")]
pub struct Recovery {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that is under way.
    pub flow: String,
    /// Whose code is asked for.
    pub identifier: String,
    /// Where "Use your authenticator app instead" leads.
    pub verify_href: String,
    /// Where "Cancel" leads.
    pub cancel_href: String,
    /// Why the last try did not work.
    pub error: Option<String>,
}

impl Recovery {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Use a recovery code"
    }
}

/// One tenant to choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantOption {
    /// Value that the form sends.
    pub value: String,
    /// Its name.
    pub name: String,
    /// What the person is there, such as "analyst, viewer".
    pub roles: String,
    /// When they last used it, in words.
    pub last_used: Option<String>,
    /// Why it cannot be chosen, if it cannot.
    pub unavailable: Option<String>,
    /// Whether it is chosen already.
    pub selected: bool,
}

/// The tenant chooser. Posts `tenant`, `remember` (when ticked), `flow` and `csrf` to `/sign-in/tenant`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "tenant.html", config = "src/ui/askama.toml")]
pub struct TenantChoice {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that is under way.
    pub flow: String,
    /// Who is choosing.
    pub identifier: String,
    /// The tenants, in the order in which they are shown.
    pub tenants: Vec<TenantOption>,
    /// Whether to offer "Remember my choice".
    pub can_remember: bool,
    /// Where "Cancel" leads.
    pub cancel_href: String,
    /// Why the last try did not work.
    pub error: Option<String>,
}

impl TenantChoice {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Choose where to work"
    }
}

/// "Taking you to Reports…". Must be answered with status 200: a redirect would still belong to the form that led
/// here, and browsers stop a form from leaving the host.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "continue.html", config = "src/ui/askama.toml")]
pub struct Continue {
    /// The frame.
    pub frame: Frame,
    /// Title of the app, or of the place, such as "your apps".
    pub to: String,
    /// Where to go.
    pub href: String,
}

impl Continue {
    fn title(&self) -> String {
        format!("Taking you to {}…", self.to)
    }

    fn refresh(&self) -> String {
        format!("0; url={}", safe_href(&self.href))
    }
}

pages!(SignIn, Password, Verify, Recovery, TenantChoice, Continue);
