//! The people of the demo, written into an empty database.

use crate::app::Running;
use crate::crypto::password_hash;
use crate::domain::ids::Id as _;
use crate::domain::{
    AccountKind, AssignmentId, EmailAddress, FactorId, GroupId, Origin, Password, PersonName, Place,
    PlacePath, Slug, Status, User, UserId, Username,
};
use crate::protocol::totp::Seed;
use crate::store::credentials::{self, Factor};
use crate::store::grants::{self, Assignment};
use crate::store::groups::{self, Group};
use crate::store::memberships::{self, Membership};
use crate::store::users;

use super::scene::{PASSWORD, PERSONAS};

/// The seed of ada's authenticator, the same in every demo so that an app keeps working.
const AUTHENTICATOR: &[u8; 20] = b"cardea demo of ada!!";

/// Writes everybody, once.
pub(super) async fn people(running: &Running) -> anyhow::Result<Seed> {
    let house = &running.house;
    let (now, chance) = (house.machine.clock.now(), &*house.machine.chance);
    let seed = Seed::from_bytes(crate::domain::Secret::new(AUTHENTICATOR.to_vec()))?;
    if users::any(&mut house.db.read().await?).await? {
        return Ok(seed);
    }
    let snapshot = house.board.snapshot.load_full();
    let password = Password::parse(PASSWORD)?;
    let salt = crate::sys::OsChance;
    let hash = house.hashing.run(move || password_hash::hash(&password, &salt)).await??;
    let mut tx = house.db.begin().await?;
    for persona in &PERSONAS {
        let id = UserId::mint(now, chance);
        let email = EmailAddress::parse(persona.email)?;
        let user = User {
            id,
            username: Username::parse(persona.username)?,
            name: PersonName::parse(persona.name)?,
            email_verified: snapshot.tenant_of_domain(email.domain()).is_some(),
            email: Some(email),
            kind: if persona.admin { AccountKind::Admin } else { AccountKind::User },
            status: Status::Active,
            suspension: None,
            must_change_password: false,
            last_sign_in_at: None,
            created_at: now,
            version: 1,
        };
        users::add(&mut tx, &user).await?;
        credentials::set_password(&mut tx, id, &hash, now).await?;
        for path in persona.member_of {
            let place = snapshot.place(&PlacePath::parse(path)?).unwrap_or(Place::Global);
            let Some(tenant) = place.tenant() else { continue };
            let (org, department, origin) = (place.org(), place.department(), Origin::System);
            memberships::put(&mut tx, &Membership { user: id, tenant, org, department, origin }, now).await?;
        }
        for (tenant, slug) in persona.groups {
            let Some(tenant) = snapshot.tenant_named(&Slug::parse(tenant)?) else { continue };
            let mut group = Group {
                id: GroupId::mint(now, chance),
                tenant: tenant.id,
                slug: Slug::parse(slug)?,
                origin: Origin::File,
            };
            group.id = groups::put(&mut tx, &group, now).await?;
            groups::join(&mut tx, &group, id, &Origin::System, now).await?;
        }
        for (role, path) in persona.roles {
            let place =
                if path.is_empty() { Some(Place::Global) } else { snapshot.place(&PlacePath::parse(path)?) };
            let (Some(role), Some(place)) = (snapshot.role_named(place.and_then(Place::tenant), role), place)
            else {
                continue;
            };
            let by = "the demo".to_owned();
            let given = Assignment {
                id: AssignmentId::mint(now, chance),
                user: id,
                role: role.id,
                place,
                origin: Origin::Manual,
                by,
                at: now,
            };
            grants::assign(&mut tx, &given).await?;
        }
        if persona.authenticator {
            let place = format!("factors/sealed/{}", id.uuid());
            let sealed = house.keys.sealer.seal(&place, seed.expose(), chance)?;
            let factor = Factor { id: FactorId::mint(now, chance), sealed, last_step: 0, created_at: now };
            credentials::add_factor(&mut tx, id, &factor).await?;
        }
    }
    tx.commit(now).await?;
    Ok(seed)
}
