//! The system calls the standard library does not offer: batched send, pinning, the CPU clock of
//! another process, signals. All unsafe code of the load generator stands here, behind safe functions.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Most datagrams of one [`send_many`].
pub const BATCH_MAX: usize = 64;

/// Sends the datagrams in order on a connected socket and returns how many the kernel took.
///
/// # Errors
/// When not even the first could be sent. An empty batch sends nothing.
#[cfg(target_os = "linux")]
pub fn send_many(socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    let count = datagrams.len().min(BATCH_MAX);
    // SAFETY: iovec is a pointer and a length, mmsghdr is pointers and integers: all zeros is a
    // valid value of both, and a null name, control and iov with length 0 are ignored by the kernel.
    let mut parts: [libc::iovec; BATCH_MAX] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH_MAX] = unsafe { std::mem::zeroed() };
    for (index, datagram) in datagrams.iter().take(count).enumerate() {
        parts[index].iov_base = datagram.as_ptr().cast_mut().cast();
        parts[index].iov_len = datagram.len();
        headers[index].msg_hdr.msg_iov = &raw mut parts[index];
        headers[index].msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: `count` headers are initialised, each names one part on this frame, each part a
    // slice that outlives the call; the kernel only reads through iov_base when sending and writes
    // nothing but msg_len of the headers, which are borrowed mutably for the call.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends the datagrams one by one: the same contract where there is no `sendmmsg`.
///
/// # Errors
/// When not even the first could be sent.
#[cfg(not(target_os = "linux"))]
pub fn send_many(socket: BorrowedFd<'_>, datagrams: &[&[u8]]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    for (index, datagram) in datagrams.iter().take(BATCH_MAX).enumerate() {
        // SAFETY: the pointer and length are those of a live slice, which the kernel only reads.
        let sent =
            unsafe { libc::send(socket.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) };
        match (sent, index) {
            (0.., _) => {}
            (_, 0) => return Err(io::Error::last_os_error()),
            (_, sent) => return Ok(sent),
        }
    }
    Ok(datagrams.len().min(BATCH_MAX))
}

/// Pins the calling thread, and every thread and process it starts from now on.
///
/// # Errors
/// When the machine has no such processor or the process may not use it.
#[cfg(target_os = "linux")]
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: cpu_set_t is an array of integers; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: `cpu` is below CPU_SETSIZE, so the bit lies inside the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the kernel reads size_of_val(&set) bytes of a live set; 0 means this thread.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The processors the calling thread may use, in rising order.
#[cfg(target_os = "linux")]
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: as in `pin`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most size_of_val(&set) bytes into a live set.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if done != 0 {
        return Vec::new();
    }
    // SAFETY: every index is below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Pinning does not exist here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn pin(_cpus: &[usize]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Unknown here.
#[cfg(not(target_os = "linux"))]
pub fn allowed_cpus() -> Vec<usize> {
    Vec::new()
}

/// CPU time of all threads of a process, those that ended included, to the nanosecond.
///
/// # Errors
/// When there is no such process or the system has no clock for it.
#[cfg(target_os = "linux")]
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let mut id: libc::clockid_t = 0;
    // SAFETY: the call writes one clockid_t through a pointer to a live one.
    let failed = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut id) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    clock(id)
}

/// Not offered here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn process_cpu(_pid: u32) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

/// CPU time of the calling thread.
///
/// # Errors
/// When the system has no such clock.
pub fn thread_cpu() -> io::Result<Duration> {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec through a pointer to a live one.
    if unsafe { libc::clock_gettime(id, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

/// Asks a process to end in order (SIGTERM).
///
/// # Errors
/// When there is no such process any more.
pub fn terminate(pid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; the caller owns the child, so the id is not reused before
    // it has been waited for.
    let done = unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[path = "sys_tests.rs"]
mod tests;
