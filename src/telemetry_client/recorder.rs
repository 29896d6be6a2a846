//! Calls that came before there was anybody to take them, kept for later.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::range::Range;
use super::ring_queue::RingQueue;

/// Calls kept: room for 16, which grows to 512; then the oldest goes.
const CALLS: Range<usize> = Range::new(16, 512);

type Call<T> = Box<dyn FnOnce(&T) + Send>;

/// Records calls on a `T` that does not exist yet, and makes them in order once it does.
///
/// ```
/// use std::sync::Mutex;
/// use whippet::telemetry_client::Recorder;
///
/// let recorder = Recorder::<Mutex<Vec<u8>>>::default();
/// recorder.record(|list| list.lock().unwrap().push(1));
/// recorder.record(|list| list.lock().unwrap().push(2));
///
/// let list = Mutex::default();
/// recorder.replay(&list);
/// assert_eq!(*list.lock().unwrap(), [1, 2]);
/// ```
pub struct Recorder<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    calls: RingQueue<Call<T>>,
    lost: u64,
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Recorder { state: Mutex::new(State { calls: RingQueue::new(CALLS), lost: 0 }) }
    }
}

impl<T> Recorder<T> {
    /// Keeps a call for [`Recorder::replay`]. False once a call was lost, be it this or an earlier
    /// one; the first loss is logged.
    pub fn record(&self, call: impl FnOnce(&T) + Send + 'static) -> bool {
        match self.record_unless(|| None::<()>, call) {
            Ok(_) => true, // never: there is nobody else
            Err(complete) => complete,
        }
    }

    /// Keeps `call`, or gives it back with the `taker` of calls that there is by now. That one is asked
    /// for under the lock, so that after [`Recorder::hand_over`] no call is left behind. `Err` is what
    /// [`Recorder::record`] tells.
    pub(super) fn record_unless<U, F: FnOnce(&T) + Send + 'static>(
        &self,
        taker: impl FnOnce() -> Option<U>,
        call: F,
    ) -> Result<(U, F), bool> {
        let mut state = self.lock();
        if let Some(taker) = taker() {
            return Ok((taker, call));
        }
        let kept = state.calls.enqueue(Box::new(call));
        state.lost += u64::from(!kept);
        let lost = state.lost;
        drop(state);
        if !kept && lost == 1 {
            tracing::warn!(
                target: "telemetry_client",
                "more than {} telemetry calls came before a client was started: the oldest are lost",
                CALLS.max
            );
        }
        Err(lost == 0)
    }

    /// Makes every recorded call on `target`, in order, and forgets them.
    pub fn replay(&self, target: &T) {
        let calls = self.lock().calls.flush();
        // Without the lock: a call may record another one.
        calls.into_iter().for_each(|call| call(target));
    }

    /// Replays until nothing is left and then calls `publish`, during which nothing can be recorded:
    /// no call is left behind and none overtakes another.
    pub(super) fn hand_over(&self, target: &T, publish: impl FnOnce()) {
        loop {
            self.replay(target);
            let state = self.lock();
            if state.calls.is_empty() {
                return publish();
            }
        }
    }

    /// Forgets every recorded call.
    pub fn clear(&self) {
        // Out of the lock first: what a call owns may record when it is dropped.
        let calls = self.lock().calls.flush();
        drop(calls);
    }

    /// Calls waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().calls.len()
    }

    /// True when no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, lost) = (self.len(), self.lost());
        f.debug_struct("Recorder").field("len", &len).field("lost", &lost).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type List = Mutex<Vec<usize>>;

    fn push(number: usize) -> impl FnOnce(&List) + Send {
        move |list| list.lock().unwrap().push(number)
    }

    #[test]
    fn the_last_512_calls_are_replayed_in_order_and_a_loss_is_flagged_for_good() {
        let recorder = Recorder::default();
        assert!((0..512).all(|number| recorder.record(push(number))));
        assert_eq!((recorder.len(), recorder.lost()), (512, 0));
        assert!(!recorder.record(push(512)));
        let list = List::default();
        recorder.replay(&list);
        assert_eq!(*list.lock().unwrap(), (1..513).collect::<Vec<_>>());
        assert!(recorder.is_empty());
        // There is room again, but what was recorded is not complete.
        assert!(!recorder.record(push(0)));
        assert_eq!(recorder.lost(), 1);
    }

    #[test]
    fn a_call_may_record_another() {
        let recorder = std::sync::Arc::new(Recorder::default());
        let again = recorder.clone();
        recorder.record(move |list: &List| {
            push(1)(list);
            again.record(push(2));
        });
        let list = List::default();
        let mut published = false;
        recorder.hand_over(&list, || published = true);
        assert!(published);
        assert_eq!(*list.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn cleared_calls_are_not_made() {
        let recorder = Recorder::default();
        recorder.record(push(1));
        recorder.clear();
        let list = List::default();
        recorder.replay(&list);
        assert!(list.lock().unwrap().is_empty());
    }
}
