//! What a value costs on its way into a sketch: `cargo bench --bench sketch`.
//!
//! Input is seeded: latencies between 1 and about 10,000, log-uniform, so that some 600 bins fill.

mod random;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use random::Random;
use std::hint::black_box;
use whippet::sketch::Sketch;

const VALUES: usize = 100_000;

fn latencies(seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut fraction = || random.below(1 << 31) as f64 / (1_u64 << 31) as f64;
    (0..VALUES).map(|_| 10_f64.powf(fraction() * 4.0)).collect()
}

fn filled(values: &[f64], rate: f64) -> Sketch {
    let mut sketch = Sketch::default();
    for value in values {
        sketch.insert(*value, rate);
    }
    sketch.finish();
    sketch
}

/// Count, sum and every bin must be what counting keys one by one gives.
fn check(sketch: &Sketch, values: &[f64], weight: u64) {
    assert_eq!(sketch.count(), values.len() as u64 * weight);
    let sum = values.iter().sum::<f64>() * weight as f64;
    assert!((sketch.sum() - sum).abs() < 1e-6 * sum);
    let mut bins = std::collections::BTreeMap::<i16, u64>::new();
    for value in values {
        let key = (value.ln() / (1.0 / 64.0_f64).ln_1p()).round_ties_even() as i16 + 1338;
        *bins.entry(key).or_default() += weight;
    }
    assert!(sketch.bins().map(|(key, count)| (key, u64::from(count))).eq(bins));
}

fn inserts(c: &mut Criterion) {
    let values = latencies(0x5EED);
    check(&filled(&values, 1.0), &values, 1);
    check(&filled(&values, 0.5), &values, 2);
    let mut group = c.benchmark_group("sketch");
    group.throughput(Throughput::Elements(VALUES as u64));
    group.bench_function("insert", |b| b.iter(|| filled(black_box(&values), 1.0)));
    group.bench_function("insert at rate 0.5", |b| b.iter(|| filled(black_box(&values), 0.5)));
    group.bench_function("ten values each", |b| {
        let mut sketch = Sketch::default();
        b.iter(|| {
            for few in values.chunks_exact(10) {
                sketch.clear();
                few.iter().for_each(|value| _ = sketch.insert(*value, 1.0));
                sketch.finish();
                black_box(&sketch);
            }
        });
    });
    group.finish();
}

fn merges(c: &mut Criterion) {
    let values = latencies(0x5EED);
    let (left, right) = values.split_at(VALUES / 2);
    let (left, right) = (filled(left, 1.0), filled(right, 1.0));
    let mut both = left.clone();
    both.merge(&right);
    check(&both, &values, 1);
    c.bench_function("sketch/merge of 600 bins", |b| {
        b.iter_batched_ref(|| left.clone(), |into| into.merge(&right), BatchSize::SmallInput);
    });
}

criterion_group!(benches, inserts, merges);
criterion_main!(benches);
