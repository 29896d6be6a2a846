//! What waits for one endpoint, with its counters and a breaker per route. Pure: the time comes from
//! outside.
//!
//! Unlike metrics, requests go out in the order in which they came, after an outage too: telemetry of
//! one runtime is numbered, and its start comes first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;

use crate::doors::{ForwardCounts, ForwardDrop, Route};
use crate::forward::{Attempt, Breaker, BreakerState, RetryPolicy};

/// Bytes of one queue.
pub(super) const QUEUE_BYTES_MAX: usize = 16 << 20;
/// The longest wait of a request, from when it was taken.
pub(super) const AGE_MAX: Duration = Duration::from_secs(600);
/// What a waiting request takes besides body and headers, and a header besides its text.
const ITEM_OVERHEAD_BYTES: usize = 256;
const HEADER_OVERHEAD_BYTES: usize = 64;

/// One request, shared by the queues of all endpoints that get it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub route: Route,
    pub path: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Outgoing {
    /// Bytes it takes while it waits.
    fn cost(&self) -> usize {
        let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
        };
        self.body.len() + self.headers.iter().map(header).sum::<usize>() + ITEM_OVERHEAD_BYTES
    }
}

/// A request that waits for one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub request: Arc<Outgoing>,
    /// Monotonic time.
    taken_at: Duration,
    /// Counts up over all routes.
    number: u64,
}

/// What an attempt means for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Forwarded,
    /// Next try after this time.
    Again(Duration),
    Dropped(ForwardDrop),
}

#[derive(Debug)]
struct OfRoute {
    waiting: VecDeque<Item>,
    breaker: Breaker,
    counts: Arc<ForwardCounts>,
}

/// Everything that waits for one endpoint.
#[derive(Debug)]
pub(super) struct Queue {
    routes: Vec<OfRoute>,
    bytes: usize,
    bytes_max: usize,
    next_number: u64,
    /// What is on its way, and whether it was picked in the last round.
    in_flight: Option<(Item, bool)>,
    /// Each request gets one more attempt.
    last_round: bool,
}

impl Queue {
    /// A queue for the routes that are counted.
    pub fn new(bytes_max: usize, counts: Vec<Arc<ForwardCounts>>) -> Self {
        let of = |counts| OfRoute { waiting: VecDeque::new(), breaker: Breaker::default(), counts };
        Queue {
            routes: counts.into_iter().map(of).collect(),
            bytes: 0,
            bytes_max,
            next_number: 0,
            in_flight: None,
            last_round: false,
        }
    }

    /// Takes a request of a counted route; how many others, or itself, had to go for it. One that
    /// exceeds the whole bound evicts nothing.
    pub fn push(&mut self, request: &Arc<Outgoing>, now: Duration) -> u64 {
        let Some(route) = self.place(request.route) else { return 0 };
        let cost = request.cost();
        if cost > self.bytes_max {
            self.count(route, ForwardDrop::QueueFull);
            return 1;
        }
        let mut lost = 0;
        while self.bytes + cost > self.bytes_max && self.drop_oldest(ForwardDrop::QueueFull) {
            lost += 1;
        }
        let item = Item { request: Arc::clone(request), taken_at: now, number: self.next_number };
        self.next_number += 1;
        self.bytes += cost;
        self.routes[route].waiting.push_back(item);
        lost
    }

    /// Drops what is too old; how many.
    pub fn expire(&mut self, now: Duration) -> u64 {
        let mut lost = 0;
        let too_old = |item: &Item| now.saturating_sub(item.taken_at) > AGE_MAX;
        while self.oldest().is_some_and(|route| self.front(route).is_some_and(too_old)) {
            lost += u64::from(self.drop_oldest(ForwardDrop::TooOld));
        }
        lost
    }

    /// The next request to send: the oldest of the routes that may send. In the last round every
    /// route may.
    pub fn pick(&mut self, now: Duration) -> Option<Item> {
        let last_round = self.last_round;
        let open =
            |of: &OfRoute| last_round || !matches!(of.breaker.state(now), BreakerState::Blocked(_));
        let fronts = self.routes.iter().enumerate().filter(|(_, of)| open(of));
        let fronts = fronts.filter_map(|(at, of)| Some((of.waiting.front()?.number, at)));
        let (_, route) = fronts.min()?;
        let item = self.routes[route].waiting.pop_front()?;
        self.bytes -= item.request.cost();
        self.in_flight = Some((item.clone(), last_round));
        Some(item)
    }

    /// How long until a route may send again or something becomes too old; none when nothing waits.
    pub fn next_step(&self, now: Duration) -> Option<Duration> {
        let steps = self.routes.iter().filter_map(|of| {
            let item = of.waiting.front()?;
            let too_old = (item.taken_at + AGE_MAX).saturating_sub(now) + Duration::from_millis(1);
            Some(match of.breaker.state(now) {
                BreakerState::Blocked(until) => until.saturating_sub(now).min(too_old),
                _ => Duration::ZERO,
            })
        });
        steps.min()
    }

    /// Counts the result of an attempt and decides where its request goes; none when it was given up
    /// meanwhile.
    pub fn settle(
        &mut self,
        attempt: &Attempt,
        now: Duration,
        policy: &RetryPolicy,
        jitter: f64,
    ) -> Option<Settled> {
        let (item, is_last_attempt) = self.in_flight.take()?;
        let route = self.place(item.request.route)?;
        let of = &mut self.routes[route];
        let retry_after = match attempt {
            Attempt::Answered { status: 200..=299, .. } => {
                of.breaker.succeeded(policy, now, jitter);
                of.counts.forwarded();
                return Some(Settled::Forwarded);
            }
            Attempt::Answered { status: 429, retry_after, .. } => *retry_after,
            Attempt::Answered { status: 400..=499, .. } => {
                of.breaker.succeeded(policy, now, jitter);
                self.count(route, ForwardDrop::Rejected);
                return Some(Settled::Dropped(ForwardDrop::Rejected));
            }
            // A redirect leads somewhere else than configured, so it is a failure too.
            Attempt::Answered { retry_after, .. } => *retry_after,
            Attempt::Failed { .. } => None,
        };
        of.breaker.failed(policy, now, jitter, retry_after);
        if is_last_attempt {
            self.count(route, ForwardDrop::Shutdown);
            return Some(Settled::Dropped(ForwardDrop::Shutdown));
        }
        let cost = item.request.cost();
        if self.bytes + cost > self.bytes_max {
            // It is the oldest of its route, and others have filled its place.
            self.count(route, ForwardDrop::QueueFull);
            return Some(Settled::Dropped(ForwardDrop::QueueFull));
        }
        self.bytes += cost;
        let delay = match of.breaker.state(now) {
            BreakerState::Blocked(until) => until.saturating_sub(now),
            _ => Duration::ZERO,
        };
        of.waiting.push_front(item);
        Some(Settled::Again(delay))
    }

    /// From now on every request gets one attempt, whatever the breakers say.
    pub fn start_last_round(&mut self) {
        self.last_round = true;
    }

    /// Drops everything, what is on the way too; how many.
    pub fn give_up(&mut self) -> u64 {
        let mut lost = 0;
        let on_its_way = self.in_flight.take();
        if let Some(route) = on_its_way.and_then(|(item, _)| self.place(item.request.route)) {
            self.count(route, ForwardDrop::Shutdown);
            lost += 1;
        }
        while self.drop_oldest(ForwardDrop::Shutdown) {
            lost += 1;
        }
        lost
    }

    /// Requests that wait, without the one on its way.
    pub fn len(&self) -> usize {
        self.routes.iter().map(|of| of.waiting.len()).sum()
    }

    fn place(&self, route: Route) -> Option<usize> {
        self.routes.iter().position(|of| of.counts.route == route)
    }

    fn front(&self, route: usize) -> Option<&Item> {
        self.routes[route].waiting.front()
    }

    /// The route whose first request is the oldest of all.
    fn oldest(&self) -> Option<usize> {
        let fronts =
            (0..self.routes.len()).filter_map(|route| Some((self.front(route)?.number, route)));
        fronts.min().map(|(_, route)| route)
    }

    fn drop_oldest(&mut self, why: ForwardDrop) -> bool {
        let Some(route) = self.oldest() else { return false };
        let Some(item) = self.routes[route].waiting.pop_front() else { return false };
        self.bytes -= item.request.cost();
        self.count(route, why);
        true
    }

    fn count(&mut self, route: usize, why: ForwardDrop) {
        self.routes[route].counts.dropped(why);
    }
}

#[cfg(test)]
mod tests;
