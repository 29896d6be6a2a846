//! The keys that several intervals share: each is held once.

use ahash::RandomState;
use hashbrown::HashTable;

use super::key::Key;

/// Keys of a partition, shared by its open intervals and whatever else refers to them.
#[derive(Clone, Debug)]
pub struct KeyPool {
    keys: HashTable<Key>,
    state: RandomState,
    keys_bytes: usize,
}

impl KeyPool {
    /// An empty pool. `state` makes the places of keys unpredictable.
    #[must_use]
    pub fn new(state: RandomState) -> KeyPool {
        KeyPool { keys: HashTable::new(), state, keys_bytes: 0 }
    }

    /// The one copy of a key.
    pub fn intern<K: AsRef<[u8]> + Into<Key>>(&mut self, key: K) -> Key {
        let hash = self.state.hash_one(key.as_ref());
        self.intern_hashed(key, hash)
    }

    /// The same for who knows the hash.
    pub(super) fn intern_hashed<K: AsRef<[u8]> + Into<Key>>(&mut self, key: K, hash: u64) -> Key {
        debug_assert_eq!(hash, self.state.hash_one(key.as_ref()), "of the pool's own state");
        if let Some(known) = self.keys.find(hash, |known| known.as_bytes() == key.as_ref()) {
            return known.clone();
        }
        let key: Key = key.into();
        self.keys_bytes += key.heap_bytes();
        let rehash = |key: &Key| self.state.hash_one(key.as_bytes());
        self.keys.insert_unique(hash, key.clone(), rehash);
        key
    }

    /// Forgets the keys that nothing else refers to.
    pub fn sweep(&mut self) {
        self.keys.retain(|key| !key.is_unshared());
        self.keys_bytes = self.keys.iter().map(Key::heap_bytes).sum();
        if self.keys.capacity() > 4 * self.keys.len() + 1_024 {
            self.keys.shrink_to_fit(|key| self.state.hash_one(key.as_bytes()));
        }
    }

    /// Keys in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True without a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Heap bytes, those of the keys among them.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.keys_bytes + self.keys.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_once_and_only_while_something_refers_to_it() {
        let key = |name: &str| Key::new(name.as_bytes(), []).expect("a name");
        let mut pool = KeyPool::new(RandomState::with_seeds(1, 2, 3, 4));
        let first = pool.intern(key("a"));
        let second = pool.intern(key("a"));
        assert_eq!(first.as_bytes().as_ptr(), second.as_bytes().as_ptr());
        pool.intern(key("b"));
        assert_eq!(pool.len(), 2);
        let before = pool.heap_bytes();
        pool.sweep();
        assert_eq!(pool.len(), 1);
        assert_eq!(pool.heap_bytes(), before - first.heap_bytes());
        drop((first, second));
        pool.sweep();
        assert!(pool.is_empty());
    }
}
