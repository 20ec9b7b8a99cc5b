//! The side that clients see: one certificate for each host, by the name in the greeting (RFC 6066 §3).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::crypto::certificate::{Identity, provider};
use crate::domain::Timestamp;

/// A fatal alert `unrecognized_name`, as a record of its own (RFC 8446 §5.1, §6.2).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The library cannot do it: never seen in practice.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NotPossible(#[from] rustls::Error);

/// Why a connection came to nothing. For the log alone: the client learns what the protocol tells it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It broke off, or spoke something else, or an old version.
    #[error("the handshake failed: {0}")]
    Handshake(std::io::Error),
    /// It did not go on in time.
    #[error("the handshake took too long")]
    Slow,
    /// No certificate covers the name that it asked for.
    #[error("there is no certificate for the name that was asked for")]
    UnknownName,
}

/// A connection under TLS, and the certificate that was shown on it.
pub struct Secured<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// What the client was shown: it may ask for other hosts on this connection only where this covers them (RFC 9110 §7.4).
    pub identity: Arc<Identity>,
}

/// What is shown to clients. Taken over as a whole when files change; connections that stand are not touched.
pub struct Front {
    protocols: Vec<Vec<u8>>,
    offers: ArcSwap<Offers>,
}

/// A certificate with everything that a handshake needs. Each has tickets of its own, so that what was begun under one is
/// never resumed under another.
struct Offer {
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
}

/// Every certificate, by name.
struct Offers {
    all: Vec<Offer>,
    by_name: HashMap<String, usize>,
}

impl Front {
    /// With certificates, the first of which is shown to clients that name no host, and protocols for ALPN (RFC 7301), the
    /// dearest first.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn new(
        identities: &[Arc<Identity>],
        protocols: &[&str],
        now: Timestamp,
    ) -> Result<Self, NotPossible> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let offers = Offers::build(identities, &protocols, now, None)?;
        Ok(Self { protocols, offers: ArcSwap::from_pointee(offers) })
    }

    /// Shows these from the next handshake on.
    ///
    /// # Errors
    /// When the library refuses; then nothing has changed.
    pub fn replace(&self, identities: &[Arc<Identity>], now: Timestamp) -> Result<(), NotPossible> {
        let offers = Offers::build(identities, &self.protocols, now, Some(&self.offers.load()))?;
        self.offers.store(Arc::new(offers));
        Ok(())
    }

    /// What is shown now.
    #[must_use]
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        self.offers.load().all.iter().map(|offer| Arc::clone(&offer.identity)).collect()
    }

    /// Speaks TLS on a connection that was just accepted. The whole handshake must be done within the time given, however
    /// slowly its bytes come.
    ///
    /// # Errors
    /// See [`Refused`]; the client was told what the protocol tells.
    pub async fn secure<S>(&self, stream: S, within: Duration) -> Result<Secured<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::time::timeout(within, self.handshake(stream)).await.map_err(|_| Refused::Slow)?
    }

    async fn handshake<S>(&self, stream: S) -> Result<Secured<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start =
            LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(Refused::Handshake)?;
        let offers = self.offers.load_full();
        let Some(offer) = offers.find(start.client_hello().server_name()) else {
            // Whether it reads that is its own affair.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(Refused::UnknownName);
        };
        let stream = start.into_stream(Arc::clone(&offer.config)).await.map_err(Refused::Handshake)?;
        Ok(Secured { stream, identity: Arc::clone(&offer.identity) })
    }
}

impl Offers {
    /// What stays the same keeps its tickets.
    fn build(
        identities: &[Arc<Identity>],
        protocols: &[Vec<u8>],
        now: Timestamp,
        old: Option<&Offers>,
    ) -> Result<Self, NotPossible> {
        let mut all = Vec::with_capacity(identities.len());
        let mut by_name = HashMap::new();
        for identity in identities {
            // One that nobody takes stands back where another one is good for the same host.
            let good = |other: &&Arc<Identity>| other.in_force(now).is_ok();
            let over = identity.in_force(now).is_err();
            for name in identity.names() {
                if over && identities.iter().filter(good).any(|other| other.covers(name)) {
                    continue;
                }
                // Of two for the same name the first counts.
                by_name.entry(name.clone()).or_insert(all.len());
            }
            let known = old.and_then(|old| old.all.iter().find(|offer| offer.identity == *identity));
            let config = match known {
                Some(offer) => Arc::clone(&offer.config),
                None => Arc::new(config(identity, protocols)?),
            };
            all.push(Offer { identity: Arc::clone(identity), config });
        }
        Ok(Self { all, by_name })
    }

    /// The one to show. Clients that name no host reach us by address; they get the first.
    fn find(&self, name: Option<&str>) -> Option<&Offer> {
        let Some(name) = name else { return self.all.first() };
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, below) = name.split_once('.')?;
            self.by_name.get(&format!("*.{below}"))
        };
        let offer = self.by_name.get(&name).or_else(wildcard).and_then(|at| self.all.get(*at));
        offer.filter(|offer| offer.identity.covers(&name))
    }
}

fn config(identity: &Identity, protocols: &[Vec<u8>]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = protocols.to_vec();
    // Tickets that the client keeps: nothing here grows with the number of clients.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}
