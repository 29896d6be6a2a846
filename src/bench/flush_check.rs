//! What a server flushed, read from JSON lines, against what was sent.
//!
//! One row is one object: `{"kind":"series","metric":"x","type":"rate","interval":10,
//! "points":[[1700000000,0.1]],"tags":["a"]}`. Other kinds, unknown fields and rows that are not
//! JSON are counted and skipped. Points of one series at one second overwrite each other, as they
//! do at Datadog's intake, so a server that posts a second twice is detected.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

use super::contexts::{self, Context};

/// The comparison of flushed counters with sent ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlushCheck {
    /// Sum of every counter sent, corrected for sample rates.
    pub sent: f64,
    /// Sum of every flushed series that bears the name of a sent counter.
    pub flushed: f64,
    /// Counter series sent.
    pub series_sent: u64,
    /// Of these, the ones that were flushed under exactly their tags.
    pub series_found: u64,
    /// Of these, the ones whose sum is exact.
    pub series_exact: u64,
    /// Points that fell on a second of their series that already had one.
    pub overwritten: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
}

impl FlushCheck {
    /// True when the total is what was sent: every contribution is a whole number, so less than
    /// half a count may be missing through rounding of rates.
    pub fn total_exact(&self) -> bool {
        (self.sent - self.flushed).abs() < 0.5
    }
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metric: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    series_type: Cow<'a, str>,
    #[serde(default)]
    interval: f64,
    #[serde(default)]
    points: Vec<(f64, f64)>,
    #[serde(borrow, default)]
    tags: Vec<Cow<'a, str>>,
}

/// Reads rows to the end and compares. `sums` belongs to `counters`, entry by entry.
///
/// # Errors
/// When the reader fails; a malformed row is not an error.
pub fn check(
    mut rows: impl BufRead,
    counters: &[Context],
    sums: &[Option<f64>],
) -> io::Result<FlushCheck> {
    let mut comparison = FlushComparison::new(counters);
    let mut line = Vec::new();
    while rows.read_until(b'\n', &mut line)? > 0 {
        comparison.row(&line);
        line.clear();
    }
    Ok(comparison.close(sums))
}

/// A series that has the name of a sent counter (its number) but other tags.
type OtherSeries = (u32, Vec<u8>);

/// One name of the sent counters.
#[derive(Default)]
struct Name {
    number: u32,
    /// Sorted tags to the position among the sent counters.
    tag_sets: HashMap<Vec<u8>, u32>,
}

struct FlushComparison {
    known: HashMap<Vec<u8>, Name>,
    /// Points of sent series by position and second.
    points: HashMap<(u32, i64), f64>,
    /// Points under a known name with unknown tags (a server that adds its own).
    other_tags: HashMap<(OtherSeries, i64), f64>,
    check: FlushCheck,
}

impl FlushComparison {
    fn new(counters: &[Context]) -> Self {
        let mut known: HashMap<Vec<u8>, Name> = HashMap::new();
        for (position, counter) in counters.iter().enumerate() {
            let number = known.len() as u32;
            let name = known
                .entry(counter.name.clone())
                .or_insert_with(|| Name { number, ..Name::default() });
            name.tag_sets.insert(contexts::sorted(&counter.tags), position as u32);
        }
        FlushComparison {
            known,
            points: HashMap::new(),
            other_tags: HashMap::new(),
            check: FlushCheck::default(),
        }
    }

    fn row(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let Ok(row) = serde_json::from_slice::<Row<'_>>(line) else {
            self.check.unreadable += 1;
            return;
        };
        // A row without a kind is a bare series.
        if !(row.kind.is_empty() || row.kind == "series") {
            return;
        }
        let factor = match &*row.series_type {
            "rate" if row.interval > 0.0 => row.interval,
            "count" => 1.0,
            _ => return,
        };
        let Some(name) = self.known.get(row.metric.as_bytes()) else { return };
        let mut tags: Vec<&[u8]> = row.tags.iter().map(|tag| tag.as_bytes()).collect();
        tags.sort_unstable();
        let tags = tags.join(&b',');
        for &(second, value) in &row.points {
            let (second, amount) = (second as i64, value * factor);
            let before = match name.tag_sets.get(&tags) {
                Some(&position) => self.points.insert((position, second), amount),
                None => self.other_tags.insert(((name.number, tags.clone()), second), amount),
            };
            self.check.overwritten += u64::from(before.is_some());
        }
    }

    fn close(mut self, sums: &[Option<f64>]) -> FlushCheck {
        let mut flushed = vec![None; sums.len()];
        for (&(position, _), amount) in &self.points {
            if let Some(sum) = flushed.get_mut(position as usize) {
                *sum.get_or_insert(0.0) += amount;
            }
        }
        let other_tags: f64 = self.other_tags.values().sum();
        self.check.flushed = flushed.iter().flatten().sum::<f64>() + other_tags;
        self.check.sent = sums.iter().flatten().sum();
        for (sent, flushed) in sums.iter().zip(&flushed).filter_map(|(s, f)| Some(((*s)?, f))) {
            self.check.series_sent += 1;
            self.check.series_found += u64::from(flushed.is_some());
            let exact = flushed.is_some_and(|flushed: f64| (sent - flushed).abs() < 0.5);
            self.check.series_exact += u64::from(exact);
        }
        self.check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MetricType;

    fn counter(name: &str, tags: &str) -> Context {
        Context { name: name.into(), kind: MetricType::Counter, tags: tags.into() }
    }

    fn series(metric: &str, kind: &str, second: i64, value: f64, tags: &str) -> String {
        format!(
            r#"{{"kind":"series","metric":"{metric}","type":"{kind}","interval":10,"points":[[{second},{value}]],"tags":[{tags}],"host":"h"}}"#
        )
    }

    #[track_caller]
    fn checks(rows: &[String], expect: FlushCheck) {
        let counters = [counter("a", "x:1,b:2"), counter("a", "x:2"), counter("plain", "")];
        let sums = [Some(30.0), Some(5.0), None];
        let text = rows.join("\n");
        assert_eq!(check(text.as_bytes(), &counters, &sums).unwrap(), expect);
    }

    const NOTHING: FlushCheck = FlushCheck {
        sent: 35.0,
        flushed: 0.0,
        series_sent: 2,
        series_found: 0,
        series_exact: 0,
        overwritten: 0,
        unreadable: 0,
    };

    #[test]
    fn rates_times_interval_over_all_seconds_and_any_tag_order() {
        checks(
            &[
                series("a", "rate", 10, 1.0, r#""b:2","x:1""#),
                series("a", "rate", 20, 2.0, r#""x:1","b:2""#),
                series("a", "count", 20, 5.0, r#""x:2""#),
            ],
            FlushCheck { flushed: 35.0, series_found: 2, series_exact: 2, ..NOTHING },
        );
    }

    #[test]
    fn a_second_point_at_one_second_overwrites_and_is_counted() {
        checks(
            &[series("a", "count", 20, 5.0, r#""x:2""#), series("a", "count", 20, 4.0, r#""x:2""#)],
            FlushCheck { flushed: 4.0, series_found: 1, overwritten: 1, ..NOTHING },
        );
    }

    #[test]
    fn a_server_that_adds_tags_still_has_its_total() {
        checks(
            &[
                series("a", "count", 20, 30.0, r#""x:1","b:2","env:prod""#),
                series("a", "count", 20, 5.0, r#""x:2","env:prod""#),
            ],
            FlushCheck { flushed: 35.0, ..NOTHING },
        );
    }

    #[test]
    fn other_names_types_and_kinds_are_not_counters() {
        checks(
            &[
                series("b", "rate", 10, 1.0, ""),
                series("a", "gauge", 10, 1.0, r#""x:2""#),
                series("a.count", "rate", 10, 1.0, r#""x:2""#),
                r#"{"kind":"sketch","metric":"a","points":[[1,2]]}"#.into(),
                r#"{"kind":"event","title":"t"}"#.into(),
            ],
            NOTHING,
        );
    }

    #[test]
    fn unreadable_rows_are_counted_and_unknown_fields_are_not() {
        checks(
            &[
                "{".into(),
                String::new(),
                r#"{"kind":"series","metric":"a","type":"rate","points":{}}"#.into(),
                r#"{"kind":"series","metric":"a","type":"count","points":[[1,5]],"tags":["x:2"],"new":{"y":[]}}"#.into(),
            ],
            FlushCheck { flushed: 5.0, series_found: 1, series_exact: 1, unreadable: 2, ..NOTHING },
        );
    }

    #[test]
    fn a_total_is_exact_within_half_a_count() {
        let with = |flushed| FlushCheck { sent: 1e9, flushed, ..FlushCheck::default() };
        assert!(with(1e9 + 1e-5).total_exact());
        assert!(!with(1e9 - 1.0).total_exact());
        assert!(!with(1e9 + 1.0).total_exact());
    }
}
