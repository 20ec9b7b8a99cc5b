//! What people and programs see.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::ValueEnum;
use serde_json::Value;

use crate::app::control::{Answer, Exit, Table};

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Style {
    /// For spreadsheets: RFC 4180, with a heading.
    Csv,
    /// For programs.
    Json,
    /// For people.
    #[default]
    Table,
}

/// Where answers are written.
pub(super) struct Screen {
    pub(super) style: Style,
    pub(super) color_out: bool,
    pub(super) color_err: bool,
}

const BOLD: &str = "\u{1b}[1m";
const RED: &str = "\u{1b}[1;31m";
const GREEN: &str = "\u{1b}[1;32m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes to the output. Whoever has stopped reading is not told more.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to the error output.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "cardea: {text}");
}

/// Writes a line to the error output, without a name before it.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Screen {
    /// Shows an answer: what was asked for on the output, everything else beside it.
    pub(super) fn show(&self, answer: &Answer, secrets: bool) {
        let failed = answer.exit != Exit::Done && answer.code.is_some();
        match self.style {
            Style::Json => print(&format!("{}\n", pretty(&json(answer, secrets)))),
            _ if failed => complain(&answer.text.join("\n")),
            Style::Csv => print(&csv(answer)),
            Style::Table => print(&self.people(answer)),
        }
        if self.style != Style::Json && secrets {
            for once in &answer.once {
                note(&format!("{}:", once.label));
                print(&format!("{}\n", once.text.expose()));
            }
        }
        if self.style == Style::Table {
            let empty = answer.table.as_ref().is_some_and(|table| table.rows.is_empty());
            if empty && answer.exit == Exit::Done && answer.notes.is_empty() {
                note("nothing to list");
            }
            for text in &answer.notes {
                note(text);
            }
        }
    }

    /// Shows rows that come after others: one heading for all of them.
    pub(super) fn show_more(&self, answer: &Answer, first: bool) {
        if first || answer.exit != Exit::Done {
            return self.show(answer, false);
        }
        match self.style {
            // One document a line would be cut in the middle of a pretty one.
            Style::Json => {
                for record in answer.json.as_array().into_iter().flatten() {
                    print(&format!("{record}\n"));
                }
            }
            Style::Csv | Style::Table => {
                let text = if self.style == Style::Csv { csv(answer) } else { self.people(answer) };
                print(text.split_once('\n').map_or("", |(_, rows)| rows));
            }
        }
    }

    pub(super) fn people(&self, answer: &Answer) -> String {
        let mut text = String::new();
        for line in &answer.text {
            let _ = writeln!(text, "{}", self.verdict(line));
        }
        if let Some(table) = &answer.table {
            text.push_str(&self.aligned(table));
        }
        text
    }

    /// Allowed or denied is seen at a glance.
    fn verdict(&self, line: &str) -> String {
        if !self.color_out {
            return line.to_owned();
        }
        let dip = |word: &str, color: &str| {
            line.strip_prefix(word).map(|rest| format!("{color}{word}{PLAIN}{rest}"))
        };
        dip("ALLOWED", GREEN).or_else(|| dip("DENIED", RED)).unwrap_or_else(|| line.to_owned())
    }

    fn aligned(&self, table: &Table) -> String {
        if table.rows.is_empty() {
            return String::new();
        }
        let cell = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |text| text.chars().count());
        let widths: Vec<usize> = table
            .columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                table.rows.iter().map(|row| cell(row, at)).max().unwrap_or_default().max(name.chars().count())
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (cell, width) in cells.zip(&widths) {
                let _ = write!(text, "{}{}  ", cell, " ".repeat(width.saturating_sub(cell.chars().count())));
            }
            text.trim_end().to_owned()
        };
        let heads: Vec<String> = table.columns.iter().map(|name| name.to_uppercase()).collect();
        let head = line(&mut heads.iter().map(String::as_str));
        let mut text = if self.color_out { format!("{BOLD}{head}{PLAIN}\n") } else { format!("{head}\n") };
        for row in &table.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
            text.push('\n');
        }
        text
    }
}

fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default()
}

pub(super) fn json(answer: &Answer, secrets: bool) -> Value {
    if answer.exit != Exit::Done
        && let Some(code) = &answer.code
    {
        return serde_json::json!({ "code": code, "message": answer.text.join(" ") });
    }
    let mut json = answer.for_programs();
    if let Value::Object(map) = &mut json
        && secrets
    {
        for once in &answer.once {
            map.insert(once.name.clone(), Value::String(once.text.expose().to_owned()));
        }
    }
    json
}

/// A value for a cell: what is in a list with `; ` between, what belongs together with a space.
fn plain(value: &Value) -> String {
    let all = |values: &mut dyn Iterator<Item = &Value>, between: &str| {
        values.map(plain).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(between)
    };
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => all(&mut items.iter(), "; "),
        Value::Object(members) => all(&mut members.values(), " "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

pub(super) fn csv(answer: &Answer) -> String {
    let quoted = |cell: &str| {
        // What a spreadsheet would take for a formula is not one.
        let cell = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell.to_owned() };
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let line = |cells: &[String]| {
        format!("{}\r\n", cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(","))
    };
    match (&answer.table, &answer.json) {
        (Some(table), _) => {
            let rows = table.rows.iter().map(|row| line(row)).collect::<String>();
            let names: Vec<String> =
                table.columns.iter().map(|name| name.to_lowercase().replace(' ', "_")).collect();
            format!("{}{rows}", line(&names))
        }
        (None, Value::Object(map)) => {
            let names: Vec<String> = map.keys().cloned().collect();
            let values: Vec<String> = map.values().map(plain).collect();
            format!("{}{}", line(&names), line(&values))
        }
        _ => format!("{}\n", answer.text.join("\n")),
    }
}
