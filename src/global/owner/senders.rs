//! What each sender sent, how late it comes and how far its clock is off. A bounded number of them: one
//! more takes the place of the one that was not seen for the longest time.
//!
//! A part says when it was built, by its sender's clock. The difference to our clock when it is read is the
//! skew less what the part waited on its way, so the largest difference of a minute counts, and only
//! from partitions that are read to their end.

use std::collections::HashMap;
use std::time::Duration;

use ahash::RandomState;

use crate::part::{Head, Sender};

use super::accounting::Count;
use super::settings::SENDERS_MAX;

/// Clocks that differ by more are named.
const SKEW_WARNED: f64 = 5.0;

/// How long differences are gathered.
const SKEW_WINDOW: Duration = Duration::from_secs(60);

/// Bytes of a host's name that are kept.
const HOST_MAX: usize = 255;

/// One sender.
#[derive(Clone, Debug, PartialEq)]
pub struct SenderRow {
    /// The name it gives itself.
    pub host: String,
    /// What was read of it and not refused.
    pub read: Count,
    /// Parts that do not belong here: of another number of partitions, interval or time.
    pub refused_parts: u64,
    /// Why the last of them was refused.
    refused_for: Option<&'static str>,
    /// Parts among those read that needed a repair.
    pub late_parts: u64,
    /// Since the Unix epoch.
    pub last_seen: Duration,
    /// Seconds from the end of its last part's interval to when it was read.
    pub lateness: f64,
    /// Seconds its clock is ahead; negative: behind. `None`: not known yet.
    pub skew: Option<f64>,
    window: (Duration, Option<f64>),
    warned: f64,
}

/// All senders that were seen lately.
#[derive(Debug)]
pub(super) struct Senders {
    rows: HashMap<Sender, SenderRow, RandomState>,
}

impl Senders {
    pub fn new(state: RandomState) -> Senders {
        Senders { rows: HashMap::with_hasher(state) }
    }

    /// A part was read; `live` when its partition is read to the end. Gives the skew when it is worth
    /// a warning.
    pub fn part(&mut self, head: &Head, live: bool, wall: Duration) -> Option<f64> {
        let row = self.row(head, wall);
        row.read += Count::of(head);
        row.last_seen = wall;
        row.lateness = wall.as_secs_f64() - head.end() as f64;
        if !live {
            return None;
        }
        row.differs(head.built_ms as f64 / 1_000.0 - wall.as_secs_f64(), wall)
    }

    /// A part was read that does not belong here. True when that is worth a warning: each reason once.
    pub fn refused(&mut self, head: &Head, reason: &'static str, wall: Duration) -> bool {
        let row = self.row(head, wall);
        row.refused_parts += 1;
        row.last_seen = wall;
        row.refused_for.replace(reason) != Some(reason)
    }

    fn row(&mut self, head: &Head, wall: Duration) -> &mut SenderRow {
        if self.rows.len() >= SENDERS_MAX && !self.rows.contains_key(&head.sender) {
            let longest = self.rows.iter().min_by_key(|(_, row)| row.last_seen);
            if let Some(longest) = longest.map(|(sender, _)| *sender) {
                self.rows.remove(&longest);
            }
        }
        self.rows.entry(head.sender).or_insert_with(|| SenderRow::new(&head.host, wall))
    }

    /// The part that was just read is late.
    pub fn late(&mut self, sender: &Sender) {
        if let Some(row) = self.rows.get_mut(sender) {
            row.late_parts += 1;
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Sender, &SenderRow)> {
        self.rows.iter()
    }

    /// The skew of the clock that is furthest off.
    pub fn worst_skew(&self) -> f64 {
        let skews = self.rows.values().filter_map(|row| row.skew);
        skews.fold(0.0, |worst: f64, skew| if skew.abs() > worst.abs() { skew } else { worst })
    }
}

impl SenderRow {
    /// One of which nothing was read yet.
    #[must_use]
    pub fn new(host: &str, wall: Duration) -> SenderRow {
        let mut host = host.to_owned();
        while host.len() > HOST_MAX {
            host.pop();
        }
        SenderRow {
            host,
            read: Count::default(),
            refused_parts: 0,
            refused_for: None,
            late_parts: 0,
            last_seen: wall,
            lateness: 0.0,
            skew: None,
            window: (wall, None),
            warned: 0.0,
        }
    }

    fn differs(&mut self, difference: f64, wall: Duration) -> Option<f64> {
        let (since, largest) = self.window;
        let largest = largest.map_or(difference, |largest| largest.max(difference));
        if wall < since + SKEW_WINDOW {
            self.window.1 = Some(largest);
            return None;
        }
        self.window = (wall, None);
        self.skew = Some(largest);
        let skew = largest.abs();
        if skew < SKEW_WARNED {
            self.warned = 0.0;
        } else if skew > 2.0 * self.warned {
            self.warned = skew;
            return Some(largest);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sender: u16, built: f64) -> Head {
        let mut id = Sender::default();
        id[..2].copy_from_slice(&sender.to_le_bytes());
        let built_ms = (built * 1_000.0) as u64;
        Head {
            sender: id,
            host: format!("h{sender}"),
            built_ms,
            interval: 10,
            cells: 3,
            ..Head::default()
        }
    }

    /// Parts every 10 s for two minutes by a clock that is `ahead`, `waited` seconds on their way.
    fn warnings(
        senders: &mut Senders,
        ahead: f64,
        waited: impl Fn(u64) -> f64,
        live: bool,
    ) -> Vec<f64> {
        let part = |second: u64| {
            let head = head(1, second as f64 + ahead - waited(second));
            senders.part(&head, live, Duration::from_secs(second))
        };
        (1_000..1_130).step_by(10).filter_map(part).collect()
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_5_seconds_is_named_once() {
        for (ahead, named) in [(4.0, &[][..]), (300.0, &[300.0]), (-300.0, &[-300.0])] {
            let mut senders = Senders::new(RandomState::new());
            assert_eq!(warnings(&mut senders, ahead, |_| 0.0, true), named);
            assert!(warnings(&mut senders, ahead, |_| 0.0, true).is_empty());
            assert!((senders.worst_skew() - ahead).abs() < 1e-9);
        }
    }

    #[test]
    fn parts_that_waited_in_a_spool_do_not_look_like_a_wrong_clock() {
        let mut senders = Senders::new(RandomState::new());
        let waited = |second: u64| if second.is_multiple_of(30) { 0.0 } else { 600.0 };
        assert!(warnings(&mut senders, 0.0, waited, true).is_empty());
        assert_eq!(senders.worst_skew(), 0.0);
    }

    #[test]
    fn a_replay_says_nothing_about_clocks() {
        let mut senders = Senders::new(RandomState::new());
        assert!(warnings(&mut senders, -1_800.0, |_| 0.0, false).is_empty());
        assert_eq!(senders.rows().next().expect("a row").1.skew, None);
    }

    #[test]
    fn parts_that_do_not_belong_here_count_for_their_sender_alone() {
        let mut senders = Senders::new(RandomState::new());
        senders.part(&head(1, 0.0), true, Duration::from_secs(5));
        assert!(senders.refused(&head(1, 0.0), "interval", Duration::from_secs(6)));
        assert!(senders.refused(&head(2, 0.0), "future", Duration::from_secs(7)));
        assert!(!senders.refused(&head(2, 0.0), "future", Duration::from_secs(7)), "said already");
        let row = |sender| &senders.rows[&head(sender, 0.0).sender];
        assert_eq!((row(1).read.parts, row(1).refused_parts), (1, 1));
        assert_eq!((row(2).read.parts, row(2).refused_parts), (0, 2));
        assert_eq!(row(2).last_seen, Duration::from_secs(7));
    }

    #[test]
    fn senders_are_bounded_and_the_longest_unseen_goes_first() {
        let mut senders = Senders::new(RandomState::new());
        for sender in 0..2_000 {
            senders.part(&head(sender, 0.0), true, Duration::from_secs(u64::from(sender)));
            senders.part(&head(7, 0.0), true, Duration::from_secs(u64::from(sender)));
        }
        assert_eq!(senders.rows.len(), SENDERS_MAX);
        let row = &senders.rows[&head(7, 0.0).sender];
        assert_eq!((row.host.as_str(), row.read.parts >= 2_000), ("h7", true));
        let mut long = head(9, 0.0);
        (long.sender, long.host) = ([9; 16], "ü".repeat(200));
        senders.part(&long, true, Duration::from_secs(5_000));
        assert_eq!(senders.rows[&[9; 16]].host.len(), 254);
    }
}
