//! What an answer or an error means for the payload that got it.

use std::time::Duration;

/// What came back for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The intake answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, read as a wait from now.
        retry_after: Option<Duration>,
        /// The first words of the body, for the log; empty for a success.
        message: String,
    },
    /// No answer, or not all of it.
    Failed {
        /// Where it failed.
        kind: ErrorKind,
        /// What the transport said, free of URLs and keys.
        detail: String,
    },
}

/// The place where a request without an answer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The host has no address.
    Dns,
    /// Refused, unreachable.
    Connect,
    /// Handshake or certificate.
    Tls,
    /// The proxy refused.
    Proxy,
    /// Too slow.
    Timeout,
    /// Cut off while sending or reading.
    Disconnect,
    /// Anything else, such as an answer that is not HTTP.
    Other,
}

impl ErrorKind {
    /// Every kind, in the order reports list them.
    pub const ALL: [ErrorKind; 7] = [
        ErrorKind::Dns,
        ErrorKind::Connect,
        ErrorKind::Tls,
        ErrorKind::Proxy,
        ErrorKind::Timeout,
        ErrorKind::Disconnect,
        ErrorKind::Other,
    ];

    /// The word logs and counters use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ErrorKind::Dns => "dns",
            ErrorKind::Connect => "connect",
            ErrorKind::Tls => "tls",
            ErrorKind::Proxy => "proxy",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Disconnect => "disconnect",
            ErrorKind::Other => "other",
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            ErrorKind::Dns => "check dd_url or site, and the resolver",
            ErrorKind::Connect => "check that the intake is up and that no firewall blocks it",
            ErrorKind::Tls => "check the certificate, the clock and the ca-certificates package",
            ErrorKind::Proxy => "check proxy.https, proxy.http and their credentials",
            ErrorKind::Timeout => "check the network, or raise forwarder_timeout",
            ErrorKind::Disconnect | ErrorKind::Other => {
                "check the intake and any proxy in front of it"
            }
        }
    }

    /// True when the body may have reached the intake although no answer came.
    #[must_use]
    pub fn may_have_arrived(self) -> bool {
        matches!(self, ErrorKind::Timeout | ErrorKind::Disconnect | ErrorKind::Other)
    }
}

/// Why a payload was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// 400: the intake calls it malformed.
    BadRequest,
    /// 413 for a single item.
    TooLarge,
    /// 413, and the body could not be taken apart.
    SplitFailed,
    /// Older than the intake accepts.
    TooOld,
    /// The retry queue was full and this was the oldest.
    QueueFull,
    /// The disk spool was full and this was the oldest.
    SpoolFull,
    /// Its record on disk could not be read back.
    SpoolDamaged,
    /// Its record on disk was removed by another program.
    SpoolRemoved,
    /// Still waiting when the program had to stop.
    Shutdown,
    /// The payload of an owner whose partition has another owner by now, which posts it again.
    Withdrawn,
}

impl DropReason {
    /// Every reason, in the order reports list them.
    pub const ALL: [DropReason; 10] = [
        DropReason::BadRequest,
        DropReason::TooLarge,
        DropReason::SplitFailed,
        DropReason::TooOld,
        DropReason::QueueFull,
        DropReason::SpoolFull,
        DropReason::SpoolDamaged,
        DropReason::SpoolRemoved,
        DropReason::Shutdown,
        DropReason::Withdrawn,
    ];

    /// The word logs and counters use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            DropReason::BadRequest => "bad_request",
            DropReason::TooLarge => "too_large",
            DropReason::SplitFailed => "split_failed",
            DropReason::TooOld => "too_old",
            DropReason::QueueFull => "queue_full",
            DropReason::SpoolFull => "spool_full",
            DropReason::SpoolDamaged => "spool_damaged",
            DropReason::SpoolRemoved => "spool_removed",
            DropReason::Shutdown => "shutdown",
            DropReason::Withdrawn => "withdrawn",
        }
    }
}

/// What happens next to the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The intake has it.
    Delivered,
    /// It will never be taken.
    Drop(DropReason),
    /// Later, after the breaker's delay, and not before the given wait.
    Retry(Option<Duration>),
    /// In two parts, at once.
    Split,
    /// When the key changed or is accepted again.
    KeepForKey,
}

impl Attempt {
    /// Reads the response table.
    ///
    /// Differs: only 2xx is a success (the Agent takes every status below 400), 403 keeps the
    /// payload, 413 splits it; the Agent drops both.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Attempt::Answered { status, retry_after, .. } => match status {
                200..=299 => Outcome::Delivered,
                400 => Outcome::Drop(DropReason::BadRequest),
                403 => Outcome::KeepForKey,
                413 => Outcome::Split,
                _ => Outcome::Retry(*retry_after),
            },
            Attempt::Failed { .. } => Outcome::Retry(None),
        }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date against the Unix time `now`.
#[must_use]
pub fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = http_date(value)?;
    Some(Duration::from_secs(at.saturating_sub(now.as_secs())))
}

/// Unix seconds of an IMF-fixdate, the only form servers may send (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    // Sun, 06 Nov 1994 08:49:37 GMT
    //      ^5    ^8  ^12  ^17
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if text.len() != 29 || !text.is_ascii() || !text.ends_with(" GMT") {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let month = MONTHS.find(&text[8..11]).filter(|at| at % 3 == 0)? as u64 / 3 + 1;
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    if year < 1970 || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since the epoch, with years that start in March so that the leap day comes last.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_row() {
        let wait = Some(Duration::from_secs(7));
        for (status, expect) in [
            (200, Outcome::Delivered),
            (202, Outcome::Delivered),
            (204, Outcome::Delivered),
            (301, Outcome::Retry(wait)),
            (302, Outcome::Retry(wait)),
            (307, Outcome::Retry(wait)),
            (400, Outcome::Drop(DropReason::BadRequest)),
            (401, Outcome::Retry(wait)),
            (403, Outcome::KeepForKey),
            (404, Outcome::Retry(wait)),
            (408, Outcome::Retry(wait)),
            (413, Outcome::Split),
            (429, Outcome::Retry(wait)),
            (500, Outcome::Retry(wait)),
            (503, Outcome::Retry(wait)),
        ] {
            let answer = Attempt::Answered { status, retry_after: wait, message: String::new() };
            assert_eq!(answer.outcome(), expect, "status {status}");
        }
        for kind in ErrorKind::ALL {
            let failure = Attempt::Failed { kind, detail: String::new() };
            assert_eq!(failure.outcome(), Outcome::Retry(None), "{}", kind.label());
        }
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = Duration::from_secs(784_111_777 - 60);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("Sun, 06 Xyz 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(http_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(http_date("Tue, 31 Dec 2024 23:59:59 GMT"), Some(1_735_689_599));
    }
}
