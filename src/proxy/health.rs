//! How the addresses of routes are: noticed by requests that failed, and by checks. One record for all threads.
//!
//! Whoever is not well is passed over while anybody else is. Nobody is refused because of it: where nobody is well, requests go
//! to whoever there is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Gate;
use crate::domain::route::{Route, Upstream};
use crate::domain::{Slug, Span, Timestamp};

/// How long an address is left out after the first failure; twice as long after each further one.
const FIRST: Span = Span::seconds(1);
/// The longest.
const LONGEST: Span = Span::seconds(60);
/// How long one request tries whether an address takes connections again, before another may.
const TRIAL: Span = Span::seconds(5);

/// How an address of a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing speaks against it.
    Well,
    /// It took no connection, or closed it without an answer, and is left out for a while.
    LeftOut,
    /// It gets no new requests, as the configuration says.
    Draining,
    /// Its checks fail.
    Unhealthy,
}

/// An address of a route, and how it is.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The route.
    pub route: Slug,
    /// `http://10.0.4.12:8080`
    pub address: String,
    /// How it is.
    pub condition: Condition,
}

impl Gate {
    /// Every address of every route, and how it is.
    #[must_use]
    pub fn upstreams(&self) -> Vec<Sighting> {
        let (snapshot, now) = (self.snapshot.load(), self.clock.now());
        let mut all = Vec::new();
        for route in snapshot.routes() {
            let spec = &route.spec;
            let draining = spec.pool.draining.iter().map(|to| (to, Condition::Draining));
            for (to, condition) in self.health.conditions(spec, now).chain(draining) {
                all.push(Sighting { route: spec.name.clone(), address: to.to_string(), condition });
            }
        }
        all
    }
}

impl Condition {
    /// In a word or two.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Draining => "draining",
            Condition::Well => "well",
            Condition::LeftOut => "left out",
            Condition::Unhealthy => "unhealthy",
        }
    }
}

/// The records of all addresses that anybody uses.
#[derive(Default)]
pub struct Health(Mutex<Known>);

#[derive(Default)]
struct Known {
    vitals: HashMap<(Slug, Upstream), Weak<Vitals>>,
    /// How many there may be until those are forgotten that nobody uses.
    tidy_at: usize,
}

impl Health {
    /// The record of an address of a route.
    pub(super) fn of(&self, route: &Slug, to: &Upstream) -> Arc<Vitals> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.clone(), to.clone());
        if let Some(vitals) = known.vitals.get(&key).and_then(Weak::upgrade) {
            return vitals;
        }
        if known.vitals.len() >= known.tidy_at {
            known.vitals.retain(|_, vitals| vitals.strong_count() > 0);
            known.tidy_at = known.vitals.len() * 2 + 64;
        }
        let vitals = Arc::new(Vitals::default());
        known.vitals.insert(key, Arc::downgrade(&vitals));
        vitals
    }

    /// The addresses of a route that take requests, and how each is.
    pub fn conditions<'r>(
        &self,
        route: &'r Route,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'r Upstream, Condition)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let condition = |to: &'r Upstream| {
            let vitals = known.vitals.get(&(route.name.clone(), to.clone())).and_then(Weak::upgrade);
            (to, vitals.map_or(Condition::Well, |vitals| vitals.condition(now)))
        };
        route.to.iter().map(condition).collect::<Vec<_>>().into_iter()
    }
}

/// How an address of a route is.
#[derive(Default)]
pub(super) struct Vitals {
    /// How often it was left out since its last answer.
    failures: AtomicU32,
    /// Until when it is left out, in unix milliseconds.
    until: AtomicI64,
    /// Until when somebody is trying whether it can be used again.
    trial: AtomicI64,
    /// Whether its checks fail.
    unhealthy: AtomicU8,
}

impl Vitals {
    pub(super) fn condition(&self, now: Timestamp) -> Condition {
        // A clock that was set back leaves nobody out for longer.
        let ahead = |moment: &AtomicI64| {
            let left = moment.load(Ordering::Relaxed).saturating_sub(now.millis());
            left > 0 && left <= LONGEST.as_millis()
        };
        if self.unhealthy.load(Ordering::Relaxed) != 0 {
            Condition::Unhealthy
        } else if ahead(&self.until) || ahead(&self.trial) {
            Condition::LeftOut
        } else {
            Condition::Well
        }
    }

    /// A request is about to go there. If it was left out, the others wait for what comes of this one.
    pub(super) fn tried(&self, now: Timestamp) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.trial.store((now + TRIAL).millis(), Ordering::Relaxed);
        }
    }

    /// It took no connection, or closed it without an answer. For how long it is left out, if it was not already: many requests
    /// may fail at the same time.
    pub(super) fn failed(&self, now: Timestamp) -> Option<Span> {
        let until = self.until.load(Ordering::Relaxed);
        if until > now.millis() && until - now.millis() <= LONGEST.as_millis() {
            return None;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let span = Span::millis(FIRST.as_millis() << before).min(LONGEST);
        self.until.store((now + span).millis(), Ordering::Relaxed);
        self.trial.store(0, Ordering::Relaxed);
        Some(span)
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
            self.trial.store(0, Ordering::Relaxed);
        }
    }

    /// What its checks say.
    pub(super) fn checked(&self, unhealthy: bool) {
        self.unhealthy.store(u8::from(unhealthy), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::route::{Protocol, Transport};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn who_fails_is_left_out_for_longer_each_time_and_tried_by_one() {
        let vitals = Vitals::default();
        let mut now = NOW;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(vitals.condition(now), Condition::Well);
            vitals.tried(now);
            assert_eq!(vitals.failed(now), Some(Span::seconds(seconds)));
            // Those that failed with it change nothing.
            assert_eq!(vitals.failed(now), None);
            assert_eq!(vitals.condition(now + Span::seconds(seconds) - Span::millis(1)), Condition::LeftOut);
            now = now + Span::seconds(seconds);
        }
        assert_eq!(vitals.condition(now), Condition::Well);
        vitals.tried(now);
        assert_eq!(vitals.condition(now), Condition::LeftOut, "somebody is trying");
        assert_eq!(vitals.condition(now + TRIAL), Condition::Well, "whoever tried has gone away");
        vitals.answered();
        assert_eq!(vitals.condition(now), Condition::Well);
        vitals.tried(now);
        assert_eq!(vitals.condition(now), Condition::Well);
        assert_eq!(vitals.failed(now), Some(FIRST));
        // The clock goes back an hour.
        assert_eq!(vitals.condition(now - Span::hours(1)), Condition::Well);
        assert_eq!(vitals.failed(now - Span::hours(1)), Some(Span::seconds(2)));
    }

    #[test]
    fn records_are_shared_while_they_are_used_and_then_forgotten() {
        let health = Health::default();
        let name = |n: usize| Slug::parse(&format!("route-{n}")).unwrap();
        let to = Upstream {
            transport: Transport::Plain,
            protocol: Protocol::Http1,
            host: "10.0.0.1".into(),
            port: 80,
        };
        let one = health.of(&name(1), &to);
        one.checked(true);
        assert!(Arc::ptr_eq(&one, &health.of(&name(1), &to)));
        assert_eq!(health.of(&name(2), &to).condition(NOW), Condition::Well, "another route asks for itself");
        for n in 0..10_000 {
            drop(health.of(&name(n + 2), &to));
        }
        assert!(health.0.lock().unwrap().vitals.len() < 200);
        assert_eq!(health.of(&name(1), &to).condition(NOW), Condition::Unhealthy);
    }
}
