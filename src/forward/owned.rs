//! The queue of an owner: moves on [`QueueState`] that only payloads with a ticket take. The owner's
//! log keeps what is not delivered, so a full queue makes it wait and nothing is dropped for want of
//! room; a payload leaves only while its lease holds.

use super::outcome::DropReason;
use super::queue_state::QueueState;
use super::retry::BreakerState;
use super::retry_queue::Item;
use crate::encode::{Payload, Route};
use std::time::Duration;

/// How often leases that have run out are looked at.
const LEASE_RECHECK: Duration = Duration::from_millis(100);

/// Between two payloads in the order of an owner, so that halves of the first find their place before
/// the second: whoever writes a series and second last is right, and it must be the later payload.
pub(super) const SEQUENCE_STEP: u64 = 1 << 24;

impl QueueState {
    /// True when an owner's payload of that cost finds room. What is on the way counts too, since it
    /// comes back when it fails, and halves of a payload take a little more than the whole.
    pub fn has_room_for_all(&self, cost: usize) -> bool {
        let in_flight = self.in_flight.as_ref().map_or(0, |flight| flight.item.cost());
        let fenced: usize = self.fenced.iter().map(Item::cost).sum();
        let held = self.retry_queue.bytes() + in_flight + fenced;
        let bytes_max = self.retry_queue.bytes() + self.retry_queue.room();
        held == 0 || held + cost <= bytes_max - bytes_max / 16
    }

    /// For an owner, oldest first: only what is settled in order frees its memory. Nothing whose
    /// lease does not hold.
    pub fn pick_oldest(&mut self, now: Duration) -> Option<Item> {
        let waiting = std::mem::take(&mut self.fenced);
        for item in waiting {
            if item.is_withdrawn() {
                self.drop_item(&item, DropReason::Withdrawn);
            } else if item.may_leave(now) {
                self.enqueue(item, false);
            } else {
                self.fenced.push(item);
            }
        }
        loop {
            let waits: [bool; Route::ALL.len()] =
                Route::ALL.map(|route| self.waits_until(route, now).is_some());
            let item = self.retry_queue.pop_oldest_ready(|route| !waits[route as usize])?;
            if item.is_withdrawn() {
                self.drop_item(&item, DropReason::Withdrawn);
            } else if item.may_leave(now) && !self.is_behind_fenced(&item) {
                return Some(item);
            } else {
                self.fence(item);
            }
        }
    }

    /// True when an older payload is kept back under the same lease, which may have been renewed just
    /// now: it must not be overtaken.
    fn is_behind_fenced(&self, item: &Item) -> bool {
        let Some(ticket) = &item.ticket else { return false };
        let older = self.fenced.iter().filter_map(|fenced| fenced.ticket.as_ref());
        older.into_iter().any(|older| std::ptr::eq(older.lease(), ticket.lease()))
    }

    /// The halves take the place of the whole.
    pub fn put_halves(&mut self, whole: &Item, first: Payload, second: Payload) {
        let halvings = whole.halvings + 1;
        let width = SEQUENCE_STEP.checked_shr(halvings).unwrap_or(0);
        for (part, at) in [(second, whole.sequence + width), (first, whole.sequence)] {
            let ticket = whole.ticket.clone();
            let item = Item { ticket, halvings, ..Item::new(at, part) };
            if self.stop_at.is_some() {
                self.last_round.push(item);
            } else {
                self.enqueue(item, false);
            }
        }
    }

    /// Until when nothing of that route is tried, if it is blocked. An owner waits out a refused key
    /// too: it has nothing newer to find out with whether the key is accepted again.
    pub fn waits_until(&self, route: Route, now: Duration) -> Option<Duration> {
        let refused = self.waits_for_room && !self.key_works();
        let refused = refused.then(|| self.refusals[route as usize].until).filter(|at| *at > now);
        match self.breaker(route).state(now) {
            BreakerState::Blocked(until) => refused.max(Some(until)),
            _ => refused,
        }
    }

    /// Keeps an owner's payload back until its lease holds again.
    pub fn fence(&mut self, item: Item) {
        self.counts[item.payload.route as usize].fenced += 1;
        self.fenced.push(item);
    }

    /// Gives up everything whose lease was withdrawn; what is on the way follows when it fails.
    pub fn drop_withdrawn(&mut self) {
        let mut taken = self.retry_queue.take_withdrawn();
        taken.extend(self.fenced.extract_if(.., |item| item.is_withdrawn()));
        taken.extend(self.last_round.extract_if(.., |item| item.is_withdrawn()));
        for item in taken {
            self.drop_item(&item, DropReason::Withdrawn);
        }
    }

    /// When to look again whether a lease was renewed.
    pub fn next_look_at_leases(&self, now: Duration) -> Option<Duration> {
        (!self.fenced.is_empty()).then(|| now + LEASE_RECHECK)
    }
}
