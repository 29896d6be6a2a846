//! Counters of many partitions, from two hosts.

use super::cluster::{Cluster, cells};
use crate::support::program::Program;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two rounds: the values must fall into several intervals, so time itself is waited for.
const PACE: Duration = Duration::from_millis(200);
const SERIES: u32 = 30;

/// Two senders, and what they got.
pub struct Traffic {
    senders: Vec<Program>,
    rounds: u32,
}

impl Traffic {
    pub fn start(cluster: &Cluster) -> Self {
        let senders = (0..2).map(|_| cluster.sender().start()).collect();
        Traffic { senders, rounds: 0 }
    }

    /// So many rounds, five a second.
    pub fn send(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.rounds += 1;
            for sender in &self.senders {
                let lines: Vec<String> = (0..SERIES).map(|n| format!("g.n{n}:{n}|c")).collect();
                sender.udp(lines.join("\n"));
            }
            std::thread::sleep(PACE);
        }
    }

    /// Ends the senders, which must have handed over everything, and says what that was.
    #[track_caller]
    pub fn end(self) -> BTreeMap<String, f64> {
        for sender in self.senders {
            let balance = cells(&sender.end());
            assert_eq!(balance.acked, balance.encoded);
        }
        let total = |n: u32| f64::from(n * 2 * self.rounds);
        (0..SERIES).map(|n| (format!("g.n{n}"), total(n))).collect()
    }
}
