//! The `net` room: TLS on both sides. Towards clients it shows the certificate of the host that they ask for (`front`);
//! towards upstreams it verifies who answers (`upstream`). It moves bytes and knows no HTTP.
//!
//! TLS 1.2 and 1.3 with the library's own choice of suites, on both sides. There is no setting for less, and no way back to
//! plain text.

mod front;
mod upstream;

#[cfg(test)]
mod tests;

pub use front::{Front, NotPossible, Refused, Secured};
pub use upstream::{Connectors, Failed, blames_tls, system_authorities};
