//! Claims that come besides the ID token (`OpenID` Connect Core §5.3, §5.6.2).

use serde_json::{Map, Value};

use super::jws::{self, Checks};
use super::{Expected, Keys, Refused, json, quoted};
use crate::domain::provider::{ClaimPath, Claims, Provider};

const CHECK: &str = "userinfo";
const CHECKS: Checks = Checks {
    algorithm: CHECK,
    claims: CHECK,
    form: CHECK,
    header: CHECK,
    key: CHECK,
    signature: CHECK,
    size: CHECK,
    typ: CHECK,
};
/// The claims that are kept elsewhere, by name.
const ELSEWHERE: &str = "_claim_names";

/// Reads an answer in plain JSON.
///
/// # Errors
/// When it is none.
pub fn plain(status: u16, media_type: &str, body: &[u8]) -> Result<Claims, Refused> {
    if status != 200 {
        return Err(Refused::by(CHECK, format!("it answers with status {status}")));
    }
    if media_type != "application/json" {
        return Err(Refused::by(CHECK, format!("it is {} instead of application/json", quoted(media_type))));
    }
    json::object(body, CHECK)
}

/// Reads an answer that the provider has signed, with the keys and algorithms of ID tokens (`OpenID` Connect Core §5.3.2).
///
/// # Errors
/// When the signature is not the provider's, or the answer says that it is somebody else's or for somebody else.
pub fn signed(body: &[u8], keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Refused> {
    let raw = std::str::from_utf8(body).map_err(|_| Refused::by(CHECK, "it is no text"))?;
    let claims = jws::verified(raw.trim_ascii(), &CHECKS, &["JWT"], expected.algorithms, keys)?.claims;
    if claims.get("iss").is_some_and(|iss| iss.as_str() != Some(expected.issuer)) {
        return Err(Refused::by(CHECK, "it is signed in the name of another issuer"));
    }
    let ours = |aud: &Value| match aud {
        Value::Array(list) => list.iter().any(|one| one.as_str() == Some(expected.client_id)),
        one => one.as_str() == Some(expected.client_id),
    };
    if !claims.get("aud").is_none_or(ours) {
        return Err(Refused::by(CHECK, "it is for another client"));
    }
    Ok(claims)
}

/// Adds what `UserInfo` says to the claims of an ID token, whose own claims stand.
///
/// # Errors
/// When it is about somebody else (`OIDC-22`).
pub fn joined(mut claims: Claims, more: Claims) -> Result<Claims, Refused> {
    // Text by text: a missing one equals nothing.
    match (more.get("sub"), claims.get("sub")) {
        (Some(Value::String(theirs)), Some(Value::String(ours))) if theirs == ours => {}
        _ => return Err(Refused::by(CHECK, "its sub is not the one of the ID token")),
    }
    // An address and the word that it is verified belong together; and how somebody signed in only the token can say.
    let addressed = claims.contains_key("email") || claims.contains_key("email_verified");
    for (name, value) in more {
        let apart = match name.as_str() {
            "email" | "email_verified" => addressed,
            "amr" | "acr" | "auth_time" | "sid" => true,
            _ => false,
        };
        if name == ELSEWHERE
            && let (Value::Object(more), Some(Value::Object(known))) = (&value, claims.get_mut(ELSEWHERE))
        {
            known.extend(more.clone());
        } else if !apart {
            claims.entry(name).or_insert(value);
        }
    }
    Ok(claims)
}

/// The claims that rules or attributes ask for and that the provider keeps elsewhere, as Entra does with more groups than
/// fit (`OIDC-33`). Their sources are never asked: an address out of a token is a stranger's (`OIDC-25`).
#[must_use]
pub fn left_out<'p>(provider: &'p Provider, claims: &Claims) -> Vec<&'p ClaimPath> {
    let nothing = Map::new();
    let names = claims.get(ELSEWHERE).and_then(Value::as_object).unwrap_or(&nothing);
    // Entra's short form of the same (`hasgroups`).
    let groups = matches!(claims.get("hasgroups"), Some(Value::Bool(true)))
        || claims.get("hasgroups").and_then(Value::as_str) == Some("true");
    let away = |path: &&ClaimPath| {
        let root = path.root(claims);
        path.find(claims).is_none() && (names.contains_key(root) || (groups && root == "groups"))
    };
    let mut lacking: Vec<&ClaimPath> = Vec::new();
    for path in provider.wanted().filter(away) {
        if !lacking.contains(&path) {
            lacking.push(path);
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn both(token: &Value, more: &Value) -> Value {
        let token = token.as_object().unwrap().clone();
        let more = plain(200, "application/json", more.to_string().as_bytes()).unwrap();
        Value::Object(joined(token, more).unwrap())
    }

    #[test]
    fn oidc_22_oidc_23_what_belongs_together_comes_from_one_document() {
        let more = json!({ "sub": "1", "email": "m@acme.example", "email_verified": true, "amr": ["mfa"], "name": "M" });
        let said = both(&json!({ "sub": "1", "email": "g@acme.example" }), &more);
        assert_eq!(said, json!({ "sub": "1", "email": "g@acme.example", "name": "M" }));
        let said = both(&json!({ "sub": "1", "email_verified": true }), &more);
        assert_eq!(said, json!({ "sub": "1", "email_verified": true, "name": "M" }));
        let said = both(&json!({ "sub": "1" }), &more);
        assert_eq!(
            said,
            json!({ "sub": "1", "email": "m@acme.example", "email_verified": true, "name": "M" })
        );
    }
}
