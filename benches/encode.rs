//! What a series costs from the flusher's hands to compressed payloads: `cargo bench --bench encode`.
//!
//! Input is seeded: names, hosts and three to six tags as services send them, one point each, counters
//! and gauges mixed, most values different.

mod random;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use random::Random;
use std::hint::black_box;
use whippet::context::Tags;
use whippet::encode::{
    Compression, Payload, PayloadLimits, Route, SeriesEncoder, SeriesFormat, SketchEncoder,
};
use whippet::flush::{Point, Series, SeriesKind, SketchSeries};
use whippet::sketch::Sketch;

const CONTEXTS: usize = 100_000;

struct Context {
    name: String,
    tags: String,
    tag_count: usize,
    points: [Point; 1],
    sketch: Sketch,
}

fn contexts() -> Vec<Context> {
    let mut random = Random::new(0x5EED);
    let mut next = move |bound| random.below(bound);
    (0..CONTEXTS)
        .map(|place| {
            let service = next(40);
            let name = format!("service{service}.http.request{}.count", next(30));
            let mut tags = format!("env:prod,service:web-{service},instance:i-{place:06x}");
            if next(2) == 0 {
                tags.push_str(&format!(
                    ",endpoint:/api/v{}/users,status:{}",
                    next(3),
                    200 + next(5)
                ));
            }
            if next(3) == 0 {
                tags.push_str(&format!(",pod:web-{:08x}", next(1 << 32)));
            }
            let value = next(100_000) as f64 / 10.0;
            let mut sketch = Sketch::default();
            (0..40).for_each(|_| _ = sketch.insert(1.0 + next(100_000) as f64 / 100.0, 1.0));
            sketch.finish();
            let tag_count = tags.split(',').count();
            Context {
                name,
                tags,
                tag_count,
                points: [Point { timestamp: 1_700_000_000, value }],
                sketch,
            }
        })
        .collect()
}

fn tags(context: &Context) -> Tags<'_> {
    Tags::new(context.tags.as_bytes(), b',', context.tag_count, &[])
}

fn series(context: &Context) -> Series<'_> {
    Series {
        name: context.name.as_bytes(),
        suffix: "",
        host: b"web-1.example.com",
        tags: tags(context),
        kind: SeriesKind::Rate,
        unit: None,
        source: None,
        interval: 10,
        points: &context.points,
    }
}

/// Items and compressed bytes of a flush; every payload must keep the default limits.
#[derive(Default, Debug)]
struct Built {
    items: usize,
    bytes: usize,
    uncompressed_bytes: usize,
}

impl Built {
    fn take(&mut self, payload: Payload) {
        let series = matches!(payload.route, Route::SeriesV1 | Route::SeriesV2);
        let (bytes_max, points_max) =
            if series { (512_000, 10_000) } else { (2_621_440, CONTEXTS) };
        assert!(payload.body.len() <= bytes_max && payload.points <= points_max);
        self.items += payload.items;
        self.bytes += payload.body.len();
        self.uncompressed_bytes += payload.uncompressed_bytes;
    }
}

fn flush_series(encoder: &mut SeriesEncoder, contexts: &[Context]) -> Built {
    let mut built = Built::default();
    for context in contexts {
        encoder.push(&series(context), &mut |payload| built.take(payload));
    }
    let counts = encoder.finish(&mut |payload| built.take(payload));
    assert_eq!(counts.items_too_big + counts.items_failed, 0);
    assert_eq!(built.items, contexts.len());
    built
}

fn flush_sketches(encoder: &mut SketchEncoder, contexts: &[Context]) -> Built {
    let mut built = Built::default();
    for context in contexts {
        let series = SketchSeries {
            name: context.name.as_bytes(),
            host: b"web-1.example.com",
            tags: tags(context),
            timestamp: 1_700_000_000,
            sketch: &context.sketch,
        };
        encoder.push(&series, &mut |payload| built.take(payload));
    }
    let counts = encoder.finish(&mut |payload| built.take(payload));
    assert_eq!(counts.items_too_big + counts.items_failed, 0);
    assert_eq!(built.items, contexts.len());
    built
}

fn compressions() -> impl Iterator<Item = (&'static str, Compression)> {
    let kinds = ["none", "zstd", "zlib"].into_iter();
    kinds.filter_map(|kind| Some((kind, Compression::named(kind, 1)?)))
}

fn encode(c: &mut Criterion) {
    let contexts = contexts();
    let limits = PayloadLimits::default();
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(CONTEXTS as u64)).sample_size(20);
    for (format, label) in [(SeriesFormat::V2, "series v2"), (SeriesFormat::V1, "series v1")] {
        for (kind, compression) in compressions() {
            let mut encoder =
                SeriesEncoder::new(format, compression, &limits).expect("level 1 exists");
            eprintln!("{label} {kind}: {:?}", flush_series(&mut encoder, &contexts));
            group.bench_function(BenchmarkId::new(label, kind), |b| {
                b.iter(|| flush_series(&mut encoder, black_box(&contexts)));
            });
        }
    }
    for (kind, compression) in compressions() {
        let mut encoder = SketchEncoder::new(compression, &limits).expect("level 1 exists");
        eprintln!("sketches {kind}: {:?}", flush_sketches(&mut encoder, &contexts));
        group.bench_function(BenchmarkId::new("sketches", kind), |b| {
            b.iter(|| flush_sketches(&mut encoder, black_box(&contexts)));
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
