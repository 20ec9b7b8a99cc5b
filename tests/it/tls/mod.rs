//! TLS on both sides, with certificates minted in the test.

mod development;
mod expired;
mod front;
mod http2;
mod multiplex;
mod redirect;
mod upstream;
pub(crate) mod world;
