//! Every page in a real browser, against the real program: journeys as people make them, and how the pages look and
//! behave on the way. Pictures of all of them are left in `target/screenshots`.

mod errors;
mod journeys;
mod links;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cardea::demo::PASSWORD;
use cardea::domain::{Secret, Span};
use cardea::protocol::totp::Seed;
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use crate::support::browser::{Look, Page, Script};
use crate::support::stage::{Engine, Stage};

/// How somebody uses a page.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hands {
    Keyboard,
    Mouse,
}

/// Somebody with a real browser in the demo's world.
struct Walk {
    stage: Stage,
    page: Page,
    /// How they look at it.
    look: Look,
    hands: Hands,
    /// Goes before the names of pictures.
    name: &'static str,
    /// What pages were found to lack, told together at the end.
    faults: Mutex<Vec<String>>,
}

impl Walk {
    async fn begin(name: &'static str, look: Look, hands: Hands) -> Self {
        let (stage, page) = tokio::join!(Stage::open(Engine::Sqlite), Page::open(look));
        Self { stage, page, look, hands, name, faults: Mutex::default() }
    }

    async fn end(self) {
        self.stage.demo.stop().await;
        let faults = self.faults.into_inner().unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn fault(&self, fault: &str) {
        self.faults.lock().unwrap().push(format!("{}-{fault}", self.name));
    }

    async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// The text of the first element that the selector names; empty while there is none.
    async fn text(&self, selector: &str) -> String {
        let read = "return document.querySelector(arguments[0])?.innerText ?? ''";
        // Between two pages there is nothing to ask.
        let text = self.page.execute(read, vec![json!(selector)]).await.unwrap_or_default();
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    /// All that can be read on the page.
    async fn words(&self) -> String {
        self.text("body").await
    }

    async fn count(&self, selector: &str) -> usize {
        self.page.find_all(Locator::Css(selector)).await.unwrap().len()
    }

    /// Waits for the page with this heading, whole.
    async fn sees(&self, heading: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let read = "return document.readyState === 'complete' && document.querySelector('h1')?.innerText";
            let seen = self.page.execute(read, vec![]).await.unwrap_or_default();
            if seen.as_str().is_some_and(|text| text.trim() == heading) {
                break;
            }
            if Instant::now() > deadline {
                self.page.screenshot(&format!("failed-{}", self.name)).await;
                let (here, words) = (self.page.current_url().await.unwrap(), self.words().await);
                let refused = self.page.csp_violations().await;
                panic!("{here} is not {heading:?}: {words}\n{refused:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Every page says first where one is.
        assert!(self.page.title().await.unwrap().starts_with(heading));
    }

    async fn sees_at(&self, heading: &str, url: &str) {
        self.sees(heading).await;
        assert_eq!(self.page.current_url().await.unwrap().as_str(), url);
    }

    /// Writes into a field.
    async fn fill(&self, selector: &str, text: &str) {
        match self.hands {
            Hands::Keyboard => {
                self.focus(selector).await;
                self.page.type_text(text).await;
            }
            Hands::Mouse => {
                let field = self.page.find(Locator::Css(selector)).await.unwrap();
                field.clear().await.unwrap();
                field.send_keys(text).await.unwrap();
            }
        }
    }

    /// Presses a button or follows a link.
    async fn press(&self, selector: &str) {
        match self.hands {
            Hands::Keyboard => {
                self.focus(selector).await;
                self.page.press(Key::Enter).await;
            }
            Hands::Mouse => self.page.find(Locator::Css(selector)).await.unwrap().click().await.unwrap(),
        }
    }

    /// Follows a link by its words.
    async fn follow(&self, words: &str) {
        self.page.find(Locator::LinkText(words)).await.unwrap().click().await.unwrap();
    }

    /// Goes there with Tab, and holds that the focus can be seen.
    async fn focus(&self, selector: &str) {
        let there = "return document.activeElement?.matches(arguments[0])";
        if self.page.execute(there, vec![json!(selector)]).await.unwrap() != true {
            self.page.tab_to(selector).await;
        }
        let ring = "const it = getComputedStyle(document.activeElement);
            return [it.outlineStyle, parseFloat(it.outlineWidth)]";
        assert_eq!(
            self.page.execute(ring, vec![]).await.unwrap(),
            json!(["solid", 3]),
            "no ring around {selector}"
        );
    }

    /// Waits until the page says that something was wrong.
    async fn alerted(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.text("[role=alert]").await.is_empty() {
            assert!(Instant::now() < deadline, "no alert: {}", self.words().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.settled().await;
    }

    /// Waits until the page says so at its top.
    async fn told(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.text(".notice").await.contains(words) {
            assert!(Instant::now() < deadline, "nobody says {words:?}: {}", self.words().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.settled().await;
    }

    /// Waits until the page is whole.
    async fn settled(&self) {
        while self.page.execute("return document.readyState", vec![]).await.unwrap_or_default() != "complete"
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says a name, and gives the password.
    async fn come_in(&self, name: &str, password: &str) {
        self.sees("Sign in").await;
        self.fill("#identifier", name).await;
        self.press("button.primary").await;
        self.sees("Enter your password").await;
        self.fill("#password", password).await;
        self.press("button.primary").await;
    }

    /// ada, who has an authenticator, all the way. A code works once, so the clock is turned first.
    async fn ada_comes_in(&self) {
        // Not while a page is on its way: until the lease is renewed nobody can be recognised.
        self.sees("Sign in").await;
        self.stage.advance(Span::seconds(90)).await;
        self.come_in("ada", PASSWORD).await;
        self.give_adas_code().await;
    }

    async fn give_adas_code(&self) {
        self.sees("Enter your code").await;
        self.fill("#code", &self.stage.ada_code()).await;
        self.press("button.primary").await;
    }

    /// Sets an authenticator up with the key that the page shows, and keeps the codes.
    async fn enrol(&self) -> Seed {
        self.sees("Set up an authenticator app").await;
        let key =
            self.page.find(Locator::Id("key")).await.unwrap().attr("data-value").await.unwrap().unwrap();
        let bytes = base32(&key);
        let seed = Seed::from_bytes(Secret::new(bytes)).unwrap();
        self.fill("#code", &seed.code(self.stage.now())).await;
        self.press("button.primary").await;
        self.sees("Keep your recovery codes").await;
        seed
    }

    /// Forgets who is signed in, as a browser does whose cookies are thrown away.
    async fn forget(&self) {
        self.page.devtools("Network.clearBrowserCookies", json!({})).await;
    }

    /// Holds what must be true of every page, in every look, and takes its picture in each.
    async fn inspect(&self, name: &str) {
        for (look, kind) in Look::ALL.into_iter().zip(["desk", "desk-dark", "phone", "phone-dark"]) {
            self.page.look(look).await;
            let wide = self.page.overflow_x().await;
            self.page.screenshot(&format!("{}-{name}-{kind}", self.name)).await;
            if wide > 0 {
                self.fault(&format!("{name}-{kind} is {wide} pixels wider than the window"));
            }
            let found = self.page.axe().await;
            if !found.is_empty() {
                self.fault(&format!("{name}-{kind}: {found:#?}"));
            }
        }
        // As on a desk at four times the size (WCAG 1.4.10).
        self.page.look(Look { width: 320, ..Look::PHONE }).await;
        let wide = self.page.overflow_x().await;
        if wide > 0 {
            self.fault(&format!("{name} is {wide} pixels wider than a window of 320"));
        }
        self.page.look(self.look).await;
        self.nothing_refused(name).await;
    }

    /// Without script there is no axe; the page must still be whole.
    async fn inspect_without_script(&self, name: &str) {
        assert_eq!(self.look.script, Script::Off);
        for (look, kind) in [(Look::DESK, "desk"), (Look::PHONE, "phone")] {
            self.page.look(look.without_script()).await;
            let wide = self.page.overflow_x().await;
            if wide > 0 {
                self.fault(&format!("{name}-{kind} is {wide} pixels wider than the window"));
            }
            self.page.screenshot(&format!("{}-{name}-{kind}", self.name)).await;
        }
        self.page.look(self.look).await;
        self.nothing_refused(name).await;
    }

    async fn look_at(&self, name: &str) {
        match (self.look.script, self.hands) {
            (Script::On, Hands::Mouse) => self.inspect(name).await,
            (Script::On, Hands::Keyboard) => {
                drop(self.page.screenshot(&format!("{}-{name}", self.name)).await);
            }
            (Script::Off, _) => self.inspect_without_script(name).await,
        }
    }

    /// The content policy had nothing to refuse.
    async fn nothing_refused(&self, where_it_is: &str) {
        let refused = self.page.csp_violations().await;
        if !refused.is_empty() {
            self.fault(&format!("{where_it_is}: {refused:#?}"));
        }
    }

    /// Asks from within the page, as a script of it would: the status and the text.
    async fn fetch(&self, path: &str) -> (u64, String) {
        let ask = "const [path, done] = arguments;
            fetch(path, {headers: {accept: 'text/html'}}).then(async it => done([it.status, await it.text()]),
                error => done([0, String(error)]))";
        let answer = self.page.execute_async(ask, vec![json!(path)]).await.unwrap();
        (answer[0].as_u64().unwrap(), answer[1].as_str().unwrap().to_owned())
    }

    /// Shows a page that browsers leave at once, without what makes them leave.
    async fn hold(&self, html: &str) {
        let (before, rest) =
            html.split_once("<meta http-equiv=\"refresh\"").expect("a page that takes one on");
        let html = format!("{before}{}", rest.split_once('>').unwrap().1);
        let tree = self.page.devtools("Page.getFrameTree", json!({})).await;
        let frame = tree["frameTree"]["frame"]["id"].clone();
        self.page.devtools("Page.setDocumentContent", json!({"frameId": frame, "html": html})).await;
    }

    /// How many checks Lantern shows as passed; none may be anything else.
    async fn all_green(&self) -> usize {
        let (passed, all) = (self.count(".checks li.ok").await, self.count(".checks li").await);
        assert_eq!(passed, all, "{}", self.words().await);
        passed
    }
}

/// RFC 4648 base32 without padding, as people type keys.
fn base32(key: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for letter in key.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => panic!("{key} is no key"),
        };
        (held, bits) = (held << 5 | u32::from(value), bits + 5);
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    bytes
}
