//! What happens to names and tags on first sight of a raw key.
//!
//! Rules are immutable: a reload makes new ones and forgets every alias, so that each known metric
//! is decided again. Order: mapper, magic tags, namespace, name filter, tag filter, common tags.

use std::borrow::Cow;

use super::limits::{DropReason, Limits};
use super::namespace::Namespace;
use super::origin::{Claims, OriginRules};

/// Everything that a first sight applies.
#[derive(Debug, Default)]
pub struct Rules {
    /// Prefix of metric names, and who is exempt.
    pub namespace: Namespace,
    /// Tags of every point (`tags`, `dogstatsd_tags`), unique; they are no part of an identity.
    pub common_tags: Vec<Box<[u8]>>,
    /// The host of samples without a `host:` tag; empty when none is known.
    pub default_host: Box<[u8]>,
    /// Caps against attacks.
    pub limits: Limits,
    /// Tags of senders; none when nobody could know any.
    pub origin: Option<OriginRules>,
}

/// The tags of one message after enrichment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Enriched<'a> {
    /// Unique, without magic tags and without what is common to every point.
    pub tags: Vec<Cow<'a, [u8]>>,
    /// The last `host:` tag, unless it names the default host.
    pub host: Option<Cow<'a, [u8]>>,
    /// The last `dd.internal.entity_id:` tag, `none` included.
    pub entity_id: Option<Cow<'a, [u8]>>,
    /// The last `dd.internal.card:` tag.
    pub cardinality: Option<Cow<'a, [u8]>>,
}

/// A metric's final name and tags.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten<'a> {
    /// The name after mapper and namespace.
    pub name: Cow<'a, [u8]>,
    /// Its tags and what they said.
    pub enriched: Enriched<'a>,
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
        let mut enriched = self.enrich(tags, claims.cardinality_given())?;
        self.add_origin(claims, &mut enriched);
        Ok(Rewritten { name: self.namespace.apply(name), enriched })
    }

    /// Adds the tags of the message's origin.
    pub fn add_origin(&self, claims: &Claims<'_>, to: &mut Enriched<'_>) {
        if let Some(origin) = &self.origin {
            origin.add_tags(claims, &self.common_tags, to);
        }
    }

    /// The tags of any message. `cardinality_given`: the message has a `card:` field, so the tag
    /// of that meaning is an ordinary one.
    ///
    /// # Errors
    /// [`DropReason::TooManyTags`] or [`DropReason::TagTooLong`].
    pub fn enrich<'a>(
        &self,
        tags: &'a [u8],
        cardinality_given: bool,
    ) -> Result<Enriched<'a>, DropReason> {
        let mut enriched = Enriched::default();
        if tags.is_empty() {
            return Ok(enriched);
        }
        self.limits.check_tags(tags)?;
        for tag in tags.split(|byte| *byte == b',') {
            enriched.take(Cow::Borrowed(tag), cardinality_given);
        }
        enriched.tags.retain(|tag| !self.common_tags.iter().any(|common| **common == **tag));
        unique(&mut enriched.tags);
        enriched.host = enriched.host.filter(|host| **host != *self.default_host);
        Ok(enriched)
    }
}

impl<'a> Enriched<'a> {
    /// Files one tag: magic tags say something and leave the list.
    fn take(&mut self, tag: Cow<'a, [u8]>, cardinality_given: bool) {
        if let Some(host) = after(&tag, b"host:") {
            self.host = Some(host);
        } else if let Some(id) = after(&tag, b"dd.internal.entity_id:") {
            self.entity_id = Some(id);
        } else if let Some(word) = after(&tag, b"dd.internal.card:").filter(|_| !cardinality_given)
        {
            self.cardinality = Some(word);
        } else if after(&tag, b"dd.internal.jmx_check_name:").is_none() {
            self.tags.push(tag);
        }
    }
}

fn after<'a>(tag: &Cow<'a, [u8]>, prefix: &[u8]) -> Option<Cow<'a, [u8]>> {
    match tag {
        Cow::Borrowed(tag) => tag.strip_prefix(prefix).map(Cow::Borrowed),
        Cow::Owned(tag) => tag.strip_prefix(prefix).map(|rest| Cow::Owned(rest.to_vec())),
    }
}

/// Drops repeated tags, keeping the order of first sight.
fn unique(tags: &mut Vec<Cow<'_, [u8]>>) {
    /// Up to here, comparing each with each is cheaper than sorting.
    const PAIRWISE_MAX: usize = 16;
    if tags.len() <= PAIRWISE_MAX {
        let mut kept = 0;
        for at in 0..tags.len() {
            if !tags[..kept].contains(&tags[at]) {
                tags.swap(kept, at);
                kept += 1;
            }
        }
        tags.truncate(kept);
        return;
    }
    let mut seen = std::collections::HashSet::with_capacity(tags.len());
    tags.retain(|tag| seen.insert(tag.clone()));
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
        enriches("dd.internal.jmx_check_name:kafka,x", "x");
        enriches("common:1,x", "x");
    }

    #[test]
    fn a_cardinality_tag_is_ordinary_beside_a_cardinality_field() {
        let enriched = Rules::default().enrich(b"dd.internal.card:high", true);
        assert_eq!(enriched.unwrap().tags, [&b"dd.internal.card:high"[..]]);
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
