//! whippet's own numbers as metrics: a shard of its own, closed with the buckets of the lanes and
//! merged into the same flush, so that they carry the same timestamp, host and tags and go through
//! the same encoders.
//!
//! At most fifteen series. No client sent their lines, so no line counter includes them.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::aggregate::{Bucket, CheckRecord, LineCounts, Shard, ShardSettings};
use crate::context::Rules;
use crate::flush::Closed;
use crate::forward::{Forwarder, RouteCounts};
use crate::net::{ListenerCounts, Transport};
use crate::protocol::Status;

/// The name of the service check of a running server.
const SERVICE_CHECK: &[u8] = b"whippet.up";

/// Writes own metrics into every bucket.
pub(super) struct SelfMetrics {
    /// Its number among the lanes: one past the last.
    lane: usize,
    /// Boxed for the reason that lanes are.
    shard: Box<Shard>,
    /// Start of the bucket that each lane has open; zero before its first close.
    passed: Vec<u64>,
    /// Lines of the lanes' buckets that ours does not cover yet.
    counts: LineCounts,
    reported: Reported,
    forwarder: Option<Arc<Forwarder>>,
    /// The service check of every interval, without its time (`self_service_check`).
    check: Option<CheckRecord>,
    spare: Bucket,
    text: Vec<u8>,
}

/// Totals at the last time of telling: metrics carry what came since.
#[derive(Default)]
struct Reported {
    sockets: Sockets,
    delivered: u64,
    dropped: u64,
}

/// Sums over listeners.
#[derive(Clone, Copy, Default)]
struct Sockets {
    udp_packets: u64,
    udp_bytes: u64,
    uds_packets: u64,
    uds_bytes: u64,
    kernel_drops: u64,
    truncated: u64,
}

impl Sockets {
    fn of(lanes: &[Vec<ListenerCounts>]) -> Self {
        let mut sums = Sockets::default();
        for counts in lanes.iter().flatten() {
            let packets = counts.datagrams + counts.frames;
            match counts.transport {
                Transport::Udp => {
                    sums.udp_packets += packets;
                    sums.udp_bytes += counts.bytes;
                }
                Transport::UnixDatagram | Transport::UnixStream => {
                    sums.uds_packets += packets;
                    sums.uds_bytes += counts.bytes;
                }
                Transport::Tcp | Transport::Http => {}
            }
            sums.kernel_drops += counts.kernel_drops;
            sums.truncated += counts.datagrams_truncated;
        }
        sums
    }
}

/// The other numbers of the moment.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub now: Duration,
    /// Contexts known to the flusher.
    pub contexts: usize,
}

impl SelfMetrics {
    pub fn new(
        lanes: usize,
        settings: ShardSettings,
        state: RandomState,
        now: Duration,
        forwarder: Option<Arc<Forwarder>>,
    ) -> Self {
        // No namespace, no filter, no cap: these names are ours. Host and common tags are added
        // where series are posted.
        let rules = Arc::new(Rules::default());
        SelfMetrics {
            lane: lanes,
            shard: Box::new(Shard::new(settings, rules, state, now)),
            passed: vec![0; lanes],
            counts: LineCounts::default(),
            reported: Reported::default(),
            forwarder,
            check: None,
            spare: Bucket::default(),
            text: Vec::new(),
        }
    }

    /// Posts [`SERVICE_CHECK`] every interval, with the host and tags that `rules` give to everything.
    pub fn with_check(mut self, rules: &Rules) -> Self {
        self.check = Some(CheckRecord {
            name: SERVICE_CHECK.into(),
            status: Status::Ok,
            timestamp: 0,
            host: rules.default_host.clone(),
            message: Box::default(),
            tags: rules.common_tags.clone(),
        });
        self
    }

    /// A lane closed a bucket. Gives our bucket when it was the last lane to pass it; then the
    /// flusher has to take both.
    pub fn saw(
        &mut self,
        closed: &Closed,
        listeners: &[Vec<ListenerCounts>],
        moment: Moment,
    ) -> Option<Closed> {
        self.counts.add(&closed.bucket.counts);
        if let Some(passed) = self.passed.get_mut(closed.lane) {
            *passed = closed.passed.max(*passed);
        }
        let passed = self.passed.iter().copied().min()?;
        let end = self.shard.bucket_end().as_secs();
        (passed >= end).then(|| self.close(listeners, passed, moment))
    }

    /// The last bucket, at the end of the server.
    pub fn finish(&mut self, listeners: &[Vec<ListenerCounts>], moment: Moment) -> Closed {
        let passed = self.passed.iter().copied().min().unwrap_or_default();
        self.close(listeners, passed, moment)
    }

    fn close(&mut self, listeners: &[Vec<ListenerCounts>], passed: u64, moment: Moment) -> Closed {
        self.shard.begin_batch(moment.now);
        self.write(listeners, moment);
        let mut bucket =
            self.shard.close(Duration::from_secs(passed), std::mem::take(&mut self.spare));
        if let Some(check) = &self.check {
            let timestamp = i64::try_from(moment.now.as_secs()).unwrap_or(i64::MAX);
            bucket.checks.push(CheckRecord { timestamp, ..check.clone() });
        }
        // No client sent them.
        bucket.counts = LineCounts::default();
        Closed { lane: self.lane, bucket, passed }
    }

    /// An emptied bucket for reuse.
    pub fn reuse(&mut self, spare: Bucket) {
        self.spare = spare;
    }

    fn write(&mut self, listeners: &[Vec<ListenerCounts>], moment: Moment) {
        let counts = std::mem::take(&mut self.counts);
        let sockets = Sockets::of(listeners);
        let before = std::mem::replace(&mut self.reported.sockets, sockets);
        let since = |figure: fn(&Sockets) -> u64| figure(&sockets).saturating_sub(figure(&before));
        self.count("datadog.dogstatsd.udp_packets", since(|sums| sums.udp_packets), "");
        self.count("datadog.dogstatsd.udp_packets_bytes", since(|sums| sums.udp_bytes), "");
        self.count("datadog.dogstatsd.uds_packets", since(|sums| sums.uds_packets), "");
        self.count("datadog.dogstatsd.uds_packets_bytes", since(|sums| sums.uds_bytes), "");
        self.count("datadog.dogstatsd.processed", counts.recorded(), "state:ok");
        self.count("datadog.dogstatsd.processed", counts.refused_total(), "state:error");
        self.gauge("datadog.dogstatsd.contexts", moment.contexts as u64, "");
        self.count("whippet.lines_dropped", counts.dropped_total(), "");
        self.count("whippet.lines_folded", counts.lines_folded, "");
        self.count("whippet.kernel_drops", since(|sums| sums.kernel_drops), "");
        self.count("whippet.datagrams_truncated", since(|sums| sums.truncated), "");
        self.delivery();
        self.gauge("whippet.running", 1, concat!("version:", env!("CARGO_PKG_VERSION")));
    }

    fn delivery(&mut self) {
        let Some(forwarder) = &self.forwarder else { return };
        let accounting = forwarder.accounting();
        let delivered = accounting.total(|route| route.delivered).payloads;
        let dropped = accounting.total(RouteCounts::dropped_total).payloads;
        let queue: usize = accounting.endpoints.iter().map(|endpoint| endpoint.queue_bytes).sum();
        let before = (self.reported.delivered, self.reported.dropped);
        (self.reported.delivered, self.reported.dropped) = (delivered, dropped);
        self.count("whippet.payloads_delivered", delivered.saturating_sub(before.0), "");
        self.count("whippet.payloads_dropped", dropped.saturating_sub(before.1), "");
        self.gauge("whippet.queue_bytes", queue as u64, "");
    }

    fn count(&mut self, name: &str, value: u64, tag: &str) {
        self.line(name, value, 'c', tag);
    }

    fn gauge(&mut self, name: &str, value: u64, tag: &str) {
        self.line(name, value, 'g', tag);
    }

    fn line(&mut self, name: &str, value: u64, kind: char, tag: &str) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // Writing into memory does not fail.
        let _ = match tag {
            "" => write!(text, "{name}:{value}|{kind}"),
            tag => write!(text, "{name}:{value}|{kind}|#{tag}"),
        };
        self.shard.line(&text, b"");
        self.text = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Kind;

    const INTERVAL: u64 = 10;
    /// Series per interval, as promised at the top.
    const SERIES_MAX: usize = 15;

    fn metrics() -> SelfMetrics {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        SelfMetrics::new(2, ShardSettings::default(), state, Duration::from_secs(100), None)
    }

    fn passes(lane: usize, passed: u64, received: u64) -> Closed {
        let mut bucket = Bucket::default();
        bucket.start = passed - INTERVAL;
        (bucket.counts.received, bucket.counts.metrics) = (received, received);
        Closed { lane, bucket, passed }
    }

    fn moment() -> Moment {
        Moment { now: Duration::from_secs(110), contexts: 7 }
    }

    /// The value of a counter without tags, by the order of births.
    fn counter(closed: &Closed, births: &[crate::context::Birth], name: &str) -> f64 {
        let birth = births.iter().find(|birth| birth.context.name() == name.as_bytes()).unwrap();
        closed.bucket.counters.iter().find(|cell| cell.context == birth.id).unwrap().sum
    }

    #[test]
    fn a_bucket_is_closed_when_the_last_lane_has_passed_it() {
        let mut metrics = metrics();
        assert!(metrics.saw(&passes(0, 110, 3), &[], moment()).is_none());
        let closed = metrics.saw(&passes(1, 110, 4), &[], moment()).unwrap();
        assert_eq!((closed.lane, closed.bucket.start, closed.passed), (2, 100, 110));
        let births = closed.bucket.births.clone();
        assert_eq!(counter(&closed, &births, "datadog.dogstatsd.processed"), 7.0);
        assert!(metrics.saw(&passes(0, 120, 1), &[], moment()).is_none());
        let next = metrics.saw(&passes(1, 140, 1), &[], moment());
        assert!(next.is_some_and(|next| next.bucket.start == 110 && next.passed == 120));
    }

    #[test]
    fn the_series_are_few_and_no_client_is_said_to_have_sent_them() {
        let closed = metrics().finish(&[], moment());
        // Delivery adds three when there is an intake.
        assert_eq!(closed.bucket.births.len() + 3, SERIES_MAX);
        assert_eq!(closed.bucket.counts, LineCounts::default());
        let gauges =
            closed.bucket.births.iter().filter(|birth| birth.context.kind() == Kind::Gauge);
        assert_eq!(gauges.count(), 2);
    }

    #[test]
    fn counts_are_what_came_since_the_last_bucket() {
        let mut metrics = metrics();
        let mut sockets = Sockets { udp_packets: 5, ..Sockets::default() };
        metrics.reported.sockets = sockets;
        sockets.udp_packets = 0;
        // A lane that begins anew starts at zero: nothing is posted rather than nonsense.
        let closed = metrics.finish(&[], moment());
        let births = closed.bucket.births.clone();
        assert_eq!(counter(&closed, &births, "datadog.dogstatsd.udp_packets"), 0.0);
        assert_eq!(metrics.reported.sockets.udp_packets, sockets.udp_packets);
    }
}
