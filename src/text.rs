//! How numbers, times and bytes from the wire are shown to people.

use std::fmt::Write as _;

/// Bytes as a terminal may show them: broken UTF-8 replaced, control characters escaped, at most
/// `width` characters.
#[must_use]
pub(crate) fn printable(bytes: &[u8], width: usize) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
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
