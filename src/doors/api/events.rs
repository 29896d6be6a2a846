//! `POST /api/v1/events`: one event.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{Bad, refusal, second, tag_list};
use crate::aggregate::EventRecord;
use crate::doors::json::{self, Text};
use crate::doors::{Answer, Door, Refusal, Request, Sink};
use crate::protocol::{AlertType, Priority};

pub(super) struct Events;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
    date_happened: Option<f64>,
    #[serde(borrow)]
    priority: Text<'a>,
    #[serde(borrow)]
    alert_type: Text<'a>,
    #[serde(borrow)]
    host: Text<'a>,
    #[serde(borrow)]
    device_name: Text<'a>,
    #[serde(borrow)]
    aggregation_key: Text<'a>,
    #[serde(borrow)]
    source_type_name: Text<'a>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

impl Door for Events {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let body: Body<'_> = json::body(request.body)?;
        match event(&body, request.now.as_secs()) {
            Ok(event) => {
                sink.event(event);
                Ok(super::accepted())
            }
            Err(bad) => {
                sink.refuse(bad.reason);
                Err(refusal("", bad))
            }
        }
    }
}

fn event(body: &Body<'_>, now: u64) -> Result<EventRecord, Bad> {
    if body.title.is_empty() {
        return Err(Bad::value("title", "a text"));
    }
    let text = |text: &str| Box::from(text.as_bytes());
    Ok(EventRecord {
        title: text(&body.title),
        text: text(&body.text),
        timestamp: time_or_now("date_happened", body.date_happened, now)?,
        // Differs: the API refuses words it does not know; an event is worth more than its colour.
        priority: if &*body.priority == "low" { Priority::Low } else { Priority::Normal },
        alert_type: match &*body.alert_type {
            "warning" => AlertType::Warning,
            "error" => AlertType::Error,
            "success" => AlertType::Success,
            _ => AlertType::Info,
        },
        host: text(&body.host),
        aggregation_key: text(&body.aggregation_key),
        source_type: text(&body.source_type_name),
        tags: tag_list(body.tags, &body.device_name)?,
    })
}

/// A time that may be missing, null or 0: then it is now.
pub(super) fn time_or_now(field: &'static str, time: Option<f64>, now: u64) -> Result<i64, Bad> {
    let second = second(field, time.unwrap_or_default())?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Ok(if second == 0 { now } else { second })
}
