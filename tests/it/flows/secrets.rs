//! What must stay secret: nothing of it in the database's files, nothing in the logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{Span, Status};
use cardea::store::users;
use reqwest::Method;

use super::{after_password, authenticator, enrol, sign_out};
use crate::support::stage::{Engine, Stage, Visitor};

/// Where the child writes what it kept secret. Set only for the child.
const FOLDER: &str = "CARDEA_TEST_SECRETS";

/// Every secret of a run, by what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn keep(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 6, "{what}: too short to be looked for");
        let number = self.0.len();
        self.0.insert(format!("{what} ({number})"), secret.to_owned());
    }

    fn keep_cookies(&mut self, stage: &Stage, visitor: &Visitor) {
        for host in ["access.cardea", "lantern.cardea", "reports.cardea", "lantern.partner"] {
            for name in ["cardea", "cardea-browser"] {
                if let Some(value) = visitor.cookie(&stage.url(host, "/"), name) {
                    self.keep(&format!("the cookie {name} of {host}"), &value);
                }
            }
        }
    }
}

/// A day in the life: every kind of secret is made, used, used wrongly, and used again.
async fn a_day(stage: &Stage) -> Secrets {
    let mut secrets = Secrets::default();
    let (admin, by) = (&stage.house().admin, Authority::system());
    secrets.keep("the password of everybody", PASSWORD);
    secrets.keep("ada's seed", &stage.demo.authenticator.base32());

    // A sign-in with everything that can go wrong.
    let mut visitor = stage.visitor();
    visitor.get(&stage.url("reports.cardea", "/secret-page?token=in-the-query-of-an-app")).await;
    secrets.keep("a query", "in-the-query-of-an-app");
    let sealed = visitor.url.split_once("return_to=").unwrap().1.to_owned();
    secrets.keep("a sealed return address", &sealed);
    // People type the password where the name belongs.
    let name = visitor.ready(&[("identifier", "my-pass-typed-as-a-name")]);
    secrets.keep("a password typed as a name", "my-pass-typed-as-a-name");
    secrets.keep("a form's tag", name.value("csrf"));
    let wrong_name = name.send().await.location().unwrap();
    visitor.get(&stage.portal(&wrong_name)).await;
    visitor.submit(&[("password", "a-wrong-pass-for-nobody")]).await;
    secrets.keep("a wrong password", "a-wrong-pass-for-nobody");
    let mut visitor = stage.visitor();
    visitor.get(&stage.url("reports.cardea", "/")).await;
    visitor.submit(&[("identifier", "grace")]).await;
    let form = visitor.ready(&[("password", "another-wrong-pass")]);
    secrets.keep("a flow's handle", form.value("flow"));
    form.send().await;
    secrets.keep("another wrong password", "another-wrong-pass");
    form.header("origin", "https://evil.example").send().await;
    visitor.submit(&[("password", PASSWORD)]).await;
    let key = visitor.attribute("#key", "data-value").unwrap();
    secrets.keep("a pending seed", &key);
    visitor.submit(&[("code", "000000")]).await;
    let (_, codes) = enrol(stage, &mut visitor).await;
    assert_eq!(visitor.title(), "Hello, Grace Hopper");
    for code in &codes {
        secrets.keep("a recovery code", code);
        secrets.keep("a recovery code without hyphens", &code.replace('-', ""));
    }
    secrets.keep_cookies(stage, &visitor);
    let (_, seen) = visitor.fetch(&stage.url("reports.cardea", "/")).await;
    let assertion =
        seen["headers"].as_array().unwrap().iter().find(|field| field[0] == "cardea-assertion").unwrap();
    secrets.keep("an assertion", assertion[1].as_str().unwrap());

    // A recovery code, used twice; a code handed on, twice, and once to the wrong host.
    for _ in 0..2 {
        let mut again = after_password(stage, "grace").await;
        let to = again.attribute("a[href*=recovery]", "href").unwrap();
        again.get(&stage.portal(&to)).await;
        again.ready(&[("code", &codes[0])]).send().await;
        secrets.keep_cookies(stage, &again);
    }
    let callback = super::handoff::code(&visitor, &stage.url("lantern.cardea", "/")).await;
    secrets.keep("a hand-off code", callback.split_once("code=").unwrap().1);
    visitor.look(&callback.replace("lantern.cardea", "reports.cardea")).await;
    visitor.look(&callback).await;
    visitor.get(&stage.url("lantern.cardea", "/")).await;
    secrets.keep_cookies(stage, &visitor);

    // A code of the moment, right and used again.
    let mut ada = stage.signed_in("ada").await;
    ada.get(&stage.url("lantern.partner", "/")).await;
    secrets.keep_cookies(stage, &ada);
    ada.get(&stage.portal("/password/change")).await;
    ada.submit(&[("current", PASSWORD), ("password", "lamp-and-harbour-9")]).await;
    secrets.keep("a new password", "lamp-and-harbour-9");
    secrets.keep_cookies(stage, &ada);

    // Links: looked at, used, used again; asked of another host, as people do who try what they were sent.
    let linus = stage.user("linus").await;
    let mut links = Vec::new();
    for _ in 0..2 {
        links.push(admin.password_link(&by, linus, Span::minutes(30)).await.unwrap().text.expose().clone());
    }
    let user = stage.user("ada").await;
    let mut tx = stage.house().db.begin().await.unwrap();
    users::set_status(&mut tx, user, Status::Inactive, None).await.unwrap();
    tx.commit(stage.now()).await.unwrap();
    links.push(admin.setup_link(&by, Span::minutes(30)).await.unwrap().text.expose().clone());
    for link in &links {
        let token = link.rsplit_once('/').unwrap().1;
        secrets.keep("a link", token);
        let mut visitor = stage.visitor();
        visitor.get(link).await;
        let path = link.strip_prefix(&stage.portal("")).unwrap();
        for elsewhere in [
            format!("http://127.0.0.1:{}{path}", stage.port),
            format!("http://localhost:{}{path}", stage.port),
            stage.url("nobody.cardea", path),
            stage.url("lantern.cardea", path),
            stage.portal(&path.replace("/set", "//set")),
            stage.portal(&format!("{path}/")),
            stage.portal(&format!("{path}?x={token}")),
            stage.portal(&format!("/{token}")),
            stage.portal(&format!("{path};x=1")),
        ] {
            visitor.look(&elsewhere).await;
            visitor.once(Method::DELETE, &elsewhere, None).await;
        }
        visitor.get(link).await;
        if visitor.title() == "Set your password" {
            visitor.submit(&[("password", "short-pw")]).await;
            visitor.submit(&[("password", "anchor-and-meadow-4")]).await;
        } else if visitor.title() == "Create the first administrator" {
            visitor
                .submit(&[
                    ("name", "Vera First"),
                    ("email", "vera@acme.example"),
                    ("username", "vera"),
                    ("password", "anchor-and-meadow-4"),
                ])
                .await;
        }
        visitor.get(link).await;
    }
    secrets.keep("a password set by a link", "anchor-and-meadow-4");
    secrets.keep("a password that would not do", "short-pw");

    // Reset, throttled, an app that is down, a malformed request.
    let grace = stage.user("grace").await;
    let reset = admin.reset_mfa(&by, grace).await.unwrap();
    secrets.keep("a code for the next enrolment", reset.text.expose());
    let form = stage.named("grace").await.ready(&[("password", "guess-by-somebody")]);
    for _ in 0..10 {
        form.send().await;
    }
    secrets.keep("a guess", "guess-by-somebody");
    let mut yana = stage.signed_in("yana").await;
    yana.get(&stage.url("crm.cardea", "/?q=in-the-query-of-a-dead-app")).await;
    secrets.keep("another query", "in-the-query-of-a-dead-app");
    secrets.keep_cookies(stage, &yana);
    sign_out(stage, &mut yana).await;
    // What is left behind is written in a moment.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_01_key_01_mfa_05_the_files_of_the_database_tell_no_secret() {
    let stage = Stage::open(Engine::Sqlite).await;
    let secrets = a_day(&stage).await;
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(stage.folder.path()).unwrap() {
        let file = entry.unwrap().path();
        if file.file_name().unwrap().to_str().unwrap().starts_with("cardea.db") {
            bytes.push((file.display().to_string(), std::fs::read(file).unwrap()));
        }
    }
    assert!(
        bytes.iter().any(|(_, bytes)| found(bytes, b"grace@acme.example")),
        "the files are read as they are"
    );
    for (what, secret) in &secrets.0 {
        // What somebody types as a name is part of the flow until it has run out, and so is where it leads.
        if ["a password typed as a name", "a sealed return address", "a query", "another query"]
            .iter()
            .any(|known| what.starts_with(known))
        {
            continue;
        }
        for (file, bytes) in &bytes {
            assert!(!found(bytes, secret.as_bytes()), "{what} is in {file}");
        }
    }
    // Seeds as bytes, and handles as the bytes that they encode.
    let mut raw = vec![stage.demo.authenticator.expose().to_vec()];
    for (what, secret) in &secrets.0 {
        if what.starts_with("a pending seed") {
            raw.push(authenticator(secret).expose().to_vec());
        }
        if what.starts_with("the cookie")
            || what.starts_with("a link")
            || what.starts_with("a flow")
            || what.starts_with("a hand-off")
        {
            use base64::Engine as _;
            raw.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(secret).unwrap());
        }
    }
    for secret in raw {
        assert!(bytes.iter().all(|(_, bytes)| !found(bytes, &secret)), "a secret is there as bytes");
    }
    stage.demo.stop().await;
}

fn found(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The day, in a process of its own that logs everything there is to log. Does nothing in an ordinary run.
#[test]
fn key_03_the_day_that_is_logged() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    cardea::app::start_logging("cardea=trace,info", true);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let secrets = runtime.block_on(async {
        let stage = Stage::open(Engine::Sqlite).await;
        let secrets = a_day(&stage).await;
        stage.demo.stop().await;
        secrets
    });
    std::fs::write(Path::new(&folder).join("secrets.json"), serde_json::to_vec(&secrets.0).unwrap()).unwrap();
}

#[test]
fn key_03_pwd_07_the_logs_tell_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "flows::secrets::key_03_the_day_that_is_logged", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}");
    let secrets: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(folder.path().join("secrets.json")).unwrap()).unwrap();
    assert!(secrets.len() > 40, "{}", secrets.len());
    // It is the whole log: requests of the portal, of apps, of nobody's.
    for wanted in [
        "/password/set/",
        "/setup/",
        "/.cardea/callback",
        "\"portal\"",
        "\"lantern\"",
        "no-route",
        "/secret-page",
    ] {
        assert!(log.contains(wanted), "nothing of {wanted} in the log:\n{log}");
    }
    let told: Vec<String> = secrets
        .iter()
        .filter_map(|(what, secret)| {
            let line = log.lines().find(|line| line.contains(secret.as_str()))?;
            Some(format!("{what}: {line}"))
        })
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}
