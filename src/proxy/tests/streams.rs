//! Answers and requests that take their time: events, invitations, interim answers, ranges, much data.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::house::{House, Plan, Recorded, pause, reply, route, rule};
use crate::proxy::{Front, Settings};
use crate::sys::Stopwatch;

/// Reads until what was read ends so.
fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(end.as_bytes()) {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "it ended after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(text).unwrap()
}

/// On both fronts.
fn fronts() -> [House; 2] {
    [Front::Strict, Front::Hyper].map(|front| {
        House::with(Plan { settings: Settings { front, ..Settings::default() }, ..Plan::default() })
    })
}

#[test]
fn proxy_21_each_event_arrives_before_the_next_is_sent() {
    for house in fronts() {
        for framing in ["transfer-encoding: chunked\r\n", "connection: close\r\n"] {
            let (allow, allowed) = mpsc::channel::<()>();
            let allowed = Mutex::new(allowed);
            let chunked = framing.contains("chunked");
            house.upstream.behave(move |_, stream, _| {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n");
                let mut fine = reply(stream, &head);
                let allowed = allowed.lock().unwrap();
                for n in 0..50 {
                    let event = format!("data: {n:02}\n\n");
                    fine &= if chunked {
                        reply(stream, &format!("{:x}\r\n{event}\r\n", event.len()))
                    } else {
                        reply(stream, &event)
                    };
                    // Only what arrived lets the next one go.
                    if allowed.recv_timeout(Duration::from_secs(10)).is_err() {
                        return false;
                    }
                }
                fine && chunked && reply(stream, "0\r\n\r\n")
            });
            let mut client = house.connect();
            client.send(b"GET /public/events HTTP/1.1\r\nHost: app.example\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n");
            for n in 0..50 {
                let text = until(&mut client.stream, &format!("data: {n:02}\n\n\r\n"));
                assert!(n > 0 || (text.contains("text/event-stream") && !text.contains("content-encoding")));
                allow.send(()).unwrap();
            }
            assert_eq!(until(&mut client.stream, "0\r\n\r\n"), "0\r\n\r\n");
            assert_eq!(house.upstream.last().one("accept-encoding"), "gzip", "as the client said");
        }
    }
}

#[test]
fn proxy_01_whoever_is_refused_is_never_asked_for_the_body() {
    for house in fronts() {
        let (_, token) = house.signed_in(house.ada, "app.example");
        for (target, status) in [("/open/x", "401"), ("/admin/x", "403"), ("/none/x", "403")] {
            let cookie = if status == "401" { "" } else { token.as_str() };
            let mut client = house.connect();
            client.send(
                format!(
                    "POST {target} HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={cookie}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
                )
                .as_bytes(),
            );
            let text = until(&mut client.stream, "}");
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {text}");
        }
        assert_eq!(house.upstream.count(), 0);
        let mut client = house.connect();
        client.send(
            format!(
                "POST /open/x HTTP/1.1\r\nHost: app.example\r\nCookie: cardea={token}\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(until(&mut client.stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(b"hello");
        let answer = client.answer(false);
        assert_eq!((answer.status, house.upstream.last().body.as_slice()), (200, &b"hello"[..]));
        assert!(house.upstream.last().all("expect").is_empty(), "it was for us");
    }
}

#[test]
fn proxy_01_ranges_are_between_client_and_upstream() {
    for house in fronts() {
        house.upstream.behave(|seen, stream, _| {
            let range = seen.all("range").first().copied().unwrap_or_default().to_owned();
            match range.as_str() {
                "bytes=2-4" => reply(stream, "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/10\r\netag: \"v1\"\r\ncontent-length: 3\r\n\r\ncde"),
                "bytes=0-1,4-5" => reply(stream, "HTTP/1.1 206 Partial Content\r\ncontent-type: multipart/byteranges; boundary=x\r\ncontent-length: 2\r\n\r\n--"),
                _ => reply(stream, "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */10\r\ncontent-length: 0\r\n\r\n"),
            }
        });
        let mut client = house.connect();
        let conditions = [
            ("range", "bytes=2-4"),
            ("if-range", "\"v1\""),
            ("if-none-match", "W/\"a\", \"b\""),
            ("if-match", "*"),
        ];
        let answer = client.ask("GET", "app.example", "/public/x", &conditions);
        assert_eq!((answer.status, answer.text().as_str()), (206, "cde"));
        assert_eq!(
            (answer.field("content-range"), answer.field("etag")),
            (Some("bytes 2-4/10"), Some("\"v1\""))
        );
        for (name, value) in conditions {
            assert_eq!(house.upstream.last().one(name), value);
        }
        let answer = client.ask("GET", "app.example", "/public/x", &[("range", "bytes=0-1,4-5")]);
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (206, Some("multipart/byteranges; boundary=x"))
        );
        let answer = client.ask("GET", "app.example", "/public/x", &[("range", "bytes=90-")]);
        assert_eq!((answer.status, answer.field("content-range")), (416, Some("bytes */10")));
        assert_eq!(house.upstream.last().connection, 1, "and the connection goes on");
    }
}

#[test]
fn proxy_21_a_body_passes_as_it_is_whatever_it_claims_to_be() {
    for house in fronts() {
        // What would be a gigabyte if anybody unpacked it, and what cannot be unpacked at all.
        house.upstream.say("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot, zip!");
        let answer = house.ask("GET", "app.example", "/public/x", &[]);
        assert_eq!((answer.field("content-encoding"), answer.text().as_str()), (Some("gzip"), "not, zip!"));
        let mut client = house.connect();
        client.send(b"POST /public/x HTTP/1.1\r\nHost: app.example\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\n\0\xff\x01");
        assert_eq!(client.answer(false).status, 200);
        let seen = house.upstream.last();
        assert_eq!((seen.one("content-encoding"), seen.body.as_slice()), ("br", &b"\0\xff\x01"[..]));
    }
}

#[test]
fn proxy_22_interim_answers_are_passed_over_and_a_flood_of_them_ends() {
    for house in fronts() {
        house.upstream.say(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x.css>; rel=preload\r\nset-cookie: cardea=forged\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        );
        let mut client = house.connect();
        client.send(b"GET /public/x HTTP/1.1\r\nHost: app.example\r\n\r\n");
        let text = until(&mut client.stream, "\r\n\r\nok");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("103"), "{text}");
        assert_eq!(client.ask("GET", "app.example", "/public/y", &[]).text(), "ok");
        assert_eq!(house.upstream.last().connection, 1);
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        house.upstream.behave(move |_, stream, _| {
            while reply(stream, "HTTP/1.1 103 Early Hints\r\nlink: </x.css>; rel=preload\r\n\r\n") {
                count.fetch_add(1, Ordering::Relaxed);
            }
            false
        });
        let begun = Stopwatch::start();
        assert_eq!(house.ask("GET", "app.example", "/public/z", &[]).status, 502);
        assert!(begun.elapsed() < Duration::from_secs(3), "well before any time limit");
    }
}

#[test]
fn proxy_20_both_bodies_move_at_the_same_time() {
    const SIZE: usize = 8 << 20;
    for house in fronts() {
        // An echo: each side stops reading if the other does, so whoever moved one body first would hang.
        house.upstream.behave(|_, stream, rest| {
            let _ = reply(stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
            let mut left = SIZE;
            let mut buffer = vec![0; 65536];
            while left > 0 {
                if rest.is_empty() {
                    let read = stream.read(&mut buffer).unwrap_or(0);
                    if read == 0 {
                        return false;
                    }
                    rest.extend_from_slice(&buffer[..read]);
                }
                left -= rest.len();
                if stream.write_all(rest).is_err() {
                    return false;
                }
                rest.clear();
            }
            true
        });
        let mut client = house.connect();
        client.send(
            format!("POST /public/manual HTTP/1.1\r\nHost: app.example\r\nContent-Length: {SIZE}\r\n\r\n")
                .as_bytes(),
        );
        let mut writing = client.stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let piece = vec![b'x'; 65536];
            (0..SIZE / piece.len()).all(|_| writing.write_all(&piece).is_ok())
        });
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.body.len()), (200, SIZE));
        assert!(answer.body.iter().all(|byte| *byte == b'x'));
        assert!(writer.join().unwrap());
    }
}

fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn proxy_21_three_hundred_megabytes_each_way_in_flat_memory() {
    const SIZE: usize = 300 << 20;
    const MOST: usize = 64 << 20;
    fn read(stream: &mut TcpStream, mut left: usize, top: &AtomicUsize) {
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
            top.fetch_max(memory(), Ordering::Relaxed);
        }
    }
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            vec![route("app", "app.example", &[upstream], vec![rule("/*", "public")])]
        }),
        ..Plan::default()
    });
    let top = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&top);
    house.upstream.behave(move |recorded: &mut Recorded, stream, rest| {
        let piece = vec![b'x'; 1 << 18];
        if recorded.line.starts_with("GET") {
            let _ = reply(stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
            return (0..SIZE / piece.len()).all(|_| stream.write_all(&piece).is_ok());
        }
        read(stream, SIZE - rest.len(), &seen);
        rest.clear();
        reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    });
    let before = memory();
    let mut client = house.connect();
    client.send(b"GET /x HTTP/1.1\r\nHost: app.example\r\n\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    // A slow reader is no reason to keep the answer in memory.
    pause(500);
    top.fetch_max(memory(), Ordering::Relaxed);
    read(&mut client.stream, SIZE, &top);
    client.send(
        format!("PUT /manual HTTP/1.1\r\nHost: app.example\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes(),
    );
    let piece = vec![b'y'; 1 << 18];
    for _ in 0..SIZE / piece.len() {
        client.send(&piece);
    }
    assert_eq!(client.answer(false).status, 200);
    // Other tests of this process run beside it; the body alone would be ten times as much.
    let grown = top.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < MOST, "memory grew by {grown}");
}
