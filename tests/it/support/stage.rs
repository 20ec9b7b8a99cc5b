//! The real program on a free port with a real database, and people who use it over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cardea::access::Authority;
use cardea::app::{House, Machine};
use cardea::demo::{self, Demo, PASSWORD};
use cardea::domain::{Span, Timestamp, UserId};
use cardea::sys::{Clock as _, OsChance, SystemClock};
use reqwest::header::{ACCEPT, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Response, StatusCode};
use scraper::{Html, Selector};

use super::{free_port, postgres};

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Sqlite,
}

pub(crate) const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// The demo's world, running: gateway, portal, Lantern; everybody's password is known. Tests turn its clock.
pub(crate) struct Stage {
    pub(crate) port: u16,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) demo: Demo,
    pub(crate) folder: tempfile::TempDir,
    /// The database, if it is not the file in the folder.
    pub(crate) storage: Option<String>,
}

impl Stage {
    pub(crate) async fn open(engine: Engine) -> Self {
        let storage = match engine {
            Engine::Postgres => Some(postgres::fresh_database().await),
            Engine::Sqlite => None,
        };
        Self::on(storage).await
    }

    /// On a database of the test's choice; two stages on one PostgreSQL database are two nodes. Nodes share their keys
    /// through the database, so the second one is given the first one's folder for its master key.
    pub(crate) async fn on(storage: Option<String>) -> Self {
        Self::within(tempfile::tempdir().unwrap(), storage, Arc::new(SystemClock::default())).await
    }

    /// With the demo's own identity provider.
    pub(crate) async fn with_provider() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::told(folder, None, Arc::new(SystemClock::default()), true).await
    }

    async fn within(folder: tempfile::TempDir, storage: Option<String>, clock: Arc<SystemClock>) -> Self {
        Self::told(folder, storage, clock, false).await
    }

    async fn told(
        folder: tempfile::TempDir,
        storage: Option<String>,
        clock: Arc<SystemClock>,
        provider: bool,
    ) -> Self {
        let port = free_port();
        let machine = Machine { clock: Arc::clone(&clock) as _, chance: Arc::new(OsChance), demo: true };
        let folder_of = folder.path().to_owned();
        let stage = demo::Stage { folder: folder_of, port, storage: storage.clone(), provider, machine };
        let demo = demo::open(stage).await.unwrap();
        Self { port, clock, demo, folder, storage }
    }

    /// The program ends and is started again on the same data, on another port.
    pub(crate) async fn restarted(self) -> Self {
        let Self { clock, demo, folder, storage, .. } = self;
        demo.stop().await;
        Self::within(folder, storage, clock).await
    }

    /// Another node on the same PostgreSQL database, with the same master key.
    pub(crate) async fn second_node(&self, storage: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(self.folder.path().join("master.key"), folder.path().join("master.key")).unwrap();
        Self::within(folder, Some(storage), Arc::clone(&self.clock)).await
    }

    /// Two nodes on one new database.
    pub(crate) async fn pair() -> (Self, Self) {
        let storage = postgres::fresh_database().await;
        let one = Self::on(Some(storage.clone())).await;
        let two = one.second_node(storage).await;
        (one, two)
    }

    /// Somebody by name.
    pub(crate) async fn user(&self, name: &str) -> UserId {
        self.house().admin.user_named(&Authority::system(), name).await.unwrap()
    }

    /// Turns the clock to the beginning of a time step, so that codes do not change while a test looks at them.
    pub(crate) async fn align(&self) {
        let into = self.now().millis() % 30_000;
        if !(500..8_000).contains(&into) {
            self.advance(Span::millis(30_000 - into + 500)).await;
        }
    }

    /// Changes the configuration file and has it taken over.
    pub(crate) async fn reconfigured(&self, from: &str, to: &str) {
        let file = self.folder.path().join("cardea.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "no {from} in the configuration");
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        self.demo.running.reloader().reload("a test").await.unwrap();
    }

    pub(crate) fn house(&self) -> &House {
        &self.demo.running.house
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Turns the clock ahead. The lease is renewed with the next look at the feed, which this waits for.
    pub(crate) async fn advance(&self, by: Span) {
        self.clock.advance(by);
        for _ in 0..100 {
            if self.house().sessions.lease().holds(self.now()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the lease was not renewed");
    }

    /// An address of a host of this stage.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.port)
    }

    pub(crate) fn portal(&self, path: &str) -> String {
        self.url("access.cardea", path)
    }

    /// The code of ada's authenticator at this moment. A code works once: turn the clock between two uses.
    pub(crate) fn ada_code(&self) -> String {
        self.demo.authenticator.code(self.now())
    }

    /// Somebody with a browser of their own.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.port)
    }

    /// Somebody who has said a name and stands before the page for the password.
    pub(crate) async fn named(&self, name: &str) -> Visitor {
        self.named_from(None, name).await
    }

    /// The same, from another address of this machine.
    pub(crate) async fn named_from(&self, from: Option<IpAddr>, name: &str) -> Visitor {
        let mut visitor = Visitor::from(from);
        visitor.get(&self.portal("/sign-in")).await;
        visitor.submit(&[("identifier", name)]).await;
        assert_eq!(visitor.title(), "Enter your password", "{name}: {}", visitor.text());
        visitor
    }

    /// Somebody signed in: ada gives her code, the others only the password.
    pub(crate) async fn signed_in(&self, name: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.get(&self.portal("/apps")).await;
        visitor.submit(&[("identifier", name)]).await;
        visitor.submit(&[("password", PASSWORD)]).await;
        if name == "ada" {
            visitor.submit(&[("code", &self.ada_code())]).await;
        }
        assert_eq!(visitor.title(), "My apps", "{name} did not come in: {}", visitor.text());
        visitor
    }
}

/// A browser without script: keeps cookies, follows redirects and refresh pages, fills in forms.
pub(crate) struct Visitor {
    pub(crate) client: Client,
    pub(crate) jar: Arc<reqwest::cookie::Jar>,
    /// Where it is.
    pub(crate) url: String,
    /// What it was answered last.
    pub(crate) status: StatusCode,
    /// The page.
    pub(crate) body: String,
    /// Every address on the way, with its status.
    pub(crate) way: Vec<(String, u16)>,
}

/// Resolves every name to loopback, as browsers do with `*.localhost`.
struct Loopback;

impl reqwest::dns::Resolve for Loopback {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let address: reqwest::dns::Addrs =
            Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        Box::pin(std::future::ready(Ok(address)))
    }
}

impl Visitor {
    pub(crate) fn new(_port: u16) -> Self {
        Self::from(None)
    }

    /// From an address of this machine.
    pub(crate) fn from(address: Option<IpAddr>) -> Self {
        let jar = Arc::new(reqwest::cookie::Jar::default());
        Self::with(Client::builder().cookie_provider(Arc::clone(&jar)).local_address(address), jar)
    }

    /// One that trusts other authorities than the machine.
    pub(crate) fn trusting(tls: rustls::ClientConfig) -> Self {
        let jar = Arc::new(reqwest::cookie::Jar::default());
        Self::with(Client::builder().cookie_provider(Arc::clone(&jar)).use_preconfigured_tls(tls), jar)
    }

    /// A browser that keeps no cookies.
    pub(crate) fn forgetful() -> Self {
        Self::with(Client::builder(), Arc::default())
    }

    fn with(builder: reqwest::ClientBuilder, jar: Arc<reqwest::cookie::Jar>) -> Self {
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Loopback))
            .no_proxy()
            .build()
            .unwrap();
        let (url, body, way) = (String::new(), String::new(), Vec::new());
        Self { client, jar, url, status: StatusCode::OK, body, way }
    }

    /// Another tab of the same browser, on the same page.
    pub(crate) fn tab(&self) -> Self {
        Self {
            client: self.client.clone(),
            jar: Arc::clone(&self.jar),
            url: self.url.clone(),
            status: self.status,
            body: self.body.clone(),
            way: self.way.clone(),
        }
    }

    /// The form that has all these fields, filled in and not yet sent.
    pub(crate) fn ready(&self, fields: &[(&str, &str)]) -> Ready {
        let (url, form) = self.form(fields);
        let ready = Ready { client: self.client.clone(), url, form, headers: HeaderMap::new() };
        fields.iter().fold(ready, |ready, (name, value)| ready.with(name, value))
    }

    /// One GET as a navigating browser makes it, nothing followed.
    pub(crate) async fn look(&self, url: &str) -> Answer {
        Answer::of(self.once(Method::GET, url, None).await).await
    }

    /// Takes over what was answered to a form, and follows it.
    pub(crate) async fn take(&mut self, url: &str, answer: Answer) {
        self.status = StatusCode::from_u16(answer.status).unwrap();
        match answer.location() {
            Some(to) => self.get(url::Url::parse(url).unwrap().join(&to).unwrap().as_str()).await,
            None => (self.url, self.body) = (url.to_owned(), answer.body),
        }
    }

    /// One request as a navigating browser makes it, nothing followed.
    pub(crate) async fn once(
        &self,
        method: Method,
        url: &str,
        form: Option<&[(String, String)]>,
    ) -> Response {
        let mut request = self
            .client
            .request(method.clone(), url)
            .header(ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        if let Some(form) = form {
            let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            let referer = format!("{origin}/");
            request = request.form(form).header("origin", origin).header("referer", referer);
            request = request.header("sec-fetch-site", "same-origin");
        }
        request.send().await.unwrap()
    }

    /// Goes to an address and follows where it leads.
    pub(crate) async fn get(&mut self, url: &str) {
        self.go(Method::GET, url.to_owned(), None).await;
    }

    async fn go(&mut self, mut method: Method, mut url: String, mut form: Option<Vec<(String, String)>>) {
        self.way.clear();
        for _ in 0..12 {
            let response = self.once(method.clone(), &url, form.as_deref()).await;
            self.status = response.status();
            self.way.push((url.clone(), self.status.as_u16()));
            if let Some(to) = response.headers().get(LOCATION) {
                url = url::Url::parse(&url).unwrap().join(to.to_str().unwrap()).unwrap().to_string();
                (method, form) = (Method::GET, None);
                continue;
            }
            self.body = response.text().await.unwrap();
            self.url = url.clone();
            match self.refresh() {
                Some(to) => url = url::Url::parse(&url).unwrap().join(&to).unwrap().to_string(),
                None => return,
            }
            (method, form) = (Method::GET, None);
        }
        panic!("no end of redirects: {:?}", self.way);
    }

    fn refresh(&self) -> Option<String> {
        let page = Html::parse_document(&self.body);
        let meta = Selector::parse("meta[http-equiv=refresh]").unwrap();
        let content = page.select(&meta).next()?.attr("content")?.to_owned();
        content.split_once("url=").map(|(_, to)| to.trim_matches(['"', '\'']).to_owned())
    }

    /// Fills in the form that has all these fields, and sends it.
    pub(crate) async fn submit(&mut self, fields: &[(&str, &str)]) {
        let (action, mut form) = self.form(fields);
        for (name, value) in fields {
            form.retain(|(known, _)| known != name);
            form.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.go(Method::POST, action, Some(form)).await;
    }

    /// The form on the page that has all these fields: where it goes and what it would send untouched.
    pub(crate) fn form(&self, fields: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let page = Html::parse_document(&self.body);
        let (forms, inputs) =
            (Selector::parse("form").unwrap(), Selector::parse("input, button[name]").unwrap());
        let form = page.select(&forms).find(|form| {
            fields.iter().all(|(name, _)| form.select(&inputs).any(|input| input.attr("name") == Some(name)))
                && form.attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post"))
        });
        let form = form.unwrap_or_else(|| panic!("no form with {fields:?} at {}: {}", self.url, self.text()));
        let action =
            url::Url::parse(&self.url).unwrap().join(form.attr("action").unwrap_or_default()).unwrap();
        let values = form
            .select(&inputs)
            .filter(|input| input.attr("type") != Some("checkbox") || input.attr("checked").is_some())
            .filter(|input| input.value().name() == "input")
            .filter_map(|input| {
                Some((input.attr("name")?.to_owned(), input.attr("value").unwrap_or_default().to_owned()))
            })
            .collect();
        (action.to_string(), values)
    }

    /// Sends the form whose action ends so.
    pub(crate) async fn press(&mut self, action: &str) {
        let page = Html::parse_document(&self.body);
        let (forms, inputs) = (Selector::parse("form").unwrap(), Selector::parse("input").unwrap());
        let form = page
            .select(&forms)
            .find(|form| form.attr("action").is_some_and(|to| to.ends_with(action)))
            .unwrap_or_else(|| panic!("no form to {action} at {}", self.url));
        let values: Vec<(String, String)> = form
            .select(&inputs)
            .filter_map(|input| {
                Some((input.attr("name")?.to_owned(), input.attr("value").unwrap_or_default().to_owned()))
            })
            .collect();
        let to = url::Url::parse(&self.url).unwrap().join(form.attr("action").unwrap()).unwrap().to_string();
        drop(page);
        self.go(Method::POST, to, Some(values)).await;
    }

    /// The page's heading.
    pub(crate) fn title(&self) -> String {
        title(&self.body)
    }

    /// The page's words.
    pub(crate) fn text(&self) -> String {
        words(&self.body)
    }

    /// The texts of everything on the page that a selector names.
    pub(crate) fn all(&self, selector: &str) -> Vec<String> {
        let (page, selector) = (Html::parse_document(&self.body), Selector::parse(selector).unwrap());
        page.select(&selector).map(|it| it.text().collect::<String>().trim().to_owned()).collect()
    }

    /// An attribute of the first thing on the page that a selector names.
    pub(crate) fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let (page, selector) = (Html::parse_document(&self.body), Selector::parse(selector).unwrap());
        page.select(&selector).next()?.attr(name).map(str::to_owned)
    }

    /// A request as a program makes it: JSON wanted, nothing followed.
    pub(crate) async fn fetch(&self, url: &str) -> (StatusCode, serde_json::Value) {
        let response = self.client.get(url).header(ACCEPT, "application/json").send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// The names of all cookies that would go to an address.
    pub(crate) fn cookies(&self, url: &str) -> Vec<String> {
        use reqwest::cookie::CookieStore as _;
        let header = self.jar.cookies(&url::Url::parse(url).unwrap());
        let text = header.map(|header| header.to_str().unwrap().to_owned()).unwrap_or_default();
        text.split("; ").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect()
    }

    /// The value of a cookie at an address.
    pub(crate) fn cookie(&self, url: &str, name: &str) -> Option<String> {
        use reqwest::cookie::CookieStore as _;
        let header = self.jar.cookies(&url::Url::parse(url).unwrap())?;
        let text = header.to_str().unwrap().to_owned();
        text.split("; ").find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
    }
}

fn title(body: &str) -> String {
    let page = Html::parse_document(body);
    let heading = page.select(&Selector::parse("h1").unwrap()).next();
    heading.map(|h1| h1.text().collect::<String>().trim().to_owned()).unwrap_or_default()
}

fn words(body: &str) -> String {
    let page = Html::parse_document(body);
    let words: Vec<String> =
        page.root_element().text().map(|text| text.trim().to_owned()).filter(|t| !t.is_empty()).collect();
    words.join(" ")
}

/// A form that is filled in and can be sent, also several times or by many at once.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) form: Vec<(String, String)>,
    /// More header fields, or others than the usual ones.
    pub(crate) headers: HeaderMap,
}

impl Ready {
    /// With another value in a field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.form.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a field.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.form.retain(|(known, _)| known != name);
        self
    }

    /// With a header field.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// The value of a field.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Sends it as a browser does from the page; nothing is followed.
    pub(crate) async fn send(&self) -> Answer {
        let origin = self.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-site", "same-origin"),
            ("origin", &origin),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers.extend(self.headers.clone());
        Answer::of(self.client.post(&self.url).form(&self.form).headers(headers).send().await.unwrap()).await
    }

    /// Sends it so many times at once.
    pub(crate) async fn at_once(&self, times: usize) -> Vec<Answer> {
        all_at_once(&vec![self.clone(); times]).await
    }
}

/// Sends all of these at once.
pub(crate) async fn all_at_once(forms: &[Ready]) -> Vec<Answer> {
    let start = Arc::new(tokio::sync::Barrier::new(forms.len()));
    let mut sending = Vec::new();
    for form in forms {
        let (form, start) = (form.clone(), Arc::clone(&start));
        sending.push(tokio::spawn(async move {
            start.wait().await;
            form.send().await
        }));
    }
    let mut answers = Vec::new();
    for one in sending {
        answers.push(one.await.unwrap());
    }
    answers
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap_or_default() }
    }

    /// Where it leads, as it stands in the header.
    pub(crate) fn location(&self) -> Option<String> {
        self.headers.get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned())
    }

    /// Every cookie that it sets, whole.
    pub(crate) fn cookies(&self) -> Vec<String> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    /// The session's token, if it gives one.
    pub(crate) fn token(&self) -> Option<String> {
        let value = |cookie: String| Some(cookie.strip_prefix("cardea=")?.split(';').next()?.to_owned());
        self.cookies().into_iter().filter_map(value).find(|value| !value.is_empty())
    }

    pub(crate) fn title(&self) -> String {
        title(&self.body)
    }

    pub(crate) fn text(&self) -> String {
        words(&self.body)
    }
}
