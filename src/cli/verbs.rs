//! From words to commands, and from answers to the screen.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::app::control::{self, Answer, Circumstances, Client, Command, Exit, RoleWish, Typed, UserWish};
use crate::app::local::{Local, storage_url, storage_words};
use crate::config::{self, Loaded, Whereabouts};
use crate::domain::{AuditId, Span, Timestamp};
use crate::store::DbError;
use crate::sys::{Clock as _, SystemClock};

use super::args::{
    Administrator, Audit, Database, Department, Given, Group, Idp, Organisation, Role, RoleParts, Session,
    Tenant, Top, User, UserParts,
};
use super::{Shell, Stop, output, prompt, server};

/// Who carries commands out.
pub(super) enum Hand {
    /// The running server.
    Server(Client),
    /// This program.
    Local(Box<Local>),
}

impl Hand {
    /// Whoever carries out a command that changes something, or one that only `reads`.
    pub(super) async fn find(shell: &Shell, reads: bool) -> Result<Self, Stop> {
        let loaded = config::load(&shell.options, super::now());
        let place = match &loaded {
            Ok(loaded) => Whereabouts {
                control_socket: loaded.settings.server.control_socket.clone(),
                storage: Some(loaded.settings.storage.url.clone()),
            },
            // The server goes on with what it read before, and so does whoever has to give it a command.
            Err(report) => {
                config::whereabouts(&shell.options, report).ok_or_else(|| server::faulty(shell, report))?
            }
        };
        let unreachable = |error: control::Unreachable| Stop::unreachable(error.to_string());
        match (Client::connect(&place.control_socket).await.map_err(unreachable)?, loaded) {
            (Some(mut client), loaded) => {
                Self::is_ours(&mut client, &place).await?;
                if let Err(report) = loaded {
                    warn(&report);
                }
                Ok(Hand::Server(client))
            }
            (None, Ok(loaded)) => Self::local(&loaded, reads).await,
            (None, Err(report)) => Err(server::faulty(shell, &report)),
        }
    }

    /// Whether the server that listens there has the records that the configuration names.
    async fn is_ours(client: &mut Client, place: &Whereabouts) -> Result<(), Stop> {
        let Some(ours) = place.storage.as_ref().map(storage_words) else { return Ok(()) };
        let answer =
            client.call(&Command::Where).await.map_err(|error| Stop::unreachable(error.to_string()))?;
        // It may not listen to this user, or not know the question.
        if answer.exit != Exit::Done {
            return Err(Stop { exit: answer.exit.code(), text: answer.text.join("\n") });
        }
        let theirs = answer.json.get("storage").and_then(serde_json::Value::as_str).unwrap_or_default();
        if theirs == ours {
            return Ok(());
        }
        Err(Stop::refused(format!(
            "the server at {} keeps its records elsewhere, so nothing was done.\n  the server:         {theirs}\n  this \
             configuration: {ours}\nIf the server is yours and the file was changed, restart it; otherwise give this \
             configuration a server.control_socket of its own",
            place.control_socket.display()
        )))
    }

    async fn local(loaded: &Loaded, reads: bool) -> Result<Self, Stop> {
        let url = storage_url(&loaded.settings.storage.url);
        let there = url.stands().map_err(|error| Stop::unreachable(error.to_string()))?;
        if reads && !there {
            return Err(Stop::unreachable(format!(
                "no server runs here, and there is no database yet ({}); `cardea serve` makes it",
                url.words()
            )));
        }
        match Box::pin(Local::open(loaded)).await {
            Ok(local) => Ok(Hand::Local(Box::new(local))),
            Err(error) => {
                let down = error.downcast_ref::<DbError>();
                let down = matches!(down, Some(DbError::Unavailable(_) | DbError::Place(_)));
                let text = format!("{error:#}");
                Err(if down { Stop::unreachable(text) } else { Stop::refused(text) })
            }
        }
    }

    pub(super) async fn call(&mut self, command: Command) -> Result<Answer, Stop> {
        let work = async {
            match self {
                Hand::Server(client) => {
                    client.call(&command).await.map_err(|error| Stop::unreachable(error.to_string()))
                }
                Hand::Local(local) => Ok(Box::pin(local.call(command)).await),
            }
        };
        tokio::pin!(work);
        // Somebody who waits is told that something happens.
        if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut work).await {
            return done;
        }
        if std::io::stderr().is_terminal() {
            output::note("working …");
        }
        work.await
    }

    pub(super) async fn close(self) {
        if let Hand::Local(local) = self {
            local.close().await;
        }
    }
}

/// Says that the file is not what the server runs on. What only the server can read is no fault of the file.
fn warn(report: &config::Report) {
    if let Some(fault) = report.first_error().filter(|fault| fault.code != config::Code::SecretMissing) {
        output::note(&format!(
            "warning: the configuration in the files is wrong ({fault}); the server goes on with what it read before. \
             `cardea check` says everything"
        ));
    }
}

pub(super) async fn run(shell: &Shell, words: Top) -> Result<u8, Stop> {
    match words {
        Top::Audit(Audit::Tail { follow: true, lines, .. }) => Box::pin(follow(shell, lines)).await,
        Top::User(User::Import { file }) => Box::pin(import(shell, &file)).await,
        Top::Idp(Idp::Test { name, no_sign_in }) => {
            Box::pin(super::idp::test(shell, name, !no_sign_in)).await
        }
        words => {
            let command = command(shell, words)?;
            let shows = std::io::stdout().is_terminal() || shell.show_link;
            if issues(&command) && !shows {
                return Err(Stop::usage(
                    "a one-time link or code is shown on a terminal only; add --show-link to have it written here",
                ));
            }
            let mut hand = Hand::find(shell, command.reads()).await?;
            let answer = hand.call(command).await;
            hand.close().await;
            let answer = answer?;
            shell.screen.show(&answer, shows);
            Ok(answer.exit.code())
        }
    }
}

/// Whether the answer will have a secret in it.
fn issues(command: &Command) -> bool {
    matches!(
        command,
        Command::AdminInvite { .. }
            | Command::UserLink { .. }
            | Command::UserResetMfa { .. }
            | Command::UserCreate { password: None, .. }
    )
}

fn command(shell: &Shell, words: Top) -> Result<Command, Stop> {
    let sure = |question: String| prompt::sure(&question, shell.yes);
    Ok(match words {
        Top::Admin(Administrator::Invite { valid }) => Command::AdminInvite { life: valid },
        Top::Admin(Administrator::Unlock { who }) => Command::AdminUnlock { who },
        Top::Audit(words) => audit(words),
        Top::Can(words) => Command::Can { user: words.user, given: given(words.given) },
        Top::Db(words) => database(words)?,
        Top::Dept(words) => match words {
            Department::Create { org, slug, name } => Command::DeptCreate { org, slug, name },
            Department::Delete { place, force } => {
                sure(format!("Delete the department {place}? What was given there is taken back."))?;
                Command::DeptDelete { place, force }
            }
            Department::Edit { place, name } => Command::DeptEdit { place, name },
            Department::List { tenant } => Command::DeptList { tenant },
        },
        Top::Explain(words) => match (words.request, words.user, words.url) {
            (Some(id), ..) => Command::ExplainRequest { id },
            (None, Some(user), Some(url)) => Command::Explain { user, url, given: given(words.given) },
            (None, Some(user), None) if user.starts_with("D-") => Command::AuditShow { reference: user },
            (None, ..) => return Err(Stop::usage("say which address: cardea explain USER URL")),
        },
        Top::Group(words) => match words {
            Group::Create { tenant, slug } => Command::GroupCreate { tenant, slug },
            Group::Delete { group } => {
                sure(format!("Delete the group {group}? Whoever is in it is in it no more."))?;
                Command::GroupDelete { group }
            }
            Group::Join { group, user } => Command::GroupJoin { group, user },
            Group::Leave { group, user } => Command::GroupLeave { group, user },
            Group::List { tenant } => Command::GroupList { tenant },
            Group::Show { group } => Command::GroupShow { group },
        },
        Top::Idp(words) => match words {
            Idp::Disable { name, reason, lasts } => {
                sure(format!("Switch {name} off? Nobody signs in with it until it is on again."))?;
                Command::IdpDisable { name, reason, lasts }
            }
            Idp::Enable { name } => Command::IdpEnable { name },
            Idp::List => Command::IdpList,
            Idp::Show { name } => Command::IdpShow { name },
            Idp::Test { name, no_sign_in } => Command::IdpTest { name, sign_in: !no_sign_in },
        },
        Top::Org(words) => match words {
            Organisation::Create { tenant, slug, name } => Command::OrgCreate { tenant, slug, name },
            Organisation::Delete { place, force } => {
                sure(format!("Delete the organisation {place} with its departments?"))?;
                Command::OrgDelete { place, force }
            }
            Organisation::Edit { place, name } => Command::OrgEdit { place, name },
            Organisation::List { tenant } => Command::OrgList { tenant },
        },
        Top::Reload => Command::Reload,
        Top::Role(words) => role(words, &sure)?,
        Top::Session(words) => match words {
            Session::List { user, limit } => Command::SessionList { user, limit },
            Session::Revoke { session } => Command::SessionRevoke { session },
            Session::RevokeAll { user } => {
                sure(format!("End every session of {user}?"))?;
                Command::SessionRevokeAll { user }
            }
            Session::Show { session } => Command::SessionShow { session },
        },
        Top::Status => Command::Status,
        Top::Tenant(words) => tenant(words, &sure)?,
        Top::User(words) => user(words, &sure)?,
        Top::WhoCan(words) => Command::WhoCan { what: words.what, at: words.at, given: given(words.given) },
        Top::Cert(_)
        | Top::Check(_)
        | Top::Demo(_)
        | Top::Init(_)
        | Top::Schema
        | Top::Serve
        | Top::Version => {
            return Err(Stop::usage("that is not a command for the server"));
        }
    })
}

fn given(given: Given) -> Circumstances {
    Circumstances { method: given.method, mfa: given.mfa, ip: given.ip, via: given.via }
}

fn audit(words: Audit) -> Command {
    match words {
        Audit::Show { reference } => Command::AuditShow { reference },
        Audit::Tail { lines, tenant, action, actor, target, outcome, .. } => {
            Command::AuditTail { limit: lines.clamp(1, 10_000), tenant, action, actor, target, outcome }
        }
    }
}

fn database(words: Database) -> Result<Command, Stop> {
    Ok(match words {
        // The server has another working directory.
        Database::Backup { to } => Command::DbBackup {
            to: std::path::absolute(&to)
                .map_err(|error| Stop::usage(format!("{}: {error}", to.display())))?,
        },
        Database::Check => Command::DbCheck,
        Database::Reseal => Command::DbReseal,
        Database::RotateKeys => Command::KeysRotate,
        Database::Migrate => return Err(Stop::usage("a database is migrated before a server runs")),
    })
}

fn role_wish(parts: RoleParts, add: Vec<String>, remove: Vec<String>) -> RoleWish {
    RoleWish {
        name: parts.name,
        description: parts.description,
        scope: parts.scope,
        permissions: Some(parts.permissions).filter(|list| !list.is_empty()),
        add,
        remove,
        exclusive: parts.exclusive,
        auto_assigned: parts.auto_assigned,
        mfa: parts.require_mfa,
        landing: parts.landing,
    }
}

type Sure<'a> = &'a dyn Fn(String) -> Result<(), Stop>;

fn role(words: Role, sure: Sure<'_>) -> Result<Command, Stop> {
    Ok(match words {
        Role::Create { slug, tenant, parts } => {
            Command::RoleCreate { slug, tenant, wish: role_wish(parts, Vec::new(), Vec::new()) }
        }
        Role::Delete { role, force } => {
            sure(format!("Delete the role {role}?"))?;
            Command::RoleDelete { role, force }
        }
        Role::Diff { first, second } => Command::RoleDiff { first, second },
        Role::Edit { role, parts, add, remove } => {
            Command::RoleEdit { role, wish: role_wish(parts, add, remove) }
        }
        Role::Grant { what, user, at } => Command::RoleGrant { what, user, at },
        Role::List { tenant } => Command::RoleList { tenant },
        Role::Revoke { what, user, at } => Command::RoleRevoke { what, user, at },
        Role::Show { role } => Command::RoleShow { role },
    })
}

fn tenant(words: Tenant, sure: Sure<'_>) -> Result<Command, Stop> {
    Ok(match words {
        Tenant::Activate { tenant } => Command::TenantActivate { tenant },
        Tenant::Create { slug, name, plan, require_mfa, domains, owner } => {
            Command::TenantCreate { slug, name, plan, mfa: require_mfa, domains, owner }
        }
        Tenant::Delete { tenant, force } => {
            sure(format!(
                "Delete the tenant {tenant}? Its people stay; what they were given there does not."
            ))?;
            Command::TenantDelete { tenant, force }
        }
        Tenant::Edit { tenant, name, plan, require_mfa, domains, no_domains } => {
            let domains = Some(domains).filter(|list| no_domains || !list.is_empty());
            Command::TenantEdit { tenant, name, plan, mfa: require_mfa, domains }
        }
        Tenant::List => Command::TenantList,
        Tenant::Show { tenant } => Command::TenantShow { tenant },
        Tenant::Suspend { tenant, reason, lasts } => {
            sure(format!("Suspend the tenant {tenant}? None of its apps opens for anybody."))?;
            Command::TenantSuspend { tenant, reason, lasts }
        }
        Tenant::Transfer { tenant, to } => {
            sure(format!("Make {to} the owner of {tenant}?"))?;
            Command::TenantTransfer { tenant, to }
        }
    })
}

fn user_wish(parts: UserParts, roles: Vec<String>, groups: Vec<String>) -> UserWish {
    UserWish { name: parts.name, email: parts.email, kind: parts.kind, join: parts.join, roles, groups }
}

fn user(words: User, sure: Sure<'_>) -> Result<Command, Stop> {
    Ok(match words {
        User::Activate { user } => Command::UserActivate { user },
        User::Create { username, parts, roles, groups, password, password_stdin, valid } => {
            let password = if password || password_stdin { Some(typed(password_stdin)?) } else { None };
            Command::UserCreate { username, wish: user_wish(parts, roles, groups), password, life: valid }
        }
        User::Deactivate { user } => {
            sure(format!("Deactivate {user}? Their sessions stop working now."))?;
            Command::UserDeactivate { user }
        }
        User::Delete { user } => {
            sure(format!(
                "Delete {user}? Their sessions stop working now, and nothing brings the account back. The audit log keeps its records."
            ))?;
            Command::UserDelete { user }
        }
        User::Edit { user, parts, leave } => {
            Command::UserEdit { user, wish: user_wish(parts, Vec::new(), Vec::new()), leave }
        }
        User::Export { user } => Command::UserExport { user },
        User::Import { .. } => return Err(Stop::usage("an import is carried out line by line")),
        User::Link { user, valid } => Command::UserLink { user, life: valid },
        User::List { status, tenant, role, like, limit } => {
            Command::UserList { status, tenant, role, like, limit: limit.max(1) }
        }
        User::ResetMfa { user } => {
            sure(format!("Take the second factor of {user} away? Their sessions stop working now."))?;
            Command::UserResetMfa { user }
        }
        User::SetPassword { user, password_stdin, keep_sessions } => {
            Command::UserSetPassword { user, password: typed(password_stdin)?, keep_sessions }
        }
        User::Show { user } => Command::UserShow { user },
        User::Suspend { user, reason, lasts } => {
            sure(format!("Suspend {user}? Their sessions stop working now."))?;
            Command::UserSuspend { user, reason, lasts }
        }
    })
}

fn typed(from_input: bool) -> Result<Typed, Stop> {
    Ok(Typed::new(prompt::new_password(from_input)?.to_string()))
}

/// How far following looks back. The time of a record is read before the transaction that writes it ends: it may become
/// visible after younger ones. Transactions that wait longer than this are given up.
const LOOK_BACK: Span = Span::seconds(15);
/// How many records are asked for at once.
const PAGE: i64 = 1_000;

/// The records that somebody who follows has seen, as far back as is looked.
struct Seen {
    ids: HashMap<AuditId, Timestamp>,
    from: Timestamp,
}

impl Seen {
    /// Remembers the records of an answer; whether each is new.
    fn note(&mut self, answer: &Answer) -> Vec<bool> {
        let records = answer.json.as_array().into_iter().flatten();
        records.map(|it| place(it).is_none_or(|(at, id)| self.ids.insert(id, at).is_none())).collect()
    }

    /// From where to look again; what is older cannot come any more and is forgotten.
    fn since(&mut self) -> Timestamp {
        if let Some(newest) = self.ids.values().max() {
            self.from = self.from.max(*newest - LOOK_BACK);
        }
        self.ids.retain(|_, at| *at >= self.from);
        self.from
    }
}

/// The place of a record in the log.
fn place(record: &serde_json::Value) -> Option<(Timestamp, AuditId)> {
    let id: AuditId = record.get("id")?.as_str()?.parse().ok()?;
    Some((Timestamp::from_millis(record.get("at_millis")?.as_i64()?), id))
}

/// What has come since the last look, in answers of a page each; the last one says how it ended.
async fn news(hand: &mut Hand, seen: &mut Seen) -> Result<Vec<Answer>, Stop> {
    let (mut at, mut id, mut pages) = (seen.since(), None, Vec::new());
    loop {
        let mut answer = hand.call(Command::AuditAfter { at, id, limit: PAGE }).await?;
        let records = answer.json.as_array();
        let last = records.filter(|all| i64::try_from(all.len()).is_ok_and(|read| read == PAGE));
        let last = last.and_then(|all| all.last()).and_then(place);
        let new = seen.note(&answer);
        let mut marks = new.iter();
        if let Some(records) = answer.json.as_array_mut() {
            records.retain(|_| *marks.next().unwrap_or(&true));
        }
        let mut marks = new.iter();
        if let Some(table) = &mut answer.table {
            table.rows.retain(|_| *marks.next().unwrap_or(&true));
        }
        pages.push(answer);
        match last {
            Some(last) => (at, id) = (last.0, Some(last.1)),
            None => return Ok(pages),
        }
    }
}

/// Shows the latest records, and then every new one, until interrupted.
async fn follow(shell: &Shell, lines: i64) -> Result<u8, Stop> {
    let mut hand = Hand::find(shell, true).await?;
    let limit = lines.clamp(1, 10_000);
    // What stands there already is no news.
    let mut seen = Seen { ids: HashMap::new(), from: SystemClock::default().now() - LOOK_BACK };
    news(&mut hand, &mut seen).await?;
    let tail =
        Command::AuditTail { limit, tenant: None, action: None, actor: None, target: None, outcome: None };
    let answer = hand.call(tail).await?;
    seen.note(&answer);
    let (mut first, mut pages) = (true, vec![answer]);
    loop {
        for answer in &pages {
            let rows = answer.table.as_ref().map_or(0, |table| table.rows.len());
            if rows > 0 || answer.exit != Exit::Done {
                shell.screen.show_more(answer, first);
                first = false;
            }
            if answer.exit != Exit::Done {
                return Ok(answer.exit.code());
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        pages = news(&mut hand, &mut seen).await?;
    }
}

/// How many lines travel at once: small enough that nobody waits long for the writer.
const AT_ONCE: usize = 100;

async fn import(shell: &Shell, file: &Path) -> Result<u8, Stop> {
    let text = read(file)?;
    let lines: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| (at + 1, line.to_owned()))
        .collect();
    if lines.is_empty() {
        return Err(Stop::usage(format!("{} has no lines", file.display())));
    }
    let mut hand = Hand::find(shell, false).await?;
    let (total, mut done, mut all) = (lines.len(), 0, Answer::default());
    for chunk in lines.chunks(AT_ONCE) {
        let answer = hand.call(Command::UserImport { lines: chunk.to_vec() }).await?;
        done += chunk.len();
        if std::io::stderr().is_terminal() && total > AT_ONCE {
            output::note(&format!("{done} of {total} lines"));
        }
        if answer.exit != Exit::Done {
            all.exit = answer.exit;
        }
        match (&mut all.table, answer.table) {
            (Some(table), Some(more)) => table.rows.extend(more.rows),
            (into, more) => *into = more,
        }
    }
    hand.close().await;
    shell.screen.show(&all, false);
    Ok(all.exit.code())
}

fn read(file: &Path) -> Result<String, Stop> {
    let mut text = String::new();
    let done = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|found| text = found)
    };
    match done {
        Ok(()) => Ok(text),
        Err(error) => Err(Stop::usage(format!("cannot read {}: {error}", file.display()))),
    }
}
