//! What is not waited for: clients and upstreams that stop in the middle, clients that open too many connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::house::{House, Plan, pause, reply, usual};
use crate::crypto::certificate::{Authorities, Identity, Purpose, provider};
use crate::crypto::development;
use crate::domain::Span;
use crate::net;
use crate::proxy::{Door, Entrance, Front, Settings, bind, spawn_thread};
use crate::sys::{Clock as _, SystemClock};

const HOST: &str = "Host: app.example\r\n";

/// A house that is in a hurry.
fn hurried(front: Front, change: impl Fn(&mut crate::domain::route::Route) + 'static) -> House {
    House::with(Plan {
        settings: Settings { front, write_timeout: Span::seconds(1), ..Settings::default() },
        routes: Box::new(move |upstream| {
            let mut route = usual(upstream);
            change(&mut route);
            vec![route]
        }),
        ..Plan::default()
    })
}

/// Everything until the end of the connection, however it ends.
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn proxy_20_a_client_that_stops_in_its_body_is_not_waited_for() {
    for front in [Front::Strict, Front::Hyper] {
        let house = hurried(front, |route| route.request_timeout = Span::seconds(1));
        let (end, ended) = mpsc::channel();
        house.upstream.behave(move |_, stream, _| {
            let _ = end.send(rest(stream));
            false
        });
        for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
        {
            let mut client = house.connect();
            client.send(format!("POST /public/manual HTTP/1.1\r\n{HOST}{framing}").as_bytes());
            let answer = client.answer(false);
            assert_eq!((answer.status, answer.field("connection")), (408, Some("close")), "{front:?}");
            assert!(answer.text().contains("request-timeout"), "{front:?}: {}", answer.text());
            // The upstream sees that it broke off.
            let seen = ended.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
            assert!(!seen.ends_with("0\r\n\r\n"), "{front:?}: {seen}");
        }
        // A call is told so in its own words: it was the client's time that ran out.
        let mut client = house.connect();
        let grpc = "Content-Type: application/grpc\r\nContent-Length: 10\r\n\r\nhello";
        client.send(format!("POST /public/manual HTTP/1.1\r\n{HOST}{grpc}").as_bytes());
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.field("grpc-status")), (408, Some("4")), "{front:?}");
        ended.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        // Slow is no crime.
        house.upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let mut client = house.connect();
        client.send(format!("POST /public/x HTTP/1.1\r\n{HOST}Content-Length: 15\r\n\r\n").as_bytes());
        for _ in 0..15 {
            pause(100);
            client.send(b"x");
        }
        assert_eq!(client.answer(false).status, 200, "{front:?}");
    }
}

#[test]
fn proxy_20_an_upstream_that_takes_nothing_is_not_waited_for() {
    for front in [Front::Strict, Front::Hyper] {
        let house = hurried(front, |route| route.request_timeout = Span::seconds(1));
        let (let_go, held) = mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        house.upstream.behave(move |_, _, _| {
            let _ = held.lock().unwrap().recv();
            false
        });
        let mut client = house.connect();
        client.send(
            format!("POST /public/manual HTTP/1.1\r\n{HOST}Content-Length: 100000000\r\n\r\n").as_bytes(),
        );
        let mut writer = client.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            let piece = vec![b'x'; 100_000];
            for _ in 0..1000 {
                if writer.write_all(&piece).is_err() {
                    return;
                }
            }
        });
        assert_eq!(client.answer(false).status, 504, "{front:?}");
        drop((let_go, client));
        writing.join().unwrap();
    }
}

#[test]
fn proxy_20_an_upstream_that_stops_in_its_answer_is_not_waited_for() {
    for front in [Front::Strict, Front::Hyper] {
        let house = hurried(front, |route| route.idle_timeout = Span::seconds(1));
        for framing in ["content-length: 10\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"]
        {
            house.upstream.behave(move |_, stream, _| {
                let _ = reply(stream, &format!("HTTP/1.1 200 OK\r\n{framing}"));
                // Until we are left.
                let _ = stream.read(&mut [0]);
                false
            });
            let mut client = house.connect();
            client.send(format!("GET /public/x HTTP/1.1\r\n{HOST}\r\n").as_bytes());
            let text = rest(&mut client.stream);
            assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("hello"), "{front:?}: {text}");
            assert!(!text.ends_with("0\r\n\r\n"), "{front:?}: {text}");
        }
        // What moves may be slow, and what waits for an event may be silent.
        for (kind, gap, pieces) in [
            ("text/plain", 100, 15),
            ("text/event-stream; charset=utf-8", 1500, 2),
            ("application/grpc+proto", 1500, 2),
        ] {
            house.upstream.behave(move |_, stream, _| {
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
                let mut fine = reply(stream, &head);
                for _ in 0..pieces {
                    pause(gap);
                    fine &= reply(stream, "1\r\nx\r\n");
                }
                fine && reply(stream, "0\r\n\r\n")
            });
            let answer = house.ask("GET", "app.example", "/public/x", &[]);
            assert_eq!((answer.status, answer.body.len()), (200, pieces), "{front:?} {kind}");
        }
    }
}

/// Has the upstream send without end; what it sent, and a word when nobody takes any more.
fn flood(house: &House) -> (Arc<AtomicUsize>, mpsc::Receiver<()>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, (end, ended)) = (Arc::clone(&sent), mpsc::channel());
    house.upstream.behave(move |_, stream, _| {
        let piece = vec![b'x'; 100_000];
        let mut fine = reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while fine {
            fine = stream.write_all(&piece).is_ok();
            count.fetch_add(piece.len(), Ordering::Relaxed);
        }
        let _ = end.send(());
        false
    });
    (sent, ended)
}

#[test]
fn proxy_20_a_client_that_takes_nothing_is_not_waited_for() {
    let house = hurried(Front::Strict, |_| {});
    let (sent, ended) = flood(&house);
    let mut client = house.connect();
    client.send(format!("GET /public/x HTTP/1.1\r\n{HOST}\r\n").as_bytes());
    ended.recv_timeout(std::time::Duration::from_secs(20)).expect("it is cut");
    assert!(sent.load(Ordering::Relaxed) < 1_000_000_000);
}

/// Under TLS bytes wait in one place more.
#[test]
fn proxy_20_a_client_that_takes_nothing_over_tls_is_not_waited_for() {
    for front in [Front::Strict, Front::Hyper] {
        let house = hurried(front, |_| {});
        let (sent, ended) = flood(&house);
        let now = SystemClock::default().now();
        let authority = development::authority(now).unwrap();
        let minted = development::issue(&authority, &["app.example".to_owned()], now).unwrap();
        let (chain, key) = (minted.certificate.as_bytes(), minted.key.expose().as_bytes());
        let identity = Arc::new(Identity::parse(chain, key, Purpose::Server).unwrap());
        let shown = Arc::new(net::Front::new(&[identity], &["http/1.1"], now).unwrap());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with its sender.
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let door = vec![(Entrance::Tls(Door::Front, shown), listener)];
        spawn_thread(Arc::clone(&house.gate), door, stopping, "tls").unwrap();

        let roots = Authorities::parse(authority.certificate.as_bytes()).unwrap().roots();
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "app.example".try_into().unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut client = rustls::StreamOwned::new(session, TcpStream::connect(address).unwrap());
        client.write_all(format!("GET /public/x HTTP/1.1\r\n{HOST}\r\n").as_bytes()).unwrap();
        ended.recv_timeout(std::time::Duration::from_secs(20)).expect("it is cut");
        assert!(sent.load(Ordering::Relaxed) < 1_000_000_000, "{front:?}");
    }
}

#[test]
fn a_client_that_falls_behind_late_in_a_long_answer_has_its_time() {
    let house = hurried(Front::Strict, |_| {});
    let size = 20_000_000;
    house.upstream.behave(move |_, stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 15 + size);
        let mut fine = reply(stream, &head);
        // Longer than a client may take nothing, in small pieces that it takes at once.
        for _ in 0..15 {
            pause(100);
            fine &= reply(stream, "x");
        }
        fine && stream.write_all(&vec![b'y'; size]).is_ok()
    });
    let mut client = house.connect();
    client.send(format!("GET /public/x HTTP/1.1\r\n{HOST}\r\n").as_bytes());
    let mut head = [0; 1];
    let mut seen = Vec::new();
    while !seen.ends_with(&[b'x'; 15]) {
        client.stream.read_exact(&mut head).unwrap();
        seen.extend(head);
    }
    pause(300);
    let mut all = vec![0; size];
    client.stream.read_exact(&mut all).expect("all of it comes");
}

#[test]
fn proxy_20_a_client_with_too_many_connections_gets_no_more_until_it_gives_some_back() {
    let settings = Settings { connections_per_client: 3, ..Settings::default() };
    let house = House::with(Plan { settings, ..Plan::default() });
    let mut clients: Vec<_> = (0..3).map(|_| house.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET", "app.example", "/public/x", &[]).status, 200);
    }
    assert!(house.connect().closed(), "the fourth is closed");
    // Other proxies that ask are not clients.
    let mut asking = super::house::Client::connect(house.forward_auth);
    asking.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_ne!(asking.answer(false).status, 0);
    assert_eq!(clients[0].ask("GET", "app.example", "/public/x", &[]).status, 200, "the others go on");
    drop(clients.pop());
    let mut tries = 0;
    loop {
        let mut client = house.connect();
        if client.stream.write_all(b"GET /public/x HTTP/1.1\r\nHost: app.example\r\n\r\n").is_ok()
            && client.answer(false).status == 200
        {
            break;
        }
        tries += 1;
        assert!(tries < 500, "a place that was given back is not to be had");
        pause(10);
    }
}
