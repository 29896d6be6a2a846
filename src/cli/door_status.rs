//! The doors in `whippet status`.

use std::fmt::Write as _;

use super::section::{reasons, shown, title};
use crate::admin::{DoorStatus, DoorsStatus};
use crate::text::grouped;

/// What makes a client send its own request and error counts.
const REMEDY: &str = "DD_TRACE_STATS_COMPUTATION_ENABLED=true";

/// A line of requests and one of parts per route, then what goes on and what is only counted.
pub(super) fn doors(out: &mut String, doors: &DoorsStatus) {
    if !doors.open {
        return;
    }
    title(out, "Doors");
    for (route, counts) in &doors.routes {
        one_route(out, &shown(route), counts);
    }
    for forward in &doors.forwards {
        let _ = writeln!(
            out,
            "  {} to {}: {} forwarded, {} dropped{}",
            shown(&forward.route),
            shown(&forward.endpoint),
            grouped(forward.forwarded),
            grouped(forward.dropped.total),
            reasons(&forward.dropped, |count| *count),
        );
    }
    for (language, traces) in &doors.traces {
        let language = shown(language);
        let _ = writeln!(
            out,
            "  traces of {language}: {} in {} requests, {} bytes, counted and not kept",
            grouped(traces.traces),
            grouped(traces.requests),
            grouped(traces.bytes),
        );
        if traces.without_stats > 0 {
            let _ = writeln!(
                out,
                "    the last {} requests came from clients without stats, so no metric counts what they served; set {REMEDY} for {language}",
                grouped(traces.without_stats),
            );
        }
    }
    let _ = writeln!(out, "  {} contexts", grouped(doors.contexts as u64));
}

fn one_route(out: &mut String, route: &str, counts: &DoorStatus) {
    let _ = writeln!(
        out,
        "  {route}: {} requests = {} recorded + {} refused{}",
        grouped(counts.requests),
        grouped(counts.recorded),
        grouped(counts.refused.total),
        reasons(&counts.refused, |count| *count),
    );
    let parts = &counts.parts;
    if parts.total > 0 {
        let _ = writeln!(
            out,
            "    {} parts = {} recorded + {} refused{}; {} late",
            grouped(parts.total),
            grouped(parts.recorded),
            grouped(parts.refused.total),
            reasons(&parts.refused, |count| *count),
            grouped(parts.late),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_doors_are_not_shown() {
        let mut out = String::new();
        doors(&mut out, &DoorsStatus::default());
        assert_eq!(out, "");
    }

    #[test]
    fn each_route_shows_its_balance_and_traces_their_remedy() {
        let status = serde_json::json!({
            "open": true,
            "routes": {
                "info": {},
                "stats": {
                    "requests": 3,
                    "recorded": 2,
                    "refused": {"total": 1, "reasons": {"decode": 1}},
                    "parts": {
                        "total": 1_202,
                        "recorded": 1_201,
                        "refused": {"total": 1, "reasons": {"sketch": 1}},
                        "late": 1,
                    },
                },
            },
            "forwards": [{
                "route": "stats",
                "endpoint": "https://there",
                "dropped": {"total": 1, "reasons": {"rejected": 1}},
            }],
            "traces": {"php": {"requests": 1, "traces": 5, "bytes": 700, "without_stats": 1}},
            "contexts": 9,
        });
        let mut out = String::new();
        doors(&mut out, &serde_json::from_value(status).unwrap());
        let expect = "
=====
Doors
=====
  info: 0 requests = 0 recorded + 0 refused
  stats: 3 requests = 2 recorded + 1 refused (decode 1)
    1,202 parts = 1,201 recorded + 1 refused (sketch 1); 1 late
  stats to https://there: 0 forwarded, 1 dropped (rejected 1)
  traces of php: 5 in 1 requests, 700 bytes, counted and not kept
    the last 1 requests came from clients without stats, so no metric counts what they served; set DD_TRACE_STATS_COMPUTATION_ENABLED=true for php
  9 contexts
";
        assert_eq!(out, expect);
    }
}
