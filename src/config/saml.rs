//! What `[[idp]]` says of a provider that speaks SAML.

use super::Code;
use super::desk::Desk;
use super::kinds::{MetadataPlace, WantPart};
use super::providers::{Spoken, over_tls};
use super::raw;
use crate::crypto::signer;
use crate::domain::provider::ClientProof;
use crate::domain::saml::{Description, Names, Saml, Source, Want};
use crate::domain::{Span, Timestamp};
use crate::protocol::saml;

/// How long before its end a certificate is warned about.
const SOON: Span = Span::hours(30 * 24);

pub(super) fn read(raw: &raw::Idp, root: &raw::Root, desk: &mut Desk<'_>) -> Option<Spoken> {
    let oidc = [
        raw.issuer.0.as_ref().map(|it| (it.spot, "issuer", "entity_id is its name in SAML")),
        raw.client_secret.0.as_ref().map(|it| (it.spot, "client_secret", "SAML knows no such secret")),
        raw.client_key.0.as_ref().map(|it| (it.spot, "client_key", "SAML knows no such proof")),
        raw.follow_session.value.then_some((
            raw.follow_session.spot,
            "follow_session",
            "nothing of SAML could be asked later",
        )),
    ];
    for (spot, key, why) in oidc.into_iter().flatten() {
        if key.starts_with("client_") {
            desk.hide(spot);
        }
        desk.fault(Code::Contradiction, spot, format!("`idp.{key}` is for OpenID Connect"))
            .label(why)
            .help("leave it out");
    }
    super::compile::within(desk, "idp.clock_skew", &raw.clock_skew, &Span::ZERO, &Span::minutes(3));
    let source = source(raw, root, desk);
    let attributes = raw.attributes.0.as_ref()?;
    if let Some(kind) = &raw.name_id.0
        && kind.value.0.ends_with(":transient")
        && attributes.subject.0.is_none()
    {
        desk.fault(Code::Contradiction, kind.spot, "nobody could be known again")
            .label("a transient name is another one at each sign-in")
            .help("write name_id = \"persistent\", or name an attribute that stays: [idp.attributes] subject = \"…\"");
    }
    let (issuer, source) = source?;
    let want = |part| raw.want.iter().any(|it| it.value == part);
    let origin = root.server.0.as_ref().map(|server| server.public_url.value.origin()).unwrap_or_default();
    let ours = || format!("{origin}/auth/saml/{}/metadata", raw.name.value);
    Some(Spoken {
        issuer,
        client_id: raw.client_id.0.as_ref().map_or_else(ours, |id| id.value.clone()),
        client: ClientProof::Public,
        saml: Some(Saml {
            source,
            want: Want {
                signed_assertion: want(WantPart::SignedAssertion),
                signed_response: want(WantPart::SignedResponse),
                encrypted_assertion: want(WantPart::EncryptedAssertion),
            },
            name_id: raw.name_id.0.as_ref().map(|kind| kind.value.0.to_owned()),
            names: Names {
                email: attributes.email.value.clone(),
                name: attributes.name.value.clone(),
                username: attributes.username.value.clone(),
                subject: attributes.subject.0.as_ref().map(|it| it.value.clone()),
            },
            sign_requests: raw.sign_requests.value,
            skew: raw.clock_skew.value,
        }),
    })
}

/// Who the provider is, and where what is known of it comes from. Without a certificate there is no provider (`SAML-49`).
fn source(raw: &raw::Idp, root: &raw::Root, desk: &mut Desk<'_>) -> Option<(String, Source)> {
    let entity_id = raw.entity_id.0.as_ref().map(|it| it.value.0.clone());
    let Some(metadata) = &raw.metadata.0 else { return given(raw, entity_id, desk) };
    let said = [raw.sso_url.0.as_ref().map(|it| it.spot), raw.certificate.first().map(|it| it.spot)];
    for spot in said.into_iter().flatten() {
        desk.fault(Code::Contradiction, spot, "the metadata says this, too").help("leave out one of them");
    }
    match &metadata.value {
        MetadataPlace::Address(address) => {
            over_tls(address, metadata.spot, root, desk);
            let Some(entity_id) = entity_id else {
                if !desk.torn.contains("idp") {
                    desk.fault(Code::Missing, raw.spot, "`idp.entity_id` is missing")
                        .label("whoever answers at that address could be anybody")
                        .help("write entity_id = \"…\", as entityID stands in the metadata");
                }
                return None;
            };
            Some((entity_id, Source::Address(address.clone())))
        }
        MetadataPlace::File(path) => {
            let bytes = super::tls::read(path, metadata.spot, desk)?;
            match saml::description(&bytes, entity_id.as_deref(), desk.now) {
                Ok(found) => {
                    warn(&found, metadata.spot, desk);
                    Some((found.entity_id.clone(), Source::Given(found)))
                }
                Err(refused) => {
                    desk.fault(Code::Certificate, metadata.spot, "the provider's metadata cannot be used")
                        .label(refused.detail)
                        .help("export it from the provider again");
                    None
                }
            }
        }
    }
}

/// Written down by hand: entity id, address and certificates.
fn given(raw: &raw::Idp, entity_id: Option<String>, desk: &mut Desk<'_>) -> Option<(String, Source)> {
    let missing = [
        (entity_id.is_none(), "entity_id"),
        (raw.sso_url.0.is_none(), "sso_url"),
        (raw.certificate.is_empty(), "certificate"),
    ];
    for (_, key) in missing.iter().filter(|(missing, _)| *missing) {
        if !desk.torn.contains("idp") {
            desk.fault(Code::Missing, raw.spot, format!("`idp.{key}` is missing"))
                .help("write metadata = \"…\"; or entity_id, sso_url and certificate");
        }
    }
    let sso_url = raw.sso_url.0.as_ref()?;
    let mut certificates = Vec::new();
    for path in &raw.certificate {
        let pem = super::tls::read(&path.value.0, path.spot, desk)?;
        match signer::parse(&pem) {
            Ok(found) => certificates.extend(found),
            Err(bad) => {
                desk.fault(Code::Certificate, path.spot, bad.to_string())
                    .help("export the provider's signing certificate again, as PEM");
                return None;
            }
        }
    }
    let entity_id = entity_id.filter(|_| !certificates.is_empty())?;
    let described = Description {
        entity_id: entity_id.clone(),
        sso_redirect: Some(sso_url.value.0.clone()),
        sso_post: None,
        certificates,
        wants_signed_requests: false,
        valid_until: None,
    };
    if let Some(first) = raw.certificate.first() {
        warn(&described, first.spot, desk);
    }
    Some((entity_id, Source::Given(described)))
}

/// Warns when what a provider signs with is about to run out (`SAML-48`).
fn warn(found: &Description, spot: super::tree::Spot, desk: &mut Desk<'_>) {
    let last = found.certificates.iter().map(|it| it.not_after).max().unwrap_or(Timestamp::from_millis(0));
    let ends = found.valid_until.map_or(last, |until| until.min(last));
    if ends <= desk.now + SOON {
        desk.fault(
            Code::RunsOut,
            spot,
            format!("the provider's certificate or metadata ends on {}", ends.words()),
        )
        .help("ask the provider for the next one, and name both until it has changed");
    }
}
