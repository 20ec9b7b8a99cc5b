//! Where a sign-in goes back to, sealed into the address that leads to it.
//!
//! Sealed, so that nobody makes the portal send people elsewhere; in the address, so that strangers who are sent to sign in
//! leave nothing behind in the database.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::crypto::Keyring;
use crate::domain::{Chance, Span, Timestamp};

/// The place under which it is sealed.
const PLACE: &str = "return-to";
/// How long it may be followed.
pub const LIFE: Span = Span::hours(1);
/// The most characters of the sealed form. Some proxies cut addresses not far above.
pub const MOST: usize = 2048;

/// Where to go back to, in which browser, and what must have been proven by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnTo {
    /// `https://wiki.example.com/page?x=1`: origin, canonical path and query. The host was a route's when this was sealed;
    /// whoever opens it asks whether it still is.
    pub url: String,
    /// The digest of the cookie that ties the hand-off to the browser, at that host.
    pub browser: [u8; 32],
    /// The first factor must be given again, even by somebody who is signed in.
    pub again: bool,
    /// A second factor must be given.
    pub second: bool,
    /// The second factor must be given anew, unless it was given less than so long ago.
    pub fresh: Option<Span>,
    /// When it was sealed.
    pub issued_at: Timestamp,
}

impl ReturnTo {
    /// Scheme, host and port: where `/.cardea/callback` is.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.url.get(..self.path_at()).unwrap_or_default()
    }

    /// The host without its port, as sessions and hand-offs are bound to it.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.origin().split_once("://").map_or("", |(_, authority)| authority);
        authority.split_once(':').map_or(authority, |(host, _)| host)
    }

    /// Path and query: what a hand-off carries.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.get(self.path_at()..).filter(|path| !path.is_empty()).unwrap_or("/")
    }

    fn path_at(&self) -> usize {
        let authority = self.url.find("://").map_or(0, |at| at + 3);
        self.url.get(authority..).and_then(|rest| rest.find('/')).map_or(self.url.len(), |at| authority + at)
    }
}

/// Seals. `None` when it would be longer than [`MOST`]; the caller then takes a shorter address.
#[must_use]
pub fn seal(keys: &Keyring, to: &ReturnTo, chance: &dyn Chance) -> Option<String> {
    let plain = serde_json::to_vec(to).ok()?;
    let sealed = keys.web.address.seal(PLACE, &plain, chance).ok()?;
    let text = URL_SAFE_NO_PAD.encode(sealed);
    (text.len() <= MOST).then_some(text)
}

/// Opens what [`seal`] made; `None` for anything else, and when it is older than [`LIFE`].
#[must_use]
pub fn open(keys: &Keyring, text: &str, now: Timestamp) -> Option<ReturnTo> {
    if text.len() > MOST {
        return None;
    }
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let plain = keys.web.address.open(PLACE, &sealed).ok()?;
    let to: ReturnTo = serde_json::from_slice(plain.expose()).ok()?;
    let web = to.url.starts_with("https://") || to.url.starts_with("http://");
    let timely = to.issued_at <= now && now < to.issued_at + LIFE;
    (web && timely && !to.host().is_empty()).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keyring::{ASSERTION_TYPE, AssertionKeys, WebKeys};
    use crate::crypto::seal::Sealer;
    use crate::crypto::signing::SigningKey;
    use crate::domain::Secret;
    use crate::sys::OsChance;

    fn keys(secret: u8) -> Keyring {
        let signing =
            SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), ASSERTION_TYPE).unwrap();
        let web = WebKeys::derive(&Secret::new(vec![secret; 32])).unwrap();
        Keyring::new(Sealer::new(&[1; 32], &[]).unwrap(), web, AssertionKeys::new(signing, Vec::new()))
    }

    fn to(url: &str) -> ReturnTo {
        let issued_at = Timestamp::from_millis(1_000_000);
        ReturnTo {
            url: url.into(),
            browser: [7; 32],
            again: false,
            second: true,
            fresh: Some(Span::minutes(5)),
            issued_at,
        }
    }

    #[test]
    fn f9_only_what_we_sealed_opens_and_only_for_an_hour() {
        let (keys, other, to) = (keys(1), keys(2), to("https://wiki.example.com:8443/a?b=c"));
        let sealed = seal(&keys, &to, &OsChance).unwrap();
        assert_eq!(open(&keys, &sealed, to.issued_at).unwrap(), to);
        assert!(open(&keys, &sealed, to.issued_at + LIFE).is_none());
        assert!(open(&keys, &sealed, to.issued_at - Span::seconds(1)).is_none());
        assert!(open(&other, &sealed, to.issued_at).is_none());
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(open(&keys, std::str::from_utf8(&forged).unwrap(), to.issued_at).is_none(), "{at}");
        }
        for wrong in ["", "https://evil.example/", "AAAA", &"A".repeat(5000)] {
            assert!(open(&keys, wrong, to.issued_at).is_none(), "{wrong}");
        }
        let elsewhere =
            keys.web.address.seal("another-place", &serde_json::to_vec(&to).unwrap(), &OsChance).unwrap();
        assert!(open(&keys, &URL_SAFE_NO_PAD.encode(elsewhere), to.issued_at).is_none());
    }

    #[test]
    fn an_address_comes_apart() {
        let parts = |url| {
            let to = to(url);
            (to.origin().to_owned(), to.host().to_owned(), to.path().to_owned())
        };
        let texts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("https://a.example/x?y=/z"), texts("https://a.example", "a.example", "/x?y=/z"));
        assert_eq!(parts("http://a.localhost:8600"), texts("http://a.localhost:8600", "a.localhost", "/"));
        assert_eq!(
            parts("https://a.example//evil.example"),
            texts("https://a.example", "a.example", "//evil.example")
        );
    }

    #[test]
    fn too_long_is_not_sealed() {
        let keys = keys(1);
        assert!(seal(&keys, &to(&format!("https://a.example/{}", "x".repeat(1000))), &OsChance).is_some());
        assert!(seal(&keys, &to(&format!("https://a.example/{}", "x".repeat(2000))), &OsChance).is_none());
    }
}
