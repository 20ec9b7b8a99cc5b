//! The way of a request, from its head to its answer. Read it from top to bottom.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use serde_json::json;

use crate::access::explain::{Explanation, Told, explain};
use crate::access::ledger::reference;
use crate::access::{Denial, Lost, Route, Snapshot};
use crate::domain::target::Unusual;
use crate::domain::{self, Actor, AuditEvent, Span};
use crate::session::Record;
use crate::ui::{Clause, ErrorKind};

use super::answers::{Answer, Body, ErrorText, Problem, Reply, set, title};
use super::arriving::Arriving;
use super::exchange::{Changed, change, forward};
use super::forward::Failure;
use super::meters::{Entry, Outcome, without_secrets};
use super::navigation::{Wish, wish};
use super::open::{Entrance, Guard, unless_cut};
use super::own::{self, Prompt, to_sign_in};
use super::policy::{Head, Known, NoHead, Passage, Verdict, head, judge, question, who};
use super::refusals::Refusal;
use super::serve::{Door, Line, Thread};
use super::stream::Peer;
use super::tunnel::Tunnel;
use super::upgrade::{self, Handshake};
use super::view::{Asked, Field, View};
use super::{Arrival, Front, answers, forward_auth};

/// The most bytes of a request's body to the portal.
const MOST_PORTAL_BODY: usize = 64 * 1024;
/// The same where providers have browsers post their answers: a SAML response of 256 KiB, as a form writes it.
const MOST_ANSWER: usize = 400 * 1024;
/// How long such a body may take.
const PORTAL_BODY_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// What carries a request on once it was let through, and gives the portal its body. Each way in has its own.
pub(super) trait Carrier {
    /// What is left to do when the request was carried.
    type Carried;

    /// The whole body, for the portal.
    async fn whole(&mut self, most: usize) -> Result<Bytes, Unfit>;

    /// Carries it to an upstream, and the answer back. An error means that the client was told nothing yet.
    async fn carry(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
        entry: &mut Entry,
    ) -> Result<Self::Carried, Failure>;

    /// Whether the connection can become a tunnel after this request.
    fn may_change(&self) -> bool {
        false
    }

    /// Carries a handshake to an upstream, and has the connection become a tunnel if it says 101. As [`Carrier::carry`].
    async fn change(
        &mut self,
        _: &Passage<'_>,
        _: &Head<'_>,
        _: &Entrance<'_, '_>,
        _: &Handshake<'_>,
    ) -> Result<Self::Carried, Failure> {
        Err(Failure::Head)
    }
}

/// Why a body cannot be given to the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is too large.
    Large,
    /// It did not come, or not as it must.
    Missing,
}

/// How the way of a request ended.
pub(super) enum Ending<C> {
    /// With an answer of ours, which is still to be sent.
    Answer(Answer),
    /// It was carried.
    Carried(C),
}

/// An answer that is being made. A named type: the library's own would otherwise hold all of ours, at great length.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answer, Infallible>>>>;

/// Answers a request that the HTTP library has read.
pub(super) fn answering(
    thread: Rc<Thread>,
    door: Door,
    line: Rc<Line>,
    request: Request<Incoming>,
    peer: Peer,
) -> Answering {
    let request = request.map(Arriving::Http1);
    // Where the strict reader gave the connection away for a change of protocol, there is that or nothing: the library is more
    // lenient, and must not be what a client can choose for its other requests (`PROXY-13`).
    let once = thread.gate.settings.front == Front::Strict;
    Box::pin(async move {
        let mut answer = answer(thread, door, line, request, peer).await;
        if once && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answers::close(&mut answer);
        }
        Ok(answer)
    })
}

/// Answers a request.
pub(super) async fn answer(
    thread: Rc<Thread>,
    door: Door,
    line: Rc<Line>,
    request: Request<Arriving>,
    peer: Peer,
) -> Answer {
    let spoken = match request.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let (method, from) = (request.method().as_str(), peer.address.ip());
    let mut entry = Box::new(Entry::begin(&thread.meters, method, spoken, from, thread.request_id()));
    let (parts, body) = request.into_parts();
    let mut fields: Vec<Field<'_>> =
        parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let target = raw_target(&parts.uri);
    let cookies = crumbs(&parts.headers);
    if parts.version == Version::HTTP_2 {
        // What HTTP/1.1 says in these two fields HTTP/2 may say otherwise (RFC 9113 §8.2.3, §8.3.1).
        if let (None, Some(authority)) = (parts.headers.get(HOST), parts.uri.authority()) {
            fields.push((b"host", authority.as_str().as_bytes()));
        }
        if let Some(cookies) = &cookies {
            fields.retain(|(name, _)| *name != b"cookie");
            fields.push((b"cookie", cookies));
        }
    }
    let view = View {
        method: parts.method.as_str(),
        target: &target,
        fields: &fields,
        peer: peer.address,
        certificate: peer.certificate.as_deref(),
    };
    let changeable = parts.extensions.get::<OnUpgrade>().is_some() && body.is_end_stream();
    let mut library = Library { thread: &thread, line: &line, body: Some(body), changeable };
    let answer = match judged(&thread, door, &mut entry, view, &mut library).await {
        Ending::Answer(answer) | Ending::Carried(answer) => answer,
    };
    entry.status = answer.status().as_u16();
    match line.note(entry) {
        Some(entry) => answer.map(|body| body.noted(entry)),
        None => answer,
    }
}

/// The cookies of a request that has several fields of them, as one.
fn crumbs(fields: &HeaderMap) -> Option<Vec<u8>> {
    let all: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    (all.len() > 1).then(|| all.join(&b"; "[..]))
}

/// A request of the HTTP library.
struct Library<'t> {
    thread: &'t Rc<Thread>,
    line: &'t Line,
    changeable: bool,
    /// Taken by whoever reads it.
    body: Option<Arriving>,
}

impl Carrier for Library<'_> {
    type Carried = Answer;

    async fn whole(&mut self, most: usize) -> Result<Bytes, Unfit> {
        let body = self.body.take().ok_or(Unfit::Missing)?;
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Unfit::Large),
            Err(_) => Err(Unfit::Missing),
        }
    }

    async fn carry(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
        _: &mut Entry,
    ) -> Result<Answer, Failure> {
        let body = self.body.take().ok_or(Failure::Gone)?;
        let mut guard = None;
        let forwarded = forward(self.thread, passage, head, body);
        let answer = unless_cut(forwarded, &mut guard, || entrance.enter()).await.ok_or(Failure::Cut)??;
        Ok(self.guarded(answer, guard, entrance))
    }

    fn may_change(&self) -> bool {
        self.changeable
    }

    async fn change(
        &mut self,
        passage: &Passage<'_>,
        head: &Head<'_>,
        entrance: &Entrance<'_, '_>,
        handshake: &Handshake<'_>,
    ) -> Result<Answer, Failure> {
        let body = self.body.take().ok_or(Failure::Gone)?;
        let mut guard = None;
        let changed = change(self.thread, passage, head, body);
        match unless_cut(changed, &mut guard, || entrance.enter()).await.ok_or(Failure::Cut)?? {
            Changed::Yes { head, link, early } => {
                let answer = handshake.answered(&head, passage)?;
                let thread = Rc::clone(self.thread);
                let idle = passage.route().spec.websocket.as_ref().map_or(Span::minutes(1), |how| how.idle);
                let guard = entrance.tunnel(&handshake.origin);
                self.line.becomes(Tunnel {
                    thread,
                    upstream: *link,
                    early,
                    guard,
                    idle: idle.std(),
                    entry: None,
                });
                Ok(answer)
            }
            // What the client sends after this was meant for another protocol.
            Changed::No(mut answer) => {
                answers::close(&mut answer);
                Ok(self.guarded(answer, guard, entrance))
            }
        }
    }
}

impl Library<'_> {
    /// Has an answer that still comes end when the right to it does.
    fn guarded(&self, mut answer: Answer, guard: Option<Guard>, entrance: &Entrance<'_, '_>) -> Answer {
        if answer.body_mut().is_complete() {
            return answer;
        }
        let guard = guard.unwrap_or_else(|| entrance.enter());
        self.line.carries(guard.watch());
        answer.map(|body| body.guarded(guard))
    }
}

/// The target as it stood on the request line.
pub(super) fn raw_target(uri: &Uri) -> String {
    match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (Some(_), ..) => uri.to_string(),
        (None, Some(authority), _) => authority.to_string(),
        (None, None, Some(path)) => path.as_str().to_owned(),
        (None, None, None) => String::new(),
    }
}

/// Judges a request, or a question about one.
pub(super) async fn judged<C: Carrier>(
    thread: &Rc<Thread>,
    door: Door,
    entry: &mut Entry,
    view: View<'_>,
    carrier: &mut C,
) -> Ending<C::Carried> {
    match door {
        Door::Front => came(thread, entry, view, carrier).await,
        Door::ForwardAuth => Ending::Answer(Box::pin(forward_auth::judged(&thread.gate, entry, view)).await),
    }
}

/// Every step in order. Each may end it with an answer; only the last reaches an upstream.
async fn came<C: Carrier>(
    thread: &Rc<Thread>,
    entry: &mut Entry,
    view: View<'_>,
    carrier: &mut C,
) -> Ending<C::Carried> {
    let gate = &*thread.gate;
    let now = gate.clock.now();
    let request_id = entry.request_id;
    let mut reply =
        Reply { gate, wish: wish(&view), request_id: &request_id, now, portal: false, again: None };

    // What is asked, in one reading.
    let asked = match view.read(&gate.trusted_proxies) {
        Ok(asked) => asked,
        Err(why) => {
            entry.outcome = Outcome::BadRequest;
            entry.because(view.words_for(why));
            return Ending::Answer(reply.unreadable(why));
        }
    };
    entry.asks(asked.address, &asked.host, asked.target.path());
    entry.traced(&view);
    let again = asked.target.forwarded();
    reply.again = (reply.wish == Wish::Navigation).then_some(again.as_ref());

    // What is ours to answer.
    if asked.host == gate.portal.host {
        reply.portal = true;
        // In a box, as everything that is rare: what a request to an app holds is made and moved for each.
        return Ending::Answer(Box::pin(portal(reply, entry, &asked, carrier)).await);
    }
    if let Some(answer) = own::asset(asked.target.path()) {
        entry.outcome = Outcome::Own;
        return Ending::Answer(answer);
    }
    let snapshot = thread.snapshot();
    let Some(any) = snapshot.on_host(&asked.host).first() else {
        entry.outcome = Outcome::NoRoute;
        return Ending::Answer(reply.lost(Lost::Host));
    };
    if asked.target.path() == own::KEYS && matches!(view.method, "GET" | "HEAD") {
        entry.outcome = Outcome::Own;
        return Ending::Answer(own::keys(gate));
    }
    if own::is_ours(asked.target.path()) {
        entry.outcome = Outcome::Own;
        return Ending::Answer(Box::pin(own::serve(reply, &asked, &snapshot, any)).await);
    }

    let mut carried = false;
    loop {
        let mark = thread.open.mark();

        // Who asks. This may have to wait for the database, so the rest is decided on what is in force after it.
        let known = who(gate, &asked, now).await;
        reply.now = gate.clock.now();
        let snapshot = thread.snapshot();
        entry.is_of(&known, snapshot.version, reply.now);

        // Which app.
        let route = match snapshot.locate(&asked.host, &asked.target) {
            Ok(route) => route,
            Err(lost) => return Ending::Answer(no_way(reply, entry, lost)),
        };
        entry.by(route.spec.name.as_str());
        if route.spec.forward_auth {
            entry.outcome = Outcome::NoRoute;
            return Ending::Answer(guarded_elsewhere(reply));
        }
        if let Some(words) = &route.spec.maintenance {
            return Ending::Answer(worked_on(reply, entry, words));
        }

        // Whether they may.
        let verdict = judge(&snapshot, route, &known, &asked, reply.now);
        entry.decided();
        let answer = match verdict {
            // Carried once. Who is let through again after that asks again.
            Verdict::Pass(_) if carried => reply.unavailable(),
            Verdict::Pass(passage) => {
                carried = true;
                let entrance = Entrance { thread, passage: &passage, asked: &asked, mark, request_id };
                match pass(reply, entry, &entrance, carrier).await {
                    Some(ending) => return ending,
                    // It was cut while it waited for its answer: it is answered as it would be now.
                    None => continue,
                }
            }
            Verdict::Ambiguous(lost) => no_way(reply, entry, lost),
            Verdict::Deny(denial) => {
                entry.outcome = Outcome::Denied;
                let (record, asked, denial) = (known.record(), &asked, &denial);
                let refused = Refused { snapshot: &snapshot, route, record, asked, denial, told: None };
                let answer = refuse(reply, &refused);
                entry.refused(denial.code, &answer);
                answer
            }
            Verdict::SignIn { again } => {
                entry.outcome = Outcome::SignIn;
                prompt(reply, &asked, route, &known, if again { Prompt::Again } else { Prompt::SignIn })
            }
            Verdict::StepUp(step) => {
                entry.outcome = Outcome::StepUp;
                prompt(reply, &asked, route, &known, Prompt::Second(step.fresh))
            }
            Verdict::Unavailable => {
                entry.outcome = Outcome::Unavailable;
                reply.unavailable()
            }
        };
        return Ending::Answer(answer);
    }
}

/// A request that leads to no route, or to more than one.
pub(super) fn no_way(reply: Reply<'_>, entry: &mut Entry, lost: Lost) -> Answer {
    entry.outcome = match lost {
        Lost::Host | Lost::Path => Outcome::NoRoute,
        Lost::Ambiguous | Lost::Unusual(_) => Outcome::BadRequest,
    };
    entry.because(lost.to_string());
    reply.lost(lost)
}

/// A request that should have gone to the proxy which forwards for this route. It is not asked about here, and there is
/// nowhere to send it.
fn guarded_elsewhere(reply: Reply<'_>) -> Answer {
    reply.error(&ErrorText {
        kind: ErrorKind::NoSuchApp,
        code: "guarded-elsewhere",
        title: "Another proxy passes requests on to this app",
        detail: Some(
            "This app is reached through another proxy; only /.cardea/ of its host is answered here.",
        ),
        app: None,
    })
}

/// A request to an app that is being worked on. Nobody is asked who they are, and nothing reaches the app.
pub(super) fn worked_on(reply: Reply<'_>, entry: &mut Entry, words: &str) -> Answer {
    entry.outcome = Outcome::Maintenance;
    let (kind, title) = (ErrorKind::Maintenance, "The app is being worked on");
    let mut answer =
        reply.error(&ErrorText { kind, code: "maintenance", title, detail: Some(words), app: None });
    set(&mut answer, "retry-after", "120");
    answer
}

/// Carries what was let through. `None`: it would not be any more, and nothing was answered yet.
async fn pass<C: Carrier>(
    reply: Reply<'_>,
    entry: &mut Entry,
    entrance: &Entrance<'_, '_>,
    carrier: &mut C,
) -> Option<Ending<C::Carried>> {
    let Entrance { passage, asked, .. } = entrance;
    let route = passage.route();
    entry.rule = Some(passage.rule());
    let asks = asked.view.wants_websocket();
    let handshake = match asks.then(|| Handshake::read(asked, route, carrier.may_change())).transpose() {
        Ok(handshake) => handshake,
        Err(why) => {
            let foreign = why == upgrade::Refused::Origin;
            entry.outcome = if foreign { Outcome::Denied } else { Outcome::BadRequest };
            entry.because(why.to_string());
            return Some(Ending::Answer(why.answer(reply)));
        }
    };
    let mut head = match head(reply.gate, passage, asked, reply.request_id, reply.now) {
        Ok(head) => head,
        Err(NoHead::Astray(astray)) => {
            tracing::debug!(%astray, route.id = %route.spec.name, "a rewritten address was refused");
            return Some(Ending::Answer(no_way(reply, entry, Lost::Ambiguous)));
        }
        Err(NoHead::Unsigned(error)) => {
            // Without a signature the upstream could not tell who this is, so it is not asked at all.
            tracing::error!(%error, route.id = %route.spec.name, "an assertion could not be signed");
            entry.outcome = Outcome::Unavailable;
            return Some(Ending::Answer(reply.unavailable()));
        }
    };
    let carried = match &handshake {
        None => carrier.carry(passage, &head, entrance, entry).await,
        Some(handshake) => {
            handshake.write(&mut head);
            carrier.change(passage, &head, entrance, handshake).await
        }
    };
    entry.sent_to(passage.upstream());
    Some(match carried {
        Ok(carried) => {
            if entry.outcome == Outcome::Gone {
                entry.outcome = if passage.record().is_some() { Outcome::Allowed } else { Outcome::Public };
            }
            Ending::Carried(carried)
        }
        Err(Failure::Cut) => return None,
        Err(failure) => Ending::Answer(failed(reply, entry, passage, &failure)),
    })
}

/// Says that no answer came, and whose doing it is.
fn failed(reply: Reply<'_>, entry: &mut Entry, passage: &Passage<'_>, failure: &Failure) -> Answer {
    let route = passage.route();
    if let Some(kind) = failure.kind() {
        let address = passage.upstream().map(tracing::field::display);
        tracing::warn!(%failure, address, route.id = %route.spec.name, request.id = reply.request_id, "an upstream failed");
        entry.upstream_failed(kind);
    } else {
        tracing::debug!(%failure, route.id = %route.spec.name, "a request was not finished");
    }
    let (outcome, kind, code, words) = match failure {
        Failure::Address => (
            Outcome::BadRequest,
            ErrorKind::BadRequest,
            "bad-request",
            "The address cannot be passed on to this app",
        ),
        Failure::Client(_) => {
            (Outcome::BadRequest, ErrorKind::BadRequest, "bad-request", "The body cannot be read")
        }
        Failure::Cut | Failure::Gone => {
            (Outcome::Gone, ErrorKind::BadRequest, "bad-request", "The request was not finished")
        }
        Failure::Quiet => {
            (Outcome::BadRequest, ErrorKind::BadRequest, "request-timeout", "The body took too long to come")
        }
        Failure::Slow(_) => (
            Outcome::UpstreamTimeout,
            ErrorKind::GatewayTimeout,
            "upstream-timeout",
            "The app did not answer in time",
        ),
        Failure::Broken(_)
        | Failure::Closed
        | Failure::Forbidden(_)
        | Failure::Lost(_)
        | Failure::Tls(_)
        | Failure::Unreachable(_) => (
            Outcome::UpstreamError,
            ErrorKind::BadGateway,
            "upstream-error",
            "The app did not answer; your access is fine",
        ),
        Failure::Head => {
            (Outcome::Internal, ErrorKind::Internal, "internal", "The request could not be passed on")
        }
    };
    entry.outcome = outcome;
    entry.because(failure.to_string());
    let app = title(route, passage.record());
    let mut answer = reply.error(&ErrorText { kind, code, title: words, detail: None, app });
    if matches!(failure, Failure::Quiet) {
        *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
        if reply.wish == Wish::Call {
            set(&mut answer, "grpc-status", answers::grpc_status(408));
        }
        answers::close(&mut answer);
    }
    answer
}

/// Asks for a proof: a navigation is sent to give it, anything else is told.
fn prompt(reply: Reply<'_>, asked: &Asked<'_>, route: &Route, known: &Known, prompt: Prompt) -> Answer {
    if reply.wish == Wish::Navigation {
        return to_sign_in(reply, asked, route, &asked.target.forwarded(), prompt);
    }
    let code = match prompt {
        Prompt::Again | Prompt::SignIn => "sign-in",
        Prompt::Second(_) => "step-up",
    };
    reply.unauthorized(&route.origin, code, title(route, known.record()))
}

/// A refusal with everything that is written down about it.
pub(super) struct Refused<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Route,
    pub(super) record: Option<&'a Record>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) denial: &'a Denial,
    /// The reference under which it may have been told before.
    pub(super) told: Option<&'a str>,
}

/// Says no: to the person what they lack, to the audit log everything.
pub(super) fn refuse(reply: Reply<'_>, refused: &Refused<'_>) -> Answer {
    let Refused { route, record, denial, .. } = refused;
    let (gate, spec) = (reply.gate, &route.spec);
    let before = refused.told.zip(*record).filter(|(told, record)| gate.refusals.has(told, record.id));
    let reference = before.map_or_else(|| reference(&*gate.chance), |(told, _)| told.to_owned());
    let explanation =
        explain(refused.snapshot, route, record.map(Record::caller), &question(refused.asked, reply.now));
    let clauses = told(refused, &explanation);
    let app = title(route, *record).map(str::to_owned);
    if before.is_none() && (record.is_some() || gate.refusals.record_anonymous(reply.now)) {
        gate.ledger.leave(event(refused, &explanation, &clauses, &reference));
    }
    let session = record.map(|record| record.id);
    let at = reply.now;
    let help = spec.help.clone().filter(|_| app.is_some());
    let path = match reply.wish {
        Wish::Navigation => refused.asked.target.forwarded().into_owned(),
        Wish::Data | Wish::Page | Wish::Call => "/".to_owned(),
    };
    let refusal = Refusal { reference, session, app, clauses, path, help, at };
    let mut answer = if reply.wish.page() {
        reply.page(403, own::denied_page(reply, &refusal, *record))
    } else {
        reply.problem(&Problem {
            status: 403,
            code: if spec.explain_refusals { denial.code } else { "denied" },
            title: "Not allowed",
            detail: if spec.explain_refusals {
                &denial.plain
            } else {
                "You are not allowed to open it with this account."
            },
            more: &[("decision", json!(refusal.reference))],
        })
    };
    set(&mut answer, "cardea-decision", &refusal.reference);
    if before.is_none() {
        gate.refusals.keep(refusal);
    }
    answer
}

/// What the person reads about a refusal: what they have and what they lack, unless the route keeps that to itself.
fn told(refused: &Refused<'_>, explanation: &Explanation) -> Vec<Clause> {
    if !refused.route.spec.explain_refusals {
        return Vec::new();
    }
    let clause = |(holds, told): (bool, &Told)| Clause {
        ok: holds,
        text: told.text.clone(),
        detail: told.detail.clone(),
    };
    let mut clauses: Vec<Clause> = explanation.told().map(clause).collect();
    clauses.dedup();
    if clauses.iter().all(|clause| clause.ok) {
        clauses.push(Clause::failed(refused.denial.plain.clone(), None));
    }
    clauses
}

/// The record of a refusal.
fn event(refused: &Refused<'_>, explanation: &Explanation, told: &[Clause], reference: &str) -> AuditEvent {
    let Refused { route, record, asked, denial, .. } = refused;
    let clauses: Vec<&str> = explanation.clauses.iter().map(|clause| clause.words.as_str()).collect();
    let rule = explanation
        .rule
        .as_ref()
        .map_or_else(|| "none".to_owned(), |(number, source)| format!("{number} ({source})"));
    let actor = record.map_or(Actor::Anonymous, |record| Actor::User(record.principal.user));
    let mut event = AuditEvent::new(actor, "access.denied", domain::Outcome::Refused)
        .on("route", &route.spec.name)
        .within(route.tenant)
        .from(Some(asked.address))
        .with("code", denial.code)
        .with("rule", rule)
        .with("method", asked.view.method)
        .with("path", without_secrets(asked.target.path()))
        .with("clauses", clauses.join("; "));
    if let Some(app) = title(route, *record) {
        event = event.with("app", app);
    }
    if let Some(lacks) = told.iter().find(|clause| !clause.ok) {
        event = event.with("plain", &lacks.text);
    }
    event.session = record.map(|record| record.id);
    event.reference = Some(reference.to_owned());
    event
}

/// Has the portal answer, on the control plane's runtime.
async fn portal<C: Carrier>(
    reply: Reply<'_>,
    entry: &mut Entry,
    asked: &Asked<'_>,
    carrier: &mut C,
) -> Answer {
    entry.outcome = Outcome::Portal;
    entry.by_portal();
    if asked.target.path() == own::KEYS && matches!(asked.view.method, "GET" | "HEAD") {
        return own::keys(reply.gate);
    }
    if let Some(unusual) = asked.target.unusual().beyond(Unusual::default()) {
        return reply.lost(Lost::Unusual(unusual));
    }
    let answer = asked.target.path().starts_with("/auth/sso-callback");
    let most = if answer { MOST_ANSWER } else { MOST_PORTAL_BODY };
    let within = tokio::time::timeout(PORTAL_BODY_WITHIN, carrier.whole(most));
    let body = match within.await.unwrap_or(Err(Unfit::Missing)) {
        Ok(body) => body,
        Err(unfit) => {
            let (kind, code, title) = match unfit {
                Unfit::Large => (ErrorKind::TooLarge, "too-large", "The body is too large"),
                Unfit::Missing => (ErrorKind::BadRequest, "bad-request", "The body did not come"),
            };
            let mut answer = reply.error(&ErrorText { kind, code, title, detail: None, app: None });
            answers::close(&mut answer);
            return answer;
        }
    };
    let Some(request) = portal_request(reply, asked, body) else {
        return reply.error(&ErrorText {
            kind: ErrorKind::BadRequest,
            code: "bad-request",
            title: "The request cannot be read",
            detail: None,
            app: None,
        });
    };
    match reply.gate.control.answer(request, Arrival { peer: asked.view.peer, address: asked.address }).await
    {
        Ok(answer) => {
            let mut answer = answer.map(Body::sent);
            reply.only_over_tls(&mut answer);
            answer
        }
        Err(gone) => {
            tracing::error!(%gone, request.id = reply.request_id, "the portal did not answer");
            entry.outcome = Outcome::Internal;
            let (kind, title) = (ErrorKind::Internal, "Something broke on our side");
            reply.error(&ErrorText { kind, code: "internal", title, detail: None, app: None })
        }
    }
}

/// The request as the portal sees it: canonical target, whole body, nothing that could be believed by mistake.
fn portal_request(reply: Reply<'_>, asked: &Asked<'_>, body: Bytes) -> Option<Request<Bytes>> {
    let mut request = Request::new(body);
    *request.method_mut() = asked.view.method.parse().ok()?;
    *request.uri_mut() = asked.target.forwarded().parse().ok()?;
    for (name, value) in asked.view.fields {
        let name = http::HeaderName::from_bytes(name).ok()?;
        if !own::hidden_from_portal(name.as_str()) && name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
    }
    // Only now, when nothing of a client's can be taken for it.
    request.headers_mut().insert("cardea-request-id", HeaderValue::from_str(reply.request_id).ok()?);
    Some(request)
}
