//! What an upstream learns about the person: header fields, and the assertion that proves them.
//!
//! Made as one block of bytes per session and route and kept with the session; used until half of the assertion's life is
//! gone. Nothing is signed per request.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::access::principal::Belongs;
use crate::access::{Principal, Route, Snapshot};
use crate::crypto::CryptoError;
use crate::domain::ids::Id as _;
use crate::domain::route::Fact;
use crate::domain::{
    AccountKind, EmailAddress, PermissionPattern, Place, SessionId, Span, TenantId, Timestamp,
};
use crate::session::Record;
use crate::store::tenants::Tenant;

use super::Gate;

/// The most bytes of a list in a header field, and of an assertion.
const MOST: usize = 4096;
/// How far an assertion's beginning lies back, for upstreams whose clocks are slow.
const SLOW_CLOCKS: i64 = 30;
/// What stands for itself in a name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stands for itself in an item of a list: also what places are written with.
const ITEM: &AsciiSet = &PLAIN.remove(b'@').remove(b'/').remove(b':').remove(b'*');

/// The header fields for a session on a route, as `name: value` lines.
///
/// # Errors
/// When the assertion cannot be signed.
pub(super) fn block(
    gate: &Gate,
    snapshot: &Snapshot,
    route: &Route,
    record: &Record,
    now: Timestamp,
) -> Result<Arc<[u8]>, CryptoError> {
    let key = (std::ptr::from_ref(route).addr(), snapshot.version);
    if let Some(block) = record.block(key, now) {
        return Ok(block);
    }
    let person = Person::of(snapshot, route, record, now);
    let expires = (now + route.spec.assertion_life).min(record.ends_at());
    let mut lines = String::with_capacity(2048);
    for (name, fact) in &route.spec.headers.headers {
        let value = match fact {
            Fact::Assertion => Some(person.assertion(gate, route, record, now, expires)?),
            fact => person.fact(*fact),
        };
        match value {
            Some(value) if value.len() <= MOST => line(&mut lines, name, &value),
            Some(_) if matches!(fact, Fact::Groups | Fact::GroupsPiped) => {
                line(&mut lines, "cardea-groups-truncated", "1");
            }
            Some(_) if matches!(fact, Fact::Roles) => line(&mut lines, "cardea-roles-truncated", "1"),
            Some(_) | None => {}
        }
    }
    let block: Arc<[u8]> = lines.into_bytes().into();
    record.keep_block(key, Arc::clone(&block), now + Span::millis(now.until(expires).as_millis() / 2), now);
    Ok(block)
}

/// The lines of a block.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        Some((name, value.get(2..)?))
    })
}

/// Writes a line, once, if the value is fit to stand in a header field. Whatever is not is left out: no value is better
/// than half of one.
fn line(lines: &mut String, name: &str, value: &str) {
    let fit =
        !value.is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if fit
        && name.bytes().all(token)
        && !self::lines(lines.as_bytes()).any(|(known, _)| known == name.as_bytes())
    {
        for part in [name, ": ", value, "\r\n"] {
            lines.push_str(part);
        }
    }
}

/// A person as one route's upstream may know them: with what they hold in its tenant and in the whole system, and nothing
/// of other tenants.
pub(super) struct Person<'a> {
    pub(super) principal: &'a Principal,
    record: &'a Record,
    pub(super) tenant: Option<&'a Tenant>,
    org: Option<&'a str>,
    department: Option<&'a str>,
    pub(super) groups: Vec<&'a str>,
    pub(super) roles: Vec<String>,
    permissions: Vec<String>,
}

impl<'a> Person<'a> {
    /// As seen on a route.
    pub(super) fn of(snapshot: &'a Snapshot, route: &Route, record: &'a Record, now: Timestamp) -> Self {
        let principal: &Principal = &record.principal;
        let tenant = in_force(snapshot, route, record, now);
        let id = tenant.map(|tenant| tenant.id);
        let belongs: Option<&Belongs> = id.and_then(|id| principal.belonging(id));
        let held =
            principal.roles.iter().filter(|held| held.place.tenant().is_none() || held.place.tenant() == id);
        let mut roles: Vec<String> =
            held.map(|held| format!("{}@{}", held.slug, place_text(snapshot, held.place))).collect();
        roles.sort_unstable();
        roles.dedup();
        let here = route.place.or(id.map(Place::Tenant)).unwrap_or(Place::Global);
        let given = principal.permissions.iter().filter(|granted| granted.place.covers(here));
        let mut permissions: Vec<String> = given
            .filter(|granted| counts(principal, &granted.pattern))
            .map(|granted| granted.pattern.to_string())
            .collect();
        permissions.sort_unstable();
        permissions.dedup();
        Self {
            principal,
            record,
            tenant,
            org: belongs.and_then(|b| b.org).and_then(|id| snapshot.org(id)).map(|org| org.slug.as_str()),
            department: belongs
                .and_then(|b| b.department)
                .and_then(|id| snapshot.department(id))
                .map(|department| department.slug.as_str()),
            groups: principal
                .groups
                .iter()
                .filter(|(of, _)| Some(*of) == id)
                .map(|(_, name)| name.as_str())
                .collect(),
            roles,
            permissions,
        }
    }

    /// A fact as a header field's value; `None` when there is nothing to say.
    fn fact(&self, fact: Fact) -> Option<String> {
        let list = |items: &mut dyn Iterator<Item = &str>, separator: &str| {
            items.map(|item| utf8_percent_encode(item, ITEM).to_string()).collect::<Vec<_>>().join(separator)
        };
        let email = self.principal.email.as_ref().map(ToString::to_string);
        Some(match fact {
            Fact::Assertion => return None,
            Fact::Auth => self.record.level.words(),
            Fact::Department => self.department?.to_owned(),
            Fact::Email => email?,
            Fact::GoogleEmail => format!("accounts.google.com:{}", email?),
            Fact::GoogleUser => format!("accounts.google.com:{}", self.principal.user),
            Fact::Groups => list(&mut self.groups.iter().copied(), ","),
            Fact::GroupsPiped => list(&mut self.groups.iter().copied(), "|"),
            Fact::Name => utf8_percent_encode(self.principal.name.as_str(), PLAIN).to_string(),
            Fact::Org => self.org?.to_owned(),
            Fact::Roles => list(&mut self.roles.iter().map(String::as_str), ","),
            Fact::Tenant => self.tenant?.slug.to_string(),
            Fact::User => self.principal.user.to_string(),
            Fact::Username => self.principal.username.to_string(),
        })
    }

    /// The signed assertion, at most [`MOST`] bytes: what does not fit is left out and said to be.
    fn assertion(
        &self,
        gate: &Gate,
        route: &Route,
        record: &Record,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<String, CryptoError> {
        let level = &record.level;
        let issued = now.seconds();
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| {
            if !value.is_null() {
                claims.insert(name.to_owned(), value);
            }
        };
        claim("iss", json!(gate.portal.origin));
        claim("aud", json!(route.origin));
        claim("route", json!(route.spec.name.as_str()));
        claim("sub", json!(self.principal.user.to_string()));
        claim("sid", json!(record.id.to_string()));
        claim("jti", json!(SessionId::mint(now, &*gate.chance).uuid().to_string()));
        claim("iat", json!(issued));
        claim("nbf", json!(issued - SLOW_CLOCKS));
        claim("exp", json!(expires.seconds()));
        claim("auth_time", json!(level.auth_time().seconds()));
        claim("amr", json!(level.amr()));
        claim("acr", json!(if level.second.is_some() { "aal2" } else { "aal1" }));
        claim("username", json!(self.principal.username.as_str()));
        claim("name", json!(self.principal.name.as_str()));
        claim("email", json!(self.principal.email.as_ref().map(EmailAddress::as_str)));
        claim("tenant", json!(self.tenant.map(|tenant| tenant.slug.as_str())));
        claim("org", json!(self.org));
        claim("dept", json!(self.department));
        claim("groups", json!(self.groups));
        claim("roles", json!(self.roles));
        claim("permissions", json!(self.permissions));
        let keys = gate.keys.assertion();
        // Whole lists only: half a list would be read as all there is.
        for list in ["groups", "permissions", "roles"] {
            let token = keys.current().sign(&Value::Object(claims.clone()))?;
            if token.len() <= MOST {
                return Ok(token);
            }
            claims.remove(list);
            claims.insert(format!("{list}_truncated"), json!(true));
        }
        let token = keys.current().sign(&Value::Object(claims))?;
        if token.len() <= MOST { Ok(token) } else { Err(CryptoError::Failed) }
    }
}

/// The tenant in force: the route's, or the one chosen, or the only one. Never one that the person does not belong to or
/// that is stopped.
fn in_force<'a>(
    snapshot: &'a Snapshot,
    route: &Route,
    record: &Record,
    now: Timestamp,
) -> Option<&'a Tenant> {
    let principal = &record.principal;
    let only = || match principal.memberships.as_slice() {
        [only] => Some(only.tenant),
        _ => None,
    };
    let member = |id: &TenantId| principal.belonging(*id).is_some();
    let id = route.tenant.or_else(|| record.tenant.filter(member)).or_else(only).filter(member)?;
    snapshot.tenant(id).filter(|tenant| tenant.active_at(now))
}

/// `*` is the whole system; no tenant can be called that.
fn place_text(snapshot: &Snapshot, place: Place) -> String {
    if place == Place::Global { "*".to_owned() } else { snapshot.place_words(place) }
}

/// Whether a grant counts for this kind of account. Somebody who is no administrator holds nothing of Cardea's own.
fn counts(principal: &Principal, pattern: &PermissionPattern) -> bool {
    principal.kind == AccountKind::Admin
        || *pattern == PermissionPattern::Everything
        || !pattern.administrative()
}
