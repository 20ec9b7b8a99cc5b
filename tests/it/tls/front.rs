//! The side that browsers see.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::world::{World, ask, hello, public_route, self_signed, shown, write_pair};
use crate::support::stage::Visitor;

const APP: &str = "app.cardea.localhost";

async fn simple() -> World {
    World::open(&public_route("app", &format!("http://{}", hello()), "")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_25_somebody_signs_in_and_reaches_an_app_over_tls_with_cookies_that_stay_there() {
    let route = format!(
        "[[route]]\nhost = \"{APP}\"\nto = [\"http://{}\"]\nallow = [\"signed-in\"]\ntenant = \"\"\n",
        hello()
    );
    let world = World::open(&route).await;
    world.person("grace", "first-harbour-51").await;
    let mut visitor = Visitor::trusting(world.authority.client(rustls::DEFAULT_VERSIONS));
    let app = world.url("app", "/start?x=1");
    visitor.get(&app).await;
    assert!(visitor.url.starts_with(&world.url("access", "/sign-in")), "{}", visitor.url);
    visitor.submit(&[("identifier", "grace")]).await;
    visitor.submit(&[("password", "first-harbour-51")]).await;
    visitor.submit(&[("password", "second-harbour-52")]).await;
    assert_eq!((visitor.url.as_str(), visitor.body.as_str()), (app.as_str(), "hello"), "{}", visitor.text());
    for url in [world.url("access", "/"), world.url("app", "/")] {
        let cookies = visitor.cookies(&url);
        assert!(!cookies.is_empty());
        assert!(cookies.iter().all(|name| name.starts_with("__Host-")), "{cookies:?}");
        assert_eq!(visitor.cookies(&url.replace("https", "http")), Vec::<String>::new(), "they are Secure");
    }
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_each_host_has_its_certificate_and_a_connection_is_for_what_it_covers() {
    let upstream = format!("http://{}", hello());
    let other = self_signed(&["other.example", "both.cardea.localhost"]);
    let routes = format!(
        "[[tls.certificate]]\ncert = \"other.pem\"\nkey = {{ file = \"other.key\" }}\n{}{}[[route]]\nname = \"o\"\nhost = \"other.example\"\n\
         to = [\"{upstream}\"]\npublic = true\n",
        public_route("app", &upstream, ""),
        public_route("both", &upstream, "")
    );
    let world = World::with(&routes, &[("other.pem", &other.cert), ("other.key", &other.key)]).await;

    let mut stream = world.connect(Some(APP)).await.unwrap();
    let front = shown(&stream);
    // Another host that the same certificate covers is served; whatever it does not cover is refused, and ends it.
    assert!(ask(&mut stream, APP, "/", false).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut stream, "BOTH.cardea.localhost.", "/", false).await.ends_with("hello"));
    let answer = ask(&mut stream, "other.example", "/", false).await;
    assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("hello"), "{answer}");
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "the connection is over");
    // Also in the absolute form, and for hosts that nobody has.
    for (host, path) in [(APP, "http://other.example/"), ("nobody.example", "/")] {
        let mut stream = world.connect(Some(APP)).await.unwrap();
        let answer = ask(&mut stream, host, path, true).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("hello"), "{answer}");
    }

    let mut trusting = world.authority.roots();
    trusting.add(other.der()).unwrap();
    let config = || {
        rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusting.clone())
        .with_no_client_auth()
    };
    let stream = world.connect_as(Some("other.example"), config()).await.unwrap();
    assert_eq!(shown(&stream), other.der());
    assert_ne!(front, other.der());
    // A client that names no host is shown the first.
    let mut stream = world.connect(None).await.unwrap();
    assert_eq!(shown(&stream), front);
    assert!(ask(&mut stream, APP, "/", false).await.ends_with("hello"));
    let answer = ask(&mut stream, "other.example", "/", true).await;
    assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("\"status\":421"), "{answer}");
    // A name that nobody has a certificate for is told so, and no more.
    for name in ["nobody.example", "a.b.cardea.localhost", "cardea.localhost"] {
        let error = world.connect(Some(name)).await.unwrap_err().to_string();
        assert!(error.contains("UnrecognisedName"), "{name}: {error}");
    }
    world.running.stop().await;
}

/// A greeting of an old version, as it goes over the wire (RFC 4346 §7.4.1.2).
fn greeting(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    // TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA and TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 4, 0xc0, 0x09, 0x00, 0x2f, 1, 0]);
    let name = APP.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    let mut extension = vec![0, 0, 0, length + 5, 0, length + 3, 0, 0, length];
    extension.extend(name);
    hello.extend([0, u8::try_from(extension.len()).unwrap()]);
    hello.extend(extension);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

async fn answer_to(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "it was left open: {answer:?}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn f79_proxy_25_tls_1_2_and_1_3_and_nothing_older_also_after_a_reload() {
    let world = simple().await;
    for _ in 0..2 {
        for (version, number) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
            let client = world.authority.client(&[version]);
            let mut stream = world.connect_as(Some(APP), client).await.unwrap();
            assert_eq!(format!("{:?}", stream.get_ref().1.protocol_version().unwrap()), number);
            let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
            let strong = format!("{suite:?}");
            assert!(strong.contains("GCM") || strong.contains("CHACHA20"), "{strong}");
            assert!(ask(&mut stream, APP, "/", true).await.ends_with("hello"));
        }
        for version in [[3, 0], [3, 1], [3, 2]] {
            // One fatal alert, and the end: nothing of a handshake.
            let answer = answer_to(&world, &greeting(version)).await;
            assert_eq!((answer.len(), answer[0], answer[5]), (7, 21, 2), "{version:?}: {answer:?}");
        }
        // The same suites with TLS 1.2 have nothing to agree on either.
        let answer = answer_to(&world, &greeting([3, 3])).await;
        assert_eq!((answer.len(), answer[0], answer[5]), (7, 21, 2), "{answer:?}");
        let plain = answer_to(&world, b"GET / HTTP/1.1\r\nHost: app.cardea.localhost\r\n\r\n").await;
        assert!(!String::from_utf8_lossy(&plain).contains("HTTP/"), "{plain:?}");
        write_pair(&world.path("front"), &world.authority.issue(&["*.cardea.localhost"]));
        world.running.reloader().reload("a test").await.unwrap();
    }
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_25_f79_certificates_are_renewed_under_open_connections_and_wrong_ones_are_not_taken() {
    let world = simple().await;
    let mut open = world.connect(Some(APP)).await.unwrap();
    let first = shown(&open);
    assert!(ask(&mut open, APP, "/", false).await.ends_with("hello"));

    // Changed files are noticed by themselves.
    let second = world.authority.issue(&["*.cardea.localhost"]);
    write_pair(&world.path("front"), &second);
    let began = Instant::now();
    while shown(&world.connect(Some(APP)).await.unwrap()) != second.der() {
        assert!(began.elapsed() < Duration::from_secs(20), "the new certificate was not taken over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(first, second.der());
    assert!(ask(&mut open, APP, "/", false).await.ends_with("hello"), "the open connection goes on");

    // Of another pair, run out, for other hosts, broken, gone: the old one stays, and it is said.
    let other = world.authority.issue(&["*.cardea.localhost"]);
    let halves = super::world::Minted { cert: other.cert.clone(), key: second.key.clone() };
    let expired = world.authority.issue_until(&["*.cardea.localhost"], 2021);
    let elsewhere = world.authority.issue(&["portal.example"]);
    let broken = super::world::Minted { cert: "nonsense".to_owned(), key: second.key.clone() };
    for wrong in [halves, expired, elsewhere, broken] {
        write_pair(&world.path("front"), &wrong);
        let (said, _) = world.running.reloader().reload("a test").await.unwrap_err();
        assert!(said.contains("cardea.toml:"), "{said}");
        assert!(!world.running.reloader().state().fine());
        let mut stream = world.connect(Some(APP)).await.unwrap();
        assert_eq!(shown(&stream), second.der());
        assert!(ask(&mut stream, APP, "/", true).await.ends_with("hello"));
    }
    std::fs::remove_file(world.path("front.pem")).unwrap();
    world.running.reloader().reload("a test").await.unwrap_err();
    assert_eq!(shown(&world.connect(Some(APP)).await.unwrap()), second.der());
    write_pair(&world.path("front"), &other);
    world.running.reloader().reload("a test").await.unwrap();
    assert_eq!(shown(&world.connect(Some(APP)).await.unwrap()), other.der());
    assert!(world.running.reloader().state().fine());
    assert!(ask(&mut open, APP, "/", true).await.ends_with("hello"), "the first connection still goes on");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f81_proxy_20_handshakes_that_stall_keep_nobody_waiting() {
    let world = simple().await;
    let mut stalled = Vec::new();
    for at in 0..300 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)).await.unwrap();
        // Silent, or with half a greeting.
        let whole = greeting([3, 3]);
        stream.write_all(&whole[..at % whole.len()]).await.unwrap();
        stalled.push(stream);
    }
    for _ in 0..5 {
        let answer = tokio::time::timeout(Duration::from_secs(5), world.get("app", "/")).await;
        assert!(answer.expect("others have to wait").ends_with("hello"));
    }
    drop(stalled);
    world.running.stop().await;
}
