//! The fences of the house: which room of `src/` may use which, and which crate belongs to which room.
//!
//! The rooms and their floors are read from the table in `docs/ARCHITECTURE.md`, so the document cannot
//! drift from the code. Source is read as tokens: comments and strings do not count, macros and tests do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Crates that only these places under `src/` may name.
const CRATES: &[(&str, &[&str])] = &[
    ("argon2", &["crypto"]),
    ("askama", &["ui", "demo"]),
    ("axum", &["web", "app", "demo"]),
    ("bcrypt", &["crypto"]),
    ("clap", &["cli"]),
    ("hyper", &["proxy", "app", "net", "outbound", "demo", "cli"]),
    ("hyper_util", &["proxy", "app", "net", "outbound", "demo", "cli"]),
    ("metrics", &["proxy", "app", "sys", "web"]),
    ("openidconnect", &["federation", "protocol"]),
    ("openssl", &["crypto/rsa", "protocol/saml/tests"]),
    ("roxmltree", &["protocol"]),
    ("samael", &["protocol"]),
    ("ring", &["crypto"]),
    ("sqlx", &["store"]),
    ("toml", &["config", "demo"]),
    ("totp_rs", &["protocol"]),
    ("tower_sessions", &["session", "web"]),
];

/// Names that only these places under `src/` may write at all.
const WORDS: &[(&str, &[&str])] = &[
    // SQL stays `&'static str`.
    ("AssertSqlSafe", &[]),
];

const HEADER: [&str; 4] = ["floor", "room", "what it is for", "may use"];

#[test]
fn the_house_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let mut files = Vec::new();
    collect(&root.join("src"), "", &mut files);
    let faults = inspect(&page, &files);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Every file below `folder`, by its path relative to `src/`; the text of Rust files only.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if is_rust(&name) {
            files.push((name, std::fs::read_to_string(entry.path()).unwrap()));
        } else {
            files.push((name, String::new()));
        }
    }
}

/// What is wrong with these files (path below `src/`, text), in the light of that page.
fn inspect(page: &str, files: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let plan = Plan::read(page, &mut faults);
    let mut scans = Vec::new();
    for (path, text) in files {
        match path.split_once('/') {
            None if path == "main.rs" || path == "lib.rs" => {}
            None => faults.push(format!("src/{path}: only main.rs and lib.rs stand outside a room")),
            Some((room, _)) if !plan.rooms.contains_key(room) => {
                faults.push(format!("src/{path}: the table has no room `{room}`"));
            }
            Some(_) if !is_rust(path) => {}
            Some((room, _)) => match text.parse() {
                Ok(tokens) => scans.push(Scan::new(path, room, tokens)),
                Err(error) => faults.push(format!("src/{path}: not Rust: {error}")),
            },
        }
    }
    let macros = scans.iter().flat_map(|scan| scan.macros().map(|name| (name, scan.room))).collect();
    let mut edges = plan.edges();
    for scan in &scans {
        scan.judge(&plan, &macros, &mut edges, &mut faults);
    }
    if let Some(ring) = cycle(&edges) {
        faults.push(format!("rooms in a circle: {}", ring.join(" > ")));
    }
    faults
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

// -- the table ------------------------------------------------------------------------------------------

struct Plan {
    rooms: BTreeMap<String, Room>,
}

struct Room {
    floor: u32,
    may_use: BTreeSet<String>,
}

impl Plan {
    fn read(page: &str, faults: &mut Vec<String>) -> Self {
        let mut rows = page.lines().skip_while(|line| cells(line) != HEADER).skip(2);
        let mut written = Vec::new();
        for row in rows.by_ref().map(cells).take_while(|cells| cells.len() == HEADER.len()) {
            match row[0].parse::<u32>() {
                Ok(floor) => written.push((floor, row[1].replace('`', ""), row[3].replace(['`', ','], " "))),
                Err(_) => faults.push(format!("the table: `{}` is no floor", row[0])),
            }
        }
        if written.is_empty() {
            faults.push(format!("docs/ARCHITECTURE.md has no table | {} |", HEADER.join(" | ")));
        }
        let mut rooms = BTreeMap::new();
        for (floor, name, may_use) in &written {
            let words: Vec<_> = may_use.split_whitespace().collect();
            let may_use = match words.as_slice() {
                ["nothing"] => BTreeSet::new(),
                ["everything", "below"] => {
                    written.iter().filter(|other| other.0 < *floor).map(|other| other.1.clone()).collect()
                }
                names => names.iter().map(|name| (*name).to_owned()).collect(),
            };
            for used in &may_use {
                match written.iter().find(|other| other.1 == *used) {
                    None => faults.push(format!("the table: `{name}` may use `{used}`, which is no room")),
                    Some(other) if other.0 >= *floor => {
                        faults.push(format!("the table: `{name}` may use `{used}`, which is not below it"));
                    }
                    Some(_) => {}
                }
            }
            if rooms.insert(name.clone(), Room { floor: *floor, may_use }).is_some() {
                faults.push(format!("the table: `{name}` stands there twice"));
            }
        }
        Self { rooms }
    }

    fn edges(&self) -> BTreeSet<(String, String)> {
        let uses = |(name, room): (&String, &Room)| {
            room.may_use.iter().map(|used| (name.clone(), used.clone())).collect::<Vec<_>>()
        };
        self.rooms.iter().flat_map(uses).collect()
    }
}

fn cells(line: &str) -> Vec<&str> {
    match line.trim().strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) {
        Some(inner) => inner.split('|').map(str::trim).collect(),
        None => Vec::new(),
    }
}

/// The rooms of one circle, the first one named again at the end.
fn cycle(edges: &BTreeSet<(String, String)>) -> Option<Vec<&str>> {
    fn walk<'a>(edges: &'a BTreeSet<(String, String)>, trail: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
        let here = *trail.last()?;
        for (_, next) in edges.iter().filter(|(from, _)| from == here) {
            if let Some(at) = trail.iter().position(|seen| seen == next) {
                trail.push(next);
                return Some(trail.split_off(at));
            }
            trail.push(next);
            if let Some(found) = walk(edges, trail) {
                return Some(found);
            }
            trail.pop();
        }
        None
    }
    edges.iter().find_map(|(from, _)| walk(edges, &mut vec![from]))
}

// -- the source -----------------------------------------------------------------------------------------

struct Scan<'a> {
    path: &'a str,
    room: &'a str,
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    line: usize,
    /// In how many `mod name { … }` of this file it stands.
    depth: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Literal,
    Mark,
    Name,
}

/// One path as written, its use tree unfolded: `use crate::{a::x, b::*}` gives two.
struct Written {
    segments: Vec<String>,
    line: usize,
    renamed: bool,
}

impl<'a> Scan<'a> {
    fn new(path: &'a str, room: &'a str, source: TokenStream) -> Self {
        let mut tokens = Vec::new();
        flatten(source, 0, &mut tokens);
        Self { path, room, tokens }
    }

    fn macros(&self) -> impl Iterator<Item = &str> {
        let named = |window: &'_ [Token]| window[0].text == "macro_rules" && window[1].text == "!";
        self.tokens.windows(3).filter(move |window| named(window)).map(|window| window[2].text.as_str())
    }

    fn judge(
        &self,
        plan: &Plan,
        macros: &BTreeMap<&str, &str>,
        edges: &mut BTreeSet<(String, String)>,
        faults: &mut Vec<String>,
    ) {
        let mut fault = |line: usize, what: &str| {
            faults.push(format!("src/{}:{line}: {what}", self.path));
        };
        let mut at = 0;
        while at < self.tokens.len() {
            let token = &self.tokens[at];
            self.judge_word(at, &mut fault);
            let imported = token.kind == Kind::Name && token.text == "use";
            let mut found = Vec::new();
            let next = if imported {
                self.read_use(at + 1, &mut found)
            } else if token.kind == Kind::Name && !is_keyword(&token.text) && !self.continues(at) {
                self.read_path(at, &[], &mut found)
            } else {
                at + 1
            };
            for path in found {
                let line = path.line;
                match path.segments[0].as_str() {
                    "crate" => match self.target(&path, imported, plan, macros) {
                        Err(what) => fault(line, &what),
                        Ok(None) => {}
                        Ok(Some(room)) => {
                            let own = &plan.rooms[self.room];
                            if plan.rooms[room].floor >= own.floor {
                                fault(line, &format!("`{}` uses `{room}`, which is not below it", self.room));
                            } else if !own.may_use.contains(room) {
                                fault(line, &format!("the table does not let `{}` use `{room}`", self.room));
                            }
                            edges.insert((self.room.to_owned(), room.to_owned()));
                        }
                    },
                    "self" | "super" => self.judge_super(&path, token.depth, &mut fault),
                    name if imported || path.segments.len() > 1 => self.judge_crate(name, line, &mut fault),
                    _ => {}
                }
            }
            at = next;
        }
    }

    fn judge_word(&self, at: usize, fault: &mut impl FnMut(usize, &str)) {
        let Token { text, line, kind, .. } = &self.tokens[at];
        let follows = |texts: &[&str]| {
            texts
                .iter()
                .enumerate()
                .all(|(n, text)| self.tokens.get(at + 1 + n).is_some_and(|t| t.text == *text))
        };
        if *kind == Kind::Literal {
            return;
        }
        if let Some((_, places)) = WORDS.iter().find(|(word, _)| word == text)
            && !self.stands_in(places)
        {
            fault(*line, &format!("`{text}` may be named {}", named(places)));
        }
        if text == "#" && (follows(&["[", "path", "="]) || follows(&["!", "[", "path", "="])) {
            fault(*line, "`#[path]` puts a file into another room");
        }
        if text == "include" && follows(&["!"]) {
            fault(*line, "`include!` puts a file into another room");
        }
        if text == "extern" && follows(&["crate"]) {
            fault(*line, "`extern crate` gives a crate a second name");
        }
    }

    /// The other room that a `crate::…` path leads to, if it leads to one.
    fn target<'p>(
        &self,
        path: &'p Written,
        imported: bool,
        plan: &Plan,
        macros: &BTreeMap<&'p str, &'p str>,
    ) -> Result<Option<&'p str>, String> {
        let Some(second) = path.segments.get(1).map(String::as_str) else {
            let renamed = imported && path.renamed;
            return if renamed { Err("`crate` under another name".to_owned()) } else { Ok(None) };
        };
        let room = match second {
            "*" | "self" | "super" => return Err(format!("`crate::{second}` names no room")),
            name if plan.rooms.contains_key(name) => name,
            name => match macros.get(name) {
                Some(room) => room,
                None => return Err(format!("`crate::{name}` is in no room")),
            },
        };
        if room == self.room {
            return Ok(None);
        }
        if path.segments.last().is_some_and(|last| last == "*") {
            return Err(format!("a glob import from `{room}`: name what is used"));
        }
        Ok(Some(room))
    }

    fn judge_super(&self, path: &Written, depth: usize, fault: &mut impl FnMut(usize, &str)) {
        let leading = path.segments.iter().take_while(|segment| matches!(segment.as_str(), "self" | "super"));
        let ups = leading.filter(|segment| *segment == "super").count();
        if ups > 1 {
            fault(path.line, "`super::super`: say where it is from `crate`");
        } else if ups == 1 && depth == 0 && self.path == format!("{}/mod.rs", self.room) {
            fault(path.line, "`super` leads out of the room: say where it is from `crate`");
        }
    }

    fn judge_crate(&self, name: &str, line: usize, fault: &mut impl FnMut(usize, &str)) {
        if let Some((_, places)) = CRATES.iter().find(|(fenced, _)| *fenced == name)
            && !self.stands_in(places)
        {
            fault(line, &format!("the crate `{name}` may be named {}", named(places)));
        }
    }

    fn stands_in(&self, places: &[&str]) -> bool {
        let file = self.path.strip_suffix(".rs").unwrap_or(self.path);
        places.iter().any(|place| file == *place || file.starts_with(&format!("{place}/")))
    }

    /// Reads what stands behind `use`; gives the place behind it.
    fn read_use(&self, at: usize, found: &mut Vec<Written>) -> usize {
        let at = if self.is_path_mark(at, 0) { at + 2 } else { at };
        match self.tokens.get(at) {
            Some(token) if token.text == "{" => self.read_tree(at + 1, &[], found),
            Some(token) if token.kind == Kind::Name => self.read_path(at, &[], found),
            _ => at,
        }
    }

    /// Reads the path that begins at `at`, use tree and all; gives the place behind it.
    fn read_path(&self, mut at: usize, prefix: &[String], found: &mut Vec<Written>) -> usize {
        let mut segments = prefix.to_vec();
        let line = self.tokens[at].line;
        loop {
            segments.push(self.tokens[at].text.clone());
            at += 1;
            if !self.is_path_mark(at, 0) {
                break;
            }
            match self.tokens.get(at + 2) {
                Some(next) if next.kind == Kind::Name || next.text == "*" => at += 2,
                Some(next) if next.text == "{" => return self.read_tree(at + 3, &segments, found),
                _ => break,
            }
        }
        let renamed = self.tokens.get(at).is_some_and(|next| next.text == "as");
        found.push(Written { segments, line, renamed });
        at
    }

    fn read_tree(&self, mut at: usize, prefix: &[String], found: &mut Vec<Written>) -> usize {
        while let Some(token) = self.tokens.get(at) {
            match token.text.as_str() {
                "}" => return at + 1,
                "{" => at = self.read_tree(at + 1, prefix, found),
                "as" => at += 2,
                text if token.kind == Kind::Name || text == "*" => at = self.read_path(at, prefix, found),
                _ => at += 1,
            }
        }
        at
    }

    /// Whether the name at `at` goes on with a path that began before it.
    fn continues(&self, at: usize) -> bool {
        if !self.is_path_mark(at, -2) {
            return false;
        }
        let text = |back: usize| at.checked_sub(back).map_or("", |at| self.tokens[at].text.as_str());
        match text(3) {
            ">" => !matches!(text(4), "-" | "="),
            word if is_keyword(word) => false,
            _ => at.checked_sub(3).is_some_and(|before| self.tokens[before].kind == Kind::Name),
        }
    }

    /// Whether `::` stands at this distance from `at`.
    fn is_path_mark(&self, at: usize, distance: isize) -> bool {
        at.checked_add_signed(distance)
            .and_then(|at| self.tokens.get(at..at + 2))
            .is_some_and(|pair| pair.iter().all(|token| token.kind == Kind::Mark && token.text == ":"))
    }
}

fn flatten(stream: TokenStream, depth: usize, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, kind| tokens.push(Token { text, line, depth, kind });
        match tree {
            TokenTree::Ident(name) => push(name.to_string(), Kind::Name),
            TokenTree::Literal(literal) => push(literal.to_string(), Kind::Literal),
            TokenTree::Punct(mark) => push(mark.as_char().to_string(), Kind::Mark),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                let length = tokens.len();
                let is_module = open == "{" && length >= 2 && tokens[length - 2].text == "mod";
                tokens.push(Token { text: open.to_owned(), line, depth, kind: Kind::Mark });
                flatten(group.stream(), depth + usize::from(is_module), tokens);
                tokens.push(Token { text: close.to_owned(), line, depth, kind: Kind::Mark });
            }
        }
    }
}

/// Words that no path goes through: a `::` behind them begins a new one.
fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "as" | "dyn"
            | "else"
            | "for"
            | "if"
            | "impl"
            | "in"
            | "match"
            | "move"
            | "mut"
            | "return"
            | "use"
            | "where"
            | "while"
    )
}

fn named(places: &[&str]) -> String {
    match places {
        [] => "nowhere".to_owned(),
        places => places.iter().fold("only in".to_owned(), |mut text, place| {
            write!(text, " {place}").unwrap();
            text
        }),
    }
}

// -- the fences hold ------------------------------------------------------------------------------------

const PAGE: &str = "
# A small house

| floor | room | what it is for | may use |
|---|---|---|---|
| 3 | `app` | puts it together | everything below |
| 2 | `web` | pages | `domain`, `store` |
| 2 | `proxy` | bytes | domain |
| 1 | `store` | tables | domain |
| 0 | `domain` | nouns | nothing |

Text behind the table.
";

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    inspect(PAGE, &files)
}

/// Asserts that the one file has exactly the faults whose beginnings are given.
#[track_caller]
fn expect(path: &str, text: &str, wanted: &[&str]) {
    let found = faults(&[(path, text)]);
    let right = found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            wanted.is_empty() && found.starts_with("rooms in a circle")
                || found.starts_with(&format!("src/{path}{wanted}"))
        });
    assert!(right, "{text}\nfound  {found:#?}\nwanted {wanted:#?}");
}

#[test]
fn a_good_house_has_no_faults() {
    let good = [
        ("main.rs", "use crate::anything::*; fn main() { sqlx::query(\"\"); }"),
        ("lib.rs", "pub mod app; pub use store::*;"),
        ("app/mod.rs", "use crate::{domain::Id, store::{self, Db}, web}; pub(crate) fn f() {}"),
        ("app/build.rs", "fn f() { let s = crate::store::open(); axum::serve(s) }"),
        ("web/mod.rs", "mod login; mod tests { use super::*; }"),
        ("web/login.rs", "use super::Page; use crate::web::*; use crate::store::Db as Table;"),
        ("web/page.html", "crate::proxy"),
        ("store/mod.rs", "use sqlx::Row; #[macro_export] macro_rules! statements { () => {} }"),
        ("store/users.rs", "crate::statements! {}"),
        (
            "domain/mod.rs",
            "/// crate::store in words\nfn f() { let metrics = \"crate::store\"; /* sqlx::query */ }",
        ),
        ("domain/text.rs", "fn f<'a>(toml: &'a str) -> char { toml.len(); '\\'' }"),
    ];
    assert_eq!(faults(&good), Vec::<String>::new());
}

#[test]
fn an_edge_that_the_table_lacks() {
    expect("proxy/mod.rs", "\nuse crate::store::Db;", &[":2: the table does not let `proxy` use `store`"]);
    expect("proxy/a.rs", "use crate::{domain::X, store::Db};", &[":1: the table does not let `proxy` use"]);
    expect("proxy/a.rs", "use crate::{domain::{X, Y}, {store}};", &[":1: the table does not let"]);
    expect("proxy/a.rs", "fn f() -> crate::store::Db { todo!() }", &[":1: the table does not let"]);
    expect("proxy/a.rs", "fn f() { vec![crate::store::open()]; }", &[":1: the table does not let"]);
    expect("proxy/a.rs", "#[cfg(test)] mod tests { use crate::store::Db; }", &[":1: the table does not let"]);
    expect(
        "proxy/a.rs",
        "macro_rules! m { () => { $crate::store::open() } }",
        &[":1: the table does not let"],
    );
    expect("proxy/a.rs", "pub use crate::store;", &[":1: the table does not let"]);
    expect("proxy/a.rs", "type T = Vec<crate::store::Db>;", &[":1: the table does not let"]);
}

#[test]
fn an_edge_that_leads_up_or_sideways() {
    expect("proxy/mod.rs", "use crate::web::Page;", &[":1: `proxy` uses `web`, which is not below it"]);
    expect("web/mod.rs", "use crate::app::run;", &[":1: `web` uses `app`, which is not below it", ""]);
}

#[test]
fn a_macro_belongs_to_the_room_that_wrote_it() {
    let store = ("store/mod.rs", "#[macro_export] macro_rules! statements { () => {} }");
    assert_eq!(faults(&[store, ("web/a.rs", "crate::statements! {}")]), Vec::<String>::new());
    assert_eq!(
        faults(&[store, ("proxy/a.rs", "crate::statements! {}")]),
        ["src/proxy/a.rs:1: the table does not let `proxy` use `store`"]
    );
}

#[test]
fn a_circle() {
    let files = [("store/mod.rs", "use crate::web::Page;"), ("web/mod.rs", "use crate::store::Db;")];
    let found = faults(&files);
    assert_eq!(found[0], "src/store/mod.rs:1: `store` uses `web`, which is not below it");
    assert_eq!(found[1], "rooms in a circle: store > web > store");
}

#[test]
fn a_room_that_the_table_lacks() {
    expect("util/mod.rs", "", &[": the table has no room `util`"]);
    expect("util/data.json", "", &[": the table has no room `util`"]);
    expect("util.rs", "", &[": only main.rs and lib.rs stand outside"]);
    expect("web/a.rs", "use crate::util::x;", &[":1: `crate::util` is in no room"]);
}

#[test]
fn ways_around_the_fence() {
    expect("web/a.rs", "use crate::store::*;", &[":1: a glob import from `store`"]);
    expect("web/a.rs", "use crate::{store::{users::*}};", &[":1: a glob import from `store`"]);
    expect("web/a.rs", "use crate::*;", &[":1: `crate::*` names no room"]);
    expect("web/a.rs", "use crate as house;", &[":1: `crate` under another name"]);
    expect("web/a.rs", "use crate::{self as house};", &[":1: `crate::self` names no room"]);
    expect("web/a.rs", "use super::super::proxy::X;", &[":1: `super::super`"]);
    expect("web/a.rs", "use self::super::{super::proxy::X};", &[":1: `super::super`"]);
    expect("web/a.rs", "pub(in super::super) fn f() {}", &[":1: `super::super`"]);
    expect("web/mod.rs", "use super::proxy::X;", &[":1: `super` leads out of the room"]);
    expect("web/a.rs", "#[path = \"../store/db.rs\"] mod db;", &[":1: `#[path]`"]);
    expect("web/a.rs", "include!(\"../store/db.rs\");", &[":1: `include!`"]);
    expect("web/a.rs", "extern crate sqlx as db;", &[":1: `extern crate`"]);
    expect("web/a.rs", "fn f( {", &[": not Rust"]);
}

#[test]
fn a_crate_outside_its_room() {
    let only = [":1: the crate `sqlx` may be named only in store"];
    expect("web/a.rs", "use sqlx::Row;", &only);
    expect("web/a.rs", "use sqlx;", &only);
    expect("web/a.rs", "use sqlx as db;", &only);
    expect("web/a.rs", "use ::sqlx as db;", &only);
    expect("web/a.rs", "use {serde, sqlx};", &only);
    expect("web/a.rs", "use {serde::{Serialize}, sqlx};", &only);
    expect("web/a.rs", "fn f() -> ::sqlx::PgPool { g() }", &only);
    expect("web/a.rs", "fn f() { match 1 { _ => ::sqlx::query(\"\") } }", &only);
    expect("web/a.rs", "#[derive(sqlx::FromRow)] struct X;", &only);
    expect("web/a.rs", "impl From<sqlx::Error> for X {}", &only);
    expect("web/a.rs", "fn f() { println!(\"{}\", sqlx::VERSION) }", &only);
    expect("web/a.rs", "fn f() { X::sqlx::g(); self::sqlx::h(); <X>::sqlx::i() }", &[]);
    for (name, places) in CRATES {
        let room = if places.contains(&"domain") { "web" } else { "domain" };
        expect(&format!("{room}/a.rs"), &format!("use {name}::X;"), &[&format!(":1: the crate `{name}`")]);
    }
}

#[test]
fn a_word_outside_its_room() {
    expect("store/a.rs", "fn f() { g(AssertSqlSafe(s)) }", &[":1: `AssertSqlSafe` may be named nowhere"]);
}

#[test]
fn a_table_that_contradicts_itself() {
    let rows = |rows: &str| {
        let page = format!("| floor | room | what it is for | may use |\n|---|---|---|---|\n{rows}");
        inspect(&page, &[])
    };
    assert_eq!(
        rows("| 1 | a | x | b |\n| 1 | b | x | nothing |"),
        ["the table: `a` may use `b`, which is not below it"]
    );
    assert_eq!(rows("| 1 | a | x | c |"), ["the table: `a` may use `c`, which is no room"]);
    assert_eq!(
        rows("| 1 | a | x | nothing |\n| 2 | a | x | nothing |"),
        ["the table: `a` stands there twice"]
    );
    assert_eq!(rows("| top | a | x | nothing |").len(), 2);
    assert_eq!(inspect("no table", &[]).len(), 1);
    assert_eq!(
        rows("| 0 | a | x | b |\n| 1 | b | x | a |"),
        ["the table: `a` may use `b`, which is not below it", "rooms in a circle: a > b > a"]
    );
}
