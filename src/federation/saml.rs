//! What a SAML provider says about itself: as configured, or fetched where it publishes it, kept and renewed.

use std::sync::Arc;

use http::Request;
use http::header::ACCEPT;

use super::{Federation, Trouble};
use crate::domain::Timestamp;
use crate::domain::provider::Provider;
use crate::domain::saml::{Description, Saml, Source};
use crate::outbound::Outbound;
use crate::protocol::oidc::Refused;
use crate::protocol::saml;

impl Federation {
    /// What is known of a SAML provider.
    ///
    /// # Errors
    /// When it does not answer, or what it says cannot be.
    pub async fn description(
        &self,
        provider: &Provider,
        saml: &Saml,
        now: Timestamp,
    ) -> Result<Arc<Description>, Trouble> {
        match &saml.source {
            Source::Given(given) => match given.valid_until {
                Some(until) if until <= now => {
                    let detail =
                        format!("the file counted until {} ago: replace it", now.since(until).words());
                    Err(Refused::by("saml metadata", detail).into())
                }
                _ => Ok(Arc::new(given.clone())),
            },
            Source::Address(address) => {
                self.known(provider).description(&self.outbound, provider, address, now).await
            }
        }
    }

    /// What it says now, because what was known did not fit: it may have changed its certificate (`SAML-48`). `None`: nothing
    /// newer can be had.
    ///
    /// # Errors
    /// As [`Federation::description`].
    pub async fn redescribed(
        &self,
        provider: &Provider,
        saml: &Saml,
        unfit: &Arc<Description>,
        now: Timestamp,
    ) -> Result<Option<Arc<Description>>, Trouble> {
        match &saml.source {
            Source::Given(_) => Ok(None),
            Source::Address(address) => {
                let known = self.known(provider);
                known.redescribed(&self.outbound, provider, address, unfit, now).await
            }
        }
    }
}

pub(super) async fn fetch(
    outbound: &Outbound,
    provider: &Provider,
    address: &str,
    now: Timestamp,
) -> Result<Description, Trouble> {
    let what = "saml metadata";
    let request = Request::builder().uri(address);
    let request =
        request.header(ACCEPT, "application/samlmetadata+xml, application/xml, text/xml").body(Vec::new());
    let request = request.map_err(|_| Refused::by(what, "its address is none"))?;
    let answer = outbound.send(request, &provider.tls, now).await?;
    if answer.status != http::StatusCode::OK {
        let detail = format!("it is answered with status {}", answer.status.as_u16());
        return Err(Refused::by(what, detail).into());
    }
    Ok(saml::description(&answer.body, Some(&provider.issuer), now)?)
}
