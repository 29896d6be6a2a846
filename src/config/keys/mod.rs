//! The table of keys, one file per section. The reference page, the sample file, `whippet config`
//! and all checks use it.

mod aggregation;
mod delivery;
mod doors;
pub(super) mod foreign;
mod global;
mod identity;
mod operation;
mod server;

use super::key::Key;

/// A section of the table.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Keys, in the order of the reference page.
    pub keys: &'static [Key],
}

/// The whole table.
pub const SECTIONS: &[Section] = &[
    Section { title: "Identity and destination", keys: identity::KEYS },
    Section { title: "Receiving", keys: server::KEYS },
    Section { title: "HTTP doors", keys: doors::KEYS },
    Section { title: "Aggregation and limits", keys: aggregation::KEYS },
    Section { title: "Payloads and delivery", keys: delivery::KEYS },
    Section { title: "Global tier", keys: global::KEYS },
    Section { title: "Operation", keys: operation::KEYS },
];

/// Every key, in order.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Deprecated names of keys in files.
const OLD_NAMES: [(&str, &str); 2] = [
    ("vector.metrics.enabled", "observability_pipelines_worker.metrics.enabled"),
    ("vector.metrics.url", "observability_pipelines_worker.metrics.url"),
];

/// The key with this dotted name, or the row of the section that contains it.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    let name = OLD_NAMES.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| *new);
    all().find(|key| key.name == name).or_else(|| {
        all().find(|key| {
            key.section().is_some_and(|section| {
                name.strip_prefix(section)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
    })
}

/// True when keys exist below this name.
pub(super) fn is_section(name: &str) -> bool {
    let below = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    all().any(|key| below(key.name)) || OLD_NAMES.iter().any(|(old, _)| below(old))
}
