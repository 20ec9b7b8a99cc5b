//! Why, who and what: the decisions of the proxy, asked beforehand.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use crate::access::explain::{Explanation, Mark, foresee};
use crate::access::{Caller, Principal, Request, Route, Snapshot, principal};
use crate::domain::ids::Id as _;
use crate::domain::policy::PathPattern;
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::target::{self, Target};
use crate::domain::{Level, Permission, Place, SessionId, Timestamp, UserId};
use crate::store::users;

use super::answer::{Answer, Exit, Trouble, typed};
use super::{Circumstances, Desk};

/// How many people are read at once.
const PAGE: i64 = 200;

/// What is asked, taken apart.
struct Asked {
    host: String,
    target: String,
    method: String,
    address: IpAddr,
    level: Level,
    now: Timestamp,
}

/// Host and path of an address, with or without scheme.
fn apart(url: &str) -> Result<(String, String), Trouble> {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    let bare = bare.split('#').next().unwrap_or_default();
    let at = bare.find(['/', '?']).unwrap_or(bare.len());
    let (authority, rest) = bare.split_at(at);
    let wrong = || {
        Trouble::Usage(format!("\"{url}\" is not an address; one looks like https://wiki.example.com/page"))
    };
    let host = match target::host(authority.as_bytes()) {
        Ok((host, _)) => host.into_owned(),
        // A name in another script, as people write it.
        Err(_) => crate::domain::Hostname::parse(authority).map_err(|_| wrong())?.to_string(),
    };
    let rest = match rest {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        path => path.to_owned(),
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host, rest)) }
}

impl Circumstances {
    fn level(&self, now: Timestamp) -> Result<Level, Trouble> {
        let first = match &self.via {
            None => FirstFactor::Password,
            Some(via) => typed("first factor", via, |text| FirstFactor::try_from(text.to_owned()))?,
        };
        Ok(Level { first, first_at: now, second: self.mfa.then_some((SecondFactor::Totp, now)) })
    }

    /// The method that was said (RFC 9110, section 9.1: a token), in capitals.
    fn method(&self) -> Result<Option<String>, Trouble> {
        let Some(text) = &self.method else { return Ok(None) };
        let method = text.to_ascii_uppercase();
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            return Err(Trouble::Usage(format!("\"{text}\" is no method; one is GET or POST")));
        }
        Ok(Some(method))
    }

    fn address(&self) -> IpAddr {
        self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// What a decision comes to, in a word.
fn verdict(found: &Explanation) -> &'static str {
    match found.verdict.as_str() {
        "allow" => "yes",
        "deny" => "no",
        "sign-in" => "after signing in anew",
        "step-up" => "after a second factor",
        "unknown" => UNKNOWN,
        "maintenance" => "not during maintenance",
        _ => "ambiguous",
    }
}

/// What cannot be said before somebody says where the request comes from.
const UNKNOWN: &str = "unknown without --ip";

/// What to do about it.
const FROM_WHERE: &str = "where the request comes from decides: repeat with --ip ADDRESS";

/// The methods that are tried where a rule covers any: the first that comes to the rule speaks for it.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

impl Desk<'_> {
    async fn principal(&self, id: UserId, snapshot: &Snapshot) -> Result<Principal, Trouble> {
        let mut conn = self.admin.db.read().await?;
        let who = principal::load(&mut conn, id, snapshot, self.admin.clock.now()).await?;
        who.ok_or_else(|| crate::admin::Error::Unknown { kind: "user", name: id.to_string() }.into())
    }

    fn asked(&self, url: &str, given: &Circumstances) -> Result<Asked, Trouble> {
        let now = self.admin.clock.now();
        let (host, target) = apart(url)?;
        let method = given.method()?.unwrap_or_else(|| "GET".to_owned());
        let (address, level) = (given.address(), given.level(now)?);
        Ok(Asked { host, target, method, address, level, now })
    }

    pub(super) async fn explain(
        &self,
        user: &str,
        url: &str,
        given: &Circumstances,
    ) -> Result<Answer, Trouble> {
        let snapshot = self.admin.snapshot.load_full();
        let who = self.principal(self.user(user).await?, &snapshot).await?;
        let asked = self.asked(url, given)?;
        let target = Target::parse(&asked.target).map_err(|_| {
            Trouble::Usage(format!("the path of {url} can be read in two ways and is always refused"))
        })?;
        let route = snapshot.locate(&asked.host, &target).map_err(|lost| crate::admin::Error::Unknown {
            kind: "route",
            name: format!("for {url}: {lost}"),
        })?;
        let request =
            Request { target: &target, method: &asked.method, address: asked.address, now: asked.now };
        let caller = Caller { principal: &who, level: &asked.level, session: nobody() };
        let found = foresee(&snapshot, route, Some(caller), &request, given.ip.is_some());
        let mut answer = Answer::about(found.to_string().trim_end().to_owned(), json!(found));
        if found.verdict != "allow" {
            answer.exit = Exit::Refused;
        }
        if found.verdict == "step-up" && !given.mfa {
            answer = answer.note("with a second factor given now: repeat with --mfa");
        }
        if found.clauses.iter().any(|clause| clause.mark == Mark::Unknown) {
            answer = answer.note(FROM_WHERE);
        }
        Ok(answer)
    }

    /// Why a request that was made was let in or kept out.
    pub(super) fn explain_request(&self, id: &str) -> Result<Answer, Trouble> {
        let Some(past) = (self.controls.past)(id) else {
            let unknown = crate::admin::Error::Unknown { kind: "request", name: id.to_owned() };
            return Err(Trouble::from(unknown));
        };
        Ok(super::past::told(&self.admin.snapshot.load_full(), &past))
    }

    pub(super) async fn can(&self, user: &str, given: &Circumstances) -> Result<Answer, Trouble> {
        let snapshot = self.admin.snapshot.load_full();
        let who = self.principal(self.user(user).await?, &snapshot).await?;
        let now = self.admin.clock.now();
        let (level, said) = (given.level(now)?, given.method()?);
        let caller = Caller { principal: &who, level: &level, session: nobody() };
        let mut rows = Vec::new();
        for route in snapshot.routes() {
            for (number, rule) in route.spec.rules.iter().enumerate() {
                let own =
                    |method: &&str| rule.methods.is_empty() || rule.methods.iter().any(|it| it == method);
                let asked: Vec<&str> = match &said {
                    Some(method) => [method.as_str()].into_iter().filter(own).collect(),
                    None if rule.methods.is_empty() => METHODS.to_vec(),
                    None => rule.methods.iter().map(String::as_str).collect(),
                };
                let mut opens =
                    if asked.is_empty() { "not with this method" } else { "an earlier rule decides" };
                'found: for method in asked {
                    for path in samples(route, &rule.path) {
                        let Ok(target) = Target::parse(&path) else { continue };
                        let request = Request { target: &target, method, address: given.address(), now };
                        let found = foresee(&snapshot, route, Some(caller), &request, given.ip.is_some());
                        if found.rule.as_ref().is_some_and(|(decided, _)| *decided == number + 1) {
                            opens = verdict(&found);
                            break 'found;
                        }
                    }
                }
                let methods = if rule.methods.is_empty() { "any".to_owned() } else { rule.methods.join(" ") };
                rows.push([
                    route.spec.name.to_string(),
                    format!("{}{}", route.origin, rule.path),
                    methods,
                    (number + 1).to_string(),
                    opens.to_owned(),
                ]);
            }
        }
        let unknown = rows.iter().any(|[.., opens]| opens == UNKNOWN);
        let answer = Answer::rows(["route", "address", "methods", "rule", "opens"], rows);
        Ok(if unknown { answer.note(FROM_WHERE) } else { answer })
    }

    pub(super) async fn who_can(
        &self,
        what: &str,
        at: Option<String>,
        given: &Circumstances,
    ) -> Result<Answer, Trouble> {
        let snapshot = self.admin.snapshot.load_full();
        let permission = Permission::parse(what).ok().filter(|_| !what.contains('/'));
        let rows = match permission {
            Some(permission) => {
                let place = match at {
                    Some(at) => Some(self.place(&at).await?),
                    None => None,
                };
                self.holders(&snapshot, &permission, place).await?
            }
            None => self.openers(&snapshot, what, given).await?,
        };
        let (nobody, unknown) = (rows.is_empty(), rows.iter().any(|[.., how]| how == UNKNOWN));
        let mut answer = Answer::rows(["user", "name", "how"], rows);
        if unknown {
            answer = answer.note(FROM_WHERE);
        }
        if nobody {
            answer.exit = Exit::Refused;
            answer = answer.note("nobody");
        }
        Ok(answer)
    }

    /// Everybody who holds a permission, at a place or anywhere.
    async fn holders(
        &self,
        snapshot: &Snapshot,
        permission: &Permission,
        place: Option<Place>,
    ) -> Result<Vec<[String; 3]>, Trouble> {
        self.everybody(snapshot, |who| {
            let mut ways = Vec::new();
            for granted in who.permissions.iter().filter(|granted| granted.pattern.allows(permission)) {
                let counts = place.is_none_or(|place| granted.place.covers(place));
                if counts && who.active() && who.holds(permission, place.unwrap_or(granted.place)) {
                    ways.push(format!("{} at {}", granted.from, snapshot.place_words(granted.place)));
                }
            }
            (!ways.is_empty()).then(|| ways.join(", "))
        })
        .await
    }

    /// Everybody to whom an address opens, at once or after another proof.
    async fn openers(
        &self,
        snapshot: &Snapshot,
        url: &str,
        given: &Circumstances,
    ) -> Result<Vec<[String; 3]>, Trouble> {
        let asked = self.asked(url, given)?;
        let target = Target::parse(&asked.target).map_err(|_| {
            Trouble::Usage(format!("the path of {url} can be read in two ways and is always refused"))
        })?;
        let route = snapshot.locate(&asked.host, &target).map_err(|lost| crate::admin::Error::Unknown {
            kind: "route",
            name: format!("for {url}: {lost}"),
        })?;
        let request =
            Request { target: &target, method: &asked.method, address: asked.address, now: asked.now };
        self.everybody(snapshot, |who| {
            let caller = Caller { principal: who, level: &asked.level, session: nobody() };
            let found = foresee(snapshot, route, Some(caller), &request, given.ip.is_some());
            let found_out = found.otherwise.as_ref().unwrap_or(&found.verdict);
            let opens = !matches!(found_out.as_str(), "deny" | "bad-request");
            opens.then(|| verdict(&found).to_owned())
        })
        .await
    }

    /// Asks the same of everybody, newest account first.
    async fn everybody(
        &self,
        snapshot: &Snapshot,
        ask: impl Fn(&Principal) -> Option<String>,
    ) -> Result<Vec<[String; 3]>, Trouble> {
        let mut conn = self.admin.db.read().await?;
        let now = self.admin.clock.now();
        let mut filter = users::Filter::default();
        let mut rows = Vec::new();
        loop {
            let page = users::page(&mut conn, &filter, PAGE).await?;
            for user in &page {
                if let Some(who) = principal::load(&mut conn, user.id, snapshot, now).await?
                    && let Some(how) = ask(&who)
                {
                    rows.push([who.username.to_string(), who.name.to_string(), how]);
                }
            }
            match page.last() {
                Some(last) if i64::try_from(page.len()).is_ok_and(|count| count == PAGE) => {
                    filter.after = Some((last.created_at, last.id));
                }
                _ => return Ok(rows),
            }
        }
    }
}

/// Paths that a rule covers: the shortest, and one that no exact rule before it is likely to have.
fn samples(route: &Route, pattern: &PathPattern) -> Vec<String> {
    let base = if pattern.text.is_empty() { &route.spec.prefix } else { &pattern.text };
    let mut paths = vec![if base.is_empty() { "/".to_owned() } else { base.clone() }];
    if pattern.open {
        paths.push(format!("{base}/any-other-page"));
    }
    paths
}

/// The session of a question that nobody asked in a browser.
fn nobody() -> SessionId {
    SessionId::from_uuid(uuid::Uuid::nil())
}
