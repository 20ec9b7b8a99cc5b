//! People: made, shown, edited, stopped, let in again, deleted.

use serde_json::{Value, json};

use crate::access::administrator::SUPER_ADMIN;
use crate::access::{Authority, Principal};
use crate::crypto::password_hash;
use crate::domain::user::Suspension;
use crate::domain::{
    AccountKind, EmailAddress, GroupId, Origin, Password, PersonName, Place, Role, RoleId, Scope, Span,
    Status, TenantId, Timestamp, User, UserId, Username,
};
use crate::store::groups::Group;
use crate::store::links::Purpose;
use crate::store::memberships::{self, Membership};
use crate::store::{audit, credentials, grants, groups, identities, links, sessions, throttles, users};

use super::work::{self, Person, Work, place_of};
use super::{Admin, Error, Given, Issued, LINK_LIFE};

/// Somebody who is to be.
#[derive(Clone)]
pub struct NewUser {
    /// What they sign in with.
    pub username: Username,
    /// How they are called.
    pub name: PersonName,
    /// Where to write to.
    pub email: Option<EmailAddress>,
    /// Admin or user.
    pub kind: AccountKind,
    /// Where they belong; nowhere for accounts of the whole system.
    pub joins: Vec<Place>,
    /// What they hold. Empty: what every member holds, and for an admin everything at the place.
    pub roles: Vec<Given>,
    /// In which groups they are.
    pub groups: Vec<GroupId>,
    /// A first password, to be changed at the first sign-in. Without one, a link is issued.
    pub password: Option<Password>,
    /// How long the link lives that hands the account over; none is issued without.
    pub handover: Option<Span>,
}

impl NewUser {
    /// Somebody with the least there can be.
    #[must_use]
    pub const fn new(username: Username, name: PersonName) -> Self {
        Self {
            username,
            name,
            email: None,
            kind: AccountKind::User,
            joins: Vec::new(),
            roles: Vec::new(),
            groups: Vec::new(),
            password: None,
            handover: Some(LINK_LIFE),
        }
    }
}

/// Somebody who was made.
pub struct Created {
    /// Who.
    pub id: UserId,
    /// The link that hands the account over.
    pub link: Option<Issued>,
    /// The roles they were given without being asked for, in words.
    pub given: Vec<String>,
}

/// What is to be different about somebody. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// How they are called.
    pub name: Option<PersonName>,
    /// Where to write to; `Some(None)` takes the address away.
    pub email: Option<Option<EmailAddress>>,
    /// Admin or user.
    pub kind: Option<AccountKind>,
}

/// Which people to list.
#[derive(Clone, Debug, Default)]
pub struct UserList {
    /// With this status.
    pub status: Option<Status>,
    /// Whose username or address contains this.
    pub like: Option<String>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// With this role.
    pub role: Option<RoleId>,
    /// After this one, in the order of the list.
    pub after: Option<(Timestamp, UserId)>,
    /// At most so many.
    pub limit: usize,
}

/// Somebody with everything about them that administrators see.
pub struct UserView {
    /// The record.
    pub user: User,
    /// The status in force.
    pub status: Status,
    /// Where they belong.
    pub memberships: Vec<Membership>,
    /// What they hold.
    pub principal: Principal,
    /// In which groups they are.
    pub groups: Vec<Group>,
    /// Whether they have a password, and since when.
    pub password_set_at: Option<Timestamp>,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
    /// How many live sessions they have.
    pub sessions: usize,
}

impl Admin {
    /// Adds somebody. Without a password the account waits, and a one-time link hands it over.
    pub async fn create_user(&self, by: &Authority, new: NewUser) -> Result<Created, Error> {
        let hash = match &new.password {
            Some(password) => {
                Some(self.hashed(password, (&new.username, &new.name), new.email.as_ref()).await?)
            }
            None => None,
        };
        let mut work = self.begin(by, "user.create").await?;
        let done = create(&mut work, &new, hash, true).await;
        work.end(done).await
    }

    /// Changes name, address or kind.
    pub async fn edit_user(&self, by: &Authority, id: UserId, edit: Edit) -> Result<(), Error> {
        let mut work = self.begin(by, "user.edit").await?;
        let done = change(&mut work, id, &edit).await;
        work.end(done).await
    }

    /// Changes somebody and where they belong, all of it or nothing: makes them a member at places, takes them out of tenants.
    pub async fn change_user(
        &self,
        by: &Authority,
        id: UserId,
        edit: &Edit,
        joins: &[Place],
        leaves: &[TenantId],
    ) -> Result<(), Error> {
        let mut work = self.begin(by, "user.edit").await?;
        let done = change_all(&mut work, id, edit, joins, leaves).await;
        work.end(done).await
    }

    /// Stops somebody, perhaps until a moment. Their sessions end and do not come back.
    pub async fn suspend_user(
        &self,
        by: &Authority,
        id: UserId,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut work = self.begin(by, "user.suspend").await?;
        let why = Suspension { by: work.who.words(), at: work.now, reason: reason.to_owned(), until };
        let done = stop(&mut work, id, Status::Suspended, Some(why)).await;
        work.end(done).await
    }

    /// Switches somebody off. Their sessions end; everything they have stays.
    pub async fn deactivate_user(&self, by: &Authority, id: UserId) -> Result<(), Error> {
        let mut work = self.begin(by, "user.deactivate").await?;
        let done = stop(&mut work, id, Status::Inactive, None).await;
        work.end(done).await
    }

    /// Lets somebody in again. Sessions of before stay ended.
    pub async fn activate_user(&self, by: &Authority, id: UserId) -> Result<Status, Error> {
        let mut work = self.begin(by, "user.activate").await?;
        let done = activate(&mut work, id).await;
        work.end(done).await
    }

    /// Deletes somebody for good. The username stays reserved, the audit log keeps its records.
    pub async fn delete_user(&self, by: &Authority, id: UserId) -> Result<(), Error> {
        let mut work = self.begin(by, "user.delete").await?;
        let done = delete(&mut work, id).await;
        work.end(done).await
    }

    /// Somebody by id, username or the address they sign in with.
    pub async fn user_named(&self, by: &Authority, text: &str) -> Result<UserId, Error> {
        let mut look = self.look(by).await?;
        let id = match (text.parse::<UserId>(), crate::domain::LoginName::parse(text)) {
            (Ok(id), _) => Some(id),
            (_, Some(crate::domain::LoginName::Username(name))) => {
                users::by_username(&mut look.conn, &name).await?.map(|user| user.id)
            }
            (_, Some(crate::domain::LoginName::Email(email))) => {
                users::by_sign_in_email(&mut look.conn, &email).await?.map(|user| user.id)
            }
            _ => None,
        };
        let nobody = || Error::unknown("user", text);
        let id = id.ok_or_else(nobody)?;
        match work::person(&mut look.conn, &look.who, id).await {
            Ok(person) => Ok(person.user.id),
            Err(Error::Unknown { .. }) => Err(nobody()),
            Err(error) => Err(error),
        }
    }

    /// Somebody, for administrators.
    pub async fn show_user(&self, by: &Authority, id: UserId) -> Result<UserView, Error> {
        let mut look = self.look(by).await?;
        let Person { user, memberships, .. } = work::person(&mut look.conn, &look.who, id).await?;
        let conn = &mut look.conn;
        let principal = crate::access::principal::load(conn, id, &look.tree, look.now).await?;
        Ok(UserView {
            status: user.status_at(look.now),
            principal: principal.ok_or_else(|| Error::unknown("user", id))?,
            groups: groups::of(conn, id).await?,
            password_set_at: credentials::password(conn, id).await?.map(|(_, at)| at),
            recovery_codes: credentials::codes_left(conn, id).await?,
            sessions: sessions::live_of(conn, id, look.now).await?.len(),
            user,
            memberships,
        })
    }

    /// People whom they may see, newest first.
    pub async fn list_users(&self, by: &Authority, list: &UserList) -> Result<Vec<User>, Error> {
        let mut look = self.look(by).await?;
        if let Some(tenant) = list.tenant {
            work::tenant(&look.tree, &look.who, tenant)?;
        }
        let mut filter = users::Filter {
            status: list.status,
            like: list.like.clone(),
            after: list.after,
            tenant: list.tenant,
            role: list.role,
        };
        let everywhere = look.who.demand("users:read", Place::Global).is_ok();
        let mut found = Vec::new();
        loop {
            let page = users::page(&mut look.conn, &filter, PAGE).await?;
            let last = page.last().map(|user| (user.created_at, user.id));
            let full = i64::try_from(page.len()).is_ok_and(|count| count == PAGE);
            for user in page {
                let seen = everywhere || {
                    let places: Vec<Place> =
                        memberships::of(&mut look.conn, user.id).await?.iter().map(place_of).collect();
                    look.who.sees(&places)
                };
                if seen {
                    found.push(user);
                }
                if found.len() == list.limit {
                    return Ok(found);
                }
            }
            if !full {
                return Ok(found);
            }
            filter.after = last;
        }
    }

    /// Everything that is known of somebody, for them or before they are deleted. No secret is in it.
    pub async fn export_user(&self, by: &Authority, id: UserId) -> Result<Value, Error> {
        let view = self.show_user(by, id).await?;
        let mut look = self.look(by).await?;
        if !look.who.boundless() {
            view.memberships
                .iter()
                .try_for_each(|membership| look.who.demand("users:read", place_of(membership)))?;
        }
        let live = sessions::live_of(&mut look.conn, id, look.now).await?;
        let own = audit::Search { actor: Some(id.to_string()), ..audit::Search::default() };
        let about = audit::Search { target: Some(id.to_string()), ..audit::Search::default() };
        let mut records = audit::find(&mut look.conn, &own, EXPORTED).await?;
        records.extend(audit::find(&mut look.conn, &about, EXPORTED).await?);
        records.sort_by_key(|record| (record.at, record.id));
        records.dedup_by_key(|record| record.id);
        let words = |place: Place| look.tree.place_words(place);
        let user = &view.user;
        Ok(json!({
            "id": user.id,
            "username": user.username,
            "name": user.name,
            "email": user.email,
            "email_verified": user.email_verified,
            "kind": user.kind,
            "status": view.status,
            "created_at": user.created_at.to_string(),
            "last_sign_in_at": user.last_sign_in_at.map(|at| at.to_string()),
            "second_factor": view.principal.enrolled,
            "memberships": view.memberships.iter().map(|it| words(place_of(it))).collect::<Vec<_>>(),
            "groups": view.principal.groups.iter()
                .map(|(tenant, slug)| format!("{}/{slug}", words(Place::Tenant(*tenant)))).collect::<Vec<_>>(),
            "roles": view.principal.roles.iter()
                .map(|held| json!({ "role": held.slug, "at": words(held.place), "origin": held.origin }))
                .collect::<Vec<_>>(),
            "permissions": view.principal.permissions.iter()
                .map(|held| json!({ "permission": held.pattern, "at": words(held.place), "from": held.from }))
                .collect::<Vec<_>>(),
            "sessions": live.iter()
                .map(|it| json!({
                    "id": it.id, "created_at": it.created_at.to_string(), "seen_at": it.seen_at.to_string(),
                    "address": it.address, "agent": it.agent, "how": it.level.words(),
                }))
                .collect::<Vec<_>>(),
            "audit": records.iter().map(super::audit_log::record_json).collect::<Vec<_>>(),
        }))
    }

    /// A password's hash, if the rules take the password.
    pub(super) async fn hashed(
        &self,
        password: &Password,
        (username, name): (&Username, &PersonName),
        email: Option<&EmailAddress>,
    ) -> Result<String, Error> {
        let policy = self.settings.policy;
        let email = email.map_or("", EmailAddress::as_str);
        let own = [username.as_str(), name.as_str(), email, self.settings.brand.as_str()];
        let broken = policy.broken(password, &own);
        if !broken.is_empty() {
            return Err(Error::Password { broken, min_length: policy.min_length.max(8) });
        }
        self.hash_anything(password).await
    }

    /// A password's hash, whatever the rules say of it: for one that must be changed before anything else.
    pub(super) async fn hash_anything(&self, password: &Password) -> Result<String, Error> {
        let (password, chance) = (password.clone(), std::sync::Arc::clone(&self.chance));
        Ok(self.hashing.run(move || password_hash::hash(&password, &*chance)).await??)
    }
}

/// How many are read at once.
const PAGE: i64 = 200;
/// How many records of the audit log an export has of each kind.
const EXPORTED: i64 = 1_000;

/// Adds somebody; `must_change` says whether the password is somebody else's choice.
pub(super) async fn create(
    work: &mut Work<'_>,
    new: &NewUser,
    hash: Option<String>,
    must_change: bool,
) -> Result<Created, Error> {
    let id = UserId::mint(work.now, &*work.admin.chance);
    work.about("user", id, new.joins.first().and_then(|place| place.tenant()));
    if new.joins.is_empty() {
        work.who.demand("users:write", Place::Global)?;
    }
    for place in &new.joins {
        work.check_place(*place)?;
        work.who.demand("users:write", *place)?;
    }
    // Also somebody who was deleted: names are not given out again.
    if users::by_username(&mut work.tx, &new.username).await?.is_some() {
        return Err(Error::UsernameTaken(new.username.to_string()));
    }
    let user = User {
        id,
        username: new.username.clone(),
        name: new.name.clone(),
        email: new.email.clone(),
        email_verified: false,
        kind: new.kind,
        status: if hash.is_some() { Status::Active } else { Status::Invited },
        suspension: None,
        must_change_password: hash.is_some() && must_change,
        last_sign_in_at: None,
        created_at: work.now,
        version: 1,
    };
    users::add(&mut work.tx, &user).await?;
    let mut person = Person { user, memberships: Vec::new(), places: vec![Place::Global] };
    for place in &new.joins {
        work.enter(&mut person, *place, &Origin::Manual).await?;
    }
    if work.judge_email(new.email.as_ref(), &person.memberships, id).await? {
        person.user.email_verified = true;
        users::edit(&mut work.tx, &person.user).await?;
    }
    let mut given = Vec::new();
    for wish in &new.roles {
        let role = work.role(wish.role)?;
        work.check_place(wish.place)?;
        work.who.demand("users:write", wish.place)?;
        work.give(&person, &role, wish.place, &Origin::Manual).await?;
    }
    if new.roles.is_empty() {
        for (role, place) in usual(work, new)? {
            if work.exclusive_held(&person, place).await?.is_none() {
                work.give(&person, &role, place, &Origin::Manual).await?;
                given.push(format!("{} at {}", role.slug, work.tree.place_words(place)));
            }
        }
    }
    for group in &new.groups {
        work.put_into(&person, *group).await?;
    }
    let link = match hash {
        Some(hash) => {
            credentials::set_password(&mut work.tx, id, &hash, work.now).await?;
            None
        }
        None => match new.handover {
            Some(life) => Some(work.issue_password_link(&person, life).await?),
            None => None,
        },
    };
    let event = work.event().with("username", &new.username).with("kind", new.kind.as_str());
    work.record(event).await?;
    Ok(Created { id, link, given })
}

/// What somebody gets for whom no role was named: a user the role of that name, an admin everything at the place.
fn usual(work: &Work<'_>, new: &NewUser) -> Result<Vec<(std::sync::Arc<Role>, Place)>, Error> {
    let admin = |place: Place| match place {
        Place::Global => SUPER_ADMIN,
        Place::Tenant(_) => "tenant-admin",
        Place::Org(..) => "org-admin",
        Place::Department(..) => "dept-admin",
    };
    match (new.kind, new.joins.is_empty()) {
        (AccountKind::User, _) => {
            let role = work.built_in("user")?;
            Ok(new
                .joins
                .iter()
                .filter_map(|place| place.tenant())
                .map(|tenant| (role.clone(), Place::Tenant(tenant)))
                .collect())
        }
        (AccountKind::Admin, true) => Ok(vec![(work.built_in(SUPER_ADMIN)?, Place::Global)]),
        (AccountKind::Admin, false) => {
            new.joins.iter().map(|place| Ok((work.built_in(admin(*place))?, *place))).collect()
        }
    }
}

async fn change_all(
    work: &mut Work<'_>,
    id: UserId,
    edit: &Edit,
    joins: &[Place],
    leaves: &[TenantId],
) -> Result<(), Error> {
    for place in joins {
        work.acts("membership.put");
        super::memberships::join(work, id, *place).await?;
    }
    for tenant in leaves {
        work.acts("membership.drop");
        super::memberships::leave(work, id, *tenant).await?;
    }
    if *edit == Edit::default() {
        return Ok(());
    }
    work.acts("user.edit");
    change(work, id, edit).await
}

async fn change(work: &mut Work<'_>, id: UserId, edit: &Edit) -> Result<(), Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.may_change(&person, "users:write").await?;
    let mut user = person.user.clone();
    let mut event = work.event();
    if let Some(name) = &edit.name {
        event = event.with("name_before", &user.name).with("name", name);
        user.name = name.clone();
    }
    if let Some(email) = &edit.email {
        let words =
            |email: &Option<EmailAddress>| email.as_ref().map_or_else(String::new, ToString::to_string);
        event = event.with("email_before", words(&user.email)).with("email", words(email));
        user.email.clone_from(email);
        user.email_verified = work.judge_email(email.as_ref(), &person.memberships, id).await?;
        identities::unclaim(&mut work.tx, id).await?;
    }
    if let Some(kind) = edit.kind {
        if kind == AccountKind::User {
            work.owns_nothing(&person)?;
        }
        event = event.with("kind_before", user.kind.as_str()).with("kind", kind.as_str());
        user.kind = kind;
    }
    if user == person.user {
        return Ok(());
    }
    users::edit(&mut work.tx, &user).await?;
    // Nobody becomes an administrator within a session that a provider's word may have begun.
    let rises = user.kind == AccountKind::Admin && person.user.kind == AccountKind::User;
    if rises && !identities::of(&mut work.tx, id).await?.is_empty() {
        let ended = work.end_sessions(id, None, "became an administrator").await?;
        event = event.with("sessions_ended", ended);
    }
    work.record(event).await
}

async fn stop(work: &mut Work<'_>, id: UserId, to: Status, why: Option<Suspension>) -> Result<(), Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.not_oneself(&person, if to == Status::Suspended { "suspend" } else { "deactivate" })?;
    work.may_change(&person, "users:write").await?;
    work.owns_nothing(&person)?;
    // The person's row first: a sign-in at the same moment comes wholly before this, and its session ends below.
    users::set_status(&mut work.tx, id, to, why.as_ref()).await?;
    links::void(&mut work.tx, Purpose::Password, Some(id), work.now).await?;
    let ended = work.end_sessions(id, None, "account stopped").await?;
    let mut event = work.event().with("sessions_ended", ended);
    if let Some(why) = why {
        event = event.with("reason", &why.reason);
        if let Some(until) = why.until {
            event = event.with("until", until);
        }
    }
    work.record(event).await
}

async fn activate(work: &mut Work<'_>, id: UserId) -> Result<Status, Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.may_change(&person, "users:write").await?;
    // Whoever never had a password goes on waiting for one.
    let never =
        credentials::password(&mut work.tx, id).await?.is_none() && person.user.last_sign_in_at.is_none();
    let to = if never { Status::Invited } else { Status::Active };
    users::set_status(&mut work.tx, id, to, None).await?;
    let event = work.event().with("status", to.as_str());
    work.record(event).await?;
    Ok(to)
}

async fn delete(work: &mut Work<'_>, id: UserId) -> Result<(), Error> {
    let person = work.person(id).await?;
    work.about("user", id, person.memberships.first().map(|it| it.tenant));
    work.not_oneself(&person, "delete")?;
    work.may_change(&person, "users:delete").await?;
    work.owns_nothing(&person)?;
    users::bury(&mut work.tx, id).await?;
    let ended = work.end_sessions(id, None, "account deleted").await?;
    let tx = &mut work.tx;
    credentials::drop_password(tx, id).await?;
    credentials::drop_factors(tx, id).await?;
    identities::drop_of(tx, id).await?;
    identities::unclaim(tx, id).await?;
    for purpose in [Purpose::Password, Purpose::Enrolment] {
        links::void(tx, purpose, Some(id), work.now).await?;
    }
    grants::revoke_everything(tx, id).await?;
    groups::leave_all(tx, id, None).await?;
    memberships::drop(tx, id, None).await?;
    throttles::forget_sources_of(tx, id).await?;
    for subject in super::links::subjects(id) {
        throttles::clear_under(tx, &subject).await?;
    }
    let event = work.event().with("username", &person.user.username).with("sessions_ended", ended);
    work.record(event).await
}

/// Where a role of a scope is given when nobody says where: at the place itself, or the part of it that fits.
#[must_use]
pub fn usual_place(scope: Scope, place: Place) -> Place {
    match (scope, place.tenant()) {
        (Scope::Global, _) | (_, None) => Place::Global,
        (Scope::Tenant | Scope::Own, Some(tenant)) => Place::Tenant(tenant),
        (Scope::Organization, Some(tenant)) => place.org().map_or(place, |org| Place::Org(tenant, org)),
        (Scope::Department, Some(_)) => place,
    }
}
