//! Headers of `lapin`: a field table of AMQP.

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::carrier::{CarrierGet, CarrierSet, CarrierSize};
use super::client::DataStreams;
use super::pathway::Pathway;

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

impl CarrierGet for FieldTable {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        self.inner().get(key).and_then(bytes).map(Cow::Borrowed)
    }
}

impl CarrierSet for FieldTable {
    fn set(&mut self, key: &str, value: &[u8]) {
        // What Kombu writes for a text.
        self.insert(key.into(), AMQPValue::LongString(value.into()));
    }
}

/// Texts and bytes count, also those in tables inside; numbers do not.
impl CarrierSize for FieldTable {
    fn size(&self) -> u64 {
        let size = |value: &AMQPValue| match value {
            AMQPValue::FieldTable(table) => table.size(),
            value => bytes(value).map_or(0, |bytes| bytes.len() as u64),
        };
        self.inner().iter().map(|(key, value)| key.as_str().len() as u64 + size(value)).sum()
    }
}

impl DataStreams {
    /// As [`DataStreams::produce_amqp`]: the properties of a message of `lapin` that is about to be published, with
    /// the context on their headers.
    pub fn produce_lapin(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
        parent: Option<&Pathway>,
    ) -> (BasicProperties, Option<Pathway>) {
        let mut headers = properties.headers().clone().unwrap_or_default();
        let pathway = self.produce_amqp(exchange, routing_key, body, &mut headers, parent);
        if pathway.is_none() {
            return (properties, None);
        }
        (properties.with_headers(headers), pathway)
    }

    /// As [`DataStreams::consume_amqp`], for the body and properties of a delivery of `lapin`.
    pub fn consume_lapin(
        &self,
        queue: &str,
        body: &[u8],
        properties: &BasicProperties,
    ) -> Option<Pathway> {
        let none = FieldTable::default();
        self.consume_amqp(queue, body, properties.headers().as_ref().unwrap_or(&none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastreams::{CONTEXT_KEY, MemoryOutput};

    #[test]
    fn field_tables_are_carriers() {
        let mut headers = FieldTable::default();
        headers.insert("short".into(), AMQPValue::ShortString("s".into()));
        headers.insert("bytes".into(), AMQPValue::ByteArray(b"ab"[..].into()));
        headers.insert("number".into(), AMQPValue::LongInt(7));
        headers.set("text", b"first");
        headers.set("text", b"last");
        let got = |key: &str| CarrierGet::get(&headers, key).map(Cow::into_owned);
        assert_eq!(got("text").as_deref(), Some(&b"last"[..]));
        assert_eq!(got("short").as_deref(), Some(&b"s"[..]));
        assert_eq!(got("bytes").as_deref(), Some(&b"ab"[..]));
        assert_eq!((got("number"), got("other")), (None, None));
        assert_eq!(headers.size(), (5 + 1) + (5 + 2) + 6 + (4 + 4));
        let mut outer = FieldTable::default();
        outer.insert("t".into(), AMQPValue::FieldTable(headers));
        assert_eq!(outer.size(), 1 + 27);
    }

    #[test]
    fn properties_get_the_header_and_give_it() {
        let streams = DataStreams::builder("shop").output(MemoryOutput::default()).build().unwrap();
        let properties = BasicProperties::default().with_content_type("text/plain".into());
        let (properties, produced) = streams.produce_lapin("", "orders", b"b", properties, None);
        let produced = produced.unwrap();
        let headers = properties.headers().as_ref().unwrap();
        assert_eq!(CarrierGet::get(headers, CONTEXT_KEY).unwrap(), produced.to_base64().as_bytes());
        assert!(properties.content_type().is_some());
        let consumed = streams.consume_lapin("orders", b"b", &properties).unwrap();
        assert_eq!(
            consumed.pathway_start(),
            std::time::Duration::from_millis(produced.pathway_start().as_millis() as u64)
        );
        assert!(streams.consume_lapin("orders", b"b", &BasicProperties::default()).is_some());
    }
}
