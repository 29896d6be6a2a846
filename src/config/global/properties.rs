//! The properties of librdkafka that `global_kafka` may not have: each has a key here, or decides whether
//! data is exact. Every other one is the operator's, and wins over whippet's default.

/// Why a property cannot be chosen.
enum Refusal {
    /// Another key of the configuration says it.
    Use(&'static str),
    /// Data would be lost, doubled or left behind with another value.
    Fixed(&'static str),
}
use Refusal::{Fixed, Use};

const ALL_REPLICAS: &str = "a part counts as handed over only when all replicas have it";
const IDENTITY: &str = "a part has an identity of its own, and a producer that the brokers fence would lose what waits";
const EACH_REPORTED: &str = "a part waits until its delivery is reported";
const OWN_PARTITION: &str = "all senders must put a series into the same partition";
const SMALL_BATCHES: &str = "the time of a part must lag little behind its interval";
const COMPRESSED: &str = "parts are compressed already";
const FITS_A_PART: &str = "a part needs up to 1 MiB";
const COMMITS: &str = "an owner commits only what is delivered";
const FROM_THE_START: &str = "an owner without a commit must read everything that the log holds";
const COOPERATIVE: &str = "owners keep their other partitions while some move";
const FOUND: &str = "owners read only what is certain to stay in the log";
const ENDS: &str = "an owner trusts no end of a partition but its own barrier";
const LAG: &str = "the lag of owners is read from the statistics";
const REAL: &str = "the brokers are those of global_brokers";

const REFUSED: &[(&str, Refusal)] = &[
    ("bootstrap.servers", Use("global_brokers")),
    ("metadata.broker.list", Use("global_brokers")),
    ("test.mock.num.brokers", Fixed(REAL)),
    ("acks", Fixed(ALL_REPLICAS)),
    ("request.required.acks", Fixed(ALL_REPLICAS)),
    ("enable.idempotence", Fixed(IDENTITY)),
    ("enable.gapless.guarantee", Fixed(IDENTITY)),
    ("transactional.id", Fixed(IDENTITY)),
    ("delivery.report.only.error", Fixed(EACH_REPORTED)),
    ("linger.ms", Fixed(SMALL_BATCHES)),
    ("queue.buffering.max.ms", Fixed(SMALL_BATCHES)),
    ("queue.buffering.max.messages", Use("global_queue_max")),
    ("queue.buffering.max.kbytes", Use("global_queue_max")),
    ("message.max.bytes", Fixed(FITS_A_PART)),
    ("message.timeout.ms", Use("global_late, of which it is a fifth")),
    ("delivery.timeout.ms", Use("global_late, of which it is a fifth")),
    ("compression.codec", Fixed(COMPRESSED)),
    ("compression.type", Fixed(COMPRESSED)),
    ("partitioner", Fixed(OWN_PARTITION)),
    ("group.id", Use("global_group")),
    ("group.instance.id", Use("global_owner_id")),
    ("group.protocol", Fixed(COOPERATIVE)),
    ("group.protocol.type", Fixed(COOPERATIVE)),
    ("partition.assignment.strategy", Fixed(COOPERATIVE)),
    ("enable.auto.commit", Fixed(COMMITS)),
    ("auto.commit.enable", Fixed(COMMITS)),
    ("enable.auto.offset.store", Fixed(COMMITS)),
    ("offset.store.method", Fixed(COMMITS)),
    ("auto.offset.reset", Fixed(FROM_THE_START)),
    ("session.timeout.ms", Use("global_session_timeout")),
    ("heartbeat.interval.ms", Use("global_session_timeout, of which it is a sixth")),
    ("max.poll.interval.ms", Use("global_session_timeout, which it follows")),
    ("isolation.level", Fixed(FOUND)),
    ("enable.partition.eof", Fixed(ENDS)),
    ("statistics.interval.ms", Fixed(LAG)),
    ("allow.auto.create.topics", Use("global_create_topic")),
    ("security.protocol", Use("global_tls and global_sasl_mechanism")),
    ("sasl.mechanism", Use("global_sasl_mechanism")),
    ("sasl.mechanisms", Use("global_sasl_mechanism")),
    ("sasl.username", Use("global_sasl_username")),
    ("sasl.password", Use("global_sasl_password")),
    ("ssl.ca.location", Use("global_ca_file")),
    ("ssl.certificate.location", Use("global_cert_file")),
    ("ssl.key.location", Use("global_key_file")),
];

/// The names of all that are refused.
#[cfg(test)]
pub(crate) fn refused_properties() -> impl Iterator<Item = &'static str> {
    REFUSED.iter().map(|(property, _)| *property)
}

/// What to say about a property that may not be set; `None`: it may.
pub(super) fn refused_property(property: &str) -> Option<String> {
    let (_, refusal) = REFUSED.iter().find(|(known, _)| *known == property)?;
    Some(match refusal {
        Use(key) => format!("{property} cannot be set here; use {key}"),
        Fixed(why) => format!("{property} cannot be set: {why}; remove it"),
    })
}
