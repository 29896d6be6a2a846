//! One call of the telemetry client: through a handle that is held, and by name. Every bench checks that
//! nothing got lost.
//!
//! `cargo bench --bench telemetry`

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use whippet::telemetry_client::{Client, Global, LogRecord, MemoryWriter};

const TAGS: [&str; 2] = ["listener:udp", "reason:bad_value"];

fn client() -> (Client, MemoryWriter) {
    let memory = MemoryWriter::default();
    let client = Client::builder("bench").writer(memory.clone()).build().unwrap();
    client.start_manually();
    client.flush();
    let _ = memory.take();
    (client, memory)
}

/// The points of a metric, or of a distribution its values, of everything that was sent; and the sum.
fn sent(client: &Client, memory: &MemoryWriter, metric: &str) -> (usize, f64) {
    client.flush();
    let (mut points, mut sum) = (0, 0.0);
    for body in memory.take() {
        let messages = match body["payload"].as_array() {
            Some(batch) => batch.clone(),
            None => vec![body.clone()],
        };
        let all = messages.iter().filter_map(|message| message["payload"]["series"].as_array());
        for series in all.flatten().filter(|series| series["metric"] == metric) {
            let list = series["points"].as_array().unwrap();
            points += list.len();
            sum += list.iter().map(|point| point[1].as_f64().unwrap_or_default()).sum::<f64>();
        }
    }
    (points, sum)
}

/// Times `add` and checks that every addition was sent.
fn additions(
    criterion: &mut Criterion,
    name: &str,
    client: &Client,
    memory: &MemoryWriter,
    add: impl Fn(),
) {
    let mut added = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            added += iterations;
            let began = Instant::now();
            (0..iterations).for_each(|_| add());
            began.elapsed()
        });
    });
    assert_eq!(sent(client, memory, "c").1, added as f64, "{name} lost additions");
}

fn counts(criterion: &mut Criterion) {
    let (client, memory) = client();
    let held = client.count("general", "c", &TAGS);
    additions(criterion, "count/held handle", &client, &memory, || {
        black_box(&held).submit(black_box(1.0))
    });
    additions(criterion, "count/by name, 2 tags", &client, &memory, || {
        client.count("general", "c", black_box(&TAGS)).submit(1.0);
    });
    // What a library calls before its program starts a client, and after.
    let global = Global::default();
    let held = global.count("general", "c", &TAGS);
    global.exchange(client.clone());
    additions(criterion, "count/held handle of the global client", &client, &memory, || {
        black_box(&held).submit(black_box(1.0));
    });
}

fn others(criterion: &mut Criterion) {
    let (client, memory) = client();
    let gauge = client.gauge("general", "g", &TAGS);
    criterion.bench_function("gauge/held handle", |bencher| {
        bencher.iter(|| black_box(&gauge).submit(black_box(1.5)));
    });
    assert_eq!(sent(&client, &memory, "g"), (1, 1.5));
    let distribution = client.distribution("general", "d", &TAGS);
    criterion.bench_function("distribution/held handle", |bencher| {
        bencher.iter(|| black_box(&distribution).submit(black_box(1.5)));
    });
    // All that are kept between two flushes.
    assert_eq!(sent(&client, &memory, "d").0, 16_384);
    let record = LogRecord::error("the same line again");
    criterion.bench_function("log/a line seen before", |bencher| {
        bencher.iter(|| client.log(black_box(&record)));
    });
}

criterion_group!(benches, counts, others);
criterion_main!(benches);
