//! Counts by key of the distribution sketch: at most 4,096 keys, of which the lowest take in what is
//! below them, as in the sketch. 16 bytes a bin.
//!
//! The sketch's own bins count to 2^44 and refuse more; a law without exceptions needs counts that end
//! where the integers do.

/// Bins of one histogram.
pub(super) const BINS_MAX: usize = 4_096;

/// Ascending keys and their counts, none 0. `Default` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bins(Vec<(i16, u64)>);

impl Bins {
    /// Keys that ascend strictly; counts of 0 are left out.
    pub fn of_ascending(bins: impl IntoIterator<Item = (i16, u64)>) -> Bins {
        let mut bins = Bins(bins.into_iter().filter(|(_, count)| *count > 0).collect());
        debug_assert!(bins.0.is_sorted_by(|left, right| left.0 < right.0));
        bins.cap();
        bins
    }

    pub fn add(&mut self, key: i16, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.binary_search_by_key(&key, |bin| bin.0) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (key, count)),
        }
        self.cap();
    }

    pub fn merge(&mut self, other: &Bins) {
        let fresh = self.count_fresh(&other.0);
        let mut old = self.0.len();
        self.0.resize(old + fresh, (0, 0));
        // From the back, in place.
        let mut free = self.0.len();
        for theirs in other.0.iter().rev() {
            while old > 0 && self.0[old - 1].0 > theirs.0 {
                (old, free) = (old - 1, free - 1);
                self.0[free] = self.0[old];
            }
            free -= 1;
            if old > 0 && self.0[old - 1].0 == theirs.0 {
                old -= 1;
                self.0[free] = (theirs.0, self.0[old].1.saturating_add(theirs.1));
            } else {
                self.0[free] = *theirs;
            }
        }
        self.cap();
    }

    pub fn iter(&self) -> impl Iterator<Item = (i16, u64)> + Clone {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first key at which the cumulative count exceeds `rank`.
    pub fn key_past(&self, rank: u64) -> Option<i16> {
        let mut cumulative = 0_u64;
        let past = self.0.iter().find(|(_, count)| {
            cumulative = cumulative.saturating_add(*count);
            cumulative > rank
        });
        past.map(|(key, _)| *key)
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(i16, u64)>()
    }

    /// How many keys of an ascending list have no bin yet.
    fn count_fresh(&self, theirs: &[(i16, u64)]) -> usize {
        let mut ours = self.0.iter().map(|bin| bin.0).peekable();
        let is_fresh = |key: i16| {
            while ours.next_if(|our| *our < key).is_some() {}
            ours.peek() != Some(&key)
        };
        theirs.iter().map(|bin| bin.0).map(is_fresh).filter(|fresh| *fresh).count()
    }

    fn cap(&mut self) {
        let over = self.0.len().saturating_sub(BINS_MAX);
        if over > 0 {
            let below = self.0.drain(..over).fold(0_u64, |sum, bin| sum.saturating_add(bin.1));
            self.0[0].1 = self.0[0].1.saturating_add(below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The obvious way.
    fn twin(lists: &[Vec<(i16, u64)>]) -> Vec<(i16, u64)> {
        let mut map = BTreeMap::<i16, u64>::new();
        for (key, count) in lists.iter().flatten() {
            let sum = map.entry(*key).or_default();
            *sum = sum.saturating_add(*count);
        }
        let mut list: Vec<(i16, u64)> = map.into_iter().collect();
        while list.len() > BINS_MAX {
            let (_, lowest) = list.remove(0);
            list[0].1 = list[0].1.saturating_add(lowest);
        }
        list
    }

    fn bins(list: &[(i16, u64)]) -> Bins {
        let mut bins = Bins::default();
        list.iter().for_each(|(key, count)| bins.add(*key, *count));
        bins
    }

    fn lists() -> impl Strategy<Value = Vec<Vec<(i16, u64)>>> {
        let count = prop_oneof![9 => 1..9_u64, 1 => Just(u64::MAX / 2)];
        prop::collection::vec(prop::collection::vec((-9..9_i16, count), 0..12), 3)
    }

    proptest! {
        #[test]
        fn any_grouping_counts_as_one_list(lists in lists()) {
            let [a, b, c] = [0, 1, 2].map(|at| bins(&lists[at]));
            let (mut left, mut right) = (a.clone(), b.clone());
            left.merge(&b);
            left.merge(&c);
            right.merge(&c);
            right.merge(&a);
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(left.iter().collect::<Vec<_>>(), twin(&lists));
        }
    }

    #[test]
    fn past_the_limit_any_grouping_keeps_the_highest() {
        let list = |from: i16, step: usize| -> Vec<(i16, u64)> {
            (0..4_000).map(|at| (from + at * step as i16, 1)).collect()
        };
        let lists = vec![list(-9_000, 3), list(-20_000, 7), list(-8_999, 1)];
        let [a, b, c] = [0, 1, 2].map(|at| bins(&lists[at]));
        for [first, second, third] in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a]] {
            let mut left = first.clone();
            left.merge(second);
            left.merge(third);
            let (mut right, mut inner) = (first.clone(), second.clone());
            inner.merge(third);
            right.merge(&inner);
            assert_eq!(left, right);
            assert_eq!(left.iter().collect::<Vec<_>>(), twin(&lists));
        }
    }
}
