//! Drives real shards and a real flusher, and prints what they post: one text line per point,
//! sketch, event and check.

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use whippet::aggregate::{self, Bucket, CheckRecord, EventRecord, Shard};
use whippet::context::{ContextLimits, Rules};
use whippet::flush::{self, Closed, Flush, Flusher, HistogramSettings, Row, SeriesKind};
use whippet::protocol;

/// Settings of all rooms on the way.
#[derive(Clone)]
pub struct Settings {
    pub shard: aggregate::ShardSettings,
    pub rules: Arc<Rules>,
    pub histograms: HistogramSettings,
    pub newline_required: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let default_host = Box::from(&b"host"[..]);
        let rules = Rules { default_host, limits: ContextLimits::default(), ..Rules::default() };
        Settings {
            shard: aggregate::ShardSettings::default(),
            rules: Arc::new(rules),
            histograms: HistogramSettings::default(),
            newline_required: false,
        }
    }
}

/// Seconds of a bucket.
pub const INTERVAL: u64 = 10;

/// Shards and the flusher they feed.
pub struct House {
    settings: Settings,
    shards: Vec<Shard>,
    flusher: Flusher,
}

impl House {
    pub fn new(settings: Settings, lanes: usize, now: u64) -> Self {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let now = Duration::from_secs(now);
        let (shard, rules) = (&settings.shard, &settings.rules);
        let shards = (0..lanes)
            .map(|_| Shard::new(shard.clone(), Arc::clone(rules), state.clone(), now))
            .collect();
        let flush = flush::FlushSettings {
            interval: INTERVAL,
            counter_expiry: Duration::from_secs(300),
            set_members_max: shard.set_members_max,
            histograms: settings.histograms.clone(),
        };
        let flusher = Flusher::new(flush, Arc::clone(rules), lanes, state);
        House { settings, shards, flusher }
    }

    /// One datagram arrives; it is counted as the daemon counts it.
    pub fn datagram(&mut self, lane: usize, now: Duration, bytes: &[u8]) {
        let shard = &mut self.shards[lane];
        shard.begin_batch(now);
        for line in protocol::lines(bytes) {
            shard.counts().received += 1;
            if self.settings.newline_required && !line.terminated {
                shard.counts().unterminated += 1;
            } else {
                shard.line(line.bytes, b"");
            }
        }
    }

    /// The lanes pass to `now` in that order; what that completes is printed, sorted.
    pub fn pass(&mut self, now: u64, order: &[usize]) -> Vec<String> {
        self.close(now, order);
        let mut posted = Vec::new();
        while let Some(flush) = self.flusher.complete() {
            posted.extend(self.print(&flush));
            self.flusher.recycle(flush).for_each(drop);
        }
        posted.sort();
        posted
    }

    /// All lanes pass to `now`; `look` sees each flush that completes.
    pub fn flush(&mut self, now: u64, look: &mut dyn FnMut(&Flusher, &Flush)) {
        let order: Vec<usize> = (0..self.shards.len()).collect();
        self.close(now, &order);
        while let Some(flush) = self.flusher.complete() {
            look(&self.flusher, &flush);
            self.flusher.recycle(flush).for_each(drop);
        }
    }

    fn close(&mut self, now: u64, order: &[usize]) {
        for lane in order {
            let time = Duration::from_secs(now);
            let shard = &mut self.shards[*lane];
            if time < shard.bucket_end() {
                continue;
            }
            let bucket = shard.close(time, Bucket::default());
            let passed = shard.bucket_end().as_secs() - INTERVAL;
            self.flusher.take(Closed { lane: *lane, bucket, passed });
        }
    }

    fn print(&self, flush: &Flush) -> Vec<String> {
        let mut posted = Vec::new();
        self.flusher.view(flush).visit(&mut |row| posted.extend(row_lines(row)));
        posted.extend(flush.events().iter().map(event));
        posted.extend(flush.checks().iter().map(check));
        let counts = &flush.counts;
        let sum = counts.recorded() + counts.refused_total() + counts.dropped_total();
        assert_eq!(counts.received, sum, "the counts do not balance: {counts:?}");
        let changed = [("repaired", counts.texts_repaired), ("left-out", counts.tags_left_out)];
        let changed = changed.into_iter().filter(|(_, count)| *count > 0);
        posted.extend(
            counts.reasons().chain(changed).map(|(reason, count)| format!("{reason}={count}")),
        );
        posted
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tail(tags: impl Iterator<Item = String>, host: &[u8]) -> String {
    let mut tags: Vec<String> = tags.collect();
    tags.sort();
    let mut tail = if tags.is_empty() { String::new() } else { format!(" #{}", tags.join(",")) };
    if host != b"host" {
        tail.push_str(&format!(" @{}", text(host)));
    }
    tail
}

fn row_lines(row: &Row<'_>) -> Vec<String> {
    let tail = tail(row.tags.iter().map(text), row.host);
    let series = row.series.iter().flat_map(|series| {
        let kind = match series.kind {
            SeriesKind::Rate => "rate",
            SeriesKind::Gauge => "gauge",
            SeriesKind::Count => "count",
        };
        let name = text(series.name) + series.suffix;
        let unit = series.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let tail = &tail;
        let line = move |point: &flush::Point| {
            format!("{name} {kind} {}{unit}{tail} at {}", point.value, point.timestamp)
        };
        series.points.iter().map(line)
    });
    let sketch = row.sketch.iter().map(|series| {
        let sketch = series.sketch;
        let bins: Vec<String> = sketch.bins().map(|(key, n)| format!("{key}:{n}")).collect();
        format!(
            "{} sketch n={} min={} max={} sum={} [{}]{tail} at {}",
            text(series.name),
            sketch.count(),
            sketch.min(),
            sketch.max(),
            sketch.sum(),
            bins.join(" "),
            series.timestamp
        )
    });
    series.chain(sketch).collect()
}

fn event(event: &EventRecord) -> String {
    let mut line = format!(
        "event [{}] [{}] {} {}",
        text(&event.title),
        text(&event.text),
        event.priority.word(),
        event.alert_type.word()
    );
    for (label, value) in [("key", &event.aggregation_key), ("source", &event.source_type)] {
        if !value.is_empty() {
            line.push_str(&format!(" {label}={}", text(value)));
        }
    }
    let tags = event.tags.iter().map(|tag| text(tag));
    format!("{line}{} at {}", tail(tags, &event.host), event.timestamp)
}

fn check(check: &CheckRecord) -> String {
    let tags = check.tags.iter().map(|tag| text(tag));
    let tail = tail(tags, &check.host);
    let (name, status) = (text(&check.name), check.status as u8);
    format!("check {name} {status} [{}]{tail} at {}", text(&check.message), check.timestamp)
}
