//! The second factor: a code of the authenticator, or a recovery code.

use crate::domain::ids::Id as _;
use crate::domain::login::{Owed, Proven, Stage};
use crate::domain::session::SecondFactor;
use crate::domain::{Actor, AuditEvent, Outcome, UserId};
use crate::protocol::recovery_code;
use crate::protocol::totp::Seed;
use crate::session::Visit;
use crate::store::credentials::{self, Factor};
use crate::store::flows::Flow;
use crate::store::{audit, throttles};

use super::step::Step;
use super::throttle::source;
use super::{SignIn, SignInError};

/// Where a seed is sealed: it opens in no other person's row.
pub(super) fn seed_place(user: UserId) -> String {
    credentials::seal_place(user)
}

impl SignIn {
    /// Checks a code of the authenticator and moves the flow on. A code works once, also when two come at the same moment.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] for a wrong code, [`SignInError::Used`] for one that was used.
    pub async fn totp(&self, flow: &Flow, code: &str, visit: &Visit<'_>) -> Result<Step, SignInError> {
        let proven = self.owing_second(flow, visit).await?;
        let user = proven.user();
        let counted = self.count_factor(user, "signin.totp", visit).await?;
        let factor =
            credentials::factor(&mut self.db.read().await?, user).await?.ok_or(SignInError::Stale)?;
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let Some(step) = self.seed_of(user, &factor)?.verify(&code, visit.now) else {
            self.failed_factor("signin.totp", user, visit);
            return Err(SignInError::Wrong);
        };
        let mut tx = self.db.begin().await?;
        if !credentials::advance_step(&mut tx, factor.id, step).await? {
            self.failed_factor("signin.totp", user, visit);
            return Err(SignInError::Used);
        }
        counted.right(&mut tx, visit.now).await?;
        self.spend_second(tx, flow, proven, SecondFactor::Totp, visit).await
    }

    /// Spends a recovery code and moves the flow on.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] for one that is wrong or was used, [`SignInError::Stale`] where none are taken.
    pub async fn recovery(&self, flow: &Flow, code: &str, visit: &Visit<'_>) -> Result<Step, SignInError> {
        if !self.settings.recovery {
            return Err(SignInError::Stale);
        }
        let proven = self.owing_second(flow, visit).await?;
        let user = proven.user();
        let counted = self.count_factor(user, "signin.recovery", visit).await?;
        let digest = recovery_code::normalise(code).map(|code| self.recovery_digest(user, code.expose()));
        let mut tx = self.db.begin().await?;
        let spent = match digest {
            Some(digest) => credentials::use_code(&mut tx, user, &digest, visit.now).await?,
            None => false,
        };
        if !spent {
            self.failed_factor("signin.recovery", user, visit);
            return Err(SignInError::Wrong);
        }
        counted.right(&mut tx, visit.now).await?;
        self.spend_second(tx, flow, proven, SecondFactor::Recovery, visit).await
    }

    async fn owing_second(&self, flow: &Flow, visit: &Visit<'_>) -> Result<Proven, SignInError> {
        let Stage::Proven(proven) = flow.stage.clone() else { return Err(SignInError::Stale) };
        if self.owes(flow, visit).await? == Some(Owed::SecondFactor) {
            Ok(proven)
        } else {
            Err(SignInError::Stale)
        }
    }

    async fn spend_second(
        &self,
        mut tx: crate::store::Tx,
        flow: &Flow,
        proven: Proven,
        how: SecondFactor,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        let user = proven.user();
        let action = match how {
            SecondFactor::Recovery => "signin.recovery",
            SecondFactor::Totp => "signin.totp",
            // Nobody types that.
            SecondFactor::Provider => return Err(SignInError::Wrong),
        };
        let event = AuditEvent::new(Actor::User(user), action, Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        let step = self.move_on(&mut tx, flow, proven.with_second(how, visit.now), visit).await?;
        if matches!(step, Step::Done { .. }) {
            throttles::know(&mut tx, user, &source(visit.address), visit.now).await?;
        }
        tx.commit(visit.now).await?;
        Ok(step)
    }

    pub(super) fn seed_of(&self, user: UserId, factor: &Factor) -> Result<Seed, SignInError> {
        let bytes = self.keys.sealer.open(&seed_place(user), &factor.sealed)?;
        Seed::from_bytes(bytes).map_err(|_| SignInError::Wrong)
    }

    /// The digest of a recovery code: keyed, and bound to the person.
    pub(super) fn recovery_digest(&self, user: UserId, code: &str) -> [u8; 32] {
        let tag = self.keys.web.recovery.tag("recovery", &[user.uuid().as_bytes(), code.as_bytes()]);
        crate::crypto::digest::sha256(tag.as_bytes())
    }

    pub(super) fn failed_factor(&self, action: &'static str, user: UserId, visit: &Visit<'_>) {
        let event = AuditEvent::new(Actor::User(user), action, Outcome::Failed)
            .on("user", user)
            .from(Some(visit.address));
        self.ledger.leave(event);
    }
}
