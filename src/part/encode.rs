//! From cells to the bytes of Cells.

use super::cell::Value;
use super::histogram::{Folded, Form as HistogramForm, Histogram, Samples};
use super::set::{Form as SetForm, Set};
use super::{Head, Key, Style, wire};
use crate::aggregate::{REGISTERS, observe_hash};
use crate::protobuf::{
    BYTES, FIXED64, VARINT, key, put_bytes, put_double, put_head, put_integer, put_varint, zigzag,
};

/// More members than this are written as registers: a part has to fit into a record.
const HASHES_MAX: usize = 1 << 18;

/// Buffers that every cell uses again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The content of one Cell.
    pub cell: Vec<u8>,
    message: Vec<u8>,
    packed: Vec<u8>,
}

/// What stands before the value of every cell.
pub(super) struct CellHead<'a> {
    pub key: &'a Key,
    pub stamp: u32,
    pub style: u32,
    /// Field 15; empty on the way to other hosts.
    pub local: &'a [u8],
}

impl Scratch {
    /// Calls `write` with the content of each Cell that the value needs: one, but for counts beyond 64
    /// bits.
    pub fn write(&mut self, head: &CellHead<'_>, value: &Value, mut write: impl FnMut(&[u8])) {
        match value {
            Value::Counter(sum) => {
                self.begin(head);
                let floats = sum.floats();
                self.put_float(wire::cell::COUNTER, floats[0]);
                put_packed_doubles(&mut self.cell, wire::cell::REST, &floats[1..]);
            }
            Value::Gauge(value) => {
                self.begin(head);
                self.put_float(wire::cell::GAUGE, *value);
            }
            Value::Set(set) => {
                self.begin(head);
                self.message.clear();
                put_set(&mut self.message, set);
                put_bytes(&mut self.cell, key(wire::cell::SET, BYTES), &self.message);
            }
            Value::Histogram(Histogram(HistogramForm::Samples(samples))) => {
                self.begin(head);
                self.message.clear();
                put_samples(&mut self.message, samples);
                put_bytes(&mut self.cell, key(wire::cell::HISTOGRAM, BYTES), &self.message);
            }
            Value::Histogram(Histogram(HistogramForm::Folded(folded))) => {
                return self.write_folded(head, folded, write);
            }
        }
        write(&self.cell);
    }

    fn begin(&mut self, head: &CellHead<'_>) {
        let cell = &mut self.cell;
        cell.clear();
        put_bytes(cell, key(wire::cell::KEY, BYTES), head.key.as_bytes());
        put_integer(cell, key(wire::cell::STAMP, VARINT), u64::from(head.stamp));
        put_integer(cell, key(wire::cell::STYLE, VARINT), u64::from(head.style));
        if !head.local.is_empty() {
            put_bytes(cell, key(wire::LOCAL, BYTES), head.local);
        }
    }

    /// A member of a oneof: also when it is 0.
    fn put_float(&mut self, field: u8, value: f64) {
        self.cell.push(key(field, FIXED64));
        self.cell.extend_from_slice(&value.to_le_bytes());
    }

    /// Cells of which each counts what 64 bits hold; the first one has the sum.
    fn write_folded(&mut self, head: &CellHead<'_>, folded: &Folded, mut write: impl FnMut(&[u8])) {
        let mut bins = folded.bins.iter().peekable();
        let mut floats = folded.sum.floats();
        while bins.peek().is_some() {
            let mut count = 0_u64;
            let mut piece = Vec::with_capacity(folded.bins.len());
            while let Some((bin_key, n)) = bins.peek().copied()
                && let Some(sum) = count.checked_add(n)
            {
                count = sum;
                piece.push((bin_key, n));
                bins.next();
            }
            self.begin(head);
            self.message.clear();
            let message = &mut self.message;
            put_integer(message, key(wire::histogram::COUNT, VARINT), count);
            put_double(message, key(wire::histogram::SUM, FIXED64), floats[0]);
            put_double(message, key(wire::histogram::MIN, FIXED64), folded.min);
            put_double(message, key(wire::histogram::MAX, FIXED64), folded.max);
            let keys = piece.iter().map(|(bin_key, _)| zigzag(i32::from(*bin_key)));
            put_packed(message, &mut self.packed, wire::histogram::KEYS, keys);
            let counts = piece.iter().map(|(_, n)| *n);
            put_packed(message, &mut self.packed, wire::histogram::COUNTS, counts);
            put_packed_doubles(message, wire::histogram::REST, &floats[1..]);
            put_bytes(&mut self.cell, key(wire::cell::HISTOGRAM, BYTES), &self.message);
            write(&self.cell);
            floats = vec![0.0];
        }
    }
}

fn put_set(message: &mut Vec<u8>, set: &Set) {
    match &set.0 {
        SetForm::Hashes(hashes) if hashes.len() > HASHES_MAX => {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| observe_hash(&mut registers[..], *hash));
            put_bytes(message, key(wire::set::REGISTERS, BYTES), &registers[..]);
        }
        SetForm::Hashes(hashes) if hashes.is_empty() => {}
        SetForm::Hashes(hashes) => {
            put_head(message, key(wire::set::HASHES, BYTES), hashes.len() * 8);
            hashes.iter().for_each(|hash| message.extend_from_slice(&hash.to_le_bytes()));
        }
        SetForm::Registers(registers) => {
            put_bytes(message, key(wire::set::REGISTERS, BYTES), &registers[..]);
        }
    }
}

fn put_samples(message: &mut Vec<u8>, samples: &Samples) {
    put_packed_doubles(message, wire::histogram::VALUES, &samples.values);
    put_packed_doubles(message, wire::histogram::SCALES, &samples.scales);
}

fn put_packed_doubles(message: &mut Vec<u8>, field: u8, values: &[f64]) {
    if !values.is_empty() {
        put_head(message, key(field, BYTES), values.len() * 8);
        values.iter().for_each(|value| message.extend_from_slice(&value.to_le_bytes()));
    }
}

fn put_packed(
    message: &mut Vec<u8>,
    packed: &mut Vec<u8>,
    field: u8,
    values: impl Iterator<Item = u64>,
) {
    packed.clear();
    values.for_each(|value| put_varint(packed, value));
    put_bytes(message, key(field, BYTES), packed);
}

/// The bytes of Head; `local` is field 15.
pub(super) fn put_part_head(to: &mut Vec<u8>, head: &Head, local: &[u8]) {
    use wire::head as field;
    put_bytes(to, key(field::SENDER, BYTES), &head.sender);
    if !head.host.is_empty() {
        put_bytes(to, key(field::HOST, BYTES), head.host.as_bytes());
    }
    put_integer(to, key(field::START, VARINT), head.start);
    for (number, value) in [
        (field::INTERVAL, head.interval),
        (field::PARTITION, head.partition),
        (field::PARTITIONS, head.partitions),
        (field::SEQUENCE, head.sequence),
        (field::CELLS, head.cells),
        (field::RAW_BYTES, head.raw_bytes),
    ] {
        put_integer(to, key(number, VARINT), u64::from(value));
    }
    put_integer(to, key(field::BUILT_MS, VARINT), head.built_ms);
    let mut message = Vec::new();
    for style in &head.styles {
        message.clear();
        put_style(&mut message, style);
        put_bytes(to, key(field::STYLES, BYTES), &message);
    }
    if !local.is_empty() {
        put_bytes(to, key(wire::LOCAL, BYTES), local);
    }
}

fn put_style(message: &mut Vec<u8>, style: &Style) {
    use wire::style as field;
    for aggregate in &style.aggregates {
        put_bytes(message, key(field::AGGREGATES, BYTES), aggregate.as_bytes());
    }
    put_packed_doubles(message, field::PERCENTILES, &style.percentiles);
    put_integer(message, key(field::AS_COUNT, VARINT), u64::from(style.as_count));
    if !style.unit.is_empty() {
        put_bytes(message, key(field::UNIT, BYTES), style.unit.as_bytes());
    }
}
