//! What is open: answers whose body still comes, requests that still wait for theirs, tunnels.
//!
//! Each was let through once, and ends when it would not be let through any more: the session ended, the account was
//! suspended, a role or the policy changed, time ran out (`PROXY-17`, `SESS-09`; F21, F22). A thread keeps its own list. When
//! a change was applied, those whom it is about are asked the same question again, by the same functions; once a second
//! everybody is, from memory, since time changes answers too. Whoever told an upstream something about a person that does
//! not hold any more ends as well: the upstream would go on believing it.
//!
//! Short answers are never in here. An entry costs a few hundred bytes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use crate::access;
use crate::domain::target::Target;
use crate::domain::{Change, Slug, Timestamp};
use crate::session::{Listener, Notice, Record};

use super::Gate;
use super::meters::RequestId;
use super::policy::{Known, Passage, Verdict, holder, weigh};
use super::serve::Thread;
use super::upgrade::{self, Origin};
use super::view::Asked;

/// How often everybody is asked again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After so long without a head a request is open, too.
pub(super) const LONG: Duration = Duration::from_millis(250);
/// A question that cannot be answered is asked again so often, with so much time between; then the answer is no.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(300);
/// So many questions of one thread are before the database at a time.
const AT_A_TIME: usize = 32;
/// After so many entries the thread does something else first.
const SLICE: usize = 128;

/// Why it falls, where nothing better is known, and where others must know it.
const GONE: &str = "the session is gone";
const NOWHERE: &str = "no route has the address any more";
pub(super) const WORKED_ON: &str = "the app is being worked on";

/// What is open on a thread.
pub(super) struct Open {
    entries: RefCell<HashMap<u64, Rc<Entry>>>,
    next: Cell<u64>,
    heard: Cell<u64>,
    places: Rc<Semaphore>,
}

/// A moment between two notices: what was decided after it was decided on what those before it brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u64);

/// What was asked, and what it was answered by.
struct Entry {
    gate: Arc<Gate>,
    method: Box<str>,
    host: Box<str>,
    target: Box<str>,
    address: IpAddr,
    route: Slug,
    /// The token and the session it opened; nobody's on public rules.
    token: Option<[u8; 32]>,
    record: RefCell<Option<Arc<Record>>>,
    /// From where a tunnel was opened, if this is one.
    tunnel: Option<Origin>,
    moved: Cell<bool>,
    asking: Cell<Asking>,
    /// Why it was cut, once it was.
    cut: Cell<Option<&'static str>>,
    /// What the last notice was that was about it.
    heard: Cell<&'static str>,
    /// Since when its app is being worked on.
    worked_on: Cell<Option<Timestamp>>,
    request_id: RequestId,
    /// It ended by itself.
    gone: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// Whether a question is before the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// It is, and something changed since.
    Again,
    No,
    Yes,
}

/// The way onto the list for a request that was let through. Nothing is done about those that never take it.
pub(super) struct Entrance<'e, 'p> {
    pub(super) thread: &'e Rc<Thread>,
    pub(super) passage: &'e Passage<'p>,
    pub(super) asked: &'e Asked<'e>,
    pub(super) mark: Mark,
    pub(super) request_id: RequestId,
}

impl Entrance<'_, '_> {
    /// For an answer, or a request that waits for one.
    pub(super) fn enter(&self) -> Guard {
        self.thread.open.enter(self, None)
    }

    /// For a tunnel that was opened from there.
    pub(super) fn tunnel(&self, from: &Origin) -> Guard {
        self.thread.open.enter(self, Some(from.clone()))
    }
}

impl Open {
    pub(super) fn new() -> Self {
        Self {
            entries: RefCell::default(),
            next: Cell::new(0),
            heard: Cell::new(0),
            places: Rc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Now. To be taken before it is looked up who asks.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.heard.get())
    }

    /// Puts on the list what was let through. If anything changed since its mark, the question is asked again at once.
    fn enter(self: &Rc<Self>, entrance: &Entrance<'_, '_>, tunnel: Option<Origin>) -> Guard {
        let Entrance { thread, passage, asked, mark, request_id } = entrance;
        let gate = &thread.gate;
        let record = passage.person().cloned();
        let token = record.as_ref().and_then(|_| gate.sessions.presented(asked.cookies(), &asked.host));
        let entry = Rc::new(Entry {
            gate: Arc::clone(gate),
            method: asked.view.method.into(),
            host: asked.host.as_ref().into(),
            target: asked.target.forwarded().into(),
            address: asked.address,
            route: passage.route().spec.name.clone(),
            token,
            record: RefCell::new(record),
            tunnel,
            moved: Cell::new(false),
            asking: Cell::new(Asking::No),
            cut: Cell::new(None),
            heard: Cell::new(GONE),
            worked_on: Cell::new(None),
            request_id: *request_id,
            gone: Cell::new(false),
            waker: Cell::new(None),
        });
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        self.entries.borrow_mut().insert(id, Rc::clone(&entry));
        if *mark != self.mark() {
            entry.ask(&self.places);
        }
        Guard { open: Rc::clone(self), entry, id }
    }

    fn all(&self) -> Vec<Rc<Entry>> {
        self.entries.borrow().values().map(Rc::clone).collect()
    }

    /// A change was applied: asks those whom it is about.
    fn told(&self, notice: &Notice) {
        self.heard.set(self.heard.get().wrapping_add(1));
        for entry in self.all() {
            if entry.is_meant(notice) {
                entry.ask(&self.places);
            }
        }
    }

    /// Asks everybody, from memory; only who would not be let through is looked up.
    async fn look(&self, gate: &Gate) {
        let all = self.all();
        for slice in all.chunks(SLICE) {
            let (now, snapshot) = (gate.clock.now(), gate.snapshot.load_full());
            for entry in slice {
                entry.note_use(now);
                if !entry.stands(&snapshot, &entry.remembered(now), now) {
                    entry.ask(&self.places);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Keeps the list of a thread, for as long as the thread runs. `listener` must be older than the thread's first request.
pub(super) async fn keep(thread: Rc<Thread>, mut listener: Listener) {
    let mut looking = tokio::time::interval(LOOK_EVERY);
    looking.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            notice = listener.next() => match notice {
                Some(notice) => thread.open.told(&notice),
                // Nobody would tell us any more; and nobody is left who could change anything.
                None => return,
            },
            _ = looking.tick() => thread.open.look(&thread.gate).await,
        }
    }
}

impl Entry {
    fn is_meant(&self, notice: &Notice) -> bool {
        let words = |change: &Change| match change {
            Change::Session(_) => "the session was ended: somebody signed out, or it was revoked",
            Change::SessionsOf(_) => {
                "every session of the person was ended: suspended, deactivated, deleted, or signed out everywhere"
            }
            Change::Principal(_) => "the account or what it holds has changed",
            Change::Keys | Change::Tree => GONE,
        };
        match notice {
            Notice::Everybody => true,
            Notice::These(changes) => self.record.borrow().as_ref().is_some_and(|record| {
                let mut about = changes.iter().filter(|change| match change {
                    Change::Session(session) => *session == record.id,
                    Change::Principal(user) | Change::SessionsOf(user) => *user == record.principal.user,
                    Change::Keys => false,
                    Change::Tree => true,
                });
                let first = about.next();
                // The end of sessions says more than that something about the person changed.
                let told = about.find(|change| matches!(change, Change::SessionsOf(_))).or(first);
                self.heard.set(told.map_or(GONE, words));
                first.is_some()
            }),
        }
    }

    /// Traffic is use of the session.
    fn note_use(&self, now: Timestamp) {
        if self.moved.replace(false)
            && let Some(record) = self.record.borrow().as_ref().filter(|record| record.live_at(now))
        {
            self.gate.sessions.note_use(record, now);
        }
    }

    /// Who it is, as far as memory can say.
    fn remembered(&self, now: Timestamp) -> Known {
        match self.record.borrow().as_ref() {
            Some(_) if !self.gate.sessions.lease().holds(now) => Known::Unknowable,
            Some(record) if record.live_at(now) => Known::Person(Arc::clone(record)),
            None | Some(_) => Known::Nobody,
        }
    }

    /// Whether it would be let through, to the same route and as the same person.
    fn stands(&self, snapshot: &access::Snapshot, known: &Known, now: Timestamp) -> bool {
        matches!(self.judged(snapshot, known, now), Judged::Stands)
    }

    fn judged(&self, snapshot: &access::Snapshot, known: &Known, now: Timestamp) -> Judged {
        let Ok(target) = Target::parse(&self.target) else { return Judged::Falls(NOWHERE) };
        let Ok(route) = snapshot.locate(&self.host, &target) else { return Judged::Falls(NOWHERE) };
        if self.must_leave(route, now) {
            return Judged::Falls(WORKED_ON);
        }
        let question = access::Request { target: &target, method: &self.method, address: self.address, now };
        match weigh(snapshot, route, known, &question) {
            Verdict::Pass(passage) => {
                let same_person = match (passage.record(), self.record.borrow().as_ref()) {
                    (None, None) => true,
                    (Some(now), Some(then)) => now.principal.told_like(&then.principal),
                    _ => false,
                };
                let tunnels = self.tunnel.as_ref().is_none_or(|from| upgrade::may(route, from));
                if !same_person {
                    Judged::Falls(
                        "what the app was told about the person has changed: roles, groups, places or names",
                    )
                } else if !tunnels {
                    Judged::Falls("the route takes no WebSocket from there any more")
                } else if route.spec.name == self.route {
                    Judged::Stands
                } else {
                    Judged::Falls("another route has the address now")
                }
            }
            Verdict::Unavailable => Judged::Unknowable,
            Verdict::Ambiguous(_) => Judged::Falls("the address can be read in two ways now"),
            Verdict::Deny(denial) => Judged::Falls(match denial.code {
                "account" => "the account is not active any more, or owes a new password",
                "tenant" => "the person is no member of the tenant any more",
                "tenant-suspended" => "the tenant is suspended",
                "network" => "the client's network is not allowed any more",
                _ => "the policy or the person's roles do not allow it any more",
            }),
            Verdict::SignIn { again: true } => Judged::Falls("the sign-in is too long ago for the route"),
            Verdict::SignIn { again: false } => Judged::Falls(match self.record.borrow().as_ref() {
                Some(record) if !record.live_at(now) => "the session has run out",
                Some(_) => self.heard.get(),
                None => "the route is not public any more",
            }),
            Verdict::StepUp(_) => Judged::Falls("the route asks for a second factor now"),
        }
    }

    /// Whether its app is being worked on, and it has had its time: a tunnel none, for its client comes back by itself, an answer
    /// as long as those that are in flight when the program stops.
    fn must_leave(&self, route: &access::Route, now: Timestamp) -> bool {
        if route.spec.maintenance.is_none() {
            self.worked_on.set(None);
            return false;
        }
        let since = self.worked_on.get().unwrap_or(now);
        self.worked_on.set(Some(since));
        self.tunnel.is_some() || now.since(since) >= self.gate.settings.grace
    }

    /// Looks up who it is now and asks again; cuts what does not stand.
    fn ask(self: &Rc<Self>, places: &Rc<Semaphore>) {
        if self.cut.get().is_some() || self.gone.get() {
            return;
        }
        if self.asking.get() == Asking::No {
            spawn_local(Rc::clone(self).answered(Rc::clone(places)));
        } else {
            self.asking.set(Asking::Again);
        }
    }

    async fn answered(self: Rc<Self>, places: Rc<Semaphore>) {
        let mut tries = 0;
        loop {
            self.asking.set(Asking::Yes);
            let judged = {
                let _place = places.acquire().await;
                let known = match self.token {
                    Some(token) => holder(&self.gate, token, &self.host, self.gate.clock.now()).await,
                    None => Known::Nobody,
                };
                let judged = self.judged(&self.gate.snapshot.load(), &known, self.gate.clock.now());
                if let (Judged::Stands, Known::Person(record)) = (&judged, known) {
                    self.record.replace(Some(record));
                }
                judged
            };
            match judged {
                Judged::Falls(why) => return self.cut(why),
                Judged::Unknowable => {
                    tries += 1;
                    if tries == TRIES {
                        return self.cut("it could not be said who it is: the records cannot be reached");
                    }
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                // What changed while the database was asked may have come too late for its answer.
                Judged::Stands if self.asking.get() == Asking::Again => tries = 0,
                Judged::Stands => return self.asking.set(Asking::No),
            }
        }
    }

    fn cut(&self, why: &'static str) {
        self.asking.set(Asking::No);
        if self.gone.get() {
            return;
        }
        self.cut.set(Some(why));
        metrics::counter!("cardea_open_cut_total", "route" => self.route.to_string()).increment(1);
        let record = self.record.borrow();
        let record = record.as_ref();
        let person = record.map(|record| &record.principal);
        tracing::info!(
            reason = why,
            kind = if self.tunnel.is_some() { "websocket" } else { "request" },
            route.id = %self.route,
            user.id = person.map(|person| tracing::field::display(person.user)),
            user.name = person.map(|person| tracing::field::display(&person.username)),
            session.id = record.map(|record| tracing::field::display(record.id)),
            client.address = %self.address,
            request.id = &*self.request_id,
            "something open was ended: it would not be let through any more"
        );
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What comes of a question that is asked again.
enum Judged {
    Falls(&'static str),
    Stands,
    Unknowable,
}

/// A place on the list, given back when it is dropped. Whoever has it ends what it stands for when it is cut: abruptly, so
/// that nobody takes half an answer for a whole one.
pub(super) struct Guard {
    open: Rc<Open>,
    entry: Rc<Entry>,
    id: u64,
}

impl Guard {
    /// Whether it was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.entry.cut.get().is_some()
    }

    /// Why it was cut, for the log.
    pub(super) fn why(&self) -> &'static str {
        self.entry.cut.get().unwrap_or_default()
    }

    /// Ready when it was cut. One task waits at a time, the last that asked.
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cut() {
            return Poll::Ready(());
        }
        let waker = self.entry.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.entry.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }

    /// Waits until it is cut.
    pub(super) async fn cut(&self) {
        std::future::poll_fn(|cx| self.poll_cut(cx)).await;
    }

    /// Bytes passed: the session is in use.
    pub(super) fn moved(&self) {
        self.entry.moved.set(true);
    }

    /// Asks whether it was cut, without being it.
    pub(super) fn watch(&self) -> Watch {
        Watch(Rc::clone(&self.entry))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.entry.gone.set(true);
        self.open.entries.borrow_mut().remove(&self.id);
    }
}

/// Sees whether something was cut.
pub(super) struct Watch(Rc<Entry>);

impl Watch {
    pub(super) fn is_cut(&self) -> bool {
        self.0.cut.get().is_some()
    }
}

/// Does some work, which is open once it takes long. `None`: it was cut.
pub(super) async fn unless_cut<T>(
    work: impl Future<Output = T>,
    guard: &mut Option<Guard>,
    enter: impl FnOnce() -> Guard,
) -> Option<T> {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(LONG, work.as_mut()).await {
        return Some(done);
    }
    let guard = guard.insert(enter());
    std::future::poll_fn(|cx| {
        if guard.poll_cut(cx).is_ready() {
            return Poll::Ready(None);
        }
        // It is woken when something moves.
        guard.moved();
        work.as_mut().poll(cx).map(Some)
    })
    .await
}
