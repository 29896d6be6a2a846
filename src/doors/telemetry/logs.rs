//! `logs`: how many lines of which level. Their text is skipped.

use serde_json::value::RawValue;

use super::super::{Reason, Value, json};
use super::message::{Log, LogList};
use super::{Speaker, whole_second};

/// The counter of log lines.
const LOGS: &str = "whippet.telemetry.logs";

pub(super) fn count(payload: Option<&RawValue>, speaker: &mut Speaker<'_, '_>) {
    let Some(payload) = payload else { return };
    let Some(list) = json::object::<LogList<'_>>(payload) else {
        return speaker.refuse(Reason::Value);
    };
    speaker.naming.write(&mut speaker.name, &[LOGS]);
    let is_list = json::each(list.logs, |raw| match json::object::<Log<'_>>(raw) {
        Some(log) => count_line(&log, speaker),
        None => speaker.refuse(Reason::Value),
    });
    if !is_list {
        speaker.refuse(Reason::Value);
    }
}

fn count_line(log: &Log<'_>, speaker: &mut Speaker<'_, '_>) {
    let count = log.count.unwrap_or(1.0);
    if !(count.is_finite() && count >= 0.0) {
        return speaker.refuse(Reason::Value);
    }
    speaker.tags.clear();
    speaker.tags.pair("level", log.level.to_lowercase().as_bytes());
    speaker.add_common_tags();
    let second = log.tracer_time.map_or(speaker.second, whole_second);
    speaker.put(second, Value::Count(count));
}
