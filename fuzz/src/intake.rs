//! Whatever the intake answers: the outcome is one of the table, a wait is bounded.
//!
//! The input is a series of answers. Each: two bytes of status, one of chance, one of seconds
//! passed, then a line with the `Retry-After` header up to a newline.

use std::time::Duration;

use whippet::forward::{
    Attempt, Breaker, BreakerState, DropReason, ErrorKind, Outcome, RETRY_AFTER_MAX, RetryPolicy,
    retry_after,
};

/// One input.
pub fn run(mut input: &[u8]) {
    let policy = RetryPolicy::default();
    let mut breaker = Breaker::default();
    let mut now = Duration::from_secs(1_700_000_000);
    while let Some((head, rest)) = input.split_first_chunk::<4>() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let header = &rest[..end];
        input = rest.get(end + 1..).unwrap_or_default();
        now += Duration::from_secs(u64::from(head[3]));
        let wait = std::str::from_utf8(header).ok().and_then(|text| retry_after(text, now));
        let attempt = attempt(u16::from_be_bytes([head[0], head[1]]), wait);
        let jitter = f64::from(head[2]) / 255.0;
        step(&mut breaker, &policy, &attempt, now, jitter);
    }
}

/// Statuses below 100 stand for requests without an answer.
fn attempt(status: u16, retry_after: Option<Duration>) -> Attempt {
    match ErrorKind::ALL.get(usize::from(status)) {
        Some(kind) => Attempt::Failed { kind: *kind, detail: String::new() },
        None => Attempt::Answered { status, retry_after, message: String::new() },
    }
}

fn step(
    breaker: &mut Breaker,
    policy: &RetryPolicy,
    attempt: &Attempt,
    now: Duration,
    jitter: f64,
) {
    let before = *breaker;
    match attempt.outcome() {
        Outcome::Delivered => {
            assert!(
                matches!(attempt, Attempt::Answered { status, .. } if (200..300).contains(status))
            );
            breaker.succeeded(policy, now, jitter);
            assert!(breaker.errors() <= before.errors());
        }
        Outcome::Retry(wait) => {
            breaker.failed(policy, now, jitter, wait);
            assert!(breaker.errors() >= before.errors().min(policy.errors_max()));
        }
        Outcome::Drop(reason) => assert_eq!(reason, DropReason::BadRequest),
        Outcome::Split | Outcome::KeepForKey => {}
    }
    // Nothing an intake says silences a route for longer than this.
    if let BreakerState::Blocked(until) = breaker.state(now) {
        assert!(until.saturating_sub(now) <= policy.max.max(RETRY_AFTER_MAX));
    }
    assert!(breaker.errors() <= policy.errors_max());
}
