//! Mapper profiles and tag filters. An invalid rule is skipped; the others are used.

use std::time::Duration;

use super::entries::{EntryReader, shown};
use super::node::{Entry, Node, Tree};
use super::problem::Class;
use super::types::{MapperProfile, Mapping, MatchType, TagAction, TagFilter};
use super::units::{boolean, duration};
use super::value::quoted;

impl EntryReader<'_> {
    pub(super) fn profile(&mut self, item: &Node) -> Option<MapperProfile> {
        let fields = self.fields(item, PROFILE)?;
        let name = self.required(&fields, item, "name");
        let prefix = self.required(&fields, item, "prefix");
        let mappings = match fields.get("mappings").map(|node| &node.tree) {
            Some(Tree::List(items)) => {
                self.below(".mappings", |reader| reader.each(items, Self::mapping))
            }
            _ => {
                self.skip(item.at, "has no list of mappings; add one, or remove the profile");
                return None;
            }
        };
        let aggregates = self.inner_list(&fields, "histogram_aggregates", Self::aggregate);
        let percentiles = self.inner_list(&fields, "histogram_percentiles", Self::percentile);
        Some(MapperProfile {
            name: name?,
            prefix: prefix?,
            mappings,
            histogram_aggregates: aggregates,
            histogram_percentiles: percentiles,
            gauge_ttl: self.scalar(&fields, "gauge_ttl", "a duration such as 5m", |text| {
                duration(text, Duration::from_secs(1))
            }),
            counters_as_counts: self
                .scalar(&fields, "counters_as_counts", "true or false", boolean)
                .unwrap_or(false),
        })
    }

    fn mapping(&mut self, item: &Node) -> Option<Mapping> {
        let fields = self.fields(item, MAPPING)?;
        let pattern = self.required(&fields, item, "match");
        let name = self.required(&fields, item, "name");
        let match_type = match fields.get("match_type") {
            None => MatchType::Wildcard,
            Some(node) => self.below(".match_type", |reader| {
                reader.one_of(node, MatchType::of, MatchType::WORDS)
            })?,
        };
        let tags = match fields.get("tags").map(|node| &node.tree) {
            Some(Tree::Map(entries)) => self.below(".tags", |reader| reader.pairs(entries)),
            None | Some(Tree::Null) => Vec::new(),
            Some(_) => {
                self.skip(item.at, "tags: expected a map from tag key to string");
                return None;
            }
        };
        let (pattern, name) = (pattern?, name?);
        if let Err(reason) = check_pattern(match_type, &pattern) {
            let at = fields.get("match").map_or(item.at, |node| node.at);
            self.below(".match", |reader| {
                reader.skip(at, format!("{} {reason}", quoted(&pattern)));
            });
            return None;
        }
        Some(Mapping { pattern, match_type, name, tags })
    }

    pub(super) fn tag_filter(&mut self, item: &Node) -> Option<TagFilter> {
        let fields = self.fields(item, TAG_FILTER)?;
        let metric_name = self.required(&fields, item, "metric_name");
        let action = match fields.get("action") {
            None => TagAction::Exclude,
            Some(node) => self
                .below(".action", |reader| reader.one_of(node, TagAction::of, TagAction::WORDS))?,
        };
        // A filter without keys is skipped: `include` without keys would remove every tag.
        let tags = match fields.get("tags") {
            Some(_) => self.inner_list(&fields, "tags", Self::word)?,
            None => {
                self.skip(item.at, "has no tags; add a list of tag keys");
                return None;
            }
        };
        Some(TagFilter { metric_name: metric_name?, action, tags })
    }

    /// The fields of a map entry; unknown ones are reported.
    fn fields<'n>(&mut self, item: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
        let Tree::Map(entries) = &item.tree else {
            self.skip(item.at, format!("expected a map of {}", known.join(", ")));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let message = format!("unknown; the fields are {}", known.join(", "));
            self.below(&format!(".{}", entry.key), |reader| {
                reader.fault(Class::Name, entry.key_at, message);
            });
        }
        Some(Fields(entries))
    }

    fn required(&mut self, fields: &Fields<'_>, item: &Node, name: &str) -> Option<String> {
        match fields.get(name).and_then(Node::as_text).map(str::trim) {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                self.skip(item.at, format!("has no {name}; add one"));
                None
            }
        }
    }

    fn inner_list<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let node = fields.get(name)?;
        self.below(&format!(".{name}"), |reader| match &node.tree {
            Tree::List(items) => Some(reader.each(items, read)),
            _ => {
                reader.skip(node.at, format!("{}: expected a list, as [a, b]", shown(node)));
                None
            }
        })
    }

    fn scalar<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = fields.get(name)?;
        let value = node.as_text().and_then(|text| read(text.trim()));
        if value.is_none() {
            self.below(&format!(".{name}"), |reader| {
                reader.skip(node.at, format!("{}: expected {expected}", shown(node)));
            });
        }
        value
    }
}

const PROFILE: &[&str] = &[
    "name",
    "prefix",
    "mappings",
    "histogram_aggregates",
    "histogram_percentiles",
    "gauge_ttl",
    "counters_as_counts",
];
const MAPPING: &[&str] = &["match", "match_type", "name", "tags"];
const TAG_FILTER: &[&str] = &["metric_name", "action", "tags"];

struct Fields<'n>(&'n [Entry]);

impl<'n> Fields<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
    }
}

/// Checks that the mapper can compile the pattern.
fn check_pattern(match_type: MatchType, pattern: &str) -> Result<(), String> {
    match match_type {
        MatchType::Wildcard if pattern.contains("**") => {
            Err("has ** in a wildcard; * matches one segment without dots".into())
        }
        MatchType::Wildcard => {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_*.".contains(c);
            match pattern.chars().find(|c| !good(*c)) {
                None => Ok(()),
                Some(bad) => Err(format!(
                    "has {:?} in a wildcard; use letters, digits, - _ . and *, or match_type: regex",
                    bad
                )),
            }
        }
        MatchType::Regex => match regex::Regex::new(&format!("^{pattern}$")) {
            Ok(_) => Ok(()),
            Err(regex::Error::CompiledTooBig(_)) => Err("is too large once compiled".into()),
            Err(error) => {
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or_default();
                Err(format!(
                    "is not a valid regular expression ({}); look-around and back-references are not supported",
                    last.trim_start_matches("error: ")
                ))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lists::tests::{keeps, look};
    use crate::config::types::Aggregate;
    use crate::config::value::Value;

    #[test]
    fn profiles_are_read_whole() {
        let (value, faults) = look(
            "dogstatsd_mapper_profiles",
            r#"
- name: airflow
  prefix: "airflow."
  mappings:
    - match: "airflow.job.duration.*.*"
      name: airflow.job.duration
      tags: {job_type: "$1", job_name: "$2"}
    - {match: 'a|b\.(\d+)', match_type: regex, name: x.$1}
  histogram_percentiles: [0.99]
  histogram_aggregates: [max]
  gauge_ttl: 5m
  counters_as_counts: true
"#,
        );
        assert_eq!(faults, Vec::<String>::new());
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let profile = MapperProfile {
            name: "airflow".into(),
            prefix: "airflow.".into(),
            mappings: vec![
                Mapping {
                    pattern: "airflow.job.duration.*.*".into(),
                    match_type: MatchType::Wildcard,
                    name: "airflow.job.duration".into(),
                    tags: vec![tag("job_type", "$1"), tag("job_name", "$2")],
                },
                Mapping {
                    pattern: r"a|b\.(\d+)".into(),
                    match_type: MatchType::Regex,
                    name: "x.$1".into(),
                    tags: vec![],
                },
            ],
            histogram_aggregates: Some(vec![Aggregate::Max]),
            histogram_percentiles: Some(vec![0.99]),
            gauge_ttl: Some(Duration::from_secs(300)),
            counters_as_counts: true,
        };
        assert_eq!(value, Some(Value::Profiles(vec![profile])));
    }

    #[test]
    fn bad_mappings_and_profiles_are_skipped_one_by_one() {
        keeps(
            "dogstatsd_mapper_profiles",
            r#"
- {name: a, prefix: a., mappings: [{match: "^test.*", name: x}, {match: "a.**", name: x}, {match: "test.[]x", name: x}, {match: ok.*, name: x}]}
- {name: b, prefix: b., mappings: [{match: "(", match_type: regex, name: x}, {match: a, match_type: glob, name: x}, {name: x}, {match: a, name: x, tags: [a]}, 5]}
- {prefix: c., mappings: []}
- {name: d, prefix: d.}
- {name: e, prefix: e., mappings: [], mapings: []}
"#,
            "[a (prefix a., 1 mappings), b (prefix b., 0 mappings), e (prefix e., 0 mappings)]",
            &[
                "Entry [0].mappings[0].match \"^test.*\" has '^' in a wildcard",
                "Entry [0].mappings[1].match \"a.**\" has ** in a wildcard",
                "Entry [0].mappings[2].match \"test.[]x\" has '[' in a wildcard",
                "Entry [1].mappings[0].match \"(\" is not a valid regular expression",
                "Entry [1].mappings[1].match_type \"glob\" is unknown; use wildcard, regex",
                "Entry [1].mappings[2] has no match",
                "Entry [1].mappings[3] tags: expected a map",
                "Entry [1].mappings[4] expected a map of match",
                "Entry [2] has no name",
                "Entry [3] has no list of mappings",
                "Name [4].mapings unknown; the fields are name, prefix, mappings",
            ],
        );
    }

    #[test]
    fn tag_filters_exclude_unless_they_say_include() {
        keeps(
            "metric_tag_filterlist",
            "- {metric_name: x, tags: [id, user]}\n- {metric_name: y, action: include, tags: [env]}\n- {tags: [a]}\n- {metric_name: z, action: drop}\n- {metric_name: a, action: include, tags: env}\n- {metric_name: b}\n",
            "[x exclude id+user, y include env]",
            &[
                "[2] has no metric_name",
                "[3].action \"drop\" is unknown; use include, exclude",
                "[4].tags \"env\": expected a list",
                "[5] has no tags",
            ],
        );
    }
}
