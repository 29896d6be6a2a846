//! The search of the C library: found once at start for this processor, it costs less to call than
//! any that chooses anew. A name and a line are short, so the call is most of the search.
#![allow(unsafe_code)]

/// Where the first `wanted` stands.
#[inline(always)]
pub fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    // SAFETY: reads `bytes.len()` bytes from the start of a live slice, and nothing else.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), i32::from(wanted), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}
