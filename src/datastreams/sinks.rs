//! Where metrics of data streams go: ThreadStats, DogStatsD lines, or the engine in this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::metrics::{Metric, MetricSink};
use crate::aggregate::{Misplaced, Placed, TimedPart, TimedShard, Value};
use crate::clock::Clock;
use crate::sketch::{Sketch, value_of};
use crate::tag_list::TagList;
use crate::threadstats::{Opts, ThreadStats};

/// Every value of a distribution is one value here, so a busy edge fills the
/// [`ClientLimits`](crate::threadstats::ClientLimits) sooner than its messages cost to measure.
impl MetricSink for ThreadStats {
    fn put(&self, metric: &Metric<'_>) {
        let options = Opts::tags(metric.tags).at(metric.second as i64);
        match metric.value {
            Value::Count(count) => self.increment(metric.name, count, options),
            Value::Gauge(value) | Value::Highest(value) => self.gauge(metric.name, value, options),
            Value::Samples(values) => {
                values.iter().for_each(|value| self.distribution(metric.name, *value, options));
            }
            Value::Sketch(sketch) => {
                for (key, count) in sketch.bins() {
                    for _ in 0..count {
                        self.distribution(metric.name, value_of(key), options);
                    }
                }
            }
        }
    }
}

/// DogStatsD lines without a line feed, one a call: for a socket, or a server in this process.
///
/// Values of a distribution are those of its bins, with the sample rate that stands for their number, so the
/// receiver has the same bins. Counts and gauges carry the time of their bucket; the protocol knows none for
/// distributions.
///
/// ```
/// use std::net::UdpSocket;
/// use whippet::datastreams::{LineMetrics, MetricsOutput};
///
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// socket.connect("127.0.0.1:8125")?;
/// let output = MetricsOutput::new(LineMetrics::new(move |line: &[u8]| drop(socket.send(line))));
/// # drop(output);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LineMetrics<F>(F);

/// Values in one line, so that it fits a datagram.
const VALUES_MAX: usize = 40;

impl<F: Fn(&[u8]) + Send + Sync> LineMetrics<F> {
    /// A sink that calls `send` with each line.
    pub fn new(send: F) -> Self {
        LineMetrics(send)
    }

    fn send(&self, name: &str, values: &str, kind: &str, metric: &Metric<'_>, time: &str) {
        // What the grammar reserves becomes `_`.
        let tags = metric.tags.iter().map(|tag| tag.replace(['|', ',', '\n', '\r'], "_"));
        let tags = tags.collect::<Vec<_>>().join(",");
        let head = if tags.is_empty() { "" } else { "|#" };
        (self.0)(format!("{name}:{values}|{kind}{head}{tags}{time}").as_bytes());
    }

    fn distribution(&self, metric: &Metric<'_>, sketch: &Sketch) {
        let mut by_count = BTreeMap::<u32, Vec<f64>>::new();
        for (key, count) in sketch.bins().filter(|(_, count)| *count > 0) {
            by_count.entry(count).or_default().push(value_of(key));
        }
        for (count, values) in by_count {
            let kind = if count == 1 { "d".to_owned() } else { format!("d|@{}", rate_of(count)) };
            for values in values.chunks(VALUES_MAX) {
                let values = values.iter().map(f64::to_string).collect::<Vec<_>>().join(":");
                self.send(metric.name, &values, &kind, metric, "");
            }
        }
    }
}

/// The sample rate that stands for `count` values with receivers that cut the fraction of its inverse.
fn rate_of(count: u32) -> f64 {
    let rate = 1.0 / f64::from(count);
    if ((1.0 / rate) as u32) < count { rate.next_down() } else { rate }
}

impl<F> std::fmt::Debug for LineMetrics<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LineMetrics")
    }
}

impl<F: Fn(&[u8]) + Send + Sync> MetricSink for LineMetrics<F> {
    fn put(&self, metric: &Metric<'_>) {
        let time = format!("|T{}", metric.second);
        match metric.value {
            Value::Count(count) => {
                self.send(metric.name, &count.to_string(), "c", metric, &time);
            }
            Value::Gauge(value) | Value::Highest(value) => {
                self.send(metric.name, &value.to_string(), "g", metric, &time);
            }
            Value::Sketch(sketch) => self.distribution(metric, sketch),
            Value::Samples(values) => {
                let mut sketch = Sketch::default();
                values.iter().for_each(|value| {
                    sketch.insert(*value, 1.0);
                });
                self.distribution(metric, &sketch);
            }
        }
    }
}

/// The engine in this process: buckets by second, as for what comes through doors. Nothing is lost on the way:
/// bins, sums and seconds stay what they are.
#[derive(Clone, Debug)]
pub struct EngineSink {
    shard: Arc<Mutex<TimedShard>>,
    clock: Clock,
    dropped: Arc<AtomicU64>,
}

impl EngineSink {
    /// A sink into `shard`, whose owner closes its buckets.
    #[must_use]
    pub fn new(shard: Arc<Mutex<TimedShard>>, clock: Clock) -> Self {
        EngineSink { shard, clock, dropped: Arc::default() }
    }

    /// Values that limits or filters of the engine refused.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl MetricSink for EngineSink {
    fn put(&self, metric: &Metric<'_>) {
        let mut list = TagList::default();
        metric.tags.iter().for_each(|tag| list.push(tag.as_bytes()));
        let (tags, tag_ends) = list.raw();
        let part = TimedPart {
            name: metric.name.as_bytes(),
            tags,
            tag_ends,
            host: b"",
            origin: b"",
            second: i64::try_from(metric.second).unwrap_or(i64::MAX),
            value: metric.value,
        };
        let mut shard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
        match shard.put(&part, self.clock.unix(), Misplaced::Shift) {
            Placed::InTime | Placed::Late => {}
            Placed::Dropped(_) | Placed::TooFarAhead => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_stands_for_the_whole_count() {
        for count in (2..100_000).chain([u32::MAX - 1, u32::MAX]) {
            let text = rate_of(count).to_string();
            let rate: f64 = text.parse().unwrap();
            assert_eq!((1.0 / rate) as u64, u64::from(count), "{text}");
        }
    }
}
