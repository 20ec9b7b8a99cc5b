//! SAML 2.0 as a service provider: the request, every check of the answer, and metadata of both sides.
//!
//! Nothing here reads the network or the disk. A response goes one way: [`gate`] reads it in safe Rust and lets only one shape
//! through; [`oracle`] has the C libraries verify the signatures, with pinned certificates, and gives back the bytes that were
//! signed; [`response`] reads those bytes and nothing else, and checks every condition itself. What the library leaves out or
//! takes although it must not is closed before or after it.

mod attributes;
mod encryption;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod gate;
mod metadata;
mod oracle;
mod request;
mod response;
mod xml;

pub use attributes::{Attributes, claims};
pub use metadata::{Ours, address, description};
pub use request::{AuthnRequest, redirect};
pub use response::{Expected, NameId, Verified, verify};

/// Namespaces (Core §1.2, XML Signature, XML Encryption).
mod ns {
    pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
    pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
    pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
    pub(super) const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
    pub(super) const ENCRYPTION: &str = "http://www.w3.org/2001/04/xmlenc#";
}

/// Bindings (Bindings §3.4, §3.5).
mod binding {
    pub(super) const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";
    pub(super) const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
}

#[cfg(test)]
mod tests;
