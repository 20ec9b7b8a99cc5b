//! The first file, as `cardea init` writes it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// What `cardea init` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// `https://access.example.com`
    pub public_url: String,
    /// Where to listen; the default of the product when empty.
    pub listen: Vec<String>,
    /// `sqlite:cardea.db`, `postgres://…`
    pub storage_url: String,
    /// The file with the master key, as it is to be written.
    pub master_key_file: Option<String>,
    /// Files with the certificate and its key, when browsers come here directly over TLS.
    pub tls: Option<(String, String)>,
    /// What the sign-in page is called; the default of the product when none.
    pub brand: Option<String>,
    /// Slug and name of the first tenant; `default` when none.
    pub tenant: Option<(String, String)>,
    /// The first app.
    pub route: Option<FirstRoute>,
}

/// The first app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstRoute {
    /// `wiki.example.com`
    pub host: String,
    /// `http://127.0.0.1:3000`
    pub to: String,
    /// Who may use it; every member when empty.
    pub allow: Vec<String>,
}

/// The text of a first `cardea.toml`. What the answers say is quoted, not checked: load it to know.
#[must_use]
pub fn starter(answers: &Answers) -> String {
    let mut text = String::from(
        "# The configuration of Cardea. `cardea check` says what is wrong with it and what to do;\n\
         # a running `cardea serve` takes changes over by itself.\n\n[server]\n\
         public_url = ",
    );
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!("{}  # where people sign in", quoted(&answers.public_url)));
    if !answers.listen.is_empty() {
        line(format!("listen     = {}", list(&answers.listen)));
    }
    match &answers.tls {
        Some((cert, key)) => line(format!(
            "\n[tls]\nmode = \"files\"\ncert = {}  # the certificate, then its chain\nkey  = {{ file = {} }}",
            quoted(cert),
            quoted(key)
        )),
        None if answers.public_url.starts_with("https:") => line(
            "\n# Browsers come over TLS. Either a proxy in front ends it, or Cardea does:\n# [tls]\n# mode = \"files\"\n\
             # cert = \"access.pem\"                # the certificate, then its chain\n# key  = { file = \"access.key\" }"
                .to_owned(),
        ),
        None => {}
    }
    line(format!("\n[storage]\nurl = {}", quoted(&answers.storage_url)));
    if let Some(file) = &answers.master_key_file {
        line(format!(
            "\n[secrets]  # keep a copy of the key apart from the copies of the database\nmaster_key = {{ file = {} }}",
            quoted(file)
        ));
    }
    if let Some(brand) = &answers.brand {
        line(format!("\n[brand]\nname = {}", quoted(brand)));
    }
    if let Some((slug, name)) = &answers.tenant {
        line(format!("\n[[tenant]]\nslug = {}\nname = {}", quoted(slug), quoted(name)));
    }
    match &answers.route {
        Some(route) => {
            let everybody = ["signed-in".to_owned()];
            let allow = if route.allow.is_empty() { &everybody[..] } else { &route.allow };
            line(format!("\n[[route]]\nhost  = {}", quoted(&route.host)));
            line(format!("to    = {}", list(std::slice::from_ref(&route.to))));
            line(format!("allow = {}  # any one of these is enough", list(allow)));
        }
        None => line(
            "\n# [[route]]\n# host  = \"wiki.example.com\"\n# to    = [\"http://127.0.0.1:3000\"]\n# allow = [\"signed-in\"]"
                .to_owned(),
        ),
    }
    text
}

/// What a master key's file holds: the key in base64, on one line.
#[must_use]
pub fn key_file(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(BASE64_STANDARD.encode(key));
    text.push('\n');
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}
