//! What the keys of the global tier mean together, and [`GlobalSettings`], their values in one place.

mod checks;
mod properties;
#[cfg(test)]
mod tests;

#[cfg(all(test, feature = "global"))]
pub(crate) use properties::refused_properties;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::cgroup;
use crate::config::secret::Secret;
use crate::config::settings::Config;
use crate::config::types::{GlobalMode, SaslMechanism};
use crate::config::value::quoted;

/// Least size of a queue, a spool or the owner's memory: a part may have half of it.
const SIZE_MIN: u64 = 1 << 20;
/// Memory of an owner without a limit of the control group.
const MEMORY_MAX: usize = 512 << 20;

/// Everything the global tier is told. What it holds is valid; see `docs/configuration.md` for what
/// each value means.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalSettings {
    /// Never [`GlobalMode::Off`].
    pub mode: GlobalMode,
    /// At least one `host:port`.
    pub brokers: Vec<String>,
    /// A valid name of a topic.
    pub topic: String,
    /// Creates the topic when it does not exist.
    pub create_topic: bool,
    /// From 1 to 4096.
    pub partitions: u32,
    /// The topic that later intervals go to.
    pub topic_next: Option<TopicNext>,
    /// Consumer group of the owners.
    pub group: String,
    /// `group.instance.id`.
    pub owner_id: Option<String>,
    /// From the end of an interval to its first post.
    pub grace: Duration,
    /// From the end of an interval until it can be settled; at least `grace`.
    pub late: Duration,
    /// Age past which an interval is dropped; at least `late`.
    pub late_max: Duration,
    /// How long an owner may be silent.
    pub session_timeout: Duration,
    /// Sender: bytes of parts that may wait in memory, at least 1 MiB.
    pub queue_bytes_max: usize,
    /// Sender: folder of the spool.
    pub spool_path: Option<PathBuf>,
    /// Sender: bytes in the spool, at least 1 MiB.
    pub spool_bytes_max: u64,
    /// Owner: bytes of unsettled state, at least 1 MiB.
    pub memory_bytes_max: usize,
    /// Owner: skips formats of a newer whippet instead of holding their partition.
    pub skip_unknown: bool,
    /// TLS to the brokers.
    pub tls: Option<Tls>,
    /// How to log in to the brokers.
    pub sasl: Option<Sasl>,
    /// More properties of librdkafka. None that has a key of its own or decides whether data is exact.
    pub kafka: Vec<(String, String)>,
}

/// A topic that replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNext {
    /// Its name, another than the present one.
    pub topic: String,
    /// Its partitions, from 1 to 4096.
    pub partitions: u32,
    /// Intervals that start here or later go to it; unix seconds.
    pub from: u64,
}

/// Files for TLS, each readable when the configuration was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to check the brokers' with; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its private key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// How.
    pub mechanism: SaslMechanism,
    /// Who.
    pub username: String,
    /// Never shown.
    pub password: Secret,
}

impl GlobalMode {
    /// Hands global series to the log.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, GlobalMode::Send | GlobalMode::Both)
    }

    /// Merges and posts what senders hand over.
    #[must_use]
    pub fn owns(self) -> bool {
        matches!(self, GlobalMode::Own | GlobalMode::Both)
    }
}

impl Config {
    /// The settings of the global tier; `None` when it is off.
    #[must_use]
    pub fn global(&self) -> Option<GlobalSettings> {
        if self.global_mode == GlobalMode::Off {
            return None;
        }
        let login = self.global_sasl_username.clone().zip(self.global_sasl_password.clone());
        Some(GlobalSettings {
            mode: self.global_mode,
            brokers: self.global_brokers.clone(),
            topic: self.global_topic.clone(),
            create_topic: self.global_create_topic,
            partitions: self.global_partitions,
            topic_next: topic_next(&self.global_topic_next, self.global_partitions).ok().flatten(),
            group: self.global_group.clone(),
            owner_id: self.global_owner_id.clone(),
            grace: self.global_grace,
            late: self.global_late,
            late_max: self.global_late_max,
            session_timeout: self.global_session_timeout,
            queue_bytes_max: self.global_queue_max,
            spool_path: self.global_spool_path.clone(),
            spool_bytes_max: self.global_spool_max,
            memory_bytes_max: match self.global_memory_max {
                0 => memory_bytes_max(cgroup::limits(Path::new("/")).memory_bytes),
                bytes => bytes,
            },
            skip_unknown: self.global_skip_unknown,
            tls: self.global_tls.then(|| Tls {
                ca_file: self.global_ca_file.clone(),
                certificate: self.global_cert_file.clone().zip(self.global_key_file.clone()),
            }),
            sasl: self
                .global_sasl_mechanism
                .zip(login)
                .map(|(mechanism, (username, password))| Sasl { mechanism, username, password }),
            kafka: self.global_kafka.clone(),
        })
    }
}

/// A quarter of the control group's memory.
fn memory_bytes_max(limit: Option<u64>) -> usize {
    let quarter = limit.map(|bytes| usize::try_from(bytes / 4).unwrap_or(usize::MAX));
    quarter.map_or(MEMORY_MAX, |bytes| bytes.max(SIZE_MIN as usize))
}

/// The fields of `global_topic_next`; `None` when it is not set.
fn topic_next(fields: &[(String, String)], partitions: u32) -> Result<Option<TopicNext>, String> {
    if fields.is_empty() {
        return Ok(None);
    }
    if let Some((other, _)) =
        fields.iter().find(|(name, _)| !["topic", "partitions", "from"].contains(&name.as_str()))
    {
        return Err(format!(
            "{} is unknown; the fields are topic, partitions, from",
            quoted(other)
        ));
    }
    let field = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let topic = field("topic").ok_or("has no topic; add its name")?;
    checks::kafka_name(topic).map_err(|what| format!("topic: {} {what}", quoted(topic)))?;
    let from = field("from").ok_or("has no from; add a time in unix seconds that lies ahead")?;
    let from = from.parse().map_err(|_| {
        format!("from: {} is not a time; use unix seconds, such as 1800000000", quoted(from))
    })?;
    let partitions = match field("partitions") {
        None => partitions,
        Some(text) => {
            text.parse().ok().filter(|number| (1..=4096).contains(number)).ok_or_else(|| {
                format!("partitions: {} is no number from 1 to 4096", quoted(text))
            })?
        }
    };
    Ok(Some(TopicNext { topic: topic.to_owned(), partitions, from }))
}
