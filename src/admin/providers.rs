//! Identity providers: switched off and on. What they are belongs to the configuration file.

use crate::access::Authority;
use crate::domain::session::FirstFactor;
use crate::domain::user::Suspension;
use crate::domain::{Place, Slug, Timestamp};
use crate::store::{providers, sessions};

use super::work::Work;
use super::{Admin, Error};

/// What whoever tries or switches a provider must hold.
const RIGHT: &str = "idps:write";

impl Admin {
    /// The providers that are switched off, and why.
    pub async fn stopped_providers(&self, by: &Authority) -> Result<Vec<(String, Suspension)>, Error> {
        let mut look = self.look(by).await?;
        let all = providers::stopped(&mut look.conn, look.now).await?;
        Ok(all)
    }

    /// Asks whether somebody may try a provider: requests go out to it, and what it answers is shown.
    pub async fn may_try_provider(&self, by: &Authority, tenant: Option<&Slug>) -> Result<(), Error> {
        let look = self.look(by).await?;
        let tenant = tenant.and_then(|slug| look.tree.tenant_named(slug)).map(|tenant| tenant.id);
        look.who.demand(RIGHT, tenant.map_or(Place::Global, Place::Tenant))
    }

    /// Switches a provider off, perhaps until a moment: nobody signs in with it, also who has begun to, and
    /// what began with it ends (`SESS-07`). How many sessions that were.
    pub async fn stop_provider(
        &self,
        by: &Authority,
        (provider, tenant): (&Slug, Option<&Slug>),
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<usize, Error> {
        let mut work = self.begin(by, "provider.disable").await?;
        let why = Suspension { by: work.who.words(), at: work.now, reason: reason.to_owned(), until };
        let done = stop(&mut work, provider, tenant, &why).await;
        work.end(done).await
    }

    /// Switches a provider on again; false when it was not off.
    pub async fn resume_provider(
        &self,
        by: &Authority,
        (provider, tenant): (&Slug, Option<&Slug>),
    ) -> Result<bool, Error> {
        let mut work = self.begin(by, "provider.enable").await?;
        let done = resume(&mut work, provider, tenant).await;
        work.end(done).await
    }
}

/// Whoever switches a provider needs a say where it belongs; one of everybody belongs to everything.
fn may(work: &mut Work<'_>, provider: &Slug, tenant: Option<&Slug>) -> Result<(), Error> {
    let tenant = tenant.and_then(|slug| work.tree.tenant_named(slug)).map(|tenant| tenant.id);
    work.about("provider", provider, tenant);
    work.who.demand(RIGHT, tenant.map_or(Place::Global, Place::Tenant))
}

async fn stop(
    work: &mut Work<'_>,
    provider: &Slug,
    tenant: Option<&Slug>,
    why: &Suspension,
) -> Result<usize, Error> {
    may(work, provider, tenant)?;
    providers::stop(&mut work.tx, provider, why).await?;
    let mut begun = Vec::new();
    // Whatever it spoke when they began.
    for spoken in ["oidc", "saml"] {
        let first = FirstFactor::Provider(format!("{spoken}:{provider}").into());
        begun.extend(sessions::begun_with(&mut work.tx, &first, work.now).await?);
    }
    for session in &begun {
        sessions::end(&mut work.tx, *session, "its identity provider was switched off", work.now).await?;
    }
    let until = why.until.map(|until| until.to_string()).unwrap_or_default();
    let event = work.event().with("reason", &why.reason).with("until", until).with("ended", begun.len());
    work.record(event).await?;
    Ok(begun.len())
}

async fn resume(work: &mut Work<'_>, provider: &Slug, tenant: Option<&Slug>) -> Result<bool, Error> {
    may(work, provider, tenant)?;
    let was_off = providers::resume(&mut work.tx, provider).await?;
    let event = work.event().with("was_off", was_off);
    work.record(event).await?;
    Ok(was_off)
}
