//! What the sections of `whippet status` have in common.

use std::fmt::Write as _;

use crate::admin::ReasonsStatus;
use crate::text::{grouped, printable};

/// The title of a section, as the Agent writes it.
pub(super) fn title(out: &mut String, text: &str) {
    let bar = "=".repeat(text.len());
    let _ = writeln!(out, "\n{bar}\n{text}\n{bar}");
}

/// Text of the server as a terminal may show it.
pub(super) fn shown(text: &str) -> String {
    printable(text.as_bytes(), 400)
}

/// ` (reason 1, other 2)`; nothing without a reason.
pub(super) fn reasons<T>(parts: &ReasonsStatus<T>, count: impl Fn(&T) -> u64) -> String {
    let named: Vec<String> = parts
        .reasons
        .iter()
        .map(|(reason, part)| format!("{reason} {}", grouped(count(part))))
        .collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}
