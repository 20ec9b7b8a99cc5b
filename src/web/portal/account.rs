//! Somebody's own account and sessions.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;

use super::{factors, moment};
use crate::domain::session::{FirstFactor, SecondFactor};
use crate::domain::{Level, SessionId};
use crate::session::Record;
use crate::signin::Tie;
use crate::store::{credentials, sessions as store};
use crate::ui::{Account, LinkedProvider, Notice, SessionRow, Sessions};
use crate::web::form::Posted;
use crate::web::here::{Here, SignedIn};
use crate::web::reply::{self, Failure};

/// Where a message for the next page is kept.
const NOTICE: &str = "notice";

/// Leaves a message for the next page. It is a courtesy: that it could not be kept is not worth an error page.
pub(super) async fn tell(here: &Here, record: &Record, text: &str) {
    if let Err(error) = tell_inner(here, record, text).await {
        tracing::warn!(%error, "a message for the next page could not be kept");
    }
}

async fn tell_inner(here: &Here, record: &Record, text: &str) -> Result<(), tower_sessions::session::Error> {
    let session = here.web.store.handle(record.id);
    session.insert(NOTICE, text).await?;
    session.save().await
}

/// Takes the message that was left.
pub(super) async fn told(here: &Here, record: &Record) -> Option<Notice> {
    let session = here.web.store.handle(record.id);
    let text: Option<String> = session.remove(NOTICE).await.ok()?;
    let text = text?;
    session.save().await.ok()?;
    Some(Notice::ok(text))
}

/// Who somebody is, and how they sign in.
pub(in crate::web) async fn overview(SignedIn(here, record): SignedIn) -> Response {
    overview_inner(&here, &record).await.unwrap_or_else(|failure| failure.reply(&here))
}

async fn overview_inner(here: &Here, record: &Record) -> Result<Response, Failure> {
    let who = &record.principal;
    let mut conn = here.web.sessions.db().read().await?;
    let password = credentials::password(&mut conn, who.user).await?;
    let factor = credentials::factor(&mut conn, who.user).await?;
    let recovery_left = match &factor {
        Some(_) if here.web.signin.settings.recovery => {
            Some(u32::try_from(credentials::codes_left(&mut conn, who.user).await?).unwrap_or_default())
        }
        _ => None,
    };
    let live = store::live_of(&mut conn, who.user, here.now).await?;
    let user = crate::store::users::by_id(&mut conn, who.user).await?.ok_or(Failure::Stale)?;
    drop(conn);
    let linked = |tie: Tie| LinkedProvider {
        label: tie.label,
        name: tie.provider.to_string(),
        since: tie.since.map(moment),
    };
    let ties = here.web.signin.ties(who, &here.visit()).await?;
    let page = Account {
        frame: here.frame_of(record),
        name: who.name.to_string(),
        username: who.username.to_string(),
        email: user.email.map(|email| email.to_string()),
        email_verified: user.email_verified,
        managed_by: None,
        memberships: memberships(here, record),
        password_changed: password.as_ref().map(|(_, at)| moment(*at)),
        has_password: password.is_some(),
        totp_since: factor.map(|factor| moment(factor.created_at)),
        totp_offered: factors::offered(here),
        totp_removable: factors::removable(here, record),
        recovery_left,
        providers: ties.into_iter().map(linked).collect(),
        sessions: u32::try_from(live.len()).unwrap_or_default(),
        notice: told(here, record).await,
    };
    Ok(reply::ok(page.render()))
}

/// Each tenant with the roles held in it.
fn memberships(here: &Here, record: &Record) -> Vec<(String, String)> {
    let snapshot = here.web.snapshot.load();
    let mut by_tenant: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for belongs in &record.principal.memberships {
        let name = snapshot.tenant(belongs.tenant).map_or_else(String::new, |tenant| tenant.name.clone());
        by_tenant.entry(name).or_default();
    }
    for held in &record.principal.roles {
        let place = match held.place.tenant() {
            Some(tenant) => snapshot.tenant(tenant).map_or_else(String::new, |tenant| tenant.name.clone()),
            None => "Everywhere".to_owned(),
        };
        let name = snapshot.role(held.role).map_or_else(|| held.slug.to_string(), |role| role.name.clone());
        by_tenant.entry(place).or_default().push(name);
    }
    by_tenant.into_iter().map(|(tenant, roles)| (tenant, roles.join(", "))).collect()
}

/// Somebody's own sessions.
pub(in crate::web) async fn sessions(SignedIn(here, record): SignedIn) -> Response {
    sessions_inner(&here, &record).await.unwrap_or_else(|failure| failure.reply(&here))
}

async fn sessions_inner(here: &Here, record: &Record) -> Result<Response, Failure> {
    let mut conn = here.web.sessions.db().read().await?;
    let snapshot = here.web.snapshot.load_full();
    let mut rows = Vec::new();
    for session in store::live_of(&mut conn, record.principal.user, here.now).await? {
        let hosts = store::hosts(&mut conn, session.id).await?;
        let mut apps: Vec<String> = snapshot
            .routes()
            .iter()
            .filter(|route| hosts.iter().any(|host| host == route.spec.host.as_str()))
            .map(|route| route.spec.title.clone())
            .collect();
        apps.dedup();
        rows.push(SessionRow {
            id: session.id.to_string(),
            browser: browser(&session.agent),
            address: session.address,
            method: method(&session.level),
            apps,
            started: moment(session.created_at),
            last_seen: moment(session.seen_at),
            current: session.id == record.id,
        });
    }
    rows.sort_by_key(|row| !row.current);
    drop(conn);
    let notice = told(here, record).await;
    Ok(reply::ok(Sessions { frame: here.frame_of(record), rows, notice }.render()))
}

/// How somebody signed in, in words.
fn method(level: &Level) -> String {
    let first = match &level.first {
        FirstFactor::Password => "Password".to_owned(),
        FirstFactor::Provider(name) => name.split_once(':').map_or(&**name, |(_, name)| name).to_owned(),
    };
    match level.second {
        None => first,
        Some((SecondFactor::Provider, _)) => format!("{first} and a second factor there"),
        Some((SecondFactor::Recovery, _)) => format!("{first} and recovery code"),
        Some((SecondFactor::Totp, _)) => format!("{first} and code"),
    }
}

/// A browser and a system in a few words.
fn browser(agent: &str) -> String {
    let find = |names: &[(&str, &str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| (*name).to_owned())
    };
    let program = find(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = find(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) if agent.is_empty() => "Unknown program".into(),
        (None, None) => agent.chars().take(60).collect(),
    }
}

/// Ends one of somebody's own sessions.
pub(in crate::web) async fn revoke(Path(id): Path<String>, form: Posted) -> Response {
    let here = &form.here;
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    revoke_inner(here, &record, &id).await.unwrap_or_else(|failure| failure.reply(here))
}

async fn revoke_inner(here: &Here, record: &Record, id: &str) -> Result<Response, Failure> {
    let Ok(id) = id.parse::<SessionId>() else { return Ok(reply::see("/me/sessions")) };
    let found = store::by_id(&mut here.web.sessions.db().read().await?, id).await?;
    // Somebody else's is as good as unknown.
    if found.is_some_and(|session| session.user == record.principal.user) {
        here.web.sessions.end(id, here.actor(), "signed out by the person", &here.visit()).await?;
        tell(here, record, "That session is signed out.").await;
    }
    Ok(reply::see("/me/sessions"))
}

/// Ends all of somebody's own sessions but this one.
pub(in crate::web) async fn revoke_others(form: Posted) -> Response {
    let here = &form.here;
    let Some(record) = here.record.clone() else { return reply::see("/sign-in") };
    let why = "signed out by the person";
    match here.web.sessions.end_of(record.principal.user, Some(record.id), why, &here.visit()).await {
        Ok(_) => {
            tell(here, &record, "Every other session is signed out.").await;
            reply::see("/me/sessions")
        }
        Err(error) => Failure::Db(error).reply(here),
    }
}
