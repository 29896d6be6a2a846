//! Any datagram is read or refused, and what comes out points into what went in.
//!
//! The first byte of the input chooses the options (bit 0 shuts timestamps, bit 1 origin fields,
//! so that text opens both); the rest is the datagram.

use whippet::protocol::{
    self, Cardinality, ExternalData, LocalData, Message, Metric, Options, OriginFields, Separators,
    Values,
};

/// One input.
pub fn run(input: &[u8]) {
    let Some((first, datagram)) = input.split_first() else { return };
    let options = Options { timestamps: first & 1 == 0, origin: first & 2 == 0 };
    plain_agrees(datagram, options);
    let mut end = 0;
    for line in protocol::lines(datagram) {
        assert!(line.offset >= end, "lines overlap");
        end = line.offset + line.bytes.len();
        assert_eq!(&datagram[line.offset..end], line.bytes);
        match protocol::read(line.bytes, options) {
            Ok(message) => look(&message, options),
            Err(error) => {
                assert!(error.offset <= line.bytes.len());
                assert_eq!(error.kind.message_type(), protocol::message_type(line.bytes));
                assert!(error.render(line.bytes).to_string().chars().count() < 450);
            }
        }
    }
}

/// The quick reader of plain metrics finds the lines of the whole one, and reads what that reads, or
/// nothing, where the name is one.
fn plain_agrees(datagram: &[u8], options: Options) {
    let mut separators = Separators::default();
    let (mut rest, mut all) = (datagram, protocol::lines(datagram));
    while !rest.is_empty() {
        let mut reader = separators.read(rest, options);
        loop {
            let from = reader.mark();
            let Some(plain) = reader.metric() else {
                let Some(line) = reader.line() else { break };
                assert_eq!(all.next().map(|line| line.bytes), Some(line));
                continue;
            };
            let taken = reader.between(from, reader.mark());
            let line = all.next().expect("as many lines").bytes;
            // A carriage return may end a field that is not read.
            assert_eq!(taken.strip_suffix(b"\r").unwrap_or(taken), line);
            if plain.name.is_empty() || plain.name.contains(&b':') || plain.name[0] == b'_' {
                continue;
            }
            let Ok(Message::Metric(metric)) = protocol::read(line, options) else {
                panic!("plain, and yet refused: {plain:?}");
            };
            assert_eq!(Metric::from(plain), metric);
        }
        assert!(reader.rest().len() < rest.len());
        rest = reader.rest();
    }
    assert_eq!(all.next(), None);
}

/// Touches everything a message offers.
fn look(message: &Message<'_>, options: Options) {
    let origin = match message {
        Message::Metric(metric) => {
            assert!(!metric.name.is_empty());
            assert!(metric.timestamp.is_none_or(|seconds| seconds >= 1 && options.timestamps));
            match metric.values {
                Values::Member(member) => assert!(!member.is_empty()),
                values => assert!(values.numbers().count() > 0),
            }
            metric.origin
        }
        Message::Event(event) => {
            assert!(!event.title.is_empty());
            assert!(protocol::unescape(event.text).len() <= event.text.len());
            event.origin
        }
        Message::ServiceCheck(check) => {
            assert!(!check.name.is_empty());
            check.origin
        }
    };
    if !options.origin {
        assert_eq!(origin, OriginFields::default());
    }
    let _ = LocalData::read(origin.local_data.unwrap_or_default());
    let _ = ExternalData::read(origin.external_data.unwrap_or_default());
    let _ = Cardinality::read(origin.cardinality.unwrap_or_default());
}
