//! What is counted and what is logged: once per request, at its very end.
//!
//! Handles are registered once per route and thread; a request then costs a few atomic additions. Labels name routes and
//! outcomes, never people, and never anything a client made up.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::domain::route::Upstream;
use crate::domain::{SessionId, Timestamp};
use crate::session::Record;
use crate::sys::Stopwatch;

use super::Gate;
use super::answers::Answer;
use super::past::Past;
use super::policy::Known;
use super::trace::Trace;
use super::view::View;

/// The bounds of the buckets that times are counted in, in seconds: a metric and its bounds. Without any an exporter could
/// only guess, and several nodes could not be added up.
pub const BUCKETS: [(&str, &[f64]); 2] = [
    ("cardea_decision_seconds", &[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    (
        "cardea_upstream_seconds",
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
    ),
];

/// So many requests that cannot be read are spoken of in a second, where there is no line for each.
const MOST_COMPLAINTS: u32 = 10;

/// Says what each metric is. Once, after the recorder is installed.
pub fn describe() {
    metrics::describe_counter!(
        "cardea_requests_total",
        "Requests, by route, by how they ended and by the kind of status"
    );
    metrics::describe_counter!(
        "cardea_upstream_errors_total",
        "Requests that an upstream failed, by route and kind"
    );
    metrics::describe_counter!(
        "cardea_open_cut_total",
        "Answers and tunnels that were ended because they would not be let through any more, by route"
    );
    metrics::describe_gauge!("cardea_requests_in_flight", "Requests whose answer has not ended");
    metrics::describe_gauge!("cardea_connections", "Open connections of clients");
    metrics::describe_counter!(
        "cardea_tls_handshakes_failed_total",
        "Connections of clients that came to nothing before a request"
    );
    metrics::describe_counter!(
        "cardea_connections_refused_total",
        "Connections that were closed at once because their client had too many open"
    );
    metrics::describe_histogram!(
        "cardea_decision_seconds",
        metrics::Unit::Seconds,
        "From the head of a request to its decision"
    );
    metrics::describe_histogram!(
        "cardea_upstream_seconds",
        metrics::Unit::Seconds,
        "From passing a request on to the head of the answer, by route"
    );
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// Let through, as somebody.
    Allowed,
    /// Refused as unreadable or ambiguous.
    BadRequest,
    /// The answer had begun and did not end.
    BrokeOff,
    /// Ended because it would not be let through any more.
    Cut,
    /// Refused to somebody.
    Denied,
    /// The client went away before there was an answer.
    Gone,
    /// Our own fault.
    Internal,
    /// The app is being worked on.
    Maintenance,
    /// No route.
    NoRoute,
    /// Answered by us.
    Own,
    /// Answered by the portal.
    Portal,
    /// Let through, as nobody.
    Public,
    /// Sent to sign in.
    SignIn,
    /// Sent to give a second factor.
    StepUp,
    /// Nobody could be recognised.
    Unavailable,
    /// The upstream failed.
    UpstreamError,
    /// The upstream took too long.
    UpstreamTimeout,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::BadRequest => "bad-request",
            Outcome::BrokeOff => "broke-off",
            Outcome::Cut => "cut",
            Outcome::Denied => "denied",
            Outcome::Gone => "gone",
            Outcome::Internal => "internal",
            Outcome::Maintenance => "maintenance",
            Outcome::NoRoute => "no-route",
            Outcome::Own => "own",
            Outcome::Portal => "portal",
            Outcome::Public => "public",
            Outcome::SignIn => "sign-in",
            Outcome::StepUp => "step-up",
            Outcome::Unavailable => "unavailable",
            Outcome::UpstreamError => "upstream-error",
            Outcome::UpstreamTimeout => "upstream-timeout",
        }
    }
}

/// How a request ended, and with which kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ended {
    outcome: Outcome,
    /// The status, less its last two digits; 0 without an answer.
    hundreds: u16,
}

impl Ended {
    const fn class(self) -> &'static str {
        match self.hundreds {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "none",
        }
    }
}

/// The meters of a thread.
pub(super) struct Meters {
    gate: Arc<Gate>,
    /// In which second how many were complained about.
    complaints: Cell<(i64, u32)>,
    counters: RefCell<HashMap<(Box<str>, Ended), Counter, RandomState>>,
    decisions: Histogram,
    upstreams: RefCell<HashMap<Box<str>, Histogram, RandomState>>,
    in_flight: Gauge,
    connections: Gauge,
    handshakes_failed: Counter,
    refused: Counter,
}

impl Meters {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            complaints: Cell::new((i64::MIN, 0)),
            counters: RefCell::default(),
            decisions: histogram!("cardea_decision_seconds"),
            upstreams: RefCell::default(),
            in_flight: gauge!("cardea_requests_in_flight"),
            connections: gauge!("cardea_connections"),
            handshakes_failed: counter!("cardea_tls_handshakes_failed_total"),
            refused: counter!("cardea_connections_refused_total"),
        }
    }

    /// A client got no connection.
    pub(super) fn handshake_failed(&self) {
        self.handshakes_failed.increment(1);
    }

    fn count(&self, route: &str, ended: Ended) {
        let mut counters = self.counters.borrow_mut();
        if let Some(counter) = counters.get(&(route, ended) as &dyn Key) {
            counter.increment(1);
            return;
        }
        let labels = [
            ("route", route.to_owned()),
            ("outcome", ended.outcome.as_str().to_owned()),
            ("status", ended.class().to_owned()),
        ];
        let counter = counter!("cardea_requests_total", &labels);
        counter.increment(1);
        counters.insert((route.into(), ended), counter);
    }

    /// How long it took from the head to the decision.
    pub(super) fn decided(&self, after: Duration) {
        self.decisions.record(after.as_secs_f64());
    }

    /// How long an upstream took to begin its answer, with connecting and with what it had to be sent first.
    pub(super) fn answered(&self, route: &str, after: Duration) {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(histogram) = upstreams.get(route) {
            histogram.record(after.as_secs_f64());
            return;
        }
        let histogram = histogram!("cardea_upstream_seconds", "route" => route.to_owned());
        histogram.record(after.as_secs_f64());
        upstreams.insert(route.into(), histogram);
    }

    /// Says which rule a request broke where there are no lines for requests; a scanner breaks thousands.
    fn complain(&self, reason: &str, entry: &Entry) {
        let second = self.gate.clock.now().seconds();
        let (last, said) = self.complaints.get();
        let said = if last == second { said + 1 } else { 1 };
        self.complaints.set((second, said));
        if said <= MOST_COMPLAINTS {
            let id = &*entry.request_id;
            tracing::info!(reason, client.address = %entry.client, request.id = id, "a request could not be read");
        }
    }

    /// A connection was closed at once: its client has too many.
    pub(super) fn crowded(&self) {
        self.refused.increment(1);
    }

    /// A connection opened; it is closed when what is returned is dropped.
    pub(super) fn connected(&self) -> Connected {
        self.connections.increment(1);
        Connected(self.connections.clone())
    }
}

/// A connection that is counted.
pub(super) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Looks up by parts, without owning them.
trait Key {
    fn parts(&self) -> (&str, Ended);
}

impl Key for (Box<str>, Ended) {
    fn parts(&self) -> (&str, Ended) {
        (&self.0, self.1)
    }
}

impl Key for (&str, Ended) {
    fn parts(&self) -> (&str, Ended) {
        (self.0, self.1)
    }
}

impl<'a> std::borrow::Borrow<dyn Key + 'a> for (Box<str>, Ended) {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl std::hash::Hash for dyn Key + '_ {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Key + '_ {}

/// The id of a request, as text: for the log, for the upstream, for the person.
#[derive(Clone, Copy)]
pub(super) struct RequestId([u8; 36]);

impl RequestId {
    pub(super) fn new(id: uuid::Uuid) -> Self {
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }
}

impl std::ops::Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        // Hexadecimal digits and hyphens.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One request on its way. Counted and logged when it is dropped: after the last byte of its answer, or when either side
/// goes away.
pub(super) struct Entry {
    meters: Rc<Meters>,
    started: Stopwatch,
    /// Whether there will be a line in the log. If not, what only stands there is not written down.
    logged: bool,
    method: String,
    host: String,
    path: String,
    trace: String,
    route: Cow<'static, str>,
    protocol: &'static str,
    client: IpAddr,
    decided_at: Timestamp,
    version: u64,
    session: Option<SessionId>,
    /// Who asks; only where it is written down, or where they are kept out.
    record: Option<Arc<Record>>,
    upstream: Option<String>,
    decision: Option<String>,
    reason: Option<Cow<'static, str>>,
    /// Which rule let it in, counted from one.
    pub(super) rule: Option<usize>,
    pub(super) outcome: Outcome,
    pub(super) request_id: RequestId,
    pub(super) status: u16,
    pub(super) bytes: u64,
}

impl Entry {
    /// Begins one of a peer, in a version of HTTP.
    pub(super) fn begin(
        meters: &Rc<Meters>,
        method: &str,
        protocol: &'static str,
        peer: IpAddr,
        request_id: RequestId,
    ) -> Self {
        meters.in_flight.increment(1);
        let logged = tracing::enabled!(target: "access", tracing::Level::INFO);
        Self {
            meters: Rc::clone(meters),
            started: Stopwatch::start(),
            logged,
            method: if logged { method.chars().take(32).collect() } else { String::new() },
            host: String::new(),
            path: String::new(),
            trace: String::new(),
            route: Cow::Borrowed("-"),
            protocol,
            client: peer.to_canonical(),
            decided_at: Timestamp::from_millis(0),
            version: 0,
            session: None,
            record: None,
            upstream: None,
            decision: None,
            reason: None,
            rule: None,
            outcome: Outcome::Gone,
            request_id,
            status: 0,
            bytes: 0,
        }
    }

    /// Notes from where, after trusted proxies, and what is asked: the canonical path, without the query, for what comes
    /// after `?` may be a secret.
    pub(super) fn asks(&mut self, client: IpAddr, host: &str, path: &str) {
        self.client = client;
        if self.logged {
            host.clone_into(&mut self.host);
            path.clone_into(&mut self.path);
        }
    }

    /// Notes what another proxy asks about: not the method of the question.
    pub(super) fn asks_about(&mut self, method: &str, client: IpAddr, host: &str, path: &str) {
        if self.logged {
            method.clone_into(&mut self.method);
        }
        self.asks(client, host, path);
    }

    /// Notes who asks, and under which policy that is judged.
    pub(super) fn is_of(&mut self, known: &Known, version: u64, now: Timestamp) {
        (self.version, self.decided_at) = (version, now);
        self.session = known.record().map(|record| record.id);
        if self.logged
            && let Known::Person(record) = known
        {
            self.record = Some(Arc::clone(record));
        }
    }

    /// Notes to which address it was passed on.
    pub(super) fn sent_to(&mut self, upstream: Option<&Upstream>) {
        if self.logged {
            self.upstream = upstream.map(ToString::to_string);
        }
    }

    /// Notes what was wrong with it. For the log alone.
    pub(super) fn because(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.reason = Some(reason.into());
    }

    /// Notes under which reference the person has the refusal, and why it is one.
    pub(super) fn refused(&mut self, code: &'static str, answer: &Answer) {
        self.because(code);
        self.decision =
            answer.headers().get("cardea-decision").and_then(|it| it.to_str().ok().map(str::to_owned));
    }

    /// Notes to which trace it belongs.
    pub(super) fn traced(&mut self, view: &View<'_>) {
        if self.logged {
            Trace::of(view, &self.request_id).id().clone_into(&mut self.trace);
        }
    }

    /// Notes by which route.
    pub(super) fn by(&mut self, route: &str) {
        self.route = Cow::Owned(route.to_owned());
    }

    /// Notes by the portal.
    pub(super) fn by_portal(&mut self) {
        self.route = Cow::Borrowed("portal");
    }

    /// Notes the decision.
    pub(super) fn decided(&self) {
        self.meters.decided(self.started.elapsed());
    }

    /// Notes that its answer broke off on the way.
    pub(super) fn broke_off(&mut self) {
        self.outcome = Outcome::BrokeOff;
    }

    /// Notes that an upstream failed; rare, so its handle is not kept.
    pub(super) fn upstream_failed(&self, kind: &'static str) {
        counter!("cardea_upstream_errors_total", "route" => self.route.clone(), "kind" => kind).increment(1);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.meters.in_flight.decrement(1);
        self.meters.count(&self.route, Ended { outcome: self.outcome, hundreds: self.status / 100 });
        if !self.logged {
            if let (Outcome::BadRequest, Some(reason)) = (self.outcome, &self.reason) {
                self.meters.complain(reason, self);
            }
            return;
        }
        let user = self.record.as_ref().map(|record| &record.principal);
        tracing::info!(
            target: "access",
            method = %self.method,
            client.address = %self.client,
            protocol = self.protocol,
            host = %self.host,
            path = %without_secrets(&self.path),
            status = self.status,
            outcome = self.outcome.as_str(),
            reason = self.reason.as_deref(),
            decision = self.decision.as_deref(),
            route.id = %self.route,
            rule = self.rule,
            upstream = self.upstream.as_deref(),
            user.id = user.map(|user| tracing::field::display(user.user)),
            user.name = user.map(|user| tracing::field::display(&user.username)),
            session.id = self.session.map(tracing::field::display),
            request.id = &*self.request_id,
            trace.id = %self.trace,
            duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            bytes = self.bytes,
            "request"
        );
        let past = self.past();
        self.meters.gate.lately.keep(past);
    }
}

impl Entry {
    /// What is left of it for those who ask later.
    fn past(&mut self) -> Past {
        Past {
            request_id: self.request_id.to_string(),
            at: self.decided_at,
            client: self.client,
            protocol: self.protocol,
            method: std::mem::take(&mut self.method),
            host: std::mem::take(&mut self.host),
            path: std::mem::take(&mut self.path),
            route: std::mem::take(&mut self.route).into_owned(),
            rule: self.rule,
            outcome: self.outcome.as_str(),
            let_in: self.rule.is_some() && !matches!(self.outcome, Outcome::BadRequest | Outcome::Denied),
            status: self.status,
            upstream: self.upstream.take(),
            decision: self.decision.take(),
            reason: self.reason.take(),
            version: self.version,
            record: self.record.take(),
        }
    }
}

/// A path for the log: one-time links have their secret in it, also when somebody opens one on the wrong host, or with
/// something before or behind it. No part as long as such a secret is written down.
#[must_use]
pub fn without_secrets(path: &str) -> String {
    path.split('/').map(|part| if part.len() >= 40 { "*" } else { part }).collect::<Vec<_>>().join("/")
}
