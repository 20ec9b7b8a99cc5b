//! Hashes, seals, tokens and signatures. No I/O; chance comes in as an argument.

pub mod certificate;
pub mod client_key;
pub mod content;
pub mod development;
pub mod digest;
pub mod keyring;
pub mod password_hash;
pub mod rsa;
pub mod seal;
pub mod signer;
pub mod signing;
pub mod token;

pub use keyring::Keyring;

/// What this room may fail with. Says nothing about why: the difference would help an attacker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Sealed by another key, or changed since.
    #[error("this was sealed with another master key, or was changed")]
    Unsealable,
    /// The library refused; never seen in practice.
    #[error("a cryptographic operation failed")]
    Failed,
}
