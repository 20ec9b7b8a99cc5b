//! What a new password must be: long enough, not among those everybody tries first, not made of the person's own names.
//! No composition rules and no rotation (NIST SP 800-63B §5.1.1.2; ASVS 6.2).

use crate::domain::Password;

/// Passwords of eight characters and more that people are known to choose; `docs/common-passwords.md` says whence.
const COMMON: &str = include_str!("common_passwords.txt");

/// What an installation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The fewest characters; never below eight.
    pub min_length: usize,
    /// Whether to look into the list of common passwords.
    pub check_common: bool,
}

/// A rule that a password breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is on the list, or is a listed one repeated or lengthened.
    Common,
    /// It has one of the person's own names in it.
    Personal,
    /// It is too short.
    Short,
}

impl Policy {
    /// The rules that a password breaks. `own` are the names that it must not be made of: username, name, address, company.
    #[must_use]
    pub fn broken(&self, password: &Password, own: &[&str]) -> Vec<Broken> {
        let text = password.expose();
        let lower = text.to_lowercase();
        let mut broken = Vec::new();
        if text.chars().count() < self.min_length.max(8) {
            broken.push(Broken::Short);
        }
        if self.check_common && common(&lower) {
            broken.push(Broken::Common);
        }
        if personal(&lower, own) {
            broken.push(Broken::Personal);
        }
        broken
    }
}

/// Whether hardly anything is left of a password without the words of the person's own names: fewer than eight letters and
/// digits. What is left must still be a password of some length; a name within a sentence does no harm.
fn personal(lower: &str, own: &[&str]) -> bool {
    let lowered: Vec<String> = own.iter().map(|name| name.to_lowercase()).collect();
    let mut words: Vec<&str> = lowered
        .iter()
        .flat_map(|name| name.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= 3)
        .collect();
    // The longest first: what a short one would tear apart is found whole.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut left = lower.to_owned();
    let mut found = false;
    for word in words.into_iter().filter(|word| lower.contains(*word)) {
        found = true;
        left = left.replace(word, " ");
    }
    found && left.chars().filter(|c| c.is_alphanumeric()).count() < 8
}

/// Whether everybody's first guesses have it: listed as it stands, without digits and signs at its ends, or said twice.
fn common(lower: &str) -> bool {
    let listed = |text: &str| COMMON.lines().any(|line| line == text);
    let bare = lower.trim_matches(|c: char| !c.is_alphabetic());
    let half = lower.len() / 2;
    let twice = lower.len().is_multiple_of(2)
        && lower.is_char_boundary(half)
        && lower.split_at_checked(half).is_some_and(|(a, b)| a == b);
    let one_letter = lower.chars().collect::<std::collections::HashSet<_>>().len() <= 3;
    listed(lower)
        || (bare.len() >= 8 && lower.len() - bare.len() <= 4 && listed(bare))
        || (twice && lower.get(..half).is_some_and(|part| part.len() < 8 || listed(part)))
        || one_letter
        || sequence(lower)
}

/// Nothing but neighbours: `123456789012`, `abcdefghijkl`.
fn sequence(lower: &str) -> bool {
    let bytes = lower.as_bytes();
    let step = |pair: &[u8]| match pair {
        [a, b] => {
            b.wrapping_sub(*a) == 1
                || a.wrapping_sub(*b) == 1
                || (*a == b'9' && *b == b'0')
                || (*a == b'0' && *b == b'9')
        }
        _ => false,
    };
    bytes.len() > 3 && bytes.windows(2).all(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { min_length: 12, check_common: true };

    fn broken(text: &str) -> Vec<Broken> {
        POLICY.broken(
            &Password::parse(text).unwrap(),
            &["grace", "Grace Hopper", "grace@acme.example", "Acme Access"],
        )
    }

    #[test]
    fn pwd_02_the_list_is_sorted_and_searched() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.len() > 10_000);
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "sorted by byte");
        let eight = Policy { min_length: 8, check_common: true };
        for entry in lines.iter().step_by(97) {
            assert!(eight.broken(&Password::parse(entry).unwrap(), &[]).contains(&Broken::Common), "{entry}");
        }
    }

    #[test]
    fn what_is_refused_and_what_is_not() {
        for fine in [
            "maple-ferry-31",
            "correct horse battery staple",
            "ünïcödé is fine",
            "xK4#vv09_qLm",
            "grace and seven dwarfs",
        ] {
            assert_eq!(broken(fine), [], "{fine}");
        }
        for (wrong, why) in [
            ("short", Broken::Short),
            ("password1234", Broken::Common),
            ("passwordpassword", Broken::Common),
            ("123456789012", Broken::Common),
            ("aaaaaaaaaaaa", Broken::Common),
            ("abcdefghijkl", Broken::Common),
            ("grace1234567", Broken::Personal),
            ("acme access!", Broken::Personal),
            ("gracegracegrace", Broken::Personal),
            ("grace-hopper-12", Broken::Personal),
            ("HopperGrace!!", Broken::Personal),
            ("grace@acme.example", Broken::Personal),
            ("grace.hopper@acme", Broken::Personal),
        ] {
            assert!(broken(wrong).contains(&why), "{wrong}");
        }
    }
}
