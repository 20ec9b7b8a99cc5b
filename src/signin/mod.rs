//! The stories of a person coming in: name, password, second factor, enrolment, links, throttling.
//!
//! A flow remembers where a sign-in stands; every step reads it, proves something, and moves it on in one transaction with
//! what was proven. A session comes only of [`crate::domain::login::Complete`], which nobody has while something is owed.

mod enrol;
mod federated;
mod flow;
mod follow;
mod links;
mod logout;
mod password;
mod provider_session;
mod provision;
pub mod rehearsal;
mod saml;
mod saml_keys;
mod second_factor;
mod step;
mod throttle;
mod ties;
mod traffic;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::{Ledger, Snapshot};
use crate::crypto::{CryptoError, Keyring};
use crate::domain::{Slug, Span};
use crate::federation::Federation;
use crate::protocol::password::Policy;
use crate::session::Sessions;
use crate::store::{Db, DbError};
use crate::sys::{Busy, Pool};

pub use enrol::{Enrolled, Enrolment};
pub use federated::{Declined, Departure, Response, Returned, Why};
pub use flow::{Begun, Target};
pub use follow::Follower;
pub use links::{LinkState, NewAdministrator};
pub use logout::{Elsewhere, NotEnded, Strangers};
pub use step::Step;
pub use ties::Tie;
pub use traffic::Traffic;

/// What this room is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a new password must be.
    pub policy: Policy,
    /// Wrong passwords from one source before it must wait.
    pub lockout_after: i64,
    /// How long it then waits at first; doubled each time.
    pub lockout_delay: Span,
    /// How long it waits at most.
    pub lockout_limit: Span,
    /// Sign-ins through a provider that may fail within an hour, from one address, before it must wait.
    pub federated_failures: i64,
    /// The name that authenticator apps show.
    pub issuer: String,
    /// The portal's host, to which its tokens are bound.
    pub portal_host: String,
    /// The portal's origin.
    pub portal_origin: String,
    /// Whether recovery codes are given out and taken.
    pub recovery: bool,
}

/// Everything these stories need.
pub struct SignIn {
    /// The records.
    pub db: Db,
    /// Our keys.
    pub keys: Arc<Keyring>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Routes, roles, the tree.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where failures are left for the audit log.
    pub ledger: Ledger,
    /// Where passwords are hashed.
    pub hashing: Pool,
    /// Where signed documents are verified.
    pub documents: Pool,
    /// Identity providers.
    pub federation: Arc<Federation>,
    /// Who has sent logout tokens that were not taken.
    pub logouts: Strangers,
    /// What goes on with them.
    pub traffic: Traffic,
    /// What we are told.
    pub settings: Settings,
}

/// Why a step was not taken. What the person reads is chosen by the caller; none of it says which part was wrong.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Too many password checks are waiting.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The first factor is too old for this step, and is given anew at that provider.
    #[error("the sign-in at {0} was too long ago for this")]
    Anew(Slug),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The new password is the present one.
    #[error("that is the present password; choose another")]
    Same,
    /// An identity provider did not bring somebody in. The cause is in the audit log.
    #[error("the sign-in at the provider did not succeed")]
    Federated(Box<Declined>),
    /// The flow is unknown, of another browser, run out, or has moved on.
    #[error("this sign-in has ended or was begun elsewhere")]
    Stale,
    /// Too many tries; wait.
    #[error("too many tries; try again in {}", .0.words())]
    Throttled(Span),
    /// Not right.
    #[error("that is not right")]
    Wrong,
    /// That code was right, and has been used.
    #[error("that code was used already; wait for the next one")]
    Used,
}
