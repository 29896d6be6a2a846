//! Reproducible randomness: the same seed gives the same bytes on every machine and release.
//!
//! xoshiro256++ seeded by splitmix64, both by Blackman and Vigna (public domain). The `rand` crate
//! promises no such stability between its versions, and a load that changes with a lockfile makes
//! two records incomparable.

/// A stream of numbers decided by its seed alone.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

/// Sixty-four letters a tag or name is made of: lower case, because some servers fold case and the
/// sums are compared by name.
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01";

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut walk = seed;
        Random { state: std::array::from_fn(|_| splitmix64(&mut walk)) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included; `low` when they are out of order.
    pub fn between(&mut self, (low, high): (usize, usize)) -> usize {
        low + self.below((high.saturating_sub(low) as u64).saturating_add(1)) as usize
    }

    /// True in `percent` of 100 calls.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// Appends `count` lower-case letters and digits.
    pub fn letters(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut left = count;
        while left > 0 {
            let mut bits = self.next_u64();
            for _ in 0..left.min(10) {
                out.push(LETTERS[(bits & 63) as usize]);
                bits >>= 6;
            }
            left -= left.min(10);
        }
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeding_follows_the_published_splitmix64() {
        let mut state = 1_234_567;
        let first: Vec<u64> = (0..3).map(|_| splitmix64(&mut state)).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn the_stream_follows_the_published_xoshiro256_plus_plus() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn bounds_are_reached_and_kept() {
        let mut random = Random::new(7);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[random.between((0, 4))] += 1;
        }
        assert!(seen.iter().all(|&n| (140..260).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.between((9, 9)), 9);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn letters_come_in_the_asked_number() {
        for count in [0, 1, 9, 10, 11, 200] {
            let mut out = Vec::new();
            Random::new(1).letters(count, &mut out);
            assert_eq!(out.len(), count);
            assert!(out.iter().all(u8::is_ascii_alphanumeric));
        }
    }
}
