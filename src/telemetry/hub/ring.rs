//! A bounded queue between an emitting thread and a reading one: when full, the oldest goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The reading end of [`Hub::bounded`](super::Hub::bounded). Clones share the queue.
#[derive(Debug)]
pub struct Ring<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    capacity: usize,
    dropped: u64,
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Ring(Arc::clone(&self.0))
    }
}

impl<T> Ring<T> {
    /// Room for `capacity` items, at least one, set aside at once so that a push never allocates.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let items = VecDeque::with_capacity(capacity);
        Ring(Arc::new(Mutex::new(State { items, capacity, dropped: 0 })))
    }

    pub(super) fn push(&self, item: T) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if state.items.len() == state.capacity {
            state.dropped += 1;
            state.items.pop_front()
        } else {
            None
        };
        state.items.push_back(item);
        drop(state);
        drop(oldest); // outside the lock: its drop is the caller's code
    }

    /// The oldest item, if any.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).items.pop_front()
    }

    /// Items dropped because the reader was slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}
