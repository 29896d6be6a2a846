//! Configuration: from the sources to a valid [`Config`].
//!
//! Input: a YAML file, the environment, flags. Output: [`Loaded`], a `Config` with the origin of
//! every value, or [`Problems`], all of them at once. Guarantees: one table of keys ([`keys`])
//! defines names, types, defaults and documentation; a `Config` that exists is valid; no secret is
//! printed. It does not search for files (only a named one is read) and does not use the network.

mod backend;
pub mod cgroup;
mod doors;
mod effective;
mod entries;
mod expected;
mod files;
pub mod generate;
mod global;
mod hostname;
pub mod identity;
pub mod key;
pub mod keys;
mod layers;
mod lists;
mod load;
mod nearest;
mod node;
mod outputs;
mod problem;
mod read;
mod relations;
mod reload;
mod rules;
mod secret;
mod settings;
mod types;
mod units;
mod url;
mod value;
mod yaml;
mod yaml_words;

#[cfg(all(test, feature = "global"))]
pub(crate) use global::refused_properties;
pub use global::{GlobalSettings, Sasl, Tls, TopicNext};
pub use layers::CONFIG_ENV;
pub use load::{Examined, Loaded, Sources, examine, load};
pub use node::At;
pub use outputs::Outputs;
pub use problem::{Class, Mode, Problem, Problems, ValueOrigin};
pub use reload::Change;
pub use secret::Secret;
pub use settings::Config;
pub use types::{
    AdditionalEndpoint, Aggregate, Cardinality, Compressor, DoorMode, GlobalMode, LogLevel,
    MapperProfile, Mapping, MatchType, OutputKind, Port, SaslMechanism, Switch, TagAction,
    TagFilter, TlsVersion, TracesMode, Transport,
};
#[cfg(feature = "cli")]
pub(crate) use units::{bytes as parse_bytes, duration as parse_duration, show_duration};
pub use url::Url;

#[cfg(test)]
mod tests;
