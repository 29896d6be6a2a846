//! A table per flush on standard output, for the first minute and for laptops.

use std::io::Write;

use super::Output;
use crate::aggregate::{CheckRecord, EventRecord};
use crate::flush::{FlushView, Row, SeriesKind};
use crate::text::{clock_time, grouped, printable};

/// Rows of one table at most; the rest is a number.
pub const ROWS_MAX: usize = 40;
/// Characters of a name, of all tags and of what is posted.
const NAME_WIDTH: usize = 60;
const TAGS_WIDTH: usize = 60;
const POSTED_WIDTH: usize = 100;

/// Prints to any writer.
#[derive(Debug)]
pub struct Console<W> {
    out: W,
    /// Set after a write failed: said once.
    broken: bool,
    /// The last table said that nothing is new and nothing goes on; once is enough.
    quiet: bool,
}

impl<W: Write + Send> Console<W> {
    /// A console on `out`, flushed after every table.
    pub fn new(out: W) -> Self {
        Console { out, broken: false, quiet: false }
    }

    /// Prints a table that was rendered.
    pub fn print(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::warn!(target: "output", "console: {error}; tables are lost from here on");
        }
    }
}

impl<W: Write + Send> Output for Console<W> {
    fn flush(&mut self, flush: &FlushView<'_>) {
        let table = render(flush);
        let quiet = flush.is_empty();
        if std::mem::replace(&mut self.quiet, quiet) && quiet {
            return;
        }
        self.print(&table);
    }
}

type Cells = [String; 5];

/// Rows of one table, at most 40 of them kept.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Cells>,
    hidden: usize,
    idle: usize,
}

impl Table {
    /// Adds a row; of counters continued with 0 only the number.
    pub fn row(&mut self, row: &Row<'_>) {
        if row.idle { self.idle += 1 } else { self.add(|| cells_of(row)) }
    }

    fn add(&mut self, cells: impl FnOnce() -> Cells) {
        if self.rows.len() < ROWS_MAX { self.rows.push(cells()) } else { self.hidden += 1 }
    }

    /// Counters continued with 0.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// True without a row to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table of an interval of so many seconds, after a line that says what it is of.
    #[must_use]
    pub fn render(mut self, mut text: String, interval: u64) -> String {
        if !self.rows.is_empty() {
            let input = format!("IN {interval} s");
            self.rows.insert(0, ["KIND", "NAME", "TAGS", &input, "POSTED"].map(str::to_owned));
            rows_into(&mut text, &self.rows);
        }
        if self.hidden > 0 {
            text.push_str(&format!("… and {} more\n", grouped(self.hidden as u64)));
        }
        text
    }
}

fn render(flush: &FlushView<'_>) -> String {
    let mut table = Table::default();
    flush.visit(&mut |row| table.row(row));
    flush.events().iter().for_each(|event| table.add(|| event_cells(event)));
    flush.checks().iter().for_each(|check| table.add(|| check_cells(check)));

    let end = clock_time(flush.timestamp.unsigned_abs().max(flush.start + flush.interval));
    let idle = idle_words(flush);
    let global = global_words(flush);
    if table.is_empty() && flush.counts.received == 0 {
        return format!("{end}  nothing new{idle}\n");
    }
    let counts = &flush.counts;
    let title = if flush.of_doors {
        format!("{end}  doors, of {}\n", clock_time(flush.start))
    } else {
        format!(
            "{end}  {} = {} recorded + {} refused + {} dropped; kernel drops {}{idle}{global}\n",
            lines(counts.received),
            grouped(counts.recorded()),
            grouped(counts.refused_total()),
            grouped(counts.dropped_total()),
            grouped(flush.kernel_drops),
        )
    };
    table.render(title, flush.interval)
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{} lines", grouped(count)) }
}

fn idle_words(flush: &FlushView<'_>) -> String {
    let until = flush.continued_until.map(clock_time);
    match (flush.idle.len(), until) {
        (0, _) | (_, None) => String::new(),
        (1, Some(until)) => format!(" (1 idle counter posts 0 until {until})"),
        (count, Some(until)) => {
            format!(" ({} idle counters post 0 until {until})", grouped(count as u64))
        }
    }
}

/// Series that are not in the table, because their owners post them.
fn global_words(flush: &FlushView<'_>) -> String {
    match flush.global_count() {
        0 => String::new(),
        1 => " (1 global series goes to its owner)".to_owned(),
        count => format!(" ({} global series go to their owners)", grouped(count as u64)),
    }
}

fn rows_into(table: &mut String, rows: &[Cells]) {
    let width = |column: usize| {
        rows.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    for cells in rows {
        for (cell, width) in cells.iter().zip(widths) {
            table.push_str(&format!("{cell:width$}  "));
        }
        table.push_str(&cells[4]);
        table.push('\n');
    }
}

fn cells_of(row: &Row<'_>) -> Cells {
    let mut tags: Vec<u8> = row.tags.iter().collect::<Vec<_>>().join(&b", "[..]);
    if tags.is_empty() {
        tags.push(b'-');
    }
    [
        row.kind.word().to_owned(),
        printable(row.name, NAME_WIDTH),
        printable(&tags, TAGS_WIDTH),
        row.input.to_string(),
        printable(posted(row).as_bytes(), POSTED_WIDTH),
    ]
}

fn posted(row: &Row<'_>) -> String {
    if let Some(sketch) = row.sketch {
        let sketch = sketch.sketch;
        let quantile = |share: f64| sketch.quantile(share).unwrap_or_default();
        return format!(
            "sketch min {} avg {} max {} (p50 ~{:.4} p95 ~{:.4})",
            sketch.min(),
            sketch.avg(),
            sketch.max(),
            quantile(0.5),
            quantile(0.95),
        );
    }
    let value = |kind: SeriesKind, value: f64| match kind {
        SeriesKind::Rate => format!("{value}/s"),
        SeriesKind::Gauge | SeriesKind::Count => value.to_string(),
    };
    let words = row.series.iter().flat_map(|series| {
        let label = match (series.suffix.strip_prefix('.'), series.kind) {
            (Some(suffix), _) => suffix,
            (None, SeriesKind::Rate) => "rate",
            (None, SeriesKind::Gauge) => "gauge",
            (None, SeriesKind::Count) => "count",
        };
        series.points.iter().map(move |point| {
            let at =
                if row.timestamped { format!(" at {}", point.timestamp) } else { String::new() };
            format!("{label} {}{at}", value(series.kind, point.value))
        })
    });
    words.collect::<Vec<_>>().join(" ")
}

fn joined(tags: &[Box<[u8]>]) -> String {
    if tags.is_empty() {
        return "-".to_owned();
    }
    printable(&tags.join(&b", "[..]), TAGS_WIDTH)
}

fn event_cells(event: &EventRecord) -> Cells {
    [
        "event".to_owned(),
        printable(&event.title, NAME_WIDTH),
        joined(&event.tags),
        "1".to_owned(),
        printable(
            format!(
                "{} {}: {}",
                event.priority.word(),
                event.alert_type.word(),
                String::from_utf8_lossy(&event.text)
            )
            .as_bytes(),
            POSTED_WIDTH,
        ),
    ]
}

fn check_cells(check: &CheckRecord) -> Cells {
    let status = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][check.status as usize];
    let message = String::from_utf8_lossy(&check.message);
    [
        "check".to_owned(),
        printable(&check.name, NAME_WIDTH),
        joined(&check.tags),
        "1".to_owned(),
        printable(format!("{status} {message}").trim_end().as_bytes(), POSTED_WIDTH),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::aggregate::{Bucket, Shard, ShardSettings};
    use crate::context::{Rules, ScopeRules};
    use crate::flush::{Closed, FlushSettings, Flusher, HistogramSettings};

    #[test]
    fn global_series_are_a_number_beside_the_table() {
        let (state, now) = (ahash::RandomState::with_seeds(1, 2, 3, 4), Duration::from_secs(1_000));
        let scope = ScopeRules::new(&["g.*".to_owned()], &[], &[]);
        let rules = Arc::new(Rules { scope: Some(scope), ..Rules::default() });
        let mut shard =
            Shard::new(ShardSettings::default(), Arc::clone(&rules), state.clone(), now);
        let settings = FlushSettings {
            interval: 10,
            counter_expiry: Duration::ZERO,
            set_members_max: 1_000,
            histograms: HistogramSettings::default(),
        };
        let mut flusher = Flusher::new(settings, rules, 1, state);
        let mut table = |lines: &[&str], end: u64| {
            lines.iter().for_each(|line| {
                shard.counts().received += 1;
                shard.line(line.as_bytes(), b"");
            });
            let bucket = shard.close(Duration::from_secs(end), Bucket::default());
            flusher.take(Closed { lane: 0, bucket, passed: end });
            let flush = flusher.complete().unwrap();
            render(&flusher.view(&flush))
        };
        let one = table(&["g.a:1|c", "n:1|c"], 1_010);
        assert!(one.contains("kernel drops 0 (1 global series goes to its owner)\n"), "{one}");
        assert!(one.contains(" n ") && !one.contains("g.a"), "{one}");
        let two = table(&["g.a:1|c", "g.b:1|g"], 1_020);
        assert!(two.ends_with("kernel drops 0 (2 global series go to their owners)\n"), "{two}");
    }
}
