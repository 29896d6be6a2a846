//! Asking the processor for memory that is about to be read.
//!
//! At a million contexts the time of a line is the time of its cache misses. The walk of a
//! datagram therefore first asks for everything its lines will touch, and the misses overlap.

#![allow(unsafe_code)]

/// Begins to load the cache line that holds the start of `value`; changes nothing but time.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    prefetch_address(std::ptr::from_ref(value).cast());
}

/// Begins to load the start of `value` and what follows it, so many cache lines.
#[inline(always)]
pub(crate) fn prefetch_lines<const LINES: usize, T: ?Sized>(value: &T) {
    let address = std::ptr::from_ref(value).cast::<u8>();
    for line in 0..LINES {
        // Only an address: nothing is read through it.
        prefetch_address(address.wrapping_add(line * CACHE_LINE_BYTES));
    }
}

/// On x86-64 and nearly every aarch64.
const CACHE_LINE_BYTES: usize = 64;

#[inline(always)]
fn prefetch_address(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is a hint that reads nothing the program can see and never faults,
    // whatever the address. SSE is part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; `prfm` is in the base instruction set, touches no memory the compiler knows
    // of, no stack and no flags.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
