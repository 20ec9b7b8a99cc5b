//! Identity providers: shown, looked at, switched off and on.

use std::sync::Arc;

use serde_json::json;

use crate::domain::Span;
use crate::domain::provider::{ClientProof, Gift, Overage, Provider, Provision, Test};
use crate::federation::{Finding, Verdict};
use crate::session::Visit;
use crate::signin::SignInError;
use crate::signin::rehearsal::{Outcome, Progress};

use super::answer::{Answer, Exit, Trouble};
use super::{Desk, Typed};

impl Desk<'_> {
    fn provider(&self, name: &str) -> Result<Arc<Provider>, Trouble> {
        let found = self.controls.federation.named(name);
        found.ok_or_else(|| {
            let (kind, name) = ("identity provider", name.to_owned());
            Trouble::Admin(crate::admin::Error::Unknown { kind, name })
        })
    }

    /// `on`, or since when and why not.
    pub(super) async fn provider_state(&self, name: &str) -> Result<String, Trouble> {
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
        if let Some(saml) = &provider.saml {
            return self.saml_show(&provider, saml, &rules.join("; ")).await;
        }
        let client = match provider.client {
            ClientProof::Basic(_) => "client_secret_basic",
            ClientProof::Key(_) => "private_key_jwt",
            ClientProof::Post(_) => "client_secret_post",
            ClientProof::Public => "none",
        };
        let keys = match provider.client {
            ClientProof::Key(_) => format!("{origin}/auth/oidc/{}/jwks.json", provider.name),
            _ => String::new(),
        };
        let authorities = if provider.tls.ca.is_some() { "its own" } else { "those of the machine" };
        let overage = match &provider.overage {
            Overage::Graph(address) => format!("asked of {address}"),
            Overage::Refuse => "refused".to_owned(),
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
            ("client keys", keys),
            ("authorities", authorities.to_owned()),
            ("redirect address", format!("{origin}/auth/sso-callback/{}", provider.name)),
            ("scopes", list(&provider.scopes)),
            ("algorithms", algorithms.join(" ")),
            ("domains", domains.join(" ")),
            ("authoritative", provider.authoritative.to_string()),
            ("provision", provision(provider.provision).to_owned()),
            ("groups overage", overage),
            ("trusted factors", list(&[provider.trust_amr.clone(), provider.trust_acr.clone()].concat())),
            ("rules", rules.join("; ")),
        ]))
    }

    /// Walks everything that can be walked without a person, and begins a sign-in of which nothing stays.
    pub(super) async fn idp_test(&self, name: &str, sign_in: bool) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        self.admin.may_try_provider(self.by, provider.tenant.as_ref()).await?;
        if let Some(saml) = &provider.saml {
            return self.saml_test(&provider, saml).await;
        }
        let now = self.admin.clock.now();
        let findings = self.controls.federation.inspect(&provider, now).await;
        let fine = findings.iter().all(|finding| finding.verdict != Verdict::Failed);
        let row = |finding: Finding| {
            [finding.step.to_owned(), finding.verdict.as_str().to_owned(), finding.found, finding.remedy]
        };
        let rows = findings.into_iter().map(row).collect();
        let mut answer = Answer::rows(["step", "result", "found", "what to do"], rows);
        answer.json = json!({ "steps": answer.for_programs() });
        let stopped = self.admin.stopped_providers(self.by).await?;
        if stopped.iter().any(|(stopped, _)| stopped == name) {
            answer = answer
                .note(format!("it is switched off, so nobody signs in with it: cardea idp enable {name}"));
        }
        if !fine {
            answer.exit = Exit::Refused;
            return Ok(answer.note("a sign-in was not tried: what failed comes first"));
        }
        match &self.controls.signin {
            _ if !sign_in => Ok(answer),
            None => Ok(answer.note("no server runs here, so a sign-in could not be tried")),
            Some(signin) => {
                let handle = signin.rehearse(&provider, &self.visit()).await.map_err(untold)?;
                let origin = &self.admin.settings.portal_origin;
                let address = format!("{origin}/auth/start/{}?rehearsal={}", provider.name, handle.expose());
                if let Some(object) = answer.json.as_object_mut() {
                    object.insert("address".to_owned(), address.into());
                    object.insert("handle".to_owned(), handle.expose().into());
                }
                Ok(answer)
            }
        }
    }

    /// What came of the sign-in of a test, once there is something.
    pub(super) async fn idp_test_outcome(&self, handle: &Typed) -> Result<Answer, Trouble> {
        let signin = self.controls.signin.as_ref();
        let signin = signin.ok_or_else(|| Trouble::Other("no server runs here".to_owned()))?;
        match signin.rehearsal(handle.expose(), &self.visit()).await.map_err(untold)? {
            Progress::Waiting => Ok(Answer { json: json!({ "state": "waiting" }), ..Answer::default() }),
            Progress::Gone => {
                Err(Trouble::Other("nobody has signed in within ten minutes; run the test again".to_owned()))
            }
            Progress::Over(outcome) => Ok(told(&outcome)),
        }
    }

    fn visit(&self) -> Visit<'_> {
        Visit {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            agent: "cardea",
            now: self.admin.clock.now(),
            chance: &*self.admin.chance,
        }
    }

    pub(super) async fn idp_disable(
        &self,
        name: &str,
        reason: &str,
        lasts: Option<Span>,
    ) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        let until = lasts.map(|lasts| self.admin.clock.now() + lasts);
        let by = (&provider.name, provider.tenant.as_ref());
        let ended = self.admin.stop_provider(self.by, by, reason, until).await?;
        let text = format!(
            "identity provider {name} is off: nobody signs in with it; sessions that began with it and ended: {ended}"
        );
        Ok(Answer::about(text, json!({ "name": name, "state": "off", "ended": ended })))
    }

    pub(super) async fn idp_enable(&self, name: &str) -> Result<Answer, Trouble> {
        let provider = self.provider(name)?;
        self.admin.resume_provider(self.by, (&provider.name, provider.tenant.as_ref())).await?;
        Ok(Answer::about(format!("identity provider {name} is on"), json!({ "name": name, "state": "on" })))
    }
}

fn untold(error: SignInError) -> Trouble {
    match error {
        SignInError::Db(error) => error.into(),
        other => Trouble::Other(other.to_string()),
    }
}

/// The outcome of a rehearsal in lines.
fn told(outcome: &Outcome) -> Answer {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(subject) = &outcome.subject {
        facts.push(("subject", subject.clone()));
        let at = outcome.auth_time.map_or_else(|| "not said".to_owned(), |at| at.to_string());
        facts.push(("signed in there", at));
    }
    for (name, value) in &outcome.claims {
        facts.push(("claim", format!("{name} = {value}")));
    }
    if let Some(account) = &outcome.account {
        let would = match account.how.as_str() {
            "made" => "would be made",
            "linked" => "is there, and would be linked",
            _ => "is there, tied to this subject",
        };
        facts.push(("account", format!("{} ({}) {would}", account.username, account.name)));
        if let Some((email, vouched)) = &account.email {
            let worth =
                if *vouched { "verified; apps get it" } else { "something to write to; apps do not get it" };
            facts.push(("address", format!("{email}: {worth}")));
        }
        facts.extend(account.places.iter().map(|place| ("belongs to", place.clone())));
        facts.extend(account.roles.iter().map(|(role, by)| ("role", format!("{role}, by {by}"))));
        facts.extend(account.groups.iter().map(|group| ("group", group.clone())));
        facts.extend(account.passed_over.iter().map(|why| ("passed over", why.clone())));
        let second = if outcome.second {
            "the provider's counts"
        } else {
            "Cardea asks for its own where one is needed"
        };
        facts.push(("second factor", second.to_owned()));
    }
    if let Some((check, detail)) = &outcome.refused {
        facts.push(("refused by", check.clone()));
        facts.push(("found", detail.clone()));
        facts.push(("what to do", remedy(check).to_owned()));
    }
    let mut answer = Answer::facts(&facts);
    answer.json = serde_json::to_value(outcome).unwrap_or_default();
    if outcome.refused.is_some() {
        answer.exit = Exit::Refused;
        return answer.note("nobody would come in; nothing was changed");
    }
    answer.note("this was a test: nobody was signed in, and nothing was changed")
}

/// What is usually done about a check that did not pass; what was found may say it better.
fn remedy(check: &str) -> &'static str {
    match check {
        "callback iss" | "callback address" => {
            "see that the redirect address registered there is this provider's own"
        }
        "callback mode" => "set `response_mode` to what the provider does",
        "claims left out" | "groups overage" => {
            "send only groups assigned to this application, or app roles; or see groups_overage in the manual"
        }
        "id token algorithm" => "add it to `algorithms`, or have the provider sign with one that is there",
        "id token aud" | "id token azp" => "see that `client_id` is the one that the provider knows",
        "id token exp" | "id token iat" | "id token nbf" => "have both clocks keep time by NTP",
        "link" | "provision" => "see `provision`, `authoritative` and `domains`",
        "mapping" => "write a rule with joins, or default_tenant",
        "provider away" => "see whether the provider runs and can be reached from here",
        "provider error" => "see the provider's own log; its words are above",
        "provider off" => "`cardea idp enable`",
        "token answer" => {
            "see client_id, client_secret and client_auth, and the redirect address registered there"
        }
        "userinfo" => "see what the provider answers at its userinfo_endpoint",
        _ => "see docs/identity-providers.md",
    }
}

pub(super) const fn provision(provision: Provision) -> &'static str {
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
