//! `_e{title length,text length}:title|text|field|field…`

use nom::Parser;
use nom::bytes::complete::take;

use super::error::{ErrorKind, ParseError};
use super::message::{AlertType, Event, Ignored, Options, OriginFields, Priority};
use super::number::integer;
use super::origin;
use super::scan::{At, fields, split_before};

/// Reads an event; the caller has seen `_e{`.
pub(super) fn read(line: &[u8], options: Options) -> Result<Event<'_>, ParseError> {
    let (header, from_colon) = split_before(b':', line);
    let [b':', body @ ..] = from_colon else {
        return Err(ParseError::at(ErrorKind::BadEventHeader, line, from_colon));
    };
    let (title_bytes, text_bytes) = lengths(line, header)?;
    // _e{5,4}:title|text|t:error
    //              ^ one byte, whatever it is
    let mut content = (take(title_bytes), take(1_usize), take(text_bytes));
    let (tail, (title, _, text)) = content
        .parse(body)
        .map_err(|_: nom::Err<At<'_>>| ParseError::at(ErrorKind::ShortEvent, line, body))?;
    let mut event = Event {
        title,
        text,
        timestamp: None,
        host: None,
        aggregation_key: b"",
        priority: Priority::Normal,
        source_type: b"",
        alert_type: AlertType::Info,
        tags: b"",
        origin: OriginFields::default(),
        ignored: Ignored::default(),
    };
    // What stands between the text and the first `|` is a field like any other.
    for field in fields(tail) {
        read_field(field, options, &mut event);
    }
    Ok(event)
}

/// The two lengths, in bytes of the wire. The last byte of the header is taken for its `}` without
/// a look, as the Agent does.
fn lengths(line: &[u8], header: &[u8]) -> Result<(usize, usize), ParseError> {
    let refuse = |kind, place| Err(ParseError::at(kind, line, place));
    // The shortest header is `_e{1,0}`.
    if header.len() < 7 {
        return refuse(ErrorKind::BadEventHeader, header);
    }
    let (title, from_comma) = split_before(b',', &header[3..header.len() - 1]);
    let [b',', text @ ..] = from_comma else {
        return refuse(ErrorKind::BadEventHeader, from_comma);
    };
    let title_bytes = match length(title) {
        Some(0) => return refuse(ErrorKind::EmptyTitle, title),
        Some(bytes) => bytes,
        None => return refuse(ErrorKind::BadEventLength, title),
    };
    match length(text) {
        Some(bytes) => Ok((title_bytes, bytes)),
        None => refuse(ErrorKind::BadEventLength, text),
    }
}

/// A whole number that is not negative; one too large for memory cannot be met by any line.
fn length(text: &[u8]) -> Option<usize> {
    let length = u64::try_from(integer(text)?).ok()?;
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Reads one optional field. One that is not understood leaves what was there and is noted.
fn read_field<'a>(field: &'a [u8], options: Options, event: &mut Event<'a>) {
    match field {
        [b'd', b':', seconds @ ..] => match integer(seconds) {
            Some(seconds) => event.timestamp = Some(seconds).filter(|seconds| *seconds != 0),
            None => event.ignored.timestamp = true,
        },
        [b'h', b':', host @ ..] => event.host = Some(host).filter(|host| !host.is_empty()),
        [b'k', b':', key @ ..] => event.aggregation_key = key,
        [b'p', b':', word @ ..] => match word {
            b"normal" => event.priority = Priority::Normal,
            b"low" => event.priority = Priority::Low,
            _ => event.ignored.priority = true,
        },
        [b's', b':', source_type @ ..] => event.source_type = source_type,
        [b't', b':', word @ ..] => match word {
            b"info" => event.alert_type = AlertType::Info,
            b"warning" => event.alert_type = AlertType::Warning,
            b"error" => event.alert_type = AlertType::Error,
            b"success" => event.alert_type = AlertType::Success,
            _ => event.ignored.alert_type = true,
        },
        [b'#', tags @ ..] => event.tags = tags,
        _ if options.origin => origin::read_field(field, &mut event.origin),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(line: &str, kind: ErrorKind, offset: usize) {
        let refused = read(line.as_bytes(), Options::default());
        assert_eq!(refused, Err(ParseError { kind, offset }), "{line}");
    }

    fn reads(line: &str) -> Event<'_> {
        read(line.as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn the_place_of_a_refusal_is_where_the_fault_begins() {
        refuses("_e{5,4}", ErrorKind::BadEventHeader, 7);
        refuses("_e{}:x", ErrorKind::BadEventHeader, 0);
        refuses("_e{5;4}:title|text", ErrorKind::BadEventHeader, 6);
        refuses("_e{a,4}:title|text", ErrorKind::BadEventLength, 3);
        refuses("_e{5,-4}:title|text", ErrorKind::BadEventLength, 5);
        refuses("_e{0,4}:|text", ErrorKind::EmptyTitle, 3);
        refuses("_e{5,9}:title|text", ErrorKind::ShortEvent, 8);
    }

    #[test]
    fn sums_that_overflow_are_short_events() {
        refuses("_e{9223372036854775807,9223372036854775807}:a|b", ErrorKind::ShortEvent, 44);
        refuses("_e{9223372036854775808,1}:a|b", ErrorKind::BadEventLength, 3);
    }

    #[test]
    fn a_later_field_replaces_an_earlier_one_unless_it_is_not_understood() {
        let event =
            reads("_e{1,0}:a||d:5|h:x|k:1|p:low|s:1|t:error|#a|d:no|h:y|k:2|p:x|s:2|t:x|#b");
        assert_eq!((event.timestamp, event.host), (Some(5), Some(&b"y"[..])));
        assert_eq!((event.priority, event.alert_type), (Priority::Low, AlertType::Error));
        assert_eq!((event.aggregation_key, event.source_type), (&b"2"[..], &b"2"[..]));
        assert_eq!(event.tags, b"b");
        let all = Ignored { timestamp: true, priority: true, alert_type: true };
        assert_eq!(event.ignored, all);
    }

    #[test]
    fn second_zero_and_an_empty_host_say_nothing() {
        let event = reads("_e{1,0}:a||d:5|d:0|h:x|h:");
        assert_eq!((event.timestamp, event.host), (None, None));
    }

    #[test]
    fn what_follows_the_text_directly_is_a_field() {
        assert_eq!(reads("_e{1,1}:a|bt:error").alert_type, AlertType::Error);
    }
}
