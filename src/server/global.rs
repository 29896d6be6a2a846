//! The threads of the global tier: the sender's, which hands parts to the log; the owners', which read it.

mod owner;
mod shown;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::owner::{OwnerParts, OwnerThread};
pub(super) use self::shown::{OwnerSource, owners};
use super::{ServerError, global_status, spawn};
use crate::admin::GlobalSource;
use crate::clock::Clock;
use crate::config::{self, Config, GlobalSettings};
use crate::flush::FlushView;
use crate::global::engine::{CheckError, EngineState, KafkaLog};
use crate::global::engine::{check_properties, check_topics};
use crate::global::sender::{
    DropReason, EncodedFlush, Parts, Sender, SenderSettings, SenderStatus, SpoolSettings, Topic,
    Topics,
};
use crate::output::Output;
use crate::telemetry::Hub;
use crate::text::grouped;

/// How long the start waits for the brokers.
const START_WITHIN: Duration = Duration::from_secs(5);
/// Flushes between flusher and sender. Beyond it the flusher waits: the sender only ever waits for disk.
const FLUSHES_MAX: usize = 4;
/// How long an idle sender sleeps at a time.
const IDLE: Duration = Duration::from_millis(250);
/// How long a sender whose parts are on their way waits for reports at a time.
const BUSY: Duration = Duration::from_millis(20);

enum Message {
    Flush(EncodedFlush),
    /// Until then (monotonic) parts may be handed over.
    Stop(Duration),
}

/// The part of this process in the global tier.
pub(super) struct GlobalTier {
    settings: GlobalSettings,
    sender: Option<SenderThread>,
    /// One for each topic.
    owners: Vec<OwnerThread>,
    clock: Clock,
}

struct SenderThread {
    to_sender: SyncSender<Message>,
    thread: JoinHandle<()>,
    status: Arc<Mutex<SenderStatus>>,
}

impl GlobalTier {
    /// Checks the topics and starts the threads. Brokers that cannot be reached do not stop the start.
    /// `outputs` gets one more, which takes the global cells of each flush.
    pub fn start(
        config: &Config,
        configured: &config::Outputs,
        hostname: Option<&str>,
        (clock, hub): (&Clock, &Hub),
        outputs: &mut Vec<Box<dyn Output>>,
    ) -> Result<Option<Self>, ServerError> {
        let Some(settings) = config.global() else { return Ok(None) };
        check_properties(&settings).map_err(|error| ServerError::Global(error.to_string()))?;
        let checked = match check_topics(&settings, START_WITHIN) {
            Ok(doubts) => Some(doubts),
            Err(CheckError::Unreachable(why)) => {
                tracing::warn!(
                    target: "global",
                    "{why}; whippet starts all the same and tries again: global series wait until a broker answers"
                );
                None
            }
            Err(CheckError::Wrong(why)) => return Err(ServerError::Global(why)),
        };
        checked.iter().flatten().for_each(|doubt| tracing::warn!(target: "global", "{doubt}"));
        let host = hostname.unwrap_or_default();
        let mut tier =
            GlobalTier { settings, sender: None, owners: Vec::new(), clock: clock.clone() };
        if tier.settings.mode.sends() {
            let (thread, output) = start_sender(&tier.settings, host, clock, checked.as_deref())?;
            tier.sender = Some(thread);
            outputs.push(Box::new(output));
        }
        if tier.settings.mode.owns() {
            let settings = &tier.settings;
            let parts = OwnerParts {
                config,
                settings,
                outputs: configured,
                clock,
                hub,
                checked: checked.as_deref(),
            };
            let now = (&*settings.topic, settings.partitions);
            let next = settings.topic_next.as_ref().map(|next| (&*next.topic, next.partitions));
            let memory_max = settings.memory_bytes_max / if next.is_some() { 2 } else { 1 };
            for topic in std::iter::once(now).chain(next) {
                tier.owners.push(OwnerThread::start(&parts, topic, memory_max)?);
            }
        }
        Ok(Some(tier))
    }

    /// Where pages find out how it does.
    pub fn source(&self) -> GlobalSource {
        let sender = self.sender.as_ref().map(|sender| Arc::clone(&sender.status));
        let owners = self.owners.iter().map(OwnerThread::source).collect();
        global_status::source(&self.settings, &self.clock, sender, owners)
    }

    /// Takes over what a reload may change.
    pub fn reload(&self, config: &Config) {
        self.owners.iter().for_each(|owner| owner.reload(config));
    }

    /// Owners leave the group at once: others go on while this process ends.
    pub fn leave(&self) {
        self.owners.iter().for_each(OwnerThread::leave);
    }

    /// After the last flush: hands over what it can until the deadline and says what became of the rest.
    /// True when nothing was dropped by it.
    pub fn stop(self, deadline: Instant) -> bool {
        self.owners.into_iter().for_each(|owner| owner.stop(deadline));
        let within = deadline.saturating_duration_since(Instant::now());
        let Some(sender) = self.sender else { return true };
        // A thread that is gone says so when it is joined.
        let _ = sender.to_sender.send(Message::Stop(self.clock.monotonic() + within));
        if sender.thread.join().is_err() {
            tracing::error!(target: "global", "the sender failed; what waited in memory is lost");
            return false;
        }
        let counts = sender.status.lock().unwrap_or_else(PoisonError::into_inner).counts;
        let lost = counts.dropped_for(DropReason::Shutdown);
        if lost > 0 {
            tracing::warn!(
                target: "global",
                "{} cells were not handed over and are lost; {}",
                grouped(lost),
                match self.settings.spool_path {
                    None => "set global_spool_path, so that the next run hands them over",
                    Some(_) => "see why global_spool_path took no more of them (global_spool_max)",
                }
            );
        }
        tracing::info!(target: "global", "cells    {counts}");
        lost == 0
    }
}

fn start_sender(
    settings: &GlobalSettings,
    host: &str,
    clock: &Clock,
    checked: Option<&[String]>,
) -> Result<(SenderThread, GlobalOutput), ServerError> {
    let topic = |name: &str, partitions: u32| Topic { name: Arc::from(name), partitions };
    let topics = Topics {
        now: topic(&settings.topic, settings.partitions),
        next: settings
            .topic_next
            .as_ref()
            .map(|next| (topic(&next.topic, next.partitions), next.from)),
    };
    let engine = Arc::new(EngineState::new("sender", clock.clone()));
    engine.checked(checked.unwrap_or_default().to_vec());
    let log = KafkaLog::new(settings.clone(), Arc::clone(&engine), checked.is_some())
        .map_err(|error| ServerError::Global(format!("the global tier: {error}")))?;
    let sender_settings = SenderSettings {
        queue_bytes_max: settings.queue_bytes_max,
        spool: settings
            .spool_path
            .clone()
            .map(|path| SpoolSettings { path, bytes_max: settings.spool_bytes_max }),
        late_max: settings.late_max,
    };
    let sender = Sender::new(log, sender_settings, clock.clone()).map_err(|error| {
        let path = settings.spool_path.as_deref().unwrap_or_else(|| std::path::Path::new(""));
        ServerError::Global(format!("global_spool_path: {}: {error}", path.display()))
    })?;
    let (to_sender, inbox) = mpsc::sync_channel(FLUSHES_MAX);
    let status = Arc::new(Mutex::new(SenderStatus::default()));
    let run =
        SenderRun { sender, inbox, engine, status: Arc::clone(&status), clock: clock.clone() };
    let thread = spawn("global-send", move || run.run())?;
    let parts = Parts::new(topics, random_id()?, host.to_owned());
    let output = GlobalOutput { parts, clock: clock.clone(), to_sender: to_sender.clone() };
    Ok((SenderThread { to_sender, thread, status }, output))
}

/// Sixteen random bytes, for the identity of a run.
fn random_id() -> Result<[u8; 16], ServerError> {
    let mut id = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id).map_err(|_| {
        ServerError::Global("the global tier: the system gives no random bytes".to_owned())
    })?;
    Ok(id)
}

/// Encodes the global cells of each flush, in the flusher's thread.
struct GlobalOutput {
    parts: Parts,
    clock: Clock,
    to_sender: SyncSender<Message>,
}

impl Output for GlobalOutput {
    fn flush(&mut self, flush: &FlushView<'_>) {
        let built_ms = u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX);
        let encoded = self.parts.encode(flush, built_ms);
        if encoded != EncodedFlush::default()
            && self.to_sender.send(Message::Flush(encoded)).is_err()
        {
            tracing::error!(target: "global", "the sender is gone; the global series of {} are lost", flush.start);
        }
    }
}

struct SenderRun {
    sender: Sender<KafkaLog>,
    inbox: Receiver<Message>,
    engine: Arc<EngineState>,
    status: Arc<Mutex<SenderStatus>>,
    clock: Clock,
}

impl SenderRun {
    fn run(mut self) {
        let deadline = loop {
            let wait = if self.sender.has_in_flight() { Duration::ZERO } else { IDLE };
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Flush(flush)) => {
                    flush.parts.into_iter().for_each(|part| self.sender.take(part));
                    self.sender.note_unforwardable(flush.unforwardable);
                }
                Ok(Message::Stop(deadline)) => break deadline,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break self.clock.monotonic(),
            }
            self.sender.turn(BUSY);
            self.publish();
        };
        let counts = self.sender.stop(deadline);
        self.status.lock().unwrap_or_else(PoisonError::into_inner).counts = counts;
    }

    fn publish(&self) {
        let engine = self.engine.status();
        let status = SenderStatus {
            away_since: engine.away_since,
            error: engine.error,
            doubts: engine.doubts,
            ..self.sender.status()
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}
