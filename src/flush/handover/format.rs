//! The bytes of a hand-over, version 1. Numbers are little-endian.
//!
//! ```text
//! "WHIPHND1"  crc32 of all that follows  blocks
//! block   stamp u64, start u64, cells u32, cells
//! cell    type u8 (number of the metric type), flags u8 (1 host, 2 overflow, 4 estimate or folded),
//!         write order u32, name, [host], tags u16 and as many texts, value
//! text    length u32, bytes
//! value   counter, gauge: f64
//!         set: members u32 and as many texts; estimated: one text of registers
//!         histogram: samples u32 and as many value f64, scale f64; folded: count u64, sum, min, max f64,
//!         counts u32 and as many value f64, count u64
//! ```

use ahash::RandomState;

use super::{Posted, PostedCell, PostedValue};
use crate::aggregate::{HistogramCell, HistogramParts, Sample, SetCell, SetParts, Summary};
use crate::context::{Context, ContextParts, Kind};
use crate::protocol::MetricType;

const MAGIC: &[u8; 8] = b"WHIPHND1";
/// Magic and checksum.
const HEAD_BYTES: usize = 12;
/// Enough for half a million series.
const BYTES_MAX: usize = 64 << 20;

const HAS_HOST: u8 = 1;
const OVERFLOW: u8 = 2;
const INEXACT: u8 = 4;

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

/// The bytes, and how many cells did not fit; no bytes for no cells.
pub(super) fn encode<'a>(posted: impl Iterator<Item = &'a Posted>) -> (Vec<u8>, usize) {
    let mut bytes = vec![0; HEAD_BYTES];
    let mut left_out = 0;
    for posted in posted {
        bytes.extend(posted.stamp.to_le_bytes());
        bytes.extend(posted.start.to_le_bytes());
        let count_at = bytes.len();
        bytes.extend([0; 4]);
        let mut count = 0_u32;
        for cell in &posted.cells {
            let before = bytes.len();
            write_cell(&mut bytes, cell);
            if bytes.len() > BYTES_MAX {
                bytes.truncate(before);
                left_out += 1;
            } else {
                count += 1;
            }
        }
        bytes[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    }
    if bytes.len() == HEAD_BYTES {
        return (Vec::new(), left_out);
    }
    (sealed(&bytes[HEAD_BYTES..]), left_out)
}

/// Magic and checksum in front of blocks.
pub(super) fn sealed(blocks: &[u8]) -> Vec<u8> {
    [MAGIC, &crc32fast::hash(blocks).to_le_bytes()[..], blocks].concat()
}

fn write_cell(to: &mut Vec<u8>, cell: &PostedCell) {
    let PostedCell { context, write_order, value } = cell;
    let host = context.host();
    let inexact = match value {
        PostedValue::Set(set) => set.is_estimated(),
        PostedValue::Histogram(histogram) => histogram.is_folded(),
        PostedValue::Counter(_) | PostedValue::Gauge(_) => false,
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    to.push(type_of(context) as u8);
    to.push(
        flag(host.is_some(), HAS_HOST)
            | flag(context.is_overflow(), OVERFLOW)
            | flag(inexact, INEXACT),
    );
    to.extend(write_order.to_le_bytes());
    write_text(to, context.name());
    host.iter().for_each(|host| write_text(to, host));
    let tags: Vec<&[u8]> = context.tags(&[]).iter().collect();
    // A context has 65,535 tags at most.
    to.extend((tags.len() as u16).to_le_bytes());
    tags.iter().for_each(|tag| write_text(to, tag));
    match value {
        PostedValue::Counter(value) | PostedValue::Gauge(value) => to.extend(value.to_le_bytes()),
        PostedValue::Set(set) => match set.parts() {
            SetParts::Members(members) => {
                to.extend((members.len() as u32).to_le_bytes());
                members.iter().for_each(|member| write_text(to, member));
            }
            SetParts::Registers(registers) => write_text(to, &registers),
        },
        PostedValue::Histogram(histogram) => match histogram.parts() {
            HistogramParts::Samples(samples) => {
                to.extend((samples.len() as u32).to_le_bytes());
                for Sample { value, scale } in samples {
                    to.extend(value.to_le_bytes());
                    to.extend(scale.to_le_bytes());
                }
            }
            HistogramParts::Folded { summary, counts } => {
                to.extend(summary.count.to_le_bytes());
                for value in [summary.sum, summary.min, summary.max] {
                    to.extend(value.to_le_bytes());
                }
                to.extend((counts.len() as u32).to_le_bytes());
                for (value, count) in counts {
                    to.extend(value.to_le_bytes());
                    to.extend(count.to_le_bytes());
                }
            }
        },
    }
}

/// A name, tag or member came in one datagram, so its length fits.
fn write_text(to: &mut Vec<u8>, text: &[u8]) {
    to.extend((text.len() as u32).to_le_bytes());
    to.extend(text);
}

const TYPES: [MetricType; 6] = [
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::Timing,
    MetricType::Set,
    MetricType::Distribution,
];

fn type_of(context: &Context) -> MetricType {
    match context.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram if context.is_timing() => MetricType::Timing,
        Kind::Histogram => MetricType::Histogram,
        Kind::Set => MetricType::Set,
        Kind::Distribution => MetricType::Distribution,
    }
}

pub(super) fn decode(bytes: &[u8], state: &RandomState) -> Result<Vec<Posted>, HandOverError> {
    let blocks = bytes.strip_prefix(MAGIC).ok_or(HandOverError::Foreign)?;
    let (crc, blocks) = blocks.split_first_chunk().ok_or(HandOverError::Damaged)?;
    if u32::from_le_bytes(*crc) != crc32fast::hash(blocks) {
        return Err(HandOverError::Damaged);
    }
    let mut reader = Reader(blocks);
    let mut posted = Vec::new();
    while !reader.0.is_empty() {
        posted.push(reader.block(state).ok_or(HandOverError::Damaged)?);
    }
    Ok(posted)
}

/// What is left to read. Nothing is set aside by a length that was only read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn finite(&mut self) -> Option<f64> {
        self.chunk().map(f64::from_le_bytes).filter(|value| value.is_finite())
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn block(&mut self, state: &RandomState) -> Option<Posted> {
        let (stamp, start) = (self.u64()?, self.u64()?);
        let cells = self.u32()?;
        let cells = (0..cells).map(|_| self.cell(state)).collect::<Option<_>>()?;
        Some(Posted { stamp, start, cells })
    }

    fn cell(&mut self, state: &RandomState) -> Option<PostedCell> {
        let [number, flags] = self.chunk()?;
        let kind = *TYPES.iter().find(|kind| **kind as u8 == number)?;
        let write_order = self.u32()?;
        let name = self.text()?;
        let host = if flags & HAS_HOST != 0 { Some(self.text()?) } else { None };
        let tags = u16::from_le_bytes(self.chunk()?);
        let tags = (0..tags).map(|_| self.text()).collect::<Option<Vec<_>>>()?;
        if tags.iter().any(|tag| tag.contains(&b'\n')) {
            return None;
        }
        let overflow = flags & OVERFLOW != 0;
        // What is global is never posted here, so there is nothing of it to hand over.
        let global = false;
        let parts = ContextParts { kind, name, tags: &tags, host, overflow, global };
        let context = Context::new(&parts)?;
        let value = self.value(kind, flags & INEXACT != 0, state)?;
        Some(PostedCell { context, write_order, value })
    }

    fn value(
        &mut self,
        kind: MetricType,
        inexact: bool,
        state: &RandomState,
    ) -> Option<PostedValue> {
        match kind {
            MetricType::Counter => self.finite().map(PostedValue::Counter),
            MetricType::Gauge => self.finite().map(PostedValue::Gauge),
            MetricType::Set => {
                let parts = if inexact {
                    SetParts::Registers(self.text()?.into())
                } else {
                    let count = self.u32()?;
                    let members = (0..count).map(|_| self.text().map(Box::from));
                    SetParts::Members(members.collect::<Option<_>>()?)
                };
                SetCell::from_parts(parts, state).map(PostedValue::Set)
            }
            MetricType::Histogram | MetricType::Timing => {
                let parts = if inexact { self.folded()? } else { self.samples()? };
                HistogramCell::from_parts(parts).map(PostedValue::Histogram)
            }
            // The intake adds sketches.
            MetricType::Distribution => None,
        }
    }

    fn samples(&mut self) -> Option<HistogramParts> {
        let count = self.u32()?;
        let sample = |_| Some(Sample { value: self.finite()?, scale: self.finite()? });
        Some(HistogramParts::Samples((0..count).map(sample).collect::<Option<_>>()?))
    }

    fn folded(&mut self) -> Option<HistogramParts> {
        let count = self.u64()?;
        let (sum, min, max) = (self.finite()?, self.finite()?, self.finite()?);
        let counts = self.u32()?;
        let counts = (0..counts).map(|_| Some((self.finite()?, self.u64()?)));
        let counts = counts.collect::<Option<_>>()?;
        Some(HistogramParts::Folded { summary: Summary { count, sum, min, max }, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> RandomState {
        RandomState::with_seeds(1, 2, 3, 4)
    }

    type Made = (usize, Vec<u8>, Vec<Vec<u8>>, Option<Vec<u8>>, Vec<f64>, u32);

    fn cell((kind, name, tags, host, values, write_order): Made) -> PostedCell {
        let kind = TYPES[kind];
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
        let tags = prop::collection::vec(text(), 0..3);
        let values = prop::collection::vec(-1e9..1e9_f64, 1..5);
        (0..5_usize, text(), tags, prop::option::of(text()), values, any::<u32>())
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
            let (mut bytes, left_out) = encode(posted.iter());
            prop_assert_eq!(left_out, 0);
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
        /// Under a checksum that is right, as a hostile neighbour would write it: parts of a sound
        /// file, with some bytes changed.
        #[test]
        fn what_is_taken_is_sound(
            cells in prop::collection::vec(made(), 1..6),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let cells = cells.into_iter().map(cell).collect();
            let posted = Posted { stamp: 11, start: 10, cells };
            let mut blocks = encode(std::iter::once(&posted)).0[HEAD_BYTES..].to_vec();
            for (at, byte) in changes {
                let at = at.index(blocks.len());
                blocks[at] = byte;
            }
            for blocks in [&blocks[..], &blocks[..cut.index(blocks.len())]] {
                if let Ok(read) = decode(&sealed(blocks), &state()) {
                    let (again, left_out) = encode(read.iter());
                    prop_assert_eq!(left_out, 0);
                    let cells = |posted: &[Posted]| all(posted).len();
                    prop_assert_eq!(
                        decode(&again, &state()).map_or(0, |again| cells(&again)),
                        cells(&read)
                    );
                }
            }
        }
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
        let read = decode(&encode(std::iter::once(&posted)).0, &state()).expect("whole");
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
