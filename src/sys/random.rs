//! Chance from the operating system.

use crate::domain::Chance;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsChance;

impl Chance for OsChance {
    fn fill(&self, into: &mut [u8]) {
        // getrandom(2) fails only before the kernel's generator is seeded; there is nothing better to do than to wait.
        while getrandom::fill(into).is_err() {
            std::thread::yield_now();
        }
    }
}
