//! What a part has no place for, because no other host needs it: its field 15, which they skip.
//!
//! ```proto
//! message LocalHead { uint64 stamp = 1; }        // the second the values were posted at
//! message LocalCell { uint32 type = 1;           // number of the metric type
//!   bytes host = 2;                              // absent: none
//!   bool overflow = 3; uint32 write_order = 4;
//!   repeated bytes members = 5; bytes registers = 6;     // of a set: either; registers of any precision
//!   repeated double values = 7; repeated uint64 counts = 8; }    // of a folded histogram: its ranges
//! ```

use ahash::RandomState;

use super::{PostedCell, PostedValue};
use crate::aggregate::{
    CounterCell, GaugeCell, HistogramCell, HistogramParts, SetCell, SetForm, SetParts,
};
use crate::context::{Context, Kind};
use crate::part::Value;
use crate::protobuf::{BYTES, FIXED64, VARINT, fields, key, put_bytes, put_integer, put_varint};
use crate::protocol::MetricType;

/// Field 15 of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LocalHead {
    /// The second the values were posted at.
    pub stamp: u64,
}

impl LocalHead {
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Also when it is 0: without it a part is none of a hand-over.
        bytes.push(key(1, VARINT));
        put_varint(&mut bytes, self.stamp);
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<LocalHead> {
        let mut stamp = None;
        for field in fields(bytes) {
            let field = field?;
            if (field.number, field.wire) == (1, VARINT) {
                stamp = Some(field.scalar);
            }
        }
        stamp.map(|stamp| LocalHead { stamp })
    }
}

/// Field 15 of a cell.
#[derive(Debug, Default)]
pub(super) struct LocalCell<'a> {
    metric_type: u64,
    pub host: Option<&'a [u8]>,
    pub overflow: bool,
    pub write_order: u32,
    members: Vec<&'a [u8]>,
    registers: Option<&'a [u8]>,
    counts: Vec<(f64, u64)>,
}

impl<'a> LocalCell<'a> {
    pub fn of(cell: &'a PostedCell) -> LocalCell<'a> {
        let PostedCell { context, write_order, value } = cell;
        let mut local = LocalCell {
            metric_type: type_of(context) as u64,
            host: context.host(),
            overflow: context.is_overflow(),
            write_order: *write_order,
            ..LocalCell::default()
        };
        match value {
            PostedValue::Counter(_) | PostedValue::Gauge(_) => {}
            PostedValue::Set(set) => match set.form() {
                SetForm::Members(members) => {
                    local.members = members.iter().map(|member| &**member).collect();
                }
                SetForm::Registers(registers) => local.registers = Some(registers),
            },
            PostedValue::Histogram(histogram) => {
                if histogram.is_folded()
                    && let HistogramParts::Folded { counts, .. } = histogram.parts()
                {
                    local.counts = counts;
                }
            }
        }
        local
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.push(key(1, VARINT));
        put_varint(&mut bytes, self.metric_type);
        self.host.iter().for_each(|host| put_bytes(&mut bytes, key(2, BYTES), host));
        put_integer(&mut bytes, key(3, VARINT), u64::from(self.overflow));
        put_integer(&mut bytes, key(4, VARINT), u64::from(self.write_order));
        self.members.iter().for_each(|member| put_bytes(&mut bytes, key(5, BYTES), member));
        let registers = self.registers.iter();
        registers.for_each(|registers| put_bytes(&mut bytes, key(6, BYTES), registers));
        for (value, count) in &self.counts {
            bytes.push(key(7, FIXED64));
            bytes.extend(value.to_le_bytes());
            bytes.push(key(8, VARINT));
            put_varint(&mut bytes, *count);
        }
        bytes
    }

    pub fn read(bytes: &'a [u8]) -> Option<LocalCell<'a>> {
        let mut local = LocalCell::default();
        let (mut has_type, mut values, mut counts) = (false, Vec::new(), Vec::new());
        for field in fields(bytes) {
            let field = field?;
            match (field.number, field.wire) {
                (1, VARINT) => (has_type, local.metric_type) = (true, field.scalar),
                (2, BYTES) => local.host = Some(field.content),
                (3, VARINT) => local.overflow = field.scalar != 0,
                (4, VARINT) => local.write_order = u32::try_from(field.scalar).ok()?,
                (5, BYTES) => local.members.push(field.content),
                (6, BYTES) => local.registers = Some(field.content),
                (7, FIXED64) => values.push(f64::from_bits(field.scalar)),
                (8, VARINT) => counts.push(field.scalar),
                (1..=8, _) => return None,
                _ => {}
            }
        }
        let sound =
            has_type && values.len() == counts.len() && values.iter().all(|v| v.is_finite());
        local.counts = values.into_iter().zip(counts).collect();
        sound.then_some(local)
    }

    /// None for one that is not handed over: the intake adds sketches.
    pub fn metric_type(&self) -> Option<MetricType> {
        TYPES.into_iter().find(|kind| *kind as u64 == self.metric_type)
    }

    /// The value in the form that it had before.
    pub fn value(&self, kind: Kind, value: &Value, state: &RandomState) -> Option<PostedValue> {
        Some(match (kind, value) {
            (Kind::Counter, Value::Counter(sum)) => PostedValue::Counter(sum.value()),
            (Kind::Gauge, Value::Gauge(value)) => PostedValue::Gauge(*value),
            (Kind::Set, Value::Set(_)) => {
                let parts = match self.registers {
                    Some(registers) => SetParts::Registers(registers.into()),
                    None => {
                        SetParts::Members(self.members.iter().copied().map(Box::from).collect())
                    }
                };
                PostedValue::Set(SetCell::from_parts(parts, state)?)
            }
            (Kind::Histogram, Value::Histogram(histogram)) => {
                let parts = match histogram.samples() {
                    Some(samples) => HistogramParts::Samples(samples),
                    None => HistogramParts::Folded {
                        summary: histogram.summary(),
                        counts: self.counts.clone(),
                    },
                };
                PostedValue::Histogram(HistogramCell::from_parts(parts)?)
            }
            _ => return None,
        })
    }
}

/// The value as every host reads it.
pub(super) fn value_of(value: &PostedValue) -> Value {
    match value {
        PostedValue::Counter(sum) => {
            Value::from(&CounterCell { sum: *sum, context: 0, write_order: 0 })
        }
        PostedValue::Gauge(value) => {
            Value::from(&GaugeCell { value: *value, context: 0, write_order: 0 })
        }
        PostedValue::Set(set) => Value::from(set),
        PostedValue::Histogram(histogram) => Value::from(histogram),
    }
}

/// Those whose values are handed over.
const TYPES: [MetricType; 5] = [
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::Timing,
    MetricType::Set,
];

pub(super) fn type_of(context: &Context) -> MetricType {
    match context.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram if context.is_timing() => MetricType::Timing,
        Kind::Histogram => MetricType::Histogram,
        Kind::Set => MetricType::Set,
        Kind::Distribution => MetricType::Distribution,
    }
}
