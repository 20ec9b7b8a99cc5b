//! Identity providers as the configuration describes them, and what their claims give: a pure function.

use serde_json::{Map, Value};

use std::sync::Arc;

use super::policy::Source;
use super::route::UpstreamTls;
use super::{Hostname, PlacePath, Secret, Slug, Span};

/// The claims that a provider made about somebody, after every check.
pub type Claims = Map<String, Value>;

/// A provider that people sign in with.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Where it is written.
    pub source: Source,
    /// Its name in addresses, policies and on the command line. Never reused for another provider: accounts are tied to it.
    pub name: Slug,
    /// Its name on the button.
    pub label: String,
    /// The tenant it belongs to, inside which alone it gives anything; none for a provider of everybody.
    pub tenant: Option<Slug>,
    /// For a provider of everybody: where people belong for whom no rule says so.
    pub default_tenant: Option<Slug>,
    /// The issuer, exactly as the provider writes it.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// How we prove that.
    pub client: ClientProof,
    /// How it proves to us who it is.
    pub tls: Arc<UpstreamTls>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Signature algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// How the answer comes back.
    pub response_mode: ResponseMode,
    /// Mail domains whose people are led here.
    pub domains: Vec<Hostname>,
    /// Whether it speaks for the addresses in those domains: a verified one then links to the account that has it.
    pub authoritative: bool,
    /// What happens at the first sight of somebody.
    pub provision: Provision,
    /// Which claim is which of our attributes.
    pub attributes: Attributes,
    /// Claims whose addresses the provider has verified before it says them. Of `email` only `email_verified` says that.
    pub verified_claims: Vec<ClaimPath>,
    /// What claims give. All that match add up.
    pub rules: Vec<Rule>,
    /// Values of `amr` that count as a second factor (RFC 8176).
    pub trust_amr: Vec<String>,
    /// Values of `acr` that count as a second factor.
    pub trust_acr: Vec<String>,
    /// `acr_values` that are asked for.
    pub acr_values: Vec<String>,
    /// How long ago the person may have signed in there.
    pub max_age: Option<Span>,
    /// What happens when somebody has more groups than fit into a token.
    pub overage: Overage,
    /// Whether signing out here signs out there.
    pub sign_out: bool,
    /// Whether sessions end when the provider says so.
    pub follow: Option<Follow>,
    /// What there is besides if it speaks SAML: then `issuer` is its entity id, `client_id` is ours, and what only OpenID Connect
    /// knows is not looked at.
    pub saml: Option<super::saml::Saml>,
}

/// How a session follows the provider that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// How often the provider is asked.
    pub every: Span,
    /// How long a session goes on while it does not answer.
    pub grace: Span,
}

// A secret compares in constant time and is otherwise like any other value.
impl Eq for Provider {}

/// How we prove to a provider who we are (`OpenID` Connect Core §9).
#[derive(Clone, Debug, PartialEq)]
pub enum ClientProof {
    /// `client_secret_basic`.
    Basic(Secret<String>),
    /// `private_key_jwt`.
    Key(KeyProof),
    /// `none`: a public client; PKCE alone ties the code to us.
    Public,
    /// `client_secret_post`.
    Post(Secret<String>),
}

/// A key of ours that signs who we are, for one provider.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyProof {
    /// The key, as PEM; judged when it was read.
    pub pem: Secret<String>,
    /// What it signs with, where a key can sign with several.
    pub algorithm: Option<Algorithm>,
    /// For whom the proof is.
    pub audience: Audience,
}

/// Whom a proof of ours names as its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The issuer: no other provider can take the proof for one that is meant for it.
    Issuer,
    /// The address of the token endpoint, as the provider writes it.
    TokenEndpoint,
}

/// What happens when a provider says that somebody has more groups than fit into a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overage {
    /// They are asked of Microsoft Graph at this address, with the person's own token.
    Graph(String),
    /// The sign-in is refused.
    Refuse,
}

/// A signature algorithm for ID tokens (RFC 7518 §3.1, RFC 8037). Never `none`, never one with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what RFC 7518 calls them")]
pub enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// As a token's header writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }
}

/// How a provider sends its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// By a form that the browser posts.
    FormPost,
    /// In the address.
    Query,
}

/// What happens when somebody comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// An account is made; later sign-ins leave name and address alone.
    Create,
    /// Nobody new: the account that has the verified address is linked, if the provider speaks for its domain.
    LinkOnly,
    /// Nothing: only who is known already comes in.
    Off,
    /// An account is made, and name and address follow the provider.
    Update,
}

impl Provision {
    /// Whether accounts are made.
    #[must_use]
    pub const fn creates(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }
}

/// Which claim is which of our attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The address.
    pub email: ClaimPath,
    /// How the person is called.
    pub name: ClaimPath,
    /// What the username is made of.
    pub username: ClaimPath,
}

/// The way to a claim: the whole text as a name, or else the parts between dots as names inside one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(pub String);

impl ClaimPath {
    /// The claim, if it is there.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        if let Some(value) = claims.get(&self.0) {
            return Some(value);
        }
        let mut parts = self.0.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// The claim as text. A text with control characters is none: nobody is called so, and it would pass for another.
    #[must_use]
    pub fn text<'c>(&self, claims: &'c Claims) -> Option<&'c str> {
        self.find(claims).and_then(Value::as_str).filter(|text| plain(text))
    }

    /// The name of the claim that it begins at.
    #[must_use]
    pub fn root<'p>(&'p self, claims: &Claims) -> &'p str {
        if claims.contains_key(&self.0) { &self.0 } else { self.0.split('.').next().unwrap_or(&self.0) }
    }
}

/// `[[idp.rule]]`: who is what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it is written.
    pub source: Source,
    /// About which claim.
    pub claim: ClaimPath,
    /// What must hold of it.
    pub test: Test,
    /// The place at which it gives roles.
    pub at: Option<PlacePath>,
    /// The place in which it makes people members.
    pub joins: Option<PlacePath>,
    /// Roles.
    pub roles: Vec<Slug>,
    /// Groups.
    pub groups: Vec<Slug>,
}

/// What must hold of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It ends so; in a list, one of its entries does.
    EndsWith(String),
    /// It is this; in a list, one of its entries is.
    Has(String),
    /// It is there.
    Present,
}

/// What a rule gives, before anybody has looked whether it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain {
    /// What.
    pub what: Gift,
    /// Where; the provider's tenant when the rule does not say.
    pub at: Option<PlacePath>,
    /// The rule, in words: `rule 2 of entra (cardea.toml:40)`.
    pub origin: String,
}

/// A role, a group or a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gift {
    /// A group of the tenant.
    Group(Slug),
    /// Membership at the place.
    Membership,
    /// A role at the place.
    Role(Slug),
}

impl Provider {
    /// Its name with what it speaks, as sessions and policies know it: `oidc:entra`, `saml:partners`.
    #[must_use]
    pub fn spoken(&self) -> String {
        format!("{}:{}", if self.saml.is_some() { "saml" } else { "oidc" }, self.name)
    }

    /// What the claims give. The same claims and rules always give the same.
    #[must_use]
    pub fn gains(&self, claims: &Claims) -> Vec<Gain> {
        let mut gains = Vec::new();
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| self.applies(rule, claims)) {
            let origin = format!("rule {} of {} ({})", index + 1, self.name, rule.source);
            let mut give = |what, at: &Option<PlacePath>| {
                gains.push(Gain { what, at: at.clone(), origin: origin.clone() });
            };
            if rule.joins.is_some() {
                give(Gift::Membership, &rule.joins);
            }
            for role in &rule.roles {
                give(Gift::Role(role.clone()), &rule.at);
            }
            for group in &rule.groups {
                give(Gift::Group(group.clone()), &rule.at);
            }
        }
        gains
    }

    /// Whether a rule applies. An address that the provider has not verified proves nothing, whatever claim it is in
    /// (`OIDC-23`): people may be able to write it themselves.
    fn applies(&self, rule: &Rule, claims: &Claims) -> bool {
        let Some(value) = rule.claim.find(claims) else { return false };
        let of_addresses = rule.claim.0 == "email"
            || rule.claim == self.attributes.email
            || matches!(&rule.test, Test::EndsWith(end) if end.contains('@'));
        // In a list, a text with an @ may be the name of a group.
        let address = |text: &str| of_addresses || (!value.is_array() && text.contains('@'));
        let counts = |text: &str| !address(text) || self.has_verified(&rule.claim, text, claims);
        match &rule.test {
            Test::EndsWith(end) => any_text(value, |text| text.ends_with(end.as_str()) && counts(text)),
            Test::Has(wanted) => any_text(value, |text| text == wanted && counts(text)),
            Test::Present => match value {
                Value::Null | Value::Bool(false) => false,
                Value::String(text) => plain(text) && counts(text),
                _ => !of_addresses || any_text(value, counts),
            },
        }
    }

    /// Whether the provider has verified an address that it says in a claim. `email_verified` speaks of the address in `email`,
    /// wherever that stands, and of no other; a `false` there is never outvoted.
    #[must_use]
    pub fn has_verified(&self, claim: &ClaimPath, text: &str, claims: &Claims) -> bool {
        let flag = claims.get("email_verified");
        let of_it =
            claims.get("email").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(text));
        match flag.filter(|_| of_it) {
            Some(flag) => *flag == Value::Bool(true),
            None => claim.0 != "email" && self.verified_claims.contains(claim),
        }
    }

    /// Every claim that attributes and rules look at.
    pub fn wanted(&self) -> impl Iterator<Item = &ClaimPath> {
        let attributes = [&self.attributes.email, &self.attributes.name];
        attributes.into_iter().chain(self.rules.iter().map(|rule| &rule.claim))
    }

    /// Whether `amr` or `acr` says that the provider has asked for a second factor which counts here.
    #[must_use]
    pub fn trusts_second(&self, claims: &Claims) -> bool {
        let amr = claims.get("amr").and_then(Value::as_array).is_some_and(|list| {
            list.iter().filter_map(Value::as_str).any(|word| self.trust_amr.iter().any(|it| it == word))
        });
        let acr = claims.get("acr").and_then(Value::as_str);
        amr || acr.is_some_and(|word| self.trust_acr.iter().any(|it| it == word))
    }
}

/// Whether a text is free of control characters.
fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a claim, or one entry of a list, passes as text. Numbers and flags are what JSON writes for them.
fn any_text(value: &Value, test: impl Fn(&str) -> bool) -> bool {
    let one = |value: &Value| match value {
        Value::String(text) => plain(text) && test(text),
        Value::Number(_) | Value::Bool(_) => test(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match value {
        Value::Array(list) => list.iter().any(one),
        other => one(other),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        serde_json::from_str(text).unwrap()
    }

    fn rule(claim: &str, test: Test, roles: &[&str]) -> Rule {
        Rule {
            source: Source("cardea.toml:1".into()),
            claim: ClaimPath(claim.into()),
            test,
            at: None,
            joins: None,
            roles: roles.iter().map(|role| Slug::parse(role).unwrap()).collect(),
            groups: Vec::new(),
        }
    }

    fn roles(provider: &Provider, text: &str) -> Vec<(String, String)> {
        provider
            .gains(&claims(text))
            .into_iter()
            .filter_map(|gain| match gain.what {
                Gift::Role(role) => Some((role.to_string(), gain.origin)),
                _ => None,
            })
            .collect()
    }

    /// One for tests, here and above.
    pub(crate) fn provider(rules: Vec<Rule>) -> Provider {
        let path = |text: &str| ClaimPath(text.into());
        Provider {
            source: Source("cardea.toml:1".into()),
            name: Slug::parse("entra").unwrap(),
            label: "Microsoft".into(),
            tenant: None,
            default_tenant: None,
            issuer: "https://idp.example".into(),
            client_id: "cardea".into(),
            client: ClientProof::Public,
            tls: Arc::default(),
            scopes: Vec::new(),
            algorithms: vec![Algorithm::Rs256],
            response_mode: ResponseMode::Query,
            domains: Vec::new(),
            authoritative: false,
            provision: Provision::Create,
            attributes: Attributes { email: path("email"), name: path("name"), username: path("name") },
            verified_claims: vec![path("upn")],
            rules,
            trust_amr: vec!["mfa".into()],
            trust_acr: vec!["https://refeds.org/profile/mfa".into()],
            acr_values: Vec::new(),
            max_age: None,
            overage: Overage::Refuse,
            sign_out: true,
            follow: None,
            saml: None,
        }
    }

    #[test]
    fn all_rules_that_match_add_up_and_each_grant_knows_its_rule() {
        let provider = provider(vec![
            rule("groups", Test::Has("fin".into()), &["analyst"]),
            rule("groups", Test::Has("ops".into()), &["operator"]),
            rule("realm.roles", Test::Has("lead".into()), &["manager", "analyst"]),
        ]);
        let given = roles(&provider, r#"{"groups":["x","fin"],"realm":{"roles":["lead"]}}"#);
        let expected = [
            ("analyst", "rule 1 of entra (cardea.toml:1)"),
            ("manager", "rule 3 of entra (cardea.toml:1)"),
            ("analyst", "rule 3 of entra (cardea.toml:1)"),
        ];
        assert_eq!(given, expected.map(|(role, rule)| (role.to_owned(), rule.to_owned())));
        assert!(roles(&provider, r#"{"groups":"finance"}"#).is_empty());
    }

    #[test]
    fn oidc_23_an_address_that_is_not_verified_matches_no_rule() {
        let provider = provider(vec![rule("email", Test::EndsWith("@acme.example".into()), &["staff"])]);
        for (verified, given) in [("true", 1), ("false", 0), ("\"true\"", 0), ("1", 0), ("null", 0)] {
            let text = format!(r#"{{"email":"a@acme.example","email_verified":{verified}}}"#);
            assert_eq!(roles(&provider, &text).len(), given, "{verified}");
        }
        assert!(roles(&provider, r#"{"email":"a@acme.example"}"#).is_empty());
    }

    #[test]
    fn oidc_23_no_claim_passes_off_an_address_that_is_not_verified() {
        let end = || Test::EndsWith("@acme.example".into());
        let has = || Test::Has("a@acme.example".into());
        let given = |claim: &str, test: Test, text: &str| {
            !roles(&provider(vec![rule(claim, test, &["staff"])]), text).is_empty()
        };
        for (claim, test, text, gives) in [
            ("mail", end(), r#"{"mail":"a@acme.example"}"#, false),
            ("mail", end(), r#"{"mail":["x@b.example","a@acme.example"]}"#, false),
            ("mail", has(), r#"{"mail":"a@acme.example","email_verified":true}"#, false),
            ("mail", Test::Present, r#"{"mail":"a@acme.example"}"#, false),
            (
                "preferred_username",
                Test::EndsWith("acme.example".into()),
                r#"{"preferred_username":"a@acme.example"}"#,
                false,
            ),
            // The address that the flag is about, under another name.
            (
                "mail",
                end(),
                r#"{"mail":"a@acme.example","email":"A@acme.example","email_verified":true}"#,
                true,
            ),
            (
                "mail",
                end(),
                r#"{"mail":"a@acme.example","email":"b@acme.example","email_verified":true}"#,
                false,
            ),
            // Claims that the operator says are verified, and no word of the provider against it.
            ("upn", end(), r#"{"upn":"a@acme.example"}"#, true),
            (
                "upn",
                end(),
                r#"{"upn":"a@acme.example","email":"b@acme.example","email_verified":false}"#,
                true,
            ),
            (
                "upn",
                end(),
                r#"{"upn":"a@acme.example","email":"a@acme.example","email_verified":false}"#,
                false,
            ),
            // Groups are called what they are called.
            ("groups", has(), r#"{"groups":["a@acme.example"]}"#, true),
            ("groups", end(), r#"{"groups":["a@acme.example"]}"#, false),
            ("department", Test::Present, r#"{"department":"it"}"#, true),
        ] {
            let word = format!("{claim} {test:?} {text}");
            assert_eq!(given(claim, test, text), gives, "{word}");
        }
    }

    #[test]
    fn a_text_with_control_characters_is_nobody_and_matches_nothing() {
        let text = "{\"name\":\"Grace\\u0000\",\"groups\":[\"fin\\n\",\"ops\"]}";
        assert_eq!(ClaimPath("name".into()).text(&claims(text)), None);
        let provider = provider(vec![
            rule("groups", Test::Has("fin\n".into()), &["analyst"]),
            rule("groups", Test::Has("ops".into()), &["operator"]),
            rule("name", Test::Present, &["named"]),
        ]);
        let given: Vec<String> = roles(&provider, text).into_iter().map(|(role, _)| role).collect();
        assert_eq!(given, ["operator"]);
    }

    #[test]
    fn a_claim_whose_name_has_dots_is_found_by_its_whole_name_first() {
        let path = ClaimPath("https://acme.example/roles".into());
        assert_eq!(path.text(&claims(r#"{"https://acme.example/roles":"a"}"#)), Some("a"));
        assert_eq!(
            ClaimPath("a.b".into()).text(&claims(r#"{"a.b":"whole","a":{"b":"inner"}}"#)),
            Some("whole")
        );
        assert_eq!(ClaimPath("a.b.c".into()).text(&claims(r#"{"a":{"b":"text"}}"#)), None);
    }

    #[test]
    fn a_second_factor_counts_only_by_the_words_that_are_listed() {
        let provider = provider(Vec::new());
        for (text, trusted) in [
            (r#"{"amr":["pwd","mfa"]}"#, true),
            (r#"{"amr":["pwd"]}"#, false),
            (r#"{"amr":"mfa"}"#, false),
            (r#"{"acr":"https://refeds.org/profile/mfa"}"#, true),
            (r#"{"acr":"1"}"#, false),
            ("{}", false),
        ] {
            assert_eq!(provider.trusts_second(&claims(text)), trusted, "{text}");
        }
    }
}
