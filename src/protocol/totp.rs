//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, steps of 30 seconds, as every authenticator app has them.
//!
//! The library is stateless; that a code works once is the store's doing: it keeps the last used step.

use totp_rs::{Builder, Totp};

use crate::domain::{Chance, Secret, Timestamp};

/// Bytes of a seed (RFC 4226 §4 recommends 160 bits).
pub const SEED: usize = 20;

/// A shared secret with an authenticator app.
pub struct Seed(Secret<Vec<u8>>);

/// The seed is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authenticator's seed cannot be read")]
pub struct BadSeed;

impl Seed {
    /// A new one.
    #[must_use]
    pub fn new(chance: &dyn Chance) -> Self {
        Self(Secret::new(chance.bytes::<SEED>().to_vec()))
    }

    /// From its bytes.
    ///
    /// # Errors
    /// When it is too short.
    pub fn from_bytes(bytes: Secret<Vec<u8>>) -> Result<Self, BadSeed> {
        if bytes.expose().len() < 16 { Err(BadSeed) } else { Ok(Self(bytes)) }
    }

    /// Its bytes, for sealing.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// As people type it: base32 without padding.
    #[must_use]
    pub fn base32(&self) -> String {
        data_encoding::BASE32_NOPAD.encode(self.0.expose())
    }

    fn totp(&self, account: &str, issuer: &str) -> Totp {
        // A colon would end the issuer in the address that apps read.
        let tidy = |text: &str| text.replace(':', " ");
        Builder::new()
            .with_secret(self.0.expose().clone())
            .with_skew(1)
            .with_account_name(tidy(account))
            .with_issuer(Some(tidy(issuer)))
            .build_noncompliant()
    }

    /// The address that apps read from a QR code.
    #[must_use]
    pub fn address(&self, account: &str, issuer: &str) -> Option<String> {
        self.totp(account, issuer).to_url().ok()
    }

    /// The code for a moment.
    #[must_use]
    pub fn code(&self, at: Timestamp) -> String {
        self.totp("", "").generate(u64::try_from(at.seconds()).unwrap_or_default()).to_string()
    }

    /// The time step whose code this is: the present one, the one before or the one after (RFC 6238 §5.2). Compares in
    /// constant time.
    #[must_use]
    pub fn verify(&self, code: &str, now: Timestamp) -> Option<i64> {
        if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let step = self.totp("", "").check(code, u64::try_from(now.seconds()).ok()?)?;
        i64::try_from(step).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1; the last six digits.
    #[test]
    fn rfc_6238_vectors() {
        let seed = Seed::from_bytes(Secret::new(b"12345678901234567890".to_vec())).unwrap();
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            let at = Timestamp::from_millis(seconds * 1000);
            assert_eq!(seed.code(at), code);
            assert_eq!(seed.verify(code, at), Some(seconds / 30));
        }
    }

    #[test]
    fn mfa_03_one_step_either_way_and_no_more() {
        let seed = Seed::from_bytes(Secret::new(vec![7; 20])).unwrap();
        let now = Timestamp::from_millis(1_700_000_015_000);
        let step = now.seconds() / 30;
        for away in -3..=3 {
            let code = seed.code(Timestamp::from_millis((step + away) * 30_000));
            let expected = (-1..=1).contains(&away).then_some(step + away);
            assert_eq!(seed.verify(&code, now), expected, "{away}");
        }
        for wrong in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(seed.verify(wrong, now), None);
        }
    }
}
