//! Senders: parts of their buckets by their own clocks, sent late, twice, or from a spool.

use std::time::Duration;

use super::log::SentCell;
use super::random::Random;
use crate::aggregate::Sample;
use crate::context::Kind;
use crate::part::{Head, Histogram, Key, Packer, PartId, PartWriter, Sender, Set, Style, Value};

/// A part on its way to the log.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub due: Duration,
    pub id: PartId,
    pub cells: Vec<(Key, SentCell)>,
    pub bytes: Vec<u8>,
    pub sender: usize,
}

/// A record of these cells.
pub fn encode(head: &Head, cells: &[(Key, SentCell)]) -> Vec<u8> {
    let mut packer = Packer::new();
    let sequence = head.sequence;
    let mut writer = PartWriter::new(Head { sequence, ..head.clone() });
    for (key, cell) in cells {
        let value = match cell.kind {
            Kind::Counter => Value::Counter(cell.value.into()),
            Kind::Gauge => Value::Gauge(cell.value),
            Kind::Set => Value::Set(Set::of_hashes(vec![cell.value.to_bits()], 100)),
            Kind::Histogram => {
                let mut histogram = Histogram::default();
                assert!(histogram.add(Sample { value: cell.value, scale: 1.0 }));
                Value::Histogram(histogram)
            }
            Kind::Distribution => unreachable!("distributions are not sent"),
        };
        let full = writer.push(key, cell.stamp, &Style::default(), &value, &mut packer);
        assert_eq!(full, Ok(None));
    }
    writer.finish(&mut packer).expect("a part").bytes.to_vec()
}

#[derive(Debug)]
pub struct SimulatedSender {
    pub id: Sender,
    /// What its clock is ahead of the true time, in milliseconds.
    pub ahead_ms: i64,
    /// The start of its open bucket.
    open: u64,
    number: usize,
    stamp: u32,
    /// Until then its parts wait.
    pub cut_off_until: Duration,
}

impl SimulatedSender {
    pub fn new(
        number: usize,
        ahead_ms: i64,
        interval: u64,
        now: Duration,
        random: &mut Random,
    ) -> Self {
        let mut sender = SimulatedSender {
            id: Sender::default(),
            ahead_ms,
            open: 0,
            number,
            stamp: 0,
            cut_off_until: Duration::ZERO,
        };
        let clock = sender.clock(now).as_secs();
        sender.open = clock - clock % interval;
        sender.restart(random);
        sender
    }

    pub fn clock(&self, now: Duration) -> Duration {
        Duration::from_millis((now.as_millis() as i64 + self.ahead_ms) as u64)
    }

    /// A new process: what the old one had of the open bucket was sent by it.
    pub fn restart(&mut self, random: &mut Random) {
        self.id[..8].copy_from_slice(&random.next().to_le_bytes());
        self.id[8] = self.number as u8;
        self.stamp = 0;
    }

    /// The parts of buckets that have ended, or, when it ends itself, of the open one too.
    pub fn close(
        &mut self,
        now: Duration,
        ends: bool,
        (partitions, interval): (u32, u64),
        random: &mut Random,
    ) -> Vec<Outgoing> {
        let mut parts = Vec::new();
        while self.clock(now).as_secs() >= self.open + interval {
            self.bucket(now, (partitions, interval), random, &mut parts);
            self.open += interval;
            self.stamp = 0;
        }
        if ends {
            self.bucket(now, (partitions, interval), random, &mut parts);
        }
        parts
    }

    fn bucket(
        &mut self,
        now: Duration,
        (partitions, interval): (u32, u64),
        random: &mut Random,
        parts: &mut Vec<Outgoing>,
    ) {
        for partition in 0..partitions {
            let count = [0, 0, 1, 1, 1, 2][random.below(6) as usize];
            for sequence in 0..count {
                // A restart inside a bucket has another sender, never the same sequence again.
                let cells = self.cells(partition, random);
                let head = Head {
                    sender: self.id,
                    host: format!("host-{}", self.number),
                    start: self.open,
                    interval: interval as u32,
                    partition,
                    partitions,
                    sequence,
                    built_ms: self.clock(now).as_millis() as u64,
                    ..Head::default()
                };
                let due = now.max(self.cut_off_until) + delay(random);
                let bytes = encode(&head, &cells);
                parts.push(Outgoing { due, id: head.id(), cells, bytes, sender: self.number });
            }
        }
    }

    fn cells(&mut self, partition: u32, random: &mut Random) -> Vec<(Key, SentCell)> {
        let count = random.range(1..4);
        let cell = |_| {
            let kinds = [Kind::Counter, Kind::Counter, Kind::Gauge, Kind::Set, Kind::Histogram];
            let which = random.below(6) as usize;
            // The last name comes in every kind.
            let kind = kinds.get(which).copied().unwrap_or(kinds[random.below(5) as usize]);
            let name =
                format!("{}{}.{partition}", ["c", "d", "g", "s", "h", "x"][which], random.below(2));
            self.stamp += 1;
            let stamp = random.below(100) as u32 * 64 + self.stamp % 64;
            let value = (1 + random.below(1 << 30)) as f64;
            (Key::new(name.as_bytes(), []).expect("a key"), SentCell { kind, value, stamp })
        };
        (0..count).map(cell).collect()
    }
}

/// Most parts come at once; some much later.
fn delay(random: &mut Random) -> Duration {
    let milliseconds = match random.below(100) {
        0..80 => random.below(1_500),
        80..93 => random.range(1_500..15_000),
        93..98 => random.range(15_000..60_000),
        98 => random.range(60_000..150_000),
        _ => random.range(150_000..600_000),
    };
    Duration::from_millis(milliseconds)
}
