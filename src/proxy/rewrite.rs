//! The address as an app hears it that lives under another path than the one people use.
//!
//! Only the beginning changes, and it is fixed. The result is judged again: it must be canonical and lie where it was to
//! go, in every reading, or nothing is forwarded (F13, `PROXY-09`).

use std::borrow::Cow;

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

fn below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::target::Unusual;
    use crate::proxy::tests::house::route;

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

    proptest! {
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
