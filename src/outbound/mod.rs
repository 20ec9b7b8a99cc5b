//! The only way out: requests to addresses that somebody else named, such as an identity provider's.
//!
//! What is asked for is decided by others, so where it leads is checked here: over TLS, to addresses of the open internet
//! (`OIDC-25`), no redirects (`OIDC-26`), bounded in size (`OIDC-27`) and in time as a whole (`OIDC-28`). The address is
//! looked at after the name was resolved, and the connection goes to the very address that was looked at: a name that
//! changes its mind in between gains nothing. `[outbound] allow` names what may be reached all the same.

mod reach;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::domain::Timestamp;
use crate::domain::address::Zone;
use crate::domain::route::{Protocol, UpstreamTls};
use crate::net::{Connectors, Failed as NoTrust};

pub use reach::Allowed;

/// How long a request may take in all.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
pub const MOST: usize = 1024 * 1024;
/// The most bytes of an answer's head.
const MOST_HEAD: usize = 64 * 1024;

/// Why there is no answer. For the log and for administrators.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The address is none.
    #[error("{0} is no address that can be asked")]
    Address(String),
    /// Nobody there takes the connection.
    #[error("{host} does not take the connection: {why}")]
    Connect {
        /// Whom.
        host: String,
        /// As the machine says.
        why: std::io::Error,
    },
    /// It leads where requests may not go.
    #[error(
        "{host} leads to {address}, which is not on the open internet; if it is meant and private, name it in outbound.allow"
    )]
    Forbidden {
        /// The host.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// What came is no HTTP, or broke off.
    #[error("{host} gives no sound answer: {why}")]
    Http {
        /// Who.
        host: String,
        /// As the library says.
        why: String,
    },
    /// Plain HTTP.
    #[error("{0} would be asked without TLS; name it in outbound.allow if that is meant")]
    Plain(String),
    /// It wants to be asked elsewhere.
    #[error("{host} answers {status}, a redirect, and none is followed")]
    Redirect {
        /// Who.
        host: String,
        /// The status.
        status: u16,
    },
    /// The name is unknown.
    #[error("{host} cannot be found: {why}")]
    Resolve {
        /// Whom.
        host: String,
        /// As the machine says.
        why: std::io::Error,
    },
    /// It took too long.
    #[error("{0} did not answer within {seconds} seconds", seconds = DEADLINE.as_secs())]
    Slow(String),
    /// It could not prove its name.
    #[error("{host} could not prove its name: {why}{help}")]
    Tls {
        /// Who.
        host: String,
        /// As the library says.
        why: String,
        /// What to do, if that is known.
        help: &'static str,
    },
    /// Too much.
    #[error("{0} answers with more than {most} bytes", most = MOST)]
    TooLarge(String),
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; never a redirect.
    pub status: StatusCode,
    /// Its type, without parameters, in lower case.
    pub media_type: String,
    /// The body.
    pub body: Bytes,
    /// What time it is there, if it says so.
    pub date: Option<Timestamp>,
    /// The certificate that it showed, as DER.
    pub certificate: Option<Vec<u8>>,
}

/// The guarded client. One connection for each request: these are rare.
pub struct Outbound {
    connectors: Connectors,
    allow: ArcSwap<Vec<Allowed>>,
}

impl Outbound {
    /// With what may be reached besides the open internet.
    #[must_use]
    pub fn new(connectors: Connectors, allow: Vec<Allowed>) -> Self {
        Self { connectors, allow: ArcSwap::from_pointee(allow) }
    }

    /// Takes other exceptions from now on.
    pub fn allow(&self, allow: Vec<Allowed>) {
        self.allow.store(Arc::new(allow));
    }

    /// Sends a request and reads the answer, all within [`DEADLINE`]. Over TLS the other side proves who it is as `tls` says.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn send(
        &self,
        request: Request<Vec<u8>>,
        tls: &Arc<UpstreamTls>,
        now: Timestamp,
    ) -> Result<Answer, Failed> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let within = tokio::time::timeout(DEADLINE, self.exchange(request, &host, tls, now)).await;
        within.unwrap_or_else(|_| Err(Failed::Slow(host)))
    }

    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        host: &str,
        proof: &Arc<UpstreamTls>,
        now: Timestamp,
    ) -> Result<Answer, Failed> {
        let uri = request.uri().clone();
        let no_address = || Failed::Address(bounded(&uri));
        if host.is_empty() || uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(no_address());
        }
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(no_address()),
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = self.connect(host, port, tls).await?;
        let (parts, body) = request.into_parts();
        let mut asked = Request::from_parts(parts, Full::new(Bytes::from(body)));
        let authority = uri.authority().map_or(host, http::uri::Authority::as_str);
        asked.headers_mut().insert(HOST, HeaderValue::from_str(authority).map_err(|_| no_address())?);
        *asked.uri_mut() = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
            .parse()
            .map_err(|_| no_address())?;
        if tls {
            let secured = self.connectors.secure(stream, host, proof, Protocol::Http1, now).await;
            let secured = secured.map_err(|why| Failed::Tls {
                host: host.to_owned(),
                help: remedy(&why),
                why: why.to_string(),
            })?;
            let shown = secured.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let shown = shown.map(|certificate| certificate.to_vec());
            let answer = talk(secured, asked, host).await?;
            Ok(Answer { certificate: shown, ..answer })
        } else {
            talk(stream, asked, host).await
        }
    }

    /// A connection to the first address of the host that may be reached.
    async fn connect(&self, host: &str, port: u16, tls: bool) -> Result<TcpStream, Failed> {
        let addresses = resolve(host, port).await?;
        let allow = self.allow.load();
        let mut refused = None;
        for address in addresses {
            let named = allow.iter().any(|allowed| allowed.covers(host, address));
            let open = match Zone::of(address.ip()) {
                Zone::Public => true,
                Zone::Loopback | Zone::Private => named,
                // Where clouds tell machines their secrets, no exception leads.
                Zone::Forbidden(_) => false,
            };
            if !named && !tls {
                refused = Some(Failed::Plain(host.to_owned()));
            } else if !open {
                refused = Some(Failed::Forbidden { host: host.to_owned(), address: address.ip() });
            } else {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(why) => refused = Some(Failed::Connect { host: host.to_owned(), why }),
                }
            }
        }
        Err(refused.unwrap_or_else(|| Failed::Resolve {
            host: host.to_owned(),
            why: std::io::Error::other("the name has no address"),
        }))
    }
}

/// What an operator does about a certificate that is not taken.
fn remedy(failed: &NoTrust) -> &'static str {
    use rustls::{CertificateError as Bad, Error};
    let NoTrust::Handshake(error) = failed else { return "" };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "; nobody this machine trusts has signed its certificate: name that authority in `ca`"
        }
        Some(Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "; its certificate has run out: have it renewed there, and see that the clock here is right"
        }
        Some(Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. })) => {
            "; its certificate is not in force yet: see that both clocks are right"
        }
        Some(Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            "; its certificate is for other names: see whether the issuer is written with the right host"
        }
        _ => "",
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failed> {
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    // These names are this machine's (RFC 6761 §6.3), and no resolver is asked for them.
    if bare == "localhost" || bare.ends_with(".localhost") {
        return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    }
    let found = tokio::net::lookup_host((bare, port)).await;
    Ok(found.map_err(|why| Failed::Resolve { host: host.to_owned(), why })?.take(8).collect())
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>, host: &str) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unsound = |why: &dyn std::fmt::Display| Failed::Http { host: host.to_owned(), why: why.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unsound(&error))?;
    // Ends with this set, also when the time is up.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the outside ended badly");
        }
    });
    let answer = sender.send_request(request).await.map_err(|error| unsound(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(Failed::Redirect { host: host.to_owned(), status: status.as_u16() });
    }
    let media_type =
        answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let date =
        answer.headers().get(DATE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let date = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
    let date = date.and_then(|since| i64::try_from(since.as_millis()).ok()).map(Timestamp::from_millis);
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Failed::TooLarge(host.to_owned())
        } else {
            unsound(&error)
        }
    })?;
    Ok(Answer { status, media_type, body: body.to_bytes(), date, certificate: None })
}

/// An address as messages show it: scheme and host, nothing that could be a secret.
fn bounded(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("?");
    format!("{scheme}://{}", uri.host().unwrap_or("?")).chars().take(200).collect()
}

#[cfg(test)]
mod tests;
