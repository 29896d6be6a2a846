//! What is left of a program: how it ended, what it printed, and its accounting.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// What is left of a program.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// From the call that waited for the end.
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
    /// Its files stay until they were looked at.
    pub(super) _folder: Arc<TempDir>,
}

/// `received = recorded + refused + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineCounts {
    pub received: u64,
    pub recorded: u64,
    pub refused: u64,
    pub dropped: u64,
}

/// `built = delivered + waiting + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadCounts {
    pub built: u64,
    pub delivered: u64,
    pub waiting: u64,
    pub dropped: u64,
}

impl Ended {
    /// The exit code; none when a signal killed it.
    pub fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "killed:\n{}", self.stderr);
        self.status.code()
    }

    /// The equation of lines, as printed at the end.
    #[track_caller]
    pub fn lines(&self) -> LineCounts {
        let [received, recorded, refused, dropped] = self.equation("lines ", "lines ");
        LineCounts { received, recorded, refused, dropped }
    }

    /// The equation of payloads, as printed at the end.
    #[track_caller]
    pub fn payloads(&self) -> PayloadCounts {
        let [built, delivered, waiting, dropped] = self.equation("payloads ", "payloads ");
        PayloadCounts { built, delivered, waiting, dropped }
    }

    /// The equation of the points in those payloads.
    #[track_caller]
    pub fn points(&self) -> PayloadCounts {
        let [built, delivered, waiting, dropped] = self.equation("payloads ", "points ");
        PayloadCounts { built, delivered, waiting, dropped }
    }

    /// It ended well, and every equation holds.
    #[track_caller]
    pub fn balances(&self) -> (LineCounts, PayloadCounts) {
        assert_eq!(self.code(), Some(0), "{}", self.stderr);
        let lines = self.lines();
        let sum = lines.recorded + lines.refused + lines.dropped;
        assert_eq!(lines.received, sum, "{}", self.stderr);
        for counts in [self.payloads(), self.points()] {
            let sum = counts.delivered + counts.waiting + counts.dropped;
            assert_eq!(counts.built, sum, "{}", self.stderr);
        }
        (lines, self.payloads())
    }

    /// The numbers of `noun a … = b … + c … + d …` in the last line with that beginning.
    #[track_caller]
    fn equation(&self, beginning: &str, noun: &str) -> [u64; 4] {
        let line = self.stderr.lines().rev().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no line {beginning:?}:\n{}", self.stderr));
        let at = line.find(noun).unwrap_or_else(|| panic!("no {noun:?}: {line:?}"));
        let equation = line[at..].split([';', '(']).next().unwrap_or_default();
        let number = |term: &str| {
            let digits: String = term.chars().filter(char::is_ascii_digit).collect();
            digits.parse().unwrap_or_else(|_| panic!("no number in {term:?} of {line:?}"))
        };
        let numbers: Vec<u64> = equation.split(['=', '+']).map(number).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("not four numbers: {line:?}"))
    }
}
