//! What became of payloads: `built = delivered + waiting + dropped(reason)`, per endpoint and route.

use super::key_status::KeyStatus;
use super::outcome::{Attempt, DropReason, ErrorKind};
use crate::encode::{Payload, Route};
use crate::telemetry::DurationSummary;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Payloads with the points and compressed bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Request bodies.
    pub payloads: u64,
    /// Points in them.
    pub points: u64,
    /// Compressed bytes of them.
    pub bytes: u64,
}

impl Tally {
    /// One payload.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        Tally { payloads: 1, points: payload.points as u64, bytes: payload.body.len() as u64 }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: Tally) {
        self.payloads += other.payloads;
        self.points += other.points;
        self.bytes += other.bytes;
    }

    /// Takes a tally away; never below zero.
    pub fn subtract(&mut self, other: Tally) {
        self.payloads = self.payloads.saturating_sub(other.payloads);
        self.points = self.points.saturating_sub(other.points);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: Tally) -> Tally {
        self.subtract(earlier);
        self
    }
}

/// The counters of one route of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteCounts {
    /// Given to the forwarder, found in the spool at start, or made by splitting.
    pub built: Tally,
    /// Taken by the intake.
    pub delivered: Tally,
    /// Neither delivered nor given up, in memory or on disk.
    pub waiting: Tally,
    /// Given up, by the index of the reason in [`DropReason::ALL`].
    pub dropped: [Tally; DropReason::ALL.len()],
    /// Dropped or spooled at shutdown after their request was cut off: they may have arrived.
    pub in_doubt: Tally,
    /// HTTP requests made.
    pub requests: u64,
    /// Requests that were not the first for their payload.
    pub retries: u64,
    /// Requests repeated at once because the intake had closed an idle connection.
    pub stale_connections: u64,
    /// Times that an owner's payload was not sent because the lease of its partition had run out.
    pub fenced: u64,
    /// Payloads taken apart after a 413.
    pub splits: u64,
    /// Requests without an answer, by the index of the kind in [`ErrorKind::ALL`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
}

impl RouteCounts {
    /// What was given up for that reason.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> Tally {
        self.dropped[reason as usize]
    }

    /// What was given up for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> Tally {
        let mut total = Tally::default();
        self.dropped.iter().for_each(|tally| total.add(*tally));
        total
    }

    /// True when `built = delivered + waiting + dropped` for payloads, points and bytes.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut sum = self.delivered;
        sum.add(self.waiting);
        sum.add(self.dropped_total());
        sum == self.built
    }

    pub(super) fn accepted(&mut self, payload: &Payload) {
        self.built.add(Tally::of(payload));
        self.waiting.add(Tally::of(payload));
    }

    /// A payload of an earlier run was found on disk.
    pub(super) fn found(&mut self, tally: Tally) {
        self.built.add(tally);
        self.waiting.add(tally);
    }

    /// A payload that was only on disk was given up.
    pub(super) fn dropped_from_disk(&mut self, tally: Tally, reason: DropReason) {
        self.waiting.subtract(tally);
        self.dropped[reason as usize].add(tally);
    }

    pub(super) fn attempted(&mut self, attempt: &Attempt, is_retry: bool) {
        self.requests += 1;
        self.retries += u64::from(is_retry);
        match attempt {
            Attempt::Answered { status, .. } => *self.statuses.entry(*status).or_default() += 1,
            Attempt::Failed { kind, .. } => self.errors[*kind as usize] += 1,
        }
    }

    pub(super) fn delivered(&mut self, payload: &Payload) {
        self.waiting.subtract(Tally::of(payload));
        self.delivered.add(Tally::of(payload));
    }

    pub(super) fn dropped(&mut self, payload: &Payload, reason: DropReason) {
        self.waiting.subtract(Tally::of(payload));
        self.dropped[reason as usize].add(Tally::of(payload));
    }

    /// A payload became two: one more was built, and the counters follow the new bodies.
    pub(super) fn split(&mut self, whole: &Payload, parts: [&Payload; 2]) {
        self.splits += 1;
        self.built.subtract(Tally::of(whole));
        self.waiting.subtract(Tally::of(whole));
        parts.into_iter().for_each(|part| self.accepted(part));
    }
}

/// The counters of one endpoint, copied at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointCounts {
    /// The endpoint's name.
    pub name: String,
    /// The end of its key, for display.
    pub key_shown: String,
    /// Whether the intake accepts the key.
    pub key_status: KeyStatus,
    /// Per route, in the order of [`Route::ALL`].
    pub routes: [RouteCounts; Route::ALL.len()],
    /// Errors the breaker of each route has not taken back; 0 means it is open for everything.
    pub breaker_errors: [u32; Route::ALL.len()],
    /// How long requests took to be answered, whatever the answer.
    pub answered_in: DurationSummary,
    /// Bytes of the retry queue's bound in use, overhead included.
    pub queue_bytes: usize,
    /// The bound.
    pub queue_bytes_max: usize,
    /// Bytes of the disk spool in use, 0 without one.
    pub spool_bytes: u64,
    /// Payloads in the disk spool; some of them may be in memory too.
    pub spool_records: usize,
    /// How long the retry queue, on disk too, could take everything at the rate of the last
    /// minutes; none while nothing was built.
    pub queue_full_in: Option<Duration>,
}

impl EndpointCounts {
    /// The counters of one route.
    #[must_use]
    pub fn route(&self, route: Route) -> &RouteCounts {
        &self.routes[route as usize]
    }

    /// True when the counters of every route balance.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.routes.iter().all(RouteCounts::balances)
    }

    /// Sums one figure over the routes.
    #[must_use]
    pub fn total(&self, figure: impl Fn(&RouteCounts) -> Tally) -> Tally {
        let mut total = Tally::default();
        self.routes.iter().for_each(|route| total.add(figure(route)));
        total
    }
}

/// The counters of all endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardAccounting {
    /// In the order of the endpoints.
    pub endpoints: Vec<EndpointCounts>,
}

impl ForwardAccounting {
    /// True when the counters of every endpoint balance.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.endpoints.iter().all(EndpointCounts::balances)
    }

    /// Sums one figure over all endpoints and routes.
    #[must_use]
    pub fn total(&self, figure: impl Fn(&RouteCounts) -> Tally + Copy) -> Tally {
        let mut total = Tally::default();
        self.endpoints.iter().for_each(|endpoint| total.add(endpoint.total(figure)));
        total
    }
}

impl fmt::Display for ForwardAccounting {
    /// `payloads 12 built = 10 delivered + 0 waiting + 2 dropped (too_old 2)`, and the same for
    /// points.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_equations(f, &|figure| self.total(figure))
    }
}

impl fmt::Display for EndpointCounts {
    /// As [`ForwardAccounting`], for this endpoint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_equations(f, &|figure| self.total(figure))
    }
}

/// Sums one figure over some routes.
type Sum<'a> = &'a dyn Fn(&dyn Fn(&RouteCounts) -> Tally) -> Tally;

fn write_equations(f: &mut fmt::Formatter<'_>, sum: Sum<'_>) -> fmt::Result {
    write_equation(f, "payloads", sum, |tally| tally.payloads)?;
    f.write_str("; ")?;
    write_equation(f, "points", sum, |tally| tally.points)
}

fn write_equation(
    f: &mut fmt::Formatter<'_>,
    noun: &str,
    sum: Sum<'_>,
    figure: impl Fn(Tally) -> u64,
) -> fmt::Result {
    let built = figure(sum(&|route| route.built));
    let delivered = figure(sum(&|route| route.delivered));
    let waiting = figure(sum(&|route| route.waiting));
    let dropped = figure(sum(&RouteCounts::dropped_total));
    write!(
        f,
        "{noun} {built} built = {delivered} delivered + {waiting} waiting + {dropped} dropped"
    )?;
    let mut reasons = DropReason::ALL
        .iter()
        .map(|reason| (reason, figure(sum(&|route| route.dropped_for(*reason)))))
        .filter(|(_, count)| *count > 0);
    if let Some((reason, count)) = reasons.next() {
        write!(f, " ({} {count}", reason.label())?;
        for (reason, count) in reasons {
            write!(f, ", {} {count}", reason.label())?;
        }
        f.write_str(")")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_equation_reads_as_a_sentence() {
        let payload = Payload {
            route: Route::SeriesV2,
            body: bytes::Bytes::from_static(b"12345"),
            encoding: crate::encode::ContentEncoding::Identity,
            items: 1,
            points: 7,
            uncompressed_bytes: 5,
            built_at: 0,
        };
        let mut route = RouteCounts::default();
        for _ in 0..4 {
            route.accepted(&payload);
        }
        route.delivered(&payload);
        route.dropped(&payload, DropReason::TooOld);
        route.dropped(&payload, DropReason::Shutdown);
        assert!(route.balances());
        let endpoint = EndpointCounts {
            name: "intake".to_owned(),
            key_shown: String::new(),
            key_status: KeyStatus::Valid,
            routes: [
                route,
                Default::default(),
                Default::default(),
                Default::default(),
                Default::default(),
            ],
            answered_in: DurationSummary::default(),
            breaker_errors: [0; 5],
            queue_bytes: 0,
            queue_bytes_max: 0,
            spool_bytes: 0,
            spool_records: 0,
            queue_full_in: None,
        };
        let mut accounting = ForwardAccounting { endpoints: vec![endpoint] };
        assert_eq!(
            accounting.to_string(),
            "payloads 4 built = 1 delivered + 1 waiting + 2 dropped (too_old 1, shutdown 1); \
             points 28 built = 7 delivered + 7 waiting + 14 dropped (too_old 7, shutdown 7)"
        );
        assert!(accounting.balances());
        accounting.endpoints[0].routes[0].delivered.points += 1;
        assert!(!accounting.balances());
    }
}
