//! The entries of the catalogue about tokens, keys and documents: every lie is refused, by the check that is for it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::World;
use super::keys::{ALGORITHMS, Key};
use super::provider::{Raw, Script, merge};
use crate::support::stage::Engine;

async fn world() -> World {
    World::open(Engine::Sqlite, "").await
}

/// Each patch of the claims must be refused by the check.
async fn claims_refused(world: &World, cases: &[(Value, &str)]) {
    for (patch, check) in cases {
        world.idp.says(|script| script.claims = patch.clone());
        let why = world.refused(check).await;
        assert!(!why.is_empty(), "{patch}");
    }
    world.idp.says(|script| script.claims = json!({}));
    world.welcome().await;
}

/// Each change of the script must be refused by the check; then all is well again.
async fn refused_each(world: &World, check: &str, changes: &[fn(&mut Script)]) {
    for change in changes {
        world.idp.says(change);
        world.refused(check).await;
        world.idp.says(|script| {
            (script.header, script.token, script.forge, script.jwks) = (json!({}), json!({}), None, None);
        });
    }
    world.welcome().await;
}

#[tokio::test]
async fn oidc_03_and_05_to_09_every_claim_is_looked_at() {
    let world = world().await;
    let now = world.idp.now();
    let issuer = world.idp.issuer.clone();
    let upper = issuer.to_uppercase();
    claims_refused(
        &world,
        &[
            // OIDC-03
            (json!({ "nonce": "other" }), "id token nonce"),
            (json!({ "nonce": null }), "id token nonce"),
            // OIDC-05
            (json!({ "iss": "https://other.example" }), "id token iss"),
            (json!({ "iss": format!("{issuer}/") }), "id token iss"),
            (json!({ "iss": format!("{issuer}/evil") }), "id token iss"),
            (json!({ "iss": upper }), "id token iss"),
            // OIDC-06
            (json!({ "aud": "other" }), "id token aud"),
            (json!({ "aud": "card" }), "id token aud"),
            (json!({ "aud": [] }), "id token aud"),
            (json!({ "aud": null }), "id token aud"),
            (json!({ "aud": ["cardea", "stranger"] }), "id token aud"),
            // OIDC-07
            (json!({ "azp": "other" }), "id token azp"),
            (json!({ "azp": "other", "aud": ["cardea"] }), "id token azp"),
            // OIDC-08
            (json!({ "exp": now - 120 }), "id token exp"),
            (json!({ "iat": now + 300 }), "id token iat"),
            (json!({ "iat": now - 3600 }), "id token iat"),
            (json!({ "nbf": now + 300 }), "id token nbf"),
            // OIDC-09
            (json!({ "sub": "" }), "id token sub"),
            (json!({ "sub": "x".repeat(256) }), "id token sub"),
            (json!({ "sub": "x".repeat(5000) }), "id token sub"),
            (json!({ "sub": "248289761001\u{0}" }), "id token sub"),
            (json!({ "sub": "248289761001\r\nset-cookie: a=b" }), "id token sub"),
        ],
    )
    .await;
    // What is of the wrong kind.
    for patch in [
        json!({ "iss": null }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": 1e300 }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "nonce": ["a"] }),
    ] {
        world.idp.says(|script| script.claims = patch.clone());
        let visitor = world.pressed().await;
        let (check, _) = world.cause(&visitor).await;
        assert!(check.starts_with("id token"), "{patch}: {check}");
    }
    // Clocks half a minute off.
    for patch in [json!({ "iat": now + 20, "nbf": now + 20 }), json!({ "exp": now - 20 })] {
        world.idp.says(|script| script.claims = patch.clone());
        world.welcome().await;
    }
}

#[tokio::test]
async fn oidc_09_a_member_that_is_there_twice_is_refused() {
    let world = world().await;
    refused_each(
        &world,
        "id token claims",
        &[|script| {
            script.forge = Some(|key, header, claims| {
                let text = claims.to_string();
                let twice = format!("{},\"sub\":\"victim\"}}", &text[..text.len() - 1]);
                key.sign(header.to_string().as_bytes(), twice.as_bytes())
            });
        }],
    )
    .await;
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}

#[tokio::test]
async fn oidc_10_and_12_no_algorithm_but_those_that_are_listed() {
    let world = world().await;
    refused_each(
        &world,
        "id token algorithm",
        &[
            |script| {
                script.header = json!({ "alg": "none" });
                script.forge = Some(|_, header, claims| unsigned(&header, &claims));
            },
            |script| {
                script.header = json!({ "alg": "nOnE" });
                script.forge = Some(|_, header, claims| unsigned(&header, &claims));
            },
            |script| script.header = json!({ "alg": "" }),
            |script| script.header = json!({ "alg": null }),
            |script| script.header = json!({ "alg": "ES512" }),
            |script| script.header = json!({ "alg": ["ES256"] }),
            |script| {
                script.header = json!({ "alg": "HS256" });
                script.forge =
                    Some(|key, header, claims| hmac(key.public().to_string().as_bytes(), &header, &claims));
            },
            |script| {
                script.header = json!({ "alg": "HS256" });
                script.forge = Some(|_, header, claims| hmac(super::SECRET.as_bytes(), &header, &claims));
            },
            |script| {
                script.header = json!({ "alg": "HS256" });
                script.forge = Some(|_, header, claims| hmac(b"", &header, &claims));
            },
        ],
    )
    .await;
}

fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let text = text.trim_end_matches('.');
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, text.as_bytes())))
}

#[tokio::test]
async fn oidc_10_every_algorithm_works_where_it_is_listed_and_only_there() {
    let list = ALGORITHMS.map(|alg| format!("\"{alg}\"")).join(", ");
    let world = World::open(Engine::Sqlite, &format!("algorithms = [{list}]\n")).await;
    for alg in ALGORITHMS {
        let key = Key::of(alg, alg);
        world.later().await;
        let hash = key.half_hash("opaque-token");
        world.idp.says(|script| {
            script.claims = json!({ "at_hash": hash });
            (script.keys, script.signer) = (vec![Arc::clone(&key)], key);
        });
        world.welcome().await;
        world.idp.says(|script| script.claims = json!({ "at_hash": format!("{hash}A") }));
        world.refused("id token at_hash").await;
    }
    // One key, two algorithms: the one that is not listed is refused, also where the key says that it is for it.
    let world = World::open(Engine::Sqlite, "algorithms = [\"RS256\"]\n").await;
    for (alg, taken) in [("PS256", false), ("RS512", false), ("RS256", true)] {
        let key = Key::of("rsa", alg);
        world.later().await;
        world.idp.says(|script| (script.keys, script.signer) = (vec![Arc::clone(&key)], key));
        if taken {
            world.welcome().await;
        } else {
            world.refused("id token algorithm").await;
        }
    }
    // The key is for one algorithm, the token says another that is listed as well.
    let world = World::open(Engine::Sqlite, "algorithms = [\"RS256\", \"PS256\"]\n").await;
    let (published, signer) = (Key::of("rsa", "RS256"), Key::of("rsa", "PS256"));
    world.idp.says(|script| (script.keys, script.signer) = (vec![published], signer));
    world.refused("id token key").await;
}

#[tokio::test]
async fn oidc_11_a_signature_is_the_provider_s_or_none() {
    let world = world().await;
    refused_each(
        &world,
        "id token signature",
        &[
            |script| {
                script.forge = Some(|key, header, claims| {
                    let token = key.sign(header.to_string().as_bytes(), claims.to_string().as_bytes());
                    let (text, signature) = token.rsplit_once('.').unwrap();
                    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
                    bytes[10] ^= 1;
                    format!("{text}.{}", URL_SAFE_NO_PAD.encode(bytes))
                });
            },
            |script| script.forge = Some(|_, header, claims| unsigned(&header, &claims)),
            |script| {
                script.forge = Some(|_, header, claims| {
                    let foreign = Key::new("first");
                    foreign.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
                });
            },
            |script| {
                script.forge = Some(|key, header, mut claims| {
                    let token = key.sign(header.to_string().as_bytes(), claims.to_string().as_bytes());
                    merge(&mut claims, &json!({ "sub": "victim" }));
                    let parts: Vec<&str> = token.split('.').collect();
                    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
                });
            },
            |script| {
                script.forge = Some(|_, header, claims| {
                    let zero = URL_SAFE_NO_PAD.encode([0; 64]);
                    format!("{}{zero}", unsigned(&header, &claims))
                });
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn oidc_13_only_keys_that_are_for_signatures_and_strong_enough_count() {
    let world = world().await;
    let good = world.idp.script.lock().unwrap().signer.public();
    let with = |patch: Value| {
        let mut key = good.clone();
        merge(&mut key, &patch);
        key
    };
    let weak = json!({ "kty": "RSA", "kid": "first", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xc5; 128]) });
    for keys in [
        json!([with(json!({ "use": "enc" }))]),
        json!([]),
        json!([weak]),
        json!([{ "kty": "oct", "kid": "first", "k": "c2VjcmV0" }]),
        json!([with(json!({ "key_ops": ["encrypt"] }))]),
        json!("none"),
    ] {
        world.later().await;
        world.idp.says(|script| script.jwks = Some(json!({ "keys": keys })));
        world.refused("keys").await;
    }
    // What is not known is passed over.
    world.later().await;
    let exotic = json!({ "kty": "LMS", "kid": 7, "x": [1, 2, {}] });
    world.idp.says(|script| script.jwks = Some(json!({ "keys": [exotic, weak, good], "more": true })));
    world.welcome().await;
    // Without a key id, with one key and with two.
    world.idp.says(|script| script.header = json!({ "kid": null }));
    world.welcome().await;
    let other = Key::new("other");
    world.later().await;
    world.idp.says(|script| script.jwks = Some(json!({ "keys": [other.public(), good] })));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_13_a_key_that_cannot_be_used_keeps_no_other_from_being_tried() {
    let world = world().await;
    // Of the right length, and on no curve.
    let nowhere = URL_SAFE_NO_PAD.encode([7; 32]);
    let broken = json!({ "kty": "EC", "crv": "P-256", "kid": "first", "x": nowhere, "y": nowhere });
    let good = world.idp.script.lock().unwrap().signer.public();
    world.idp.says(|script| script.jwks = Some(json!({ "keys": [broken, good] })));
    world.welcome().await;
    world.idp.says(|script| script.header = json!({ "kid": null }));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_14_new_keys_are_fetched_once_and_not_at_anybody_s_pleasure() {
    let world = world().await;
    world.welcome().await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/jwks"), 1);
    // A new key under a new name.
    let second = Key::new("second");
    world.idp.says(|script| (script.keys, script.signer) = (vec![Arc::clone(&second)], second));
    world.welcome().await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/jwks"), 2);
    // A new key under the old name, as after a restart with nothing kept.
    world.stage.advance(cardea::domain::Span::seconds(20)).await;
    let third = Key::new("second");
    world.idp.says(|script| (script.keys, script.signer) = (vec![Arc::clone(&third)], third));
    world.welcome().await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/jwks"), 3);
    // Names of keys that nobody has: one more look at most.
    for kid in
        [json!("unknown"), json!("../../etc/passwd"), json!("' OR 1=1 --"), json!("unknown"), json!("x")]
    {
        world.idp.says(|script| script.header = json!({ "kid": kid }));
        world.refused("id token key").await;
    }
    world.idp.says(|script| script.header = json!({ "kid": 7 }));
    world.refused("id token header").await;
    assert!(world.idp.seen.lock().unwrap().count("/jwks") <= 4);
    world.idp.says(|script| script.header = json!({}));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_15_the_hash_of_the_access_token_is_checked_where_it_is() {
    let world = world().await;
    let digest = ring::digest::digest(&ring::digest::SHA256, b"opaque-token");
    let right = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
    claims_refused(&world, &[(json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "id token at_hash")]).await;
    world.idp.says(|script| script.claims = json!({ "at_hash": right }));
    world.welcome().await;
    // The same for the code.
    claims_refused(
        &world,
        &[
            (json!({ "c_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "id token c_hash"),
            (json!({ "c_hash": right }), "id token c_hash"),
            (json!({ "c_hash": 7 }), "id token c_hash"),
        ],
    )
    .await;
    let next = format!("code-{}", world.idp.seen.lock().unwrap().authorizations.len());
    let right = Key::new("any").half_hash(&next);
    world.idp.says(|script| script.claims = json!({ "c_hash": right }));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_16_a_token_brings_no_key_of_its_own() {
    let world = world().await;
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let attacker = Key::new("attacker");
        let canary = format!("{}/canary", world.idp.issuer);
        let value = match name {
            "jwk" => attacker.public(),
            "x5c" => json!(["MIIB"]),
            _ => json!(canary),
        };
        world.idp.says(|script| {
            script.signer = Arc::clone(&attacker);
            script.header = json!({ "kid": null, name: value });
        });
        let visitor = world.pressed().await;
        let (check, why) = world.cause(&visitor).await;
        assert!(check == "id token signature" || check == "id token claims", "{name}: {check} {why}");
    }
    assert_eq!(world.idp.seen.lock().unwrap().count("/canary"), 0);
}

#[tokio::test]
async fn oidc_17_another_kind_of_token_is_no_id_token() {
    let world = world().await;
    refused_each(
        &world,
        "id token type",
        &[
            |script| script.header = json!({ "typ": "at+jwt" }),
            |script| script.header = json!({ "typ": "logout+jwt" }),
            |script| script.header = json!({ "typ": 7 }),
        ],
    )
    .await;
    refused_each(
        &world,
        "id token header",
        &[
            |script| script.header = json!({ "crit": ["exp"] }),
            |script| script.header = json!({ "cty": "JWT" }),
            |script| script.header = json!({ "b64": false }),
        ],
    )
    .await;
}

#[tokio::test]
async fn oidc_18_and_19_the_token_answer_is_read_strictly() {
    let world = world().await;
    refused_each(
        &world,
        "id token form",
        &[
            |script| script.token = json!({ "id_token": "a.b.c.d.e" }),
            |script| script.token = json!({ "id_token": "garbage" }),
            |script| script.token = json!({ "id_token": "!!.!!.!!" }),
        ],
    )
    .await;
    refused_each(
        &world,
        "token answer",
        &[
            |script| script.token = json!({ "id_token": null }),
            |script| script.token = json!({ "id_token": 7 }),
            |script| script.token = json!({ "token_type": "mac" }),
            |script| script.token = json!({ "token_type": null }),
            |script| script.token = json!({ "access_token": null }),
            |script| script.token = json!({ "error": "invalid_grant" }),
        ],
    )
    .await;
}

#[tokio::test]
async fn oidc_22_userinfo_is_about_the_same_person_or_worth_nothing() {
    let world = world().await;
    // The ID token has no address: it is asked for, in a header.
    world.idp.says(|script| script.claims = json!({ "email": null, "email_verified": null }));
    world.welcome().await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/userinfo"), 1);
    for other in [json!({ "sub": "another" }), json!({ "email": "x@acme.example" }), json!({ "sub": 7 })] {
        world.idp.says(|script| script.userinfo = Some(other));
        world.refused("userinfo").await;
    }
    for raw in [
        Raw { media_type: "text/html", ..Raw::json("<html>") },
        Raw { media_type: "application/jwt", ..Raw::json("a.b.c") },
        Raw { media_type: "application/jwt", ..Raw::json(r#"{"sub":"248289761001"}"#) },
        Raw { media_type: "application/jwt", ..Raw::json(vec![0xff, 0xfe, b'.', b'.']) },
        Raw { status: 500, ..Raw::json("{}") },
        Raw::json(r#"{"sub":"248289761001","sub":"248289761001"}"#),
    ] {
        world.idp.says(|script| drop(script.raw.insert("/userinfo", raw)));
        world.refused("userinfo").await;
    }
}

#[tokio::test]
async fn oidc_33_claims_that_are_kept_elsewhere_are_never_taken_for_none() {
    let world = world().await;
    let canary = format!("{}/canary", world.idp.issuer);
    world.idp.says(|script| {
        script.claims = json!({
            "groups": null, "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": canary } },
        });
        script.userinfo = Some(json!({ "sub": "248289761001" }));
    });
    let why = world.refused("claims left out").await;
    assert!(why.contains("groups"), "{why}");
    assert_eq!(world.idp.seen.lock().unwrap().count("/canary"), 0, "OIDC-25: a source was asked");
    // Large but sane.
    let many: Vec<String> =
        (0..60).map(|n| format!("group-{n}")).chain(["fin-analysts".to_owned()]).collect();
    world.idp.says(|script| script.claims = json!({ "groups": many }));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_22_userinfo_may_be_signed_and_then_it_is_signed_by_the_provider_and_for_us() {
    let world = world().await;
    let (issuer, key) = (world.idp.issuer.clone(), Arc::clone(&world.idp.script.lock().unwrap().signer));
    world.idp.says(|script| script.claims = json!({ "email": null, "email_verified": null }));
    let person = json!({ "sub": "248289761001", "email": "jane@acme.example", "email_verified": true });
    let says = |signer: &Key, header: Value, patch: Value| {
        let (mut head, mut claims) = (json!({ "alg": signer.alg, "kid": signer.kid }), person.clone());
        merge(&mut head, &header);
        merge(&mut claims, &patch);
        let body = signer.sign(head.to_string().as_bytes(), claims.to_string().as_bytes());
        let raw = Raw { media_type: "application/jwt", ..Raw::json(body) };
        world.idp.says(|script| drop(script.raw.insert("/userinfo", raw)));
    };
    for patch in [
        json!({}),
        json!({ "iss": issuer, "aud": "cardea" }),
        json!({ "iss": issuer, "aud": ["other", "cardea"] }),
    ] {
        says(&key, json!({}), patch);
        world.welcome().await;
    }
    let foreign = Key::new("first");
    for (signer, header, patch) in [
        (&key, json!({}), json!({ "iss": "https://other.example" })),
        (&key, json!({}), json!({ "aud": "other" })),
        (&key, json!({}), json!({ "aud": 7 })),
        (&key, json!({}), json!({ "sub": "another" })),
        (&key, json!({}), json!({ "sub": null })),
        (&key, json!({ "alg": "none" }), json!({})),
        (&key, json!({ "alg": "HS256" }), json!({})),
        (&key, json!({ "typ": "at+jwt" }), json!({})),
        (&key, json!({ "crit": ["x"] }), json!({})),
        (&key, json!({ "kid": "unknown" }), json!({})),
        (&foreign, json!({}), json!({})),
    ] {
        says(signer, header.clone(), patch.clone());
        let why = world.refused("userinfo").await;
        assert!(!why.is_empty(), "{header} {patch}");
    }
    // A key that is newer than those that are known.
    world.stage.advance(cardea::domain::Span::seconds(20)).await;
    let next = Key::new("next");
    world.idp.says(|script| script.keys.push(Arc::clone(&next)));
    says(&next, json!({}), json!({}));
    world.welcome().await;
}

#[tokio::test]
async fn oidc_33_more_groups_than_fit_are_asked_of_the_graph_that_is_configured_and_of_no_other() {
    let world = World::open(Engine::Sqlite, "").await;
    let issuer = world.idp.issuer.clone();
    world
        .stage
        .reconfigured(
            "label = \"Corp\"",
            &format!("label = \"Corp\"\ngroups_overage = \"graph\"\ngraph_url = \"{issuer}/\""),
        )
        .await;
    let canary = format!("{issuer}/canary");
    let overage = [
        json!({ "groups": null, "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": canary } } }),
        json!({ "groups": null, "hasgroups": true }),
        json!({ "groups": null, "hasgroups": "true" }),
    ];
    let graph = |raw: Raw| world.idp.says(|script| drop(script.raw.insert("/graph", raw)));
    world.idp.says(|script| script.userinfo = Some(json!({ "sub": "248289761001" })));
    for claims in &overage {
        world.idp.says(|script| script.claims = claims.clone());
        graph(Raw::json(r#"{"value":["a","fin-analysts"]}"#));
        world.welcome().await;
        let names = world.roles("jane.corp").await;
        assert!(names.contains(&"analyst".to_owned()), "{claims}: {names:?}");
    }
    for raw in [
        Raw { status: 403, ..Raw::json("{}") },
        Raw { status: 500, ..Raw::json("{}") },
        Raw::json("{}"),
        Raw::json(r#"{"value":"fin-analysts"}"#),
        Raw::json(r#"{"value":[{"id":"fin-analysts"}]}"#),
        Raw::json(r#"{"value":["a"],"@odata.nextLink":"https://evil.example/"}"#),
        Raw::json("<html>"),
    ] {
        graph(raw);
        world.refused("groups overage").await;
    }
    let redirect = Raw { status: 302, location: Some(canary.clone()), ..Raw::json("{}") };
    graph(redirect);
    world.refused("outbound").await;
    // Another claim that is kept elsewhere is none of Graph's.
    let both = json!({ "groups": null, "name": null, "_claim_names": { "groups": "src1", "name": "src1" } });
    world.idp.says(|script| script.claims = both);
    world.refused("claims left out").await;
    // UserInfo may say it, too, and what the token says besides does not hide that.
    world.stage.reconfigured("groups_overage = \"graph\"", "groups_overage = \"refuse\"").await;
    world.idp.says(|script| {
        script.claims = json!({ "groups": null, "_claim_names": { "address": "src1" } });
        script.userinfo = Some(json!({ "sub": "248289761001", "_claim_names": { "groups": "src1" } }));
    });
    world.refused("claims left out").await;
    world.idp.says(|script| script.claims = overage[1].clone());
    world.refused("claims left out").await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/canary"), 0, "OIDC-25: a source was asked");
    // What nobody looks at may be anywhere.
    world.idp.says(|script| {
        script.claims = json!({ "_claim_names": { "payment": "src1" }, "_claim_sources": { "src1": { "endpoint": canary } } });
    });
    world.welcome().await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/canary"), 0);
}

#[tokio::test]
async fn oidc_04_a_document_that_is_not_the_issuer_s_is_refused() {
    let world = world().await;
    for (patch, word) in [
        (json!({ "issuer": "https://other.example" }), "issuer"),
        (json!({ "issuer": format!("{}/", world.idp.issuer) }), "slash"),
        (json!({ "issuer": null }), "issuer"),
        (json!({ "token_endpoint": null }), "token_endpoint"),
        (json!({ "jwks_uri": "file:///etc/passwd" }), "jwks_uri"),
        (json!({ "token_endpoint": "javascript:alert(1)" }), "token_endpoint"),
        (json!({ "response_types_supported": ["id_token"] }), "code"),
    ] {
        world.later().await;
        world.idp.says(|script| script.discovery = patch.clone());
        let why = world.refused("discovery").await;
        assert!(why.contains(word), "{patch}: {why}");
    }
}

#[tokio::test]
async fn oidc_25_and_26_what_a_provider_names_leads_nowhere_else() {
    let world = world().await;
    let canary = format!("{}/canary", world.idp.issuer);
    for address in ["http://127.0.0.1:9/", "http://169.254.169.254/", "http://2130706433/", "http://[::1]:9/"]
    {
        world.later().await;
        world.idp.says(|script| script.discovery = json!({ "jwks_uri": address }));
        let why = world.refused("outbound").await;
        assert!(why.contains("outbound.allow"), "{address}: {why}");
    }
    world.idp.says(|script| script.discovery = json!({}));
    world.later().await;
    world.welcome().await;
    for path in ["/discovery", "/jwks", "/token", "/userinfo"] {
        for status in [302, 307] {
            world.later().await;
            let raw = Raw { status, location: Some(canary.clone()), ..Raw::json("{}") };
            world.idp.says(|script| {
                script.claims = json!({ "email": null });
                drop(script.raw.insert(path, raw));
            });
            let why = world.refused("outbound").await;
            assert!(why.contains("redirect"), "{path} {status}: {why}");
            world.idp.says(|script| drop(script.raw.remove(path)));
        }
    }
    assert_eq!(world.idp.seen.lock().unwrap().count("/canary"), 0);
}

#[tokio::test]
async fn oidc_27_documents_that_are_huge_or_no_json_are_refused() {
    let world = world().await;
    let big = format!("{{\"issuer\":\"{}\"}}", "x".repeat(20 * 1024 * 1024));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for path in ["/discovery", "/jwks", "/token"] {
        for raw in [
            Raw::json(big.clone()),
            Raw::json(deep.clone()),
            Raw::json(vec![0xff, 0xfe, 0, 1]),
            Raw { media_type: "text/html", ..Raw::json("<html>") },
            Raw { status: 500, ..Raw::json("{}") },
        ] {
            world.later().await;
            world.idp.says(|script| drop(script.raw.insert(path, raw)));
            let visitor = world.pressed().await;
            world.cause(&visitor).await;
            world.idp.says(|script| drop(script.raw.remove(path)));
        }
    }
    world.later().await;
    world.welcome().await;
}

#[tokio::test]
async fn oidc_28_a_provider_that_takes_its_time_keeps_nobody_else_waiting() {
    let world = world().await;
    let other = super::provider::Idp::open("other.localhost", Arc::clone(&world.stage.clock)).await;
    world.second("other", &other).await;
    let forever = std::time::Duration::from_mins(1);
    world.idp.says(|script| script.slow = [("/discovery", forever)].into());
    let mut waiting = Vec::new();
    for _ in 0..12 {
        let visitor = world.at_door().await;
        let start = world.stage.portal("/auth/start/corp");
        waiting.push(tokio::spawn(async move { visitor.look(&start).await.text() }));
    }
    for _ in 0..500 {
        if world.idp.seen.lock().unwrap().count("/discovery") > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Meanwhile the other provider and the page itself serve.
    let mut visitor = world.at_door().await;
    assert_eq!(visitor.title(), "Sign in");
    visitor.get(&world.stage.portal("/auth/start/other")).await;
    assert_eq!(visitor.title(), "My apps", "{}", visitor.text());
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "nobody waited");
    for answer in waiting {
        let said = answer.await.unwrap();
        assert!(said.contains("Corp"), "{said}");
    }
    assert_eq!(world.idp.seen.lock().unwrap().count("/discovery"), 1, "one fetch for all");
    world.refused("provider away").await;
    assert_eq!(world.idp.seen.lock().unwrap().count("/discovery"), 1, "and a pause after it");
}

#[tokio::test]
async fn oidc_28_what_was_known_serves_while_a_provider_is_broken_and_not_after_it_lied() {
    let world = world().await;
    world.welcome().await;
    world.later().await;
    let broken = || Raw { status: 503, ..Raw::json("{}") };
    for path in ["/discovery", "/jwks"] {
        world.idp.says(|script| drop(script.raw.insert(path, broken())));
    }
    world.welcome().await;
    // Its token endpoint as well: then nobody comes in, and is told that it is the provider.
    world.idp.says(|script| drop(script.raw.insert("/token", broken())));
    world.refused("provider away").await;
    world.idp.says(|script| drop(script.raw.remove("/token")));
    // Another issuer's document, and then nothing: the old one is not brought out again.
    world.later().await;
    let lie = Raw::json(r#"{"issuer":"https://other.example"}"#);
    world.idp.says(|script| drop(script.raw.insert("/discovery", lie)));
    world.refused("discovery").await;
    world.idp.says(|script| drop(script.raw.insert("/discovery", broken())));
    world.refused("discovery").await;
    world.stage.advance(cardea::domain::Span::seconds(10)).await;
    world.refused("provider away").await;
    world.idp.says(|script| drop(script.raw.remove("/discovery")));
    world.stage.advance(cardea::domain::Span::seconds(10)).await;
    world.welcome().await;
}
