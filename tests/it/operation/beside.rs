//! The command line beside a server that runs: which server it finds, and what it does when the file is broken meanwhile.

use std::process::{Command, Output};

use cardea::domain::{Actor, AuditEvent, Outcome, Span, Timestamp};
use cardea::store::audit;
use cardea::sys::OsChance;

use super::Site;
use crate::support::free_port;
use crate::support::kill::Running;
use crate::support::stage::{Engine, Stage};

/// What a command said, both outputs, and its exit code.
fn said(output: &Output) -> (Option<i32>, String) {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

impl Site {
    /// Runs the program with these words in the folder.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        self.run_with("cardea.toml", words)
    }

    /// The same with another file.
    fn run_with(&self, file: &str, words: &str) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        command.args(words.split_whitespace()).arg("--config").arg(self.path(file));
        command.current_dir(self.folder.path()).env_remove("CARDEA_CONFIG");
        said(&command.output().unwrap())
    }

    /// Writes a further file: this one's text with something else in place of another.
    fn variant(&self, file: &str, changes: &[(&str, &str)]) {
        let mut text = std::fs::read_to_string(self.path("cardea.toml")).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "no {from} in {text}");
            text = text.replace(from, to);
        }
        std::fs::write(self.path(file), text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_nobody_from_stopping_somebody() {
    let site = Site::new(None);
    site.write("");
    let running = site.serve();
    let made = site.run("user create mallory --show-link");
    assert_eq!(made.0, Some(0), "{}", made.1);
    site.write("[nonsense]\nfoo = 1\n");
    for words in ["user list", "user suspend mallory --reason gone --yes", "session revoke-all mallory --yes"]
    {
        let (code, text) = site.run(words);
        assert_eq!(code, Some(0), "{words}: {text}");
        assert!(
            text.contains("warning: the configuration in the files is wrong") && text.contains("E0105"),
            "{text}"
        );
    }
    assert!(site.run("user show mallory").1.contains("suspended"));
    // The server has noticed as well, and names the error and not some warning before it.
    let began = std::time::Instant::now();
    loop {
        let (code, text) = site.run("status");
        assert_eq!(code, Some(0), "{text}");
        if text.contains("stale since") {
            assert!(text.contains("error[E0105] unknown key `nonsense`"), "{text}");
            break;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(running.stop().success());
    // Without a server, the file is needed.
    let (code, text) = site.run("user list");
    assert!(code == Some(2) && text.contains("error[E0105]"), "{code:?} {text}");
}

#[test]
fn a_command_reaches_the_server_of_its_own_database_or_none() {
    let site = Site::new(None);
    site.write("");
    let running = site.serve();
    // Its own database and the socket of the server: nothing is done.
    site.variant("other.toml", &[("/cardea.db", "/other.db")]);
    let (code, text) = site.run_with("other.toml", "user create mallory --show-link");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("nothing was done") && text.contains("other.db") && text.contains("cardea.db"),
        "{text}"
    );
    // The socket that goes with its database: no server there, so it is done there.
    site.variant("third.toml", &[("/cardea.db", "/third.db"), ("control_socket", "# control_socket")]);
    let (code, text) = site.run_with("third.toml", "user create linus --show-link");
    assert_eq!(code, Some(0), "{text}");
    let (_, text) = site.run("user list");
    assert!(!text.contains("mallory") && !text.contains("linus"), "{text}");
    assert!(site.run_with("third.toml", "user list").1.contains("linus"));
    // However the same file is written, it is the same.
    std::os::unix::fs::symlink(site.folder.path(), site.path("here")).unwrap();
    site.variant("fourth.toml", &[("/cardea.db", "/here/../cardea.db")]);
    let (code, text) = site.run_with("fourth.toml", "user list");
    assert_eq!(code, Some(1), "..: a folder above the link's, {text}");
    site.variant("fifth.toml", &[("/cardea.db", "/here/cardea.db")]);
    let (code, text) = site.run_with("fifth.toml", "user list");
    assert_eq!(code, Some(0), "{text}");
    assert!(running.stop().success());
}

#[test]
fn two_gateways_do_not_share_a_port() {
    let (one, other) = (Site::new(None), Site::new(None));
    one.write("");
    let running = one.serve();
    other.write("");
    other.variant("cardea.toml", &[(&format!(":{}\"", other.port), &format!(":{}\"", one.port))]);
    let (code, text) = said(&other.command("serve").output().unwrap());
    assert!(
        code == Some(1) && text.contains(&format!("cannot listen on {}", one.address())),
        "{code:?} {text}"
    );
    assert!(!other.path("cardea.db").exists(), "nothing was touched");
    let demo = Command::new(env!("CARGO_BIN_EXE_cardea"))
        .args(["demo", "--listen", &one.address().to_string()])
        .output()
        .unwrap();
    let (code, text) = said(&demo);
    assert!(code == Some(1) && text.contains("cannot listen on"), "{code:?} {text}");
    assert!(running.stop().success());
    let _ = free_port();
}

#[test]
fn a_wrong_path_makes_no_empty_installation() {
    let mut site = Site::new(None);
    site.storage = format!("sqlite:{}/nosuch/dir/c.db", site.folder.path().display());
    site.write("");
    site.variant("cardea.toml", &[("control_socket", "# control_socket")]);
    for words in ["serve", "status", "user create grace --show-link", "db migrate"] {
        let (code, text) = site.run(words);
        assert!(code != Some(0) && text.contains("there is no folder"), "{words}: {code:?} {text}");
    }
    assert!(!site.path("nosuch").exists());
    // Looking makes no database either.
    site.storage = format!("sqlite:{}/c.db", site.folder.path().display());
    site.write("");
    for words in ["status", "user list", "audit tail", "db check"] {
        let (code, text) = site.run(words);
        assert!(code == Some(4) && text.contains("there is no database yet"), "{words}: {code:?} {text}");
    }
    assert!(!site.path("c.db").exists());
    assert_eq!(site.run("user create grace --show-link").0, Some(0));
    assert_eq!(site.run("user list").0, Some(0));
    // What is no database is named, with what to do.
    std::fs::write(site.path("c.db"), "junk, and more than a little of it\n".repeat(100)).unwrap();
    for words in ["serve", "user list"] {
        let (code, text) = site.run(words);
        let fine = text.contains("c.db") && text.contains("Mend storage.url");
        assert!(code != Some(0) && fine, "{words}: {code:?} {text}");
    }
}

#[test]
fn what_serve_refuses_check_refuses() {
    let site = Site::new(None);
    site.write("");
    site.variant("cardea.toml", &[("master_key", "# master_key")]);
    let (code, text) = site.run("check");
    assert!(code == Some(2) && text.contains("`secrets.master_key` is missing"), "{code:?} {text}");
    assert!(text.contains("openssl rand -base64 32"), "{text}");
    assert_eq!(site.run("serve").0, Some(2));
}

#[test]
fn a_reload_says_what_waits_for_a_restart() {
    let site = Site::new(None);
    site.write("");
    let running = site.serve();
    assert!(site.run("reload").1.contains("the configuration was taken over\n"));
    site.variant("cardea.toml", &[(&format!(":{}\"]", site.port), &format!(":{}\"]", free_port()))]);
    let (code, text) = site.run("reload");
    assert!(code == Some(0) && text.contains("waits for a restart: server.listen"), "{code:?} {text}");
    let (_, text) = site.run("status");
    assert!(text.contains("current, but for what waits for a restart: server.listen"), "{text}");
    assert!(running.stop().success());
}

#[test]
fn a_group_that_a_policy_names_and_nobody_has_is_told() {
    let site = Site::new(None);
    site.write(
        "[[route]]\nhost = \"one.cardea.localhost\"\nto = [\"http://127.0.0.1:9\"]\nallow = [\"group:nosuch\"]\n",
    );
    let running = site.serve();
    let told = || site.run("status").1.contains("group:nosuch does not exist; it lets nobody in");
    assert!(told());
    assert_eq!(site.run("group create default nosuch").0, Some(0));
    assert!(!told());
    let (code, text) = site.run("group delete default/nosuch --yes");
    assert!(code == Some(0) && text.contains("the route one names it"), "{code:?} {text}");
    assert!(told());
    let (_, text) = site.run("group list");
    assert!(text.contains("nothing to list"), "{text}");
    assert!(running.stop().success());
}

#[test]
fn a_demo_keeps_its_data_where_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    for _ in 0..2 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        command.args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--keep", "kept/here"]);
        command.current_dir(folder.path());
        let mut running = Running::start(command);
        running.line("Its data stays in");
        assert!(running.stop().success());
        assert!(folder.path().join("kept/here/cardea.db").exists());
    }
}

/// A record becomes visible when its transaction ends, and has the time of before: it may come after younger ones.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_the_audit_log_misses_no_record_that_comes_late() {
    let stage = Stage::open(Engine::Sqlite).await;
    let write = async |action: &'static str, at: Timestamp| {
        let mut tx = stage.house().db.begin().await.unwrap();
        let event = AuditEvent::new(Actor::System, action, Outcome::Done);
        audit::write(&mut tx, &event, at, &OsChance).await.unwrap();
        tx.commit(at).await.unwrap();
    };
    let ago = |seconds: i64| stage.now() - Span::seconds(seconds);
    write("test.before", ago(5)).await;
    let config = stage.folder.path().join("cardea.toml");
    let mut following =
        Running::cardea(&["audit", "tail", "--follow", "-n", "1", "--config", config.to_str().unwrap()]);
    following.line("OUTCOME");
    write("test.first", stage.now()).await;
    following.line("test.first");
    write("test.late", ago(4)).await;
    following.line("test.late");
    write("test.last", stage.now()).await;
    let mut seen = following.line("test.last");
    seen.push_str(&following.seen().join("\n"));
    assert_eq!(seen.matches("test.late").count(), 1, "{seen}");
    assert_eq!(seen.matches("test.first").count(), 1, "{seen}");
    following.kill9();
    stage.demo.stop().await;
}

/// Threads share their addresses, so that two servers could as well: people would come to one or the other by chance.
#[test]
fn of_two_that_start_at_one_moment_one_serves() {
    let first = Site::new(None);
    let mut second = Site::new(None);
    second.port = first.port;
    let start = |site: &Site| {
        site.write("");
        Running::start(site.command("serve"))
    };
    let mut running = vec![start(&first), start(&second)];
    let begun = std::time::Instant::now();
    let ended = loop {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "both serve");
        if let Some(ended) = running.iter_mut().position(Running::ended) {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    running.remove(ended).line(&format!("cannot listen on 127.0.0.1:{}", first.port));
    let mut winner = running.remove(0);
    winner.line("ready");
    assert!(winner.stop().success());
}
