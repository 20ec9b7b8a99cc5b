//! A request as it is judged: borrowed, without any type of the HTTP library in front.
//!
//! Reading it is strict. Whatever two programs could read differently is refused here, before anybody asks whose it is
//! (RFC 9112 §3.2, §6.3; `PROXY-09`, `PROXY-13` to `PROXY-16`).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::inflow::decimal;

use crate::crypto::certificate::Identity;
use crate::domain::policy;
use crate::domain::target::{self, Ambiguous, Target};

/// A header field: name and value, as received.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// The most header fields of a request.
pub(super) const MOST_FIELDS: usize = 100;

/// A request, as received.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// What stood on the request line.
    pub(super) target: &'a str,
    /// The header fields, in order.
    pub(super) fields: &'a [Field<'a>],
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    /// The certificate that the client was shown, when there is TLS.
    pub(super) certificate: Option<&'a Identity>,
}

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// In chunks.
    Chunked,
    /// So many bytes.
    Exact(u64),
    /// There is none.
    Nothing,
}

impl Length {
    /// Whether there is no byte of it.
    pub(super) const fn nothing(self) -> bool {
        matches!(self, Length::Nothing | Length::Exact(0))
    }

    /// Whether it is known to be longer than this.
    pub(super) fn beyond(self, most: usize) -> bool {
        matches!(self, Length::Exact(length) if length > most as u64)
    }
}

/// What was asked, read in one way.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// As received.
    pub(super) view: View<'a>,
    /// From where, after trusted proxies.
    pub(super) address: IpAddr,
    /// Of which host: lower case, no port.
    pub(super) host: Cow<'a, str>,
    /// The port beside it, if the client sent one.
    pub(super) port: Option<u16>,
    /// For what.
    pub(super) target: Target<'a>,
}

/// Why a request is not even looked at. Public: says nothing about routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Host or target.
    #[error("{0}")]
    Address(#[from] Ambiguous),
    /// `Expect` with anything but `100-continue`.
    #[error("the request expects something that is not done here")]
    Expectation,
    /// More than [`MOST_FIELDS`].
    #[error("the request has too many header fields")]
    Fields,
    /// The length of the body can be read in two ways.
    #[error("the length of the request's body can be read in more than one way")]
    Framing,
    /// No host, several, or another one than in the address.
    #[error("the request must name one host, once")]
    Host,
    /// A host that the certificate of this connection does not cover.
    #[error("this connection was made for another host")]
    Misdirected,
    /// A method that is not forwarded.
    #[error("the method is not one that is passed on")]
    Method,
}

impl<'a> View<'a> {
    /// The values of a header field. `name` in lower case.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// The value of a header field that may stand once; `None` also when it stands twice or is no visible ASCII.
    pub(super) fn single(&self, name: &'static str) -> Option<&'a str> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (Some(value), None) => {
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| (0x20..0x7f).contains(&b)))
            }
            _ => None,
        }
    }

    /// Whether a comma-separated field has an element, whatever its case.
    pub(super) fn lists(&self, name: &'static str, element: &str) -> bool {
        self.values(name).flat_map(elements).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// Whether it asks for the connection to become a WebSocket (RFC 6455 §4.1).
    pub(super) fn wants_websocket(&self) -> bool {
        self.lists("upgrade", "websocket")
    }

    /// Reads it.
    pub(super) fn read(self, trusted: &[IpNet]) -> Result<Asked<'a>, Unreadable> {
        if !policy::method(self.method) {
            return Err(Unreadable::Method);
        }
        if self.fields.len() > MOST_FIELDS {
            return Err(Unreadable::Fields);
        }
        self.framing()?;
        if self.values("expect").any(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
            return Err(Unreadable::Expectation);
        }
        let mut hosts = self.values("host");
        let (Some(named), None) = (hosts.next(), hosts.next()) else { return Err(Unreadable::Host) };
        let (host, port) = target::host(named)?;
        // The client made sure of another name than it now asks for (RFC 9110 §7.4; F19).
        if self.certificate.is_some_and(|certificate| !certificate.covers(&host)) {
            return Err(Unreadable::Misdirected);
        }
        let raw = match absolute(self.target) {
            None => self.target,
            // The address decides (RFC 9112 §3.2.2), and a `Host` that says otherwise is an attempt at something.
            Some((authority, raw)) => {
                let (other, other_port) = target::host(authority.as_bytes())?;
                if other != host || (other_port.is_some() && port.is_some() && other_port != port) {
                    return Err(Unreadable::Host);
                }
                raw
            }
        };
        let address = client(self.peer.ip(), self.values("x-forwarded-for"), trusted);
        Ok(Asked { view: self, address, host, port, target: Target::parse(raw)? })
    }

    /// Which rule was broken, for the log: the client is told no more than it must know.
    pub(super) fn words_for(&self, why: Unreadable) -> Cow<'static, str> {
        let count = |name| self.values(name).count();
        Cow::Borrowed(match why {
            Unreadable::Framing => match (count("content-length"), count("transfer-encoding")) {
                (1, 0) => "Content-Length is no plain number (RFC 9112, 6.3)",
                (0, 1) => "Transfer-Encoding is not chunked alone (RFC 9112, 6.1)",
                (_, 0) => "more than one Content-Length (RFC 9112, 6.3)",
                (0, _) => "more than one Transfer-Encoding (RFC 9112, 6.1)",
                _ => "Content-Length beside Transfer-Encoding (RFC 9112, 6.3)",
            },
            Unreadable::Host => match count("host") {
                0 => "no Host (RFC 9112, 3.2)",
                1 => "Host and the address name two hosts (RFC 9112, 3.2.2)",
                _ => "more than one Host (RFC 9112, 3.2)",
            },
            other => return Cow::Owned(other.to_string()),
        })
    }

    /// One length or one coding, not both, each in its plain form. The front has parsed them by its own rules; what it
    /// lets us see must leave it no choice.
    pub(super) fn framing(&self) -> Result<Length, Unreadable> {
        let (mut lengths, mut codings) = (self.values("content-length"), self.values("transfer-encoding"));
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(Length::Nothing),
            (Some(length), None) if lengths.next().is_none() => {
                decimal(length).map(Length::Exact).ok_or(Unreadable::Framing)
            }
            (None, Some(coding)) if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Length::Chunked)
            }
            _ => Err(Unreadable::Framing),
        }
    }
}

impl Asked<'_> {
    /// The `Cookie` fields.
    pub(super) fn cookies(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.view.values("cookie")
    }
}

/// The elements of a comma-separated field.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Authority and the rest of a target in absolute form.
fn absolute(target: &str) -> Option<(&str, &str)> {
    if target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((authority, if path.is_empty() { "/" } else { path }))
}

/// The client's address. `X-Forwarded-For` is read from the right, each entry written by the hop before; it is followed
/// only while that hop is trusted. An entry that is no address proves that somebody is playing: then the peer is all that
/// is known (`PROXY-07`, F8).
fn client<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a [u8]>, trusted: &[IpNet]) -> IpAddr {
    let trusts = |hop: IpAddr| trusted.iter().any(|net| net.contains(&hop));
    let peer = peer.to_canonical();
    if !trusts(peer) {
        return peer;
    }
    let entries: Vec<&[u8]> = forwarded.flat_map(elements).collect();
    let mut hop = peer;
    for entry in entries.iter().rev() {
        if !trusts(hop) {
            break;
        }
        match std::str::from_utf8(entry).ok().and_then(|text| text.parse::<IpAddr>().ok()) {
            Some(address) => hop = address.to_canonical(),
            None => return peer,
        }
    }
    hop
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(method: &'a str, target: &'a str, fields: &'a [Field<'a>]) -> View<'a> {
        View { method, target, fields, peer: "192.0.2.9:1".parse().unwrap(), certificate: None }
    }

    fn read(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<(String, String), Unreadable> {
        let fields: Vec<Field<'_>> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        view(method, target, &fields).read(&[]).map(|asked| {
            (
                asked.port.map_or(asked.host.to_string(), |port| format!("{}:{port}", asked.host)),
                asked.target.forwarded().into_owned(),
            )
        })
    }

    const HOST: (&str, &str) = ("host", "a.example");

    #[test]
    fn proxy_15_methods() {
        for method in ["GET", "PROPFIND", "M-SEARCH"] {
            assert!(read(method, "/", &[HOST]).is_ok(), "{method}");
        }
        for method in ["CONNECT", "TRACE", "get", "G ET", "", "GÉT"] {
            assert_eq!(read(method, "/", &[HOST]), Err(Unreadable::Method), "{method}");
        }
        assert!(read("OPTIONS", "*", &[HOST]).is_err());
    }

    #[test]
    fn proxy_16_one_host() {
        assert_eq!(read("GET", "/", &[("host", "A.Example.:8443")]).unwrap().0, "a.example:8443");
        assert_eq!(read("GET", "http://A.example/x?y", &[HOST]).unwrap().1, "/x?y");
        assert_eq!(read("GET", "http://a.example", &[HOST]).unwrap().1, "/");
        for fields in [&[][..], &[HOST, HOST], &[HOST, ("Host", "b.example")]] {
            assert_eq!(read("GET", "/", fields), Err(Unreadable::Host));
        }
        for host in ["", "a b", "a,b", "u@a.example", "a.example\0", "a.example/x", "[::1]"] {
            assert!(read("GET", "/", &[("host", host)]).is_err(), "{host:?}");
        }
        for target in [
            "http://b.example/",
            "http://a.example:1/",
            "http://u@a.example/",
            "ftp://a.example/",
            "http:///",
            "a.example",
            "//",
        ] {
            let fields = [("host", "a.example:80")];
            assert!(read("GET", target, &fields).is_err() || target == "//", "{target}");
        }
    }

    #[test]
    fn proxy_13_framing_is_one_thing() {
        for good in [&[HOST][..], &[HOST, ("content-length", "0")], &[HOST, ("Transfer-Encoding", "Chunked")]]
        {
            assert!(read("POST", "/", good).is_ok());
        }
        let (length, chunked) = (("content-length", "5"), ("transfer-encoding", "chunked"));
        for wrong in [
            &[HOST, length, chunked][..],
            &[HOST, length, length],
            &[HOST, chunked, chunked],
            &[HOST, ("content-length", "5, 5")],
            &[HOST, ("content-length", "+5")],
            &[HOST, ("content-length", "")],
            &[HOST, ("transfer-encoding", "gzip, chunked")],
            &[HOST, ("transfer-encoding", "x")],
            &[HOST, ("transfer-encoding", "chunked\u{b}")],
        ] {
            assert_eq!(read("POST", "/", wrong), Err(Unreadable::Framing), "{wrong:?}");
        }
        for (fields, words) in [
            (&[length, chunked][..], "Content-Length beside Transfer-Encoding"),
            (&[length, length], "more than one Content-Length"),
            (&[("content-length", "+5")], "Content-Length is no plain number"),
            (&[("transfer-encoding", "x")], "Transfer-Encoding is not chunked alone"),
        ] {
            let fields: Vec<Field<'_>> =
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let said = view("POST", "/", &fields).words_for(Unreadable::Framing);
            assert!(said.starts_with(words), "{said}");
        }
        assert_eq!(read("POST", "/", &[HOST, ("expect", "200-ok")]), Err(Unreadable::Expectation));
        let many: Vec<(&str, &str)> = std::iter::once(HOST).chain((0..100).map(|_| ("x", "y"))).collect();
        assert_eq!(read("GET", "/", &many), Err(Unreadable::Fields));
    }

    #[test]
    fn f8_proxy_07_the_address_is_the_last_hop_that_nobody_of_ours_vouches_for() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let from = |peer: &str, lines: &[&str]| {
            client(peer.parse().unwrap(), lines.iter().map(|line| line.as_bytes()), &trusted).to_string()
        };
        assert_eq!(from("192.0.2.9", &["203.0.113.1"]), "192.0.2.9");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 203.0.113.1"]), "203.0.113.1");
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "203.0.113.1, 10.0.0.2"]), "203.0.113.1");
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(from("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        for garbage in ["unknown", "", "203.0.113.1:80", "203.0.113.1, _x", "1.2.3", "203.0.113.1,"] {
            assert_eq!(from("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage}");
        }
        assert_eq!(from("10.0.0.1", &["garbage, 203.0.113.1"]), "203.0.113.1");
    }
}
