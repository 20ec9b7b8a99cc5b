//! What an upstream learns, and that it can check it.

use super::house::{House, Plan, route, rule, usual};
use crate::domain::route::HeaderPreset;
use crate::domain::{Actor, Span};

#[test]
fn proxy_08_an_assertion_is_for_one_route_and_a_short_time() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let mut long = route("long", "long.example", &[upstream], vec![rule("/*", "signed-in")]);
            long.assertion_life = Span::hours(20);
            vec![usual(upstream), long]
        }),
        ..Plan::default()
    });
    let (session, token) = house.signed_in_with(house.ada, "app.example", true);
    assert_eq!(house.get("/open/x", &token).status, 200);
    let seen = house.upstream.last();
    let claims = house.verified(seen.one("cardea-assertion"));
    let at = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str(), claims["route"].as_str()),
        (Some("http://access.example"), Some("http://app.example"), Some("app"))
    );
    assert_eq!((at("exp") - at("iat"), at("iat") - at("nbf")), (60, 30));
    assert_eq!(claims["sid"], session.to_string());
    assert_eq!(
        (claims["name"].as_str(), claims["username"].as_str(), claims["email"].as_str()),
        (Some("Ada Lövelace"), Some("ada"), Some("ada@acme.example"))
    );
    assert_eq!(
        (claims["tenant"].as_str(), claims["groups"][0].as_str(), claims["roles"][0].as_str()),
        (Some("acme"), Some("staff"), Some("analyst@acme"))
    );
    assert_eq!(
        (claims["permissions"][0].as_str(), claims["acr"].as_str()),
        (Some("reports:read"), Some("aal2"))
    );
    assert_eq!(claims["amr"], serde_json::json!(["pwd", "otp", "mfa"]));
    assert!(
        claims["jti"].is_string() && claims["auth_time"].is_i64() && claims.get("groups_truncated").is_none()
    );

    // Never beyond the session.
    let (_, token) = house.signed_in(house.ada, "long.example");
    let cookie = format!("cardea={token}");
    house.ask("GET", "long.example", "/", &[("cookie", &cookie)]);
    let claims = house.verified(house.upstream.last().one("cardea-assertion"));
    assert_eq!(claims["aud"], "http://long.example");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((3590..=3600).contains(&life), "{life}");
}

#[test]
fn an_assertion_is_signed_once_and_used_until_half_its_life_is_gone() {
    let house = House::new();
    let (_, token) = house.signed_in(house.ada, "app.example");
    let mut client = house.connect();
    let cookie = format!("cardea={token}");
    let mut assertion = || {
        assert_eq!(client.ask("GET", "app.example", "/open/x", &[("cookie", &cookie)]).status, 200);
        house.upstream.last().one("cardea-assertion").to_owned()
    };
    let first = assertion();
    assert!((0..20).all(|_| assertion() == first));
    house.advance(Span::seconds(29));
    assert_eq!(assertion(), first);
    house.advance(Span::seconds(2));
    let second = assertion();
    assert_ne!(second, first);
    assert!(house.verified(&second)["exp"].as_i64() > house.verified(&first)["exp"].as_i64());
}

#[test]
fn f23_two_people_on_one_connection_are_two_people() {
    let house = House::new();
    let (_, weak) = house.signed_in(house.ada, "app.example");
    let (_, strong) = house.signed_in_with(house.ada, "app.example", true);
    let mut client = house.connect();
    for n in 0..40 {
        let (token, auth) = if n % 2 == 0 { (&weak, "pwd") } else { (&strong, "pwd+totp") };
        client.ask("GET", "app.example", "/open/x", &[("cookie", &format!("cardea={token}"))]);
        let seen = house.upstream.last();
        assert_eq!(seen.one("cardea-auth"), auth);
        let acr = house.verified(seen.one("cardea-assertion"))["acr"].clone();
        assert_eq!(acr, if n % 2 == 0 { "aal1" } else { "aal2" });
    }
    assert_eq!(house.upstream.last().connection, 1);
}

#[test]
fn sess_13_lists_that_are_too_long_are_left_out_and_said_to_be() {
    let house = House::with(Plan { groups: 300, ..Plan::default() });
    let (_, token) = house.signed_in(house.ada, "app.example");
    assert_eq!(house.get("/staff/x", &token).status, 200);
    let seen = house.upstream.last();
    assert!(seen.all("cardea-groups").is_empty());
    assert_eq!(seen.one("cardea-groups-truncated"), "1");
    assert_eq!(seen.one("cardea-roles"), "analyst@acme");
    let assertion = seen.one("cardea-assertion");
    assert!(assertion.len() <= 4096);
    let claims = house.verified(assertion);
    assert!(claims.get("groups").is_none());
    assert_eq!(
        (claims["groups_truncated"].as_bool(), claims["roles"][0].as_str()),
        (Some(true), Some("analyst@acme"))
    );

    // In between: too long for the assertion only.
    let house = House::with(Plan { groups: 130, ..Plan::default() });
    let (_, token) = house.signed_in(house.ada, "app.example");
    assert_eq!(house.get("/staff/x", &token).status, 200);
    let seen = house.upstream.last();
    assert!(seen.one("cardea-groups").len() <= 4096 && seen.all("cardea-groups-truncated").is_empty());
    assert_eq!(house.verified(seen.one("cardea-assertion"))["groups_truncated"], true);
}

#[test]
fn presets_speak_as_other_products_do() {
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            ["oauth2-proxy", "authelia", "authentik", "pomerium", "iap", "cloudflare", "none"]
                .map(|name| {
                    let mut route =
                        route(name, &format!("{name}.example"), &[upstream], vec![rule("/*", "signed-in")]);
                    route.headers = HeaderPreset::named(name).unwrap();
                    route
                })
                .into()
        }),
        ..Plan::default()
    });
    let ask = |name: &str| {
        let host = format!("{name}.example");
        let (_, token) = house.signed_in(house.ada, &host);
        let fields = [
            ("cookie", format!("cardea={token}")),
            ("remote-user", "forged".into()),
            ("cardea-user", "forged".into()),
        ];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(house.ask("GET", &host, "/", &fields).status, 200, "{name}");
        house.upstream.last()
    };
    let id = house.ada.to_string();
    let seen = ask("oauth2-proxy");
    assert_eq!(
        (seen.one("x-forwarded-user"), seen.one("x-forwarded-email"), seen.one("x-forwarded-groups")),
        (id.as_str(), "ada@acme.example", "staff")
    );
    let seen = ask("authelia");
    assert_eq!(
        (seen.one("remote-user"), seen.one("remote-name"), seen.one("remote-groups")),
        ("ada", "Ada%20L%C3%B6velace", "staff")
    );
    let seen = ask("authentik");
    assert_eq!((seen.one("x-authentik-uid"), seen.one("x-authentik-groups")), (id.as_str(), "staff"));
    assert_eq!(house.verified(seen.one("x-authentik-jwt"))["aud"], "http://authentik.example");
    house.verified(ask("pomerium").one("x-pomerium-jwt-assertion"));
    let seen = ask("iap");
    assert_eq!(seen.one("x-goog-authenticated-user-email"), "accounts.google.com:ada@acme.example");
    house.verified(ask("cloudflare").one("cf-access-jwt-assertion"));
    let seen = ask("none");
    assert!(
        !seen.fields.iter().any(|(_, value)| value.contains("ada") || value.contains("forged")),
        "{seen:?}"
    );
    assert!(seen.all("cardea-user").is_empty() && seen.all("cardea-assertion").is_empty());
}

#[test]
fn tenant_01_nothing_of_other_tenants_is_told() {
    // A route without tenant: the only membership is in force for Ada; Bob belongs nowhere.
    let house = House::with(Plan {
        routes: Box::new(|upstream| {
            let mut shared = route("shared", "shared.example", &[upstream], vec![rule("/*", "signed-in")]);
            shared.tenant = None;
            vec![shared]
        }),
        ..Plan::default()
    });
    for (who, tenant) in [(house.ada, vec!["acme"]), (house.bob, vec![])] {
        let (_, token) = house.signed_in(who, "shared.example");
        house.ask("GET", "shared.example", "/", &[("cookie", &format!("cardea={token}"))]);
        let seen = house.upstream.last();
        assert_eq!(seen.all("cardea-tenant"), tenant);
        assert_eq!(seen.all("cardea-groups").len() + seen.all("cardea-roles").len(), tenant.len() * 2);
    }
    assert!(house.upstream.last().all("cardea-email").is_empty(), "an unverified address is not told");
    // A suspended tenant is not in force.
    let now = crate::sys::Clock::now(&*house.clock);
    let why =
        crate::domain::user::Suspension { by: "test".into(), at: now, reason: "test".into(), until: None };
    house.runtime.block_on(async {
        let mut tx = house.db.begin().await.unwrap();
        crate::store::tenants::set_status(&mut tx, house.acme, "suspended", Some(&why)).await.unwrap();
        tx.commit(now).await.unwrap();
    });
    let (_, token) = house.signed_in(house.ada, "shared.example");
    house.ask("GET", "shared.example", "/", &[("cookie", &format!("cardea={token}"))]);
    let seen = house.upstream.last();
    assert!(
        seen.all("cardea-tenant").is_empty()
            && seen.all("cardea-groups").is_empty()
            && seen.all("cardea-roles").is_empty(),
        "{seen:?}"
    );
}

#[test]
fn keys_can_be_rotated_under_way() {
    use crate::crypto::keyring::{ASSERTION_TYPE, AssertionKeys};
    use crate::crypto::signing::SigningKey;
    let house = House::new();
    let (session, token) = house.signed_in(house.ada, "app.example");
    house.get("/open/x", &token);
    let before = house.upstream.last().one("cardea-assertion").to_owned();
    let old = house.keys.assertion().current().public();
    let new = SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose(), ASSERTION_TYPE).unwrap();
    house.keys.rotate(AssertionKeys::new(new, vec![old]));
    house.verified(&before);
    house.advance(Span::seconds(31));
    house.get("/open/x", &token);
    let after = house.upstream.last().one("cardea-assertion").to_owned();
    assert_ne!(after, before);
    house.verified(&after);
    house.runtime.block_on(house.gate.sessions.end(session, Actor::System, "test", &house.visit())).unwrap();
    assert_eq!(house.get("/open/x", &token).status, 401);
}
