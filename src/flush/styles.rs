//! How the owner of a global series posts it, where a setting of the sender says something else than the
//! owner's own.

use super::rollup::HistogramSettings;
use crate::context::{Context, Kind};
use crate::part::Style;

/// The unit of timers, in recent Agents.
pub(super) const TIMER_UNIT: &str = "millisecond";

/// The styles of the series that have the same settings, by kind.
#[derive(Debug, Default)]
pub(super) struct Styles {
    other: Style,
    counter: Style,
    /// None when nothing is posted of them.
    histogram: Option<Style>,
    timer: Option<Style>,
}

impl Styles {
    /// All is left to the owner, but the unit of timers.
    pub fn usual() -> Self {
        let timer = Style { unit: TIMER_UNIT.to_owned(), ..Style::default() };
        Styles { histogram: Some(Style::default()), timer: Some(timer), ..Styles::default() }
    }

    /// The styles under settings of a mapper profile or without some aggregates: `muted` names those by
    /// position, `histograms` is none where the owner's settings hold.
    pub fn of(histograms: Option<&HistogramSettings>, muted: &[bool], as_count: bool) -> Self {
        let mut styles = Styles::usual();
        styles.counter.as_count = as_count;
        let Some(histograms) = histograms else { return styles };
        let posted = |position: usize| muted.get(position) != Some(&true);
        let aggregates = histograms.aggregates.iter().enumerate();
        let aggregates = aggregates.filter(|(position, _)| posted(*position));
        let aggregates: Vec<String> = aggregates.map(|(_, one)| one.word().to_owned()).collect();
        let percentiles = histograms.percentiles.iter().enumerate();
        let percentiles =
            percentiles.filter(|(position, _)| posted(histograms.aggregates.len() + position));
        let percentiles: Vec<f64> = percentiles.map(|(_, one)| one.share()).collect();
        let nothing = aggregates.is_empty() && percentiles.is_empty();
        for style in [&mut styles.histogram, &mut styles.timer] {
            *style = style.take().filter(|_| !nothing).map(|style| Style {
                aggregates: aggregates.clone(),
                percentiles: percentiles.clone(),
                ..style
            });
        }
        styles
    }

    /// The style of a context; none when nothing is posted of it.
    pub fn style(&self, context: &Context) -> Option<&Style> {
        match context.kind() {
            Kind::Counter => Some(&self.counter),
            Kind::Histogram if context.is_timing() => self.timer.as_ref(),
            Kind::Histogram => self.histogram.as_ref(),
            Kind::Gauge | Kind::Set | Kind::Distribution => Some(&self.other),
        }
    }
}
