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
    bound.increment(1); // also when no bench above was selected
    // The exporter did count: it sends within its flush interval.
    agent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 65_536];
    let mut heard = String::new();
    while !heard.contains("req:") {
        let bytes = agent.recv(&mut buffer).expect("the exporter sends what it counted");
        heard.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
    }
}

/// Two threads on two handles against one thread on one: the ratio of additions per second. Each
/// thread's speed is taken against its own time on a processor, so that other programs on the machine
/// change nothing; lines of memory that the threads fought over would.
fn threads(_: &mut Criterion) {
    let (stats, memory) = client(true);
    let added = AtomicU64::new(0);
    let speed = |threads: usize| -> f64 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let worker = |name: &'static str| {
                let (counter, stop, added) = (stats.counter("req", &[name]), &stop, &added);
                scope.spawn(move || {
                    let (mut own, began) = (0, on_processor());
                    while !stop.load(Ordering::Relaxed) {
                        (0..1000).for_each(|_| black_box(&counter).add(1));
                        own += 1000;
                    }
                    added.fetch_add(own, Ordering::Relaxed);
                    own as f64 / (on_processor() - began).as_secs_f64()
                })
            };
            let workers: Vec<_> = ["a", "b"].into_iter().take(threads).map(worker).collect();
            std::thread::sleep(Duration::from_millis(500));
            stop.store(true, Ordering::Relaxed);
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        })
    };
    let mut ratios: Vec<f64> = (0..9)
        .map(|_| {
            let one = speed(1);
            speed(2) / one
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("counter/two threads on two handles: {:.2} x one thread (median of 9)", ratios[4]);
    assert_eq!(counted(&stats, &memory), added.load(Ordering::Relaxed), "additions were lost");
}

/// This thread's time on a processor, where the kernel reports it; else the time of day.
fn on_processor() -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/thread-self/schedstat") else {
        return Clock::wall().unix();
    };
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn emits(criterion: &mut Criterion) {
    let hub = Hub::default();
    criterion.bench_function("hub/emit, no subscriber", |bencher| {
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
