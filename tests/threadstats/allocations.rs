//! Counts what this thread allocates, for claims of "no allocation".

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use whippet::telemetry::{Event, EventKind, Hub};
use whippet::threadstats::{MemoryReporter, StartOptions, ThreadStats};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every method hands its arguments unchanged to the system's allocator, which keeps the
// trait's promises; the counter beside it is a plain thread-local number that never allocates.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, hence from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[track_caller]
fn allocates_nothing(mut work: impl FnMut()) {
    work(); // the first call on a thread may set up its thread-locals
    let before = ALLOCATIONS.get();
    for _ in 0..1_000_000 {
        work();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
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
