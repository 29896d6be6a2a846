//! The global tier in `/status`: what was handed to the log, what was read and posted of it, and what keeps
//! it from working.

use serde::{Deserialize, Serialize};

use super::{PayloadsStatus, ReasonsStatus};

/// The oldest interval may stay unsettled for so long: late parts, a hand-over and a few retries.
const UNSETTLED_MAX: f64 = 300.0;

/// The part this server has in the global tier; without a mode none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GlobalStatus {
    /// `send`, `own` or `both`; empty when off.
    pub mode: String,
    pub topic: String,
    pub group: String,
    pub partitions: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<GlobalSenderStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<GlobalOwnerStatus>,
    /// What is wrong now, each in a sentence with the way out.
    pub problems: Vec<String>,
    /// What looks wrong and may be meant, likewise.
    pub doubts: Vec<String>,
}

/// In cells: `encoded = acked + waiting + spooled + dropped(reason)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GlobalSenderStatus {
    pub encoded: u64,
    /// Of these, found on disk at the start.
    pub restored: u64,
    pub acked: u64,
    pub waiting: u64,
    /// On disk only.
    pub spooled: u64,
    pub dropped: ReasonsStatus<u64>,
    pub balances: bool,
    pub parts_acked: u64,
    pub bytes_acked: u64,
    /// Parts that had to be handed over again.
    pub retries: u64,
    /// For how long no broker could be reached; none while one can.
    pub away_seconds: Option<f64>,
}

/// Parts of the log, and the cells in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GlobalCountStatus {
    pub parts: u64,
    pub cells: u64,
}

/// In parts and cells: `read = merged + duplicate + late(...) + too_old + refused(reason)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GlobalOwnerStatus {
    pub read: GlobalCountStatus,
    pub merged: GlobalCountStatus,
    /// Read before.
    pub duplicate: GlobalCountStatus,
    /// Late parts in all: those that needed a repair.
    pub late: GlobalCountStatus,
    pub late_waiting: GlobalCountStatus,
    pub late_repaired: GlobalCountStatus,
    pub late_unrepaired: GlobalCountStatus,
    /// Waited for a repair when their partition was given away.
    pub late_handed_over: GlobalCountStatus,
    pub too_old: GlobalCountStatus,
    pub refused: ReasonsStatus<GlobalCountStatus>,
    pub balances: bool,
    pub partitions_owned: u64,
    /// Not read any further because of a record of a newer format.
    pub partitions_held: u64,
    pub intervals_open: u64,
    pub oldest_unsettled_seconds: f64,
    /// Records of the owned partitions that were not read yet, by the word of the brokers.
    pub lag_records: Option<u64>,
    pub memory_bytes: u64,
    pub memory_bytes_max: u64,
    /// True while reading is paused for memory.
    pub paused: bool,
    pub corrections: u64,
    /// Postings and requests withheld because the right to post had run out.
    pub fenced: u64,
    pub rebalances: u64,
    pub type_conflicts: u64,
    pub zeros: u64,
    pub repairs: u64,
    /// Of the sender whose clock is furthest off; positive: it is ahead.
    pub sender_skew_seconds: f64,
    /// Since the group last answered; none before it ever did.
    pub group_silent_seconds: Option<f64>,
    pub session_seconds: f64,
    /// For how long no broker could be reached; none while one can.
    pub away_seconds: Option<f64>,
    pub postings: u64,
    /// Of the postings, not yet encoded.
    pub postings_waiting: u64,
    pub payloads: PayloadsStatus,
    /// By when they were last seen.
    pub senders: Vec<GlobalSenderRow>,
}

/// One sender, as the owner sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct GlobalSenderRow {
    /// What it calls itself.
    pub host: String,
    /// Its number, in hexadecimal digits: new at every start.
    pub id: String,
    pub parts: u64,
    pub cells: u64,
    pub late_parts: u64,
    /// Of another number of partitions or another interval than ours, or of the future: its settings or
    /// its clock differ.
    pub refused_parts: u64,
    pub last_seen_seconds: f64,
    /// From the end of its last interval to when its part was read.
    pub lateness_seconds: f64,
    /// Positive: its clock is ahead of ours.
    pub skew_seconds: Option<f64>,
}

impl GlobalStatus {
    /// True when the tier is on here.
    pub fn is_on(&self) -> bool {
        !self.mode.is_empty()
    }

    /// What makes this server unready, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(owner) = &self.owner else { return problems };
        match owner.group_silent_seconds {
            Some(silent) if silent > owner.session_seconds => problems.push(format!(
                "the consumer group {} has not answered for {silent:.0} s, so nothing global is \
                 posted here; see global_brokers and the log",
                self.group
            )),
            _ => {}
        }
        if owner.partitions_held > 0 {
            let held = match owner.partitions_held {
                1 => "a partition is held".to_owned(),
                many => format!("{many} partitions are held"),
            };
            problems.push(format!(
                "{held}: senders write a format of a newer whippet; upgrade this owner, or skip \
                 and count such parts with global_skip_unknown"
            ));
        }
        if owner.oldest_unsettled_seconds > UNSETTLED_MAX {
            problems.push(format!(
                "the oldest interval that is not settled ended {:.0} s ago; see whether the \
                 intake and the brokers answer",
                owner.oldest_unsettled_seconds
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(change: impl FnOnce(&mut GlobalOwnerStatus)) -> Vec<String> {
        let mut owner = GlobalOwnerStatus {
            session_seconds: 10.0,
            group_silent_seconds: Some(1.0),
            oldest_unsettled_seconds: 75.0,
            ..GlobalOwnerStatus::default()
        };
        change(&mut owner);
        let group = "whippet-global".to_owned();
        GlobalStatus { group, owner: Some(owner), ..GlobalStatus::default() }.problems()
    }

    #[test]
    fn every_reason_to_be_unready_is_named() {
        assert_eq!(owner(|_| ()), [""; 0]);
        assert_eq!(owner(|owner| owner.group_silent_seconds = None), [""; 0], "it has just begun");
        for (problem, word) in [
            (owner(|owner| owner.group_silent_seconds = Some(10.5)), "has not answered for 1"),
            (owner(|owner| owner.partitions_held = 2), "2 partitions are held"),
            (owner(|owner| owner.oldest_unsettled_seconds = 301.0), "ended 301 s ago"),
        ] {
            assert_eq!(problem.len(), 1, "{problem:?}");
            assert!(problem[0].contains(word), "{problem:?}");
        }
    }
}
