//! Where the pages of keys come from: alone while they are few; once they are many, from slabs of 2 MiB, each
//! of which Linux can map as one huge page.
//!
//! A flush reads keys name by name, in another order than they lie in the memory. Then nearly every key is on
//! a page that the processor has to find in the page tables first, and half of the time of reading a million of
//! them was that.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Some two hundred keys: little is left empty at the end, and little has to die before it is given back.
pub(super) const PAGE_BYTES: usize = 16_384;
/// What common allocators keep of themselves before a block; without it pages would not lie end to end.
const PAGE_SPARED: usize = 16;

/// A page, aligned to [`PAGE_BYTES`].
pub(super) const PAGE: Layout = match Layout::from_size_align(PAGE_BYTES - PAGE_SPARED, PAGE_BYTES)
{
    Ok(layout) => layout,
    Err(_) => panic!("a page is aligned to its size"),
};

/// Pages that are allocated alone before slabs begin: 10 MiB, of which processors remember where it lies
/// without huge pages. The last slab is partly empty, which is much where keys are few.
const ALONE_MAX: usize = 640;
/// A huge page of x86-64, and of aarch64 with base pages of 4 KiB.
const SLAB_BYTES: usize = 2 << 20;
const SLAB_PAGES: u32 = (SLAB_BYTES / PAGE_BYTES) as u32;

/// A slab that has at least one page in use.
struct Slab {
    /// Aligned to [`SLAB_BYTES`].
    start: NonNull<u8>,
    /// A bit for each page in use.
    used: u128,
}

const _: () = assert!(SLAB_PAGES == u128::BITS, "a bit for each page");

/// Every page in use.
struct Pages {
    alone: usize,
    alone_max: usize,
    /// In the order of their addresses.
    slabs: Vec<Slab>,
}

// SAFETY: the slabs belong to it alone.
unsafe impl Send for Pages {}

static PAGES: Mutex<Pages> = Mutex::new(Pages::new(ALONE_MAX));

fn pages() -> MutexGuard<'static, Pages> {
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A page for as long as it is wanted; none when there is no memory.
pub(super) fn take() -> Option<NonNull<u8>> {
    pages().take()
}

/// Takes a page back.
///
/// # Safety
/// It came from [`take`] and is used no more.
pub(super) unsafe fn give(page: NonNull<u8>) {
    // SAFETY: as the caller promises.
    unsafe { pages().give(page) };
}

impl Pages {
    const fn new(alone_max: usize) -> Self {
        Pages { alone: 0, alone_max, slabs: Vec::new() }
    }

    fn take(&mut self) -> Option<NonNull<u8>> {
        if self.alone >= self.alone_max
            && let Some(slab) = self.slab_with_room()
        {
            let place = slab.used.trailing_ones();
            slab.used |= 1 << place;
            // SAFETY: the place is one of the slab's: some bit was not set.
            return Some(unsafe { slab.start.add(place as usize * PAGE_BYTES) });
        }
        // SAFETY: the layout is not empty.
        let page = NonNull::new(unsafe { alloc(PAGE) })?;
        self.alone += 1;
        Some(page)
    }

    /// The first by address, so that those at the end become empty; a new one when all are full. None where
    /// the system has none.
    fn slab_with_room(&mut self) -> Option<&mut Slab> {
        let at = match self.slabs.iter().position(|slab| slab.used != u128::MAX) {
            Some(at) => at,
            None => {
                let start = system::map()?;
                let at = self.slabs.partition_point(|slab| slab.start < start);
                self.slabs.insert(at, Slab { start, used: 0 });
                at
            }
        };
        self.slabs.get_mut(at)
    }

    /// # Safety
    /// The page came from [`Pages::take`] and is used no more.
    unsafe fn give(&mut self, page: NonNull<u8>) {
        let start = page.addr().get() & !(SLAB_BYTES - 1);
        let Ok(at) = self.slabs.binary_search_by_key(&start, |slab| slab.start.addr().get()) else {
            self.alone -= 1;
            // SAFETY: as the caller promises; what lies in no slab was allocated alone.
            return unsafe { dealloc(page.as_ptr(), PAGE) };
        };
        let slab = &mut self.slabs[at];
        slab.used &= !(1 << ((page.addr().get() - start) / PAGE_BYTES));
        if slab.used == 0 {
            let slab = self.slabs.remove(at);
            // SAFETY: no page of it is in use.
            unsafe { system::unmap(slab.start) };
        } else {
            // SAFETY: nobody uses the page.
            unsafe { system::empty(page) };
        }
    }
}

/// Slabs of Linux. What fails there leaves them as they are: slower, or larger.
#[cfg(target_os = "linux")]
mod system {
    use super::{NonNull, PAGE_BYTES, SLAB_BYTES};

    /// Memory for a slab, of which nothing is resident yet.
    pub fn map() -> Option<NonNull<u8>> {
        let bytes = 2 * SLAB_BYTES;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping touches no other.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let before = mapped.align_offset(SLAB_BYTES);
        // SAFETY: both ends are parts of the new mapping, multiples of pages, and unused; between them the
        // slab is left whole.
        unsafe {
            let start = mapped.byte_add(before);
            if before > 0 {
                libc::munmap(mapped, before);
            }
            if before < SLAB_BYTES {
                libc::munmap(start.byte_add(SLAB_BYTES), SLAB_BYTES - before);
            }
            libc::madvise(start, SLAB_BYTES, libc::MADV_HUGEPAGE);
            NonNull::new(start.cast())
        }
    }

    /// # Safety
    /// `slab` came from [`map`], and nothing in it is used any more.
    pub unsafe fn unmap(slab: NonNull<u8>) {
        // SAFETY: as the caller promises.
        unsafe { libc::munmap(slab.as_ptr().cast(), SLAB_BYTES) };
    }

    /// # Safety
    /// `page` is part of a slab, and nothing in it is used any more.
    pub unsafe fn empty(page: NonNull<u8>) {
        // SAFETY: as the caller promises; what is read there next is zeros.
        unsafe { libc::madvise(page.as_ptr().cast(), PAGE_BYTES, libc::MADV_DONTNEED) };
    }
}

/// Elsewhere every page is allocated alone.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::NonNull;

    pub fn map() -> Option<NonNull<u8>> {
        None
    }

    pub unsafe fn unmap(_: NonNull<u8>) {}

    pub unsafe fn empty(_: NonNull<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn write(page: NonNull<u8>, byte: u8) {
        // SAFETY: the page is ours and has so many bytes.
        unsafe { page.write_bytes(byte, PAGE.size()) };
    }

    fn reads(page: NonNull<u8>, byte: u8) -> bool {
        // SAFETY: the page was written in full.
        unsafe { std::slice::from_raw_parts(page.as_ptr(), PAGE.size()) }.iter().all(|b| *b == byte)
    }

    #[test]
    fn pages_are_apart_and_whatever_is_given_back_is_used_again() {
        let mut pages = Pages::new(3);
        let count = 3 + 2 * SLAB_PAGES as usize + 1;
        let mut taken: Vec<_> = (0..count).map(|_| pages.take().unwrap()).collect();
        let places: BTreeSet<usize> = taken.iter().map(|page| page.addr().get()).collect();
        assert_eq!(places.len(), count);
        assert!(places.iter().all(|place| place % PAGE_BYTES == 0));
        taken.iter().enumerate().for_each(|(at, page)| write(*page, at as u8));
        assert!(taken.iter().enumerate().all(|(at, page)| reads(*page, at as u8)));
        if cfg!(target_os = "linux") {
            assert_eq!((pages.alone, pages.slabs.len()), (3, 3));
            // SAFETY: ours, and not used again.
            unsafe { pages.give(taken[70]) };
            taken[70] = pages.take().unwrap();
            assert_eq!((pages.alone, pages.slabs.len()), (3, 3));
            write(taken[70], 70);
        }
        assert!(taken.iter().enumerate().all(|(at, page)| reads(*page, at as u8)));
        for page in taken {
            // SAFETY: ours, each once.
            unsafe { pages.give(page) };
        }
        assert_eq!((pages.alone, pages.slabs.len()), (0, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_slab_is_given_back_with_its_last_page() {
        let mut pages = Pages::new(0);
        let taken: Vec<_> = (0..SLAB_PAGES + 1).map(|_| pages.take().unwrap()).collect();
        let slab_of = |page: &NonNull<u8>| page.addr().get() & !(SLAB_BYTES - 1);
        let (first, last): (Vec<_>, Vec<_>) =
            taken.iter().copied().partition(|page| slab_of(page) == slab_of(&taken[0]));
        assert_eq!((first.len(), last.len(), pages.slabs.len()), (SLAB_PAGES as usize, 1, 2));
        for (page, left) in last.into_iter().map(|page| (page, 1)).chain(
            first
                .into_iter()
                .enumerate()
                .map(|(at, page)| (page, usize::from(at + 1 < SLAB_PAGES as usize))),
        ) {
            // SAFETY: ours, each once.
            unsafe { pages.give(page) };
            assert_eq!(pages.slabs.len(), left);
        }
    }
}
