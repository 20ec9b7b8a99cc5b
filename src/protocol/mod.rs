//! Formats and proofs that others have specified: time-based codes, recovery codes, password rules. Never touches the store.

pub mod password;
pub mod recovery_code;
pub mod totp;
