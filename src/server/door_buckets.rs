//! The buckets of the doors: where doors record, and the thread that closes buckets by the clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::RandomState;

use super::flusher::Message;
use super::{ServerError, settings, spawn};
use crate::aggregate::TimedSettings;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::PartRules;
use crate::doors::{Door, DoorsAccounting, DueBucket, Recorder, RecorderParts, Route, Schedule};
use crate::memory::MemoryLimit;
use crate::tagger::Tagger;
use crate::watch::Watch;

/// The clock is looked at at least so often: it may have been set.
const LOOK: Duration = Duration::from_secs(1);

/// What the buckets of the doors share with the rest of the server.
pub(super) struct Shared {
    pub rules: Arc<PartRules>,
    pub state: RandomState,
    pub memory: Arc<MemoryLimit>,
    pub accounting: Arc<DoorsAccounting>,
    pub watch: Arc<Watch>,
}

/// Where all doors record.
pub(super) fn recorder(config: &Config, shared: Shared, clock: &Clock) -> Recorder {
    let Shared { rules, state, memory, accounting, watch } = shared;
    let settings = TimedSettings {
        interval: config.interval.as_secs(),
        context_expiry: config.dogstatsd_context_expiry_seconds,
        events_max: config.events_per_interval_max,
        memory,
        ..TimedSettings::default()
    };
    let parts = RecorderParts { settings, rules, state, accounting, watch };
    Recorder::new(parts, clock.unix())
}

/// The thread that closes buckets.
pub(super) struct DoorBuckets {
    recorder: Recorder,
    thread: JoinHandle<()>,
    stop: Sender<()>,
}

impl DoorBuckets {
    /// Closes buckets by the clock until it is stopped; `doors` are asked at the end of each interval.
    pub fn start(
        recorder: Recorder,
        doors: Vec<(Route, Arc<dyn Door>)>,
        clock: Clock,
        to_flusher: Sender<Message>,
    ) -> Result<Self, ServerError> {
        let mut schedule = Schedule::new(doors, recorder.clone(), clock.unix());
        let (stop, stopped) = mpsc::channel();
        let thread = spawn("doors-timer", move || {
            let mut run = || run(&mut schedule, &clock, &stopped, &to_flusher);
            while catch_unwind(AssertUnwindSafe(&mut run)).is_err() {
                tracing::error!(target: "doors", "closing a bucket failed; going on with the next");
            }
            // The flusher waits for it, whatever happened.
            let _ = to_flusher.send(Message::DoorsStopped);
        })?;
        Ok(DoorBuckets { recorder, thread, stop })
    }

    /// Takes over what a reload may change.
    pub fn reload(
        &self,
        config: &Config,
        hostname: Option<&str>,
        tagger: Option<Arc<dyn Tagger>>,
    ) -> Arc<PartRules> {
        let rules = Arc::new(settings::part_rules(config, hostname, tagger));
        self.recorder.set_rules(Arc::clone(&rules));
        rules
    }

    /// Posts everything that is open. No request may come any more.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!(target: "doors", "the thread that closes buckets failed; what was open is lost");
        }
    }
}

fn run(
    schedule: &mut Schedule,
    clock: &Clock,
    stopped: &Receiver<()>,
    to_flusher: &Sender<Message>,
) {
    // The flusher outlives this thread; if it is gone, no one has to know.
    let mut post = |due: DueBucket| drop(to_flusher.send(Message::Door(Box::new(due))));
    loop {
        let wait = schedule.next_due().saturating_sub(clock.unix()).min(LOOK);
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => schedule.tick(clock.unix(), &mut post),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    schedule.finish(clock.unix(), &mut post);
}
