//! How single contexts are posted unlike all others: settings of mapper profiles, aggregates that a
//! filter names, tags that a filter takes from the common ones. Looked up when a context is born or
//! rules change, never per flush.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rollup::{Aggregate, HistogramSettings, Percentile};
use crate::context::{Context, Kind, NameFilter, ProfileSettings, Rules};

/// The settings of one mapper profile, ready to post by.
#[derive(Debug)]
pub(super) struct Style {
    pub histograms: HistogramSettings,
    /// Seconds for which a gauge is posted again without new values.
    pub gauge_ttl: u64,
    pub counters_as_counts: bool,
}

/// What is unusual about one context. Most have none.
#[derive(Debug)]
pub(super) struct Manner {
    settings: Option<Arc<ProfileSettings>>,
    pub style: Option<Arc<Style>>,
    /// The name is on the filter list by now: what was recorded before is posted, nothing is
    /// continued.
    pub filtered: bool,
    /// By position among the values of a histogram: true for a filtered one. Empty for none.
    pub muted: Box<[bool]>,
    /// Instead of the tags common to all.
    pub common_tags: Option<Vec<Box<[u8]>>>,
}

/// Finds the manner of a context under the rules in force.
#[derive(Debug)]
pub(super) struct Styles {
    rules: Arc<Rules>,
    usual: HistogramSettings,
    /// Every suffix that some histogram posts under, profiles included, in order.
    suffixes: Vec<String>,
    /// The entries of the filter list that name aggregates.
    aggregate_filter: NameFilter,
    compiled: Vec<(Arc<ProfileSettings>, Arc<Style>)>,
}

impl Styles {
    pub fn new(rules: Arc<Rules>, usual: HistogramSettings) -> Self {
        let mut styles = Styles {
            rules,
            usual,
            suffixes: Vec::new(),
            aggregate_filter: NameFilter::default(),
            compiled: Vec::new(),
        };
        let rules = Arc::clone(&styles.rules);
        rules.mapper.all_settings().for_each(|settings| drop(styles.style(settings)));
        let of_profiles = styles.compiled.iter().flat_map(|(_, style)| style.histograms.suffixes());
        let all = styles.usual.suffixes().chain(of_profiles).map(str::to_owned);
        styles.suffixes = all.collect::<BTreeSet<String>>().into_iter().collect();
        let suffixes: Vec<&str> = styles.suffixes.iter().map(String::as_str).collect();
        styles.aggregate_filter = rules.name_filter.ending_in(&suffixes);
        styles
    }

    /// What is posted of a histogram without a profile.
    pub fn usual(&self) -> &HistogramSettings {
        &self.usual
    }

    /// Every suffix that some histogram posts under.
    pub fn suffixes(&self) -> &[String] {
        &self.suffixes
    }

    /// True when some gauge may be posted again without new values.
    pub fn hold_gauges(&self) -> bool {
        self.compiled.iter().any(|(_, style)| style.gauge_ttl > 0)
    }

    /// How this context is posted; none when as usual.
    pub fn manner(
        &mut self,
        context: &Context,
        settings: Option<&Arc<ProfileSettings>>,
    ) -> Option<Box<Manner>> {
        let style = settings.map(|settings| self.style(settings));
        let filtered = self.rules.name_filter.matches(context.name());
        let muted = self.muted(context, style.as_deref());
        let common_tags = self.common_tags(context.name());
        let usual = style.is_none() && !filtered && muted.is_empty() && common_tags.is_none();
        let settings = settings.cloned();
        (!usual).then(|| Box::new(Manner { settings, style, filtered, muted, common_tags }))
    }

    /// The manner of a known context under new rules.
    pub fn again(&mut self, context: &Context, old: Option<Box<Manner>>) -> Option<Box<Manner>> {
        let settings = old.and_then(|manner| manner.settings);
        self.manner(context, settings.as_ref())
    }

    fn style(&mut self, settings: &Arc<ProfileSettings>) -> Arc<Style> {
        let known = self.compiled.iter().find(|(known, _)| Arc::ptr_eq(known, settings));
        if let Some((_, style)) = known {
            return Arc::clone(style);
        }
        let aggregates = settings.histogram_aggregates.as_ref().map(|words| {
            words.iter().filter_map(|word| Aggregate::from_word(word.word())).collect()
        });
        let percentiles = settings.histogram_percentiles.as_deref().map(Percentile::list);
        let style = Arc::new(Style {
            histograms: HistogramSettings {
                aggregates: aggregates.unwrap_or_else(|| self.usual.aggregates.clone()),
                percentiles: percentiles.unwrap_or_else(|| self.usual.percentiles.clone()),
            },
            gauge_ttl: settings.gauge_ttl.map_or(0, |ttl| ttl.as_secs()),
            counters_as_counts: settings.counters_as_counts,
        });
        self.compiled.push((Arc::clone(settings), Arc::clone(&style)));
        style
    }

    fn muted(&self, context: &Context, style: Option<&Style>) -> Box<[bool]> {
        if context.kind() != Kind::Histogram || self.aggregate_filter.is_empty() {
            return Box::default();
        }
        let histograms = style.map_or(&self.usual, |style| &style.histograms);
        let matches = |suffix: &str| {
            self.aggregate_filter.matches(&[context.name(), suffix.as_bytes()].concat())
        };
        let muted: Vec<bool> = histograms.suffixes().map(matches).collect();
        if muted.contains(&true) { muted.into() } else { Box::default() }
    }

    /// The common tags that a tag filter leaves to this name; none when it leaves all.
    fn common_tags(&self, name: &[u8]) -> Option<Vec<Box<[u8]>>> {
        let all = &self.rules.common_tags;
        let rule = self.rules.tag_filters.rule(name).filter(|_| !all.is_empty())?;
        let kept: Vec<_> = all.iter().filter(|tag| rule.keeps(tag)).cloned().collect();
        (kept.len() < all.len()).then_some(kept)
    }
}
