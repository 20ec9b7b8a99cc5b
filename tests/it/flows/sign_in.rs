//! Coming in: the way from an app to the portal and back.

use cardea::demo::PASSWORD;

use crate::support::stage::{ENGINES, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn ada_opens_an_app_with_password_and_code_and_the_app_knows_her() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut ada = stage.visitor();
        ada.get(&stage.url("lantern.cardea", "/deep?x=1")).await;
        assert_eq!(ada.title(), "Sign in");
        ada.submit(&[("identifier", "ada")]).await;
        ada.submit(&[("password", PASSWORD)]).await;
        assert_eq!(ada.title(), "Enter your code");
        ada.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(ada.title(), "Hello, Ada Lovelace");
        assert_eq!(ada.url, stage.url("lantern.cardea", "/deep?x=1"));
        let (status, seen) = ada.fetch(&stage.url("lantern.cardea", "/")).await;
        assert_eq!(status, 200);
        assert_eq!(seen["claims"]["username"], "ada");
        assert_eq!(seen["claims"]["aud"], stage.url("lantern.cardea", "").as_str());
        assert_eq!(seen["refused"], serde_json::Value::Null);
        // One sign-in serves the other hosts too, also on another site.
        ada.get(&stage.url("lantern.partner", "/")).await;
        assert_eq!(ada.title(), "Hello, Ada Lovelace");
        stage.demo.stop().await;
    }
}
