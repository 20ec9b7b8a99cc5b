//! What a session is at the provider that it came from: kept sealed in the flow while the sign-in still owes something, and
//! beside the session from then on.
//!
//! A logout at the provider may come while a sign-in is under way. Both hold the same marks: the logout comes before, and the
//! sign-in ends there, or after, and finds the session.

use serde::{Deserialize, Serialize};

use super::{SignIn, SignInError};
use crate::crypto::CryptoError;
use crate::crypto::digest::sha256;
use crate::domain::provider::Provider;
use crate::domain::{SessionId, Slug, Span, Timestamp};
use crate::federation::{Identity, Kept};
use crate::protocol::oidc::About;
use crate::session::Visit;
use crate::store::Tx;
use crate::store::flows::{self, Flow};
use crate::store::provider_sessions::{self, ProviderSession, seal_place};

/// Where it is sealed in a flow.
const SEALED_AT: &str = "flows/vouched";
/// How long a logout is kept in mind: longer than a sign-in may take.
pub(super) const MARKED: Span = Span::hours(1);

/// What a provider vouched for, as far as it matters after the sign-in.
#[derive(Serialize, Deserialize)]
pub(super) struct Vouched {
    provider: Slug,
    subject: String,
    sid: Option<String>,
    at: Timestamp,
    kept: Kept,
}

/// Which logouts end a session: by its name at the provider, or, if it has none, by any that names its person; and by every
/// logout of the person as a whole.
pub(super) enum Mark<'a> {
    /// Every session of somebody.
    Everything(&'a str),
    /// A session by name.
    Named(&'a str),
    /// The sessions of somebody that have no name.
    Nameless(&'a str),
}

impl Mark<'_> {
    pub(super) fn digest(&self, provider: &Slug) -> [u8; 32] {
        let (kind, text) = match self {
            Mark::Everything(subject) => ("sub", subject),
            Mark::Named(sid) => ("sid", sid),
            Mark::Nameless(subject) => ("nameless", subject),
        };
        // No name of a provider, and no kind, has a line break in it.
        sha256(format!("{kind}\n{provider}\n{text}").as_bytes())
    }

    /// What a logout marks.
    pub(super) fn of(about: &About) -> Vec<Mark<'_>> {
        match about {
            About::Session { sid, subject } => {
                let nameless = subject.as_deref().map(Mark::Nameless);
                std::iter::once(Mark::Named(sid)).chain(nameless).collect()
            }
            About::Subject(subject) => vec![Mark::Everything(subject)],
        }
    }
}

impl SignIn {
    /// Keeps what a provider vouched for until the session is there.
    pub(super) async fn vouch(
        &self,
        tx: &mut Tx,
        flow: &Flow,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let vouched = Vouched {
            provider: provider.name.clone(),
            subject: identity.subject.clone(),
            sid: identity.sid().map(str::to_owned),
            at: identity.at,
            kept: identity.kept.clone(),
        };
        let sealed = self.keys.sealer.seal(SEALED_AT, &written(&vouched)?, visit.chance)?;
        flows::keep_vouched(tx, &flow.digest, Some(&sealed)).await?;
        Ok(())
    }

    /// What a provider vouched for in a flow that comes to its end, if one did.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the person was signed out there meanwhile.
    pub(super) async fn came_from(
        &self,
        tx: &mut Tx,
        flow: &Flow,
        visit: &Visit<'_>,
    ) -> Result<Option<Vouched>, SignInError> {
        let Some(sealed) = flows::vouched(tx, &flow.digest).await? else { return Ok(None) };
        let opened = self.keys.sealer.open(SEALED_AT, &sealed)?;
        let vouched: Vouched = serde_json::from_slice(opened.expose()).map_err(|_| SignInError::Stale)?;
        let own = match &vouched.sid {
            Some(sid) => Mark::Named(sid),
            None => Mark::Nameless(&vouched.subject),
        };
        for mark in [Mark::Everything(&vouched.subject), own] {
            let digest = mark.digest(&vouched.provider);
            if provider_sessions::hold(tx, &digest, visit.now + MARKED).await? >= vouched.at {
                return Err(SignInError::Stale);
            }
        }
        Ok(Some(vouched))
    }

    /// Notes where a session came from.
    pub(super) async fn attach(
        &self,
        tx: &mut Tx,
        flow: &Flow,
        session: SessionId,
        vouched: Vouched,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let Vouched { provider, subject, sid, at, kept } = vouched;
        let follow = self.federation.named(provider.as_str()).and_then(|provider| provider.follow);
        let due_at = follow.filter(|_| kept.can_be_followed()).map(|follow| at + follow.every);
        let tokens = self.sealed(&kept, session, &provider, visit)?;
        let at = ProviderSession { session, provider, subject, sid, tokens, confirmed_at: at, due_at };
        provider_sessions::put(tx, &at).await?;
        flows::keep_vouched(tx, &flow.digest, None).await?;
        Ok(())
    }

    /// Tokens as they are kept beside a session.
    pub(super) fn sealed(
        &self,
        kept: &Kept,
        session: SessionId,
        provider: &Slug,
        visit: &Visit<'_>,
    ) -> Result<Option<Vec<u8>>, SignInError> {
        if kept.is_empty() {
            return Ok(None);
        }
        let place = seal_place(session, provider);
        Ok(Some(self.keys.sealer.seal(&place, &written(kept)?, visit.chance)?))
    }

    /// The tokens that are kept beside a session.
    pub(super) fn opened(&self, at: &ProviderSession) -> Result<Kept, SignInError> {
        let Some(sealed) = &at.tokens else { return Ok(Kept::default()) };
        let opened = self.keys.sealer.open(&seal_place(at.session, &at.provider), sealed)?;
        serde_json::from_slice(opened.expose()).map_err(|_| CryptoError::Unsealable.into())
    }
}

fn written(value: &impl Serialize) -> Result<Vec<u8>, SignInError> {
    serde_json::to_vec(value).map_err(|_| CryptoError::Failed.into())
}
