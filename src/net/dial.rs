//! Opening connections to upstreams. A name is looked up when a connection is opened, every address that it has is judged, and
//! only a judged one is connected to: there is no second look in between that could find another (`PROXY-24`).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::domain::address::{Author, Wrote, admitted};
use crate::domain::{Span, Timestamp};

/// Where names are looked up.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Every address of a name.
    ///
    /// # Errors
    /// When nobody knows, or nobody answers.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As every program on this machine does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// No address of an upstream will do. For the log: it names what the client must not learn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} leads where requests must not go: {}", .refused.join("; "))]
pub struct Forbidden {
    host: String,
    refused: Vec<String>,
}

/// Whether a connection was not opened because of where it would have led.
#[must_use]
pub fn is_forbidden(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Forbidden>()).is_some()
}

/// An address that was judged. Only [`Dialer::judged`] makes one, and only one is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Judged(SocketAddr);

/// How long an address of a name is tried last after it took no connection.
const LAST: Span = Span::seconds(30);
/// How many such addresses are remembered.
const MOST_REMEMBERED: usize = 1024;

type Lookup = Arc<OnceCell<Vec<IpAddr>>>;

/// Opens connections. Shared by all threads; asked only when a new connection is needed.
pub struct Dialer {
    resolver: Box<dyn Resolver>,
    own: Vec<SocketAddr>,
    /// Names that are being looked up: whoever wants the same one waits with the others, so that a resolver that does not
    /// answer is asked once.
    lookups: Mutex<HashMap<String, Lookup>>,
    /// What took no connection lately.
    failed: Mutex<HashMap<Judged, Timestamp>>,
    turn: AtomicUsize,
}

impl Dialer {
    /// Opens connections everywhere but to these listeners, which are our own: a request would go in a circle.
    #[must_use]
    pub fn new(own: Vec<SocketAddr>) -> Self {
        Self::asking(Box::new(SystemResolver), own)
    }

    /// The same, with another place to look names up.
    #[must_use]
    pub fn asking(resolver: Box<dyn Resolver>, own: Vec<SocketAddr>) -> Self {
        Self { resolver, own, lookups: Mutex::default(), failed: Mutex::default(), turn: AtomicUsize::new(0) }
    }

    /// Opens a connection to one of the addresses of a host. Each that does not take it in its share of the time is passed
    /// over. The caller limits the time as a whole, too.
    ///
    /// # Errors
    /// When nobody takes it, nobody knows the name, or every address is one that requests must not go to ([`is_forbidden`]).
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        author: Author,
        within: Duration,
        now: Timestamp,
    ) -> io::Result<TcpStream> {
        let candidates = self.candidates(host, port, author, now).await?;
        let share = within / u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for candidate in candidates {
            let connecting = tokio::time::timeout(share, TcpStream::connect(candidate.0)).await;
            match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    self.remember(candidate, None);
                    self.not_ourselves(host, &stream)?;
                    return Ok(stream);
                }
                Err(error) => {
                    self.remember(candidate, Some(now));
                    failure = io::Error::new(error.kind(), format!("{}: {error}", candidate.0));
                }
            }
        }
        Err(failure)
    }

    /// The addresses of a host that may be connected to; first those that have not failed lately, beginning with another one
    /// each time.
    async fn candidates(
        &self,
        host: &str,
        port: u16,
        author: Author,
        now: Timestamp,
    ) -> io::Result<Vec<Judged>> {
        let found = self.look_up(host).await?;
        let mut refused = Vec::new();
        let mut candidates: Vec<Judged> = Vec::with_capacity(found.len());
        for address in found {
            match self.judged(SocketAddr::new(address, port), Wrote::of(host), author) {
                Ok(judged) if candidates.contains(&judged) => {}
                Ok(judged) => candidates.push(judged),
                Err(why) => refused.push(format!("{address}: {why}")),
            }
        }
        if candidates.is_empty() && !refused.is_empty() {
            return Err(io::Error::other(Forbidden { host: host.to_owned(), refused }));
        }
        if !refused.is_empty() {
            tracing::warn!(%host, refused = %refused.join("; "), "some addresses of an upstream are not connected to");
        }
        if candidates.len() > 1 {
            let first = self.turn.fetch_add(1, Ordering::Relaxed) % candidates.len();
            candidates.rotate_left(first);
            let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            candidates.sort_by_key(|candidate| failed.get(candidate).is_some_and(|at| now.since(*at) < LAST));
        }
        Ok(candidates)
    }

    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        if Wrote::of(host) == Wrote::Localhost {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let lookup = {
            let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lookups.entry(bare.to_owned()).or_default())
        };
        let found = lookup.get_or_try_init(|| self.resolver.addresses(bare)).await.cloned();
        // Who comes from now on asks anew.
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if lookups.get(bare).is_some_and(|known| Arc::ptr_eq(known, &lookup)) {
            lookups.remove(bare);
        }
        found
    }

    fn judged(&self, address: SocketAddr, wrote: Wrote, author: Author) -> Result<Judged, &'static str> {
        let ip = address.ip().to_canonical();
        admitted(ip, wrote, author)?;
        let ours = |own: &SocketAddr| {
            own.port() == address.port()
                && (own.ip().to_canonical() == ip || (own.ip().is_unspecified() && ip.is_loopback()))
        };
        if self.own.iter().any(ours) { Err(OURSELVES) } else { Ok(Judged(address)) }
    }

    /// A listener on every address is found at any address of this machine. The kernel gives a connection to such a one the same
    /// address at both ends.
    fn not_ourselves(&self, host: &str, stream: &TcpStream) -> io::Result<()> {
        let (near, far) = (stream.local_addr()?, stream.peer_addr()?);
        let everywhere = |own: &SocketAddr| own.ip().is_unspecified() && own.port() == far.port();
        if near.ip() == far.ip() && self.own.iter().any(everywhere) {
            let refused = vec![format!("{}: {OURSELVES}", far.ip())];
            return Err(io::Error::other(Forbidden { host: host.to_owned(), refused }));
        }
        Ok(())
    }

    fn remember(&self, candidate: Judged, failed_at: Option<Timestamp>) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed_at {
            None => {
                failed.remove(&candidate);
            }
            Some(now) => {
                if failed.len() >= MOST_REMEMBERED {
                    failed.retain(|_, at| now.since(*at) < LAST);
                }
                if failed.len() < MOST_REMEMBERED {
                    failed.insert(candidate, now);
                }
            }
        }
    }
}

const OURSELVES: &str = "Cardea itself listens there, and the request would go in a circle";

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const WITHIN: Duration = Duration::from_secs(10);

    /// Says what it is told to, and counts how often.
    #[derive(Clone, Default)]
    struct Told {
        answers: Arc<Mutex<Vec<Vec<IpAddr>>>>,
        asked: Arc<AtomicUsize>,
        slow: Arc<AtomicBool>,
    }

    #[async_trait]
    impl Resolver for Told {
        async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.slow.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let mut answers = self.answers.lock().unwrap();
            let answer = answers.first().cloned().unwrap_or_default();
            if answers.len() > 1 {
                answers.remove(0);
            }
            Ok(answer)
        }
    }

    fn told(answers: &[&[&str]]) -> (Told, Dialer) {
        let parsed = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let told =
            Told { answers: Arc::new(Mutex::new(answers.iter().map(parsed).collect())), ..Told::default() };
        (told.clone(), Dialer::asking(Box::new(told), Vec::new()))
    }

    async fn candidates(dialer: &Dialer, host: &str) -> Result<Vec<String>, String> {
        let found = dialer.candidates(host, 80, Author::Operator, NOW).await;
        found
            .map(|all| all.iter().map(|one| one.0.ip().to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn proxy_24_f57_a_name_that_moves_is_judged_wherever_it_leads() {
        let (told, dialer) = told(&[
            &["198.51.100.7"],
            &["127.0.0.1"],
            &["169.254.169.254", "10.0.0.1"],
            &["::ffff:169.254.169.254", "64:ff9b::7f00:1"],
        ]);
        assert_eq!(candidates(&dialer, "app.example").await.unwrap(), ["198.51.100.7"]);
        let refused = candidates(&dialer, "app.example").await.unwrap_err();
        assert!(refused.contains("app.example") && refused.contains("127.0.0.1"), "{refused}");
        // What may be connected to is, and the rest is not.
        assert_eq!(candidates(&dialer, "app.example").await.unwrap(), ["10.0.0.1"]);
        assert!(candidates(&dialer, "app.example").await.unwrap_err().contains("link-local"));
        assert_eq!(told.asked.load(Ordering::Relaxed), 4, "asked anew for each connection");
        let error = dialer.dial("app.example", 80, Author::Operator, WITHIN, NOW).await.unwrap_err();
        assert!(is_forbidden(&error));
        // Names of this machine are not asked for.
        assert_eq!(candidates(&dialer, "app.localhost").await.unwrap().len(), 2);
        assert_eq!(told.asked.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn proxy_24_no_request_goes_in_a_circle() {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let exact = Dialer::new(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
        let everywhere = Dialer::new(vec![SocketAddr::from(([0, 0, 0, 0], port))]);
        for (dialer, host, refused) in [
            (&exact, "127.0.0.1", true),
            (&exact, "127.0.0.2", false),
            (&everywhere, "127.0.0.1", true),
            (&everywhere, "127.0.0.2", true),
        ] {
            let dialed = dialer.dial(host, port, Author::Operator, WITHIN, NOW).await;
            assert_eq!(dialed.is_err(), refused, "{host}: {dialed:?}");
        }
        assert!(Dialer::new(Vec::new()).dial("127.0.0.1", port, Author::Operator, WITHIN, NOW).await.is_ok());
        // An address of this machine that is not loopback, where it has one.
        let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if probe.connect("192.0.2.1:9").is_ok() {
            let ours = probe.local_addr().unwrap().ip();
            if !ours.is_loopback() {
                let error = everywhere
                    .dial(&ours.to_string(), port, Author::Operator, WITHIN, NOW)
                    .await
                    .unwrap_err();
                assert!(is_forbidden(&error), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn each_address_of_a_name_has_its_turn_and_who_failed_comes_last() {
        let (_, dialer) = told(&[&["10.0.0.1", "10.0.0.2", "10.0.0.3"]]);
        let mut first = Vec::new();
        for _ in 0..3 {
            first.push(candidates(&dialer, "app.example").await.unwrap().remove(0));
        }
        first.sort();
        assert_eq!(first, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let bad = Judged("10.0.0.2:80".parse().unwrap());
        dialer.remember(bad, Some(NOW));
        for _ in 0..3 {
            assert_eq!(candidates(&dialer, "app.example").await.unwrap().pop().unwrap(), "10.0.0.2");
        }
        dialer.remember(bad, None);
        for _ in 0..2 * MOST_REMEMBERED {
            let port = u16::try_from(dialer.failed.lock().unwrap().len()).unwrap();
            dialer.remember(Judged(SocketAddr::from(([10, 0, 0, 9], port))), Some(NOW));
        }
        assert!(dialer.failed.lock().unwrap().len() <= MOST_REMEMBERED);
    }

    #[tokio::test]
    async fn a_resolver_that_is_slow_is_asked_once_by_many() {
        let (told, dialer) = told(&[&["10.0.0.1"]]);
        told.slow.store(true, Ordering::Relaxed);
        let dialer = Arc::new(dialer);
        let many: Vec<_> = (0..50)
            .map(|_| {
                let dialer = Arc::clone(&dialer);
                tokio::spawn(async move { candidates(&dialer, "app.example").await })
            })
            .collect();
        for one in many {
            assert_eq!(one.await.unwrap().unwrap(), ["10.0.0.1"]);
        }
        assert_eq!(told.asked.load(Ordering::Relaxed), 1);
        assert!(dialer.lookups.lock().unwrap().is_empty());
    }
}
