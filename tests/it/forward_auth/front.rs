//! The proxy that stands in front, and the app behind it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::documentation;
use crate::support::free_port;
use crate::support::kill::{Running, wait_for_port};

/// Which proxy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Caddy,
    Nginx,
}

/// A proxy that runs with the configuration of the documentation.
pub(super) struct Front {
    pub(super) port: u16,
    _running: Running,
}

impl Front {
    pub(super) fn start(kind: Kind, folder: &Path, cardea: u16, asked: u16, app: u16) -> Self {
        let port = free_port();
        let text = block(kind)
            .replace("127.0.0.1:8600", &format!("127.0.0.1:{cardea}"))
            .replace("127.0.0.1:8601", &format!("127.0.0.1:{asked}"))
            .replace("127.0.0.1:3000", &format!("127.0.0.1:{app}"));
        let command = match kind {
            Kind::Caddy => caddy(folder, port, &text),
            Kind::Nginx => nginx(folder, port, &text),
        };
        let running = Running::start(command);
        wait_for_port(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self { port, _running: running }
    }
}

/// The configuration as the documentation gives it.
fn block(kind: Kind) -> String {
    let fence = match kind {
        Kind::Caddy => "```caddyfile\n",
        Kind::Nginx => "```nginx\n",
    };
    let text = std::fs::read_to_string(documentation()).unwrap();
    let (_, rest) = text.split_once(fence).unwrap();
    rest.split_once("```\n").unwrap().0.to_owned()
}

/// As documented, without TLS, on a port of its own.
fn nginx(folder: &Path, port: u16, text: &str) -> Command {
    assert_eq!(text.matches("listen 443 ssl;").count(), 2);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("ssl_certificate")).collect();
    let text = lines.join("\n");
    let text = text
        .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"))
        .replace(".example.com", ".cardea.localhost");
    let own = folder.join("nginx");
    std::fs::create_dir(&own).unwrap();
    let folder = own.display();
    let temporary = format!(
        "client_body_temp_path {folder}/client;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\n"
    );
    let user = if is_root() { "user root;\n" } else { "" };
    let whole = format!(
        "daemon off;\nmaster_process off;\n{user}pid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{text}\n}}\n",
    );
    let file = own.join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let mut command = Command::new(find("nginx"));
    command.arg("-p").arg(&own).arg("-c").arg(&file).args(["-e", "stderr"]);
    command
}

/// As documented, without TLS, on a port of its own.
fn caddy(folder: &Path, port: u16, text: &str) -> Command {
    let own = folder.join("caddy");
    std::fs::create_dir(&own).unwrap();
    let text = ["access", "wiki"].iter().fold(text.to_owned(), |text, name| {
        let site = format!("{name}.example.com {{");
        assert_eq!(text.matches(&site).count(), 1);
        text.replace(&site, &format!("http://{name}.cardea.localhost:{port} {{"))
    });
    let file = own.join("Caddyfile");
    std::fs::write(&file, format!("{{\n\tadmin off\n}}\n{text}")).unwrap();
    let mut command = Command::new(find("caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    command.env("HOME", &own).env("XDG_DATA_HOME", &own).env("XDG_CONFIG_HOME", &own);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A program of the search path, or of where Debian keeps those of administrators.
fn find(name: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: `make test` installs it"))
}

/// Sends bytes, reads to the end, gives the status; 0 when there was none.
pub(super) fn raw(port: u16, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer).into_owned();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

/// A request as the app received it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }
}

/// An app that writes down what it receives.
pub(super) struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), into) = (stream, Arc::clone(&into)) else { return };
                std::thread::spawn(move || answer(stream, &into));
            }
        });
        Self { address, seen }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("nothing reached the app").clone()
    }
}

/// One request on each connection.
fn answer(mut stream: TcpStream, into: &Mutex<Vec<Seen>>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            bytes.extend_from_slice(&buffer[..read]);
            true
        }
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if !more(&mut bytes) {
            return;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap();
    let field =
        |line: String| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned())).unwrap();
    let mut seen = Seen { line, fields: lines.map(field).collect(), body: Vec::new() };
    let length = seen.all("content-length").first().map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if !more(&mut bytes) {
            return;
        }
    }
    seen.body = bytes[end + 4..].to_vec();
    into.lock().unwrap().push(seen);
    let _ = stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\napp",
    );
}
