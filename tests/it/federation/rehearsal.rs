//! `cardea idp test`: what it says of a healthy provider and of broken ones, and that nothing of it stays.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cardea::access::Authority as Rights;
use cardea::domain::Slug;
use cardea::store::identities;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::World;
use super::journeys::cli;
use super::provider::Raw;
use crate::support::stage::{ENGINES, Engine, Visitor};
use crate::tls::world::{Authority, Minted};

/// The command, running, with what it has said so far.
struct Trial<'w> {
    world: &'w World,
    child: Child,
}

impl<'w> Trial<'w> {
    fn begin(world: &'w World, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        command.args(["idp", "test", "corp"]).args(more).env_remove("CARDEA_CONFIG");
        command.arg("--config").arg(world.stage.folder.path().join("cardea.toml"));
        if let Some(storage) = &world.stage.storage {
            command.env("CARDEA_STORAGE__URL", storage);
        }
        let file = |name: &str| Stdio::from(File::create(world.stage.folder.path().join(name)).unwrap());
        let child = command.stdin(Stdio::null()).stdout(file("trial.out")).stderr(file("trial.err"));
        Self { world, child: child.spawn().unwrap() }
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.world.stage.folder.path().join(name)).unwrap()
    }

    /// The address for a browser.
    async fn address(&mut self) -> String {
        for _ in 0..600 {
            let said = self.said("trial.err");
            if let Some(line) = said.lines().find(|line| line.contains("/auth/start/corp?rehearsal=")) {
                return line.trim().to_owned();
            }
            let over = self.child.try_wait().unwrap();
            assert!(over.is_none(), "it ended: {said} {}", self.said("trial.out"));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no address: {}", self.said("trial.err"));
    }

    /// Somebody opens the address; then the command ends with this code and has said this.
    async fn ended(mut self) -> (Option<i32>, String, Visitor) {
        let address = self.address().await;
        let mut visitor = self.world.stage.visitor();
        visitor.get(&address).await;
        for _ in 0..600 {
            if let Some(over) = self.child.try_wait().unwrap() {
                return (over.code(), self.said("trial.out"), visitor);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("it does not end: {} {}", visitor.text(), self.said("trial.err"));
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each line that stands there, with any spaces between its words.
fn stands(said: &str, lines: &[&str]) {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let all: Vec<String> = said.lines().map(words).collect();
    for line in lines {
        assert!(all.iter().any(|it| it == line), "no line {line:?} in:\n{said}");
    }
}

fn nobody_signed_in(world: &World, visitor: &Visitor) {
    assert!(!visitor.cookies(&world.stage.portal("/")).contains(&"cardea".to_owned()), "there is a session");
}

async fn jane(world: &World) -> bool {
    let mut conn = world.stage.house().db.read().await.unwrap();
    let corp = Slug::parse("corp").unwrap();
    identities::find(&mut conn, &corp, "248289761001").await.unwrap().is_some()
}

#[tokio::test]
async fn a_test_of_a_healthy_provider_shows_who_would_come_in_and_leaves_nothing() {
    for engine in ENGINES {
        let world = World::open(engine, "authoritative = true\n").await;
        let (code, said, visitor) = Trial::begin(&world, &[]).ended().await;
        assert_eq!(visitor.title(), "The provider has answered", "{}", visitor.text());
        assert_eq!(code, Some(0), "{said}");
        let issuer = &world.idp.issuer;
        stands(
            &said,
            &[
                &format!("connection passed {issuer}/.well-known/openid-configuration answers"),
                "clock passed the same as ours, within five seconds",
                &format!("discovery passed it is {issuer}"),
                "keys passed 1 can verify signatures: first (P256)",
                "algorithms passed the provider can sign with \"ES256 HS256 none\"",
                "subject 248289761001",
                "claim email = \"jane@acme.example\"",
                "claim groups = [\"fin-analysts\"]",
                "account jane (Jane Doe) would be made",
                "address jane@acme.example: verified; apps get it",
                "belongs to acme",
                "group staff",
                "second factor Cardea asks for its own where one is needed",
            ],
        );
        assert!(said.contains("analyst at acme/europe/finance, by rule 1 of corp ("), "{said}");
        nobody_signed_in(&world, &visitor);
        assert!(!jane(&world).await, "{engine:?}: somebody was made");
        let made = world.stage.house().admin.user_named(&Rights::system(), "jane").await;
        assert!(made.is_err(), "{engine:?}: an account was made");
        // Whoever is known and would lose a role loses none by a test.
        world.welcome().await;
        world.idp.says(|script| script.person["groups"] = json!([]));
        let (code, said, _) = Trial::begin(&world, &[]).ended().await;
        assert_eq!(code, Some(0), "{said}");
        stands(&said, &["account jane (Jane Doe) is there, tied to this subject", "claim groups = []"]);
        assert!(!said.contains("analyst"), "{said}");
        assert_eq!(world.roles("jane").await, ["analyst"], "{engine:?}: a test took a role away");
    }
}

#[tokio::test]
async fn the_address_of_a_test_serves_one_browser_and_signs_nobody_in() {
    for mode in ["query", "form_post"] {
        let world = World::open(Engine::Sqlite, &format!("response_mode = \"{mode}\"\n")).await;
        let mut trial = Trial::begin(&world, &["--output", "json"]);
        let address = trial.address().await;
        let mut first = world.stage.visitor();
        let page = first.look(&address).await;
        assert!(page.body.contains("cookie=1"), "a browser that shows no cookie: {}", page.text());
        // To the provider and not yet back.
        let cookie = format!("{address}&cookie=1");
        let to = first.look(&cookie).await.location().unwrap();
        let mut second = world.stage.visitor();
        second.get(&address).await;
        assert_eq!(second.title(), "Start again", "{}", second.text());
        // Another browser brings the answer.
        if mode == "query" {
            let back = first.look(&to).await.location().unwrap();
            let mut stranger = world.stage.visitor();
            stranger.get(&back).await;
            assert_eq!(stranger.title(), "Start again");
            first.get(&back).await;
        } else {
            first.get(&to).await;
            first.submit(&[("code", &first.attribute("input[name=code]", "value").unwrap())]).await;
        }
        assert_eq!(first.title(), "The provider has answered", "{mode}: {}", first.text());
        nobody_signed_in(&world, &first);
        for _ in 0..600 {
            if trial.child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let said: Value = serde_json::from_str(&trial.said("trial.out")).unwrap();
        assert_eq!(said["steps"][0]["step"], "connection");
        assert_eq!(said["sign_in"]["subject"], "248289761001");
        assert_eq!(said["sign_in"]["account"]["how"], "made");
        // The answer is spent, and its flow is no way to a session.
        first.get(&address).await;
        assert_eq!(first.title(), "Start again");
        assert!(!jane(&world).await);
    }
}

#[tokio::test]
async fn a_test_names_what_is_wrong_in_the_sign_in_and_the_remedy() {
    let world = World::open(Engine::Sqlite, "").await;
    world.idp.says(|script| {
        let raw = Raw { status: 401, ..Raw::json(r#"{"error":"invalid_client"}"#) };
        script.raw.insert("/token", raw);
    });
    let (code, said, visitor) = Trial::begin(&world, &[]).ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(!visitor.text().contains("invalid_client"), "the page says why");
    stands(
        &said,
        &[
            "refused by token answer",
            "found status 401, \"invalid_client\"; check client_id, client_secret and client_auth",
            "what to do see client_id, client_secret and client_auth, and the redirect address registered there",
        ],
    );
    world.idp.says(|script| {
        script.raw.clear();
        script.claims = json!({ "iat": 1 });
    });
    let (code, said, _) = Trial::begin(&world, &[]).ended().await;
    assert_eq!(code, Some(1), "{said}");
    stands(&said, &["refused by id token iat", "what to do have both clocks keep time by NTP"]);
    // Claims that were believed are shown, also where nobody would come in.
    let world = World::open(Engine::Sqlite, "provision = \"off\"\n").await;
    let (code, said, _) = Trial::begin(&world, &[]).ended().await;
    assert_eq!(code, Some(1), "{said}");
    stands(&said, &["subject 248289761001", "refused by provision"]);
    assert!(!jane(&world).await);
}

#[tokio::test]
async fn a_test_of_a_broken_provider_ends_at_what_is_broken() {
    let world = World::open(Engine::Sqlite, "").await;
    let tried = async |change: &dyn Fn()| {
        change();
        let (code, said) = cli(&world, &["idp", "test", "corp"]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(!said.contains("rehearsal="), "{said}");
        world.idp.says(|script| {
            (script.discovery, script.jwks) = (json!({}), None);
            script.raw.clear();
        });
        said
    };
    let says = |patch: Value| world.idp.says(|script| script.discovery = patch);
    let issuer = &world.idp.issuer;
    let said = tried(&|| says(json!({ "issuer": format!("{issuer}/") }))).await;
    assert!(said.contains("they differ by a slash at the end; write it as the provider does"), "{said}");
    let said = tried(&|| says(json!({ "id_token_signing_alg_values_supported": ["HS256", "ES512"] }))).await;
    assert!(said.contains("write one that it has into `algorithms`"), "{said}");
    let enc = json!({ "keys": [{ "kty": "RSA", "use": "enc", "n": "AQ", "e": "AQAB" }] });
    let said = tried(&|| world.idp.says(|script| script.jwks = Some(enc.clone()))).await;
    assert!(said.contains("of 1 keys none can verify a signature"), "{said}");
    let p384 = super::keys::Key::of("big", "ES384").public();
    let said = tried(&|| world.idp.says(|script| script.jwks = Some(json!({ "keys": [p384] })))).await;
    assert!(said.contains("none is for RS256, PS256, ES256, EdDSA"), "{said}");
    let html = || Raw { media_type: "text/html", ..Raw::json("<html>") };
    let said = tried(&|| world.idp.says(|script| drop(script.raw.insert("/discovery", html())))).await;
    assert!(said.contains("\"text/html\" instead of application/json"), "{said}");
    // What would not keep anybody out is said, and the sign-in goes on.
    says(
        json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"], "scopes_supported": ["openid"] }),
    );
    let (code, said) = cli(&world, &["idp", "test", "corp", "--no-sign-in"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("client_secret_basic is not among \"private_key_jwt\""), "{said}");
    assert!(said.contains("email profile is not among \"openid\""), "{said}");
    // Half an hour apart, as far as anybody can see.
    says(json!({}));
    world.later().await;
    let said = tried(&|| ()).await;
    assert!(said.contains("behind ours") && said.contains("have both keep time by NTP"), "{said}");
    // Nobody is there.
    let other = format!("idp.localhost:{}", crate::support::free_port());
    let here = format!("idp.localhost:{}", world.idp.port);
    let file = world.stage.folder.path().join("cardea.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace(&here, &other);
    std::fs::write(&file, text).unwrap();
    world.stage.demo.running.reloader().reload("a test").await.unwrap();
    let said = tried(&|| ()).await;
    assert!(said.contains("does not take the connection"), "{said}");
    assert!(said.contains("see whether the provider runs"), "{said}");
}

/// A provider of which only the door matters: it shows this certificate, and a document to whoever takes it.
async fn door(minted: &Minted, document: &Value, port: u16) {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![minted.der()], minted.key())
        .unwrap();
    let (acceptor, body) = (TlsAcceptor::from(Arc::new(config)), document.to_string());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
}

#[tokio::test]
async fn a_test_says_what_is_wrong_with_a_certificate_and_what_to_do() {
    let (ours, other) = (Authority::new(), Authority::new());
    let soon = ours.issue(&["idp.localhost"]);
    for (minted, code, word) in [
        (&ours.issue(&["idp.localhost"]), 0, "for idp.localhost, until 1 Jan 2100, 00:00 UTC"),
        (&other.issue(&["idp.localhost"]), 1, "name that authority in `ca`"),
        (
            &ours.issue_until(&["idp.localhost"], 2021),
            1,
            "its certificate has run out: have it renewed there",
        ),
        (&ours.issue(&["other.localhost"]), 1, "see whether the issuer is written with the right host"),
        (&soon, 0, "the provider does not say what time it is"),
    ] {
        let world = super::foreign::world(Engine::Sqlite, "https").await;
        let (issuer, port) = (world.idp.issuer.clone(), world.idp.port);
        let key = super::keys::Key::new("first").public();
        let document = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/a"), "token_endpoint": format!("{issuer}/t"),
            "jwks_uri": format!("{issuer}/k"), "keys": [key],
        });
        door(minted, &document, port).await;
        std::fs::write(world.stage.folder.path().join("ca.pem"), ours.pem()).unwrap();
        world.append(&world.section("corp", "tenant = \"acme\"\n", "ca = \"ca.pem\"\n")).await;
        let (found, said) = cli(&world, &["idp", "test", "corp", "--no-sign-in"]).await;
        assert!(found == Some(code) && said.contains(word), "{word}: {found:?} {said}");
    }
}
