//! How single contexts are posted unlike all others: settings of mapper profiles, aggregates that a
//! filter names, tags that a filter takes from the common ones. Looked up when a context is born or
//! rules change, never per flush.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rollup::{Aggregate, HistogramSettings, Percentile};
use super::styles::Styles;
use crate::context::{Context, Kind, NameFilter, ProfileSettings, Rules};

/// The settings of one mapper profile, ready to post by.
#[derive(Debug)]
pub(super) struct ProfilePosting {
    pub histograms: HistogramSettings,
    /// Seconds for which a gauge is posted again without new values.
    pub gauge_ttl: u64,
    pub counters_as_counts: bool,
    /// How owners post what is global.
    styles: Styles,
}

/// What is unusual about one context. Most have none.
#[derive(Debug)]
pub(super) struct PostingOverride {
    settings: Option<Arc<ProfileSettings>>,
    pub profile: Option<Arc<ProfilePosting>>,
    /// The name is on the filter list by now: what was recorded before is posted, nothing is
    /// continued.
    pub filtered: bool,
    /// By position among the values of a histogram: true for a filtered one. Empty for none.
    pub muted: Box<[bool]>,
    /// Instead of the tags common to all.
    pub common_tags: Option<Vec<Box<[u8]>>>,
    /// How its owner posts a global histogram of which a filter names some aggregates.
    styles: Option<Box<Styles>>,
}

impl PostingOverride {
    /// How owners post it, if not as usual.
    pub fn styles(&self) -> Option<&Styles> {
        let profile = self.profile.as_ref().map(|profile| &profile.styles);
        self.styles.as_deref().or(profile)
    }
}

/// Who posts a context, as the flusher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownScope {
    /// This server.
    Local,
    /// Its owner.
    Global,
    /// Nobody: it is global, and its name or a tag holds a newline, which separates them for owners.
    Unsendable,
}

/// Finds the posting override of a context under the rules in force.
#[derive(Debug)]
pub(super) struct PostingOverrides {
    rules: Arc<Rules>,
    usual: HistogramSettings,
    usual_styles: Styles,
    /// Every suffix that some histogram posts under, profiles included, in order.
    suffixes: Vec<String>,
    /// The entries of the filter list that name aggregates.
    aggregate_filter: NameFilter,
    compiled: Vec<(Arc<ProfileSettings>, Arc<ProfilePosting>)>,
}

impl PostingOverrides {
    pub fn new(rules: Arc<Rules>, usual: HistogramSettings) -> Self {
        let mut overrides = PostingOverrides {
            rules,
            usual,
            usual_styles: Styles::usual(),
            suffixes: Vec::new(),
            aggregate_filter: NameFilter::default(),
            compiled: Vec::new(),
        };
        let rules = Arc::clone(&overrides.rules);
        rules.mapper.all_settings().for_each(|settings| drop(overrides.profile(settings)));
        let of_profiles =
            overrides.compiled.iter().flat_map(|(_, profile)| profile.histograms.suffixes());
        let all = overrides.usual.suffixes().chain(of_profiles).map(str::to_owned);
        overrides.suffixes = all.collect::<BTreeSet<String>>().into_iter().collect();
        let suffixes: Vec<&str> = overrides.suffixes.iter().map(String::as_str).collect();
        overrides.aggregate_filter = rules.name_filter.ending_in(&suffixes);
        overrides
    }

    /// What is posted of a histogram without a profile.
    pub fn usual(&self) -> &HistogramSettings {
        &self.usual
    }

    /// How owners post what is global, without a profile.
    pub fn usual_styles(&self) -> &Styles {
        &self.usual_styles
    }

    /// Every suffix that some histogram posts under.
    pub fn suffixes(&self) -> &[String] {
        &self.suffixes
    }

    /// True when some gauge may be posted again without new values.
    pub fn hold_gauges(&self) -> bool {
        self.compiled.iter().any(|(_, profile)| profile.gauge_ttl > 0)
    }

    /// How this context is posted; none when as usual.
    pub fn of(
        &mut self,
        context: &Context,
        settings: Option<&Arc<ProfileSettings>>,
    ) -> Option<Box<PostingOverride>> {
        let profile = settings.map(|settings| self.profile(settings));
        let filtered = self.rules.name_filter.matches(context.name());
        let muted = self.muted(context, profile.as_deref());
        let common_tags = self.common_tags(context);
        let styles = (context.is_global() && !muted.is_empty()).then(|| {
            let of_profile = profile.as_ref().map(|profile| &profile.histograms);
            Box::new(Styles::of(Some(of_profile.unwrap_or(&self.usual)), &muted, false))
        });
        let usual = profile.is_none() && !filtered && muted.is_empty() && common_tags.is_none();
        let settings = settings.cloned();
        (!usual).then(|| {
            Box::new(PostingOverride { settings, profile, filtered, muted, common_tags, styles })
        })
    }

    /// The posting override of a known context under new rules.
    pub fn of_known(
        &mut self,
        context: &Context,
        old: Option<Box<PostingOverride>>,
    ) -> Option<Box<PostingOverride>> {
        let settings = old.and_then(|own| own.settings);
        self.of(context, settings.as_ref())
    }

    /// The context under which this one is posted, if that is another: a tag that a client sends
    /// and that is common to all by now (a reload) is no part of an identity any more.
    pub fn united(&self, context: &Context) -> Option<Context> {
        let all = self.rules.common_tags_of(context);
        if all.is_empty() {
            return None;
        }
        context.without(self.common_tags(context).as_deref().unwrap_or(all))
    }

    fn profile(&mut self, settings: &Arc<ProfileSettings>) -> Arc<ProfilePosting> {
        let known = self.compiled.iter().find(|(known, _)| Arc::ptr_eq(known, settings));
        if let Some((_, profile)) = known {
            return Arc::clone(profile);
        }
        let aggregates = settings.histogram_aggregates.as_ref().map(|words| {
            words.iter().filter_map(|word| Aggregate::from_word(word.word())).collect()
        });
        let percentiles = settings.histogram_percentiles.as_deref().map(Percentile::list);
        // A profile that says nothing of histograms leaves them to the owner.
        let of_histograms = aggregates.is_some() || percentiles.is_some();
        let histograms = HistogramSettings {
            aggregates: aggregates.unwrap_or_else(|| self.usual.aggregates.clone()),
            percentiles: percentiles.unwrap_or_else(|| self.usual.percentiles.clone()),
        };
        let profile = Arc::new(ProfilePosting {
            gauge_ttl: settings.gauge_ttl.map_or(0, |ttl| ttl.as_secs()),
            counters_as_counts: settings.counters_as_counts,
            styles: Styles::of(
                of_histograms.then_some(&histograms),
                &[],
                settings.counters_as_counts,
            ),
            histograms,
        });
        self.compiled.push((Arc::clone(settings), Arc::clone(&profile)));
        profile
    }

    fn muted(&self, context: &Context, profile: Option<&ProfilePosting>) -> Box<[bool]> {
        if context.kind() != Kind::Histogram || self.aggregate_filter.is_empty() {
            return Box::default();
        }
        let histograms = profile.map_or(&self.usual, |profile| &profile.histograms);
        let matches = |suffix: &str| {
            self.aggregate_filter.matches(&[context.name(), suffix.as_bytes()].concat())
        };
        let muted: Vec<bool> = histograms.suffixes().map(matches).collect();
        if muted.contains(&true) { muted.into() } else { Box::default() }
    }

    /// Whether this server posts a context.
    pub fn scope(&self, context: &Context) -> KnownScope {
        if !context.is_global() || context.kind() == Kind::Distribution {
            return KnownScope::Local;
        }
        let tags = context.tags(self.rules.common_tags_of(context));
        let broken = |text: &[u8]| memchr::memchr(b'\n', text).is_some();
        let unsendable =
            context.name().is_empty() || broken(context.name()) || tags.iter().any(broken);
        if unsendable { KnownScope::Unsendable } else { KnownScope::Global }
    }

    /// The common tags that a tag filter leaves to a context; none when it leaves all.
    fn common_tags(&self, context: &Context) -> Option<Vec<Box<[u8]>>> {
        let all = self.rules.common_tags_of(context);
        let rule = self.rules.tag_filters.rule(context.name()).filter(|_| !all.is_empty())?;
        let kept: Vec<_> = all.iter().filter(|tag| rule.keeps(tag)).cloned().collect();
        (kept.len() < all.len()).then_some(kept)
    }
}
