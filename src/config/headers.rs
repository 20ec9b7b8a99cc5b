//! Headers of a route: which carry identity, and what changes about the others.

use super::Code;
use super::desk::Desk;
use super::kinds::{HeaderChoice, HeaderLines, HeaderName, Headers};
use super::raw;
use super::read::Written;
use super::tree::Spot;
use crate::domain::header::{Direction, Edits, untouchable};
use crate::domain::route::{HeaderPreset, folded_name};

/// Headers that mean something to the connection, to the way, or to other programs than the app.
const TAKEN: [&str; 26] = [
    "accept",
    "authorization",
    "cardea-request-id",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Which headers carry identity on a route.
pub(super) fn identity(raw: &Headers, desk: &mut Desk<'_>) -> Option<HeaderPreset> {
    let table = match &raw.what {
        HeaderChoice::Preset(name) => return HeaderPreset::named(name),
        HeaderChoice::Custom(table) => table,
    };
    let mut seen: Vec<(String, Spot)> = Vec::new();
    for (key, _) in table {
        let name = key.text.as_str();
        let token = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && name.bytes().any(|b| b.is_ascii_alphanumeric());
        let folded = folded_name(name.as_bytes());
        if !token {
            // Programs read other characters differently, so that one header could pass for another.
            desk.fault(Code::Header, key.spot, format!("\"{name}\" cannot be the name of a header"))
                .help("use letters, digits and hyphens: X-User");
        } else if TAKEN.contains(&folded.as_str()) {
            desk.fault(Code::Header, key.spot, format!("the header {name} has another meaning"))
                .help("choose another name: X-User");
        } else if let Some((_, first)) = seen.iter().find(|(known, _)| *known == folded) {
            desk.fault(Code::Header, key.spot, format!("the header {name} is set twice"))
                .help("keep one of the two: they are the same to many programs")
                .also(*first, "first here");
        }
        seen.push((folded, key.spot));
    }
    let headers = table.iter().map(|(key, fact)| (key.text.to_ascii_lowercase(), fact.value)).collect();
    Some(HeaderPreset { name: "custom".to_owned(), headers })
}

/// The names that tables of routes' own give an identity to carry, folded.
pub(super) fn carriers(root: &raw::Root) -> impl Iterator<Item = String> {
    let tables = root.route.iter().filter_map(|route| match &route.headers.what {
        HeaderChoice::Custom(table) => Some(table),
        HeaderChoice::Preset(_) => None,
    });
    tables.flatten().map(|(name, _)| folded_name(name.text.as_bytes()))
}

/// What changes about the headers of messages that go this way.
pub(super) fn edits(
    direction: Direction,
    set: &HeaderLines,
    remove: &[Written<HeaderName>],
    carries: impl Fn(&str) -> bool,
    desk: &mut Desk<'_>,
) -> Edits {
    let mut seen: Vec<(String, Spot)> = Vec::new();
    let named = set.0.iter().map(|(name, _)| (name, true)).chain(remove.iter().map(|name| (name, false)));
    for (name, setting) in named {
        let (text, folded) = (&name.value.0, folded_name(name.value.0.as_bytes()));
        let does = if setting { "set" } else { "removed" };
        if let Some(why) = untouchable(direction, text, setting, &carries) {
            desk.fault(Code::HeaderEdit, name.spot, format!("the header {text} cannot be {does}"))
                .label(format!("it {why}"))
                .help(if setting { "choose another name" } else { "leave it out" });
        } else if let Some((_, first)) = seen.iter().find(|(known, _)| *known == folded) {
            desk.fault(Code::HeaderEdit, name.spot, format!("the header {text} is named twice"))
                .label("again here")
                .help("keep one of the two: what is set takes the place of what was there, in every spelling")
                .also(*first, "first here");
        }
        seen.push((folded, name.spot));
    }
    let set = set.0.iter().map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect();
    let remove: Vec<String> = remove.iter().map(|name| name.value.0.clone()).collect();
    Edits::new(set, &remove)
}
