//! Reloading the configuration: all of it or nothing, and loudly when nothing.

use std::sync::Mutex;

use crate::config::{Loaded, Settings};
use crate::domain::Timestamp;

use super::feed::Policy;
use super::local;

/// Whether the configuration in force is the one in the files.
#[derive(Default)]
pub struct ConfigState {
    stale: Mutex<Option<(Timestamp, String)>>,
}

impl ConfigState {
    /// A reload was taken.
    pub fn accepted(&self) {
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

    /// `current`, or `stale` and since when.
    #[must_use]
    pub fn words(&self) -> String {
        match self.stale.lock().ok().and_then(|stale| stale.clone()) {
            None => "current".to_owned(),
            Some((at, why)) => format!("stale since {at}: {why}"),
        }
    }
}

/// What a configuration contributes to decisions.
#[must_use]
pub(super) fn policy(loaded: &Loaded) -> Policy {
    Policy { routes: loaded.objects.routes.clone(), rules: local::rules(&loaded.settings) }
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
    note("server.ops_listen", old.server.ops_listen != new.server.ops_listen);
    note("server.control_socket", old.server.control_socket != new.server.control_socket);
    note("server.trusted_proxies", old.server.trusted_proxies != new.server.trusted_proxies);
    note("server.data_threads", old.server.data_threads != new.server.data_threads);
    note("server.data_plane", old.server.data_plane != new.server.data_plane);
    note("storage", format!("{:?}", old.storage) != format!("{:?}", new.storage));
    note("session", format!("{:?}", old.session) != format!("{:?}", new.session));
    note("sign_in", format!("{:?}", old.sign_in) != format!("{:?}", new.sign_in));
    note("brand", format!("{:?}", old.brand) != format!("{:?}", new.brand));
    names
}
