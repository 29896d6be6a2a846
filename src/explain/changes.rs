//! What changes between a line and what is posted, found by comparing the two.

use std::time::Duration;

use super::blame;
use super::global;
use super::reading::text;
use crate::aggregate::{CheckRecord, EventRecord};
use crate::config::Config;
use crate::context::{Context, Kind, Rules, Tags};
use crate::protocol::{self, Event, Metric, ServiceCheck, Values};

/// The notes on a metric; `context` is the one it was recorded in, if any.
pub(super) fn metric(
    metric: &Metric<'_>,
    context: Option<&Context>,
    rules: &Rules,
    config: &Config,
    now: Duration,
) -> Vec<String> {
    let mut notes = Vec::new();
    value_notes(metric, &mut notes);
    name_notes(metric.name, &mut notes);
    age_notes(metric, now, &mut notes);
    if let Some(context) = context {
        if context.name() != metric.name {
            let namespaced = *rules.namespace.apply(metric.name) == *context.name();
            let rule =
                || blame::mapping(config, metric.name).unwrap_or_else(|| "a rule for names".into());
            let by = if namespaced { "statsd_metric_namespace".to_owned() } else { rule() };
            notes.push(format!("the name becomes {} ({by})", text(context.name())));
        }
        let own: Vec<&[u8]> = context.tags(&[]).iter().collect();
        let removed = |tag: &[u8]| {
            global::gone(tag, context, rules).map(str::to_owned).or_else(|| {
                let filter = blame::tag_filter(config, context.name(), tag)?;
                Some(format!("is removed by {filter}"))
            })
        };
        let added = blame::mapping(config, metric.name);
        let by = By { removed: &removed, added, common: rules.common_tags_of(context) };
        tag_notes(metric.tags, &own, &by, &mut notes);
    }
    if Kind::from(metric.kind) == Kind::Histogram && config.histogram_copy_to_distribution {
        let what = "a distribution gets the same values (histogram_copy_to_distribution)";
        notes.push(what.to_owned());
    }
    notes
}

/// What the intake will not take as it is.
fn name_notes(name: &[u8], notes: &mut Vec<String>) {
    if name.iter().any(u8::is_ascii_whitespace) {
        let spaced = "warning: the name contains a space; it is posted as it is, and the intake expects letters, digits, _ and .";
        notes.push(spaced.to_owned());
    }
}

/// The intake takes points of the last hour (and some minutes of the future).
const AGE_MAX: Duration = Duration::from_secs(3_600);
const AHEAD_MAX: Duration = Duration::from_secs(600);

fn age_notes(metric: &Metric<'_>, now: Duration, notes: &mut Vec<String>) {
    let Some(at) = metric.timestamp.and_then(|at| u64::try_from(at).ok()).map(Duration::from_secs)
    else {
        return;
    };
    if let Some(age) = now.checked_sub(at).filter(|age| *age > AGE_MAX) {
        notes.push(format!(
            "warning: the timestamp is {} min old; it is posted, but an intake keeps only points of about the last hour",
            age.as_secs() / 60
        ));
    } else if let Some(ahead) = at.checked_sub(now).filter(|ahead| *ahead > AHEAD_MAX) {
        notes.push(format!(
            "warning: the timestamp is {} min in the future; it is posted, but an intake keeps only about 10 min of it",
            ahead.as_secs() / 60
        ));
    }
}

fn value_notes(metric: &Metric<'_>, notes: &mut Vec<String>) {
    let kind = Kind::from(metric.kind);
    let valid = metric.rate > 0.0 && metric.rate <= 1.0;
    if !valid {
        notes
            .push(format!("rate {} is out of range (above 0, at most 1): taken as 1", metric.rate));
    } else if metric.rate < 1.0 {
        let factor = 1.0 / metric.rate;
        notes.push(match kind {
            Kind::Gauge | Kind::Set => format!("the rate changes nothing for a {}", kind.word()),
            _ if metric.timestamp.is_some() => {
                "the rate is not applied to a value with a timestamp".to_owned()
            }
            _ => format!("each value counts {factor} times (sample rate)"),
        });
    }
    if let Values::One(_) | Values::Packed(_) = metric.values {
        let all = metric.values.numbers().count();
        let infinite = metric.values.numbers().filter(|value| !value.is_finite()).count();
        if infinite > 0 {
            notes.push(format!("{infinite} of {all} values dropped: not finite"));
        }
        if kind == Kind::Gauge && all > 1 && metric.timestamp.is_none() {
            notes.push("the last of several values is the value of the gauge".to_owned());
        }
    }
    if metric.timestamp.is_some() {
        notes.push(match kind {
            Kind::Counter | Kind::Gauge => {
                "not aggregated: posted at the second of its timestamp".to_owned()
            }
            _ => format!("a {} cannot carry a timestamp", kind.word()),
        });
    }
}

/// The notes on an event.
pub(super) fn event(event: &Event<'_>, posted: Option<&EventRecord>, rules: &Rules) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, field) in [("title", event.title), ("text", event.text)] {
        if *protocol::unescape(field) != *field {
            notes.push(format!("each \\n of the {what} becomes a newline"));
        }
    }
    if let Some(posted) = posted {
        notice_notes(event.tags, event.host, &posted.tags, &posted.host, rules, &mut notes);
    }
    notes
}

/// The notes on a service check.
pub(super) fn check(
    check: &ServiceCheck<'_>,
    posted: Option<&CheckRecord>,
    rules: &Rules,
) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(posted) = posted {
        notice_notes(check.tags, check.host, &posted.tags, &posted.host, rules, &mut notes);
    }
    notes
}

fn notice_notes(
    read: &[u8],
    host: Option<&[u8]>,
    tags: &[Box<[u8]>],
    posted_host: &[u8],
    rules: &Rules,
    notes: &mut Vec<String>,
) {
    let own: Vec<&[u8]> =
        tags.iter().filter(|tag| !rules.common_tags.contains(tag)).map(|tag| &**tag).collect();
    let by = By { removed: &|_| None, added: None, common: &rules.common_tags };
    tag_notes(read, &own, &by, notes);
    let tagged = Tags::from_wire(read).iter().any(|tag| tag.starts_with(b"host:"));
    if host.is_some() && tagged {
        notes.push("h: wins over the host: tag".to_owned());
    }
    if host.is_none() && !posted_host.is_empty() {
        notes.push(format!("the host is {}", text(posted_host)));
    }
}

/// The rules that remove and add tags, in words.
struct By<'a> {
    /// What becomes of a tag, as a phrase after it.
    removed: &'a dyn Fn(&[u8]) -> Option<String>,
    added: Option<String>,
    /// The tags that join it from the configuration.
    common: &'a [Box<[u8]>],
}

/// Notes on tags with a special meaning, and on repeated, removed and added tags. `own` are the posted
/// tags other than the common ones.
fn tag_notes(read: &[u8], own: &[&[u8]], by: &By<'_>, notes: &mut Vec<String>) {
    let read: Vec<&[u8]> = Tags::from_wire(read).iter().collect();
    for (at, tag) in read.iter().enumerate() {
        let shown = text(tag);
        if read[..at].contains(tag) {
            notes.push(format!("tag {shown} is repeated: a tag counts once"));
        } else if by.common.iter().any(|common| **common == **tag) {
            notes.push(format!("tag {shown} is already on everything, from the configuration"));
        } else if !own.contains(tag) {
            let why = (by.removed)(tag).or_else(|| gone(tag).map(str::to_owned));
            notes.push(format!("tag {shown} {}", why.as_deref().unwrap_or("is removed by a rule")));
        } else if tag.starts_with(b"device:") || tag.starts_with(b"dd.internal.resource:") {
            notes.push(format!("tag {shown} is sent to the intake as a resource"));
        }
    }
    for tag in own.iter().filter(|tag| !read.contains(tag)) {
        let by = by.added.as_deref().unwrap_or("a rule");
        notes.push(format!("tag {} comes from {by}", text(tag)));
    }
    for tag in by.common {
        if !read.iter().any(|known| **known == **tag) {
            notes.push(format!("tag {} comes from the configuration", text(tag)));
        }
    }
}

/// Why a tag is not posted.
fn gone(tag: &[u8]) -> Option<&'static str> {
    let meanings: [(&[u8], &str); 4] = [
        (b"host:", "leaves the tags: it sets the host (the last one wins)"),
        (b"dd.internal.entity_id:", "leaves the tags: it names the sender"),
        (b"dd.internal.card:", "leaves the tags: it chooses the cardinality of origin tags"),
        (b"dd.internal.jmx_check_name:", "leaves the tags: it names a JMX integration"),
    ];
    let meaning = meanings.iter().find(|(prefix, _)| tag.starts_with(prefix));
    meaning.map(|(_, meaning)| *meaning)
}
