//! Every bound, with one record below it and one past it.

use prost::Message;

use super::messages as eye;
use super::*;

#[track_caller]
fn refused(record: &[u8], reason: &str, why: &str) {
    let error = decode(record, &limits()).expect_err(why);
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

fn counter() -> eye::Cell {
    cell(eye::Value::Counter(1.0))
}

fn cell(value: eye::Value) -> eye::Cell {
    eye::Cell { key: Some(b"a\nb:c".to_vec()), value: Some(value), ..eye::Cell::default() }
}

fn cells(cell: Vec<eye::Cell>) -> eye::Cells {
    eye::Cells { cell, unknown: 0 }
}

/// A part of a sound cell and this one.
fn with(cell: eye::Cell) -> Vec<u8> {
    let cells = cells(vec![counter(), cell]);
    eye::part(&eye::head(&cells), &cells)
}

#[track_caller]
fn cell_is_taken(cell: eye::Cell) {
    assert_eq!(part(&with(cell)).cells.len(), 2);
}

#[track_caller]
fn cell_is_refused(cell: eye::Cell, reason: &str, why: &str) {
    refused(&with(cell), reason, why);
}

#[test]
fn what_is_no_record() {
    let record = with(counter());
    for bytes in [&b""[..], b"W", b"XG\x01\0", b"{\"a\":1}"] {
        refused(bytes, "magic", "WG");
    }
    for end in 2..record.len() {
        assert_eq!(decode(&record[..end], &limits()), Err(PartError::Crc), "{end}");
    }
    for at in 0..record.len() {
        let mut record = record.clone();
        record[at] ^= 0x40;
        assert!(decode(&record, &limits()).is_err(), "{at}");
    }
}

#[test]
fn another_format_is_told_apart_only_when_it_is_whole() {
    let mut later = with(counter());
    later[2] = 2;
    refused(&later, "format", "version 2");
    assert_eq!(decode(&later, &limits()), Err(PartError::Format(2)));
    later[20] ^= 1;
    assert_eq!(decode(&later, &limits()), Err(PartError::Crc));
}

#[test]
fn flags_and_barriers() {
    let cells = cells(vec![counter()]);
    let content =
        [eye::head(&cells).encode_length_delimited_to_vec(), cells.encode_to_vec()].concat();
    for flags in [3, 4, 0x80] {
        refused(&eye::record(flags, &content), "head", "flags");
    }
    for length in [0, 23, 25] {
        refused(&eye::record(2, &vec![1; length]), "body", "24 bytes");
    }
}

#[test]
fn a_record_past_four_megabytes() {
    refused(&vec![b'W'; (4 << 20) + 1], "bound", "too long");
    let content = eye::head(&eye::Cells::default()).encode_length_delimited_to_vec();
    // An unknown field as long as a record may be.
    let mut body = vec![2 << 3 | 2];
    // The head grows by the bytes of its size; a length of 22 bits takes four.
    let length = (4 << 20) - 8 - content.len() - 5 - 5;
    prost::encoding::encode_varint(length as u64, &mut body);
    body.resize(body.len() + length, 0);
    let head = eye::Head { raw_bytes: body.len() as u32, ..eye::head(&eye::Cells::default()) };
    let content = [head.encode_length_delimited_to_vec(), body].concat();
    let record = eye::record(0, &content);
    assert_eq!(record.len(), 4 << 20);
    assert!(decode(&record, &limits()).is_ok());
}

#[test]
fn heads_that_cannot_be() {
    let cells = cells(vec![counter()]);
    let good = eye::head(&cells);
    let refuse = |change: fn(&mut eye::Head), reason, why| {
        let mut head = good.clone();
        change(&mut head);
        refused(&eye::part(&head, &cells), reason, why);
    };
    refuse(|head| head.sender = vec![1; 15], "head", "16 bytes");
    refuse(|head| head.sender.clear(), "head", "16 bytes");
    refuse(|head| head.interval = 0, "head", "interval");
    refuse(|head| head.partition = 64, "head", "partition");
    refuse(|head| head.partitions = 0, "head", "partition");
    refuse(|head| head.host = "h".repeat(1_025), "bound", "text");
    refuse(|head| head.cells = 0, "body", "more cells");
    refuse(|head| head.cells = 2, "body", "fewer cells");
    refuse(|head| head.cells = 200_001, "bound", "too many cells");
    refuse(|head| head.raw_bytes += 1, "body", "size");
    refuse(|head| head.raw_bytes -= 1, "body", "size");
    refuse(|head| head.raw_bytes = (8 << 20) + 1, "bound", "bytes of cells");
    refuse(|head| head.styles = vec![eye::Style::default(); 1_001], "bound", "styles");
    let style = |change: fn(&mut eye::Style)| {
        let mut style = eye::Style::default();
        change(&mut style);
        let head = eye::Head { styles: vec![style], ..good.clone() };
        decode(&eye::part(&head, &cells), &limits()).map_err(PartError::reason).map(|_| ())
    };
    assert_eq!(style(|style| style.aggregates = vec!["max".to_owned(); 16]), Ok(()));
    assert_eq!(style(|style| style.aggregates = vec!["max".to_owned(); 17]), Err("bound"));
    assert_eq!(style(|style| style.aggregates = vec!["m".repeat(65)]), Err("bound"));
    assert_eq!(style(|style| style.unit = "u".repeat(65)), Err("bound"));
    assert_eq!(style(|style| style.percentiles = vec![1.0; 100]), Ok(()));
    assert_eq!(style(|style| style.percentiles = vec![1.0; 101]), Err("bound"));
    assert_eq!(style(|style| style.percentiles = vec![1.1]), Err("bound"));
    assert_eq!(style(|style| style.percentiles = vec![f64::NAN]), Err("bound"));
    // A length past the end, bytes that are no message, another type, no UTF-8.
    refused(&eye::record(0, b"\xff\x01"), "head", "cut off");
    refused(&eye::record(0, b"\x01\x0f"), "head", "malformed");
    refused(&eye::record(0, b"\x02\x08\x05"), "head", "another type");
    refused(&eye::record(0, b"\x03\x12\x01\xff"), "head", "UTF-8");
}

#[cfg(feature = "zstd")]
#[test]
fn the_size_of_the_body_holds_while_it_is_inflated() {
    use std::io::Read;
    let body = cells((0..1_000).map(|_| counter()).collect()).encode_to_vec();
    let made = |raw_bytes: usize, frame: &[u8]| {
        let (cells, raw_bytes) = (1_000, raw_bytes as u32);
        let head = eye::Head { cells, raw_bytes, ..eye::head(&eye::Cells::default()) };
        eye::record(1, &[&head.encode_length_delimited_to_vec(), frame].concat())
    };
    let frame = zstd::bulk::compress(&body, 3).expect("compressed");
    assert_eq!(part(&made(body.len(), &frame)).cells.len(), 1_000);
    refused(&made(body.len() - 1, &frame), "body", "zstd");
    refused(&made(body.len() + 1, &frame), "body", "size");
    refused(&made(0, &frame), "body", "zstd");
    refused(&made(body.len(), &frame[..frame.len() - 1]), "body", "zstd");
    refused(&made(body.len(), b"no frame"), "body", "zstd");
    // A bomb: 64 megabytes in few bytes, under a promise that is allowed.
    let bomb = zstd::stream::encode_all(std::io::repeat(0).take(64 << 20), 1);
    refused(&made(8 << 20, &bomb.expect("compressed")), "body", "zstd");
}

#[test]
fn keys_that_cannot_be() {
    let keyed = |key: &[u8]| eye::Cell { key: Some(key.to_vec()), ..counter() };
    cell_is_taken(keyed(&[b'k'; 16 << 10]));
    cell_is_refused(keyed(&[b'k'; (16 << 10) + 1]), "bound", "key");
    cell_is_refused(eye::Cell { key: None, ..counter() }, "body", "no key");
    for key in [&b""[..], b"\na", b"a\nc\nb", b"a\nb\nb"] {
        cell_is_refused(keyed(key), "body", "sorted tags");
    }
    cell_is_refused(eye::Cell { style: 1, ..counter() }, "bound", "style");
    cell_is_refused(eye::Cell { value: None, ..counter() }, "body", "no value");
}

#[test]
fn numbers_that_are_none() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let histogram = |histogram| eye::Value::Histogram(histogram);
        let samples = eye::Histogram { values: vec![1.0, value], ..Default::default() };
        let scaled =
            eye::Histogram { values: vec![1.0], scales: vec![value], ..Default::default() };
        let folded = |change: fn(&mut eye::Histogram, f64)| {
            let mut folded = folded(&[(0, 1)]);
            change(&mut folded, value);
            histogram(folded)
        };
        for value in [
            eye::Value::Counter(value),
            eye::Value::Gauge(value),
            histogram(samples),
            histogram(scaled),
            folded(|folded, value| folded.sum = value),
            folded(|folded, value| folded.min = value),
            folded(|folded, value| folded.max = value),
        ] {
            cell_is_refused(cell(value), "bound", "not finite");
        }
    }
}

#[test]
fn sets_that_cannot_be() {
    let set = |hashes, registers| cell(eye::Value::Set(eye::Set { hashes, registers }));
    cell_is_taken(set((0..100).collect(), Vec::new()));
    cell_is_refused(set((0..101).collect(), Vec::new()), "bound", "set_members_max");
    cell_is_refused(set(vec![7; 101], Vec::new()), "bound", "set_members_max");
    cell_is_taken(set(Vec::new(), vec![51; 16_384]));
    cell_is_refused(set(Vec::new(), vec![52; 16_384]), "bound", "rank");
    for length in [1, 8_192, 16_383, 16_385] {
        cell_is_refused(set(Vec::new(), vec![1; length]), "bound", "16384");
    }
    cell_is_refused(set(vec![1], vec![1; 16_384]), "body", "both");
}

fn folded(bins: &[(i32, u64)]) -> eye::Histogram {
    let (k, n): (Vec<i32>, Vec<u64>) = bins.iter().copied().unzip();
    let count = n.iter().fold(0_u64, |sum, n| sum.wrapping_add(*n));
    eye::Histogram { count, sum: 0.0, min: -1.0, max: 1.0, k, n, ..Default::default() }
}

#[test]
fn histograms_that_cannot_be() {
    let taken = |histogram| cell_is_taken(cell(eye::Value::Histogram(histogram)));
    let refuse = |histogram, reason, why| {
        cell_is_refused(cell(eye::Value::Histogram(histogram)), reason, why);
    };
    let samples = |values, scales| eye::Histogram { values, scales, ..eye::Histogram::default() };
    taken(samples(vec![1.0; 1_000], vec![2.0; 1_000]));
    refuse(samples(vec![1.0; 1_001], Vec::new()), "bound", "too many");
    refuse(samples(vec![1.0; 2], vec![1.0; 3]), "body", "scales");
    refuse(samples(Vec::new(), vec![1.0]), "body", "scales");
    refuse(samples(vec![1.0], vec![0.5]), "bound", "scale");
    refuse(samples(vec![1e200], vec![1e200]), "bound", "scale");
    taken(folded(&[(-32_767, 1), (0, 2), (32_767, 3)]));
    refuse(folded(&[(-32_768, 1)]), "bound", "32767");
    refuse(folded(&[(32_768, 1)]), "bound", "32767");
    refuse(folded(&[(i32::MIN, 1)]), "bound", "32767");
    refuse(folded(&[(2, 1), (1, 1)]), "bound", "ascend");
    refuse(folded(&[(1, 1), (1, 1)]), "bound", "ascend");
    taken(folded(&(0..4_096).map(|key| (key, 1)).collect::<Vec<_>>()));
    refuse(folded(&(0..4_097).map(|key| (key, 1)).collect::<Vec<_>>()), "bound", "4096");
    taken(folded(&[(1, u64::MAX - 1), (2, 1)]));
    refuse(folded(&[(1, u64::MAX), (2, 1)]), "bound", "64 bits");
    refuse(eye::Histogram { count: 3, ..folded(&[(1, 2)]) }, "body", "count");
    refuse(eye::Histogram { n: vec![1, 1], count: 2, ..folded(&[(1, 2)]) }, "body", "counts");
    refuse(eye::Histogram { min: 2.0, ..folded(&[(1, 2)]) }, "body", "minimum");
    refuse(eye::Histogram { values: vec![1.0], ..folded(&[(1, 2)]) }, "body", "both");
    refuse(eye::Histogram { max: 1.0, ..eye::Histogram::default() }, "body", "count");
}

#[test]
fn cells_that_are_no_messages() {
    let content = |body: &[u8], cells| {
        let head =
            eye::Head { cells, raw_bytes: body.len() as u32, ..eye::head(&Default::default()) };
        eye::record(0, &[&head.encode_length_delimited_to_vec(), body].concat())
    };
    assert_eq!(part(&content(b"", 0)).cells, []);
    for body in [&b"\x0a\x05ab"[..], b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        refused(&content(body, 1), "body", "malformed");
    }
    refused(&content(b"\x08\x01", 1), "body", "not a message");
    // Inside the cell: cut off, a key of another type, two values, doubles as varints, half a double.
    for (cell, why) in [
        (&b"\x0a\x05a"[..], "malformed"),
        (b"\x08\x05", "another type"),
        (b"\x20\x05", "another type"),
        (b"\x21\0\0\0\0\0\0\0\0\x29\0\0\0\0\0\0\0\0", "two values"),
        (b"\x3a\x02\x08\x01", "another type"),
        (b"\x3a\x03\x0a\x01\0", "another type"),
        (b"\x32\x03\x0a\x01\0", "another type"),
        (b"\x3a\x04\x3a\x02\xff\xff", "malformed"),
    ] {
        let body = [&[0x0a, cell.len() as u8], cell].concat();
        refused(&content(&body, 1), "body", why);
    }
}

#[test]
fn one_bad_cell_refuses_its_part_whole() {
    let cells = cells(vec![counter(), cell(eye::Value::Gauge(f64::NAN)), counter()]);
    refused(&eye::part(&eye::head(&cells), &cells), "bound", "not finite");
}
