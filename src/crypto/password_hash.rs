//! Password hashes: argon2id in PHC form; bcrypt is read, never written.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{CustomizedPasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use super::CryptoError;
use crate::domain::{Chance, Password};

/// 19 MiB, two passes, one lane: the first of the settings that OWASP's password storage sheet recommends.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Whether a password was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Right,
    /// Right, but the hash is of an older kind and should be made anew.
    RightButOld,
    /// Wrong, or there is no usable hash.
    Wrong,
}

fn hasher() -> Result<Argon2<'static>, CryptoError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| CryptoError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a password. Takes tens of milliseconds: never on a thread that serves.
///
/// # Errors
/// When memory runs out.
pub fn hash(password: &Password, chance: &dyn Chance) -> Result<String, CryptoError> {
    let salt = chance.bytes::<16>();
    let hashed = hasher()?
        .hash_password_customized(password.expose().as_bytes(), &salt, None, None, argon2_params()?)
        .map_err(|_| CryptoError::Failed)?;
    Ok(hashed.to_string())
}

fn argon2_params() -> Result<Params, CryptoError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| CryptoError::Failed)
}

/// Checks a password against a hash; without one, against a decoy, so that both take the same time.
#[must_use]
pub fn verify(password: &Password, hash: Option<&str>) -> Verdict {
    let text = hash.unwrap_or(DECOY);
    let right = if text.starts_with("$2") {
        // bcrypt looks at 72 bytes and no more; an imported hash was made of those.
        bcrypt::verify(password.expose(), text).unwrap_or(false)
    } else {
        match (PasswordHash::new(text), hasher()) {
            (Ok(phc), Ok(hasher)) => hasher.verify_password(password.expose().as_bytes(), &phc).is_ok(),
            _ => false,
        }
    };
    match (right && hash.is_some(), text.starts_with(CURRENT)) {
        (false, _) => Verdict::Wrong,
        (true, true) => Verdict::Right,
        (true, false) => Verdict::RightButOld,
    }
}

/// Whether a text is a hash that [`verify`] can read, for imports.
#[must_use]
pub fn readable(text: &str) -> bool {
    if text.starts_with("$2") {
        text.len() == 60 && text.is_ascii()
    } else {
        text.starts_with("$argon2") && PasswordHash::new(text).is_ok()
    }
}

/// How hashes of today begin.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// A hash with today's settings that no password has.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2FyZGVhLWRlY295LS0tLQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Seeded;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[test]
    fn pwd_01_argon2id_with_the_recommended_settings() {
        let chance = Seeded::new(7);
        let hash = hash(&password("maple-ferry-31"), &chance).unwrap();
        assert!(hash.starts_with(CURRENT), "{hash}");
        assert_eq!(verify(&password("maple-ferry-31"), Some(&hash)), Verdict::Right);
        assert_eq!(verify(&password("maple-ferry-32"), Some(&hash)), Verdict::Wrong);
        assert!(readable(&hash));
    }

    #[test]
    fn pwd_02_every_character_counts() {
        let chance = Seeded::new(7);
        let long = "x".repeat(100);
        let hash = hash(&password(&format!("{long}a")), &chance).unwrap();
        assert_eq!(verify(&password(&format!("{long}b")), Some(&hash)), Verdict::Wrong);
        assert_eq!(verify(&password(&format!("{long}a ")), Some(&hash)), Verdict::Wrong);
    }

    #[test]
    fn older_hashes_are_read_and_marked() {
        let old = bcrypt::hash("maple-ferry-31", 4).unwrap();
        assert_eq!(verify(&password("maple-ferry-31"), Some(&old)), Verdict::RightButOld);
        assert_eq!(verify(&password("wrong"), Some(&old)), Verdict::Wrong);
        assert!(readable(&old));
    }

    #[test]
    fn nobody_has_the_decoy() {
        assert!(PasswordHash::new(DECOY).is_ok());
        assert_eq!(verify(&password("anything"), None), Verdict::Wrong);
        assert_eq!(verify(&password("anything"), Some("garbage")), Verdict::Wrong);
    }
}
