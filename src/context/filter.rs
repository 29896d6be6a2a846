//! Filters: names that are not recorded, tags that are not kept.

use std::collections::HashMap;

use crate::config::{TagAction, TagFilter};

/// A list of final names (`metric_filterlist`), exact or as prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFilter {
    /// In order; as prefixes, none begins with another.
    entries: Vec<Box<[u8]>>,
    prefixes: bool,
}

impl NameFilter {
    /// A filter of these names; `prefixes` for `metric_filterlist_match_prefix`.
    #[must_use]
    pub fn new(names: &[String], prefixes: bool) -> Self {
        Self::of(names.iter().map(|name| Box::from(name.as_bytes())).collect(), prefixes)
    }

    fn of(mut entries: Vec<Box<[u8]>>, prefixes: bool) -> Self {
        entries.sort_unstable();
        entries.dedup_by(|later, earlier| {
            later == earlier || (prefixes && later.starts_with(earlier))
        });
        NameFilter { entries, prefixes }
    }

    /// True when there is nothing on the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when the list names it. One binary search: with nested prefixes gone, the only prefix
    /// of a name is the last entry that is not after it.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        if !self.prefixes {
            return self.entries.binary_search_by(|entry| (**entry).cmp(name)).is_ok();
        }
        let after = self.entries.partition_point(|entry| **entry <= *name);
        after.checked_sub(1).is_some_and(|at| name.starts_with(&self.entries[at]))
    }

    /// The part of the list that names aggregates of histograms: what ends in one of the suffixes.
    #[must_use]
    pub fn ending_in(&self, suffixes: &[&str]) -> Self {
        let named = |entry: &[u8]| suffixes.iter().any(|end| entry.ends_with(end.as_bytes()));
        let entries = self.entries.iter().filter(|entry| named(entry)).cloned().collect();
        NameFilter { entries, prefixes: self.prefixes }
    }
}

/// `metric_tag_filterlist`: which tags of which metrics are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilters(HashMap<Box<[u8]>, TagRule>);

/// What is kept of one metric's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRule {
    include: bool,
    /// In order.
    keys: Vec<Box<[u8]>>,
}

impl TagFilters {
    /// Several entries of one metric and action are one with all their tags; where both actions are
    /// given for one metric, the tags to exclude count and those to include do not.
    #[must_use]
    pub fn new(filters: &[TagFilter]) -> Self {
        let mut rules: HashMap<Box<[u8]>, TagRule> = HashMap::new();
        for filter in filters {
            let include = filter.action == TagAction::Include;
            let fresh = || TagRule { include, keys: Vec::new() };
            let rule = rules.entry(Box::from(filter.metric_name.as_bytes())).or_insert_with(fresh);
            if rule.include && !include {
                *rule = fresh();
            }
            if rule.include == include {
                rule.keys.extend(filter.tags.iter().map(|key| Box::from(key.as_bytes())));
            }
        }
        for rule in rules.values_mut() {
            rule.keys.sort_unstable();
            rule.keys.dedup();
        }
        TagFilters(rules)
    }

    /// The rule for a final name.
    #[must_use]
    pub fn rule(&self, name: &[u8]) -> Option<&TagRule> {
        if self.0.is_empty() { None } else { self.0.get(name) }
    }
}

impl TagRule {
    /// True when a tag stays. Its key is what stands before the first colon, else all of it.
    #[must_use]
    pub fn keeps(&self, tag: &[u8]) -> bool {
        let key = &tag[..memchr::memchr(b':', tag).unwrap_or(tag.len())];
        self.keys.binary_search_by(|known| (**known).cmp(key)).is_ok() == self.include
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str], prefixes: bool) -> NameFilter {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        NameFilter::new(&list, prefixes)
    }

    #[track_caller]
    fn filters(filter: &NameFilter, hits: &[&str], misses: &[&str]) {
        for (names, expect) in [(hits, true), (misses, false)] {
            for name in names {
                assert_eq!(filter.matches(name.as_bytes()), expect, "{name}");
            }
        }
    }

    #[test]
    fn names_are_filtered_whole_or_as_prefixes() {
        let list = ["b.c", "a.b", "a.b", "a.b.c", "zz"];
        filters(&names(&list, false), &["a.b", "b.c", "a.b.c"], &["a", "a.bc", "a.b.d", "", "zzz"]);
        let hits = ["a.b", "a.b.c", "a.b.zzz", "a.bc", "b.c", "zzz"];
        filters(&names(&list, true), &hits, &["a", "a.a", "b", "b.d", "", "z"]);
        filters(&names(&["a."], true), &["a.x", "a."], &["a", "ab"]);
        filters(&names(&[], true), &[], &["", "a"]);
    }

    /// Twin: every entry tried in turn.
    #[test]
    fn the_search_agrees_with_trying_every_entry() {
        let words: Vec<String> = ["a", "ab", "aba", "b", "ba", "bab", "c.a", "c.ab"]
            .iter()
            .flat_map(|word| ["", ".x", "a"].map(|end| format!("{word}{end}")))
            .collect();
        for step in 1..7 {
            let list: Vec<String> = words.iter().step_by(step).cloned().collect();
            let (exact, prefix) = (NameFilter::new(&list, false), NameFilter::new(&list, true));
            for word in &words {
                assert_eq!(exact.matches(word.as_bytes()), list.contains(word));
                let begins = list.iter().any(|entry| word.starts_with(entry.as_str()));
                assert_eq!(prefix.matches(word.as_bytes()), begins, "{word} in {list:?}");
            }
        }
    }

    #[test]
    fn entries_of_aggregates_are_recognised_by_their_end() {
        let list = names(&["req.avg", "req.max", "req", "a.95percentile", "average"], false);
        let aggregates = list.ending_in(&[".avg", ".95percentile"]);
        filters(&aggregates, &["req.avg", "a.95percentile"], &["req", "req.max", "average"]);
    }

    fn rules(list: &[(&str, TagAction, &[&str])]) -> TagFilters {
        let filter = |(name, action, tags): &(&str, TagAction, &[&str])| TagFilter {
            metric_name: (*name).to_owned(),
            action: *action,
            tags: tags.iter().map(ToString::to_string).collect(),
        };
        TagFilters::new(&list.iter().map(filter).collect::<Vec<_>>())
    }

    #[track_caller]
    fn keeps(filters: &TagFilters, expect: &str) {
        let rule = filters.rule(b"x").unwrap();
        let tags = ["id:1", "id", "ids:1", "env:p:q", "env", ":x", ""];
        let kept: Vec<&str> = tags.into_iter().filter(|tag| rule.keeps(tag.as_bytes())).collect();
        assert_eq!(kept.join(" "), expect);
    }

    #[test]
    fn tags_are_recognised_by_their_key() {
        use TagAction::{Exclude, Include};
        keeps(&rules(&[("x", Exclude, &["id"])]), "ids:1 env:p:q env :x ");
        keeps(&rules(&[("x", Include, &["id"])]), "id:1 id");
        keeps(&rules(&[("x", Exclude, &["id", ""])]), "ids:1 env:p:q env");
        keeps(&rules(&[("x", Include, &["id"]), ("x", Include, &["env"])]), "id:1 id env:p:q env");
        keeps(&rules(&[("x", Exclude, &["id"]), ("x", Exclude, &["env"])]), "ids:1 :x ");
        keeps(&rules(&[("x", Exclude, &[])]), "id:1 id ids:1 env:p:q env :x ");
        keeps(&rules(&[("x", Include, &[])]), "");
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let entries: [(&str, TagAction, &[&str]); 3] =
                [("x", Include, &["id"]), ("x", Exclude, &["id"]), ("x", Include, &["env"])];
            keeps(&rules(&order.map(|at| entries[at])), "ids:1 env:p:q env :x ");
        }
        assert_eq!(rules(&[("x", Exclude, &["id"])]).rule(b"x.y"), None);
    }
}
