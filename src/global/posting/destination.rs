//! Where the rows of a posting go. The intake is the usual one; on the other outputs a person or a script
//! reads the same whole values.

use std::fs::File;
use std::io::{self, Stdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::encode::Payload;
use crate::flush::Row;
use crate::forward::{Forwarder, Ticket};
use crate::output::{Console, Discarded, DryRun, JsonLines, Table};
use crate::text::{clock_time, grouped};

/// One of the configured outputs.
pub enum Destination {
    /// To the endpoints, by a forwarder that waits for room.
    Forward(Arc<Forwarder>),
    /// Nowhere (`output: none`): counted and forgotten.
    Discard(Arc<Mutex<Discarded>>),
    /// Shown as requests (`output: dry-run`), and counted.
    Show(DryRun<Stdout>, Arc<Mutex<Discarded>>),
    /// Tables.
    Console(Tables),
    /// A line per series, on standard output.
    Lines(JsonLines<Stdout>),
    /// A line per series, to a file.
    LinesTo(JsonLines<File>),
}

impl Destination {
    /// True when it takes payloads, false when it takes rows.
    pub(super) fn takes_payloads(&self) -> bool {
        matches!(self, Destination::Forward(_) | Destination::Discard(_) | Destination::Show(..))
    }

    pub(super) fn payload(&mut self, payload: &Payload, ticket: &Ticket, patience: Duration) {
        match self {
            Destination::Forward(forwarder) => forwarder.submit_ticketed(payload, ticket, patience),
            Destination::Discard(discarded) => count(discarded, payload),
            Destination::Show(shown, discarded) => {
                shown.show(payload);
                count(discarded, payload);
            }
            Destination::Console(_) | Destination::Lines(_) | Destination::LinesTo(_) => {}
        }
    }

    pub(super) fn row(&mut self, row: &Row<'_>) {
        match self {
            Destination::Console(tables) => tables.table.row(row),
            Destination::Lines(lines) => lines.row(row),
            Destination::LinesTo(lines) => lines.row(row),
            Destination::Forward(_) | Destination::Discard(_) | Destination::Show(..) => {}
        }
    }

    /// All rows of a posting came.
    pub(super) fn posted(&mut self, start: u64, interval: u64) {
        match self {
            Destination::Console(tables) => tables.posted(start, interval),
            Destination::Lines(lines) => lines.finish(),
            Destination::LinesTo(lines) => lines.finish(),
            Destination::Forward(_) | Destination::Discard(_) | Destination::Show(..) => {}
        }
    }

    /// Time has passed; `last`: and no more will come.
    pub(super) fn look_at_time(&mut self, last: bool) {
        if let Destination::Console(tables) = self {
            tables.print_when_due(last);
        }
    }
}

fn count(discarded: &Mutex<Discarded>, payload: &Payload) {
    discarded.lock().unwrap_or_else(PoisonError::into_inner).add(payload);
}

/// Tables on standard output. The partitions of an interval are posted one after the other, so rows
/// gather for a moment: one table for all of them.
pub struct Tables {
    console: Console<Stdout>,
    table: Table,
    postings: usize,
    /// Start and length of the interval of the rows.
    of: (u64, u64),
    since: Option<Instant>,
}

/// How long rows gather.
const GATHER: Duration = Duration::from_secs(1);

impl Default for Tables {
    fn default() -> Tables {
        let console = Console::new(io::stdout());
        Tables { console, table: Table::default(), postings: 0, of: (0, 0), since: None }
    }
}

impl Tables {
    fn posted(&mut self, start: u64, interval: u64) {
        self.of = (start, interval);
        self.postings += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn print_when_due(&mut self, last: bool) {
        if self.since.is_none_or(|since| !last && since.elapsed() < GATHER) {
            return;
        }
        self.since = None;
        let (start, interval) = self.of;
        let postings = std::mem::take(&mut self.postings);
        let table = std::mem::take(&mut self.table);
        let title = format!(
            "{}  global, of {}, posted for {}{}\n",
            clock_time(start.saturating_add(interval)),
            clock_time(start),
            if postings == 1 { "1 partition".to_owned() } else { format!("{postings} partitions") },
            match table.idle() {
                0 => String::new(),
                1 => " (1 idle counter posts 0)".to_owned(),
                idle => format!(" ({} idle counters post 0)", grouped(idle as u64)),
            }
        );
        self.console.print(&table.render(title, interval));
    }
}
