//! The global tier in `whippet status`.

use std::fmt::Write as _;

use super::section::{reasons, shown, title};
use crate::admin::{GlobalOwnerStatus, GlobalSenderStatus, GlobalStatus};
use crate::text::{bytes, grouped};

/// Senders in the list; `--json` has them all.
const SENDERS_SHOWN: usize = 10;

/// What is wrong, the balances of both roles, the senders that the owner hears.
pub(super) fn global(out: &mut String, global: &GlobalStatus) {
    if !global.is_on() {
        return;
    }
    title(out, "Global tier");
    let _ = writeln!(
        out,
        "  mode {}, topic {} with {} partitions, group {}",
        shown(&global.mode),
        shown(&global.topic),
        global.partitions,
        shown(&global.group),
    );
    for problem in global.problems.iter().chain(&global.doubts) {
        let _ = writeln!(out, "  ! {}", shown(problem));
    }
    if let Some(sender) = &global.sender {
        of_sender(out, sender);
    }
    if let Some(owner) = &global.owner {
        of_owner(out, owner);
    }
}

fn of_sender(out: &mut String, sender: &GlobalSenderStatus) {
    let _ = writeln!(
        out,
        "  cells sent: {} encoded = {} acked + {} waiting + {} on disk + {} dropped{}",
        grouped(sender.encoded),
        grouped(sender.acked),
        grouped(sender.waiting),
        grouped(sender.spooled),
        grouped(sender.dropped.total),
        reasons(&sender.dropped, |count| *count),
    );
    if let Some(away) = sender.away_seconds {
        let _ = writeln!(out, "  ! no broker can be reached for {away:.0} s; global series wait");
    }
}

fn of_owner(out: &mut String, owner: &GlobalOwnerStatus) {
    let _ = writeln!(
        out,
        "  owned: {} partitions, {} intervals open, oldest unsettled {:.0} s, {}",
        grouped(owner.partitions_owned),
        grouped(owner.intervals_open),
        owner.oldest_unsettled_seconds,
        memory(owner),
    );
    let late = [
        (owner.late_waiting, "waiting"),
        (owner.late_repaired, "repaired"),
        (owner.late_unrepaired, "not repaired"),
        (owner.late_handed_over, "handed over"),
    ];
    let parts: u64 = late.iter().map(|(count, _)| count.parts).sum();
    let named: Vec<String> = late
        .iter()
        .filter(|(count, _)| count.parts > 0)
        .map(|(count, word)| format!("{word} {}", grouped(count.parts)))
        .collect();
    let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    let _ = writeln!(
        out,
        "  parts read: {} = {} merged + {} duplicate + {} late{named} + {} too old + {} refused{}",
        grouped(owner.read.parts),
        grouped(owner.merged.parts),
        grouped(owner.duplicate.parts),
        grouped(parts),
        grouped(owner.too_old.parts),
        grouped(owner.refused.total.parts),
        reasons(&owner.refused, |count| count.parts),
    );
    let _ = writeln!(
        out,
        "  posted: {} postings, {} corrections, {} zeros; {} withheld (fence), {} rebalances",
        grouped(owner.postings),
        grouped(owner.corrections),
        grouped(owner.zeros),
        grouped(owner.fenced),
        grouped(owner.rebalances),
    );
    for endpoint in &owner.payloads.endpoints {
        let _ = writeln!(
            out,
            "  {}: {} payloads built = {} delivered + {} waiting + {} dropped{}",
            shown(&endpoint.name),
            grouped(endpoint.built.payloads),
            grouped(endpoint.delivered.payloads),
            grouped(endpoint.waiting.payloads),
            grouped(endpoint.dropped.total.payloads),
            reasons(&endpoint.dropped, |tally| tally.payloads),
        );
    }
    if let Some(built) = owner.payloads.discarded {
        let _ = writeln!(out, "  {} payloads built, none delivered", grouped(built.payloads));
    }
    if let Some(away) = owner.away_seconds {
        let _ = writeln!(out, "  ! no broker can be reached for {away:.0} s; nothing is posted");
    }
    senders(out, owner);
}

fn memory(owner: &GlobalOwnerStatus) -> String {
    let size = |number: u64| bytes(usize::try_from(number).unwrap_or(usize::MAX));
    let (used, max) = (size(owner.memory_bytes), size(owner.memory_bytes_max));
    let paused = if owner.paused { ", reading is paused (global_memory_max)" } else { "" };
    format!("memory {used} of {max}{paused}")
}

fn senders(out: &mut String, owner: &GlobalOwnerStatus) {
    for row in owner.senders.iter().take(SENDERS_SHOWN) {
        let skew = match row.skew_seconds {
            Some(skew) if skew >= 0.05 => format!("clock {skew:.1} s ahead"),
            Some(skew) if skew <= -0.05 => format!("clock {:.1} s behind", -skew),
            Some(_) => "clock equal".to_owned(),
            None => "clock not known yet".to_owned(),
        };
        let _ = writeln!(
            out,
            "  from {} ({}): {} parts, {} cells, {} late; read {:.1} s after their interval, {skew}",
            shown(&row.host),
            shown(row.id.get(..8).unwrap_or(&row.id)),
            grouped(row.parts),
            grouped(row.cells),
            grouped(row.late_parts),
            row.lateness_seconds,
        );
        if row.refused_parts > 0 {
            let _ = writeln!(
                out,
                "  ! {} parts of {} refused: its global_partitions, interval or clock differs",
                grouped(row.refused_parts),
                shown(&row.host),
            );
        }
    }
    if let Some(more @ 1..) = owner.senders.len().checked_sub(SENDERS_SHOWN) {
        let _ = writeln!(out, "  and {more} more senders (--json)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_is_off_is_not_shown() {
        let mut out = String::new();
        global(&mut out, &GlobalStatus::default());
        assert_eq!(out, "");
    }

    #[test]
    fn both_roles_show_their_balance_and_what_is_wrong() {
        let status = serde_json::json!({
            "mode": "both", "topic": "whippet-global", "group": "g", "partitions": 64,
            "problems": ["a partition is held: upgrade"],
            "doubts": ["global_topic: t has 128 partitions"],
            "sender": {
                "encoded": 1_010, "acked": 1_000, "waiting": 3, "spooled": 2,
                "dropped": {"total": 5, "reasons": {"too_old": 5}},
            },
            "owner": {
                "partitions_owned": 32, "intervals_open": 96, "oldest_unsettled_seconds": 68.4,
                "memory_bytes": 1_048_576, "memory_bytes_max": 2_097_152, "paused": true,
                "read": {"parts": 20, "cells": 1_000}, "merged": {"parts": 15},
                "duplicate": {"parts": 1}, "late_repaired": {"parts": 2}, "too_old": {"parts": 1},
                "refused": {"total": {"parts": 1}, "reasons": {"crc": {"parts": 1}}},
                "postings": 40, "corrections": 3, "zeros": 7, "fenced": 1, "rebalances": 2,
                "payloads": {"endpoints": [{
                    "name": "https://there",
                    "built": {"payloads": 40}, "delivered": {"payloads": 39},
                    "dropped": {"total": {"payloads": 1},
                                "reasons": {"withdrawn": {"payloads": 1}}},
                }]},
                "senders": [{"host": "web-1", "id": "00112233445566778899aabbccddeeff",
                             "parts": 20, "cells": 1_000, "late_parts": 2, "refused_parts": 4,
                             "lateness_seconds": 0.31, "skew_seconds": -6.2}],
            },
        });
        let mut out = String::new();
        global(&mut out, &serde_json::from_value(status).unwrap());
        let expect = "
===========
Global tier
===========
  mode both, topic whippet-global with 64 partitions, group g
  ! a partition is held: upgrade
  ! global_topic: t has 128 partitions
  cells sent: 1,010 encoded = 1,000 acked + 3 waiting + 2 on disk + 5 dropped (too_old 5)
  owned: 32 partitions, 96 intervals open, oldest unsettled 68 s, memory 1 MiB of 2 MiB, reading is paused (global_memory_max)
  parts read: 20 = 15 merged + 1 duplicate + 2 late (repaired 2) + 1 too old + 1 refused (crc 1)
  posted: 40 postings, 3 corrections, 7 zeros; 1 withheld (fence), 2 rebalances
  https://there: 40 payloads built = 39 delivered + 0 waiting + 1 dropped (withdrawn 1)
  from web-1 (00112233): 20 parts, 1,000 cells, 2 late; read 0.3 s after their interval, clock 6.2 s behind
  ! 4 parts of web-1 refused: its global_partitions, interval or clock differs
";
        assert_eq!(out, expect);
    }
}
