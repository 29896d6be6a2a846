//! Which answers were given: only a change of one of those is worth deciding every metric again.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use hashbrown::HashTable;

use super::Identity;

/// Identities remembered at most; past it every change counts as asked for.
const QUERIED_MAX: usize = 65_536;

/// Hashes of identities that were queried since the last change. A collision costs an
/// unneeded decision, nothing else.
#[derive(Debug)]
pub(super) struct Queried {
    state: RandomState,
    hashes: HashTable<u64>,
    full: bool,
}

impl Queried {
    pub fn new() -> Self {
        Queried { state: RandomState::new(), hashes: HashTable::new(), full: false }
    }

    fn hash(&self, identity: Identity<'_>) -> u64 {
        let mut hasher = self.state.build_hasher();
        std::hash::Hash::hash(&identity, &mut hasher);
        hasher.finish()
    }

    pub fn remember(&mut self, identity: Identity<'_>) {
        let hash = self.hash(identity);
        if self.full || self.hashes.find(hash, |known| *known == hash).is_some() {
            return;
        }
        if self.hashes.len() >= QUERIED_MAX {
            self.full = true;
            self.hashes = HashTable::new();
            return;
        }
        self.hashes.insert_unique(hash, hash, |known| *known);
    }

    pub fn contains(&self, identity: Identity<'_>) -> bool {
        let hash = self.hash(identity);
        self.full || self.hashes.find(hash, |known| *known == hash).is_some()
    }

    /// Everything will be decided, and asked for, again.
    pub fn clear(&mut self) {
        self.full = false;
        self.hashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_known_until_everything_is_decided_again() {
        let mut queried = Queried::new();
        let pod = Identity::PodContainer { pod_uid: b"u", name: b"c", init: false };
        queried.remember(Identity::Container(b"a"));
        queried.remember(pod);
        assert!(queried.contains(Identity::Container(b"a")) && queried.contains(pod));
        assert!(!queried.contains(Identity::Pod(b"a")) && !queried.contains(Identity::Inode(1)));
        queried.clear();
        assert!(!queried.contains(pod));
    }

    #[test]
    fn past_its_bound_everything_counts_as_asked() {
        let mut queried = Queried::new();
        (0..=QUERIED_MAX as u64).for_each(|inode| queried.remember(Identity::Inode(inode)));
        assert!(queried.contains(Identity::Pod(b"never")));
        assert!(queried.hashes.len() <= QUERIED_MAX);
        queried.clear();
        assert!(!queried.contains(Identity::Pod(b"never")));
    }
}
