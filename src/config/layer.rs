//! Layers: the file, the files it includes, the environment. Each key comes from one place, or its fault names both.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Code;
use super::desk::{Desk, nearest};
use super::fingerprint::{MOST_BYTES, NoPattern, expand, mark, mark_bytes};
use super::schema::variable_keys;
use super::tree::{Key, Node, Spot, SyntaxFault, Table, Value, parse};

/// Lists of objects: files add to them instead of setting them.
const LISTS: [&str; 4] = ["group", "role", "route", "tenant"];

/// Where a configuration is looked for when nobody says where it is.
pub(super) const USUAL: [&str; 2] = ["cardea.toml", "/etc/cardea/cardea.toml"];

impl Desk<'_> {
    /// Reads every file. `None` when there is nothing to go on with.
    pub(super) fn read_files(&mut self, usual: &[PathBuf]) -> Option<Node> {
        let path = self.find(usual)?;
        let main = self.open(&path, None)?;
        let mut root = self.parsed(main);
        for (place, included) in self.includes(&root, &path) {
            if let Some(source) = self.open(&included, Some(place)) {
                let more = self.parsed(source);
                if let Some(nested) = more.get("include") {
                    let spot = nested.spot;
                    self.fault(Code::Include, spot, "an included file cannot include others")
                        .help("name all files in the first one");
                }
                self.merge(&mut root, more, &mut Vec::new());
            }
        }
        Some(root)
    }

    fn find(&mut self, usual: &[PathBuf]) -> Option<PathBuf> {
        let named = self.options.file.clone();
        let named = named
            .or_else(|| self.variable("CARDEA_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
        if named.is_some() {
            return named;
        }
        let found = usual.iter().find(|path| path.exists());
        if found.is_none() {
            let places: Vec<_> = usual.iter().map(|path| path.display().to_string()).collect();
            self.fault(Code::NoFile, None, format!("there is no configuration file ({})", places.join(", ")))
                .help("`cardea init` writes one, `cardea demo` runs without; --config names one elsewhere");
        }
        found.cloned()
    }

    /// Reads a plain file and marks what it held. Also tells its mode.
    pub(super) fn read_plain(&mut self, path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
        let read = || -> std::io::Result<(Vec<u8>, u32)> {
            // Asked before it is opened: opening a pipe would wait for somebody to write.
            if !std::fs::metadata(path)?.is_file() {
                return Err(std::io::Error::other("it is not a plain file"));
            }
            let file = File::open(path)?;
            let (mode, mut bytes) = (file.metadata()?.mode(), Vec::new());
            file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
            Ok((bytes, mode))
        };
        let found = read();
        let mark = found.as_ref().map_or_else(|_| mark(path), |(bytes, mode)| mark_bytes(*mode, bytes));
        self.files.push((path.to_owned(), mark));
        found
    }

    /// Takes a file in as a source.
    fn open(&mut self, path: &Path, place: Option<Spot>) -> Option<usize> {
        let name = path.display().to_string();
        let refused = |desk: &mut Self, why: String, help: &str| {
            desk.fault(Code::Unreadable, place, format!("{name} cannot be read: {why}")).help(help);
            None
        };
        match self.read_plain(path) {
            Err(error) => refused(
                self,
                error.to_string(),
                "check the path, and that the user Cardea runs as may read it",
            ),
            Ok((bytes, _)) if bytes.len() as u64 > MOST_BYTES => refused(
                self,
                "it has more than 4 MiB".to_owned(),
                "split it, or see whether it is the right file",
            ),
            Ok((bytes, _)) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                match String::from_utf8(bytes) {
                    Ok(text) => Some(self.source(name, text, folder)),
                    Err(error) => {
                        let good = error.utf8_error().valid_up_to();
                        let bytes = error.into_bytes();
                        let text =
                            String::from_utf8_lossy(bytes.get(..good).unwrap_or_default()).into_owned();
                        let source = self.source(name.clone(), text, folder);
                        self.fault(
                            Code::Syntax,
                            Spot { source, start: good, end: good },
                            format!("{name} is not UTF-8"),
                        )
                        .label("the first bad byte comes after this")
                        .help("save the file as UTF-8");
                        None
                    }
                }
            }
        }
    }

    /// Parses a source.
    fn parsed(&mut self, source: usize) -> Node {
        let text = self.texts.get(source).map(|text| text.content.clone()).unwrap_or_default();
        let (node, faults) = parse(&text, source);
        for fault in faults {
            self.syntax(&text, &node, &fault);
        }
        node
    }

    fn syntax(&mut self, text: &str, node: &Node, fault: &SyntaxFault) {
        if fault.message == "duplicate key" {
            let word =
                text.get(fault.spot.start..fault.spot.end).unwrap_or_default().trim_matches(['"', '\'']);
            let mut same = Vec::new();
            namesakes(node, word, fault.spot, &mut same);
            let draft = self.fault(Code::Twice, fault.spot, format!("`{word}` is set twice"));
            draft.label("again here").help("keep one of the two");
            if let Some(first) = same.into_iter().max() {
                draft.also(first, "first here");
            }
        } else {
            self.fault(Code::Syntax, fault.spot, "this is not TOML")
                .label(fault.message.clone())
                .help("https://toml.io shows how each kind of value is written");
        }
    }

    /// The files that the first one names, in order, each with the place that names it.
    fn includes(&mut self, root: &Node, main: &Path) -> Vec<(Spot, PathBuf)> {
        let Some(Node { value: Value::List(items), .. }) = root.get("include") else { return Vec::new() };
        let folder = main.parent().unwrap_or(Path::new(""));
        let mut all: Vec<(Spot, PathBuf)> = Vec::new();
        for item in items {
            // What is no text is reported with all other values of the wrong kind.
            let Value::Text(pattern) = &item.value else { continue };
            let path = folder.join(pattern);
            for path in self.expand(&path, item.spot) {
                if path == main || all.iter().any(|(_, known)| *known == path) {
                    self.fault(Code::Include, item.spot, format!("{} is included twice", path.display()))
                        .help("leave one of the two out");
                } else {
                    all.push((item.spot, path));
                }
            }
        }
        all
    }

    fn expand(&mut self, path: &Path, spot: Spot) -> Vec<PathBuf> {
        let found = expand(path);
        if !matches!(found, Err(NoPattern::None)) {
            self.files.push((path.to_owned(), mark(path)));
        }
        match found {
            Ok(found) => found,
            Err(NoPattern::None) => vec![path.to_owned()],
            Err(NoPattern::Early) => {
                self.fault(Code::Include, spot, "a * can stand in the last part of a path only")
                    .help("name each directory: [\"a/*.toml\", \"b/*.toml\"]");
                Vec::new()
            }
            Err(NoPattern::Directory(folder, error)) => {
                self.fault(Code::Include, spot, format!("the directory {} cannot be read", folder.display()))
                    .label(error.to_string())
                    .help("create it, or leave the include out");
                Vec::new()
            }
        }
    }

    /// Adds what another file says.
    fn merge(&mut self, into: &mut Node, from: Node, path: &mut Vec<String>) {
        let (Value::Table(into), Value::Table(from)) = (&mut into.value, from.value) else { return };
        for (key, node) in from {
            if path.is_empty() && key.text == "include" {
                continue;
            }
            let Some((first, present)) = into.iter_mut().find(|(known, _)| known.text == key.text) else {
                into.push((key, node));
                continue;
            };
            path.push(key.text.clone());
            match (&mut present.value, node) {
                (Value::Table(_), more @ Node { value: Value::Table(_), .. }) => {
                    self.merge(present, more, path);
                }
                (Value::List(items), Node { value: Value::List(more), .. })
                    if path.len() == 1 && LISTS.contains(&key.text.as_str()) =>
                {
                    items.extend(more);
                }
                _ => {
                    self.fault(Code::Twice, key.spot, format!("`{}` is set twice", path.join(".")))
                        .label("again here")
                        .help("keep one of the two: no file overrides another")
                        .also(first.spot, "first here");
                }
            }
            path.pop();
        }
    }

    /// Lays the environment over the files. Returns the names of the variables that set something.
    pub(super) fn apply_environment(&mut self, root: &mut Node) -> Vec<String> {
        let options = self.options;
        let keys = variable_keys();
        let mut variables: Vec<_> =
            options.environment.iter().filter(|(name, _)| name.starts_with("CARDEA_")).collect();
        variables.sort_unstable();
        let mut done: Vec<(String, Vec<String>, Spot)> = Vec::new();
        for (name, value) in variables {
            let Some((path, file)) = keys.path(name) else { continue };
            let folder = Path::new("");
            let source = self.source(format!("the variable {name}"), String::new(), folder);
            let spot = Desk::whole(source);
            if let Some((first, _, place)) = done.iter().find(|(_, known, _)| *known == path) {
                self.fault(Code::Twice, spot, format!("{name} and {first} set the same key"))
                    .help("unset one of them")
                    .also(*place, "first here");
                continue;
            }
            done.push((name.clone(), path.clone(), spot));
            let value = if file { self.file_of(name, value, spot) } else { Some(value.clone()) };
            if let Some(value) = value {
                set(root, &path, Node { value: Value::Loose(value), spot }, spot);
            }
        }
        done.into_iter().map(|(name, _, _)| name).collect()
    }

    /// What the file holds that a `…_FILE` variable names.
    pub(super) fn file_of(&mut self, name: &str, path: &str, spot: Spot) -> Option<String> {
        let read = self.read_plain(Path::new(path));
        let text = read.and_then(|(bytes, _)| String::from_utf8(bytes).map_err(std::io::Error::other));
        match text {
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                self.fault(
                    Code::SecretMissing,
                    spot,
                    format!("the file that {name} names cannot be read: {error}"),
                )
                .help("check the path, and that the user Cardea runs as may read it");
                None
            }
        }
    }

    /// Notes variables that look like ours and are not. Comes last: a secret may have named one of its own.
    pub(super) fn check_variables(&mut self) {
        let options = self.options;
        let keys = variable_keys();
        for (name, _) in &options.environment {
            let ours = name.starts_with("CARDEA_")
                && !name.starts_with("CARDEA_TEST_")
                && !["CARDEA_CONFIG", "CARDEA_URL"].contains(&name.as_str());
            if !ours || self.used.contains(name) || keys.path(name).is_some() {
                continue;
            }
            let names: Vec<String> = keys.names().collect();
            let help = match nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "a key is written CARDEA_SECTION__KEY, with two underscores between: CARDEA_SERVER__PUBLIC_URL"
                    .to_owned(),
            };
            let source = self.source(format!("the variable {name}"), String::new(), Path::new(""));
            self.fault(Code::UnknownVariable, Desk::whole(source), format!("{name} names no key")).help(help);
        }
    }
}

/// Sets a key, whatever was there.
fn set(into: &mut Node, path: &[String], value: Node, spot: Spot) {
    let Some((first, rest)) = path.split_first() else {
        *into = value;
        return;
    };
    if !matches!(into.value, Value::Table(_)) {
        // The fault of the file, if it was one, is replaced with the value.
        into.value = Value::Table(Table::new());
    }
    let Value::Table(table) = &mut into.value else { return };
    let at = table.iter().position(|(key, _)| key.text == *first).unwrap_or_else(|| {
        table.push((Key { text: first.clone(), spot }, Node { value: Value::Table(Table::new()), spot }));
        table.len() - 1
    });
    if let Some((_, node)) = table.get_mut(at) {
        set(node, rest, value, spot);
    }
}

/// Where else the key stands, before the second one.
fn namesakes(node: &Node, word: &str, second: Spot, found: &mut Vec<Spot>) {
    match &node.value {
        Value::Table(table) => {
            for (key, value) in table {
                if key.text == word && key.spot < second {
                    found.push(key.spot);
                }
                namesakes(value, word, second, found);
            }
        }
        Value::List(items) => items.iter().for_each(|item| namesakes(item, word, second, found)),
        _ => {}
    }
}
