//! What passes in neither direction: fields of the hop, fields that only we may write, cookies that are ours.
//!
//! Names are compared folded, because upstreams fold them: a CGI program takes `Cardea_User` for `Cardea-User`, and
//! `Content_Length` for the length (`PROXY-04` to `PROXY-07`, `PROXY-12`; F1, F2, F4, F7).

use std::borrow::Cow;

use crate::access::Snapshot;
use crate::domain::header::of_the_hop;
pub(super) use crate::domain::header::ours;
use crate::domain::route::{fold_name, folded_name};
use crate::session::cookie;

use super::view::{View, elements};

/// The fields of a request that an upstream may see, each as received but for our cookies.
pub(super) fn kept<'a>(view: &View<'a>, snapshot: &Snapshot) -> Vec<(&'a [u8], Cow<'a, [u8]>)> {
    let listed = listed(view.values("connection"));
    let mut kept = Vec::with_capacity(view.fields.len() + 8);
    let mut memory = Vec::with_capacity(64);
    for (name, value) in view.fields {
        let folded = fold_name(name, &mut memory);
        if ours(folded)
            || of_the_hop(folded)
            || listed.iter().any(|name| name == folded)
            || snapshot.manages(folded)
        {
            continue;
        }
        if folded == "cookie" {
            kept.extend(without_ours(value).map(|value| (*name, value)));
        } else {
            kept.push((*name, Cow::Borrowed(*value)));
        }
    }
    kept
}

/// The cookies of a request without ours, as one field (RFC 9113 §8.2.3); empty when nothing is left.
pub(super) fn cookies(view: &View<'_>) -> Vec<u8> {
    view.values("cookie").filter_map(without_ours).collect::<Vec<_>>().join(&b"; "[..])
}

/// A `Cookie` field without our cookies; the others byte for byte. `None` when nothing is left.
fn without_ours(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_ours = |part: &[u8]| cookie::ours(cookie::halves(part).0);
    // Where the first of ours begins; what lies before it stays as it is.
    let mut before = 0;
    let mut parts = cookie::parts(value);
    loop {
        match parts.next() {
            None => return Some(Cow::Borrowed(value)),
            Some(part) if is_ours(part) => break,
            Some(part) => before += part.len() + 1,
        }
    }
    let mut rest = Vec::with_capacity(value.len());
    rest.extend_from_slice(value.get(..before.saturating_sub(1)).unwrap_or_default());
    for part in parts.filter(|part| !is_ours(part)) {
        if rest.is_empty() {
            rest.extend_from_slice(part.trim_ascii_start());
        } else {
            rest.push(b';');
            rest.extend_from_slice(part);
        }
    }
    (!rest.is_empty()).then_some(Cow::Owned(rest))
}

/// Whether a field of an upstream's answer passes to the client. `folded` is its name, `listed` are the names in its
/// `Connection` fields. `Trailer` passes, for response trailers do.
pub(super) fn answer_passes(folded: &str, value: &[u8], listed: &[String]) -> bool {
    let hop = folded != "trailer" && of_the_hop(folded);
    let cookie_of_ours = folded == "set-cookie" && cookie::ours(cookie_name(value));
    !(hop
        || folded == "cardea"
        || folded.starts_with("cardea-")
        || listed.iter().any(|name| name == folded)
        || cookie_of_ours)
}

/// Whether a trailer field of an upstream's answer passes. Nothing there may do the work of a header field.
pub(super) fn trailer_passes(name: &[u8]) -> bool {
    let folded = folded_name(name);
    !(ours(&folded)
        || of_the_hop(&folded)
        || matches!(folded.as_str(), "set-cookie" | "cache-control" | "location"))
}

/// The names that `Connection` fields list, folded. Its everyday options are no names of fields.
pub(super) fn listed<'a>(connection: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let option = |element: &&[u8]| {
        [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|option| element.eq_ignore_ascii_case(option))
    };
    connection.flat_map(elements).filter(|element| !option(element)).map(folded_name).collect()
}

/// The name under which a browser will send a cookie back. One that was set without a name comes back as its bare value,
/// so there the value says the name.
fn cookie_name(set_cookie: &[u8]) -> &[u8] {
    let pair = set_cookie.split(|byte| *byte == b';').next().unwrap_or_default();
    pair.split(|byte| *byte == b'=').map(<[u8]>::trim_ascii).find(|part| !part.is_empty()).unwrap_or_default()
}

/// What `Cache-Control` must say so that no shared cache keeps an answer that was made for somebody; `None` when it says
/// so already (`PROXY-19`).
pub(super) fn private<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'static, [u8]>> {
    let values: Vec<&[u8]> = values.collect();
    if values.is_empty() {
        return Some(Cow::Borrowed(b"private"));
    }
    let all: Vec<&[u8]> = values.iter().flat_map(|value| directives(value)).collect();
    let name = |directive: &[u8]| {
        directive.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
    };
    let shared = |directive: &[u8]| match name(directive).as_slice() {
        b"public" | b"s-maxage" => true,
        // `private="Set-Cookie"` lets everything else be kept.
        b"private" => directive.contains(&b'='),
        _ => false,
    };
    let closed = all.iter().any(|directive| {
        !shared(directive) && matches!(name(directive).as_slice(), b"private" | b"no-store")
    });
    // A quote that does not end could hide anything behind it.
    if values.iter().any(|value| value.split(|byte| *byte == b'"').count() % 2 == 0) {
        return Some(Cow::Borrowed(b"no-store"));
    }
    if closed && !all.iter().any(|directive| shared(directive)) {
        return None;
    }
    let mut kept: Vec<&[u8]> = all.into_iter().filter(|directive| !shared(directive)).collect();
    if !closed {
        kept.insert(0, b"private");
    }
    Some(Cow::Owned(kept.join(&b", "[..])))
}

/// The directives of a `Cache-Control` field; a comma in quotes separates nothing.
fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value
        .split(move |byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        })
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
}

/// Whether a field would let a cache in front of us keep an answer in spite of `Cache-Control` (RFC 9213). Takes a folded
/// name.
pub(super) fn targets_caches(folded: &str) -> bool {
    folded.ends_with("cdn-cache-control") || folded == "surrogate-control"
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::route::PRESETS;
    use crate::proxy::tests::house;
    use crate::proxy::view::Field;

    fn names(fields: &[(&[u8], &[u8])]) -> Vec<String> {
        let fields: Vec<Field<'_>> = fields.to_vec();
        let view = View {
            method: "GET",
            target: "/",
            fields: &fields,
            peer: "127.0.0.1:1".parse().unwrap(),
            certificate: None,
        };
        let snapshot = house::empty_snapshot();
        kept(&view, &snapshot).iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    fn managed() -> HashSet<&'static str> {
        let presets = PRESETS.iter().flat_map(|(_, headers)| headers.iter().map(|(name, _)| *name));
        presets.chain(["cardea-request-id", "cardea-impersonator", "cardea-anything"]).collect()
    }

    #[test]
    fn proxy_05_f1_f2_no_spelling_of_a_managed_name_passes() {
        for name in managed() {
            let spellings = [
                name.to_owned(),
                name.to_ascii_uppercase(),
                name.split('-').map(|w| w[..1].to_uppercase() + &w[1..]).collect::<Vec<_>>().join("-"),
                name.replace('-', "_"),
                name.replace('-', "."),
                name.replace('-', "--"),
                name.replace('-', "-_"),
                name.replace('-', "_-_"),
                name.replace('-', "__"),
                name.replace('-', "!"),
                name.replace('-', "~"),
                name.replace('-', " "),
                name.replace('-', "\t"),
                name.replace('-', "\0"),
                name.replace('-', "\u{b}"),
                name.replace('-', "\u{e9}"),
                name.replace('-', "\r\n "),
                name.replace('-', "\n"),
                name.replace('-', "\r"),
                format!("{name}-"),
                format!("{name}_"),
                format!("-{name}"),
                format!("_{name}."),
                format!(" {name} "),
                name.replacen('-', "_", 1).to_ascii_uppercase(),
            ];
            for spelling in spellings {
                assert!(names(&[(spelling.as_bytes(), b"forged")]).is_empty(), "{spelling:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn f2_random_separators(at in 0..24_usize, seps in proptest::collection::vec("[^a-zA-Z0-9]{1,3}", 8), upper in any::<bool>()) {
            let all: Vec<&str> = managed().into_iter().collect();
            let name = all[at % all.len()];
            let mut spelled = String::new();
            for (i, word) in name.split('-').enumerate() {
                if i > 0 {
                    spelled.push_str(&seps[i % seps.len()]);
                }
                spelled.push_str(&if upper { word.to_uppercase() } else { word.to_owned() });
            }
            prop_assert!(names(&[(spelled.as_bytes(), b"forged")]).is_empty(), "{:?}", spelled);
        }
    }

    #[test]
    fn proxy_07_f5_f6_f7_forwarding_fields_are_ours() {
        for name in [
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Uri",
            "X-Forwarded-Tls-Client-Cert",
            "X_Forwarded_For",
            "X.Forwarded.For",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Original-Method",
            "X-Rewrite-URL",
            "True-Client-IP",
            "X-SSL-Client-Verify",
            "X-Client-Cert",
            "SSL-Client-Cert",
            "Client-Cert",
            "Client-Cert-Chain",
            "Proxy",
            "X-Forwarded",
        ] {
            assert!(names(&[(name.as_bytes(), b"x")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn proxy_04_f4_fields_of_the_hop_and_what_connection_lists() {
        let fields: [(&[u8], &[u8]); 9] = [
            (b"Connection", b"close, X-Hop, CARDEA-USER,,"),
            (b"connection", b"accept_language"),
            (b"X-Hop", b"1"),
            (b"x_hop", b"1"),
            (b"Accept-Language", b"de"),
            (b"Keep-Alive", b"1"),
            (b"Transfer_Encoding", b"chunked"),
            (b"Content_Length", b"5"),
            (b"X-Kept", b"1"),
        ];
        assert_eq!(names(&fields), ["X-Kept"]);
        for name in ["te", "trailer", "upgrade", "http2-settings", "proxy-authorization", "host", "expect"] {
            assert!(names(&[(name.as_bytes(), b"x")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn everything_else_passes_in_order() {
        let fields: [(&[u8], &[u8]); 7] = [
            (b"accept", b"*/*"),
            (b"authorization", b"Bearer x"),
            (b"traceparent", b"00-x"),
            (b"x-method", b"PUT"),
            (b"x-b", b"1"),
            (b"x-b", b"2"),
            (b"cardeal", b"bird"),
        ];
        assert_eq!(
            names(&fields),
            ["accept", "authorization", "traceparent", "x-method", "x-b", "x-b", "cardeal"]
        );
    }

    #[test]
    fn proxy_12_our_cookies_go_and_others_stay_byte_for_byte() {
        let after =
            |value: &str| without_ours(value.as_bytes()).map(|v| String::from_utf8(v.into_owned()).unwrap());
        for same in
            ["a=b", "a=b;c=d", " a = b ;  c=\"d;e\"", "a", "=x", "a=b=c; d", "$Version=1; a=b", "mycardea=1"]
        {
            assert_eq!(after(same).as_deref(), Some(same));
        }
        for (value, rest) in [
            ("cardea=t", None),
            ("__Host-cardea=t", None),
            ("__Host-cardea=t; a=b", Some("a=b")),
            ("a=b; __Host-cardea=t; c=d", Some("a=b; c=d")),
            ("a=b;cardea=t", Some("a=b")),
            ("cardea=1; cardea=2; __Host-cardea-browser=3; a=b", Some("a=b")),
            ("  cardea  = t ; a=b", Some("a=b")),
            ("$Version=1; __Host-cardea=t; $Path=/; a=b", Some("$Version=1; $Path=/; a=b")),
            ("__HOST-CARDEA=t; a=\"x; cardea=t\"", Some("a=\"x")),
            ("cardea-theme=dark; a=b", Some("a=b")),
            ("cardea", None),
        ] {
            assert_eq!(after(value).as_deref(), rest, "{value}");
        }
    }

    #[test]
    fn proxy_22_sess_15_upstreams_set_none_of_our_cookies_and_none_of_our_fields() {
        let passes = |name: &str, value: &str| {
            answer_passes(&folded_name(name.as_bytes()), value.as_bytes(), &["x-hop".to_owned()])
        };
        for cookie in [
            "cardea=t; Path=/",
            "__Host-cardea=t",
            " cardea = t",
            "=cardea=t",
            "= cardea=t",
            "cardea",
            "__Secure-cardea=x",
            "Cardea=t",
            "cardea-browser=x",
        ] {
            assert!(!passes("set-cookie", cookie), "{cookie}");
        }
        for cookie in ["a=b", "session=x; cardea=y", "x=cardea", ""] {
            assert!(passes("set-cookie", cookie), "{cookie}");
        }
        for name in [
            "cardea-user",
            "cardea_assertion",
            "connection",
            "keep-alive",
            "x-hop",
            "upgrade",
            "transfer-encoding",
        ] {
            assert!(!passes(name, "x"), "{name}");
        }
        for name in ["vary", "location", "content-type", "trailer", "etag"] {
            assert!(passes(name, "x"), "{name}");
        }
    }

    #[test]
    fn proxy_19_answers_to_somebody_are_private() {
        let said = |values: &[&str]| {
            private(values.iter().map(|v| v.as_bytes())).map(|v| String::from_utf8(v.into_owned()).unwrap())
        };
        for fine in [
            &["private"][..],
            &["no-store"],
            &["no-cache, no-store"],
            &["Private, max-age=5"],
            &["max-age=5", "private"],
        ] {
            assert_eq!(said(fine), None, "{fine:?}");
        }
        for (values, result) in [
            (&[][..], "private"),
            (&["public, max-age=5"], "private, max-age=5"),
            (&["max-age=5, s-maxage=9"], "private, max-age=5"),
            (&["Public"], "private"),
            (&["private, public"], "private"),
            (&["private=\"set-cookie, x\", max-age=1"], "private, max-age=1"),
            (&["no-cache=\"a, public\""], "private, no-cache=\"a, public\""),
            (&["x=\"private, no-store"], "no-store"),
            (&["public", "no-store"], "no-store"),
        ] {
            assert_eq!(said(values).as_deref(), Some(result), "{values:?}");
        }
        assert!(
            targets_caches("cdn-cache-control")
                && targets_caches("cloudflare-cdn-cache-control")
                && !targets_caches("cache-control")
        );
    }
}
