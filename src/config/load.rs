//! From sources to a [`Config`]: gather, resolve secrets, read, check relations, build.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::backend;
use super::key::{Key, Status};
use super::keys;
use super::layers::{Layers, Raw};
use super::node::{Node, Tree};
use super::problem::{Class, Mode, Problem, Problems, ValueOrigin};
use super::read::{self, Value};
use super::secret::Secret;
use super::settings::{self, Config};
use super::yaml;

/// Where values come from, and who asks.
#[derive(Clone, Debug)]
pub struct Sources<E> {
    /// The file named on the command line. `None`: the one in `WHIPPET_CONFIG`, else none at all;
    /// `/etc` is never searched, so that no leftover of an Agent decides what whippet does. A
    /// folder stands for its `whippet.yaml`, `dogstatsd.yaml` or `datadog.yaml`.
    pub file: Option<PathBuf>,
    /// Names and values of the environment.
    pub env: E,
    /// `--set` pairs: dotted key and value.
    pub flags: Vec<(String, String)>,
    /// Decides which problems are fatal.
    pub mode: Mode,
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each honoured key's value comes from.
    pub origins: BTreeMap<&'static str, ValueOrigin>,
    /// Problems that are not fatal in the mode that was asked for.
    pub warnings: Vec<Problem>,
    /// Signs that this is meant to be a real deployment, in words.
    pub hints: Vec<String>,
    /// Accepted keys without effect, with the reason.
    pub ignored: Vec<(&'static str, ValueOrigin, &'static str)>,
    values: BTreeMap<&'static str, Value>,
}

impl Loaded {
    /// Every honoured key in the order of the table: name, value as text without secrets, origin.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, String, ValueOrigin)> {
        self.values_in_order()
            .map(|(key, value)| (key.name, read::show(value), self.origin(key.name)))
            .collect()
    }

    /// True when entries were skipped: the server runs, but not with all that was written.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.warnings.iter().any(|problem| problem.class == Class::Entry)
    }

    /// Where a key's value comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> ValueOrigin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    fn values_in_order(&self) -> impl Iterator<Item = (&'static Key, &Value)> {
        keys::all().filter_map(|key| Some((key, self.values.get(key.name)?)))
    }
}

/// What a look at the sources gives: always a configuration (bad values fall back), and all that
/// is wrong with it.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The configuration as far as it could be read; its `warnings` are empty.
    pub loaded: Option<Loaded>,
    /// Every problem, files first, by line.
    pub problems: Vec<Problem>,
}

/// Reads all sources.
///
/// # Errors
/// All problems at once when at least one of them is an error in `sources.mode`.
pub fn load(
    sources: Sources<impl IntoIterator<Item = (String, String)>>,
) -> Result<Loaded, Problems> {
    let mode = sources.mode;
    let Examined { loaded, problems } = examine(sources);
    match loaded {
        Some(loaded) if !problems.iter().any(|problem| problem.is_error(mode)) => {
            Ok(Loaded { warnings: problems, ..loaded })
        }
        _ => Err(Problems(problems)),
    }
}

/// Reads all sources and goes on past every problem; `sources.mode` has no effect here.
pub fn examine(sources: Sources<impl IntoIterator<Item = (String, String)>>) -> Examined {
    let env: Vec<(String, String)> = sources.env.into_iter().collect();
    let mut layers = Layers::default();
    let mut hints = env_hints(&env);
    layers.weak_env(&env);
    if let Some((path, origin)) = chosen_file(sources.file, &env) {
        match read_file(&path, origin) {
            Ok((path, root)) => {
                hints.insert(0, format!("the configuration file {}", path.display()));
                layers.file(&path, root);
            }
            Err(problem) => layers.problems.push(problem),
        }
    }
    layers.env(&env);
    layers.flags(&sources.flags);
    let mut reading = Reading { problems: layers.problems, ..Reading::default() };
    reading.values(layers.raws);
    reading.api_key_file();
    reading.relations();
    for name in ["site", "dd_url"] {
        if let origin @ ValueOrigin::Flag(_) = reading.origin(name) {
            hints.push(origin.to_string());
        }
    }
    let loaded = match settings::build(|name| reading.values.get(name)) {
        Ok(config) => Some(Loaded {
            config,
            hints,
            ignored: ignored(layers.ignored),
            warnings: Vec::new(),
            origins: reading.origins,
            values: reading.values,
        }),
        // A test builds the defaults and every kind: this would be a bug, and is told as one.
        Err(name) => {
            reading.problem(Class::Value, ValueOrigin::Default, name, "table and type disagree");
            None
        }
    };
    let mut problems = reading.problems;
    problems.sort_by_key(|problem| match &problem.origin {
        ValueOrigin::File { at, .. } => (0, at.line, at.column),
        ValueOrigin::Env(_) => (1, 0, 0),
        ValueOrigin::Flag(_) => (2, 0, 0),
        ValueOrigin::Default => (3, 0, 0),
    });
    Examined { loaded, problems }
}

fn ignored(
    keys: Vec<(&'static Key, ValueOrigin)>,
) -> Vec<(&'static str, ValueOrigin, &'static str)> {
    keys.into_iter()
        .filter_map(|(key, origin)| match key.status {
            Status::Ignored(reason) => Some((key.name, origin, reason)),
            Status::Honoured => None,
        })
        .collect()
}

/// Variables that somebody sets only to send to Datadog.
fn env_hints(env: &[(String, String)]) -> Vec<String> {
    env.iter()
        .filter_map(|(name, value)| match (name.as_str(), value.trim().is_empty()) {
            ("DD_SITE" | "DD_DD_URL" | "DD_URL", false) => Some(name.clone()),
            ("DD_API_KEY", true) => Some("an empty DD_API_KEY".to_owned()),
            _ => None,
        })
        .collect()
}

fn chosen_file(flag: Option<PathBuf>, env: &[(String, String)]) -> Option<(PathBuf, ValueOrigin)> {
    let from_env = || {
        let (name, path) =
            env.iter().find(|(name, path)| name == super::CONFIG_ENV && !path.is_empty())?;
        Some((PathBuf::from(path), ValueOrigin::Env(name.clone())))
    };
    flag.map(|path| (path, ValueOrigin::Default)).or_else(from_env)
}

/// Files looked for in a folder, in this order.
const FILE_NAMES: [&str; 3] = ["whippet.yaml", "dogstatsd.yaml", "datadog.yaml"];

fn read_file(path: &Path, named_by: ValueOrigin) -> Result<(PathBuf, Node), Problem> {
    let wrong = |origin: ValueOrigin, message: String| Problem {
        class: Class::Value,
        origin,
        key: String::new(),
        message,
    };
    let mut path = path.to_path_buf();
    if path.is_dir() {
        let file = FILE_NAMES.iter().map(|name| path.join(name)).find(|file| file.exists());
        path = file.ok_or_else(|| {
            let names = FILE_NAMES.join(", ");
            wrong(named_by.clone(), format!("the folder {} has no {names}", path.display()))
        })?;
    }
    let text = read_text(&path).map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        wrong(named_by, message)
    })?;
    match yaml::parse(&text) {
        Ok(root) => Ok((path, root)),
        Err(broken) => {
            let message = format!("is no YAML: {}", broken.message);
            Err(wrong(ValueOrigin::File { path, at: broken.at }, message))
        }
    }
}

/// A file that may be large or no text at all.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = yaml::FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// The values read so far.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) values: BTreeMap<&'static str, Value>,
    pub(super) origins: BTreeMap<&'static str, ValueOrigin>,
    problems: Vec<Problem>,
}

impl Reading {
    pub(super) fn problem(
        &mut self,
        class: Class,
        origin: ValueOrigin,
        key: &str,
        message: impl Into<String>,
    ) {
        self.problems.push(Problem { class, origin, key: key.into(), message: message.into() });
    }

    fn values(&mut self, mut raws: Vec<Raw>) {
        for key in keys::all().filter(|key| key.status == Status::Honoured) {
            let value = default_of(key);
            self.values.insert(key.name, value);
            self.origins.insert(key.name, ValueOrigin::Default);
        }
        // The program that resolves secrets is configured by keys that hold none.
        let (backend, others): (Vec<_>, Vec<_>) =
            raws.drain(..).partition(|raw| raw.key.name.starts_with("secret_backend"));
        self.layer(backend);
        let mut others = others;
        self.resolve_secrets(&mut others);
        self.layer(others);
    }

    /// Reads settings, weakest first: a good one replaces what stands there.
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
        // What cannot be resolved is no value: the handle must not be posted as a key.
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

    /// `api_key_file` stands in for an unset `api_key`.
    fn api_key_file(&mut self) {
        let Some(Value::Path(path)) = self.values.get("api_key_file") else { return };
        if self.values.get("api_key") != Some(&Value::Unset) {
            return;
        }
        let (path, origin) = (path.clone(), self.origin("api_key_file"));
        let wrong = match read_text(&path) {
            Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
            Ok(text) if text.trim().contains(|c: char| c.is_whitespace() || c.is_control()) => {
                "has white space inside the key".to_owned()
            }
            Ok(text) => {
                self.values.insert("api_key", Value::Secret(Secret::new(&text)));
                self.origins.insert("api_key", origin);
                return;
            }
            Err(error) => format!("cannot be read ({error})"),
        };
        let message = format!("{} {wrong}; put the key into it, or set api_key", path.display());
        self.problem(Class::Value, origin, "api_key_file", message);
    }

    pub(super) fn origin(&self, name: &str) -> ValueOrigin {
        self.origins.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn is_default(&self, name: &str) -> bool {
        self.origin(name) == ValueOrigin::Default
    }
}

/// The default as a value. A test reads every default without a fault.
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
                *text = answer.unwrap_or_else(|| Err("was not asked for".to_owned()))?;
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
