//! Signs of life of every thread, for a watchdog outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::flushing::Message;
use crate::net::LaneHandle;

/// Asks lanes and flusher to do a little work, and sees whether they have done it.
pub struct Pulse {
    lanes: Vec<LaneHandle>,
    lane_beats: Arc<[AtomicU64]>,
    /// Beats of each lane when it was asked last.
    lane_asked: Option<Vec<u64>>,
    to_flusher: Sender<Message>,
    flusher_beats: Arc<AtomicU64>,
    /// The beat that the flusher owes, and since when.
    flusher_asked: Option<(u64, Instant)>,
    flusher_patience: Duration,
}

impl Pulse {
    pub(super) fn new(
        (lanes, lane_beats): (Vec<LaneHandle>, Arc<[AtomicU64]>),
        to_flusher: Sender<Message>,
        interval: Duration,
    ) -> Self {
        Pulse {
            lanes,
            lane_beats,
            lane_asked: None,
            to_flusher,
            flusher_beats: Arc::default(),
            flusher_asked: None,
            flusher_patience: interval,
        }
    }

    /// True when every thread has answered since the last call; then asks again.
    ///
    /// The flusher may wait half an interval for delivery by design, so its answer may take a whole
    /// one.
    pub fn check(&mut self) -> bool {
        let beats: Vec<u64> =
            self.lane_beats.iter().map(|beats| beats.load(Ordering::Acquire)).collect();
        let lanes = self
            .lane_asked
            .as_ref()
            .is_none_or(|asked| asked.iter().zip(&beats).all(|(asked, now)| now > asked));
        if lanes {
            self.lane_asked = Some(beats);
        }
        self.lanes.iter().for_each(LaneHandle::wake);
        self.flusher_answers() && lanes
    }

    fn flusher_answers(&mut self) -> bool {
        let beats = self.flusher_beats.load(Ordering::Acquire);
        match self.flusher_asked {
            Some((owed, since)) if beats < owed => since.elapsed() <= self.flusher_patience,
            _ => {
                self.flusher_asked = Some((beats + 1, Instant::now()));
                self.to_flusher.send(Message::Beat(Arc::clone(&self.flusher_beats))).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pulse of one lane that answers when the test says so, and of a flusher that does not wait.
    fn pulse(patience: Duration) -> (Pulse, Arc<[AtomicU64]>, mpsc::Receiver<Message>) {
        let beats: Arc<[AtomicU64]> = Arc::from([AtomicU64::new(0)]);
        let (to_flusher, messages) = mpsc::channel();
        (Pulse::new((Vec::new(), Arc::clone(&beats)), to_flusher, patience), beats, messages)
    }

    fn answer(messages: &mpsc::Receiver<Message>) {
        match messages.try_recv() {
            Ok(Message::Beat(beats)) => drop(beats.fetch_add(1, Ordering::Release)),
            _ => panic!("the flusher was not asked"),
        }
    }

    #[test]
    fn a_lane_that_does_not_answer_is_dead_until_it_does() {
        let (mut pulse, lane, messages) = pulse(Duration::ZERO);
        assert!(pulse.check(), "nobody was asked yet");
        answer(&messages);
        assert!(!pulse.check(), "the lane has not answered");
        answer(&messages);
        lane[0].fetch_add(1, Ordering::Release);
        assert!(pulse.check());
        answer(&messages);
        assert!(!pulse.check());
    }

    #[test]
    fn the_flusher_may_take_its_time_but_not_more() {
        for (patience, alive) in [(Duration::from_secs(3600), true), (Duration::ZERO, false)] {
            let (mut pulse, lane, _messages) = pulse(patience);
            assert!(pulse.check());
            lane[0].fetch_add(1, Ordering::Release);
            assert_eq!(pulse.check(), alive);
        }
    }

    #[test]
    fn a_flusher_that_is_gone_is_dead() {
        let (mut pulse, _lane, messages) = pulse(Duration::ZERO);
        drop(messages);
        assert!(!pulse.check());
    }
}
