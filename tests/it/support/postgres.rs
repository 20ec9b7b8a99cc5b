//! PostgreSQL servers of the tests' own, and databases on them.
//!
//! Text is sorted by language (ICU, en-US) on purpose: a column that forgot `COLLATE "C"` shows.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::guard::Guard;
use super::{free_port, unique};

/// For servers that live as long as the run: it does not matter what a power cut would leave of them.
const FAST: &str = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n";
const BOTH: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 300\n\
                    shared_buffers = 64MB\nlog_statement = none\n";
const REMEDY: &str = "PostgreSQL 15 or later is missing: `make test` installs it";

/// A new, empty database on the server that all tests share, as a URL.
pub(crate) async fn fresh_database() -> String {
    shared().fresh_database().await
}

/// The server that all tests share: the one that `CARDEA_TEST_POSTGRES` names, or one of our own.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("CARDEA_TEST_POSTGRES") {
        Ok(url) => Server { url, own: None },
        Err(_) => Server::start(FAST),
    })
}

/// A server for one test, which keeps what it has acknowledged, to be killed and started again.
pub(crate) fn durable() -> Server {
    Server::start("")
}

pub(crate) struct Server {
    /// Leads to its first database, as somebody who may create others.
    url: String,
    own: Option<Own>,
}

/// What there is to a server that we started.
struct Own {
    programs: PathBuf,
    folder: PathBuf,
    _guard: Guard,
}

impl Server {
    /// A new, empty database, as a URL.
    pub(crate) async fn fresh_database(&self) -> String {
        let name = unique("cardea_test");
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu \
             ICU_LOCALE 'en-US'"
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let mut url = url::Url::parse(&self.url).unwrap();
        url.set_path(&name);
        url.into()
    }

    /// Ends every process of the server at once: what it has not written is lost.
    pub(crate) fn kill9(&self) {
        let postmaster = self.own().postmaster().expect("a running server");
        let mut all = children(postmaster);
        all.push(postmaster);
        let pids = all.iter().map(u32::to_string);
        // One of them may have ended meanwhile by itself, and then the shell calls it a failure.
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -9 \"$@\"", "sh"]).args(pids).stderr(Stdio::null()).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while all.iter().any(|pid| lives(*pid)) {
            assert!(Instant::now() < deadline, "still there after kill -9: {all:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        // In a container perhaps nobody collects the dead; to the next server this one would seem alive.
        if stat(postmaster).is_some() {
            fs::remove_file(self.own().folder.join("data/postmaster.pid")).unwrap();
        }
    }

    /// Starts it again at the same address, after a stop if it runs.
    pub(crate) fn restart(&self) {
        let own = self.own();
        if own.postmaster().is_some_and(lives) {
            assert!(own.pg_ctl(&["-m", "fast", "stop"]), "cannot stop: {}", own.log());
        }
        assert!(own.pg_ctl(&["start"]), "cannot start: {}", own.log());
    }

    fn start(settings: &str) -> Self {
        let programs = programs().expect(REMEDY);
        let folder = std::env::temp_dir().join(unique("cardea_postgres"));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let password = unique("p");
        fs::write(folder.join("password"), &password).unwrap();
        if let Some((user, group)) = other_user() {
            chown(&folder, Some(user), Some(group)).unwrap();
            chown(folder.join("password"), Some(user), Some(group)).unwrap();
        }
        let guard = Guard::new(
            as_server_user("sh"),
            "",
            "\"$1/pg_ctl\" -D \"$2/data\" -m immediate -w stop; rm -rf \"$2\"",
            &[programs.to_str().unwrap(), folder.to_str().unwrap()],
        );
        let own = Own { programs, folder, _guard: guard };
        own.initialise();
        for _ in 0..5 {
            let port = free_port();
            let page = format!("{BOTH}port = {port}\n{settings}");
            fs::write(own.folder.join("data/postgresql.auto.conf"), page).unwrap();
            // Between the question for a free port and the start, somebody else may have taken it.
            if own.pg_ctl(&["start"]) {
                return Self {
                    url: format!("postgres://cardea:{password}@127.0.0.1:{port}/postgres"),
                    own: Some(own),
                };
            }
        }
        panic!("cannot start PostgreSQL: {}", own.log());
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("a server of our own: use `durable()`")
    }
}

impl Own {
    fn initialise(&self) {
        let output = as_server_user(self.programs.join("initdb"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg(format!("--pwfile={}", self.folder.join("password").display()))
            .args(["--username=cardea", "--auth=password", "--encoding=UTF8", "--no-sync", "--locale=C"])
            .args(["--locale-provider=icu", "--icu-locale=en-US"])
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn pg_ctl(&self, arguments: &[&str]) -> bool {
        as_server_user(self.programs.join("pg_ctl"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-l")
            .arg(self.folder.join("log"))
            .args(["-w", "-t", "60"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// The process id of the server, if it wrote one down and did not take it back.
    fn postmaster(&self) -> Option<u32> {
        let page = fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        page.lines().next()?.parse().ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// The folder of the newest `initdb` and `pg_ctl`, where Debian and Ubuntu put them.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .map(|entry| entry.path())
        .filter(|folder| number(folder) >= Some(15) && folder.join("bin/initdb").exists())
        .max_by_key(|folder| number(folder))
        .map(|folder| folder.join("bin"))
}

/// A command that the server's own user runs: PostgreSQL refuses to be root.
fn as_server_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Whom to be instead of root: `postgres` if there is such a user, else `nobody`.
fn other_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user who is not root"))
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, above)| above == parent)).collect()
}

/// Whether it runs: one that ended but was not yet waited for does not.
fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
