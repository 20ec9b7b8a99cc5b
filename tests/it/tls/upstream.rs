//! The side that upstreams see.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::world::{Authority, SecureApp, World, public_route, self_signed};

const HOST: &str = "app.internal";

fn with_ca(name: &str, app: &SecureApp, more: &str) -> String {
    let to = format!("https://{}", app.address);
    public_route(name, &to, &format!("upstream_tls = {{ ca = \"ca.pem\", server_name = \"{HOST}\"{more} }}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_23_an_upstream_proves_its_name_or_gets_nothing() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let good = SecureApp::open(&ours.issue(&[HOST]), None).await;
    let wrong_name = SecureApp::open(&ours.issue(&["other.internal"]), None).await;
    let expired = SecureApp::open(&ours.issue_until(&[HOST], 2021), None).await;
    let own = SecureApp::open(&self_signed(&[HOST]), None).await;
    let strange = SecureApp::open(&strangers.issue(&[HOST]), None).await;
    let by_address = SecureApp::open(&ours.issue(&["127.0.0.1"]), None).await;
    let routes = [
        with_ca("good", &good, ""),
        with_ca("name", &wrong_name, ""),
        with_ca("expired", &expired, ""),
        with_ca("own", &own, ""),
        with_ca("strange", &strange, ""),
        // The authorities of the machine do not know ours.
        public_route(
            "system",
            &format!("https://{}", good.address),
            &format!("upstream_tls = {{ server_name = \"{HOST}\" }}"),
        ),
        public_route(
            "address",
            &format!("https://{}", by_address.address),
            "upstream_tls = { ca = \"ca.pem\" }",
        ),
        // Without a name of its own the address counts, and this certificate is for a name.
        public_route("unnamed", &format!("https://{}", good.address), "upstream_tls = { ca = \"ca.pem\" }"),
    ];
    let world = World::with(&routes.concat(), &[("ca.pem", &ours.pem())]).await;
    for name in ["good", "address"] {
        let answer = world.get(name, "/x").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{name}: {answer}");
    }
    for name in ["name", "expired", "own", "strange", "system", "unnamed"] {
        let answer = world.get(name, "/x").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{name}: {answer}");
        assert!(!answer.contains("certificate") && !answer.contains("internal"), "{name}: {answer}");
    }
    assert_eq!(good.requests.lock().unwrap().len(), 1);
    for app in [&wrong_name, &expired, &own, &strange] {
        assert!(app.requests.lock().unwrap().is_empty(), "a request went to somebody who proved nothing");
        assert!(!app.failures.lock().unwrap().is_empty());
    }
    // Idle connections are used again, and only by routes that asked for the same proof.
    assert!(world.get("good", "/y").await.ends_with("hello"));
    assert!(world.get("unnamed", "/y").await.starts_with("HTTP/1.1 502"));
    assert_eq!(good.requests.lock().unwrap().len(), 2);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_23_an_upstream_that_wants_to_know_us_is_shown_who_we_are() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let app = SecureApp::open(&ours.issue(&[HOST]), Some(&clients)).await;
    let (us, stranger) = (clients.issue(&["cardea.internal"]), self_signed(&["cardea.internal"]));
    let shown = |name: &str| format!(", cert = \"{name}.pem\", key = {{ file = \"{name}.key\" }}");
    let routes = [
        with_ca("us", &app, &shown("us")),
        with_ca("nobody", &app, ""),
        with_ca("stranger", &app, &shown("stranger")),
    ];
    let files = [
        ("ca.pem", ours.pem()),
        ("us.pem", us.cert),
        ("us.key", us.key),
        ("stranger.pem", stranger.cert),
        ("stranger.key", stranger.key),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let world = World::with(&routes.concat(), &files).await;
    assert!(world.get("us", "/").await.ends_with("hello"));
    for name in ["nobody", "stranger"] {
        let answer = world.get(name, "/").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{name}: {answer}");
    }
    assert_eq!(app.requests.lock().unwrap().len(), 1);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_23_there_is_no_way_back_to_plain_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received: Arc<Mutex<Vec<u8>>> = Arc::default();
    let seen = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let mut some = [0; 4096];
            let read = stream.read(&mut some).unwrap_or_default();
            seen.lock().unwrap().extend_from_slice(&some[..read]);
            let _ = std::io::Write::write_all(
                &mut stream,
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            );
        }
    });
    let world = World::open(&public_route("app", &format!("https://{address}"), "")).await;
    assert!(world.get("app", "/secret-path").await.starts_with("HTTP/1.1 502"));
    let received = received.lock().unwrap().clone();
    assert_eq!(received.first(), Some(&22), "a handshake and nothing else");
    assert!(!String::from_utf8_lossy(&received).contains("secret-path"));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_23_checks_want_the_same_proof_and_who_has_none_is_passed_over() {
    let ours = Authority::new();
    let good = SecureApp::open(&ours.issue(&[HOST]), None).await;
    let wrong = SecureApp::open(&self_signed(&[HOST]), None).await;
    let to = format!("https://{}\", \"https://{}", wrong.address, good.address);
    let more = format!(
        "upstream_tls = {{ ca = \"ca.pem\", server_name = \"{HOST}\" }}\nhealth = {{ path = \"/healthz\", every = \"100ms\" }}"
    );
    let world = World::with(&public_route("app", &to, &more), &[("ca.pem", &ours.pem())]).await;
    for _ in 0..6 {
        assert!(world.get("app", "/x").await.ends_with("hello"));
    }
    let began = std::time::Instant::now();
    while !good.requests.lock().unwrap().iter().any(|asked| asked.starts_with("GET /healthz ")) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody checks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(wrong.requests.lock().unwrap().is_empty(), "something went to somebody who proved nothing");
    assert!(!wrong.failures.lock().unwrap().is_empty());
    world.running.stop().await;
}
