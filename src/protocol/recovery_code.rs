//! Recovery codes: ten at a time, 80 bits of chance each, shown once, kept as digests.

use crate::domain::{Chance, Secret};

/// How many are made at a time.
pub const COUNT: usize = 10;
/// Letters without those that look alike.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstvwxyz0123456789";
/// Letters of a code.
const LENGTH: usize = 16;

/// A code as people write it: four groups of four.
#[must_use]
pub fn generate(chance: &dyn Chance) -> Secret<String> {
    let mut text = String::with_capacity(LENGTH + 3);
    for (at, byte) in chance.bytes::<LENGTH>().iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(LETTERS.get(usize::from(byte & 31)).copied().map_or('0', char::from));
    }
    Secret::new(text)
}

/// A code as typed, brought to the one form that is digested; `None` when it cannot be one.
#[must_use]
pub fn normalise(typed: &str) -> Option<Secret<String>> {
    if typed.len() > 200 {
        return None;
    }
    let bare: String =
        typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    (bare.len() == LENGTH && bare.bytes().all(|b| LETTERS.contains(&b))).then(|| Secret::new(bare))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Seeded;

    #[test]
    fn mfa_07_codes_read_however_they_are_typed() {
        let chance = Seeded::new(7);
        let code = generate(&chance);
        let text = code.expose();
        let bare = normalise(text).unwrap();
        assert_eq!(bare.expose().len(), LENGTH);
        for typed in [text.to_uppercase(), text.replace('-', " "), text.replace('-', ""), format!(" {text} ")]
        {
            assert_eq!(normalise(&typed).unwrap().expose(), bare.expose());
        }
        for wrong in ["", "abcd", "abcd-abcd-abcd-abc", "abcd-abcd-abcd-abcde", "abcd-abcd-abcd-abco"] {
            assert!(normalise(wrong).is_none(), "{wrong}");
        }
    }
}
