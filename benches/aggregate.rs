//! What one value costs where values are kept: histograms up to and beyond the samples that stay
//! exact, distributions. Each bench checks count and sum of what it fed.
//!
//! `cargo bench --bench aggregate`; the figure is the time of one insert.

mod random;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use random::Random;
use whippet::aggregate::{HistogramCell, Sample, Summary};
use whippet::sketch::Sketch;

/// Values per measured batch.
const VALUES: usize = 900;

/// Latency-like values: seeded, whole numbers from 1 to 10,000, most of them small.
fn values() -> Vec<f64> {
    let mut random = Random::new(0x5eed_5eed_5eed_5eed);
    (0..VALUES).map(|_| 1.0 + (random.next() % (1 + random.below(10_000))) as f64).collect()
}

fn fill(cell: &mut HistogramCell, values: &[f64]) {
    for value in values {
        assert!(cell.add(Sample { value: *value, scale: 1.0 }), "finite");
    }
}

#[track_caller]
fn grown(before: Summary, after: Summary, sum: f64) {
    assert_eq!((after.count - before.count, after.sum - before.sum), (VALUES as u64, sum));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let values = values();
    let sum: f64 = values.iter().sum();
    let mut group = criterion.benchmark_group("aggregate");
    group.throughput(Throughput::Elements(VALUES as u64));

    group.bench_function("histogram_exact", |bencher| {
        bencher.iter_batched_ref(
            || HistogramCell::new(0),
            |cell| fill(cell, black_box(&values)),
            BatchSize::SmallInput,
        );
    });
    let mut cell = HistogramCell::new(0);
    let empty = cell.summary();
    fill(&mut cell, &values);
    grown(empty, cell.summary(), sum);

    group.bench_function("histogram_hdr", |bencher| {
        let mut cell = cell.clone();
        fill(&mut cell, &values);
        bencher.iter(|| fill(&mut cell, black_box(&values)));
        let before = cell.summary();
        fill(&mut cell, &values);
        grown(before, cell.summary(), sum);
    });

    group.bench_function("distribution", |bencher| {
        let mut sketch = Sketch::default();
        bencher.iter(|| {
            let taken = black_box(&values).iter().filter(|value| sketch.insert(**value, 1.0));
            assert_eq!(taken.count(), VALUES);
        });
    });
    group.finish();
    criterion.final_summary();
}
