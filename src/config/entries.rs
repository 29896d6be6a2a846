//! Reads entries of lists and maps: the path to the entry, the faults found, and the simple entry
//! types. An invalid entry is skipped and reported; the rest are used.

use super::node::{At, Entry, Node, Tree};
use super::problem::Class;
use super::types::Aggregate;
use super::value::{Fault, quoted};

/// The current path and the faults found.
pub(super) struct EntryReader<'a> {
    pub(super) path: String,
    pub(super) faults: &'a mut Vec<Fault>,
}

impl EntryReader<'_> {
    pub(super) fn fault(&mut self, class: Class, at: At, message: impl Into<String>) {
        let fault = Fault { class, at, path: self.path.clone(), message: message.into() };
        self.faults.push(fault);
    }

    pub(super) fn skip(&mut self, at: At, message: impl Into<String>) {
        self.fault(Class::Entry, at, message);
    }

    /// Runs `read` with `step` appended to the path.
    pub(super) fn below<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let result = read(self);
        self.path.truncate(length);
        result
    }

    pub(super) fn each<T>(
        &mut self,
        items: &[Node],
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            kept.extend(self.below(&format!("[{index}]"), |reader| read(reader, item)));
        }
        kept
    }

    pub(super) fn word(&mut self, item: &Node) -> Option<String> {
        match &item.tree {
            Tree::Text(text) if text.trim().is_empty() => {
                self.skip(item.at, "is empty; remove it");
                None
            }
            Tree::Text(text) => Some(text.trim().to_owned()),
            // `- env: prod` is a map; a tag was meant.
            Tree::Map(entries) if entries.len() == 1 && entries[0].value.as_text().is_some() => {
                let meant = format!("{}:{}", entries[0].key, entries[0].value);
                self.skip(
                    item.at,
                    format!("is a map; did you mean the string {}?", quoted(&meant)),
                );
                None
            }
            _ => {
                self.skip(item.at, "is not a string; remove it or put it in quotes");
                None
            }
        }
    }

    pub(super) fn percentile(&mut self, item: &Node) -> Option<f64> {
        match item.as_text().and_then(|text| text.trim().parse::<f64>().ok()) {
            Some(number) if (0.0..=1.0).contains(&number) => Some(number),
            _ => {
                self.skip(
                    item.at,
                    format!("{} is not a percentile; use a number from 0 to 1 (0.95)", shown(item)),
                );
                None
            }
        }
    }

    pub(super) fn aggregate(&mut self, item: &Node) -> Option<Aggregate> {
        self.one_of(item, Aggregate::of, Aggregate::WORDS)
    }

    pub(super) fn one_of<T>(
        &mut self,
        item: &Node,
        of: impl Fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Option<T> {
        let found = of(item.as_text().unwrap_or_default().trim());
        if found.is_none() {
            self.skip(item.at, format!("{} is unknown; use {}", shown(item), words.join(", ")));
        }
        found
    }

    pub(super) fn pairs(&mut self, entries: &[Entry]) -> Vec<(String, String)> {
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.value.as_text() {
                Some(text) => pairs.push((entry.key.clone(), text.to_owned())),
                None => self.below(&format!(".{}", entry.key), |reader| {
                    reader.skip(entry.value.at, "is not a string; put it in quotes");
                }),
            }
        }
        pairs
    }
}

pub(super) fn shown(node: &Node) -> String {
    match node.as_text() {
        Some(text) => quoted(text),
        None => quoted(&node.to_string()),
    }
}
