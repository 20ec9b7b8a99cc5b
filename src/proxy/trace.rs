//! The trace that a request belongs to (W3C Trace Context), so that its way through several programs can be followed.
//!
//! What a client says well-formed is passed on as it is. What is malformed is dropped, and a trace begins here, under the
//! id of the request.

use std::borrow::Cow;

use super::view::View;

/// The fields.
pub(super) const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// The most bytes of all `tracestate` fields together (§3.3.1.5), and the most members (§3.3.1.1).
const MOST_STATE: usize = 512;
const MOST_MEMBERS: usize = 32;
/// Where the parts of version 00 end: version, trace, parent, flags (§3.2.2).
const WHOLE: usize = 55;

/// A trace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace<'a> {
    parent: Cow<'a, [u8]>,
    /// Whether what the client says besides passes too.
    state: bool,
}

impl<'a> Trace<'a> {
    /// Of a request. `request_id` is a UUID as text.
    pub(super) fn of(view: &View<'a>, request_id: &str) -> Self {
        match view.single(PARENT).filter(|text| well_formed(text)) {
            Some(parent) => Self { parent: Cow::Borrowed(parent.as_bytes()), state: well_formed_state(view) },
            None => Self { parent: Cow::Owned(begun(request_id)), state: false },
        }
    }

    /// `traceparent`, for the upstream.
    pub(super) fn parent(self) -> Cow<'a, [u8]> {
        self.parent
    }

    /// The trace's id, for the log.
    pub(super) fn id(&self) -> &str {
        self.parent.get(3..35).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default()
    }

    /// Whether a field of the client's is not passed on as it is: `traceparent` comes besides, and so perhaps does not
    /// `tracestate`, which means nothing without it (§3.3).
    pub(super) fn drops(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(PARENT.as_bytes())
            || (!self.state && name.eq_ignore_ascii_case(STATE.as_bytes()))
    }
}

/// A trace that begins here: unsampled, for nobody records it.
fn begun(request_id: &str) -> Vec<u8> {
    let mut parent = Vec::with_capacity(WHOLE);
    parent.extend_from_slice(b"00-");
    let mut put = |part: Option<&str>| parent.extend_from_slice(part.unwrap_or_default().as_bytes());
    // Without its hyphens; then the half of it that is chance.
    for part in [0..8, 9..13, 14..18, 19..23, 24..36] {
        put(request_id.get(part));
    }
    put(Some("-"));
    put(request_id.get(19..23));
    put(request_id.get(24..36));
    put(Some("-00"));
    parent
}

/// Whether a `traceparent` is one (§3.2.2): of version 00 exactly, of a later one as far as it can be known.
fn well_formed(text: &str) -> bool {
    let digits = |from: usize, to: usize| {
        text.get(from..to).is_some_and(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    let zeros =
        |from: usize, to: usize| text.get(from..to).is_none_or(|part| part.bytes().all(|byte| byte == b'0'));
    let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    let longer = !text.starts_with("00") && text.as_bytes().get(WHOLE) == Some(&b'-') && text.len() <= 256;
    dashes
        && digits(0, 2)
        && !text.starts_with("ff")
        && digits(3, 35)
        && !zeros(3, 35)
        && digits(36, 52)
        && !zeros(36, 52)
        && digits(53, WHOLE)
        && (text.len() == WHOLE || longer)
}

/// Whether the `tracestate` fields are a list of members with a key and a value (§3.3.1).
fn well_formed_state(view: &View<'_>) -> bool {
    let all: Vec<&[u8]> = view.values(STATE).collect();
    let members = || all.iter().flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let member = |member: &[u8]| {
        let mut halves = member.splitn(2, |byte| *byte == b'=');
        let (key, value) = (halves.next().unwrap_or_default(), halves.next());
        let fine = |byte: &u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
        };
        let value_fine = |value: &[u8]| {
            !value.is_empty()
                && value.len() <= 256
                && value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'=')
        };
        !key.is_empty() && key.len() <= 256 && key.iter().all(fine) && value.is_some_and(value_fine)
    };
    all.iter().map(|value| value.len()).sum::<usize>() <= MOST_STATE
        && members().count() <= MOST_MEMBERS
        && members().filter(|text| !text.is_empty()).all(member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::view::Field;

    const ID: &str = "01a1feb2-4010-78b3-8e91-8fa8c6736f7a";
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BEGUN: &str = "00-01a1feb2401078b38e918fa8c6736f7a-8e918fa8c6736f7a-00";

    /// The parent that is passed on, and whether the state is.
    fn of(fields: &[(&str, &str)]) -> (String, bool) {
        let fields: Vec<Field<'_>> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let peer = "192.0.2.1:1".parse().unwrap();
        let view = View { method: "GET", target: "/", fields: &fields, peer, certificate: None };
        let trace = Trace::of(&view, ID);
        let state = !trace.drops(b"TraceState");
        assert!(trace.drops(b"Traceparent") && !trace.drops(b"accept"));
        assert_eq!(trace.id().len(), 32);
        (String::from_utf8(trace.parent().into_owned()).unwrap(), state)
    }

    #[test]
    fn what_is_well_formed_passes_and_what_is_not_begins_anew() {
        for good in [
            GOOD,
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            &GOOD.replace("-01", "-ff"),
        ] {
            assert_eq!(of(&[("traceparent", good)]), (good.to_owned(), true), "{good}");
        }
        assert_eq!(of(&[]), (BEGUN.to_owned(), false));
        for wrong in [
            "",
            "00",
            "x",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace('-', "_"),
            &format!("{GOOD}-more"),
            &format!("01{}more", &GOOD[2..]),
            &format!("{GOOD} "),
            &GOOD[..54],
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('4', "g"),
            &GOOD.replace('4', "\u{e9}"),
            &format!("01{}-{}", &GOOD[2..], "x".repeat(300)),
        ] {
            let said = of(&[("traceparent", wrong), ("tracestate", "a=b")]);
            assert_eq!(said, (BEGUN.to_owned(), false), "{wrong:?}");
        }
        assert_eq!(of(&[("traceparent", GOOD), ("Traceparent", GOOD)]), (BEGUN.to_owned(), false), "twice");
    }

    #[test]
    fn state_passes_with_a_parent_and_in_its_form() {
        for (state, passes) in [
            ("a=b", true),
            ("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", true),
            ("t@v=1,,x=2", true),
            ("a", false),
            ("=b", false),
            ("A=b", false),
            ("a=b=c", false),
            ("a=\u{e9}", false),
            ("a=b\u{1}", false),
        ] {
            assert_eq!(of(&[("traceparent", GOOD), ("tracestate", state)]).1, passes, "{state}");
        }
        let many = vec!["a=b"; 33].join(",");
        let long = format!("a={}", "b".repeat(600));
        for state in [&many, &long] {
            assert!(!of(&[("traceparent", GOOD), ("tracestate", state)]).1);
        }
    }
}
