//! The tags of one message, sorted by what they mean.

use std::borrow::Cow;

use super::utf8::repair_in_place;

/// The tags of one message after enrichment: all of them UTF-8, as they will be posted, so that two
/// that are posted alike are one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Enriched<'a> {
    /// Unique, without magic tags and without what is common to every point.
    pub tags: Vec<Cow<'a, [u8]>>,
    /// The last `host:` tag, unless it names the default host.
    pub host: Option<Cow<'a, [u8]>>,
    /// The last `dd.internal.entity_id:` tag, `none` included.
    pub entity_id: Option<Cow<'a, [u8]>>,
    /// The first `dd.internal.card:` tag with a value; those after it are ordinary tags.
    pub cardinality: Option<Cow<'a, [u8]>>,
    /// Something of the message was not UTF-8 and was replaced by U+FFFD.
    pub repaired: bool,
}

impl<'a> Enriched<'a> {
    /// Files one tag: magic tags say something and leave the list.
    pub(super) fn take(&mut self, mut tag: Cow<'a, [u8]>, cardinality_given: bool) {
        self.repaired |= repair_in_place(&mut tag);
        if let Some(host) = after(&tag, b"host:") {
            self.host = Some(host);
        } else if let Some(id) = after(&tag, b"dd.internal.entity_id:") {
            self.entity_id = Some(id);
        } else if let Some(word) = after(&tag, b"dd.internal.card:")
            .filter(|_| !cardinality_given && self.cardinality.is_none())
        {
            // As in the Agent: an empty one leaves the list too, and decides nothing.
            self.cardinality = Some(word).filter(|word| !word.is_empty());
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
pub(super) fn unique(tags: &mut Vec<Cow<'_, [u8]>>) {
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
