//! Which addresses may be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// Whether an address is one of the open internet (the special-purpose registries of RFC 6890), and not this machine, its
/// networks, a cloud's metadata service, or IPv4 of that kind in the clothes of IPv6.
#[must_use]
pub fn open_internet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => open_v4(v4),
        IpAddr::V6(v6) => open_v6(v6),
    }
}

fn open_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..)
        | (169, 254, _)
        | (192, 168, _)
        | (192, 0, 0 | 2)
        | (198, 51, 100)
        | (203, 0, 113) => true,
        (100, b, _) => (64..128).contains(&b),
        (172, b, _) => (16..32).contains(&b),
        (198, b, _) => b == 18 || b == 19,
        (192, 88, 99) => true,
        (a, ..) => a >= 224,
    };
    !special
}

fn open_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        open_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // Translated and tunnelled IPv4.
        (0x64, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && inner(g, h),
        (0x2002, high) => inner(high, c),
        // Teredo, benchmarking, ORCHID, documentation.
        (0x2001, b) if b < 0x200 || b == 0xdb8 => false,
        (0x3fff, b) if b < 0x1000 => false,
        // Only 2000::/3 is given out.
        (a, _) => (0x2000..0x4000).contains(&a),
    }
}
