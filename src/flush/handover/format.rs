//! The bytes of a hand-over: a count, and as many parts as the global tier sends them.
//!
//! ```text
//! "WHIPHND2"  parts u32, little-endian  then each: length u32, record
//! ```
//!
//! What a part has no place for stands in its fields for its own host (see [`local`](super::local)): the
//! second the values were posted at, and of a cell its host, metric type, exact members and ranges.

use ahash::RandomState;

use super::local::{LocalCell, LocalHead, value_of};
use super::{Posted, PostedCell, PostedValue};
use crate::aggregate::WriteOrder;
use crate::context::{Context, ContextParts};
use crate::part::{
    EncodedPart, Head, Key, Opened, Packer, PartError, PartLimits, PartWriter, Unpacker, Value,
    open,
};

const MAGIC: &[u8; 8] = b"WHIPHND2";
/// What stands before the first part.
const HEAD_BYTES: usize = 12;
/// Bytes of all cells before compression, and of the file: enough for half a million series.
const BYTES_MAX: usize = 64 << 20;

/// Why a hand-over cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Not written by whippet, or by a version with another format.
    #[error("it is not of this version")]
    Foreign,
    /// Cut off, or changed since.
    #[error("it is damaged")]
    Damaged,
}

/// The limits of parts that a process wrote for itself: sets and keys are as large as it allowed them.
fn limits() -> PartLimits {
    PartLimits {
        record_bytes_max: BYTES_MAX,
        raw_bytes_max: BYTES_MAX,
        set_members_max: usize::MAX,
        ..PartLimits::new(0)
    }
}

/// Parts one after the other, while there is room.
struct File {
    bytes: Vec<u8>,
    parts: u32,
}

impl File {
    fn add(&mut self, part: Option<EncodedPart>) {
        let Some(part) = part else { return };
        self.bytes.extend((part.bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&part.bytes);
        self.parts += 1;
    }
}

/// The bytes, and how many cells did not fit; no bytes for no cells.
pub(super) fn encode<'a>(
    posted: impl Iterator<Item = &'a Posted>,
    interval: u64,
    packer: &mut Packer,
) -> (Vec<u8>, usize) {
    let mut file = File { bytes: vec![0; HEAD_BYTES], parts: 0 };
    let (mut left_out, mut raw_bytes) = (0, 0);
    for posted in posted {
        let head = Head {
            start: posted.start,
            interval: u32::try_from(interval).unwrap_or(u32::MAX).max(1),
            partitions: 1,
            ..Head::default()
        };
        let mut writer = PartWriter::local(head, LocalHead { stamp: posted.stamp }.to_bytes());
        for cell in &posted.cells {
            let local = LocalCell::of(cell).to_bytes();
            let value = value_of(&cell.value);
            let key = Key::new(cell.context.name(), cell.context.tags(&[]).iter());
            // About what it takes, without writing it first.
            let bytes = key.as_ref().map_or(0, |key| key.as_bytes().len())
                + local.len()
                + value.heap_bytes()
                + 32;
            let Some(key) = key.filter(|_| raw_bytes + bytes <= BYTES_MAX) else {
                left_out += 1;
                continue;
            };
            let stamp = milliseconds(cell.write_order, interval);
            match writer.push_local(&key, stamp, &value, &local, packer) {
                Ok(full) => file.add(full),
                Err(_) => left_out += 1,
            }
            raw_bytes += bytes;
        }
        file.add(writer.finish(packer));
    }
    if file.parts == 0 {
        return (Vec::new(), left_out);
    }
    file.bytes[..8].copy_from_slice(MAGIC);
    file.bytes[8..HEAD_BYTES].copy_from_slice(&file.parts.to_le_bytes());
    (file.bytes, left_out)
}

/// Write orders are ticks, a 2^31st of the interval each.
fn milliseconds(write_order: WriteOrder, interval: u64) -> u32 {
    let milliseconds = (u128::from(write_order) * u128::from(interval) * 1_000) >> 31;
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}

pub(super) fn decode(bytes: &[u8], state: &RandomState) -> Result<Vec<Posted>, HandOverError> {
    let parts = bytes.strip_prefix(MAGIC).ok_or(HandOverError::Foreign)?;
    read_parts(parts, state).ok_or(HandOverError::Damaged)
}

fn read_parts(bytes: &[u8], state: &RandomState) -> Option<Vec<Posted>> {
    let (parts, mut rest) = take_number(bytes)?;
    let mut posted: Vec<Posted> = Vec::new();
    let (mut raw_bytes, mut unpacker) = (0_usize, Unpacker::default());
    for _ in 0..parts {
        let (length, after) = take_number(rest)?;
        let (record, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        let Opened::Part(sealed) = open(record, &limits()).ok()? else { return None };
        raw_bytes = raw_bytes.checked_add(sealed.head().raw_bytes as usize)?;
        if raw_bytes > 2 * BYTES_MAX {
            return None;
        }
        let (start, LocalHead { stamp }) = (sealed.head().start, LocalHead::read(sealed.local())?);
        let mut cells = Vec::new();
        sealed
            .read_local(&limits(), &mut unpacker, |cell, local| {
                let cell = read_cell(&Key::from(cell.key), &cell.value, local, state);
                cells.push(cell.ok_or(PartError::Body("not a cell of a hand-over"))?);
                Ok(())
            })
            .ok()?;
        match posted.last_mut() {
            Some(last) if (last.stamp, last.start) == (stamp, start) => {
                last.cells.append(&mut cells)
            }
            _ => posted.push(Posted { stamp, start, cells }),
        }
    }
    rest.is_empty().then_some(posted)
}

fn take_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn read_cell(key: &Key, value: &Value, local: &[u8], state: &RandomState) -> Option<PostedCell> {
    let local = LocalCell::read(local)?;
    let tags: Vec<&[u8]> = key.tags().collect();
    let (kind, overflow) = (local.metric_type()?, local.overflow);
    // What is global is never posted here, so there is nothing of it to hand over.
    let (host, global) = (local.host, false);
    let parts = ContextParts { kind, name: key.name(), tags: &tags, host, overflow, global };
    let (context, write_order) = (Context::new(&parts)?, local.write_order);
    let value: PostedValue = local.value(context.kind(), value, state)?;
    Some(PostedCell { context, write_order, value })
}

#[cfg(test)]
mod tests {
    use super::super::local::type_of;
    use super::*;
    use crate::aggregate::{HistogramCell, HistogramParts, Sample, SetCell, SetParts};
    use crate::part::{self, Record};
    use crate::protocol::MetricType;
    use proptest::prelude::*;

    const KINDS: [MetricType; 5] = [
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
        MetricType::Timing,
        MetricType::Set,
    ];

    fn encoded(posted: &[Posted]) -> Vec<u8> {
        let (bytes, left_out) = encode(posted.iter(), 10, &mut Packer::new());
        assert_eq!(left_out, 0);
        bytes
    }

    fn state() -> RandomState {
        RandomState::with_seeds(1, 2, 3, 4)
    }

    type Made = (usize, Vec<u8>, Vec<Vec<u8>>, Option<Vec<u8>>, Vec<f64>, u32);

    fn cell((kind, name, tags, host, values, write_order): Made) -> PostedCell {
        let kind = KINDS[kind];
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        let host = host.as_deref();
        let (overflow, global) = (values.len() > 3, false);
        let parts = ContextParts { kind, name: &name, tags: &tags, host, overflow, global };
        let context = Context::new(&parts).expect("few tags");
        let value = match kind {
            MetricType::Counter => PostedValue::Counter(values[0]),
            MetricType::Gauge => PostedValue::Gauge(values[0]),
            MetricType::Set => {
                let members = values.iter().map(|value| Box::from(&value.to_le_bytes()[..]));
                let parts = SetParts::Members(members.collect());
                PostedValue::Set(SetCell::from_parts(parts, &state()).expect("members"))
            }
            _ => {
                let samples = values.iter().map(|value| Sample { value: *value, scale: 2.0 });
                let parts = HistogramParts::Samples(samples.collect());
                PostedValue::Histogram(HistogramCell::from_parts(parts).expect("samples"))
            }
        };
        PostedCell { context, write_order, value }
    }

    /// In words, so that cells can be compared.
    fn words(cell: &PostedCell) -> String {
        let PostedCell { context, write_order, value } = cell;
        let (kind, host) = (type_of(context) as u8, context.host());
        let tags: Vec<&[u8]> = context.tags(&[]).iter().collect();
        let value = match value {
            PostedValue::Counter(value) => format!("c {value:?}"),
            PostedValue::Gauge(value) => format!("g {value:?}"),
            PostedValue::Set(set) => match set.parts() {
                SetParts::Members(mut members) => {
                    members.sort();
                    format!("s {members:?}")
                }
                SetParts::Registers(registers) => format!("s {registers:?}"),
            },
            PostedValue::Histogram(histogram) => format!("h {:?}", histogram.parts()),
        };
        let (name, overflow) = (context.name(), context.is_overflow());
        format!("{kind} {name:?} {tags:?} {host:?} {overflow} {write_order} {value}")
    }

    fn all(posted: &[Posted]) -> Vec<String> {
        let cells = |posted: &Posted| {
            let (stamp, start) = (posted.stamp, posted.start);
            posted.cells.iter().map(|c| format!("{stamp} {start} {}", words(c))).collect::<Vec<_>>()
        };
        posted.iter().flat_map(cells).collect()
    }

    fn made() -> impl Strategy<Value = Made> {
        let text = || prop::collection::vec(prop_oneof![Just(b','), 97..122_u8], 0..6);
        let name = prop::collection::vec(97..122_u8, 1..6);
        // Each once and in order, as a key has them.
        let tags = prop::collection::btree_set(text(), 0..3);
        let tags = tags.prop_map(|tags| tags.into_iter().collect::<Vec<_>>());
        let values = prop::collection::vec(-1e9..1e9_f64, 1..5);
        (0..5_usize, name, tags, prop::option::of(text()), values, any::<u32>())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            blocks in prop::collection::vec(
                (any::<u64>(), any::<u64>(), prop::collection::vec(made(), 1..6)), 1..4),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let posted = |(stamp, start, cells): (u64, u64, Vec<Made>)| {
                Posted { stamp, start, cells: cells.into_iter().map(cell).collect() }
            };
            let posted: Vec<Posted> = blocks.into_iter().map(posted).collect();
            let mut bytes = encoded(&posted);
            let read = decode(&bytes, &state()).expect("whole");
            prop_assert_eq!(all(&read), all(&posted));
            // No damage goes unnoticed, and none panics.
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at], &state()).is_err());
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes, &state()).is_err());
        }
    }

    proptest! {
        /// Under a checksum that is right, as a hostile neighbour would write it: a sound file with some
        /// bytes changed.
        #[test]
        fn what_is_taken_is_sound(
            cells in prop::collection::vec(made(), 1..6),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let cells = cells.into_iter().map(cell).collect();
            let posted = Posted { stamp: 11, start: 10, cells };
            let (mut bytes, _) = encode(std::iter::once(&posted), 10, &mut Packer::plain());
            // Past the length of the only part, and its first eight bytes with the checksum.
            let content = HEAD_BYTES + 4 + 8;
            for (at, byte) in changes {
                let at = content + at.index(bytes.len() - content);
                bytes[at] = byte;
            }
            let crc = crc32fast::hash(&bytes[content..]).to_le_bytes();
            bytes[content - 4..content].copy_from_slice(&crc);
            if let Ok(read) = decode(&bytes, &state()) {
                let again = decode(&encoded(&read), &state()).map(|again| all(&again).len());
                prop_assert_eq!(again, Ok(all(&read).len()));
            }
        }
    }

    #[test]
    fn the_file_of_an_older_version_is_told_apart() {
        let cell = cell((0, b"n".to_vec(), Vec::new(), None, vec![1.0], 7));
        let mut bytes = encoded(&[Posted { stamp: 11, start: 10, cells: vec![cell] }]);
        bytes[7] = b'1';
        assert_eq!(decode(&bytes, &state()).err(), Some(HandOverError::Foreign));
        assert_eq!(decode(b"", &state()).err(), Some(HandOverError::Foreign));
    }

    /// A part of a hand-over is one that any reader of parts understands.
    #[test]
    fn another_reader_sees_a_part_like_any_other() {
        let cells: Vec<PostedCell> = (0..5)
            .map(|kind| {
                let name = format!("name.{kind}").into_bytes();
                cell((kind, name, vec![b"b".to_vec(), b"a".to_vec()], None, vec![2.0], 7))
            })
            .collect();
        let bytes = encoded(&[Posted { stamp: 11, start: 10, cells }]);
        let Ok(Record::Part(part)) = part::decode(&bytes[HEAD_BYTES + 4..], &PartLimits::new(10))
        else {
            panic!("a part")
        };
        assert_eq!((part.head.start, part.head.interval, part.head.partitions), (10, 10, 1));
        let kinds: Vec<_> = part.cells.iter().map(|cell| cell.value.kind()).collect();
        use crate::context::Kind::{Counter, Gauge, Histogram, Set};
        assert_eq!(kinds, [Counter, Gauge, Histogram, Histogram, Set]);
        assert_eq!(part.cells[0].key.as_bytes(), b"name.0\na\nb");
    }

    #[test]
    fn a_series_without_a_key_is_left_out_and_counted() {
        let made = |name: &[u8]| cell((0, name.to_vec(), Vec::new(), None, vec![1.0], 7));
        let cells = vec![made(b"a"), made(b""), made(&[b'k'; 20_000])];
        let posted = Posted { stamp: 11, start: 10, cells };
        let (bytes, left_out) = encode(std::iter::once(&posted), 10, &mut Packer::new());
        assert_eq!(left_out, 2);
        assert_eq!(all(&decode(&bytes, &state()).expect("whole")).len(), 1);
    }

    #[test]
    fn estimates_and_folded_histograms_survive() {
        let (mut set, mut histogram) = (
            SetCell::from_parts(SetParts::Members(Vec::new()), &state()).expect("empty"),
            HistogramCell::new(0),
        );
        for n in 0..5_000_u32 {
            set.insert(&n.to_le_bytes(), 100, &mut crate::memory::MemoryShare::default());
            histogram.add(Sample { value: f64::from(n), scale: 1.0 });
        }
        histogram.sort();
        let cell_of = |kind, value| {
            let (host, overflow, global) = (None, false, false);
            let parts = ContextParts { kind, name: b"n", tags: &[], host, overflow, global };
            PostedCell { context: Context::new(&parts).expect("no tags"), write_order: 7, value }
        };
        let cells = vec![
            cell_of(MetricType::Set, PostedValue::Set(set.clone())),
            cell_of(MetricType::Timing, PostedValue::Histogram(histogram.clone())),
        ];
        let posted = Posted { stamp: 11, start: 10, cells };
        let read = decode(&encoded(std::slice::from_ref(&posted)), &state()).expect("whole");
        assert_eq!(all(&read), all(&[posted]));
        let [PostedValue::Set(read_set), PostedValue::Histogram(read_histogram)] =
            [&read[0].cells[0].value, &read[0].cells[1].value]
        else {
            panic!("{read:?}")
        };
        assert_eq!(read_set.count(), set.count());
        assert_eq!(read_histogram.summary(), histogram.summary());
        assert_eq!(read_histogram.value_past(2_500), histogram.value_past(2_500));
    }
}
