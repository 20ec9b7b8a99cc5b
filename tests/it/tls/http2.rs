//! HTTP/2 from clients: over TLS by agreement, on loopback by knowing it, and from clients that mean harm.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{Recorder, World, public_route};

const APP: &str = "app.cardea.localhost";

async fn begun(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn client(world: &World, name: &str) -> SendRequest<Bytes> {
    let mut config = world.authority.client(rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = world.connect_as(Some(name), config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    begun(stream).await
}

fn request(host: &str, path: &str) -> http::request::Builder {
    Request::builder().uri(format!("https://{host}{path}"))
}

/// Status and body.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: http::request::Builder,
    body: Option<&'static [u8]>,
) -> Result<(u16, String), h2::Error> {
    let mut ready = client.clone().ready().await?;
    let (answer, mut sending) = ready.send_request(request.body(()).unwrap(), body.is_none())?;
    if let Some(body) = body {
        sending.send_data(Bytes::from_static(body), true)?;
    }
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("no answer in time")?;
    let (parts, mut receiving) = answer.into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = receiving.data().await {
        let piece = piece?;
        receiving.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok((parts.status.as_u16(), String::from_utf8_lossy(&whole).into_owned()))
}

async fn world(upstream: &Recorder) -> World {
    World::open(&public_route("app", &format!("http://{}", upstream.address), "")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_13_http2_requests_arrive_as_one_unambiguous_message_each() {
    let upstream = Recorder::open();
    let world = world(&upstream).await;
    let mut client = client(&world, APP).await;
    let get =
        request(APP, "/a?b").header("cookie", "one=1").header("cookie", "two=2").header("te", "trailers");
    assert_eq!(ask(&mut client, get, None).await.unwrap(), (200, "hello".to_owned()));
    let seen = upstream.last();
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    assert_eq!(seen.matches("\r\nhost: app.cardea.localhost\r\n").count(), 1, "{seen}");
    assert_eq!(seen.to_lowercase().matches("\r\ncookie: one=1; two=2\r\n").count(), 1, "{seen}");
    // A length that is said and kept, and none that is said.
    let put = request(APP, "/c").method(Method::PUT).header("content-length", "5");
    assert_eq!(ask(&mut client, put, Some(b"whole")).await.unwrap().0, 200);
    assert!(upstream.last().contains("content-length: 5\r\n") && upstream.last().ends_with("\r\n\r\nwhole"));
    let post = request(APP, "/d").method(Method::POST);
    assert_eq!(ask(&mut client, post, Some(b"whole")).await.unwrap().0, 200);
    assert!(upstream.last().contains("transfer-encoding: chunked\r\n"), "{}", upstream.last());
    // Lengths that are not kept, either way, end the request, and what is said of it upstream is no whole request.
    for (said, body) in [("9", &b"short"[..]), ("2", b"long")] {
        let before = upstream.whole();
        let lie = request(APP, "/lie").method(Method::POST).header("content-length", said);
        assert!(ask(&mut client, lie, Some(body)).await.is_err(), "{said}");
        assert_eq!(upstream.whole(), before, "a request arrived whole that was none");
    }
    assert_eq!(ask(&mut client, request(APP, "/e"), None).await.unwrap().0, 200);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_proxy_16_http2_names_one_host_and_the_certificate_covers_it() {
    let upstream = Recorder::open();
    let world = world(&upstream).await;
    let mut client = client(&world, APP).await;
    for (uri, host, status) in [
        (APP, Some(APP), 200),
        (APP, Some("other.cardea.localhost"), 400),
        ("other.example", None, 421),
        ("nobody.cardea.localhost", None, 404),
        ("u@app.cardea.localhost", None, 400),
    ] {
        let before = upstream.whole();
        let mut builder = request(uri, "/");
        if let Some(host) = host {
            builder = builder.header("host", host);
        }
        let answered = ask(&mut client, builder, None).await;
        assert!(
            answered.as_ref().map_or(status == 400, |answer| answer.0 == status),
            "{uri} {host:?}: {answered:?}"
        );
        assert_eq!(upstream.whole() - before, usize::from(status == 200), "{uri} {host:?}");
    }
    // There is no CONNECT, plain or extended.
    let connect = Request::builder().method(Method::CONNECT).uri("app.cardea.localhost:443");
    assert!(ask(&mut client, connect, None).await.map_or(true, |answer| answer.0 >= 400));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_many_streams_at_a_time_and_no_more_than_agreed() {
    let upstream = Recorder::open();
    let world = world(&upstream).await;
    let client = client(&world, APP).await;
    let all = (0..300).map(|n| {
        let mut client = client.clone();
        tokio::spawn(async move { ask(&mut client, request(APP, &format!("/{n}")), None).await })
    });
    for answer in all.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().unwrap().0, 200);
    }
    assert!(client.current_max_send_streams() <= 100);
    world.running.stop().await;
}

/// Frames as bytes (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field without any table and without Huffman code (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap();
    let mut bytes = vec![0, short(name)];
    bytes.extend(name.as_bytes());
    bytes.push(short(value));
    bytes.extend(value.as_bytes());
    bytes
}

fn head(more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", APP)];
    usual.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;

/// A connection on which everything may be said.
async fn raw(world: &World) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut config = world.authority.client(rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = world.connect_as(Some(APP), config).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Says something, and gives the frames that come until the other side ends the connection or says nothing for a while.
async fn told(world: &World, bytes: Vec<Vec<u8>>) -> (Vec<(u8, Vec<u8>)>, bool) {
    let (mut reading, mut writing) = tokio::io::split(raw(world).await);
    let saying = tokio::spawn(async move {
        for piece in bytes {
            if writing.write_all(&piece).await.is_err() {
                return None;
            }
        }
        let _ = writing.flush().await;
        Some(writing)
    });
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(2), reading.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(read)) => all.extend_from_slice(&buffer[..read]),
            Err(_) => break false,
        }
    };
    drop(saying);
    let mut frames = Vec::new();
    let mut rest = &all[..];
    while let Some(payload) = rest.get(..9).map(|head| {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        rest[9..].get(..length).unwrap_or_default()
    }) {
        frames.push((rest[3], payload.to_vec()));
        rest = rest.get(9 + payload.len()..).unwrap_or_default();
    }
    (frames, ended)
}

fn has(frames: &[(u8, Vec<u8>)], kind: u8) -> bool {
    frames.iter().any(|(found, _)| *found == kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_13_http2_fields_that_would_be_another_message_elsewhere_reach_nobody() {
    let upstream = Recorder::open();
    let world = world(&upstream).await;
    for more in [
        ("X-Upper", "a"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("upgrade", "h2c"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("x-value", "a\r\nx-injected: b"),
        ("x-value", "a\nb"),
        ("x-value", "a\0b"),
        ("x name", "a"),
        ("x:name", "a"),
        ("", "a"),
        (":path", "/again"),
        (":authority", "other.example"),
        (":protocol", "websocket"),
        (":unknown", "a"),
        ("content-length", "5"),
        ("content-length", "+0"),
        ("content-length", "0, 0"),
    ] {
        let (frames, ended) = told(&world, vec![frame(HEADERS, WHOLE, 1, &head(&[more]))]).await;
        // Taken back, or the connection ended, or a refusal that says so in its head.
        let refused = has(&frames, RESET)
            || has(&frames, GOAWAY)
            || ended
            || frames.iter().any(|(kind, payload)| *kind == HEADERS && !payload.starts_with(&[0x88]));
        assert!(refused, "{more:?}: {frames:?}");
        assert_eq!(upstream.whole(), 0, "{more:?} arrived");
    }
    assert!(world.get("app", "/").await.ends_with("hello"));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_f80_floods_end_the_connection_that_makes_them_and_no_other() {
    let upstream = Recorder::open();
    let world = world(&upstream).await;
    let mut innocent = client(&world, APP).await;
    assert_eq!(ask(&mut innocent, request(APP, "/"), None).await.unwrap().0, 200);

    // CVE-2023-44487: opened and taken back at once.
    let resets = (0..5000)
        .map(|n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, WHOLE, stream, &head(&[])), frame(RESET, 0, stream, &8_u32.to_be_bytes())]
                .concat()
        })
        .collect();
    let (frames, ended) = told(&world, resets).await;
    assert!(ended && has(&frames, GOAWAY), "rapid resets went on");
    assert!(upstream.whole() < 2000, "{} requests of a flood were passed on", upstream.whole());

    // CVE-2024-27316: a header that never ends.
    let piece = field("x-a", &"y".repeat(100)).repeat(100);
    let mut endless = vec![frame(HEADERS, 1, 1, &head(&[]))];
    endless.extend((0..2000).map(|_| frame(CONTINUATION, 0, 1, &piece)));
    let (frames, ended) = told(&world, endless).await;
    assert!(ended && has(&frames, GOAWAY), "an endless header went on");

    // More header than is taken: refused, and nothing of it passed on.
    let before = upstream.whole();
    let large: Vec<Vec<u8>> = std::iter::once(frame(HEADERS, 1, 1, &head(&[])))
        .chain((0..5).map(|n| frame(CONTINUATION, if n == 4 { 4 } else { 0 }, 1, &piece)))
        .collect();
    let (frames, _) = told(&world, large).await;
    assert!(frames.iter().any(|(kind, _)| [HEADERS, RESET, GOAWAY].contains(kind)), "{frames:?}");
    assert_eq!(upstream.whole(), before);

    // Pings and settings that want to be answered, and nobody who reads the answers.
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = raw(&world).await;
        let flood = flood.repeat(500);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            // Either it ends, or it stops taking more: nothing is kept for it without bound.
            let write = tokio::time::timeout(Duration::from_millis(300), stream.write_all(&flood));
            if !write.await.is_ok_and(|written| written.is_ok()) {
                break;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(2), "it was all taken");
    }
    assert_eq!(
        ask(&mut innocent, request(APP, "/"), None).await.unwrap().0,
        200,
        "somebody else's connection"
    );
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_http2_is_known_beforehand_on_loopback_and_never_an_upgrade() {
    let upstream = Recorder::open();
    let world = World::plain(&public_route("app", &format!("http://{}", upstream.address), "")).await;
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, world.port));
    let mut client = begun(connect().await.unwrap()).await;
    let get = Request::builder().uri(format!("http://{APP}/x"));
    assert_eq!(ask(&mut client, get, None).await.unwrap(), (200, "hello".to_owned()));
    let mut stream = connect().await.unwrap();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {APP}\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_ne!(answer, b"HTTP/1.1 101");
    assert!(!upstream.last().to_lowercase().contains("upgrade"), "{}", upstream.last());
    world.running.stop().await;
}
