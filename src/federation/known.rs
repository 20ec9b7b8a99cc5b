//! What is known of one provider, and when it is looked at again.
//!
//! A document is fetched by one request at a time, which goes on even if nobody waits for it any more; whoever wants the document
//! meanwhile waits for that one. So a provider that takes its time is asked no more often than any other, and nobody stands
//! in a queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Trouble, document};
use crate::domain::provider::Provider;
use crate::domain::saml::Description;
use crate::domain::{Span, Timestamp};
use crate::outbound::Outbound;
use crate::protocol::oidc::{Keys, Metadata};
use crate::sys::Stopwatch;

/// How long a document is taken for granted.
const FRESH: Span = Span::minutes(30);
/// How long an old one serves when there is no new one: a provider that is restarted keeps nobody out.
const USABLE: Span = Span::hours(24);
/// How long nobody asks again after a failure, so that sign-ins do not hammer what is down.
const PAUSE: Span = Span::seconds(3);
/// How long whoever could do with an old document waits for a new one.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest time between two fetches of keys that a token has asked for (`OIDC-14`).
const RENEWAL: Span = Span::seconds(10);

/// What is known of a provider.
#[derive(Default)]
pub(super) struct Known {
    metadata: Arc<Document<Metadata>>,
    keys: Arc<Document<Keys>>,
    description: Arc<Document<Description>>,
}

/// A document, and the fetch of it that is under way.
struct Document<T>(Mutex<Kept<T>>);

struct Kept<T> {
    last: Option<(Arc<T>, Timestamp)>,
    failed: Option<(Trouble, Timestamp)>,
    renewed: Option<Timestamp>,
    flight: Option<Flight<T>>,
}

/// Whether something was so short a time ago. What a clock that has been set back since calls the future is long ago.
fn within(now: Timestamp, at: Timestamp, span: Span) -> bool {
    // A fetch is stamped when it ends, and whoever asked for it came before.
    let slack = Span::seconds(30);
    now < at + span && at < now + slack
}

type Outcome<T> = Result<Arc<T>, Trouble>;
type Flight<T> = watch::Receiver<Option<Outcome<T>>>;

impl<T> Default for Document<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { last: None, failed: None, renewed: None, flight: None }))
    }
}

impl<T> Kept<T> {
    /// What serves without asking anybody: a fresh document, or what came of asking a moment ago.
    fn serves(&self, now: Timestamp) -> Option<Outcome<T>> {
        if let Some((kept, at)) = &self.last
            && within(now, *at, FRESH)
        {
            return Some(Ok(Arc::clone(kept)));
        }
        match &self.failed {
            Some((trouble, at)) if within(now, *at, PAUSE) => {
                Some(self.old(now).ok_or_else(|| trouble.clone()))
            }
            _ => None,
        }
    }

    /// An older document that is better than none.
    fn old(&self, now: Timestamp) -> Option<Arc<T>> {
        self.last.as_ref().filter(|(_, at)| within(now, *at, USABLE)).map(|(kept, _)| Arc::clone(kept))
    }

    fn take(&mut self, fetched: Result<T, Trouble>, now: Timestamp) -> Outcome<T> {
        match fetched {
            Ok(document) => {
                let document = Arc::new(document);
                self.last = Some((Arc::clone(&document), now));
                self.failed = None;
                Ok(document)
            }
            Err(trouble) => {
                // What it says about itself now and cannot be is no reason to go on with what it said before.
                if matches!(trouble, Trouble::Refused(_)) {
                    self.last = None;
                }
                self.failed = Some((trouble.clone(), now));
                self.old(now).ok_or(trouble)
            }
        }
    }
}

impl<T: Send + Sync + 'static> Document<T> {
    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document: a fresh one, or an old one where the new one keeps people waiting.
    async fn get<F>(self: &Arc<Self>, now: Timestamp, fetch: F) -> Outcome<T>
    where
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let (flight, old) = {
            let mut kept = self.kept();
            if let Some(serves) = kept.serves(now) {
                return serves;
            }
            (self.under_way(&mut kept, now, fetch), kept.old(now))
        };
        match old {
            None => landed(flight).await,
            Some(old) => tokio::time::timeout(PATIENCE, landed(flight)).await.unwrap_or(Ok(old)),
        }
    }

    /// A document newer than one that did not fit. `None`: it was fetched for the same reason a moment ago.
    async fn newer<F>(
        self: &Arc<Self>,
        unfit: &Arc<T>,
        now: Timestamp,
        fetch: F,
    ) -> Result<Option<Arc<T>>, Trouble>
    where
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let flight = {
            let mut kept = self.kept();
            // Somebody else was faster.
            if let Some((document, _)) = &kept.last
                && !Arc::ptr_eq(document, unfit)
            {
                return Ok(Some(Arc::clone(document)));
            }
            if kept.flying().is_none() {
                if kept.renewed.is_some_and(|at| within(now, at, RENEWAL)) {
                    return Ok(None);
                }
                kept.renewed = Some(now);
            }
            self.under_way(&mut kept, now, fetch)
        };
        let document = landed(flight).await?;
        Ok(Some(document).filter(|document| !Arc::ptr_eq(document, unfit)))
    }

    /// Forgets a document whose own time is over: it does not serve even where there is no other.
    fn forget(&self, over: impl FnOnce(&T) -> bool) {
        let mut kept = self.kept();
        if kept.last.as_ref().is_some_and(|(document, _)| over(document)) {
            kept.last = None;
        }
    }

    /// The fetch that is under way, or else this one, begun.
    fn under_way<F>(self: &Arc<Self>, kept: &mut Kept<T>, now: Timestamp, fetch: F) -> Flight<T>
    where
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        if let Some(flight) = kept.flying() {
            return flight;
        }
        let (land, flight) = watch::channel(None);
        kept.flight = Some(flight.clone());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let took = Stopwatch::start();
            let fetched = fetch.await;
            // Stamped when it is over: what was slow is as new as what was quick.
            let over = now + Span::millis(i64::try_from(took.elapsed().as_millis()).unwrap_or_default());
            let mut kept = this.kept();
            let outcome = kept.take(fetched, over);
            kept.flight = None;
            drop(kept);
            land.send_replace(Some(outcome));
        });
        flight
    }
}

impl<T> Kept<T> {
    /// The fetch that is under way. One whose task is gone is none.
    fn flying(&self) -> Option<Flight<T>> {
        self.flight.clone().filter(|flight| flight.has_changed().is_ok())
    }
}

/// Waits for a fetch, which the outbound client limits.
async fn landed<T>(mut flight: Flight<T>) -> Outcome<T> {
    match flight.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        _ => Err(Trouble::Away("the request to it broke off".to_owned())),
    }
}

impl Known {
    pub(super) async fn metadata(
        &self,
        outbound: &Arc<Outbound>,
        provider: &Provider,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, Trouble> {
        let (outbound, provider) = (Arc::clone(outbound), provider.clone());
        let fetch = async move {
            let address = Metadata::address(&provider.issuer);
            let answer = document(&outbound, &provider, &address, "discovery", now).await?;
            Ok(Metadata::parse(&answer.body, &provider.issuer)?)
        };
        self.metadata.get(now, fetch).await
    }

    pub(super) async fn keys(
        &self,
        outbound: &Arc<Outbound>,
        provider: &Provider,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<Arc<Keys>, Trouble> {
        self.keys.get(now, fetch_keys(outbound, provider, metadata, now)).await
    }

    /// Keys newer than those that did not fit. `None`: they were fetched for the same reason a moment ago.
    pub(super) async fn renewed(
        &self,
        outbound: &Arc<Outbound>,
        provider: &Provider,
        metadata: &Metadata,
        unfit: &Arc<Keys>,
        now: Timestamp,
    ) -> Result<Option<Arc<Keys>>, Trouble> {
        self.keys.newer(unfit, now, fetch_keys(outbound, provider, metadata, now)).await
    }

    /// What a SAML provider publishes about itself at this address.
    pub(super) async fn description(
        &self,
        outbound: &Arc<Outbound>,
        provider: &Provider,
        address: &str,
        now: Timestamp,
    ) -> Result<Arc<Description>, Trouble> {
        self.description.forget(|known| known.valid_until.is_some_and(|until| until <= now));
        self.description.get(now, fetch_description(outbound, provider, address, now)).await
    }

    /// The same, newer than what did not fit. `None`: it was fetched for the same reason a moment ago.
    pub(super) async fn redescribed(
        &self,
        outbound: &Arc<Outbound>,
        provider: &Provider,
        address: &str,
        unfit: &Arc<Description>,
        now: Timestamp,
    ) -> Result<Option<Arc<Description>>, Trouble> {
        self.description.newer(unfit, now, fetch_description(outbound, provider, address, now)).await
    }
}

fn fetch_description(
    outbound: &Arc<Outbound>,
    provider: &Provider,
    address: &str,
    now: Timestamp,
) -> impl Future<Output = Result<Description, Trouble>> + Send + use<> {
    let (outbound, provider, address) = (Arc::clone(outbound), provider.clone(), address.to_owned());
    async move { super::saml::fetch(&outbound, &provider, &address, now).await }
}

fn fetch_keys(
    outbound: &Arc<Outbound>,
    provider: &Provider,
    metadata: &Metadata,
    now: Timestamp,
) -> impl Future<Output = Result<Keys, Trouble>> + Send + use<> {
    let (outbound, provider) = (Arc::clone(outbound), provider.clone());
    let address = metadata.jwks_uri.clone();
    async move {
        let answer = document(&outbound, &provider, &address, "keys", now).await?;
        Ok(Keys::parse(&answer.body)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::protocol::oidc::Refused;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn away() -> Trouble {
        Trouble::Away("slow".to_owned())
    }

    /// A fetch that takes so long, is counted, and ends so.
    fn fetch(
        count: &Arc<AtomicUsize>,
        takes: u64,
        ends: Result<u8, Trouble>,
    ) -> impl Future<Output = Result<u8, Trouble>> + Send + 'static {
        let count = Arc::clone(count);
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(takes)).await;
            ends
        }
    }

    #[tokio::test]
    async fn oidc_28_who_waits_for_a_provider_waits_for_one_fetch_and_not_in_a_queue() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (document, fetch) = (Arc::clone(&document), fetch(&count, 300, Err(away())));
            waiting.spawn(async move { document.get(NOW, fetch).await });
        }
        while let Some(outcome) = waiting.join_next().await {
            assert!(matches!(outcome.unwrap(), Err(Trouble::Away(_))));
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        // The pause begins when the fetch is over, not when it was begun.
        let later = NOW + PAUSE;
        assert!(document.get(later, fetch(&count, 0, Ok(1))).await.is_err());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let later = NOW + PAUSE + Span::minutes(1);
        assert_eq!(*document.get(later, fetch(&count, 0, Ok(1))).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn oidc_28_a_fetch_that_nobody_waits_for_any_more_is_noted_all_the_same() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        let gone = tokio::time::timeout(
            Duration::from_millis(50),
            document.get(NOW, fetch(&count, 200, Err(away()))),
        );
        assert!(gone.await.is_err());
        // The next one waits for the same fetch, and those after it ask nobody.
        for _ in 0..5 {
            assert!(document.get(NOW, fetch(&count, 0, Ok(1))).await.is_err());
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn oidc_28_an_old_document_serves_while_the_provider_takes_its_time() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        document.get(NOW, fetch(&count, 0, Ok(1))).await.unwrap();
        let stale = NOW + FRESH + Span::seconds(1);
        assert_eq!(*document.get(stale, fetch(&count, 3_600_000, Err(away()))).await.unwrap(), 1);
        // Not for ever.
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        document.get(NOW, fetch(&count, 0, Ok(1))).await.unwrap();
        assert!(document.get(NOW + USABLE + Span::seconds(1), fetch(&count, 0, Err(away()))).await.is_err());
    }

    #[tokio::test]
    async fn oidc_04_no_old_document_stands_in_for_one_that_is_refused() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        document.get(NOW, fetch(&count, 0, Ok(1))).await.unwrap();
        let refused = || Err(Trouble::Refused(Refused::by("discovery", "another issuer")));
        for after in [Span::ZERO, Span::seconds(1), Span::seconds(10)] {
            let outcome =
                document.get(NOW + FRESH + Span::seconds(1) + after, fetch(&count, 0, refused())).await;
            assert!(matches!(outcome, Err(Trouble::Refused(_))), "{after:?}");
        }
        assert!(document.get(NOW + FRESH + Span::minutes(1), fetch(&count, 0, Err(away()))).await.is_err());
    }

    #[tokio::test]
    async fn oidc_14_a_clock_that_is_set_back_keeps_no_key_for_ever() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        let wrong = NOW + Span::hours(24 * 365);
        let old = document.get(wrong, fetch(&count, 0, Ok(1))).await.unwrap();
        document.newer(&old, wrong, fetch(&count, 0, Ok(2))).await.unwrap().unwrap();
        let kept = document.get(NOW, fetch(&count, 0, Ok(3))).await.unwrap();
        assert_eq!(*kept, 3);
        assert_eq!(document.newer(&kept, NOW, fetch(&count, 0, Ok(4))).await.unwrap().as_deref(), Some(&4));
    }

    #[tokio::test]
    async fn oidc_14_everybody_whose_token_has_a_new_key_waits_for_one_renewal() {
        let (document, count) = (Arc::new(Document::default()), Arc::default());
        let old = document.get(NOW, fetch(&count, 0, Ok(1))).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (document, old, fetch) = (Arc::clone(&document), Arc::clone(&old), fetch(&count, 100, Ok(2)));
            waiting.spawn(async move { document.newer(&old, NOW, fetch).await });
        }
        while let Some(newer) = waiting.join_next().await {
            assert_eq!(newer.unwrap().unwrap().as_deref(), Some(&2));
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
        let newest = document.get(NOW, fetch(&count, 0, Ok(3))).await.unwrap();
        assert_eq!(document.newer(&newest, NOW, fetch(&count, 0, Ok(3))).await.unwrap(), None);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
