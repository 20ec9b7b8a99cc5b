//! What Cardea is measured against: nginx, which passes requests on blindly, and Apache, which asks who is calling.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::machine::{LOAD_CORE, Process, TARGET_CORE};
use super::product::host;
use super::provider;

/// nginx as it comes, but for: one worker, kept connections to the upstream, no access log, no end of requests on a
/// connection, and answers that go through memory only.
const NGINX: &str = "
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    server_names_hash_max_size 8192;
    server_names_hash_bucket_size 128;
";

/// nginx in front of the upstreams: a server for each host.
pub(crate) fn nginx(
    folder: &Path,
    listen: SocketAddr,
    hosts: usize,
    light: SocketAddr,
    heavy: SocketAddr,
    tls: Option<(&Path, &Path)>,
) -> anyhow::Result<Process> {
    let mut text = String::from(NGINX);
    let secured = match tls {
        // What Cardea has as it comes: TLS 1.2 and 1.3, tickets, no session cache.
        Some((cert, key)) => {
            let (cert, key) = (cert.display(), key.display());
            writeln!(
                text,
                "    ssl_certificate {cert};\n    ssl_certificate_key {key};\n    ssl_protocols TLSv1.2 TLSv1.3;"
            )?;
            " ssl"
        }
        None => "",
    };
    for (name, upstream) in [("light", light), ("heavy", heavy)] {
        writeln!(
            text,
            "    upstream {name} {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}"
        )?;
    }
    text.push_str(
        "    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    proxy_max_temp_file_size 0;
",
    );
    for number in 0..hosts {
        writeln!(
            text,
            "    server {{ listen {listen}{secured}; server_name {};\n        location / {{ proxy_pass http://light; }}\n        \
             location /n/ {{ proxy_pass http://heavy; }} }}",
            host(number)
        )?;
    }
    text.push_str("}\n");
    start_nginx("nginx", folder, TARGET_CORE, &text, listen)
}

/// nginx as an upstream, with files to give.
pub(crate) fn nginx_upstream(folder: &Path, listen: SocketAddr) -> anyhow::Result<Process> {
    let files = folder.join("files/n");
    fs::create_dir_all(&files)?;
    fs::write(files.join("1k"), vec![b'x'; 1024])?;
    fs::write(files.join("64k"), vec![b'x'; 65536])?;
    let text = format!(
        "{NGINX}    sendfile on;\n    open_file_cache max=10;\n    server {{ listen {listen}; root {}; }}\n}}\n",
        folder.join("files").display()
    );
    start_nginx("nginx as upstream", folder, LOAD_CORE, &text, listen)
}

fn start_nginx(
    name: &str,
    folder: &Path,
    core: &str,
    text: &str,
    listen: SocketAddr,
) -> anyhow::Result<Process> {
    fs::create_dir_all(folder)?;
    let file = folder.join("nginx.conf");
    // The worker keeps our rights: it lives in a folder that nobody else may enter.
    let user = if is_root() { "user root;\n" } else { "" };
    fs::write(&file, format!("{user}{text}"))?;
    let (prefix, file) = (shown(folder)?, shown(&file)?);
    let arguments = ["-p", prefix, "-c", file];
    let mut process = Process::start(name, Some(core), &program("nginx")?, &arguments, &folder.join("log"))?;
    process.wait_for(listen)?;
    Ok(process)
}

/// Apache with `mod_auth_openidc` in front of the light upstream.
pub(crate) fn apache(
    folder: &Path,
    listen: SocketAddr,
    light: SocketAddr,
    provider: SocketAddr,
) -> anyhow::Result<Process> {
    fs::create_dir_all(folder)?;
    let here = folder.display();
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let mut text = format!(
        "ServerRoot {here}\nPidFile {here}/pid\nErrorLog {here}/errors\nDefaultRuntimeDir {here}\nServerName bench\n\
         Listen {listen}\n{user}"
    );
    for module in [
        "mpm_event",
        "authn_core",
        "authz_core",
        "authz_user",
        "proxy",
        "proxy_http",
        "socache_shmcb",
        "auth_openidc",
    ] {
        writeln!(text, "LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so")?;
    }
    let metadata = provider::metadata(provider);
    let client = provider::CLIENT;
    write!(
        text,
        "ServerLimit 4\nStartServers 4\nThreadsPerChild 128\nThreadLimit 128\nMaxRequestWorkers 512\n\
         MinSpareThreads 1\nMaxSpareThreads 512\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
         OIDCProviderMetadataURL {metadata}\nOIDCClientID {client}\nOIDCClientSecret bench-secret\n\
         OIDCRedirectURI http://{listen}/callback\nOIDCCryptoPassphrase bench-passphrase\n\
         OIDCIDTokenSignedResponseAlg ES256\nOIDCSessionInactivityTimeout 3600\nOIDCSessionType server-cache\n\
         <Location />\n    AuthType openid-connect\n    Require valid-user\n</Location>\n\
         ProxyPass /callback !\nProxyPass / http://{light}/ keepalive=On\n"
    )?;
    let file = folder.join("apache.conf");
    fs::write(&file, text)?;
    let arguments = ["-D", "FOREGROUND", "-f", shown(&file)?];
    let mut process =
        Process::start("Apache", Some(TARGET_CORE), &program("apache2")?, &arguments, &folder.join("log"))?;
    process.wait_for(listen)?;
    Ok(process)
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.exists())
        .with_context(|| format!("{name} is missing: `make bench` installs it"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

pub(crate) fn shown(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the folder's name is no text")
}
