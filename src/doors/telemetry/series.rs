//! `generate-metrics`, `distributions` and `sketches`: names, tags, kinds and points.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use super::super::{Reason, Value, json};
use super::message::{Series, SeriesList};
use super::{Speaker, whole_second};
use crate::ddsketch::{DdSketch, Unit, recode};

/// Where the vendor keeps these metrics.
const PREFIX: &str = "dd.instrumentation_telemetry_data.";
/// Of series and payloads that name no other.
const NAMESPACE: &str = "general";
/// Seconds a rate is about when it does not say, as on the API.
const INTERVAL: f64 = 10.0;
/// Points that are looked at together; it bounds memory, no client sends as many.
const CHUNK: usize = 4096;

/// Base64 of sketches, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Points with a time.
pub(super) fn metrics(payload: Option<&RawValue>, speaker: &mut Speaker<'_, '_>) {
    each_series(payload, speaker, |series, speaker| {
        let value: fn(f64) -> Value<'static> = match &*series.kind {
            "count" | "rate" => |value| Value::Count(value),
            "gauge" => |value| Value::Gauge(value),
            _ => return speaker.refuse(Reason::Value),
        };
        let is_rate = &*series.kind == "rate" && speaker.divides_rates;
        let Some(factor) = (if is_rate { seconds(series.interval) } else { Some(1.0) }) else {
            return speaker.refuse(Reason::Value);
        };
        let mut points = Vec::new();
        let is_list = json::each(series.points, |raw| {
            match json::value::<(f64, f64)>(raw).map(|(time, value)| (time, value * factor)) {
                Some((time, value)) if value.is_finite() => points.push((time, value)),
                _ => speaker.refuse(Reason::Value),
            }
            if points.len() == CHUNK {
                put_points(&mut points, value, speaker);
            }
        });
        put_points(&mut points, value, speaker);
        if !is_list {
            speaker.refuse(Reason::Value);
        }
    });
}

/// Seconds of a rate; none when they cannot be.
fn seconds(interval: Option<f64>) -> Option<f64> {
    match interval {
        None | Some(0.0) => Some(INTERVAL),
        Some(seconds) => (seconds.is_finite() && seconds > 0.0).then_some(seconds),
    }
}

/// In the order of their times: of a gauge's points within a second the last one stands.
fn put_points(
    points: &mut Vec<(f64, f64)>,
    value: impl Fn(f64) -> Value<'static>,
    speaker: &mut Speaker<'_, '_>,
) {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (time, number) in points.drain(..) {
        speaker.put(whole_second(time), value(number));
    }
}

/// Values without a time.
pub(super) fn distributions(payload: Option<&RawValue>, speaker: &mut Speaker<'_, '_>) {
    each_series(payload, speaker, |series, speaker| {
        let second = speaker.second;
        let mut values = Vec::new();
        let is_list = json::each(series.points, |raw| {
            match json::value::<f64>(raw).filter(|value| value.is_finite()) {
                Some(value) => values.push(value),
                None => speaker.refuse(Reason::Value),
            }
            if values.len() == CHUNK {
                speaker.put(second, Value::Samples(&values));
                values.clear();
            }
        });
        if !values.is_empty() {
            speaker.put(second, Value::Samples(&values));
        }
        if !is_list {
            speaker.refuse(Reason::Value);
        }
    });
}

/// Distributions that the client keeps in bins.
pub(super) fn sketches(payload: Option<&RawValue>, speaker: &mut Speaker<'_, '_>) {
    each_series(payload, speaker, |series, speaker| {
        let bytes = BASE64.decode(&*series.sketch_b64).ok().filter(|bytes| !bytes.is_empty());
        let read = bytes.and_then(|bytes| DdSketch::read(&bytes, speaker.rounding).ok());
        match read.and_then(|sketch| recode(&sketch, Unit::One).ok()) {
            Some(sketch) if sketch.is_empty() => {}
            Some(sketch) => speaker.put(speaker.second, Value::Sketch(&sketch)),
            None => speaker.refuse(Reason::Sketch),
        }
    });
}

/// Calls `take` for every series that has a name, with its name and tags in place.
fn each_series(
    payload: Option<&RawValue>,
    speaker: &mut Speaker<'_, '_>,
    take: impl Fn(&Series<'_>, &mut Speaker<'_, '_>),
) {
    let Some(payload) = payload else { return };
    let Some(list) = json::object::<SeriesList<'_>>(payload) else {
        return speaker.refuse(Reason::Value);
    };
    let is_list = json::each(list.series, |raw| {
        let series = json::object::<Series<'_>>(raw).filter(|series| !series.metric.is_empty());
        match series {
            Some(series) if set_tags(&series, speaker) => {
                set_name(&series, &list.namespace, speaker);
                take(&series, speaker);
            }
            _ => speaker.refuse(Reason::Value),
        }
    });
    if !is_list {
        speaker.refuse(Reason::Value);
    }
}

/// `dd.instrumentation_telemetry_data.<namespace>.<metric>`; a metric of one language has the language
/// before it, which js writes itself.
fn set_name(series: &Series<'_>, of_payload: &str, speaker: &mut Speaker<'_, '_>) {
    let namespaces = [&*series.namespace, of_payload, NAMESPACE];
    let namespace = namespaces.into_iter().find(|name| !name.is_empty()).unwrap_or(NAMESPACE);
    let (metric, language) = (&*series.metric, speaker.language);
    let begins_so = metric.strip_prefix(language).is_some_and(|rest| rest.starts_with('.'));
    if series.common == Some(false) && !language.is_empty() && !begins_so {
        let parts = [PREFIX, namespace, ".", language, ".", metric];
        speaker.naming.write(&mut speaker.name, &parts);
    } else {
        speaker.naming.write(&mut speaker.name, &[PREFIX, namespace, ".", metric]);
    }
}

/// The tags of the series as they are, then those of the application. False when one is no text.
fn set_tags(series: &Series<'_>, speaker: &mut Speaker<'_, '_>) -> bool {
    speaker.tags.clear();
    let mut are_texts = true;
    let is_list = json::each(series.tags, |raw| match json::value::<json::Text<'_>>(raw) {
        Some(tag) if tag.is_empty() => {}
        Some(tag) => speaker.tags.push(tag.as_bytes()),
        None => are_texts = false,
    });
    speaker.add_common_tags();
    is_list && are_texts
}
