//! What only a program of its own may decide about the memory of a process: what its code keeps mapped, and what its
//! allocator keeps.
#![allow(unsafe_code)]

#[cfg(target_env = "musl")]
use mimalloc as _;

/// Lets the system have free memory at once, not after a second: what a bucket frees is not needed until the next one
/// has grown. `MIMALLOC_PURGE_DELAY` still decides where it is set. For mimalloc; what glibc's allocator keeps is decided
/// by the server.
pub(super) fn give_back_at_once() {
    #[cfg(target_env = "musl")]
    {
        /// `mi_option_purge_delay` of mimalloc 3, in milliseconds.
        const PURGE_DELAY: std::ffi::c_int = 15;
        unsafe extern "C" {
            fn mi_option_set_default(option: std::ffi::c_int, value: std::ffi::c_long);
        }
        // SAFETY: it sets a number inside the allocator, which any thread may do at any time.
        unsafe { mi_option_set_default(PURGE_DELAY, 0) };
    }
}

/// Unmaps the pages of the program's code and constants. What goes on running comes back from the page cache with its
/// next call, 64 KiB at a time and without reading a disk; what only read the configuration, bound sockets and printed
/// does not, and that is about half of the 7 MiB that a start maps. The kernel takes a page that no process maps
/// before others when memory is short.
///
/// Break points of debuggers and uprobes that are set by now are gone. Libraries keep their pages: others may have patched them.
#[cfg(target_os = "linux")]
pub(super) fn unmap_start_up() {
    // SAFETY: the callback reads what it is given while it is given, and needs no data of its own.
    unsafe { libc::dl_iterate_phdr(Some(unmap_constant_segments), std::ptr::null_mut()) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unmap_start_up() {}

/// For the first object, which is the program.
#[cfg(target_os = "linux")]
unsafe extern "C" fn unmap_constant_segments(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    const LAST: libc::c_int = 1;
    // SAFETY: the loader gives a valid object with its table of segments.
    let (base, segments) = unsafe {
        let object = &*object;
        (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    // SAFETY: it reads a number of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = page.try_into() else { return LAST };
    for segment in segments {
        // What the loader writes to, such as relocated constants, lies in writable segments.
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        // Whole pages only: the neighbour may begin in the last one.
        let start = (base + segment.p_vaddr).next_multiple_of(page);
        let end = (base + segment.p_vaddr + segment.p_memsz) / page * page;
        if let (Ok(start), Ok(bytes)) =
            (usize::try_from(start), usize::try_from(end.saturating_sub(start)))
        {
            // SAFETY: these pages are unchanged copies of a file, so the next access finds the same bytes. Where the call
            // fails, such as after `mlockall`, nothing has happened.
            unsafe { libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTNEED) };
        }
    }
    LAST
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ops::Range;

    use super::*;

    /// Where the code of this program is mapped, and how many KiB of it are.
    fn code() -> (Range<usize>, usize) {
        let program = std::env::current_exe().unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines().skip_while(|line| {
            !(line.contains(" r-xp ") && line.ends_with(program.to_str().unwrap()))
        });
        let (start, end) =
            lines.next().unwrap().split(' ').next().unwrap().split_once('-').unwrap();
        let number = |hex| usize::from_str_radix(hex, 16).unwrap();
        let resident =
            lines.find_map(|line| line.strip_prefix("Rss:")?.strip_suffix(" kB")).unwrap();
        (number(start)..number(end), resident.trim().parse().unwrap())
    }

    #[test]
    fn code_is_unmapped_and_runs_again() {
        for address in code().0.step_by(4_096) {
            // SAFETY: code is readable, and a byte has no alignment.
            let _ = unsafe { (address as *const u8).read_volatile() };
        }
        let (addresses, before) = code();
        assert_eq!(before, addresses.len() / 1_024);
        unmap_start_up();
        let (_, after) = code();
        assert!(after < before / 2, "{before} KiB before, {after} KiB after");
    }
}
