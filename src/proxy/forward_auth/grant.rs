//! The yes. It says who somebody is, and leaves no field in which a client could have said it instead.

use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::access::Snapshot;
use crate::crypto::CryptoError;
use crate::proxy::answers::{Answer, Reply, answer};
use crate::proxy::policy::Passage;
use crate::proxy::view::Asked;
use crate::proxy::{hygiene, identity};
use crate::ui::headers;

/// Why there is no yes for somebody who may pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untold {
    /// The route's headers say nothing about this person, so the app would take them for nobody.
    #[error("none of the route's headers has anything to say about this person")]
    Nobody,
    /// The identity cannot be signed.
    #[error("an assertion could not be signed: {0}")]
    Unsigned(#[from] CryptoError),
    /// The identity cannot be written.
    #[error("a header of ours cannot be written: {0}")]
    Unwritable(#[from] http::Error),
}

/// Answers yes, with every field that carries identity on any route: those of this person, the others empty.
///
/// # Errors
/// When it could not say who it is. Only a public rule lets somebody through as nobody (F66).
pub(super) fn yes(
    reply: Reply<'_>,
    passage: &Passage<'_>,
    snapshot: &Snapshot,
    asked: &Asked<'_>,
) -> Result<Answer, Untold> {
    let mut fields = HeaderMap::with_capacity(32);
    for name in snapshot.carries_identity() {
        fields.insert(name_of(name.as_bytes())?, HeaderValue::from_static(""));
    }
    if passage.record().is_some() {
        let block = passage.identity(reply.gate, reply.now)?.unwrap_or_default();
        if identity::lines(&block).next().is_none() && !passage.route().spec.headers.headers.is_empty() {
            return Err(Untold::Nobody);
        }
        for (name, value) in identity::lines(&block) {
            fields.insert(name_of(name)?, value_of(value)?);
        }
    }
    fields.insert("cardea-request-id", value_of(reply.request_id.as_bytes())?);
    // Ours taken out: the guarding proxy can put this in the place of what the client sent.
    fields.insert(COOKIE, value_of(&hygiene::cookies(&asked.view))?);
    let mut answer = answer(200, "", &[headers::NO_STORE]);
    answer.headers_mut().extend(fields);
    Ok(answer)
}

fn name_of(name: &[u8]) -> Result<HeaderName, http::Error> {
    Ok(HeaderName::from_bytes(name)?)
}

fn value_of(value: &[u8]) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::from_bytes(value)?;
    value.set_sensitive(true);
    Ok(value)
}
