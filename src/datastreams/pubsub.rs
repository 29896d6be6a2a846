//! Google Pub/Sub messages: the context is an attribute.

use super::carrier::{CarrierGet, CarrierSet, CarrierSize};
use super::client::DataStreams;
use super::options::Options;
use super::pathway::Pathway;
use super::size;

const TYPE: &str = "type:google-pubsub";

impl DataStreams {
    /// A message is about to be published to `topic`: passes a checkpoint and puts the context into its attributes.
    pub fn produce_pubsub<A: CarrierSet + CarrierSize>(
        &self,
        topic: &str,
        data: &[u8],
        ordering_key: &str,
        attributes: &mut A,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let topic = format!("topic:{topic}");
        let payload_size = size::of_all(&[data, ordering_key.as_bytes()]) + attributes.size();
        let options = Options { payload_size, ..Options::default() };
        self.produce_tagged(&["direction:out", &*topic, TYPE], attributes, parent, &options)
    }

    /// A message came through `subscription`, the whole path of it: passes a checkpoint that continues the context
    /// of its attributes.
    pub fn consume_pubsub<A: CarrierGet + CarrierSize>(
        &self,
        subscription: &str,
        data: &[u8],
        ordering_key: &str,
        attributes: &A,
    ) -> Option<Pathway> {
        let topic = format!("topic:{subscription}");
        let payload_size = size::of_all(&[data, ordering_key.as_bytes()]) + attributes.size();
        let options = Options { payload_size, ..Options::default() };
        self.consume_tagged(&["direction:in", &*topic, TYPE], attributes, &options)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::datastreams::MemoryOutput;

    #[test]
    fn attributes_carry_the_context() {
        let memory = MemoryOutput::default();
        let streams = DataStreams::builder("shop").output(memory.clone()).build().unwrap();
        let mut attributes = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let (topic, subscription) = ("projects/p/topics/t", "projects/p/subscriptions/s");
        let produced =
            streams.produce_pubsub(topic, b"data", "key", &mut attributes, None).unwrap();
        streams.consume_pubsub(subscription, b"data", "key", &attributes);
        streams.flush();
        let points = memory.take().remove(0).buckets.remove(0).points;
        let shown: Vec<_> = points
            .iter()
            .map(|point| (point.edge_tags.join(","), point.payload_size.sum() as u64))
            .collect();
        let of = |tags: &str| (tags.to_owned(), 4 + 3 + 2 + 28 + 21);
        assert_eq!(
            shown,
            [
                of("direction:in,topic:projects/p/subscriptions/s,type:google-pubsub"),
                of("direction:out,topic:projects/p/topics/t,type:google-pubsub"),
            ]
        );
        assert_eq!(points[0].parent_hash, produced.hash());
    }
}
