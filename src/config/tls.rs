//! Certificates and keys that the configuration names: read, judged, and weighed against the hosts they are for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Code;
use super::desk::Desk;
use super::kinds::{FilePath, SecretPlace, SecretRef, TlsMode};
use super::raw;
use super::read::{Maybe, Written};
use super::secrets::Care;
use super::settings::Tls;
use super::tree::Spot;
use crate::crypto::certificate::{Authorities, BadCertificate, Identity, Purpose};
use crate::crypto::digest::Hasher;
use crate::domain::route::UpstreamTls;
use crate::domain::{Hostname, Secret, Span, Timestamp};

/// How long before its end a certificate is warned about.
const SOON: Span = Span::hours(14 * 24);

/// A certificate and its key, as read.
struct Pair {
    spot: Spot,
    /// The certificate's file.
    file: PathBuf,
    chain: Vec<u8>,
    key_spot: Spot,
    key_file: Option<PathBuf>,
    key: Secret<Vec<u8>>,
}

/// What listeners show to clients.
pub(super) fn front(root: &raw::Root, desk: &mut Desk<'_>) -> Tls {
    let Some(raw) = &root.tls.0 else { return Tls::Off };
    let extra = raw.cert.0.iter().map(|cert| cert.spot).chain(raw.key.0.iter().map(|key| key.spot));
    let extra: Vec<Spot> = extra.chain(raw.certificate.iter().map(|pair| pair.spot)).collect();
    if raw.mode.value == TlsMode::Off {
        for spot in extra {
            desk.fault(Code::Contradiction, spot, "there is a certificate, and TLS is off")
                .help("write tls.mode = \"files\", or leave the certificate out")
                .also(raw.mode.spot, "off here");
        }
        return Tls::Off;
    }
    let named = raw.cert.0.is_some() || raw.key.0.is_some();
    let first = named.then_some((&raw.cert, &raw.key, raw.spot));
    let more = raw.certificate.iter().map(|pair| (&pair.cert, &pair.key, pair.spot));
    let pairs: Vec<_> = first.into_iter().chain(more).collect();
    if pairs.is_empty() && !desk.torn.contains("tls") {
        desk.fault(Code::Missing, raw.mode.spot, "`tls.cert` and `tls.key` are missing")
            .help("write cert = \"access.pem\" and key = { file = \"access.key\" }");
    }
    let mut identities: Vec<Arc<Identity>> = pairs
        .into_iter()
        .filter_map(|(cert, key, spot)| {
            let pair = pair(cert, key, spot, "tls", desk)?;
            judged(&pair, Purpose::Server, desk).map(Arc::new)
        })
        .collect();
    // The first of all is shown to clients that name no host.
    let now = desk.now;
    identities.sort_by_key(|identity| identity.in_force(now).is_err());
    if let Some(server) = &root.server.0
        && !server.public_url.value.secure()
    {
        desk.fault(
            Code::Contradiction,
            server.public_url.spot,
            "browsers are sent to plain HTTP, and the listeners speak TLS",
        )
        .help("write https:// in server.public_url, or tls.mode = \"off\"")
        .also(raw.mode.spot, "TLS here");
    }
    covered(root, &identities, raw.mode.spot, desk);
    Tls::Files(identities)
}

/// Notes hosts that no certificate covers: browsers cannot come to them.
fn covered(root: &raw::Root, identities: &[Arc<Identity>], mode: Spot, desk: &mut Desk<'_>) {
    // Where one could not be read nobody knows what it covers.
    if identities.is_empty() || desk.torn.contains("tls") || desk.has(Code::Certificate) {
        return;
    }
    let known = |host: &Hostname| identities.iter().any(|identity| identity.covers(host.as_str()));
    let help = "add a certificate for it: [[tls.certificate]] with cert and key";
    if let Some(server) = &root.server.0
        && !known(&server.public_url.value.host)
    {
        let host = &server.public_url.value.host;
        desk.fault(Code::PortalUncovered, server.public_url.spot, format!("no certificate covers {host}"))
            .label("nobody could sign in")
            .help(help)
            .also(mode, "TLS here");
    }
    let mut seen = BTreeSet::new();
    for host in root.route.iter().map(|route| &route.host) {
        if seen.insert(&host.value) && !known(&host.value) {
            desk.fault(Code::Uncovered, host.spot, format!("no certificate covers {}", host.value))
                .label("browsers cannot connect to it")
                .help(help);
        }
    }
}

/// How a route's upstreams are verified. `None` when something is wrong; the desk has the fault.
pub(super) fn upstream(raw: Option<&raw::UpstreamTls>, desk: &mut Desk<'_>) -> Option<Arc<UpstreamTls>> {
    let Some(raw) = raw else { return Some(Arc::default()) };
    let ca = match &raw.ca.0 {
        Some(path) => Some(authorities(path, desk)?),
        None => None,
    };
    let identity = if raw.cert.0.is_none() && raw.key.0.is_none() {
        None
    } else {
        let pair = pair(&raw.cert, &raw.key, raw.spot, "route.upstream_tls", desk)?;
        judged(&pair, Purpose::Client, desk)?;
        Some((pair.chain, pair.key))
    };
    let server_name = raw.server_name.0.as_ref().map(|name| name.value.clone());
    let mut id = Hasher::new();
    id.part(ca.as_deref().unwrap_or_default());
    let (chain, key) = identity.as_ref().map_or((&[][..], &[][..]), |(chain, key)| (chain, key.expose()));
    id.part(chain);
    id.part(key);
    id.part(server_name.as_ref().map_or("", |name| name.as_str()).as_bytes());
    Some(Arc::new(UpstreamTls { id: id.finish(), ca, identity, server_name }))
}

/// How an identity provider is verified: by authorities of its own, or by those of the machine.
pub(super) fn provider(ca: &Maybe<Written<FilePath>>, desk: &mut Desk<'_>) -> Option<Arc<UpstreamTls>> {
    let Some(path) = &ca.0 else { return Some(Arc::default()) };
    let ca = authorities(path, desk)?;
    let mut id = Hasher::new();
    id.part(&ca);
    Some(Arc::new(UpstreamTls { id: id.finish(), ca: Some(ca), identity: None, server_name: None }))
}

/// A file with authorities. `None` when something is wrong; the desk has the fault.
fn authorities(path: &Written<FilePath>, desk: &mut Desk<'_>) -> Option<Vec<u8>> {
    let pem = file(path, desk)?;
    if let Err(bad) = Authorities::parse(&pem) {
        wrong(&bad, &desk.folder(path.spot).join(&path.value.0), path.spot, desk);
        return None;
    }
    Some(pem)
}

/// Reads both halves.
fn pair(
    cert: &Maybe<Written<FilePath>>,
    key: &Maybe<SecretRef>,
    spot: Spot,
    section: &str,
    desk: &mut Desk<'_>,
) -> Option<Pair> {
    let mut missing = |name: &str| {
        if !desk.torn.contains(section.split('.').next().unwrap_or_default()) {
            desk.fault(Code::Missing, spot, format!("`{section}.{name}` is missing"))
                .help("a certificate and its key go together: write cert = \"…\" and key = { file = \"…\" }");
        }
    };
    let (cert, key) = match (&cert.0, &key.0) {
        (Some(cert), Some(key)) => (cert, key),
        (None, _) => {
            missing("cert");
            return None;
        }
        (_, None) => {
            missing("key");
            return None;
        }
    };
    let chain = file(cert, desk);
    let text = desk.fetch(key, Care::Group)?;
    if matches!(key.place, SecretPlace::Literal(_)) {
        desk.warn_literal(key);
    }
    let file = desk.folder(cert.spot).join(&cert.value.0);
    let key_file = match &key.place {
        SecretPlace::File(path) => Some(path.clone()),
        _ => None,
    };
    Some(Pair {
        spot: cert.spot,
        file,
        chain: chain?,
        key_spot: key.spot,
        key_file,
        key: Secret::new(text.as_bytes().to_vec()),
    })
}

fn file(path: &Written<FilePath>, desk: &mut Desk<'_>) -> Option<Vec<u8>> {
    read(&path.value.0, path.spot, desk)
}

/// A file that the configuration names, relative to it.
pub(super) fn read(path: &Path, spot: Spot, desk: &mut Desk<'_>) -> Option<Vec<u8>> {
    let full: PathBuf = desk.folder(spot).join(path);
    match desk.read_plain(&full) {
        Ok((bytes, _)) => Some(bytes),
        Err(error) => {
            unreadable(&full, &error, spot, desk);
            None
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error, spot: Spot, desk: &mut Desk<'_>) {
    desk.fault(Code::Unreadable, spot, format!("{} cannot be read", path.display()))
        .label(error.to_string())
        .help("check the path, and that the user Cardea runs as may read it");
}

fn judged(pair: &Pair, purpose: Purpose, desk: &mut Desk<'_>) -> Option<Identity> {
    let now = desk.now;
    match Identity::parse(&pair.chain, pair.key.expose(), purpose) {
        Ok(identity) => {
            match identity.in_force(now) {
                Ok(()) => soon(identity.not_after(), now, pair.spot, desk),
                // Everything else goes on: who has one certificate that is over should not lose the others as well.
                Err(bad) => {
                    let refused = match purpose {
                        Purpose::Client => "the upstream will not take it",
                        Purpose::Server => "browsers refuse the hosts that it is shown for",
                    };
                    let message = format!("{}: {bad}", pair.file.display());
                    desk.fault(Code::RanOut, pair.spot, message).label(refused).help(bad.help());
                }
            }
            Some(identity)
        }
        Err(bad @ BadCertificate::Key) => {
            let from =
                pair.key_file.as_ref().map_or_else(String::new, |file| format!("{}: ", file.display()));
            desk.fault(Code::Certificate, pair.key_spot, format!("{from}{bad}")).help(bad.help());
            None
        }
        Err(bad) => {
            wrong(&bad, &pair.file, pair.spot, desk);
            None
        }
    }
}

fn soon(end: Timestamp, now: Timestamp, spot: Spot, desk: &mut Desk<'_>) {
    if now.until(end) < SOON {
        desk.fault(Code::RunsOut, spot, format!("the certificate runs out on {}", end.words()))
            .label(format!("in {}", now.until(end).words()))
            .help("renew it; the files are read again when they change");
    }
}

fn wrong(bad: &BadCertificate, file: &Path, spot: Spot, desk: &mut Desk<'_>) {
    desk.fault(Code::Certificate, spot, format!("{}: {bad}", file.display())).help(bad.help());
}
