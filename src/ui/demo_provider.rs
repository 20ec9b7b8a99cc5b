//! The pages of the demo's identity provider.

use askama::Template;

use super::frame::{Frame, pages, safe_href};

/// Somebody as whom one can sign in.
#[derive(Debug, Clone, Default)]
pub struct GuestLink {
    /// How they are called.
    pub name: String,
    /// What is special about them.
    pub about: String,
    /// Where choosing them leads.
    pub href: String,
    /// Whether this browser is signed in as them at the provider.
    pub present: bool,
}

impl GuestLink {
    fn href(&self) -> &str {
        safe_href(&self.href)
    }
}

/// The question who one is.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "provider_chooser.html", config = "src/ui/askama.toml")]
pub struct ProviderChooser {
    /// The frame.
    pub frame: Frame,
    /// Everybody.
    pub guests: Vec<GuestLink>,
}

impl ProviderChooser {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Who do you want to be?"
    }
}

/// The provider's own start page.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "provider_home.html", config = "src/ui/askama.toml")]
pub struct ProviderHome {
    /// The frame.
    pub frame: Frame,
    /// Who is signed in at the provider in this browser.
    pub who: Option<String>,
    /// Where the apps are.
    pub apps_href: String,
}

impl ProviderHome {
    #[allow(clippy::unused_self, reason = "templates ask every page for its title the same way")]
    fn title(&self) -> &'static str {
        "Demo provider"
    }

    fn apps_href(&self) -> &str {
        safe_href(&self.apps_href)
    }
}

pages!(ProviderChooser, ProviderHome);
