//! As much of a browser as signing in takes: cookies, redirects, refresh pages, forms.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::{ACCEPT, LOCATION};
use scraper::{Html, Selector};
use url::Url;

pub(crate) struct Browser {
    client: reqwest::Client,
    jar: Arc<Jar>,
    url: Url,
    pub(crate) body: String,
}

/// Every name is at one address.
struct At(IpAddr);

impl reqwest::dns::Resolve for At {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let address: reqwest::dns::Addrs = Box::new(std::iter::once(SocketAddr::from((self.0, 0))));
        Box::pin(std::future::ready(Ok(address)))
    }
}

impl Browser {
    pub(crate) fn at(address: IpAddr) -> anyhow::Result<Self> {
        let jar = Arc::new(Jar::default());
        let client = reqwest::Client::builder()
            .cookie_provider(Arc::clone(&jar))
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(At(address)))
            .no_proxy()
            .build()?;
        Ok(Self { client, jar, url: Url::parse("http://localhost/")?, body: String::new() })
    }

    /// Opens an address and goes on to where it leads.
    pub(crate) async fn open(&mut self, address: &str) -> anyhow::Result<()> {
        self.follow(self.client.get(address), Url::parse(address)?).await
    }

    /// Fills in the one field of the form that has it, and sends it.
    pub(crate) async fn submit(&mut self, field: &str, value: &str) -> anyhow::Result<()> {
        let (to, fields) = self.form(field, value)?;
        let origin = self.url.origin().ascii_serialization();
        let request = self
            .client
            .post(to.clone())
            .form(&fields)
            .header("origin", origin)
            .header("sec-fetch-site", "same-origin");
        self.follow(request, to).await
    }

    fn form(&self, field: &str, value: &str) -> anyhow::Result<(Url, Vec<(String, String)>)> {
        let page = Html::parse_document(&self.body);
        let (forms, inputs) = (selector("form[method=post]")?, selector("input[name]")?);
        let names = |form: &scraper::ElementRef<'_>| {
            form.select(&inputs).any(|input| input.attr("name") == Some(field))
        };
        let form = page
            .select(&forms)
            .find(names)
            .with_context(|| format!("no form with {field} at {}: {}", self.url, self.body))?;
        let to = self.url.join(form.attr("action").unwrap_or_default())?;
        let filled = form.select(&inputs).map(|input| {
            let name = input.attr("name").unwrap_or_default();
            let value = if name == field { value } else { input.attr("value").unwrap_or_default() };
            (name.to_owned(), value.to_owned())
        });
        Ok((to, filled.collect()))
    }

    async fn follow(&mut self, mut request: reqwest::RequestBuilder, mut url: Url) -> anyhow::Result<()> {
        for _ in 0..12 {
            let answer = request
                .header(ACCEPT, "text/html")
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document")
                .send()
                .await?;
            let next = if let Some(to) = answer.headers().get(LOCATION) {
                Some(url.join(to.to_str()?)?)
            } else {
                let status = answer.status();
                (self.body, self.url) = (answer.text().await?, url.clone());
                ensure!(status.is_success(), "{url} answers {status}: {}", self.body);
                self.refresh()?
            };
            let Some(next) = next else { return Ok(()) };
            url = next;
            request = self.client.get(url.clone());
        }
        bail!("no end of redirects at {url}")
    }

    fn refresh(&self) -> anyhow::Result<Option<Url>> {
        let page = Html::parse_document(&self.body);
        let meta = selector("meta[http-equiv=refresh]")?;
        let content = page.select(&meta).next().and_then(|meta| meta.attr("content"));
        let to = content.and_then(|content| content.split_once("url="));
        Ok(to.map(|(_, to)| self.url.join(to.trim_matches(['"', '\'']))).transpose()?)
    }

    /// What would be sent as `Cookie` to an address.
    pub(crate) fn cookies(&self, address: &str) -> anyhow::Result<String> {
        let fields = self.jar.cookies(&Url::parse(address)?).context("no cookie was given")?;
        Ok(fields.to_str()?.to_owned())
    }
}

fn selector(text: &str) -> anyhow::Result<Selector> {
    Selector::parse(text).map_err(|error| anyhow::anyhow!("{text}: {error}"))
}
