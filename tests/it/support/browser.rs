//! Pages in a real browser: headless Chromium, steered through its own driver.
//!
//! `*.localhost` needs no hosts file: Chromium takes every such name for this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::guard::Guard;
use super::unique;

const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) scheme: Scheme,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) script: Script,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    Dark,
    Light,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Script {
    Off,
    On,
}

impl Look {
    pub(crate) const DESK: Self =
        Self { scheme: Scheme::Light, width: 1280, height: 900, script: Script::On };
    pub(crate) const PHONE: Self = Self { width: 390, height: 844, ..Self::DESK };

    /// Every page must be right in all of these.
    pub(crate) const ALL: [Self; 4] = [Self::DESK, Self::DESK.dark(), Self::PHONE, Self::PHONE.dark()];

    pub(crate) const fn dark(self) -> Self {
        Self { scheme: Scheme::Dark, ..self }
    }

    pub(crate) const fn without_script(self) -> Self {
        Self { script: Script::Off, ..self }
    }
}

/// A browser of its own with one page in it: cookies, cache and history are fresh. Ends when dropped.
pub(crate) struct Page {
    client: Client,
    session: String,
    profile: PathBuf,
    console: Mutex<Vec<Line>>,
}

/// Something the browser said in its console.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) source: String,
    pub(crate) text: String,
}

/// A rule of accessibility that the page breaks.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) rule: String,
    pub(crate) impact: String,
    pub(crate) help: String,
    /// The elements, as HTML.
    pub(crate) elements: Vec<String>,
}

impl Deref for Page {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Page {
    pub(crate) async fn open(look: Look) -> Self {
        let driver = driver();
        let profile = driver.folder.join(unique("profile"));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&profile))
            .connect(&format!("http://127.0.0.1:{}/", driver.port))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let page = Self { client, session, profile, console: Mutex::default() };
        page.look(look).await;
        page
    }

    /// Looks at the page in another way, at once.
    pub(crate) async fn look(&self, look: Look) {
        let size =
            json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if look.scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            // Nothing is half-way when it is looked at.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
        let off = look.script == Script::Off;
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": off})).await;
    }

    /// Breaches of the accessibility rules A and AA, and of good practice. Needs a look with script.
    pub(crate) async fn axe(&self) -> Vec<Violation> {
        if self.execute("return typeof axe", vec![]).await.unwrap() == "undefined" {
            // What the driver runs is not subject to the policy of the page.
            self.execute(axe_source(), vec![]).await.unwrap();
        }
        let run = "const [tags, done] = arguments;
            axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']}).then(
                found => done({violations: found.violations.map(one => ({
                    rule: one.id, impact: String(one.impact), help: one.help,
                    elements: one.nodes.map(node => node.html)}))}),
                error => done({error: String(error)}))";
        let answer = self.execute_async(run, vec![json!(RULES)]).await.unwrap();
        let Some(violations) = answer["violations"].as_array() else { panic!("axe: {answer}") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let violation = |one: &Value| Violation {
            rule: text(&one["rule"]),
            impact: text(&one["impact"]),
            help: text(&one["help"]),
            elements: one["elements"].as_array().unwrap().iter().map(text).collect(),
        };
        violations.iter().map(violation).collect()
    }

    /// What the browser said since this page was opened, on every document it went through.
    pub(crate) async fn console(&self) -> Vec<Line> {
        let news = self.issue_cmd(Call { path: "se/log", body: json!({"type": "browser"}) }).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut console = self.console.lock().unwrap();
        console.extend(news.as_array().unwrap().iter().map(|entry| Line {
            level: text(&entry["level"]),
            source: text(&entry["source"]),
            text: text(&entry["message"]),
        }));
        console.clone()
    }

    /// What the browser refused for the sake of the content security policy.
    pub(crate) async fn csp_violations(&self) -> Vec<String> {
        let mut lines = self.console().await;
        lines.retain(|line| {
            let text = &line.text;
            line.source == "security"
                || text.contains("Content Security Policy")
                || text.contains("TrustedHTML")
        });
        lines.into_iter().map(|line| line.text).collect()
    }

    /// By how many pixels the page is wider than its window: nobody should have to scroll sideways.
    pub(crate) async fn overflow_x(&self) -> u64 {
        let measure = "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
        self.execute(measure, vec![]).await.unwrap().as_u64().unwrap()
    }

    /// A picture of the whole page, as `target/screenshots/NAME.png`.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let size = self.devtools("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.devtools("Page.captureScreenshot", wanted).await;
        let folder = target().join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
        file
    }

    /// Waits until the page with this path and query is there: a click answers before what it leads to.
    pub(crate) async fn arrives_at(&self, path: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let here = self.current_url().await.unwrap();
            if &here[url::Position::BeforePath..url::Position::AfterQuery] == path {
                return;
            }
            assert!(Instant::now() < deadline, "{here} is not {path}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Types on the keyboard, into whatever has the focus.
    pub(crate) async fn type_text(&self, text: &str) {
        let mut keys = KeyActions::new("keyboard".to_owned());
        for value in text.chars() {
            keys = keys.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.perform_actions(keys).await.unwrap();
    }

    pub(crate) async fn press(&self, key: Key) {
        self.type_text(&char::from(key).to_string()).await;
    }

    /// Presses Tab until the element that the CSS selector names has the focus.
    pub(crate) async fn tab_to(&self, selector: &str) {
        let focused =
            "return document.activeElement !== null && document.activeElement.matches(arguments[0])";
        let mut passed = Vec::new();
        for _ in 0..100 {
            self.press(Key::Tab).await;
            if self.execute(focused, vec![json!(selector)]).await.unwrap() == true {
                return;
            }
            passed.push(self.focused().await);
        }
        panic!("Tab never comes to {selector}: {passed:#?}");
    }

    /// The opening tag of what has the focus.
    pub(crate) async fn focused(&self) -> String {
        let tag = "const it = document.activeElement; return it ? it.cloneNode().outerHTML : ''";
        self.execute(tag, vec![]).await.unwrap().as_str().unwrap().to_owned()
    }

    /// A command of Chromium's own protocol, for what the common one lacks.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.issue_cmd(Call { path: "goog/cdp/execute", body }).await.unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // By hand, because a panicking test has no runtime left to do it with; and what fails here is ended
        // with the driver at the latest.
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.session
        );
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", driver().port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(request.as_bytes());
            // The driver answers when the browser has gone, and leaves the connection open.
            let _ = stream.read(&mut [0; 1]);
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// A command that only this driver knows.
#[derive(Debug)]
struct Call {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Call {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// The driver of this run.
struct Driver {
    port: u16,
    folder: PathBuf,
    _guard: Guard,
}

fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let program = find("CARDEA_TEST_CHROMEDRIVER", &["chromedriver"]);
        let program = program.expect("chromedriver is missing: `make test` installs it");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique("browser"));
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        // The shell leads a session, which all that the driver starts belongs to: nothing of it stays.
        let mut shell = Command::new("setsid");
        shell.arg("sh");
        let guard = Guard::new(
            shell,
            "\"$1\" --port=0 > \"$2/log\" 2>&1 &",
            "folder=$2
             for file in /proc/[0-9]*/stat; do
                 read -r line < \"$file\" || continue
                 pid=${line%% *}
                 set -- ${line##*) }
                 [ \"$4\" = $$ ] && [ \"$pid\" != $$ ] && kill -KILL \"$pid\"
             done
             wait
             rm -rf \"$folder\" || { sleep 1; rm -rf \"$folder\"; }",
            &[program.to_str().unwrap(), folder.to_str().unwrap()],
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let port =
                said.split("started successfully on port ").nth(1).and_then(|rest| rest.split('.').next());
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                return Driver { port, folder, _guard: guard };
            }
            assert!(Instant::now() < deadline, "{} does not start: {said}", program.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

fn capabilities(profile: &Path) -> serde_json::Map<String, Value> {
    let mut arguments = vec![
        format!("--user-data-dir={}", profile.display()),
        "--accept-lang=en-US".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        // Containers give /dev/shm little room.
        "--disable-dev-shm-usage".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-sync".to_owned(),
        "--force-color-profile=srgb".to_owned(),
        "--headless=new".to_owned(),
        "--hide-scrollbars".to_owned(),
        "--no-default-browser-check".to_owned(),
        "--no-first-run".to_owned(),
        "--no-proxy-server".to_owned(),
    ];
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        // Chromium does not sandbox for root.
        arguments.push("--no-sandbox".to_owned());
    }
    let mut options = json!({"args": arguments});
    if let Some(program) = find("CARDEA_TEST_CHROMIUM", &["chromium", "chromium-browser"]) {
        options["binary"] = json!(program);
    }
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL"},
        "timeouts": {"script": 30_000, "pageLoad": 30_000},
    });
    wanted.as_object().unwrap().clone()
}

/// The program that the variable names, or the first of these in the search path.
fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

fn axe_source() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/axe/axe.min.js");
        fs::read_to_string(fetched).expect("axe-core is missing: `make test` fetches it")
    })
}

fn target() -> &'static Path {
    // Cargo gives tests a folder of their own in there.
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}
