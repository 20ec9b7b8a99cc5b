//! The `proxy` room: the data plane. Every request to an app comes through here, is decided on, and is forwarded with the
//! identity that the decision was made for, or not at all.
//!
//! One thread per core, each with a runtime, listeners and upstream connections of its own. Nothing here touches the
//! database: what must be asked there is asked on the control plane's runtime ([`ControlPlane`]).
//!
//! The way of a request stands in `handler`, top to bottom. What it decides with (`view`, `policy`, `hygiene`, `identity`)
//! knows nothing of the HTTP library in front of it, so that every way in is judged by the same functions.

mod answers;
mod arriving;
mod control;
mod crowd;
mod exchange;
mod forward;
mod forward_auth;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod health;
mod http1;
mod http2;
mod hygiene;
mod identity;
mod inflow;
mod meters;
mod multiplex;
mod navigation;
mod open;
mod outflow;
mod own;
mod past;
mod pipe;
mod policy;
mod pool;
mod probe;
mod redirect;
mod refusals;
mod rewound;
mod rewrite;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod timer;
mod trace;
mod tunnel;
mod upgrade;
mod upstream;
mod view;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::access::{Ledger, Snapshot};
use crate::crypto::Keyring;
use crate::domain::{Chance, Span};
use crate::net::{Connectors, Dialer};
use crate::session::Sessions;
use crate::sys::Clock;

pub use control::{BoxError, ControlPlane, PortalAnswer, PortalBody, PortalService};
pub use crowd::Crowd;
pub use health::{Condition, Health, Sighting};
pub use meters::{BUCKETS, describe as describe_metrics, without_secrets};
pub use past::{Lately, Past};
pub use probe::probe;
pub use refusals::Refusals;
pub use serve::{Door, bind, spawn_thread};
pub use stream::Entrance;

/// Everything the data plane needs. Shared by all its threads.
pub struct Gate {
    /// What decisions are made on. Swapped as a whole; each request uses one from beginning to end.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Who is calling.
    pub sessions: Arc<Sessions>,
    /// What signs assertions and seals addresses.
    pub keys: Arc<Keyring>,
    /// Where refusals go.
    pub ledger: Ledger,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Where people sign in.
    pub portal: Portal,
    /// The peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What opens connections to upstreams.
    pub dialer: Dialer,
    /// What verifies upstreams over TLS.
    pub connectors: Connectors,
    /// How upstreams are.
    pub health: Health,
    /// Where the portal's pages are made and the database is asked.
    pub control: ControlPlane,
    /// The last requests, for whoever asks why.
    pub lately: Lately,
    /// The last refusals, for those they were made for.
    pub refusals: Refusals,
    /// How many connections each client has open.
    pub crowd: Crowd,
    /// What this room is told.
    pub settings: Settings,
}

/// The portal, as the data plane must know it.
#[derive(Clone, Debug)]
pub struct Portal {
    /// `https://access.example.com`: scheme, host and port, without a slash at the end.
    pub origin: String,
    /// The host alone.
    pub host: String,
    /// What the installation calls itself.
    pub product_name: String,
    /// Whether this is the demo.
    pub demo: bool,
}

/// Who reads HTTP/1.1 from clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// The library: more lenient about framing, and slower. A way out, should a fault be found in the other.
    Hyper,
    /// A reader of our own that takes nothing that could be read in two ways.
    #[default]
    Strict,
}

/// What this room is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a client may take until TLS stands.
    pub handshake_timeout: Span,
    /// How long a client may take for the head of a request, and stay silent between two.
    pub head_timeout: Span,
    /// How long a client may leave bytes of an answer lying before its connection ends.
    pub write_timeout: Span,
    /// Who reads HTTP/1.1.
    pub front: Front,
    /// How long requests in flight may take to end once a stop was asked for.
    pub grace: Span,
    /// How long a connection to an upstream is kept without use.
    pub upstream_idle: Span,
    /// How long a connection to an upstream is used at all: what a name leads to may change.
    pub upstream_age: Span,
    /// The most connections of clients a thread takes; more wait to be accepted.
    pub most_connections: usize,
    /// The most connections of one client, over all threads.
    pub connections_per_client: usize,
    /// Whether only trusted proxies, and this machine, may connect at all: without TLS nobody else should.
    pub trusted_peers_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            handshake_timeout: Span::seconds(10),
            head_timeout: Span::seconds(30),
            write_timeout: Span::seconds(60),
            front: Front::Strict,
            grace: Span::seconds(30),
            upstream_idle: Span::seconds(60),
            upstream_age: Span::minutes(5),
            most_connections: 8192,
            connections_per_client: 1024,
            trusted_peers_only: false,
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The client, after trusted proxies.
    pub address: IpAddr,
}
