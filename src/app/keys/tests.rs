use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::snapshot::Rules;
use crate::access::{Authority, Ledger, Snapshot};
use crate::admin::{self, Admin};
use crate::domain::Span;
use crate::protocol::password::Policy;
use crate::store::{StorageUrl, tree};
use crate::sys::{Clock as _, OsChance, Pool, SystemClock};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn master(current: u8, previous: &[u8]) -> MasterKeys {
    let key = |byte: u8| Secret::new([byte; 32]);
    MasterKeys { current: key(current), previous: previous.iter().map(|byte| key(*byte)).collect() }
}

async fn database(folder: &tempfile::TempDir) -> Db {
    Db::open(&StorageUrl::Sqlite(folder.path().join("records.db"))).await.unwrap()
}

fn kids(ring: &Keyring) -> Vec<String> {
    let jwks = ring.assertion().jwks();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn keys_are_made_once_and_opened_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder).await;
    let first = open(&db, &master(1, &[]), NOW, &OsChance).await.unwrap();
    let token = first.web.session.issue("session", "a.example", &OsChance);
    let second = open(&db, &master(1, &[]), NOW, &OsChance).await.unwrap();
    assert_eq!(kids(&first), kids(&second));
    assert!(second.web.session.check(token.expose().as_bytes(), "session", "a.example").is_some());
    assert_eq!(check(&db, &second.sealer).await.unwrap(), 2);
}

#[tokio::test]
async fn key_03_no_new_key_takes_the_place_of_one_that_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder).await;
    open(&db, &master(1, &[]), NOW, &OsChance).await.unwrap();
    let rows = keys::all(&mut db.read().await.unwrap()).await.unwrap();
    let error = open(&db, &master(2, &[]), NOW, &OsChance).await.err().unwrap().to_string();
    assert!(error.contains("does not open") && error.contains("never makes a new one"), "{error}");
    assert_eq!(keys::all(&mut db.read().await.unwrap()).await.unwrap(), rows);
    assert!(open(&db, &master(2, &[1]), NOW, &OsChance).await.is_ok(), "an older key still opens");
}

#[tokio::test]
async fn a_rotated_key_is_published_for_another_hour() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder).await;
    let clock = Arc::new(SystemClock::default());
    let now = clock.now();
    let ring = Arc::new(open(&db, &master(1, &[]), now, &OsChance).await.unwrap());
    let other_node = open(&db, &master(1, &[]), now, &OsChance).await.unwrap();
    let first = kids(&ring);
    let empty = Snapshot::compile(0, tree::Tree::default(), &[], &Rules::default());
    let admin = Admin {
        db: db.clone(),
        keys: Arc::clone(&ring),
        snapshot: Arc::new(ArcSwap::from_pointee(empty)),
        ledger: Ledger::new(8).0,
        hashing: Pool::new(1, 8),
        clock: Arc::clone(&clock) as _,
        chance: Arc::new(OsChance),
        settings: admin::Settings {
            policy: Policy { min_length: 12, check_common: true },
            portal_origin: "https://access.example.com".to_owned(),
            brand: "Cardea".to_owned(),
        },
    };
    let second = admin.rotate_keys(&Authority::system()).await.unwrap();
    for ring in [&*ring, &other_node] {
        reload_assertion(&db, ring, clock.now()).await.unwrap();
        assert_eq!(kids(ring), [second.clone(), first[0].clone()]);
        assert_eq!(ring.assertion().current().id(), second);
    }
    clock.advance(Span::hours(2));
    reload_assertion(&db, &ring, clock.now()).await.unwrap();
    assert_eq!(kids(&ring), [second]);
    admin.rotate_keys(&Authority::system()).await.unwrap();
    assert_eq!(keys::all(&mut db.read().await.unwrap()).await.unwrap().len(), 3, "the first is forgotten");
}

#[tokio::test]
async fn two_starts_at_once_make_one_set_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder).await;
    let master = master(1, &[]);
    let (one, two) = tokio::join!(open(&db, &master, NOW, &OsChance), open(&db, &master, NOW, &OsChance));
    assert_eq!(kids(&one.unwrap()), kids(&two.unwrap()));
}
