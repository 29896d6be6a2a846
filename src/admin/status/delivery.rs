//! The part of the status about payloads and endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DurationStatus, ReasonsStatus};
use crate::encode::Route;
use crate::forward::{
    DropReason, EndpointCounts, ErrorKind, ForwardAccounting, RouteCounts, Tally,
};
use crate::output::Discarded;

/// `built = delivered + waiting + dropped(reason)`, in all and per endpoint. Without an intake the
/// sums are absent; with an output that delivers nothing, `discarded` says what was built.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// How long requests took to be answered.
    pub answer_seconds: DurationStatus,
    pub queue_bytes: usize,
    pub queue_bytes_max: usize,
    pub queue_full_in_seconds: Option<u64>,
    pub spool_bytes: u64,
    pub spool_records: usize,
}

/// One route of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What a forwarder delivered, or what was built and delivered nowhere on purpose.
    pub fn of(accounting: Option<&ForwardAccounting>, discarded: Option<Discarded>) -> Self {
        if let (Some(discarded), None) = (discarded, accounting) {
            let built = TallyStatus {
                payloads: discarded.payloads,
                points: discarded.points,
                bytes: discarded.bytes,
            };
            let (built, discarded) = (Some(built), Some(built));
            return PayloadsStatus { built, discarded, ..PayloadsStatus::default() };
        }
        let Some(accounting) = accounting else { return PayloadsStatus::default() };
        let routes: Vec<&RouteCounts> =
            accounting.endpoints.iter().flat_map(|endpoint| &endpoint.routes).collect();
        PayloadsStatus {
            built: Some(accounting.total(|route| route.built).into()),
            discarded: None,
            delivered: Some(accounting.total(|route| route.delivered).into()),
            waiting: Some(accounting.total(|route| route.waiting).into()),
            dropped: Some(dropped(&routes)),
            balances: Some(accounting.balances()),
            endpoints: accounting.endpoints.iter().map(EndpointStatus::of).collect(),
        }
    }
}

impl EndpointStatus {
    fn of(endpoint: &EndpointCounts) -> Self {
        let used = |route: &Route| endpoint.route(*route).built != Tally::default();
        let routes = Route::ALL.into_iter().filter(used).map(|route| {
            let errors = endpoint.breaker_errors[route as usize];
            (route.label().to_owned(), RouteStatus::of(endpoint.route(route), errors))
        });
        EndpointStatus {
            name: endpoint.name.clone(),
            key: endpoint.key_shown.clone(),
            key_status: endpoint.key_status.to_string(),
            built: endpoint.total(|route| route.built).into(),
            delivered: endpoint.total(|route| route.delivered).into(),
            waiting: endpoint.total(|route| route.waiting).into(),
            dropped: dropped(&endpoint.routes.iter().collect::<Vec<_>>()),
            routes: routes.collect(),
            answer_seconds: endpoint.answered_in.into(),
            queue_bytes: endpoint.queue_bytes,
            queue_bytes_max: endpoint.queue_bytes_max,
            queue_full_in_seconds: endpoint.queue_full_in.map(|time| time.as_secs()),
            spool_bytes: endpoint.spool_bytes,
            spool_records: endpoint.spool_records,
        }
    }
}

impl RouteStatus {
    fn of(counts: &RouteCounts, breaker_errors: u32) -> Self {
        let errors = ErrorKind::ALL.iter().filter_map(|kind| {
            let count = counts.errors[*kind as usize];
            (count > 0).then(|| (kind.label().to_owned(), count))
        });
        RouteStatus {
            built: counts.built.into(),
            delivered: counts.delivered.into(),
            waiting: counts.waiting.into(),
            dropped: dropped(&[counts]),
            in_doubt: counts.in_doubt.into(),
            requests: counts.requests,
            retries: counts.retries,
            stale_connections: counts.stale_connections,
            splits: counts.splits,
            statuses: counts.statuses.iter().map(|(code, n)| (code.to_string(), *n)).collect(),
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
