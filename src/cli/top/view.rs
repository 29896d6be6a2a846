//! What of the answers is shown, and how: sorted, filtered, paused, with a minute of history.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use super::parts::{rows, tag_keys, text};
use crate::admin::SenderStatus;
use crate::cli::status::sender_name;
use crate::text::printable;

/// Answers remembered for the sparklines.
const HISTORY: usize = 60;
/// Characters of a filter.
const FILTER_MAX: usize = 60;

/// What the metrics are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Contexts,
    Samples,
    Bytes,
}

impl Sort {
    pub fn next(self) -> Self {
        match self {
            Sort::Contexts => Sort::Samples,
            Sort::Samples => Sort::Bytes,
            Sort::Bytes => Sort::Contexts,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Sort::Contexts => "contexts",
            Sort::Samples => "samples/s",
            Sort::Bytes => "bytes/s",
        }
    }
}

/// One metric with all its figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metric {
    pub name: String,
    pub contexts: u64,
    pub samples: f64,
    pub bytes: f64,
    pub tag_keys: String,
}

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct View {
    pub top: Value,
    pub sort: Sort,
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    pub paused: bool,
    pub help: bool,
    /// Lines per second, refused lines per second and bytes that wait, the latest last.
    pub history: [VecDeque<u64>; 3],
}

impl View {
    /// An answer; while paused, it is let go.
    pub fn take(&mut self, top: Value) {
        if self.paused {
            return;
        }
        let figures =
            [&top["lines_per_second"], &top["refused_per_second"], &top["queue"]["bytes"]];
        for (history, figure) in self.history.iter_mut().zip(figures) {
            if history.len() == HISTORY {
                history.pop_front();
            }
            // Rates are rounded.
            history.push_back(figure.as_f64().unwrap_or_default().round() as u64);
        }
        self.top = top;
    }

    pub fn type_filter(&mut self, character: char) {
        if self.filter.chars().count() < FILTER_MAX && !character.is_control() {
            self.filter.push(character);
        }
    }

    fn shows(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// The metrics, in order.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut found: BTreeMap<&str, Metric> = BTreeMap::new();
        for row in rows(&self.top["by_contexts"]["names"]) {
            let metric = entry(&mut found, row);
            metric.contexts = row["contexts"].as_u64().unwrap_or_default();
            metric.tag_keys = tag_keys(row);
        }
        for row in rows(&self.top["by_samples"]).iter().chain(rows(&self.top["by_bytes"])) {
            let metric = entry(&mut found, row);
            metric.samples = row["samples_per_second"].as_f64().unwrap_or_default();
            metric.bytes = row["bytes_per_second"].as_f64().unwrap_or_default();
        }
        let mut metrics: Vec<Metric> =
            found.into_values().filter(|metric| self.shows(&metric.name)).collect();
        let figure = |metric: &Metric| match self.sort {
            Sort::Contexts => metric.contexts as f64,
            Sort::Samples => metric.samples,
            Sort::Bytes => metric.bytes,
        };
        metrics.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
        metrics
    }

    /// The senders with their names; all of them while the filter is about metrics.
    pub fn senders(&self) -> Vec<(String, &Value)> {
        let named = rows(&self.top["senders"]).iter().map(|row| (label(row), row));
        let (fit, others): (Vec<_>, Vec<_>) = named.partition(|(name, _)| self.shows(name));
        if fit.is_empty() { others } else { fit }
    }
}

/// A sender with what tells it apart first: `python3 (pid 12 uid 0, 3726184226f5)`.
fn label(row: &Value) -> String {
    let mut status = SenderStatus::deserialize(row).unwrap_or_default();
    let Some(command) = status.command.take() else { return sender_name(&status) };
    let command = printable(command.as_bytes(), 64);
    format!("{command} ({})", sender_name(&status).replace(" (container ", ", ").replace(')', ""))
}

fn entry<'a, 'b>(found: &'b mut BTreeMap<&'a str, Metric>, row: &'a Value) -> &'b mut Metric {
    let name = row["name"].as_str().unwrap_or_default();
    found.entry(name).or_insert_with(|| Metric { name: text(&row["name"]), ..Metric::default() })
}

/// At most `width` characters: the beginning and the end, which tell names apart.
pub(super) fn middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let begin: String = text.chars().take(kept.div_ceil(2)).collect();
    let end: String = text.chars().skip(length - kept / 2).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_name_are_kept() {
        for (width, expect) in
            [(20, "com.example.requests"), (9, "com.…ests"), (8, "com.…sts"), (1, "…"), (0, "…")]
        {
            assert_eq!(middle("com.example.requests", width), expect);
        }
    }

    #[test]
    fn a_paused_view_keeps_what_it_shows_and_history_is_bounded() {
        let mut view = View::default();
        for lines in 0..100 {
            view.take(serde_json::json!({ "lines_per_second": lines }));
        }
        assert_eq!((view.history[0].len(), view.history[0].back()), (HISTORY, Some(&99)));
        view.paused = true;
        view.take(serde_json::json!({ "lines_per_second": 7 }));
        assert_eq!(
            (&view.top["lines_per_second"], view.history[0].back()),
            (&99.into(), Some(&99))
        );
    }
}
