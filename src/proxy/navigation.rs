//! What a client would make of an answer: a page in a window, a page it shows some other way, data for a program, or what
//! became of a call of gRPC.
//!
//! Only a navigation may be sent elsewhere to sign in. A redirect given to anything else is followed in the background and
//! ends as a page where data was expected, or as a second sign-in that nobody asked for.

use super::view::{View, elements};

/// What the client would make of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A page in a window, asked for with GET or HEAD: it may be sent elsewhere.
    Navigation,
    /// A page, but sending it elsewhere would lose what was sent here.
    Page,
    /// Data.
    Data,
    /// What became of a call, in the fields that clients of gRPC look for: they read any body as messages of the protocol.
    Call,
}

impl Wish {
    /// Whether it is answered with a page.
    pub(super) const fn page(self) -> bool {
        matches!(self, Wish::Navigation | Wish::Page)
    }
}

/// Reads it from what browsers say about themselves (Fetch Metadata), or else from `Accept`.
pub(super) fn wish(view: &View<'_>) -> Wish {
    if view.method == "POST" && view.single("content-type").is_some_and(is_grpc) {
        return Wish::Call;
    }
    let page = names_html(view);
    let safe = matches!(view.method, "GET" | "HEAD");
    let ahead = ["sec-purpose", "purpose", "x-moz"].iter().any(|name| {
        view.values(name).any(|value| {
            value.to_ascii_lowercase().windows(8).any(|word| word == b"prefetch" || word == b"prerende")
        })
    });
    let said =
        view.values("sec-fetch-mode").next().is_some() || view.values("sec-fetch-dest").next().is_some();
    let navigates = if said {
        view.single("sec-fetch-mode") == Some("navigate") && view.single("sec-fetch-dest") == Some("document")
    } else {
        page
    };
    match (safe && navigates && !ahead, page) {
        (true, _) => Wish::Navigation,
        (false, true) => Wish::Page,
        (false, false) => Wish::Data,
    }
}

/// Whether it is the media type of gRPC, or one of its kinds.
fn is_grpc(kind: &str) -> bool {
    let rest =
        kind.get(..16).filter(|start| start.eq_ignore_ascii_case("application/grpc")).and(kind.get(16..));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Whether `Accept` names HTML and does not rule it out. `*/*` names nothing.
fn names_html(view: &View<'_>) -> bool {
    view.values("accept").flat_map(elements).any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        html && !parts.any(|parameter| matches!(parameter, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::view::Field;

    #[test]
    fn navigation_is_read_from_what_browsers_say() {
        const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
        const DOCUMENT: (&str, &str) = ("sec-fetch-dest", "document");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Wish);
        let cases: [Case<'_>; 22] = [
            ("GET", &[HTML, NAVIGATE, DOCUMENT], Wish::Navigation),
            ("HEAD", &[HTML, NAVIGATE, DOCUMENT], Wish::Navigation),
            ("GET", &[NAVIGATE, DOCUMENT], Wish::Navigation),
            ("GET", &[HTML], Wish::Navigation),
            ("GET", &[("accept", "application/json, Text/HTML;q=0.1")], Wish::Navigation),
            ("POST", &[HTML, NAVIGATE, DOCUMENT], Wish::Page),
            ("POST", &[HTML], Wish::Page),
            ("GET", &[HTML, NAVIGATE, ("sec-fetch-dest", "iframe")], Wish::Page),
            ("GET", &[HTML, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], Wish::Page),
            (
                "GET",
                &[("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                Wish::Data,
            ),
            ("GET", &[HTML, NAVIGATE], Wish::Page),
            ("GET", &[HTML, NAVIGATE, DOCUMENT, ("sec-purpose", "prefetch;prerender")], Wish::Page),
            ("GET", &[HTML, ("purpose", "prefetch")], Wish::Page),
            ("GET", &[("accept", "*/*")], Wish::Data),
            ("GET", &[], Wish::Data),
            ("GET", &[("accept", "application/json")], Wish::Data),
            ("GET", &[("accept", "text/html;q=0, application/json")], Wish::Data),
            ("OPTIONS", &[("accept", "*/*")], Wish::Data),
            ("POST", &[("content-type", "application/grpc")], Wish::Call),
            ("POST", &[("content-type", "Application/gRPC+proto")], Wish::Call),
            ("POST", &[("content-type", "application/grpc-web")], Wish::Data),
            ("GET", &[("content-type", "application/grpc")], Wish::Data),
        ];
        for (method, fields, expected) in cases {
            let fields: Vec<Field<'_>> =
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let view = View {
                method,
                target: "/",
                fields: &fields,
                peer: "127.0.0.1:1".parse().unwrap(),
                certificate: None,
            };
            assert_eq!(wish(&view), expected, "{method} {fields:?}");
        }
    }
}
