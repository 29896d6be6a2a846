//! The intake keeps the last write of each series and second. It holds every write against the model:
//! the value was whole at a moment of the log, and no older moment follows a younger one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::log::{Log, Row, Shown};

#[derive(Debug, Default)]
pub struct Intake {
    /// How many parts the value holds, and the value.
    rows: BTreeMap<Row, (usize, Shown)>,
    /// Rows of which some write was given up for good.
    given_up: BTreeSet<Row>,
    /// Writes that a request under way still makes.
    pub under_way: Vec<(Duration, Vec<(Row, Shown)>)>,
    pub down_until: Duration,
    pub writes: u64,
}

impl Intake {
    pub fn write(&mut self, rows: &[(Row, Shown)], log: &Log) {
        for (row, value) in rows {
            self.writes += 1;
            let wholes = log.wholes(row);
            let before = self.rows.get(row).map_or(0, |(count, _)| *count);
            let count = (before..wholes.len()).find(|count| wholes[*count] == *value);
            let Some(count) = count else {
                panic!(
                    "{row:?}: {value:?} is written over {:?} (of {before} parts), but the log held {wholes:?}",
                    self.rows.get(row)
                );
            };
            self.rows.insert(row.clone(), (count, *value));
        }
    }

    pub fn give_up(&mut self, rows: &[(Row, Shown)]) {
        self.given_up.extend(rows.iter().map(|(row, _)| row.clone()));
    }

    pub fn was_given_up(&self, row: &Row) -> bool {
        self.given_up.contains(row)
    }

    /// Requests under way arrive.
    pub fn arrive(&mut self, now: Duration, log: &Log) {
        let (due, later) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(at, _)| *at <= now);
        self.under_way = later;
        let mut due: Vec<(Duration, Vec<(Row, Shown)>)> = due;
        due.sort_by_key(|(at, _)| *at);
        due.iter().for_each(|(_, rows)| self.write(rows, log));
    }

    pub fn value(&self, row: &Row) -> Option<Shown> {
        self.rows.get(row).map(|(_, value)| *value)
    }

    /// Every row of the log holds its whole value, but those that `excused` allows to be older.
    pub fn check(&self, log: &Log, excused: impl Fn(&Row) -> bool) {
        for row in log.rows() {
            let wholes = log.wholes(row);
            let whole = wholes.last().copied();
            if self.value(row) != whole && !self.given_up.contains(row) && !excused(row) {
                panic!("{row:?} ends as {:?}, not {whole:?} (of {wholes:?})", self.rows.get(row));
            }
        }
    }

    pub fn shown(&self) -> impl Iterator<Item = (&Row, Shown)> {
        self.rows.iter().map(|(row, (_, value))| (row, *value))
    }
}
