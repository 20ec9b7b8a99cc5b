//! What fuzzing starts from: each function takes what a provider might send and fails where a promise is broken. Built for tests
//! and with the feature `fuzzing` only; `tests/fuzz` has a program for each, and the tests here try them a little every time.
//!
//! What is expected is said anew here, in the plainest way there is, and not by the code that is tried.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::{Expected, Keys, Metadata, json as strict, signed, tokens, verify};
use crate::domain::Timestamp;
use crate::domain::provider::Algorithm;

const ISSUER: &str = "https://idp.example";
const CLIENT: &str = "cardea";
const NONCE: &str = "the-nonce";
const NOW: i64 = 1_800_000_000;

/// What both readers of JSON make of it: ours takes no more than the library, and the same.
fn read(bytes: &[u8]) -> Option<Value> {
    let plain: Option<Value> = serde_json::from_slice(bytes).ok();
    let ours = strict::object(bytes, "fuzz").ok().map(Value::Object);
    if let Some(ours) = &ours {
        assert_eq!(Some(ours), plain.as_ref(), "read in another way");
        assert!(depth(ours) <= 33, "nested too deeply");
    }
    ours
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// What a provider says about itself: taken only as the issuer's own, and every address in it is one over TLS (`OIDC-04`).
pub fn metadata(bytes: &[u8]) {
    let Ok(metadata) = Metadata::parse(bytes, ISSUER) else { return };
    let document = read(bytes).unwrap_or_default();
    assert_eq!(document.get("issuer").and_then(Value::as_str), Some(ISSUER));
    let needed = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    for address in needed.into_iter().chain(metadata.userinfo_endpoint.as_ref()) {
        let rest = address.strip_prefix("https://").unwrap_or_default();
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        assert!(!host.is_empty() && !host.contains('@') && !address.contains('#'), "{address}");
        assert!(address.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{address}");
        assert!(address.parse::<http::Uri>().is_ok(), "{address} cannot be asked");
    }
}

/// A set of keys: whatever is in it, it verifies nothing that nobody signed (`OIDC-12`, `OIDC-13`).
pub fn keys(bytes: &[u8]) {
    let Ok(keys) = Keys::parse(bytes) else { return };
    let document = read(bytes).unwrap_or_default();
    let listed = document.get("keys").and_then(Value::as_array).map_or(0, Vec::len);
    assert!((1..=64).contains(&keys.len()) && keys.len() <= listed);
    for algorithm in Algorithm::ALL {
        let header = json!({ "alg": algorithm.as_str() }).to_string();
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(right().to_string()));
        for length in [0, 1, 64, 96, 256, 512] {
            let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(vec![0; length]));
            assert!(verify(&token, &keys, &expected(&Algorithm::ALL)).is_err(), "nobody signed this");
        }
    }
}

/// A token as it comes: not one is taken, since none is signed (`OIDC-10`, `OIDC-11`).
pub fn token(bytes: &[u8]) {
    let (Ok(raw), Some(ours)) = (std::str::from_utf8(bytes), ours()) else { return };
    assert!(verify(raw, &ours, &expected(&Algorithm::ALL)).is_err(), "{raw}");
    assert!(signed(bytes, &ours, &expected(&Algorithm::ALL)).is_err(), "{raw}");
}

/// Claims that the provider has signed: those that are taken say what they must (`OIDC-03`, `OIDC-05` to `OIDC-09`).
pub fn claims(bytes: &[u8]) {
    let Some(ours) = ours() else { return };
    let header = json!({ "alg": "EdDSA", "kid": "1" }).to_string();
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(bytes));
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(pair().sign(text.as_bytes()).to_bytes()));
    assert!(verify(&token, &ours, &expected(&[Algorithm::Rs256])).is_err(), "not an algorithm that is taken");
    let Ok(verified) = verify(&token, &ours, &expected(&[Algorithm::EdDsa])) else { return };
    let said = read(bytes).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    assert_eq!((text("iss"), text("nonce")), (Some(ISSUER), Some(NONCE)));
    let audience = said.get("aud").cloned().unwrap_or_default();
    let list = audience.as_array().cloned().unwrap_or_else(|| vec![audience]);
    assert!(!list.is_empty() && list.iter().all(|one| one == CLIENT), "for somebody else");
    assert!(said.get("azp").is_none_or(|azp| azp == CLIENT));
    assert_eq!(text("sub"), Some(verified.subject()));
    assert!((1..=255).contains(&verified.subject().len()) && !verified.subject().contains(char::is_control));
    let time = |name: &str| said.get(name).and_then(Value::as_f64);
    let now = 1_800_000_000.0;
    assert!(time("exp").is_some_and(|at| at > now - 60.5), "over");
    assert!(time("iat").is_some_and(|at| (now - 601.0..=now + 60.5).contains(&at)), "not from now");
    assert!(said.get("nbf").is_none() || time("nbf").is_some_and(|at| at <= now + 60.5), "not yet");
}

/// The answer to a code: taken only whole (`OIDC-19`).
pub fn answer(bytes: &[u8]) {
    assert!(tokens(400, "application/json", bytes).is_err() && tokens(200, "text/html", bytes).is_err());
    let Ok(taken) = tokens(200, "application/json", bytes) else { return };
    let said = read(bytes).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    assert!(said.get("error").is_none());
    assert!(text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")));
    assert_eq!(text("id_token"), Some(taken.id_token.expose().as_str()));
    assert_eq!(text("access_token"), Some(taken.access_token.expose().as_str()));
    assert!(!taken.access_token.expose().is_empty());
}

fn right() -> Value {
    json!({ "iss": ISSUER, "aud": CLIENT, "nonce": NONCE, "sub": "1", "iat": NOW, "exp": NOW + 60 })
}

fn expected(algorithms: &[Algorithm]) -> Expected<'_> {
    Expected {
        issuer: ISSUER,
        client_id: CLIENT,
        nonce: NONCE,
        algorithms,
        access_token: "token",
        code: Some("code"),
        max_age: None,
        acr: &[],
        now: Timestamp::from_millis(NOW * 1000),
    }
}

fn pair() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn ours() -> Option<Keys> {
    let x = URL_SAFE_NO_PAD.encode(pair().verifying_key().as_bytes());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] });
    Keys::parse(set.to_string().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use ed25519_dalek::Signer as _;
    use proptest::prelude::*;

    /// An object with a member from each slot: mostly the first, which is right; an empty one is left out.
    fn slots(slots: &'static [&'static [&'static str]]) -> impl Strategy<Value = Vec<u8>> {
        let chosen = proptest::collection::vec(any::<u16>(), slots.len());
        (chosen, "(,\"[a-z_]{1,4}\":[ -~]{1,4}){0,1}").prop_map(|(chosen, more)| {
            let members = slots.iter().zip(chosen).map(|(options, n)| {
                let n = usize::from(n);
                if n % 8 == 0 { options[(n / 8) % options.len()] } else { options[0] }
            });
            let members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
            // Rarely something else besides.
            let more = if more.len() % 4 == 3 { more.as_str() } else { "" };
            format!("{{{}{more}}}", members.join(",")).into_bytes()
        })
    }

    /// An object with any of these members, in any order, perhaps twice, and anything between.
    fn members(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            12 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
            1 => "\"[a-z_]{1,6}\":[ -~]{0,6}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| {
            let inner = pieces.join(&b","[..]);
            [b"{", &inner[..], b"}"].concat()
        })
    }

    #[test]
    fn what_is_right_is_taken() {
        let right = super::right().to_string();
        super::claims(right.as_bytes());
        let part = |text: &str| super::URL_SAFE_NO_PAD.encode(text);
        let text = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#), part(&right));
        let signature = super::pair().sign(text.as_bytes());
        let token = format!("{text}.{}", super::URL_SAFE_NO_PAD.encode(signature.to_bytes()));
        let (keys, algorithms) = (super::ours().unwrap(), [super::Algorithm::EdDsa]);
        assert_eq!(super::verify(&token, &keys, &super::expected(&algorithms)).unwrap().subject(), "1");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn oidc_04_documents_are_the_issuer_s_own_and_lead_over_tls(bytes in slots(&[
            &[r#""issuer":"https://idp.example""#, r#""issuer":"https://idp.example/""#, "", r#""issuer":7"#],
            &[r#""authorization_endpoint":"https://idp.example/a?b=c""#, r#""authorization_endpoint":"javascript:alert(1)""#, ""],
            &[r#""token_endpoint":"https://idp.example/t""#, r#""token_endpoint":"HTTPS://IDP.example\\x""#, r#""token_endpoint":"https://[::1]:9/""#, r#""token_endpoint":"https:///x""#, r#""token_endpoint":"https://a@b/""#],
            &[r#""jwks_uri":"https://idp.example/k""#, r#""jwks_uri":"http://idp.example/k""#, r#""jwks_uri":"https://idp.example/\u0000 \u00fc|{}<>\"^`""#, r#""jwks_uri":"https://x.example/a\tb%zz?q=\u00e9""#],
            &["", r#""userinfo_endpoint":"https://idp.example/#x""#, r#""userinfo_endpoint":"https://xn--/""#, r#""userinfo_endpoint":null"#, r#""issuer":"https://idp.example""#],
            &["", r#""response_types_supported":["code"]"#, r#""response_types_supported":[]"#],
        ])) {
            super::metadata(&bytes);
        }

        #[test]
        fn oidc_13_keys_verify_nothing_that_nobody_signed(keys in proptest::collection::vec(members(&[r#""kty":"OKP""#, r#""kty":"EC""#, r#""kty":"RSA""#, r#""kty":"oct""#, r#""crv":"Ed25519""#, r#""crv":"P-256""#, r#""crv":"P-384""#, r#""x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#, r#""y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#, r#""x":"AQ""#, r#""e":"AQ""#, r#""e":"AAAB""#, r#""e":"AQAB""#, r#""e":"Aw""#, r#""e":"AgAAAAAAAAAB""#, r#""use":"sig""#, r#""use":"enc""#, r#""k":"AA""#, r#""kid":"1""#, r#""alg":"none""#]), 0..4), long in any::<bool>()) {
            let modulus = super::URL_SAFE_NO_PAD.encode([0xc5; 256]);
            let mut list = keys.join(&b","[..]);
            if long {
                list = String::from_utf8_lossy(&list).replace(r#""kty":"RSA""#, &format!(r#""kty":"RSA","n":"{modulus}""#)).into_bytes();
            }
            super::keys(&[br#"{"keys":["#, &list[..], b"]}"].concat());
        }

        #[test]
        fn oidc_11_tokens_that_nobody_signed_are_not_taken(parts in proptest::collection::vec(prop_oneof![Just("eyJhbGciOiJFZERTQSJ9".to_owned()), Just("eyJhbGciOiJub25lIn0".to_owned()), Just(super::URL_SAFE_NO_PAD.encode(super::right().to_string())), "[A-Za-z0-9_-]{0,90}", Just("A".repeat(86))], 0..6)) {
            super::token(parts.join(".").as_bytes());
        }

        #[test]
        fn oidc_09_claims_that_are_taken_say_what_they_must(bytes in slots(&[
            &[r#""iss":"https://idp.example""#, r#""iss":"https://idp.example/""#, "", r#""iss":null"#],
            &[r#""aud":"cardea""#, r#""aud":["cardea"]"#, r#""aud":["cardea","x"]"#, r#""aud":[]"#, r#""aud":"card""#, ""],
            &[r#""nonce":"the-nonce""#, r#""nonce":"x""#, r#""nonce":["the-nonce"]"#, ""],
            &[r#""sub":"1""#, r#""sub":"a\u0000""#, r#""sub":"""#, r#""sub":7"#, r#""sub":"\ud83d\ude00""#, r#""sub":"\ud83d""#],
            &[r#""exp":1800000060"#, r#""exp":1799999941"#, r#""exp":1799999940"#, r#""exp":1e99"#, r#""exp":"x""#, ""],
            &[r#""iat":1800000000"#, r#""iat":1799999400"#, r#""iat":1799999399"#, r#""iat":1800000061"#, r#""iat":-1"#, ""],
            &["", r#""nbf":1800000060"#, r#""nbf":1800000061"#, r#""nbf":false"#],
            &["", r#""azp":"cardea""#, r#""azp":"x""#, r#""azp":null"#],
            &["", r#""at_hash":"x""#, r#""c_hash":7"#, r#""sub":"2""#, r#""email_verified":"true""#],
        ])) {
            super::claims(&bytes);
        }

        #[test]
        fn oidc_19_answers_are_taken_whole(bytes in slots(&[
            &[r#""id_token":"a.b.c""#, r#""id_token":7"#, "", r#""id_token":null"#],
            &[r#""access_token":"t""#, r#""access_token":"""#, ""],
            &[r#""token_type":"Bearer""#, r#""token_type":"mac""#, r#""token_type":"bearer""#, ""],
            &["", r#""error":null"#, r#""error":"x""#, r#""id_token":"x""#, r#""expires_in":1e400"#],
        ])) {
            super::answer(&bytes);
        }
    }
}
