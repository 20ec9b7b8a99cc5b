//! A rehearsal of a sign-in at a provider: everything that a sign-in does, and nothing of it stays.
//!
//! An operator begins it and gets an address for a browser. What comes back is redeemed and verified as always; then the account
//! is found or made and brought into line in a transaction that is thrown away. Nobody is signed in, whatever the browser
//! brings. The outcome waits sealed for the operator, and for nobody else.

use serde::{Deserialize, Serialize};

use super::federated::{Halt, Response, Returned};
use super::{SignIn, SignInError};
use crate::crypto::token::{Token, handle, handle_digest};
use crate::domain::login::{Purpose, Stage};
use crate::domain::provider::{Claims, Provider};
use crate::domain::{Place, Span, Timestamp};
use crate::federation::Identity;
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{grants, groups, memberships, users};

/// Where an outcome is sealed.
const SEALED_AT: &str = "flows/rehearsal";
/// How long a browser has for it.
pub const LIFE: Span = Span::minutes(10);

/// What came of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The check that did not pass, and what was found.
    pub refused: Option<(String, String)>,
    /// Who it is for the provider.
    pub subject: Option<String>,
    /// What the provider says, as far as it was believed.
    pub claims: Claims,
    /// When they signed in there, if it says so.
    pub auth_time: Option<Timestamp>,
    /// Whether the provider's word on a second factor counts.
    pub second: bool,
    /// Who would come in.
    pub account: Option<Account>,
}

/// The account that somebody would come in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `known`, `linked` or `made`.
    pub how: String,
    /// Its username.
    pub username: String,
    /// How the person is called.
    pub name: String,
    /// The address, and whether apps get it.
    pub email: Option<(String, bool)>,
    /// Where they belong.
    pub places: Vec<String>,
    /// Roles, each with what gives it.
    pub roles: Vec<(String, String)>,
    /// Groups.
    pub groups: Vec<String>,
    /// What a rule gives and this person cannot have.
    pub passed_over: Vec<String>,
}

/// How far a rehearsal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its time is over, or there never was one.
    Gone,
    /// It has ended so.
    Over(Box<Outcome>),
    /// No answer has come.
    Waiting,
}

impl SignIn {
    /// Begins a rehearsal. The handle goes into the address for the browser, and asks for the outcome.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rehearse(&self, provider: &Provider, visit: &Visit<'_>) -> Result<Token, SignInError> {
        let handle = handle(visit.chance);
        let stage =
            Stage::Rehearsing { provider: provider.name.clone(), max_age: provider.max_age, away: false };
        let flow = Flow {
            digest: handle.digest(),
            stage,
            purpose: Purpose::SignIn,
            return_to: String::new(),
            pending: None,
            expires_at: visit.now + LIFE,
            version: 1,
        };
        // No browser yet: one that nobody has.
        let nobody = visit.chance.bytes::<32>();
        let mut tx = self.db.begin().await?;
        flows::add(&mut tx, &flow, &nobody, visit.now).await?;
        tx.commit(visit.now).await?;
        Ok(handle)
    }

    /// Sends the first browser that opens the address to the provider.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when there is no such rehearsal, or a browser has it already.
    pub async fn depart_rehearsal(
        &self,
        text: &str,
        name: &str,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<String, SignInError> {
        let digest = handle_digest(text).ok_or(SignInError::Stale)?;
        let mut conn = self.db.read().await?;
        let flow = flows::find_unbound(&mut conn, &digest, visit.now).await?.ok_or(SignInError::Stale)?;
        drop(conn);
        let Stage::Rehearsing { provider, max_age, away: false } = flow.stage.clone() else {
            return Err(SignInError::Stale);
        };
        let known = self.federation.named(name).filter(|it| it.name == provider && it.saml.is_none());
        let known = known.ok_or(SignInError::Stale)?;
        let metadata = self.federation.metadata(&known, visit.now).await;
        let metadata = metadata.map_err(|trouble| self.troubled(&known, &trouble, visit))?;
        let mut tx = self.db.begin().await?;
        let stage = Stage::Rehearsing { provider, max_age, away: true };
        let taken = flows::bind(&mut tx, &flow, browser, &stage).await?;
        tx.commit(visit.now).await?;
        if !taken {
            return Err(SignInError::Stale);
        }
        // Always asked anew: whoever tests a provider wants to see its page.
        Ok(self.address(&known, &metadata, text, (max_age, true), None))
    }

    /// Takes the provider's answer to a rehearsal, which is spent already.
    pub(super) async fn rehearsed(
        &self,
        mut flow: Flow,
        name: Option<&str>,
        response: &Response,
        posted: bool,
        visit: &Visit<'_>,
    ) -> Result<Returned, SignInError> {
        let Stage::Rehearsing { provider, max_age, .. } = flow.stage.clone() else {
            return Err(SignInError::Stale);
        };
        self.advanced(&mut flow, Stage::Returned, None, visit).await?;
        let outcome = match self.vouched(&provider, name, response, (max_age, posted), visit).await {
            Ok((provider, identity)) => self.preview(&provider, identity, visit).await?,
            Err(SignInError::Federated(declined)) => Outcome {
                refused: Some((declined.check.to_owned(), declined.detail.clone())),
                subject: None,
                claims: Claims::new(),
                auth_time: None,
                second: false,
                account: None,
            },
            Err(error) => return Err(error),
        };
        let text = serde_json::to_vec(&outcome).unwrap_or_default();
        let sealed = self.keys.sealer.seal(SEALED_AT, &text, visit.chance)?;
        self.advanced(&mut flow, Stage::Rehearsed, Some(&sealed), visit).await?;
        Ok(Returned::Rehearsed)
    }

    /// What a sign-in would do, done in a transaction that is thrown away.
    async fn preview(
        &self,
        provider: &Provider,
        identity: Identity,
        visit: &Visit<'_>,
    ) -> Result<Outcome, SignInError> {
        let (refused, account) = match Box::pin(self.account_of(provider, &identity, visit)).await {
            Ok(account) => (None, Some(account)),
            Err(Halt::Declined(check, detail)) => (Some((check.to_owned(), detail)), None),
            Err(Halt::SignIn(SignInError::Wrong)) => {
                (Some(("account".to_owned(), "the account may not sign in".to_owned())), None)
            }
            Err(Halt::SignIn(error)) => return Err(error),
        };
        Ok(Outcome {
            refused,
            second: provider.trusts_second(&identity.claims),
            subject: Some(identity.subject),
            claims: identity.claims,
            auth_time: identity.auth_time,
            account,
        })
    }

    async fn account_of(
        &self,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<Account, Halt> {
        let mut tx = self.db.begin().await?;
        tx.lock("lock:provision").await?;
        let settled = self.account(&mut tx, provider, identity, visit).await?;
        if let Some((check, detail)) = settled.refused {
            return Err(Halt::Declined(check, detail));
        }
        let user = users::by_id(&mut tx, settled.user).await?.ok_or(SignInError::Stale)?;
        let snapshot = self.snapshot.load_full();
        let mut roles = Vec::new();
        for held in grants::assignments_of(&mut tx, user.id).await? {
            let slug = snapshot.role(held.role).map_or("?", |role| role.slug.as_str());
            roles.push((format!("{slug} at {}", snapshot.place_words(held.place)), held.by));
        }
        let held = memberships::of(&mut tx, user.id).await?;
        let places = held.iter().map(|held| snapshot.place_words(place(held))).collect();
        let joined = groups::of(&mut tx, user.id).await?;
        // Never committed: what was done to see this is undone here.
        drop(tx);
        Ok(Account {
            how: settled.how.to_owned(),
            username: user.username.to_string(),
            name: user.name.to_string(),
            email: user.email.map(|email| (email.to_string(), user.email_verified)),
            places,
            roles,
            groups: joined.into_iter().map(|group| group.slug.to_string()).collect(),
            passed_over: settled.passed_over,
        })
    }

    /// How far a rehearsal is. An outcome is told once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rehearsal(&self, text: &str, visit: &Visit<'_>) -> Result<Progress, SignInError> {
        let Some(digest) = handle_digest(text) else { return Ok(Progress::Gone) };
        let mut conn = self.db.read().await?;
        let found = flows::find_unbound(&mut conn, &digest, visit.now).await?;
        drop(conn);
        let Some(mut flow) = found else { return Ok(Progress::Gone) };
        match (&flow.stage, flow.pending.take()) {
            (Stage::Rehearsed, Some(sealed)) => {
                self.advanced(&mut flow, Stage::Returned, None, visit).await?;
                let opened = self.keys.sealer.open(SEALED_AT, &sealed)?;
                let outcome = serde_json::from_slice(opened.expose()).map_err(|_| SignInError::Stale)?;
                Ok(Progress::Over(Box::new(outcome)))
            }
            // An answer that is being looked at stands there as returned for a moment.
            (Stage::Rehearsing { .. } | Stage::Returned, _) => Ok(Progress::Waiting),
            _ => Ok(Progress::Gone),
        }
    }
}

fn place(held: &memberships::Membership) -> Place {
    match (held.org, held.department) {
        (Some(org), Some(department)) => Place::Department(held.tenant, org, department),
        (Some(org), None) => Place::Org(held.tenant, org),
        _ => Place::Tenant(held.tenant),
    }
}

/// Whether a stage is one of a rehearsal that waits for its answer.
pub(super) const fn waits(stage: &Stage) -> bool {
    matches!(stage, Stage::Rehearsing { away: true, .. })
}
