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

/// bcrypt, of nothing that anybody signs in with here.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuLSfGLlTMdk.nDZlN1TlGZKkmQGI5kGm";

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

/// Runs what an explanation proposes, word by word, until the address opens.
async fn follow(local: &mut Local, user: &str, url: &str) -> Vec<String> {
    let mut run = Vec::new();
    for _ in 0..6 {
        let explain = Command::Explain { user: user.to_owned(), url: url.to_owned(), given: given() };
        let answer = local.call(explain).await;
        if answer.exit == Exit::Done {
            return run;
        }
        let remedies = answer.json["remedies"].as_array().unwrap();
        assert!(!remedies.is_empty(), "nothing is proposed: {answer:?}");
        for remedy in remedies {
            let (_, command) = remedy.as_str().unwrap().split_once(": cardea ").expect("a command");
            let words: Vec<&str> = command.split(' ').collect();
            let asked = match words.as_slice() {
                ["user", "edit", user, "--join", place] => {
                    serde_json::json!({ "do": "user-edit", "user": user,
                    "wish": { "join": [place], "roles": [], "groups": [] }, "leave": [] })
                }
                ["group", "join", group, user] => {
                    serde_json::json!({ "do": "group-join", "group": group, "user": user })
                }
                ["role", "grant", what, user, "--at", at] => {
                    serde_json::json!({ "do": "role-grant", "what": what, "user": user, "at": at })
                }
                ["role", "revoke", what, user, "--at", at] => {
                    serde_json::json!({ "do": "role-revoke", "what": what, "user": user, "at": at })
                }
                ["user", "activate", user] => serde_json::json!({ "do": "user-activate", "user": user }),
                ["tenant", "activate", tenant] => {
                    serde_json::json!({ "do": "tenant-activate", "tenant": tenant })
                }
                other => panic!("{other:?}"),
            };
            let done = ask(local, asked).await;
            assert_eq!(done.exit, Exit::Done, "{command} is refused: {done:?}");
            run.push(command.to_owned());
        }
    }
    panic!("{run:?} does not open {url}");
}

/// What `explain` proposes is taken by Cardea as it stands, gives no more than is asked, and opens the address.
#[tokio::test]
async fn what_is_proposed_can_be_done_and_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let more = r#"
[[tenant]]
slug = "acme"
[[tenant.org]]
slug = "europe"
[[role]]
slug = "reader"
tenant = "acme"
permissions = { reports = ["read"] }
[[role]]
slug = "all-of-it"
tenant = "acme"
permissions = { reports = ["read", "write"] }
[[role]]
slug = "hermit"
tenant = "acme"
permissions = { reports = ["read"] }
exclusive = true
[[group]]
slug = "staff"
[[route]]
name = "reports"
host = "reports.example.com"
to = ["http://127.0.0.1:9"]
[[route.rule]]
path = "/read"
needs = "reports:read"
[[route.rule]]
path = "/secret"
needs = "vault:open"
[[route.rule]]
path = "/staff"
allow = ["user:nobody", "role:reader", "group:staff"]
[[route.rule]]
path = "/europe"
allow = ["org:acme/europe"]
[[route.rule]]
path = "/both"
allow = ["role:all-of-it"]
needs = "reports:write"
[[route.rule]]
path = "/nobody"
allow = ["role:owner", "user:nobody"]
"#;
    let mut local = Local::open(&configured(folder.path(), more)).await.unwrap();
    let person = async |local: &mut Local, name: &str| {
        let import = serde_json::json!({ "username": name, "password_hash": HASH, "places": [] }).to_string();
        let done = local.call(Command::UserImport { lines: vec![(1, import)] }).await;
        assert_eq!(done.exit, Exit::Done, "{done:?}");
    };
    let cases: [(&str, &[&str]); 5] = [
        ("read", &["user edit pal1 --join acme", "role grant reader pal1 --at acme"]),
        ("secret", &["user edit pal2 --join acme", "role grant vault:open pal2 --at acme"]),
        ("staff", &["user edit pal3 --join acme", "group join acme/staff pal3"]),
        ("europe", &["user edit pal4 --join acme", "user edit pal4 --join acme/europe"]),
        ("both", &["user edit pal5 --join acme", "role grant all-of-it pal5 --at acme"]),
    ];
    for (number, (path, expected)) in cases.into_iter().enumerate() {
        let name = format!("pal{}", number + 1);
        person(&mut local, &name).await;
        let run = follow(&mut local, &name, &format!("https://reports.example.com/{path}")).await;
        assert_eq!(run, expected, "{path}");
    }
    // Beside an exclusive role nothing is given: it goes first.
    person(&mut local, "pal6").await;
    for command in [
        serde_json::json!({ "do": "user-edit", "user": "pal6", "wish": { "join": ["acme"], "roles": [], "groups": [] }, "leave": [] }),
        serde_json::json!({ "do": "role-grant", "what": "hermit", "user": "pal6", "at": "acme" }),
    ] {
        assert_eq!(ask(&mut local, command).await.exit, Exit::Done);
    }
    let run = follow(&mut local, "pal6", "https://reports.example.com/secret").await;
    assert_eq!(run, ["role revoke hermit pal6 --at acme", "role grant vault:open pal6 --at acme"]);
    // Nobody is made an owner, and nobody becomes somebody else: then nothing is proposed.
    let explain = Command::Explain {
        user: "pal6".to_owned(),
        url: "https://reports.example.com/nobody".to_owned(),
        given: given(),
    };
    assert_eq!(local.call(explain).await.json["remedies"], serde_json::json!([]));
    local.close().await;
}

/// Where somebody comes from is said by nobody but the asker; a rule is judged with its own methods.
#[tokio::test]
async fn what_depends_on_the_network_is_unknown_until_somebody_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let more = r#"
[networks]
office = ["192.0.2.0/24"]
[[tenant]]
slug = "acme"
[[route]]
name = "reports"
host = "reports.example.com"
to = ["http://127.0.0.1:9"]
[[route.rule]]
path = "/admin/*"
allow = ["signed-in"]
require = ["net:office"]
[[route.rule]]
path = "/closed/*"
needs = "reports:read"
require = ["net:office"]
[[route.rule]]
methods = ["GET"]
needs = "reports:read"
[[route.rule]]
methods = ["DELETE", "POST"]
allow = ["signed-in"]
[[route.rule]]
allow = ["user:nobody"]
"#;
    let mut local = Local::open(&configured(folder.path(), more)).await.unwrap();
    let import =
        serde_json::json!({ "username": "grace", "password_hash": HASH, "places": ["acme"] }).to_string();
    assert_eq!(local.call(Command::UserImport { lines: vec![(1, import)] }).await.exit, Exit::Done);
    let from = |ip: Option<&str>| Circumstances { ip: ip.map(|ip| ip.parse().unwrap()), ..given() };
    let opens = async |local: &mut Local, given: Circumstances| {
        let answer = local.call(Command::Can { user: "grace".to_owned(), given }).await;
        let told = answer.notes.iter().any(|note| note.contains("--ip"));
        let rows = answer.table.unwrap().rows;
        (rows.into_iter().map(|row| row[4].clone()).collect::<Vec<_>>(), told)
    };
    let words = |words: [&str; 5]| words.map(str::to_owned).to_vec();
    assert_eq!(
        opens(&mut local, from(None)).await,
        (words(["unknown without --ip", "no", "no", "yes", "no"]), true)
    );
    assert_eq!(
        opens(&mut local, from(Some("192.0.2.7"))).await,
        (words(["yes", "no", "no", "yes", "no"]), false)
    );
    assert_eq!(
        opens(&mut local, from(Some("198.51.100.7"))).await,
        (words(["no", "no", "no", "yes", "no"]), false)
    );
    let post = Circumstances { method: Some("post".to_owned()), ..from(Some("192.0.2.7")) };
    let not = "not with this method";
    assert_eq!(opens(&mut local, post).await.0, words(["yes", "no", not, "yes", "an earlier rule decides"]));

    let url = "https://reports.example.com/admin/x".to_owned();
    let explain = |ip| Command::Explain { user: "grace".to_owned(), url: url.clone(), given: from(ip) };
    for (ip, headline, exit) in [
        (None, "UNKNOWN", Exit::Refused),
        (Some("192.0.2.7"), "ALLOWED", Exit::Done),
        (Some("198.51.100.7"), "DENIED", Exit::Refused),
    ] {
        let answer = local.call(explain(ip)).await;
        assert!(answer.text[0].starts_with(headline) && answer.exit == exit, "{answer:?}");
        assert_eq!(answer.notes.iter().any(|note| note.contains("--ip")), ip.is_none());
        assert!(!answer.text[0].contains("0.0.0.0"), "{answer:?}");
    }
    for (ip, how) in
        [(None, Some("unknown without --ip")), (Some("192.0.2.7"), Some("yes")), (Some("::1"), None)]
    {
        let answer = local.call(Command::WhoCan { what: url.clone(), at: None, given: from(ip) }).await;
        let rows = answer.table.unwrap().rows;
        assert_eq!(rows.first().map(|row| row[2].as_str()), how);
    }
    let wrong = Circumstances { method: Some("G T".to_owned()), ..given() };
    let wrong = Command::Explain { user: "grace".to_owned(), url, given: wrong };
    assert_eq!(local.call(wrong).await.exit, Exit::Usage);
    local.close().await;
}

/// Of several things asked for at once, all are done or none.
#[tokio::test]
async fn what_is_changed_together_is_changed_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = Local::open(&configured(folder.path(), ACME)).await.unwrap();
    for slug in ["beta", "gamma"] {
        let made = serde_json::json!({ "do": "tenant-create", "slug": slug, "name": null, "plan": null, "mfa": false,
            "domains": [format!("{slug}.example")], "owner": null });
        assert_eq!(ask(&mut local, made).await.exit, Exit::Done);
    }
    local.call(create("grace", "acme")).await;
    let edit = |join: &[&str], leave: &[&str], name: Option<&str>| {
        serde_json::json!({ "do": "user-edit", "user": "grace", "leave": leave,
            "wish": { "name": name, "join": join, "roles": [], "groups": [] } })
    };
    let where_grace_is = async |local: &mut Local| {
        let shown = local.call(Command::UserShow { user: "grace".to_owned() }).await.json;
        (shown["member_of"].as_str().unwrap().to_owned(), shown["name"].as_str().unwrap().to_owned())
    };
    // She is not in gamma: nobody leaves it, and nothing else is done either.
    let refused = ask(&mut local, edit(&["beta"], &["gamma"], Some("Amazing"))).await;
    assert_eq!(refused.exit, Exit::NotFound, "{refused:?}");
    assert_eq!(where_grace_is(&mut local).await, ("acme".to_owned(), "grace".to_owned()));
    assert_eq!(ask(&mut local, edit(&["beta"], &["acme"], Some("Amazing"))).await.exit, Exit::Done);
    assert_eq!(where_grace_is(&mut local).await, ("beta".to_owned(), "Amazing".to_owned()));
    assert_eq!(ask(&mut local, edit(&[], &[], None)).await.exit, Exit::Usage, "nothing was asked for");

    let edit = |name: Option<&str>, domains: Option<&[&str]>| serde_json::json!({ "do": "tenant-edit", "tenant": "beta", "name": name, "plan": null, "mfa": null, "domains": domains });
    let refused = ask(&mut local, edit(Some("Other"), Some(&["gamma.example"]))).await;
    assert_eq!(refused.code.as_deref(), Some("domain_taken"), "{refused:?}");
    let name = async |local: &mut Local| {
        local.call(Command::TenantShow { tenant: "beta".to_owned() }).await.json["name"].clone()
    };
    assert_eq!(name(&mut local).await, "beta");
    assert_eq!(ask(&mut local, edit(Some("Other"), Some(&["other.example"]))).await.exit, Exit::Done);
    assert_eq!(name(&mut local).await, "Other");
    assert_eq!(ask(&mut local, edit(None, None)).await.exit, Exit::Usage, "nothing was asked for");

    // Each thing leaves its own record, the refusals as well.
    let actions = async |local: &mut Local, outcome: &str| {
        let tail = serde_json::json!({ "do": "audit-tail", "limit": 100, "tenant": null, "action": null, "actor": own_name(),
            "target": null, "outcome": outcome });
        let rows = ask(local, tail).await.table.unwrap().rows;
        let mut actions: Vec<_> =
            rows.into_iter().map(|row| row[2].clone()).filter(|it| !it.contains("create")).collect();
        // Of one moment, they have no order.
        actions.sort();
        actions
    };
    let done = ["membership.drop", "membership.put", "tenant.domains", "tenant.edit", "user.edit"];
    assert_eq!(actions(&mut local, "done").await, done);
    assert_eq!(actions(&mut local, "refused").await, ["tenant.domains"]);
    assert_eq!(actions(&mut local, "failed").await, ["membership.drop"]);
    let odd = serde_json::json!({ "do": "audit-tail", "limit": 9, "tenant": null, "action": null, "actor": null,
        "target": null, "outcome": "foo" });
    assert_eq!(ask(&mut local, odd).await.exit, Exit::Usage);
    local.close().await;
}

/// A copy of everything, and a new key, are changes like any other: recorded, with who made them.
#[tokio::test]
async fn copies_and_new_keys_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut local = Local::open(&configured(folder.path(), ACME)).await.unwrap();
    let to = folder.path().join("copy.db");
    assert_eq!(local.call(Command::DbBackup { to: to.clone() }).await.exit, Exit::Done);
    assert_eq!(local.call(Command::DbBackup { to: to.clone() }).await.exit, Exit::Refused, "it is there");
    assert_eq!(local.call(Command::KeysRotate).await.exit, Exit::Done);
    let tail = Command::AuditTail {
        limit: 10,
        tenant: None,
        action: None,
        actor: Some(own_name()),
        target: None,
        outcome: None,
    };
    let rows = local.call(tail).await.table.unwrap().rows;
    let rows: Vec<[&str; 3]> =
        rows.iter().map(|row| [row[2].as_str(), row[3].as_str(), row[4].as_str()]).collect();
    let to = to.to_str().unwrap();
    assert_eq!(rows[0], ["records.copy", "done", to]);
    assert_eq!(rows[1], ["records.copy", "done", to]);
    assert!(rows.contains(&["records.copy", "failed", to]), "{rows:?}");
    assert!(rows.iter().any(|row| row[0] == "keys.rotate" && row[1] == "done"), "{rows:?}");
    local.close().await;
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
