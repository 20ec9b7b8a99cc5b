//! What is ours on the hosts of apps: `/.cardea/` and the keys of assertions.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::access::{Route, Snapshot};
use crate::crypto::token::{Token, handle, handle_digest};
use crate::domain::route::folded_name;
use crate::domain::session::FirstFactor;
use crate::domain::target::Target;
use crate::domain::{Actor, EmailAddress, Span, Timestamp};
use crate::session::cookie::{self, Kind};
use crate::session::{Record, ReturnTo, Spent, Visit, return_to};
use crate::ui::{self, ErrorKind, headers};

use super::answers::{Answer, ErrorText, Problem, Reply, answer, set, set_cookie};
use super::identity::Person;
use super::navigation::Wish;
use super::policy::{Known, who};
use super::view::Asked;
use super::{Gate, answers, hygiene};

/// Where our paths on the hosts of apps begin.
pub(super) const BASE: &str = "/.cardea";
/// Where the keys of assertions are, on every host.
pub(super) const KEYS: &str = "/.well-known/cardea/jwks.json";

/// Whether a path on the host of an app is ours.
pub(super) fn is_ours(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request for a path of ours on the host of an app. `route` is any of the host's: they share origin and tenant.
pub(super) async fn serve(reply: Reply<'_>, asked: &Asked<'_>, snapshot: &Snapshot, route: &Route) -> Answer {
    let get = matches!(asked.view.method, "GET" | "HEAD");
    match (asked.target.path().strip_prefix(BASE).unwrap_or_default(), asked.view.method) {
        ("/whoami", _) if get => whoami(reply, asked, snapshot, route).await,
        ("/start", _) if get => start(reply, asked, route),
        // Not HEAD: it would spend the code and show nothing.
        ("/callback", "GET") => callback(reply, asked, route).await,
        ("/sign-out", _) if get => ask_sign_out(reply, asked).await,
        ("/sign-out", "POST") => sign_out(reply, asked, route).await,
        ("/denied", _) if get => denied(reply, asked).await,
        ("/whoami" | "/start" | "/callback" | "/sign-out" | "/denied", _) => {
            let (kind, title) = (ErrorKind::MethodNotAllowed, "This address does not take that method");
            let mut answer =
                reply.error(&ErrorText { kind, code: "method-not-allowed", title, detail: None, app: None });
            set(&mut answer, "allow", "GET");
            answer
        }
        _ => not_found(reply),
    }
}

/// The public keys with which upstreams verify assertions.
pub(super) fn keys(gate: &Gate) -> Answer {
    let mut answer = answer(200, gate.keys.assertion().jwks().to_string(), &headers::DATA);
    set(&mut answer, "content-type", "application/json");
    set(&mut answer, "cache-control", "public, max-age=60");
    answer
}

/// A file that our pages load. On every host, so that no page of ours stands without it.
pub(super) fn asset(path: &str) -> Option<Answer> {
    let file = path.starts_with(ui::assets::ROUTE_BASE).then(|| ui::assets::find(path))??;
    let mut answer = answer(200, file.bytes, &headers::ASSET);
    set(&mut answer, "content-type", file.content_type);
    Some(answer)
}

/// Sends a browser to sign in, and ties what comes back to it. `path` is where it goes afterwards.
pub(super) fn to_sign_in(
    reply: Reply<'_>,
    asked: &Asked<'_>,
    route: &Route,
    path: &str,
    prompt: Prompt,
) -> Answer {
    let gate = reply.gate;
    let brought = cookie::read(asked.cookies(), Kind::Browser, gate.sessions.secure());
    let brought = brought.and_then(|text| std::str::from_utf8(text).ok()).and_then(handle_digest);
    let fresh = brought.is_none().then(|| handle(&*gate.chance));
    let browser = brought.or(fresh.as_ref().map(Token::digest)).unwrap_or_default();
    let to = |path: &str| {
        let (again, second) = (matches!(prompt, Prompt::Again), matches!(prompt, Prompt::Second(_)));
        let within = match prompt {
            Prompt::Second(fresh) => fresh,
            _ => None,
        };
        let url = format!("{}{path}", route.origin);
        let to = ReturnTo { url, browser, again, second, fresh: within, issued_at: reply.now };
        return_to::seal(&gate.keys, &to, &*gate.chance)
    };
    // An address too long to carry is worth less than a sign-in that works.
    let Some(sealed) = to(path).or_else(|| to(&format!("{}/", route.spec.prefix))) else {
        let (kind, title) = (ErrorKind::Internal, "Signing in could not be begun");
        return reply.error(&ErrorText { kind, code: "internal", title, detail: None, app: None });
    };
    let mut answer =
        reply.redirect(StatusCode::FOUND, &format!("{}/sign-in?return_to={sealed}", gate.portal.origin));
    if let Some(fresh) = fresh {
        set_cookie(gate, &mut answer, Kind::Browser, Some(fresh.expose()));
    }
    answer
}

/// What must be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// The first factor again.
    Again,
    /// A second factor, given less than so long ago.
    Second(Option<Span>),
    /// Who it is.
    SignIn,
}

/// A parameter of the query, if it stands there once.
fn parameter(asked: &Asked<'_>, name: &str) -> Option<String> {
    let query = asked.target.query()?;
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}

fn start(reply: Reply<'_>, asked: &Asked<'_>, route: &Route) -> Answer {
    if reply.wish != Wish::Navigation {
        return reply.unauthorized(&route.origin, "sign-in", None);
    }
    let path = wanted(asked).unwrap_or_else(|| "/".to_owned());
    to_sign_in(reply, asked, route, &path, Prompt::SignIn)
}

/// The page of this host that is to be opened afterwards: nothing of ours, and nothing that leads elsewhere.
fn wanted(asked: &Asked<'_>) -> Option<String> {
    let to = parameter(asked, "to")?;
    let target = Target::parse(&to).ok()?;
    (!is_ours(target.path())).then(|| target.forwarded().into_owned())
}

/// Where to sign in again on this host, on the way to a page of it.
pub(super) fn start_again(path: Option<&str>) -> String {
    let to: String = match path {
        Some(path) => form_urlencoded::byte_serialize(path.as_bytes()).collect(),
        None => "/".to_owned(),
    };
    format!("{BASE}/start?to={to}")
}

async fn callback(reply: Reply<'_>, asked: &Asked<'_>, route: &Route) -> Answer {
    let gate = reply.gate;
    let browser = cookie::read(asked.cookies(), Kind::Browser, gate.sessions.secure());
    let browser = browser.and_then(|text| std::str::from_utf8(text).ok()).and_then(handle_digest);
    let code = parameter(asked, "code").unwrap_or_default();
    let (sessions, chance, host) =
        (Arc::clone(&gate.sessions), Arc::clone(&gate.chance), asked.host.clone().into_owned());
    let visit = visitor(asked, reply.now);
    let redeemed = gate.control.run(async move {
        let visit = Visit { address: visit.address, agent: &visit.agent, now: visit.now, chance: &*chance };
        sessions.redeem(&code, &host, browser, &visit).await
    });
    let retry = start_again(None);
    let mut answer = match redeemed.await {
        Ok(Ok(redeemed)) => {
            // Always with the origin before it: a path of two slashes would be another host.
            let path = Some(redeemed.return_to.as_str()).filter(|path| path.starts_with('/')).unwrap_or("/");
            let mut answer = reply.redirect(StatusCode::SEE_OTHER, &format!("{}{path}", route.origin));
            set_cookie(gate, &mut answer, Kind::Session, Some(redeemed.token.expose()));
            answer
        }
        Ok(Err(Spent::NoCookie)) => {
            let page =
                ui::CookiesRefused { frame: reply.frame(), host: asked.host.to_string(), retry_href: retry };
            reply.page(400, page.render())
        }
        Ok(Err(Spent::Stale)) => {
            reply.page(400, ui::StartAgain { frame: reply.frame(), href: retry }.render())
        }
        Ok(Err(Spent::Db(error))) => {
            tracing::warn!(%error, "a hand-off could not be redeemed");
            reply.unavailable()
        }
        Err(gone) => {
            tracing::warn!(%gone, "a hand-off could not be redeemed");
            reply.unavailable()
        }
    };
    set(&mut answer, headers::NO_REFERRER.0, headers::NO_REFERRER.1);
    answer
}

/// The circumstances of a request, owned, for work that outlives it.
struct Visitor {
    address: std::net::IpAddr,
    agent: String,
    now: Timestamp,
}

fn visitor(asked: &Asked<'_>, now: Timestamp) -> Visitor {
    let agent = asked.view.single("user-agent").unwrap_or_default().to_owned();
    Visitor { address: asked.address, agent, now }
}

async fn whoami(reply: Reply<'_>, asked: &Asked<'_>, snapshot: &Snapshot, route: &Route) -> Answer {
    let sign_in = format!("{}{BASE}/start?to=/", route.origin);
    let record = match who(reply.gate, asked, reply.now).await {
        Known::Person(record) => record,
        Known::Unknowable => return reply.unavailable(),
        Known::Nobody => {
            return reply.problem(&Problem {
                status: 401,
                code: "sign-in",
                title: "Nobody is signed in",
                detail: "Open sign_in_url in a browser to sign in.",
                more: &[("signed_in", json!(false)), ("sign_in_url", json!(sign_in))],
            });
        }
    };
    let person = Person::of(snapshot, route, &record, reply.now);
    let document = json!({
        "signed_in": true,
        "user": person.principal.user.to_string(),
        "username": person.principal.username.as_str(),
        "name": person.principal.name.as_str(),
        "email": person.principal.email.as_ref().map(EmailAddress::as_str),
        "tenant": person.tenant.map(|tenant| tenant.slug.as_str()),
        "roles": person.roles,
        "groups": person.groups,
        "expires_at": record.ends_at().to_string(),
        "sign_in_url": sign_in,
    });
    reply.data(200, "application/json", &document)
}

async fn ask_sign_out(reply: Reply<'_>, asked: &Asked<'_>) -> Answer {
    match who(reply.gate, asked, reply.now).await {
        // Who came from a provider may want to sign out there as well. The portal knows it, and asks.
        Known::Person(record) if matches!(record.level.first, FirstFactor::Provider(_)) => {
            reply.redirect(StatusCode::SEE_OTHER, &format!("{}/sign-out", reply.gate.portal.origin))
        }
        Known::Person(record) => {
            let page = ui::SignOut {
                frame: reply.frame(),
                action: format!("{BASE}/sign-out"),
                identity: record.principal.username.to_string(),
                cancel_href: "/".to_owned(),
                return_to: None,
                provider: None,
            };
            reply.page(200, page.render())
        }
        // A page and no redirect: browsers do not let a form's answer lead to another host. Whoever only makes room for
        // another account is led on; everybody else has arrived.
        Known::Nobody => {
            let (frame, path) = (reply.frame(), wanted(asked));
            let href = start_again(path.as_deref());
            let page = if path.is_some() {
                ui::Continue { frame, to: "the sign-in".to_owned(), href }.render()
            } else if parameter(asked, "done").is_some() {
                ui::SignedOut { frame, sign_in_href: href, ..ui::SignedOut::default() }.render()
            } else {
                // This host knows nobody; the portal may. It asks, or says that it is over.
                let portal = &reply.gate.portal;
                let (to, href) = (portal.product_name.clone(), format!("{}/signed-out", portal.origin));
                ui::Continue { frame, to, href }.render()
            };
            reply.page(200, page)
        }
        Known::Unknowable => reply.unavailable(),
    }
}

async fn sign_out(reply: Reply<'_>, asked: &Asked<'_>, route: &Route) -> Answer {
    if !from_here(asked, route) {
        let (kind, title) = (ErrorKind::ForeignForm, "This must be sent from a page of this host");
        return reply.error(&ErrorText { kind, code: "foreign-form", title, detail: None, app: None });
    }
    let gate = reply.gate;
    match who(gate, asked, reply.now).await {
        Known::Unknowable => return reply.unavailable(),
        Known::Nobody => {}
        Known::Person(record) => {
            let (sessions, chance) = (Arc::clone(&gate.sessions), Arc::clone(&gate.chance));
            let (session, user) = (record.id, record.principal.user);
            let visit = visitor(asked, reply.now);
            let ended = gate.control.run(async move {
                let visit =
                    Visit { address: visit.address, agent: &visit.agent, now: visit.now, chance: &*chance };
                sessions.end(session, Actor::User(user), "signed out", &visit).await
            });
            if !matches!(ended.await, Ok(Ok(()))) {
                return reply.unavailable();
            }
        }
    }
    // A page asks again with GET and is then led on; a program has what it wanted.
    let to = match wanted(asked) {
        Some(path) => format!("?to={}", form_urlencoded::byte_serialize(path.as_bytes()).collect::<String>()),
        None => "?done=1".to_owned(),
    };
    let mut answer = if reply.wish.page() {
        reply.redirect(StatusCode::SEE_OTHER, &format!("{}{BASE}/sign-out{to}", route.origin))
    } else {
        let mut answer = answer(204, "", &headers::DATA);
        set(&mut answer, headers::NO_STORE.0, headers::NO_STORE.1);
        answer
    };
    set_cookie(gate, &mut answer, Kind::Session, None);
    answer
}

/// Whether a request was sent by a page of the same origin. Browsers say so in one or both of two ways.
fn from_here(asked: &Asked<'_>, route: &Route) -> bool {
    let origin = asked
        .view
        .values("origin")
        .next()
        .map(|_| asked.view.single("origin") == Some(route.origin.as_str()));
    let site = asked
        .view
        .values("sec-fetch-site")
        .next()
        .map(|_| asked.view.single("sec-fetch-site") == Some("same-origin"));
    match (origin, site) {
        (None, None) => false,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    }
}

async fn denied(reply: Reply<'_>, asked: &Asked<'_>) -> Answer {
    let record = match who(reply.gate, asked, reply.now).await {
        Known::Person(record) => record,
        Known::Nobody => return not_found(reply),
        Known::Unknowable => return reply.unavailable(),
    };
    let reference = parameter(asked, "d").unwrap_or_default();
    match reply.gate.refusals.find(&reference, record.id) {
        Some(refusal) => reply.page(403, denied_page(reply, &refusal, Some(&record))),
        None => not_found(reply),
    }
}

/// The page about a refusal.
pub(super) fn denied_page(
    reply: Reply<'_>,
    refusal: &super::refusals::Refusal,
    record: Option<&Record>,
) -> String {
    let to: String = form_urlencoded::byte_serialize(refusal.path.as_bytes()).collect();
    ui::Denied {
        frame: reply.frame(),
        app: refusal.app.clone(),
        identity: record.map(|record| record.principal.username.to_string()),
        identity_detail: None,
        clauses: refusal.clauses.clone(),
        help: refusal.help.clone(),
        switch: record.map(|_| ui::Action::Post { action: format!("{BASE}/sign-out?to={to}") }),
        apps_href: record.map(|_| format!("{}/apps", reply.gate.portal.origin)),
        reference: refusal.reference.clone(),
        at: answers::moment(refusal.at),
    }
    .render()
}

pub(super) fn not_found(reply: Reply<'_>) -> Answer {
    let (kind, title) = (ErrorKind::NotFound, "There is no page at this address");
    reply.error(&ErrorText { kind, code: "not-found", title, detail: None, app: None })
}

/// Whether a field of a request to the portal is left away: nobody behind it may believe it by mistake.
pub(super) fn hidden_from_portal(name: &str) -> bool {
    let folded = folded_name(name.as_bytes());
    hygiene::ours(&folded) && !matches!(folded.as_str(), "host" | "content-length")
}
