//! The second factor: setting up an authenticator app, removing it, and recovery codes.

use super::frame::{Frame, Problem, pages, problem_of};
use super::qr::QrCode;
use askama::Template;

/// Setting up an authenticator app. Posts `code`, `enrol_code` (when asked), `flow` (when present) and `csrf` to
/// `/me/security/totp`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "totp.html", config = "src/ui/askama.toml")]
pub struct TotpEnrol {
    /// The frame.
    pub frame: Frame,
    /// Reference of the sign-in that cannot go on without a second factor; sent back as `flow`.
    pub flow: Option<String>,
    /// Why it must happen now; absent when the person came by themselves.
    pub forced: Option<String>,
    /// Whether this takes the place of an authenticator that exists.
    pub replacing: bool,
    /// The code to scan; absent when the address was too long to draw.
    pub qr: Option<QrCode>,
    /// The key in base32, without spaces.
    pub key: String,
    /// The name under which the app will list it.
    pub account: String,
    /// Whether a code from an administrator is asked for, as it is after a reset.
    pub ask_enrol_code: bool,
    /// Where "Cancel" leads; absent when the set-up is forced.
    pub cancel_href: Option<String>,
    /// What was wrong with the last try: fields `code` and `enrol_code`.
    pub problems: Vec<Problem>,
}

impl TotpEnrol {
    fn title(&self) -> &'static str {
        if self.replacing { "Replace your authenticator app" } else { "Set up an authenticator app" }
    }

    fn problem(&self, field: &str) -> Option<&str> {
        problem_of(&self.problems, field)
    }

    /// Groups of four are what people can carry from a screen to a telephone.
    fn key_groups(&self) -> Vec<String> {
        let letters: Vec<char> = self.key.chars().collect();
        letters.chunks(4).map(|group| group.iter().collect()).collect()
    }
}

/// The question before an authenticator app is removed. Posts `csrf` to `/me/security/totp/remove`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "totp_remove.html", config = "src/ui/askama.toml")]
pub struct TotpRemove {
    /// The frame.
    pub frame: Frame,
    /// What is lost with it, such as "Reports and Grafana ask for a code".
    pub consequence: Option<String>,
    /// Where "Keep it" leads.
    pub cancel_href: String,
}

impl TotpRemove {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Remove your authenticator app?"
    }
}

/// New recovery codes, shown once. Posts `stored` and `csrf` to `action`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "recovery_codes.html", config = "src/ui/askama.toml")]
pub struct RecoveryCodes {
    /// The frame.
    pub frame: Frame,
    /// Where "Done" posts, normally `/me/security/recovery`.
    pub action: String,
    /// Reference of the sign-in that goes on afterwards; sent back as `flow`.
    pub flow: Option<String>,
    /// Sign-in name, so that a print-out says whose codes it holds.
    pub username: String,
    /// The codes.
    pub codes: Vec<String>,
    /// Whether codes of an earlier set just stopped working.
    pub replaced: bool,
    /// Why "Done" did not work, such as a box not ticked.
    pub error: Option<String>,
}

impl RecoveryCodes {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Keep your recovery codes"
    }
}

pages!(TotpEnrol, TotpRemove, RecoveryCodes);
