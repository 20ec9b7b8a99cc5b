//! Where an IP address leads, and who may send requests there (`PROXY-24`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Where no upstream is, and what is there is not for requests of others: the reason.
    Forbidden(&'static str),
    /// This machine.
    Loopback,
    /// The networks around it.
    Private,
    /// The Internet.
    Public,
}

const NOBODY: &str = "it is no address of a machine";
const LINK_LOCAL: &str = "it is link-local, where clouds tell machines their secrets";
const METADATA: &str = "a cloud tells machines their secrets there";
const MANY: &str = "it is the address of a group";

impl Zone {
    /// That of an address. One that carries another is judged by what it carries.
    #[must_use]
    pub fn of(address: IpAddr) -> Zone {
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => carried(address).map_or_else(|| v6(address), v4),
        }
    }
}

/// By the registries of special addresses (RFC 6890), with what clouds have added.
fn v4(address: Ipv4Addr) -> Zone {
    match address.octets() {
        [0 | 240..=255, ..] => Zone::Forbidden(NOBODY),
        [224..=239, ..] => Zone::Forbidden(MANY),
        [169, 254, ..] => Zone::Forbidden(LINK_LOCAL),
        // Alibaba, Azure, Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Zone::Forbidden(METADATA),
        [127, ..] => Zone::Loopback,
        [10, ..]
        | [100, 64..=127, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0, _]
        | [192, 168, ..]
        | [198, 18..=19, ..] => Zone::Private,
        _ => Zone::Public,
    }
}

fn v6(address: Ipv6Addr) -> Zone {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Zone::Loopback,
        [0xfe80..=0xfebf, ..] => Zone::Forbidden(LINK_LOCAL),
        [0xff00..=0xffff, ..] => Zone::Forbidden(MANY),
        // Amazon and Oracle, Google, Scaleway.
        [0xfd00, 0x0ec2 | 0x00c1, ..] | [0xfd20, 0x00ce, ..] | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042] => {
            Zone::Forbidden(METADATA)
        }
        // Translation of a network's own (RFC 8215): what it leads to is around here at most.
        [0x0064, 0xff9b, 1, _, _, _, high, low] => match v4(joined(high, low)) {
            Zone::Public => Zone::Private,
            other => other,
        },
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Zone::Private,
        [0x2000..=0x3fff, ..] => Zone::Public,
        _ => Zone::Forbidden(NOBODY),
    }
}

/// The address of version 4 that one of version 6 stands for: mapped, compatible and translated (RFC 4291, RFC 2765), NAT64
/// (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(joined(high, low)),
        [0x2001, 0, .., high, low] => Some(joined(!high, !low)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

/// Who wrote down where a route leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Author {
    /// Whoever runs Cardea, in its own file.
    #[default]
    Operator,
    /// Somebody who administers a tenant: what is reached from this machine is not theirs.
    Tenant,
}

/// What was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The address itself.
    Address,
    /// `localhost`, or a name below it: this machine, whatever others say (RFC 6761 §6.3).
    Localhost,
    /// A name. Whoever owns it says where it leads, and may say something else every time.
    Name,
}

impl Wrote {
    /// By the host of an address.
    #[must_use]
    pub fn of(host: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            Wrote::Address
        } else if bare == "localhost" || bare.ends_with(".localhost") {
            Wrote::Localhost
        } else {
            Wrote::Name
        }
    }
}

/// Whether a request may be sent to this address.
///
/// # Errors
/// With the reason, for the operator.
pub fn admitted(address: IpAddr, wrote: Wrote, author: Author) -> Result<(), &'static str> {
    match (Zone::of(address), author, wrote) {
        (Zone::Public, ..)
        | (Zone::Private, Author::Operator, _)
        | (Zone::Loopback, Author::Operator, Wrote::Address | Wrote::Localhost) => Ok(()),
        (Zone::Loopback, Author::Operator, Wrote::Name) => {
            Err("a name must not lead to this machine; write localhost or the address itself, if it is meant")
        }
        (Zone::Loopback, Author::Tenant, _) => Err("it is this machine, and a tenant wrote the route"),
        (Zone::Private, Author::Tenant, _) => Err("it is a network of ours, and a tenant wrote the route"),
        (Zone::Forbidden(why), ..) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::of(text.parse().unwrap())
    }

    #[test]
    fn proxy_24_every_way_to_write_an_address_is_judged_by_what_it_is() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "::ffff:0.0.0.0",
            "100::1",
            "4000::1",
        ] {
            assert!(matches!(zone(text), Zone::Forbidden(_)), "{text}: {:?}", zone(text));
        }
        for text in
            ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
        {
            assert_eq!(zone(text), Zone::Loopback, "{text}");
        }
        for text in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
        ] {
            assert_eq!(zone(text), Zone::Private, "{text}");
        }
        for text in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            assert_eq!(zone(text), Zone::Public, "{text}");
        }
    }

    #[test]
    fn proxy_24_what_an_operator_wrote_and_a_tenant_may_not() {
        let may = |text: &str, wrote, author| admitted(text.parse().unwrap(), wrote, author).is_ok();
        for (text, wrote, operator, tenant) in [
            ("8.8.8.8", Wrote::Name, true, true),
            ("8.8.8.8", Wrote::Address, true, true),
            ("10.0.0.1", Wrote::Name, true, false),
            ("10.0.0.1", Wrote::Address, true, false),
            ("127.0.0.1", Wrote::Address, true, false),
            ("127.0.0.1", Wrote::Localhost, true, false),
            // Whoever owns the name would reach what listens on this machine alone.
            ("127.0.0.1", Wrote::Name, false, false),
            ("::ffff:127.0.0.1", Wrote::Name, false, false),
            ("169.254.169.254", Wrote::Address, false, false),
            ("fd00:ec2::254", Wrote::Name, false, false),
            ("0.0.0.0", Wrote::Address, false, false),
        ] {
            assert_eq!(may(text, wrote, Author::Operator), operator, "{text} {wrote:?}");
            assert_eq!(may(text, wrote, Author::Tenant), tenant, "{text} {wrote:?}");
        }
        for (host, wrote) in [
            ("[::1]", Wrote::Address),
            ("10.0.0.1", Wrote::Address),
            ("localhost", Wrote::Localhost),
            ("app.localhost", Wrote::Localhost),
            ("notlocalhost", Wrote::Name),
            ("localhost.example", Wrote::Name),
        ] {
            assert_eq!(Wrote::of(host), wrote, "{host}");
        }
    }
}
