//! What the gate says when it does not let somebody through, and the record of a decision.

use super::frame::{Action, Frame, Moment, pages, safe_href};
use askama::Template;

/// One clause of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clause {
    /// Whether it held.
    pub ok: bool,
    /// The clause in plain words.
    pub text: String,
    /// More about it, such as what the person has instead.
    pub detail: Option<String>,
}

impl Clause {
    /// A clause that held.
    #[must_use]
    pub fn held(text: impl Into<String>) -> Self {
        Self { ok: true, text: text.into(), detail: None }
    }

    /// A clause that did not hold.
    #[must_use]
    pub fn failed(text: impl Into<String>, detail: Option<String>) -> Self {
        Self { ok: false, text: text.into(), detail }
    }
}

/// Access denied, and why. To be answered with status 403.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "denied.html", config = "src/ui/askama.toml")]
pub struct Denied {
    /// The frame.
    pub frame: Frame,
    /// Title of the app; only for members of its tenant.
    pub app: Option<String>,
    /// Who is signed in, such as `grace@acme.example`.
    pub identity: Option<String>,
    /// More about them, such as "Acme, via Microsoft".
    pub identity_detail: Option<String>,
    /// The clauses that may be told.
    pub clauses: Vec<Clause>,
    /// Whom to ask, in a sentence.
    pub help: Option<String>,
    /// How to try with another account; absent when that cannot help.
    pub switch: Option<Action>,
    /// Where "My apps" leads; absent for people without apps.
    pub apps_href: Option<String>,
    /// Reference of the decision.
    pub reference: String,
    /// When it was made.
    pub at: Moment,
}

impl Denied {
    fn title(&self) -> String {
        match &self.app {
            Some(app) => format!("You can’t open “{app}” yet"),
            None => "You can’t open this page".to_owned(),
        }
    }
}

/// Sign-in needed, for clients that want a page but do not navigate. To be answered with status 401.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "unauthorized.html", config = "src/ui/askama.toml")]
pub struct Unauthorized {
    /// The frame.
    pub frame: Frame,
    /// Title of the app; only where it may be told.
    pub app: Option<String>,
    /// Where to sign in.
    pub sign_in_href: String,
}

impl Unauthorized {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Sign in to continue"
    }

    fn sign_in_href(&self) -> &str {
        safe_href(&self.sign_in_href)
    }
}

/// The browser did not bring back a cookie it was given.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "cookies_refused.html", config = "src/ui/askama.toml")]
pub struct CookiesRefused {
    /// The frame.
    pub frame: Frame,
    /// The host whose cookies must be allowed.
    pub host: String,
    /// Where "Try again" leads.
    pub retry_href: String,
}

impl CookiesRefused {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Your browser did not keep our cookie"
    }

    fn retry_href(&self) -> &str {
        safe_href(&self.retry_href)
    }
}

/// How a request was decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It went through.
    Allowed,
    /// It was refused.
    #[default]
    Denied,
    /// The person was asked for a stronger or fresher factor.
    StepUp,
}

impl Outcome {
    fn class(self) -> &'static str {
        match self {
            Self::Allowed => "ok",
            Self::Denied => "bad",
            Self::StepUp => "warn",
        }
    }

    fn icon(self) -> &'static str {
        match self {
            Self::Allowed => "check",
            Self::Denied => "cross",
            Self::StepUp => "key",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::Denied => "Denied",
            Self::StepUp => "Asked for a code",
        }
    }
}

/// One decision, by its reference. For the session it was made for, or an administrator in scope.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "decision.html", config = "src/ui/askama.toml")]
pub struct Decision {
    /// The frame.
    pub frame: Frame,
    /// Reference of the decision.
    pub reference: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Method of the request.
    pub method: String,
    /// Address of the request, without its query.
    pub address: String,
    /// Who asked.
    pub identity: String,
    /// Title of the app, where it may be told.
    pub app: Option<String>,
    /// The rule that decided, in words or by its place in the file.
    pub rule: Option<String>,
    /// The clauses, in the order in which they were looked at.
    pub clauses: Vec<Clause>,
    /// When it was made.
    pub at: Moment,
    /// The command that explains it to an administrator.
    pub command: Option<String>,
}

impl Decision {
    fn title(&self) -> String {
        format!("Decision {}", self.reference)
    }
}

pages!(Denied, Unauthorized, CookiesRefused, Decision);
