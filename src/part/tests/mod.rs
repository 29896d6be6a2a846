//! The room as a whole: bytes as another implementation sees them, hostile bytes, the laws.

mod bytes;
mod hostile;
mod laws;
mod messages;

use super::*;
use crate::aggregate::Sample;

fn key(name: &str) -> Key {
    let mut parts = name.split(',');
    let name = parts.next().expect("a name").as_bytes();
    Key::new(name, parts.map(str::as_bytes)).expect("a key")
}

fn head(sender: u8) -> Head {
    Head {
        sender: [sender; 16],
        host: "web-1".to_owned(),
        start: 1_700_000_000,
        interval: 10,
        partition: 3,
        partitions: 64,
        built_ms: 1_700_000_010_123,
        ..Head::default()
    }
}

fn limits() -> PartLimits {
    PartLimits::new(100)
}

fn set(members: impl Iterator<Item = u64>) -> Value {
    let hashes = members.map(|member| Set::hash_of(&member.to_le_bytes())).collect();
    Value::Set(Set::of_hashes(hashes, limits().set_members_max))
}

fn histogram(values: impl Iterator<Item = (f64, f64)>) -> Value {
    let mut histogram = Histogram::default();
    values.for_each(|(value, scale)| assert!(histogram.add(Sample { value, scale })));
    Value::Histogram(histogram)
}

/// The records of cells without style.
fn encode(head: Head, cells: &[Cell]) -> Vec<EncodedPart> {
    let (mut writer, mut packer) = (PartWriter::new(head), Packer::new());
    let mut parts = Vec::new();
    for Cell { key, stamp, value, .. } in cells {
        let full = writer.push(key, *stamp, &Style::default(), value, &mut packer);
        parts.extend(full.expect("a cell that fits"));
    }
    parts.extend(writer.finish(&mut packer));
    assert_eq!(writer.finish(&mut packer), None, "nothing without cells");
    parts
}

#[track_caller]
fn part(bytes: &[u8]) -> Part {
    match decode(bytes, &limits()) {
        Ok(Record::Part(part)) => part,
        other => panic!("{other:?}"),
    }
}

/// One cell of each kind and form.
fn all_forms() -> Vec<Cell> {
    let mut wide = Sum::default();
    [0.1, 0.2, 1e300, 5e-324].into_iter().for_each(|value| wide.add(value));
    let values = [
        Value::Counter(Sum::from(12.0)),
        Value::Counter(Sum::default()),
        Value::Counter(wide),
        Value::Gauge(-0.25),
        set(0..0),
        set(0..100),
        set(0..5_000),
        histogram([].into_iter()),
        histogram((0..1_000).map(|n| (f64::from(n), 1.0))),
        histogram((0..10).map(|n| (-f64::from(n), 1.5))),
        histogram((0..5_000).map(|n| (f64::from(n) * 0.1 - 20.0, 2.0))),
    ];
    let cell = |(at, value)| Cell {
        key: key(&format!("metric.{at},env:prod,az:b")),
        stamp: 9_999 - at as u32,
        style: 0,
        value,
    };
    values.into_iter().enumerate().map(cell).collect()
}
