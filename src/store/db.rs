//! The door to two engines.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Pool, Postgres, Sqlite, Transaction};
use tokio::sync::broadcast;

use super::feed::Watermark;
use super::statement::{Sql, Stmt, statements};
use super::{DbError, feed};
use crate::domain::{Change, Timestamp};

statements! {
    TOUCH = "INSERT INTO meta (name, value) VALUES ($1, '') ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    META = "SELECT value FROM meta WHERE name = $1";
    SET_META = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    PING = "SELECT CAST(1 AS BIGINT) AS one";
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pub(super) pools: Pools,
    pub(super) hub: broadcast::Sender<()>,
    pub(super) watermark: Arc<Watermark>,
}

#[derive(Clone)]
pub(super) enum Pools {
    Postgres(Pool<Postgres>),
    Sqlite { read: Pool<Sqlite>, write: Pool<Sqlite> },
}

/// Which engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A connection to read with.
pub struct Conn {
    link: Link,
    /// A statement failed. PostgreSQL refuses the rest of the transaction; so do we, on both.
    failed: bool,
}

enum Link {
    Postgres(PoolConnection<Postgres>),
    PostgresTx(Transaction<'static, Postgres>),
    Sqlite(PoolConnection<Sqlite>),
    SqliteTx(Transaction<'static, Sqlite>),
}

impl Conn {
    /// Begins a statement.
    pub fn query(&mut self, sql: Sql) -> Stmt<'_> {
        let failed = &mut self.failed;
        match &mut self.link {
            Link::Postgres(on) => Stmt::postgres(sql, on, failed),
            Link::PostgresTx(on) => Stmt::postgres(sql, on, failed),
            Link::Sqlite(on) => Stmt::sqlite(sql, on, failed),
            Link::SqliteTx(on) => Stmt::sqlite(sql, on, failed),
        }
    }

    /// A value of the small table of facts about the installation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meta(&mut self, name: &str) -> Result<Option<String>, DbError> {
        self.query(META).bind(name).optional(|row| row.get("value")).await
    }
}

/// A connection to write with. Dropped without `commit`, it rolls back.
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Tx {
    conn: Conn,
    changes: Vec<Change>,
    db: Db,
}

impl Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Tx {
    /// Says what changed. Every node learns of it when, and only when, this commits.
    pub fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Takes a lock by name until the end of the transaction. Whoever checks something that several rows decide, and
    /// then writes, takes the same lock: on PostgreSQL two such transactions would otherwise not see each other.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock(&mut self, name: &'static str) -> Result<(), DbError> {
        self.query(TOUCH).bind(name).run().await.map(drop)
    }

    /// Keeps a fact about the installation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_meta(&mut self, name: &str, value: &str) -> Result<(), DbError> {
        self.query(SET_META).bind(name).bind(value).run().await.map(drop)
    }

    /// Makes it so. Returns when this node has applied the changes, if it applies any.
    ///
    /// # Errors
    /// When the database fails; then nothing is written.
    pub async fn commit(mut self, now: Timestamp) -> Result<(), DbError> {
        let last = feed::record(&mut self.conn, &self.changes, now).await?;
        if self.conn.failed {
            return Err(DbError::Failed);
        }
        match self.conn.link {
            Link::SqliteTx(tx) => tx.commit().await?,
            Link::PostgresTx(mut tx) => {
                if last.is_some() {
                    feed::notify(&mut tx).await?;
                }
                tx.commit().await?;
            }
            Link::Postgres(_) | Link::Sqlite(_) => return Err(DbError::Failed),
        }
        if let Some(last) = last {
            // Nobody listening is fine: then nobody serves from memory.
            let _ = self.db.hub.send(());
            self.db.watermark.reached(last).await;
        }
        Ok(())
    }
}

impl Db {
    /// A connection to read with.
    ///
    /// # Errors
    /// When none is to be had within five seconds.
    pub async fn read(&self) -> Result<Conn, DbError> {
        let link = match &self.pools {
            Pools::Postgres(pool) => Link::Postgres(pool.acquire().await?),
            Pools::Sqlite { read, .. } => Link::Sqlite(read.acquire().await?),
        };
        Ok(Conn { link, failed: false })
    }

    /// A transaction to write with. Whoever holds one never asks for a second: SQLite has a single writer.
    ///
    /// # Errors
    /// When none is to be had within five seconds.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let link = match &self.pools {
            Pools::Postgres(pool) => Link::PostgresTx(pool.begin().await?),
            // A deferred transaction that reads and then writes fails at once when another writer came between.
            Pools::Sqlite { write, .. } => Link::SqliteTx(write.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(Tx { conn: Conn { link, failed: false }, changes: Vec::new(), db: self.clone() })
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.read().await?.query(PING).one(|row| row.get::<i64>("one")).await.map(drop)
    }

    /// Which engine runs.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        match self.pools {
            Pools::Postgres(_) => Engine::Postgres,
            Pools::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// Ends every connection, after the work in flight.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}
