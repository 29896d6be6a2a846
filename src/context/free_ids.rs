//! Which places of a list are free: the lowest is used next, so that the end empties and can be given
//! back.

/// The free places below the end of a list.
#[derive(Debug, Default)]
pub(crate) struct FreeIds {
    /// One bit each, set when free.
    words: Vec<u64>,
    /// No word before this one has a bit set.
    first: usize,
    count: usize,
}

/// Memory that may lie unused at the end of a list, in places.
const SPARE_MAX: usize = 16_384;
/// Places that are given back in one step: about a megabyte, which takes some 50 µs.
const GIVEN_BACK: usize = 65_536;

impl FreeIds {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Marks a place as free.
    pub fn insert(&mut self, id: u32) {
        let (word, bit) = place(id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
        self.first = self.first.min(word);
    }

    /// Takes the lowest.
    pub fn pop(&mut self) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let from = self.words.get(self.first..)?;
        self.first += from.iter().position(|word| *word != 0)?;
        let bit = self.words[self.first].trailing_zeros();
        let id = self.first as u32 * u64::BITS + bit;
        self.remove(id);
        Some(id)
    }

    fn remove(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        let Some(word) = self.words.get_mut(word).filter(|word| **word & bit != 0) else {
            return false;
        };
        *word &= !bit;
        self.count -= 1;
        true
    }

    /// One bounded step of giving back what is free at the end of `items`: looks at no more than `most`
    /// places. True while there is more to do.
    pub fn trim<T>(&mut self, items: &mut Vec<T>, most: usize) -> bool {
        for _ in 0..most {
            if items.is_empty() || !self.remove((items.len() - 1) as u32) {
                return give_back(items);
            }
            items.pop();
        }
        true
    }
}

fn place(id: u32) -> (usize, u64) {
    ((id / u64::BITS) as usize, 1 << (id % u64::BITS))
}

/// One bounded step of giving back memory of a list that is mostly empty; true while there is more to do.
pub(crate) fn give_back<T>(items: &mut Vec<T>) -> bool {
    let most = |items: &Vec<T>| items.capacity() > 2 * items.len() + SPARE_MAX;
    if most(items) {
        items.shrink_to(
            (items.capacity() - GIVEN_BACK.min(items.capacity())).max(items.len() * 3 / 2),
        );
    }
    most(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_whose_lowest_goes_first(ops in prop::collection::vec((0..3_u8, 0..400_u32), 0..300)) {
            let (mut free, mut twin) = (FreeIds::default(), BTreeSet::new());
            for (op, id) in ops {
                match op {
                    0 => prop_assert_eq!(free.pop(), twin.pop_first()),
                    1 => prop_assert_eq!(free.remove(id), twin.remove(&id)),
                    _ => {
                        free.insert(id);
                        twin.insert(id);
                    }
                }
                prop_assert_eq!(free.len(), twin.len());
            }
        }
    }

    #[test]
    fn the_end_of_a_list_is_given_back_in_steps() {
        let mut items: Vec<u64> = vec![0; 1_000_000];
        let mut free = FreeIds::default();
        (10..1_000_000).for_each(|id| free.insert(id));
        free.remove(500_000);
        let mut steps = 0;
        while free.trim(&mut items, 4_096) {
            steps += 1;
        }
        assert_eq!((items.len(), free.len()), (500_001, 500_000 - 10));
        assert!(steps > 100);
        free.insert(500_000);
        while free.trim(&mut items, 4_096) {}
        assert_eq!((items.len(), free.len()), (10, 0));
        assert!(items.capacity() <= SPARE_MAX + 20, "{}", items.capacity());
    }
}
