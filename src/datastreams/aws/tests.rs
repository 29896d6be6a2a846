use super::*;
use crate::clock::Clock;
use crate::datastreams::{CONTEXT_KEY, MemoryOutput, Point};

const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:orders";
/// Characters of a context and its key.
const CONTEXT: u64 = 28 + 21;

struct Hand {
    streams: DataStreams,
    memory: MemoryOutput,
}

impl Hand {
    fn new() -> Self {
        let memory = MemoryOutput::default();
        let clock = Clock::manual(Duration::from_secs(1_700_000_000));
        let builder = DataStreams::builder("shop").env("prod").clock(clock);
        Hand { streams: builder.output(memory.clone()).build().unwrap(), memory }
    }

    fn point(&self) -> Point {
        self.streams.flush();
        let mut points = self.memory.take().remove(0).buckets.remove(0).points;
        assert_eq!(points.len(), 1);
        points.remove(0)
    }

    /// Tags and size of the one checkpoint that was passed.
    fn passed(&self) -> (String, u64) {
        let point = self.point();
        (point.edge_tags.join(","), point.payload_size.sum() as u64)
    }

    fn send(&self, attributes: &mut MessageAttributes, trace_context: &[(&str, &str)]) -> Pathway {
        let message = SqsMessage {
            queue_url: QUEUE,
            body: "body",
            attributes,
            system_attributes_size: 0,
            group_id: "group",
            trace_context,
        };
        self.streams.produce_sqs(message, None).unwrap()
    }

    fn publish(&self, attributes: &mut MessageAttributes) -> Pathway {
        let message = SnsMessage {
            topic_arn: TOPIC,
            message: "message",
            attributes,
            subject: "subject",
            group_id: "",
            trace_context: &[],
        };
        self.streams.produce_sns(message, None).unwrap()
    }

    /// The parent of a message with this body and these attributes.
    fn parent(&self, body: &str, attributes: Option<&MessageAttributes>) -> u64 {
        let message =
            ReceivedSqsMessage { queue_url: QUEUE, body, attributes, ..Default::default() };
        self.streams.consume_sqs(&message).unwrap();
        self.point().parent_hash
    }
}

fn text(value: &str) -> MessageAttribute {
    MessageAttribute::Text { data_type: "String".to_owned(), value: value.to_owned() }
}

fn filled(count: usize) -> MessageAttributes {
    (0..count).map(|number| (number.to_string(), text("v"))).collect()
}

#[test]
fn a_queue_carries_the_context_in_a_text_attribute() {
    let hand = Hand::new();
    let mut attributes = filled(1);
    let produced = hand.send(&mut attributes, &[]);
    let MessageAttribute::Text { data_type, value } = &attributes[DATADOG_ATTRIBUTE] else {
        panic!("a text")
    };
    assert_eq!(data_type, "String");
    assert_eq!(*value, format!("{{\"{CONTEXT_KEY}\":\"{}\"}}", produced.to_base64()));
    // Body, group, one attribute (0, DataType, String, StringValue, v).
    let size = 4 + 5 + (1 + 8 + 6 + 11 + 1) + CONTEXT;
    assert_eq!(hand.passed(), ("direction:out,topic:orders,type:sqs".to_owned(), size));
    let message = ReceivedSqsMessage {
        queue_url: QUEUE,
        body: "body",
        attributes: Some(&attributes),
        group_id: "group",
    };
    hand.streams.consume_sqs(&message).unwrap();
    let point = hand.point();
    assert_eq!(point.edge_tags.join(","), "direction:in,topic:orders,type:sqs");
    assert_eq!(point.parent_hash, produced.hash());
    let attribute = (8 + 8 + 6 + 11 + value.len()) as u64;
    assert_eq!(point.payload_size.sum() as u64, 4 + 5 + 27 + attribute);
}

#[test]
fn headers_of_a_tracer_travel_beside_the_context_and_count() {
    let hand = Hand::new();
    let mut attributes = MessageAttributes::new();
    hand.send(&mut attributes, &[("traceparent", "00-1")]);
    let json = Datadog::of_json(attributes[DATADOG_ATTRIBUTE].bytes());
    assert_eq!(json.get("traceparent").as_deref(), Some(&b"00-1"[..]));
    assert!(json.get(CONTEXT_KEY).is_some());
    let added = 8 + 8 + 6 + 11 + 11 + 4;
    assert_eq!(hand.passed().1, 4 + 5 + added + CONTEXT);
}

#[test]
fn a_message_with_ten_attributes_stays_as_it_is() {
    let hand = Hand::new();
    for (count, injected) in [(9, true), (10, false), (11, false)] {
        let mut attributes = filled(count);
        hand.send(&mut attributes, &[]);
        assert_eq!(attributes.contains_key(DATADOG_ATTRIBUTE), injected, "{count}");
        let mut attributes = filled(count);
        hand.publish(&mut attributes);
        assert_eq!(attributes.contains_key(DATADOG_ATTRIBUTE), injected, "{count}");
    }
}

#[test]
fn a_topic_carries_the_context_in_a_binary_attribute() {
    let hand = Hand::new();
    let mut attributes = MessageAttributes::new();
    let produced = hand.publish(&mut attributes);
    // Message, subject, and the attribute that is still empty.
    let size = 7 + 7 + (8 + 8 + 6 + 11) + CONTEXT;
    assert_eq!(hand.passed(), (format!("direction:out,topic:{TOPIC},type:sns"), size));
    // Raw delivery to a queue: as it was.
    assert_eq!(hand.parent("message", Some(&attributes)), produced.hash());
    // Otherwise as a notification in the body.
    let value = STANDARD.encode(attributes[DATADOG_ATTRIBUTE].bytes());
    let notification = |kind: &str, attributes: &str| {
        serde_json::json!({
            "Type": "Notification", "Message": "message",
            attributes: {"_datadog": {"Type": kind, "Value": value}},
        })
        .to_string()
    };
    for attributes in ["MessageAttributes", "messageAttributes"] {
        assert_eq!(hand.parent(&notification("Binary", attributes), None), produced.hash());
    }
    let others = filled(2);
    let body = notification("Binary", "MessageAttributes");
    assert_eq!(hand.parent(&body, Some(&others)), produced.hash());
    assert_eq!(hand.parent(&notification("String", "MessageAttributes"), None), 0);
}

#[test]
fn attributes_in_a_body_come_in_either_letter_case() {
    let hand = Hand::new();
    let mut attributes = MessageAttributes::new();
    let produced = hand.send(&mut attributes, &[]);
    hand.point();
    let json = std::str::from_utf8(attributes[DATADOG_ATTRIBUTE].bytes()).unwrap();
    for (outer, inner) in
        [("MessageAttributes", "StringValue"), ("messageAttributes", "stringValue")]
    {
        let body = serde_json::json!({outer: {"_datadog": {inner: json}}}).to_string();
        assert_eq!(hand.parent(&body, None), produced.hash(), "{outer}");
    }
}

#[test]
fn what_is_no_context_begins_a_pathway() {
    let hand = Hand::new();
    for body in
        ["", "text", "[]", "7", "{}", r#"{"MessageAttributes":7}"#, r#"{"Type":"Notification"}"#]
    {
        assert_eq!(hand.parent(body, None), 0, "{body}");
    }
    for value in ["", "text", "[]", r#"{"dd-pathway-ctx-base64":7}"#] {
        let attributes = MessageAttributes::from([(DATADOG_ATTRIBUTE.to_owned(), text(value))]);
        assert_eq!(hand.parent("", Some(&attributes)), 0, "{value}");
    }
}

const STREAM: KinesisRecord<'_> =
    KinesisRecord { stream: "clicks", partition_key: "pk", explicit_hash_key: "h" };

#[test]
fn a_record_carries_the_context_in_its_data() {
    let hand = Hand::new();
    for data in [r#"{"a":1}"#, "{\"a\":1}\n", &STANDARD.encode(r#"{"a":1}"#)] {
        let mut record = data.as_bytes().to_vec();
        let produced = hand.streams.produce_kinesis(&STREAM, &mut record, None).unwrap();
        let size = (data.len() + 2 + 1) as u64 + CONTEXT;
        assert_eq!(hand.passed(), ("direction:out,topic:clicks,type:kinesis".to_owned(), size));
        assert_eq!(record.ends_with(b"\n"), data.ends_with('\n'));
        let object: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(object["a"], 1);
        assert_eq!(object["_datadog"][CONTEXT_KEY], produced.to_base64());
        let arrived = Duration::from_secs(1_699_999_997);
        hand.streams.consume_kinesis(&STREAM, &record, arrived).unwrap();
        let point = hand.point();
        assert_eq!(point.parent_hash, produced.hash());
        assert_eq!((point.edge_latency.sum(), point.pathway_latency.sum()), (3.0, 3.0));
        assert_eq!(point.payload_size.sum() as usize, record.len() + 2 + 1);
    }
}

#[test]
fn a_record_that_would_be_too_large_stays_as_it_is() {
    let hand = Hand::new();
    let data = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length)).into_bytes();
    // With the context: {"_datadog":{"dd-pathway-ctx-base64":"28"},"a":""}
    let around = r#"{"_datadog":{"dd-pathway-ctx-base64":""},"a":""}"#.len() + 28;
    for (length, injected) in
        [(KINESIS_BYTES_MAX - around - 1, true), (KINESIS_BYTES_MAX - around, false)]
    {
        let mut record = data(length);
        assert!(hand.streams.produce_kinesis(&STREAM, &mut record, None).is_some());
        assert_eq!(record != data(length), injected);
        assert!(record.len() < KINESIS_BYTES_MAX);
    }
}

#[test]
fn records_without_json_or_stream_pass_no_checkpoint() {
    let hand = Hand::new();
    for (stream, data) in [("clicks", "text"), ("clicks", "[1]"), ("", "{}")] {
        let record = KinesisRecord { stream, ..STREAM };
        let mut bytes = data.as_bytes().to_vec();
        assert_eq!(hand.streams.produce_kinesis(&record, &mut bytes, None), None, "{data}");
        assert_eq!(bytes, data.as_bytes());
    }
    let nameless = KinesisRecord { stream: "", ..STREAM };
    assert_eq!(hand.streams.consume_kinesis(&nameless, b"{}", Duration::ZERO), None);
    // A consumer counts what anyone put there.
    assert!(hand.streams.consume_kinesis(&STREAM, b"text", Duration::ZERO).is_some());
}

#[test]
fn queues_are_named_by_the_end_of_their_url() {
    for (url, name) in
        [(QUEUE, "orders"), ("https://h/1/q.fifo?x=1/2", "q.fifo"), ("q", "q"), ("", "")]
    {
        assert_eq!(queue_name(url), name);
    }
}
