//! Messages through Kafka and back, with their pathways: `cargo run --example kafka_pathway --features
//! datastreams_rdkafka`. The brokers run inside this program; nothing needs to be installed.
//!
//! `shop` writes orders, `billing` reads them and writes invoices, `mail` reads those. With an URL as its argument,
//! what they report goes to that agent or whippet too.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message};
use whippet::datastreams::{DataStreams, LineMetrics, MetricsOutput, Pathway};

type Failed = Box<dyn std::error::Error>;

const MESSAGES: usize = 5;

/// Tells data streams which offset each message got.
struct Delivered(DataStreams);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(sent) => {
                let place = Ok((sent.partition(), sent.offset()));
                self.0.delivered_rdkafka(sent.topic(), place, None);
            }
            Err((error, sent)) => self.0.delivered_rdkafka(sent.topic(), Err(error), None),
        }
    }
}

/// A program of its own: what it reports is printed as the lines that a DogStatsD server would get.
struct Service {
    streams: DataStreams,
    producer: ThreadedProducer<Delivered>,
    brokers: String,
}

impl Service {
    fn new(name: &'static str, brokers: &str, agent: Option<&str>) -> Result<Self, Failed> {
        let lines = LineMetrics::new(|line: &[u8]| println!("  {}", String::from_utf8_lossy(line)));
        let mut builder = DataStreams::builder(name).env("prod").output(MetricsOutput::new(lines));
        if let Some(url) = agent {
            builder = builder.agent(url);
        }
        let streams = builder.build()?;
        let mut config = ClientConfig::new();
        let producer = config
            .set("bootstrap.servers", brokers)
            .create_with_context(Delivered(streams.clone()))?;
        Ok(Service { streams, producer, brokers: brokers.to_owned() })
    }

    fn write(&self, topic: &str, text: &str, parent: Option<&Pathway>) -> Result<(), Failed> {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).payload(text).key("k");
        let pathway = self.streams.produce_rdkafka(&mut record, None, parent);
        println!("wrote to {topic}, pathway {}", pathway.ok_or("data streams are off")?);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Calls `take` with the pathway of each of the messages.
    fn read(
        &self,
        topic: &str,
        group: &str,
        mut take: impl FnMut(&Pathway) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer = config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .create()?;
        consumer.subscribe(&[topic])?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut read = 0;
        while read < MESSAGES {
            if Instant::now() > deadline {
                return Err("no message within a minute".into());
            }
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message?;
            let pathway = self.streams.consume_rdkafka(group, &message, None, true);
            let pathway = pathway.ok_or("data streams are off")?;
            println!("read from {topic} at {}, pathway {pathway}", message.offset());
            take(&pathway)?;
            read += 1;
        }
        Ok(())
    }

    fn report(self, name: &str) -> Result<(), Failed> {
        self.producer.flush(Duration::from_secs(10))?;
        println!("{name} reports:");
        self.streams.flush();
        Ok(())
    }
}

fn main() -> Result<(), Failed> {
    let agent = std::env::args().nth(1);
    let cluster = MockCluster::new(1)?;
    for topic in ["orders", "invoices"] {
        cluster.create_topic(topic, 1, 1)?;
    }
    let brokers = cluster.bootstrap_servers();
    let service = |name| Service::new(name, &brokers, agent.as_deref());
    let (shop, billing, mail) = (service("shop")?, service("billing")?, service("mail")?);
    for number in 0..MESSAGES {
        shop.write("orders", &format!("order {number}"), None)?;
    }
    billing
        .read("orders", "billing", |pathway| billing.write("invoices", "invoice", Some(pathway)))?;
    mail.read("invoices", "mail", |_| Ok(()))?;
    for (service, name) in [(shop, "shop"), (billing, "billing"), (mail, "mail")] {
        service.report(name)?;
    }
    Ok(())
}
