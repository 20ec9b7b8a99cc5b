//! Identity providers: shown, looked at, switched off and on.

use std::sync::Arc;

use serde_json::json;

use crate::domain::Span;
use crate::domain::provider::{ClientProof, Gift, Provider, Provision, Test};
use crate::federation::Trouble as Federated;

use super::Desk;
use super::answer::{Answer, Exit, Trouble};

impl Desk<'_> {
    fn provider(&self, name: &str) -> Result<Arc<Provider>, Trouble> {
        let found = self.controls.federation.named(name);
        found.ok_or_else(|| {
            let (kind, name) = ("identity provider", name.to_owned());
            Trouble::Admin(crate::admin::Error::Unknown { kind, name })
        })
    }

    /// `on`, or since when and why not.
    async fn provider_state(&self, name: &str) -> Result<String, Trouble> {
        let stopped = self.admin.stopped_providers(self.by).await?;
        Ok(match stopped.iter().find(|(stopped, _)| stopped == name) {
            None => "on".to_owned(),
            Some((_, why)) => format!("off since {} by {}: {}", why.at, why.by, why.reason),
        })
    }

    pub(super) async fn idp_list(&self) -> Result<Answer, Trouble> {
        let mut rows = Vec::new();
        for provider in self.controls.federation.providers().iter() {
            let tenant =
                provider.tenant.as_ref().map_or_else(|| "everybody's".to_owned(), ToString::to_string);
            let state = self.provider_state(provider.name.as_str()).await?;
            rows.push([
                provider.name.to_string(),
                provider.label.clone(),
                tenant,
                provider.issuer.clone(),
                provision(provider.provision).to_owned(),
                state,
            ]);
        }
        Ok(Answer::rows(["name", "label", "tenant", "issuer", "provision", "state"], rows))
    }

    pub(super) async fn idp_show(&self, name: &str) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        let origin = &self.admin.settings.portal_origin;
        let list = |words: &[String]| words.join(" ");
        let domains: Vec<String> = provider.domains.iter().map(ToString::to_string).collect();
        let rules: Vec<String> =
            provider.rules.iter().enumerate().map(|(at, rule)| words(at, rule)).collect();
        let client = match provider.client {
            ClientProof::Basic(_) => "client_secret_basic",
            ClientProof::Key(_) => "private_key_jwt",
            ClientProof::Post(_) => "client_secret_post",
            ClientProof::Public => "none",
        };
        let algorithms: Vec<&str> = provider.algorithms.iter().map(|it| it.as_str()).collect();
        Ok(Answer::facts(&[
            ("name", provider.name.to_string()),
            ("label", provider.label.clone()),
            ("state", self.provider_state(name).await?),
            ("written at", provider.source.to_string()),
            ("tenant", provider.tenant.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("issuer", provider.issuer.clone()),
            ("client", provider.client_id.clone()),
            ("client auth", client.to_owned()),
            ("redirect address", format!("{origin}/auth/sso-callback/{}", provider.name)),
            ("scopes", list(&provider.scopes)),
            ("algorithms", algorithms.join(" ")),
            ("domains", domains.join(" ")),
            ("authoritative", provider.authoritative.to_string()),
            ("provision", provision(provider.provision).to_owned()),
            ("trusted factors", list(&[provider.trust_amr.clone(), provider.trust_acr.clone()].concat())),
            ("rules", rules.join("; ")),
        ]))
    }

    /// Walks what can be walked without a person: discovery and keys.
    pub(super) async fn idp_test(&self, name: &str) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        let (federation, now) = (&self.controls.federation, self.admin.clock.now());
        let mut rows: Vec<[String; 3]> = Vec::new();
        let mut note = |step: &str, outcome: Result<String, Federated>| {
            let fine = outcome.is_ok();
            let (word, said) = match outcome {
                Ok(said) => ("passed", said),
                Err(trouble) => ("failed", trouble.detail().to_owned()),
            };
            rows.push([step.to_owned(), word.to_owned(), said]);
            fine
        };
        let metadata = federation.metadata(&provider, now).await;
        let found = metadata.map(|found| format!("{} is who it should be", found.issuer));
        let mut fine = note("discovery", found);
        if fine {
            let keys = federation.keys(&provider, now).await;
            fine = note("keys", keys.map(|keys| format!("{}: {}", keys.len(), keys.words())));
        }
        let mut answer = Answer::rows(["step", "result", "found"], rows);
        answer.exit = if fine { Exit::Done } else { Exit::Refused };
        let address = format!("{}/auth/start/{}", self.admin.settings.portal_origin, provider.name);
        Ok(answer.note(format!("a sign-in itself is tried in a browser: {address}")))
    }

    pub(super) async fn idp_disable(
        &self,
        name: &str,
        reason: &str,
        lasts: Option<Span>,
    ) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        let until = lasts.map(|lasts| self.admin.clock.now() + lasts);
        self.admin.stop_provider(self.by, (&provider.name, provider.tenant.as_ref()), reason, until).await?;
        let text = format!("identity provider {name} is off: nobody signs in with it");
        Ok(Answer::about(text, json!({ "name": name, "state": "off" }))
            .note("sessions that came of it go on; `cardea session list` shows them"))
    }

    pub(super) async fn idp_enable(&self, name: &str) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        self.admin.resume_provider(self.by, (&provider.name, provider.tenant.as_ref())).await?;
        Ok(Answer::about(format!("identity provider {name} is on"), json!({ "name": name, "state": "on" })))
    }
}

const fn provision(provision: Provision) -> &'static str {
    match provision {
        Provision::Create => "create",
        Provision::LinkOnly => "link-only",
        Provision::Off => "off",
        Provision::Update => "update",
    }
}

/// A rule in one line.
fn words(at: usize, rule: &crate::domain::provider::Rule) -> String {
    let test = match &rule.test {
        Test::EndsWith(end) => format!("ends with {end}"),
        Test::Has(value) => format!("has {value}"),
        Test::Present => "is there".to_owned(),
    };
    let roles = rule.roles.iter().map(|role| Gift::Role(role.clone()));
    let groups = rule.groups.iter().map(|group| Gift::Group(group.clone()));
    let joins = rule.joins.iter().map(|_| Gift::Membership);
    let gifts: Vec<String> = joins
        .chain(roles)
        .chain(groups)
        .map(|gift| match gift {
            Gift::Group(group) => format!("group {group}"),
            Gift::Membership => {
                format!("membership in {}", rule.joins.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            Gift::Role(role) => format!("role {role}"),
        })
        .collect();
    let place = rule.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{}. {} {test}: {}{place}", at + 1, rule.claim.0, gifts.join(", "))
}
