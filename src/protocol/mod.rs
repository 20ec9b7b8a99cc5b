//! Formats and proofs that others have specified: `OpenID` Connect, SAML, time-based codes, recovery codes, password rules. Never touches the store.

pub mod oidc;
pub mod password;
pub mod recovery_code;
pub mod saml;
pub mod totp;
