//! Kinds that would post one series at one second: the one written last is posted.
//!
//! Rivals are found by the registry when contexts are born: a counter, a gauge and a set of one name
//! are *contested*; so is a metric of the name of some histogram's aggregate, and that histogram is
//! *shadowed*. Most servers have neither, and then nothing here looks at a cell.

use std::collections::{HashMap, HashSet};

use super::complete::Flush;
use super::posting::Postings;
use crate::aggregate::{Bucket, WriteOrder};

/// Leaves of rival values only the one written last, and counts the others.
pub(super) fn settle(postings: Postings<'_>, flush: &mut Flush) {
    let mut latest = contested_values(postings, &flush.merged);
    if latest.is_empty() {
        return;
    }
    let mut outdone = HashSet::new();
    shadowed_values(postings, &flush.merged, &mut |number, position, key, write_order| {
        if let Some(best) = latest.get_mut(&key) {
            if write_order > *best {
                *best = write_order;
            } else {
                outdone.insert((number, position));
            }
        }
    });
    let (registry, mut lost, mut example) = (postings.registry, 0, None);
    let mut taken = HashSet::new();
    let mut wins = |number: u32, write_order: WriteOrder| {
        let Some(known) = registry.get(number).filter(|known| known.contested()) else {
            return true;
        };
        // Lanes may write at the same moment: the first of them takes the place, the others are past it.
        let key = registry.series_key(number);
        let won = latest.get(&key).is_none_or(|best| write_order >= *best) && taken.insert(key);
        if !won {
            lost += 1;
            example.get_or_insert_with(|| known.context.clone());
        }
        won
    };
    let bucket = &mut flush.merged;
    bucket.counters.retain(|cell| wins(cell.context, cell.write_order));
    bucket.gauges.retain(|cell| wins(cell.context, cell.write_order));
    bucket.sets.retain(|cell| wins(cell.context, cell.write_order));
    for (number, _) in &outdone {
        lost += 1;
        example = example.or_else(|| registry.get(*number).map(|known| known.context.clone()));
    }
    flush.outdone = outdone;
    (flush.type_conflicts, flush.conflict_example) = (lost, example);
}

/// Takes out of what is continued everything that would displace a value of another kind, and zeros
/// that would displace a held gauge.
pub(super) fn yield_to_values(
    postings: Postings<'_>,
    bucket: &Bucket,
    idle: &mut Vec<u32>,
    held: &mut Vec<(u32, f64)>,
) {
    let registry = postings.registry;
    let contested = |number: &u32| registry.get(*number).is_some_and(|known| known.contested());
    if !idle.iter().chain(held.iter().map(|(number, _)| number)).any(contested) {
        return;
    }
    let key = |number: u32| registry.series_key(number);
    let mut values = contested_values(postings, bucket);
    shadowed_values(postings, bucket, &mut |_, _, key, write_order| {
        values.insert(key, write_order);
    });
    held.retain(|(number, _)| !values.contains_key(&key(*number)));
    values.extend(held.iter().map(|(number, _)| (key(*number), 0)));
    idle.retain(|number| !values.contains_key(&key(*number)));
}

/// The latest write order of each contested series that has a value in this bucket.
fn contested_values(postings: Postings<'_>, bucket: &Bucket) -> HashMap<u64, WriteOrder> {
    let registry = postings.registry;
    let mut values: HashMap<u64, WriteOrder> = HashMap::new();
    if !registry.has_contested() {
        return values;
    }
    let counters = bucket.counters.iter().map(|cell| (cell.context, cell.write_order));
    let gauges = bucket.gauges.iter().map(|cell| (cell.context, cell.write_order));
    let sets = bucket.sets.iter().map(|cell| (cell.context, cell.write_order));
    for (number, write_order) in counters.chain(gauges).chain(sets) {
        if registry.get(number).is_some_and(|known| known.contested()) {
            let latest = values.entry(registry.series_key(number)).or_insert(0);
            *latest = write_order.max(*latest);
        }
    }
    values
}

/// Calls `visit` with context, position, series and write order of each value that a shadowed
/// histogram posts.
fn shadowed_values(
    postings: Postings<'_>,
    bucket: &Bucket,
    visit: &mut dyn FnMut(u32, usize, u64, WriteOrder),
) {
    for cell in &bucket.histograms {
        let shadowed = postings.known(cell.context).filter(|(known, _)| known.shadowed());
        let Some((known, posting)) = shadowed else { continue };
        let suffixes = posting.histograms(postings.usual).suffixes().enumerate();
        for (position, suffix) in suffixes.filter(|(position, _)| posting.posts(*position)) {
            let key = postings.registry.aggregate_key(&known.context, suffix);
            visit(cell.context, position, key, cell.write_order);
        }
    }
}
