//! Threads and connections. Each thread accepts for itself; a connection stays on the thread that accepted it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::access::Snapshot;
use crate::domain::Chance;
use crate::net::Secured;

use super::crowd::Seat;
use super::forward_auth;
use super::http1::{self, Left};
use super::meters::{Entry, Meters, RequestId};
use super::open::{self, Open, Watch};
use super::pipe::Pipe;
use super::pool::Upstreams;
use super::rewound::Rewound;
use super::stream::{Entrance, Peer};
use super::tunnel::Tunnel;
use super::{Front, Gate, handler, http2, redirect};

/// The most bytes of the head of a request; also how much of a body the library reads at a time.
pub(super) const MOST_HEAD: usize = 32 * 1024;
/// What the thread's buffer leaves free at its beginning: room for the head of an answer before its body.
pub(super) const HEADROOM: usize = 64 * 1024;
/// How much of a body is read at a time, at most. One buffer a thread, so it may be large.
pub(super) const SCRATCH: usize = 256 * 1024;
/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 1024;
/// After so much silence the kernel asks whether a client is still there.
const ALIVE: Duration = Duration::from_mins(1);
/// How often a thread looks after its idle connections.
const SWEEP: Duration = Duration::from_secs(5);

/// A snapshot that requests of one thread hold: the outer count is the thread's own, the inner one that of all threads.
type Held = Rc<Arc<Snapshot>>;

/// What belongs to a thread.
pub(super) struct Thread {
    pub(super) gate: Arc<Gate>,
    pub(super) upstreams: Rc<Upstreams>,
    pub(super) meters: Rc<Meters>,
    pub(super) open: Rc<Open>,
    /// What is read goes in here first. Borrowed for one step of a connection, never while it waits.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// The snapshot that was in force when it was last asked for.
    snapshot: RefCell<Held>,
    chance: RefCell<Vec<u8>>,
    date: RefCell<(i64, [u8; 29])>,
}

impl Thread {
    fn new(gate: Arc<Gate>) -> Self {
        Self {
            snapshot: RefCell::new(Rc::new(gate.snapshot.load_full())),
            meters: Rc::new(Meters::new(Arc::clone(&gate))),
            gate,
            upstreams: Rc::default(),
            open: Rc::new(Open::new()),
            scratch: RefCell::new(vec![0; HEADROOM + SCRATCH]),
            chance: RefCell::default(),
            date: RefCell::new((i64::MIN, [0; 29])),
        }
    }

    /// What is in force now. Each request holds it while it lasts; threads that all counted who does would keep their processors
    /// busy with one another, so each counts for itself.
    pub(super) fn snapshot(&self) -> Held {
        let current = self.gate.snapshot.load();
        let mut known = self.snapshot.borrow_mut();
        if !Arc::ptr_eq(&current, &known) {
            *known = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&known)
    }

    /// Now, as a `Date` field has it (RFC 9110 §5.6.7). Written once a second.
    pub(super) fn date(&self) -> [u8; 29] {
        let now = self.gate.clock.now();
        let mut date = self.date.borrow_mut();
        if date.0 != now.seconds() {
            let since = Duration::from_secs(u64::try_from(now.seconds()).unwrap_or_default());
            let text = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + since);
            if let Ok(text) = text.as_bytes().try_into() {
                *date = (now.seconds(), text);
            }
        }
        date.1
    }

    /// An id for a request: a UUID of version 7. Its chance is drawn for many at once, since it keeps nothing secret.
    pub(super) fn request_id(&self) -> RequestId {
        let millis = u64::try_from(self.gate.clock.now().millis()).unwrap_or_default();
        let mut random = [0; 10];
        let mut chance = self.chance.borrow_mut();
        if chance.len() < random.len() {
            chance.resize(random.len() * 128, 0);
            Chance::fill(&*self.gate.chance, &mut chance);
        }
        for byte in &mut random {
            *byte = chance.pop().unwrap_or_default();
        }
        RequestId::new(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

/// Opens a listener that other threads may open beside it: the kernel shares connections among them.
///
/// # Errors
/// When the address is not to be had.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What is asked at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Requests to apps and to the portal.
    Front,
    /// Questions of other proxies about requests that they forward.
    ForwardAuth,
}

impl Door {
    /// Whether a peer may connect at all.
    pub(super) fn admits(self, gate: &Gate, peer: IpAddr) -> bool {
        match self {
            Door::Front => admitted(gate, peer),
            Door::ForwardAuth => forward_auth::admitted(gate, peer),
        }
    }
}

/// Starts a thread of the data plane on listeners of its own (see [`bind`]). When `stop` becomes true, or its sender goes
/// away, it accepts nothing more, lets requests in flight end, and is done after [`super::Settings::grace`] at the latest.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn_thread(
    gate: Arc<Gate>,
    listeners: Vec<(Entrance, std::net::TcpListener)>,
    stop: watch::Receiver<bool>,
    name: &str,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _inside = runtime.enter();
        let ready = |(entrance, listener)| Ok((entrance, TcpListener::from_std(listener)?));
        listeners.into_iter().map(ready).collect::<std::io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, run(gate, listeners, stop));
    })
}

async fn run(gate: Arc<Gate>, listeners: Vec<(Entrance, TcpListener)>, stop: watch::Receiver<bool>) {
    let most = gate.settings.most_connections;
    let thread = Rc::new(Thread::new(gate));
    let places = Arc::new(Semaphore::new(most));
    // Listens before anything is let through.
    spawn_local(open::keep(Rc::clone(&thread), thread.gate.sessions.listen()));
    for (entrance, listener) in listeners {
        spawn_local(accept(Rc::clone(&thread), entrance, listener, Arc::clone(&places), stop.clone()));
    }
    let settings = thread.gate.settings;
    let sweeper = Rc::clone(&thread);
    spawn_local(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let gate = &sweeper.gate;
            let (now, life, age) = (gate.clock.now(), settings.upstream_idle, settings.upstream_age);
            sweeper.upstreams.sweep(&gate.snapshot.load(), now, life, age);
        }
    });
    stopped(stop).await;
    // Every connection gives its place back when it ends: whoever has them all is alone.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    if tokio::time::timeout(settings.grace.std(), places.acquire_many(all)).await.is_err() {
        tracing::warn!("requests were still in flight when the time to stop was over");
    }
}

/// Waits for the word to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that whoever could say the word is gone: that is the word.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    thread: Rc<Thread>,
    entrance: Entrance,
    listener: TcpListener,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
) {
    let mut ending = std::pin::pin!(stopped(stop.clone()));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            biased;
            () = &mut ending => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if entrance.admits(&thread.gate, peer.ip()) => {
                // Who asks about others' requests is a proxy, whose connections are everybody's.
                let counted = !matches!(
                    entrance,
                    Entrance::Open(Door::ForwardAuth) | Entrance::Tls(Door::ForwardAuth, _)
                );
                let seat = counted.then(|| Seat::take(&thread.gate, peer.ip())).transpose();
                let Ok(seat) = seat else {
                    thread.meters.crowded();
                    tracing::debug!(%peer, "a client has too many connections open; this one is closed");
                    continue;
                };
                let (thread, entrance, stop) = (Rc::clone(&thread), entrance.clone(), stop.clone());
                spawn_local(async move {
                    let (_place, _seat) = (place, seat);
                    let _counted = thread.meters.connected();
                    greet(thread, entrance, stream, peer, stop).await;
                });
            }
            Ok((_, peer)) => {
                tracing::warn!(%peer, ?entrance, "a peer that is no trusted proxy was turned away");
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether a peer may connect at all.
pub(super) fn admitted(gate: &Gate, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    !gate.settings.trusted_peers_only
        || peer.is_loopback()
        || gate.trusted_proxies.iter().any(|net| net.contains(&peer))
}

/// Takes a new connection in. It has left the listener, so it keeps nobody waiting but itself.
async fn greet(
    thread: Rc<Thread>,
    entrance: Entrance,
    stream: TcpStream,
    address: SocketAddr,
    stop: watch::Receiver<bool>,
) {
    // A client that vanishes without a word is noticed where nothing else is timed.
    let alive = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(ALIVE));
    if stream.set_nodelay(true).is_err() || alive.is_err() {
        return;
    }
    let within = thread.gate.settings.handshake_timeout;
    match entrance {
        Entrance::Open(door) => {
            let peer = Peer { address, certificate: None };
            connection(thread, door, Pipe::Plain(stream), peer, stop).await;
        }
        Entrance::Redirect(challenges) => redirect::serve(thread, stream, address, challenges).await,
        // In boxes: a plain connection pays nothing for them.
        Entrance::Tls(door, front) => {
            let secured = tokio::select! {
                secured = Box::pin(front.secure(stream, within.std())) => secured,
                () = stopped(stop.clone()) => return,
            };
            match secured {
                Ok(Secured { stream, identity }) => {
                    let peer = Peer { address, certificate: Some(identity) };
                    let agreed = stream.get_ref().1.alpn_protocol() == Some(http2::ALPN);
                    let stream = Pipe::Tls(Box::new(stream.into()));
                    if agreed {
                        let stall = thread.gate.settings.write_timeout.std();
                        let stream = Rewound::new(stream, Vec::new(), stall);
                        Box::pin(http2::serve(thread, door, stream, peer, stop)).await;
                    } else {
                        Box::pin(connection(thread, door, stream, peer, stop)).await;
                    }
                }
                Err(error) => {
                    thread.meters.handshake_failed();
                    tracing::debug!(peer = %address, %error, "a client got no connection");
                }
            }
        }
    }
}

async fn connection(thread: Rc<Thread>, door: Door, stream: Pipe, peer: Peer, stop: watch::Receiver<bool>) {
    let stall = thread.gate.settings.write_timeout.std();
    let left = match thread.gate.settings.front {
        Front::Hyper => Left::Other(stream, Vec::new()),
        Front::Strict => http1::serve(Rc::clone(&thread), door, stream, peer.clone(), stop.clone()).await,
    };
    let left = match left {
        // Only who is on this machine may know it beforehand; over TLS it is agreed on in the handshake (RFC 9113 §3).
        Left::Other(stream, read)
            if read.starts_with(http2::PREFACE)
                && peer.certificate.is_none()
                && peer.address.ip().to_canonical().is_loopback() =>
        {
            return Box::pin(http2::serve(thread, door, Rewound::new(stream, read, stall), peer, stop)).await;
        }
        Left::Other(stream, read) => {
            Box::pin(library(thread, door, Rewound::new(stream, read, stall), peer, stop)).await
        }
        left => left,
    };
    match left {
        Left::Over(stream) => linger(stream).await,
        Left::Broken(stream) | Left::Other(stream, _) => reset(stream.tcp()),
    }
}

/// Ends a connection so that the client sees that it broke, whatever framing its answer has.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection could not be reset; it is closed");
    }
}

/// What the requests of a connection tell it, where the library serves it.
#[derive(Default)]
pub(super) struct Line {
    open: RefCell<Option<Watch>>,
    tunnel: RefCell<Option<Box<Tunnel>>>,
}

impl Line {
    /// The answer that is sent now may be cut.
    pub(super) fn carries(&self, open: Watch) {
        self.open.replace(Some(open));
    }

    /// Once its 101 is sent, the connection is this.
    pub(super) fn becomes(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(Box::new(tunnel)));
    }

    /// Gives the note of the request to the tunnel that it opened, if it opened one.
    pub(super) fn note(&self, entry: Box<Entry>) -> Option<Box<Entry>> {
        match &mut *self.tunnel.borrow_mut() {
            Some(tunnel) => {
                tunnel.entry = Some(entry);
                None
            }
            None => Some(entry),
        }
    }

    fn is_cut(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(Watch::is_cut)
    }
}

/// Serves a connection with the HTTP library.
async fn library(
    thread: Rc<Thread>,
    door: Door,
    stream: Rewound,
    peer: Peer,
    stop: watch::Receiver<bool>,
) -> Left {
    let address = peer.address;
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(thread.gate.settings.head_timeout.std())
        .max_buf_size(MOST_HEAD)
        .half_close(false)
        .pipeline_flush(false);
    let line = Rc::new(Line::default());
    let served = Rc::clone(&line);
    let service = service_fn(move |request| {
        handler::answering(Rc::clone(&thread), door, Rc::clone(&served), request, peer.clone())
    });
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut ending = std::pin::pin!(stopped(stop.clone()));
    let mut told = false;
    let result = loop {
        tokio::select! {
            biased;
            result = std::future::poll_fn(|cx| {
                let ended = connection.poll_without_shutdown(cx).map(Some);
                // A client that does not read keeps the library from asking for more, and so from hearing of the cut.
                if ended.is_pending() && line.is_cut() { Poll::Ready(None) } else { ended }
            }) => break result,
            () = &mut ending, if !told => {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let (mut stream, early) = (parts.io.into_inner(), parts.read_buf);
    let whole = match (result, line.tunnel.take()) {
        (Some(Ok(())), Some(tunnel)) => {
            stream.wait_for(tunnel.idle);
            tunnel.run(&mut stream, early, stopped(stop)).await
        }
        (Some(Ok(())), None) => true,
        // An answer without its end: the client must not take what it has for the whole.
        (None, _) => false,
        (Some(Err(error)), _) => {
            tracing::debug!(peer = %address, %error, "a connection ended");
            !error.is_user()
        }
    };
    let stream = stream.into_inner();
    if whole { Left::Over(stream) } else { Left::Broken(stream) }
}

/// Ends a connection so that the last answer arrives. Closing with input unread makes the kernel reset the connection,
/// and the client's kernel then throws away what it has not read yet.
async fn linger(mut stream: Pipe) {
    const SILENT: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(15);
    let drain = async {
        // Over TLS this waits for the client to take what is left.
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut sink = vec![0; 16 * 1024];
        while let Ok(Ok(read)) = tokio::time::timeout(SILENT, stream.read(&mut sink)).await {
            if read == 0 {
                return;
            }
        }
    };
    // Longer than that only somebody stays who never means to go.
    let _ = tokio::time::timeout(LONGEST, drain).await;
}
