//! One handled error that was seen before: without sources, with two of them, behind a pointer, and with no
//! tracker started. Every bench checks that nothing got lost.
//!
//! `cargo bench --bench errors`

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use whippet::errors::{self, Settings, Sink, Tracker};

/// Adds up.
#[derive(Clone, Default)]
struct Sum(Arc<AtomicU64>);

impl Sink for Sum {
    fn count(&self, _: &str, count: u64, _: &[&str]) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    fn event(&self, _: &str, _: &str, _: &str, _: &[&str]) {}
}

#[derive(Debug)]
struct Layer {
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer failed")
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn bench(criterion: &mut Criterion, name: &str, record: impl Fn(&Tracker)) {
    let tracker = Tracker::new(Settings::default());
    let mut recorded = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            recorded += iterations;
            let began = Instant::now();
            (0..iterations).for_each(|_| record(&tracker));
            began.elapsed()
        });
    });
    let sum = Sum::default();
    tracker.flush(&sum);
    assert_eq!(sum.0.load(Ordering::Relaxed), recorded, "{name}");
}

fn benches(criterion: &mut Criterion) {
    let plain = Layer { source: None };
    bench(criterion, "seen before", |tracker| tracker.record(black_box(&plain)));
    let io = std::io::Error::from(std::io::ErrorKind::NotFound);
    let inner = Layer { source: Some(Box::new(io)) };
    let deep = Layer { source: Some(Box::new(inner)) };
    bench(criterion, "seen before, two sources", |tracker| tracker.record(black_box(&deep)));
    bench(criterion, "seen before, behind a pointer", |tracker| {
        tracker.record_dyn(black_box(&plain))
    });
    criterion.bench_function("no tracker", |bencher| {
        bencher.iter(|| errors::record(black_box(&plain)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
