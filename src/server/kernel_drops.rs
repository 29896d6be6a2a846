//! Warnings of datagrams that the kernel dropped or that were cut, once per bucket and listener,
//! with the remedy.

use crate::net::{ListenerCounts, ListenerDescription};
use crate::text::{bytes, grouped};

/// The counts at the last warning, per listener.
pub(super) struct KernelDrops {
    descriptions: Vec<ListenerDescription>,
    seen: Vec<Seen>,
    /// Bytes of receive buffer that were asked for.
    buffer_asked: usize,
    /// The longest datagram that is received whole.
    datagram_bytes_max: usize,
    /// Seconds of a bucket.
    interval: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    datagrams: u64,
    kernel_drops: u64,
    truncated: u64,
    bytes_truncated: u64,
}

impl Seen {
    fn of(counts: &ListenerCounts) -> Self {
        Seen {
            datagrams: counts.datagrams,
            kernel_drops: counts.kernel_drops,
            truncated: counts.datagrams_truncated,
            bytes_truncated: counts.bytes_truncated,
        }
    }

    /// What came since; a lane that begins anew starts at zero.
    fn since(self, earlier: Seen) -> Seen {
        Seen {
            datagrams: self.datagrams.saturating_sub(earlier.datagrams),
            kernel_drops: self.kernel_drops.saturating_sub(earlier.kernel_drops),
            truncated: self.truncated.saturating_sub(earlier.truncated),
            bytes_truncated: self.bytes_truncated.saturating_sub(earlier.bytes_truncated),
        }
    }
}

impl KernelDrops {
    pub fn new(
        descriptions: Vec<ListenerDescription>,
        (buffer_asked, datagram_bytes_max): (usize, usize),
        interval: u64,
    ) -> Self {
        let seen = vec![Seen::default(); descriptions.len()];
        KernelDrops { descriptions, seen, buffer_asked, datagram_bytes_max, interval }
    }

    /// Warns of what is new in the counts of all listeners; returns the kernel's new drops.
    pub fn warn(&mut self, sums: &[ListenerCounts]) -> u64 {
        let mut dropped = 0;
        let listeners = self.descriptions.iter().zip(&mut self.seen).zip(sums);
        for ((listener, seen), counts) in listeners {
            let now = Seen::of(counts);
            let new = now.since(std::mem::replace(seen, now));
            dropped += new.kernel_drops;
            let sentences = [
                drops(listener, new, self.buffer_asked, self.interval),
                cuts(listener, new, self.datagram_bytes_max, self.interval),
            ];
            for sentence in sentences.into_iter().flatten() {
                tracing::warn!(target: "net", "{sentence}");
            }
        }
        dropped
    }
}

/// `kernel dropped 4,744 of 5,000 datagrams on udp 127.0.0.1:8125 in 10 s; buffer: asked 4 MiB, got
/// 208 KiB; fix: …`
fn drops(listener: &ListenerDescription, new: Seen, asked: usize, interval: u64) -> Option<String> {
    (new.kernel_drops > 0).then(|| {
        format!(
            "kernel dropped {} of {} datagrams on {} {} in {interval} s; buffer: asked {}, got {}; fix: {}",
            grouped(new.kernel_drops),
            grouped(new.datagrams + new.kernel_drops),
            listener.transport,
            listener.address,
            bytes(asked),
            bytes(listener.receive_buffer_bytes),
            listener.drop_remedy(asked),
        )
    })
}

fn cuts(listener: &ListenerDescription, new: Seen, max: usize, interval: u64) -> Option<String> {
    (new.truncated > 0).then(|| {
        format!(
            "{} of {} datagrams on {} {} in {interval} s were longer than {max} bytes; the line that was cut in each and what came after, at least {} bytes, are lost; fix: raise dogstatsd_buffer_size, or send shorter datagrams",
            grouped(new.truncated),
            grouped(new.datagrams),
            listener.transport,
            listener.address,
            grouped(new.bytes_truncated),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{ListenerAddress, Transport};

    fn udp(receive_buffer_bytes: usize) -> ListenerDescription {
        ListenerDescription {
            transport: Transport::Udp,
            address: ListenerAddress::Internet(([127, 0, 0, 1], 8125).into()),
            sockets: 1,
            inherited: false,
            receive_buffer_bytes,
        }
    }

    #[test]
    fn a_drop_is_seen_with_what_arrived_and_what_helps() {
        let new = Seen { datagrams: 256, kernel_drops: 4_744, ..Seen::default() };
        assert_eq!(
            drops(&udp(212_992), new, 4 << 20, 10).as_deref(),
            Some(
                "kernel dropped 4,744 of 5,000 datagrams on udp 127.0.0.1:8125 in 10 s; buffer: \
                 asked 4 MiB, got 208 KiB; fix: sysctl -w net.core.rmem_max=4194304, or use UDS"
            )
        );
        let enough = drops(&udp(4 << 20), new, 4 << 20, 10).unwrap();
        assert!(enough.contains("fix: raise dogstatsd_so_rcvbuf above 4194304"), "{enough}");
        assert!(enough.contains("sysctl -w net.core.rmem_max=8388608"), "{enough}");
        assert_eq!(drops(&udp(0), Seen::default(), 0, 10), None);
    }

    #[test]
    fn a_cut_datagram_is_seen_with_what_helps() {
        let new = Seen { datagrams: 40, truncated: 2, bytes_truncated: 1_234, ..Seen::default() };
        assert_eq!(
            cuts(&udp(0), new, 8192, 10).as_deref(),
            Some(
                "2 of 40 datagrams on udp 127.0.0.1:8125 in 10 s were longer than 8192 bytes; the \
                 line that was cut in each and what came after, at least 1,234 bytes, are lost; \
                 fix: raise dogstatsd_buffer_size, or send shorter datagrams"
            )
        );
        assert_eq!(cuts(&udp(0), Seen::default(), 8192, 10), None);
    }

    #[test]
    fn each_drop_is_seen_once() {
        let mut unread = KernelDrops::new(vec![udp(0)], (0, 0), 10);
        let seen = Seen { datagrams: 5, kernel_drops: 3, ..Seen::default() };
        unread.seen[0] = seen;
        assert_eq!(seen.since(unread.seen[0]), Seen::default());
        assert_eq!(Seen::default().since(seen), Seen::default());
    }
}
