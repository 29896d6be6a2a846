//! Kafka messages: the context is a header. For any client; there are adapters for `rdkafka`.

use super::carrier::{CarrierGet, CarrierSet, CarrierSize};
use super::client::DataStreams;
use super::options::Options;
use super::pathway::Pathway;
use super::size;

/// The code of a delivery error that says nothing more. Brokers from before headers answer messages that have
/// some with it.
pub const UNKNOWN_SERVER_ERROR: i32 = -1;

/// A message, written or read. Headers are given beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaMessage<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The id of the cluster, if the client knows it.
    pub cluster: Option<&'a str>,
    /// Empty when there is none.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl KafkaMessage<'_> {
    fn size(&self, headers: &(impl CarrierSize + ?Sized)) -> u64 {
        size::of_all(&[self.key, self.value]) + headers.size()
    }

    fn cluster_tag(&self) -> Option<String> {
        let cluster = self.cluster.filter(|cluster| !cluster.is_empty())?;
        Some(format!("kafka_cluster_id:{cluster}"))
    }
}

impl DataStreams {
    /// A message is about to be written: passes a checkpoint and puts the context on its headers.
    pub fn produce_kafka<H: CarrierSet + CarrierSize>(
        &self,
        message: &KafkaMessage<'_>,
        headers: &mut H,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let (topic, cluster) = (format!("topic:{}", message.topic), message.cluster_tag());
        let tags = ["direction:out", &*topic, "type:kafka", cluster.as_deref().unwrap_or_default()];
        let tags = &tags[..3 + usize::from(cluster.is_some())];
        let payload_size = message.size(headers);
        let options = Options { payload_size, ..Options::default() };
        if self.injects_kafka_headers() {
            self.produce_tagged(tags, headers, parent, &options)
        } else {
            self.set_checkpoint(tags, parent, &options)
        }
    }

    /// A message was read by `group`: passes a checkpoint that continues the context of its headers. Offsets are
    /// tracked apart from this: with [`DataStreams::track_commit`] when they are committed, or, with automatic commits, of
    /// the next message at once.
    pub fn consume_kafka<H: CarrierGet + CarrierSize>(
        &self,
        group: &str,
        message: &KafkaMessage<'_>,
        headers: &H,
    ) -> Option<Pathway> {
        let (topic, group) = (format!("topic:{}", message.topic), format!("group:{group}"));
        let cluster = message.cluster_tag();
        let tags =
            ["direction:in", &*group, &topic, "type:kafka", cluster.as_deref().unwrap_or_default()];
        let tags = &tags[..4 + usize::from(cluster.is_some())];
        let payload_size = message.size(headers);
        self.consume_tagged(tags, headers, &Options { payload_size, ..Options::default() })
    }

    /// A message could not be delivered, for the reason with this code of librdkafka. The first
    /// [`UNKNOWN_SERVER_ERROR`] switches headers off for good, as the brokers may be too old for them; that is logged.
    pub fn kafka_delivery_failed(&self, code: i32) {
        if code == UNKNOWN_SERVER_ERROR && self.stop_injecting_kafka_headers() {
            tracing::error!(
                "a Kafka broker answered UNKNOWN_SERVER_ERROR (-1); data streams put no more headers on messages"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastreams::{CONTEXT_KEY, MemoryOutput, Point};

    fn streams(service: &str) -> (DataStreams, MemoryOutput) {
        let memory = MemoryOutput::default();
        let builder = DataStreams::builder(service).env("prod").output(memory.clone());
        (builder.build().unwrap(), memory)
    }

    fn points(streams: &DataStreams, memory: &MemoryOutput) -> Vec<Point> {
        streams.flush();
        memory.take().into_iter().flat_map(|f| f.buckets).flat_map(|b| b.points).collect()
    }

    type Headers = Vec<(String, Vec<u8>)>;

    #[test]
    fn the_header_carries_the_context_and_sizes_are_those_of_the_message() {
        let (shop, of_shop) = streams("shop");
        let (billing, of_billing) = streams("billing");
        let message = KafkaMessage {
            topic: "orders",
            key: b"key",
            value: b"value",
            ..KafkaMessage::default()
        };
        let mut headers: Headers = vec![("other".to_owned(), b"1234".to_vec())];
        let produced = shop.produce_kafka(&message, &mut headers, None).unwrap();
        assert_eq!(produced.hash(), 17_073_393_891_733_492_021, "V1");
        let consumed = billing.consume_kafka("billing", &message, &headers).unwrap();
        assert_eq!(consumed.hash(), 14_149_669_132_804_983_581, "V2");
        let of = |points: Vec<Point>| (points[0].edge_tags.join(","), points[0].payload_size.sum());
        let header = 28.0 + 21.0;
        let produced = ("direction:out,topic:orders,type:kafka".to_owned(), 8.0 + 9.0 + header);
        assert_eq!(of(points(&shop, &of_shop)), produced);
        let consumed = "direction:in,group:billing,topic:orders,type:kafka".to_owned();
        assert_eq!(of(points(&billing, &of_billing)), (consumed, 8.0 + 9.0 + header));
    }

    #[test]
    fn the_cluster_is_a_tag_where_it_is_known() {
        let (shop, memory) = streams("shop");
        let message = KafkaMessage { topic: "t", cluster: Some("c"), ..KafkaMessage::default() };
        let mut headers = Headers::new();
        shop.produce_kafka(&message, &mut headers, None);
        shop.consume_kafka("g", &KafkaMessage { cluster: Some(""), ..message }, &headers);
        shop.consume_kafka("g", &message, &headers);
        let tags: Vec<_> = points(&shop, &memory).iter().map(|p| p.edge_tags.join(",")).collect();
        assert_eq!(
            tags,
            [
                "direction:in,group:g,kafka_cluster_id:c,topic:t,type:kafka",
                "direction:in,group:g,topic:t,type:kafka",
                "direction:out,kafka_cluster_id:c,topic:t,type:kafka",
            ]
        );
    }

    #[test]
    fn old_brokers_end_the_headers_and_not_the_checkpoints() {
        let (shop, memory) = streams("shop");
        let message = KafkaMessage { topic: "t", ..KafkaMessage::default() };
        let produce = || {
            let mut headers = Headers::new();
            shop.produce_kafka(&message, &mut headers, None).unwrap();
            headers.iter().any(|(key, _)| key == CONTEXT_KEY)
        };
        shop.kafka_delivery_failed(-185);
        assert!(produce());
        shop.kafka_delivery_failed(UNKNOWN_SERVER_ERROR);
        assert!(!produce());
        assert_eq!(points(&shop, &memory)[0].pathway_latency.count(), 2);
    }
}
