//! The part of the status about payloads and endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ReasonsStatus;
use crate::admin::state::Snapshot;
use crate::encode::Route;
use crate::forward::{DropReason, EndpointCounts, ErrorKind, RouteCounts, Tally};

/// `built = delivered + waiting + dropped(reason)`, in all and per endpoint. Without an intake the
/// sums are absent; with an output that delivers nothing, `discarded` says what was built.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PayloadsStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built: Option<TallyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<TallyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<TallyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<TallyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<ReasonsStatus<TallyStatus>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balances: Option<bool>,
    pub endpoints: Vec<EndpointStatus>,
}

/// A number of payloads, of the points in them, and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TallyStatus {
    pub payloads: u64,
    pub points: u64,
    pub bytes: u64,
}

impl From<Tally> for TallyStatus {
    fn from(tally: Tally) -> Self {
        TallyStatus { payloads: tally.payloads, points: tally.points, bytes: tally.bytes }
    }
}

/// One intake with one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointStatus {
    pub name: String,
    /// The last characters of the key.
    pub key: String,
    pub key_status: String,
    pub built: TallyStatus,
    pub delivered: TallyStatus,
    pub waiting: TallyStatus,
    pub dropped: ReasonsStatus<TallyStatus>,
    /// Routes that got a payload.
    pub routes: BTreeMap<String, RouteStatus>,
    pub queue_bytes: usize,
    pub queue_bytes_max: usize,
    pub queue_full_in_seconds: Option<u64>,
    pub spool_bytes: u64,
    pub spool_records: usize,
}

/// One route of an endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RouteStatus {
    pub built: TallyStatus,
    pub delivered: TallyStatus,
    pub waiting: TallyStatus,
    pub dropped: ReasonsStatus<TallyStatus>,
    /// Payloads whose answer was lost: the intake may have them.
    pub in_doubt: TallyStatus,
    pub requests: u64,
    pub retries: u64,
    /// Requests repeated at once because a kept connection was closed meanwhile.
    pub stale_connections: u64,
    pub splits: u64,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<String, u64>,
    /// Requests without an answer, by what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Errors in a row that the backoff counts.
    pub breaker_errors: u32,
}

impl PayloadsStatus {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        if let (Some(discarded), None) = (snapshot.discarded, &snapshot.books) {
            let built = TallyStatus {
                payloads: discarded.payloads,
                points: discarded.points,
                bytes: discarded.bytes,
            };
            let (built, discarded) = (Some(built), Some(built));
            return PayloadsStatus { built, discarded, ..PayloadsStatus::default() };
        }
        let Some(books) = &snapshot.books else { return PayloadsStatus::default() };
        let routes: Vec<&RouteCounts> =
            books.endpoints.iter().flat_map(|endpoint| &endpoint.routes).collect();
        PayloadsStatus {
            built: Some(books.total(|route| route.built).into()),
            discarded: None,
            delivered: Some(books.total(|route| route.delivered).into()),
            waiting: Some(books.total(|route| route.waiting).into()),
            dropped: Some(dropped(&routes)),
            balances: Some(books.balances()),
            endpoints: books.endpoints.iter().map(EndpointStatus::of).collect(),
        }
    }
}

impl EndpointStatus {
    fn of(books: &EndpointCounts) -> Self {
        let used = |route: &Route| books.route(*route).built != Tally::default();
        let routes = Route::ALL.into_iter().filter(used).map(|route| {
            let errors = books.breaker_errors[route as usize];
            (route.label().to_owned(), RouteStatus::of(books.route(route), errors))
        });
        EndpointStatus {
            name: books.name.clone(),
            key: books.key_shown.clone(),
            key_status: books.key_status.to_string(),
            built: books.total(|route| route.built).into(),
            delivered: books.total(|route| route.delivered).into(),
            waiting: books.total(|route| route.waiting).into(),
            dropped: dropped(&books.routes.iter().collect::<Vec<_>>()),
            routes: routes.collect(),
            queue_bytes: books.queue_bytes,
            queue_bytes_max: books.queue_bytes_max,
            queue_full_in_seconds: books.queue_full_in.map(|time| time.as_secs()),
            spool_bytes: books.spool_bytes,
            spool_records: books.spool_records,
        }
    }
}

impl RouteStatus {
    fn of(books: &RouteCounts, breaker_errors: u32) -> Self {
        let errors = ErrorKind::ALL.iter().filter_map(|kind| {
            let count = books.errors[*kind as usize];
            (count > 0).then(|| (kind.label().to_owned(), count))
        });
        RouteStatus {
            built: books.built.into(),
            delivered: books.delivered.into(),
            waiting: books.waiting.into(),
            dropped: dropped(&[books]),
            in_doubt: books.in_doubt.into(),
            requests: books.requests,
            retries: books.retries,
            stale_connections: books.stale_connections,
            splits: books.splits,
            statuses: books.statuses.iter().map(|(code, n)| (code.to_string(), *n)).collect(),
            errors: errors.collect(),
            breaker_errors,
        }
    }
}

fn dropped(routes: &[&RouteCounts]) -> ReasonsStatus<TallyStatus> {
    let mut total = Tally::default();
    let mut reasons = BTreeMap::new();
    for reason in DropReason::ALL {
        let mut of_reason = Tally::default();
        routes.iter().for_each(|route| of_reason.add(route.dropped_for(reason)));
        if of_reason != Tally::default() {
            reasons.insert(reason.label().to_owned(), of_reason.into());
        }
        total.add(of_reason);
    }
    ReasonsStatus { total: total.into(), reasons }
}
