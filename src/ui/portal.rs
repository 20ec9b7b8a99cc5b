//! The portal of a signed-in person: their apps, their account, their sessions, and the way out.

use super::frame::{Frame, Moment, Notice, pages, safe_href};
use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything that could end a segment of a path or climb out of it.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// One app of the launcher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppTile {
    /// Its title.
    pub title: String,
    /// What it is for, in one line.
    pub description: String,
    /// Its host.
    pub host: String,
    /// Where the tile leads.
    pub href: String,
    /// Whether opening it will ask for a code.
    pub asks_code: bool,
    /// Whether it does not answer at the moment.
    pub down: bool,
}

impl AppTile {
    fn href(&self) -> &str {
        safe_href(&self.href)
    }

    fn initial(&self) -> String {
        self.title
            .chars()
            .find(|c| c.is_alphanumeric())
            .map_or_else(|| "·".to_owned(), |c| c.to_uppercase().to_string())
    }
}

/// The launcher.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "apps.html", config = "src/ui/askama.toml")]
pub struct Apps {
    /// The frame.
    pub frame: Frame,
    /// The apps this person may open, in order.
    pub apps: Vec<AppTile>,
    /// What the last step did.
    pub notice: Option<Notice>,
}

impl Apps {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "My apps"
    }

    #[allow(clippy::unused_self, reason = "templates ask every page where it is the same way")]
    fn here(&self) -> &'static str {
        "apps"
    }
}

/// Profile and security of the signed-in person. Its forms post to `/password/change` (by link),
/// `/me/security/totp`, `/me/security/totp/remove` (by link) and `/me/security/recovery` (`renew`, `csrf`).
#[derive(Debug, Clone, Default, Template)]
#[template(path = "account.html", config = "src/ui/askama.toml")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that the page shows")]
pub struct Account {
    /// The frame.
    pub frame: Frame,
    /// Display name.
    pub name: String,
    /// Sign-in name.
    pub username: String,
    /// E-mail, if there is one.
    pub email: Option<String>,
    /// Whether the e-mail was verified.
    pub email_verified: bool,
    /// Where these come from when they cannot be changed here, such as "Microsoft (Acme)".
    pub managed_by: Option<String>,
    /// Tenants with the roles held there, ready to read: (tenant, roles).
    pub memberships: Vec<(String, String)>,
    /// When the password was changed last; absent for people without a password.
    pub password_changed: Option<Moment>,
    /// Whether the person has a password at all.
    pub has_password: bool,
    /// When an authenticator app was set up; absent when there is none.
    pub totp_since: Option<Moment>,
    /// Whether one may be set up where there is none.
    pub totp_offered: bool,
    /// Whether the authenticator app may be removed; not where a second factor is required.
    pub totp_removable: bool,
    /// Recovery codes left; absent where there cannot be any.
    pub recovery_left: Option<u32>,
    /// Providers that are linked, or can be.
    pub providers: Vec<LinkedProvider>,
    /// Number of sessions, this one included.
    pub sessions: u32,
    /// What the last step did.
    pub notice: Option<Notice>,
}

impl Account {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "My account"
    }

    #[allow(clippy::unused_self, reason = "templates ask every page where it is the same way")]
    fn here(&self) -> &'static str {
        "me"
    }
}

/// An identity provider on the page of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedProvider {
    /// Its name for people.
    pub label: String,
    /// Its name in addresses.
    pub name: String,
    /// Since when the account is linked with it; absent when it is not.
    pub since: Option<Moment>,
}

impl LinkedProvider {
    fn href(&self) -> String {
        let word = if self.since.is_some() { "unlink" } else { "link" };
        format!("/auth/{word}/{}", utf8_percent_encode(&self.name, SEGMENT))
    }
}

/// The question before an account is linked with a provider, or unlinked. Posts `csrf` to `/auth/link/{name}` or
/// `/auth/unlink/{name}`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "provider_tie.html", config = "src/ui/askama.toml")]
pub struct ProviderTie {
    /// The frame.
    pub frame: Frame,
    /// Its name for people.
    pub provider: String,
    /// Its name in addresses.
    pub name: String,
    /// Whether it is to be unlinked.
    pub unlinks: bool,
    /// Whether the person could not come in without it.
    pub only_way_in: bool,
}

impl ProviderTie {
    fn title(&self) -> String {
        let word = if self.unlinks { "Unlink" } else { "Link your account with" };
        format!("{word} {}?", self.provider)
    }

    fn action(&self) -> String {
        let word = if self.unlinks { "unlink" } else { "link" };
        format!("/auth/{word}/{}", utf8_percent_encode(&self.name, SEGMENT))
    }
}

/// One session of the person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionRow {
    /// Public id of the session, for the address of its form.
    pub id: String,
    /// Browser and system, such as "Firefox on Linux".
    pub browser: String,
    /// Network address.
    pub address: String,
    /// How the person signed in, such as "password and code".
    pub method: String,
    /// Titles of the apps opened with it.
    pub apps: Vec<String>,
    /// When it began.
    pub started: Moment,
    /// When it was used last.
    pub last_seen: Moment,
    /// Whether it is the session that shows the page.
    pub current: bool,
}

impl SessionRow {
    fn revoke_action(&self) -> String {
        format!("/me/sessions/{}/revoke", utf8_percent_encode(&self.id, SEGMENT))
    }

    fn apps_text(&self) -> String {
        if self.apps.is_empty() { "No app opened yet".to_owned() } else { self.apps.join(", ") }
    }
}

/// Sessions of the person. Each row posts `csrf` to `/me/sessions/{id}/revoke`, this device posts `csrf` to
/// `/sign-out`, and the button below the list posts `csrf` to `/me/sessions/revoke-others`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "sessions.html", config = "src/ui/askama.toml")]
pub struct Sessions {
    /// The frame.
    pub frame: Frame,
    /// The sessions, this one first.
    pub rows: Vec<SessionRow>,
    /// What the last step did.
    pub notice: Option<Notice>,
}

impl Sessions {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "My sessions"
    }

    #[allow(clippy::unused_self, reason = "templates ask every page where it is the same way")]
    fn here(&self) -> &'static str {
        "sessions"
    }

    fn has_others(&self) -> bool {
        self.rows.iter().any(|row| !row.current)
    }
}

/// The question of a GET on `/sign-out`. Posts `csrf` to `action`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "sign_out.html", config = "src/ui/askama.toml")]
pub struct SignOut {
    /// The frame.
    pub frame: Frame,
    /// Where the form posts: `/sign-out`, or `/.cardea/sign-out` on the host of an app.
    pub action: String,
    /// Who is signed in.
    pub identity: String,
    /// Where "Stay signed in" leads.
    pub cancel_href: String,
    /// Where to go once somebody else has signed in; sent back as `return_to`.
    pub return_to: Option<String>,
    /// The provider that they came from and that can be signed out of as well: one button more, and `there` is sent.
    pub provider: Option<String>,
}

impl SignOut {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Sign out?"
    }

    fn cancel_href(&self) -> &str {
        safe_href(&self.cancel_href)
    }
}

/// After signing out.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "signed_out.html", config = "src/ui/askama.toml")]
pub struct SignedOut {
    /// The frame.
    pub frame: Frame,
    /// Where to sign in again.
    pub sign_in_href: String,
    /// A provider at which the person is still signed in, if they came from one.
    pub still_at: Option<String>,
    /// The provider that has sent them back here after signing them out as well.
    pub also_at: Option<String>,
    /// The apps that they had open.
    pub apps: Vec<String>,
}

impl SignedOut {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "You are signed out"
    }

    fn sign_in_href(&self) -> &str {
        safe_href(&self.sign_in_href)
    }
}

pages!(Apps, Account, ProviderTie, Sessions, SignOut, SignedOut);
