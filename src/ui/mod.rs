//! The `ui` room: every page that Cardea shows to a person, and the files those pages load.
//!
//! A page is a plain struct of owned text with a `render` method. It knows nothing of requests, sessions or the
//! database: whoever shows it has already decided everything, so a page cannot grant, refuse or leak more than it
//! was handed. Text from people goes in as it is; the templates escape it.
//!
//! Low in the house on purpose: the portal shows these pages on its own host and the gate shows some of them on
//! the hosts of apps, under the same strict content policy (no inline style, no inline script, no `data:`).

#![expect(
    clippy::allow_attributes,
    reason = "the template engine writes such attributes into what it derives"
)]

pub mod assets;
mod demo_provider;
mod errors;
mod factors;
mod frame;
mod gate;
pub mod headers;
mod lantern;
mod password;
mod portal;
mod qr;
#[cfg(test)]
mod samples;
mod setup;
mod sign_in;
#[cfg(test)]
mod tests;

pub use demo_provider::{GuestLink, ProviderChooser, ProviderHome};
pub use errors::{DeclinedKind, ErrorKind, ErrorPage, ProviderDeclined, Rehearsed, StartAgain};
pub use factors::{RecoveryCodes, TotpEnrol, TotpRemove};
pub use frame::{Action, Frame, Moment, Notice, PersonMenu, Problem, Theme, Tone};
pub use gate::{Clause, CookiesRefused, Decision, Denied, Outcome, Unauthorized};
pub use lantern::{Check, Lantern, LanternPerson};
pub use password::{LinkProblem, PasswordChange, PasswordLinkDead, PasswordRule, PasswordSet};
pub use portal::{
    Account, AppTile, Apps, LinkedProvider, ProviderTie, SessionRow, Sessions, SignOut, SignedOut,
};
pub use qr::QrCode;
pub use setup::{NextStep, Setup, SetupDone, SetupExpired};
pub use sign_in::{
    Continue, Destination, Password, Provider, Recovery, SignIn, TenantChoice, TenantOption, Verify,
};
