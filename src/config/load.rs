//! From sources to a [`Config`]: collect, resolve secrets, read, check relations, build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::effective::{EffectiveValues, default_of};
use super::files::read_text;
use super::key::{Key, Status};
use super::keys;
use super::layers::{CONFIG_ENV, Layers};
use super::node::Node;
use super::problem::{Class, Mode, Problem, Problems, ValueOrigin};
use super::settings::{self, Config};
use super::value::{Value, show};
use super::yaml;

/// The sources of values, and the mode.
#[derive(Clone, Debug)]
pub struct Sources<E> {
    /// The file named on the command line. `None`: the one in `WHIPPET_CONFIG`, else none at all;
    /// `/etc` is never searched, so that a leftover Agent file has no effect. For a directory, its
    /// `whippet.yaml`, `dogstatsd.yaml` or `datadog.yaml` is read.
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
    /// Problems that are not fatal in the requested mode.
    pub warnings: Vec<Problem>,
    /// Signs of a real deployment, in words.
    pub hints: Vec<String>,
    /// Accepted keys without effect, with the reason.
    pub ignored: Vec<(&'static str, ValueOrigin, &'static str)>,
    pub(super) values: BTreeMap<&'static str, Value>,
}

impl Loaded {
    /// Every honoured key in the order of the table: name, value as text without secrets, origin.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, String, ValueOrigin)> {
        self.values_in_order()
            .map(|(key, value)| (key.name, show(value), self.origin(key.name)))
            .collect()
    }

    /// As [`Loaded::effective`], for the keys whose value is not the default.
    #[must_use]
    pub fn changed(&self) -> Vec<(&'static str, String, ValueOrigin)> {
        self.values_in_order()
            .filter(|(key, value)| **value != default_of(key))
            .map(|(key, value)| (key.name, show(value), self.origin(key.name)))
            .collect()
    }

    /// True when entries were skipped: the server runs with part of the configuration.
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

/// The result of examining the sources: a configuration, in which invalid values fall back to
/// defaults, and every problem.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The configuration; its `warnings` are empty.
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

/// Reads all sources and continues after every problem; `sources.mode` has no effect.
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
    let mut effective = EffectiveValues { problems: layers.problems, ..EffectiveValues::default() };
    effective.values(layers.raws);
    effective.api_key_file();
    effective.relations();
    for name in ["site", "dd_url"] {
        if let origin @ ValueOrigin::Flag(_) = effective.origin(name) {
            hints.push(origin.to_string());
        }
    }
    let loaded = match settings::build(&|name| effective.values.get(name)) {
        Ok(config) => Some(Loaded {
            config,
            hints,
            ignored: ignored(layers.ignored),
            warnings: Vec::new(),
            origins: effective.origins,
            values: effective.values,
        }),
        // A test builds the defaults and every type, so this would be a bug.
        Err(name) => {
            effective.problem(
                Class::Value,
                ValueOrigin::Default,
                name,
                "internal error: the key table and Config disagree",
            );
            None
        }
    };
    let mut problems = effective.problems;
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

/// Variables that are set only to send to Datadog.
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
            env.iter().find(|(name, path)| name == CONFIG_ENV && !path.is_empty())?;
        Some((PathBuf::from(path), ValueOrigin::Env(name.clone())))
    };
    flag.map(|path| (path, ValueOrigin::Default)).or_else(from_env)
}

/// Files tried in a directory, in this order.
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
            wrong(named_by.clone(), format!("the directory {} has no {names}", path.display()))
        })?;
    }
    let text = read_text(&path).map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        wrong(named_by, message)
    })?;
    match yaml::parse(&text) {
        Ok(root) => Ok((path, root)),
        Err(broken) => {
            let message = format!("is not valid YAML: {}", broken.message);
            Err(wrong(ValueOrigin::File { path, at: broken.at }, message))
        }
    }
}
