//! Reloading the configuration: all of it or nothing, and loudly when nothing.

use std::sync::Mutex;

use crate::config::{Loaded, Settings, Tls};
use crate::domain::Timestamp;

use super::feed::Policy;
use super::local;

/// Whether the configuration in force is the one in the files.
#[derive(Default)]
pub struct ConfigState {
    stale: Mutex<Option<(Timestamp, String)>>,
    /// Settings that were changed since the start and wait for the next one.
    waiting: Mutex<Vec<&'static str>>,
}

impl ConfigState {
    /// A reload was taken, but for settings that wait for the next start.
    pub fn accepted(&self, waiting: Vec<&'static str>) {
        if let Ok(mut names) = self.waiting.lock() {
            *names = waiting;
        }
        if let Ok(mut stale) = self.stale.lock() {
            *stale = None;
        }
    }

    /// A reload was refused; the old configuration stays.
    pub fn refused(&self, why: &str, now: Timestamp) {
        if let Ok(mut stale) = self.stale.lock() {
            *stale = Some((now, why.to_owned()));
        }
    }

    /// Whether it is.
    #[must_use]
    pub fn fine(&self) -> bool {
        self.stale.lock().is_ok_and(|stale| stale.is_none())
    }

    /// `current`, perhaps with what waits for the next start, or `stale` and since when.
    #[must_use]
    pub fn words(&self) -> String {
        let waiting = self.waiting.lock().map(|names| names.join(", ")).unwrap_or_default();
        match self.stale.lock().ok().and_then(|stale| stale.clone()) {
            None if waiting.is_empty() => "current".to_owned(),
            None => format!("current, but for what waits for a restart: {waiting}"),
            Some((at, why)) => format!("stale since {at}: {why}"),
        }
    }
}

/// What a configuration contributes to decisions.
#[must_use]
pub(super) fn policy(loaded: &Loaded) -> Policy {
    Policy { routes: loaded.objects.routes.clone(), rules: local::rules(loaded) }
}

/// Settings that a running program cannot take over, by name.
#[must_use]
pub(super) fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut note = |name, changed: bool| {
        if changed {
            names.push(name);
        }
    };
    note("server.public_url", old.server.public_url != new.server.public_url);
    note("server.listen", old.server.listen != new.server.listen);
    note("server.forward_auth_listen", old.server.forward_auth_listen != new.server.forward_auth_listen);
    note("server.http_redirect", old.server.http_redirect != new.server.http_redirect);
    note("server.acme_challenges", old.server.acme_challenges != new.server.acme_challenges);
    note("tls.mode", (old.tls == Tls::Off) != (new.tls == Tls::Off));
    note("server.ops_listen", old.server.ops_listen != new.server.ops_listen);
    note("server.control_socket", old.server.control_socket != new.server.control_socket);
    note("server.trusted_proxies", old.server.trusted_proxies != new.server.trusted_proxies);
    note("server.data_threads", old.server.data_threads != new.server.data_threads);
    note("server.data_plane", old.server.data_plane != new.server.data_plane);
    note(
        "server.connections_per_client",
        old.server.connections_per_client != new.server.connections_per_client,
    );
    note("server.shutdown_grace", old.server.shutdown_grace != new.server.shutdown_grace);
    note("storage", old.storage != new.storage);
    note("secrets", old.master_keys != new.master_keys);
    note("log", old.log != new.log);
    note("session", old.session != new.session);
    note("sign_in", old.sign_in != new.sign_in);
    note("mfa.methods", old.mfa.recovery != new.mfa.recovery);
    note("brand", old.brand != new.brand);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Options, load};

    #[test]
    fn what_needs_a_restart_is_named_also_where_it_is_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cardea.toml");
        std::fs::write(&file, "[server]\npublic_url = \"http://access.localhost:8080\"\n").unwrap();
        let with = |name: &str, value: &str| {
            let key = data_encoding::BASE64.encode(&[7; 32]);
            let mut environment = vec![
                ("CARDEA_STORAGE__URL".to_owned(), "postgres://cardea:one@db.example/cardea".to_owned()),
                ("CARDEA_SECRETS__MASTER_KEY".to_owned(), key),
            ];
            environment.retain(|(known, _)| known != name);
            environment.push((name.to_owned(), value.to_owned()));
            let options = Options { file: Some(file.clone()), environment, ..Options::default() };
            load(&options, Timestamp::from_millis(0)).unwrap().settings
        };
        let old = with("CARDEA_LOG__LEVEL", "info");
        assert_eq!(needs_restart(&old, &old), Vec::<&str>::new());
        let other = data_encoding::BASE64.encode(&[8; 32]);
        for (name, value, expected) in [
            ("CARDEA_STORAGE__URL", "postgres://cardea:two@db.example/cardea", "storage"),
            ("CARDEA_SECRETS__MASTER_KEY", other.as_str(), "secrets"),
            ("CARDEA_LOG__LEVEL", "debug", "log"),
            ("CARDEA_SERVER__SHUTDOWN_GRACE", "7s", "server.shutdown_grace"),
            ("CARDEA_MFA__METHODS", "totp", "mfa.methods"),
        ] {
            assert_eq!(needs_restart(&old, &with(name, value)), [expected]);
        }
    }
}
