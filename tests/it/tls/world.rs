//! A gateway with TLS, its authority, and clients that trust it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cardea::access::Authority as Rights;
use cardea::admin::NewUser;
use cardea::app::{self, Machine, Running};
use cardea::config;
use cardea::domain::{AccountKind, Password, PersonName, Username};
use cardea::sys::{Clock as _, OsChance, SystemClock};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::free_port;

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Minted {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Minted {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn named(names: &[&str], until: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}

/// Signed by nobody but itself.
pub(crate) fn self_signed(names: &[&str]) -> Minted {
    let key = KeyPair::generate().unwrap();
    Minted { cert: named(names, 2100).self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Minted {
        self.issue_until(names, 2100)
    }

    pub(crate) fn issue_until(&self, names: &[&str], until: i32) -> Minted {
        let key = KeyPair::generate().unwrap();
        let cert = named(names, until).signed_by(&key, &self.0).unwrap();
        Minted { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        roots
    }

    /// What a client has that trusts this authority.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }
}

/// A gateway with TLS in front.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    /// Where plain HTTP is redirected.
    pub(crate) plain: u16,
    pub(crate) authority: Authority,
}

impl World {
    /// With a certificate for `*.cardea.localhost`, and these routes.
    pub(crate) async fn open(routes: &str) -> Self {
        Self::with(routes, &[]).await
    }

    /// Without TLS.
    pub(crate) async fn plain(routes: &str) -> Self {
        Self::spoken("http", routes, &[]).await
    }

    /// With more files in its folder.
    pub(crate) async fn with(routes: &str, files: &[(&str, &str)]) -> Self {
        Self::spoken("https", routes, files).await
    }

    /// With a folder for the answers to authorities.
    pub(crate) async fn answering(folder: &str, routes: &str) -> Self {
        Self::serving("https", &format!("acme_challenges = \"{folder}\"\n"), routes, &[]).await
    }

    async fn spoken(scheme: &str, routes: &str, files: &[(&str, &str)]) -> Self {
        Self::serving(scheme, "", routes, files).await
    }

    /// With more about the server.
    async fn serving(scheme: &str, server: &str, routes: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let place = |name: &str| folder.path().join(name);
        write(&place("master.key"), &config::key_file(&[7; 32]));
        write_pair(&place("front"), &authority.issue(&["*.cardea.localhost"]));
        for (name, text) in files {
            write(&place(name), text);
        }
        let (port, plain, ops) = (free_port(), free_port(), free_port());
        let tls = if scheme == "https" {
            "[tls]\nmode = \"files\"\ncert = \"front.pem\"\nkey = { file = \"front.key\" }\n"
        } else {
            ""
        };
        let redirect = if scheme == "https" {
            format!("http_redirect = \"127.0.0.1:{plain}\"\n")
        } else {
            String::new()
        };
        let text = format!(
            "[server]\npublic_url = \"{scheme}://access.cardea.localhost:{port}\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             {redirect}{server}ops_listen = \"127.0.0.1:{ops}\"\nshutdown_grace = \"1s\"\n\
             data_threads = 1\n[storage]\nurl = \"sqlite:cardea.db\"\n[secrets]\nmaster_key = {{ file = \"master.key\" }}\n\
             [mfa]\nrequire = \"off\"\n{tls}{routes}"
        );
        write(&place("cardea.toml"), &text);
        let options = config::Options {
            file: Some(place("cardea.toml")),
            environment: Vec::new(),
            credentials_directory: None,
        };
        let clock = SystemClock::default();
        let loaded = config::load(&options, clock.now()).unwrap_or_else(|report| panic!("{report}"));
        let machine = Machine { clock: Arc::new(clock), chance: Arc::new(OsChance), demo: false };
        let running = app::start(loaded, options, machine).await.unwrap();
        Self { running, folder, port, plain, authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}.cardea.localhost:{}{path}", self.port)
    }

    /// Somebody with a password that must be changed at the first sign-in.
    pub(crate) async fn person(&self, name: &str, password: &str) {
        let new = NewUser {
            kind: AccountKind::Admin,
            password: Some(Password::parse(password).unwrap()),
            ..NewUser::new(Username::parse(name).unwrap(), PersonName::parse(name).unwrap())
        };
        self.running.house.admin.create_user(&Rights::system(), new).await.unwrap();
    }

    /// A connection on which the client asked for this name, or for none.
    pub(crate) async fn connect(&self, name: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(name, self.authority.client(rustls::DEFAULT_VERSIONS)).await
    }

    pub(crate) async fn connect_as(
        &self,
        name: Option<&str>,
        mut config: ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        config.enable_sni = name.is_some();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let name = ServerName::try_from(name.unwrap_or("access.cardea.localhost").to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One GET on a connection of its own.
    pub(crate) async fn get(&self, host: &str, path: &str) -> String {
        let name = format!("{host}.cardea.localhost");
        let mut stream = self.connect(Some(&name)).await.unwrap();
        ask(&mut stream, &name, path, true).await
    }
}

/// The certificate that a server showed.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// One GET; the answer as text, as far as its length says, or to the end of the connection.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, host: &str, path: &str, last: bool) -> String {
    let connection = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{connection}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let length = text
            .split_once("\r\n\r\n")
            .and_then(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                Some((length.parse::<usize>().ok()?, body.len()))
            })
            .is_some_and(|(length, have)| have >= length);
        let mut some = vec![0; 16 * 1024];
        let read = if length && !last { 0 } else { stream.read(&mut some).await.unwrap() };
        if read == 0 {
            return text;
        }
        answer.extend_from_slice(&some[..read]);
    }
}

pub(crate) fn write(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// `….pem` and `….key`.
pub(crate) fn write_pair(stem: &std::path::Path, pair: &Minted) {
    write(&stem.with_extension("pem"), &pair.cert);
    write(&stem.with_extension("key"), &pair.key);
}

/// An app that says hello, over plain HTTP.
pub(crate) fn hello() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = [0; 8192];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
                }
            });
        }
    });
    address
}

/// An app that says hello and remembers what it was asked.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&recorder.seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), seen) = (stream, Arc::clone(&seen)) else { return };
                std::thread::spawn(move || Self::converse(stream, &seen));
            }
        });
        recorder
    }

    fn converse(mut stream: std::net::TcpStream, seen: &Mutex<Vec<String>>) {
        let (mut got, mut some) = (String::new(), [0; 8192]);
        loop {
            let whole = got.split_once("\r\n\r\n").and_then(|(head, body)| {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                let chunked = head.contains("transfer-encoding: chunked");
                let need = if chunked {
                    body.find("0\r\n\r\n").map(|at| at + 5)
                } else {
                    Some(length.unwrap_or(0)).filter(|length| body.len() >= *length)
                };
                need.map(|need| head.len() + 4 + need)
            });
            if let Some(length) = whole {
                let rest = got.split_off(length);
                seen.lock().unwrap().push(std::mem::replace(&mut got, rest));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
                continue;
            }
            match stream.read(&mut some) {
                Ok(read) if read > 0 => got.push_str(&String::from_utf8_lossy(&some[..read])),
                _ => return,
            }
        }
    }

    /// How many whole requests arrived.
    pub(crate) fn whole(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The last of them.
    pub(crate) fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

/// An app over TLS. Notes what it was sent before and after the handshake, and why handshakes failed.
pub(crate) struct SecureApp {
    pub(crate) address: SocketAddr,
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl SecureApp {
    /// With a certificate; with an authority it wants one from the client, too.
    pub(crate) async fn open(pair: &Minted, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                rustls::server::WebPkiClientVerifier::builder_with_provider(
                    Arc::new(authority.roots()),
                    provider,
                )
                .build()
                .unwrap(),
            ),
        };
        let config = builder.with_single_cert(vec![pair.der()], pair.key()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            failures: Arc::default(),
            requests: Arc::default(),
        };
        let (failures, requests) = (Arc::clone(&app.failures), Arc::clone(&app.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, failures, requests) =
                    (acceptor.clone(), Arc::clone(&failures), Arc::clone(&requests));
                tokio::spawn(async move {
                    let mut stream = match acceptor.accept(stream).await {
                        Ok(stream) => stream,
                        Err(error) => return failures.lock().unwrap().push(error.to_string()),
                    };
                    let mut head = vec![0; 8192];
                    while let Ok(read) = stream.read(&mut head).await {
                        if read == 0 {
                            return;
                        }
                        requests.lock().unwrap().push(String::from_utf8_lossy(&head[..read]).into_owned());
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
                    }
                });
            }
        });
        app
    }
}

/// A route that everybody may take.
pub(crate) fn public_route(name: &str, to: &str, more: &str) -> String {
    format!("[[route]]\nhost = \"{name}.cardea.localhost\"\nto = [\"{to}\"]\npublic = true\n{more}\n")
}
