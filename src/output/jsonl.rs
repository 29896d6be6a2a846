//! One JSON object per series, sketch, event and check: for scripts and for tests.
//!
//! ```text
//! {"kind":"series","metric":"x","type":"rate","interval":10,"points":[[1700000000,0.1]],"tags":[],"host":"h"}
//! {"kind":"sketch","metric":"d","timestamp":1700000000,"count":4,"min":1.0,"max":10.0,"avg":3.75,"sum":15.0,
//!  "k":[1338,1383,1487],"n":[1,2,1],"tags":[],"host":"h"}
//! {"kind":"event","title":"t","text":"x",…}  {"kind":"check","name":"c","status":0,…}
//! ```

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use super::Output;
use crate::aggregate::{CheckRecord, EventRecord};
use crate::flush::{FlushView, Row, SeriesKind};

/// Bytes of lines that are gathered for one write.
const WRITE_BYTES: usize = 64 << 10;

/// Writes lines to any writer, whole lines at a time, so that two may append to one file. Everything
/// is written at the end of a flush.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    /// Whole lines.
    pending: Vec<u8>,
    broken: bool,
}

impl<W: Write + Send> JsonLines<W> {
    /// JSON lines on `out`.
    pub fn new(out: W) -> Self {
        JsonLines { out, pending: Vec::new(), broken: false }
    }

    /// Writes one row.
    pub fn row(&mut self, row: &Row<'_>) {
        lines_of(row).for_each(|line| self.line(&line));
    }

    /// Writes out what is still gathered.
    pub fn finish(&mut self) {
        self.write(|out| out.flush());
    }

    fn line(&mut self, line: &Line<'_>) {
        // Every value of a line has a form in JSON.
        if serde_json::to_writer(&mut self.pending, line).is_ok() {
            self.pending.push(b'\n');
        }
        if self.pending.len() >= WRITE_BYTES {
            self.write(|_| Ok(()));
        }
    }

    fn write(&mut self, then: impl FnOnce(&mut W) -> std::io::Result<()>) {
        let written = self.out.write_all(&self.pending).and_then(|()| then(&mut self.out));
        self.pending.clear();
        if let Err(error) = written
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::warn!(target: "output", "jsonl: {error}; lines are lost from here on");
        }
    }
}

impl<W: Write + Send> Output for JsonLines<W> {
    fn flush(&mut self, flush: &FlushView<'_>) {
        flush.visit(&mut |row| self.row(row));
        flush.events().iter().for_each(|event| self.line(&event_line(event)));
        flush.checks().iter().for_each(|check| self.line(&check_line(check)));
        self.finish();
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Series {
        metric: String,
        r#type: &'static str,
        interval: u64,
        points: Vec<(i64, f64)>,
        tags: Vec<Cow<'a, str>>,
        host: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'a str>,
    },
    Sketch {
        metric: Cow<'a, str>,
        timestamp: i64,
        count: u64,
        min: f64,
        max: f64,
        avg: f64,
        sum: f64,
        k: Vec<i16>,
        n: Vec<u32>,
        tags: Vec<Cow<'a, str>>,
        host: Cow<'a, str>,
    },
    Event {
        title: Cow<'a, str>,
        text: Cow<'a, str>,
        timestamp: i64,
        priority: &'static str,
        alert_type: &'static str,
        host: Cow<'a, str>,
        aggregation_key: Cow<'a, str>,
        source_type_name: Cow<'a, str>,
        tags: Vec<Cow<'a, str>>,
    },
    Check {
        name: Cow<'a, str>,
        status: u8,
        timestamp: i64,
        host: Cow<'a, str>,
        message: Cow<'a, str>,
        tags: Vec<Cow<'a, str>>,
    },
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn lines_of<'a>(row: &'a Row<'a>) -> impl Iterator<Item = Line<'a>> {
    let tags = || row.tags.iter().map(text).collect::<Vec<_>>();
    let series = row.series.iter().map(move |series| Line::Series {
        metric: text(series.name).into_owned() + series.suffix,
        r#type: match series.kind {
            SeriesKind::Count => "count",
            SeriesKind::Rate => "rate",
            SeriesKind::Gauge => "gauge",
        },
        interval: series.interval,
        points: series.points.iter().map(|point| (point.timestamp, point.value)).collect(),
        tags: tags(),
        host: text(series.host),
        unit: series.unit,
    });
    let sketch = row.sketch.iter().map(move |series| Line::Sketch {
        metric: text(series.name),
        timestamp: series.timestamp,
        count: series.sketch.count(),
        min: series.sketch.min(),
        max: series.sketch.max(),
        avg: series.sketch.avg(),
        sum: series.sketch.sum(),
        k: series.sketch.bins().map(|(key, _)| key).collect(),
        n: series.sketch.bins().map(|(_, count)| count).collect(),
        tags: tags(),
        host: text(series.host),
    });
    series.chain(sketch)
}

fn texts(tags: &[Box<[u8]>]) -> Vec<Cow<'_, str>> {
    tags.iter().map(|tag| text(tag)).collect()
}

fn event_line(event: &EventRecord) -> Line<'_> {
    Line::Event {
        title: text(&event.title),
        text: text(&event.text),
        timestamp: event.timestamp,
        priority: event.priority.word(),
        alert_type: event.alert_type.word(),
        host: text(&event.host),
        aggregation_key: text(&event.aggregation_key),
        source_type_name: text(&event.source_type),
        tags: texts(&event.tags),
    }
}

fn check_line(check: &CheckRecord) -> Line<'_> {
    Line::Check {
        name: text(&check.name),
        status: check.status as u8,
        timestamp: check.timestamp,
        host: text(&check.host),
        message: text(&check.message),
        tags: texts(&check.tags),
    }
}
