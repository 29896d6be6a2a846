//! The one source of chance of all benches, so that a seed gives the same bytes on every machine.
//!
//! `whippet bench` has its own (`src/bench/random.rs`): its bytes are part of published records.

/// The generator xorshift64* with the constant of Vigna (2016).
pub struct Random(u64);

impl Random {
    /// The stream of `seed`, which must not be 0.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 31 bits.
    pub fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.next() % bound
    }
}
