//! From a merged bucket to series: which values of which kinds are posted under which names.

use crate::aggregate::{HistogramCell, Summary};
use crate::part;

use super::series::SeriesKind;

/// Samples in order, those of one process or of many: what percentiles are taken of.
pub trait Ranked {
    /// The first value, in order, at which the cumulative weight exceeds `rank`.
    fn value_past(&self, rank: u64) -> f64;
}

impl Ranked for HistogramCell {
    fn value_past(&self, rank: u64) -> f64 {
        self.value_past(rank)
    }
}

impl Ranked for part::Histogram {
    fn value_past(&self, rank: u64) -> f64 {
        self.value_past(rank)
    }
}

/// An aggregate of a histogram (`histogram_aggregates`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `.max`
    Max,
    /// `.min`
    Min,
    /// `.median`
    Median,
    /// `.avg`
    Avg,
    /// `.sum`
    Sum,
    /// `.count`, posted as a rate
    Count,
}

impl Aggregate {
    /// The aggregate of a configuration word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "max" => Aggregate::Max,
            "min" => Aggregate::Min,
            "median" => Aggregate::Median,
            "avg" => Aggregate::Avg,
            "sum" => Aggregate::Sum,
            "count" => Aggregate::Count,
            _ => return None,
        })
    }

    /// Its configuration word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.suffix().trim_start_matches('.')
    }

    /// What is appended to the name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Aggregate::Max => ".max",
            Aggregate::Min => ".min",
            Aggregate::Median => ".median",
            Aggregate::Avg => ".avg",
            Aggregate::Sum => ".sum",
            Aggregate::Count => ".count",
        }
    }

    fn value(self, samples: &impl Ranked, summary: &Summary, interval: f64) -> f64 {
        match self {
            Aggregate::Max => summary.max,
            Aggregate::Min => summary.min,
            Aggregate::Median => samples.value_past(summary.count.saturating_sub(1) / 2),
            Aggregate::Avg => summary.average(),
            Aggregate::Sum => summary.sum,
            Aggregate::Count => summary.count as f64 / interval,
        }
    }
}

/// A percentile of a histogram (`histogram_percentiles`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percentile {
    parts: u64,
    suffix: String,
}

/// A percentile is kept in parts of a hundred million, exact for what people write.
const PARTS: u64 = 100_000_000;

impl Percentile {
    /// A share from 0 to 1, such as 0.95. `None` outside.
    ///
    /// Differs: the Agent rounds to whole percents, so 0.999 becomes the hundredth percentile;
    /// here it is `.99.9percentile`.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&share) {
            return None;
        }
        // At most PARTS, so the product fits and is not negative.
        let parts = (share * PARTS as f64).round() as u64;
        let percent = parts as f64 / (PARTS / 100) as f64;
        Some(Percentile { parts, suffix: format!(".{percent}percentile") })
    }

    /// Percentiles of a list of shares: in ascending order, each once.
    #[must_use]
    pub fn list(shares: &[f64]) -> Vec<Self> {
        let mut shares = shares.to_vec();
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        shares.into_iter().filter_map(Percentile::new).collect()
    }

    /// The share, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.parts as f64 / PARTS as f64
    }

    /// What is appended to the name.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    fn value(&self, samples: &impl Ranked, summary: &Summary) -> f64 {
        let product = u128::from(self.parts) * u128::from(summary.count);
        let rank = product.saturating_sub(u128::from(PARTS / 100)) / u128::from(PARTS);
        samples.value_past(u64::try_from(rank).unwrap_or(u64::MAX))
    }
}

/// What is posted of histograms.
#[derive(Clone, Debug)]
pub struct HistogramSettings {
    /// In the order they are posted.
    pub aggregates: Vec<Aggregate>,
    /// In ascending order.
    pub percentiles: Vec<Percentile>,
}

impl Default for HistogramSettings {
    fn default() -> Self {
        use Aggregate::{Avg, Count, Max, Median};
        HistogramSettings {
            aggregates: vec![Max, Median, Avg, Count],
            percentiles: Percentile::new(0.95).into_iter().collect(),
        }
    }
}

impl HistogramSettings {
    /// What is appended to the name of a histogram, in the order of its values.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        let aggregates = self.aggregates.iter().map(|aggregate| aggregate.suffix());
        aggregates.chain(self.percentiles.iter().map(Percentile::suffix))
    }

    /// Every suffix, value and kind that a histogram posts.
    pub fn values<'a>(
        &'a self,
        samples: &'a impl Ranked,
        summary: Summary,
        interval: u64,
    ) -> impl Iterator<Item = (&'a str, f64, SeriesKind)> + 'a {
        let aggregates = self.aggregates.iter().map(move |aggregate| {
            let kind = match aggregate {
                Aggregate::Count => SeriesKind::Rate,
                _ => SeriesKind::Gauge,
            };
            (aggregate.suffix(), aggregate.value(samples, &summary, interval as f64), kind)
        });
        let percentiles = self.percentiles.iter().map(move |percentile| {
            (percentile.suffix(), percentile.value(samples, &summary), SeriesKind::Gauge)
        });
        aggregates.chain(percentiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_keep_decimals_and_lose_none_to_floats() {
        for (share, suffix) in [
            (0.0, ".0percentile"),
            (0.5, ".50percentile"),
            (0.95, ".95percentile"),
            (0.29, ".29percentile"),
            (0.999, ".99.9percentile"),
            (0.9999, ".99.99percentile"),
            (1.0, ".100percentile"),
        ] {
            let percentile = Percentile::new(share).unwrap();
            assert_eq!(percentile.suffix(), suffix);
            assert_eq!(Percentile::new(percentile.share()), Some(percentile));
        }
        assert_eq!(Percentile::new(1.1), None);
        assert_eq!(Percentile::new(-0.1), None);
        assert_eq!(Percentile::new(f64::NAN), None);
    }
}
