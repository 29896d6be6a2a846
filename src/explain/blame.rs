//! Which rule of the configuration changed or dropped a metric: its profile, mapping or filter entry.
//!
//! Found by trying each rule alone with the code that applies it, so that it is the one that applied.

use super::reading::text;
use crate::config::Config;
use crate::context::{Mapper, NameFilter, Namespace, Rules, ScopeRules};

/// `mapper profile airflow, match "airflow.*"`: the mapping that applies to a raw name.
pub(super) fn mapping(config: &Config, name: &[u8]) -> Option<String> {
    for profile in &config.dogstatsd_mapper_profiles {
        let mut one = profile.clone();
        for mapping in &profile.mappings {
            one.mappings = vec![mapping.clone()];
            let (mapper, _) = Mapper::new(std::slice::from_ref(&one));
            let mapped = mapper.map(name);
            if *mapped.name != *name || !mapped.tags.is_empty() {
                let (profile, pattern) =
                    (text(profile.name.as_bytes()), text(mapping.pattern.as_bytes()));
                return Some(format!("mapper profile {profile}, match {pattern}"));
            }
        }
        // The first profile whose prefix fits is the only one.
        let prefix = profile.prefix.trim_end_matches('*').as_bytes();
        if name.starts_with(prefix) {
            return None;
        }
    }
    None
}

/// `metric_filterlist, entry a.b`: the entry that drops a metric, given its raw name.
pub(super) fn filter(config: &Config, rules: &Rules, raw: &[u8]) -> Option<String> {
    let mapped = rules.mapper.map(raw);
    let name = Namespace::apply(&rules.namespace, &mapped.name);
    let (entries, prefixes) = config.metric_filter();
    let key = if config.metric_filterlist.is_empty() {
        "statsd_metric_blocklist"
    } else {
        "metric_filterlist"
    };
    let entry = entries
        .iter()
        .find(|entry| NameFilter::new(std::slice::from_ref(entry), prefixes).matches(&name))?;
    let how = if prefixes { "prefix" } else { "entry" };
    Some(format!("{key}, {how} {}", text(entry.as_bytes())))
}

/// `global_metrics, entry a.*`: the entry that makes the series of a final name global.
pub(super) fn global_rule(config: &Config, name: &[u8]) -> Option<String> {
    let entry = config
        .global_metrics
        .iter()
        .find(|entry| ScopeRules::new(std::slice::from_ref(entry), &[], &[]).names(name))?;
    Some(format!("global_metrics, entry {}", text(entry.as_bytes())))
}

/// `metric_tag_filterlist, exclude for a.b`: the filter of the tags of a final name.
pub(super) fn tag_filter(config: &Config, name: &[u8], tag: &[u8]) -> Option<String> {
    let key = tag.split(|byte| *byte == b':').next().unwrap_or(tag);
    let of_name =
        config.metric_tag_filterlist.iter().filter(|filter| filter.metric_name.as_bytes() == name);
    let action = of_name.clone().find(|filter| {
        let listed = filter.tags.iter().any(|listed| listed.as_bytes() == key);
        listed == (filter.action == crate::config::TagAction::Exclude)
    })?;
    Some(format!("metric_tag_filterlist, {} for {}", action.action.word(), text(name)))
}
