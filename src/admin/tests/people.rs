//! Making people, helping them in, and letting them go.

use std::net::IpAddr;

use crate::access::principal;
use crate::crypto::token::handle_digest;
use crate::domain::login::Proven;
use crate::domain::session::FirstFactor;
use crate::domain::{AccountKind, EmailAddress, FactorId, Place, SessionId, Status};
use crate::store::credentials::{self, Factor};
use crate::store::links::{self, Purpose};
use crate::store::sessions::{self, Session};
use crate::store::throttles::{self, Counter};
use crate::store::users;

use super::*;

fn token(issued: &Issued) -> [u8; 32] {
    let text = issued.text.expose().rsplit('/').next().unwrap();
    assert_eq!(text.len(), 43);
    handle_digest(text).unwrap()
}

async fn waits(house: &House, issued: &Issued, purpose: Purpose) -> bool {
    let mut tx = house.admin.db.begin().await.unwrap();
    links::take(&mut tx, &token(issued), purpose, house.admin.clock.now()).await.unwrap().is_some()
}

/// A live session, as a sign-in would have left it.
async fn session(house: &House, user: UserId) -> SessionId {
    let now = house.admin.clock.now();
    let id = SessionId::mint(now, &OsChance);
    let session = Session {
        id,
        user,
        tenant: None,
        level: Proven::first(user, FirstFactor::Password, 0, now).level().clone(),
        created_at: now,
        seen_at: now,
        idle_until: now + Span::hours(8),
        absolute_until: now + Span::hours(24),
        ended: None,
        address: "192.0.2.1".to_owned(),
        agent: String::new(),
    };
    let mut tx = house.admin.db.begin().await.unwrap();
    sessions::add(&mut tx, &session).await.unwrap();
    tx.commit(now).await.unwrap();
    id
}

async fn live(house: &House, user: UserId) -> usize {
    sessions::live_of(&mut house.admin.db.read().await.unwrap(), user, house.admin.clock.now())
        .await
        .unwrap()
        .len()
}

async fn enrol(house: &House, user: UserId) {
    let now = house.admin.clock.now();
    let place = credentials::seal_place(user);
    let sealed = house.admin.keys.sealer.seal(&place, b"a seed of twenty byt", &OsChance).unwrap();
    let factor = Factor { id: FactorId::mint(now, &OsChance), sealed, last_step: 0, created_at: now };
    let mut tx = house.admin.db.begin().await.unwrap();
    credentials::add_factor(&mut tx, user, &factor).await.unwrap();
    credentials::replace_codes(&mut tx, user, &[[1; 32], [2; 32]], now).await.unwrap();
    tx.commit(now).await.unwrap();
}

#[tokio::test]
async fn pwd_07_links_are_single_short_and_of_the_configured_origin() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let grace = house.person("grace", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    let admin = &house.admin;
    let first = admin.password_link(&operator(), grace, LINK_LIFE).await.unwrap();
    assert!(first.text.expose().starts_with("https://access.example.com/password/set/"));
    assert_eq!(first.expires_at.since(admin.clock.now()).as_seconds() / 60, 29);
    // A newer one makes the older worthless; nothing but the digest is kept.
    let second = admin.password_link(&operator(), grace, Span::minutes(5)).await.unwrap();
    assert!(!waits(&house, &first, Purpose::Password).await);
    assert!(waits(&house, &second, Purpose::Password).await);
    assert!(!waits(&house, &second, Purpose::Setup).await, "of another purpose");
    house.later(Span::minutes(6));
    assert!(!waits(&house, &second, Purpose::Password).await, "run out");
    // At most half an hour for a reset, seven days for an invitation.
    assert_eq!(code(admin.password_link(&operator(), grace, Span::minutes(31)).await), "link_life");
    let new =
        NewUser { joins: vec![Place::Tenant(acme)], handover: Some(INVITATION_LIFE), ..new_user("linus") };
    let linus = admin.create_user(&operator(), new).await.unwrap();
    assert!(waits(&house, linus.link.as_ref().unwrap(), Purpose::Password).await);
    assert_eq!(admin.show_user(&operator(), linus.id).await.unwrap().status, Status::Invited);
    assert_eq!(code(admin.password_link(&operator(), linus.id, Span::hours(7 * 24 + 1)).await), "link_life");
    // None for whoever is stopped, and stopping somebody ends the one there is.
    let third = admin.password_link(&operator(), grace, LINK_LIFE).await.unwrap();
    admin.suspend_user(&operator(), grace, "", None).await.unwrap();
    assert!(!waits(&house, &third, Purpose::Password).await);
    assert_eq!(code(admin.password_link(&operator(), grace, LINK_LIFE).await), "wrong_status");
}

#[tokio::test]
async fn pwd_07_a_password_set_by_somebody_else_must_be_changed_and_ends_sessions() {
    let house = house().await;
    let grace = house.person("grace", AccountKind::User, &[]).await;
    session(&house, grace).await;
    let admin = &house.admin;
    for (wrong, why) in [
        ("short", "password_too_short"),
        ("password1234", "password_common"),
        ("grace1234567", "password_personal"),
    ] {
        let wrong = Password::parse(wrong).unwrap();
        assert_eq!(code(admin.set_password(&operator(), grace, &wrong, Sessions::End).await), why);
    }
    let link = admin.password_link(&operator(), grace, LINK_LIFE).await.unwrap();
    let next = Password::parse("another-ferry-32").unwrap();
    assert_eq!(admin.set_password(&operator(), grace, &next, Sessions::Keep).await.unwrap(), 0);
    assert_eq!(live(&house, grace).await, 1);
    assert!(!waits(&house, &link, Purpose::Password).await);
    assert_eq!(admin.set_password(&operator(), grace, &next, Sessions::End).await.unwrap(), 1);
    assert_eq!(live(&house, grace).await, 0);
    let view = admin.show_user(&operator(), grace).await.unwrap();
    assert!(view.user.must_change_password);
    let (hash, _) = credentials::password(&mut admin.db.read().await.unwrap(), grace).await.unwrap().unwrap();
    assert!(hash.starts_with("$argon2id$"));
}

#[tokio::test]
async fn pwd_08_no_default_account_and_one_setup_link_at_a_time() {
    let house = house().await;
    let admin = &house.admin;
    assert!(!users::any(&mut admin.db.read().await.unwrap()).await.unwrap(), "nobody, on an empty database");
    assert!(!admin.is_set_up().await.unwrap());
    let first = admin.setup_link(&operator(), LINK_LIFE).await.unwrap();
    assert!(first.text.expose().starts_with("https://access.example.com/setup/"));
    let second = admin.setup_link(&operator(), LINK_LIFE).await.unwrap();
    assert!(!waits(&house, &first, Purpose::Setup).await, "re-issued: the older one is worth nothing");
    assert!(waits(&house, &second, Purpose::Setup).await);
    assert_eq!(code(admin.setup_link(&operator(), Span::hours(1)).await), "link_life");
    house.later(Span::minutes(31));
    assert!(!waits(&house, &second, Purpose::Setup).await);
    house.admin_of("ada", "super-admin", Place::Global).await;
    assert_eq!(code(admin.setup_link(&operator(), LINK_LIFE).await), "already_set_up");
}

#[tokio::test]
async fn pwd_08_the_environment_names_one_administrator_once() {
    let house = house().await;
    let admin = &house.admin;
    let (name, password) = (Username::parse("admin").unwrap(), Password::parse("changeme").unwrap());
    let link = admin.setup_link(&operator(), LINK_LIFE).await.unwrap();
    let made = admin.bootstrap_admin(&name, &password, None).await.unwrap().unwrap();
    assert!(!waits(&house, &link, Purpose::Setup).await);
    let view = admin.show_user(&operator(), made).await.unwrap();
    assert!(view.user.must_change_password && view.user.kind == AccountKind::Admin);
    assert_eq!(
        view.principal.roles.first().map(|held| (held.slug.to_string(), held.place)),
        Some(("super-admin".to_owned(), Place::Global))
    );
    for name in ["admin", "another"] {
        let name = Username::parse(name).unwrap();
        assert_eq!(
            admin.bootstrap_admin(&name, &password, None).await.unwrap(),
            None,
            "a second start creates none"
        );
    }
    let all = admin.list_users(&operator(), &UserList { limit: 10, ..UserList::default() }).await.unwrap();
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn mfa_11_a_reset_drops_everything_and_gives_a_code_for_the_next_enrolment() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let grace = house.person("grace", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    enrol(&house, grace).await;
    session(&house, grace).await;
    let admin = &house.admin;
    let first = admin.reset_mfa(&operator(), grace).await.unwrap();
    let issued = admin.reset_mfa(&operator(), grace).await.unwrap();
    let view = admin.show_user(&operator(), grace).await.unwrap();
    assert!(!view.principal.enrolled && view.recovery_codes == 0 && view.sessions == 0);
    let digest = |issued: &Issued| {
        let bare: String = issued.text.expose().chars().filter(char::is_ascii_alphanumeric).collect();
        assert_eq!(bare.len(), 10);
        crate::crypto::digest::sha256(bare.as_bytes())
    };
    let now = admin.clock.now();
    let mut tx = admin.db.begin().await.unwrap();
    assert!(links::take(&mut tx, &digest(&first), Purpose::Enrolment, now).await.unwrap().is_none());
    let link = links::take(&mut tx, &digest(&issued), Purpose::Enrolment, now).await.unwrap().unwrap();
    assert_eq!(link.user, Some(grace));
    drop(tx);
    assert!(house.actions().await.contains(&("user.reset-mfa".to_owned(), "done".to_owned())));
}

#[tokio::test]
async fn mfa_11_owners_and_the_last_administrator_keep_theirs_but_for_the_host() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let ada = house.admin_of("ada", "super-admin", Place::Global).await;
    let olga = house.admin_of("olga", "user", Place::Tenant(acme)).await;
    house.admin.transfer_tenant(&operator(), acme, olga).await.unwrap();
    let by = house.as_(ada).await;
    assert_eq!(code(house.admin.reset_mfa(&by, olga).await), "owner_immutable");
    assert_eq!(code(house.admin.reset_mfa(&operator(), olga).await), "done", "recovery from the host");
    assert_eq!(code(house.admin.reset_mfa(&operator(), ada).await), "done");
}

#[tokio::test]
async fn unlock_clears_what_is_about_the_person_and_nothing_else() {
    let house = house().await;
    let (grace, linus) = (
        house.person("grace", AccountKind::User, &[]).await,
        house.person("linus", AccountKind::User, &[]).await,
    );
    let now = house.admin.clock.now();
    let subjects = [
        format!("account:{grace}"),
        format!("factor:{grace}"),
        format!("recovery:{grace}"),
        format!("pair:{grace}:192.0.2.1"),
        format!("account:{linus}"),
        "address:192.0.2.1".to_owned(),
        "address:2001:db8:1:2::".to_owned(),
    ];
    let mut tx = house.admin.db.begin().await.unwrap();
    for subject in &subjects {
        throttles::hold(&mut tx, subject, now).await.unwrap();
        throttles::write(
            &mut tx,
            subject,
            Counter { failures: 9, since: now, blocked_until: now + Span::hours(1) },
        )
        .await
        .unwrap();
    }
    tx.commit(now).await.unwrap();
    assert_eq!(house.admin.unlock_user(&operator(), grace).await.unwrap(), 4);
    assert_eq!(
        house.admin.unlock_address(&operator(), "192.0.2.1".parse::<IpAddr>().unwrap()).await.unwrap(),
        1
    );
    assert_eq!(
        house
            .admin
            .unlock_address(&operator(), "2001:db8:1:2:3:4:5:6".parse::<IpAddr>().unwrap())
            .await
            .unwrap(),
        1
    );
    let mut conn = house.admin.db.read().await.unwrap();
    assert!(throttles::read(&mut conn, &format!("account:{linus}")).await.unwrap().is_some());
    assert!(throttles::read(&mut conn, &format!("pair:{grace}:192.0.2.1")).await.unwrap().is_none());
}

#[tokio::test]
async fn names_are_taken_once_and_never_given_out_again() {
    let house = house().await;
    let grace = house.person("grace", AccountKind::User, &[]).await;
    assert_eq!(code(house.admin.create_user(&operator(), new_user("grace")).await), "username_taken");
    assert_eq!(code(house.admin.create_user(&operator(), new_user("GRACE")).await), "username_taken");
    house.admin.delete_user(&operator(), grace).await.unwrap();
    assert_eq!(code(house.admin.create_user(&operator(), new_user("grace")).await), "username_taken");
    assert_eq!(code(house.admin.show_user(&operator(), grace).await), "not_found");
}

#[tokio::test]
async fn an_address_signs_in_only_where_its_domain_is_verified() {
    let house = house().await;
    let (acme, partner) = (house.tenant("acme").await, house.tenant("partner").await);
    let admin = &house.admin;
    let email = |text: &str| Some(EmailAddress::parse(text).unwrap());
    let make = |name: &str, address: &str, joins: Vec<Place>| NewUser {
        email: email(address),
        joins,
        ..new_user(name)
    };
    let verified = async |id| admin.show_user(&operator(), id).await.unwrap().user.email_verified;
    let grace = admin
        .create_user(&operator(), make("grace", "g@acme.example", vec![Place::Tenant(acme)]))
        .await
        .unwrap()
        .id;
    let squat = admin
        .create_user(&operator(), make("squat", "boss@acme.example", vec![Place::Tenant(partner)]))
        .await
        .unwrap()
        .id;
    assert!(verified(grace).await);
    assert!(!verified(squat).await, "of another company: contact data");
    // So the real one is not kept out, and a second real one is.
    let boss = admin
        .create_user(&operator(), make("boss", "Boss@Acme.example", vec![Place::Tenant(acme)]))
        .await
        .unwrap()
        .id;
    assert!(verified(boss).await);
    let twice = make("twice", "boss@acme.example", vec![Place::Tenant(acme)]);
    assert_eq!(code(admin.create_user(&operator(), twice).await), "email_taken");
    assert_eq!(
        code(
            admin
                .edit_user(
                    &operator(),
                    grace,
                    Edit { email: Some(email("boss@acme.example")), ..Edit::default() }
                )
                .await
        ),
        "email_taken"
    );
    assert_eq!(admin.user_named(&operator(), "boss@acme.example").await.unwrap(), boss);

    // Leaving takes the sign-in name away, coming gives it; whoever had it keeps it.
    admin.leave(&operator(), grace, acme).await.unwrap();
    assert!(!verified(grace).await);
    admin.join(&operator(), grace, Place::Tenant(acme)).await.unwrap();
    assert!(verified(grace).await);
    admin.join(&operator(), squat, Place::Tenant(acme)).await.unwrap();
    assert!(!verified(squat).await && verified(boss).await);

    // So do the domains of the tenant.
    let moved = admin.set_domains(&operator(), acme, &[]).await.unwrap();
    assert_eq!(moved.iter().filter(|it| !it.signs_in).count(), 2);
    assert!(!verified(grace).await && !verified(boss).await);
    let domain = [Hostname::parse("acme.example").unwrap()];
    let moved = admin.set_domains(&operator(), acme, &domain).await.unwrap();
    assert_eq!(moved.iter().filter(|it| it.signs_in).count(), 2, "{moved:?}");
    assert_eq!(code(admin.set_domains(&operator(), partner, &domain).await), "domain_taken");
    // A tenant does not say of itself which domains are its own.
    let ada = house.admin_of("ada", "tenant-admin", Place::Tenant(acme)).await;
    assert_eq!(code(admin.set_domains(&house.as_(ada).await, acme, &[]).await), "forbidden");
}

#[tokio::test]
async fn stopping_ends_sessions_for_good() {
    let house = house().await;
    let grace = house.person("grace", AccountKind::User, &[]).await;
    let id = session(&house, grace).await;
    let until = house.admin.clock.now() + Span::hours(1);
    house.admin.suspend_user(&operator(), grace, "lost laptop", Some(until)).await.unwrap();
    assert_eq!(live(&house, grace).await, 0);
    let view = house.admin.show_user(&operator(), grace).await.unwrap();
    let why = view.user.suspension.unwrap();
    assert_eq!(
        (why.by.as_str(), why.reason.as_str(), why.until),
        ("root on the host", "lost laptop", Some(until))
    );
    house.later(Span::hours(2));
    assert_eq!(
        house.admin.show_user(&operator(), grace).await.unwrap().status,
        Status::Active,
        "runs out by itself"
    );
    assert_eq!(house.admin.activate_user(&operator(), grace).await.unwrap(), Status::Active);
    assert_eq!(live(&house, grace).await, 0, "what has ended stays ended");
    assert_eq!(code(house.admin.revoke_session(&operator(), id).await), "not_found");
    house.admin.deactivate_user(&operator(), grace).await.unwrap();
    assert_eq!(house.admin.show_user(&operator(), grace).await.unwrap().status, Status::Inactive);
    // Whoever never had a password goes on waiting for one.
    let invited = house.admin.create_user(&operator(), new_user("linus")).await.unwrap().id;
    house.admin.suspend_user(&operator(), invited, "", None).await.unwrap();
    assert_eq!(house.admin.activate_user(&operator(), invited).await.unwrap(), Status::Invited);
}

#[tokio::test]
async fn deleting_takes_everything_but_the_name_and_the_log() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let group = house.admin.put_group(&operator(), acme, &slug("staff")).await.unwrap();
    let new = NewUser {
        email: Some(EmailAddress::parse("g@acme.example").unwrap()),
        joins: vec![Place::Tenant(acme)],
        groups: vec![group],
        password: Some(Password::parse(PASSWORD).unwrap()),
        ..new_user("grace")
    };
    let grace = house.admin.create_user(&operator(), new).await.unwrap().id;
    enrol(&house, grace).await;
    session(&house, grace).await;
    let export = house.admin.export_user(&operator(), grace).await.unwrap();
    assert_eq!(export["groups"][0], "acme/staff");
    assert!(!export.to_string().contains("argon2"), "no secret in an export");
    house.admin.delete_user(&operator(), grace).await.unwrap();
    let mut conn = house.admin.db.read().await.unwrap();
    let tree = house.admin.tree().await.unwrap();
    let gone = principal::load(&mut conn, grace, &tree, house.admin.clock.now()).await.unwrap().unwrap();
    assert!(
        gone.memberships.is_empty()
            && gone.roles.is_empty()
            && gone.groups.is_empty()
            && !gone.enrolled
            && !gone.active()
    );
    assert!(credentials::password(&mut conn, grace).await.unwrap().is_none());
    drop(conn);
    assert_eq!(live(&house, grace).await, 0);
    assert!(house.actions().await.contains(&("user.delete".to_owned(), "done".to_owned())));
    // The address is free again.
    let new = NewUser {
        email: Some(EmailAddress::parse("g@acme.example").unwrap()),
        joins: vec![Place::Tenant(acme)],
        ..new_user("gina")
    };
    assert!(house.admin.create_user(&operator(), new).await.is_ok());
}

#[tokio::test]
async fn people_are_taken_over_with_the_hashes_they_have() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    house.role(Some(acme), "analyst", draft(crate::domain::Scope::Tenant, &["reports:read"])).await;
    house.admin.put_group(&operator(), acme, &slug("staff")).await.unwrap();
    let line = |text: &str| serde_json::from_str::<ImportLine>(text);
    let hash = "$2b$04$abcdefghijklmnopqrstuuMgxNi3nGhgXz0RU6JE1yfMwBHNhTuKm";
    let good = format!(
        r#"{{"username":"Grace","name":"Grace Hopper","password_hash":"{hash}","places":["acme"],"roles":["analyst"],"groups":["staff"]}}"#
    );
    let taken = house.admin.import_user(&operator(), &line(&good).unwrap()).await.unwrap();
    assert!(taken.has_password);
    let view = house.admin.show_user(&operator(), taken.id).await.unwrap();
    assert_eq!((view.status, view.user.must_change_password, view.groups.len()), (Status::Active, false, 1));
    assert_eq!(view.principal.roles.iter().map(|it| it.slug.to_string()).collect::<Vec<_>>(), ["analyst"]);
    assert_eq!(code(house.admin.import_user(&operator(), &line(&good).unwrap()).await), "username_taken");
    let waiting =
        house.admin.import_user(&operator(), &line(r#"{"username":"linus"}"#).unwrap()).await.unwrap();
    assert_eq!(house.admin.show_user(&operator(), waiting.id).await.unwrap().status, Status::Invited);
    for wrong in [r#"{"username":"x"}"#, r#"{"username":"fine","pasword":"x"}"#, "{}"] {
        assert!(line(wrong).is_err(), "{wrong}");
    }
    let plain = line(r#"{"username":"other","password_hash":"maple-ferry-31"}"#).unwrap();
    assert_eq!(code(house.admin.import_user(&operator(), &plain).await), "invalid");
    let nowhere = line(r#"{"username":"other","places":["acme/north"]}"#).unwrap();
    assert_eq!(code(house.admin.import_user(&operator(), &nowhere).await), "not_found");
}

#[tokio::test]
async fn a_new_admin_holds_everything_at_the_place_and_a_new_user_the_usual() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let europe = house.org(acme, "europe").await;
    for (place, role) in [(Place::Tenant(acme), "tenant-admin"), (europe, "org-admin")] {
        let new =
            NewUser { kind: AccountKind::Admin, joins: vec![place], ..new_user(&role.replace('-', ".")) };
        let made = house.admin.create_user(&operator(), new).await.unwrap();
        assert_eq!(made.given.len(), 1);
        assert!(made.given[0].starts_with(role));
    }
    let made = house
        .admin
        .create_user(&operator(), NewUser { joins: vec![europe], ..new_user("plain") })
        .await
        .unwrap();
    assert_eq!(made.given, ["user at acme"]);
    // What every member gets comes with the membership, and goes with it.
    let automatic = RoleDraft { auto_assigned: true, ..draft(crate::domain::Scope::Tenant, &["news:read"]) };
    house.role(Some(acme), "newsreader", automatic).await;
    let grace = house.person("grace", AccountKind::User, &[]).await;
    house.admin.join(&operator(), grace, europe).await.unwrap();
    let held = |authority: Authority| {
        authority.principal().unwrap().roles.iter().map(|it| it.slug.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(held(house.as_(grace).await), ["newsreader"]);
    house.admin.leave(&operator(), grace, acme).await.unwrap();
    assert!(held(house.as_(grace).await).is_empty());
}

#[tokio::test]
async fn key_02_everything_is_sealed_anew() {
    let mut house = house().await;
    let grace = house.person("grace", AccountKind::User, &[]).await;
    enrol(&house, grace).await;
    let web = WebKeys::derive(&Secret::new(vec![9; 32])).unwrap();
    let signing = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), ASSERTION_TYPE).unwrap();
    let sealer = Sealer::new(&[2; 32], &[Secret::new([1; 32])]).unwrap();
    house.admin.keys = Arc::new(Keyring::new(sealer, web, AssertionKeys::new(signing, Vec::new())));
    assert_eq!(house.admin.reseal(&operator()).await.unwrap(), 1);
    assert_eq!(house.admin.reseal(&operator()).await.unwrap(), 0);
    let factor =
        credentials::factor(&mut house.admin.db.read().await.unwrap(), grace).await.unwrap().unwrap();
    let only_new = Sealer::new(&[2; 32], &[]).unwrap();
    assert_eq!(
        only_new.open(&credentials::seal_place(grace), &factor.sealed).unwrap().expose(),
        b"a seed of twenty byt"
    );
}

#[tokio::test]
async fn pwd_08_an_administrator_whose_suspension_has_run_out_is_one() {
    let house = house().await;
    let admin = &house.admin;
    let ada = house.admin_of("ada", "super-admin", Place::Global).await;
    let eve = house.admin_of("eve", "super-admin", Place::Global).await;
    let until = admin.clock.now() + Span::hours(1);
    admin.suspend_user(&operator(), ada, "", Some(until)).await.unwrap();
    house.later(Span::hours(2));
    admin.delete_user(&operator(), eve).await.unwrap();
    assert!(admin.is_set_up().await.unwrap());
    assert_eq!(code(admin.setup_link(&operator(), LINK_LIFE).await), "already_set_up");
}
