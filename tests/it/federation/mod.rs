//! Sign-in at identity providers: one that lies on demand, and one that somebody else wrote.

mod browser;
mod callback;
mod canaille;
mod demo;
mod entries;
mod follow;
mod foreign;
mod journeys;
mod keys;
mod logout;
mod midway;
mod people;
mod provider;
mod rehearsal;
mod required;
mod ties;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use cardea::access::Authority;
use cardea::domain::Span;
use cardea::store::audit;
use serde_json::Value;

use crate::support::stage::{Engine, Stage, Visitor};
use provider::{CLIENT, Idp, SECRET};

/// The demo's world with a provider of Acme's.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) idp: Idp,
}

/// What the rules of the tests give.
const RULES: &str = "\
  [[idp.rule]]\n  claim = \"groups\"\n  has = \"fin-analysts\"\n  roles = [\"analyst\"]\n  at = \"acme/europe/finance\"\n\
  [[idp.rule]]\n  claim = \"groups\"\n  has = \"fin-leads\"\n  roles = [\"reports-owner\"]\n\
  [[idp.rule]]\n  claim = \"email\"\n  ends_with = \"@acme.example\"\n  groups = [\"staff\"]\n";

impl World {
    pub(crate) async fn open(engine: Engine, settings: &str) -> Self {
        Self::placed(engine, "tenant = \"acme\"\ndomains = [\"acme.example\"]\n", settings).await
    }

    /// With a provider that belongs somewhere else.
    pub(crate) async fn placed(engine: Engine, place: &str, settings: &str) -> Self {
        let stage = Stage::open(engine).await;
        let idp = Idp::open("idp.localhost", std::sync::Arc::clone(&stage.clock)).await;
        let world = Self { stage, idp };
        world.append(&world.section("corp", place, settings)).await;
        world
    }

    /// A provider of the configuration, with rules of its own or those of the tests.
    pub(crate) fn section(&self, name: &str, place: &str, settings: &str) -> String {
        let Idp { issuer, port, .. } = &self.idp;
        let rules = if settings.contains("[[idp.rule]]") { "" } else { RULES };
        format!(
            "[outbound]\nallow = [\"idp.localhost:{port}\"]\n[[idp]]\nname = \"{name}\"\nlabel = \"Corp\"\n{place}\
             issuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"\n{settings}\n{rules}"
        )
    }

    /// Adds to the configuration and has it taken over.
    pub(crate) async fn append(&self, text: &str) {
        let file = self.stage.folder.path().join("cardea.toml");
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{old}\n{text}")).unwrap();
        self.stage.demo.running.reloader().reload("a test").await.unwrap();
    }

    /// Adds a provider beside the first, a public client of its.
    pub(crate) async fn second(&self, name: &str, idp: &Idp) {
        let file = self.stage.folder.path().join("cardea.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let allow = format!("\"idp.localhost:{}\"", self.idp.port);
        let host = idp.issuer.strip_prefix("http://").unwrap();
        std::fs::write(&file, text.replace(&allow, &format!("{allow}, \"{host}\""))).unwrap();
        self.append(&format!(
            "[[idp]]\nname = \"{name}\"\ntenant = \"acme\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_auth = \"none\"\n",
            idp.issuer
        ))
        .await;
    }

    /// Gives the provider of the configuration other rules.
    pub(crate) async fn with_rules(&self, rules: &str) {
        let file = self.stage.folder.path().join("cardea.toml");
        let old = std::fs::read_to_string(&file).unwrap();
        assert!(old.contains(RULES));
        std::fs::write(&file, old.replace(RULES, rules)).unwrap();
        self.stage.demo.running.reloader().reload("a test").await.unwrap();
    }

    /// Somebody before the sign-in page.
    pub(crate) async fn at_door(&self) -> Visitor {
        let mut visitor = self.stage.visitor();
        visitor.get(&self.stage.portal("/sign-in")).await;
        visitor
    }

    /// Somebody who has gone to the provider and has followed wherever that led.
    pub(crate) async fn pressed(&self) -> Visitor {
        let mut visitor = self.at_door().await;
        visitor.get(&self.stage.portal("/auth/start/corp")).await;
        visitor
    }

    /// The cause in the audit log behind the reference that a page shows.
    pub(crate) async fn cause(&self, visitor: &Visitor) -> (String, String) {
        let reference =
            visitor.all("#reference").pop().unwrap_or_else(|| panic!("no reference: {}", visitor.text()));
        for _ in 0..250 {
            let mut conn = self.stage.house().db.read().await.unwrap();
            if let Some(row) = audit::by_reference(&mut conn, &reference).await.unwrap() {
                let detail: Value = serde_json::from_str(&row.detail).unwrap();
                let text = |name: &str| detail[name].as_str().unwrap().to_owned();
                return (text("check"), text("why"));
            }
            drop(conn);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("no record with the reference {reference}");
    }

    /// A sign-in that must fail by a check, without a session and without a word about the cause.
    pub(crate) async fn refused(&self, check: &str) -> String {
        let visitor = self.pressed().await;
        let (found, why) = self.cause(&visitor).await;
        assert_eq!(found, check, "{why}");
        assert!(!visitor.text().contains(&why), "the page says why: {}", visitor.text());
        assert!(
            !visitor.cookies(&self.stage.portal("/")).contains(&"cardea".to_owned()),
            "there is a session"
        );
        why
    }

    /// A sign-in that must succeed.
    pub(crate) async fn welcome(&self) -> Visitor {
        let visitor = self.pressed().await;
        assert_eq!(visitor.title(), "My apps", "{} {:?}", visitor.text(), visitor.way);
        visitor
    }

    /// Writes a private key beside the configuration, as an operator keeps one.
    pub(crate) fn keep(&self, name: &str, pem: &str) {
        let file = self.stage.folder.path().join(name);
        std::fs::write(&file, pem).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }

    /// The roles that somebody has.
    pub(crate) async fn roles(&self, name: &str) -> Vec<String> {
        let admin = &self.stage.house().admin;
        let user = self.stage.user(name).await;
        let view = admin.show_user(&Authority::system(), user).await.unwrap();
        view.principal.roles.iter().map(|held| held.slug.to_string()).collect()
    }

    /// Lets enough time pass that documents are fetched anew.
    pub(crate) async fn later(&self) {
        self.stage.advance(Span::minutes(31)).await;
    }
}
