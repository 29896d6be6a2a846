//! Where nothing may be allocated, nothing is: a counting allocator. A program of its own, because
//! an allocator is a program's.

mod memory;
mod protocol;
mod threadstats;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations of this thread; the test harness has threads of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes this thread allocated and did not free, as the allocator rounds them.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that ends may free after its locals are gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// Steps of 16 bytes, 8 of them the allocator's own (glibc on 64 bits).
fn rounded(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

fn live(change: isize) {
    let _ = LIVE.try_with(|live| live.set(live.get() + change));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches one plain number
// of the calling thread and allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        live(rounded(layout.size()));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        live(-rounded(layout.size()));
        // SAFETY: the caller keeps the promises of `dealloc`; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        live(rounded(size) - rounded(layout.size()));
        // SAFETY: the caller keeps the promises of `realloc`; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_during(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

/// Bytes of this thread that are alive; memory must be freed where it was allocated.
fn live_bytes() -> usize {
    LIVE.with(Cell::get).max(0) as usize
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_during(|| drop(Box::new([0_u8; 64]))), 1);
}
