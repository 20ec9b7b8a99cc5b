//! The `net` room: connections and their TLS, on both sides. Towards clients it shows the certificate of the host that they
//! ask for (`front`); to upstreams it connects where it may (`dial`) and verifies who answers (`upstream`). It moves bytes and
//! knows no HTTP.
//!
//! TLS 1.2 and 1.3 with the library's own choice of suites, on both sides. There is no setting for less, and no way back to
//! plain text.

mod dial;
mod front;
mod upstream;

#[cfg(test)]
mod tests;

pub use dial::{Dialer, Forbidden, Resolver, SystemResolver, is_forbidden};
pub use front::{Front, NotPossible, Refused, Secured};
pub use upstream::{Connectors, Failed, blames_tls, system_authorities};
