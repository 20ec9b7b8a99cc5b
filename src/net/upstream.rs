//! The side that upstreams see: who answers must prove the name that was asked for, before a byte of a request is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::crypto::certificate::{Authorities, BadCertificate, Identity, Purpose, provider};
use crate::domain::Timestamp;
use crate::domain::route::{Protocol, UpstreamTls};

/// Why there is no trusted connection. For the log: what it says about the upstream is no client's business.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The certificate that we show, or the authority that we ask for.
    #[error("the route's own certificate or authority will not do: {0}")]
    Certificate(#[from] BadCertificate),
    /// It could not prove who it is, would not have us, or broke off.
    #[error("{}", in_words(.0))]
    Handshake(std::io::Error),
    /// No certificate can prove such a name.
    #[error("the name is none that a certificate can have")]
    Name,
    /// It does not agree to the version of HTTP that the route asks for.
    #[error("it does not agree to HTTP/2; leave upstream_protocol out, or have it offer h2")]
    Protocol,
    /// The library refuses; never seen in practice.
    #[error(transparent)]
    Setup(#[from] rustls::Error),
}

/// The authorities that this machine trusts. What operators add to their machine counts here as well.
#[must_use]
pub fn system_authorities() -> Authorities {
    Authorities::gathered(rustls_native_certs::load_native_certs().certs)
}

/// What went wrong in a greeting, and what to do about it.
fn in_words(error: &std::io::Error) -> String {
    use rustls::{CertificateError as Certificate, Error};
    let advice = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => match why {
            Certificate::UnknownIssuer => {
                "nobody who is trusted here has signed its certificate; name its authority in upstream_tls.ca"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "its certificate is for another name; write the address of `to` with that name, or name it in \
                 upstream_tls.server_name"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has run out; it must be renewed there"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not in force yet; see whether the clocks are right"
            }
            _ => "its certificate will not do",
        },
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS; write http:// in `to`, or the port at which it does"
        }
        Some(Error::AlertReceived(_)) => {
            "it refused the connection; it may want a certificate (upstream_tls.cert), another name, or a newer TLS"
        }
        _ if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the greeting; it may not speak TLS, or not for this name"
        }
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

/// Whether an error of a connection comes from TLS: an alert may come after our side of the handshake is done.
#[must_use]
pub fn blames_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>() || inner.is::<Failed>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The name of a version of HTTP in a TLS greeting.
const fn alpn(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Http1 => b"http/1.1",
        Protocol::Http2 => b"h2",
    }
}

/// Makes connections to upstreams trusted. Shared by all threads; asked only when a new connection is opened.
pub struct Connectors {
    system: Authorities,
    made: Mutex<HashMap<([u8; 32], Protocol), Made>>,
}

/// What was made of the settings of a route, for as long as somebody has those settings.
type Made = (Weak<UpstreamTls>, Arc<ClientConfig>);

impl Connectors {
    /// With the authorities for routes that name none.
    #[must_use]
    pub fn new(system: Authorities) -> Self {
        Self { system, made: Mutex::default() }
    }

    /// Speaks TLS on a connection that was just opened to `host`. The caller limits the time.
    ///
    /// # Errors
    /// See [`Failed`]. The connection is closed; it is never used without TLS.
    pub async fn secure<S>(
        &self,
        stream: S,
        host: &str,
        tls: &Arc<UpstreamTls>,
        protocol: Protocol,
        now: Timestamp,
    ) -> Result<TlsStream<S>, Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = tls.server_name.as_ref().map_or(host, |name| name.as_str());
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| Failed::Name)?;
        let config = self.config(tls, protocol, now)?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(Failed::Handshake)?;
        // Who agrees to nothing speaks HTTP/1.1 (RFC 9113 §3.2).
        if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(alpn(protocol)) {
            return Err(Failed::Protocol);
        }
        Ok(stream)
    }

    fn config(
        &self,
        tls: &Arc<UpstreamTls>,
        protocol: Protocol,
        now: Timestamp,
    ) -> Result<Arc<ClientConfig>, Failed> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = made.get(&(tls.id, protocol)).filter(|(spec, _)| spec.strong_count() > 0) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(tls, protocol, now)?);
        // What no route has any more is forgotten here, so this holds no more than the routes do.
        made.retain(|_, (spec, _)| spec.strong_count() > 0);
        made.insert((tls.id, protocol), (Arc::downgrade(tls), Arc::clone(&config)));
        Ok(config)
    }

    fn build(&self, tls: &UpstreamTls, protocol: Protocol, now: Timestamp) -> Result<ClientConfig, Failed> {
        // An authority of the route's own takes the place of all others: nobody else can vouch for its upstream.
        let authorities = match &tls.ca {
            Some(pem) => Authorities::parse(pem)?,
            None => self.system.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities.roots());
        let mut config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let identity = Identity::parse(chain, key.expose(), Purpose::Client)?;
                identity.in_force(now)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())))
            }
        };
        config.alpn_protocols = vec![alpn(protocol).to_vec()];
        Ok(config)
    }
}
