//! What can go wrong with a database, sorted by what a caller does about it.

use sqlx::error::ErrorKind;

/// A failed store call. Never shows the contents of a row.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique key was taken, named as PostgreSQL names it: `users_username_key`.
    #[error("already taken: {0}")]
    Conflict(String),
    /// A row does not parse: the database was changed by something else, or by a newer version.
    #[error("the record in {table} cannot be read: {why}")]
    Corrupt {
        /// Which statement read it.
        table: &'static str,
        /// Which column, and why.
        why: String,
    },
    /// Where the database should be there is none, or something else.
    #[error("{0}")]
    Place(String),
    /// An earlier statement of this transaction failed; nothing more can be done in it.
    #[error("the transaction has already failed")]
    Failed,
    /// No such row.
    #[error("no such record")]
    Missing,
    /// A parent is missing, or a child still there.
    #[error("still in use, or what it belongs to is gone")]
    Reference,
    /// Another transaction won; the whole use case may be run again.
    #[error("somebody else changed the same thing at the same moment; try again")]
    Retry,
    /// The database does not answer.
    #[error("the database does not answer: {0}")]
    Unavailable(Quiet),
    /// Anything else.
    #[error("the database refused: {0}")]
    Other(Quiet),
}

/// A driver's error, message only: PostgreSQL puts the failing row, hashes and all, into the detail.
#[derive(Debug)]
pub struct Quiet(String);

impl std::fmt::Display for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl DbError {
    /// The same with the file that it is about.
    pub(super) fn of_file(self, file: &std::path::Path) -> Self {
        let file = file.display();
        match self {
            DbError::Unavailable(Quiet(text)) => DbError::Unavailable(Quiet(format!("{file}: {text}"))),
            DbError::Other(Quiet(text)) => DbError::Place(format!(
                "{file} cannot be used as a database: {text}. Mend storage.url, or put a backup in its place"
            )),
            other => other,
        }
    }

    /// An error of our own making about the database as a whole.
    pub(super) fn other(what: impl Into<String>) -> Self {
        DbError::Other(Quiet(what.into()))
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let Some(db) = error.as_database_error() else {
            let text = Quiet(error.to_string());
            return match error {
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Io(_)
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_) => DbError::Unavailable(text),
                _ => DbError::Other(text),
            };
        };
        let code = db.code().unwrap_or_default();
        match db.kind() {
            ErrorKind::UniqueViolation => DbError::Conflict(match db.constraint() {
                Some(name) => name.to_owned(),
                None => key_name(db.message(), code == "1555"),
            }),
            ErrorKind::ForeignKeyViolation => DbError::Reference,
            _ if busy(&code) => DbError::Retry,
            _ if gone(&code) => DbError::Unavailable(Quiet(db.message().to_owned())),
            _ => DbError::Other(Quiet(db.message().to_owned())),
        }
    }
}

/// PostgreSQL: serialization failure, deadlock. SQLite: any kind of `SQLITE_BUSY`.
fn busy(code: &str) -> bool {
    matches!(code, "40001" | "40P01") || (code.len() < 5 && code.parse().is_ok_and(|n: u32| n & 0xff == 5))
}

/// PostgreSQL: connection lost, shutting down, starting up, too many, time-outs, disk full. SQLite: `SQLITE_IOERR`,
/// `SQLITE_FULL`, `SQLITE_CANTOPEN`, `SQLITE_READONLY`.
fn gone(code: &str) -> bool {
    code.starts_with("08")
        || code.starts_with("57P")
        || matches!(code, "53300" | "53100" | "57014" | "55P03" | "25006")
        || (code.len() < 5 && code.parse().is_ok_and(|n: u32| matches!(n & 0xff, 8 | 10 | 13 | 14)))
}

/// SQLite names columns, not the key: "UNIQUE constraint failed: `orgs.tenant_id`, orgs.slug".
fn key_name(message: &str, primary: bool) -> String {
    let columns = message.rsplit_once(": ").map_or(message, |(_, list)| list);
    let mut parts = columns.split(", ").filter_map(|column| column.split_once('.'));
    let Some((table, first)) = parts.next() else {
        return columns.to_owned();
    };
    if primary {
        return format!("{table}_pkey");
    }
    let mut name = format!("{table}_{first}");
    for (_, column) in parts {
        name.push('_');
        name.push_str(column);
    }
    name.push_str("_key");
    name
}
