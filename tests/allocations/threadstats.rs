//! Events of the hub and known series of the embeddable client cost no allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use whippet::telemetry::{Event, EventKind, Hub};
use whippet::threadstats::{MemoryReporter, StartOptions, ThreadStats};

use super::allocations_during;

#[track_caller]
fn allocates_nothing(mut work: impl FnMut()) {
    work(); // the first call on a thread may set up its thread-locals
    let million = || (0..1_000_000).for_each(|_| work());
    assert_eq!(allocations_during(million), 0);
}

#[test]
fn an_emit_allocates_nothing_with_and_without_listeners() {
    let hub = Hub::default();
    let emit = || {
        hub.emit(EventKind::PayloadSent, || Event::PayloadSent {
            destination: "here",
            bytes: 1,
            status: 202,
            duration: Duration::ZERO,
            attempt: 1,
        });
    };
    allocates_nothing(emit);
    let heard = Arc::new(AtomicU64::new(0));
    let (first, second) = (Arc::clone(&heard), Arc::clone(&heard));
    let _first = hub.subscribe(EventKind::PayloadSent, Some("first"), move |_| {
        first.fetch_add(1, Ordering::Relaxed);
    });
    let _second = hub.subscribe(EventKind::PayloadSent, None, move |_| {
        second.fetch_add(1, Ordering::Relaxed);
    });
    allocates_nothing(emit);
    assert_eq!(heard.load(Ordering::Relaxed), 2 * 1_000_001);
}

#[test]
fn recording_a_known_series_allocates_nothing_by_name_or_bound() {
    let stats = ThreadStats::builder().env(|_| None).reporter(MemoryReporter::default()).build();
    stats.start(&StartOptions::manual().roll_up(1e9)).unwrap();
    let tags = ["route:/x", "method:get"];
    allocates_nothing(|| stats.increment("by.name", 1, &tags));
    let counter = stats.counter("bound", &tags);
    allocates_nothing(|| counter.add(1));
}
