//! Claims that do not stand in the ID token: those of `UserInfo`, and groups that are too many for a token.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};

use super::{Federation, Trouble};
use crate::domain::provider::{Claims, Overage, Provider};
use crate::domain::{Secret, Timestamp};
use crate::outbound::Answer;
use crate::protocol::oidc::{self, Expected, Metadata, Refused, Tokens, Verified};

const OVERAGE: &str = "groups overage";

impl Federation {
    /// Adds to the claims of an ID token what somebody looks at and it lacks.
    pub(super) async fn complete(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        verified: &Verified,
        tokens: &Tokens,
        expected: &Expected<'_>,
    ) -> Result<Claims, Trouble> {
        let mut claims = verified.claims().clone();
        let lacks = provider.wanted().any(|path| path.find(&claims).is_none());
        if let Some(endpoint) = metadata.userinfo_endpoint.as_deref().filter(|_| lacks) {
            let answer = self.userinfo(provider, endpoint, &tokens.access_token, expected.now).await?;
            let more = self.read(provider, metadata, &answer, expected).await?;
            claims = oidc::joined(claims, more)?;
        }
        let away = oidc::left_out(provider, &claims);
        if let [path] = away.as_slice()
            && path.0 == "groups"
            && let Overage::Graph(graph) = &provider.overage
        {
            let groups = self.member_groups(graph, &tokens.access_token, expected.now).await?;
            claims.insert("groups".to_owned(), groups);
            return Ok(claims);
        }
        // An empty list in their place would silently take roles away.
        if let Some(path) = away.first() {
            let detail = format!(
                "the provider has kept {} elsewhere, usually because there are too many values; have it send only the groups \
                 assigned to this application, or app roles; from Microsoft Entra they can be asked for with groups_overage = \"graph\"",
                oidc::quoted(&path.0)
            );
            return Err(Refused::by("claims left out", detail).into());
        }
        if claims.contains_key("_claim_names") {
            tracing::info!(provider = %provider.name, "claims that are kept elsewhere, and that nobody looks at, were left there");
        }
        Ok(claims)
    }

    async fn userinfo(
        &self,
        provider: &Provider,
        endpoint: &str,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<Answer, Trouble> {
        let bad =
            || Trouble::Refused(Refused::by("userinfo", "the access token or the address cannot be sent"));
        let request = Request::builder().method(Method::GET).uri(endpoint);
        let request = request.header(AUTHORIZATION, bearer(token).ok_or_else(bad)?);
        let request = request.header(ACCEPT, "application/json, application/jwt");
        let request = request.body(Vec::new()).map_err(|_| bad())?;
        Ok(self.outbound.send(request, &provider.tls, now).await?)
    }

    /// What `UserInfo` answers, plain or signed.
    async fn read(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        answer: &Answer,
        expected: &Expected<'_>,
    ) -> Result<Claims, Trouble> {
        let status = answer.status.as_u16();
        if answer.media_type != "application/jwt" || status != 200 {
            return Ok(oidc::plain(status, &answer.media_type, &answer.body)?);
        }
        let known = self.known(provider);
        let keys = known.keys(&self.outbound, provider, metadata, expected.now).await?;
        match oidc::signed(&answer.body, &keys, expected) {
            Err(refused) if refused.keys_may_be_old => {
                match known.renewed(&self.outbound, provider, metadata, &keys, expected.now).await? {
                    Some(keys) => Ok(oidc::signed(&answer.body, &keys, expected)?),
                    None => Err(refused.into()),
                }
            }
            other => Ok(other?),
        }
    }

    /// The ids of every group that the person is in, as Microsoft Graph has them. Asked where the configuration says, never where
    /// a token says (`OIDC-25`).
    async fn member_groups(
        &self,
        graph: &str,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<Value, Trouble> {
        let bad = |why: &str| Trouble::Refused(Refused::by(OVERAGE, why));
        let request = Request::builder().method(Method::POST).uri(format!("{graph}/v1.0/me/getMemberGroups"));
        let token = bearer(token).ok_or_else(|| bad("the access token cannot be sent"))?;
        let request = request.header(AUTHORIZATION, token).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = json!({ "securityEnabledOnly": false }).to_string().into_bytes();
        let request = request.body(body).map_err(|_| bad("graph_url is no address"))?;
        let answer = self.outbound.send(request, &std::sync::Arc::default(), now).await?;
        match answer.status.as_u16() {
            200 => {}
            status @ (401 | 403) => {
                return Err(bad(&format!(
                    "Microsoft Graph answers with status {status}: give the application the delegated permission GroupMember.Read.All, \
                     with the consent of an administrator, and ask for the scope \"https://graph.microsoft.com/.default\" or none of \
                     another API"
                )));
            }
            status => return Err(bad(&format!("Microsoft Graph answers with status {status}"))),
        }
        let said = oidc::json::object(&answer.body, OVERAGE)?;
        let list = said.get("value").and_then(Value::as_array);
        let list = list.filter(|list| list.iter().all(Value::is_string));
        let list = list.ok_or_else(|| bad("Microsoft Graph gives no list of ids"))?;
        // Part of a list would take the roles of the rest away.
        if said.contains_key("@odata.nextLink") {
            return Err(bad("Microsoft Graph gives a part of the list only"));
        }
        Ok(Value::Array(list.clone()))
    }
}

/// In a header, never in an address (RFC 6750 §2.1).
fn bearer(token: &Secret<String>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
