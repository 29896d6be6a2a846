//! Messages and headers of `rdkafka`.

use std::borrow::Cow;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, Header, Headers, Message, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, FutureRecord};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::util::IntoOpaque;

use super::carrier::{CarrierGet, CarrierSet, CarrierSize};
use super::client::DataStreams;
use super::kafka::KafkaMessage;
use super::pathway::Pathway;

fn last<'a>(headers: &'a impl Headers, key: &str) -> Option<Cow<'a, [u8]>> {
    let named = headers.iter().filter(|header| header.key == key);
    named.last().and_then(|header| header.value).map(Cow::Borrowed)
}

fn size(headers: &impl Headers) -> u64 {
    let size = |header: Header<'_, &[u8]>| header.key.len() + header.value.map_or(0, <[u8]>::len);
    headers.iter().map(|header| size(header) as u64).sum()
}

impl CarrierGet for BorrowedHeaders {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        last(self, key)
    }
}

impl CarrierGet for OwnedHeaders {
    fn get(&self, key: &str) -> Option<Cow<'_, [u8]>> {
        last(self, key)
    }
}

/// Adds a header; of several with one name, readers take the last.
impl CarrierSet for OwnedHeaders {
    fn set(&mut self, key: &str, value: &[u8]) {
        let headers = std::mem::replace(self, OwnedHeaders::new_with_capacity(0));
        *self = headers.insert(Header { key, value: Some(value) });
    }
}

impl CarrierSize for BorrowedHeaders {
    fn size(&self) -> u64 {
        size(self)
    }
}

impl CarrierSize for OwnedHeaders {
    fn size(&self) -> u64 {
        size(self)
    }
}

/// The headers of a message that has none.
struct NoHeaders;

impl CarrierGet for NoHeaders {
    fn get(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
}

impl CarrierSize for NoHeaders {
    fn size(&self) -> u64 {
        0
    }
}

/// A record that `rdkafka` writes.
pub trait KafkaRecord {
    /// What it holds but its headers.
    fn message(&self) -> KafkaMessage<'_>;
    /// Its headers.
    fn headers_mut(&mut self) -> &mut Option<OwnedHeaders>;
}

fn message<'a>(
    topic: &'a str,
    key: Option<&'a (impl ToBytes + ?Sized)>,
    payload: Option<&'a (impl ToBytes + ?Sized)>,
) -> KafkaMessage<'a> {
    let key = key.map(ToBytes::to_bytes).unwrap_or_default();
    let value = payload.map(ToBytes::to_bytes).unwrap_or_default();
    KafkaMessage { topic, cluster: None, key, value }
}

impl<K: ToBytes + ?Sized, P: ToBytes + ?Sized> KafkaRecord for FutureRecord<'_, K, P> {
    fn message(&self) -> KafkaMessage<'_> {
        message(self.topic, self.key, self.payload)
    }

    fn headers_mut(&mut self) -> &mut Option<OwnedHeaders> {
        &mut self.headers
    }
}

impl<K: ToBytes + ?Sized, P: ToBytes + ?Sized, D: IntoOpaque> KafkaRecord
    for BaseRecord<'_, K, P, D>
{
    fn message(&self) -> KafkaMessage<'_> {
        message(self.topic, self.key, self.payload)
    }

    fn headers_mut(&mut self) -> &mut Option<OwnedHeaders> {
        &mut self.headers
    }
}

impl DataStreams {
    /// As [`DataStreams::produce_kafka`], for a record of `rdkafka` that is about to be sent.
    pub fn produce_rdkafka(
        &self,
        record: &mut impl KafkaRecord,
        cluster: Option<&str>,
        parent: Option<&Pathway>,
    ) -> Option<Pathway> {
        let mut headers =
            record.headers_mut().take().unwrap_or_else(|| OwnedHeaders::new_with_capacity(1));
        let message = KafkaMessage { cluster, ..record.message() };
        let pathway = self.produce_kafka(&message, &mut headers, parent);
        *record.headers_mut() = Some(headers).filter(|headers| headers.count() > 0);
        pathway
    }

    /// A record was delivered to this partition and offset, or could not be: what the delivery callback, or the future,
    /// of a producer says.
    pub fn delivered_rdkafka(
        &self,
        topic: &str,
        delivery: Result<(i32, i64), &KafkaError>,
        cluster: Option<&str>,
    ) {
        match delivery {
            Ok((partition, offset)) => self.track_produce(topic, partition, offset, cluster),
            Err(error) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Unknown) {
                    self.kafka_delivery_failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN as i32);
                }
            }
        }
    }

    /// As [`DataStreams::consume_kafka`], for a message of `rdkafka`. With `auto_commit` reading it counts as a commit
    /// of the next one.
    pub fn consume_rdkafka<M: Message>(
        &self,
        group: &str,
        message: &M,
        cluster: Option<&str>,
        auto_commit: bool,
    ) -> Option<Pathway>
    where
        M::Headers: CarrierGet + CarrierSize,
    {
        if auto_commit {
            let (partition, next) = (message.partition(), message.offset().saturating_add(1));
            self.track_commit(group, message.topic(), partition, next, cluster);
        }
        let parts = KafkaMessage {
            topic: message.topic(),
            cluster,
            key: message.key().unwrap_or_default(),
            value: message.payload().unwrap_or_default(),
        };
        match message.headers() {
            Some(headers) => self.consume_kafka(group, &parts, headers),
            None => self.consume_kafka(group, &parts, &NoHeaders),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_rdkafka_are_carriers() {
        let mut headers = OwnedHeaders::new().insert(Header { key: "k", value: Some("first") });
        headers = headers.insert(Header { key: "empty", value: None::<&str> });
        assert_eq!(CarrierGet::get(&headers, "k").as_deref(), Some(&b"first"[..]));
        headers.set("k", b"last");
        assert_eq!(CarrierGet::get(&headers, "k").as_deref(), Some(&b"last"[..]));
        assert_eq!(CarrierGet::get(headers.as_borrowed(), "k").as_deref(), Some(&b"last"[..]));
        assert_eq!(CarrierGet::get(&headers, "empty"), None);
        assert_eq!(CarrierGet::get(&headers, "other"), None);
        assert_eq!(headers.size(), 1 + 5 + 5 + 1 + 4);
        assert_eq!(headers.as_borrowed().size(), headers.size());
    }

    #[test]
    fn a_record_gets_the_header_and_an_old_broker_ends_that() {
        let streams = DataStreams::builder("shop")
            .env("prod")
            .output(crate::datastreams::MemoryOutput::default());
        let streams = streams.build().unwrap();
        let mut record = FutureRecord::to("orders").key("k").payload("v");
        let produced = streams.produce_rdkafka(&mut record, None, None).unwrap();
        assert_eq!(produced.hash(), 17_073_393_891_733_492_021, "V1");
        let headers = record.headers.unwrap();
        let context = CarrierGet::get(&headers, super::super::CONTEXT_KEY).unwrap();
        assert_eq!(&*context, produced.to_base64().as_bytes());
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        streams.delivered_rdkafka("orders", Err(&full), None);
        assert!(streams.injects_kafka_headers());
        let unknown = KafkaError::MessageProduction(RDKafkaErrorCode::Unknown);
        streams.delivered_rdkafka("orders", Err(&unknown), None);
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to("orders").payload("v");
        streams.produce_rdkafka(&mut record, None, None).unwrap();
        assert!(record.headers.is_none());
    }
}
