//! What happens to names and tags on first sight of a raw key.
//!
//! Rules are immutable: a reload makes new ones and forgets every alias, so that each known metric
//! is decided again. Order: mapper, magic tags, namespace, name filter, tag filter, scope, common tags.
//!
//! Names, tags and hosts leave here as they will be posted: contexts are told apart by what the
//! intake can tell apart. Of two series that are equal for the intake it would keep only one.

use std::borrow::Cow;

use super::enriched::{Enriched, unique};
use super::filter::{NameFilter, TagFilters};
use super::identity::Context;
use super::limits::{ContextLimits, DropReason};
use super::mapper::{Mapped, Mapper};
use super::namespace::Namespace;
use super::origin::{Claims, OriginRules};
use super::scope::{Scope, ScopeRules};
use super::tag_use::{TagUse, keep_posted};
use super::utf8::repair_in_place;

/// Everything that a first sight applies.
#[derive(Debug, Default)]
pub struct Rules {
    /// From parts of names to tags.
    pub mapper: Mapper,
    /// Prefix of metric names, and who is exempt.
    pub namespace: Namespace,
    /// Final names that are not recorded.
    pub name_filter: NameFilter,
    /// Tags that are not kept, by final name.
    pub tag_filters: TagFilters,
    /// Tags of every point (`tags`, `dogstatsd_tags`), unique; not part of the identity.
    pub common_tags: Vec<Box<[u8]>>,
    /// The host of samples without a `host:` tag; empty when none is known.
    pub default_host: Box<[u8]>,
    /// Caps against attacks.
    pub limits: ContextLimits,
    /// Tags of senders; none when there is no source of them.
    pub origin: Option<OriginRules>,
    /// Which series are global; none where nothing is sent to the global tier.
    pub scope: Option<ScopeRules>,
}

/// A metric's final name and tags.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// The name after mapper and namespace.
    pub name: Cow<'a, [u8]>,
    /// Its tags and what they said. Those of a global series are still whole.
    pub enriched: Enriched<'a>,
    /// Who posts it.
    pub scope: Scope,
}

impl Rules {
    /// The final name and tags of a metric line, those of its origin included.
    ///
    /// # Errors
    /// The reason why no line with these bytes is ever recorded.
    pub fn rewrite<'a>(
        &self,
        name: &'a [u8],
        tags: &'a [u8],
        claims: &Claims<'_>,
    ) -> Result<Rewritten<'a>, DropReason> {
        self.limits.check_name(name)?;
        let Mapped { name, tags: added } = self.mapper.map(name);
        self.limits.check_name(&name)?;
        let mut enriched = self.enrich_with(tags, added, claims.cardinality_given())?;
        // Only a line or a mapping decides, not what is known of the sender.
        let said = self.scope.as_ref().and_then(|scope| scope.take_tags(&mut enriched.tags));
        self.add_origin(claims, &mut enriched);
        let mut name = match name {
            Cow::Borrowed(name) => self.namespace.apply(name),
            Cow::Owned(name) => Cow::Owned(self.namespace.apply(&name).into_owned()),
        };
        enriched.repaired |= repair_in_place(&mut name);
        if self.name_filter.matches(&name) {
            return Err(DropReason::Filtered);
        }
        if let Some(rule) = self.tag_filters.rule(&name) {
            enriched.tags.retain(|tag| rule.keeps(tag));
        }
        let scope = self.scope.as_ref().map(|scope| scope.scope_of(&name, said));
        Ok(Rewritten { name, enriched, scope: scope.unwrap_or_default() })
    }

    /// The tags of every point that join those of a context.
    #[must_use]
    pub fn common_tags_of(&self, context: &Context) -> &[Box<[u8]>] {
        match self.scope.as_ref().filter(|_| context.is_global()) {
            Some(scope) => scope.common_tags(),
            None => &self.common_tags,
        }
    }

    /// Leaves of a global series what all hosts have in common.
    pub(super) fn make_global(&self, rewritten: &mut Rewritten<'_>) {
        if let Some(scope) = self.scope.as_ref().filter(|_| rewritten.scope.is_global()) {
            scope.make_global(&mut rewritten.enriched);
        }
    }

    /// Removes from the tags of a series what no series can carry, and returns how many tags were
    /// left out: see [`keep_posted`]. Sketches carry every tag.
    pub(super) fn keep_posted(&self, rewritten: &mut Rewritten<'_>) -> u64 {
        let Enriched { tags, host, .. } = &mut rewritten.enriched;
        if tags.iter().all(|tag| matches!(TagUse::of(tag), TagUse::Plain)) {
            return 0;
        }
        let rule = self.tag_filters.rule(&rewritten.name);
        let mut common = self.common_tags.iter().rev();
        let device_of_all = common.find_map(|tag| match TagUse::of(tag) {
            TagUse::Device(name) if rule.is_none_or(|rule| rule.keeps(tag)) => Some(name),
            _ => None,
        });
        keep_posted(tags, device_of_all, host.as_deref().unwrap_or(&self.default_host))
    }

    /// Adds the tags of the message's origin.
    pub fn add_origin(&self, claims: &Claims<'_>, to: &mut Enriched<'_>) {
        if let Some(origin) = &self.origin {
            origin.add_tags(claims, &self.common_tags, to);
        }
    }

    /// The tags of any message but a metric. `cardinality_given`: the message has a `card:` field, so the tag
    /// of that meaning is an ordinary one.
    ///
    /// # Errors
    /// [`DropReason::TooManyTags`] or [`DropReason::TagTooLong`].
    pub fn enrich<'a>(
        &self,
        tags: &'a [u8],
        cardinality_given: bool,
    ) -> Result<Enriched<'a>, DropReason> {
        self.enrich_with(tags, Vec::new(), cardinality_given)
    }

    /// As [`Rules::enrich`], with tags that the mapper appends.
    fn enrich_with<'a>(
        &self,
        tags: &'a [u8],
        added: Vec<Vec<u8>>,
        cardinality_given: bool,
    ) -> Result<Enriched<'a>, DropReason> {
        let mut enriched = Enriched::default();
        if tags.is_empty() && added.is_empty() {
            return Ok(enriched);
        }
        if !tags.is_empty() {
            self.limits.check_tags(tags)?;
            for tag in tags.split(|byte| *byte == b',') {
                enriched.take(Cow::Borrowed(tag), cardinality_given);
            }
        }
        for tag in added {
            if tag.len() > self.limits.tag_bytes_max {
                return Err(DropReason::TagTooLong);
            }
            enriched.take(Cow::Owned(tag), cardinality_given);
        }
        enriched.tags.retain(|tag| !self.common_tags.iter().any(|common| **common == **tag));
        unique(&mut enriched.tags);
        enriched.host = enriched.host.filter(|host| **host != *self.default_host);
        Ok(enriched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn enriches(tags: &str, expect: &str) {
        let rules = Rules {
            common_tags: vec![Box::from(&b"common:1"[..])],
            default_host: Box::from(&b"here"[..]),
            ..Rules::default()
        };
        let enriched = rules.enrich(tags.as_bytes(), false).unwrap();
        let text = |bytes: &Cow<'_, [u8]>| String::from_utf8(bytes.to_vec()).unwrap();
        let mut got = enriched.tags.iter().map(text).collect::<Vec<_>>().join("|");
        for (label, value) in [
            ("host", &enriched.host),
            ("entity", &enriched.entity_id),
            ("card", &enriched.cardinality),
        ] {
            if let Some(value) = value {
                got.push_str(&format!(" {label}={}", text(value)));
            }
        }
        assert_eq!(got, expect, "{tags}");
    }

    #[test]
    fn magic_tags_leave_the_list() {
        enriches("", "");
        enriches("a,b", "a|b");
        enriches("a,,b", "a||b");
        enriches("a,b,a", "a|b");
        enriches("k:1,k:2", "k:1|k:2");
        enriches("host:web,a", "a host=web");
        enriches("host:", " host=");
        enriches("host:a,host:b", " host=b");
        enriches("host", "host");
        enriches("hosts:x", "hosts:x");
        enriches("host:here,a", "a");
        enriches("device:eth0", "device:eth0");
        enriches("dd.internal.entity_id:none,x", "x entity=none");
        enriches("dd.internal.card:high,x", "x card=high");
        enriches("dd.internal.card:,x", "x");
        enriches("dd.internal.jmx_check_name:kafka,x", "x");
        enriches("common:1,x", "x");
    }

    #[test]
    fn a_cardinality_tag_is_ordinary_beside_a_cardinality_field() {
        let enriched = Rules::default().enrich(b"dd.internal.card:high", true);
        assert_eq!(enriched.unwrap().tags, [&b"dd.internal.card:high"[..]]);
    }

    #[test]
    fn a_second_cardinality_tag_is_ordinary() {
        let none = "a:b|dd.internal.card:none|c:d card=none";
        enriches("a:b,dd.internal.card:none,dd.internal.card:none,c:d", none);
        enriches("a:b,dd.internal.card:,dd.internal.card:none,dd.internal.card:none,c:d", none);
    }

    use crate::config::{MapperProfile, Mapping, MatchType, TagAction, TagFilter};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    /// `name#tags`, in the namespace `ns`, exempt from `airflow`; maps `app.*.time` to `app.time`.
    fn everything() -> Rules {
        let mapping = |pattern: &str, name: &str, tags: &[(&str, &str)]| Mapping {
            pattern: pattern.into(),
            match_type: MatchType::Wildcard,
            name: name.into(),
            tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let profile = MapperProfile {
            name: "app".into(),
            prefix: "app.".into(),
            mappings: vec![
                mapping("app.*.time", "app.time", &[("job", "$1")]),
                mapping("app.on.*.up", "app.up", &[("host", "$1")]),
                mapping("app.flow.*", "airflow.$1", &[]),
                mapping("app.pair.*", "app.pair", &[("pair", "$1"), ("common", "1")]),
            ],
            histogram_aggregates: None,
            histogram_percentiles: None,
            gauge_ttl: None,
            counters_as_counts: false,
        };
        let (mapper, problems) = Mapper::new(&[profile]);
        assert_eq!(problems, []);
        let tags = TagFilter {
            metric_name: "ns.app.time".into(),
            action: TagAction::Exclude,
            tags: words(&["id"]),
        };
        Rules {
            mapper,
            namespace: Namespace::new("ns", &words(&["airflow"])),
            name_filter: NameFilter::new(&words(&["ns.gone", "ns.app.up.too", "airflow.x"]), false),
            tag_filters: TagFilters::new(&[tags]),
            common_tags: vec![Box::from(&b"common:1"[..])],
            ..Rules::default()
        }
    }

    #[track_caller]
    fn rewrites(line: &str, expect: Result<&str, DropReason>) {
        let (name, tags) = line.split_once('#').unwrap_or((line, ""));
        let rules = everything();
        let rewritten = rules.rewrite(name.as_bytes(), tags.as_bytes(), &Claims::default());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let got = rewritten.map(|rewritten| {
            let tags: Vec<String> = rewritten.enriched.tags.iter().map(|tag| text(tag)).collect();
            let host = rewritten.enriched.host.map(|host| format!(" host={}", text(&host)));
            let tags = if tags.is_empty() { String::new() } else { format!("#{}", tags.join("|")) };
            format!("{}{tags}{}", text(&rewritten.name), host.unwrap_or_default())
        });
        assert_eq!(got.as_deref().map_err(|reason| *reason), expect, "{line}");
    }

    #[test]
    fn a_name_goes_through_mapper_namespace_and_filters_in_this_order() {
        rewrites("x", Ok("ns.x"));
        rewrites("app.etl.time#env:p", Ok("ns.app.time#env:p|job:etl"));
        rewrites("app.etl.time#job:etl,job:a", Ok("ns.app.time#job:etl|job:a"));
        rewrites("app.etl.time#id:1,env:p,id", Ok("ns.app.time#env:p|job:etl"));
        rewrites("app.time#id:1", Ok("ns.app.time"));
        rewrites("app.on.web.up#a", Ok("ns.app.up#a host=web"));
        rewrites("app.on.web.up#host:first", Ok("ns.app.up host=web"));
        rewrites("app.flow.y", Ok("airflow.y"));
        rewrites("app.flow.x", Err(DropReason::Filtered));
        rewrites("gone#a", Err(DropReason::Filtered));
        rewrites("ns.gone", Ok("ns.ns.gone"));
        rewrites("gone.x", Ok("ns.gone.x"));
        rewrites("app.pair.a,b#c", Ok("ns.app.pair#c|pair:a,b"));
        rewrites("kept#id:1", Ok("ns.kept#id:1"));
    }

    #[test]
    fn what_a_mapping_makes_too_long_is_dropped() {
        let mut rules = everything();
        rules.limits =
            ContextLimits { name_bytes_max: 16, tag_bytes_max: 10, ..ContextLimits::default() };
        assert_eq!(rules.rewrite(b"app.a.time", b"", &Claims::default()).map(|_| ()), Ok(()));
        let reason = rules.rewrite(b"app.abcdefg.time", b"", &Claims::default()).map(|_| ());
        assert_eq!(reason, Err(DropReason::TagTooLong));
        let reason = rules.rewrite(b"app.flow.abcdefghi", b"", &Claims::default()).map(|_| ());
        assert_eq!(reason, Err(DropReason::NameTooLong));
        rules.limits.name_bytes_max = 18;
        let reason = rules.rewrite(b"app.flow.abcdefghi", b"", &Claims::default()).map(|_| ());
        assert_eq!(reason, Ok(()));
    }

    #[test]
    fn events_and_checks_are_no_metrics() {
        let rules = everything();
        let enriched = rules.enrich(b"id:1,common:1", false).unwrap();
        assert_eq!(enriched.tags, [&b"id:1"[..]]);
    }

    #[test]
    fn many_tags_are_made_unique_in_order_of_first_sight() {
        let tags: Vec<String> = (0..60).map(|number| format!("t{}", number % 40)).collect();
        let joined = tags.join(",");
        let enriched = Rules::default().enrich(joined.as_bytes(), false).unwrap();
        let expect: Vec<Cow<'_, [u8]>> =
            tags[..40].iter().map(|tag| Cow::Borrowed(tag.as_bytes())).collect();
        assert_eq!(enriched.tags, expect);
    }
}
