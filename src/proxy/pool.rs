//! The upstreams of routes, as a thread has them: whose turn it is, how many requests each has, which connections are kept.
//!
//! Idle connections are kept last in, first out, so that the few that are needed stay warm and the rest go. A connection comes
//! back only after request and answer have both ended in order: bytes of one person must never be found by the next (F25).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::Gate;
use super::health::{Condition, Vitals};
use super::multiplex::Shared;
use super::policy::Passage;
use super::upstream::{Link, connect};
use crate::access::Snapshot;
use crate::domain::address::Author;
use crate::domain::pool::Balance;
use crate::domain::route::{Protocol, Route, Upstream};
use crate::domain::{Slug, Span, Timestamp};
use crate::sys::Clock;

/// The most connections that requests share, to one address and of one thread.
const MOST_SHARED: usize = 32;
/// The most idle connections to one address that a thread keeps.
const MOST_IDLE: usize = 128;

/// An address, as a thread has it. Routes with the same one share it if one may go where the other may.
#[derive(Default)]
struct Place {
    idle: RefCell<Vec<Link>>,
    /// Connections that many requests share.
    shared: RefCell<Vec<Shared>>,
    /// Held by whoever opens one of those: others wait, and find it.
    opening: tokio::sync::Mutex<()>,
    /// Requests in flight.
    busy: Cell<usize>,
    /// The newest snapshot that is known to have it.
    seen: Cell<u64>,
    /// Whether no route has it any more. Then no connection is kept.
    gone: Cell<bool>,
}

/// A route, as a thread has it.
struct Pool {
    /// The snapshot it was made from.
    version: u64,
    turn: Cell<usize>,
    /// In the order of the route's addresses.
    members: Vec<Member>,
}

struct Member {
    place: Rc<Place>,
    vitals: Arc<Vitals>,
}

/// The upstreams of a thread. Filled from the configuration alone.
#[derive(Default)]
pub(super) struct Upstreams {
    places: RefCell<HashMap<(Author, Upstream), Rc<Place>, RandomState>>,
    pools: RefCell<HashMap<Slug, Rc<Pool>, RandomState>>,
}

impl Upstreams {
    /// Begins to choose among the addresses of a route.
    pub(super) fn choose(&self, gate: &Gate, passage: &Passage<'_>) -> Choice {
        let spec = &passage.route().spec;
        let version = passage.version();
        let known = self.pools.borrow().get(&spec.name).filter(|pool| pool.version == version).cloned();
        let pool = known.unwrap_or_else(|| self.made(gate, spec, version));
        let turn = pool.turn.get();
        pool.turn.set(turn.wrapping_add(1));
        let first = turn.checked_rem(pool.members.len()).unwrap_or_default();
        Choice { balance: spec.pool.balance, pool, first, tried: 0, last: 0 }
    }

    /// Makes a route's pool from its addresses as they are now.
    fn made(&self, gate: &Gate, route: &Route, version: u64) -> Rc<Pool> {
        let mut places = self.places.borrow_mut();
        let mut member = |to: &Upstream| Member {
            place: Rc::clone(places.entry((route.pool.author, to.clone())).or_default()),
            vitals: gate.health.of(&route.name, to),
        };
        let members = route.to.iter().map(&mut member).collect();
        let mut pools = self.pools.borrow_mut();
        let turn = Cell::new(pools.get(&route.name).map_or(0, |pool| pool.turn.get()));
        let pool = Rc::new(Pool { version, turn, members });
        pools.insert(route.name.clone(), Rc::clone(&pool));
        pool
    }

    /// Closes what has been idle for so long, what is older than `age` and what the other side closed, and everything to addresses
    /// that no route has any more.
    pub(super) fn sweep(&self, snapshot: &Snapshot, now: Timestamp, life: Span, age: Span) {
        let mut places = self.places.borrow_mut();
        if places.values().any(|place| place.seen.get() != snapshot.version) {
            let routes = snapshot.routes();
            let all = routes.iter().map(|route| &route.spec);
            let known: HashSet<(Author, &Upstream), RandomState> =
                all.flat_map(|route| route.to.iter().map(|to| (route.pool.author, to))).collect();
            places.retain(|(author, to), place| {
                place.seen.set(snapshot.version);
                place.gone.set(!known.contains(&(*author, to)));
                if place.gone.get() {
                    place.idle.borrow_mut().clear();
                    // Requests that are on them go on.
                    place.shared.borrow_mut().clear();
                }
                !place.gone.get()
            });
            let names: HashSet<&Slug, RandomState> = routes.iter().map(|route| &route.spec.name).collect();
            self.pools.borrow_mut().retain(|name, _| names.contains(name));
        }
        for place in places.values() {
            place.idle.borrow_mut().retain_mut(|link| link.quiet() && now.since(link.since) < life);
            place.shared.borrow_mut().retain(|shared| shared.lives(now, life, age));
        }
    }
}

/// Keeps a connection for the next request, unless it is older than `age`: what a name leads to may have changed.
pub(super) fn keep(mut link: Link, now: Timestamp, age: Span) {
    let Some(hold) = link.hold.take() else { return };
    let Some(Member { place, .. }) = hold.member() else { return };
    if link.is_shared() || place.gone.get() || now.since(link.born) >= age {
        return;
    }
    let mut idle = place.idle.borrow_mut();
    if idle.len() < MOST_IDLE {
        link.since = now;
        idle.push(link);
    }
}

/// A request in flight at an address.
pub(super) struct Hold {
    // Not the member itself: its record is shared by all threads, and counting who has it would keep their processors busy with
    // one another.
    pool: Rc<Pool>,
    at: usize,
}

impl Hold {
    fn of(pool: &Rc<Pool>, at: usize) -> Self {
        let hold = Self { pool: Rc::clone(pool), at };
        if let Some(Member { place, .. }) = hold.member() {
            place.busy.set(place.busy.get() + 1);
        }
        hold
    }

    fn member(&self) -> Option<&Member> {
        self.pool.members.get(self.at)
    }

    /// The upstream has answered.
    pub(super) fn answered(&self) {
        if let Some(member) = self.member() {
            member.vitals.answered();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(Member { place, .. }) = self.member() {
            place.busy.set(place.busy.get().saturating_sub(1));
        }
    }
}

/// A choice among the addresses of a route, for one request. Each is given once.
pub(super) struct Choice {
    balance: Balance,
    pool: Rc<Pool>,
    /// Whose turn it is.
    first: usize,
    /// A bit for each that was given.
    tried: u128,
    last: usize,
}

impl Choice {
    /// The next address, by its place in the route's list: those first that are well, among them as the route says.
    pub(super) fn next(&mut self, clock: &dyn Clock) -> Option<usize> {
        let members = &self.pool.members;
        let mut best = None;
        // Where there is nobody else it does not matter how somebody is.
        let now = (members.len() > 1).then(|| clock.now());
        for step in 0..members.len() {
            let at = (self.first + step).checked_rem(members.len())?;
            if self.has_tried(at) {
                continue;
            }
            let member = members.get(at)?;
            let unwell = now.is_some_and(|now| member.vitals.condition(now) != Condition::Well);
            let busy = match self.balance {
                Balance::LeastBusy => member.place.busy.get(),
                Balance::RoundRobin => 0,
            };
            if best.is_none_or(|(known, _)| (unwell, busy) < known) {
                best = Some(((unwell, busy), at));
            }
        }
        let (_, at) = best?;
        self.tried |= 1_u128.checked_shl(u32::try_from(at).ok()?)?;
        self.last = at;
        if let (Some(now), Some(member)) = (now, members.get(at)) {
            member.vitals.tried(now);
        }
        Some(at)
    }

    fn has_tried(&self, at: usize) -> bool {
        u32::try_from(at).is_ok_and(|at| self.tried.checked_shr(at).is_none_or(|rest| rest & 1 == 1))
    }

    /// Whether somebody is left.
    pub(super) fn more(&self) -> bool {
        (0..self.pool.members.len()).any(|at| !self.has_tried(at))
    }

    /// A connection to the address that was given last which is still open and can take a request.
    pub(super) fn idle(&self, gate: &Gate) -> Option<Link> {
        let member = self.pool.members.get(self.last)?;
        if let Some(link) = self.shared(gate) {
            return Some(link);
        }
        loop {
            let mut link = member.place.idle.borrow_mut().pop()?;
            if link.quiet() {
                link.reused = true;
                return Some(self.held(link));
            }
        }
    }

    /// A place on a connection that requests share.
    fn shared(&self, gate: &Gate) -> Option<Link> {
        let mut shared = self.pool.members.get(self.last)?.place.shared.borrow_mut();
        if shared.is_empty() {
            return None;
        }
        shared.retain(|shared| !shared.is_over());
        let (now, age) = (gate.clock.now(), gate.settings.upstream_age);
        let stream = shared.iter_mut().find_map(|shared| shared.link(now, age))?;
        Some(self.held(Link::shared(stream, true, now)))
    }

    /// Opens a connection to the address that was given last. One that can be shared is kept for others, too.
    ///
    /// # Errors
    /// As [`connect`], or when it takes too long.
    pub(super) async fn connect(
        &self,
        gate: &Gate,
        to: &Upstream,
        author: Author,
        within: Duration,
    ) -> io::Result<Link> {
        let (now, age) = (gate.clock.now(), gate.settings.upstream_age);
        let place = || self.pool.members.get(self.last).map(|member| &member.place);
        let connecting = async {
            if to.protocol == Protocol::Http1 {
                let pipe = connect(gate, to, author, within, now).await?;
                return Ok::<_, io::Error>(self.held(Link::own(pipe, now)));
            }
            let _opening = match place() {
                Some(place) => Some(place.opening.lock().await),
                None => None,
            };
            if let Some(link) = self.shared(gate) {
                return Ok(link);
            }
            if place().is_some_and(|place| place.shared.borrow().len() >= MOST_SHARED) {
                return Err(io::Error::other("every connection to it is busy"));
            }
            let mut shared = Shared::begin(connect(gate, to, author, within, now).await?, to, now).await?;
            let stream = shared.link(now, age).ok_or(io::ErrorKind::ConnectionReset)?;
            if let Some(place) = place()
                && !place.gone.get()
            {
                place.shared.borrow_mut().push(shared);
            }
            Ok(self.held(Link::shared(stream, false, now)))
        };
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(within, connecting).await.map_err(timed_out)?
    }

    fn held(&self, mut link: Link) -> Link {
        link.hold = Some(Hold::of(&self.pool, self.last));
        link
    }

    /// The address that was given last took no connection, or closed a new one without an answer.
    pub(super) fn failed(&self, route: &Route, now: Timestamp) {
        let Some(member) = self.pool.members.get(self.last) else { return };
        // Alone it is used all the same; and nobody gains by being told every time.
        if let Some(span) = member.vitals.failed(now)
            && self.pool.members.len() > 1
            && let Some(to) = route.to.get(self.last)
        {
            let seconds = span.as_seconds();
            tracing::warn!(route.id = %route.name, address = %to, seconds, "an address is left out for a while");
        }
    }

    /// The connection to the address that was given last had been kept, and was closed in the meantime: that says nothing
    /// about the address.
    pub(super) fn once_more(&mut self) {
        if let Some(bit) = u32::try_from(self.last).ok().and_then(|at| 1_u128.checked_shl(at)) {
            self.tried &= !bit;
        }
    }
}
