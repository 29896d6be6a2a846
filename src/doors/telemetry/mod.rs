//! `POST /telemetry/proxy/api/v2/apmtelemetry`: what client libraries say of themselves.
//!
//! In: messages of all dialects, alone or in batches. Out: their metrics under the vendor's own names,
//! how many log lines of which level they wrote, and how many processes are alive. Promise: the text of
//! no log line is read, let alone kept. Refusal: configurations, dependencies, integrations and endpoints
//! only show that their sender is alive.

mod logs;
mod message;
mod runtimes;
mod series;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;

use super::{
    Answer, Door, DoorsAccounting, Naming, Part, Reason, Refusal, Request, SharedNaming, Sink,
    TagList, Value, json,
};
use crate::clock::Clock;
use crate::ddsketch::Rounding;
use message::{Application, Envelope, Message, MessageType};
use runtimes::{Full, Runtimes};

/// The gauge of live processes.
const RUNTIMES: &str = "whippet.telemetry.runtimes";

/// The route. See the module.
#[derive(Debug)]
pub(crate) struct Telemetry {
    naming: SharedNaming,
    clock: Clock,
    accounting: Arc<DoorsAccounting>,
    runtimes: Mutex<Runtimes>,
}

impl Telemetry {
    pub fn new(
        naming: impl Into<SharedNaming>,
        clock: Clock,
        accounting: Arc<DoorsAccounting>,
    ) -> Self {
        let naming = naming.into();
        Telemetry { naming, clock, accounting, runtimes: Mutex::default() }
    }

    fn runtimes(&self) -> std::sync::MutexGuard<'_, Runtimes> {
        // Each of its changes is complete in itself.
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_message(
        &self,
        kind: MessageType,
        payload: Option<&RawValue>,
        speaker: &mut Speaker<'_, '_>,
    ) {
        self.accounting.telemetry_message(kind == MessageType::Unknown);
        match kind {
            MessageType::Metrics => series::metrics(payload, speaker),
            MessageType::Distributions => series::distributions(payload, speaker),
            MessageType::Sketches => series::sketches(payload, speaker),
            MessageType::Logs => logs::count(payload, speaker),
            MessageType::Started | MessageType::Closing => self.note_life(kind, speaker),
            MessageType::Batch | MessageType::Other | MessageType::Unknown => {}
        }
    }

    /// Notes what a message says about its process being alive. Any request shows that it is.
    fn note_life(&self, kind: MessageType, speaker: &mut Speaker<'_, '_>) {
        let (id, tags, now) = (speaker.runtime_id, &speaker.common, speaker.request.now);
        let heard = match kind {
            MessageType::Started => self.runtimes().started(id, tags, now),
            MessageType::Closing => {
                let mut runtimes = self.runtimes();
                let heard = runtimes.heard(id, tags, now);
                runtimes.closing(id, now);
                heard
            }
            _ => self.runtimes().heard(id, tags, now),
        };
        if heard == Err(Full) && !speaker.refused_for_life {
            speaker.refused_for_life = true;
            speaker.sink.refuse(Reason::Limit);
        }
    }
}

impl Door for Telemetry {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let envelope: Envelope<'_> = json::body(request.body)?;
        let application = match envelope.application {
            None => Application::default(),
            Some(raw) => json::object(raw).ok_or_else(|| {
                Refusal::decode("application: expected an object whose fields are texts")
            })?,
        };
        let naming = self.naming.get();
        let mut speaker = Speaker::new(&naming, request, &envelope, &application, sink);
        let kind = match &*envelope.request_type {
            "" => request.header("dd-telemetry-request-type").unwrap_or_default(),
            kind => kind,
        };
        match MessageType::of(kind) {
            MessageType::Batch => {
                let is_list =
                    json::each(envelope.payload, |raw| match json::object::<Message<'_>>(raw) {
                        // A batch in a batch is nothing that a client sends.
                        Some(message) => match MessageType::of(&message.request_type) {
                            MessageType::Batch => {
                                self.take_message(MessageType::Unknown, None, &mut speaker);
                            }
                            kind => self.take_message(kind, message.payload, &mut speaker),
                        },
                        None => speaker.sink.refuse(Reason::Value),
                    });
                if !is_list {
                    speaker.sink.refuse(Reason::Value);
                }
            }
            kind => self.take_message(kind, envelope.payload, &mut speaker),
        }
        self.note_life(MessageType::Other, &mut speaker);
        Ok(Answer::ok())
    }

    fn interval_ended(&self, start: u64, sink: &mut dyn Sink) {
        let counts = self.runtimes().counts(self.clock.unix());
        let mut name = Vec::new();
        self.naming.get().write(&mut name, &[RUNTIMES]);
        for (tags, live) in counts {
            sink.put(&Part {
                name: &name,
                tags: &tags,
                host: b"",
                second: i64::try_from(start).unwrap_or(i64::MAX),
                value: Value::Gauge(live as f64),
            });
        }
    }
}

/// Who sends a request, and where its parts go.
struct Speaker<'a, 'b> {
    naming: &'a Naming,
    request: &'a Request<'b>,
    language: &'a str,
    runtime_id: &'a str,
    /// libdatadog sends rates as sums, all others divide by the interval.
    divides_rates: bool,
    /// How the writer of sketches rounds.
    rounding: Rounding,
    /// The second of parts that carry no time of their own.
    second: i64,
    /// Tags of the application: those of the processes, the last ones of every series.
    common: TagList,
    /// Tags of the current series; the memory is reused.
    tags: TagList,
    /// Name of the current series; the memory is reused.
    name: Vec<u8>,
    /// Processes are counted once per request when there is no room for this one.
    refused_for_life: bool,
    sink: &'a mut dyn Sink,
}

impl<'a, 'b> Speaker<'a, 'b> {
    fn new(
        naming: &'a Naming,
        request: &'a Request<'b>,
        envelope: &'a Envelope<'_>,
        application: &'a Application<'_>,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let mut common = TagList::default();
        for (key, value) in [
            ("service", application.service_name.as_bytes()),
            ("env", naming.env(application.env.as_bytes())),
            ("version", application.service_version.as_bytes()),
            ("language", application.language_name.as_bytes()),
            ("tracer_version", application.tracer_version.as_bytes()),
        ] {
            common.pair(key, value);
        }
        let agent = request.header("user-agent").unwrap_or_default();
        Speaker {
            naming,
            request,
            language: &application.language_name,
            runtime_id: &envelope.runtime_id,
            divides_rates: !agent.starts_with("telemetry/"),
            rounding: request.rounding(),
            second: envelope.tracer_time.map_or(request.now.as_secs() as i64, whole_second),
            common,
            tags: TagList::default(),
            name: Vec::new(),
            refused_for_life: false,
            sink,
        }
    }

    /// Records one value of the current series.
    fn put(&mut self, second: i64, value: Value<'_>) {
        self.sink.put(&Part { name: &self.name, tags: &self.tags, host: b"", second, value });
    }

    /// Counts what could not be read.
    fn refuse(&mut self, reason: Reason) {
        self.sink.refuse(reason);
    }

    /// Adds the tags of the application to those of the current series.
    fn add_common_tags(&mut self) {
        self.common.iter().for_each(|tag| self.tags.push(tag));
    }
}

/// The second a time lies in; what is out of range becomes a time that is refused or late.
fn whole_second(time: f64) -> i64 {
    time.floor() as i64
}
