//! A queue that grows up to a bound and then drops its oldest entries. What is taken out of it goes
//! in one piece, and the emptied buffer is used again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::range::Range;

/// Buffers a pool keeps: a queue that is flushed needs one at a time, so a few serve many queues.
const KEPT_MAX: usize = 16;

/// A buffer that is less full than one in this many is not worth its memory (12.5 %).
const SPARSE: usize = 8;

/// Emptied buffers, waiting for a queue that needs one. Several queues may share a pool.
#[derive(Debug)]
pub struct BufferPool<T> {
    buffers: Mutex<Vec<Buffer<T>>>,
}

/// Room for `slots` entries.
#[derive(Debug)]
struct Buffer<T> {
    entries: VecDeque<T>,
    /// What the ring counts with: a `VecDeque` may set aside more than it was asked for.
    slots: usize,
}

impl<T> Buffer<T> {
    fn new(slots: usize) -> Self {
        Buffer { entries: VecDeque::with_capacity(slots), slots }
    }
}

impl<T> Default for BufferPool<T> {
    fn default() -> Self {
        BufferPool { buffers: Mutex::default() }
    }
}

impl<T> BufferPool<T> {
    /// A buffer of an earlier flush that fits into `sizes`, else a new one of the smallest size.
    fn take(&self, sizes: Range<usize>) -> Buffer<T> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = buffers.iter().rposition(|buffer| sizes.contains(buffer.slots));
        match fits {
            Some(at) => buffers.swap_remove(at),
            None => Buffer::new(sizes.min),
        }
    }

    fn give_back(&self, buffer: Buffer<T>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < KEPT_MAX {
            buffers.push(buffer);
        }
    }

    /// Buffers waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True when no buffer waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A queue between two sizes: it starts with room for the smaller number of entries, doubles when it
/// is full, and at the larger number drops the oldest entry for each new one.
///
/// ```
/// use whippet::telemetry_client::{Range, RingQueue};
///
/// let mut queue = RingQueue::new(Range::new(2, 4));
/// assert!(queue.enqueue_all(1..=4)); // grew once
/// assert!(!queue.enqueue(5)); // 1 is gone
/// assert_eq!(queue.flush(), [2, 3, 4, 5]);
/// ```
#[derive(Debug)]
pub struct RingQueue<T> {
    buffer: Buffer<T>,
    sizes: Range<usize>,
    pool: Arc<BufferPool<T>>,
}

impl<T> RingQueue<T> {
    /// An empty queue with a pool of its own. A size of 0 counts as 1, a range without order as its
    /// smallest size.
    #[must_use]
    pub fn new(sizes: Range<usize>) -> Self {
        RingQueue::with_pool(sizes, Arc::default())
    }

    /// As [`RingQueue::new`], with buffers from `pool`.
    #[must_use]
    pub fn with_pool(sizes: Range<usize>, pool: Arc<BufferPool<T>>) -> Self {
        let min = sizes.min.max(1);
        let sizes = Range::new(min, sizes.max.max(min));
        RingQueue { buffer: Buffer::new(sizes.min), sizes, pool }
    }

    /// Entries waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.entries.len()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.entries.is_empty()
    }

    /// True when the next entry would cost the oldest one: never below the largest size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.sizes.max
    }

    /// Entries there is room for before the queue has to grow.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.buffer.slots
    }

    /// Adds an entry. False if that cost the oldest one.
    pub fn enqueue(&mut self, entry: T) -> bool {
        let full = self.is_full();
        if full {
            self.buffer.entries.pop_front();
        } else if self.len() == self.buffer.slots {
            self.grow();
        }
        self.buffer.entries.push_back(entry);
        !full
    }

    /// Adds entries in order. Tells of the **last** one what [`RingQueue::enqueue`] tells; true for
    /// none.
    pub fn enqueue_all(&mut self, entries: impl IntoIterator<Item = T>) -> bool {
        entries.into_iter().fold(true, |_, entry| self.enqueue(entry))
    }

    fn grow(&mut self) {
        let mut larger = Buffer::new(self.sizes.clamp(self.len() * 2));
        larger.entries.append(&mut self.buffer.entries);
        let smaller = std::mem::replace(&mut self.buffer, larger);
        self.pool.give_back(smaller);
    }

    /// The oldest entry, which leaves the queue.
    pub fn dequeue(&mut self) -> Option<T> {
        self.buffer.entries.pop_front()
    }

    /// The newest entry, which stays.
    #[must_use]
    pub fn newest(&self) -> Option<&T> {
        self.buffer.entries.back()
    }

    /// Everything, oldest first. The queue goes on with a buffer of the pool, and its own goes there;
    /// one that had grown and was less than 12.5 % full is given up, so that memory shrinks after a
    /// burst.
    pub fn flush(&mut self) -> Vec<T> {
        let fresh = self.pool.take(self.sizes);
        let mut old = std::mem::replace(&mut self.buffer, fresh);
        let sparse = old.slots > self.sizes.min && old.entries.len() * SPARSE < old.slots;
        let taken = old.entries.drain(..).collect();
        if !sparse {
            self.pool.give_back(old);
        }
        taken
    }

    /// Drops every entry; the room stays.
    pub fn clear(&mut self) {
        self.buffer.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_largest_size_and_keeps_the_order() {
        let mut queue = RingQueue::new(Range::new(3, 10));
        let mut slots = Vec::new();
        for entry in 0..10 {
            assert!(queue.enqueue(entry), "{entry}");
            slots.push(queue.slots());
        }
        assert_eq!(slots, [3, 3, 3, 6, 6, 6, 10, 10, 10, 10]);
        assert!(queue.is_full());
        assert_eq!(queue.flush(), (0..10).collect::<Vec<_>>());
        assert!(queue.is_empty() && !queue.is_full());
    }

    #[test]
    fn at_its_largest_size_the_oldest_goes() {
        let mut queue = RingQueue::new(Range::new(1, 4));
        assert!(queue.enqueue_all(0..4));
        assert!(!queue.enqueue(4));
        assert_eq!((queue.len(), queue.slots()), (4, 4));
        assert_eq!(queue.newest(), Some(&4));
        assert_eq!(queue.dequeue(), Some(1));
        // There is room again.
        assert!(queue.enqueue(5));
        assert_eq!(queue.flush(), [2, 3, 4, 5]);
    }

    #[test]
    fn of_several_entries_the_last_one_tells() {
        let mut queue = RingQueue::new(Range::new(2, 2));
        assert!(queue.enqueue_all([1, 2]));
        assert!(!queue.enqueue_all([3]));
        queue.dequeue();
        queue.dequeue();
        // Five into two: three are lost, and the last one came at the expense of another.
        assert!(!queue.enqueue_all(4..9));
        assert_eq!(queue.flush(), [7, 8]);
        assert!(queue.enqueue_all([]));
    }

    #[test]
    fn an_empty_queue_gives_nothing() {
        let mut queue = RingQueue::<u8>::new(Range::new(2, 4));
        assert_eq!((queue.dequeue(), queue.newest().is_none()), (None, true));
        assert!(queue.flush().is_empty());
        queue.enqueue(1);
        queue.clear();
        assert_eq!((queue.len(), queue.slots()), (0, 2));
    }

    #[test]
    fn a_flushed_buffer_is_used_again() {
        let pool = Arc::new(BufferPool::default());
        let mut queue = RingQueue::with_pool(Range::new(2, 8), Arc::clone(&pool));
        queue.enqueue_all(0..8);
        assert_eq!(pool.len(), 2, "the buffers of 2 and 4 that it outgrew");
        queue.flush();
        assert_eq!(queue.slots(), 4, "the buffer given back last");
        assert_eq!(pool.len(), 2);
        let mut other = RingQueue::with_pool(Range::new(2, 8), Arc::clone(&pool));
        other.flush();
        assert_eq!(other.slots(), 8, "the buffer of another queue");
    }

    #[test]
    fn a_buffer_that_is_nearly_empty_is_given_up() {
        // Entries of 16 slots at the flush, and whether the buffer is kept.
        for (entries, kept) in [(0, false), (1, false), (2, true), (16, true)] {
            let pool = Arc::new(BufferPool::default());
            let mut queue = RingQueue::with_pool(Range::new(2, 16), Arc::clone(&pool));
            queue.buffer = Buffer::new(16);
            queue.enqueue_all(0..entries);
            queue.flush();
            let sizes: Vec<usize> = pool.buffers.lock().unwrap().iter().map(|b| b.slots).collect();
            assert_eq!(sizes == [16], kept, "{entries} of 16: {sizes:?}");
        }
        // One of the smallest size always stays.
        let pool = Arc::new(BufferPool::default());
        RingQueue::<u8>::with_pool(Range::new(16, 32), Arc::clone(&pool)).flush();
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_pool_keeps_few_buffers() {
        let pool = Arc::new(BufferPool::default());
        let queues = (0..KEPT_MAX + 5).map(|_| {
            let mut queue = RingQueue::with_pool(Range::new(1, 4), Arc::clone(&pool));
            queue.enqueue_all(0..4);
        });
        queues.for_each(drop);
        assert_eq!(pool.len(), KEPT_MAX);
    }

    #[test]
    fn sizes_that_make_no_sense_become_the_nearest_that_do() {
        let mut queue = RingQueue::new(Range::new(0, 0));
        assert!(queue.enqueue(1));
        assert!(!queue.enqueue(2));
        assert_eq!(RingQueue::<u8>::new(Range::new(4, 1)).sizes, Range::new(4, 4));
    }
}
