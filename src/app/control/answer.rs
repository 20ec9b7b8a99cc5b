//! What comes back: sentences, a table or an object, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::admin::{Error, Issued};
use crate::domain::text::BadText;
use crate::store::DbError;

use super::Typed;

/// How a command ended, as its exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// 0: done, or yes.
    #[default]
    Done,
    /// 1: refused, or no.
    Refused,
    /// 2: not understood.
    Usage,
    /// 3: there is no such thing.
    NotFound,
    /// 4: the server or the database does not answer.
    Unreachable,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Unreachable => 4,
        }
    }
}

/// Rows under headings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Headings; in JSON the names of members.
    pub columns: Vec<String>,
    /// As many cells each as there are headings.
    pub rows: Vec<Vec<String>>,
}

/// A secret that is shown once, and only to a person or on demand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Once {
    /// `link` or `code`: its name in JSON.
    pub name: String,
    /// What it is, in words.
    pub label: String,
    /// The secret.
    pub text: Typed,
}

/// What came of a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// How it ended.
    pub exit: Exit,
    /// The stable word of a refusal.
    pub code: Option<String>,
    /// Sentences for people.
    pub text: Vec<String>,
    /// Rows, if there are any.
    pub table: Option<Table>,
    /// For programs; null when the table says it all.
    pub json: Value,
    /// Things worth knowing besides, for the error output.
    pub notes: Vec<String>,
    /// Secrets, each shown once.
    pub once: Vec<Once>,
}

impl Answer {
    /// A sentence.
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self { text: vec![text.into()], ..Self::default() }
    }

    /// A sentence about one thing, and the thing for programs.
    pub(super) fn about(text: impl Into<String>, json: Value) -> Self {
        Self { json, ..Self::said(text) }
    }

    /// Rows.
    pub(super) fn rows<const N: usize>(columns: [&str; N], rows: Vec<[String; N]>) -> Self {
        let table = Table {
            columns: columns.map(str::to_owned).to_vec(),
            rows: rows.into_iter().map(|row| row.to_vec()).collect(),
        };
        Self { table: Some(table), ..Self::default() }
    }

    /// One thing, a line for each of its facts.
    pub(super) fn facts(facts: &[(&str, String)]) -> Self {
        let object: Map<String, Value> =
            facts.iter().map(|(name, value)| ((*name).to_owned(), Value::String(value.clone()))).collect();
        let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let line = |(name, value): &(&str, String)| format!("{:width$}  {value}", name.replace('_', " "));
        let shown = |(_, value): &&(&str, String)| !value.is_empty();
        Self {
            text: facts.iter().filter(shown).map(line).collect(),
            json: Value::Object(object),
            ..Self::default()
        }
    }

    /// With something worth knowing besides.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With a secret that is shown once.
    pub(super) fn once(mut self, name: &str, label: impl Into<String>, issued: &Issued) -> Self {
        let text = Typed::new(issued.text.expose().clone());
        let label = format!("{} (until {})", label.into(), issued.expires_at);
        self.once.push(Once { name: name.to_owned(), label, text });
        self
    }

    /// What programs get: the object, or the rows as objects.
    #[must_use]
    pub fn for_programs(&self) -> Value {
        match (&self.json, &self.table) {
            (Value::Null, Some(table)) => table
                .rows
                .iter()
                .map(|row| {
                    let named = table.columns.iter().map(|name| name.to_lowercase().replace(' ', "_"));
                    let cells = row.iter().map(|cell| Value::String(cell.clone()));
                    Value::Object(named.zip(cells).collect())
                })
                .collect(),
            (Value::Null, None) => serde_json::json!({ "message": self.text.join(" ") }),
            (json, _) => json.clone(),
        }
    }
}

/// Why a command was not carried out.
pub(super) enum Trouble {
    /// A rule or the database said no.
    Admin(Error),
    /// Something was typed that cannot be.
    Usage(String),
    /// Anything else.
    Other(String),
}

impl Trouble {
    pub(super) fn answer(self) -> Answer {
        let (exit, code, text) = match self {
            Trouble::Admin(error) => {
                let exit = match &error {
                    Error::Unknown { .. } => Exit::NotFound,
                    Error::Bad(_) | Error::BadField { .. } => Exit::Usage,
                    Error::Db(DbError::Unavailable(_)) => Exit::Unreachable,
                    _ => Exit::Refused,
                };
                (exit, error.code(), error.to_string())
            }
            Trouble::Usage(text) => (Exit::Usage, "usage", text),
            Trouble::Other(text) => (Exit::Refused, "failed", text),
        };
        Answer { exit, code: Some(code.to_owned()), ..Answer::said(text) }
    }
}

impl<E: Into<Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Admin(error.into())
    }
}

/// A text that was typed, parsed; what it was is said when it cannot be.
pub(super) fn typed<T>(
    what: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, BadText>,
) -> Result<T, Trouble> {
    parse(text).map_err(|bad| Trouble::Usage(format!("{what} \"{text}\": {bad}")))
}
