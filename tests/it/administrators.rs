//! What two administrators do at the same moment, on the engine where two transactions do not see each other.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cardea::access::snapshot::Rules;
use cardea::access::{Authority, Ledger, Snapshot};
use cardea::admin::{Admin, Declared, Edit, Error, Given, NewUser, Settings};
use cardea::crypto::Keyring;
use cardea::crypto::keyring::{ASSERTION_TYPE, AssertionKeys, WebKeys};
use cardea::crypto::seal::Sealer;
use cardea::crypto::signing::SigningKey;
use cardea::domain::{AccountKind, Password, PersonName, Place, Secret, Span, UserId, Username};
use cardea::protocol::password::Policy;
use cardea::store::{Db, StorageUrl, tree};
use cardea::sys::{OsChance, Pool, SystemClock};

use crate::support::postgres;

async fn admin(url: &StorageUrl) -> Arc<Admin> {
    let key = SigningKey::generate().unwrap();
    let key = SigningKey::from_pkcs8(key.expose(), ASSERTION_TYPE).unwrap();
    let web = WebKeys::derive(&Secret::new(vec![9; 32])).unwrap();
    let sealer = Sealer::new(&[1; 32], &[]).unwrap();
    let empty = Snapshot::compile(0, tree::Tree::default(), &[], &Rules::default());
    let admin = Admin {
        db: Db::open(url).await.unwrap(),
        keys: Arc::new(Keyring::new(sealer, web, AssertionKeys::new(key, Vec::new()))),
        snapshot: Arc::new(ArcSwap::from_pointee(empty)),
        ledger: Ledger::new(64).0,
        hashing: Pool::new(2, 64),
        clock: Arc::new(SystemClock::default()),
        chance: Arc::new(OsChance),
        settings: Settings {
            policy: Policy { min_length: 12, check_common: true },
            portal_origin: "https://access.example.com".to_owned(),
            brand: "Cardea".to_owned(),
        },
    };
    admin.apply_objects(&Declared::default()).await.unwrap();
    Arc::new(admin)
}

fn operator() -> Authority {
    Authority::operator("root")
}

async fn person(admin: &Admin, name: &str, kind: AccountKind) -> UserId {
    let new = NewUser {
        kind,
        password: Some(Password::parse("maple-ferry-31").unwrap()),
        ..NewUser::new(Username::parse(name).unwrap(), PersonName::parse(name).unwrap())
    };
    admin.create_user(&operator(), new).await.unwrap().id
}

fn code<T>(done: Result<T, Error>) -> &'static str {
    done.err().map_or("done", |error| error.code())
}

/// Two nodes, and on each an administrator who removes the other's rights: one always stays.
#[tokio::test(flavor = "multi_thread")]
async fn tenant_08_two_demotions_at_once_on_two_nodes() {
    let url = StorageUrl::Postgres(Secret::new(postgres::fresh_database().await));
    let nodes = [admin(&url).await, admin(&url).await];
    let role = nodes[0].role_named(&operator(), "super-admin", None).await.unwrap().id;
    let given = Given { role, place: Place::Global };
    let both = [
        person(&nodes[0], "one", AccountKind::Admin).await,
        person(&nodes[0], "two", AccountKind::Admin).await,
    ];
    for round in 0..12 {
        let demotions = nodes.iter().zip(both).map(|(node, user)| {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                let user_kind = Edit { kind: Some(AccountKind::User), ..Edit::default() };
                match round % 4 {
                    0 => code(node.revoke_role(&operator(), user, given).await),
                    1 => code(node.suspend_user(&operator(), user, "", None).await),
                    2 => code(node.deactivate_user(&operator(), user).await),
                    _ => code(node.edit_user(&operator(), user, user_kind).await),
                }
            })
        });
        let mut codes = Vec::new();
        for demotion in demotions.collect::<Vec<_>>() {
            codes.push(demotion.await.unwrap());
        }
        codes.sort_unstable();
        assert_eq!(codes, ["done", "last_admin"], "round {round}");
        for user in both {
            nodes[0].activate_user(&operator(), user).await.unwrap();
            let admin_kind = Edit { kind: Some(AccountKind::Admin), ..Edit::default() };
            nodes[0].edit_user(&operator(), user, admin_kind).await.unwrap();
            nodes[0].grant_role(&operator(), user, given).await.unwrap();
        }
    }
}

/// Two nodes start at once on an empty database, both told to make the administrator of the environment: one is made.
#[tokio::test(flavor = "multi_thread")]
async fn pwd_08_two_nodes_make_one_administrator() {
    let url = StorageUrl::Postgres(Secret::new(postgres::fresh_database().await));
    let nodes = [admin(&url).await, admin(&url).await];
    let starts = nodes.map(|node| {
        tokio::spawn(async move {
            let (name, password) = (Username::parse("admin").unwrap(), Password::parse("changeme").unwrap());
            node.bootstrap_admin(&name, &password, None).await.unwrap()
        })
    });
    let mut made = 0;
    for start in starts {
        made += usize::from(start.await.unwrap().is_some());
    }
    assert_eq!(made, 1);
}

/// Of two people whom two nodes make at once with one name, one is made.
#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_given_once_on_two_nodes() {
    let url = StorageUrl::Postgres(Secret::new(postgres::fresh_database().await));
    let nodes = [admin(&url).await, admin(&url).await];
    let mut codes = Vec::new();
    for making in nodes.map(|node| {
        tokio::spawn(async move {
            let new = NewUser::new(Username::parse("grace").unwrap(), PersonName::parse("Grace").unwrap());
            code(node.create_user(&operator(), NewUser { handover: Some(Span::minutes(5)), ..new }).await)
        })
    }) {
        codes.push(making.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, ["done", "username_taken"]);
}
