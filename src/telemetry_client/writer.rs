//! Sending one body: to the first endpoint that takes it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::body::Body;

/// Where bodies go. Called by one thread at a time.
pub trait Writer: Send + Sync {
    /// Sends `body` and waits for the answer.
    fn send(&self, body: &Body<'_>) -> SendResult;
}

impl<W: Writer + ?Sized> Writer for Arc<W> {
    fn send(&self, body: &Body<'_>) -> SendResult {
        (**self).send(body)
    }
}

/// What became of one body: an attempt per endpoint that was tried, in order. The last one is the
/// first that succeeded.
#[derive(Clone, Debug, Default)]
pub struct SendResult {
    /// In the order they were made.
    pub attempts: Vec<SendAttempt>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct SendAttempt {
    /// `agent`, `agentless` or what else the writer calls its endpoints.
    pub endpoint: &'static str,
    /// What came of it.
    pub outcome: SendOutcome,
    /// Bytes of the body.
    pub bytes: usize,
    /// What it took.
    pub took: Duration,
}

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// An answer: its status, and of one that is no success at most 256 bytes of its body.
    Answered(u16, String),
    /// No answer in time.
    TimedOut,
    /// No connection, or it broke.
    Unreachable(String),
}

/// Bytes of an answer that an error repeats.
const ANSWER_BYTES_MAX: usize = 256;

impl SendOutcome {
    /// An answer; of `body` only what an error may repeat is kept.
    #[must_use]
    pub fn answered(status: u16, body: &str) -> Self {
        let end = (0..=body.len().min(ANSWER_BYTES_MAX)).rfind(|at| body.is_char_boundary(*at));
        SendOutcome::Answered(status, body[..end.unwrap_or_default()].to_owned())
    }

    /// True for a status from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, SendOutcome::Answered(200..=299, _))
    }

    /// How the metrics of the client call a failure; none for a success.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        match self {
            SendOutcome::Answered(200..=299, _) => None,
            SendOutcome::Answered(..) => Some("status_code"),
            SendOutcome::TimedOut => Some("timeout"),
            SendOutcome::Unreachable(_) => Some("network"),
        }
    }
}

impl fmt::Display for SendOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendOutcome::Answered(status, body) if body.is_empty() => write!(f, "status {status}"),
            SendOutcome::Answered(status, body) => write!(f, "status {status}: {body}"),
            SendOutcome::TimedOut => f.write_str("no answer in time"),
            SendOutcome::Unreachable(detail) => f.write_str(detail),
        }
    }
}

impl SendResult {
    /// True if an endpoint took the body.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.outcome.is_success())
    }

    /// True if no endpoint took the body and one said that none ever will (413).
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        let refused =
            |attempt: &SendAttempt| matches!(attempt.outcome, SendOutcome::Answered(413, _));
        !self.is_delivered() && self.attempts.iter().any(refused)
    }
}

impl fmt::Display for SendResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, attempt) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", attempt.endpoint, attempt.outcome)?;
        }
        Ok(())
    }
}

/// Keeps bodies instead of sending them: for tests, and to show what would be sent. Clones share what
/// they keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryWriter {
    bodies: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl MemoryWriter {
    /// Everything that was sent, as JSON; it is forgotten.
    #[must_use]
    pub fn take(&self) -> Vec<serde_json::Value> {
        std::mem::take(&mut *self.bodies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer for MemoryWriter {
    fn send(&self, body: &Body<'_>) -> SendResult {
        let json = body.to_json();
        let value = serde_json::from_slice(&json).unwrap_or_default();
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        let outcome = SendOutcome::answered(202, "");
        let (bytes, took) = (json.len(), Duration::ZERO);
        SendResult { attempts: vec![SendAttempt { endpoint: "memory", outcome, bytes, took }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcomes: &[SendOutcome]) -> SendResult {
        let attempt = |outcome: &SendOutcome| SendAttempt {
            endpoint: "agent",
            outcome: outcome.clone(),
            bytes: 1,
            took: Duration::ZERO,
        };
        SendResult { attempts: outcomes.iter().map(attempt).collect() }
    }

    #[test]
    fn a_body_is_delivered_by_the_last_attempt_and_too_large_for_any() {
        let [ok, large, failed] = [202, 413, 500].map(|status| SendOutcome::answered(status, ""));
        for (outcomes, delivered, too_large) in [
            (vec![ok.clone()], true, false),
            (vec![failed.clone(), ok.clone()], true, false),
            (vec![large.clone(), ok], true, false),
            (vec![large.clone()], false, true),
            (vec![large, SendOutcome::TimedOut], false, true),
            (vec![failed], false, false),
            (vec![], false, false),
        ] {
            let result = result(&outcomes);
            assert_eq!((result.is_delivered(), result.is_too_large()), (delivered, too_large));
        }
    }

    #[test]
    fn an_error_repeats_at_most_256_bytes_of_the_answer() {
        let SendOutcome::Answered(_, body) = SendOutcome::answered(500, &"ä".repeat(200)) else {
            panic!()
        };
        assert_eq!(body, "ä".repeat(128));
        let one = result(&[SendOutcome::answered(400, "no"), SendOutcome::TimedOut]);
        assert_eq!(one.to_string(), "agent: status 400: no; agent: no answer in time");
    }
}
