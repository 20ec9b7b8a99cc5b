//! One named case per fault, and the ways in which a configuration is put together.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::domain::header::Edits;
use crate::domain::policy::{Access, How, PathPattern};
use crate::domain::route::{Fact, Transport, WebSocket};
use crate::domain::target::{Case as HostCase, Unusual};
use crate::domain::{Slug, Span};

/// Lines 1 and 2 of most cases.
const SERVER: &str = "[server]\npublic_url = \"https://access.example.com\"\n";

/// When all this is read.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// 32 bytes.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct House {
    folder: TempDir,
    options: Options,
}

impl House {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = Self {
            options: Options { file: Some(folder.path().join("cardea.toml")), ..Options::default() },
            folder,
        };
        // Nothing goes without a master key; most texts are about something else.
        let house = if text.contains("[secrets]") {
            house
        } else {
            house.variable("CARDEA_SECRETS__MASTER_KEY", KEY)
        };
        house.file("cardea.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn mode(self, name: &str, mode: u32) -> Self {
        fs::set_permissions(self.folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// A certificate and its key.
    fn pair(self, name: &str) -> Self {
        let (pem, key) = minted(&[name], 2030);
        self.file("a.pem", &pem).file("a.key", &key)
    }

    /// Upstreams over TLS.
    fn https(self) -> Self {
        let text = fs::read_to_string(self.folder.path().join("cardea.toml")).unwrap();
        self.file("cardea.toml", &text.replace("http://10.", "https://10."))
    }

    fn variable(self, name: &str, value: &str) -> Self {
        let mut house = self.without(name);
        house.options.environment.push((name.to_owned(), value.to_owned()));
        house
    }

    fn without(mut self, name: &str) -> Self {
        self.options.environment.retain(|(known, _)| known != name);
        self
    }

    fn credentials(mut self) -> Self {
        self.options.credentials_directory = Some(self.folder.path().join("credentials"));
        self
    }

    fn load(&self) -> Result<Loaded, Report> {
        load_from(&self.options, &[], NOW)
    }

    fn report(&self) -> Report {
        self.load().map_or_else(|report| report, |loaded| loaded.report)
    }

    /// The report without the folder, which differs from run to run.
    fn rendered(&self) -> String {
        self.report().to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|report| panic!("{report}"))
    }
}

/// After `[server]`.
fn with(text: &str) -> House {
    House::new(&format!("{SERVER}{text}"))
}

/// A route that has nothing wrong, to be added to: host, upstream, and what follows from line 6.
fn route(text: &str) -> House {
    with(&format!("[[route]]\nhost = \"wiki.example.com\"\nto = [\"http://10.0.0.1:80\"]\n{text}"))
}

/// A provider that has nothing wrong, to be added to.
fn provider(issuer: &str, text: &str) -> String {
    format!(
        "[[idp]]\nname = \"corp\"\nissuer = \"{issuer}\"\nclient_id = \"x\"\nclient_auth = \"none\"\n{text}"
    )
}

/// The same after a server: what follows begins in line 8.
/// A provider that speaks for a domain of its tenant's.
fn owned(text: &str) -> House {
    let text = format!("domains = [\"acme.example\"]\nauthoritative = true\n{text}");
    let tenant = "[[tenant]]\nslug = \"acme\"\ndomains = [\"acme.example\"]\n";
    with(&format!("{tenant}{}", provider("https://idp.example.com", &text)))
}

fn idp(text: &str) -> House {
    with(&provider("https://idp.example.com", text))
}

/// A certificate for these names and its key, until the end of a year; 0 is a few days from now.
fn minted(names: &[&str], until: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after =
        if until == 0 { rcgen::date_time_ymd(2027, 1, 20) } else { rcgen::date_time_ymd(until, 12, 31) };
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn secured_text(mode: &str, rest: &str) -> String {
    format!("{SERVER}[tls]\nmode = \"{mode}\"\ncert = \"a.pem\"\nkey = {{ file = \"a.key\" }}\n{rest}")
}

/// With TLS and a certificate for the portal and every host beside it.
fn secured(mode: &str, rest: &str) -> House {
    House::new(&secured_text(mode, rest)).pair("*.example.com")
}

type Cases = Vec<(&'static str, House, Vec<(&'static str, usize)>)>;

#[rustfmt::skip]
fn cases_of_files_and_values() -> Cases {
    let two = "[[tenant]]\nslug = \"acme\"\n[[tenant]]\nslug = \"beta\"\n";
    let rule = "[[route.rule]]\nallow = [\"signed-in\"]\n";
    let public_url = |url: &str| House::new(&format!("[server]\npublic_url = \"{url}\"\n"));
    let server = |text: &str| with(text);
    let to = |list: &str| with(&format!("[[route]]\nhost = \"a.example.com\"\nto = [{list}]\nallow = [\"signed-in\"]\n"));
    vec![
        // Files and syntax.
        ("no such file", { let mut house = House::new(""); house.options.file = Some("/nowhere/cardea.toml".into()); house }, vec![("E0102", 0)]),
        ("a directory", { let mut house = House::new(""); house.options.file = Some(house.folder.path().into()); house }, vec![("E0102", 0)]),
        ("nothing to read", { let mut house = House::new(""); house.options.file = None; house }, vec![("E0101", 0)]),
        ("empty", House::new(""), vec![("E0107", 0)]),
        ("syntax, several", with("x = \n[log]\nlevel = \"info\nformat = json\n"), vec![("E0103", 3), ("E0103", 5), ("E0103", 6)]),
        ("same key twice", with("public_url = \"https://b.example.com\"\n"), vec![("E0104", 3)]),
        ("same section twice", with("[log]\n[log]\n"), vec![("E0104", 4)]),
        ("twice over files", with("[log]\nlevel = \"info\"\n").file("b.toml", "[log]\nlevel = \"warn\"\n").variable("CARDEA_LOG__FORMAT", "text"), vec![]),
        ("unknown key", with("lsiten = []\n"), vec![("E0105", 3)]),
        ("unknown section", with("[servre]\n"), vec![("E0105", 3)]),
        ("unknown key of a route", route("allow = [\"signed-in\"]\nupstream = \"x\"\n"), vec![("E0105", 7)]),
        ("not built: mail", with("[mail]\nsmtp = \"x\"\n"), vec![("E0106", 3)]),
        ("provider", idp(""), vec![]),
        ("provider without TLS", with(&provider("http://a.example", "")), vec![("E0306", 5)]),
        ("provider without TLS, named", with(&format!("[outbound]\nallow = [\"a.example:80\"]\n{}", provider("http://a.example", ""))), vec![]),
        ("provider with a query", with(&provider("https://a.example?x", "")), vec![("E0301", 5)]),
        ("provider without openid", idp("scopes = [\"email\"]\n"), vec![("E0310", 3)]),
        ("provider for a stranger's domain", idp("domains = [\"acme.example\"]\n"), vec![("E0215", 8)]),
        ("provider that speaks for nobody", idp("authoritative = true\n"), vec![("E0310", 8)]),
        ("addresses in a claim that nobody verifies", owned("attributes = { email = \"upn\" }\n"), vec![("E0310", 13)]),
        ("addresses in a claim that the file answers for", owned("attributes = { email = \"upn\" }\nverified_claims = [\"upn\"]\n"), vec![]),
        ("the claim email, which the provider answers for", owned("verified_claims = [\"email\"]\n"), vec![("E0310", 13)]),
        ("required provider that there is not", with("[[tenant]]\nslug = \"acme\"\nrequire_idp = \"corp\"\n"), vec![("E0310", 5)]),
        ("required provider of another tenant", with(&format!("[[tenant]]\nslug = \"acme\"\nrequire_idp = \"corp\"\n[[tenant]]\nslug = \"other\"\n{}", provider("https://idp.example.com", "tenant = \"other\"\n"))), vec![("E0215", 5)]),
        ("provider with HMAC", idp("algorithms = [\"HS256\"]\n"), vec![("E0301", 8)]),
        ("public client with a secret", idp("client_secret = \"x\"\n"), vec![("E0310", 8)]),
        ("key of our own that is missing", with("[[idp]]\nname = \"x\"\nissuer = \"https://a.example\"\nclient_id = \"x\"\nclient_auth = \"private_key_jwt\"\n"), vec![("E0107", 3)]),
        ("key of our own for a public client", idp("client_key = { env = \"X\" }\n"), vec![("E0310", 8)]),
        ("provider with an authority that is not there", idp("ca = \"none.pem\"\n"), vec![("E0102", 8)]),
        ("rule that gives nothing", idp("[[idp.rule]]\nclaim = \"groups\"\n"), vec![("E0107", 8)]),
        ("rule with half a domain", idp("[[idp.rule]]\nclaim = \"email\"\nends_with = \"acme.example\"\nroles = [\"user\"]\n"), vec![("E0301", 10)]),
        ("rule that makes administrators", idp("[[idp.rule]]\nclaim = \"groups\"\nroles = [\"super-admin\"]\n"), vec![("E0216", 10)]),
        ("rule outside the tenant", idp("[[idp.rule]]\nclaim = \"groups\"\nroles = [\"user\"]\nat = \"other\"\n"), vec![("W0214", 11), ("E0215", 11)]),
        ("SAML without a certificate", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nentity_id = \"urn:a\"\nsso_url = \"https://a.example/sso?x=1\"\n"), vec![("E0107", 3)]),
        ("SAML over plain HTTP", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nentity_id = \"urn:a\"\nmetadata = \"http://a.example/m\"\n"), vec![("E0306", 7)]),
        ("SAML from anybody", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nmetadata = \"https://a.example/m\"\n"), vec![("E0107", 3)]),
        ("SAML with names that pass", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nentity_id = \"urn:a\"\nmetadata = \"https://a.example/m\"\nname_id = \"transient\"\n"), vec![("E0310", 8)]),
        ("SAML with an issuer", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nissuer = \"https://a.example\"\nentity_id = \"urn:a\"\nmetadata = \"https://a.example/m\"\n"), vec![("E0310", 6)]),
        ("SAML file that is missing", with("[[idp]]\nname = \"x\"\ntype = \"saml\"\nmetadata = \"missing.xml\"\n"), vec![("E0102", 6)]),
        ("OpenID Connect with metadata", idp("metadata = \"https://a.example/m\"\n"), vec![("E0310", 8)]),
        ("not built: budget", with("[[budget]]\nname = \"x\"\n"), vec![("E0106", 3)]),
        ("not built: webhook", with("[[webhook]]\nname = \"x\"\n"), vec![("E0106", 3)]),
        ("not built: tls", with("[tls]\nmode = \"acme\"\n"), vec![("E0106", 4)]),
        ("not built: tls versions", with("[tls]\nmode = \"off\"\nmin_version = \"1.3\"\n"), vec![("E0106", 5)]),
        ("not built: passkeys", with("[mfa]\nmethods = [\"passkey\", \"totp\"]\n"), vec![("E0106", 4)]),
        ("not built: passkeys on the page", with("[sign_in]\npasskeys = true\n"), vec![("E0106", 4)]),
        ("not built: hours", route("allow = [\"signed-in\"]\nrequire = [\"hours:mon-fri\"]\n"), vec![("E0106", 7)]),
        ("not built: passkey in a policy", route("allow = [\"signed-in\"]\nrequire = [\"passkey\"]\n"), vec![("E0106", 7)]),
        ("unknown provider in a policy", route("allow = [\"idp:entra\"]\n"), vec![("W0214", 6)]),
        ("not built: key in a policy", route("allow = [\"key:ci\"]\n"), vec![("E0106", 6)]),
        ("not built: remember me", with("[session]\nremember_me = \"14d\"\n"), vec![("E0106", 4)]),
        ("not built: otlp", with("[log]\notlp = \"\"\n"), vec![("E0106", 4)]),
        ("not built: logo", with("[brand]\nlogo = { file = \"x\" }\n"), vec![("E0106", 4)]),
        ("not built: body limit", server("body_limit = \"1MiB\"\n"), vec![("E0106", 3)]),
        ("an address that says which HTTP", with("[[route]]\nhost = \"a.example.com\"\nto = [\"h2c://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0306", 5)]),
        ("not built: console landing", with("[sign_in]\ndefault_landing = \"console\"\n"), vec![("E0106", 4)]),
        ("no public address", House::new("[server]\n"), vec![("E0107", 1)]),
        ("no host", with("[[route]]\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0107", 3)]),
        ("no upstream", with("[[route]]\nhost = \"a.example.com\"\nallow = [\"signed-in\"]\n"), vec![("E0107", 3)]),
        ("guarded, and nobody can ask", with("[[route]]\nhost = \"a.example.com\"\nforward_auth = true\nallow = [\"signed-in\"]\n"), vec![("E0107", 5)]),
        ("guarded", with("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nforward_auth = true\nallow = [\"signed-in\"]\n"), vec![]),
        ("guarded, with an upstream", with("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\nforward_auth = true\nallow = [\"signed-in\"]\n"), vec![("E0310", 6)]),
        ("guarded, with another path", with("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nforward_auth = true\nrewrite = \"/x\"\nallow = [\"signed-in\"]\n"), vec![("E0310", 7)]),
        ("a path to go to that can be read in two ways", route("allow = [\"signed-in\"]\nrewrite = \"/a/../b\"\n"), vec![("E0301", 7)]),
        ("a route to where questions are asked", with("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nto = [\"http://127.0.0.1:8601\"]\nallow = [\"signed-in\"]\n"), vec![("E0218", 6)]),
        ("no upstream in the list", with("[[route]]\nhost = \"a.example.com\"\nto = []\nallow = [\"signed-in\"]\n"), vec![("E0107", 3)]),
        ("no listener", server("listen = []\n"), vec![("E0107", 1)]),
        ("a group without tenant", with(&format!("{two}[[group]]\nslug = \"staff\"\n")), vec![("E0107", 7)]),
        ("text for a number", with("[session]\nper_user = \"10\"\n"), vec![("E0108", 4)]),
        ("a number for text", with("[session]\nidle = 8\n"), vec![("E0108", 4)]),
        ("text for a flag", route("allow = [\"signed-in\"]\nlisted = \"yes\"\n"), vec![("E0108", 7)]),
        ("text for a list", with("[[route]]\nhost = \"a.example.com\"\nto = \"http://10.0.0.1\"\nallow = [\"signed-in\"]\n"), vec![("E0108", 5)]),
        ("one bracket", with("[route]\nhost = \"a.example.com\"\n"), vec![("E0108", 3)]),
        ("text for a section", House::new("log = \"info\"\n[server]\npublic_url = \"https://a.example.com\"\n"), vec![("E0108", 1)]),
        ("no master key", with("").without("CARDEA_SECRETS__MASTER_KEY"), vec![("E0107", 1)]),
        ("a secret of two places", with("[secrets]\nmaster_key = { file = \"a\", env = \"B\" }\n"), vec![("E0108", 4)]),
        ("a number for a secret", with("[secrets]\nmaster_key = 5\n"), vec![("E0108", 4)]),
        ("networks as a list", House::new(&format!("networks = []\n{SERVER}")), vec![("E0108", 1)]),
        ("include: no directory", House::new(&format!("include = [\"conf.d/*.toml\"]\n{SERVER}")), vec![("E0109", 1)]),
        ("include: star too early", House::new(&format!("include = [\"*/a.toml\"]\n{SERVER}")), vec![("E0109", 1)]),
        ("include: twice", House::new(&format!("include = [\"a.toml\", \"*.toml\"]\n{SERVER}")).file("a.toml", ""), vec![("E0109", 1), ("E0109", 1)]),
        ("include: nested", House::new(&format!("include = [\"a.toml\"]\n{SERVER}")).file("a.toml", "\ninclude = []\n"), vec![("E0109", 2)]),
        ("include: gone", House::new(&format!("include = [\"a.toml\"]\n{SERVER}")), vec![("E0102", 1)]),
        ("include: a key again", House::new(&format!("include = [\"a.toml\"]\n{SERVER}")).file("a.toml", "\n[server]\npublic_url = \"x\"\n"), vec![("E0104", 3)]),
        ("include: a section that was a value", House::new(&format!("include = [\"a.toml\"]\nlog = 5\n{SERVER}")).file("a.toml", "[log]\n"), vec![("E0104", 1)]),
        ("unknown variable", with("").variable("CARDEA_SERVER__PUBLIC", "x"), vec![("E0111", 0)]),
        ("a variable with one underscore", with("").variable("CARDEA_LOG_LEVEL", "x"), vec![("E0111", 0)]),
        ("a variable and its file", with("").variable("CARDEA_LOG__LEVEL", "info").variable("CARDEA_LOG__LEVEL_FILE", "x"), vec![("E0104", 0)]),
        ("a variable's file is gone", with("").variable("CARDEA_LOG__LEVEL_FILE", "/nowhere/level"), vec![("E0112", 0)]),
        ("a variable of the wrong kind", with("").variable("CARDEA_SESSION__PER_USER", "many"), vec![("E0301", 0)]),
        ("secret: no file", with("[secrets]\nmaster_key = { file = \"gone\" }\n"), vec![("E0112", 4)]),
        ("secret: no variable", with("[secrets]\nmaster_key = { env = \"GONE\" }\n"), vec![("E0112", 4)]),
        ("secret: no credentials", with("[secrets]\nmaster_key = { credential = \"key\" }\n"), vec![("E0112", 4)]),
        ("secret: a credential by path", with("[secrets]\nmaster_key = { credential = \"../key\" }\n").credentials(), vec![("E0301", 4)]),
        ("secret: unknown place", with("[secrets]\nmaster_key = { fiel = \"x\" }\n"), vec![("E0108", 4), ("E0105", 4)]),
        ("secret: others can read", with("[secrets]\nmaster_key = { file = \"k\" }\n").file("k", KEY).mode("k", 0o640), vec![("E0113", 4)]),
        ("secret: in the file", with(&format!("[secrets]\nmaster_key = \"{KEY}\"\n")), vec![("W0110", 4)]),
        ("secret: a password in an address", with("[storage]\nurl = \"postgres://cardea:hunter2@db/cardea\"\n"), vec![("W0110", 4)]),
        ("secret: too short", with("[secrets]\nmaster_key = { file = \"k\" }\n").file("k", "AAAA\n"), vec![("E0308", 4)]),
        ("secret: two lines", with("[secrets]\nmaster_key = { file = \"k\" }\n").file("k", &format!("{KEY}\n{KEY}\n")), vec![("E0308", 4)]),
        // Values.
        ("a bad duration", with("[session]\nidle = \"8 hours\"\n"), vec![("E0301", 4)]),
        ("a bad word", with("[log]\nformat = \"jsno\"\n"), vec![("E0301", 4)]),
        ("a bad level", with("[log]\nlevel = \"info,cardea=loud\"\n"), vec![("E0301", 4)]),
        ("a bad host", with("[[route]]\nhost = \"wiki.example.com:80\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0301", 4)]),
        ("a bad path", route("allow = [\"signed-in\"]\npath = \"/a/*\"\n"), vec![("E0301", 7)]),
        ("a path of two readings", route("allow = [\"signed-in\"]\npath = \"/a//b\"\n"), vec![("E0301", 7)]),
        ("a bad who", route("allow = [\"anyone\"]\n"), vec![("E0301", 6)]),
        ("a bad method", route(&format!("{rule}methods = [\"get\"]\n")), vec![("E0301", 8)]),
        ("a bad permission", with("[[role]]\nslug = \"a\"\npermissions = { reports = [\"read\", \"Write\"] }\n"), vec![("E0301", 5)]),
        ("a bad header preset", route("allow = [\"signed-in\"]\nheaders = \"oauth2proxy\"\n"), vec![("E0301", 7)]),
        ("a bad fact", route("allow = [\"signed-in\"]\nheaders = { X-User = \"usr\" }\n"), vec![("E0301", 7)]),
        ("a bad network", with("[networks]\noffice = [\"10.0.0.0/33\"]\n"), vec![("E0301", 4)]),
        ("a bad network name", with("[networks]\nOffice = [\"10.0.0.0/8\"]\n"), vec![("E0301", 4)]),
        ("a bad listener", server("listen = [\"localhost:80\"]\n"), vec![("E0301", 3)]),
        ("an engine we lack", with("[storage]\nurl = \"mysql://root:secret@db/x\"\n"), vec![("E0301", 4)]),
        ("a database in memory", with("[storage]\nurl = \"sqlite::memory:\"\n"), vec![("E0301", 4)]),
        ("a short minimum", with("[sign_in.password_policy]\nmin_length = 7\n"), vec![("E0302", 4)]),
        ("a long assertion", route("allow = [\"signed-in\"]\nassertion_life = \"6m\"\n"), vec![("E0302", 7)]),
        ("no connections", server("connections_per_client = 0\n"), vec![("E0302", 3)]),
        ("a short silence", route("allow = [\"signed-in\"]\ntimeout = { idle = \"100ms\" }\n"), vec![("E0302", 7)]),
        ("a long lease", with("[storage]\nlease = \"2m\"\n"), vec![("E0302", 4)]),
        ("a negative number", with("[session]\nper_user = -1\n"), vec![("E0302", 4)]),
        ("beyond loopback", server("listen = [\"127.0.0.1:1\", \"0.0.0.0:2\"]\n"), vec![("E0303", 3)]),
        ("questions beyond loopback", server("forward_auth_listen = \"0.0.0.0:2\"\n"), vec![("E0303", 3)]),
        ("questions beyond loopback of proxies that are named", server("forward_auth_listen = \"10.0.0.2:2\"\ntrusted_proxies = [\"10.0.0.1\"]\n"), vec![]),
        ("questions where requests are taken", server("forward_auth_listen = \"127.0.0.1:8600\"\n"), vec![("E0310", 3)]),
        ("questions where health is", server("forward_auth_listen = \"127.0.0.1:9600\"\n"), vec![("E0310", 1)]),
        ("beyond loopback, half said", server("listen = [\"[::]:2\"]\n[tls]\nmode = \"off\"\n"), vec![("E0303", 3)]),
        ("trusting everybody", server("trusted_proxies = [\"10.0.0.0/8\", \"fc00::/7\", \"0.0.0.0/0\", \"::/0\"]\n"), vec![("E0304", 3), ("E0304", 3)]),
        ("trusting everybody in halves", server("trusted_proxies = [\"0.0.0.0/1\", \"128.0.0.0/1\", \"::ffff:0:0/96\"]\n"), vec![("E0304", 3), ("E0304", 3), ("E0304", 3)]),
        ("a long socket", server(&format!("control_socket = \"/{}\"\n", "x".repeat(107))), vec![("E0302", 3)]),
        ("plain http", public_url("http://access.example.com"), vec![("E0305", 2)]),
        ("plain http to an address", public_url("http://10.0.0.1"), vec![("E0305", 2)]),
        ("a path in the address", public_url("https://access.example.com/sso"), vec![("E0305", 2)]),
        ("a user in the address", public_url("https://a@access.example.com"), vec![("E0305", 2)]),
        ("no scheme", public_url("access.example.com"), vec![("E0305", 2)]),
        ("an upstream with a path", with("[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1/app\"]\nallow = [\"signed-in\"]\n"), vec![("E0306", 5)]),
        ("an upstream with a user", with("[[route]]\nhost = \"a.example.com\"\nto = [\"http://u:p@10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0306", 5)]),
        ("an upstream that is no machine", to("\"http://0.0.0.0:80\""), vec![("E0306", 5)]),
        ("an upstream where clouds keep secrets", to("\"http://[::ffff:169.254.169.254]\""), vec![("E0306", 5)]),
        ("an upstream with a word too many", to("{ url = \"http://10.0.0.1\", drian = true }"), vec![("E0105", 5)]),
        ("an upstream without address", to("{ drain = true }"), vec![("E0107", 5)]),
        ("every upstream drained", to("{ url = \"http://10.0.0.1\", drain = true }"), vec![("E0107", 5)]),
        ("one upstream drained", to("\"http://10.0.0.2\", { url = \"http://10.0.0.1\", drain = true }"), vec![]),
        ("too many upstreams", to(&"\"http://10.0.0.1\", ".repeat(129)), vec![("E0302", 5)]),
        ("a balance that is none", route("allow = [\"signed-in\"]\nbalance = \"random\"\n"), vec![("E0301", 7)]),
        ("a health check of nothing", route("allow = [\"signed-in\"]\nhealth = { every = \"1s\" }\n"), vec![("E0107", 7)]),
        ("a health check of no path", route("allow = [\"signed-in\"]\nhealth = { path = \"healthz\" }\n"), vec![("E0301", 7)]),
        ("a health check without pause", route("allow = [\"signed-in\"]\nhealth = { path = \"/\", every = \"0s\" }\n"), vec![("E0302", 7)]),
        ("a health check that nothing passes", route("allow = [\"signed-in\"]\nhealth = { path = \"/\", status = [42] }\n"), vec![("E0302", 7)]),
        ("a health check of what is not ours", with("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nforward_auth = true\nallow = [\"signed-in\"]\nhealth = { path = \"/\" }\n"), vec![("E0310", 8)]),
        ("an upstream without scheme", with("[[route]]\nhost = \"a.example.com\"\nto = [\"10.0.0.1:80\"]\nallow = [\"signed-in\"]\n"), vec![("E0306", 5)]),
        ("a header of the connection", route("allow = [\"signed-in\"]\nheaders = { Transfer_Encoding = \"user\" }\n"), vec![("E0307", 7)]),
        ("a header with a meaning", route("allow = [\"signed-in\"]\nheaders = { Authorization = \"assertion\" }\n"), vec![("E0307", 7)]),
        ("a header in two spellings", route("allow = [\"signed-in\"]\nheaders = { X-User = \"user\", x--user = \"email\" }\n"), vec![("E0307", 7)]),
        ("headers of the connection, set and removed", route("allow = [\"signed-in\"]\nset_headers = { Connection = \"x\" }\nremove_headers = [\"te\", \"Content-Length\"]\n"), vec![("E0314", 7), ("E0314", 8), ("E0314", 8)]),
        ("headers that carry identity", route("allow = [\"signed-in\"]\nset_headers = { X-Forwarded-User = \"root\" }\nremove_headers = [\"Cardea-User\", \"X-Forwarded-For\"]\n"), vec![("E0314", 7), ("E0314", 8), ("E0314", 8)]),
        ("a header that carries identity on another route", with("[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\nheaders = { X-Who = \"user\" }\n[[route]]\nhost = \"b.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\nset_headers = { X--Who = \"root\" }\n"), vec![("E0314", 12)]),
        ("headers of answers that are ours", route("allow = [\"signed-in\"]\nset_answer_headers = { Set-Cookie = \"a=b\" }\nremove_answer_headers = [\"Transfer-Encoding\"]\n"), vec![("E0314", 7), ("E0314", 8)]),
        ("a header set and removed", route("allow = [\"signed-in\"]\nset_headers = { X-A = \"1\" }\nremove_headers = [\"x--a\"]\n"), vec![("E0314", 8)]),
        ("a header that is none", route("allow = [\"signed-in\"]\nremove_headers = [\"X_A\", \"\"]\n"), vec![("E0314", 7), ("E0314", 7)]),
        ("a header with a line end", route("allow = [\"signed-in\"]\nset_headers = { X-A = \"a\\r\\nCardea-User: root\" }\n"), vec![("E0314", 7)]),
        ("headers where another proxy forwards", server("forward_auth_listen = \"127.0.0.1:8601\"\n[[route]]\nhost = \"a.example.com\"\nforward_auth = true\nallow = [\"signed-in\"]\nremove_answer_headers = [\"Server\"]\n"), vec![("E0310", 8)]),
        ("half an administrator", with("").variable("ADMIN_USER", "root"), vec![("E0309", 0)]),
        ("a bad administrator", with("").variable("ADMIN_USER", "a b").variable("ADMIN_PASSWORD", "correct horse"), vec![("E0309", 0)]),
        ("everybody's password, for everybody", server("listen = [\"0.0.0.0:1\"]\ntrusted_proxies = [\"10.0.0.1\"]\n[tls]\nmode = \"off\"\n").variable("ADMIN_USER", "admin").variable("ADMIN_PASSWORD", "changeme"), vec![("E0309", 0)]),
        ("idle beyond absolute", with("[session]\nidle = \"25h\"\n"), vec![("E0310", 4)]),
        ("a delay beyond its limit", with("[sign_in.lockout]\ndelay = \"1h\"\n"), vec![("E0310", 4)]),
        ("one address twice", server("ops_listen = \"127.0.0.1:8600\"\n"), vec![("E0310", 3)]),
        ("sites for no WebSocket", route("origins = [\"https://a.example\"]\nallow = [\"signed-in\"]\n"), vec![("E0310", 6)]),
        ("a site with a path", route("websocket = true\norigins = [\"https://a.example/x\"]\nallow = [\"signed-in\"]\n"), vec![("E0301", 7)]),
        ("a site that is none", route("websocket = true\norigins = [\"null\"]\nallow = [\"signed-in\"]\n"), vec![("E0301", 7)]),
        ("any site", route("websocket = true\norigins = [\"https://*.example\"]\nallow = [\"signed-in\"]\n"), vec![("E0301", 7)]),
        ("nothing to enrol", with("[mfa]\nmethods = [\"recovery\"]\n"), vec![("E0310", 4)]),
        ("old keys alone", with("[secrets]\nprevious_master_keys = [{ file = \"k\" }]\n").file("k", KEY), vec![("E0107", 3)]),
        ("another version", House::new(&format!("config_version = 2\n{SERVER}")), vec![("E0311", 1)]),
        ("open metrics", server("ops_listen = \"0.0.0.0:9600\"\n"), vec![("W0308", 3)]),
        ("a local name for everybody", House::new("[server]\npublic_url = \"https://access.localhost\"\nlisten = [\"0.0.0.0:1\"]\ntrusted_proxies = [\"10.0.0.1\"]\n[tls]\nmode = \"off\"\n"), vec![("W0309", 2)]),
        ("a route over plain http", House::new("[server]\npublic_url = \"http://access.localhost:8600\"\n[[route]]\nhost = \"wiki.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("W0310", 4)]),
        // Certificates.
        ("tls: a certificate, and off", secured("off", ""), vec![("E0310", 5), ("E0310", 6)]),
        ("tls: nothing to show", with("[tls]\nmode = \"files\"\n"), vec![("E0107", 4)]),
        ("tls: no key", with("[tls]\nmode = \"files\"\ncert = \"a.pem\"\n"), vec![("E0107", 3)]),
        ("tls: no file", with("[tls]\nmode = \"files\"\ncert = \"gone.pem\"\nkey = { file = \"gone.key\" }\n"), vec![("E0102", 5), ("E0112", 6)]),
        ("tls: another key", secured("files", "").file("a.key", &minted(&["x.example"], 2030).1), vec![("E0312", 5)]),
        ("tls: everybody reads the key", secured("files", "").mode("a.key", 0o644), vec![("E0113", 6)]),
        ("tls: run out", { let (pem, key) = minted(&["access.example.com"], 2026); secured("files", "").file("a.pem", &pem).file("a.key", &key) }, vec![("W0313", 5)]),
        ("tls: no certificate in the file", secured("files", "").file("a.pem", "nonsense"), vec![("E0312", 5)]),
        ("tls: no key in the file", secured("files", "").file("a.key", "nonsense"), vec![("E0312", 6)]),
        ("tls: runs out soon", { let (pem, key) = minted(&["access.example.com"], 0); secured("files", "").file("a.pem", &pem).file("a.key", &key) }, vec![("W0312", 5)]),
        ("tls: no portal", { let (pem, key) = minted(&["other.example.com"], 2030); secured("files", "").file("a.pem", &pem).file("a.key", &key) }, vec![("E0313", 2)]),
        ("tls: a host too many", secured("files", "[[route]]\nhost = \"a.b.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("W0311", 8)]),
        ("tls: plain public address", House::new(&secured_text("files", "").replace("https://access.example.com", "http://access.localhost")).pair("access.localhost"), vec![("E0310", 2)]),
        ("tls: answers for nobody", House::new(&secured_text("files", "").replacen("[tls]", "acme_challenges = \"acme\"\n[tls]", 1)).pair("*.example.com"), vec![("E0310", 3)]),
        ("tls: a redirect to nothing", server("http_redirect = \"0.0.0.0:80\"\n"), vec![("E0310", 3)]),
        ("tls: an upstream without", route("allow = [\"signed-in\"]\nupstream_tls = { server_name = \"x.internal\" }\n"), vec![("E0310", 7)]),
        ("tls: an upstream's authority", route("allow = [\"signed-in\"]\nupstream_tls = { ca = \"a.key\" }\n").https().pair("x.internal"), vec![("E0312", 7)]),
        ("tls: an upstream, half a pair", route("allow = [\"signed-in\"]\nupstream_tls = { cert = \"a.pem\" }\n").https().pair("x.internal"), vec![("E0107", 7)]),
        // Several at once: nothing hides anything else.
        ("all at once", with("[log]\nformat = \"x\"\nlvl = 1\n[session]\nidle = 5\n[[route]]\nhost = \"a b\"\n[[route]]\nhost = \"c.example.com\"\nto = [\"http://10.0.0.1\"]\n"),
            vec![("E0301", 4), ("E0105", 5), ("E0108", 7), ("E0301", 9)]),
    ]
}

#[rustfmt::skip]
fn cases_of_names_and_policies() -> Cases {
    let allow = "allow = [\"signed-in\"]\n";
    let two = "[[tenant]]\nslug = \"acme\"\n[[tenant]]\nslug = \"beta\"\n";
    let rule = "[[route.rule]]\nallow = [\"signed-in\"]\n";
    let second = |host: &str, more: &str| format!(
        "{allow}[[route]]\nhost = \"{host}\"\nto = [\"http://10.0.0.2:80\"]\nallow = [\"signed-in\"]\n{more}");
    vec![
        ("a route twice", route(&format!("name = \"a\"\n{}", second("b.example.com", "name = \"a\"\n"))), vec![("E0201", 12)]),
        ("a tenant twice", with("[[tenant]]\nslug = \"a\"\n[[tenant]]\nslug = \"a\"\n"), vec![("E0201", 6)]),
        ("a domain of two tenants", with("[[tenant]]\nslug = \"a\"\ndomains = [\"x.example\"]\n[[tenant]]\nslug = \"b\"\ndomains = [\"X.example\"]\n"), vec![("E0201", 8)]),
        ("an organisation twice", with("[[tenant]]\nslug = \"a\"\n[[tenant.org]]\nslug = \"o\"\n[[tenant.org]]\nslug = \"o\"\n"), vec![("E0201", 8)]),
        ("a department twice", with("[[tenant]]\nslug = \"a\"\n[[tenant.org]]\nslug = \"o\"\ndepartments = [{ slug = \"d\" }, { slug = \"d\" }]\n"), vec![("E0201", 7)]),
        ("a role twice", with("[[role]]\nslug = \"a\"\n[[role]]\nslug = \"a\"\n"), vec![("E0201", 6)]),
        ("a role of all and of one tenant", with("[[tenant]]\nslug = \"t\"\n[[role]]\nslug = \"a\"\n[[role]]\nslug = \"a\"\ntenant = \"t\"\n"), vec![("E0201", 8)]),
        ("a group twice", with("[[group]]\nslug = \"a\"\n[[group]]\nslug = \"a\"\ntenant = \"default\"\n"), vec![("E0201", 6)]),
        ("a built-in role", with("[[role]]\nslug = \"owner\"\n"), vec![("E0202", 4)]),
        ("same host and path, and so the same name", route(&second("wiki.example.com", "")), vec![("E0203", 8)]),
        ("same host and path", route(&second("Wiki.Example.com", "name = \"b\"\n")), vec![("E0203", 8)]),
        ("on the portal", with("[[route]]\nhost = \"access.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0204", 4)]),
        ("two tenants on one host", with(&format!("{two}[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\ntenant = \"acme\"\n{allow}[[route]]\nname = \"b\"\npath = \"/b\"\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\ntenant = \"beta\"\n{allow}")), vec![("E0205", 15)]),
        ("no name", with("[[route]]\nhost = \"a_b.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"), vec![("E0206", 4)]),
        ("names from hosts meet", route(&second("wiki.other.example", "")), vec![("E0206", 4), ("E0206", 8)]),
        ("rules and an own policy", route(&format!("{allow}{rule}")), vec![("E0207", 6)]),
        ("nobody", route(""), vec![("E0208", 3)]),
        ("nobody in a rule", route("[[route.rule]]\nmethods = [\"GET\"]\n"), vec![("E0208", 6)]),
        ("an empty list", route("allow = []\n"), vec![("E0208", 3)]),
        ("public and somebody", route("public = true\nallow = [\"signed-in\"]\n"), vec![("E0209", 6)]),
        ("public and needs", route("[[route.rule]]\npublic = true\nneeds = \"users:read\"\n"), vec![("E0209", 7)]),
        ("public and more", route("[[route.rule]]\npublic = true\nrequire = [\"mfa\"]\n"), vec![("E0209", 7)]),
        ("unqualified group", route("tenant = \"\"\nallow = [\"group:staff\"]\n"), vec![("E0210", 7)]),
        ("unqualified role", route("tenant = \"\"\nallow = [\"signed-in\"]\ndeny = [\"role:user\"]\n"), vec![("E0210", 8)]),
        ("unqualified permission", route("tenant = \"\"\nneeds = \"users:read\"\n"), vec![("E0210", 7)]),
        ("unqualified with two tenants", with(&format!("{two}[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"role:user\"]\n")), vec![("E0210", 10)]),
        ("unknown network", route("allow = [\"signed-in\"]\nrequire = [\"net:offise\"]\n[networks]\noffice = [\"10.0.0.0/8\"]\n"), vec![("E0211", 7)]),
        ("unknown landing", with("[[role]]\nslug = \"a\"\nlanding = \"x\"\n"), vec![("E0212", 5)]),
        ("unknown default landing", with("[sign_in]\ndefault_landing = \"x\"\n"), vec![("E0212", 4)]),
        ("methods of a route", route("allow = [\"signed-in\"]\nrequire = [\"method:GET\"]\n"), vec![("E0213", 7)]),
        ("methods twice", route(&format!("{rule}methods = [\"GET\"]\nrequire = [\"method:GET\"]\n")), vec![("E0213", 9)]),
        ("no methods", route(&format!("{rule}methods = []\n")), vec![("E0213", 6)]),
        ("a place elsewhere", route("allow = [\"signed-in\"]\nat = \"other\"\n"), vec![("E0215", 7)]),
        ("a place without tenant", route("tenant = \"\"\nallow = [\"signed-in\"]\nat = \"default\"\n"), vec![("E0215", 8)]),
        ("a global role of a tenant", with("[[tenant]]\nslug = \"t\"\n[[role]]\nslug = \"a\"\ntenant = \"t\"\nscope = \"global\"\n"), vec![("E0216", 8)]),
        ("a reserved path", route("allow = [\"signed-in\"]\npath = \"/.cardea/x\"\n"), vec![("E0217", 7)]),
        ("our own address", with("[[route]]\nhost = \"a.example.com\"\nto = [\"http://localhost:9600\"]\nallow = [\"signed-in\"]\n"), vec![("E0218", 5)]),
        ("unknown tenant of a route", route("tenant = \"defualt\"\nallow = [\"signed-in\"]\n"), vec![("W0214", 6)]),
        ("unknown tenant", route("allow = [\"tenant:acme\"]\n"), vec![("W0214", 6)]),
        ("unknown organisation", route("allow = [\"org:default/europe\"]\n"), vec![("W0214", 6)]),
        ("unknown department", with("[[tenant]]\nslug = \"a\"\n[[tenant.org]]\nslug = \"o\"\n[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"dept:a/o/d\"]\n"), vec![("W0214", 10)]),
        ("unknown group, and none in the file", route("allow = [\"group:enginering\"]\n"), vec![("W0214", 6)]),
        ("unknown role", route("allow = [\"role:analyts\"]\n[[role]]\nslug = \"analyst\"\n"), vec![("W0214", 6)]),
        ("a role of another tenant", with(&format!("{two}[[role]]\nslug = \"r\"\ntenant = \"beta\"\n[[route]]\nhost = \"a.example.com\"\nto = [\"http://10.0.0.1\"]\ntenant = \"acme\"\nallow = [\"role:r\"]\n")), vec![("W0214", 14)]),
        ("unknown group", route("allow = [\"group:stuff\"]\n[[group]]\nslug = \"staff\"\n"), vec![("W0214", 6)]),
        ("unknown permission", route("needs = \"report:read\"\n[[role]]\nslug = \"analyst\"\npermissions = { reports = [\"read\"] }\n"), vec![("W0214", 6)]),
        ("everything is no grant", route("needs = \"report:read\"\n[[role]]\nslug = \"boss\"\npermissions = [\"*:*\"]\n"), vec![("W0214", 6)]),
        ("covered by path", route(&format!("[[route.rule]]\npath = \"/a/*\"\npublic = true\n[[route.rule]]\npath = \"/a/b\"\n{allow}")), vec![("W0307", 9)]),
        ("covered by method", route(&format!("[[route.rule]]\nmethods = [\"GET\", \"HEAD\"]\npublic = true\n[[route.rule]]\nmethods = [\"HEAD\"]\n{allow}")), vec![("W0307", 9)]),
        ("outside the prefix", route(&format!("path = \"/a\"\n[[route.rule]]\npath = \"/b/*\"\n{allow}")), vec![("W0307", 7)]),
        ("on our own paths", route(&format!("[[route.rule]]\npath = \"/.cardea/x\"\n{allow}")), vec![("W0307", 6)]),
    ]
}

fn cases() -> Cases {
    let mut all = cases_of_files_and_values();
    all.extend(cases_of_names_and_policies());
    all
}

#[test]
fn every_fault_is_found_where_it_is() {
    let mut wrong = String::new();
    for (name, house, expected) in cases() {
        let report = house.report();
        let line = |fault: &Fault| fault.place.as_ref().map_or(0, |place| place.line);
        let found: Vec<_> = report.faults.iter().map(|fault| (fault.code.id(), line(fault))).collect();
        if found != expected {
            let _ = writeln!(wrong, "── {name}: expected {expected:?}, found {found:?}\n{report}");
        }
        for fault in &report.faults {
            if fault.help.as_ref().is_none_or(String::is_empty) || fault.message.is_empty() {
                let _ = writeln!(wrong, "── {name}: {} has no remedy", fault.code.id());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_number_has_a_case() {
    let seen: BTreeSet<&str> =
        cases().iter().flat_map(|(_, _, expected)| expected.iter().map(|(id, _)| *id)).collect();
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn a_report_shows_place_cause_and_remedy() {
    let house = route(
        "needs = \"report:read\"\n[[role]]\nslug = \"analyst\"\npermissions = { reports = [\"read\"] }\n[log]\nlevle = \"info\"\n",
    );
    assert_eq!(
        house.rendered(),
        "\
warning[W0214] unknown permission \"report:read\"
  ┌─ cardea.toml:6:9
 6│ needs = \"report:read\"
  │         ^^^^^^^^^^^^^ no role of the file grants this permission
  = help: did you mean \"reports:read\"? (granted by: analyst)
error[E0105] unknown key `log.levle`
  ┌─ cardea.toml:11:1
11│ levle = \"info\"
  │ ^^^^^
  = help: did you mean `level`?
"
    );
    let shut = route("allow = [\"tenant:acme\"]\ndeny = [\"org:default/europe\"]\n").rendered();
    assert!(shut.contains("^^^^^^^^^^^^^ the file has no such tenant\n"), "{shut}");
    let words =
        "the file has no such organisation; while the records have none either, this keeps everybody out\n";
    assert!(shut.contains(words), "{shut}");
    let report = house.report();
    assert_eq!(report.counts().to_string(), "1 error, 1 warning");
    assert!(report.render(true).contains("\u{1b}[1;31merror[E0105]\u{1b}[0m"));
    let json = report.json();
    assert_eq!(json["faults"][1]["place"]["line"], 11);
    assert_eq!(json["errors"], 1);
}

#[test]
fn two_places_are_shown_with_their_files() {
    let text = format!("include = [\"conf.d/*.toml\"]\n{SERVER}");
    let house = House::new(&text)
        .file("conf.d/a.toml", "[log]\nlevel = \"info\"\n")
        .file("conf.d/b.toml", "[log]\nlevel = \"warn\"\n");
    assert_eq!(
        house.rendered(),
        "\
error[E0104] `log.level` is set twice
  ┌─ conf.d/b.toml:2:1
 2│ level = \"warn\"
  │ ^^^^^ again here
  ┌─ conf.d/a.toml:2:1
 2│ level = \"info\"
  │ ^^^^^ first here
  = help: keep one of the two: no file overrides another
"
    );
    let twice = with("[log]\nlevel = \"info\"\nlevel = \"warn\"\n").report();
    let first = &twice.faults[0].related[0];
    assert_eq!((first.0.line, first.1.as_str()), (4, "first here"));
}

#[test]
fn no_report_shows_a_secret() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";
    for house in [
        with(&format!("[secrets]\nmaster_key = \"{secret}\"\n")),
        with(&format!("[secrets]\nmaster_key = \"{secret}\n")),
        with(&format!("[secrets]\nmaster_key = {secret}\n")),
        with(&format!("[secrets]\nmaster_key = \"\"\"\n{secret}\n\"\"\" x\n")),
        with(&format!("[secrets]\nprevious_master_keys = [{{ file = \"x\" }}, \"{secret}\"]\n")),
        with(&format!("[storage]\nurl = \"postgres://u:{secret}@h/d\"\nlese = 1\n")),
        with(&format!("[storage]\nurl = \"mysql://u:{secret}@h/d\"\n")),
        with(&format!("[storage]\nurl = \"postgres://u:{secret}@h/d\n")),
        with("").variable("CARDEA_SECRETS__MASTER_KEY", secret),
        with("").variable("CARDEA_SESSION__IDLE", secret),
        with("").variable("ADMIN_USER", "root").variable("ADMIN_PASSWORD", &format!("{secret}\0")),
        with("[secrets]\nmaster_key = { file = \"k\" }\n").file("k", secret),
    ] {
        let report = house.report();
        assert!(!report.faults.is_empty());
        for shown in [report.render(true), report.json().to_string(), format!("{report:?}")] {
            assert!(!shown.contains(secret) && !shown.contains("c2VjcmV0"), "{shown}");
        }
    }
    let loaded = with("")
        .variable("CARDEA_SECRETS__MASTER_KEY", KEY)
        .variable("ADMIN_USER", "root")
        .variable("ADMIN_PASSWORD", "a secret");
    let shown = format!("{:?}", loaded.loaded());
    assert!(!shown.contains("a secret") && !shown.contains("31"), "{shown}");
}

#[test]
fn no_report_obeys_the_file() {
    let report = with("\"\\u001b[2J\" = 1\n\t\"x\ty\" = 2 # \u{9b}2J\n").report();
    assert_eq!(report.counts().errors, 2);
    assert!(!report.render(false).chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn the_smallest_has_every_default() {
    let loaded = House::new(include_str!("../../config/smallest.toml")).file("master.key", KEY).loaded();
    assert_eq!(loaded.report, Report::default());
    let Settings {
        server,
        tls,
        storage,
        master_keys,
        log,
        session,
        sign_in,
        mfa,
        networks,
        brand,
        outbound,
        bootstrap,
    } = loaded.settings;
    assert_eq!(server.public_url.origin(), "https://access.example.com");
    assert!(server.public_url.secure());
    assert_eq!(server.public_url.port_or_default(), 443);
    assert_eq!(server.listen, ["127.0.0.1:8600".parse().unwrap()]);
    assert_eq!((server.http_redirect, tls), (None, Tls::Off));
    assert_eq!(server.ops_listen, "127.0.0.1:9600".parse().unwrap());
    assert_eq!(server.control_socket, Path::new("/var/lib/cardea/cardea.sock"));
    assert!(server.trusted_proxies.is_empty());
    assert_eq!((server.shutdown_grace, server.data_threads), (Span::seconds(20), 0));
    assert!(
        matches!(storage.url, StorageUrl::Sqlite(path) if path == Path::new("/var/lib/cardea/cardea.db"))
    );
    assert_eq!(storage.lease, Span::seconds(15));
    assert!(master_keys.previous.is_empty());
    assert_eq!(log, Log { level: "info".to_owned(), format: LogFormat::Json });
    assert_eq!(session, SessionLimits { idle: Span::hours(8), absolute: Span::hours(24), per_user: 10 });
    assert_eq!(sign_in.password, PasswordPolicy { min_length: 12, check_common: true });
    let (delay, limit) = (Span::minutes(1), Span::minutes(30));
    assert_eq!(sign_in.lockout, Lockout { after: 8, delay, limit, federated: 100 });
    assert_eq!(sign_in.default_landing, Landing::Apps);
    assert_eq!(mfa, Mfa { require: MfaRequire::Admins, recovery: true });
    assert!(networks.is_empty() && bootstrap.is_none());
    assert_eq!(brand.name, "Cardea");
    assert!(outbound.is_empty());
    let Objects { tenants, roles, groups, providers, routes } = loaded.objects;
    assert!(providers.is_empty());
    assert_eq!((tenants.len(), tenants[0].slug.as_str(), roles.len(), groups.len()), (1, "default", 0, 0));
    let [route] = routes.as_slice() else { panic!() };
    assert_eq!((route.name.as_str(), route.title.as_str(), route.prefix.as_str()), ("wiki", "wiki", ""));
    assert_eq!(route.tenant.as_ref().map(Slug::as_str), Some("default"));
    assert!(route.source.0.ends_with("cardea.toml:10"), "{}", route.source);
    assert_eq!(route.headers.name, "cardea");
    assert!(route.listed && route.explain_refusals && route.pass_host && route.private_answers);
    assert_eq!((route.case, route.unusual), (HostCase::Unknown, Unusual::default()));
    assert_eq!(route.websocket, None);
    assert_eq!((route.connect_timeout, route.request_timeout), (Span::seconds(3), Span::seconds(60)));
    assert_eq!(route.assertion_life, Span::seconds(60));
    assert_eq!(route.rules.len(), 1);
    assert_eq!(route.rules[0].path, PathPattern::everything());
}

#[test]
fn proxy_25_certificates_are_taken_in_and_watched() {
    let text = "http_redirect = \"127.0.0.1:8080\"\n[tls]\nmode = \"files\"\ncert = \"a.pem\"\nkey = { file = \"a.key\" }\n\
                [[tls.certificate]]\ncert = \"b.pem\"\nkey = { file = \"b.key\" }\n";
    let (pem, key) = minted(&["wiki.example.org"], 2030);
    let house = with(&text.replacen("[tls]", "listen = [\"0.0.0.0:8443\"]\n[tls]", 1));
    let house = house.pair("*.example.com").file("b.pem", &pem).file("b.key", &key).mode("b.key", 0o640);
    let loaded = house.loaded();
    assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
    let Tls::Files(identities) = &loaded.settings.tls else { panic!() };
    let names: Vec<_> = identities.iter().flat_map(|identity| identity.names()).collect();
    assert_eq!(names, ["*.example.com", "wiki.example.org"]);
    assert_eq!(loaded.settings.server.http_redirect, Some("127.0.0.1:8080".parse().unwrap()));
    let before = fingerprint(&loaded.files);
    assert_eq!(before, loaded.fingerprint);
    let (pem, _) = minted(&["wiki.example.org"], 2031);
    let house = house.file("b.pem", &pem);
    assert_ne!(fingerprint(&loaded.files), before);
    drop(house);
}

#[test]
fn proxy_25_a_certificate_that_has_run_out_is_in_nobodys_way() {
    let more = "[[tls.certificate]]\ncert = \"b.pem\"\nkey = { file = \"b.key\" }\n";
    let (old, old_key) = minted(&["*.example.com"], 2026);
    let (good, good_key) = minted(&["*.example.com"], 2030);
    let house = secured("files", more).file("a.pem", &old).file("a.key", &old_key);
    let loaded = house.file("b.pem", &good).file("b.key", &good_key).mode("b.key", 0o600).loaded();
    let Tls::Files(identities) = &loaded.settings.tls else { panic!() };
    let shown: Vec<bool> = identities.iter().map(|identity| identity.in_force(NOW).is_ok()).collect();
    assert_eq!(shown, [true, false]);
}

#[test]
fn proxy_23_upstreams_over_tls_are_told_apart_by_all_that_is_said_about_them() {
    let spoken = |more: &str| {
        let house = route(&format!("allow = [\"signed-in\"]\n{more}")).https().pair("x.internal");
        house.loaded().objects.routes[0].to[0].clone()
    };
    let plain = spoken("");
    assert_eq!(plain.to_string(), "https://10.0.0.1:80");
    assert_eq!(plain, spoken(""));
    let named = spoken("upstream_tls = { server_name = \"x.internal\" }\n");
    assert_ne!(plain, named);
    assert_eq!(named, spoken("upstream_tls = { server_name = \"x.internal\" }\n"));
    let shown = spoken("upstream_tls = { cert = \"a.pem\", key = { file = \"a.key\" } }\n");
    let Transport::Tls(tls) = &shown.transport else { panic!() };
    assert!(tls.identity.is_some() && tls.ca.is_none());
    let vouched = spoken("upstream_tls = { ca = \"a.pem\" }\n");
    assert!(vouched != plain && vouched != shown);
}

/// The names of all keys.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    let inner = schema.get("items").unwrap_or(schema);
    for (name, property) in inner.get("properties").and_then(|all| all.as_object()).into_iter().flatten() {
        found.insert(name.clone());
        keys(property, found);
    }
}

#[test]
fn the_complete_example_has_every_key() {
    let text = include_str!("../../config/complete.toml");
    let house = House::new(text).file("master.key", &format!("{KEY}\n")).file("entra.secret", "s\n");
    let loaded = house.loaded();
    assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
    assert_eq!(loaded.summary(), "1 file, 2 routes, 2 roles, 1 tenant");
    assert_eq!(loaded.objects.providers[0].rules.len(), 2);
    let reports = &loaded.objects.routes[1];
    assert_eq!(reports.rules.len(), 4);
    assert_eq!(reports.at.as_ref().unwrap().to_string(), "acme/europe");
    // Whatever the schema knows stands in the file.
    let mut all = BTreeSet::new();
    keys(&schema(), &mut all);
    let missing: Vec<_> = all.iter().filter(|key| !text.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_postgres_example_loads() {
    let house = House::new(include_str!("../../config/postgres.toml"))
        .file("credentials/database-url", "postgres://cardea:pw@db/cardea\n")
        .file("credentials/master-key", KEY)
        .mode("credentials/master-key", 0o440)
        .credentials();
    let loaded = house.loaded();
    assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
    assert!(
        matches!(loaded.settings.storage.url, StorageUrl::Postgres(url) if url.expose() == "postgres://cardea:pw@db/cardea")
    );
    assert_eq!(loaded.settings.server.control_socket, Path::new("/run/cardea/cardea.sock"));
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn the_starter_loads() {
    for (tenant, storage_url) in [
        (None, "sqlite:cardea.db"),
        (Some(("acme".to_owned(), "Acme \"Inc\"".to_owned())), "postgres://db/x"),
    ] {
        let text = starter(&Answers {
            public_url: "https://access.example.com".to_owned(),
            listen: vec!["127.0.0.1:8600".to_owned()],
            tls: tenant.is_none().then(|| ("a.pem".to_owned(), "a.key".to_owned())),
            storage_url: storage_url.to_owned(),
            master_key_file: Some("master.key".to_owned()),
            brand: Some("Zugang Süd\\".to_owned()),
            route: tenant.is_some().then(|| FirstRoute {
                host: "wiki.example.com".to_owned(),
                to: "http://127.0.0.1:3000".to_owned(),
                allow: Vec::new(),
            }),
            tenant,
        });
        assert!(text.contains("cert = \"a"), "how TLS is spoken stands in it: {text}");
        let house = House::new(&text).file("master.key", &key_file(&[7; 32]));
        let loaded = house.pair("*.example.com").loaded();
        assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
        assert_eq!(loaded.settings.master_keys.current.expose(), &[7; 32]);
        assert_eq!(loaded.settings.brand.name, "Zugang Süd\\");
    }
}

#[test]
fn files_are_put_together_in_the_order_of_their_names() {
    let route = |name: &str| {
        format!(
            "[[route]]\nhost = \"{name}.example.com\"\nto = [\"http://10.0.0.1\"]\nallow = [\"signed-in\"]\n"
        )
    };
    let house =
        House::new(&format!("include = [\"conf.d/*.toml\", \"more.toml\"]\n{SERVER}{}", route("first")))
            .file("conf.d/20.toml", &route("third"))
            .file("conf.d/10.toml", &format!("[log]\nlevel = \"warn\"\n{}", route("second")))
            .file("conf.d/.30.toml", "broken")
            .file("conf.d/notes.txt", "broken")
            .file("more.toml", "[log]\nformat = \"text\"\n");
    let loaded = house.loaded();
    let names: Vec<_> = loaded.objects.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert!(loaded.objects.routes[1].source.0.ends_with("conf.d/10.toml:3"));
    assert_eq!(loaded.settings.log, Log { level: "warn".to_owned(), format: LogFormat::Text });
    let before = loaded.fingerprint;
    assert_eq!(before, fingerprint(&loaded.files));
    fs::write(house.folder.path().join("conf.d/40.toml"), "").unwrap();
    assert_ne!(before, fingerprint(&loaded.files));
    // A refusal says what to watch, also what the last good configuration did not have.
    fs::write(house.folder.path().join("conf.d/40.toml"), "x").unwrap();
    assert!(house.report().files.contains(&house.folder.path().join("conf.d/40.toml")));
}

#[test]
fn the_environment_overrides() {
    let house = with("[log]\nlevel = 5\n")
        .without("CARDEA_SECRETS__MASTER_KEY")
        .file("url", "sqlite:x.db\n")
        .file("password", "correct horse\n")
        .variable("PATH", "/bin")
        .variable("CARDEA_CONFIG", "ignored")
        .variable("CARDEA_URL", "ignored")
        .variable("CARDEA_TEST_POSTGRES", "ignored")
        .variable("CARDEA_KEY_OF_OURS", KEY)
        .variable("CARDEA_LOG__LEVEL", "warn")
        .variable("CARDEA_SERVER__PUBLIC_URL", "http://cardea.localhost:8600/")
        .variable("CARDEA_SERVER__LISTEN", "127.0.0.1:1, [::1]:2")
        .variable("CARDEA_SERVER__TRUSTED_PROXIES", "[\"10.0.0.1\", \"10.1.0.0/16\"]")
        .variable("CARDEA_SIGN_IN__LOCKOUT__AFTER", "3")
        .variable("CARDEA_SIGN_IN__PASSWORD_POLICY__CHECK_COMMON", "false")
        .variable("CARDEA_NETWORKS__HEAD_OFFICE", "203.0.113.0/24")
        .variable("CARDEA_MFA__METHODS", "totp")
        .variable("ADMIN_USER", "Root")
        .variable("ADMIN_EMAIL", "root@example.com");
    let (url, password) = (house.folder.path().join("url"), house.folder.path().join("password"));
    let house = house
        .variable("CARDEA_STORAGE__URL_FILE", url.to_str().unwrap())
        .variable("ADMIN_PASSWORD_FILE", password.to_str().unwrap());
    let text = fs::read_to_string(house.folder.path().join("cardea.toml")).unwrap();
    let house = house
        .file("cardea.toml", &format!("{text}[secrets]\nmaster_key = {{ env = \"CARDEA_KEY_OF_OURS\" }}\n"));
    let loaded = house.loaded();
    assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
    let settings = loaded.settings;
    assert_eq!(settings.log.level, "warn");
    assert_eq!(settings.server.public_url.origin(), "http://cardea.localhost:8600");
    assert_eq!(settings.server.listen.len(), 2);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!(settings.sign_in.lockout.after, 3);
    assert!(!settings.sign_in.password.check_common && !settings.mfa.recovery);
    assert!(settings.networks.contains_key(&Slug::parse("head-office").unwrap()));
    assert!(matches!(settings.storage.url, StorageUrl::Sqlite(path) if path == Path::new("x.db")));
    let bootstrap = settings.bootstrap.unwrap();
    assert_eq!((bootstrap.username.as_str(), bootstrap.password.expose()), ("root", "correct horse"));
    assert_eq!(loaded.overrides.len(), 9);
    assert!(loaded.files.contains(&url) && loaded.files.contains(&password));
}

#[test]
fn where_the_file_is_looked_for() {
    let house = with("[secrets]\nmaster_key = { file = \"k\" }\n").file("k", KEY);
    let path = house.options.file.clone().unwrap();
    let nowhere = house.folder.path().join("nowhere.toml");
    let named = Options {
        environment: vec![("CARDEA_CONFIG".to_owned(), path.display().to_string())],
        ..Options::default()
    };
    assert!(load_from(&named, &[], NOW).is_ok());
    assert!(load_from(&Options::default(), &[nowhere.clone(), path.clone()], NOW).is_ok());
    let report = load_from(&Options::default(), &[nowhere], NOW).unwrap_err();
    assert!(report.to_string().contains("cardea init"), "{report}");
    // What was named is not replaced by what is usual.
    let wrong = Options { file: Some("/nowhere/cardea.toml".into()), ..Options::default() };
    assert!(load_from(&wrong, &[path], NOW).is_err());
}

#[test]
fn relative_paths_are_relative_to_their_file() {
    let house = House::new(&format!(
        "include = [\"conf.d/*.toml\"]\n{SERVER}[storage]\nurl = \"sqlite:data/c.db\"\n"
    ))
    .file("conf.d/keys.toml", "[secrets]\nmaster_key = { file = \"master.key\" }\n")
    .file("conf.d/master.key", KEY);
    let data = house.folder.path().join("data");
    let house = house.without("CARDEA_SECRETS__MASTER_KEY");
    let settings = house.loaded().settings;
    assert!(matches!(settings.storage.url, StorageUrl::Sqlite(path) if path == data.join("c.db")));
    assert_eq!(settings.server.control_socket, data.join("c.sock"));
}

/// Whoever has to stop somebody needs the socket of the running server, whatever else is wrong with the file by now.
#[test]
fn the_server_is_found_by_what_is_left_of_a_file() {
    let found = |text: &str| {
        let house = House::new(text).without("CARDEA_SECRETS__MASTER_KEY");
        let report = house.load().unwrap_err();
        let found = whereabouts(&house.options, &report);
        found.map(|it| {
            (
                it.control_socket.strip_prefix(house.folder.path()).unwrap_or(&it.control_socket).to_owned(),
                it.storage.is_some(),
            )
        })
    };
    let storage = "[storage]\nurl = \"sqlite:data/x.db\"\n";
    let socket = "[server]\ncontrol_socket = \"run/a.sock\"\n";
    for (wrong, text, expected) in [
        ("a key that nobody knows", format!("foo = 1\n{SERVER}{storage}"), Some(("data/x.sock", true))),
        ("no TOML", format!("{SERVER}{storage}foo =\n"), Some(("data/x.sock", true))),
        ("no server", storage.to_owned(), Some(("data/x.sock", true))),
        ("no more than the socket", socket.to_owned(), Some(("run/a.sock", true))),
        (
            "a secret that is somewhere else",
            format!("{socket}[storage]\nurl = {{ file = \"gone\" }}\n"),
            Some(("run/a.sock", false)),
        ),
        ("nothing said, and nothing hidden", SERVER.to_owned(), Some(("/var/lib/cardea/cardea.sock", true))),
        // The usual place may be another server's.
        ("a section that nobody knows", format!("{SERVER}[storag]\nurl = \"sqlite:x.db\"\n"), None),
        ("a head without its end", format!("{SERVER}[storage\nurl = \"sqlite:x.db\"\n"), None),
        ("a storage that is none", format!("{SERVER}[storage]\nurl = 5\n"), None),
        ("a secret that cannot be read", format!("{SERVER}[storage]\nurl = {{ file = \"gone\" }}\n"), None),
        ("a socket that is none", format!("{storage}[server]\ncontrol_socket = 5\n"), None),
    ] {
        let expected = expected.map(|(path, storage)| (Path::new(path).to_owned(), storage));
        assert_eq!(found(&text), expected, "{wrong}");
    }
}

#[test]
fn routes_say_what_they_say() {
    let text = "\
path = \"/wiki/\"
tenant = \"\"
headers = { X-User = \"username\", x-token = \"assertion\" }
set_headers = { X-Site = \"main\" }
remove_headers = [\"Accept-Encoding\"]
set_answer_headers = { X-Frame-Options = \"DENY\" }
remove_answer_headers = [\"Server\"]
unusual_paths = [\"semicolon\", \"encoded-slash\"]
case = \"insensitive\"
timeout = { connect = \"1s\", websocket = \"5m\" }
websocket = true
origins = [\"HTTPS://Chat.example.com:443/\", \"http://localhost:3000\"]
require = [\"mfa<15m\"]
[[route.rule]]
path = \"/wiki/*\"
require = [\"method:GET,HEAD\", \"net:office\"]
allow = [\"group:acme/staff\", \"role:analyst@acme\"]
[[route.rule]]
needs = \"users:read@acme\"
[networks]
office = [\"10.0.0.1\"]
[[tenant]]
slug = \"acme\"
[[group]]
slug = \"staff\"
[[role]]
slug = \"analyst\"
permissions = { reports = [\"*\"], \"*\" = [\"*\"] }
";
    let loaded = route(text).loaded();
    assert_eq!(loaded.report, Report::default(), "{}", loaded.report);
    let [route] = loaded.objects.routes.as_slice() else { panic!() };
    assert_eq!((route.prefix.as_str(), route.tenant.as_ref()), ("/wiki", None));
    assert_eq!(route.headers.name, "custom");
    assert_eq!(
        route.headers.headers,
        [("x-user".to_owned(), Fact::Username), ("x-token".to_owned(), Fact::Assertion)]
    );
    let edits = |set: (&str, &str), remove: &str| {
        Edits::new(vec![(set.0.to_owned(), set.1.to_owned())], &[remove.to_owned()])
    };
    assert_eq!(route.request_headers, edits(("X-Site", "main"), "Accept-Encoding"));
    assert_eq!(route.answer_headers, edits(("X-Frame-Options", "DENY"), "Server"));
    assert_eq!(route.unusual, Unusual::SEMICOLON.and(Unusual::ENCODED_SLASH));
    assert_eq!(route.case, HostCase::Insensitive);
    assert_eq!((route.connect_timeout, route.request_timeout), (Span::seconds(1), Span::seconds(60)));
    let origins = vec!["https://chat.example.com".to_owned(), "http://localhost:3000".to_owned()];
    assert_eq!(route.websocket, Some(WebSocket { origins, idle: Span::minutes(5) }));
    assert_eq!(route.require, [How::Mfa(Some(Span::minutes(15)))]);
    let [first, second] = route.rules.as_slice() else { panic!() };
    assert_eq!(first.methods, ["GET", "HEAD"]);
    assert_eq!(first.require, [How::Net(Slug::parse("office").unwrap())]);
    assert!(matches!(&first.access, Access::Members { allow, needs: None } if allow.len() == 2));
    assert!(matches!(&second.access, Access::Members { allow, needs: Some(_) } if allow.is_empty()));
    assert!(second.source.0.ends_with("cardea.toml:23"), "{}", second.source);
    let permissions: Vec<_> = loaded.objects.roles[0].permissions.iter().map(ToString::to_string).collect();
    assert_eq!(permissions, ["reports:*", "*:*"]);
}

#[test]
fn defaults_are_told_and_true() {
    // What the schema says a key is without being written is what writing it gives.
    fn write(out: &mut String, path: &str, schema: &serde_json::Value) {
        let mut inner = Vec::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property.get("properties").is_some() {
                inner.push((name, property));
            } else if let Some(default) = property.get("default") {
                let _ = writeln!(out, "{name} = {default}");
            }
        }
        for (name, property) in inner {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if path == "server" || path == "tls" {
                continue;
            }
            let _ = writeln!(out, "[{path}]");
            write(out, &path, property);
        }
    }
    let mut text = String::new();
    write(&mut text, "", &schema());
    let list = |line: &str| ["tenant", "role", "group", "route"].iter().any(|list| line.starts_with(list));
    let text = text.lines().filter(|line| !list(line)).collect::<Vec<_>>().join("\n") + "\n";
    let told = House::new(&format!("{text}{SERVER}")).variable("CARDEA_SECRETS__MASTER_KEY", KEY).loaded();
    let plain = with("").loaded();
    assert_eq!(format!("{:?}", told.settings), format!("{:?}", plain.settings));
}

/// Pieces that look like a configuration.
fn fragment() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("server"),
        Just("route"),
        Just("route.rule"),
        Just("tenant"),
        Just("tenant.org"),
        Just("role"),
        Just("networks"),
        Just("secrets"),
        Just("public_url"),
        Just("listen"),
        Just("host"),
        Just("to"),
        Just("allow"),
        Just("needs"),
        Just("path"),
        Just("methods"),
        Just("headers"),
        Just("permissions"),
        Just("slug"),
        Just("include"),
        Just("master_key"),
        Just("timeout"),
        Just("at"),
        Just("require"),
        Just("storage"),
        Just("url"),
        Just("mfa"),
        Just("file"),
    ];
    let value = prop_oneof![
        "\"[ -~äß漢]{0,12}\"",
        "'[a-z:/@*<]{0,10}'",
        "-?[0-9]{1,20}",
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        "\\[\"[a-z:/.0-9]{0,20}\", [0-9]\\]",
        "\\{ file = \"[a-z/]{0,5}\" \\}",
        Just("1979-05-27".to_owned()),
        Just("1.5".to_owned()),
        Just("\"https://a.localhost\"".to_owned()),
        Just("\"http://10.0.0.1:80\"".to_owned()),
        Just("[\"signed-in\"]".to_owned()),
        Just("\"*\"".to_owned()),
        Just("\"\"\"\n".to_owned()),
        Just("[\"*\"]".to_owned()),
        Just("\"/a%\"".to_owned()),
    ];
    prop_oneof![
        (word.clone(), value.clone()).prop_map(|(word, value)| format!("{word} = {value}\n")),
        word.clone().prop_map(|word| format!("[{word}]\n")),
        word.clone().prop_map(|word| format!("[[{word}]]\n")),
        (word.clone(), word, value).prop_map(|(a, b, value)| format!("{a}.{b} = {value}\n")),
        "\\PC{0,20}\n",
        Just("\r\n\t# ä\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(parts in proptest::collection::vec(fragment(), 0..14), variable in ".{0,30}") {
        let text: String = parts.concat();
        let house = House::new(&text).variable("CARDEA_SERVER__LISTEN", &variable).variable("CARDEA_SECRETS__MASTER_KEY", &variable);
        let report = house.report();
        let _ = (report.render(true), report.json());
        let again = with(&text).report();
        prop_assert!(again.faults.iter().all(|fault| fault.place.as_ref().is_none_or(|place| place.column <= place.text.chars().count() + 1)));
    }
}
