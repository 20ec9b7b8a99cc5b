//! The line of a request, and what can be asked about it afterwards.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::Site;
use crate::support::kill::{Running, wait_for_port};
use crate::support::stage::Visitor;

/// Says hello, or, where that is asked, something every now and then.
fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut head = [0; 8192];
                let read = stream.read(&mut head).unwrap_or(0);
                if head[..read].starts_with(b"GET /drip") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                    while stream.write_all(b"4\r\ntick\r\n").is_ok() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                } else {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
                }
            });
        }
    });
    port
}

fn raw(site: &Site, bytes: &str) -> String {
    let mut stream = TcpStream::connect(site.address()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    // It may be reset after its answer.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn said(site: &Site, verb: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = site.command(verb).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn line(running: &mut Running, wanted: &str) -> Value {
    serde_json::from_str(&running.line(wanted)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_request_says_who_what_where_and_why_and_explain_goes_on_from_it() {
    let site = Site::new(None);
    let to = upstream();
    let route = |name: &str, more: &str| {
        format!(
            "[[route]]\nhost = \"{name}.cardea.localhost\"\nto = [\"http://127.0.0.1:{to}\"]\ntenant = \"\"\n{more}\n"
        )
    };
    site.write(&format!(
        "[mfa]\nrequire = \"off\"\n{}{}{}",
        route("app", "allow = [\"signed-in\"]"),
        route("shut", "allow = [\"user:ada\"]"),
        route("works", "allow = [\"signed-in\"]\nmaintenance = \"back at noon\"")
    ));
    let mut command = site.command("serve");
    command.env("ADMIN_USER", "grace").env("ADMIN_PASSWORD", "first-harbour-51");
    let mut running = Running::start(command);
    running.line("ready");
    wait_for_port(site.address());

    // Somebody signs in and is let in.
    let url = |name: &str, path: &str| format!("http://{name}.cardea.localhost:{}{path}", site.port);
    let mut visitor = Visitor::new(site.port);
    visitor.get(&url("app", "/start?token=very-secret")).await;
    visitor.submit(&[("identifier", "grace")]).await;
    visitor.submit(&[("password", "first-harbour-51")]).await;
    visitor.submit(&[("password", "second-harbour-52")]).await;
    assert_eq!(visitor.body, "hello", "{}", visitor.text());
    let yes = line(&mut running, "\"outcome\":\"allowed\"");
    assert_eq!(yes["client.address"], "127.0.0.1");
    assert_eq!((&yes["user.name"], &yes["protocol"]), (&"grace".into(), &"HTTP/1.1".into()));
    assert_eq!((&yes["rule"], &yes["path"]), (&1.into(), &"/start".into()));
    assert_eq!(yes["upstream"], format!("http://127.0.0.1:{to}"));
    assert_eq!(yes["user.id"].as_str().unwrap().len(), 36);
    let id = yes["request.id"].as_str().unwrap().to_owned();
    let (code, text) = said(&site, "explain", &["--request", &id]);
    assert_eq!(code, Some(0), "{text}");
    for part in
        ["ALLOWED   200", "grace", "From the same facts, under the same policy", "rule 1 of route \"app\""]
    {
        assert!(text.contains(part), "{part} in {text}");
    }

    // Kept out: the line leads to the refusal.
    visitor.get(&url("shut", "/")).await;
    let no = line(&mut running, "\"outcome\":\"denied\"");
    let reference = no["decision"].as_str().unwrap();
    assert_eq!((&no["reason"], &no["user.name"]), (&"allow".into(), &"grace".into()));
    assert!(said(&site, "explain", &[reference]).1.contains("user:ada"));
    let (code, text) = said(&site, "explain", &["--request", no["request.id"].as_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("DENIED   403") && text.contains(reference) && text.contains("none of user:ada"),
        "{text}"
    );

    // Nobody is let into an app that is being worked on, and nobody is told otherwise.
    let (code, text) = said(&site, "explain", &["grace", &url("works", "/")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("NOT NOW, THE APP IS BEING WORKED ON (otherwise: ALLOWED)"), "{text}");
    assert!(text.contains("back at noon"), "{text}");
    let (_, text) = said(&site, "can", &["grace"]);
    assert!(text.contains("not during maintenance"), "{text}");

    // What cannot be read: the log names the rule, the client does not learn more than it must.
    let answer = raw(
        &site,
        "POST / HTTP/1.1\r\nHost: app.cardea.localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("RFC"), "{answer}");
    let bad = line(&mut running, "\"outcome\":\"bad-request\"");
    assert_eq!(bad["reason"], "Content-Length beside Transfer-Encoding (RFC 9112, 6.3)");
    assert_eq!(bad["client.address"], "127.0.0.1");
    assert!(raw(&site, "GET / HTTP/1.1\nHost: app.cardea.localhost\n\n").starts_with("HTTP/1.1 400"));
    assert_eq!(line(&mut running, "\"outcome\":\"bad-request\"")["reason"], "a line does not end as it must");

    // What is open is ended with the reason, whose it was, and where.
    visitor.get(&url("app", "/")).await;
    let token = visitor.cookie(&url("app", "/"), "cardea").unwrap();
    let mut open = TcpStream::connect(site.address()).unwrap();
    write!(open, "GET /drip HTTP/1.1\r\nHost: app.cardea.localhost\r\nCookie: cardea={token}\r\n\r\n")
        .unwrap();
    let mut first = [0; 512];
    assert!(open.read(&mut first).unwrap() > 0);
    let sessions = said(&site, "session", &["list", "--output", "json"]).1;
    assert!(sessions.contains(yes["session.id"].as_str().unwrap()), "{sessions}");
    let (code, text) = said(&site, "session", &["revoke", yes["session.id"].as_str().unwrap(), "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    let cut = line(&mut running, "something open was ended");
    assert_eq!(cut["reason"], "the session was ended: somebody signed out, or it was revoked");
    assert_eq!((&cut["user.name"], &cut["route.id"]), (&"grace".into(), &"app".into()));
    let ended = line(&mut running, "\"outcome\":\"cut\"");
    assert_eq!((&ended["reason"], &ended["request.id"]), (&cut["reason"], &cut["request.id"]));

    // The rules change: the past is told as it was, and that it would be decided anew.
    let text = std::fs::read_to_string(site.path("cardea.toml")).unwrap();
    std::fs::write(site.path("cardea.toml"), text.replacen("signed-in", "user:ada", 1)).unwrap();
    assert!(said(&site, "reload", &[]).0 == Some(0));
    let (code, text) = said(&site, "explain", &["--request", &id]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ALLOWED   200") && text.contains("The policy has changed since"), "{text}");
    assert!(text.contains("none of user:ada"), "{text}");
    let (code, text) = said(&site, "explain", &["--request", "00000000-0000-7000-8000-000000000000"]);
    assert_eq!(code, Some(3), "{text}");

    let lines = running.seen().join("\n");
    assert!(!lines.contains("very-secret"), "nothing of a query is written down");
    assert!(running.stop().success());
}
