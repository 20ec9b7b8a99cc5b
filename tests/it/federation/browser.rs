//! Every way to a provider and back in a real browser, with script and without: it stops forms that end on another site, which
//! no client of ours does.

use std::time::{Duration, Instant};

use cardea::demo::PASSWORD;
use cardea::domain::Span;
use fantoccini::Locator;

use super::World;
use crate::support::browser::{Look, Page};
use crate::support::stage::Engine;

async fn sees(page: &Page, heading: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(h1) = page.find(Locator::Css("h1")).await
            && h1.text().await.is_ok_and(|text| text.trim() == heading)
        {
            return;
        }
        let here = page.current_url().await.unwrap();
        assert!(Instant::now() < deadline, "{here} is not {heading}: {:?}", page.csp_violations().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn press(page: &Page, selector: &str) {
    page.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
}

async fn fill(page: &Page, selector: &str, text: &str) {
    page.find(Locator::Css(selector)).await.unwrap().send_keys(text).await.unwrap();
}

async fn asked(world: &World, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.idp.seen.lock().unwrap().authorizations.len() < times {
        assert!(Instant::now() < deadline, "the provider was not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_lets_every_way_to_a_provider_and_back_through() {
    for look in [Look::DESK, Look::DESK.without_script()] {
        let world = World::open(Engine::Sqlite, "provision = \"link-only\"\n").await;
        let lantern = world.stage.url("lantern.cardea", "/");
        let page = Page::open(look).await;
        page.goto(&world.stage.portal("/sign-in")).await.unwrap();
        fill(&page, "#identifier", "grace").await;
        press(&page, "button.primary").await;
        sees(&page, "Enter your password").await;
        fill(&page, "#password", PASSWORD).await;
        press(&page, "button.primary").await;
        sees(&page, "My apps").await;
        // Linking: a form of ours, then the provider.
        page.goto(&world.stage.portal("/me")).await.unwrap();
        press(&page, "a[href*='/auth/link/corp']").await;
        sees(&page, "Link your account with Corp?").await;
        press(&page, "button.primary").await;
        sees(&page, "My account").await;
        page.find(Locator::Css("a[href*='/auth/unlink/corp']")).await.unwrap();
        // A session that began with a password, and an app that asks for the provider.
        let rule = "domains = [\"acme.example\"]\nrequire_idp = \"corp\"\n";
        world.stage.reconfigured("domains = [\"acme.example\"]\n", rule).await;
        page.goto(&lantern).await.unwrap();
        sees(&page, "Hello, Grace Hopper").await;
        // An address that leads to the provider from our form; then a form that was open for too long.
        world.stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
        let page = Page::open(look).await;
        page.goto(&world.stage.portal("/sign-in")).await.unwrap();
        fill(&page, "#identifier", "grace@acme.example").await;
        press(&page, "button.primary").await;
        sees(&page, "Set up an authenticator app").await;
        let before = world.idp.seen.lock().unwrap().authorizations.len();
        world.stage.advance(Span::minutes(10)).await;
        fill(&page, "#code", "000000").await;
        press(&page, "button.primary").await;
        asked(&world, before + 1).await;
        sees(&page, "Set up an authenticator app").await;
        assert!(page.csp_violations().await.is_empty());
        world.stage.demo.stop().await;
    }
}
