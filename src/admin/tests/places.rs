//! Tenants, their places, and what the file declares.

use crate::domain::{AccountKind, Permission, Place, Scope};
use crate::store::feed;

use super::*;

fn declared() -> Declared {
    let analyst = DeclaredRole {
        at: "cardea.toml:20".to_owned(),
        tenant: Some(slug("acme")),
        slug: slug("analyst"),
        draft: draft(Scope::Department, &["reports:read", "reports:export"]),
    };
    Declared {
        tenants: vec![DeclaredTenant {
            at: "cardea.toml:10".to_owned(),
            slug: slug("acme"),
            name: "Acme".to_owned(),
            domains: vec![Hostname::parse("acme.example").unwrap()],
            plan: String::new(),
            mfa_required: false,
            orgs: vec![DeclaredOrg {
                slug: slug("europe"),
                name: "Europe".to_owned(),
                departments: vec![(slug("finance"), "Finance".to_owned())],
            }],
        }],
        roles: vec![analyst],
        groups: vec![(slug("acme"), slug("staff"))],
    }
}

async fn end_of_feed(house: &House) -> feed::Position {
    feed::end(&mut house.admin.db.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_file_is_applied_and_nothing_is_written_when_nothing_changed() {
    let house = house().await;
    let applied = house.admin.apply_objects(&declared()).await.unwrap();
    assert_eq!(applied.changes.len(), 6, "{:?}", applied.changes);
    let (feed, records) = (end_of_feed(&house).await, house.actions().await.len());
    assert_eq!(house.admin.apply_objects(&declared()).await.unwrap(), Applied::default());
    assert_eq!((end_of_feed(&house).await, house.actions().await.len()), (feed, records));
    let mut other = declared();
    other.tenants[0].name = "Acme Industries".to_owned();
    assert_eq!(house.admin.apply_objects(&other).await.unwrap().changes, ["tenant acme"]);
}

#[tokio::test]
async fn what_vanishes_from_the_file_goes_out_of_force_and_comes_back_whole() {
    let house = house().await;
    house.admin.apply_objects(&declared()).await.unwrap();
    let finance = house.admin.place_named(&operator(), "acme/europe/finance").await.unwrap();
    let grace = house.person("grace", AccountKind::User, &[("analyst", finance)]).await;
    let group = house.admin.group_named(&operator(), "acme/staff").await.unwrap();
    house.admin.join_group(&operator(), grace, group).await.unwrap();
    let read = Permission::parse("reports:read").unwrap();
    let holds = async || house.as_(grace).await.principal().unwrap().holds(&read, finance);
    assert!(holds().await);

    let mut less = declared();
    less.roles.clear();
    less.groups.clear();
    less.tenants[0].orgs[0].departments.clear();
    let changes = house.admin.apply_objects(&less).await.unwrap().changes;
    assert_eq!(changes, ["role analyst retired", "group staff retired", "department finance retired"]);
    assert!(!holds().await);
    assert!(house.as_(grace).await.principal().unwrap().groups.is_empty());
    assert_eq!(code(house.admin.place_named(&operator(), "acme/europe/finance").await), "not_found");

    house.admin.apply_objects(&declared()).await.unwrap();
    assert!(holds().await);
    assert_eq!(house.as_(grace).await.principal().unwrap().groups.len(), 1);

    house.admin.apply_objects(&Declared::default()).await.unwrap();
    assert!(house.admin.list_tenants(&operator()).await.unwrap().is_empty());
    house.admin.apply_objects(&declared()).await.unwrap();
    assert!(holds().await);
}

#[tokio::test]
async fn one_owner_for_each_object() {
    let house = house().await;
    house.admin.apply_objects(&declared()).await.unwrap();
    let admin = &house.admin;
    let acme = admin.tenant_named(&operator(), "acme").await.unwrap();
    let Place::Department(_, org, department) =
        admin.place_named(&operator(), "acme/europe/finance").await.unwrap()
    else {
        unreachable!()
    };
    let role = admin.role_named(&operator(), "acme/analyst", None).await.unwrap().id;
    let group = admin.group_named(&operator(), "staff").await.unwrap();
    let other = TenantDraft { name: "Other".to_owned(), plan: String::new(), mfa_required: false };
    assert_eq!(code(admin.edit_tenant(&operator(), acme, &other).await), "managed_by_file");
    assert_eq!(code(admin.set_domains(&operator(), acme, &[]).await), "managed_by_file");
    assert_eq!(code(admin.delete_tenant(&operator(), acme, true).await), "managed_by_file");
    assert_eq!(code(admin.rename_org(&operator(), org, "x").await), "managed_by_file");
    assert_eq!(code(admin.delete_org(&operator(), org, true).await), "managed_by_file");
    assert_eq!(code(admin.rename_department(&operator(), department, "x").await), "managed_by_file");
    assert_eq!(code(admin.delete_department(&operator(), department, true).await), "managed_by_file");
    assert_eq!(code(admin.edit_role(&operator(), role, draft(Scope::Tenant, &[])).await), "managed_by_file");
    assert_eq!(code(admin.delete_role(&operator(), role, true).await), "managed_by_file");
    assert_eq!(code(admin.delete_group(&operator(), group).await), "managed_by_file");
    // It can be stopped all the same, and the next start does not undo that.
    admin.suspend_tenant(&operator(), acme, "unpaid", None).await.unwrap();
    assert_eq!(admin.apply_objects(&declared()).await.unwrap(), Applied::default());
    assert_eq!(admin.show_tenant(&operator(), acme).await.unwrap().tenant.status, "suspended");
}

#[tokio::test]
async fn what_was_made_by_hand_is_never_taken_over() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let before = house.actions().await.len();
    let clash = house.admin.apply_objects(&declared()).await.unwrap_err();
    assert_eq!(clash.code(), "name_clash");
    assert!(clash.to_string().starts_with("cardea.toml:10: tenant acme exists already"), "{clash}");
    assert_eq!(house.actions().await.len(), before, "wholly or not at all");
    // Nor one that was deleted: its records would become the new one's.
    house.admin.delete_tenant(&operator(), acme, false).await.unwrap();
    assert_eq!(code(house.admin.apply_objects(&declared()).await), "name_clash");

    let house = super::house().await;
    house.role(None, "analyst", draft(Scope::Tenant, &[])).await;
    let clash = house.admin.apply_objects(&declared()).await.unwrap_err();
    assert!(clash.to_string().starts_with("cardea.toml:20: role analyst"), "{clash}");
}

#[tokio::test]
async fn domains_move_between_tenants_of_the_file_in_one_go() {
    let house = house().await;
    let mut two = declared();
    let mut partner = two.tenants[0].clone();
    (partner.slug, partner.domains, partner.orgs) =
        (slug("partner"), vec![Hostname::parse("partner.example").unwrap()], Vec::new());
    two.tenants.push(partner);
    house.admin.apply_objects(&two).await.unwrap();
    let swap = two.tenants[0].domains.clone();
    two.tenants[0].domains = two.tenants[1].domains.clone();
    two.tenants[1].domains = swap;
    house.admin.apply_objects(&two).await.unwrap();
    let acme = house.admin.tenant_named(&operator(), "acme").await.unwrap();
    let domains = house.admin.show_tenant(&operator(), acme).await.unwrap().domains;
    assert_eq!(domains, [Hostname::parse("partner.example").unwrap()]);
}

#[tokio::test]
async fn a_place_that_people_belong_to_is_not_deleted_by_accident() {
    let house = house().await;
    let acme = house.tenant("acme").await;
    let europe = house.org(acme, "europe").await;
    let finance = house.department(europe, "finance").await;
    let clerk = house.role(Some(acme), "clerk", draft(Scope::Department, &["books:read"])).await;
    let grace = house.person("grace", AccountKind::User, &[("clerk", finance)]).await;
    let Place::Department(_, org, department) = finance else { unreachable!() };
    let admin = &house.admin;
    assert_eq!(code(admin.delete_department(&operator(), department, false).await), "in_use");
    assert_eq!(code(admin.delete_org(&operator(), org, false).await), "in_use");
    assert_eq!(code(admin.delete_tenant(&operator(), acme, false).await), "in_use");
    admin.delete_org(&operator(), org, true).await.unwrap();
    // A place of the same name brings nothing back.
    let finance = house.department(house.org(acme, "europe").await, "finance").await;
    let who = house.as_(grace).await;
    assert!(!who.principal().unwrap().holds(&Permission::parse("books:read").unwrap(), finance));
    assert_eq!(who.principal().unwrap().belonging(acme).map(|it| it.org), Some(None));
    assert!(admin.role_holders(&operator(), clerk).await.unwrap().is_empty());
    admin.delete_tenant(&operator(), acme, true).await.unwrap();
    assert!(house.as_(grace).await.principal().unwrap().memberships.is_empty());
    let again = TenantDraft { name: "Acme".to_owned(), plan: String::new(), mfa_required: false };
    assert_eq!(code(admin.create_tenant(&operator(), &slug("acme"), &again, &[], None).await), "slug_taken");
}

#[tokio::test]
async fn whoever_makes_a_tenant_owns_it() {
    let house = house().await;
    let ada = house.admin_of("ada", "super-admin", Place::Global).await;
    let by = house.as_(ada).await;
    let draft = TenantDraft { name: "Acme".to_owned(), plan: String::new(), mfa_required: true };
    let acme = house.admin.create_tenant(&by, &slug("acme"), &draft, &[], None).await.unwrap();
    let view = house.admin.show_tenant(&by, acme).await.unwrap();
    assert_eq!((view.owner.as_deref(), view.members), (Some("ada"), 1));
    assert_eq!(code(house.admin.create_tenant(&by, &slug("acme"), &draft, &[], None).await), "slug_taken");
    let tom = house.admin_of("tom", "tenant-admin", Place::Tenant(acme)).await;
    let by = house.as_(tom).await;
    assert_eq!(code(house.admin.create_tenant(&by, &slug("other"), &draft, &[], None).await), "forbidden");
    assert_eq!(code(house.admin.suspend_tenant(&by, acme, "", None).await), "forbidden");
    assert_eq!(code(house.admin.delete_tenant(&by, acme, true).await), "forbidden");
    let plan = TenantDraft { plan: "gold".to_owned(), ..draft.clone() };
    assert_eq!(code(house.admin.edit_tenant(&by, acme, &plan).await), "forbidden");
    let name = TenantDraft { name: "Acme Ltd".to_owned(), ..draft };
    assert_eq!(code(house.admin.edit_tenant(&by, acme, &name).await), "done");
}

#[tokio::test]
async fn a_tenant_that_comes_back_into_the_file_is_as_suspended_as_it_was() {
    let house = house().await;
    house.admin.apply_objects(&declared()).await.unwrap();
    let acme = house.admin.tenant_named(&operator(), "acme").await.unwrap();
    let standing = async || house.admin.show_tenant(&operator(), acme).await.unwrap().tenant;
    house.admin.suspend_tenant(&operator(), acme, "unpaid", None).await.unwrap();
    let before = standing().await;
    house.admin.apply_objects(&Declared::default()).await.unwrap();
    house.admin.apply_objects(&declared()).await.unwrap();
    assert_eq!(before.status, "suspended");
    assert_eq!(standing().await, before);
    house.admin.activate_tenant(&operator(), acme).await.unwrap();
    house.admin.apply_objects(&Declared::default()).await.unwrap();
    house.admin.apply_objects(&declared()).await.unwrap();
    assert_eq!(standing().await.status, "active");
}

#[tokio::test]
async fn what_was_refused_is_recorded_with_what_it_was_about() {
    let mut house = house().await;
    let acme = house.tenant("acme").await;
    let grace = house.person("grace", AccountKind::User, &[("user", Place::Tenant(acme))]).await;
    let org = house.org(acme, "europe").await;
    let Place::Org(_, org) = org else { unreachable!() };
    let by = house.as_(grace).await;
    let new = |name: &str| NewPlace { slug: slug(name), name: String::new() };
    let admin = &house.admin;
    assert_eq!(code(admin.create_org(&by, acme, &new("asia")).await), "forbidden");
    assert_eq!(code(admin.create_department(&by, org, &new("sales")).await), "forbidden");
    assert_eq!(code(admin.put_group(&by, acme, &slug("staff")).await), "forbidden");
    let role = draft(Scope::Tenant, &[]);
    assert_eq!(code(admin.create_role(&by, Some(acme), &slug("helper"), role).await), "forbidden");
    for target in [("org", "asia"), ("department", "sales"), ("group", "staff"), ("role", "helper")] {
        let event = house.refusals.try_recv().unwrap();
        assert_eq!(event.target, Some((target.0, target.1.to_owned())));
        assert_eq!(event.tenant, Some(acme), "{target:?}");
    }
}
