//! The database goes away.

use std::sync::Arc;
use std::time::Duration;

use cardea::app::Machine;
use cardea::demo;
use cardea::domain::{Actor, AuditEvent, Outcome};
use cardea::store::audit;
use cardea::sys::{OsChance, SystemClock};

use crate::support::stage::{Engine, Stage, Visitor};
use crate::support::{free_port, postgres};

/// `PROXY-03`, `CRASH-02`: cached sessions are served until the lease ends, then 503; new sign-ins get 503; `/readyz` says
/// so; nothing opens; and it all comes back without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn proxy_03_crash_02_without_its_database_it_serves_until_the_lease_ends_and_opens_nothing() {
    let server = postgres::durable();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let machine = Machine { clock: Arc::new(SystemClock::default()), chance: Arc::new(OsChance), demo: true };
    let storage = Some(server.fresh_database().await);
    let demo =
        demo::open(demo::Stage { folder: folder.path().to_owned(), port, storage, provider: false, machine })
            .await
            .unwrap();
    let url = |host: &str, path: &str| format!("http://{host}.localhost:{port}{path}");
    let readyz = format!("http://{}/readyz", demo.running.ops);

    let mut grace = Visitor::new(port);
    grace.get(&url("lantern.cardea", "/")).await;
    grace.submit(&[("identifier", "grace")]).await;
    grace.submit(&[("password", demo::PASSWORD)]).await;
    assert_eq!(grace.title(), "Hello, Grace Hopper");
    assert_eq!(reqwest::get(&readyz).await.unwrap().status(), 200);

    server.kill9();
    // In memory, and the lease (15 seconds) holds.
    assert_eq!(grace.fetch(&url("lantern.cardea", "/")).await.0, 200);
    let mut stranger = Visitor::new(port);
    stranger.get(&url("access.cardea", "/sign-in")).await;
    stranger.submit(&[("identifier", "ada")]).await;
    assert_eq!(stranger.status, 503, "{}", stranger.text());
    let ready = reqwest::get(&readyz).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<serde_json::Value>().await.unwrap()["storage"], "down");

    // Past the lease: nobody gets through, and what is open to everybody stays open.
    let began = std::time::Instant::now();
    loop {
        let (status, _) = grace.fetch(&url("lantern.cardea", "/")).await;
        if status == 503 {
            break;
        }
        assert_eq!(status, 200);
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "still served {:?} after the database went",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(grace.fetch(&url("welcome.cardea", "/")).await.0, 200);

    server.restart();
    let began = std::time::Instant::now();
    while grace.fetch(&url("lantern.cardea", "/")).await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "did not come back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_audit_log_is_written_before_the_end() {
    let stage = Stage::open(Engine::Sqlite).await;
    for _ in 0..4_000 {
        stage.house().ledger.leave(AuditEvent::new(Actor::Anonymous, "test.refused", Outcome::Refused));
    }
    assert_eq!(stage.house().ledger.dropped(), 0);
    let stage = stage.restarted().await;
    let search = audit::Search { action: Some("test.refused".to_owned()), ..audit::Search::default() };
    let kept = audit::find(&mut stage.house().db.read().await.unwrap(), &search, 5_000).await.unwrap();
    assert_eq!(kept.len(), 4_000);
    stage.demo.stop().await;
}
