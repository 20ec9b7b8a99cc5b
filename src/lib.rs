//! Cardea: an SSO-enabled identity provider gateway.
//!
//! People sign in once; every request to an upstream behind Cardea is decided by a policy over tenant-scoped roles and
//! carries an identity that the upstream can verify. `docs/ARCHITECTURE.md` says how the house is laid out.

pub mod access;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod demo;
pub mod domain;
pub mod federation;
pub mod net;
pub mod outbound;
pub mod protocol;
pub mod proxy;
pub mod session;
pub mod signin;
pub mod store;
pub mod sys;
pub mod ui;
pub mod web;
