//! One statement in the words of both engines, and the rows it gives.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, Encode, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection, Type};
use uuid::Uuid;

use super::DbError;
use crate::domain::Timestamp;
use crate::domain::ids::Id;

/// A statement. Only `statements!` makes them.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// Module and name, for messages.
    pub name: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
    /// The text for PostgreSQL; nearly always the same.
    pub postgres: &'static str,
    /// The highest `$n` in it.
    pub params: usize,
}

/// The highest `$n` in a statement. Runs at compile time.
#[expect(
    clippy::indexing_slicing,
    reason = "a constant function has no iterators; the loop condition bounds the index"
)]
pub(super) const fn params(sql: &str) -> usize {
    let (text, mut i, mut most) = (sql.as_bytes(), 0, 0);
    while i < text.len() {
        if text[i] == b'$' {
            let mut n = 0;
            while i + 1 < text.len() && text[i + 1].is_ascii_digit() {
                n = n * 10 + (text[i + 1] - b'0') as usize;
                i += 1;
            }
            if n > most {
                most = n;
            }
        }
        i += 1;
    }
    most
}

/// Declares statements and lists them in `ALL`, so that none escapes the test that prepares each on both engines.
macro_rules! statements {
    ($($name:ident = $sqlite:literal $(, postgres = $postgres:literal)?;)+) => {
        $(const $name: $crate::store::Sql = $crate::store::Sql {
            name: concat!(module_path!(), "::", stringify!($name)),
            sqlite: $sqlite,
            postgres: $crate::store::statement::statements!(@postgres $sqlite $(, $postgres)?),
            params: $crate::store::statement::params($sqlite),
        };)+
        /// Every statement of this file.
        pub(super) const ALL: &[$crate::store::Sql] = &[$($name),+];
    };
    (@postgres $both:literal) => { $both };
    (@postgres $sqlite:literal, $postgres:literal) => { $postgres };
}
pub(super) use statements;

/// A value both engines can take as a parameter.
pub trait Param<'q>: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}
impl<'q, T> Param<'q> for T where T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

/// A value both engines can give back.
pub trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// A row, whichever engine gave it.
pub struct Row {
    from: &'static str,
    kind: Kind,
}

enum Kind {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// A column as it is.
    ///
    /// # Errors
    /// When the column does not exist or has another type.
    pub fn get<T: Column>(&self, column: &str) -> Result<T, DbError> {
        let value = match &self.kind {
            Kind::Postgres(row) => row.try_get(column),
            Kind::Sqlite(row) => row.try_get(column),
        };
        value.map_err(|error| self.corrupt(column, &error))
    }

    /// A column that is an identifier.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn id<T: Id>(&self, column: &str) -> Result<T, DbError> {
        self.get::<Uuid>(column).map(T::from_uuid)
    }

    /// A column that may be an identifier.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn maybe_id<T: Id>(&self, column: &str) -> Result<Option<T>, DbError> {
        Ok(self.get::<Option<Uuid>>(column)?.map(T::from_uuid))
    }

    /// A column that is a moment.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn time(&self, column: &str) -> Result<Timestamp, DbError> {
        self.get(column).map(Timestamp::from_millis)
    }

    /// A column that may be a moment.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, DbError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// A text column, parsed like text from outside.
    ///
    /// # Errors
    /// As [`Row::get`], or when the text does not parse.
    pub fn parsed<T: TryFrom<String>>(&self, column: &str) -> Result<T, DbError>
    where
        T::Error: std::fmt::Display,
    {
        T::try_from(self.get(column)?).map_err(|error| self.corrupt(column, &error))
    }

    /// A text column that may be empty, parsed like text from outside.
    ///
    /// # Errors
    /// As [`Row::parsed`].
    pub fn maybe_parsed<T: TryFrom<String>>(&self, column: &str) -> Result<Option<T>, DbError>
    where
        T::Error: std::fmt::Display,
    {
        let text: Option<String> = self.get(column)?;
        text.map(T::try_from).transpose().map_err(|error| self.corrupt(column, &error))
    }

    /// A word column, read by a `parse` of the domain.
    ///
    /// # Errors
    /// As [`Row::parsed`].
    pub fn word<T, E: std::fmt::Display>(
        &self,
        column: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Result<T, DbError> {
        parse(&self.get::<String>(column)?).map_err(|error| self.corrupt(column, &error))
    }

    /// A fault in what a column holds.
    pub fn corrupt(&self, column: &str, why: &dyn std::fmt::Display) -> DbError {
        DbError::Corrupt { table: self.from, why: format!("{column}: {why}") }
    }
}

/// A statement being given its parameters.
#[must_use = "a statement does nothing until it is run"]
pub struct Stmt<'c> {
    on: On<'c>,
    sql: Sql,
    given: usize,
    failed: &'c mut bool,
}

enum On<'c> {
    Postgres(&'c mut PgConnection, Query<'static, Postgres, PgArguments>),
    Sqlite(&'c mut SqliteConnection, Query<'static, Sqlite, SqliteArguments>),
}

impl<'c> Stmt<'c> {
    pub(super) fn sqlite(sql: Sql, on: &'c mut SqliteConnection, failed: &'c mut bool) -> Self {
        Self { on: On::Sqlite(on, sqlx::query(sql.sqlite)), sql, given: 0, failed }
    }

    pub(super) fn postgres(sql: Sql, on: &'c mut PgConnection, failed: &'c mut bool) -> Self {
        Self { on: On::Postgres(on, sqlx::query(sql.postgres)), sql, given: 0, failed }
    }

    /// The next parameter.
    pub fn bind<'q>(mut self, value: impl Param<'q>) -> Self {
        self.given += 1;
        self.on = match self.on {
            On::Postgres(c, q) => On::Postgres(c, q.bind(value)),
            On::Sqlite(c, q) => On::Sqlite(c, q.bind(value)),
        };
        self
    }

    /// The row, if there is one.
    ///
    /// # Errors
    /// When the statement fails or the row does not parse.
    pub async fn optional<T>(self, read: impl Fn(&Row) -> Result<T, DbError>) -> Result<Option<T>, DbError> {
        let from = self.sql.name;
        let (on, failed) = self.ready()?;
        let found = match on {
            On::Postgres(c, q) => q.fetch_optional(c).await.map(|row| row.map(Kind::Postgres)),
            On::Sqlite(c, q) => q.fetch_optional(c).await.map(|row| row.map(Kind::Sqlite)),
        };
        settle(failed, found)?.map(|kind| read(&Row { from, kind })).transpose()
    }

    /// The row that must be there.
    ///
    /// # Errors
    /// [`DbError::Missing`] when it is not; else as [`Stmt::optional`].
    pub async fn one<T>(self, read: impl Fn(&Row) -> Result<T, DbError>) -> Result<T, DbError> {
        self.optional(read).await?.ok_or(DbError::Missing)
    }

    /// Every row.
    ///
    /// # Errors
    /// As [`Stmt::optional`].
    pub async fn all<T>(self, read: impl Fn(&Row) -> Result<T, DbError>) -> Result<Vec<T>, DbError> {
        let from = self.sql.name;
        let (on, failed) = self.ready()?;
        let found: Result<Vec<Kind>, _> = match on {
            On::Postgres(c, q) => {
                q.fetch_all(c).await.map(|rows| rows.into_iter().map(Kind::Postgres).collect())
            }
            On::Sqlite(c, q) => q.fetch_all(c).await.map(|rows| rows.into_iter().map(Kind::Sqlite).collect()),
        };
        settle(failed, found)?.into_iter().map(|kind| read(&Row { from, kind })).collect()
    }

    /// Runs it and counts the rows it touched.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn run(self) -> Result<u64, DbError> {
        let (on, failed) = self.ready()?;
        let done = match on {
            On::Postgres(c, q) => q.execute(c).await.map(|done| done.rows_affected()),
            On::Sqlite(c, q) => q.execute(c).await.map(|done| done.rows_affected()),
        };
        settle(failed, done)
    }

    fn ready(self) -> Result<(On<'c>, &'c mut bool), DbError> {
        // SQLite takes a missing parameter as NULL, PostgreSQL takes one too many in silence.
        if self.given != self.sql.params {
            return Err(DbError::other(format!(
                "{} takes {} parameters, {} given",
                self.sql.name, self.sql.params, self.given
            )));
        }
        if *self.failed {
            return Err(DbError::Failed);
        }
        // Until it has succeeded: one that is cancelled halfway has failed.
        *self.failed = true;
        Ok((self.on, self.failed))
    }
}

fn settle<T>(failed: &mut bool, done: Result<T, sqlx::Error>) -> Result<T, DbError> {
    *failed = done.is_err();
    Ok(done?)
}
