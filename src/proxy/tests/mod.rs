//! The data plane over the wire: raw clients, a raw upstream, everything between as it runs.

mod access;
mod forward_auth;
mod framing;
mod headers;
pub(super) mod house;
mod http2;
mod identity;
mod limits;
mod open;
mod own;
mod pool;
mod streams;
mod upgrade;
mod wire;
