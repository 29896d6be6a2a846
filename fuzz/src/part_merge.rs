//! Whatever parts come, their order, their grouping and encoding in between do not show.
//!
//! The input is records, each behind its length in two bytes, little-endian. Their checksums are put right.

use ahash::RandomState;
use whippet::part::{
    Head, KeyPool, Merged, Packer, Part, PartLimits, PartWriter, Record, decode, fuzz_api,
};

/// Few, so that sets pass it.
const SET_MEMBERS_MAX: usize = 8;

/// One input.
pub fn run(input: &[u8]) {
    let parts = parts(input);
    let whole = merged(&parts);
    let reversed: Vec<Part> = parts.iter().rev().cloned().collect();
    same(&whole, &merged(&reversed));
    let (left, right) = parts.split_at(parts.len() / 2);
    let groups = [through_bytes(&merged(right)), through_bytes(&merged(left))].concat();
    same(&whole, &merged(&groups));
}

fn parts(mut input: &[u8]) -> Vec<Part> {
    let limits = PartLimits::new(SET_MEMBERS_MAX);
    let mut parts = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (record, rest) = rest.split_at(length);
        input = rest;
        let mut record = record.to_vec();
        fuzz_api::reseal(&mut record);
        if let Ok(Record::Part(part)) = decode(&record, &limits) {
            parts.push(part);
        }
    }
    parts
}

fn state() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn merged(parts: &[Part]) -> Merged {
    let (mut merged, mut keys) = (Merged::new(SET_MEMBERS_MAX, state()), KeyPool::new(state()));
    for part in parts {
        let touched = merged.merge(part.clone(), &mut keys);
        assert!(touched.len() <= part.cells.len());
    }
    assert_eq!(merged.iter().count(), merged.len());
    merged
}

/// Every kind of every series as a part of whoever wrote it last, written and read.
fn through_bytes(merged: &Merged) -> Vec<Part> {
    let (mut packer, mut parts) = (Packer::new(), Vec::new());
    merged.every_kind(|series| {
        let sender = series.sender;
        let head = Head { sender, interval: 1, partitions: 1, ..Head::default() };
        let mut writer = PartWriter::new(head);
        let pushed = writer.push(series.key, series.stamp, series.style, series.value, &mut packer);
        let records = pushed.expect("what was merged can be written");
        for record in records.into_iter().chain(writer.finish(&mut packer)) {
            match decode(&record.bytes, &PartLimits::new(SET_MEMBERS_MAX)) {
                Ok(Record::Part(part)) => parts.push(part),
                other => panic!("what was written is not read: {other:?}"),
            }
        }
    });
    parts
}

fn same(one: &Merged, other: &Merged) {
    assert_eq!(one.len(), other.len());
    for ours in one.iter() {
        let theirs = other.series(ours.key).expect("of the same keys");
        assert_eq!(ours.value, theirs.value, "{:?}", ours.key);
        assert_eq!(
            (ours.kind(), ours.stamp, ours.sender, ours.style, ours.type_conflicts),
            (theirs.kind(), theirs.stamp, theirs.sender, theirs.style, theirs.type_conflicts)
        );
    }
}
