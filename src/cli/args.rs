//! The words of the command line. Comments on words are what `--help` says.

#![expect(clippy::doc_markdown, reason = "a terminal shows these comments as they stand")]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args as Parts, Parser, Subcommand, ValueEnum};

use crate::domain::Span;

use super::output::Style;

/// Cardea: an SSO-enabled identity provider gateway.
#[derive(Parser)]
#[command(
    name = "cardea",
    version,
    about = "An SSO-enabled identity provider gateway",
    long_about = "An SSO-enabled identity provider gateway: sign-in, tenant-scoped roles, and a reverse proxy that \
                  enforces them.\n\nA command is asked of the running server over its socket. Where none runs, it is \
                  carried out on the database directly.",
    after_help = "Examples:\n  \
        cardea init                                     write a first configuration\n  \
        cardea check                                    what is wrong with it, and what to do\n  \
        cardea serve                                    run it\n  \
        cardea admin invite                             a link for the first administrator\n  \
        cardea user create grace --join acme            add somebody; prints a one-time link\n  \
        cardea explain grace https://wiki.example.com/  why she may, or may not\n\n\
        Exit codes: 0 done or yes, 1 refused or no, 2 not understood, 3 no such thing, 4 unreachable."
)]
pub(super) struct Args {
    /// The configuration file [default: $CARDEA_CONFIG, ./cardea.toml, /etc/cardea/cardea.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How answers are written
    #[arg(long, global = true, value_enum, default_value_t = Style::Table, value_name = "STYLE")]
    pub(super) output: Style,
    /// Do not ask whether to go on
    #[arg(long, short, global = true)]
    pub(super) yes: bool,
    /// Write one-time links and codes also where no terminal is
    #[arg(long, global = true)]
    pub(super) show_link: bool,
    #[command(subcommand)]
    pub(super) command: Top,
}

#[derive(Subcommand)]
pub(super) enum Top {
    /// The first administrator, and people who are locked out
    #[command(subcommand)]
    Admin(Administrator),
    /// What was done
    #[command(subcommand)]
    Audit(Audit),
    /// Everything that somebody reaches
    Can(Can),
    /// Certificates: for development, and which ones are shown
    #[command(subcommand)]
    Cert(Certificates),
    /// Look for faults in the configuration
    Check(Check),
    /// The database
    #[command(subcommand)]
    Db(Database),
    /// Run everything for a look: throw-away data, loopback only
    Demo(Demo),
    /// Departments of organisations
    #[command(subcommand)]
    Dept(Department),
    /// Why somebody may, or may not, open an address
    #[command(after_help = "Examples:\n  cardea explain grace https://reports.example.com/admin\n  \
                            cardea explain grace reports.example.com/admin --mfa --ip 203.0.113.7\n  \
                            cardea explain D-7K3M-Q2XR")]
    Explain(Explain),
    /// Groups of tenants
    #[command(subcommand)]
    Group(Group),
    /// Identity providers
    #[command(subcommand)]
    Idp(Idp),
    /// Write a first configuration and a master key
    #[command(after_help = "Asks a few questions at a terminal. Elsewhere, flags answer them:\n  \
                            cardea init --public-url https://access.example.com --storage sqlite:cardea.db")]
    Init(Init),
    /// Organisations of tenants
    #[command(subcommand)]
    Org(Organisation),
    /// Have the running server read its configuration again
    Reload,
    /// Roles: what they allow and who holds them
    #[command(subcommand)]
    Role(Role),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Run the gateway
    Serve,
    /// Who is signed in
    #[command(subcommand)]
    Session(Session),
    /// How the server does
    Status,
    /// Tenants
    #[command(subcommand)]
    Tenant(Tenant),
    /// People
    #[command(subcommand)]
    User(User),
    /// Print the version
    Version,
    /// Who may open an address, or holds a permission
    #[command(after_help = "Examples:\n  cardea who-can https://reports.example.com/admin --mfa\n  \
                            cardea who-can reports:read --at acme/europe")]
    WhoCan(WhoCan),
}

#[derive(Subcommand)]
pub(super) enum Certificates {
    /// Make an authority and a certificate for development
    #[command(after_help = "The hosts are those of the configuration, unless some are named:\n  \
                            cardea cert dev --host access.cardea.localhost --host '*.cardea.localhost'")]
    Dev(DevelopmentCertificate),
    /// The certificates that the configuration names, and how long they last
    List,
}

#[derive(Parts)]
pub(super) struct DevelopmentCertificate {
    /// Where the files are
    #[arg(long, default_value = "certs", value_name = "FOLDER")]
    pub(super) dir: PathBuf,
    /// A host that the certificate is for; may be given several times
    #[arg(long, value_name = "HOST")]
    pub(super) host: Vec<String>,
    /// Make a new authority in place of the one that is there
    #[arg(long)]
    pub(super) new_ca: bool,
}

#[derive(Parts)]
pub(super) struct Check {
    /// Warnings count too: exit code 1
    #[arg(long)]
    pub(super) strict: bool,
    /// How the report is written
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For programs
    Json,
    /// For people
    Text,
}

#[derive(Parts)]
pub(super) struct Demo {
    /// Where to listen; loopback only
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// Keep the data in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) keep: Option<PathBuf>,
}

#[derive(Parts)]
pub(super) struct Init {
    /// Where people sign in, e.g. `https://access.example.com`
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Where records are kept: sqlite:FILE or postgres://…
    #[arg(long, value_name = "URL")]
    pub(super) storage: Option<String>,
    /// A file with the certificate that browsers are shown; without it a proxy in front ends TLS
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<String>,
    /// A file with its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<String>,
    /// The first tenant: its name in rules, or SLUG=NAME
    #[arg(long, value_name = "SLUG[=NAME]")]
    pub(super) tenant: Option<String>,
    /// The host of the first app, e.g. wiki.example.com
    #[arg(long, value_name = "HOST", requires = "route_to")]
    pub(super) route_host: Option<String>,
    /// Where the first app runs, e.g. http://127.0.0.1:3000
    #[arg(long, value_name = "URL", requires = "route_host")]
    pub(super) route_to: Option<String>,
    /// Who may use it; every member when not said
    #[arg(long, value_name = "WHO")]
    pub(super) allow: Vec<String>,
    /// What the sign-in page is called
    #[arg(long, value_name = "NAME")]
    pub(super) brand: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Vec<String>,
    /// The file to write, if it is not the one of --config [default: cardea.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

/// Under which circumstances a decision is asked for
#[derive(Parts)]
pub(super) struct Given {
    /// The method of the request [default: GET]
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// As if a second factor were given now
    #[arg(long)]
    pub(super) mfa: bool,
    /// As if the request came from there
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<IpAddr>,
    /// The first factor: pwd, oidc:NAME or saml:NAME [default: pwd]
    #[arg(long, value_name = "FACTOR")]
    pub(super) via: Option<String>,
}

#[derive(Parts)]
pub(super) struct Explain {
    /// Who; or the reference of a decision, D-XXXX-XXXX
    #[arg(value_name = "USER|DECISION", required_unless_present = "request")]
    pub(super) user: Option<String>,
    /// A request that was made lately, by its id from the access log, an error page or `Cardea-Request-Id`
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "url"])]
    pub(super) request: Option<String>,
    /// The address
    #[arg(value_name = "URL")]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) given: Given,
}

#[derive(Parts)]
pub(super) struct Can {
    /// Who
    pub(super) user: String,
    #[command(flatten)]
    pub(super) given: Given,
}

#[derive(Parts)]
pub(super) struct WhoCan {
    /// An address, or a permission like reports:read
    #[arg(value_name = "URL|PERMISSION")]
    pub(super) what: String,
    /// Where the permission must hold
    #[arg(long, value_name = "PLACE")]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) given: Given,
}

#[derive(Subcommand)]
pub(super) enum Administrator {
    /// Issue a one-time link with which the first administrator is made
    Invite {
        /// How long it lives, at most 30m
        #[arg(long, value_name = "SPAN")]
        valid: Option<Span>,
    },
    /// Let a person or an address try again that has tried too often
    Unlock {
        /// A person, or an IP address
        #[arg(value_name = "USER|ADDRESS")]
        who: String,
    },
}

#[derive(Subcommand)]
pub(super) enum Audit {
    /// The record behind a reference that somebody quotes
    Show {
        /// D-XXXX-XXXX
        reference: String,
    },
    /// The latest records, oldest first
    #[command(
        after_help = "Examples:\n  cardea audit tail --follow\n  cardea audit tail --action user. --actor ada -n 50"
    )]
    Tail {
        /// Go on until interrupted
        #[arg(long, short, conflicts_with_all = ["tenant", "action", "actor", "target", "outcome"])]
        follow: bool,
        /// How many
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
        lines: i64,
        /// Of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// What begins so, e.g. user. or signin
        #[arg(long)]
        action: Option<String>,
        /// By this person, or this name on the host
        #[arg(long)]
        actor: Option<String>,
        /// Done to this person, or this id
        #[arg(long)]
        target: Option<String>,
        /// Ended so: done, refused or failed
        #[arg(long)]
        outcome: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum Database {
    /// Copy the records into a new file, while everything runs (SQLite)
    Backup {
        /// The file; it must not exist
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Look whether the records are whole and every seal opens
    Check,
    /// Bring the tables up to date, without running anything
    Migrate,
    /// Seal everything under the current master key
    #[command(
        after_help = "After a change of the master key: put the old one under secrets.previous_master_keys, start, \
                            run this, then take the old one out."
    )]
    Reseal,
    /// Sign assertions with a new key from now on
    RotateKeys,
}

#[derive(Subcommand)]
pub(super) enum Tenant {
    /// Let a suspended tenant go on
    Activate { tenant: String },
    /// Make a tenant
    Create {
        /// Its name in rules
        slug: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
        /// A word of yours
        #[arg(long)]
        plan: Option<String>,
        /// Members must use a second factor
        #[arg(long)]
        require_mfa: bool,
        /// A domain it has verified; addresses in it sign in
        #[arg(long = "domain", value_name = "DOMAIN")]
        domains: Vec<String>,
        /// Who owns it
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
    },
    /// Take a tenant out of force for good
    Delete {
        tenant: String,
        /// Also while people belong to it
        #[arg(long)]
        force: bool,
    },
    /// Change a tenant
    Edit {
        tenant: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
        /// A word of yours
        #[arg(long)]
        plan: Option<String>,
        /// Whether members must use a second factor
        #[arg(long, value_name = "true|false")]
        require_mfa: Option<bool>,
        /// The domains it has verified, all of them
        #[arg(long = "domain", value_name = "DOMAIN", conflicts_with = "no_domains")]
        domains: Vec<String>,
        /// It has verified none
        #[arg(long)]
        no_domains: bool,
    },
    /// List tenants
    List,
    /// Show a tenant
    Show { tenant: String },
    /// Stop a tenant: none of its apps opens
    Suspend {
        tenant: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Ends by itself after this, e.g. 7d
        #[arg(long = "for", value_name = "SPAN")]
        lasts: Option<Span>,
    },
    /// Pass a tenant to another owner
    Transfer {
        tenant: String,
        /// An active administrator who belongs to it
        #[arg(long, value_name = "USER")]
        to: String,
    },
}

#[derive(Subcommand)]
pub(super) enum Organisation {
    /// Make an organisation
    Create {
        tenant: String,
        /// Its name in rules
        slug: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// Take an organisation out of force, with its departments
    Delete {
        #[arg(value_name = "TENANT/ORG")]
        place: String,
        /// Also while people belong to it
        #[arg(long)]
        force: bool,
    },
    /// Rename an organisation for people
    Edit {
        #[arg(value_name = "TENANT/ORG")]
        place: String,
        #[arg(long)]
        name: String,
    },
    /// List organisations
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum Department {
    /// Make a department
    Create {
        #[arg(value_name = "TENANT/ORG")]
        org: String,
        /// Its name in rules
        slug: String,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// Take a department out of force
    Delete {
        #[arg(value_name = "TENANT/ORG/DEPT")]
        place: String,
        /// Also while people belong to it
        #[arg(long)]
        force: bool,
    },
    /// Rename a department for people
    Edit {
        #[arg(value_name = "TENANT/ORG/DEPT")]
        place: String,
        #[arg(long)]
        name: String,
    },
    /// List departments
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum Group {
    /// Make a group
    Create { tenant: String, slug: String },
    /// Delete a group
    Delete { group: String },
    /// Put somebody into a group
    Join { group: String, user: String },
    /// Take somebody out of a group
    Leave { group: String, user: String },
    /// List groups
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Who is in a group
    Show { group: String },
}

#[derive(Subcommand)]
pub(super) enum Idp {
    /// Switch a provider off: nobody signs in with it, also who has begun to
    Disable {
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Ends by itself after this, e.g. 2h
        #[arg(long = "for", value_name = "SPAN")]
        lasts: Option<Span>,
    },
    /// Switch a provider on again
    Enable { name: String },
    /// List providers
    List,
    /// What a provider is set to
    Show { name: String },
    /// Look at everything that a provider says, and try a sign-in of which nothing stays
    Test {
        name: String,
        /// Look only at what can be seen without a person
        #[arg(long)]
        no_sign_in: bool,
    },
}

#[derive(Parts)]
pub(super) struct RoleParts {
    /// Its name for people
    #[arg(long)]
    pub(super) name: Option<String>,
    /// What it is for
    #[arg(long)]
    pub(super) description: Option<String>,
    /// The widest place where it may be given: global, tenant, organization, department or self
    #[arg(long)]
    pub(super) scope: Option<String>,
    /// What it allows, all of it: reports:read, reports:*; may be said several times
    #[arg(long = "permission", short = 'p', value_name = "RESOURCE:ACTION")]
    pub(super) permissions: Vec<String>,
    /// Whether it stands alone: giving it clears every other role of the person in the tenant
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(super) exclusive: Option<bool>,
    /// Whether every new member gets it
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(super) auto_assigned: Option<bool>,
    /// Whether holders must use a second factor
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(super) require_mfa: Option<bool>,
    /// The route to land on after sign-in; empty for none
    #[arg(long, value_name = "ROUTE")]
    pub(super) landing: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum Role {
    /// Make a role
    #[command(
        after_help = "Example:\n  cardea role create analyst --tenant acme --scope department -p reports:read -p reports:export"
    )]
    Create {
        /// Its name in rules
        slug: String,
        /// The tenant it belongs to; without, every tenant may give it
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        parts: RoleParts,
    },
    /// Delete a role
    Delete {
        role: String,
        /// Also while somebody holds it
        #[arg(long)]
        force: bool,
    },
    /// How two roles differ
    Diff { first: String, second: String },
    /// Change a role
    Edit {
        role: String,
        #[command(flatten)]
        parts: RoleParts,
        /// Allow this besides
        #[arg(long, value_name = "RESOURCE:ACTION")]
        add: Vec<String>,
        /// Allow this no more
        #[arg(long, value_name = "RESOURCE:ACTION")]
        remove: Vec<String>,
    },
    /// Give somebody a role, or a single permission
    #[command(after_help = "Examples:\n  cardea role grant analyst grace --at acme/europe/finance\n  \
                            cardea role grant reports:read grace --at acme")]
    Grant {
        #[arg(value_name = "ROLE|PERMISSION")]
        what: String,
        user: String,
        /// Where it holds; the person's tenant when not said
        #[arg(long, value_name = "PLACE")]
        at: Option<String>,
    },
    /// List roles
    List {
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take a role back, or a single permission
    Revoke {
        #[arg(value_name = "ROLE|PERMISSION")]
        what: String,
        user: String,
        /// Where it holds; the person's tenant when not said
        #[arg(long, value_name = "PLACE")]
        at: Option<String>,
    },
    /// Show a role and who holds it
    Show { role: String },
}

#[derive(Subcommand)]
pub(super) enum Session {
    /// List live sessions
    List {
        /// Of somebody
        #[arg(long)]
        user: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// End a session
    Revoke { session: String },
    /// End every session of somebody
    RevokeAll { user: String },
    /// Show a session
    Show { session: String },
}

#[derive(Parts)]
pub(super) struct UserParts {
    /// How they are called
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Where to write to; signs in if their tenant has verified the domain
    #[arg(long)]
    pub(super) email: Option<String>,
    /// What kind of account it is: admin or user
    #[arg(long)]
    pub(super) kind: Option<String>,
    /// Where they belong: acme, acme/europe, acme/europe/finance
    #[arg(long, value_name = "PLACE")]
    pub(super) join: Vec<String>,
}

#[derive(Subcommand)]
pub(super) enum User {
    /// Let somebody in again
    Activate { user: String },
    /// Add somebody; prints a one-time link with which they set a password
    #[command(
        after_help = "Examples:\n  cardea user create grace --name \"Grace Hopper\" --email grace@acme.example --join acme/europe\n  \
                            cardea user create ada --kind admin --join acme --valid 7d\n  \
                            cardea user create robot --join acme --role reader --password-stdin < file"
    )]
    Create {
        username: String,
        #[command(flatten)]
        parts: UserParts,
        /// What they hold: analyst, analyst@acme/europe; the usual when not said
        #[arg(long = "role", value_name = "ROLE[@PLACE]")]
        roles: Vec<String>,
        /// In which groups they are
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Type a first password now, which they must change, instead of printing a link
        #[arg(long, conflicts_with = "valid")]
        password: bool,
        /// Read that password from the input
        #[arg(long, conflicts_with = "valid")]
        password_stdin: bool,
        /// How long the link lives, at most 7d [default: 30m]
        #[arg(long, value_name = "SPAN")]
        valid: Option<Span>,
    },
    /// Switch somebody off; everything they have stays
    Deactivate { user: String },
    /// Delete somebody for good
    Delete { user: String },
    /// Change somebody
    Edit {
        user: String,
        #[command(flatten)]
        parts: UserParts,
        /// Take them out of a tenant, with everything given there
        #[arg(long, value_name = "TENANT")]
        leave: Vec<String>,
    },
    /// Everything that is known of somebody, as JSON
    Export { user: String },
    /// Take people over from a file with one JSON object a line
    #[command(
        after_help = "A line:\n  {\"username\": \"grace\", \"name\": \"Grace Hopper\", \"email\": \"grace@acme.example\",\n   \
                            \"password_hash\": \"$2b$12$…\", \"places\": [\"acme/europe\"], \"roles\": [\"analyst\"], \"groups\": [\"staff\"]}\n\n\
                            Hashes of bcrypt and argon2 are taken as they are. Lines that cannot be taken are listed; the others are taken."
    )]
    Import {
        /// The file; - for the input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a one-time link with which somebody sets a password
    Link {
        user: String,
        /// How long it lives: at most 30m, or 7d for whoever never had a password [default: 30m]
        #[arg(long, value_name = "SPAN")]
        valid: Option<Span>,
    },
    /// List people
    List {
        /// active, inactive, suspended, invited or deleted
        #[arg(long)]
        status: Option<String>,
        #[arg(long)]
        tenant: Option<String>,
        /// Who were given this role
        #[arg(long)]
        role: Option<String>,
        /// Whose username or address contains this
        #[arg(long, value_name = "TEXT")]
        like: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Take somebody's second factor away; prints a code for the next enrolment
    ResetMfa { user: String },
    /// Set somebody's password, which they must change at the next sign-in
    SetPassword {
        user: String,
        /// Read it from the input
        #[arg(long)]
        password_stdin: bool,
        /// Leave their sessions alone
        #[arg(long)]
        keep_sessions: bool,
    },
    /// Show somebody
    Show { user: String },
    /// Stop somebody; their sessions end
    Suspend {
        user: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Ends by itself after this, e.g. 7d
        #[arg(long = "for", value_name = "SPAN")]
        lasts: Option<Span>,
    },
}
