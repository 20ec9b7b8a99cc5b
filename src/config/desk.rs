//! The desk at which a configuration is read: the sources, the faults found so far, and how a fault gets its place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::fingerprint::Mark;
use super::read::Section;
use super::tree::{Spot, Text};
use super::{Code, Fault, Options, Place, Report, Severity};
use crate::domain::Timestamp;
use crate::domain::policy::Source;

/// See the module.
pub(super) struct Desk<'a> {
    /// Where to read from.
    pub(super) options: &'a Options,
    /// When: certificates are judged by it.
    pub(super) now: Timestamp,
    /// What was read.
    pub(super) texts: Vec<Text>,
    /// Files and patterns that had a part in it, and what they held.
    pub(super) files: Vec<(PathBuf, Mark)>,
    /// Variables that a secret named.
    pub(super) used: BTreeSet<String>,
    /// Keys from the root to where reading stands.
    pub(super) path: Vec<String>,
    /// Parts of the root in which something could not be read: what they lack says nothing about the rest.
    pub(super) torn: BTreeSet<String>,
    drafts: Vec<Draft>,
    hidden: Vec<Spot>,
}

/// A fault whose places are not worked out yet.
pub(super) struct Draft {
    code: Code,
    message: String,
    spot: Option<Spot>,
    label: String,
    related: Vec<(Spot, String)>,
    help: Option<String>,
}

impl Draft {
    /// Beside the carets.
    pub(super) fn label(&mut self, words: impl Into<String>) -> &mut Self {
        self.label = words.into();
        self
    }

    /// Beside the carets, after what stands there.
    pub(super) fn adds(&mut self, words: &str) {
        self.label = format!("{}; {words}", self.label);
    }

    /// The remedy.
    pub(super) fn help(&mut self, words: impl Into<String>) -> &mut Self {
        self.help = Some(words.into());
        self
    }

    /// Another place that belongs to it.
    pub(super) fn also(&mut self, spot: Spot, words: impl Into<String>) -> &mut Self {
        self.related.push((spot, words.into()));
        self
    }
}

impl<'a> Desk<'a> {
    pub(super) fn new(options: &'a Options, now: Timestamp) -> Self {
        Self {
            options,
            now,
            texts: Vec::new(),
            files: Vec::new(),
            used: BTreeSet::new(),
            path: Vec::new(),
            torn: BTreeSet::new(),
            drafts: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Takes a source in.
    pub(super) fn source(&mut self, name: String, content: String, folder: &Path) -> usize {
        self.texts.push(Text { name, content, folder: folder.to_owned() });
        self.texts.len() - 1
    }

    /// The whole of a source.
    pub(super) const fn whole(source: usize) -> Spot {
        Spot { source, start: 0, end: 0 }
    }

    /// Notes a fault.
    pub(super) fn fault(
        &mut self,
        code: Code,
        spot: impl Into<Option<Spot>>,
        message: impl Into<String>,
    ) -> &mut Draft {
        let draft = Draft {
            code,
            message: message.into(),
            spot: spot.into(),
            label: String::new(),
            related: Vec::new(),
            help: None,
        };
        if let Some(part) = self.path.first() {
            self.torn.insert(part.clone());
        }
        self.drafts.push_mut(draft)
    }

    /// How many faults so far.
    pub(super) const fn count(&self) -> usize {
        self.drafts.len()
    }

    /// The faults of a kind that were noted after so many.
    pub(super) fn since(&mut self, count: usize, code: Code) -> impl Iterator<Item = &mut Draft> {
        self.drafts.iter_mut().skip(count).filter(move |draft| draft.code == code)
    }

    /// How many errors so far.
    pub(super) fn errors(&self) -> usize {
        self.drafts.iter().filter(|draft| draft.code.severity() == Severity::Error).count()
    }

    /// Whether a fault of this kind was noted.
    pub(super) fn has(&self, code: Code) -> bool {
        self.drafts.iter().any(|draft| draft.code == code)
    }

    /// What stands there is a secret: no report shows it.
    pub(super) fn hide(&mut self, spot: Spot) {
        self.hidden.push(spot);
    }

    /// The key that is being read: `sign_in.lockout.after`.
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// What relative paths there are relative to.
    pub(super) fn folder(&self, spot: Spot) -> &Path {
        self.texts.get(spot.source).map_or(Path::new(""), |text| &text.folder)
    }

    /// The value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.options.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// For the domain: `conf.d/reports.toml:18`.
    pub(super) fn written(&self, section: &impl Section) -> Source {
        let place = self.place(section.spot());
        Source(if place.line == 0 { place.file } else { format!("{}:{}", place.file, place.line) })
    }

    /// Everything noted, in the order of the sources, each fault once.
    pub(super) fn report(&self) -> Report {
        let mut drafts: Vec<&Draft> = self.drafts.iter().collect();
        drafts.sort_by_key(|draft| draft.spot.map(|spot| (spot.source, spot.start)));
        let mut faults: Vec<Fault> = Vec::new();
        for draft in drafts {
            let fault = Fault {
                code: draft.code,
                message: plain(&draft.message),
                place: draft.spot.map(|spot| self.place(spot)),
                label: plain(&draft.label),
                related: draft
                    .related
                    .iter()
                    .map(|(spot, words)| (self.place(*spot), words.clone()))
                    .collect(),
                help: draft.help.as_deref().map(plain),
            };
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        Report { faults, files: Vec::new() }
    }

    fn place(&self, spot: Spot) -> Place {
        let nowhere =
            |file: &str| Place { file: file.to_owned(), line: 0, column: 0, text: String::new(), width: 0 };
        let Some(source) = self.texts.get(spot.source) else { return nowhere("") };
        let text = source.content.as_str();
        if text.is_empty() {
            return nowhere(&source.name);
        }
        // A fault at the very end is shown on the last line that has something on it.
        let most = text.trim_end().len();
        let start = floor(text, spot.start.min(most));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| start + at);
        let end = floor(text, spot.end.clamp(start, line_end));
        let line = text.get(line_start..line_end).unwrap_or_default().trim_end_matches('\r');
        let count = |from: usize, to: usize| text.get(from..to).unwrap_or_default().chars().count();
        Place {
            file: source.name.clone(),
            line: before.matches('\n').count() + 1,
            column: count(line_start, start) + 1,
            text: self.covered(line, spot.source, line_start),
            width: count(start, end).max(1),
        }
    }

    /// A line as it may be shown: secrets covered, no control characters, as many characters as before.
    fn covered(&self, line: &str, source: usize, line_start: usize) -> String {
        // What a syntax fault keeps from being understood may still be a secret: the word before the `=` decides.
        let guarded = match line.split_once('=') {
            Some((key, rest))
                if TELLING.iter().any(|word| key.to_lowercase().contains(word))
                    || rest.contains("postgres") =>
            {
                key.len() + 1
            }
            _ => line.len(),
        };
        let quoted = |at: usize| self.within_long_text(source, line_start) && at < line.len();
        let hidden = |at: usize| {
            self.hidden
                .iter()
                .any(|spot| spot.source == source && (spot.start..spot.end).contains(&(line_start + at)))
        };
        let braces = line.get(guarded..).is_some_and(|rest| rest.trim_start().starts_with('{'));
        line.char_indices()
            .map(|(at, c)| match c {
                c if c.is_whitespace() || c.is_control() => ' ',
                _ if hidden(at) || quoted(at) || (at >= guarded && !braces) => '*',
                c => c,
            })
            .collect()
    }

    /// Whether a line begins inside a text of several lines, which may be anything, also a secret.
    fn within_long_text(&self, source: usize, line_start: usize) -> bool {
        let before =
            self.texts.get(source).and_then(|text| text.content.get(..line_start)).unwrap_or_default();
        ["\"\"\"", "'''"].iter().any(|quote| before.matches(quote).count() % 2 == 1)
    }
}

/// Words in the names of keys whose values are not shown.
const TELLING: [&str; 4] = ["key", "password", "secret", "token"];

/// Text for a terminal: a key may have any character, also those that a terminal obeys.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The start of the character that a byte belongs to.
fn floor(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The known word that is meant, if one is near enough.
pub(super) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| {
            (
                strsim::jaro_winkler(&word, &known.to_lowercase()),
                strsim::damerau_levenshtein(&word, known),
                known,
            )
        })
        .filter(|(likeness, distance, known)| *likeness > 0.84 || *distance * 3 <= known.chars().count())
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, _, known)| known)
}

/// Words in a row, for people: `a, b and c`.
pub(super) fn row<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}
