//! What is open ends with the right to it, and nobody else's does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::house::{Client, House, pause, reply, route, rule, usual};
use crate::domain::Span;
use crate::domain::policy::Access;
use crate::sys::Stopwatch;

/// What "within a second" is held to: the second, and what a busy machine takes to notice.
const BOUND: Duration = Duration::from_millis(1500);

/// Has the upstream send a piece every 20 milliseconds, in chunks, until its connection ends; counts those that ended.
fn drip(house: &House) -> Arc<AtomicUsize> {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    house.upstream.behave(move |_, stream, _| {
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\ntick\r\n").is_ok() {
            pause(20);
        }
        count.fetch_add(1, Ordering::Relaxed);
        false
    });
    ended
}

/// An answer that is open.
struct Stream {
    stream: TcpStream,
    text: Vec<u8>,
}

impl Stream {
    /// Asks, and waits for the first piece.
    fn open(house: &House, target: &str, token: &str) -> Self {
        let text = format!("GET {target} HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n");
        let mut client = house.connect();
        client.send(text.as_bytes());
        let mut stream = Self { stream: client.stream, text: Vec::new() };
        while !stream.text.ends_with(b"tick\r\n") {
            assert!(stream.read() > 0, "{}", String::from_utf8_lossy(&stream.text));
        }
        stream
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer).unwrap_or(0);
        self.text.extend_from_slice(&buffer[..read]);
        read
    }

    /// Reads to the end; how long it took.
    fn ends(&mut self) -> Duration {
        let begun = Stopwatch::start();
        while self.read() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(8), "it never ended");
        }
        assert!(!self.text.ends_with(b"0\r\n\r\n"), "the end looks like the end of the whole");
        begun.elapsed()
    }

    /// Whether it goes on for so long.
    fn goes_on(&mut self, millis: u64) -> bool {
        let begun = Stopwatch::start();
        while begun.elapsed() < Duration::from_millis(millis) {
            if self.read() == 0 {
                return false;
            }
        }
        true
    }
}

#[test]
fn sess_09_f22_an_open_answer_ends_with_its_session_and_no_other_does() {
    let house = House::new();
    let ended = drip(&house);
    let (session, token) = house.signed_in(house.ada, "app.example");
    let (_, other) = house.signed_in(house.ada, "app.example");
    let (mut mine, mut also_mine) =
        (Stream::open(&house, "/reports/x", &token), Stream::open(&house, "/open/x", &token));
    let mut others = Stream::open(&house, "/reports/x", &other);
    let mut nobodys = Stream::open(&house, "/public/x", &token);
    house.end(session);
    assert!(mine.ends() < BOUND);
    assert!(also_mine.ends() < BOUND);
    assert!(others.goes_on(1500), "another session of the same person");
    assert!(nobodys.goes_on(100), "what is open to everybody");
    for _ in 0..100 {
        if ended.load(Ordering::Relaxed) == 2 {
            break;
        }
        pause(10);
    }
    assert_eq!(ended.load(Ordering::Relaxed), 2, "the connections to the upstream ended, and those alone");
}

#[test]
fn proxy_17_an_open_answer_has_the_time_of_a_stop_when_its_app_is_worked_on() {
    let house = House::new();
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (mut theirs, mut nobodys) =
        (Stream::open(&house, "/open/x", &token), Stream::open(&house, "/public/x", &token));
    let mut shut = usual(house.upstream.address);
    shut.maintenance = Some("Back at 14:00.".to_owned());
    house.reconfigure(&[shut]);
    assert!(theirs.goes_on(1300) && nobodys.goes_on(100), "it may end by itself");
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 503);
    house.advance(house.gate.settings.grace);
    assert!(theirs.ends() < BOUND);
    assert!(nobodys.ends() < BOUND);
}

#[test]
fn proxy_26_f21_an_open_answer_ends_with_the_role_and_a_change_of_others_touches_nobody() {
    let house = House::new();
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let mut reports = Stream::open(&house, "/reports/x", &token);
    // Everybody is asked again, and everybody stands.
    house.let_analysts_read(true);
    assert!(reports.goes_on(1500));
    house.let_analysts_read(false);
    assert!(reports.ends() < BOUND);
    // What does not need the permission ends as well where the upstream was told of it.
    let mut open = Stream::open(&house, "/open/x", &token);
    house.let_analysts_read(true);
    assert!(open.ends() < BOUND);
    let mut open = Stream::open(&house, "/open/x", &token);
    assert!(open.goes_on(100), "with what holds now it opens again");
}

#[test]
fn proxy_26_an_open_answer_ends_with_the_policy_that_let_it_through() {
    let house = House::new();
    drip(&house);
    let upstream = house.upstream.address;
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (mut open, mut public) =
        (Stream::open(&house, "/open/x", &token), Stream::open(&house, "/public/x", ""));
    house.reconfigure(&[
        usual(upstream),
        route("new", "new.example", &[upstream], vec![rule("/*", "public")]),
    ]);
    assert!(open.goes_on(1200) && public.goes_on(100), "a change elsewhere is none here");
    let mut closed = usual(upstream);
    closed.rules.retain(|rule| !matches!(rule.access, Access::Public));
    house.reconfigure(&[closed]);
    assert!(public.ends() < BOUND, "public no more");
    assert!(open.goes_on(100));
    house.reconfigure(&[route("app", "app.example", &[upstream], vec![rule("/*", "group:board")])]);
    assert!(open.ends() < BOUND);
}

#[test]
fn sess_09_an_open_answer_ends_when_time_is_up_and_traffic_is_use() {
    let house = House::new();
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let mut busy = Stream::open(&house, "/open/x", &token);
    let silent = Arc::new(AtomicBool::new(false));
    let quiet = Arc::clone(&silent);
    house.upstream.behave(move |_, stream, _| {
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntick\r\n");
        let _ = stream.read(&mut [0; 1]);
        quiet.store(true, Ordering::Relaxed);
        false
    });
    let (_, token) = house.signed_in(house.ada, "app.example");
    let mut idle = Stream::open(&house, "/open/x", &token);
    // An hour idle ends a session. Three times forty minutes are two hours, with traffic in between on one of them.
    for round in 0..3 {
        house.advance(Span::minutes(40));
        assert!(busy.goes_on(1500), "round {round}");
    }
    assert!(idle.ends() < BOUND && silent.load(Ordering::Relaxed));
    // Eight hours end any.
    house.advance(Span::hours(6));
    assert!(busy.ends() < Duration::from_millis(2500));
}

#[test]
fn proxy_26_a_proof_that_gets_too_old_ends_what_demands_it() {
    let house = House::new();
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (mut fresh, mut any) =
        (Stream::open(&house, "/old/x", &token), Stream::open(&house, "/open/x", &token));
    house.advance(Span::minutes(55));
    assert!(fresh.goes_on(1500) && any.goes_on(100));
    house.advance(Span::minutes(10));
    assert!(fresh.ends() < Duration::from_millis(2500));
    assert!(any.goes_on(100));
}

#[test]
fn sess_09_a_request_that_waits_for_its_answer_is_refused_when_its_session_ends() {
    let house = House::new();
    let gone = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&gone);
    house.upstream.behave(move |_, stream, _| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        noted.store(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)), Ordering::Relaxed);
        false
    });
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    client.send(
        format!("GET /open/x HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n").as_bytes(),
    );
    while house.upstream.seen().is_empty() {
        pause(5);
    }
    pause(400);
    let begun = Stopwatch::start();
    house.end(session);
    assert_eq!(client.answer(false).status, 401);
    assert!(begun.elapsed() < BOUND);
    for _ in 0..100 {
        if gone.load(Ordering::Relaxed) {
            break;
        }
        pause(10);
    }
    assert!(gone.load(Ordering::Relaxed), "the upstream is told by its connection");
    assert_eq!(house.upstream.count(), 1);
}

#[test]
fn sess_09_an_upload_ends_with_its_session() {
    let house = House::new();
    let got = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&got);
    house.upstream.behave(move |_, stream, _| {
        let mut buffer = vec![0; 65536];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            count.fetch_add(read, Ordering::Relaxed);
        }
        false
    });
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    client.send(
        format!(
            "POST /open/manual HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\nContent-Length: 1000000000\r\n\r\n"
        )
        .as_bytes(),
    );
    let mut writing = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let begun = Stopwatch::start();
        while writing.write_all(&[b'x'; 1000]).is_ok() && begun.elapsed() < Duration::from_secs(8) {
            pause(10);
        }
    });
    while got.load(Ordering::Relaxed) < 40_000 {
        pause(10);
    }
    house.end(session);
    assert_eq!(client.answer(false).status, 401);
    let then = got.load(Ordering::Relaxed);
    pause(300);
    assert_eq!(got.load(Ordering::Relaxed), then, "nothing more reaches the upstream");
    drop(client);
    writer.join().unwrap();
}

#[test]
fn sess_09_a_client_that_does_not_read_is_cut_as_well() {
    let house = House::new();
    let stopped = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&stopped);
    house.upstream.behave(move |_, stream, _| {
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        let piece = vec![b'x'; 65536];
        while stream.write_all(&piece).is_ok() {}
        noted.store(true, Ordering::Relaxed);
        false
    });
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    client.send(
        format!("GET /open/x HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n").as_bytes(),
    );
    pause(700);
    assert!(!stopped.load(Ordering::Relaxed));
    house.end(session);
    let begun = Stopwatch::start();
    while !stopped.load(Ordering::Relaxed) {
        assert!(begun.elapsed() < BOUND, "the upstream's connection is still open");
        pause(10);
    }
}

#[test]
fn sess_09_an_answer_whose_end_is_the_end_of_the_connection_is_reset() {
    let house = House::new();
    drip(&house);
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    client.send(
        format!("GET /open/x HTTP/1.0\r\nHost: app.example\r\nCookie: cardea={token}\r\n\r\n").as_bytes(),
    );
    let mut buffer = [0; 4096];
    loop {
        let read = client.stream.read(&mut buffer).unwrap();
        if buffer[..read].ends_with(b"tick") {
            break;
        }
    }
    house.end(session);
    let ended = loop {
        match client.stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(ended, Some(std::io::ErrorKind::ConnectionReset), "a clean end would say that this was all");
}

#[test]
fn proxy_03_without_a_lease_nothing_stays_open_but_what_is_public() {
    let house = House::new();
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    let (mut mine, mut public) =
        (Stream::open(&house, "/open/x", &token), Stream::open(&house, "/public/x", ""));
    house.lease.store(false, Ordering::Relaxed);
    pause(200);
    assert!(mine.goes_on(1000), "while the lease lasts");
    house.clock.advance(Span::seconds(16));
    assert!(mine.ends() < Duration::from_secs(3));
    assert!(public.goes_on(100));
}

#[test]
fn sess_09_kept_alive_connections_are_judged_anew_and_not_cut_between_requests() {
    let house = House::new();
    let (session, token) = house.signed_in(house.ada, "app.example");
    let mut client: Client = house.connect();
    let cookie = format!("cardea={token}");
    house.upstream.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!(client.ask("GET", "app.example", "/open/x", &[("cookie", &cookie)]).status, 200);
    house.end(session);
    pause(200);
    assert_eq!(client.ask("GET", "app.example", "/open/x", &[("cookie", &cookie)]).status, 401);
    assert_eq!(client.ask("GET", "app.example", "/public/x", &[("cookie", &cookie)]).status, 200);
}
