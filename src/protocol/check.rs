//! `_sc|name|status|field|field…`

use nom::Parser;
use nom::bytes::complete::take;
use nom::sequence::{preceded, separated_pair};

use super::error::{ErrorKind, ParseError};
use super::message::{Ignored, Options, OriginFields, ServiceCheck, Status};
use super::number::integer;
use super::origin;
use super::scan::{byte, fields, until};

/// Reads a service check; the caller has seen `_sc`.
pub(super) fn read(line: &[u8], options: Options) -> Result<ServiceCheck<'_>, ParseError> {
    // _sc|agent.up|0|#env:prod
    //    ^ skipped without a look: `_sc` alone decides that this is a check
    let refuse = |kind, place| {
        let reserved = line.get(3) != Some(&b'|');
        let kind = if reserved { ErrorKind::ReservedName } else { kind };
        Err(ParseError::at(kind, line, if reserved { line } else { place }))
    };
    let head = separated_pair(until(b'|'), byte(b'|'), until(b'|'));
    let Ok((tail, (name, status))) = preceded(take(4_usize), head).parse(line) else {
        return refuse(ErrorKind::MissingStatus, &line[line.len()..]);
    };
    // Two pipes are compulsory, wherever they stand.
    if memchr::memchr_iter(b'|', line).take(2).count() < 2 {
        return refuse(ErrorKind::MissingStatus, &line[line.len()..]);
    }
    if name.is_empty() {
        return refuse(ErrorKind::EmptyCheckName, name);
    }
    let status = match status {
        b"0" => Status::Ok,
        b"1" => Status::Warning,
        b"2" => Status::Critical,
        b"3" => Status::Unknown,
        _ => return refuse(ErrorKind::BadStatus, status),
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
    for field in fields(tail) {
        read_field(field, options, &mut check);
    }
    Ok(check)
}

/// Reads one optional field. One that is not understood leaves what was there and is noted.
fn read_field<'a>(field: &'a [u8], options: Options, check: &mut ServiceCheck<'a>) {
    match field {
        [b'd', b':', seconds @ ..] => match integer(seconds) {
            Some(seconds) => check.timestamp = Some(seconds).filter(|seconds| *seconds != 0),
            None => check.ignored.timestamp = true,
        },
        [b'h', b':', host @ ..] => check.host = Some(host).filter(|host| !host.is_empty()),
        [b'm', b':', message @ ..] => check.message = message,
        [b'#', tags @ ..] => check.tags = tags,
        _ if options.origin => origin::read_field(field, &mut check.origin),
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

    fn reads(line: &str) -> ServiceCheck<'_> {
        read(line.as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn the_place_of_a_refusal_is_where_the_fault_begins() {
        refuses("_sc|agent.up", ErrorKind::MissingStatus, 12);
        refuses("_sc|", ErrorKind::MissingStatus, 4);
        refuses("_sc||0", ErrorKind::EmptyCheckName, 4);
        refuses("_sc|a|4", ErrorKind::BadStatus, 6);
        refuses("_sc|a|", ErrorKind::BadStatus, 6);
    }

    #[test]
    fn names_beginning_with_sc_are_reserved_and_the_refusal_says_so() {
        refuses("_sc", ErrorKind::ReservedName, 0);
        refuses("_scheduler:1|c", ErrorKind::ReservedName, 0);
        refuses("_scheduler:1|c|#a", ErrorKind::ReservedName, 0);
        // One pipe behind the four skipped bytes is not two.
        refuses("_sc:n|0", ErrorKind::ReservedName, 0);
        refuses("_scx|0|m:a", ErrorKind::ReservedName, 0);
    }

    #[test]
    fn the_fourth_byte_is_not_looked_at() {
        let check = reads("_sc:up|0|m:x");
        assert_eq!((check.name, check.status, check.message), (&b"up"[..], Status::Ok, &b"x"[..]));
    }

    #[test]
    fn the_last_field_of_a_kind_counts() {
        let check = reads("_sc|a|2|d:5|h:x|m:1|#a|d:no|h:y|m:2|#b");
        assert_eq!((check.timestamp, check.host), (Some(5), Some(&b"y"[..])));
        assert_eq!((check.message, check.tags), (&b"2"[..], &b"b"[..]));
        assert!(check.ignored.timestamp);
    }

    #[test]
    fn second_zero_and_an_empty_host_say_nothing() {
        let check = reads("_sc|a|2|d:5|d:0|h:x|h:");
        assert_eq!((check.timestamp, check.host), (None, None));
    }
}
