//! kill -9 in the middle of writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cardea::app::control::{Client, Command, Exit};
use tokio::sync::Mutex;

use super::Site;
use crate::support::postgres;

/// Several connections to the control socket create people as fast as they can. The program, and on PostgreSQL the
/// server too, is killed in the middle; whoever was acknowledged is there afterwards, with the audit record of it.
async fn nothing_acknowledged_is_lost(site: &Site, server: Option<&postgres::Server>, rounds: usize) {
    site.write("[[tenant]]\nslug = \"acme\"\nname = \"Acme\"\n");
    let acknowledged = Arc::new(Mutex::new(Vec::<String>::new()));
    for round in 0..rounds {
        let running = site.serve();
        let count = Arc::new(AtomicUsize::new(0));
        let mut writers = Vec::new();
        for writer in 0..4 {
            let (socket, acknowledged, count) =
                (site.path("cardea.sock"), Arc::clone(&acknowledged), Arc::clone(&count));
            writers.push(tokio::spawn(async move {
                let Ok(Some(mut client)) = Client::connect(&socket).await else { return };
                for number in 0.. {
                    let name = format!("p{round}-{writer}-{number}");
                    let Ok(answer) = client.call(&create(&name)).await else { return };
                    if answer.exit == Exit::Unreachable {
                        // The database went first, and the program says so: not acknowledged.
                        return;
                    }
                    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
                    acknowledged.lock().await.push(name);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for _ in 0..500 {
            if count.load(Ordering::Relaxed) >= 40 + round * 13 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(server) = server {
            server.kill9();
        }
        running.kill9();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(count.load(Ordering::Relaxed) >= 40, "too little was written to be cut off in the middle");
        if let Some(server) = server {
            server.restart();
        }
    }
    let running = site.serve();
    let mut client = Client::connect(&site.path("cardea.sock")).await.unwrap().unwrap();
    for name in acknowledged.lock().await.iter() {
        let answer = client.call(&Command::UserShow { user: name.clone() }).await.unwrap();
        assert_eq!(answer.exit, Exit::Done, "{name} was acknowledged and is gone");
        let told = Command::AuditTail {
            limit: 5,
            tenant: None,
            action: Some("user.create".into()),
            actor: None,
            target: Some(name.clone()),
            outcome: None,
        };
        let audit = client.call(&told).await.unwrap();
        assert!(audit.json.to_string().contains("user.create"), "{name} has no audit record: {audit:?}");
    }
    assert!(running.stop().success());
}

fn create(name: &str) -> Command {
    serde_json::from_value(serde_json::json!({ "do": "user-create", "username": name, "wish": { "name": name, "join": ["acme"], "roles": [], "groups": [] }, "password": null, "life": null })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_01_sqlite_keeps_what_it_acknowledged() {
    let site = Site::new(None);
    nothing_acknowledged_is_lost(&site, None, 3).await;
    let file = site.path("cardea.db");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    let verdict: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&pool).await.unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_01_postgres_keeps_what_it_acknowledged() {
    let server = postgres::durable();
    let site = Site::new(Some(server.fresh_database().await));
    nothing_acknowledged_is_lost(&site, Some(&server), 3).await;
}
