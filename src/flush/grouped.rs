//! Series of one name side by side: the compressor finds the name, and often the tags, in the series
//! before. It has less to search and less to write.
//!
//! Contexts that are born together get their numbers name by name, and each flush has its cells in the order
//! of their numbers. Nothing is kept for it. Where contexts come and go for long, names mix again.

use ahash::RandomState;

use crate::aggregate::Bucket;
use crate::context::{Birth, prefetch};

/// Fewer keep their order: they fill no payload.
const GROUPED_MIN: usize = 256;
/// How far ahead births and their keys are loaded.
const AHEAD: usize = 8;

/// The births of a bucket, those of one name together and in their order.
pub(super) fn by_name<'a>(
    births: &'a [Birth],
    state: &RandomState,
) -> impl Iterator<Item = &'a Birth> + use<'a> {
    let order = if births.len() < GROUPED_MIN { None } else { Some(order(births, state)) };
    let birth = move |rank: usize| match &order {
        None => births.get(rank),
        // The low half is the place.
        Some(order) => births.get(*order.get(rank)? as u32 as usize),
    };
    (0..births.len()).filter_map(move |rank| {
        if let Some(later) = birth(rank + 2 * AHEAD) {
            prefetch(later);
        }
        if let Some(next) = birth(rank + AHEAD) {
            next.context.prefetch();
        }
        birth(rank)
    })
}

/// Half a hash of the name and the place of each, sorted.
fn order(births: &[Birth], state: &RandomState) -> Vec<u64> {
    let entries = births.iter().enumerate().map(|(at, birth)| {
        if let Some(next) = births.get(at + AHEAD) {
            next.context.prefetch();
        }
        state.hash_one(birth.context.name()) << 32 | at as u64
    });
    let mut order: Vec<u64> = entries.collect();
    order.sort_unstable();
    order
}

/// Sorts the cells of a merged bucket by the number of their context.
pub(super) fn by_number(bucket: &mut Bucket) {
    sort(&mut bucket.counters, |cell| cell.context);
    sort(&mut bucket.gauges, |cell| cell.context);
    sort(&mut bucket.sets, |cell| cell.context);
    sort(&mut bucket.histograms, |cell| cell.context);
    sort(&mut bucket.distributions, |cell| cell.context);
}

/// Sorts what has numbers by them, if it is much.
pub(super) fn sort<T>(items: &mut [T], number: impl Fn(&T) -> u32) {
    if items.len() >= GROUPED_MIN {
        items.sort_unstable_by_key(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, ContextParts};
    use crate::protocol::MetricType;

    fn births(names: usize, count: usize) -> Vec<Birth> {
        let birth = |at: usize| {
            let (name, tag) = (format!("name{}", at % names), format!("t:{at}"));
            let tags: &[&[u8]] = &[tag.as_bytes()];
            let context = Context::new(&ContextParts {
                kind: MetricType::Counter,
                name: name.as_bytes(),
                tags,
                host: None,
                overflow: false,
                global: false,
            });
            Birth { id: at as u32, context: context.unwrap(), settings: None }
        };
        (0..count).map(birth).collect()
    }

    #[test]
    fn births_of_a_name_stand_together_and_in_their_order() {
        let births = births(10, 1_000);
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let grouped: Vec<&Birth> = by_name(&births, &state).collect();
        assert_eq!(grouped.len(), births.len());
        let groups: Vec<&[&Birth]> =
            grouped.chunk_by(|a, b| a.context.name() == b.context.name()).collect();
        assert_eq!(groups.len(), 10);
        assert!(groups.iter().all(|group| group.is_sorted_by_key(|birth| birth.id)));
    }

    #[test]
    fn few_births_keep_their_order() {
        let births = births(3, GROUPED_MIN - 1);
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let ids = by_name(&births, &state).map(|birth| birth.id);
        assert!(ids.eq(0..births.len() as u32));
    }
}
