//! A configuration as a tree in which everything knows where it was written.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A stretch of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Which source, by number.
    pub(super) source: usize,
    /// First byte.
    pub(super) start: usize,
    /// After the last byte.
    pub(super) end: usize,
}

/// Something that was read: a file or a variable.
pub(super) struct Text {
    /// As the operator would name it.
    pub(super) name: String,
    /// What it holds; empty for variables, whose values are never shown.
    pub(super) content: String,
    /// What relative paths in it are relative to.
    pub(super) folder: PathBuf,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is.
    pub(super) value: Value,
    /// Where.
    pub(super) spot: Spot,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The key.
    pub(super) text: String,
    /// Where.
    pub(super) spot: Spot,
}

/// Entries in the order in which they were written.
pub(super) type Table = Vec<(Key, Node)>;

/// What a value can be.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `true`, `false`
    Flag(bool),
    /// `[…]`
    List(Vec<Node>),
    /// Out of a variable: becomes whatever its key takes.
    Loose(String),
    /// What no key takes, in words.
    Other(&'static str),
    /// `{…}`, `[section]`
    Table(Table),
    /// `"…"`
    Text(String),
    /// `42`
    Whole(i64),
}

impl Value {
    /// In words, for messages.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Value::Flag(_) => "true or false",
            Value::List(_) => "a list",
            Value::Loose(_) => "text of a variable",
            Value::Other(words) => words,
            Value::Table(_) => "a table",
            Value::Text(_) => "text",
            Value::Whole(_) => "a number",
        }
    }
}

impl Node {
    /// The entry of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(table) => table.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// What a default says, standing where its section stands.
    pub(super) fn from_json(json: &serde_json::Value, spot: Spot) -> Node {
        let value = match json {
            serde_json::Value::Bool(flag) => Value::Flag(*flag),
            serde_json::Value::Number(number) => Value::Whole(number.as_i64().unwrap_or_default()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(|item| Node::from_json(item, spot)).collect())
            }
            serde_json::Value::Object(_) | serde_json::Value::Null => Value::Table(Table::new()),
        };
        Node { value, spot }
    }

    /// Reads a text that is one TOML value, as variables may hold for lists. All of it stands at one place.
    pub(super) fn inline(text: &str, spot: Spot) -> Option<Node> {
        let document = format!("value = {text}");
        let parsed = DeTable::parse(&document).ok()?;
        let node = Node { value: table(parsed.get_ref(), 0), spot };
        let mut value = node.get("value")?.clone();
        value.stand_at(spot);
        Some(value)
    }

    fn stand_at(&mut self, at: Spot) {
        self.spot = at;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.stand_at(at)),
            Value::Table(table) => table.iter_mut().for_each(|(key, node)| {
                key.spot = at;
                node.stand_at(at);
            }),
            _ => {}
        }
    }
}

/// What is wrong with a text that is no TOML, and where.
pub(super) struct SyntaxFault {
    pub(super) message: String,
    pub(super) spot: Spot,
}

/// Reads a document. What could be made out is returned even when something is wrong.
pub(super) fn parse(text: &str, source: usize) -> (Node, Vec<SyntaxFault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let faults = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            SyntaxFault {
                message: error.message().to_owned(),
                spot: Spot { source, start: span.start, end: span.end },
            }
        })
        .collect();
    (Node { value: table(document.get_ref(), source), spot: Spot { source, start: 0, end: 0 } }, faults)
}

fn table(entries: &DeTable<'_>, source: usize) -> Value {
    let mut table: Table = entries
        .iter()
        .map(|(key, value)| {
            (Key { text: key.get_ref().to_string(), spot: spot(key, source) }, node(value, source))
        })
        .collect();
    // The parser sorts by name; people expect the order in which they wrote.
    table.sort_by_key(|(key, _)| key.spot);
    Value::Table(table)
}

fn node(value: &Spanned<DeValue<'_>>, source: usize) -> Node {
    let spot = spot(value, source);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Whole(number),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, source)).collect()),
        DeValue::Table(entries) => table(entries, source),
    };
    Node { value, spot }
}

fn spot<T>(spanned: &Spanned<T>, source: usize) -> Spot {
    let span = spanned.span();
    Spot { source, start: span.start, end: span.end }
}
