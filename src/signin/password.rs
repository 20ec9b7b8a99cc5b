//! The password step, and changing a password.

use crate::access::principal;
use crate::crypto::password_hash::{self, Verdict};
use crate::domain::login::{Proven, Purpose, Stage};
use crate::domain::session::FirstFactor;
use crate::domain::{Actor, AuditEvent, Outcome, Password, SessionId, Status, User, UserId};
use crate::protocol::password::Broken;
use crate::session::Visit;
use crate::store::flows::Flow;
use crate::store::{audit, credentials, throttles, users};

use super::flow::named;
use super::step::Step;
use super::throttle::{About, source};
use super::{SignIn, SignInError};

impl SignIn {
    /// Checks a password for the name of a flow, and moves the flow on. Whoever the name belongs to, one hash is computed
    /// and the same queries run.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] for every reason that lies with the person, the account or the password.
    pub async fn password(
        &self,
        flow: &Flow,
        password: &Password,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        let Stage::Named { identifier } = &flow.stage else { return Err(SignInError::Stale) };
        let user = named(&mut self.db.read().await?, identifier).await?;
        let about = match &user {
            Some(user) => About::Account(user.id),
            None => About::Nobody(self.keys.web.name_tag(identifier)),
        };
        let refused = failure("signin.password", Outcome::Refused, user.as_ref(), visit);
        let Some(counted) = self.count_password(&about, Some(identifier), refused, visit).await? else {
            // Stopped by what others tried under another name of the same account: as wrong as an unknown name, and as slow.
            self.check(None, password, visit).await?;
            return Err(SignInError::Wrong);
        };
        let id = user.as_ref().map(|user| user.id);
        // Before the hash is read: what changes after this makes the proof worthless.
        let unknown = UserId::mint(visit.now, visit.chance);
        let epoch = users::epoch(&mut self.db.read().await?, id.unwrap_or(unknown)).await?;
        let (verdict, hash) = self.check(id, password, visit).await?;
        let proven = match (&user, epoch) {
            (Some(user), Some(epoch))
                if verdict != Verdict::Wrong && user.status_at(visit.now) == Status::Active =>
            {
                Proven::first(user.id, FirstFactor::Password, epoch, visit.now)
            }
            _ => {
                self.ledger.leave(failure("signin.password", Outcome::Failed, user.as_ref(), visit));
                return Err(SignInError::Wrong);
            }
        };
        // Hashed anew before the transaction: SQLite has one writer, and this takes long.
        let better = match (verdict, hash) {
            (Verdict::RightButOld, Some(old)) => Some((old, self.hash(password, visit).await?)),
            _ => None,
        };
        let mut conn = self.db.read().await?;
        let proven = match self.raised_level(&mut conn, flow, &proven, visit).await {
            Ok(None) => proven,
            // Raising a session: the second factor that it has goes on counting.
            Ok(Some(level)) => match level.second {
                Some((second, at)) => proven.with_second(second, at),
                None => proven,
            },
            // Somebody else's password in somebody's session.
            Err(SignInError::Stale) => return Err(SignInError::Wrong),
            Err(other) => return Err(other),
        };
        drop(conn);
        let mut tx = self.db.begin().await?;
        counted.right(&mut tx, visit.now).await?;
        let user = proven.user();
        if let Some((old, new)) = better {
            credentials::rehash(&mut tx, user, &old, &new).await?;
        }
        let event = AuditEvent::new(Actor::User(user), "signin.password", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        let step = self.move_on(&mut tx, flow, proven, visit).await?;
        if matches!(step, Step::Done { .. }) {
            throttles::know(&mut tx, user, &source(visit.address), visit.now).await?;
        }
        tx.commit(visit.now).await?;
        Ok(step)
    }

    /// One hash, whether or not there is a password to check against.
    async fn check(
        &self,
        user: Option<UserId>,
        password: &Password,
        visit: &Visit<'_>,
    ) -> Result<(Verdict, Option<String>), SignInError> {
        let id = user.unwrap_or_else(|| UserId::mint(visit.now, visit.chance));
        let hash = credentials::password(&mut self.db.read().await?, id).await?.map(|(hash, _)| hash);
        let (password, copy) = (password.clone(), hash.clone());
        let verdict = self.hashing.run(move || password_hash::verify(&password, copy.as_deref())).await?;
        Ok((verdict, hash))
    }

    /// Whether it is the password that somebody has.
    pub(super) async fn is_present(
        &self,
        user: UserId,
        password: &Password,
        visit: &Visit<'_>,
    ) -> Result<bool, SignInError> {
        let (verdict, _) = self.check(Some(user), password, visit).await?;
        Ok(verdict != Verdict::Wrong)
    }

    async fn hash(&self, password: &Password, visit: &Visit<'_>) -> Result<String, SignInError> {
        let password = password.clone();
        let salt = Salt(visit.chance.bytes::<16>());
        Ok(self.hashing.run(move || password_hash::hash(&password, &salt)).await??)
    }

    /// What is wrong with a new password for somebody; empty when nothing is.
    #[must_use]
    pub fn unfit(
        &self,
        password: &Password,
        (username, name): (&str, &str),
        email: Option<&str>,
    ) -> Vec<Broken> {
        let own = [Some(username), Some(name), email, Some(self.settings.issuer.as_str())];
        self.settings.policy.broken(password, &own.into_iter().flatten().collect::<Vec<_>>())
    }

    /// Sets the new password that a flow owes.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the flow does not owe one; [`SignInError::Same`] when it is the present one, which
    /// somebody else knows.
    pub async fn forced_change(
        &self,
        flow: &Flow,
        password: &Password,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        let Stage::Proven(proven) = flow.stage.clone() else { return Err(SignInError::Stale) };
        if self.owes(flow, visit).await? != Some(crate::domain::login::Owed::NewPassword) {
            return Err(SignInError::Stale);
        }
        let (verdict, _) = self.check(Some(proven.user()), password, visit).await?;
        if verdict != Verdict::Wrong {
            return Err(SignInError::Same);
        }
        let hash = self.hash(password, visit).await?;
        let keep = match flow.purpose {
            Purpose::StepUp { session } => Some(session),
            Purpose::Link { .. } | Purpose::SignIn => None,
        };
        let mut tx = self.db.begin().await?;
        if users::hold_epoch(&mut tx, proven.user()).await? != Some(proven.epoch()) {
            return Err(SignInError::Stale);
        }
        self.write_password(&mut tx, proven.user(), &hash, keep, visit).await?;
        let epoch = users::epoch(&mut tx, proven.user()).await?.ok_or(SignInError::Stale)?;
        let step = self.move_on(&mut tx, flow, proven.in_epoch(epoch).with_new_password(), visit).await?;
        tx.commit(visit.now).await?;
        Ok(step)
    }

    /// Changes somebody's own password, after the present one. Other sessions end if asked; the portal's token is renewed
    /// in any case.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] when the present password is not right, [`SignInError::Same`] when the new one is the same.
    pub async fn change_password(
        &self,
        (user, session): (UserId, SessionId),
        current: &Password,
        new: &Password,
        end_others: bool,
        visit: &Visit<'_>,
    ) -> Result<crate::crypto::token::Token, SignInError> {
        let event = |outcome| {
            AuditEvent::new(Actor::User(user), "password.change", outcome)
                .on("user", user)
                .session(session)
                .from(Some(visit.address))
        };
        let counted = self
            .count_password(&About::Account(user), None, event(Outcome::Refused), visit)
            .await?
            .ok_or(SignInError::Wrong)?;
        let epoch = users::epoch(&mut self.db.read().await?, user).await?;
        let (verdict, _) = self.check(Some(user), current, visit).await?;
        if verdict == Verdict::Wrong {
            self.ledger.leave(event(Outcome::Failed));
            return Err(SignInError::Wrong);
        }
        if current.expose() == new.expose() {
            let mut tx = self.db.begin().await?;
            counted.right(&mut tx, visit.now).await?;
            tx.commit(visit.now).await?;
            return Err(SignInError::Same);
        }
        let hash = self.hash(new, visit).await?;
        let mut tx = self.db.begin().await?;
        if users::hold_epoch(&mut tx, user).await? != epoch {
            return Err(SignInError::Stale);
        }
        counted.right(&mut tx, visit.now).await?;
        if end_others {
            self.write_password(&mut tx, user, &hash, Some(session), visit).await?;
        } else {
            self.write_hash(&mut tx, user, &hash, visit).await?;
        }
        let token = self.sessions.renew_in(&mut tx, session, &self.settings.portal_host, visit).await?;
        let token = token.ok_or(SignInError::Stale)?;
        tx.commit(visit.now).await?;
        Ok(token)
    }

    /// Writes a password and ends every session but one.
    pub(super) async fn write_password(
        &self,
        tx: &mut crate::store::Tx,
        user: UserId,
        hash: &str,
        keep: Option<SessionId>,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        self.write_hash(tx, user, hash, visit).await?;
        crate::store::sessions::end_of(tx, user, keep, "password changed", visit.now).await?;
        Ok(())
    }

    async fn write_hash(
        &self,
        tx: &mut crate::store::Tx,
        user: UserId,
        hash: &str,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        credentials::set_password(tx, user, hash, visit.now).await?;
        users::set_must_change(tx, user, false).await?;
        let event = AuditEvent::new(Actor::User(user), "password.set", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(tx, &event, visit.now, visit.chance).await?;
        Ok(())
    }

    /// Hashes a new password, for those who write it in a transaction of their own.
    pub(super) async fn hashed(&self, password: &Password, visit: &Visit<'_>) -> Result<String, SignInError> {
        self.hash(password, visit).await
    }

    /// The person of a session, as records have them now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn person(
        &self,
        user: UserId,
        visit: &Visit<'_>,
    ) -> Result<Option<principal::Principal>, SignInError> {
        let snapshot = self.snapshot.load_full();
        let mut conn = self.db.read().await?;
        Ok(principal::load(&mut conn, user, &snapshot, visit.now).await?)
    }
}

/// A try that came to nothing, for the audit log. The name that was typed is not kept: people type passwords there.
fn failure(action: &'static str, outcome: Outcome, user: Option<&User>, visit: &Visit<'_>) -> AuditEvent {
    let event = AuditEvent::new(Actor::Anonymous, action, outcome).from(Some(visit.address));
    match user {
        Some(user) => event
            .on("user", user.id)
            .with("username", &user.username)
            .with("status", user.status_at(visit.now).as_str()),
        None => event.with("why", "unknown name"),
    }
}

/// Chance that was drawn before the work went to another thread.
struct Salt([u8; 16]);

impl crate::domain::Chance for Salt {
    fn fill(&self, into: &mut [u8]) {
        for (to, from) in into.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
    }
}
