//! One-time links: the first administrator of an empty installation, and a password set by link.

use std::sync::Arc;

use cardea::access::Authority;
use cardea::app::{self, Machine, Running};
use cardea::config;
use cardea::domain::Span;
use cardea::sys::{OsChance, SystemClock};

use super::{Hands, Walk};
use crate::support::browser::Look;
use crate::support::free_port;

/// An installation that nobody has set up, as a file of a few lines makes it.
async fn fresh(folder: &std::path::Path) -> (Running, u16) {
    let (port, ops) = (free_port(), free_port());
    let place = folder.display();
    let text = format!(
        "[server]\npublic_url = \"http://access.acme.localhost:{port}\"\nlisten = [\"127.0.0.1:{port}\"]\n\
         ops_listen = \"127.0.0.1:{ops}\"\ncontrol_socket = \"{place}/cardea.sock\"\nshutdown_grace = \"1s\"\n\
         [storage]\nurl = \"sqlite:{place}/cardea.db\"\n[secrets]\nmaster_key = {{ file = \"{place}/master.key\" }}\n\
         [log]\nlevel = \"warn\"\n[brand]\nname = \"Acme Access\"\n"
    );
    std::fs::write(folder.join("cardea.toml"), text).unwrap();
    std::fs::write(folder.join("master.key"), config::key_file(&[7; 32]).as_bytes()).unwrap();
    std::fs::set_permissions(folder.join("master.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let options = config::Options {
        file: Some(folder.join("cardea.toml")),
        environment: Vec::new(),
        credentials_directory: None,
    };
    let loaded = config::load(&options, cardea::sys::Clock::now(&SystemClock::default()))
        .unwrap_or_else(|report| panic!("{report}"));
    let machine =
        Machine { clock: Arc::new(SystemClock::default()), chance: Arc::new(OsChance), demo: false };
    (app::start(loaded, options, machine).await.unwrap(), port)
}

#[tokio::test(flavor = "multi_thread")]
async fn links_open_once() {
    let walk = Walk::begin("links", Look::DESK, Hands::Mouse).await;
    the_first_administrator(&walk).await;
    walk.forget().await;
    a_password_of_ones_own(&walk).await;
    walk.end().await;
}

/// The set-up link, its end, and the launcher of an installation without apps.
async fn the_first_administrator(walk: &Walk) {
    let folder = tempfile::tempdir().unwrap();
    let (running, port) = fresh(folder.path()).await;
    let portal = |path: &str| format!("http://access.acme.localhost:{port}{path}");
    let link = running.house.admin.setup_link(&Authority::system(), Span::minutes(30)).await.unwrap();
    let link = link.text.expose().as_str();
    walk.go(link).await;
    walk.sees("Create the first administrator").await;
    walk.look_at("setup").await;
    walk.fill("#name", "Ada Lovelace").await;
    walk.fill("#email", "ada@acme.example").await;
    walk.fill("#username", "ada").await;
    walk.fill("#password", "short").await;
    walk.press("button.primary").await;
    walk.alerted().await;
    assert!(walk.words().await.contains("too short"), "{}", walk.words().await);
    walk.look_at("setup-wrong").await;
    walk.fill("#password", "a walk by the river at dusk").await;
    walk.press("button.primary").await;
    walk.sees("You are the first administrator").await;
    walk.look_at("setup-done").await;
    walk.press("a.primary").await;
    walk.sees("Sign in").await;
    assert!(walk.words().await.contains("The first administrator is ready."));
    walk.look_at("sign-in-after-setup").await;
    walk.come_in("ada", "a walk by the river at dusk").await;
    // Administrators need a second factor unless the file says otherwise.
    walk.enrol().await;
    walk.press("#stored").await;
    walk.press("button.primary").await;
    walk.sees_at("My apps", &portal("/apps")).await;
    assert!(walk.words().await.contains("No app is open to you yet."));
    walk.look_at("launcher-empty").await;
    walk.go(&portal("/me")).await;
    walk.sees("My account").await;
    walk.look_at("account-admin").await;
    walk.go(link).await;
    walk.sees("This set-up link no longer works").await;
    walk.look_at("setup-dead").await;
    running.stop().await;
}

/// A link with which grace sets a password that only she knows.
async fn a_password_of_ones_own(walk: &Walk) {
    let (stage, by) = (&walk.stage, Authority::system());
    let admin = &stage.house().admin;
    let grace = admin.user_named(&by, "grace").await.unwrap();
    let older = admin.password_link(&by, grace, Span::minutes(30)).await.unwrap();
    let link = admin.password_link(&by, grace, Span::minutes(30)).await.unwrap();
    walk.go(older.text.expose()).await;
    walk.sees("This link was already used").await;
    walk.look_at("password-link-dead").await;
    walk.go(link.text.expose()).await;
    walk.sees("Set your password").await;
    walk.look_at("password-link").await;
    walk.fill("#password", "grace").await;
    walk.press("button.primary").await;
    walk.alerted().await;
    walk.look_at("password-link-wrong").await;
    walk.fill("#password", "seven grey geese in a row").await;
    walk.press("button.primary").await;
    walk.sees("Sign in").await;
    assert!(walk.words().await.contains("Your password is set."));
    walk.come_in("grace", "seven grey geese in a row").await;
    walk.sees("My apps").await;
    walk.go(link.text.expose()).await;
    walk.sees("This link was already used").await;
}
