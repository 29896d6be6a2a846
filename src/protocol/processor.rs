//! Work that is compiled twice: for every processor of its kind, and for those of the last ten years.
//!
//! On x86-64 the second has vectors of 32 bytes and the instructions that count and shift bits (AVX2, BMI,
//! LZCNT, POPCNT), which come together. Both do the same; which one runs is found out at the start.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// What can be compiled twice.
pub(crate) trait Work {
    /// What it returns.
    type Output;

    /// Does it. Mark it `#[inline(always)]`, and what costs time in it: only what becomes part of the
    /// caller is compiled for the caller's processor.
    fn run(self) -> Self::Output;
}

/// Does the work as this processor does it best.
#[inline]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if is_recent() {
        // SAFETY: the processor has all that the function is compiled for.
        return unsafe { run_recent(work) };
    }
    work.run()
}

/// Whether [`run_recent`] may be called. Asked twice for every datagram, so the answer is one flag and not
/// the five that the standard library keeps.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn is_recent() -> bool {
    static IS_RECENT: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    });
    *IS_RECENT
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
#[inline(never)]
fn run_recent<W: Work>(work: W) -> W::Output {
    work.run()
}
