//! Who is to blame when contexts run out: the names that ask for most new ones, and of each the tag
//! key with the most values.
//!
//! Names are kept with the Misra-Gries algorithm ("Finding repeated elements", 1982): of `n` offers,
//! a name offered more than `n / (NAMES + 1)` times is never missed. Values of a tag key are counted
//! with a HyperLogLog of 256 registers (relative error about 6.5 %). One summary takes at most
//! 16 × 8 × 256 bytes plus texts, whatever is offered.

use std::fmt;

use ahash::RandomState;

/// Names held.
const NAMES: usize = 16;
/// Tag keys looked at per name.
const KEYS: usize = 8;
/// Bytes kept of a name or key.
const TEXT_BYTES: usize = 200;

/// A summary of what was offered.
#[derive(Debug, Default)]
pub struct HeavyHitters {
    names: Vec<Hitter>,
    offers: u64,
}

/// One name and what it was offered with.
#[derive(Clone, Debug)]
pub struct Hitter {
    /// The metric name, at most 200 bytes of it.
    pub name: Box<[u8]>,
    /// Offers left after those of other names were set off against it.
    weight: u64,
    /// Offers seen while it was held.
    pub offers: u64,
    keys: Vec<KeyValues>,
}

#[derive(Clone, Debug)]
struct KeyValues {
    key: Box<[u8]>,
    values: Distinct,
}

/// An estimate of how many different things were seen.
#[derive(Clone)]
pub struct Distinct(Box<[u8; Distinct::REGISTERS]>);

impl Distinct {
    const PRECISION: u32 = 8;
    const REGISTERS: usize = 1 << Self::PRECISION;

    /// Sees one thing by its hash.
    pub fn see(&mut self, hash: u64) {
        let rank = ((hash << Self::PRECISION).leading_zeros() + 1).min(64 - Self::PRECISION + 1);
        let at = (hash >> (64 - Self::PRECISION)) as usize;
        // A rank is at most 57.
        self.0[at] = self.0[at].max(rank as u8);
    }

    /// Adds what another one saw, if their hashes agree.
    pub fn merge(&mut self, other: &Distinct) {
        self.0
            .iter_mut()
            .zip(other.0.iter())
            .for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
    }

    /// How many different hashes were seen; exact in all likelihood below ten.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let count = Self::REGISTERS as f64;
        let alpha = 0.7213 / (1.0 + 1.079 / count);
        let harmonic: f64 = self.0.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let raw = alpha * count * count / harmonic;
        let empty = self.0.iter().filter(|rank| **rank == 0).count();
        if raw <= 2.5 * count && empty > 0 {
            return (count * (count / empty as f64).ln()).round() as u64;
        }
        raw.round() as u64
    }
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct(Box::new([0; Self::REGISTERS]))
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct(about {})", self.estimate())
    }
}

impl HeavyHitters {
    /// Offers one refused newcomer: its name and its tags, `key:value` or bare.
    pub fn offer<'a>(
        &mut self,
        name: &[u8],
        tags: impl Iterator<Item = &'a [u8]>,
        state: &RandomState,
    ) {
        self.offers += 1;
        let name = &name[..name.len().min(TEXT_BYTES)];
        let known = self.names.iter().position(|held| *held.name == *name);
        let at = match known {
            Some(at) => at,
            None if self.names.len() < NAMES => {
                let keys = Vec::new();
                self.names.push(Hitter { name: name.into(), weight: 0, offers: 0, keys });
                self.names.len() - 1
            }
            None => {
                self.names.iter_mut().for_each(|held| held.weight -= 1);
                self.names.retain(|held| held.weight > 0);
                return;
            }
        };
        let held = &mut self.names[at];
        held.weight += 1;
        held.offers += 1;
        tags.for_each(|tag| held.tag(tag, state));
    }

    /// Adds the summary of another shard, whose hashes must agree.
    pub fn merge(&mut self, other: HeavyHitters) {
        self.offers += other.offers;
        for theirs in other.names {
            match self.names.iter_mut().find(|held| held.name == theirs.name) {
                Some(ours) => ours.merge(theirs),
                None => self.names.push(theirs),
            }
        }
        self.names.sort_by_key(|held| std::cmp::Reverse(held.weight));
        if let Some(least) = self.names.get(NAMES).map(|held| held.weight) {
            self.names.iter_mut().for_each(|held| held.weight = held.weight.saturating_sub(least));
            self.names.retain(|held| held.weight > 0);
        }
    }

    /// Offers in all.
    #[must_use]
    pub fn offers(&self) -> u64 {
        self.offers
    }

    /// True when nothing was offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offers == 0
    }

    /// The names held, the most offered first.
    #[must_use]
    pub fn top(&self) -> Vec<&Hitter> {
        let mut names: Vec<&Hitter> = self.names.iter().collect();
        names.sort_by(|a, b| b.offers.cmp(&a.offers).then_with(|| a.name.cmp(&b.name)));
        names
    }
}

impl Hitter {
    fn tag(&mut self, tag: &[u8], state: &RandomState) {
        let end = memchr::memchr(b':', tag).unwrap_or(tag.len());
        let key = &tag[..end.min(TEXT_BYTES)];
        let hash = state.hash_one(&tag[end..]);
        if let Some(known) = self.keys.iter_mut().find(|known| *known.key == *key) {
            known.values.see(hash);
        } else if self.keys.len() < KEYS {
            let mut values = Distinct::default();
            values.see(hash);
            self.keys.push(KeyValues { key: key.into(), values });
        }
    }

    fn merge(&mut self, other: Hitter) {
        self.weight += other.weight;
        self.offers += other.offers;
        for theirs in other.keys {
            let room = self.keys.len() < KEYS;
            match self.keys.iter_mut().find(|known| known.key == theirs.key) {
                Some(ours) => ours.values.merge(&theirs.values),
                None if room => self.keys.push(theirs),
                None => {}
            }
        }
    }

    /// Tag keys with about how many values each came with, the most first.
    #[must_use]
    pub fn keys(&self) -> Vec<(&[u8], u64)> {
        // No line brings more than one new value of a key, so a higher estimate is surely wrong.
        let values = |known: &KeyValues| known.values.estimate().min(self.offers);
        let mut keys: Vec<(&[u8], u64)> =
            self.keys.iter().map(|known| (&*known.key, values(known))).collect();
        keys.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> RandomState {
        RandomState::with_seeds(1, 2, 3, 4)
    }

    fn offer(summary: &mut HeavyHitters, name: &str, tags: &[String]) {
        summary.offer(name.as_bytes(), tags.iter().map(|tag| tag.as_bytes()), &state());
    }

    fn flood(names: std::ops::Range<u32>, of: u32) -> HeavyHitters {
        let mut summary = HeavyHitters::default();
        for number in names {
            offer(&mut summary, &format!("noise.{number}"), &["a:b".to_owned()]);
            let user = format!("user_id:{}", number % of);
            offer(&mut summary, "logins", &["env:prod".to_owned(), user]);
        }
        summary
    }

    #[test]
    fn the_metric_and_its_tag_key_are_named_among_a_thousand_others() {
        let summary = flood(0..5_000, 5_000);
        assert_eq!(summary.offers(), 10_000);
        let top = summary.top()[0].clone();
        assert_eq!(&*top.name, b"logins");
        let keys = top.keys();
        assert_eq!(keys[0].0, b"user_id");
        assert!((4_000..6_000).contains(&keys[0].1), "{keys:?}");
        assert_eq!(keys[1], (&b"env"[..], 1));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut summary = HeavyHitters::default();
        for number in 0..1_000 {
            let tags: Vec<String> = (0..50).map(|key| format!("{number}{key}:v")).collect();
            offer(&mut summary, &"n".repeat(1_000 + number), &tags);
            offer(&mut summary, &format!("m{number}"), &tags);
        }
        assert!(summary.names.len() <= NAMES);
        assert!(summary.names.iter().all(|held| held.keys.len() <= KEYS));
        assert!(summary.names.iter().all(|held| held.name.len() <= TEXT_BYTES));
    }

    #[test]
    fn two_shards_agree_with_one() {
        let mut merged = flood(0..2_000, 4_000);
        merged.merge(flood(2_000..4_000, 4_000));
        assert_eq!(merged.offers(), 8_000);
        let top = merged.top()[0];
        assert_eq!((&*top.name, top.offers), (&b"logins"[..], 4_000));
        let values = top.keys()[0].1;
        assert!((3_200..4_800).contains(&values), "{values}");
        assert!(merged.names.len() <= NAMES);
    }

    #[test]
    fn few_distinct_things_are_counted_right_and_many_within_the_error() {
        for count in [0_u32, 1, 2, 100, 3_000, 100_000] {
            let mut distinct = Distinct::default();
            for number in 0..count {
                let hash = state().hash_one(number);
                distinct.see(hash);
                distinct.see(hash);
            }
            let error = (distinct.estimate() as f64 - f64::from(count)).abs();
            assert!(error <= f64::from(count) * 0.2, "{count}: {distinct:?}");
        }
    }
}
