//! Lists and maps. An invalid entry is skipped and reported; the rest are used.

use std::path::PathBuf;

use super::entries::{EntryReader, shown};
use super::expected::expected;
use super::key::Kind;
use super::node::{At, Entry, Node, Tree};
use super::problem::Class;
use super::secret::Secret;
use super::types::{AdditionalEndpoint, OutputKind, Transport};
use super::url;
use super::value::{Fault, Value, quoted};

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
            // An endpoint's value may be a key, so it is not shown.
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
    use Kind::{
        Aggregates, Arguments, Outputs, Percentiles, Profiles, TagFilters, Transports, Words,
    };
    matches!(
        kind,
        Words | Arguments | Outputs | Percentiles | Aggregates | Transports | Profiles | TagFilters
    )
}

fn whole(at: At, message: String) -> Fault {
    Fault { class: Class::Value, at, path: String::new(), message }
}

/// Parses a string as JSON, or as words separated by spaces or commas.
///
/// Differs: the Agent separates by spaces only and takes `env:prod,team:x` for one tag. Two are meant:
/// no tag, name or number contains a comma. An argument may, so for those commas do not separate.
fn opened(kind: Kind, node: &Node) -> Result<Node, String> {
    let Tree::Text(text) = &node.tree else { return Ok(node.clone()) };
    let text = text.trim();
    if text.is_empty() {
        return Ok(Node { tree: Tree::Null, at: node.at });
    }
    if text.starts_with('{') || (text.starts_with('[') && !starts_with_address(text)) {
        return Node::json(text).map(|tree| Node { at: node.at, ..tree });
    }
    let word = |word: &str| Node { tree: Tree::Text(word.to_owned()), at: node.at };
    match kind {
        Kind::Pairs | Kind::Endpoints | Kind::Profiles | Kind::TagFilters => {
            let shape = match kind {
                // It may be a key.
                Kind::Endpoints => "is a string".to_owned(),
                _ => quoted(text),
            };
            Err(format!("{shape}; expected {}, in the environment written as JSON", expected(kind)))
        }
        _ => {
            let comma = kind != Kind::Arguments;
            let words = text.split(|c: char| c.is_whitespace() || (comma && c == ','));
            let words = words.filter(|part| !part.is_empty()).map(word).collect();
            Ok(Node { tree: Tree::List(words), at: node.at })
        }
    }
}

/// `[::1]:9092`: a word, not a list in JSON.
fn starts_with_address(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    address.is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
}

impl EntryReader<'_> {
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
        // Skipping an output would silently lose data, so an invalid one is an error.
        if kind == Kind::Outputs && self.faults.len() > before {
            return Err(());
        }
        Ok(value)
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

    fn transport(&mut self, item: &Node) -> Option<Transport> {
        self.one_of(item, Transport::of, Transport::WORDS)
    }

    /// Empty and duplicate keys are dropped silently, as in the Agent.
    fn endpoints(&mut self, entries: &[Entry]) -> Vec<AdditionalEndpoint> {
        let mut endpoints = Vec::with_capacity(entries.len());
        for entry in entries {
            let endpoint = self
                .below(&format!("[{}]", url::without_secrets(&entry.key)), |reader| {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::keys;
    use crate::config::read;
    use crate::config::value::show;

    /// Reads a YAML value for `key`: the value kept, and each fault as `path: message`.
    pub(in crate::config) fn look(key: &str, yaml: &str) -> (Option<Value>, Vec<String>) {
        let mut faults = Vec::new();
        let node = crate::config::yaml::parse(yaml).unwrap();
        let value = read::read(keys::find(key).unwrap(), &node, &mut faults);
        let shown = |fault: Fault| {
            assert!(fault.at.line > 0, "every fault in a file has a line: {fault:?}");
            format!("{:?} {} {}", fault.class, fault.path, fault.message)
        };
        (value, faults.into_iter().map(shown).collect())
    }

    #[track_caller]
    pub(in crate::config) fn keeps(key: &str, yaml: &str, expect: &str, faults: &[&str]) {
        let (value, reported) = look(key, yaml);
        assert_eq!(value.map(|value| show(&value)).as_deref(), Some(expect));
        assert_eq!(reported.len(), faults.len(), "{reported:#?}");
        for (reported, expect) in reported.iter().zip(faults) {
            assert!(reported.contains(expect), "{reported} does not contain {expect}");
        }
    }

    #[test]
    fn a_bad_entry_is_skipped_and_named() {
        keeps(
            "histogram_percentiles",
            "[0.5, '0.999', 95, x, 0, 1]",
            "[0.5, 0.999, 0, 1]",
            &["Entry [2] \"95\" is not a percentile", "Entry [3] \"x\" is not a percentile"],
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
                "[0] is a map; did you mean the string \"env:prod\"?",
                "[2] is empty",
                "[3] is not a string",
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
