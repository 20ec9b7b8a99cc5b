//! What is open when the right to it ends: WebSockets and streams, on this node and on the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use cardea::access::Authority;
use cardea::admin::Given;
use cardea::domain::{PlacePath, SessionId, Span};
use cardea::store::sessions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::stage::{Engine, Stage, Visitor};

/// What ends, ends within this.
const BOUND: Duration = Duration::from_secs(1);
/// What time alone ends is noticed once a second, and then looked up.
const CLOCK_BOUND: Duration = Duration::from_millis(2500);

/// An upstream: a WebSocket that sends back what it receives, a stream of events, and at `/` a word.
pub(crate) async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8(head).unwrap();
    if text.starts_with("GET / ") {
        let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nhere";
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    if !text.contains("\r\nupgrade: websocket\r\n") {
        let _ = stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
        while stream.write_all(b"9\r\ndata: x\n\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        return;
    }
    let key = text.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = cardea::crypto::digest::websocket_accept(key);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Short frames with an empty mask: what comes is what goes back, without its mask.
    let mut frame = [0; 7];
    while stream.read_exact(&mut frame).await.is_ok() && frame[0] == 0x81 {
        let _ = stream.write_all(&[0x81, 1, frame[6]]).await;
    }
}

/// A WebSocket of somebody.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) async fn open(stage: &Stage, visitor: &Visitor) -> Self {
        let token = visitor.cookie(&stage.url("lantern.cardea", "/"), "cardea").unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port)).await.unwrap();
        let host = format!("lantern.cardea.localhost:{}", stage.port);
        let request = format!(
            "GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: cardea={token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte =
                tokio::time::timeout(Duration::from_secs(8), stream.read_u8()).await.expect("no answer");
            head.push(byte.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut socket = Self(stream);
        assert!(socket.works().await);
        socket
    }

    pub(crate) async fn works(&mut self) -> bool {
        let sent = self.0.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'?']).await;
        let mut frame = [0; 3];
        let read = tokio::time::timeout(Duration::from_secs(8), self.0.read_exact(&mut frame)).await;
        sent.is_ok() && read.is_ok_and(|read| read.is_ok()) && frame == [0x81, 1, b'?']
    }

    /// The code with which it ends, and how long that takes.
    pub(crate) async fn ends(&mut self) -> (u16, Duration) {
        let begun = Instant::now();
        let mut frame = [0; 4];
        let read = tokio::time::timeout(Duration::from_secs(8), self.0.read_exact(&mut frame)).await;
        let after = begun.elapsed();
        read.expect("it does not end").expect("it ends without a word");
        assert_eq!(frame[0], 0x88, "{frame:?}");
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len() + 2, usize::from(frame[1]), "nothing follows the close frame");
        (u16::from_be_bytes([frame[2], frame[3]]), after)
    }
}

/// A stream of events of somebody.
struct Events(reqwest::Response);

impl Events {
    async fn open(stage: &Stage, visitor: &Visitor) -> Self {
        let url = stage.url("lantern.cardea", "/events");
        let mut response =
            visitor.client.get(url).header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.chunk().await.unwrap().is_some());
        Self(response)
    }

    /// Reads to the end, which must not look like one.
    async fn ends(&mut self) -> Duration {
        let begun = Instant::now();
        loop {
            match tokio::time::timeout(Duration::from_secs(8), self.0.chunk()).await.expect("it does not end")
            {
                Ok(Some(_)) => assert!(begun.elapsed() < Duration::from_secs(8), "it does not end"),
                Ok(None) => panic!("it ends as if it were whole"),
                Err(_) => return begun.elapsed(),
            }
        }
    }
}

/// Has Lantern's route lead to an upstream that speaks WebSocket, for whoever is an analyst.
pub(crate) async fn lead_to(stage: &Stage, upstream: SocketAddr) {
    stage.reconfigured("allow  = [\"group:staff\"]", "allow  = [\"role:analyst\"]\nwebsocket = true").await;
    let from =
        format!("lantern.cardea.localhost\"\nto     = [\"http://127.0.0.1:{}\"]", stage.demo.lantern.port());
    let to = format!("lantern.cardea.localhost\"\nto     = [\"http://{upstream}\"]");
    stage.reconfigured(&from, &to).await;
}

async fn stage_with(upstream: SocketAddr) -> Stage {
    let stage = Stage::open(Engine::Sqlite).await;
    lead_to(&stage, upstream).await;
    stage
}

/// Somebody signed in, also at Lantern's host.
async fn there(stage: &Stage, name: &str) -> Visitor {
    let mut visitor = stage.signed_in(name).await;
    visitor.get(&stage.url("lantern.cardea", "/")).await;
    assert_eq!(visitor.body, "here", "{name}");
    visitor
}

pub(super) async fn newest_session(stage: &Stage, name: &str) -> SessionId {
    let user = stage.user(name).await;
    let mut conn = stage.house().db.read().await.unwrap();
    sessions::live_of(&mut conn, user, stage.now()).await.unwrap()[0].id
}

async fn analyst(stage: &Stage, name: &str, given: bool) {
    let (admin, by) = (&stage.house().admin, Authority::system());
    let snapshot = stage.house().board.snapshot.load();
    let place = snapshot.place(&PlacePath::parse("acme").unwrap()).unwrap();
    let given_role = Given { role: snapshot.role_named(None, "analyst").unwrap().id, place };
    let user = stage.user(name).await;
    if given {
        admin.grant_role(&by, user, given_role).await.unwrap();
    } else {
        admin.revoke_role(&by, user, given_role).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_17_sess_09_f22_what_is_open_ends_with_the_right_to_it_and_nobody_elses_does() {
    let stage = stage_with(upstream().await).await;
    let (admin, by) = (&stage.house().admin, Authority::system());
    analyst(&stage, "linus", true).await;
    let mut bystander = Socket::open(&stage, &there(&stage, "linus").await).await;

    // Signing out at the app itself.
    let mut visitor = there(&stage, "grace").await;
    let (mut socket, mut events) =
        (Socket::open(&stage, &visitor).await, Events::open(&stage, &visitor).await);
    let elsewhere = there(&stage, "grace").await;
    let mut other_session = Socket::open(&stage, &elsewhere).await;
    visitor.get(&stage.url("lantern.cardea", "/.cardea/sign-out")).await;
    assert_eq!(visitor.ready(&[]).send().await.status, 303);
    let (code, after) = socket.ends().await;
    assert!(code == 1008 && after <= BOUND, "sign-out: {code} after {after:?}");
    assert!(events.ends().await <= BOUND);
    assert!(other_session.works().await, "her other session stays");

    // The command line.
    let session = newest_session(&stage, "grace").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
    command.args(["session", "revoke", &session.to_string(), "--yes", "--config"]);
    command.arg(stage.folder.path().join("cardea.toml")).env_remove("CARDEA_CONFIG");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (code, after) = other_session.ends().await;
    assert!(code == 1008 && after <= BOUND, "session revoke: {code} after {after:?}");

    // A role.
    let visitor = there(&stage, "grace").await;
    let (mut socket, mut events) =
        (Socket::open(&stage, &visitor).await, Events::open(&stage, &visitor).await);
    analyst(&stage, "grace", false).await;
    let (code, after) = socket.ends().await;
    assert!(code == 1008 && after <= BOUND, "role: {code} after {after:?}");
    assert!(events.ends().await <= BOUND);
    analyst(&stage, "grace", true).await;

    // The account.
    let mut socket = Socket::open(&stage, &visitor).await;
    let grace = stage.user("grace").await;
    admin.suspend_user(&by, grace, "a test", None).await.unwrap();
    let (code, after) = socket.ends().await;
    assert!(code == 1008 && after <= BOUND, "suspension: {code} after {after:?}");
    admin.activate_user(&by, grace).await.unwrap();
    assert!(bystander.works().await, "through all of this somebody else's has stayed open");

    // The policy file: linus is an analyst, and no member of staff.
    stage.reconfigured("role:analyst\"]\nwebsocket = true", "group:staff\"]\nwebsocket = true").await;
    let (code, after) = bystander.ends().await;
    assert!(code == 1008 && after <= BOUND, "policy: {code} after {after:?}");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_09_what_is_open_ends_when_its_session_has_idled_out_or_come_to_its_end() {
    let stage = stage_with(upstream().await).await;
    let mut idle = Socket::open(&stage, &there(&stage, "grace").await).await;
    let visitor = there(&stage, "grace").await;
    let (mut busy, mut events) = (Socket::open(&stage, &visitor).await, Events::open(&stage, &visitor).await);
    // Eight hours without use end a session; twenty-four end any.
    for _ in 0..4 {
        stage.advance(Span::hours(5)).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1300) {
            assert!(busy.works().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(idle.ends().await.0, 1008);
    stage.advance(Span::hours(5)).await;
    let (code, after) = busy.ends().await;
    assert!(code == 1008 && after <= CLOCK_BOUND, "{code} after {after:?}");
    assert!(events.ends().await <= CLOCK_BOUND);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_01_proxy_17_what_is_open_on_the_other_node_ends_within_a_second() {
    let (one, two) = Stage::pair().await;
    let upstream = upstream().await;
    for stage in [&one, &two] {
        lead_to(stage, upstream).await;
    }
    let (admin, by) = (&one.house().admin, Authority::system());
    analyst(&one, "linus", true).await;
    let mut bystander = Socket::open(&two, &there(&one, "linus").await).await;
    for round in 0..5 {
        let visitor = there(&one, "grace").await;
        let (mut socket, mut events) =
            (Socket::open(&two, &visitor).await, Events::open(&two, &visitor).await);
        admin.revoke_session(&by, newest_session(&one, "grace").await).await.unwrap();
        let (code, after) = socket.ends().await;
        assert!(code == 1008 && after <= BOUND, "round {round}: {code} after {after:?}");
        assert!(events.ends().await <= BOUND);
    }
    // What she holds.
    let mut socket = Socket::open(&two, &there(&one, "grace").await).await;
    analyst(&one, "grace", false).await;
    let (code, after) = socket.ends().await;
    assert!(code == 1008 && after <= BOUND, "{code} after {after:?}");
    assert!(bystander.works().await);
    one.demo.stop().await;
    two.demo.stop().await;
}
