//! Flows: begun, found again by the browser that began them, and where they lead.

use crate::access::engine::{Request, StepUp};
use crate::access::{Caller, Decision, Principal, Snapshot, decide};
use crate::crypto::token::{Token, handle, handle_digest};
use crate::domain::login::{Proven, Purpose, Stage};
use crate::domain::{Level, SessionId, Span, UserId};
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{Conn, DbError, users};

use super::{SignIn, SignInError};

/// How long a sign-in may take.
const LIFE: Span = Span::minutes(30);

/// A flow that was begun: what goes into the next page's form.
pub struct Begun {
    /// The handle.
    pub handle: Token,
}

/// Where a sign-in leads: a page of a route, as scheme, host and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: String,
    /// Path and query.
    pub path: String,
}

impl SignIn {
    /// Begins a flow for somebody who said a name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(
        &self,
        identifier: &str,
        purpose: Purpose,
        return_to: &str,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<Begun, SignInError> {
        let identifier: String = identifier.trim().chars().take(254).collect();
        self.add_flow(Stage::Named { identifier }, purpose, return_to, browser, visit).await
    }

    /// Begins a flow for somebody who is signed in and owes more: what the session has proven counts, but a second factor
    /// only if `keep_second` (a fresh one is asked for otherwise).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_raise(
        &self,
        session: SessionId,
        (user, level, keep_second): (UserId, &Level, bool),
        return_to: &str,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<Begun, SignInError> {
        let mut level = level.clone();
        if !keep_second {
            level.second = None;
        }
        let epoch = users::epoch(&mut self.db.read().await?, user).await?.ok_or(SignInError::Stale)?;
        let stage = Stage::Proven(Proven::resumed(user, level, epoch));
        self.add_flow(stage, Purpose::StepUp { session }, return_to, browser, visit).await
    }

    /// Writes a new flow. Every flow begins here.
    pub(super) async fn add_flow(
        &self,
        stage: Stage,
        purpose: Purpose,
        return_to: &str,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<Begun, SignInError> {
        let handle = handle(visit.chance);
        let flow = Flow {
            digest: handle.digest(),
            stage,
            purpose,
            return_to: return_to.to_owned(),
            pending: None,
            expires_at: visit.now + LIFE,
            version: 1,
        };
        let mut tx = self.db.begin().await?;
        flows::add(&mut tx, &flow, browser, visit.now).await?;
        tx.commit(visit.now).await?;
        Ok(Begun { handle })
    }

    /// The flow that this browser began.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when there is none such.
    pub async fn flow(&self, text: &str, browser: &[u8; 32], visit: &Visit<'_>) -> Result<Flow, SignInError> {
        let digest = handle_digest(text).ok_or(SignInError::Stale)?;
        let mut conn = self.db.read().await?;
        flows::find(&mut conn, &digest, browser, visit.now).await?.ok_or(SignInError::Stale)
    }

    /// The target in the flow's sealed return address, if it leads to a route.
    #[must_use]
    pub fn target(&self, return_to: &str, visit: &Visit<'_>) -> Option<Target> {
        let opened = crate::session::return_to::open(&self.keys, return_to, visit.now)?;
        split(&opened.url)
    }
}

/// An address of ours into host and path.
pub(super) fn split(url: &str) -> Option<Target> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (host, path) = rest.split_at(rest.find('/')?);
    let (host, _) = crate::domain::target::host(host.as_bytes()).ok()?;
    Some(Target { host: host.into_owned(), path: path.to_owned() })
}

/// Whether the target asks for a second factor of this person, and how fresh.
pub(super) fn asks_second(
    snapshot: &Snapshot,
    target: Option<&Target>,
    principal: &Principal,
    level: &Level,
    visit: &Visit<'_>,
) -> Option<StepUp> {
    let target = target?;
    let parsed = crate::domain::target::Target::parse(&target.path).ok()?;
    let route = snapshot.locate(&target.host, &parsed).ok()?;
    // The session's id plays no part in the decision.
    let caller = Caller { principal, level, session: SessionId::mint(visit.now, visit.chance) };
    let request = Request { target: &parsed, method: "GET", address: visit.address, now: visit.now };
    match decide(snapshot, route, Some(caller), &request) {
        Decision::StepUp(wanted) => Some(wanted),
        _ => None,
    }
}

/// The person a name belongs to, if anybody.
pub(super) async fn named(conn: &mut Conn, identifier: &str) -> Result<Option<crate::domain::User>, DbError> {
    use crate::domain::LoginName;
    match LoginName::parse(identifier) {
        Some(LoginName::Email(email)) => users::by_sign_in_email(conn, &email).await,
        Some(LoginName::Username(name)) => users::by_username(conn, &name).await,
        None => Ok(None),
    }
}
