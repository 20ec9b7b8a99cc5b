//! Starting, reloading, stopping.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Site;
use crate::support::free_port;

pub(super) fn public_route(name: &str, port: u16) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nhost = \"{name}.cardea.localhost\"\nto = [\"http://127.0.0.1:{port}\"]\npublic = true\n\n"
    )
}

/// One request on a connection of its own; the whole answer.
pub(super) fn ask(site: &Site, host: &str) -> String {
    let mut stream = TcpStream::connect(site.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}.cardea.localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An upstream that waits before it answers.
pub(super) fn slow_upstream(wait: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                std::thread::sleep(wait);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
            });
        }
    });
    port
}

fn within(limit: Duration, what: &str, mut fine: impl FnMut() -> bool) {
    let began = Instant::now();
    while !fine() {
        assert!(began.elapsed() < limit, "{what} took longer than {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let upstream = slow_upstream(Duration::ZERO);
    let site = Site::new(None);
    site.write(&public_route("one", upstream));
    let running = site.serve();
    assert!(ask(&site, "one").ends_with("hello"));
    assert!(ask(&site, "two").starts_with("HTTP/1.1 404"));

    site.write(&format!("{}{}", public_route("one", upstream), public_route("two", upstream)));
    within(Duration::from_secs(5), "taking over", || ask(&site, "two").ends_with("hello"));

    // Wrong: everything stays as it was, and says so.
    site.write("[[route]]\nhost = \"three.cardea.localhost\"\nto = [\"nonsense\"]\n");
    let began = Instant::now();
    loop {
        let (status, said) = site.ready().await;
        if said["config"].as_str().unwrap().starts_with("stale") {
            assert_eq!(status, 200, "stale, and ready all the same");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ask(&site, "one").ends_with("hello"));
    assert!(ask(&site, "two").ends_with("hello"));
    let metrics =
        reqwest::get(format!("http://127.0.0.1:{}/metrics", site.ops)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("cardea_config_reload_success 0"), "{metrics}");

    // Right again, by signal: the removed route answers 404 at once.
    site.write(&public_route("one", upstream));
    let hup =
        Command::new("sh").args(["-c", "kill -HUP $1", "sh", &running.id().to_string()]).status().unwrap();
    assert!(hup.success());
    within(Duration::from_secs(5), "SIGHUP", || ask(&site, "two").starts_with("HTTP/1.1 404"));
    assert_eq!(site.ready().await.1["config"], "current");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_is_in_flight_and_accepts_nothing_more() {
    let upstream = slow_upstream(Duration::from_millis(1500));
    let site = Site::new(None);
    site.write(&public_route("slow", upstream));
    let running = site.serve();
    let (port, address) = (site.port, site.address());
    let asked = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: slow.cardea.localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    std::thread::sleep(Duration::from_millis(400));
    let stopped = std::thread::spawn(move || running.stop());
    within(Duration::from_secs(5), "closing the door", || TcpStream::connect(address).is_err());
    let answer = asked.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(stopped.join().unwrap().success());
}

#[test]
fn a_wrong_file_ends_the_start_with_place_cause_and_remedy() {
    let site = Site::new(None);
    site.write("[[route]]\nhost = \"one.cardea.localhost\"\nto = [\"http://127.0.0.1:1\"]\nallow = [\"net:nowhere\"]\n");
    let output = site.command("serve").output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cardea.toml:") && said.contains("error[E"), "{said}");
}

#[test]
fn f20_a_missing_or_wrong_master_key_refuses_to_start_and_makes_no_new_one() {
    let site = Site::new(None);
    site.write("");
    assert!(site.serve().stop().success());
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [8; 32]);
    super::write_private(&site.path("master.key"), &format!("{key}\n"));
    for _ in 0..2 {
        let output = site.command("serve").output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("master key"), "{said}");
    }
}

#[test]
fn a_taken_port_is_said() {
    let site = Site::new(None);
    site.write("");
    let _squatter = TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    let output = site.command("serve").output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("cannot listen on"), "{said}");
    let _ = free_port();
}
