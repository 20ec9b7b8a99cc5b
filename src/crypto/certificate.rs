//! Certificates with their keys, judged before anybody is shown them (RFC 5280, RFC 6125 §6).
//!
//! An [`Identity`] is the proof: it can be read, its key fits, and it is for this use. Whether it is in force is a question of the
//! moment, see [`Identity::in_force`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::domain::Timestamp;

/// The one provider of cryptography for TLS; nothing is left to what another crate may have installed for the process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Who shows a certificate to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To a server, by a client.
    Client,
    /// To clients, by a server.
    Server,
}

/// Why a certificate or a key was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// Its time is over.
    #[error("the certificate ran out on {}", .0.words())]
    Expired(Timestamp),
    /// The file with the key has none that can be used.
    #[error("there is no private key in it that can be read")]
    Key,
    /// Key and certificate do not belong together.
    #[error("the key is not the one that the certificate was made for")]
    KeyMismatch,
    /// The file with the certificate has none.
    #[error("there is no certificate in it")]
    Missing,
    /// No client would take it: clients look at the alternative names only.
    #[error("the certificate names no host")]
    NoNames,
    /// Its time has not come.
    #[error("the certificate is not in force before {}", .0.words())]
    NotYet(Timestamp),
    /// It says itself that it is for something else.
    #[error("the certificate is not made for this use")]
    Purpose,
    /// It is no certificate, or one of a kind that is not understood.
    #[error("the certificate cannot be read")]
    Unreadable,
}

impl BadCertificate {
    /// The remedy.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            BadCertificate::Expired(_) => "renew it; the files are read again when they change",
            BadCertificate::Key => {
                "write the key as PEM without a passphrase, between BEGIN PRIVATE KEY and END PRIVATE KEY"
            }
            BadCertificate::KeyMismatch => "put the files of one pair beside one another",
            BadCertificate::Missing => {
                "write it as PEM, between BEGIN CERTIFICATE and END CERTIFICATE, the certificate of the host first; \
                 `openssl x509 -inform der -in FILE` makes it of a binary one"
            }
            BadCertificate::NoNames => {
                "get one with the hosts as alternative names; the common name is not looked at"
            }
            BadCertificate::NotYet(_) => {
                "see whether the clock of this machine is right, and wait or get another"
            }
            BadCertificate::Purpose => {
                "get one for the right use: server certificates for hosts, client certificates for upstreams"
            }
            BadCertificate::Unreadable => {
                "see whether the file is whole and an X.509 certificate of version 3"
            }
        }
    }
}

/// A certificate with its chain and its key.
pub struct Identity {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl fmt::Debug for Identity {
    /// Names only: there is a key in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Identity {
    /// The same chain: then the key is the same, too.
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Eq for Identity {}

impl Identity {
    /// Reads a chain and a key, each as PEM, and judges all about them but the time.
    ///
    /// # Errors
    /// See [`BadCertificate`].
    pub fn parse(chain: &[u8], key: &[u8], purpose: Purpose) -> Result<Self, BadCertificate> {
        let chain = certificates(chain)?;
        let leaf = chain.first().ok_or(BadCertificate::Missing)?;
        let Leaf { names, not_before, not_after } = Leaf::read(leaf, purpose)?;
        if purpose == Purpose::Server && names.is_empty() {
            return Err(BadCertificate::NoNames);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadCertificate::Key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => BadCertificate::KeyMismatch,
            rustls::Error::InvalidCertificate(_) => BadCertificate::Unreadable,
            _ => BadCertificate::Key,
        })?;
        Ok(Self { certified: Arc::new(certified), names, not_before, not_after })
    }

    /// Chain and key, for a handshake.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The hosts that it names, in lower case; `*.example.com` stands for one label.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Since when it is in force.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Whether others take it at a moment.
    ///
    /// # Errors
    /// [`BadCertificate::NotYet`] before its time and [`BadCertificate::Expired`] after it.
    pub fn in_force(&self, now: Timestamp) -> Result<(), BadCertificate> {
        if now < self.not_before {
            return Err(BadCertificate::NotYet(self.not_before));
        }
        if self.not_after <= now {
            return Err(BadCertificate::Expired(self.not_after));
        }
        Ok(())
    }

    /// When its time is over.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether a client that asks for this host, in lower case, takes the certificate. A `*` is one whole label, the first.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let below = host.split_once('.').map(|(_, below)| below);
        let stands_for = |name: &String| {
            // Clients do not take one for everything below a single label.
            name.strip_prefix("*.").is_some_and(|rest| Some(rest) == below && rest.contains('.'))
        };
        self.names.iter().any(|name| name == host)
            || (self.names.iter().any(stands_for) && host.parse::<IpAddr>().is_err())
    }
}

/// The authorities whose word is taken for the other side's certificate.
#[derive(Clone)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.roots.len())
    }
}

impl Authorities {
    /// Reads them from PEM. One that cannot be read refuses all: what an operator wrote down is meant.
    ///
    /// # Errors
    /// See [`BadCertificate`].
    pub fn parse(pem: &[u8]) -> Result<Self, BadCertificate> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|_| BadCertificate::Unreadable)?;
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// Those of the machine. Stores hold odd certificates; what cannot be read is left out.
    #[must_use]
    pub fn gathered(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        Self { roots: Arc::new(roots) }
    }

    /// For a handshake.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| BadCertificate::Unreadable)?;
    if all.is_empty() { Err(BadCertificate::Missing) } else { Ok(all) }
}

/// A certificate that somebody showed to us, as people look at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The hosts that it names.
    pub names: Vec<String>,
    /// When its time is over.
    pub not_after: Timestamp,
}

impl Shown {
    /// Reads one. It proves nothing: that was judged in the handshake.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let leaf = Leaf::read(&CertificateDer::from(der), Purpose::Server).ok()?;
        Some(Self { names: leaf.names, not_after: leaf.not_after })
    }
}

/// What a certificate says about itself.
struct Leaf {
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Leaf {
    fn read(der: &CertificateDer<'_>, purpose: Purpose) -> Result<Self, BadCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| BadCertificate::Unreadable)?;
        if !rest.is_empty() {
            return Err(BadCertificate::Unreadable);
        }
        if let Some(usage) = certificate.extended_key_usage().map_err(|_| BadCertificate::Unreadable)? {
            let named = match purpose {
                Purpose::Client => usage.value.client_auth,
                Purpose::Server => usage.value.server_auth,
            };
            if !named {
                return Err(BadCertificate::Purpose);
            }
        }
        let names = certificate.subject_alternative_name().map_err(|_| BadCertificate::Unreadable)?;
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
        let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let validity = certificate.validity();
        Ok(Self {
            names,
            not_before: moment(validity.not_before.timestamp()),
            // The second that it names still belongs to it (RFC 5280 §4.1.2.5).
            not_after: moment(validity.not_after.timestamp().saturating_add(1)),
        })
    }
}

/// A name that a client looks at.
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let six = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            four.or(six).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    use rustls::pki_types::ServerName;
    use rustls::server::ParsedCertificate;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn minted(names: &[&str], turn: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2028, 1, 1);
        turn(&mut params);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn parse(chain: &str, key: &str) -> Result<Identity, BadCertificate> {
        Identity::parse(chain.as_bytes(), key.as_bytes(), Purpose::Server)
    }

    #[test]
    fn proxy_25_what_is_wrong_with_a_certificate_is_found_before_anybody_sees_it() {
        let (good, key) = minted(&["a.example"], |_| {});
        let (other, other_key) = minted(&["b.example"], |_| {});
        assert_eq!(parse(&good, &key).unwrap().names(), ["a.example"]);
        assert_eq!(parse(&good, &other_key).unwrap_err(), BadCertificate::KeyMismatch);
        assert_eq!(parse(&other, &key).unwrap_err(), BadCertificate::KeyMismatch);
        assert_eq!(parse(&good, "nonsense").unwrap_err(), BadCertificate::Key);
        assert_eq!(parse(&good, &good).unwrap_err(), BadCertificate::Key);
        assert_eq!(parse("", &key).unwrap_err(), BadCertificate::Missing);
        assert_eq!(parse(&key, &key).unwrap_err(), BadCertificate::Missing);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(parse(broken, &key).unwrap_err(), BadCertificate::Unreadable);
        assert_eq!(parse(good.split_at(good.len() / 2).0, &key).unwrap_err(), BadCertificate::Unreadable);

        let (old, key) = minted(&["a.example"], |params| params.not_after = rcgen::date_time_ymd(2026, 2, 1));
        let old = parse(&old, &key).unwrap();
        assert_eq!(old.in_force(NOW), Err(BadCertificate::Expired(old.not_after())));
        let last = Timestamp::from_millis(old.not_after().millis() - 1);
        assert_eq!(old.in_force(last), Ok(()));
        let (early, key) =
            minted(&["a.example"], |params| params.not_before = rcgen::date_time_ymd(2027, 12, 1));
        let early = parse(&early, &key).unwrap();
        assert_eq!(early.in_force(NOW), Err(BadCertificate::NotYet(early.not_before())));
        let (nameless, key) = minted(&[], |_| {});
        assert_eq!(parse(&nameless, &key).unwrap_err(), BadCertificate::NoNames);
        let (client, key) = minted(&["a.example"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        assert_eq!(parse(&client, &key).unwrap_err(), BadCertificate::Purpose);
        assert!(Identity::parse(client.as_bytes(), key.as_bytes(), Purpose::Client).is_ok());
    }

    /// What we think a certificate covers is what the library lets a client think.
    #[test]
    fn f19_a_name_is_covered_where_a_client_takes_it() {
        let names = ["a.example", "*.b.example", "*.single", "192.0.2.1", "::1"];
        let (chain, key) = minted(&names, |_| {});
        let identity = parse(&chain, &key).unwrap();
        let certified = identity.certified();
        let parsed = ParsedCertificate::try_from(&certified.cert[0]).unwrap();
        for host in [
            "a.example",
            "x.a.example",
            "b.example",
            "x.b.example",
            "x.y.b.example",
            "xb.example",
            "example",
            "192.0.2.1",
            "192.0.2.2",
            "::1",
            "1.b.example",
            "x.single",
            "single",
        ] {
            let name = ServerName::try_from(host).unwrap();
            let taken = rustls::client::verify_server_name(&parsed, &name).is_ok();
            assert_eq!(identity.covers(host), taken, "{host}");
        }
        assert!(identity.covers("a.example") && !identity.covers("*.b.example.evil"));
    }

    #[test]
    fn authorities() {
        let (one, key) = minted(&["a.example"], |_| {});
        let (two, _) = minted(&["b.example"], |_| {});
        assert_eq!(Authorities::parse(format!("{one}{two}").as_bytes()).unwrap().roots().len(), 2);
        assert_eq!(Authorities::parse(key.as_bytes()).unwrap_err(), BadCertificate::Missing);
    }
}
