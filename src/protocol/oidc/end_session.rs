//! The address at which a browser signs out at the provider (`OpenID` Connect RP-Initiated Logout §2).

/// The longest address that is made with the ID token in it. Many servers take no more than eight thousand bytes.
const MOST: usize = 6000;

/// A request to sign out.
pub struct EndSession<'a> {
    /// Where the provider takes it.
    pub endpoint: &'a str,
    /// Who asks.
    pub client_id: &'a str,
    /// The last ID token of the session, if it is kept: whom the provider is to sign out.
    pub id_token_hint: Option<&'a str>,
    /// Where the browser is to come back to.
    pub post_logout_redirect_uri: &'a str,
    /// Comes back with it.
    pub state: &'a str,
}

impl EndSession<'_> {
    /// As an address. A hint that would make it too long is left out: the provider then asks the person.
    #[must_use]
    pub fn address(&self) -> String {
        let with = |hint: Option<&str>| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(hint) = hint {
                query.append_pair("id_token_hint", hint);
            }
            query
                .append_pair("client_id", self.client_id)
                .append_pair("post_logout_redirect_uri", self.post_logout_redirect_uri)
                .append_pair("state", self.state);
            let joint = if self.endpoint.contains('?') { '&' } else { '?' };
            format!("{}{joint}{}", self.endpoint, query.finish())
        };
        Some(with(self.id_token_hint)).filter(|address| address.len() <= MOST).unwrap_or_else(|| with(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oidc_30_the_hint_is_sent_where_it_fits_and_the_client_always() {
        let long = "x".repeat(MOST);
        for (endpoint, hint, begins) in [
            ("https://idp.example/end", None, "https://idp.example/end?client_id=me&post_logout"),
            (
                "https://idp.example/end?a=b",
                Some("a.b.c"),
                "https://idp.example/end?a=b&id_token_hint=a.b.c&client_id=me&",
            ),
            ("https://idp.example/end", Some(long.as_str()), "https://idp.example/end?client_id=me&"),
        ] {
            let to = EndSession {
                endpoint,
                client_id: "me",
                id_token_hint: hint,
                post_logout_redirect_uri: "https://cardea.example/signed-out?a",
                state: "s",
            };
            let address = to.address();
            assert!(address.starts_with(begins), "{address}");
            assert!(
                address.ends_with(
                    "post_logout_redirect_uri=https%3A%2F%2Fcardea.example%2Fsigned-out%3Fa&state=s"
                )
            );
        }
    }
}
