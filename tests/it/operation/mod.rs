//! What operators live through: power cuts, databases that go away, wrong files, restarts.

mod access_log;
mod beside;
mod crash;
mod metrics;
mod outage;
mod reload;
mod upstreams;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;

use crate::support::free_port;
use crate::support::kill::{Running, wait_for_port};

/// A gateway's folder: its configuration and master key, and the ports it uses.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) ops: u16,
    pub(crate) storage: String,
}

impl Site {
    /// With a storage URL, or SQLite in the folder.
    pub(crate) fn new(storage: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage.unwrap_or_else(|| format!("sqlite:{}/cardea.db", folder.path().display()));
        let site = Self { folder, port: free_port(), ops: free_port(), storage };
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        write_private(&site.path("master.key"), &format!("{key}\n"));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration, with these routes at its end.
    pub(crate) fn write(&self, rest: &str) {
        let text = format!(
            "[server]\npublic_url = \"http://access.cardea.localhost:{}\"\nlisten = [\"127.0.0.1:{}\"]\nops_listen = \"127.0.0.1:{}\"\n\
             control_socket = \"{}\"\nshutdown_grace = \"10s\"\n\n[storage]\nurl = \"{}\"\nlease = \"2s\"\n\n\
             [secrets]\nmaster_key = {{ file = \"master.key\" }}\n\n[log]\nformat = \"json\"\n\n{rest}\n",
            self.port,
            self.port,
            self.ops,
            self.path("cardea.sock").display(),
            self.storage,
        );
        std::fs::write(self.path("cardea.toml"), text).unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Starts `cardea serve` and waits until it answers.
    pub(crate) fn serve(&self) -> Running {
        let mut running = Running::start(self.command("serve"));
        running.line("ready");
        wait_for_port(self.address());
        running
    }

    /// A command of the program in this folder, with an environment of its own.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        command.args([verb, "--config"]).arg(self.path("cardea.toml")).current_dir(self.folder.path());
        command.env_remove("CARDEA_CONFIG");
        command
    }

    /// What the operations listener says.
    pub(crate) async fn ready(&self) -> (u16, serde_json::Value) {
        let response = reqwest::get(format!("http://127.0.0.1:{}/readyz", self.ops)).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}
