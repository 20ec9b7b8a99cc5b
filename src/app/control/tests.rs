use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::app::local::Local;
use crate::config;

use super::*;

/// A configuration in a folder of its own, as `cardea init` would write it.
fn configured(folder: &std::path::Path, more: &str) -> config::Loaded {
    let file = folder.join("cardea.toml");
    std::fs::write(folder.join("master.key"), config::key_file(&[7; 32]).as_bytes()).unwrap();
    std::fs::set_permissions(folder.join("master.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[server]\npublic_url = \"https://access.example.com\"\n[storage]\nurl = \"sqlite:{0}/records.db\"\n\
         [secrets]\nmaster_key = {{ file = \"{0}/master.key\" }}\n{more}",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    let options = config::Options { file: Some(file), ..config::Options::default() };
    config::load(&options, crate::sys::Clock::now(&crate::sys::SystemClock::default()))
        .unwrap_or_else(|report| panic!("{report}"))
}

const ACME: &str = r#"
[[tenant]]
slug = "acme"
name = "Acme"
[[role]]
slug = "analyst"
scope = "tenant"
permissions = { reports = ["read"] }
[[route]]
name = "reports"
host = "reports.example.com"
to = ["http://127.0.0.1:9"]
tenant = "acme"
[[route.rule]]
path = "/admin/*"
needs = "reports:admin"
require = ["mfa"]
[[route.rule]]
needs = "reports:read"
"#;

fn create(username: &str, join: &str) -> Command {
    Command::UserCreate {
        username: username.to_owned(),
        wish: UserWish { join: vec![join.to_owned()], ..UserWish::default() },
        password: Some(Typed::new("maple-ferry-31".to_owned())),
        life: None,
    }
}

fn given() -> Circumstances {
    Circumstances::default()
}

async fn ask(local: &mut Local, json: serde_json::Value) -> Answer {
    local.call(serde_json::from_value(json).unwrap()).await
}

#[tokio::test]
async fn people_are_made_and_decisions_explained() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = Local::open(&configured(folder.path(), ACME)).await.unwrap();
    let made = local.call(create("grace", "acme")).await;
    assert_eq!((made.exit, made.once.len()), (Exit::Done, 0), "{made:?}");
    let url = "https://reports.example.com/page".to_owned();
    let explain =
        |url: &str, given| Command::Explain { user: "grace".to_owned(), url: url.to_owned(), given };
    // A password that somebody else chose opens nothing.
    let answer = local.call(explain(&url, given())).await;
    assert_eq!(answer.exit, Exit::Refused);
    assert!(
        answer.text[0].starts_with("DENIED") && answer.text[0].contains("must change the password"),
        "{answer:?}"
    );
    let grant = serde_json::json!({ "do": "role-grant", "what": "analyst", "user": "grace", "at": null });
    assert_eq!(ask(&mut local, grant).await.exit, Exit::Done);
    let holders =
        Command::WhoCan { what: "reports:read".to_owned(), at: Some("acme".to_owned()), given: given() };
    let holders = local.call(holders).await;
    assert_eq!(holders.table.unwrap().rows, [["grace", "grace", "role analyst at acme"]]);
    let nobody = Command::WhoCan { what: "reports:admin".to_owned(), at: None, given: given() };
    assert_eq!(local.call(nobody).await.exit, Exit::Refused);
    let reach = local.call(Command::Can { user: "grace".to_owned(), given: given() }).await;
    assert_eq!(reach.table.unwrap().rows.len(), 2, "one line for each rule");
    for (url, exit) in [
        ("https://nowhere.example/", Exit::NotFound),
        ("https://", Exit::Usage),
        ("reports.example.com/a/../b", Exit::Usage),
    ] {
        assert_eq!(local.call(explain(url, given())).await.exit, exit, "{url}");
    }
    local.close().await;
}

#[tokio::test]
async fn exit_codes_and_codes_are_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = Local::open(&configured(folder.path(), ACME)).await.unwrap();
    local.call(create("grace", "acme")).await;
    let cases = [
        (create("grace", "acme"), Exit::Refused, "username_taken"),
        (create("g", "acme"), Exit::Usage, "usage"),
        (create("linus", "nowhere"), Exit::NotFound, "not_found"),
        (Command::UserShow { user: "nobody".to_owned() }, Exit::NotFound, "not_found"),
        (Command::RoleDelete { role: "owner".to_owned(), force: true }, Exit::Refused, "system_role"),
        (Command::TenantDelete { tenant: "acme".to_owned(), force: true }, Exit::Refused, "managed_by_file"),
        (Command::Reload, Exit::Unreachable, "no_server"),
    ];
    for (command, exit, code) in cases {
        let answer = local.call(command).await;
        assert_eq!((answer.exit, answer.code.as_deref()), (exit, Some(code)), "{answer:?}");
    }
    // What was refused is in the log as well, and who asked.
    let tail = Command::AuditTail {
        limit: 50,
        tenant: None,
        action: Some("user.create".to_owned()),
        actor: None,
        target: None,
        outcome: Some("refused".to_owned()),
    };
    let tail = local.call(tail).await;
    let row = &tail.table.unwrap().rows[0];
    assert_eq!(
        (row[1].as_str(), row[2].as_str(), row[3].as_str()),
        (format!("{} on the host", own_name()).as_str(), "user.create", "refused")
    );
    let link = local.call(Command::UserLink { user: "grace".to_owned(), life: None }).await;
    let text = link.once[0].text.expose();
    assert!(text.starts_with("https://access.example.com/password/set/"));
    assert!(!format!("{link:?}").contains(text), "a link is in no log");
    assert!(!link.for_programs().to_string().contains(text));
}

async fn served(
    folder: &std::path::Path,
) -> (std::path::PathBuf, tokio::task::JoinHandle<std::io::Result<()>>) {
    let local = Local::open(&configured(folder, ACME)).await.unwrap();
    let path = folder.join("run/cardea.sock");
    let socket = Socket::bind(&path).await.unwrap();
    let controls = Arc::new(local.into_controls());
    (path, tokio::spawn(socket.serve(controls)))
}

#[tokio::test]
async fn the_socket_is_its_owner_s_alone_and_says_who_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, server) = served(folder.path()).await;
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");

    let mut client = Client::connect(&path).await.unwrap().unwrap();
    assert_eq!(client.call(&create("grace", "acme")).await.unwrap().exit, Exit::Done);
    let tail = Command::AuditTail {
        limit: 1,
        tenant: None,
        action: Some("user.create".to_owned()),
        actor: None,
        target: None,
        outcome: None,
    };
    let tail = client.call(&tail).await.unwrap();
    assert_eq!(tail.json[0]["actor"], own_name());
    let mut second = Client::connect(&path).await.unwrap().unwrap();
    assert_eq!(second.call(&Command::TenantList).await.unwrap().table.unwrap().rows.len(), 1);

    // A living server is not pushed aside; a dead one's socket is replaced.
    assert_eq!(Socket::bind(&path).await.err().unwrap().kind(), std::io::ErrorKind::AddrInUse);
    server.abort();
    assert!(server.await.is_err());
    assert!(Client::connect(&path).await.unwrap().is_none(), "it takes its socket with it");
    let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(left);
    assert!(path.exists());
    drop(Socket::bind(&path).await.unwrap());
    std::fs::write(&path, "a file").unwrap();
    assert_eq!(Socket::bind(&path).await.err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[tokio::test]
async fn what_the_server_does_not_understand_ends_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let (path, _server) = served(folder.path()).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"{\"do\":\"fly\"}\nnot json\n{\"do\":\"tenant-list\"}\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let answers: Vec<Answer> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        answers.iter().map(|answer| answer.exit).collect::<Vec<_>>(),
        [Exit::Usage, Exit::Usage, Exit::Done]
    );
    // Half a command is none.
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"{\"do\":\"user-delete\",\"user\":\"grace\"}").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "");
}
