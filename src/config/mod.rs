//! The configuration: files, the environment and secret files, read, judged and made into settings and objects.
//!
//! Everything wrong is collected before anything is refused, and every fault names its place, its cause and its
//! remedy. This room is the only one that knows files and variables; it is handed the environment and never reads it.

mod catalogue;
mod code;
mod compile;
mod desk;
mod fingerprint;
mod headers;
mod init;
mod kinds;
mod layer;
mod objects;
mod providers;
mod raw;
mod read;
mod report;
mod routes;
mod saml;
mod schema;
mod secrets;
mod settings;
mod tls;
mod tree;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use catalogue::Catalogue;
use desk::Desk;
use fingerprint::Mark;
use read::Read as _;
use routes::Surroundings;

use crate::domain::{Hostname, Timestamp};

pub use code::Code;
pub use fingerprint::{Fingerprint, fingerprint};
pub use init::{Answers, FirstRoute, key_file, starter};
pub use objects::{FileOrg, FileRole, FileTenant, Objects};
pub use report::{Counts, Fault, Place, Report, Severity};
pub use schema::{manual, schema};
pub use settings::{
    Bootstrap, Brand, DataPlane, Landing, Lockout, Log, LogFormat, MasterKeys, Mfa, MfaRequire,
    PasswordPolicy, PublicUrl, Reach, Scheme, Server, SessionLimits, Settings, SignIn, Storage, StorageUrl,
    Tls, Whereabouts,
};

/// Where to read from.
#[derive(Clone, Default)]
pub struct Options {
    /// `--config`; otherwise `CARDEA_CONFIG`, `./cardea.toml`, `/etc/cardea/cardea.toml`.
    pub file: Option<PathBuf>,
    /// The environment of the process, by name and value.
    pub environment: Vec<(String, String)>,
    /// Where systemd put the credentials of the unit.
    pub credentials_directory: Option<PathBuf>,
}

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// How the process runs.
    pub settings: Settings,
    /// What the file owns.
    pub objects: Objects,
    /// Warnings only.
    pub report: Report,
    /// Every file that had a part in it, and every pattern that was searched for more.
    pub files: Vec<PathBuf>,
    /// The names of the environment variables that set a key.
    pub overrides: Vec<String>,
    /// What the files held when they were read.
    pub fingerprint: Fingerprint,
    /// How many files hold configuration, and not a secret.
    written: usize,
}

impl Loaded {
    /// In one line: `2 files, 14 routes, 9 roles, 1 tenant`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let Objects { tenants, roles, routes, .. } = &self.objects;
        [
            count(self.written, "file"),
            count(routes.len(), "route"),
            count(roles.len(), "role"),
            count(tenants.len(), "tenant"),
        ]
        .join(", ")
    }
}

/// Reads the whole configuration, and judges its certificates by the time.
///
/// # Errors
/// With a report of everything that is wrong, at least one of it an error.
pub fn load(options: &Options, now: Timestamp) -> Result<Loaded, Report> {
    load_from(options, &layer::USUAL.map(PathBuf::from), now)
}

/// Where the server of a refused configuration is asked: whoever has to stop somebody in a hurry needs its socket and nothing
/// else. `None` where that cannot be told from what is written.
#[must_use]
pub fn whereabouts(options: &Options, refused: &Report) -> Option<Whereabouts> {
    // No certificate is judged here.
    let mut desk = Desk::new(options, Timestamp::from_millis(0));
    let mut root = desk.read_files(&layer::USUAL.map(PathBuf::from))?;
    desk.apply_environment(&mut root);
    let whole = !refused.faults.iter().any(|fault| fault.code.hides_keys());
    compile::whereabouts(&root, whole, &mut desk)
}

/// The hosts of the portal and of every route, whatever else is wrong: who makes their certificates has none to name yet.
#[must_use]
pub fn hosts(options: &Options) -> Option<Vec<Hostname>> {
    let mut desk = Desk::new(options, Timestamp::from_millis(0));
    let mut root = desk.read_files(&layer::USUAL.map(PathBuf::from))?;
    desk.apply_environment(&mut root);
    let raw = raw::Root::read(&root, &mut desk)?;
    let portal = raw.server.0.as_ref().map(|server| server.public_url.value.host.clone());
    Some(portal.into_iter().chain(raw.route.iter().map(|route| route.host.value.clone())).collect())
}

fn load_from(options: &Options, usual: &[PathBuf], now: Timestamp) -> Result<Loaded, Report> {
    let mut desk = Desk::new(options, now);
    let root = desk.read_files(usual);
    // What could be made out of a broken text would only lead to faults that nobody made.
    let Some(mut root) = root.filter(|_| desk.errors() == 0) else { return Err(refusal(&desk)) };
    let overrides = desk.apply_environment(&mut root);
    let Some(raw) = raw::Root::read(&root, &mut desk) else { return Err(refusal(&desk)) };
    let settings = compile::settings(&raw, &mut desk);
    let networks = compile::networks(&raw);
    let catalogue = Catalogue::compile(&raw, &mut desk);
    let server = raw.server.0.as_ref();
    let listen = server.map(|server| server.listeners().map(|at| at.value).collect());
    let around = Surroundings {
        catalogue: &catalogue,
        networks: &networks,
        public_url: server.map(|server| &server.public_url.value),
        listen: listen.unwrap_or_default(),
        forward_auth: server.is_none_or(|server| server.forward_auth_listen.0.is_some()),
        carriers: headers::carriers(&raw).collect(),
    };
    let routes = routes::routes(&raw, &around, &mut desk);
    let providers = providers::providers(&raw, &catalogue, &mut desk);
    desk.check_variables();
    let Some(settings) = settings.filter(|_| desk.errors() == 0) else { return Err(refusal(&desk)) };
    let Catalogue { tenants, roles, groups, .. } = catalogue;
    let objects = Objects { tenants, roles, groups, providers, routes };
    let marks = marks(&desk);
    let fingerprint = fingerprint::combine(marks.iter().map(|(path, mark)| (path.as_path(), *mark)));
    let files: Vec<PathBuf> = marks.into_iter().map(|(path, _)| path).collect();
    let written = desk.texts.iter().filter(|text| files.contains(&PathBuf::from(&text.name))).count();
    Ok(Loaded { settings, objects, report: desk.report(), files, overrides, fingerprint, written })
}

/// What was looked at, each file once. Of a file that was read twice the first reading counts: if it changed in between
/// the configuration must be read again.
fn marks(desk: &Desk<'_>) -> Vec<(PathBuf, Mark)> {
    let mut marks = desk.files.clone();
    marks.sort_by(|a, b| a.0.cmp(&b.0));
    marks.dedup_by(|later, first| later.0 == first.0);
    marks
}

fn refusal(desk: &Desk<'_>) -> Report {
    Report { files: marks(desk).into_iter().map(|(path, _)| path).collect(), ..desk.report() }
}
