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
        assert!(
            get("GET", "app.cardea.localhost", "/x", "")
                .ends_with(&format!(": https://app.cardea.localhost:{port}/x\n"))
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
            assert!(answer.contains("text/plain") && answer.ends_with(".\n"), "{answer}");
        }
    });
    told.await.unwrap();
    assert!(app.requests.lock().unwrap().is_empty() && app.failures.lock().unwrap().is_empty());
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_25_authorities_are_answered_from_one_folder_and_from_nowhere_else() {
    let world = World::answering("acme", &public_route("app", "http://127.0.0.1:1", "")).await;
    let (plain, folder) = (world.plain, world.path("acme"));
    std::fs::create_dir_all(folder.join("deeper")).unwrap();
    std::fs::write(folder.join("Tok_en-1"), "Tok_en-1.thumbprint").unwrap();
    std::fs::write(folder.join(".hidden"), "secret").unwrap();
    std::fs::write(folder.join("deeper/inside"), "secret").unwrap();
    std::fs::write(world.path("beside"), "secret").unwrap();
    std::os::unix::fs::symlink(world.path("beside"), folder.join("link")).unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let get = |method: &str, path: &str| {
            let host = "new.example";
            ask(
                plain,
                &format!("{method} /.well-known/acme-challenge/{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            )
        };
        // Also for a host that has no route yet: it needs its certificate first.
        let answer = get("GET", "Tok_en-1");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nTok_en-1.thumbprint"),
            "{answer}"
        );
        assert!(!answer.to_lowercase().contains("strict-transport"), "{answer}");
        assert!(get("HEAD", "Tok_en-1").ends_with("\r\n\r\n"));
        let long = "a".repeat(200);
        for path in [
            "",
            "nothing",
            ".hidden",
            "link",
            "deeper",
            "deeper/inside",
            "../beside",
            "..%2Fbeside",
            "%2e%2e/beside",
            "Tok_en-1/",
            "Tok_en-1?x",
            "Tok_en-1%00",
            "./Tok_en-1",
            "//Tok_en-1",
            "/etc/passwd",
            &long,
        ] {
            let answer = get("GET", path);
            assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
            assert!(!answer.contains("secret") && !answer.contains("thumbprint"), "{path}: {answer}");
        }
        assert!(get("POST", "Tok_en-1").starts_with("HTTP/1.1 4"));
    });
    told.await.unwrap();
    world.running.stop().await;
}
