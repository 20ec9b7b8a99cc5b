//! What would let somebody in: commands that can be run as they stand, each giving no more than the rule asks for.

use crate::domain::{AccountKind, Permission, PermissionPattern, Place, Role, Scope, Status};

use super::engine::{Caller, is_denied};
use super::explain::{Clause, Mark};
use super::snapshot::{NeedIs, Route, Rule, Snapshot, Test, WhoIs};

/// One line for each clause that fails: what there is to do about it. All of them are needed.
pub(super) fn remedies(
    snapshot: &Snapshot,
    route: &Route,
    rule: &Rule,
    caller: Caller<'_>,
    clauses: &[Clause],
) -> Vec<String> {
    let mut asked = Asked { snapshot, caller, lines: Vec::new() };
    let failed = |kind: &str| clauses.iter().any(|clause| clause.mark == Mark::Failed && clause.kind == kind);
    if failed("account") {
        asked.account();
    }
    if failed("tenant")
        && let Some(tenant) = route.tenant
    {
        if caller.principal.belonging(tenant).is_some() {
            let slug = snapshot.place_words(Place::Tenant(tenant));
            asked.add(format!("the tenant is stopped; let it go on: cardea tenant activate {slug}"));
        } else {
            asked.join(Place::Tenant(tenant));
        }
    }
    if failed("deny") {
        let lists = [(&route.deny, &route.spec.source.0), (&rule.deny, &rule.source)];
        for (list, source) in lists {
            for who in list.iter().filter(|who| is_denied(who, caller)) {
                asked.add(format!("take {} off the list of those who may not ({source})", who.text));
            }
        }
    }
    if failed("allow") {
        asked.allow(&rule.allow);
    }
    if failed("needs")
        && let Some(need) = &rule.needs
    {
        asked.needs(need);
    }
    asked.lines
}

struct Asked<'a> {
    snapshot: &'a Snapshot,
    caller: Caller<'a>,
    lines: Vec<String>,
}

impl Asked<'_> {
    /// One more thing to do, unless the same command stands there already.
    fn add(&mut self, line: String) {
        let command = |line: &str| line.rsplit(": ").next().map(str::to_owned);
        if !self.lines.iter().any(|known| command(known) == command(&line)) {
            self.lines.push(line);
        }
    }

    fn who(&self) -> &str {
        self.caller.principal.username.as_str()
    }

    fn account(&mut self) {
        let who = self.who();
        let line = match self.caller.principal.status {
            Status::Active => format!("{who} chooses a password at the next sign-in"),
            Status::Invited => format!("{who} sets a first password by a link: cardea user link {who}"),
            Status::Inactive | Status::Suspended => format!("let {who} in again: cardea user activate {who}"),
            Status::Deleted => return,
        };
        self.add(line);
    }

    /// Membership comes first: nothing is given in a tenant to somebody outside.
    fn join(&mut self, place: Place) {
        let line = format!(
            "make {0} a member: cardea user edit {0} --join {1}",
            self.who(),
            self.snapshot.place_words(place)
        );
        self.add(line);
    }

    fn enter(&mut self, place: Place) {
        if let Some(tenant) = place.tenant()
            && self.caller.principal.belonging(tenant).is_none()
        {
            self.join(Place::Tenant(tenant));
        }
    }

    /// Any one of a list is enough: the one that brings least with it.
    fn allow(&mut self, list: &[WhoIs]) {
        let Some((_, who)) =
            list.iter().filter_map(|who| Some((self.weight(who)?, who))).min_by_key(|(weight, _)| *weight)
        else {
            return;
        };
        let name = self.who().to_owned();
        match &who.test {
            Test::Group(tenant, group) => {
                self.enter(Place::Tenant(*tenant));
                let tenant = self.snapshot.place_words(Place::Tenant(*tenant));
                self.add(format!("put {name} into the group: cardea group join {tenant}/{group} {name}"));
            }
            Test::Department(place) | Test::Org(place) => self.join(*place),
            Test::Tenant(tenant) => self.join(Place::Tenant(*tenant)),
            Test::Role(roles, at) => {
                let role = roles.iter().filter_map(|id| self.snapshot.role(*id)).find(|role| fits(role, *at));
                if let Some(slug) = role.map(|role| role.slug.clone()) {
                    self.give("the role", slug.as_str(), *at);
                }
            }
            _ => {}
        }
    }

    /// How much comes with being one of them; `None` where no command makes anybody one.
    fn weight(&self, who: &WhoIs) -> Option<usize> {
        match &who.test {
            Test::Group(..) => Some(0),
            Test::Department(_) => Some(1),
            Test::Org(_) => Some(2),
            Test::Tenant(_) => Some(3),
            Test::Role(roles, at) => {
                let mut roles = roles.iter().filter_map(|id| self.snapshot.role(*id));
                roles.any(|role| fits(role, *at)).then_some(4)
            }
            Test::Domain(_) | Test::Nothing | Test::Provider(_) | Test::SignedIn | Test::User(_) => None,
        }
    }

    /// A permission: by the smallest role that has it, or alone.
    fn needs(&mut self, need: &NeedIs) {
        let Some(at) = need.at else { return };
        let principal = self.caller.principal;
        let administers = PermissionPattern::Exactly(need.permission.clone()).administrative();
        self.enter(at);
        if administers && principal.kind != AccountKind::Admin {
            let who = self.who();
            self.add(format!(
                "only administrators have {}: cardea user edit {who} --kind admin",
                need.permission
            ));
        }
        let held =
            principal.permissions.iter().any(|it| it.place.covers(at) && it.pattern.allows(&need.permission));
        if held && administers {
            return;
        }
        let snapshot = self.snapshot;
        let mut roles: Vec<&Role> = snapshot
            .roles()
            .map(|role| &**role)
            .filter(|role| role.tenant.is_none() || role.tenant == at.tenant())
            .filter(|role| fits(role, at) && has(role, &need.permission))
            .collect();
        roles.sort_by_key(|role| (role.permissions.len(), role.tenant.is_none(), role.slug.clone()));
        match roles.first() {
            Some(role) => self.give("a role with it,", role.slug.as_str(), at),
            None => self.give("the permission alone,", &need.permission.to_string(), at),
        }
    }

    fn give(&mut self, kind: &str, what: &str, at: Place) {
        self.enter(at);
        let alone =
            |place: Place| place.tenant().is_none() || at.tenant().is_none() || place.tenant() == at.tenant();
        let exclusive = self.caller.principal.roles.iter().find(|held| {
            alone(held.place) && self.snapshot.role(held.role).is_some_and(|role| role.exclusive)
        });
        if let Some(held) = exclusive {
            let (who, place) = (self.who(), self.snapshot.place_words(held.place));
            let line = format!(
                "the role {0} stands alone; take it back: cardea role revoke {0} {who} --at {place}",
                held.slug
            );
            self.add(line);
        }
        let (who, at) = (self.who(), self.snapshot.place_words(at));
        self.add(format!("give {who} {kind} {what}: cardea role grant {what} {who} --at {at}"));
    }
}

/// Whether a role can be proposed at a place: it may be given there, takes nothing else away and opens not everything.
fn fits(role: &Role, at: Place) -> bool {
    let widest = match role.scope {
        Scope::Global => true,
        Scope::Tenant | Scope::Own => at.tenant().is_some(),
        Scope::Organization => at.org().is_some(),
        Scope::Department => at.department().is_some(),
    };
    widest && !role.exclusive && !role.permissions.contains(&PermissionPattern::Everything)
}

fn has(role: &Role, permission: &Permission) -> bool {
    role.permissions.iter().any(|pattern| pattern.allows(permission))
}
