//! How many connections each client has open, over all threads: one that opens them without end must leave places for
//! others (`PROXY-20`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::Gate;

/// Who is here, and how often. Asked once per connection.
#[derive(Debug, Default)]
pub struct Crowd {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that a connection has until it ends.
pub(super) struct Seat {
    gate: Arc<Gate>,
    /// Nobody whose connections are counted, if absent.
    client: Option<IpAddr>,
}

/// A client has as many connections open as one may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

impl Seat {
    /// A place for a connection from there. A trusted proxy brings many people's, so its are not counted.
    ///
    /// # Errors
    /// When as many are open as one client may have.
    pub(super) fn take(gate: &Arc<Gate>, peer: IpAddr) -> Result<Self, Crowded> {
        let peer = peer.to_canonical();
        let client =
            Some(client(peer)).filter(|_| !gate.trusted_proxies.iter().any(|net| net.contains(&peer)));
        if let Some(client) = client {
            let mut open = gate.crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(client).or_default();
            if *count >= gate.settings.connections_per_client {
                return Err(Crowded);
            }
            *count += 1;
        }
        Ok(Self { gate: Arc::clone(gate), client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut open = self.gate.crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&client)),
        }
    }
}

/// Whose an address is: of version 6 somebody has at least a network of 64 bits.
fn client(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Settings;
    use crate::proxy::tests::house::{House, Plan};

    #[test]
    fn proxy_20one_client_has_so_many_connections_and_proxies_have_theirs() {
        let house = House::with(Plan {
            settings: Settings { connections_per_client: 2, ..Settings::default() },
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            ..Plan::default()
        });
        let take = |peer: &str| Seat::take(&house.gate, peer.parse().unwrap());
        let (first, second) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(first.is_ok() && take("192.0.2.1").is_err());
        assert!(take("192.0.2.2").is_ok(), "others have theirs");
        drop(first);
        assert!(take("192.0.2.1").is_ok(), "a place that is given back is free");
        let one = (take("2001:db8:0:1::1"), take("2001:db8:0:1:ffff::2"));
        assert!(take("2001:db8:0:1::3").is_err() && take("2001:db8:0:2::1").is_ok());
        let proxies: Vec<_> = (0..9).map(|_| take("10.1.2.3")).collect();
        assert!(proxies.iter().all(Result::is_ok));
        drop((proxies, second, one));
        assert!(house.gate.crowd.open.lock().unwrap().is_empty(), "nobody is remembered who is gone");
    }
}
