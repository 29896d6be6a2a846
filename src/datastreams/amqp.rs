//! AMQP messages as Kombu and Celery send them: the context is a header of the message. There are adapters for
//! `lapin`.

use super::carrier::{CarrierGet, CarrierSet, CarrierSize};
use super::client::DataStreams;
use super::options::Options;
use super::pathway::Pathway;

impl DataStreams {
    /// A message is about to be published: passes a checkpoint and puts the context on its headers. On the default
    /// exchange, which has no name, the routing key is the queue; on others only it matters that there is one.
    pub fn produce_amqp<H: CarrierSet + CarrierSize>(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        headers: &mut H,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let payload_size = body.len() as u64 + headers.size();
        let options = Options { payload_size, ..Options::default() };
        if exchange.is_empty() && !routing_key.is_empty() {
            let topic = format!("topic:{routing_key}");
            let tags = ["direction:out", &*topic, "type:rabbitmq"];
            return self.produce_tagged(&tags, headers, parent, &options);
        }
        let exchange = format!("exchange:{exchange}");
        let has_routing_key = format!("has_routing_key:{}", !routing_key.is_empty());
        let tags = ["direction:out", &*exchange, &has_routing_key, "type:rabbitmq"];
        self.produce_tagged(&tags, headers, parent, &options)
    }

    /// A message came from `queue`: passes a checkpoint that continues the context of its headers.
    pub fn consume_amqp<H: CarrierGet + CarrierSize>(
        &self,
        queue: &str,
        body: &[u8],
        headers: &H,
    ) -> Option<Pathway> {
        let topic = format!("topic:{queue}");
        let payload_size = body.len() as u64 + headers.size();
        let tags = ["direction:in", &*topic, "type:rabbitmq"];
        self.consume_tagged(&tags, headers, &Options { payload_size, ..Options::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::datastreams::MemoryOutput;

    #[test]
    fn exchanges_and_queues_are_tagged_as_kombu_is() {
        let memory = MemoryOutput::default();
        let streams = DataStreams::builder("shop").output(memory.clone()).build().unwrap();
        let mut headers = BTreeMap::<String, String>::new();
        let publish = |exchange, key, headers: &mut BTreeMap<String, String>| {
            streams.produce_amqp(exchange, key, b"body", headers, None).unwrap()
        };
        publish("events", "", &mut headers);
        headers.clear();
        publish("events", "key", &mut headers);
        headers.clear();
        publish("", "", &mut headers);
        headers.clear();
        let produced = publish("", "orders", &mut headers);
        let consumed = streams.consume_amqp("orders", b"body", &headers).unwrap();
        assert_ne!(produced.hash(), consumed.hash());
        streams.flush();
        let points = memory.take().remove(0).buckets.remove(0).points;
        let shown: Vec<_> = points
            .iter()
            .map(|point| (point.edge_tags.join(","), point.payload_size.sum() as u64))
            .collect();
        assert_eq!(points[0].parent_hash, produced.hash());
        let expected = [
            "direction:in,topic:orders,type:rabbitmq",
            "direction:out,exchange:,has_routing_key:false,type:rabbitmq",
            "direction:out,exchange:events,has_routing_key:false,type:rabbitmq",
            "direction:out,exchange:events,has_routing_key:true,type:rabbitmq",
            "direction:out,topic:orders,type:rabbitmq",
        ];
        assert_eq!(shown, expected.map(|tags| (tags.to_owned(), 4 + 28 + 21)));
    }
}
