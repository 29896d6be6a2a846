//! The retry queue of one endpoint: bounded in bytes, newest first out, oldest first lost.

use super::lease::Ticket;
use super::spool::RecordId;
use crate::encode::{Payload, Route};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a waiting payload costs beside its body: the record, its place in a tree, the allocation.
/// Counted against the bound so that many tiny payloads stay bounded too.
const ITEM_OVERHEAD_BYTES: usize = 256;

/// One payload on its way to one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Order of arrival; with `built_at` it says which of two payloads is newer.
    pub sequence: u64,
    /// What is to be posted.
    pub payload: Payload,
    /// Requests made for it.
    pub attempts: u32,
    /// How often the intake refused the key for it.
    pub refusals: u32,
    /// With refusals: the monotonic time before which it is not tried again.
    pub not_before: Duration,
    /// The record on disk that stands for it, until it is settled.
    pub record: Option<RecordId>,
    /// For an owner: under which lease it may leave, and whom to tell what became of it.
    pub ticket: Option<Ticket>,
    /// For an owner: how many times what it is a part of was halved.
    pub halvings: u32,
}

impl Item {
    pub fn new(sequence: u64, payload: Payload) -> Self {
        Item {
            sequence,
            payload,
            attempts: 0,
            refusals: 0,
            not_before: Duration::ZERO,
            record: None,
            ticket: None,
            halvings: 0,
        }
    }

    /// Nobody is to have it from here any more.
    pub fn is_withdrawn(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.lease().is_withdrawn())
    }

    /// True when it may be sent at the monotonic time `now`.
    pub fn may_leave(&self, now: Duration) -> bool {
        self.ticket.as_ref().is_none_or(|ticket| ticket.lease().holds(now))
    }

    /// Bytes it takes of the bound.
    pub fn cost(&self) -> usize {
        self.payload.body.len() + ITEM_OVERHEAD_BYTES
    }

    /// Sorts by age: greater is newer.
    fn age_key(&self) -> AgeKey {
        (self.payload.built_at, self.sequence)
    }
}

type AgeKey = (u64, u64);

/// Payloads that failed, or came while their route was blocked.
#[derive(Debug)]
pub(super) struct RetryQueue {
    bytes: usize,
    bytes_max: usize,
    /// Ready as soon as the breaker of the route allows.
    ready: [BTreeMap<AgeKey, Item>; Route::ALL.len()],
    /// Refused with 403: not tried until the key is released.
    held: [BTreeMap<AgeKey, Item>; Route::ALL.len()],
}

impl RetryQueue {
    pub fn new(bytes_max: usize) -> Self {
        RetryQueue { bytes: 0, bytes_max, ready: Default::default(), held: Default::default() }
    }

    /// Bytes it takes of the bound now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes left of the bound.
    pub fn room(&self) -> usize {
        self.bytes_max - self.bytes
    }

    /// True when an item of that cost fits without losing another.
    pub fn has_room(&self, cost: usize) -> bool {
        self.bytes.saturating_add(cost) <= self.bytes_max
    }

    /// Takes an item and gives back what no longer fits: the oldest ones, or the item itself when
    /// it alone exceeds the bound.
    pub fn push_drop_oldest(&mut self, mut item: Item, held: bool) -> Vec<Item> {
        if item.cost() > self.bytes_max {
            return vec![item];
        }
        self.bytes += item.cost();
        let trees = if held { &mut self.held } else { &mut self.ready };
        let tree = &mut trees[item.payload.route as usize];
        while tree.contains_key(&item.age_key()) {
            item.sequence += 1;
        }
        tree.insert(item.age_key(), item);
        let mut lost = Vec::new();
        while self.bytes > self.bytes_max {
            match self.pop_oldest() {
                Some(oldest) => lost.push(oldest),
                None => break,
            }
        }
        lost
    }

    /// The newest ready item among the routes that may be tried.
    pub fn pop_newest(&mut self, may_try: impl Fn(Route) -> bool) -> Option<Item> {
        let (_, route) = Route::ALL
            .iter()
            .filter(|route| may_try(**route))
            .filter_map(|route| Some((*self.ready[*route as usize].last_key_value()?.0, *route)))
            .max_by_key(|(key, _)| *key)?;
        let (_, item) = self.ready[route as usize].pop_last()?;
        self.bytes -= item.cost();
        Some(item)
    }

    /// As [`RetryQueue::pop_newest`], the oldest.
    pub fn pop_oldest_ready(&mut self, may_try: impl Fn(Route) -> bool) -> Option<Item> {
        let (_, route) = Route::ALL
            .iter()
            .filter(|route| may_try(**route))
            .filter_map(|route| Some((*self.ready[*route as usize].first_key_value()?.0, *route)))
            .min_by_key(|(key, _)| *key)?;
        let (_, item) = self.ready[route as usize].pop_first()?;
        self.bytes -= item.cost();
        Some(item)
    }

    /// Takes out everything whose lease was withdrawn.
    pub fn take_withdrawn(&mut self) -> Vec<Item> {
        let mut taken = Vec::new();
        for tree in self.ready.iter_mut().chain(self.held.iter_mut()) {
            let keys: Vec<_> =
                tree.iter().filter(|(_, item)| item.is_withdrawn()).map(|(key, _)| *key).collect();
            taken.extend(keys.iter().filter_map(|key| tree.remove(key)));
        }
        self.bytes -= taken.iter().map(Item::cost).sum::<usize>();
        taken
    }

    /// True when some item of that route waits and is not held.
    pub fn has_ready(&self, route: Route) -> bool {
        !self.ready[route as usize].is_empty()
    }

    /// When the first item of that route that waits for the key may be tried again.
    pub fn held_until(&self, route: Route) -> Option<Duration> {
        self.held[route as usize].values().map(|item| item.not_before).min()
    }

    /// Makes held items ready: those whose time has come, or every one of them when the key is a
    /// new one.
    pub fn release(&mut self, now: Duration, key_changed: bool) {
        let is_free = |item: &Item| key_changed || item.not_before <= now;
        for (held, ready) in self.held.iter_mut().zip(&mut self.ready) {
            if held.values().any(is_free) {
                let (free, still) =
                    std::mem::take(held).into_iter().partition(|(_, item)| is_free(item));
                let mut free: BTreeMap<AgeKey, Item> = free;
                ready.append(&mut free);
                *held = still;
            }
        }
    }

    /// Takes out everything built before the Unix second `limit`.
    pub fn expire(&mut self, limit: u64) -> Vec<Item> {
        let mut old = Vec::new();
        while self.oldest().is_some_and(|key| key.0 < limit) {
            old.extend(self.pop_oldest());
        }
        old
    }

    /// Empties the queue, oldest first.
    pub fn drain(&mut self) -> Vec<Item> {
        let mut all: Vec<Item> = Vec::new();
        for tree in self.ready.iter_mut().chain(self.held.iter_mut()) {
            all.extend(std::mem::take(tree).into_values());
        }
        self.bytes = 0;
        all.sort_by_key(Item::age_key);
        all
    }

    fn trees(&self) -> impl Iterator<Item = &BTreeMap<AgeKey, Item>> {
        self.ready.iter().chain(self.held.iter())
    }

    fn oldest(&self) -> Option<AgeKey> {
        self.trees().filter_map(|tree| tree.first_key_value().map(|(key, _)| *key)).min()
    }

    fn pop_oldest(&mut self) -> Option<Item> {
        let oldest = self.oldest()?;
        let item = self
            .ready
            .iter_mut()
            .chain(self.held.iter_mut())
            .find_map(|tree| tree.remove(&oldest))?;
        self.bytes -= item.cost();
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ContentEncoding;
    use bytes::Bytes;

    const BODY: usize = 1000;
    const COST: usize = BODY + ITEM_OVERHEAD_BYTES;

    fn item(sequence: u64, route: Route, built_at: u64, bytes: usize) -> Item {
        let payload = Payload {
            route,
            body: Bytes::from(vec![0; bytes]),
            encoding: ContentEncoding::Identity,
            items: 1,
            points: 1,
            uncompressed_bytes: bytes,
            built_at,
        };
        Item::new(sequence, payload)
    }

    fn sequences(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.sequence).collect()
    }

    fn filled(bytes_max: usize, count: u64) -> RetryQueue {
        let mut queue = RetryQueue::new(bytes_max);
        for n in 0..count {
            let route = Route::ALL[n as usize % Route::ALL.len()];
            assert!(queue.push_drop_oldest(item(n, route, 100 + n, BODY), false).is_empty());
        }
        queue
    }

    #[test]
    fn the_oldest_are_lost_when_the_bound_is_reached() {
        let mut queue = filled(3 * COST, 3);
        assert_eq!(queue.bytes(), 3 * COST);
        let lost = queue.push_drop_oldest(item(3, Route::Events, 103, BODY), true);
        assert_eq!(sequences(&lost), [0]);
        let lost = queue.push_drop_oldest(item(4, Route::Events, 104, 2 * BODY), false);
        assert_eq!(sequences(&lost), [1, 2]);
        assert!(queue.bytes() <= 3 * COST);
        assert_eq!(sequences(&queue.drain()), [3, 4]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn one_that_exceeds_the_whole_bound_is_given_back_and_evicts_nothing() {
        let mut queue = filled(3 * COST, 3);
        let lost = queue.push_drop_oldest(item(9, Route::Events, 109, 4 * BODY), false);
        assert_eq!(sequences(&lost), [9]);
        assert_eq!(sequences(&queue.drain()), [0, 1, 2]);
    }

    #[test]
    fn the_newest_of_the_open_routes_comes_first() {
        let mut queue = filled(100 * COST, 10);
        let newest = |queue: &mut RetryQueue| queue.pop_newest(|_| true).map(|i| i.sequence);
        assert_eq!(newest(&mut queue), Some(9));
        let series = queue.pop_newest(|route| route == Route::SeriesV2);
        assert_eq!(series.map(|i| i.sequence), Some(5));
        assert_eq!(newest(&mut queue), Some(8));
        assert!(queue.pop_newest(|_| false).is_none());
        assert_eq!(queue.bytes(), 7 * COST);
        // Age is what counts, not the order in which they failed.
        queue.push_drop_oldest(item(99, Route::Events, 1, BODY), false);
        assert_eq!(newest(&mut queue), Some(7));
    }

    #[test]
    fn held_items_wait_for_their_release() {
        let now = Duration::from_secs(10);
        let mut queue = RetryQueue::new(100 * COST);
        let mut late = item(1, Route::Events, 1, BODY);
        late.not_before = Duration::from_secs(20);
        queue.push_drop_oldest(late, true);
        queue.push_drop_oldest(item(2, Route::Events, 2, BODY), true);
        queue.push_drop_oldest(item(3, Route::Sketches, 3, BODY), true);
        assert!(queue.pop_newest(|_| true).is_none());
        assert_eq!(queue.held_until(Route::Events), Some(Duration::ZERO));
        queue.release(now, false);
        assert_eq!(queue.pop_newest(|_| true).map(|i| i.sequence), Some(3));
        assert_eq!(queue.pop_newest(|_| true).map(|i| i.sequence), Some(2));
        assert!(queue.pop_newest(|_| true).is_none());
        assert_eq!(queue.held_until(Route::Events), Some(Duration::from_secs(20)));
        queue.release(now, true);
        assert_eq!(queue.pop_newest(|_| true).map(|i| i.sequence), Some(1));
        assert_eq!(queue.held_until(Route::Events), None);
        assert!(queue.drain().is_empty());
    }

    #[test]
    fn age_counts_from_when_a_payload_was_built() {
        let mut queue = filled(100 * COST, 4);
        assert_eq!(sequences(&queue.expire(100)), [] as [u64; 0]);
        assert_eq!(sequences(&queue.expire(102)), [0, 1]);
        assert_eq!(sequences(&queue.drain()), [2, 3]);
    }
}
