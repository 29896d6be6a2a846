//! The Datadog output: rows become payloads, payloads go to every endpoint.

use std::io::Stdout;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::encode::{
    CheckEncoder, Compression, EncodeCounts, EventEncoder, Payload, PayloadLimits, Route,
    SeriesEncoder, SeriesFormat, SketchEncoder,
};
use crate::flush::FlushView;
use crate::forward::Forwarder;
use crate::output::{DryRun, JsonLines, Output};
use crate::telemetry::{Event, EventKind, Hub};

/// Where finished payloads go.
pub(crate) enum Delivery {
    /// To the endpoints.
    Forward(Arc<Forwarder>),
    /// Nowhere (`WHIPPET_OUTPUT=none`): counted and forgotten.
    Discard(Arc<Mutex<Discarded>>),
    /// To whoever asked for them; nothing is posted.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "for a command of the program"))]
    HandOver(Sender<Payload>),
    /// To standard output (`WHIPPET_OUTPUT=dry-run`), and counted.
    Show(DryRun<Stdout>, Arc<Mutex<Discarded>>),
}

/// What was built and not delivered on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discarded {
    /// Request bodies.
    pub payloads: u64,
    /// Points in them.
    pub points: u64,
    /// Of them, by route.
    pub points_of: [u64; Route::ALL.len()],
    /// Compressed bytes of them.
    pub bytes: u64,
}

/// What an output to the Datadog API needs to know.
pub(crate) struct DatadogSettings {
    /// Format of the series bodies.
    pub series_format: SeriesFormat,
    /// Compression of protobuf bodies.
    pub protobuf: Compression,
    /// Compression of JSON bodies.
    pub json: Compression,
    pub limits: PayloadLimits,
    /// The host of events without one; empty for none.
    pub host: String,
    pub enabled: EnabledPayloads,
    /// Length of a bucket: half of it is the longest wait for a slow endpoint.
    pub interval: Duration,
    /// Log what is posted, readable (`log_payloads`).
    pub logged: bool,
}

/// Which payloads are posted (`enable_payloads.*`).
#[derive(Clone, Copy)]
pub(crate) struct EnabledPayloads {
    pub series: bool,
    pub sketches: bool,
    pub events: bool,
    pub checks: bool,
}

pub(crate) struct DatadogOutput {
    series: SeriesEncoder,
    sketches: SketchEncoder,
    events: EventEncoder,
    checks: CheckEncoder,
    enabled: EnabledPayloads,
    delivery: Delivery,
    clock: Clock,
    interval: Duration,
    logged: bool,
    hub: Hub,
}

impl DatadogOutput {
    /// # Errors
    /// When a compressor cannot be made.
    pub fn new(
        settings: DatadogSettings,
        delivery: Delivery,
        clock: Clock,
        hub: Hub,
    ) -> std::io::Result<Self> {
        let DatadogSettings { series_format, protobuf, json, limits, host, .. } = settings;
        let series = match series_format {
            SeriesFormat::V1 => json,
            SeriesFormat::V2 => protobuf,
        };
        Ok(DatadogOutput {
            series: SeriesEncoder::new(series_format, series, &limits)?,
            sketches: SketchEncoder::new(protobuf, &limits)?,
            events: EventEncoder::new(json, &limits, host.as_bytes())?,
            checks: CheckEncoder::new(json, &limits)?,
            enabled: settings.enabled,
            delivery,
            clock,
            interval: settings.interval,
            logged: settings.logged,
            hub,
        })
    }
}

impl Output for DatadogOutput {
    fn flush(&mut self, flush: &FlushView<'_>) {
        let built_at = self.clock.unix().as_secs();
        if self.logged {
            log_readable(flush);
        }
        // A healthy endpoint is waited for, but the next bucket must find the flusher free.
        let wait_until = Instant::now() + self.interval / 2;
        let DatadogOutput { series, sketches, events, checks, enabled, delivery, hub, .. } = self;
        let mut deliver = |payload: Payload| {
            payload_built(hub, &payload);
            delivery.take(&payload, wait_until);
        };
        series.begin(built_at);
        sketches.begin(built_at);
        events.begin(built_at);
        checks.begin(built_at);
        flush.visit(&mut |row| {
            if enabled.series {
                series.push_context(row.series, &mut deliver);
            }
            if let Some(sketch) = row.sketch.as_ref().filter(|_| enabled.sketches) {
                sketches.push(sketch, &mut deliver);
            }
        });
        let mut counts = series.finish(&mut deliver);
        counts += sketches.finish(&mut deliver);
        if enabled.events {
            counts += events.encode(flush.events(), &mut deliver);
        }
        if enabled.checks {
            flush.checks().iter().for_each(|check| checks.push(check, &mut deliver));
        }
        counts += checks.finish(&mut deliver);
        report_left_out(counts);
        log_accounting(&self.delivery);
    }
}

fn payload_built(hub: &Hub, payload: &Payload) {
    hub.emit(EventKind::PayloadBuilt, || Event::PayloadBuilt {
        route: payload.route.label(),
        items: payload.items,
        raw_bytes: payload.uncompressed_bytes,
        compressed_bytes: payload.body.len(),
    });
}

/// Everything a flush posts, as JSON lines at debug level.
fn log_readable(flush: &FlushView<'_>) {
    let mut text = Vec::new();
    JsonLines::new(&mut text).flush(flush);
    for line in String::from_utf8_lossy(&text).lines() {
        tracing::debug!(target: "encode", "{line}");
    }
}

/// Logs the accounting of every endpoint at debug level.
fn log_accounting(delivery: &Delivery) {
    if !tracing::enabled!(target: "forward", tracing::Level::DEBUG) {
        return;
    }
    if let Delivery::Forward(forwarder) = delivery {
        for endpoint in forwarder.accounting().endpoints {
            let (name, key) = (&endpoint.name, &endpoint.key_shown);
            tracing::debug!(target: "forward", "{name} with key {key}: {endpoint}");
        }
    }
}

impl Delivery {
    fn take(&mut self, payload: &Payload, wait_until: Instant) {
        match self {
            Delivery::Forward(forwarder) => forwarder.submit(payload, wait_until),
            Delivery::Discard(discarded) => count(discarded, payload),
            // One that went away wants no more.
            Delivery::HandOver(to) => drop(to.send(payload.clone())),
            Delivery::Show(shown, discarded) => {
                shown.show(payload);
                count(discarded, payload);
            }
        }
    }
}

fn count(discarded: &Mutex<Discarded>, payload: &Payload) {
    discarded.lock().unwrap_or_else(PoisonError::into_inner).add(payload);
}

impl Discarded {
    pub(crate) fn add(&mut self, payload: &Payload) {
        self.payloads += 1;
        self.points += payload.points as u64;
        self.points_of[payload.route as usize] += payload.points as u64;
        self.bytes += payload.body.len() as u64;
    }
}

/// Warns of what no payload could hold.
pub(crate) fn report_left_out(counts: EncodeCounts) {
    if counts.items_too_big > 0 {
        tracing::warn!(
            target: "encode",
            "dropped {} items too big for a payload of their own ({} points); raise serializer_max_*_payload_size or send fewer tags",
            counts.items_too_big,
            counts.points_too_big
        );
    }
    if counts.items_failed > 0 {
        tracing::error!(target: "encode", "the compressor failed on {} items; they are lost", counts.items_failed);
    }
}
