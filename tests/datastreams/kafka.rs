//! Messages through brokers in this process, with the adapters for `rdkafka`.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message};
use std::time::{Duration, Instant};
use whippet::datastreams::{BacklogKind, DataStreams, MemoryOutput, Pathway};

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: usize = 3;

struct Delivered(DataStreams);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let sent = result.as_ref().expect("a broker that takes everything");
        self.0.delivered_rdkafka(sent.topic(), Ok((sent.partition(), sent.offset())), None);
    }
}

/// A service with its own statistics.
fn service(name: &str) -> (DataStreams, MemoryOutput) {
    let memory = MemoryOutput::default();
    let builder = DataStreams::builder(name).env("prod").output(memory.clone());
    (builder.build().expect("an output in memory"), memory)
}

fn read(brokers: &str, topic: &str, mut take: impl FnMut(&rdkafka::message::BorrowedMessage<'_>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "billing")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a topic");
    let until = Instant::now() + PATIENCE;
    let mut left = MESSAGES;
    while left > 0 {
        assert!(Instant::now() < until, "{left} messages do not come");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            take(&message.expect("a message"));
            left -= 1;
        }
    }
}

#[test]
fn pathways_and_offsets_go_through_kafka() {
    let cluster = MockCluster::new(1).expect("brokers in this process");
    cluster.create_topic("orders", 1, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    let (shop, of_shop) = service("shop");
    let producer: ThreadedProducer<Delivered> = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .create_with_context(Delivered(shop.clone()))
        .expect("a producer");
    for _ in 0..MESSAGES {
        let mut record: BaseRecord<'_, str, str> =
            BaseRecord::to("orders").payload("value").key("k");
        let pathway = shop.produce_rdkafka(&mut record, None, None).expect("enabled");
        assert_eq!(pathway.hash(), 17_073_393_891_733_492_021, "V1");
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(PATIENCE).expect("delivered");

    let (billing, of_billing) = service("billing");
    let mut last: Option<Pathway> = None;
    read(&brokers, "orders", |message| {
        last = billing.consume_rdkafka("billing", message, None, true);
        let pathway = last.as_ref().expect("enabled");
        assert_eq!(pathway.hash(), 14_149_669_132_804_983_581, "V2");
    });

    let offsets = |streams: &DataStreams, memory: &MemoryOutput| {
        streams.flush();
        let buckets = memory.take().into_iter().flat_map(|flush| flush.buckets);
        let backlogs = buckets.flat_map(|bucket| bucket.backlogs);
        backlogs.map(|b| (b.kind, b.group, b.topic, b.partition, b.offset)).max().expect("offsets")
    };
    let end = MESSAGES as i64;
    assert_eq!(
        offsets(&shop, &of_shop),
        (BacklogKind::Produce, String::new(), "orders".to_owned(), 0, end - 1)
    );
    assert_eq!(
        offsets(&billing, &of_billing),
        (BacklogKind::Commit, "billing".to_owned(), "orders".to_owned(), 0, end)
    );
}
