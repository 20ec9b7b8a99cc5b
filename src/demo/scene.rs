//! What the demo shows: a configuration in the ordinary format, and the people in it.

/// The configuration, as a file that `cardea serve` would take as well.
#[must_use]
pub(super) fn configuration(port: u16, lantern: u16, dead: u16, folder: &std::path::Path) -> String {
    let folder = folder.display();
    format!(
        r#"# The demo: two companies, three roles, a few apps. All apps are Lantern, an upstream that shows what it received.
config_version = 1

[server]
public_url     = "http://access.cardea.localhost:{port}"
listen         = ["127.0.0.1:{port}"]
ops_listen     = "127.0.0.1:0"
control_socket = "{folder}/cardea.sock"
shutdown_grace = "2s"

[storage]
url = "sqlite:{folder}/cardea.db"

[secrets]
master_key = {{ file = "{folder}/master.key" }}

[log]
level  = "warn"
format = "text"

[mfa]
require = "optional"

[brand]
name = "Cardea demo"

[networks]
loopback = ["127.0.0.0/8", "::1/128"]

[[tenant]]
slug    = "acme"
name    = "Acme Industries"
domains = ["acme.example"]

  [[tenant.org]]
  slug        = "europe"
  name        = "Acme Europe"
  departments = [{{ slug = "finance", name = "Finance" }}, {{ slug = "it", name = "IT" }}]

[[tenant]]
slug    = "globex"
name    = "Globex"
domains = ["globex.example"]

[[role]]
slug        = "analyst"
name        = "Reports analyst"
description = "Reads and exports the reports of a department."
scope       = "tenant"
permissions = {{ reports = ["read", "export"], wiki = ["read"] }}

[[role]]
slug        = "reports-owner"
name        = "Owner of the reports"
description = "Everything in the reports, also their administration."
scope       = "tenant"
permissions = {{ reports = ["*"], wiki = ["read"] }}

[[role]]
slug        = "partner"
name        = "Partner"
description = "Reads what is meant for partners."
scope       = "tenant"
permissions = {{ partner-wiki = ["read"] }}

[[group]]
tenant = "acme"
slug   = "staff"

[[route]]
name   = "welcome"
title  = "Welcome"
about  = "Open to everybody, also without signing in"
host   = "welcome.cardea.localhost"
to     = ["http://127.0.0.1:{lantern}"]
tenant = "acme"
public = true

[[route]]
name   = "lantern"
title  = "Lantern"
about  = "Shows what an app receives about you"
host   = "lantern.cardea.localhost"
to     = ["http://127.0.0.1:{lantern}"]
tenant = "acme"
help   = "Ask Ada, who looks after this demo, to let you in."
allow  = ["group:staff"]

[[route]]
name   = "reports"
title  = "Reports"
about  = "Asks for a permission and a second factor"
host   = "reports.cardea.localhost"
to     = ["http://127.0.0.1:{lantern}"]
tenant = "acme"
help   = "Ask the finance service desk for access to Reports."

  [[route.rule]]
  path    = "/admin/*"
  needs   = "reports:admin"
  require = ["mfa<15m", "net:loopback"]

  [[route.rule]]
  methods = ["GET", "HEAD"]
  needs   = "reports:read"
  require = ["mfa"]

  [[route.rule]]
  needs   = "reports:write"
  require = ["mfa"]

[[route]]
name   = "partners"
title  = "Lantern for partners"
about  = "Lives on another site, as apps of a partner do"
host   = "lantern.partner.localhost"
to     = ["http://127.0.0.1:{lantern}"]
tenant = "globex"
allow  = ["tenant:globex"]

[[route]]
name   = "crm"
title  = "Customer files"
about  = "An app that is down"
host   = "crm.cardea.localhost"
to     = ["http://127.0.0.1:{dead}"]
tenant = "acme"
allow  = ["group:staff"]
"#
    )
}

/// The demo provider's issuer: behind the gateway, on another site.
#[must_use]
pub(super) fn issuer(port: u16) -> String {
    format!("http://oidc.idp.localhost:{port}")
}

/// What the configuration says of the identity provider.
#[must_use]
pub(super) fn provider(port: u16, at: u16) -> String {
    let issuer = issuer(port);
    let client = super::provider::CLIENT;
    format!(
        r#"
# A provider of the demo's own, where people choose who they are. Real ones are never on plain HTTP.
[outbound]
allow = ["oidc.idp.localhost:{port}"]

[[route]]
name   = "demo-provider"
title  = "Demo provider"
host   = "oidc.idp.localhost"
to     = ["http://127.0.0.1:{at}"]
tenant = "acme"
public = true
listed = false

[[idp]]
name           = "demo"
label          = "Demo OIDC"
default_tenant = "acme"
issuer         = "{issuer}"
client_id      = "{client}"
client_auth    = "none"
scopes         = ["openid", "email", "profile", "offline_access"]
provision      = "update"
trust_mfa      = ["mfa"]
follow_session = true
follow_every   = "30s"

  [[idp.rule]]
  claim  = "groups"
  has    = "report-owners"
  roles  = ["reports-owner"]
  groups = ["staff"]

  [[idp.rule]]
  claim  = "groups"
  has    = "fin-analysts"
  roles  = ["analyst"]
  groups = ["staff"]

  [[idp.rule]]
  claim  = "groups"
  has    = "circle-117"
  groups = ["staff"]
"#
    )
}

/// Somebody in the demo.
pub struct Persona {
    /// Sign-in name.
    pub username: &'static str,
    /// How they are called.
    pub name: &'static str,
    /// Their address.
    pub email: &'static str,
    /// Whether the account may administer.
    pub admin: bool,
    /// The companies they belong to, each with the place in it.
    pub member_of: &'static [&'static str],
    /// Groups, as tenant and name.
    pub groups: &'static [(&'static str, &'static str)],
    /// Roles, each with the place.
    pub roles: &'static [(&'static str, &'static str)],
    /// What the page of the terminal says about them.
    pub about: &'static str,
    /// Whether an authenticator is set up.
    pub authenticator: bool,
}

/// The password of everybody in the demo.
pub const PASSWORD: &str = "maple-ferry-31";

/// Everybody in the demo.
pub const PERSONAS: [Persona; 4] = [
    Persona {
        username: "ada",
        name: "Ada Lovelace",
        email: "ada@acme.example",
        admin: true,
        member_of: &["acme/europe/it", "globex"],
        groups: &[("acme", "staff")],
        roles: &[("super-admin", ""), ("reports-owner", "acme")],
        about: "administrator, with an authenticator",
        authenticator: true,
    },
    Persona {
        username: "grace",
        name: "Grace Hopper",
        email: "grace@acme.example",
        admin: false,
        member_of: &["acme/europe/finance"],
        groups: &[("acme", "staff")],
        roles: &[("analyst", "acme")],
        about: "finance analyst; Reports will have her set up an authenticator",
        authenticator: false,
    },
    Persona {
        username: "linus",
        name: "Linus Contractor",
        email: "linus@contractor.example",
        admin: false,
        member_of: &["acme"],
        groups: &[],
        roles: &[],
        about: "contractor without access; see how he is turned away",
        authenticator: false,
    },
    Persona {
        username: "yana",
        name: "Яна Новак",
        email: "yana@globex.example",
        admin: false,
        member_of: &["globex"],
        groups: &[],
        roles: &[("partner", "globex")],
        about: "works at Globex, a partner",
        authenticator: false,
    },
];
