//! A datagram falls into lines.

use memchr::memchr;

/// One line of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without its newline and without the one carriage return before it; never empty.
    pub bytes: &'a [u8],
    /// Where it begins, in bytes from the start of the datagram.
    pub offset: usize,
    /// A newline ended it. Only the last line can lack one: it may have been cut, and
    /// `dogstatsd_eol_required` may forbid it.
    pub terminated: bool,
}

/// The lines of one datagram; see [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    datagram: &'a [u8],
    offset: usize,
}

/// Splits a datagram at its newlines. One carriage return before a newline (or at the very end) is
/// dropped, and empty lines are skipped in silence.
#[must_use]
pub fn lines(datagram: &[u8]) -> Lines<'_> {
    Lines { datagram, offset: 0 }
}

impl<'a> Lines<'a> {
    /// What was not split yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.datagram.get(self.offset..).unwrap_or_default()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let offset = self.offset;
            let rest = self.datagram.get(offset..).filter(|rest| !rest.is_empty())?;
            let (bytes, terminated) = match memchr(b'\n', rest) {
                Some(end) => (&rest[..end], true),
                None => (rest, false),
            };
            self.offset = offset + bytes.len() + usize::from(terminated);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if !bytes.is_empty() {
                return Some(Line { bytes, offset, terminated });
            }
        }
    }
}

impl std::iter::FusedIterator for Lines<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as `offset:text`, an unterminated one with a `!`.
    #[track_caller]
    fn splits(datagram: &str, expect: &[&str]) {
        let got: Vec<String> = lines(datagram.as_bytes())
            .map(|line| {
                let text = std::str::from_utf8(line.bytes).unwrap();
                format!("{}:{text}{}", line.offset, if line.terminated { "" } else { "!" })
            })
            .collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn only_newlines_separate() {
        splits("a\nb\n", &["0:a", "2:b"]);
        splits("a\tb\0c\n", &["0:a\tb\0c"]);
    }

    #[test]
    fn the_last_line_may_be_bare_and_says_so() {
        splits("a\nb", &["0:a", "2:b!"]);
        splits("a", &["0:a!"]);
    }

    #[test]
    fn empty_lines_are_skipped_without_losing_the_place() {
        splits("", &[]);
        splits("\n", &[]);
        splits("\n\n\na\n\n", &["3:a"]);
        splits("\r\na\r\n\r", &["2:a"]);
    }

    #[test]
    fn one_trailing_carriage_return_is_dropped_and_no_other() {
        splits("a\r\n", &["0:a"]);
        splits("a\r\r\n", &["0:a\r"]);
        splits("a\rb\n", &["0:a\rb"]);
        splits("a\r", &["0:a!"]);
    }
}
