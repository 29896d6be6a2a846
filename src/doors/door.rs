//! What every route is.

use super::{Answer, Refusal, Request, Sink};

/// One route: its grammar, its answer, its metrics. Called on a thread that may take its time, by several
/// at once.
pub(crate) trait Door: Send + Sync {
    /// Reads a request and records what it holds. A body that cannot be read as a whole is a
    /// [`Refusal`]; a bad part in a good body is refused alone ([`Sink::refuse`]).
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal>;

    /// The interval that began at `start` (Unix seconds) ends now; also called for the open one at
    /// shutdown. For values that are read at a time and come with no request.
    fn interval_ended(&self, start: u64, sink: &mut dyn Sink) {
        let _ = (start, sink);
    }

    /// The bucket of this door that began at `start` is about to be posted, after its grace: the last
    /// chance to put something into it. At shutdown it closes before its time, at the Unix second
    /// `stop`: a successor may post the rest of the same bucket.
    fn closing(&self, start: u64, stop: Option<u64>, sink: &mut dyn Sink) {
        let _ = (start, stop, sink);
    }
}
