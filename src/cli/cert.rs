//! `cardea cert`: certificates for development, and which ones the configuration names.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::{self, Tls};
use crate::crypto::certificate::BadCertificate;
use crate::crypto::development::{self, Minted};
use crate::domain::Secret;

use super::args::{Certificates, DevelopmentCertificate};
use super::{Shell, Stop, now, output};

pub(super) fn run(shell: &Shell, wanted: &Certificates) -> Result<u8, Stop> {
    match wanted {
        Certificates::Dev(wanted) => dev(shell, wanted),
        Certificates::List => list(shell),
    }
}

/// Makes an authority where there is none, and a certificate for every host.
fn dev(shell: &Shell, wanted: &DevelopmentCertificate) -> Result<u8, Stop> {
    let refused = |error: development::NotMinted| Stop::refused(error.to_string());
    let hosts = hosts(shell, wanted)?;
    let place = |name: &str| wanted.dir.join(name);
    fs::create_dir_all(&wanted.dir)
        .map_err(|error| Stop::refused(format!("cannot make {}: {error}", wanted.dir.display())))?;
    let (ca, ca_key) = (place("ca.pem"), place("ca.key"));
    let authority = match (ca.exists(), ca_key.exists()) {
        (true, true) if !wanted.new_ca => {
            Minted { certificate: read(&ca)?, key: Secret::new(read(&ca_key)?) }
        }
        (false, false) => made(&ca, &ca_key)?,
        _ if wanted.new_ca => made(&ca, &ca_key)?,
        _ => {
            return Err(Stop::refused(format!(
                "{} holds half an authority; put the other half back, or make a new one with --new-ca",
                wanted.dir.display()
            )));
        }
    };
    let minted = development::issue(&authority, &hosts, now()).map_err(refused)?;
    let (cert, key) = (place("dev.pem"), place("dev.key"));
    write(&cert, minted.certificate.as_bytes(), 0o644)?;
    write(&key, minted.key.expose().as_bytes(), 0o600)?;
    output::print(&format!(
        "For {}: {} and {}.\n\n\
         In cardea.toml:\n\n  [tls]\n  mode = \"files\"\n  cert = \"{}\"\n  key  = {{ file = \"{}\" }}\n\n\
         Have this machine, and no other, trust {}: until then browsers warn. Whoever has {} can pass for any\n\
         site to those who trust it; it stays out of version control.\n",
        hosts.join(", "),
        cert.display(),
        key.display(),
        cert.display(),
        key.display(),
        ca.display(),
        ca_key.display(),
    ));
    Ok(0)
}

fn made(ca: &Path, key: &Path) -> Result<Minted, Stop> {
    let authority = development::authority(now()).map_err(|error| Stop::refused(error.to_string()))?;
    write(ca, authority.certificate.as_bytes(), 0o644)?;
    write(key, authority.key.expose().as_bytes(), 0o600)?;
    Ok(authority)
}

/// Those that were named, or else the portal's and every route's; and this machine.
fn hosts(shell: &Shell, wanted: &DevelopmentCertificate) -> Result<Vec<String>, Stop> {
    let mut hosts: BTreeSet<String> = wanted.host.iter().map(|host| host.to_ascii_lowercase()).collect();
    if hosts.is_empty() {
        // Its certificates may be what is missing.
        let Some(named) = config::hosts(&shell.options) else {
            if let Err(report) = config::load(&shell.options, now()) {
                output::note(report.render(shell.screen.color_err).trim_end());
            }
            let why = "the configuration cannot be read, so its hosts are not known; name them with --host";
            return Err(Stop::usage(why));
        };
        hosts.extend(named.iter().map(ToString::to_string));
    }
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    Ok(hosts.into_iter().collect())
}

/// What the listeners show, in the order in which it is looked through.
fn list(shell: &Shell) -> Result<u8, Stop> {
    let loaded = config::load(&shell.options, now()).map_err(|report| {
        output::note(report.render(shell.screen.color_err).trim_end());
        Stop::usage("the configuration does not load")
    })?;
    match &loaded.settings.tls {
        Tls::Off => output::print("tls.mode is \"off\": no certificate is shown\n"),
        Tls::Files(identities) => {
            let now = now();
            for identity in identities {
                let names = identity.names().join(", ");
                output::print(&match identity.in_force(now) {
                    Ok(()) => format!("{names}  until {}\n", identity.not_after().words()),
                    Err(BadCertificate::Expired(at)) => format!("{names}  EXPIRED on {}\n", at.words()),
                    Err(bad) => format!("{names}  NOT IN FORCE: {bad}\n"),
                });
            }
        }
    }
    Ok(0)
}

fn read(file: &Path) -> Result<String, Stop> {
    fs::read_to_string(file)
        .map_err(|error| Stop::refused(format!("cannot read {}: {error}", file.display())))
}

/// Writes a file whole or not at all: a server may be watching it.
fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Stop> {
    let beside = file.with_extension("new");
    let written = || -> std::io::Result<()> {
        // One that was left behind may be open to others.
        let _ = fs::remove_file(&beside);
        let mut open = fs::OpenOptions::new();
        open.write(true).create_new(true).mode(mode).open(&beside)?.write_all(bytes)?;
        fs::rename(&beside, file)
    };
    written().map_err(|error| Stop::refused(format!("cannot write {}: {error}", file.display())))
}
