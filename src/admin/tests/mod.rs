//! One case for each rule, over a database of its own.

mod people;
mod places;
mod rights;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::access::snapshot::Rules;
use crate::access::{Authority, Ledger, Snapshot, principal};
use crate::crypto::Keyring;
use crate::crypto::keyring::{ASSERTION_TYPE, AssertionKeys, WebKeys};
use crate::crypto::seal::Sealer;
use crate::crypto::signing::SigningKey;
use crate::domain::{
    AccountKind, AuditEvent, Hostname, Password, PermissionPattern, PersonName, Place, RoleId, Secret, Slug,
    Span, TenantId, UserId, Username,
};
use crate::protocol::password::Policy;
use crate::store::{Db, StorageUrl, tree};
use crate::sys::{OsChance, Pool, SystemClock};

use super::*;

/// A house with a database of its own.
pub(super) struct House {
    pub(super) admin: Admin,
    pub(super) clock: Arc<SystemClock>,
    pub(super) refusals: mpsc::Receiver<AuditEvent>,
    _folder: tempfile::TempDir,
}

pub(super) fn keyring(master: u8) -> Keyring {
    let pkcs8 = SigningKey::generate().unwrap();
    let signing = SigningKey::from_pkcs8(pkcs8.expose(), ASSERTION_TYPE).unwrap();
    let web = WebKeys::derive(&Secret::new(vec![9; 32])).unwrap();
    Keyring::new(Sealer::new(&[master; 32], &[]).unwrap(), web, AssertionKeys::new(signing, Vec::new()))
}

/// Over the database of that address, with the built-in roles and what the file declares.
pub(super) async fn over(
    url: &StorageUrl,
    declared: &Declared,
) -> (Admin, Arc<SystemClock>, mpsc::Receiver<AuditEvent>) {
    let db = Db::open(url).await.unwrap();
    let clock = Arc::new(SystemClock::default());
    let (ledger, refusals) = Ledger::new(64);
    let empty = Snapshot::compile(0, tree::Tree::default(), &[], &Rules::default());
    let admin = Admin {
        db,
        keys: Arc::new(keyring(1)),
        snapshot: Arc::new(ArcSwap::from_pointee(empty)),
        ledger,
        hashing: Pool::new(2, 64),
        clock: clock.clone(),
        chance: Arc::new(OsChance),
        settings: Settings {
            policy: Policy { min_length: 12, check_common: true },
            portal_origin: "https://access.example.com".to_owned(),
            brand: "Acme Access".to_owned(),
        },
    };
    admin.apply_objects(declared).await.unwrap();
    (admin, clock, refusals)
}

pub(super) async fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let url = StorageUrl::Sqlite(folder.path().join("records.db"));
    let (admin, clock, refusals) = over(&url, &Declared::default()).await;
    House { admin, clock, refusals, _folder: folder }
}

pub(super) fn operator() -> Authority {
    Authority::operator("root")
}

pub(super) fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub(super) fn patterns(texts: &[&str]) -> Vec<PermissionPattern> {
    texts.iter().map(|text| PermissionPattern::parse(text).unwrap()).collect()
}

pub(super) fn draft(scope: crate::domain::Scope, permissions: &[&str]) -> RoleDraft {
    RoleDraft {
        name: "A role".to_owned(),
        description: String::new(),
        scope,
        permissions: patterns(permissions),
        exclusive: false,
        auto_assigned: false,
        mfa: false,
        landing: None,
    }
}

pub(super) fn new_user(name: &str) -> NewUser {
    NewUser {
        handover: None,
        ..NewUser::new(Username::parse(name).unwrap(), PersonName::parse(name).unwrap())
    }
}

pub(super) const PASSWORD: &str = "maple-ferry-31";

impl House {
    pub(super) async fn tenant(&self, name: &str) -> TenantId {
        let draft = TenantDraft { name: name.to_owned(), plan: String::new(), mfa_required: false };
        let domains = [Hostname::parse(&format!("{name}.example")).unwrap()];
        self.admin.create_tenant(&operator(), &slug(name), &draft, &domains, None).await.unwrap()
    }

    /// Somebody with a password, in these places, holding these roles there.
    pub(super) async fn person(&self, name: &str, kind: AccountKind, held: &[(&str, Place)]) -> UserId {
        let mut roles = Vec::new();
        let mut joins: Vec<Place> = Vec::new();
        for (role, place) in held {
            let role = self.admin.role_named(&operator(), role, place.tenant()).await.unwrap();
            roles.push(Given { role: role.id, place: *place });
            if place.tenant().is_some() && !joins.iter().any(|join| join.tenant() == place.tenant()) {
                joins.push(*place);
            }
        }
        let password = Some(Password::parse(PASSWORD).unwrap());
        let new = NewUser { kind, joins, roles, password, ..new_user(name) };
        self.admin.create_user(&operator(), new).await.unwrap().id
    }

    pub(super) async fn admin_of(&self, name: &str, role: &str, place: Place) -> UserId {
        self.person(name, AccountKind::Admin, &[(role, place)]).await
    }

    /// Somebody's authority, as a session that was just loaded has it.
    pub(super) async fn as_(&self, user: UserId) -> Authority {
        let tree = self.admin.tree().await.unwrap();
        let mut conn = self.admin.db.read().await.unwrap();
        let now = self.admin.clock.now();
        Authority::of(Arc::new(principal::load(&mut conn, user, &tree, now).await.unwrap().unwrap()))
    }

    pub(super) async fn role(&self, tenant: Option<TenantId>, name: &str, draft: RoleDraft) -> RoleId {
        self.admin.create_role(&operator(), tenant, &slug(name), draft).await.unwrap()
    }

    pub(super) async fn org(&self, tenant: TenantId, name: &str) -> Place {
        let new = NewPlace { slug: slug(name), name: name.to_owned() };
        Place::Org(tenant, self.admin.create_org(&operator(), tenant, &new).await.unwrap())
    }

    pub(super) async fn department(&self, org: Place, name: &str) -> Place {
        let Place::Org(tenant, id) = org else { panic!("not an organisation") };
        let new = NewPlace { slug: slug(name), name: name.to_owned() };
        Place::Department(tenant, id, self.admin.create_department(&operator(), id, &new).await.unwrap())
    }

    pub(super) fn later(&self, by: Span) {
        self.clock.advance(by);
    }

    pub(super) async fn actions(&self) -> Vec<(String, String)> {
        let mut conn = self.admin.db.read().await.unwrap();
        let records = crate::store::audit::latest(&mut conn, 1_000).await.unwrap();
        records.into_iter().map(|record| (record.action, record.outcome)).collect()
    }
}

/// The code of a refusal.
#[track_caller]
pub(super) fn code<T>(done: Result<T, Error>) -> &'static str {
    match done {
        Ok(_) => "done",
        Err(error) => error.code(),
    }
}
