//! What an event shows of an error: the messages of its chain and a backtrace, each cut to a bound.

use std::backtrace::Backtrace;
use std::error::Error;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::types::sources;

/// Bytes of the messages of one chain.
const MESSAGES_MAX: usize = 2048;
/// Bytes of one backtrace.
const BACKTRACE_MAX: usize = 4096;

/// The message of an error and, on lines of their own, those of its sources.
pub(super) fn messages(error: &(dyn Error + 'static)) -> String {
    let mut text = Bounded::new(MESSAGES_MAX);
    // What fails here is a message that is too long, or an implementation that gives up; what was
    // written stays.
    let write = || -> fmt::Result {
        write!(text, "{error}")?;
        sources(error).try_for_each(|source| write!(text, "\ncaused by: {source}"))
    };
    let _ = catch_unwind(AssertUnwindSafe(write));
    text.text
}

/// The calls that led here, this module's own left out.
pub(super) fn backtrace() -> String {
    let all = Backtrace::force_capture().to_string();
    let mut text = Bounded::new(BACKTRACE_MAX);
    let ours = |line: &str| {
        line.contains("whippet::errors::") && !line.contains("::tests::")
            || line.contains("std::backtrace")
            || line.contains("backtrace_rs")
    };
    let mut skipped = true;
    for line in all.lines() {
        // A frame is a line with its number, and one with its place that begins with `at`.
        if !line.trim_start().starts_with("at ") {
            skipped = skipped && ours(line);
        }
        if !skipped && writeln!(text, "{line}").is_err() {
            break;
        }
    }
    text.text
}

/// Keeps whole characters up to a number of bytes and then refuses.
struct Bounded {
    text: String,
    max: usize,
}

impl Bounded {
    fn new(max: usize) -> Self {
        Bounded { text: String::new(), max }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(&text[..end]);
        self.max = self.text.len();
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_a_character() {
        let error = std::io::Error::other("ä".repeat(MESSAGES_MAX));
        let text = messages(&error);
        assert!(text.len() <= MESSAGES_MAX && text.len() > MESSAGES_MAX - 2);
        assert!(text.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn a_backtrace_begins_with_the_caller() {
        let text = backtrace();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains("a_backtrace_begins_with_the_caller"), "{text}");
        assert!(text.len() <= BACKTRACE_MAX);
    }
}
