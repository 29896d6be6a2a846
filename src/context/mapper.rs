//! The mapper (`dogstatsd_mapper_profiles`): parts of names become tags, once per raw key.
//!
//! There is no cache of results: an alias remembers what a raw key leads to, so a known metric
//! never comes here. A name costs one prefix test per profile and one match per mapping of the
//! first profile that fits, in time linear in the name.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{Captures, Regex, RegexBuilder};
use thiserror::Error;

use super::template::Template;
use crate::config::{Aggregate, MapperProfile, Mapping, MatchType};

/// Memory that the lazy automaton of one pattern may take; past it matching is slower, not wrong.
const AUTOMATON_BYTES_MAX: usize = 256 << 10;

/// What a profile changes in the posting of the metrics under its prefix. Whippet's own; the Agent
/// knows none of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileSettings {
    /// Instead of `histogram_aggregates`.
    pub histogram_aggregates: Option<Vec<Aggregate>>,
    /// Instead of `histogram_percentiles`: shares from 0 to 1.
    pub histogram_percentiles: Option<Vec<f64>>,
    /// How long a gauge is posted again without new values; not at all without one.
    pub gauge_ttl: Option<Duration>,
    /// Counters are posted as counts instead of rates.
    pub counters_as_counts: bool,
}

/// A mapping that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("mapper profile {profile:?}, match {pattern:?}: {reason}; the mapping is skipped")]
pub struct MapperProblem {
    /// Name of the profile.
    pub profile: String,
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong.
    pub reason: String,
}

/// Compiled profiles, in order.
#[derive(Debug, Default)]
pub struct Mapper {
    profiles: Vec<Profile>,
}

#[derive(Debug)]
struct Profile {
    /// Empty for `*`.
    prefix: Box<[u8]>,
    rules: Vec<Rule>,
    settings: Option<Arc<ProfileSettings>>,
}

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    name: Template,
    /// `key:` and the value.
    tags: Vec<(Box<[u8]>, Template)>,
}

/// What a name is mapped to.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// The new name, or the old one.
    pub name: Cow<'a, [u8]>,
    /// Tags to append, magic ones among them.
    pub tags: Vec<Vec<u8>>,
}

impl Mapper {
    /// Compiles every mapping that can be compiled and reports the others.
    #[must_use]
    pub fn new(profiles: &[MapperProfile]) -> (Self, Vec<MapperProblem>) {
        let mut problems = Vec::new();
        let profiles = profiles.iter().map(|profile| Profile::new(profile, &mut problems));
        (Mapper { profiles: profiles.collect() }, problems)
    }

    /// True when no profile is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty()
    }

    /// The name that a raw name stands for. Without a match it stands for itself, also when a later
    /// profile would match: the first profile whose prefix fits is the only one.
    #[must_use]
    pub fn map<'a>(&self, name: &'a [u8]) -> Mapped<'a> {
        let rules = self.profile_of(name).map_or(&[][..], |profile| &profile.rules);
        let matched = rules.iter().find_map(|rule| Some((rule, rule.pattern.captures(name)?)));
        let mapped = matched.map(|(rule, captures)| rule.apply(&captures));
        // Differs: a name that expands to nothing is not used; the metric keeps its own. The Agent
        // posts it without one, and the intake refuses it.
        mapped
            .filter(|mapped| !mapped.name.is_empty())
            .unwrap_or(Mapped { name: Cow::Borrowed(name), tags: Vec::new() })
    }

    /// What the profile of a raw name changes in its posting.
    #[must_use]
    pub fn settings(&self, name: &[u8]) -> Option<&Arc<ProfileSettings>> {
        self.profile_of(name)?.settings.as_ref()
    }

    /// The settings of every profile that has some.
    pub fn all_settings(&self) -> impl Iterator<Item = &Arc<ProfileSettings>> {
        self.profiles.iter().filter_map(|profile| profile.settings.as_ref())
    }

    fn profile_of(&self, name: &[u8]) -> Option<&Profile> {
        self.profiles.iter().find(|profile| name.starts_with(&profile.prefix))
    }
}

impl Profile {
    fn new(profile: &MapperProfile, problems: &mut Vec<MapperProblem>) -> Self {
        let prefix = if profile.prefix == "*" { "" } else { profile.prefix.as_str() };
        let rules = profile.mappings.iter().filter_map(|mapping| {
            let problem = |reason| MapperProblem {
                profile: profile.name.clone(),
                pattern: mapping.pattern.clone(),
                reason,
            };
            Rule::new(mapping).map_err(|reason| problems.push(problem(reason))).ok()
        });
        let rules = rules.collect();
        let settings = ProfileSettings {
            histogram_aggregates: profile.histogram_aggregates.clone(),
            histogram_percentiles: profile.histogram_percentiles.clone(),
            gauge_ttl: profile.gauge_ttl,
            counters_as_counts: profile.counters_as_counts,
        };
        let settings = (settings != ProfileSettings::default()).then(|| Arc::new(settings));
        Profile { prefix: prefix.as_bytes().into(), rules, settings }
    }
}

impl Rule {
    fn new(mapping: &Mapping) -> Result<Self, String> {
        let pattern = match mapping.match_type {
            MatchType::Wildcard => wildcard(&mapping.pattern)?,
            MatchType::Regex => regex(&mapping.pattern)?,
        };
        let texts = mapping.tags.iter().flat_map(|(key, value)| [key, value]);
        // A context joins its tags by newlines when one of them holds a comma.
        if texts.chain([&mapping.name]).any(|text| text.contains('\n')) {
            return Err("its name or a tag holds a line break".into());
        }
        let tags = mapping.tags.iter().map(|(key, value)| {
            (format!("{key}:").into_bytes().into(), Template::new(value, &pattern))
        });
        Ok(Rule { name: Template::new(&mapping.name, &pattern), tags: tags.collect(), pattern })
    }

    fn apply<'a>(&self, captures: &Captures<'_>) -> Mapped<'a> {
        Mapped {
            name: Cow::Owned(self.name.expand(b"", captures)),
            tags: self.tags.iter().map(|(key, value)| value.expand(key, captures)).collect(),
        }
    }
}

/// `*` is a piece without dots, everything else is itself.
fn wildcard(pattern: &str) -> Result<Regex, String> {
    if pattern.contains("**") {
        return Err("** is not a wildcard; one * stands for one piece without dots".into());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_*.".contains(c);
    if let Some(bad) = pattern.chars().find(|c| !allowed(*c)) {
        return Err(format!("{bad:?} is not allowed in a wildcard; use match_type: regex"));
    }
    let pieces: Vec<String> = pattern.split('*').map(regex::escape).collect();
    compile(&format!("^{}$", pieces.join("([^.]*)")), false)
}

/// The text between anchors, without a group around it: in `a|b` each anchor binds one branch, as in
/// the Agent.
///
/// `\d`, `\w`, `\s` and `\b` know ASCII alone, as in RE2, and bytes that are not UTF-8 can be matched.
/// A pattern that itself needs Unicode (`é`, `\pL`) is compiled with it.
fn regex(pattern: &str) -> Result<Regex, String> {
    let anchored = format!("^{pattern}$");
    let as_bytes = if pattern.is_ascii() { compile(&anchored, false).ok() } else { None };
    as_bytes.map_or_else(|| compile(&anchored, true), Ok)
}

fn compile(pattern: &str, unicode: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(unicode).dfa_size_limit(AUTOMATON_BYTES_MAX);
    builder.build().map_err(|error| {
        let text = error.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(match_type: MatchType, pattern: &str, name: &str, tags: &[(&str, &str)]) -> Mapping {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Mapping { pattern: pattern.into(), match_type, name: name.into(), tags: tags.collect() }
    }

    fn profile(prefix: &str, mappings: &[Mapping]) -> MapperProfile {
        MapperProfile {
            name: "test".into(),
            prefix: prefix.into(),
            mappings: mappings.to_vec(),
            histogram_aggregates: None,
            histogram_percentiles: None,
            gauge_ttl: None,
            counters_as_counts: false,
        }
    }

    #[track_caller]
    fn maps(profiles: &[MapperProfile], name: &str, expect: &str) {
        let (mapper, problems) = Mapper::new(profiles);
        assert_eq!(problems, []);
        let mapped = mapper.map(name.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut got = text(&mapped.name);
        for tag in &mapped.tags {
            got.push_str(&format!(" {}", text(tag)));
        }
        assert_eq!(got, expect, "{name}");
    }

    use MatchType::{Regex as Expression, Wildcard};

    #[test]
    fn a_wildcard_stands_for_one_piece_without_dots() {
        let tags = [("job_type", "$1"), ("job_name", "$2")];
        let airflow = [profile(
            "airflow.",
            &[mapping(Wildcard, "airflow.job.duration.*.*", "airflow.job.duration", &tags)],
        )];
        let mapped = "airflow.job.duration job_type:etl job_name:daily";
        maps(&airflow, "airflow.job.duration.etl.daily", mapped);
        maps(&airflow, "airflow.job.duration.etl", "airflow.job.duration.etl");
        maps(&airflow, "airflow.job.duration.a.b.c", "airflow.job.duration.a.b.c");
        maps(&airflow, "other.job.duration.a.b", "other.job.duration.a.b");
        maps(&airflow, "airflow.job.duration..", "airflow.job.duration job_type: job_name:");
        maps(&airflow, "airflowXjobXdurationXaXb", "airflowXjobXdurationXaXb");
        let start = [profile(
            "test.",
            &[mapping(Wildcard, "test.*_start", "test.start", &[("job", "$1")])],
        )];
        maps(&start, "test.my_job_start", "test.start job:my_job");
        let turned =
            [profile("test.", &[mapping(Wildcard, "test.job.*.*", "test.hello.$2.$1", &[])])];
        maps(&turned, "test.job.a.b", "test.hello.b.a");
    }

    #[test]
    fn bytes_that_are_no_text_fit_a_wildcard_and_a_dot() {
        for (kind, pattern) in [(Wildcard, "a.*"), (Expression, r"a\.(.*)")] {
            let (mapper, problems) =
                Mapper::new(&[profile("*", &[mapping(kind, pattern, "a", &[("v", "$1")])])]);
            assert_eq!(problems, []);
            assert_eq!(mapper.map(b"a.\xFF").tags, [b"v:\xFF"]);
        }
    }

    #[test]
    fn only_the_first_profile_that_fits_is_tried() {
        let profiles = [
            profile("foo.", &[mapping(Wildcard, "foo.bar.length.*", "foo.length", &[])]),
            profile("foo.bar.", &[mapping(Wildcard, "foo.bar.duration.*", "foo.duration", &[])]),
            profile(
                "*",
                &[mapping(Wildcard, "foo.*", "never", &[]), mapping(Wildcard, "*", "any", &[])],
            ),
        ];
        maps(&profiles, "foo.bar.duration.x", "foo.bar.duration.x");
        maps(&profiles, "foo.bar.length.x", "foo.length");
        maps(&profiles, "food", "any");
    }

    #[test]
    fn the_first_mapping_that_matches_wins() {
        let mappings = [
            mapping(Wildcard, "a.b.*", "first", &[]),
            mapping(Wildcard, "a.*.*", "second", &[]),
            mapping(Expression, "a.*", "third", &[]),
        ];
        let profiles = [profile("a.", &mappings)];
        maps(&profiles, "a.b.c", "first");
        maps(&profiles, "a.x.c", "second");
        maps(&profiles, "a.x", "third");
    }

    #[test]
    fn regexes_are_anchored_as_text_and_not_as_a_group() {
        let of =
            |pattern: &str| [profile("*", &[mapping(Expression, pattern, "m", &[("v", "$1")])])];
        maps(&of(r"test\.job\.(.*)"), "test.job.my.funky$name/1", "m v:my.funky$name/1");
        maps(&of(r"test\.job\.(.*)"), "x.test.job.a", "x.test.job.a");
        maps(&of("a|b"), "a.and.more", "m v:");
        maps(&of("a|b"), "more.b", "m v:");
        maps(&of("a|b"), "b.a.", "b.a.");
        maps(&of(r"(\w+)"), "é", "é");
        maps(&of(r"(\pL)"), "é", "m v:é");
        maps(&of("(é)x"), "éx", "m v:é");
    }

    #[test]
    fn a_name_that_expands_to_nothing_is_kept() {
        let profiles = [profile("*", &[mapping(Wildcard, "a.*", "$2", &[("v", "$1")])])];
        maps(&profiles, "a.b", "a.b");
    }

    #[track_caller]
    fn refuses(match_type: MatchType, pattern: &str, name: &str, expect: &str) {
        let good = mapping(Wildcard, "ok.*", "ok", &[]);
        let profiles = [profile("*", &[mapping(match_type, pattern, name, &[]), good])];
        let (mapper, problems) = Mapper::new(&profiles);
        let reported: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0].contains(expect), "{reported:?}");
        assert_eq!(*mapper.map(b"ok.x").name, *b"ok", "the others go on");
    }

    #[test]
    fn a_bad_mapping_is_reported_and_the_others_go_on() {
        refuses(Wildcard, "^test.*", "x", "'^' is not allowed");
        refuses(Wildcard, "test.[]x", "x", "'[' is not allowed");
        refuses(Wildcard, "a.**", "x", "** is not a wildcard");
        refuses(Expression, "(", "x", "unclosed group");
        refuses(Expression, r"(a)\1", "x", "backreferences are not supported");
        refuses(Wildcard, "a", "x\ny", "line break");
    }

    #[test]
    fn settings_are_those_of_the_first_profile_that_fits() {
        let special = MapperProfile { counters_as_counts: true, ..profile("a.", &[]) };
        let (mapper, _) = Mapper::new(&[profile("a.b.", &[]), special]);
        assert!(mapper.settings(b"a.c").is_some_and(|settings| settings.counters_as_counts));
        assert_eq!(mapper.settings(b"a.b.c"), None);
        assert_eq!(mapper.settings(b"b"), None);
        assert_eq!(mapper.all_settings().count(), 1);
    }
}
