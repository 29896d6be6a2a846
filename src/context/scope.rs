//! Which series are global: posted once for all hosts by their owner, not by every host for itself.
//!
//! Decided once per raw key, at first sight. A global series has no host and no device, and loses the
//! tags that tell senders apart, so that what many hosts send of it becomes one.

use std::borrow::Cow;

use super::enriched::Enriched;
use super::filter::NameFilter;
use super::tag_use::TagUse;

/// Tags that keep a series local, whatever else is said.
const LOCAL: [&[u8]; 2] = [b"veneurlocalonly", b"whippet_scope:local"];
/// Tags that make a series global.
const GLOBAL: [&[u8]; 2] = [b"veneurglobalonly", b"whippet_scope:global"];

/// Who posts a series, and what decided it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// This server: nothing says otherwise.
    #[default]
    Local,
    /// This server: a tag says so.
    LocalByTag,
    /// Its owner: a tag says so.
    GlobalByTag,
    /// Its owner: `global_metrics` names it.
    GlobalByRule,
}

impl Scope {
    /// What one tag of a line says: true for a global series, false for a local one.
    #[must_use]
    pub fn said_by(tag: &[u8]) -> Option<bool> {
        let local = LOCAL.contains(&tag);
        (local || GLOBAL.contains(&tag)).then_some(!local)
    }

    /// True when the owner of the series posts it.
    #[must_use]
    pub fn is_global(self) -> bool {
        matches!(self, Scope::GlobalByTag | Scope::GlobalByRule)
    }
}

/// What a server that sends to the global tier applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRules {
    exact: NameFilter,
    prefixes: NameFilter,
    /// Keys of tags that global series lose, in order.
    dropped: Vec<Box<[u8]>>,
    common_tags: Vec<Box<[u8]>>,
}

impl ScopeRules {
    /// `metrics` are final names, with `*` at the end for a prefix (`global_metrics`); `drop_tags` are
    /// keys (`global_drop_tags`); `common_tags` are those of every point.
    #[must_use]
    pub fn new(metrics: &[String], drop_tags: &[String], common_tags: &[Box<[u8]>]) -> Self {
        let (prefixes, exact): (Vec<String>, Vec<String>) =
            metrics.iter().cloned().partition(|name| name.ends_with('*'));
        let prefixes: Vec<String> =
            prefixes.iter().map(|name| name.trim_end_matches('*').to_owned()).collect();
        let mut dropped: Vec<Box<[u8]>> =
            drop_tags.iter().map(|key| Box::from(key.as_bytes())).collect();
        dropped.sort_unstable();
        dropped.dedup();
        let mut rules = ScopeRules {
            exact: NameFilter::new(&exact, false),
            prefixes: NameFilter::new(&prefixes, true),
            dropped,
            common_tags: Vec::new(),
        };
        let kept = common_tags.iter().filter(|tag| rules.keeps(tag));
        rules.common_tags = kept.cloned().collect();
        rules
    }

    /// Takes the tags with a meaning of this kind out of a line's tags: `Some(true)` for a global series,
    /// `Some(false)` for a local one, which wins.
    pub(super) fn take_tags(&self, tags: &mut Vec<Cow<'_, [u8]>>) -> Option<bool> {
        let mut said = None;
        tags.retain(|tag| {
            let one = Scope::said_by(tag);
            if let Some(global) = one {
                said = Some(said.unwrap_or(true) && global);
            }
            one.is_none()
        });
        said
    }

    /// The scope of a series with this final name, given what its tags said.
    pub(super) fn scope_of(&self, name: &[u8], said: Option<bool>) -> Scope {
        match said {
            Some(false) => Scope::LocalByTag,
            Some(true) => Scope::GlobalByTag,
            None if self.names(name) => Scope::GlobalByRule,
            None => Scope::Local,
        }
    }

    /// True when `global_metrics` names it.
    #[must_use]
    pub fn names(&self, name: &[u8]) -> bool {
        self.exact.matches(name) || self.prefixes.matches(name)
    }

    /// True for a tag that a global series keeps.
    #[must_use]
    pub fn keeps(&self, tag: &[u8]) -> bool {
        let key = &tag[..memchr::memchr(b':', tag).unwrap_or(tag.len())];
        let names_a_host = match TagUse::of(tag) {
            TagUse::Device(_) => true,
            TagUse::Resource(kind, _) => kind == b"host",
            TagUse::Plain | TagUse::Nothing => false,
        };
        !names_a_host && self.dropped.binary_search_by(|known| (**known).cmp(key)).is_err()
    }

    /// The common tags that global series keep.
    #[must_use]
    pub fn common_tags(&self) -> &[Box<[u8]>] {
        &self.common_tags
    }

    /// Leaves of a series what all hosts have in common.
    pub(super) fn make_global(&self, enriched: &mut Enriched<'_>) {
        enriched.host = None;
        enriched.tags.retain(|tag| self.keeps(tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn rules(metrics: &str, drop_tags: &str) -> ScopeRules {
        let common =
            ["env:prod", "pod:a", "device:x", "team:y"].map(|tag| Box::from(tag.as_bytes()));
        ScopeRules::new(&words(metrics), &words(drop_tags), &common)
    }

    /// The scope of `name tag,tag` and the tags that are left.
    #[track_caller]
    fn decides(line: &str, expect: Scope, left: &str) {
        let (name, tags) = line.split_once(' ').unwrap_or((line, ""));
        let tags = tags.split(',').filter(|tag| !tag.is_empty());
        let mut tags: Vec<Cow<'_, [u8]>> = tags.map(|tag| Cow::Borrowed(tag.as_bytes())).collect();
        let rules = rules("page.views cart.*", "");
        let said = rules.take_tags(&mut tags);
        assert_eq!(rules.scope_of(name.as_bytes(), said), expect, "{line}");
        assert_eq!(String::from_utf8(tags.join(&b","[..])).unwrap(), left, "{line}");
    }

    #[test]
    fn a_tag_decides_before_a_name_and_local_wins() {
        use Scope::{GlobalByRule, GlobalByTag, Local, LocalByTag};
        decides("n a,b", Local, "a,b");
        decides("page.views a", GlobalByRule, "a");
        decides("page.views.x a", Local, "a");
        decides("page", Local, "");
        decides("cart.", GlobalByRule, "");
        decides("cart.total", GlobalByRule, "");
        decides("cart", Local, "");
        decides("n a,veneurglobalonly,b", GlobalByTag, "a,b");
        decides("n whippet_scope:global", GlobalByTag, "");
        decides("page.views whippet_scope:global", GlobalByTag, "");
        decides("page.views veneurlocalonly,a", LocalByTag, "a");
        decides("n whippet_scope:local", LocalByTag, "");
        for both in ["veneurlocalonly,veneurglobalonly", "whippet_scope:global,whippet_scope:local"]
        {
            decides(&format!("cart.total {both},a"), LocalByTag, "a");
        }
        for other in ["veneurglobalonly:1", "whippet_scope:", "whippet_scope", "whippet_scope:all"]
        {
            decides(&format!("n {other}"), Local, other);
        }
    }

    #[test]
    fn a_star_alone_names_everything() {
        let all = rules("* a", "");
        for name in ["", "a", "zz"] {
            assert_eq!(all.scope_of(name.as_bytes(), None), Scope::GlobalByRule);
        }
        assert_eq!(rules("", "").scope_of(b"a", None), Scope::Local);
    }

    #[test]
    fn what_tells_hosts_apart_is_left_out() {
        let rules = rules("", "host pod container_id pod");
        let tags = "env:x,pod:1,podx:1,pod,container_id:2,device:eth0,device:,\
                    dd.internal.resource:host:web,dd.internal.resource:device:d,\
                    dd.internal.resource:db:1,b";
        let tags = tags.split(',').map(|tag| Cow::Borrowed(tag.as_bytes())).collect();
        let host = Some(Cow::Borrowed(&b"web"[..]));
        let mut enriched = Enriched { tags, host, ..Enriched::default() };
        rules.make_global(&mut enriched);
        let left = String::from_utf8(enriched.tags.join(&b","[..])).unwrap();
        assert_eq!(left, "env:x,podx:1,device:,dd.internal.resource:db:1,b");
        assert_eq!(enriched.host, None);
        let common: Vec<_> = rules.common_tags().iter().map(|tag| &**tag).collect();
        assert_eq!(common, [&b"env:prod"[..], b"team:y"]);
    }
}
