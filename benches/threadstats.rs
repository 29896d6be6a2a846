//! One counter addition: by name, through a bound handle, and through the `metrics` crate with
//! `metrics-exporter-dogstatsd` on the same work. Every bench checks that nothing got lost.
//!
//! `cargo bench --bench threadstats`

use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use whippet::ThreadStats;
use whippet::clock::Clock;
use whippet::telemetry::{Event, EventKind, Hub};
use whippet::threadstats::{Counter, MemoryReporter, PointValue, StartOptions};

const TAGS: [&str; 3] = ["route:/x", "method:get", "status:200"];

/// A client and where its reports go. `published`: a background thread publishes the interval;
/// otherwise every call reads the clock.
fn client(published: bool) -> (ThreadStats, MemoryReporter) {
    let memory = MemoryReporter::default();
    let builder = ThreadStats::builder().env(|_| None).reporter(memory.clone());
    let builder = if published { builder } else { builder.clock(Clock::wall()) };
    let stats = builder.build();
    let options = StartOptions { flush_interval: 3600.0, ..StartOptions::default() };
    stats.start(&options).unwrap();
    (stats, memory)
}

/// The sum of all rates times their interval.
fn counted(stats: &ThreadStats, memory: &MemoryReporter) -> u64 {
    stats.flush(Some(f64::INFINITY)).unwrap();
    let total: f64 = memory
        .take()
        .metrics
        .iter()
        .map(|series| match series.value {
            PointValue::Number(rate) => rate.as_f64() * series.interval.as_f64(),
            PointValue::List(_) => 0.0,
        })
        .sum();
    total.round() as u64
}

/// Times additions and checks their sum afterwards.
fn addition(
    criterion: &mut Criterion,
    name: &str,
    published: bool,
    add: impl Fn(&ThreadStats, &Counter),
) {
    let (stats, memory) = client(published);
    let counter = stats.counter("req", &TAGS);
    let mut added = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            added += iterations;
            let began = Instant::now();
            for _ in 0..iterations {
                add(black_box(&stats), black_box(&counter));
            }
            began.elapsed()
        });
    });
    assert_eq!(counted(&stats, &memory), added, "{name} lost additions");
}

fn additions(criterion: &mut Criterion) {
    addition(criterion, "counter/bound, published interval", true, |_, counter| counter.add(1));
    addition(criterion, "counter/bound, reading the clock", false, |_, counter| counter.add(1));
    addition(criterion, "counter/by name, 3 tags", true, |stats, _| {
        stats.increment("req", 1, &TAGS);
    });
}

fn exporter(criterion: &mut Criterion) {
    let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
    metrics_exporter_dogstatsd::DogStatsDBuilder::default()
        .with_remote_address(agent.local_addr().unwrap().to_string())
        .unwrap()
        .install()
        .unwrap();
    criterion.bench_function("counter/metrics + exporter, by name, 3 tags", |bencher| {
        bencher.iter(|| {
            metrics::counter!("req", "route" => "/x", "method" => "get", "status" => "200")
                .increment(black_box(1));
        });
    });
    let bound = metrics::counter!("req", "route" => "/x", "method" => "get", "status" => "200");
    criterion.bench_function("counter/metrics + exporter, bound", |bencher| {
        bencher.iter(|| black_box(&bound).increment(black_box(1)));
    });
    // The exporter did count: it sends within its flush interval.
    agent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 65_536];
    let mut heard = String::new();
    while !heard.contains("req:") {
        let bytes = agent.recv(&mut buffer).expect("the exporter sends what it counted");
        heard.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
    }
}

/// Two threads on two handles against one thread on one: the ratio of additions per second.
fn threads(criterion: &mut Criterion) {
    let (stats, memory) = client(true);
    let added = AtomicU64::new(0);
    let run = |threads: usize| {
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let before = added.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let counter = stats.counter("req", &[if thread == 0 { "a" } else { "b" }]);
                let (stop, added) = (&stop, &added);
                scope.spawn(move || {
                    let mut own = 0;
                    while !stop.load(Ordering::Relaxed) {
                        (0..1000).for_each(|_| black_box(&counter).add(1));
                        own += 1000;
                    }
                    added.fetch_add(own, Ordering::Relaxed);
                });
            }
            std::thread::sleep(Duration::from_millis(500));
            stop.store(true, Ordering::Relaxed);
        });
        (added.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..5)
        .map(|_| {
            let one = run(1);
            run(2) / one
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("counter/two threads on two handles: {:.2} x one thread (median of 5)", ratios[2]);
    assert_eq!(counted(&stats, &memory), added.load(Ordering::Relaxed), "additions were lost");
    let _ = criterion;
}

fn emits(criterion: &mut Criterion) {
    let hub = Hub::default();
    criterion.bench_function("hub/emit, nobody listens", |bencher| {
        bencher.iter(|| {
            black_box(&hub).emit(EventKind::PacketTruncated, || Event::PacketTruncated {
                transport: whippet::telemetry::Transport::Udp,
                buffer_bytes: black_box(8192),
            });
        });
    });
    let _listener = hub.subscribe(EventKind::PacketTruncated, None, |event| {
        black_box(event);
    });
    criterion.bench_function("hub/emit, one listener", |bencher| {
        bencher.iter(|| {
            black_box(&hub).emit(EventKind::PacketTruncated, || Event::PacketTruncated {
                transport: whippet::telemetry::Transport::Udp,
                buffer_bytes: black_box(8192),
            });
        });
    });
}

criterion_group!(benches, additions, exporter, threads, emits);
criterion_main!(benches);
