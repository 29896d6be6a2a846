//! Settings as properties of librdkafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;
use thiserror::Error;

use crate::config::GlobalSettings;

/// Records gathered before a request goes out.
const LINGER: Duration = Duration::from_millis(5);
/// A member that is not polled for so long leaves the group; ours is polled every 100 ms.
const POLL_INTERVAL: Duration = Duration::from_secs(300);

/// A property that librdkafka does not take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PropertyError(String);

/// Whether librdkafka takes every property, and all of them together.
///
/// # Errors
/// Names the first that it does not take.
pub fn check_properties(settings: &GlobalSettings) -> Result<(), PropertyError> {
    let configs = [producer(settings), consumer(settings)].map(|mut config| {
        // A client without brokers connects to nobody.
        config.remove("bootstrap.servers");
        config
    });
    for config in &configs {
        config.create_native_config().map_err(|error| property_error(settings, error))?;
    }
    let [producer, consumer] = configs;
    let made = producer.create::<BaseProducer>().map(drop);
    made.and_then(|()| consumer.create::<BaseConsumer>().map(drop)).map_err(|error| {
        let place = if settings.kafka.is_empty() { "the global tier" } else { "global_kafka" };
        PropertyError(match error {
            KafkaError::ClientCreation(why) => format!("{place}: {why}"),
            error => format!("{place}: {error}"),
        })
    })
}

fn property_error(settings: &GlobalSettings, error: KafkaError) -> PropertyError {
    PropertyError(match error {
        KafkaError::ClientConfig(_, description, key, _) => {
            let ours = settings.kafka.iter().any(|(name, _)| *name == key);
            let place = if ours { "global_kafka" } else { "the global tier" };
            let way_out = if ours { "; correct or remove it" } else { "" };
            format!("{place}: {key}: {description}{way_out}")
        }
        error => format!("the global tier: {error}"),
    })
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Ours where the operator has not chosen (`global_kafka`). Nothing about data hangs on these.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "whippet"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
    ("reconnect.backoff.max.ms", "2000"),
];
/// The same, of readers: a fetch that failed, or found the queue full, is repeated soon.
const READER_DEFAULTS: &[(&str, &str)] = &[
    ("fetch.error.backoff.ms", "100"),
    ("fetch.queue.backoff.ms", "100"),
    ("queued.max.messages.kbytes", "32768"),
];

fn fill_in(config: &mut ClientConfig, defaults: &[(&str, &str)]) {
    for (name, value) in defaults {
        if config.get(name).is_none() {
            config.set(*name, *value);
        }
    }
}

/// What producers and consumers have in common.
pub(super) fn client(settings: &GlobalSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in &settings.kafka {
        config.set(name, value);
    }
    fill_in(&mut config, DEFAULTS);
    // What follows, here and below, replaces whatever the configuration let through.
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("allow.auto.create.topics", "false")
        .set("statistics.interval.ms", "0");
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        if let Some(file) = &tls.ca_file {
            config.set("ssl.ca.location", path(file));
        }
        if let Some((certificate, key)) = &tls.certificate {
            config.set("ssl.certificate.location", path(certificate));
            config.set("ssl.key.location", path(key));
        }
    }
    if let Some(sasl) = &settings.sasl {
        config
            .set("sasl.mechanisms", sasl.mechanism.word())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.expose());
    }
    config
}

/// Appends parts and barriers. Without idempotence: a part has an identity of its own, and a producer
/// that is fenced after a timeout would lose what waits.
pub(super) fn producer(settings: &GlobalSettings) -> ClientConfig {
    let mut config = client(settings);
    config
        .set("acks", "all")
        .set("enable.idempotence", "false")
        .set("linger.ms", milliseconds(LINGER))
        // The time of a record lags behind its append by no more.
        .set("message.timeout.ms", milliseconds((settings.late / 5).max(LINGER * 2)))
        .set("compression.type", "none")
        .set("queue.buffering.max.kbytes", "32768");
    config
}

/// A member of the owners' group.
pub(super) fn consumer(settings: &GlobalSettings) -> ClientConfig {
    let mut config = reader(settings);
    let session = settings.session_timeout;
    config
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", milliseconds(session))
        .set("heartbeat.interval.ms", milliseconds(session / 6))
        .set("max.poll.interval.ms", milliseconds(POLL_INTERVAL.max(session)))
        .set("statistics.interval.ms", "10000");
    if let Some(id) = &settings.owner_id {
        config.set("group.instance.id", id);
    }
    config
}

/// A reader that is told what to read. It names the group, since it needs the rights of the group, and
/// never joins it.
pub(super) fn reader(settings: &GlobalSettings) -> ClientConfig {
    let mut config = client(settings);
    fill_in(&mut config, READER_DEFAULTS);
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "false");
    config
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Mode, Sources, load, refused_properties};

    fn settings(kafka: &[(&str, &str)]) -> GlobalSettings {
        let flags = [("global_mode", "both"), ("global_brokers", "127.0.0.1:1")];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let loaded = load(Sources { file: None, env: [], flags, mode: Mode::Run });
        let mut settings = loaded.expect("valid").config.global().expect("on");
        settings.owner_id = Some("o".to_owned());
        settings.kafka =
            kafka.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        settings
    }

    fn configs(settings: &GlobalSettings) -> [ClientConfig; 4] {
        [client(settings), producer(settings), consumer(settings), reader(settings)]
    }

    #[test]
    fn the_operator_wins_over_every_default() {
        for (name, default) in DEFAULTS.iter().chain(READER_DEFAULTS) {
            let other = match *default {
                "true" => "false",
                "false" => "true",
                _ => "77",
            };
            assert_eq!(consumer(&settings(&[])).get(name), Some(*default), "{name}");
            let settings = settings(&[(name, other)]);
            for config in configs(&settings) {
                assert_eq!(config.get(name), Some(other), "{name}");
            }
            // As librdkafka has it, which knows other names for some.
            let native = consumer(&settings).create_native_config().expect("taken");
            assert_eq!(native.get(name).as_deref(), Ok(other), "{name}");
        }
    }

    /// What is neither a default nor refused would be replaced without a word.
    #[test]
    fn what_the_operator_cannot_replace_is_refused_by_name() {
        let free: BTreeSet<_> =
            DEFAULTS.iter().chain(READER_DEFAULTS).map(|(name, _)| *name).collect();
        let refused: BTreeSet<_> = refused_properties().collect();
        assert_eq!(free.intersection(&refused).count(), 0);
        let settings = settings(&[]);
        for config in configs(&settings) {
            let ours: BTreeSet<_> = config.config_map().into_keys().collect();
            assert!(ours.difference(&free).all(|name| refused.contains(name)), "{ours:?}");
        }
    }

    #[test]
    fn properties_that_do_not_go_together_are_named_before_the_start() {
        let says = |kafka: &[(&str, &str)]| {
            check_properties(&settings(kafka)).map_err(|error| error.to_string())
        };
        assert_eq!(says(&[]), Ok(()));
        assert_eq!(says(&[("client.rack", "a"), ("fetch.max.bytes", "1000000")]), Ok(()));
        let error = says(&[("fetch.min.bytes", "x")]).unwrap_err();
        assert!(error.starts_with("global_kafka: fetch.min.bytes: "), "{error}");
        assert!(error.ends_with("; correct or remove it"), "{error}");
        let error = says(&[("receive.message.max.bytes", "2000")]).unwrap_err();
        assert!(error.starts_with("global_kafka: `receive.message.max.bytes` must be"), "{error}");
    }
}
