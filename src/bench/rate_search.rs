//! The search for the highest rate without loss: double it until a step fails, then narrow the gap
//! to below five percent.

use super::report::{Limit, RateSearch, Run, SearchStep};
use super::validity;

/// The answer is this close to the first rate that failed.
const RESOLUTION: f64 = 1.05;

/// A failing first step is halved at most this often.
const HALVINGS_MAX: usize = 10;

/// The search ends here, in lines per second.
const RATE_MAX: f64 = 1e9;

/// Searches from `start` lines per second; `measure` takes a rate and the number of the step.
///
/// # Errors
/// Whatever `measure` fails with.
pub fn search(
    start: f64,
    mut measure: impl FnMut(f64, usize) -> anyhow::Result<Run>,
) -> anyhow::Result<(RateSearch, Vec<Run>)> {
    let (mut held, mut failed): (Option<f64>, Option<f64>) = (None, None);
    let (mut steps, mut runs) = (Vec::new(), Vec::new());
    let mut limited_by = Limit::None;
    while let Some(rate) = next(start, held, failed) {
        let run = measure(rate, steps.len() + 1)?;
        let limit = validity::limit(&run);
        steps.push(SearchStep { lines_per_second: rate, limit });
        runs.push(run);
        if limit == Limit::None {
            held = Some(rate);
        } else {
            (failed, limited_by) = (Some(rate), limit);
        }
    }
    Ok((RateSearch { lines_per_second: held, limited_by, steps }, runs))
}

/// The next rate to try, `None` when the answer is known.
fn next(start: f64, held: Option<f64>, failed: Option<f64>) -> Option<f64> {
    match (held, failed) {
        (None, None) => Some(start),
        (Some(held), None) => Some(held * 2.0).filter(|&rate| rate <= RATE_MAX),
        (None, Some(failed)) => {
            let half = failed / 2.0;
            (half >= start / f64::from(1u32 << HALVINGS_MAX)).then_some(half)
        }
        (Some(held), Some(failed)) => {
            (failed / held > RESOLUTION).then_some((held * failed).sqrt())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that loses lines above `capacity`.
    fn finds(start: f64, capacity: f64) -> (Option<f64>, Limit, usize) {
        let (found, runs) = search(start, |rate, _| {
            let mut run = super::super::report::tests::run();
            run.kernel_dropped_measured = Some(u64::from(rate > capacity));
            Ok(run)
        })
        .unwrap();
        assert_eq!(found.steps.len(), runs.len());
        (found.lines_per_second, found.limited_by, runs.len())
    }

    #[test]
    fn the_answer_lies_within_five_percent_below_the_capacity() {
        for capacity in [50_000.0, 51_000.0, 99_999.0, 1_234_567.0, 12_000_000.0, 700.0] {
            let (rate, limit, steps) = finds(50_000.0, capacity);
            let rate = rate.unwrap();
            assert!(rate <= capacity && rate * RESOLUTION >= capacity, "{rate} for {capacity}");
            assert_eq!(limit, Limit::Loss);
            assert!(steps <= 16, "{steps} steps");
        }
    }

    #[test]
    fn a_server_that_loses_everything_has_no_answer() {
        assert_eq!(finds(1_000.0, 0.0), (None, Limit::Loss, 11));
    }

    #[test]
    fn a_server_without_limit_ends_the_search() {
        let (rate, limit, _) = finds(50_000.0, f64::INFINITY);
        assert!(rate.unwrap() > RATE_MAX / 2.0);
        assert_eq!(limit, Limit::None);
    }
}
