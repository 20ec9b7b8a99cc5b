//! Every test that needs more than one function: one binary, so that it links once.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by panicking, and asks the machine for time, ports and folders"
)]
#![expect(
    clippy::assigning_clones,
    clippy::doc_markdown,
    clippy::match_same_arms,
    clippy::maybe_infinite_iter,
    clippy::semicolon_if_nothing_returned,
    clippy::single_match_else,
    clippy::unnecessary_wraps,
    reason = "opinions on style that tests need not share"
)]

mod administrators;
mod engines;
mod federation;
mod flows;
mod forward_auth;
mod house;
mod operation;
mod pages;
mod saml;
mod support;
mod tls;
mod tools;
