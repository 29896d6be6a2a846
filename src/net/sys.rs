//! Socket options and reads that no safe crate offers, each behind a safe face.
//!
//! Unsafe is confined to five system calls. Every call passes pointers to live local values of the
//! exact type and size the kernel expects, and uses what the kernel wrote only up to the length it
//! returned.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Credentials;

/// Takes ownership of the descriptors a service manager passed: `3 .. 3 + count`.
///
/// Call it once per process, and only when `LISTEN_PID` names this process: that is the manager's
/// word that these numbers are open and have no other owner. Numbers that are not open are
/// skipped; the others are set close-on-exec.
pub(super) fn take_passed_descriptors(count: usize) -> Vec<OwnedFd> {
    let end = i32::try_from(count).unwrap_or(0).saturating_add(3);
    let open = |fd: &i32| {
        // SAFETY: fcntl with F_SETFD takes an integer and touches no memory; on a number that is not
        // open it fails with EBADF.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
    };
    // SAFETY: the number is open (fcntl succeeded) and the environment protocol hands it to this
    // process; `inherited_sockets` runs this at most once, so no second owner exists.
    (3..end).filter(open).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect()
}

/// Whether this process may make files in a folder.
///
/// # Errors
/// What the system says against it.
pub fn may_make_files(folder: &Path) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: the pointer is to a live string with a final zero, which the call only reads.
    let result = unsafe { libc::access(folder.as_ptr(), libc::W_OK | libc::X_OK) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for a receive buffer past `net.core.rmem_max`; needs CAP_NET_ADMIN.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn force_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes one c_int; pointer and length describe the live local `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems have no such option.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn force_receive_buffer(_socket: &impl AsFd, _bytes: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Datagrams the kernel dropped on this socket since it was made, modulo 2^32.
///
/// `SO_MEMINFO` index 8 is the same number as column `drops` of `/proc/net/udp`, and unlike
/// `SO_RXQ_OVFL` it does not wait for the next datagram to arrive.
#[cfg(target_os = "linux")]
pub(super) fn kernel_drops(socket: &impl AsFd) -> Option<u32> {
    const VALUES: usize = 9;
    let mut values = [0_u32; VALUES];
    let mut length = length_of::<[u32; VALUES]>();
    // SAFETY: pointer and length describe the live local array; the kernel writes at most `length`
    // bytes and stores how many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut values).cast(),
            &raw mut length,
        )
    };
    (result == 0 && length >= length_of::<[u32; VALUES]>()).then_some(values[VALUES - 1])
}

/// Other systems do not report it.
#[cfg(not(target_os = "linux"))]
pub(super) fn kernel_drops(_socket: &impl AsFd) -> Option<u32> {
    None
}

/// Reads from a connection and asks who wrote the bytes. One read never mixes two senders.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn read_with_credentials(
    socket: &impl AsFd,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<Credentials>)> {
    let mut control = Control::default();
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all zeroes (null pointers, zero lengths) is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the header points at the live locals `vector` and `control` and through them at
    // `buffer`, each with its true length.
    let read = unsafe {
        libc::recvmsg(
            socket.as_fd().as_raw_fd(),
            &raw mut header,
            libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT,
        )
    };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    Ok((read, control.credentials(header.msg_controllen as _)))
}

/// Other systems pass no credentials along with the bytes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn read_with_credentials(
    socket: &impl AsFd,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<Credentials>)> {
    use std::io::Read;
    let owned = socket.as_fd().try_clone_to_owned()?;
    let read = std::fs::File::from(owned).read(buffer)?;
    Ok((read, None))
}

/// Room for exactly one credentials message. Exactly: with more, a hostile sender could pass us open
/// descriptors; with no room left the kernel discards them.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

// SAFETY: CMSG_SPACE is arithmetic on its argument.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const CONTROL_BYTES: usize =
    unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as libc::c_uint) } as usize;

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Control {
    /// Finds the credentials in what the kernel wrote, `length` bytes of it.
    pub(super) fn credentials(&self, length: usize) -> Option<Credentials> {
        // SAFETY: CMSG_LEN is arithmetic on its argument.
        let data = unsafe { libc::CMSG_LEN(0) } as usize;
        let field = |at: usize| -> [u8; 4] { std::array::from_fn(|i| self.0[at + i]) };
        let level = i32::from_ne_bytes(field(std::mem::offset_of!(libc::cmsghdr, cmsg_level)));
        let kind = i32::from_ne_bytes(field(std::mem::offset_of!(libc::cmsghdr, cmsg_type)));
        let whole = length >= data + size_of::<libc::ucred>();
        if !whole || level != libc::SOL_SOCKET || kind != libc::SCM_CREDENTIALS {
            return None;
        }
        Some(Credentials {
            pid: i32::from_ne_bytes(field(data)),
            uid: u32::from_ne_bytes(field(data + 4)),
            gid: u32::from_ne_bytes(field(data + 8)),
        })
    }
}

/// The length of `T` as socket calls want it; every `T` here is a few words.
#[cfg(any(target_os = "linux", target_os = "android"))]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
