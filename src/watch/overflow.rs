//! Which metric, tag key and sender made contexts run out.

use serde::{Deserialize, Serialize};

use crate::context::heavy_hitters::{HeavyHitters, Hitter};
use crate::text::{grouped, printable};

/// Names shown.
const NAMES: usize = 5;
/// Tag keys shown of each.
const KEYS: usize = 5;
/// Characters shown of a name or key.
const WIDTH: usize = 80;

/// One interval in which a cap on contexts was passed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Overflow {
    /// Start of the bucket in unix seconds.
    pub at: u64,
    /// Lines of new contexts past the cap.
    pub lines: u64,
    /// The sender of most of them.
    pub sender: Option<String>,
    /// The metrics with most of these lines.
    pub names: Vec<OverflowName>,
}

/// A metric with lines of new contexts past the cap.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OverflowName {
    pub name: String,
    pub lines: u64,
    pub tag_keys: Vec<TagKey>,
}

/// A tag key with about how many distinct values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TagKey {
    pub key: String,
    pub values: u64,
}

impl Overflow {
    pub fn new(at: u64, heavy: &HeavyHitters, sender: Option<String>) -> Self {
        let blamed = |hitter: &&Hitter| OverflowName {
            name: printable(&hitter.name, WIDTH),
            lines: hitter.offers,
            tag_keys: hitter
                .keys()
                .into_iter()
                .take(KEYS)
                .map(|(key, values)| TagKey { key: printable(key, WIDTH), values })
                .collect(),
        };
        let names = heavy.top().iter().take(NAMES).map(blamed).collect();
        Overflow { at, lines: heavy.offers(), sender, names }
    }

    /// The sentence of the log.
    pub fn sentence(&self, interval: u64, contexts_max: usize) -> String {
        let mut text = format!(
            "out of contexts (contexts_max {}): {} lines of new ones were folded or dropped in {interval} s",
            grouped(contexts_max as u64),
            grouped(self.lines)
        );
        if let Some(worst) = self.names.first() {
            text.push_str(&format!(
                "; {} of them from metric {}",
                grouped(worst.lines),
                worst.name
            ));
            if let Some(TagKey { key, values }) = worst.tag_keys.first() {
                let values = grouped(*values);
                text.push_str(&format!(", whose tag {key} came with about {values} values"));
            }
        }
        if let Some(sender) = &self.sender {
            text.push_str(&format!("; most sent by {sender}"));
        }
        text.push_str("; fix: take that tag off at the client, or raise contexts_max");
        text
    }
}
