//! Bytes as text for people, and the one escape the wire itself knows.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;

/// Bytes shown as printable ASCII, whatever they hold: newline, carriage return, tab and backslash
/// as `\n` `\r` `\t` `\\`, everything else outside ASCII's printable range as `\xNN`. Safe for logs
/// and terminals, and nothing is lost.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for byte in self.0 {
            match byte {
                b'\n' => to.write_str("\\n")?,
                b'\r' => to.write_str("\\r")?,
                b'\t' => to.write_str("\\t")?,
                b'\\' => to.write_str("\\\\")?,
                b' '..=b'~' => to.write_char(char::from(*byte))?,
                _ => write!(to, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// How many columns [`Escaped`] needs.
pub(super) fn shown_width(bytes: &[u8]) -> usize {
    let columns = |byte: &u8| match byte {
        b'\n' | b'\r' | b'\t' | b'\\' => 2,
        b' '..=b'~' => 1,
        _ => 4,
    };
    bytes.iter().map(columns).sum()
}

/// The title or text of an event with its newlines: the two bytes `\n` become one. No other escape
/// exists. Borrows when there is nothing to do.
#[must_use]
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let finder = memmem::Finder::new(b"\\n");
    let mut done = 0;
    let mut unescaped = Vec::new();
    for at in finder.find_iter(text) {
        unescaped.reserve(text.len() - done);
        unescaped.extend_from_slice(&text[done..at]);
        unescaped.push(b'\n');
        done = at + 2;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    unescaped.extend_from_slice(&text[done..]);
    Cow::Owned(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backslash_n_is_an_escape_of_the_wire() {
        let rows: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b"plain \\t \\", b"plain \\t \\"),
            (b"a\\nb", b"a\nb"),
            (b"\\n\\n", b"\n\n"),
            (b"test\\line1\\nline2", b"test\\line1\nline2"),
            // The second backslash belongs to the escape: there is no escaped backslash.
            (b"a\\\\nb", b"a\\\nb"),
            (b"end\\n", b"end\n"),
        ];
        for (wire, text) in rows {
            assert_eq!(unescape(wire), text, "{}", Escaped(wire));
        }
        assert!(matches!(unescape(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_width_is_that_of_the_text() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(shown_width(&all), Escaped(&all).to_string().len());
        assert_eq!(Escaped(b"a\x00\n\\\xc3").to_string(), "a\\x00\\n\\\\\\xc3");
    }
}
