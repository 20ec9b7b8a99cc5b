//! The only room that knows that a table exists.
//!
//! [`Db`] hides which engine runs; [`Conn`] reads, [`Tx`] writes. Each query is written once, declared by `statements!`,
//! and prepared on both engines by a test. Store functions are free functions named for what they do; one use case is one
//! transaction, and its audit record and its notice stand or fall with it.

pub mod assertions;
pub mod audit;
pub mod credentials;
mod db;
mod error;
pub mod feed;
pub mod flows;
pub mod grants;
pub mod groups;
pub mod handoffs;
pub mod identities;
pub mod keys;
pub mod links;
pub mod memberships;
mod open;
pub mod provider_sessions;
pub mod providers;
pub mod roles;
pub mod sessions;
mod statement;
pub mod tenants;
pub mod throttles;
pub mod tree;
pub mod users;

pub use db::{Conn, Db, Engine, Tx};
pub use error::DbError;
pub use feed::{Position, Watermark};
pub use open::{Settings, StorageUrl};
pub use statement::{Column, Param, Row, Sql, Stmt};

/// Every statement of the room, for the test that prepares each on both engines.
pub const STATEMENTS: &[&[Sql]] = &[
    audit::ALL,
    credentials::ALL,
    db::ALL,
    feed::ALL,
    assertions::ALL,
    flows::ALL,
    grants::ALL,
    groups::ALL,
    handoffs::ALL,
    identities::ALL,
    keys::ALL,
    links::ALL,
    memberships::ALL,
    provider_sessions::ALL,
    providers::ALL,
    roles::ALL,
    sessions::ALL,
    tenants::ALL,
    throttles::ALL,
    tree::ALL,
    users::ALL,
];
