//! What the kernel says about a process and its UDP sockets, read from the text under `/proc`.
//!
//! The readers take the text, so they can be shown any; the functions at the top fetch it.

use std::fs;
use std::io;
use std::time::Duration;

/// The UDP sockets bound to `port`, over IPv4 and IPv6. Empty where there is no `/proc`.
pub fn udp_sockets(port: u16) -> Vec<UdpSocket> {
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| read_udp(&text, port))
        .collect()
}

/// True where the kernel shows its UDP sockets at all.
pub fn shows_udp() -> bool {
    fs::exists("/proc/net/udp").unwrap_or(false)
}

/// Memory of a process.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    read_memory(&text).ok_or_else(|| io::Error::other("no VmRSS; the process has ended"))
}

/// How long the threads of a process were ready to run and had to wait for a processor, all
/// together. Threads that ended no longer count.
///
/// # Errors
/// When there is no such process, or the kernel keeps no such statistics.
pub fn run_queue_wait(pid: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        sum += read_run_queue_wait(&text).unwrap_or_default();
    }
    Ok(sum)
}

/// One bound UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// Identity of the socket.
    pub inode: u64,
    /// Bytes waiting to be received, kernel bookkeeping included.
    pub queued: u64,
    /// Datagrams dropped since it was opened because the receive buffer was full.
    pub drops: u64,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub rss: u64,
    /// The most there ever was.
    pub peak: u64,
}

//   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
//  312: 0100007F:1FBD 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 4711 2 0000000000000000 5
fn read_udp(text: &str, port: u16) -> Vec<UdpSocket> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let remote = fields.get(2)?.rsplit_once(':')?.1;
        // A connected socket (one of our own senders) has a remote port and receives nothing here.
        if u16::from_str_radix(local, 16).ok()? != port || remote != "0000" {
            return None;
        }
        Some(UdpSocket {
            inode: fields.get(9)?.parse().ok()?,
            queued: u64::from_str_radix(fields.get(4)?.rsplit_once(':')?.1, 16).ok()?,
            drops: fields.last()?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(row).collect()
}

fn read_memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { rss: field("VmRSS:")?, peak: field("VmHWM:")? })
}

// nanoseconds run, nanoseconds waited, times scheduled
fn read_run_queue_wait(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  312: 0100007F:1FBD 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 4711 2 0000000000000000 5
  313: 0100007F:1FBE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 6
  314: 0100007F:1FBD 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000000000000000 7
 broken line
";

    #[test]
    fn sockets_are_found_by_their_local_port_and_connected_ones_are_not_ours() {
        assert_eq!(read_udp(UDP, 8125), [UdpSocket { inode: 4711, queued: 0x300, drops: 5 }]);
        assert_eq!(read_udp(UDP, 1), []);
        let six = UDP.replace("0100007F:1FBD 0", "00000000000000000000000001000000:1FBD 0");
        assert_eq!(read_udp(&six, 8125).len(), 1, "the address may have any length");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    4500 kB\nVmRSS:\t    4096 kB\n";
        assert_eq!(read_memory(text), Some(Memory { rss: 4_194_304, peak: 4_608_000 }));
        assert_eq!(read_memory("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_live_socket_shows_what_it_dropped() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        socket2::SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..2_000 {
            sender.send_to(&[b'x'; 1_000], ("127.0.0.1", port)).unwrap();
        }
        let [seen] = udp_sockets(port)[..] else { panic!("one socket") };
        assert!(seen.drops > 0 && seen.queued > 0, "{seen:?}");
        socket.set_nonblocking(true).unwrap();
        let mut received = 0;
        while socket.recv(&mut [0; 2_000]).is_ok() {
            received += 1;
        }
        let [after] = udp_sockets(port)[..] else { panic!("one socket") };
        assert_eq!(after.drops + received, 2_000);
        assert_eq!(after.queued, 0);
    }

    #[test]
    fn the_time_on_the_run_queue_is_the_second_field() {
        assert_eq!(read_run_queue_wait("5000 7000 3\n"), Some(Duration::from_nanos(7_000)));
        assert_eq!(read_run_queue_wait(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_memory_is_plausible() {
        let ours = memory(std::process::id()).unwrap();
        assert!(ours.rss > 100_000 && ours.peak >= ours.rss / 2, "{ours:?}");
        assert!(memory(u32::MAX).is_err());
    }
}
