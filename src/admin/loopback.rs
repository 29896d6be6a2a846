//! Which processes send over UDP from this machine: port → inode → process, from `/proc`.
//!
//! Only for pages, never while lines are read, and bounded. It finds sockets that are connected to
//! one of our ports, as client libraries do; one that only calls `sendto` has no peer to find it by.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::senders::{SenderStatus, command};
use crate::net::{ListenerAddress, ListenerDescription, Transport};

/// Bytes read of each table of sockets (some 30,000 sockets).
const TABLE_BYTES_MAX: u64 = 4 << 20;
/// Sockets whose process is looked for.
const SOCKETS_MAX: usize = 256;
/// Processes and descriptors looked at.
const PROCESSES_MAX: usize = 8_192;
const DESCRIPTORS_MAX: usize = 65_536;
/// Processes named per address.
const NAMED_MAX: usize = 4;

/// Adds to senders with a loopback address the processes that are connected to us from it.
pub(super) fn name_processes(rows: &mut [SenderStatus], listeners: &[ListenerDescription]) {
    let loopback = |row: &SenderStatus| {
        row.sender.parse::<IpAddr>().ok().filter(|address| address.is_loopback())
    };
    if !rows.iter().any(|row| loopback(row).is_some()) {
        return;
    }
    let udp = listeners.iter().filter(|listener| listener.transport == Transport::Udp);
    let ports: Vec<u16> = udp
        .filter_map(|listener| match listener.address {
            ListenerAddress::Internet(address) => Some(address.port()),
            _ => None,
        })
        .collect();
    let found = processes(Path::new("/proc"), &ports);
    for row in rows {
        let pids = loopback(row).and_then(|address| found.get(&address));
        row.command = row.command.take().or_else(|| pids.and_then(|pids| names(pids)));
    }
}

fn names(pids: &[i32]) -> Option<String> {
    let name = |pid: &i32| command(*pid).map(|name| format!("{name} pid {pid}"));
    let mut names: Vec<String> = pids.iter().take(NAMED_MAX).filter_map(name).collect();
    if pids.len() > NAMED_MAX {
        names.push(format!("{} more", pids.len() - NAMED_MAX));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// Processes with a socket connected to one of the ports, by the address they send from.
fn processes(proc: &Path, ports: &[u16]) -> BTreeMap<IpAddr, Vec<i32>> {
    let mut sockets = HashMap::new();
    for table in ["net/udp", "net/udp6"] {
        let mut text = String::new();
        if let Ok(file) = File::open(proc.join(table)) {
            // What cannot be read is not named.
            let _ = file.take(TABLE_BYTES_MAX).read_to_string(&mut text);
        }
        let found = text.lines().skip(1).filter_map(|line| socket(line, ports));
        sockets.extend(found.take(SOCKETS_MAX));
    }
    let mut found: BTreeMap<IpAddr, Vec<i32>> = BTreeMap::new();
    if sockets.is_empty() {
        return found;
    }
    let mut descriptors_left = DESCRIPTORS_MAX;
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.take(PROCESSES_MAX) {
        // The descriptors of other users are not ours to read, unless we run as root.
        let descriptors = fs::read_dir(proc.join(format!("{pid}/fd"))).into_iter().flatten();
        for descriptor in descriptors.flatten().take(descriptors_left) {
            descriptors_left -= 1;
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target.to_str().and_then(|target| {
                target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
            });
            if let Some(address) = inode.and_then(|inode| sockets.get(&inode)) {
                let pids = found.entry(*address).or_default();
                if !pids.contains(&pid) {
                    pids.push(pid);
                }
            }
        }
    }
    found
}

/// Inode and local address of a line of `/proc/net/udp`, when its socket is connected to one of the
/// ports from a loopback address.
///
/// `  7: 0100007F:D431 0100007F:1FBD 01 00000000:00000000 00:00000000 00000000  1000  0 81234 …`
fn socket(line: &str, ports: &[u16]) -> Option<(u64, IpAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, _) = fields.get(1)?.split_once(':')?;
    let (_, peer_port) = fields.get(2)?.split_once(':')?;
    let port = u16::from_str_radix(peer_port, 16).ok()?;
    let address = address(local)?;
    let ours = port > 0 && ports.contains(&port) && address.is_loopback();
    ours.then_some((fields.get(9)?.parse().ok()?, address))
}

/// Words of 32 bits in the order of the machine's bytes.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = std::array::from_fn(|at| words[at / 4][at % 4]);
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_connected_socket_leads_to_its_process() {
        for bind in ["127.0.0.1:0", "127.0.0.7:0", "[::1]:0"] {
            let Ok(server) = UdpSocket::bind(bind) else { continue };
            let address = server.local_addr().unwrap();
            let own = i32::try_from(std::process::id()).unwrap();
            assert!(processes(Path::new("/proc"), &[address.port()]).is_empty());
            let client = UdpSocket::bind((address.ip(), 0)).unwrap();
            client.connect(address).unwrap();
            let found = processes(Path::new("/proc"), &[address.port()]);
            assert_eq!(found.get(&address.ip()), Some(&vec![own]), "{bind}: {found:?}");
        }
    }

    #[test]
    fn other_ports_and_other_machines_are_left_alone() {
        let line = |local, peer| format!(" 7: {local} {peer} 01 0:0 00:0 0 1000 0 81234 2 0 0");
        let local = format!("{:08X}:D431", u32::from_ne_bytes([127, 0, 0, 1]));
        let far = format!("{:08X}:D431", u32::from_ne_bytes([10, 0, 0, 7]));
        let ours = socket(&line(&local, "0100007F:1FBD"), &[8_125]);
        assert_eq!(ours, Some((81_234, IpAddr::from([127, 0, 0, 1]))));
        assert_eq!(socket(&line(&local, "0100007F:1FBE"), &[8_125]), None);
        assert_eq!(socket(&line(&far, "0700000A:1FBD"), &[8_125]), None);
        assert_eq!(socket("nonsense", &[8_125]), None);
    }
}
