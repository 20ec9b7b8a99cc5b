//! From sections to settings: defaults are in, ranges are judged, values are weighed against one another.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::Code;
use super::desk::Desk;
use super::kinds::{FactorMethod, FilePath, SecretPlace, SecretRef, TlsMode, local};
use super::raw;
use super::read::{Read as _, Written};
use super::secrets::Care;
use super::settings::{
    Bootstrap, Brand, Lockout, Log, MasterKeys, Mfa, PasswordPolicy, Server, SessionLimits, Settings, SignIn,
    Storage, StorageUrl, Whereabouts,
};
use super::tls;
use super::tree::{Node, Table, Value};
use crate::domain::{EmailAddress, Password, Secret, Slug, Span, Username};

/// The most bytes of a path of a Unix socket on Linux, `sun_path` less its final NUL.
const MOST_SOCKET: usize = 107;

/// `None` when something is missing; the desk has the fault.
pub(super) fn settings(root: &raw::Root, desk: &mut Desk<'_>) -> Option<Settings> {
    if root.config_version.value != 1 {
        desk.fault(Code::Version, root.config_version.spot, "this version of Cardea reads config_version 1")
            .help("write config_version = 1, and look through the file with `cardea check`");
    }
    let storage = root.storage.0.as_ref().and_then(|raw| storage(raw, desk));
    let server = server(root, storage.as_ref(), desk);
    let tls = tls::front(root, desk);
    let master_keys = root.secrets.0.as_ref().and_then(|raw| master_keys(raw, desk));
    let session = root.session.0.as_ref().map(|raw| session(raw, desk));
    let sign_in = root.sign_in.0.as_ref().and_then(|raw| sign_in(raw, desk));
    let mfa = root.mfa.0.as_ref().map(|raw| mfa(raw, desk));
    let networks = networks(root);
    let bootstrap = bootstrap(server.as_ref(), desk);
    Some(Settings {
        server: server?,
        tls,
        storage: storage?,
        master_keys: master_keys?,
        log: root
            .log
            .0
            .as_ref()
            .map(|raw| Log { level: raw.level.value.0.clone(), format: raw.format.value })?,
        session: session?,
        sign_in: sign_in?,
        mfa: mfa?,
        networks,
        outbound: super::providers::reach(root),
        brand: root.brand.0.as_ref().map(|raw| Brand { name: raw.name.value.0.clone() })?,
        bootstrap,
    })
}

/// Networks by name.
pub(super) fn networks(root: &raw::Root) -> BTreeMap<Slug, Vec<IpNet>> {
    let named = root.networks.0.iter().flat_map(|networks| &networks.0);
    named.map(|(name, nets)| (name.value.clone(), nets.iter().map(|net| net.value).collect())).collect()
}

/// Notes a value outside its bounds.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    desk: &mut Desk<'_>,
    key: &str,
    value: &Written<T>,
    least: &T,
    most: &T,
) {
    if value.value < *least || value.value > *most {
        desk.fault(Code::OutOfRange, value.spot, format!("`{key}` is out of range"))
            .help(format!("write a value from {least} to {most}"));
    }
}

fn server(root: &raw::Root, storage: Option<&Storage>, desk: &mut Desk<'_>) -> Option<Server> {
    let Some(raw) = &root.server.0 else {
        if !desk.torn.contains("server") {
            desk.fault(Code::Missing, root.spot, "`server.public_url` is missing").help(
                "write a section [server] with public_url = \"https://access.example.com\": where people sign in",
            );
        }
        return None;
    };
    within(desk, "server.shutdown_grace", &raw.shutdown_grace, &Span::ZERO, &Span::minutes(10));
    within(desk, "server.data_threads", &raw.data_threads, &0, &1024);
    within(desk, "server.connections_per_client", &raw.connections_per_client, &1, &1_000_000);
    for net in raw.trusted_proxies.iter().filter(|net| too_wide(net.value)) {
        desk.fault(Code::TrustsEverybody, net.spot, "`server.trusted_proxies` includes too many")
            .label("anybody could say to come from anywhere")
            .help("name the addresses of the proxies in front");
    }
    listeners(root, raw, desk);
    Some(Server {
        public_url: raw.public_url.value.clone(),
        listen: raw.listen.iter().map(|listen| listen.value).collect(),
        forward_auth_listen: raw.forward_auth_listen.0.as_ref().map(|listen| listen.value),
        http_redirect: raw.http_redirect.0.as_ref().map(|at| at.value),
        acme_challenges: raw.acme_challenges.0.as_ref().map(|at| desk.folder(at.spot).join(&at.value.0)),
        ops_listen: raw.ops_listen.value,
        control_socket: control_socket(raw, storage, desk),
        trusted_proxies: raw.trusted_proxies.iter().map(|net| net.value).collect(),
        shutdown_grace: raw.shutdown_grace.value,
        data_threads: usize::try_from(raw.data_threads.value).unwrap_or_default(),
        connections_per_client: usize::try_from(raw.connections_per_client.value).unwrap_or(usize::MAX),
        data_plane: raw.data_plane.value,
    })
}

/// Whether a network is no site's own: wider than 10.0.0.0/8 and `fc00::/7`, or much of IPv4 in the clothes of IPv6.
fn too_wide(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < 8,
        IpNet::V6(net) => {
            let mapped = net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
            net.prefix_len() < 7 || (mapped && net.prefix_len() < 96 + 8)
        }
    }
}

fn listeners(root: &raw::Root, raw: &raw::Server, desk: &mut Desk<'_>) {
    if raw.listen.is_empty() && !desk.torn.contains("server") {
        desk.fault(Code::Missing, raw.spot, "`server.listen` names no address")
            .help("write [\"127.0.0.1:8600\"]");
    }
    let mode = root.tls.0.as_ref().map(|tls| tls.mode.value);
    let (off, tls) = (mode == Some(TlsMode::Off), mode == Some(TlsMode::Files));
    let mut taken: Vec<&Written<SocketAddr>> = Vec::new();
    for listen in raw.listeners() {
        let same = |first: &&&Written<SocketAddr>| first.value == listen.value && listen.value.port() != 0;
        if let Some(first) = taken.iter().find(same) {
            desk.fault(Code::Contradiction, listen.spot, format!("{} is listened on twice", listen.value))
                .help("choose another port for one of them")
                .also(first.spot, "first here");
        }
        taken.push(listen);
    }
    for listen in raw.listen.iter().filter(|listen| !listen.value.ip().is_loopback()) {
        if !tls && (!off || raw.trusted_proxies.is_empty()) {
            desk.fault(Code::BeyondLoopback, listen.spot, format!("{} can be reached without TLS", listen.value)).help(
                "write tls.mode = \"files\" and name a certificate; or listen on 127.0.0.1; or, behind a proxy that ends TLS, \
                 write tls.mode = \"off\" and name the proxy in server.trusted_proxies",
            );
        }
        if local(&raw.public_url.value.host) {
            desk.fault(
                Code::LocalName,
                raw.public_url.spot,
                "the public address reaches nobody but this machine",
            )
            .label("browsers elsewhere look for this name on their own machine")
            .help("write the name that others use, or listen on 127.0.0.1 alone")
            .also(listen.spot, "others can reach this");
        }
    }
    if let Some(listen) = &raw.forward_auth_listen.0
        && !listen.value.ip().is_loopback()
        && raw.trusted_proxies.is_empty()
    {
        desk.fault(Code::BeyondLoopback, listen.spot, format!("{} can be reached by anybody", listen.value))
            .label("only proxies that are named may ask who somebody is")
            .help("listen on 127.0.0.1, or name the proxies that ask in server.trusted_proxies");
    }
    if let Some(redirect) = &raw.http_redirect.0
        && !tls
        && !desk.torn.contains("tls")
    {
        desk.fault(
            Code::Contradiction,
            redirect.spot,
            "`server.http_redirect` leads to TLS, and there is none here",
        )
        .help("write tls.mode = \"files\" and name a certificate, or leave it out");
    }
    if let (Some(folder), None) = (&raw.acme_challenges.0, &raw.http_redirect.0) {
        desk.fault(
            Code::Contradiction,
            folder.spot,
            "`server.acme_challenges` is for plain HTTP, and nothing listens there",
        )
        .help("write http_redirect = \"0.0.0.0:80\" as well, or leave it out");
    }
    if !raw.ops_listen.value.ip().is_loopback() {
        desk.fault(Code::OpenOps, raw.ops_listen.spot, "health and metrics can be read without sign-in")
            .help("listen on 127.0.0.1, or let a firewall keep everybody else out");
    }
}

/// Where a running server is asked: as written, or by the storage. Two databases in one folder have a socket each.
fn socket_path(
    written: Option<&Written<FilePath>>,
    storage: Option<&StorageUrl>,
    desk: &Desk<'_>,
) -> PathBuf {
    match (written, storage) {
        (Some(written), _) => desk.folder(written.spot).join(&written.value.0),
        (None, Some(StorageUrl::Sqlite(path))) => path.with_extension("sock"),
        (None, _) => PathBuf::from("/run/cardea/cardea.sock"),
    }
}

fn control_socket(raw: &raw::Server, storage: Option<&Storage>, desk: &mut Desk<'_>) -> PathBuf {
    let written = raw.control_socket.0.as_ref();
    let spot = written.map_or(raw.spot, |written| written.spot);
    let path = socket_path(written, storage.map(|storage| &storage.url), desk);
    if path.as_os_str().len() > MOST_SOCKET {
        desk.fault(
            Code::OutOfRange,
            spot,
            format!("the control socket {} has too long a path", path.display()),
        )
        .help(format!("write a server.control_socket of at most {MOST_SOCKET} bytes"));
    }
    path
}

/// Where the server of a configuration that is wrong elsewhere can be asked: the few keys that say so are read, and no other.
/// `None` where one of them is wrong itself, or may be written where it was not seen: the usual place may be another server's.
pub(super) fn whereabouts(root: &Node, whole: bool, desk: &mut Desk<'_>) -> Option<Whereabouts> {
    let key = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
    let socket = match key("server", "control_socket") {
        Some(node) => Some(Written::<FilePath>::read(node, desk)?),
        None => None,
    };
    let url = match key("storage", "url") {
        Some(node) => Some(SecretRef::read(node, desk)?),
        None if whole => {
            let nothing = Node { value: Value::Table(Table::new()), spot: root.spot };
            raw::Storage::read(&nothing, desk).map(|usual| usual.url)
        }
        None => None,
    };
    let storage = url.and_then(|url| storage_url(&url, desk));
    if storage.is_none() && socket.is_none() {
        return None;
    }
    Some(Whereabouts { control_socket: socket_path(socket.as_ref(), storage.as_ref(), desk), storage })
}

fn storage(raw: &raw::Storage, desk: &mut Desk<'_>) -> Option<Storage> {
    within(desk, "storage.lease", &raw.lease, &Span::seconds(1), &Span::seconds(60));
    let url = storage_url(&raw.url, desk)?;
    Some(Storage { url, lease: raw.lease.value })
}

fn storage_url(secret: &SecretRef, desk: &mut Desk<'_>) -> Option<StorageUrl> {
    const HELP: &str = "write sqlite:PATH or postgres://USER@HOST/DATABASE";
    let text = match &secret.place {
        // Most are no secret at all, and then their faults are shown like any other.
        SecretPlace::Literal(text) => text.clone(),
        _ => desk.fetch(secret, Care::Any)?,
    };
    let bad = |desk: &mut Desk<'_>, message: &str, help: &str| {
        desk.fault(Code::BadValue, secret.spot, message).help(help);
        None
    };
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => bad(desk, "`storage.url` names no file", HELP),
            ":memory:" => {
                bad(desk, "`storage.url` would forget everything at the end", "name a file: sqlite:cardea.db")
            }
            path if path.contains(['?', '#', '\0']) => {
                bad(desk, "`storage.url` takes no options after the path", HELP)
            }
            path => Some(StorageUrl::Sqlite(desk.folder(secret.spot).join(path))),
        };
    }
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) if !rest.is_empty() => {
            if matches!(secret.place, SecretPlace::Literal(_)) {
                let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
                if user.contains(':') || rest.contains("password=") {
                    desk.hide(secret.spot);
                    desk.warn_literal(secret);
                }
            }
            Some(StorageUrl::Postgres(Secret::new(take(&text))))
        }
        _ => {
            // It may be a whole address of some other kind, with a password in it.
            desk.hide(secret.spot);
            bad(desk, "`storage.url` names no engine that Cardea has", HELP)
        }
    }
}

fn take(text: &Zeroizing<String>) -> String {
    text.as_str().to_owned()
}

fn master_keys(raw: &raw::Secrets, desk: &mut Desk<'_>) -> Option<MasterKeys> {
    let current = desk.fetch_key(&raw.master_key);
    let previous = raw.previous_master_keys.iter().filter_map(|secret| desk.fetch_key(secret)).collect();
    Some(MasterKeys { current: current?, previous })
}

fn session(raw: &raw::Session, desk: &mut Desk<'_>) -> SessionLimits {
    within(desk, "session.idle", &raw.idle, &Span::seconds(1), &Span::hours(24 * 90));
    within(desk, "session.absolute", &raw.absolute, &Span::seconds(1), &Span::hours(24 * 90));
    within(desk, "session.per_user", &raw.per_user, &1, &1000);
    if raw.idle.value > raw.absolute.value {
        desk.fault(Code::Contradiction, raw.idle.spot, "`session.idle` is longer than `session.absolute`")
            .help("make idle the shorter one: absolute ends every session")
            .also(raw.absolute.spot, "every session ends after this");
    }
    SessionLimits { idle: raw.idle.value, absolute: raw.absolute.value, per_user: raw.per_user.value }
}

fn sign_in(raw: &raw::SignIn, desk: &mut Desk<'_>) -> Option<SignIn> {
    let policy = raw.password_policy.0.as_ref()?;
    let lockout = raw.lockout.0.as_ref()?;
    within(desk, "sign_in.password_policy.min_length", &policy.min_length, &8, &128);
    within(desk, "sign_in.lockout.after", &lockout.after, &1, &100);
    within(desk, "sign_in.lockout.federated", &lockout.federated, &1, &10_000);
    within(desk, "sign_in.lockout.delay", &lockout.delay, &Span::millis(100), &Span::hours(24));
    within(desk, "sign_in.lockout.limit", &lockout.limit, &Span::millis(100), &Span::hours(24));
    if lockout.delay.value > lockout.limit.value {
        desk.fault(
            Code::Contradiction,
            lockout.delay.spot,
            "`sign_in.lockout.delay` is longer than its limit",
        )
        .help("make the delay the shorter one: it doubles until it reaches the limit")
        .also(lockout.limit.spot, "no delay is longer than this");
    }
    Some(SignIn {
        password: PasswordPolicy {
            min_length: policy.min_length.value,
            check_common: policy.check_common.value,
        },
        lockout: Lockout {
            after: lockout.after.value,
            delay: lockout.delay.value,
            limit: lockout.limit.value,
            federated: lockout.federated.value,
        },
        default_landing: raw.default_landing.value.clone(),
    })
}

fn mfa(raw: &raw::Mfa, desk: &mut Desk<'_>) -> Mfa {
    let has = |method: FactorMethod| raw.methods.iter().any(|written| written.value == method);
    if !has(FactorMethod::Totp) && !desk.torn.contains("mfa") {
        let spot = raw.methods.first().map_or(raw.spot, |method| method.spot);
        desk.fault(Code::Contradiction, spot, "`mfa.methods` leaves no factor to enrol")
            .help("write [\"totp\", \"recovery\"]; require = \"off\" asks nobody for one");
    }
    Mfa { require: raw.require.value, recovery: has(FactorMethod::Recovery) }
}

/// Scripted installations name the first administrator in the environment.
fn bootstrap(server: Option<&Server>, desk: &mut Desk<'_>) -> Option<Bootstrap> {
    let set = |desk: &Desk<'_>, name: &str| {
        desk.variable(name).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let user = set(desk, "ADMIN_USER");
    let mut password = set(desk, "ADMIN_PASSWORD").map(Zeroizing::new);
    let file = set(desk, "ADMIN_PASSWORD_FILE");
    let email = set(desk, "ADMIN_EMAIL");
    let at = |desk: &mut Desk<'_>, name: &str| {
        Desk::whole(desk.source(format!("the variable {name}"), String::new(), Path::new("")))
    };
    if let Some(file) = file {
        let spot = at(desk, "ADMIN_PASSWORD_FILE");
        if password.is_some() {
            desk.fault(Code::Bootstrap, spot, "ADMIN_PASSWORD and ADMIN_PASSWORD_FILE are both set")
                .help("unset one of them");
        }
        password = desk.file_of("ADMIN_PASSWORD_FILE", &file, spot).map(Zeroizing::new);
        // A file that cannot be read is fault enough.
        password.as_ref()?;
    }
    let (user, password) = match (user, password) {
        (None, None) => return None,
        (Some(user), Some(password)) => (user, password),
        (user, _) => {
            let (has, lacks) = if user.is_some() {
                ("ADMIN_USER", "ADMIN_PASSWORD")
            } else {
                ("ADMIN_PASSWORD", "ADMIN_USER")
            };
            let spot = at(desk, has);
            desk.fault(Code::Bootstrap, spot, format!("{has} is set and {lacks} is not")).help(
                "set both, or neither: then `cardea serve` prints a link to set the first administrator up",
            );
            return None;
        }
    };
    judge_bootstrap(&user, &password, email.as_deref(), server, desk)
}

fn judge_bootstrap(
    user: &str,
    password: &str,
    email: Option<&str>,
    server: Option<&Server>,
    desk: &mut Desk<'_>,
) -> Option<Bootstrap> {
    let refused = |desk: &mut Desk<'_>, name: &str, help: &str| {
        let source = desk.source(format!("the variable {name}"), String::new(), Path::new(""));
        desk.fault(Code::Bootstrap, Desk::whole(source), format!("{name} cannot be taken")).help(help);
    };
    let username = Username::parse(user).map_err(|bad| refused(desk, "ADMIN_USER", bad.0)).ok();
    let password = Password::parse(password).map_err(|bad| refused(desk, "ADMIN_PASSWORD", bad.0)).ok();
    let email =
        email.map(|text| EmailAddress::parse(text).map_err(|bad| refused(desk, "ADMIN_EMAIL", bad.0)));
    let bootstrap = Bootstrap { username: username?, password: password?, email: email.transpose().ok()? };
    let open = server.is_some_and(|server| server.listen.iter().any(|listen| !listen.ip().is_loopback()));
    if open && bootstrap.well_known() {
        refused(
            desk,
            "ADMIN_PASSWORD",
            "everybody knows this one: choose another, or listen on 127.0.0.1 alone",
        );
    }
    Some(bootstrap)
}
