//! The demonstration: two companies, a few apps, people with known passwords, all in one process on loopback, with data
//! that is thrown away. At the top of the house: `serve` cannot reach it.

mod guests;
mod lantern;
mod provider;
mod scene;
mod seed;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::AsyncBufReadExt as _;

use crate::app::{self, Machine, Running};
use crate::config;
use crate::domain::Chance;
use crate::protocol::totp::Seed;
use crate::sys::{OsChance, SystemClock};

pub use guests::GUESTS;
pub use lantern::{Knows, router as lantern_router};
pub use scene::{PASSWORD, PERSONAS, Persona};

/// Where a demo plays.
pub struct Stage {
    /// Where its data is.
    pub folder: PathBuf,
    /// The gateway's port.
    pub port: u16,
    /// Another database than the file in the folder.
    pub storage: Option<String>,
    /// Whether there is an identity provider.
    pub provider: bool,
    /// The machine.
    pub machine: Machine,
}

/// A demo that runs.
pub struct Demo {
    /// The gateway.
    pub running: Running,
    /// The upstream.
    pub lantern: SocketAddr,
    /// The seed of ada's authenticator.
    pub authenticator: Seed,
    upstream: tokio::task::JoinHandle<()>,
    provider: Option<tokio::task::JoinHandle<()>>,
}

impl Demo {
    /// Ends it.
    pub async fn stop(self) {
        self.running.stop().await;
        self.upstream.abort();
        if let Some(provider) = self.provider {
            provider.abort();
        }
    }
}

/// Runs a demo until it is told to stop. `tell` shows a text to whoever watches; a line from the terminal asks for ada's
/// code of the moment.
///
/// # Errors
/// As [`open`], and when the address is not loopback.
pub async fn run(
    listen: Option<SocketAddr>,
    keep: Option<PathBuf>,
    tell: impl Fn(&str),
) -> anyhow::Result<()> {
    let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8600)));
    anyhow::ensure!(
        listen.ip() == Ipv4Addr::LOCALHOST,
        "the demo listens on 127.0.0.1 only: its passwords are in the manual"
    );
    app::start_logging("warn", false);
    TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen}; is another program using it?"))?;
    let kept = keep.is_some();
    let throwaway = tempfile::tempdir().context("cannot make a folder for the demo's data")?;
    let folder = match keep {
        Some(folder) => {
            // The files in it are named in a configuration that stands in it.
            let folder = std::path::absolute(&folder)
                .with_context(|| format!("{} is no path of a folder", folder.display()))?;
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            folder
        }
        None => throwaway.path().to_owned(),
    };
    let machine = Machine { clock: Arc::new(SystemClock::default()), chance: Arc::new(OsChance), demo: true };
    let clock = Arc::clone(&machine.clock);
    let shown = kept.then(|| folder.clone());
    let stage = Stage { folder, port: listen.port(), storage: None, provider: true, machine };
    let mut signals = app::Signals::listen()?;
    let demo = open(stage).await?;
    tell(&greeting(&demo, listen.port(), shown.as_deref()));
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut watched = true;
    loop {
        tokio::select! {
            () = demo.running.until_signalled(&mut signals) => break,
            line = lines.next_line(), if watched => match line {
                Ok(Some(_)) => tell(&format!("  ada's code now: {}\n", demo.authenticator.code(clock.now()))),
                // Nobody sits there.
                Ok(None) | Err(_) => watched = false,
            },
        }
    }
    demo.stop().await;
    Ok(())
}

/// Opens a demo: writes its configuration, starts gateway and upstream, seeds the people.
///
/// # Errors
/// When the port is taken or the folder cannot be written.
pub async fn open(stage: Stage) -> anyhow::Result<Demo> {
    let free = |what: &str| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).with_context(|| format!("no free port for {what}"))
    };
    let lantern = free("the upstream")?;
    let lantern_at = lantern.local_addr()?;
    // Taken and given back: nobody listens there, which is what the app that is down needs.
    let dead = free("the app that is down")?.local_addr()?.port();
    let idp = if stage.provider { Some(free("the identity provider")?) } else { None };
    let mut text = scene::configuration(stage.port, lantern_at.port(), dead, &stage.folder);
    if let Some(idp) = &idp {
        text.push_str(&scene::provider(stage.port, idp.local_addr()?.port()));
    }
    let file = stage.folder.join("cardea.toml");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    write_key(&stage.folder.join("master.key"), &*stage.machine.chance)?;
    let mut environment = Vec::new();
    if let Some(url) = stage.storage {
        environment.push(("CARDEA_STORAGE__URL".to_owned(), url));
    }
    let options = config::Options { file: Some(file), environment, credentials_directory: None };
    let loaded =
        config::load(&options, stage.machine.clock.now()).map_err(|report| anyhow::anyhow!("{report}"))?;
    let issuer = loaded.settings.server.public_url.origin();
    let (clock, chance) = (Arc::clone(&stage.machine.clock), Arc::clone(&stage.machine.chance));
    let running = app::start(loaded, options, stage.machine).await?;
    let authenticator = seed::people(&running).await?;
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.port));
    let provider = match idp {
        None => None,
        Some(listener) => {
            let at = (scene::issuer(stage.port), issuer.clone());
            let provider = provider::Provider::new(at, gateway, Arc::clone(&clock), chance)?;
            Some(serve(listener, provider::router(Arc::new(provider)), "the identity provider")?)
        }
    };
    let knows = Arc::new(Knows::new(gateway, issuer, clock));
    let upstream = serve(lantern, lantern::router(knows), "Lantern")?;
    Ok(Demo { running, lantern: lantern_at, authenticator, upstream, provider })
}

/// Has a part of the demo answer.
fn serve(
    listener: TcpListener,
    router: axum::Router,
    what: &'static str,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "{what} went out");
        }
    }))
}

fn write_key(file: &Path, chance: &dyn Chance) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if file.exists() {
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o600).open(file)?;
    open.write_all(config::key_file(&chance.bytes::<32>()).as_bytes())?;
    Ok(())
}

/// What the terminal shows when the demo is ready; `kept` is the folder in which its data stays, if it does.
#[must_use]
pub fn greeting(demo: &Demo, port: u16, kept: Option<&Path>) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "\n  Cardea {} demo: loopback only, not for production\n\n  \
         Apps        http://access.cardea.localhost:{port}/apps  <- start here\n  \
         Upstream    http://lantern.cardea.localhost:{port}      shows what an app receives\n  \
         Sign in as  (everybody's password: {PASSWORD})\n",
        env!("CARGO_PKG_VERSION")
    );
    for persona in &PERSONAS {
        // Writing to a string does not fail.
        let _ = writeln!(text, "              {:<7} {}", persona.username, persona.about);
    }
    if demo.provider.is_some() {
        text.push_str("  Or press \"Continue with Demo OIDC\" there, without a password, as\n");
        for guest in &GUESTS {
            let _ = writeln!(text, "              {:<22} {}", guest.name, guest.about);
        }
        let _ = writeln!(
            text,
            "  Provider    {}         signs people out of Cardea when they sign out there",
            scene::issuer(port)
        );
    }
    let end = kept.map_or_else(
        || "Ctrl-C stops the demo and deletes its data (keep it with --keep DIR).".to_owned(),
        |folder| format!("Ctrl-C stops the demo. Its data stays in {}.", folder.display()),
    );
    let _ = write!(
        text,
        "\n  ada's authenticator key: {}\n  Press Enter here to see her code of the moment.\n\n  {end}\n",
        demo.authenticator.base32()
    );
    text
}
