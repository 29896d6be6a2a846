//! The series of a line that its owner posts: why it is global, which partition it has, what it loses.

use super::blame;
use super::page::Page;
use super::reading::text;
use crate::config::Config;
use crate::context::{Claims, Context, Kind, Rules, Scope};
use crate::part::Key;
use crate::protocol::Metric;

/// Why a tag is not posted, where a series can be global; none for any other tag.
pub(super) fn gone(tag: &[u8], context: &Context, rules: &Rules) -> Option<&'static str> {
    let scope = rules.scope.as_ref()?;
    if Scope::said_by(tag).is_some() {
        return Some("leaves the tags: it decides whether the series is global");
    }
    if !context.is_global() {
        return None;
    }
    if tag.starts_with(b"host:") {
        return Some("leaves the tags, and sets no host: the series is global");
    }
    let names_a_host = tag.starts_with(b"device:") || tag.starts_with(b"dd.internal.resource:");
    (!scope.keeps(tag)).then_some(if names_a_host {
        "is left out: a global series has no host and no device"
    } else {
        "is left out of a global series (global_drop_tags)"
    })
}

/// Who posts the series, and why, where the server can send to the global tier.
pub(super) fn scope_row(
    metric: &Metric<'_>,
    context: &Context,
    rules: &Rules,
    config: &Config,
    page: &mut Page,
) {
    if rules.scope.is_none() {
        return;
    }
    let claims = Claims { fields: metric.origin, sender: b"" };
    let Ok(rewritten) = rules.rewrite(metric.name, metric.tags, &claims) else { return };
    let by_tag = || {
        let tag = metric
            .tags
            .split(|byte| *byte == b',')
            .find(|tag| Scope::said_by(tag) == Some(rewritten.scope.is_global()));
        tag.map_or_else(|| "a tag of its mapping".to_owned(), |tag| format!("tag {}", text(tag)))
    };
    let why = match rewritten.scope {
        Scope::Local => {
            return page.row("scope", "local (no tag and no entry of global_metrics names it)");
        }
        Scope::LocalByTag => return page.row("scope", &format!("local ({})", by_tag())),
        Scope::GlobalByTag => by_tag(),
        Scope::GlobalByRule => blame::global_rule(config, &rewritten.name)
            .unwrap_or_else(|| "global_metrics".to_owned()),
    };
    if metric.timestamp.is_some() {
        let local =
            format!("local: a value with a timestamp is not merged (its series is global, {why})");
        return page.row("scope", &local);
    }
    page.row("scope", &format!("global ({why})"));
    let place = match partition(context, rules, config) {
        Some(_) if context.kind() == Kind::Distribution => {
            "posted here, without a host: the intake adds distributions".to_owned()
        }
        Some(partition) => partition,
        None => "not forwarded: the name or a tag holds a line break".to_owned(),
    };
    page.row("owner", &place);
}

/// `partition 12 of 64 of whippet-global`; none when no owner can take it.
fn partition(context: &Context, rules: &Rules, config: &Config) -> Option<String> {
    let key = Key::new(context.name(), context.tags(rules.common_tags_of(context)).iter())?;
    let partitions = config.global_partitions;
    let partition = key.partition(partitions);
    Some(format!("partition {partition} of {partitions} of {}", config.global_topic))
}
