//! Many datagrams with one system call, where the system has one.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// Largest payload of UDP, and more than any Unix datagram of a client.
pub const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams of one call.
const SLOTS: usize = 64;
/// A cache line more than a power of two: else the start of every slot falls into one cache set.
const STRIDE: usize = DATAGRAM_BYTES_MAX + 64;

/// Room for one call of the system, and what it brought.
pub struct Batch {
    arena: Vec<u8>,
    lengths: Vec<usize>,
    #[cfg(target_os = "linux")]
    headers: Vec<libc::mmsghdr>,
    /// Only pointed at by `headers`; kept for their lifetime.
    #[cfg(target_os = "linux")]
    _vectors: Vec<libc::iovec>,
}

impl Batch {
    /// What the last call brought.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.arena.chunks(STRIDE).zip(&self.lengths).map(|(slot, length)| &slot[..*length])
    }
}

#[cfg(target_os = "linux")]
impl Batch {
    pub fn new() -> Self {
        let mut arena = vec![0; SLOTS * STRIDE];
        let slot = |slot: &mut [u8]| libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES_MAX,
        };
        let mut vectors: Vec<_> = arena.chunks_mut(STRIDE).map(slot).collect();
        let header = |vector: &mut libc::iovec| {
            // SAFETY: plain data for which all zeroes is valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = vectors.iter_mut().map(header).collect();
        Batch { arena, lengths: Vec::with_capacity(SLOTS), headers, _vectors: vectors }
    }

    /// Receives what is there; with `wait` at least one datagram.
    pub fn receive(&mut self, socket: RawFd, wait: bool) -> io::Result<()> {
        self.lengths.clear();
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let count = self.headers.len() as libc::c_uint;
        // SAFETY: every header points to one vector, and every vector to a slot of that size; both
        // lists and the arena never grow, and nothing borrows a slot while `self` is.
        let received = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                count,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.lengths.extend(self.headers[..received].iter().map(|header| header.msg_len as usize));
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Batch {
    pub fn new() -> Self {
        Batch { arena: vec![0; STRIDE], lengths: Vec::with_capacity(SLOTS) }
    }

    /// Receives one datagram; without `wait` only if it is there.
    pub fn receive(&mut self, socket: RawFd, wait: bool) -> io::Result<()> {
        self.lengths.clear();
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        // SAFETY: the call writes at most as many bytes as the slot has.
        let received = unsafe {
            libc::recv(socket, self.arena.as_mut_ptr().cast(), DATAGRAM_BYTES_MAX, flags)
        };
        self.lengths.push(usize::try_from(received).map_err(|_| io::Error::last_os_error())?);
        Ok(())
    }
}
