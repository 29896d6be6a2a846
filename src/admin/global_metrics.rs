//! The global tier in `/metrics`: one table for each role. A server without that role has no samples of it.

use super::prometheus::{
    Exposition,
    MetricKind::{self, Counter, Gauge},
};
use super::status::{
    GlobalCountStatus, GlobalOwnerStatus, GlobalSenderStatus, GlobalStatus, PayloadsStatus,
    ReasonsStatus,
};

/// One number of a role.
struct Number<T> {
    metric: &'static str,
    kind: MetricKind,
    help: &'static str,
    of: fn(&T) -> f64,
}

const fn number<T>(
    metric: &'static str,
    kind: MetricKind,
    help: &'static str,
    of: fn(&T) -> f64,
) -> Number<T> {
    Number { metric, kind, help, of }
}

const SENDER: &[Number<GlobalSenderStatus>] = &[
    number(
        "whippet_global_cells_encoded_total",
        Counter,
        "Cells of global series put into parts: acked + waiting + spooled + dropped.",
        |sender| sender.encoded as f64,
    ),
    number(
        "whippet_global_cells_acked_total",
        Counter,
        "Cells that the log has acknowledged.",
        |sender| sender.acked as f64,
    ),
    number(
        "whippet_global_cells_waiting",
        Gauge,
        "Cells in memory that the log has not acknowledged yet.",
        |sender| sender.waiting as f64,
    ),
    number(
        "whippet_global_cells_spooled",
        Gauge,
        "Cells on disk that wait for the log.",
        |sender| sender.spooled as f64,
    ),
    number(
        "whippet_global_parts_acked_total",
        Counter,
        "Parts that the log has acknowledged.",
        |sender| sender.parts_acked as f64,
    ),
    number(
        "whippet_global_bytes_acked_total",
        Counter,
        "Bytes of parts that the log has acknowledged.",
        |sender| sender.bytes_acked as f64,
    ),
    number(
        "whippet_global_parts_retried_total",
        Counter,
        "Parts that had to be handed to the log again.",
        |sender| sender.retries as f64,
    ),
    number(
        "whippet_global_sender_away_seconds",
        Gauge,
        "For how long the sender has reached no broker; 0 while it reaches one.",
        |sender| sender.away_seconds.unwrap_or_default(),
    ),
];

const OWNER: &[Number<GlobalOwnerStatus>] = &[
    number(
        "whippet_global_parts_read_total",
        Counter,
        "Parts read from the log: merged + duplicate + late + too old + refused.",
        |owner| owner.read.parts as f64,
    ),
    number(
        "whippet_global_cells_read_total",
        Counter,
        "Cells in the parts that were read.",
        |owner| owner.read.cells as f64,
    ),
    number(
        "whippet_global_parts_merged_total",
        Counter,
        "Parts merged into an open interval.",
        |owner| owner.merged.parts as f64,
    ),
    number(
        "whippet_global_parts_duplicate_total",
        Counter,
        "Parts that were read before.",
        |owner| owner.duplicate.parts as f64,
    ),
    number(
        "whippet_global_parts_late_total",
        Counter,
        "Parts that came after their interval was settled, and need a repair.",
        |owner| owner.late.parts as f64,
    ),
    number(
        "whippet_global_parts_repaired_total",
        Counter,
        "Late parts whose series were rebuilt and posted.",
        |owner| owner.late_repaired.parts as f64,
    ),
    number(
        "whippet_global_parts_unrepaired_total",
        Counter,
        "Late parts not posted, because the log did not give their interval a second time.",
        |owner| owner.late_unrepaired.parts as f64,
    ),
    number(
        "whippet_global_parts_handed_over_total",
        Counter,
        "Late parts that waited when their partition went to another owner, which reads them again.",
        |owner| owner.late_handed_over.parts as f64,
    ),
    number(
        "whippet_global_parts_repair_waiting",
        Gauge,
        "Late parts that wait for a repair.",
        |owner| owner.late_waiting.parts as f64,
    ),
    number(
        "whippet_global_parts_too_old_total",
        Counter,
        "Parts of intervals that the intake takes no more (global_late_max).",
        |owner| owner.too_old.parts as f64,
    ),
    number(
        "whippet_global_partitions_owned",
        Gauge,
        "Partitions that this server owns.",
        |owner| owner.partitions_owned as f64,
    ),
    number(
        "whippet_global_partitions_held",
        Gauge,
        "Owned partitions that are not read any further because of a newer format.",
        |owner| owner.partitions_held as f64,
    ),
    number(
        "whippet_global_intervals_open",
        Gauge,
        "Intervals with parts that are not settled, over all owned partitions.",
        |owner| owner.intervals_open as f64,
    ),
    number(
        "whippet_global_oldest_unsettled_seconds",
        Gauge,
        "Time since the end of the oldest interval that is not settled.",
        |owner| owner.oldest_unsettled_seconds,
    ),
    number(
        "whippet_global_lag_records",
        Gauge,
        "Records of the owned partitions that were not read yet, by the word of the brokers.",
        |owner| owner.lag_records.unwrap_or_default() as f64,
    ),
    number(
        "whippet_global_memory_bytes",
        Gauge,
        "Memory of what is not settled (global_memory_max).",
        |owner| owner.memory_bytes as f64,
    ),
    number(
        "whippet_global_memory_max_bytes",
        Gauge,
        "Limit of that memory; past it reading pauses.",
        |owner| owner.memory_bytes_max as f64,
    ),
    number("whippet_global_paused", Gauge, "1 while reading is paused for memory.", |owner| {
        f64::from(u8::from(owner.paused))
    }),
    number(
        "whippet_global_corrections_total",
        Counter,
        "Postings of changed series after the first post of their interval.",
        |owner| owner.corrections as f64,
    ),
    number(
        "whippet_global_fenced_total",
        Counter,
        "Postings and requests withheld because the right to post the partition had run out.",
        |owner| owner.fenced as f64,
    ),
    number(
        "whippet_global_rebalances_total",
        Counter,
        "Times that partitions came or went.",
        |owner| owner.rebalances as f64,
    ),
    number(
        "whippet_global_type_conflicts_total",
        Counter,
        "Series of one interval not posted, because another kind of the same series was written later.",
        |owner| owner.type_conflicts as f64,
    ),
    number(
        "whippet_global_zeros_total",
        Counter,
        "Zeros posted for counters without a new value.",
        |owner| owner.zeros as f64,
    ),
    number(
        "whippet_global_repairs_total",
        Counter,
        "Passes over the log to rebuild late intervals.",
        |owner| owner.repairs as f64,
    ),
    number(
        "whippet_global_sender_skew_seconds",
        Gauge,
        "Difference of the sender's clock that is furthest off; positive: it is ahead.",
        |owner| owner.sender_skew_seconds,
    ),
    number(
        "whippet_global_group_silent_seconds",
        Gauge,
        "Time since the consumer group last answered.",
        |owner| owner.group_silent_seconds.unwrap_or_default(),
    ),
    number(
        "whippet_global_owner_away_seconds",
        Gauge,
        "For how long the owner has reached no broker; 0 while it reaches one.",
        |owner| owner.away_seconds.unwrap_or_default(),
    ),
    number(
        "whippet_global_postings_total",
        Counter,
        "Postings: the values of one partition and interval, corrections among them.",
        |owner| owner.postings as f64,
    ),
    number(
        "whippet_global_postings_waiting",
        Gauge,
        "Postings that are not encoded yet, because the intake is slow or away.",
        |owner| owner.postings_waiting as f64,
    ),
];

pub(super) fn global(page: &mut Exposition, status: &GlobalStatus) {
    if let Some(sender) = &status.sender {
        roles(page, SENDER, sender);
        let help = "Cells of global series that will not reach an owner, by reason.";
        reasons(page, "whippet_global_cells_dropped_total", help, &sender.dropped, |count| *count);
    }
    if let Some(owner) = &status.owner {
        roles(page, OWNER, owner);
        let help = "Parts that were not understood or do not belong here, by reason.";
        let parts = |count: &GlobalCountStatus| count.parts;
        reasons(page, "whippet_global_parts_refused_total", help, &owner.refused, parts);
        payloads(page, &owner.payloads);
    }
}

fn roles<T>(page: &mut Exposition, numbers: &[Number<T>], role: &T) {
    for row in numbers {
        page.single(row.metric, row.kind, row.help, (row.of)(role));
    }
}

fn reasons<T>(
    page: &mut Exposition,
    metric: &str,
    help: &str,
    parts: &ReasonsStatus<T>,
    count: impl Fn(&T) -> u64,
) {
    let mut family = page.family(metric, Counter, help);
    for (reason, part) in &parts.reasons {
        family.sample(&[("reason", reason)], count(part));
    }
}

fn payloads(page: &mut Exposition, payloads: &PayloadsStatus) {
    let help = "Payloads of global series: built = delivered + waiting + dropped(reason).";
    let mut family = page.family("whippet_global_payloads", Gauge, help);
    for endpoint in &payloads.endpoints {
        for (state, tally) in [
            ("built", endpoint.built),
            ("delivered", endpoint.delivered),
            ("waiting", endpoint.waiting),
        ] {
            let labels = [("endpoint", endpoint.name.as_str()), ("state", state)];
            family.sample(&labels, tally.payloads);
        }
    }
    let help =
        "Payloads of global series given up by reason; withdrawn ones are posted by another owner.";
    let mut family = page.family("whippet_global_payloads_dropped_total", Counter, help);
    for endpoint in &payloads.endpoints {
        for (reason, tally) in &endpoint.dropped.reasons {
            family.sample(&[("endpoint", &endpoint.name), ("reason", reason)], tally.payloads);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::status::{EndpointStatus, TallyStatus};

    #[test]
    fn a_server_without_the_tier_has_no_numbers_of_it() {
        let mut page = Exposition::default();
        global(&mut page, &GlobalStatus::default());
        assert_eq!(page.into_text(), "");
    }

    /// Every whole number and fraction of both roles, set one after the other, shows on the page.
    #[test]
    fn every_number_of_a_role_is_on_the_page() {
        const MARK: f64 = 987_654_321.0;
        fn missing<T>(rows: &[Number<T>]) -> Vec<String>
        where
            T: Default + serde::Serialize + serde::de::DeserializeOwned,
        {
            let blank = serde_json::to_value(T::default()).unwrap();
            let mut paths = Vec::new();
            for (name, value) in blank.as_object().unwrap() {
                match value {
                    serde_json::Value::Number(_) | serde_json::Value::Null => {
                        paths.push(format!("/{name}"));
                    }
                    serde_json::Value::Object(parts) if parts.contains_key("parts") => {
                        paths.push(format!("/{name}/parts"));
                    }
                    _ => {}
                }
            }
            assert!(paths.len() > 6, "{paths:?}");
            paths.retain(|path| {
                let mut marked = blank.clone();
                *marked.pointer_mut(path).unwrap() = (MARK as u64).into();
                let role: T = serde_json::from_value(marked).unwrap();
                !rows.iter().any(|row| (row.of)(&role) == MARK)
            });
            paths
        }
        // Of all that were encoded, told once at the start of a run.
        assert_eq!(missing(SENDER), ["/restored"]);
        assert_eq!(missing(OWNER), ["/session_seconds"]);
    }

    #[test]
    fn names_are_unique_and_follow_the_convention() {
        let rows = SENDER.iter().map(|row| (row.metric, row.kind));
        let mut names: Vec<&str> = Vec::new();
        for (name, kind) in rows.chain(OWNER.iter().map(|row| (row.metric, row.kind))) {
            assert_eq!(name.ends_with("_total"), kind == Counter, "{name}");
            assert!(name.starts_with("whippet_global_") && !names.contains(&name), "{name}");
            names.push(name);
        }
    }

    #[test]
    fn reasons_and_payloads_are_labels() {
        let reasons = BTreeMap::from([("queue_full".to_owned(), 3)]);
        let sender = GlobalSenderStatus {
            dropped: ReasonsStatus { total: 3, reasons },
            ..GlobalSenderStatus::default()
        };
        let count = GlobalCountStatus { parts: 2, cells: 9 };
        let tally = TallyStatus { payloads: 4, points: 40, bytes: 400 };
        let reasons = |tally| ReasonsStatus {
            total: tally,
            reasons: BTreeMap::from([("withdrawn".to_owned(), tally)]),
        };
        let endpoint = EndpointStatus {
            name: "https://there".to_owned(),
            built: tally,
            dropped: reasons(tally),
            ..EndpointStatus::default()
        };
        let owner = GlobalOwnerStatus {
            refused: ReasonsStatus {
                total: count,
                reasons: BTreeMap::from([("crc".to_owned(), count)]),
            },
            payloads: PayloadsStatus { endpoints: vec![endpoint], ..PayloadsStatus::default() },
            ..GlobalOwnerStatus::default()
        };
        let status =
            GlobalStatus { sender: Some(sender), owner: Some(owner), ..GlobalStatus::default() };
        let mut page = Exposition::default();
        global(&mut page, &status);
        let shown = page.into_text();
        for line in [
            "whippet_global_cells_dropped_total{reason=\"queue_full\"} 3",
            "whippet_global_parts_refused_total{reason=\"crc\"} 2",
            "whippet_global_payloads{endpoint=\"https://there\",state=\"built\"} 4",
            "whippet_global_payloads_dropped_total{endpoint=\"https://there\",reason=\"withdrawn\"} 4",
            "whippet_global_partitions_owned 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
        }
    }
}
