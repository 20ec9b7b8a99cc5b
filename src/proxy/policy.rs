//! The judgement: who asks, whether they may, and what the upstream is told. One for every way in.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::access::{self, Decision, Denial, Lost, Permit, Route, Snapshot, StepUp};
use crate::crypto::CryptoError;
use crate::domain::Timestamp;
use crate::domain::route::{Upstream, folded_name};
use crate::session::{Record, Shown};

use super::rewrite::{Astray, rewritten};
use super::trace::{self, Trace};
use super::view::Asked;
use super::{Gate, hygiene, identity};

/// Who asks, as far as it can be known.
pub(super) enum Known {
    /// Nobody is signed in.
    Nobody,
    /// Somebody is.
    Person(Arc<Record>),
    /// It cannot be said: storage is away, or memory is too old to be believed. Nobody gets in by this.
    Unknowable,
}

impl Known {
    /// The session, if there is one.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Known::Person(record) => Some(record),
            Known::Nobody | Known::Unknowable => None,
        }
    }
}

/// Finds out who asks: from memory, or else from the database.
pub(super) async fn who(gate: &Gate, asked: &Asked<'_>, now: Timestamp) -> Known {
    if !gate.sessions.lease().holds(now) {
        return Known::Unknowable;
    }
    let known = match gate.sessions.shown(asked.cookies(), &asked.host, now) {
        None => Known::Nobody,
        Some(Shown::Known(record)) => Known::Person(record),
        Some(Shown::Token(digest)) => holder(gate, digest, &asked.host, now).await,
    };
    if let Known::Person(record) = &known {
        gate.sessions.note_use(record, now);
    }
    known
}

/// Finds out whose token this is, by its digest: from memory, or else from the database. To ask is no use of the session.
pub(super) async fn holder(gate: &Gate, digest: [u8; 32], host: &str, now: Timestamp) -> Known {
    if !gate.sessions.lease().holds(now) {
        return Known::Unknowable;
    }
    if let Some(record) = gate.sessions.remembered(&digest, now) {
        return Known::Person(record);
    }
    let (sessions, snapshots) = (Arc::clone(&gate.sessions), Arc::clone(&gate.snapshot));
    let host = host.to_owned();
    let looked_up = gate.control.run(async move { sessions.look_up(&digest, &host, &snapshots, now).await });
    // In a box, since it is rare: what is awaited here is part of every request.
    match Box::pin(looked_up).await {
        Ok(Ok(Some(record))) => Known::Person(record),
        Ok(Ok(None)) => Known::Nobody,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a session could not be looked up; requests that need one are refused");
            Known::Unknowable
        }
        Err(gone) => {
            tracing::warn!(%gone, "a session could not be looked up; requests that need one are refused");
            Known::Unknowable
        }
    }
}

/// What comes of a request.
pub(super) enum Verdict<'a> {
    /// It can be read in two ways.
    Ambiguous(Lost),
    /// No.
    Deny(Denial),
    /// Yes.
    Pass(Passage<'a>),
    /// Somebody must sign in; `again`: somebody is, too long ago.
    SignIn {
        /// The first factor must be given again.
        again: bool,
    },
    /// A second factor must be given.
    StepUp(StepUp),
    /// It cannot be decided without knowing who asks.
    Unavailable,
}

/// A permit, the session it was given for and the snapshot it was decided on. The only thing that opens the way to an
/// upstream; only [`judge`] makes one.
pub(super) struct Passage<'a> {
    permit: Permit<'a>,
    record: Option<&'a Arc<Record>>,
    snapshot: &'a Snapshot,
    /// Which of the route's addresses.
    upstream: Cell<Option<usize>>,
}

impl<'a> Passage<'a> {
    /// Where to.
    pub(super) const fn route(&self) -> &'a Route {
        self.permit.route()
    }

    /// The version of the snapshot it was decided on.
    pub(super) const fn version(&self) -> u64 {
        self.snapshot.version
    }

    /// Notes to which address it is passed on.
    pub(super) fn goes_to(&self, at: usize) {
        self.upstream.set(Some(at));
    }

    /// The last address that it was passed on to, or was to be.
    pub(super) fn upstream(&self) -> Option<&'a Upstream> {
        self.upstream.get().and_then(|at| self.route().spec.to.get(at))
    }

    /// Under which rule.
    pub(super) const fn rule(&self) -> usize {
        self.permit.rule()
    }

    /// Whether no shared cache may keep the answer: it is made for somebody, and the route does not say otherwise.
    pub(super) fn private_answers(&self) -> bool {
        self.record.is_some() && self.route().spec.private_answers
    }

    /// For whom; nobody on public rules, whoever asks.
    pub(super) fn record(&self) -> Option<&'a Record> {
        self.record.map(|record| &**record)
    }

    /// The same, to keep.
    pub(super) const fn person(&self) -> Option<&'a Arc<Record>> {
        self.record
    }

    /// What the upstream is told about them, as lines of header fields; nothing on public rules.
    ///
    /// # Errors
    /// When the identity cannot be signed. Then nothing may be forwarded.
    pub(super) fn identity(&self, gate: &Gate, now: Timestamp) -> Result<Option<Arc<[u8]>>, CryptoError> {
        let block = |record| identity::block(gate, self.snapshot, self.route(), record, now);
        self.record().map(block).transpose()
    }
}

/// Judges. Pure: everything it needs is there.
pub(super) fn judge<'a>(
    snapshot: &'a Snapshot,
    route: &'a Route,
    known: &'a Known,
    asked: &Asked<'_>,
    now: Timestamp,
) -> Verdict<'a> {
    weigh(snapshot, route, known, &question(asked, now))
}

/// Judges what is asked, without the rest of the request.
pub(super) fn weigh<'a>(
    snapshot: &'a Snapshot,
    route: &'a Route,
    known: &'a Known,
    question: &access::Request<'_>,
) -> Verdict<'a> {
    let caller = known.record().map(Record::caller);
    match access::decide(snapshot, route, caller, question) {
        Decision::Ambiguous(lost) => Verdict::Ambiguous(lost),
        Decision::Permit(permit) => {
            let person = match known {
                Known::Person(record) => Some(record),
                Known::Nobody | Known::Unknowable => None,
            };
            let upstream = Cell::new(None);
            Verdict::Pass(Passage { record: permit.caller().and(person), permit, snapshot, upstream })
        }
        // Whatever else was decided was decided about nobody.
        _ if matches!(known, Known::Unknowable) => Verdict::Unavailable,
        Decision::Deny(denial) => Verdict::Deny(denial),
        Decision::SignIn { again } => Verdict::SignIn { again },
        Decision::StepUp(step) => Verdict::StepUp(step),
    }
}

/// The request as the decision sees it: what is matched is what is forwarded.
pub(super) fn question<'a>(asked: &'a Asked<'_>, now: Timestamp) -> access::Request<'a> {
    access::Request { target: &asked.target, method: asked.view.method, address: asked.address, now }
}

/// The head of the request that the upstream receives, made from scratch.
pub(super) struct Head<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// Canonical path as the upstream is to hear it, and the query as received.
    pub(super) target: Cow<'a, str>,
    /// The `Host` as the client gave it; `None` when the upstream is to hear its own name.
    pub(super) host: Option<(&'a str, Option<u16>)>,
    fields: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    identity: Option<Arc<[u8]>>,
}

impl Head<'_> {
    /// The header fields in order: the client's as far as they may pass, then ours. `Host`, framing and the identity come
    /// besides.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Puts fields in place of all whose folded name begins so.
    pub(super) fn replace(&mut self, start: &str, with: Vec<(&'static [u8], Vec<u8>)>) {
        self.fields.retain(|(name, _)| !folded_name(name).starts_with(start));
        self.fields.extend(with.into_iter().map(|(name, value)| (name, Cow::Owned(value))));
    }

    /// Who asks, as lines of a head; empty for nobody.
    pub(super) fn identity(&self) -> &[u8] {
        self.identity.as_deref().unwrap_or_default()
    }
}

/// Why there is no head. Then nothing may be forwarded.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHead {
    /// The app's own address for it is not clear.
    #[error("{0}")]
    Astray(#[from] Astray),
    /// The identity cannot be signed.
    #[error("an assertion could not be signed: {0}")]
    Unsigned(#[from] CryptoError),
}

/// An address as text. Nearly every one is of four numbers.
fn written(address: IpAddr) -> Vec<u8> {
    let IpAddr::V4(address) = address else { return address.to_string().into_bytes() };
    let mut text = Vec::with_capacity(16);
    for number in address.octets() {
        if !text.is_empty() {
            text.push(b'.');
        }
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    text
}

/// Makes the head for whoever was let through.
///
/// # Errors
/// When it cannot say who it is, or where to.
pub(super) fn head<'a>(
    gate: &Gate,
    passage: &Passage<'a>,
    asked: &'a Asked<'_>,
    request_id: &'a str,
    now: Timestamp,
) -> Result<Head<'a>, NoHead> {
    let (route, snapshot) = (passage.route(), passage.snapshot);
    let identity = passage.identity(gate, now)?;
    let (scheme, authority) = route.origin.split_once("://").unwrap_or_default();
    let target = rewritten(&route.spec, &asked.target)?;
    let trace = Trace::of(&asked.view, request_id);
    let mut fields = hygiene::kept(&asked.view, snapshot);
    fields.retain(|(name, _)| !trace.drops(name));
    // Before anything of ours is written: what a route changes can neither take it away nor stand beside it.
    route.spec.request_headers.apply(&mut fields);
    let mut ours = |name: &'static str, value| fields.push((name.as_bytes(), value));
    ours("x-forwarded-for", Cow::Owned(written(asked.address)));
    ours("x-forwarded-proto", Cow::Borrowed(scheme.as_bytes()));
    ours("x-forwarded-host", Cow::Borrowed(authority.as_bytes()));
    ours("cardea-request-id", Cow::Borrowed(request_id.as_bytes()));
    ours(trace::PARENT, trace.parent());
    let host = route.spec.pass_host.then(|| (asked.host.as_ref(), asked.port));
    Ok(Head { method: asked.view.method, target, host, fields, identity })
}
