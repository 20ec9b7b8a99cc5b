//! Where one message ends and the next begins: nothing here may be read in two ways.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::house::{Client, House, Plan, pause, reply};
use crate::domain::Span;
use crate::domain::target::Target;
use crate::proxy::view::{Length, MOST_FIELDS, View};
use crate::proxy::wire::{Body, Ends, Head as _, Malformed, Request};
use crate::proxy::{Front, Settings};

const HOST: &str = "Host: app.example\r\n";

#[test]
fn proxy_13_f27_every_shape_that_can_be_read_in_two_ways_is_refused() {
    let house = House::new();
    let post = |fields: &str, body: &str| format!("POST /public/x HTTP/1.1\r\n{HOST}{fields}\r\n{body}");
    let chunked = |body: &str| {
        post("Transfer-Encoding: chunked\r\n", &format!("{body}GET /public/in HTTP/1.1\r\n{HOST}\r\n"))
    };
    let smuggled = "0\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let mut shapes: Vec<String> = Vec::new();
    // Two lengths, or a length beside a coding, in both orders and all spellings.
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: \r\n",
        "Content-Length: five\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\r\n\tContent-Length: 5\r\n",
        "Content-Length: 5\r\n 5\r\n",
        "Content-Length: 5\u{b}\r\n",
        "Content-Length: \u{c}5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: x-chunked\r\n",
        "Transfer-Encoding: chunked\u{b}\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: chunked\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\rContent-Length: 4\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        "X Y: a\r\n",
        ": a\r\n",
        "X\r\n",
        "(X): a\r\n",
        "X: a\u{7f}\r\n",
    ] {
        shapes.push(post(fields, smuggled));
    }
    // Chunks that somebody is lenient about.
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhellohello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\n\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x y\r\nhello\r\n0\r\n\r\n",
        "5;x\ty\r\nhello\r\n0\r\n\r\n",
        "5; x\r\nhello\r\n0\r\n\r\n",
        "0;GET /public/smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "5;x\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nx\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\n\r\n",
        "5\r\nhello\r\n0\r\n bad\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad name: x\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        ";\r\n\r\n",
        "\r\n\r\n",
    ] {
        shapes.push(chunked(body));
    }
    shapes.extend(broken_chunks().iter().map(|body| chunked(body)));
    shapes.push(chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300))));
    shapes.push(chunked(&format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "y".repeat(9000))));
    // Lines that end in other ways, and first lines that are none.
    for text in [
        format!("GET /public/x HTTP/1.1\n{HOST}\r\n"),
        format!("GET /public/x HTTP/1.1\r{HOST}\r\n"),
        "GET /public/x HTTP/1.1\nHost: app.example\n\n".to_owned(),
        "GET /public/x HTTP/1.1\r\nHost: app.example\n\r\n".to_owned(),
        format!("GET  /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /public/x  HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET\t/public/x\tHTTP/1.1\r\n{HOST}\r\n"),
        format!(" GET /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/1.1 \r\n{HOST}\r\n"),
        format!("GET /public/x http/1.1\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/1.2\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/1.10\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/0.9\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/3.0\r\n{HOST}\r\n"),
        format!("GET /public/x\r\n{HOST}\r\n"),
        format!("GET /public/x\u{e9} HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /public/x#y HTTP/1.1\r\n{HOST}\r\n"),
        format!("G\0T /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("G(T /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("\r\n\r\nGET /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("POST /public/x HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned(),
        "\0".to_owned(),
    ] {
        shapes.push(text);
    }
    assert!(shapes.len() > 300);
    for shape in shapes {
        let before = house.upstream.count();
        let mut client = house.connect();
        client.send(shape.as_bytes());
        let status = client.answer(false).status;
        assert!(matches!(status, 400 | 431 | 505), "{shape:?} gave {status}");
        let _ = client.stream.write_all(b"GET /public/after HTTP/1.1\r\nHost: app.example\r\n\r\n");
        assert!(client.closed(), "{shape:?} left the connection open");
        // A head that is in order may have reached the upstream before its body turned out not to be; never more than that.
        for seen in house.upstream.seen().iter().skip(before) {
            assert_eq!(seen.line, "POST /public/x HTTP/1.1", "{shape:?}");
            assert!(seen.body.is_empty() || seen.body == b"hello", "{shape:?}: {seen:?}");
        }
    }
    assert_eq!(house.ask("GET", "app.example", "/public/x", &[]).status, 200);
}

/// A body in chunks with one byte too many, too few or another at every place where the grammar (RFC 9112 §7.1) knows one
/// byte only.
fn broken_chunks() -> Vec<String> {
    const ODD: [char; 9] = ['\n', '\r', ' ', '\t', '\0', '\u{b}', 'X', ':', '\u{e9}'];
    let right = "5\r\nhello\r\n0\r\n\r\n";
    let ends: Vec<usize> = right.match_indices(['\r', '\n']).map(|(at, _)| at).collect();
    let mut broken = Vec::new();
    for at in (0..right.len()).filter(|at| !(4..8).contains(at)) {
        for odd in ODD {
            // An LF of its own behind the last CR would be the right end, and belong to what follows after that.
            if (at, odd) != (right.len() - 1, '\n') {
                broken.push(format!("{}{odd}{}", &right[..at], &right[at..]));
            }
            if ends.contains(&at) && !right[at..].starts_with(odd) {
                broken.push(format!("{}{odd}{}", &right[..at], &right[at + 1..]));
            }
        }
        if ends.contains(&at) {
            broken.push(format!("{}{}", &right[..at], &right[at + 1..]));
        }
    }
    // What some readers pass over where the CR LF behind a chunk's data belongs.
    for after in
        ["", "\n", "\n\n", "\r", "\r\r", "\n\r", "X\n", "X\r\n", "\r\n\r\n", ";\r\n", " \r\n", "\r \n", "\rX"]
    {
        broken.push(format!("5\r\nhello{after}0\r\n\r\n"));
        broken.push(format!("5\r\nhello{after}5\r\nworld\r\n0\r\n\r\n"));
    }
    // Trailers whose lines end in other ways.
    for trailers in [
        "x: y\n",
        "x: y\r",
        "x: y\r\r\n",
        "x: y\rz: z\r\n",
        "x: y\n\r\n",
        "\nx: y\r\n",
        "\rx: y\r\n",
        " x: y\r\n",
        "x: y\r\n z\r\n",
        "x : y\r\n",
        "x\r\n",
        ": y\r\n",
        "x: \0\r\n",
    ] {
        broken.push(format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    }
    broken
}

#[test]
fn proxy_22_f27_no_chunk_of_an_upstream_is_read_in_two_ways() {
    let house = House::new();
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for shape in broken_chunks() {
        for whole in [true, false] {
            let sent = shape.clone();
            house.upstream.behave(move |_, stream, _| {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                if whole {
                    return reply(stream, &format!("{head}{sent}{poison}"));
                }
                let begun = reply(stream, &format!("{head}3\r\nabc\r\n"));
                pause(1);
                begun && reply(stream, &format!("{sent}{poison}"))
            });
            let mut client = house.connect();
            client.send(format!("GET /public/x HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").as_bytes());
            let mut all = Vec::new();
            let _ = client.stream.read_to_end(&mut all);
            let text = String::from_utf8_lossy(&all);
            let refused = text.starts_with("HTTP/1.1 502 ");
            let broken = text.starts_with("HTTP/1.1 200 ") && !text.ends_with("0\r\n\r\n");
            assert!(refused || (!whole && broken), "{shape:?} gave {text}");
            assert!(!text.contains("poison"), "{shape:?} gave {text}");
            house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            assert_eq!(house.ask("GET", "app.example", "/public/y", &[]).text(), "ok", "after {shape:?}");
        }
    }
}

#[test]
fn proxy_13_no_request_has_the_rest_of_its_connection_read_by_another_reader() {
    let house = House::new();
    let lenient = format!(
        "POST /public/y HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    for (host, path, more, statuses) in [
        ("nowhere.example", "/x", "", "404"),
        ("app.example", "/reports/x", "", "401"),
        ("app.example", "/public/x", "Connection: Upgrade\r\n", "400"),
        ("app.example", "/public/x", "Content-Length: 3\r\n", "400"),
    ] {
        for together in [true, false] {
            let first = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Upgrade: websocket\r\n\r\n");
            let before = house.upstream.count();
            let mut client = house.connect();
            if together {
                client.send(format!("{first}{lenient}").as_bytes());
            } else {
                client.send(first.as_bytes());
                pause(50);
                // It may be closed already.
                let _ = client.stream.write_all(lenient.as_bytes());
            }
            let mut all = Vec::new();
            let _ = client.stream.read_to_end(&mut all);
            let text = String::from_utf8_lossy(&all);
            assert!(text.starts_with(&format!("HTTP/1.1 {statuses} ")), "{first:?}: {text}");
            assert!(!text.contains("HTTP/1.1 200 "), "{first:?}: {text}");
            assert_eq!(house.upstream.count(), before, "{first:?}");
        }
    }
}

#[test]
fn what_is_odd_and_clear_is_taken() {
    let house = House::new();
    for text in [
        format!("\r\nGET /public/x HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /public/x HTTP/1.1\r\n{HOST}X:\r\nY:  \t \r\nZ:a\tb\u{e9}\r\n\r\n"),
        format!("POST /public/x HTTP/1.1\r\n{HOST}Content-Length: 0005\r\n\r\nhello"),
        format!(
            "POST /public/x HTTP/1.1\r\n{HOST}tRANSFER-eNCODING: \t CHUNKED \r\n\r\n05;a=\"b\";c\r\nhello\r\n000\r\nx: y\r\n\r\n"
        ),
        format!("M-SEARCH /public/x HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"),
    ] {
        let mut client = house.connect();
        client.send(text.as_bytes());
        assert_eq!(client.answer(false).status, 200, "{text:?}");
        let seen = house.upstream.last();
        assert_eq!(seen.body, if text.contains("hello") { &b"hello"[..] } else { b"" }, "{text:?}");
        assert!(seen.all("x").iter().all(|value| value.is_empty()), "no trailer became a field: {seen:?}");
        // And the connection goes on.
        assert_eq!(client.ask("GET", "app.example", "/public/y", &[]).status, 200, "{text:?}");
    }
}

/// One request as it was understood: what was asked, the fields, the body.
type Understood = (String, String, Vec<(String, Vec<u8>)>, Vec<u8>);

/// What the strict reader makes of bytes: the first request, if it takes it whole.
fn strictly(bytes: &[u8]) -> Option<Understood> {
    let length = Ends::default().find(bytes, 32 * 1024).ok()??;
    let read = Request::read(&bytes[..length], MOST_FIELDS).ok()?;
    let view = View {
        method: read.method,
        target: read.target,
        fields: &read.fields,
        peer: "127.0.0.1:1".parse().unwrap(),
        certificate: None,
    };
    let mut from = match view.framing().ok()? {
        Length::Nothing => Body::NOTHING,
        Length::Exact(length) => Body::Exact(length),
        Length::Chunked if read.old => return None,
        Length::Chunked => Body::chunked(),
    };
    let (mut body, mut used) = (Vec::new(), length);
    while !from.ended() {
        let piece = from.take(&bytes[used..]).ok()?;
        body.extend_from_slice(piece.data);
        used += piece.used;
        if piece.used == 0 {
            return None;
        }
    }
    let fields = read
        .fields
        .iter()
        .map(|(name, value)| (String::from_utf8(name.to_ascii_lowercase()).unwrap(), value.to_vec()))
        .collect();
    Some((read.method.to_owned(), read.target.to_owned(), fields, body))
}

/// What the library makes of them.
async fn by_the_library(bytes: &[u8]) -> Option<Understood> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let seen = Arc::new(Mutex::new(None));
    let into = Arc::clone(&seen);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let into = Arc::clone(&into);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let fields =
                    parts.headers.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect();
                let understood =
                    (parts.method.to_string(), parts.uri.to_string(), fields, body.to_bytes().to_vec());
                into.lock().unwrap().get_or_insert(understood);
            }
            let mut answer = http::Response::new(http_body_util::Empty::<bytes::Bytes>::new());
            answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    // A client that has said everything and reads on is no reason to drop what it said.
    let mut library = hyper::server::conn::http1::Builder::new();
    let serving = library.half_close(true).serve_connection(TokioIo::new(server), service);
    let asking = async {
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let (_, ()) = tokio::join!(serving, asking);
    seen.lock().unwrap().take()
}

/// Requests that are nearly in order.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("M-SEARCH"), Just("G;T")];
    let target = "/[a-z0-9%?=&;:@!$'()*+,/._~-]{0,20}";
    let version = prop_oneof![8 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/1.2")];
    let field = prop_oneof![
        4 => ("[A-Za-z][A-Za-z0-9_-]{0,10}", "[ -~\t]{0,20}").prop_map(|(n, v)| format!("{n}: {v}\r\n")),
        1 => "[ -~]{0,15}".prop_map(|text| format!("{text}\r\n")),
        1 => ("[a-zA-Z]{1,5}[ \t:(]{0,2}", "[ -~\r\n\t\u{b}\u{e9}]{0,8}").prop_map(|(n, v)| format!("{n}:{v}\r\n")),
    ];
    let framing = prop_oneof![
        2 => Just(String::new()),
        4 => (0_u8..12).prop_map(|length| format!("Content-Length: {length}\r\n")),
        4 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
        1 => Just("transfer-encoding: Chunked\r\nContent-Length: 3\r\n".to_owned()),
        1 => Just("Content-Length: 3\r\ncontent-length: 3\r\n".to_owned()),
        1 => Just("Transfer-Encoding: gzip, chunked\r\n".to_owned()),
        1 => Just("Content-Length: +3\r\n".to_owned()),
    ];
    let content = prop_oneof![
        3 => "[a-z]{0,12}",
        3 => proptest::collection::vec("[a-z]{1,9}", 0..4).prop_map(|parts| {
            let chunks: Vec<String> = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
            format!("{}0\r\n\r\n", chunks.concat())
        }),
        1 => "[0-9a-f]{1,2}(;[a-z=]{0,4})?\r\n[a-z]{0,12}\r\n0\r\n(x: y\r\n)?\r\n",
        1 => "[0-9a-f;\r\n ]{0,20}",
    ];
    let fields = proptest::collection::vec(field, 0..5);
    let mutation = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..12);
    (method, target, version, fields, framing, content, mutation).prop_map(
        |(method, target, version, fields, framing, content, (at, byte, kind))| {
            let text = format!(
                "{method} {target} {version}\r\nHost: a\r\n{}{framing}\r\n{content}GET /second HTTP/1.1\r\nHost: a\r\n\r\n",
                fields.concat()
            );
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                3 => bytes.insert(at, b"\r\n \t\0:;"[usize::from(byte) % 7]),
                _ => {}
            }
            bytes
        },
    )
}

#[test]
fn proxy_13_what_the_strict_reader_takes_the_library_reads_alike() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut taken, mut bodies) = (0, 0);
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 6_000, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let (taken_in, bodies_in) = (&mut taken, &mut bodies);
    let counts = std::cell::RefCell::new((taken_in, bodies_in));
    runner
        .run(&nearly(), |bytes| {
            let Some(ours) = strictly(&bytes) else { return Ok(()) };
            // The library drops a fragment without a word; here such a target comes to nothing a step later.
            if ours.1.contains('#') {
                prop_assert!(Target::parse(&ours.1).is_err());
                return Ok(());
            }
            let Some(theirs) = runtime.block_on(by_the_library(&bytes)) else {
                // Targets are judged by `Target` here, so the library may refuse one for a reason of its own. Nothing else.
                prop_assert!(
                    ours.1.parse::<http::Uri>().is_err(),
                    "only our reader takes {}",
                    bytes.escape_ascii()
                );
                return Ok(());
            };
            let mut counts = counts.borrow_mut();
            *counts.0 += 1;
            *counts.1 += usize::from(!ours.3.is_empty());
            let by_name = |understood: &Understood| {
                let mut map: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
                for (name, value) in &understood.2 {
                    map.entry(name.clone()).or_default().push(value.clone());
                }
                map
            };
            prop_assert_eq!((&ours.0, &ours.1), (&theirs.0, &theirs.1));
            prop_assert_eq!(by_name(&ours), by_name(&theirs));
            prop_assert_eq!(&ours.3, &theirs.3);
            Ok(())
        })
        .unwrap();
    assert!(taken > 1_000 && bodies > 500, "too few were taken to say anything: {taken}, {bodies}");
}

proptest! {
    #[test]
    fn proxy_13_chunks_are_read_alike_however_they_arrive(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6),
        cuts in proptest::collection::vec(1_usize..9, 1..40),
    ) {
        let mut bytes = Vec::new();
        for part in &parts {
            crate::proxy::outflow::chunk(&mut bytes, part);
        }
        bytes.extend_from_slice(b"0\r\nx: y\r\n\r\nrest");
        let (mut body, mut got, mut at, mut cut) = (Body::chunked(), Vec::new(), 0, cuts.iter().cycle());
        let mut pending: Vec<u8> = Vec::new();
        while !body.ended() {
            let end = (at + cut.next().unwrap()).min(bytes.len());
            pending.extend_from_slice(&bytes[at..end]);
            at = end;
            loop {
                let piece = body.take(&pending).unwrap();
                got.extend_from_slice(piece.data);
                let used = piece.used;
                pending.drain(..used);
                if used == 0 || body.ended() {
                    break;
                }
            }
        }
        prop_assert_eq!(got, parts.concat());
        prop_assert_eq!(body.trailers(), b"x: y\r\n\r\n");
        pending.extend_from_slice(&bytes[at..]);
        prop_assert_eq!(pending, b"rest");
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), line in "[ -~\r\n]{0,200}") {
        for bytes in [bytes.as_slice(), line.as_bytes()] {
            let _ = strictly(bytes);
            let mut body = Body::chunked();
            let mut used = 0;
            while let Ok(piece) = body.take(&bytes[used..]) {
                used += piece.used;
                if piece.used == 0 || body.ended() {
                    break;
                }
            }
            let _ = crate::proxy::wire::Response::read(bytes, 10);
        }
    }
}

#[test]
fn proxy_13_a_line_that_ends_wrong_is_refused_before_the_rest_comes() {
    for text in [
        "5\n",
        "5\rX",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\rX",
        "0\r\n\n",
        "0\r\n\rX",
        "0\r\nx: y\n",
        "0\r\nx: y\rX",
    ] {
        let (mut body, mut used, mut refused) = (Body::chunked(), 0, false);
        while used < text.len() && !refused {
            let taken = body.take(&text.as_bytes()[used..]);
            refused = taken.is_err();
            used += taken.map_or(0, |piece| piece.used);
        }
        assert!(refused, "{text:?}");
    }
}

#[test]
fn a_head_is_looked_for_once_however_it_drips() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let mut ends = Ends::default();
    for upto in 0..head.len() - 4 {
        assert_eq!(ends.find(&head[..upto], 100), Ok(None), "{upto}");
    }
    assert_eq!(ends.find(head, 100), Ok(Some(head.len() - 4)));
    assert_eq!(Ends::default().find(head, 20), Err(Malformed::Large));
    assert_eq!(Ends::default().find(b"GET /\n", 20), Err(Malformed::LineEnd));
}

/// What an upstream answers about a request: its path and body, so that a mixed-up answer is found out.
fn echo(seen: &super::house::Recorded, rest: &[u8]) -> String {
    let path = seen.line.split(' ').nth(1).unwrap_or_default();
    format!("{path} {} {}", rest.len(), rest.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn f25_f27_mixed_traffic_under_random_closes_mixes_nothing_up() {
    for front in [Front::Strict, Front::Hyper] {
        mixed(front);
    }
}

fn mixed(front: Front) {
    let house = Arc::new(House::with(Plan {
        settings: Settings { front, grace: Span::seconds(3), ..Settings::default() },
        ..Plan::default()
    }));
    let turn = AtomicUsize::new(1);
    house.upstream.behave(move |seen, stream, _| {
        let text = echo(seen, &seen.body);
        let mut dice = Dice(turn.fetch_add(0x9e37_79b9, Ordering::Relaxed) as u64 | 1);
        dice.roll(2);
        let sent = match dice.roll(4) {
            0 => reply(stream, &format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())),
            1 => {
                let (a, b) = text.split_at(text.len() / 2);
                let _ = reply(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                let _ = reply(stream, &format!("{:x}\r\n{a}\r\n", a.len()));
                reply(stream, &format!("{:x};x=y\r\n{b}\r\n0\r\n\r\n", b.len()))
            }
            2 => {
                let _ = reply(stream, &format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{text}"));
                false
            }
            _ => {
                let _ = reply(stream, "HTTP/1.1 200 OK\r\nconte");
                pause(1);
                reply(stream, &format!("nt-length: {}\r\n\r\n{text}", text.len()))
            }
        };
        // Often it closes afterwards without having said so.
        sent && dice.roll(5) != 0
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8_u64)
        .map(|number| {
            let (house, answered) = (Arc::clone(&house), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut dice = Dice(number * 7919 + 13);
                let mut client: Option<Client> = None;
                for round in 0..60 {
                    let stream = client.get_or_insert_with(|| house.connect());
                    // One to three requests in one go.
                    let batch: Vec<(String, Vec<u8>, String)> = (0..=dice.roll(3))
                        .map(|part| {
                            let path = format!("/public/{number}-{round}-{part}");
                            let size = [0, 0, 5, 3000, 100_000][usize::try_from(dice.roll(5)).unwrap()];
                            let content = vec![b'a' + u8::try_from(dice.roll(26)).unwrap(); size];
                            let method = if size == 0 { "GET" } else { "POST" };
                            let head = format!("{method} {path} HTTP/1.1\r\n{HOST}");
                            let mut bytes = head.into_bytes();
                            if size > 0 && dice.roll(2) == 0 {
                                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                                for piece in content.chunks(1999) {
                                    crate::proxy::outflow::chunk(&mut bytes, piece);
                                }
                                bytes.extend_from_slice(b"0\r\n\r\n");
                            } else {
                                bytes.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
                                bytes.extend_from_slice(&content);
                            }
                            let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
                            (path.clone(), bytes, format!("{path} {size} {sum}"))
                        })
                        .collect();
                    let all: Vec<u8> = batch.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect();
                    for piece in all.chunks(40_000) {
                        if stream.stream.write_all(piece).is_err() {
                            break;
                        }
                    }
                    for (path, _, expected) in &batch {
                        let answer = stream.answer(false);
                        match answer.status {
                            200 => {
                                assert_eq!(answer.text(), *expected);
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            // The upstream closed at that very moment and the request may not be sent twice.
                            502 => {}
                            other => panic!("{front:?} {path}: {other}"),
                        }
                        // The library ends a connection whose body it did not read without having said so.
                        let silently = front == Front::Hyper && answer.status == 502;
                        if silently || answer.field("connection") == Some("close") {
                            client = None;
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 500, "{front:?}: {answered:?}");
}

#[test]
fn the_library_in_front_serves_as_well() {
    let settings = Settings { front: Front::Hyper, ..Settings::default() };
    let house = House::with(Plan { settings, ..Plan::default() });
    let (_, token) = house.signed_in(house.ada, "app.example");
    assert_eq!(house.get("/reports/x", &token).status, 200);
    assert_eq!(house.upstream.last().all("cardea-assertion").len(), 1);
    let mut client = house.connect();
    client.send(format!("POST /public/x HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n").as_bytes());
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(house.upstream.last().body, b"hello");
    house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    assert_eq!(client.ask("HEAD", "app.example", "/public/x", &[]).field("content-length"), Some("1234"));
    house.upstream.say("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    house.upstream.behave(|_, stream, _| {
        let _ = reply(stream, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
        false
    });
    assert_eq!(client.ask("GET", "app.example", "/public/x", &[]).text(), "until the end");
    house.upstream.behave(|_, stream, _| {
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf");
        false
    });
    let mut client = house.connect();
    client.send(format!("GET /public/x HTTP/1.1\r\n{HOST}\r\n").as_bytes());
    assert!(client.answer(false).body.len() < 50, "it breaks off");
}
