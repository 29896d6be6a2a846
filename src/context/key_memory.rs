//! Where key bytes live: shared, behind one word, packed into pages.
//!
//! A million contexts are a million keys of 50 to 100 bytes, in no more than their bytes, a head of 20
//! and what rounding up to four takes: a general allocator adds a word to each and rounds up to
//! sixteen. Keys of one size class fill a page of 16 KiB; a page whose last key is gone is given back.
//! Longer keys are allocated alone.
//!
//! A key is made on first sight and freed when its context expires, by whichever thread lets it go
//! last. Each thread takes its pages from one of a few pools, so that two rarely meet at a lock.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key_pages::{self, PAGE, PAGE_BYTES};

/// What stands before the bytes of a key.
#[repr(C)]
struct Head {
    /// What the owner of the bytes says of them, as bytes, so that a block need not be aligned to eight.
    header: [u8; 8],
    references: AtomicU32,
    length: u32,
    /// A number that is found out later, 0 until then.
    note: AtomicU32,
}

/// Where the bytes begin.
const BYTES_AT: usize = size_of::<Head>();
/// A copy too many for the count of references is a leak of copies.
const REFERENCES_MAX: u32 = 1 << 31;

/// A header and bytes in one block. Cloning shares them.
pub(super) struct SharedBytes(NonNull<Head>);

// SAFETY: header, length and bytes never change after `new`; the rest is atomic. The block is freed by
// whoever lets go of the last reference, and the pools are behind locks.
unsafe impl Send for SharedBytes {}
// SAFETY: as above.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// Copies the parts, one behind the other. `None` when they are longer than four gigabytes.
    pub fn new(header: u64, parts: &[&[u8]]) -> Option<Self> {
        let length = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
        let block = take_block(length);
        let head = Head {
            header: header.to_ne_bytes(),
            references: AtomicU32::new(1),
            length,
            note: AtomicU32::new(0),
        };
        // SAFETY: the block is ours alone, aligned to four, and holds `BYTES_AT + length` bytes.
        unsafe {
            block.cast::<Head>().write(head);
            let mut at = block.add(BYTES_AT);
            for part in parts {
                at.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len());
                at = at.add(part.len());
            }
        }
        Some(SharedBytes(block.cast()))
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: the block lives as long as one reference does.
        unsafe { self.0.as_ref() }
    }

    /// What it was made with.
    #[inline(always)]
    pub fn header(&self) -> u64 {
        u64::from_ne_bytes(self.head().header)
    }

    /// All parts.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        let length = self.head().length as usize;
        // SAFETY: `new` wrote so many bytes there, and nothing writes them again.
        unsafe { NonNull::slice_from_raw_parts(self.0.cast::<u8>().add(BYTES_AT), length).as_ref() }
    }

    /// What [`SharedBytes::set_note`] said last, 0 before.
    pub fn note(&self) -> u32 {
        self.head().note.load(Ordering::Relaxed)
    }

    /// Keeps a number that depends on nothing but what it was made with.
    pub fn set_note(&self, note: u32) {
        self.head().note.store(note, Ordering::Relaxed);
    }

    /// The start of the block, for the caches' sake.
    #[inline(always)]
    pub fn start(&self) -> &[u8; 8] {
        &self.head().header
    }

    /// Bytes of the block.
    pub fn heap_bytes(&self) -> usize {
        layout(self.head().length).size()
    }
}

impl Clone for SharedBytes {
    fn clone(&self) -> Self {
        // The caller holds a reference, so nobody frees the block meanwhile.
        if self.head().references.fetch_add(1, Ordering::Relaxed) >= REFERENCES_MAX {
            std::process::abort();
        }
        SharedBytes(self.0)
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        if self.head().references.fetch_sub(1, Ordering::Release) == 1 {
            // Whatever other threads did with their references has happened.
            fence(Ordering::Acquire);
            let length = self.head().length;
            // SAFETY: this was the last reference, and the block was taken for this length.
            unsafe { give_block(self.0.cast(), length) };
        }
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        self.header() == other.header() && self.bytes() == other.bytes()
    }
}

impl Eq for SharedBytes {}

impl std::fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedBytes").field(&self.header()).field(&self.bytes()).finish()
    }
}

const STEP: usize = align_of::<Head>();
const SLOT_MIN: usize = BYTES_AT;
/// Longer keys would leave too much of a page empty.
const SLOT_MAX: usize = 192;
const CLASSES: usize = (SLOT_MAX - SLOT_MIN) / STEP + 1;
/// More than a machine of common size has lanes.
const POOLS: usize = 16;

/// The start of a page; slots of one size follow.
struct Page {
    /// The neighbours among the pages of its class that have room.
    previous: *mut Page,
    next: *mut Page,
    /// Where the first slot that was given back begins, whose first bytes say where the next does; 0 for
    /// none.
    returned: u16,
    /// Where the slots begin that were never taken.
    fresh: u16,
    live: u16,
    class: u8,
    pool: u8,
}

/// The pages that have room, by class.
struct Pool([*mut Page; CLASSES]);

// SAFETY: the pages of a pool belong to it alone, and it is used behind its lock.
unsafe impl Send for Pool {}

static POOL: [Mutex<Pool>; POOLS] = [const { Mutex::new(Pool([null_mut(); CLASSES])) }; POOLS];

fn pool(index: u8) -> MutexGuard<'static, Pool> {
    POOL[usize::from(index) % POOLS].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pool of this thread.
fn own_pool() -> u8 {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<u8> =
            Cell::new((THREADS.fetch_add(1, Ordering::Relaxed) % POOLS) as u8);
    }
    // A thread that ends may have lost its locals.
    OWN.try_with(Cell::get).unwrap_or(0)
}

/// The block for so many bytes; in steps, so that it is one of the classes or longer.
fn layout(length: u32) -> Layout {
    let bytes = (BYTES_AT + length as usize).next_multiple_of(STEP);
    // Four gigabytes fit an `isize` on 64 bits; elsewhere no key is nearly as long.
    Layout::from_size_align(bytes, STEP).expect("a key shorter than the address space")
}

/// The class of a block, none for one that is allocated alone.
fn class_of(layout: Layout) -> Option<u8> {
    (layout.size() <= SLOT_MAX).then(|| ((layout.size() - SLOT_MIN) / STEP) as u8)
}

fn take_block(length: u32) -> NonNull<u8> {
    let layout = layout(length);
    match class_of(layout) {
        Some(class) => {
            let own = own_pool();
            // SAFETY: `own` names the pool, and the class is one of `CLASSES`.
            unsafe { pool(own).take(class, own) }
        }
        // SAFETY: no layout is empty.
        None => {
            NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
        }
    }
}

/// # Safety
/// The block came from [`take_block`] with this length and is used no more.
unsafe fn give_block(block: NonNull<u8>, length: u32) {
    let layout = layout(length);
    if class_of(layout).is_none() {
        // SAFETY: as the caller promises; blocks of this layout come from `alloc`.
        return unsafe { dealloc(block.as_ptr(), layout) };
    }
    // Pages are aligned to their size, and the pointer was made from that of its page.
    let page: *mut Page = block.as_ptr().map_addr(|address| address & !(PAGE_BYTES - 1)).cast();
    // SAFETY: a page lives while one of its slots is taken, and its pool never changes.
    let mut pool = pool(unsafe { (&raw const (*page).pool).read() });
    // SAFETY: the pool is the one of the page, and the slot was taken.
    unsafe { pool.give(page, block.as_ptr()) };
}

impl Pool {
    /// # Safety
    /// `own` is the number of this pool, `class` below [`CLASSES`].
    unsafe fn take(&mut self, class: u8, own: u8) -> NonNull<u8> {
        let first = self.0[usize::from(class)];
        let page = if first.is_null() { self.open_page(class, own) } else { first };
        // SAFETY: pages in the list are alive, belong to this pool alone and have room: a slot that was
        // given back, or one between `fresh` and the end.
        unsafe {
            let at = if (*page).returned == 0 {
                let at = (*page).fresh;
                (*page).fresh += (*page).slot_bytes() as u16;
                at
            } else {
                let at = (*page).returned;
                (*page).returned = page.cast::<u8>().add(usize::from(at)).cast::<u16>().read();
                at
            };
            (*page).live += 1;
            if (*page).is_full() {
                self.unlink(page);
            }
            NonNull::new_unchecked(page.cast::<u8>().add(usize::from(at)))
        }
    }

    /// # Safety
    /// The page is one of this pool, and the slot, one of its own, was taken.
    unsafe fn give(&mut self, page: *mut Page, slot: *mut u8) {
        // SAFETY: as the caller promises; a slot holds a number of two bytes, aligned to four.
        unsafe {
            let was_full = (*page).is_full();
            slot.cast::<u16>().write((*page).returned);
            (*page).returned = (slot.addr() - page.addr()) as u16;
            (*page).live -= 1;
            if was_full {
                self.link(page);
            }
            if (*page).live == 0 {
                self.unlink(page);
                key_pages::give(NonNull::new_unchecked(page.cast()));
            }
        }
    }

    fn open_page(&mut self, class: u8, own: u8) -> *mut Page {
        let page: *mut Page =
            key_pages::take().unwrap_or_else(|| handle_alloc_error(PAGE)).as_ptr().cast();
        // SAFETY: the page is ours alone and large enough for its head.
        unsafe {
            page.write(Page {
                previous: null_mut(),
                next: null_mut(),
                returned: 0,
                fresh: size_of::<Page>() as u16,
                live: 0,
                class,
                pool: own,
            });
            self.link(page);
            page
        }
    }

    /// # Safety
    /// The page is one of this pool and in no list.
    unsafe fn link(&mut self, page: *mut Page) {
        // SAFETY: pages in the list are alive, and their pool is this one.
        unsafe {
            let first = &mut self.0[usize::from((*page).class)];
            ((*page).previous, (*page).next) = (null_mut(), *first);
            if !first.is_null() {
                (**first).previous = page;
            }
            *first = page;
        }
    }

    /// # Safety
    /// The page is in the list of its class.
    unsafe fn unlink(&mut self, page: *mut Page) {
        // SAFETY: its neighbours are pages in the same list.
        unsafe {
            let (previous, next) = ((*page).previous, (*page).next);
            if previous.is_null() {
                self.0[usize::from((*page).class)] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }
}

impl Page {
    fn slot_bytes(&self) -> usize {
        SLOT_MIN + usize::from(self.class) * STEP
    }

    fn is_full(&self) -> bool {
        self.returned == 0 && usize::from(self.fresh) + self.slot_bytes() > PAGE.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| (seed * 31 + at) as u8).collect()
    }

    proptest! {
        #[test]
        fn every_key_keeps_its_bytes_whatever_comes_and_goes(
            ops in prop::collection::vec((any::<bool>(), 0..64_usize, 0..260_usize), 0..400)
        ) {
            let mut keys: Vec<Option<(SharedBytes, usize)>> = (0..64).map(|_| None).collect();
            for (step, (make, at, length)) in ops.into_iter().enumerate() {
                keys[at] = make.then(|| {
                    let bytes = pattern(step, length);
                    let (left, right) = bytes.split_at(length / 3);
                    (SharedBytes::new(step as u64, &[left, right]).unwrap(), length)
                });
                for (key, length) in keys.iter().flatten() {
                    prop_assert_eq!(key.bytes(), pattern(key.header() as usize, *length));
                }
            }
        }
    }

    #[test]
    fn a_page_is_given_back_with_its_last_key_and_used_again_before() {
        // In a thread of its own: nobody else takes from its pool as long as there are few threads.
        let page_of = |key: &SharedBytes| key.0.addr().get() & !(PAGE_BYTES - 1);
        let key = || SharedBytes::new(7, &[&[1; 60]]).unwrap();
        let keys: Vec<SharedBytes> = (0..200).map(|_| key()).collect();
        let pages: std::collections::BTreeSet<usize> = keys.iter().map(page_of).collect();
        assert!((1..=3).contains(&pages.len()), "{} pages", pages.len());
        let mut kept = keys;
        let gone = kept.swap_remove(3);
        let freed = page_of(&gone);
        drop(gone);
        let again = key();
        assert_eq!(page_of(&again), freed);
    }

    #[test]
    fn copies_share_and_the_last_one_frees_on_any_thread() {
        let key = SharedBytes::new(5, &[b"ab", b"c"]).unwrap();
        key.set_note(9);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let copy = key.clone();
                std::thread::spawn(move || {
                    let copies = vec![copy; 100];
                    assert!(copies.iter().all(|copy| copy.bytes() == b"abc" && copy.note() == 9));
                })
            })
            .collect();
        drop(key);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn short_keys_take_their_bytes_and_a_head_in_steps_of_four() {
        for (length, bytes) in [(0, 20), (4, 24), (5, 28), (60, 80), (172, 192), (173, 196)] {
            let key = SharedBytes::new(0, &[&vec![0; length]]).unwrap();
            assert_eq!(key.heap_bytes(), bytes, "{length}");
        }
    }
}
