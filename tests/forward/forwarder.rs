//! A forwarder at work, payloads for it, and its accounting.

use crate::support::decode::{MetricPayload, MetricPoint, MetricSeries, Resource};
use crate::support::log;
use bytes::Bytes;
use prost::Message;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Payload, Route};
use whippet::forward::{
    DropReason, Endpoint, ForwardAccounting, Forwarder, ForwarderConfig, RetryPolicy, RouteCounts,
};

pub const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub fn packed(route: Route, encoding: ContentEncoding, plain: &[u8], items: usize) -> Payload {
    let zlib = flate2::Compression::fast();
    let body = match encoding {
        ContentEncoding::Identity => plain.to_vec(),
        ContentEncoding::Zstd => zstd::encode_all(plain, 1).expect("in memory"),
        ContentEncoding::Deflate => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), zlib);
            writer.write_all(plain).expect("in memory");
            writer.finish().expect("in memory")
        }
        ContentEncoding::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), zlib);
            writer.write_all(plain).expect("in memory");
            writer.finish().expect("in memory")
        }
    };
    Payload {
        route,
        body: Bytes::from(body),
        encoding,
        items,
        points: items,
        uncompressed_bytes: plain.len(),
        built_at: unix_now(),
    }
}

/// One rate of 1/s over 10 s per name.
pub fn counters(names: &[String]) -> Payload {
    let series = names
        .iter()
        .map(|name| MetricSeries {
            resources: vec![Resource { kind: "host".to_owned(), name: "web-1".to_owned() }],
            metric: name.clone(),
            tags: vec!["env:prod".to_owned(), "a:b".to_owned()],
            points: vec![MetricPoint { value: 1.0, timestamp: 1_700_000_000 }],
            kind: 2,
            interval: 10,
            ..MetricSeries::default()
        })
        .collect();
    let plain = MetricPayload { series }.encode_to_vec();
    packed(Route::SeriesV2, ContentEncoding::Zstd, &plain, names.len())
}

pub fn counter(name: &str) -> Payload {
    counters(&[name.to_owned()])
}

/// Halves a payload of [`counters`]; like those of the encoders, both are as old as the whole.
pub fn halve(payload: &Payload) -> Result<Option<(Payload, Payload)>, Box<dyn std::error::Error>> {
    let plain = zstd::decode_all(&payload.body[..])?;
    let names: Vec<String> =
        MetricPayload::decode(&plain[..])?.series.into_iter().map(|series| series.metric).collect();
    if names.len() < 2 {
        return Ok(None);
    }
    let (first, second) = names.split_at(names.len() / 2);
    let aged = |names| Payload { built_at: payload.built_at, ..counters(names) };
    Ok(Some((aged(first), aged(second))))
}

/// Backoff of 20 to 80 ms, no chance, no key checks.
pub fn quick() -> ForwarderConfig {
    log::start();
    let mut config = ForwarderConfig::new(Arc::new(halve));
    config.retry = RetryPolicy {
        base: Duration::from_millis(10),
        max: Duration::from_millis(80),
        ..RetryPolicy::default()
    };
    config.jitter = Arc::new(|| 0.0);
    config.validation_interval = None;
    config
}

/// Once failed, a route stays blocked for as long as a test lasts.
pub fn slow_to_forgive() -> ForwarderConfig {
    let mut config = quick();
    config.retry = RetryPolicy {
        base: Duration::from_secs(600),
        max: Duration::from_secs(600),
        ..RetryPolicy::default()
    };
    config
}

pub fn start(urls: &[String], config: ForwarderConfig) -> Forwarder {
    start_with(urls, config, Clock::wall())
}

pub fn start_with(urls: &[String], config: ForwarderConfig, clock: Clock) -> Forwarder {
    let endpoints = urls.iter().map(|url| Endpoint::at(url, KEY).expect("a URL")).collect();
    Forwarder::start(endpoints, config, clock).expect("valid settings")
}

pub fn submit(forwarder: &Forwarder, payload: &Payload) {
    forwarder.submit(payload, Instant::now() + Duration::from_secs(5));
}

pub fn shutdown_now(forwarder: &Forwarder) {
    forwarder.shutdown(Instant::now() + Duration::from_secs(2));
}

/// Waits for a state of the accounting, which must balance all the time.
#[track_caller]
pub fn wait_accounting(
    forwarder: &Forwarder,
    condition: impl Fn(&ForwardAccounting) -> bool,
) -> ForwardAccounting {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let accounting = forwarder.accounting();
        assert!(accounting.balances(), "{accounting:?}");
        if condition(&accounting) {
            return accounting;
        }
        assert!(Instant::now() < until, "not within 5 s: {accounting}; {accounting:?}");
        std::thread::yield_now();
    }
}

pub fn waiting(accounting: &ForwardAccounting) -> u64 {
    accounting.total(|route| route.waiting).payloads
}

pub fn delivered(accounting: &ForwardAccounting) -> u64 {
    accounting.total(|route| route.delivered).payloads
}

pub fn dropped(accounting: &ForwardAccounting, reason: DropReason) -> u64 {
    accounting.total(|route| route.dropped_for(reason)).payloads
}

pub fn series_counts(accounting: &ForwardAccounting) -> &RouteCounts {
    accounting.endpoints[0].route(Route::SeriesV2)
}
