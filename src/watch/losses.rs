//! When each kind of loss was last seen to grow.

use std::collections::BTreeMap;

/// The count of every kind of loss that was ever seen, and the second at which it last grew. There
/// are as many as there are reasons, times listeners and endpoints.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<(&'static str, String), Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    count: u64,
    /// Unix seconds.
    last: u64,
}

impl Losses {
    /// This much was lost so far, as of `now` (Unix seconds). Returns when it last grew; none when
    /// nothing was ever lost.
    pub fn note(&mut self, kind: &'static str, place: &str, count: u64, now: u64) -> Option<u64> {
        if count == 0 {
            return None;
        }
        let seen = self.0.entry((kind, place.to_owned())).or_insert(Seen { count: 0, last: now });
        if count > seen.count {
            *seen = Seen { count, last: now };
        }
        Some(seen.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_moves_only_while_the_count_grows() {
        let mut losses = Losses::default();
        assert_eq!(losses.note("kernel", "udp", 0, 5), None);
        assert_eq!(losses.note("kernel", "udp", 3, 10), Some(10));
        assert_eq!(losses.note("kernel", "udp", 3, 20), Some(10));
        assert_eq!(losses.note("kernel", "uds", 1, 20), Some(20));
        assert_eq!(losses.note("kernel", "udp", 4, 30), Some(30));
    }
}
