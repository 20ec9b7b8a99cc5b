//! Sealing at rest and in addresses: AES-256-GCM, bound to where the thing belongs.
//!
//! A sealed value is `key id (4) | nonce (12) | ciphertext and tag`. The key id says under which master key it was
//! sealed, so that keys can be rotated; the place is authenticated, so that a ciphertext copied to another row or column
//! does not open (`KEY-01`).

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::CryptoError;
use super::digest::sha256;
use crate::domain::{Chance, Secret};

/// One sealing key.
pub struct SealingKey {
    id: [u8; 4],
    key: LessSafeKey,
}

impl SealingKey {
    /// # Errors
    /// Never in practice: 32 bytes are what the algorithm takes.
    pub fn new(secret: &[u8; 32]) -> Result<Self, CryptoError> {
        let digest = sha256(&[b"cardea key id".as_slice(), secret].concat());
        let mut id = [0; 4];
        id.copy_from_slice(digest.get(..4).ok_or(CryptoError::Failed)?);
        let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| CryptoError::Failed)?;
        Ok(Self { id, key: LessSafeKey::new(key) })
    }

    fn seal(&self, place: &str, plain: &[u8], chance: &dyn Chance) -> Result<Vec<u8>, CryptoError> {
        let nonce = chance.bytes::<12>();
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut body,
            )
            .map_err(|_| CryptoError::Failed)?;
        Ok([self.id.as_slice(), &nonce, &body].concat())
    }

    fn open(&self, place: &str, nonce: [u8; 12], body: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut body)
            .map_err(|_| CryptoError::Unsealable)?
            .len();
        body.truncate(plain);
        Ok(Secret::new(body))
    }
}

/// The key that seals, and older ones that still open.
pub struct Sealer {
    current: SealingKey,
    previous: Vec<SealingKey>,
}

impl Sealer {
    /// # Errors
    /// As [`SealingKey::new`].
    pub fn new(current: &[u8; 32], previous: &[Secret<[u8; 32]>]) -> Result<Self, CryptoError> {
        Ok(Self {
            current: SealingKey::new(current)?,
            previous: previous.iter().map(|key| SealingKey::new(key.expose())).collect::<Result<_, _>>()?,
        })
    }

    /// Seals for a place: table, column and row.
    ///
    /// # Errors
    /// Never in practice.
    pub fn seal(&self, place: &str, plain: &[u8], chance: &dyn Chance) -> Result<Vec<u8>, CryptoError> {
        self.current.seal(place, plain, chance)
    }

    /// Opens what was sealed for the same place.
    ///
    /// # Errors
    /// [`CryptoError::Unsealable`] for everything else.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
        let (id, rest) = sealed.split_first_chunk::<4>().ok_or(CryptoError::Unsealable)?;
        let (nonce, body) = rest.split_first_chunk::<12>().ok_or(CryptoError::Unsealable)?;
        let key = std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| key.id == *id)
            .ok_or(CryptoError::Unsealable)?;
        key.open(place, *nonce, body)
    }

    /// Whether it was sealed with the current key.
    #[must_use]
    pub fn current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chance::Seeded;

    #[test]
    fn key_01_a_seal_opens_only_where_it_belongs() {
        let chance = Seeded::new(7);
        let sealer = Sealer::new(&[1; 32], &[]).unwrap();
        let sealed = sealer.seal("factors/seed/a", b"seed", &chance).unwrap();
        assert_eq!(sealer.open("factors/seed/a", &sealed).unwrap().expose(), b"seed");
        assert_eq!(sealer.open("factors/seed/b", &sealed).unwrap_err(), CryptoError::Unsealable);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("factors/seed/a", &changed).is_err(), "byte {at}");
            assert!(sealer.open("factors/seed/a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn key_02_an_older_key_opens_and_seals_no_more() {
        let chance = Seeded::new(7);
        let old = Sealer::new(&[1; 32], &[]).unwrap();
        let sealed = old.seal("x", b"y", &chance).unwrap();
        let new = Sealer::new(&[2; 32], &[Secret::new([1; 32])]).unwrap();
        assert_eq!(new.open("x", &sealed).unwrap().expose(), b"y");
        assert!(!new.current(&sealed));
        assert!(new.current(&new.seal("x", b"y", &chance).unwrap()));
        assert!(Sealer::new(&[2; 32], &[]).unwrap().open("x", &sealed).is_err());
    }
}
