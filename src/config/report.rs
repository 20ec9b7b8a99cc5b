//! What is wrong with a configuration, and how it is shown: place, cause, remedy.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Code;

/// Whether a fault refuses the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

impl Severity {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the operator would name it, or the environment variable.
    pub file: String,
    /// From 1; 0 when the place is the whole file or a variable.
    pub line: usize,
    /// From 1, in characters; 0 with line 0.
    pub column: usize,
    /// The line itself, with secrets covered; empty when there is none to show.
    pub text: String,
    /// How many characters it is about.
    pub width: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub code: Code,
    /// The cause, one line, no full stop.
    pub message: String,
    /// Where; none when there is no file.
    pub place: Option<Place>,
    /// What is said beside the carets; may be empty.
    pub label: String,
    /// Other places that belong to it, each with a few words.
    pub related: Vec<(Place, String)>,
    /// The remedy.
    pub help: Option<String>,
}

impl Fault {
    /// Whether it refuses the configuration.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl fmt::Display for Fault {
    /// In one line: `cardea.toml:12:1: error[E0105] unknown key`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}[{}] {}", self.severity().as_str(), self.code.id(), self.message)
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Faults that refuse the configuration.
    pub errors: usize,
    /// Faults that do not.
    pub warnings: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let Self { errors, warnings } = *self;
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

/// Everything that is wrong, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The faults.
    pub faults: Vec<Fault>,
    /// When the configuration was refused: what was looked at, so that a change in it can be noticed.
    pub files: Vec<PathBuf>,
}

impl Report {
    /// How many errors and warnings.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let errors = self.errors();
        Counts { errors, warnings: self.faults.len() - errors }
    }

    /// How many errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity() == Severity::Error).count()
    }

    /// The first thing that refuses the configuration.
    #[must_use]
    pub fn first_error(&self) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.severity() == Severity::Error)
    }

    /// For people, one paragraph per fault.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let paint = Paint { color };
        let mut out = String::new();
        for fault in &self.faults {
            paint.fault(fault, &mut out);
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let counts = self.counts();
        let faults: Vec<Value> = self
            .faults
            .iter()
            .map(|fault| {
                json!({
                    "code": fault.code.id(),
                    "severity": fault.severity().as_str(),
                    "message": fault.message,
                    "place": fault.place.as_ref().map(place),
                    "label": fault.label,
                    "related": fault.related.iter().map(|(at, words)| json!({ "place": place(at), "words": words })).collect::<Vec<_>>(),
                    "help": fault.help,
                })
            })
            .collect();
        json!({ "errors": counts.errors, "warnings": counts.warnings, "faults": faults })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn place(at: &Place) -> Value {
    match at.line {
        0 => json!({ "file": at.file }),
        line => json!({ "file": at.file, "line": line, "column": at.column, "width": at.width }),
    }
}

/// Writes faults, with or without colour.
struct Paint {
    color: bool,
}

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const BOLD: &str = "\u{1b}[1m";

impl Paint {
    fn dip(&self, color: &str, text: &str) -> String {
        if self.color { format!("{color}{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn fault(&self, fault: &Fault, out: &mut String) {
        let color = match fault.severity() {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
        };
        let head = format!("{}[{}]", fault.severity().as_str(), fault.code.id());
        let _ = writeln!(out, "{} {}", self.dip(color, &head), self.dip(BOLD, &fault.message));
        // One gutter for all places of a fault, so that its bars stand under one another.
        let places = fault.place.iter().chain(fault.related.iter().map(|(at, _)| at));
        let gutter = places.map(|at| at.line.to_string().len()).max().unwrap_or(1).max(2);
        if let Some(at) = &fault.place {
            self.snippet(at, &fault.label, gutter, color, out);
        }
        for (at, words) in &fault.related {
            self.snippet(at, words, gutter, BLUE, out);
        }
        if let Some(help) = &fault.help {
            let _ = writeln!(out, "{:gutter$}{} help: {help}", "", self.dip(BLUE, "="));
        }
    }

    fn snippet(&self, at: &Place, words: &str, gutter: usize, color: &str, out: &mut String) {
        let corner = self.dip(BLUE, "┌─");
        if at.text.is_empty() || at.line == 0 {
            let words = if words.is_empty() { String::new() } else { format!("   {words}") };
            let _ = writeln!(out, "{:gutter$}{corner} {at}{words}", "");
            return;
        }
        let _ = writeln!(out, "{:gutter$}{corner} {at}", "");
        let bar = self.dip(BLUE, "│");
        let number = self.dip(BLUE, &format!("{:>gutter$}", at.line));
        let _ = writeln!(out, "{number}{bar} {}", at.text);
        let carets = self.dip(color, format!("{} {words}", "^".repeat(at.width.max(1))).trim_end());
        let _ =
            writeln!(out, "{:gutter$}{bar} {:indent$}{carets}", "", "", indent = at.column.saturating_sub(1));
    }
}
