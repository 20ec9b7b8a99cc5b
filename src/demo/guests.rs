//! The people of the demo provider: nobody here knows them before they come, and what they may do follows from their groups.

use serde_json::{Value, json};

/// Somebody whom the demo provider vouches for.
pub struct Guest {
    /// Who it is for the provider, for ever.
    pub subject: &'static str,
    /// How they are called.
    pub name: &'static str,
    /// What the page of the provider says about them.
    pub about: &'static str,
    username: Option<&'static str>,
    email: Option<&'static str>,
    groups: &'static [&'static str],
    second_factor: bool,
}

/// Everybody.
pub const GUESTS: [Guest; 4] = [
    Guest {
        subject: "guest-1",
        name: "Hedy Lamarr",
        about: "looks after Reports; gives a second factor at the provider, so nobody asks for another",
        username: Some("hedy"),
        email: Some("hedy@acme.example"),
        groups: &["everyone", "report-owners"],
        second_factor: true,
    },
    Guest {
        subject: "guest-2",
        name: "Katherine Johnson",
        about: "finance analyst; Reports will have her set up an authenticator",
        username: Some("katherine"),
        email: Some("katherine@acme.example"),
        groups: &["everyone", "fin-analysts"],
        second_factor: false,
    },
    Guest {
        subject: "guest-3",
        name: "Ivan Contractor",
        about: "in no group that any rule names: comes in, and is turned away by the apps",
        username: Some("ivan"),
        email: Some("ivan@contractor.example"),
        groups: &[],
        second_factor: false,
    },
    Guest {
        subject: "guest-4",
        name: "Ὑπατία ἡ Ἀλεξανδρῖτις",
        about: "no address, no username, two hundred groups, one of which lets her in",
        username: None,
        email: None,
        groups: &[],
        second_factor: false,
    },
];

impl Guest {
    /// By the provider's own name for them.
    #[must_use]
    pub fn find(subject: &str) -> Option<&'static Self> {
        GUESTS.iter().find(|guest| guest.subject == subject)
    }

    /// What the provider says about them.
    #[must_use]
    pub fn claims(&self) -> Value {
        let groups: Vec<String> = match self.username {
            Some(_) => self.groups.iter().map(|group| (*group).to_owned()).collect(),
            None => (1..=200).map(|n| format!("circle-{n}")).collect(),
        };
        let amr = if self.second_factor { json!(["pwd", "mfa"]) } else { json!(["pwd"]) };
        let mut said = json!({ "sub": self.subject, "name": self.name, "groups": groups, "amr": amr });
        if let Value::Object(said) = &mut said {
            for (claim, text) in [("preferred_username", self.username), ("email", self.email)] {
                if let Some(text) = text {
                    said.insert(claim.to_owned(), text.into());
                }
            }
            if self.email.is_some() {
                said.insert("email_verified".to_owned(), true.into());
            }
        }
        said
    }
}
