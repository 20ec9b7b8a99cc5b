//! The address as an app hears it that lives under another path than the one people use, and back again.
//!
//! On the way there only the beginning changes, and it is fixed. The result is judged again: it must be canonical and lie
//! where it was to go, in every reading, or nothing is forwarded (F13, `PROXY-09`). On the way back, where an app sends
//! people, the same beginning is turned back, and an address of the app's own becomes the one that people know.

use std::borrow::Cow;

use crate::access;
use crate::domain::route::Route;
use crate::domain::target::{Target, fold};

/// What comes of rewriting is not the one address that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address leads to no one place in the app")]
pub(super) struct Astray;

/// The address for the app: path and query.
///
/// # Errors
/// When it could be read as another.
pub(super) fn rewritten<'a>(spec: &Route, target: &'a Target<'_>) -> Result<Cow<'a, str>, Astray> {
    let Some(to) = spec.rewrite.as_deref() else { return Ok(target.forwarded()) };
    let rest = target.path().strip_prefix(spec.prefix.as_str()).ok_or(Astray)?;
    let path = if to.is_empty() && rest.is_empty() { "/".to_owned() } else { format!("{to}{rest}") };
    let whole = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let again = Target::parse(&whole).map_err(|_| Astray)?;
    let lenient = if to.is_empty() { String::new() } else { fold(to, spec.case) };
    let meant = again.path() == path
        && again.query() == target.query()
        && again.unusual().beyond(spec.unusual).is_none()
        // Two slashes at the beginning are a host to some.
        && !path.starts_with("//")
        && below(to, &path)
        && below(lenient.trim_end_matches('/'), &again.folded(spec.case));
    if meant { Ok(Cow::Owned(whole)) } else { Err(Astray) }
}

/// Where an app sends people (`Location`, RFC 9110 §10.2.2), as they reach it. `None`: it stays as the app wrote it, for it
/// is none of the app's own addresses, or not an address at all.
pub(super) fn returned(route: &access::Route, value: &[u8]) -> Option<String> {
    // Browsers drop some bytes and read others as slashes: what is turned back must have none of them.
    if !value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\') {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let (authority, path) = match text.split_once("//") {
        Some(("", rest)) => split(rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http:") => split(rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https:") => split(rest),
        _ if text.starts_with('/') => ("", text),
        _ => return None,
    };
    let back = turned_back(&route.spec, path);
    if authority.is_empty() {
        // What browsers take for a host is never made out of a path.
        return back.filter(|path| text.starts_with('/') && !path.starts_with("//"));
    }
    let secure = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"));
    if !is_own(route, authority, if secure { 443 } else { 80 })
        || !(path.is_empty() || path.starts_with(['/', '?', '#']))
    {
        return None;
    }
    Some(format!("{}{}", route.origin, back.as_deref().unwrap_or(path)))
}

/// Authority and the rest.
fn split(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()))
}

/// Whether an authority is that of the app: one of its upstreams', or its host as people know it, perhaps without TLS.
fn is_own(route: &access::Route, authority: &str, usual: u16) -> bool {
    let known = route.origin.split_once("://").map_or("", |(_, known)| known);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, Some(usual)),
    };
    authority.eq_ignore_ascii_case(known)
        || authority.eq_ignore_ascii_case(route.spec.host.as_str())
        || route.spec.to.iter().any(|to| to.host.eq_ignore_ascii_case(host) && Some(to.port) == port)
}

/// A path and what follows it, as people reach it. `None`: as it is.
fn turned_back(spec: &Route, path: &str) -> Option<String> {
    let to = spec.rewrite.as_deref()?;
    let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    // An app that has been told where people reach it says so itself. Of two beginnings the longer one is meant.
    if below(&spec.prefix, path) && spec.prefix.len() > to.len() {
        return None;
    }
    let tail = path.strip_prefix(to).filter(|tail| tail.is_empty() || tail.starts_with('/'))?;
    let root = if spec.prefix.is_empty() && tail.is_empty() { "/" } else { "" };
    Some(format!("{}{tail}{root}{rest}", spec.prefix))
}

fn below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::access::Snapshot;
    use crate::access::snapshot::Rules;
    use crate::domain::target::Unusual;
    use crate::proxy::tests::house::route;
    use crate::store::tree::Tree;

    fn spec(prefix: &str, to: &str, unusual: Unusual) -> Route {
        let mut spec = route("app", "app.example", &[], Vec::new());
        (spec.prefix, spec.rewrite, spec.unusual) = (prefix.to_owned(), Some(to.to_owned()), unusual);
        spec
    }

    #[test]
    fn f13_the_beginning_changes_and_nothing_else() {
        for (prefix, to, asked, heard) in [
            ("/wiki", "", "/wiki", "/"),
            ("/wiki", "", "/wiki/", "/"),
            ("/wiki", "", "/wiki/a?b=/wiki/..", "/a?b=/wiki/.."),
            ("/wiki", "/docs/v2", "/wiki/a/", "/docs/v2/a/"),
            ("/wiki", "/docs", "/wiki?x", "/docs?x"),
            ("", "/app", "/", "/app/"),
            ("", "/app", "/a%20b", "/app/a%20b"),
            ("/Wiki", "/Docs", "/Wiki/x", "/Docs/x"),
        ] {
            let target = Target::parse(asked).unwrap();
            let spec = spec(prefix, to, Unusual::default());
            assert_eq!(rewritten(&spec, &target).as_deref(), Ok(heard), "{prefix} to {to}: {asked}");
        }
    }

    #[test]
    fn f13_what_leads_elsewhere_is_refused() {
        let all = Unusual::NAMES.iter().fold(Unusual::default(), |all, (_, one)| all.and(*one));
        for (prefix, to, asked) in [
            ("/wiki", "", "/wiki//evil.example/x"),
            ("/wiki", "/docs", "/other/x"),
            ("/wiki", "/docs", "/wikix"),
        ] {
            let target = Target::parse(asked).unwrap();
            assert_eq!(rewritten(&spec(prefix, to, all), &target), Err(Astray), "{asked}");
        }
    }

    /// A route at `https://app.example`, as the snapshot has it.
    fn known(prefix: &str, to: Option<&str>) -> Arc<access::Route> {
        let mut spec = route("app", "app.example", &["10.0.4.12:8080".parse().unwrap()], Vec::new());
        (spec.prefix, spec.rewrite) = (prefix.to_owned(), to.map(str::to_owned));
        let rules = Rules { scheme: "https".into(), ..Rules::default() };
        Arc::clone(&Snapshot::compile(1, Tree::default(), &[spec], &rules).routes()[0])
    }

    #[test]
    fn where_an_app_sends_people_is_where_they_reach_it() {
        for (prefix, to, said, heard) in [
            // Paths of an app that lives under another one.
            ("/wiki", Some(""), "/a?b=/c#d", Some("/wiki/a?b=/c#d")),
            ("/wiki", Some(""), "/", Some("/wiki/")),
            ("/wiki", Some(""), "/wiki/a", None),
            ("/wiki", Some(""), "/wikia", Some("/wiki/wikia")),
            ("/wiki", Some("/docs/v2"), "/docs/v2/a/", Some("/wiki/a/")),
            ("/wiki", Some("/docs/v2"), "/docs/v2", Some("/wiki")),
            ("/wiki", Some("/docs/v2"), "/docs/v2x", None),
            ("/wiki", Some("/docs/v2"), "/login", None),
            ("/docs", Some("/docs/v2"), "/docs/v2/a", Some("/docs/a")),
            ("", Some("/app"), "/app/a", Some("/a")),
            ("", Some("/app"), "/app", Some("/")),
            ("", Some("/app"), "/app?x", Some("/?x")),
            ("", None, "/a", None),
            // No host comes of a path.
            ("", Some("/app"), "/app//evil.example/", None),
            ("", Some("/app"), "/app/\\evil.example/", None),
            ("", Some("/app"), "//evil.example/app", None),
            // Addresses of its own.
            ("", None, "http://10.0.4.12:8080/a?b", Some("https://app.example/a?b")),
            ("", None, "HTTP://10.0.4.12:8080", Some("https://app.example")),
            ("", None, "http://app.example/a", Some("https://app.example/a")),
            ("", None, "//App.Example/a", Some("https://app.example/a")),
            ("", None, "https://app.example/a", Some("https://app.example/a")),
            ("/wiki", Some("/docs"), "http://10.0.4.12:8080/docs/a", Some("https://app.example/wiki/a")),
            ("/wiki", Some("/docs"), "http://10.0.4.12:8080/other", Some("https://app.example/other")),
            // And others'.
            ("", None, "http://10.0.4.12/a", None),
            ("", None, "http://10.0.4.12:8081/a", None),
            ("", None, "http://10.0.4.12:8080@evil.example/a", None),
            ("", None, "http://evil.example:8080/a", None),
            ("", None, "http://app.example:8080/a", None),
            ("", None, "http://app.example.evil.example/a", None),
            ("", None, "ftp://app.example/a", None),
            ("", None, "http://app.example\\@evil.example/", None),
            ("/wiki", Some(""), "a/b", None),
            ("/wiki", Some(""), "?x=//y", None),
            ("/wiki", Some(""), "", None),
            ("/wiki", Some(""), "javascript://%0aalert(1)", None),
            ("/wiki", Some(""), "x//y", None),
        ] {
            assert_eq!(
                returned(&known(prefix, to), said.as_bytes()).as_deref(),
                heard,
                "{prefix} {to:?}: {said}"
            );
        }
    }

    proptest! {
        #[test]
        fn f13_back_again_it_is_what_people_asked_for(
            rest in "(/[a-zA-Z0-9.%~-]{0,12}){0,4}(\\?[a-z=/.%]{0,8})?",
            to in prop_oneof![Just("/docs"), Just("/Docs/v2")],
        ) {
            let asked = format!("/wiki{rest}");
            let route = known("/wiki", Some(to));
            if let Ok(target) = Target::parse(&asked)
                && let Ok(heard) = rewritten(&route.spec, &target)
            {
                prop_assert_eq!(returned(&route, heard.as_bytes()), Some(target.forwarded().into_owned()));
                let whole = format!("http://10.0.4.12:8080{heard}");
                let known = format!("https://app.example{}", target.forwarded());
                prop_assert_eq!(returned(&route, whole.as_bytes()), Some(known));
            }
        }

        #[test]
        fn no_address_makes_it_panic_or_leads_off(said in "(https?:)?[/\\\\\t\n a]{0,5}[a-z.:@/?#\t]{0,20}", to in prop_oneof![Just(""), Just("/a")]) {
            let route = known("", Some(to));
            if let Some(heard) = returned(&route, said.as_bytes()) {
                let ours = heard == "https://app.example"
                    || ["/", "?", "#"].iter().any(|next| heard.starts_with(&format!("https://app.example{next}")));
                // As browsers read it.
                let read: String = heard.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
                let path = read.starts_with('/') && !read.starts_with("//") && !read.starts_with("/\\");
                prop_assert!(ours || path, "{} became {}", said, heard);
            }
        }

        #[test]
        fn f13_what_is_heard_is_what_was_matched(
            rest in "(/[a-zA-Z0-9.%~;/-]{0,12}){0,4}(\\?[a-z=/.%]{0,8})?",
            to in prop_oneof![Just(""), Just("/docs"), Just("/Docs/v2")],
            unusual in 0..=Unusual::NAMES.len(),
        ) {
            let asked = format!("/wiki{rest}");
            let unusual = Unusual::NAMES[..unusual].iter().fold(Unusual::default(), |all, (_, one)| all.and(*one));
            if let Ok(target) = Target::parse(&asked)
                && let Ok(heard) = rewritten(&spec("/wiki", to, unusual), &target)
            {
                let read = Target::parse(&heard).unwrap();
                prop_assert_eq!(&*read.forwarded(), &*heard);
                prop_assert_eq!(read.query(), target.query());
                prop_assert!(below(to, read.path()) && !heard.starts_with("//"));
                // Back again it is what was matched.
                let back = format!("/wiki{}", &read.path()[to.len()..]);
                let matched = target.path();
                prop_assert!(back == matched || (to.is_empty() && matched == "/wiki" && back == "/wiki/"), "{} {}", back, matched);
            }
        }
    }
}
