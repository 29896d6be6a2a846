//! What holds for every input, whatever it says.

use proptest::prelude::*;
use whippet::protocol::{self, Cardinality, ExternalData, LocalData, Message, Options, Values};

use crate::twin::options;

/// A part of the line, found by its address.
fn is_within(part: &[u8], line: &[u8]) -> bool {
    let (part, line) = (part.as_ptr_range(), line.as_ptr_range());
    line.start <= part.start && part.end <= line.end
}

/// Bytes that are often separators, so that random input gets past the first field.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => any::<u8>(),
        5 => proptest::sample::select(&b":|#@,\n\r_esc{}0123cgmsT."[..]),
    ];
    proptest::collection::vec(byte, 0..60)
}

/// What every outcome of every line promises, also used by the seeds.
pub fn holds(datagram: &[u8], options: Options) {
    for line in protocol::lines(datagram) {
        assert!(!line.bytes.is_empty() && !line.bytes.contains(&b'\n'));
        let end = line.offset + line.bytes.len();
        assert_eq!(&datagram[line.offset..end], line.bytes);
        match protocol::read(line.bytes, options) {
            Ok(message) => message_holds(line.bytes, &message, options),
            Err(error) => {
                assert!(error.offset <= line.bytes.len(), "{error:?}");
                assert_eq!(error.kind.message_type(), protocol::message_type(line.bytes));
                let text = error.render(line.bytes).to_string();
                assert!(text.contains(error.kind.expectation()), "{text}");
                assert_eq!(text.lines().count(), 3, "{text}");
                assert!(text.chars().count() < 450, "{text}");
                assert!(
                    text.chars().all(|at| at == '\n' || at == '…' || (' '..='~').contains(&at))
                );
            }
        }
    }
}

fn message_holds(line: &[u8], message: &Message<'_>, options: Options) {
    let origin = match message {
        Message::Metric(metric) => {
            assert!(!metric.name.is_empty() && line.starts_with(metric.name));
            assert!(!metric.name.contains(&b':') && !metric.name.contains(&b'|'));
            assert!(metric.tags.is_empty() || is_within(metric.tags, line));
            assert!(metric.timestamp.is_none_or(|at| at >= 1 && options.timestamps));
            match metric.values {
                Values::Member(member) => assert!(!member.is_empty() && is_within(member, line)),
                values => assert!(values.numbers().count() > 0),
            }
            metric.origin
        }
        Message::Event(event) => {
            assert!(!event.title.is_empty());
            assert!(is_within(event.title, line) && is_within(event.text, line));
            assert_ne!((event.timestamp, event.host), (Some(0), Some(&b""[..])));
            event.origin
        }
        Message::ServiceCheck(check) => {
            assert!(!check.name.is_empty() && is_within(check.name, line));
            assert_ne!((check.timestamp, check.host), (Some(0), Some(&b""[..])));
            check.origin
        }
    };
    if !options.origin {
        assert_eq!(origin, protocol::OriginFields::default());
    }
    let _ = LocalData::read(origin.local_data.unwrap_or_default());
    let _ = ExternalData::read(origin.external_data.unwrap_or_default());
    let _ = Cardinality::read(origin.cardinality.unwrap_or_default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(datagram in bytes(), options in options()) {
        holds(&datagram, options);
    }

    #[test]
    fn every_kind_keeps_its_promises_behind_its_prefix(
        prefix in proptest::sample::select(&["_e{", "_e{1,1}:", "_sc", "_sc|", "a:1|c", "a:"][..]),
        tail in bytes(),
        options in options(),
    ) {
        holds(&[prefix.as_bytes(), &tail].concat(), options);
    }

    #[test]
    fn splitting_loses_nothing_but_line_ends(datagram in bytes()) {
        let mut rebuilt = datagram.clone();
        for line in protocol::lines(&datagram) {
            // Blank out what was handed on; only line ends may remain.
            rebuilt[line.offset..line.offset + line.bytes.len()].fill(b'\n');
        }
        prop_assert!(rebuilt.iter().all(|byte| matches!(byte, b'\n' | b'\r')));
        let last = protocol::lines(&datagram).last();
        if let Some(line) = last.filter(|line| !line.terminated) {
            let rest = &datagram[line.offset + line.bytes.len()..];
            prop_assert!(rest.is_empty() || rest == b"\r");
        }
        let early = protocol::lines(&datagram).filter(|line| !line.terminated).count();
        prop_assert!(early <= 1);
    }

    #[test]
    fn tag_bytes_are_untouched(
        tags in proptest::collection::vec(any::<u8>(), 0..200),
        kind in proptest::sample::select(&["a:1|c|@0.5|#", "_e{1,1}:a|b|#", "_sc|a|0|#"][..]),
    ) {
        let tags: Vec<u8> =
            tags.into_iter().filter(|byte| *byte != b'|' && *byte != b'\n').collect();
        let line = [kind.as_bytes(), &tags, b"|zz"].concat();
        let read = match protocol::read(&line, Options::default()).unwrap() {
            Message::Metric(metric) => metric.tags,
            Message::Event(event) => event.tags,
            Message::ServiceCheck(check) => check.tags,
        };
        prop_assert_eq!(read, &tags[..]);
    }

    #[test]
    fn unescaping_replaces_pairs_and_nothing_else(text in "[a-z\\\\n ]{0,40}") {
        let expect = text.replace("\\n", "\n");
        prop_assert_eq!(&*protocol::unescape(text.as_bytes()), expect.as_bytes());
    }
}
