//! Every part of the house, built from a configuration.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::feed::{Board, Reader};
use super::reload::{self, ConfigState};
use super::tasks::{self, LedgerTask};
use super::{keys, local};
use crate::access::Ledger;
use crate::admin::{self, Admin};
use crate::config::{self, Landing, Loaded, Reach};
use crate::crypto::Keyring;
use crate::domain::{AuditEvent, Chance, SessionId, Timestamp};
use crate::federation::Federation;
use crate::net::{Connectors, system_authorities};
use crate::outbound::{Allowed, Outbound};
use crate::protocol::password::Policy;
use crate::session::{self, PortalStore, Sessions};
use crate::signin::{self, SignIn};
use crate::store::Db;
use crate::sys::{Clock, Pool};
use crate::web::{self, Web};

/// The machine, as the house sees it.
#[derive(Clone)]
pub struct Machine {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Whether this is the demo.
    pub demo: bool,
}

/// Every part.
pub struct House {
    /// The machine.
    pub machine: Machine,
    /// The records.
    pub db: Db,
    /// Our keys.
    pub keys: Arc<Keyring>,
    /// The snapshot and how it is made.
    pub board: Arc<Board>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// The stories of coming in.
    pub signin: Arc<SignIn>,
    /// The portal.
    pub web: Web,
    /// The queue for the audit log.
    pub ledger: Ledger,
    /// Where passwords are hashed.
    pub hashing: Pool,
    /// The stories of changing things.
    pub admin: Arc<Admin>,
    /// Whether the configuration in force is the one in the files.
    pub config: Arc<ConfigState>,
}

/// The other ends of the queues, for the tasks that empty them.
pub struct Queues {
    notes: mpsc::Receiver<(SessionId, Timestamp)>,
    events: mpsc::Receiver<AuditEvent>,
}

impl House {
    /// Opens the records and the keys and builds every part. Nothing listens yet.
    ///
    /// # Errors
    /// When the database or the master key will not do; the message says what to do.
    pub async fn build(loaded: &Loaded, machine: Machine) -> anyhow::Result<(Self, Queues)> {
        let settings = &loaded.settings;
        let db = Db::open(&local::storage_url(&settings.storage.url))
            .await
            .context("the database cannot be opened")?;
        let now = machine.clock.now();
        let keys = Arc::new(keys::open(&db, &settings.master_keys, now, &*machine.chance).await?);
        let board = Arc::new(Board::new(db.clone(), reload::policy(loaded)).await?);
        let (seen, notes) = mpsc::channel(4096);
        let limits = session::Settings {
            idle: settings.session.idle,
            absolute: settings.session.absolute,
            per_user: settings.session.per_user as usize,
        };
        let secure = settings.server.public_url.secure();
        let lease = settings.storage.lease;
        let sessions = Arc::new(Sessions::new(db.clone(), Arc::clone(&keys), limits, lease, secure, seen));
        let (ledger, events) = Ledger::new(4096);
        // As many hashes at a time as there are cores, so that they never keep more than that from serving.
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let hashing = Pool::new(cores, 256);
        let federation = federation(loaded);
        let signin = Arc::new(SignIn {
            db: db.clone(),
            keys: Arc::clone(&keys),
            sessions: Arc::clone(&sessions),
            snapshot: Arc::clone(&board.snapshot),
            ledger: ledger.clone(),
            hashing: hashing.clone(),
            // Two at a time: some milliseconds each, and no flood of documents keeps a core from anything else for long.
            documents: Pool::new(2, 64),
            federation,
            logouts: signin::Strangers::default(),
            traffic: signin::Traffic::default(),
            settings: signin_settings(settings),
        });
        let web = Web {
            signin: Arc::clone(&signin),
            sessions: Arc::clone(&sessions),
            store: Arc::new(PortalStore::new(db.clone(), Arc::clone(&machine.clock))),
            snapshot: Arc::clone(&board.snapshot),
            keys: Arc::clone(&keys),
            ledger: ledger.clone(),
            clock: Arc::clone(&machine.clock),
            chance: Arc::clone(&machine.chance),
            settings: Arc::new(web_settings(loaded, machine.demo)),
        };
        let admin = Arc::new(Admin {
            db: db.clone(),
            keys: Arc::clone(&keys),
            snapshot: Arc::clone(&board.snapshot),
            ledger: ledger.clone(),
            hashing: hashing.clone(),
            clock: Arc::clone(&machine.clock),
            chance: Arc::clone(&machine.chance),
            settings: admin::Settings {
                policy: password_policy(settings),
                portal_origin: settings.server.public_url.origin(),
                brand: settings.brand.name.clone(),
            },
        });
        let config = Arc::new(ConfigState::default());
        let house = Self { machine, db, keys, board, sessions, signin, web, ledger, hashing, admin, config };
        Ok((house, Queues { notes, events }))
    }

    /// Starts what goes on in the background. Returns when the lease is held, so that requests can be answered; with the
    /// task that writes what waits for the audit log, to be finished when everything else has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn begin(
        &self,
        queues: Queues,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> anyhow::Result<LedgerTask> {
        let clock = &self.machine.clock;
        let reader = Reader {
            db: self.db.clone(),
            board: Arc::clone(&self.board),
            keys: Arc::clone(&self.keys),
            sessions: Arc::clone(&self.sessions),
            clock: Arc::clone(clock),
        };
        let position = reader.begin().await?;
        let relay = self.db.clone();
        tasks.spawn(async move { relay.relay().await });
        tasks.spawn(reader.run(position));
        tasks.spawn(tasks::write_seen(Arc::clone(&self.sessions), Arc::clone(clock), queues.notes));
        tasks.spawn(tasks::tidy(Arc::clone(&self.sessions), Arc::clone(&self.keys), Arc::clone(clock)));
        let chance = Arc::clone(&self.machine.chance);
        let signin = Arc::clone(&self.signin);
        let follower = signin::Follower { signin, clock: Arc::clone(clock), chance: Arc::clone(&chance) };
        tasks.spawn(follower.run());
        Ok(LedgerTask::start(self.db.clone(), Arc::clone(clock), chance, queues.events))
    }
}

/// The identity providers of a configuration. Nothing is asked of them yet.
#[must_use]
pub(super) fn federation(loaded: &Loaded) -> Arc<Federation> {
    let outbound = Outbound::new(Connectors::new(system_authorities()), allowed(&loaded.settings));
    Arc::new(Federation::new(outbound, loaded.objects.providers.clone()))
}

/// What requests to the outside may reach besides the open internet.
#[must_use]
pub(super) fn allowed(settings: &config::Settings) -> Vec<Allowed> {
    let allowed = |reach: &Reach| match reach {
        Reach::Host(host, port) => Allowed::Host(host.clone(), *port),
        Reach::Net(net) => Allowed::Net(*net),
    };
    settings.outbound.iter().map(allowed).collect()
}

/// What a new password must be.
#[must_use]
pub fn password_policy(settings: &config::Settings) -> Policy {
    let policy = settings.sign_in.password;
    Policy { min_length: policy.min_length as usize, check_common: policy.check_common }
}

fn signin_settings(settings: &config::Settings) -> signin::Settings {
    let lockout = settings.sign_in.lockout;
    signin::Settings {
        policy: password_policy(settings),
        lockout_after: i64::from(lockout.after),
        lockout_delay: lockout.delay,
        lockout_limit: lockout.limit,
        federated_failures: i64::from(lockout.federated),
        issuer: settings.brand.name.clone(),
        portal_host: settings.server.public_url.host.to_string(),
        portal_origin: settings.server.public_url.origin(),
        recovery: settings.mfa.recovery,
    }
}

fn web_settings(loaded: &Loaded, demo: bool) -> web::Settings {
    let settings = &loaded.settings;
    web::Settings {
        origin: settings.server.public_url.origin(),
        host: settings.server.public_url.host.to_string(),
        product_name: settings.brand.name.clone(),
        demo,
        config_file: loaded
            .files
            .first()
            .map_or_else(|| "cardea.toml".into(), |file| file.display().to_string()),
        landing: match &settings.sign_in.default_landing {
            Landing::Apps => None,
            Landing::Route(name) => Some(name.to_string()),
        },
    }
}
