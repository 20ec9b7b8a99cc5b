//! The end of every step: what is owed now, and the session when nothing is.

use crate::access::{MfaRule, Principal, principal};
use crate::crypto::token::Token;
use crate::domain::login::{Demands, Owed, Proven, Purpose, Stage};
use crate::domain::session::FirstFactor;
use crate::domain::{Level, SessionId, UserId};
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{Conn, Tx, sessions, users};

use super::flow::asks_second;
use super::{SignIn, SignInError};

/// Where a flow stands after a step.
pub enum Step {
    /// Nothing is owed: the session, and the portal's new token for it.
    Done {
        /// The session.
        session: SessionId,
        /// What the browser gets.
        token: Token,
    },
    /// Something is.
    Owes(Owed),
}

impl SignIn {
    /// What a proof owes now: looked up anew, so that what an administrator changed meanwhile counts. Nothing in a session
    /// that has ended: that is [`SignInError::Stale`].
    pub(super) async fn demands(
        &self,
        conn: &mut Conn,
        flow: &Flow,
        proven: &Proven,
        visit: &Visit<'_>,
    ) -> Result<(Demands, Principal), SignInError> {
        self.raised_level(conn, flow, proven, visit).await?;
        // Whoever owes one more step has not come in yet (`F46`).
        if let FirstFactor::Provider(name) = &proven.level().first
            && let Some(name) = name.strip_prefix("oidc:")
            && !self.still_in_force(conn, name, visit).await?
        {
            return Err(SignInError::Stale);
        }
        if users::epoch(conn, proven.user()).await? != Some(proven.epoch()) {
            return Err(SignInError::Stale);
        }
        let snapshot = self.snapshot.load_full();
        let who =
            principal::load(conn, proven.user(), &snapshot, visit.now).await?.ok_or(SignInError::Wrong)?;
        if !who.active() {
            return Err(SignInError::Wrong);
        }
        let target = self.target(&flow.return_to, visit);
        let asked = asks_second(&snapshot, target.as_ref(), &who, proven.level(), visit).is_some();
        let second_required = who.owes_second(&snapshot) || asked;
        // Where factors are off, one that somebody has is asked for only if something demands it, or to raise a session.
        let counts =
            second_required || snapshot.mfa != MfaRule::Off || matches!(flow.purpose, Purpose::StepUp { .. });
        let demands = Demands {
            enrolled: who.enrolled && counts,
            second_required,
            must_change_password: who.must_change_password,
        };
        Ok((demands, who))
    }

    /// What a flow owes, for the page to be shown. `None`: it is finished, or nothing has been proven yet.
    ///
    /// # Errors
    /// When the account is gone or the database fails.
    pub async fn owes(&self, flow: &Flow, visit: &Visit<'_>) -> Result<Option<Owed>, SignInError> {
        let Stage::Proven(proven) = &flow.stage else { return Ok(None) };
        let mut conn = self.db.read().await?;
        let (demands, _) = self.demands(&mut conn, flow, proven, visit).await?;
        Ok(proven.owes(demands))
    }

    /// Moves a flow on to what was just proven, and ends it with a session when nothing is owed. Part of the
    /// transaction in which the proof was spent.
    pub(super) async fn move_on(
        &self,
        tx: &mut Tx,
        flow: &Flow,
        proven: Proven,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        // Held from here on: a password change or a suspension comes before, and is seen, or after, and ends the session.
        users::hold_epoch(tx, proven.user()).await?;
        let (demands, _) = self.demands(tx, flow, &proven, visit).await?;
        match proven.complete(demands) {
            Err((owed, proven)) => {
                self.advance(tx, flow, &Stage::Proven(proven)).await?;
                Ok(Step::Owes(owed))
            }
            Ok(complete) => {
                let vouched = self.came_from(tx, flow, visit).await?;
                let host = &self.settings.portal_host;
                let (session, token) = match flow.purpose {
                    Purpose::SignIn => self.sessions.start_in(tx, &complete, host, visit).await?,
                    Purpose::StepUp { session } => {
                        let token = self.sessions.raise_in(tx, session, &complete, host, visit).await?;
                        (session, token.ok_or(SignInError::Stale)?)
                    }
                };
                if let Some(vouched) = vouched {
                    self.attach(tx, flow, session, vouched, visit).await?;
                }
                self.advance(tx, flow, &Stage::Finished { session }).await?;
                Ok(Step::Done { session, token })
            }
        }
    }

    async fn advance(&self, tx: &mut Tx, flow: &Flow, stage: &Stage) -> Result<(), SignInError> {
        // Another request has taken a step from the same place: theirs counts.
        if flows::advance(tx, flow, stage, None).await? { Ok(()) } else { Err(SignInError::Stale) }
    }

    /// The level of the session that a flow raises, if it is live and the person's own.
    pub(super) async fn raised_level(
        &self,
        conn: &mut Conn,
        flow: &Flow,
        proven: &Proven,
        visit: &Visit<'_>,
    ) -> Result<Option<Level>, SignInError> {
        let Purpose::StepUp { session } = flow.purpose else { return Ok(None) };
        live_level(conn, session, proven.user(), visit).await.map(Some)
    }
}

/// The level of somebody's own session, if it is live.
pub(super) async fn live_level(
    conn: &mut Conn,
    session: SessionId,
    user: UserId,
    visit: &Visit<'_>,
) -> Result<Level, SignInError> {
    let found = sessions::by_id(conn, session).await?;
    let live = found.filter(|s| s.live_at(visit.now) && s.user == user).ok_or(SignInError::Stale)?;
    Ok(live.level)
}
