//! Changing a password, and setting one by a one-time link.

use super::frame::{Frame, Problem, pages, problem_of, safe_href};
use askama::Template;

/// One rule for new passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordRule {
    /// The rule in words.
    pub text: String,
    /// Whether the last try kept it; absent before the first try.
    pub kept: Option<bool>,
}

impl PasswordRule {
    /// A rule nothing was measured against yet.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), kept: None }
    }
}

/// The password change. Posts `current` (when asked), `password`, `sign_out_others` (when ticked) and `csrf` to
/// `/password/change`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "password_change.html", config = "src/ui/askama.toml")]
pub struct PasswordChange {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that cannot go on without the change; sent back as `flow`.
    pub flow: Option<String>,
    /// Sign-in name, for the password manager.
    pub username: String,
    /// Why the change must happen now; absent when the person came by themselves.
    pub forced: Option<String>,
    /// Whether the current password is asked for.
    pub ask_current: bool,
    /// Whether "Sign out my other sessions" is ticked.
    pub sign_out_others: bool,
    /// Rules for the new password.
    pub rules: Vec<PasswordRule>,
    /// What was wrong with the last try.
    pub problems: Vec<Problem>,
}

impl PasswordChange {
    fn title(&self) -> &'static str {
        if self.forced.is_some() { "Choose a new password" } else { "Change your password" }
    }

    fn problem(&self, field: &str) -> Option<&str> {
        problem_of(&self.problems, field)
    }
}

/// Setting a password by a one-time link. Posts `password` and `csrf` to `action`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "password_set.html", config = "src/ui/askama.toml")]
pub struct PasswordSet {
    /// The frame.
    pub frame: Frame,
    /// Where the form posts, normally `/password/set/{token}`.
    pub action: String,
    /// Whose password it is.
    pub username: String,
    /// Until when the link works.
    pub expires: Option<super::frame::Moment>,
    /// Rules for the password.
    pub rules: Vec<PasswordRule>,
    /// What was wrong with the last try.
    pub problems: Vec<Problem>,
}

impl PasswordSet {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Set your password"
    }

    fn problem(&self, field: &str) -> Option<&str> {
        problem_of(&self.problems, field)
    }
}

/// Why a one-time link does not work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkProblem {
    /// Its time is over.
    #[default]
    Expired,
    /// Somebody used it.
    Used,
    /// It is none of ours, or a newer one replaced it.
    Unknown,
}

/// A one-time link that no longer works.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "password_link_dead.html", config = "src/ui/askama.toml")]
pub struct PasswordLinkDead {
    /// The frame.
    pub frame: Frame,
    /// Why.
    pub problem: LinkProblem,
    /// Where to sign in.
    pub sign_in_href: String,
}

impl PasswordLinkDead {
    fn title(&self) -> &'static str {
        match self.problem {
            LinkProblem::Expired => "This link has expired",
            LinkProblem::Used => "This link was already used",
            LinkProblem::Unknown => "This link does not work",
        }
    }

    fn text(&self) -> &'static str {
        match self.problem {
            LinkProblem::Expired => {
                "One-time links work for a short while only. Ask for a new one where you got this one."
            }
            LinkProblem::Used => {
                "A one-time link works once. If it was you, sign in with your new password. If it was not, tell the \
                 people who run this service now and ask for a new link."
            }
            LinkProblem::Unknown => {
                "It may be cut off or replaced by a newer one. Copy the whole link once more, or ask for a new one \
                 where you got it."
            }
        }
    }

    fn sign_in_href(&self) -> &str {
        safe_href(&self.sign_in_href)
    }
}

pages!(PasswordChange, PasswordSet, PasswordLinkDead);
