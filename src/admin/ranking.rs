//! Which metrics have the most contexts, and which of their tags make them.

use std::collections::HashMap;

use ahash::RandomState;
use serde_json::{Value, json};

use super::state::KnownContexts;
use crate::context::Context;
use crate::context::heavy_hitters::Distinct;

/// Values of one tag key counted exactly; beyond, the number is an estimate.
const EXACT_MAX: usize = 10_000;

/// A context and the tags that join it where it is posted.
type Tagged<'a> = (&'a Context, &'a [Box<[u8]>]);

/// Names by contexts, tag keys by distinct values, both descending and then by name; what is left
/// over is summed up.
pub(crate) fn by_contexts(known: &KnownContexts, names: usize, keys: usize) -> Value {
    let mut counts: HashMap<&[u8], usize, RandomState> = HashMap::default();
    for (context, _) in known.all() {
        *counts.entry(context.name()).or_default() += 1;
    }
    let mut ranked: Vec<(&[u8], usize)> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let rest = ranked.split_off(names.min(ranked.len()));
    let mut of_name: HashMap<&[u8], Vec<Tagged<'_>>, RandomState> =
        ranked.iter().map(|(name, count)| (*name, Vec::with_capacity(*count))).collect();
    for tagged in known.all() {
        if let Some(contexts) = of_name.get_mut(tagged.0.name()) {
            contexts.push(tagged);
        }
    }
    let row = |(name, contexts): &(&[u8], usize)| {
        let mut tag_keys = of_name.get(name).map(|of| tag_keys(of)).unwrap_or_default();
        let others = tag_keys.split_off(keys.min(tag_keys.len()));
        let key = |(key, values): &(String, u64)| json!({ "key": key, "values": values });
        json!({
            "name": String::from_utf8_lossy(name),
            "contexts": contexts,
            "tag_keys": tag_keys.iter().map(key).collect::<Vec<_>>(),
            "other_keys": {
                "keys": others.len(),
                "values": others.iter().map(|(_, values)| values).sum::<u64>(),
            },
        })
    };
    json!({
        "names": ranked.iter().map(row).collect::<Vec<_>>(),
        "others": {
            "names": rest.len(),
            "contexts": rest.iter().map(|(_, contexts)| contexts).sum::<usize>(),
        },
    })
}

/// Tag keys of some contexts with their number of distinct values.
fn tag_keys(contexts: &[Tagged<'_>]) -> Vec<(String, u64)> {
    let mut keys: HashMap<&[u8], Values<'_>, RandomState> = HashMap::default();
    for (context, common_tags) in contexts {
        for tag in context.tags(common_tags).iter() {
            let end = memchr::memchr(b':', tag).unwrap_or(tag.len());
            keys.entry(&tag[..end]).or_default().see(&tag[end..]);
        }
    }
    let mut rows: Vec<(String, u64)> = keys
        .into_iter()
        .map(|(key, values)| (String::from_utf8_lossy(key).into_owned(), values.count()))
        .collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows
}

#[derive(Default)]
struct Values<'a> {
    exact: std::collections::HashSet<&'a [u8], RandomState>,
    estimated: Option<(Distinct, RandomState)>,
}

impl<'a> Values<'a> {
    fn see(&mut self, value: &'a [u8]) {
        if let Some((distinct, state)) = &mut self.estimated {
            distinct.see(state.hash_one(value));
        } else if self.exact.insert(value) && self.exact.len() > EXACT_MAX {
            let state = self.exact.hasher().clone();
            let mut distinct = Distinct::default();
            self.exact.drain().for_each(|value| distinct.see(state.hash_one(value)));
            self.estimated = Some((distinct, state));
        }
    }

    fn count(&self) -> u64 {
        match &self.estimated {
            Some((distinct, _)) => distinct.estimate(),
            None => self.exact.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::context::{ContextParts, Rules};
    use crate::protocol::MetricType;

    fn known(rows: impl Iterator<Item = (String, Vec<String>)>) -> KnownContexts {
        let context = |(name, tags): (String, Vec<String>)| {
            let tags: Vec<&[u8]> = tags.iter().map(String::as_bytes).collect();
            let kind = MetricType::Counter;
            let name = name.as_bytes();
            let (host, overflow, global) = (None, false, false);
            Context::new(&ContextParts { kind, name, tags: &tags, host, overflow, global })
        };
        KnownContexts {
            contexts: rows.map(|row| context(row).unwrap()).collect(),
            of_doors: Vec::new(),
            rules: Arc::new(Rules::default()),
        }
    }

    #[test]
    fn names_and_keys_are_ranked_and_the_rest_is_summed_up() {
        let tags = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let known = known(
            [
                ("request.count", tags(&["env:prod", "service:web", "bare"])),
                ("request.count", tags(&["env:dev", "service:web"])),
                ("b", tags(&[])),
                ("a", tags(&[])),
                ("c", tags(&["x:1"])),
                ("c", tags(&["x:2"])),
            ]
            .into_iter()
            .map(|(name, tags): (&str, Vec<String>)| (name.to_owned(), tags)),
        );
        let top = by_contexts(&known, 3, 1);
        assert_eq!(
            top,
            json!({
                "names": [
                    {"name": "c", "contexts": 2, "tag_keys": [{"key": "x", "values": 2}],
                     "other_keys": {"keys": 0, "values": 0}},
                    {"name": "request.count", "contexts": 2, "tag_keys": [{"key": "env", "values": 2}],
                     "other_keys": {"keys": 2, "values": 2}},
                    {"name": "a", "contexts": 1, "tag_keys": [],
                     "other_keys": {"keys": 0, "values": 0}},
                ],
                "others": {"names": 1, "contexts": 1},
            })
        );
    }

    #[test]
    fn many_values_become_an_estimate() {
        let rows = (0..3 * EXACT_MAX).map(|user| ("n".to_owned(), vec![format!("user:{user}")]));
        let top = by_contexts(&known(rows), 1, 1);
        let values = top["names"][0]["tag_keys"][0]["values"].as_f64().unwrap();
        assert!((values / (3 * EXACT_MAX) as f64 - 1.0).abs() < 0.25, "{values}");
    }
}
