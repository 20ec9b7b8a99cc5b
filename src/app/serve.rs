//! A gateway that runs: data plane, control plane, operations, background, and how it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::certificates;
use super::control::{Controls, Socket};
use super::house::{House, Machine};
use super::local;
use super::ops::{self, Ops};
use super::reload::{self, ConfigState};
use super::tasks::LedgerTask;
use super::telemetry;
use crate::access::Authority;
use crate::config::{self, DataPlane, Fingerprint, Loaded, LogFormat, Settings, Severity, Tls};
use crate::domain::{Span, Timestamp};
use crate::net::{self, Connectors, Dialer, Front};
use crate::proxy::{
    self, Arrival, ControlPlane, Door, Entrance, Gate, PortalAnswer, PortalBody, PortalService,
};
use crate::sys::{OsChance, Pool, SystemClock};
use crate::web::{self, ClientAddress};

/// A gateway that runs.
pub struct Running {
    /// Its parts.
    pub house: Arc<House>,
    /// Where it takes requests.
    pub listening: Vec<SocketAddr>,
    /// Where it says how it is.
    pub ops: SocketAddr,
    reloader: Arc<Reloader>,
    stop: watch::Sender<bool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    tasks: JoinSet<()>,
    ledger: LedgerTask,
}

/// Takes over changed configurations.
pub struct Reloader {
    options: config::Options,
    house: Arc<House>,
    /// Those the program was started with.
    settings: Settings,
    /// One at a time, so that an older reading of the files cannot be taken over after a newer one.
    turn: tokio::sync::Mutex<()>,
    front: Option<Arc<Front>>,
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The files that were read, for whoever watches them.
    pub files: Vec<PathBuf>,
    /// The settings that differ and wait for the next start.
    pub waiting: Vec<&'static str>,
}

/// Says what a configuration that is taken warns about, and until when its certificates are good: who looks at the log or the
/// metrics need not run `check` to hear of it.
fn say_what_to_watch(loaded: &Loaded, now: Timestamp) {
    for fault in loaded.report.faults.iter().filter(|fault| fault.severity() == Severity::Warning) {
        tracing::warn!(warning = %fault, "the configuration has something to look at");
    }
    if let Tls::Files(identities) = &loaded.settings.tls {
        certificates::say(identities, now);
    }
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// As [`start`].
pub async fn serve(loaded: Loaded, options: config::Options) -> anyhow::Result<()> {
    let log = &loaded.settings.log;
    telemetry::start(&log.level, log.format == LogFormat::Json);
    for name in &loaded.overrides {
        tracing::info!(%name, "set by the environment");
    }
    let machine =
        Machine { clock: Arc::new(SystemClock::default()), chance: Arc::new(OsChance), demo: false };
    // Before anybody is told that it is ready: a signal that came earlier would end it on the spot.
    let mut signals = Signals::listen()?;
    let (settings, watched, now) = (loaded.settings.clone(), loaded.clone(), machine.clock.now());
    let running = start(loaded, options, machine).await?;
    // Only now: what is said goes into the metrics, too.
    say_what_to_watch(&watched, now);
    say_where(&settings, running.ops);
    running.say_how_to_set_up().await?;
    running.until_signalled(&mut signals).await;
    tracing::info!("stopping; requests in flight are finished first");
    running.stop().await;
    Ok(())
}

/// Says where it listens, and what for.
fn say_where(settings: &Settings, ops: SocketAddr) {
    let server = &settings.server;
    let front = match &settings.tls {
        Tls::Files(_) => "https",
        Tls::Off if server.listen.iter().all(|address| address.ip().is_loopback()) => "http, on this machine",
        Tls::Off => "http, for trusted proxies that end TLS",
    };
    let front = server.listen.iter().map(|address| (address, front));
    let redirect = server.http_redirect.iter().map(|address| (address, "http, redirected to https"));
    let asked =
        server.forward_auth_listen.iter().map(|address| (address, "http, questions of other proxies"));
    let ops = [(&ops, "http, health and metrics")];
    for (address, speaks) in front.chain(redirect).chain(asked).chain(ops) {
        tracing::info!(%address, speaks, "ready");
    }
}

/// Starts a gateway. Returns when it answers.
///
/// # Errors
/// When an address is taken, or the database or the master key will not do.
pub async fn start(loaded: Loaded, options: config::Options, machine: Machine) -> anyhow::Result<Running> {
    // First of all: whoever holds the socket is the server of this folder, and nobody else touches its records.
    local::storage_url(&loaded.settings.storage.url).stands()?;
    let control = &loaded.settings.server.control_socket;
    let socket = Socket::bind(control)
        .await
        .with_context(|| format!("cannot take commands at {}", control.display()))?;
    drop(alone(&loaded.settings)?);
    let metrics = recorder();
    let (house, queues) = House::build(&loaded, machine).await?;
    let house = Arc::new(house);
    let mut tasks = JoinSet::new();
    if let Some(metrics) = metrics.clone() {
        tasks.spawn(keep_up(metrics));
    }
    super::install::prepare(&house, &loaded).await?;
    let ledger = house.begin(queues, &mut tasks).await?;
    let (stop, stopping) = watch::channel(false);
    let settings = loaded.settings.clone();
    let server = &settings.server;

    let front = match &settings.tls {
        Tls::Files(identities) => {
            Some(Arc::new(Front::new(identities, &["h2", "http/1.1"], house.machine.clock.now())?))
        }
        Tls::Off => None,
    };
    let gate = Arc::new(gate(&house, &settings));
    if let Some(front) = &front {
        tasks.spawn(certificates::watch(Arc::clone(front), Arc::clone(&house.machine.clock)));
    }
    tasks.spawn(proxy::probe(Arc::clone(&gate)));
    let count = match server.data_threads {
        0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        count => count,
    };
    // Once more, and held until the threads listen: of two that start at one moment one must find out.
    let held = alone(&settings)?;
    let mut threads = Vec::new();
    for number in 0..count {
        let listeners: Vec<_> = doors(server, front.as_ref())
            .map(|(entrance, address)| Ok((entrance, proxy::bind(address).with_context(|| taken(address))?)))
            .collect::<anyhow::Result<_>>()?;
        let name = format!("data-{number}");
        threads.push(proxy::spawn_thread(Arc::clone(&gate), listeners, stopping.clone(), &name)?);
    }
    drop(held);

    let listener =
        tokio::net::TcpListener::bind(server.ops_listen).await.with_context(|| taken(server.ops_listen))?;
    let ops_at = listener.local_addr()?;
    let ops = Ops {
        sessions: Arc::clone(&house.sessions),
        ledger: house.ledger.clone(),
        config: Arc::clone(&house.config),
        gate: Arc::clone(&gate),
        metrics,
        clock: Arc::clone(&house.machine.clock),
        stopping: stopping.clone(),
    };
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, ops::router(ops)).await {
            tracing::error!(%error, "the operations listener failed");
        }
    });

    let reloader = Arc::new(Reloader {
        options,
        house: Arc::clone(&house),
        settings: settings.clone(),
        turn: tokio::sync::Mutex::default(),
        front,
    });
    let controls = Arc::new(controls(&house, &settings, &reloader, gate));
    tasks.spawn(async move {
        if let Err(error) = socket.serve(controls).await {
            tracing::error!(%error, "the control socket failed");
        }
    });
    let watcher = Arc::clone(&reloader);
    tasks.spawn(watcher.watch(loaded.files, loaded.fingerprint));
    Ok(Running {
        house,
        listening: server.listen.clone(),
        ops: ops_at,
        reloader,
        stop,
        threads,
        tasks,
        ledger,
    })
}

/// Every address that clients come to, and how they are taken there.
fn doors<'s>(
    server: &'s config::Server,
    front: Option<&'s Arc<Front>>,
) -> impl Iterator<Item = (Entrance, SocketAddr)> + 's {
    let main = move || match front {
        Some(front) => Entrance::Tls(Door::Front, Arc::clone(front)),
        None => Entrance::Open(Door::Front),
    };
    let apps = server.listen.iter().map(move |address| (main(), *address));
    let asked = server.forward_auth_listen.iter();
    let asked = asked.map(|address| (Entrance::Open(Door::ForwardAuth), *address));
    let challenges = server.acme_challenges.as_deref().map(Arc::from);
    let told = server.http_redirect.iter();
    apps.chain(asked).chain(told.map(move |address| (Entrance::Redirect(challenges.clone()), *address)))
}

/// Whether nobody listens on any of the addresses yet. The threads share theirs (`SO_REUSEPORT`), and would share them with
/// another Cardea as well: people would come to one or the other by chance. A socket that shares nothing finds out. Sharing
/// with it begins when it stands.
fn alone(settings: &Settings) -> anyhow::Result<Vec<std::net::TcpListener>> {
    let server = &settings.server;
    let every = server.listen.iter().chain(&server.forward_auth_listen).chain(&server.http_redirect);
    let hold = |address: &SocketAddr| {
        let held = std::net::TcpListener::bind(address).with_context(|| taken(*address))?;
        socket2::SockRef::from(&held).set_reuse_port(true)?;
        Ok(held)
    };
    every.map(hold).collect()
}

fn taken(address: SocketAddr) -> String {
    format!("cannot listen on {address}; is another program, or another Cardea, using it?")
}

/// What commands from the control socket act on.
fn controls(house: &Arc<House>, settings: &Settings, reloader: &Arc<Reloader>, gate: Arc<Gate>) -> Controls {
    let (reloads, state) = (Arc::clone(reloader), Arc::clone(&house.config));
    let (front, remembered) = (reloader.front.clone(), Arc::clone(&gate));
    Controls {
        admin: Arc::clone(&house.admin),
        federation: Arc::clone(&house.signin.federation),
        signin: Some(Arc::clone(&house.signin)),
        node: settings.server.listen.first().map_or_else(String::new, ToString::to_string),
        storage: local::storage_words(&settings.storage.url),
        started: Some(house.machine.clock.now()),
        reload: Some(Box::new(move || {
            let reloader = Arc::clone(&reloads);
            Box::pin(async move {
                match reloader.reload("a command").await {
                    Ok(taken) if taken.waiting.is_empty() => {
                        Ok("the configuration was taken over".to_owned())
                    }
                    Ok(taken) => Ok(format!(
                        "the configuration was taken over, but for what waits for a restart: {}",
                        taken.waiting.join(", ")
                    )),
                    Err((report, _)) => Err(report),
                }
            })
        })),
        config_state: Box::new(move || state.words()),
        certificates: Box::new(move || front.as_ref().map(|front| front.identities()).unwrap_or_default()),
        past: Box::new(move |id| remembered.lately.find(id)),
        upstreams: Box::new(move || gate.upstreams()),
    }
}

/// The recorder of metrics; one for the process, however many gateways tests start in it.
fn recorder() -> Option<PrometheusHandle> {
    let bounded = proxy::BUCKETS.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)
    });
    let recorder = bounded.and_then(PrometheusBuilder::install_recorder).ok();
    proxy::describe_metrics();
    recorder
}

/// Adds up what was measured. Until then every measurement is kept, asked for or not.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

fn gate(house: &House, settings: &Settings) -> Gate {
    let router = web::router(house.web.clone());
    let service: PortalService = Arc::new(move |request: http::Request<PortalBody>, arrival: Arrival| {
        let router = router.clone();
        Box::pin(async move {
            let mut request = request.map(Body::from);
            request.extensions_mut().insert(ClientAddress(arrival.address));
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let answer: PortalAnswer = response.map(|body| body.map_err(Into::into).boxed_unsync());
            answer
        })
    });
    let server = &settings.server;
    Gate {
        snapshot: Arc::clone(&house.board.snapshot),
        sessions: Arc::clone(&house.sessions),
        keys: Arc::clone(&house.keys),
        ledger: house.ledger.clone(),
        clock: Arc::clone(&house.machine.clock),
        chance: Arc::clone(&house.machine.chance),
        portal: proxy::Portal {
            origin: server.public_url.origin(),
            host: server.public_url.host.to_string(),
            product_name: settings.brand.name.clone(),
            demo: house.machine.demo,
        },
        trusted_proxies: server.trusted_proxies.clone(),
        control: ControlPlane::new(tokio::runtime::Handle::current(), service),
        dialer: Dialer::new(server.listeners().collect()),
        connectors: Connectors::new(net::system_authorities()),
        health: proxy::Health::default(),
        lately: proxy::Lately::default(),
        refusals: proxy::Refusals::default(),
        crowd: proxy::Crowd::default(),
        settings: proxy::Settings {
            grace: server.shutdown_grace,
            connections_per_client: server.connections_per_client,
            front: match server.data_plane {
                DataPlane::Hyper => proxy::Front::Hyper,
                DataPlane::Strict => proxy::Front::Strict,
            },
            trusted_peers_only: settings.tls == Tls::Off
                && server.listen.iter().any(|address| !address.ip().is_loopback()),
            ..proxy::Settings::default()
        },
    }
}

/// The signals that are listened to: SIGHUP reloads, SIGTERM and SIGINT stop.
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

impl Running {
    /// While nobody administers: a set-up link, on a terminal only; elsewhere the log says how to get one.
    async fn say_how_to_set_up(&self) -> anyhow::Result<()> {
        use std::io::{IsTerminal as _, Write as _};
        if self.house.admin.is_set_up().await? {
            return Ok(());
        }
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            let link = self.house.admin.setup_link(&Authority::system(), Span::minutes(30)).await?;
            writeln!(
                terminal,
                "\n  Nobody administers this installation yet. Open this link within 30 minutes:\n\n  {}\n",
                link.text.expose()
            )?;
        } else {
            tracing::warn!(
                "nobody administers this installation yet; get a set-up link with `cardea admin invite` on this host"
            );
        }
        Ok(())
    }

    /// Reads the configuration again and takes it over, or says why not.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Waits for a signal to stop; SIGHUP reloads.
    pub async fn until_signalled(&self, signals: &mut Signals) {
        loop {
            tokio::select! {
                _ = signals.hangup.recv() => drop(self.reloader.reload("SIGHUP").await),
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
            }
        }
    }

    /// Stops: nothing new is accepted, requests in flight end, then everything else.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut self.threads);
        for thread in threads {
            while !thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the data plane had panicked");
            }
        }
        self.tasks.shutdown().await;
        // Nobody is left who could leave anything.
        self.ledger.finish().await;
        self.house.db.close().await;
    }
}

impl Reloader {
    /// Notices that files have changed. Looks twice a second and waits until two looks agree, so that half-written files
    /// and swapped links are read when they are whole.
    async fn watch(self: Arc<Self>, mut files: Vec<PathBuf>, mut known: Fingerprint) {
        let pool = Pool::new(1, 1);
        let mut last = known;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let watched = files.clone();
            let Ok(seen) = pool.run(move || config::fingerprint(&watched)).await else { continue };
            if seen != known && seen == last {
                let read = match self.reload("a changed file").await {
                    Ok(taken) => taken.files,
                    Err((_, files)) => files,
                };
                if !read.is_empty() {
                    files = read;
                }
                let watched = files.clone();
                known = pool.run(move || config::fingerprint(&watched)).await.unwrap_or(seen);
            }
            last = seen;
        }
    }

    /// Whether the configuration in force is the one in the files.
    #[must_use]
    pub fn state(&self) -> &ConfigState {
        &self.house.config
    }

    /// Takes over the configuration in the files: all of it, or nothing and the old one stays.
    ///
    /// # Errors
    /// With the report, as text, when the files are wrong or the database fails.
    pub async fn reload(&self, why: &str) -> Result<Taken, (String, Vec<PathBuf>)> {
        let _turn = self.turn.lock().await;
        let now = self.house.machine.clock.now();
        let refuse = |cause: String, text: String, files: Vec<PathBuf>| {
            tracing::error!(%why, report = %text, "the new configuration is wrong; the old one stays in force");
            self.house.config.refused(&cause, now);
            Err((text, files))
        };
        let loaded = match config::load(&self.options, now) {
            Ok(loaded) => loaded,
            Err(report) => {
                let files = report.files.clone();
                let cause = report.first_error().map_or_else(String::new, ToString::to_string);
                return refuse(cause, report.to_string(), files);
            }
        };
        if let (Some(front), Tls::Files(identities)) = (&self.front, &loaded.settings.tls)
            && let Some(why) = certificates::worse(&front.identities(), identities, now)
        {
            return refuse(why, loaded.report.to_string(), loaded.files);
        }
        if let Err(error) = super::install::apply(&self.house, &loaded).await {
            let text = format!("{error:#}");
            return refuse(text.clone(), text, loaded.files);
        }
        if let Err(error) = self.house.board.rebuild(Some(reload::policy(&loaded))).await {
            return refuse(error.to_string(), error.to_string(), loaded.files);
        }
        if let (Some(front), Tls::Files(identities)) = (&self.front, &loaded.settings.tls)
            && let Err(error) = front.replace(identities, now)
        {
            return refuse(error.to_string(), error.to_string(), loaded.files);
        }
        let providers = loaded.objects.providers.clone();
        self.house.signin.federation.reconfigure(providers, super::house::allowed(&loaded.settings));
        self.house.sessions.policy_changed();
        say_what_to_watch(&loaded, now);
        let waiting = reload::needs_restart(&self.settings, &loaded.settings);
        if !waiting.is_empty() {
            tracing::warn!(settings = %waiting.join(", "), "these settings take effect at the next start");
        }
        self.house.config.accepted(waiting.clone());
        tracing::info!(%why, routes = loaded.objects.routes.len(), "the configuration was taken over");
        Ok(Taken { files: loaded.files, waiting })
    }
}
