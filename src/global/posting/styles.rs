//! From a style, as a part carries it, to settings that histograms are posted by. Few styles are in use
//! at a time, so each is worked out once.

use std::collections::HashMap;

use ahash::RandomState;

use crate::flush::{Aggregate, HistogramSettings, Percentile};
use crate::part::Style;

/// Styles worked out before all are forgotten; a hostile sender may have any number.
const STYLES_MAX: usize = 1_000;

/// What histograms are posted by.
#[derive(Debug)]
pub(super) struct Styles {
    /// The owner's own settings.
    usual: HistogramSettings,
    known: HashMap<StyleKey, HistogramSettings, RandomState>,
}

/// Aggregates and the bits of percentiles.
type StyleKey = (Vec<String>, Vec<u64>);

impl Styles {
    pub fn new(usual: HistogramSettings) -> Styles {
        Styles { usual, known: HashMap::default() }
    }

    /// The settings of a style; where it leaves both lists to the owner, the owner's. A style with
    /// aggregates and without percentiles posts none of these.
    pub fn histograms(&mut self, style: &Style) -> &HistogramSettings {
        if style.aggregates.is_empty() && style.percentiles.is_empty() {
            return &self.usual;
        }
        if self.known.len() >= STYLES_MAX {
            self.known.clear();
        }
        let bits = style.percentiles.iter().map(|share| share.to_bits()).collect();
        let usual = &self.usual;
        let key = (style.aggregates.clone(), bits);
        self.known.entry(key).or_insert_with(|| settings_of(style, usual))
    }
}

fn settings_of(style: &Style, usual: &HistogramSettings) -> HistogramSettings {
    let mut aggregates: Vec<Aggregate> = Vec::new();
    for word in &style.aggregates {
        match Aggregate::from_word(word) {
            Some(aggregate) if !aggregates.contains(&aggregate) => aggregates.push(aggregate),
            Some(_) => {}
            None => tracing::warn!(
                target: "global",
                "a sender asks for the histogram aggregate \"{}\", which is not known here; upgrade owners first",
                word.escape_debug(),
            ),
        }
    }
    if style.aggregates.is_empty() {
        aggregates.clone_from(&usual.aggregates);
    }
    HistogramSettings { aggregates, percentiles: Percentile::list(&style.percentiles) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes(aggregates: &[&str], percentiles: &[f64]) -> Vec<String> {
        let style = Style {
            aggregates: aggregates.iter().map(ToString::to_string).collect(),
            percentiles: percentiles.to_vec(),
            ..Style::default()
        };
        let mut styles = Styles::new(HistogramSettings::default());
        styles.histograms(&style).suffixes().map(str::to_owned).collect()
    }

    #[test]
    fn a_style_takes_the_place_of_the_owners_settings() {
        let usual = [".max", ".median", ".avg", ".count", ".95percentile"];
        assert_eq!(suffixes(&[], &[]), usual);
        assert_eq!(
            suffixes(&["min", "sum"], &[0.5, 0.25]),
            [".min", ".sum", ".25percentile", ".50percentile"]
        );
        assert_eq!(suffixes(&["min"], &[]), [".min"], "no percentiles are meant");
        assert_eq!(suffixes(&[], &[0.5]), [".max", ".median", ".avg", ".count", ".50percentile"]);
        assert_eq!(suffixes(&["of a later version", "min", "min"], &[]), [".min"]);
    }
}
