//! Both engines say the same: every statement prepares on both, the schemas agree, and what must hold under concurrency
//! holds on both.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;
use std::sync::Arc;

use cardea::domain::{Chance, Change, Secret, SessionId, Timestamp, UserId};
use cardea::store::{Db, STATEMENTS, StorageUrl, audit, feed, throttles};
use cardea::sys::OsChance;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Column as _, Either, Executor as _, PgPool, SqlSafeStr as _, SqlitePool, Statement};

use crate::support::postgres;

/// A new database on each engine, migrated, with the folder that holds the file.
pub(crate) struct Both {
    pub(crate) sqlite: Db,
    pub(crate) postgres: Db,
    file: std::path::PathBuf,
    url: String,
    _folder: tempfile::TempDir,
}

pub(crate) async fn fresh() -> Both {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cardea.db");
    let url = postgres::fresh_database().await;
    Both {
        sqlite: Db::open(&StorageUrl::Sqlite(file.clone())).await.unwrap(),
        postgres: Db::open(&StorageUrl::Postgres(Secret::new(url.clone()))).await.unwrap(),
        file,
        url,
        _folder: folder,
    }
}

impl Both {
    pub(crate) fn each(&self) -> [(&'static str, Db); 2] {
        [("sqlite", self.sqlite.clone()), ("postgres", self.postgres.clone())]
    }

    async fn raw(&self) -> (SqlitePool, PgPool) {
        let sqlite = SqlitePool::connect(&format!("sqlite://{}", self.file.display())).await.unwrap();
        (sqlite, PgPool::connect_with(PgConnectOptions::from_str(&self.url).unwrap()).await.unwrap())
    }
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_750_000_000_000 + millis)
}

#[tokio::test]
async fn every_statement_prepares_on_both() {
    let both = fresh().await;
    let (sqlite, postgres) = both.raw().await;
    let mut wrong = Vec::new();
    for sql in STATEMENTS.iter().copied().flatten() {
        let mut on_sqlite = sqlite.acquire().await.unwrap();
        let mut on_postgres = postgres.acquire().await.unwrap();
        let left = (&mut *on_sqlite).prepare(sql.sqlite.into_sql_str()).await;
        let right = (&mut *on_postgres).prepare(sql.postgres.into_sql_str()).await;
        let said = match (left, right) {
            (Ok(a), Ok(b)) if shape(&a) == shape(&b) && shape(&a).0 == sql.params => continue,
            (Ok(a), Ok(b)) => format!("{:?} is not {:?}", shape(&a), shape(&b)),
            (a, b) => format!("{:?} {:?}", a.err(), b.err()),
        };
        wrong.push(format!("{}: {said}", sql.name));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// How many parameters it takes, which columns it gives.
fn shape<S: Statement>(statement: &S) -> (usize, Vec<String>) {
    let parameters = match statement.parameters() {
        Some(Either::Left(types)) => types.len(),
        Some(Either::Right(count)) => count,
        None => 0,
    };
    (parameters, statement.columns().iter().map(|c| c.name().to_owned()).collect())
}

type Schema = BTreeMap<String, BTreeSet<String>>;

fn fold(rows: Vec<(String, String)>) -> Schema {
    let mut schema = Schema::new();
    for (table, fact) in rows {
        assert!(schema.entry(table.clone()).or_default().insert(fact.clone()), "{table}: {fact} twice");
    }
    schema
}

#[tokio::test]
async fn schemas_agree() {
    let both = fresh().await;
    let (sqlite, postgres) = both.raw().await;
    let left = fold(
        sqlx::query_as(
            "WITH t AS (SELECT name FROM sqlite_schema WHERE type = 'table'
                         AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name <> '_sqlx_migrations')
             SELECT t.name, 'column ' || c.name || ' ' || c.type || CASE c.\"notnull\" WHEN 1 THEN ' NOT NULL' ELSE '' END
               FROM t, pragma_table_info(t.name) c
             UNION ALL
             SELECT t.name, CASE i.\"unique\" WHEN 1 THEN 'unique ' ELSE 'index ' END
                    || (SELECT group_concat(name, ',' ORDER BY seqno) FROM pragma_index_info(i.name))
               FROM t, pragma_index_list(t.name) i
             UNION ALL
             SELECT t.name, 'key ' || group_concat(f.\"from\", ',' ORDER BY f.seq) || ' -> ' || f.\"table\"
                    || ' ' || group_concat(f.\"to\", ',' ORDER BY f.seq) || ' ' || f.on_delete
               FROM t, pragma_foreign_key_list(t.name) f GROUP BY t.name, f.id",
        )
        .fetch_all(&sqlite)
        .await
        .unwrap(),
    );
    let right = fold(
        sqlx::query_as(
            "WITH t AS (SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relname <> '_sqlx_migrations'
                         AND relnamespace = 'public'::regnamespace),
                  a AS (SELECT attrelid, attnum, attname::text AS attname, attnotnull,
                               CASE WHEN atttypid IN ('uuid'::regtype, 'bytea'::regtype) THEN 'BLOB'
                                    WHEN atttypid IN ('bigint'::regtype, 'boolean'::regtype) THEN 'INTEGER'
                                    WHEN atttypid = 'text'::regtype AND attcollation = '\"C\"'::regcollation THEN 'TEXT'
                                    ELSE 'NOT ALLOWED: ' || format_type(atttypid, atttypmod) END AS kind
                          FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped)
             SELECT t.relname::text, 'column ' || a.attname || ' ' || a.kind || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
               FROM t JOIN a ON a.attrelid = t.oid
             UNION ALL
             SELECT t.relname::text, CASE WHEN i.indisunique THEN 'unique ' ELSE 'index ' END
                    || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(num, n)
                          JOIN a ON a.attrelid = t.oid AND a.attnum = k.num)
               FROM t JOIN pg_index i ON i.indrelid = t.oid
             UNION ALL
             SELECT t.relname::text, 'key '
                    || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(num, n)
                          JOIN a ON a.attrelid = c.conrelid AND a.attnum = k.num)
                    || ' -> ' || c.confrelid::regclass::text || ' '
                    || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k(num, n)
                          JOIN a ON a.attrelid = c.confrelid AND a.attnum = k.num)
                    || CASE c.confdeltype WHEN 'c' THEN ' CASCADE' WHEN 'n' THEN ' SET NULL' WHEN 'r' THEN ' RESTRICT' ELSE ' NO ACTION' END
               FROM t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f'",
        )
        .fetch_all(&postgres)
        .await
        .unwrap(),
    );
    // On SQLite a whole-number primary key is the row id, and has no index of its own.
    let drop_row_ids = |mut schema: Schema| {
        for facts in schema.values_mut() {
            facts.retain(|fact| fact != "unique id" && fact != "unique seq");
        }
        schema
    };
    assert_eq!(drop_row_ids(left), drop_row_ids(right));
}

/// A reader that follows the feed while many write must see every change, though transactions end in any order.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_loses_nothing_that_commits_out_of_order() {
    let both = fresh().await;
    for (engine, db) in both.each() {
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (reader_db, over) = (db.clone(), Arc::clone(&done));
        let reader = tokio::spawn(async move {
            let mut position = feed::end(&mut reader_db.read().await.unwrap()).await.unwrap();
            let mut seen = Vec::new();
            loop {
                let last_look = over.load(std::sync::atomic::Ordering::Acquire);
                let batch = feed::since(&mut reader_db.read().await.unwrap(), position).await.unwrap();
                position = batch.position;
                let changes = batch.changes.expect("nothing was missed");
                if changes.is_empty() && last_look {
                    return seen;
                }
                seen.extend(changes);
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let mut writers = Vec::new();
        for writer in 0..8_u64 {
            let db = db.clone();
            writers.push(tokio::spawn(async move {
                let mut told = Vec::new();
                for round in 0..20_u64 {
                    let session = SessionId::mint(at(0), &OsChance);
                    let mut tx = db.begin().await.unwrap();
                    tx.changed(Change::Session(session));
                    // Some take their time between the first statement and the commit.
                    throttles::hold(&mut tx, &format!("writer-{writer}"), at(0)).await.unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis((writer * 7 + round * 3) % 5)).await;
                    tx.commit(at(0)).await.unwrap();
                    told.push(Change::Session(session));
                }
                told
            }));
        }
        let mut told = Vec::new();
        for writer in writers {
            told.extend(writer.await.unwrap());
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        let seen = reader.await.unwrap();
        assert_eq!(seen.len(), told.len(), "{engine}");
        for change in told {
            assert!(seen.contains(&change), "{engine}: {change:?}");
        }
    }
}

#[tokio::test]
async fn a_rolled_back_transaction_tells_nothing() {
    let both = fresh().await;
    for (engine, db) in both.each() {
        let before = feed::end(&mut db.read().await.unwrap()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.changed(Change::Principal(UserId::mint(at(0), &OsChance)));
        drop(tx);
        let batch = feed::since(&mut db.read().await.unwrap(), before).await.unwrap();
        assert_eq!(batch.changes, Some(Vec::new()), "{engine}");
    }
}

#[tokio::test]
async fn a_failed_statement_ends_its_transaction_on_both() {
    use cardea::domain::{AccountKind, PersonName, Status, User, Username};
    use cardea::store::users;
    let both = fresh().await;
    for (engine, db) in both.each() {
        let person = |chance: &dyn Chance| User {
            id: UserId::mint(at(0), chance),
            username: Username::parse("grace").unwrap(),
            name: PersonName::parse("Grace").unwrap(),
            email: None,
            email_verified: false,
            kind: AccountKind::User,
            status: Status::Active,
            suspension: None,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: at(0),
            version: 1,
        };
        let mut tx = db.begin().await.unwrap();
        users::add(&mut tx, &person(&OsChance)).await.unwrap();
        let twice = users::add(&mut tx, &person(&OsChance)).await.unwrap_err();
        assert!(
            matches!(&twice, cardea::store::DbError::Conflict(key) if key == "users_username_key"),
            "{engine}: {twice}"
        );
        assert!(users::any(&mut tx).await.is_err(), "{engine}");
        assert!(tx.commit(at(0)).await.is_err(), "{engine}");
        assert!(!users::any(&mut db.read().await.unwrap()).await.unwrap(), "{engine}");
    }
}

#[tokio::test]
async fn a_record_keeps_every_word_on_both() {
    use cardea::domain::{Actor, AuditEvent, Outcome};
    let both = fresh().await;
    // A NUL, and the six characters with which JSON writes one.
    let words = "a\0b \\u0000 c";
    for (engine, db) in both.each() {
        let mut tx = db.begin().await.unwrap();
        let event = AuditEvent::new(Actor::System, "test.words", Outcome::Failed).with("words", words);
        audit::write(&mut tx, &event, at(0), &OsChance).await.unwrap();
        tx.commit(at(0)).await.unwrap();
        let search = audit::Search { action: Some("test.words".to_owned()), ..audit::Search::default() };
        let found = audit::find(&mut db.read().await.unwrap(), &search, 2).await.unwrap();
        let detail: serde_json::Value = serde_json::from_str(&found[0].detail).unwrap();
        assert_eq!(detail["words"], words, "{engine}");
    }
}
