//! Values with several entries. A bad entry is skipped with a fault of its own; the rest is used.

use std::path::PathBuf;

use super::key::Kind;
use super::node::{At, Entry, Node, Tree};
use super::problem::Class;
use super::read::{Fault, Value, expected, quoted};
use super::secret::Secret;
use super::types::{AdditionalEndpoint, Aggregate, OutputKind, Transport};
use super::url;

/// Reads a list or map. `None` when `kind` is a scalar; an error is already among the faults.
pub(super) fn read(kind: Kind, node: &Node, faults: &mut Vec<Fault>) -> Option<Result<Value, ()>> {
    let map = matches!(kind, Kind::Pairs | Kind::Endpoints);
    if !map && !is_list(kind) {
        return None;
    }
    let node = match opened(kind, node) {
        Ok(node) => node,
        Err(message) => {
            faults.push(whole(node.at, message));
            return Some(Err(()));
        }
    };
    let mut reader = EntryReader { path: String::new(), faults };
    Some(match (&node.tree, map) {
        (Tree::List(items), false) => reader.list(kind, items),
        (Tree::Map(entries), true) => Ok(match kind {
            Kind::Pairs => Value::Pairs(reader.pairs(entries)),
            _ => Value::Endpoints(reader.endpoints(entries)),
        }),
        (Tree::Null, _) => reader.list(kind, &[]),
        _ => {
            // What an endpoint holds may be a key.
            let shape = match (&node.tree, kind) {
                (Tree::List(_), _) => "is a list".to_owned(),
                (Tree::Map(_), _) => "is a map".to_owned(),
                _ => shown(&node),
            };
            reader.faults.push(whole(node.at, format!("{shape}; expected {}", expected(kind))));
            Err(())
        }
    })
}

fn is_list(kind: Kind) -> bool {
    use Kind::{Aggregates, Outputs, Percentiles, Profiles, TagFilters, Transports, Words};
    matches!(kind, Words | Outputs | Percentiles | Aggregates | Transports | Profiles | TagFilters)
}

fn whole(at: At, message: String) -> Fault {
    Fault { class: Class::Value, at, path: String::new(), message }
}

/// A text becomes what it stands for: JSON, or words between spaces (for outputs also commas).
fn opened(kind: Kind, node: &Node) -> Result<Node, String> {
    let Tree::Text(text) = &node.tree else { return Ok(node.clone()) };
    let text = text.trim();
    if text.is_empty() {
        return Ok(Node { tree: Tree::Null, at: node.at });
    }
    if text.starts_with('{') || text.starts_with('[') {
        return Node::json(text).map(|tree| Node { at: node.at, ..tree });
    }
    let word = |word: &str| Node { tree: Tree::Text(word.to_owned()), at: node.at };
    match kind {
        Kind::Pairs | Kind::Endpoints | Kind::Profiles | Kind::TagFilters => {
            let shape = match kind {
                // It may be a key.
                Kind::Endpoints => "is a text".to_owned(),
                _ => quoted(text),
            };
            Err(format!("{shape}; expected {}, in the environment written as JSON", expected(kind)))
        }
        Kind::Outputs => {
            let words = text.split([',', ' ']).filter(|part| !part.is_empty());
            Ok(Node { tree: Tree::List(words.map(word).collect()), at: node.at })
        }
        _ => {
            let words = text.split_whitespace().map(word).collect();
            Ok(Node { tree: Tree::List(words), at: node.at })
        }
    }
}

/// Where the reader stands and what it found wrong.
pub(super) struct EntryReader<'a> {
    path: String,
    faults: &'a mut Vec<Fault>,
}

impl EntryReader<'_> {
    pub(super) fn fault(&mut self, class: Class, at: At, message: impl Into<String>) {
        let fault = Fault { class, at, path: self.path.clone(), message: message.into() };
        self.faults.push(fault);
    }

    pub(super) fn skip(&mut self, at: At, message: impl Into<String>) {
        self.fault(Class::Entry, at, message);
    }

    /// Runs `read` one step further down the path.
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

    fn list(&mut self, kind: Kind, items: &[Node]) -> Result<Value, ()> {
        let before = self.faults.len();
        let value = match kind {
            Kind::Outputs => Value::Outputs(self.each(items, Self::output)),
            Kind::Percentiles => Value::Percentiles(self.each(items, Self::percentile)),
            Kind::Aggregates => Value::Aggregates(self.each(items, Self::aggregate)),
            Kind::Transports => Value::Transports(self.each(items, Self::transport)),
            Kind::Profiles => Value::Profiles(self.each(items, Self::profile)),
            Kind::TagFilters => Value::TagFilters(self.each(items, Self::tag_filter)),
            Kind::Pairs => Value::Pairs(Vec::new()),
            Kind::Endpoints => Value::Endpoints(Vec::new()),
            _ => Value::Words(self.each(items, Self::word)),
        };
        // An output left out would be data that goes nowhere: no entry to skip.
        if kind == Kind::Outputs && self.faults.len() > before {
            return Err(());
        }
        Ok(value)
    }

    pub(super) fn word(&mut self, item: &Node) -> Option<String> {
        match &item.tree {
            Tree::Text(text) if text.trim().is_empty() => {
                self.skip(item.at, "is empty; remove it");
                None
            }
            Tree::Text(text) => Some(text.trim().to_owned()),
            // `- env: prod` is a map; the writer meant a tag.
            Tree::Map(entries) if entries.len() == 1 && entries[0].value.as_text().is_some() => {
                let meant = format!("{}:{}", entries[0].key, entries[0].value);
                self.skip(item.at, format!("is a map; did you mean the text {}?", quoted(&meant)));
                None
            }
            _ => {
                self.skip(item.at, "is no text; remove it or put it in quotes");
                None
            }
        }
    }

    fn output(&mut self, item: &Node) -> Option<OutputKind> {
        let text = item.as_text().unwrap_or_default().trim();
        match text.split_once(':').unwrap_or((text, "")) {
            ("console", "") => Some(OutputKind::Console),
            ("datadog", "") => Some(OutputKind::Datadog),
            ("none", "") => Some(OutputKind::None),
            ("dry-run", "") => Some(OutputKind::DryRun { bytes: false }),
            ("dry-run", "bytes") => Some(OutputKind::DryRun { bytes: true }),
            ("jsonl", "") => Some(OutputKind::JsonLines(None)),
            ("jsonl", path) => Some(OutputKind::JsonLines(Some(PathBuf::from(path)))),
            _ => {
                let message = format!(
                    "{} is unknown; use {}",
                    quoted(text),
                    "console, jsonl, jsonl:PATH, datadog, dry-run, dry-run:bytes or none"
                );
                self.fault(Class::Value, item.at, message);
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
                    format!("{} is no percentile; use a number from 0 to 1 (0.95)", shown(item)),
                );
                None
            }
        }
    }

    pub(super) fn aggregate(&mut self, item: &Node) -> Option<Aggregate> {
        self.one_of(item, Aggregate::of, Aggregate::WORDS)
    }

    fn transport(&mut self, item: &Node) -> Option<Transport> {
        self.one_of(item, Transport::of, Transport::WORDS)
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
                    reader.skip(entry.value.at, "is no text; put it in quotes");
                }),
            }
        }
        pairs
    }

    /// Blank and repeated keys are dropped without a word, as in the Agent.
    fn endpoints(&mut self, entries: &[Entry]) -> Vec<AdditionalEndpoint> {
        let mut endpoints = Vec::with_capacity(entries.len());
        for entry in entries {
            let endpoint = self
                .below(&format!("[{}]", url::without_password(&entry.key)), |reader| {
                    reader.endpoint(entry)
                });
            endpoints.extend(endpoint);
        }
        endpoints
    }

    fn endpoint(&mut self, entry: &Entry) -> Option<AdditionalEndpoint> {
        let url = match url::parse(entry.key.trim(), &["http", "https"], false) {
            Ok(url) => url,
            Err(message) => {
                self.skip(entry.key_at, format!("{} {message}", quoted(&entry.key)));
                return None;
            }
        };
        let single = [entry.value.clone()];
        let items = match &entry.value.tree {
            Tree::List(items) => items.as_slice(),
            Tree::Text(_) => &single,
            _ => &[],
        };
        let mut api_keys: Vec<Secret> = Vec::with_capacity(items.len());
        for text in items.iter().filter_map(Node::as_text).filter(|text| !text.trim().is_empty()) {
            let key = Secret::new(text);
            if !api_keys.contains(&key) {
                api_keys.push(key);
            }
        }
        if api_keys.is_empty() {
            self.skip(entry.value.at, "has no API key; give a list of keys");
            return None;
        }
        Some(AdditionalEndpoint { url, api_keys })
    }
}

pub(super) fn shown(node: &Node) -> String {
    match node.as_text() {
        Some(text) => quoted(text),
        None => quoted(&node.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;
    use crate::config::read;

    /// Reads a YAML value for `key`: what is kept, and each fault as `path: message`.
    fn look(key: &str, yaml: &str) -> (Option<Value>, Vec<String>) {
        let mut faults = Vec::new();
        let node = crate::config::yaml::parse(yaml).unwrap();
        let value = read::read(keys::find(key).unwrap(), &node, &mut faults);
        let told = |fault: Fault| {
            assert!(fault.at.line > 0, "every fault in a file has a line: {fault:?}");
            format!("{:?} {} {}", fault.class, fault.path, fault.message)
        };
        (value, faults.into_iter().map(told).collect())
    }

    #[track_caller]
    fn keeps(key: &str, yaml: &str, expect: &str, faults: &[&str]) {
        let (value, told) = look(key, yaml);
        assert_eq!(value.map(|value| read::show(&value)).as_deref(), Some(expect));
        assert_eq!(told.len(), faults.len(), "{told:#?}");
        for (told, expect) in told.iter().zip(faults) {
            assert!(told.contains(expect), "{told} does not say {expect}");
        }
    }

    #[test]
    fn a_bad_entry_is_skipped_and_named() {
        keeps(
            "histogram_percentiles",
            "[0.5, '0.999', 95, x, 0, 1]",
            "[0.5, 0.999, 0, 1]",
            &["Entry [2] \"95\" is no percentile", "Entry [3] \"x\" is no percentile"],
        );
        keeps(
            "histogram_aggregates",
            "[max, p99]",
            "[max]",
            &["Entry [1] \"p99\" is unknown; use max"],
        );
        keeps("dogstatsd_eol_required", "[udp, tcp]", "[udp]", &["Entry [1] \"tcp\" is unknown"]);
        keeps("histogram_percentiles", "[]", "[]", &[]);
    }

    #[test]
    fn a_tag_written_as_a_map_is_understood_as_a_mistake() {
        keeps(
            "tags",
            "- env: prod\n- team:x\n- ''\n- [1]\n",
            "[team:x]",
            &[
                "[0] is a map; did you mean the text \"env:prod\"?",
                "[2] is empty",
                "[3] is no text",
            ],
        );
    }

    #[test]
    fn endpoints_keep_each_key_once_and_never_show_one() {
        keeps(
            "additional_endpoints",
            "'https://app.datadoghq.eu/': [aaaaaaaaaaaaaaaaaaaa1111, ' ', aaaaaaaaaaaaaaaaaaaa1111]\n'https://b': bbbbbbbbbbbbbbbbbbbb2222\nnot-a-url: [cccccccccccccccccccc3333]\n'https://d': []\n",
            "[https://app.datadoghq.eu: [*****a1111], https://b: [*****b2222]]",
            &["[not-a-url] \"not-a-url\" has no scheme", "[https://d] has no API key"],
        );
    }
}
