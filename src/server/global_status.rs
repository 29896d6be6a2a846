//! What the threads of the global tier know, as the pages show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::global::{OwnerSource, owners};
use crate::admin::{GlobalSenderStatus, GlobalSource, GlobalStatus, ReasonsStatus};
use crate::clock::Clock;
use crate::config::GlobalSettings;
use crate::global::owner::Now;
use crate::global::sender::{DropReason, SenderStatus};

/// Where the pages find the state of the tier.
pub(super) fn source(
    settings: &GlobalSettings,
    clock: &Clock,
    sender: Option<Arc<Mutex<SenderStatus>>>,
    sources: Vec<OwnerSource>,
) -> GlobalSource {
    let (clock, settings) = (clock.clone(), settings.clone());
    let fixed = GlobalStatus {
        mode: settings.mode.word().to_owned(),
        topic: settings.topic.clone(),
        group: settings.group.clone(),
        partitions: settings.partitions,
        ..GlobalStatus::default()
    };
    Box::new(move || {
        let now = Now { wall: clock.unix(), monotonic: clock.monotonic() };
        let mut doubts = Vec::new();
        let sender = sender.as_ref().map(|status| {
            let status = status.lock().unwrap_or_else(PoisonError::into_inner);
            doubts.clone_from(&status.doubts);
            of_sender(&status, now.monotonic)
        });
        doubts.extend(sources.iter().flat_map(OwnerSource::doubts));
        // A sender that is also an owner has looked at the same topics, and so have owners of two.
        doubts.sort_unstable();
        doubts.dedup();
        let owner = owners(&sources, &settings, now);
        GlobalStatus { sender, owner, doubts, ..fixed.clone() }
    })
}

fn of_sender(status: &SenderStatus, now: Duration) -> GlobalSenderStatus {
    let counts = &status.counts;
    let dropped = DropReason::ALL.iter().map(|reason| (*reason, counts.dropped_for(*reason)));
    let reasons = dropped.filter(|(_, count)| *count > 0);
    GlobalSenderStatus {
        encoded: counts.encoded,
        restored: counts.restored,
        acked: counts.acked,
        waiting: counts.waiting,
        spooled: counts.spooled,
        dropped: ReasonsStatus {
            total: counts.dropped_total(),
            reasons: reasons.map(|(reason, count)| (reason.word().to_owned(), count)).collect(),
        },
        balances: counts.is_balanced(),
        parts_acked: counts.parts_acked,
        bytes_acked: counts.bytes_acked,
        retries: counts.retries,
        away_seconds: status.away_since.map(|since| now.saturating_sub(since).as_secs_f64()),
    }
}
