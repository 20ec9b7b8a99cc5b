//! The tools of the tests, tested: a fence that lets everything through is worse than none.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::key::Key;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::browser::{Look, Page};
use crate::support::kill::{Running, wait_for_port};
use crate::support::{free_port, postgres};

// -- PostgreSQL -----------------------------------------------------------------------------------------

#[tokio::test]
async fn databases_are_fresh_and_sort_by_language() {
    let (one, other) = (postgres::fresh_database().await, postgres::fresh_database().await);
    assert_ne!(one, other);
    let mut connection = PgConnection::connect(&one).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (x TEXT)").execute(&mut connection).await.unwrap();
    let mut connection = PgConnection::connect(&other).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (x TEXT)").execute(&mut connection).await.unwrap();
    let sorted: (bool, bool) =
        sqlx::query_as("SELECT 'a' < 'B', 'a' < 'B' COLLATE \"C\"").fetch_one(&mut connection).await.unwrap();
    assert_eq!(sorted, (true, false));
}

#[tokio::test]
async fn a_killed_server_keeps_what_it_acknowledged() {
    let server = postgres::durable();
    let url = server.fresh_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (x BIGINT)").execute(&mut connection).await.unwrap();
    for round in 1..=3_i64 {
        sqlx::query("INSERT INTO t VALUES ($1)").bind(round).execute(&mut connection).await.unwrap();
        server.kill9();
        assert!(sqlx::query("SELECT 1").execute(&mut connection).await.is_err());
        server.restart();
        connection = PgConnection::connect(&url).await.unwrap();
        let count: (i64,) =
            sqlx::query_as("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap();
        assert_eq!(count.0, round);
    }
    server.restart();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let fsync: (String,) = sqlx::query_as("SHOW fsync").fetch_one(&mut connection).await.unwrap();
    assert_eq!(fsync.0, "on");
}

// -- the browser ----------------------------------------------------------------------------------------

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'; trusted-types cardea";

const GOOD: &str = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>A good page</title>
    <meta name='viewport' content='width=device-width'><link rel='stylesheet' href='/style.css'>
    <script src='/script.js' defer></script></head><body><main><h1>A good page</h1>
    <p>Ada, Ελένη, Дарья, अदिति</p><noscript><p id='without'>No script.</p></noscript>
    <form action='/good'><label for='name'>Name</label> <input id='name' name='name'>
    <button id='go'>Go on</button></form></main></body></html>";

const BAD: &str = "<!doctype html><html><head><meta charset='utf-8'><title>A bad page</title></head><body>
    <main><h1 style='color: red'>A bad page</h1><input><svg width='900' height='9'></svg>
    <script>document.title = 'inline'</script></main></body></html>";

/// A server of two pages, the good one and the bad one, under the policy of our own pages.
async fn pages() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split([' ', '?']).nth(1).unwrap_or_default();
                let (kind, body) = match path {
                    "/good" => ("text/html", GOOD),
                    "/bad" => ("text/html", BAD),
                    "/style.css" => {
                        ("text/css", ":root { color-scheme: light dark; font-family: sans-serif }")
                    }
                    "/script.js" => ("text/javascript", "document.title += ', with script'"),
                    _ => ("text/plain", ""),
                };
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n");
                write!(answer, "Content-Length: {}\r\nConnection: close\r\n", body.len()).unwrap();
                write!(answer, "Content-Security-Policy: {POLICY}\r\n\r\n{body}").unwrap();
                // The browser may have changed its mind.
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_good_page_is_praised_in_every_look() {
    let address = pages().await;
    let page = Page::open(Look::DESK).await;
    page.goto(&format!("http://good.cardea.localhost:{}/good", address.port())).await.unwrap();
    assert_eq!(page.title().await.unwrap(), "A good page, with script");
    for (look, name) in Look::ALL.into_iter().zip(["desk", "desk-dark", "phone", "phone-dark"]) {
        page.look(look).await;
        let found = page.axe().await;
        assert!(found.is_empty(), "{look:?}: {found:#?}");
        assert_eq!(page.overflow_x().await, 0);
        let file = page.screenshot(&format!("tools-{name}")).await;
        let picture = std::fs::read(file).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        assert_eq!(picture[16..20], look.width.to_be_bytes());
    }
    let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!(page.execute(dark, vec![]).await.unwrap(), true);
    assert_eq!(page.csp_violations().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_page_is_found_out() {
    let address = pages().await;
    let page = Page::open(Look::PHONE).await;
    page.goto(&format!("http://bad.cardea.localhost:{}/bad", address.port())).await.unwrap();
    assert_eq!(page.title().await.unwrap(), "A bad page");
    let found = page.axe().await;
    let rules: Vec<_> = found.iter().map(|one| one.rule.as_str()).collect();
    assert!(rules.contains(&"html-has-lang") && rules.contains(&"label"), "{found:#?}");
    let label = found.iter().find(|one| one.rule == "label").unwrap();
    assert_eq!((label.impact.as_str(), label.elements[0].as_str()), ("critical", "<input>"));
    assert!(!label.help.is_empty());
    assert!(page.overflow_x().await > 500);
    let refused = page.csp_violations().await;
    assert!(refused.iter().any(|line| line.contains("script-src")), "{refused:#?}");
    assert!(refused.iter().any(|line| line.contains("style-src")), "{refused:#?}");
    assert!(page.console().await.iter().all(|line| line.level != "FATAL" && !line.text.is_empty()));
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let address = pages().await;
    let page = Page::open(Look::DESK).await;
    page.goto(&format!("http://127.0.0.1:{}/good", address.port())).await.unwrap();
    page.tab_to("#name").await;
    page.type_text("Ada").await;
    page.press(Key::Tab).await;
    assert!(page.focused().await.contains("id=\"go\""));
    page.press(Key::Enter).await;
    page.arrives_at("/good?name=Ada").await;
}

#[tokio::test]
async fn a_page_without_script() {
    let address = pages().await;
    let page = Page::open(Look::DESK.without_script()).await;
    page.goto(&format!("http://127.0.0.1:{}/good", address.port())).await.unwrap();
    assert_eq!(page.title().await.unwrap(), "A good page");
    assert_eq!(page.find(Locator::Id("without")).await.unwrap().text().await.unwrap(), "No script.");
    page.find(Locator::Id("name")).await.unwrap().send_keys("Ada").await.unwrap();
    page.find(Locator::Id("go")).await.unwrap().click().await.unwrap();
    page.arrives_at("/good?name=Ada").await;
    page.tab_to("#go").await;
    assert_eq!(page.overflow_x().await, 0);
    page.screenshot("tools-without-script").await;
}

// -- the program ----------------------------------------------------------------------------------------

#[test]
fn a_program_is_read_and_killed() {
    let script = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        Running::start(command)
    };
    let mut program = script("echo one; echo two >&2; echo three; sleep 60");
    assert_eq!(program.line("thr"), "three");
    let id = program.id();
    program.kill9();
    assert!(!Path::new(&format!("/proc/{id}")).exists());
    assert!(!script("sleep 60").stop().success());
    let mut polite = script("trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done");
    polite.line("ready");
    assert!(polite.stop().success());
}

#[test]
fn cardea_says_who_it_is() {
    assert!(Running::cardea(&["--version"]).line("cardea").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_is_waited_for() {
    let port = free_port();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap()
    });
    wait_for_port(SocketAddr::from(([127, 0, 0, 1], port)));
    late.join().unwrap();
}
