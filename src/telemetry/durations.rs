//! How long something took, over the life of the process: quantiles in bounded memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What is told apart: from a microsecond to an hour, within 1 %.
const MICROSECONDS_MAX: u64 = 3_600_000_000;
const DIGITS: u8 = 2;

/// Durations of one kind. Empty ones take no memory, others about 13 KiB.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    histogram: Option<Box<Histogram<u64>>>,
    sum: Duration,
}

/// The quantiles of [`Durations`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationSummary {
    /// How many.
    pub count: u64,
    /// Of all together, exact.
    pub sum: Duration,
    /// Half took no longer.
    pub median: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Durations {
    /// Adds one. What took longer than an hour counts as an hour.
    pub fn record(&mut self, took: Duration) {
        if self.histogram.is_none() {
            self.histogram =
                Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).ok().map(Box::new);
        }
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(microseconds);
        }
        self.sum += took;
    }

    /// What was recorded so far.
    #[must_use]
    pub fn summary(&self) -> DurationSummary {
        let Some(histogram) = &self.histogram else { return DurationSummary::default() };
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        DurationSummary {
            count: histogram.len(),
            sum: self.sum,
            median: at(0.5),
            p99: at(0.99),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let mut durations = Durations::default();
        assert_eq!(durations.summary(), DurationSummary::default());
        for millis in 1..=1_000 {
            durations.record(Duration::from_millis(millis));
        }
        let summary = durations.summary();
        assert_eq!((summary.count, summary.sum), (1_000, Duration::from_millis(500_500)));
        let close = |got: Duration, expect: f64| {
            assert!((got.as_secs_f64() / expect - 1.0).abs() < 0.01, "{got:?} {expect}");
        };
        close(summary.median, 0.5);
        close(summary.p99, 0.99);
        close(summary.max, 1.0);
    }

    #[test]
    fn extremes_stay_in_range() {
        let mut durations = Durations::default();
        durations.record(Duration::ZERO);
        durations.record(Duration::from_secs(1_000_000));
        let summary = durations.summary();
        assert_eq!(summary.count, 2);
        assert!(summary.max < Duration::from_secs(3_700), "{summary:?}");
    }
}
