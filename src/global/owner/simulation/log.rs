//! The log, and the slow model of what every moment of it made whole.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::context::Kind;
use crate::part::{Key, PartId};

/// One cell as it was sent, by plain numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentCell {
    pub kind: Kind,
    /// The addend, the gauge, the only member or the only sample.
    pub value: f64,
    pub stamp: u32,
}

/// What the intake shows of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    Zero,
    Counter(f64),
    Gauge(f64),
    /// The number of members.
    Set(u64),
    /// The number of samples and their sum.
    Histogram(u64, f64),
}

#[derive(Clone, Debug)]
struct Appended {
    offset: i64,
    id: PartId,
    cell: SentCell,
}

/// The key of a series, and the start of an interval.
pub type Row = (String, u64);

pub fn row(key: &Key, start: u64) -> Row {
    (key.as_bytes().escape_ascii().to_string(), start)
}

/// Records of every partition in order, each with its time stamp.
#[derive(Debug, Default)]
pub struct Log {
    pub records: BTreeMap<u32, Vec<(Duration, Vec<u8>)>>,
    /// When each of them was appended, in true time.
    appended_at: BTreeMap<(u32, i64), Duration>,
    /// The cells of every series and interval, in the order of the log, each part once.
    cells: BTreeMap<Row, Vec<Appended>>,
    seen: HashSet<PartId>,
    /// When the last part of an interval was appended.
    pub last_append: BTreeMap<Row, Duration>,
}

impl std::cmp::PartialOrd for SentCell {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.stamp, self.kind as u8).partial_cmp(&(other.stamp, other.kind as u8))
    }
}

impl Log {
    pub fn end(&self, partition: u32) -> i64 {
        self.records.get(&partition).map_or(0, |records| records.len() as i64)
    }

    pub fn append(&mut self, partition: u32, stamp: Duration, bytes: Vec<u8>) -> i64 {
        let records = self.records.entry(partition).or_default();
        records.push((stamp, bytes));
        records.len() as i64 - 1
    }

    /// When a part was appended, in true time.
    pub fn appended_at(&self, partition: u32, offset: i64) -> Option<Duration> {
        self.appended_at.get(&(partition, offset)).copied()
    }

    /// A part that every owner counts.
    pub fn append_part(
        &mut self,
        (stamp, now): (Duration, Duration),
        id: PartId,
        cells: &[(Key, SentCell)],
        bytes: Vec<u8>,
    ) {
        let offset = self.append(id.partition, stamp, bytes);
        self.appended_at.insert((id.partition, offset), now);
        if self.seen.insert(id) {
            for (key, cell) in cells {
                let row = row(key, id.start);
                self.last_append.insert(row.clone(), now);
                self.cells.entry(row).or_default().push(Appended { offset, id, cell: *cell });
            }
        }
    }

    /// The first offset of that time or later.
    pub fn offset_at(&self, partition: u32, from: Duration) -> i64 {
        let records = self.records.get(&partition).map_or(&[][..], Vec::as_slice);
        records.iter().position(|(stamp, _)| *stamp >= from).map_or(0, |offset| offset as i64)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.cells.keys()
    }

    /// What the first parts of a row add up to: by how many of them, from none to all.
    pub fn wholes(&self, row: &Row) -> Vec<Shown> {
        let appended = self.cells.get(row).map_or(&[][..], Vec::as_slice);
        let mut wholes = vec![Shown::Zero];
        let mut end = 0;
        while end < appended.len() {
            let offset = appended[end].offset;
            end += appended[end..].iter().take_while(|cell| cell.offset == offset).count();
            wholes.push(whole(&appended[..end]));
        }
        wholes
    }
}

fn whole(cells: &[Appended]) -> Shown {
    let rank = |cell: &&Appended| (cell.cell.stamp, cell.id.sender, cell.cell.kind as u8);
    let Some(winner) = cells.iter().max_by_key(rank) else { return Shown::Zero };
    let kind = winner.cell.kind;
    let values = || cells.iter().filter(|cell| cell.cell.kind == kind).map(|cell| cell.cell.value);
    match kind {
        Kind::Counter => Shown::Counter(values().sum()),
        Kind::Gauge => Shown::Gauge(winner.cell.value),
        Kind::Set => Shown::Set(values().map(f64::to_bits).collect::<HashSet<u64>>().len() as u64),
        Kind::Histogram => Shown::Histogram(values().count() as u64, values().sum()),
        Kind::Distribution => unreachable!("distributions are not sent"),
    }
}
