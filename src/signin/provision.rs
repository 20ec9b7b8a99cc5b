//! Accounts of people whom a provider vouches for: found, linked, made, and brought into line with what it says.
//!
//! An account belongs to a provider and its subject (`OIDC-24`). Names and addresses are what the provider says today; they
//! open no account, but for one case: an address that the provider has verified, in a domain that a tenant has verified and
//! that the provider was declared to speak for (`OIDC-23`). What its rules give carries its name and is replaced at each
//! sign-in; what was given by hand stays.

use crate::access::{Snapshot, principal};
use crate::domain::provider::{Claims, Gift, Provider, Provision};
use crate::domain::{
    AccountKind, Actor, AssignmentId, AuditEvent, EmailAddress, Origin, Outcome, PersonName, Place, Role,
    Scope, Slug, Status, TenantId, User, UserId, Username,
};
use crate::federation::Identity;
use crate::session::Visit;
use crate::store::grants::{self, Assignment};
use crate::store::groups::{self, Group};
use crate::store::identities;
use crate::store::memberships::{self, Membership};
use crate::store::{Tx, audit, users};

use super::federated::Halt;
use super::{SignIn, SignInError};

/// An account in line with what its provider says.
pub(super) struct Settled {
    pub(super) user: UserId,
    /// Why the provider does not bring them in: the check, and what was found. They have nothing from it any more.
    pub(super) refused: Option<(&'static str, String)>,
    /// `known`, `linked` or `made`.
    pub(super) how: &'static str,
    /// What it has now and had not before, in words.
    pub(super) gained: Vec<String>,
    /// What it had before and has not now.
    pub(super) lost: Vec<String>,
    /// What a rule gives and nobody can have, with why.
    pub(super) passed_over: Vec<String>,
}

impl Settled {
    fn of(user: UserId) -> Self {
        let (gained, lost, passed_over) = (Vec::new(), Vec::new(), Vec::new());
        Self { user, refused: None, how: "known", gained, lost, passed_over }
    }

    /// For the audit log.
    pub(super) fn told(
        &self,
        provider: &Provider,
        identity: &Identity,
        outcome: Outcome,
        visit: &Visit<'_>,
    ) -> AuditEvent {
        AuditEvent::new(Actor::User(self.user), "signin.federated", outcome)
            .on("user", self.user)
            .with("provider", &provider.name)
            .with("subject", &identity.subject)
            .with("account", self.how)
            .with("gained", self.gained.join(", "))
            .with("lost", self.lost.join(", "))
            .with("passed over", self.passed_over.join("; "))
            .from(Some(visit.address))
    }
}

/// Why somebody whom no rule places does not come in.
const NOWHERE: &str = "no rule says where this person belongs, and the provider has no default_tenant";

/// Whom a provider brings, and when.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) user: UserId,
    pub(super) origin: &'a Origin,
    pub(super) visit: &'a Visit<'a>,
}

/// What a provider says about an address.
struct Address {
    email: Option<EmailAddress>,
    /// The tenant that owns its domain, if the provider speaks for it and has verified the address.
    vouched: Option<TenantId>,
}

/// What the rules give, looked up.
#[derive(Default)]
struct Plan {
    places: Vec<Place>,
    roles: Vec<(std::sync::Arc<Role>, Place, String)>,
    groups: Vec<(Group, String)>,
    passed_over: Vec<String>,
}

impl SignIn {
    /// The account of an identity, in line with what the provider says. Somebody who is known and whom it cannot bring in any more
    /// loses what it gave before.
    pub(super) async fn account(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        identity: &Identity,
        visit: &Visit<'_>,
    ) -> Result<Settled, Halt> {
        let snapshot = self.snapshot.load_full();
        let plan = plan(tx, &snapshot, provider, &identity.claims).await?;
        let placed = !plan.places.is_empty();
        let address = address(&snapshot, provider, &identity.claims);
        let known = identities::find(tx, &provider.name, &identity.subject).await?;
        let (user, how) = match known {
            Some(known) if known.issuer != provider.issuer => {
                let detail = format!(
                    "the account was tied to this subject when the provider was {}; a provider under an old name needs a new one",
                    known.issuer
                );
                return Err(Halt::Declined("issuer", detail));
            }
            Some(known) => (known.user, "known"),
            None if !placed => return Err(Halt::Declined("mapping", NOWHERE.to_owned())),
            None => self.first_sight(tx, provider, identity, &address, visit).await?,
        };
        let mut account = users::by_id(tx, user).await?.ok_or_else(nobody)?;
        let origin = Origin::Provider(provider.name.as_str().into());
        let arrival = Arrival { snapshot: &snapshot, user, origin: &origin, visit };
        let refused = if placed {
            self.may_come(tx, provider, &account, visit).await?
        } else {
            Some(("mapping", NOWHERE.to_owned()))
        };
        if refused.is_some() {
            let lost = take_away(tx, arrival).await?;
            return Ok(Settled { refused, lost, ..Settled::of(user) });
        }
        let mut settled = Settled { how, passed_over: plan.passed_over, ..Settled::of(user) };
        enter(tx, arrival, &plan.places, &mut settled).await?;
        give_roles(tx, arrival, plan.roles, &mut settled).await?;
        join_groups(tx, arrival, plan.groups, &mut settled).await?;
        leave(tx, arrival, &plan.places, &mut account, &mut settled).await?;
        if how == "made" || provider.provision == Provision::Update {
            follow(tx, &mut account, provider, identity, &address).await?;
        }
        identities::seen(tx, &provider.name, &identity.subject, visit.now).await?;
        Ok(settled)
    }

    /// Why this provider may not bring somebody in any more: it is the provider of one tenant, and they have come to reach
    /// further than that: what others gave them is not for it to open. An account that was stopped is refused as it is.
    async fn may_come(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        account: &User,
        visit: &Visit<'_>,
    ) -> Result<Option<(&'static str, String)>, Halt> {
        let status = account.status_at(visit.now);
        if status != Status::Active {
            let detail = format!("the account {} is {}", account.username, status.as_str());
            return Err(Halt::Declined("account", detail));
        }
        if !self.goes_beyond(tx, provider, account.id, visit).await? {
            return Ok(None);
        }
        let (check, does) = match account.kind {
            AccountKind::Admin => ("administrator", "administers more than"),
            AccountKind::User => ("other tenants", "belongs or holds something beyond"),
        };
        let detail = format!(
            "{} {does} the provider's tenant, so its provider does not bring them in; they sign in with their password or with a \
             provider of everybody",
            account.username
        );
        Ok(Some((check, detail)))
    }

    /// [`reaches_beyond`] of an account that is not loaded.
    async fn goes_beyond(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        user: UserId,
        visit: &Visit<'_>,
    ) -> Result<bool, Halt> {
        let snapshot = self.snapshot.load_full();
        let who = principal::load(tx, user, &snapshot, visit.now).await.map_err(SignInError::from)?;
        Ok(who.is_none_or(|who| reaches_beyond(&snapshot, provider, &who)))
    }

    /// Somebody whom the provider has not brought before: linked, made or refused.
    async fn first_sight(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        identity: &Identity,
        address: &Address,
        visit: &Visit<'_>,
    ) -> Result<(UserId, &'static str), Halt> {
        let theirs = match (&address.email, address.vouched) {
            (Some(email), Some(_)) => users::by_sign_in_email(tx, email).await?,
            _ => None,
        };
        let (user, how) = match theirs {
            Some(user) if provider.provision == Provision::Off => {
                return Err(unknown_here(provider, Some(&user)));
            }
            Some(user) if user.kind == AccountKind::Admin => {
                let detail = format!(
                    "the address belongs to the administrator {}, and no address opens an administrator's account",
                    user.username
                );
                return Err(Halt::Declined("link", detail));
            }
            Some(user) if self.goes_beyond(tx, provider, user.id, visit).await? => {
                let detail = format!(
                    "{} belongs to other tenants as well, or holds something there; no provider of one tenant opens that account by \
                     an address",
                    user.username
                );
                return Err(Halt::Declined("link", detail));
            }
            // An address is given to somebody else one day; the account stays with whom it was made for.
            Some(user) if is_tied(tx, provider, user.id).await? => {
                let detail = format!(
                    "the address belongs to {}, whom the provider has brought under another subject; if both are one person, \
                     have them unlink the old one, or take the address from whoever left",
                    user.username
                );
                return Err(Halt::Declined("link", detail));
            }
            Some(user) => (user.id, "linked"),
            None if provider.provision.creates() => {
                (self.made(tx, provider, identity, address, visit).await?, "made")
            }
            None => return Err(unknown_here(provider, None)),
        };
        let tie = identities::Identity { user, issuer: provider.issuer.clone() };
        identities::add(tx, (&provider.name, &identity.subject), &tie, visit.now).await?;
        let action = if how == "made" { "user.provision" } else { "identity.link" };
        let event = AuditEvent::new(Actor::System, action, Outcome::Done)
            .on("user", user)
            .with("provider", &provider.name)
            .with("subject", &identity.subject)
            .from(Some(visit.address));
        audit::write(tx, &event, visit.now, visit.chance).await?;
        Ok((user, how))
    }

    /// A new account.
    async fn made(
        &self,
        tx: &mut Tx,
        provider: &Provider,
        identity: &Identity,
        address: &Address,
        visit: &Visit<'_>,
    ) -> Result<UserId, Halt> {
        let id = UserId::mint(visit.now, visit.chance);
        let snapshot = self.snapshot.load_full();
        let username = username(tx, &snapshot, provider, identity, address, visit).await?;
        let said = provider.attributes.name.text(&identity.claims);
        let name = said.and_then(|name| PersonName::parse(name).ok());
        let name = name.or_else(|| PersonName::parse(username.as_str()).ok()).ok_or_else(nobody)?;
        let user = User {
            id,
            username,
            name,
            // Put in line with the rest once it is known where the person belongs.
            email: None,
            email_verified: false,
            kind: AccountKind::User,
            status: Status::Active,
            suspension: None,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: visit.now,
            version: 1,
        };
        users::add(tx, &user).await?;
        Ok(id)
    }
}

/// Whether an account is more than the provider's tenant can give: then who runs that provider could become somebody in another
/// tenant (`OIDC-23`).
pub(super) fn reaches_beyond(snapshot: &Snapshot, provider: &Provider, who: &principal::Principal) -> bool {
    let Some(slug) = &provider.tenant else { return false };
    let own = snapshot.tenant_named(slug).map(|tenant| tenant.id);
    own.is_none()
        || who.memberships.iter().any(|belongs| Some(belongs.tenant) != own)
        || who.groups.iter().any(|(tenant, _)| Some(*tenant) != own)
        || who.roles.iter().any(|held| held.place.tenant() != own)
        || who.permissions.iter().any(|granted| granted.place.tenant() != own)
}

/// Takes away all that a provider has given somebody; what that was, in words.
pub(super) async fn take_away(tx: &mut Tx, arrival: Arrival<'_>) -> Result<Vec<String>, SignInError> {
    let mut account = users::by_id(tx, arrival.user).await?.ok_or(SignInError::Stale)?;
    let mut settled = Settled::of(arrival.user);
    give_roles(tx, arrival, Vec::new(), &mut settled).await?;
    join_groups(tx, arrival, Vec::new(), &mut settled).await?;
    leave(tx, arrival, &[], &mut account, &mut settled).await?;
    Ok(settled.lost)
}

/// Whether an account is tied to a subject of the provider.
pub(super) async fn is_tied(tx: &mut Tx, provider: &Provider, user: UserId) -> Result<bool, SignInError> {
    Ok(identities::of(tx, user).await?.iter().any(|(name, _)| *name == provider.name.as_str()))
}

fn nobody() -> Halt {
    Halt::Declined("account", "the account is gone".to_owned())
}

fn unknown_here(provider: &Provider, user: Option<&User>) -> Halt {
    let detail = match user {
        Some(user) => {
            format!("nobody is linked with provision = \"off\"; the address is of {}", user.username)
        }
        None => format!(
            "nobody here is tied to this subject, and the provider makes no accounts (provision of {})",
            provider.name
        ),
    };
    Halt::Declined("provision", detail)
}

/// What the provider says about an address, and whether that is worth anything.
fn address(snapshot: &Snapshot, provider: &Provider, claims: &Claims) -> Address {
    let claim = &provider.attributes.email;
    let said = claim.text(claims);
    let email = said.and_then(|text| EmailAddress::parse(text).ok());
    let verified = said.is_some_and(|text| provider.has_verified(claim, text, claims));
    let vouched = email.as_ref().filter(|_| verified && provider.authoritative).and_then(|email| {
        let speaks = provider.domains.iter().any(|domain| domain.as_str() == email.domain());
        let owner = snapshot.tenant_of_domain(email.domain()).filter(|_| speaks)?;
        let own = provider.tenant.as_ref().map(|slug| snapshot.tenant_named(slug).map(|it| it.id));
        own.is_none_or(|own| own == Some(owner)).then_some(owner)
    });
    Address { email, vouched }
}

/// What the rules give, with every name looked up, inside the provider's tenant alone.
async fn plan(tx: &mut Tx, snapshot: &Snapshot, provider: &Provider, claims: &Claims) -> Result<Plan, Halt> {
    let known = groups::all(tx).await?;
    let place_of = |slug: &Slug| match snapshot.tenant_named(slug) {
        Some(tenant) => Ok(Place::Tenant(tenant.id)),
        // Without it nothing would hold the rules within bounds.
        None => Err(Halt::Declined("tenant", format!("the tenant {slug} does not exist"))),
    };
    let bounds = provider.tenant.as_ref().map(place_of).transpose()?;
    let usual = match (bounds, &provider.default_tenant) {
        (None, Some(slug)) => Some(place_of(slug)?),
        (bounds, _) => bounds,
    };
    let mut plan = Plan::default();
    for gain in provider.gains(claims) {
        let place = match &gain.at {
            Some(path) => snapshot.place(path),
            None => usual,
        };
        let place = place.filter(|place| bounds.is_none_or(|bounds| bounds.covers(*place)));
        let Some((place, tenant)) = place.and_then(|place| Some((place, place.tenant()?))) else {
            plan.passed_over
                .push(format!("{}: its place does not exist, or is not this provider's", gain.origin));
            continue;
        };
        match gain.what {
            Gift::Membership => plan.places.insert(0, place),
            Gift::Role(slug) => match snapshot.role_named(Some(tenant), slug.as_str()) {
                Some(role) if role.fits(place) && !is_owner(role) => {
                    plan.roles.push((std::sync::Arc::clone(role), place, gain.origin));
                }
                _ => plan.passed_over.push(format!("{}: the role {slug} cannot be given there", gain.origin)),
            },
            Gift::Group(slug) => {
                match known.iter().find(|group| group.tenant == tenant && group.slug == slug) {
                    Some(group) => plan.groups.push((group.clone(), gain.origin)),
                    None => plan.passed_over.push(format!("{}: there is no group {slug}", gain.origin)),
                }
            }
        }
        plan.places.push(Place::Tenant(tenant));
    }
    plan.places.extend(usual);
    // The first that is said about a tenant stands.
    let mut seen = Vec::new();
    plan.places.retain(|place| {
        let new = !seen.contains(&place.tenant());
        seen.push(place.tenant());
        new
    });
    stand_alone(&mut plan);
    Ok(plan)
}

fn is_owner(role: &Role) -> bool {
    role.tenant.is_none() && role.slug.as_str() == "owner"
}

/// Of the roles that rules give in a tenant, an exclusive one wins over all others.
fn stand_alone(plan: &mut Plan) {
    let winners: Vec<(Option<TenantId>, crate::domain::RoleId)> = plan
        .roles
        .iter()
        .filter(|(role, ..)| role.exclusive)
        .map(|(role, place, _)| (place.tenant(), role.id))
        .collect();
    let passed_over = &mut plan.passed_over;
    plan.roles.retain(|(role, place, origin)| {
        let winner = winners.iter().find(|(tenant, _)| *tenant == place.tenant());
        let stays = winner.is_none_or(|(_, winner)| *winner == role.id);
        if !stays {
            passed_over.push(format!("{origin}: the role {} gives way to an exclusive one", role.slug));
        }
        stays
    });
}

/// Makes somebody a member of the places, with what every new member is given.
async fn enter(
    tx: &mut Tx,
    arrival: Arrival<'_>,
    places: &[Place],
    settled: &mut Settled,
) -> Result<(), Halt> {
    let Arrival { snapshot, user, origin, visit } = arrival;
    let held = memberships::of(tx, user).await?;
    for place in places {
        let Some(tenant) = place.tenant() else { continue };
        let wanted = Membership {
            user,
            tenant,
            org: place.org(),
            department: place.department(),
            origin: origin.clone(),
        };
        match held.iter().find(|it| it.tenant == tenant) {
            // Where an administrator has put somebody, they stay.
            Some(known) if known.origin != *origin || *known == wanted => continue,
            Some(_) => memberships::put(tx, &wanted, visit.now).await?,
            None => {
                memberships::put(tx, &wanted, visit.now).await?;
                welcome(tx, snapshot, user, *place, visit).await?;
            }
        }
        settled.gained.push(format!("member of {}", snapshot.place_words(*place)));
    }
    Ok(())
}

/// What every new member of a tenant is given.
async fn welcome(
    tx: &mut Tx,
    snapshot: &Snapshot,
    user: UserId,
    place: Place,
    visit: &Visit<'_>,
) -> Result<(), Halt> {
    let Some(tenant) = place.tenant() else { return Ok(()) };
    let mut roles: Vec<_> = snapshot
        .roles()
        .filter(|role| role.auto_assigned && (role.tenant.is_none() || role.tenant == Some(tenant)))
        .collect();
    roles.sort_by(|a, b| a.slug.cmp(&b.slug));
    // An exclusive role stays alone.
    if let Some(alone) = roles.iter().position(|role| role.exclusive) {
        roles = roles.drain(alone..=alone).collect();
    }
    for role in roles {
        let at = match role.scope {
            Scope::Global | Scope::Tenant | Scope::Own => Some(Place::Tenant(tenant)),
            Scope::Organization => place.org().map(|org| Place::Org(tenant, org)),
            Scope::Department => Some(place).filter(|place| place.department().is_some()),
        };
        if let Some(at) = at {
            grants::assign(tx, &assignment(user, role, at, &Origin::System, "membership", visit)).await?;
        }
    }
    Ok(())
}

fn assignment(
    user: UserId,
    role: &Role,
    place: Place,
    origin: &Origin,
    by: &str,
    visit: &Visit<'_>,
) -> Assignment {
    Assignment {
        id: AssignmentId::mint(visit.now, visit.chance),
        user,
        role: role.id,
        place,
        origin: origin.clone(),
        by: by.to_owned(),
        at: visit.now,
    }
}

/// Replaces the roles that this provider has given.
async fn give_roles(
    tx: &mut Tx,
    arrival: Arrival<'_>,
    mut wanted: Vec<(std::sync::Arc<Role>, Place, String)>,
    settled: &mut Settled,
) -> Result<(), SignInError> {
    let Arrival { snapshot, user, origin, visit } = arrival;
    let held = grants::assignments_of(tx, user).await?;
    let (ours, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|it| it.origin == *origin);
    // What an administrator has given stays, and an exclusive role stands alone.
    wanted.retain(|(role, place, rule)| {
        let beside = others.iter().filter(|it| it.role != role.id && it.place.tenant() == place.tenant());
        let clash = beside
            .filter_map(|it| Some((it, snapshot.role(it.role)?)))
            .find(|(it, other)| other.exclusive || (role.exclusive && it.origin != Origin::System));
        if let Some((_, other)) = clash {
            settled
                .passed_over
                .push(format!("{rule}: the role {} does not stand beside {}", role.slug, other.slug));
        }
        clash.is_none()
    });
    for given in &ours {
        let stays = wanted.iter().any(|(role, place, _)| role.id == given.role && *place == given.place);
        if !stays {
            grants::revoke(tx, user, given.role, given.place, origin).await?;
            let slug = snapshot.role(given.role).map_or("?", |role| role.slug.as_str());
            settled.lost.push(format!("{slug} at {}", snapshot.place_words(given.place)));
        }
    }
    for (role, place, rule) in &wanted {
        if role.exclusive {
            // What came with the membership makes room.
            for other in others.iter().filter(|it| {
                it.origin == Origin::System && it.role != role.id && it.place.tenant() == place.tenant()
            }) {
                grants::revoke(tx, user, other.role, other.place, &other.origin).await?;
            }
        }
        let known = ours.iter().find(|it| it.role == role.id && it.place == *place);
        match known {
            Some(known) if known.by == *rule => continue,
            // The same by another rule: explanations name the one that gives it now.
            Some(_) => {
                grants::revoke(tx, user, role.id, *place, origin).await?;
            }
            None => settled.gained.push(format!("{} at {}", role.slug, snapshot.place_words(*place))),
        }
        grants::assign(tx, &assignment(user, role, *place, origin, rule, visit)).await?;
    }
    Ok(())
}

/// Replaces the groups that this provider has given.
async fn join_groups(
    tx: &mut Tx,
    arrival: Arrival<'_>,
    wanted: Vec<(Group, String)>,
    settled: &mut Settled,
) -> Result<(), SignInError> {
    let Arrival { user, origin, visit, .. } = arrival;
    let held: Vec<Group> =
        groups::of(tx, user).await?.into_iter().filter(|it| it.origin == *origin).collect();
    for group in held.iter().filter(|held| !wanted.iter().any(|(group, _)| group.id == held.id)) {
        groups::leave(tx, group.id, user, origin).await?;
        settled.lost.push(format!("group {}", group.slug));
    }
    for (group, _) in wanted.iter().filter(|(group, _)| !held.iter().any(|held| held.id == group.id)) {
        groups::join(tx, group, user, origin, visit.now).await?;
        settled.gained.push(format!("group {}", group.slug));
    }
    Ok(())
}

/// Takes somebody out of tenants that this provider has put them in and does not any more, with the addresses that sign in
/// there, unless somebody has given them something there by hand.
async fn leave(
    tx: &mut Tx,
    arrival: Arrival<'_>,
    places: &[Place],
    account: &mut User,
    settled: &mut Settled,
) -> Result<(), SignInError> {
    let Arrival { snapshot, user, origin, .. } = arrival;
    for held in memberships::of(tx, user).await? {
        let wanted = places.iter().any(|place| place.tenant() == Some(held.tenant));
        if wanted || held.origin != *origin {
            continue;
        }
        let there = |place: Place| place.tenant() == Some(held.tenant);
        let roles = grants::assignments_of(tx, user).await?;
        let roles: Vec<Assignment> = roles.into_iter().filter(|it| there(it.place)).collect();
        let direct = grants::direct_of(tx, user).await?.iter().any(|it| there(it.place));
        let grouped = groups::of(tx, user).await?.iter().any(|it| it.tenant == held.tenant);
        if direct || grouped || roles.iter().any(|it| it.origin != Origin::System) {
            continue;
        }
        for given in roles {
            grants::revoke(tx, user, given.role, given.place, &given.origin).await?;
        }
        memberships::drop(tx, user, Some(held.tenant)).await?;
        settled.lost.push(format!("member of {}", snapshot.place_words(Place::Tenant(held.tenant))));
        // Addresses in a tenant's domains sign in, and go to apps, for its members only.
        let signs_in = account.email.as_ref().filter(|_| account.email_verified);
        if let Some(email) = signs_in.filter(|it| snapshot.tenant_of_domain(it.domain()) == Some(held.tenant))
        {
            settled.lost.push(format!("sign-in with {email}"));
            account.email_verified = false;
            users::edit(tx, account).await?;
        }
    }
    Ok(())
}

/// Name and address as the provider has them. The address signs in, and goes to upstreams, only if the provider speaks for it,
/// the person belongs to the tenant that owns its domain, and nobody else has it.
async fn follow(
    tx: &mut Tx,
    account: &mut User,
    provider: &Provider,
    identity: &Identity,
    address: &Address,
) -> Result<(), Halt> {
    let before = account.clone();
    if let Some(name) =
        provider.attributes.name.text(&identity.claims).and_then(|it| PersonName::parse(it).ok())
    {
        account.name = name;
    }
    // A verified address does not make room for one that nobody vouches for.
    let takes = address.vouched.is_some() || !account.email_verified;
    if let Some(email) = address.email.as_ref().filter(|_| takes) {
        let member = match address.vouched {
            Some(owner) => memberships::of(tx, account.id).await?.iter().any(|it| it.tenant == owner),
            None => false,
        };
        let free = users::by_sign_in_email(tx, email).await?.is_none_or(|other| other.id == account.id);
        // An address that signs in already goes on to: an administrator or the provider has seen to that.
        let same = account.email.as_ref() == Some(email) && account.email_verified;
        account.email_verified = same || (member && free);
        account.email = Some(email.clone());
        // Whoever moves people or domains about later must not make a sign-in name of it.
        if before.email != account.email || address.vouched.is_some() {
            match address.vouched {
                Some(_) => identities::unclaim(tx, account.id).await?,
                None => identities::claim(tx, account.id, email).await?,
            }
        }
    }
    if *account != before {
        users::edit(tx, account).await?;
    }
    Ok(())
}

/// A username that nobody has or had, and that no policy names: whoever wrote it there meant somebody else. Only a provider
/// that speaks for the tenant's people chooses it freely; from any other it carries the provider's name, so that nobody takes a
/// name that means something to an app.
async fn username(
    tx: &mut Tx,
    snapshot: &Snapshot,
    provider: &Provider,
    identity: &Identity,
    address: &Address,
    visit: &Visit<'_>,
) -> Result<Username, Halt> {
    let said = provider.attributes.username.text(&identity.claims);
    let said = said.or(address.email.as_ref().map(EmailAddress::as_str)).unwrap_or("user");
    let local = said.split('@').next().unwrap_or_default();
    let mut base: String = local
        .chars()
        .filter_map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_' | '.') => Some(c),
            ' ' => Some('.'),
            _ => None,
        })
        .take(24)
        .collect();
    if base.len() < 3 {
        "user".clone_into(&mut base);
    }
    let named = |name: &str| Username::parse(name).is_ok_and(|name| snapshot.names_user(&name));
    if address.vouched.is_none() || named(&base) {
        let name: String = provider.name.as_str().chars().take(16).collect();
        base = format!("{base}.{name}");
    }
    let random = data_encoding::BASE32_NOPAD.encode(&visit.chance.bytes::<5>()).to_lowercase();
    let numbered = (2..10).map(|n| format!("{base}-{n}"));
    for name in
        std::iter::once(base.clone()).chain(numbered).chain([format!("{base}-{random}"), random.clone()])
    {
        if named(&name) {
            continue;
        }
        let Ok(name) = Username::parse(&name) else { continue };
        if users::by_username(tx, &name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(Halt::Declined("username", "no username is free".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::snapshot::Rules;
    use crate::domain::policy::Source;
    use crate::domain::provider::{ClaimPath, Rule, Test, tests as sample};
    use crate::domain::{PlacePath, Timestamp};
    use crate::store::tenants::Tenant;
    use crate::store::tree::Tree;
    use crate::store::{Db, StorageUrl};
    use crate::sys::OsChance;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn slug(text: &str) -> Slug {
        Slug::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_provider_whose_tenant_does_not_exist_gives_nothing_anywhere() {
        let globex = Tenant {
            id: TenantId::mint(NOW, &OsChance),
            slug: slug("globex"),
            name: "Globex".into(),
            plan: String::new(),
            status: "active".into(),
            suspension: None,
            owner: None,
            mfa_required: false,
            origin: Origin::File,
            created_at: NOW,
        };
        let tree = Tree { tenants: vec![globex], ..Tree::default() };
        let snapshot = Snapshot::compile(1, tree, &[], &Rules::default());
        let rule = Rule {
            source: Source("cardea.toml:9".into()),
            claim: ClaimPath("groups".into()),
            test: Test::Has("all".into()),
            at: None,
            joins: Some(PlacePath::parse("globex").unwrap()),
            roles: Vec::new(),
            groups: Vec::new(),
        };
        let provider = |tenant: Option<&str>, default_tenant: Option<&str>| Provider {
            tenant: tenant.map(slug),
            default_tenant: default_tenant.map(slug),
            ..sample::provider(vec![rule.clone()])
        };
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&StorageUrl::Sqlite(folder.path().join("records.db"))).await.unwrap();
        let claims: Claims = serde_json::from_str(r#"{"groups":["all"]}"#).unwrap();
        let mut tx = db.begin().await.unwrap();
        for (tenant, default, places) in [
            (None, None, Some(1)),
            (Some("globex"), None, Some(1)),
            (Some("gone"), None, None),
            (None, Some("gone"), None),
        ] {
            let planned = plan(&mut tx, &snapshot, &provider(tenant, default), &claims).await;
            match (planned, places) {
                (Ok(plan), Some(places)) => assert_eq!(plan.places.len(), places, "{tenant:?} {default:?}"),
                (Err(Halt::Declined(check, _)), None) => assert_eq!(check, "tenant"),
                _ => panic!("{tenant:?} {default:?}"),
            }
        }
    }
}
