//! Setting up an authenticator app, and the recovery codes that come with it.

use crate::crypto::token::{Token, handle_digest};
use crate::domain::ids::Id as _;
use crate::domain::login::{Owed, Proven, Stage};
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::{Actor, AuditEvent, FactorId, Outcome, Secret, SessionId, Slug, Span, UserId};
use crate::protocol::recovery_code;
use crate::protocol::totp::Seed;
use crate::session::Visit;
use crate::store::credentials::{self, Factor};
use crate::store::flows::{self, Flow};
use crate::store::links::{self, Purpose as LinkPurpose};
use crate::store::{Conn, Tx, audit, users};

use super::second_factor::seed_place;
use super::step::{Step, live_level};
use super::{SignIn, SignInError};

/// How fresh the first factor must be for a first enrolment, and the second for a replacement.
const FRESH: Span = Span::minutes(5);

/// What the page of an enrolment shows.
pub struct Enrolment {
    /// The seed as people type it.
    pub key: Secret<String>,
    /// The address for the QR code.
    pub address: Secret<String>,
    /// Whether the code of an administrator's reset must be shown.
    pub asks_code: bool,
    /// Whether an authenticator is replaced.
    pub replacing: bool,
    /// Whose it is.
    pub username: String,
}

/// An authenticator that was set up.
pub struct Enrolled {
    /// Ten codes, to be shown once; none where none are taken.
    pub codes: Vec<Secret<String>>,
    /// Where the flow stands now.
    pub step: Step,
}

impl SignIn {
    /// Whether a flow may set up an authenticator: it owes one, or belongs to a session that has proven enough lately.
    async fn enrolling(&self, flow: &Flow, visit: &Visit<'_>) -> Result<Proven, SignInError> {
        self.enrolling_on(&mut self.db.read().await?, flow, visit).await
    }

    async fn enrolling_on(
        &self,
        conn: &mut Conn,
        flow: &Flow,
        visit: &Visit<'_>,
    ) -> Result<Proven, SignInError> {
        let Stage::Proven(proven) = flow.stage.clone() else { return Err(SignInError::Stale) };
        let (demands, who) = self.demands(conn, flow, &proven, visit).await?;
        let level = proven.level();
        let fresh = if who.enrolled {
            // Replacing: only whoever has just shown the factor that there is (`MFA-06`).
            level.has_second(Some(FRESH), visit.now)
        } else {
            level.first_within(FRESH, visit.now)
        };
        match proven.owes(demands) {
            None | Some(Owed::Enrolment) if fresh => Ok(proven),
            None | Some(Owed::Enrolment) if !who.enrolled => Err(too_old(&level.first)),
            _ => Err(SignInError::Stale),
        }
    }

    /// The seed that a flow offers; the same one until it is confirmed, so that a wrong code does not change it.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when this flow may not enrol, or not any more.
    pub async fn enrolment(&self, flow: &Flow, visit: &Visit<'_>) -> Result<Enrolment, SignInError> {
        let proven = self.enrolling(flow, visit).await?;
        let user = proven.user();
        let seed = if let Some(sealed) = &flow.pending {
            self.pending_seed(user, sealed)?
        } else {
            let seed = Seed::new(visit.chance);
            let sealed = self.keys.sealer.seal(&pending_place(user), seed.expose(), visit.chance)?;
            let mut tx = self.db.begin().await?;
            let kept = flows::advance(&mut tx, flow, &flow.stage, Some(&sealed)).await?;
            tx.commit(visit.now).await?;
            if !kept {
                return Err(SignInError::Stale);
            }
            seed
        };
        let mut conn = self.db.read().await?;
        let account = users::by_id(&mut conn, user).await?.ok_or(SignInError::Stale)?;
        let asks_code = links::waiting(&mut conn, LinkPurpose::Enrolment, user).await?;
        let replacing = credentials::factor(&mut conn, user).await?.is_some();
        let address = seed.address(account.username.as_str(), &self.settings.issuer).unwrap_or_default();
        Ok(Enrolment {
            key: Secret::new(seed.base32()),
            address: Secret::new(address),
            asks_code,
            replacing,
            username: account.username.to_string(),
        })
    }

    /// Confirms the offered seed with its first code, stores it, and makes recovery codes.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] when the code, or the reset code that is asked for, is not right.
    pub async fn confirm_enrolment(
        &self,
        flow: &Flow,
        code: &str,
        reset_code: &str,
        visit: &Visit<'_>,
    ) -> Result<Enrolled, SignInError> {
        let proven = self.enrolling(flow, visit).await?;
        let user = proven.user();
        let sealed = flow.pending.as_ref().ok_or(SignInError::Stale)?;
        let counted = self.count_factor(user, "factor.enrol", visit).await?;
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let seed = self.pending_seed(user, sealed)?;
        let Some(step) = seed.verify(&code, visit.now) else {
            self.failed_factor("factor.enrol", user, visit);
            return Err(SignInError::Wrong);
        };
        let mut tx = self.db.begin().await?;
        // Once more with the person's row held: of several that enrol at one moment the first one does.
        users::hold_epoch(&mut tx, user).await?;
        let proven = self.enrolling_on(&mut tx, flow, visit).await?;
        if links::waiting(&mut tx, LinkPurpose::Enrolment, user).await? {
            let taken = match reset_digest(reset_code) {
                Some(digest) => links::take(&mut tx, &digest, LinkPurpose::Enrolment, visit.now).await?,
                None => None,
            };
            if taken.is_none_or(|link| link.user != Some(user)) {
                self.failed_factor("factor.enrol", user, visit);
                return Err(SignInError::Wrong);
            }
        }
        counted.right(&mut tx, visit.now).await?;
        credentials::drop_factors(&mut tx, user).await?;
        let factor = Factor {
            id: FactorId::mint(visit.now, visit.chance),
            sealed: self.keys.sealer.seal(&seed_place(user), seed.expose(), visit.chance)?,
            last_step: step,
            created_at: visit.now,
        };
        credentials::add_factor(&mut tx, user, &factor).await?;
        users::touch(&mut tx, user).await?;
        let codes = self.write_codes(&mut tx, user, visit).await?;
        // Whoever came in without the factor is asked for it now.
        let keep = match flow.purpose {
            crate::domain::login::Purpose::StepUp { session } => Some(session),
            crate::domain::login::Purpose::Link { .. } | crate::domain::login::Purpose::SignIn => None,
        };
        crate::store::sessions::end_of(&mut tx, user, keep, "second factor changed", visit.now).await?;
        let event = AuditEvent::new(Actor::User(user), "factor.enrol", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        let epoch = users::epoch(&mut tx, user).await?.ok_or(SignInError::Stale)?;
        let proven = proven.in_epoch(epoch).with_second(SecondFactor::Totp, visit.now);
        let step = self.move_on(&mut tx, flow, proven, visit).await?;
        tx.commit(visit.now).await?;
        Ok(Enrolled { codes, step })
    }

    async fn write_codes(
        &self,
        tx: &mut Tx,
        user: UserId,
        visit: &Visit<'_>,
    ) -> Result<Vec<Secret<String>>, SignInError> {
        let count = if self.settings.recovery { recovery_code::COUNT } else { 0 };
        let codes: Vec<Secret<String>> = (0..count).map(|_| recovery_code::generate(visit.chance)).collect();
        let digests: Vec<[u8; 32]> = codes
            .iter()
            .filter_map(|code| recovery_code::normalise(code.expose()))
            .map(|bare| self.recovery_digest(user, bare.expose()))
            .collect();
        credentials::replace_codes(tx, user, &digests, visit.now).await?;
        Ok(codes)
    }

    /// Whether somebody has set up an authenticator not longer ago than this.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrolled_within(
        &self,
        user: UserId,
        span: Span,
        visit: &Visit<'_>,
    ) -> Result<bool, SignInError> {
        let factor = credentials::factor(&mut self.db.read().await?, user).await?;
        Ok(factor.is_some_and(|factor| visit.now.since(factor.created_at) <= span))
    }

    /// Makes new recovery codes; the old ones are worth nothing from then on. The caller has asked for a fresh factor.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the session has ended.
    pub async fn renew_codes(
        &self,
        (user, session): (UserId, SessionId),
        visit: &Visit<'_>,
    ) -> Result<Vec<Secret<String>>, SignInError> {
        let mut tx = self.db.begin().await?;
        live_level(&mut tx, session, user, visit).await?;
        let codes = self.write_codes(&mut tx, user, visit).await?;
        let event = AuditEvent::new(Actor::User(user), "recovery.renew", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        tx.commit(visit.now).await?;
        Ok(codes)
    }

    /// Takes somebody's own authenticator away and ends the other sessions; the portal's new token for this one. The caller
    /// has asked for a fresh factor, and whether it may be done.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when the session has ended.
    pub async fn remove_factor(
        &self,
        (user, session): (UserId, SessionId),
        visit: &Visit<'_>,
    ) -> Result<Token, SignInError> {
        let mut tx = self.db.begin().await?;
        credentials::drop_factors(&mut tx, user).await?;
        users::touch(&mut tx, user).await?;
        crate::store::sessions::end_of(&mut tx, user, Some(session), "second factor changed", visit.now)
            .await?;
        let token = self.sessions.renew_in(&mut tx, session, &self.settings.portal_host, visit).await?;
        let token = token.ok_or(SignInError::Stale)?;
        let event = AuditEvent::new(Actor::User(user), "factor.remove", Outcome::Done)
            .on("user", user)
            .from(Some(visit.address));
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        tx.commit(visit.now).await?;
        Ok(token)
    }

    fn pending_seed(&self, user: UserId, sealed: &[u8]) -> Result<Seed, SignInError> {
        let bytes = self.keys.sealer.open(&pending_place(user), sealed)?;
        Seed::from_bytes(bytes).map_err(|_| SignInError::Stale)
    }
}

/// A first factor that was given too long ago, or nobody knows when: at a provider it is given anew, if there is one.
fn too_old(first: &FirstFactor) -> SignInError {
    let provider = first.provider().and_then(|name| Slug::parse(name).ok());
    provider.map_or(SignInError::Stale, SignInError::Anew)
}

fn pending_place(user: UserId) -> String {
    format!("flows/pending/{}", user.uuid())
}

/// The digest of an administrator's reset code: capital letters and digits, whatever stands between them.
#[must_use]
fn reset_digest(typed: &str) -> Option<[u8; 32]> {
    if typed.len() == 43 {
        return handle_digest(typed);
    }
    let bare: String =
        typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    (bare.len() >= 10).then(|| crate::crypto::digest::sha256(bare.as_bytes()))
}
