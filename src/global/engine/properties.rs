//! Settings as properties of librdkafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
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

/// Whether librdkafka takes every property.
///
/// # Errors
/// Names the first that it does not take.
pub fn check_properties(settings: &GlobalSettings) -> Result<(), PropertyError> {
    for config in [producer(settings), consumer(settings)] {
        config.create_native_config().map(drop).map_err(|error| property_error(settings, error))?;
    }
    Ok(())
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

/// What producers and consumers have in common.
pub(super) fn client(settings: &GlobalSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    // Later ones win: none of ours may be replaced, whatever the configuration let through.
    for (name, value) in &settings.kafka {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", "whippet")
        .set("socket.keepalive.enable", "true")
        .set("log.connection.close", "false")
        .set("reconnect.backoff.max.ms", "2000")
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
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "false")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.queue.backoff.ms", "100")
        .set("queued.max.messages.kbytes", "32768");
    config
}
