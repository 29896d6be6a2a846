//! One checkpoint that was passed before, and what comes with it: reading and writing a context. Every bench checks
//! that nothing got lost.
//!
//! `cargo bench --bench datastreams`

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use whippet::datastreams::{CONTEXT_KEY, DataStreams, KafkaMessage, MemoryOutput, Options};

type Headers = HashMap<String, String>;

fn bench(criterion: &mut Criterion, name: &str, pass: impl Fn(&DataStreams)) {
    let memory = MemoryOutput::default();
    let builder = DataStreams::builder("shop").env("prod").output(memory.clone());
    let streams = builder.build().expect("an output in memory");
    let mut passed = 0;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            passed += iterations;
            let began = Instant::now();
            (0..iterations).for_each(|_| pass(&streams));
            let took = began.elapsed();
            // As the thread does, so that no bucket waits too long.
            streams.flush();
            took
        });
    });
    let points = memory.take().into_iter().flat_map(|flush| flush.buckets).flat_map(|b| b.points);
    let counted: u64 = points.map(|point| point.pathway_latency.count()).sum();
    assert_eq!(counted + streams.losses().expired, passed, "{name}");
}

fn benches(criterion: &mut Criterion) {
    let tags = ["direction:in", "group:billing", "topic:orders", "type:kafka"];
    let writer = DataStreams::builder("shop").output(MemoryOutput::default()).build();
    let writer = writer.expect("an output in memory");
    let mut headers = Headers::new();
    let options = Options { payload_size: 500, ..Options::default() };
    let parent = writer.produce("kafka", "orders", &mut headers, None, &options);
    bench(criterion, "checkpoint", |streams| {
        black_box(streams.set_checkpoint(black_box(&tags), parent.as_ref(), &options));
    });
    bench(criterion, "consume a Kafka message", |streams| {
        let message = KafkaMessage { topic: "orders", value: b"value", ..KafkaMessage::default() };
        black_box(streams.consume_kafka("billing", black_box(&message), &headers));
    });
    bench(criterion, "produce a Kafka message", |streams| {
        let message = KafkaMessage { topic: "orders", value: b"value", ..KafkaMessage::default() };
        let mut headers: Vec<(String, Vec<u8>)> = Vec::with_capacity(1);
        streams.produce_kafka(black_box(&message), &mut headers, parent.as_ref());
        debug_assert_eq!(headers[0].0, CONTEXT_KEY);
        black_box(headers);
    });
    let off = DataStreams::builder("shop").enabled(false).build().expect("nothing to build");
    criterion.bench_function("checkpoint, switched off", |bencher| {
        bencher.iter(|| black_box(off.set_checkpoint(black_box(&tags), None, &options)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
