//! What an owner's thread shows of itself, and how the pages tell it. Those of two topics count as one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::admin::{
    GlobalCountStatus, GlobalOwnerStatus, GlobalSenderRow, PayloadsStatus, ReasonsStatus,
};
use crate::config::GlobalSettings;
use crate::forward::ForwardAccounting;
use crate::global::engine::{EngineState, EngineStatus};
use crate::global::owner::{Count, Now, Owner, OwnerAccounting, OwnerGauges, SenderRow};
use crate::global::posting::Poster;
use crate::output::Discarded;
use crate::part::Sender;

/// How often the thread of an owner shows itself.
const EVERY: Duration = Duration::from_secs(1);

/// An owner at a moment.
#[derive(Default)]
pub(super) struct Shown {
    pub accounting: OwnerAccounting,
    gauges: OwnerGauges,
    senders: Vec<(Sender, SenderRow)>,
    /// Monotonic.
    at: Duration,
}

/// Where an owner's thread puts what it shows.
#[derive(Clone, Default)]
pub(super) struct Window(Arc<Mutex<Shown>>);

impl Window {
    /// Shows the owner when it is time again.
    pub fn look(&self, owner: &Owner, now: Now) {
        let mut shown = self.lock();
        // What has begun just now is shown at once.
        if shown.at.is_zero() || now.monotonic >= shown.at + EVERY {
            shown.gauges = owner.gauges(now);
            shown.senders = owner.senders().map(|(id, row)| (*id, row.clone())).collect();
            shown.accounting = owner.accounting().clone();
            shown.at = now.monotonic;
        }
    }

    /// Shows it a last time: it owns nothing any more.
    pub fn end(&self, owner: &Owner) {
        let mut shown = self.lock();
        shown.accounting = owner.accounting().clone();
        shown.gauges = OwnerGauges::default();
    }

    pub fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the pages ask about one owner.
#[derive(Clone)]
pub(in crate::server) struct OwnerSource {
    pub(super) topic: String,
    pub(super) window: Window,
    pub(super) engine: Arc<EngineState>,
    pub(super) poster: Arc<Poster>,
    /// When its thread began, monotonic.
    pub(super) since: Duration,
}

impl OwnerSource {
    /// What looks wrong about the topics.
    pub fn doubts(&self) -> Vec<String> {
        self.engine.status().doubts
    }
}

/// All owners of this process as one; none when it owns nothing.
pub(in crate::server) fn owners(
    sources: &[OwnerSource],
    settings: &GlobalSettings,
    now: Now,
) -> Option<GlobalOwnerStatus> {
    if sources.is_empty() {
        return None;
    }
    let mut status = GlobalOwnerStatus {
        balances: true,
        memory_bytes_max: settings.memory_bytes_max as u64,
        session_seconds: settings.session_timeout.as_secs_f64(),
        ..GlobalOwnerStatus::default()
    };
    let (mut senders, mut payloads) = (BTreeMap::new(), Payloads::default());
    for source in sources {
        let shown = source.window.lock();
        add_accounting(&mut status, &shown.accounting);
        add_gauges(&mut status, &shown, now.monotonic);
        shown.senders.iter().for_each(|(id, row)| add_sender(&mut senders, id, row, now.wall));
        let owned = shown.gauges.partitions_owned;
        drop(shown);
        add_engine(&mut status, &source.engine.status(), (owned, source.since), now.monotonic);
        let counts = source.poster.counts();
        status.fenced += counts.fenced();
        status.postings += counts.postings;
        status.postings_waiting += counts.queued as u64;
        payloads.add(counts.accounting, counts.discarded, &source.topic);
    }
    status.payloads = PayloadsStatus::of(payloads.accounting.as_ref(), payloads.discarded);
    status.senders = senders.into_values().collect();
    status.senders.sort_by(|a, b| a.last_seen_seconds.total_cmp(&b.last_seen_seconds));
    Some(status)
}

fn add(total: &mut GlobalCountStatus, count: Count) {
    total.parts += count.parts;
    total.cells += count.cells;
}

fn add_accounting(status: &mut GlobalOwnerStatus, of: &OwnerAccounting) {
    add(&mut status.read, of.read);
    add(&mut status.merged, of.merged);
    add(&mut status.duplicate, of.duplicate);
    add(&mut status.late, of.late);
    add(&mut status.late_waiting, of.late_waiting);
    add(&mut status.late_repaired, of.late_repaired);
    add(&mut status.late_unrepaired, of.late_unrepaired);
    add(&mut status.late_handed_over, of.late_handed_over);
    add(&mut status.too_old, of.too_old);
    let ReasonsStatus { total, reasons } = &mut status.refused;
    for (reason, count) in &of.refused {
        add(total, *count);
        add(reasons.entry((*reason).to_owned()).or_default(), *count);
    }
    status.balances &= of.balances();
    status.corrections += of.corrections;
    status.fenced += of.fenced;
    status.rebalances += of.rebalances;
    status.type_conflicts += of.type_conflicts;
    status.zeros += of.zeros;
    status.repairs += of.repairs;
}

fn add_gauges(status: &mut GlobalOwnerStatus, shown: &Shown, now: Duration) {
    let gauges = &shown.gauges;
    status.partitions_owned += gauges.partitions_owned as u64;
    status.partitions_held += gauges.partitions_held as u64;
    status.intervals_open += gauges.intervals_open as u64;
    status.memory_bytes += gauges.memory_bytes as u64;
    status.paused |= gauges.is_paused;
    // A thread that does not come to show itself grows older all the same.
    let since = now.saturating_sub(shown.at).as_secs_f64();
    let unsettled = match gauges.intervals_open {
        0 => 0.0,
        _ => gauges.oldest_unsettled_seconds + since,
    };
    status.oldest_unsettled_seconds = status.oldest_unsettled_seconds.max(unsettled);
    if gauges.sender_skew_seconds.abs() > status.sender_skew_seconds.abs() {
        status.sender_skew_seconds = gauges.sender_skew_seconds;
    }
}

fn add_engine(
    status: &mut GlobalOwnerStatus,
    engine: &EngineStatus,
    (owned, since): (usize, Duration),
    now: Duration,
) {
    let longer = |longest: Option<f64>, since: Option<Duration>| {
        let seconds = since.map(|since| now.saturating_sub(since).as_secs_f64());
        seconds.map(|seconds| longest.map_or(seconds, |longest| longest.max(seconds))).or(longest)
    };
    // A member without partitions has nothing to commit, so the group has nothing to answer: there only
    // the brokers tell.
    let silent_since = match engine.group_answered {
        Some(_) if owned == 0 => engine.away_since,
        Some(answered) => Some(answered),
        None => Some(since),
    };
    status.group_silent_seconds = longer(status.group_silent_seconds, silent_since);
    status.away_seconds = longer(status.away_seconds, engine.away_since);
    if let Some(lag) = engine.lag_records {
        *status.lag_records.get_or_insert(0) += lag;
    }
}

fn add_sender(
    rows: &mut BTreeMap<Sender, GlobalSenderRow>,
    id: &Sender,
    of: &SenderRow,
    wall: Duration,
) {
    let last_seen = wall.saturating_sub(of.last_seen).as_secs_f64();
    let row = rows.entry(*id).or_insert_with(|| GlobalSenderRow {
        host: of.host.clone(),
        id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        last_seen_seconds: f64::INFINITY,
        ..GlobalSenderRow::default()
    });
    row.parts += of.read.parts;
    row.cells += of.read.cells;
    row.late_parts += of.late_parts;
    row.refused_parts += of.refused_parts;
    row.skew_seconds = row.skew_seconds.or(of.skew);
    if last_seen < row.last_seen_seconds {
        row.last_seen_seconds = last_seen;
        row.lateness_seconds = of.lateness;
    }
}

/// What became of the payloads of all owners.
#[derive(Default)]
struct Payloads {
    accounting: Option<ForwardAccounting>,
    discarded: Option<Discarded>,
}

impl Payloads {
    /// Each owner has an endpoint of its own at the same address; those of a second topic name it.
    fn add(
        &mut self,
        accounting: Option<ForwardAccounting>,
        discarded: Option<Discarded>,
        topic: &str,
    ) {
        match (&mut self.accounting, accounting) {
            (Some(all), Some(mut more)) => {
                more.endpoints
                    .iter_mut()
                    .for_each(|one| one.name = format!("{} ({topic})", one.name));
                all.endpoints.append(&mut more.endpoints);
            }
            (all, more) => *all = all.take().or(more),
        }
        match (&mut self.discarded, discarded) {
            (Some(all), Some(more)) => {
                all.payloads += more.payloads;
                all.points += more.points;
                all.bytes += more.bytes;
            }
            (all, more) => *all = all.take().or(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_unsettled_interval_ages_while_the_thread_shows_nothing() {
        let gauges = |intervals_open, oldest_unsettled_seconds| OwnerGauges {
            intervals_open,
            oldest_unsettled_seconds,
            sender_skew_seconds: -oldest_unsettled_seconds,
            ..OwnerGauges::default()
        };
        let mut status = GlobalOwnerStatus::default();
        for (gauges, oldest) in [(gauges(2, 20.0), 95.0), (gauges(1, 10.0), 95.0)] {
            let shown = Shown { gauges, at: seconds(25), ..Shown::default() };
            add_gauges(&mut status, &shown, seconds(100));
            assert_eq!(status.oldest_unsettled_seconds, oldest);
        }
        assert_eq!((status.intervals_open, status.sender_skew_seconds), (3, -20.0));
        let mut none = GlobalOwnerStatus::default();
        add_gauges(&mut none, &Shown::default(), seconds(100));
        assert_eq!(none.oldest_unsettled_seconds, 0.0);
    }

    #[test]
    fn a_group_is_silent_from_its_last_answer_or_from_the_start() {
        let silent = |group_answered, away_since, owned| {
            let engine = EngineStatus { group_answered, away_since, ..EngineStatus::default() };
            let mut status = GlobalOwnerStatus::default();
            add_engine(&mut status, &engine, (owned, seconds(10)), seconds(100));
            assert_eq!(status.away_seconds.is_some(), away_since.is_some());
            status.group_silent_seconds
        };
        assert_eq!(silent(Some(seconds(98)), None, 8), Some(2.0));
        assert_eq!(silent(None, None, 0), Some(90.0), "it never answered");
        assert_eq!(silent(Some(seconds(20)), None, 0), None, "nothing to commit");
        assert_eq!(silent(Some(seconds(20)), Some(seconds(60)), 0), Some(40.0));
    }

    #[test]
    fn the_worse_of_two_topics_counts_and_records_add_up() {
        let mut status = GlobalOwnerStatus::default();
        for (answered, lag) in [(90, Some(3)), (97, None), (99, Some(4))] {
            let engine = EngineStatus {
                group_answered: Some(seconds(answered)),
                lag_records: lag,
                ..EngineStatus::default()
            };
            add_engine(&mut status, &engine, (1, seconds(10)), seconds(100));
        }
        assert_eq!((status.group_silent_seconds, status.lag_records), (Some(10.0), Some(7)));
    }

    #[test]
    fn a_sender_of_two_topics_is_one_row() {
        let row = |parts, last_seen, lateness| {
            let mut row = SenderRow::new("web-1", seconds(last_seen));
            row.read = Count { parts, cells: parts * 10 };
            row.lateness = lateness;
            row
        };
        let mut rows = BTreeMap::new();
        add_sender(&mut rows, &[10; 16], &row(3, 95, 1.5), seconds(100));
        add_sender(&mut rows, &[10; 16], &row(2, 60, 9.0), seconds(100));
        add_sender(&mut rows, &[11; 16], &row(1, 99, 1.0), seconds(100));
        let shown = &rows[&[10; 16]];
        assert_eq!((shown.parts, shown.cells, rows.len()), (5, 50, 2));
        assert_eq!((shown.last_seen_seconds, shown.lateness_seconds), (5.0, 1.5));
        assert_eq!(shown.id, "0a".repeat(16));
    }
}
