//! Aggregation, filters and memory limits.

use crate::config::key::Kind::{Aggregates, Bool, Percentiles, TagFilters, Text, Words};
use crate::config::key::{Key, SECONDS, WHOLE_SECONDS, ignored, int, key, ours};

pub(super) const KEYS: &[Key] = &[
    ours(
        "interval",
        WHOLE_SECONDS,
        "10",
        "Length of an aggregation interval, in whole seconds, 1 or more. Each series gets \
         one point per interval. A shorter interval gives finer graphs and proportionally \
         more traffic; rates stay per second.",
    ),
    key(
        "dogstatsd_expiry_seconds",
        SECONDS,
        "300",
        "How long a counter is posted as 0 after its last value. 0: not at all.",
    )
    .better("every live counter is posted as 0 in every interval, without gaps"),
    key(
        "dogstatsd_context_expiry_seconds",
        SECONDS,
        "20",
        "How long a metric stays in memory after its last value. A longer time saves work \
         for metrics sent rarely and costs memory.",
    ),
    key(
        "dogstatsd_flush_incomplete_buckets",
        Bool,
        "true",
        "Post the open interval when whippet stops. (The Agent's default is false, which \
         loses it.)",
    )
    .different(
        "`true` by default: the open interval is posted with the second of the shutdown as \
         its timestamp",
    ),
    key(
        "histogram_aggregates",
        Aggregates,
        "max median avg count",
        "Aggregates to post for a histogram or timer: any of `max`, `min`, `median`, `avg`, \
         `sum`, `count`. Each is a separate series.",
    )
    .expendable()
    .reloads(),
    key(
        "histogram_percentiles",
        Percentiles,
        "0.95",
        "Percentiles to post for a histogram or timer, from 0 to 1; `0.999` is posted as \
         `.99.9percentile`. An empty list in a file or flag (`[]`) posts none.",
    )
    .better(
        "finer percentiles keep their decimals: `0.999` is `.99.9percentile`, not the 100th \
         percentile",
    )
    .expendable()
    .reloads(),
    key(
        "histogram_copy_to_distribution",
        Bool,
        "false",
        "Also add every histogram and timer value to a distribution.",
    ),
    key(
        "histogram_copy_to_distribution_prefix",
        Text,
        "",
        "Prefix for the names of those distributions. Unset: the name stays the same.",
    ),
    key(
        "dogstatsd_no_aggregation_pipeline",
        Bool,
        "true",
        "Post metrics that carry a timestamp without aggregating them. False: the timestamp \
         is ignored and they are aggregated.",
    )
    .better("non-finite values are dropped and duplicate tags removed here too"),
    ignored(
        "dogstatsd_no_aggregation_pipeline_batch_size",
        "points with a timestamp are posted with the interval that is open when they arrive",
    ),
    key(
        "metric_filterlist",
        Words,
        "",
        "Metric names to drop, compared after the namespace is added. An entry that ends in \
         a histogram suffix (`.avg`) drops only that series.",
    )
    .expendable()
    .reloads(),
    key(
        "metric_filterlist_match_prefix",
        Bool,
        "false",
        "Treat the entries of `metric_filterlist` as prefixes.",
    )
    .reloads(),
    key(
        "statsd_metric_blocklist",
        Words,
        "",
        "Older name of `metric_filterlist`, used when `metric_filterlist` is empty.",
    )
    .expendable()
    .reloads(),
    key(
        "statsd_metric_blocklist_match_prefix",
        Bool,
        "false",
        "Treat the entries of `statsd_metric_blocklist` as prefixes.",
    )
    .reloads(),
    key(
        "metric_tag_filterlist",
        TagFilters,
        "",
        "Tags to remove, per metric: a list of `{metric_name, action, tags}`. `action` is \
         `exclude` (the default: drop these tag keys) or `include` (keep only these). \
         Metrics that become equal are merged. Applies to every metric type; the Agent \
         filters only counters and distributions. JSON in the environment.",
    )
    .better("filters every metric type, without needing the data plane")
    .expendable()
    .reloads(),
    key(
        "aggregator_stop_timeout",
        SECONDS,
        "",
        "Time for the last flush at shutdown. With this and `forwarder_stop_timeout` unset, \
         the whole shutdown may take 8 s. When either is set, the limit is their sum, and \
         the unset one counts as 2 s, as in the Agent.",
    )
    .different(
        "unless one of the two stop timeouts is set, the whole shutdown may take 8 s, \
         because containers are killed after 10 s",
    ),
    ours(
        "contexts_max",
        int(0, 1_000_000_000),
        "0",
        "Maximum number of contexts (name, type, tags, host) in memory. 0: derived from the \
         cgroup's memory limit, else one million. Beyond it, known contexts keep working; \
         new counters, sets, histograms and distributions are folded into one overflow \
         context per name (tag `whippet.overflow:true`), and after 1,000 such names into \
         `whippet.overflow`, `whippet.overflow.sets`, `.histograms` and `.distributions`; \
         new gauges are dropped. All of it is counted.",
    ),
    ours(
        "contexts_per_name_max",
        int(0, 1_000_000_000),
        "0",
        "Maximum number of contexts of one metric name. 0: no separate limit. Set it so that \
         a single metric with exploding tags cannot use up `contexts_max`.",
    ),
    ours(
        "tags_per_line_max",
        int(1, 65_535),
        "512",
        "Maximum number of tags on one message. A line with more is dropped and counted.",
    )
    .reloads(),
    ours(
        "name_bytes_max",
        int(1, 1 << 20),
        "8192",
        "Maximum length of a metric name, in bytes. A line with a longer one is dropped and \
         counted.",
    )
    .reloads(),
    ours(
        "tag_bytes_max",
        int(1, 1 << 20),
        "8192",
        "Maximum length of a tag, in bytes. A line with a longer one is dropped and counted.",
    )
    .reloads(),
    ours(
        "text_bytes_max",
        int(1, 16 << 20),
        "65536",
        "Maximum length of the title, text or message of an event or service check, in \
         bytes. A line with a longer one is dropped and counted.",
    )
    .reloads(),
    ours(
        "set_members_max",
        int(0, 1_000_000),
        "1000",
        "Number of members of a set that are counted exactly in one interval. Above it, the \
         size of the set is estimated.",
    ),
    ours(
        "aggregation_bytes_max",
        int(0, 1 << 40),
        "0",
        "Maximum memory, in bytes, for what one interval holds beyond its contexts: samples of \
         histograms and timers, members of sets, sketches of distributions. 0: a quarter of \
         the cgroup's memory limit, else 512 MiB. Beyond it nothing is dropped; what would \
         have to grow becomes less precise: percentiles and sketches lose resolution, sets are \
         estimated. Counts, sums, minima and maxima stay exact. All of it is counted.",
    ),
    ours(
        "events_per_interval_max",
        int(0, 1_000_000),
        "1000",
        "Maximum number of events, and separately of service checks, per interval. The rest \
         are dropped and counted.",
    ),
    ours(
        "stream_connections_max",
        int(1, 1_000_000),
        "1024",
        "Maximum number of open connections on the stream socket and on TCP together. \
         Further connections are closed and counted.",
    ),
    ignored(
        "dogstatsd_no_aggregation_pipeline_workers_count",
        "points with a timestamp have no separate workers; see lanes",
    ),
    ignored("metric_tag_filterlist_adp_only", "the filter is always available"),
    ignored("aggregator_buffer_size", "tunes the Agent's queue"),
    ignored("aggregator_use_tags_store", "tunes the Agent's memory"),
    ignored(
        "aggregator_flush_metrics_and_serialize_in_parallel_chan_size",
        "tunes the Agent's memory",
    ),
    ignored(
        "aggregator_flush_metrics_and_serialize_in_parallel_buffer_size",
        "tunes the Agent's memory",
    ),
    ignored("dogstatsd_context_limiter.*", "only in older Agents; see contexts_max"),
    ignored("dogstatsd_max_metrics_tags", "only in older Agents; see tags_per_line_max"),
];
