//! Fields of a line without effect: unknown, disabled, overridden, invalid.

use nom::Offset;

use crate::protocol::{self, Ignored, Message, Options};

const NO_SUCH_FIELD: &str = "no such field";
const INVALID: &str = "invalid";
const OVERRIDDEN: &str = "overridden by a later field of the same kind";
const ORIGIN_OFF: &str = "dogstatsd_origin_detection_client is false";
const TIMESTAMPS_OFF: &str = "dogstatsd_no_aggregation_pipeline is false";

/// Prefixes of the fields a message can have besides the origin fields.
const METRIC: &[&str] = &["@", "#", "T"];
const EVENT: &[&str] = &["d:", "h:", "k:", "p:", "s:", "t:", "#"];
const CHECK: &[&str] = &["d:", "h:", "m:", "#"];
const ORIGIN: &[&str] = &["c:", "e:", "card:"];

/// Every field of a valid line that has no effect, with the reason.
pub(super) fn ignored<'a>(
    line: &'a [u8],
    message: &Message<'a>,
    options: Options,
) -> Vec<(&'a [u8], &'static str)> {
    let fields: Vec<&[u8]> = tail(line, message);
    let prefixes: Vec<Option<&str>> = fields.iter().map(|field| prefix(field, message)).collect();
    let bad: Vec<bool> = fields.iter().map(|field| is_invalid(field, message)).collect();
    let reason = |at: usize| {
        let later = at + 1..fields.len();
        match prefixes[at] {
            None => Some(NO_SUCH_FIELD),
            Some("T") if !options.timestamps => Some(TIMESTAMPS_OFF),
            Some(prefix) if ORIGIN.contains(&prefix) && !options.origin => Some(ORIGIN_OFF),
            Some(_) if bad[at] => Some(INVALID),
            same if later.into_iter().any(|next| prefixes[next] == same && !bad[next]) => {
                Some(OVERRIDDEN)
            }
            Some(_) => None,
        }
    };
    let entry = |at: usize| Some((fields[at], reason(at)?));
    (0..fields.len()).filter(|at| !fields[*at].is_empty()).filter_map(entry).collect()
}

/// The optional fields, split as the parser does.
fn tail<'a>(line: &'a [u8], message: &Message<'a>) -> Vec<&'a [u8]> {
    let (from, skipped) = match message {
        // name:values|type|…
        Message::Metric(_) => (0, 2),
        // Whatever directly follows the text is parsed as a field.
        Message::Event(event) => (line.offset(event.text) + event.text.len(), 0),
        // _sc|name|status|…
        Message::ServiceCheck(_) => (0, 3),
    };
    line[from..].split(|byte| *byte == b'|').skip(skipped).collect()
}

fn prefix(field: &[u8], message: &Message<'_>) -> Option<&'static str> {
    let own = match message {
        Message::Metric(_) => METRIC,
        Message::Event(_) => EVENT,
        Message::ServiceCheck(_) => CHECK,
    };
    own.iter().chain(ORIGIN).copied().find(|prefix| field.starts_with(prefix.as_bytes()))
}

/// Runs the parser on a line that contains only this field.
fn is_invalid(field: &[u8], message: &Message<'_>) -> bool {
    let head: &[u8] = match message {
        Message::Metric(_) => return false,
        Message::Event(_) => b"_e{1,0}:x||",
        Message::ServiceCheck(_) => b"_sc|x|0|",
    };
    match protocol::read(&[head, field].concat(), Options::default()) {
        Ok(Message::Event(event)) => event.ignored != Ignored::default(),
        Ok(Message::ServiceCheck(check)) => check.ignored != Ignored::default(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ignores(line: &str, options: Options, expect: &[(&str, &str)]) {
        let message = protocol::read(line.as_bytes(), options).unwrap();
        let got = ignored(line.as_bytes(), &message, options);
        let got: Vec<(&str, &str)> =
            got.iter().map(|(field, why)| (std::str::from_utf8(field).unwrap(), *why)).collect();
        assert_eq!(got, expect, "{line}");
    }

    #[test]
    fn every_reason_has_its_field() {
        let (plain, all) = (Options::default(), Options { timestamps: true, origin: true });
        let none = Options { timestamps: false, origin: false };
        ignores("n:1|c|@0.5|#a|T5", plain, &[]);
        ignores("n:1|c||zz|@0.5", plain, &[("zz", NO_SUCH_FIELD)]);
        ignores("n:1|c|#a|#b", plain, &[("#a", OVERRIDDEN)]);
        ignores("n:1|c|c:x|card:low", plain, &[("c:x", ORIGIN_OFF), ("card:low", ORIGIN_OFF)]);
        ignores("n:1|c|c:x|card:low", all, &[]);
        ignores("n:1|c|Tx", none, &[("Tx", TIMESTAMPS_OFF)]);
        ignores("_e{1,2}:a|bc|p:low|t:x", plain, &[("t:x", INVALID)]);
        ignores("_e{1,2}:a|b||zz", plain, &[("zz", NO_SUCH_FIELD)]);
        ignores("_e{1,1}:a|bt:error", plain, &[]);
        ignores("_sc|x|0|d:5|d:no|m:b", plain, &[("d:no", INVALID)]);
        ignores("_sc|x|0|m:a|k:1|m:b", plain, &[("m:a", OVERRIDDEN), ("k:1", NO_SUCH_FIELD)]);
    }
}
