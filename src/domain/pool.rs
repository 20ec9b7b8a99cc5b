//! The addresses of a route together: who is next, who is left out, how they are looked after.

use super::Span;
use super::address::Author;
use super::route::Upstream;

/// The most addresses of a route.
pub const MOST: usize = 128;

/// What is said about the addresses of a route, besides which they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Who wrote them down.
    pub author: Author,
    /// Which of them is next.
    pub balance: Balance,
    /// Those that get no new requests. They are not among the route's addresses any more.
    pub draining: Vec<Upstream>,
    /// How they are asked whether they are well; nobody asks when absent.
    pub health: Option<HealthCheck>,
}

/// Which address of a route is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests in flight.
    LeastBusy,
    /// One after another.
    #[default]
    RoundRobin,
}

impl Balance {
    /// Name in configuration, for each.
    pub const NAMES: [(&'static str, Balance); 2] =
        [("least-busy", Balance::LeastBusy), ("round-robin", Balance::RoundRobin)];
}

/// How an address is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked for: a path, perhaps with a query.
    pub path: String,
    /// How often.
    pub every: Span,
    /// How long it may take, with the connection.
    pub timeout: Span,
    /// How many good answers in a row make it well again.
    pub healthy: u32,
    /// How many checks in a row must fail until it is left out.
    pub unhealthy: u32,
    /// Which statuses are good; every `2xx` when empty.
    pub status: Vec<u16>,
}

impl HealthCheck {
    /// Whether an answer with this status is a good one.
    #[must_use]
    pub fn good(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) }
    }
}
