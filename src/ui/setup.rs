//! The first administrator, by a one-time link.

use super::frame::{Frame, Problem, pages, problem_of, safe_href};
use super::password::PasswordRule;
use askama::Template;

/// The form of the first administrator. Posts `name`, `email`, `username`, `password` and `csrf` to `action`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "setup.html", config = "src/ui/askama.toml")]
pub struct Setup {
    /// The frame.
    pub frame: Frame,
    /// Where the form posts, normally `/setup/{token}`.
    pub action: String,
    /// Display name typed so far.
    pub name: String,
    /// E-mail typed so far.
    pub email: String,
    /// Username typed so far.
    pub username: String,
    /// Rules for the password.
    pub rules: Vec<PasswordRule>,
    /// What was wrong with the last try.
    pub problems: Vec<Problem>,
}

impl Setup {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Create the first administrator"
    }

    fn problem(&self, field: &str) -> Option<&str> {
        problem_of(&self.problems, field)
    }
}

/// One thing to do after the set-up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NextStep {
    /// What it achieves.
    pub title: String,
    /// How, in a sentence.
    pub text: String,
    /// What to put into the file or to type; empty when there is nothing.
    pub code: String,
}

impl NextStep {
    /// A step.
    #[must_use]
    pub fn new(title: impl Into<String>, text: impl Into<String>, code: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), code: code.into() }
    }
}

/// The end of the set-up.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "setup_done.html", config = "src/ui/askama.toml")]
pub struct SetupDone {
    /// The frame.
    pub frame: Frame,
    /// The administrator that exists now.
    pub username: String,
    /// Where to sign in.
    pub sign_in_href: String,
    /// What to do next, in the file and with the CLI.
    pub steps: Vec<NextStep>,
}

impl SetupDone {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "You are the first administrator"
    }

    fn sign_in_href(&self) -> &str {
        safe_href(&self.sign_in_href)
    }

    #[allow(clippy::unused_self, reason = "a template reaches functions of its page through the page")]
    fn step_id(&self, number: impl std::fmt::Display) -> String {
        format!("step-{number}")
    }

    /// The usual next steps, for a configuration in that file and people in that tenant.
    #[must_use]
    pub fn usual_steps(file: &str, tenant: &str, username: &str) -> Vec<NextStep> {
        vec![
            NextStep::new(
                "Put an app behind the gateway",
                format!("Add a route to {file}: its host, where it runs, and who may open it."),
                "[[route]]\nhost  = \"wiki.example.com\"\nto    = [\"http://10.0.4.12:8080\"]\nallow = [\"signed-in\"]",
            ),
            NextStep::new(
                "Check the file before it counts",
                "A running server takes the change by itself, and keeps the old one if the new one is wrong.",
                "cardea check",
            ),
            NextStep::new(
                "Let the first person in",
                "The command prints a one-time link with which they set their own password. An address becomes a name to \
                 sign in with when their tenant has verified its domain; until then, the username does.",
                format!("cardea user create grace --email grace@example.com --join {tenant}"),
            ),
            NextStep::new(
                "Open apps yourself",
                "An app opens to members of its tenant, and an administrator is one of them only when somebody says so.",
                format!("cardea user edit {username} --join {tenant}"),
            ),
            NextStep::new(
                "Ask why before you wonder",
                "It names the rule that decides, and what would change it.",
                "cardea explain grace https://wiki.example.com/",
            ),
        ]
    }
}

/// A set-up link that no longer works.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "setup_expired.html", config = "src/ui/askama.toml")]
pub struct SetupExpired {
    /// The frame.
    pub frame: Frame,
    /// The command that issues a new link.
    pub command: String,
}

impl SetupExpired {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "This set-up link no longer works"
    }
}

pages!(Setup, SetupDone, SetupExpired);
