//! Cardea as a person would run it: a configuration, people brought in by the command line, real sessions, `cardea serve`.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cardea::access::Authority;
use cardea::app::{House, Machine};
use cardea::config;
use cardea::crypto::password_hash;
use cardea::domain::session::FirstFactor;
use cardea::domain::{Level, Password, SessionId, Span, UserId};
use cardea::store::sessions::{self, Session};
use cardea::sys::{OsChance, SystemClock};
use serde_json::json;

use super::browser::Browser;
use super::machine::Process;
use super::peers::shown;

/// Everybody's password.
const PASSWORD: &str = "maple-ferry-31";
/// How many people there are; each has as many sessions as it takes.
pub(crate) const PEOPLE: usize = 1000;
/// One more, who signs in over HTTP: that ends the oldest of somebody who has too many sessions.
pub(crate) const VISITOR: usize = PEOPLE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardea");

/// A way to run Cardea.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Lines for `[server]`.
    pub(crate) server: &'static str,
}

/// The ways that are measured.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "Cardea", server: "" },
    Variant { name: "Cardea, data_plane = \"hyper\"", server: "data_plane = \"hyper\"" },
];

/// The host of a route.
pub(crate) fn host(number: usize) -> String {
    format!("r{number:04}.bench.localhost")
}

pub(crate) fn person(number: usize) -> String {
    format!("u{number:04}")
}

/// Where an installation is and what it stands in front of.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) ops: SocketAddr,
    /// How many hosts, each with a route.
    pub(crate) hosts: usize,
    pub(crate) light: SocketAddr,
    pub(crate) heavy: SocketAddr,
    /// Certificate and key, if it speaks TLS.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
}

impl Site<'_> {
    /// The `Host` of a route.
    pub(crate) fn authority(&self, number: usize) -> String {
        format!("{}:{}", host(number), self.listen.port())
    }

    fn portal(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://access.bench.localhost:{}", self.listen.port())
    }

    /// Writes the configuration and, the first time, the master key.
    pub(crate) fn write(&self, variant: &Variant) -> anyhow::Result<()> {
        fs::create_dir_all(self.folder)?;
        let (here, portal) = (self.folder.display(), self.portal());
        let (listen, ops, light, heavy) = (self.listen, self.ops, self.light, self.heavy);
        let server = variant.server;
        let mut text = format!(
            r#"config_version = 1

[server]
public_url     = "{portal}"
listen         = ["{listen}"]
ops_listen     = "{ops}"
control_socket = "{here}/cardea.sock"
shutdown_grace = "1s"
{server}

[storage]
url = "sqlite:{here}/cardea.db"

[secrets]
master_key = {{ file = "{here}/master.key" }}

[log]
level  = "warn"
format = "text"

[mfa]
require = "optional"

[[tenant]]
slug    = "acme"
name    = "Acme Industries"
domains = ["acme.example"]

  [[tenant.org]]
  slug        = "europe"
  name        = "Acme Europe"
  departments = [{{ slug = "finance", name = "Finance" }}]

[[role]]
slug        = "analyst"
tenant      = "acme"
name        = "Reports analyst"
scope       = "tenant"
permissions = {{ reports = ["read", "export"], wiki = ["read"] }}

[[group]]
tenant = "acme"
slug   = "staff"
"#
        );
        if let Some((cert, key)) = self.tls {
            let (cert, key) = (cert.display(), key.display());
            write!(text, "\n[tls]\nmode = \"files\"\ncert = \"{cert}\"\nkey = {{ file = \"{key}\" }}\n")?;
        }
        for number in 0..self.hosts {
            let host = host(number);
            for (name, path, to) in [("r", "/", light), ("n", "/n", heavy)] {
                // The second upstream is reached through the first host only.
                if name == "n" && number > 0 {
                    continue;
                }
                write!(
                    text,
                    "\n[[route]]\nname = \"{name}{number:04}\"\nhost = \"{host}\"\npath = \"{path}\"\n\
                     to = [\"http://{to}\"]\ntenant = \"acme\"\n\n  [[route.rule]]\n  needs = \"reports:read\"\n"
                )?;
            }
        }
        fs::write(self.folder.join("cardea.toml"), text)?;
        let key = self.folder.join("master.key");
        if !key.exists() {
            fs::write(&key, config::key_file(&super::chance::<32>()))?;
            fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        }
        Ok(())
    }

    /// Brings people in, as an operator would: by the command line, with the hashes of their passwords.
    pub(crate) fn import_people(&self) -> anyhow::Result<()> {
        let hash = password_hash::hash(&Password::parse(PASSWORD)?, &OsChance)?;
        let mut lines = String::new();
        for number in 0..=VISITOR {
            let name = person(number);
            let line = json!({
                "username": name, "name": format!("Grace Hopper {number}"), "email": format!("{name}@acme.example"),
                "password_hash": hash, "places": ["acme/europe/finance"], "roles": ["analyst@acme"],
                "groups": ["staff"],
            });
            writeln!(lines, "{line}")?;
        }
        let file = self.folder.join("people");
        fs::write(&file, lines)?;
        let output = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.folder.join("cardea.toml"))
            .args(["user", "import", shown(&file)?])
            .output()?;
        ensure!(
            output.status.success(),
            "people cannot be imported: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Writes sessions, so many for each person in turn, each with a token for one host, as a sign-in would; only the
    /// hundred thousand password hashes are spared. Gives a line for each: host and cookie.
    pub(crate) async fn add_sessions(&self, count: usize) -> anyhow::Result<String> {
        let options =
            config::Options { file: Some(self.folder.join("cardea.toml")), ..config::Options::default() };
        let loaded = config::load(&options, cardea::sys::Clock::now(&SystemClock::default()))
            .map_err(|report| anyhow::anyhow!("{report}"))?;
        let machine =
            Machine { clock: Arc::new(SystemClock::default()), chance: Arc::new(OsChance), demo: false };
        let (house, _queues) = House::build(&loaded, machine).await?;
        let mut people: Vec<UserId> = Vec::new();
        for number in 0..PEOPLE {
            people.push(house.admin.user_named(&Authority::system(), &person(number)).await?);
        }
        let now = house.machine.clock.now();
        let mut lines = String::new();
        for from in (0..count).step_by(10_000) {
            let mut tx = house.db.begin().await?;
            for number in from..count.min(from + 10_000) {
                let host = host(number % self.hosts);
                let session = Session {
                    id: SessionId::mint(now, &OsChance),
                    user: *people.get(number % PEOPLE).context("nobody")?,
                    tenant: None,
                    level: Level { first: FirstFactor::Password, first_at: now, second: None },
                    created_at: now,
                    seen_at: now,
                    idle_until: now + Span::hours(8),
                    absolute_until: now + Span::hours(24),
                    ended: None,
                    address: "127.0.0.1".to_owned(),
                    agent: "bench".to_owned(),
                };
                sessions::add(&mut tx, &session).await?;
                let token = house.keys.web.session.issue("session", &host, &OsChance);
                sessions::add_token(&mut tx, session.id, &host, &token.digest(), now).await?;
                let authority = self.authority(number % self.hosts);
                let name = if self.tls.is_some() { "__Host-cardea" } else { "cardea" };
                writeln!(lines, "{authority} theme=dark; {name}={}", token.expose())?;
            }
            tx.commit(now).await?;
        }
        house.db.close().await;
        Ok(lines)
    }

    /// Copies the records and keys of another installation.
    pub(crate) fn copy_from(&self, other: &Site<'_>) -> anyhow::Result<()> {
        for entry in fs::read_dir(other.folder)? {
            let name = entry?.file_name();
            if name == "master.key" || name.to_string_lossy().starts_with("cardea.db") {
                fs::copy(other.folder.join(&name), self.folder.join(&name))?;
            }
        }
        Ok(())
    }

    /// Runs it, on the core of what is measured or on all. Says how long it took to answer that it is ready.
    pub(crate) fn serve(&self, core: Option<&str>) -> anyhow::Result<(Process, Duration)> {
        let file = self.folder.join("cardea.toml");
        let arguments = ["--config", shown(&file)?, "serve"];
        let began = Instant::now();
        let mut process =
            Process::start("Cardea", core, Path::new(PROGRAM), &arguments, &self.folder.join("log"))?;
        process.wait_for(self.ops)?;
        while !self.ready() {
            ensure!(began.elapsed() < Duration::from_mins(1), "Cardea does not become ready");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((process, began.elapsed()))
    }

    fn ready(&self) -> bool {
        super::talk(self.ops, "bench", "/readyz", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Signs somebody in at the first host, with a password and over HTTP, from the app to the portal and back. Gives the
    /// line for the session.
    pub(crate) async fn sign_in(&self, number: usize) -> anyhow::Result<String> {
        let authority = self.authority(0);
        let app = format!("http://{authority}/1k");
        let mut browser = Browser::at(self.listen.ip())?;
        browser.open(&app).await?;
        browser.submit("identifier", &person(number)).await?;
        browser.submit("password", PASSWORD).await?;
        ensure!(browser.body.starts_with("xxxx"), "the sign-in ended at {}", browser.body);
        Ok(format!("{authority} {}\n", browser.cookies(&app)?))
    }
}

/// Checks the configuration of every variant before anything takes long.
pub(crate) fn check(site: &Site<'_>) -> anyhow::Result<()> {
    let status = Command::new(PROGRAM)
        .arg("--config")
        .arg(site.folder.join("cardea.toml"))
        .arg("check")
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "Cardea does not take the configuration in {}", site.folder.display());
    Ok(())
}

/// A loopback address of its own for each variant, so that all can have one port and one file of cookies.
pub(crate) fn loopback(number: usize) -> IpAddr {
    IpAddr::from([127, 0, 0, u8::try_from(number + 1).unwrap_or(u8::MAX)])
}
