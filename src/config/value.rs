//! A value, a fault found while reading one, and how both are shown.

use std::path::PathBuf;
use std::time::Duration;

use super::node::At;
use super::problem::Class;
use super::secret::Secret;
use super::types::{
    AdditionalEndpoint, Aggregate, MapperProfile, OutputKind, Port, TagFilter, Transport,
};
use super::units::show_duration;
use super::url::{Url, without_secrets};

/// A value of one of the types that a key can have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Unset,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Url(Url),
    Secret(Secret),
    Path(PathBuf),
    Word(&'static str),
    Duration(Duration),
    Bytes(u64),
    Mode(u32),
    Port(Port),
    Words(Vec<String>),
    Outputs(Vec<OutputKind>),
    Percentiles(Vec<f64>),
    Aggregates(Vec<Aggregate>),
    Transports(Vec<Transport>),
    Pairs(Vec<(String, String)>),
    Endpoints(Vec<AdditionalEndpoint>),
    Profiles(Vec<MapperProfile>),
    TagFilters(Vec<TagFilter>),
}

/// A problem inside one value.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) class: Class,
    pub(super) at: At,
    /// Path below the key, such as `[1].mappings[0].match`.
    pub(super) path: String,
    pub(super) message: String,
}

/// A value in short form, without secrets.
pub(super) fn show(value: &Value) -> String {
    fn join(items: impl Iterator<Item = String>) -> String {
        format!("[{}]", items.collect::<Vec<_>>().join(", "))
    }
    match value {
        Value::Unset => "(unset)".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) if text.is_empty() => "(unset)".into(),
        Value::Text(text) => text.escape_debug().to_string(),
        Value::Url(url) => url.to_string(),
        Value::Secret(secret) => secret.to_string(),
        Value::Path(path) => path.display().to_string(),
        Value::Word(word) => (*word).into(),
        Value::Duration(time) => show_duration(*time),
        Value::Bytes(size) => size.to_string(),
        Value::Mode(mode) => format!("0{mode:o}"),
        Value::Port(Port::Off) => "0 (off)".into(),
        Value::Port(Port::Fixed(port)) => port.to_string(),
        Value::Port(Port::Random) => "__random__".into(),
        Value::Words(words) => join(words.iter().map(|word| word.escape_debug().to_string())),
        Value::Outputs(outputs) if outputs.is_empty() => "(unset)".into(),
        Value::Outputs(outputs) => join(outputs.iter().map(ToString::to_string)),
        Value::Percentiles(numbers) => join(numbers.iter().map(ToString::to_string)),
        Value::Aggregates(words) => join(words.iter().map(|word| word.word().into())),
        Value::Transports(words) => join(words.iter().map(|word| word.word().into())),
        Value::Pairs(pairs) => join(pairs.iter().map(|(name, value)| match names_a_secret(name) {
            true => format!("{name}: *****"),
            false => format!("{name}: {value}"),
        })),
        Value::Endpoints(endpoints) => join(endpoints.iter().map(|endpoint| {
            let keys = join(endpoint.api_keys.iter().map(ToString::to_string));
            format!("{}: {keys}", endpoint.url)
        })),
        Value::Profiles(profiles) => join(profiles.iter().map(|profile| {
            format!(
                "{} (prefix {}, {} mappings)",
                profile.name,
                profile.prefix,
                profile.mappings.len()
            )
        })),
        Value::TagFilters(filters) => join(filters.iter().map(|filter| {
            format!("{} {} {}", filter.metric_name, filter.action.word(), filter.tags.join("+"))
        })),
    }
}

/// True for a property that holds a password, a key or a token, such as `ssl.key.password`.
fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "oauthbearer.config", "key.pem"].iter().any(|end| name.ends_with(end))
}

/// A string for a message: quoted, escaped, at most 60 characters, without secrets of a URL.
pub(super) fn quoted(text: &str) -> String {
    let text = without_secrets(text);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}
