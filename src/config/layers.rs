//! The four sources, weakest first: the system's proxy variables, file, environment, flags.
//!
//! Input: the sources. Output: one [`Raw`] per known key that is set, and a problem for each name
//! that looks mistyped. Values are interpreted later.

use std::path::Path;

use super::key::{Key, Status};
use super::keys;
use super::nearest::{meant, nearest};
use super::node::{At, Entry, Node, Tree};
use super::problem::{Class, Problem, ValueOrigin};

/// Names the configuration file if no flag does.
pub const CONFIG_ENV: &str = "WHIPPET_CONFIG";

/// One setting of one key.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) key: &'static Key,
    pub(super) node: Node,
    pub(super) origin: ValueOrigin,
}

/// The contents of the sources.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Weakest first.
    pub(super) raws: Vec<Raw>,
    pub(super) problems: Vec<Problem>,
    /// Accepted keys without effect, with the place.
    pub(super) ignored: Vec<(&'static Key, ValueOrigin)>,
    /// Names in the file that whippet does not know, as written.
    foreign: Vec<String>,
}

impl Layers {
    /// `HTTPS_PROXY` and similar, weaker than any source meant for whippet.
    pub(super) fn weak_env(&mut self, env: &[(String, String)]) {
        for key in keys::all() {
            let found = key.weak.iter().find_map(|name| set(env, name).map(|text| (name, text)));
            let Some((name, text)) = found else { continue };
            self.push(key, Node::text(text), ValueOrigin::Env((*name).to_owned()));
        }
    }

    pub(super) fn file(&mut self, path: &Path, root: Node) {
        match root.tree {
            Tree::Map(entries) => {
                for entry in entries {
                    self.file_entry(path, "", entry);
                }
                // No position: it concerns the whole file.
                self.report_foreign(origin(path, At::default()));
            }
            Tree::Null => {}
            _ => {
                let message = "is not a map of keys; write one `key: value` per line".to_owned();
                self.problem(Class::Value, origin(path, root.at), "", message);
            }
        }
    }

    /// Descends into sections until a name is a key; dots in a name are equivalent to nesting.
    fn file_entry(&mut self, path: &Path, above: &str, entry: Entry) {
        let Entry { key: written, key_at, value } = entry;
        let name = join(above, &written.to_lowercase());
        if let Some(key) = keys::find(&name) {
            let origin = origin(path, value.at);
            return match value.tree {
                Tree::Null => {}
                _ => self.push(key, value, origin),
            };
        }
        if keys::is_section(&name) {
            return match value.tree {
                Tree::Map(entries) => {
                    entries.into_iter().for_each(|entry| self.file_entry(path, &name, entry));
                }
                Tree::Null => {}
                _ => {
                    let message = format!("is a section; use {}", members(&name).join(", "));
                    self.problem(Class::Value, origin(path, value.at), &name, message);
                }
            };
        }
        let written = join(above, &written);
        if !self.nested(path, &written, &name, &value) {
            self.unknown(origin(path, key_at), &written, &name);
        }
    }

    /// `dogstatsd: {port: 8125}`: a section that does not exist, with members that are keys when
    /// joined by `_`. The Agent ignores them too, but their author expects an effect. True when
    /// there was one; the other members, and sections without one, are left to [`Self::unknown`].
    fn nested(&mut self, path: &Path, written: &str, name: &str, value: &Node) -> bool {
        let Tree::Map(entries) = &value.tree else { return false };
        let (mut found, mut others) = (false, Vec::new());
        for entry in entries {
            let member = join(name, &entry.key.to_lowercase());
            let written = join(written, &entry.key);
            let flat = member.replace('.', "_");
            let key = keys::find(&flat).or_else(|| {
                let prefix = format!("{}_", name.replace('.', "_"));
                let of_section =
                    keys::all().map(|key| key.name).filter(|key| key.starts_with(&prefix));
                keys::find(nearest(&flat, of_section)?)
            });
            if let Some(key) = key {
                let message = format!(
                    "unknown; did you mean {}? It is one name, not a member of `{name}:`",
                    key.name
                );
                self.problem(Class::Name, origin(path, entry.key_at), &written, message);
                found = true;
            } else if self.nested(path, &written, &member, &entry.value) {
                found = true;
            } else {
                others.push(written);
            }
        }
        if found {
            self.foreign.append(&mut others);
        }
        found
    }

    pub(super) fn env(&mut self, env: &[(String, String)]) {
        for key in keys::all() {
            let names = key.env();
            let found = names.iter().find_map(|name| set(env, name).map(|text| (name, text)));
            if let Some((name, text)) = found {
                self.push(key, Node::text(text), ValueOrigin::Env(name.clone()));
            }
        }
        self.unknown_env(env);
    }

    /// Reports every unknown `WHIPPET_` name, and `DD_` names that are close to a known one.
    fn unknown_env(&mut self, env: &[(String, String)]) {
        let known: Vec<String> = keys::all().flat_map(Key::env).collect();
        for (name, value) in env {
            let ours = name.starts_with("WHIPPET_");
            let bare = name.strip_prefix("DD_").map(str::to_lowercase);
            if !(ours || bare.is_some()) || value.is_empty() {
                continue;
            }
            let section = |known: &String| {
                known.strip_suffix("*").is_some_and(|section| name.starts_with(section))
            };
            let foreign = bare.as_deref().is_some_and(keys::foreign::is_known);
            if foreign || name == CONFIG_ENV || known.contains(name) || known.iter().any(section) {
                continue;
            }
            // `WHIPPET_DOGSTATSD_PORT`, `DD_INTERVAL`: the name of a key after the other prefix.
            let other = name.split_once('_').and_then(|(_, bare)| {
                let key = keys::all().find(|key| key.env_name() == bare)?;
                key.env().into_iter().next()
            });
            let near = || nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let message = match other.or_else(near) {
                Some(meant) => format!("unknown; did you mean {meant}?"),
                None if ours => "unknown; see docs/configuration.md for the names".to_owned(),
                // Client libraries read DD_ variables too.
                None => continue,
            };
            self.problem(Class::Name, ValueOrigin::Env(name.clone()), "", message);
        }
    }

    /// Reports all unknown keys in one problem: an Agent's file contains dozens of them.
    fn report_foreign(&mut self, origin: ValueOrigin) {
        if self.foreign.is_empty() {
            return;
        }
        self.foreign.sort();
        let names: Vec<String> =
            self.foreign.iter().map(|name| name.escape_debug().to_string()).collect();
        let message = format!("ignored, unknown to whippet: {}", names.join(", "));
        self.problem(Class::Note, origin, "", message);
    }

    /// `--set name=value`: a flag is always meant for whippet, so an unknown one is fatal.
    pub(super) fn flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let origin = ValueOrigin::Flag(name.clone());
            match keys::find(&name.to_lowercase()) {
                Some(key) => self.push(key, Node::text(value.clone()), origin),
                None => {
                    let message = match meant(name) {
                        Some(meant) => format!("unknown; did you mean {meant}?"),
                        None => "unknown; see docs/configuration.md for the names".to_owned(),
                    };
                    self.problem(Class::Value, origin, "", message);
                }
            }
        }
    }

    fn unknown(&mut self, origin: ValueOrigin, written: &str, name: &str) {
        let suspect = !keys::foreign::is_known(name);
        match meant(name).filter(|_| suspect) {
            Some(meant) => {
                let message = format!("unknown; did you mean {meant}?");
                self.problem(Class::Name, origin, written, message);
            }
            None => self.foreign.push(written.to_owned()),
        }
    }

    fn push(&mut self, key: &'static Key, node: Node, origin: ValueOrigin) {
        match key.status {
            Status::Honoured => self.raws.push(Raw { key, node, origin }),
            Status::Ignored(_) => self.ignored.push((key, origin)),
        }
    }

    fn problem(&mut self, class: Class, origin: ValueOrigin, key: &str, message: String) {
        self.problems.push(Problem { class, origin, key: key.to_owned(), message });
    }
}

/// The value of a variable. An empty one counts as unset, as in the Agent.
fn set<'e>(env: &'e [(String, String)], name: &str) -> Option<&'e str> {
    let found = env.iter().find(|(known, _)| known == name)?;
    (!found.1.trim().is_empty()).then_some(found.1.as_str())
}

fn origin(path: &Path, at: At) -> ValueOrigin {
    ValueOrigin::File { path: path.to_path_buf(), at }
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

/// The keys of a section, without its name.
fn members(section: &str) -> Vec<&'static str> {
    keys::all()
        .filter_map(|key| key.name.strip_prefix(section)?.strip_prefix('.'))
        .filter(|name| *name != "*")
        .collect()
}
