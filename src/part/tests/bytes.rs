//! What is written, as prost reads it; what prost writes, as it is read.

use super::messages as eye;
use super::*;

#[test]
fn another_implementation_reads_what_is_written() {
    let cells = all_forms();
    let [record] = &encode(head(1), &cells)[..] else { panic!("one part") };
    let (read, body) = eye::read(&record.bytes);
    assert_eq!(read.sender, [1; 16]);
    assert_eq!(
        (&*read.host, read.start, read.interval, read.partition, read.partitions, read.sequence),
        ("web-1", 1_700_000_000, 10, 3, 64, 0)
    );
    assert_eq!((read.cells, record.cells, read.built_ms), (11, 11, 1_700_000_010_123));
    let value = |at: usize| body.cell[at].value.clone().expect("a value");
    assert_eq!(body.cell[0].key.as_deref(), Some(&b"metric.0\naz:b\nenv:prod"[..]));
    assert_eq!((body.cell[1].stamp, body.cell[1].style), (9_998, 0));
    assert_eq!(value(0), eye::Value::Counter(12.0));
    assert_eq!(value(1), eye::Value::Counter(0.0), "zero is a value too");
    assert_eq!(value(2), eye::Value::Counter(1e300), "rounded for those who know no more");
    assert_eq!(value(3), eye::Value::Gauge(-0.25));
    assert_eq!(value(4), eye::Value::Set(eye::Set::default()));
    let eye::Value::Set(set) = value(5) else { panic!("a set") };
    assert!(set.hashes.len() == 100 && set.hashes.contains(&Set::hash_of(&7_u64.to_le_bytes())));
    let eye::Value::Set(set) = value(6) else { panic!("a set") };
    assert_eq!((set.hashes.len(), set.registers.len()), (0, 16_384));
    assert_eq!(value(7), eye::Value::Histogram(eye::Histogram::default()));
    let eye::Value::Histogram(samples) = value(8) else { panic!("a histogram") };
    assert_eq!(samples.values, (0..1_000).map(f64::from).collect::<Vec<_>>());
    assert!(samples.scales.is_empty() && samples.k.is_empty());
    let eye::Value::Histogram(samples) = value(9) else { panic!("a histogram") };
    assert_eq!((samples.values.len(), samples.scales), (10, vec![1.5; 10]));
    let eye::Value::Histogram(folded) = value(10) else { panic!("a histogram") };
    assert_eq!((folded.count, folded.min, folded.max), (10_000, -20.0, 4_999.0 * 0.1 - 20.0));
    assert!((folded.sum - 2.0 * 1_149_750.0).abs() < 1e-6);
    assert_eq!(folded.n.iter().sum::<u64>(), 10_000);
    let mut sketch = crate::sketch::Sketch::default();
    (0..5_000).for_each(|n| assert!(sketch.insert(f64::from(n) * 0.1 - 20.0, 0.5)));
    let bins: Vec<(i32, u64)> =
        sketch.bins().map(|(key, n)| (i32::from(key), u64::from(n))).collect();
    assert_eq!(folded.k.into_iter().zip(folded.n).collect::<Vec<_>>(), bins);
}

#[test]
fn what_is_written_is_read() {
    let cells = all_forms();
    let [record] = &encode(head(1), &cells)[..] else { panic!("one part") };
    let read = part(&record.bytes);
    assert_eq!(read.cells, cells);
    assert_eq!(read.head.id(), record.id);
    let Ok(Opened::Part(sealed)) = open(&record.bytes, &limits()) else { panic!("a part") };
    assert_eq!(*sealed.head(), read.head);
}

#[test]
fn what_another_implementation_writes_is_read_and_what_is_unknown_is_skipped() {
    let cells = eye::Cells {
        cell: vec![
            eye::Cell {
                key: Some(b"a\nx:1".to_vec()),
                stamp: 5,
                style: 2,
                value: Some(eye::Value::Counter(0.0)),
                unknown: 77,
            },
            eye::Cell {
                key: Some(b"h".to_vec()),
                value: Some(eye::Value::Histogram(eye::Histogram {
                    count: 5,
                    sum: -3.0,
                    min: -2.0,
                    max: 1.0,
                    k: vec![-1_383, 0, 1_338],
                    n: vec![1, 3, 1],
                    ..eye::Histogram::default()
                })),
                ..eye::Cell::default()
            },
        ],
        unknown: 5,
    };
    let mut made = eye::head(&cells);
    made.unknown = "later".to_owned();
    let style = eye::Style {
        aggregates: vec!["max".to_owned(), "count".to_owned()],
        percentiles: vec![0.95, 1.0],
        as_count: true,
        unit: "millisecond".to_owned(),
        unknown: 3,
    };
    made.styles = vec![eye::Style::default(), style];
    let read = part(&eye::part(&made, &cells));
    assert_eq!(read.head.styles[0], Style::default());
    assert_eq!(
        read.head.styles[1],
        Style {
            aggregates: vec!["max".to_owned(), "count".to_owned()],
            percentiles: vec![0.95, 1.0],
            as_count: true,
            unit: "millisecond".to_owned(),
        }
    );
    let [counter, histogram] = &read.cells[..] else { panic!("two cells") };
    assert_eq!((counter.key.clone(), counter.stamp, counter.style), (key("a,x:1"), 5, 2));
    assert_eq!(counter.value, Value::Counter(Sum::default()));
    let Value::Histogram(histogram) = &histogram.value else { panic!("a histogram") };
    let values: Vec<f64> = (0..6).map(|rank| histogram.value_past(rank)).collect();
    assert!((values[0] / -2.0 - 1.0).abs() < 0.008, "{values:?}");
    assert_eq!(values[1..], [0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(histogram.summary().sum, -3.0);
}

/// proto3 writers may leave repeated numbers unpacked.
#[test]
fn repeated_numbers_one_by_one_are_read_too() {
    let mut histogram = Vec::new();
    for (bin, count) in [(0, 3), (4, 2)] {
        // k = 7 and n = 8 as varints; 0 and 2.
        histogram.extend([7 << 3, bin, 8 << 3, count]);
    }
    // count = 5; min = 0, max = 1.
    histogram.extend([3 << 3, 5, 6 << 3 | 1]);
    histogram.extend(1.0_f64.to_le_bytes());
    let mut cell = vec![1 << 3 | 2, 1, b'h', 7 << 3 | 2, histogram.len() as u8];
    cell.extend(&histogram);
    let mut set = Vec::new();
    for hash in [9_u64, 4, 9] {
        set.push(1 << 3 | 1);
        set.extend(hash.to_le_bytes());
    }
    let mut second = vec![1 << 3 | 2, 1, b's', 6 << 3 | 2, set.len() as u8];
    second.extend(&set);
    let mut body = Vec::new();
    for cell in [cell, second] {
        body.extend([1 << 3 | 2, cell.len() as u8]);
        body.extend(cell);
    }
    let head =
        eye::Head { cells: 2, raw_bytes: body.len() as u32, ..eye::head(&Default::default()) };
    use prost::Message;
    let read = part(&eye::record(0, &[head.encode_length_delimited_to_vec(), body].concat()));
    let Value::Histogram(histogram) = &read.cells[0].value else { panic!("a histogram") };
    assert_eq!((histogram.summary().count, histogram.value_past(2)), (5, 0.0));
    assert_eq!(read.cells[1].value, Value::Set(Set::of_hashes(vec![4, 9], 100)));
}

#[test]
fn a_barrier_is_its_owner_and_a_number() {
    let barrier = Barrier { owner: *b"0123456789abcdef", number: 0x0102_0304_0506_0708 };
    let record = encode_barrier(&barrier);
    assert_eq!(record, eye::record(2, b"0123456789abcdef\x08\x07\x06\x05\x04\x03\x02\x01"));
    assert_eq!(decode(&record, &limits()), Ok(Record::Barrier(barrier)));
}

#[test]
fn parts_are_cut_by_bytes_and_count_on() {
    let cells: Vec<Cell> = (0..40)
        .map(|at| Cell {
            key: key(&format!("h{at:02}")),
            stamp: 0,
            style: 0,
            value: histogram((0..1_000).map(|n| (f64::from(n), 3.0))),
        })
        .chain([all_forms().remove(0)])
        .collect();
    let parts = encode(Head { sequence: 4, ..head(1) }, &cells);
    assert!(parts.len() > 1);
    let mut read = Vec::new();
    for (at, record) in parts.iter().enumerate() {
        let part = part(&record.bytes);
        assert_eq!((part.head.sequence, part.cells.len()), (4 + at as u32, record.cells as usize));
        assert!(part.head.raw_bytes as usize <= PART_RAW_BYTES);
        read.extend(part.cells);
    }
    assert_eq!(read, cells);
}

#[test]
fn a_cell_larger_than_a_part_is_a_part_alone() {
    let hashes: Vec<u64> = (0..200_000).collect();
    let large = |name| Cell {
        key: key(name),
        stamp: 0,
        style: 0,
        value: Value::Set(Set::of_hashes(hashes.clone(), usize::MAX)),
    };
    let cells = [all_forms().remove(0), large("a"), large("b")];
    let parts = encode(head(1), &cells);
    assert_eq!(parts.iter().map(|part| part.cells).collect::<Vec<_>>(), [1, 1, 1]);
    let limits = PartLimits::new(200_000);
    assert!(decode(&parts[1].bytes, &limits).is_ok());
    assert!(parts[1].bytes.len() < limits.record_bytes_max);
}

#[test]
fn members_that_no_record_can_hold_are_written_as_registers() {
    let value = Value::Set(Set::of_hashes((0..300_000).map(|n| n << 40).collect(), usize::MAX));
    let cell = Cell { key: key("s"), stamp: 0, style: 0, value };
    let parts = encode(head(1), &[cell]);
    let Value::Set(set) = &part(&parts[0].bytes).cells[0].value else { panic!("a set") };
    assert!(set.is_estimated());
}

#[test]
fn styles_are_named_once_a_part_and_anew_in_the_next() {
    let style = |unit: &str| Style { unit: unit.to_owned(), ..Style::default() };
    let (mut writer, mut packer) = (PartWriter::new(head(1)), Packer::new());
    let large = histogram((0..1_000).map(|n| (f64::from(n), 3.0)));
    let mut parts = Vec::new();
    for at in 0..50_usize {
        let unit = ["", "byte", "second"][at % 3];
        let pushed = writer.push(&key(&format!("h{at:02}")), 0, &style(unit), &large, &mut packer);
        parts.extend(pushed.expect("it fits"));
    }
    parts.extend(writer.finish(&mut packer));
    assert!(parts.len() > 1);
    let mut at = 0;
    for record in &parts {
        let Part { head, cells } = part(&record.bytes);
        assert!(head.styles.len() <= 2);
        for cell in cells {
            let place = (cell.style as usize).checked_sub(1);
            let unit = place.map_or("", |place| &head.styles[place].unit);
            assert_eq!(unit, ["", "byte", "second"][at % 3]);
            at += 1;
        }
    }
    assert_eq!(at, 50);
}

#[test]
fn what_no_reader_takes_is_not_written() {
    let (mut writer, mut packer) = (PartWriter::new(head(1)), Packer::new());
    let one = Value::Gauge(1.0);
    let long = key(&"k".repeat((16 << 10) + 1));
    let refused = writer.push(&long, 0, &Style::default(), &one, &mut packer);
    assert_eq!(refused.map_err(PartError::reason), Err("bound"));
    let style = Style { percentiles: vec![0.5; 101], ..Style::default() };
    let refused = writer.push(&key("a"), 0, &style, &one, &mut packer);
    assert_eq!(refused.map_err(PartError::reason), Err("bound"));
    assert_eq!(writer.finish(&mut packer), None);
    // A host has room for 1,024 bytes, and is cut between two letters.
    let host = "ü".repeat(600) + "a";
    let mut writer = PartWriter::new(Head { host, ..head(1) });
    let largest = key(&"k".repeat(16 << 10));
    assert!(writer.push(&largest, 0, &Style::default(), &one, &mut packer).is_ok());
    let record = writer.finish(&mut packer).expect("one cell");
    assert_eq!(part(&record.bytes).head.host, "ü".repeat(512));
}
