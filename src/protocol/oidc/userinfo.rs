//! Claims that come besides the ID token (`OpenID` Connect Core §5.3, §5.6.2).

use serde_json::Value;

use super::{Refused, json, quoted};
use crate::domain::provider::{Claims, Provider};

const CHECK: &str = "userinfo";

/// Adds what `UserInfo` says to the claims of an ID token, whose own claims stand.
///
/// # Errors
/// When it is about somebody else (`OIDC-22`), or is no JSON.
pub fn joined(mut claims: Claims, status: u16, media_type: &str, body: &[u8]) -> Result<Claims, Refused> {
    if status != 200 {
        return Err(Refused::by(CHECK, format!("it answers with status {status}")));
    }
    if media_type == "application/jwt" {
        return Err(Refused::by(
            CHECK,
            "it is signed, which is not built yet; have the provider answer in plain JSON",
        ));
    }
    if media_type != "application/json" {
        return Err(Refused::by(CHECK, format!("it is {} instead of application/json", quoted(media_type))));
    }
    let more = json::object(body, CHECK)?;
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
            "amr" | "acr" | "auth_time" => true,
            _ => false,
        };
        if !apart {
            claims.entry(name).or_insert(value);
        }
    }
    Ok(claims)
}

/// The claims that rules or attributes ask for and that the provider keeps elsewhere, as Entra does with more groups than
/// fit (`OIDC-33`). Their sources are never asked: an address out of a token is a stranger's (`OIDC-25`). An empty list in
/// their place would silently take roles away, so this refuses.
///
/// # Errors
/// When there is such a claim.
pub fn left_out(provider: &Provider, claims: &Claims) -> Result<(), Refused> {
    let Some(names) = claims.get("_claim_names").and_then(Value::as_object) else { return Ok(()) };
    let lacking =
        provider.wanted().find(|path| path.find(claims).is_none() && names.contains_key(path.root(claims)));
    match lacking {
        None => Ok(()),
        Some(path) => Err(Refused::by(
            "claims left out",
            format!(
                "the provider has kept {} elsewhere, usually because there are too many values; have it send only the groups \
                 assigned to this application, or app roles",
                quoted(&path.0)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn both(token: &Value, more: &Value) -> Value {
        let token = token.as_object().unwrap().clone();
        Value::Object(joined(token, 200, "application/json", more.to_string().as_bytes()).unwrap())
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
