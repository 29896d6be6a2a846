//! How values become series, what is left out, and where memory ends.

use crate::config::key::Kind::{Aggregates, Bool, Percentiles, TagFilters, Text, Words};
use crate::config::key::{Key, SECONDS, WHOLE_SECONDS, ignored, int, key, ours};

pub(super) const KEYS: &[Key] = &[
    ours(
        "interval",
        WHOLE_SECONDS,
        "10",
        "Length of an aggregation interval, in whole seconds, 1 or more. Every series gets one point per interval. Shorter shows more and costs as much more to send; rates stay per second.",
    ),
    key(
        "dogstatsd_expiry_seconds",
        SECONDS,
        "300",
        "How long a counter that gets no more values is posted as 0. 0: not at all.",
    ).better("every live counter is posted as 0 in every bucket, without gaps"),
    key(
        "dogstatsd_context_expiry_seconds",
        SECONDS,
        "20",
        "How long a metric that gets no more values is remembered in memory. Longer saves work for rare metrics and costs memory.",
    ),
    key(
        "dogstatsd_flush_incomplete_buckets",
        Bool,
        "true",
        "Post the interval that is still open when whippet stops. (The Agent does not by default, and loses it.)",
    ).different("`true` by default: the last open bucket is posted, stamped with the second of the shutdown"),
    key(
        "histogram_aggregates",
        Aggregates,
        "max median avg count",
        "What is posted for a histogram or timer: any of `max`, `min`, `median`, `avg`, `sum`, `count`. Each is a series of its own.",
    ).expendable(),
    key(
        "histogram_percentiles",
        Percentiles,
        "0.95",
        "Percentiles that are posted for a histogram or timer, from 0 to 1; `0.999` is posted as `.99.9percentile`. An empty list in a file or flag (`[]`) posts none.",
    ).better("finer percentiles keep their decimals: `0.999` is `.99.9percentile`, not the hundredth").expendable(),
    key(
        "histogram_copy_to_distribution",
        Bool,
        "false",
        "Feed every histogram and timer value into a distribution too.",
    ),
    key(
        "histogram_copy_to_distribution_prefix",
        Text,
        "",
        "Prefix of the names of those distributions. Unset: the same name.",
    ),
    key(
        "dogstatsd_no_aggregation_pipeline",
        Bool,
        "true",
        "Post metrics that carry a timestamp as they are. False: the timestamp is ignored and they are aggregated.",
    ).better("non-finite values are dropped and repeated tags are made unique here too"),
    ignored(
        "dogstatsd_no_aggregation_pipeline_batch_size",
        "points with a timestamp go out with the bucket that is open when they arrive",
    ),
    key(
        "metric_filterlist",
        Words,
        "",
        "Metric names to drop, after the namespace is added. An entry that ends in a suffix of a histogram (`.avg`) drops that series alone.",
    ).expendable(),
    key(
        "metric_filterlist_match_prefix",
        Bool,
        "false",
        "Entries of `metric_filterlist` are beginnings of names.",
    ),
    key(
        "statsd_metric_blocklist",
        Words,
        "",
        "Older name of `metric_filterlist`, used when that is empty.",
    ).expendable(),
    key(
        "statsd_metric_blocklist_match_prefix",
        Bool,
        "false",
        "Entries of `statsd_metric_blocklist` are beginnings of names.",
    ),
    key(
        "metric_tag_filterlist",
        TagFilters,
        "",
        "Tags to remove, per metric: a list of `{metric_name, action, tags}`, where `action` is `exclude` (default: drop these tag keys) or `include` (keep only these). Metrics that become equal are merged. All kinds of metrics; the Agent only counters and distributions. JSON in the environment.",
    ).better("filters every kind of metric, and without the data plane").expendable(),
    key(
        "aggregator_stop_timeout",
        SECONDS,
        "",
        "Time for the last flush at shutdown. Unset, together with `forwarder_stop_timeout`: 8 s for the whole shutdown. When one of both is set, the whole is the sum, and the other counts 2 s as in the Agent.",
    ).different("unless one of the two stop timeouts is set, the whole shutdown has 8 s; containers are killed at 10 s"),
    ours(
        "contexts_max",
        int(0, 1_000_000_000),
        "0",
        "Most contexts (name, kind, tags, host) in memory. 0: from the memory limit of the control group, else one million. Past it known ones go on; new counters, sets, histograms and distributions fold into one overflow context per name (tag `whippet.overflow:true`; past 1,000 names into `whippet.overflow`, `whippet.overflow.sets`, `.histograms`, `.distributions`); new gauges are dropped. All of it is counted.",
    ),
    ours(
        "contexts_per_name_max",
        int(0, 1_000_000_000),
        "0",
        "Most contexts of one metric name. 0: no limit of its own. Set it so that one exploding name cannot use up `contexts_max`.",
    ),
    ours(
        "tags_per_line_max",
        int(1, 65_535),
        "512",
        "Most tags on one message. A line with more is refused and counted.",
    ),
    ours(
        "name_bytes_max",
        int(1, 1 << 20),
        "8192",
        "Longest metric name in bytes. A line with a longer one is refused and counted.",
    ),
    ours(
        "tag_bytes_max",
        int(1, 1 << 20),
        "8192",
        "Longest tag in bytes. A line with a longer one is refused and counted.",
    ),
    ours(
        "text_bytes_max",
        int(1, 16 << 20),
        "65536",
        "Longest title, text or message of an event or service check in bytes. A line with a longer one is refused and counted.",
    ),
    ours(
        "set_members_max",
        int(0, 1_000_000),
        "1000",
        "Members of one set that are counted exactly in an interval. Beyond, the number is an estimate.",
    ),
    ours(
        "events_per_interval_max",
        int(0, 1_000_000),
        "1000",
        "Most events, and apart from them most service checks, in an interval. The rest is dropped and counted.",
    ),
    ours(
        "stream_connections_max",
        int(1, 1_000_000),
        "1024",
        "Most open connections on the stream socket and on TCP. One more is closed and counted.",
    ),
    ignored(
        "dogstatsd_no_aggregation_pipeline_workers_count",
        "points with a timestamp have no workers of their own; see lanes",
    ),
    ignored("metric_tag_filterlist_adp_only", "the filter works without a gate"),
    ignored("aggregator_buffer_size", "tuning of the Agent's queue"),
    ignored("aggregator_use_tags_store", "memory tuning of the Agent"),
    ignored(
        "aggregator_flush_metrics_and_serialize_in_parallel_chan_size",
        "memory tuning of the Agent",
    ),
    ignored(
        "aggregator_flush_metrics_and_serialize_in_parallel_buffer_size",
        "memory tuning of the Agent",
    ),
    ignored("dogstatsd_context_limiter.*", "of older Agents; see contexts_max"),
    ignored("dogstatsd_max_metrics_tags", "of older Agents; see tags_per_line_max"),
];
