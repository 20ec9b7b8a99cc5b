//! What all pages share: the frame around them, and small pieces such as moments and problems of a form.

use super::assets;

/// Everything around the content of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Path under which this host serves assets, without a slash at the end.
    pub asset_base: String,
    /// Origin of the portal for links, without a slash at the end; empty on the portal itself.
    pub portal: String,
    /// What this installation calls itself.
    pub product_name: String,
    /// The theme the person chose.
    pub theme: Theme,
    /// Who is signed in, for the menu at the top of portal pages.
    pub person: Option<PersonMenu>,
    /// Whether this is the demo; shows the brass bar.
    pub demo: bool,
    /// Token that every form sends back as `csrf`.
    pub csrf: String,
    /// Whom to ask for help, in a sentence; a general text when absent.
    pub help: Option<String>,
}

impl Frame {
    /// A frame for pages on the host of the portal.
    #[must_use]
    pub fn on_portal(product_name: impl Into<String>, csrf: impl Into<String>) -> Self {
        Self {
            asset_base: assets::PORTAL_BASE.to_owned(),
            product_name: product_name.into(),
            csrf: csrf.into(),
            ..Self::default()
        }
    }

    /// A frame for pages on the host of an app. Links in it lead to the portal, so they need its origin.
    #[must_use]
    pub fn on_route(product_name: impl Into<String>, portal: impl Into<String>) -> Self {
        Self {
            asset_base: assets::ROUTE_BASE.to_owned(),
            portal: portal.into(),
            product_name: product_name.into(),
            ..Self::default()
        }
    }

    /// The same frame with the menu of a signed-in person.
    #[must_use]
    pub fn for_person(mut self, person: PersonMenu) -> Self {
        self.person = Some(person);
        self
    }

    pub(super) fn css(&self) -> String {
        format!("{}/{}", self.asset_base, assets::css_name())
    }

    pub(super) fn script(&self) -> String {
        format!("{}/{}", self.asset_base, assets::script_name())
    }

    pub(super) fn mark(&self) -> String {
        format!("{}/{}", self.asset_base, assets::mark_name())
    }

    /// The theme switch writes a cookie, which must never be planted on the host of an app.
    pub(super) fn can_switch_theme(&self) -> bool {
        self.portal.is_empty() && self.asset_base == assets::PORTAL_BASE
    }

    pub(super) fn help_text(&self) -> &str {
        self.help.as_deref().unwrap_or(
            "Ask the people who run this service. They can unlock your account, give you a one-time link to set a \
             new password, or let you set up your authenticator again.",
        )
    }
}

/// Colours of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system of the person prefers.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Name of the cookie in which the choice lives. It is a preference and no secret, so it has no `__Host-` name.
    pub const COOKIE: &str = "cardea-theme";

    /// Reads the value of the cookie; anything unknown is `Auto`.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        match value {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }

    /// The word for the cookie and for the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The signed-in person, as the menu shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonMenu {
    /// Display name.
    pub name: String,
    /// One or two letters for the round badge.
    pub initials: String,
    /// Sign-in name.
    pub username: String,
}

impl PersonMenu {
    /// Builds the menu from a display name and a sign-in name.
    #[must_use]
    pub fn new(name: impl Into<String>, username: impl Into<String>) -> Self {
        let (name, username) = (name.into(), username.into());
        let initials = initials(if name.trim().is_empty() { &username } else { &name });
        Self { name, initials, username }
    }
}

/// First letters of the first and the last word; words without a letter or digit at the front are skipped.
fn initials(name: &str) -> String {
    let mut firsts = name
        .split_whitespace()
        .filter_map(|word| word.chars().next().filter(|first| first.is_alphanumeric()));
    let first = firsts.next();
    let last = firsts.next_back();
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// A point in time. The page shows `text`; the optional script turns it into local time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for example `2025-11-21T14:02:00Z`.
    pub iso: String,
    /// For reading, with its zone, for example `21 Nov 2025, 14:02 UTC`.
    pub text: String,
}

impl Moment {
    /// A moment from its two spellings.
    #[must_use]
    pub fn new(iso: impl Into<String>, text: impl Into<String>) -> Self {
        Self { iso: iso.into(), text: text.into() }
    }
}

/// How a notice looks and which icon it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// Something worked.
    #[default]
    Ok,
    /// Something to know.
    Info,
    /// Something needs attention.
    Warn,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
        }
    }
}

/// One message at the top of a page, such as what the last form did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// Its kind.
    pub tone: Tone,
    /// Its text.
    pub text: String,
}

impl Notice {
    /// "It worked."
    #[must_use]
    pub fn ok(text: impl Into<String>) -> Self {
        Self { tone: Tone::Ok, text: text.into() }
    }

    /// Something to know.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { tone: Tone::Info, text: text.into() }
    }

    /// Something that needs attention.
    #[must_use]
    pub fn warn(text: impl Into<String>) -> Self {
        Self { tone: Tone::Warn, text: text.into() }
    }
}

/// What is wrong with one field of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// Name of the field; empty when the problem is with the whole form.
    pub field: String,
    /// Cause and next step, in a sentence.
    pub text: String,
}

impl Problem {
    /// A problem with one field.
    #[must_use]
    pub fn field(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }

    /// A problem with the form as a whole.
    #[must_use]
    pub fn form(text: impl Into<String>) -> Self {
        Self { field: String::new(), text: text.into() }
    }
}

/// The text for one field, if there is a problem with it.
pub(super) fn problem_of<'a>(problems: &'a [Problem], field: &str) -> Option<&'a str> {
    problems.iter().find(|problem| problem.field == field).map(|problem| problem.text.as_str())
}

/// How a page offers something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A link.
    Link {
        /// Where it leads.
        href: String,
    },
    /// A form that posts the `csrf` of the frame.
    Post {
        /// Where it posts; must be on the same host, the content policy refuses anything else.
        action: String,
    },
}

/// Whether an address may stand in a link. Escaping stops markup but not `javascript:`, so the scheme is checked:
/// only the web and paths on this host.
fn is_web_address(address: &str) -> bool {
    let plain = !address.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\');
    let scheme =
        |wanted: &str| address.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    let path = address.starts_with('/') && !address.starts_with("//");
    plain && (path || scheme("https://") || scheme("http://"))
}

/// The address itself, or the start page when it is none that a link may have.
pub(super) fn safe_href(address: &str) -> &str {
    if is_web_address(address) { address } else { "/" }
}

/// Ends the rendering of a page. A page that cannot be rendered must still say something, so there is one without
/// any moving part.
pub(super) fn finish(rendered: askama::Result<String>) -> String {
    let Ok(mut html) = rendered else {
        return FALLBACK.to_owned();
    };
    if html.contains(turns_text) {
        html.retain(|c| !turns_text(c));
    }
    html
}

/// Characters that change the direction of the text after them. Escaping leaves them alone, and with one in their
/// name a person could turn around our own words, for example in "Signed in as …". Letters of right-to-left scripts
/// need none of them.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const FALLBACK: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<title>This page could not be shown</title></head>\
<body><main><h1>This page could not be shown</h1>\
<p>The fault is ours. Try again in a moment.</p></main></body></html>\n";

/// Gives page structs their `render`.
macro_rules! pages {
    ($($page:ty),+ $(,)?) => {$(
        impl $page {
            /// The page as HTML.
            #[must_use]
            pub fn render(&self) -> String {
                $crate::ui::frame::finish(askama::Template::render(self))
            }
        }
    )+};
}
pub(super) use pages;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_take_first_and_last_word() {
        assert_eq!(initials("Grace Brewster Hopper"), "GH");
        assert_eq!(initials("  ada "), "A");
        assert_eq!(initials("<b> Émile Zola"), "ÉZ");
        assert_eq!(initials("???"), "");
    }

    #[test]
    fn only_web_addresses_become_links() {
        for good in ["/", "/apps?x=1", "https://a.example/", "HTTP://a.example"] {
            assert_eq!(safe_href(good), good);
        }
        for bad in [
            "javascript:alert(1)",
            "//evil.example",
            "/\\evil.example",
            "",
            "data:text/html,x",
            "/a\nb",
            "apps",
        ] {
            assert_eq!(safe_href(bad), "/");
        }
    }

    #[test]
    fn unknown_theme_is_auto() {
        assert_eq!(Theme::parse("dark"), Theme::Dark);
        assert_eq!(Theme::parse("\"><script>"), Theme::Auto);
    }
}
