//! The fast reader against the slow one, over texts that keep close to the grammar.

use proptest::prelude::*;
use proptest::sample::select;
use whippet::protocol::{self, Escaped, Message, Options, ParseError, Values};

use crate::numbers::{Reading, slow};
use crate::reference;

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[+-]?[0-9]{1,4}(\\.[0-9]{0,6})?",
        2 => "[+-]?[0-9]{0,20}\\.?[0-9]{0,20}",
        1 => "[+-]?[0-9]{1,3}[eE][+-]?[0-9]{1,3}",
        1 => "0x[0-9a-f]{0,3}p-?[0-9]{0,2}",
        2 => select(&["", "nan", "-inf", "Infinity", "1_000", "1e400", "abc", " 1", "1,5"][..])
            .prop_map(String::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z._]{1,30}",
        1 => "[ -~]{0,5}",
        1 => select(&["", "_e", "_sched", "_sc", "♬†øU", "a\tb", "\0"][..]).prop_map(String::from),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "#[a-z:,./@# ]{0,40}",
        3 => number().prop_map(|rate| format!("@{rate}")),
        1 => "T[+-]?[0-9]{0,20}(\\.[0-9])?",
        1 => "c:(ci-|in-|cid-)?[a-z0-9,-]{0,8}",
        1 => "e:[a-z0-9,-]{0,8}",
        1 => "card:[a-zA-Z]{0,4}",
        1 => "[dhkpstm]:[a-z0-9\\\\]{0,6}",
        1 => select(&["p:low", "p:normal", "t:error", "t:info", "h:", "d:0"][..])
            .prop_map(String::from),
        1 => "[ -{}~]{0,4}",
    ]
}

fn fields() -> impl Strategy<Value = String> {
    proptest::collection::vec(field(), 0..5)
        .prop_map(|fields| fields.iter().map(|field| format!("|{field}")).collect())
}

fn metric() -> impl Strategy<Value = String> {
    let kind = select(&["c", "g", "h", "ms", "s", "d", "", "m", "x", "cc", "C"][..]);
    let values = proptest::collection::vec(number(), 1..4).prop_map(|values| values.join(":"));
    (name(), values, kind, fields())
        .prop_map(|(name, values, kind, fields)| format!("{name}:{values}|{kind}{fields}"))
}

fn event() -> impl Strategy<Value = String> {
    let off = || prop_oneof![8 => Just(0_i64), 1 => -2_i64..3, 1 => any::<i64>()];
    let text = || "[a-z|\\\\né:]{0,12}";
    let ends = select(&["}", "}", "}", "]", "", "}}"][..]);
    (text(), text(), off(), off(), ends, fields()).prop_map(
        |(title, text, title_off, text_off, end, fields)| {
            let title_length = i64::try_from(title.len()).unwrap().saturating_add(title_off);
            let text_length = i64::try_from(text.len()).unwrap().saturating_add(text_off);
            format!("_e{{{title_length},{text_length}{end}:{title}|{text}{fields}")
        },
    )
}

fn check() -> impl Strategy<Value = String> {
    let start = select(&["_sc|", "_sc|", "_sc|", "_sc", "_sc:", "_sched"][..]);
    let status = select(&["0", "1", "2", "3", "4", "01", "", "OK"][..]);
    (start, name(), status, fields())
        .prop_map(|(start, name, status, fields)| format!("{start}{name}|{status}{fields}"))
}

/// A line of any kind, sometimes with a byte changed, removed or doubled.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![5 => metric(), 2 => event(), 2 => check()];
    let wound = prop_oneof![
        3 => Just(None),
        1 => (any::<proptest::sample::Index>(), 0..4_u8, any::<u8>()).prop_map(Some),
    ];
    (text, wound).prop_map(|(text, wound)| {
        let mut bytes = text.into_bytes();
        if let Some((at, how, byte)) = wound {
            let at = at.index(bytes.len());
            match how {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, bytes[at]),
                2 => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

pub fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>()).prop_map(|(timestamps, origin)| Options { timestamps, origin })
}

/// Debug text, because NaN does not equal itself.
fn shown(read: Result<Message<'_>, ParseError>) -> String {
    format!("{read:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn both_readers_read_the_same(line in line(), options in options()) {
        let (fast, slow) = (protocol::read(&line, options), reference::read(&line, options));
        prop_assert_eq!(shown(fast), shown(slow), "{}", Escaped(&line));
    }

    #[test]
    fn packed_values_are_the_items_one_by_one(line in metric()) {
        let Ok(Message::Metric(metric)) = protocol::read(line.as_bytes(), Options::default()) else {
            return Ok(());
        };
        let numbers: Vec<u64> = metric.values.numbers().map(f64::to_bits).collect();
        let expect: Vec<u64> = match metric.values {
            Values::One(number) => vec![number.to_bits()],
            Values::Member(_) => vec![],
            Values::Packed(text) => text
                .split(|byte| *byte == b':')
                .filter_map(|item| match slow(item) {
                    Reading::Number(number) => Some(number.to_bits()),
                    _ => None,
                })
                .collect(),
        };
        prop_assert_eq!(&numbers, &expect);
        prop_assert!(!numbers.is_empty() || matches!(metric.values, Values::Member(_)));
    }

    #[test]
    fn datagrams_fall_into_the_same_lines(
        lines in proptest::collection::vec(line(), 0..6),
        joints in proptest::collection::vec(select(&["\n", "\r\n", "\n\n", "\r", "\r\r\n"][..]), 6),
        bare in any::<bool>(),
    ) {
        let mut datagram = Vec::new();
        for (line, joint) in lines.iter().zip(&joints) {
            datagram.extend_from_slice(line);
            datagram.extend_from_slice(joint.as_bytes());
        }
        if bare {
            datagram.pop();
        }
        let fast: Vec<(Vec<u8>, bool)> = protocol::lines(&datagram)
            .map(|line| (line.bytes.to_vec(), line.terminated))
            .collect();
        prop_assert_eq!(fast, reference::lines(&datagram));
    }
}
