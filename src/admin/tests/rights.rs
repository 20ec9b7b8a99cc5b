//! Who may change what.

use crate::domain::{AccountKind, Permission, PermissionPattern, Place, Scope, Status};
use crate::store::{StorageUrl, grants, users};

use super::*;

#[tokio::test]
async fn tenant_05_nobody_gives_what_they_lack() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let at = Place::Tenant(acme);
    let ada = house.admin_of("ada", "tenant-admin", at).await;
    let grace = house.person("grace", AccountKind::User, &[("user", at)]).await;
    let by = house.as_(ada).await;
    let reports = house.role(Some(acme), "reports", draft(Scope::Tenant, &["reports:read"])).await;
    let super_admin = house.admin.role_named(&operator(), "super-admin", None).await.unwrap().id;

    let admin = &house.admin;
    for (role, place) in [(reports, at), (super_admin, at)] {
        assert_eq!(code(admin.grant_role(&by, grace, Given { role, place }).await), "forbidden");
        assert_eq!(code(admin.grant_role(&by, ada, Given { role, place }).await), "forbidden", "to oneself");
    }
    let pattern = PermissionPattern::parse("reports:read").unwrap();
    assert_eq!(code(admin.grant_permission(&by, grace, &pattern, at).await), "forbidden");
    let wide = draft(Scope::Tenant, &["users:read", "reports:read"]);
    assert_eq!(code(admin.create_role(&by, Some(acme), &slug("wide"), wide.clone()).await), "forbidden");
    let narrow = admin
        .create_role(&by, Some(acme), &slug("narrow"), draft(Scope::Tenant, &["users:read"]))
        .await
        .unwrap();
    assert_eq!(code(admin.edit_role(&by, narrow, wide).await), "forbidden");
    assert_eq!(
        code(admin.create_role(&by, None, &slug("all"), draft(Scope::Tenant, &[])).await),
        "forbidden"
    );
    let new =
        NewUser { joins: vec![at], roles: vec![Given { role: reports, place: at }], ..new_user("linus") };
    assert_eq!(code(admin.create_user(&by, new).await), "forbidden", "at creation");
    let line: ImportLine =
        serde_json::from_str(r#"{"username":"linus","places":["acme"],"roles":["reports"]}"#).unwrap();
    assert_eq!(code(admin.import_user(&by, &line).await), "forbidden", "at import");
    assert!(
        users::by_username(&mut admin.db.read().await.unwrap(), &Username::parse("linus").unwrap())
            .await
            .unwrap()
            .is_none()
    );

    // What they hold, they give; and what they then hold besides, too.
    assert!(admin.grant_role(&by, grace, Given { role: narrow, place: at }).await.unwrap().changed);
    admin.grant_role(&operator(), ada, Given { role: reports, place: at }).await.unwrap();
    let by = house.as_(ada).await;
    assert!(admin.grant_role(&by, grace, Given { role: reports, place: at }).await.unwrap().changed);
}

#[tokio::test]
async fn tenant_05_rights_are_those_of_now_and_not_of_when_the_session_was_read() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let at = Place::Tenant(acme);
    let ada = house.admin_of("ada", "tenant-admin", at).await;
    let by = house.as_(ada).await;
    let role = house.admin.role_named(&operator(), "tenant-admin", None).await.unwrap().id;
    house.admin.revoke_role(&operator(), ada, Given { role, place: at }).await.unwrap();
    let new = NewUser { joins: vec![at], ..new_user("linus") };
    assert_eq!(code(house.admin.create_user(&by, new).await), "forbidden");
    house.admin.suspend_user(&operator(), ada, "gone", None).await.unwrap();
}

#[tokio::test]
async fn tenant_06_one_level_up_and_one_to_the_side() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let (europe, asia) = (house.org(acme, "europe").await, house.org(acme, "asia").await);
    let (finance, law) = (house.department(europe, "finance").await, house.department(europe, "law").await);
    let dora = house.admin_of("dora", "dept-admin", finance).await;
    let by = house.as_(dora).await;
    let user = |name: &str, place| NewUser { joins: vec![place], ..new_user(name) };
    for place in [europe, asia, law, Place::Tenant(acme)] {
        assert_eq!(
            code(house.admin.create_user(&by, user("new.one", place)).await),
            "forbidden",
            "{place:?}"
        );
    }
    assert_eq!(
        code(house.admin.create_user(&by, new_user("new.one")).await),
        "forbidden",
        "the whole system"
    );
    let mine = house.admin.create_user(&by, user("mine", finance)).await.unwrap().id;
    let theirs = house.person("theirs", AccountKind::User, &[("user", law)]).await;
    let above = house.person("above", AccountKind::User, &[("user", Place::Tenant(acme))]).await;

    let seen: Vec<_> =
        house.admin.list_users(&by, &UserList { limit: 10, ..UserList::default() }).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(seen, ["mine", "dora"]);
    for other in [theirs, above] {
        assert_eq!(code(house.admin.show_user(&by, other).await), "not_found");
        assert_eq!(code(house.admin.suspend_user(&by, other, "", None).await), "not_found");
        assert_eq!(code(house.admin.delete_user(&by, other).await), "not_found");
        assert_eq!(code(house.admin.password_link(&by, other, LINK_LIFE).await), "not_found");
        assert_eq!(code(house.admin.reset_mfa(&by, other).await), "not_found");
        assert_eq!(code(house.admin.revoke_sessions(&by, other).await), "not_found");
        assert_eq!(code(house.admin.join(&by, other, finance).await), "not_found");
    }
    // To a wider place, to another one, and back out of one's own reach.
    for place in [Place::Tenant(acme), law, asia] {
        assert_eq!(code(house.admin.join(&by, mine, place).await), "forbidden");
    }
    let manager = house.admin.role_named(&operator(), "manager", None).await.unwrap().id;
    assert_eq!(
        code(house.admin.grant_role(&by, mine, Given { role: manager, place: law }).await),
        "forbidden"
    );
    assert!(house.admin.grant_role(&by, mine, Given { role: manager, place: finance }).await.is_ok());
    assert_eq!(code(house.admin.edit_user(&by, mine, Edit::default()).await), "done");
}

#[tokio::test]
async fn tenant_07_nobody_touches_whoever_holds_what_they_lack() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let at = Place::Tenant(acme);
    house.role(Some(acme), "helpdesk", draft(Scope::Tenant, &["users:*", "sessions:*"])).await;
    let helen = house.admin_of("helen", "helpdesk", at).await;
    let owner = house.admin_of("owner.one", "user", at).await;
    house.admin.transfer_tenant(&operator(), acme, owner).await.unwrap();
    let ada = house.admin_of("ada", "tenant-admin", at).await;
    let grace = house.person("grace", AccountKind::User, &[("user", at)]).await;
    let by = house.as_(helen).await;
    let admin = &house.admin;
    let password = Password::parse("a-very-long-one").unwrap();
    for target in [owner, ada] {
        assert_eq!(
            code(
                admin
                    .edit_user(
                        &by,
                        target,
                        Edit { name: Some(PersonName::parse("x").unwrap()), ..Edit::default() }
                    )
                    .await
            ),
            "forbidden"
        );
        assert_eq!(code(admin.suspend_user(&by, target, "", None).await), "forbidden");
        assert_eq!(code(admin.deactivate_user(&by, target).await), "forbidden");
        assert_eq!(code(admin.delete_user(&by, target).await), "forbidden");
        assert_eq!(code(admin.password_link(&by, target, LINK_LIFE).await), "forbidden");
        assert_eq!(code(admin.reset_mfa(&by, target).await), "forbidden", "MFA-11");
        assert_eq!(code(admin.set_password(&by, target, &password, Sessions::End).await), "forbidden");
        assert_eq!(code(admin.revoke_sessions(&by, target).await), "forbidden");
    }
    assert_eq!(code(admin.leave(&by, ada, acme).await), "forbidden");
    assert_eq!(code(admin.suspend_user(&by, grace, "", None).await), "done");
}

#[tokio::test]
async fn tenant_07_a_person_of_two_companies_is_not_one_company_s_to_stop() {
    let house = house().await;
    let (acme, partner) = (house.tenant("acme").await, house.tenant("partner").await);
    let ada = house.admin_of("ada", "tenant-admin", Place::Tenant(acme)).await;
    let both = house
        .person("both", AccountKind::User, &[("user", Place::Tenant(acme)), ("user", Place::Tenant(partner))])
        .await;
    let by = house.as_(ada).await;
    assert!(house.admin.show_user(&by, both).await.is_ok());
    assert_eq!(code(house.admin.suspend_user(&by, both, "", None).await), "forbidden");
    assert_eq!(code(house.admin.password_link(&by, both, LINK_LIFE).await), "forbidden");
    assert_eq!(
        code(house.admin.leave(&by, both, partner).await),
        "not_found",
        "not even the other company's name"
    );
    assert_eq!(code(house.admin.leave(&by, both, acme).await), "done");
    assert_eq!(code(house.admin.show_user(&by, both).await), "not_found");
}

#[tokio::test]
async fn tenant_01_ids_of_another_tenant_are_unknown() {
    let house = house().await;
    let (acme, partner) = (house.tenant("acme").await, house.tenant("partner").await);
    let ada = house.admin_of("ada", "tenant-admin", Place::Tenant(acme)).await;
    let by = house.as_(ada).await;
    let theirs = house.person("theirs", AccountKind::User, &[("user", Place::Tenant(partner))]).await;
    let mine = house.person("mine", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    let role = house.role(Some(partner), "their-role", draft(Scope::Tenant, &[])).await;
    let org = house.org(partner, "north").await;
    let group = house.admin.put_group(&operator(), partner, &slug("staff")).await.unwrap();
    let admin = &house.admin;
    let Place::Org(_, org_id) = org else { unreachable!() };
    assert_eq!(code(admin.show_tenant(&by, partner).await), "not_found");
    assert_eq!(code(admin.tenant_named(&by, "partner").await), "not_found");
    assert_eq!(code(admin.place_named(&by, "partner/north").await), "not_found");
    assert_eq!(code(admin.role_named(&by, "partner/their-role", None).await), "not_found");
    assert_eq!(code(admin.user_named(&by, "theirs").await), "not_found");
    assert_eq!(code(admin.edit_role(&by, role, draft(Scope::Tenant, &[])).await), "not_found");
    assert_eq!(code(admin.delete_role(&by, role, true).await), "not_found");
    assert_eq!(code(admin.rename_org(&by, org_id, "x").await), "not_found");
    assert_eq!(code(admin.delete_org(&by, org_id, true).await), "not_found");
    assert_eq!(code(admin.join_group(&by, mine, group).await), "not_found");
    assert_eq!(code(admin.delete_group(&by, group).await), "not_found");
    assert_eq!(code(admin.group_members(&by, group).await), "not_found");
    assert_eq!(code(admin.join(&by, mine, org).await), "not_found");
    assert_eq!(
        code(admin.grant_role(&by, mine, Given { role, place: Place::Tenant(acme) }).await),
        "not_found",
        "TENANT-02"
    );
    assert_eq!(
        code(admin.grant_role(&by, theirs, Given { role, place: Place::Tenant(partner) }).await),
        "not_found"
    );
    assert_eq!(admin.list_tenants(&by).await.unwrap().len(), 1);
    assert!(admin.list_roles(&by, None).await.unwrap().iter().all(|it| it.tenant != Some(partner)));
    let search = AuditSearch { tenant: Some(partner), limit: 10, ..AuditSearch::default() };
    assert_eq!(code(admin.search_audit(&by, &search).await), "not_found");
    assert_eq!(
        code(admin.search_audit(&by, &AuditSearch { limit: 10, ..AuditSearch::default() }).await),
        "forbidden"
    );
    let search = AuditSearch { tenant: Some(acme), limit: 10, ..AuditSearch::default() };
    assert!(admin.search_audit(&by, &search).await.unwrap().iter().all(|record| record.tenant == Some(acme)));
    // Also for the operator, a role of one tenant is nothing in another.
    assert_eq!(
        code(admin.grant_role(&operator(), mine, Given { role, place: Place::Tenant(acme) }).await),
        "not_found"
    );
}

#[tokio::test]
async fn tenant_08_the_last_administrator_stays_by_every_way() {
    let mut house = house().await;
    let ada = house.admin_of("ada", "super-admin", Place::Global).await;
    let role = house.admin.role_named(&operator(), "super-admin", None).await.unwrap().id;
    let given = Given { role, place: Place::Global };
    let user = Edit { kind: Some(AccountKind::User), ..Edit::default() };
    let admin = &house.admin;
    let by = house.as_(ada).await;
    assert_eq!(code(admin.suspend_user(&operator(), ada, "", None).await), "last_admin");
    assert_eq!(code(admin.deactivate_user(&operator(), ada).await), "last_admin");
    assert_eq!(code(admin.delete_user(&operator(), ada).await), "last_admin");
    assert_eq!(code(admin.edit_user(&operator(), ada, user.clone()).await), "last_admin");
    assert_eq!(code(admin.edit_user(&by, ada, user.clone()).await), "last_admin");
    assert_eq!(code(admin.revoke_role(&operator(), ada, given).await), "last_admin");
    assert_eq!(code(admin.revoke_role(&by, ada, given).await), "last_admin");
    assert_eq!(house.refusals.recv().await.unwrap().outcome, crate::domain::Outcome::Refused);

    // Somebody who has been invited only does not count, nor somebody suspended; who is in force does.
    let eve = NewUser { kind: AccountKind::Admin, ..new_user("eve") };
    let eve = house.admin.create_user(&operator(), eve).await.unwrap().id;
    assert_eq!(code(house.admin.delete_user(&operator(), ada).await), "last_admin");
    house
        .admin
        .set_password(&operator(), eve, &Password::parse(PASSWORD).unwrap(), Sessions::End)
        .await
        .unwrap();
    house
        .admin
        .suspend_user(&operator(), eve, "", Some(house.admin.clock.now() + Span::hours(1)))
        .await
        .unwrap();
    assert_eq!(code(house.admin.delete_user(&operator(), ada).await), "last_admin");
    house.later(Span::hours(2));
    assert_eq!(code(house.admin.delete_user(&operator(), ada).await), "done");
    assert_eq!(code(house.admin.delete_user(&operator(), eve).await), "last_admin");
}

/// Two administrators demote each other at the same moment, many times over; one always stays.
async fn race(url: &StorageUrl) {
    let (admin, ..) = over(url, &Declared::default()).await;
    let admin = Arc::new(admin);
    let role = admin.role_named(&operator(), "super-admin", None).await.unwrap().id;
    let mut both = Vec::new();
    for name in ["one", "two"] {
        let new = NewUser {
            kind: AccountKind::Admin,
            password: Some(Password::parse(PASSWORD).unwrap()),
            ..new_user(name)
        };
        both.push(admin.create_user(&operator(), new).await.unwrap().id);
    }
    for round in 0..12 {
        let tasks: Vec<_> = both
            .iter()
            .map(|user| {
                let (admin, user) = (admin.clone(), *user);
                tokio::spawn(async move {
                    match round % 3 {
                        0 => admin.revoke_role(&operator(), user, Given { role, place: Place::Global }).await,
                        1 => admin.suspend_user(&operator(), user, "", None).await,
                        _ => {
                            admin
                                .edit_user(
                                    &operator(),
                                    user,
                                    Edit { kind: Some(AccountKind::User), ..Edit::default() },
                                )
                                .await
                        }
                    }
                })
            })
            .collect();
        let mut codes = Vec::new();
        for task in tasks {
            codes.push(code(task.await.unwrap()));
        }
        codes.sort_unstable();
        assert_eq!(codes, ["done", "last_admin"], "round {round}");
        let tree = admin.tree().await.unwrap();
        let mut conn = admin.db.read().await.unwrap();
        assert_eq!(administrators::usable(&mut conn, &tree, admin.clock.now()).await.unwrap().len(), 1);
        drop(conn);
        for user in &both {
            let _ = admin.activate_user(&operator(), *user).await;
            admin
                .edit_user(&operator(), *user, Edit { kind: Some(AccountKind::Admin), ..Edit::default() })
                .await
                .unwrap();
            admin.grant_role(&operator(), *user, Given { role, place: Place::Global }).await.unwrap();
        }
    }
    admin.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_08_two_demotions_at_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    race(&StorageUrl::Sqlite(folder.path().join("records.db"))).await;
}

#[tokio::test]
async fn tenant_08_the_owner_changes_only_by_transfer() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let at = Place::Tenant(acme);
    house.admin_of("root.admin", "super-admin", Place::Global).await;
    let olga = house.admin_of("olga", "user", at).await;
    let otto = house.admin_of("otto", "user", at).await;
    let plain = house.person("plain", AccountKind::User, &[("user", at)]).await;
    let admin = &house.admin;
    admin.transfer_tenant(&operator(), acme, olga).await.unwrap();
    let owner = admin.role_named(&operator(), "owner", None).await.unwrap().id;
    assert_eq!(
        code(admin.grant_role(&operator(), otto, Given { role: owner, place: at }).await),
        "owner_immutable"
    );
    assert_eq!(
        code(admin.revoke_role(&operator(), olga, Given { role: owner, place: at }).await),
        "owner_immutable"
    );
    assert_eq!(code(admin.suspend_user(&operator(), olga, "", None).await), "owner_immutable");
    assert_eq!(code(admin.deactivate_user(&operator(), olga).await), "owner_immutable");
    assert_eq!(code(admin.delete_user(&operator(), olga).await), "owner_immutable");
    assert_eq!(code(admin.leave(&operator(), olga, acme).await), "owner_immutable");
    let user = Edit { kind: Some(AccountKind::User), ..Edit::default() };
    assert_eq!(code(admin.edit_user(&operator(), olga, user).await), "owner_immutable");
    // The owner has what the owner's role gives, and passes it on; who has not, does not.
    let by = house.as_(olga).await;
    assert_eq!(code(admin.transfer_tenant(&house.as_(otto).await, acme, otto).await), "forbidden");
    assert_eq!(code(admin.transfer_tenant(&by, acme, plain).await), "wrong_status");
    assert_eq!(code(admin.transfer_tenant(&by, acme, otto).await), "done");
    assert_eq!(code(admin.delete_user(&operator(), olga).await), "done");
    assert_eq!(
        code(admin.transfer_tenant(&by, acme, otto).await),
        "not_found",
        "deleted, though the session says owner"
    );
}

#[tokio::test]
async fn tenant_09_not_oneself() {
    let house = house().await;
    let ada = house.admin_of("ada", "super-admin", Place::Global).await;
    house.admin_of("eve", "super-admin", Place::Global).await;
    let by = house.as_(ada).await;
    let admin = &house.admin;
    assert_eq!(code(admin.delete_user(&by, ada).await), "cannot_delete_self");
    assert_eq!(code(admin.suspend_user(&by, ada, "", None).await), "cannot_change_self");
    assert_eq!(code(admin.deactivate_user(&by, ada).await), "cannot_change_self");
    assert_eq!(code(admin.reset_mfa(&by, ada).await), "cannot_change_self");
    assert_eq!(code(admin.password_link(&by, ada, LINK_LIFE).await), "cannot_change_self");
    let password = Password::parse("a-very-long-one").unwrap();
    assert_eq!(code(admin.set_password(&by, ada, &password, Sessions::End).await), "cannot_change_self");
}

#[tokio::test]
async fn tenant_10_exclusive_roles_stand_alone() {
    let house = house().await;
    let (acme, partner) = (house.tenant("acme").await, house.tenant("partner").await);
    let (at, elsewhere) = (Place::Tenant(acme), Place::Tenant(partner));
    let exclusive = |permission: &str| RoleDraft { exclusive: true, ..draft(Scope::Tenant, &[permission]) };
    let auditor = house.role(None, "auditor", exclusive("books:read")).await;
    let viewer = house.role(None, "viewer-only", exclusive("charts:read")).await;
    let writer = house.role(None, "writer", draft(Scope::Tenant, &["books:write"])).await;
    let grace = house
        .person(
            "grace",
            AccountKind::User,
            &[("user", at), ("writer", at), ("user", elsewhere), ("writer", elsewhere)],
        )
        .await;
    let admin = &house.admin;
    let pattern = PermissionPattern::parse("extra:use").unwrap();
    admin.grant_permission(&operator(), grace, &pattern, at).await.unwrap();
    let role_at = |role| Given { role, place: at };

    // It clears the others of that tenant, and of no other.
    let change = admin.grant_role(&operator(), grace, role_at(auditor)).await.unwrap();
    assert_eq!(change.cleared, ["user at acme", "writer at acme", "extra:use at acme"]);
    let held: Vec<_> = house
        .as_(grace)
        .await
        .principal()
        .unwrap()
        .roles
        .iter()
        .map(|it| (it.slug.to_string(), it.place))
        .collect();
    assert_eq!(held.len(), 3);
    assert!(held.contains(&("auditor".to_owned(), at)) && held.contains(&("writer".to_owned(), elsewhere)));

    // Nothing comes beside it, by any way.
    assert_eq!(code(admin.grant_role(&operator(), grace, role_at(writer)).await), "role_exclusive");
    assert_eq!(
        code(admin.grant_role(&operator(), grace, role_at(viewer)).await),
        "role_exclusive",
        "two of them"
    );
    assert_eq!(code(admin.grant_permission(&operator(), grace, &pattern, at).await), "role_exclusive");
    let super_admin = admin.role_named(&operator(), "super-admin", None).await.unwrap().id;
    let everywhere = Given { role: super_admin, place: Place::Global };
    assert_eq!(code(admin.grant_role(&operator(), grace, everywhere).await), "role_exclusive");
    assert_eq!(code(admin.transfer_tenant(&operator(), acme, grace).await), "wrong_status");
    admin
        .edit_user(&operator(), grace, Edit { kind: Some(AccountKind::Admin), ..Edit::default() })
        .await
        .unwrap();
    assert_eq!(code(admin.transfer_tenant(&operator(), acme, grace).await), "role_exclusive");
    let new =
        NewUser { joins: vec![at], roles: vec![role_at(auditor), role_at(writer)], ..new_user("linus") };
    assert_eq!(code(admin.create_user(&operator(), new).await), "role_exclusive", "at creation");

    // Nor by making a role exclusive that is held beside others, nor by one that everybody gets.
    let plain = house.person("plain", AccountKind::User, &[("user", at), ("writer", at)]).await;
    assert_eq!(code(admin.edit_role(&operator(), writer, exclusive("books:write")).await), "role_exclusive");
    let automatic = RoleDraft { auto_assigned: true, ..exclusive("x:y") };
    assert_eq!(code(admin.create_role(&operator(), None, &slug("auto"), automatic).await), "invalid");

    // What a provider's rule gives does not make room.
    let mut tx = admin.db.begin().await.unwrap();
    let given = grants::Assignment {
        id: crate::domain::AssignmentId::mint(admin.clock.now(), &OsChance),
        user: plain,
        role: writer,
        place: at,
        origin: crate::domain::Origin::Provider("entra".into()),
        by: "entra".to_owned(),
        at: admin.clock.now(),
    };
    grants::assign(&mut tx, &given).await.unwrap();
    tx.commit(admin.clock.now()).await.unwrap();
    assert_eq!(code(admin.grant_role(&operator(), plain, role_at(auditor)).await), "role_exclusive");
    assert_eq!(house.as_(plain).await.principal().unwrap().roles.len(), 3, "nothing was cleared");
}

#[tokio::test]
async fn tenant_11_built_in_roles_stay_and_roles_in_use_are_not_deleted() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let at = Place::Tenant(acme);
    let admin = &house.admin;
    for (name, ..) in crate::domain::role::BUILT_IN {
        let id = admin.role_named(&operator(), name, None).await.unwrap().id;
        assert_eq!(
            code(admin.edit_role(&operator(), id, draft(Scope::Tenant, &[])).await),
            "system_role",
            "{name}"
        );
        assert_eq!(code(admin.delete_role(&operator(), id, true).await), "system_role", "{name}");
        assert_eq!(
            code(admin.create_role(&operator(), Some(acme), &slug(name), draft(Scope::Tenant, &[])).await),
            "slug_taken"
        );
    }
    let analyst = house.role(Some(acme), "analyst", draft(Scope::Tenant, &["reports:read"])).await;
    let grace = house.person("grace", AccountKind::User, &[("analyst", at)]).await;
    assert_eq!(code(admin.delete_role(&operator(), analyst, false).await), "in_use");
    assert!(
        house.as_(grace).await.principal().unwrap().holds(&Permission::parse("reports:read").unwrap(), at)
    );
    assert_eq!(code(admin.delete_role(&operator(), analyst, true).await), "done");
    // A role of the same name is another role: nobody holds it.
    house.role(Some(acme), "analyst", draft(Scope::Tenant, &["reports:read"])).await;
    assert!(
        !house.as_(grace).await.principal().unwrap().holds(&Permission::parse("reports:read").unwrap(), at)
    );
}

#[tokio::test]
async fn tenant_11_permissions_are_checked_and_scopes_fit() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let europe = house.org(acme, "europe").await;
    let finance = house.department(europe, "finance").await;
    let admin = &house.admin;
    let make =
        async |tenant, draft| code(admin.create_role(&operator(), tenant, &slug("new-role"), draft).await);
    assert_eq!(make(None, draft(Scope::Tenant, &["users:frobnicate"])).await, "invalid");
    assert_eq!(make(Some(acme), draft(Scope::Global, &[])).await, "role_scope");
    assert_eq!(make(Some(acme), draft(Scope::Own, &["users:write"])).await, "role_scope");
    let clerk = house.role(Some(acme), "clerk", draft(Scope::Department, &["books:read"])).await;
    let grace = house.person("grace", AccountKind::User, &[("user", finance)]).await;
    for place in [Place::Global, Place::Tenant(acme), europe] {
        assert_eq!(
            code(admin.grant_role(&operator(), grace, Given { role: clerk, place }).await)
                .replace("not_found", "role_scope"),
            "role_scope"
        );
    }
    assert_eq!(
        code(admin.grant_role(&operator(), grace, Given { role: clerk, place: finance }).await),
        "done"
    );
    let lead = house.role(Some(acme), "lead", draft(Scope::Tenant, &["books:read"])).await;
    assert_eq!(
        code(admin.grant_role(&operator(), grace, Given { role: lead, place: finance }).await),
        "done",
        "narrower is fine"
    );
    assert_eq!(
        code(admin.grant_role(&operator(), grace, Given { role: lead, place: Place::Tenant(acme) }).await),
        "done"
    );
    assert_eq!(
        code(admin.edit_role(&operator(), lead, draft(Scope::Department, &[])).await),
        "role_scope",
        "held wider"
    );
    // Not a member of the tenant: nothing is given there.
    let other = house.person("other", AccountKind::User, &[]).await;
    assert_eq!(
        code(admin.grant_role(&operator(), other, Given { role: lead, place: Place::Tenant(acme) }).await),
        "not_member"
    );
    // A name that means two roles at once means neither.
    assert_eq!(
        code(admin.create_role(&operator(), None, &slug("clerk"), draft(Scope::Tenant, &[])).await),
        "slug_taken"
    );
}

#[tokio::test]
async fn every_change_leaves_a_record_and_every_refusal_word() {
    let mut house = house().await;
    let acme = house.tenant("acme").await;
    let grace = house.person("grace", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    house.admin.suspend_user(&operator(), grace, "on leave", None).await.unwrap();
    assert_eq!(house.admin.activate_user(&operator(), grace).await.unwrap(), Status::Active);
    let actions = house.actions().await;
    for action in ["tenant.create", "user.create", "user.suspend", "user.activate"] {
        assert_eq!(
            actions.iter().filter(|(it, outcome)| it == action && outcome == "done").count(),
            1,
            "{action}"
        );
    }
    let by = house.as_(grace).await;
    assert_eq!(code(house.admin.delete_user(&by, grace).await), "cannot_delete_self");
    let refused = house.refusals.recv().await.unwrap();
    assert_eq!((refused.action, refused.outcome), ("user.delete", crate::domain::Outcome::Refused));
    assert_eq!(refused.detail["code"], "cannot_delete_self");
}

#[tokio::test]
async fn the_keys_and_the_records_as_a_whole_are_nobody_s_who_has_but_a_tenant() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let ada = house.admin_of("ada", "tenant-admin", Place::Tenant(acme)).await;
    let by = house.as_(ada).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    assert_eq!(code(house.admin.backup(&by, &to).await), "forbidden");
    assert!(!to.exists());
    assert_eq!(code(house.admin.rotate_keys(&by).await), "forbidden");
    assert_eq!(code(house.admin.reseal(&by).await), "forbidden");
    assert_eq!(code(house.admin.backup(&operator(), &to).await), "done");
    assert!(to.exists());
}

#[tokio::test]
async fn tenant_05_a_provider_is_tried_and_switched_by_whoever_has_a_say_where_it_belongs() {
    let house = house().await;
    let (acme, other) = (house.tenant("acme").await, house.tenant("other").await);
    let ada = house.admin_of("ada", "tenant-admin", Place::Tenant(acme)).await;
    let eve = house.admin_of("eve", "tenant-admin", Place::Tenant(other)).await;
    let grace = house.person("grace", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    let (own, name, admin) = (Some(slug("acme")), slug("corp"), &house.admin);
    for (who, tenant, fine) in
        [(ada, &own, true), (ada, &None, false), (eve, &own, false), (grace, &own, false)]
    {
        let by = house.as_(who).await;
        let tried = admin.may_try_provider(&by, tenant.as_ref()).await;
        let stopped = admin.stop_provider(&by, (&name, tenant.as_ref()), "a test", None).await;
        assert_eq!((tried.is_ok(), stopped.is_ok()), (fine, fine), "{tenant:?}");
    }
}
