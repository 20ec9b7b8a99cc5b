//! Opening a database: migrations first, on a connection of their own, then the pools.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqlSafeStr};
use tokio::sync::broadcast;

use super::db::Pools;
use super::{Db, DbError, Watermark};
use crate::domain::{Secret, Span};

/// Where the records are.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageUrl {
    /// A PostgreSQL server; the URL may hold a password.
    Postgres(Secret<String>),
    /// A file.
    Sqlite(PathBuf),
}

impl StorageUrl {
    /// Where that is, for people and without passwords: the same words for the same database, however it is written.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            StorageUrl::Sqlite(file) => format!("SQLite, {}", full(file).display()),
            StorageUrl::Postgres(url) => match PgConnectOptions::from_str(url.expose()) {
                Ok(at) => {
                    let host = at
                        .get_socket()
                        .map_or_else(|| at.get_host().to_owned(), |it| it.display().to_string());
                    let name = at.get_database().unwrap_or_else(|| at.get_username());
                    format!("PostgreSQL, {name} on {host}:{}", at.get_port())
                }
                Err(_) => "PostgreSQL".to_owned(),
            },
        }
    }

    /// Whether there is a database; a server of PostgreSQL is not asked.
    ///
    /// # Errors
    /// When there is not even the folder for one: making it would hide that the path is wrong.
    pub fn stands(&self) -> Result<bool, DbError> {
        let StorageUrl::Sqlite(file) = self else { return Ok(true) };
        match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                Err(DbError::Place(format!(
                    "there is no folder {} for the database; make it, or mend storage.url",
                    folder.display()
                )))
            }
            _ => Ok(file.exists()),
        }
    }
}

/// A path that does not depend on where the program stands, nor on links; as far as there is something.
fn full(file: &Path) -> PathBuf {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let whole = || Some(std::fs::canonicalize(folder).ok()?.join(file.file_name()?));
    std::fs::canonicalize(file)
        .ok()
        .or_else(whole)
        .or_else(|| std::path::absolute(file).ok())
        .unwrap_or_else(|| file.to_owned())
}

/// What this room is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the records are.
    pub url: StorageUrl,
    /// How long a node may answer from memory without having read the change feed.
    pub lease: Span,
}

impl Db {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be reached, was migrated by a newer program, or a migration fails.
    pub async fn open(url: &StorageUrl) -> Result<Db, DbError> {
        url.stands()?;
        let pools = match url {
            StorageUrl::Postgres(url) => postgres(url.expose()).await?,
            StorageUrl::Sqlite(file) => sqlite(file).await.map_err(|error| error.of_file(file))?,
        };
        Ok(Db { pools, hub: broadcast::channel(64).0, watermark: Arc::new(Watermark::default()) })
    }
}

impl Db {
    /// What is wrong with the file or with what its records point to; nothing when all is well. A server of PostgreSQL
    /// looks after its files itself, and is only asked whether it answers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn check(&self) -> Result<Vec<String>, DbError> {
        self.ping().await?;
        let Pools::Sqlite { read, .. } = &self.pools else { return Ok(Vec::new()) };
        let mut faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(read).await?;
        faults.retain(|fault| fault != "ok");
        for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(read).await? {
            let (child, parent): (String, String) = (row.try_get(0)?, row.try_get(2)?);
            faults.push(format!("a record of {child} points to one of {parent} that is gone"));
        }
        Ok(faults)
    }

    /// Copies the records as they are at this moment into a new file that only its owner reads, while everything runs.
    ///
    /// # Errors
    /// When the file exists, or on PostgreSQL, which has tools of its own.
    pub async fn backup(&self, to: &Path) -> Result<(), DbError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let Pools::Sqlite { write, .. } = &self.pools else {
            return Err(DbError::other("copies of a PostgreSQL database are made with pg_dump"));
        };
        let path = to.to_str().ok_or_else(|| DbError::other("the name of the file is not text"))?;
        // The engine writes into an empty file, but would make one that everybody reads.
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(|error| DbError::other(format!("cannot write {path}: {error}")))?;
        let done = sqlx::query("VACUUM INTO $1").bind(path).execute(write).await;
        if done.is_err() {
            let _ = std::fs::remove_file(to);
        }
        done.map(drop).map_err(DbError::from)
    }
}

async fn sqlite(file: &Path) -> Result<Pools, DbError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL may lose the last commits when power fails: a revoked session would live again.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(STATEMENTS);

    // Rebuilding a table drops it, and dropping it would delete its children if keys were enforced.
    let mut first = options.clone().create_if_missing(true).foreign_keys(false).connect().await?;
    migrator(SQLITE).run(&mut first).await.map_err(sqlx::Error::from)?;
    if sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut first).await?.is_some() {
        return Err(DbError::Reference);
    }
    first.close().await?;
    private(file)?;

    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(PATIENCE)
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_with(options.pragma("query_only", "ON"))
        .await?;
    Ok(Pools::Sqlite { read, write })
}

/// Nobody but the owner reads the records.
fn private(file: &Path) -> Result<(), DbError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| DbError::other(format!("cannot make {} private: {error}", file.display())))
}

async fn postgres(url: &str) -> Result<Pools, DbError> {
    let options =
        PgConnectOptions::from_str(url)?.statement_cache_capacity(STATEMENTS).application_name("cardea");
    let mut first = options.clone().connect().await?;
    migrator(POSTGRES).run(&mut first).await.map_err(sqlx::Error::from)?;
    first.close().await?;

    // A cancelled task leaves its statement running on the server; these end it.
    let options = options.options([
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ]);
    let pool =
        PgPoolOptions::new().max_connections(16).acquire_timeout(PATIENCE).connect_with(options).await?;
    Ok(Pools::Postgres(pool))
}

/// More than we have statements, so that none is prepared twice on a connection.
const STATEMENTS: usize = 512;
/// How long a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

type Text = (i64, &'static str, &'static str);

const SQLITE: &[Text] = &[
    (1, "gate", include_str!("../../migrations/sqlite/0001_gate.sql")),
    (2, "federation", include_str!("../../migrations/sqlite/0002_federation.sql")),
    (3, "claimed_emails", include_str!("../../migrations/sqlite/0003_claimed_emails.sql")),
    (4, "provider sessions", include_str!("../../migrations/sqlite/0004_provider_sessions.sql")),
    (5, "assertions", include_str!("../../migrations/sqlite/0005_assertions.sql")),
];
const POSTGRES: &[Text] = &[
    (1, "gate", include_str!("../../migrations/postgres/0001_gate.sql")),
    (2, "federation", include_str!("../../migrations/postgres/0002_federation.sql")),
    (3, "claimed_emails", include_str!("../../migrations/postgres/0003_claimed_emails.sql")),
    (4, "provider sessions", include_str!("../../migrations/postgres/0004_provider_sessions.sql")),
    (5, "assertions", include_str!("../../migrations/postgres/0005_assertions.sql")),
];

fn migrator(list: &[Text]) -> Migrator {
    let migration = |&(version, name, sql): &Text| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(list.iter().map(migration).collect())
}
