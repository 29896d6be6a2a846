//! Requests that were answered before.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use ahash::RandomState;

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Answers that are remembered at most; the oldest is forgotten.
const KEYS_MAX: usize = 4096;

/// The `Idempotency-Key`s of requests that were answered with success: a client whose connection broke
/// sends the same request again. Keys are kept as two keyed hashes of 64 bits: 128 bits that no client
/// can make collide.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    hashers: [RandomState; 2],
    known: HashSet<u128, RandomState>,
    by_age: VecDeque<(Duration, u128)>,
}

impl Duplicates {
    /// True when `key` was noted in the last minute; else it is noted now.
    pub fn note(&mut self, key: &str, now: Duration) -> bool {
        // A clock that steps back forgets nothing.
        while let Some((noted, hash)) = self.by_age.front().copied()
            && now.saturating_sub(noted) >= REMEMBERED
        {
            self.forget_oldest(hash);
        }
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(key)));
        let hash = high << 64 | low;
        if !self.known.insert(hash) {
            return true;
        }
        self.by_age.push_back((now, hash));
        if let Some((_, oldest)) = self.by_age.front().copied()
            && self.by_age.len() > KEYS_MAX
        {
            self.forget_oldest(oldest);
        }
        false
    }

    fn forget_oldest(&mut self, hash: u128) {
        self.known.remove(&hash);
        self.by_age.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_715_260);

    #[test]
    fn a_key_is_known_for_a_minute() {
        let mut duplicates = Duplicates::default();
        assert!(!duplicates.note("a", NOW));
        assert!(duplicates.note("a", NOW + Duration::from_secs(59)));
        assert!(!duplicates.note("b", NOW + Duration::from_secs(59)));
        // Asking again does not prolong it.
        assert!(!duplicates.note("a", NOW + Duration::from_secs(60)));
        assert!(duplicates.note("b", NOW + Duration::from_secs(60)));
        // A clock that steps back.
        assert!(duplicates.note("b", NOW));
    }

    #[test]
    fn the_oldest_of_too_many_keys_is_forgotten() {
        let mut duplicates = Duplicates::default();
        for number in 0..KEYS_MAX {
            assert!(!duplicates.note(&number.to_string(), NOW));
        }
        assert!(duplicates.note("0", NOW));
        assert!(!duplicates.note("one more", NOW));
        assert!(duplicates.note("1", NOW));
        assert_eq!((duplicates.known.len(), duplicates.by_age.len()), (KEYS_MAX, KEYS_MAX));
        assert!(!duplicates.note("0", NOW), "forgotten");
        assert!(!duplicates.note("1", NOW), "forgotten for 0");
    }
}
