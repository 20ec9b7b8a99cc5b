//! Randomness as an argument.

/// A source of unpredictable bytes. Only `sys` implements it with the machine's own.
pub trait Chance: Send + Sync {
    /// Fills all of `into`.
    fn fill(&self, into: &mut [u8]);
}

impl dyn Chance + '_ {
    /// `N` fresh bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut into = [0; N];
        self.fill(&mut into);
        into
    }
}

/// Chance for tests: a sequence that is the same in every run and never repeats within one (`SplitMix64`).
#[cfg(test)]
pub(crate) struct Seeded(std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Seeded {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(seed))
    }
}

#[cfg(test)]
impl Chance for Seeded {
    fn fill(&self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}
