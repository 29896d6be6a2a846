//! The thread of an owner, and what it posts through: a member of the group that merges what all senders
//! hand over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::super::{ServerError, outputs, settings, spawn};
use super::random_id;
use super::shown::{OwnerSource, Window};
use crate::clock::Clock;
use crate::config::{self, Config, GlobalSettings, OutputKind};
use crate::encode::SeriesFormat;
use crate::forward::{self, Forwarder, ForwarderConfig};
use crate::global::engine::{EngineState, OwnerLoop, Posts};
use crate::global::owner::{Owner, OwnerAccounting, OwnerSettings, Posting, PostingId};
use crate::global::posting::{Destination, Poster, PostingSettings, Tables};
use crate::output::{DryRun, JsonLines};
use crate::part::PartLimits;
use crate::telemetry::Hub;
use crate::text::grouped;

/// What all owners of a process are made from.
pub(super) struct OwnerParts<'a> {
    pub config: &'a Config,
    pub settings: &'a GlobalSettings,
    pub outputs: &'a config::Outputs,
    pub clock: &'a Clock,
    pub hub: &'a Hub,
    /// The topics are known to be there; what looks wrong about them.
    pub checked: Option<&'a [String]>,
}

/// One owner at work.
pub(super) struct OwnerThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    source: OwnerSource,
}

struct ToPoster(Arc<Poster>);

impl Posts for ToPoster {
    fn post(&mut self, posting: Posting) {
        self.0.post(posting.into());
    }

    fn drop_withdrawn(&mut self) {
        self.0.drop_withdrawn();
    }
}

impl OwnerThread {
    /// For one topic; so much memory for what is not settled.
    pub fn start(
        parts: &OwnerParts<'_>,
        (topic, partitions): (&str, u32),
        memory_max: usize,
    ) -> Result<Self, ServerError> {
        let OwnerParts { config, settings: global, clock, checked, .. } = parts;
        let owner_settings = OwnerSettings {
            interval: u32::try_from(config.interval.as_secs().max(1)).unwrap_or(u32::MAX),
            partitions,
            grace: global.grace,
            late: global.late,
            late_max: global.late_max,
            session: global.session_timeout,
            memory_max,
            skip_unknown: global.skip_unknown,
            set_members_max: config.set_members_max,
            limits: PartLimits::new(config.set_members_max),
        };
        let (tell, fates) = mpsc::channel();
        // The owner's thread may be gone by then; nothing waits for the fate any more.
        let tell = move |posting, fate| {
            let _ = tell.send((PostingId(posting), fate));
        };
        let datadog = settings::datadog(config, None);
        let compression = match datadog.series_format {
            SeriesFormat::V2 => datadog.protobuf,
            SeriesFormat::V1 => datadog.json,
        };
        let posting = PostingSettings {
            histograms: settings::histograms(config),
            format: datadog.series_format,
            compression,
            limits: datadog.limits,
            enabled: datadog.enabled.series,
            logged: datadog.logged,
        };
        let poster = Poster::start(posting, destinations(parts)?, tell)
            .map_err(ServerError::system("preparing the encoder of global series"))?;
        let poster = Arc::new(poster);
        let engine = Arc::new(EngineState::new("owner", (*clock).clone()));
        engine.checked(checked.unwrap_or_default().to_vec());
        let stop = Arc::new(AtomicBool::new(false));
        let window = Window::default();
        let source = OwnerSource {
            topic: topic.to_owned(),
            window: window.clone(),
            engine: Arc::clone(&engine),
            poster: Arc::clone(&poster),
            since: clock.monotonic(),
        };
        let shown = window.clone();
        let run = OwnerLoop {
            settings: (*global).clone(),
            topic: topic.to_owned(),
            state: engine,
            clock: (*clock).clone(),
            checked: checked.is_some(),
            owner: Owner::new(owner_settings, random_id()?),
            posts: Box::new(ToPoster(Arc::clone(&poster))),
            fates,
            stop: Arc::clone(&stop),
            show: Box::new(move |owner, now| shown.look(owner, now)),
        };
        let thread = spawn("global-own", move || window.end(&run.run()))?;
        Ok(OwnerThread { stop, thread, source })
    }

    /// Where the pages find out how it does.
    pub fn source(&self) -> OwnerSource {
        self.source.clone()
    }

    /// Takes over what a reload may change: the key of the first endpoint, what is posted of histograms.
    pub fn reload(&self, config: &Config) {
        let poster = &self.source.poster;
        poster.reload(settings::histograms(config));
        if let Some(key) = &config.api_key {
            poster.set_api_key(key.expose());
        }
    }

    /// Leaves the group, soon.
    pub fn leave(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits until it has left, and says what became of all it read.
    pub fn stop(self, deadline: Instant) {
        self.leave();
        if self.thread.join().is_err() {
            tracing::error!(target: "global", "an owner failed; others go on from what it has committed");
        }
        let OwnerSource { topic, window, poster, .. } = self.source;
        let accounting = window.lock().accounting.clone();
        say_parts(&topic, &accounting);
        let counts = poster.stop(deadline);
        tracing::info!(
            target: "global",
            "global   {} postings with {} series; {} corrections, {} zeros, {} withheld (fence), {} withdrawn, {} given up",
            grouped(counts.postings),
            grouped(counts.rows),
            grouped(accounting.corrections),
            grouped(accounting.zeros),
            grouped(accounting.fenced + counts.fenced()),
            grouped(counts.withdrawn()),
            grouped(accounting.given_up)
        );
    }
}

/// The balance of parts.
fn say_parts(topic: &str, accounting: &OwnerAccounting) {
    let refused: u64 = accounting.refused.values().map(|count| count.parts).sum();
    let late = [
        accounting.late_waiting,
        accounting.late_repaired,
        accounting.late_unrepaired,
        accounting.late_handed_over,
    ];
    let late: u64 = late.iter().map(|count| count.parts).sum();
    let named: Vec<String> = accounting
        .refused
        .iter()
        .map(|(reason, count)| format!("{reason} {}", grouped(count.parts)))
        .collect();
    let reasons = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    tracing::info!(
        target: "global",
        "parts    {} read = {} merged + {} duplicate + {} late + {} too old + {} refused{reasons} ({topic})",
        grouped(accounting.read.parts),
        grouped(accounting.merged.parts),
        grouped(accounting.duplicate.parts),
        grouped(late),
        grouped(accounting.too_old.parts),
        grouped(refused)
    );
}

/// The configured outputs, each once more for whole values. Nothing of them is kept on disk: what was not
/// delivered is not committed, and whoever owns its partition next reads it again.
fn destinations(parts: &OwnerParts<'_>) -> Result<Vec<Destination>, ServerError> {
    let OwnerParts { config, outputs: configured, clock, hub, .. } = parts;
    let mut destinations = Vec::new();
    for output in &configured.list {
        destinations.push(match output {
            OutputKind::Datadog => {
                let endpoints = forward::endpoints(&settings::endpoints(config))
                    .map_err(ServerError::Endpoints)?;
                let usual = settings::forwarder(config).map_err(ServerError::system("ca_file"))?;
                let own = ForwarderConfig {
                    spool: None,
                    waits_for_room: true,
                    hub: (*hub).clone(),
                    ..usual
                };
                Destination::Forward(Arc::new(Forwarder::start(endpoints, own, (*clock).clone())?))
            }
            OutputKind::None => Destination::Discard(Arc::default()),
            OutputKind::DryRun { bytes } => {
                let endpoints = forward::endpoints(&settings::endpoints_without_key(config))
                    .map_err(ServerError::Endpoints)?;
                let arbitrary = config.allow_arbitrary_tags;
                let shown = DryRun::new(endpoints, arbitrary, *bytes, io::stdout());
                Destination::Show(shown, Arc::default())
            }
            OutputKind::Console => Destination::Console(Tables::default()),
            OutputKind::JsonLines(None) => Destination::Lines(JsonLines::new(io::stdout())),
            OutputKind::JsonLines(Some(path)) => Destination::LinesTo(outputs::json_lines(path)?),
        });
    }
    Ok(destinations)
}
