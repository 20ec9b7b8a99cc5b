//! Who is calling: cookies and tokens, the cache that the data plane asks, and the life of a session.

mod cache;
pub mod cookie;
mod lease;
mod lifecycle;
mod notice;
mod portal;
mod record;
pub mod return_to;

pub use lease::Lease;
pub use lifecycle::{Redeemed, Sessions, Shown, Spent, Visit};
pub use notice::{Listener, Notice};
pub use portal::PortalStore;
pub use record::Record;
pub use return_to::ReturnTo;

use crate::domain::Span;

/// What this room is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A session that is not used for so long ends.
    pub idle: Span,
    /// A session ends after so long, used or not.
    pub absolute: Span,
    /// So many sessions at most a person; one more ends the oldest.
    pub per_user: usize,
}
