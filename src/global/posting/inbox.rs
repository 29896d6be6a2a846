//! Orders that wait to be encoded, in order. Bounded by the owner, which has one posting of an interval
//! and partition under way at a time, and reads no further when its memory is full.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::order::Order;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Order>,
    closed: bool,
    postings: u64,
    rows: u64,
}

/// What came out of an [`Inbox`].
#[derive(Debug)]
pub(super) enum Next {
    Order(Order),
    /// Nothing for as long as was waited.
    Nothing,
    /// No more will come.
    Closed,
}

impl Inbox {
    /// Takes an order; gives it back when nothing is posted any more.
    pub fn put(&self, order: Order) -> Option<Order> {
        let mut state = self.lock();
        state.postings += 1;
        state.rows += order.values.series() as u64;
        if state.closed {
            return Some(order);
        }
        state.waiting.push_back(order);
        drop(state);
        self.arrived.notify_one();
        None
    }

    /// The next order; waits for one.
    pub fn next(&self, wait: Duration) -> Next {
        let state = self.lock();
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waited = self.arrived.wait_timeout_while(state, wait, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.waiting.pop_front() {
            Some(order) => Next::Order(order),
            None if state.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// Takes out what may not be posted any more.
    pub fn take_withdrawn(&self) -> VecDeque<Order> {
        let mut state = self.lock();
        let (gone, waiting) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|order| order.lease.is_withdrawn());
        state.waiting = waiting;
        let gone: VecDeque<Order> = gone;
        gone
    }

    /// Takes nothing more, and gives back what is left.
    pub fn close(&self) -> VecDeque<Order> {
        let mut state = self.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        left
    }

    /// Postings and rows taken in, and postings that wait.
    pub fn counts(&self) -> (u64, u64, usize) {
        let state = self.lock();
        (state.postings, state.rows, state.waiting.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
