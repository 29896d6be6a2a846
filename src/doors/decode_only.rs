//! Mode `forward`: a body is read, so that a bad one is refused, and nothing of it is recorded.

use super::{Answer, Door, Outcome, Part, Reason, Refusal, Request, Sink};
use crate::aggregate::{CheckRecord, EventRecord};

/// A door whose parts go nowhere.
pub(crate) struct DecodeOnly<D>(pub D);

impl<D: Door> Door for DecodeOnly<D> {
    fn take(&self, request: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        self.0.take(request, &mut Nowhere)
    }

    // What a door keeps between requests has to go in time, too.
    fn interval_ended(&self, start: u64, _: &mut dyn Sink) {
        self.0.interval_ended(start, &mut Nowhere);
    }

    fn closing(&self, start: u64, stop: Option<u64>, _: &mut dyn Sink) {
        self.0.closing(start, stop, &mut Nowhere);
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _: &Part<'_>) -> Outcome {
        Outcome::Recorded
    }

    fn event(&mut self, _: EventRecord) -> Outcome {
        Outcome::Recorded
    }

    fn check(&mut self, _: CheckRecord) -> Outcome {
        Outcome::Recorded
    }

    fn refuse(&mut self, _: Reason) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doors::Api;
    use crate::doors::collected::{Collected, take};

    #[test]
    fn a_bad_body_is_refused_and_a_good_one_leaves_nothing() {
        let mut sink = Collected::default();
        let mut post = |body: &[u8]| {
            let door = DecodeOnly(Api);
            take(&door, "/api/v1/series", &[], body, Duration::ZERO, &mut sink).map(|of| of.status)
        };
        assert_eq!(post(br#"{"series":[{"metric":"m","points":[[1,2]]}]}"#), Ok(202));
        assert_eq!(post(b"{").unwrap_err().status, 400);
        assert!(sink.lines.is_empty());
    }
}
