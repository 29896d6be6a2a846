//! Batched receive: `recvmmsg` into one arena allocated once.
//!
//! Clever: the message headers are built once and point into vectors of this struct that never grow;
//! only the lengths the kernel overwrites are reset between calls. Slots are spaced one cache line
//! more than their size, because a stride of 8192 puts the start of every slot into the same set of
//! the first-level cache. When touching this file: code that makes a vector grow, or hands out a slot
//! while a receive runs, breaks the SAFETY arguments.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::Sender;
use super::arrival::{SOCKET_NAME_BYTES, SocketName};
use super::sys::{CONTROL_BYTES, Control};

/// Bytes of payload the arena aims at; a larger datagram limit means fewer slots, not more memory.
const ARENA_BYTES: usize = 512 << 10;
/// Most datagrams per call; beyond this the system call is no longer what costs.
const SLOTS_MAX: usize = 64;
/// Cache line, and the spacing that keeps slots apart in cache sets.
const LINE_BYTES: usize = 64;

/// Slots for one call of `recvmmsg` and what the last call put there.
pub(super) struct Batch {
    slot_bytes: usize,
    stride: usize,
    arena: Vec<u8>,
    names: Vec<SocketName>,
    controls: Vec<Control>,
    // Only pointed at by `headers`; kept for their lifetime.
    _vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
    next: usize,
}

// SAFETY: the raw pointers in `_vectors` and `headers` point only into the vectors of the same
// struct, which move with it and are never shared.
unsafe impl Send for Batch {}

/// One received datagram, borrowed from the batch.
pub(super) struct Received<'a> {
    /// What fits the slot.
    pub(super) bytes: &'a [u8],
    /// Bytes that did not fit.
    pub(super) beyond: usize,
    /// Its sender.
    pub(super) sender: Sender<'a>,
}

impl Batch {
    /// Slots for datagrams of up to `datagram_bytes` (0 is taken as 1).
    pub(super) fn new(datagram_bytes: usize) -> Self {
        let slot_bytes = datagram_bytes.max(1);
        let stride = slot_bytes.next_multiple_of(LINE_BYTES) + LINE_BYTES;
        let slots = (ARENA_BYTES / slot_bytes).clamp(1, SLOTS_MAX);
        let mut arena = vec![0; stride * slots];
        let mut names = vec![SocketName::default(); slots];
        let mut controls = vec![Control::default(); slots];
        let slot = |i: usize| libc::iovec {
            // SAFETY: `i < slots`, so the offset stays inside the arena.
            iov_base: unsafe { arena.as_mut_ptr().add(i * stride) }.cast(),
            iov_len: slot_bytes,
        };
        let mut vectors: Vec<_> = (0..slots).map(slot).collect();
        let header = |i: usize| {
            // SAFETY: mmsghdr is plain data for which all zeroes is valid; `i < slots`, the length of
            // each vector pointed into.
            unsafe {
                let mut header: libc::mmsghdr = std::mem::zeroed();
                header.msg_hdr.msg_name = names.as_mut_ptr().add(i).cast();
                header.msg_hdr.msg_iov = vectors.as_mut_ptr().add(i);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls.as_mut_ptr().add(i).cast();
                header
            }
        };
        let headers = (0..slots).map(header).collect();
        // Every slot counts as filled, so that the first call sets all lengths; none is left to take.
        let (filled, next) = (slots, slots);
        Batch {
            slot_bytes,
            stride,
            arena,
            names,
            controls,
            _vectors: vectors,
            headers,
            filled,
            next,
        }
    }

    /// Datagrams one call can take.
    pub(super) fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is queued, at most [`Batch::slots`], and returns how many; replaces the last
    /// batch. Fewer than the slots means the queue was empty.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued; otherwise what the system says.
    pub(super) fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        for header in &mut self.headers[..self.filled] {
            header.msg_hdr.msg_namelen = SOCKET_NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        (self.filled, self.next) = (0, 0);
        // MSG_TRUNC makes the kernel report a datagram's true length, so a cut is known exactly.
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: `headers` holds `slots` headers whose pointers were set in `new` to buffers of
        // `slot_bytes`, SOCKET_NAME_BYTES and CONTROL_BYTES, all owned by self and not borrowed
        // elsewhere while `&mut self` is held; the lengths beside them were reset above.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled)
    }

    /// The next datagram not yet taken. It counts as taken even if its reader panics.
    pub(super) fn take(&mut self) -> Option<Received<'_>> {
        if self.next >= self.filled {
            return None;
        }
        let i = self.next;
        self.next += 1;
        let header = &self.headers[i];
        let length = header.msg_len as usize;
        let kept = length.min(self.slot_bytes);
        let start = i * self.stride;
        // A name shorter than sockaddr_in is none, and what stands there is left from earlier; a Unix
        // sender that bound a path has a long one.
        let sender = if header.msg_hdr.msg_namelen >= 16 && self.names[i].is_internet() {
            Sender::Internet(&self.names[i])
        } else {
            let written: usize = header.msg_hdr.msg_controllen as _;
            self.controls[i].credentials(written).map_or(Sender::Unknown, Sender::Process)
        };
        Some(Received { bytes: &self.arena[start..start + kept], beyond: length - kept, sender })
    }
}
