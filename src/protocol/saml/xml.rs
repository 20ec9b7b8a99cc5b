//! XML that can be read in one way: UTF-8, no document type, comment, CDATA section or processing instruction, bounded in size,
//! depth and number, well-formed to the last byte (`SAML-13` to `SAML-20`).

use roxmltree::{Document, Node, ParsingOptions};

use crate::protocol::oidc::Refused;

/// The largest document.
const BYTES: usize = 192 * 1024;
/// The deepest nesting.
const DEPTH: usize = 32;
/// The most elements.
const ELEMENTS: usize = 5_000;
/// The most attributes of one element, declarations of namespaces among them.
const ATTRIBUTES: usize = 32;
/// The largest document of metadata: federations describe a provider at length.
const METADATA: usize = 1024 * 1024;

fn refused(why: &str) -> Refused {
    Refused::by("saml xml", why)
}

/// The text of a message, without the declaration in front.
///
/// # Errors
/// When it is too large, no UTF-8, or not of the one plain kind.
pub(super) fn plain(bytes: &[u8]) -> Result<&str, Refused> {
    within(bytes, BYTES, false)
}

/// The same of a document of metadata, which no C library sees: comments are left to the reader of the tree.
///
/// # Errors
/// As [`plain`].
pub(super) fn plain_metadata(bytes: &[u8]) -> Result<&str, Refused> {
    within(bytes, METADATA, true)
}

fn within(bytes: &[u8], most: usize, comments: bool) -> Result<&str, Refused> {
    if bytes.len() > most {
        return Err(refused("it is too large"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refused("it is no UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = undeclared(text)?;
    shape(text, comments)?;
    Ok(text)
}

/// Takes the XML declaration away, so that nobody reads an encoding out of it.
fn undeclared(text: &str) -> Result<&str, Refused> {
    let Some(rest) = text.strip_prefix("<?xml ") else { return Ok(text) };
    let (declared, rest) = rest.split_once("?>").ok_or_else(|| refused("its declaration does not end"))?;
    let fine = declared.split_ascii_whitespace().all(|part| {
        let part = part.replace('\'', "\"");
        matches!(part.as_str(), "version=\"1.0\"" | "standalone=\"no\"" | "standalone=\"yes\"")
            || part.eq_ignore_ascii_case("encoding=\"utf-8\"")
    });
    if fine { Ok(rest) } else { Err(refused("it declares another version or encoding")) }
}

/// Counts before anything is built of it. In well-formed XML `<` begins markup and nothing else.
fn shape(text: &str, comments: bool) -> Result<(), Refused> {
    let (mut depth, mut elements) = (0_usize, 0_usize);
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'<', rest) {
        rest = rest.get(at + 1..).unwrap_or_default();
        match rest.first() {
            Some(b'!') if comments && rest.starts_with(b"!--") => {
                let end =
                    memchr::memmem::find(rest, b"-->").ok_or_else(|| refused("a comment does not end"))?;
                rest = rest.get(end..).unwrap_or_default();
            }
            Some(b'!' | b'?') => {
                return Err(refused(
                    "it has a document type, a comment, a CDATA section or a processing instruction",
                ));
            }
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(_) => {
                elements += 1;
                let (end, attributes) = tag(rest).ok_or_else(|| refused("a tag does not end"))?;
                if attributes > ATTRIBUTES {
                    return Err(refused("an element has too many attributes"));
                }
                let closed = end.checked_sub(1).and_then(|last| rest.get(last)) == Some(&b'/');
                depth += usize::from(!closed);
                if depth > DEPTH {
                    return Err(refused("it is nested too deeply"));
                }
                if elements > ELEMENTS {
                    return Err(refused("it has too many elements"));
                }
                rest = rest.get(end..).unwrap_or_default();
            }
            None => return Err(refused("it breaks off")),
        }
    }
    Ok(())
}

/// Where a tag ends, and how many values it has.
fn tag(rest: &[u8]) -> Option<(usize, usize)> {
    let (mut quote, mut values) = (None, 0);
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                values += 1;
            }
            (None, b'>') => return Some((at, values)),
            (_, b'<') => return None,
            _ => {}
        }
    }
    None
}

/// Reads a plain text as a tree.
///
/// # Errors
/// When it is not well-formed, or a namespace is no absolute address: what the C libraries make of such is nothing at all
/// (`SAML-13`).
pub(super) fn tree(text: &str) -> Result<Document<'_>, Refused> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 40_000, ..ParsingOptions::default() };
    // What the library says repeats parts of the document; where is enough.
    let tree = Document::parse_with_options(text, options).map_err(|error| {
        let at = error.pos();
        Refused::by("saml xml", format!("it is no sound XML, at line {} column {}", at.row, at.col))
    })?;
    let odd = |uri: &str| !uri.contains(':') || uri.chars().any(|c| c.is_whitespace() || c.is_control());
    for node in tree.descendants().filter(Node::is_element) {
        if node.namespaces().any(|space| !space.uri().is_empty() && odd(space.uri())) {
            return Err(refused("a namespace is no absolute address"));
        }
    }
    Ok(tree)
}

/// The elements right below one.
pub(super) fn children<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// Whether an element is of this name in this namespace.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.tag_name().namespace() == Some(namespace) && node.tag_name().name() == name
}

/// Those of one name.
pub(super) fn named<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'static str,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    children(node).filter(move |child| is(*child, namespace, name))
}

/// The only one of a name; `None` when there is none or more than one.
pub(super) fn only<'a, 'i>(
    node: Node<'a, 'i>,
    namespace: &'static str,
    name: &'static str,
) -> Option<Node<'a, 'i>> {
    let mut all = named(node, namespace, name);
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// The whole text of an element that has nothing but text, without space around. `None` with an element in it (`SAML-18`).
pub(super) fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    let mut inside = node.children();
    match (inside.next(), inside.next()) {
        (None, _) => Some(""),
        (Some(only), None) if only.is_text() => only.text().map(str::trim),
        _ => None,
    }
}

/// Text as it stands in XML, also in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
