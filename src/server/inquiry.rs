//! Questions that make the lanes look closer: counts per metric.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::facts::Facts;
use super::samples::{Samples, Sent};
use crate::telemetry::http::{Request, Response};

/// Longest time one request may watch for.
const WATCH_MAX: Duration = Duration::from_secs(60);

/// How long a request wants to watch; none when it does not say.
pub(super) fn watch_time(request: &Request) -> Option<Duration> {
    let seconds = request.query("seconds")?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|time| time.min(WATCH_MAX))
}

/// What was sent in the next `time`.
pub(super) fn watched(facts: &Facts, time: Duration) -> Samples {
    let _counting = facts.watch.count();
    let before = facts.watch.samples(&facts.lanes);
    std::thread::sleep(time);
    facts.watch.samples(&facts.lanes).since(&before)
}

/// `/stats`: count and last time per metric and tags, in the Agent's shape.
pub(super) fn stats(facts: &Facts, request: &Request) -> Response {
    let samples = match watch_time(request) {
        Some(time) => watched(facts, time),
        None if facts.stats_kept => facts.watch.samples(&facts.lanes),
        None => {
            return Response::text(
                409,
                "counts per metric are not kept: set dogstatsd_metrics_stats_enable to true \
                 (DD_DOGSTATSD_METRICS_STATS_ENABLE=true), or count for a while with --for 10\n",
            );
        }
    };
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for (name, tags, sent) in samples.iter() {
        let (name, tags) = (String::from_utf8_lossy(name), String::from_utf8_lossy(tags));
        rows.insert(format!("{name}|{tags}"), row(&name, &tags.replace(',', " "), sent));
    }
    if samples.others().count > 0 {
        rows.insert("(others)".to_owned(), row("(others)", "", samples.others()));
    }
    Response::json(200, format!("{}\n", json!(rows)))
}

fn row(name: &str, tags: &str, sent: Sent) -> Value {
    let last_seen = i64::try_from(sent.last_seen).ok();
    let last_seen = last_seen.and_then(|second| chrono::DateTime::from_timestamp(second, 0));
    json!({
        "name": name,
        "tags": tags,
        "count": sent.count,
        "bytes": sent.bytes,
        "last_seen": last_seen.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    })
}
