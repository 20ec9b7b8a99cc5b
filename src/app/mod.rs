//! The composition root: every part built from settings, listeners, tasks, telemetry, shutdown.

mod certificates;
pub mod control;
pub mod feed;
mod house;
mod install;
pub mod keys;
pub mod local;
pub mod objects;
mod ops;
mod reload;
mod serve;
mod tasks;
mod telemetry;

pub use house::{House, Machine, Queues, password_policy};
pub use serve::{Reloader, Running, Signals, Taken, serve, start};
pub use telemetry::start as start_logging;
