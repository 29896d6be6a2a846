//! Counters that had values lately: an interval without a value of one posts it as 0 for 300 s.
//!
//! A key takes about 60 bytes beside its own, for 300 s after its last value. Beyond the bytes that are
//! allowed, further counters get a gap instead of zeros.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use crate::part::{Key, KeyPool, Merged, Style};

use super::action::Zero;
use super::settings::ZERO_FOR;

#[derive(Debug)]
struct Alive {
    /// The start of the newest interval with a value.
    last: u64,
    style: Option<Arc<Style>>,
}

/// The counters of a partition that may get zeros.
#[derive(Debug)]
pub(super) struct Zeros {
    alive: HashMap<Key, Alive, RandomState>,
    /// The newest interval with any value.
    newest: u64,
    /// The next interval to look at: no zeros are made up for earlier ones without parts.
    next: Option<u64>,
    keys_max: usize,
    /// Values of counters that found no room.
    pub untracked: u64,
}

/// Bytes of one counter, its key apart.
const ALIVE_BYTES: usize = size_of::<(Key, Alive)>() + 8;

impl Zeros {
    pub fn new(bytes_max: usize, state: RandomState) -> Zeros {
        Zeros {
            alive: HashMap::with_hasher(state),
            newest: 0,
            next: None,
            keys_max: bytes_max / ALIVE_BYTES,
            untracked: 0,
        }
    }

    /// A counter has a value in the interval at `start`.
    pub fn value(
        &mut self,
        key: &Key,
        start: u64,
        style: &Style,
        interval: u32,
        keys: &mut KeyPool,
    ) {
        let next = start + u64::from(interval);
        self.newest = self.newest.max(start);
        self.next.get_or_insert(next);
        if let Some(alive) = self.alive.get_mut(key) {
            if start >= alive.last {
                alive.last = start;
                if alive.style.as_deref() != (!style.is_default()).then_some(style) {
                    alive.style = shared(style);
                }
            }
        } else if self.alive.len() < self.keys_max {
            let alive = Alive { last: start, style: shared(style) };
            self.alive.insert(keys.intern(key.clone()), alive);
        } else {
            self.untracked += 1;
        }
    }

    /// The zeros of the interval at `start`, of which `merged` is all there is.
    pub fn of(&self, start: u64, merged: &Merged) -> Vec<Zero> {
        let due = |alive: &Alive| alive.last < start && start <= alive.last + ZERO_FOR;
        let due =
            self.alive.iter().filter(|(key, alive)| due(alive) && merged.series(key).is_none());
        due.map(|(key, alive)| Zero { key: key.clone(), style: alive.style.clone() }).collect()
    }

    /// The next interval that ended before `until` and may need zeros though no part of it came.
    pub fn next_start(&mut self, until: u64, interval: u32) -> Option<u64> {
        let start = self.next?;
        let next = start + u64::from(interval);
        if next > until {
            return None;
        }
        if start > self.newest + ZERO_FOR {
            self.next = None;
            self.alive = HashMap::with_hasher(self.alive.hasher().clone());
            return None;
        }
        self.next = Some(next);
        self.alive.retain(|_, alive| start <= alive.last + ZERO_FOR);
        Some(start)
    }

    /// Counters that may get zeros.
    pub fn len(&self) -> usize {
        self.alive.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.alive.capacity() * ALIVE_BYTES
    }
}

fn shared(style: &Style) -> Option<Arc<Style>> {
    (!style.is_default()).then(|| Arc::new(style.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(keys_max: usize) -> (Zeros, KeyPool) {
        let state = RandomState::new();
        (Zeros::new(keys_max * ALIVE_BYTES, state.clone()), KeyPool::new(state))
    }

    fn key(name: &str) -> Key {
        Key::new(name.as_bytes(), []).expect("a key")
    }

    fn names(zeros: &Zeros, start: u64) -> Vec<String> {
        let zeros = zeros.of(start, &Merged::new(10, RandomState::new()));
        let name = |zero: &Zero| String::from_utf8_lossy(zero.key.name()).into_owned();
        let mut names: Vec<String> = zeros.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_counter_is_zero_for_300_seconds_after_its_last_value_and_never_before_it() {
        let (mut zeros, mut keys) = zeros(10);
        zeros.value(&key("a"), 1_000, &Style::default(), 10, &mut keys);
        assert!(names(&zeros, 990).is_empty() && names(&zeros, 1_000).is_empty());
        assert_eq!(names(&zeros, 1_010), ["a"]);
        assert_eq!(names(&zeros, 1_300), ["a"]);
        assert!(names(&zeros, 1_310).is_empty());
        zeros.value(&key("a"), 1_100, &Style::default(), 10, &mut keys);
        zeros.value(&key("a"), 1_050, &Style::default(), 10, &mut keys);
        assert!(names(&zeros, 1_060).is_empty(), "the newest value counts");
        assert_eq!(names(&zeros, 1_400), ["a"]);
    }

    #[test]
    fn intervals_are_looked_at_once_in_order_until_the_last_counter_expires() {
        let (mut zeros, mut keys) = zeros(10);
        assert_eq!(zeros.next_start(9_999, 10), None);
        zeros.value(&key("a"), 1_000, &Style::default(), 10, &mut keys);
        assert_eq!(zeros.next_start(1_019, 10), None, "not ended");
        assert_eq!(zeros.next_start(1_020, 10), Some(1_010));
        let rest = std::iter::from_fn(|| zeros.next_start(u64::MAX / 2, 10)).collect::<Vec<_>>();
        assert_eq!((rest.first(), rest.last(), rest.len()), (Some(&1_020), Some(&1_300), 29));
        assert_eq!(zeros.len(), 0, "a jump of the clock ends it too");
    }

    #[test]
    fn counters_without_room_are_counted_and_get_a_gap() {
        let (mut zeros, mut keys) = zeros(1);
        for name in ["a", "b", "b", "a"] {
            zeros.value(&key(name), 1_000, &Style::default(), 10, &mut keys);
        }
        assert_eq!((names(&zeros, 1_010), zeros.untracked), (vec!["a".to_owned()], 2));
    }

    #[test]
    fn a_zero_is_posted_in_the_style_of_the_last_value() {
        let (mut zeros, mut keys) = zeros(10);
        let count = Style { as_count: true, ..Style::default() };
        zeros.value(&key("a"), 1_000, &count, 10, &mut keys);
        let style = |zeros: &Zeros, start| {
            zeros.of(start, &Merged::new(10, RandomState::new()))[0].style.as_deref().cloned()
        };
        assert_eq!(style(&zeros, 1_010), Some(count));
        zeros.value(&key("a"), 1_020, &Style::default(), 10, &mut keys);
        assert_eq!(style(&zeros, 1_030), None);
    }
}
