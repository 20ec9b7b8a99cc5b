//! A piece of work in hand: who asks, the transaction, the tree as it stands in that transaction.
//!
//! Rights are judged on what the transaction reads and not on what some memory holds: an administrator who was demoted
//! while the request was under way is refused. All such work takes one lock first, so that rules over several rows (the
//! last administrator, exclusive roles) see one another's changes also on PostgreSQL.

use std::sync::Arc;

use crate::access::snapshot::Rules;
use crate::access::{Authority, NotAllowed, Principal, Snapshot, principal};
use crate::domain::{
    Actor, AuditEvent, OrgId, Outcome, PermissionPattern, Place, Role, RoleId, SessionId, Slug, TenantId,
    Timestamp, User, UserId,
};
use crate::store::groups::Group;
use crate::store::memberships::Membership;
use crate::store::tenants::Tenant;
use crate::store::{Conn, Tx, audit, memberships, sessions, tree, users};

use super::{Admin, Error};

/// The lock that everything takes which the set-up link takes too.
const LOCK: &str = "administrators";

/// Who asks, as they were when they asked and as they are now. Both must be allowed.
pub(super) struct Asker {
    asked: Authority,
    now: Option<Authority>,
}

impl Asker {
    async fn read(conn: &mut Conn, by: &Authority, tree: &Snapshot, now: Timestamp) -> Result<Self, Error> {
        let now = match by.actor() {
            Actor::User(user) => {
                let gone = || NotAllowed { permission: "console:access".to_owned() };
                let who = principal::load(conn, user, tree, now).await?.ok_or_else(gone)?;
                Some(Authority::of(Arc::new(who)))
            }
            Actor::Anonymous | Actor::Operator(_) | Actor::System => None,
        };
        Ok(Self { asked: by.clone(), now })
    }

    fn each(&self) -> impl Iterator<Item = &Authority> {
        std::iter::once(&self.asked).chain(&self.now)
    }

    /// Whether they hold the permission at the place.
    pub(super) fn demand(&self, permission: &str, at: Place) -> Result<(), Error> {
        self.each().try_for_each(|who| who.demand(permission, at)).map_err(Error::from)
    }

    /// Whether they hold all of these themselves.
    #[expect(clippy::needless_pass_by_value, reason = "it is gone through once for each side")]
    pub(super) fn covers<'p>(
        &self,
        permissions: impl IntoIterator<Item = (&'p PermissionPattern, Place)> + Clone,
    ) -> Result<(), Error> {
        self.each().try_for_each(|who| who.covers(permissions.clone())).map_err(Error::from)
    }

    /// Nobody in particular: the operator or Cardea itself.
    pub(super) const fn boundless(&self) -> bool {
        self.now.is_none()
    }

    /// The person, if it is one.
    pub(super) fn person(&self) -> Option<UserId> {
        self.now.as_ref().and_then(|who| who.principal()).map(|who| who.user)
    }

    /// Whether it is this person.
    pub(super) fn is(&self, user: UserId) -> bool {
        self.asked.is(user)
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        self.asked.words()
    }

    /// For the audit log: by whom, in which session, from where.
    fn event(&self, action: &'static str, outcome: Outcome) -> AuditEvent {
        let (session, address) = self.asked.whence();
        let event = AuditEvent::new(self.asked.actor(), action, outcome).from(address);
        match session {
            Some(session) => event.session(session),
            None => event,
        }
    }

    /// Whether they may know that a tenant exists: they belong to it or hold something in it.
    pub(super) fn knows(&self, tenant: TenantId) -> bool {
        self.each().filter_map(|who| who.principal()).all(|who| {
            let held = |place: Place| place.covers(Place::Tenant(tenant)) || place.tenant() == Some(tenant);
            who.belonging(tenant).is_some() || who.permissions.iter().any(|granted| held(granted.place))
        })
    }

    /// Whether they may see somebody who belongs to these places.
    pub(super) fn sees(&self, places: &[Place]) -> bool {
        places.iter().any(|place| self.demand("users:read", *place).is_ok())
    }
}

/// Reading, with rights.
pub(super) struct Look {
    pub(super) conn: Conn,
    pub(super) tree: Snapshot,
    pub(super) groups: Vec<Group>,
    pub(super) who: Asker,
    pub(super) now: Timestamp,
}

/// Changing, with rights.
pub(super) struct Work<'a> {
    pub(super) admin: &'a Admin,
    pub(super) tx: Tx,
    pub(super) tree: Snapshot,
    pub(super) groups: Vec<Group>,
    pub(super) who: Asker,
    pub(super) now: Timestamp,
    action: &'static str,
    target: Option<(&'static str, String)>,
    tenant: Option<TenantId>,
    /// Who could administer everything when the work began.
    administrators: Vec<UserId>,
}

/// The tree without routes: names, places, roles.
pub(super) async fn read_tree(conn: &mut Conn) -> Result<(Snapshot, Vec<Group>), Error> {
    let mut tree = tree::load(conn).await?;
    let groups = std::mem::take(&mut tree.groups);
    Ok((Snapshot::compile(0, tree, &[], &Rules::default()), groups))
}

impl Admin {
    /// Begins to read for somebody.
    pub(super) async fn look(&self, by: &Authority) -> Result<Look, Error> {
        let now = self.clock.now();
        let mut conn = self.db.read().await?;
        let (tree, groups) = read_tree(&mut conn).await?;
        let who = Asker::read(&mut conn, by, &tree, now).await?;
        Ok(Look { conn, tree, groups, who, now })
    }

    /// Begins a change for somebody; `action` is its name in the audit log.
    pub(super) async fn begin(&self, by: &Authority, action: &'static str) -> Result<Work<'_>, Error> {
        let mut tx = self.db.begin().await?;
        tx.lock(LOCK).await?;
        // Not before: whoever waited for the lock would leave a record that is older than those of whoever went first.
        let now = self.clock.now();
        let (tree, groups) = read_tree(&mut tx).await?;
        let who = Asker::read(&mut tx, by, &tree, now).await?;
        let administrators = super::administrators::usable(&mut tx, &tree, now).await?;
        Ok(Work {
            admin: self,
            tx,
            tree,
            groups,
            who,
            now,
            action,
            target: None,
            tenant: None,
            administrators,
        })
    }
}

impl Work<'_> {
    /// Says what it is about, for the record.
    #[expect(clippy::needless_pass_by_value, reason = "ids of every kind, said where they stand")]
    pub(super) fn about(&mut self, kind: &'static str, id: impl ToString, tenant: Option<TenantId>) {
        self.target = Some((kind, id.to_string()));
        self.tenant = tenant;
    }

    /// Says what comes next, where one piece of work does several things; each leaves a record of its own name.
    pub(super) const fn acts(&mut self, action: &'static str) {
        self.action = action;
    }

    /// The record that this work will leave, to be filled in.
    pub(super) fn event(&self) -> AuditEvent {
        self.event_of(Outcome::Done)
    }

    fn event_of(&self, outcome: Outcome) -> AuditEvent {
        let event = self.who.event(self.action, outcome).within(self.tenant);
        match &self.target {
            Some((kind, id)) => event.on(kind, id),
            None => event,
        }
    }

    /// A further record: something that followed from the work.
    pub(super) fn event_named(&self, action: &'static str, outcome: Outcome) -> AuditEvent {
        self.who.event(action, outcome).within(self.tenant)
    }

    /// Writes a record into the transaction.
    pub(super) async fn record(&mut self, event: AuditEvent) -> Result<(), Error> {
        audit::write(&mut self.tx, &event, self.now, &*self.admin.chance).await.map_err(Error::from)
    }

    /// Commits what was done, or drops it and leaves word of the refusal.
    pub(super) async fn end<T>(mut self, done: Result<T, Error>) -> Result<T, Error> {
        let done = match done {
            Ok(value) => self.keeps_an_administrator().await.map(|()| value),
            Err(error) => Err(error),
        };
        match done {
            Ok(value) => {
                self.tx.commit(self.now).await?;
                Ok(value)
            }
            Err(error) => {
                let outcome = if error.refused() { Outcome::Refused } else { Outcome::Failed };
                if !matches!(error, Error::Db(_)) {
                    self.admin.ledger.leave(self.event_of(outcome).with("code", error.code()));
                }
                Err(error)
            }
        }
    }

    /// Whatever the work was: somebody who could administer everything is left, if there was anybody (`TENANT-08`).
    async fn keeps_an_administrator(&mut self) -> Result<(), Error> {
        let Some(last) = self.administrators.first().copied() else { return Ok(()) };
        if !super::administrators::usable(&mut self.tx, &self.tree, self.now).await?.is_empty() {
            return Ok(());
        }
        let name = users::by_id(&mut self.tx, last).await?.map(|user| user.username.to_string());
        Err(Error::LastAdmin(name.unwrap_or_else(|| last.to_string())))
    }

    /// Who could administer everything when the work began.
    pub(super) fn administrators(&self) -> &[UserId] {
        &self.administrators
    }

    /// Somebody whom they may see, with where they belong.
    pub(super) async fn person(&mut self, id: UserId) -> Result<Person, Error> {
        person(&mut self.tx, &self.who, id).await
    }

    /// Somebody with everything they hold.
    pub(super) async fn principal(&mut self, id: UserId) -> Result<Principal, Error> {
        let who = principal::load(&mut self.tx, id, &self.tree, self.now).await?;
        who.ok_or_else(|| Error::unknown("user", id))
    }

    /// Whether they may change somebody as a whole: the permission wherever the person belongs, and nothing held that
    /// they lack themselves (`TENANT-06`, `TENANT-07`).
    pub(super) async fn may_change(&mut self, person: &Person, permission: &str) -> Result<(), Error> {
        if self.who.boundless() {
            return Ok(());
        }
        person.places.iter().try_for_each(|place| self.who.demand(permission, *place))?;
        let holds = self.principal(person.user.id).await?;
        self.who.covers(holds.permissions.iter().map(|granted| (&granted.pattern, granted.place)))
    }

    /// Ends every session of somebody; how many.
    pub(super) async fn end_sessions(
        &mut self,
        user: UserId,
        except: Option<SessionId>,
        why: &str,
    ) -> Result<usize, Error> {
        sessions::end_of(&mut self.tx, user, except, why, self.now).await.map_err(Error::from)
    }

    /// A tenant that they may know of.
    pub(super) fn tenant(&self, id: TenantId) -> Result<Tenant, Error> {
        tenant(&self.tree, &self.who, id)
    }

    /// A role that they may know of.
    pub(super) fn role(&self, id: RoleId) -> Result<Arc<Role>, Error> {
        role(&self.tree, &self.who, id)
    }

    /// A place that exists and of which they may know.
    pub(super) fn check_place(&self, place: Place) -> Result<(), Error> {
        check_place(&self.tree, &self.who, place)
    }

    /// The built-in role of that name.
    pub(super) fn built_in(&self, slug: &'static str) -> Result<Arc<Role>, Error> {
        self.tree.role_named(None, slug).map(Arc::clone).ok_or_else(|| Error::unknown("role", slug))
    }
}

/// Somebody, and where they belong.
pub(super) struct Person {
    /// The record.
    pub(super) user: User,
    /// Memberships.
    pub(super) memberships: Vec<Membership>,
    /// The narrowest place of each membership; the whole system for whoever belongs nowhere.
    pub(super) places: Vec<Place>,
}

impl Person {
    /// As what they are named in messages.
    pub(super) fn name(&self) -> String {
        self.user.username.to_string()
    }
}

/// The narrowest place that a membership names.
pub(super) fn place_of(membership: &Membership) -> Place {
    match (membership.org, membership.department) {
        (Some(org), Some(department)) => Place::Department(membership.tenant, org, department),
        (Some(org), None) => Place::Org(membership.tenant, org),
        (None, _) => Place::Tenant(membership.tenant),
    }
}

/// Somebody whom they may see; for anybody else, nobody (`TENANT-01`).
pub(super) async fn person(conn: &mut Conn, who: &Asker, id: UserId) -> Result<Person, Error> {
    let nobody = || Error::unknown("user", id);
    let user = users::by_id(conn, id).await?.ok_or_else(nobody)?;
    let memberships = memberships::of(conn, id).await?;
    let mut places: Vec<Place> = memberships.iter().map(place_of).collect();
    if places.is_empty() {
        places.push(Place::Global);
    }
    if user.status == crate::domain::Status::Deleted || !(who.is(id) || who.sees(&places)) {
        return Err(nobody());
    }
    Ok(Person { user, memberships, places })
}

/// A tenant that they may know of.
pub(super) fn tenant(tree: &Snapshot, who: &Asker, id: TenantId) -> Result<Tenant, Error> {
    tree.tenant(id).filter(|_| who.knows(id)).cloned().ok_or_else(|| Error::unknown("tenant", id))
}

/// A role that they may know of: a system-wide one, or one of a tenant that they know.
pub(super) fn role(tree: &Snapshot, who: &Asker, id: RoleId) -> Result<Arc<Role>, Error> {
    let known = |role: &&Arc<Role>| role.tenant.is_none_or(|tenant| who.knows(tenant));
    tree.role(id).filter(known).map(Arc::clone).ok_or_else(|| Error::unknown("role", id))
}

/// Whether every level of a place exists and lies in the one above.
pub(super) fn check_place(tree: &Snapshot, who: &Asker, place: Place) -> Result<(), Error> {
    let Some(id) = place.tenant() else { return Ok(()) };
    tenant(tree, who, id)?;
    let org_fits = |org: OrgId| tree.org(org).is_some_and(|org| org.tenant == id);
    if let Some(org) = place.org()
        && !org_fits(org)
    {
        return Err(Error::unknown("organisation", org));
    }
    if let Some(department) = place.department()
        && tree.department(department).is_none_or(|it| Some(it.org) != place.org())
    {
        return Err(Error::unknown("department", department));
    }
    Ok(())
}

/// A tenant by slug or id, as people write it.
pub(super) fn tenant_named(tree: &Snapshot, who: &Asker, text: &str) -> Result<TenantId, Error> {
    let id = match text.parse::<TenantId>() {
        Ok(id) => Some(id),
        Err(_) => Slug::parse(text).ok().and_then(|slug| tree.tenant_named(&slug)).map(|tenant| tenant.id),
    };
    id.and_then(|id| tenant(tree, who, id).ok())
        .map(|tenant| tenant.id)
        .ok_or_else(|| Error::unknown("tenant", text))
}
