//! How one context is posted: host, tags, kind and unit of its series.

use super::overrides::PostingOverride;
use super::registry::{Known, Registry};
use super::rollup::HistogramSettings;
use super::series::{Point, Series, SeriesKind};
use super::styles::{Styles, TIMER_UNIT};
use crate::context::{Context, Rules, Tags};
use crate::part::Style;

/// A context's series under one suffix.
pub(super) struct Posting<'a> {
    pub context: &'a Context,
    pub rules: &'a Rules,
    pub interval: u64,
    pub posting_override: Option<&'a PostingOverride>,
}

impl<'a> Posting<'a> {
    pub fn host(&self) -> &'a [u8] {
        self.context.host_or(&self.rules.default_host)
    }

    pub fn tags(&self) -> Tags<'a> {
        let own = self.posting_override.and_then(|own| own.common_tags.as_deref());
        self.context.tags(own.unwrap_or_else(|| self.rules.common_tags_of(self.context)))
    }

    /// How the owner of a global series posts it; none when nothing is posted of it.
    pub fn style(&self, usual: &'a Styles) -> Option<&'a Style> {
        let own = self.posting_override.and_then(PostingOverride::styles);
        own.unwrap_or(usual).style(self.context)
    }

    /// How the sum of a counter is posted, and by what it is divided.
    pub fn counter(&self) -> (SeriesKind, f64) {
        let profile = self.posting_override.and_then(|own| own.profile.as_ref());
        match profile {
            Some(profile) if profile.counters_as_counts => (SeriesKind::Count, 1.0),
            _ => (SeriesKind::Rate, self.interval as f64),
        }
    }

    /// What is posted of a histogram, before filters.
    pub fn histograms(&self, usual: &'a HistogramSettings) -> &'a HistogramSettings {
        let profile = self.posting_override.and_then(|own| own.profile.as_ref());
        profile.map_or(usual, |profile| &profile.histograms)
    }

    /// False for the value of a histogram that a filter names, by its position.
    pub fn posts(&self, position: usize) -> bool {
        self.posting_override.is_none_or(|own| own.muted.get(position) != Some(&true))
    }

    pub fn series(&self, suffix: &'a str, kind: SeriesKind, points: &'a [Point]) -> Series<'a> {
        let is_value = kind == SeriesKind::Gauge;
        Series {
            name: self.context.name(),
            suffix,
            host: self.host(),
            tags: self.tags(),
            kind,
            unit: (self.context.is_timing() && is_value).then_some(TIMER_UNIT),
            source: None,
            interval: self.interval,
            points,
        }
    }
}

/// What turns the number of a context into how it is posted.
#[derive(Clone, Copy)]
pub(super) struct Postings<'a> {
    pub registry: &'a Registry,
    pub rules: &'a Rules,
    /// What is posted of a histogram without a profile.
    pub usual: &'a HistogramSettings,
    /// How owners post what is global, without a profile.
    pub usual_styles: &'a Styles,
    /// Seconds.
    pub interval: u64,
}

impl<'a> Postings<'a> {
    /// How a context is posted, if its number is known.
    pub fn of(&self, number: u32) -> Option<Posting<'a>> {
        self.known(number).map(|(_, posting)| posting)
    }

    /// As [`Postings::of`], with what the registry knows.
    pub fn known(&self, number: u32) -> Option<(&'a Known, Posting<'a>)> {
        let known = self.registry.get(number)?;
        let (rules, interval) = (self.rules, self.interval);
        let posting_override = self.registry.override_of(number);
        Some((known, Posting { context: &known.context, rules, interval, posting_override }))
    }
}
