//! Sign-in at SAML providers: one that lies on demand, and some that others wrote.

mod entries;
mod foreign;
mod journeys;
mod provider;
mod shared;

use cardea::domain::Span;
use cardea::store::audit;
use serde_json::Value;

use crate::support::stage::{Engine, Stage, Visitor};
use provider::Idp;

/// The demo's world with a SAML provider of Acme's.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) idp: Idp,
}

const RULES: &str = "\
  [[idp.rule]]\n  claim = \"groups\"\n  has = \"fin-analysts\"\n  roles = [\"analyst\"]\n  at = \"acme/europe/finance\"\n\
  [[idp.rule]]\n  claim = \"email\"\n  ends_with = \"@acme.example\"\n  groups = [\"staff\"]\n";

impl World {
    pub(crate) async fn open(engine: Engine, settings: &str) -> Self {
        let stage = Stage::open(engine).await;
        let idp = Idp::open(std::sync::Arc::clone(&stage.clock)).await;
        let world = Self { stage, idp };
        let Idp { entity_id, port, .. } = &world.idp;
        let section = format!(
            "[outbound]\nallow = [\"saml.localhost:{port}\"]\n[[idp]]\nname = \"corp\"\nlabel = \"Corp\"\ntype = \"saml\"\n\
             tenant = \"acme\"\ndomains = [\"acme.example\"]\nmetadata = \"{entity_id}\"\nentity_id = \"{entity_id}\"\n{settings}\n{RULES}"
        );
        world.append(&section).await;
        world
    }

    /// Adds to the configuration and has it taken over.
    pub(crate) async fn append(&self, text: &str) {
        let file = self.stage.folder.path().join("cardea.toml");
        let old = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{old}\n{text}")).unwrap();
        self.stage.demo.running.reloader().reload("a test").await.unwrap();
    }

    /// Somebody who has gone to the provider, has signed in there, and has not come back yet.
    pub(crate) async fn away(&self) -> Visitor {
        let mut visitor = self.stage.visitor();
        visitor.get(&self.stage.portal("/sign-in")).await;
        visitor.get(&self.stage.portal("/auth/start/corp")).await;
        visitor
    }

    /// Somebody who has come back, wherever that led.
    pub(crate) async fn pressed(&self) -> Visitor {
        let mut visitor = self.away().await;
        assert_eq!(visitor.title(), "Back", "{} {}", visitor.url, visitor.text());
        visitor.submit(&[("SAMLResponse", &visitor_value(&visitor, "SAMLResponse"))]).await;
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
        assert!(!self.has_session(&visitor), "there is a session");
        why
    }

    pub(crate) fn has_session(&self, visitor: &Visitor) -> bool {
        visitor.cookies(&self.stage.portal("/")).contains(&"cardea".to_owned())
    }

    /// A sign-in that must succeed.
    pub(crate) async fn welcome(&self) -> Visitor {
        let visitor = self.pressed().await;
        assert_eq!(visitor.title(), "My apps", "{} {:?}", visitor.text(), visitor.way);
        visitor
    }

    /// Lets enough time pass that metadata is fetched anew.
    pub(crate) async fn later(&self) {
        self.stage.advance(Span::minutes(31)).await;
    }
}

/// The value of a hidden field of the page.
pub(crate) fn visitor_value(visitor: &Visitor, name: &str) -> String {
    visitor.attribute(&format!("input[name={name}]"), "value").unwrap_or_default()
}
