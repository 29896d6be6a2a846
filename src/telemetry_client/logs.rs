//! Log lines of the library itself: each distinct one once per flush, with how often it came.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::payload::{LogLevel, LogLine, Payload};
use super::redact;

/// Distinct lines kept between two flushes.
const LINES_MAX: usize = 256;
/// What stands for the others.
const TOO_MANY: &str = "telemetry: log count exceeded maximum, dropping log";

/// A log line to report. Its message is part of the program's text, so that no value can be in it.
///
/// ```
/// use whippet::telemetry_client::LogRecord;
///
/// let record = LogRecord::error("the spool cannot be written").tag("disk", "Full");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LogRecord {
    pub(super) level: LogLevel,
    pub(super) message: Cow<'static, str>,
    tags: Vec<(&'static str, String)>,
    stack: String,
}

impl LogRecord {
    /// Something failed.
    pub fn error(message: &'static str) -> Self {
        LogRecord::new(LogLevel::Error, Cow::Borrowed(message))
    }

    /// Something may fail.
    pub fn warn(message: &'static str) -> Self {
        LogRecord::new(LogLevel::Warn, Cow::Borrowed(message))
    }

    /// For developers.
    pub fn debug(message: &'static str) -> Self {
        LogRecord::new(LogLevel::Debug, Cow::Borrowed(message))
    }

    pub(super) fn new(level: LogLevel, message: Cow<'static, str>) -> Self {
        LogRecord { level, message, tags: Vec::new(), stack: String::new() }
    }

    /// Adds a tag. Its value becomes lower-case; commas, which separate tags, become underscores.
    pub fn tag(mut self, key: &'static str, value: &str) -> Self {
        self.tags.push((key, value.to_lowercase().replace(',', "_")));
        self
    }

    /// Adds the innermost 20 frames. Those that name any other crate than the `own` ones and the
    /// standard library's become `<REDACTED>`, and no path of this machine stays.
    pub fn backtrace(mut self, backtrace: &Backtrace, own: &[&str]) -> Self {
        self.stack = redact::stack(&backtrace.to_string(), own);
        self
    }

    fn tags(&self) -> String {
        let tags: Vec<String> =
            self.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        tags.join(",")
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Logs {
    lines: BTreeMap<(LogLevel, String, String), LogLine>,
    /// Lines without room, and when the first of them came.
    exceeded: u64,
    exceeded_at: u64,
}

impl Logs {
    /// Takes a line over that came at `second`; false if there was no room for it.
    pub fn add(&mut self, record: &LogRecord, second: u64) -> bool {
        let message = redact::without_skipped(&record.message);
        let key = (record.level, message.to_owned(), record.tags());
        if let Some(line) = self.lines.get_mut(&key) {
            line.count += 1;
            return true;
        }
        if self.lines.len() == LINES_MAX {
            if self.exceeded == 0 {
                self.exceeded_at = second;
            }
            self.exceeded += 1;
            return false;
        }
        let line = LogLine {
            message: key.1.clone(),
            level: record.level,
            count: 1,
            tags: key.2.clone(),
            stack_trace: record.stack.clone(),
            tracer_time: second,
        };
        self.lines.insert(key, line);
        true
    }

    pub fn payload(&mut self) -> Option<Payload> {
        let mut logs: Vec<LogLine> = std::mem::take(&mut self.lines).into_values().collect();
        let exceeded = std::mem::take(&mut self.exceeded);
        if exceeded > 0 {
            logs.push(LogLine {
                message: TOO_MANY.to_owned(),
                level: LogLevel::Warn,
                count: exceeded,
                tags: String::new(),
                stack_trace: String::new(),
                tracer_time: self.exceeded_at,
            });
        }
        (!logs.is_empty()).then_some(Payload::Logs { logs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(logs: &mut Logs) -> Vec<String> {
        match logs.payload() {
            None => Vec::new(),
            Some(Payload::Logs { logs }) => logs
                .iter()
                .map(|line| {
                    let LogLine { message, level, count, tags, tracer_time, .. } = line;
                    format!("{level:?} {message} x{count} @{tracer_time} {tags}")
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_lines_are_one_with_the_time_of_the_first() {
        let mut logs = Logs::default();
        for (second, record) in [
            LogRecord::error("boom"),
            LogRecord::error("boom"),
            LogRecord::warn("boom"),
            LogRecord::error("boom").tag("disk", "Full, or not"),
            LogRecord::error("boom [12 skipped]"),
            LogRecord::debug("fine"),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(logs.add(&record, 100 + second as u64));
        }
        assert_eq!(
            told(&mut logs),
            [
                "Error boom x3 @100 ",
                "Error boom x1 @103 disk:full_ or not",
                "Warn boom x1 @102 ",
                "Debug fine x1 @105 ",
            ]
        );
        assert!(told(&mut logs).is_empty());
    }

    #[test]
    fn of_more_than_256_distinct_lines_one_says_how_many_there_were() {
        let mut logs = Logs::default();
        for number in 0..300 {
            let record = LogRecord::error("boom").tag("number", &number.to_string());
            assert_eq!(logs.add(&record, 7 + number), number < 256);
        }
        assert!(logs.add(&LogRecord::error("boom").tag("number", "0"), 1_000));
        let lines = told(&mut logs);
        assert_eq!(lines.len(), 257);
        let exceeded = format!("Warn {TOO_MANY} x44 @263 ");
        assert_eq!(lines.last(), Some(&exceeded));
        assert!(logs.add(&LogRecord::error("boom"), 1));
        assert_eq!(told(&mut logs), ["Error boom x1 @1 "]);
    }

    #[test]
    fn a_backtrace_of_this_test_names_this_crate_and_no_path_of_the_machine() {
        let record = LogRecord::error("boom").backtrace(&Backtrace::force_capture(), &["whippet"]);
        assert!(record.stack.contains("a_backtrace_of_this_test"), "{}", record.stack);
        assert!(!record.stack.contains(env!("CARGO_MANIFEST_DIR")), "{}", record.stack);
        assert!(record.stack.matches('\n').count() <= 40, "{}", record.stack);
    }
}
