//! Header fields: whose they are, and what a route may do to the others.
//!
//! Names are compared folded (see [`fold_name`]), because upstreams fold them: a CGI program takes `Cardea_User` for
//! `Cardea-User`, and `Content_Length` for the length (`PROXY-04`, `PROXY-05`, `PROXY-07`; F1, F2, F4, F7).

use std::borrow::Cow;

use super::route::{BESIDES, PRESETS, fold_name, folded_name};

/// Whether a field is one of the hop (RFC 9110 §7.6.1, and what older programs treat so). Takes a folded name.
#[must_use]
pub fn of_the_hop(folded: &str) -> bool {
    matches!(
        folded,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a field of this name is only ours to write: we write it ourselves, or upstreams believe it of whoever stands
/// before them. Takes a folded name. `proxy` becomes the variable `HTTP_PROXY` in CGI programs.
#[must_use]
pub fn ours(folded: &str) -> bool {
    // By the first letter: most names end here.
    match folded.as_bytes().first() {
        Some(b'c') => {
            matches!(folded, "cardea" | "cf-connecting-ip" | "client-ip" | "content-length")
                || ["cardea-", "cf-access-", "client-cert"].iter().any(|start| folded.starts_with(start))
        }
        Some(b'x') => folded.strip_prefix("x-").is_some_and(ours_extended),
        Some(b'f') => {
            matches!(folded, "fastly-client-ip" | "fly-client-ip" | "forwarded" | "front-end-https")
        }
        Some(b'h') => matches!(folded, "host" | "https"),
        Some(b'o') => folded.starts_with("oidc-"),
        Some(b'r') => folded.starts_with("remote-"),
        Some(b's') => folded.starts_with("ssl-client-"),
        Some(b't') => folded == "true-client-ip" || folded.starts_with("tailscale-"),
        Some(b'w') => folded.starts_with("wl-proxy-"),
        _ => matches!(folded, "expect" | "proxy"),
    }
}

/// The same for names that begin with `x-`, without it.
fn ours_extended(rest: &str) -> bool {
    let exact = [
        // A rule names methods and paths; what is decided on is what is done.
        "http-method",
        "http-method-override",
        "http-path-override",
        "method-override",
        // Where the client is, and how it came.
        "arr-clientcert",
        "azure-clientip",
        "client-ip",
        "cluster-client-ip",
        "forwarded",
        "host",
        "http-host-override",
        "proxyuser-ip",
        "real-ip",
        "scheme",
        "script-name",
        "tls-client-cert",
        "url-scheme",
        // What only a server in front may ask an app for.
        "accel-mapping",
        "sendfile-type",
        // What other gateways and servers take for who somebody is.
        "auth-user",
        "user",
        "vouch-user",
    ];
    let from = [
        "amzn-mtls-",
        "amzn-oidc-",
        "auth-request-",
        "authenticated-",
        "authentik-",
        "client-cert",
        "client-ssl-",
        "consumer-",
        "envoy-",
        "forwarded-",
        "goog-authenticated-",
        "goog-iap-",
        "middleware-",
        "ms-client-principal",
        "ms-token-",
        "original-",
        "pomerium-",
        "remote-",
        "rewrite-",
        "ssl-",
        "webauth-",
    ];
    exact.contains(&rest) || from.iter().any(|start| rest.starts_with(start))
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the upstream.
    Request,
    /// To the client.
    Answer,
}

/// Why a route may not touch a field, in words that follow its name.
///
/// `carries` says whether some route gives the name an identity to carry, besides those of the presets.
#[must_use]
pub fn untouchable(
    direction: Direction,
    name: &str,
    setting: bool,
    carries: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let folded = folded_name(name.as_bytes());
    let preset = || {
        let names = PRESETS.iter().flat_map(|(_, headers)| headers.iter().map(|(name, _)| *name));
        names.chain(BESIDES).any(|known| folded_name(known.as_bytes()) == folded)
    };
    let framing = matches!(folded.as_str(), "content-length" | "expect" | "date");
    if of_the_hop(&folded) || framing || folded.starts_with("sec-websocket") {
        return Some("belongs to the connection, not to the message");
    }
    if folded == "cardea" || folded.starts_with("cardea-") {
        return Some("is for Cardea alone to write");
    }
    match direction {
        Direction::Request if preset() || carries(&folded) => Some("tells upstreams who somebody is"),
        Direction::Request if ours(&folded) || matches!(folded.as_str(), "traceparent" | "tracestate") => {
            Some("is for Cardea alone to write")
        }
        Direction::Request if setting && folded == "cookie" => Some("holds what the browser keeps"),
        Direction::Answer if setting && folded == "set-cookie" => {
            Some("is one field for each cookie, and the sessions of Cardea are among them")
        }
        Direction::Request | Direction::Answer => None,
    }
}

/// What a route changes about the fields of a message. Nothing, on most routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The names that are taken out, folded; those that are set are among them.
    out: Vec<String>,
    /// What is put in.
    set: Vec<(String, String)>,
}

impl Edits {
    /// Takes `remove` out, in every spelling, and puts `set` in place of every field of the same names.
    #[must_use]
    pub fn new(set: Vec<(String, String)>, remove: &[String]) -> Self {
        let names = set.iter().map(|(name, _)| name).chain(remove);
        Self { out: names.map(|name| folded_name(name.as_bytes())).collect(), set }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Does it.
    pub fn apply<'e>(&'e self, fields: &mut Vec<(&'e [u8], Cow<'e, [u8]>)>) {
        if self.is_empty() {
            return;
        }
        let mut memory = Vec::with_capacity(64);
        fields.retain(|(name, _)| {
            let folded = fold_name(name, &mut memory);
            !self.out.iter().any(|out| out == folded)
        });
        fields.extend(self.set.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes().into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_05_f7_what_upstreams_believe_of_whoever_stands_before_them_is_ours() {
        for name in [
            "X-Pomerium-Claim-Email",
            "X-authentik-meta-app",
            "Remote-Role",
            "X-Goog-Authenticated-User-Namespace",
            "X-WEBAUTH-ROLE",
            "X-Remote-Extra-Scopes",
            "X-Authenticated-Userid",
            "X-Consumer-Username",
            "OIDC_CLAIM_email",
            "Tailscale-User-Login",
            "Cf-Access-Authenticated-User-Email",
            "X-Middleware-Subrequest",
            "X-Accel-Mapping",
            "HTTPS",
            "Front-End-Https",
            "X-Url-Scheme",
            "WL-Proxy-SSL",
            "Fly-Client-IP",
        ] {
            assert!(ours(&folded_name(name.as_bytes())), "{name}");
        }
        for name in [
            "X-Requested-With",
            "X-Request-Id",
            "X-CSRF-Token",
            "Origin",
            "Referer",
            "X-Api-Key",
            "Authorization",
        ] {
            assert!(!ours(&folded_name(name.as_bytes())), "{name}");
        }
    }

    #[test]
    fn proxy_04_proxy_05_a_route_touches_no_name_of_ours_in_any_spelling() {
        let carries = |folded: &str| folded == "x-who";
        for direction in [Direction::Request, Direction::Answer] {
            for name in [
                "Connection",
                "TE",
                "transfer_encoding",
                "Keep-Alive",
                "Upgrade",
                "Content_Length",
                "Cardea-User",
                "cardea.anything",
                "CARDEA",
                "Sec-WebSocket-Key",
                "Proxy-Authorization",
                "Trailer",
            ] {
                for setting in [true, false] {
                    assert!(untouchable(direction, name, setting, carries).is_some(), "{direction:?} {name}");
                }
            }
        }
        for name in [
            "Host",
            "X-Forwarded-For",
            "X_Forwarded_User",
            "Remote.User",
            "X-Who",
            "x__who",
            "X-Goog-IAP-JWT-Assertion",
            "Forwarded",
            "X-Real-IP",
            "traceparent",
            "X-HTTP-Method-Override",
        ] {
            assert!(untouchable(Direction::Request, name, false, carries).is_some(), "{name}");
        }
        assert!(untouchable(Direction::Request, "Cookie", true, carries).is_some());
        assert!(untouchable(Direction::Answer, "Set-Cookie", true, carries).is_some());
        for (direction, name, setting) in [
            (Direction::Request, "Authorization", true),
            (Direction::Request, "Accept-Encoding", false),
            (Direction::Request, "Cookie", false),
            (Direction::Request, "X-Tenant", true),
            (Direction::Answer, "X-Frame-Options", true),
            (Direction::Answer, "Server", false),
            (Direction::Answer, "Cache-Control", true),
        ] {
            assert_eq!(untouchable(direction, name, setting, carries), None, "{name}");
        }
    }

    #[test]
    fn what_is_set_takes_the_place_of_every_spelling() {
        let edits = Edits::new(vec![("X-Tenant".into(), "acme".into())], &["Accept-Encoding".to_owned()]);
        let mut fields: Vec<(&[u8], Cow<'_, [u8]>)> = vec![
            (b"x_tenant", b"evil"[..].into()),
            (b"accept", b"*/*"[..].into()),
            (b"ACCEPT-encoding", b"gzip"[..].into()),
            (b"X-Tenant", b"evil"[..].into()),
        ];
        edits.apply(&mut fields);
        assert_eq!(fields, [(&b"accept"[..], b"*/*"[..].into()), (b"X-Tenant", b"acme"[..].into())]);
    }
}
