//! Signing out at the provider when somebody signs out here, and here when the provider says so.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::SignIn;
use super::provider_session::{MARKED, Mark};
use super::throttle::source;
use crate::crypto::digest::sha256;
use crate::domain::provider::Provider;
use crate::domain::{Actor, AuditEvent, Outcome, SessionId, Span, Timestamp};
use crate::federation::{Kept, Trouble};
use crate::protocol::oidc::{About, EndSession, LogoutToken, Refused};
use crate::session::Visit;
use crate::store::{DbError, audit, provider_sessions, sessions};

use super::SignInError;

/// The provider that a session came from.
pub struct Elsewhere {
    provider: Arc<Provider>,
    kept: Kept,
}

impl Elsewhere {
    /// What people call it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.provider.label
    }

    /// Whether signing out can go on there.
    #[must_use]
    pub fn can_be_ended(&self) -> bool {
        self.provider.sign_out && self.kept.can_be_ended()
    }
}

/// Why a provider's logout ended nothing.
#[derive(Debug)]
pub enum NotEnded {
    /// Something of ours failed.
    Failed,
    /// The token is not right. The audit log has the cause.
    Refused,
    /// Too many such tokens came from there.
    Throttled(Span),
    /// There is no provider of that name.
    Unknown,
}

impl SignIn {
    /// The provider that a session came from, before it ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn elsewhere(&self, session: SessionId) -> Result<Option<Elsewhere>, SignInError> {
        let all = provider_sessions::of(&mut self.db.read().await?, session).await?;
        for at in &all {
            if let Some(provider) = self.federation.named(at.provider.as_str()) {
                // What does not open is no reason to stay signed in.
                let kept = self.opened(at).unwrap_or_default();
                return Ok(Some(Elsewhere { provider, kept }));
            }
        }
        Ok(None)
    }

    /// Where the browser signs out at the provider; `state` comes back with it. `None` when the provider has no such page, or
    /// does not say so now.
    pub async fn end_session(&self, at: &Elsewhere, state: &str, visit: &Visit<'_>) -> Option<String> {
        if !at.can_be_ended() {
            return None;
        }
        let metadata = match self.federation.metadata(&at.provider, visit.now).await {
            Ok(metadata) => metadata,
            Err(trouble) => {
                tracing::warn!(provider = %at.provider.name, %trouble, "nobody can be signed out at the provider now");
                return None;
            }
        };
        let to = EndSession {
            endpoint: metadata.end_session_endpoint.as_deref()?,
            client_id: &at.provider.client_id,
            id_token_hint: at.kept.id_token_hint(),
            post_logout_redirect_uri: &format!("{}/signed-out", self.settings.portal_origin),
            state,
        };
        Some(to.address())
    }

    /// Ends the sessions that a provider's logout token is about; how many (Back-Channel Logout §2.6, §2.7). A provider that
    /// is switched off is heard: this only ends what it began.
    ///
    /// # Errors
    /// See [`NotEnded`].
    pub async fn logged_out(&self, name: &str, raw: &str, visit: &Visit<'_>) -> Result<usize, NotEnded> {
        let provider = self.federation.named(name).filter(|it| it.saml.is_none()).ok_or(NotEnded::Unknown)?;
        if let Some(wait) = self.logouts.wait(visit.address, visit.now) {
            return Err(NotEnded::Throttled(wait));
        }
        let failed = |error: DbError| {
            tracing::error!(provider = %provider.name, %error, "a provider's logout could not be carried out");
            NotEnded::Failed
        };
        let token = self.federation.logout_token(&provider, raw, visit.now).await;
        let trouble = match token {
            Ok(token) => match self.end_named(&provider, &token, visit).await.map_err(failed)? {
                Some(ended) => return Ok(ended),
                None => Trouble::Refused(Refused::by("logout token jti", "it was used before")),
            },
            Err(trouble) => trouble,
        };
        let (check, detail) = (trouble.check(), trouble.detail());
        tracing::warn!(provider = %provider.name, check, detail, "a logout token was not taken");
        let event = AuditEvent::new(Actor::Anonymous, "session.end-by-provider", Outcome::Refused)
            .on("provider", &provider.name)
            .with("check", check)
            .with("why", detail)
            .from(Some(visit.address));
        self.ledger.leave(event);
        if matches!(trouble, Trouble::Refused(_)) {
            self.logouts.refused(visit.address, visit.now);
        }
        Err(NotEnded::Refused)
    }

    /// Ends what a token is about, and spends it; `None` when it was spent.
    async fn end_named(
        &self,
        provider: &Provider,
        token: &LogoutToken,
        visit: &Visit<'_>,
    ) -> Result<Option<usize>, DbError> {
        let (name, now, until) = (&provider.name, visit.now, visit.now + MARKED);
        let mut tx = self.db.begin().await?;
        let jti = sha256(format!("jti\n{name}\n{}", token.jti()).as_bytes());
        if !provider_sessions::spend(&mut tx, &jti, now, until).await? {
            return Ok(None);
        }
        for mark in Mark::of(token.about()) {
            provider_sessions::mark(&mut tx, &mark.digest(name), now, until).await?;
        }
        let (found, about) = match token.about() {
            About::Session { sid, subject } => {
                let found = provider_sessions::of_sid(&mut tx, name, sid, subject.as_deref()).await?;
                (found, "one session")
            }
            About::Subject(subject) => {
                (provider_sessions::of_subject(&mut tx, name, subject).await?, "every session of somebody")
            }
        };
        let why = format!("signed out at {}", provider.label);
        let mut ended = 0;
        for session in found {
            if sessions::end(&mut tx, session, &why, now).await? {
                ended += 1;
                let event = AuditEvent::new(Actor::System, "session.end", Outcome::Done)
                    .on("session", session)
                    .session(session)
                    .from(Some(visit.address))
                    .with("why", &why);
                audit::write(&mut tx, &event, now, visit.chance).await?;
            }
        }
        let event = AuditEvent::new(Actor::System, "session.end-by-provider", Outcome::Done)
            .on("provider", name)
            .with("about", about)
            .with("ended", ended)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, now, visit.chance).await?;
        tx.commit(now).await?;
        Ok(Some(ended))
    }
}

/// Logout tokens that were not taken, by source: anybody may send some, and each costs a look at a signature. Kept in memory,
/// so that strangers write nothing to the database.
#[derive(Default)]
pub struct Strangers(Mutex<HashMap<String, (Timestamp, u32)>>);

/// So many are looked at…
const FREE: u32 = 20;
/// …in so long.
const WINDOW: Span = Span::minutes(1);
/// The most sources that are kept in mind.
const MOST: usize = 4096;

impl Strangers {
    /// How long a source must wait, if it must.
    fn wait(&self, address: IpAddr, now: Timestamp) -> Option<Span> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = *sources.get(&source(address))?;
        let left = now.until(since + WINDOW);
        (count >= FREE && left > Span::ZERO).then_some(left)
    }

    /// Counts one that was not taken.
    fn refused(&self, address: IpAddr, now: Timestamp) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MOST {
            sources.retain(|_, (since, _)| now.since(*since) < WINDOW);
        }
        let from = source(address);
        if sources.len() < MOST || sources.contains_key(&from) {
            let (since, count) = sources.entry(from).or_insert((now, 0));
            if now.since(*since) >= WINDOW {
                (*since, *count) = (now, 0);
            }
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oidc_31_who_sends_what_is_not_taken_waits_and_nobody_else() {
        let (strangers, now) = (Strangers::default(), Timestamp::from_millis(1_800_000_000_000));
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..FREE {
            assert_eq!(strangers.wait(one, now), None);
            strangers.refused(one, now);
        }
        assert_eq!(strangers.wait(one, now), Some(WINDOW));
        assert_eq!(strangers.wait(other, now), None);
        assert_eq!(strangers.wait(one, now + WINDOW), None);
        strangers.refused(one, now + WINDOW);
        assert_eq!(strangers.wait(one, now + WINDOW), None);
        // Many sources take no more memory than some.
        for n in 0..(2 * MOST) {
            let [.., a, b] = u32::try_from(n).unwrap().to_be_bytes();
            strangers.refused(IpAddr::from([10, 0, a, b]), now + WINDOW);
        }
        assert!(strangers.0.lock().unwrap().len() <= MOST);
    }
}
