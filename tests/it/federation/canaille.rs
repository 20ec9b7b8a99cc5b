//! Sign-ins at a second provider that we did not write: Canaille, in Python, on Authlib. It speaks TLS with a certificate of
//! its company's own authority.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::World;
use super::foreign::{Foreign, answering, world};
use super::journeys::cli;
use crate::support::stage::{Engine, Visitor};
use crate::tls::world::Authority;

/// The provider: its records, its settings and its authority.
struct Canaille {
    folder: PathBuf,
    authority: Authority,
}

impl Canaille {
    /// Runs its own command line.
    fn command(folder: &Path, words: &[&str]) -> Command {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/canaille/bin");
        assert!(tools.join("canaille").exists(), "run `.ci/install canaille` first");
        let mut command = Command::new(tools.join("python"));
        command.arg(tools.join("canaille")).args(words).env("CANAILLE_CONFIG", folder.join("canaille.toml"));
        command.stderr(Stdio::null()).stdin(Stdio::null()).current_dir(folder);
        command
    }

    fn says(folder: &Path, words: &[&str]) -> serde_json::Value {
        let made = Self::command(folder, words).output().unwrap();
        assert!(made.status.success(), "{words:?}: {}", String::from_utf8_lossy(&made.stdout));
        serde_json::from_slice(&made.stdout).unwrap_or_default()
    }

    /// With somebody in a group, and us as a client.
    fn open(world: &World, client: &[&str]) -> Self {
        let folder = world.stage.folder.path().to_owned();
        let port = world.idp.port;
        let authority = Authority::new();
        let minted = authority.issue(&["idp.localhost"]);
        for (name, text) in
            [("tls.pem", &minted.cert), ("tls.key", &minted.key), ("ca.pem", &authority.pem())]
        {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let settings = |keys: &str| {
            format!(
                "SECRET_KEY = \"for the tests\"\nSERVER_NAME = \"idp.localhost:{port}\"\nPREFERRED_URL_SCHEME = \"https\"\n\
                 [CANAILLE]\nLANGUAGE = \"en\"\nJAVASCRIPT = false\n[CANAILLE_SQL]\nDATABASE_URI = \"sqlite:///{}/canaille.db\"\n{keys}",
                folder.display()
            )
        };
        let file = folder.join("canaille.toml");
        std::fs::write(&file, settings("")).unwrap();
        let key = Self::says(&folder, &["jwk", "create", "rsa"]);
        let members = key.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}"));
        let members = members.collect::<Vec<_>>().join(", ");
        let keys = format!("[CANAILLE_OIDC]\nACTIVE_JWKS = [{{ {members} }}]\n");
        std::fs::write(&file, settings(&keys)).unwrap();
        Self::says(&folder, &["install"]);
        let person =
            ["--user-name", "edsger", "--password", "correct horse battery", "--family-name", "Dijkstra"];
        let more = ["--formatted-name", "Edsger Dijkstra", "--emails", "edsger@acme.example"];
        let person = Self::says(&folder, &[&["create", "user"][..], &person, &more].concat());
        let group = ["create", "group", "--display-name", "fin-analysts", "--members"];
        Self::says(&folder, &[&group[..], &[person["id"].as_str().unwrap()]].concat());
        let us = ["create", "client", "--client-id", "cardea", "--client-name", "Cardea", "--grant-types"];
        let redirect = world.stage.portal("/auth/sso-callback/corp");
        let answers = ["authorization_code", "--response-types", "code", "--redirect-uris", &redirect];
        let scopes = ["openid", "email", "profile", "groups"].map(|scope| ["--scope", scope]).concat();
        let us = Self::says(&folder, &[&us[..], &answers, &scopes, client].concat());
        // Its tokens are for us; registered in its pages, a client is its own audience from the start.
        let id = us["id"].as_str().unwrap();
        Self::says(&folder, &["set", "client", id, "--audience", id]);
        Self { folder, authority }
    }

    async fn start(&self, port: u16) -> Foreign {
        let bind = format!("127.0.0.1:{port}");
        // In one process: a worker of its own would outlive it.
        let words =
            ["run", "--workers", "0", "--bind", &bind, "--certfile", "tls.pem", "--keyfile", "tls.key"];
        let child = Self::command(&self.folder, &words).stdout(Stdio::null()).spawn().unwrap();
        answering(Foreign(child), port).await
    }

    /// A browser that trusts it, sent to its pages, through all of them.
    async fn signed_in(&self, world: &World) -> Visitor {
        let mut visitor = Visitor::trusting(self.authority.client(rustls::ALL_VERSIONS));
        visitor.get(&world.stage.portal("/sign-in")).await;
        visitor.get(&world.stage.portal("/auth/start/corp")).await;
        assert!(visitor.url.starts_with(&world.idp.issuer), "{} {}", visitor.url, visitor.text());
        visitor.submit(&[("login", "edsger")]).await;
        visitor.submit(&[("password", "correct horse battery")]).await;
        visitor.submit(&[("answer", "accept")]).await;
        visitor
    }
}

async fn arrived(world: &World, visitor: &Visitor) {
    if visitor.title() == "My apps" {
        return;
    }
    panic!("{} {:?}", visitor.url, world.cause(visitor).await);
}

const SCOPES: &str = "scopes = [\"openid\", \"email\", \"profile\", \"groups\"]\n";

#[tokio::test]
async fn somebody_signs_in_at_a_second_provider_that_we_did_not_write() {
    let world = world(Engine::Sqlite, "https").await;
    let us = ["--client-secret", "not-so-secret", "--token-endpoint-auth-method", "client_secret_basic"];
    let us = [&us[..], &["--id-token-signed-response-alg", "RS256"]].concat();
    let canaille = Canaille::open(&world, &us);
    let _running = canaille.start(world.idp.port).await;
    let section =
        world.section("corp", "tenant = \"acme\"\n", SCOPES).replace(super::SECRET, "not-so-secret");
    world.append(&section).await;
    // The machine's authorities do not know who signed its certificate.
    let (check, why) = world.cause(&world.pressed().await).await;
    assert_eq!(check, "outbound", "{why}");
    assert!(why.contains("could not prove its name"), "{why}");
    world.stage.reconfigured("client_id = \"cardea\"\n", "client_id = \"cardea\"\nca = \"ca.pem\"\n").await;
    world.stage.advance(cardea::domain::Span::seconds(5)).await;
    let visitor = canaille.signed_in(&world).await;
    arrived(&world, &visitor).await;
    assert_eq!(world.roles("edsger.corp").await, ["analyst"]);
    let (code, said) = cli(&world, &["idp", "test", "corp", "--no-sign-in"]).await;
    assert!(code == Some(0) && said.contains("for idp.localhost, until"), "{said}");
}

#[tokio::test]
async fn a_second_provider_that_we_did_not_write_takes_our_signature_and_we_take_its() {
    let world = world(Engine::Sqlite, "https").await;
    let folder = world.stage.folder.path();
    let key = super::keys::generated(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    world.keep("corp.key", &key);
    let secret = format!("client_secret = \"{}\"\n", super::SECRET);
    let with = "client_auth = \"private_key_jwt\"\nclient_key = { file = \"corp.key\" }\nca = \"ca.pem\"\n\
                client_audience = \"token_endpoint\"\nalgorithms = [\"PS256\", \"RS384\"]\n";
    let section = world.section("corp", "tenant = \"acme\"\n", SCOPES).replace(&secret, with);
    // Its authority must be there before it is read.
    std::fs::write(folder.join("ca.pem"), Authority::new().pem()).unwrap();
    world.append(&section).await;
    let address = world.stage.portal("/auth/oidc/corp/jwks.json");
    let published = world.stage.visitor().look(&address).await.body;
    let how =
        ["--token-endpoint-auth-method", "private_key_jwt", "--token-endpoint-auth-signing-alg", "ES256"];
    let signs = ["--id-token-signed-response-alg", "PS256", "--userinfo-signed-response-alg", "RS384"];
    let us = [&how[..], &signs, &["--jwks", &published]].concat();
    let canaille = Canaille::open(&world, &us);
    let _running = canaille.start(world.idp.port).await;
    world.stage.demo.running.reloader().reload("its authority").await.unwrap();
    let visitor = canaille.signed_in(&world).await;
    arrived(&world, &visitor).await;
    assert_eq!(world.roles("edsger.corp").await, ["analyst"]);
}
