//! The end of every step: what is owed now, and the session when nothing is.

use crate::access::{MfaRule, Principal, Snapshot, principal};
use crate::crypto::token::Token;
use crate::domain::login::{Demands, Owed, Proven, Purpose, Stage};
use crate::domain::session::FirstFactor;
use crate::domain::{AccountKind, Actor, AuditEvent, Level, Outcome, SessionId, Slug, UserId};
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{Conn, Tx, audit, sessions, users};

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
    /// Nobody has come in: an identity was tied to the account of a session that there was before.
    Tied,
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
        if let Some(name) = proven.level().first.provider()
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
        let emergency = match way_in(&snapshot, &who, &proven.level().first) {
            WayIn::Right => false,
            WayIn::Emergency => true,
            WayIn::Wrong(provider) => {
                let event = AuditEvent::new(Actor::User(proven.user()), "signin.provider", Outcome::Refused)
                    .on("user", proven.user())
                    .with("why", format!("a tenant of theirs demands a sign-in with idp:{provider}"))
                    .from(Some(visit.address));
                self.ledger.leave(event);
                return Err(SignInError::Wrong);
            }
        };
        let target = self.target(&flow.return_to, visit);
        let asked = asks_second(&snapshot, target.as_ref(), &who, proven.level(), visit).is_some();
        let second_required = who.owes_second(&snapshot) || asked || emergency;
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

    /// The provider at which somebody must sign in whose session began otherwise.
    #[must_use]
    pub fn must_use(&self, who: &Principal, level: &Level) -> Option<Slug> {
        match way_in(&self.snapshot.load(), who, &level.first) {
            WayIn::Wrong(provider) => Some(provider),
            WayIn::Emergency | WayIn::Right => None,
        }
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
        let (demands, who) = self.demands(tx, flow, &proven, visit).await?;
        match proven.complete(demands) {
            Err((owed, proven)) => {
                self.advance(tx, flow, &Stage::Proven(proven)).await?;
                Ok(Step::Owes(owed))
            }
            Ok(complete) => {
                let vouched = self.came_from(tx, flow, visit).await?;
                let snapshot = self.snapshot.load_full();
                if matches!(way_in(&snapshot, &who, &complete.level().first), WayIn::Emergency) {
                    tracing::warn!(user = %who.username, "an administrator came in past the provider of their tenant");
                    let event = AuditEvent::new(Actor::User(who.user), "signin.emergency", Outcome::Done)
                        .on("user", who.user)
                        .from(Some(visit.address));
                    audit::write(tx, &event, visit.now, visit.chance).await?;
                }
                let host = &self.settings.portal_host;
                let (session, token) = match flow.purpose {
                    Purpose::SignIn => self.sessions.start_in(tx, &complete, host, visit).await?,
                    Purpose::StepUp { session } => {
                        let token = self.sessions.raise_in(tx, session, &complete, host, visit).await?;
                        (session, token.ok_or(SignInError::Stale)?)
                    }
                    // Nothing is proven with it.
                    Purpose::Link { .. } => return Err(SignInError::Stale),
                };
                if let Some(vouched) = vouched {
                    self.attach(tx, flow, session, vouched, visit).await?;
                }
                self.advance(tx, flow, &Stage::Finished { session }).await?;
                Ok(Step::Done { session, token })
            }
        }
    }

    pub(super) async fn advance(&self, tx: &mut Tx, flow: &Flow, stage: &Stage) -> Result<(), SignInError> {
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

/// Whether somebody may come in by the first factor that they gave.
enum WayIn {
    Right,
    /// An administrator with a password where a provider is demanded: to set things right when the provider cannot be used, and
    /// never without the second factor that they had before.
    Emergency,
    /// A tenant demands this provider.
    Wrong(Slug),
}

fn way_in(snapshot: &Snapshot, who: &Principal, first: &FirstFactor) -> WayIn {
    let mut demanded =
        who.memberships.iter().filter_map(|belongs| snapshot.provider_of(belongs.tenant)).peekable();
    let Some(provider) = demanded.peek().map(|provider| (*provider).clone()) else { return WayIn::Right };
    let administers = who.kind == AccountKind::Admin && who.enrolled;
    match first {
        // Whose tenants demand several comes in with any of them; each app then asks for its own.
        FirstFactor::Provider(_) if demanded.any(|it| first.provider() == Some(it.as_str())) => WayIn::Right,
        FirstFactor::Password if administers => WayIn::Emergency,
        _ => WayIn::Wrong(provider),
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
