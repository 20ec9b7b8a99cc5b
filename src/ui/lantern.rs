//! Lantern, the demo's app: it shows what an app behind the gateway receives, and refuses what it cannot verify.

use super::frame::{Frame, pages};
use askama::Template;

/// Who the assertion says is asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanternPerson {
    /// Display name.
    pub name: String,
    /// Sign-in name.
    pub username: String,
    /// E-mail, when the assertion has one.
    pub email: Option<String>,
    /// Tenant, when the assertion has one.
    pub tenant: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
}

/// One step of checking the assertion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// What was checked, such as "Signature".
    pub name: String,
    /// The result; absent when an earlier step already failed and this one was not tried.
    pub passed: Option<bool>,
    /// What was found, such as the key that signed.
    pub detail: String,
}

impl Check {
    /// A step that passed.
    #[must_use]
    pub fn passed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), passed: Some(true), detail: detail.into() }
    }

    /// A step that failed.
    #[must_use]
    pub fn failed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), passed: Some(false), detail: detail.into() }
    }

    /// A step that was not reached.
    #[must_use]
    pub fn skipped(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            passed: None,
            detail: "Not tried, because an earlier step failed.".to_owned(),
        }
    }
}

/// Lantern's page. With `refused` it says why it refuses (status 401) and shows no person.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "lantern.html", config = "src/ui/askama.toml")]
pub struct Lantern {
    /// The frame.
    pub frame: Frame,
    /// Method and path of the request, such as `GET /`.
    pub request: String,
    /// The person, when every check passed.
    pub person: Option<LanternPerson>,
    /// Why Lantern refuses, if it does.
    pub refused: Option<String>,
    /// Identity headers as they came, in order.
    pub headers: Vec<(String, String)>,
    /// All other headers.
    pub others: Vec<(String, String)>,
    /// The checks of the assertion.
    pub checks: Vec<Check>,
    /// Header of the assertion, as JSON.
    pub jwt_header: Option<String>,
    /// Claims of the assertion, as JSON.
    pub jwt_claims: Option<String>,
    /// Where "My apps" leads.
    pub apps_href: Option<String>,
    /// Where "Sign out" leads.
    pub sign_out_href: Option<String>,
}

impl Lantern {
    fn title(&self) -> String {
        match &self.person {
            Some(person) => {
                format!("Hello, {}", if person.name.is_empty() { &person.username } else { &person.name })
            }
            None if self.refused.is_some() => "Lantern does not open".to_owned(),
            None => "Lantern is open to everyone here".to_owned(),
        }
    }

    fn jwt_header(&self) -> Option<String> {
        self.jwt_header.as_deref().map(pretty)
    }

    fn jwt_claims(&self) -> Option<String> {
        self.jwt_claims.as_deref().map(pretty)
    }

    fn failures(&self) -> usize {
        self.checks.iter().filter(|check| check.passed == Some(false)).count()
    }

    fn all_passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed == Some(true))
    }
}

/// Indents JSON; text that is none stays as it is, since it comes from whoever sent the request.
fn pretty(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| json.to_owned())
}

pages!(Lantern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_anything_else_kept() {
        assert_eq!(pretty("{\"a\":1}"), "{\n  \"a\": 1\n}");
        assert_eq!(pretty("{nonsense"), "{nonsense");
    }
}
