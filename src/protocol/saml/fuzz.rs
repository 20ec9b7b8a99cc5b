//! What fuzzing starts from: any bytes, and a promise of the gate that must hold of what it lets through. Built for tests and with
//! the feature `fuzzing` only.

use super::gate;
use super::xml;

/// What passes the gate holds nothing that the C libraries would fetch, run or mend, said anew in the plainest way: by the bytes.
pub fn gated(bytes: &[u8]) {
    let Ok(text) = xml::plain(bytes) else { return };
    let Ok(gated) = gate::response(text) else { return };
    assert!(!text.contains("<!") && !text.contains("<?"), "markup that may not be: {text}");
    let tags = |name: &str| {
        text.split('<')
            .skip(1)
            .filter(|tag| {
                let end = tag.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(tag.len());
                let tag = tag.get(..end).unwrap_or_default();
                tag.rsplit(':').next() == Some(name)
            })
            .count()
    };
    let signed = gated.signed().len();
    assert!(signed <= 2, "{signed} signatures");
    for part in ["Reference", "SignatureValue", "DigestValue", "CanonicalizationMethod"] {
        assert!(signed == 0 || tags(part) >= signed, "{part} is missing: {text}");
    }
    for id in gated.signed() {
        let at = format!("\"#{id}\"");
        let other = format!("'#{id}'");
        assert!(text.contains(&at) || text.contains(&other) || text.contains('&'), "nothing points at {id}");
        assert_eq!(gated.tree().descendants().filter(|it| it.attribute("ID") == Some(id)).count(), 1);
    }
    let assertions = gated
        .tree()
        .descendants()
        .filter(|it| matches!(it.tag_name().name(), "Assertion" | "EncryptedAssertion"))
        .filter(|it| it.tag_name().namespace() == Some(super::ns::ASSERTION))
        .count();
    assert!(assertions <= 1, "{assertions} assertions");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::protocol::saml::tests::{How, made};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn saml_08_saml_17_what_passes_the_gate_holds_nothing_to_fetch_or_run(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..40), 0..4),
        ) {
            let mut text = made(How::Both, &[]);
            for (from, to, length) in changes {
                let from = from.index(text.len());
                let piece = text.get(from..(from + length).min(text.len())).unwrap_or_default().to_owned();
                let to = to.index(text.len());
                if text.is_char_boundary(to) {
                    text.insert_str(to, &piece);
                }
            }
            super::gated(text.as_bytes());
        }
    }
}
