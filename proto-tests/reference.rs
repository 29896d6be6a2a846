//! The slow obvious reader: whole fields split off as the grammar is written, one rule per line,
//! nothing shared with the fast one but the nouns. Numbers are [`crate::numbers`]' business.

use whippet::protocol::{
    AlertType, ErrorKind, Event, Ignored, Message, Metric, MetricType, Options, OriginFields,
    ParseError, Priority, ServiceCheck, Status, Values,
};

use crate::numbers::{self, Reading};

type Result<T> = std::result::Result<T, ParseError>;

pub fn lines(datagram: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let parts: Vec<&[u8]> = datagram.split(|byte| *byte == b'\n').collect();
    let last = parts.len() - 1;
    let line = |(index, part): (usize, &&[u8])| {
        let mut line = part.to_vec();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        (line, index != last)
    };
    parts.iter().enumerate().map(line).filter(|(line, _)| !line.is_empty()).collect()
}

pub fn read(line: &[u8], options: Options) -> Result<Message<'_>> {
    if line.starts_with(b"_e{") {
        event(line, options).map(Message::Event)
    } else if line.starts_with(b"_sc") {
        check(line, options).map(Message::ServiceCheck)
    } else {
        metric(line, options).map(Message::Metric)
    }
}

fn refuse<T>(kind: ErrorKind, offset: usize) -> Result<T> {
    Err(ParseError { kind, offset })
}

/// The parts between separators with the offset of each.
fn split(text: &[u8], separator: u8, start: usize) -> Vec<(usize, &[u8])> {
    let mut offset = start;
    text.split(|byte| *byte == separator)
        .map(|part| {
            let at = offset;
            offset += part.len() + 1;
            (at, part)
        })
        .collect()
}

fn metric(line: &[u8], options: Options) -> Result<Metric<'_>> {
    let parts = split(line, b'|', 0);
    let [(_, head), (type_at, kind), fields @ ..] = &parts[..] else {
        return refuse(ErrorKind::MissingType, line.len());
    };
    let Some(colon) = head.iter().position(|byte| *byte == b':') else {
        return refuse(ErrorKind::MissingValue, head.len());
    };
    let (name, text) = (&head[..colon], &head[colon + 1..]);
    if name.is_empty() {
        return refuse(ErrorKind::EmptyName, 0);
    }
    if text.is_empty() {
        return refuse(ErrorKind::EmptyValue, head.len());
    }
    let kind = match *kind {
        b"c" => MetricType::Counter,
        b"g" => MetricType::Gauge,
        b"h" => MetricType::Histogram,
        b"ms" => MetricType::Timing,
        b"s" => MetricType::Set,
        b"d" => MetricType::Distribution,
        _ => return refuse(ErrorKind::UnknownType, *type_at),
    };
    let values =
        if kind == MetricType::Set { Values::Member(text) } else { values(text, colon + 1)? };
    let mut metric = Metric {
        name,
        kind,
        values,
        rate: 1.0,
        tags: b"",
        timestamp: None,
        origin: OriginFields::default(),
    };
    for (at, field) in fields {
        if let Some(tags) = field.strip_prefix(b"#") {
            metric.tags = tags;
        } else if let Some(rate) = field.strip_prefix(b"@") {
            metric.rate = match numbers::slow(rate) {
                Reading::Number(rate) => rate,
                _ => return refuse(ErrorKind::BadRate, at + 1),
            };
        } else if let Some(seconds) = field.strip_prefix(b"T")
            && options.timestamps
        {
            metric.timestamp = match whole(seconds) {
                Some(seconds) if seconds >= 1 => Some(seconds),
                _ => return refuse(ErrorKind::BadTimestamp, at + 1),
            };
        } else {
            origin(field, options, &mut metric.origin);
        }
    }
    Ok(metric)
}

fn values(text: &[u8], start: usize) -> Result<Values<'_>> {
    let mut numbers = Vec::new();
    for (at, item) in split(text, b':', start) {
        if item.is_empty() {
            continue;
        }
        match numbers::slow(item) {
            Reading::Number(number) => numbers.push(number),
            Reading::TooLarge => return refuse(ErrorKind::ValueOutOfRange, at),
            Reading::NoNumber => return refuse(ErrorKind::BadValue, at),
        }
    }
    match numbers[..] {
        // Nothing but colons.
        [] => refuse(ErrorKind::EmptyValue, start),
        [number] if !text.contains(&b':') => Ok(Values::One(number)),
        _ => Ok(Values::Packed(text)),
    }
}

fn origin<'a>(field: &'a [u8], options: Options, origin: &mut OriginFields<'a>) {
    if !options.origin {
        return;
    }
    if let Some(data) = field.strip_prefix(b"c:") {
        origin.local_data = Some(data);
    } else if let Some(data) = field.strip_prefix(b"e:") {
        origin.external_data = Some(data);
    } else if let Some(word) = field.strip_prefix(b"card:") {
        origin.cardinality = Some(word);
    }
}

/// Optional sign and digits, as a 64-bit integer.
fn whole(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let mut magnitude: i128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = (magnitude * 10 + i128::from(digit - b'0')).min(1 << 100);
    }
    i64::try_from(if text[0] == b'-' { -magnitude } else { magnitude }).ok()
}

fn event(line: &[u8], options: Options) -> Result<Event<'_>> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return refuse(ErrorKind::BadEventHeader, line.len());
    };
    if colon < 7 {
        return refuse(ErrorKind::BadEventHeader, 0);
    }
    let lengths = &line[3..colon - 1];
    let Some(comma) = lengths.iter().position(|byte| *byte == b',') else {
        return refuse(ErrorKind::BadEventHeader, colon - 1);
    };
    let title_length = match whole(&lengths[..comma]) {
        Some(0) => return refuse(ErrorKind::EmptyTitle, 3),
        Some(length) if length > 0 => i128::from(length),
        _ => return refuse(ErrorKind::BadEventLength, 3),
    };
    let text_length = match whole(&lengths[comma + 1..]) {
        Some(length) if length >= 0 => i128::from(length),
        _ => return refuse(ErrorKind::BadEventLength, 3 + comma + 1),
    };
    let body = &line[colon + 1..];
    if title_length + 1 + text_length > i128::try_from(body.len()).unwrap() {
        return refuse(ErrorKind::ShortEvent, colon + 1);
    }
    let (title_end, end) = (
        usize::try_from(title_length).unwrap(),
        usize::try_from(title_length + 1 + text_length).unwrap(),
    );
    let mut event = Event {
        title: &body[..title_end],
        text: &body[title_end + 1..end],
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
    for (_, field) in split(&body[end..], b'|', 0) {
        if let Some(seconds) = field.strip_prefix(b"d:") {
            timestamp(seconds, &mut event.timestamp, &mut event.ignored);
        } else if let Some(host) = field.strip_prefix(b"h:") {
            event.host = if host.is_empty() { None } else { Some(host) };
        } else if let Some(key) = field.strip_prefix(b"k:") {
            event.aggregation_key = key;
        } else if field == b"p:normal" {
            event.priority = Priority::Normal;
        } else if field == b"p:low" {
            event.priority = Priority::Low;
        } else if field.starts_with(b"p:") {
            event.ignored.priority = true;
        } else if let Some(source_type) = field.strip_prefix(b"s:") {
            event.source_type = source_type;
        } else if let Some(word) = field.strip_prefix(b"t:") {
            let all = [AlertType::Info, AlertType::Warning, AlertType::Error, AlertType::Success];
            match all.into_iter().find(|alert| alert.word().as_bytes() == word) {
                Some(alert) => event.alert_type = alert,
                None => event.ignored.alert_type = true,
            }
        } else if let Some(tags) = field.strip_prefix(b"#") {
            event.tags = tags;
        } else {
            origin(field, options, &mut event.origin);
        }
    }
    Ok(event)
}

fn timestamp(text: &[u8], timestamp: &mut Option<i64>, ignored: &mut Ignored) {
    match whole(text) {
        Some(0) => *timestamp = None,
        Some(seconds) => *timestamp = Some(seconds),
        None => ignored.timestamp = true,
    }
}

fn check(line: &[u8], options: Options) -> Result<ServiceCheck<'_>> {
    let reserved = line.len() < 4 || line[3] != b'|';
    let refuse_check = |kind, offset| {
        if reserved { refuse(ErrorKind::ReservedName, 0) } else { refuse(kind, offset) }
    };
    if line.iter().filter(|byte| **byte == b'|').count() < 2 {
        return refuse_check(ErrorKind::MissingStatus, line.len());
    }
    let parts = split(&line[4..], b'|', 4);
    let [(_, name), (status_at, status), fields @ ..] = &parts[..] else {
        return refuse_check(ErrorKind::MissingStatus, line.len());
    };
    if name.is_empty() {
        return refuse_check(ErrorKind::EmptyCheckName, 4);
    }
    let status = match *status {
        b"0" => Status::Ok,
        b"1" => Status::Warning,
        b"2" => Status::Critical,
        b"3" => Status::Unknown,
        _ => return refuse_check(ErrorKind::BadStatus, *status_at),
    };
    let mut check = ServiceCheck {
        name,
        status,
        timestamp: None,
        host: None,
        message: b"",
        tags: b"",
        origin: OriginFields::default(),
        ignored: Ignored::default(),
    };
    for (_, field) in fields {
        if let Some(seconds) = field.strip_prefix(b"d:") {
            timestamp(seconds, &mut check.timestamp, &mut check.ignored);
        } else if let Some(host) = field.strip_prefix(b"h:") {
            check.host = if host.is_empty() { None } else { Some(host) };
        } else if let Some(message) = field.strip_prefix(b"m:") {
            check.message = message;
        } else if let Some(tags) = field.strip_prefix(b"#") {
            check.tags = tags;
        } else {
            origin(field, options, &mut check.origin);
        }
    }
    Ok(check)
}
