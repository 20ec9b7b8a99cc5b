//! What is known of one provider, and when it is looked at again.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Trouble, document};
use crate::domain::{Span, Timestamp};
use crate::outbound::Outbound;
use crate::protocol::oidc::{Keys, Metadata};

/// How long a document is taken for granted.
const FRESH: Span = Span::minutes(30);
/// How long an old one serves when there is no new one: a provider that is restarted keeps nobody out.
const USABLE: Span = Span::hours(24);
/// How long nobody asks again after a failure, so that sign-ins do not hammer what is down.
const PAUSE: Span = Span::seconds(3);
/// The shortest time between two fetches of keys that a token has asked for (`OIDC-14`).
const RENEWAL: Span = Span::seconds(10);

/// What is known of a provider. Each document is fetched by one at a time; the others wait for it.
#[derive(Default)]
pub(super) struct Known {
    metadata: Mutex<Kept<Metadata>>,
    keys: Mutex<Kept<Keys>>,
}

struct Kept<T> {
    last: Option<(Arc<T>, Timestamp)>,
    failed: Option<(Trouble, Timestamp)>,
    renewed: Option<Timestamp>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { last: None, failed: None, renewed: None }
    }
}

impl<T> Kept<T> {
    /// What serves without asking anybody: a fresh document, or the failure of a moment ago.
    fn serves(&self, now: Timestamp) -> Option<Result<Arc<T>, Trouble>> {
        if let Some((kept, at)) = &self.last
            && now.since(*at) < FRESH
        {
            return Some(Ok(Arc::clone(kept)));
        }
        match &self.failed {
            Some((trouble, at)) if now.since(*at) < PAUSE => {
                Some(self.old(now).ok_or_else(|| trouble.clone()))
            }
            _ => None,
        }
    }

    /// An older document that is better than none.
    fn old(&self, now: Timestamp) -> Option<Arc<T>> {
        self.last.as_ref().filter(|(_, at)| now.since(*at) < USABLE).map(|(kept, _)| Arc::clone(kept))
    }

    fn take(&mut self, fetched: Result<T, Trouble>, now: Timestamp) -> Result<Arc<T>, Trouble> {
        match fetched {
            Ok(document) => {
                let document = Arc::new(document);
                self.last = Some((Arc::clone(&document), now));
                self.failed = None;
                Ok(document)
            }
            Err(trouble) => {
                self.failed = Some((trouble.clone(), now));
                // What it says about itself now and cannot be is no reason to go on with what it said before.
                match (&trouble, self.old(now)) {
                    (Trouble::Away(_), Some(old)) => Ok(old),
                    _ => Err(trouble),
                }
            }
        }
    }
}

impl Known {
    pub(super) async fn metadata(
        &self,
        outbound: &Outbound,
        issuer: &str,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, Trouble> {
        let mut kept = self.metadata.lock().await;
        if let Some(serves) = kept.serves(now) {
            return serves;
        }
        let fetched = document(outbound, &Metadata::address(issuer), "discovery", now).await;
        let fetched = fetched.and_then(|answer| Ok(Metadata::parse(&answer.body, issuer)?));
        kept.take(fetched, now)
    }

    pub(super) async fn keys(
        &self,
        outbound: &Outbound,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<Arc<Keys>, Trouble> {
        let mut kept = self.keys.lock().await;
        if let Some(serves) = kept.serves(now) {
            return serves;
        }
        let fetched = fetch_keys(outbound, metadata, now).await;
        kept.take(fetched, now)
    }

    /// Keys newer than those that did not fit. `None`: they were fetched for the same reason a moment ago.
    pub(super) async fn renewed(
        &self,
        outbound: &Outbound,
        metadata: &Metadata,
        unfit: &Arc<Keys>,
        now: Timestamp,
    ) -> Result<Option<Arc<Keys>>, Trouble> {
        let mut kept = self.keys.lock().await;
        // Somebody else was faster.
        if let Some((keys, _)) = &kept.last
            && !Arc::ptr_eq(keys, unfit)
        {
            return Ok(Some(Arc::clone(keys)));
        }
        if kept.renewed.is_some_and(|at| now.since(at) < RENEWAL) {
            return Ok(None);
        }
        kept.renewed = Some(now);
        let fetched = fetch_keys(outbound, metadata, now).await;
        kept.take(fetched, now).map(Some)
    }
}

async fn fetch_keys(outbound: &Outbound, metadata: &Metadata, now: Timestamp) -> Result<Keys, Trouble> {
    let answer = document(outbound, &metadata.jwks_uri, "keys", now).await?;
    Ok(Keys::parse(&answer.body)?)
}
