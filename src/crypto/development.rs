//! Certificates for development: an authority that this machine alone should trust, and what it vouches for.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::domain::{Secret, Span, Timestamp};

/// How long the authority lasts.
const AUTHORITY: Span = Span::hours(24 * 730);
/// How long a certificate lasts: what browsers take from others, too.
const CERTIFICATE: Span = Span::hours(24 * 397);

/// A certificate and its key, as PEM.
pub struct Minted {
    /// The certificate; for a host, with its authority after it.
    pub certificate: String,
    /// The key.
    pub key: Secret<String>,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate could be made: {0}")]
pub struct NotMinted(#[from] rcgen::Error);

/// A new authority.
///
/// # Errors
/// Never in practice.
pub fn authority(now: Timestamp) -> Result<Minted, NotMinted> {
    let mut params = lasting(CertificateParams::default(), now, AUTHORITY);
    params.distinguished_name.push(DnType::CommonName, "Cardea development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(Minted { certificate: params.self_signed(&key)?.pem(), key: Secret::new(key.serialize_pem()) })
}

/// A certificate for some hosts.
///
/// # Errors
/// When a host cannot stand in a certificate, or this is no authority.
pub fn issue(by: &Minted, hosts: &[String], now: Timestamp) -> Result<Minted, NotMinted> {
    let issuer = Issuer::from_ca_cert_pem(&by.certificate, KeyPair::from_pem(by.key.expose())?)?;
    let mut params = lasting(CertificateParams::new(hosts.to_vec())?, now, CERTIFICATE);
    params.distinguished_name.push(DnType::CommonName, "Cardea development");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem() + &by.certificate;
    Ok(Minted { certificate, key: Secret::new(key.serialize_pem()) })
}

fn lasting(mut params: CertificateParams, now: Timestamp, span: Span) -> CertificateParams {
    let moment = |at: Timestamp| {
        OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    // A clock that is a little behind should not refuse it.
    params.not_before = moment(now - Span::minutes(5));
    params.not_after = moment(now + span);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::certificate::{Authorities, Identity, Purpose};

    #[test]
    fn what_is_made_can_be_shown() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let authority = authority(now).unwrap();
        let hosts = ["access.cardea.localhost".to_owned(), "127.0.0.1".to_owned()];
        let minted = issue(&authority, &hosts, now).unwrap();
        let identity = {
            let (chain, key) = (minted.certificate.as_bytes(), minted.key.expose().as_bytes());
            Identity::parse(chain, key, Purpose::Server).unwrap()
        };
        assert_eq!(identity.in_force(now), Ok(()));
        assert!(hosts.iter().all(|host| identity.covers(host)));
        assert_eq!(identity.certified().cert.len(), 2);
        assert!(identity.in_force(now + Span::hours(24 * 398)).is_err());
        assert_eq!(Authorities::parse(authority.certificate.as_bytes()).unwrap().roots().len(), 1);
    }
}
