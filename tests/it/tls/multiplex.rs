//! HTTP/2 towards upstreams, and gRPC end to end is in `flows::grpc`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::world::{Minted, World, public_route};

const LARGE: usize = 24 * 1024 * 1024;

/// An upstream that speaks HTTP/2 and nothing else. What it answers the path says.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request<()>>>>,
    connections: Arc<AtomicUsize>,
    at_a_time: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Upstream {
    async fn open() -> Self {
        Self::over(None, 1000).await
    }

    /// Over TLS, where it agrees to HTTP/2, if there is a certificate.
    async fn over(pair: Option<&Minted>, streams: u32) -> Self {
        let acceptor = pair.map(|pair| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = rustls::ServerConfig::builder_with_provider(provider);
            let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
            let mut config = builder.with_single_cert(vec![pair.der()], pair.key()).unwrap();
            config.alpn_protocols = vec![b"h2".to_vec()];
            tokio_rustls::TlsAcceptor::from(Arc::new(config))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            at_a_time: Arc::default(),
            most: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&upstream.seen), Arc::clone(&upstream.connections));
        let (now, most) = (Arc::clone(&upstream.at_a_time), Arc::clone(&upstream.most));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, now, most) = (Arc::clone(&seen), Arc::clone(&now), Arc::clone(&most));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, streams, seen, now, most).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, streams, seen, now, most).await;
                            }
                        }
                    }
                });
            }
        });
        upstream
    }

    fn last(&self) -> Request<()> {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }

    fn route(&self, more: &str) -> String {
        public_route(
            "app",
            &format!("http://{}", self.address),
            &format!("upstream_protocol = \"http2\"\n{more}"),
        )
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    streams: u32,
    seen: Arc<Mutex<Vec<Request<()>>>>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder.max_concurrent_streams(streams).handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        seen.lock().unwrap().push(request.clone());
        let before = seen.lock().unwrap().iter().filter(|known| known.uri() == request.uri()).count();
        if request.uri().path() == "/refused" && before == 1 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        if request.uri().path() == "/goodbye" {
            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
            continue;
        }
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        tokio::spawn(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            answer(&request, body, respond).await;
            now.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(request: &Request<()>, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let head = |status: u16| Response::builder().status(status);
    match request.uri().path() {
        "/none" => drop(respond.send_response(head(204).body(()).unwrap(), true)),
        "/empty" => drop(respond.send_response(head(200).body(()).unwrap(), true)),
        "/reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "/half" => {
            let mut sending = respond.send_response(head(200).body(()).unwrap(), false).unwrap();
            sending.send_data(Bytes::from_static(b"half"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            sending.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        "/lie" => {
            let answer = head(200).header("content-length", "9").body(()).unwrap();
            let mut sending = respond.send_response(answer, false).unwrap();
            let _ = sending.send_data(Bytes::from_static(b"short"), true);
        }
        "/counted" => {
            let answer = head(200).header("content-length", "5").body(()).unwrap();
            if let Ok(mut sending) = respond.send_response(answer, request.method() == "HEAD") {
                let _ = sending.send_data(Bytes::from_static(b"hello"), true);
            }
        }
        "/large" => {
            let sending = respond.send_response(head(200).body(()).unwrap(), false).unwrap();
            send(sending, LARGE).await;
        }
        "/stuck" => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            drop((body, respond));
        }
        "/early" => drop(respond.send_response(head(413).body(()).unwrap(), true)),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = respond.send_response(head(200).body(()).unwrap(), true);
        }
        // What comes is what goes back, while it comes.
        _ => {
            let mut sending = respond.send_response(head(200).body(()).unwrap(), false).unwrap();
            let mut length = 0;
            while let Some(data) = body.data().await {
                let Ok(data) = data else { return };
                body.flow_control().release_capacity(data.len()).unwrap();
                length += data.len();
                if sending.send_data(data, false).is_err() {
                    return;
                }
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-length", length.to_string().parse().unwrap());
            // Nothing of ours comes from there, and nothing that would do the work of a header field.
            trailers.insert("set-cookie", "cardea=x".parse().unwrap());
            let _ = sending.send_trailers(trailers);
        }
    }
}

async fn send(mut sending: SendStream<Bytes>, mut left: usize) {
    while left > 0 {
        sending.reserve_capacity(left.min(16 * 1024));
        let Some(Ok(room)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else { return };
        let piece = room.min(left);
        left -= piece;
        sending.send_data(Bytes::from(vec![b'x'; piece]), left == 0).unwrap();
    }
}

/// How often the letter of which bodies are made is in there.
fn count(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches('x').count()
}

/// Sends bytes over plain HTTP/1.1 and reads to the end.
async fn raw(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn get(world: &World, method: &str, path: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: app.cardea.localhost\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
    );
    String::from_utf8_lossy(&raw(world, request.as_bytes()).await).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_01_what_an_upstream_refused_to_read_is_sent_once_more() {
    let upstream = Upstream::open().await;
    let world = World::plain(&upstream.route("")).await;
    let refused = |query: &str| format!("/refused{query}");
    // Also with a method that may change something: nothing can have come of it.
    for (method, query) in [("POST", "?1"), ("DELETE", "?2"), ("GET", "?3")] {
        let answer = get(&world, method, &refused(query)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{method}: {answer}");
    }
    assert_eq!(upstream.seen.lock().unwrap().len(), 6);
    // But not what may have been done, nor what has a body that is gone.
    let answer = get(&world, "POST", "/reset").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let body = "POST /refused?4 HTTP/1.1\r\nHost: app.cardea.localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let answer = String::from_utf8_lossy(&raw(&world, body.as_bytes()).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(upstream.seen.lock().unwrap().len(), 8);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_01_an_upstream_of_http2_answers_clients_of_http1() {
    let upstream = Upstream::open().await;
    let world = World::plain(&upstream.route("")).await;
    let answer = get(&world, "GET", "/a/b?c=d&e").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("transfer-encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("0\r\ngrpc-status: 0\r\nx-length: 0\r\n\r\n"), "{answer}");
    let seen = upstream.last();
    assert_eq!(seen.uri().to_string(), "http://app.cardea.localhost/a/b?c=d&e");
    let all =
        |name: &str| seen.headers().get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
    let (te, forwarded): (Vec<String>, Vec<String>) = (all("te"), all("x-forwarded-for"));
    assert_eq!((te, forwarded), (vec!["trailers".to_owned()], vec!["127.0.0.1".to_owned()]));
    assert!(seen.headers().get("host").is_none() && seen.headers().get("connection").is_none());
    for (method, path, end) in [
        ("GET", "/none", "\r\n\r\n"),
        ("GET", "/empty", "content-length: 0\r\nconnection: close\r\n\r\n"),
        ("GET", "/counted", "content-length: 5\r\nconnection: close\r\n\r\nhello"),
        ("HEAD", "/counted", "content-length: 5\r\nconnection: close\r\n\r\n"),
    ] {
        let answer = get(&world, method, path).await;
        assert!(answer.starts_with("HTTP/1.1 20") && answer.ends_with(end), "{method} {path}: {answer}");
    }
    let body = "x".repeat(300_000);
    for framing in [
        format!("Content-Length: 300000\r\n\r\n{body}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", 300_000),
    ] {
        let request =
            format!("POST /echo HTTP/1.1\r\nHost: app.cardea.localhost\r\nConnection: close\r\n{framing}");
        let answer = raw(&world, request.as_bytes()).await;
        assert!(answer.ends_with(b"0\r\ngrpc-status: 0\r\nx-length: 300000\r\n\r\n"));
        assert_eq!(count(&answer), 300_000 + "x-length".matches('x').count());
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1, "all of them on one connection");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_22_an_upstream_of_http2_that_fails_is_told_from_one_that_answers() {
    let upstream = Upstream::open().await;
    let world = World::plain(&upstream.route("")).await;
    assert!(get(&world, "GET", "/reset").await.starts_with("HTTP/1.1 502 "));
    for path in ["/half", "/lie"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: app.cardea.localhost\r\n\r\n");
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let whole = answer.ends_with("0\r\n\r\n")
            || answer.starts_with("HTTP/1.1 200") && answer.contains("length: 5");
        assert!(!whole, "{path}: {answer}");
    }
    // An answer before the request has ended.
    let request =
        "POST /early HTTP/1.1\r\nHost: app.cardea.localhost\r\nContent-Length: 1000000\r\n\r\nbegun";
    let answer = raw(&world, request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    // It says goodbye instead of answering; the next request finds a new connection.
    let before = upstream.connections.load(Ordering::SeqCst);
    assert!(get(&world, "POST", "/goodbye").await.starts_with("HTTP/1.1 502 "));
    assert!(get(&world, "GET", "/empty").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(upstream.connections.load(Ordering::SeqCst), before + 1);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_large_answers_wait_for_their_readers_and_others_do_not() {
    let upstream = Upstream::open().await;
    let world = World::plain(&upstream.route("")).await;
    let request = "GET /large HTTP/1.1\r\nHost: app.cardea.localhost\r\nConnection: close\r\n\r\n";
    let mut slow = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 1024];
    slow.read_exact(&mut first).await.unwrap();
    // While somebody reads nothing, others on the same connection are served.
    for _ in 0..20 {
        assert!(get(&world, "GET", "/empty").await.starts_with("HTTP/1.1 200 "));
    }
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_mins(1), slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(count(&first) + count(&rest), LARGE);
    // More at a time than go on one connection.
    let all: Vec<_> = (0..150)
        .map(|_| {
            let port = world.port;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let request = "GET /slow HTTP/1.1\r\nHost: app.cardea.localhost\r\nConnection: close\r\n\r\n";
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            })
        })
        .collect();
    for one in all {
        assert!(one.await.unwrap().starts_with("HTTP/1.1 200 "));
    }
    assert!(upstream.connections.load(Ordering::SeqCst) >= 2);
    assert!(upstream.most.load(Ordering::SeqCst) > 100);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_nobody_has_connections_opened_without_end() {
    let upstream = Upstream::open().await;
    let world = World::plain(&upstream.route("")).await;
    let opened = || upstream.connections.load(Ordering::SeqCst);
    assert!(get(&world, "GET", "/empty").await.starts_with("HTTP/1.1 200 "));
    // What HTTP/2 cannot say is the client's affair, and what an upstream ends is not said again.
    for _ in 0..10 {
        assert!(get(&world, "GET", "/empty?a=<").await.starts_with("HTTP/1.1 400 "));
        assert!(get(&world, "GET", "/reset").await.starts_with("HTTP/1.1 502 "));
    }
    assert_eq!(opened(), 1);
    // Clients that ask and go away.
    let request = "GET /slow HTTP/1.1\r\nHost: app.cardea.localhost\r\n\r\n";
    for _ in 0..3 {
        let mut gone = Vec::new();
        for _ in 0..30 {
            let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            gone.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(gone);
    }
    assert!(get(&world, "GET", "/empty").await.starts_with("HTTP/1.1 200 "));
    assert!(opened() <= 3, "{}", opened());
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_20_who_holds_an_upstream_up_holds_up_nobody_else() {
    let upstream = Upstream::over(None, 4).await;
    let world = World::plain(&upstream.route("")).await;
    assert!(get(&world, "GET", "/empty").await.starts_with("HTTP/1.1 200 "));
    let send = async |text: String| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    let quickly = async |text: &str| {
        let request = format!(
            "{text} HTTP/1.1\r\nHost: app.cardea.localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let answer = tokio::time::timeout(Duration::from_secs(5), raw(&world, request.as_bytes())).await;
        let answer = answer.unwrap_or_else(|_| panic!("{text} waits for others"));
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    };
    // As many as the upstream takes on a connection, which never end.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(send("GET /stuck HTTP/1.1\r\nHost: app.cardea.localhost\r\n\r\n".to_owned()).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    quickly("POST /empty").await;
    // A body that nobody reads uses up what the upstream takes of all bodies on the connection.
    let body = "x".repeat(200_000);
    held.push(
        send(format!(
            "POST /stuck HTTP/1.1\r\nHost: app.cardea.localhost\r\nContent-Length: 200000\r\n\r\n{body}"
        ))
        .await,
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    quickly("POST /echo").await;
    assert!(upstream.connections.load(Ordering::SeqCst) <= 4);
    drop(held);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_23_http2_is_spoken_to_who_agrees_to_it() {
    // Somebody who speaks HTTP/1.1 alone, plain and over TLS.
    let plain = super::world::Recorder::open();
    let authority = super::world::Authority::new();
    let app = super::world::SecureApp::open(&authority.issue(&["app.internal"]), None).await;
    let more =
        "upstream_protocol = \"http2\"\nupstream_tls = { ca = \"ca.pem\", server_name = \"app.internal\" }";
    let agrees = Upstream::over(Some(&authority.issue(&["app.internal"])), 1000).await;
    let routes = [
        public_route("agrees", &format!("https://{}", agrees.address), more),
        public_route("plain", &format!("http://{}", plain.address), "upstream_protocol = \"http2\""),
        public_route("tls", &format!("https://{}", app.address), more),
    ];
    let world = World::with(&routes.concat(), &[("ca.pem", &authority.pem())]).await;
    for name in ["plain", "tls"] {
        let answer = world.get(name, "/").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{name}: {answer}");
    }
    let answer = world.get("agrees", "/counted").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert_eq!(agrees.last().uri().to_string(), "https://agrees.cardea.localhost/counted");
    assert!(app.requests.lock().unwrap().is_empty(), "nothing was sent");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_speak_what_the_upstreams_speak_and_a_dead_address_is_passed_over() {
    let upstream = Upstream::open().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = format!("http://{dead}\", \"http://{}", upstream.address);
    let more = "upstream_protocol = \"http2\"\nhealth = { path = \"/none\", every = \"100ms\" }";
    let world = World::open(&public_route("app", &to, more)).await;
    for _ in 0..6 {
        assert!(world.get("app", "/counted").await.ends_with("hello"));
    }
    let began = std::time::Instant::now();
    let checked = |request: &Request<()>| {
        request.uri().path() == "/none" && request.headers().get("cardea-probe").is_some_and(|it| it == "1")
    };
    // More than once: the first answer was taken for one.
    while upstream.seen.lock().unwrap().iter().filter(|request| checked(request)).count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody checks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.running.stop().await;
}
