//! One instruction: ask for a cache line before it is needed.
#![allow(unsafe_code)]

/// Starts loading the cache line of `item`; a hint without effect on results.
#[inline]
pub fn read<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of every x86-64 processor, and a prefetch reads nothing the program can
    // observe and faults on no address; this one is that of a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(std::ptr::from_ref(item));
}
