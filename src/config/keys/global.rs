//! The global tier: series that one owner posts for all hosts.

use std::time::Duration;

use crate::config::key::Kind::{self, Bool, Bytes, Choice, Pairs, Password, Path, Text, Words};
use crate::config::key::{Key, int, ours};
use crate::config::types::{GlobalMode, SaslMechanism};

const DAY: Duration = Duration::from_secs(86_400);
/// The longest session that brokers take by default (`group.max.session.timeout.ms`).
const SESSION_MAX: Duration = Duration::from_secs(1800);
const SECOND: Duration = Duration::from_secs(1);
const SIZE: Kind = Bytes { max: 1 << 50 };

/// A duration from `min` to `max`; a bare number is in seconds.
const fn seconds(min: Duration, max: Duration) -> Kind {
    Kind::Duration { unit: SECOND, min, max, whole_seconds: false }
}

pub(super) const KEYS: &[Key] = &[
    ours(
        "global_mode",
        Choice(GlobalMode::WORDS),
        "off",
        "Part in the global tier, where one owner posts a series for all hosts: `send` hands \
         global series to the log instead of posting them, `own` merges what all senders hand \
         over and posts it, `both` does both, `off` neither. Needs a whippet built with the \
         feature `global`. docs/global.md tells when it is worth it.",
    ),
    ours(
        "global_brokers",
        Words,
        "",
        "Brokers of the log, which speaks the Kafka protocol: a list of `host:port`. Required \
         unless `global_mode` is `off`; two or three of a large cluster are enough.",
    ),
    ours(
        "global_topic",
        Text,
        "whippet-global",
        "Topic that carries the parts of global series. It must exist with at least \
         `global_partitions` partitions; otherwise whippet does not start and prints the command \
         that creates it.",
    ),
    ours(
        "global_create_topic",
        Bool,
        "false",
        "Create `global_topic` at the start if it does not exist, with `global_partitions` \
         partitions, four hours of retention and the brokers' time stamps.",
    ),
    ours(
        "global_partitions",
        int(1, 4096),
        "64",
        "Partitions that series are spread over; at most that many owners share the work. The \
         same on every sender and owner, and fixed for the life of a topic: to change it, move \
         to another topic with `global_topic_next`.",
    ),
    ours(
        "global_topic_next",
        Pairs,
        "",
        "The topic to move to: a map of `topic`, its name, `partitions`, how many it has (unset: \
         as `global_partitions`), and `from`, a time in unix seconds. Intervals that start at or \
         after `from` go there; owners read both. Set it on owners first, then on all senders, \
         with a time that lies ahead. JSON in the environment.",
    ),
    ours(
        "global_group",
        Text,
        "whippet-global",
        "Consumer group of the owners. All owners of a topic use the same.",
    ),
    ours(
        "global_owner_id",
        Text,
        "",
        "A name of this owner that stays the same at a restart (`group.instance.id`), unique \
         within the group: a restart shorter than `global_session_timeout` then moves no \
         partition. Unset: partitions move at once when an owner stops.",
    ),
    ours(
        "global_metrics",
        Words,
        "",
        "Names of the metrics whose series are global, as they are after mapper and namespace; \
         `*` at the end stands for any rest. The tags `veneurglobalonly` or \
         `whippet_scope:global` on a line do the same for one series; `veneurlocalonly` or \
         `whippet_scope:local` keep a series local in any case. Without effect unless \
         `global_mode` contains sending.",
    )
    .reloads(),
    ours(
        "global_drop_tags",
        Words,
        "host pod_name container_id container_name display_container_name",
        "Tag keys that global series lose, besides host and device: those that tell senders \
         apart. Every other tag stays, so each one that differs between hosts makes a series of \
         its own. An empty list in a file or flag (`[]`) drops none.",
    )
    .reloads(),
    ours(
        "global_grace",
        seconds(Duration::ZERO, DAY),
        "5",
        "How long after the end of an interval its owner waits for all senders before it posts, \
         in seconds. A part that comes later corrects what was posted.",
    ),
    ours(
        "global_late",
        seconds(SECOND, DAY),
        "60",
        "How long after the end of an interval its owner keeps it open for late parts, in \
         seconds. Later ones are repaired from the log, which costs more. Senders give a part to \
         the brokers within a fifth of it or try again. At least `global_grace`.",
    ),
    ours(
        "global_late_max",
        seconds(SECOND, DAY),
        "3300",
        "Age of an interval, in seconds, past which its parts are dropped and counted: the intake \
         takes nothing older than about an hour. The log has to keep records longer than this. At \
         least `global_late`.",
    ),
    ours(
        "global_session_timeout",
        seconds(SECOND, SESSION_MAX),
        "10",
        "How long an owner may be silent before its partitions go to the others, in seconds. \
         Brokers refuse less than 6 s unless told otherwise.",
    ),
    ours(
        "global_queue_max",
        SIZE,
        "64Mb",
        "Sender: maximum size of parts in memory that wait for the brokers, at least 1 MiB. Past \
         it the oldest go to `global_spool_path`, or are dropped and counted.",
    ),
    ours(
        "global_spool_path",
        Path,
        "",
        "Sender: folder for parts that do not fit in `global_queue_max` and for those left at \
         shutdown. Unset: such parts are dropped and counted.",
    ),
    ours(
        "global_spool_max",
        SIZE,
        "1Gb",
        "Sender: maximum size of that folder, at least 1 MiB. Past it parts are dropped and \
         counted.",
    ),
    ours(
        "global_memory_max",
        SIZE,
        "0",
        "Owner: maximum memory for intervals that are not settled, at least 1 MiB. Past it \
         partitions are paused, and the log keeps what they hold. 0: a quarter of the cgroup's \
         memory limit, else 512 MiB.",
    ),
    ours(
        "global_skip_unknown",
        Bool,
        "false",
        "Owner: skip and count parts in a format of a newer whippet. False: their partition is \
         held until the owner is upgraded, so that nothing is lost.",
    ),
    ours(
        "global_tls",
        Bool,
        "false",
        "Use TLS to the brokers. Needs a whippet built with the feature `global-tls`.",
    ),
    ours(
        "global_ca_file",
        Path,
        "",
        "PEM file with the certificates that the brokers' certificate is checked against. Unset: \
         those of the system.",
    ),
    ours(
        "global_cert_file",
        Path,
        "",
        "PEM file with the certificate to show to the brokers; together with `global_key_file`.",
    ),
    ours("global_key_file", Path, "", "PEM file with the private key of `global_cert_file`."),
    ours(
        "global_sasl_mechanism",
        Choice(SaslMechanism::WORDS),
        "",
        "How to log in to the brokers: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, with \
         `global_sasl_username` and `global_sasl_password`. Unset: not at all. Needs a whippet \
         built with the feature `global-tls`.",
    ),
    ours("global_sasl_username", Text, "", "Name to log in to the brokers with."),
    ours(
        "global_sasl_password",
        Password,
        "",
        "Password to log in to the brokers with; `ENC[…]` is resolved. It is never shown.",
    ),
    ours(
        "global_kafka",
        Pairs,
        "",
        "More properties of librdkafka, such as `client.rack`: a map from name to value, JSON in \
         the environment. They win over whippet's defaults. Those that exactness rests on, or that \
         have a key of their own here, are refused by name.",
    ),
];
