//! The entries of the catalogue about tokens, keys and documents: every lie is refused, by the check that is for it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::World;
use super::provider::{Key, Raw, Script, merge};
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
            (json!({ "sub": "x".repeat(5000) }), "id token sub"),
        ],
    )
    .await;
    // What the library cannot even read.
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
