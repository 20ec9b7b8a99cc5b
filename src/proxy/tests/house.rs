//! A gate for tests: data threads on loopback, records in a file that goes away, an upstream that writes down every byte.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::BodyExt as _;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::access::Snapshot;
use crate::access::ledger::Ledger;
use crate::access::snapshot::Rules;
use crate::crypto::Keyring;
use crate::crypto::keyring::{ASSERTION_TYPE, AssertionKeys, WebKeys};
use crate::crypto::seal::Sealer;
use crate::crypto::signing::SigningKey;
use crate::domain::login::{Demands, Proven};
use crate::domain::policy::{Access, How, Needs, PathPattern, Rule, Source, Who};
use crate::domain::pool::Pool;
use crate::domain::route::{HeaderPreset, Protocol, Route, Transport, Upstream};
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::target::{Case, Unusual};
use crate::domain::{
    self, AccountKind, AssignmentId, AuditEvent, Change, EmailAddress, GroupId, Hostname, Origin,
    PermissionPattern, PersonName, Place, Role, RoleId, Scope, Secret, SessionId, Slug, Span, Status,
    TenantId, Timestamp, User, UserId, Username,
};
use crate::net::{Connectors, Dialer, Resolver, SystemResolver, system_authorities};
use crate::proxy::{
    ControlPlane, Crowd, Door, Entrance, Gate, Health, Lately, Portal, Refusals, Settings, bind, spawn_thread,
};
use crate::session::{Sessions, Visit};
use crate::store::grants::{Assignment, assign};
use crate::store::groups::{Group, join};
use crate::store::memberships::Membership;
use crate::store::tenants::Tenant;
use crate::store::tree::Tree;
use crate::store::{Db, StorageUrl, feed, groups, memberships, roles, tenants, tree, users};
use crate::sys::{Clock as _, OsChance, SystemClock};

/// Waits so many milliseconds.
#[expect(clippy::disallowed_methods, reason = "these threads are the test's own")]
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

pub(crate) fn empty_snapshot() -> Snapshot {
    Snapshot::compile(1, Tree::default(), &[], &Rules::default())
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

/// A rule in few words: a path, and `public`, `needs:…` or a who; after a blank, a how.
pub(crate) fn rule(path: &str, words: &str) -> Rule {
    let (access, how) = words.split_once(' ').map_or((words, None), |(access, how)| (access, Some(how)));
    let access = match access.strip_prefix("needs:") {
        Some(needs) => Access::Members { allow: Vec::new(), needs: Some(Needs::parse(needs).unwrap()) },
        None if access == "public" => Access::Public,
        None => Access::Members { allow: vec![Who::parse(access).unwrap()], needs: None },
    };
    let require = how.map(|how| How::parse(how).unwrap()).into_iter().collect();
    let path = PathPattern::parse(path).unwrap();
    Rule {
        source: Source("test.toml:1".into()),
        methods: Vec::new(),
        path,
        access,
        deny: Vec::new(),
        require,
    }
}

/// A route to some upstreams.
pub(crate) fn route(name: &str, host: &str, to: &[SocketAddr], rules: Vec<Rule>) -> Route {
    Route {
        source: Source("test.toml:1".into()),
        name: slug(name),
        title: format!("The {name}"),
        about: String::new(),
        host: Hostname::parse(host).unwrap(),
        prefix: String::new(),
        to: to
            .iter()
            .map(|to| Upstream {
                transport: Transport::Plain,
                protocol: Protocol::Http1,
                host: to.ip().to_string(),
                port: to.port(),
            })
            .collect(),
        pool: Pool::default(),
        rewrite: None,
        maintenance: None,
        forward_auth: to.is_empty(),
        tenant: Some(slug("acme")),
        at: None,
        rules,
        deny: Vec::new(),
        require: Vec::new(),
        headers: HeaderPreset::named("cardea").unwrap(),
        help: Some("Ask Lin.".into()),
        listed: true,
        explain_refusals: true,
        unusual: Unusual::default(),
        case: Case::Unknown,
        pass_host: true,
        private_answers: true,
        websocket: None,
        connect_timeout: Span::seconds(2),
        request_timeout: Span::seconds(3),
        idle_timeout: Span::minutes(10),
        assertion_life: Span::seconds(60),
        request_headers: domain::header::Edits::default(),
        answer_headers: domain::header::Edits::default(),
    }
}

/// Everything that runs in a test.
pub(crate) struct House {
    pub(crate) gate: Arc<Gate>,
    pub(crate) address: SocketAddr,
    pub(crate) forward_auth: SocketAddr,
    pub(crate) upstream: Recorder,
    pub(crate) runtime: Runtime,
    pub(crate) db: Db,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) audit: Mutex<mpsc::Receiver<AuditEvent>>,
    pub(crate) ada: UserId,
    pub(crate) bob: UserId,
    pub(crate) acme: TenantId,
    pub(crate) lease: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

pub(crate) struct Plan {
    pub(crate) routes: Box<dyn Fn(SocketAddr) -> Vec<Route>>,
    pub(crate) groups: usize,
    pub(crate) settings: Settings,
    pub(crate) trusted: Vec<ipnet::IpNet>,
    pub(crate) secure: bool,
    /// Where names of upstreams are looked up.
    pub(crate) resolver: Box<dyn Resolver>,
    /// What counts as our own listeners.
    pub(crate) own: Vec<SocketAddr>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            routes: Box::new(|upstream| vec![usual(upstream)]),
            groups: 0,
            settings: Settings { grace: Span::seconds(3), ..Settings::default() },
            trusted: Vec::new(),
            secure: false,
            resolver: Box::new(SystemResolver),
            own: Vec::new(),
        }
    }
}

/// The route that most tests use: `app.example` of the tenant acme.
pub(crate) fn usual(upstream: SocketAddr) -> Route {
    let rules = vec![
        rule("/public/*", "public"),
        rule("/reports/*", "needs:reports:read"),
        rule("/admin/*", "needs:reports:admin"),
        rule("/staff/*", "group:staff"),
        rule("/mfa/*", "signed-in mfa"),
        rule("/old/*", "signed-in session<1h"),
        rule("/open/*", "signed-in"),
    ];
    route("app", "app.example", &[upstream], rules)
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(Plan::default())
    }

    pub(crate) fn with(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let _ = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter("warn,cardea=trace,access=trace")
            .with_writer(|| Log)
            .try_init();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let upstream = Recorder::start();
        let clock = Arc::new(SystemClock::default());
        let now = clock.now();
        let db = runtime.block_on(Db::open(&StorageUrl::Sqlite(folder.path().join("test.db")))).unwrap();
        let (ada, bob, acme) =
            (UserId::mint(now, &OsChance), UserId::mint(now, &OsChance), TenantId::mint(now, &OsChance));
        runtime.block_on(furnish(&db, ada, bob, acme, plan.groups, now));

        let signing =
            SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), ASSERTION_TYPE).unwrap();
        let web = WebKeys::derive(&Secret::new(vec![7; 32])).unwrap();
        let keys = Arc::new(Keyring::new(
            Sealer::new(&[1; 32], &[]).unwrap(),
            web,
            AssertionKeys::new(signing, Vec::new()),
        ));
        let limits =
            crate::session::Settings { idle: Span::hours(1), absolute: Span::hours(8), per_user: 10 };
        let (seen, _notes) = mpsc::channel(64);
        let sessions =
            Sessions::new(db.clone(), Arc::clone(&keys), limits, Span::seconds(15), plan.secure, seen);
        let sessions = Arc::new(sessions);
        let routes = (plan.routes)(upstream.address);
        let snapshot = Arc::new(ArcSwap::from_pointee(empty_snapshot()));
        let lease = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (ready, applied) = tokio::sync::oneshot::channel();
        let scheme = if plan.secure { "https" } else { "http" };
        runtime.spawn(apply(
            db.clone(),
            Arc::clone(&snapshot),
            Arc::clone(&sessions),
            Arc::clone(&clock),
            Arc::clone(&lease),
            (routes, scheme, ready),
        ));
        runtime.block_on(applied).unwrap();

        let (ledger, audit) = Ledger::new(1000);
        let gate = Arc::new(Gate {
            snapshot,
            sessions,
            dialer: Dialer::asking(plan.resolver, plan.own),
            connectors: Connectors::new(system_authorities()),
            health: Health::default(),
            keys: Arc::clone(&keys),
            ledger,
            clock: Arc::<SystemClock>::clone(&clock),
            chance: Arc::new(OsChance),
            portal: Portal {
                origin: "http://access.example".into(),
                host: "access.example".into(),
                product_name: "Cardea".into(),
                demo: false,
            },
            trusted_proxies: plan.trusted,
            control: ControlPlane::new(
                runtime.handle().clone(),
                Arc::new(|request, arrival| {
                    Box::pin(async move {
                        let fields: Vec<String> = request
                            .headers()
                            .iter()
                            .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
                            .collect();
                        let text = format!(
                            "portal {} {} {} {}",
                            request.method(),
                            request.uri(),
                            arrival.address,
                            fields.join(";")
                        );
                        let text = format!("{text} body={}", request.body().len());
                        http::Response::new(
                            http_body_util::Full::from(text).map_err(|never| match never {}).boxed_unsync(),
                        )
                    })
                }),
            ),
            lately: Lately::default(),
            refusals: Refusals::default(),
            crowd: Crowd::default(),
            settings: plan.settings,
        });
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let forward_auth = asked.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let listeners =
            vec![(Entrance::Open(Door::Front), listener), (Entrance::Open(Door::ForwardAuth), asked)];
        let thread = spawn_thread(Arc::clone(&gate), listeners, stopping, "data").unwrap();
        Self {
            gate,
            address,
            forward_auth,
            upstream,
            runtime,
            db,
            clock,
            keys,
            audit: Mutex::new(audit),
            ada,
            bob,
            acme,
            lease,
            stop,
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// A session of somebody at a host; its id and its token.
    pub(crate) fn signed_in(&self, user: UserId, host: &str) -> (SessionId, String) {
        self.signed_in_with(user, host, false)
    }

    pub(crate) fn signed_in_with(&self, user: UserId, host: &str, second: bool) -> (SessionId, String) {
        let now = self.clock.now();
        let mut proven = Proven::first(user, FirstFactor::Password, 0, now);
        if second {
            proven = proven.with_second(SecondFactor::Totp, now);
        }
        let demands = Demands { enrolled: false, second_required: false, must_change_password: false };
        let complete = proven.complete(demands).map_err(|_| "owed").unwrap();
        let visit = self.visit();
        let (session, token) =
            self.runtime.block_on(self.gate.sessions.start(&complete, host, &visit)).unwrap();
        (session, token.expose().to_owned())
    }

    pub(crate) fn visit(&self) -> Visit<'static> {
        Visit {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            agent: "test",
            now: self.clock.now(),
            chance: &OsChance,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut client = self.connect();
        client.ask(method, host, target, fields)
    }

    pub(crate) fn get(&self, target: &str, token: &str) -> Answer {
        self.ask("GET", "app.example", target, &[("cookie", &format!("cardea={token}"))])
    }

    /// Turns the clock, and waits until the node has read its feed again.
    pub(crate) fn advance(&self, by: Span) {
        self.clock.advance(by);
        while !self.gate.sessions.lease().holds(self.clock.now()) {
            pause(10);
        }
    }

    /// The claims of an assertion, verified as an upstream would.
    pub(crate) fn verified(&self, assertion: &str) -> serde_json::Value {
        let typ = ASSERTION_TYPE;
        crate::crypto::signing::verify(assertion, &self.keys.assertion().jwks(), typ).unwrap().0
    }

    /// Says whether the role of Ada's may read reports, and waits until the node knows.
    pub(crate) fn let_analysts_read(&self, allowed: bool) {
        let now = self.clock.now();
        self.runtime.block_on(async {
            let mut tx = self.db.begin().await.unwrap();
            roles::put(&mut tx, &analyst(self.acme, allowed, now), now).await.unwrap();
            tx.commit(now).await.unwrap();
        });
    }

    /// Puts other routes in force, as a reload does.
    pub(crate) fn reconfigure(&self, routes: &[Route]) {
        let tree =
            self.runtime.block_on(async { tree::load(&mut self.db.read().await.unwrap()).await.unwrap() });
        let rules = Rules { scheme: "http".into(), ..Rules::default() };
        let version = self.gate.snapshot.load().version + 1000;
        self.gate.snapshot.store(Arc::new(Snapshot::compile(version, tree, routes, &rules)));
        self.gate.sessions.policy_changed();
    }

    /// Ends a session, as a sign-out does.
    pub(crate) fn end(&self, session: SessionId) {
        let visit = self.visit();
        self.runtime
            .block_on(self.gate.sessions.end(session, domain::Actor::System, "a test", &visit))
            .unwrap();
    }

    /// The next audit record.
    pub(crate) fn audited(&self) -> Option<AuditEvent> {
        self.audit.lock().unwrap().try_recv().ok()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

/// Applies the change feed as the running program does: snapshot first, then sessions, then the watermark.
async fn apply(
    db: Db,
    snapshot: Arc<ArcSwap<Snapshot>>,
    sessions: Arc<Sessions>,
    clock: Arc<SystemClock>,
    lease: Arc<std::sync::atomic::AtomicBool>,
    (routes, scheme, ready): (Vec<Route>, &'static str, tokio::sync::oneshot::Sender<()>),
) {
    let rules = Rules { scheme: scheme.into(), ..Rules::default() };
    let mut stirred = db.stirred();
    let mut version = 1;
    let mut ready = Some(ready);
    let mut position = {
        let mut conn = db.read().await.unwrap();
        feed::end(&mut conn).await.unwrap()
    };
    let mut changes: Option<Vec<Change>> = None;
    loop {
        if changes.as_ref().is_none_or(|changes| changes.contains(&Change::Tree)) {
            let mut conn = db.read().await.unwrap();
            let tree = tree::load(&mut conn).await.unwrap();
            version += 1;
            snapshot.store(Arc::new(Snapshot::compile(version, tree, &routes, &rules)));
        }
        if changes.as_ref().is_none_or(|changes| !changes.is_empty()) {
            sessions.apply(changes.as_deref());
        }
        db.watermark().publish(position);
        if lease.load(std::sync::atomic::Ordering::Relaxed) {
            sessions.lease().renew(clock.now());
        }
        if let Some(ready) = ready.take() {
            ready.send(()).unwrap();
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), stirred.recv()).await;
        let mut conn = db.read().await.unwrap();
        let batch = feed::since(&mut conn, position).await.unwrap();
        position = batch.position;
        changes = batch.changes;
    }
}

async fn furnish(db: &Db, ada: UserId, bob: UserId, acme: TenantId, many: usize, now: Timestamp) {
    let mut tx = db.begin().await.unwrap();
    let tenant = Tenant {
        id: acme,
        slug: slug("acme"),
        name: "Acme".into(),
        plan: String::new(),
        status: "active".into(),
        suspension: None,
        owner: None,
        mfa_required: false,
        origin: Origin::Manual,
        created_at: now,
    };
    tenants::add(&mut tx, &tenant).await.unwrap();
    for (id, name, mail) in [(ada, "Ada Lövelace", "ada@acme.example"), (bob, "Bob", "bob@other.example")] {
        let user = User {
            id,
            username: Username::parse(name.split(' ').next().unwrap()).unwrap(),
            name: PersonName::parse(name).unwrap(),
            email: Some(EmailAddress::parse(mail).unwrap()),
            email_verified: id == ada,
            kind: AccountKind::User,
            status: Status::Active,
            suspension: None,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: now,
            version: 1,
        };
        users::add(&mut tx, &user).await.unwrap();
    }
    let membership =
        Membership { user: ada, tenant: acme, org: None, department: None, origin: Origin::Manual };
    memberships::put(&mut tx, &membership, now).await.unwrap();
    let role = roles::put(&mut tx, &analyst(acme, true, now), now).await.unwrap();
    let given = Assignment {
        id: AssignmentId::mint(now, &OsChance),
        user: ada,
        role,
        place: Place::Tenant(acme),
        origin: Origin::Manual,
        by: "test".into(),
        at: now,
    };
    assign(&mut tx, &given).await.unwrap();
    let names =
        std::iter::once("staff".to_owned()).chain((0..many).map(|n| format!("group-with-a-long-name-{n}")));
    for name in names {
        let mut group = Group {
            id: GroupId::mint(now, &OsChance),
            tenant: acme,
            slug: slug(&name),
            origin: Origin::Manual,
        };
        group.id = groups::put(&mut tx, &group, now).await.unwrap();
        join(&mut tx, &group, ada, &Origin::Manual, now).await.unwrap();
    }
    tx.commit(now).await.unwrap();
}

fn analyst(acme: TenantId, reads: bool, now: Timestamp) -> Role {
    Role {
        id: RoleId::mint(now, &OsChance),
        tenant: Some(acme),
        slug: slug("analyst"),
        name: "Analyst".into(),
        description: String::new(),
        scope: Scope::Tenant,
        permissions: vec![
            PermissionPattern::parse(if reads { "reports:read" } else { "reports:list" }).unwrap(),
        ],
        exclusive: false,
        auto_assigned: false,
        mfa: false,
        landing: None,
        origin: Origin::Manual,
    }
}

/// Everything of ours that was logged by any test so far, down to the finest.
pub(crate) fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A raw client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
}

/// An answer as it came over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn ask(&mut self, method: &str, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        self.send(format!("{text}\r\n").as_bytes());
        self.answer(method == "HEAD")
    }

    /// Reads one answer; a closed connection is an answer with status 0.
    pub(crate) fn answer(&mut self, head: bool) -> Answer {
        let Some(end) = self.until(|bytes| find(bytes, b"\r\n\r\n")) else { return Answer::default() };
        let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").or(line.split_once(':')).unwrap())
            .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
            .collect();
        let mut answer = Answer { status, fields, body: Vec::new() };
        if status == 100 {
            return self.answer(head);
        }
        if head || status == 101 || status == 204 || status == 304 {
            return answer;
        }
        if answer.field("transfer-encoding").is_some() {
            loop {
                let at = self.until(|bytes| find(bytes, b"\r\n")).expect("chunk size");
                let size = usize::from_str_radix(std::str::from_utf8(&self.rest[..at]).unwrap(), 16).unwrap();
                self.rest.drain(..at + 2);
                if size == 0 {
                    // Trailers, then an empty line.
                    loop {
                        let at = self.until(|bytes| find(bytes, b"\r\n")).expect("trailer");
                        let line = String::from_utf8_lossy(&self.rest[..at]).into_owned();
                        self.rest.drain(..at + 2);
                        match line.split_once(": ") {
                            Some((name, value)) => {
                                answer.fields.push((format!("trailer:{name}"), value.to_owned()));
                            }
                            None => return answer,
                        }
                    }
                }
                self.until(|bytes| (bytes.len() >= size + 2).then_some(0)).expect("chunk");
                answer.body.extend(self.rest.drain(..size));
                self.rest.drain(..2);
            }
        }
        if let Some(length) = answer.field("content-length").map(|text| text.parse::<usize>().unwrap()) {
            self.until(|bytes| (bytes.len() >= length).then_some(0));
            let length = length.min(self.rest.len());
            answer.body = self.rest.drain(..length).collect();
        } else {
            self.until(|_| None);
            answer.body = std::mem::take(&mut self.rest);
        }
        answer
    }

    /// Reads until something is found; `None` at the end of the stream.
    fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        let mut buffer = vec![0; 65536];
        loop {
            if let Some(at) = found(&self.rest) {
                return Some(at);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.rest.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Whether the other side has closed.
    pub(crate) fn closed(&mut self) -> bool {
        self.rest.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection, counted from one.
    pub(crate) connection: usize,
}

impl Recorded {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }
}

/// What an upstream does with a request whose head it has read; false closes the connection.
pub(crate) type Behaviour = Arc<dyn Fn(&mut Recorded, &mut TcpStream, &mut Vec<u8>) -> bool + Send + Sync>;

/// An upstream.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Recorded>>> = Arc::default();
        let usual: Behaviour =
            Arc::new(|_, stream, _| reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
        let behaviour = Arc::new(Mutex::new(usual));
        let (into, how) = (Arc::clone(&seen), Arc::clone(&behaviour));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (into, how) = (Arc::clone(&into), Arc::clone(&how));
                std::thread::spawn(move || serve(stream.unwrap(), connection + 1, &into, &how));
            }
        });
        Self { address, seen, behaviour }
    }

    pub(crate) fn behave(
        &self,
        how: impl Fn(&mut Recorded, &mut TcpStream, &mut Vec<u8>) -> bool + Send + Sync + 'static,
    ) {
        *self.behaviour.lock().unwrap() = Arc::new(how);
    }

    /// Answers everything with this text, and keeps the connection.
    pub(crate) fn say(&self, text: &str) {
        let text = text.to_owned();
        self.behave(move |_, stream, _| reply(stream, &text));
    }

    pub(crate) fn seen(&self) -> Vec<Recorded> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Recorded {
        self.seen.lock().unwrap().last().expect("nothing reached the upstream").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub(crate) fn reply(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).is_ok()
}

fn serve(mut stream: TcpStream, connection: usize, into: &Mutex<Vec<Recorded>>, how: &Mutex<Behaviour>) {
    stream.set_nodelay(true).unwrap();
    let mut rest = Vec::new();
    loop {
        let Some(end) = fill(&mut stream, &mut rest, |bytes| find(bytes, b"\r\n\r\n")) else { return };
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest.drain(..end + 4);
        let mut lines = text.split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap();
        let fields = lines
            .map(|line| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap())
            .collect();
        let mut recorded = Recorded { line, fields, body: Vec::new(), connection };
        let behaviour = Arc::clone(&how.lock().unwrap());
        let expects =
            !recorded.all("content-length").is_empty() || !recorded.all("transfer-encoding").is_empty();
        let manual = recorded.line.contains("manual");
        if expects && !manual && !body(&mut recorded, &mut stream, &mut rest) {
            return;
        }
        into.lock().unwrap().push(recorded.clone());
        if !behaviour(&mut recorded, &mut stream, &mut rest) {
            return;
        }
    }
}

/// Reads the body of a request as its framing says.
pub(crate) fn body(recorded: &mut Recorded, stream: &mut TcpStream, rest: &mut Vec<u8>) -> bool {
    if let [length] = recorded.all("content-length")[..] {
        let length: usize = length.parse().unwrap();
        if fill(stream, rest, |bytes| (bytes.len() >= length).then_some(0)).is_none() {
            return false;
        }
        recorded.body = rest.drain(..length).collect();
        return true;
    }
    loop {
        let Some(at) = fill(stream, rest, |bytes| find(bytes, b"\r\n")) else { return false };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        rest.drain(..at + 2);
        if fill(stream, rest, |bytes| (bytes.len() >= size + 2).then_some(0)).is_none() {
            return false;
        }
        recorded.body.extend(rest.drain(..size));
        let after: Vec<u8> = rest.drain(..2).collect();
        assert_eq!(after, b"\r\n", "trailers must not arrive");
        if size == 0 {
            return true;
        }
    }
}

fn fill(stream: &mut TcpStream, rest: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut buffer = vec![0; 65536];
    loop {
        if let Some(at) = found(rest) {
            return Some(at);
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => rest.extend_from_slice(&buffer[..read]),
        }
    }
}
