//! A service with several threads, one client, bound handles and an alarm on losses.
//!
//! ```text
//! cargo run --example embed -- 127.0.0.1:8125
//! ```
//!
//! sends what was aggregated to a DogStatsD server there, once per second.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use whippet::ThreadStats;
use whippet::telemetry::{Event, EventKind, Hub};
use whippet::threadstats::{EventOpts, LineReporter, StartOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8125".to_owned());
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    let reporter = LineReporter::new(1432, move |datagram| socket.send(datagram).map(|_| ()));

    let hub = Hub::default();
    let lost = Arc::new(AtomicUsize::new(0));
    let alarm = Arc::clone(&lost);
    hub.subscribe(EventKind::PayloadDropped, Some("alarm"), move |event| {
        if let Event::PayloadDropped { reason, items, .. } = event {
            alarm.fetch_add(*items, Ordering::Relaxed);
            eprintln!("lost {items}: {reason}");
        }
    })
    .detach();

    let stats =
        ThreadStats::builder().constant_tags(["service:embed"]).reporter(reporter).hub(hub).build();
    let options = StartOptions { flush_interval: 1.0, ..StartOptions::default() };
    stats.start(&options.roll_up(1))?;
    stats.event("started", "the example began", &EventOpts::default());

    std::thread::scope(|scope| {
        for worker in 0..4 {
            let stats = stats.clone();
            scope.spawn(move || work(&stats, worker));
        }
    });
    drop(stats); // the last clone flushes what is left
    println!("lost: {}", lost.load(Ordering::Relaxed));
    Ok(())
}

/// Binds its handles once, outside the loop.
fn work(stats: &ThreadStats, worker: u32) {
    let tag = format!("worker:{worker}");
    let iterations = stats.counter("iterations", &[&tag]);
    let sizes = stats.bound_histogram("sizes", &[&tag]);
    for round in 0..200_u32 {
        (0..1000).for_each(|_| iterations.add(1));
        sizes.record(round * 7 % 50);
        std::thread::sleep(Duration::from_millis(10));
    }
}
