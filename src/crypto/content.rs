//! Content that others have encrypted for us: AES in Galois/Counter Mode, as XML Encryption 1.1 §5.2.4 lays it out.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::CryptoError;

/// Opens nonce, ciphertext and tag with a key of 128 or 256 bits.
///
/// # Errors
/// One, whatever is wrong.
pub fn open(bits: usize, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let algorithm = match bits {
        128 => &AES_128_GCM,
        256 => &AES_256_GCM,
        _ => return Err(CryptoError::Unsealable),
    };
    let bad = |_| CryptoError::Unsealable;
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(bad)?);
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(CryptoError::Unsealable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(bad)?;
    let mut rest = rest.to_vec();
    let length = key.open_in_place(nonce, Aad::empty(), &mut rest).map_err(bad)?.len();
    rest.truncate(length);
    Ok(rest)
}
