//! Payloads taken apart into what was posted: series, sketches, events, checks.

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::encode::{Payload, Route, readable};

/// One series, sketch, event or check, as it stands in a body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Posted {
    pub route: Route,
    pub item: Value,
}

/// Everything in these payloads, in an order that depends only on what it is: by time, route, name
/// and then all else.
pub(super) fn of(payloads: &[Payload]) -> anyhow::Result<Vec<Posted>> {
    let mut all = Vec::new();
    for payload in payloads {
        let body = readable(payload).map_err(|error| anyhow!("reading our own body: {error}"))?;
        let route = payload.route;
        all.extend(items(route, body).into_iter().map(|item| Posted { route, item }));
    }
    all.sort_by_cached_key(|posted| {
        let time = posted.time();
        (time, posted.route as usize, posted.name().to_owned(), posted.item.to_string())
    });
    Ok(all)
}

fn items(route: Route, mut body: Value) -> Vec<Value> {
    let list = |value: Value| match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    match route {
        Route::SeriesV2 | Route::SeriesV1 => list(body["series"].take()),
        Route::Sketches => list(body["sketches"].take()),
        Route::ServiceChecks => list(body),
        Route::Events => {
            // Grouped by source type, which each event names itself, too.
            let Value::Object(groups) = body["events"].take() else { return Vec::new() };
            groups.into_iter().flat_map(|(_, events)| list(events)).collect()
        }
    }
}

impl Posted {
    pub fn name(&self) -> &str {
        let field = match self.route {
            Route::SeriesV2 | Route::SeriesV1 | Route::Sketches => "metric",
            Route::Events => "msg_title",
            Route::ServiceChecks => "check",
        };
        self.item[field].as_str().unwrap_or_default()
    }

    pub fn host(&self) -> String {
        let host = match self.route {
            Route::SeriesV2 => self.resource("host"),
            Route::SeriesV1 | Route::Sketches | Route::Events => &self.item["host"],
            Route::ServiceChecks => &self.item["host_name"],
        };
        host.as_str().unwrap_or_default().to_owned()
    }

    /// Sorted; a device is one of them, whatever the format makes of it.
    pub fn tags(&self) -> Vec<String> {
        let list = self.item["tags"].as_array().into_iter().flatten();
        let mut tags: Vec<String> =
            list.filter_map(|tag| tag.as_str().map(ToOwned::to_owned)).collect();
        if self.route == Route::SeriesV2 {
            for resource in self.item["resources"].as_array().into_iter().flatten() {
                let (kind, name) = (resource["type"].as_str(), resource["name"].as_str());
                match (kind.unwrap_or_default(), name.unwrap_or_default()) {
                    ("host", _) => {}
                    ("device", name) => tags.push(format!("device:{name}")),
                    (kind, name) => tags.push(format!("dd.internal.resource:{kind}:{name}")),
                }
            }
        }
        if let Some(device) = self.item["device"].as_str() {
            tags.push(format!("device:{device}"));
        }
        tags.sort_unstable();
        tags
    }

    fn resource(&self, kind: &str) -> &Value {
        let resources = self.item["resources"].as_array().into_iter().flatten();
        let mut found = resources.filter(|resource| resource["type"] == kind);
        found.next().map_or(&Value::Null, |resource| &resource["name"])
    }

    /// `rate 10s`, `count 10s`, `gauge`, `sketch`, `event`, `check`.
    pub fn kind(&self) -> String {
        let word = match self.route {
            Route::SeriesV1 => self.item["type"].as_str().unwrap_or_default().to_owned(),
            // The numbers of the intake's schema.
            Route::SeriesV2 => match self.item["type"].as_i64() {
                Some(1) => "count".to_owned(),
                Some(2) => "rate".to_owned(),
                Some(3) => "gauge".to_owned(),
                other => format!("type {}", other.unwrap_or_default()),
            },
            Route::Sketches => "sketch".to_owned(),
            Route::Events => "event".to_owned(),
            Route::ServiceChecks => "check".to_owned(),
        };
        match self.item["interval"].as_u64() {
            Some(seconds @ 1..) if word != "gauge" => format!("{word} {seconds}s"),
            _ => word,
        }
    }

    /// Seconds and value of every point.
    pub fn points(&self) -> Vec<(i64, Value)> {
        let list = |field: &str| self.item[field].as_array().into_iter().flatten();
        let second = |value: &Value| value.as_i64().unwrap_or_default();
        match self.route {
            Route::SeriesV1 => {
                list("points").map(|point| (second(&point[0]), as_float(&point[1]))).collect()
            }
            Route::SeriesV2 => list("points")
                .map(|point| (second(&point["timestamp"]), as_float(&point["value"])))
                .collect(),
            Route::Sketches => {
                list("dogsketches").map(|one| (second(&one["ts"]), one.clone())).collect()
            }
            Route::Events | Route::ServiceChecks => {
                vec![(second(&self.item["timestamp"]), self.item.clone())]
            }
        }
    }

    fn time(&self) -> i64 {
        self.points().first().map_or(0, |(second, _)| *second)
    }

    /// One JSON object: the route, then what stands in the body.
    pub fn json(&self) -> String {
        let mut line = json!({ "route": self.route.label() });
        if let (Value::Object(line), Value::Object(item)) = (&mut line, &self.item) {
            line.extend(item.clone());
        }
        line.to_string()
    }

    /// `12:00:10Z  rate 10s  page.views {env:prod} web-1  0.3`
    pub fn text(&self) -> String {
        let series = series_text(self.name(), &self.tags(), &self.host());
        let mut text = String::new();
        for (second, value) in self.points() {
            let value = value_text(self.route, &value);
            text += &format!("{}  {}  {series}  {value}\n", time_text(second), self.kind());
        }
        text.pop();
        text
    }
}

/// The same number whether it stood in JSON or in protobuf.
fn as_float(value: &Value) -> Value {
    value.as_f64().map_or(Value::Null, Value::from)
}

/// `name {tag,tag} host`, as far as there are any.
pub(super) fn series_text(name: &str, tags: &[String], host: &str) -> String {
    let tags = if tags.is_empty() { String::new() } else { format!(" {{{}}}", tags.join(",")) };
    let host = if host.is_empty() { String::new() } else { format!(" on {host}") };
    format!("{name}{tags}{host}")
}

/// `2026-01-02T12:00:10Z`; the number where it is no time.
pub(super) fn time_text(second: i64) -> String {
    chrono::DateTime::from_timestamp(second, 0).map_or_else(
        || second.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    )
}

/// A value for people.
pub(super) fn value_text(route: Route, value: &Value) -> String {
    match route {
        Route::SeriesV1 | Route::SeriesV2 => value.to_string(),
        Route::Sketches => format!(
            "count {} min {} max {} avg {} sum {}",
            value["cnt"], value["min"], value["max"], value["avg"], value["sum"]
        ),
        Route::Events => value["msg_text"].to_string(),
        Route::ServiceChecks => format!("status {} {}", value["status"], value["message"]),
    }
}
