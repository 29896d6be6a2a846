//! How numbers, times and bytes from the wire are shown to people.

use std::fmt::Write as _;

/// Characters that change what a terminal shows of others, or are not seen at all: controls (C0, DEL,
/// C1), line and paragraph separators, bidirectional controls (with them a text reads as
/// another one),
/// characters without width, and tags (U+E0000 to U+E007F).
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Zero-width joiner and non-joiner: part of many scripts and emoji, of no use beside ASCII.
fn joins(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// Text with every misleading character replaced by what `escape` writes for it.
fn escaped(text: &str, keep: &[char], escape: impl Fn(&mut String, char)) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let foreign = |beside: Option<char>| beside.is_some_and(|beside| !beside.is_ascii());
        let joined = foreign(before) && foreign(rest.peek().copied());
        if !keep.contains(&character) && (misleads(character) || (joins(character) && !joined)) {
            escape(&mut shown, character);
        } else {
            shown.push(character);
        }
        before = Some(character);
    }
    shown
}

fn as_rust(shown: &mut String, character: char) {
    let _ = write!(shown, "{}", character.escape_default());
}

/// Text of several lines as a terminal may show it: only newlines and tabs stay as they are.
#[must_use]
pub(crate) fn printable_lines(text: &str) -> String {
    escaped(text, &['\n', '\t'], as_rust)
}

/// JSON as a terminal may show it: misleading characters, which only strings hold, are escaped as
/// JSON does, so that it reads back the same.
#[cfg(feature = "server")]
#[must_use]
pub(crate) fn printable_json(json: &str) -> String {
    escaped(json, &['\n', '\t', '\r'], |shown, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

/// Bytes as a terminal may show them: broken UTF-8 replaced, misleading characters escaped, at most
/// `width` characters.
#[must_use]
pub(crate) fn printable(bytes: &[u8], width: usize) -> String {
    let mut shown = escaped(&String::from_utf8_lossy(bytes), &[], as_rust);
    if shown.chars().count() > width {
        shown = shown.chars().take(width.saturating_sub(1)).collect();
        shown.push('…');
    }
    shown
}

/// `1234567` as `1,234,567`.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `12:00:10` in the local time zone.
#[must_use]
pub(crate) fn clock_time(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    chrono::DateTime::from_timestamp(seconds, 0).map_or_else(
        || unix_seconds.to_string(),
        |time| time.with_timezone(&chrono::Local).format("%H:%M:%S").to_string(),
    )
}

/// `4 MiB`, `208 KiB`, `17 bytes`.
#[cfg(feature = "server")]
#[must_use]
pub(crate) fn bytes(count: usize) -> String {
    const MIB: usize = 1 << 20;
    const KIB: usize = 1 << 10;
    match count {
        count if count >= MIB && count.is_multiple_of(MIB) => format!("{} MiB", count / MIB),
        count if count >= MIB => format!("{:.1} MiB", count as f64 / MIB as f64),
        count if count >= KIB => format!("{} KiB", count / KIB),
        count => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_raw_reaches_the_terminal() {
        assert_eq!(printable(b"a\x1b[31m\xff", 40), "a\\u{1b}[31m\u{fffd}");
        assert_eq!(printable("♬".as_bytes(), 40), "♬");
        assert_eq!(printable(b"abcdef", 4), "abc…");
    }

    #[test]
    fn no_character_changes_what_others_look_like() {
        let bidi = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        let others = [
            '\u{200e}', '\u{200f}', '\u{61c}', '\u{85}', '\u{9b}', '\u{7f}', '\u{2028}', '\u{2029}',
        ];
        let unseen =
            ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{e0041}'];
        for character in bidi.chain(others).chain(unseen) {
            let text = format!("a{character}b");
            let escape = character.escape_default().to_string();
            assert_eq!(printable(text.as_bytes(), 40), format!("a{escape}b"));
            assert_eq!(printable_lines(&format!("{text}\n\tc")), format!("a{escape}b\n\tc"));
        }
        // A family is one emoji, and a word of Persian one word.
        for text in ["👩\u{200d}👩", "می\u{200c}خواهم", "é", "한"] {
            assert_eq!(printable(text.as_bytes(), 40), text);
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn escaped_json_reads_back_the_same() {
        let value = serde_json::json!({"line": "a\u{202e}b\u{e0041}\u{9b}31m\n"});
        let shown = printable_json(&format!("{value:#}\n"));
        assert!(shown.contains(r"a\u202eb\udb40\udc41\u009b31m\n"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expect);
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn sizes_read_well() {
        for (count, expect) in
            [(4 << 20, "4 MiB"), (212_992, "208 KiB"), (17, "17 bytes"), (3 << 19, "1.5 MiB")]
        {
            assert_eq!(bytes(count), expect);
        }
    }
}
