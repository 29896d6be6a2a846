//! Logs refused lines and failed frames once per reason and interval, the rest as a number, so that a
//! flood of bad input does not flood the log.

use std::time::Duration;

use crate::net::{Incident, Sender};
use crate::protocol::{ErrorKind, ParseError};
use crate::text::printable;

/// Characters shown of an oversize frame.
const SHOWN: usize = 64;
/// Characters of a refused line in a JSON log.
const LINE_SHOWN: usize = 256;

/// The limiter of one lane.
pub(super) struct RefusalLog {
    verbose: bool,
    lines: [u64; ErrorKind::ALL.len()],
    incidents: [u64; INCIDENTS.len()],
}

/// A word for programs and one for people.
const INCIDENTS: [(&str, &str); 5] = [
    ("frame_oversize", "oversize frame"),
    ("line_oversize", "oversize line"),
    ("frame_cut", "cut frame"),
    ("connection_refused", "refused connection"),
    ("read_failed", "failed read"),
];

impl RefusalLog {
    pub fn new(verbose: bool) -> Self {
        RefusalLog { verbose, lines: [0; ErrorKind::ALL.len()], incidents: [0; INCIDENTS.len()] }
    }

    #[cold]
    pub fn refused(
        &mut self,
        error: ParseError,
        line: &[u8],
        number: u64,
        listener: &str,
        from: &Sender<'_>,
    ) {
        let count = &mut self.lines[error.kind as usize];
        *count += 1;
        if *count > 1 {
            return;
        }
        let (reason, sender) = (error.kind.reason(), from.name());
        let from = if sender.is_empty() { String::new() } else { format!(" from {sender}") };
        let plain = format!("refused line {number} on {listener}{from}: {}", error.render(line));
        let (line, offset) = (printable(line, LINE_SHOWN), error.offset);
        let (message, plain) = (format!("refused line: {}", error.kind.expectation()), &*plain);
        // A level is part of the call.
        if self.verbose {
            tracing::warn!(target: "protocol", reason, listener, sender, line, offset, plain, "{message}");
        } else {
            tracing::debug!(target: "protocol", reason, listener, sender, line, offset, plain, "{message}");
        }
    }

    #[cold]
    pub fn incident(&mut self, listener: &str, incident: &Incident<'_>, oversize_shown: bool) {
        let (at, text) = match incident {
            Incident::FrameOversize { length, beginning } => {
                let shown = if oversize_shown {
                    format!("; it begins with {}", printable(beginning, SHOWN))
                } else {
                    String::new()
                };
                (
                    0,
                    format!(
                        "a frame of {length} bytes is longer than dogstatsd_buffer_size; its connection was closed{shown}"
                    ),
                )
            }
            Incident::LineOversize => {
                (1, "a line longer than dogstatsd_buffer_size was skipped".to_owned())
            }
            Incident::FrameCut { bytes } => {
                (2, format!("a connection ended inside a frame; {bytes} bytes were discarded"))
            }
            Incident::ConnectionRefused { connections_max } => (
                3,
                format!(
                    "more than {connections_max} connections; the new one was closed (stream_connections_max)"
                ),
            ),
            // Rare, and each one matters.
            Incident::SocketBoundAgain => {
                let what = "another program removed or replaced the socket; it is bound again";
                tracing::warn!(target: "net", "{listener}: {what}");
                return;
            }
            Incident::SocketLost(problem) => {
                let (detail, remedy) = (&problem.detail, &problem.remedy);
                tracing::error!(
                    target: "net",
                    "{listener}: another program removed or replaced the socket: {detail}; {remedy}; clients may not find whippet until then"
                );
                return;
            }
            Incident::Failed(error) => (4, format!("reading failed: {error}")),
        };
        self.incidents[at] += 1;
        if self.incidents[at] == 1 {
            let (reason, plain) = (INCIDENTS[at].0, format!("{listener}: {text}"));
            tracing::warn!(target: "net", reason, listener, plain, "{text}");
        }
    }

    /// The interval is over: what was not said becomes a number.
    pub fn close(&mut self, interval: Duration) {
        let seconds = interval.as_secs();
        for (kind, count) in ErrorKind::ALL.iter().zip(&mut self.lines) {
            let unsaid = std::mem::take(count).saturating_sub(1);
            if unsaid > 0 && self.verbose {
                let reason = kind.reason();
                let plain = format!("refused {unsaid} more lines in {seconds} s: {reason}");
                tracing::warn!(target: "protocol", reason, count = unsaid, seconds, plain, "more refused lines");
            }
        }
        for ((reason, what), count) in INCIDENTS.iter().zip(&mut self.incidents) {
            let unsaid = std::mem::take(count).saturating_sub(1);
            if unsaid > 0 {
                let plain = format!("{what}: {unsaid} more in {seconds} s");
                tracing::warn!(target: "net", reason, count = unsaid, seconds, plain, "more of them");
            }
        }
    }
}
