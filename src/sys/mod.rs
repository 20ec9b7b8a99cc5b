//! The only room that asks the machine for the time and for chance, and the pool on which slow work runs.

mod blocking;
mod clock;
mod random;

pub use blocking::{Busy, Pool};
pub use clock::{Clock, Stopwatch, SystemClock};
pub use random::OsChance;
