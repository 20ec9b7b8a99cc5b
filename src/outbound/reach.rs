//! Which addresses may be reached.

use std::net::SocketAddr;

use ipnet::IpNet;

/// What may be reached although it is private, loopback or spoken to without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A host and port, by the name that it is asked by.
    Host(String, u16),
    /// Every address of a network.
    Net(IpNet),
}

impl Allowed {
    /// Whether it covers a host that leads to an address.
    #[must_use]
    pub fn covers(&self, host: &str, address: SocketAddr) -> bool {
        match self {
            Allowed::Host(name, port) => name.eq_ignore_ascii_case(host) && *port == address.port(),
            Allowed::Net(net) => net.contains(&address.ip().to_canonical()),
        }
    }
}
