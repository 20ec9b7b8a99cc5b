//! Plain HTTP beside HTTPS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::world::{SecureApp, World, public_route, self_signed};

fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_25_plain_http_is_told_the_way_and_nothing_more() {
    let app = SecureApp::open(&self_signed(&["x.internal"]), None).await;
    let world = World::open(&public_route("app", &format!("https://{}", app.address), "")).await;
    let (plain, port) = (world.plain, world.port);
    let told = tokio::task::spawn_blocking(move || {
        let get = |method: &str, host: &str, target: &str, more: &str| {
            ask(plain, &format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"))
        };
        let to = |answer: &str| {
            assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
            assert!(answer.contains("connection: close") && !answer.contains("set-cookie"), "{answer}");
            answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned()
        };
        assert_eq!(
            to(&get("GET", &format!("App.cardea.localhost:{plain}"), "/a/b?x=/../%2F", "")),
            format!("https://app.cardea.localhost:{port}/a/b?x=/../%2F")
        );
        assert_eq!(
            to(&get("HEAD", "access.cardea.localhost", "/", "")),
            format!("https://access.cardea.localhost:{port}/")
        );
        for (method, host, target, more, status) in [
            ("GET", "evil.example", "/", "", "421"),
            ("GET", "app.cardea.localhost", "/a/../b", "", "400"),
            ("GET", "app.cardea.localhost", "/%zz", "", "400"),
            ("GET", "a b", "/", "", "400"),
            ("GET", "app.cardea.localhost", "http://evil.example/", "", "400"),
            ("POST", "app.cardea.localhost", "/", "Content-Length: 0\r\n", "405"),
            ("GET", "app.cardea.localhost", "/", "Host: evil.example\r\n", "400"),
            ("CONNECT", "app.cardea.localhost", "app.cardea.localhost:443", "", "400"),
        ] {
            let answer = get(method, host, target, more);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {host} {target}: {answer}");
            assert!(!answer.contains("location"), "{answer}");
        }
    });
    told.await.unwrap();
    assert!(app.requests.lock().unwrap().is_empty() && app.failures.lock().unwrap().is_empty());
    world.running.stop().await;
}
