//! Does with data streams what it is told: one JSON object a line on standard input, one answer a line on standard
//! output. `tools/clients/pathways.py` and `rabbitmq.py` start it.
//!
//! ```text
//! {"do": "produce", "type": "kafka", "topic": "t", "sizes": [1]}   -> {"hash": "…", "context": "…"}
//! {"do": "consume", "type": "kafka", "topic": "t", "context": "…"} -> {"hash": "…"}
//! {"do": "continue", …}      as produce, from the pathway of the last consume
//! {"do": "flush"}            -> {"body": base64 of the msgpack}
//! {"do": "publish", "exchange": "e", "key": "k", "body": "b"}      over AMQP
//! {"do": "receive", "queue": "q"}                                  over AMQP
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use whippet::datastreams::{
    CONTEXT_KEY, CarrierGet, CarrierSet, CarrierSize, DataStreams, MemoryOutput, Options, Pathway,
};

type Failed = Box<dyn Error>;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The headers of a message of lapin as a carrier.
#[derive(Default)]
struct Headers(FieldTable);

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

impl CarrierGet for Headers {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        self.0.inner().get(key).and_then(bytes).map(Cow::Borrowed)
    }
}

impl CarrierSet for Headers {
    fn set(&mut self, key: &str, value: &[u8]) {
        // What Kombu writes for a text.
        self.0.insert(key.into(), AMQPValue::LongString(value.into()));
    }
}

impl CarrierSize for Headers {
    fn size(&self) -> u64 {
        let size = |value| bytes(value).map_or(0, |bytes| bytes.len() as u64);
        let entries = self.0.inner().iter();
        entries.map(|(key, value)| key.as_str().len() as u64 + size(value)).sum()
    }
}

struct Peer {
    streams: DataStreams,
    memory: MemoryOutput,
    consumed: Option<Pathway>,
    channel: Option<Channel>,
}

fn text<'a>(order: &'a Value, key: &str) -> &'a str {
    order[key].as_str().unwrap_or_default()
}

impl Peer {
    fn new() -> Result<Self, Failed> {
        let memory = MemoryOutput::default();
        let builder = DataStreams::builder("").environment(|name| std::env::var(name).ok());
        // Only what is flushed by an order.
        let streams = builder.output(memory.clone()).build()?;
        Ok(Peer { streams, memory, consumed: None, channel: None })
    }

    async fn carry_out(&mut self, order: &Value) -> Result<Value, Failed> {
        let options = |size: u64| Options { payload_size: size, ..Options::default() };
        let (ty, topic) = (text(order, "type"), text(order, "topic"));
        let none = vec![json!(0)];
        let sizes = order["sizes"].as_array().unwrap_or(&none);
        let sizes = sizes.iter().map(|size| size.as_u64().unwrap_or_default());
        match text(order, "do") {
            "produce" | "continue" => {
                let parent = self.consumed.clone().filter(|_| text(order, "do") == "continue");
                let mut headers = HashMap::<String, String>::new();
                let mut pathway = None;
                for size in sizes {
                    let parent = parent.as_ref();
                    pathway = self.streams.produce(ty, topic, &mut headers, parent, &options(size));
                }
                let hash = pathway.ok_or("off")?.to_string();
                Ok(json!({"hash": hash, "context": headers[CONTEXT_KEY]}))
            }
            "consume" => {
                let context = text(order, "context").to_owned();
                let headers = HashMap::from([(CONTEXT_KEY.to_owned(), context)]);
                for size in sizes {
                    self.consumed = self.streams.consume(ty, topic, &headers, &options(size));
                }
                Ok(json!({"hash": self.consumed.as_ref().ok_or("off")?.to_string()}))
            }
            "offsets" => {
                self.streams.track_produce(topic, 1, 42, None);
                self.streams.track_commit("g1", topic, 1, 40, None);
                Ok(json!({}))
            }
            "flush" => {
                self.streams.flush();
                let flush = self.memory.take().pop().ok_or("nothing to flush")?;
                Ok(json!({"body": STANDARD.encode(flush.to_msgpack())}))
            }
            "publish" => self.publish(order).await,
            "receive" => self.receive(text(order, "queue")).await,
            other => Err(format!("unknown order {other}").into()),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Failed> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let url = std::env::var("AMQP_URL")?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        self.channel = Some(channel.clone());
        // The channel lives as long as its connection.
        std::mem::forget(connection);
        Ok(channel)
    }

    async fn publish(&mut self, order: &Value) -> Result<Value, Failed> {
        let channel = self.channel().await?;
        let (exchange, key, body) =
            (text(order, "exchange"), text(order, "key"), text(order, "body"));
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_content_encoding("utf-8".into());
        let mut headers = Headers::default();
        let pathway = self.streams.produce_amqp(exchange, key, body.as_bytes(), &mut headers, None);
        let properties = properties.with_headers(headers.0);
        channel
            .basic_publish(
                exchange.into(),
                key.into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            )
            .await?
            .await?;
        Ok(json!({"hash": pathway.ok_or("off")?.to_string()}))
    }

    async fn receive(&mut self, queue: &str) -> Result<Value, Failed> {
        let channel = self.channel().await?;
        let until = Instant::now() + PATIENCE;
        let delivery = loop {
            match channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
                Some(message) => break message.delivery,
                None if Instant::now() < until => tokio::time::sleep(POLL).await,
                None => return Err("no message".into()),
            }
        };
        let headers = Headers(delivery.properties.headers().clone().unwrap_or_default());
        let pathway = self.streams.consume_amqp(queue, &delivery.data, &headers);
        delivery.acker.ack(BasicAckOptions::default()).await?;
        let body = String::from_utf8_lossy(&delivery.data).into_owned();
        Ok(json!({"hash": pathway.ok_or("off")?.to_string(), "body": body}))
    }
}

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut peer = Peer::new()?;
    for line in std::io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(peer.carry_out(&order));
        let answer = answer.unwrap_or_else(|error| json!({"error": error.to_string()}));
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
