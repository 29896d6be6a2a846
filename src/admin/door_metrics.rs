//! The doors in `/metrics`. Routes that are off have no samples; the reasons of those that are on are
//! all there, even at 0.

use super::prometheus::{Exposition, MetricKind::Counter};
use super::status::{DoorStatus, DoorsStatus, ReasonsStatus};
use crate::doors::{ForwardDrop, Reason};

/// One number of each route.
struct RouteCounter {
    metric: &'static str,
    help: &'static str,
    of: fn(&DoorStatus) -> u64,
}

const ROUTE: [RouteCounter; 5] = [
    RouteCounter {
        metric: "whippet_doors_requests_total",
        help: "HTTP requests to the doors: recorded + refused.",
        of: |route| route.requests,
    },
    RouteCounter {
        metric: "whippet_doors_recorded_total",
        help: "Requests to the doors answered with success.",
        of: |route| route.recorded,
    },
    RouteCounter {
        metric: "whippet_doors_parts_total",
        help: "Values, events and checks in requests to the doors: recorded + refused.",
        of: |route| route.parts.total,
    },
    RouteCounter {
        metric: "whippet_doors_parts_recorded_total",
        help: "Parts of requests to the doors that were recorded.",
        of: |route| route.parts.recorded,
    },
    RouteCounter {
        metric: "whippet_doors_late_total",
        help: "Parts recorded, but not in the bucket of their second: too late, or ahead of the clock.",
        of: |route| route.parts.late,
    },
];

/// One list of reasons of each route.
type Reasons = (&'static str, &'static str, fn(&DoorStatus) -> &ReasonsStatus<u64>);

const REFUSED: [Reasons; 2] = [
    (
        "whippet_doors_refused_total",
        "Requests to the doors that were refused, by reason.",
        |route| &route.refused,
    ),
    (
        "whippet_doors_parts_refused_total",
        "Parts of requests to the doors that were refused, by reason.",
        |route| &route.parts.refused,
    ),
];

fn of(reasons: &ReasonsStatus<u64>, word: &str) -> u64 {
    reasons.reasons.get(word).copied().unwrap_or_default()
}

pub(super) fn doors(page: &mut Exposition, doors: &DoorsStatus) {
    for counter in &ROUTE {
        let mut family = page.family(counter.metric, Counter, counter.help);
        for (route, counts) in &doors.routes {
            family.sample(&[("route", route)], (counter.of)(counts));
        }
    }
    for (metric, help, refused) in REFUSED {
        let mut family = page.family(metric, Counter, help);
        for (route, counts) in &doors.routes {
            for reason in Reason::ALL.map(Reason::word) {
                let labels = [("route", route.as_str()), ("reason", reason)];
                family.sample(&labels, of(refused(counts), reason));
            }
        }
    }
    forwards(page, doors);
    traces(page, doors);
}

fn forwards(page: &mut Exposition, doors: &DoorsStatus) {
    let help = "Requests that went on to the vendor.";
    let mut family = page.family("whippet_doors_forwarded_total", Counter, help);
    for forward in &doors.forwards {
        let labels = [("route", &*forward.route), ("endpoint", &*forward.endpoint)];
        family.sample(&labels, forward.forwarded);
    }
    let help = "Requests that were to go on to the vendor and did not arrive, by reason.";
    let mut family = page.family("whippet_doors_dropped_total", Counter, help);
    for forward in &doors.forwards {
        for reason in ForwardDrop::ALL.map(ForwardDrop::word) {
            let labels =
                [("route", &*forward.route), ("endpoint", &*forward.endpoint), ("reason", reason)];
            family.sample(&labels, of(&forward.dropped, reason));
        }
    }
}

fn traces(page: &mut Exposition, doors: &DoorsStatus) {
    let help = "Traces that clients sent, which are counted and not kept.";
    let mut family = page.family("whippet_doors_traces_total", Counter, help);
    for (language, counts) in &doors.traces {
        family.sample(&[("lang", language)], counts.traces);
    }
    let help = "Bytes of requests with traces.";
    let mut family = page.family("whippet_doors_trace_bytes_total", Counter, help);
    for (language, counts) in &doors.traces {
        family.sample(&[("lang", language)], counts.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::{DoorsAccounting, Route};

    fn page(accounting: &DoorsAccounting) -> String {
        let mut page = Exposition::default();
        doors(&mut page, &DoorsStatus::of(accounting, 0));
        page.into_text()
    }

    #[test]
    fn only_routes_that_are_on_have_numbers() {
        let accounting = DoorsAccounting::default();
        assert!(!page(&accounting).contains("route="));
        accounting.set_open(&[Route::Stats]);
        let shown = page(&accounting);
        assert!(shown.contains("whippet_doors_requests_total{route=\"stats\"} 0\n"), "{shown}");
        let reason = "whippet_doors_parts_refused_total{route=\"stats\",reason=\"sketch\"} 0\n";
        assert!(shown.contains(reason), "{shown}");
        assert!(!shown.contains("route=\"api\""), "{shown}");
        accounting.refused(Route::Other, Reason::NotFound);
        let not_found = "whippet_doors_refused_total{route=\"other\",reason=\"not_found\"} 1\n";
        assert!(page(&accounting).contains(not_found));
    }

    #[test]
    fn every_number_of_the_accounting_is_on_the_page() {
        let accounting = DoorsAccounting::default();
        accounting.set_open(&[Route::Api]);
        (0..3).for_each(|_| accounting.recorded(Route::Api));
        accounting.refused(Route::Api, Reason::Decode);
        (0..5).for_each(|_| accounting.part_recorded(Route::Api, false));
        (0..2).for_each(|_| accounting.part_recorded(Route::Api, true));
        accounting.part_refused(Route::Api, Reason::Time);
        let forward = accounting.forward_to(Route::Telemetry, "https://there");
        forward.forwarded();
        forward.dropped(ForwardDrop::TooOld);
        accounting.traces("python", 7, 99, true);
        let shown = page(&accounting);
        for line in [
            "whippet_doors_requests_total{route=\"api\"} 4",
            "whippet_doors_recorded_total{route=\"api\"} 3",
            "whippet_doors_refused_total{route=\"api\",reason=\"decode\"} 1",
            "whippet_doors_parts_total{route=\"api\"} 8",
            "whippet_doors_parts_recorded_total{route=\"api\"} 7",
            "whippet_doors_parts_refused_total{route=\"api\",reason=\"time\"} 1",
            "whippet_doors_late_total{route=\"api\"} 2",
            "whippet_doors_forwarded_total{route=\"telemetry\",endpoint=\"https://there\"} 1",
            "whippet_doors_dropped_total{route=\"telemetry\",endpoint=\"https://there\",reason=\"too_old\"} 1",
            "whippet_doors_traces_total{lang=\"python\"} 7",
            "whippet_doors_trace_bytes_total{lang=\"python\"} 99",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
        }
    }
}
