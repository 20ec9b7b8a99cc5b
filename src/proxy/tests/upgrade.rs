//! WebSockets: what is asked before one is opened, that it carries bytes as they are, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::house::{Answer, Client, House, Plan, Recorded, pause, reply, route, rule, usual};
use crate::crypto::digest::websocket_accept;
use crate::domain::Span;
use crate::domain::route::{Route, WebSocket};
use crate::domain::{Timestamp, UserId};
use crate::sys::Stopwatch;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What "within a second" is held to: the second, and what a busy machine takes to notice.
const BOUND: Duration = Duration::from_millis(1500);

fn passing(mut route: Route, idle: Span) -> Route {
    let origins = vec!["https://chat.example.com".to_owned(), "http://localhost:3000".to_owned()];
    route.websocket = Some(WebSocket { origins, idle });
    route
}

fn house() -> House {
    house_with(Span::hours(1))
}

/// A house whose upstream speaks WebSocket: it sends every frame back as it came, unmasked.
fn house_with(idle: Span) -> House {
    let house = House::with(Plan {
        routes: Box::new(move |upstream| {
            vec![
                passing(usual(upstream), idle),
                route("plain", "plain.example", &[upstream], vec![rule("/*", "public")]),
            ]
        }),
        ..Plan::default()
    });
    echo(&house);
    house
}

/// Frames that the upstream received: opcode, whether masked, payload.
type Received = Arc<Mutex<Vec<(u8, bool, Vec<u8>)>>>;

fn echo(house: &House) -> Received {
    let received = Received::default();
    let noted = Arc::clone(&received);
    house.upstream.behave(move |seen, stream, rest| {
        if !accept(seen, stream, "") {
            return false;
        }
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while let Some((opcode, masked, payload)) = frame(stream, rest) {
            noted.lock().unwrap().push((opcode, masked, payload.clone()));
            if stream.write_all(&unmasked(opcode, &payload)).is_err() || opcode == 8 {
                return false;
            }
        }
        false
    });
    received
}

fn accept(seen: &Recorded, stream: &mut TcpStream, more: &str) -> bool {
    let accept = websocket_accept(seen.one("sec-websocket-key"));
    reply(
        stream,
        &format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        ),
    )
}

fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[0x80 | opcode, length], payload].concat()
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let body: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    [&[0x80 | opcode, 0x80 | length], &mask[..], &body].concat()
}

/// Reads a short frame; `None` at the end of the stream.
fn frame(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Option<(u8, bool, Vec<u8>)> {
    loop {
        if let [first, second, ..] = rest[..] {
            let (masked, length) = (second & 0x80 != 0, usize::from(second & 0x7f));
            let head = if masked { 6 } else { 2 };
            if rest.len() >= head + length {
                let bytes: Vec<u8> = rest.drain(..head + length).collect();
                let mask = if masked { bytes[2..6].to_vec() } else { vec![0] };
                let payload = bytes[head..].iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
                return Some((first & 0x0f, masked, payload));
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => rest.extend_from_slice(&buffer[..read]),
        }
    }
}

fn request(target: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n");
    let usual = [
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    for (name, value) in usual {
        if !fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            text.extend([name, ": ", value, "\r\n"]);
        }
    }
    for (name, value) in fields.iter().filter(|(_, value)| *value != "-") {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text + "\r\n"
}

fn handshake(house: &House, target: &str, fields: &[(&str, &str)]) -> (Client, Answer) {
    let mut client = house.connect();
    client.send(request(target, fields).as_bytes());
    let answer = client.answer(false);
    (client, answer)
}

/// An open one, which has carried a message both ways.
fn open(house: &House, target: &str, token: &str) -> Client {
    let (mut client, answer) = handshake(house, target, &[("cookie", &format!("cardea={token}"))]);
    assert_eq!(answer.status, 101, "{}", answer.text());
    assert!(works(&mut client));
    client
}

fn works(client: &mut Client) -> bool {
    let _ = client.stream.write_all(&masked(1, b"hello"));
    next(client) == Some((1, b"hello".to_vec()))
}

fn next(client: &mut Client) -> Option<(u8, Vec<u8>)> {
    let Client { stream, rest } = client;
    let (opcode, masked, payload) = frame(stream, rest)?;
    assert!(!masked, "servers do not mask");
    Some((opcode, payload))
}

/// Reads to the end; the code of the close frame that came, if one came, and how long it took.
fn ends(client: &mut Client) -> (Option<u16>, Duration) {
    let begun = Stopwatch::start();
    let mut code = None;
    while let Some((opcode, payload)) = next(client) {
        assert!(begun.elapsed() < Duration::from_secs(8), "it never ended");
        if opcode == 8 {
            assert_eq!(code, None, "one close frame");
            code = Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
    (code, begun.elapsed())
}

#[test]
fn proxy_17_a_websocket_carries_bytes_as_they_are_for_somebody_whom_the_upstream_knows() {
    let house = house();
    let received = echo(&house);
    let (session, token) = house.signed_in(house.ada, "app.example");
    // The first frame comes right behind the head, before there is an answer.
    let mut client = house.connect();
    let fields = [
        ("cookie", format!("cardea={token}; theme=dark")),
        ("Origin", "http://app.example".to_owned()),
        ("Cardea-User", "forged".to_owned()),
        ("Sec_WebSocket_Key", "forged".to_owned()),
        ("Sec-WebSocket-Protocol", "chat, superchat".to_owned()),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits".to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client.send(&[request("/reports/live?x=1", &fields).as_bytes(), &masked(1, b"early")].concat());
    let answer = client.answer(false);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert!(answer.field("content-length").is_none() && answer.field("transfer-encoding").is_none());
    assert_eq!(next(&mut client), Some((1, b"early".to_vec())));
    assert!(works(&mut client));
    let seen = house.upstream.last();
    assert_eq!(seen.line, "GET /reports/live?x=1 HTTP/1.1");
    assert_eq!(seen.one("cardea-user"), house.ada.to_string());
    assert_eq!(house.verified(seen.one("cardea-assertion"))["sid"], session.to_string());
    assert_eq!((seen.one("connection"), seen.one("upgrade")), ("Upgrade", "websocket"));
    assert_eq!((seen.one("sec-websocket-key"), seen.one("sec-websocket-version")), (KEY, "13"));
    assert_eq!(seen.one("sec-websocket-protocol"), "chat, superchat");
    assert_eq!(seen.one("sec-websocket-extensions"), "permessage-deflate; client_max_window_bits");
    assert_eq!((seen.one("cookie"), seen.one("origin")), ("theme=dark", "http://app.example"));
    assert!(seen.all("sec_websocket_key").is_empty());
    // The closing handshake is between the two of them.
    client.send(&masked(8, &1000_u16.to_be_bytes()));
    assert_eq!(ends(&mut client).0, Some(1000));
    assert_eq!(received.lock().unwrap().last().unwrap(), &(8, true, 1000_u16.to_be_bytes().to_vec()));
}

#[test]
fn proxy_17_session_permission_and_origin_come_before_anything_goes_upstream() {
    let house = house();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let cookie = format!("cardea={token}");
    let status = |target: &str, fields: &[(&str, &str)]| {
        let (_, answer) = handshake(&house, target, fields);
        (answer.status, if answer.status == 101 { String::new() } else { answer.json()["code"].to_string() })
    };
    assert_eq!(status("/reports/x", &[]), (401, "\"sign-in\"".to_owned()));
    assert_eq!(status("/admin/x", &[("cookie", &cookie)]), (403, "\"needs\"".to_owned()));
    for origin in [
        "null",
        "",
        "http://evil.example",
        "https://app.example",
        "http://app.example.evil.example",
        "http://evilapp.example",
        "http://app.example:8080",
        "http://app.example/",
        "http://app.example http://app.example",
        "http://app.example, http://evil.example",
        "https://chat.example.com.evil.example",
        "http://chat.example.com",
        "http://localhost:3001",
        "http://localhost",
    ] {
        assert_eq!(
            status("/open/x", &[("cookie", &cookie), ("Origin", origin)]),
            (403, "\"origin\"".to_owned()),
            "{origin}"
        );
    }
    // Two of them; and a browser that hides where it comes from.
    let own = ("Origin", "http://app.example");
    assert_eq!(status("/open/x", &[("cookie", &cookie), own, own]).0, 403);
    assert_eq!(
        status("/public/x", &[("Origin", "http://evil.example")]).0,
        403,
        "also where nobody is asked for"
    );
    assert_eq!(status("/open/x", &[("cookie", &cookie), ("Sec-Fetch-Site", "cross-site")]).0, 403);
    assert_eq!(house.upstream.count(), 0, "nothing of all that reached the upstream");
    for origin in
        ["http://app.example", "HTTP://APP.example", "https://chat.example.com", "http://localhost:3000"]
    {
        assert_eq!(status("/open/x", &[("cookie", &cookie), ("Origin", origin)]).0, 101, "{origin}");
    }
    assert_eq!(status("/open/x", &[("cookie", &cookie)]).0, 101, "no browser");
}

#[test]
fn proxy_14_f26_what_is_no_handshake_opens_nothing() {
    let house = house();
    let second = "GET /public/second HTTP/1.1\r\nHost: app.example\r\n\r\n";
    for (fields, wanted) in [
        (&[("Sec-WebSocket-Version", "8")][..], 426),
        (&[("Sec-WebSocket-Version", "-")], 426),
        (&[("Sec-WebSocket-Key", "-")], 400),
        (&[("Sec-WebSocket-Key", "short")], 400),
        (&[("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Key", KEY)], 400),
        (&[("Connection", "keep-alive")], 400),
        (&[("Upgrade", "websocket, h2c")], 400),
        (&[("Upgrade", "websocket"), ("Upgrade", "foo")], 400),
        (&[("Content-Length", "5")], 400),
        (&[("Transfer-Encoding", "chunked")], 400),
        (&[("Sec-WebSocket-Protocol", "a b")], 400),
        (&[("Sec-WebSocket-Extensions", "x, ;y")], 400),
    ] {
        let mut client = house.connect();
        client.send(format!("{}{second}", request("/public/x", fields)).as_bytes());
        let answer = client.answer(false);
        assert_eq!(answer.status, wanted, "{fields:?}");
        assert_eq!(client.answer(false).status, 0, "{fields:?}: and the connection ends");
    }
    for line in ["POST /public/x HTTP/1.1", "GET /public/x HTTP/1.0"] {
        let mut client = house.connect();
        client.send(request("/public/x", &[]).replace("GET /public/x HTTP/1.1", line).as_bytes());
        assert_eq!(client.answer(false).status, 400, "{line}");
    }
    // A route that passes none on.
    let mut client = house.connect();
    client.send(request("/x", &[]).replace("app.example", "plain.example").as_bytes());
    assert_eq!(client.answer(false).json()["code"], "websocket");
    assert_eq!(house.upstream.count(), 0);
}

#[test]
fn f26_f25_without_101_it_is_a_plain_answer_and_both_connections_end() {
    let house = house();
    let early = Arc::new(AtomicUsize::new(0));
    let got = Arc::clone(&early);
    house.upstream.behave(move |_, stream, rest| {
        got.fetch_add(rest.len(), Ordering::Relaxed);
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n");
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut sink = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut sink) {
            got.fetch_add(read, Ordering::Relaxed);
        }
        false
    });
    let mut client = house.connect();
    let smuggled = "GET /admin/secret HTTP/1.1\r\nHost: app.example\r\n\r\n";
    client.send(format!("{}{smuggled}", request("/public/x", &[])).as_bytes());
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (200, "nope"));
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.answer(false).status == 0 && client.closed());
    pause(600);
    assert_eq!(early.load(Ordering::Relaxed), 0, "nothing behind the head was passed on");
    assert_eq!(house.upstream.count(), 1);
    // Its connection is not used again, although it could be.
    house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).text(), "ok");
    assert_eq!(house.upstream.last().connection, 2);
}

#[test]
fn f25_proxy_14_an_answer_that_was_not_asked_for_opens_nothing() {
    let house = house();
    let accept = websocket_accept(KEY);
    let right = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
    for (n, fields) in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n".to_owned(),
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n".to_owned(),
        right.replace("websocket", "h2c"),
        right.replace("Connection: Upgrade", "Connection: close"),
        format!("{right}Sec-WebSocket-Accept: {accept}\r\n"),
        format!("{right}Sec-WebSocket-Protocol: chat\r\n"),
        format!("{right}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        format!("{right}Content-Length: 5\r\n"),
        format!("{right}Transfer-Encoding: chunked\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        house.upstream.say(&format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n"));
        let (_, answer) = handshake(&house, "/public/x", &[]);
        assert_eq!(answer.status, 502, "{fields}");
        assert_eq!(house.upstream.last().connection, n + 1, "each on a connection of its own");
    }
    // Nor does one that nobody asked for.
    house.upstream.say(&format!("HTTP/1.1 101 Switching Protocols\r\n{right}\r\n"));
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 502);
}

#[test]
fn f25_a_tunnel_never_comes_from_the_pool_nor_goes_there() {
    let house = house();
    house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 200);
    echo(&house);
    let mut client = open(&house, "/public/x", "");
    assert_eq!(house.upstream.last().connection, 2, "one is idle, and is not taken");
    client.send(&masked(8, &1000_u16.to_be_bytes()));
    ends(&mut client);
    house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 200);
    assert_eq!(house.upstream.last().connection, 1, "the idle one");
}

#[test]
fn proxy_17_sess_09_a_websocket_ends_with_its_session_and_no_other_does() {
    let house = house();
    let received = echo(&house);
    let (session, token) = house.signed_in(house.ada, "app.example");
    let (_, other) = house.signed_in(house.ada, "app.example");
    let (mut mine, mut others) = (open(&house, "/reports/x", &token), open(&house, "/reports/x", &other));
    let mut nobodys = open(&house, "/public/x", &token);
    house.end(session);
    let (code, after) = ends(&mut mine);
    assert_eq!(code, Some(1008));
    assert!(after < BOUND, "{after:?}");
    pause(1200);
    assert!(works(&mut others) && works(&mut nobodys));
    let closed =
        received.lock().unwrap().iter().filter(|(opcode, ..)| *opcode == 8).cloned().collect::<Vec<_>>();
    assert_eq!(
        closed,
        [(8, true, 1001_u16.to_be_bytes().to_vec())],
        "the upstream hears it as from a client"
    );
}

#[test]
fn proxy_17_f21_f22_a_websocket_ends_with_the_account_the_role_and_the_policy() {
    let house = house();
    let token = || house.signed_in(house.ada, "app.example").1;
    let mut reports = open(&house, "/reports/x", &token());
    house.let_analysts_read(false);
    assert_eq!(ends(&mut reports).0, Some(1008), "the role");
    let mut chat = open(&house, "/open/x", &token());
    end_all(&house, house.ada, crate::sys::Clock::now(&*house.clock));
    let (code, after) = ends(&mut chat);
    assert!(code == Some(1008) && after < BOUND, "the account: {code:?}");

    let house = self::house();
    let token = || house.signed_in(house.ada, "app.example").1;
    let mut open_one = open(&house, "/open/x", &token());
    house.reconfigure(&[passing(usual(house.upstream.address), Span::minutes(5))]);
    pause(1200);
    assert!(works(&mut open_one), "a policy that lets it through as well");
    let (mut elsewhere, answer) = handshake(
        &house,
        "/open/x",
        &[("cookie", &format!("cardea={}", token())), ("Origin", "https://chat.example.com")],
    );
    assert!(answer.status == 101 && works(&mut elsewhere));
    let mut narrow = passing(usual(house.upstream.address), Span::minutes(5));
    narrow.websocket.as_mut().unwrap().origins.clear();
    house.reconfigure(&[narrow]);
    assert_eq!(ends(&mut elsewhere).0, Some(1008), "the site is not named any more");
    assert!(works(&mut open_one));
    house.reconfigure(&[usual(house.upstream.address)]);
    assert_eq!(ends(&mut open_one).0, Some(1008), "no WebSockets any more");
}

#[test]
fn proxy_17_a_websocket_is_told_to_come_back_when_its_app_is_worked_on() {
    let house = house();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (mut theirs, mut nobodys) = (open(&house, "/open/x", &token), open(&house, "/public/x", ""));
    let mut shut = passing(usual(house.upstream.address), Span::minutes(5));
    shut.maintenance = Some("Back at 14:00.".to_owned());
    house.reconfigure(&[shut]);
    for client in [&mut theirs, &mut nobodys] {
        let (code, after) = ends(client);
        assert!(code == Some(1012) && after < BOUND, "{code:?}, {after:?}");
    }
}

fn end_all(house: &House, user: UserId, now: Timestamp) {
    house.runtime.block_on(async {
        let mut tx = house.db.begin().await.unwrap();
        crate::store::sessions::end_of(&mut tx, user, None, "a test", now).await.unwrap();
        tx.commit(now).await.unwrap();
    });
}

#[test]
fn proxy_17_a_websocket_ends_when_time_is_up_and_traffic_is_use() {
    let house = house();
    let token = || house.signed_in(house.ada, "app.example").1;
    let (mut busy, mut idle) = (open(&house, "/open/x", &token()), open(&house, "/open/x", &token()));
    for _ in 0..3 {
        house.advance(Span::minutes(40));
        assert!(works(&mut busy));
        pause(1200);
    }
    assert_eq!(ends(&mut idle).0, Some(1008));
    assert!(works(&mut busy));
    house.advance(Span::hours(7));
    assert_eq!(ends(&mut busy).0, Some(1008));
}

#[test]
fn proxy_17_in_the_middle_of_a_frame_nothing_is_said() {
    let house = house();
    house.upstream.behave(|seen, stream, _| {
        accept(seen, stream, "");
        let _ = stream.write_all(&[0x82, 100, b'x', b'y']);
        let _ = stream.read(&mut [0; 1]);
        false
    });
    let (session, token) = house.signed_in(house.ada, "app.example");
    let (mut client, answer) = handshake(&house, "/open/x", &[("cookie", &format!("cardea={token}"))]);
    assert_eq!(answer.status, 101);
    house.end(session);
    let mut got = client.rest.clone();
    let error = loop {
        let mut buffer = [0; 100];
        match client.stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => got.extend(&buffer[..read]),
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset));
    assert!(got.len() <= 4, "{got:?}");
}

#[test]
fn a_websocket_on_which_nothing_is_said_ends() {
    let house = house_with(Span::seconds(1));
    let mut client = open(&house, "/public/x", "");
    for _ in 0..4 {
        pause(400);
        assert!(works(&mut client), "it is in use");
    }
    let (code, after) = ends(&mut client);
    assert_eq!(code, Some(1001));
    assert!(after > Duration::from_millis(900) && after < Duration::from_secs(3), "{after:?}");
}

#[test]
fn a_websocket_does_not_hold_a_stop_up() {
    let mut house = house();
    let mut client = open(&house, "/public/x", "");
    house.stop.send_replace(true);
    assert_eq!(ends(&mut client).0, Some(1001));
    let begun = Stopwatch::start();
    house.thread.take().unwrap().join().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2800), "before the time to stop is over");
}

#[test]
fn a_side_that_has_said_all_may_still_listen() {
    let house = house();
    house.upstream.behave(|seen, stream, rest| {
        accept(seen, stream, "");
        let got = frame(stream, rest);
        let end = frame(stream, rest);
        assert!(got.is_some() && end.is_none(), "the client's end is passed on");
        let _ = stream.write_all(&unmasked(1, b"last"));
        false
    });
    let (mut client, answer) = handshake(&house, "/public/x", &[]);
    assert_eq!(answer.status, 101);
    client.send(&masked(1, b"first"));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(next(&mut client), Some((1, b"last".to_vec())));
    assert!(client.closed());
}

#[test]
fn proxy_21_a_tunnel_holds_back_whoever_is_faster() {
    let house = house();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    house.upstream.behave(move |seen, stream, _| {
        accept(seen, stream, "");
        stream.set_nonblocking(true).unwrap();
        let (piece, mut idle) = (vec![b'x'; 65536], 0);
        while idle < 30 && count.load(Ordering::Relaxed) < 200 << 20 {
            if let Ok(n) = stream.write(&piece) {
                count.fetch_add(n, Ordering::Relaxed);
                idle = 0;
            } else {
                idle += 1;
                pause(20);
            }
        }
        false
    });
    let (mut client, answer) = handshake(&house, "/public/x", &[]);
    assert_eq!(answer.status, 101);
    // The client reads nothing.
    pause(1000);
    let taken = written.load(Ordering::Relaxed);
    assert!((1..32 << 20).contains(&taken), "{taken} bytes were taken");
    // And nothing is lost of what it reads later.
    let mut read = client.rest.len();
    let mut buffer = vec![0; 65536];
    while let Ok(n @ 1..) = client.stream.read(&mut buffer) {
        assert!(buffer[..n].iter().all(|byte| *byte == b'x'));
        read += n;
    }
    assert_eq!(read, written.load(Ordering::Relaxed));
}

#[test]
fn a_client_that_goes_away_takes_its_tunnel_along() {
    let house = house();
    let gone = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&gone);
    house.upstream.behave(move |seen, stream, rest| {
        accept(seen, stream, "");
        while frame(stream, rest).is_some() {}
        noted.fetch_add(1, Ordering::Relaxed);
        false
    });
    let (client, answer) = handshake(&house, "/public/x", &[]);
    assert_eq!(answer.status, 101);
    drop(client);
    for _ in 0..300 {
        if gone.load(Ordering::Relaxed) == 1 {
            return;
        }
        pause(10);
    }
    panic!("the upstream was not told");
}
