//! Runs the cases of a script; `main.rs` documents the format.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use whippet::threadstats::{
    Delivery, Event, EventOpts, FlushOutcome, MemoryReporter, Opts, ReportError, Reporter, Series,
    StartOptions, ThreadStats,
};

use super::arguments::Arguments;

const METRIC: &[&str] = &["metric_name", "value", "timestamp", "tags", "sample_rate", "host"];
const SCOPE: &[&str] = &["metric_name", "sample_rate", "tags", "host"];
const EVENT: &[&str] = &[
    "title",
    "message",
    "alert_type",
    "aggregation_key",
    "source_type_name",
    "date_happened",
    "priority",
    "tags",
    "hostname",
];
const START: &[&str] = &[
    "flush_interval",
    "roll_up_interval",
    "device",
    "flush_in_thread",
    "flush_in_greenlet",
    "disabled",
];
const INIT: &[&str] = &["namespace", "constant_tags", "compress_payload"];
const KINDS: &[&str] = &["metrics", "distributions", "events"];

/// What a script printed.
#[derive(Debug)]
pub struct Outcome {
    /// Case id → one entry per flush step.
    pub flushes: Map<String, Value>,
    /// What the client refused, one line per case and reason.
    pub notes: Vec<String>,
}

/// Runs every case of `text`.
///
/// # Errors
/// Anything that is not as the format says, with the case and the number of the step.
pub fn run(text: &str) -> Result<Outcome, String> {
    let script: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let cases = script
        .get("cases")
        .and_then(Value::as_array)
        .ok_or("cases: missing, or not a list: a script is {\"cases\": [case, …]}")?;
    let mut outcome = Outcome { flushes: Map::new(), notes: Vec::new() };
    for (index, case) in cases.iter().enumerate() {
        let id = case.get("id").and_then(Value::as_str).ok_or_else(|| {
            format!("case {} of {}: id: missing, or no text", index + 1, cases.len())
        })?;
        let flushes = Case::begin(case)
            .and_then(|mut run| run.steps(case, id, &mut outcome.notes))
            .map_err(|error| format!("case {id}: {error}"))?;
        if outcome.flushes.insert(id.to_owned(), Value::Array(flushes)).is_some() {
            return Err(format!("case {id}: this id was used before"));
        }
    }
    Ok(outcome)
}

/// A client under test with what its reporter saw and shall refuse.
struct Case {
    stats: ThreadStats,
    memory: MemoryReporter,
    failing: Arc<Mutex<Vec<String>>>,
}

impl Case {
    fn begin(case: &Value) -> Result<Self, String> {
        let none = Map::new();
        let object = |name: &str| match case.get(name) {
            None | Some(Value::Null) => Ok(&none),
            Some(Value::Object(object)) => Ok(object),
            Some(other) => Err(format!("{name}: {other} is not an object")),
        };
        let init =
            Arguments::of(INIT, object("init")?).map_err(|error| format!("init: {error}"))?;
        let mut env = HashMap::new();
        for (name, value) in object("env")? {
            let value =
                value.as_str().ok_or_else(|| format!("env: {name}: {value} is not a text"))?;
            env.insert(name.clone(), value.to_owned());
        }
        let memory = MemoryReporter::default();
        let failing = Arc::default();
        let reporter = Unreliable { memory: memory.clone(), failing: Arc::clone(&failing) };
        let stats = ThreadStats::builder()
            .namespace(init.text("namespace")?.unwrap_or_default())
            .constant_tags(init.texts("constant_tags")?.unwrap_or_default())
            .compress(init.flag("compress_payload")?.unwrap_or_default())
            .env(move |name| env.get(name).cloned())
            .reporter(reporter)
            .flush_on_drop(false)
            .build();
        let started = Case { stats, memory, failing };
        if case.get("start") != Some(&Value::Null) {
            let options = Arguments::of(START, object("start")?).and_then(|given| start(&given));
            started.start(options).map_err(|error| format!("start: {error}"))?;
        }
        Ok(started)
    }

    fn start(&self, options: Result<StartOptions, String>) -> Result<(), String> {
        self.stats.start(&options?).map_err(|error| error.to_string())
    }

    fn steps(
        &mut self,
        case: &Value,
        id: &str,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Value>, String> {
        let steps =
            case.get("steps").and_then(Value::as_array).ok_or("steps: missing, or not a list")?;
        let mut flushes = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let place = format!("step {}", index + 1);
            let step =
                step.as_object().ok_or_else(|| format!("{place}: {step} is not an object"))?;
            let op = step
                .get("op")
                .and_then(Value::as_str)
                .ok_or_else(|| format!("{place}: op: missing, or no text"))?;
            let flushed =
                self.step(op, step).map_err(|error| format!("{place} ({op}): {error}"))?;
            flushes.extend(flushed);
        }
        let lost = self.stats.losses();
        let refused = lost.iter().filter(|(_, count)| *count > 0);
        notes.extend(
            refused.map(|(loss, count)| format!("case {id}: {count} lost: {}", loss.label())),
        );
        Ok(flushes)
    }

    /// Runs one step; a flush gives an entry.
    fn step(&mut self, op: &str, step: &Map<String, Value>) -> Result<Option<Value>, String> {
        let allowed: &[&str] = match op {
            "flush" => &["op", "timestamp"],
            "fail_next" => &["op", "which"],
            "start" => &["op", "kwargs"],
            "stop" => &["op"],
            _ => &["op", "args", "kwargs", "repeat"],
        };
        match op {
            "flush" => {
                only(step, allowed)?;
                return self.flush(step.get("timestamp")).map(Some);
            }
            "fail_next" => {
                only(step, allowed)?;
                let kinds = kinds(step.get("which"))?;
                self.failing.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(kinds);
            }
            "start" => {
                only(step, allowed)?;
                self.start(Arguments::named(START, step).and_then(|given| start(&given)))?;
            }
            "stop" => {
                only(step, allowed)?;
                self.stats.stop();
            }
            _ => {
                let call = Call::named(op).ok_or("unknown operation")?;
                only(step, allowed)?;
                let repeat = match step.get("repeat") {
                    None => 1,
                    Some(times) => times
                        .as_u64()
                        .ok_or_else(|| format!("repeat: {times} is not a number of times"))?,
                };
                call.run(&self.stats, step, repeat)?;
            }
        }
        Ok(None)
    }

    fn flush(&self, timestamp: Option<&Value>) -> Result<Value, String> {
        let timestamp =
            match timestamp {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) if text == "inf" => Some(f64::INFINITY),
                Some(value) => Some(value.as_f64().ok_or_else(|| {
                    format!("timestamp: {value} is neither a number nor \"inf\"")
                })?),
            };
        let returned = match self.stats.flush(timestamp).map_err(|error| error.to_string())? {
            FlushOutcome::Done | FlushOutcome::NotStarted => Value::Null,
            FlushOutcome::Busy | FlushOutcome::Disabled => Value::Bool(false),
        };
        self.failing.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
        let reported = self.memory.take();
        Ok(json!({
            "return": returned,
            "flush_count": self.stats.flush_count(),
            "metrics": reported.metrics,
            "distributions": reported.distributions,
            "events": reported.events,
        }))
    }
}

/// A recording operation with the arguments it knows.
#[derive(Clone, Copy)]
enum Call {
    Number(fn(&ThreadStats, &str, whippet::threadstats::Number, Opts<'_>), Option<i64>),
    Set,
    Scope,
    Event,
}

impl Call {
    fn named(op: &str) -> Option<Self> {
        Some(match op {
            "gauge" => {
                Call::Number(|stats, name, value, opts| stats.gauge(name, value, opts), None)
            }
            "increment" => {
                Call::Number(|stats, name, value, opts| stats.increment(name, value, opts), Some(1))
            }
            "decrement" => {
                Call::Number(|stats, name, value, opts| stats.decrement(name, value, opts), Some(1))
            }
            "histogram" => {
                Call::Number(|stats, name, value, opts| stats.histogram(name, value, opts), None)
            }
            "distribution" => {
                Call::Number(|stats, name, value, opts| stats.distribution(name, value, opts), None)
            }
            "timing" => {
                Call::Number(|stats, name, value, opts| stats.timing(name, value, opts), None)
            }
            "set" => Call::Set,
            "timer" | "timed" => Call::Scope,
            "event" => Call::Event,
            _ => return None,
        })
    }

    fn run(
        self,
        stats: &ThreadStats,
        step: &Map<String, Value>,
        repeat: u64,
    ) -> Result<(), String> {
        let names = match self {
            Call::Number(..) | Call::Set => METRIC,
            Call::Scope => SCOPE,
            Call::Event => EVENT,
        };
        let given = Arguments::bind(names, step)?;
        let tags = given.texts("tags")?;
        if let Call::Event = self {
            let opts = event_opts(&given, tags.as_deref())?;
            let (title, text) = (given.required_text("title")?, given.required_text("message")?);
            (0..repeat).for_each(|_| stats.event(title, text, &opts));
            return Ok(());
        }
        let name = given.required_text("metric_name")?;
        given.number("sample_rate")?; // ignored, but a number
        let opts = Opts {
            timestamp: given.number("timestamp")?,
            tags: tags.as_deref(),
            host: given.text("host")?,
            ..Opts::default()
        };
        match self {
            Call::Number(record, default) => {
                let value = match default {
                    Some(default) => given.number("value")?.unwrap_or(default.into()),
                    None => given.required_number("value")?,
                };
                (0..repeat).for_each(|_| record(stats, name, value, opts));
            }
            Call::Set => {
                let member = given.member("value")?;
                (0..repeat).for_each(|_| stats.set(name, member, opts));
            }
            Call::Scope => (0..repeat).for_each(|_| drop(stats.timer(name, opts))),
            Call::Event => {} // done above
        }
        Ok(())
    }
}

fn event_opts<'a>(
    given: &Arguments<'a>,
    tags: Option<&'a [&'a str]>,
) -> Result<EventOpts<'a>, String> {
    Ok(EventOpts {
        alert_type: given.text("alert_type")?,
        aggregation_key: given.text("aggregation_key")?,
        source_type_name: given.text("source_type_name")?,
        date_happened: given.number("date_happened")?,
        priority: given.text("priority")?,
        tags,
        host: given.text("hostname")?,
    })
}

fn start(given: &Arguments<'_>) -> Result<StartOptions, String> {
    given.flag("flush_in_thread")?; // known, but no thread flushes here
    given.flag("flush_in_greenlet")?;
    let mut options = StartOptions::manual();
    if let Some(seconds) = given.number("flush_interval")? {
        options.flush_interval = seconds.as_f64();
    }
    if let Some(seconds) = given.number("roll_up_interval")? {
        options.roll_up_interval = seconds;
    }
    options.device = given.text("device")?.map(str::to_owned);
    options.disabled = given.flag("disabled")?.unwrap_or_default();
    Ok(options)
}

fn kinds(which: Option<&Value>) -> Result<Vec<String>, String> {
    let which = which.and_then(Value::as_array).ok_or("which: missing, or not a list")?;
    let known = |kind: &Value| {
        let kind = kind.as_str().filter(|kind| KINDS.contains(kind)).map(str::to_owned);
        kind.ok_or_else(|| format!("which: known are {}", KINDS.join(", ")))
    };
    which.iter().map(known).collect()
}

fn only(step: &Map<String, Value>, allowed: &[&str]) -> Result<(), String> {
    match step.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => Err(format!("{key}: unknown key; known are {}", allowed.join(", "))),
        None => Ok(()),
    }
}

/// Keeps what it is given, unless it has to fail.
struct Unreliable {
    memory: MemoryReporter,
    failing: Arc<Mutex<Vec<String>>>,
}

impl Unreliable {
    fn fail(&self, kind: &str) -> Result<(), ReportError> {
        let failing = self.failing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if failing.iter().any(|failing| failing == kind) {
            return Err(ReportError::Other("made to fail".to_owned()));
        }
        Ok(())
    }
}

impl Reporter for Unreliable {
    fn flush_metrics(&mut self, metrics: &[Series]) -> Result<Delivery, ReportError> {
        self.fail("metrics")?;
        self.memory.flush_metrics(metrics)
    }

    fn flush_distributions(&mut self, distributions: &[Series]) -> Result<Delivery, ReportError> {
        self.fail("distributions")?;
        self.memory.flush_distributions(distributions)
    }

    fn flush_events(&mut self, events: &[Event]) -> Result<Delivery, ReportError> {
        self.fail("events")?;
        self.memory.flush_events(events)
    }
}
