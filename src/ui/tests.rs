//! Rules that hold on every page.

use super::samples::{HOSTILE, samples};
use super::*;

fn all() -> Vec<(String, String)> {
    samples(Theme::Auto)
}

/// The opening tags of a page, so that rules look at markup and never at text.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)).collect()
}

#[test]
fn every_page_renders_with_one_heading_that_is_its_title() {
    for (name, html) in all() {
        assert!(html.trim_start().starts_with("<!doctype html>"), "{name}");
        assert!(!html.contains("This page could not be shown"), "{name} fell back");
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert_eq!(html.matches("<main").count(), 1, "{name}");
        let between =
            |from: &str, to: &str| html.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
        let (title, heading) = (between("<title>", "</title>"), between("<h1>", "</h1>"));
        assert!(title.starts_with(&heading), "{name}: {title} / {heading}");
        assert!(html.contains("class=\"skip\" href=\"#main\""), "{name}");
    }
}

#[test]
fn nothing_the_content_policy_would_refuse() {
    for (name, html) in all() {
        for tag in tags(&html) {
            let tag = tag.to_ascii_lowercase();
            assert!(!tag.contains(" style="), "{name}: {tag}");
            assert!(!tag.starts_with("style"), "{name}: {tag}");
            assert!(!tag.starts_with("script") || tag.contains(" src="), "{name}: {tag}");
            let handler =
                tag.split_ascii_whitespace().skip(1).any(|word| word.starts_with("on") && word.contains('='));
            assert!(!handler, "{name}: {tag}");
            assert!(!tag.contains("=\"data:") && !tag.contains("=\"javascript:"), "{name}: {tag}");
        }
    }
}

#[test]
fn hostile_text_is_escaped() {
    let mut seen = 0;
    for (name, html) in all() {
        assert!(!html.contains("<script>"), "{name}");
        assert!(!html.contains(HOSTILE), "{name}");
        assert!(!html.contains("\"><script"), "{name}");
        assert!(!html.contains('\u{202e}'), "{name} lets a name turn the text around");
        seen += usize::from(html.contains("&#60;script&#62;"));
    }
    assert!(seen > 30, "only {seen} samples carry the hostile text");
}

#[test]
fn every_posting_form_has_the_token_and_stays_on_this_host() {
    let mut forms = 0;
    // The provider of the demo is another site to us, as every provider is; its one form looks at where it was sent from.
    for (name, html) in all().into_iter().filter(|(name, _)| !name.contains("provider-home")) {
        for form in html.split("<form ").skip(1) {
            let (tag, rest) = form.split_once('>').unwrap();
            let inside = rest.split_once("</form>").unwrap().0;
            assert!(tag.contains("method=\"post\""), "{name}: {tag}");
            assert!(tag.contains("action=\"/") && !tag.contains("action=\"//"), "{name}: {tag}");
            assert_eq!(inside.matches("name=\"csrf\"").count(), 1, "{name}: {tag}");
            forms += 1;
        }
    }
    assert!(forms > 30);
}

#[test]
fn fields_have_labels_and_ids_are_unique() {
    for (name, html) in all() {
        let mut ids: Vec<&str> =
            html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}: an id stands twice");
        for tag in tags(&html).into_iter().filter(|tag| tag.starts_with("input ")) {
            if tag.contains("type=\"hidden\"")
                || tag.contains("aria-label=")
                || tag.contains("type=\"radio\"")
                || tag.contains("type=\"checkbox\"")
            {
                continue;
            }
            let id = tag.split_once(" id=\"").unwrap().1.split('"').next().unwrap();
            assert!(html.contains(&format!("<label for=\"{id}\"")), "{name}: {tag}");
        }
    }
}

#[test]
fn secrets_never_come_back_in_a_field() {
    for (name, html) in all() {
        for tag in tags(&html).into_iter().filter(|tag| tag.contains("type=\"password\"")) {
            assert!(!tag.contains("value="), "{name}: {tag}");
        }
    }
}

#[test]
fn forms_keep_what_was_typed() {
    let page = all().into_iter().find(|(name, _)| name == "setup-error").unwrap().1;
    for (id, value) in [("name", "Grace Hopper"), ("email", "grace@acme.example"), ("username", "grace")] {
        let tag = tags(&page).into_iter().find(|tag| tag.contains(&format!("id=\"{id}\""))).unwrap();
        assert!(
            tag.contains(&format!("name=\"{id}\"")) && tag.contains(&format!("value=\"{value}\"")),
            "{tag}"
        );
    }
}

#[test]
fn session_ids_cannot_leave_their_segment() {
    let page = all().into_iter().find(|(name, _)| name == "sessions").unwrap().1;
    assert!(page.contains("action=\"/me/sessions/b%2F%2E%2E%2Fc/revoke\""));
}

#[test]
fn pages_on_the_host_of_an_app_load_and_link_nothing_of_the_portal_by_path() {
    let page = all().into_iter().find(|(name, _)| name == "denied-on-route").unwrap().1;
    assert!(page.contains("href=\"/.cardea/assets/cardea-"));
    assert!(!page.contains("\"/assets/") && !page.contains("href=\"/apps\""));
    assert!(!page.contains("data-theme-switch"), "would plant a cookie on the host of an app");
}

#[test]
fn the_taking_you_page_carries_its_address_escaped() {
    let page = all().into_iter().find(|(name, _)| name == "continue").unwrap().1;
    assert!(page.contains("content=\"0; url=https://reports.example.com/?a=1&#38;b=&#34;\""), "{page}");
    let evil = Continue { href: "javascript:alert(1)".into(), ..Continue::default() }.render();
    assert!(evil.contains("content=\"0; url=/\"") && !evil.contains("javascript:"));
}

#[test]
fn theme_is_on_the_root() {
    let dark = samples(Theme::Dark);
    assert!(dark.iter().all(|(_, html)| html.contains("<html lang=\"en\" dir=\"ltr\" data-theme=\"dark\">")));
}

#[test]
fn assets_are_found_by_the_names_pages_use() {
    for name in [assets::css_name(), assets::script_name(), assets::mark_name()] {
        for path in [name.to_owned(), format!("/assets/{name}"), format!("/.cardea/assets/{name}")] {
            assert!(!assets::find(&path).unwrap().bytes.is_empty(), "{path}");
        }
    }
    assert_eq!(assets::find("/assets/cardea.css"), None);
    assert_eq!(assets::find("/assets"), None);
    assert_eq!(assets::find("../Cargo.toml"), None);
}

#[test]
fn assets_stay_small() {
    assert!(assets::find(assets::css_name()).unwrap().bytes.len() <= 30_000);
    assert!(assets::find(assets::script_name()).unwrap().bytes.len() <= 12_000);
}

/// Writes every sample to the folder named by `CARDEA_UI_SAMPLES`, for looking at them in a browser.
#[test]
#[expect(clippy::disallowed_methods, reason = "whoever wants the samples names a folder in the environment")]
fn write_samples_for_looking() {
    let Some(folder) = std::env::var_os("CARDEA_UI_SAMPLES").map(std::path::PathBuf::from) else {
        return;
    };
    for (theme, word) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        for (name, html) in samples(theme) {
            std::fs::create_dir_all(folder.join(word)).unwrap();
            std::fs::write(folder.join(word).join(format!("{name}.html")), html).unwrap();
        }
    }
    for name in [assets::css_name(), assets::script_name(), assets::mark_name()] {
        std::fs::write(folder.join(name), assets::find(name).unwrap().bytes).unwrap();
    }
}
