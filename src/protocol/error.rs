//! Why a line was refused: a kind and a place, which become text only if someone asks.

use std::fmt;

use nom::Offset;

use super::escape::{Escaped, shown_width};
use super::message::MessageType;

/// A refused line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was expected and not found.
    pub kind: ErrorKind,
    /// Where, in bytes from the start of the line; at most its length.
    pub offset: usize,
}

/// Everything a line can be refused for. Its number (`as usize`) indexes [`ErrorKind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// There is no `|` at all.
    MissingType,
    /// No `:` stands before the first `|`.
    MissingValue,
    /// Nothing stands before the first `:`.
    EmptyName,
    /// Nothing but colons stands between name and `|`.
    EmptyValue,
    /// The type field is none of the six.
    UnknownType,
    /// A value is not a number.
    BadValue,
    /// A value is larger than a 64-bit float can be.
    ValueOutOfRange,
    /// The content of `@` is not a number.
    BadRate,
    /// The content of `T` is not a whole number of at least 1.
    BadTimestamp,
    /// `_e{…}:` is incomplete.
    BadEventHeader,
    /// A length in `_e{…}` is not a whole number or is negative.
    BadEventLength,
    /// The title's length is 0.
    EmptyTitle,
    /// Fewer bytes follow than the lengths say.
    ShortEvent,
    /// It begins with `_sc` but is not a service check.
    ReservedName,
    /// A service check without a status field.
    MissingStatus,
    /// A service check without a name.
    EmptyCheckName,
    /// The status is none of the four digits.
    BadStatus,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [ErrorKind; 17] = [
        ErrorKind::MissingType,
        ErrorKind::MissingValue,
        ErrorKind::EmptyName,
        ErrorKind::EmptyValue,
        ErrorKind::UnknownType,
        ErrorKind::BadValue,
        ErrorKind::ValueOutOfRange,
        ErrorKind::BadRate,
        ErrorKind::BadTimestamp,
        ErrorKind::BadEventHeader,
        ErrorKind::BadEventLength,
        ErrorKind::EmptyTitle,
        ErrorKind::ShortEvent,
        ErrorKind::ReservedName,
        ErrorKind::MissingStatus,
        ErrorKind::EmptyCheckName,
        ErrorKind::BadStatus,
    ];

    /// A stable word for counters.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::MissingType => "missing_type",
            ErrorKind::MissingValue => "missing_value",
            ErrorKind::EmptyName => "empty_name",
            ErrorKind::EmptyValue => "empty_value",
            ErrorKind::UnknownType => "unknown_type",
            ErrorKind::BadValue => "bad_value",
            ErrorKind::ValueOutOfRange => "value_out_of_range",
            ErrorKind::BadRate => "bad_rate",
            ErrorKind::BadTimestamp => "bad_timestamp",
            ErrorKind::BadEventHeader => "bad_event_header",
            ErrorKind::BadEventLength => "bad_event_length",
            ErrorKind::EmptyTitle => "empty_title",
            ErrorKind::ShortEvent => "short_event",
            ErrorKind::ReservedName => "reserved_name",
            ErrorKind::MissingStatus => "missing_status",
            ErrorKind::EmptyCheckName => "empty_check_name",
            ErrorKind::BadStatus => "bad_status",
        }
    }

    /// What would have been right, as a sentence without its full stop.
    #[must_use]
    pub fn expectation(self) -> &'static str {
        match self {
            ErrorKind::MissingType => "a metric reads name:value|type, and there is no |",
            ErrorKind::MissingValue => {
                "a : and a value must stand between the name and the first |"
            }
            ErrorKind::EmptyName => "the metric name must not be empty",
            ErrorKind::EmptyValue => "the value must not be empty",
            ErrorKind::UnknownType => "the metric type must be c, g, h, ms, s or d",
            ErrorKind::BadValue => "the value must be a number",
            ErrorKind::ValueOutOfRange => "the value must fit a 64-bit float (about 1.8e308)",
            ErrorKind::BadRate => "sample rate must be a number",
            ErrorKind::BadTimestamp => "the timestamp must be whole unix seconds, at least 1",
            ErrorKind::BadEventHeader => "an event begins with _e{title length,text length}:",
            ErrorKind::BadEventLength => "event lengths must be whole numbers, not negative",
            ErrorKind::EmptyTitle => "the event title must not be empty",
            ErrorKind::ShortEvent => {
                "the event is shorter than its lengths say (bytes as sent, \\n counts 2)"
            }
            ErrorKind::ReservedName => "names beginning with _sc are reserved for service checks",
            ErrorKind::MissingStatus => "a service check reads _sc|name|status",
            ErrorKind::EmptyCheckName => "the service check name must not be empty",
            ErrorKind::BadStatus => "the status must be 0, 1, 2 or 3",
        }
    }

    /// The kind of line that can be refused for this, for counters by message type.
    #[must_use]
    pub fn message_type(self) -> MessageType {
        match self {
            ErrorKind::MissingType
            | ErrorKind::MissingValue
            | ErrorKind::EmptyName
            | ErrorKind::EmptyValue
            | ErrorKind::UnknownType
            | ErrorKind::BadValue
            | ErrorKind::ValueOutOfRange
            | ErrorKind::BadRate
            | ErrorKind::BadTimestamp => MessageType::Metric,
            ErrorKind::BadEventHeader
            | ErrorKind::BadEventLength
            | ErrorKind::EmptyTitle
            | ErrorKind::ShortEvent => MessageType::Event,
            ErrorKind::ReservedName
            | ErrorKind::MissingStatus
            | ErrorKind::EmptyCheckName
            | ErrorKind::BadStatus => MessageType::ServiceCheck,
        }
    }
}

impl ParseError {
    /// An error at `place`, which must be a part of `line`.
    #[cold]
    pub(super) fn at(kind: ErrorKind, line: &[u8], place: &[u8]) -> Self {
        ParseError { kind, offset: line.offset(place) }
    }

    /// The expectation, the line (escaped, cut to a window) and a caret under the place. `line`
    /// must be the line that was refused; no newline ends the text.
    #[must_use]
    pub fn render(self, line: &[u8]) -> Rendered<'_> {
        Rendered { error: self, line }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} (byte {})", self.kind.expectation(), self.offset)
    }
}

impl std::error::Error for ParseError {}

/// A [`ParseError`] above its line; see [`ParseError::render`].
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    error: ParseError,
    line: &'a [u8],
}

/// How many bytes of the line are shown before the caret, and as many after it.
const BYTES_SHOWN: usize = 40;
/// How many columns they may take: escaped bytes take up to four. The text is at most about 350
/// characters, whatever the bytes.
const COLUMNS_SHOWN: usize = 80;

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.error.offset.min(self.line.len());
        let start = offset - reach(self.line[..offset].iter().rev());
        let end = offset + reach(self.line[offset..].iter());
        let (before, after) = (&self.line[start..offset], &self.line[offset..end]);
        let left = if start > 0 { "…" } else { "" };
        let right = if end < self.line.len() { "…" } else { "" };
        let column = usize::from(start > 0) + shown_width(before);
        writeln!(to, "{}", self.error.kind.expectation())?;
        writeln!(to, "    {left}{}{}{right}", Escaped(before), Escaped(after))?;
        write!(to, "    {:column$}^", "")
    }
}

/// How many of these bytes fit.
fn reach<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    let mut columns = 0;
    let fits = |byte: &&u8| {
        columns += shown_width(std::slice::from_ref(*byte));
        columns <= COLUMNS_SHOWN
    };
    bytes.take(BYTES_SHOWN).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_number_of_a_kind_is_its_index() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn every_kind_has_its_own_snake_case_reason_and_a_sentence() {
        let reasons: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.reason()).collect();
        assert_eq!(reasons.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert!(kind.reason().bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()));
            assert!(!kind.expectation().ends_with('.'));
        }
    }

    #[track_caller]
    fn renders(line: &[u8], offset: usize, expect: &str) {
        let error = ParseError { kind: ErrorKind::BadRate, offset };
        assert_eq!(error.render(line).to_string(), expect);
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        renders(
            b"page.views:1|c|@x|#env:prod",
            16,
            "sample rate must be a number\n    page.views:1|c|@x|#env:prod\n                    ^",
        );
        renders(b"a:1|c|@", 7, "sample rate must be a number\n    a:1|c|@\n           ^");
    }

    #[test]
    fn escapes_before_the_place_move_the_caret() {
        renders(
            b"\xff\n:1|c|@x",
            8,
            "sample rate must be a number\n    \\xff\\n:1|c|@x\n                ^",
        );
    }

    #[test]
    fn a_long_line_is_cut_on_both_sides() {
        let line = [vec![b'a'; 500], b"|@x".to_vec(), vec![0; 9000]].concat();
        let text = ParseError { kind: ErrorKind::BadRate, offset: 502 }.render(&line).to_string();
        let shown = text.lines().nth(1).unwrap();
        assert!(shown.starts_with("    …aaa") && shown.ends_with("\\x00…"), "{shown}");
        assert!(text.chars().count() < 350, "{}", text.len());
        let caret = text.lines().nth(2).unwrap().chars().count() - 1;
        assert_eq!(shown.chars().nth(caret), Some('x'));
    }

    #[test]
    fn bytes_that_need_escapes_on_both_sides_make_no_longer_text() {
        let text = ParseError { kind: ErrorKind::BadRate, offset: 50 }.render(&[0; 100]);
        let text = text.to_string();
        assert!(text.chars().count() < 350, "{}", text.len());
        let shown = text.lines().nth(1).unwrap();
        assert_eq!(shown, format!("    …{}…", "\\x00".repeat(40)));
        assert_eq!(text.lines().nth(2).unwrap().find('^'), Some(4 + 1 + 80));
    }

    #[test]
    fn a_place_past_the_line_is_its_end() {
        renders(b"a", 9, "sample rate must be a number\n    a\n     ^");
    }
}
