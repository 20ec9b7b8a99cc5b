//! Several addresses of a route: asked whether they are well, passed over, drained.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Site;

/// An app that answers with its name, and to checks with a status; 0 lets whoever checks wait.
struct App {
    address: SocketAddr,
    health: Arc<AtomicU16>,
    checks: Arc<Mutex<Vec<String>>>,
}

impl App {
    fn open(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            health: Arc::new(AtomicU16::new(200)),
            checks: Arc::default(),
        };
        let (health, checks) = (Arc::clone(&app.health), Arc::clone(&app.checks));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), health, checks) = (stream, Arc::clone(&health), Arc::clone(&checks))
                else {
                    return;
                };
                std::thread::spawn(move || {
                    let mut head = [0; 8192];
                    while let Ok(read) = stream.read(&mut head) {
                        let text = String::from_utf8_lossy(&head[..read]).into_owned();
                        let status = if text.starts_with("GET /healthz?deep=1 ") {
                            checks.lock().unwrap().push(text);
                            health.load(Ordering::Relaxed)
                        } else {
                            200
                        };
                        if read == 0 || status == 0 {
                            // Held, and not answered.
                            let _ = stream.read(&mut head);
                            return;
                        }
                        let answer =
                            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        app
    }

    fn answers(&self, status: u16) {
        self.health.store(status, Ordering::Relaxed);
    }
}

fn ask(site: &Site) -> String {
    let mut stream = TcpStream::connect(site.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: app.cardea.localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Who answers, of ten requests.
fn answering(site: &Site) -> BTreeSet<String> {
    (0..10).map(|_| ask(site)).collect()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

async fn metrics(site: &Site) -> String {
    reqwest::get(format!("http://127.0.0.1:{}/metrics", site.ops)).await.unwrap().text().await.unwrap()
}

/// Waits until an address is up, or is not.
async fn noticed(site: &Site, app: &App, up: u8) {
    let line = format!("cardea_upstream_up{{route=\"app\",address=\"http://{}\"}} {up}\n", app.address);
    let began = Instant::now();
    loop {
        let text = metrics(site).await;
        if text.contains(&line) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{line}{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn status(site: &Site) -> String {
    let output = site.command("status").output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn to(list: &str, more: &str) -> String {
    format!("[[route]]\nhost = \"app.cardea.localhost\"\nto = [{list}]\npublic = true\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_its_checks_is_passed_over_until_it_passes_them() {
    let (one, two) = (App::open("one"), App::open("two"));
    let site = Site::new(None);
    let list = format!("\"http://{}\", \"http://{}\"", one.address, two.address);
    let health = "health = { path = \"/healthz?deep=1\", every = \"100ms\", timeout = \"300ms\", healthy = 2, unhealthy = 2, status = [200, 204] }\n";
    site.write(&to(&list, health));
    let running = site.serve();
    assert_eq!(answering(&site), names(&["one", "two"]));

    // A wrong status, and none in time.
    for failing in [503, 202, 0] {
        one.answers(failing);
        noticed(&site, &one, 0).await;
        noticed(&site, &two, 1).await;
        assert_eq!(answering(&site), names(&["two"]), "{failing}");
        let said = status(&site);
        assert!(said.contains(&format!("http://{} is unhealthy", one.address)), "{said}");
        assert!(said.contains("1 of them not well"), "{said}");
        let (ready, _) = site.ready().await;
        assert_eq!(ready, 200, "an app that is down does not make Cardea unready");
        one.answers(204);
        noticed(&site, &one, 1).await;
        assert_eq!(answering(&site), names(&["one", "two"]), "{failing}");
    }
    // Nobody is well: better somebody than nobody.
    one.answers(500);
    two.answers(500);
    noticed(&site, &one, 0).await;
    noticed(&site, &two, 0).await;
    assert_eq!(answering(&site), names(&["one", "two"]));

    let checks = one.checks.lock().unwrap().clone();
    for check in &checks {
        let check = check.to_lowercase();
        assert!(
            check.contains("\r\ncardea-probe: 1\r\n") && check.contains("\r\nhost: app.cardea.localhost\r\n")
        );
        assert!(!check.contains("cardea-user") && !check.contains("cookie"), "{check}");
    }
    // Without the check nothing is held against anybody, and nobody is asked any more.
    site.write(&to(&list, ""));
    noticed(&site, &one, 1).await;
    noticed(&site, &two, 1).await;
    let before = one.checks.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(one.checks.lock().unwrap().len(), before);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_address_gets_no_new_request() {
    let (one, two) = (App::open("one"), App::open("two"));
    let site = Site::new(None);
    let list = |drain: bool| {
        format!("\"http://{}\", {{ url = \"http://{}\", drain = {drain} }}", one.address, two.address)
    };
    site.write(&to(&list(false), "balance = \"least-busy\"\n"));
    let running = site.serve();
    assert_eq!(answering(&site), names(&["one", "two"]));
    site.write(&to(&list(true), ""));
    let began = Instant::now();
    while !status(&site).contains(&format!("http://{} is draining", two.address)) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answering(&site), names(&["one"]));
    assert!(!metrics(&site).await.contains(&format!("address=\"http://{}\"}} 1", two.address)));
    assert!(running.stop().success());
}

#[test]
fn proxy_24_an_address_that_nothing_is_ever_sent_to_is_found_before_the_start() {
    let site = Site::new(None);
    site.write(&to("\"http://169.254.169.254\"", ""));
    let output = site.command("check").output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("E0306") && said.contains("link-local"), "{said}");
}
