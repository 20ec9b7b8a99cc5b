//! What the configuration says about the process: complete, checked, with every default filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::crypto::certificate::Identity;
use crate::domain::{EmailAddress, Hostname, Password, Secret, Slug, Span, Username};

/// How the process runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners and addresses.
    pub server: Server,
    /// What the listeners show to clients.
    pub tls: Tls,
    /// Where records are kept.
    pub storage: Storage,
    /// What records are sealed with.
    pub master_keys: MasterKeys,
    /// What is logged.
    pub log: Log,
    /// How long sessions last.
    pub session: SessionLimits,
    /// How people sign in.
    pub sign_in: SignIn,
    /// Second factors.
    pub mfa: Mfa,
    /// Networks by name, for `net:`.
    pub networks: BTreeMap<Slug, Vec<IpNet>>,
    /// What the installation calls itself.
    pub brand: Brand,
    /// What may be reached besides the open internet.
    pub outbound: Vec<Reach>,
    /// The first administrator, when the environment names one.
    pub bootstrap: Option<Bootstrap>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// The address of portal, console and API.
    pub public_url: PublicUrl,
    /// Where requests are taken.
    pub listen: Vec<SocketAddr>,
    /// Where other proxies ask about the requests that they forward.
    pub forward_auth_listen: Option<SocketAddr>,
    /// Where plain HTTP is answered with the way to HTTPS.
    pub http_redirect: Option<SocketAddr>,
    /// Where the answers to authorities lie that ask for proof of a host.
    pub acme_challenges: Option<PathBuf>,
    /// Where health and metrics are served.
    pub ops_listen: SocketAddr,
    /// The Unix socket that the command line speaks to.
    pub control_socket: PathBuf,
    /// The peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long requests may go on after a stop was asked for.
    pub shutdown_grace: Span,
    /// Threads of the data plane; 0 is one per core.
    pub data_threads: usize,
    /// The most connections of one client.
    pub connections_per_client: usize,
    /// Who reads HTTP/1.1 from clients.
    pub data_plane: DataPlane,
}

impl Server {
    /// Every address that is listened on.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let more = [self.forward_auth_listen, self.http_redirect, Some(self.ops_listen)];
        self.listen.iter().copied().chain(more.into_iter().flatten())
    }
}

/// Who reads HTTP/1.1 from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPlane {
    /// The library.
    Hyper,
    /// Our own reader.
    Strict,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// These certificates, judged; the first is for clients that name no host.
    Files(Vec<Arc<Identity>>),
    /// None: a proxy in front has it, or nobody else can listen.
    Off,
}

/// A scheme that a browser uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS, ended here or in front.
    Https,
}

impl Scheme {
    /// As in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The address of the portal as browsers know it: scheme, host and port, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    /// Plain or over TLS.
    pub scheme: Scheme,
    /// The name.
    pub host: Hostname,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
}

impl PublicUrl {
    /// The origin (RFC 6454): `https://access.example.com`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin_of(&self.host)
    }

    /// The origin of another host that is reached in the same way: a route's.
    #[must_use]
    pub fn origin_of(&self, host: &Hostname) -> String {
        match self.port {
            Some(port) => format!("{}://{host}:{port}", self.scheme.as_str()),
            None => format!("{}://{host}", self.scheme.as_str()),
        }
    }

    /// Whether browsers come over TLS.
    #[must_use]
    pub const fn secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https)
    }

    /// The port, or the scheme's own.
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.secure() { 443 } else { 80 })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Which engine, and where.
    pub url: StorageUrl,
    /// How long a node trusts what it read last.
    pub lease: Span,
}

/// Which engine, and where.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageUrl {
    /// The whole address, which may hold a password.
    Postgres(Secret<String>),
    /// A file.
    Sqlite(PathBuf),
}

/// Where a running server is asked, and where its records are.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// The Unix socket that the command line speaks to.
    pub control_socket: PathBuf,
    /// Where records are kept; `None` when that is a secret that cannot be read here.
    pub storage: Option<StorageUrl>,
}

/// `[secrets]`
#[derive(Clone, Debug, PartialEq)]
pub struct MasterKeys {
    /// Seals what is written from now on.
    pub current: Secret<[u8; 32]>,
    /// Open what was sealed before.
    pub previous: Vec<Secret<[u8; 32]>>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `info`, or with parts: `info,cardea::proxy=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For reading.
    Text,
}

/// `[session]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Ends a session that is not used.
    pub idle: Span,
    /// Ends every session.
    pub absolute: Span,
    /// How many sessions a person has; the oldest makes room.
    pub per_user: u32,
}

/// `[sign_in]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// What a new password must be.
    pub password: PasswordPolicy,
    /// What failures lead to.
    pub lockout: Lockout,
    /// Where a sign-in without a target ends.
    pub default_landing: Landing,
}

/// `[sign_in.password_policy]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Characters.
    pub min_length: u32,
    /// Whether common passwords are refused.
    pub check_common: bool,
}

/// `[sign_in.lockout]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Failures that are free.
    pub after: u32,
    /// The first delay; doubles with each further failure.
    pub delay: Span,
    /// The longest delay.
    pub limit: Span,
    /// Sign-ins through a provider that may fail within an hour, from one address.
    pub federated: u32,
}

/// Where a sign-in without a target ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The list of apps.
    Apps,
    /// A route.
    Route(Slug),
}

/// `[mfa]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mfa {
    /// Who must have a second factor.
    pub require: MfaRequire,
    /// Whether recovery codes are given out and taken.
    pub recovery: bool,
}

/// Who must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaRequire {
    /// Administrators.
    Admins,
    /// Everybody.
    Everyone,
    /// Nobody: nobody is offered one, and one that is enrolled is not asked for at the sign-in. What a tenant, a role or a
    /// route demands, it demands all the same.
    Off,
    /// Whoever wants one.
    Optional,
}

/// What may be reached although it is private, on this machine or without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A host and a port.
    Host(String, u16),
    /// A network.
    Net(IpNet),
}

/// `[brand]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    /// On the sign-in page and in titles.
    pub name: String,
}

/// `ADMIN_USER`, `ADMIN_PASSWORD` and `ADMIN_EMAIL`.
#[derive(Clone)]
pub struct Bootstrap {
    /// The name to sign in with.
    pub username: Username,
    /// The first password; it must be changed at the first sign-in.
    pub password: Password,
    /// Where to write to.
    pub email: Option<EmailAddress>,
}

impl Bootstrap {
    /// Whether the password is the one that every manual prints.
    #[must_use]
    pub fn well_known(&self) -> bool {
        self.password.expose() == "changeme"
    }
}

impl fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bootstrap").field("username", &self.username).finish_non_exhaustive()
    }
}
