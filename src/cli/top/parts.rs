//! Parts of a `/top` answer as text, for the plain tables and the screen.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::admin::SenderStatus;
use crate::cli::status::sender_name;
use crate::context::CLIENT_TELEMETRY;
use crate::text::{clock_time, grouped, printable};

pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn whole(value: &Value) -> String {
    // Rates are rounded.
    grouped(value.as_f64().unwrap_or_default().round() as u64)
}

pub(super) fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default().as_bytes(), 100)
}

/// The name of a sender, as in `whippet status`.
pub(super) fn sender(row: &Value) -> String {
    sender_name(&SenderStatus::deserialize(row).unwrap_or_default())
}

/// The totals in one line.
pub(super) fn headline(top: &Value) -> String {
    format!(
        "whippet top: {} contexts of {}; {} lines/s, {} bytes/s; kernel drops {}",
        whole(&top["contexts"]["live"]),
        whole(&top["contexts"]["max"]),
        whole(&top["lines_per_second"]),
        whole(&top["bytes_per_second"]),
        whole(&top["kernel_drops"]),
    )
}

/// What comes through the doors in one line; none while they are closed.
pub(super) fn doors(doors: &Value) -> Option<String> {
    doors.is_object().then(|| {
        format!(
            "doors: {} requests/s, {} refused/s; {} parts/s, {} refused/s, {} late/s",
            whole(&doors["requests_per_second"]),
            whole(&doors["refused_per_second"]),
            whole(&doors["parts_per_second"]),
            whole(&doors["parts_refused_per_second"]),
            whole(&doors["late_per_second"]),
        )
    })
}

/// The warning that contexts ran out, if they did.
pub(super) fn overflow(overflow: &Value) -> Option<String> {
    let worst = rows(&overflow["names"]).first()?;
    let mut out = String::new();
    let _ = write!(
        out,
        "OUT OF CONTEXTS, last at {}: metric {}",
        clock_time(overflow["at"].as_u64().unwrap_or_default()),
        text(&worst["name"])
    );
    if let Some(key) = rows(&worst["tag_keys"]).first() {
        let _ =
            write!(out, ", tag {} with about {} values", text(&key["key"]), whole(&key["values"]));
    }
    if let Value::String(_) = &overflow["sender"] {
        let _ = write!(out, ", most sent by {}", text(&overflow["sender"]));
    }
    Some(out)
}

/// `2 env, 1 service, 7 values in 2 other tags`.
pub(super) fn tag_keys(row: &Value) -> String {
    let mut keys: Vec<String> = rows(&row["tag_keys"])
        .iter()
        .map(|key| format!("{} {}", key["values"], text(&key["key"])))
        .collect();
    let others = &row["other_keys"];
    if others["keys"].as_u64() > Some(0) {
        keys.push(format!("{} values in {} other tags", others["values"], others["keys"]));
    }
    keys.join(", ")
}

/// The lists of a `/top` answer that name metrics.
const OF_METRICS: [&str; 3] = ["/by_contexts/names", "/by_samples", "/by_bytes"];

/// The answer without the metrics that client libraries send about themselves.
pub(super) fn without_client_telemetry(mut top: Value) -> Value {
    for list in OF_METRICS {
        if let Some(Value::Array(list)) = top.pointer_mut(list) {
            let ours = |row: &Value| {
                let name = row["name"].as_str().unwrap_or_default();
                name.as_bytes().starts_with(CLIENT_TELEMETRY)
            };
            list.retain(|row| !ours(row));
        }
    }
    top
}

/// The answer with at most so many metrics and senders; the contexts of the rest are others.
pub(super) fn first_of(mut top: Value, count: usize) -> Value {
    for list in OF_METRICS.into_iter().chain(["/senders"]) {
        if let Some(Value::Array(list)) = top.pointer_mut(list) {
            let rest = list.split_off(count.min(list.len()));
            let contexts: u64 = rest.iter().filter_map(|row| row["contexts"].as_u64()).sum();
            if contexts > 0 {
                let others = &mut top["by_contexts"]["others"];
                let sum = |old: &Value, more: u64| old.as_u64().unwrap_or_default() + more;
                others["names"] = sum(&others["names"], rest.len() as u64).into();
                others["contexts"] = sum(&others["contexts"], contexts).into();
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_one_line_while_they_are_open() {
        let open = serde_json::json!({
            "requests_per_second": 1_000.4, "parts_per_second": 400_000, "late_per_second": 2,
        });
        let expect = "doors: 1,000 requests/s, 0 refused/s; 400,000 parts/s, 0 refused/s, 2 late/s";
        assert_eq!(doors(&open).as_deref(), Some(expect));
        assert_eq!(doors(&Value::Null), None);
    }

    #[test]
    fn client_telemetry_goes_and_what_is_cut_off_is_summed_up() {
        let row = |name: &str, contexts| serde_json::json!({"name": name, "contexts": contexts});
        let client = row("datadog.dogstatsd.client.bytes_sent", 9);
        let top = serde_json::json!({
            "by_contexts": {
                "names": [client, row("a", 5), row("b", 3), row("c", 2)],
                "others": {"names": 1, "contexts": 1},
            },
            "by_samples": [client, row("datadog.dogstatsd.clients", 0)],
            "senders": [{"sender": "10.0.0.7"}, {"sender": "10.0.0.8"}],
        });
        let top = first_of(without_client_telemetry(top), 1);
        let expect = serde_json::json!({
            "names": [row("a", 5)], "others": {"names": 3, "contexts": 6},
        });
        assert_eq!(top["by_contexts"], expect);
        assert_eq!(top["by_samples"], serde_json::json!([row("datadog.dogstatsd.clients", 0)]));
        assert_eq!(top["senders"].as_array().unwrap().len(), 1);
    }
}
