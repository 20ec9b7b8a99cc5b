//! Pages for what went wrong: what happened, what still works, what to do.

use super::frame::{Frame, Moment, pages, safe_href};
use askama::Template;

/// What went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request cannot be understood or is ambiguous.
    BadRequest,
    /// 403: a form without its token, or from another site.
    ForeignForm,
    /// 404: no such page on this host.
    NotFound,
    /// 404: no app on this host.
    NoSuchApp,
    /// 405: the page exists, but not for this method.
    MethodNotAllowed,
    /// 413: more than a form of ours can hold.
    TooLarge,
    /// 421: the name asked for is not the one this connection was made for.
    Misdirected,
    /// 429: too many tries.
    TooManyRequests,
    /// 500: our fault.
    #[default]
    Internal,
    /// 502: the app did not answer.
    BadGateway,
    /// 504: the app did not answer in time.
    GatewayTimeout,
    /// 503: the app is being worked on.
    Maintenance,
    /// 503: storage is away, so nobody can be recognised safely.
    Unavailable,
}

impl ErrorKind {
    /// The HTTP status that belongs to the page.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::ForeignForm => 403,
            Self::NotFound | Self::NoSuchApp => 404,
            Self::MethodNotAllowed => 405,
            Self::TooLarge => 413,
            Self::Misdirected => 421,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Maintenance | Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// Whether waiting and trying again is worth a button.
    const fn passes(self) -> bool {
        matches!(
            self,
            Self::Internal | Self::BadGateway | Self::GatewayTimeout | Self::Maintenance | Self::Unavailable
        )
    }
}

/// A page about something that went wrong. To be answered with `kind.status()`.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "error.html", config = "src/ui/askama.toml")]
pub struct ErrorPage {
    /// The frame.
    pub frame: Frame,
    /// What went wrong.
    pub kind: ErrorKind,
    /// Title of the app, where there is one and it may be told.
    pub app: Option<String>,
    /// One sentence more, such as the setting that would allow a refused address.
    pub detail: Option<String>,
    /// When to try again, such as "Try again in 40 seconds."
    pub retry: Option<String>,
    /// Where "Try again" leads; only shown where trying again can help.
    pub retry_href: Option<String>,
    /// Where "My apps" leads.
    pub apps_href: Option<String>,
    /// Where "Sign in" leads, for somebody who is not signed in.
    pub sign_in_href: Option<String>,
    /// Reference of the request.
    pub reference: Option<String>,
    /// When it happened.
    pub at: Option<Moment>,
}

impl ErrorPage {
    fn title(&self) -> String {
        let app = self.app.as_deref().unwrap_or("The app");
        match self.kind {
            ErrorKind::BadRequest => "We could not read this request".to_owned(),
            ErrorKind::ForeignForm => "This form did not come from our page".to_owned(),
            ErrorKind::NotFound => "There is no page at this address".to_owned(),
            ErrorKind::NoSuchApp => "There is no app at this address".to_owned(),
            ErrorKind::MethodNotAllowed => "This address does not take that".to_owned(),
            ErrorKind::TooLarge => "That was too much at once".to_owned(),
            ErrorKind::Misdirected => "This connection leads to another address".to_owned(),
            ErrorKind::TooManyRequests => "Too many tries".to_owned(),
            ErrorKind::Internal => "Something broke on our side".to_owned(),
            ErrorKind::BadGateway => format!("{app} did not answer"),
            ErrorKind::GatewayTimeout => format!("{app} took too long to answer"),
            ErrorKind::Maintenance => format!("{app} is being worked on"),
            ErrorKind::Unavailable => "We can’t check your sign-in right now".to_owned(),
        }
    }

    fn text(&self) -> &'static str {
        match self.kind {
            ErrorKind::BadRequest => {
                "Part of the address or of the request can be read in two ways, so it was refused before it reached \
                 anything. Type the address again or follow a fresh link."
            }
            ErrorKind::ForeignForm => {
                "Nothing was changed. The form was open for too long, or another site tried to send it for you. Open \
                 the page again and repeat what you did."
            }
            ErrorKind::NotFound => {
                "The link may be old, or a letter is missing. Nothing is wrong with your account."
            }
            ErrorKind::NoSuchApp => {
                "The name leads to this gateway, but no app is set up for it. Check the spelling, or ask where the app \
                 lives now."
            }
            ErrorKind::MethodNotAllowed => {
                "The page exists but cannot do what was asked of it. Open it from its own link and use the buttons \
                 there."
            }
            ErrorKind::TooLarge => "Our own pages take small forms only. Nothing was changed.",
            ErrorKind::Misdirected => {
                "Your browser asked for one name over a connection made for another. Close the tab and open the \
                 address again."
            }
            ErrorKind::TooManyRequests => {
                "To protect accounts from guessing we slow down after many tries. Nothing is lost, and the right \
                 password will work after the wait."
            }
            ErrorKind::Internal => {
                "What you did may not have been saved. You are still signed in. Try once more."
            }
            ErrorKind::BadGateway => {
                "Your access is fine: we let you through, but nothing answered behind the gateway. The people who run \
                 the app can help."
            }
            ErrorKind::GatewayTimeout => {
                "Your access is fine: we let you through and the app began to work, but its answer did not come in \
                 time."
            }
            ErrorKind::Maintenance => {
                "The people who run it have closed it for a while, for everybody. Nothing is wrong with your account, and \
                 you stay signed in."
            }
            ErrorKind::Unavailable => {
                "The gateway lost its storage for a moment. Until it is back nobody gets in, so that nobody gets in \
                 wrongly. You stay signed in."
            }
        }
    }

    fn retry_href(&self) -> Option<&str> {
        self.retry_href.as_deref().filter(|_| self.kind.passes()).map(safe_href)
    }

    fn tone(&self) -> &'static str {
        match self.kind {
            ErrorKind::NotFound | ErrorKind::NoSuchApp => "compass",
            ErrorKind::TooManyRequests | ErrorKind::GatewayTimeout | ErrorKind::Maintenance => "clock",
            ErrorKind::BadGateway | ErrorKind::Unavailable => "plug",
            _ => "alert",
        }
    }
}

/// A sign-in step or a hand-over between hosts that is stale, used or meant for another browser. It does not say
/// which: that would help only somebody who should not have it.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "start_again.html", config = "src/ui/askama.toml")]
pub struct StartAgain {
    /// The frame.
    pub frame: Frame,
    /// Where "Start again" leads.
    pub href: String,
}

impl StartAgain {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Start again"
    }

    fn href(&self) -> &str {
        safe_href(&self.href)
    }
}

/// The end of a sign-in that an operator tried a provider with.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "rehearsed.html", config = "src/ui/askama.toml")]
pub struct Rehearsed {
    /// The frame.
    pub frame: Frame,
}

impl Rehearsed {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "The provider has answered"
    }
}

/// Why an identity provider did not bring somebody in, as far as the person is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeclinedKind {
    /// Whoever it named is not who asked for it.
    Another,
    /// It does not answer.
    Away,
    /// The person went back there.
    Cancelled,
    /// Too many come from it at this moment.
    Crowded,
    /// Something is not right. Which part it was, only the audit log knows.
    #[default]
    Refused,
    /// It is switched off.
    Stopped,
    /// An account was not linked with it.
    Untied,
}

/// A sign-in at an identity provider that did not succeed.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "provider_declined.html", config = "src/ui/askama.toml")]
pub struct ProviderDeclined {
    /// The frame.
    pub frame: Frame,
    /// What the provider is called.
    pub provider: String,
    /// Why.
    pub kind: DeclinedKind,
    /// Where "Back to sign-in" leads.
    pub back_href: String,
    /// What to quote when asking for help.
    pub reference: String,
    /// When it happened.
    pub at: Moment,
}

impl ProviderDeclined {
    fn title(&self) -> String {
        match self.kind {
            DeclinedKind::Another => format!("{} named another account", self.provider),
            DeclinedKind::Away => format!("{} does not answer", self.provider),
            DeclinedKind::Cancelled => "You did not sign in".to_owned(),
            DeclinedKind::Crowded => format!("Many people are signing in with {}", self.provider),
            DeclinedKind::Refused => format!("Signing in with {} did not work", self.provider),
            DeclinedKind::Untied => format!("Your account was not linked with {}", self.provider),
            DeclinedKind::Stopped => format!("{} can’t be used right now", self.provider),
        }
    }

    fn text(&self) -> &'static str {
        match self.kind {
            DeclinedKind::Another => {
                "You are signed in as before, and nothing was changed. If the account there is yours, too, link it under “My account” \
                 first. If it is not, sign in there as yourself."
            }
            DeclinedKind::Away => {
                "Nothing is wrong with your account. Try again in a minute, or sign in another way. If it goes on, tell your \
                 administrator the reference below."
            }
            DeclinedKind::Cancelled => "The sign-in was stopped before it was finished. Nothing was changed.",
            DeclinedKind::Crowded => {
                "Nothing is wrong with your account. Wait a few seconds and load this page again."
            }
            DeclinedKind::Refused => {
                "You were not signed in, and nothing was changed. Try again. If it goes on, tell your administrator the \
                 reference below; they can see the cause."
            }
            DeclinedKind::Untied => {
                "You are signed in as before, and nothing was changed. If it goes on, tell your administrator the reference below; they \
                 can see the cause."
            }
            DeclinedKind::Stopped => {
                "Your administrator has switched this way of signing in off. Sign in another way, or ask them with the \
                 reference below."
            }
        }
    }

    const fn tone(&self) -> &'static str {
        match self.kind {
            DeclinedKind::Away | DeclinedKind::Stopped => "plug",
            DeclinedKind::Cancelled => "back",
            DeclinedKind::Crowded => "clock",
            DeclinedKind::Another | DeclinedKind::Refused | DeclinedKind::Untied => "alert",
        }
    }

    fn back(&self) -> &'static str {
        if self.back_href == "/sign-in" { "Back to sign-in" } else { "Back to my apps" }
    }

    fn href(&self) -> &str {
        safe_href(&self.back_href)
    }
}

pages!(ErrorPage, ProviderDeclined, Rehearsed, StartAgain);
