//! Naming who made contexts run out.

use serde_json::{Value, json};

use crate::context::heavy_hitters::{HeavyHitters, Hitter};
use crate::text::{grouped, printable};

/// Names shown.
const NAMES: usize = 5;
/// Tag keys shown of each.
const KEYS: usize = 5;
/// Characters shown of a name or key.
const WIDTH: usize = 80;

/// One interval in which a cap on contexts was passed.
#[derive(Clone, Debug)]
pub(crate) struct Overflow {
    /// Start of the bucket in unix seconds.
    at: u64,
    /// Lines of new contexts past the cap.
    lines: u64,
    /// Who sent most of them.
    sender: Option<String>,
    names: Vec<Blamed>,
}

#[derive(Clone, Debug)]
struct Blamed {
    name: String,
    lines: u64,
    /// Tag keys with about how many values.
    keys: Vec<(String, u64)>,
}

impl Overflow {
    pub fn new(at: u64, heavy: &HeavyHitters, sender: Option<String>) -> Self {
        let blamed = |hitter: &&Hitter| Blamed {
            name: printable(&hitter.name, WIDTH),
            lines: hitter.offers,
            keys: hitter
                .keys()
                .into_iter()
                .take(KEYS)
                .map(|(key, values)| (printable(key, WIDTH), values))
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
            if let Some((key, values)) = worst.keys.first() {
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

    pub fn json(&self) -> Value {
        let name = |blamed: &Blamed| {
            let key = |(key, values): &(String, u64)| json!({ "key": key, "values": values });
            json!({
                "name": blamed.name,
                "lines": blamed.lines,
                "tag_keys": blamed.keys.iter().map(key).collect::<Vec<_>>(),
            })
        };
        json!({
            "at": self.at,
            "lines": self.lines,
            "sender": self.sender,
            "names": self.names.iter().map(name).collect::<Vec<_>>(),
        })
    }
}
