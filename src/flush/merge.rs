//! Closed buckets of several lanes become one, in the registry's numbers.

use std::collections::HashMap;

use super::registry::Registry;
use crate::aggregate::{Bucket, CounterCell, DistributionCell, GaugeCell, HistogramCell, SetCell};

/// No position.
const NONE: u32 = u32::MAX;

/// A cell that names its context and merges with another of its context.
trait Cell: Sized {
    fn context(&mut self) -> &mut u32;
    /// False when something of `other` could not be taken in.
    fn merge(&mut self, other: Self, set_members_max: usize) -> bool;
}

impl Cell for CounterCell {
    fn context(&mut self) -> &mut u32 {
        &mut self.context
    }
    fn merge(&mut self, other: Self, _: usize) -> bool {
        CounterCell::merge(self, &other)
    }
}

impl Cell for GaugeCell {
    fn context(&mut self) -> &mut u32 {
        &mut self.context
    }
    fn merge(&mut self, other: Self, _: usize) -> bool {
        GaugeCell::merge(self, &other);
        true
    }
}

impl Cell for SetCell {
    fn context(&mut self) -> &mut u32 {
        &mut self.context
    }
    fn merge(&mut self, other: Self, set_members_max: usize) -> bool {
        SetCell::merge(self, other, set_members_max);
        true
    }
}

impl Cell for HistogramCell {
    fn context(&mut self) -> &mut u32 {
        &mut self.context
    }
    fn merge(&mut self, other: Self, _: usize) -> bool {
        HistogramCell::merge(self, other)
    }
}

impl Cell for DistributionCell {
    fn context(&mut self) -> &mut u32 {
        &mut self.context
    }
    fn merge(&mut self, other: Self, _: usize) -> bool {
        DistributionCell::merge(self, &other)
    }
}

/// Renames every context of a lane's bucket to its number in the registry. Deaths and births of the
/// bucket must have been applied.
pub(super) fn renumber(bucket: &mut Bucket, lane: usize, registry: &Registry) {
    fn cells<C: Cell>(cells: &mut [C], lane: usize, registry: &Registry) {
        for cell in cells {
            let context = cell.context();
            *context = registry.number(lane, *context);
        }
    }
    cells(&mut bucket.counters, lane, registry);
    cells(&mut bucket.gauges, lane, registry);
    cells(&mut bucket.sets, lane, registry);
    cells(&mut bucket.histograms, lane, registry);
    cells(&mut bucket.distributions, lane, registry);
    for point in &mut bucket.timestamped {
        point.context = registry.number(lane, point.context);
    }
    for sample in &mut bucket.timestamped_samples {
        sample.context = registry.number(lane, sample.context);
    }
}

/// Gives contexts that changed their number the new one.
pub(super) fn rename(bucket: &mut Bucket, moved: &HashMap<u32, u32>) {
    fn cells<C: Cell>(cells: &mut [C], moved: &HashMap<u32, u32>) {
        cells.iter_mut().for_each(|cell| rename_one(cell.context(), moved));
    }
    fn rename_one(context: &mut u32, moved: &HashMap<u32, u32>) {
        *context = moved.get(context).copied().unwrap_or(*context);
    }
    cells(&mut bucket.counters, moved);
    cells(&mut bucket.gauges, moved);
    cells(&mut bucket.sets, moved);
    cells(&mut bucket.histograms, moved);
    cells(&mut bucket.distributions, moved);
    bucket.timestamped.iter_mut().for_each(|point| rename_one(&mut point.context, moved));
    bucket.timestamped_samples.iter_mut().for_each(|one| rename_one(&mut one.context, moved));
}

/// Merges the cells of one bucket that have one number.
pub(super) fn fold(bucket: &mut Bucket, numbers_end: usize, set_members_max: usize) {
    let mut positions = vec![NONE; numbers_end];
    let mut cells = Merging { positions: &mut positions, set_members_max, sums_cut: 0 };
    cells.fold(&mut bucket.counters);
    cells.fold(&mut bucket.gauges);
    cells.fold(&mut bucket.sets);
    cells.fold(&mut bucket.histograms);
    cells.fold(&mut bucket.distributions);
    bucket.counts.values_non_finite += cells.sums_cut;
}

/// Merges renumbered buckets of one start, in the order of their lanes, into the first.
pub(super) fn merge(
    into: &mut Bucket,
    from: &mut Bucket,
    numbers_end: usize,
    set_members_max: usize,
) {
    let mut positions = vec![NONE; numbers_end];
    let mut cells = Merging { positions: &mut positions, set_members_max, sums_cut: 0 };
    cells.merge(&mut into.counters, &mut from.counters);
    cells.merge(&mut into.gauges, &mut from.gauges);
    cells.merge(&mut into.sets, &mut from.sets);
    cells.merge(&mut into.histograms, &mut from.histograms);
    cells.merge(&mut into.distributions, &mut from.distributions);
    let sums_cut = cells.sums_cut;
    into.timestamped.append(&mut from.timestamped);
    into.timestamped_samples.append(&mut from.timestamped_samples);
    into.events.append(&mut from.events);
    into.checks.append(&mut from.checks);
    into.counts.add(&from.counts);
    into.counts.values_non_finite += sums_cut;
}

struct Merging<'a> {
    positions: &'a mut [u32],
    set_members_max: usize,
    /// Sums of two lanes that are not finite together.
    sums_cut: u64,
}

impl Merging<'_> {
    fn fold<C: Cell>(&mut self, cells: &mut Vec<C>) {
        let mut all = std::mem::take(cells);
        self.merge(cells, &mut all);
    }

    fn merge<C: Cell>(&mut self, into: &mut Vec<C>, from: &mut Vec<C>) {
        if from.is_empty() {
            return;
        }
        for (at, cell) in into.iter_mut().enumerate() {
            if let Some(position) = self.positions.get_mut(*cell.context() as usize) {
                *position = at as u32;
            }
        }
        for mut cell in from.drain(..) {
            let number = *cell.context() as usize;
            let at = self.positions.get(number).copied().unwrap_or(NONE);
            match into.get_mut(at as usize) {
                Some(ours) => {
                    let whole = ours.merge(cell, self.set_members_max);
                    self.sums_cut += u64::from(!whole);
                }
                None => {
                    if let Some(position) = self.positions.get_mut(number) {
                        *position = into.len() as u32;
                    }
                    into.push(cell);
                }
            }
        }
        self.positions.fill(NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_two_lanes_that_overflow_together_are_counted() {
        let lane = |sum| {
            let mut bucket = Bucket::default();
            bucket.counters.push(CounterCell { sum, context: 0, write_order: 0 });
            bucket
        };
        for (first, second, whole, cut) in [(1e308, 1e308, 1e308, 1), (1e308, -1e308, 0.0, 0)] {
            let mut merged = lane(first);
            merge(&mut merged, &mut lane(second), 1, 10);
            assert_eq!((merged.counters[0].sum, merged.counts.values_non_finite), (whole, cut));
        }
    }
}
