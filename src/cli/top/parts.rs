//! Parts of a `/top` answer as text, for the plain tables and the screen.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use crate::admin::SenderStatus;
use crate::cli::status::sender_name;
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
