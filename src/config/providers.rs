//! Identity providers of the file.

use super::Code;
use super::catalogue::{Catalogue, once};
use super::desk::Desk;
use super::kinds::{Allow, ClientAuth, GroupsOverage, IdpType, SecretPlace, SecretRef};
use super::raw;
use super::read::{Maybe, Written};
use super::secrets::Care;
use super::settings::Reach;
use super::tree::Spot;
use crate::crypto::client_key::ClientKey;
use crate::domain::provider::{
    Algorithm, Attributes, ClaimPath, ClientProof, Follow, KeyProof, Overage, Provider, Rule, Test,
};
use crate::domain::role::{BUILT_IN, Scope};
use crate::domain::saml::Saml;
use crate::domain::{Hostname, PlacePath, Secret, Slug, Span};

/// What may be reached besides the open internet.
pub(super) fn reach(root: &raw::Root) -> Vec<Reach> {
    let allow = root.outbound.0.iter().flat_map(|outbound| &outbound.allow);
    allow
        .map(|written| match &written.value {
            Allow::Host(host, port) => Reach::Host(host.clone(), *port),
            Allow::Net(net) => Reach::Net(*net),
        })
        .collect()
}

pub(super) fn providers(root: &raw::Root, catalogue: &Catalogue, desk: &mut Desk<'_>) -> Vec<Provider> {
    let mut names = Vec::new();
    let mut domains: Vec<(Hostname, Spot)> = Vec::new();
    let mut all = Vec::new();
    for raw in &root.idp {
        let name = &raw.name.value;
        once(&mut names, name.clone(), raw.name.spot, &format!("provider \"{name}\""), desk);
        for domain in &raw.domains {
            let what = format!("provider for addresses in {}", domain.value);
            once(&mut domains, domain.value.clone(), domain.spot, &what, desk);
        }
        all.extend(provider(raw, root, catalogue, desk));
    }
    all
}

fn provider(
    raw: &raw::Idp,
    root: &raw::Root,
    catalogue: &Catalogue,
    desk: &mut Desk<'_>,
) -> Option<Provider> {
    let name = &raw.name.value;
    let slug = |written: &Maybe<Written<Slug>>| written.0.as_ref().map(|written| written.value.clone());
    for tenant in [&raw.tenant, &raw.default_tenant].into_iter().filter_map(|it| it.0.as_ref()) {
        catalogue.check_tenant(&tenant.value, tenant.spot, desk);
    }
    if let (Some(_), Some(default)) = (&raw.tenant.0, &raw.default_tenant.0) {
        desk.fault(Code::Contradiction, default.spot, format!("the provider \"{name}\" belongs to a tenant"))
            .label("so its people belong there")
            .help("leave default_tenant out, or tenant, if it is a provider of everybody");
    }
    let spoken = match raw.r#type.value {
        IdpType::Oidc => oidc(raw, root, desk),
        IdpType::Saml => super::saml::read(raw, root, desk),
    };
    let tls = super::tls::provider(&raw.ca, desk);
    domains(raw, catalogue, desk);
    if !raw.scopes.iter().any(|scope| scope.value == "openid") {
        desk.fault(Code::Contradiction, raw.spot, "`idp.scopes` lack openid")
            .help("add \"openid\": without it there is no ID token, and nobody is signed in");
    }
    for scope in raw.scopes.iter().filter(|scope| scope.value.is_empty() || scope.value.contains(' ')) {
        desk.fault(Code::BadValue, scope.spot, "a scope is one word").help("write [\"openid\", \"email\"]");
    }
    if let Some(age) = &raw.max_age.0 {
        super::compile::within(desk, "idp.max_age", age, &Span::minutes(1), &Span::hours(24 * 90));
    }
    super::compile::within(desk, "idp.follow_every", &raw.follow_every, &Span::seconds(10), &Span::hours(24));
    super::compile::within(desk, "idp.follow_grace", &raw.follow_grace, &Span::ZERO, &Span::hours(24));
    let tenant = slug(&raw.tenant).or_else(|| match (&raw.default_tenant.0, catalogue.only_tenant()) {
        // Where there is one tenant, it is meant.
        (None, Some(only)) => Some(only.clone()),
        _ => None,
    });
    let default_tenant = slug(&raw.default_tenant);
    let places_itself = |rule: &raw::IdpRule| rule.joins.0.is_some() || rule.at.0.is_some();
    if tenant.is_none() && default_tenant.is_none() && !raw.rule.iter().any(places_itself) {
        desk.fault(
            Code::Missing,
            raw.spot,
            format!("nobody of the provider \"{name}\" would belong anywhere"),
        )
        .help("write tenant = \"…\", or default_tenant = \"…\", or a rule with joins");
    }
    let usual = tenant.as_ref().or(default_tenant.as_ref());
    let rules = raw.rule.iter().filter_map(|rule| self::rule(rule, tenant.as_ref(), usual, catalogue, desk));
    let rules = rules.collect();
    let words = |list: &[Written<String>]| list.iter().map(|word| word.value.clone()).collect::<Vec<_>>();
    let claim = |written: &Written<String>| ClaimPath(written.value.clone());
    let attributes = raw.attributes.0.as_ref()?;
    let Spoken { issuer, client_id, client, saml } = spoken?;
    let tls = tls?;
    let attributes = if saml.is_some() {
        // What the assertion calls them is put in line with these names when it is read.
        let ours = |name: &str| ClaimPath(name.to_owned());
        Attributes { email: ours("email"), name: ours("name"), username: ours("preferred_username") }
    } else {
        Attributes {
            email: claim(&attributes.email),
            name: claim(&attributes.name),
            username: claim(&attributes.username),
        }
    };
    Some(Provider {
        source: desk.written(raw),
        name: name.clone(),
        label: raw.label.0.as_ref().map_or_else(|| name.to_string(), |label| label.value.0.clone()),
        tenant,
        default_tenant,
        issuer,
        client_id,
        client,
        tls,
        scopes: words(&raw.scopes),
        algorithms: algorithms(raw, desk),
        response_mode: raw.response_mode.value,
        domains: raw.domains.iter().map(|domain| domain.value.clone()).collect(),
        authoritative: raw.authoritative.value,
        provision: raw.provision.value,
        attributes,
        verified_claims: raw.verified_claims.iter().map(claim).collect(),
        rules,
        trust_amr: words(&raw.trust_mfa),
        trust_acr: words(&raw.trust_acr),
        acr_values: words(&raw.acr_values),
        max_age: raw.max_age.0.as_ref().map(|age| age.value),
        overage: match raw.groups_overage.value {
            GroupsOverage::Graph => Overage::Graph(raw.graph_url.value.0.trim_end_matches('/').to_owned()),
            GroupsOverage::Refuse => Overage::Refuse,
        },
        sign_out: raw.sign_out.value,
        follow: raw
            .follow_session
            .value
            .then_some(Follow { every: raw.follow_every.value, grace: raw.follow_grace.value }),
        saml,
    })
}

/// Who a provider is, and who we are to it.
pub(super) struct Spoken {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client: ClientProof,
    pub(super) saml: Option<Saml>,
}

fn oidc(raw: &raw::Idp, root: &raw::Root, desk: &mut Desk<'_>) -> Option<Spoken> {
    let saml = [
        raw.metadata.0.as_ref().map(|it| (it.spot, "metadata")),
        raw.entity_id.0.as_ref().map(|it| (it.spot, "entity_id")),
        raw.sso_url.0.as_ref().map(|it| (it.spot, "sso_url")),
        raw.certificate.first().map(|it| (it.spot, "certificate")),
        raw.want.first().map(|it| (it.spot, "want")),
        raw.name_id.0.as_ref().map(|it| (it.spot, "name_id")),
    ];
    for (spot, key) in saml.into_iter().flatten() {
        desk.fault(Code::Contradiction, spot, format!("`idp.{key}` is for providers that speak SAML"))
            .help("write type = \"saml\", or leave it out");
    }
    let missing = |there: bool, key: &str, desk: &mut Desk<'_>| {
        if !there && !desk.torn.contains("idp") {
            desk.fault(Code::Missing, raw.spot, format!("`idp.{key}` is missing"))
                .help(format!("write `{key} = …`; docs/configuration.md says what it takes"));
        }
    };
    missing(raw.issuer.0.is_some(), "issuer", desk);
    missing(raw.client_id.0.is_some(), "client_id", desk);
    if let Some(issuer) = &raw.issuer.0 {
        over_tls(&issuer.value.0, issuer.spot, root, desk);
    }
    if let Some(attributes) = &raw.attributes.0 {
        addresses(raw, attributes, desk);
    }
    let client = client(raw, desk)?;
    let (issuer, client_id) = (raw.issuer.0.as_ref()?, raw.client_id.0.as_ref()?);
    Some(Spoken { issuer: issuer.value.0.clone(), client_id: client_id.value.clone(), client, saml: None })
}

/// Over TLS, or named in `outbound.allow`.
pub(super) fn over_tls(address: &str, spot: Spot, root: &raw::Root, desk: &mut Desk<'_>) {
    let Some(rest) = address.strip_prefix("http://") else { return };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().unwrap_or(80)),
        _ => (authority, 80_u16),
    };
    let named = reach(root).iter().any(|reach| match reach {
        Reach::Host(name, at) => name.eq_ignore_ascii_case(host) && *at == port,
        Reach::Net(_) => true,
    });
    if !named {
        desk.fault(Code::Upstream, spot, "the provider would be asked without TLS")
            .label("whoever is on the way could sign in as anybody")
            .help(format!("write https://; or name it: [outbound] allow = [\"{host}:{port}\"]"));
    }
}

fn client(raw: &raw::Idp, desk: &mut Desk<'_>) -> Option<ClientProof> {
    let secret = |reference: &SecretRef, desk: &mut Desk<'_>| {
        let text = desk.fetch(reference, Care::Any)?;
        if matches!(reference.place, SecretPlace::Literal(_)) {
            desk.warn_literal(reference);
        }
        if text.is_empty() {
            desk.fault(Code::SecretMissing, reference.spot, "the client's secret is empty")
                .help("copy it from the provider; or write client_auth = \"none\"");
            return None;
        }
        Some(Secret::new(text.as_str().to_owned()))
    };
    if raw.client_auth.value == ClientAuth::Key {
        return key(raw, desk).map(ClientProof::Key);
    }
    if let Some(key) = &raw.client_key.0 {
        desk.hide(key.spot);
        desk.fault(Code::Contradiction, key.spot, "there is a key, and it proves nothing")
            .help("write client_auth = \"private_key_jwt\", or leave client_key out");
    }
    match (raw.client_auth.value, &raw.client_secret.0) {
        (ClientAuth::None, None) => Some(ClientProof::Public),
        (ClientAuth::None, Some(secret)) => {
            desk.hide(secret.spot);
            desk.fault(Code::Contradiction, secret.spot, "a public client has no secret")
                .help("leave client_secret out, or client_auth = \"none\"");
            None
        }
        (ClientAuth::Basic | ClientAuth::Key | ClientAuth::Post, None) => {
            if !desk.torn.contains("idp") {
                desk.fault(Code::Missing, raw.spot, "`idp.client_secret` is missing").help(
                    "write client_secret = { file = \"…\" }; a public client has client_auth = \"none\"",
                );
            }
            None
        }
        (ClientAuth::Basic, Some(reference)) => secret(reference, desk).map(ClientProof::Basic),
        (ClientAuth::Key | ClientAuth::Post, Some(reference)) => {
            secret(reference, desk).map(ClientProof::Post)
        }
    }
}

/// The key of `private_key_jwt`, judged.
fn key(raw: &raw::Idp, desk: &mut Desk<'_>) -> Option<KeyProof> {
    if let Some(secret) = &raw.client_secret.0 {
        desk.hide(secret.spot);
        desk.fault(Code::Contradiction, secret.spot, "who shows a key has no secret")
            .help("leave client_secret out, or write client_auth = \"client_secret_basic\"");
        return None;
    }
    let Some(reference) = &raw.client_key.0 else {
        if !desk.torn.contains("idp") {
            desk.fault(Code::Missing, raw.spot, "`idp.client_key` is missing")
                .help("write client_key = { file = \"…\" }: a private key, as PEM");
        }
        return None;
    };
    let pem = desk.fetch(reference, Care::Group)?;
    if matches!(reference.place, SecretPlace::Literal(_)) {
        desk.warn_literal(reference);
    }
    let algorithm = raw.client_key_algorithm.0.as_ref().map(|written| written.value);
    if let Err(bad) = ClientKey::parse(pem.as_bytes(), algorithm) {
        desk.fault(Code::Certificate, reference.spot, bad.to_string()).help(bad.help());
        return None;
    }
    let pem = Secret::new(pem.as_str().to_owned());
    Some(KeyProof { pem, algorithm, audience: raw.client_audience.value })
}

/// Domains whose people are led to a provider are a tenant's own: anybody else's could be promised away.
fn domains(raw: &raw::Idp, catalogue: &Catalogue, desk: &mut Desk<'_>) {
    for domain in &raw.domains {
        let owner = catalogue.tenants.iter().find(|tenant| tenant.domains.contains(&domain.value));
        let fits = owner.is_some_and(|owner| raw.tenant.0.as_ref().is_none_or(|own| own.value == owner.slug));
        if !fits && !desk.torn.contains("tenant") {
            desk.fault(
                Code::OutsideTenant,
                domain.spot,
                format!("{} is no domain of the provider's tenant", domain.value),
            )
            .help("write it into domains of the tenant that owns it");
        }
    }
    if raw.authoritative.value && raw.domains.is_empty() {
        desk.fault(Code::Contradiction, raw.authoritative.spot, "the provider speaks for no addresses")
            .help("write domains = [\"…\"]: those whose verified addresses it may vouch for");
    }
}

/// A provider speaks for addresses that it has verified: in `email` it says so itself, of another claim the file must.
fn addresses(raw: &raw::Idp, attributes: &raw::IdpAttributes, desk: &mut Desk<'_>) {
    for claim in raw.verified_claims.iter().filter(|claim| claim.value == "email") {
        desk.fault(
            Code::Contradiction,
            claim.spot,
            "whether `email` is verified, the provider says in each sign-in",
        )
        .label("in email_verified, which counts alone")
        .help("leave it out here; have the provider send email_verified");
    }
    let email = &attributes.email;
    let said = email.value == "email" || raw.verified_claims.iter().any(|claim| claim.value == email.value);
    if raw.authoritative.value && !said {
        desk.fault(
            Code::Contradiction,
            email.spot,
            format!("nobody says that the addresses in \"{}\" are verified", email.value),
        )
        .label("whoever can write it there would become whoever has the address here")
        .help(format!(
            "if only administrators of the directory can: verified_claims = [\"{}\"]; else use the claim email",
            email.value
        ));
    }
}

fn algorithms(raw: &raw::Idp, desk: &mut Desk<'_>) -> Vec<Algorithm> {
    if raw.algorithms.is_empty() && !desk.torn.contains("idp") {
        desk.fault(Code::Missing, raw.spot, "`idp.algorithms` names none")
            .help("leave it out, or write [\"RS256\"]");
    }
    raw.algorithms.iter().map(|algorithm| algorithm.value).collect()
}

fn rule(
    raw: &raw::IdpRule,
    bounds: Option<&Slug>,
    usual: Option<&Slug>,
    catalogue: &Catalogue,
    desk: &mut Desk<'_>,
) -> Option<Rule> {
    let test = match (&raw.has.0, &raw.ends_with.0) {
        (Some(_), Some(ends)) => {
            desk.fault(Code::Contradiction, ends.spot, "a rule has one test")
                .help("write has or ends_with, or two rules");
            return None;
        }
        (Some(has), None) => Test::Has(has.value.clone()),
        (None, Some(ends)) => {
            if raw.claim.value == "email" && !ends.value.starts_with('@') {
                desk.fault(Code::BadValue, ends.spot, "the end of an address begins with @")
                    .label("otherwise it is also the end of another domain")
                    .help(format!("write \"@{}\"", ends.value));
            }
            Test::EndsWith(ends.value.clone())
        }
        (None, None) => Test::Present,
    };
    let place = |written: &Maybe<Written<PlacePath>>, desk: &mut Desk<'_>| {
        let written = written.0.as_ref()?;
        catalogue.check_place(&written.value, written.spot, desk);
        if bounds.is_some_and(|tenant| *tenant != written.value.tenant) {
            desk.fault(
                Code::OutsideTenant,
                written.spot,
                format!("{} is outside the provider's tenant", written.value),
            )
            .help("a tenant's provider gives nothing outside it");
        }
        Some(written.value.clone())
    };
    let at = place(&raw.at, desk);
    let joins = place(&raw.joins, desk);
    let tenant = at.as_ref().map(|at| &at.tenant).or(usual);
    match tenant {
        Some(tenant) => {
            for role in &raw.roles {
                judge_role(role, tenant, at.as_ref(), catalogue, desk);
            }
            for group in &raw.groups {
                catalogue.check_group(tenant, &group.value, group.spot, desk);
            }
        }
        None if raw.roles.is_empty() && raw.groups.is_empty() => {}
        None => {
            desk.fault(Code::Missing, raw.spot, "`idp.rule.at` is missing")
                .help("write at = \"TENANT\": the provider has no tenant of its own");
        }
    }
    if raw.roles.is_empty() && raw.groups.is_empty() && joins.is_none() {
        desk.fault(Code::Missing, raw.spot, "the rule gives nothing")
            .help("write roles = [\"…\"], groups = [\"…\"] or joins = \"PLACE\"");
    }
    Some(Rule {
        source: desk.written(raw),
        claim: ClaimPath(raw.claim.value.clone()),
        test,
        at,
        joins,
        roles: raw.roles.iter().map(|role| role.value.clone()).collect(),
        groups: raw.groups.iter().map(|group| group.value.clone()).collect(),
    })
}

/// Whether a rule can give a role: ownership and roles of the whole system it cannot.
fn judge_role(
    role: &Written<Slug>,
    tenant: &Slug,
    at: Option<&PlacePath>,
    catalogue: &Catalogue,
    desk: &mut Desk<'_>,
) {
    let slug = &role.value;
    catalogue.check_role(tenant, slug, role.spot, desk);
    let built_in = BUILT_IN.iter().find(|(name, ..)| *name == slug.as_str()).map(|(_, _, scope, ..)| *scope);
    let own = catalogue
        .roles
        .iter()
        .find(|it| it.slug == *slug && it.tenant.as_ref().is_none_or(|it| it == tenant));
    let scope = own.map(|role| role.scope).or(built_in);
    let narrow = match scope {
        Some(Scope::Organization) => at.is_none_or(|at| at.org.is_none()),
        Some(Scope::Department) => at.is_none_or(|at| at.department.is_none()),
        _ => false,
    };
    if slug.as_str() == "owner" || slug.as_str() == "super-admin" || narrow {
        desk.fault(Code::RoleScope, role.spot, format!("no rule can give the role \"{slug}\" there")).help(
            if narrow { "write a narrower place in `at`" } else { "an administrator gives it by hand" },
        );
    }
}
