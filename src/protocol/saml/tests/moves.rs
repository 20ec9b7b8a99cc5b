//! Every node of a good response moved, copied and removed, and forged assertions put everywhere: whatever is still taken is
//! about the person who was signed.

use roxmltree::Document;

use super::*;

/// Where every element begins and ends.
fn elements(xml: &str) -> Vec<std::ops::Range<usize>> {
    let tree = Document::parse(xml).unwrap();
    tree.descendants().filter(roxmltree::Node::is_element).map(|node| node.range()).collect()
}

fn without(xml: &str, range: &std::ops::Range<usize>) -> String {
    format!("{}{}", &xml[..range.start], &xml[range.end..])
}

fn with(xml: &str, at: usize, what: &str) -> String {
    format!("{}{what}{}", &xml[..at], &xml[at..])
}

/// Nobody, or the one who was signed, with what was signed about her.
fn safe(xml: &str, tried: &mut usize, taken_as_signed: &mut usize) {
    *tried += 1;
    if let Ok(verified) = taken(xml) {
        *taken_as_signed += 1;
        assert_eq!(verified.name.value, "jane", "{xml}");
        assert_eq!(verified.attributes, welcome(&made(How::Assertion, &[])).attributes, "{xml}");
    }
}

/// Every place right before and right after an element.
fn places(ranges: &[std::ops::Range<usize>]) -> Vec<usize> {
    let mut all: Vec<usize> = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn saml_04_no_node_moved_copied_or_removed_makes_anybody_else() {
    let (mut tried, mut same) = (0, 0);
    for how in [How::Assertion, How::Response] {
        let good = made(how, &[]);
        let ranges = elements(&good);
        for range in &ranges {
            safe(&without(&good, range), &mut tried, &mut same);
            let node = &good[range.clone()];
            for place in places(&ranges) {
                // A copy, and a move.
                safe(&with(&good, place, node), &mut tried, &mut same);
                if place <= range.start {
                    safe(&with(&without(&good, range), place, node), &mut tried, &mut same);
                } else if place >= range.end {
                    safe(
                        &with(&without(&good, range), place - (range.end - range.start), node),
                        &mut tried,
                        &mut same,
                    );
                }
            }
        }
    }
    assert!(tried > 5_000, "{tried}");
    // Were everything refused for one silly reason this would show nothing.
    assert!(same > 0);
}

#[test]
fn saml_04_saml_40_no_forged_assertion_is_read_wherever_it_stands() {
    let (mut tried, mut same) = (0, 0);
    for how in [How::Assertion, How::Response, How::Both] {
        let good = made(how, &[]);
        let tree = Document::parse(&good).unwrap();
        let own = tree.descendants().find(|node| node.tag_name().name() == "Assertion").unwrap().range();
        let original = good[own.clone()].to_owned();
        let plain = assertion().replace("[SIGA]", "");
        let forged = plain.replace(">jane<", ">admin<");
        let mut evil = Vec::new();
        for id in ["_a1", "_evil"] {
            let mut forged = forged.replace("\"_a1\"", &format!("\"{id}\""));
            evil.push(forged.clone());
            // With the true signature inside, as it is.
            if let Some((before, rest)) = original.split_once("<ds:Signature") {
                let _ = before;
                let signature = format!("<ds:Signature{}", rest.split_once("</ds:Signature>").unwrap().0)
                    + "</ds:Signature>";
                forged = forged.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1);
                evil.push(forged);
            }
        }
        let wraps = [
            ("", ""),
            ("<samlp:Extensions>", "</samlp:Extensions>"),
            ("<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">", "</ds:Object>"),
            ("<saml:Advice>", "</saml:Advice>"),
        ];
        for evil in &evil {
            for place in places(&elements(&good)) {
                for (open, close) in wraps {
                    safe(&with(&good, place, &format!("{open}{evil}{close}")), &mut tried, &mut same);
                }
            }
            // In its place, with the original inside of it or of its signature, and beside.
            let instead = format!("{}{evil}{}", &good[..own.start], &good[own.end..]);
            safe(&instead, &mut tried, &mut same);
            for place in places(&elements(&instead)) {
                for (open, close) in wraps {
                    safe(&with(&instead, place, &format!("{open}{original}{close}")), &mut tried, &mut same);
                }
            }
        }
    }
    assert!(tried > 2_000, "{tried}");
}
