//! The library's data streams posted to the real program: the door makes of them what the library makes of
//! them by itself.

use crate::doors::client::{address, opened};
use crate::doors::post::{arrived, closing_soon};
use crate::support::intake::Intake;
use crate::support::program::{Setup, eventually};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use whippet::aggregate::Value;
use whippet::clock::Clock;
use whippet::datastreams::{DataStreams, Metric, MetricSink, MetricsOutput, Options};

/// Seconds between the end of a bucket and its posting.
const GRACE: i64 = 30;
/// A bucket is closed within 20 s.
const CLOSED: Duration = Duration::from_secs(40);

/// Series as `arrived` writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl MetricSink for Lines {
    fn put(&self, metric: &Metric<'_>) {
        let Metric { name, second, .. } = metric;
        let mut tags = metric.tags.to_vec();
        tags.sort_unstable();
        let tags = tags.join(" ");
        let line = match metric.value {
            Value::Count(count) => {
                format!("{name} rate/10 [({second}, {})] {tags} web-1", count / 10.0)
            }
            Value::Sketch(sketch) => {
                let bins: Vec<(i32, u32)> =
                    sketch.bins().map(|(key, count)| (i32::from(key), count)).collect();
                format!("{name} [({second}, {}, {bins:?})] {tags} web-1", sketch.count())
            }
            Value::Gauge(value) | Value::Highest(value) => {
                format!("{name} gauge [({second}, {value})] {tags} web-1")
            }
            Value::Samples(_) => panic!("sizes and latencies are sketches"),
        };
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn the_door_gives_the_series_that_the_library_gives() {
    let intake = Intake::start();
    let program = opened(Setup::posting_to(&intake)).start();
    let local = Lines::default();
    let start = closing_soon(GRACE);
    let seconds = |more: u64| Duration::from_secs(start.unsigned_abs() + more);
    let clock = Clock::manual(seconds(1));
    let streams = DataStreams::builder("shop")
        .env("prod")
        .clock(clock.clone())
        .agent(&format!("http://{}", address(&program)))
        .output(MetricsOutput::new(local.clone()))
        .build()
        .unwrap();

    let options = Options { payload_size: 100, ..Options::default() };
    let mut headers = HashMap::<String, String>::new();
    for _ in 0..3 {
        streams.produce("kafka", "orders", &mut headers, None, &options);
    }
    clock.set(seconds(3));
    for _ in 0..2 {
        let consumed = streams.consume("kafka", "orders", &headers, &options);
        clock.advance(Duration::from_millis(250));
        let mut next = HashMap::<String, String>::new();
        streams.produce("kafka", "invoices", &mut next, consumed.as_ref(), &options);
    }
    streams.track_produce("orders", 1, 42, Some("c1"));
    streams.track_commit("billing", "orders", 1, 40, Some("c1"));
    streams.track_high_watermark("orders", 1, 44, Some("c1"));
    streams.flush();
    // The bucket is over.
    clock.set(seconds(11));
    streams.flush();
    assert_eq!(streams.losses(), Default::default());

    eventually(CLOSED, "the lag, and all sketches", || {
        intake.read(|state| {
            !state.series("data_streams.kafka.lag_seconds", &[]).is_empty()
                && state.sketches.iter().map(|sketch| sketch.dogsketches.len()).sum::<usize>() == 7
        })
    });
    let mut expected = std::mem::take(&mut *local.0.lock().unwrap());
    expected.sort();
    assert_eq!(expected.len(), 3 + 7 + 2 + 2);
    assert_eq!(
        intake.read(|state| arrived(state, |name| name.starts_with("data_streams"))),
        expected
    );
    program.terminate();
}
