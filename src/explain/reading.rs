//! The fields of a parsed line.

use super::page::Page;
use crate::context::Tags;
use crate::protocol::{Event, Message, Metric, OriginFields, ServiceCheck, Status, Values};
use crate::text::printable;

/// Maximum number of values shown per line.
const VALUES_SHOWN: usize = 20;

/// Writes one row per field.
pub(super) fn rows(message: &Message<'_>, page: &mut Page) {
    match message {
        Message::Metric(metric) => metric_rows(metric, page),
        Message::Event(event) => event_rows(event, page),
        Message::ServiceCheck(check) => check_rows(check, page),
    }
}

fn metric_rows(metric: &Metric<'_>, page: &mut Page) {
    page.row("kind", metric.kind.word());
    page.row("name", &text(metric.name));
    match metric.values {
        Values::Member(member) => page.row("member", &text(member)),
        values => {
            let count = values.numbers().count();
            let mut shown: Vec<String> =
                values.numbers().take(VALUES_SHOWN).map(|value| value.to_string()).collect();
            if count > VALUES_SHOWN {
                shown.push(format!("and {} more", count - VALUES_SHOWN));
            }
            page.row(if count == 1 { "value" } else { "values" }, &shown.join("  "));
        }
    }
    page.row("rate", &metric.rate.to_string());
    tag_row(metric.tags, page);
    if let Some(seconds) = metric.timestamp {
        page.row("timestamp", &date(seconds));
    }
    origin_rows(&metric.origin, page);
}

fn event_rows(event: &Event<'_>, page: &mut Page) {
    page.row("kind", "event");
    page.row("title", &text(event.title));
    page.row("text", &text(event.text));
    page.row("alert type", event.alert_type.word());
    page.row("priority", event.priority.word());
    optional("key", event.aggregation_key, page);
    optional("source", event.source_type, page);
    notice_rows(event.host, event.tags, event.timestamp, &event.origin, page);
}

fn check_rows(check: &ServiceCheck<'_>, page: &mut Page) {
    page.row("kind", "service check");
    page.row("name", &text(check.name));
    let word = match check.status {
        Status::Ok => "0 (ok)",
        Status::Warning => "1 (warning)",
        Status::Critical => "2 (critical)",
        Status::Unknown => "3 (unknown)",
    };
    page.row("status", word);
    optional("message", check.message, page);
    notice_rows(check.host, check.tags, check.timestamp, &check.origin, page);
}

fn notice_rows(
    host: Option<&[u8]>,
    tags: &[u8],
    timestamp: Option<i64>,
    origin: &OriginFields<'_>,
    page: &mut Page,
) {
    optional("host", host.unwrap_or_default(), page);
    tag_row(tags, page);
    page.row("timestamp", &timestamp.map_or_else(|| "when it arrives".to_owned(), date));
    origin_rows(origin, page);
}

fn tag_row(tags: &[u8], page: &mut Page) {
    page.row("tags", &list(&Tags::from_wire(tags).iter().collect::<Vec<_>>()));
}

fn origin_rows(origin: &OriginFields<'_>, page: &mut Page) {
    let rows = [
        ("local data", origin.local_data),
        ("external", origin.external_data),
        ("card", origin.cardinality),
    ];
    for (label, field) in rows {
        if let Some(field) = field {
            page.row(label, &text(field));
        }
    }
}

fn optional(label: &str, field: &[u8], page: &mut Page) {
    if !field.is_empty() {
        page.row(label, &text(field));
    }
}

/// Tags separated by two spaces, which do not occur within a tag.
pub(super) fn list(tags: &[&[u8]]) -> String {
    let shown = |tag: &&[u8]| if tag.is_empty() { "(empty)".to_owned() } else { text(tag) };
    match tags {
        [] => "none".to_owned(),
        tags => tags.iter().map(shown).collect::<Vec<_>>().join("  "),
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    printable(bytes, usize::MAX)
}

/// The timestamp and, if it is valid, its date in UTC.
fn date(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).map_or_else(
        || seconds.to_string(),
        |time| format!("{seconds} ({})", time.format("%Y-%m-%d %H:%M:%S UTC")),
    )
}
