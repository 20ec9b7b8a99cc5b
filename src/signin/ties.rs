//! Ties between an account and identities at providers, made and cut by whoever the account belongs to.
//!
//! A tie opens the account to whoever the provider calls by that subject. So it is made from the account's own session only,
//! freshly proven, bound to this browser and that session (`F53`); and never where another account has the identity.

use crate::access::{Principal, principal};
use crate::crypto::token::Token;
use crate::domain::login::Purpose;
use crate::domain::provider::{Provider, Provision};
use crate::domain::{
    AccountKind, Actor, AuditEvent, EmailAddress, Origin, Outcome, SessionId, Slug, Timestamp, UserId,
};
use crate::federation::Identity;
use crate::session::Visit;
use crate::store::{Tx, audit, credentials, identities, sessions, users};

use super::federated::{Departure, Halt};
use super::provision::{self, Arrival};
use super::step::live_level;
use super::{SignIn, SignInError};

/// A provider, for the page of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// Its name.
    pub provider: Slug,
    /// Its name for people.
    pub label: String,
    /// Since when the account is tied to it; `None` when it can be.
    pub since: Option<Timestamp>,
}

impl SignIn {
    /// The providers that somebody's account is tied to, and those that it can be tied to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ties(&self, who: &Principal, visit: &Visit<'_>) -> Result<Vec<Tie>, SignInError> {
        let mut conn = self.db.read().await?;
        let tied = identities::ties_of(&mut conn, who.user).await?;
        let mut ties = Vec::new();
        for provider in self.federation.providers().iter() {
            let since = tied.iter().find(|(name, _)| *name == provider.name.as_str()).map(|(_, at)| *at);
            let offered = since.is_some()
                || (self.may_be_tied(provider, who).is_ok()
                    && self.still_in_force(&mut conn, provider.name.as_str(), visit).await?);
            if offered {
                let (name, label) = (provider.name.clone(), provider.label.clone());
                ties.push(Tie { provider: name, label, since });
            }
        }
        Ok(ties)
    }

    /// Sends somebody to a provider to say who they are there. The caller has asked for a fresh proof.
    ///
    /// # Errors
    /// As [`SignIn::depart`]; [`SignInError::Stale`] when this account cannot be tied to it.
    pub async fn depart_to_tie(
        &self,
        provider: &Slug,
        (who, session): (&Principal, SessionId),
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<String, SignInError> {
        let ties = self.ties(who, visit).await?;
        if !ties.iter().any(|tie| tie.provider == *provider && tie.since.is_none()) {
            return Err(SignInError::Stale);
        }
        let to = Departure {
            provider: provider.as_str(),
            purpose: Purpose::Link { session },
            return_to: "/me/security",
            login_hint: None,
            anew: false,
        };
        self.depart(&to, browser, visit).await
    }

    /// Whether an account may be tied to a provider: one of everybody, or of a tenant that the person belongs to; and no
    /// administrator of more to the provider of one tenant.
    fn may_be_tied(&self, provider: &Provider, who: &Principal) -> Result<(), Halt> {
        let no = |why: &str| Err(Halt::Declined("link", format!("{} {why}", who.username)));
        if provider.provision == Provision::Off {
            return no("cannot be tied: the provider has provision = \"off\"");
        }
        let snapshot = self.snapshot.load_full();
        if let Some(slug) = &provider.tenant {
            let tenant = snapshot.tenant_named(slug).map(|tenant| tenant.id);
            if tenant.is_none_or(|tenant| who.belonging(tenant).is_none()) {
                return no("does not belong to the provider's tenant");
            }
        }
        if provision::reaches_beyond(&snapshot, provider, who) {
            return no("belongs, administers or holds something beyond the provider's tenant");
        }
        Ok(())
    }

    /// Ties what a provider vouched for to the account of the session that asked for it.
    pub(super) async fn tie(
        &self,
        tx: &mut Tx,
        session: SessionId,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<(), Halt> {
        let no = |why: String| Err(Halt::Declined("link", why));
        let asked = sessions::by_id(tx, session).await?.filter(|session| session.live_at(visit.now));
        let Some(user) = asked.map(|session| session.user) else {
            return no("the session that asked for it has ended".to_owned());
        };
        users::hold_epoch(tx, user).await?;
        let snapshot = self.snapshot.load_full();
        let who = principal::load(tx, user, &snapshot, visit.now).await.map_err(SignInError::from)?;
        let Some(who) = who.filter(Principal::active) else {
            return no("the account of the session is not active".to_owned());
        };
        self.may_be_tied(provider, &who)?;
        if let Some(known) = identities::find(tx, &provider.name, &identity.subject).await? {
            return no(format!("this subject is tied to the account {} already", known.user));
        }
        if provision::is_tied(tx, provider, user).await? {
            return no(format!("{} is tied to another subject of the provider", who.username));
        }
        let tie = identities::Identity { user, issuer: provider.issuer.clone() };
        identities::add(tx, (&provider.name, &identity.subject), &tie, visit.now).await?;
        let event = event("identity.link", user, session, &provider.name, visit);
        audit::write(tx, &event.with("subject", &identity.subject), visit.now, visit.chance).await?;
        Ok(())
    }

    /// Whether a tie must stay: somebody would be left without any way in, or the provider speaks for their address and would
    /// open the account again at its next word.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_only_way_in(&self, who: &Principal, provider: &Slug) -> Result<bool, SignInError> {
        let snapshot = self.snapshot.load_full();
        if who.memberships.iter().any(|belongs| snapshot.provider_of(belongs.tenant) == Some(provider)) {
            return Ok(true);
        }
        let speaks = self.federation.named(provider.as_str()).is_some_and(|provider| {
            let domain = who.email.as_ref().map(EmailAddress::domain);
            provider.authoritative && provider.domains.iter().any(|known| Some(known.as_str()) == domain)
        });
        if speaks && who.kind == AccountKind::User {
            return Ok(true);
        }
        let mut conn = self.db.read().await?;
        let password = credentials::password(&mut conn, who.user).await?.is_some();
        let others = identities::of(&mut conn, who.user).await?;
        Ok(!password && !others.iter().any(|(name, _)| name != provider.as_str()))
    }

    /// Cuts a tie, takes away what the provider's rules gave, and ends the other sessions; the portal's new token for this one.
    /// A session that began with that very provider ends as well. The caller has asked for a fresh proof, and whether there is
    /// another way in.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the session has ended, or there is no such tie.
    pub async fn untie(
        &self,
        (user, session): (UserId, SessionId),
        provider: &Slug,
        visit: &Visit<'_>,
    ) -> Result<Option<Token>, SignInError> {
        let mut tx = self.db.begin().await?;
        // As whoever settles a sign-in: one that finds the tie must not start a session after it was cut.
        tx.lock("lock:provision").await?;
        users::hold_epoch(&mut tx, user).await?;
        let level = live_level(&mut tx, session, user, visit).await?;
        let keep = Some(session).filter(|_| level.first.provider() != Some(provider.as_str()));
        if !identities::cut(&mut tx, provider, user).await? {
            return Err(SignInError::Stale);
        }
        let (snapshot, origin) = (self.snapshot.load_full(), Origin::Provider(provider.as_str().into()));
        let arrival = Arrival { snapshot: &snapshot, user, origin: &origin, visit };
        let lost = provision::take_away(&mut tx, arrival).await?;
        users::touch(&mut tx, user).await?;
        sessions::end_of(&mut tx, user, keep, "a provider was unlinked", visit.now).await?;
        let host = &self.settings.portal_host;
        let token = match keep {
            Some(session) => self.sessions.renew_in(&mut tx, session, host, visit).await?,
            None => None,
        };
        let event = event("identity.unlink", user, session, provider, visit).with("lost", lost.join(", "));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        tx.commit(visit.now).await?;
        Ok(token)
    }
}

fn event(
    action: &'static str,
    user: UserId,
    session: SessionId,
    provider: &Slug,
    visit: &Visit<'_>,
) -> AuditEvent {
    AuditEvent::new(Actor::User(user), action, Outcome::Done)
        .on("user", user)
        .session(session)
        .with("provider", provider)
        .from(Some(visit.address))
}
