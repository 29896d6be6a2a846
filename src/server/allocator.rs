//! What the allocator of the C library gives back to the system.
#![allow(unsafe_code)]

/// Lists of so many bytes and more are mapped alone and go back to the system when they are freed; of what
/// shorter ones leave free at the end of a heap, so much is kept. A list of cells that grew inside a heap leaves a hole
/// at each step; mapped alone it is moved by the kernel. 100,000 contexts took 37 MiB with 1 MiB here, 33 with this.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LONG_BYTES: libc::c_int = 256 << 10;

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

/// First sights after which tables have grown enough for a look at what they left behind.
const BIRTHS_MIN: usize = 4_096;

/// Decides when the allocator is asked for what it holds and nobody uses.
#[derive(Debug, Default)]
pub(super) struct Trim {
    births: usize,
}

impl Trim {
    /// So many contexts are new.
    pub(super) fn born(&mut self, births: usize) {
        self.births += births;
    }

    /// Gives unused memory back when a good part of the contexts is new: tables that grew left pieces in which
    /// nothing else fits, a tenth of the memory of a million contexts. In between it would only take what the
    /// next bucket needs again.
    pub(super) fn after_flush(&mut self, contexts: usize) {
        if self.is_due(contexts) {
            give_back_unused();
        }
    }

    fn is_due(&mut self, contexts: usize) -> bool {
        let due = self.births >= BIRTHS_MIN.max(contexts / 8);
        self.births = if due { 0 } else { self.births };
        due
    }
}

fn give_back_unused() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it changes nothing that is allocated, and any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_an_eighth_of_the_contexts_is_new() {
        let mut trim = Trim::default();
        let mut due = |births, contexts| {
            trim.born(births);
            trim.is_due(contexts)
        };
        assert!(due(1_000_000, 1_000_000));
        assert!(!due(0, 1_000_000) && !due(100_000, 1_100_000));
        assert!(due(37_500, 1_100_000) && !due(1, 1_100_000));
        assert!(!due(4_000, 4_000) && due(96, 4_096));
    }
}
