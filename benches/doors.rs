//! What a stats payload costs from its decoded body into a bucket: `cargo bench --bench doors`.
//!
//! Input: one payload of 100 groups as ddtrace 4 and as dd-trace-js send them: 20 resources, 5 statuses,
//! sketches of 20 bins; js writes rows of 128 counts, most of them 0. The bar is half a core for 1,000
//! payloads a second: 500 µs each, HTTP included.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rmp::encode;
use std::hint::black_box;
use std::time::Duration;
use whippet::doors_measure::StatsDoor;

const NOW: Duration = Duration::from_secs(1_795_715_280);
const START: u64 = 1_795_715_260_000_000_000;
const GROUPS: u64 = 100;

/// A sketch with counts from the bin `first`, as protobuf.
fn sketch(gamma: f64, offset: f64, first: u64, counts: &[f64]) -> Vec<u8> {
    fn varint(to: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            to.push(value as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    }
    let mut bytes = vec![0x0a, 18, 0x09];
    bytes.extend(gamma.to_le_bytes());
    bytes.push(0x11);
    bytes.extend(offset.to_le_bytes());
    if !counts.is_empty() {
        let mut store = vec![0x12];
        varint(&mut store, counts.len() as u64 * 8);
        counts.iter().for_each(|count| store.extend(count.to_le_bytes()));
        store.push(0x18);
        varint(&mut store, first * 2);
        bytes.push(0x12);
        varint(&mut bytes, store.len() as u64);
        bytes.extend(store);
    }
    bytes
}

/// A payload of [`GROUPS`] groups whose sketches are `ok` and an empty one.
fn payload(ok: &[u8], empty: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    let text = |to: &mut Vec<u8>, key: &str, value: &str| {
        encode::write_str(to, key).unwrap();
        encode::write_str(to, value).unwrap();
    };
    let number = |to: &mut Vec<u8>, key: &str, value: u64| {
        encode::write_str(to, key).unwrap();
        encode::write_uint(to, value).unwrap();
    };
    encode::write_map_len(&mut to, 4).unwrap();
    text(&mut to, "Hostname", "");
    text(&mut to, "Env", "prod");
    text(&mut to, "Version", "1.2");
    encode::write_str(&mut to, "Stats").unwrap();
    encode::write_array_len(&mut to, 1).unwrap();
    encode::write_map_len(&mut to, 3).unwrap();
    number(&mut to, "Start", START);
    number(&mut to, "Duration", 10_000_000_000);
    encode::write_str(&mut to, "Stats").unwrap();
    encode::write_array_len(&mut to, GROUPS as u32).unwrap();
    for group in 0..GROUPS {
        encode::write_map_len(&mut to, 19).unwrap();
        text(&mut to, "Service", "shop");
        text(&mut to, "Name", "web.request");
        text(&mut to, "Resource", &format!("GET /api/v1/things/{}", group % 20));
        number(&mut to, "HTTPStatusCode", 200 + group / 20);
        text(&mut to, "Type", "web");
        text(&mut to, "DBType", "");
        number(&mut to, "Hits", 20);
        number(&mut to, "Errors", 0);
        number(&mut to, "Duration", 20 * 20_000_000);
        for (key, sketch) in [("OkSummary", ok), ("ErrorSummary", empty)] {
            encode::write_str(&mut to, key).unwrap();
            encode::write_bin(&mut to, sketch).unwrap();
        }
        encode::write_str(&mut to, "Synthetics").unwrap();
        encode::write_bool(&mut to, false).unwrap();
        number(&mut to, "TopLevelHits", 20);
        text(&mut to, "SpanKind", "server");
        encode::write_str(&mut to, "PeerTags").unwrap();
        encode::write_array_len(&mut to, 0).unwrap();
        number(&mut to, "IsTraceRoot", 1);
        text(&mut to, "GRPCStatusCode", "");
        text(&mut to, "HTTPMethod", "");
        text(&mut to, "HTTPEndpoint", "");
    }
    to
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("doors/stats");
    group.throughput(Throughput::Elements(GROUPS));
    let libdatadog = |counts: &[f64]| sketch(1.015625, 1338.5, 2410, counts);
    let go = |counts: &[f64]| sketch(1.02020202020202, 0.0, 778, counts);
    let row: Vec<f64> = (0..128).map(|bin| f64::from(u8::from((54..74).contains(&bin)))).collect();
    for (client, body) in [
        ("py4", payload(&libdatadog(&[1.0; 20]), &libdatadog(&[]))),
        ("js", payload(&go(&row), &go(&[]))),
    ] {
        let door = StatsDoor::new(NOW);
        let before = door.take(&body);
        // Hits, time and distribution of every group.
        assert_eq!(before, 3 * GROUPS);
        group.bench_function(client, |bencher| {
            bencher.iter(|| door.take(black_box(&body)));
        });
        assert!(door.take(&body) > before);
    }
    group.finish();
}

criterion_group! {
    name = doors;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = benches
}
criterion_main!(doors);
