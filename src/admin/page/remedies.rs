//! What helps, in words, for every reason that data is lost for.

use crate::watch::Overflow;

pub(super) const TYPE_CONFLICT: &str =
    "send each metric as one type; the log names one that has two";
pub(super) const OVERSIZE: &str =
    "raise dogstatsd_buffer_size here, or lower the packet size of the client";
pub(super) const CUT: &str = "the client closed its connection in the middle of a frame";
pub(super) const CONNECTIONS: &str =
    "raise stream_connections_max, or let clients keep their connections";
pub(super) const CLIENT: &str = "give the client a larger queue or buffer, or let it send over a \
     Unix socket, where it waits instead of losing; the table of senders says which client it is";
pub(super) const REFUSED: &str =
    "the client sends lines that do not follow the protocol: see the bad lines below";
pub(super) const DOOR: &str =
    "the client sends what the route does not take: the log below names the place and the client";
pub(super) const FORWARD: &str = "the vendor's endpoint did not take them: see the log below";
pub(super) const SOCKET_LOST: &str =
    "another program took the socket's path: stop it, or give whippet a path of its own";
pub(super) const GLOBAL_SENDER: &str = "see whether the brokers answer; raise global_queue_max, or set \
     global_spool_path to wait on disk";
pub(super) const GLOBAL_PART: &str =
    "senders and owners must have the same interval and global_partitions; upgrade owners first";
pub(super) const QUEUE: &str = "see the answers of the endpoint below. For longer outages raise \
     forwarder_retry_queue_payloads_max_size, or set forwarder_storage_max_size_in_bytes to wait on disk";

/// For lines that were dropped for that reason.
pub(super) fn line(reason: &str, overflow: Option<&Overflow>) -> String {
    let remedy = match reason {
        "context_limit" => return contexts(overflow),
        "too_many_tags" => "send at most 512 tags on a line",
        "tag_too_long" => "shorten the tags at the client: at most 8 KiB each",
        "name_too_long" => "shorten the name at the client: at most 8 KiB",
        "text_too_long" => "shorten the text of the event or check: at most 64 KiB",
        "non_finite" => "the client sends NaN or infinite values: let it leave them out",
        "timestamp_unsupported" => "only counters and gauges can carry a timestamp (T)",
        "interval_full" => {
            "send fewer events, checks or timestamped points, or raise events_per_interval_max"
        }
        "bucket_abandoned" => "set dogstatsd_flush_incomplete_buckets to true",
        "lane_failed" => "this is a bug of whippet: please report it with the log below",
        _ => "`whippet explain` shows what becomes of a line",
    };
    remedy.to_owned()
}

/// Names whom to blame, when it is known.
fn contexts(overflow: Option<&Overflow>) -> String {
    let worst = overflow.and_then(|overflow| overflow.names.first());
    match worst.map(|name| (name, name.tag_keys.first())) {
        Some((name, Some(key))) => format!(
            "take the tag {} off {} at the client, or raise contexts_max",
            key.key, name.name
        ),
        Some((name, None)) => {
            format!("send fewer tags with {}, or raise contexts_max", name.name)
        }
        None => "send fewer tags, or raise contexts_max".to_owned(),
    }
}

/// For payloads that were given up for that reason.
pub(super) fn payload(reason: &str) -> &'static str {
    match reason {
        "queue_full" => {
            "raise forwarder_retry_queue_payloads_max_size, or set \
             forwarder_storage_max_size_in_bytes to wait on disk"
        }
        "spool_full" => "raise forwarder_storage_max_size_in_bytes",
        "too_old" => "the intake takes nothing older than an hour: see why the endpoint was away",
        "bad_request" | "too_large" | "split_failed" => {
            "the intake does not take them: please report it with the log below"
        }
        "spool_damaged" | "spool_removed" => {
            "see that no other program writes below forwarder_storage_path"
        }
        _ => "the log below says why",
    }
}

/// `7260` as `2h 1min`, the two largest units.
pub(super) fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{}h {}min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
