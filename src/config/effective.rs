//! The effective value of every key: the sources merged, weakest first, with secrets resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::backend;
use super::files::read_text;
use super::key::{Key, Status};
use super::keys;
use super::layers::Raw;
use super::node::{Node, Tree};
use super::problem::{Class, Problem, ValueOrigin};
use super::read;
use super::secret::Secret;
use super::value::Value;

/// The values merged so far.
#[derive(Default)]
pub(super) struct EffectiveValues {
    pub(super) values: BTreeMap<&'static str, Value>,
    pub(super) origins: BTreeMap<&'static str, ValueOrigin>,
    pub(super) problems: Vec<Problem>,
}

impl EffectiveValues {
    pub(super) fn problem(
        &mut self,
        class: Class,
        origin: ValueOrigin,
        key: &str,
        message: impl Into<String>,
    ) {
        self.problems.push(Problem { class, origin, key: key.into(), message: message.into() });
    }

    pub(super) fn values(&mut self, mut raws: Vec<Raw>) {
        for key in keys::all().filter(|key| key.status == Status::Honoured) {
            let value = default_of(key);
            self.values.insert(key.name, value);
            self.origins.insert(key.name, ValueOrigin::Default);
        }
        // The keys that configure the secret backend contain no secrets themselves.
        let (backend, others): (Vec<_>, Vec<_>) =
            raws.drain(..).partition(|raw| raw.key.name.starts_with("secret_backend"));
        self.layer(backend);
        let mut others = others;
        self.resolve_secrets(&mut others);
        self.layer(others);
    }

    /// Reads settings, weakest first; a valid one replaces the current value.
    fn layer(&mut self, raws: Vec<Raw>) {
        for (index, raw) in raws.iter().enumerate() {
            let shadowed = raws[index + 1..].iter().any(|other| other.key.name == raw.key.name);
            self.one(raw, shadowed);
        }
    }

    fn one(&mut self, raw: &Raw, shadowed: bool) {
        let key = raw.key;
        let mut faults = Vec::new();
        let value = read::read(key, &raw.node, &mut faults);
        for fault in faults {
            let origin = match &raw.origin {
                ValueOrigin::File { path, .. } => {
                    ValueOrigin::File { path: path.clone(), at: fault.at }
                }
                origin => origin.clone(),
            };
            let class = match fault.class {
                _ if shadowed => Class::Shadowed,
                Class::Value if key.expendable => Class::Entry,
                class => class,
            };
            self.problem(class, origin, &format!("{}{}", key.name, fault.path), fault.message);
        }
        let Some(value) = value else { return };
        let empty = value == Value::Unset || value == Value::Text(String::new());
        let value = if empty && !key.clearable { default_of(key) } else { value };
        self.values.insert(key.name, value);
        self.origins.insert(key.name, raw.origin.clone());
    }

    fn resolve_secrets(&mut self, raws: &mut Vec<Raw>) {
        let mut handles = BTreeSet::new();
        raws.iter().for_each(|raw| gather_handles(&raw.node, &mut handles));
        if handles.is_empty() {
            return;
        }
        let handles: Vec<String> = handles.into_iter().collect();
        let answers = match self.values.get("secret_backend_command") {
            Some(Value::Path(command)) => {
                let (arguments, timeout) = (self.arguments(), self.timeout());
                backend::resolve(command, &arguments, timeout, &handles)
            }
            _ => Err("needs secret_backend_command to be resolved; set it".to_owned()),
        };
        // An unresolved handle is removed: it must not be posted as a key.
        raws.retain_mut(|raw| match put_secrets(&mut raw.node, &answers) {
            Ok(()) => true,
            Err(reason) => {
                let message = format!("ENC[…] {reason}");
                self.problem(Class::Value, raw.origin.clone(), raw.key.name, message);
                false
            }
        });
    }

    fn arguments(&self) -> Vec<String> {
        match self.values.get("secret_backend_arguments") {
            Some(Value::Words(words)) => words.clone(),
            _ => Vec::new(),
        }
    }

    fn timeout(&self) -> std::time::Duration {
        match self.values.get("secret_backend_timeout") {
            Some(Value::Duration(time)) => *time,
            _ => std::time::Duration::from_secs(30),
        }
    }

    /// Reads `api_key_file` if `api_key` is unset.
    pub(super) fn api_key_file(&mut self) {
        let Some(Value::Path(path)) = self.values.get("api_key_file") else { return };
        if self.values.get("api_key") != Some(&Value::Unset) {
            return;
        }
        let (path, origin) = (path.clone(), self.origin("api_key_file"));
        let wrong = match read_text(&path) {
            Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
            Ok(text) if text.trim().contains(|c: char| c.is_whitespace() || c.is_control()) => {
                "contains whitespace inside the key".to_owned()
            }
            Ok(text) => {
                self.values.insert("api_key", Value::Secret(Secret::new(&text)));
                self.origins.insert("api_key", origin);
                return;
            }
            Err(error) => format!("cannot be read ({error})"),
        };
        let message = format!("{} {wrong}; write the key to it, or set api_key", path.display());
        self.problem(Class::Value, origin, "api_key_file", message);
    }

    pub(super) fn origin(&self, name: &str) -> ValueOrigin {
        self.origins.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn is_default(&self, name: &str) -> bool {
        self.origin(name) == ValueOrigin::Default
    }
}

/// The default as a value. A test checks that every default is valid.
pub(super) fn default_of(key: &Key) -> Value {
    read::read(key, &Node::text(key.default), &mut Vec::new()).unwrap_or(Value::Unset)
}

fn gather_handles(node: &Node, handles: &mut BTreeSet<String>) {
    match &node.tree {
        Tree::Text(text) => handles.extend(backend::handle(text).map(str::to_owned)),
        Tree::List(items) => items.iter().for_each(|item| gather_handles(item, handles)),
        Tree::Map(entries) => {
            entries.iter().for_each(|entry| gather_handles(&entry.value, handles));
        }
        Tree::Null => {}
    }
}

type Answers = Result<BTreeMap<String, Result<String, String>>, String>;

fn put_secrets(node: &mut Node, answers: &Answers) -> Result<(), String> {
    match &mut node.tree {
        Tree::Text(text) => {
            if let Some(handle) = backend::handle(text) {
                let answers = answers.as_ref().map_err(Clone::clone)?;
                let answer = answers.get(handle).cloned();
                *text = answer.unwrap_or_else(|| Err("was not requested".to_owned()))?;
            }
            Ok(())
        }
        Tree::List(items) => items.iter_mut().try_for_each(|item| put_secrets(item, answers)),
        Tree::Map(entries) => {
            entries.iter_mut().try_for_each(|entry| put_secrets(&mut entry.value, answers))
        }
        Tree::Null => Ok(()),
    }
}
