//! SAML providers: shown and looked at.

use serde_json::json;

use crate::domain::Span;
use crate::domain::provider::Provider;
use crate::domain::saml::{Description, Saml, Source};

use super::Desk;
use super::answer::{Answer, Exit, Trouble};
use super::providers::provision;

/// How long before its end a certificate is warned about (`SAML-48`).
const SOON: Span = Span::hours(30 * 24);
/// What to do about metadata that cannot be had or believed.
const METADATA: &str = "see that the address or file, and entity_id, are the provider's";
/// What to do about a certificate that ends.
const CERTIFICATE: &str = "ask the provider for its next one";
/// What to do about a provider that takes no redirects.
const REQUEST: &str = "have the provider offer the HTTP-Redirect binding for sign-in";

impl Desk<'_> {
    pub(super) async fn saml_show(
        &self,
        provider: &Provider,
        saml: &Saml,
        rules: &str,
    ) -> Result<Answer, Trouble> {
        let origin = &self.admin.settings.portal_origin;
        let domains: Vec<String> = provider.domains.iter().map(ToString::to_string).collect();
        let source = match &saml.source {
            Source::Address(address) => address.clone(),
            Source::Given(_) => "the configuration".to_owned(),
        };
        let mut want = Vec::new();
        for (wanted, word) in [
            (saml.want.signed_assertion, "signed-assertion"),
            (saml.want.signed_response, "signed-response"),
            (saml.want.encrypted_assertion, "encrypted-assertion"),
        ] {
            if wanted {
                want.push(word);
            }
        }
        Ok(Answer::facts(&[
            ("name", provider.name.to_string()),
            ("label", provider.label.clone()),
            ("state", self.provider_state(provider.name.as_str()).await?),
            ("written at", provider.source.to_string()),
            ("tenant", provider.tenant.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("speaks", "SAML 2.0".to_owned()),
            ("entity id", provider.issuer.clone()),
            ("known from", source),
            ("our entity id", provider.client_id.clone()),
            ("our metadata", format!("{origin}/auth/saml/{}/metadata", provider.name)),
            ("our address for answers", format!("{origin}/auth/sso-callback/{}", provider.name)),
            ("wanted", want.join(" ")),
            ("name id", saml.name_id.clone().unwrap_or_default()),
            ("people known by", saml.names.subject.clone().unwrap_or_else(|| "the NameID".to_owned())),
            ("domains", domains.join(" ")),
            ("authoritative", provider.authoritative.to_string()),
            ("provision", provision(provider.provision).to_owned()),
            ("trusted factors", provider.trust_acr.join(" ")),
            ("rules", rules.to_owned()),
        ]))
    }

    /// Walks what can be walked without a person: metadata and certificates.
    pub(super) async fn saml_test(&self, provider: &Provider, saml: &Saml) -> Result<Answer, Trouble> {
        let now = self.admin.clock.now();
        let mut rows: Vec<[String; 4]> = Vec::new();
        let mut row = |step: &str, word: &str, said: String, what: &str| {
            rows.push([step.to_owned(), word.to_owned(), said, what.to_owned()]);
        };
        let fine = match self.controls.federation.description(provider, saml, now).await {
            Err(trouble) => {
                row("metadata", "failed", trouble.detail().to_owned(), METADATA);
                false
            }
            Ok(found) => {
                row("metadata", "passed", format!("{} is who it should be", found.entity_id), "");
                for certificate in &found.certificates {
                    let left = now.until(certificate.not_after);
                    let ends = format!("{}, until {}", certificate.key, certificate.not_after.words());
                    let (word, what) = if left < SOON { ("warning", CERTIFICATE) } else { ("passed", "") };
                    row("certificate", word, ends, what);
                }
                let (word, said) = request(&found);
                row("request", word, said, if word == "failed" { REQUEST } else { "" });
                word != "failed"
            }
        };
        let mut answer = Answer::rows(["step", "result", "found", "what to do"], rows);
        answer.json = json!({ "steps": answer.for_programs() });
        answer.exit = if fine { Exit::Done } else { Exit::Refused };
        let origin = &self.admin.settings.portal_origin;
        Ok(answer
            .note(format!("our metadata for the provider: {origin}/auth/saml/{}/metadata", provider.name))
            .note(format!(
                "there is no test of a sign-in with SAML: try a real one in a browser, at {origin}/auth/start/{}",
                provider.name
            )))
    }
}

/// How a request would go to the provider.
fn request(found: &Description) -> (&'static str, String) {
    match &found.sso_redirect {
        None => ("failed", "it takes requests by POST only, and they are sent by redirect".to_owned()),
        Some(to) if found.wants_signed_requests => ("passed", format!("signed, by redirect to {to}")),
        Some(to) => ("passed", format!("by redirect to {to}")),
    }
}
