//! The sentence at the end: what was and was not delivered.

use super::accounting::{EndpointCounts, ForwardAccounting, RouteCounts, Tally};
use super::outcome::DropReason;
use std::fmt;

/// What a shutdown did for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReport {
    /// The endpoint's name.
    pub name: String,
    /// Delivered since the shutdown began.
    pub delivered: Tally,
    /// Not delivered, dropped at the deadline.
    pub lost: Tally,
    /// Not delivered, on disk for the next run.
    pub spooled: Tally,
    /// Of the lost and spooled: cut off while on the way, so that they may have arrived.
    pub in_doubt: Tally,
}

/// What a shutdown did, and the final accounting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// In the order of the endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// The counters after the last attempt.
    pub accounting: ForwardAccounting,
}

impl ShutdownReport {
    pub(super) fn between(before: &ForwardAccounting, accounting: ForwardAccounting) -> Self {
        let pairs = before.endpoints.iter().zip(&accounting.endpoints);
        let endpoints = pairs.map(|(before, after)| endpoint_report(before, after)).collect();
        ShutdownReport { endpoints, accounting }
    }

    /// True when nothing was dropped by the shutdown.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.lost.payloads == 0)
    }
}

fn endpoint_report(before: &EndpointCounts, after: &EndpointCounts) -> EndpointReport {
    let lost = |route: &RouteCounts| route.dropped_for(DropReason::Shutdown);
    EndpointReport {
        name: after.name.clone(),
        delivered: after.total(|r| r.delivered).since(before.total(|r| r.delivered)),
        lost: after.total(lost).since(before.total(lost)),
        spooled: after.total(|r| r.waiting),
        in_doubt: after.total(|r| r.in_doubt).since(before.total(|r| r.in_doubt)),
    }
}

impl fmt::Display for ShutdownReport {
    /// The balance as one line, the same per endpoint where there are several, then a line per
    /// endpoint that lost something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.accounting)?;
        let endpoints = &self.accounting.endpoints;
        for endpoint in endpoints.iter().filter(|_| endpoints.len() > 1) {
            write!(f, "\n  of {} with key {}: {endpoint}", endpoint.name, endpoint.key_shown)?;
        }
        for endpoint in &self.endpoints {
            let EndpointReport { name, lost, spooled, in_doubt, .. } = endpoint;
            if lost.payloads > 0 {
                let Tally { payloads, points, .. } = lost;
                write!(f, "\n{name}: {payloads} payloads ({points} points) not delivered")?;
            }
            if spooled.payloads > 0 {
                let Tally { payloads, points, .. } = spooled;
                write!(f, "\n{name}: {payloads} payloads ({points} points) kept on disk")?;
            }
            if in_doubt.payloads > 0 {
                write!(f, "\n{name}: {} of them cut off on the way", in_doubt.payloads)?;
            }
        }
        Ok(())
    }
}
