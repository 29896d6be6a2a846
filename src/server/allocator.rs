//! What the allocator of the C library does with long lists.
#![allow(unsafe_code)]

/// Lists of so many bytes and more are mapped alone and go back to the system when they are freed; of what
/// shorter ones leave free at the end of a heap, so much is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LONG_BYTES: libc::c_int = 1 << 20;

/// A bucket of a million cells comes and goes with every interval. glibc maps such lists alone too, but only
/// until the first of them is freed: then it keeps twice as much for the next, and that is up to 64 MiB.
pub(super) fn give_back_long_lists() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both calls set a number inside the allocator, which any thread may do at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LONG_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LONG_BYTES);
    }
}
