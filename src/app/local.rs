//! Doing what the command line asks where no server runs: the same parts, opened for one command.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::access::snapshot::Rules;
use crate::access::{Authority, Ledger, MfaRule, Snapshot};
use crate::admin::{self, Admin};
use crate::config::{Loaded, MfaRequire, Settings, StorageUrl, Tls};
use crate::crypto::certificate::Identity;
use crate::domain::{AuditEvent, Chance};
use crate::protocol::password::Policy;
use crate::store::{self, Db, audit, tree};
use crate::sys::{Clock, OsChance, Pool, SystemClock};

use super::control::{Answer, Command, Controls, execute, own_name};
use super::{house, keys, objects};

/// The parts for one command.
pub struct Local {
    controls: Controls,
    refusals: mpsc::Receiver<AuditEvent>,
}

/// Where the records are, in the words of the room that opens them.
#[must_use]
pub fn storage_url(url: &StorageUrl) -> store::StorageUrl {
    match url {
        StorageUrl::Postgres(url) => store::StorageUrl::Postgres(url.clone()),
        StorageUrl::Sqlite(file) => store::StorageUrl::Sqlite(file.clone()),
    }
}

/// Where the records are, for people: without passwords.
#[must_use]
pub fn storage_words(url: &StorageUrl) -> String {
    storage_url(url).words()
}

/// What decisions are told besides routes.
#[must_use]
pub fn rules(loaded: &Loaded) -> Rules {
    let settings = &loaded.settings;
    let required = loaded
        .objects
        .tenants
        .iter()
        .filter_map(|tenant| Some((tenant.slug.clone(), tenant.require_idp.clone()?)));
    Rules {
        networks: settings.networks.iter().map(|(name, nets)| (name.clone(), nets.clone())).collect(),
        mfa: match settings.mfa.require {
            MfaRequire::Admins => MfaRule::Admins,
            MfaRequire::Everyone => MfaRule::Everyone,
            MfaRequire::Off => MfaRule::Off,
            MfaRequire::Optional => MfaRule::Optional,
        },
        scheme: settings.server.public_url.scheme.as_str().to_owned(),
        port: settings.server.public_url.port,
        required: required.collect(),
    }
}

/// What the stories of changing things are told.
#[must_use]
pub fn admin_settings(settings: &Settings) -> admin::Settings {
    let password = settings.sign_in.password;
    admin::Settings {
        policy: Policy {
            min_length: usize::try_from(password.min_length).unwrap_or(usize::MAX),
            check_common: password.check_common,
        },
        portal_origin: settings.server.public_url.origin(),
        brand: settings.brand.name.clone(),
    }
}

impl Local {
    /// Opens the database, its keys, and brings in what the file declares: what a start of the server would do.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub async fn open(loaded: &Loaded) -> anyhow::Result<Self> {
        let settings = &loaded.settings;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let chance: Arc<dyn Chance> = Arc::new(OsChance);
        let db = Db::open(&storage_url(&settings.storage.url)).await?;
        let ring = keys::open(&db, &settings.master_keys, clock.now(), &*chance).await?;
        let (ledger, refusals) = Ledger::new(64);
        let empty = Snapshot::compile(0, tree::Tree::default(), &[], &Rules::default());
        let admin = Admin {
            db: db.clone(),
            keys: Arc::new(ring),
            snapshot: Arc::new(ArcSwap::from_pointee(empty)),
            ledger,
            hashing: Pool::new(1, 8),
            clock,
            chance,
            settings: admin_settings(settings),
        };
        admin.apply_objects(&objects::declared(&loaded.objects)).await?;
        let tree = tree::load(&mut db.read().await?).await?;
        admin.snapshot.store(Arc::new(Snapshot::compile(1, tree, &loaded.objects.routes, &rules(loaded))));
        let controls = Controls {
            admin: Arc::new(admin),
            federation: house::federation(loaded),
            signin: None,
            node: node_name(),
            storage: storage_words(&settings.storage.url),
            started: None,
            reload: None,
            config_state: Box::new(|| "read for this command".to_owned()),
            certificates: shown(&settings.tls),
            past: Box::new(|_| None),
            upstreams: Box::new(Vec::new),
        };
        Ok(Self { controls, refusals })
    }

    /// Carries a command out, in the name of whoever runs this program.
    pub async fn call(&mut self, command: Command) -> Answer {
        let by = Authority::operator(&own_name());
        let answer = Box::pin(execute(&self.controls, &by, command)).await;
        if let Err(error) = self.write_refusals().await {
            tracing::warn!(%error, "refusals were not written to the audit log");
        }
        answer
    }

    /// Lets go of the database, after the work in flight.
    pub async fn close(self) {
        self.controls.admin.db.close().await;
    }

    #[cfg(test)]
    pub(super) fn into_controls(self) -> Controls {
        self.controls
    }

    async fn write_refusals(&mut self) -> Result<(), store::DbError> {
        let admin = &self.controls.admin;
        while let Ok(event) = self.refusals.try_recv() {
            let now = admin.clock.now();
            let mut tx = admin.db.begin().await?;
            audit::write(&mut tx, &event, now, &*admin.chance).await?;
            tx.commit(now).await?;
        }
        Ok(())
    }
}

/// What a server would show.
fn shown(tls: &Tls) -> Box<dyn Fn() -> Vec<Arc<Identity>> + Send + Sync> {
    let all = match tls {
        Tls::Files(identities) => identities.clone(),
        Tls::Off => Vec::new(),
    };
    Box::new(move || all.clone())
}

/// The name of this machine.
#[must_use]
pub fn node_name() -> String {
    let name = std::fs::read_to_string(PathBuf::from("/proc/sys/kernel/hostname")).unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
