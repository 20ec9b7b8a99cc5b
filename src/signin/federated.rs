//! Signing in at an identity provider: the way there, the way back, and who somebody is after that.
//!
//! The state in the address is the handle of a flow that is bound to this browser and this provider. It is spent before
//! anything is asked of the provider, so a code is redeemed at most once (`OIDC-02`). Nonce and PKCE verifier follow from
//! the state and a key of ours, so no record of them can be read. What fails is told to the audit log by the name of the
//! check; the person reads a reference.

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use tokio::sync::OwnedSemaphorePermit;

use crate::crypto::token::handle_digest;
use crate::domain::login::{Proven, Purpose, Stage};
use crate::domain::provider::{Provider, ResponseMode};
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::{Actor, AuditEvent, LoginName, Outcome, Slug, Span, Timestamp};
use crate::federation::{Identity, Redemption};
use crate::protocol::oidc::{Authorization, Metadata, quoted};
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{Conn, DbError, audit, providers, users};

use super::rehearsal;
use super::step::Step;
use super::throttle::source;
use super::{SignIn, SignInError};

/// A sign-in at a provider that did not succeed, as far as the person may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// What the provider is called.
    pub provider: String,
    /// What the person is told.
    pub why: Why,
    /// What they may quote; the audit log has the cause under it.
    pub reference: String,
    /// The check that did not pass, for administrators alone.
    pub check: &'static str,
    /// What was found, for the same.
    pub detail: String,
}

/// The check that whoever steps up is who has the session.
const ANOTHER: &str = "another person";

/// What a person is told when a provider did not bring them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Whoever it named is not who asked for it.
    Another,
    /// It does not answer.
    Away,
    /// They went back there.
    Cancelled,
    /// Too many come from it at this moment.
    Crowded,
    /// Something is not right. Not even whether an account exists is said.
    Refused,
    /// It is switched off.
    Stopped,
    /// They are signed in as before, and nothing was tied to their account.
    Untied,
}

/// What is wanted of a provider.
pub struct Departure<'a> {
    /// Which.
    pub provider: &'a str,
    /// Why the flow is begun.
    pub purpose: Purpose,
    /// Where it leads.
    pub return_to: &'a str,
    /// Who is probably coming.
    pub login_hint: Option<&'a str>,
    /// Whether the person must prove there anew who they are, and the answer must say so (`OIDC-29`).
    pub anew: bool,
}

/// What came back from a provider, as the browser brought it.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Which sign-in it answers.
    pub state: Option<String>,
    /// The code.
    pub code: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same in words.
    pub error_description: Option<String>,
    /// A token in it, which no answer to our requests has.
    pub tokens: bool,
}

/// Where an answer has led.
pub enum Returned {
    /// The browser must still show that it began this: on a page of ours, since a form from another site brings no cookie.
    Arrived,
    /// It was a rehearsal; nobody comes in.
    Rehearsed,
    /// Onward.
    Stepped(Step),
}

/// What a sign-in under way says about the answer to it.
pub(super) struct Asked<'a> {
    /// Who was asked.
    pub(super) provider: &'a Slug,
    /// The source from which it was begun.
    pub(super) from: &'a str,
    /// The provider to whose address the answer came, if it came to one.
    pub(super) name: Option<&'a str>,
    pub(super) max_age: Option<Span>,
    /// Whether the browser that began it brings it.
    pub(super) bound: bool,
}

/// Where what a provider vouched for is sealed: it opens in no other sign-in, and for no other provider or issuer.
fn vouched_place(flow: &Flow, provider: &Provider) -> String {
    let digest = BASE32_NOPAD.encode(&flow.digest);
    format!("flows/identity/{digest}/{}/{}", provider.spoken(), provider.issuer)
}

/// Why an account is not opened.
pub(super) enum Halt {
    /// By a check, for a cause.
    Declined(&'static str, String),
    /// Something else.
    SignIn(SignInError),
}

impl From<DbError> for Halt {
    fn from(error: DbError) -> Self {
        Halt::SignIn(SignInError::Db(error))
    }
}

impl From<SignInError> for Halt {
    fn from(error: SignInError) -> Self {
        Halt::SignIn(error)
    }
}

impl SignIn {
    /// The provider's own address for its answers. One for each: an answer of one is never taken for another's (`OIDC-21`).
    #[must_use]
    pub fn redirect_uri(&self, provider: &Provider) -> String {
        format!("{}/auth/sso-callback/{}", self.settings.portal_origin, provider.name)
    }

    /// The providers that a page offers for a target: those of everybody, and those of its tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn offered(
        &self,
        return_to: &str,
        visit: &Visit<'_>,
    ) -> Result<Vec<Arc<Provider>>, SignInError> {
        let all = self.federation.providers();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let stopped = providers::stopped(&mut self.db.read().await?, visit.now).await?;
        let snapshot = self.snapshot.load();
        let tenant = self.target(return_to, visit).and_then(|target| {
            let path = crate::domain::target::Target::parse(&target.path).ok()?;
            snapshot.locate(&target.host, &path).ok()?.spec.tenant.clone()
        });
        let offered = |provider: &&Arc<Provider>| {
            let for_them = match (&provider.tenant, &tenant) {
                (None, _) => true,
                // Nowhere in particular: where there is one tenant, its providers are everybody's.
                (Some(own), None) => snapshot.tenants().all(|it| it.slug == *own || it.status == "retired"),
                (Some(own), Some(tenant)) => own == tenant,
            };
            let own = provider.tenant.as_ref().map(|slug| snapshot.tenant_named(slug));
            let active = own.is_none_or(|own| own.is_some_and(|it| it.active_at(visit.now)));
            for_them && active && !stopped.iter().any(|(name, _)| name == provider.name.as_str())
        };
        Ok(all.iter().filter(offered).map(Arc::clone).collect())
    }

    /// Whether a provider did not answer a moment ago.
    #[must_use]
    pub fn is_away(&self, provider: &Provider, visit: &Visit<'_>) -> bool {
        self.traffic.is_away(&provider.name, visit.now)
    }

    /// The one provider that opens a target, if there is one only.
    #[must_use]
    pub fn demanded(&self, return_to: &str, visit: &Visit<'_>) -> Option<Slug> {
        let target = self.target(return_to, visit)?;
        let path = crate::domain::target::Target::parse(&target.path).ok()?;
        self.snapshot.load().locate(&target.host, &path).ok()?.only_provider(&path, "GET").cloned()
    }

    /// The same, if it can be used and has answered lately: then nobody need be asked how they sign in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn only_way(
        &self,
        return_to: &str,
        visit: &Visit<'_>,
    ) -> Result<Option<Arc<Provider>>, SignInError> {
        let Some(name) = self.demanded(return_to, visit) else { return Ok(None) };
        let usable = self.still_in_force(&mut self.db.read().await?, name.as_str(), visit).await?;
        let found = self.federation.named(name.as_str());
        Ok(found.filter(|provider| usable && !self.is_away(provider, visit)))
    }

    /// The provider that an address leads to: that of its domain, or of the tenant whose domain it is, if it can be used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leads(&self, typed: &str, visit: &Visit<'_>) -> Result<Option<Arc<Provider>>, SignInError> {
        let Some(LoginName::Email(email)) = LoginName::parse(typed.trim()) else { return Ok(None) };
        let snapshot = self.snapshot.load_full();
        let demanded = || {
            let tenant = snapshot.tenant_of_domain(email.domain())?;
            self.federation.named(snapshot.provider_of(tenant)?.as_str())
        };
        let found = self.federation.of_domain(email.domain()).or_else(demanded);
        let Some(provider) = found else { return Ok(None) };
        let stopped = providers::stopped(&mut self.db.read().await?, visit.now).await?;
        Ok(Some(provider).filter(|provider| !stopped.iter().any(|(name, _)| name == provider.name.as_str())))
    }

    /// A provider that is not switched off and whose tenant is in force: asked at every step (`F46`).
    pub(super) async fn in_force(&self, name: &str, visit: &Visit<'_>) -> Result<Arc<Provider>, SignInError> {
        let provider = self.federation.named(name).ok_or(SignInError::Stale)?;
        let stopped = providers::stopped(&mut self.db.read().await?, visit.now).await?;
        if let Some((_, why)) = stopped.iter().find(|(stopped, _)| stopped == name) {
            let detail = format!("{} has switched it off: {}", why.by, why.reason);
            return Err(self.decline(&provider, Why::Stopped, "provider off", &detail, visit));
        }
        let snapshot = self.snapshot.load();
        let tenants = [&provider.tenant, &provider.default_tenant];
        for slug in tenants.into_iter().flatten() {
            if !snapshot.tenant_named(slug).is_some_and(|tenant| tenant.active_at(visit.now)) {
                let detail = format!("the tenant {slug} is not in force");
                return Err(self.decline(&provider, Why::Stopped, "tenant", &detail, visit));
            }
        }
        Ok(provider)
    }

    /// Whether a provider is there, not switched off, and its tenant in force.
    pub(super) async fn still_in_force(
        &self,
        conn: &mut Conn,
        name: &str,
        visit: &Visit<'_>,
    ) -> Result<bool, SignInError> {
        let Some(provider) = self.federation.named(name) else { return Ok(false) };
        let stopped = providers::stopped(conn, visit.now).await?;
        let snapshot = self.snapshot.load();
        let live =
            |slug: &Slug| snapshot.tenant_named(slug).is_some_and(|tenant| tenant.active_at(visit.now));
        let tenants = [&provider.tenant, &provider.default_tenant];
        Ok(!stopped.iter().any(|(stopped, _)| stopped == name) && tenants.into_iter().flatten().all(live))
    }

    /// Begins a sign-in at a provider: the address to send the browser to.
    ///
    /// # Errors
    /// [`SignInError::Federated`] when the provider is off or does not answer; [`SignInError::Stale`] when there is none
    /// of that name.
    pub async fn depart(
        &self,
        to: &Departure<'_>,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<String, SignInError> {
        let provider = self.in_force(to.provider, visit).await?;
        let from = source(visit.address);
        self.may_come_from(&provider.name, &from, visit).await?;
        if let Some(saml) = &provider.saml {
            return self.depart_saml((&provider, saml), to, (browser, from), visit).await;
        }
        let metadata = self.federation.metadata(&provider, visit.now).await;
        let metadata = metadata.map_err(|trouble| self.troubled(&provider, &trouble, visit))?;
        self.traffic.note(&provider.name, true, visit.now);
        // Whoever ties an identity says who they are there, and not whoever used the browser last.
        let anew = to.anew || matches!(to.purpose, Purpose::Link { .. });
        let max_age = if anew { Some(Span::ZERO) } else { provider.max_age };
        let stage = Stage::Away { provider: provider.name.clone(), max_age, from };
        let state = self.add_flow(stage, to.purpose, to.return_to, browser, visit).await?.handle;
        Ok(self.address(&provider, &metadata, state.expose(), (max_age, anew), to.login_hint))
    }

    /// The address that a browser is sent to. Who must prove anew, and how old the proof may be, is asked there.
    pub(super) fn address(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        state: &str,
        (max_age, anew): (Option<Span>, bool),
        login_hint: Option<&str>,
    ) -> String {
        let (nonce, verifier) = self.bound_to(state);
        Authorization {
            provider,
            metadata,
            redirect_uri: &self.redirect_uri(provider),
            state,
            nonce: &nonce,
            verifier: &verifier,
            login_hint,
            max_age,
            anew,
        }
        .address()
    }

    /// Nonce and PKCE verifier of a state, 43 characters each.
    fn bound_to(&self, state: &str) -> (String, String) {
        let key = &self.keys.web.federation;
        (key.tag("nonce", &[state.as_bytes()]), key.tag("verifier", &[state.as_bytes()]))
    }

    /// Takes a provider's answer. With the browser that brings it, onward; without one (`form_post`), only as far as what the
    /// provider vouches for. `name` is the provider whose address it came to, if it came to one.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when it answers nothing that this browser began, or something that was answered before;
    /// [`SignInError::Federated`] when it is not right.
    pub async fn returned(
        &self,
        name: Option<&str>,
        response: &Response,
        browser: Option<&[u8; 32]>,
        visit: &Visit<'_>,
    ) -> Result<Returned, SignInError> {
        let state = response.state.as_deref().ok_or(SignInError::Stale)?;
        let digest = handle_digest(state).ok_or(SignInError::Stale)?;
        let mut conn = self.db.read().await?;
        let found = match browser {
            Some(browser) => flows::find(&mut conn, &digest, browser, visit.now).await?,
            None => flows::find_unbound(&mut conn, &digest, visit.now).await?,
        };
        drop(conn);
        let flow = found.ok_or(SignInError::Stale)?;
        if rehearsal::waits(&flow.stage) {
            return Box::pin(self.rehearsed(flow, name, response, browser.is_none(), visit)).await;
        }
        let Stage::Away { provider, max_age, from } = flow.stage.clone() else {
            return Err(SignInError::Stale);
        };
        // Before it is spent, so that it can be shown again after the wait.
        let _place = self.admit(&provider, &from, visit).await?;
        let asked = Asked { provider: &provider, from: &from, name, max_age, bound: browser.is_some() };
        let outcome = Box::pin(self.answered(flow, &asked, response, visit)).await;
        self.counted(&provider, &from, outcome, visit).await
    }

    /// Lets an answer in to be looked at: not more than so many of one provider at once, and none of a source whose sign-ins have
    /// failed too often.
    pub(super) async fn admit(
        &self,
        provider: &Slug,
        from: &str,
        visit: &Visit<'_>,
    ) -> Result<OwnedSemaphorePermit, SignInError> {
        self.may_come_from(provider, from, visit).await?;
        let known = self.federation.named(provider.as_str()).ok_or(SignInError::Stale)?;
        self.traffic.enter(provider).ok_or_else(|| {
            self.decline(
                &known,
                Why::Crowded,
                "crowded",
                "too many of its answers are looked at already",
                visit,
            )
        })
    }

    /// Counts what was refused.
    pub(super) async fn counted<T>(
        &self,
        provider: &Slug,
        from: &str,
        outcome: Result<T, SignInError>,
        visit: &Visit<'_>,
    ) -> Result<T, SignInError> {
        if let Err(SignInError::Federated(declined)) = &outcome
            && matches!(declined.why, Why::Another | Why::Refused | Why::Untied)
            // Whatever a browser brings by itself costs nobody anything: the provider was not asked.
            && !declined.check.starts_with("callback")
            && declined.check != "provider error"
        {
            self.count_federated(provider, from, visit).await?;
        }
        outcome
    }

    async fn answered(
        &self,
        mut flow: Flow,
        asked: &Asked<'_>,
        response: &Response,
        visit: &Visit<'_>,
    ) -> Result<Returned, SignInError> {
        let &Asked { provider, from, name, max_age, bound } = asked;
        // Spent, whatever comes of it.
        self.advanced(&mut flow, Stage::Returned, None, visit).await?;
        let (provider, identity) = self.vouched(provider, name, response, (max_age, !bound), visit).await?;
        if bound {
            let step = self.settle(&flow, &provider, &identity, visit).await?;
            return Ok(Returned::Stepped(step));
        }
        let sealed = self.sealed_answer(&flow, &provider, &identity, visit)?;
        let stage = Stage::Arrived { provider: provider.name.clone(), from: from.to_owned() };
        self.advanced(&mut flow, stage, Some(&sealed), visit).await?;
        Ok(Returned::Arrived)
    }

    /// What a provider vouched for, to be kept in the flow until the browser shows itself.
    pub(super) fn sealed_answer(
        &self,
        flow: &Flow,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<Vec<u8>, SignInError> {
        let vouched = serde_json::to_vec(identity).unwrap_or_default();
        Ok(self.keys.sealer.seal(&vouched_place(flow, provider), &vouched, visit.chance)?)
    }

    /// Whom a provider vouches for: its answer is from it, came as it was asked to, and its code is good.
    pub(super) async fn vouched(
        &self,
        provider: &Slug,
        name: Option<&str>,
        response: &Response,
        (max_age, posted): (Option<Span>, bool),
        visit: &Visit<'_>,
    ) -> Result<(Arc<Provider>, Identity), SignInError> {
        let provider = self.in_force(provider.as_str(), visit).await?;
        if provider.saml.is_some() {
            let detail = "the answer is one of OpenID Connect, and the provider speaks SAML";
            return Err(self.decline(&provider, Why::Refused, "callback", detail, visit));
        }
        self.came_as_asked(&provider, posted, visit)?;
        self.is_from(&provider, name, response, visit).await?;
        let code = self.code(&provider, response, visit)?;
        let (nonce, verifier) = self.bound_to(response.state.as_deref().unwrap_or_default());
        let redemption = Redemption {
            code,
            verifier: &verifier,
            nonce: &nonce,
            redirect_uri: &self.redirect_uri(&provider),
            max_age,
            now: visit.now,
        };
        let identity = Box::pin(self.federation.redeem(&provider, &redemption)).await;
        let identity = identity.map_err(|trouble| self.troubled(&provider, &trouble, visit))?;
        self.traffic.note(&provider.name, true, visit.now);
        Ok((provider, identity))
    }

    /// The end of an answer that came by a form from another site: the browser shows that it began this sign-in.
    ///
    /// # Errors
    /// As [`SignIn::returned`].
    pub async fn finish(
        &self,
        state: &str,
        browser: &[u8; 32],
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        let flow = self.flow(state, browser, visit).await?;
        let Stage::Arrived { provider, from } = flow.stage.clone() else { return Err(SignInError::Stale) };
        let _place = self.admit(&provider, &from, visit).await?;
        let outcome = Box::pin(self.finished(flow, &provider, visit)).await;
        self.counted(&provider, &from, outcome, visit).await
    }

    async fn finished(
        &self,
        mut flow: Flow,
        provider: &Slug,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        let sealed = flow.pending.take().ok_or(SignInError::Stale)?;
        self.advanced(&mut flow, Stage::Returned, None, visit).await?;
        let provider = self.in_force(provider.as_str(), visit).await?;
        let opened = self.keys.sealer.open(&vouched_place(&flow, &provider), &sealed).map_err(|error| {
            let detail = format!("what was kept of the answer is not of this sign-in and provider: {error}");
            self.decline(&provider, Why::Refused, "kept answer", &detail, visit)
        })?;
        let identity: Identity = serde_json::from_slice(opened.expose()).map_err(|_| SignInError::Stale)?;
        self.settle(&flow, &provider, &identity, visit).await
    }

    /// Moves a flow on in a transaction of its own; two at once cannot both.
    pub(super) async fn advanced(
        &self,
        flow: &mut Flow,
        stage: Stage,
        pending: Option<&[u8]>,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let mut tx = self.db.begin().await?;
        let moved = flows::advance(&mut tx, flow, &stage, pending).await?;
        tx.commit(visit.now).await?;
        if !moved {
            return Err(SignInError::Stale);
        }
        (flow.stage, flow.version) = (stage, flow.version + 1);
        Ok(())
    }

    /// Whether an answer came in the way that was asked for: no other way is open to anybody.
    fn came_as_asked(&self, provider: &Provider, posted: bool, visit: &Visit<'_>) -> Result<(), SignInError> {
        let detail = match (provider.response_mode, posted) {
            (ResponseMode::FormPost, true) | (ResponseMode::Query, false) => return Ok(()),
            (ResponseMode::FormPost, false) => "the answer came in the address, and a form was asked for",
            (ResponseMode::Query, true) => "the answer came by a form, and was asked for in the address",
        };
        Err(self.decline(provider, Why::Refused, "callback mode", detail, visit))
    }

    /// Whether an answer is the provider's that was asked, before its code goes anywhere (`OIDC-21`, RFC 9207 §2.4).
    async fn is_from(
        &self,
        provider: &Provider,
        name: Option<&str>,
        response: &Response,
        visit: &Visit<'_>,
    ) -> Result<(), SignInError> {
        let wrong = |check, detail: &str| Err(self.decline(provider, Why::Refused, check, detail, visit));
        if name.is_some_and(|name| name != provider.name.as_str()) {
            return wrong("callback address", "the answer came to the address of another provider");
        }
        match &response.iss {
            Some(iss) if *iss == provider.issuer => Ok(()),
            Some(iss) => wrong("callback iss", &format!("the answer says that it is from {}", quoted(iss))),
            None if name.is_none() => {
                wrong("callback iss", "the shared address takes only answers that say whom they are from")
            }
            None => {
                let metadata = self.federation.metadata(provider, visit.now).await;
                let metadata = metadata.map_err(|trouble| self.troubled(provider, &trouble, visit))?;
                if metadata.says_issuer {
                    return wrong(
                        "callback iss",
                        "the provider says that its answers name it, and this one does not",
                    );
                }
                Ok(())
            }
        }
    }

    /// The code of an answer.
    fn code<'r>(
        &self,
        provider: &Provider,
        response: &'r Response,
        visit: &Visit<'_>,
    ) -> Result<&'r str, SignInError> {
        if let Some(error) = &response.error {
            let words = response.error_description.as_deref().unwrap_or_default();
            let detail = format!("the provider says {} {}", quoted(error), quoted(words));
            let why = if error == "access_denied" { Why::Cancelled } else { Why::Refused };
            return Err(self.decline(provider, why, "provider error", &detail, visit));
        }
        if response.tokens {
            let detail = "tokens were in the answer, which only a code may be in";
            return Err(self.decline(provider, Why::Refused, "callback", detail, visit));
        }
        let code = response.code.as_deref().filter(|code| !code.is_empty() && code.len() <= 4096);
        code.ok_or_else(|| {
            self.decline(provider, Why::Refused, "callback", "there is no code, or a huge one", visit)
        })
    }

    /// Finds or makes the account, brings it into line with what the provider says, and moves the flow on.
    async fn settle(
        &self,
        flow: &Flow,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<Step, SignInError> {
        match Box::pin(self.settle_inner(flow, provider, identity, visit)).await {
            Ok(step) => Ok(step),
            Err(Halt::Declined(check, detail)) => {
                let links = matches!(flow.purpose, Purpose::Link { .. });
                let why = match check {
                    _ if links => Why::Untied,
                    ANOTHER => Why::Another,
                    _ => Why::Refused,
                };
                Err(self.decline(provider, why, check, &detail, visit))
            }
            Err(Halt::SignIn(SignInError::Wrong)) => {
                Err(self.decline(provider, Why::Refused, "account", "the account may not sign in", visit))
            }
            Err(Halt::SignIn(error)) => Err(error),
        }
    }

    async fn settle_inner(
        &self,
        flow: &Flow,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<Step, Halt> {
        let mut tx = self.db.begin().await?;
        // Two first sign-ins of one person at once, or two people with one name: one comes after the other.
        tx.lock("lock:provision").await?;
        if let Purpose::Link { session } = flow.purpose {
            self.tie(&mut tx, session, provider, identity, visit).await?;
            self.advance(&mut tx, flow, &Stage::Finished { session }).await?;
            tx.commit(visit.now).await?;
            return Ok(Step::Tied);
        }
        let settled = self.account(&mut tx, provider, identity, visit).await?;
        let user = settled.user;
        if let Some((check, detail)) = settled.refused.clone() {
            // What was taken away stays so, although nobody comes in.
            let event = settled.told(provider, identity, Outcome::Refused, visit);
            audit::write(&mut tx, &event, visit.now, visit.chance).await?;
            tx.commit(visit.now).await?;
            return Err(Halt::Declined(check, detail));
        }
        let epoch = users::hold_epoch(&mut tx, user).await?.ok_or(SignInError::Stale)?;
        let first = FirstFactor::Provider(provider.spoken().into());
        // Who signed in there long ago has not given a fresh proof, however quickly the provider answers. When that was, only
        // the provider knows: unsaid, it is not fresh.
        let at = identity.auth_time.unwrap_or(Timestamp::from_millis(0)).min(visit.now);
        let mut proven = Proven::first(user, first, epoch, at).ending(identity.ends);
        if provider.trusts_second(&identity.claims) {
            proven = proven.with_second(SecondFactor::Provider, at);
        }
        match self.raised_level(&mut tx, flow, &proven, visit).await {
            Ok(Some(level)) => {
                if let Some((second, at)) = level.second
                    && proven.level().second.is_none_or(|(_, newer)| newer < at)
                {
                    proven = proven.with_second(second, at);
                }
            }
            Ok(None) => {}
            Err(SignInError::Stale) => {
                let detail = "whoever asked has another account than the one that this subject opens, or their session has ended; if \
                              both are one person, they link the provider under \"My account\" first";
                return Err(Halt::Declined(ANOTHER, detail.to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        let event = settled.told(provider, identity, Outcome::Done, visit);
        audit::write(&mut tx, &event, visit.now, visit.chance).await?;
        self.vouch(&mut tx, flow, provider, identity, visit).await?;
        let step = self.move_on(&mut tx, flow, proven, visit).await?;
        tx.commit(visit.now).await?;
        Ok(step)
    }

    pub(super) fn troubled(
        &self,
        provider: &Provider,
        trouble: &crate::federation::Trouble,
        visit: &Visit<'_>,
    ) -> SignInError {
        let why = match trouble {
            crate::federation::Trouble::Away(_) => {
                self.traffic.note(&provider.name, false, visit.now);
                Why::Away
            }
            crate::federation::Trouble::Refused(_) => Why::Refused,
        };
        self.decline(provider, why, trouble.check(), trouble.detail(), visit)
    }

    /// Leaves the cause for the audit log, and gives what the person may know.
    pub(super) fn decline(
        &self,
        provider: &Provider,
        why: Why,
        check: &'static str,
        detail: &str,
        visit: &Visit<'_>,
    ) -> SignInError {
        let reference = BASE32_NOPAD.encode(&visit.chance.bytes::<10>());
        tracing::warn!(provider = %provider.name, check, detail, reference, "a sign-in at a provider did not succeed");
        let mut event = AuditEvent::new(Actor::Anonymous, "signin.federated", Outcome::Failed)
            .on("provider", &provider.name)
            .with("check", check)
            .with("why", detail)
            .from(Some(visit.address));
        event.reference = Some(reference.clone());
        self.ledger.leave(event);
        let (provider, detail) = (provider.label.clone(), detail.to_owned());
        SignInError::Federated(Box::new(Declined { provider, why, reference, check, detail }))
    }
}
