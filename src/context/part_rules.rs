//! What the rules make of values that come with a final name and whole tags instead of a line: no mapper,
//! no namespace and no magic tags, but the same filters, limits and tags of origin.

use std::borrow::Cow;
use std::sync::Arc;

use super::enriched::{Enriched, unique};
use super::limits::DropReason;
use super::origin::Claims;
use super::rules::{Rewritten, Rules};
use super::scope::Scope;
use super::utf8::repair_in_place;

/// Rules of values that come through a door.
#[derive(Clone, Debug, Default)]
pub struct PartRules {
    /// Without mapper, namespace, scope and common tags: what posts these contexts adds none.
    pub rules: Arc<Rules>,
    /// Tags of every value, unique. They become part of the context, because not every value gets all of
    /// them: `env:` goes only where the sender gave none.
    pub common_tags: Vec<Box<[u8]>>,
}

impl PartRules {
    /// The name, tags and host under which a value is recorded; an empty host is ours.
    ///
    /// # Errors
    /// The reason why no value like this is ever recorded.
    pub fn rewrite<'a>(
        &'a self,
        name: &'a [u8],
        tags: impl Iterator<Item = &'a [u8]>,
        host: &'a [u8],
        claims: &Claims<'_>,
    ) -> Result<Rewritten<'a>, DropReason> {
        let rules = &self.rules;
        rules.limits.check_name(name)?;
        let mut name = Cow::Borrowed(name);
        let mut enriched = self.tags(tags, claims)?;
        enriched.repaired |= repair_in_place(&mut name);
        if rules.name_filter.matches(&name) {
            return Err(DropReason::Filtered);
        }
        if let Some(rule) = rules.tag_filters.rule(&name) {
            enriched.tags.retain(|tag| rule.keeps(tag));
        }
        if !host.is_empty() {
            let mut host = Cow::Borrowed(host);
            enriched.repaired |= repair_in_place(&mut host);
            enriched.host = Some(host).filter(|host| **host != *rules.default_host);
        }
        Ok(Rewritten { name, enriched, scope: Scope::Local })
    }

    /// Tags of a value, an event or a service check: its own, those of its origin, the common ones.
    ///
    /// # Errors
    /// [`DropReason::TooManyTags`] or [`DropReason::TagTooLong`].
    pub fn tags<'a>(
        &'a self,
        tags: impl Iterator<Item = &'a [u8]>,
        claims: &Claims<'_>,
    ) -> Result<Enriched<'a>, DropReason> {
        let limits = &self.rules.limits;
        let mut enriched = Enriched::default();
        for tag in tags {
            if tag.len() > limits.tag_bytes_max {
                return Err(DropReason::TagTooLong);
            }
            if enriched.tags.len() >= limits.tags_max {
                return Err(DropReason::TooManyTags);
            }
            let mut tag = on_one_line(tag);
            enriched.repaired |= repair_in_place(&mut tag);
            enriched.tags.push(tag);
        }
        let has_env = enriched.tags.iter().any(|tag| is_env(tag));
        self.rules.add_origin(claims, &mut enriched);
        let common = self.common_tags.iter().filter(|tag| !(has_env && is_env(tag)));
        enriched.tags.extend(common.map(|tag| Cow::Borrowed(&**tag)));
        unique(&mut enriched.tags);
        Ok(enriched)
    }
}

fn is_env(tag: &[u8]) -> bool {
    tag.starts_with(b"env:")
}

/// A tag never holds a newline, by which a context may join its tags; the intake makes the same of it.
fn on_one_line(tag: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', tag).is_none() {
        return Cow::Borrowed(tag);
    }
    tag.iter().map(|byte| if *byte == b'\n' { b'_' } else { *byte }).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TagAction, TagFilter};
    use crate::context::{ContextLimits, NameFilter, TagFilters};

    fn rules() -> PartRules {
        let filter = TagFilter {
            metric_name: "thin".to_owned(),
            action: TagAction::Exclude,
            tags: vec!["team".to_owned(), "id".to_owned()],
        };
        let limits = ContextLimits { tags_max: 4, tag_bytes_max: 8, ..ContextLimits::default() };
        PartRules {
            rules: Arc::new(Rules {
                name_filter: NameFilter::new(&["gone".to_owned()], false),
                tag_filters: TagFilters::new(&[filter]),
                default_host: Box::from(&b"here"[..]),
                limits,
                ..Rules::default()
            }),
            common_tags: [&b"env:ours"[..], b"team:x"].map(Box::from).into(),
        }
    }

    /// `name|tag|tag@host`.
    #[track_caller]
    fn rewrites(part: &str, expect: Result<&str, DropReason>) {
        let (part, host) = part.split_once('@').unwrap_or((part, ""));
        let mut parts = part.split('|').map(str::as_bytes);
        let name = parts.next().unwrap_or_default();
        let rules = rules();
        let got = rules.rewrite(name, parts, host.as_bytes(), &Claims::default());
        let got = got.map(|got| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let tags = got.enriched.tags.iter().map(|tag| format!("|{}", text(tag)));
            let host = got.enriched.host.as_deref().map(|host| format!("@{}", text(host)));
            text(&got.name) + &tags.collect::<String>() + &host.unwrap_or_default()
        });
        assert_eq!(got.as_deref().map_err(|reason| *reason), expect);
    }

    #[test]
    fn common_tags_join_and_our_env_only_where_there_is_none() {
        rewrites("n", Ok("n|env:ours|team:x"));
        rewrites("n|a", Ok("n|a|env:ours|team:x"));
        rewrites("n|env:own", Ok("n|env:own|team:x"));
        rewrites("n|env:|a|a", Ok("n|env:|a|team:x"));
        rewrites("n|environ", Ok("n|environ|env:ours|team:x"));
        rewrites("n|team:x|team:y", Ok("n|team:x|team:y|env:ours"));
    }

    #[test]
    fn filters_and_limits_hold_and_nothing_is_magic() {
        rewrites("gone", Err(DropReason::Filtered));
        rewrites("thin|id:1|idx", Ok("thin|idx|env:ours"));
        rewrites("n|a|b|c|d", Ok("n|a|b|c|d|env:ours|team:x"));
        rewrites("n|a|b|c|d|e", Err(DropReason::TooManyTags));
        rewrites("n|12345678", Ok("n|12345678|env:ours|team:x"));
        rewrites("n|123456789", Err(DropReason::TagTooLong));
        rewrites("n|host:a", Ok("n|host:a|env:ours|team:x"));
        rewrites("n|a,b|c\nd", Ok("n|a,b|c_d|env:ours|team:x"));
        rewrites(&"n".repeat(8_193), Err(DropReason::NameTooLong));
    }

    #[test]
    fn a_host_that_is_empty_or_ours_is_none() {
        rewrites("n|a@here", Ok("n|a|env:ours|team:x"));
        rewrites("n|a@there", Ok("n|a|env:ours|team:x@there"));
    }

    #[test]
    fn what_is_no_text_is_repaired() {
        let rules = rules();
        let tags = [&b"t\xff"[..]];
        let got = rules.rewrite(b"n\xff", tags.into_iter(), b"h\xff", &Claims::default()).unwrap();
        assert!(got.enriched.repaired);
        assert_eq!(&*got.name, "n\u{fffd}".as_bytes());
        assert_eq!(&*got.enriched.tags[0], "t\u{fffd}".as_bytes());
        assert_eq!(got.enriched.host.as_deref(), Some("h\u{fffd}".as_bytes()));
    }
}
