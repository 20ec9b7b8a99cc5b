//! Signing in at a SAML provider: the request, the answer that its page has the browser post, and from there on the way of every
//! provider.
//!
//! The `RelayState` is the handle of the flow, and the id of the request follows from it and a key of ours: an answer must bring
//! both, and they must fit (`SAML-27`). The post comes from another site and brings no cookie: what was verified waits sealed in
//! the flow until the browser that began it shows itself (`SAML-29`).

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::token::handle_digest;
use crate::domain::Span;
use crate::domain::login::{Purpose, Stage};
use crate::domain::provider::Provider;
use crate::domain::saml::{Description, Saml};
use crate::federation::{Identity, Kept};
use crate::protocol::oidc::Refused;
use crate::protocol::saml::{self, AuthnRequest, Expected, Verified};
use crate::session::Visit;
use crate::store::flows::{self, Flow};
use crate::store::{DbError, assertions};

use super::federated::{Asked, Departure, Returned, Why};
use super::{SignIn, SignInError};

/// How long a document may take: everything in it is bounded, so this is far from what any takes.
const BUDGET: Duration = Duration::from_secs(2);

impl SignIn {
    /// Our metadata for a provider, if there is one of that name that speaks SAML.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn saml_metadata(&self, name: &str, visit: &Visit<'_>) -> Result<Option<String>, SignInError> {
        let Some(provider) = self.federation.named(name) else { return Ok(None) };
        let Some(saml) = &provider.saml else { return Ok(None) };
        let keys = self.saml_keys(visit).await?;
        let ours = saml::Ours {
            entity_id: &provider.client_id,
            address: &self.redirect_uri(&provider),
            name_id: saml.name_id.as_deref(),
            signs: saml.sign_requests,
            signing: &keys.signing_certificates,
            opening: &keys.opening_certificates,
        };
        Ok(Some(ours.xml()))
    }

    /// Begins a sign-in at a SAML provider: the address to send the browser to.
    pub(super) async fn depart_saml(
        &self,
        (provider, saml): (&Arc<Provider>, &Saml),
        to: &Departure<'_>,
        (browser, from): (&[u8; 32], String),
        visit: &Visit<'_>,
    ) -> Result<String, SignInError> {
        let described = self.federation.description(provider, saml, visit.now).await;
        let described = described.map_err(|trouble| self.troubled(provider, &trouble, visit))?;
        self.traffic.note(&provider.name, true, visit.now);
        let Some(destination) = &described.sso_redirect else {
            let detail = "the provider takes requests by POST only, and they are sent by redirect";
            return Err(self.decline(provider, Why::Refused, "saml metadata", detail, visit));
        };
        // Whoever ties an identity says who they are there, and not whoever used the browser last.
        let anew = to.anew || matches!(to.purpose, Purpose::Link { .. });
        let max_age = if anew { Some(Span::ZERO) } else { provider.max_age };
        let stage = Stage::Away { provider: provider.name.clone(), max_age, from };
        let state = self.add_flow(stage, to.purpose, to.return_to, browser, visit).await?.handle;
        let request = AuthnRequest {
            id: &self.request_id(state.expose()),
            issuer: &provider.client_id,
            address: &self.redirect_uri(provider),
            destination,
            name_id: saml.name_id.as_deref(),
            anew,
            contexts: &provider.acr_values,
            now: visit.now,
        };
        let keys = if saml.sign_requests || described.wants_signed_requests {
            Some(self.saml_keys(visit).await?)
        } else {
            None
        };
        let signer = keys.as_ref().map(|keys| &keys.signing);
        Ok(saml::redirect(destination, &request.xml(), state.expose(), signer)?)
    }

    /// The id of the request of a flow: 256 bits that follow from its handle, as a name in XML (`SAML-46`).
    fn request_id(&self, state: &str) -> String {
        format!("_{}", self.keys.web.federation.tag("saml request", &[state.as_bytes()]))
    }

    /// Takes a response that a browser has posted. `name` is the provider whose address it came to, if it came to one.
    ///
    /// # Errors
    /// [`SignInError::Stale`] when it answers nothing that was begun here, or something that was answered before;
    /// [`SignInError::Federated`] when it is not right.
    pub async fn returned_saml(
        &self,
        name: Option<&str>,
        response: String,
        relay_state: &str,
        visit: &Visit<'_>,
    ) -> Result<Returned, SignInError> {
        let digest = handle_digest(relay_state).ok_or(SignInError::Stale)?;
        let found = flows::find_unbound(&mut self.db.read().await?, &digest, visit.now).await?;
        let flow = found.ok_or(SignInError::Stale)?;
        let Stage::Away { provider, max_age, from } = flow.stage.clone() else {
            return Err(SignInError::Stale);
        };
        // Before it is spent, so that it can be shown again after the wait.
        let _place = self.admit(&provider, &from, visit).await?;
        let asked = Asked { provider: &provider, from: &from, name, max_age, bound: false };
        let outcome = Box::pin(self.answered_saml(flow, &asked, (response, relay_state), visit)).await;
        self.counted(&provider, &from, outcome, visit).await
    }

    async fn answered_saml(
        &self,
        mut flow: Flow,
        asked: &Asked<'_>,
        (response, relay_state): (String, &str),
        visit: &Visit<'_>,
    ) -> Result<Returned, SignInError> {
        let &Asked { provider, from, name, max_age, .. } = asked;
        // Spent, whatever comes of it.
        self.advanced(&mut flow, Stage::Returned, None, visit).await?;
        let provider = self.in_force(provider.as_str(), visit).await?;
        let wrong = |check, detail: &str| Err(self.decline(&provider, Why::Refused, check, detail, visit));
        if name.is_some_and(|name| name != provider.name.as_str()) {
            return wrong("callback address", "the answer came to the address of another provider");
        }
        let Some(saml) = &provider.saml else {
            return wrong("callback", "the answer is one of SAML, and the provider speaks OpenID Connect");
        };
        let described = self.federation.description(&provider, saml, visit.now).await;
        let described = described.map_err(|trouble| self.troubled(&provider, &trouble, visit))?;
        self.traffic.note(&provider.name, true, visit.now);
        let response: Arc<str> = response.into();
        let keys = Arc::new(self.saml_keys(visit).await?.opening);
        let expected = |described: &Description| Expected {
            issuer: provider.issuer.clone(),
            audience: provider.client_id.clone(),
            // Where it came to: the provider's own address, or that of all, which the answer must then name.
            address: match name {
                Some(_) => self.redirect_uri(&provider),
                None => format!("{}/auth/sso-callback", self.settings.portal_origin),
            },
            request: self.request_id(relay_state),
            certificates: described.certificates.clone(),
            keys: Arc::clone(&keys),
            want: saml.want,
            contexts: provider.acr_values.clone(),
            max_age,
            skew: saml.skew,
            now: visit.now,
        };
        let verified = match self.verified(&response, expected(&described)).await? {
            // New certificates, perhaps: looked at once (`SAML-48`).
            Err(refused) if refused.keys_may_be_old => {
                let newer = self.federation.redescribed(&provider, saml, &described, visit.now).await;
                match newer.map_err(|trouble| self.troubled(&provider, &trouble, visit))? {
                    Some(newer) => self.verified(&response, expected(&newer)).await?,
                    None => Err(refused),
                }
            }
            other => other,
        };
        let claimed = verified.and_then(|verified| {
            let (subject, claims) = saml::claims(&provider, saml, &verified)?;
            Ok((verified, subject, claims))
        });
        let (verified, subject, claims) = match claimed {
            Ok(claimed) => claimed,
            Err(Refused { check, detail, .. }) => {
                let why = if check == "saml status" && detail.contains("RequestDenied") {
                    Why::Cancelled
                } else {
                    Why::Refused
                };
                return Err(self.decline(&provider, why, check, &detail, visit));
            }
        };
        let identity = Identity {
            subject,
            claims,
            auth_time: Some(verified.auth_time),
            at: visit.now,
            kept: Kept::default(),
            ends: verified.session_ends,
        };
        let sealed = self.sealed_answer(&flow, &provider, &identity, visit)?;
        let stage = Stage::Arrived { provider: provider.name.clone(), from: from.to_owned() };
        let mut tx = self.db.begin().await?;
        for id in &verified.ids {
            match assertions::remember(&mut tx, &provider.name, id, verified.remember_until).await {
                Ok(()) => {}
                Err(DbError::Conflict(_)) => {
                    drop(tx);
                    return wrong("saml replay", "this response or assertion has come before (SAML-38)");
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !flows::advance(&mut tx, &flow, &stage, Some(&sealed)).await? {
            return Err(SignInError::Stale);
        }
        tx.commit(visit.now).await?;
        Ok(Returned::Arrived)
    }

    /// Verifies on a thread of its own, of few, with a limit on who waits.
    async fn verified(
        &self,
        response: &Arc<str>,
        expected: Expected,
    ) -> Result<Result<Verified, Refused>, SignInError> {
        let response = Arc::clone(response);
        let work = self.documents.run(move || saml::verify(&response, &expected));
        match tokio::time::timeout(BUDGET, work).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Ok(Err(Refused::by("saml xml", "it took too long to verify"))),
        }
    }
}
