//! How clients come in, and who they are for as long as their connection stands.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::Gate;
use super::serve::{Door, admitted};
use crate::crypto::certificate::Identity;
use crate::net::Front;

/// How a listener takes connections, and for what.
#[derive(Clone)]
pub enum Entrance {
    /// As they come. On loopback, or behind a proxy that ends TLS.
    Open(Door),
    /// As they come, and every request is told the way to HTTPS; but for those of authorities, whose answers lie in this
    /// folder.
    Redirect(Option<Arc<Path>>),
    /// Under TLS.
    Tls(Door, Arc<Front>),
}

impl Entrance {
    /// Whether a peer may connect at all.
    pub(super) fn admits(&self, gate: &Gate, peer: IpAddr) -> bool {
        match self {
            Entrance::Open(door) | Entrance::Tls(door, _) => door.admits(gate, peer),
            Entrance::Redirect(_) => admitted(gate, peer),
        }
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entrance::Open(door) => write!(f, "{door:?}"),
            Entrance::Redirect(_) => f.write_str("Redirect"),
            Entrance::Tls(door, _) => write!(f, "{door:?} over TLS"),
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// The certificate that it was shown, when there is TLS.
    pub(super) certificate: Option<Arc<Identity>>,
}
