//! The decision. Pure: no clock, no await, no I/O.
//!
//! Order of evaluation: the rule; public; signed in; the account and the tenant; deny; allow and needs; require. The first
//! clause that fails decides. A missing or stale proof is no denial but a prompt, and comes last, so that nobody is asked
//! for a code only to be turned away.

use std::net::IpAddr;

use crate::domain::session::FirstFactor;
use crate::domain::target::Target;
use crate::domain::{Level, Place, SessionId, Span, Timestamp};

use super::explain::{Clause, Mark};
use super::principal::Principal;
use super::snapshot::{HowIs, HowTest, Lost, NeedIs, Route, Rule, Snapshot, Test, WhoIs, within};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The canonical target.
    pub target: &'a Target<'a>,
    /// The method.
    pub method: &'a str,
    /// Where it comes from, after trusted proxies.
    pub address: IpAddr,
    /// When.
    pub now: Timestamp,
}

/// Who asks: somebody signed in.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// How well it is proven, at this host.
    pub level: &'a Level,
    /// In which session.
    pub session: SessionId,
}

/// What comes of it.
#[derive(Debug)]
pub enum Decision<'a> {
    /// Not to be decided: the request can be read in two ways.
    Ambiguous(Lost),
    /// No, and why.
    Deny(Denial),
    /// Yes.
    Permit(Permit<'a>),
    /// Nobody is signed in, or somebody too long ago.
    SignIn {
        /// Somebody is, and must give the first factor again.
        again: bool,
    },
    /// Somebody is, and must give a second factor.
    StepUp(StepUp),
}

/// What must be proven besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepUp {
    /// Not longer ago than this.
    pub fresh: Option<Span>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// A stable word: `no-rule`, `account`, `tenant`, `tenant-suspended`, `deny-list`, `allow`, `needs`, `network`, `method`.
    pub code: &'static str,
    /// For the person: names what they lack and nothing else.
    pub plain: String,
}

/// The proof that a request may be forwarded. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    route: &'a Route,
    rule: usize,
    caller: Option<Caller<'a>>,
}

impl<'a> Permit<'a> {
    /// On which route.
    #[must_use]
    pub const fn route(&self) -> &'a Route {
        self.route
    }

    /// Under which rule, counted from one.
    #[must_use]
    pub const fn rule(&self) -> usize {
        self.rule + 1
    }

    /// As whom. `None` on public rules, also when somebody is signed in: the upstream learns nothing.
    #[must_use]
    pub const fn caller(&self) -> Option<Caller<'a>> {
        self.caller
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({})", self.spec.name)
    }
}

/// Decides.
#[must_use]
pub fn decide<'a>(
    snapshot: &Snapshot,
    route: &'a Route,
    caller: Option<Caller<'a>>,
    request: &Request<'_>,
) -> Decision<'a> {
    evaluate(snapshot, route, caller, request, &mut Silent)
}

/// Listens to an evaluation.
pub(super) trait Witness {
    /// Whether to go on after the first failure.
    const ALL: bool;
    /// A clause was evaluated.
    fn note(&mut self, clause: impl FnOnce() -> Clause);
    /// Whether the request comes from somewhere. Nothing is let through from nowhere.
    fn placed(&self) -> bool {
        true
    }
}

/// Enforcement: nobody listens.
struct Silent;

impl Witness for Silent {
    const ALL: bool = false;
    fn note(&mut self, _: impl FnOnce() -> Clause) {}
}

/// Keeps the first reason to refuse, and says whether to stop.
struct Verdict {
    deny: Option<Denial>,
    prompt: Option<Prompt>,
    /// Something could not be looked at.
    unknown: bool,
}

#[derive(Clone, Copy)]
enum Prompt {
    Again,
    Second(Option<Span>),
}

impl Verdict {
    fn refuse(&mut self, code: &'static str, plain: impl FnOnce() -> String) {
        if self.deny.is_none() {
            self.deny = Some(Denial { code, plain: plain() });
        }
    }

    /// Of several second factors the freshest is asked for; the first factor comes before the second.
    fn prompt(&mut self, prompt: Prompt) {
        self.prompt = Some(match (self.prompt, prompt) {
            (None, new) => new,
            (Some(Prompt::Again), _) | (_, Prompt::Again) => Prompt::Again,
            (Some(Prompt::Second(a)), Prompt::Second(b)) => Prompt::Second(match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }),
        });
    }
}

/// The one evaluation behind enforcement and explanation.
pub(super) fn evaluate<'a, W: Witness>(
    snapshot: &Snapshot,
    route: &'a Route,
    caller: Option<Caller<'a>>,
    request: &Request<'_>,
    witness: &mut W,
) -> Decision<'a> {
    let (index, rule) = match route.rule(request.target, request.method) {
        Err(lost) => return Decision::Ambiguous(lost),
        Ok(Some(found)) => found,
        Ok(None) => {
            witness.note(|| {
                Clause::new("rule", Mark::Failed, "no rule covers this request".into()).told(NO_RULE)
            });
            return Decision::Deny(Denial { code: "no-rule", plain: NO_RULE.into() });
        }
    };
    witness.note(|| {
        Clause::new(
            "rule",
            Mark::Holds,
            format!("rule {} covers {} {}", index + 1, request.method, rule.path),
        )
    });
    if rule.public {
        witness.note(|| {
            Clause::new(
                "public",
                Mark::Holds,
                "open to everybody; the app learns nothing about the caller".into(),
            )
        });
        return Decision::Permit(Permit { route, rule: index, caller: None });
    }
    let Some(caller) = caller else {
        witness.note(|| Clause::new("session", Mark::Failed, "nobody is signed in".into()));
        return Decision::SignIn { again: false };
    };
    let mut verdict = Verdict { deny: None, prompt: None, unknown: false };
    let steps: [fn(&mut Step<'_, '_, W>); 5] = [account, tenant, deny, grants, require];
    for step in steps {
        let mut on = Step { snapshot, route, rule, caller, request, witness, verdict: &mut verdict };
        step(&mut on);
        if !W::ALL && verdict.deny.is_some() {
            break;
        }
    }
    if verdict.unknown {
        verdict.refuse("network", || NETWORK.into());
    }
    match (verdict.deny, verdict.prompt) {
        (Some(denial), _) => Decision::Deny(denial),
        (None, Some(Prompt::Again)) => Decision::SignIn { again: true },
        (None, Some(Prompt::Second(fresh))) => Decision::StepUp(StepUp { fresh }),
        (None, None) => Decision::Permit(Permit { route, rule: index, caller: Some(caller) }),
    }
}

// What the person reads, in a refusal and in the list of its clauses.
const ACCOUNT: &str = "Your account cannot open apps at the moment.";
const CLOSED: &str = "A rule of this app cannot be read at the moment, so it opens for nobody. Tell whoever looks after the app.";
const EXCLUDED: &str = "Your account has been excluded from this app.";
const METHOD: &str = "This page cannot be used in that way.";
const NETWORK: &str = "This page opens only from certain networks, and you are not in one of them.";
const NOBODY: &str = "No rule of this app lets anybody in here.";
const NO_RULE: &str = "No rule of this app covers this page.";
const SUSPENDED: &str = "Your company's access is suspended at the moment.";
const TENANT: &str = "This app belongs to a company that your account is not a member of.";

struct Step<'e, 'a, W> {
    snapshot: &'e Snapshot,
    route: &'a Route,
    rule: &'a Rule,
    caller: Caller<'a>,
    request: &'e Request<'e>,
    witness: &'e mut W,
    verdict: &'e mut Verdict,
}

fn account<W: Witness>(on: &mut Step<'_, '_, W>) {
    let principal = on.caller.principal;
    if principal.active() && !principal.must_change_password {
        return;
    }
    let words = if principal.active() { "must change the password first" } else { "is not active" };
    on.witness.note(|| {
        Clause::new("account", Mark::Failed, format!("{} {words}", principal.username)).told(ACCOUNT)
    });
    on.verdict.refuse("account", || ACCOUNT.into());
}

fn tenant<W: Witness>(on: &mut Step<'_, '_, W>) {
    let (route, principal) = (on.route, on.caller.principal);
    let Some(slug) = &route.spec.tenant else { return };
    let member = route.tenant.is_some_and(|tenant| principal.belonging(tenant).is_some());
    on.witness.note(|| {
        let words = if member { "is in" } else { "is not in" };
        let clause =
            Clause::new("tenant", Mark::of(member), format!("{} {words} {slug}", principal.username));
        match route.tenant.and_then(|tenant| on.snapshot.tenant(tenant)).filter(|_| member) {
            Some(tenant) => clause.told(format!("Your account belongs to {}.", tenant.name)),
            None => clause.told(TENANT),
        }
    });
    if !member {
        on.verdict.refuse("tenant", || TENANT.into());
        return;
    }
    let active = route.tenant.is_some_and(|tenant| on.snapshot.tenant_active(tenant, on.request.now));
    if !active {
        on.witness
            .note(|| Clause::new("tenant", Mark::Failed, format!("{slug} is suspended")).told(SUSPENDED));
        on.verdict.refuse("tenant-suspended", || SUSPENDED.into());
    }
    let Some(provider) = &route.provider else { return };
    let with_it = on.caller.level.first.provider() == Some(provider.as_str());
    on.witness.note(|| {
        let words = if with_it { "signed in with" } else { "asks for a sign-in with" };
        let who = if with_it { principal.username.as_str() } else { slug.as_str() };
        Clause::new("tenant", Mark::prompt(with_it), format!("{who} {words} idp:{provider}"))
    });
    if !with_it {
        on.verdict.prompt(Prompt::Again);
    }
}

fn deny<W: Witness>(on: &mut Step<'_, '_, W>) {
    for who in on.route.deny.iter().chain(&on.rule.deny) {
        let hit = is_denied(who, on.caller);
        let nothing = matches!(who.test, Test::Nothing);
        let plain = if nothing { CLOSED } else { EXCLUDED };
        if hit || W::ALL {
            on.witness.note(|| {
                let name = &on.caller.principal.username;
                let words = if nothing {
                    format!("{} names nothing that exists, and so keeps everybody out", who.text)
                } else {
                    let words = if hit { "is denied by" } else { "is not touched by" };
                    format!("{name} {words} {}", who.text)
                };
                let clause = Clause::new("deny", Mark::of(!hit), words);
                // A list that does not name the person is about others.
                if hit { clause.told(plain) } else { clause }
            });
        }
        if hit {
            on.verdict.refuse("deny-list", || plain.into());
        }
    }
}

fn grants<W: Witness>(on: &mut Step<'_, '_, W>) {
    if !on.rule.allow.is_empty() {
        let hit = on.rule.allow.iter().find(|who| is_allowed(who, on));
        on.witness.note(|| match hit {
            Some(who) => {
                let clause = Clause::new(
                    "allow",
                    Mark::Holds,
                    format!("{} matches {}", on.caller.principal.username, who.text),
                );
                clause.told(belonging(who))
            }
            None => Clause::new(
                "allow",
                Mark::Failed,
                format!(
                    "{} is none of {}",
                    on.caller.principal.username,
                    on.rule.allow.iter().map(|who| who.text.as_str()).collect::<Vec<_>>().join(", ")
                ),
            )
            .told(lacking(&on.rule.allow)),
        });
        if hit.is_none() {
            on.verdict.refuse("allow", || lacking(&on.rule.allow));
        }
    }
    if let Some(need) = &on.rule.needs {
        let held = need.at.is_some_and(|at| {
            on.caller.principal.holds(&need.permission, at) && in_force(on.snapshot, at, on.request.now)
        });
        on.witness.note(|| needs_clause(on.snapshot, on.caller.principal, need, held));
        if !held {
            on.verdict.refuse("needs", || needed(need));
        }
    }
    // A rule without a "who" lets nobody in; the file cannot say it, and if it could, this is where it would end.
    if on.rule.allow.is_empty() && on.rule.needs.is_none() {
        on.witness.note(|| Clause::new("rule", Mark::Failed, "the rule names nobody".into()).told(NOBODY));
        on.verdict.refuse("no-rule", || NOBODY.into());
    }
}

/// What opens the app for somebody, in their own words.
fn belonging(who: &WhoIs) -> String {
    match &who.test {
        Test::Group(_, name) => format!("You are a member of the group {name}."),
        Test::Role(..) => {
            format!("You have been given the role {}.", who.text.strip_prefix("role:").unwrap_or(&who.text))
        }
        _ => "You are among those who may open this app.".into(),
    }
}

/// What somebody lacks, without naming anybody else.
fn lacking(allow: &[WhoIs]) -> String {
    let mut words: Vec<String> = allow
        .iter()
        .filter_map(|who| match &who.test {
            Test::Group(_, name) => Some(format!("a member of the group {name}")),
            Test::Role(..) => who.text.strip_prefix("role:").map(|role| format!("given the role {role}")),
            Test::Department(_) | Test::Org(_) => {
                who.text.split_once(':').map(|(_, place)| format!("a member of {place}"))
            }
            Test::Provider(name) => Some(format!("signed in with {name}")),
            _ => None,
        })
        .collect();
    words.dedup();
    if words.is_empty() {
        "You are not among those who may open this app.".into()
    } else {
        format!("You would have to be {}.", words.join(" or "))
    }
}

fn needed(need: &NeedIs) -> String {
    format!("You need the permission {}.", need.permission)
}

fn needs_clause(snapshot: &Snapshot, principal: &Principal, need: &NeedIs, held: bool) -> Clause {
    let at = need.at.map_or_else(|| "nowhere".to_owned(), |place| snapshot.place_words(place));
    let same: Vec<String> = principal
        .permissions
        .iter()
        .filter(|granted| match (&granted.pattern, held) {
            (pattern, true) => pattern.allows(&need.permission),
            (crate::domain::PermissionPattern::Exactly(p), false) => {
                p.resource() == need.permission.resource()
            }
            (_, false) => true,
        })
        .map(|granted| {
            format!("{} at {} ({})", granted.pattern, snapshot.place_words(granted.place), granted.from)
        })
        .collect();
    let has = if same.is_empty() { "nothing of the kind".to_owned() } else { same.join(", ") };
    let clause = Clause::new(
        "needs",
        Mark::of(held),
        format!("{} at {at}: {} has {has}", need.permission, principal.username),
    );
    if held {
        return clause.told(format!("You have the permission {}.", need.permission));
    }
    let mut own: Vec<String> = principal
        .permissions
        .iter()
        .filter(|granted| match &granted.pattern {
            crate::domain::PermissionPattern::Exactly(permission) => {
                permission.resource() == need.permission.resource()
            }
            _ => false,
        })
        .map(|granted| granted.pattern.to_string())
        .collect();
    own.sort_unstable();
    own.dedup();
    let instead = match own.split_last() {
        None => None,
        Some((one, [])) => Some(format!("You have {one}.")),
        Some((last, others)) => Some(format!("You have {} and {last}.", others.join(", "))),
    };
    clause.told(needed(need)).instead(instead)
}

fn require<W: Witness>(on: &mut Step<'_, '_, W>) {
    let implicit = on.caller.principal.owes_second(on.snapshot)
        || on.route.tenant.and_then(|id| on.snapshot.tenant(id)).is_some_and(|tenant| tenant.mfa_required);
    if implicit {
        second(on, "mfa (asked of this account or company)", None);
    }
    for how in on.route.require.iter().chain(&on.rule.require) {
        match &how.test {
            HowTest::Method(methods) => {
                let fine = methods.iter().any(|method| method == on.request.method);
                on.witness.note(|| {
                    let clause = Clause::new(
                        "require",
                        Mark::of(fine),
                        format!("{}: the method is {}", how.text, on.request.method),
                    );
                    if fine { clause } else { clause.told(METHOD) }
                });
                if !fine {
                    on.verdict.refuse("method", || METHOD.into());
                }
            }
            HowTest::Mfa(fresh) => second(on, &how.text, *fresh),
            HowTest::Net(networks) => network(on, how, networks.as_deref()),
            HowTest::Session(fresh) => {
                let fine = on.caller.level.first_within(*fresh, on.request.now);
                on.witness.note(|| {
                    let ago = on.request.now.since(on.caller.level.first_at).words();
                    Clause::new("require", Mark::prompt(fine), format!("{}: signed in {ago} ago", how.text))
                });
                if !fine {
                    on.verdict.prompt(Prompt::Again);
                }
            }
        }
    }
}

fn network<W: Witness>(on: &mut Step<'_, '_, W>, how: &HowIs, networks: Option<&[ipnet::IpNet]>) {
    if !on.witness.placed() && networks.is_some() {
        on.witness.note(|| {
            Clause::new("require", Mark::Unknown, format!("{}: no address was given to look for", how.text))
        });
        on.verdict.unknown = true;
        return;
    }
    let fine = networks.is_some_and(|networks| within(networks, on.request.address));
    on.witness.note(|| {
        let words = if fine { "is in that list" } else { "is not in that list" };
        let clause =
            Clause::new("require", Mark::of(fine), format!("{}: {} {words}", how.text, on.request.address));
        clause.told(if fine { "You are in a network that this page opens from." } else { NETWORK })
    });
    if !fine {
        on.verdict.refuse("network", || NETWORK.into());
    }
}

fn second<W: Witness>(on: &mut Step<'_, '_, W>, text: &str, fresh: Option<Span>) {
    let fine = on.caller.level.has_second(fresh, on.request.now);
    on.witness.note(|| {
        let words = match on.caller.level.second {
            Some((_, at)) => format!("{} ago", on.request.now.since(at).words()),
            None => "no second factor given".to_owned(),
        };
        let clause = Clause::new("require", Mark::prompt(fine), format!("{text}: {words}"));
        // One that is missing is asked for, not held against anybody.
        if fine { clause.told("You have given a second factor.") } else { clause }
    });
    if !fine {
        on.verdict.prompt(Prompt::Second(fresh));
    }
}

/// Whether somebody is on a list that lets in. What they are in a tenant that is suspended does not count.
fn is_allowed<W>(who: &WhoIs, on: &Step<'_, '_, W>) -> bool {
    let (principal, place) = (on.caller.principal, who.test.place());
    if !place.is_none_or(|place| in_force(on.snapshot, place, on.request.now)) {
        return false;
    }
    match &who.test {
        Test::Domain(domain) => principal.email.as_ref().is_some_and(|email| email.domain() == domain),
        Test::Role(roles, at) => {
            principal.roles.iter().any(|held| roles.contains(&held.role) && held.place.covers(*at))
        }
        _ => is(who, on.caller),
    }
}

/// Whether somebody is on a list that keeps out. Wider than the other way round: an address counts although nobody has
/// verified it, and a role although it holds only in a part of the place. A name of nothing that exists keeps everybody out:
/// whom it was meant for cannot be told.
pub(super) fn is_denied(who: &WhoIs, caller: Caller<'_>) -> bool {
    let principal = caller.principal;
    match &who.test {
        Test::Domain(domain) => principal.contact.as_ref().is_some_and(|email| email.domain() == domain),
        Test::Nothing => true,
        Test::Role(roles, at) => principal
            .roles
            .iter()
            .any(|held| roles.contains(&held.role) && (held.place.covers(*at) || at.covers(held.place))),
        _ => is(who, caller),
    }
}

/// What is the same for both.
fn is(who: &WhoIs, caller: Caller<'_>) -> bool {
    let principal = caller.principal;
    match &who.test {
        Test::Department(place) => {
            principal.memberships.iter().any(|m| m.department.is_some() && m.department == place.department())
        }
        Test::Group(tenant, name) => principal.groups.iter().any(|(of, group)| of == tenant && group == name),
        Test::Domain(_) | Test::Nothing | Test::Role(..) => false,
        Test::Org(place) => principal.memberships.iter().any(|m| m.org.is_some() && m.org == place.org()),
        Test::Provider(name) => match &caller.level.first {
            FirstFactor::Provider(text) => {
                text.split_once(':').is_some_and(|(_, provider)| provider == name.as_str())
            }
            FirstFactor::Password => false,
        },
        Test::SignedIn => true,
        Test::Tenant(tenant) => principal.belonging(*tenant).is_some(),
        Test::User(name) => principal.username == *name,
    }
}

/// Whether the tenant of a place, if it has one, is in force.
fn in_force(snapshot: &Snapshot, place: Place, now: Timestamp) -> bool {
    place.tenant().is_none_or(|tenant| snapshot.tenant_active(tenant, now))
}

/// The place of a route, for those who list who holds what there.
#[must_use]
pub fn place_of(route: &Route) -> Option<Place> {
    route.place
}
