//! May they? The snapshot of routes, roles and the tenant tree; the principal; the decision; the permit.
//!
//! The decision is a pure function of these and of the request. The proxy, `explain` and `who-can` call the same one. What
//! it allows it hands out as a [`Permit`], and nothing is forwarded without one.

pub mod administrator;
pub mod authority;
pub mod engine;
pub mod explain;
pub mod ledger;
pub mod principal;
mod remedy;
pub mod snapshot;
#[cfg(test)]
mod tests;

pub use authority::{Authority, NotAllowed};
pub use engine::{Caller, Decision, Denial, Permit, Request, StepUp, decide};
pub use explain::{Clause, Explanation, Mark};
pub use ledger::Ledger;
pub use principal::Principal;
pub use snapshot::{Lost, MfaRule, Route, Rules, Snapshot};
